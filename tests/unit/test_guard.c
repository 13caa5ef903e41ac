/* test_guard.c - isolation, the brake, and how far they stretch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mesh/member/guard.h"

static struct handle peer(uint32_t n)
{
    return (struct handle){n, 1};
}

static void test_guard_nobody_contacted_is_no_isolation(void **state)
{
    struct guard guard = {0};
    (void)state;
    assert_false(guard_is_isolated(&guard, 1000, 9000));
}

static void test_guard_one_that_is_silent_tells_nothing_of_us(void **state)
{
    struct guard guard = {0};
    (void)state;
    guard_on_contacted(&guard, peer(0), 1000);
    assert_false(guard_is_isolated(&guard, 1000, 9000));
    guard_on_contacted(&guard, peer(1), 1000);
    assert_true(guard_is_isolated(&guard, 1000, 9000));
}

static void test_guard_fewer_than_half_heard_is_isolation(void **state)
{
    struct guard guard = {0};
    (void)state;
    for (uint32_t n = 0; n < 4; n++)
        guard_on_contacted(&guard, peer(n), 1000);
    assert_false(guard_is_isolated(&guard, 1000, 1499)); /* they had no time to answer */
    assert_true(guard_is_isolated(&guard, 1000, 1500));
    guard_on_heard(&guard, peer(0), 1600);
    assert_true(guard_is_isolated(&guard, 1000, 1600)); /* one of four */
    guard_on_heard(&guard, peer(3), 1700);
    assert_false(guard_is_isolated(&guard, 1000, 1700)); /* two */
    guard_on_heard(&guard, peer(9), 1700);               /* not asked anything: no witness */
    guard_on_contacted(&guard, peer(4), 1700);
    assert_true(guard_is_isolated(&guard, 1000, 2200)); /* two of five */
}

static void test_guard_what_was_before_a_suspicion_does_not_count_for_it(void **state)
{
    struct guard guard = {0};
    (void)state;
    guard_on_contacted(&guard, peer(0), 1000);
    guard_on_heard(&guard, peer(0), 1010);
    guard_on_contacted(&guard, peer(1), 1000); /* silent, and not asked again */
    for (uint32_t n = 2; n < 4; n++)
        guard_on_contacted(&guard, peer(n), 3000);
    guard_on_heard(&guard, peer(2), 3010);
    guard_on_contacted(&guard, peer(0), 3000); /* silent now */
    assert_false(guard_is_isolated(&guard, 1000, 4000));
    assert_true(guard_is_isolated(&guard, 2000, 4000));
    assert_false(guard_is_isolated(&guard, 3001, 4000)); /* nobody contacted since */
}

static void test_guard_asking_again_excuses_no_silence(void **state)
{
    struct guard guard = {0};
    (void)state;
    for (uint64_t now_ms = 1000; now_ms < 3000; now_ms += 100)
        for (uint32_t n = 0; n < 2; n++)
            guard_on_contacted(&guard, peer(n), now_ms);
    assert_true(guard_is_isolated(&guard, 1000, 3000));
}

static void test_guard_a_late_loop_moves_what_was_sent_before_it(void **state)
{
    struct guard guard = {0};
    (void)state;
    for (uint32_t n = 0; n < 2; n++)
        guard_on_contacted(&guard, peer(n), 1000);
    guard_on_lag(&guard, 30000);
    assert_false(guard_is_isolated(&guard, 31000, 31100));
    assert_true(guard_is_isolated(&guard, 31000, 31500));
}

static void test_guard_remembers_the_last_contacts_only(void **state)
{
    struct guard guard = {0};
    (void)state;
    for (uint32_t n = 0; n < 3 * GUARD_CONTACTS_MAX; n++) {
        guard_on_contacted(&guard, peer(n), 1000);
        if (n >= 2 * GUARD_CONTACTS_MAX)
            guard_on_heard(&guard, peer(n), 1001);
    }
    assert_false(guard_is_isolated(&guard, 1000, 9000));
    assert_int_equal(guard.contacts_count, GUARD_CONTACTS_MAX);
}

static void test_guard_brakes_from_four_and_more_than_a_fifth(void **state)
{
    struct guard guard = {0};
    (void)state;
    assert_false(guard_brakes(&guard, 3, 5, 1000)); /* three of five: too few to be strange */
    assert_true(guard_brakes(&guard, 4, 5, 1000));
    assert_true(guard_brakes(&guard, 4, 19, 1000));
    assert_false(guard_brakes(&guard, 4, 20, 1000)); /* a fifth is not more than a fifth */
    assert_false(guard_brakes(&guard, 200, 1000, 1000));
    assert_true(guard_brakes(&guard, 201, 1000, 1000));
}

static void test_guard_brakes_while_the_first_of_many_are_dead_already(void **state)
{
    struct guard guard = {0};
    (void)state;
    for (int n = 0; n < 3; n++)
        guard_on_death(&guard, 1000);
    assert_false(guard_brakes(&guard, 0, 7, 1000));
    assert_true(guard_brakes(&guard, 1, 7, 1000));
    assert_true(guard_brakes(&guard, 1, 7, 1000 + BRAKE_RECENT_MS));
    assert_false(guard_brakes(&guard, 1, 7, 1000 + 2 * BRAKE_RECENT_MS));
    guard_on_death(&guard, 100000);
    assert_false(guard_brakes(&guard, 1, 7, 100000)); /* the first three are long gone */
}

static void test_guard_stretches_to_a_third_and_fifteen_seconds_at_most(void **state)
{
    (void)state;
    assert_int_equal(guard_stretch(0, 3000, false), 0);
    assert_int_equal(guard_stretch(0, 3000, true), 2000);
    assert_int_equal(guard_stretch(500, 300, true), 700);
    assert_int_equal(guard_stretch(0, 60000, true), GUARD_STRETCH_MAX);
    assert_int_equal(guard_stretch(14999, 3000, true), GUARD_STRETCH_MAX);
    assert_int_equal(guard_stretch(GUARD_STRETCH_MAX, 3000, true), GUARD_STRETCH_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guard_nobody_contacted_is_no_isolation),
        cmocka_unit_test(test_guard_one_that_is_silent_tells_nothing_of_us),
        cmocka_unit_test(test_guard_fewer_than_half_heard_is_isolation),
        cmocka_unit_test(test_guard_what_was_before_a_suspicion_does_not_count_for_it),
        cmocka_unit_test(test_guard_asking_again_excuses_no_silence),
        cmocka_unit_test(test_guard_a_late_loop_moves_what_was_sent_before_it),
        cmocka_unit_test(test_guard_remembers_the_last_contacts_only),
        cmocka_unit_test(test_guard_brakes_from_four_and_more_than_a_fifth),
        cmocka_unit_test(test_guard_brakes_while_the_first_of_many_are_dead_already),
        cmocka_unit_test(test_guard_stretches_to_a_third_and_fifteen_seconds_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
