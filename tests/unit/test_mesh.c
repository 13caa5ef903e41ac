/* Tests of mesh.h as a host sees it: settings, leaving, small budgets, and a machine without memory
 * (the linker sends every allocation of the core through this file). */
#include <stdlib.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);

#include "mesh/session/copies.h"
#include "tests/unit/mesh_pump.h"

/* ---- memory that fails when told ------------------------------------------------------------ */

static bool is_armed;
static uint32_t allocations, fails_from, fails_count; /* the n-th on, so many of them */

static bool memory_fails(void)
{
    if (!is_armed || pump_outside > 0)
        return false;
    uint32_t n = allocations++;
    return n >= fails_from && n - fails_from < fails_count;
}

void *__wrap_malloc(size_t size)
{
    return memory_fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return memory_fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return memory_fails() ? NULL : __real_realloc(old, size);
}

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
    return memory_fails() ? NULL : __real_reallocarray(old, count, size);
}

static void arm(uint32_t from, uint32_t count)
{
    is_armed = true;
    allocations = 0;
    fails_from = from;
    fails_count = count;
}

/* ---- settings ------------------------------------------------------------------------------- */

static void test_settings_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    struct mesh *mesh = NULL;
    struct pump none = {.nodes_count = 1};
    static char long_name[MESH_NAME_MAX + 2], long_label[MESH_LABEL_MAX + 2];
    memset(long_name, 'a', MESH_NAME_MAX + 1);
    memset(long_label, 'a', MESH_LABEL_MAX + 1);
    for (int n = 0; n < 16; n++) {
        struct mesh_config config;
        pump_config(&none, 0, &config);
        switch (n) {
        case 0:
            config.name = NULL;
            break;
        case 1:
            config.name = "";
            break;
        case 2:
            config.name = "A";
            break;
        case 3:
            config.name = long_name;
            break;
        case 4:
            config.cluster = "";
            break;
        case 5:
            config.cluster = long_label;
            break;
        case 6:
            config.addr.port = 0;
            break;
        case 7:
            config.weight = 0;
            break;
        case 8:
            config.weight = 17;
            break;
        case 9:
            config.keys_count = MESH_KEYS_MAX + 1;
            break;
        case 10: /* two of one number */
            config.keys_count = 2;
            break;
        case 11: /* none that seals */
            config.keys_count = 1;
            config.verify_only = 1;
            break;
        case 12:
            config.sessions_max = 0;
            break;
        case 13:
            config.exchanges_max = 0;
            break;
        case 14:
            config.members_max = 0;
            break;
        default:
            config.zone = long_label;
        }
        assert_int_equal(mesh_new(&mesh, &config, 1), -EINVAL);
        assert_null(mesh);
    }
    mesh_free(NULL);
}

static void test_a_mesh_of_one_serves_at_once(void **state)
{
    (void)state;
    struct pump p = {.nodes_count = 1};
    struct mesh_config config;
    pump_config(&p, 0, &config);
    p.now_ms = 5;
    assert_int_equal(mesh_new(&p.nodes[0].mesh, &config, p.now_ms), 0);
    mesh_serving(p.nodes[0].mesh, true, p.now_ms);
    uint32_t client = pump_ask(&p, 0, MESH_CALL, NULL, INITIALIZE, 0);
    pump_run(&p, 200);
    assert_int_equal(p.ucalls_count, 1);
    pump_say(&p, &p.ucalls[0], RESULT("0"));
    pump_settle(&p);
    assert_ended(&p, client, MESH_OK);
    mesh_free(p.nodes[0].mesh);
}

static void test_an_upstream_that_does_not_serve_takes_no_new_session(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    mesh_serving(p->nodes[1].mesh, false, p->now_ms);
    pump_run(p, 2000);
    uint32_t client = pump_ask(p, 1, MESH_CALL, NULL, INITIALIZE, 0);
    pump_settle(p);
    assert_int_equal(pump_last(p)->node, 0); /* whoever can */
    pump_say(p, pump_last(p), RESULT("0"));
    pump_settle(p);
    assert_ended(p, client, MESH_OK);
    mesh_serving(p->nodes[0].mesh, false, p->now_ms);
    pump_run(p, 2000);
    client = pump_ask(p, 1, MESH_CALL, NULL, INITIALIZE, 0);
    pump_run(p, 9900);
    assert_true(p->clients[client].is_open);
    pump_run(p, 200);
    assert_ended(p, client, MESH_PARKED_TOO_LONG);
    pump_free(p);
}

static void test_what_a_host_sees_of_sessions_and_ids(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct mesh_session_info infos[4];
    struct mesh_why why;
    assert_int_equal(mesh_sessions(p->nodes[0].mesh, 0, infos, 4), 1);
    assert_int_equal(mesh_sessions(p->nodes[0].mesh, infos[0].slot + 1, infos, 4), 0);
    assert_int_equal(mesh_sessions(p->nodes[1].mesh, 0, infos, 4), 0);
    for (uint32_t node = 0; node < 2; node++) {
        mesh_why(p->nodes[node].mesh, session, MESH_SESSION_TEXT, &why, p->now_ms);
        assert_true(why.well_formed && why.genuine);
        assert_int_equal(why.verdict, node == 0 ? OWNER_HERE : OWNER_THERE);
        assert_int_equal(why.home, MEMBER_ALIVE);
        assert_true(peer_id_equal(why.owner, mesh_self(p->nodes[0].mesh)->record->id));
        assert_int_equal(why.record.counter, 1); /* the owner's, and its copy's */
    }
    mesh_why(p->nodes[0].mesh, "x", 1, &why, p->now_ms);
    assert_int_equal(why.verdict, OWNER_FOREIGN);
    assert_false(why.well_formed);
    pump_free(p);
}

/* ---- leaving -------------------------------------------------------------------------------- */

static void test_leaving_ends_what_waits_and_lets_what_runs_finish(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    uint32_t there = pump_ask(p, 1, MESH_CALL, session, CALL("1"), 0);
    uint32_t here = pump_ask(p, 0, MESH_CALL, session, CALL("2"), 0);
    uint32_t held = pump_ask(p, 1, MESH_LISTEN, session, "", 0);
    pump_settle(p);
    mesh_leave(p->nodes[0].mesh, p->now_ms, p->now_ms + 20000, p->now_ms);
    pump_run(p, 1000);
    assert_false(p->clients[held].is_open);
    assert_true(p->clients[there].is_open);
    assert_true(p->clients[here].is_open);
    assert_int_equal(p->changes[0].counts[MESH_LEFT_MESH], 0);
    uint32_t fresh = pump_ask(p, 0, MESH_CALL, NULL, INITIALIZE, 0);
    pump_settle(p);
    assert_int_equal(pump_last(p)->node, 1); /* it takes none any more, but another one does */
    pump_say(p, pump_last(p), RESULT("0"));
    pump_say(p, &p->ucalls[0], RESULT("1"));
    pump_say(p, &p->ucalls[0], RESULT("2"));
    pump_run(p, 3000);
    assert_ended(p, fresh, MESH_OK);
    assert_ended(p, there, MESH_OK);
    assert_ended(p, here, MESH_OK);
    assert_int_equal(p->changes[0].counts[MESH_LEFT_MESH], 1);
    pump_free(p);
}

static void test_leaving_is_over_in_time_with_an_end_for_everybody(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    const char *other = pump_session(p, pump_begin(p, 1, false));
    uint32_t mine = pump_ask(p, 0, MESH_CALL, session, CALL("1"), 0);
    uint32_t far = pump_ask(p, 0, MESH_CALL, other, CALL("2"), 0);
    pump_settle(p);
    mesh_leave(p->nodes[0].mesh, p->now_ms, p->now_ms + 3000, p->now_ms);
    pump_run(p, 2000);
    assert_true(p->clients[mine].is_open && p->clients[far].is_open);
    mesh_leave(p->nodes[0].mesh, p->now_ms, p->now_ms + 500, p->now_ms); /* a second wish hurries */
    pump_run(p, 600);
    assert_false(p->clients[mine].is_open);
    assert_false(p->clients[far].is_open);
    assert_int_equal(p->clients[mine].ends, 1);
    assert_int_equal(p->changes[0].counts[MESH_LEFT_MESH], 1);
    pump_run(p, 1000);
    assert_int_equal(p->changes[0].counts[MESH_LEFT_MESH], 1);
    pump_free(p);
}

static void test_what_comes_after_the_last_word_of_leaving_is_answered_as_well(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, NULL);
    mesh_leave(p->nodes[0].mesh, p->now_ms, p->now_ms, p->now_ms);
    mesh_now(p->nodes[0].mesh, p->now_ms); /* it has left, and its host has not seen that yet */
    uint32_t client = pump_ask(p, 0, MESH_CALL, NULL, INITIALIZE, 0);
    pump_drain(p, 0);
    assert_int_equal(p->changes[0].counts[MESH_LEFT_MESH], 1);
    assert_ended(p, client, MESH_STOPPING);
    pump_free(p);
}

/* ---- small budgets -------------------------------------------------------------------------- */

static size_t small_budget;

static void small(struct mesh_config *config)
{
    config->memory_max = small_budget;
    config->upstream = MESH_UP_HTTP;
}

static void test_a_small_budget_refuses_and_crashes_nothing(void **state)
{
    (void)state;
    static char part[3000];
    memset(part, 'x', sizeof part);
    for (small_budget = 0; small_budget < 40000; small_budget = small_budget * 5 / 4 + 50) {
        struct pump *p = pump_new(2, small);
        uint32_t calls[12], opened = 0;
        for (uint32_t n = 0; n < 12; n++) { /* bodies that the host's buffers do not hold */
            struct mesh_request r = {.want = MESH_CALL, .era = MESH_LEGACY};
            rpc_read(&r.rpc, NULL, LIST("1"), strlen(LIST("1")));
            r.body = slice_text(LIST("1"));
            r.head = slice_borrow(part, 500);
            struct client *c = &p->clients[p->clients_count];
            c->node = n % 2;
            c->handle = mesh_open(p->nodes[n % 2].mesh, &r, p->now_ms);
            c->is_open = !handle_is_none(c->handle);
            opened += c->is_open;
            calls[n] = p->clients_count++;
            pump_settle(p);
        }
        for (uint32_t n = 0; n < p->ucalls_count; n++) {
            struct ucall *u = &p->ucalls[n];
            pump_head(p, u, 200, MESH_FORM_RAW, MESH_UP_SESSION_SAME);
            pump_data(p, u, part, sizeof part);
            pump_settle(p);
            pump_end(p, u, MESH_END_WHOLE, MESH_OK);
            pump_settle(p);
        }
        pump_run(p, 20000);
        for (uint32_t n = 0; n < 12; n++) {
            const struct client *c = &p->clients[calls[n]];
            assert_false(c->is_open);
            assert_int_equal(c->ends, !handle_is_none(c->handle));
            if (c->ends == 1 && c->why == MESH_OK)
                assert_int_equal(c->bytes, sizeof part);
        }
        if (small_budget < 400)
            assert_int_equal(opened, 0);
        pump_run(p, 20000);
        assert_quiet(p, 0);
        pump_free(p);
    }
}

/* ---- no memory ------------------------------------------------------------------------------ */

struct story {
    struct pump *p;
    uint32_t clients[16];
    uint32_t count;
    uint32_t served; /* HTTP: requests that the server has answered */
};

static void tell(struct story *s, uint32_t node, enum mesh_want want, const char *session,
                 const char *text)
{
    s->clients[s->count++] = pump_ask(s->p, node, want, session, text, 0);
    pump_settle(s->p);
}

static void child_says(struct story *s, const char *text)
{
    if (s->p->ucalls_count > 0 && pump_up(s->p, s->p->ucalls[0].node, s->p->ucalls[0].up)->is_open)
        pump_say(s->p, &s->p->ucalls[0], text);
    pump_settle(s->p);
}

/* A session's life over two peers, with a lost link in it. */
static void story_run(struct story *s, const char *session)
{
    struct pump *p = s->p;
    tell(s, 1, MESH_LISTEN, session, "");
    tell(s, 1, MESH_CALL, session, INITIALIZED);
    tell(s, 1, MESH_CALL, session, CALL("1"));
    child_says(s, LOG("a"));
    child_says(s, SAMPLE("0"));
    tell(s, 1, MESH_CALL, session, RESULT("0"));
    tell(s, 0, MESH_CALL, session, CALL("2"));
    child_says(s, LOG("b"));
    tell(s, 1, MESH_CALL, session, LIST("3"));
    pump_cut(p, 0, 1);
    pump_run(p, 100);
    child_says(s, RESULT("1"));
    child_says(s, RESULT("2"));
    child_says(s, RESULT("3"));
    pump_run(p, 1000);
    tell(s, 1, MESH_CALL, session, CALL("4"));
    child_says(s, RESULT("4"));
    tell(s, 1, MESH_DELETE, session, "");
    pump_run(p, 100);
}

/* An HTTP server that ends its first answer's stream early, loses its second, and has the rest of
 * the first when asked for it. */
static void server_answers(struct story *s, struct ucall *u)
{
    struct pump *p = s->p;
    bool is_rest = u->kind == MESH_UP_LISTEN && u->want == MESH_CALL;
    bool is_first = strcmp(u->text, CALL("1")) == 0, is_second = strcmp(u->text, CALL("2")) == 0;
    if (!pump_up(p, u->node, u->up)->is_open)
        return;
    if (strcmp(u->text, INITIALIZE_NEW) == 0) {
        pump_head(p, u, 200, MESH_FORM_JSON, MESH_UP_SESSION_MADE);
        pump_event(p, u, AGREED("2025-11-25"));
    } else if (is_rest || is_first || is_second || u->want == MESH_LISTEN) {
        pump_head(p, u, 200, MESH_FORM_SSE, MESH_UP_SESSION_SAME);
        pump_mark(p, u, "m1", 100);
        pump_event(p, u, is_rest ? RESULT("1") : LOG("a"));
    } else {
        pump_head(p, u, u->want == MESH_DELETE ? 200 : 202, MESH_FORM_NONE, MESH_UP_SESSION_SAME);
    }
    if (u->want != MESH_LISTEN)
        pump_end(p, u, is_second ? MESH_END_CUT : MESH_END_WHOLE,
                 is_second ? MESH_UPSTREAM_LOST : MESH_OK);
}

static void server_runs(struct story *s, uint64_t ms)
{
    for (uint64_t ran = 0; ran <= ms; ran += 20) {
        pump_settle(s->p);
        while (s->served < s->p->ucalls_count)
            server_answers(s, &s->p->ucalls[s->served++]);
        pump_run(s->p, 20);
    }
}

/* The last one that asked goes away: nothing more is told to it. */
static void leaves(struct story *s)
{
    uint32_t client = s->clients[--s->count];
    if (s->p->clients[client].is_open)
        pump_close(s->p, client);
}

static void resumes(struct story *s, uint32_t node, const char *session, const char *shown)
{
    s->clients[s->count++] = pump_resume(s->p, node, session, shown);
    server_runs(s, 50);
}

/* Streams that end early, break, and are gone on with at another peer. */
static void story_of_streams(struct story *s, const char *session)
{
    tell(s, 1, MESH_LISTEN, session, "");
    server_runs(s, 50);
    leaves(s);
    resumes(s, 0, session, "0-1-0");
    tell(s, 1, MESH_CALL, session, CALL("1"));
    server_runs(s, 50);
    resumes(s, 0, session, "1-1-0");
    pump_cut(s->p, 0, 1);
    server_runs(s, 200);
    resumes(s, 1, session, "1-1-1");
    tell(s, 1, MESH_CALL, session, CALL("2"));
    server_runs(s, 50);
    resumes(s, 1, session, "2-1-1");
    resumes(s, 1, session, "0-1-9");
    tell(s, 0, MESH_DELETE, session, "");
    server_runs(s, 100);
}

/* HTTP+SSE in front of the same server. */
static void story_of_one_stream(struct story *s, const char *session)
{
    struct pump *p = s->p;
    char own[MESH_SESSION_TEXT];
    uint32_t stream = s->clients[s->count++] = pump_sse(p, 1);
    server_runs(s, 50);
    if (p->clients[stream].has_session) {
        memcpy(own, p->clients[stream].session, sizeof own);
        s->clients[s->count++] = pump_post(p, 1, own, INITIALIZE_NEW);
        server_runs(s, 50);
        s->clients[s->count++] = pump_post(p, 0, own, CALL("1"));
        s->clients[s->count++] = pump_post(p, 0, own, CALL("2"));
        server_runs(s, 200);
    }
    if (p->clients[stream].is_open)
        pump_close(p, stream);
    s->clients[0] = s->clients[--s->count];
    tell(s, 0, MESH_DELETE, session, "");
    server_runs(s, 100);
}

/* Every child at that node whose session is not that of the first says this. */
static void other_children_say(struct story *s, const char *text)
{
    struct pump *p = s->p;
    for (uint32_t n = 1; n < p->ups_count; n++)
        if (p->ups[n].is_open)
            pump_say_on(p, p->ups[n].node, p->ups[n].handle, MESH_NO_CALL, text, strlen(text));
    pump_settle(p);
}

/* A batch; and a client of HTTP+SSE that comes back, so that we shake hands on its behalf. */
static void story_of_a_batch(struct story *s, const char *session)
{
    struct pump *p = s->p;
    char own[MESH_SESSION_TEXT];
    tell(s, 1, MESH_CALL, session, "[" CALL("1") "," INITIALIZED "," LIST("3") "]");
    child_says(s, LOG("a"));
    child_says(s, RESULT("3"));
    uint32_t stream = s->clients[s->count++] = pump_sse_again(p, 1);
    pump_settle(p);
    if (p->clients[stream].has_session) {
        memcpy(own, p->clients[stream].session, sizeof own);
        s->clients[s->count++] = pump_post(p, 0, own, CALL("2"));
        s->clients[s->count++] = pump_post(p, 1, own, LIST("4"));
        pump_settle(p);
        other_children_say(s, AGREED("2024-11-05"));
        other_children_say(s, RESULT("2"));
        other_children_say(s, RESULT("4"));
    }
    if (p->clients[stream].is_open)
        pump_close(p, stream);
    child_says(s, RESULT("1"));
    pump_run(p, 100);
    tell(s, 1, MESH_DELETE, session, "");
    pump_run(p, 100);
    for (uint32_t n = 0; n < s->count; n++)
        if (s->clients[n] == stream)
            s->clients[n] = s->clients[--s->count];
}

static void http(struct mesh_config *config)
{
    config->upstream = MESH_UP_HTTP;
}

struct tale {
    void (*change)(struct mesh_config *config);
    void (*run)(struct story *s, const char *session);
    const char *agreed;
};
static const struct tale of_a_child = {NULL, story_run, AGREED("2025-11-25")};
static const struct tale of_a_batch = {NULL, story_of_a_batch, AGREED("2025-03-26")};
static const struct tale of_streams = {http, story_of_streams, AGREED("2025-11-25")};
static const struct tale of_one_stream = {http, story_of_one_stream, AGREED("2025-11-25")};

static void check_outcomes(const struct story *s)
{
    const struct pump *p = s->p;
    for (uint32_t n = 0; n < s->count; n++) {
        const struct client *c = &p->clients[s->clients[n]];
        assert_false(c->is_open);
        assert_int_equal(c->ends, !handle_is_none(c->handle));
    }
    assert_in_range(pump_executions(p, CALL("1")), 0, 1); /* E2 */
    assert_in_range(pump_executions(p, CALL("2")), 0, 1);
    assert_in_range(pump_executions(p, CALL("4")), 0, 1);
}

static bool has_copies(const struct pump *p)
{
    struct mesh_levels levels;
    bool has = false;
    for (uint32_t n = 0; n < p->nodes_count; n++) {
        mesh_levels(p->nodes[n].mesh, &levels);
        has = has || levels.copies > 0;
    }
    return has;
}

/* Returns whether memory failed at all. */
static bool sweep_step(const struct tale *tale, uint32_t from, uint32_t count)
{
    struct story s = {.p = pump_new(2, tale->change)};
    struct pump *p = s.p;
    bool is_http = tale->change != NULL;
    char session[MESH_SESSION_TEXT];
    uint32_t begun = pump_begin_with(p, 0, is_http, INITIALIZE_NEW, tale->agreed);
    memcpy(session, pump_session(p, begun), sizeof session);
    s.served = p->ucalls_count;
    arm(from, count);
    tale->run(&s, session);
    bool failed = allocations > from;
    pump_run(p, 2000);
    is_armed = false;
    /* memory is back: what was begun ends, and what was refused may be asked again */
    pump_run(p, 21000);
    uint32_t again = pump_ask(p, 1, MESH_DELETE, session, "", 0);
    if (is_http)
        server_runs(&s, 1000);
    pump_run(p, 1000);
    assert_false(p->clients[again].is_open);
    /* ENDED, a 404 as well: an earlier DELETE was still at the server, and came first */
    assert_true(p->clients[again].why == MESH_OK || p->clients[again].why == MESH_SESSION_UNKNOWN ||
                p->clients[again].why == MESH_SESSION_ENDED);
    pump_run(p, 21000);
    if (has_copies(p)) /* of whose end nobody could be told: they are asked about */
        pump_run(p, COPIES_STALE_MS + COPIES_DIGEST_MS);
    check_outcomes(&s);
    assert_quiet(p, 0);
    pump_free(p);
    return failed;
}

static void sweep(const struct tale *tale)
{
    uint32_t n = 0;
    while (sweep_step(tale, n, 1))
        n++;
    assert_in_range(n, 50, 20000);
    for (n = 0; sweep_step(tale, n, 40);)
        n += 7;
}

/* The requests that came to an upstream since, and wait there, are answered. */
static void server_says(struct pump *p, uint32_t since, const char *text)
{
    for (uint32_t n = since; n < p->ucalls_count; n++) {
        struct ucall *u = &p->ucalls[n];
        if (!pump_up(p, u->node, u->up)->is_open)
            continue;
        pump_head(p, u, 200, MESH_FORM_JSON, MESH_UP_SESSION_SAME);
        pump_event(p, u, text);
        pump_end(p, u, MESH_END_WHOLE, MESH_OK);
        pump_settle(p);
    }
}

/* Asked of `node`, answered with `text`; the client. */
static uint32_t modern_round(struct pump *p, uint32_t node, const char *ask, const char *text)
{
    uint32_t since = p->ucalls_count;
    uint32_t client = pump_ask_modern(p, node, ask, NULL);
    pump_settle(p);
    pump_run(p, 1500);
    server_says(p, since, text);
    pump_run(p, 1500);
    return client;
}

#define GIVES_STATE                                                                                \
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"requestState\":\"a-state-of-that-server\"}}"
#define GIVES_TASK "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"taskId\":\"t-%u\"}}"
#define ASKS_TASK                                                                                  \
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tasks/get\",\"params\":{\"taskId\":\"t-%u\"}}"

/* A state and some tasks of the session-less era. Returns whether memory failed at all. */
static bool modern_sweep_step(uint32_t from)
{
    struct pump *p = pump_new(2, http);
    uint32_t clients[16], count = 0;
    char text[200], asks[200], *state;
    arm(from, 1);
    clients[count++] = modern_round(p, 0, CALL("1"), GIVES_STATE);
    state = strstr(p->clients[clients[0]].last, "\"requestState\":");
    snprintf(text, sizeof text,
             "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{%.*s}}",
             state == NULL ? 0 : (int)strcspn(state, "}"), state == NULL ? "" : state);
    clients[count++] = modern_round(p, 1, text, RESULT("1"));
    for (uint32_t n = 0; n < 4; n++) {
        snprintf(text, sizeof text, GIVES_TASK, n);
        snprintf(asks, sizeof asks, ASKS_TASK, n);
        clients[count++] = modern_round(p, n % 2, CALL("1"), text);
        clients[count++] = modern_round(p, (n + 1) % 2, asks, RESULT("1"));
    }
    bool failed = allocations > from;
    is_armed = false;
    pump_run(p, 10000);
    server_says(p, 0, RESULT("1")); /* what came late */
    pump_run(p, 30000);
    for (uint32_t n = 0; n < count; n++) {
        const struct client *c = &p->clients[clients[n]];
        assert_false(c->is_open);
        assert_int_equal(c->ends, !handle_is_none(c->handle));
    }
    assert_quiet(p, 0);
    pump_free(p);
    return failed;
}

static void test_any_one_allocation_of_the_session_less_era_may_fail(void **state)
{
    (void)state;
    uint32_t n = 0;
    while (modern_sweep_step(n))
        n++;
    assert_true(n > 100);
}

#define SUBSCRIBE "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"subscriptions/listen\"}"

/* A stream of the session-less era that its server never ends: whoever's memory failed, nothing of
 * it is left once its client is gone. Returns whether memory failed at all. */
static bool subscription_sweep_step(uint32_t from)
{
    struct pump *p = pump_new(2, http);
    arm(from, 1);
    uint32_t client = pump_ask_modern(p, 1, SUBSCRIBE, NULL);
    pump_settle(p);
    for (int n = 0; n < 3 && p->ucalls_count > 0; n++) {
        if (n == 0)
            pump_head(p, pump_last(p), 200, MESH_FORM_SSE, MESH_UP_SESSION_SAME);
        pump_event(p, pump_last(p), LOG("a"));
        pump_settle(p);
    }
    bool failed = allocations > from;
    is_armed = false;
    pump_run(p, 20000);
    if (p->clients[client].is_open)
        pump_close(p, client);
    pump_run(p, 30000);
    assert_quiet(p, 0);
    pump_free(p);
    return failed;
}

static void test_memory_may_fail_a_stream_without_an_end(void **state)
{
    (void)state;
    uint32_t n = 0;
    while (subscription_sweep_step(n))
        n++;
    assert_true(n > 10);
}

static void test_memory_may_fail_a_batch_and_a_handshake_of_ours(void **state)
{
    (void)state;
    sweep(&of_a_batch);
}

static void test_memory_may_fail_a_child_and_its_clients(void **state)
{
    (void)state;
    sweep(&of_a_child);
}

static void test_memory_may_fail_streams_that_go_on(void **state)
{
    (void)state;
    sweep(&of_streams);
}

static void test_memory_may_fail_sessions_of_one_stream(void **state)
{
    (void)state;
    sweep(&of_one_stream);
}

static void test_making_a_mesh_without_memory_is_an_error(void **state)
{
    (void)state;
    struct pump none = {.nodes_count = 1};
    struct mesh_config config;
    struct mesh *mesh = NULL;
    pump_config(&none, 0, &config);
    for (uint32_t n = 0;; n++) {
        arm(n, 1);
        int rc = mesh_new(&mesh, &config, 1);
        is_armed = false;
        if (rc == 0)
            break;
        assert_int_equal(rc, -ENOMEM);
        assert_null(mesh);
    }
    mesh_free(mesh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings_that_make_no_sense_are_refused),
        cmocka_unit_test(test_a_mesh_of_one_serves_at_once),
        cmocka_unit_test(test_an_upstream_that_does_not_serve_takes_no_new_session),
        cmocka_unit_test(test_what_a_host_sees_of_sessions_and_ids),
        cmocka_unit_test(test_leaving_ends_what_waits_and_lets_what_runs_finish),
        cmocka_unit_test(test_leaving_is_over_in_time_with_an_end_for_everybody),
        cmocka_unit_test(test_what_comes_after_the_last_word_of_leaving_is_answered_as_well),
        cmocka_unit_test(test_a_small_budget_refuses_and_crashes_nothing),
        cmocka_unit_test(test_making_a_mesh_without_memory_is_an_error),
        cmocka_unit_test(test_any_one_allocation_of_the_session_less_era_may_fail),
        cmocka_unit_test(test_memory_may_fail_a_stream_without_an_end),
        cmocka_unit_test(test_memory_may_fail_a_batch_and_a_handshake_of_ours),
        cmocka_unit_test(test_memory_may_fail_a_child_and_its_clients),
        cmocka_unit_test(test_memory_may_fail_streams_that_go_on),
        cmocka_unit_test(test_memory_may_fail_sessions_of_one_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
