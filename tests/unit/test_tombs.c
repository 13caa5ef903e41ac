/* Tests of tombs.h: the end of a session is known to its candidates, so that a 404 stays definite
 * when its owner dies (invariant N1), and nobody ends what is another's. */
#include "mesh/session/tombs.h"
#include "mesh/session/core.h"
#include "tests/unit/copies_pump.h"

#define IDLE_MS 5000u

static void short_lived(struct mesh_config *config)
{
    config->upstream = MESH_UP_STDIO;
    config->session_idle_ms = IDLE_MS;
}

static uint32_t ends_known(const struct core *core)
{
    return table_count(&core->tombs.ends.slots);
}

static void end(struct pump *p, uint32_t node, const char *session)
{
    uint32_t client = pump_ask(p, node, MESH_DELETE, session, "", 0);
    pump_settle(p);
    assert_ended(p, client, MESH_OK);
}

static void forget(struct core *core, struct session *copy)
{
    if (copy != NULL)
        session_free(core, copy);
}

/* ---- told, and known ------------------------------------------------------------------------- */

static void test_a_deleted_session_is_unknown_at_once_when_its_owner_is_dead(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    end(p, 1, session);
    pump_kill(p, 0);
    pump_settle(p); /* no time goes by: nobody knows yet that it died */
    for (uint32_t node = 1; node < 3; node++) {
        assert_ended(p, ask(p, node, session, CALL("1")), MESH_SESSION_UNKNOWN);
        assert_ended(p, hold(p, node, session), MESH_SESSION_UNKNOWN);
    }
    pump_free(p);
}

/* On the other side of a split it may have gone on: all are asked, of whom one is dead. */
static void
test_an_expired_session_is_unknown_once_all_were_asked_when_its_owner_is_dead(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, short_lived);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    pump_run(p, IDLE_MS + 1);
    assert_quiet(p, 0);
    pump_kill(p, 0);
    for (uint32_t node = 1; node < 3; node++) {
        uint32_t client = ask(p, node, session, CALL("1"));
        pump_run(p, OWNER_SEARCH_MS + 1);
        assert_ended(p, client, MESH_SESSION_UNKNOWN);
    }
    pump_free(p);
}

static void
test_a_peer_that_leaves_ends_what_nobody_takes_at_its_upstream_and_everywhere(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, without_copies);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    const char *other = pump_session(p, pump_begin(p, 1, false));
    mesh_leave(p->nodes[0].mesh, p->now_ms, p->now_ms + 20000, p->now_ms);
    pump_run(p, 3000);
    assert_int_equal(p->changes[0].counts[MESH_LEFT_MESH], 1);
    assert_int_equal(p->changes[0].counts[MESH_SESSION_CLOSED], 1);
    assert_false(p->ups[0].is_open);
    assert_true(p->ups[1].is_open);
    pump_kill(p, 0);
    for (uint32_t node = 1; node < 3; node++) {
        assert_ended(p, ask(p, node, session, CALL("1")), MESH_SESSION_UNKNOWN);
        assert_true(p->clients[ask(p, node, other, node == 1 ? CALL("1") : CALL("2"))].is_open);
    }
    pump_free(p);
}

/* Without a tomb the death of its owner leaves it open whether the session may come back. */
static void test_a_session_that_lived_when_its_owner_died_is_not_said_to_have_ended(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    pump_kill(p, 0);
    uint32_t call = ask(p, 1, session, CALL("1"));
    pump_run(p, 15000);
    assert_false(p->clients[call].is_open);
    assert_int_not_equal(p->clients[call].why, MESH_SESSION_UNKNOWN);
    pump_free(p);
}

static void test_an_initialize_that_failed_is_no_end_to_tell(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    ask(p, 0, NULL, INITIALIZE);
    pump_say(p, pump_last(p), FAULT("0"));
    pump_settle(p);
    assert_int_equal(ends_known(core_of(p, 1)), 0);
    pump_free(p);
}

/* ---- told again ------------------------------------------------------------------------------ */

static uint32_t still_to_tell(const struct core *core)
{
    return pool_count(&core->tombs.told);
}

static void test_who_says_that_it_knows_is_not_told_again(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    end(p, 1, session);
    assert_int_equal(ends_known(core_of(p, 1)), 1);
    assert_int_equal(still_to_tell(core_of(p, 0)), 0);
    assert_int_equal(tombs_deadline_ms(core_of(p, 0)), MESH_NEVER);
    pump_free(p);
}

static void test_an_end_that_a_link_lost_is_told_again(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    set_stuck(p, 0, 1, true);
    end(p, 0, session);
    assert_int_equal(still_to_tell(core_of(p, 0)), 1);
    pump_cut(p, 0, 1); /* with the word in it */
    pump_settle(p);
    assert_non_null(copy_at(p, 1, session));
    pump_run(p, TOMBS_AGAIN_MS);
    assert_null(copy_at(p, 1, session));
    assert_int_equal(ends_known(core_of(p, 1)), 1);
    assert_int_equal(still_to_tell(core_of(p, 0)), 0);
    pump_free(p);
}

static void test_who_is_told_of_an_end_tells_who_has_a_copy(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    set_stuck(p, 0, 1, true); /* and its owner may be gone before it tells again */
    end(p, 0, session);
    pump_settle(p);
    assert_null(copy_at(p, 1, session));
    assert_int_equal(ends_known(core_of(p, 1)), 1);
    pump_free(p);
}

static void test_whom_the_teller_does_not_reach_hears_of_an_end_from_others(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    forget(core_of(p, 2), copy_at(p, 2, session)); /* who has one tells at once */
    set_stuck(p, 0, 1, true);
    end(p, 2, session);
    pump_run(p, TOMBS_AGAIN_MS - 100);
    assert_int_equal(ends_known(core_of(p, 1)), 0);
    pump_run(p, 200);
    assert_null(copy_at(p, 1, session));
    assert_int_equal(ends_known(core_of(p, 1)), 1);
    assert_int_equal(still_to_tell(core_of(p, 2)), 0);
    pump_free(p);
}

static void test_who_was_cut_off_hears_of_an_end_once_it_is_back(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    for (uint32_t node = 0; node < 3; node++)
        if (node != 1) {
            pump_part(p, node, 1, true);
            pump_cut(p, node, 1);
        }
    end(p, 2, session);
    pump_run(p, 15000);
    assert_int_equal(ends_known(core_of(p, 1)), 0);
    for (uint32_t node = 0; node < 3; node++)
        if (node != 1)
            pump_part(p, node, 1, false);
    pump_run(p, 20000);
    assert_null(copy_at(p, 1, session));
    assert_null(owned_at(p, 1, session)); /* it had taken it over, and ends it */
    assert_int_equal(ends_known(core_of(p, 1)), 1);
    pump_run(p, 2 * TOMBS_AGAIN_LAST_MS);
    assert_int_equal(still_to_tell(core_of(p, 0)), 0);
    pump_free(p);
}

static void test_a_minute_of_telling_is_enough(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    pump_kill(p, 1);
    end(p, 2, session);
    assert_int_equal(still_to_tell(core_of(p, 0)), 1);
    pump_run(p, 2 * TOMBS_AGAIN_LAST_MS);
    assert_int_equal(still_to_tell(core_of(p, 0)), 0);
    pump_free(p);
}

/* ---- the table ------------------------------------------------------------------------------- */

static struct core *table_new(void)
{
    struct core *core = calloc(1, sizeof *core);
    assert_non_null(core);
    core->config.session_idle_ms = IDLE_MS;
    sessions_init(core);
    assert_int_equal(owner_init(core), 0);
    assert_int_equal(takeover_init(core), 0);
    tombs_init(core);
    return core;
}

static void table_free(struct core *core)
{
    tombs_deinit(core);
    takeover_deinit(core);
    owner_deinit(core);
    sessions_deinit(core);
    free(core);
}

static struct session_id number_id(uint32_t number)
{
    struct session_id id = {{0}};
    memcpy(id.bytes + 8, &number, sizeof number);
    return id;
}

static struct mesh_epoch epoch_of(uint64_t counter)
{
    return (struct mesh_epoch){counter, {7, 1}};
}

static void test_an_end_is_known_for_as_long_as_the_session_might_have_lived(void **state)
{
    (void)state;
    struct core *core = table_new();
    struct session_id id = number_id(1), other = number_id(2);
    assert_false(tombs_has(core, &id, 100));
    tombs_add(core, &id, epoch_of(1), false, 100);
    assert_true(tombs_has(core, &id, 100 + IDLE_MS - 1));
    assert_false(tombs_has(core, &id, 100 + IDLE_MS));
    assert_false(tombs_has(core, &other, 100));
    tombs_add(core, &id, epoch_of(1), false,
              2000); /* told twice: once in the table, from the later time */
    assert_true(tombs_has(core, &id, 2000 + IDLE_MS - 1));
    assert_int_equal(ends_known(core), 1);
    table_free(core);
}

static void test_the_oldest_end_gives_way(void **state)
{
    (void)state;
    struct core *core = table_new();
    for (uint32_t n = 0; n < TOMBS_MAX + 10; n++) {
        struct session_id id = number_id(n);
        tombs_add(core, &id, epoch_of(1), false, 0);
    }
    assert_int_equal(ends_known(core), TOMBS_MAX);
    for (uint32_t n = 0; n < TOMBS_MAX + 10; n++) {
        struct session_id id = number_id(n);
        assert_int_equal(tombs_has(core, &id, 1), n >= 10);
    }
    table_free(core);
}

static void test_an_end_is_one_of_its_epoch_unless_the_client_wished_it(void **state)
{
    (void)state;
    struct core *core = table_new();
    struct session_id id = number_id(1);
    assert_false(tombs_ends(core, &id, epoch_of(0), 100));
    tombs_add(core, &id, epoch_of(3), false, 100);
    assert_true(tombs_ends(core, &id, epoch_of(0), 100)); /* who knows of no epoch */
    assert_true(tombs_ends(core, &id, epoch_of(3), 100));
    assert_false(tombs_ends(core, &id, epoch_of(4), 100));
    assert_true(tombs_ends(core, &id, (struct mesh_epoch){3, {6, 1}}, 100)); /* of a rival below, */
    assert_false(tombs_ends(core, &id, (struct mesh_epoch){3, {8, 1}}, 100)); /* and one above it */
    tombs_add(core, &id, epoch_of(2), true, 100);
    assert_true(tombs_ends(core, &id, epoch_of(4), 100));
    assert_false(tombs_ends(core, &id, epoch_of(4), 100 + IDLE_MS));
    tombs_forget(core, &id);
    assert_true(tombs_has(core, &id, 100)); /* nobody goes on against the wish */
    id = number_id(2);
    tombs_add(core, &id, epoch_of(3), false, 100);
    tombs_forget(core, &id);
    assert_false(tombs_has(core, &id, 100));
    table_free(core);
}

/* Its owner in epoch 3 left, cut off from who asked for the next one, and said that it ended it. */
static void test_an_end_is_none_for_who_promised_a_later_epoch(void **state)
{
    (void)state;
    struct core *core = table_new();
    struct session_id id = number_id(1);
    struct rounds r = {.promised = {4, {7, 7}}, .tried = 4};
    tombs_add(core, &id, epoch_of(3), false, 100);
    assert_true(tombs_ends(core, &id, epoch_of(0), 100));
    takeover_note(core, &id, &r);
    assert_false(tombs_ends(core, &id, epoch_of(0), 100));
    r.promised.counter = 0; /* given back */
    takeover_note(core, &id, &r);
    assert_true(tombs_ends(core, &id, epoch_of(0), 100));
    tombs_add(core, &id, epoch_of(3), true, 100);
    r.promised.counter = 4;
    takeover_note(core, &id, &r);
    assert_true(tombs_ends(core, &id, epoch_of(0), 100));
    table_free(core);
}

static void test_an_end_is_sure_once_all_were_asked_who_came_or_the_client_wished_it(void **state)
{
    (void)state;
    struct core *core = table_new();
    struct session_id id = number_id(1);
    tombs_add(core, &id, epoch_of(3), false, 100); /* who told us may have known less than we do */
    assert_false(tombs_is_sure(core, &id, 100));
    tombs_confirm(core, &id, core->owner.came, 100);
    assert_true(tombs_is_sure(core, &id, 100));
    tombs_add(core, &id, epoch_of(3), false, 100); /* said again: that is nothing new */
    assert_true(tombs_is_sure(core, &id, 100));
    core->owner.came++; /* it may own it in a later epoch */
    assert_false(tombs_is_sure(core, &id, 100));
    tombs_confirm(core, &id, core->owner.came, 100);
    tombs_add(core, &id, epoch_of(4), false, 100);
    assert_false(tombs_is_sure(core, &id, 100));
    tombs_add(core, &id, epoch_of(4), true, 100);
    assert_true(tombs_is_sure(core, &id, 100));
    table_free(core);
}

/* ---- who may say so -------------------------------------------------------------------------- */

static struct session_id id_read(const char *session)
{
    struct session_id id;
    assert_true(key_read(&id, slice_borrow(session, MESH_SESSION_TEXT)));
    return id;
}

static void test_nobody_ends_a_session_that_we_own(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct core *owner = core_of(p, 0);
    struct core *stranger = core_of(p, 1);
    struct wire_message said = {.kind = WIRE_ENDED, .session = id_read(session)};
    said.has_session = true;
    for (int n = 0; n < 2; n++) {
        assert_true(links_tell(stranger->links, core_self(owner), &p->nodes[0].addr, &said,
                               p->now_ms) >= 0);
        pump_run(p, 100);
        said.kind = WIRE_FOUND; /* an answer to what was not asked */
        said.is_ended = true;
    }
    assert_int_equal(ends_known(owner), 0);
    uint32_t call = ask(p, 0, session, CALL("1"));
    pump_say(p, pump_last(p), RESULT("1"));
    pump_settle(p);
    assert_ended(p, call, MESH_OK);
    pump_free(p);
}

/* After a split: the other side had it in later epochs, and ended it there. */
static void test_an_owner_goes_on_above_an_epoch_that_ended(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct core *stranger = core_of(p, 1);
    struct wire_message said = {.kind = WIRE_ENDED, .session = id_of(session)};
    said.has_session = true;
    said.epoch = (struct mesh_epoch){4, core_self(stranger)};
    forget(stranger, copy_at(p, 1, session));
    tombs_add(stranger, &said.session, said.epoch, false, p->now_ms);
    assert_true(links_tell(stranger->links, core_self(core_of(p, 0)), &p->nodes[0].addr, &said,
                           p->now_ms) >= 0);
    pump_run(p, 3000);
    assert_non_null(owned_at(p, 0, session));
    assert_true(owned_at(p, 0, session)->epoch.counter > 4);
    assert_int_equal(copies_of(p, session), 2); /* who knew of the end as well */
    pump_free(p);
}

static void test_who_ended_it_and_hears_that_it_lives_is_not_sure_any_more(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct session_id id = id_of(session);
    struct core *stranger = core_of(p, 1);
    struct session *its = copy_at(p, 1, session);
    its->epoch = (struct mesh_epoch){4, core_self(stranger)};
    tombs_tell(stranger, its, p->now_ms);
    forget(stranger, its);
    struct wire_message found = {.kind = WIRE_FOUND, .session = id, .is_ended = true};
    tombs_on_found(stranger, core_self(core_of(p, 2)), &found);
    assert_true(tombs_is_sure(stranger, &id, p->now_ms));
    found.is_ended = false;
    tombs_on_found(stranger, core_self(core_of(p, 0)), &found);
    assert_true(tombs_has(stranger, &id, p->now_ms));
    assert_false(tombs_is_sure(stranger, &id, p->now_ms));
    pump_free(p);
}

/* Whatever it has in mind with it. */
static void test_who_speaks_of_a_deleted_session_is_told(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct wire_message said = {.kind = WIRE_COPY, .session = id_of(session)}; /* forget it */
    said.has_session = true;
    said.epoch = (struct mesh_epoch){1, core_self(core_of(p, 0))};
    forget(core_of(p, 1), copy_at(p, 1, session));
    tombs_add(core_of(p, 1), &said.session, said.epoch, true, p->now_ms);
    assert_true(links_tell(core_of(p, 0)->links, core_self(core_of(p, 1)), &p->nodes[1].addr, &said,
                           p->now_ms) >= 0);
    pump_run(p, 100);
    assert_null(owned_at(p, 0, session));
    assert_int_equal(copies_of(p, session), 0);
    pump_free(p);
}

/* Who took it over did not reach the home, which lives, and may die before it does. */
static void test_an_end_is_told_to_the_home_in_place_of_who_died(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct core *taker = core_of(p, 1);
    struct wire_message said = {.kind = WIRE_ENDED, .session = id_of(session)};
    said.has_session = said.is_ended = true;
    said.epoch = (struct mesh_epoch){2, core_self(taker)};
    forget(core_of(p, 2), copy_at(p, 2, session));
    tombs_on_ended(core_of(p, 2), core_self(taker), &said, p->now_ms);
    pump_run(p, 2 * TOMBS_AGAIN_MS);
    assert_non_null(owned_at(p, 0, session)); /* that is for who told us */
    pump_kill(p, 1);
    pump_run(p, TOMBS_AGAIN_LAST_MS);
    assert_null(owned_at(p, 0, session));
    assert_int_equal(copies_of(p, session), 0);
    assert_int_equal(still_to_tell(core_of(p, 2)), 0);
    pump_free(p);
}

static void test_an_end_under_an_id_that_is_none_of_ours_is_not_noted(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, NULL);
    struct core *core = core_of(p, 0);
    struct wire_message said = {.kind = WIRE_ENDED, .has_session = true};
    said.session = id_read(pump_session(p, pump_begin(p, 0, false)));
    said.session.bytes[12] ^= 1; /* another one, and the tag does not fit it */
    tombs_on_ended(core, core_self(core), &said, p->now_ms);
    assert_int_equal(ends_known(core), 0);
    pump_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_deleted_session_is_unknown_at_once_when_its_owner_is_dead),
        cmocka_unit_test(
            test_an_expired_session_is_unknown_once_all_were_asked_when_its_owner_is_dead),
        cmocka_unit_test(
            test_a_peer_that_leaves_ends_what_nobody_takes_at_its_upstream_and_everywhere),
        cmocka_unit_test(test_a_session_that_lived_when_its_owner_died_is_not_said_to_have_ended),
        cmocka_unit_test(test_an_initialize_that_failed_is_no_end_to_tell),
        cmocka_unit_test(test_who_says_that_it_knows_is_not_told_again),
        cmocka_unit_test(test_an_end_that_a_link_lost_is_told_again),
        cmocka_unit_test(test_who_is_told_of_an_end_tells_who_has_a_copy),
        cmocka_unit_test(test_whom_the_teller_does_not_reach_hears_of_an_end_from_others),
        cmocka_unit_test(test_who_was_cut_off_hears_of_an_end_once_it_is_back),
        cmocka_unit_test(test_a_minute_of_telling_is_enough),
        cmocka_unit_test(test_an_end_is_known_for_as_long_as_the_session_might_have_lived),
        cmocka_unit_test(test_the_oldest_end_gives_way),
        cmocka_unit_test(test_an_end_is_one_of_its_epoch_unless_the_client_wished_it),
        cmocka_unit_test(test_an_end_is_none_for_who_promised_a_later_epoch),
        cmocka_unit_test(test_an_end_is_sure_once_all_were_asked_who_came_or_the_client_wished_it),
        cmocka_unit_test(test_nobody_ends_a_session_that_we_own),
        cmocka_unit_test(test_an_owner_goes_on_above_an_epoch_that_ended),
        cmocka_unit_test(test_who_ended_it_and_hears_that_it_lives_is_not_sure_any_more),
        cmocka_unit_test(test_who_speaks_of_a_deleted_session_is_told),
        cmocka_unit_test(test_an_end_is_told_to_the_home_in_place_of_who_died),
        cmocka_unit_test(test_an_end_under_an_id_that_is_none_of_ours_is_not_noted),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
