/* rings.h - rings of equal peers are one, counted by who has it: a store that views of one process
 * share (DESIGN §14). A ring of 200 peers is 2 MB and some milliseconds of work, and of 200 peers
 * nearly all see the same. Who is alone in its process needs none: its ring is its own. */
#ifndef MESH_RINGS_H
#define MESH_RINGS_H

#include "mesh/member/ring.h"

int rings_new(struct rings **ringsp); /* 0 or -ENOMEM */
void rings_free(struct rings *rings); /* NULL is fine; whoever shared a ring gave it back */
size_t rings_count(const struct rings *rings);

/* ---- for ring.c and ring_build.c ------------------------------------------------------------ */

/* The ring becomes the one of these peers, ordered by id, if somebody has that; false: it stays. */
bool rings_share(struct rings *rings, struct ring *ring, const struct ring_peer *peers,
                 size_t count, unsigned point_bits);
/* What a ring of nearly these peers is best built from: this one, or one of others. */
const struct ring *rings_like(const struct rings *rings, const struct ring *ring,
                              const struct ring_peer *peers, size_t count);
/* One that was just built may be had by others from now on. Without memory it is not. */
void rings_offer(struct rings *rings, struct ring *ring);
/* False: nobody else has what this ring consists of, so it goes with it. */
bool rings_give_back(struct ring *ring);

#endif
