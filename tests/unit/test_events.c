/* Tests of events.h: the log of one stream. Its numbers have no holes, its bounds are kept, and
 * what it keeps is the newest; a budget that is full costs the log, never the numbering. */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "mesh/base/rng.h"
#include "mesh/session/events.h"

struct bench {
    struct events log;
    struct bytes_budget budget;
};

static void bench_init(struct bench *b)
{
    memset(b, 0, sizeof *b);
    b->budget.max = 4u << 20;
    events_init(&b->log);
}

static void bench_deinit(struct bench *b)
{
    events_deinit(&b->log);
    assert_int_equal(b->budget.used, 0);
}

/* An event of that many bytes that begins with its number. */
static int add_sized(struct bench *b, size_t size)
{
    struct bytes *buf = bytes_new(NULL, size + 32);
    struct logged event = {0}, kept;
    assert_non_null(buf);
    buf->length = size;
    memset(buf->data, 'x', size);
    if (size >= 24)
        memset(buf->data + snprintf((char *)buf->data, 24, "%020" PRIu64, b->log.number + 1), 'x',
               1);
    event.text = slice_of(buf, 0, size);
    int rc = events_add(&b->log, &event, &b->budget, &kept);
    assert_int_equal(kept.text.length, size);
    assert_memory_equal(kept.text.at, buf->data, size);
    bytes_unref(buf);
    return rc;
}

/* The log holds exactly these, each under its own number, and counts their bytes. */
static void assert_holds(const struct bench *b, uint64_t first, uint64_t last)
{
    size_t bytes = 0;
    assert_true(events_oldest(&b->log) == first && b->log.number == last);
    assert_int_equal(b->log.count, last + 1 - first);
    assert_null(events_at(&b->log, first - 1));
    assert_null(events_at(&b->log, last + 1));
    assert_null(events_at(&b->log, UINT64_MAX));
    for (uint64_t number = first; number <= last; number++) {
        const struct logged *event = events_at(&b->log, number);
        char wanted[24];
        assert_non_null(event);
        snprintf(wanted, sizeof wanted, "%020" PRIu64, number);
        if (event->text.length >= 24)
            assert_memory_equal(event->text.at, wanted, 20);
        bytes += EVENTS_COST + event->text.length;
    }
    assert_int_equal(b->log.bytes, bytes);
}

static void test_numbers_begin_at_one_and_go_on_by_one(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    assert_holds(&b, 1, 0);
    assert_false(events_drop_oldest(&b.log));
    for (uint64_t n = 1; n <= 100; n++) {
        assert_int_equal(add_sized(&b, 24), 0);
        assert_holds(&b, 1, n);
    }
    for (uint64_t n = 2; n <= 101; n++) {
        assert_true(events_drop_oldest(&b.log));
        assert_holds(&b, n, 100);
    }
    assert_false(events_drop_oldest(&b.log));
    assert_int_equal(add_sized(&b, 24), 0);
    assert_holds(&b, 101, 101); /* a number once given is never given again */
    bench_deinit(&b);
}

static void test_a_log_holds_so_many_events_and_the_newest_of_them(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    for (uint64_t n = 1; n <= 3 * EVENTS_MAX; n++) {
        assert_int_equal(add_sized(&b, 30), 0);
        if (n % 97 == 0 || n == EVENTS_MAX || n == EVENTS_MAX + 1)
            assert_holds(&b, n <= EVENTS_MAX ? 1 : n - EVENTS_MAX + 1, n);
    }
    bench_deinit(&b);
}

static void test_a_log_holds_so_many_bytes_and_the_newest_of_them(void **state)
{
    (void)state;
    struct bench b;
    const size_t size = 4000, fit = EVENTS_BYTES_MAX / (4000 + EVENTS_COST);
    bench_init(&b);
    for (uint64_t n = 1; n <= 3 * fit; n++) {
        assert_int_equal(add_sized(&b, size), 0);
        assert_holds(&b, n <= fit ? 1 : n - fit + 1, n);
        assert_true(b.log.bytes <= EVENTS_BYTES_MAX);
    }
    /* one that just fits drops the others, and one more drops it */
    assert_int_equal(add_sized(&b, EVENTS_BYTES_MAX - EVENTS_COST), 0);
    assert_holds(&b, 3 * fit + 1, 3 * fit + 1);
    assert_int_equal(b.log.bytes, EVENTS_BYTES_MAX);
    events_delivered(&b.log, 3 * fit + 1);
    assert_holds(&b, 3 * fit + 1, 3 * fit + 1); /* it is kept for a resume */
    assert_int_equal(add_sized(&b, 0), 0);
    assert_holds(&b, 3 * fit + 2, 3 * fit + 2);
    bench_deinit(&b);
}

static void test_a_larger_event_is_kept_alone_until_it_arrived(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    assert_int_equal(add_sized(&b, 100), 0);
    assert_int_equal(add_sized(&b, EVENTS_BYTES_MAX - EVENTS_COST + 1), 0);
    assert_holds(&b, 2, 2);
    events_delivered(&b.log, 1);
    assert_holds(&b, 2, 2);
    events_delivered(&b.log, 2);
    assert_holds(&b, 3, 2);
    assert_int_equal(b.budget.used, 0);
    assert_int_equal(add_sized(&b, 1u << 20), 0);
    assert_holds(&b, 3, 3);
    assert_int_equal(add_sized(&b, 24), 0); /* or until another comes: a log has no holes */
    assert_holds(&b, 4, 4);
    bench_deinit(&b);
}

static void test_a_small_text_is_copied_and_a_large_one_shared(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    for (size_t size = EVENTS_COPY_MAX; size <= EVENTS_COPY_MAX + 1; size++) {
        struct bytes *buf = bytes_new(NULL, 64u << 10); /* as read: much else is in it */
        struct logged event = {.why = MESH_UPSTREAM_LOST, .answers = true, .is_last = true}, kept;
        assert_non_null(buf);
        memset(buf->data, 'y', 64u << 10);
        buf->length = 64u << 10;
        event.text = slice_of(buf, 7, size);
        assert_int_equal(events_add(&b.log, &event, &b.budget, &kept), 0);
        assert_int_equal(kept.text.buf == buf, size > EVENTS_COPY_MAX);
        assert_int_equal(buf->refs, size > EVENTS_COPY_MAX ? 2 : 1);
        assert_true(kept.answers && kept.is_last);
        assert_int_equal(events_at(&b.log, b.log.number)->why, MESH_UPSTREAM_LOST);
        assert_int_equal(events_at(&b.log, b.log.number)->text.length, size);
        bytes_unref(buf);
    }
    bench_deinit(&b);
}

static void test_no_memory_costs_what_is_kept_and_no_number(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    b.budget.max = 5000;
    uint64_t failed = 0;
    for (uint64_t n = 1; n <= 200; n++) {
        int rc = add_sized(&b, 300);
        assert_true(b.log.number == n);
        assert_true(b.budget.used <= b.budget.max);
        if (rc == 0)
            continue;
        assert_int_equal(rc, -ENOMEM);
        assert_holds(&b, n + 1, n); /* nothing: what came before would have a hole behind it */
        assert_int_equal(b.budget.used, 0);
        failed++;
    }
    assert_in_range(failed, 5, 50);
    bench_deinit(&b);
}

/* Sizes by chance, with drops and deliveries between them, beside a plain array of what was added.
 */
static void test_any_sequence_keeps_an_unbroken_run_of_the_newest(void **state)
{
    (void)state;
    for (uint8_t seed = 1; seed <= 20; seed++) {
        static size_t sizes[3001];
        uint8_t entropy[32] = {seed};
        struct rng rng;
        struct shuffle chance;
        struct bench b;
        uint64_t oldest = 1;
        rng_init(&rng, entropy);
        shuffle_init(&chance, &rng);
        bench_init(&b);
        for (uint64_t n = 1; n <= 3000; n++) {
            static const uint32_t most[] = {100, 5000, 300000};
            sizes[n] = shuffle_below(&chance, most[shuffle_below(&chance, n % 500 < 400 ? 2 : 3)]);
            assert_int_equal(add_sized(&b, sizes[n]), 0);
            if (shuffle_below(&chance, 20) == 0)
                (void)events_drop_oldest(&b.log);
            if (shuffle_below(&chance, 3) == 0)
                events_delivered(&b.log, n - shuffle_below(&chance, 2));
            assert_true(events_oldest(&b.log) >= oldest && b.log.number == n);
            oldest = events_oldest(&b.log);
            assert_true(b.log.count <= EVENTS_MAX);
            assert_true(b.log.bytes <= EVENTS_BYTES_MAX || b.log.count == 1);
            for (uint64_t at = oldest; at <= n; at++)
                if (events_at(&b.log, at)->text.length != sizes[at])
                    fail_msg("seed %u: event %" PRIu64 " is not what was added", seed, at);
        }
        bench_deinit(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_begin_at_one_and_go_on_by_one),
        cmocka_unit_test(test_a_log_holds_so_many_events_and_the_newest_of_them),
        cmocka_unit_test(test_a_log_holds_so_many_bytes_and_the_newest_of_them),
        cmocka_unit_test(test_a_larger_event_is_kept_alone_until_it_arrived),
        cmocka_unit_test(test_a_small_text_is_copied_and_a_large_one_shared),
        cmocka_unit_test(test_no_memory_costs_what_is_kept_and_no_number),
        cmocka_unit_test(test_any_sequence_keeps_an_unbroken_run_of_the_newest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
