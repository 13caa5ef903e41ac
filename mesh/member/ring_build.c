/* ring_build.c - how a ring is made: the points of the former one that stay, merged with those that
 * are new. Whatever the former was, the ring is the same (M4). See ring.h. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "mesh/base/mutant.h"
#include "mesh/member/rings.h"

#define GONE UINT16_MAX /* no place in peers: VIEW_ROWS_MAX of them */
#define OWNER_BITS 16
#define DIGIT_BITS 12 /* of the sort: four of them are a point */

static_assert(RING_POINT_BITS + OWNER_BITS == 64, "a slot is one word");
static_assert(RING_POINT_BITS % DIGIT_BITS == 0, "sorted digit by digit");
static_assert(VIEW_ROWS_MAX <= GONE, "an owner is of 16 bits");

void ring_deinit(struct ring *ring)
{
    if (!rings_give_back(ring)) {
        free(ring->points);
        free(ring->index);
        free(ring->peers);
        free(ring->ids);
        free(ring->zones);
    }
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
static uint64_t point_of(const struct ring *ring, uint16_t peer, uint32_t n)
{
    uint8_t text[21];
    write_le(text, ring->ids[peer].name, 8);
    write_le(text + 8, ring->ids[peer].generation, 8);
    text[16] = '#';
    write_le(text + 17, n, 4);
    return (XXH3_64bits(text, sizeof text) & UINT64_MAX << (64 - ring->point_bits)) | peer;
}

static uint32_t points_per_weight(uint64_t weight)
{
    uint32_t each = RING_POINTS_PER_WEIGHT;
    while (each > 1 && weight * each > RING_POINTS_MAX)
        each /= 2;
    return each;
}

/* 0 or -ENOMEM: a ring of these peers, without its points. */
static int begin(struct ring *ring, const struct ring_peer *peers, size_t count,
                 unsigned point_bits)
{
    uint64_t weight = 0;
    *ring = (struct ring){.is_built = true, .point_bits = point_bits};
    for (size_t n = 0; n < count; n++)
        weight += peers[n].weight;
    ring->points_each = points_per_weight(weight);
    if (weight == 0)
        return 0;
    uint32_t points = ring->points_each * (uint32_t)weight;
    ring->buckets_count = points / 2 + 1;
    ring->peers = calloc(count, sizeof *ring->peers);
    ring->ids = calloc(count, sizeof *ring->ids);
    ring->zones = calloc(count, sizeof *ring->zones);
    ring->points = malloc((points + RING_POINTS_AT_ONCE) * sizeof *ring->points);
    ring->index = calloc((size_t)ring->buckets_count + 1, sizeof *ring->index);
    if (!ring->peers || !ring->ids || !ring->zones || !ring->points || !ring->index)
        return -ENOMEM;
    for (size_t n = 0; n < count; n++)
        if (peers[n].weight > 0)
            ring->peers[ring->peers_count++] = peers[n];
    qsort(ring->peers, ring->peers_count, sizeof *ring->peers, compare_peers);
    for (uint32_t n = 0; n < ring->peers_count; n++)
        ring->ids[n] = ring->peers[n].id;
    return 0;
}

/* A number for each zone, at each peer; 0 or -ENOMEM. Zones are few, whatever peers say. */
static int number_zones(struct ring *ring)
{
    uint16_t *firsts = malloc(ring->peers_count * sizeof *firsts); /* of each zone, a peer */
    if (firsts == NULL)
        return -ENOMEM;
    for (uint32_t n = 0; n < ring->peers_count; n++) {
        uint32_t zone = 0;
        while (zone < ring->zones_count &&
               strcmp(ring->peers[firsts[zone]].zone, ring->peers[n].zone) != 0)
            zone++;
        if (zone == ring->zones_count)
            firsts[ring->zones_count++] = (uint16_t)n;
        ring->zones[n] = (uint16_t)zone;
    }
    free(firsts);
    return 0;
}

/* ---- points that are new -------------------------------------------------------------------- */

/* Where each peer of the former ring is now (GONE: nowhere, or with other points), who of the new
 * one brings points, and how many these are. Both are ordered by id. */
static uint32_t match(const struct ring *former, const struct ring *ring, uint16_t *now_at,
                      bool *is_new)
{
    bool keeps = former->points_each == ring->points_each && former->point_bits == ring->point_bits;
    uint32_t old = 0, fresh = 0;
    for (uint32_t n = 0; n < former->peers_count; n++)
        now_at[n] = GONE;
    for (uint32_t n = 0; n < ring->peers_count; n++) {
        const struct ring_peer *peer = &ring->peers[n];
        while (old < former->peers_count && peer_id_compare(former->ids[old], peer->id) < 0)
            old++;
        is_new[n] = !keeps || old == former->peers_count ||
                    !peer_id_equal(former->ids[old], peer->id) ||
                    former->peers[old].weight != peer->weight;
        if (is_new[n])
            fresh += ring->points_each * peer->weight;
        else
            now_at[old] = (uint16_t)n;
    }
    return fresh;
}

/* By their points; those of equal points stay in the order that they come in: by owner. */
static void sort(uint64_t *words, uint64_t *spare, uint32_t count)
{
    for (unsigned shift = OWNER_BITS; shift < 64; shift += DIGIT_BITS) {
        uint32_t places[1u << DIGIT_BITS] = {0}, sum = 0;
        const uint32_t mask = (1u << DIGIT_BITS) - 1;
        for (uint32_t n = 0; n < count; n++)
            places[words[n] >> shift & mask]++;
        for (uint32_t n = 0; n <= mask; n++) {
            uint32_t those = places[n];
            places[n] = sum;
            sum += those;
        }
        for (uint32_t n = 0; n < count; n++)
            spare[places[words[n] >> shift & mask]++] = words[n];
        uint64_t *sorted = spare;
        spare = words;
        words = sorted;
    }
}

static void make_points(const struct ring *ring, const bool *is_new, uint64_t *words)
{
    uint32_t made = 0;
    for (uint32_t peer = 0; peer < ring->peers_count; peer++)
        for (uint32_t n = 0; is_new[peer] && n < ring->points_each * ring->peers[peer].weight; n++)
            words[made++] = point_of(ring, (uint16_t)peer, n);
}

/* ---- all points ----------------------------------------------------------------------------- */

static void put(struct ring *ring, uint64_t point)
{
    if (ring->points_count == 0 || ring->points[ring->points_count - 1] != point)
        ring->points[ring->points_count++] = point;
}

static bool comes_before(uint64_t a, uint64_t b)
{
    return MUTANT(RING_ORDER) ? a >> OWNER_BITS < b >> OWNER_BITS : a < b;
}

/* What stays of the former ring, and what is new, in the order of the circle. */
static void merge(const struct ring *former, struct ring *ring, const uint16_t *now_at,
                  const uint64_t *fresh, uint32_t fresh_count)
{
    uint32_t next = 0;
    for (uint32_t n = 0; n < former->points_count; n++) {
        uint64_t point = former->points[n];
        uint16_t owner = now_at[ring_point_owner(point)];
        if (owner == GONE)
            continue;
        point = ring_point_at(point) | owner;
        while (next < fresh_count && comes_before(fresh[next], point))
            put(ring, fresh[next++]);
        put(ring, point);
    }
    while (next < fresh_count)
        put(ring, fresh[next++]);
    for (uint32_t n = 0; n < RING_POINTS_AT_ONCE; n++)
        ring->points[ring->points_count + n] =
            ring_point_at(UINT64_MAX) | ring_point_owner(ring->points[0]);
}

/* How many points there are up to the end of each bucket; then, where there is none, as many as up
 * to the one before. Nothing here is to be foreseen, so nothing branches. */
static void fill_index(struct ring *ring)
{
    uint32_t most = 0;
    for (uint32_t n = 0; n < ring->points_count; n++)
        ring->index[ring_bucket_of(ring, ring->points[n]) + 1] = n + 1;
    for (uint32_t bucket = 0; bucket <= ring->buckets_count; bucket++) {
        most = ring->index[bucket] > most ? ring->index[bucket] : most;
        ring->index[bucket] = most;
    }
}

/* 0 or -ENOMEM. */
static int place_points(struct ring *ring, const struct ring *former)
{
    uint16_t *now_at = malloc((former->peers_count + 1) * sizeof *now_at);
    bool *is_new = malloc(ring->peers_count * sizeof *is_new);
    uint64_t *words = NULL;
    uint32_t count = 0;
    if (now_at != NULL && is_new != NULL) {
        count = match(former, ring, now_at, is_new);
        words = malloc((2 * (size_t)count + 1) * sizeof *words);
    }
    if (words != NULL) {
        make_points(ring, is_new, words);
        sort(words, words + count, count);
        merge(former, ring, now_at, words, count);
        fill_index(ring);
    }
    free(now_at);
    free(is_new);
    free(words);
    return words != NULL ? 0 : -ENOMEM;
}

int ring_build(struct ring *ring, const struct ring_peer *peers, size_t count, unsigned point_bits)
{
    return ring_build_like(ring, ring, peers, count, point_bits);
}

int ring_build_like(struct ring *ring, const struct ring *former, const struct ring_peer *peers,
                    size_t count, unsigned point_bits)
{
    struct ring built;
    assert(point_bits >= 1 && point_bits <= RING_POINT_BITS && count <= VIEW_ROWS_MAX);
    int rc = begin(&built, peers, count, point_bits);
    if (rc == 0 && built.peers_count > 0)
        rc = number_zones(&built);
    if (rc == 0 && built.peers_count > 0)
        rc = place_points(&built, former);
    if (rc < 0) {
        ring_deinit(&built);
        return rc;
    }
    ring_deinit(ring);
    *ring = built;
    return 0;
}
