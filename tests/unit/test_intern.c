/* Tests of intern.h: equal texts are one buffer, for as long as somebody keeps it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "mesh/base/intern.h"

static const uint8_t key[16] = {7};

static struct slice borrow(const char *text)
{
    return slice_text(text);
}

static void test_equal_texts_are_one_buffer(void **state)
{
    (void)state;
    struct bytes_budget budget = {.max = 100};
    struct interns interns;
    struct slice kept[3];
    char same[] = "handshake";
    interns_init(&interns, 8, key);
    assert_false(intern_has(&interns, borrow(same)));
    assert_int_equal(intern_keep(&interns, &kept[0], borrow("handshake"), &budget), 0);
    assert_int_equal(intern_keep(&interns, &kept[1], borrow(same), &budget), 0);
    assert_int_equal(intern_keep(&interns, &kept[2], borrow("another"), &budget), 0);
    assert_ptr_equal(kept[0].at, kept[1].at);
    assert_ptr_not_equal(kept[0].at, same);
    assert_true(slice_is(kept[2], "another"));
    assert_int_equal(interns.bytes, 16);
    assert_int_equal(budget.used, 16);
    intern_drop(&interns, &kept[0]);
    assert_int_equal(kept[0].length, 0);
    assert_true(intern_has(&interns, borrow(same)));
    assert_true(slice_is(kept[1], "handshake"));
    intern_drop(&interns, &kept[1]);
    assert_false(intern_has(&interns, borrow(same)));
    intern_drop(&interns, &kept[2]);
    intern_drop(&interns, &kept[2]); /* an empty one */
    assert_int_equal(interns.bytes + budget.used, 0);
    interns_deinit(&interns);
}

static void test_who_still_reads_a_text_keeps_it_from_nobody(void **state)
{
    (void)state;
    struct interns interns;
    struct slice kept, reader;
    interns_init(&interns, 8, key);
    assert_int_equal(intern_keep(&interns, &kept, borrow("text"), NULL), 0);
    assert_int_equal(slice_keep(&reader, kept, NULL), 0);
    intern_drop(&interns, &kept);
    assert_false(intern_has(&interns, borrow("text")));
    assert_int_equal(intern_keep(&interns, &kept, borrow("text"), NULL), 0);
    assert_ptr_not_equal(kept.at, reader.at);
    assert_true(slice_is(reader, "text"));
    slice_drop(&reader);
    intern_drop(&interns, &kept);
    interns_deinit(&interns);
}

static void test_beyond_its_cap_texts_are_kept_each_for_itself(void **state)
{
    (void)state;
    struct bytes_budget budget = {.max = 6};
    struct interns interns;
    struct slice first, second, third, none;
    interns_init(&interns, 1, key);
    assert_int_equal(intern_keep(&interns, &first, borrow("aa"), &budget), 0);
    assert_int_equal(intern_keep(&interns, &second, borrow("bb"), &budget), 0);
    assert_int_equal(intern_keep(&interns, &third, borrow("bb"), &budget), 0);
    assert_ptr_not_equal(second.at, third.at);
    assert_true(intern_keep(&interns, &none, borrow("cc"), &budget) < 0); /* the budget */
    assert_int_equal(none.length, 0);
    assert_int_equal(interns.bytes, 6);
    intern_drop(&interns, &second);
    intern_drop(&interns, &first);
    intern_drop(&interns, &third);
    assert_int_equal(interns.bytes + budget.used, 0);
    interns_deinit(&interns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_texts_are_one_buffer),
        cmocka_unit_test(test_who_still_reads_a_text_keeps_it_from_nobody),
        cmocka_unit_test(test_beyond_its_cap_texts_are_kept_each_for_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
