/* ring.c - the consistent-hash ring. See ring.h.
 *
 * Points are uniform, so a counting sort by their upper bits leaves about one in each bucket; the
 * same buckets are the radix index by which a lookup begins. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "mesh/member/ring.h"

void ring_deinit(struct ring *ring)
{
    free(ring->peers);
    free(ring->zones);
    free(ring->points);
    free(ring->owners);
    free(ring->index);
    memset(ring, 0, sizeof *ring);
}

static int compare_peers(const void *a, const void *b)
{
    return peer_id_compare(((const struct ring_peer *)a)->id, ((const struct ring_peer *)b)->id);
}

static void write_le(uint8_t *at, uint64_t n, unsigned bytes)
{
    for (unsigned byte = 0; byte < bytes; byte++)
        at[byte] = (uint8_t)(n >> (8 * byte));
}

/* The separator keeps (id, 12) and (id 1, 2) apart, were ids ever texts again. */
static uint64_t point_of(struct peer_id id, uint32_t n, uint64_t mask)
{
    uint8_t text[21];
    write_le(text, id.name, 8);
    write_le(text + 8, id.generation, 8);
    text[16] = '#';
    write_le(text + 17, n, 4);
    return XXH3_64bits(text, sizeof text) & mask;
}

static uint32_t points_per_weight(const struct ring_peer *peers, size_t count)
{
    uint64_t weight = 0;
    uint32_t each = RING_POINTS_PER_WEIGHT;
    for (size_t n = 0; n < count; n++)
        weight += peers[n].weight;
    while (each > 1 && weight * each > RING_POINTS_MAX)
        each /= 2;
    return each;
}

/* Zones by number, in the order of the peers. */
static void number_zones(struct ring *ring)
{
    for (uint32_t n = 0; n < ring->peers_count; n++) {
        uint32_t before = 0;
        while (before < n && strcmp(ring->peers[before].zone, ring->peers[n].zone) != 0)
            before++;
        ring->zones[n] = before < n ? ring->zones[before] : ring->zones_count++;
    }
}

static void place_points(struct ring *ring, uint32_t each, uint64_t mask)
{
    uint32_t *index = ring->index;
    uint32_t buckets = (uint32_t)1 << (64 - ring->index_shift), sum = 0;

    for (uint32_t peer = 0; peer < ring->peers_count; peer++)
        for (uint32_t n = 0; n < each * ring->peers[peer].weight; n++)
            index[point_of(ring->peers[peer].id, n, mask) >> ring->index_shift]++;
    for (uint32_t n = 0; n < buckets; n++) { /* to the ends of the buckets */
        sum += index[n];
        index[n] = sum;
    }
    index[buckets] = sum;
    for (uint32_t peer = ring->peers_count; peer-- > 0;)
        for (uint32_t n = 0; n < each * ring->peers[peer].weight; n++) {
            uint64_t point = point_of(ring->peers[peer].id, n, mask);
            uint32_t at = --index[point >> ring->index_shift];
            ring->points[at] = point;
            ring->owners[at] = peer;
        }
}

/* Within the buckets; across them nothing moves. */
static void sort_points(struct ring *ring)
{
    for (uint32_t n = 1; n < ring->points_count; n++) {
        uint64_t point = ring->points[n];
        uint32_t owner = ring->owners[n], at = n;
        while (at > 0 && (ring->points[at - 1] > point ||
                          (ring->points[at - 1] == point && ring->owners[at - 1] > owner))) {
            ring->points[at] = ring->points[at - 1];
            ring->owners[at] = ring->owners[at - 1];
            at--;
        }
        ring->points[at] = point;
        ring->owners[at] = owner;
    }
}

int ring_build(struct ring *ring, const struct ring_peer *peers, size_t count, unsigned point_bits)
{
    struct ring built = {.is_built = true};
    uint32_t each = points_per_weight(peers, count);
    assert(point_bits >= 1 && point_bits <= 64);
    for (size_t n = 0; n < count; n++)
        built.points_count += each * peers[n].weight;
    built.peers_count = (uint32_t)count;
    if (built.points_count == 0) {
        ring_deinit(ring);
        ring->is_built = true;
        return 0;
    }
    unsigned bits = 1;
    while (bits < 31 && (uint32_t)1 << bits < built.points_count)
        bits++;
    built.index_shift = 64 - bits;
    built.peers = calloc(count, sizeof *built.peers);
    built.zones = calloc(count, sizeof *built.zones);
    built.points = calloc(built.points_count, sizeof *built.points);
    built.owners = calloc(built.points_count, sizeof *built.owners);
    built.index = calloc(((size_t)1 << bits) + 1, sizeof *built.index);
    if (!built.peers || !built.zones || !built.points || !built.owners || !built.index) {
        ring_deinit(&built);
        return -ENOMEM;
    }
    memcpy(built.peers, peers, count * sizeof *peers);
    qsort(built.peers, count, sizeof *built.peers, compare_peers);
    number_zones(&built);
    place_points(&built, each, UINT64_MAX << (64 - point_bits));
    sort_points(&built);
    ring_deinit(ring);
    *ring = built;
    return 0;
}

int ring_sync(struct ring *ring, const struct view *view)
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
    int rc = ring_build(ring, peers, count, 64);
    if (rc == 0)
        ring->generation = generation;
    free(peers);
    return rc;
}

static uint32_t place_of(const struct ring *ring, uint64_t point)
{
    uint32_t at = ring->index[point >> ring->index_shift];
    while (at < ring->points_count && ring->points[at] < point)
        at++;
    return at < ring->points_count ? at : 0;
}

struct peer_id ring_lookup(const struct ring *ring, uint64_t point)
{
    if (ring->points_count == 0)
        return (struct peer_id){0, 0};
    return ring->peers[ring->owners[place_of(ring, point)]].id;
}

static bool is_among(const struct peer_id *ids, size_t count, struct peer_id id)
{
    for (size_t n = 0; n < count; n++)
        if (peer_id_equal(ids[n], id))
            return true;
    return false;
}

size_t ring_walk(const struct ring *ring, uint64_t point, struct peer_id *out, size_t max)
{
    if (ring->points_count == 0 || max == 0)
        return 0;
    uint32_t at = place_of(ring, point), first_zone = ring->zones[ring->owners[at]];
    size_t count = 0, limit = max < ring->peers_count ? max : ring->peers_count;
    /* what is still looked for: a second peer that is of another zone */
    bool wants_zone = ring->zones_count > 1 && limit > 1;

    for (uint32_t left = ring->points_count; left > 0 && (count < limit || wants_zone); left--) {
        uint32_t peer = ring->owners[at];
        struct peer_id id = ring->peers[peer].id;
        at = at + 1 < ring->points_count ? at + 1 : 0;
        bool is_other = wants_zone && ring->zones[peer] != first_zone;
        if ((count == limit && !is_other) || is_among(out, count, id))
            continue;
        if (is_other) { /* it goes second, the others one further */
            if (count < limit)
                count++;
            memmove(out + 2, out + 1, (count - 2) * sizeof *out);
            out[1] = id;
            wants_zone = false;
        } else {
            out[count++] = id;
        }
    }
    return count;
}

uint64_t ring_point(const void *bytes, size_t length)
{
    return XXH3_64bits(bytes, length);
}
