/* Tests of replay.h: a session whose upstream is lost goes on with a fresh one, at home and after a
 * takeover: what that is told, which requests run again, what their clients hear (reference mcp.md,
 * sections 4.2 and 5). */
#include "mesh/session/replay.h"

#include "mesh/session/core.h"
#include "tests/unit/streams_pump.h"

#define SECOND "188125" /* how clients see the second epoch of a session of n0 there */

/* A session at node 0, its clients at any, and what its upstreams were given so far. */
struct bench {
    struct pump *p;
    const char *session;
    bool is_http;
    uint32_t seen; /* of p->ucalls */
};

#define CAPABLE(version)                                                                           \
    "{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":{\"protocolVersion\":\"" version                     \
    "\",\"capabilities\":{\"tools\":{\"listChanged\":true},\"prompts\":{},\"resources\":"          \
    "{\"listChanged\":true,\"subscribe\":true}}}}"
#define LEVEL(id)                                                                                  \
    "{\"jsonrpc\":\"2.0\",\"id\":" id                                                              \
    ",\"method\":\"logging/setLevel\",\"params\":{\"level\":\"error\"}}"
#define SUBSCRIBE(id, uri)                                                                         \
    "{\"jsonrpc\":\"2.0\",\"id\":" id                                                              \
    ",\"method\":\"resources/subscribe\",\"params\":{\"uri\":\"" uri "\"}}"
#define UNSUBSCRIBE(id, uri)                                                                       \
    "{\"jsonrpc\":\"2.0\",\"id\":" id                                                              \
    ",\"method\":\"resources/unsubscribe\",\"params\":{\"uri\":\"" uri "\"}}"
#define ROOTS "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/roots/list_changed\"}"
#define CANCEL(id)                                                                                 \
    "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":" id    \
    ",\"reason\":\"the server that asked is gone\"}}"
#define TOKEN_LIST(id, token)                                                                      \
    "{\"jsonrpc\":\"2.0\",\"id\":" id                                                              \
    ",\"method\":\"tools/list\",\"params\":{\"_meta\":{\"progressToken\":" token "}}}"
#define STEP(token, progress)                                                                      \
    "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/"                                             \
    "progress\",\"params\":{\"progressToken\":" token ",\"progress\":" progress "}}"

static void old_server(struct mesh_config *config)
{
    config->upstream = MESH_UP_SSE;
}

static void builtin(struct mesh_config *config)
{
    config->upstream = MESH_UP_BUILTIN;
}

static void (*const kinds[])(struct mesh_config *) = {http, NULL, old_server, builtin};
#define KINDS 4
#define PARK_MS 10000 /* --park-timeout */

static bool was_given(const struct ucall *u)
{
    return u->kind == MESH_UP_SEND;
}

/* The next thing that an upstream was told; its GETs are not counted. */
static struct ucall *told(struct bench *b)
{
    pump_settle(b->p);
    while (b->seen < b->p->ucalls_count)
        if (was_given(&b->p->ucalls[b->seen++]))
            return &b->p->ucalls[b->seen - 1];
    fail_msg("nothing was said to an upstream");
    return NULL;
}

static void assert_nothing_told(struct bench *b)
{
    pump_settle(b->p);
    for (; b->seen < b->p->ucalls_count; b->seen++)
        assert_false(was_given(&b->p->ucalls[b->seen]));
}

static void answer(struct bench *b, struct ucall *u, const char *text)
{
    bool begins = strstr(u->text, "\"initialize\"") != NULL;
    if (b->is_http) {
        pump_head(b->p, u, 200, MESH_FORM_JSON,
                  begins ? MESH_UP_SESSION_MADE : MESH_UP_SESSION_SAME);
        pump_event(b->p, u, text);
        pump_end(b->p, u, MESH_END_WHOLE, MESH_OK);
    } else {
        pump_say(b->p, u, text);
    }
    pump_settle(b->p);
}

static void accept_it(struct bench *b, struct ucall *u)
{
    if (b->is_http) {
        pump_head(b->p, u, 202, MESH_FORM_NONE, MESH_UP_SESSION_SAME);
        pump_end(b->p, u, MESH_END_WHOLE, MESH_OK);
    }
    pump_settle(b->p);
}

/* Its request of that id, of ours: "m-........-N". */
static struct ucall *told_step(struct bench *b, const char *text, unsigned step, char id[32])
{
    char before[16];
    struct ucall *u = told(b);
    const char *at = strstr(u->text, "\"id\":\"m-");
    assert_non_null(at);
    assert_non_null(strstr(u->text, text));
    at += strlen("\"id\":");
    snprintf(id, 32, "%.*s", (int)strcspn(at, ",}"), at);
    snprintf(before, sizeof before, "-%u\"", step);
    assert_string_equal(id + 11, before);
    for (size_t n = 3; n < 11; n++)
        assert_non_null(strchr("0123456789abcdef", id[n]));
    return u;
}

static void answer_step(struct bench *b, struct ucall *u, const char *id, const char *body)
{
    char text[512];
    snprintf(text, sizeof text, "{\"jsonrpc\":\"2.0\",\"id\":%s,%s}", id, body);
    answer(b, u, text);
}

#define GOOD "\"result\":{}"
#define BAD "\"error\":{\"code\":-32000,\"message\":\"no\"}"
#define AGREES(version) "\"result\":{\"protocolVersion\":\"" version "\"}"

/* The two steps that there always are; the upstream that answered them. */
static struct ucall *shake(struct bench *b)
{
    char id[32];
    struct ucall *u = told_step(b, "\"initialize\"", 0, id);
    answer_step(b, u, id, AGREES("2025-11-25"));
    u = told(b);
    assert_string_equal(u->text, INITIALIZED);
    accept_it(b, u);
    return u;
}

static struct bench bench_new(uint32_t nodes, void (*change)(struct mesh_config *))
{
    struct bench b = {.p = pump_new(nodes, change), .is_http = change == http};
    uint32_t made = pump_begin_with(b.p, 0, b.is_http, INITIALIZE_NEW, CAPABLE("2025-11-25"));
    b.session = pump_session(b.p, made);
    (void)told(&b);
    uint32_t done = ask(b.p, 0, b.session, INITIALIZED);
    accept_it(&b, told(&b));
    assert_int_equal(b.p->clients[done].status, 202);
    return b;
}

/* Its upstream is gone: a child exits, the server behind does not know its id any more. */
static void lose(struct bench *b, struct ucall *of)
{
    struct up *up = pump_up(b->p, of->node, of->up);
    if (!up->is_open)
        return;
    up->is_open = false;
    mesh_up_closed(b->p->nodes[of->node].mesh, of->up, MESH_UPSTREAM_LOST, b->p->now_ms);
    pump_run(b->p, 10);
}

static struct mesh_stats stats(const struct bench *b)
{
    struct mesh_stats s;
    mesh_stats(b->p->nodes[0].mesh, &s);
    return s;
}

static void bench_free(struct bench *b)
{
    pump_free(b->p);
}

/* ---- the handshake again --------------------------------------------------------------------- */

static void test_the_next_request_opens_a_fresh_upstream_and_waits_for_its_handshake(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        struct bench b = bench_new(2, kinds[k]);
        struct ucall *u = pump_last(b.p);
        lose(&b, u);
        assert_nothing_told(&b); /* nobody needs one */
        uint32_t one = ask(b.p, 1, b.session, CALL("1")), two = ask(b.p, 0, b.session, LIST("2"));
        u = shake(&b);
        u = told(&b);
        assert_string_equal(u->text, CALL("1"));
        struct ucall *second = told(&b);
        assert_string_equal(second->text, LIST("2"));
        answer(&b, u, RESULT("1"));
        answer(&b, second, RESULT("2"));
        assert_whole(b.p, one);
        assert_whole(b.p, two);
        assert_int_equal(stats(&b).upstreams_lost, 1);
        assert_int_equal(stats(&b).sessions_resumed, 1);
        uint32_t third = ask(b.p, 1, b.session, CALL("3"));
        u = told(&b);
        answer(&b, u, RESULT("3"));
        assert_whole(b.p, third);
        bench_free(&b);
    }
}

static void agree(struct bench *b, const char *text, const char *result)
{
    uint32_t client = ask(b->p, 1, b->session, text);
    answer(b, told(b), result);
    assert_whole(b->p, client);
}

static void test_level_and_subscriptions_are_said_again_as_they_were_accepted(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        struct bench b = bench_new(2, kinds[k]);
        char id[32];
        agree(&b, LEVEL("1"), RESULT("1"));
        agree(&b, SUBSCRIBE("2", "a:1"), RESULT("2"));
        agree(&b, SUBSCRIBE("3", "a:2"), FAULT("3"));
        agree(&b, SUBSCRIBE("4", "a:\\\"3"), RESULT("4"));
        agree(&b, SUBSCRIBE("5", "a:4"), RESULT("5"));
        agree(&b, UNSUBSCRIBE("6", "a:1"), RESULT("6"));
        agree(&b, UNSUBSCRIBE("7", "a:4"), FAULT("7"));
        agree(&b, SUBSCRIBE("8", "a:4"), RESULT("8"));
        lose(&b, pump_last(b.p));
        uint32_t client = ask(b.p, 0, b.session, LIST("9"));
        (void)shake(&b);
        struct ucall *u = told_step(&b, "\"level\":\"error\"", 2, id);
        answer_step(&b, u, id, GOOD);
        u = told_step(&b, "\"resources/subscribe\",\"params\":{\"uri\":\"a:\\\"3\"}", 3, id);
        answer_step(&b, u, id, BAD); /* it has no such resource: the rest is told all the same */
        u = told_step(&b, "\"uri\":\"a:4\"", 4, id);
        answer_step(&b, u, id, GOOD);
        u = told(&b);
        assert_string_equal(u->text, LIST("9"));
        answer(&b, u, RESULT("9"));
        assert_whole(b.p, client);
        bench_free(&b);
    }
}

/* Whatever answers first: a server takes what it is told in the order in which it was. */
static void test_the_later_of_two_wishes_counts_however_late_the_former_is_answered(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        struct bench b = bench_new(2, kinds[k]);
        static const char *const wishes[][2] = {
            {SUBSCRIBE("1", "a:3"), RESULT("1")},   {UNSUBSCRIBE("2", "a:1"), RESULT("2")},
            {SUBSCRIBE("3", "a:1"), RESULT("3")},   {SUBSCRIBE("4", "a:2"), RESULT("4")},
            {UNSUBSCRIBE("5", "a:2"), RESULT("5")}, {UNSUBSCRIBE("6", "a:3"), RESULT("6")}};
        struct ucall *told_of[6];
        uint32_t clients[6];
        char id[32];
        for (size_t n = 0; n < 6; n++) {
            clients[n] = ask(b.p, 1, b.session, wishes[n][0]);
            told_of[n] = told(&b);
        }
        for (size_t n = 6; n-- > 0;) {
            answer(&b, told_of[n], wishes[n][1]);
            assert_whole(b.p, clients[n]);
        }
        lose(&b, pump_last(b.p));
        uint32_t client = ask(b.p, 0, b.session, LIST("9"));
        (void)shake(&b);
        struct ucall *u = told_step(&b, "\"uri\":\"a:1\"", 3, id);
        answer_step(&b, u, id, GOOD);
        u = told(&b);
        assert_string_equal(u->text, LIST("9"));
        answer(&b, u, RESULT("9"));
        assert_whole(b.p, client);
        bench_free(&b);
    }
}

static void test_a_server_of_another_version_ends_the_session(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        struct bench b = bench_new(2, kinds[k]);
        char id[32];
        lose(&b, pump_last(b.p));
        uint32_t client = ask(b.p, 1, b.session, CALL("1"));
        struct ucall *u = told_step(&b, "\"initialize\"", 0, id);
        answer_step(&b, u, id, AGREES("2025-06-18"));
        pump_run(b.p, 100);
        assert_ended(b.p, client, MESH_SESSION_UNKNOWN);
        assert_ended(b.p, ask(b.p, 0, b.session, CALL("2")), MESH_SESSION_UNKNOWN);
        pump_run(b.p, 1000);
        assert_quiet(b.p, 0);
        bench_free(&b);
    }
}

static void test_a_refused_handshake_is_told_in_band_and_the_next_request_tries_again(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        struct bench b = bench_new(2, kinds[k]);
        char id[32];
        lose(&b, pump_last(b.p));
        uint32_t client = ask(b.p, 1, b.session, CALL("1"));
        struct ucall *u = told_step(&b, "\"initialize\"", 0, id);
        answer_step(&b, u, id, BAD);
        assert_ended(b.p, client, MESH_UPSTREAM_DOWN);
        assert_int_equal(stats(&b).replays_failed, 1);
        pump_run(b.p, 5000);
        assert_nothing_told(&b);
        client = ask(b.p, 1, b.session, CALL("2"));
        (void)shake(&b);
        answer(&b, told(&b), RESULT("2"));
        assert_whole(b.p, client);
        bench_free(&b);
    }
}

/* Its credentials are the causer's: only that one hears that they are not accepted. */
static void test_credentials_that_are_refused_are_their_owners_news_alone(void **state)
{
    (void)state;
    struct bench b = bench_new(2, http);
    char id[32];
    lose(&b, pump_last(b.p));
    uint32_t bad = ask(b.p, 1, b.session, CALL("1")), good = ask(b.p, 0, b.session, CALL("2"));
    struct ucall *u = told_step(&b, "\"initialize\"", 0, id);
    pump_head(b.p, u, 401, MESH_FORM_NONE, MESH_UP_SESSION_SAME);
    pump_end(b.p, u, MESH_END_WHOLE, MESH_OK);
    pump_run(b.p, 200);
    assert_whole(b.p, bad);
    assert_int_equal(b.p->clients[bad].status, 401);
    assert_string_equal(b.p->clients[bad].lines, "X-Up: 1\r\n");
    assert_true(b.p->clients[good].is_open);
    (void)shake(&b);
    answer(&b, told(&b), RESULT("2"));
    assert_whole(b.p, good);
    bench_free(&b);
}

static void test_a_handshake_without_an_answer_keeps_requests_ten_seconds(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        struct bench b = bench_new(2, kinds[k]);
        char id[32];
        lose(&b, pump_last(b.p));
        uint32_t client = ask(b.p, 1, b.session, CALL("1"));
        struct ucall *u = told_step(&b, "\"initialize\"", 0, id);
        pump_run(b.p, PARK_MS - 100);
        assert_true(b.p->clients[client].is_open);
        pump_run(b.p, 200);
        assert_ended(b.p, client, MESH_UPSTREAM_DOWN);
        /* it may still come: who asks then waits for the same */
        client = ask(b.p, 1, b.session, CALL("2"));
        assert_nothing_told(&b);
        answer_step(&b, u, id, AGREES("2025-11-25"));
        accept_it(&b, told(&b));
        answer(&b, told(&b), RESULT("2"));
        assert_whole(b.p, client);
        bench_free(&b);
    }
}

static void test_an_upstream_that_cannot_be_had_keeps_requests_ten_seconds(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        struct bench b = bench_new(2, kinds[k]);
        lose(&b, pump_last(b.p));
        b.p->ups_wait = true;
        uint32_t client = ask(b.p, 1, b.session, CALL("1")), ups = b.p->ups_count;
        uint64_t began_ms = b.p->now_ms;
        while (b.p->clients[client].is_open && b.p->now_ms < began_ms + 15000) {
            struct up *up = &b.p->ups[b.p->ups_count - 1];
            if (up->is_open) {
                up->is_open = false;
                mesh_up_closed(b.p->nodes[0].mesh, up->handle, MESH_UPSTREAM_DOWN, b.p->now_ms);
            }
            pump_run(b.p, 10);
        }
        assert_ended(b.p, client, MESH_UPSTREAM_DOWN);
        assert_in_range(b.p->now_ms - began_ms, PARK_MS - 100, PARK_MS + 100);
        assert_in_range(b.p->ups_count - ups, 3, 8); /* tried, but not in a storm */
        b.p->ups_wait = false;
        client = ask(b.p, 1, b.session, CALL("2"));
        pump_run(b.p, REPLAY_AGAIN_FIRST_MS);
        (void)shake(&b);
        answer(&b, told(&b), RESULT("2"));
        assert_whole(b.p, client);
        bench_free(&b);
    }
}

/* ---- requests under way ---------------------------------------------------------------------- */

static void test_what_may_run_again_does_and_what_may_not_is_told_so(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        struct bench b = bench_new(2, kinds[k]);
        uint32_t safe = ask(b.p, 1, b.session, LIST("1")), not = ask(b.p, 1, b.session, CALL("2"));
        struct ucall *u = told(&b);
        (void)told(&b);
        lose(&b, u);
        assert_true(b.p->clients[safe].is_open);
        assert_ended(b.p, not, MESH_UPSTREAM_LOST);
        (void)shake(&b); /* caused by who waits */
        u = told(&b);
        assert_string_equal(u->text, LIST("1"));
        assert_nothing_told(&b);
        answer(&b, u, RESULT("1"));
        assert_whole(b.p, safe);
        assert_int_equal(b.p->clients[safe].texts, 1);
        bench_free(&b);
    }
}

static void test_a_request_that_two_upstreams_died_of_is_not_given_to_a_third(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        struct bench b = bench_new(2, kinds[k]);
        uint32_t client = ask(b.p, 1, b.session, LIST("1"));
        lose(&b, told(&b));
        (void)shake(&b);
        lose(&b, told(&b));
        assert_ended(b.p, client, MESH_UPSTREAM_LOST);
        assert_nothing_told(&b);
        bench_free(&b);
    }
}

static void test_a_request_that_ran_is_never_told_that_it_did_not(void **state)
{
    (void)state;
    struct bench b = bench_new(2, NULL);
    char id[32];
    uint32_t client = ask(b.p, 1, b.session, LIST("1"));
    lose(&b, told(&b));
    struct ucall *u = told_step(&b, "\"initialize\"", 0, id);
    answer_step(&b, u, id, BAD);
    assert_ended(b.p, client, MESH_UPSTREAM_LOST);
    bench_free(&b);
}

/* The server behind was started anew: its 404 says that it did not run. */
static void test_a_request_refused_for_its_session_is_sent_again_whatever_it_does(void **state)
{
    (void)state;
    struct bench b = bench_new(2, http);
    uint32_t client = ask(b.p, 1, b.session, CALL("1"));
    pump_head(b.p, told(&b), 404, MESH_FORM_RAW, MESH_UP_SESSION_LOST);
    pump_run(b.p, 10);
    (void)shake(&b);
    struct ucall *u = told(&b);
    assert_string_equal(u->text, CALL("1"));
    /* but not for ever: this one knows no session of its own */
    pump_head(b.p, u, 404, MESH_FORM_RAW, MESH_UP_SESSION_LOST);
    for (int n = 0; n < 5 && b.p->clients[client].is_open; n++) {
        pump_run(b.p, 2000);
        (void)shake(&b);
        pump_head(b.p, told(&b), 404, MESH_FORM_RAW, MESH_UP_SESSION_LOST);
        pump_settle(b.p);
    }
    assert_ended(b.p, client, MESH_UPSTREAM_LOST);
    bench_free(&b);
}

/* The first run is known, by what it said: a GET for the rest that is refused is not a request that
 * was (E2). */
static void test_a_request_whose_rest_is_asked_for_has_run(void **state)
{
    (void)state;
    struct bench b = bench_new(2, http);
    uint32_t held = pump_ask(b.p, 1, MESH_LISTEN, b.session, "", 0);
    pump_settle(b.p);
    (void)stream_begins(b.p); /* the upstream's own stream: its 404 says something from now on */
    uint32_t client = ask(b.p, 1, b.session, CALL("1"));
    struct ucall *u = stream_begins(b.p);
    event(b.p, u, LOG("a"));
    pump_mark(b.p, u, "m1", 100);
    pump_end(b.p, u, MESH_END_WHOLE, MESH_OK);
    pump_run(b.p, 150);
    assert_int_equal(pump_last(b.p)->kind, MESH_UP_LISTEN);
    b.seen = b.p->ucalls_count;
    pump_head(b.p, pump_last(b.p), 404, MESH_FORM_RAW, MESH_UP_SESSION_LOST);
    pump_settle(b.p);
    uint32_t next = ask(b.p, 1, b.session, LIST("2"));
    (void)shake(&b);
    u = told(&b);
    assert_string_equal(u->text, LIST("2"));
    answer(&b, u, RESULT("2"));
    pump_run(b.p, 1000);
    assert_whole(b.p, next);
    assert_int_equal(pump_executions(b.p, CALL("1")), 1);
    assert_true(b.p->clients[held].is_open);
    (void)client;
    bench_free(&b);
}

static void test_progress_that_a_client_has_is_not_told_again(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        struct bench b = bench_new(2, kinds[k]);
        uint32_t client = ask(b.p, 1, b.session, TOKEN_LIST("1", "\"t\""));
        struct ucall *u = told(&b);
        if (b.is_http)
            (void)stream_begins(b.p);
        void (*tell)(struct pump *, const struct ucall *, const char *) = b.is_http ? event : say;
        tell(b.p, u, STEP("\"t\"", "1"));
        tell(b.p, u, STEP("\"t\"", "2.5"));
        assert_int_equal(b.p->clients[client].texts, 2);
        lose(&b, u);
        assert_true(b.p->clients[client].is_open);
        (void)shake(&b);
        u = told(&b);
        if (b.is_http)
            (void)stream_begins(b.p);
        tell(b.p, u, STEP("\"t\"", "1"));
        tell(b.p, u, STEP("\"t\"", "25e-1"));
        tell(b.p, u, STEP("\"t\"", "2.50001"));
        assert_int_equal(b.p->clients[client].texts, 3);
        assert_at(b.p, client, "1-2-1"); /* the stream goes on, in the next epoch */
        tell(b.p, u, RESULT("1"));
        if (b.is_http)
            pump_end(b.p, u, MESH_END_WHOLE, MESH_OK);
        pump_settle(b.p);
        assert_whole(b.p, client);
        assert_at(b.p, client, "1-2-2-e");
        bench_free(&b);
    }
}

/* What was begun as a stream goes on as one, however the fresh upstream answers. */
static void test_an_answer_in_one_piece_is_an_event_of_the_stream_that_was_begun(void **state)
{
    (void)state;
    struct bench b = bench_new(2, http);
    uint32_t client = ask(b.p, 1, b.session, LIST("1"));
    (void)stream_begins(b.p);
    struct ucall *u = told(&b);
    event(b.p, u, LOG("a"));
    lose(&b, u);
    (void)shake(&b);
    answer(&b, told(&b), RESULT("1"));
    assert_whole(b.p, client);
    assert_heard(b.p, client, ".a=");
    assert_at(b.p, client, "1-2-1-e");
    bench_free(&b);
}

static void test_of_notifications_under_way_only_changed_roots_go_on(void **state)
{
    (void)state;
    struct bench b = bench_new(2, http);
    static const char cancelled[] = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\","
                                    "\"params\":{\"requestId\":7}}";
    uint32_t roots = ask(b.p, 1, b.session, ROOTS), other = ask(b.p, 1, b.session, cancelled);
    struct ucall *u = told(&b);
    (void)told(&b);
    lose(&b, u);
    assert_whole(b.p, other);
    assert_int_equal(b.p->clients[other].status, 202);
    (void)shake(&b);
    u = told(&b);
    assert_string_equal(u->text, ROOTS);
    accept_it(&b, u);
    assert_whole(b.p, roots);
    assert_nothing_told(&b);
    bench_free(&b);
}

static void test_what_needs_no_upstream_opens_none(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        struct bench b = bench_new(2, kinds[k]);
        static const char *const words[] = {INITIALIZED, RESULT("0"), FAULT("0")};
        lose(&b, pump_last(b.p));
        uint32_t ups = b.p->ups_count;
        for (size_t n = 0; n < sizeof words / sizeof words[0]; n++) {
            uint32_t client = ask(b.p, 1, b.session, words[n]);
            assert_whole(b.p, client);
            assert_int_equal(b.p->clients[client].status, 202);
        }
        uint32_t end = pump_ask(b.p, 1, MESH_DELETE, b.session, "", 0);
        pump_settle(b.p);
        assert_whole(b.p, end);
        assert_int_equal(b.p->clients[end].status, 200);
        assert_int_equal(b.p->ups_count, ups);
        /* after it nothing is resumed */
        assert_ended(b.p, ask(b.p, 0, b.session, LIST("1")), MESH_SESSION_UNKNOWN);
        pump_run(b.p, 1000);
        assert_quiet(b.p, 0);
        bench_free(&b);
    }
}

static void test_a_delete_under_way_ends_the_session_with_its_upstream(void **state)
{
    (void)state;
    struct bench b = bench_new(2, http);
    uint32_t end = pump_ask(b.p, 1, MESH_DELETE, b.session, "", 0);
    lose(&b, told(&b));
    assert_whole(b.p, end);
    assert_int_equal(b.p->clients[end].status, 200);
    assert_ended(b.p, ask(b.p, 0, b.session, LIST("1")), MESH_SESSION_UNKNOWN);
    bench_free(&b);
}

static void test_a_delete_does_not_wait_for_the_whole_handshake(void **state)
{
    (void)state;
    for (int is_known = 0; is_known < 2; is_known++) {
        struct bench b = bench_new(2, http);
        struct mesh_request r = {.want = MESH_DELETE};
        char id[32];
        agree(&b, SUBSCRIBE("1", "a:1"), RESULT("1"));
        lose(&b, pump_last(b.p));
        if (is_known) /* one that does not open a fresh upstream by itself */
            (void)ask(b.p, 0, b.session, LIST("2"));
        else
            r.token.hash[0] = 9;
        uint32_t end = pump_open(b.p, 1, r, b.session, "");
        pump_settle(b.p);
        struct ucall *u = told_step(&b, "\"initialize\"", 0, id);
        assert_int_equal(b.p->clients[end].is_open, !is_known);
        if (!is_known) /* then its credentials are accepted */
            answer_step(&b, u, id, AGREES("2025-11-25"));
        assert_whole(b.p, end);
        assert_int_equal(b.p->clients[end].status, 200);
        assert_nothing_told(&b);
        assert_ended(b.p, ask(b.p, 0, b.session, LIST("3")), MESH_SESSION_UNKNOWN);
        pump_run(b.p, 1000);
        assert_quiet(b.p, 0);
        bench_free(&b);
    }
}

static void test_where_sessions_end_with_their_upstream_nothing_is_resumed(void **state)
{
    (void)state;
    for (int is_http = 0; is_http < 2; is_http++) {
        struct pump *p = pump_new(2, is_http ? http_ends : ends);
        const char *session = pump_session(p, pump_begin(p, 0, is_http));
        struct bench b = {.p = p, .session = session, .is_http = is_http};
        uint32_t safe = ask(p, 1, session, LIST("1"));
        lose(&b, pump_last(p));
        assert_ended(p, safe, MESH_UPSTREAM_LOST);
        assert_ended(p, ask(p, 1, session, LIST("2")), MESH_SESSION_UNKNOWN);
        assert_int_equal(stats(&b).upstreams_lost, 0);
        pump_free(p);
    }
}

/* A server that refuses connections is being started again, perhaps: nothing was sent. */
static void test_a_request_waits_ten_seconds_for_a_server_that_refuses(void **state)
{
    (void)state;
    for (int comes_back = 0; comes_back < 2; comes_back++) {
        struct bench b = bench_new(2, http);
        uint32_t client = ask(b.p, 1, b.session, CALL("1"));
        uint64_t began_ms = b.p->now_ms;
        struct ucall *u = told(&b);
        uint32_t tries = 0;
        while (b.p->clients[client].is_open && b.p->now_ms < began_ms + 15000) {
            if (comes_back && b.p->now_ms > began_ms + 5000) {
                answer(&b, u, RESULT("1"));
                break;
            }
            pump_end(b.p, u, MESH_END_CUT, MESH_UPSTREAM_DOWN);
            for (tries++; b.p->clients[client].is_open && b.seen == b.p->ucalls_count;)
                pump_run(b.p, 10);
            if (b.p->clients[client].is_open)
                u = told(&b);
        }
        assert_ended(b.p, client, comes_back ? MESH_OK : MESH_UPSTREAM_DOWN);
        if (!comes_back)
            assert_in_range(b.p->now_ms - began_ms, PARK_MS, PARK_MS + 100);
        assert_in_range(tries, 10, 25); /* more and more seldom */
        bench_free(&b);
    }
}

/* A server that is killed closes its connections, its listening socket last: for a moment it seems
 * to take new ones. */
static void test_a_request_does_not_die_twice_of_one_death(void **state)
{
    (void)state;
    struct bench b = bench_new(2, http);
    uint32_t client = ask(b.p, 1, b.session, LIST("1"));
    pump_end(b.p, told(&b), MESH_END_CUT, MESH_UPSTREAM_LOST);
    for (int ms = 0; ms < 20; ms++) {
        pump_run(b.p, 1);
        for (; b.seen < b.p->ucalls_count; b.seen++)
            pump_end(b.p, &b.p->ucalls[b.seen], MESH_END_CUT, MESH_UPSTREAM_LOST);
    }
    pump_run(b.p, REPLAY_AGAIN_FIRST_MS);
    assert_true(b.p->clients[client].is_open);
    pump_end(b.p, told(&b), MESH_END_CUT, MESH_UPSTREAM_DOWN);
    pump_run(b.p, REPLAY_AGAIN_FIRST_MS + 10);
    answer(&b, told(&b), RESULT("1"));
    assert_whole(b.p, client);
    bench_free(&b);
}

/* It was given to the next server when another request's 404 says that this one knows nothing of
 * the session: that was no second run. */
static void test_a_request_at_a_server_that_refuses_its_session_did_not_run_there(void **state)
{
    (void)state;
    struct bench b = bench_new(2, http);
    uint32_t client = ask(b.p, 1, b.session, LIST("1"));
    pump_end(b.p, told(&b), MESH_END_CUT, MESH_UPSTREAM_LOST);
    pump_run(b.p, REPLAY_AGAIN_FIRST_MS + 10);
    assert_string_equal(told(&b)->text, LIST("1"));
    uint32_t other = ask(b.p, 1, b.session, LIST("2"));
    pump_head(b.p, told(&b), 404, MESH_FORM_RAW, MESH_UP_SESSION_LOST);
    pump_run(b.p, REPLAY_AGAIN_FIRST_MS + 10);
    assert_true(b.p->clients[client].is_open);
    (void)shake(&b);
    answer(&b, told(&b), RESULT("1"));
    answer(&b, told(&b), RESULT("2"));
    assert_whole(b.p, client);
    assert_whole(b.p, other);
    bench_free(&b);
}

/* The server dies, with it the connection of an answer that has begun; nobody is there for a while;
 * then one that does not know the session. */
static void test_an_answer_that_has_begun_goes_on_with_the_next_server(void **state)
{
    (void)state;
    struct bench b = bench_new(2, http);
    uint32_t client = ask(b.p, 1, b.session, TOKEN_LIST("1", "5"));
    struct ucall *u = told(&b);
    (void)stream_begins(b.p);
    event(b.p, u, STEP("5", "1"));
    event(b.p, u, STEP("5", "2"));
    pump_end(b.p, u, MESH_END_CUT, MESH_UPSTREAM_LOST);
    for (int n = 0; n < 3; n++) { /* tried again soon, and then now and then */
        pump_run(b.p, n == 0 ? REPLAY_AGAIN_FIRST_MS : 0);
        u = told(&b);
        assert_string_equal(u->text, TOKEN_LIST("1", "5"));
        pump_end(b.p, u, MESH_END_CUT, MESH_UPSTREAM_DOWN);
        pump_run(b.p, REPLAY_AGAIN_FIRST_MS + 10);
    }
    pump_head(b.p, told(&b), 404, MESH_FORM_NONE, MESH_UP_SESSION_LOST);
    pump_run(b.p, 10);
    assert_true(b.p->clients[client].is_open);
    (void)shake(&b);
    u = told(&b);
    assert_string_equal(u->text, TOKEN_LIST("1", "5"));
    (void)stream_begins(b.p);
    event(b.p, u, STEP("5", "1"));
    event(b.p, u, STEP("5", "2"));
    event(b.p, u, STEP("5", "3"));
    event(b.p, u, RESULT("1"));
    pump_end(b.p, u, MESH_END_WHOLE, MESH_OK);
    pump_settle(b.p);
    assert_ended(b.p, client, MESH_OK);
    assert_int_equal(b.p->clients[client].texts, 4); /* progress never goes back */
    assert_int_equal(b.p->clients[client].answers, 1);
    bench_free(&b);
}

/* ---- questions ------------------------------------------------------------------------------- */

static void
test_questions_of_a_later_upstream_have_ids_of_ours_and_answers_get_theirs_back(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        struct bench b = bench_new(2, kinds[k]);
        uint32_t held = hold(b.p, 1, b.session);
        struct ucall *own = b.is_http ? stream_begins(b.p) : pump_last(b.p);
        void (*tell)(struct pump *, const struct ucall *, const char *) = b.is_http ? event : say;
        tell(b.p, own, SAMPLE("0")); /* of the first: as it was asked */
        assert_string_equal(b.p->clients[held].last, SAMPLE("0"));
        lose(&b, own);
        (void)shake(&b); /* caused by who holds the stream */
        own = pump_last(b.p);
        if (b.is_http)
            own = stream_begins(b.p);
        tell(b.p, own, SAMPLE("0"));
        assert_string_equal(b.p->clients[held].last, SAMPLE("\"m" SECOND "-1\""));
        tell(b.p, own, SAMPLE("\"a\\u002f\\\"b\""));
        assert_string_equal(b.p->clients[held].last, SAMPLE("\"m" SECOND "-2\""));
        /* an answer to the former one's goes nowhere */
        uint64_t dropped = stats(&b).questions_dropped;
        uint32_t late = ask(b.p, 1, b.session, RESULT("0"));
        assert_int_equal(b.p->clients[late].status, 202);
        assert_nothing_told(&b);
        assert_int_equal(stats(&b).questions_dropped, dropped + 1);
        (void)ask(b.p, 1, b.session, RESULT("\"m" SECOND "-2\""));
        struct ucall *u = told(&b);
        assert_string_equal(u->text, RESULT("\"a\\u002f\\\"b\""));
        accept_it(&b, u);
        /* its own word that one is cancelled */
        tell(b.p, own,
             "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":"
             "{\"requestId\":0}}");
        assert_string_equal(b.p->clients[held].last,
                            "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\","
                            "\"params\":{\"requestId\":\"m" SECOND "-1\"}}");
        (void)ask(b.p, 1, b.session, RESULT("\"m" SECOND "-1\""));
        assert_string_equal(told(&b)->text, RESULT("0"));
        bench_free(&b);
    }
}

/* Revision 2025-03-26: answers may come in a batch, which an HTTP server gets as it is. */
static void test_answers_in_a_batch_get_their_ids_back_or_are_left_out(void **state)
{
    (void)state;
    struct bench b = {.p = pump_new(2, http), .is_http = true};
    char id[32];
    b.session =
        pump_session(b.p, pump_begin_with(b.p, 0, true, INITIALIZE_NEW, CAPABLE("2025-03-26")));
    (void)told(&b);
    (void)ask(b.p, 0, b.session, INITIALIZED);
    accept_it(&b, told(&b));
    (void)hold(b.p, 1, b.session);
    struct ucall *own = stream_begins(b.p);
    event(b.p, own, SAMPLE("0"));
    lose(&b, own);
    struct ucall *u = told_step(&b, "\"initialize\"", 0, id);
    answer_step(&b, u, id, AGREES("2025-03-26"));
    accept_it(&b, told(&b));
    own = stream_begins(b.p);
    event(b.p, own, SAMPLE("0"));
    event(b.p, own, SAMPLE("\"x\""));
    (void)ask(b.p, 1, b.session,
              "[" RESULT("0") "," RESULT("\"m" SECOND "-1\"") "," CALL("5") "," FAULT("\"m" SECOND
                                                                                      "-2\"") "]");
    assert_string_equal(told(&b)->text, "[" RESULT("0") "," CALL("5") "," FAULT("\"x\"") "]");
    uint32_t late = ask(b.p, 1, b.session, "[" RESULT("0") "," RESULT("\"m" SECOND "-1\"") "]");
    assert_nothing_told(&b);
    assert_int_equal(b.p->clients[late].status, 202);
    bench_free(&b);
}

static void test_questions_of_a_lost_upstream_are_cancelled(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        struct bench b = bench_new(2, kinds[k]);
        uint32_t held = hold(b.p, 1, b.session);
        struct ucall *own = b.is_http ? stream_begins(b.p) : pump_last(b.p);
        void (*tell)(struct pump *, const struct ucall *, const char *) = b.is_http ? event : say;
        tell(b.p, own, SAMPLE("\"q\""));
        uint32_t texts = b.p->clients[held].texts;
        b.p->ups_wait = true; /* so that nothing else is said yet */
        lose(&b, own);
        assert_int_equal(b.p->clients[held].texts, texts + 1);
        assert_string_equal(b.p->clients[held].last, CANCEL("\"q\""));
        bench_free(&b);
    }
}

/* A user who was asked once is not asked again. */
static void test_a_request_whose_question_was_answered_does_not_run_again(void **state)
{
    (void)state;
    struct bench b = bench_new(2, NULL);
    uint32_t client = ask(b.p, 1, b.session, LIST("1"));
    struct ucall *u = told(&b);
    say(b.p, u, SAMPLE("0"));
    (void)ask(b.p, 1, b.session, RESULT("0"));
    (void)told(&b);
    lose(&b, u);
    assert_whole(b.p, client);
    assert_int_equal(b.p->clients[client].told, MESH_UPSTREAM_LOST);
    bench_free(&b);
}

static const struct session *session_of(const struct bench *b)
{
    struct handle h;
    const struct core *core =
        (const struct core *)(void *)b->p->nodes[0].mesh; /* its first member */
    const struct session *session = pool_slot(&core->sessions.pool, 0, &h);
    assert_non_null(session);
    return session;
}

static const char *event_text(const struct events *log, uint64_t number)
{
    static char text[512];
    const struct logged *event = events_at(log, number);
    assert_non_null(event);
    snprintf(text, sizeof text, "%.*s", (int)event->text.length, (const char *)event->text.at);
    return text;
}

/* ---- what the client is told ------------------------------------------------------------------
 */

static void test_the_client_is_told_what_carried_over_and_what_may_have_changed(void **state)
{
    (void)state;
    static const char *const wanted[] = {
        "the server of this session was replaced: the handshake, the log level and the",
        "\"notifications/tools/list_changed\"", "\"notifications/resources/list_changed\"",
        "\"notifications/resources/updated\",\"params\":{\"uri\":\"a:1\"}"};
    for (size_t k = 0; k < KINDS; k++) {
        struct bench b = bench_new(2, kinds[k]);
        char id[32];
        uint32_t held = hold(b.p, 1, b.session);
        if (b.is_http)
            (void)stream_begins(b.p);
        agree(&b, SUBSCRIBE("1", "a:1"), RESULT("1"));
        lose(&b, &b.p->ucalls[b.seen - 1]);
        (void)shake(&b);
        struct ucall *u = told_step(&b, "\"a:1\"", 3, id);
        assert_int_equal(b.p->clients[held].texts, 0);
        answer_step(&b, u, id, GOOD);
        assert_int_equal(b.p->clients[held].texts, 4);
        assert_string_equal(b.p->clients[held].heard, ".****");
        assert_at(b.p, held, "0-2-4");
        const struct events *log = &session_of(&b)->own->log;
        for (uint64_t n = 1; n <= 4; n++)
            assert_non_null(strstr(event_text(log, n), wanted[n - 1]));
        /* who comes back gets what it missed of them */
        assert_heard(b.p, resume(b.p, 0, b.session, "0-" SECOND "-2"), ".**");
        bench_free(&b);
    }
}

static void test_a_client_without_a_stream_is_told_nothing(void **state)
{
    (void)state;
    struct bench b = bench_new(2, NULL);
    lose(&b, pump_last(b.p));
    uint32_t client = ask(b.p, 1, b.session, LIST("1"));
    (void)shake(&b);
    answer(&b, told(&b), RESULT("1"));
    assert_whole(b.p, client);
    assert_heard(b.p, hold(b.p, 1, b.session), ".");
    bench_free(&b);
}

/* ---- streams that are held --------------------------------------------------------------------
 */

static void test_a_held_stream_stays_and_brings_what_the_next_upstream_says(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        struct bench b = bench_new(2, kinds[k]);
        uint32_t held = hold(b.p, 1, b.session);
        struct ucall *own = b.is_http ? stream_begins(b.p) : pump_last(b.p);
        void (*tell)(struct pump *, const struct ucall *, const char *) = b.is_http ? event : say;
        tell(b.p, own, LOG("a"));
        assert_at(b.p, held, "0-1-1");
        lose(&b, own);
        (void)shake(&b);
        own = pump_last(b.p);
        if (b.is_http)
            own = stream_begins(b.p);
        tell(b.p, own, LOG("b"));
        assert_heard(b.p, held, ".a***b");
        assert_at(b.p, held, "0-2-4");
        leave(b.p, held);
        tell(b.p, own, LOG("c"));
        held = come_back(b.p, 0, b.session, held);
        assert_heard(b.p, held, ".c");
        leave(b.p, held);
        assert_heard(b.p, resume(b.p, 1, b.session, "0-1-1"), ".***bc");
        bench_free(&b);
    }
}

/* A server may speak before it is initialized: what it says comes behind the word that it is new.
 */
static void test_a_fresh_upstream_is_named_before_anything_that_it_says(void **state)
{
    (void)state;
    struct bench b = bench_new(2, NULL);
    char id[32];
    uint32_t held = hold(b.p, 1, b.session);
    say(b.p, pump_last(b.p), LOG("a"));
    lose(&b, pump_last(b.p));
    struct ucall *u = told_step(&b, "\"initialize\"", 0, id);
    assert_heard(b.p, held, ".a");
    say(b.p, u, LOG("b"));
    assert_heard(b.p, held, ".a*b");
    say(b.p, u, LOG("c"));
    answer_step(&b, u, id, AGREES("2025-11-25"));
    assert_heard(b.p, held, ".a*bc**"); /* the lists */
    bench_free(&b);
}

/* Each loss is followed by the next try later, unless the upstream lived. */
static void test_an_upstream_that_dies_at_once_is_not_started_in_a_storm(void **state)
{
    (void)state;
    struct bench b = bench_new(1, NULL);
    uint32_t held = hold(b.p, 0, b.session), ups = b.p->ups_count;
    uint64_t until_ms = b.p->now_ms + 60000;
    while (b.p->now_ms < until_ms) {
        struct up *up = &b.p->ups[b.p->ups_count - 1];
        if (up->is_open) {
            up->is_open = false;
            mesh_up_closed(b.p->nodes[0].mesh, up->handle, MESH_UPSTREAM_LOST, b.p->now_ms);
        }
        pump_run(b.p, 20);
    }
    assert_true(b.p->clients[held].is_open);
    assert_in_range(b.p->ups_count - ups, 6, 12); /* 0.1, 0.2, 0.4 .. 25.6 s, 30 s */
    bench_free(&b);
}

/* Whoever is not known to the fresh upstream gets nothing of what is kept before it was asked. */
static void test_a_token_of_which_nothing_is_known_waits_for_the_upstreams_word(void **state)
{
    (void)state;
    struct bench b = bench_new(2, http);
    struct mesh_request r = {.want = MESH_LISTEN};
    lose(&b, pump_last(b.p));
    r.token.hash[0] = 9;
    uint32_t held = pump_open(b.p, 0, r, b.session, "");
    (void)shake(&b); /* under its own credentials: they were accepted */
    assert_int_equal(b.p->clients[held].status, 200);
    uint32_t call = ask(b.p, 0, b.session, LIST("1"));
    lose(&b, told(&b));
    assert_true(b.p->clients[call].is_open);
    r.token.hash[0] = 8;
    uint32_t other = pump_open(b.p, 0, r, b.session, "");
    assert_int_equal(b.p->clients[other].heads, 0);
    (void)shake(&b);
    struct ucall *u = told(&b), *asked = told(&b);
    assert_string_equal(u->text, LIST("1"));
    assert_non_null(strstr(asked->text, "\"ping\""));
    assert_int_equal(b.p->clients[other].heads, 0);
    pump_head(b.p, asked, 403, MESH_FORM_NONE, MESH_UP_SESSION_SAME);
    pump_end(b.p, asked, MESH_END_WHOLE, MESH_OK);
    pump_settle(b.p);
    assert_int_equal(b.p->clients[other].status, 403);
    bench_free(&b);
}

/* ---- after a takeover -------------------------------------------------------------------------
 */

static void two_copies(struct mesh_config *config)
{
    config->upstream = MESH_UP_HTTP;
    config->copies = 2;
}

/* Its owner is killed; whoever takes over is the node of what an upstream is told next. */
static void kill_owner(struct bench *b)
{
    pump_kill(b->p, 0);
    pump_run(b->p, 4000);
}

static struct bench bench_with_copies(void)
{
    struct bench b = {.p = pump_new(3, two_copies), .is_http = true};
    uint32_t made = pump_begin_with(b.p, 0, true, INITIALIZE_NEW, CAPABLE("2025-11-25"));
    b.session = pump_session(b.p, made);
    (void)told(&b);
    (void)ask(b.p, 0, b.session, INITIALIZED);
    accept_it(&b, told(&b));
    return b;
}

static void test_a_successor_goes_on_with_a_request_s_stream_where_its_client_is(void **state)
{
    (void)state;
    struct bench b = bench_with_copies();
    uint32_t client = ask(b.p, 1, b.session, TOKEN_LIST("1", "5"));
    struct ucall *u = told(&b);
    (void)stream_begins(b.p);
    event(b.p, u, STEP("5", "1"));
    event(b.p, u, STEP("5", "2"));
    assert_at(b.p, client, "1-1-2");
    pump_run(b.p, 200);
    kill_owner(&b);
    assert_true(b.p->clients[client].is_open);
    (void)shake(&b);
    u = told(&b);
    assert_true(u->node != 0);
    assert_string_equal(u->text, TOKEN_LIST("1", "5"));
    (void)stream_begins(b.p);
    event(b.p, u, STEP("5", "2"));
    event(b.p, u, STEP("5", "3"));
    event(b.p, u, RESULT("1"));
    pump_end(b.p, u, MESH_END_WHOLE, MESH_OK);
    pump_settle(b.p);
    assert_whole(b.p, client);
    assert_int_equal(b.p->clients[client].heads, 1);
    assert_int_equal(b.p->clients[client].texts, 4);
    assert_at(b.p, client, "1-2-2-e");
    bench_free(&b);
}

/* However it is answered there. */
static void test_a_request_on_an_event_stream_is_answered_by_an_event_at_a_successor(void **state)
{
    (void)state;
    for (int has_events = 0; has_events < 2; has_events++) {
        struct bench b = bench_with_copies();
        uint32_t client = ask(b.p, 1, b.session, LIST("1"));
        struct ucall *u = told(&b);
        (void)stream_begins(b.p);
        if (has_events)
            event(b.p, u, LOG("a"));
        pump_run(b.p, 200);
        kill_owner(&b);
        (void)shake(&b);
        answer(&b, told(&b), RESULT("1"));
        assert_whole(b.p, client);
        assert_heard(b.p, client, has_events ? ".a.=" : "..=");
        assert_at(b.p, client, "1-2-1-e");
        bench_free(&b);
    }
}

static void test_a_request_without_its_client_is_told_lost_to_who_comes_back(void **state)
{
    (void)state;
    for (int waits = 0; waits < 2; waits++) {
        struct bench b = bench_with_copies();
        uint32_t client = ask(b.p, 1, b.session, LIST("1"));
        struct ucall *u = told(&b);
        (void)stream_begins(b.p);
        event(b.p, u, LOG("a"));
        pump_run(b.p, 200);
        leave(b.p, client);
        pump_kill(b.p, 0);
        pump_run(b.p, waits ? 30000 : 4000);
        client = come_back(b.p, 2, b.session, client);
        (void)shake(&b); /* its credentials are not known there */
        assert_whole(b.p, client);
        assert_int_equal(b.p->clients[client].told, MESH_OUTCOME_UNKNOWN);
        assert_string_equal(b.p->clients[client].last, "1");
        assert_at(b.p, client, "1-2-1-e");
        bench_free(&b);
    }
}

static void
test_open_questions_are_cancelled_by_a_successor_and_its_own_have_its_epoch(void **state)
{
    (void)state;
    char id[40], answer[100];
    struct bench b = bench_with_copies();
    uint32_t held = hold(b.p, 1, b.session);
    struct ucall *own = stream_begins(b.p);
    event(b.p, own, SAMPLE("0"));
    pump_run(b.p, 200);
    kill_owner(&b);
    assert_true(b.p->clients[held].is_open);
    (void)shake(&b);
    own = pump_last(b.p);
    assert_int_equal(own->kind, MESH_UP_LISTEN);
    (void)stream_begins(b.p);
    assert_heard(b.p, held, ".*.****"); /* it | its cancel, a word, two lists */
    event(b.p, own, SAMPLE("0"));
    snprintf(id, sizeof id, "\"m%llu-1\"", (unsigned long long)b.p->clients[held].position.epoch);
    assert_non_null(strstr(b.p->clients[held].last, id));
    assert_string_not_equal(id, "\"m" SECOND "-1\""); /* nor that of its home, in a second epoch */
    (void)ask(b.p, 1, b.session, RESULT("0"));
    assert_nothing_told(&b);
    snprintf(answer, sizeof answer, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":{}}", id);
    (void)ask(b.p, 1, b.session, answer);
    assert_string_equal(told(&b)->text, RESULT("0"));
    bench_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_next_request_opens_a_fresh_upstream_and_waits_for_its_handshake),
        cmocka_unit_test(test_level_and_subscriptions_are_said_again_as_they_were_accepted),
        cmocka_unit_test(test_the_later_of_two_wishes_counts_however_late_the_former_is_answered),
        cmocka_unit_test(test_a_server_of_another_version_ends_the_session),
        cmocka_unit_test(test_a_refused_handshake_is_told_in_band_and_the_next_request_tries_again),
        cmocka_unit_test(test_credentials_that_are_refused_are_their_owners_news_alone),
        cmocka_unit_test(test_a_handshake_without_an_answer_keeps_requests_ten_seconds),
        cmocka_unit_test(test_an_upstream_that_cannot_be_had_keeps_requests_ten_seconds),
        cmocka_unit_test(test_what_may_run_again_does_and_what_may_not_is_told_so),
        cmocka_unit_test(test_a_request_that_two_upstreams_died_of_is_not_given_to_a_third),
        cmocka_unit_test(test_a_request_that_ran_is_never_told_that_it_did_not),
        cmocka_unit_test(test_a_request_refused_for_its_session_is_sent_again_whatever_it_does),
        cmocka_unit_test(test_a_request_whose_rest_is_asked_for_has_run),
        cmocka_unit_test(test_progress_that_a_client_has_is_not_told_again),
        cmocka_unit_test(test_an_answer_in_one_piece_is_an_event_of_the_stream_that_was_begun),
        cmocka_unit_test(test_of_notifications_under_way_only_changed_roots_go_on),
        cmocka_unit_test(test_what_needs_no_upstream_opens_none),
        cmocka_unit_test(test_a_delete_under_way_ends_the_session_with_its_upstream),
        cmocka_unit_test(test_a_delete_does_not_wait_for_the_whole_handshake),
        cmocka_unit_test(test_where_sessions_end_with_their_upstream_nothing_is_resumed),
        cmocka_unit_test(test_a_request_does_not_die_twice_of_one_death),
        cmocka_unit_test(test_a_request_at_a_server_that_refuses_its_session_did_not_run_there),
        cmocka_unit_test(test_an_answer_that_has_begun_goes_on_with_the_next_server),
        cmocka_unit_test(test_a_request_waits_ten_seconds_for_a_server_that_refuses),
        cmocka_unit_test(
            test_questions_of_a_later_upstream_have_ids_of_ours_and_answers_get_theirs_back),
        cmocka_unit_test(test_answers_in_a_batch_get_their_ids_back_or_are_left_out),
        cmocka_unit_test(test_questions_of_a_lost_upstream_are_cancelled),
        cmocka_unit_test(test_a_request_whose_question_was_answered_does_not_run_again),
        cmocka_unit_test(test_the_client_is_told_what_carried_over_and_what_may_have_changed),
        cmocka_unit_test(test_a_client_without_a_stream_is_told_nothing),
        cmocka_unit_test(test_a_held_stream_stays_and_brings_what_the_next_upstream_says),
        cmocka_unit_test(test_a_fresh_upstream_is_named_before_anything_that_it_says),
        cmocka_unit_test(test_an_upstream_that_dies_at_once_is_not_started_in_a_storm),
        cmocka_unit_test(test_a_token_of_which_nothing_is_known_waits_for_the_upstreams_word),
        cmocka_unit_test(test_a_successor_goes_on_with_a_request_s_stream_where_its_client_is),
        cmocka_unit_test(test_a_request_on_an_event_stream_is_answered_by_an_event_at_a_successor),
        cmocka_unit_test(test_a_request_without_its_client_is_told_lost_to_who_comes_back),
        cmocka_unit_test(
            test_open_questions_are_cancelled_by_a_successor_and_its_own_have_its_epoch),
    };

    return cmocka_run_group_tests_name("replay", tests, NULL, NULL);
}
