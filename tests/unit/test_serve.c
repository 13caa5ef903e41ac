/* Tests of serve.h and upcall.h: requests at their owner. What is admitted, what an upstream's
 * answers become, how much of them is taken, and how sessions begin and end (reference mcp.md,
 * sections 2.2 and 4.2; bad-inputs.md, rows A3, A7-A11, J9-J12). */
#include "mesh/session/replay.h"
#include "mesh/session/serve.h"
#include "tests/unit/mesh_pump.h"

#define KIB 1024u

static void http(struct mesh_config *config)
{
    config->upstream = MESH_UP_HTTP;
}

static uint32_t ask(struct pump *p, uint32_t node, const char *session, const char *text)
{
    uint32_t client = pump_ask(p, node, MESH_CALL, session, text, 0);
    pump_settle(p);
    return client;
}

static uint32_t want(struct pump *p, uint32_t node, enum mesh_want what, const char *session)
{
    uint32_t client = pump_ask(p, node, what, session, "", 0);
    pump_settle(p);
    return client;
}

static struct mesh_stats stats_of(const struct pump *p, uint32_t node)
{
    struct mesh_stats stats;
    mesh_stats(p->nodes[node].mesh, &stats);
    return stats;
}

/* ---- admission ------------------------------------------------------------------------------ */

static void test_another_principal_finds_nothing_at_any_peer(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    uint32_t made = pump_ask(p, 0, MESH_CALL, NULL, INITIALIZE, 7);
    pump_settle(p);
    pump_say(p, pump_last(p), RESULT("0"));
    pump_settle(p);
    const char *session = pump_session(p, made);
    uint32_t held = pump_ask(p, 0, MESH_LISTEN, session, "", 7);
    uint32_t before = p->ucalls_count;
    for (uint32_t node = 0; node < 2; node++) {
        for (uint8_t who = 0; who < 9; who += 8) {
            uint32_t call = pump_ask(p, node, MESH_CALL, session, CALL("1"), who);
            uint32_t listen = pump_ask(p, node, MESH_LISTEN, session, "", who);
            uint32_t end = pump_ask(p, node, MESH_DELETE, session, "", who);
            pump_settle(p);
            assert_ended(p, call, MESH_SESSION_UNKNOWN);
            assert_ended(p, listen, MESH_SESSION_UNKNOWN);
            assert_ended(p, end, MESH_SESSION_UNKNOWN);
            assert_int_equal(p->clients[call].heads, 0);
            assert_int_equal(p->clients[listen].heads, 0);
        }
    }
    assert_int_equal(p->ucalls_count, before);
    assert_true(p->clients[held].is_open);
    assert_int_equal(stats_of(p, 0).not_found_principal, 12);
    /* an initialize of somebody else's makes a session of its own (row A9) */
    uint32_t other = pump_ask(p, 1, MESH_CALL, session, INITIALIZE, 8);
    pump_settle(p);
    pump_say(p, pump_last(p), RESULT("0"));
    pump_settle(p);
    assert_ended(p, other, MESH_OK);
    assert_memory_not_equal(pump_session(p, other), session, MESH_SESSION_TEXT);
    pump_free(p);
}

static void test_an_id_that_is_none_of_ours_is_answered_without_asking_anybody(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    char session[MESH_SESSION_TEXT];
    memcpy(session, pump_session(p, pump_begin(p, 0, false)), sizeof session);
    session[20] = session[20] == 'A' ? 'B' : 'A';
    p->conns_count = p->conns_count; /* no settle: the answer is there at once */
    uint32_t dials = p->dials;
    uint32_t forged = pump_ask(p, 1, MESH_CALL, session, CALL("1"), 0);
    pump_drain(p, 1);
    assert_ended(p, forged, MESH_SESSION_UNKNOWN);
    assert_int_equal(p->dials, dials);
    assert_int_equal(stats_of(p, 1).not_found_foreign, 1);
    /* on initialize it is dropped: a new session is made */
    uint32_t fresh = ask(p, 1, session, INITIALIZE);
    pump_say(p, pump_last(p), RESULT("0"));
    pump_settle(p);
    assert_ended(p, fresh, MESH_OK);
    assert_memory_not_equal(pump_session(p, fresh), session, MESH_SESSION_TEXT);
    pump_free(p);
}

static void test_a_second_initialize_changes_nothing(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    for (uint32_t node = 0; node < 2; node++)
        assert_ended(p, ask(p, node, session, INITIALIZE), MESH_ALREADY_INITIALIZED);
    assert_int_equal(pump_executions(p, INITIALIZE), 1);
    uint32_t call = ask(p, 1, session, CALL("1"));
    pump_say(p, pump_last(p), RESULT("1"));
    pump_settle(p);
    assert_ended(p, call, MESH_OK);
    pump_free(p);
}

static void test_a_stale_id_on_initialize_makes_a_new_session(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    assert_ended(p, want(p, 0, MESH_DELETE, session), MESH_OK);
    for (uint32_t node = 0; node < 2; node++) {
        uint32_t fresh = ask(p, node, session, INITIALIZE);
        pump_say(p, pump_last(p), RESULT("0"));
        pump_settle(p);
        assert_ended(p, fresh, MESH_OK);
        assert_memory_not_equal(pump_session(p, fresh), session, MESH_SESSION_TEXT);
    }
    pump_free(p);
}

static void test_what_a_child_cannot_serve_is_refused(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    assert_ended(p, ask(p, 0, NULL, CALL("1")), MESH_NO_SESSION_ID);
    assert_ended(p, ask(p, 0, session, "[" CALL("1") "]"), MESH_NOT_SUPPORTED);
    assert_ended(p, want(p, 0, MESH_PASS, NULL), MESH_NO_ROUTE);
    assert_ended(p, want(p, 0, MESH_LISTEN, NULL), MESH_NO_SESSION_ID);
    assert_ended(p, want(p, 0, MESH_DELETE, NULL), MESH_NO_SESSION_ID);
    pump_free(p);
}

static void test_a_session_has_so_many_calls_and_no_more(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    char text[200];
    for (int n = 0; n < 256; n++) {
        snprintf(text, sizeof text, "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"tools/call\"}", n);
        assert_true(p->clients[ask(p, 0, session, text)].is_open);
    }
    assert_ended(p, ask(p, 0, session, CALL("1000")), MESH_FULL);
    pump_say(p, pump_last(p), RESULT("3"));
    pump_settle(p);
    assert_true(p->clients[ask(p, 0, session, CALL("1000"))].is_open);
    pump_free(p);
}

/* ---- sessions of an HTTP upstream ----------------------------------------------------------- */

static void test_an_upstream_without_sessions_has_none_here(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    uint32_t made = ask(p, 0, NULL, INITIALIZE);
    struct ucall *u = pump_last(p);
    pump_head(p, u, 200, MESH_FORM_JSON, MESH_UP_SESSION_SAME);
    pump_event(p, u, RESULT("0"));
    pump_end(p, u, MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
    assert_ended(p, made, MESH_OK);
    assert_false(p->clients[made].has_session);
    assert_quiet(p, 0);
    /* such a request goes to the upstream here, and its status through */
    uint32_t call = ask(p, 1, NULL, LIST("1"));
    u = pump_last(p);
    assert_int_equal(u->node, 1);
    pump_head(p, u, 400, MESH_FORM_RAW, MESH_UP_SESSION_SAME);
    pump_data(p, u, "no", 2);
    pump_end(p, u, MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
    assert_ended(p, call, MESH_OK);
    assert_int_equal(p->clients[call].status, 400);
    assert_string_equal(p->clients[call].last, "no");
    assert_quiet(p, 0);
    pump_free(p);
}

static void test_an_initialize_that_fails_leaves_no_session(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    struct {
        int status;
        enum mesh_up_session said;
        enum mesh_reason end, told;
    } rows[] = {{400, MESH_UP_SESSION_SAME, MESH_OK, MESH_OK},
                {404, MESH_UP_SESSION_LOST, MESH_OK, MESH_UPSTREAM_LOST},
                {500, MESH_UP_SESSION_MADE, MESH_OK, MESH_OK},
                {0, MESH_UP_SESSION_SAME, MESH_UPSTREAM_DOWN, MESH_UPSTREAM_DOWN},
                {0, MESH_UP_SESSION_SAME, MESH_UPSTREAM_BAD, MESH_UPSTREAM_BAD}};
    for (size_t n = 0; n < sizeof rows / sizeof rows[0]; n++) {
        uint32_t made = ask(p, 0, NULL, INITIALIZE);
        struct ucall *u = pump_last(p);
        if (rows[n].status != 0)
            pump_head(p, u, rows[n].status, MESH_FORM_RAW, rows[n].said);
        pump_end(p, u, rows[n].end == MESH_OK ? MESH_END_WHOLE : MESH_END_CUT, rows[n].end);
        pump_settle(p);
        assert_ended(p, made, rows[n].told);
        assert_false(p->clients[made].has_session);
        if (rows[n].told == MESH_OK)
            assert_int_equal(p->clients[made].status, rows[n].status);
        assert_quiet(p, 0);
    }
    assert_int_equal(stats_of(p, 0).sessions_opened, 0);
    assert_int_equal(p->changes[0].counts[MESH_SESSION_CLOSED], 0);
    pump_free(p);
}

static void test_a_child_that_dies_while_it_begins_is_told_in_band(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, NULL);
    p->ups_wait = true;
    uint32_t made = ask(p, 0, NULL, INITIALIZE);
    assert_int_equal(p->ucalls_count, 0); /* it waits for its child */
    p->ups[0].is_open = false;
    mesh_up_closed(p->nodes[0].mesh, p->ups[0].handle, MESH_UPSTREAM_DOWN, p->now_ms);
    pump_settle(p);
    assert_ended(p, made, MESH_UPSTREAM_DOWN);
    assert_quiet(p, 0);
    made = ask(p, 0, NULL, INITIALIZE);
    mesh_up_ready(p->nodes[0].mesh, p->ups[1].handle, p->now_ms);
    pump_settle(p);
    pump_say(p, pump_last(p), FAULT("0"));
    pump_settle(p);
    assert_ended(p, made, MESH_OK); /* the upstream's own error */
    assert_false(p->clients[made].has_session);
    assert_quiet(p, 0);
    pump_free(p);
}

static void ends(struct mesh_config *config)
{
    config->on_owner_loss = MESH_LOSS_END;
}

static void http_ends(struct mesh_config *config)
{
    http(config);
    ends(config);
}

static void test_an_upstream_lost_is_told_in_band_and_its_session_is_over(void **state)
{
    (void)state;
    for (int is_http = 0; is_http < 2; is_http++) {
        struct pump *p = pump_new(2, is_http ? http_ends : ends);
        const char *session = pump_session(p, pump_begin(p, 0, is_http));
        uint32_t call = ask(p, 1, session, CALL("1")), held = want(p, 1, MESH_LISTEN, session);
        uint32_t answered = ask(p, 0, session, CALL("2"));
        struct ucall *u = pump_last(p);
        if (is_http) { /* its 404 reaches no client */
            uint32_t bad = ask(p, 0, session, LIST("3"));
            pump_head(p, pump_last(p), 404, MESH_FORM_RAW, MESH_UP_SESSION_LOST);
            pump_settle(p);
            assert_ended(p, bad, MESH_UPSTREAM_LOST);
        } else {
            pump_say(p, u, RESULT("2"));
            pump_up(p, 0, u->up)->is_open = false;
            mesh_up_closed(p->nodes[0].mesh, u->up, MESH_UPSTREAM_LOST, p->now_ms);
        }
        pump_settle(p);
        assert_ended(p, call, MESH_UPSTREAM_LOST);
        assert_ended(p, answered, is_http ? MESH_UPSTREAM_LOST : MESH_OK);
        assert_ended(p, held, MESH_SESSION_ENDED);
        assert_int_equal(p->clients[held].heads, 1);
        assert_ended(p, ask(p, 1, session, LIST("4")), MESH_SESSION_UNKNOWN);
        assert_quiet(p, 0);
        pump_free(p);
    }
}

static void test_delete_ends_everything_and_a_refused_one_nothing(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    const char *session = pump_session(p, pump_begin(p, 0, true));
    uint32_t held = want(p, 1, MESH_LISTEN, session), call = ask(p, 1, session, CALL("1"));
    for (int status = 405; status >= 200; status -= 205) {
        uint32_t end = want(p, 1, MESH_DELETE, session);
        struct ucall *u = pump_last(p);
        assert_int_equal(u->want, MESH_DELETE);
        pump_head(p, u, status, MESH_FORM_NONE, MESH_UP_SESSION_SAME);
        pump_end(p, u, MESH_END_WHOLE, MESH_OK);
        pump_settle(p);
        assert_ended(p, end, MESH_OK);
        assert_int_equal(p->clients[end].status, status);
        assert_int_equal(p->clients[held].is_open, status == 405);
        assert_int_equal(p->clients[call].is_open, status == 405);
    }
    assert_ended(p, held, MESH_SESSION_ENDED);
    assert_ended(p, call, MESH_SESSION_ENDED);
    for (uint32_t node = 0; node < 2; node++) {
        assert_ended(p, want(p, node, MESH_DELETE, session), MESH_SESSION_UNKNOWN);
        assert_ended(p, want(p, node, MESH_LISTEN, session), MESH_SESSION_UNKNOWN);
        assert_ended(p, ask(p, node, session, CALL("2")), MESH_SESSION_UNKNOWN);
    }
    assert_quiet(p, 0);
    pump_free(p);
}

static void test_delete_of_a_child_closes_it(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    uint32_t call = ask(p, 1, session, CALL("1"));
    uint32_t end = want(p, 1, MESH_DELETE, session);
    assert_ended(p, end, MESH_OK);
    assert_int_equal(p->clients[end].status, 200);
    assert_ended(p, call, MESH_SESSION_ENDED);
    assert_false(p->ups[0].is_open);
    assert_quiet(p, 0);
    pump_free(p);
}

/* mcp.md §4.2 rule 8, row S3. */
static void test_a_message_too_large_ends_its_request_and_no_session(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    struct mesh *owner = p->nodes[0].mesh;
    const char *session = pump_session(p, pump_begin(p, 0, false));
    uint32_t first = ask(p, 1, session, CALL("1")), second = ask(p, 1, session, CALL("\"1\""));
    struct handle up = pump_last(p)->up;
    uint64_t bad = stats_of(p, 0).messages_bad;
    /* of the server's own, and answers to nothing: no request is theirs */
    mesh_up_too_large(owner, up, RPC_REQUEST, slice_text("1"), p->now_ms);
    mesh_up_too_large(owner, up, RPC_NOTIFICATION, (struct slice){0}, p->now_ms);
    mesh_up_too_large(owner, up, RPC_RESPONSE, slice_text("2"), p->now_ms);
    mesh_up_too_large(owner, up, RPC_RESPONSE, (struct slice){0}, p->now_ms);
    pump_settle(p);
    assert_true(p->clients[first].is_open && p->clients[second].is_open);
    mesh_up_too_large(owner, up, RPC_RESPONSE, slice_text("10e-1"), p->now_ms);
    pump_settle(p);
    assert_ended(p, first, MESH_ANSWER_TOO_LARGE);
    assert_true(p->clients[second].is_open);
    mesh_up_too_large(owner, up, RPC_ERROR, slice_text("\"1\""), p->now_ms);
    pump_settle(p);
    assert_ended(p, second, MESH_ANSWER_TOO_LARGE);
    assert_int_equal(stats_of(p, 0).messages_bad - bad, 6);
    uint32_t third = ask(p, 1, session, CALL("3"));
    pump_say(p, pump_last(p), RESULT("3"));
    pump_settle(p);
    assert_ended(p, third, MESH_OK);
    pump_free(p);
}

static void test_an_initialize_answered_too_large_makes_no_session(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, NULL);
    uint32_t made = ask(p, 0, NULL, INITIALIZE);
    mesh_up_too_large(p->nodes[0].mesh, pump_last(p)->up, RPC_RESPONSE, slice_text("0"), p->now_ms);
    pump_settle(p);
    assert_ended(p, made, MESH_ANSWER_TOO_LARGE);
    assert_false(p->clients[made].has_session);
    assert_false(p->ups[0].is_open);
    assert_quiet(p, 0);
    pump_free(p);
}

/* ---- the server stream ---------------------------------------------------------------------- */

static void test_a_cancelled_request_of_a_child_ends_and_gives_its_place_back(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, true));
    for (int n = 0; n < SESSION_CALLS_MAX + 10; n++) {
        uint32_t call = pump_ask(p, 1, MESH_CALL, session, CALL("7"), 0);
        pump_settle(p);
        uint32_t notice = pump_ask(p, 0, MESH_CALL, session,
                                   "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\","
                                   "\"params\":{\"requestId\":7}}",
                                   0);
        pump_settle(p);
        assert_ended(p, call, MESH_CANCELLED);
        assert_int_equal(p->clients[notice].status, 202);
    }
    pump_free(p);
}

static void test_a_newer_get_supersedes_and_takes_over_the_upstream_stream(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    const char *session = pump_session(p, pump_begin(p, 0, true));
    uint32_t first = want(p, 0, MESH_LISTEN, session);
    struct ucall *u = pump_last(p);
    assert_int_equal(u->kind, MESH_UP_LISTEN);
    assert_int_equal(p->clients[first].status, 200); /* before the upstream says anything */
    pump_head(p, u, 200, MESH_FORM_SSE, MESH_UP_SESSION_SAME);
    pump_event(p, u, LOG("a"));
    pump_settle(p);
    assert_int_equal(p->clients[first].texts, 1);
    uint32_t second = want(p, 1, MESH_LISTEN, session);
    assert_ended(p, first, MESH_SUPERSEDED);
    assert_false(u->is_cancelled); /* opened anew it would miss what is said meanwhile */
    assert_ptr_equal(pump_last(p), u);
    pump_event(p, u, LOG("b"));
    pump_settle(p);
    assert_int_equal(p->clients[first].texts, 1);
    assert_int_equal(p->clients[second].texts, 1);
    assert_string_equal(p->clients[second].last, LOG("b"));
    pump_free(p);
}

static void test_the_upstreams_stream_is_opened_again_and_its_405_believed(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    const char *session = pump_session(p, pump_begin(p, 0, true));
    uint32_t held = want(p, 0, MESH_LISTEN, session), before = p->ucalls_count;
    pump_end(p, pump_last(p), MESH_END_CUT, MESH_UPSTREAM_LOST);
    pump_run(p, SERVE_RELISTEN_FIRST_MS - 10);
    assert_int_equal(p->ucalls_count, before);
    pump_run(p, 20);
    assert_int_equal(p->ucalls_count, before + 1);
    assert_true(p->clients[held].is_open);
    struct ucall *u = pump_last(p);
    pump_head(p, u, 405, MESH_FORM_NONE, MESH_UP_SESSION_SAME);
    pump_end(p, u, MESH_END_WHOLE, MESH_OK);
    pump_run(p, 5000);
    assert_int_equal(p->ucalls_count, before + 1);
    assert_true(p->clients[held].is_open);
    pump_close(p, held);
    pump_settle(p);
    assert_quiet(p, 1);
    pump_free(p);
}

/* ---- how much is taken ---------------------------------------------------------------------- */

/* Feeds `size` bytes of an answer as fast as its room allows; what was fed. */
static size_t feed(struct pump *p, struct ucall *u, size_t size, uint64_t *sum)
{
    static uint8_t part[16 * KIB];
    size_t fed = 0;
    while (u->room > 0 && fed < size) {
        size_t length = size - fed < sizeof part ? size - fed : sizeof part;
        length = length < u->room ? length : u->room;
        for (size_t n = 0; n < length; n++) {
            part[n] = (uint8_t)('a' + (*sum + n) % 26);
            *sum = *sum * 31 + part[n];
        }
        u->room -= length;
        fed += length;
        pump_data(p, u, part, length);
        pump_settle(p);
    }
    return fed;
}

static void test_room_comes_only_as_the_clients_socket_takes(void **state)
{
    (void)state;
    for (uint32_t node = 0; node < 2; node++) {
        struct pump *p = pump_new(2, http);
        const char *session = pump_session(p, pump_begin(p, 0, true));
        uint32_t call = pump_ask(p, node, MESH_CALL, session, LIST("1"), 0);
        p->clients[call].is_slow = true;
        pump_settle(p);
        struct ucall *u = pump_last(p);
        uint64_t sum = 0;
        pump_head(p, u, 200, MESH_FORM_RAW, MESH_UP_SESSION_SAME);
        assert_int_equal(feed(p, u, 1024 * KIB, &sum), MESH_UP_ROOM_FIRST);
        pump_run(p, 2000);
        assert_int_equal(u->room, 0);
        size_t given = MESH_UP_ROOM_FIRST;
        while (given < 1024 * KIB) {
            assert_true(p->clients[call].untaken > 0);
            pump_take(p, call, p->clients[call].untaken);
            pump_run(p, 100); /* what was taken is told within the link's delay */
            if (u->room > 0)
                given += feed(p, u, 1024 * KIB - given, &sum);
        }
        p->clients[call].is_slow = false;
        while (p->clients[call].untaken > 0) {
            pump_take(p, call, p->clients[call].untaken);
            pump_run(p, 100);
        }
        pump_end(p, u, MESH_END_WHOLE, MESH_OK);
        pump_settle(p);
        assert_ended(p, call, MESH_OK);
        assert_int_equal(p->clients[call].bytes, 1024 * KIB);
        assert_true(p->clients[call].sum == sum);
        assert_quiet(p, 1);
        pump_free(p);
    }
}

static void test_a_link_cut_in_a_large_answer_loses_and_doubles_nothing(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    const char *session = pump_session(p, pump_begin(p, 0, true));
    uint32_t call = ask(p, 1, session, LIST("1"));
    struct ucall *u = pump_last(p);
    uint64_t sum = 0;
    size_t given = 0;
    pump_head(p, u, 200, MESH_FORM_RAW, MESH_UP_SESSION_SAME);
    for (int round = 0; given < 1024 * KIB; round++) {
        assert_true(round < 300);
        /* it has read much, taken little, and acknowledged nothing when the link goes */
        p->clients[call].is_slow = round % 3 != 2;
        given += feed(p, u, 1024 * KIB - given, &sum);
        if (round % 3 == 0)
            pump_cut(p, 0, 1);
        pump_run(p, 300);
        if (round % 3 == 1)
            pump_take(p, call, p->clients[call].untaken);
        pump_run(p, 300);
    }
    p->clients[call].is_slow = false;
    pump_take(p, call, p->clients[call].untaken);
    pump_run(p, 1000);
    pump_cut(p, 0, 1);
    pump_end(p, u, MESH_END_WHOLE, MESH_OK);
    pump_run(p, 2000);
    assert_ended(p, call, MESH_OK);
    assert_int_equal(p->clients[call].bytes, 1024 * KIB);
    assert_true(p->clients[call].sum == sum);
    assert_int_equal(pump_executions(p, LIST("1")), 1);
    pump_run(p, 20000);
    assert_quiet(p, 1);
    pump_free(p);
}

/* One notification of about that size. */
static const char *note(size_t size)
{
    static char text[300 * KIB];
    assert_true(size > 64 && size < sizeof text);
    snprintf(text, sizeof text,
             "{\"jsonrpc\":\"2.0\",\"method\":\"n\",\"params\":{\"x\":\"%0*d\"}}", (int)size - 60,
             0);
    return text;
}

/* So many bytes of a child came for which it was given no room. */
static size_t owed(const struct pump *p, const struct ucall *u)
{
    for (uint32_t n = 0; n < p->ups_count; n++)
        if (p->ups[n].node == u->node && handle_equal(p->ups[n].handle, u->up))
            return p->ups[n].brought - p->ups[n].given;
    fail_msg("no such upstream");
    return 0;
}

/* Whoever keeps a child from speaking holds up all streams of its session. */
static void test_a_slow_reader_of_a_child_is_cut_and_the_others_are_not(void **state)
{
    (void)state;
    for (uint32_t node = 0; node < 2; node++) {
        struct pump *p = pump_new(2, NULL);
        const char *session = pump_session(p, pump_begin(p, 0, false));
        uint32_t slow = pump_ask(p, node, MESH_LISTEN, session, "", 0);
        p->clients[slow].is_slow = true;
        uint32_t one = ask(p, node, session, CALL("1")), two = ask(p, 0, session, CALL("2"));
        struct ucall *u = pump_last(p);
        while (owed(p, u) < MESH_UP_ROOM_FIRST) {
            pump_say(p, u, note(16 * KIB));
            pump_settle(p);
        }
        pump_run(p, CALL_STALL_PAUSED_MS - 50);
        assert_true(owed(p, u) >= MESH_UP_ROOM_FIRST); /* the child is kept from speaking */
        pump_run(p, 100);
        assert_int_equal(owed(p, u), 0);
        if (p->clients[slow].is_open) { /* the end stands behind what it has not taken */
            pump_take(p, slow, p->clients[slow].untaken);
            p->clients[slow].is_slow = false;
            pump_run(p, 1000);
        }
        assert_ended(p, slow, MESH_READER_SLOW);
        assert_in_range(p->clients[slow].texts, 1, 17);
        pump_say(p, u, RESULT("1"));
        pump_say(p, u, RESULT("2"));
        pump_settle(p);
        assert_ended(p, one, MESH_OK);
        assert_ended(p, two, MESH_OK);
        pump_free(p);
    }
}

static void test_bodies_of_any_size_leave_nothing_behind_at_the_owner(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    static char text[600 * KIB];
    for (size_t size = 8 * KIB; size < 512 * KIB; size = size * 3 / 2) {
        strcpy(text,
               "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"x\":\"");
        size_t head = strlen(text);
        memset(text + head, 'x', size);
        strcpy(text + head + size, "\"}}");
        uint32_t call = ask(p, 1, session, text);
        assert_int_equal(pump_last(p)->length, strlen(text));
        pump_say(p, pump_last(p), RESULT("1"));
        pump_run(p, 200);
        assert_ended(p, call, MESH_OK);
        assert_quiet(p, 1);
    }
    pump_free(p);
}

/* ---- what an answer may be ------------------------------------------------------------------ */

static void test_an_answer_that_never_comes_is_not_an_answer(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    const char *session = pump_session(p, pump_begin(p, 0, true));
    /* a stream that ends without it, a head without its text, nothing at all */
    for (int n = 0; n < 3; n++) {
        uint32_t call = ask(p, 1, session, CALL("1"));
        struct ucall *u = pump_last(p);
        if (n < 2)
            pump_head(p, u, 200, n == 0 ? MESH_FORM_SSE : MESH_FORM_RAW, MESH_UP_SESSION_SAME);
        if (n == 0)
            pump_event(p, u, LOG("a"));
        pump_end(p, u, n == 1 ? MESH_END_CUT : MESH_END_WHOLE, MESH_OK);
        pump_settle(p);
        assert_ended(p, call, n == 0 ? MESH_OK : MESH_UPSTREAM_LOST);
        if (n > 0)
            continue;
        /* a stream says it itself, as its last event: who resumes hears it, too */
        assert_string_equal(p->clients[call].heard, "a?");
        assert_int_equal(p->clients[call].told, MESH_UPSTREAM_LOST);
        assert_string_equal(p->clients[call].last, "1");
        assert_true(p->clients[call].position.is_last);
    }
    /* what was lost after the answer is not missed */
    uint32_t call = ask(p, 1, session, CALL("1"));
    struct ucall *u = pump_last(p);
    pump_head(p, u, 200, MESH_FORM_SSE, MESH_UP_SESSION_SAME);
    pump_event(p, u, RESULT("1"));
    pump_end(p, u, MESH_END_CUT, MESH_UPSTREAM_LOST);
    pump_settle(p);
    assert_ended(p, call, MESH_OK);
    assert_quiet(p, 1);
    pump_free(p);
}

static void test_a_request_that_never_left_is_sent_again_and_one_that_did_is_not(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    const char *session = pump_session(p, pump_begin(p, 0, true));
    uint32_t safe = ask(p, 0, session, LIST("1"));
    pump_end(p, pump_last(p), MESH_END_CUT, MESH_UPSTREAM_LOST);
    pump_run(p, REPLAY_AGAIN_FIRST_MS);
    assert_true(p->clients[safe].is_open);
    assert_int_equal(pump_executions(p, LIST("1")), 2);
    pump_end(p, pump_last(p), MESH_END_CUT, MESH_UPSTREAM_LOST);
    pump_settle(p);
    assert_ended(p, safe, MESH_UPSTREAM_LOST); /* enough is enough */
    uint32_t unsafe = ask(p, 0, session, CALL("2"));
    pump_end(p, pump_last(p), MESH_END_CUT, MESH_UPSTREAM_LOST);
    pump_settle(p);
    assert_ended(p, unsafe, MESH_UPSTREAM_LOST);
    assert_int_equal(pump_executions(p, CALL("2")), 1);
    /* it does its work but for these: else it would be asked nothing any more (breaker.h) */
    (void)ask(p, 0, session, LIST("0"));
    pump_event(p, pump_last(p), RESULT("0"));
    pump_end(p, pump_last(p), MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
    /* likewise those of which something was heard */
    const char *texts[] = {LIST("3"), CALL("4")};
    for (int n = 0; n < 2; n++) {
        uint32_t client = ask(p, 0, session, texts[n]);
        for (int runs = 0; runs < 2 - n; runs++) {
            assert_true(p->clients[client].is_open);
            pump_head(p, pump_last(p), 200, MESH_FORM_SSE, MESH_UP_SESSION_SAME);
            pump_end(p, pump_last(p), MESH_END_CUT, MESH_UPSTREAM_LOST);
            pump_run(p, REPLAY_AGAIN_FIRST_MS);
        }
        assert_ended(p, client, MESH_OK);
        assert_int_equal(p->clients[client].heads, 1);
        assert_int_equal(p->clients[client].told, MESH_UPSTREAM_LOST);
        assert_int_equal(pump_executions(p, texts[n]), 2 - n);
    }
    /* part of a JSON answer is out: another would not go on where it stopped */
    safe = ask(p, 0, session, LIST("5"));
    pump_head(p, pump_last(p), 200, MESH_FORM_RAW, MESH_UP_SESSION_SAME);
    pump_data(p, pump_last(p), "{", 1);
    pump_end(p, pump_last(p), MESH_END_CUT, MESH_UPSTREAM_LOST);
    pump_settle(p);
    assert_ended(p, safe, MESH_UPSTREAM_LOST);
    assert_int_equal(pump_executions(p, LIST("5")), 1);
    pump_free(p);
}

static void test_in_the_modern_era_a_closed_stream_is_a_cancel(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    for (int modern = 0; modern < 2; modern++) {
        struct mesh_request r = {.want = MESH_CALL, .era = modern ? MESH_MODERN : MESH_LEGACY};
        rpc_read(&r.rpc, NULL, CALL("1"), strlen(CALL("1")));
        r.body = slice_text(CALL("1"));
        struct client *c = &p->clients[p->clients_count++];
        c->handle = mesh_open(p->nodes[0].mesh, &r, p->now_ms);
        c->is_open = true;
        pump_settle(p);
        struct ucall *u = pump_last(p);
        pump_close(p, p->clients_count - 1);
        pump_settle(p);
        assert_int_equal(u->is_cancelled, modern);
        pump_head(p, u, 200, MESH_FORM_JSON, MESH_UP_SESSION_SAME);
        pump_event(p, u, RESULT("1"));
        pump_end(p, u, MESH_END_WHOLE, MESH_OK);
        pump_settle(p);
        assert_quiet(p, 0);
    }
    pump_free(p);
}

static void test_facts_of_closed_handles_are_nobodys(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    const char *session = pump_session(p, pump_begin(p, 0, true));
    uint32_t call = ask(p, 0, session, CALL("1"));
    struct ucall u = *pump_last(p);
    struct handle old = p->clients[call].handle;
    pump_head(p, &u, 200, MESH_FORM_JSON, MESH_UP_SESSION_SAME);
    pump_event(p, &u, RESULT("1"));
    pump_end(p, &u, MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
    uint32_t next = ask(p, 0, session, CALL("2")); /* in the same slot */
    struct mesh *mesh = p->nodes[0].mesh;
    mesh_taken(mesh, old, 5, p->now_ms);
    mesh_close(mesh, old, p->now_ms);
    pump_head(p, &u, 500, MESH_FORM_RAW, MESH_UP_SESSION_LOST);
    pump_event(p, &u, RESULT("2"));
    pump_end(p, &u, MESH_END_CUT, MESH_UPSTREAM_LOST);
    mesh_up_sent(mesh, u.up, 99, p->now_ms);
    struct handle none = {0}, far = {4000000, 7};
    mesh_up_closed(mesh, none, MESH_OK, p->now_ms);
    mesh_up_closed(mesh, far, MESH_OK, p->now_ms);
    mesh_up_ready(mesh, far, p->now_ms);
    mesh_link_up(mesh, far, p->now_ms);
    mesh_link_bytes(mesh, none, slice_text("x"), p->now_ms);
    mesh_link_taken(mesh, far, 7, p->now_ms);
    mesh_link_down(mesh, far, MESH_LOSS_RST, p->now_ms);
    mesh_close(mesh, none, p->now_ms);
    pump_settle(p);
    assert_true(p->clients[next].is_open);
    assert_int_equal(p->clients[next].heads, 0);
    pump_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_another_principal_finds_nothing_at_any_peer),
        cmocka_unit_test(test_an_id_that_is_none_of_ours_is_answered_without_asking_anybody),
        cmocka_unit_test(test_a_second_initialize_changes_nothing),
        cmocka_unit_test(test_a_stale_id_on_initialize_makes_a_new_session),
        cmocka_unit_test(test_what_a_child_cannot_serve_is_refused),
        cmocka_unit_test(test_a_session_has_so_many_calls_and_no_more),
        cmocka_unit_test(test_an_upstream_without_sessions_has_none_here),
        cmocka_unit_test(test_an_initialize_that_fails_leaves_no_session),
        cmocka_unit_test(test_a_child_that_dies_while_it_begins_is_told_in_band),
        cmocka_unit_test(test_an_upstream_lost_is_told_in_band_and_its_session_is_over),
        cmocka_unit_test(test_delete_ends_everything_and_a_refused_one_nothing),
        cmocka_unit_test(test_delete_of_a_child_closes_it),
        cmocka_unit_test(test_a_cancelled_request_of_a_child_ends_and_gives_its_place_back),
        cmocka_unit_test(test_a_message_too_large_ends_its_request_and_no_session),
        cmocka_unit_test(test_an_initialize_answered_too_large_makes_no_session),
        cmocka_unit_test(test_a_newer_get_supersedes_and_takes_over_the_upstream_stream),
        cmocka_unit_test(test_the_upstreams_stream_is_opened_again_and_its_405_believed),
        cmocka_unit_test(test_room_comes_only_as_the_clients_socket_takes),
        cmocka_unit_test(test_a_link_cut_in_a_large_answer_loses_and_doubles_nothing),
        cmocka_unit_test(test_a_slow_reader_of_a_child_is_cut_and_the_others_are_not),
        cmocka_unit_test(test_bodies_of_any_size_leave_nothing_behind_at_the_owner),
        cmocka_unit_test(test_an_answer_that_never_comes_is_not_an_answer),
        cmocka_unit_test(test_a_request_that_never_left_is_sent_again_and_one_that_did_is_not),
        cmocka_unit_test(test_in_the_modern_era_a_closed_stream_is_a_cancel),
        cmocka_unit_test(test_facts_of_closed_handles_are_nobodys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
