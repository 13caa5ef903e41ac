/* test_ring.c - balance, minimal movement, independence of order, ties, zones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mesh/base/rng.h"
#include "mesh/member/rings.h"

#define PEERS 100
#define KEYS 200000

static struct shuffle seeded(void)
{
    struct shuffle chance;
    struct rng rng;
    rng_init(&rng, (const uint8_t[32]){1});
    shuffle_init(&chance, &rng);
    return chance;
}

static void make_peers(struct ring_peer *peers, size_t count, struct shuffle *chance)
{
    for (size_t n = 0; n < count; n++) {
        peers[n] = (struct ring_peer){.weight = 1};
        peers[n].id = (struct peer_id){shuffle_u64(chance), 1760000000000u + n};
    }
}

static int compare_ids(const void *a, const void *b)
{
    return peer_id_compare(((const struct ring_peer *)a)->id, ((const struct ring_peer *)b)->id);
}

static size_t peer_at(const struct ring_peer *peers, size_t count, struct peer_id id)
{
    for (size_t n = 0; n < count; n++)
        if (peer_id_equal(peers[n].id, id))
            return n;
    fail();
    return 0;
}

/* The largest share of the circle, in thousandths of the mean. */
static uint64_t largest_share(const struct ring *ring)
{
    uint64_t shares[PEERS] = {0}, max = 0;
    for (uint32_t n = 0; n < ring->points_count; n++) {
        uint64_t before = ring->points[n > 0 ? n - 1 : ring->points_count - 1];
        shares[ring_point_owner(ring->points[n])] +=
            ring_point_at(ring->points[n]) - ring_point_at(before);
    }
    for (uint32_t n = 0; n < ring->peers_count; n++)
        max = shares[n] > max ? shares[n] : max;
    return max / (UINT64_MAX / ring->peers_count / 1000);
}

static void test_ring_of_a_hundred_is_balanced(void **state)
{
    struct shuffle chance = seeded();
    struct ring_peer peers[PEERS];
    struct ring ring = {0};
    uint64_t sum = 0;
    (void)state;
    for (int set = 0; set < 20; set++) { /* of 20 meshes on average: one alone may be unlucky */
        make_peers(peers, PEERS, &chance);
        assert_int_equal(ring_build(&ring, peers, PEERS, RING_POINT_BITS), 0);
        assert_int_equal(ring.points_count, PEERS * RING_POINTS_PER_WEIGHT);
        sum += largest_share(&ring);
        assert_in_range(largest_share(&ring), 1000, 1250);
    }
    assert_in_range(sum / 20, 1050, 1150);
    ring_deinit(&ring);
}

static void test_ring_weight_is_a_share(void **state)
{
    struct shuffle chance = seeded();
    struct ring_peer peers[10];
    struct ring ring = {0};
    unsigned heavy = 0;
    (void)state;
    make_peers(peers, 10, &chance);
    peers[3].weight = 6; /* of 15 */
    assert_int_equal(ring_build(&ring, peers, 10, RING_POINT_BITS), 0);
    for (unsigned n = 0; n < KEYS; n++)
        heavy += peer_id_equal(ring_lookup(&ring, shuffle_u64(&chance)), peers[3].id);
    assert_in_range(heavy, KEYS / 15 * 6 * 9 / 10, KEYS / 15 * 6 * 11 / 10);
    ring_deinit(&ring);
}

static void test_ring_losing_a_member_moves_only_its_keys(void **state)
{
    struct shuffle chance = seeded();
    struct ring_peer peers[PEERS];
    struct ring all = {0}, fewer = {0};
    unsigned moved = 0;
    (void)state;
    make_peers(peers, PEERS, &chance);
    struct peer_id lost = peers[PEERS - 1].id;
    assert_int_equal(ring_build(&all, peers, PEERS, RING_POINT_BITS), 0);
    assert_int_equal(ring_build(&fewer, peers, PEERS - 1, RING_POINT_BITS), 0);
    for (unsigned n = 0; n < KEYS; n++) {
        uint64_t point = shuffle_u64(&chance);
        struct peer_id before = ring_lookup(&all, point), after = ring_lookup(&fewer, point);
        assert_false(peer_id_equal(after, lost));
        if (peer_id_equal(before, lost))
            moved++; /* to the next one of the former walk: */
        else
            assert_true(peer_id_equal(before, after));
        struct peer_id walk[2];
        if (peer_id_equal(before, lost)) {
            assert_int_equal(ring_walk(&all, point, walk, 2), 2);
            assert_true(peer_id_equal(walk[1], after));
        }
    }
    assert_true(moved > 0);
    ring_deinit(&all);
    ring_deinit(&fewer);
}

static void test_ring_is_the_same_from_any_order(void **state)
{
    struct shuffle chance = seeded();
    struct ring_peer peers[PEERS], mixed[PEERS];
    struct ring one = {0}, two = {0};
    (void)state;
    make_peers(peers, PEERS, &chance);
    for (uint32_t n = 0; n < PEERS; n++) {
        uint32_t at = shuffle_below(&chance, n + 1);
        mixed[n] = mixed[at];
        mixed[at] = peers[n];
    }
    /* with points of 12 bits, 51,200 of them tie everywhere */
    static const unsigned bits[] = {RING_POINT_BITS, 12};
    for (size_t n = 0; n < 2; n++) {
        assert_int_equal(ring_build(&one, peers, PEERS, bits[n]), 0);
        assert_int_equal(ring_build(&two, mixed, PEERS, bits[n]), 0);
        assert_memory_equal(one.points, two.points, one.points_count * sizeof *one.points);
        assert_int_equal(one.points_count, two.points_count);
        assert_memory_equal(one.ids, two.ids, PEERS * sizeof *one.ids);
    }
    ring_deinit(&one);
    ring_deinit(&two);
}

/* A former ring saves work, and shows in nothing else. */
static void test_ring_from_a_former_one_is_the_ring_from_nothing(void **state)
{
    struct shuffle chance = seeded();
    struct ring_peer all[PEERS], some[PEERS];
    struct ring ring = {0};
    (void)state;
    make_peers(all, PEERS, &chance);
    for (unsigned step = 0; step < 300; step++) {
        struct ring fresh = {0};
        unsigned bits =
            step % 100 < 90 ? RING_POINT_BITS : 10; /* ties, too; and a change between the two */
        size_t count = 0, left_out = step % 7 == 0 ? PEERS / 2 : step % 5;
        uint32_t from = shuffle_below(&chance, PEERS);
        struct ring_peer *changed = &all[shuffle_below(&chance, PEERS)];
        changed->weight = (uint8_t)(1 + shuffle_below(&chance, 3));
        changed->zone[0] = (char)('a' + shuffle_below(&chance, 3));
        for (size_t n = left_out; n < PEERS; n++)
            some[count++] = all[(from + n) % PEERS];
        assert_int_equal(ring_build(&ring, some, count, bits), 0);
        assert_int_equal(ring_build(&fresh, some, count, bits), 0);
        assert_int_equal(ring.points_count, fresh.points_count);
        assert_int_equal(ring.zones_count, fresh.zones_count);
        size_t points = (size_t)fresh.points_count + RING_POINTS_AT_ONCE;
        assert_memory_equal(ring.points, fresh.points, points * sizeof *fresh.points);
        assert_memory_equal(ring.ids, fresh.ids, fresh.peers_count * sizeof *fresh.ids);
        assert_memory_equal(ring.zones, fresh.zones, fresh.peers_count * sizeof *fresh.zones);
        assert_int_equal(ring.buckets_count, fresh.buckets_count);
        assert_memory_equal(ring.index, fresh.index,
                            (fresh.buckets_count + 1) * sizeof *fresh.index);
        ring_deinit(&fresh);
    }
    ring_deinit(&ring);
}

/* A ring of those at `order`, who came one after the other. */
static void grow(struct ring *ring, const struct ring_peer *peers, const uint32_t *order,
                 size_t count, unsigned bits)
{
    struct ring_peer here[PEERS];
    for (size_t n = 0; n < count; n++) {
        here[n] = peers[order[n]];
        assert_int_equal(ring_build(ring, here, n + 1, bits), 0);
    }
}

/* P28: two who met the same peers in other orders name the same owner for each point, and the same
 * successors in the same order, though each point is that of several peers (ringpop's changelog).
 */
static void test_ring_of_points_that_collide_does_not_tell_who_came_first(void **state)
{
    struct shuffle chance = seeded();
    struct ring_peer peers[12];
    uint32_t order[12], other[12];
    struct ring one = {0}, two = {0};
    (void)state;
    make_peers(peers, 12, &chance);
    for (uint32_t n = 0; n < 12; n++) {
        order[n] = n;
        other[n] = 11 - n;
    }
    grow(&one, peers, order, 12, 10); /* 3,072 points at 1,024 places */
    grow(&two, peers, other, 12, 10);
    for (uint64_t place = 0; place < 1024; place++) {
        struct peer_id walk[12], again[12];
        assert_true(peer_id_equal(ring_lookup(&one, place << 54), ring_lookup(&two, place << 54)));
        assert_int_equal(ring_walk(&one, place << 54, walk, 12), 12);
        assert_int_equal(ring_walk(&two, place << 54, again, 12), 12);
        assert_memory_equal(walk, again, sizeof walk);
    }
    ring_deinit(&one);
    ring_deinit(&two);
}

static void test_ring_ties_go_to_the_lower_peer_id(void **state)
{
    struct shuffle chance = seeded();
    struct ring_peer peers[6];
    struct ring ring = {0};
    struct peer_id walk[6];
    (void)state;
    make_peers(peers, 6, &chance);
    assert_int_equal(ring_build(&ring, peers, 6, 1), 0); /* each has the same two points */
    assert_int_equal(ring.points_count, 12);
    for (uint32_t n = 0; n < ring.points_count; n++) {
        assert_true(ring_point_at(ring.points[n]) == (n < 6 ? 0 : (uint64_t)1 << 63));
        assert_int_equal(ring_point_owner(ring.points[n]), n % 6);
    }
    assert_int_equal(ring_walk(&ring, 0, walk, 6), 6);
    for (size_t n = 1; n < 6; n++)
        assert_true(peer_id_compare(walk[n - 1], walk[n]) < 0);
    ring_deinit(&ring);
}

static void test_ring_lookup_agrees_with_a_search_of_all_points(void **state)
{
    struct shuffle chance = seeded();
    struct ring_peer peers[7];
    struct ring ring = {0};
    (void)state;
    make_peers(peers, 7, &chance);
    assert_int_equal(ring_build(&ring, peers, 7, RING_POINT_BITS), 0);
    for (unsigned n = 0; n < 3000; n++) {
        uint64_t point = shuffle_u64(&chance);
        if (n < 2)
            point = n == 0 ? 0 : UINT64_MAX;
        else if (n % 3 == 0)
            point = ring_point_at(ring.points[shuffle_below(&chance, ring.points_count)]);
        uint32_t at = 0;
        while (at < ring.points_count && ring_point_at(ring.points[at]) < ring_point_at(point))
            at++;
        uint16_t owner = ring_point_owner(ring.points[at < ring.points_count ? at : 0]);
        assert_true(peer_id_equal(ring_lookup(&ring, point), ring.ids[owner]));
    }
    ring_deinit(&ring);
}

static void test_ring_walk_names_each_once_and_another_zone_second(void **state)
{
    struct shuffle chance = seeded();
    struct ring_peer peers[12];
    struct ring plain = {0}, zoned = {0};
    (void)state;
    make_peers(peers, 12, &chance);
    assert_int_equal(ring_build(&plain, peers, 12, RING_POINT_BITS), 0);
    strcpy(peers[4].zone, "west");
    strcpy(peers[9].zone, "west");
    assert_int_equal(ring_build(&zoned, peers, 12, RING_POINT_BITS), 0);
    for (unsigned n = 0; n < 2000; n++) {
        uint64_t point = shuffle_u64(&chance);
        struct peer_id straight[12], walk[12], few[3];
        assert_int_equal(ring_walk(&plain, point, straight, 12), 12);
        assert_int_equal(ring_walk(&zoned, point, walk, 100), 12);
        assert_int_equal(ring_walk(&zoned, point, few, 3), 3);
        assert_memory_equal(few, walk, sizeof few);
        bool is_west = false;
        for (size_t i = 0; i < 2; i++)
            is_west ^= peers[peer_at(peers, 12, walk[i])].zone[0] != '\0';
        assert_true(is_west);
        /* but for that second one the order is the ring's */
        size_t second = peer_at(peers, 12, walk[1]), from = 0;
        for (size_t i = 0; i < 12; i++) {
            if (peer_at(peers, 12, straight[i]) == second)
                continue;
            assert_true(peer_id_equal(straight[i], walk[from]));
            from += from == 0 ? 2 : 1;
        }
        assert_true(peer_id_equal(walk[0], ring_lookup(&zoned, point)));
    }
    ring_deinit(&plain);
    ring_deinit(&zoned);
}

static void test_ring_of_nobody_and_of_one(void **state)
{
    struct ring_peer peer = {.id = {4, 2}, .weight = 1};
    struct ring ring = {0};
    struct peer_id walk[4];
    (void)state;
    assert_true(peer_id_is_nobody(ring_lookup(&ring, 77)));
    assert_int_equal(ring_walk(&ring, 77, walk, 4), 0);
    assert_int_equal(ring_build(&ring, &peer, 1, RING_POINT_BITS), 0);
    assert_true(peer_id_equal(ring_lookup(&ring, UINT64_MAX), peer.id));
    assert_int_equal(ring_walk(&ring, 77, walk, 4), 1);
    assert_int_equal(ring_build(&ring, &peer, 0, RING_POINT_BITS), 0);
    assert_int_equal(ring_walk(&ring, 77, walk, 4), 0);
    ring_deinit(&ring);
}

static enum view_news say(struct view *view, enum update_kind kind, const char *name,
                          uint64_t version, bool serving)
{
    struct wire_update news = {.kind = kind};
    struct mesh_record *m = &news.record;
    m->id = (struct peer_id){view_name_hash(name), 7};
    strcpy(m->name, name);
    m->nonce = 1;
    m->version = version;
    m->weight = 1;
    m->serving = serving;
    m->addr = (struct mesh_addr){.ip = {[10] = 0xff, [11] = 0xff, [12] = 10}, .port = 1};
    return view_apply(view, &news, 1000);
}

static void test_ring_holds_the_eligible_or_else_the_living(void **state)
{
    struct view_config config = {.members_max = 8, .contacts_max = 8};
    struct view *view = NULL;
    struct ring ring = {0};
    struct peer_id walk[8];
    (void)state;
    strcpy(config.self.name, "self");
    config.self.nonce = 1;
    config.self.weight = 1;
    config.self.addr.port = 1;
    assert_int_equal(view_new(&view, &config), 0);
    assert_int_equal(view_announce(view, 7, 1000), 0);
    say(view, UPDATE_ALIVE, "b", 1, false);
    assert_int_equal(ring_sync(&ring, view, NULL), 0);
    assert_int_equal(ring_walk(&ring, 0, walk, 8), 2); /* nobody serves: the living park */
    say(view, UPDATE_ALIVE, "b", 2, true);
    say(view, UPDATE_ALIVE, "c", 1, true);
    assert_int_equal(ring_sync(&ring, view, NULL), 0);
    assert_int_equal(ring_walk(&ring, 0, walk, 8), 2);
    for (size_t n = 0; n < 2; n++)
        assert_false(peer_id_equal(walk[n], view_self(view)->record->id));
    const uint64_t *points = ring.points;
    say(view, UPDATE_SUSPECT, "b", 2, true); /* suspects stay: nothing is built anew */
    assert_int_equal(ring_sync(&ring, view, NULL), 0);
    assert_ptr_equal(points, ring.points);
    say(view, UPDATE_DEAD, "b", 2, true);
    assert_int_equal(ring_sync(&ring, view, NULL), 0);
    assert_int_equal(ring_walk(&ring, 0, walk, 8), 1);
    ring_deinit(&ring);
    view_free(view);
}

static struct view *view_of(const char *name)
{
    struct view_config config = {.members_max = 8, .contacts_max = 8};
    struct view *view = NULL;
    snprintf(config.self.name, sizeof config.self.name, "%s", name);
    config.self.nonce = 1;
    config.self.weight = 1;
    config.self.addr.port = 1;
    assert_int_equal(view_new(&view, &config), 0);
    assert_int_equal(view_announce(view, 7, 1000), 0);
    say(view, UPDATE_ALIVE, "b", 1, true);
    say(view, UPDATE_ALIVE, "c", 1, true);
    return view;
}

static void test_rings_of_equal_views_are_one(void **state)
{
    struct view *views[3] = {view_of("x"), view_of("y"), view_of("z")};
    struct ring ring[3] = {{0}}, fresh = {0};
    struct rings *rings = NULL;
    (void)state;
    assert_int_equal(rings_new(&rings), 0);
    for (size_t n = 0; n < 3; n++)
        assert_int_equal(ring_sync(&ring[n], views[n], rings), 0);
    assert_int_equal(rings_count(rings), 1);
    assert_ptr_equal(ring[0].points, ring[2].points);
    say(views[1], UPDATE_ALIVE, "d", 1, true); /* who sees more leaves the others theirs */
    assert_int_equal(ring_sync(&ring[1], views[1], rings), 0);
    assert_int_equal(rings_count(rings), 2);
    assert_ptr_equal(ring[0].points, ring[2].points);
    assert_int_equal(ring[0].peers_count, 2);
    assert_int_equal(ring_sync(&fresh, views[1], NULL), 0); /* as if there were nobody else */
    assert_int_equal(ring[1].points_count, fresh.points_count);
    assert_memory_equal(ring[1].points, fresh.points, fresh.points_count * sizeof *fresh.points);
    for (size_t n = 0; n < 3; n++) { /* and whoever sees the same later shares that */
        say(views[n], UPDATE_ALIVE, "d", 1, true);
        assert_int_equal(ring_sync(&ring[n], views[n], rings), 0);
    }
    assert_int_equal(rings_count(rings), 1);
    ring_deinit(&fresh);
    for (size_t n = 0; n < 3; n++) {
        ring_deinit(&ring[n]);
        view_free(views[n]);
    }
    assert_int_equal(rings_count(rings), 0);
    rings_free(rings);
}

static void test_rings_of_other_weight_or_zone_are_others(void **state)
{
    struct shuffle chance = seeded();
    struct ring_peer peers[3];
    struct ring one = {0}, other = {0};
    struct rings *rings = NULL;
    (void)state;
    make_peers(peers, 3, &chance);
    qsort(peers, 3, sizeof *peers, compare_ids);
    assert_int_equal(rings_new(&rings), 0);
    assert_int_equal(ring_build(&one, peers, 3, RING_POINT_BITS), 0);
    rings_offer(rings, &one);
    peers[1].weight = 2;
    assert_false(rings_share(rings, &other, peers, 3, RING_POINT_BITS));
    peers[1].weight = 1;
    peers[1].zone[0] = 'a';
    assert_false(rings_share(rings, &other, peers, 3, RING_POINT_BITS));
    assert_false(rings_share(rings, &other, peers, 2, RING_POINT_BITS));
    peers[1].zone[0] = '\0';
    assert_true(rings_share(rings, &other, peers, 3, RING_POINT_BITS));
    assert_true(rings_share(rings, &other, peers, 3, RING_POINT_BITS)); /* again: it is ours */
    ring_deinit(&one);
    assert_int_equal(rings_count(rings), 1);
    assert_int_equal(other.peers_count, 3);
    ring_deinit(&other);
    rings_free(rings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ring_of_a_hundred_is_balanced),
        cmocka_unit_test(test_ring_weight_is_a_share),
        cmocka_unit_test(test_ring_losing_a_member_moves_only_its_keys),
        cmocka_unit_test(test_ring_is_the_same_from_any_order),
        cmocka_unit_test(test_ring_from_a_former_one_is_the_ring_from_nothing),
        cmocka_unit_test(test_ring_of_points_that_collide_does_not_tell_who_came_first),
        cmocka_unit_test(test_ring_ties_go_to_the_lower_peer_id),
        cmocka_unit_test(test_ring_lookup_agrees_with_a_search_of_all_points),
        cmocka_unit_test(test_ring_walk_names_each_once_and_another_zone_second),
        cmocka_unit_test(test_ring_of_nobody_and_of_one),
        cmocka_unit_test(test_ring_holds_the_eligible_or_else_the_living),
        cmocka_unit_test(test_rings_of_equal_views_are_one),
        cmocka_unit_test(test_rings_of_other_weight_or_zone_are_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
