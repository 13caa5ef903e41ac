/* Tests of mesh_keys.c: when a key of the cluster seals, when one that left the file is given up,
 * what is refused, and what becomes of sessions meanwhile. Rotation among many, asleep and under
 * load: sim/scenarios/p15_*. */
#include "tests/unit/mesh_pump.h"

#include "mesh/mesh_inside.h"

static const uint8_t secrets[3][32] = {{1}, {2}, {6}};
static uint32_t ids[3];

static void one_key(struct mesh_config *config)
{
    config->keys_count = 1;
    memcpy(config->keys[0], secrets[0], 32);
}

/* Its file: key numbers 0 .. 2, "v" before one that verifies. */
static int read_file(struct pump *p, uint32_t node, const char *text)
{
    uint8_t keys[4][32], count = 0, verify_only = 0;
    for (; *text != '\0'; text++) {
        if (*text == 'v')
            verify_only = (uint8_t)(verify_only | 1u << count);
        else
            memcpy(keys[count++], secrets[*text - '0'], 32);
    }
    return mesh_set_keys(p->nodes[node].mesh, (const uint8_t(*)[32])keys, count, verify_only,
                         p->now_ms);
}

static struct mesh_key_info info_of(const struct pump *p, uint32_t node, unsigned number)
{
    struct mesh_key_info infos[MESH_KEYS_ALL], none = {.id = 0};
    size_t count = mesh_keys(p->nodes[node].mesh, infos);
    for (size_t n = 0; n < count; n++)
        if (infos[n].id == ids[number])
            return infos[n];
    return none;
}

static bool seals(const struct pump *p, uint32_t node, unsigned number)
{
    return info_of(p, node, number).seals;
}

static bool has(const struct pump *p, uint32_t node, unsigned number)
{
    return info_of(p, node, number).id != 0;
}

static unsigned number_of_id(const char *session)
{
    struct session_id id;
    assert_true(key_read(&id, slice_borrow(session, MESH_SESSION_TEXT)));
    return id.bytes[0] & 15u;
}

static enum mesh_reason ask(struct pump *p, uint32_t node, const char *session, const char *call,
                            const char *result)
{
    uint32_t before = p->ucalls_count;
    uint32_t client = pump_ask(p, node, MESH_CALL, session, call, 0);
    pump_settle(p);
    if (p->ucalls_count > before)
        pump_say(p, pump_last(p), result);
    pump_settle(p);
    assert_int_equal(p->clients[client].ends, 1);
    return p->clients[client].why;
}

static void test_a_key_seals_once_everybody_accepts_it(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, one_key);
    assert_int_equal(mesh_use_key(p->nodes[0].mesh, ids[1], p->now_ms), -ENOENT);
    assert_int_equal(read_file(p, 0, "01"), 0);
    pump_run(p, 3000);
    assert_int_equal(info_of(p, 0, 1).refusing, 2);
    assert_int_equal(mesh_use_key(p->nodes[0].mesh, ids[1], p->now_ms), -EBUSY);
    assert_int_equal(read_file(p, 1, "01"), 0);
    pump_run(p, 3000);
    assert_int_equal(info_of(p, 0, 1).refusing, 1);
    assert_int_equal(mesh_use_key(p->nodes[0].mesh, ids[1], p->now_ms), -EBUSY);
    assert_true(seals(p, 0, 0));
    assert_int_equal(read_file(p, 2, "01"), 0);
    pump_run(p, 3000);
    assert_true(seals(p, 0, 0)); /* what was refused is not kept in mind */
    assert_int_equal(mesh_use_key(p->nodes[0].mesh, ids[1], p->now_ms), 0);
    assert_true(seals(p, 0, 1));
    pump_run(p, 3000);
    assert_int_equal(p->changes[0].counts[MESH_KEY_USED], 1);
    assert_int_equal(info_of(p, 1, 1).sealing_others, 1);
    assert_true(seals(p, 1, 0));
    assert_int_equal(p->changes[0].counts[MESH_KEY_GIVEN_UP], 0); /* it is in the file */
    pump_free(p);
}

static void test_a_file_that_is_ahead_waits_for_the_others(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, one_key);
    for (uint32_t n = 0; n < 3; n++) {
        assert_true(seals(p, 0, 0));
        assert_int_equal(read_file(p, n, "1"), 0); /* the former key is not in it any more */
        pump_run(p, 3000);
        assert_true(has(p, 0, 0) || n == 2);
    }
    for (uint32_t n = 0; n < 3; n++) {
        assert_true(seals(p, n, 1));
        pump_run(p, 3000);
        assert_false(has(p, n, 0));
        assert_int_equal(p->changes[n].counts[MESH_KEY_GIVEN_UP], 1);
    }
    pump_free(p);
}

static void test_a_key_is_given_up_when_nobody_seals_with_it(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, one_key);
    for (uint32_t n = 0; n < 3; n++)
        assert_int_equal(read_file(p, n, "01"), 0);
    pump_run(p, 3000);
    assert_int_equal(read_file(p, 0, "1"), 0);
    pump_run(p, 10000);
    assert_true(seals(p, 0, 1));
    assert_int_equal(info_of(p, 0, 0).use, MESH_KEY_LEAVING);
    assert_int_equal(info_of(p, 0, 0).sealing_others, 2);
    for (uint32_t n = 1; n < 3; n++)
        assert_int_equal(mesh_use_key(p->nodes[n].mesh, ids[1], p->now_ms), 0);
    pump_run(p, 1000); /* what is on its way is sealed with it */
    assert_true(has(p, 0, 0));
    pump_run(p, 4000);
    assert_false(has(p, 0, 0));
    assert_true(has(p, 1, 0));
    pump_free(p);
}

static void test_who_is_dead_is_not_waited_for(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, one_key);
    pump_kill(p, 2);
    pump_run(p, 20000);
    for (uint32_t n = 0; n < 2; n++)
        assert_int_equal(read_file(p, n, "1"), 0);
    pump_run(p, 6000);
    for (uint32_t n = 0; n < 2; n++) {
        assert_true(seals(p, n, 1));
        assert_false(has(p, n, 0));
    }
    pump_free(p);
}

static void test_a_bad_file_changes_nothing_at_all(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, one_key), *bare = pump_new(1, NULL);
    uint8_t none[1][32] = {{0}};
    const struct mesh_member *self = mesh_self(p->nodes[0].mesh);
    uint64_t version = self->record->version;
    assert_int_equal(mesh_set_keys(p->nodes[0].mesh, (const uint8_t(*)[32])none, 0, 0, 1), -EINVAL);
    assert_int_equal(read_file(p, 0, "v0"), -EINVAL);
    assert_int_equal(read_file(p, 0, "00"), -EINVAL);
    assert_int_equal(read_file(p, 0, "0"), 0); /* nothing new in it */
    assert_true(mesh_self(p->nodes[0].mesh)->record->version == version);
    assert_true(seals(p, 0, 0));
    /* who has no key is of another cluster than who has one, and stays so */
    assert_int_equal(read_file(bare, 0, "0"), -EINVAL);
    struct mesh_key_info infos[MESH_KEYS_ALL];
    assert_int_equal(mesh_keys(bare->nodes[0].mesh, infos), 1);
    assert_int_equal(infos[0].id, 0);
    assert_int_equal(mesh_self(bare->nodes[0].mesh)->record->keys_count, 0);
    pump_free(p);
    pump_free(bare);
}

static void test_sessions_live_as_long_as_their_key_is_in_the_file(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, one_key);
    uint32_t client = pump_begin(p, 0, false);
    char old[MESH_SESSION_TEXT];
    memcpy(old, pump_session(p, client), sizeof old);
    assert_int_equal(number_of_id(old), ids[0] & 15);
    assert_int_equal(ask(p, 0, old, CALL("1"), RESULT("1")), MESH_OK); /* and is remembered */
    assert_int_equal(ask(p, 1, old, CALL("2"), RESULT("2")), MESH_OK);
    for (uint32_t n = 0; n < 2; n++)
        assert_int_equal(read_file(p, n, "1v0"), 0);
    pump_run(p, 6000);
    assert_int_equal(info_of(p, 0, 0).use, MESH_KEY_VERIFIES);
    uint32_t fresh = pump_begin(p, 1, false);
    assert_int_equal(number_of_id(pump_session(p, fresh)), ids[1] & 15);
    assert_int_equal(ask(p, 0, pump_session(p, fresh), CALL("1"), RESULT("1")), MESH_OK);
    assert_int_equal(ask(p, 0, old, CALL("3"), RESULT("3")), MESH_OK);
    assert_int_equal(ask(p, 1, old, CALL("4"), RESULT("4")), MESH_OK);
    /* the last of its key: no memory of ids outlives it */
    for (uint32_t n = 0; n < 2; n++)
        assert_int_equal(read_file(p, n, "1"), 0);
    pump_settle(p);
    assert_int_equal(ask(p, 1, old, CALL("5"), RESULT("5")), MESH_SESSION_UNKNOWN);
    assert_int_equal(ask(p, 0, pump_session(p, fresh), CALL("2"), RESULT("2")), MESH_OK);
    pump_free(p);
}

static void test_a_bound_session_is_minted_with_the_key_that_binds_it(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, one_key);
    assert_int_equal(read_file(p, 0, "01v2"), 0);
    static const struct {
        unsigned with, minted;
        bool is_bound;
    } cases[] = {{1, 1, true}, {0, 0, true}, {1, 0, false}, {2, 0, true}};
    for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        struct mesh_request r = {.want = MESH_CALL};
        r.who.hash[0] = cases[n].is_bound;
        r.who_key = ids[cases[n].with];
        uint32_t client = pump_open(p, 0, r, NULL, INITIALIZE);
        pump_settle(p);
        pump_say(p, pump_last(p), AGREED("2025-06-18"));
        pump_settle(p);
        assert_ended(p, client, MESH_OK);
        assert_int_equal(number_of_id(pump_session(p, client)), ids[cases[n].minted] & 15);
    }
    pump_free(p);
}

static void test_principals_are_hashed_with_keys_of_their_own(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, one_key), *bare = pump_new(1, NULL);
    struct mesh_key_info infos[MESH_KEYS_ALL];
    assert_int_equal(read_file(p, 0, "01"), 0);
    struct mesh_key_info a = info_of(p, 0, 0), b = info_of(p, 0, 1);
    (void)mesh_keys(bare->nodes[0].mesh, infos);
    assert_memory_not_equal(a.principal, b.principal, sizeof a.principal);
    assert_memory_not_equal(a.principal, infos[0].principal, sizeof a.principal);
    assert_memory_not_equal(a.principal[0], a.principal[1], sizeof a.principal[0]);
    assert_memory_not_equal(a.principal[0], secrets[0], sizeof a.principal[0]);
    pump_free(p);
    pump_free(bare);
}

static void test_who_accepts_another_key_only_is_spoken_to_with_that(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, one_key);
    struct mesh *m = p->nodes[0].mesh;
    struct peer_id other = mesh_self(p->nodes[1].mesh)->record->id;
    assert_int_equal(mesh_key_for(m, other)->id, ids[0]);
    for (uint32_t n = 0; n < 3; n++)
        assert_int_equal(read_file(p, n, "10"), 0);
    pump_run(p, 3000);
    assert_int_equal(mesh_key_for(m, other)->id, ids[1]);
    /* it starts anew, with yesterday's file */
    pump_kill(p, 1);
    mesh_free(p->nodes[1].mesh);
    struct mesh_config config;
    pump_config(p, 1, &config);
    one_key(&config);
    config.entropy[1]++;
    config.boot_ms += p->now_ms;
    assert_int_equal(mesh_new(&p->nodes[1].mesh, &config, p->now_ms), 0);
    p->nodes[1].is_dead = false;
    mesh_serving(p->nodes[1].mesh, true, p->now_ms);
    for (int n = 0; n < 10; n++) {
        pump_join(p, 1);
        pump_run(p, 1000);
    }
    other = mesh_self(p->nodes[1].mesh)->record->id;
    assert_non_null(mesh_member_of(m, other));
    assert_true(seals(p, 0, 1));
    assert_int_equal(mesh_key_for(m, other)->id, ids[0]);
    bool seen[2] = {false, false};
    for (int n = 0; n < 100; n++) /* a stranger: each in turn */
        seen[mesh_key_for(m, (struct peer_id){0, 0})->id == ids[1]] = true;
    assert_true(seen[0] && seen[1]);
    pump_free(p);
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    for (unsigned n = 0; n < 3; n++)
        ids[n] = seal_key_id(secrets[n]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_key_seals_once_everybody_accepts_it),
        cmocka_unit_test(test_a_file_that_is_ahead_waits_for_the_others),
        cmocka_unit_test(test_a_key_is_given_up_when_nobody_seals_with_it),
        cmocka_unit_test(test_who_is_dead_is_not_waited_for),
        cmocka_unit_test(test_a_bad_file_changes_nothing_at_all),
        cmocka_unit_test(test_sessions_live_as_long_as_their_key_is_in_the_file),
        cmocka_unit_test(test_a_bound_session_is_minted_with_the_key_that_binds_it),
        cmocka_unit_test(test_principals_are_hashed_with_keys_of_their_own),
        cmocka_unit_test(test_who_accepts_another_key_only_is_spoken_to_with_that),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
