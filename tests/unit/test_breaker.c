/* Tests of breaker.h, and of what follows from it: a server that fails whatever it is asked is
 * asked no more, its peer does not serve, what waits goes on as soon as it answers again, or
 * elsewhere. */
#include "mesh/session/breaker.h"

#include "mesh/session/handover.h"
#include "tests/unit/copies_pump.h"

static struct mesh_stats stats_of(const struct pump *p, uint32_t node)
{
    struct mesh_stats stats;
    mesh_stats(p->nodes[node].mesh, &stats);
    return stats;
}

static bool is_serving_for(const struct pump *p, uint32_t node, uint32_t of)
{
    const struct mesh_member *member =
        mesh_member_of(p->nodes[node].mesh, mesh_self(p->nodes[of].mesh)->record->id);
    assert_non_null(member);
    return member->record->serving;
}

static uint32_t sends(const struct pump *p)
{
    uint32_t count = 0;
    for (uint32_t n = 0; n < p->ucalls_count; n++)
        count += p->ucalls[n].kind == MESH_UP_SEND;
    return count;
}

static const char *begin(struct pump *p, uint32_t node)
{
    const char *session =
        pump_session(p, pump_begin_with(p, node, true, INITIALIZE, AGREED("2025-06-18")));
    pump_run(p, 500);
    return session;
}

/* A call that its server answers so. */
static uint32_t answered_with(struct pump *p, const char *session, int status)
{
    uint32_t client = pump_ask(p, 0, MESH_CALL, session, CALL("7"), 0);
    pump_settle(p);
    struct ucall *u = pump_last(p);
    assert_int_equal(u->kind, MESH_UP_SEND);
    pump_head(p, u, status, MESH_FORM_JSON, MESH_UP_SESSION_SAME);
    pump_event(p, u, RESULT("7"));
    pump_end(p, u, MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
    return client;
}

/* A call that its server hangs up on. */
static uint32_t hung_up_on(struct pump *p, const char *session)
{
    uint32_t client = pump_ask(p, 0, MESH_CALL, session, CALL("8"), 0);
    pump_settle(p);
    struct ucall *u = pump_last(p);
    assert_int_equal(u->kind, MESH_UP_SEND);
    pump_end(p, u, MESH_END_CUT, MESH_UPSTREAM_LOST);
    pump_settle(p);
    return client;
}

static void fail_often(struct pump *p, const char *session, uint32_t times)
{
    for (uint32_t n = 0; n < times; n++)
        assert_ended(p, hung_up_on(p, session), MESH_UPSTREAM_LOST);
}

static void test_five_failures_in_a_row_open_it_and_one_answer_closes_it(void **state)
{
    (void)state;
    struct breaker breaker = {0};
    for (uint32_t n = 1; n < BREAKER_FAILURES_MAX; n++)
        assert_false(breaker_note(&breaker, BREAKER_FAILED, breaker.seen));
    assert_false(breaker_note(&breaker, BREAKER_WORKS, 0));
    for (uint32_t n = 1; n < BREAKER_FAILURES_MAX; n++) {
        assert_false(breaker_note(&breaker, BREAKER_FAILED, breaker.seen));
        assert_false(breaker_note(&breaker, BREAKER_NO_NEWS, breaker.seen));
    }
    assert_true(breaker_note(&breaker, BREAKER_FAILED, breaker.seen));
    assert_true(breaker.is_open);
    assert_false(breaker_note(&breaker, BREAKER_FAILED, breaker.seen)); /* it is already */
    assert_true(breaker.is_open);
    assert_true(breaker_note(&breaker, BREAKER_WORKS, 0));
    assert_false(breaker.is_open);
}

static void test_a_server_that_hangs_up_five_times_does_not_serve(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, http);
    const char *session = begin(p, 0);
    fail_often(p, session, BREAKER_FAILURES_MAX - 1);
    assert_false(mesh_up_fails(p->nodes[0].mesh));
    assert_int_equal(p->changes[0].counts[MESH_UPSTREAM_FAILS], 0);
    fail_often(p, session, 1);
    assert_true(mesh_up_fails(p->nodes[0].mesh));
    assert_int_equal(p->changes[0].counts[MESH_UPSTREAM_FAILS], 1);
    assert_int_equal(stats_of(p, 0).breaks, 1);
    pump_run(p, 1000);
    assert_false(is_serving_for(p, 1, 0));
    assert_true(is_serving_for(p, 1, 2));
    pump_free(p);
}

static void test_an_answer_in_between_begins_the_count_anew(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    const char *session = begin(p, 0);
    fail_often(p, session, BREAKER_FAILURES_MAX - 1);
    assert_ended(p, answered_with(p, session, 200), MESH_OK);
    fail_often(p, session, BREAKER_FAILURES_MAX - 1);
    assert_false(mesh_up_fails(p->nodes[0].mesh));
    pump_free(p);
}

/* What clients get from a proxy whose server is gone; a refusal is an answer like any other. */
static void test_5xx_is_a_failure_and_4xx_is_none(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    const char *session = begin(p, 0);
    for (uint32_t n = 0; n < 2 * BREAKER_FAILURES_MAX; n++)
        assert_ended(p, answered_with(p, session, 403), MESH_OK);
    assert_false(mesh_up_fails(p->nodes[0].mesh));
    for (uint32_t n = 0; n < BREAKER_FAILURES_MAX; n++) {
        uint32_t client = pump_ask(p, 0, MESH_CALL, session, CALL("9"), 0);
        pump_settle(p);
        pump_head(p, pump_last(p), 502, MESH_FORM_NONE, MESH_UP_SESSION_SAME);
        pump_end(p, pump_last(p), MESH_END_WHOLE, MESH_OK);
        pump_settle(p);
        assert_ended(p, client, MESH_OK);
        assert_int_equal(p->clients[client].status, 502); /* it passes, as it does elsewhere */
    }
    assert_true(mesh_up_fails(p->nodes[0].mesh));
    pump_free(p);
}

/* As a server is that was killed under load, or started anew. */
static void test_what_fails_together_is_one_failure(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    const char *session = begin(p, 0);
    uint32_t first = p->ucalls_count;
    for (uint32_t n = 0; n < 2 * BREAKER_FAILURES_MAX; n++) {
        char text[96];
        snprintf(text, sizeof text, CALL("%u"), 20 + n);
        (void)pump_ask(p, 0, MESH_CALL, session, text, 0);
    }
    pump_settle(p);
    assert_int_equal(p->ucalls_count, first + 2 * BREAKER_FAILURES_MAX);
    for (uint32_t n = first; n < first + 2 * BREAKER_FAILURES_MAX; n++)
        pump_end(p, &p->ucalls[n], MESH_END_CUT, MESH_UPSTREAM_LOST);
    pump_settle(p);
    assert_false(mesh_up_fails(p->nodes[0].mesh));
    fail_often(p, session, BREAKER_FAILURES_MAX - 2);
    assert_false(mesh_up_fails(p->nodes[0].mesh));
    fail_often(p, session, 1);
    assert_true(mesh_up_fails(p->nodes[0].mesh));
    pump_free(p);
}

static void test_other_paths_say_nothing_of_it_and_still_pass(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    struct mesh_request r = {
        .want = MESH_PASS, .method = slice_text("GET"), .target = slice_text("/.well-known/x")};
    const char *session = begin(p, 0);
    for (uint32_t n = 0; n < 2 * BREAKER_FAILURES_MAX; n++) {
        (void)pump_open(p, 0, r, NULL, "");
        pump_settle(p);
        pump_end(p, pump_last(p), MESH_END_CUT, MESH_UPSTREAM_LOST);
        pump_settle(p);
    }
    assert_false(mesh_up_fails(p->nodes[0].mesh));
    fail_often(p, session, BREAKER_FAILURES_MAX);
    uint32_t before = sends(p);
    (void)pump_open(p, 0, r, NULL, "");
    pump_settle(p);
    assert_int_equal(sends(p), before + 1);
    pump_free(p);
}

static void
test_while_it_fails_nothing_is_asked_and_what_waits_goes_on_once_it_answers(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    const char *session = begin(p, 0);
    fail_often(p, session, BREAKER_FAILURES_MAX);
    uint32_t before = sends(p);
    uint32_t waits = pump_ask(p, 0, MESH_CALL, session, CALL("10"), 0);
    pump_run(p, 1500);
    assert_int_equal(sends(p), before);
    assert_true(stats_of(p, 0).kept_back > 0);
    assert_true(p->clients[waits].is_open);
    mesh_serving(p->nodes[0].mesh, true, p->now_ms); /* it was asked, and answers */
    assert_false(mesh_up_fails(p->nodes[0].mesh));
    assert_int_equal(p->changes[0].counts[MESH_UPSTREAM_FAILS], 1);
    pump_run(p, 1000);
    assert_int_equal(p->changes[0].counts[MESH_UPSTREAM_FAILS], 2);
    assert_int_equal(sends(p), before + 1);
    pump_event(p, pump_last(p), RESULT("10"));
    pump_end(p, pump_last(p), MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
    assert_ended(p, waits, MESH_OK);
    pump_free(p);
}

static void test_who_waits_in_vain_gets_an_error_when_its_time_is_over(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    const char *session = begin(p, 0);
    fail_often(p, session, BREAKER_FAILURES_MAX);
    uint32_t in_session = pump_ask(p, 0, MESH_CALL, session, CALL("11"), 0);
    uint32_t without = pump_ask(p, 0, MESH_CALL, NULL, CALL("12"), 0);
    pump_settle(p);
    assert_ended(p, without, MESH_UPSTREAM_DOWN); /* nobody else has anything of it */
    pump_run(p, core_of(p, 0)->config.park_ms + 1000);
    assert_ended(p, in_session, MESH_UPSTREAM_DOWN);
    pump_free(p);
}

/* DESIGN §7: upstream gone for 2 s. */
static void test_after_two_seconds_its_sessions_go_to_a_peer_that_serves(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, http);
    const char *session = begin(p, 0);
    fail_often(p, session, BREAKER_FAILURES_MAX);
    uint32_t waits = pump_ask(p, 0, MESH_CALL, session, CALL("13"), 0);
    pump_run(p, 2 * HANDOVER_DOWN_MS - 100);
    assert_int_equal(stats_of(p, 0).sessions, 1);
    pump_run(p, 1000);
    assert_int_equal(stats_of(p, 0).sessions, 0);
    assert_true(p->clients[waits].is_open);
    assert_int_not_equal(pump_last(p)->node, 0); /* asked there: its handshake */
    pump_free(p);
}

static void test_new_sessions_are_made_elsewhere(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, http);
    fail_often(p, begin(p, 0), BREAKER_FAILURES_MAX);
    (void)pump_ask(p, 0, MESH_CALL, NULL, INITIALIZE, 0);
    pump_run(p, 100);
    assert_int_not_equal(pump_last(p)->node, 0);
    pump_free(p);
}

static void test_a_child_is_its_sessions_own(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, NULL);
    for (uint32_t n = 0; n < 2 * BREAKER_FAILURES_MAX; n++) {
        (void)pump_ask(p, 0, MESH_CALL, NULL, INITIALIZE, 0);
        pump_settle(p);
        mesh_up_closed(p->nodes[0].mesh, pump_last(p)->up, MESH_UPSTREAM_LOST, p->now_ms);
        pump_settle(p);
    }
    assert_false(mesh_up_fails(p->nodes[0].mesh));
    pump_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_five_failures_in_a_row_open_it_and_one_answer_closes_it),
        cmocka_unit_test(test_a_server_that_hangs_up_five_times_does_not_serve),
        cmocka_unit_test(test_an_answer_in_between_begins_the_count_anew),
        cmocka_unit_test(test_5xx_is_a_failure_and_4xx_is_none),
        cmocka_unit_test(test_what_fails_together_is_one_failure),
        cmocka_unit_test(test_other_paths_say_nothing_of_it_and_still_pass),
        cmocka_unit_test(
            test_while_it_fails_nothing_is_asked_and_what_waits_goes_on_once_it_answers),
        cmocka_unit_test(test_who_waits_in_vain_gets_an_error_when_its_time_is_over),
        cmocka_unit_test(test_after_two_seconds_its_sessions_go_to_a_peer_that_serves),
        cmocka_unit_test(test_new_sessions_are_made_elsewhere),
        cmocka_unit_test(test_a_child_is_its_sessions_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
