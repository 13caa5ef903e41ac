/* story_streams.c - stories of event streams that go on: clients that come back through another
 * peer, upstreams that end their streams early. That ids follow each other, that nothing is missed
 * without a word and nothing comes twice is judged all the while by sim/check.c (invariant S1). */
#include "tests/stories/story.h"

static void notify(struct world *world, uint32_t session)
{
    upstream_notify(world, upstream_of(world, session));
    world_turn(world, &world->seats[0]);
}

static void vanish(struct world *world, const struct request *request)
{
    client_vanish(world, request->n);
    assert_int_equal(request->state, REQUEST_GONE);
}

/* Goes on with a request's stream, through that seat, now. */
static const struct request *resume(struct world *world, const struct request *broken,
                                    uint32_t seat)
{
    return request_of(world, client_resume(world, broken->n, seat, 0));
}

/* Likewise of a client that lost what came behind that event. */
static const struct request *resume_from(struct world *world, const struct request *broken,
                                         uint64_t number, uint32_t seat)
{
    struct request *request = world->clients->requests[broken->n];
    request->position.number = number;
    request->last_note = (uint32_t)number; /* one is the other here */
    return resume(world, request, seat);
}

/* The event that is under way reaches its client after so long, and not before. */
static void assert_comes_after(struct world *world, const uint32_t *events, uint64_t ms)
{
    uint32_t before = *events;
    run_for(world, ms - 1);
    assert_int_equal(*events, before);
    run_for(world, 1);
    assert_int_equal(*events, before + 1);
}

static void test_a_get_stream_moves_between_peers_and_misses_nothing(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        struct world *world = world_of(3, kinds[k]);
        uint32_t session = session_at(world, 0);
        const struct request *held = ask_now(world, session, ASK_LISTEN, 1, 200);
        assert_int_equal(held->position.number, 0); /* a place to resume from, before all events */
        notify(world, session);
        assert_comes_after(world, &held->events, 1);
        for (uint32_t round = 0; round < 6; round++) {
            uint32_t seat = (round + 2) % 3;
            vanish(world, held);
            notify(world, session);
            run_for(world, 60000);
            notify(world, session);
            held = resume(world, held, seat);
            run_for(world, 100);
            assert_int_equal(held->events, 2);
            notify(world, session);
            if (seat == 0)
                run_for(world, 1);
            else
                assert_comes_after(world, &held->events, 1);
            assert_int_equal(held->events, 3);
            assert_int_equal(held->last_note, 4 + 3 * round);
            assert_false(held->was_told_gap);
        }
        world_free(world);
    }
}

static void test_an_entry_peer_dies_and_its_clients_go_on_elsewhere(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        struct world *world = world_of(3, kinds[k]);
        uint32_t session = session_at(world, 0);
        world->upstreams->script_us = 5000 * WORLD_MS; /* a step each second, then the answer */
        world->upstreams->script_progress = 4;
        const struct request *held = ask_now(world, session, ASK_LISTEN, 1, 200);
        const struct request *call = ask_now(world, session, ASK_CALL, 1, 2500);
        assert_int_equal(call->events, 2);
        world_crash(world, 1, DEATH_KILLED);
        assert_int_equal(call->state, REQUEST_GONE);
        run_for(world, 1000); /* one more step, that nobody hears */
        const struct request *rest = resume(world, call, 2);
        held = resume(world, held, 2);
        run_for(world, 100);
        assert_true(rest->position.number == 3);
        assert_int_equal(rest->events + call->events, 3);
        run_for(world, 2000);
        assert_int_equal(call->executions, 1);
        assert_true(call->has_answer); /* judged as the request's own */
        assert_int_equal(rest->state, REQUEST_ENDED);
        assert_int_equal(rest->end, MESH_END_WHOLE);
        assert_true(rest->position.is_last);
        assert_int_equal(held->state, REQUEST_OPEN);
        notify(world, session);
        run_for(world, 100);
        assert_int_equal(held->last_note, 1);
        world_free(world);
    }
}

static void test_a_poll_may_go_through_another_peer(void **state)
{
    (void)state;
    struct world *world = world_of(3, MESH_UP_HTTP);
    uint32_t session = session_at(world, 0);
    world->upstreams->script_us = 1000 * WORLD_MS;
    world->upstreams->script_polls = 2;
    const struct request *call = ask_now(world, session, ASK_CALL, 1, 990);
    assert_int_equal(call->state, REQUEST_OPEN);
    run_for(world, 20);
    assert_int_equal(call->state, REQUEST_ENDED);
    assert_int_equal(call->end, MESH_END_LATER);
    assert_int_equal(call->retry_ms, 100);
    assert_false(call->has_answer);
    run_for(world, 100);
    const struct request *rest = resume(world, call, 2);
    run_for(world, 850);
    assert_int_equal(rest->state, REQUEST_OPEN);
    run_for(world, 100); /* the upstream ends that one, too: who resumed may stay */
    assert_int_equal(world->upstreams->polls, 2);
    assert_int_equal(rest->state, REQUEST_OPEN);
    assert_false(call->has_answer);
    vanish(world, rest);
    run_for(world, 2000); /* the answer comes while nobody is there */
    const struct request *last = resume(world, rest, 1);
    run_for(world, 1);
    assert_false(call->has_answer);
    run_for(world, 1); /* a millisecond there, one back */
    assert_true(call->has_answer);
    assert_int_equal(call->executions, 1);
    assert_int_equal(last->state, REQUEST_ENDED);
    assert_int_equal(last->end, MESH_END_WHOLE);
    assert_true(last->position.is_last);
    world_free(world);
}

static void test_an_http_servers_stream_breaks_and_is_resumed_by_its_own_id(void **state)
{
    (void)state;
    struct world *world = world_of(3, MESH_UP_HTTP);
    uint32_t session = session_at(world, 0);
    const struct request *held = ask_now(world, session, ASK_LISTEN, 2, 200);
    notify(world, session);
    run_for(world, 100);
    assert_int_equal(held->last_note, 1);
    upstream_break(world, upstream_of(world, session));
    world_turn(world, &world->seats[0]);
    notify(world, session);
    notify(world, session);
    run_for(world, 49); /* asked for again 50 ms after it ended */
    assert_int_equal(held->last_note, 1);
    assert_int_equal(world->upstreams->replayed, 0);
    run_for(world, 3);
    assert_int_equal(held->last_note, 3);
    assert_int_equal(world->upstreams->replayed, 2);
    assert_int_equal(held->state, REQUEST_OPEN);
    /* also while no client is there */
    vanish(world, held);
    upstream_break(world, upstream_of(world, session));
    world_turn(world, &world->seats[0]);
    notify(world, session);
    run_for(world, 1000);
    held = resume(world, held, 1);
    run_for(world, 10);
    assert_int_equal(held->last_note, 4);
    assert_int_equal(held->events, 1);
    world_free(world);
}

static void test_a_newer_get_supersedes_and_goes_on_from_its_place(void **state)
{
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        struct world *world = world_of(3, kinds[k]);
        uint32_t session = session_at(world, 0);
        const struct request *first = ask_now(world, session, ASK_LISTEN, 1, 200);
        for (int n = 0; n < 3; n++)
            notify(world, session);
        run_for(world, 100);
        assert_int_equal(first->last_note, 3);
        const struct request *second = resume_from(world, first, 1, 2);
        run_for(world, 10);
        assert_int_equal(first->state, REQUEST_ENDED);
        assert_string_equal(reason_name(first->why), "superseded");
        assert_int_equal(second->events, 2); /* notes 2 and 3 */
        assert_int_equal(second->last_note, 3);
        notify(world, session);
        run_for(world, 10);
        assert_int_equal(second->last_note, 4);
        assert_int_equal(first->events, 3);
        assert_false(second->was_told_gap);
        world_free(world);
    }
}

static void test_what_an_owner_never_gave_is_told_as_missed(void **state)
{
    (void)state;
    struct world *world = world_of(3, MESH_UP_STDIO);
    uint32_t session = session_at(world, 0);
    const struct request *held = ask_now(world, session, ASK_LISTEN, 1, 200);
    notify(world, session);
    run_for(world, 10);
    vanish(world, held);
    uint32_t number = client_listen_after(world, session, "0-1-9", 2, 0);
    const struct request *lost = request_of(world, number);
    run_for(world, 10);
    assert_true(lost->was_told_gap);
    notify(world, session);
    run_for(world, 10);
    assert_int_equal(lost->last_note, 2);
    assert_int_equal(world->clients->gaps, 1);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_get_stream_moves_between_peers_and_misses_nothing),
        cmocka_unit_test(test_an_entry_peer_dies_and_its_clients_go_on_elsewhere),
        cmocka_unit_test(test_a_poll_may_go_through_another_peer),
        cmocka_unit_test(test_an_http_servers_stream_breaks_and_is_resumed_by_its_own_id),
        cmocka_unit_test(test_a_newer_get_supersedes_and_goes_on_from_its_place),
        cmocka_unit_test(test_what_an_owner_never_gave_is_told_as_missed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
