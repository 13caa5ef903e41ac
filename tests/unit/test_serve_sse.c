/* Tests of serve.h and upcall.h where the upstream speaks HTTP+SSE of 2024-11-05: its messages are
 * placed as a child's are, what it refuses ends by itself, and other paths pass to it. */
#include "mesh/session/replay.h"
#include "mesh/session/serve.h"
#include "tests/unit/mesh_pump.h"

static void sse(struct mesh_config *config)
{
    config->upstream = MESH_UP_SSE;
}

static uint32_t ask(struct pump *p, uint32_t node, enum mesh_want want, const char *session,
                    const char *text)
{
    uint32_t client = pump_ask(p, node, want, session, text, 0);
    pump_settle(p);
    return client;
}

static void test_its_messages_are_placed_as_a_childs_are(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, sse);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    uint32_t held = ask(p, 1, MESH_LISTEN, session, "");
    uint32_t call = ask(p, 1, MESH_CALL, session, CALL("1"));
    struct ucall *u = pump_last(p);
    assert_int_equal(u->kind, MESH_UP_SEND); /* its one stream needs no asking for */
    pump_say(p, u, LOG("one"));
    pump_say(p, u, RESULT("1"));
    pump_say(p, u, LOG("two"));
    pump_settle(p);
    assert_ended(p, call, MESH_OK);
    assert_int_equal(p->clients[call].texts, 2);
    assert_int_equal(p->clients[held].texts, 1);
    assert_ended(p, ask(p, 0, MESH_DELETE, session, ""), MESH_OK);
    assert_quiet(p, 0);
    pump_free(p);
}

static void test_what_it_refuses_ends_with_its_status_and_the_session_goes_on(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, sse);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    uint32_t call = ask(p, 1, MESH_CALL, session, CALL("1"));
    pump_head(p, pump_last(p), 401, MESH_FORM_NONE, MESH_UP_SESSION_SAME);
    pump_end(p, pump_last(p), MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
    assert_ended(p, call, MESH_OK);
    assert_int_equal(p->clients[call].status, 401);
    call = ask(p, 1, MESH_CALL, session, CALL("1"));
    pump_say(p, pump_last(p), RESULT("1"));
    pump_settle(p);
    assert_ended(p, call, MESH_OK);
    pump_free(p);
}

static void test_an_initialize_that_it_refuses_leaves_no_session(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, sse);
    uint32_t made = ask(p, 0, MESH_CALL, NULL, INITIALIZE);
    pump_head(p, pump_last(p), 401, MESH_FORM_NONE, MESH_UP_SESSION_SAME);
    pump_end(p, pump_last(p), MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
    assert_ended(p, made, MESH_OK);
    assert_int_equal(p->clients[made].status, 401);
    assert_false(p->clients[made].has_session);
    assert_quiet(p, 0);
    pump_free(p);
}

static void test_what_was_lost_on_its_way_ends_or_runs_again_by_its_class(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, sse);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    uint32_t call = ask(p, 1, MESH_CALL, session, CALL("1"));
    pump_end(p, pump_last(p), MESH_END_CUT, MESH_UPSTREAM_LOST);
    pump_settle(p);
    assert_ended(p, call, MESH_UPSTREAM_LOST); /* it may have effects */
    assert_int_equal(pump_executions(p, CALL("1")), 1);
    pump_say(p, pump_last(p), RESULT("1")); /* and had arrived: that is nobody's now */
    uint32_t list = ask(p, 1, MESH_CALL, session, LIST("2"));
    pump_end(p, pump_last(p), MESH_END_CUT, MESH_UPSTREAM_LOST);
    pump_run(p, REPLAY_AGAIN_FIRST_MS);
    assert_int_equal(pump_executions(p, LIST("2")), 2);
    pump_say(p, pump_last(p), RESULT("2"));
    pump_settle(p);
    assert_ended(p, list, MESH_OK);
    pump_free(p);
}

static void test_of_what_a_word_was_passed_on_only_what_is_safe_runs_again(void **state)
{
    (void)state;
    const char *texts[] = {CALL("1"), LIST("1")};
    for (uint32_t may_run_again = 0; may_run_again < 2; may_run_again++) {
        struct pump *p = pump_new(1, sse);
        const char *session = pump_session(p, pump_begin(p, 0, false)),
                   *text = texts[may_run_again];
        uint32_t client = ask(p, 0, MESH_CALL, session, text);
        for (uint32_t runs = 0; runs < 1 + may_run_again; runs++) {
            assert_true(p->clients[client].is_open);
            pump_say(p, pump_last(p), LOG("one"));
            pump_end(p, pump_last(p), MESH_END_CUT, MESH_UPSTREAM_LOST);
            pump_run(p, REPLAY_AGAIN_FIRST_MS);
        }
        assert_ended(p, client, MESH_OK); /* its last event is the failure, under its id */
        assert_int_equal(p->clients[client].texts, 2 + may_run_again);
        assert_int_equal(p->clients[client].answers, 1);
        assert_string_equal(p->clients[client].last, "1");
        assert_int_equal(pump_executions(p, text), 1 + may_run_again);
        pump_free(p);
    }
}

/* Bytes of any length, held back by who reads them; and no session is made of it. */
static void test_another_path_passes_to_it(void **state)
{
    (void)state;
    static char part[64 << 10];
    struct pump *p = pump_new(1, sse);
    p->ups_wait = true; /* it is written to at once: there is no session to open */
    uint32_t pass = pump_ask(p, 0, MESH_PASS, NULL, "", 0);
    p->clients[pass].is_slow = true;
    pump_settle(p);
    struct ucall *u = pump_last(p);
    assert_int_equal(u->want, MESH_PASS);
    size_t room = u->room;
    pump_head(p, u, 200, MESH_FORM_RAW, MESH_UP_SESSION_SAME);
    u->brought += sizeof part;
    mesh_up_data(p->nodes[0].mesh, u->up, u->call, slice_borrow(part, sizeof part), p->now_ms);
    pump_settle(p);
    assert_int_equal(u->room, room);
    pump_take(p, pass, sizeof part);
    pump_settle(p);
    assert_int_equal(u->room, room + sizeof part);
    pump_end(p, u, MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
    assert_ended(p, pass, MESH_OK);
    assert_int_equal(p->clients[pass].bytes, sizeof part);
    assert_quiet(p, 0);
    assert_ended(p, ask(p, 0, MESH_CALL, NULL, CALL("1")), MESH_NO_SESSION_ID);
    pump_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_its_messages_are_placed_as_a_childs_are),
        cmocka_unit_test(test_what_it_refuses_ends_with_its_status_and_the_session_goes_on),
        cmocka_unit_test(test_an_initialize_that_it_refuses_leaves_no_session),
        cmocka_unit_test(test_what_was_lost_on_its_way_ends_or_runs_again_by_its_class),
        cmocka_unit_test(test_of_what_a_word_was_passed_on_only_what_is_safe_runs_again),
        cmocka_unit_test(test_another_path_passes_to_it),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
