/* test_accusers.c - who was wrong three times has no vote for a while. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mesh/member/accusers.h"

static struct peer_id peer(uint64_t n)
{
    return (struct peer_id){n + 1, 7};
}

static void test_accusers_three_refutations_in_a_minute_cost_the_vote_for_one(void **state)
{
    struct accusers accusers = {0};
    (void)state;
    assert_false(accusers_on_refuted(&accusers, peer(0), peer(90), 1000));
    assert_false(accusers_on_refuted(&accusers, peer(0), peer(91), 2000));
    assert_true(accusers_may_vote(&accusers, peer(0), 2000));
    assert_true(accusers_on_refuted(&accusers, peer(0), peer(90), 61000));
    assert_false(accusers_may_vote(&accusers, peer(0), 61000));
    assert_true(accusers_may_vote(&accusers, peer(1), 61000));
    assert_false(accusers_may_vote(&accusers, peer(0), 120999));
    assert_true(accusers_may_vote(&accusers, peer(0), 121000));
}

static void test_accusers_now_and_then_anybody_may_be_wrong(void **state)
{
    struct accusers accusers = {0};
    (void)state;
    for (uint64_t n = 0; n < 20; n++)
        assert_false(accusers_on_refuted(&accusers, peer(0), peer(90 + n), 1000 + n * 31000));
}

static void test_accusers_one_that_refutes_again_and_again_costs_no_vote(void **state)
{
    struct accusers accusers = {0};
    (void)state;
    for (uint64_t n = 0; n < 9; n++)
        assert_false(accusers_on_refuted(&accusers, peer(0), peer(90), 1000 + n));
    assert_true(accusers_may_vote(&accusers, peer(0), 2000));
    assert_true(accusers_on_refuted(&accusers, peer(0), peer(91), 2000)); /* it is not that one */
    assert_false(accusers_on_refuted(&accusers, peer(1), peer(90), 2000));
    assert_false(accusers_on_refuted(&accusers, peer(1), peer(91), 62001)); /* another minute */
    assert_false(accusers_on_refuted(&accusers, peer(1), peer(91), 62002));
    assert_false(accusers_on_refuted(&accusers, peer(1), peer(91), 62003));
}

static void test_accusers_nobody_is_no_accuser(void **state)
{
    struct accusers accusers = {0};
    (void)state;
    for (uint64_t n = 0; n < 9; n++)
        assert_false(accusers_on_refuted(&accusers, (struct peer_id){0, 0}, peer(n), 1000));
    assert_true(accusers_may_vote(&accusers, (struct peer_id){0, 0}, 1000));
    assert_int_equal(accusers.count, 0);
}

static void test_accusers_are_few_and_the_one_wrong_longest_ago_gives_way(void **state)
{
    struct accusers accusers = {0};
    (void)state;
    for (uint64_t n = 0; n < ACCUSERS_KEPT; n++)
        for (unsigned times = 0; times < 3; times++)
            (void)accusers_on_refuted(&accusers, peer(n), peer(90 + times), 1000 + n);
    (void)accusers_on_refuted(&accusers, peer(500), peer(90), 1500);
    assert_int_equal(accusers.count, ACCUSERS_KEPT);
    assert_true(accusers_may_vote(&accusers, peer(0), 1500));
    assert_false(accusers_may_vote(&accusers, peer(1), 1500));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accusers_three_refutations_in_a_minute_cost_the_vote_for_one),
        cmocka_unit_test(test_accusers_now_and_then_anybody_may_be_wrong),
        cmocka_unit_test(test_accusers_one_that_refutes_again_and_again_costs_no_vote),
        cmocka_unit_test(test_accusers_nobody_is_no_accuser),
        cmocka_unit_test(test_accusers_are_few_and_the_one_wrong_longest_ago_gives_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
