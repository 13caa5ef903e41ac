/* story_shrink.c - a failing run is made small, and stays the same failure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sim/shrink.h"

#define CRASH (UINT64_C(1) << FAULT_CRASH)
#define LOSS (UINT64_C(1) << FAULT_LOSS)

static bool happens(const struct run_options *options, uint32_t number)
{
    for (uint32_t n = 0; n < options->only_count; n++)
        if (options->only[n] == number)
            return true;
    return options->only == NULL;
}

/* Breaks M3 by faults 3 and 17 of classes crash and loss, among 4 peers, within 31 s. Two peers
 * break something else, which is no smaller form of it. */
static int run(const struct run_options *options, struct run_result *result, void *with)
{
    uint32_t *runs = with;
    ++*runs;
    result->nodes = options->nodes == 0 ? 12 : options->nodes;
    result->chaos_ms = options->calm_from_ms == 0 ? 40000 : options->calm_from_ms;
    for (uint32_t n = 0; n < 40; n++)
        if (happens(options, n))
            result->planned[result->planned_count++] = n;
    bool is_whole = (options->faults & (CRASH | LOSS)) == (CRASH | LOSS) &&
                    result->chaos_ms >= 31000 && happens(options, 3) && happens(options, 17);
    result->failed = is_whole;
    snprintf(result->failure, sizeof result->failure, "%s at 33.0 s: p1 and p2 do not agree",
             result->nodes >= 4 ? "M3" : "E1");
    return 0;
}

static void test_a_failing_run_shrinks_to_what_it_takes(void **state)
{
    struct run_options options = {.seed = 9, .faults = FAULTS_ALL, .seconds = 60};
    struct shrunk shrunk;
    uint32_t runs = 0;
    char command[512];
    (void)state;
    assert_int_equal(shrink(&options, run, &runs, &shrunk), 0);
    assert_true(shrunk.options.faults == (CRASH | LOSS));
    assert_int_equal(shrunk.options.nodes, 4);
    assert_in_range(shrunk.options.calm_from_ms, 31000, 31500);
    assert_int_equal(shrunk.options.only_count, 2);
    assert_int_equal(shrunk.options.only[0], 3);
    assert_int_equal(shrunk.options.only[1], 17);
    assert_int_equal(shrunk.runs, runs);
    shrunk.options.calm_from_ms = 31250;
    shrink_command(&shrunk.options, command, sizeof command);
    assert_string_equal(command, "mesh-sim --seed 9 --nodes 4 --seconds 60 --faults loss,crash "
                                 "--calm-from 31250 --only 3,17");
    free(shrunk.kept);
}

static void test_a_run_that_does_not_fail_is_not_shrunk(void **state)
{
    struct run_options options = {.seed = 9, .faults = LOSS, .seconds = 60};
    struct shrunk shrunk;
    uint32_t runs = 0;
    (void)state;
    assert_true(shrink(&options, run, &runs, &shrunk) < 0);
    assert_int_equal(runs, 1);
}

static void test_failures_are_the_same_by_their_number(void **state)
{
    (void)state;
    assert_true(shrink_is_same("M3 at 1 s: a", "M3 at 2 s: b"));
    assert_false(shrink_is_same("M3 at 1 s: a", "M33 at 1 s: a"));
    assert_false(shrink_is_same("M3 at 1 s: a", "M4 at 1 s: a"));
    assert_true(shrink_is_same("D1: two runs", "D1: others"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_failing_run_shrinks_to_what_it_takes),
        cmocka_unit_test(test_a_run_that_does_not_fail_is_not_shrunk),
        cmocka_unit_test(test_failures_are_the_same_by_their_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
