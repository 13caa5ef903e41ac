/* Tests of batch.c where an HTTP upstream has the batch whole: its client hears of every id of it,
 * an answer or why there is none (row J3). */
#include "tests/unit/streams_pump.h"

#define BATCH "[" CALL("1") "," CALL("\"b\"") "," INITIALIZED "," CALL("3") "]"
#define ALL "[" RESULT("1") "," FAULT("\"b\"") "," RESULT("3") "]"

static const char *begin(struct pump *p, bool is_http)
{
    static const char initialize[] = "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\","
                                     "\"params\":{\"protocolVersion\":\"2025-03-26\"}}";
    return pump_session(p, pump_begin_with(p, 0, is_http, initialize, AGREED("2025-03-26")));
}

/* HTTP: what comes before the stream is over, and what the client hears: `*` what is passed on, `?`
 * an error in its place. */
static const struct {
    const char *events[3];
    const char *heard;
} streams[] = {
    {{NULL}, "???"},
    {{LOG("a")}, "a???"},
    {{RESULT("1")}, "*??"},
    {{RESULT("1"), RESULT("1")}, "**??"},
    {{RESULT("\"b\""), RESULT("1.0")}, "**?"},
    {{RESULT("\"1\""), RESULT("b")}, "*???"}, /* the second is no message */
    {{RESULT("47"), RESULT("48"), RESULT("49")}, "***???"},
    {{RESULT("3"), FAULT("\"b\""), RESULT("1")}, "***"},
    {{ALL}, "*"},
};

static void test_a_stream_that_ends_early_leaves_no_id_of_a_batch_without_a_word(void **state)
{
    (void)state;
    for (size_t n = 0; n < 2 * (sizeof streams / sizeof streams[0]); n++) {
        struct pump *p = pump_new(2, http);
        const char *session = begin(p, true);
        uint32_t client = ask(p, n % 2, session, BATCH);
        struct ucall *u = stream_begins(p);
        bool is_cut = n >= sizeof streams / sizeof streams[0];
        size_t row = n % (sizeof streams / sizeof streams[0]);
        for (size_t at = 0; at < 3 && streams[row].events[at] != NULL; at++)
            event(p, u, streams[row].events[at]);
        pump_end(p, u, is_cut ? MESH_END_CUT : MESH_END_WHOLE,
                 is_cut ? MESH_UPSTREAM_LOST : MESH_OK);
        pump_settle(p);
        assert_heard(p, client, streams[row].heard);
        assert_whole(p, client);
        if (strchr(streams[row].heard, '?') != NULL)
            assert_int_equal(p->clients[client].told, MESH_UPSTREAM_LOST);
        assert_quiet(p, 1);
        pump_free(p);
    }
}

static void test_a_batch_of_notifications_alone_awaits_nothing(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    const char *session = begin(p, true);
    uint32_t client = ask(p, 0, session, "[" INITIALIZED "," RESULT("1") "]");
    struct ucall *u = stream_begins(p);
    pump_end(p, u, MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
    assert_heard(p, client, "");
    assert_whole(p, client);
    assert_quiet(p, 1);
    pump_free(p);
}

static void test_a_session_that_ends_fails_what_its_batch_awaits(void **state)
{
    (void)state;
    for (int is_http = 0; is_http < 2; is_http++) {
        struct pump *p = pump_new(2, is_http ? http_ends : ends);
        const char *session = begin(p, is_http);
        uint32_t client = ask(p, 1, session, BATCH);
        struct ucall *u = pump_last(p);
        if (is_http) {
            u = stream_begins(p);
            event(p, u, RESULT("3"));
        } else {
            say(p, u, RESULT("3"));
        }
        mesh_up_closed(p->nodes[0].mesh, u->up, MESH_UPSTREAM_LOST, p->now_ms);
        pump_settle(p);
        assert_heard(p, client, "*\?\?");
        assert_whole(p, client);
        assert_int_equal(p->clients[client].told, MESH_UPSTREAM_LOST);
        assert_quiet(p, 0);
        pump_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stream_that_ends_early_leaves_no_id_of_a_batch_without_a_word),
        cmocka_unit_test(test_a_batch_of_notifications_alone_awaits_nothing),
        cmocka_unit_test(test_a_session_that_ends_fails_what_its_batch_awaits),
    };

    return cmocka_run_group_tests_name("batch_http", tests, NULL, NULL);
}
