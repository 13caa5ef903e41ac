/* ring.c - a ring out of a view, and what is read off it. How one is made: ring_build.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "mesh/base/mutant.h"
#include "mesh/member/rings.h"

int ring_sync(struct ring *ring, const struct view *view, struct rings *rings)
{
    uint64_t generation = view_ring_generation(view);
    size_t rows = view_count(view), count = 0;
    bool any_eligible = false;
    if (ring->is_built && ring->generation == generation)
        return 0;
    struct ring_peer *peers = calloc(rows > 0 ? rows : 1, sizeof *peers);
    if (peers == NULL)
        return -ENOMEM;
    for (size_t n = 0; n < rows; n++)
        any_eligible = any_eligible || member_is_eligible(view_at(view, n));
    for (size_t n = 0; n < rows; n++) {
        const struct mesh_member *member = view_at(view, n);
        if (any_eligible ? !member_is_eligible(member) : !member_is_living(member))
            continue;
        struct ring_peer *peer = &peers[count++];
        peer->id = member->record->id;
        peer->weight = member->record->weight;
        memcpy(peer->zone, member->record->zone, sizeof peer->zone);
    }
    const unsigned point_bits = MUTANT(RING_ORDER) ? 10 : RING_POINT_BITS;
    int rc = 0;
    if (rings == NULL || !rings_share(rings, ring, peers, count, point_bits)) {
        const struct ring *former = rings ? rings_like(rings, ring, peers, count) : ring;
        rc = ring_build_like(ring, former, peers, count, point_bits);
        if (rc == 0 && rings != NULL)
            rings_offer(rings, ring);
    }
    if (rc == 0)
        ring->generation = generation;
    free(peers);
    return rc;
}

/* How many of the next four are passed by is a sum: it costs less than a branch that nobody can
 * foresee. Behind the last point stand four that pass nobody by. */
static uint32_t place_of(const struct ring *ring, uint64_t point)
{
    uint64_t wanted = ring_point_at(point);
    const uint64_t *at = &ring->points[ring->index[ring_bucket_of(ring, point)]];
    int passed;
    do {
        passed = (at[0] < wanted) + (at[1] < wanted) + (at[2] < wanted) + (at[3] < wanted);
        at += passed;
    } while (passed == RING_POINTS_AT_ONCE);
    return (uint32_t)(at - ring->points);
}

struct peer_id ring_lookup(const struct ring *ring, uint64_t point)
{
    if (ring->points_count == 0)
        return (struct peer_id){0, 0};
    return ring->ids[ring_point_owner(ring->points[place_of(ring, point)])];
}

static bool is_among(const uint16_t *owners, size_t count, uint16_t owner)
{
    for (size_t n = 0; n < count; n++)
        if (owners[n] == owner)
            return true;
    return false;
}

/* The first of another zone goes second; `at` is where the walk would go on. Without branches, but
 * for the one who is far away. */
static void mix_zones(const struct ring *ring, uint32_t at, uint16_t *owners, size_t count)
{
    uint16_t first = ring->zones[owners[0]];
    size_t other = count;
    for (size_t n = count - 1; n > 0; n--)
        other = ring->zones[owners[n]] != first ? n : other;
    if (other == count) {
        while (ring->zones[ring_point_owner(ring->points[at])] == first)
            at = at + 1 < ring->points_count ? at + 1 : 0;
        owners[--other] = ring_point_owner(ring->points[at]); /* the last makes room */
    }
    uint16_t moved = owners[other];
    for (size_t n = count - 1; n > 1; n--)
        owners[n] = owners[n - (n <= other)];
    owners[1] = moved;
}

size_t ring_walk(const struct ring *ring, uint64_t point, struct peer_id *out, size_t max)
{
    uint16_t owners[RING_WALK_MAX];
    size_t limit = max < RING_WALK_MAX ? max : RING_WALK_MAX, count = 0;
    if (ring->points_count == 0 || max == 0)
        return 0;
    if (limit > ring->peers_count)
        limit = ring->peers_count;
    uint32_t at = place_of(ring, point);
    for (at = at < ring->points_count ? at : 0; count < limit;
         at = at + 1 < ring->points_count ? at + 1 : 0) {
        uint16_t owner = ring_point_owner(ring->points[at]);
        if (!is_among(owners, count, owner))
            owners[count++] = owner;
    }
    if (ring->zones_count > 1 && count > 1)
        mix_zones(ring, at, owners, count);
    for (size_t n = 0; n < count; n++)
        out[n] = ring->ids[owners[n]];
    return count;
}

uint64_t ring_point(const void *bytes, size_t length)
{
    return XXH3_64bits(bytes, length);
}
