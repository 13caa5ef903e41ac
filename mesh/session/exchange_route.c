/* exchange_route.c - whom an exchange asks: its session's owner, whoever carries that on, or a peer
 * for a request without a session; and what becomes of it when there is nobody. */
#include "mesh/session/core.h"
#include "mesh/session/exchange.h"
#include "mesh/session/place.h"

void exchange_learn(struct exchange *x, struct mesh_epoch epoch)
{
    if (mesh_epoch_compare(x->epoch, epoch) < 0)
        x->epoch = epoch;
}

void exchange_look_up_epoch(const struct core *core, struct exchange *x)
{
    if (x->risen == core->owner.risen)
        return;
    x->risen = core->owner.risen;
    exchange_learn(x, owner_hint(core, &x->session));
}

/* `is_lost`: it is asked in place of the owner, which cannot be. */
static void exchange_ask(struct core *core, struct exchange *x, struct peer_id peer, bool is_lost,
                         uint64_t now_ms)
{
    static const struct mesh_addr here;
    bool is_self = peer_id_equal(peer, core_self(core));
    const struct mesh_addr *addr = is_self ? &here : core_addr_of(core, peer);
    /* a name that leaves this process names its generation: the next one counts from 1 again */
    if (addr == NULL || (!is_self && !view_is_announced(core->view))) {
        exchange_park_again(core, x, now_ms);
        return;
    }
    if (!x->was_sent && !peer_id_equal(x->name.entry, core_self(core)))
        x->name.entry = core_self(core);
    int rc = links_open(core->links, peer, addr, x->self, &x->lane, now_ms);
    if (rc < 0) {
        x->lane = (struct lane){0};
        exchange_park_again(core, x, now_ms);
        return;
    }
    if (x->has_session)
        exchange_look_up_epoch(core, x);
    struct wire_message m = {.kind = WIRE_OPEN, .name = x->name, .payload = x->request.body};
    m.has_session = x->has_session;
    m.session = x->session;
    m.epoch = x->epoch;
    m.open.request = x->request;
    m.open.hops = x->hops;
    m.open.is_owner_lost = is_lost;
    m.open.is_attach = x->was_sent;
    if (!x->is_carried)
        m.open.ran_at = x->ran_at;
    m.open.lost_link = x->lost_link;
    m.open.received = x->received;
    m.open.serial = x->serial;
    /* of a call: its client is on an event stream already, at none of its events perhaps */
    m.open.has_position = x->has_position ||
                          (x->request.want == MESH_CALL && x->head_out && x->form == MESH_FORM_SSE);
    m.open.position = x->position;
    if (x->told != NULL)
        m.open.progress = x->told->progress;
    rc = links_send(core->links, x->lane, LINKS_ENTRY, &m);
    if (rc < 0) {
        links_close(core->links, x->lane, LINKS_ENTRY);
        x->lane = (struct lane){0};
        exchange_park_again(core, x, now_ms);
        return;
    }
    x->owner = peer;
    x->is_in_place = is_lost;
    x->is_unrecorded = false;
    x->asked_ms = now_ms;
    x->stale_bytes += x->unread_bytes;
    x->unread_bytes = 0;
    exchange_enter(core, x, EXCHANGE_ASKED);
    x->retry_at_ms = MESH_NEVER;
    exchange_set_timer(core, x);
}

bool exchange_may_begin_anew(const struct exchange *x)
{
    return place_is_new_session(&x->request) && !x->head_out;
}

bool exchange_is_unknown(const struct core *core, const struct exchange *x)
{
    bool is_safe =
        x->received == 0 && !x->head_out &&
        retry_class_of(&core->retry, &x->request.rpc, x->request.body, false) == RETRY_SAFE;
    return x->may_have_run && !exchange_is_held_stream(x) && !is_safe;
}

/* Whoever may have run it is gone, and nobody else can know: again, or the plain truth. Of a
 * session there is somebody who can: whoever carries it on. */
static void exchange_owner_gone(struct core *core, struct exchange *x)
{
    if (exchange_is_unknown(core, x)) {
        exchange_fail(core, x, MESH_OUTCOME_UNKNOWN);
        return;
    }
    /* `received` stands: should the same owner be found alive after all, it goes on from there */
    x->is_bound = x->may_have_run = x->is_told = false;
    x->hops = 0;
    core->entry.is_woken = true; /* it is parked, and looked at again this turn */
}

static bool exchange_can_reach(const struct core *core, struct peer_id peer, uint64_t now_ms)
{
    return peer_id_equal(peer, core_self(core)) || owner_can_be_asked(core, peer, now_ms);
}

void exchange_fail_lost(struct core *core, struct exchange *x, enum mesh_reason why)
{
    exchange_fail(core, x, exchange_is_unknown(core, x) ? MESH_OUTCOME_UNKNOWN : why);
}

/* Nobody carries it on, but somebody may come back: of a GET that is no end. It has its 200, or
 * gets it, and waits as long as it may. */
static void exchange_owner_lost(struct core *core, struct exchange *x, uint64_t now_ms)
{
    if (x->request.want == MESH_LISTEN && (x->head_out || x->grace_ms != MESH_NEVER))
        exchange_park_again(core, x, now_ms);
    else
        exchange_fail_lost(core, x, MESH_OWNER_LOST);
}

/* Its owner cannot be asked: `peer`, who has a copy or should have one, is. Nobody: none of those
 * can be reached either, so the first of them is tried all the same. */
static void exchange_ask_successor(struct core *core, struct exchange *x, struct peer_id peer,
                                   uint64_t now_ms)
{
    bool is_whole = x->head_out && x->form != MESH_FORM_SSE;
    if (is_whole && x->is_bound) { /* part of another answer would follow */
        exchange_fail(core, x, MESH_OUTCOME_UNKNOWN);
        return;
    }
    if (peer_id_is_nobody(peer))
        (void)owner_candidates(core, &x->session, &peer, 1);
    if (peer_id_is_nobody(peer) || (x->is_unrecorded && peer_id_equal(peer, x->owner))) {
        (void)owner_search(core, &x->session, now_ms);
        exchange_park_again(core, x, now_ms);
    } else {
        exchange_ask(core, x, peer, true, now_ms);
    }
}

static void exchange_route_session(struct core *core, struct exchange *x, uint64_t now_ms)
{
    struct owner_found found;
    if (x->is_told && exchange_can_reach(core, x->owner, now_ms)) {
        exchange_ask(core, x, x->owner, false, now_ms);
        return;
    }
    x->is_told = false;
    owner_resolve(core, &x->session, &found, now_ms);
    exchange_learn(x, found.epoch);
    switch (found.verdict) {
    case OWNER_HERE:
    case OWNER_THERE:
        exchange_ask(core, x, found.peer, false, now_ms);
        break;
    case OWNER_ENDED:
    case OWNER_FOREIGN:
        if (exchange_may_begin_anew(x)) {
            x->has_session = false;
            core->entry.is_woken = true;
        } else {
            exchange_fail_lost(core, x, MESH_SESSION_UNKNOWN);
        }
        break;
    case OWNER_GONE:
        if (found.is_searched)
            exchange_owner_lost(core, x, now_ms);
        else
            exchange_ask_successor(core, x, found.peer, now_ms);
        break;
    case OWNER_AWAY:
        if (found.is_searched) {
            exchange_owner_lost(core, x, now_ms);
            break;
        }
        (void)owner_search(core, &x->session, now_ms);
        exchange_park_again(core, x, now_ms);
        break;
    }
}

void exchange_stop(struct core *core, struct exchange *x, enum mesh_reason why)
{
    bool is_unknown = x->may_have_run && !exchange_is_held_stream(x);
    exchange_fail(core, x, is_unknown ? MESH_OUTCOME_UNKNOWN : why);
}

void exchange_try(struct core *core, struct exchange *x, uint64_t now_ms)
{
    /* whatever wakes it: its time is over (E1) */
    if (x->state == EXCHANGE_PARKED && x->give_up_ms <= now_ms) {
        exchange_stop(core, x, MESH_PARKED_TOO_LONG);
        return;
    }
    if (x->is_bound && !x->is_stale && exchange_can_reach(core, x->ran_at, now_ms)) {
        exchange_ask(core, x, x->ran_at, false, now_ms);
        return;
    }
    if (x->is_bound && !x->has_session) {
        if (core_is_living(core, x->ran_at)) /* a session's request could ask others about it */
            exchange_ask(core, x, x->ran_at, false, now_ms);
        else
            exchange_owner_gone(core, x);
        return;
    }
    if (x->has_session) {
        exchange_route_session(core, x, now_ms);
        return;
    }
    struct peer_id peer;
    switch (place_request(core, &x->request, &x->affinity, &peer, now_ms)) {
    case PLACE_AT:
        exchange_ask(core, x, peer, false, now_ms);
        break;
    case PLACE_WAIT:
        exchange_park_again(core, x, now_ms);
        break;
    case PLACE_NO_SESSION_ID:
        exchange_fail(core, x, MESH_NO_SESSION_ID);
        break;
    case PLACE_NOT_SUPPORTED:
        exchange_fail(core, x, MESH_NOT_SUPPORTED);
        break;
    case PLACE_NO_ROUTE:
        exchange_fail(core, x, MESH_NO_ROUTE);
        break;
    }
}
