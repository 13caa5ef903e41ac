/* story_modern.c - stories of the session-less era (MCP 2026-07-28), told in virtual time: what
 * comes back to the server that gave it, and what closing, dying and a lost link mean. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/check.h"
#include "sim/client.h"
#include "sim/modern.h"
#include "sim/upstream.h"
#include "sim/world.h"

#define SETTLED_MS 6000

static uint64_t now_ms(const struct world *world)
{
    return world->now_us / WORLD_MS;
}

static void run_for(struct world *world, uint64_t ms)
{
    world_run(world, now_ms(world) + ms);
    if (world->failed)
        fail_msg("%s", world->failure);
}

static struct world *world_of(uint32_t nodes)
{
    struct world *world = NULL;
    struct world_config config = {
        .seed = 42, .nodes = nodes, .steady = true, .upstream = MESH_UP_HTTP};
    assert_int_equal(world_new(&world, &config), 0);
    run_for(world, SETTLED_MS);
    assert_true(world_agrees(world, nodes));
    return world;
}

static const struct request *ask_of(struct world *world, uint32_t session, enum ask ask,
                                    uint32_t seat, uint32_t of, uint64_t wait_ms)
{
    uint32_t number = client_ask_of(world, session, ask, seat, 0, of);
    run_for(world, wait_ms);
    return world->clients->requests[number];
}

static void assert_answered(const struct request *request)
{
    assert_int_equal(request->state, REQUEST_ENDED);
    assert_string_equal(reason_name(request->why), "ok");
    assert_int_equal(request->status, 200);
    assert_true(request->has_answer);
    assert_false(request->is_error);
}

/* The work that an upstream still does for this request. */
static bool is_worked_for(const struct world *world, uint32_t request)
{
    const struct upstreams *ups = world->upstreams;
    for (uint32_t n = 0; n < ups->calls_count; n++)
        if (ups->calls[n].request == request && ups->calls[n].state != UCALL_OVER)
            return true;
    return false;
}

static void test_a_state_comes_back_to_its_server_through_any_peer(void **state)
{
    (void)state;
    struct world *world = world_of(5);
    uint32_t session = client_session(world);
    for (uint32_t giver = 0; giver < 5; giver++) {
        const struct request *begun = ask_of(world, session, ASK_M_BEGIN, giver, WORLD_NOBODY, 100);
        assert_answered(begun);
        for (uint32_t seat = 0; seat < 5; seat++)
            assert_answered(ask_of(world, session, ASK_M_GO_ON, seat, begun->n, 100));
    }
    assert_int_equal(world->modern->states, 25);
    world_free(world);
}

static void test_a_task_is_found_the_moment_its_client_knows_it(void **state)
{
    (void)state;
    struct world *world = world_of(6);
    uint32_t session = client_session(world);
    for (uint32_t n = 0; n < 30; n++) {
        uint32_t made = client_ask_of(world, session, ASK_M_MAKE, n % 6, 0, WORLD_NOBODY);
        const struct request *request = world->clients->requests[made];
        for (uint32_t ms = 0; request->state != REQUEST_ENDED && ms < 1500; ms++)
            run_for(world, 1);
        assert_answered(request);
        uint32_t asked[6];
        for (uint32_t seat = 0; seat < 6; seat++)
            asked[seat] = client_ask_of(world, session, ASK_M_TASK, seat, 0, made);
        run_for(world, 200);
        for (uint32_t seat = 0; seat < 6; seat++)
            assert_answered(world->clients->requests[asked[seat]]);
    }
    assert_int_equal(world->modern->tasks, 180);
    world_free(world);
}

static void test_a_task_is_found_when_both_that_were_told_of_it_are_gone(void **state)
{
    (void)state;
    struct world *world = world_of(5);
    uint32_t session = client_session(world);
    for (uint32_t n = 0; n < 8; n++) /* wherever their ring homes are */
        assert_answered(ask_of(world, session, ASK_M_MAKE, 0, WORLD_NOBODY, 1100));
    world_crash(world, 1, DEATH_KILLED);
    world_crash(world, 2, DEATH_POWER);
    run_for(world, 30000);
    for (uint32_t n = 0; n < 8; n++)
        assert_answered(ask_of(world, session, ASK_M_TASK, 3 + n % 2, n, 1000));
    world_free(world);
}

static void test_what_a_gone_server_gave_is_answered_by_another_at_once(void **state)
{
    (void)state;
    struct world *world = world_of(3);
    uint32_t session = client_session(world);
    const struct request *begun = ask_of(world, session, ASK_M_BEGIN, 0, WORLD_NOBODY, 100);
    const struct request *made = ask_of(world, session, ASK_M_MAKE, 0, WORLD_NOBODY, 1100);
    assert_answered(begun);
    assert_answered(made);
    world_crash(world, 0, DEATH_KILLED);
    run_for(world, 20000);
    const struct request *back = ask_of(world, session, ASK_M_GO_ON, 1, begun->n, 100);
    assert_int_equal(back->why, MESH_OK);
    assert_true(back->has_answer && back->is_error);
    back = ask_of(world, session, ASK_M_TASK, 1, made->n, 1200);
    assert_int_equal(back->why, MESH_OK);
    assert_true(back->has_answer && back->is_error);
    world_free(world);
}

/* A request that works at p0 for a client of p1. */
static uint32_t long_call(struct world *world)
{
    uint32_t session = client_session(world);
    const struct request *begun = ask_of(world, session, ASK_M_BEGIN, 0, WORLD_NOBODY, 100);
    assert_answered(begun);
    world->upstreams->script_us = 60 * WORLD_SECOND;
    const struct request *call = ask_of(world, session, ASK_M_GO_ON, 1, begun->n, 100);
    assert_int_equal(call->executions, 1);
    assert_int_equal(call->state, REQUEST_OPEN);
    return call->n;
}

static void test_a_client_that_closes_cancels_within_a_round_trip(void **state)
{
    (void)state;
    struct world *world = world_of(3);
    uint32_t call = long_call(world);
    client_vanish(world, call);
    run_for(world, 5);
    assert_false(is_worked_for(world, call));
    run_for(world, 5000);
    assert_int_equal(world->modern->cancels, 1);
    world_free(world);
}

static void test_a_dead_entry_cancels_once_it_is_known_to_be_dead(void **state)
{
    (void)state;
    struct world *world = world_of(3);
    uint32_t call = long_call(world);
    world_crash(world, 1, DEATH_POWER);
    run_for(world, 500);
    assert_true(is_worked_for(world, call)); /* nobody can know yet */
    run_for(world, 20000);
    assert_true(world_agrees(world, 2));
    assert_false(is_worked_for(world, call));
    world_free(world);
}

static void test_a_lost_link_cancels_nothing(void **state)
{
    (void)state;
    struct world *world = world_of(3);
    uint32_t call = long_call(world);
    world_cut(world, 0, 1);
    world_cut(world, 1, 0);
    run_for(world, 7000); /* a link in use is given up after 5 s of silence */
    assert_true(is_worked_for(world, call));
    world_heal(world, 0, 1);
    world_heal(world, 1, 0);
    run_for(world, 60000);
    assert_answered(world->clients->requests[call]);
    assert_int_equal(world->clients->requests[call]->executions, 1);
    struct mesh_stats stats;
    mesh_stats(world->seats[0].mesh, &stats);
    assert_true(stats.attached > 0);
    world_free(world);
}

static void test_a_held_stream_stays_open_and_ends_with_its_server(void **state)
{
    (void)state;
    struct world *world = world_of(3);
    uint32_t session = client_session(world);
    const struct request *held = ask_of(world, session, ASK_M_LISTEN, 0, WORLD_NOBODY, 30000);
    assert_int_equal(held->state, REQUEST_OPEN);
    assert_true(held->last_note > 10);
    (void)upstreams_kill(world, &world->seats[0]);
    world_turn(world, &world->seats[0]);
    run_for(world, 10);
    assert_int_equal(held->state, REQUEST_ENDED);
    assert_string_equal(reason_name(held->why), "upstream-lost");
    world_free(world);
}

static void test_a_held_stream_ends_when_its_peer_leaves(void **state)
{
    (void)state;
    struct world *world = world_of(3);
    uint32_t session = client_session(world);
    const struct request *held = ask_of(world, session, ASK_M_LISTEN, 0, WORLD_NOBODY, 3000);
    assert_int_equal(held->state, REQUEST_OPEN);
    world_leave(world, 0, 0, 20000);
    run_for(world, 5000);
    assert_int_equal(held->state, REQUEST_ENDED);
    assert_string_equal(reason_name(held->why), "stopping");
    assert_false(world_runs(world, 0)); /* it did not wait for what never ends */
    world_free(world);
}

static void test_a_request_goes_to_whoever_serves(void **state)
{
    (void)state;
    struct world *world = world_of(3);
    uint32_t session = client_session(world);
    struct seat *seat = &world->seats[0];
    mesh_serving(seat->mesh, false, world_clock_ms(world, seat));
    world_turn(world, seat);
    run_for(world, 3000);
    uint64_t forwarded = world->clients->forwarded;
    assert_answered(ask_of(world, session, ASK_M_DISCOVER, 0, WORLD_NOBODY, 200));
    assert_int_equal(world->clients->forwarded, forwarded + 1);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_state_comes_back_to_its_server_through_any_peer),
        cmocka_unit_test(test_a_task_is_found_the_moment_its_client_knows_it),
        cmocka_unit_test(test_a_task_is_found_when_both_that_were_told_of_it_are_gone),
        cmocka_unit_test(test_what_a_gone_server_gave_is_answered_by_another_at_once),
        cmocka_unit_test(test_a_client_that_closes_cancels_within_a_round_trip),
        cmocka_unit_test(test_a_dead_entry_cancels_once_it_is_known_to_be_dead),
        cmocka_unit_test(test_a_lost_link_cancels_nothing),
        cmocka_unit_test(test_a_held_stream_stays_open_and_ends_with_its_server),
        cmocka_unit_test(test_a_held_stream_ends_when_its_peer_leaves),
        cmocka_unit_test(test_a_request_goes_to_whoever_serves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
