/* affinity.h - what ties a request of the session-less era (MCP 2026-07-28) to one process, though
 * it names no session (DESIGN §12): the requestState that the process gave out, the task that it
 * runs, or a handle in a header that the operator named. Where a task runs is tasks.c's question;
 * who gets a request that nothing ties is place.c's.
 *
 * A requestState goes out as "<tag>.<original>" and comes back so, byte for byte, as clients must;
 * the tag names the peer that gave it (key.h). Both changes are patches of the text. A tag that is
 * not ours is no tag: the state passes as it is. */
#ifndef MESH_AFFINITY_H
#define MESH_AFFINITY_H

#include "mesh/base/types.h"

struct call;
struct core;

/* What one request is tied by; all zero: nothing. */
struct affinity {
    bool has_state, has_task, has_handle;
    uint64_t home;  /* of the state: view_home_tag() of the peer that gave it */
    uint64_t task;  /* hash of its id */
    uint64_t point; /* of the handle, on the ring */
};

enum affinity_verdict {
    AFFINITY_NONE, /* nothing ties it, or nobody living */
    AFFINITY_AT,   /* ask `peer` */
    AFFINITY_WAIT  /* it is being asked who runs the task; entry_wake() follows */
};

struct affinity affinity_of(const struct core *core, const struct mesh_request *request);
enum affinity_verdict affinity_route(struct core *core, const struct affinity *affinity,
                                     struct peer_id *peer, uint64_t now_ms);
/* Is it tied to this very process? Nobody else can serve it, even while we drain. `body`: the text
 * that request->rpc describes. */
bool affinity_is_here(const struct core *core, const struct mesh_request *request,
                      struct slice body);

/* For the upstream: the original state. */
struct patch affinity_unwrap(const struct core *core, const struct call *call);
/* The answer to a call is about to be added: wraps its state, and keeps it back until others know
 * where the task runs that it names. */
void affinity_on_answer(struct core *core, struct call *call, const struct rpc_message *rpc,
                        struct slice text, uint64_t now_ms);

#endif
