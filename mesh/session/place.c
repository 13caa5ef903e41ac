/* place.c - placing requests that no session places. */
#include "mesh/session/place.h"

#include "mesh/session/core.h"

static bool place_may_take(const struct mesh_member *member)
{
    return member_is_eligible(member);
}

/* The less loaded of two random choices (Mitzenmacher: two choices are nearly as good as all). */
static bool place_least(struct core *core, struct peer_id *peer)
{
    const struct mesh_member *best = NULL;
    uint32_t eligible = 0, first, second, at = 0;
    for (size_t n = 0; n < view_count(core->view); n++)
        eligible += place_may_take(view_at(core->view, n));
    if (eligible == 0)
        return false;
    first = shuffle_below(&core->shuffle, eligible);
    second = shuffle_below(&core->shuffle, eligible);
    for (size_t n = 0; n < view_count(core->view); n++) {
        const struct mesh_member *member = view_at(core->view, n);
        if (!place_may_take(member))
            continue;
        if ((at == first || at == second) && (best == NULL || member->load < best->load))
            best = member;
        at++;
    }
    *peer = best->record->id;
    return true;
}

/* Somebody on the ring: never a peer that drains, nor one whose upstream is down. */
static bool place_ring(struct core *core, struct peer_id *peer)
{
    (void)ring_sync(&core->ring, core->view, core->config.rings);
    if (ring_walk(&core->ring, shuffle_u64(&core->shuffle), peer, 1) == 0)
        return false;
    const struct mesh_member *member = view_find(core->view, *peer);
    return member != NULL && place_may_take(member);
}

static bool place_here(struct core *core, struct peer_id *peer)
{
    const struct mesh_member *self = view_self(core->view);
    *peer = self->record->id;
    return self->record->serving && !self->record->draining && !self->record->hold;
}

static bool place_serves(const struct mesh_member *member)
{
    return member_is_living(member) && member->record->serving && !member->record->draining;
}

/* All that serve are on hold: that is for others to take their part, and there are none. */
static bool place_on_hold(struct core *core, struct peer_id *peer)
{
    struct peer_id walk[MESH_CANDIDATES_MAX];
    *peer = core_self(core);
    if (place_serves(view_self(core->view)))
        return true;
    size_t count = ring_walk(&core->ring, shuffle_u64(&core->shuffle), walk, MESH_CANDIDATES_MAX);
    for (size_t n = 0; n < count; n++) {
        const struct mesh_member *member = view_find(core->view, walk[n]);
        *peer = walk[n];
        if (member != NULL && place_serves(member))
            return true;
    }
    return false;
}

static enum place_verdict place_new_session(struct core *core, struct peer_id *peer)
{
    bool is_found = false;
    if (!view_is_announced(core->view))
        return PLACE_WAIT;
    switch (core->config.placement) {
    case MESH_PLACE_LOCAL:
        is_found = place_here(core, peer);
        break;
    case MESH_PLACE_RING:
        is_found = place_ring(core, peer);
        break;
    case MESH_PLACE_LEAST:
        is_found = place_least(core, peer);
        break;
    }
    /* ours cannot take it: whoever can does, since a client takes a 503 for a broken server */
    if (!is_found && core->config.placement == MESH_PLACE_LOCAL)
        is_found = place_ring(core, peer);
    return is_found || place_on_hold(core, peer) ? PLACE_AT : PLACE_WAIT;
}

bool place_is_new_session(const struct mesh_request *request)
{
    if (request->want == MESH_SSE)
        return true;
    return request->want == MESH_CALL && request->era == MESH_LEGACY &&
           request->front == MESH_FRONT_HTTP && request->rpc.method == RPC_INITIALIZE &&
           request->rpc.kind == RPC_REQUEST;
}

/* A client finds out which era a server speaks by a request of this one: it waits for whoever
 * serves, since it takes a 5xx for a broken server. Unannounced we could not be named by what we
 * answer. */
static enum place_verdict place_modern(struct core *core, const struct affinity *affinity,
                                       struct peer_id *peer, uint64_t now_ms)
{
    if (!view_is_announced(core->view))
        return PLACE_WAIT;
    switch (affinity_route(core, affinity, peer, now_ms)) {
    case AFFINITY_AT:
        return PLACE_AT;
    case AFFINITY_WAIT:
        return PLACE_WAIT;
    case AFFINITY_NONE:
        break;
    }
    return place_here(core, peer) || place_ring(core, peer) || place_on_hold(core, peer)
               ? PLACE_AT
               : PLACE_WAIT;
}

enum place_verdict place_request(struct core *core, const struct mesh_request *request,
                                 const struct affinity *affinity, struct peer_id *peer,
                                 uint64_t now_ms)
{
    bool has_http = core->config.upstream == MESH_UP_HTTP;
    bool has_paths = has_http || core->config.upstream == MESH_UP_SSE;
    *peer = core_self(core);
    if (place_is_new_session(request))
        return place_new_session(core, peer);
    if (request->want == MESH_PASS)
        return has_paths ? PLACE_AT : PLACE_NO_ROUTE;
    if (has_http && request->era == MESH_MODERN)
        return place_modern(core, affinity, peer, now_ms);
    if (has_http)
        return PLACE_AT; /* stateless, or it refuses by itself */
    return request->era == MESH_MODERN ? PLACE_NOT_SUPPORTED : PLACE_NO_SESSION_ID;
}
