/* The harness that figures are measured in (sim/field.h): its clock, its wires, its faults. What
 * membership itself does is test_swim.c's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sim/field.h"

#define SECOND ((uint64_t)FIELD_SECOND)
#define PEERS 12u

struct seen {
    uint32_t deaths, changes;
    uint64_t last_us;
};

static void see(void *context, struct field *field, uint32_t observer, uint32_t subject,
                const struct view_change *change)
{
    struct seen *seen = context;
    (void)observer;
    (void)subject;
    assert_true(field->now_us >= seen->last_us);
    seen->last_us = field->now_us;
    seen->changes++;
    seen->deaths += change->to == MEMBER_DEAD;
}

static struct field *a_field(uint64_t seed, uint32_t met, struct seen *seen)
{
    struct field_config config = {.seed = seed, .seats = PEERS, .spare = 40};
    *seen = (struct seen){0};
    config.watch = see;
    config.context = seen;
    struct field *field = field_new(&config);
    if (met > 0)
        field_start_met(field, met);
    return field;
}

static struct field_meter sum_of(const struct field *field)
{
    struct field_meter sum = {0};
    for (uint32_t n = 0; n < field->config.seats; n++) {
        const struct field_meter *meter = &field->seats[n].meter;
        sum.datagrams_out += meter->datagrams_out;
        sum.datagrams_in += meter->datagrams_in;
        sum.bytes_out += meter->bytes_out;
        sum.bytes_in += meter->bytes_in;
        sum.link_bytes_out += meter->link_bytes_out;
        sum.link_bytes_in += meter->link_bytes_in;
        sum.dials += meter->dials;
    }
    return sum;
}

static void test_those_who_have_met_agree_and_stay(void **state)
{
    struct seen seen;
    struct field *field = a_field(1, PEERS, &seen);
    (void)state;
    assert_true(field_agrees(field, FIELD_NOBODY, PEERS));
    field_run(field, 60 * SECOND);
    assert_true(field_agrees(field, FIELD_NOBODY, PEERS));
    assert_int_equal(seen.changes, 0);
    assert_int_equal(field->now_us, 60 * SECOND);
    /* nothing got lost, and what is on its way is little */
    struct field_meter sum = sum_of(field);
    assert_true(sum.datagrams_out >= PEERS * 60 * 2);
    assert_in_range(sum.datagrams_out - sum.datagrams_in, 0, PEERS);
    assert_int_equal(field->datagrams_lost, 0);
    field_free(field);
}

static uint64_t story(uint64_t seed)
{
    struct seen seen;
    struct field *field = a_field(seed, PEERS - 1, &seen);
    field->lost_ppm = 100000;
    field_run(field, 3 * SECOND);
    field_start(field, PEERS - 1, 4);
    field_run(field, 8 * SECOND);
    field_crash(field, 2, true);
    field_run(field, 40 * SECOND);
    struct field_meter sum = sum_of(field);
    uint64_t fold = field->events * 31 + sum.bytes_out;
    fold = fold * 31 + sum.link_bytes_out;
    fold = fold * 31 + field->order;
    fold = fold * 31 + seen.changes;
    fold = fold * 31 + seen.last_us;
    field_free(field);
    return fold;
}

static void test_equal_seeds_give_equal_runs(void **state)
{
    (void)state;
    assert_int_equal(story(7), story(7));
    assert_int_not_equal(story(7), story(8));
}

static void test_a_mesh_comes_together_at_one_contact(void **state)
{
    struct seen seen;
    struct field *field = a_field(2, 0, &seen);
    (void)state;
    field_start(field, 0, FIELD_NOBODY);
    for (uint32_t n = 1; n < PEERS; n++)
        field_start(field, n, 0);
    assert_false(field_agrees(field, FIELD_NOBODY, PEERS));
    assert_int_not_equal(
        field_run_until_agreed(field, FIELD_NOBODY, PEERS, SECOND / 10, 5 * SECOND), MESH_NEVER);
    assert_true(sum_of(field).dials >= PEERS - 1);
    field_free(field);
}

/* Gossip alone takes half a minute for them: a dozen records fit in a datagram. */
static void test_hundreds_that_join_at_once_exchange_views(void **state)
{
    struct field_config config = {.seed = 16, .seats = 500, .spare = 8, .strangers_per_s = 1000};
    struct field *field = field_new(&config);
    (void)state;
    field_start(field, 0, FIELD_NOBODY);
    for (uint32_t n = 1; n < config.seats; n++)
        field_start(field, n, 0);
    assert_int_not_equal(
        field_run_until_agreed(field, FIELD_NOBODY, config.seats, SECOND / 10, 5 * SECOND),
        MESH_NEVER);
    field_free(field);
}

static void test_answers_to_strangers_are_limited(void **state)
{
    struct field_config config = {.seed = 3, .seats = PEERS, .spare = 8, .strangers_per_s = 2};
    struct field *field = field_new(&config);
    (void)state;
    field_start(field, 0, FIELD_NOBODY);
    for (uint32_t n = 1; n < PEERS; n++)
        field_start(field, n, 0);
    field_run(field, SECOND / 2);
    assert_true(field->seats[0].strangers_refused > 0);
    uint32_t announced = 0;
    for (uint32_t n = 1; n < PEERS; n++)
        announced += !peer_id_is_nobody(field->seats[n].id);
    assert_in_range(announced, 1, 2); /* answered by the one who began; by nobody else yet */
    field_free(field);
}

static void test_a_delay_is_its_paths_and_a_quarter_more_at_most(void **state)
{
    struct field_config config = {
        .seed = 4, .seats = 2, .spare = 8, .delay_min_us = 40000, .delay_max_us = 40000};
    struct field *field = field_new(&config);
    (void)state;
    field_start(field, 0, FIELD_NOBODY);
    field_start(field, 1, 0); /* HELLO 40 .. 50 ms, WELCOME likewise */
    field_run(field, 79 * FIELD_MS);
    assert_true(peer_id_is_nobody(field->seats[1].id));
    field_run(field, 100 * FIELD_MS);
    assert_false(peer_id_is_nobody(field->seats[1].id));
    /* then a dial of two round trips and an exchange of one and a half */
    assert_false(field->seats[1].is_joined);
    field_run(field, (100 + 4 * 50) * FIELD_MS + 80 * FIELD_MS - 40 * FIELD_MS);
    field_run_until_agreed(field, FIELD_NOBODY, 2, FIELD_MS, SECOND);
    assert_in_range(field->seats[1].joined_us, (80 + 4 * 40 + 2 * 40) * FIELD_MS,
                    (100 + 4 * 50 + 2 * 50) * FIELD_MS);
    field_free(field);
}

static void test_the_mute_are_taken_for_dead_and_so_are_the_deaf(void **state)
{
    struct seen seen;
    struct field *field = a_field(5, PEERS, &seen);
    (void)state;
    field->seats[3].mute = true;
    field->seats[4].deaf = true;
    field_run(field, 40 * SECOND);
    assert_int_equal(field_state(field, 0, 3), MEMBER_DEAD);
    assert_int_equal(field_state(field, 0, 4), MEMBER_DEAD);
    assert_int_equal(field_state(field, 0, 5), MEMBER_ALIVE);
    field_free(field);
}

static void test_what_a_peer_loses_is_lost_one_way(void **state)
{
    struct seen seen;
    struct field *field = a_field(6, 2, &seen);
    (void)state;
    field->seats[0].lost_out_ppm = 1000000;
    field_run(field, 3 * SECOND);
    assert_int_equal(field->seats[1].meter.datagrams_in, 0);
    assert_true(field->seats[0].meter.datagrams_in > 0);
    assert_true(field->seats[0].meter.datagrams_out > 0);
    field_free(field);
}

static void test_a_split_is_healed_and_both_sides_count_themselves(void **state)
{
    struct seen seen;
    struct field *field = a_field(8, PEERS, &seen);
    (void)state;
    for (uint32_t n = 0; n < PEERS; n++)
        field->seats[n].group = n < 4;
    field->is_partitioned = true;
    field_run(field, 90 * SECOND);
    assert_true(field_agrees(field, 0, PEERS - 4));
    assert_true(field_agrees(field, 1, 4));
    field->is_partitioned = false;
    assert_int_not_equal(
        field_run_until_agreed(field, FIELD_NOBODY, PEERS, SECOND / 10, 120 * SECOND), MESH_NEVER);
    field_free(field);
}

static void test_a_seat_comes_back_elsewhere_as_somebody_newer(void **state)
{
    struct seen seen;
    struct field *field = a_field(9, PEERS, &seen);
    (void)state;
    field_run(field, SECOND);
    struct peer_id before = field->seats[5].id;
    field_crash(field, 5, false);
    assert_false(field_runs(field, 5));
    field_move(field, 5);
    field_start(field, 5, 0);
    field_run_until_agreed(field, FIELD_NOBODY, PEERS, SECOND / 10, 30 * SECOND);
    assert_true(field_agrees(field, FIELD_NOBODY, PEERS));
    assert_int_equal(field->seats[5].id.name, before.name);
    assert_true(field->seats[5].id.generation > before.generation);
    assert_int_equal(field_state(field, 1, 5), MEMBER_ALIVE);
    field_free(field);
}

static void test_who_leaves_is_gone_for_all(void **state)
{
    struct seen seen;
    struct field *field = a_field(10, PEERS, &seen);
    (void)state;
    field_run(field, SECOND);
    field_leave(field, 7);
    field_run(field, 6 * SECOND);
    assert_false(field_runs(field, 7));
    for (uint32_t n = 0; n < PEERS; n++)
        if (n != 7)
            assert_int_equal(field_state(field, n, 7), MEMBER_LEFT);
    assert_int_equal(seen.deaths, 0);
    field_free(field);
}

/* Nothing goes in or out while it is stalled; afterwards all of it does, in order. */
static void test_a_stalled_peer_blocks_before_a_send_and_after_a_receive(void **state)
{
    struct seen seen;
    struct field *field = a_field(11, PEERS, &seen);
    (void)state;
    field_run(field, 5 * SECOND);
    struct field_meter before = field->seats[1].meter;
    field_stall(field, 1, true);
    field_run(field, 7 * SECOND);
    assert_int_equal(field->seats[1].meter.datagrams_out, before.datagrams_out);
    assert_int_equal(field->seats[1].meter.datagrams_in, before.datagrams_in);
    field_stall(field, 1, false);
    assert_true(field->seats[1].meter.datagrams_out > before.datagrams_out);
    assert_true(field->seats[1].meter.datagrams_in > before.datagrams_in);
    field_run(field, 20 * SECOND);
    assert_true(field_agrees(field, FIELD_NOBODY, PEERS));
    field_free(field);
}

/* Memberlist's prober waits in its send: one accusation a stall, however long. Its timers run. */
static void test_a_stalled_control_accuses_one_at_most(void **state)
{
    struct field_config config = {
        .seed = 12, .seats = PEERS, .spare = 8, .preset = &swim_preset_swim};
    struct field *field = field_new(&config);
    struct swim_stats before, after;
    (void)state;
    field_start_met(field, PEERS);
    field_run(field, 5 * SECOND);
    swim_stats(field->seats[1].swim, &before);
    field_stall(field, 1, true);
    field_run(field, 25 * SECOND);
    swim_stats(field->seats[1].swim, &after);
    assert_int_equal(after.suspected, before.suspected); /* it waits in its first send */
    field_stall(field, 1, false);
    swim_stats(field->seats[1].swim, &after);
    assert_int_equal(after.suspected - before.suspected, 1);
    field_free(field);
}

static void test_a_paused_peer_stands_still(void **state)
{
    struct seen seen;
    struct field *field = a_field(13, PEERS, &seen);
    (void)state;
    field_run(field, 5 * SECOND);
    uint64_t sent = field->seats[2].meter.datagrams_out;
    field_pause(field, 2, 7 * SECOND);
    field_run(field, 7 * SECOND - 1);
    assert_int_equal(field->seats[2].meter.datagrams_out, sent);
    field_run(field, 20 * SECOND);
    assert_true(field->seats[2].meter.datagrams_out > sent);
    assert_int_equal(seen.deaths, 0);
    field_free(field);
}

/* A machine that takes 10 ms for a datagram and 100 kB/s for a wire is slower than one that takes
 * nothing. */
static void test_work_and_wires_take_time(void **state)
{
    uint64_t joined_us[2];
    (void)state;
    for (unsigned n = 0; n < 2; n++) {
        struct field_config config = {.seed = 14, .seats = PEERS, .spare = 8};
        if (n == 1) {
            config.datagram_us = 10000;
            config.message_us = 10000;
            config.bytes_per_s = 100000;
        }
        struct field *field = field_new(&config);
        field_start(field, 0, FIELD_NOBODY);
        for (uint32_t peer = 1; peer < PEERS; peer++)
            field_start(field, peer, 0);
        joined_us[n] = field_run_until_agreed(field, FIELD_NOBODY, PEERS, FIELD_MS, 20 * SECOND);
        assert_int_not_equal(joined_us[n], MESH_NEVER);
        field_free(field);
    }
    assert_true(joined_us[1] > joined_us[0] + 100 * FIELD_MS);
}

/* Segments that are lost come later: an exchange of views is delayed, not undone. */
static void test_a_lossy_link_is_slow_and_a_cut_one_ends(void **state)
{
    struct field_config config = {.seed = 15, .seats = 2, .spare = 8};
    struct field *field = field_new(&config);
    (void)state;
    field->lost_ppm = 400000;
    field_start(field, 0, FIELD_NOBODY);
    field_start(field, 1, 0);
    field_run(field, 30 * SECOND);
    assert_true(field->seats[1].is_joined);
    assert_true(sum_of(field).link_bytes_in > 0);
    field_free(field);

    field = field_new(&config);
    field_start(field, 0, FIELD_NOBODY);
    field_start(field, 1, 0);
    field_run(field, FIELD_MS); /* the question is out */
    while (peer_id_is_nobody(field->seats[1].id))
        field_run(field, field->now_us + 100);
    field->seats[0].deaf = true;
    field_run(field, 4 * SECOND);
    assert_false(field->seats[1].is_joined); /* nobody took its dial */
    field_free(field);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_those_who_have_met_agree_and_stay),
        cmocka_unit_test(test_equal_seeds_give_equal_runs),
        cmocka_unit_test(test_a_mesh_comes_together_at_one_contact),
        cmocka_unit_test(test_hundreds_that_join_at_once_exchange_views),
        cmocka_unit_test(test_answers_to_strangers_are_limited),
        cmocka_unit_test(test_a_delay_is_its_paths_and_a_quarter_more_at_most),
        cmocka_unit_test(test_the_mute_are_taken_for_dead_and_so_are_the_deaf),
        cmocka_unit_test(test_what_a_peer_loses_is_lost_one_way),
        cmocka_unit_test(test_a_split_is_healed_and_both_sides_count_themselves),
        cmocka_unit_test(test_a_seat_comes_back_elsewhere_as_somebody_newer),
        cmocka_unit_test(test_who_leaves_is_gone_for_all),
        cmocka_unit_test(test_a_stalled_peer_blocks_before_a_send_and_after_a_receive),
        cmocka_unit_test(test_a_stalled_control_accuses_one_at_most),
        cmocka_unit_test(test_a_paused_peer_stands_still),
        cmocka_unit_test(test_work_and_wires_take_time),
        cmocka_unit_test(test_a_lossy_link_is_slow_and_a_cut_one_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
