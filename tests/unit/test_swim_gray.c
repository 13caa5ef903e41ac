/* test_swim_gray.c - gray failures as stories: who is hardly heard leaves the ring by its own
 * record, though it is never dead, and nobody else does (T5, T6, R11; gossip.md). */
#include "tests/unit/swim_world.h"

static void settle(struct world *w, uint8_t seed, unsigned count, const struct swim_preset *preset)
{
    world_init(w, seed);
    w->preset = preset;
    world_make(w, count);
    world_run(w, 20000);
}

static bool is_held_at(struct world *w, unsigned observer, unsigned subject)
{
    const struct mesh_member *member =
        view_find(swim_view(w->peers[observer].swim), id_of(&w->peers[subject]));
    return member != NULL && member_is_living(member) && member->record->hold;
}

/* At how many of all. */
static unsigned held_at(struct world *w, unsigned subject)
{
    unsigned count = 0;
    for (unsigned n = 0; n < w->count; n++)
        count += is_held_at(w, n, subject);
    return count;
}

static uint64_t holds(struct world *w)
{
    uint64_t count = 0;
    for (size_t n = 0; n < w->count; n++) {
        struct swim_stats stats;
        swim_stats(w->peers[n].swim, &stats);
        count += stats.held;
    }
    return count;
}

/* How long until all know that the first is on hold, or not any more. */
static uint64_t held_after(struct world *w, bool is_held, uint64_t max_ms)
{
    uint64_t began_ms = w->now_ms, wanted = is_held ? w->count : 0;
    while (held_at(w, 0) != wanted && w->now_ms - began_ms < max_ms)
        world_run(w, 100);
    return held_at(w, 0) == wanted ? w->now_ms - began_ms : MESH_NEVER;
}

static void test_swim_who_is_hardly_heard_leaves_the_ring_and_comes_back(void **state)
{
    static const unsigned counts[] = {3, 4, 6, 20};
    (void)state;
    for (unsigned n = 0; n < 16; n++) {
        struct world w;
        settle(&w, (uint8_t)n, counts[n % 4], NULL);
        w.peers[0].lost_out = 80;
        assert_in_range(held_after(&w, true, 60000), 8000, 30000);
        world_run(&w, 120000);
        assert_int_equal(held_at(&w, 0), counts[n % 4]); /* as long as it goes on */
        assert_int_equal(holds(&w), 1);
        assert_int_equal(deaths_seen(&w), 0);
        w.peers[0].lost_out = 0;
        assert_in_range(held_after(&w, false, 120000), 55000, 95000);
        world_deinit(&w);
    }
}

static void test_swim_without_that_rule_it_stays_on_the_ring(void **state)
{
    struct swim_preset without = swim_preset_product;
    struct world w;
    (void)state;
    without.weak_hold_ms = 0;
    settle(&w, 1, 6, &without);
    w.peers[0].lost_out = 80;
    world_run(&w, 120000);
    assert_int_equal(held_at(&w, 0), 0);
    world_deinit(&w);
}

static void test_swim_loss_everywhere_puts_nobody_on_hold(void **state)
{
    static const unsigned counts[] = {3, 5, 17};
    (void)state;
    for (uint32_t loss = 10; loss <= 80; loss += 10)
        for (unsigned n = 0; n < 3; n++) {
            struct world w;
            settle(&w, (uint8_t)loss, counts[n], NULL);
            w.loss = loss;
            world_run(&w, 300000);
            assert_int_equal(holds(&w), 0);
            world_deinit(&w);
        }
}

static void test_swim_of_two_who_do_not_hear_each_other_none_is_to_blame(void **state)
{
    (void)state;
    for (unsigned count = 3; count <= 9; count += 3) {
        struct world w;
        settle(&w, 2, count, NULL);
        w.cut[0] = &w.peers[0];
        w.cut[1] = &w.peers[1];
        world_run(&w, 120000);
        assert_int_equal(holds(&w), 0);
        world_deinit(&w);
    }
}

/* One edge of its own is cut, so that it compares: the others answer it. */
static void test_swim_what_several_say_of_one_who_hears_well_is_not_believed(void **state)
{
    struct world w;
    struct wire_datagram told = {.kind = DATAGRAM_CONFIRM};
    (void)state;
    settle(&w, 3, 9, NULL);
    struct peer *a = &w.peers[0];
    w.cut[0] = a;
    w.cut[1] = &w.peers[1];
    world_run(&w, 90000);
    for (unsigned second = 0; second < 30; second++) {
        for (unsigned n = 1; n < 9; n++) {
            told.number = 1 + n;
            told.sender = id_of(&w.peers[n]);
            told.subject = told.target_name_only = id_of(a);
            told.target_nonce = a->nonce;
            swim_on_datagram(a->swim, &w.peers[n].addr, &told, w.peers[n].nonce, w.now_ms);
            drain(&w, a);
        }
        world_run(&w, 1000);
    }
    assert_int_equal(holds(&w), 0);
    world_deinit(&w);
}

/* T6: the first death in five minutes is enough for who could not hear the others either. */
static void test_swim_who_was_lost_and_heard_nobody_itself_returns_on_hold(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 8; n++) {
        struct world w;
        settle(&w, (uint8_t)n, 12, NULL);
        w.peers[0].is_deaf = true;
        world_run(&w, 20000);
        assert_int_equal(state_of(&w.peers[1], id_of(&w.peers[0])), MEMBER_DEAD);
        w.peers[0].is_deaf = false;
        for (unsigned tenth = 0; tenth < 400; tenth++) {
            world_run(&w, 100);
            const struct mesh_member *member =
                view_find(swim_view(w.peers[1].swim), id_of(&w.peers[0]));
            assert_false(member_is_eligible(member));
        }
        assert_true(world_agrees_after(&w, 1000) != MESH_NEVER);
        assert_int_equal(holds(&w), 1);
        world_deinit(&w);
    }
}

static void test_swim_a_crash_is_found_though_the_monitor_is_hardly_heard(void **state)
{
    (void)state;
    for (unsigned victim = 1; victim < 8; victim++) { /* one of them is whom it watches */
        struct world w;
        settle(&w, (uint8_t)victim, 8, NULL);
        w.peers[0].lost_out = 80;
        world_run(&w, 40000);
        struct peer_id id = id_of(&w.peers[victim]);
        world_crash(&w, &w.peers[victim]);
        world_run(&w, 15000);
        for (unsigned n = 1; n < 8; n++)
            if (n != victim)
                assert_int_equal(state_of(&w.peers[n], id), MEMBER_DEAD);
        world_deinit(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_swim_who_is_hardly_heard_leaves_the_ring_and_comes_back),
        cmocka_unit_test(test_swim_without_that_rule_it_stays_on_the_ring),
        cmocka_unit_test(test_swim_loss_everywhere_puts_nobody_on_hold),
        cmocka_unit_test(test_swim_of_two_who_do_not_hear_each_other_none_is_to_blame),
        cmocka_unit_test(test_swim_what_several_say_of_one_who_hears_well_is_not_believed),
        cmocka_unit_test(test_swim_who_was_lost_and_heard_nobody_itself_returns_on_hold),
        cmocka_unit_test(test_swim_a_crash_is_found_though_the_monitor_is_hardly_heard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
