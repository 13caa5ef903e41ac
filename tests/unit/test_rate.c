/* Tests of rate.h: a principal that sends too much is told so, and nobody else is (DESIGN §17;
 * bad-inputs.md, row A12). */
#include "mesh/session/core.h"
#include "tests/unit/streams_pump.h"

#define RATE 10u
#define BURST 20u /* --rate-burst 0 */

static void limited(struct mesh_config *config)
{
    config->rate = RATE;
}

static void limited_at_once(struct mesh_config *config)
{
    config->rate = RATE;
    config->rate_burst = 3;
}

static struct mesh_request request_of(uint8_t who, uint8_t token)
{
    struct mesh_request r = {.want = MESH_CALL, .rpc = {.kind = RPC_REQUEST}};
    r.who.hash[0] = who;
    r.token.hash[0] = token;
    return r;
}

/* How many of these pass, one behind the other. */
static uint32_t passed(struct core *core, struct mesh_request r, const struct session_id *session,
                       uint32_t count, uint64_t now_ms)
{
    uint32_t well = 0;
    for (uint32_t n = 0; n < count; n++)
        well += rate_allows(core, &r, session, now_ms);
    return well;
}

static void test_a_principal_has_its_burst_and_then_its_rate(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, limited);
    struct core *core = core_of(p, 0);
    uint64_t now_ms = p->now_ms;
    assert_int_equal(passed(core, request_of(1, 0), NULL, 100, now_ms), BURST);
    assert_int_equal(passed(core, request_of(1, 0), NULL, 100, now_ms + 99), 0);
    assert_int_equal(passed(core, request_of(1, 0), NULL, 100, now_ms + 100), 1);
    assert_int_equal(passed(core, request_of(1, 0), NULL, 100, now_ms + 600), 5);
    assert_int_equal(passed(core, request_of(1, 0), NULL, 100, now_ms + 3600000), BURST);
    pump_free(p);
}

static void test_the_burst_is_what_is_set(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, limited_at_once);
    assert_int_equal(passed(core_of(p, 0), request_of(1, 0), NULL, 100, p->now_ms), 3);
    assert_int_equal(passed(core_of(p, 0), request_of(1, 0), NULL, 100, p->now_ms + 150), 1);
    pump_free(p);
}

static void test_one_principal_takes_nothing_from_another(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, limited);
    struct core *core = core_of(p, 0);
    assert_int_equal(passed(core, request_of(1, 0), NULL, 100, p->now_ms), BURST);
    assert_int_equal(passed(core, request_of(2, 0), NULL, 100, p->now_ms), BURST);
    pump_free(p);
}

/* A JWT that is renewed is the same principal; another token without one is somebody else. */
static void test_credentials_stand_for_who_has_no_principal(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, limited);
    struct core *core = core_of(p, 0);
    assert_int_equal(passed(core, request_of(1, 7), NULL, 100, p->now_ms), BURST);
    assert_int_equal(passed(core, request_of(1, 8), NULL, 100, p->now_ms), 0);
    assert_int_equal(passed(core, request_of(0, 8), NULL, 100, p->now_ms), BURST);
    assert_int_equal(passed(core, request_of(0, 8), NULL, 100, p->now_ms), 0);
    assert_int_equal(passed(core, request_of(0, 9), NULL, 100, p->now_ms), BURST);
    pump_free(p);
}

static void test_the_anonymous_share_no_bucket_but_a_session_has_one(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, limited);
    struct core *core = core_of(p, 0);
    struct session_id a = {{0}}, b = {{0}};
    a.bytes[KEY_RANDOM_AT] = 1;
    b.bytes[KEY_RANDOM_AT + 15] = 2;
    assert_int_equal(passed(core, request_of(0, 0), NULL, 5000, p->now_ms), 5000);
    assert_int_equal(passed(core, request_of(0, 0), &a, 100, p->now_ms), BURST);
    assert_int_equal(passed(core, request_of(0, 0), &b, 100, p->now_ms), BURST);
    pump_free(p);
}

static void test_what_ends_or_answers_something_always_goes_on(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, limited);
    struct core *core = core_of(p, 0);
    struct mesh_request r = request_of(1, 0);
    assert_int_equal(passed(core, r, NULL, 100, p->now_ms), BURST);
    r.rpc.kind = RPC_RESPONSE;
    assert_int_equal(passed(core, r, NULL, 100, p->now_ms), 100);
    r.rpc.kind = RPC_ERROR;
    assert_int_equal(passed(core, r, NULL, 100, p->now_ms), 100);
    r.rpc = (struct rpc_message){.kind = RPC_NOTIFICATION, .method = RPC_CANCELLED};
    assert_int_equal(passed(core, r, NULL, 100, p->now_ms), 100);
    r.want = MESH_DELETE;
    assert_int_equal(passed(core, r, NULL, 100, p->now_ms), 100);
    r.want = MESH_LISTEN;
    r.rpc = (struct rpc_message){0};
    assert_int_equal(passed(core, r, NULL, 100, p->now_ms), 0);
    pump_free(p);
}

static void test_without_a_rate_nobody_is_counted(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, NULL);
    struct core *core = core_of(p, 0);
    assert_int_equal(passed(core, request_of(1, 1), NULL, 5000, p->now_ms), 5000);
    assert_null(newest_find(&core->rate.buckets, request_of(1, 0).who.hash));
    pump_free(p);
}

static void test_a_request_beyond_it_is_refused_and_reaches_no_upstream(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, limited_at_once);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct mesh_stats stats;
    uint32_t clients[5];
    for (uint32_t n = 0; n < 5; n++) /* at the peer that does not own it */
        clients[n] = pump_ask(p, 1, MESH_CALL, session, INITIALIZED, 0);
    pump_settle(p);
    assert_int_equal(pump_executions(p, INITIALIZED), 3);
    assert_ended(p, clients[2], MESH_OK);
    assert_ended(p, clients[3], MESH_RATE_LIMITED);
    assert_ended(p, clients[4], MESH_RATE_LIMITED);
    mesh_stats(p->nodes[1].mesh, &stats);
    assert_int_equal(stats.rate_limited, 2);
    pump_free(p);
}

static void few_unknown(struct mesh_config *config)
{
    config->unknown_rate = 5;
}

/* Whoever guesses ids; one that is another's, and one that is over, are counted like those that
 * never were, else what is refused would tell them apart. */
static void test_ids_that_are_unknown_are_told_so_at_a_rate(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, few_unknown);
    struct core *core = core_of(p, 0);
    char guess[MESH_SESSION_TEXT + 1] = {0};
    uint32_t made = pump_ask(p, 0, MESH_CALL, NULL, INITIALIZE, 1);
    pump_settle(p);
    pump_say(p, pump_last(p), RESULT("0"));
    pump_settle(p);
    const char *mine = pump_session(p, made);
    memcpy(guess, mine, MESH_SESSION_TEXT);
    guess[20] = guess[20] == 'A' ? 'B' : 'A';
    for (uint32_t n = 0; n < 5 * RATE_UNKNOWN_BURST; n++) {
        uint32_t client = pump_ask(p, 0, MESH_CALL, n % 2 == 0 ? guess : mine, CALL("1"), 2);
        pump_settle(p);
        assert_int_equal(p->clients[client].why, MESH_SESSION_UNKNOWN);
    }
    for (uint32_t n = 0; n < 2; n++) {
        uint32_t client = pump_ask(p, 0, MESH_CALL, n == 0 ? guess : mine, CALL("1"), 2);
        pump_settle(p);
        assert_ended(p, client, MESH_RATE_LIMITED);
    }
    assert_int_equal(core->stats.unknown_limited, 2);
    (void)pump_ask(p, 0, MESH_CALL, mine, CALL("2"), 1); /* whoever has it goes on */
    pump_settle(p);
    assert_string_equal(pump_last(p)->text, CALL("2"));
    pump_run(p, 1000);
    uint32_t client = pump_ask(p, 0, MESH_CALL, guess, CALL("1"), 2);
    pump_settle(p);
    assert_ended(p, client, MESH_SESSION_UNKNOWN);
    pump_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_principal_has_its_burst_and_then_its_rate),
        cmocka_unit_test(test_the_burst_is_what_is_set),
        cmocka_unit_test(test_one_principal_takes_nothing_from_another),
        cmocka_unit_test(test_credentials_stand_for_who_has_no_principal),
        cmocka_unit_test(test_the_anonymous_share_no_bucket_but_a_session_has_one),
        cmocka_unit_test(test_what_ends_or_answers_something_always_goes_on),
        cmocka_unit_test(test_without_a_rate_nobody_is_counted),
        cmocka_unit_test(test_a_request_beyond_it_is_refused_and_reaches_no_upstream),
        cmocka_unit_test(test_ids_that_are_unknown_are_told_so_at_a_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
