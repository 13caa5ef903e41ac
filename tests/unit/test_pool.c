/* test_pool.c - slots, generations, and objects that stay where they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "mesh/base/pool.h"

struct thing {
    uint64_t number;
    uint8_t rest[93]; /* an odd size */
};

static void test_a_taken_object_is_zeroed_and_found_by_its_handle(void **state)
{
    struct handle h = {9, 9}, nobody = {0, 0}, beyond = {1, 1};
    struct pool pool;
    struct thing *thing;

    (void)state;
    pool_init(&pool, sizeof(struct thing), 10);
    assert_null(pool_at(&pool, nobody));
    thing = pool_take(&pool, &h);
    assert_non_null(thing);
    assert_int_equal(h.slot, 0);
    assert_int_not_equal(h.generation, 0);
    assert_int_equal(thing->number, 0);
    memset(thing, 0xFF, sizeof *thing);
    assert_ptr_equal(pool_at(&pool, h), thing);
    assert_null(pool_at(&pool, nobody));
    assert_null(pool_at(&pool, beyond));
    pool_give(&pool, h);
    assert_null(pool_at(&pool, h));
    h.generation++; /* what it will be called next */
    assert_null(pool_at(&pool, h));
    assert_ptr_equal(pool_take(&pool, &h), thing);
    for (size_t i = 0; i < sizeof thing->rest; i++)
        assert_int_equal(thing->rest[i], 0);
    pool_deinit(&pool);
    pool_deinit(NULL);
}

static void test_a_stale_handle_finds_nothing_when_its_slot_is_in_use_again(void **state)
{
    struct handle old, new;
    struct pool pool;

    (void)state;
    pool_init(&pool, sizeof(struct thing), 10);
    assert_non_null(pool_take(&pool, &old));
    pool_give(&pool, old);
    assert_non_null(pool_take(&pool, &new));
    assert_int_equal(new.slot, old.slot);
    assert_int_not_equal(new.generation, old.generation);
    assert_null(pool_at(&pool, old));
    assert_non_null(pool_at(&pool, new));
    pool_deinit(&pool);
}

static void test_a_full_pool_says_no_and_slots_come_back_last_first(void **state)
{
    struct handle h[5], none = {7, 7};
    struct pool pool;

    (void)state;
    pool_init(&pool, 1, 5);
    for (uint32_t i = 0; i < 5; i++) {
        assert_non_null(pool_take(&pool, &h[i]));
        assert_int_equal(h[i].slot, i);
    }
    assert_null(pool_take(&pool, &none));
    assert_int_equal(none.slot, 7);
    assert_int_equal(pool_count(&pool), 5);
    pool_give(&pool, h[1]);
    pool_give(&pool, h[3]);
    assert_int_equal(pool_count(&pool), 3);
    assert_non_null(pool_take(&pool, &none));
    assert_int_equal(none.slot, 3);
    assert_non_null(pool_take(&pool, &none));
    assert_int_equal(none.slot, 1);
    assert_null(pool_take(&pool, &none));
    pool_deinit(&pool);
}

static void test_objects_stay_apart_and_in_place_over_many_slabs(void **state)
{
    enum { MAX = 5000 };
    static struct thing *things[MAX];
    static struct handle handles[MAX];
    struct pool pool;

    (void)state;
    pool_init(&pool, sizeof(struct thing), MAX);
    for (uint32_t i = 0; i < MAX; i++) {
        things[i] = pool_take(&pool, &handles[i]);
        assert_non_null(things[i]);
        assert_int_equal((uintptr_t)things[i] % _Alignof(max_align_t), 0);
        memset(things[i], (int)i, sizeof *things[i]);
        things[i]->number = i;
    }
    assert_true(pool.slabs_count > 1);
    for (uint32_t i = 0; i < MAX; i++) {
        assert_ptr_equal(pool_at(&pool, handles[i]), things[i]);
        assert_int_equal(things[i]->number, i);
        assert_int_equal(things[i]->rest[92], (uint8_t)i);
    }
    pool_deinit(&pool);
}

static void test_listing_goes_in_slot_order_over_what_is_taken(void **state)
{
    struct handle h[4], found;
    struct pool pool;

    (void)state;
    pool_init(&pool, sizeof(struct thing), 100);
    for (int i = 0; i < 4; i++)
        assert_non_null(pool_take(&pool, &h[i]));
    pool_give(&pool, h[2]);
    assert_int_equal(pool_span(&pool), 4);
    for (uint32_t i = 0; i < pool_span(&pool); i++) {
        void *object = pool_slot(&pool, i, &found);

        assert_int_equal(object != NULL, i != 2);
        assert_ptr_equal(pool_slot(&pool, i, NULL), object);
        if (object != NULL) {
            assert_true(handle_equal(found, h[i]));
            assert_ptr_equal(object, pool_at(&pool, found));
        }
    }
    assert_null(pool_slot(&pool, 4, NULL));
    assert_null(pool_slot(&pool, UINT32_MAX, NULL));
    pool_deinit(&pool);
    assert_int_equal(pool_span(&pool), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_taken_object_is_zeroed_and_found_by_its_handle),
        cmocka_unit_test(test_a_stale_handle_finds_nothing_when_its_slot_is_in_use_again),
        cmocka_unit_test(test_a_full_pool_says_no_and_slots_come_back_last_first),
        cmocka_unit_test(test_objects_stay_apart_and_in_place_over_many_slabs),
        cmocka_unit_test(test_listing_goes_in_slot_order_over_what_is_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
