/* test_swim_abuse.c - membership under what one valid member can do, and at corners that seeds
 * seldom reach: rows G16 to G18 of bad-inputs.md. */
#include "tests/unit/swim_world.h"

/* What came first after we stood still may be a wish of the host, too. */
static void test_swim_a_wish_does_not_hide_that_we_stood_still(void **state)
{
    struct world w;
    struct mesh_addr contact = addr_of(0);
    (void)state;
    world_init(&w, 1);
    world_make(&w, 4);
    for (int round = 0; round < 8; round++) {
        w.now_ms += 30000;
        for (unsigned n = 0; n < 4; n++) {
            struct swim *swim = w.peers[n].swim;
            if (round % 4 == 0)
                swim_set_flags(swim, true, round % 8 != 0, w.now_ms);
            else if (round % 4 == 1)
                swim_join(swim, &contact, w.now_ms);
            else if (round % 4 == 2)
                (void)swim_claim(swim, (uint64_t)round << 3, w.now_ms);
            else
                swim_unclaim(swim, (uint64_t)round << 3);
        }
        world_run(&w, 3000);
    }
    struct swim_stats stats;
    for (unsigned n = 0; n < 4; n++) {
        swim_stats(w.peers[n].swim, &stats);
        assert_int_equal(stats.suspected, 0);
        assert_true(stats.lags >= 8);
    }
    world_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_swim_a_wish_does_not_hide_that_we_stood_still),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
