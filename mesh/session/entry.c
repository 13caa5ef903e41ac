/* entry.c - the client's side of an exchange, as a small state machine: PARKED until its owner
 * can be asked, ASKED while an answer may come on its lane, then exactly one end. What its client
 * is told stands in exchange.c. */
#include "mesh/session/entry.h"

#include <errno.h>

#include "mesh/base/mutant.h"
#include "mesh/session/core.h"
#include "mesh/session/exchange.h"
#include "mesh/session/place.h"

#define EXCHANGE_MEMORY_RETRY_MS 20

void entry_init(struct core *core)
{
    struct entry *e = &core->entry;
    memset(e, 0, sizeof *e);
    list_init(&e->parked);
    heap_init(&e->timers);
    pool_init(&e->exchanges, sizeof(struct exchange), core->config.exchanges_max);
}

void entry_deinit(struct core *core)
{
    struct entry *e = &core->entry;
    struct handle h;
    for (uint32_t slot = 0; slot < pool_span(&e->exchanges); slot++) {
        struct exchange *x = pool_slot(&e->exchanges, slot, &h);
        if (x != NULL)
            exchange_keep_nothing(x);
    }
    heap_deinit(&e->timers);
    pool_deinit(&e->exchanges);
}

bool entry_may_tell(struct core *core, struct handle h, bool is_end)
{
    struct exchange *x = pool_at(&core->entry.exchanges, h);
    if (x != NULL && is_end)
        exchange_free(core, x);
    return x != NULL;
}

/* ---- asking the owner ----------------------------------------------------------------------- */

static void exchange_learn(struct exchange *x, struct mesh_epoch epoch)
{
    if (mesh_epoch_compare(x->epoch, epoch) < 0)
        x->epoch = epoch;
}

/* What others said meanwhile of its session; each message of an answer asks. */
static void exchange_look_up_epoch(const struct core *core, struct exchange *x)
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
    m.open.progress = x->progress;
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

/* It may have run where nobody can be asked any more, and may not run twice (E2). */
static bool exchange_is_unknown(const struct core *core, const struct exchange *x)
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

/* Nobody has a record, or its time is over. */
static void exchange_fail_lost(struct core *core, struct exchange *x, enum mesh_reason why)
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
        if (place_is_new_session(&x->request) && !x->head_out) {
            x->has_session = false; /* a stale id on initialize is dropped */
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

/* We stop looking, whatever may come of it; what may have run is told as that. */
static void exchange_stop(struct core *core, struct exchange *x, enum mesh_reason why)
{
    bool is_unknown = x->may_have_run && !exchange_is_held_stream(x);
    exchange_fail(core, x, is_unknown ? MESH_OUTCOME_UNKNOWN : why);
}

/* One try to go on with a parked exchange. */
static void exchange_try(struct core *core, struct exchange *x, uint64_t now_ms)
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

/* ---- facts from the client ------------------------------------------------------------------ */

/* Which session is asked for. False: an id, but none of ours; nobody is asked about it. */
static bool exchange_read_key(struct core *core, struct exchange *x, const struct mesh_key *key)
{
    if (key->kind != MESH_KEY_SESSION || x->request.era == MESH_MODERN ||
        x->request.want == MESH_PASS)
        return true;
    bool is_known = key_recall(&core->keys, &x->session, key->text);
    bool is_ours = is_known || key_read(&x->session, key->text);
    const struct session *session = is_ours ? session_find(core, &x->session) : NULL;
    bool is_here = session != NULL;
    is_ours = is_known || is_here || (is_ours && key_verify(&core->keys, &x->session));
    if (is_ours && !is_known)
        key_remember(&core->keys, &x->session, key->text);
    if (is_here) {
        x->owner = core_self(core); /* no need to ask who owns it */
        x->epoch = session->epoch;
        x->is_told = true;
    }
    if (is_ours)
        x->has_session = true;
    return is_ours || place_is_new_session(&x->request);
}

struct handle entry_open(struct core *core, const struct mesh_request *request, uint64_t now_ms)
{
    struct entry *e = &core->entry;
    struct handle h;
    struct exchange *x = pool_take(&e->exchanges, &h);
    if (x == NULL)
        return (struct handle){0};
    x->self = h;
    x->request = *request;
    x->request.method = x->request.target = x->request.head = x->request.body = (struct slice){0};
    x->request.key = (struct mesh_key){0};
    x->request.last_event_id = (struct slice){0};
    x->has_position = request->want == MESH_LISTEN && request->last_event_id.length > 0;
    if (x->has_position)
        (void)event_id_read(&x->position, request->last_event_id);
    x->give_up_ms = x->retry_at_ms = x->grace_ms = MESH_NEVER;
    x->state = EXCHANGE_ASKED;
    if (slice_keep(&x->request.method, request->method, &core->budget) < 0 ||
        slice_keep(&x->request.target, request->target, &core->budget) < 0 ||
        slice_keep(&x->request.head, request->head, &core->budget) < 0 ||
        slice_keep(&x->request.body, request->body, &core->budget) < 0) {
        exchange_keep_nothing(x);
        pool_give(&e->exchanges, h);
        return (struct handle){0};
    }
    x->risen = UINT64_MAX; /* nothing was looked up */
    x->name = (struct exchange_name){core_self(core), ++e->counter};
    x->affinity = affinity_of(core, request);
    if (!exchange_read_key(core, x, &request->key)) {
        core->stats.not_found_foreign++;
        exchange_fail(core, x, MESH_SESSION_UNKNOWN);
        return h;
    }
    if (!rate_allows(core, request, x->has_session ? &x->session : NULL, now_ms)) {
        exchange_fail(core, x, MESH_RATE_LIMITED);
        return h;
    }
    /* but for one that shows the last event of its stream: its answer is 405 (mcp.md §4.2) */
    if (request->want == MESH_LISTEN && x->has_session && !x->position.is_last)
        x->grace_ms = now_ms + ENTRY_LISTEN_GRACE_MS;
    exchange_set_timer(core, x);
    exchange_enter(core, x, EXCHANGE_PARKED);
    exchange_try(core, x, now_ms);
    if (peer_id_equal(x->owner, core_self(core)) && !lane_is_none(x->lane))
        core->stats.exchanges_owned++;
    else if (!lane_is_none(x->lane))
        core->stats.exchanges_forwarded++;
    return h;
}

void entry_taken(struct core *core, struct handle h, size_t bytes, uint64_t now_ms)
{
    struct exchange *x = pool_at(&core->entry.exchanges, h);
    (void)now_ms;
    if (x == NULL)
        return;
    /* what came on an earlier lane is not this one's to acknowledge */
    size_t stale = bytes < x->stale_bytes ? bytes : x->stale_bytes;
    x->stale_bytes -= stale;
    bytes -= stale;
    if (bytes > x->unread_bytes)
        bytes = x->unread_bytes;
    x->unread_bytes -= bytes;
    links_consumed(core->links, x->lane, LINKS_ENTRY, bytes);
}

void entry_close(struct core *core, struct handle h, uint64_t now_ms)
{
    struct exchange *x = pool_at(&core->entry.exchanges, h);
    (void)now_ms;
    if (x == NULL)
        return;
    if (x->state != EXCHANGE_ENDED)
        exchange_leave_lane(core, x, WIRE_CANCEL);
    exchange_free(core, x);
}

/* ---- facts from the owner ------------------------------------------------------------------- */

static void exchange_on_moved(struct core *core, struct exchange *x, const struct wire_message *m,
                              uint64_t now_ms)
{
    bool is_higher = m->epoch.counter != 0 && mesh_epoch_compare(x->epoch, m->epoch) < 0;
    core->stats.moved_followed++;
    if (is_higher)
        x->epoch = m->epoch;
    else
        x->hops++; /* only a higher epoch is free: no loop, however views differ (B3) */
    owner_learn(core, &x->session, m->epoch);
    if (x->hops >= SERVE_HOPS_MAX || !core_is_living(core, m->epoch.owner)) {
        x->hops = 0;
        x->is_told = false;
        exchange_park_again(core, x, now_ms);
        return;
    }
    x->owner = m->epoch.owner;
    x->is_told = true;
    exchange_enter(core, x, EXCHANGE_PARKED);
    exchange_try(core, x, now_ms);
}

static void exchange_on_refused(struct core *core, struct exchange *x, enum mesh_reason why,
                                uint64_t now_ms)
{
    if (why == MESH_SESSION_UNKNOWN && x->has_session && place_is_new_session(&x->request)) {
        x->has_session = false;
        exchange_enter(core, x, EXCHANGE_PARKED);
        exchange_try(core, x, now_ms);
    } else if (why == MESH_STOPPING && !core->is_leaving) {
        exchange_park_again(core, x, now_ms); /* another peer takes it */
    } else if (why == MESH_OWNER_LOST && x->has_session) {
        x->is_unrecorded = true; /* that peer has no record: somebody may */
        (void)owner_search(core, &x->session, now_ms);
        exchange_park_again(core, x, now_ms);
    } else {
        exchange_fail_lost(core, x, why);
    }
}

/* Words that say that nothing ran there: the owner is done with the lane, and the exchange free
 * again, unless it may have run at another. The time to give up stands: who is sent about for 10 s
 * gets an end (invariant E1). */
static void exchange_unbind(struct core *core, struct exchange *x)
{
    links_close(core->links, x->lane, LINKS_ENTRY);
    x->lane = (struct lane){0};
    if (!x->is_bound || (peer_id_equal(x->ran_at, x->owner) && !x->is_carried))
        x->is_bound = x->may_have_run = x->was_sent = x->is_stale = false;
}

static void exchange_on_event(struct exchange *x, const struct wire_message *m,
                              struct mesh_effect *e)
{
    e->kind = MESH_REPLY_EVENT;
    e->event.text = m->payload;
    e->event.answers = m->text.answers;
    e->event.why = m->text.why;
    e->event.retry_ms = m->text.retry_ms;
    x->has_failed = m->text.answers && m->text.why != MESH_OK;
    if (event_id_is_none(&m->text.id))
        return;
    x->has_position = true;
    x->position = m->text.id;
    if (x->request.want != MESH_SSE) /* whose clients cannot come back for more */
        e->event.id = m->text.id;
}

static void exchange_on_text(struct core *core, struct exchange *x, const struct wire_message *m)
{
    struct mesh_effect e = {.patch = m->text.patch};
    x->received++;
    exchange_is_heard(x);
    if (m->kind == WIRE_EVENT) {
        exchange_on_event(x, m, &e);
        if (exchange_has_passed(x, m)) {
            links_consumed(core->links, x->lane, LINKS_ENTRY, m->payload.length);
            return;
        }
        exchange_note_progress(core, x, m->payload);
    } else {
        e.kind = MESH_REPLY_DATA;
        e.data = m->payload;
    }
    x->unread_bytes += m->payload.length;
    /* the one stream of HTTP+SSE has answers of others, and goes on */
    bool answers = m->text.answers && x->request.want != MESH_SSE;
    if (exchange_release_head(core, x) && exchange_tell(core, x, &e) && answers)
        x->is_answered = true;
}

static void exchange_on_whole(struct core *core, struct exchange *x, const struct wire_message *m,
                              uint64_t now_ms)
{
    struct held_head head = {.status = m->head.status,
                             .form = m->head.form,
                             .lines = m->head.head,
                             .has_session = m->has_session,
                             .session = m->session,
                             .owner = m->epoch.owner};
    struct mesh_effect e = {.kind = MESH_REPLY_DATA, .patch = m->head.patch};
    if (!exchange_tell_head(core, x, &head))
        return;
    if (x->form == MESH_FORM_SSE) { /* another owner began by events */
        e.kind = MESH_REPLY_EVENT;
        e.event.text = m->payload;
        e.event.answers = m->head.answers;
    } else {
        e.data = m->payload;
    }
    if (m->payload.length > 0 && !exchange_tell(core, x, &e))
        return;
    x->is_answered = m->head.answers;
    if (x->request.want == MESH_DELETE && x->has_session && m->head.status / 100 == 2)
        tombs_on_deleted(core, &x->session, m->epoch, now_ms);
    exchange_end(core, x, MESH_END_WHOLE, MESH_OK);
}

/* By it a client learns which era is spoken here, for good: it is not told of an upstream that is
 * down, but waits for one that is not. Nothing ran. */
static bool exchange_is_probe(const struct exchange *x)
{
    return x->request.want == MESH_CALL && x->request.era == MESH_MODERN &&
           x->request.rpc.method == RPC_DISCOVER && x->request.rpc.kind == RPC_REQUEST &&
           !x->head_out && x->received == 0;
}

static bool is_of_answer(enum wire_kind kind)
{
    return kind == WIRE_HEAD || kind == WIRE_EVENT || kind == WIRE_DATA || kind == WIRE_END ||
           kind == WIRE_WHOLE;
}

/* An answer of an epoch that is over: nothing of it is passed on, its sender is told and left, and
 * what it may have run is told as that, or asked for in the epoch that counts. */
static void exchange_on_stale(struct core *core, struct exchange *x, struct mesh_epoch epoch,
                              uint64_t now_ms)
{
    core->stats.stale_dropped++;
    fence_tell(core, epoch.owner, &x->session, epoch, x->epoch, now_ms);
    exchange_leave_lane(core, x, WIRE_CANCEL);
    x->may_have_run = true;
    if (exchange_is_unknown(core, x)) { /* whoever owns it now would say the same */
        exchange_fail(core, x, MESH_OUTCOME_UNKNOWN);
        return;
    }
    core->entry.is_woken = core->entry.is_woken || !x->is_stale; /* told so again, it waits */
    x->is_told = false;
    x->was_sent = x->is_bound = x->is_stale = true;
    x->is_carried = true; /* it is left: what its name stands for is forgotten there */
    x->ran_at = x->owner;
    exchange_park_again(core, x, now_ms);
}

/* Its owner speaks. False: another one is known to have owned it since, by whichever exchange or
 * record (O1); what the same one said before its next epoch was under way. */
static bool exchange_on_epoch(struct core *core, struct exchange *x, struct mesh_epoch epoch)
{
    exchange_look_up_epoch(core, x);
    int order = mesh_epoch_compare(epoch, x->epoch);
    if (order > 0) {
        owner_learn(core, &x->session, epoch);
        exchange_learn(x, epoch);
    }
    return epoch.counter == 0 || order >= 0 || peer_id_equal(epoch.owner, x->epoch.owner);
}

void entry_on_message(struct core *core, const struct links_event *event, uint64_t now_ms)
{
    const struct wire_message *m = &event->message;
    struct exchange *x = pool_at(&core->entry.exchanges, event->user);
    if (x == NULL || !lane_equal(x->lane, event->lane))
        return;
    /* what is not text is taken by being read; after a whole answer the lane is left at once */
    if (m->kind != WIRE_WHOLE)
        links_consumed(core->links, x->lane, LINKS_ENTRY, event->bytes - m->payload.length);
    if (x->state == EXCHANGE_BROKEN)
        return;
    if (is_of_answer(m->kind) && x->has_session && !exchange_on_epoch(core, x, m->epoch) &&
        !MUTANT(NO_EPOCH_CHECK)) {
        exchange_on_stale(core, x, m->epoch, now_ms);
        return;
    }
    if (exchange_lacks_head(x, m)) {
        exchange_fail(core, x, MESH_OUTCOME_UNKNOWN);
        return;
    }
    switch (m->kind) {
    case WIRE_MOVED:
        exchange_unbind(core, x);
        if (x->is_bound && peer_id_equal(x->ran_at, x->owner))
            x->is_stale = true; /* it would say so again, and the one that it names may know */
        exchange_on_moved(core, x, m, now_ms);
        break;
    case WIRE_NOT_YET:
        exchange_unbind(core, x);
        exchange_park_again(core, x, now_ms);
        break;
    case WIRE_REFUSED:
        exchange_unbind(core, x);
        exchange_on_refused(core, x, m->end.why, now_ms);
        break;
    case WIRE_HEAD:
        exchange_on_head(core, x, m);
        if (x->request.want == MESH_SSE && m->has_session && !x->has_session) {
            x->has_session = true; /* whoever carries it on is asked for its stream */
            x->session = m->session;
        }
        break;
    case WIRE_EVENT:
    case WIRE_DATA:
        exchange_on_text(core, x, m);
        break;
    case WIRE_WHOLE:
        exchange_on_whole(core, x, m, now_ms);
        break;
    case WIRE_END:
        if (m->end.why == MESH_UPSTREAM_DOWN && exchange_is_probe(x)) {
            exchange_leave_lane(core, x, WIRE_DONE);
            exchange_unbind(core, x);
            exchange_park_again(core, x, now_ms);
            break;
        }
        if (m->end.why == MESH_OK && !exchange_release_head(core, x))
            break;
        exchange_end(core, x, m->end.end, m->end.why);
        break;
    case WIRE_BUCKETS_ARE:
    case WIRE_VIEW:
    case WIRE_FIND:
    case WIRE_ENDED:
    case WIRE_FOUND:
    case WIRE_OPEN:
    case WIRE_CANCEL:
    case WIRE_DONE:
    case WIRE_TASK_IS:
    case WIRE_TASK_WHERE:
    case WIRE_TASK_AT:
    case WIRE_COPY:
    case WIRE_COPY_EVENT:
    case WIRE_COPY_STREAM:
    case WIRE_COPIED:
    case WIRE_DIGEST:
    case WIRE_TAKE:
    case WIRE_GRANT:
    case WIRE_VETO:
    case WIRE_YIELD:
    case WIRE_CHECK:
    case WIRE_CHECKED:
    case WIRE_HAND:
    case WIRE_HANDED:
    case WIRE_TOOLS:
        break; /* not an owner's words */
    }
}

void entry_on_lane_lost(struct core *core, const struct links_event *event, uint64_t now_ms)
{
    struct exchange *x = pool_at(&core->entry.exchanges, event->user);
    if (x == NULL || !lane_equal(x->lane, event->lane))
        return;
    x->lane = (struct lane){0};
    if (x->state == EXCHANGE_BROKEN)
        return;
    /* Counted anew from this loss, unless one follows the other: that has an end, too. It was lost
     * when the other end was heard last: where nobody answered on the lane, that is its OPEN. */
    uint64_t heard_ms = event->answered_ms != MESH_NEVER ? event->answered_ms : now_ms;
    if (heard_ms > x->asked_ms && event->sent &&
        (!x->may_have_run || now_ms - x->asked_ms > ENTRY_LANE_LIVED_MS))
        exchange_is_heard(x);
    if (x->give_up_ms == MESH_NEVER)
        x->give_up_ms = (heard_ms > x->asked_ms ? heard_ms : x->asked_ms) + core->config.park_ms;
    if (event->sent) {
        /* it may have arrived: only its owner can say, by the exchange's name */
        if (!x->is_bound) {
            x->ran_at = x->owner;
            x->is_carried = x->is_in_place;
        } else if (!peer_id_equal(x->ran_at, x->owner)) {
            x->is_carried = true;
        }
        if (peer_id_equal(x->ran_at, x->owner))
            x->lost_link = event->number;
        x->may_have_run = x->is_bound = x->was_sent = true;
    }
    bool is_first = x->retry_ms == 0;
    exchange_park_again(core, x, now_ms);
    if (is_first)
        core->entry.is_woken = true;
}

/* ---- time ----------------------------------------------------------------------------------- */

void entry_wake(struct core *core)
{
    core->entry.is_woken = true;
}

static void exchange_due(struct core *core, struct exchange *x, uint64_t now_ms)
{
    if (x->state == EXCHANGE_BROKEN) {
        exchange_end(core, x, MESH_END_CUT, MESH_FULL);
        if (x->state == EXCHANGE_BROKEN) {
            x->retry_at_ms = now_ms + EXCHANGE_MEMORY_RETRY_MS;
            exchange_set_timer(core, x);
        }
        return;
    }
    if (x->grace_ms <= now_ms)
        exchange_grant_grace(core, x);
    if (x->state == EXCHANGE_PARKED && (x->retry_at_ms <= now_ms || x->give_up_ms <= now_ms))
        exchange_try(core, x, now_ms);
    if (x->state == EXCHANGE_ENDED)
        return;
    if (x->state == EXCHANGE_ASKED)
        x->retry_at_ms = MESH_NEVER;
    else if (x->retry_at_ms <= now_ms)
        x->retry_at_ms = now_ms + ENTRY_RETRY_FIRST_MS;
    exchange_set_timer(core, x);
}

/* Some could not be set for want of memory. */
static void entry_set_timers(struct core *core)
{
    struct handle h;
    core->entry.lacks_timers = false;
    for (uint32_t slot = 0; slot < pool_span(&core->entry.exchanges); slot++) {
        struct exchange *x = pool_slot(&core->entry.exchanges, slot, &h);
        if (x != NULL && x->state != EXCHANGE_ENDED)
            exchange_set_timer(core, x);
    }
}

void entry_now(struct core *core, uint64_t now_ms)
{
    struct entry *e = &core->entry;
    struct heap_node *node;
    e->now_ms = now_ms;
    if (e->lacks_timers)
        entry_set_timers(core);
    /* A try may wake others (a search that ended at once); each round ends or parks them, and the
     * next turn goes on where this one stopped. */
    for (int round = 0; e->is_woken && round < 4; round++) {
        e->is_woken = false;
        uint32_t waiting = e->parked_count;
        while (waiting-- > 0 && !list_is_empty(&e->parked)) {
            struct exchange *x = container_of(list_first(&e->parked), struct exchange, parked);
            list_remove(&x->parked);
            list_push_back(&e->parked, &x->parked);
            exchange_try(core, x, now_ms);
        }
    }
    while ((node = heap_first(&e->timers)) != NULL && node->at_ms <= now_ms)
        exchange_due(core, container_of(node, struct exchange, timer), now_ms);
}

uint64_t entry_deadline_ms(const struct core *core)
{
    const struct entry *e = &core->entry;
    uint64_t timers = heap_deadline_ms(&e->timers);
    uint64_t again = e->lacks_timers ? e->now_ms + EXCHANGE_MEMORY_RETRY_MS : MESH_NEVER;
    if (e->is_woken)
        return 0;
    return timers < again ? timers : again;
}

static bool exchange_is_over(const struct exchange *x)
{
    return x->state == EXCHANGE_BROKEN || x->state == EXCHANGE_ENDED;
}

/* The stream of HTTP+SSE of a session of ours ends when its requests are over (serve_leave). */
static bool exchange_is_own_single(const struct core *core, const struct exchange *x)
{
    return x->request.want == MESH_SSE && x->state == EXCHANGE_ASKED &&
           peer_id_equal(x->owner, core_self(core));
}

void entry_leave(struct core *core)
{
    struct handle h;
    for (uint32_t slot = 0; slot < pool_span(&core->entry.exchanges); slot++) {
        struct exchange *x = pool_slot(&core->entry.exchanges, slot, &h);
        if (x == NULL || exchange_is_over(x) || exchange_is_own_single(core, x))
            continue;
        if (x->request.want == MESH_LISTEN && x->head_out)
            exchange_end(core, x, x->has_position ? MESH_END_LATER : MESH_END_WHOLE, MESH_OK);
        else if (exchange_is_held_stream(x) || x->request.rpc.method == RPC_LISTEN)
            exchange_stop(core, x, MESH_STOPPING);
    }
}

bool entry_is_idle(const struct core *core)
{
    struct handle h;
    for (uint32_t slot = 0; slot < pool_span(&core->entry.exchanges); slot++) {
        const struct exchange *x = pool_slot(&core->entry.exchanges, slot, &h);
        if (x != NULL && !exchange_is_own_single(core, x))
            return false;
    }
    return true;
}

void entry_end_all(struct core *core)
{
    struct handle h;
    for (uint32_t slot = 0; slot < pool_span(&core->entry.exchanges); slot++) {
        struct exchange *x = pool_slot(&core->entry.exchanges, slot, &h);
        if (x != NULL && !exchange_is_over(x))
            exchange_stop(core, x, MESH_STOPPING);
    }
}
