/* story_forward.c - stories of requests that land on the wrong peer, told in virtual time: every
 * delay is 1 ms, nothing goes wrong but what a story says. Campaigns over seeds are mesh-sim's. */
#include "tests/stories/story.h"

static void test_any_peer_serves_any_session(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        struct world *world = world_of(5, kinds[k]);
        for (uint32_t owner = 0; owner < 5; owner++) {
            uint32_t session = session_at(world, owner);
            for (uint32_t seat = 0; seat < 5; seat++) {
                const struct request *request = ask_now(world, session, ASK_CALL, seat, 100);
                assert_answered(request);
                assert_int_equal(request->executions, 1);
            }
        }
        assert_int_equal(world->clients->forwarded, 5 * 4);
        world_free(world);
    }
}

static void test_the_first_requests_of_a_session_may_overtake_each_other(void **state)
{
    (void)state;
    struct world *world = world_of(4, MESH_UP_HTTP);
    uint32_t session = client_session(world);
    assert_answered(ask_now(world, session, ASK_INITIALIZE, 0, 500));
    uint32_t listen = client_ask(world, session, ASK_LISTEN, 1, 0);
    uint32_t call = client_ask(world, session, ASK_CALL, 2, 0);
    uint32_t told = client_ask(world, session, ASK_INITIALIZED, 3, 0);
    run_for(world, 600);
    assert_true(request_of(world, listen)->has_head);
    assert_int_equal(request_of(world, listen)->status, 200);
    assert_int_equal(request_of(world, listen)->state, REQUEST_OPEN);
    assert_answered(request_of(world, call));
    assert_int_equal(request_of(world, told)->status, 202);
    world_free(world);
}

static void test_a_dead_owner_gives_definite_answers_and_its_session_goes_on(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        struct world *world = world_of(3, kinds[k]);
        uint32_t session = session_at(world, 0);
        world->upstreams->script_us = 60 * WORLD_SECOND;
        uint32_t listen = client_ask(world, session, ASK_LISTEN, 1, 0);
        uint32_t call = client_ask(world, session, ASK_CALL, 2, 0);
        run_for(world, 1000);
        assert_int_equal(request_of(world, call)->executions, 1);
        assert_int_equal(request_of(world, call)->state, REQUEST_OPEN);
        world->upstreams->script_us = 5 * WORLD_MS;
        world_crash(world, 0, DEATH_KILLED);
        run_for(world, 2000);
        /* with an event stream begun, it is told on that */
        enum mesh_reason why = request_of(world, call)->why;
        why = why == MESH_OK ? request_of(world, call)->told_failure : why;
        assert_string_equal(reason_name(why), reason_name(MESH_OUTCOME_UNKNOWN));
        assert_int_equal(request_of(world, call)->executions, 1);
        assert_int_equal(request_of(world, listen)->state, REQUEST_OPEN);
        assert_answered(ask_now(world, session, ASK_CALL, 1, 500));
        assert_answered(ask_now(world, session, ASK_CALL, 2, 500));
        world_free(world);
    }
}

static void test_a_request_is_carried_around_a_cut_and_runs_once(void **state)
{
    (void)state;
    struct world *world = world_of(3, MESH_UP_HTTP);
    uint32_t session = session_at(world, 0);
    world->upstreams->script_us = 500 * WORLD_MS;
    uint32_t call = client_ask(world, session, ASK_CALL, 1, 0);
    run_for(world, 100);
    assert_int_equal(request_of(world, call)->executions, 1);
    world_cut(world, 0, 1);
    world_cut(world, 1, 0);
    run_for(world, 4000);
    assert_answered(request_of(world, call));
    assert_int_equal(request_of(world, call)->executions, 1);
    world_heal(world, 0, 1);
    world_heal(world, 1, 0);
    assert_answered(ask_now(world, session, ASK_CALL, 1, 5000));
    world_free(world);
}

static void test_a_reset_link_is_dialled_again_and_the_request_attaches(void **state)
{
    (void)state;
    struct world *world = world_of(2, MESH_UP_STDIO);
    uint32_t session = session_at(world, 0);
    world->upstreams->script_us = 500 * WORLD_MS;
    uint32_t call = client_ask(world, session, ASK_CALL, 1, 0);
    run_for(world, 100);
    assert_int_equal(request_of(world, call)->executions, 1);
    assert_true(net_break_any(world, BREAK_RESET));
    run_for(world, 3000);
    assert_answered(request_of(world, call));
    assert_int_equal(request_of(world, call)->executions, 1);
    world_free(world);
}

static uint64_t wire_count(const struct world *world)
{
    const struct net *net = world->net;
    return net->datagrams + net->segments + net->dials;
}

static void test_a_forged_id_is_refused_at_once_and_asks_nobody(void **state)
{
    (void)state;
    struct world *world = world_of(3, MESH_UP_HTTP);
    uint32_t session = session_at(world, 0);
    for (uint32_t n = 0; n < 40; n++) {
        run_for(world, 1);
        uint64_t before = wire_count(world);
        const struct request *request = ask_now(world, session, ASK_FORGED, n % 3, 0);
        assert_refused(request, MESH_SESSION_UNKNOWN);
        assert_int_equal(request->ended_us, request->opened_us);
        assert_true(wire_count(world) == before);
    }
    world_free(world);
}

static void test_a_foreign_principal_is_told_that_there_is_no_such_session(void **state)
{
    (void)state;
    struct world *world = world_of(3, MESH_UP_HTTP);
    session_at(world, 0); /* the first one is bound to nobody */
    uint32_t session = session_at(world, 0);
    for (uint32_t seat = 0; seat < 3; seat++)
        assert_refused(ask_now(world, session, ASK_FOREIGN, seat, 500), MESH_SESSION_UNKNOWN);
    assert_answered(ask_now(world, session, ASK_CALL, 1, 500));
    world_free(world);
}

static void test_a_second_get_supersedes_the_first(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        struct world *world = world_of(3, kinds[k]);
        uint32_t session = session_at(world, 0);
        const struct request *first = ask_now(world, session, ASK_LISTEN, 1, 200);
        assert_true(first->has_head);
        const struct request *second = ask_now(world, session, ASK_LISTEN, 2, 500);
        assert_int_equal(first->state, REQUEST_ENDED);
        assert_string_equal(reason_name(first->why), "superseded");
        assert_true(second->has_head);
        assert_int_equal(second->status, 200);
        upstream_notify(world, upstream_of(world, session));
        world_turn(world, &world->seats[0]);
        run_for(world, 100);
        assert_int_equal(second->state, REQUEST_OPEN);
        assert_int_equal(second->last_note, 1);
        assert_int_equal(first->last_note, 0);
        world_free(world);
    }
}

static void test_an_answer_to_a_question_reaches_the_owner_through_any_peer(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        struct world *world = world_of(3, kinds[k]);
        uint32_t session = session_at(world, 0);
        world->upstreams->script_asks = true;
        world->clients->is_silent = true;
        const struct request *call = ask_now(world, session, ASK_CALL, 1, 200);
        assert_string_not_equal(world->clients->sessions[session]->question.id, "");
        assert_int_equal(call->state, REQUEST_OPEN);
        uint32_t answer = client_answer(world, session, 2, 0);
        run_for(world, 200);
        assert_int_equal(request_of(world, answer)->status, 202);
        assert_int_equal(world->upstreams->answered, 1);
        assert_answered(call);
        world_free(world);
    }
}

static void test_a_deleted_session_is_unknown_everywhere(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        struct world *world = world_of(4, kinds[k]);
        uint32_t session = session_at(world, 0);
        const struct request *listen = ask_now(world, session, ASK_LISTEN, 2, 200);
        const struct request *gone = ask_now(world, session, ASK_DELETE, 1, 500);
        assert_int_equal(gone->state, REQUEST_ENDED);
        assert_int_equal(gone->why, MESH_OK);
        assert_int_equal(gone->status / 100, 2);
        assert_int_equal(listen->state, REQUEST_ENDED);
        for (uint32_t seat = 0; seat < 4; seat++)
            assert_refused(ask_now(world, session, ASK_CALL, seat, 2000), MESH_SESSION_UNKNOWN);
        struct mesh_levels levels;
        mesh_levels(world->seats[0].mesh, &levels);
        assert_int_equal(levels.sessions, 0);
        assert_int_equal(levels.upstreams, 0);
        world_free(world);
    }
}

/* Not an in-band error, after which its client would ask again: the candidates were told, and the
 * others ask them once they know of the death. */
static void test_a_deleted_session_stays_unknown_when_its_owner_is_killed(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        struct world *world = world_of(3, kinds[k]);
        uint32_t session = session_at(world, 0);
        assert_int_equal(ask_now(world, session, ASK_DELETE, 1, 500)->status / 100, 2);
        world_crash(world, 0, DEATH_KILLED);
        for (uint32_t seat = 1; seat < 3; seat++) {
            assert_refused(ask_now(world, session, ASK_CALL, seat, 1), MESH_SESSION_UNKNOWN);
            assert_refused(ask_now(world, session, ASK_LISTEN, seat, 1), MESH_SESSION_UNKNOWN);
        }
        world_free(world);

        world = world_of(6, kinds[k]);
        session = session_at(world, 0);
        assert_int_equal(ask_now(world, session, ASK_DELETE, 1, 500)->status / 100, 2);
        world_crash(world, 0, DEATH_KILLED);
        run_for(world, 10000);
        for (uint32_t seat = 1; seat < 6; seat++)
            assert_refused(ask_now(world, session, ASK_CALL, seat, 100), MESH_SESSION_UNKNOWN);
        world_free(world);
    }
}

static void test_an_open_id_is_not_taken_twice(void **state)
{
    (void)state;
    struct world *world = world_of(3, MESH_UP_HTTP);
    uint32_t session = session_at(world, 0);
    world->upstreams->script_us = 1000 * WORLD_MS;
    uint32_t first = client_ask(world, session, ASK_CALL, 1, 0);
    run_for(world, 100);
    uint32_t second = client_repeat(world, first, 2, 0);
    run_for(world, 100);
    assert_refused(request_of(world, second), MESH_ID_IN_USE);
    assert_int_equal(request_of(world, second)->executions, 0);
    run_for(world, 1500);
    assert_answered(request_of(world, first));
    uint32_t third = client_repeat(world, first, 2, 0); /* free again */
    run_for(world, 1500);
    assert_answered(request_of(world, third));
    world_free(world);
}

static void test_a_newcomer_of_a_taken_name_waits_and_then_leaves(void **state)
{
    (void)state;
    struct world *world = world_of(3, MESH_UP_HTTP);
    uint32_t session = session_at(world, 1);
    uint32_t twin = world_add_twin(world, 1);
    world_start(world, twin);
    run_for(world, 5000);
    assert_true(world_runs(world, twin));
    assert_true(world->seats[twin].waits_for_name);
    assert_true(world_agrees(world, 3)); /* it is not announced */
    run_for(world, 50000);
    assert_true(world_runs(world, twin));
    run_for(world, 15000);
    assert_false(world_runs(world, twin));
    assert_int_equal(world->seats[twin].exit_reason, MESH_NAME_TAKEN);
    assert_true(world_runs(world, 1));
    assert_answered(ask_now(world, session, ASK_CALL, 0, 200));
    world_free(world);
}

static void test_a_newcomer_takes_the_name_when_its_holder_dies(void **state)
{
    (void)state;
    struct world *world = world_of(3, MESH_UP_HTTP);
    uint32_t twin = world_add_twin(world, 1);
    world_start(world, twin);
    run_for(world, 5000);
    assert_true(world->seats[twin].waits_for_name);
    world_crash(world, 1, DEATH_KILLED);
    run_for(world, 20000);
    assert_true(world_runs(world, twin));
    assert_true(world_agrees(world, 3));
    assert_answered(ask_now(world, session_at(world, twin), ASK_CALL, 0, 200));
    world_free(world);
}

static void test_a_dead_upstream_is_told_in_band(void **state)
{
    (void)state;
    struct world *world = world_of(3, MESH_UP_HTTP);
    uint32_t session = session_at(world, 0);
    world->upstreams->refuses[0] = true;
    for (uint32_t seat = 0; seat < 3; seat++) {
        const struct request *request = ask_now(world, session, ASK_CALL, seat, 11000);
        assert_refused(request, MESH_UPSTREAM_DOWN);
        assert_int_equal(request->executions, 0);
    }
    world_free(world);

    world = world_of(2, MESH_UP_STDIO);
    world->upstreams->refuses[0] = true;
    session = client_session(world);
    assert_refused(ask_now(world, session, ASK_INITIALIZE, 0, 3000), MESH_UPSTREAM_DOWN);
    world_free(world);
}

static void test_a_peer_that_comes_back_under_its_name_is_taken_in_at_once(void **state)
{
    (void)state;
    struct world *world = world_of(4, MESH_UP_HTTP);
    world_crash(world, 2, DEATH_KILLED);
    run_for(world, 500);
    world_restart(world, 2, true);
    run_for(world, 5000);
    assert_true(world_agrees(world, 4));
    uint32_t session = session_at(world, 2);
    assert_answered(ask_now(world, session, ASK_CALL, 0, 200));
    world_free(world);
}

static void test_a_peer_that_leaves_gives_away_its_sessions(void **state)
{
    (void)state;
    struct world *world = world_of(3, MESH_UP_HTTP);
    uint32_t session = session_at(world, 0);
    const struct request *listen = ask_now(world, session, ASK_LISTEN, 1, 200);
    world_leave(world, 0, 0, 5000);
    run_for(world, 6000);
    assert_false(world_runs(world, 0));
    assert_int_equal(world->seats[0].exit_reason, MESH_LEFT_MESH);
    assert_int_equal(listen->state, REQUEST_OPEN);
    assert_true(world_agrees(world, 2));
    for (uint32_t seat = 1; seat < 3; seat++)
        assert_answered(ask_now(world, session, ASK_CALL, seat, 500));
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_peer_serves_any_session),
        cmocka_unit_test(test_the_first_requests_of_a_session_may_overtake_each_other),
        cmocka_unit_test(test_a_dead_owner_gives_definite_answers_and_its_session_goes_on),
        cmocka_unit_test(test_a_request_is_carried_around_a_cut_and_runs_once),
        cmocka_unit_test(test_a_reset_link_is_dialled_again_and_the_request_attaches),
        cmocka_unit_test(test_a_forged_id_is_refused_at_once_and_asks_nobody),
        cmocka_unit_test(test_a_foreign_principal_is_told_that_there_is_no_such_session),
        cmocka_unit_test(test_a_second_get_supersedes_the_first),
        cmocka_unit_test(test_an_answer_to_a_question_reaches_the_owner_through_any_peer),
        cmocka_unit_test(test_a_deleted_session_is_unknown_everywhere),
        cmocka_unit_test(test_a_deleted_session_stays_unknown_when_its_owner_is_killed),
        cmocka_unit_test(test_an_open_id_is_not_taken_twice),
        cmocka_unit_test(test_a_newcomer_of_a_taken_name_waits_and_then_leaves),
        cmocka_unit_test(test_a_newcomer_takes_the_name_when_its_holder_dies),
        cmocka_unit_test(test_a_dead_upstream_is_told_in_band),
        cmocka_unit_test(test_a_peer_that_comes_back_under_its_name_is_taken_in_at_once),
        cmocka_unit_test(test_a_peer_that_leaves_gives_away_its_sessions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
