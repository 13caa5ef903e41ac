/* Tests of evidence.h: what a peer takes as a sign that another is gone before membership says so,
 * and what outweighs it. */
#include "mesh/session/evidence.h"
#include "tests/unit/copies_pump.h"

/* Nobody carries a session on. */
static void alone(struct mesh_config *config)
{
    config->upstream = MESH_UP_STDIO;
    config->copies = 0;
}

static bool is_unreachable(const struct pump *p, uint32_t from, uint32_t node)
{
    return evidence_is_unreachable(core_of(p, from), core_self(core_of(p, node)), p->now_ms);
}

static enum evidence_verdict verdict(const struct pump *p, uint32_t from, uint32_t node)
{
    return evidence_of(core_of(p, from), core_self(core_of(p, node)), p->now_ms);
}

/* When `from` gave `node` up, in ms from now; UINT64_MAX: not within that time. */
static uint64_t given_up_after(struct pump *p, uint32_t from, uint32_t node, uint64_t max_ms)
{
    uint64_t begun_ms = p->now_ms;
    while (p->now_ms < begun_ms + max_ms) {
        pump_run(p, 10);
        if (is_unreachable(p, from, node))
            return p->now_ms - begun_ms;
    }
    return UINT64_MAX;
}

/* A long call of a session at node 0, whose client is at node 1: the link between them is in use.
 */
static uint32_t use_link(struct pump *p)
{
    const char *session = pump_session(p, pump_begin(p, 0, false));
    uint32_t call = ask(p, 1, session, CALL("1"));
    pump_run(p, 2000);
    assert_true(p->clients[call].is_open);
    return call;
}

static void test_nothing_is_noted_while_nothing_is_wrong(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, alone);
    (void)use_link(p);
    pump_run(p, 60000);
    for (uint32_t n = 0; n < 3; n++)
        assert_int_equal(core_of(p, n)->evidence.count, 0);
    pump_free(p);
}

static void test_a_killed_peer_is_gone_as_soon_as_a_ping_fails(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, alone);
    (void)use_link(p);
    pump_kill(p, 0);
    assert_in_range(given_up_after(p, 1, 0, 5000), EVIDENCE_PROBE_MS, EVIDENCE_PROBE_MS + 20);
    assert_int_equal(verdict(p, 1, 0), EVIDENCE_GONE);
    assert_true(core_is_living(core_of(p, 1), core_self(core_of(p, 0)))); /* it declares no death */
    pump_free(p);
}

static void test_a_port_that_refuses_is_no_death_while_pings_are_answered(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, alone);
    (void)use_link(p);
    p->nodes[0].refuses = true;
    pump_cut(p, 0, 1);
    assert_true(given_up_after(p, 1, 0, 30000) == UINT64_MAX);
    pump_free(p);
}

static void test_a_silent_link_is_doubted_then_given_up_and_its_lanes_are_lost(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, alone);
    uint32_t call = use_link(p);
    uint64_t lost = stats_at(p, 1).links_lost;
    pump_part(p, 0, 1, true);
    /* pings of the link come every 250 ms */
    assert_in_range(given_up_after(p, 1, 0, 5000), LINKS_DOUBT_MS, LINKS_DOUBT_MS + 250 + 220);
    assert_int_equal(stats_at(p, 1).links_lost, lost + 1); /* what waited on it goes on elsewhere */
    pump_part(p, 0, 1, false);
    pump_run(p, 2000);
    assert_false(is_unreachable(p, 1, 0));
    pump_say(p, pump_last(p), RESULT("1"));
    pump_run(p, 2000);
    assert_ended(p, call, MESH_OK);
    assert_int_equal(pump_executions(p, CALL("1")), 1);
    pump_free(p);
}

static void test_a_link_that_is_silent_alone_is_no_death(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, alone);
    (void)use_link(p);
    set_stuck(p, 0, 1, true);
    assert_true(given_up_after(p, 1, 0, 30000) == UINT64_MAX);
    pump_free(p);
}

static void test_a_dial_that_nobody_answers_is_doubted(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, alone);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    pump_cut(p, 0, 1);
    pump_run(p, 100);
    p->nodes[0].sleeps = true;
    (void)ask(p, 1, session, CALL("1"));
    assert_in_range(given_up_after(p, 1, 0, 5000), 200, LINKS_DOUBT_DIAL_MS + 220);
    pump_free(p);
}

static void test_any_answer_outweighs_what_failed(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, alone);
    struct core *core = core_of(p, 1);
    struct peer_id peer = core_self(core_of(p, 0));
    (void)use_link(p);
    pump_part(p, 0, 1, true);
    assert_true(given_up_after(p, 1, 0, 5000) < 5000);
    pump_run(p, 10);
    evidence_on_life(core, peer, p->now_ms);
    assert_false(is_unreachable(p, 1, 0));
    assert_int_equal(verdict(p, 1, 0), EVIDENCE_LIVES);
    pump_free(p);
}

static void test_a_failed_ping_is_repeated_only_after_a_while(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, alone);
    struct core *core = core_of(p, 1);
    struct peer_id peer = core_self(core_of(p, 0));
    pump_cut(p, 0, 1);
    pump_run(p, 20000);
    p->nodes[0].sleeps = true;
    pump_run(p, EVIDENCE_FRESH_MS + 10);
    assert_int_equal(verdict(p, 1, 0), EVIDENCE_UNKNOWN);
    evidence_probe(core, peer, p->now_ms);
    assert_int_equal(verdict(p, 1, 0), EVIDENCE_PROBING);
    pump_run(p, EVIDENCE_PROBE_MS);
    assert_int_equal(verdict(p, 1, 0), EVIDENCE_GONE);
    evidence_probe(core, peer, p->now_ms);
    assert_int_equal(verdict(p, 1, 0), EVIDENCE_GONE);
    pump_run(p, EVIDENCE_FRESH_MS);
    if (core_is_living(core, peer)) {
        assert_int_equal(verdict(p, 1, 0), EVIDENCE_UNKNOWN);
        assert_true(is_unreachable(p, 1, 0)); /* for who has to ask somebody now */
    }
    pump_free(p);
}

static void test_nobody_is_blamed_for_our_own_sleep(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, alone);
    (void)use_link(p);
    p->nodes[1].sleeps = true;
    pump_run(p, 2500);
    pump_wake(p, 1);
    for (int n = 0; n < 500; n++) {
        pump_run(p, 10);
        assert_false(is_unreachable(p, 1, 0));
    }
    pump_free(p);
}

static void test_a_newer_generation_of_its_name_is_its_end(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, alone);
    struct peer_id before = core_self(core_of(p, 0));
    pump_kill(p, 0);
    pump_start(p, 0);
    pump_join(p, 0);
    pump_run(p, 3000);
    assert_int_equal(evidence_of(core_of(p, 1), before, p->now_ms), EVIDENCE_GONE);
    pump_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_noted_while_nothing_is_wrong),
        cmocka_unit_test(test_a_killed_peer_is_gone_as_soon_as_a_ping_fails),
        cmocka_unit_test(test_a_port_that_refuses_is_no_death_while_pings_are_answered),
        cmocka_unit_test(test_a_silent_link_is_doubted_then_given_up_and_its_lanes_are_lost),
        cmocka_unit_test(test_a_link_that_is_silent_alone_is_no_death),
        cmocka_unit_test(test_a_dial_that_nobody_answers_is_doubted),
        cmocka_unit_test(test_any_answer_outweighs_what_failed),
        cmocka_unit_test(test_a_failed_ping_is_repeated_only_after_a_while),
        cmocka_unit_test(test_nobody_is_blamed_for_our_own_sleep),
        cmocka_unit_test(test_a_newer_generation_of_its_name_is_its_end),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
