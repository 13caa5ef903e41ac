/* rebalance.h - which sessions go to a peer that is new (--rebalance idle): some of those that are
 * older than it and of which it has a copy, so many of ours as its weight is of all. If everybody
 * gives so much, that is its share, and nobody has to know how much others have: loads are heard
 * seldom, and of a mesh that grows they are too low. They go once members are at rest and nothing
 * is asked in them, at a bounded rate: handover.h gives them away. */
#ifndef MESH_REBALANCE_H
#define MESH_REBALANCE_H

#include "mesh/base/types.h"

#define REBALANCE_STEP_MS 1000 /* between steps, */
#define REBALANCE_PER_STEP 20  /* in each of which so many are offered at most, */
#define REBALANCE_SLOTS 4096   /* of so many that are looked at, */
#define REBALANCE_IDLE_MS 5000 /* if nothing was asked in them for so long, */
#define REBALANCE_CALM_MS 5000 /* and the ring was the same for so long: a rollout is over */

struct core;
struct session;

struct rebalance {
    struct newcomer {
        struct peer_id peer;
        uint64_t since_ms; /* first seen on the ring */
        uint32_t due;      /* so many more of our sessions may go there */
    } * seen;              /* as long as the view remembers them; ordered by id */
    uint32_t seen_count, left, slots_left;
    uint64_t ring_generation, calm_from_ms;
    bool takes_held; /* this time round, sessions to whose streams somebody listens, too */
};

void rebalance_deinit(struct core *core);
/* Each turn: a peer is as new as when the ring first had it, not as the step that looks at it. */
void rebalance_watch(struct core *core, uint64_t now_ms);
void rebalance_step(struct core *core, uint64_t now_ms);
/* May one more session be looked at in this step? */
bool rebalance_looks(struct core *core);
/* Is it to go now, and to whom? */
bool rebalance_taker(struct core *core, const struct session *session, struct peer_id *taker,
                     uint64_t now_ms);
/* It is offered to that one; or was, and did not go. */
void rebalance_offered(struct core *core, struct peer_id taker, bool is_off);
/* Nobody waits for anything in it; `may_hold`: but a client may listen. */
bool rebalance_is_idle(struct core *core, const struct session *session, bool may_hold,
                       uint64_t now_ms);

#endif
