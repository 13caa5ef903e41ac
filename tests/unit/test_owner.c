/* Tests of owner.h: when a genuine id may be said to belong to nothing (invariant N1). */
#include "mesh/session/owner.h"
#include "tests/unit/copies_pump.h"

#define WINDOW_MS 61000u /* so long nobody counts as silent only, or as new */

static enum owner_verdict verdict_at(struct pump *p, uint32_t node, const char *session,
                                     struct owner_found *found)
{
    struct session_id id = id_of(session);
    owner_resolve(core_of(p, node), &id, found, p->now_ms);
    return found->verdict;
}

static void search_at(struct pump *p, uint32_t node, const char *session)
{
    struct session_id id = id_of(session);
    assert_true(owner_search(core_of(p, node), &id, p->now_ms));
    pump_settle(p);
}

static void forget_copy(struct pump *p, uint32_t node, const char *session)
{
    struct session *copy = copy_at(p, node, session);
    if (copy != NULL)
        session_free(core_of(p, node), copy);
}

/* As one that yielded, and was told that its record is not wanted. */
static void forget_owned(struct pump *p, uint32_t node, const char *session)
{
    struct session *owned = owned_at(p, node, session);
    session_own(core_of(p, node), owned, false);
    session_free(core_of(p, node), owned);
}

static void test_what_was_minted_here_is_not_over_before_all_were_asked(void **state)
{
    (void)state;
    struct owner_found found;
    struct pump *p = pump_new(3, NULL);
    pump_run(p, WINDOW_MS);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    forget_owned(p, 0, session);
    assert_int_equal(verdict_at(p, 0, session, &found), OWNER_AWAY);
    copy_at(p, 1, session)->epoch = (struct mesh_epoch){2, core_self(core_of(p, 2))};
    search_at(p, 0, session);
    assert_int_equal(verdict_at(p, 0, session, &found), OWNER_THERE);
    assert_int_equal(found.epoch.counter, 2);
    /* one whose copies are of the epoch that it had here */
    const char *other = pump_session(p, pump_begin(p, 0, false));
    forget_owned(p, 0, other);
    assert_int_equal(verdict_at(p, 0, other, &found), OWNER_AWAY);
    search_at(p, 0, other);
    assert_int_equal(verdict_at(p, 0, other, &found), OWNER_ENDED);
    pump_free(p);
}

/* Its home has come back without memory; the third may have a record. */
static void test_nothing_is_unknown_while_somebody_is_only_silent(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, NULL);
    pump_run(p, WINDOW_MS);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    for (uint32_t node = 1; node < 3; node++)
        forget_copy(p, node, session);
    pump_kill(p, 2);
    pump_kill(p, 0);
    pump_start(p, 0);
    pump_join(p, 0);
    pump_run(p, 20000);
    uint32_t call = ask(p, 1, session, CALL("1"));
    pump_run(p, 11000);
    assert_false(p->clients[call].is_open);
    assert_int_equal(p->clients[call].why, MESH_OWNER_LOST);
    pump_run(p, WINDOW_MS);
    call = ask(p, 1, session, CALL("2"));
    pump_run(p, 2000);
    assert_false(p->clients[call].is_open);
    assert_int_equal(p->clients[call].why, MESH_SESSION_UNKNOWN);
    pump_free(p);
}

static void test_nobody_has_it_says_nothing_of_who_came_since(void **state)
{
    (void)state;
    struct owner_found found;
    struct pump *p = pump_new(3, NULL);
    pump_run(p, WINDOW_MS);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    for (uint32_t node = 1; node < 3; node++)
        forget_copy(p, node, session);
    forget_owned(p, 0, session);
    search_at(p, 0, session);
    assert_int_equal(verdict_at(p, 0, session, &found), OWNER_ENDED);
    owner_on_member(core_of(p, 0), MEMBER_ALIVE, MEMBER_SUSPECT);
    owner_on_member(core_of(p, 0), MEMBER_SUSPECT, MEMBER_ALIVE);
    assert_int_equal(verdict_at(p, 0, session, &found), OWNER_ENDED);
    owner_on_member(core_of(p, 0), MEMBER_DEAD, MEMBER_ALIVE);
    assert_int_equal(verdict_at(p, 0, session, &found), OWNER_AWAY);
    search_at(p, 0, session);
    assert_int_equal(verdict_at(p, 0, session, &found), OWNER_ENDED);
    pump_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_minted_here_is_not_over_before_all_were_asked),
        cmocka_unit_test(test_nothing_is_unknown_while_somebody_is_only_silent),
        cmocka_unit_test(test_nobody_has_it_says_nothing_of_who_came_since),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
