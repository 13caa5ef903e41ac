/* ring.h - points to eligible peers: a consistent-hash ring that is a function of the set of
 * members alone (M4). Each peer has 256 points per unit of weight, the same on every peer; a view
 * that differs by one peer differs only in that peer's keys. Built from a view at the first
 * lookup after a change, by the caller's ring_sync(). */
#ifndef MESH_RING_H
#define MESH_RING_H

#include "mesh/member/view.h"

#define RING_POINTS_PER_WEIGHT 256
#define RING_WALK_MAX 64           /* different peers that a walk names at most */
#define RING_POINTS_MAX (1u << 22) /* beyond that every peer gets fewer per weight */

struct ring_peer {
    struct peer_id id;
    char zone[MESH_ZONE_MAX + 1];
    uint8_t weight;
};

/* 16 bytes, so that a lookup touches one line of the index and one of the points. */
struct ring_point {
    uint64_t at;
    uint32_t owner; /* a place in peers */
    uint32_t zone;  /* the owner's: two are equal if their zones are */
};

/* Zeroed: an empty ring. */
struct ring {
    uint64_t generation; /* of the view it was built from */
    bool is_built;
    uint32_t peers_count, points_count, zones_count;
    uint32_t points_each;      /* per weight */
    unsigned point_bits;       /* of a point that count */
    unsigned index_shift;      /* of a point, to its bucket */
    struct ring_peer *peers;   /* by id */
    struct peer_id *ids;       /* theirs alone: what a lookup ends with */
    struct ring_point *points; /* sorted; ties by peer */
    uint32_t *index;           /* per bucket: its first point; one more at the end */
};

void ring_deinit(struct ring *ring); /* an empty one is fine, and what it becomes */

/* Builds it anew if the view changed in what decides it: the eligible members, or all living ones
 * if none is. 0, or -ENOMEM: the former ring stays. */
int ring_sync(struct ring *ring, const struct view *view);
/* From peers in any order, without two of one id. Only the upper `point_bits` of each point are
 * used: 64, but for tests that want ties. What a ring of nearly the same peers has is kept: one
 * more peer costs a pass over the points, not a sort. */
int ring_build(struct ring *ring, const struct ring_peer *peers, size_t count, unsigned point_bits);

/* Where on the ring some bytes of ours are looked up. */
uint64_t ring_point(const void *bytes, size_t length);
/* The peer of the first point at or after this one; nobody on an empty ring. */
struct peer_id ring_lookup(const struct ring *ring, uint64_t point);
/* Different peers in the order of the walk from `point`, up to `max`; the second is the first one
 * of another zone than the first's, where there is one. Returns how many: at most RING_WALK_MAX. */
size_t ring_walk(const struct ring *ring, uint64_t point, struct peer_id *out, size_t max);

#endif
