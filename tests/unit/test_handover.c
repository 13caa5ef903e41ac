/* Tests of handover.h: a peer that drains gives its sessions to others, over real links. What is
 * under way meanwhile: test_mesh.c. */
#include "tests/unit/copies_pump.h"

#define SESSIONS 5u

static struct mesh_stats stats_of(const struct pump *p, uint32_t node)
{
    struct mesh_stats stats;
    mesh_stats(p->nodes[node].mesh, &stats);
    return stats;
}

/* Three peers; all sessions were the first one's, which has left since. */
static struct pump *pump_of_one_that_left(void)
{
    struct pump *p = pump_new(3, NULL);
    for (uint32_t n = 0; n < SESSIONS; n++)
        (void)pump_begin(p, 0, false);
    pump_run(p, 1000);
    mesh_leave(p->nodes[0].mesh, p->now_ms, p->now_ms + 20000, p->now_ms);
    pump_run(p, 3000);
    return p;
}

static void test_idle_sessions_are_given_away_before_a_peer_leaves(void **state)
{
    (void)state;
    struct pump *p = pump_of_one_that_left();
    assert_int_equal(p->changes[0].counts[MESH_LEFT_MESH], 1);
    assert_int_equal(stats_of(p, 0).handed_over, SESSIONS);
    assert_int_equal(stats_of(p, 0).sessions, 0);
    assert_int_equal(stats_of(p, 1).sessions + stats_of(p, 2).sessions, SESSIONS);
    /* nothing was lost: nobody had to take one over */
    assert_int_equal(stats_of(p, 1).sessions_taken_over + stats_of(p, 2).sessions_taken_over, 0);
    pump_free(p);
}

static void test_a_taker_that_stops_as_well_passes_them_on(void **state)
{
    (void)state;
    struct pump *p = pump_of_one_that_left();
    mesh_leave(p->nodes[1].mesh, p->now_ms, p->now_ms + 20000, p->now_ms);
    pump_run(p, 5000);
    assert_int_equal(p->changes[1].counts[MESH_LEFT_MESH], 1);
    assert_int_equal(stats_of(p, 2).sessions, SESSIONS);
    pump_free(p);
}

static void test_what_nobody_can_take_ends(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    (void)pump_begin(p, 0, false);
    mesh_serving(p->nodes[1].mesh, false, p->now_ms);
    pump_run(p, 2000);
    mesh_leave(p->nodes[0].mesh, p->now_ms, p->now_ms + 20000, p->now_ms);
    pump_run(p, 3000);
    assert_int_equal(p->changes[0].counts[MESH_LEFT_MESH], 1);
    assert_int_equal(p->changes[0].counts[MESH_SESSION_CLOSED], 1);
    assert_int_equal(stats_of(p, 0).handed_over, 0);
    pump_free(p);
}

/* An answer that is on its way in our epoch is dropped by an entry that has heard of the next one,
 * and what may not run twice cannot be asked for again: it is waited for. */
static void test_an_answer_under_way_arrives_before_its_session_is_given_away(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, NULL);
    uint32_t calls[SESSIONS];
    for (uint32_t n = 0; n < SESSIONS; n++) {
        const char *session = pump_session(p, pump_begin(p, 0, false));
        calls[n] = pump_ask(p, 1, MESH_CALL, session, CALL("1"), 0);
        pump_settle(p);
    }
    pump_run(p, 1000);
    mesh_leave(p->nodes[0].mesh, p->now_ms, p->now_ms + 20000, p->now_ms);
    pump_run(p, 200);
    set_stuck(p, 0, 1, true);
    for (uint32_t n = 0; n < p->ucalls_count; n++)
        if (strcmp(p->ucalls[n].text, CALL("1")) == 0)
            pump_say(p, &p->ucalls[n], RESULT("1"));
    pump_run(p, 200);
    set_stuck(p, 0, 1, false);
    pump_run(p, 3000);
    for (uint32_t n = 0; n < SESSIONS; n++)
        assert_ended(p, calls[n], MESH_OK);
    assert_int_equal(stats_of(p, 0).handed_over, SESSIONS);
    assert_int_equal(p->changes[0].counts[MESH_LEFT_MESH], 1);
    pump_free(p);
}

/* Its upstream does not have to be told by us, it knows. */
static void test_a_session_that_was_given_away_is_closed_at_our_upstream(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    (void)pump_begin(p, 0, false);
    pump_run(p, 1000);
    assert_true(p->ups[0].is_open);
    mesh_leave(p->nodes[0].mesh, p->now_ms, p->now_ms + 20000, p->now_ms);
    pump_run(p, 3000);
    assert_false(p->ups[0].is_open);
    assert_int_equal(p->changes[0].counts[MESH_SESSION_CLOSED], 0);
    pump_free(p);
}

static void begin_many(struct pump *p, uint32_t count)
{
    for (uint32_t n = 0; n < count; n++)
        (void)pump_begin(p, 0, false);
    pump_run(p, 1000);
}

static void test_who_has_lost_its_server_gives_its_sessions_away(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, NULL);
    begin_many(p, SESSIONS);
    mesh_serving(p->nodes[0].mesh, false, p->now_ms);
    pump_run(p, HANDOVER_DOWN_MS - 50);
    assert_int_equal(stats_of(p, 0).sessions, SESSIONS); /* it may be back */
    pump_run(p, 500);
    assert_int_equal(stats_of(p, 0).sessions, 0);
    assert_int_equal(stats_of(p, 1).sessions + stats_of(p, 2).sessions, SESSIONS);
    assert_int_equal(stats_of(p, 1).sessions_taken_over + stats_of(p, 2).sessions_taken_over, 0);
    mesh_serving(p->nodes[0].mesh, true, p->now_ms);
    (void)pump_begin(p, 0, false);
    pump_run(p, 3000);
    assert_int_equal(stats_of(p, 0).sessions, 1); /* it serves again, and keeps what is new */
    assert_int_equal(stats_of(p, 1).sessions + stats_of(p, 2).sessions, SESSIONS);
    pump_free(p);
}

static void test_a_server_that_is_back_in_time_keeps_its_sessions(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, NULL);
    begin_many(p, SESSIONS);
    for (int n = 0; n < 3; n++) {
        mesh_serving(p->nodes[0].mesh, false, p->now_ms);
        pump_run(p, HANDOVER_DOWN_MS - 100);
        mesh_serving(p->nodes[0].mesh, true, p->now_ms);
        pump_run(p, 500);
    }
    assert_int_equal(stats_of(p, 0).sessions, SESSIONS);
    assert_int_equal(stats_of(p, 0).handed_over, 0);
    pump_free(p);
}

static void test_sessions_of_a_lost_server_stay_until_another_one_serves(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, NULL);
    begin_many(p, SESSIONS);
    for (uint32_t n = 0; n < 3; n++)
        mesh_serving(p->nodes[n].mesh, false, p->now_ms);
    pump_run(p, 5000);
    assert_int_equal(stats_of(p, 0).sessions, SESSIONS);
    mesh_serving(p->nodes[2].mesh, true, p->now_ms);
    pump_run(p, 2000);
    assert_int_equal(stats_of(p, 2).sessions, SESSIONS);
    pump_free(p);
}

static void test_idle_sessions_of_a_lost_server_go_at_a_bounded_rate(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, NULL);
    begin_many(p, HANDOVER_DOWN_PER_STEP + 50);
    mesh_serving(p->nodes[0].mesh, false, p->now_ms);
    pump_run(p, HANDOVER_DOWN_MS + HANDOVER_AGAIN_MS - 20);
    assert_int_equal(stats_of(p, 0).handed_over, HANDOVER_DOWN_PER_STEP);
    pump_run(p, HANDOVER_AGAIN_MS);
    assert_int_equal(stats_of(p, 0).handed_over, HANDOVER_DOWN_PER_STEP + 50);
    pump_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idle_sessions_are_given_away_before_a_peer_leaves),
        cmocka_unit_test(test_a_taker_that_stops_as_well_passes_them_on),
        cmocka_unit_test(test_what_nobody_can_take_ends),
        cmocka_unit_test(test_an_answer_under_way_arrives_before_its_session_is_given_away),
        cmocka_unit_test(test_a_session_that_was_given_away_is_closed_at_our_upstream),
        cmocka_unit_test(test_who_has_lost_its_server_gives_its_sessions_away),
        cmocka_unit_test(test_a_server_that_is_back_in_time_keeps_its_sessions),
        cmocka_unit_test(test_sessions_of_a_lost_server_stay_until_another_one_serves),
        cmocka_unit_test(test_idle_sessions_of_a_lost_server_go_at_a_bounded_rate),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
