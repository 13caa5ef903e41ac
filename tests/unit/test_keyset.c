/* Tests of keyset.h: what a key file that is written anew makes of the keys that are there. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "mesh/wire/keyset.h"

/* Numbered keys no two of which share the low 4 bits of their ids. */
static uint8_t secrets[10][32];

static void find_keys(void)
{
    unsigned seen = 0;
    for (uint8_t n = 1, found = 0; found < 10; n++) {
        memset(secrets[found], n, 32);
        unsigned bit = 1u << (seal_key_id(secrets[found]) & 15);
        found = (uint8_t)(found + !(seen & bit));
        seen |= bit;
    }
}

/* A file: key numbers, "v" before those that verify. */
static int read_file(struct keyset *set, const char *text, bool is_first)
{
    uint8_t keys[9][32], count = 0, verify_only = 0;
    for (; *text != '\0'; text++) {
        if (*text == 'v')
            verify_only = (uint8_t)(verify_only | 1u << count);
        else
            memcpy(keys[count++], secrets[*text - '0'], 32);
    }
    const uint8_t(*all)[32] = (const uint8_t(*)[32])keys;
    return is_first ? keyset_init(set, all, count, verify_only)
                    : keyset_read(set, all, count, verify_only);
}

static uint8_t at(const struct keyset *set, unsigned number)
{
    return keyset_find(set, seal_key_id(secrets[number]));
}

static bool accepts(const struct keyset *set, unsigned number)
{
    return at(set, number) < SEAL_KEYS_MAX && keyset_accepts(set, at(set, number));
}

static void test_the_first_key_in_use_seals(void **state)
{
    (void)state;
    struct keyset set;
    assert_int_equal(read_file(&set, "v012", true), 0);
    assert_int_equal(set.count, 3);
    assert_int_equal(set.sealing, 1);
    assert_int_equal(set.wanted, 1);
    assert_false(accepts(&set, 0));
    assert_true(accepts(&set, 1));
    assert_true(accepts(&set, 2));
    assert_int_equal(at(&set, 3), SEAL_KEYS_MAX);
}

static void test_a_bad_file_changes_nothing(void **state)
{
    (void)state;
    struct keyset set, was;
    assert_int_equal(read_file(&set, "01", true), 0);
    was = set;
    static const char *const bad[] = {"", "v0", "v0v1", "00", "01234"};
    for (size_t n = 0; n < sizeof bad / sizeof bad[0]; n++) {
        assert_int_equal(read_file(&set, bad[n], false), -EINVAL);
        assert_memory_equal(&set, &was, sizeof set);
    }
}

static void test_the_key_that_seals_goes_on_whatever_the_file_says(void **state)
{
    (void)state;
    struct keyset set;
    assert_int_equal(read_file(&set, "01", true), 0);
    assert_int_equal(read_file(&set, "10", false), 0); /* another one is wanted */
    assert_int_equal(set.sealing, at(&set, 0));
    assert_int_equal(set.wanted, at(&set, 1));
    assert_int_equal(read_file(&set, "1v0", false), 0); /* it is to do no more than verify */
    assert_int_equal(set.sealing, at(&set, 0));
    assert_true(accepts(&set, 0));
    assert_int_equal(read_file(&set, "2", false), 0); /* nor that, and nor is the other there */
    assert_int_equal(set.sealing, at(&set, 0));
    assert_int_equal(set.wanted, at(&set, 2));
    assert_true(accepts(&set, 0) && accepts(&set, 1) && accepts(&set, 2));
}

static void test_one_that_left_is_given_up_and_may_come_back(void **state)
{
    (void)state;
    struct keyset set;
    assert_int_equal(read_file(&set, "012", true), 0);
    assert_int_equal(read_file(&set, "2v1", false), 0);
    assert_true(accepts(&set, 1));
    keyset_give_up(&set, at(&set, 1)); /* the file has it still, as one that verifies */
    assert_false(accepts(&set, 1));
    assert_true(set.keys[at(&set, 1)].verifies);
    assert_int_equal(read_file(&set, "2", false), 0);
    assert_int_equal(at(&set, 1), SEAL_KEYS_MAX); /* it did nothing any more: it goes at once */
    assert_int_equal(set.count, 2);
    set.sealing = set.wanted;
    keyset_give_up(&set, at(&set, 0));
    assert_int_equal(set.count, 1);
    assert_int_equal(read_file(&set, "02", false), 0);
    assert_true(accepts(&set, 0));
    assert_false(set.keys[at(&set, 0)].is_leaving);
    assert_int_equal(set.sealing, at(&set, 2));
}

static void test_what_seals_stays_the_same_when_others_go(void **state)
{
    (void)state;
    struct keyset set;
    assert_int_equal(read_file(&set, "0123", true), 0);
    assert_int_equal(read_file(&set, "3", false), 0);
    assert_int_equal(set.count, 4);
    set.sealing = at(&set, 2);
    keyset_give_up(&set, at(&set, 0));
    keyset_give_up(&set, at(&set, 1));
    assert_int_equal(set.sealing, at(&set, 2));
    assert_int_equal(set.wanted, at(&set, 3));
    assert_int_equal(set.count, 2);
}

static void test_no_room_beside_those_that_are_leaving_is_busy(void **state)
{
    (void)state;
    struct keyset set, was;
    uint8_t twin[2][32];
    assert_int_equal(read_file(&set, "0123", true), 0);
    assert_int_equal(read_file(&set, "4567", false), 0);
    was = set;
    assert_int_equal(read_file(&set, "8", false), -EBUSY);
    assert_memory_equal(&set, &was, sizeof set);
    assert_int_equal(read_file(&set, "4567", false), 0); /* these are there */

    assert_int_equal(read_file(&set, "0", true), 0);
    memset(twin, 0, sizeof twin);
    do
        twin[0][31]++;
    while (((seal_key_id(twin[0]) ^ seal_key_id(secrets[0])) & 15) != 0);
    assert_int_equal(keyset_read(&set, (const uint8_t(*)[32])twin, 1, 0), -EBUSY);
    assert_true(accepts(&set, 0));
}

static void test_rings_get_what_is_leaving_as_in_use(void **state)
{
    (void)state;
    struct keyset set;
    uint8_t all[SEAL_KEYS_MAX][SEAL_KEY_BYTES];
    assert_int_equal(read_file(&set, "0v12", true), 0);
    assert_int_equal(read_file(&set, "2v0v1", false), 0);
    uint8_t mask = keyset_secrets(&set, all);
    assert_int_equal(mask, 1 << at(&set, 1));
    for (unsigned n = 0; n < 3; n++)
        assert_memory_equal(all[at(&set, n)], secrets[n], 32);
    keyset_deinit(&set);
    keyset_deinit(NULL);
    static const struct keyset none;
    assert_memory_equal(&set, &none, sizeof set);
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    find_keys();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_key_in_use_seals),
        cmocka_unit_test(test_a_bad_file_changes_nothing),
        cmocka_unit_test(test_the_key_that_seals_goes_on_whatever_the_file_says),
        cmocka_unit_test(test_one_that_left_is_given_up_and_may_come_back),
        cmocka_unit_test(test_what_seals_stays_the_same_when_others_go),
        cmocka_unit_test(test_no_room_beside_those_that_are_leaving_is_busy),
        cmocka_unit_test(test_rings_get_what_is_leaving_as_in_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
