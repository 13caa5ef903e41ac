/* test_hold.c - how long a peer that others keep losing stays off the ring. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mesh/member/hold.h"

#define MINUTE_MS 60000u

static void test_hold_one_death_is_no_flapping(void **state)
{
    struct hold hold = {0};
    (void)state;
    for (uint64_t n = 0; n < 9; n++)
        assert_false(hold_on_death(&hold, MINUTE_MS, 1000 + n * (HOLD_WINDOW_MS + 1)));
    assert_false(hold_is_on(&hold));
    assert_true(hold_deadline_ms(&hold) == MESH_NEVER);
}

static void test_hold_two_deaths_in_five_minutes_hold_for_one(void **state)
{
    struct hold hold = {0};
    (void)state;
    assert_false(hold_on_death(&hold, MINUTE_MS, 0));
    assert_true(hold_on_death(&hold, MINUTE_MS, HOLD_WINDOW_MS));
    assert_true(hold_deadline_ms(&hold) == HOLD_WINDOW_MS + MINUTE_MS);
    hold_now(&hold, HOLD_WINDOW_MS + MINUTE_MS - 1);
    assert_true(hold_is_on(&hold));
    hold_now(&hold, HOLD_WINDOW_MS + MINUTE_MS);
    assert_false(hold_is_on(&hold));
}

static void test_hold_doubles_up_to_ten_minutes_while_it_goes_on(void **state)
{
    static const unsigned minutes[] = {1, 2, 4, 8, 10, 10};
    struct hold hold = {0};
    uint64_t now_ms = 5000;
    (void)state;
    (void)hold_on_death(&hold, MINUTE_MS, now_ms);
    for (size_t n = 0; n < sizeof minutes / sizeof minutes[0]; n++) {
        now_ms += 20000;
        assert_true(hold_on_death(&hold, MINUTE_MS, now_ms));
        assert_true(hold_deadline_ms(&hold) == now_ms + minutes[n] * MINUTE_MS);
    }
}

static void test_hold_begins_anew_after_ten_quiet_minutes(void **state)
{
    struct hold hold = {0};
    uint64_t over_ms = 1000 + 1000 + MINUTE_MS;
    (void)state;
    for (uint64_t n = 0; n < 2; n++)
        (void)hold_on_death(&hold, MINUTE_MS, 1000 + n * 1000);
    hold_now(&hold, over_ms);
    struct hold soon = hold;
    (void)hold_on_death(&soon, MINUTE_MS, over_ms + 9 * MINUTE_MS);
    (void)hold_on_death(&soon, MINUTE_MS, over_ms + 10 * MINUTE_MS);
    assert_int_equal(soon.length_ms, 2 * MINUTE_MS);
    (void)hold_on_death(&hold, MINUTE_MS, over_ms + 10 * MINUTE_MS);
    (void)hold_on_death(&hold, MINUTE_MS, over_ms + 10 * MINUTE_MS + 1);
    assert_int_equal(hold.length_ms, MINUTE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hold_one_death_is_no_flapping),
        cmocka_unit_test(test_hold_two_deaths_in_five_minutes_hold_for_one),
        cmocka_unit_test(test_hold_doubles_up_to_ten_minutes_while_it_goes_on),
        cmocka_unit_test(test_hold_begins_anew_after_ten_quiet_minutes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
