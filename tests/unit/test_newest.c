/* test_newest.c - the newest entries of a kind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "mesh/base/newest.h"

static const uint8_t sip_key[16] = {1, 2, 3};

static void put(struct newest *newest, uint64_t key, uint64_t value)
{
    uint64_t *at = newest_put(newest, &key);
    assert_non_null(at);
    *at = value;
}

static void assert_has(const struct newest *newest, uint64_t key, uint64_t value)
{
    const uint64_t *at = newest_find(newest, &key);
    assert_non_null(at);
    assert_int_equal(*at, value);
}

static void test_what_was_put_is_found_and_nothing_else(void **state)
{
    (void)state;
    struct newest newest;
    uint64_t none = 99;
    newest_init(&newest, sizeof(uint64_t), sizeof(uint64_t), 1000, sip_key);
    assert_null(newest_find(&newest, &none));
    for (uint64_t n = 0; n < 600; n++)
        put(&newest, 1000 + n, n);
    for (uint64_t n = 0; n < 600; n++)
        assert_has(&newest, 1000 + n, n);
    assert_null(newest_find(&newest, &none));
    newest_deinit(&newest);
}

static void test_at_its_cap_the_oldest_gives_way(void **state)
{
    (void)state;
    struct newest newest;
    newest_init(&newest, sizeof(uint64_t), sizeof(uint64_t), 300, sip_key);
    for (uint64_t n = 0; n < 1000; n++)
        put(&newest, n, n);
    for (uint64_t n = 0; n < 700; n++)
        assert_null(newest_find(&newest, &n));
    for (uint64_t n = 700; n < 1000; n++)
        assert_has(&newest, n, n);
    assert_int_equal(newest.capacity, 300);
    newest_deinit(&newest);
}

static void test_who_is_put_again_keeps_its_value_and_its_age(void **state)
{
    (void)state;
    struct newest newest;
    uint64_t first = 0;
    newest_init(&newest, sizeof(uint64_t), sizeof(uint64_t), 256, sip_key);
    for (uint64_t n = 0; n < 256; n++)
        put(&newest, n, 7 * n);
    assert_int_equal(*(uint64_t *)newest_put(&newest, &first), 0);
    put(&newest, 1, 8);
    assert_has(&newest, 1, 8);
    put(&newest, 256, 1);
    assert_null(newest_find(&newest, &first));
    newest_deinit(&newest);
}

static void test_keys_of_any_length_have_aligned_values(void **state)
{
    (void)state;
    for (uint32_t length = 1; length < 40; length++) {
        struct newest newest;
        uint8_t key[40] = {0};
        newest_init(&newest, length, 3 * sizeof(uint64_t), 16, sip_key);
        for (uint8_t n = 0; n < 16; n++) {
            key[length - 1] = n;
            uint64_t *value = newest_put(&newest, key);
            assert_int_equal((uintptr_t)value % sizeof(uint64_t), 0);
            assert_int_equal(value[0] | value[1] | value[2], 0);
            value[0] = value[1] = value[2] = UINT64_MAX - n;
        }
        for (uint8_t n = 0; n < 16; n++) {
            key[length - 1] = n;
            const uint64_t *value = newest_find(&newest, key);
            assert_true(value[0] == UINT64_MAX - n && value[2] == UINT64_MAX - n);
        }
        newest_deinit(&newest);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_was_put_is_found_and_nothing_else),
        cmocka_unit_test(test_at_its_cap_the_oldest_gives_way),
        cmocka_unit_test(test_who_is_put_again_keeps_its_value_and_its_age),
        cmocka_unit_test(test_keys_of_any_length_have_aligned_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
