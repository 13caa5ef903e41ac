/* evidence.c - whether an owner is gone. */
#include "mesh/session/evidence.h"

#include <stdlib.h>

#include "mesh/session/core.h"

#define EVIDENCE_FIRST 16

int evidence_init(struct core *core)
{
    memset(&core->evidence, 0, sizeof core->evidence);
    return 0;
}

void evidence_deinit(struct core *core)
{
    free(core->evidence.peers);
}

/* NULL: nothing is known of it. */
static struct evidence_peer *evidence_find(const struct evidence *e, struct peer_id peer)
{
    for (uint32_t n = 0; n < e->count; n++)
        if (peer_id_equal(e->peers[n].peer, peer))
            return &e->peers[n];
    return NULL;
}

/* NULL: no room, or no memory. */
static struct evidence_peer *evidence_note(struct evidence *e, struct peer_id peer)
{
    struct evidence_peer *known = evidence_find(e, peer);
    if (known != NULL)
        return known;
    if (e->count == e->room) {
        uint32_t room = e->room == 0 ? EVIDENCE_FIRST : e->room * 2;
        struct evidence_peer *peers = NULL;
        if (room <= EVIDENCE_PEERS_MAX)
            peers = reallocarray(e->peers, room, sizeof *peers);
        if (peers == NULL)
            return NULL;
        e->peers = peers;
        e->room = room;
    }
    e->peers[e->count] = (struct evidence_peer){.peer = peer};
    return &e->peers[e->count++];
}

/* ---- questions ------------------------------------------------------------------------------ */

static uint64_t evidence_life_ms(const struct core *core, struct peer_id peer,
                                 const struct evidence_peer *known)
{
    uint64_t life_ms = swim_last_ack_ms(core->swim, peer);
    uint64_t link_ms = links_round_trip_ms(core->links, peer);
    if (link_ms > life_ms)
        life_ms = link_ms;
    return known != NULL && known->heard_ms > life_ms ? known->heard_ms : life_ms;
}

/* A failed probe, and no sign of life since. */
static bool evidence_has_failed(const struct core *core, const struct evidence_peer *known)
{
    return known->failed_ms != 0 && evidence_life_ms(core, known->peer, known) < known->failed_ms;
}

static bool evidence_is_member(const struct core *core, struct peer_id peer)
{
    const struct mesh_member *newest = view_find_name(core->view, peer.name);
    return core_is_living(core, peer) &&
           (newest == NULL || newest->record->id.generation == peer.generation);
}

enum evidence_verdict evidence_of(const struct core *core, struct peer_id peer, uint64_t now_ms)
{
    const struct evidence_peer *known = evidence_find(&core->evidence, peer);
    if (peer_id_equal(peer, core_self(core)))
        return EVIDENCE_LIVES;
    if (!evidence_is_member(core, peer)) {
        /* one who joined just now is known by its link alone */
        bool is_new =
            view_find(core->view, peer) == NULL && view_find_name(core->view, peer.name) == NULL;
        return is_new && links_has(core->links, peer) ? EVIDENCE_LIVES : EVIDENCE_GONE;
    }
    uint64_t life_ms = evidence_life_ms(core, peer, known);
    if (known != NULL && known->probed_ms != 0 && life_ms < known->probed_ms)
        return EVIDENCE_PROBING;
    if (known != NULL && evidence_has_failed(core, known))
        return now_ms - known->failed_ms < EVIDENCE_FRESH_MS ? EVIDENCE_GONE : EVIDENCE_UNKNOWN;
    return life_ms != 0 && now_ms - life_ms <= EVIDENCE_FRESH_MS ? EVIDENCE_LIVES
                                                                 : EVIDENCE_UNKNOWN;
}

bool evidence_is_unreachable(const struct core *core, struct peer_id peer, uint64_t now_ms)
{
    (void)now_ms;
    if (core->evidence.count == 0)
        return false;
    const struct evidence_peer *known = evidence_find(&core->evidence, peer);
    return known != NULL && evidence_has_failed(core, known);
}

/* ---- facts ---------------------------------------------------------------------------------- */

static void evidence_wake(struct core *core)
{
    entry_wake(core);
    takeover_wake(core);
}

static void evidence_ask(struct core *core, struct evidence_peer *known, uint64_t now_ms)
{
    const struct mesh_addr *addr = core_addr_of(core, known->peer);
    if (known->probed_ms != 0 ||
        (!swim_look_at(core->swim, known->peer, now_ms) && !known->is_doubted))
        return; /* too many at once: whoever needs to know asks again */
    known->probed_ms = now_ms;
    core->evidence.probing++;
    if (addr != NULL && known->is_doubted)
        links_try(core->links, known->peer, addr, now_ms);
    else if (addr != NULL && links_has(core->links, known->peer) &&
             links_reach(core->links, known->peer, addr, now_ms) > 0)
        known->heard_ms = now_ms;
}

void evidence_probe(struct core *core, struct peer_id peer, uint64_t now_ms)
{
    enum evidence_verdict verdict = evidence_of(core, peer, now_ms);
    struct evidence_peer *known;
    if (verdict != EVIDENCE_UNKNOWN || (known = evidence_note(&core->evidence, peer)) == NULL)
        return;
    evidence_ask(core, known, now_ms);
}

void evidence_on_lost(struct core *core, struct peer_id peer, uint64_t now_ms)
{
    struct evidence_peer *known;
    if (!core_is_living(core, peer) || (known = evidence_note(&core->evidence, peer)) == NULL)
        return;
    if (!evidence_has_failed(core, known))
        evidence_ask(core, known, now_ms);
}

void evidence_on_doubt(struct core *core, struct peer_id peer, uint64_t now_ms)
{
    struct evidence_peer *known;
    if (!core_is_living(core, peer) || (known = evidence_note(&core->evidence, peer)) == NULL)
        return;
    known->is_doubted = true;
    evidence_ask(core, known, now_ms);
}

void evidence_on_life(struct core *core, struct peer_id peer, uint64_t now_ms)
{
    struct evidence_peer *known = evidence_note(&core->evidence, peer);
    if (known == NULL)
        return;
    bool is_news = known->probed_ms != 0 || evidence_has_failed(core, known);
    known->heard_ms = now_ms;
    if (is_news)
        evidence_wake(core);
}

/* ---- time ----------------------------------------------------------------------------------- */

/* The time for an answer is over. */
static void evidence_judge(struct core *core, struct evidence_peer *known, uint64_t now_ms)
{
    bool is_silent = evidence_life_ms(core, known->peer, known) < known->probed_ms;
    bool was_doubted = known->is_doubted;
    struct peer_id peer = known->peer;
    known->probed_ms = 0;
    known->is_doubted = false;
    core->evidence.probing--;
    if (is_silent)
        known->failed_ms = now_ms;
    if (is_silent && was_doubted)
        links_forget(core->links, peer, now_ms); /* what waits on it is asked for elsewhere */
    evidence_wake(core);
}

/* We were late ourselves: its answer may lie in our socket. */
static void evidence_ask_again(struct core *core, struct evidence_peer *known, uint64_t now_ms)
{
    known->probed_ms = 0;
    core->evidence.probing--;
    evidence_ask(core, known, now_ms);
}

/* What membership knows, or nobody needs to know any more. */
static bool evidence_is_over(const struct core *core, const struct evidence_peer *known,
                             uint64_t now_ms)
{
    if (!core_is_living(core, known->peer))
        return true;
    return known->probed_ms == 0 && !evidence_has_failed(core, known) &&
           (known->heard_ms == 0 || now_ms - known->heard_ms > EVIDENCE_FRESH_MS);
}

void evidence_now(struct core *core, uint64_t now_ms)
{
    struct evidence *e = &core->evidence;
    for (uint32_t n = 0; n < e->count;) {
        struct evidence_peer *known = &e->peers[n];
        if (known->probed_ms != 0 && now_ms >= known->probed_ms + 2 * EVIDENCE_PROBE_MS)
            evidence_ask_again(core, known, now_ms);
        else if (known->probed_ms != 0 && now_ms >= known->probed_ms + EVIDENCE_PROBE_MS)
            evidence_judge(core, known, now_ms);
        if (!evidence_is_over(core, known, now_ms)) {
            n++;
            continue;
        }
        if (known->probed_ms != 0)
            e->probing--;
        *known = e->peers[--e->count];
    }
}

uint64_t evidence_deadline_ms(const struct core *core)
{
    const struct evidence *e = &core->evidence;
    uint64_t first = MESH_NEVER;
    for (uint32_t n = 0; e->probing > 0 && n < e->count; n++)
        if (e->peers[n].probed_ms != 0 && e->peers[n].probed_ms + EVIDENCE_PROBE_MS < first)
            first = e->peers[n].probed_ms + EVIDENCE_PROBE_MS;
    return first;
}
