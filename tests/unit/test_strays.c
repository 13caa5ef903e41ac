/* Tests of strays.c: a copy that nobody speaks of is confirmed by an owner or moves on, whoever is
 * asked says something definite, and nobody but an owner has one forgotten. */
#define NODES_MAX 4
#include "mesh/session/copies_inside.h"
#include "tests/unit/copies_pump.h"

static void two(struct mesh_config *config)
{
    config->copies = 2;
}

static void one(struct mesh_config *config)
{
    config->copies = 1;
}

static struct peer_id id_at(const struct pump *p, uint32_t node)
{
    return core_self(core_of(p, node));
}

/* The one node but its owner that has no copy of it. */
static uint32_t without(const struct pump *p, const char *session)
{
    for (uint32_t n = 0; n < p->nodes_count; n++)
        if (owned_at(p, n, session) == NULL && copy_at(p, n, session) == NULL)
            return n;
    fail_msg("all have one");
    return 0;
}

/* That node gets what its owner has, and is none of its holders. */
static struct session *give(struct pump *p, const char *session, uint32_t node)
{
    struct session *owned = owned_at(p, 0, session);
    struct session *copy = session_new_copy(core_of(p, node), &owned->id, p->now_ms);
    struct bytes *record = record_write(core_of(p, 0), owned, RECORD_WHOLE, p->now_ms);
    copy->epoch = owned->epoch;
    assert_int_equal(record_read(core_of(p, node), copy, RECORD_WHOLE,
                                 slice_of(record, 0, record->length), p->now_ms),
                     0);
    copy->version = owned->version;
    bytes_unref(record);
    return copy;
}

static void lose(struct pump *p, const char *session, uint32_t node)
{
    struct session *copy = copy_at(p, node, session);
    if (copy != NULL)
        session_free(core_of(p, node), copy);
}

static void assert_owned_once(const struct pump *p, const char *session)
{
    uint32_t owners = 0;
    for (uint32_t n = 0; n < p->nodes_count; n++)
        owners += !p->nodes[n].is_dead && owned_at(p, n, session) != NULL;
    assert_int_equal(owners, 1);
}

/* ---- where its owner lives ------------------------------------------------------------------- */

static void test_where_all_are_confirmed_nobody_asks(void **state)
{
    (void)state;
    struct pump *p = pump_new(4, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    pump_run(p, 20000);
    for (uint32_t n = 0; n < 4; n++)
        if (copy_at(p, n, session) != NULL)
            assert_true(core_of(p, n)->copies.strays.at_ms == MESH_NEVER);
    assert_int_equal(copies_of(p, session), 2);
    pump_free(p);
}

static void test_a_copy_at_no_holder_is_forgotten_soon(void **state)
{
    (void)state;
    struct pump *p = pump_new(4, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    uint32_t node = without(p, session);
    strays_begin(core_of(p, node), give(p, session, node), p->now_ms);
    pump_run(p, 1000);
    assert_null(copy_at(p, node, session));
    assert_int_equal(copies_of(p, session), 2);
    pump_free(p);
}

/* Whom we granted it died: whose it was before may own it still, or know who does. */
static void test_who_was_promised_it_is_gone_and_its_owner_is_asked(void **state)
{
    (void)state;
    struct pump *p = pump_new(4, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    uint32_t node = without(p, session);
    struct session *copy = give(p, session, node);
    struct peer_id former = id_at(p, (node + 1) % 4);
    former.generation--;
    copy->promised = (struct mesh_epoch){2, former};
    strays_begin(core_of(p, node), copy, p->now_ms);
    pump_run(p, 1000);
    assert_null(copy_at(p, node, session));
    assert_int_equal(copies_of(p, session), 2);
    pump_free(p);
}

/* Whom we granted it, or whoever owns it then, need not want a copy of us, nor know that we have
 * one. */
static void test_who_granted_it_and_hears_nothing_more_asks(void **state)
{
    (void)state;
    struct pump *p = pump_new(4, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    uint32_t node = without(p, session);
    struct session *copy = give(p, session, node);
    struct wire_message take = {.kind = WIRE_TAKE, .session = copy->id, .has_session = true};
    strays_confirm(copy, p->now_ms);
    pump_run(p, 1000);
    assert_non_null(copy_at(p, node, session));
    take.epoch = (struct mesh_epoch){2, id_at(p, (node + 1) % 4)};
    take.round.other = copy->epoch;
    take.round.is_given = true; /* by its owner, it believes */
    takeover_on_message(core_of(p, node), take.epoch.owner, &take, p->now_ms);
    pump_run(p, 3000);
    assert_null(copy_at(p, node, session));
    assert_int_equal(copies_of(p, session), 2);
    pump_free(p);
}

/* In a large mesh links come and go all the time. */
static void test_who_hears_nothing_asks_though_changes_go_on(void **state)
{
    (void)state;
    struct pump *p = pump_new(4, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    uint32_t node = without(p, session);
    strays_confirm(give(p, session, node), p->now_ms);
    for (uint32_t n = 0; n < 15; n++) {
        strays_shake(core_of(p, node), p->now_ms);
        pump_run(p, 1000);
    }
    assert_null(copy_at(p, node, session));
    assert_int_equal(copies_of(p, session), 2);
    pump_free(p);
}

/* The word may be lost, and the answer: it asks until somebody says what is to become of it. */
static void test_who_is_not_answered_asks_again(void **state)
{
    (void)state;
    struct pump *p = pump_new(4, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    uint32_t node = without(p, session);
    pump_part(p, 0, node, true);
    strays_begin(core_of(p, node), give(p, session, node), p->now_ms);
    set_stuck(p, 0, node, true);
    pump_run(p, 1000);
    assert_non_null(copy_at(p, node, session));
    pump_cut(p, 0, node); /* what was asked is lost */
    pump_run(p, 300);
    assert_non_null(copy_at(p, node, session));
    pump_part(p, 0, node, false);
    pump_run(p, 5000); /* who is asked next knows whose it is: that one is asked again at once */
    assert_null(copy_at(p, node, session));
    pump_free(p);
}

/* Said by its former owner, and late: who was told to forget it knows for whom. */
static void test_what_comes_late_of_a_former_owner_is_not_taken(void **state)
{
    (void)state;
    struct pump *p = pump_new(4, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct session *owned = owned_at(p, 0, session);
    uint32_t node = without(p, session);
    struct session *copy = give(p, session, node);
    copy->epoch.owner = id_at(p, node == 1 ? 2 : 1); /* it was once */
    owned->epoch.counter = 2;
    copies_begin(core_of(p, 0), owned, p->now_ms);
    strays_begin(core_of(p, node), copy, p->now_ms);
    pump_run(p, 10000);
    assert_null(copy_at(p, node, session));
    struct bytes *record = record_write(core_of(p, 0), owned, RECORD_WHOLE, p->now_ms);
    uint32_t former = node == 1 ? 2 : 1;
    struct wire_message m = {.kind = WIRE_COPY, .session = owned->id};
    m.epoch = (struct mesh_epoch){1, id_at(p, former)};
    m.copy.version = 7;
    m.copy.parts = RECORD_WHOLE;
    m.payload = slice_of(record, 0, record->length);
    assert_true(links_tell(core_of(p, former)->links, id_at(p, node), &p->nodes[node].addr, &m,
                           p->now_ms) >= 0);
    pump_settle(p);
    assert_null(copy_at(p, node, session));
    bytes_unref(record);
    pump_free(p);
}

/* ---- where it is gone, or owns it no more ---------------------------------------------------- */

/* Who has the only copy is no candidate: it gives it to one, which carries the session on. */
static void test_the_only_copy_of_a_dead_owner_goes_to_a_candidate(void **state)
{
    (void)state;
    struct pump *p = pump_new(4, one);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    uint32_t node = 3;
    mesh_serving(p->nodes[node].mesh, false, p->now_ms); /* off the ring */
    pump_run(p, 3000);
    for (uint32_t n = 1; n < 4; n++)
        lose(p, session, n);
    struct session *copy = give(p, session, node);
    memset(copy->holders, 0, sizeof copy->holders);
    pump_kill(p, 0);
    pump_run(p, 60000);
    assert_owned_once(p, session);
    assert_null(owned_at(p, node, session));
    assert_null(copy_at(p, node, session)); /* its new owner has its own holders */
    pump_free(p);
}

/* Its record names an owner that lives and owns nothing: nobody would ever take it over. */
static void test_what_its_owner_does_not_own_is_nobodys(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct session *copy = copy_at(p, 1, session);
    copy->epoch = (struct mesh_epoch){2, id_at(p, 2)}; /* promised, and given back */
    lose(p, session, 2);
    pump_kill(p, 0);
    pump_run(p, 60000);
    assert_owned_once(p, session);
    struct session *owned =
        owned_at(p, 1, session) != NULL ? owned_at(p, 1, session) : owned_at(p, 2, session);
    assert_true(owned->epoch.counter > 2);
    pump_free(p);
}

/* Neither the owner that its record names, nor the one that this one names instead: nobody is asked
 * for ever, in turn. */
static void test_two_that_do_not_own_it_are_both_believed(void **state)
{
    (void)state;
    struct pump *p = pump_new(4, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct session_id id = id_of(session);
    for (uint32_t n = 1; n < 4; n++)
        lose(p, session, n);
    struct session *copy = give(p, session, 1);
    memset(copy->holders, 0, sizeof copy->holders);
    copy->epoch = (struct mesh_epoch){3, id_at(p, 2)};
    session_free(core_of(p, 0), owned_at(p, 0, session));
    for (uint32_t n = 0; n < 3; n++) /* the home, too: else it says that it ended */
        owner_learn(core_of(p, n), &id, (struct mesh_epoch){4, id_at(p, 3)});
    strays_begin(core_of(p, 1), copy, p->now_ms);
    pump_run(p, 5000);
    struct session *any = copy_at(p, 1, session);
    if (any == NULL)
        any = owned_at(p, 1, session);
    assert_non_null(any);
    assert_int_equal(any->given.counter, 3);
    assert_int_equal(any->given_other.counter, 4);
    pump_free(p);
}

/* What it had is not forgotten because who is named as its owner knows nothing of it. */
static void test_nobody_but_an_owner_has_a_copy_forgotten(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct session *copy = copy_at(p, 1, session);
    copy->epoch = (struct mesh_epoch){2, id_at(p, 2)};
    lose(p, session, 2);
    copies_lack(core_of(p, 1), copy, p->now_ms);
    pump_settle(p);
    assert_ptr_equal(copy_at(p, 1, session), copy);
    assert_int_equal(mesh_epoch_compare(copy->given, copy->epoch), 0);
    pump_free(p);
}

/* Who gives a session back has the only record beside its owner's, as long as no holder answers. */
static void test_who_gave_it_back_keeps_what_it_has_until_others_have_it(void **state)
{
    (void)state;
    struct pump *p = pump_new(4, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct session *owned = owned_at(p, 0, session);
    uint32_t node = without(p, session);
    strays_confirm(give(p, session, node), p->now_ms);
    for (size_t n = 0; n < COPIES_HOLDERS_MAX; n++)
        owned->holders[n].acked = 0;
    copies_dismiss(core_of(p, 0), owned, id_at(p, node), p->now_ms);
    pump_settle(p);
    assert_non_null(copy_at(p, node, session));
    pump_run(p, 15000);
    assert_null(copy_at(p, node, session));
    assert_int_equal(copies_of(p, session), 2);
    pump_free(p);
}

/* The home has passed it on: that is no end of it. */
static void test_a_home_that_passed_it_on_does_not_say_that_it_ended(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, one);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct session_id id = id_of(session);
    mesh_serving(p->nodes[1].mesh, false, p->now_ms); /* nobody sends it anything */
    pump_run(p, 3000);
    lose(p, session, 1);
    struct session *copy = give(p, session, 1);
    session_free(core_of(p, 0), owned_at(p, 0, session));
    owner_learn(core_of(p, 0), &id, (struct mesh_epoch){2, id_at(p, 2)});
    takeover_own(core_of(p, 2), copy_at(p, 2, session), (struct mesh_epoch){2, id_at(p, 2)}, true,
                 p->now_ms);
    lose(p, session, 0);
    strays_begin(core_of(p, 1), copy, p->now_ms);
    pump_run(p, 2000);
    assert_false(tombs_has(core_of(p, 1), &id, p->now_ms));
    assert_null(copy_at(p, 1, session)); /* the one that has it says what is to become of it */
    assert_owned_once(p, session);
    pump_free(p);
}

/* A copy of an epoch above its living owner's, and who owned it then is gone: one epoch at last. */
static void test_a_later_record_of_the_dead_ends_in_one_epoch_with_its_owners(void **state)
{
    (void)state;
    struct pump *p = pump_new(4, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    uint32_t node = without(p, session);
    struct session *copy = give(p, session, node);
    copy->epoch = (struct mesh_epoch){5, {id_at(p, 1).name, id_at(p, 1).generation - 1}};
    strays_begin(core_of(p, node), copy, p->now_ms);
    pump_run(p, 30000);
    assert_owned_once(p, session);
    uint64_t counter = 0;
    for (uint32_t n = 0; n < 4; n++) {
        const struct session *any =
            owned_at(p, n, session) != NULL ? owned_at(p, n, session) : copy_at(p, n, session);
        if (any == NULL)
            continue;
        assert_true(any->epoch.counter >= 5);
        assert_true(counter == 0 || counter == any->epoch.counter);
        counter = any->epoch.counter;
    }
    pump_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_where_all_are_confirmed_nobody_asks),
        cmocka_unit_test(test_a_copy_at_no_holder_is_forgotten_soon),
        cmocka_unit_test(test_who_was_promised_it_is_gone_and_its_owner_is_asked),
        cmocka_unit_test(test_who_granted_it_and_hears_nothing_more_asks),
        cmocka_unit_test(test_who_hears_nothing_asks_though_changes_go_on),
        cmocka_unit_test(test_who_is_not_answered_asks_again),
        cmocka_unit_test(test_what_comes_late_of_a_former_owner_is_not_taken),
        cmocka_unit_test(test_the_only_copy_of_a_dead_owner_goes_to_a_candidate),
        cmocka_unit_test(test_what_its_owner_does_not_own_is_nobodys),
        cmocka_unit_test(test_two_that_do_not_own_it_are_both_believed),
        cmocka_unit_test(test_nobody_but_an_owner_has_a_copy_forgotten),
        cmocka_unit_test(test_who_gave_it_back_keeps_what_it_has_until_others_have_it),
        cmocka_unit_test(test_a_home_that_passed_it_on_does_not_say_that_it_ended),
        cmocka_unit_test(test_a_later_record_of_the_dead_ends_in_one_epoch_with_its_owners),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
