/* story_faults.c - the verbs of the simulator do what they say, and the mesh lives through them. */
#include "story.h"

#include "sim/campaign.h"
#include "sim/members.h"

static bool is_alive_at(const struct world *world, uint32_t observer, struct peer_id id)
{
    const struct mesh_member *row = mesh_member_of(world->seats[observer].mesh, id);
    return row != NULL && row->state == MEMBER_ALIVE;
}

static struct peer_id id_of(const struct world *world, uint32_t seat)
{
    return mesh_self(world->seats[seat].mesh)->record->id;
}

/* P11: the others lose who hears and cannot send, or the reverse, and nobody else. */
static void test_a_half_healthy_peer_makes_no_other_flap(void **state)
{
    (void)state;
    for (int what = 0; what < 2; what++) {
        struct world *world = world_of(5, MESH_UP_HTTP);
        struct peer_id id = id_of(world, 4);
        (what == 0 ? world_mute : world_deafen)(world, 4, true);
        for (uint32_t n = 0; n < 30; n++) {
            run_for(world, 1000);
            for (uint32_t a = 0; a < 4; a++)
                for (uint32_t b = 0; b < 4; b++)
                    assert_true(mesh_member_of(world->seats[a].mesh, id_of(world, b))->state !=
                                MEMBER_DEAD);
        }
        assert_false(is_alive_at(world, 0, id));
        (what == 0 ? world_mute : world_deafen)(world, 4, false);
        run_for(world, members_floor_ms(5));
        assert_true(world_agrees(world, 5));
        world_free(world);
    }
}

static void test_stalled_io_holds_what_is_sent_and_lets_it_go(void **state)
{
    struct world *world = world_of(3, MESH_UP_HTTP);
    (void)state;
    world_stall_io(world, 1, 1500);
    run_for(world, 1400);
    assert_true(world->faults->hits[FAULT_STALL] > 0);
    uint64_t heard = 0;
    struct mesh_stats stats;
    mesh_stats(world->seats[1].mesh, &stats);
    heard = stats.datagrams_in;
    run_for(world, 200);
    mesh_stats(world->seats[1].mesh, &stats);
    assert_true(stats.datagrams_in > heard);
    run_for(world, 8000);
    assert_true(world_agrees(world, 3));
    world_free(world);
}

static void test_a_starved_peer_answers_late(void **state)
{
    struct world *world = world_of(3, MESH_UP_HTTP);
    (void)state;
    uint32_t session = session_at(world, 0);
    const struct request *quick = ask_now(world, session, ASK_CALL, 0, 500);
    uint64_t quick_us = quick->ended_us - quick->opened_us;
    world_starve(world, 0, 30000);
    const struct request *late = ask_now(world, session, ASK_CALL, 1, 3000);
    assert_answered(late);
    assert_true(late->ended_us - late->opened_us > quick_us + 30000);
    assert_true(world->faults->hits[FAULT_STARVE] > 0);
    world_free(world);
}

static void test_a_narrow_path_queues_and_a_small_mtu_drops(void **state)
{
    struct world *world = world_of(3, MESH_UP_HTTP);
    (void)state;
    net_set_rate(world, 0, 1, 1, 100000);
    uint64_t slow_us = net_delay(world, 0, 1, 500);
    assert_true(slow_us >= 500 * WORLD_MS);
    net_set_rate(world, 0, 1, 0, 0);
    assert_int_equal(net_delay(world, 0, 1, 500), WORLD_MS);
    net_set_mtu(world, 0, 1, 100);
    net_set_mtu(world, 0, 2, 100);
    run_for(world, 5000);
    assert_true(world->faults->hits[FAULT_MTU] > 0);
    world_free(world);
}

static void test_clogged_paths_deliver_in_order_when_free(void **state)
{
    struct world *world = world_of(2, MESH_UP_HTTP);
    (void)state;
    net_clog(world, 0, 1, world->now_us + 700 * WORLD_MS);
    assert_int_equal(net_delay(world, 0, 1, 100), 700 * WORLD_MS);
    assert_int_equal(net_delay(world, 1, 0, 100), WORLD_MS);
    run_for(world, 5000);
    assert_true(world_agrees(world, 2));
    world_free(world);
}

/* F6 */
static void test_packets_of_an_earlier_life_change_nothing(void **state)
{
    struct world *world = world_of(3, MESH_UP_HTTP);
    (void)state;
    world->net->keeps = true;
    run_for(world, 10000);
    world_crash(world, 1, DEATH_KILLED);
    world_restart(world, 1, false);
    run_for(world, 8000);
    assert_true(world_agrees(world, 3));
    uint64_t hash = mesh_view_hash(world->seats[0].mesh);
    assert_true(net_replay(world, 200, 5000) > 20);
    run_for(world, 3000);
    assert_true(world_agrees(world, 3));
    assert_true(mesh_view_hash(world->seats[0].mesh) == hash);
    world_free(world);
}

static void test_streams_break_within_what_is_written(void **state)
{
    static const enum net_break kinds_of_break[] = {BREAK_MID_FRAME, BREAK_EARLY_FIN,
                                                    BREAK_HALF_OPEN};
    (void)state;
    for (size_t n = 0; n < 3; n++) {
        struct world *world = world_of(2, MESH_UP_HTTP);
        uint32_t session = session_at(world, 0);
        assert_answered(ask_now(world, session, ASK_CALL, 1, 500));
        assert_true(net_break_any(world, kinds_of_break[n]));
        const struct request *request = ask_now(world, session, ASK_READ, 1, 15000);
        assert_answered(request);
        world_free(world);
    }
}

/* P7: the address of a peer goes to one of another cluster, under the same name. */
static void test_clusters_of_two_labels_stay_apart(void **state)
{
    struct world *world = world_of(3, MESH_UP_HTTP);
    (void)state;
    uint32_t address = world->seats[1].address;
    world_crash(world, 1, DEATH_POWER);
    world_move(world, 1, world_new_address(world));
    uint32_t foreign = world_add_foreigner(world, 1, address);
    world_start(world, foreign);
    run_for(world, 500);
    world_restart(world, 1, false);
    run_for(world, 20000);
    struct mesh_member rows[8];
    assert_int_equal(mesh_members(world->seats[foreign].mesh, rows, 8), 1);
    assert_true(world_agrees(world, 3));
    world_free(world);
}

/* P6: the others stay as they are, and all is well when each has its own again. */
static void test_two_processes_at_one_address_disturb_no_other(void **state)
{
    struct world *world = world_of(4, MESH_UP_HTTP);
    (void)state;
    uint32_t own = world->seats[3].address;
    world_crash(world, 3, DEATH_KILLED);
    world_move(world, 3, world->seats[2].address);
    world_restart(world, 3, false);
    for (uint32_t n = 0; n < 20; n++) {
        run_for(world, 1000);
        assert_true(is_alive_at(world, 0, id_of(world, 1)));
        assert_true(is_alive_at(world, 1, id_of(world, 0)));
    }
    world_crash(world, 3, DEATH_KILLED);
    world_move(world, 3, own);
    world_restart(world, 3, false);
    run_for(world, members_floor_ms(4));
    assert_true(world_agrees(world, 4));
    world_free(world);
}

/* P22, R15: whatever the clock says at the start. */
static void test_restarts_with_a_wrong_clock_join_at_once(void **state)
{
    static const int64_t jumps_ms[] = {-3600000, 3600000, 200, -200};
    struct world *world = world_of(3, MESH_UP_HTTP);
    (void)state;
    for (size_t n = 0; n < sizeof jumps_ms / sizeof *jumps_ms; n++) {
        struct peer_id before = id_of(world, 1);
        world_set_wall(world, 1, jumps_ms[n]);
        world_crash(world, 1, DEATH_KILLED);
        world_restart(world, 1, false);
        run_for(world, 4000);
        assert_true(id_of(world, 1).generation > before.generation);
        assert_true(world_agrees(world, 3));
    }
    world_free(world);
}

/* P3, T16 */
static void test_a_restart_of_all_heals(void **state)
{
    struct world *world = world_of(6, MESH_UP_HTTP);
    (void)state;
    for (uint32_t n = 0; n < 6; n++)
        world_crash(world, n, DEATH_KILLED);
    for (uint32_t n = 0; n < 6; n++) {
        world_restart(world, n, false);
        run_for(world, 300);
    }
    run_for(world, 8000);
    assert_true(world_agrees(world, 6));
    world_free(world);
}

/* P16: a peer that starts while names are resolved to nothing, old addresses or strangers. */
static void test_wrong_contacts_are_made_up_for_when_they_are_right(void **state)
{
    static const enum world_dns wrong[] = {DNS_EMPTY, DNS_STALE, DNS_LYING};
    (void)state;
    for (size_t n = 0; n < 3; n++) {
        struct world *world = world_of(3, MESH_UP_HTTP);
        uint32_t foreign = world_add_foreigner(world, 1, world_new_address(world));
        world_start(world, foreign);
        world_crash(world, 1, DEATH_KILLED);
        run_for(world, 60000);
        world_set_dns(world, 1, wrong[n]);
        world_restart(world, 1, false);
        run_for(world, 15000);
        assert_true(world->faults->hits[FAULT_DNS] > 0);
        world_set_dns(world, 1, DNS_RIGHT);
        run_for(world, members_floor_ms(3));
        assert_true(world_agrees(world, 3));
        world_free(world);
    }
}

/* F22: peers of a later version say more than ours knows, and everything goes as if they did not.
 */
static void test_what_a_later_version_adds_changes_nothing(void **state)
{
    static const uint64_t seeds[] = {5, 6, 11, 16}; /* in which there are some */
    (void)state;
    for (size_t n = 0; n < sizeof seeds / sizeof *seeds; n++) {
        static struct run_result alike, later;
        struct run_options options = {.seed = seeds[n], .nodes = 9, .seconds = 45};
        assert_int_equal(campaign_run(&options, &alike), 0);
        options.faults = fault_bit(FAULT_SKEW);
        assert_int_equal(campaign_run(&options, &later), 0);
        assert_false(later.failed);
        assert_true(later.hits[FAULT_SKEW] > 200);
        assert_true(later.datagram_bytes > alike.datagram_bytes);
        assert_true(later.trace == alike.trace);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_half_healthy_peer_makes_no_other_flap),
        cmocka_unit_test(test_stalled_io_holds_what_is_sent_and_lets_it_go),
        cmocka_unit_test(test_a_starved_peer_answers_late),
        cmocka_unit_test(test_a_narrow_path_queues_and_a_small_mtu_drops),
        cmocka_unit_test(test_clogged_paths_deliver_in_order_when_free),
        cmocka_unit_test(test_packets_of_an_earlier_life_change_nothing),
        cmocka_unit_test(test_streams_break_within_what_is_written),
        cmocka_unit_test(test_clusters_of_two_labels_stay_apart),
        cmocka_unit_test(test_two_processes_at_one_address_disturb_no_other),
        cmocka_unit_test(test_restarts_with_a_wrong_clock_join_at_once),
        cmocka_unit_test(test_a_restart_of_all_heals),
        cmocka_unit_test(test_wrong_contacts_are_made_up_for_when_they_are_right),
        cmocka_unit_test(test_what_a_later_version_adds_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
