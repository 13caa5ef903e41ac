/* core.h - what the modules of a peer's session side share. One peer is one struct core and, in
 * mesh.c, its membership and its seal. Modules call each other's functions with it; nobody but a
 * module's own file touches that module's part. */
#ifndef MESH_CORE_H
#define MESH_CORE_H

#include "mesh/base/failpoint.h"
#include "mesh/base/rng.h"
#include "mesh/member/ring.h"
#include "mesh/member/swim.h"
#include "mesh/member/view.h"
#include "mesh/session/effects.h"
#include "mesh/session/breaker.h"
#include "mesh/session/copies.h"
#include "mesh/session/entry.h"
#include "mesh/session/evidence.h"
#include "mesh/session/fence.h"
#include "mesh/session/handover.h"
#include "mesh/session/key.h"
#include "mesh/session/owner.h"
#include "mesh/session/park.h"
#include "mesh/session/rate.h"
#include "mesh/session/rebalance.h"
#include "mesh/session/relay.h"
#include "mesh/session/retry.h"
#include "mesh/session/serve.h"
#include "mesh/session/succession.h"
#include "mesh/session/session.h"
#include "mesh/session/event_stream.h"
#include "mesh/session/takeover.h"
#include "mesh/session/tasks.h"
#include "mesh/session/tombs.h"
#include "mesh/wire/links.h"

struct core {
    struct mesh_config config;
    uint64_t started_ms, view_changed_ms;
    uint64_t now_ms;            /* of the last fact */
    uint64_t heard_ms;          /* when anything came from the network: a word, or a refusal */
    struct bytes_budget budget; /* bodies and kept answers */
    struct rng rng;             /* ids, nonces, keys */
    struct shuffle shuffle;     /* order without secrecy */
    uint8_t sip_key[16];        /* of tables keyed by outside bytes */
    struct swim *swim;
    struct view *view; /* swim's */
    struct ring ring;
    struct links *links;
    struct effects effects;
    struct key_ring keys;
    struct retry retry;
    struct owner owner;
    struct sessions sessions;
    struct tombs tombs;
    struct event_streams streams;
    struct serve serve;
    struct breaker breaker; /* of the upstream; where that is a server that sessions share */
    struct entry entry;
    struct tasks tasks;
    struct copies copies;
    struct evidence evidence;
    struct takeover takeover;
    struct fence fence;
    struct succession succession;
    struct handover handover;
    struct rebalance rebalance;
    struct rate rate;
    struct parks parks;
    struct relays relays;
    struct mesh_stats stats;
    bool is_leaving;
    struct failpoint failpoint; /* set in builds that have them */
};

/* NULL: closed. */
static inline struct session *session_at(struct core *core, struct handle h)
{
    return pool_at(&core->sessions.pool, h);
}
static inline struct upstream *upstream_at(struct core *core, struct handle h)
{
    return pool_at(&core->serve.upstreams, h);
}

/* Ourselves: nobody until joining has found our generation. */
struct peer_id core_self(const struct core *core);
/* Where a peer that is not believed gone can be dialled; NULL: gone, or never heard of. */
const struct mesh_addr *core_addr_of(const struct core *core, struct peer_id peer);
bool core_is_living(const struct core *core, struct peer_id peer);
/* Tells the host of a change; lost for want of memory, which is counted nowhere else either. */
void core_tell(struct core *core, enum mesh_change what, struct peer_id peer,
               enum member_state state, uint64_t value);

#endif
