/* test_bytes.c - buffers, their budget, and slices of them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "mesh/base/bytes.h"

static void test_a_budget_counts_capacity_until_the_last_reference_goes(void **state)
{
    struct bytes_budget budget = {.max = 100};
    struct bytes *a = bytes_new(&budget, 60), *b;

    (void)state;
    assert_non_null(a);
    assert_int_equal(budget.used, 60);
    assert_null(bytes_new(&budget, 41));
    assert_int_equal(budget.used, 60);
    b = bytes_new(&budget, 40);
    assert_non_null(b);
    assert_int_equal(budget.used, 100);
    assert_ptr_equal(bytes_ref(a), a);
    bytes_unref(a);
    assert_int_equal(budget.used, 100);
    bytes_unref(a);
    assert_int_equal(budget.used, 40);
    bytes_unref(b);
    bytes_unref(NULL);
    assert_int_equal(budget.used, 0);
}

static void test_a_size_near_the_end_of_memory_is_refused(void **state)
{
    struct bytes_budget budget = {.max = SIZE_MAX};
    struct bytes *buf;

    (void)state;
    assert_null(bytes_new(NULL, SIZE_MAX));
    assert_null(bytes_new(&budget, SIZE_MAX - 4));
    assert_int_equal(budget.used, 0);
    buf = bytes_copy(&budget, "abc", 3);
    assert_non_null(buf);
    assert_int_equal(bytes_grow(&buf, SIZE_MAX), -ENOMEM);
    assert_int_equal(bytes_grow(&buf, SIZE_MAX - 3), -ENOMEM);
    assert_int_equal(budget.used, 3);
    bytes_unref(buf);
    assert_int_equal(budget.used, 0);
}

static void test_growing_keeps_the_content_and_stays_within_the_budget(void **state)
{
    struct bytes_budget budget = {.max = 100};
    struct bytes *buf = bytes_copy(&budget, "abcdefgh", 8), *before;

    (void)state;
    assert_non_null(buf);
    before = buf;
    assert_int_equal(bytes_grow(&buf, 0), 0);
    assert_ptr_equal(buf, before);
    assert_int_equal(bytes_grow(&buf, 1), 0);
    assert_int_equal(buf->capacity, 16); /* doubled: appending stays linear */
    assert_int_equal(budget.used, 16);
    assert_int_equal(bytes_grow(&buf, 52), 0);
    assert_int_equal(buf->capacity, 60);
    assert_int_equal(bytes_grow(&buf, 72), 0); /* twice 60 is over the budget, 80 is not */
    assert_int_equal(buf->capacity, 80);
    before = buf;
    assert_int_equal(bytes_grow(&buf, 93), -ENOMEM);
    assert_ptr_equal(buf, before);
    assert_int_equal(buf->capacity, 80);
    assert_int_equal(budget.used, 80);
    assert_int_equal(buf->length, 8);
    assert_memory_equal(buf->data, "abcdefgh", 8);
    bytes_unref(buf);
    assert_int_equal(budget.used, 0);
}

static void test_memory_of_small_buffers_is_used_again_and_counted_as_before(void **state)
{
    struct bytes_budget budget = {.max = 2000};
    struct bytes *bufs[5];

    (void)state;
    bytes_budget_keep(&budget, 3);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 5; i++) {
            bufs[i] = bytes_new(&budget, 10 * i);
            assert_non_null(bufs[i]);
            memset(bufs[i]->data, 'a', 10 * i);
            bufs[i]->length = 10 * i;
        }
        assert_int_equal(budget.used, 100);
        assert_null(bytes_new(&budget, 1901));
        assert_int_equal(bytes_grow(&bufs[1], 500), 0); /* within what a small one has room for */
        assert_true(bufs[1]->capacity >= 510);
        memset(bufs[1]->data + 10, 'b', 500);
        assert_int_equal(bytes_grow(&bufs[2], 900), 0); /* beyond */
        memset(bufs[2]->data + 20, 'c', 900);
        assert_memory_equal(bufs[1]->data, "aaaaaaaaaab", 11);
        assert_memory_equal(bufs[2]->data, "aaaaaaaaaaaaaaaaaaaac", 21);
        assert_int_equal(budget.used, 70 + 510 + 920);
        for (size_t i = 0; i < 5; i++)
            bytes_unref(bufs[i]);
        assert_int_equal(budget.used, 0);
        assert_true(budget.small.count <= 3);
    }
    bytes_budget_deinit(&budget);
}

static void test_an_empty_copy_is_a_buffer(void **state)
{
    struct bytes *buf = bytes_copy(NULL, NULL, 0);

    (void)state;
    assert_non_null(buf);
    assert_int_equal(buf->length, 0);
    bytes_unref(buf);
}

static void test_a_part_that_does_not_fit_is_empty(void **state)
{
    struct slice whole = slice_text("0123456789");

    (void)state;
    assert_true(slice_is(slice_part(whole, (struct span){2, 3}), "234"));
    assert_true(slice_is(slice_part(whole, (struct span){0, 10}), "0123456789"));
    assert_int_equal(slice_part(whole, (struct span){0, 11}).length, 0);
    assert_int_equal(slice_part(whole, (struct span){10, 1}).length, 0);
    assert_int_equal(slice_part(whole, (struct span){11, 0}).length, 0);
    assert_int_equal(slice_part(whole, (struct span){UINT32_MAX, UINT32_MAX}).length, 0);
    assert_int_equal(slice_part(whole, (struct span){2, UINT32_MAX}).length, 0);
}

static void test_keeping_shares_a_buffer_and_copies_what_is_borrowed(void **state)
{
    struct bytes_budget budget = {.max = 5};
    struct bytes *buf = bytes_copy(NULL, "hello world", 11);
    char borrowed[] = "abcde";
    struct slice keep, part;

    (void)state;
    assert_non_null(buf);
    part = slice_part(slice_of(buf, 0, 11), (struct span){6, 5});
    assert_int_equal(slice_keep(&keep, part, &budget), 0);
    assert_int_equal(buf->refs, 2);
    assert_int_equal(budget.used, 0);
    bytes_unref(buf);
    assert_true(slice_is(keep, "world"));
    slice_drop(&keep);
    assert_null(keep.buf);
    assert_int_equal(keep.length, 0);

    assert_int_equal(slice_keep(&keep, slice_borrow(borrowed, 5), &budget), 0);
    assert_int_equal(budget.used, 5);
    borrowed[0] = 'x';
    assert_true(slice_is(keep, "abcde"));
    slice_drop(&keep);
    slice_drop(&keep);
    assert_int_equal(budget.used, 0);

    assert_int_equal(slice_keep(&keep, slice_text("sixsix"), &budget), -ENOMEM);
    assert_null(keep.buf);
    assert_int_equal(keep.length, 0);
    assert_int_equal(slice_keep(&keep, slice_borrow(NULL, 0), &budget), 0);
    assert_null(keep.buf);
    slice_drop(&keep);
}

static void test_slices_are_equal_by_content(void **state)
{
    (void)state;
    assert_true(slice_equal(slice_text("a"), slice_borrow("ab", 1)));
    assert_false(slice_equal(slice_text("a"), slice_text("ab")));
    assert_false(slice_equal(slice_text("a"), slice_text("b")));
    assert_true(slice_equal(slice_borrow(NULL, 0), slice_text("")));
    assert_true(slice_equal(slice_borrow("a\0b", 3), slice_borrow("a\0b", 3)));
    assert_false(slice_is(slice_borrow("a\0b", 3), "a"));
    assert_true(slice_is(slice_borrow(NULL, 0), ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_budget_counts_capacity_until_the_last_reference_goes),
        cmocka_unit_test(test_a_size_near_the_end_of_memory_is_refused),
        cmocka_unit_test(test_growing_keeps_the_content_and_stays_within_the_budget),
        cmocka_unit_test(test_memory_of_small_buffers_is_used_again_and_counted_as_before),
        cmocka_unit_test(test_an_empty_copy_is_a_buffer),
        cmocka_unit_test(test_a_part_that_does_not_fit_is_empty),
        cmocka_unit_test(test_keeping_shares_a_buffer_and_copies_what_is_borrowed),
        cmocka_unit_test(test_slices_are_equal_by_content),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
