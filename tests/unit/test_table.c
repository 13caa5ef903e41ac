/* test_table.c - the table against a plain array, and the hash that places its keys. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sodium.h>

#include "mesh/base/rng.h"
#include "mesh/base/siphash.h"
#include "mesh/base/table.h"

static const uint8_t sip_key[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static void test_siphash_gives_the_value_of_its_paper(void **state)
{
    /* Appendix A of the paper; the others open the list of vectors of its reference code. */
    static const uint64_t first[] = {0x726fdb47dd0e0e31, 0x74f839c593dc67fd, 0x0d6c8009d9a94f5a,
                                     0x85676696d7fb7e2d};
    uint8_t data[15];

    (void)state;
    for (uint8_t i = 0; i < sizeof data; i++)
        data[i] = i;
    assert_true(siphash(sip_key, data, 15) == 0xa129ca6149be45e5);
    for (size_t i = 0; i < sizeof first / sizeof *first; i++)
        assert_true(siphash(sip_key, data, i) == first[i]);
}

static void test_siphash_agrees_with_libsodium_whole_and_in_parts(void **state)
{
    uint8_t data[64], expected[crypto_shorthash_BYTES], got[8];
    struct siphash_state parts;

    (void)state;
    for (uint8_t i = 0; i < sizeof data; i++)
        data[i] = i;
    for (size_t length = 0; length <= sizeof data; length++) {
        uint64_t whole = siphash(sip_key, data, length);

        crypto_shorthash(expected, data, length, sip_key);
        for (int i = 0; i < 8; i++)
            got[i] = (uint8_t)(whole >> (8 * i));
        assert_memory_equal(got, expected, sizeof got);
        for (size_t cut = 0; cut <= length; cut++) {
            siphash_begin(&parts, sip_key);
            siphash_add(&parts, data, cut);
            siphash_add(&parts, data + cut, length - cut);
            assert_true(siphash_end(&parts) == whole);
        }
    }
}

static void test_an_empty_table_has_nothing(void **state)
{
    struct table table;

    (void)state;
    table_init(&table, 4, sip_key);
    assert_int_equal(table_count(&table), 0);
    assert_false(table_get(&table, "abcd", NULL));
    assert_false(table_remove(&table, "abcd"));
    table_deinit(&table);
    table_deinit(NULL);
}

static void test_a_key_is_put_once_and_found_until_it_is_removed(void **state)
{
    struct table table;
    uint32_t value = 99;

    (void)state;
    table_init(&table, 3, sip_key);
    assert_int_equal(table_put(&table, "abc", 7), 0);
    assert_int_equal(table_put(&table, "abd", 0), 0);
    assert_int_equal(table_put(&table, "abc", 8), -EEXIST);
    assert_int_equal(table_count(&table), 2);
    assert_true(table_get(&table, "abc", &value));
    assert_int_equal(value, 7);
    assert_true(table_get(&table, "abd", &value));
    assert_int_equal(value, 0);
    value = 99;
    assert_false(table_get(&table, "abe", &value));
    assert_int_equal(value, 99);
    assert_true(table_remove(&table, "abc"));
    assert_false(table_remove(&table, "abc"));
    assert_false(table_get(&table, "abc", NULL));
    assert_true(table_get(&table, "abd", NULL));
    assert_int_equal(table_put(&table, "abc", 9), 0);
    assert_true(table_get(&table, "abc", &value));
    assert_int_equal(value, 9);
    table_deinit(&table);
    assert_false(table_get(&table, "abc", NULL));
}

#define KEYS 3000

static void make_key(uint8_t key[31], uint32_t number)
{
    memset(key, 0x5A, 31);
    memcpy(key + 20, &number, sizeof number);
}

static void test_coming_and_going_agrees_with_an_array_and_leaves_no_tombstones(void **state)
{
    static const uint8_t seed[32] = "table";
    static bool there[KEYS];
    static uint32_t values[KEYS];
    uint32_t count = 0, capacity, value;
    struct table table;
    struct shuffle chance;
    struct rng rng;
    uint8_t key[31];

    (void)state;
    rng_init(&rng, seed);
    shuffle_init(&chance, &rng);
    table_init(&table, sizeof key, sip_key);
    for (uint32_t i = 0; i < KEYS; i++) {
        make_key(key, i);
        assert_int_equal(table_put(&table, key, i), 0);
        there[i] = true;
        values[i] = i;
        count++;
    }
    capacity = table.capacity;
    for (uint32_t turn = 0; turn < 200000; turn++) {
        uint32_t i = shuffle_below(&chance, KEYS);

        make_key(key, i);
        assert_int_equal(table_get(&table, key, &value), there[i]);
        if (there[i]) {
            assert_int_equal(value, values[i]);
            assert_true(table_remove(&table, key));
            count--;
        } else {
            values[i] = turn;
            assert_int_equal(table_put(&table, key, turn), 0);
            count++;
        }
        there[i] = !there[i];
        assert_int_equal(table_count(&table), count);
    }
    assert_int_equal(table.capacity, capacity);
    for (uint32_t i = 0; i < KEYS; i++) {
        make_key(key, i);
        assert_int_equal(table_get(&table, key, &value), there[i]);
        if (there[i])
            assert_int_equal(value, values[i]);
        assert_int_equal(table_remove(&table, key), there[i]);
    }
    assert_int_equal(table_count(&table), 0);
    table_deinit(&table);
}

/* Names of exchanges: two words that are the same for all, and a number that counts. */
static void test_numbers_that_count_are_found(void **state)
{
    enum { NAMES = 20000 };
    struct table table;
    uint32_t value = 0;

    (void)state;
    table_init_numbers(&table, 3 * sizeof(uint64_t), sip_key);
    for (uint64_t n = 0; n < NAMES; n++) {
        uint64_t name[3] = {0x1122334455667788, 1764038400000, n << 32 | n};
        assert_int_equal(table_put(&table, name, (uint32_t)n), 0);
        assert_int_equal(table_put(&table, name, 7), -EEXIST);
    }
    for (uint64_t n = 0; n < NAMES; n++) {
        uint64_t name[3] = {0x1122334455667788, 1764038400000, n << 32 | n};
        assert_true(table_get(&table, name, &value));
        assert_int_equal(value, n);
        name[1]++;
        assert_false(table_get(&table, name, NULL));
        name[1]--;
        assert_true(table_remove(&table, name));
        assert_false(table_get(&table, name, NULL));
    }
    assert_int_equal(table_count(&table), 0);
    table_deinit(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_siphash_gives_the_value_of_its_paper),
        cmocka_unit_test(test_siphash_agrees_with_libsodium_whole_and_in_parts),
        cmocka_unit_test(test_an_empty_table_has_nothing),
        cmocka_unit_test(test_a_key_is_put_once_and_found_until_it_is_removed),
        cmocka_unit_test(test_coming_and_going_agrees_with_an_array_and_leaves_no_tombstones),
        cmocka_unit_test(test_numbers_that_count_are_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
