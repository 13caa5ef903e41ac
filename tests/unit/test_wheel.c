/* test_wheel.c - coarse deadlines: due ones fire, not early, in spite of being moved or stopped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "node/wheel.c"

struct timed {
    struct wheel_item item;
    struct wheel *wheel;
    uint64_t fired_ms, again_ms; /* again_ms: set anew by so much when it fires */
    uint32_t fired;
    struct timed *stops; /* stopped when it fires */
};

static void on_due(struct wheel_item *item, uint64_t now_ms)
{
    struct timed *timed = container_of(item, struct timed, item);
    timed->fired++;
    timed->fired_ms = now_ms;
    if (timed->stops != NULL)
        wheel_stop(&timed->stops->item);
    if (timed->again_ms > 0)
        wheel_set(timed->wheel, item, now_ms + timed->again_ms);
}

static struct timed make(struct wheel *wheel)
{
    return (struct timed){.item = {.on_due = on_due}, .wheel = wheel};
}

static void turn_until(struct wheel *wheel, uint64_t from_ms, uint64_t to_ms)
{
    for (uint64_t at_ms = from_ms; at_ms <= to_ms; at_ms += WHEEL_TICK_MS)
        wheel_turn(wheel, at_ms);
}

static void test_wheel_fires_once_and_never_early(void **state)
{
    (void)state;
    struct wheel wheel;
    wheel_init(&wheel, 1000);
    for (uint64_t span_ms = 0; span_ms < 400000; span_ms += 7919) {
        struct timed timed = make(&wheel);
        uint64_t start_ms = wheel.done_ms, due_ms = start_ms + span_ms;
        wheel_set(&wheel, &timed.item, due_ms);
        turn_until(&wheel, start_ms, due_ms + 2 * WHEEL_TICK_MS);
        assert_int_equal(timed.fired, 1);
        assert_true(timed.fired_ms >= due_ms);
        assert_true(timed.fired_ms <= due_ms + WHEEL_TICK_MS);
    }
}

static void test_wheel_moving_a_deadline_back_and_forth_keeps_the_last(void **state)
{
    (void)state;
    struct wheel wheel;
    wheel_init(&wheel, 0);
    struct timed timed = make(&wheel);
    wheel_set(&wheel, &timed.item, 10000);
    wheel_set(&wheel, &timed.item, 60000);
    turn_until(&wheel, 0, 59500);
    assert_int_equal(timed.fired, 0);
    wheel_set(&wheel, &timed.item, 90000);
    wheel_set(&wheel, &timed.item, 61000);
    turn_until(&wheel, 59500, 61000);
    assert_int_equal(timed.fired, 1);
    turn_until(&wheel, 61000, 300000);
    assert_int_equal(timed.fired, 1);
}

static void test_wheel_a_stopped_one_does_not_fire(void **state)
{
    (void)state;
    struct wheel wheel;
    wheel_init(&wheel, 0);
    struct timed first = make(&wheel), second = make(&wheel);
    wheel_set(&wheel, &first.item, 3000);
    wheel_set(&wheel, &second.item, 3000);
    /* Both are due in the same slot: the one that fires first stops the other, in its list. */
    first.stops = &second;
    second.stops = &first;
    turn_until(&wheel, 0, 10000);
    assert_int_equal(first.fired + second.fired, 1);
    wheel_stop(&first.item);
    wheel_stop(&second.item);
}

static void test_wheel_one_that_sets_itself_again_goes_on(void **state)
{
    (void)state;
    struct wheel wheel;
    wheel_init(&wheel, 0);
    struct timed timed = make(&wheel);
    timed.again_ms = 1000;
    wheel_set(&wheel, &timed.item, 1000);
    turn_until(&wheel, 0, 10000);
    assert_int_equal(timed.fired, 10);
    wheel_stop(&timed.item);
}

static void test_wheel_a_long_stall_fires_what_fell_due(void **state)
{
    (void)state;
    struct wheel wheel;
    wheel_init(&wheel, 0);
    struct timed soon = make(&wheel), late = make(&wheel);
    wheel_set(&wheel, &soon.item, 2000);
    wheel_set(&wheel, &late.item, 2000000);
    wheel_turn(&wheel, 1000000);
    assert_int_equal(soon.fired, 1);
    assert_int_equal(late.fired, 0);
    turn_until(&wheel, 1000000, 2000000);
    assert_int_equal(late.fired, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wheel_fires_once_and_never_early),
        cmocka_unit_test(test_wheel_moving_a_deadline_back_and_forth_keeps_the_last),
        cmocka_unit_test(test_wheel_a_stopped_one_does_not_fire),
        cmocka_unit_test(test_wheel_one_that_sets_itself_again_goes_on),
        cmocka_unit_test(test_wheel_a_long_stall_fires_what_fell_due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
