/* hold.h - when a peer takes itself off the ring because others keep losing it (DESIGN §9): after
 * it learned twice within five minutes that it was declared dead, for a minute; each time more for
 * twice as long, up to ten minutes; then it is over. Or while others hardly hear it (edges.h). Said
 * in its own record: damping in each observer's memory would give equal views different rings. */
#ifndef MESH_HOLD_H
#define MESH_HOLD_H

#include "mesh/base/types.h"

#define HOLD_WINDOW_MS 300000 /* two deaths within so long */
#define HOLD_DOUBLINGS 10     /* the longest hold is so many of the first */

/* All zero: never declared dead. */
struct hold {
    uint64_t died_ms;   /* the last time; 0: never */
    uint64_t until_ms;  /* 0: not on hold */
    uint64_t over_ms;   /* when the last hold ended */
    uint32_t length_ms; /* of the last hold */
};

/* We learned that we were declared dead. `first_ms`: the length of a first hold. True: we are on
 * hold from now on, or for longer than before. */
bool hold_on_death(struct hold *hold, uint32_t first_ms, uint64_t now_ms);
/* Several hardly hear us: on hold for at least so long from now on. */
void hold_on_weak(struct hold *hold, uint32_t length_ms, uint64_t now_ms);
/* Ends a hold that is over. */
void hold_now(struct hold *hold, uint64_t now_ms);
static inline bool hold_is_on(const struct hold *hold)
{
    return hold->until_ms != 0;
}
static inline uint64_t hold_deadline_ms(const struct hold *hold)
{
    return hold->until_ms != 0 ? hold->until_ms : MESH_NEVER;
}

#endif
