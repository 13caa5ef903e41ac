/* Tests of what is asked, said and lost in no order at all: clients of both transports and eras,
 * upstreams that answer anything to anything, links that break, peers that say what no peer would.
 * Whatever comes, no pump's rule is broken (mesh_pump.h: heads before texts, one end, ids that
 * follow each other, no more room than came), and when all have gone nothing is left. */
#include "mesh/session/call.h"
#include "mesh/session/core.h"
#include "tests/unit/streams_pump.h"

#define SEEDS 60u
#define STEPS 250
#define SESSIONS_MAX 12u
#define IDLE_MS 120000u /* of sessions that outlive their upstreams */

struct disorder {
    struct pump *p;
    struct shuffle chance;
    char sessions[SESSIONS_MAX][MESH_SESSION_TEXT];
    bool is_single[SESSIONS_MAX];
    uint32_t sessions_count;
    bool has_peers; /* that talk nonsense */
    /* of each request of an upstream: its host tells one head, of JSON one text, one end */
    struct told {
        bool has_head, has_text, has_end;
        enum mesh_form form;
    } told[UCALLS_MAX];
};

static uint32_t below(struct disorder *d, uint32_t limit)
{
    return shuffle_below(&d->chance, limit);
}

/* ---- clients --------------------------------------------------------------------------------- */

static const char *text_of_a_client(struct disorder *d)
{
    static const char *const texts[] = {
        CALL("1"),
        CALL("2"),
        CALL("3"),
        LIST("4"),
        TOKEN_CALL("5", "5"),
        CALL("\"1\""),
        INITIALIZE,
        INITIALIZE_NEW,
        INITIALIZED,
        RESULT("0"),
        RESULT("7"),
        "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":1}}",
        "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":2}}",
        "[" CALL("1") "," LIST("2") "," INITIALIZED "]",
        "[" INITIALIZED "]",
        "[" CALL("3") "," CALL("3") "]",
        "{\"jsonrpc\":\"2.0\",\"id\":6,\"method\":\"subscriptions/listen\"}"};
    return texts[below(d, sizeof texts / sizeof texts[0])];
}

static void sessions_note(struct disorder *d)
{
    struct pump *p = d->p;
    for (uint32_t n = 0; n < p->clients_count && d->sessions_count < SESSIONS_MAX; n++) {
        struct client *c = &p->clients[n];
        if (!c->has_session)
            continue;
        c->has_session = false;
        d->is_single[d->sessions_count] = c->form == MESH_FORM_SSE && c->position.epoch == 0;
        memcpy(d->sessions[d->sessions_count++], c->session, MESH_SESSION_TEXT);
    }
}

/* Where a stream stopped, or any place. */
static void place_of(struct disorder *d, char shown[EVENT_ID_TEXT + 1])
{
    struct event_id id = {.stream = below(d, 5),
                          .epoch = 1 + below(d, 8) / 7,
                          .number = below(d, 12),
                          .is_last = below(d, 8) == 0};
    memset(shown, 0, EVENT_ID_TEXT + 1);
    if (below(d, 10) > 0)
        (void)event_id_write(shown, &id);
    else
        memcpy(shown, "x-1", 3);
}

static void client_asks(struct disorder *d)
{
    struct pump *p = d->p;
    char shown[EVENT_ID_TEXT + 1];
    uint32_t node = below(d, p->nodes_count), of = below(d, SESSIONS_MAX);
    const char *session = of < d->sessions_count ? d->sessions[of] : NULL, *text = "";
    struct mesh_request r = {.want = MESH_CALL};
    r.token.hash[0] = (uint8_t)below(d, 3);
    uint32_t drawn = below(d, 20);
    if (p->clients_count >= CLIENTS_MAX)
        return;
    if (drawn == 0) {
        p->clients[pump_sse_again(p, node)].is_lied_to = d->has_peers;
        return;
    }
    if (drawn <= 2) {
        r.want = MESH_SSE;
        r.front = MESH_FRONT_SSE;
        session = NULL;
    } else if (drawn <= 5) {
        r.want = MESH_LISTEN;
    } else if (drawn <= 8) {
        r.want = MESH_LISTEN;
        place_of(d, shown);
        r.last_event_id = slice_text(shown);
    } else if (drawn == 9) {
        r.want = MESH_DELETE;
    } else if (drawn == 10) {
        r.want = MESH_PASS;
    } else {
        text = text_of_a_client(d);
        r.era = below(d, 8) == 0 ? MESH_MODERN : MESH_LEGACY;
        r.front = session != NULL && d->is_single[of] ? MESH_FRONT_SSE : MESH_FRONT_HTTP;
    }
    uint32_t client = pump_open(p, node, r, session, text);
    p->clients[client].is_slow = below(d, 5) == 0;
    p->clients[client].is_lied_to = d->has_peers;
}

static void client_moves(struct disorder *d)
{
    struct pump *p = d->p;
    uint32_t n = below(d, p->clients_count + 1);
    if (n >= p->clients_count || !p->clients[n].is_open)
        return;
    if (below(d, 3) == 0)
        pump_close(p, n);
    else if (p->clients[n].untaken > 0)
        pump_take(p, n, 1 + below(d, (uint32_t)p->clients[n].untaken));
}

/* ---- upstreams ------------------------------------------------------------------------------- */

static const char *text_of_a_server(struct disorder *d)
{
    static const char *const texts[] = {RESULT("1"),
                                        RESULT("2"),
                                        RESULT("3"),
                                        RESULT("4"),
                                        RESULT("5"),
                                        RESULT("0"),
                                        FAULT("1"),
                                        AGREED("2025-11-25"),
                                        AGREED("2025-03-26"),
                                        LOG("a"),
                                        LOG("b"),
                                        PROGRESS("5"),
                                        SAMPLE("0"),
                                        SAMPLE("7"),
                                        "[" RESULT("1") "]",
                                        "{\"no\":\"message\"}"};
    uint32_t drawn = below(d, sizeof texts / sizeof texts[0] + 1);
    return drawn < sizeof texts / sizeof texts[0] ? texts[drawn] : note(1 + 100 * KIB);
}

static struct ucall *ucall_any(struct disorder *d)
{
    struct pump *p = d->p;
    for (uint32_t tries = 0; tries < 8 && p->ucalls_count > 0; tries++) {
        uint32_t back = below(d, p->ucalls_count < 20 ? p->ucalls_count : 20);
        struct ucall *u = &p->ucalls[p->ucalls_count - 1 - back];
        if (pump_up(p, u->node, u->up)->is_open && !d->told[u - p->ucalls].has_end)
            return u;
    }
    return NULL;
}

static void tell_head(struct disorder *d, struct ucall *u, int status, enum mesh_form form,
                      enum mesh_up_session session)
{
    struct told *told = &d->told[u - d->p->ucalls];
    if (told->has_head)
        return;
    told->has_head = true;
    told->form = form;
    pump_head(d->p, u, status, form, session);
}

static void tell_end(struct disorder *d, struct ucall *u, enum mesh_end end, enum mesh_reason why)
{
    d->told[u - d->p->ucalls].has_end = true;
    pump_end(d->p, u, end, why);
}

static void tell_text(struct disorder *d, struct ucall *u, const char *text)
{
    struct told *told = &d->told[u - d->p->ucalls];
    if (core_of(d->p, 0)->config.upstream != MESH_UP_HTTP)
        pump_say(d->p, u, text);
    else if (told->has_head &&
             (told->form == MESH_FORM_SSE || (told->form == MESH_FORM_JSON && !told->has_text)))
        pump_event(d->p, u, text);
    told->has_text = true;
}

static void server_says(struct disorder *d)
{
    static const int statuses[] = {200, 200, 200, 200, 202, 204, 400, 401, 404, 405, 409, 500};
    static const enum mesh_reason whys[] = {MESH_OK,
                                            MESH_OK,
                                            MESH_UPSTREAM_DOWN,
                                            MESH_UPSTREAM_LOST,
                                            MESH_UPSTREAM_BAD,
                                            MESH_ANSWER_TOO_LARGE};
    static const char part[1000];
    struct pump *p = d->p;
    struct ucall *u = ucall_any(d);
    enum mesh_upstream_kind kind = core_of(p, 0)->config.upstream;
    uint32_t drawn = below(d, 8);
    if (u == NULL)
        return;
    bool is_raw = d->told[u - p->ucalls].has_head && d->told[u - p->ucalls].form == MESH_FORM_RAW;
    if (drawn < 2) {
        tell_text(d, u, text_of_a_server(d));
    } else if (kind != MESH_UP_HTTP && drawn < 5) {
        mesh_up_too_large(p->nodes[u->node].mesh, u->up, RPC_RESPONSE, slice_text("2"), p->now_ms);
    } else if (kind == MESH_UP_STDIO || kind == MESH_UP_BUILTIN) {
        return;
    } else if (drawn == 2) {
        tell_end(d, u, below(d, 2) == 0 ? MESH_END_WHOLE : MESH_END_CUT, whys[below(d, 6)]);
    } else if (drawn == 3) {
        pump_mark(p, u, below(d, 4) == 0 ? "" : "m1", below(d, 2) * 100);
    } else if (drawn == 4 && is_raw) {
        pump_data(p, u, part, sizeof part);
    } else if (kind == MESH_UP_HTTP) {
        tell_head(d, u, statuses[below(d, 12)], (enum mesh_form)below(d, MESH_FORM_RAW + 1),
                  below(d, 12) == 0 ? MESH_UP_SESSION_LOST
                                    : (enum mesh_up_session)below(d, MESH_UP_SESSION_LOST));
    } else {
        tell_head(d, u, statuses[6 + below(d, 6)], MESH_FORM_NONE, MESH_UP_SESSION_SAME);
        tell_end(d, u, MESH_END_WHOLE, MESH_OK);
    }
}

/* Under an id of the mesh: its handshake again. */
static bool is_step(const struct ucall *u, bool begins, char text[256])
{
    const char *id = strstr(u->text, "\"id\":\"m-");
    if (id == NULL)
        return false;
    id += strlen("\"id\":");
    snprintf(text, 256, "{\"jsonrpc\":\"2.0\",\"id\":%.*s,\"result\":{%s}}", (int)strcspn(id, ",}"),
             id, begins ? "\"protocolVersion\":\"2025-11-25\"" : "");
    return true;
}

/* As it would, most of the time. */
static void server_answers(struct disorder *d)
{
    struct pump *p = d->p;
    struct ucall *u = ucall_any(d);
    if (u == NULL)
        return;
    bool begins = strstr(u->text, "\"initialize\"") != NULL;
    char own[256];
    const char *text = is_step(u, begins, own)       ? own
                       : begins                      ? AGREED("2025-11-25")
                       : strstr(u->text, "\"id\":1") ? RESULT("1")
                       : strstr(u->text, "\"id\":2") ? RESULT("2")
                                                     : LOG("c");
    bool is_sse = u->kind == MESH_UP_LISTEN || below(d, 2) == 0;
    if (core_of(p, 0)->config.upstream == MESH_UP_HTTP)
        tell_head(d, u, 200, is_sse ? MESH_FORM_SSE : MESH_FORM_JSON,
                  begins ? MESH_UP_SESSION_MADE : MESH_UP_SESSION_SAME);
    if (is_sse && below(d, 4) == 0)
        pump_mark(p, u, "m1", 100);
    if (!is_sse || begins || below(d, 3) > 0)
        tell_text(d, u, text); /* or it ends its stream early */
    if (core_of(p, 0)->config.upstream == MESH_UP_HTTP && u->kind == MESH_UP_SEND)
        tell_end(d, u, MESH_END_WHOLE, MESH_OK);
}

static void upstream_moves(struct disorder *d)
{
    struct pump *p = d->p;
    uint32_t n = below(d, p->ups_count + 1);
    if (n >= p->ups_count || !p->ups[n].is_open)
        return;
    if (below(d, 4) > 0) {
        mesh_up_ready(p->nodes[p->ups[n].node].mesh, p->ups[n].handle, p->now_ms);
        return;
    }
    p->ups[n].is_open = false;
    mesh_up_closed(p->nodes[p->ups[n].node].mesh, p->ups[n].handle,
                   below(d, 2) == 0 ? MESH_UPSTREAM_LOST : MESH_OK, p->now_ms);
}

/* ---- peers ----------------------------------------------------------------------------------- */

static void message_draw(struct disorder *d, struct wire_message *m)
{
    static const enum wire_kind kinds[] = {WIRE_HEAD,   WIRE_EVENT,   WIRE_DATA,  WIRE_END,
                                           WIRE_WHOLE,  WIRE_REFUSED, WIRE_MOVED, WIRE_NOT_YET,
                                           WIRE_CANCEL, WIRE_DONE};
    memset(m, 0, sizeof *m);
    m->kind = kinds[below(d, sizeof kinds / sizeof kinds[0])];
    switch ((int)m->kind) {
    case WIRE_HEAD:
    case WIRE_WHOLE:
        m->head.status = 200;
        m->head.form = (enum mesh_form)below(d, MESH_FORM_RAW + 1);
        m->head.serial = below(d, 3);
        break;
    case WIRE_EVENT:
        m->text.answers = below(d, 2) == 0;
        break;
    case WIRE_END:
    case WIRE_REFUSED:
        m->end.end = (enum mesh_end)below(d, MESH_END_LAST + 1);
        m->end.why = (enum mesh_reason)below(d, MESH_REASON_LAST + 1);
        break;
    }
    if (m->kind == WIRE_EVENT || m->kind == WIRE_DATA || m->kind == WIRE_WHOLE)
        m->payload = slice_text(text_of_a_server(d));
}

/* Somewhere, one end of a lane says something that its state does not call for. */
static void peer_says(struct disorder *d)
{
    struct wire_message m;
    struct handle h;
    struct core *core = core_of(d->p, below(d, d->p->nodes_count));
    bool is_owner = below(d, 2) == 0;
    struct pool *pool = is_owner ? &core->serve.calls : &core->entry.exchanges;
    uint32_t slot = below(d, pool_span(pool) + 1);
    void *of = pool_slot(pool, slot, &h);
    if (of == NULL)
        return;
    struct lane lane = is_owner ? ((struct call *)of)->answer.lane : ((struct exchange *)of)->lane;
    message_draw(d, &m);
    if (lane_is_none(lane))
        return;
    m.name = is_owner ? ((struct call *)of)->name : ((struct exchange *)of)->name;
    m.epoch = (struct mesh_epoch){1, core_self(core)};
    (void)links_send(core->links, lane, is_owner ? LINKS_OWNER : LINKS_ENTRY, &m);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void step(struct disorder *d)
{
    struct pump *p = d->p;
    uint32_t drawn = below(d, 100);
    if (drawn < 30)
        client_asks(d);
    else if (drawn < 42)
        client_moves(d);
    else if (drawn < 62)
        server_answers(d);
    else if (drawn < 82)
        server_says(d);
    else if (drawn < 86)
        upstream_moves(d);
    else if (drawn < 89)
        pump_cut(p, 0, 1);
    else if (drawn < 94 && d->has_peers)
        peer_says(d);
    else
        pump_run(p, below(d, 4) == 0 ? below(d, 40000) : below(d, 300));
    if (below(d, 3) > 0)
        pump_settle(p);
    sessions_note(d);
}

static void everybody_goes(struct disorder *d)
{
    struct pump *p = d->p;
    pump_settle(p);
    for (uint32_t n = 0; n < p->clients_count; n++)
        if (p->clients[n].is_open)
            pump_close(p, n);
    p->ups_wait = false;
    pump_run(p, 40000);
    for (uint32_t n = 0; n < p->ups_count; n++) {
        if (!p->ups[n].is_open)
            continue;
        p->ups[n].is_open = false;
        mesh_up_closed(p->nodes[p->ups[n].node].mesh, p->ups[n].handle, MESH_OK, p->now_ms);
    }
    pump_run(p, 40000 + IDLE_MS);
    for (uint32_t n = 0; n < p->clients_count; n++)
        assert_in_range(p->clients[n].ends, 0, 1);
}

static void of_sse(struct mesh_config *config)
{
    config->session_idle_ms = IDLE_MS;
    config->upstream = MESH_UP_SSE;
}

static void of_child(struct mesh_config *config)
{
    config->session_idle_ms = IDLE_MS;
    config->upstream = MESH_UP_STDIO;
}

static void of_http(struct mesh_config *config)
{
    config->session_idle_ms = IDLE_MS;
    config->upstream = MESH_UP_HTTP;
}

static void of_builtin(struct mesh_config *config)
{
    config->session_idle_ms = IDLE_MS;
    config->upstream = MESH_UP_BUILTIN;
}

static void disorder_run(uint32_t seed, bool has_peers)
{
    static void (*const kinds[])(struct mesh_config *) = {http_ends,  of_http, of_child, of_sse,
                                                          of_builtin, of_http, ends};
    struct disorder d = {.has_peers = has_peers};
    struct rng rng;
    uint8_t entropy[32] = {(uint8_t)seed, (uint8_t)(seed >> 8), has_peers};
    rng_init(&rng, entropy);
    shuffle_init(&d.chance, &rng);
    d.p = pump_new(2, kinds[seed % 7]);
    d.p->ups_wait = below(&d, 2) == 0;
    for (int n = 0; n < STEPS; n++)
        step(&d);
    everybody_goes(&d);
    assert_quiet(d.p, 0);
    pump_free(d.p);
}

static void test_clients_and_upstreams_in_disorder_leave_nothing_behind(void **state)
{
    (void)state;
    for (uint32_t seed = 0; seed < SEEDS; seed++)
        disorder_run(seed, false);
}

static void test_peers_that_say_anything_leave_nothing_behind(void **state)
{
    (void)state;
    for (uint32_t seed = 0; seed < SEEDS; seed++)
        disorder_run(seed, true);
}

/* With two numbers: the seeds from the one to the other. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clients_and_upstreams_in_disorder_leave_nothing_behind),
        cmocka_unit_test(test_peers_that_say_anything_leave_nothing_behind),
    };
    if (sodium_init() < 0)
        return 1;
    for (int seed = argc > 2 ? atoi(argv[1]) : 0; argc > 2 && seed <= atoi(argv[2]); seed++) {
        fprintf(stderr, "seed %d\n", seed);
        disorder_run((uint32_t)seed, false);
        disorder_run((uint32_t)seed, true);
    }
    if (argc > 2)
        return 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
