/* Tests of HTTP+SSE (MCP 2024-11-05, transports) in the core: a GET makes a session, its POSTs
 * bring 202, and everything else comes on its one stream, whatever the upstream speaks (reference
 * mcp.md, section 2.2; bad-inputs.md, row A18). */
#include "mesh/session/call.h"
#include "mesh/session/event_stream.h"
#include "mesh/session/serve.h"
#include "tests/unit/streams_pump.h"

static uint32_t stream(struct pump *p, uint32_t node)
{
    uint32_t client = pump_sse(p, node);
    pump_settle(p);
    assert_int_equal(p->clients[client].status, 200);
    assert_int_equal(p->clients[client].form, MESH_FORM_SSE);
    assert_true(p->clients[client].has_session);
    return client;
}

static uint32_t post(struct pump *p, uint32_t node, const char *session, const char *text)
{
    uint32_t client = pump_post(p, node, session, text);
    pump_settle(p);
    return client;
}

/* The POST has its 202, and nothing else. */
static void assert_accepted(const struct pump *p, uint32_t client)
{
    assert_whole(p, client);
    assert_int_equal(p->clients[client].status, 202);
    assert_int_equal(p->clients[client].texts, 0);
    assert_false(p->clients[client].has_session);
}

/* A stream at `node` whose session is initialized; the upstream's side of it. */
static uint32_t stream_begun(struct pump *p, uint32_t node, bool is_http, struct ucall **u)
{
    uint32_t held = stream(p, node);
    uint32_t call = post(p, node, pump_session(p, held), INITIALIZE);
    *u = pump_last(p);
    assert_string_equal((*u)->text, INITIALIZE);
    if (is_http) {
        pump_head(p, *u, 200, MESH_FORM_SSE, MESH_UP_SESSION_MADE);
        event(p, *u, AGREED("2025-11-25"));
        pump_end(p, *u, MESH_END_WHOLE, MESH_OK);
        pump_settle(p);
    } else {
        say(p, *u, AGREED("2025-11-25"));
    }
    assert_accepted(p, call);
    assert_string_equal(p->clients[held].last, AGREED("2025-11-25"));
    return held;
}

static void test_a_get_makes_a_session_and_nothing_runs_yet(void **state)
{
    (void)state;
    for (int is_http = 0; is_http < 2; is_http++) {
        struct pump *p = pump_new(2, is_http ? http : NULL);
        uint32_t one = stream(p, 1), two = stream(p, 1);
        assert_memory_not_equal(pump_session(p, one), pump_session(p, two), MESH_SESSION_TEXT);
        assert_int_equal(p->ucalls_count, 0);
        assert_heard(p, one, ""); /* no marks: no client of it could read them */
        pump_run(p, 60000);
        assert_true(p->clients[one].is_open && p->clients[two].is_open);
        assert_int_equal(p->ucalls_count, 0);
        pump_free(p);
    }
}

static void test_with_a_child_everything_comes_on_the_one_stream(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    struct ucall *u;
    uint32_t held = stream_begun(p, 1, false, &u);
    const char *session = pump_session(p, held);
    assert_int_equal(u->node, 1);
    for (uint32_t node = 0; node < 2; node++) {
        assert_accepted(p, post(p, node, session, INITIALIZED));
        assert_accepted(p, post(p, node, session, TOKEN_CALL("1", "7")));
        say(p, u, PROGRESS("7"));
        assert_string_equal(p->clients[held].last, PROGRESS("7"));
        say(p, u, LOG("a"));
        say(p, u, SAMPLE("0"));
        assert_string_equal(p->clients[held].last, SAMPLE("0"));
        assert_accepted(p, post(p, node, session, RESULT("0")));
        assert_string_equal(pump_last(p)->text, RESULT("0")); /* it was asked: it goes on */
        say(p, u, RESULT("1"));
        assert_string_equal(p->clients[held].last, RESULT("1"));
        say(p, u, RESULT("1")); /* an answer to nothing */
        assert_int_equal(p->clients[held].texts, 1 + 4 * (node + 1));
        pump_run(p, 3000); /* a slow answer is no stream of its own */
    }
    assert_true(event_id_is_none(&p->clients[held].position)); /* nobody could come back with one */
    assert_int_equal(p->clients[held].marks, 0);
    assert_accepted(p, post(p, 0, session, RESULT("77"))); /* nobody asked: dropped */
    assert_string_not_equal(pump_last(p)->text, RESULT("77"));
    pump_free(p);
}

static void test_with_an_http_server_answers_and_notifications_come_on_the_one_stream(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    struct ucall *u;
    uint32_t held = stream_begun(p, 1, true, &u);
    const char *session = pump_session(p, held);
    struct ucall *own = pump_last(p); /* asked for once the server has a session */
    assert_int_equal(own->kind, MESH_UP_LISTEN);
    assert_int_equal(own->want, MESH_LISTEN);
    pump_head(p, own, 200, MESH_FORM_SSE, MESH_UP_SESSION_SAME);
    for (uint32_t node = 0; node < 2; node++) {
        uint32_t note = post(p, node, session, INITIALIZED);
        u = pump_last(p);
        pump_head(p, u, 202, MESH_FORM_NONE, MESH_UP_SESSION_SAME);
        pump_end(p, u, MESH_END_WHOLE, MESH_OK);
        pump_settle(p);
        assert_accepted(p, note);
        /* by events, and in one piece */
        uint32_t call = post(p, node, session, CALL("1"));
        u = pump_last(p);
        assert_true(p->clients[call].is_open);
        pump_head(p, u, 200, MESH_FORM_SSE, MESH_UP_SESSION_SAME);
        pump_settle(p);
        assert_accepted(p, call); /* before the answer is there */
        event(p, u, LOG("a"));
        event(p, own, LOG("b"));
        event(p, u, RESULT("1"));
        pump_end(p, u, MESH_END_WHOLE, MESH_OK);
        pump_settle(p);
        call = post(p, node, session, CALL("2"));
        u = pump_last(p);
        pump_head(p, u, 200, MESH_FORM_JSON, MESH_UP_SESSION_SAME);
        event(p, u, FAULT("2"));
        pump_end(p, u, MESH_END_WHOLE, MESH_OK);
        pump_settle(p);
        assert_accepted(p, call);
        assert_string_equal(p->clients[held].last, FAULT("2"));
        assert_int_equal(p->clients[held].texts, 1 + 4 * (node + 1));
        assert_memory_equal(p->clients[held].heard + 1 + 4 * node, "ab**", 4);
    }
    pump_run(p, 1000);
    assert_int_equal(own->given, own->brought);
    assert_true(p->clients[held].is_open);
    pump_free(p);
}

static void test_a_refusal_of_the_server_is_the_posts_own_status(void **state)
{
    (void)state;
    static const int statuses[] = {401, 403, 400, 500};
    struct pump *p = pump_new(2, http);
    struct ucall *u;
    uint32_t held = stream_begun(p, 1, true, &u);
    uint32_t texts = p->clients[held].texts;
    for (size_t n = 0; n < sizeof statuses / sizeof statuses[0]; n++) {
        uint32_t call = post(p, n % 2, pump_session(p, held), n < 2 ? CALL("1") : INITIALIZED);
        u = pump_last(p);
        pump_head(p, u, statuses[n], MESH_FORM_RAW, MESH_UP_SESSION_SAME);
        pump_data(p, u, "no", 2);
        pump_end(p, u, MESH_END_WHOLE, MESH_OK);
        pump_settle(p);
        assert_whole(p, call);
        assert_int_equal(p->clients[call].status, statuses[n]);
        assert_string_equal(p->clients[call].last, "no");
    }
    assert_true(p->clients[held].is_open);
    assert_int_equal(p->clients[held].texts, texts);
    pump_free(p);

    /* also that of its initialize: no session yet, and the client may try again */
    p = pump_new(1, http);
    held = stream(p, 0);
    uint32_t made = post(p, 0, pump_session(p, held), INITIALIZE);
    u = pump_last(p);
    pump_head(p, u, 401, MESH_FORM_RAW, MESH_UP_SESSION_SAME);
    pump_end(p, u, MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
    assert_int_equal(p->clients[made].status, 401);
    assert_true(p->clients[held].is_open);
    made = post(p, 0, pump_session(p, held), INITIALIZE);
    u = pump_last(p);
    pump_head(p, u, 200, MESH_FORM_JSON, MESH_UP_SESSION_MADE);
    event(p, u, AGREED("2025-06-18"));
    pump_end(p, u, MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
    assert_accepted(p, made);
    assert_string_equal(p->clients[held].last, AGREED("2025-06-18"));
    pump_free(p);
}

/* Its server refuses connections, until it is told so. */
static void refuse(struct pump *p, uint32_t call)
{
    for (int n = 0; n < 150 && p->clients[call].is_open; n++) {
        pump_end(p, pump_last(p), MESH_END_CUT, MESH_UPSTREAM_DOWN);
        pump_run(p, 100);
    }
}

static void test_a_failure_after_the_202_is_an_error_on_the_stream(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    struct ucall *u;
    uint32_t held = stream_begun(p, 1, true, &u);
    uint32_t call = post(p, 0, pump_session(p, held), CALL("\"q\""));
    u = pump_last(p);
    pump_head(p, u, 200, MESH_FORM_SSE, MESH_UP_SESSION_SAME);
    pump_settle(p);
    assert_accepted(p, call);
    pump_end(p, u, MESH_END_CUT, MESH_UPSTREAM_LOST);
    pump_settle(p);
    assert_int_equal(p->clients[held].told, MESH_UPSTREAM_LOST);
    assert_string_equal(p->clients[held].last, "\"q\"");
    assert_true(p->clients[held].is_open);
    /* before it, the POST is accepted: a client takes a 5xx for a broken server */
    call = post(p, 0, pump_session(p, held), CALL("2"));
    refuse(p, call);
    assert_accepted(p, call);
    assert_int_equal(p->clients[held].told, MESH_UPSTREAM_DOWN);
    assert_heard(p, held, "*??");
    /* a refusal that breaks off was one, and the stream says nothing of it */
    call = post(p, 0, pump_session(p, held), CALL("3"));
    u = pump_last(p);
    pump_head(p, u, 403, MESH_FORM_RAW, MESH_UP_SESSION_SAME);
    pump_end(p, u, MESH_END_CUT, MESH_UPSTREAM_LOST);
    pump_settle(p);
    assert_ended(p, call, MESH_UPSTREAM_LOST);
    assert_int_equal(p->clients[call].status, 403);
    assert_heard(p, held, "*??");
    /* nor has a notification anything to tell but its status */
    call = post(p, 0, pump_session(p, held), INITIALIZED);
    refuse(p, call);
    assert_ended(p, call, MESH_UPSTREAM_DOWN);
    assert_heard(p, held, "*??");
    pump_free(p);
}

static void test_an_id_of_the_other_kind_is_unknown_both_ways(void **state)
{
    (void)state;
    for (int is_http = 0; is_http < 2; is_http++) {
        struct pump *p = pump_new(2, is_http ? http : NULL);
        struct ucall *u;
        uint32_t held = stream_begun(p, 0, is_http, &u);
        const char *old = pump_session(p, held), *new = pump_session(p, pump_begin(p, 0, is_http));
        uint32_t before = p->ucalls_count;
        for (uint32_t node = 0; node < 2; node++) {
            assert_ended(p, ask(p, node, old, CALL("1")), MESH_SESSION_UNKNOWN);
            assert_ended(p, hold(p, node, old), MESH_SESSION_UNKNOWN);
            assert_ended(p, resume(p, node, old, "0-1-0"), MESH_SESSION_UNKNOWN);
            uint32_t end = pump_ask(p, node, MESH_DELETE, old, "", 0);
            pump_settle(p);
            assert_ended(p, end, MESH_SESSION_UNKNOWN);
            assert_ended(p, post(p, node, new, CALL("1")), MESH_SESSION_UNKNOWN);
            assert_ended(p, post(p, node, new, INITIALIZE), MESH_SESSION_UNKNOWN);
        }
        assert_int_equal(p->ucalls_count, before);
        assert_true(p->clients[held].is_open);
        pump_free(p);
    }
}

static void test_a_message_for_nobody_is_unknown_at_once(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    struct ucall *u;
    char forged[MESH_SESSION_TEXT];
    uint32_t held = stream_begun(p, 0, false, &u);
    memcpy(forged, pump_session(p, held), sizeof forged);
    forged[20] = forged[20] == 'A' ? 'B' : 'A';
    for (uint32_t node = 0; node < 2; node++) {
        uint32_t call = pump_post(p, node, forged, CALL("1"));
        pump_drain(p, node);
        assert_ended(p, call, MESH_SESSION_UNKNOWN);
        /* an initialize makes no session here: that is the stream's to do */
        call = pump_post(p, node, forged, INITIALIZE);
        pump_drain(p, node);
        assert_ended(p, call, MESH_SESSION_UNKNOWN);
    }
    pump_free(p);
}

static void test_a_session_ends_with_its_stream(void **state)
{
    (void)state;
    for (int is_http = 0; is_http < 2; is_http++) {
        struct pump *p = pump_new(2, is_http ? http : NULL);
        struct ucall *u;
        uint32_t held = stream_begun(p, 1, is_http, &u);
        const char *session = pump_session(p, held);
        post(p, 0, session, CALL("1"));
        leave(p, held);
        assert_false(pump_up(p, 1, u->up)->is_open);
        for (uint32_t node = 0; node < 2; node++)
            assert_ended(p, post(p, node, session, LIST("2")), MESH_SESSION_UNKNOWN);
        pump_run(p, 20000);
        assert_quiet(p, 0);
        pump_free(p);
    }
}

static void test_a_session_ends_with_its_upstream_and_its_stream_says_so(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, ends);
    struct ucall *u;
    uint32_t held = stream_begun(p, 1, false, &u);
    const char *session = pump_session(p, held);
    post(p, 0, session, CALL("5"));
    pump_up(p, 1, u->up)->is_open = false;
    mesh_up_closed(p->nodes[1].mesh, u->up, MESH_UPSTREAM_LOST, p->now_ms);
    pump_settle(p);
    assert_int_equal(p->clients[held].told, MESH_UPSTREAM_LOST); /* of the request in flight */
    assert_string_equal(p->clients[held].last, "5");
    assert_ended(p, held, MESH_SESSION_ENDED);
    assert_ended(p, post(p, 0, session, LIST("6")), MESH_SESSION_UNKNOWN);
    pump_run(p, 20000);
    assert_quiet(p, 0);
    pump_free(p);
}

static void test_a_stream_that_is_not_read_ends_its_session(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    struct ucall *u;
    uint32_t held = stream_begun(p, 0, true, &u);
    struct ucall *own = pump_last(p);
    pump_head(p, own, 200, MESH_FORM_SSE, MESH_UP_SESSION_SAME);
    p->clients[held].is_slow = true;
    event(p, own, LOG("a"));
    pump_run(p, CALL_STALL_MS - 100);
    assert_true(p->clients[held].is_open);
    pump_run(p, 200);
    assert_false(p->clients[held].is_open);
    assert_ended(p, post(p, 0, pump_session(p, held), LIST("2")), MESH_SESSION_UNKNOWN);
    pump_run(p, 20000);
    assert_quiet(p, 0);
    pump_free(p);
}

static void test_a_stream_goes_on_over_another_link(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    struct ucall *u;
    mesh_serving(p->nodes[1].mesh, false, p->now_ms); /* its own server is down: n0 mints */
    pump_run(p, 3000);
    uint32_t held = stream(p, 1);
    const char *session = pump_session(p, held);
    assert_accepted(p, post(p, 1, session, INITIALIZE));
    u = pump_last(p);
    assert_int_equal(u->node, 0);
    say(p, u, AGREED("2025-06-18"));
    for (int n = 0; n < 30; n++) {
        say(p, u, LOG("a"));
        if (n % 7 == 3)
            pump_cut(p, 0, 1);
        if (n % 3 == 0)
            pump_run(p, 500);
    }
    pump_run(p, 3000);
    assert_true(p->clients[held].is_open);
    assert_heard(p, held, "*aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    /* its owner's death is the session's, and its client can only begin anew */
    pump_kill(p, 0);
    pump_run(p, 30000);
    assert_ended(p, held, MESH_SESSION_ENDED);
    pump_free(p);
}

/* A session at n0 whose client's stream comes from another peer, or from n0 itself. */
static uint32_t stream_at_first(struct pump *p, uint32_t entry)
{
    mesh_serving(p->nodes[1].mesh, entry == 0, p->now_ms); /* else it is n1 that mints */
    pump_run(p, 500);
    uint32_t held = stream(p, entry);
    assert_accepted(p, post(p, entry, pump_session(p, held), INITIALIZE));
    struct ucall *u = pump_last(p);
    assert_int_equal(u->node, 0);
    say(p, u, AGREED("2025-06-18"));
    mesh_serving(p->nodes[1].mesh, true, p->now_ms);
    pump_run(p, 3000);
    return held;
}

/* The stream goes on from who has the session now, and its requests run there. */
static void assert_goes_on(struct pump *p, uint32_t held, uint32_t owner)
{
    assert_true(p->clients[held].is_open);
    uint32_t call = post(p, 1, pump_session(p, held), CALL("2"));
    struct ucall *u = pump_last(p);
    for (int n = 0; n < 10 && strstr(u->text, "\"id\":2") == NULL; n++) {
        char text[600];
        const char *id = strstr(u->text, "\"id\":\"m-");
        assert_int_equal(u->node, owner);
        if (id != NULL) {
            snprintf(text, sizeof text,
                     "{\"jsonrpc\":\"2.0\",%.*s,\"result\":{\"protocolVersion\":"
                     "\"2025-06-18\",\"capabilities\":{}}}",
                     (int)strcspn(id, ","), id);
            say(p, u, text);
        }
        pump_run(p, 50);
        u = pump_last(p);
    }
    say(p, u, RESULT("2"));
    assert_accepted(p, call);
    assert_string_equal(p->clients[held].last, RESULT("2"));
}

static void test_a_stream_goes_on_when_its_owner_leaves(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    uint32_t held = stream_at_first(p, 1);
    mesh_leave(p->nodes[0].mesh, p->now_ms, p->now_ms + 20000, p->now_ms);
    pump_run(p, 3000);
    assert_int_equal(p->changes[0].counts[MESH_LEFT_MESH], 1);
    assert_goes_on(p, held, 1);
    pump_free(p);
}

static void test_a_stream_goes_on_when_its_owners_server_is_gone(void **state)
{
    (void)state;
    for (uint32_t entry = 0; entry < 2; entry++) {
        struct pump *p = pump_new(2, NULL);
        uint32_t held = stream_at_first(p, entry);
        mesh_serving(p->nodes[0].mesh, false, p->now_ms);
        pump_run(p, 3000);
        assert_goes_on(p, held, 1);
        pump_free(p);
    }
}

static void test_the_entrys_death_ends_the_session_at_its_owner(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    struct ucall *u;
    mesh_serving(p->nodes[1].mesh, false, p->now_ms);
    pump_run(p, 3000);
    uint32_t held = stream(p, 1);
    post(p, 1, pump_session(p, held), INITIALIZE);
    u = pump_last(p);
    assert_int_equal(u->node, 0);
    pump_kill(p, 1);
    pump_run(p, 60000);
    assert_false(pump_up(p, 0, u->up)->is_open);
    assert_quiet(p, 0);
    pump_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_get_makes_a_session_and_nothing_runs_yet),
        cmocka_unit_test(test_with_a_child_everything_comes_on_the_one_stream),
        cmocka_unit_test(test_with_an_http_server_answers_and_notifications_come_on_the_one_stream),
        cmocka_unit_test(test_a_refusal_of_the_server_is_the_posts_own_status),
        cmocka_unit_test(test_a_failure_after_the_202_is_an_error_on_the_stream),
        cmocka_unit_test(test_an_id_of_the_other_kind_is_unknown_both_ways),
        cmocka_unit_test(test_a_message_for_nobody_is_unknown_at_once),
        cmocka_unit_test(test_a_session_ends_with_its_stream),
        cmocka_unit_test(test_a_session_ends_with_its_upstream_and_its_stream_says_so),
        cmocka_unit_test(test_a_stream_that_is_not_read_ends_its_session),
        cmocka_unit_test(test_a_stream_goes_on_over_another_link),
        cmocka_unit_test(test_a_stream_goes_on_when_its_owner_leaves),
        cmocka_unit_test(test_a_stream_goes_on_when_its_owners_server_is_gone),
        cmocka_unit_test(test_the_entrys_death_ends_the_session_at_its_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
