/* exchange_hear.c - what the owner says, or that it cannot be heard any more, and what its client
 * gets of that. */
#include "mesh/base/mutant.h"
#include "mesh/session/core.h"
#include "mesh/session/exchange.h"

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
    if (why == MESH_SESSION_UNKNOWN && x->has_session && exchange_may_begin_anew(x)) {
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
    exchange_move_on(x, &m->text.id);
    x->has_marks = x->has_marks || m->payload.length == 0;
    if (x->request.want != MESH_SSE) /* whose clients cannot come back for more */
        e->event.id = m->text.id;
}

static void exchange_on_text(struct core *core, struct exchange *x, const struct wire_message *m)
{
    struct mesh_effect e = {.patch = m->text.patch};
    size_t unread = m->payload.length;
    x->received++;
    exchange_is_heard(x);
    if (m->kind == WIRE_EVENT) {
        exchange_on_event(x, m, &e);
        bool is_passed = exchange_has_passed(x, m);
        if (is_passed || !exchange_note_progress(core, x, m)) {
            links_consumed(core->links, x->lane, LINKS_ENTRY, unread);
            if (is_passed || !x->has_marks || event_id_is_none(&e.event.id))
                return;
            e.event.text = (struct slice){0}; /* but its place, from which to come back */
            unread = 0;
        }
    } else {
        e.kind = MESH_REPLY_DATA;
        e.data = m->payload;
    }
    x->unread_bytes += unread;
    /* the one stream of HTTP+SSE has answers of others, and goes on */
    bool answers = m->text.answers && x->request.want != MESH_SSE;
    if (exchange_release_head(core, x) && exchange_tell(core, x, &e) && answers)
        x->is_answered = true;
}

static void exchange_on_whole(struct core *core, struct exchange *x, const struct wire_message *m,
                              uint64_t now_ms)
{
    struct held_head head = exchange_head_of(m);
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
