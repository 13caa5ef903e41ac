/* Tests of batch.h: the batches of revision 2025-03-26 where the mesh is the server, and of the
 * reading of their entries (MCP 2025-03-26, base protocol and transports). */
#include "mesh/session/batch.h"
#include "mesh/session/session.h"
#include "tests/unit/streams_pump.h"

#define INITIALIZE_BATCHES                                                                         \
    "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\",\"params\":{\"protocolVersion\":"     \
    "\"2025-03-26\"}}"
#define CANCEL(id)                                                                                 \
    "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":" id "}}"

static const char *begin(struct pump *p)
{
    return pump_session(p, pump_begin_with(p, 0, false, INITIALIZE_BATCHES, AGREED("2025-03-26")));
}

static void assert_reached(const struct pump *p, uint32_t from, const char *const *texts)
{
    for (; *texts != NULL; texts++) {
        assert_true(from < p->ucalls_count);
        assert_string_equal(p->ucalls[from++].text, *texts);
    }
    assert_int_equal(p->ucalls_count, from);
}

/* ---- entries --------------------------------------------------------------------------------- */

static void assert_entries(const char *batch, const char *const *entries)
{
    struct slice text = slice_text(batch), entry;
    struct rpc_message facts;
    size_t at = 0;
    rpc_read(&facts, NULL, text.at, text.length);
    assert_int_equal(facts.kind, RPC_BATCH); /* the texts here are sound */
    for (; *entries != NULL; entries++) {
        assert_true(rpc_next_entry(text, &at, &entry));
        assert_true(slice_is(entry, *entries));
        assert_true(entry.at >= text.at && entry.at + entry.length <= text.at + text.length);
    }
    assert_false(rpc_next_entry(text, &at, &entry));
    assert_false(rpc_next_entry(text, &at, &entry));
}

#define ODD_A "{\"jsonrpc\":\"2.0\",\"method\":\"a\",\"params\":{\"x\":\"}{\"}}"
#define ODD_B "{\"jsonrpc\":\"2.0\",\"method\":\"\\\"}\\\\\",\"params\":{\"\\\\\":[{},[\"]\"]]}}"
#define ODD_C "{ \"jsonrpc\" : \"2.0\" ,\n\"method\":\"c\", \"params\" : { \"{\" : { } } }"

static void test_entries_are_cut_apart_whatever_their_strings_hold(void **state)
{
    (void)state;
    assert_entries("[" ODD_A "]", (const char *[]){ODD_A, NULL});
    assert_entries("[" ODD_A "," ODD_B "," ODD_C "]", (const char *[]){ODD_A, ODD_B, ODD_C, NULL});
    assert_entries(" \r\n\t[ \t" ODD_C "\n , \r\n" ODD_B " ,\t" ODD_A " ]\n ",
                   (const char *[]){ODD_C, ODD_B, ODD_A, NULL});
    assert_entries(
        "[" CALL("1") "," RESULT("2") "," LOG("\\ud83d\\ude00\\\\") "," FAULT("3") "]",
        (const char *[]){CALL("1"), RESULT("2"), LOG("\\ud83d\\ude00\\\\"), FAULT("3"), NULL});
}

/* A batch that is cut off is none; but nothing may be read behind its end. */
static void test_no_cut_of_a_batch_is_read_beyond_its_end(void **state)
{
    (void)state;
    static const char batch[] = " [" ODD_A " , " ODD_B "," ODD_C "] ";
    const size_t ends[] = {strlen(" [" ODD_A), strlen(" [" ODD_A " , " ODD_B),
                           strlen(" [" ODD_A " , " ODD_B "," ODD_C)};
    for (size_t length = 0; length < sizeof batch; length++) {
        char *exact = malloc(length > 0 ? length : 1); /* a sanitizer watches what lies behind */
        assert_non_null(exact);
        memcpy(exact, batch, length);
        struct slice entry, text = slice_borrow(exact, length);
        size_t at = 0, count = 0;
        for (; rpc_next_entry(text, &at, &entry); count++) {
            assert_true(count < 3);
            assert_int_equal(at, ends[count]);
            assert_int_equal(entry.at[0], '{');
            assert_ptr_equal(entry.at + entry.length, text.at + at);
        }
        assert_true(count == 3 || length < ends[count]);
        assert_true(count == 0 || length >= ends[count - 1]);
        free(exact);
    }
}

/* ---- what comes back ------------------------------------------------------------------------- */

static void test_notifications_and_answers_alone_get_202(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    const char *session = begin(p);
    say(p, pump_last(p), SAMPLE("7"));
    uint32_t before = p->ucalls_count;
    uint32_t client = ask(p, 1, session, "[" INITIALIZED "," RESULT("7") "," LOG("x") "]");
    assert_whole(p, client);
    assert_int_equal(p->clients[client].status, 202);
    assert_int_equal(p->clients[client].texts, 0);
    assert_reached(p, before, (const char *[]){INITIALIZED, RESULT("7"), LOG("x"), NULL});
    /* an answer to what was never asked goes nowhere, and is accepted */
    before = p->ucalls_count;
    client = ask(p, 1, session, "[" RESULT("7") "]");
    assert_int_equal(p->clients[client].status, 202);
    assert_int_equal(p->ucalls_count, before);
    assert_quiet(p, 1);
    pump_free(p);
}

static void test_requests_get_one_stream_with_every_answer_in_any_order(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    const char *session = begin(p);
    uint32_t before = p->ucalls_count;
    uint32_t client =
        ask(p, 1, session, "[" CALL("1") "," INITIALIZED "," LIST("2") "," CALL("3") "]");
    assert_reached(p, before, (const char *[]){CALL("1"), INITIALIZED, LIST("2"), CALL("3"), NULL});
    struct ucall *u = pump_last(p);
    assert_int_equal(p->clients[client].status, 200);
    assert_int_equal(p->clients[client].form, MESH_FORM_SSE);
    say(p, u, RESULT("3"));
    say(p, u, RESULT("1"));
    assert_string_equal(p->clients[client].last, RESULT("1"));
    assert_true(p->clients[client].is_open);
    assert_false(p->clients[client].position.is_last);
    say(p, u, FAULT("2"));
    assert_whole(p, client);
    assert_string_equal(p->clients[client].last, FAULT("2"));
    assert_int_equal(p->clients[client].texts, 3);
    assert_true(p->clients[client].position.is_last); /* clients know by it that nothing follows */
    assert_quiet(p, 1);
    pump_free(p);
}

static void test_what_a_child_says_about_its_entries_comes_on_the_stream(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    const char *session = begin(p);
    uint32_t held = hold(p, 0, session);
    uint32_t client =
        ask(p, 1, session, "[" TOKEN_CALL("1", "\"a\"") "," TOKEN_CALL("2", "\"b\"") "]");
    struct ucall *u = pump_last(p);
    say(p, u, PROGRESS("\"b\""));
    assert_int_equal(p->clients[client].texts, 1);
    say(p, u, LOG("whose")); /* nobody knows about which of the two: the session's own */
    assert_heard(p, held, "w");
    say(p, u, RESULT("1"));
    say(p, u, LOG("second's"));
    say(p, u, RESULT("2"));
    assert_whole(p, client);
    assert_heard(p, client, "**s=");
    assert_heard(p, held, "w");
    pump_free(p);
}

static void test_an_entry_that_cannot_run_gets_an_error_of_its_own(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    const char *session = begin(p);
    uint32_t open = ask(p, 0, session, CALL("9"));
    uint32_t before = p->ucalls_count;
    /* initialize must not be part of one; two open requests of one id could not be told apart */
    uint32_t client =
        ask(p, 1, session, "[" INITIALIZE_BATCHES "," CALL("9") "," CALL("1") "," CALL("1") "]");
    assert_reached(p, before, (const char *[]){CALL("1"), NULL});
    assert_heard(p, client,
                 "?"
                 "?"
                 "?");
    say(p, pump_last(p), RESULT("1"));
    assert_whole(p, client);
    assert_heard(p, client,
                 "?"
                 "?"
                 "?=");
    assert_true(p->clients[client].position.is_last);
    say(p, pump_last(p), RESULT("9"));
    assert_ended(p, open, MESH_OK);
    assert_quiet(p, 1);
    pump_free(p);
}

static void test_a_batch_of_which_nothing_can_run_says_so_and_ends(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, NULL);
    const char *session = begin(p);
    uint32_t before = p->ucalls_count;
    uint32_t client = ask(p, 0, session, "[" INITIALIZE_BATCHES "," INITIALIZED "]");
    assert_whole(p, client);
    assert_heard(p, client, "?");
    assert_int_equal(p->clients[client].told, MESH_ALREADY_INITIALIZED);
    assert_true(p->clients[client].position.is_last);
    assert_reached(p, before, (const char *[]){INITIALIZED, NULL});
    assert_quiet(p, 1);
    pump_free(p);
}

static void test_a_session_has_room_for_so_many_requests_batches_counted(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, NULL);
    const char *session = begin(p);
    char text[8192] = "[";
    for (int n = 0; n < SESSION_CALLS_MAX - 2; n++) {
        char one[100];
        snprintf(one, sizeof one, "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"ping\"}", 100 + n);
        ask(p, 0, session, one);
    }
    uint32_t before = p->ucalls_count;
    strcat(text, CALL("1") "," CALL("2") "," CALL("3") "]");
    assert_ended(p, ask(p, 0, session, text), MESH_FULL);
    assert_int_equal(p->ucalls_count, before); /* not a part of it ran */
    say(p, pump_last(p), RESULT("100"));
    uint32_t client = ask(p, 0, session, "[" CALL("1") "," CALL("2") "]");
    assert_true(p->clients[client].is_open);
    assert_int_equal(p->ucalls_count, before + 2);
    pump_free(p);
}

static void test_other_revisions_have_no_batches(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, NULL);
    const char *versions[] = {AGREED("2024-11-05"), AGREED("2025-06-18"), AGREED("2025-11-25")};
    for (size_t n = 0; n < sizeof versions / sizeof versions[0]; n++) {
        const char *session =
            pump_session(p, pump_begin_with(p, 0, false, INITIALIZE_BATCHES, versions[n]));
        assert_ended(p, ask(p, 0, session, "[" LIST("1") "]"), MESH_NOT_SUPPORTED);
    }
    pump_free(p);
}

static void test_an_http_server_gets_it_as_it_is(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    const char *session =
        pump_session(p, pump_begin_with(p, 0, true, INITIALIZE_BATCHES, AGREED("2025-03-26")));
    uint32_t before = p->ucalls_count;
    uint32_t client = ask(p, 1, session, "[" CALL("1") ", " CALL("1") "]");
    assert_reached(p, before, (const char *[]){"[" CALL("1") ", " CALL("1") "]", NULL});
    pump_head(p, pump_last(p), 200, MESH_FORM_JSON, MESH_UP_SESSION_SAME);
    pump_event(p, pump_last(p), "[" RESULT("1") "]");
    pump_end(p, pump_last(p), MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
    assert_whole(p, client);
    assert_string_equal(p->clients[client].last, "[" RESULT("1") "]");
    assert_quiet(p, 1);
    pump_free(p);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void test_each_open_entry_of_a_child_that_dies_gets_its_error(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, ends);
    const char *session = begin(p);
    uint32_t client = ask(p, 1, session, "[" CALL("1") "," CALL("2") "," CALL("3") "]");
    struct ucall *u = pump_last(p);
    say(p, u, RESULT("2"));
    p->ups[0].is_open = false;
    mesh_up_closed(p->nodes[0].mesh, u->up, MESH_UPSTREAM_LOST, p->now_ms);
    pump_settle(p);
    assert_whole(p, client);
    assert_heard(p, client, "*??");
    assert_int_equal(p->clients[client].told, MESH_UPSTREAM_LOST);
    assert_string_equal(p->clients[client].last, "3"); /* under its id */
    assert_true(p->clients[client].position.is_last);
    assert_quiet(p, 0);
    pump_free(p);
}

static void test_an_entry_can_be_cancelled_and_the_others_go_on(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    const char *session = begin(p);
    uint32_t client = ask(p, 1, session, "[" CALL("1") "," CALL("2") "]");
    struct ucall *u = pump_last(p);
    assert_int_equal(p->clients[ask(p, 0, session, CANCEL("1"))].status, 202);
    assert_string_equal(pump_last(p)->text, CANCEL("1"));
    say(p, u, RESULT("1")); /* too late: that request is over */
    assert_heard(p, client, "?");
    assert_int_equal(p->clients[client].told, MESH_CANCELLED);
    say(p, u, RESULT("2"));
    assert_whole(p, client);
    assert_heard(p, client, "?=");
    /* a cancel of the last one ends it, and may come in a batch itself */
    client = ask(p, 1, session, "[" CALL("1") "," CALL("2") "," CANCEL("1") "]");
    say(p, u, RESULT("2"));
    assert_whole(p, client);
    assert_heard(p, client, "?=");
    assert_quiet(p, 1);
    pump_free(p);
}

static void test_its_stream_can_be_resumed_through_any_peer(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, NULL);
    const char *session = begin(p);
    uint32_t client = ask(p, 1, session, "[" CALL("1") "," CALL("2") "," CALL("3") "]");
    struct ucall *u = pump_last(p);
    say(p, u, RESULT("1"));
    leave(p, client);
    say(p, u, RESULT("2"));
    uint32_t again = come_back(p, 2, session, client);
    assert_string_equal(p->clients[again].last, RESULT("2"));
    assert_true(p->clients[again].is_open);
    say(p, u, RESULT("3"));
    assert_whole(p, again);
    assert_string_equal(p->clients[again].last, RESULT("3"));
    assert_true(p->clients[again].position.is_last);
    /* and once it is over */
    again = come_back(p, 0, session, client);
    assert_whole(p, again);
    assert_int_equal(p->clients[again].texts, 2);
    assert_quiet(p, 1);
    pump_free(p);
}

static void test_a_client_that_goes_away_cancels_none_of_its_entries(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    const char *session = begin(p);
    leave(p, ask(p, 1, session, "[" CALL("1") "," CALL("2") "]"));
    struct ucall *u = pump_last(p);
    assert_ended(p, ask(p, 1, session, CALL("2")), MESH_ID_IN_USE);
    say(p, u, RESULT("1"));
    say(p, u, RESULT("2"));
    assert_quiet(p, 1);
    pump_free(p);
}

static void test_a_session_that_is_deleted_ends_its_batches(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    const char *session = begin(p);
    uint32_t client = ask(p, 1, session, "[" CALL("1") "," CALL("2") "]");
    uint32_t end = pump_ask(p, 0, MESH_DELETE, session, "", 0);
    pump_settle(p);
    assert_ended(p, end, MESH_OK);
    assert_whole(p, client);
    assert_heard(p, client, "??");
    assert_int_equal(p->clients[client].told, MESH_SESSION_ENDED);
    assert_true(p->clients[client].position.is_last);
    assert_quiet(p, 0);
    pump_free(p);
}

static void test_an_answer_that_is_too_large_costs_its_entry_alone(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, NULL);
    const char *session = begin(p);
    uint32_t client = ask(p, 0, session, "[" CALL("1") "," CALL("2") "]");
    struct ucall *u = pump_last(p);
    mesh_up_too_large(p->nodes[0].mesh, u->up, RPC_RESPONSE, slice_text("1"), p->now_ms);
    say(p, u, RESULT("2"));
    assert_whole(p, client);
    assert_heard(p, client, "?=");
    assert_int_equal(p->clients[client].told, MESH_ANSWER_TOO_LARGE);
    pump_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries_are_cut_apart_whatever_their_strings_hold),
        cmocka_unit_test(test_no_cut_of_a_batch_is_read_beyond_its_end),
        cmocka_unit_test(test_notifications_and_answers_alone_get_202),
        cmocka_unit_test(test_requests_get_one_stream_with_every_answer_in_any_order),
        cmocka_unit_test(test_what_a_child_says_about_its_entries_comes_on_the_stream),
        cmocka_unit_test(test_an_entry_that_cannot_run_gets_an_error_of_its_own),
        cmocka_unit_test(test_a_batch_of_which_nothing_can_run_says_so_and_ends),
        cmocka_unit_test(test_a_session_has_room_for_so_many_requests_batches_counted),
        cmocka_unit_test(test_other_revisions_have_no_batches),
        cmocka_unit_test(test_an_http_server_gets_it_as_it_is),
        cmocka_unit_test(test_each_open_entry_of_a_child_that_dies_gets_its_error),
        cmocka_unit_test(test_an_entry_can_be_cancelled_and_the_others_go_on),
        cmocka_unit_test(test_its_stream_can_be_resumed_through_any_peer),
        cmocka_unit_test(test_a_client_that_goes_away_cancels_none_of_its_entries),
        cmocka_unit_test(test_a_session_that_is_deleted_ends_its_batches),
        cmocka_unit_test(test_an_answer_that_is_too_large_costs_its_entry_alone),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
