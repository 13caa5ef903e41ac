/* Tests of rebalance.h: idle sessions go to a peer that is new, over real links. */
#define NODES_MAX 4
#include "mesh/session/core.h"
#include "tests/unit/mesh_pump.h"

#define SESSIONS 60u
#define REST_MS (REBALANCE_CALM_MS + 2 * REBALANCE_STEP_MS) /* behind a change of the ring */

static void moves_idle(struct mesh_config *config)
{
    config->rebalance = MESH_REBALANCE_IDLE;
}

static uint32_t owned_by(const struct pump *p, uint32_t node)
{
    struct mesh_stats stats;
    mesh_stats(p->nodes[node].mesh, &stats);
    return stats.sessions;
}

static uint64_t given_by(const struct pump *p, uint32_t node)
{
    struct mesh_stats stats;
    mesh_stats(p->nodes[node].mesh, &stats);
    return stats.handed_over;
}

static void begin_many(struct pump *p, uint32_t node, uint32_t count)
{
    for (uint32_t n = 0; n < count; n++)
        (void)pump_begin(p, node, false);
    pump_run(p, 1000);
}

/* One peer more, which is on the ring once this returns. */
static uint32_t come(struct pump *p)
{
    uint32_t node = p->nodes_count++;
    struct mesh_config config;
    pump_config(p, node, &config);
    moves_idle(&config);
    p->nodes[node].addr = config.addr;
    assert_int_equal(mesh_new(&p->nodes[node].mesh, &config, p->now_ms), 0);
    mesh_serving(p->nodes[node].mesh, true, p->now_ms);
    pump_join(p, node);
    pump_run(p, 3000);
    assert_int_equal(mesh_members(p->nodes[0].mesh, NULL, 0), p->nodes_count);
    return node;
}

static void test_a_new_peer_gets_its_share_of_the_idle_sessions(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, moves_idle);
    begin_many(p, 0, SESSIONS);
    begin_many(p, 1, SESSIONS);
    pump_run(p, REBALANCE_IDLE_MS + REST_MS);
    assert_int_equal(owned_by(p, 0), SESSIONS); /* nobody is newer than they are */
    assert_int_equal(owned_by(p, 1), SESSIONS);
    uint32_t new_one = come(p);
    uint32_t share = SESSIONS / 3;
    assert_int_equal(owned_by(p, new_one), 0);
    pump_run(p, REST_MS + 3 * REBALANCE_STEP_MS);
    assert_int_equal(owned_by(p, new_one), 2 * share);
    assert_int_equal(owned_by(p, 0), SESSIONS - share);
    assert_int_equal(owned_by(p, 1), SESSIONS - share);
    assert_int_equal(p->changes[new_one].counts[MESH_SESSION_HANDED], 2 * share);
    pump_run(p, 20000);
    assert_int_equal(owned_by(p, new_one), 2 * share); /* and there they stay */
    pump_free(p);
}

static void test_no_session_moves_to_a_new_peer_unless_told_to(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    begin_many(p, 0, SESSIONS);
    (void)come(p);
    pump_run(p, 30000);
    assert_int_equal(owned_by(p, 0), SESSIONS);
    pump_free(p);
}

static void test_sessions_move_to_a_new_peer_at_a_bounded_rate(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, moves_idle);
    begin_many(p, 0, 5 * REBALANCE_PER_STEP);
    (void)come(p);
    uint64_t before = 0, due = 5 * REBALANCE_PER_STEP / 2;
    for (uint32_t step = 0; step < 12; step++) {
        pump_run(p, REBALANCE_STEP_MS);
        assert_true(given_by(p, 0) - before <= REBALANCE_PER_STEP);
        before = given_by(p, 0);
    }
    assert_int_equal(before, due);
    pump_free(p);
}

/* One session, and a new peer with a copy of it. */
static struct pump *pump_of_one_that_is_used(uint32_t *client)
{
    struct pump *p = pump_new(1, moves_idle);
    *client = pump_begin(p, 0, false);
    assert_int_equal(come(p), 1);
    return p;
}

static bool is_owned_by(const struct pump *p, uint32_t node, uint32_t client)
{
    struct session_id id;
    assert_true(key_read(&id, slice_borrow(pump_session(p, client), MESH_SESSION_TEXT)));
    return session_find(core_of(p, node), &id) != NULL;
}

static void test_a_session_whose_request_runs_stays_until_it_is_idle(void **state)
{
    (void)state;
    uint32_t client;
    struct pump *p = pump_of_one_that_is_used(&client);
    uint32_t call = pump_ask(p, 1, MESH_CALL, pump_session(p, client), CALL("1"), 0);
    pump_settle(p);
    pump_run(p, 30000);
    assert_true(is_owned_by(p, 0, client));
    pump_say(p, pump_last(p), RESULT("1"));
    pump_settle(p);
    assert_ended(p, call, MESH_OK);
    pump_run(p, REBALANCE_IDLE_MS - 500);
    assert_true(is_owned_by(p, 0, client));
    pump_run(p, 3 * REBALANCE_STEP_MS);
    assert_true(is_owned_by(p, 1, client));
    pump_free(p);
}

static void test_a_session_whose_question_is_open_stays(void **state)
{
    (void)state;
    uint32_t client;
    struct pump *p = pump_of_one_that_is_used(&client);
    uint32_t listen = pump_ask(p, 0, MESH_LISTEN, pump_session(p, client), "", 0);
    pump_settle(p);
    struct session_id id;
    assert_true(key_read(&id, slice_borrow(pump_session(p, client), MESH_SESSION_TEXT)));
    struct session *session = session_find(core_of(p, 0), &id);
    assert_non_null(session);
    pump_say_on(p, 0, session->up, MESH_NO_CALL, SAMPLE("7"), strlen(SAMPLE("7")));
    pump_settle(p);
    assert_int_equal(session->questions_count, 1);
    pump_run(p, 30000);
    assert_true(is_owned_by(p, 0, client));
    assert_true(p->clients[listen].is_open);
    pump_free(p);
}

static void test_a_session_that_a_client_listens_to_moves_under_its_stream(void **state)
{
    (void)state;
    uint32_t client;
    struct pump *p = pump_of_one_that_is_used(&client);
    uint32_t listen = pump_ask(p, 0, MESH_LISTEN, pump_session(p, client), "", 0);
    pump_settle(p);
    pump_run(p, 30000);
    assert_true(is_owned_by(p, 1, client));
    assert_true(p->clients[listen].is_open);
    assert_int_equal(p->clients[listen].heads, 1);
    pump_free(p);
}

static void test_a_peer_that_is_back_after_a_split_is_not_new(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, moves_idle);
    begin_many(p, 0, SESSIONS);
    pump_part(p, 0, 1, true);
    pump_run(p, 60000);
    pump_part(p, 0, 1, false);
    pump_run(p, 60000);
    assert_int_equal(mesh_members(p->nodes[0].mesh, NULL, 0), 2);
    assert_int_equal(given_by(p, 0), 0);
    pump_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_new_peer_gets_its_share_of_the_idle_sessions),
        cmocka_unit_test(test_no_session_moves_to_a_new_peer_unless_told_to),
        cmocka_unit_test(test_sessions_move_to_a_new_peer_at_a_bounded_rate),
        cmocka_unit_test(test_a_session_whose_request_runs_stays_until_it_is_idle),
        cmocka_unit_test(test_a_session_whose_question_is_open_stays),
        cmocka_unit_test(test_a_session_that_a_client_listens_to_moves_under_its_stream),
        cmocka_unit_test(test_a_peer_that_is_back_after_a_split_is_not_new),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
