/* ring_build.c - how a ring is made: from nothing, or from one that differs by a few peers. Both
 * give the same ring (M4). See ring.h.
 *
 * Points are uniform, so a counting sort by their upper bits leaves about one in each bucket; the
 * same buckets are the radix index by which a lookup begins. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "mesh/base/mutant.h"
#include "mesh/member/ring.h"

#define GONE UINT32_MAX

void ring_deinit(struct ring *ring)
{
    free(ring->peers);
    free(ring->ids);
    free(ring->points);
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
static uint64_t point_of(const struct ring *ring, uint32_t peer, uint32_t n)
{
    uint8_t text[21];
    write_le(text, ring->ids[peer].name, 8);
    write_le(text + 8, ring->ids[peer].generation, 8);
    text[16] = '#';
    write_le(text + 17, n, 4);
    return XXH3_64bits(text, sizeof text) & UINT64_MAX << (64 - ring->point_bits);
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

/* 0 or -ENOMEM: a ring of these peers, without its points. */
static int begin(struct ring *ring, const struct ring_peer *peers, size_t count,
                 unsigned point_bits)
{
    unsigned bits = 1;
    *ring = (struct ring){.is_built = true, .point_bits = point_bits};
    ring->points_each = points_per_weight(peers, count);
    ring->peers_count = (uint32_t)count;
    for (size_t n = 0; n < count; n++)
        ring->points_count += ring->points_each * peers[n].weight;
    if (ring->points_count == 0)
        return 0;
    while (bits < 31 && (uint32_t)1 << bits < ring->points_count)
        bits++;
    ring->index_shift = 64 - bits;
    ring->peers = calloc(count, sizeof *ring->peers);
    ring->ids = calloc(count, sizeof *ring->ids);
    ring->points = calloc(ring->points_count, sizeof *ring->points);
    ring->index = calloc(((size_t)1 << bits) + 1, sizeof *ring->index);
    if (!ring->peers || !ring->ids || !ring->points || !ring->index)
        return -ENOMEM;
    memcpy(ring->peers, peers, count * sizeof *peers);
    qsort(ring->peers, count, sizeof *ring->peers, compare_peers);
    for (size_t n = 0; n < count; n++)
        ring->ids[n] = ring->peers[n].id;
    return 0;
}

/* ---- zones ---------------------------------------------------------------------------------- */

/* A number for each zone, at each peer; 0 or -ENOMEM. Zones are few, whatever peers say. */
static int number_zones(struct ring *ring, uint32_t *zones)
{
    uint32_t *firsts = malloc(ring->peers_count * sizeof *firsts); /* of each zone, a peer */
    if (firsts == NULL)
        return -ENOMEM;
    for (uint32_t n = 0; n < ring->peers_count; n++) {
        uint32_t zone = 0;
        while (zone < ring->zones_count &&
               strcmp(ring->peers[firsts[zone]].zone, ring->peers[n].zone) != 0)
            zone++;
        if (zone == ring->zones_count)
            firsts[ring->zones_count++] = n;
        zones[n] = zone;
    }
    free(firsts);
    return 0;
}

/* ---- points --------------------------------------------------------------------------------- */

static bool comes_before(struct ring_point a, struct ring_point b)
{
    return a.at != b.at ? a.at < b.at : a.owner < b.owner && !MUTANT(RING_ORDER);
}

static int compare_points(const void *a, const void *b)
{
    const struct ring_point *one = a, *two = b;
    return comes_before(*one, *two) ? -1 : comes_before(*two, *one);
}

/* From nothing: a counting sort, then within the buckets. */
static void place_points(struct ring *ring)
{
    uint32_t *index = ring->index;
    uint32_t buckets = (uint32_t)1 << (64 - ring->index_shift), sum = 0;

    for (uint32_t peer = 0; peer < ring->peers_count; peer++)
        for (uint32_t n = 0; n < ring->points_each * ring->peers[peer].weight; n++)
            index[point_of(ring, peer, n) >> ring->index_shift]++;
    for (uint32_t n = 0; n < buckets; n++) { /* to the ends of the buckets */
        sum += index[n];
        index[n] = sum;
    }
    for (uint32_t peer = ring->peers_count; peer-- > 0;)
        for (uint32_t n = 0; n < ring->points_each * ring->peers[peer].weight; n++) {
            uint64_t point = point_of(ring, peer, n);
            uint32_t at = --index[point >> ring->index_shift];
            ring->points[at] = (struct ring_point){.at = point, .owner = peer};
        }
    for (uint32_t n = 1; n < ring->points_count; n++) { /* across buckets nothing moves */
        struct ring_point point = ring->points[n];
        uint32_t at = n;
        for (; at > 0 && comes_before(point, ring->points[at - 1]); at--)
            ring->points[at] = ring->points[at - 1];
        ring->points[at] = point;
    }
}

static void finish(struct ring *ring, const uint32_t *zones)
{
    uint32_t buckets = (uint32_t)1 << (64 - ring->index_shift), bucket = 0;
    for (uint32_t n = 0; n < ring->points_count; n++) {
        struct ring_point *point = &ring->points[n];
        point->zone = zones[point->owner];
        for (; bucket <= point->at >> ring->index_shift; bucket++)
            ring->index[bucket] = n;
    }
    for (; bucket <= buckets; bucket++)
        ring->index[bucket] = ring->points_count;
}

/* ---- from a former ring --------------------------------------------------------------------- */

/* Where each peer of the former ring is now (GONE: nowhere), and how many points the others of the
 * new one bring. Both are ordered by id. */
static uint32_t match(const struct ring *former, const struct ring *ring, uint32_t *now_at,
                      bool *is_new)
{
    uint32_t old = 0, fresh = 0;
    for (uint32_t n = 0; n < ring->peers_count; n++) {
        const struct ring_peer *peer = &ring->peers[n];
        while (old < former->peers_count && peer_id_compare(former->ids[old], peer->id) < 0)
            now_at[old++] = GONE;
        bool is_there = old < former->peers_count && peer_id_equal(former->ids[old], peer->id);
        is_new[n] = !is_there || former->peers[old].weight != peer->weight;
        if (is_new[n])
            fresh += ring->points_each * peer->weight;
        if (is_there)
            now_at[old++] = is_new[n] ? GONE : n;
    }
    while (old < former->peers_count)
        now_at[old++] = GONE;
    return fresh;
}

static void merge(const struct ring *former, struct ring *ring, const uint32_t *now_at,
                  const struct ring_point *fresh, uint32_t fresh_count)
{
    uint32_t at = 0, next = 0;
    for (uint32_t n = 0; n < former->points_count; n++) {
        struct ring_point kept = former->points[n];
        kept.owner = now_at[kept.owner];
        if (kept.owner == GONE)
            continue;
        while (next < fresh_count && comes_before(fresh[next], kept))
            ring->points[at++] = fresh[next++];
        ring->points[at++] = kept;
    }
    while (next < fresh_count)
        ring->points[at++] = fresh[next++];
    assert(at == ring->points_count);
}

/* False: they have too little in common, or there is no memory for it. */
static bool patch(const struct ring *former, struct ring *ring)
{
    if (former->points_count == 0 || former->points_each != ring->points_each ||
        former->point_bits != ring->point_bits)
        return false;
    bool is_done = false;
    uint32_t *now_at = malloc(former->peers_count * sizeof *now_at), count = 0, made = 0;
    bool *is_new = malloc(ring->peers_count * sizeof *is_new);
    struct ring_point *fresh = NULL;
    if (now_at != NULL && is_new != NULL)
        count = match(former, ring, now_at, is_new);
    if (now_at != NULL && is_new != NULL && count <= ring->points_count / 4)
        fresh = malloc((count > 0 ? count : 1) * sizeof *fresh);
    if (fresh != NULL) {
        for (uint32_t peer = 0; peer < ring->peers_count; peer++)
            for (uint32_t n = 0; is_new[peer] && n < ring->points_each * ring->peers[peer].weight;
                 n++)
                fresh[made++] = (struct ring_point){.at = point_of(ring, peer, n), .owner = peer};
        qsort(fresh, made, sizeof *fresh, compare_points);
        merge(former, ring, now_at, fresh, made);
        is_done = true;
    }
    free(now_at);
    free(is_new);
    free(fresh);
    return is_done;
}

int ring_build(struct ring *ring, const struct ring_peer *peers, size_t count, unsigned point_bits)
{
    struct ring built;
    assert(point_bits >= 1 && point_bits <= 64);
    uint32_t *zones = malloc((count > 0 ? count : 1) * sizeof *zones);
    int rc = zones == NULL ? -ENOMEM : 0;
    if (rc < 0)
        return rc;
    rc = begin(&built, peers, count, point_bits);
    if (rc == 0 && built.points_count > 0)
        rc = number_zones(&built, zones);
    if (rc == 0 && built.points_count > 0) {
        if (!patch(ring, &built))
            place_points(&built);
        finish(&built, zones);
    }
    free(zones);
    if (rc < 0) {
        ring_deinit(&built);
        return rc;
    }
    ring_deinit(ring);
    *ring = built;
    return 0;
}
