/* Tests of takeover.h, tenure.h, succession.h and fence.h over real links: who owns a session after
 * its owner died, was cut off or stood still; who waits, and what is said to whom. The rules alone
 * are test_rounds.c's. */
#define NODES_MAX 4
#include "mesh/session/core.h"
#include "mesh/session/takeover.h"
#include "tests/unit/copies_pump.h"

static void two(struct mesh_config *config)
{
    config->upstream = MESH_UP_STDIO;
    config->copies = 2;
}

/* The one living node that owns it. */
static uint32_t owner_of(const struct pump *p, const char *session)
{
    uint32_t owner = NODES_MAX;
    for (uint32_t n = 0; n < p->nodes_count; n++) {
        if (p->nodes[n].is_dead || owned_at(p, n, session) == NULL)
            continue;
        assert_int_equal(owner, NODES_MAX);
        owner = n;
    }
    return owner;
}

/* A session of node 0, of which the others have a copy. */
static const char *begin(struct pump *p)
{
    const char *session = pump_session(p, pump_begin(p, 0, false));
    pump_run(p, 200);
    for (uint32_t n = 1; n < p->nodes_count; n++)
        assert_non_null(copy_at(p, n, session));
    return session;
}

/* Node `n` asks for it, as it would for a request. */
static void take(struct pump *p, uint32_t n, const char *session)
{
    struct session *copy = copy_at(p, n, session);
    assert_non_null(copy);
    takeover_begin(core_of(p, n), copy, p->now_ms);
    pump_settle(p);
}

/* Nothing that was granted, or asked for, is open. */
static void assert_unpromised(const struct pump *p, uint32_t n, const char *session)
{
    const struct session *copy = copy_at(p, n, session);
    assert_true(mesh_epoch_compare(copy->promised, copy->epoch) <= 0);
    assert_true(handle_is_none(copy->round));
}

/* A client at node `n` calls; the child has it and says nothing yet. */
static uint32_t call_from(struct pump *p, uint32_t n, const char *session)
{
    uint32_t call = ask(p, n, session, CALL("1"));
    assert_string_equal(pump_last(p)->text, CALL("1"));
    return call;
}

/* Node 0 stands still until the others believe it gone. */
static void sleep_until_given_up(struct pump *p, const char *session)
{
    p->nodes[0].sleeps = true;
    pump_run(p, EVIDENCE_FRESH_MS + 10);
    for (uint32_t n = 1; n < 3; n++)
        evidence_probe(core_of(p, n), core_self(core_of(p, 0)), p->now_ms);
    pump_run(p, EVIDENCE_PROBE_MS + 10);
    assert_non_null(owned_at(p, 0, session));
}

/* Node 1 owns it by now, and node 0 does not know. */
static void sleep_until_taken(struct pump *p, const char *session)
{
    sleep_until_given_up(p, session);
    take(p, 1, session);
    pump_run(p, 400);
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static void test_who_asks_for_it_while_its_owner_lives_is_vetoed(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, two);
    const char *session = begin(p);
    for (int n = 0; n < 5; n++) {
        take(p, 1, session);
        pump_run(p, 1000);
        assert_int_equal(owner_of(p, session), 0);
        assert_int_equal(owned_at(p, 0, session)->epoch.counter, 1);
        assert_unpromised(p, 1, session);
        assert_unpromised(p, 2, session);
    }
    pump_free(p);
}

static void test_a_killed_owner_is_succeeded_as_soon_as_the_others_agree(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, two);
    const char *session = begin(p);
    pump_kill(p, 0);
    pump_settle(p);
    take(p, 1, session); /* links broke, that is all: it is found out */
    assert_null(owned_at(p, 1, session));
    pump_run(p, EVIDENCE_PROBE_MS + 20);
    assert_int_equal(owner_of(p, session), 1);
    assert_int_equal(owned_at(p, 1, session)->epoch.counter, 2);
    assert_int_equal(stats_at(p, 1).sessions_taken_over, 1);
    pump_run(p, 100);
    assert_int_equal(copy_at(p, 2, session)->epoch.counter, 2);
    assert_unpromised(p, 2, session);
    pump_free(p);
}

static void test_two_takers_never_own_it_both_and_one_does_in_the_end(void **state)
{
    (void)state;
    for (uint32_t late_ms = 0; late_ms < 40; late_ms += 2) {
        struct pump *p = pump_new(3, two);
        const char *session = begin(p);
        pump_kill(p, 0);
        take(p, 1, session);
        pump_run(p, late_ms * 8);
        if (copy_at(p, 2, session) != NULL)
            take(p, 2, session);
        for (int n = 0; n < 200; n++) {
            pump_run(p, 10);
            (void)owner_of(p, session); /* not two */
        }
        pump_run(p, 15000);
        assert_int_not_equal(owner_of(p, session), NODES_MAX);
        pump_free(p);
    }
}

static void test_who_is_silent_is_waited_for_no_longer_than_it_may_take(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, two);
    const char *session = begin(p);
    take(p, 1, session); /* opens a link to the other holder */
    pump_run(p, 100);
    pump_kill(p, 0);
    pump_run(p, EVIDENCE_PROBE_MS + 50);
    set_stuck(p, 1, 2, true);
    take(p, 1, session);
    pump_run(p, TAKEOVER_SILENT_MS - 10);
    assert_null(owned_at(p, 1, session));
    pump_run(p, 20);
    assert_non_null(owned_at(p, 1, session));
    pump_free(p);
}

static void test_a_taker_that_dies_holds_up_nobody(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, two);
    const char *session = begin(p);
    pump_kill(p, 0);
    pump_run(p, EVIDENCE_PROBE_MS + 50);
    struct session *copy = copy_at(p, 2, session);
    copy->promised = (struct mesh_epoch){2, core_self(core_of(p, 1))};
    copy->tried = 2;
    pump_kill(p, 1);
    pump_settle(p);
    take(p, 2, session);
    pump_run(p, EVIDENCE_PROBE_MS + 50);
    assert_int_equal(owner_of(p, session), 2);
    assert_int_equal(owned_at(p, 2, session)->epoch.counter, 3);
    pump_free(p);
}

static void test_a_session_that_ended_is_not_taken_over(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, two);
    const char *session = begin(p);
    struct session_id id = id_of(session);
    struct mesh_epoch epoch = owned_at(p, 0, session)->epoch;
    tombs_add(core_of(p, 2), &id, epoch, false, p->now_ms); /* the other one did not hear of it */
    pump_kill(p, 0);
    take(p, 1, session);
    pump_run(p, 20000);
    assert_int_equal(owner_of(p, session), NODES_MAX);
    assert_true(tombs_has(core_of(p, 1), &id, p->now_ms));
    pump_free(p);
}

static void test_nobody_takes_what_another_asks_for(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, two);
    const char *session = begin(p);
    struct wire_message m = {.kind = WIRE_TAKE, .session = id_of(session), .has_session = true};
    m.epoch = (struct mesh_epoch){9, core_self(core_of(p, 0))}; /* not the one who says it */
    assert_true(links_tell(core_of(p, 1)->links, core_self(core_of(p, 2)), &p->nodes[2].addr, &m,
                           p->now_ms) >= 0);
    pump_run(p, 1000);
    assert_unpromised(p, 2, session);
    pump_free(p);
}

/* ---- succession ------------------------------------------------------------------------------ */

static void test_membership_s_verdict_gives_the_session_to_the_first_candidate(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, two);
    const char *session = begin(p);
    struct session_id id = id_of(session);
    struct peer_id candidates[MESH_CANDIDATES_MAX];
    pump_kill(p, 0);
    pump_run(p, 15000);
    uint32_t owner = owner_of(p, session);
    assert_int_not_equal(owner, NODES_MAX);
    assert_true(owner_candidates(core_of(p, 1), &id, candidates, MESH_CANDIDATES_MAX) == 2);
    assert_true(peer_id_equal(candidates[0], core_self(core_of(p, owner))));
    assert_int_equal(owned_at(p, owner, session)->epoch.counter, 2);
    assert_int_equal(copy_at(p, 3 - owner, session)->epoch.counter, 2);
    assert_int_equal(p->changes[owner].counts[MESH_SESSION_TAKEN], 1);
    pump_free(p);
}

static void test_of_many_sessions_of_a_dead_owner_none_is_forgotten_and_all_are_copied(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, two);
    const char *sessions[40];
    for (int n = 0; n < 40; n++)
        sessions[n] = pump_session(p, pump_begin(p, 0, false));
    pump_run(p, 500);
    pump_kill(p, 0);
    pump_run(p, 20000);
    uint32_t owned[NODES_MAX] = {0};
    for (int n = 0; n < 40; n++) {
        uint32_t owner = owner_of(p, sessions[n]);
        assert_int_not_equal(owner, NODES_MAX);
        owned[owner]++;
        assert_copied(p, owner, 3 - owner, sessions[n]);
    }
    assert_true(owned[1] > 0 && owned[2] > 0); /* by shards */
    pump_free(p);
}

/* The dead owner copied to the two there were; who came since stands before them on the ring. */
static void test_a_newcomer_among_the_candidates_holds_up_nobody(void **state)
{
    (void)state;
    struct pump *p = pump_new(4, two);
    const char *sessions[16];
    uint32_t before = 0;
    pump_kill(p, 3);
    pump_run(p, 20000);
    for (int n = 0; n < 16; n++)
        sessions[n] = pump_session(p, pump_begin(p, 0, false));
    pump_run(p, 500);
    pump_kill(p, 0);
    pump_start(p, 3);
    pump_join(p, 3);
    pump_run(p, 300);
    for (int n = 0; n < 16; n++) {
        struct peer_id candidates[MESH_CANDIDATES_MAX];
        struct session_id id = id_of(sessions[n]);
        size_t count = owner_candidates(core_of(p, 1), &id, candidates, MESH_CANDIDATES_MAX);
        bool has_home = peer_id_equal(candidates[0], core_self(core_of(p, 0)));
        before += peer_id_equal(candidates[has_home], core_self(core_of(p, 3)));
        assert_true(count >= 3);
        (void)ask(p, n % 2 == 0 ? 1 : 3, sessions[n], CALL("1"));
    }
    assert_true(before > 0);
    pump_run(p, 1000);
    for (int n = 0; n < 16; n++)
        assert_int_not_equal(owner_of(p, sessions[n]), NODES_MAX);
    pump_free(p);
}

static void test_who_carries_on_claims_the_shard_and_is_found_by_it(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, two);
    const char *session = begin(p);
    struct session_id id = id_of(session);
    struct peer_id claimant;
    pump_kill(p, 0);
    pump_run(p, 20000);
    uint32_t owner = owner_of(p, session), other = 3 - owner;
    assert_true(swim_claimant(core_of(p, other)->swim, key_shard(&id), &claimant, p->now_ms));
    assert_true(peer_id_equal(claimant, core_self(core_of(p, owner))));
    assert_true(owned_at(p, owner, session)->is_claimed);
    pump_free(p);
}

/* ---- the fence ------------------------------------------------------------------------------- */

static void test_who_stood_still_and_was_not_succeeded_answers_after_it_asked(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, two);
    const char *session = begin(p);
    uint32_t call = call_from(p, 0, session);
    struct ucall *u = pump_last(p);
    p->nodes[0].sleeps = true;
    pump_run(p, 1500);
    p->nodes[0].sleeps = false;
    set_stuck(p, 0, 1, true);
    pump_say(p, u, RESULT("1")); /* before it is told the time */
    pump_settle(p);
    assert_true(p->clients[call].is_open); /* one holder has not answered */
    set_stuck(p, 0, 1, false);
    pump_settle(p);
    assert_ended(p, call, MESH_OK);
    assert_int_equal(owned_at(p, 0, session)->epoch.counter, 1);
    pump_free(p);
}

static void test_holders_that_are_silent_hold_an_answer_back_half_a_second(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, two);
    const char *session = begin(p);
    uint32_t call = call_from(p, 0, session);
    struct ucall *u = pump_last(p);
    p->nodes[0].sleeps = true;
    pump_run(p, 1500);
    p->nodes[0].sleeps = false;
    set_stuck(p, 0, 1, true);
    pump_say(p, u, RESULT("1"));
    pump_run(p, FENCE_SILENT_MS - 10);
    assert_true(p->clients[call].is_open);
    pump_run(p, 20);
    assert_ended(p, call, MESH_OK);
    pump_free(p);
}

static void test_who_stood_still_and_was_succeeded_says_nothing_of_what_it_ran(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, two);
    const char *session = begin(p);
    uint32_t call = call_from(p, 0, session), held = hold(p, 0, session);
    struct ucall *u = pump_last(p);
    sleep_until_taken(p, session);
    struct session *taken = owned_at(p, 1, session);
    assert_non_null(taken);
    taken->has_run = true; /* a request came there */
    p->nodes[0].sleeps = false;
    pump_say(p, u, RESULT("1"));
    pump_settle(p);
    assert_int_equal(owner_of(p, session), 1);
    assert_int_equal(p->clients[call].texts, 0);
    assert_ended(p, call, MESH_OUTCOME_UNKNOWN);
    assert_true(p->clients[held].is_open); /* it goes on at the other one */
    assert_int_equal(p->changes[0].counts[MESH_SESSION_YIELDED], 1);
    pump_run(p, 100);
    assert_copied(p, 1, 0, session);
    assert_false(p->ups[0].is_open);
    pump_free(p);
}

static void test_who_stood_still_says_nothing_of_a_session_that_was_ended_elsewhere(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, two);
    const char *session = begin(p);
    uint32_t call = call_from(p, 0, session);
    struct ucall *u = pump_last(p);
    sleep_until_taken(p, session);
    struct session *taken = owned_at(p, 1, session);
    taken->is_deleted = true;
    serve_end_session(core_of(p, 1), taken, MESH_SESSION_ENDED, p->now_ms);
    p->nodes[0].sleeps = false;
    pump_say(p, u, RESULT("1"));
    pump_settle(p);
    assert_int_equal(p->clients[call].texts, 0);
    assert_ended(p, call, MESH_OUTCOME_UNKNOWN); /* it ran, but not in the session that is over */
    pump_free(p);
}

/* A session of HTTP+SSE; returns the stream that its client holds at node 2. */
static uint32_t begin_single(struct pump *p)
{
    uint32_t stream = pump_sse_again(p, 2);
    pump_settle(p);
    pump_say(p, pump_last(p),
             "{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":{\"protocolVersion\":"
             "\"2024-11-05\",\"capabilities\":{}}}");
    pump_run(p, 200);
    return stream;
}

/* HTTP+SSE: node 0 accepted a request, or did not, when it hears that node 1 owns the session. */
static void yield_single(bool is_owed, bool is_answered)
{
    struct pump *p = pump_new(3, two);
    uint32_t stream = begin_single(p);
    const char *session = pump_session(p, stream);
    uint32_t owner = owner_of(p, session), other = (owner + 1) % 3;
    struct session_id id = owned_at(p, owner, session)->id;
    if (is_owed || is_answered) {
        uint32_t post = pump_post(p, owner, session, CALL("1"));
        pump_settle(p);
        assert_ended(p, post, MESH_OK); /* 202 */
    }
    if (is_answered)
        pump_say(p, pump_last(p), RESULT("1"));
    pump_run(p, 100);
    takeover_yield(core_of(p, owner), owned_at(p, owner, session),
                   (struct mesh_epoch){5, core_self(core_of(p, other))}, p->now_ms);
    pump_settle(p);
    assert_int_equal(tombs_has(core_of(p, other), &id, p->now_ms), is_owed);
    assert_null(owned_at(p, owner, session));
    if (is_owed) { /* its client begins anew, rather than wait for ever */
        assert_ended(p, stream, MESH_SESSION_ENDED);
        assert_null(copy_at(p, owner, session));
    } else {
        assert_true(p->clients[stream].is_open);
    }
    pump_free(p);
}

static void test_who_owes_an_answer_on_a_stream_that_it_loses_ends_its_session(void **state)
{
    (void)state;
    yield_single(false, false);
    yield_single(true, false);
    yield_single(false, true); /* its reader has it */
}

static void test_a_successor_at_which_nothing_ran_gives_it_back(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, two);
    const char *session = begin(p);
    uint32_t call = call_from(p, 0, session);
    struct ucall *u = pump_last(p);
    sleep_until_taken(p, session);
    assert_int_equal(owned_at(p, 1, session)->epoch.counter, 2);
    p->nodes[0].sleeps = false;
    pump_say(p, u, RESULT("1"));
    pump_settle(p);
    assert_int_equal(owner_of(p, session), 0);
    assert_int_equal(owned_at(p, 0, session)->epoch.counter, 3);
    assert_ended(p, call, MESH_OK);
    assert_true(p->ups[0].is_open);
    pump_run(p, 1000);
    assert_copied(p, 0, 1, session);
    assert_copied(p, 0, 2, session);
    pump_free(p);
}

/* HTTP+SSE: its client was told that the outcome is unknown, and the former owner may have one. */
static void test_a_successor_that_told_an_outcome_does_not_give_it_back(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, two);
    uint32_t stream = begin_single(p);
    const char *session = pump_session(p, stream);
    uint32_t owner = owner_of(p, session), other = (owner + 1) % 3;
    struct mesh_epoch former = owned_at(p, owner, session)->epoch;
    pump_post(p, owner, session, CALL("1"));
    pump_run(p, 100);
    pump_kill(p, owner);
    pump_settle(p);
    take(p, other, session);
    pump_run(p, 400);
    struct session *taken = owned_at(p, other, session);
    assert_non_null(taken);
    for (int told = 0; told < 2; told++) {
        struct rounds r = takeover_rounds(core_of(p, other), &taken->id);
        assert_int_equal(
            rounds_on_check(&r, core_self(core_of(p, other)), former, ROUNDS_LIVES).gives, !told);
        event_stream_accepted_lost(core_of(p, other), taken, false, p->now_ms);
    }
    pump_free(p);
}

static void test_a_session_that_nobody_uses_has_one_owner_soon_after_a_split(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, two);
    const char *session = begin(p);
    pump_part(p, 0, 1, true);
    pump_part(p, 0, 2, true);
    pump_run(p, 30000);
    assert_non_null(owned_at(p, 0, session)); /* both sides serve: the price of being available */
    assert_true((owned_at(p, 1, session) != NULL) != (owned_at(p, 2, session) != NULL));
    pump_part(p, 0, 1, false);
    pump_part(p, 0, 2, false);
    for (int n = 0; n < 100 && !(copy_at(p, 1, session) != NULL && copy_at(p, 2, session) != NULL);
         n++)
        pump_run(p, 100);
    assert_int_equal(owner_of(p, session), 0); /* nothing ran elsewhere */
    pump_run(p, 1000);
    assert_copied(p, 0, 1, session);
    assert_copied(p, 0, 2, session);
    pump_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_asks_for_it_while_its_owner_lives_is_vetoed),
        cmocka_unit_test(test_a_killed_owner_is_succeeded_as_soon_as_the_others_agree),
        cmocka_unit_test(test_two_takers_never_own_it_both_and_one_does_in_the_end),
        cmocka_unit_test(test_who_is_silent_is_waited_for_no_longer_than_it_may_take),
        cmocka_unit_test(test_a_taker_that_dies_holds_up_nobody),
        cmocka_unit_test(test_a_session_that_ended_is_not_taken_over),
        cmocka_unit_test(test_nobody_takes_what_another_asks_for),
        cmocka_unit_test(test_membership_s_verdict_gives_the_session_to_the_first_candidate),
        cmocka_unit_test(
            test_of_many_sessions_of_a_dead_owner_none_is_forgotten_and_all_are_copied),
        cmocka_unit_test(test_a_newcomer_among_the_candidates_holds_up_nobody),
        cmocka_unit_test(test_who_carries_on_claims_the_shard_and_is_found_by_it),
        cmocka_unit_test(test_who_stood_still_and_was_not_succeeded_answers_after_it_asked),
        cmocka_unit_test(test_holders_that_are_silent_hold_an_answer_back_half_a_second),
        cmocka_unit_test(test_who_stood_still_and_was_succeeded_says_nothing_of_what_it_ran),
        cmocka_unit_test(test_who_stood_still_says_nothing_of_a_session_that_was_ended_elsewhere),
        cmocka_unit_test(test_who_owes_an_answer_on_a_stream_that_it_loses_ends_its_session),
        cmocka_unit_test(test_a_successor_at_which_nothing_ran_gives_it_back),
        cmocka_unit_test(test_a_successor_that_told_an_outcome_does_not_give_it_back),
        cmocka_unit_test(test_a_session_that_nobody_uses_has_one_owner_soon_after_a_split),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
