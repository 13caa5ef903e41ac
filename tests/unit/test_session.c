/* Tests of session.h: on which one stream a message of a child belongs (reference mcp.md, section
 * 4.2 rule 8), what waits for a stream, whose answers go on, and when a session ends by itself. */
#include "tests/unit/mesh_pump.h"

struct bench {
    struct pump *p;
    const char *session;
    struct ucall *child; /* any request of it names the child */
};

static struct bench bench_new(void (*change)(struct mesh_config *))
{
    struct bench b = {.p = pump_new(1, change)};
    uint32_t client = pump_begin(b.p, 0, false);
    b.session = pump_session(b.p, client);
    b.child = pump_last(b.p);
    return b;
}

static uint32_t ask(struct bench *b, const char *text)
{
    uint32_t client = pump_ask(b->p, 0, MESH_CALL, b->session, text, 0);
    pump_settle(b->p);
    return client;
}

static uint32_t hold(struct bench *b)
{
    uint32_t client = pump_ask(b->p, 0, MESH_LISTEN, b->session, "", 0);
    pump_settle(b->p);
    return client;
}

static void say(struct bench *b, const char *text)
{
    pump_say(b->p, b->child, text);
    pump_settle(b->p);
}

static uint32_t texts(const struct bench *b, uint32_t client)
{
    return b->p->clients[client].texts;
}

static void test_an_answer_goes_to_the_request_of_its_id_however_it_is_written(void **state)
{
    (void)state;
    struct bench b = bench_new(NULL);
    uint32_t one = ask(&b, CALL("1")), text = ask(&b, CALL("\"1\"")),
             a = ask(&b, CALL("\"a\\/b\""));
    uint32_t large = ask(&b, CALL("100"));
    say(&b, RESULT("\"1\""));
    assert_ended(b.p, text, MESH_OK);
    assert_true(b.p->clients[one].is_open);
    say(&b, RESULT("1.0"));
    assert_ended(b.p, one, MESH_OK);
    say(&b, FAULT("\"a/b\""));
    assert_ended(b.p, a, MESH_OK);
    assert_string_equal(b.p->clients[a].last, FAULT("\"a/b\"")); /* as the upstream wrote it */
    say(&b, RESULT("1e2"));
    assert_ended(b.p, large, MESH_OK);
    assert_int_equal(b.p->clients[large].form, MESH_FORM_JSON);
    /* nobody asked: it goes nowhere, not even later */
    say(&b, RESULT("1"));
    say(&b, RESULT("77"));
    assert_int_equal(texts(&b, hold(&b)), 0);
    struct mesh_stats stats;
    mesh_stats(b.p->nodes[0].mesh, &stats);
    assert_int_equal(stats.questions_dropped, 0); /* they were no client's */
    assert_int_equal(stats.messages_bad, 2);
    pump_free(b.p);
}

static void test_progress_goes_to_the_request_that_gave_the_token(void **state)
{
    (void)state;
    struct bench b = bench_new(NULL);
    uint32_t held = hold(&b);
    uint32_t number = ask(&b, TOKEN_CALL("1", "7")), text = ask(&b, TOKEN_CALL("2", "\"7\""));
    uint32_t escaped = ask(&b, TOKEN_CALL("3", "\"a\\u002fb\"")), none = ask(&b, CALL("4"));
    say(&b, PROGRESS("7"));
    assert_int_equal(texts(&b, number), 1);
    say(&b, PROGRESS("7.0"));
    assert_int_equal(texts(&b, number), 2);
    assert_int_equal(texts(&b, text), 0);
    say(&b, PROGRESS("\"7\""));
    assert_int_equal(texts(&b, text), 1);
    say(&b, PROGRESS("\"a/b\""));
    assert_int_equal(texts(&b, escaped), 1);
    assert_int_equal(texts(&b, none), 0);
    assert_int_equal(texts(&b, held), 0);
    assert_int_equal(b.p->clients[number].form, MESH_FORM_SSE);
    say(&b, RESULT("1"));
    assert_ended(b.p, number, MESH_OK);
    assert_int_equal(b.p->clients[number].answers, 1);
    assert_int_equal(texts(&b, number), 3);
    /* a task's token outlives its request: then it is the server stream's */
    say(&b, PROGRESS("7"));
    assert_int_equal(texts(&b, held), 1);
    assert_int_equal(texts(&b, none), 0);
    pump_free(b.p);
}

static void test_with_one_request_in_flight_what_is_said_is_about_it(void **state)
{
    (void)state;
    struct bench b = bench_new(NULL);
    uint32_t held = hold(&b), call = ask(&b, CALL("1"));
    say(&b, LOG("a"));
    say(&b, SAMPLE("0"));
    assert_int_equal(texts(&b, call), 2);
    assert_int_equal(texts(&b, held), 0);
    /* a notification of the client is no request in flight */
    ask(&b, INITIALIZED);
    say(&b, LOG("b"));
    assert_int_equal(texts(&b, call), 3);
    /* with two, nobody knows: the server stream */
    uint32_t second = ask(&b, CALL("2"));
    say(&b, LOG("c"));
    assert_int_equal(texts(&b, call), 3);
    assert_int_equal(texts(&b, second), 0);
    assert_int_equal(texts(&b, held), 1);
    say(&b, RESULT("1"));
    say(&b, LOG("d"));
    assert_int_equal(texts(&b, second), 1);
    say(&b, RESULT("2"));
    say(&b, LOG("e"));
    assert_int_equal(texts(&b, held), 2);
    pump_free(b.p);
}

static void test_what_has_no_stream_waits_for_one_in_order(void **state)
{
    (void)state;
    struct bench b = bench_new(NULL);
    say(&b, LOG("a"));
    say(&b, SAMPLE("0"));
    say(&b, LOG("c"));
    uint32_t held = hold(&b);
    assert_int_equal(b.p->clients[held].status, 200);
    assert_int_equal(texts(&b, held), 3);
    assert_string_equal(b.p->clients[held].last, LOG("c"));
    uint32_t again = hold(&b); /* once is once */
    assert_ended(b.p, held, MESH_SUPERSEDED);
    assert_int_equal(texts(&b, again), 0);
    pump_free(b.p);
}

static void test_what_comes_before_the_answer_to_initialize_waits(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, NULL);
    uint32_t client = pump_ask(p, 0, MESH_CALL, NULL, INITIALIZE, 0);
    pump_settle(p);
    struct bench b = {p, NULL, pump_last(p)};
    say(&b, LOG("early"));
    say(&b, SAMPLE("0"));
    assert_int_equal(p->clients[client].heads, 0);
    say(&b, RESULT("0"));
    assert_ended(p, client, MESH_OK);
    assert_int_equal(p->clients[client].form, MESH_FORM_JSON);
    assert_int_equal(p->clients[client].texts, 1);
    b.session = pump_session(p, client);
    assert_int_equal(texts(&b, hold(&b)), 2);
    pump_free(p);
}

static void test_waiting_messages_are_bounded_and_the_oldest_go(void **state)
{
    (void)state;
    struct bench b = bench_new(NULL);
    struct mesh_levels levels;
    char text[8192];
    for (uint32_t n = 0; n < 100; n++) {
        int length = snprintf(text, sizeof text,
                              "{\"jsonrpc\":\"2.0\",\"method\":\"n/%u\",\"params\":{\"x\":\"", n);
        memset(text + length, 'x', 6000);
        strcpy(text + length + 6000, "\"}}");
        say(&b, text);
    }
    mesh_levels(b.p->nodes[0].mesh, &levels);
    uint32_t held = hold(&b);
    assert_in_range(texts(&b, held), 30, 44); /* 256 KiB of them */
    assert_non_null(strstr(b.p->clients[held].last, "n/99"));
    pump_free(b.p);
}

static void test_small_messages_that_wait_are_bounded_too(void **state)
{
    (void)state;
    struct bench b = bench_new(NULL);
    for (uint32_t n = 0; n < 20000; n++)
        pump_say(b.p, b.child, "{\"jsonrpc\":\"2.0\",\"method\":\"n\"}");
    pump_settle(b.p);
    uint32_t held = hold(&b);
    assert_in_range(texts(&b, held), 1, 4096);
    pump_free(b.p);
}

static void test_an_id_that_is_open_is_not_taken_twice(void **state)
{
    (void)state;
    struct bench b = bench_new(NULL);
    uint32_t first = ask(&b, CALL("1")), other = ask(&b, CALL("\"1\""));
    uint32_t second = ask(&b, CALL("1.0"));
    assert_ended(b.p, second, MESH_ID_IN_USE);
    assert_int_equal(pump_executions(b.p, CALL("1.0")), 0);
    say(&b, RESULT("1"));
    assert_ended(b.p, first, MESH_OK);
    assert_true(b.p->clients[other].is_open);
    uint32_t third = ask(&b, CALL("1")); /* free again */
    assert_true(b.p->clients[third].is_open);
    pump_free(b.p);
}

static void test_one_id_in_many_sessions_is_no_matter(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, NULL);
    struct bench b[50];
    uint32_t calls[50];
    for (int n = 0; n < 50; n++) {
        uint32_t client = pump_begin(p, 0, false);
        b[n] = (struct bench){p, pump_session(p, client), pump_last(p)};
    }
    for (int n = 0; n < 50; n++)
        calls[n] = ask(&b[n], CALL("1"));
    for (int n = 49; n >= 0; n--) {
        char text[100];
        snprintf(text, sizeof text, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"n\":%d}}", n);
        say(&b[n], text);
        assert_ended(p, calls[n], MESH_OK);
        assert_string_equal(p->clients[calls[n]].last, text);
    }
    pump_free(p);
}

static void test_a_clients_answer_goes_on_while_its_question_is_open(void **state)
{
    (void)state;
    struct bench b = bench_new(NULL);
    struct mesh_stats stats;
    uint32_t held = hold(&b);
    say(&b, SAMPLE("0"));
    assert_int_equal(texts(&b, held), 1);
    uint32_t wrong = ask(&b, RESULT("5"));
    assert_ended(b.p, wrong, MESH_OK);
    assert_int_equal(b.p->clients[wrong].status, 202);
    assert_int_equal(pump_executions(b.p, RESULT("5")), 0);
    ask(&b, RESULT("0.0"));
    assert_int_equal(pump_executions(b.p, RESULT("0.0")), 1);
    uint32_t late = ask(&b, RESULT("0"));
    assert_int_equal(b.p->clients[late].status, 202);
    assert_int_equal(pump_executions(b.p, RESULT("0")), 0);
    mesh_stats(b.p->nodes[0].mesh, &stats);
    assert_int_equal(stats.questions_dropped, 2);
    pump_free(b.p);
}

static void test_a_session_may_ask_for_ever_and_the_latest_questions_count(void **state)
{
    (void)state;
    struct bench b = bench_new(NULL);
    char text[200];
    hold(&b);
    for (int n = 0; n < 300; n++) { /* a client that answers none of them */
        snprintf(text, sizeof text, "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"ping\"}", n);
        say(&b, text);
    }
    ask(&b, RESULT("299"));
    assert_int_equal(pump_executions(b.p, RESULT("299")), 1);
    ask(&b, RESULT("3")); /* too old to be remembered */
    assert_int_equal(pump_executions(b.p, RESULT("3")), 0);
    pump_free(b.p);
}

static void idle_soon(struct mesh_config *config)
{
    config->session_idle_ms = 20000;
    config->session_max_ms = 100000;
}

static void test_a_session_ends_when_it_is_idle(void **state)
{
    (void)state;
    struct bench b = bench_new(idle_soon);
    pump_run(b.p, 15000);
    ask(&b, INITIALIZED); /* activity renews */
    pump_run(b.p, 19999);
    uint32_t call = ask(&b, CALL("1"));
    say(&b, RESULT("1"));
    assert_ended(b.p, call, MESH_OK);
    pump_run(b.p, 20001);
    assert_ended(b.p, ask(&b, CALL("2")), MESH_SESSION_UNKNOWN);
    pump_run(b.p, 10);
    assert_quiet(b.p, 0);
    assert_int_equal(b.p->changes[0].counts[MESH_SESSION_OPENED], 1);
    assert_int_equal(b.p->changes[0].counts[MESH_SESSION_CLOSED], 1);
    pump_free(b.p);
}

static void test_a_session_in_use_is_not_idle_but_ends_at_its_age(void **state)
{
    (void)state;
    struct bench b = bench_new(idle_soon);
    uint32_t call = ask(&b, CALL("1"));
    pump_run(b.p, 50000); /* a long call is no idleness */
    assert_true(b.p->clients[call].is_open);
    uint32_t held = hold(&b);
    say(&b, RESULT("1"));
    assert_ended(b.p, call, MESH_OK);
    pump_run(b.p, 40000); /* nor is a stream that a client holds */
    assert_true(b.p->clients[held].is_open);
    pump_run(b.p, 15000);
    assert_ended(b.p, held, MESH_SESSION_ENDED);
    assert_ended(b.p, ask(&b, CALL("2")), MESH_SESSION_UNKNOWN);
    pump_run(b.p, 10);
    assert_quiet(b.p, 0);
    pump_free(b.p);
}

static void test_a_call_that_nobody_waits_for_does_not_keep_its_session(void **state)
{
    (void)state;
    struct bench b = bench_new(idle_soon);
    uint32_t call = ask(&b, CALL("1"));
    pump_close(b.p, call); /* in this era that cancels nothing */
    pump_run(b.p, 10000);
    struct mesh_levels levels;
    mesh_levels(b.p->nodes[0].mesh, &levels);
    assert_int_equal(levels.calls, 1);
    pump_run(b.p, 30000);
    assert_quiet(b.p, 0);
    pump_free(b.p);
}

static void few_sessions(struct mesh_config *config)
{
    config->sessions_max = 3;
}

static void test_more_sessions_than_may_be_are_refused(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, few_sessions);
    uint32_t clients[3];
    for (int n = 0; n < 3; n++)
        clients[n] = pump_begin(p, 0, false);
    uint32_t full = pump_ask(p, 0, MESH_CALL, NULL, INITIALIZE, 0);
    pump_settle(p);
    assert_ended(p, full, MESH_FULL);
    uint32_t end = pump_ask(p, 0, MESH_DELETE, pump_session(p, clients[1]), "", 0);
    pump_settle(p);
    assert_ended(p, end, MESH_OK);
    pump_begin(p, 0, false);
    pump_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_answer_goes_to_the_request_of_its_id_however_it_is_written),
        cmocka_unit_test(test_progress_goes_to_the_request_that_gave_the_token),
        cmocka_unit_test(test_with_one_request_in_flight_what_is_said_is_about_it),
        cmocka_unit_test(test_what_has_no_stream_waits_for_one_in_order),
        cmocka_unit_test(test_what_comes_before_the_answer_to_initialize_waits),
        cmocka_unit_test(test_waiting_messages_are_bounded_and_the_oldest_go),
        cmocka_unit_test(test_small_messages_that_wait_are_bounded_too),
        cmocka_unit_test(test_an_id_that_is_open_is_not_taken_twice),
        cmocka_unit_test(test_one_id_in_many_sessions_is_no_matter),
        cmocka_unit_test(test_a_clients_answer_goes_on_while_its_question_is_open),
        cmocka_unit_test(test_a_session_may_ask_for_ever_and_the_latest_questions_count),
        cmocka_unit_test(test_a_session_ends_when_it_is_idle),
        cmocka_unit_test(test_a_session_in_use_is_not_idle_but_ends_at_its_age),
        cmocka_unit_test(test_a_call_that_nobody_waits_for_does_not_keep_its_session),
        cmocka_unit_test(test_more_sessions_than_may_be_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
