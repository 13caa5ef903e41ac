/* rebalance.c - peers by when they came, and the sessions that are older. */
#include "mesh/session/rebalance.h"

#include <stdlib.h>

#include "mesh/session/core.h"

void rebalance_deinit(struct core *core)
{
    free(core->rebalance.seen);
    core->rebalance.seen = NULL;
}

/* The place of the first one not below `peer`. */
static uint32_t seen_place(const struct rebalance *r, struct peer_id peer)
{
    uint32_t low = 0, high = r->seen_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (peer_id_compare(r->seen[middle].peer, peer) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct newcomer *seen_find(const struct rebalance *r, struct peer_id peer)
{
    uint32_t at = seen_place(r, peer);
    return at < r->seen_count && peer_id_equal(r->seen[at].peer, peer) ? &r->seen[at] : NULL;
}

static uint64_t weights_of_all(const struct core *core)
{
    uint64_t weights = 0;
    for (size_t n = 0; n < view_count(core->view); n++) {
        const struct mesh_member *member = view_at(core->view, n);
        weights += member_is_eligible(member) ? member->record->weight : 0;
    }
    return weights;
}

/* Its part of what we own now that we meet: who comes itself has nothing to give. */
static uint32_t rebalance_due(const struct core *core, const struct mesh_member *newcomer,
                              uint64_t weights)
{
    uint64_t owned = core->sessions.owned, weight = newcomer->record->weight;
    return weights == 0 ? 0 : (uint32_t)((2 * owned * weight + weights) / (2 * weights));
}

/* Who was here before is not new when it comes back: after a split it has its sessions still. */
static void rebalance_note(struct core *core, uint64_t now_ms)
{
    struct rebalance *r = &core->rebalance;
    struct newcomer *seen = calloc(view_count(core->view), sizeof *seen);
    uint64_t weights = weights_of_all(core);
    uint32_t count = 0;
    if (seen == NULL)
        return; /* they are as new in the next step */
    for (size_t n = 0; n < view_count(core->view); n++) {
        const struct mesh_member *member = view_at(core->view, n);
        const struct newcomer *known = seen_find(r, member->record->id);
        if (known != NULL)
            seen[count++] = *known;
        else if (member_is_eligible(member))
            seen[count++] = (struct newcomer){.peer = member->record->id,
                                              .since_ms = now_ms,
                                              .due = rebalance_due(core, member, weights)};
    }
    free(r->seen);
    r->seen = seen;
    r->seen_count = count;
    r->ring_generation = view_ring_generation(core->view);
    r->calm_from_ms = now_ms + REBALANCE_CALM_MS;
}

void rebalance_watch(struct core *core, uint64_t now_ms)
{
    if (core->config.rebalance == MESH_REBALANCE_IDLE &&
        core->rebalance.ring_generation != view_ring_generation(core->view))
        rebalance_note(core, now_ms);
}

void rebalance_step(struct core *core, uint64_t now_ms)
{
    struct rebalance *r = &core->rebalance;
    bool is_calm = r->ring_generation == view_ring_generation(core->view) &&
                   now_ms >= r->calm_from_ms && member_is_eligible(view_self(core->view));
    r->left = is_calm ? REBALANCE_PER_STEP : 0;
    r->slots_left = REBALANCE_SLOTS;
}

bool rebalance_looks(struct core *core)
{
    struct rebalance *r = &core->rebalance;
    if (r->left == 0 || r->slots_left == 0)
        return false;
    r->slots_left--;
    return true;
}

/* That of HTTP+SSE could not come back, should anything go wrong. */
bool rebalance_is_idle(struct core *core, const struct session *session, bool may_hold,
                       uint64_t now_ms)
{
    const struct upstream *up = upstream_at(core, session->up);
    if (session->is_single || session->questions_count > 0 ||
        now_ms - session->used_ms < REBALANCE_IDLE_MS || fence_is_in_doubt(core, session))
        return false;
    if (up == NULL)
        return true;
    LIST_EACH (at, &up->calls)
        if (!may_hold || !call_is_held_stream(container_of(at, struct call, by_up)))
            return false;
    return true;
}

bool rebalance_taker(struct core *core, const struct session *session, struct peer_id *taker,
                     uint64_t now_ms)
{
    const struct rebalance *r = &core->rebalance;
    if (!rebalance_is_idle(core, session, r->takes_held, now_ms))
        return false;
    for (uint32_t n = 0; n < COPIES_HOLDERS_MAX; n++) {
        const struct mesh_member *member = view_find(core->view, session->holders[n].peer);
        const struct newcomer *newcomer = seen_find(r, session->holders[n].peer);
        /* ages, since what came from elsewhere may be older than our clock */
        if (member == NULL || !member_is_eligible(member) || newcomer == NULL ||
            newcomer->due == 0 || now_ms - session->opened_ms <= now_ms - newcomer->since_ms)
            continue;
        *taker = newcomer->peer;
        return true;
    }
    return false;
}

void rebalance_offered(struct core *core, struct peer_id taker, bool is_off)
{
    struct newcomer *newcomer = seen_find(&core->rebalance, taker);
    if (newcomer == NULL)
        return;
    if (is_off)
        newcomer->due++;
    else if (newcomer->due > 0)
        newcomer->due--;
}
