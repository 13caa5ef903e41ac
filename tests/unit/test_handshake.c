/* Tests of handshake.h: a client of HTTP+SSE whose stream broke opens a new one, names the revision
 * that it agreed on, and goes on without initialize: the mesh initializes its upstream (reference
 * mcp.md, section 2.3). */
#include "mesh/session/handshake.h"
#include "mesh/session/serve.h"
#include "tests/unit/streams_pump.h"

#define GREETING                                                                                   \
    "{\"jsonrpc\":\"2.0\",\"id\":\"mesh\",\"method\":\"initialize\",\"params\":"                   \
    "{\"protocolVersion\":\"2025-06-18\"}}"

static void sse(struct mesh_config *config)
{
    config->upstream = MESH_UP_SSE;
}

/* The GET of a client that names a revision. */
static uint32_t returns(struct pump *p, uint32_t node)
{
    struct mesh_request r = {.want = MESH_SSE, .front = MESH_FRONT_SSE};
    struct slice body = slice_text(GREETING);
    rpc_read(&r.rpc, NULL, body.at, body.length);
    r.body = body;
    uint32_t client = pump_open(p, node, r, NULL, "");
    pump_settle(p);
    return client;
}

static uint32_t post(struct pump *p, uint32_t node, const char *session, const char *text)
{
    uint32_t client = pump_post(p, node, session, text);
    pump_settle(p);
    return client;
}

static void assert_reached(const struct pump *p, const char *const *texts)
{
    uint32_t n = 0;
    for (uint32_t k = 0; k < p->ucalls_count; k++) {
        if (p->ucalls[k].kind != MESH_UP_SEND)
            continue;
        assert_non_null(texts[n]);
        assert_string_equal(p->ucalls[k].text, texts[n++]);
    }
    assert_null(texts[n]);
}

static void answer(struct pump *p, const struct ucall *u, int status, const char *text)
{
    pump_head(p, u, status, text != NULL ? MESH_FORM_JSON : MESH_FORM_NONE,
              u->is_request && status == 200 ? MESH_UP_SESSION_MADE : MESH_UP_SESSION_SAME);
    if (text != NULL)
        pump_event(p, u, text);
    pump_end(p, u, MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
}

static struct ucall *sent(struct pump *p, const char *text)
{
    for (uint32_t n = p->ucalls_count; n-- > 0;)
        if (strcmp(p->ucalls[n].text, text) == 0)
            return &p->ucalls[n];
    fail_msg("%s did not reach an upstream", text);
    return NULL;
}

static void assert_ends_with_its_stream(struct pump *p, uint32_t stream)
{
    leave(p, stream);
    assert_quiet(p, 0);
    pump_free(p);
}

/* A child, or an old server: its messages come by themselves. */
static void test_an_upstream_is_initialized_before_anything_else_reaches_it(void **state)
{
    (void)state;
    void (*kinds[])(struct mesh_config *) = {NULL, sse};
    for (size_t k = 0; k < 2; k++) {
        struct pump *p = pump_new(2, kinds[k]);
        uint32_t stream = returns(p, 0);
        const char *session = pump_session(p, stream);
        assert_int_equal(p->clients[stream].status, 200); /* the client waits for nothing */
        uint32_t first = post(p, 1, session, CALL("1")), second = post(p, 1, session, LIST("2"));
        assert_reached(p, (const char *[]){GREETING, NULL});
        say(p, pump_last(p), RESULT("\"mesh\""));
        assert_reached(p, (const char *[]){GREETING, INITIALIZED, CALL("1"), LIST("2"), NULL});
        assert_int_equal(p->clients[first].status, 202);
        assert_int_equal(p->clients[second].status, 202);
        say(p, pump_last(p), RESULT("2"));
        say(p, pump_last(p), RESULT("1"));
        assert_heard(p, stream, "**"); /* theirs; of the handshake nothing */
        assert_string_equal(p->clients[stream].last, RESULT("1"));
        post(p, 1, session, CALL("3"));
        assert_string_equal(pump_last(p)->text, CALL("3"));
        assert_ends_with_its_stream(p, stream);
    }
}

static void test_an_http_server_is_initialized_before_anything_else_reaches_it(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    uint32_t stream = returns(p, 0);
    const char *session = pump_session(p, stream);
    uint32_t call = post(p, 1, session, CALL("1"));
    assert_reached(p, (const char *[]){GREETING, NULL});
    answer(p, sent(p, GREETING), 200, RESULT("\"mesh\""));
    assert_reached(p, (const char *[]){GREETING, INITIALIZED, NULL}); /* its 202 is waited for */
    assert_true(p->clients[call].is_open);
    answer(p, sent(p, INITIALIZED), 202, NULL);
    assert_reached(p, (const char *[]){GREETING, INITIALIZED, CALL("1"), NULL});
    answer(p, sent(p, CALL("1")), 200, RESULT("1"));
    assert_whole(p, call);
    assert_int_equal(p->clients[call].status, 202);
    assert_heard(p, stream, "*");
    assert_string_equal(p->clients[stream].last, RESULT("1"));
    uint32_t asked = 0; /* for the server's own stream, once */
    for (uint32_t n = 0; n < p->ucalls_count; n++)
        asked += p->ucalls[n].kind == MESH_UP_LISTEN;
    assert_int_equal(asked, 1);
    assert_ends_with_its_stream(p, stream);
}

static void test_a_first_stream_is_left_to_its_client(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    uint32_t stream = pump_sse(p, 0);
    pump_settle(p);
    assert_int_equal(p->ucalls_count, 0);
    const char *session = pump_session(p, stream);
    post(p, 1, session, INITIALIZE);
    assert_reached(p, (const char *[]){INITIALIZE, NULL});
    say(p, pump_last(p), RESULT("0"));
    assert_heard(p, stream, "*");
    assert_ends_with_its_stream(p, stream);
}

/* What the client's requests get then, the upstream says. */
static void test_after_a_refusal_requests_go_on_to_the_upstream(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, NULL);
    uint32_t stream = returns(p, 0);
    post(p, 0, pump_session(p, stream), CALL("1"));
    say(p, pump_last(p), FAULT("\"mesh\""));
    assert_reached(p, (const char *[]){GREETING, CALL("1"), NULL}); /* it is not initialized */
    assert_heard(p, stream, "");
    assert_ends_with_its_stream(p, stream);

    int statuses[] = {400, 401, 500};
    for (size_t n = 0; n < sizeof statuses / sizeof statuses[0]; n++) {
        p = pump_new(1, http);
        stream = returns(p, 0);
        uint32_t call = post(p, 0, pump_session(p, stream), CALL("1"));
        answer(p, sent(p, GREETING), statuses[n], NULL);
        assert_reached(p, (const char *[]){GREETING, CALL("1"), NULL});
        answer(p, sent(p, CALL("1")), statuses[n], NULL);
        assert_int_equal(p->clients[call].status, statuses[n]);
        assert_ends_with_its_stream(p, stream);
    }
}

static void test_an_upstream_that_cannot_be_reached_ends_nothing_quietly(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    uint32_t stream = returns(p, 0);
    uint32_t call = post(p, 0, pump_session(p, stream), CALL("1"));
    pump_end(p, sent(p, GREETING), MESH_END_CUT, MESH_UPSTREAM_DOWN);
    pump_settle(p);
    for (int n = 0; n < 150 && p->clients[call].is_open; n++) { /* it might be back soon */
        pump_end(p, sent(p, CALL("1")), MESH_END_CUT, MESH_UPSTREAM_DOWN);
        pump_run(p, 100);
    }
    assert_int_equal(p->clients[call].status, 202);
    assert_int_equal(p->clients[stream].told, MESH_UPSTREAM_DOWN);
    assert_ends_with_its_stream(p, stream);
}

static void test_a_client_that_goes_away_meanwhile_leaves_nothing(void **state)
{
    (void)state;
    void (*kinds[])(struct mesh_config *) = {NULL, sse, http};
    for (size_t k = 0; k < 3; k++)
        for (int steps = 0; steps < 2; steps++) {
            struct pump *p = pump_new(2, kinds[k]);
            uint32_t stream = returns(p, 1);
            struct ucall *u = sent(p, GREETING);
            uint32_t call = post(p, 0, pump_session(p, stream), CALL("1"));
            if (steps == 1 && kinds[k] == http)
                answer(p, u, 200, RESULT("\"mesh\""));
            leave(p, stream);
            assert_false(p->clients[call].is_open);
            assert_int_equal(pump_executions(p, CALL("1")), 0);
            assert_quiet(p, 0);
            pump_free(p);
        }
}

static void test_a_child_that_dies_meanwhile_ends_the_stream_and_says_so(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    uint32_t stream = returns(p, 1);
    struct ucall *u = sent(p, GREETING);
    uint32_t call = post(p, 0, pump_session(p, stream), CALL("1"));
    pump_up(p, u->node, u->up)->is_open = false;
    mesh_up_closed(p->nodes[u->node].mesh, u->up, MESH_UPSTREAM_LOST, p->now_ms);
    pump_settle(p);
    assert_int_equal(p->clients[call].status, 202);
    assert_int_equal(p->clients[stream].told, MESH_UPSTREAM_LOST); /* of that request */
    assert_string_equal(p->clients[stream].last, "1");
    assert_ended(p, stream, MESH_SESSION_ENDED);
    assert_quiet(p, 0);
    pump_free(p);
}

static void test_a_child_that_is_slow_to_start_is_initialized_once_it_runs(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, NULL);
    p->ups_wait = true;
    uint32_t stream = returns(p, 0);
    post(p, 0, pump_session(p, stream), CALL("1"));
    assert_int_equal(p->ucalls_count, 0);
    mesh_up_ready(p->nodes[0].mesh, p->ups[0].handle, p->now_ms);
    pump_settle(p);
    assert_reached(p, (const char *[]){GREETING, NULL});
    say(p, pump_last(p), RESULT("\"mesh\""));
    assert_reached(p, (const char *[]){GREETING, INITIALIZED, CALL("1"), NULL});
    assert_ends_with_its_stream(p, stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_upstream_is_initialized_before_anything_else_reaches_it),
        cmocka_unit_test(test_an_http_server_is_initialized_before_anything_else_reaches_it),
        cmocka_unit_test(test_a_first_stream_is_left_to_its_client),
        cmocka_unit_test(test_after_a_refusal_requests_go_on_to_the_upstream),
        cmocka_unit_test(test_an_upstream_that_cannot_be_reached_ends_nothing_quietly),
        cmocka_unit_test(test_a_client_that_goes_away_meanwhile_leaves_nothing),
        cmocka_unit_test(test_a_child_that_dies_meanwhile_ends_the_stream_and_says_so),
        cmocka_unit_test(test_a_child_that_is_slow_to_start_is_initialized_once_it_runs),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
