/* ring.h - points to eligible peers: a consistent-hash ring that is a function of the set of
 * members alone (M4). Each peer has so many points per unit of weight, the same on every peer; a
 * view that differs by one peer differs only in that peer's keys. Built from a view at the first
 * lookup after a change, by the caller's ring_sync(). */
#ifndef MESH_RING_H
#define MESH_RING_H

#include "mesh/member/view.h"

/* A peer's share of the circle varies by 1 / sqrt(this): of a hundred the fullest has 1.11 of the
 * mean, with 256 points 1.17. */
#define RING_POINTS_PER_WEIGHT 512
#define RING_WALK_MAX 16           /* different peers that a walk names at most */
#define RING_POINTS_MAX (1u << 22) /* beyond that every peer gets fewer per weight */
#define RING_POINT_BITS 48         /* of a hash: two of 2^22 points meet once in 30 rings */
#define RING_POINTS_AT_ONCE 4      /* a lookup looks at */

struct rings; /* rings.h */
struct ring_shared;

struct ring_peer {
    struct peer_id id;
    char zone[MESH_ZONE_MAX + 1];
    uint8_t weight;
};

/* A point is one word: where it is on the circle in the upper 48 bits, whose it is (a place in
 * peers) in the lower 16, so that ties go by peer, and eight stand in a line of the cache. Points
 * are uniform: the buckets of an index, with two points each or so, say where a lookup begins.
 *
 * Zeroed: an empty ring. */
struct ring {
    uint64_t generation; /* of the view it was built from */
    bool is_built;
    uint32_t peers_count, zones_count;
    uint32_t points_count; /* a peer's points that meet are one */
    uint32_t points_each;  /* per weight */
    unsigned point_bits;   /* of a point that count */
    uint32_t buckets_count;
    uint64_t *points;        /* sorted; behind them, see RING_POINTS_AT_ONCE, what ends a lookup */
    uint32_t *index;         /* per bucket: the first point at or after its beginning */
    struct ring_peer *peers; /* by id */
    struct peer_id *ids;     /* theirs alone: what a lookup ends with */
    uint16_t *zones;         /* theirs as numbers: two are equal if the zones are */
    struct ring_shared *shared; /* these five are others', too; NULL: its own */
};

static inline uint64_t ring_point_at(uint64_t point)
{
    return point & ~(uint64_t)UINT16_MAX;
}
static inline uint16_t ring_point_owner(uint64_t point)
{
    return (uint16_t)point;
}
static inline uint32_t ring_bucket_of(const struct ring *ring, uint64_t point)
{
    return (uint32_t)((point >> 32) * ring->buckets_count >> 32);
}

void ring_deinit(struct ring *ring); /* an empty one is fine, and what it becomes */

/* Makes it anew if the view changed in what decides it: the eligible members, or all living ones
 * if none is. `rings`: what others have there is taken, and what is built is left there for them;
 * NULL: there are no others. 0, or -ENOMEM: the former ring stays. */
int ring_sync(struct ring *ring, const struct view *view, struct rings *rings);
/* From peers in any order, without two of one id, VIEW_ROWS_MAX of them at most; who has no weight
 * is not on it. Only the upper `point_bits` of each point are used: RING_POINT_BITS, but for tests
 * that want ties. What a ring of nearly the same peers has is kept: one more peer costs a pass over
 * the points, not a sort. */
int ring_build(struct ring *ring, const struct ring_peer *peers, size_t count, unsigned point_bits);
/* The same, out of what another ring has. */
int ring_build_like(struct ring *ring, const struct ring *former, const struct ring_peer *peers,
                    size_t count, unsigned point_bits);

/* Where on the ring some bytes of ours are looked up. */
uint64_t ring_point(const void *bytes, size_t length);
/* The peer of the first point at or after this one; nobody on an empty ring. */
struct peer_id ring_lookup(const struct ring *ring, uint64_t point);
/* Different peers in the order of the walk from `point`, up to `max`; the second is the first one
 * of another zone than the first's, where there is one. Returns how many: at most RING_WALK_MAX. */
size_t ring_walk(const struct ring *ring, uint64_t point, struct peer_id *out, size_t max);

#endif
