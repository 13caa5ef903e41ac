/* Tests of answer.h: what is kept, what is taken, and what an entry that comes back gets. The lane
 * is one within this process: messages come out in order, with nothing encoded. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "mesh/session/answer.h"

#define USER ((struct handle){7, 1})

struct bench {
    struct links *links;
    struct rng rng;
    struct seal_ring ring;
    struct bytes_budget budget;
    struct spare spare;
    struct answer answer;
    uint32_t got[64]; /* numbers that the entry received, in order */
    uint32_t got_count, lost;
    uint64_t bytes; /* as the lane counts */
};

static const uint8_t sip_key[16];
static const struct mesh_addr here;

static void bench_init(struct bench *b)
{
    uint8_t entropy[32] = {1};
    memset(b, 0, sizeof *b);
    rng_init(&b->rng, entropy);
    b->budget.max = 1 << 20;
    assert_int_equal(seal_ring_init(&b->ring, NULL, 0, 0, "test"), 0);
    struct links_config config = {
        .self = {1, 1}, .ring = &b->ring, .sip_key = sip_key, .rng = &b->rng, .budget = &b->budget};
    assert_int_equal(links_new(&b->links, &config), 0);
    answer_init(&b->answer, &b->spare);
}

static void bench_deinit(struct bench *b)
{
    answer_deinit(&b->answer);
    spare_deinit(&b->spare);
    assert_int_equal(b->answer.payload_bytes, 0);
    links_free(b->links);
    assert_int_equal(b->budget.used, 0);
}

static struct lane lane_open(struct bench *b)
{
    struct lane lane = {0};
    assert_int_equal(links_open(b->links, (struct peer_id){1, 1}, &here, USER, &lane, 0), 0);
    return lane;
}

static void drain(struct bench *b)
{
    const struct links_event *e;
    while ((e = links_next_event(b->links)) != NULL) {
        if (e->kind == LINKS_LANE_LOST)
            b->lost++;
        if (e->kind != LINKS_MESSAGE || e->side != LINKS_ENTRY)
            continue;
        assert_true(b->got_count < 64);
        memcpy(&b->got[b->got_count++], e->message.payload.at, 4);
        b->bytes += e->bytes;
    }
}

/* Message number n: `length` bytes that begin with its number. */
static int add(struct bench *b, uint32_t n, size_t length)
{
    uint8_t text[4096] = {0};
    memcpy(text, &n, 4);
    struct wire_message m = {.kind = WIRE_DATA, .payload = slice_borrow(text, length)};
    return answer_add(&b->answer, b->links, &m, &b->budget);
}

static void test_messages_are_kept_until_the_entry_took_all_of_them(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    b.answer.lane = lane_open(&b);
    for (uint32_t n = 0; n < 3; n++)
        assert_int_equal(add(&b, n, 100), 0);
    drain(&b);
    assert_int_equal(b.got_count, 3);
    assert_int_equal(b.answer.payload_bytes, 300);
    /* all heads are read, whoever takes the texts */
    uint64_t heads = b.bytes - 300;
    assert_int_equal(answer_consumed(&b.answer, heads), 0);
    assert_int_equal(answer_consumed(&b.answer, heads + 99), 0);
    assert_true(b.answer.taken_payload == 99);
    assert_int_equal(answer_consumed(&b.answer, heads + 100), 100);
    assert_int_equal(b.answer.number, 1);
    assert_int_equal(answer_consumed(&b.answer, heads + 100), 0);
    assert_int_equal(answer_consumed(&b.answer, b.bytes - 1), 100);
    assert_int_equal(answer_consumed(&b.answer, b.bytes), 100);
    assert_int_equal(b.answer.number, 3);
    assert_int_equal(b.answer.count, 3);
    assert_int_equal(b.answer.payload_bytes, 0);
    bench_deinit(&b);
}

/* The heads of many small messages are more than the text of the first. */
static void test_no_number_of_messages_that_were_read_takes_the_text_of_one(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    b.answer.lane = lane_open(&b);
    for (uint32_t n = 0; n < 60; n++)
        assert_int_equal(add(&b, n, 10), 0);
    drain(&b);
    uint64_t heads = b.bytes - 600;
    assert_true(heads > 600);
    for (uint64_t total = 0; total < heads + 10; total++)
        assert_int_equal(answer_consumed(&b.answer, total), 0);
    for (uint32_t n = 1; n <= 60; n++)
        assert_int_equal(answer_consumed(&b.answer, heads + 10 * n), 10);
    assert_int_equal(b.answer.number, 60);
    bench_deinit(&b);
}

static void test_an_entry_that_comes_back_gets_what_it_has_not_and_nothing_twice(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    b.answer.lane = lane_open(&b);
    for (uint32_t n = 0; n < 4; n++)
        assert_int_equal(add(&b, n, 50), 0);
    drain(&b);
    assert_int_equal(answer_consumed(&b.answer, b.bytes - 150), 50);
    answer_detach(&b.answer);
    assert_int_equal(add(&b, 4, 50), 0); /* while nobody is there */
    drain(&b);
    assert_int_equal(b.got_count, 4);
    b.got_count = 0;
    b.bytes = 0;
    /* it received 3 whole messages; two of them were never acknowledged */
    assert_int_equal(answer_attach(&b.answer, b.links, lane_open(&b), 3), 100);
    drain(&b);
    assert_int_equal(b.got_count, 2);
    assert_int_equal(b.got[0], 3);
    assert_int_equal(b.got[1], 4);
    assert_int_equal(b.answer.number, 3);
    assert_int_equal(b.answer.payload_bytes, 100);
    /* the count of bytes begins anew with the lane */
    assert_int_equal(answer_consumed(&b.answer, b.bytes - 50), 50);
    assert_int_equal(answer_consumed(&b.answer, b.bytes), 50);
    assert_int_equal(add(&b, 5, 50), 0);
    drain(&b);
    assert_int_equal(b.got[2], 5);
    assert_int_equal(answer_consumed(&b.answer, b.bytes), 50);
    bench_deinit(&b);
}

static void test_what_is_withheld_goes_when_it_is_released_and_not_before(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    b.answer.lane = lane_open(&b);
    assert_int_equal(add(&b, 0, 50), 0);
    answer_withhold(&b.answer);
    assert_int_equal(add(&b, 1, 50), 0);
    assert_int_equal(add(&b, 2, 50), 0);
    drain(&b);
    assert_int_equal(b.got_count, 1);
    /* on another lane as well: what went before goes again, nothing else */
    answer_detach(&b.answer);
    answer_attach(&b.answer, b.links, lane_open(&b), 0);
    drain(&b);
    assert_int_equal(b.got_count, 2);
    assert_int_equal(b.got[1], 0);
    b.bytes /= 2; /* of the new lane */
    answer_release(&b.answer, b.links);
    answer_release(&b.answer, b.links);
    assert_int_equal(add(&b, 3, 50), 0);
    drain(&b);
    assert_int_equal(b.got_count, 5);
    for (uint32_t n = 1; n <= 3; n++)
        assert_int_equal(b.got[n + 1], n);
    assert_int_equal(answer_consumed(&b.answer, b.bytes), 200);
    bench_deinit(&b);
}

static void test_counts_of_a_lost_lane_free_nothing_that_was_not_sent_again(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    b.answer.lane = lane_open(&b);
    assert_int_equal(add(&b, 0, 50), 0);
    answer_detach(&b.answer);
    assert_int_equal(add(&b, 1, 50), 0);
    assert_int_equal(answer_consumed(&b.answer, 0), 0);
    assert_int_equal(b.answer.payload_bytes, 100);
    answer_attach(&b.answer, b.links, lane_open(&b), 7); /* more than there is: a liar */
    assert_int_equal(b.answer.payload_bytes, 0);
    assert_int_equal(add(&b, 2, 50), 0);
    bench_deinit(&b);
}

static void test_what_the_lane_did_not_take_is_not_taken_by_the_entry(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    struct lane lane = lane_open(&b);
    b.answer.lane = lane;
    assert_int_equal(add(&b, 0, 50), 0);
    drain(&b);
    uint64_t sent = b.bytes;
    links_close(b.links, lane, LINKS_ENTRY); /* the next one cannot be told */
    assert_int_equal(add(&b, 1, 50), 0);
    drain(&b);
    assert_int_equal(b.got_count, 1);
    assert_int_equal(answer_consumed(&b.answer, sent), 50);
    assert_int_equal(b.answer.number, 1);
    assert_int_equal(b.answer.payload_bytes, 50); /* it is still there for who attaches */
    answer_attach(&b.answer, b.links, lane_open(&b), 1);
    drain(&b);
    assert_int_equal(b.got_count, 2);
    assert_int_equal(b.got[1], 1);
    bench_deinit(&b);
}

static void test_a_dropped_answer_takes_messages_and_forgets_them(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    b.answer.lane = lane_open(&b);
    assert_int_equal(add(&b, 0, 50), 0);
    answer_drop(&b.answer);
    assert_true(lane_is_none(b.answer.lane));
    assert_int_equal(b.answer.payload_bytes, 0);
    assert_int_equal(add(&b, 1, 50), 0);
    assert_int_equal(b.answer.payload_bytes, 0);
    drain(&b);
    assert_int_equal(b.got_count, 1);
    bench_deinit(&b);
}

static void test_without_memory_a_message_is_refused_and_the_others_stay(void **state)
{
    (void)state;
    struct bench b;
    bench_init(&b);
    b.budget.max = 120;
    assert_int_equal(add(&b, 0, 100), 0);
    assert_int_equal(add(&b, 1, 100), -ENOMEM);
    assert_int_equal(b.answer.count, 1);
    assert_int_equal(b.answer.payload_bytes, 100);
    assert_int_equal(add(&b, 1, 20), 0);
    answer_attach(&b.answer, b.links, lane_open(&b), 0);
    drain(&b);
    assert_int_equal(b.got_count, 2);
    bench_deinit(&b);
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_are_kept_until_the_entry_took_all_of_them),
        cmocka_unit_test(test_no_number_of_messages_that_were_read_takes_the_text_of_one),
        cmocka_unit_test(test_an_entry_that_comes_back_gets_what_it_has_not_and_nothing_twice),
        cmocka_unit_test(test_what_is_withheld_goes_when_it_is_released_and_not_before),
        cmocka_unit_test(test_counts_of_a_lost_lane_free_nothing_that_was_not_sent_again),
        cmocka_unit_test(test_what_the_lane_did_not_take_is_not_taken_by_the_entry),
        cmocka_unit_test(test_a_dropped_answer_takes_messages_and_forgets_them),
        cmocka_unit_test(test_without_memory_a_message_is_refused_and_the_others_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
