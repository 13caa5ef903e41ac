/* test_edges.c - when an edge is weak, and when we are the one who is hardly heard. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mesh/member/edges.h"

static const struct handle one = {1, 1};

/* `pings` a second apart to the one looked at and to others; so many of the last are answered. */
static struct edges pinged(unsigned pings, unsigned answered, unsigned others_answered)
{
    struct edges edges = {0};
    edges_look(&edges, one, 1000);
    for (unsigned n = 0; n < pings; n++) {
        edges_on_ping(&edges, one, n >= pings - answered);
        edges_on_other(&edges, n >= pings - others_answered, 1000 * n);
    }
    return edges;
}

static bool is_weak(struct edges edges, uint64_t now_ms)
{
    return edges_is_weak(&edges, 0, EDGE_PINGS_LEAST, now_ms);
}

static void test_edges_a_third_is_weak_where_others_answer_four_fifths(void **state)
{
    (void)state;
    assert_true(is_weak(pinged(12, 4, 12), 12000));
    assert_false(is_weak(pinged(12, 5, 12), 12000));
    assert_true(is_weak(pinged(10, 3, 8), 10000));
    assert_false(is_weak(pinged(10, 3, 7), 10000)); /* loss everywhere, or it is us */
    assert_false(is_weak(pinged(10, 0, 0), 10000));
}

static void test_edges_a_few_pings_say_nothing(void **state)
{
    struct edges few = pinged(EDGE_PINGS_FEW, 0, EDGE_PINGS_FEW);
    (void)state;
    assert_false(is_weak(pinged(EDGE_PINGS_LEAST - 1, 0, EDGE_PINGS_LEAST - 1), 9000));
    assert_true(edges_is_weak(&few, 0, EDGE_PINGS_FEW, 5000)); /* enough to ask others */
}

static void test_edges_only_the_last_sixteen_count(void **state)
{
    struct edges edges = pinged(16, 16, 16);
    (void)state;
    assert_true(edges_is_well(&edges, 0));
    for (unsigned n = 0; n < 10; n++)
        edges_on_ping(&edges, one, false);
    assert_false(edges_is_well(&edges, 0));
    assert_false(is_weak(edges, 16000));
    edges_on_ping(&edges, one, false);
    assert_true(is_weak(edges, 16000));
}

static void test_edges_what_was_compared_with_long_ago_says_nothing(void **state)
{
    (void)state;
    assert_true(is_weak(pinged(10, 0, 10), 9000 + EDGE_COMPARED_MS));
    assert_false(is_weak(pinged(10, 0, 10), 9001 + EDGE_COMPARED_MS));
    struct edges edges = pinged(10, 0, 10);
    edges_on_other(&edges, true, 9001 + EDGE_COMPARED_MS); /* begins anew */
    assert_false(is_weak(edges, 9001 + EDGE_COMPARED_MS));
}

static void test_edges_one_lost_ping_is_soon_forgiven(void **state)
{
    struct edges edges = pinged(EDGE_ENOUGH - 1, EDGE_ENOUGH - 1, 0);
    (void)state;
    assert_false(edges_is_well(&edges, 0));
    edges_on_ping(&edges, one, false);
    assert_true(edges_is_well(&edges, 0));
    edges_drop(&edges, 0);
    assert_true(edges_deadline_ms(&edges) == MESH_NEVER);
}

static void test_edges_no_more_are_looked_at_than_there_is_room_for(void **state)
{
    struct edges edges = {0};
    (void)state;
    for (uint32_t n = 0; n < EDGES_KEPT; n++) {
        edges_look(&edges, (struct handle){n, 1}, 500 + n);
        edges_look(&edges, (struct handle){n, 1}, 500 + n);
    }
    edges_look(&edges, (struct handle){EDGES_KEPT, 1}, 900);
    assert_int_equal(edges.count, EDGES_KEPT);
    assert_false(edges_has(&edges, (struct handle){EDGES_KEPT, 1}));
    assert_true(edges_deadline_ms(&edges) == 500);
}

static struct peer_id peer(uint64_t n)
{
    return (struct peer_id){n, 1};
}

static void test_edges_three_who_say_so_are_believed_if_our_own_pings_say_the_same(void **state)
{
    struct edges ours = pinged(10, 5, 5), well = pinged(10, 6, 6);
    (void)state;
    for (unsigned n = 0; n < 9; n++) /* one alone, how often ever */
        assert_false(edges_on_told(&ours, peer(1), 9, 9000 + n));
    assert_false(edges_on_told(&ours, peer(2), 9, 9100));
    assert_true(edges_on_told(&ours, peer(3), 9, 9200));
    for (unsigned n = 1; n < 9; n++)
        assert_false(edges_on_told(&well, peer(n), 9, 9000 + n));
}

static void test_edges_who_said_so_long_ago_is_not_counted(void **state)
{
    struct edges edges = pinged(10, 0, 0);
    (void)state;
    assert_false(edges_on_told(&edges, peer(1), 9, 1000));
    assert_false(edges_on_told(&edges, peer(2), 9, 2000));
    assert_false(edges_on_told(&edges, peer(3), 9, 1001 + EDGE_TOLD_MS));
    for (unsigned n = 0; n < 10; n++)
        edges_on_other(&edges, false, 2000 + EDGE_TOLD_MS);
    assert_true(edges_on_told(&edges, peer(4), 9, 2000 + EDGE_TOLD_MS));
}

static void test_edges_of_two_others_both_are_needed_and_one_is_nobody(void **state)
{
    struct edges edges = pinged(10, 0, 0);
    (void)state;
    assert_false(edges_on_told(&edges, peer(1), 2, 9000));
    assert_true(edges_on_told(&edges, peer(2), 2, 9000));
    assert_false(edges_on_told(&edges, peer(1), 1, 9000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edges_a_third_is_weak_where_others_answer_four_fifths),
        cmocka_unit_test(test_edges_a_few_pings_say_nothing),
        cmocka_unit_test(test_edges_only_the_last_sixteen_count),
        cmocka_unit_test(test_edges_what_was_compared_with_long_ago_says_nothing),
        cmocka_unit_test(test_edges_one_lost_ping_is_soon_forgiven),
        cmocka_unit_test(test_edges_no_more_are_looked_at_than_there_is_room_for),
        cmocka_unit_test(test_edges_three_who_say_so_are_believed_if_our_own_pings_say_the_same),
        cmocka_unit_test(test_edges_who_said_so_long_ago_is_not_counted),
        cmocka_unit_test(test_edges_of_two_others_both_are_needed_and_one_is_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
