/* Tests of takeover.h, tenure.h, succession.h and fence.h over real links: who owns a session after
 * its owner died, was cut off or stood still; who waits, and what is said to whom. The rules alone
 * are test_rounds.c's. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_membership_s_verdict_gives_the_session_to_the_first_candidate),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
