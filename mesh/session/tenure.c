/* tenure.c - owners that begin and end. */
#include "mesh/session/tenure.h"

#include "mesh/base/failpoint.h"
#include "mesh/session/core.h"
#include "mesh/session/replay.h"
#include "mesh/session/upcall.h"

void takeover_own(struct core *core, struct session *copy, struct mesh_epoch epoch,
                  bool is_handover, uint64_t now_ms)
{
    struct peer_id from = copy->epoch.owner;
    struct rounds r = takeover_rounds(core, &copy->id);
    rounds_adopt(&r, epoch);
    takeover_note(core, &copy->id, &r);
    session_own(core, copy, true);
    copy->epoch = epoch;
    owner_learn(core, &copy->id, epoch);
    copy->promised = (struct mesh_epoch){0};
    copy->has_run = r.has_run;
    copy->is_announced = true;
    copy->was_handed = is_handover;
    copy->up = (struct handle){0};
    copy->version = 0;
    copy->doubt = core->fence.doubt;
    copy->certain = (struct mesh_epoch){0};
    event_stream_new_tenure(core, copy, is_handover);
    replay_taken_over(core, copy, now_ms);
    succession_claim(core, copy, now_ms);
    copies_begin(core, copy, now_ms);
    core->stats.sessions_taken_over += !is_handover;
    core_tell(core, is_handover ? MESH_SESSION_HANDED : MESH_SESSION_TAKEN, from, MEMBER_ALIVE,
              key_log_hash(&core->keys, &copy->id));
    takeover_over(core, copy, now_ms);
    entry_wake(core);
}

/* ---- the end of one ------------------------------------------------------------------------- */

static bool yield_may_run_again(const struct call *call)
{
    return call_is_held_stream(call) || !call_may_have_run(call) ||
           (!call->is_unsafe && !call->user_was_asked);
}

/* Its last word is not one of its answer: it does not wait behind what is held back. */
static void yield_say(struct core *core, struct call *call, struct mesh_epoch higher)
{
    struct wire_message m = {.kind = WIRE_MOVED, .name = call->name, .epoch = higher};
    if (!yield_may_run_again(call)) {
        m.kind = WIRE_END;
        m.epoch = call->epoch;
        m.end.end = MESH_END_CUT;
        m.end.why = MESH_OUTCOME_UNKNOWN;
    }
    /* should its entry ask by it, because it did not hear this, or must not: it may have run here,
     * whoever owns the session by then */
    if (m.kind == WIRE_END)
        serve_forget_name(core, call);
    if (lane_is_none(call->answer.lane))
        return;
    (void)links_send(core->links, call->answer.lane, LINKS_OWNER, &m);
    links_close(core->links, call->answer.lane, LINKS_OWNER);
    call->answer.lane = (struct lane){0};
}

/* Frees the call, or ends it without another word. */
static void yield_call(struct core *core, struct call *call, struct mesh_epoch higher,
                       uint64_t now_ms)
{
    bool was_ended = call->is_ended;
    bool has_exchange = handle_is_none(call->batch) && !call->is_own && !call->answer.is_dropped;
    if (has_exchange && (!call->is_told || list_is_linked(&call->in_check)))
        yield_say(core, call, higher);
    list_remove(&call->in_check);
    event_stream_let_go(core, call); /* which did not end: should it be ours again, it goes on */
    call->is_told = true;
    call->is_own = call->is_asking = false; /* whoever waits for its outcome is ended, too */
    struct handle self = call->self;
    call_drop_answer(core, call);
    call = call_at(core, self);
    if (call != NULL && !was_ended)
        call_end(core, call, MESH_END_CUT, MESH_OK, now_ms);
}

/* Those who read a stream go before those that feed it: to them it does not end. */
static struct call *yield_next(struct upstream *up)
{
    struct call *next = NULL;
    if (up == NULL)
        return NULL;
    LIST_EACH (at, &up->calls) {
        next = container_of(at, struct call, by_up);
        if (call_is_held_stream(next))
            return next;
    }
    return next;
}

/* What no reader took of our log goes with us: who owns it now says so to its client, unless it has
 * that itself (S1). It may have been named by a holder, and be dead to us for a moment yet. */
static void yield_tell_unheard(struct core *core, const struct session *session,
                               struct mesh_epoch higher, uint64_t now_ms)
{
    struct wire_message m = {.kind = WIRE_YIELD, .session = session->id, .epoch = session->epoch};
    const struct mesh_member *owner = view_find(core->view, higher.owner);
    if (session->own == NULL || owner == NULL ||
        !event_stream_unheard(session->own, &m.round.newest, &m.round.answer))
        return;
    m.round.other = higher;
    m.round.is_unheard = true;
    (void)links_tell(core->links, higher.owner, &owner->record->addr, &m, now_ms);
}

void takeover_yield(struct core *core, struct session *session, struct mesh_epoch higher,
                    uint64_t now_ms)
{
    struct upstream *up = upstream_at(core, session->up);
    struct call *call;
    if (MESH_FAIL(core, "takeover.before_yield"))
        return;
    if (serve_owes(core, session)) { /* nobody can say that any more: its client begins anew */
        struct session_id id = session->id;
        serve_end_session(core, session, MESH_SESSION_ENDED, now_ms);
        tombs_say(core, higher.owner, &id, now_ms);
        return;
    }
    fence_give_calls(core, session, higher, yield_call, now_ms);
    upcall_close(core, session->up); /* nothing that waits is given to it any more */
    while ((call = yield_next(up)) != NULL)
        yield_call(core, call, higher, now_ms);
    upcall_forget_room(core, session->up);
    yield_tell_unheard(core, session, higher, now_ms);
    if (session->version == 0 && higher.counter != 0) /* else once the other has its epoch */
        takeover_dismiss(core, session, higher, now_ms);
    succession_unclaim(core, session);
    session_own(core, session, false);
    session->up = session->creator = (struct handle){0};
    if (higher.counter > session->tried)
        session->tried = higher.counter;
    if (mesh_epoch_compare(higher, session->epoch) > 0)
        session->epoch = higher;
    owner_learn(core, &session->id, higher);
    core->stats.sessions_yielded++;
    core_tell(core, MESH_SESSION_YIELDED, higher.owner, MEMBER_ALIVE,
              key_log_hash(&core->keys, &session->id));
    copies_yielded(core, session, now_ms);
    entry_wake(core);
    (void)MESH_FAIL(core, "takeover.after_yield");
}

bool takeover_leave(struct core *core, struct session *session, uint64_t now_ms)
{
    struct mesh_epoch next = {0, copies_newest(core, session)};
    if (peer_id_is_nobody(next.owner) || serve_owes(core, session))
        return false;
    takeover_dismiss(core, session, (struct mesh_epoch){0}, now_ms);
    takeover_yield(core, session, next, now_ms);
    return true;
}

/* ---- the next one at home ------------------------------------------------------------------- */

static void tenure_next(struct core *core, struct session *session)
{
    struct rounds r = takeover_rounds(core, &session->id);
    struct upstream *up = upstream_at(core, session->up);
    uint64_t counter = rounds_highest(&r).counter;
    counter = (r.tried > counter ? r.tried : counter) + 1;
    if (fence_is_in_doubt(core, session) && session->certain.counter == 0)
        session->certain = session->epoch;
    session->epoch = (struct mesh_epoch){counter, core_self(core)};
    owner_learn(core, &session->id, session->epoch);
    session->tried = counter;
    session->promised = (struct mesh_epoch){0};
    if (up == NULL)
        return;
    LIST_EACH (at, &up->calls) {
        struct call *call = container_of(at, struct call, by_up);
        call->epoch = session->epoch;
        answer_set_epoch(&call->answer, session->epoch);
    }
}

void takeover_next_epoch(struct core *core, struct session *session, uint64_t now_ms)
{
    tenure_next(core, session);
    event_stream_new_tenure(core, session, false);
    copies_begin(core, session, now_ms);
}

void takeover_keep(struct core *core, struct session *session, uint64_t now_ms)
{
    tenure_next(core, session);
    event_stream_new_tenure(core, session, true);
    copies_begin(core, session, now_ms);
}
