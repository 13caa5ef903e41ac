/* serve.c - the owner's side of an exchange: what is done with an OPEN, and the life of a call.
 * What the upstream does with it is in upcall.c. */
#include "mesh/session/serve.h"

#include <errno.h>

#include "mesh/base/mutant.h"
#include "mesh/session/affinity.h"
#include "mesh/session/core.h"
#include "mesh/session/place.h"
#include "mesh/session/replay.h"
#include "mesh/session/upcall.h"

#define FORGOTTEN_MAX 4096
#define DONE_MAX 4096 /* the oldest gives way */
#define SERVE_MEMORY_RETRY_MS 20

void serve_init(struct core *core)
{
    struct serve *s = &core->serve;
    memset(s, 0, sizeof *s);
    pool_init(&s->calls, sizeof(struct call), core->config.exchanges_max);
    pool_init(&s->upstreams, sizeof(struct upstream),
              core->config.sessions_max + core->config.exchanges_max);
    /* no other peer counts from there: an answer begun at another owner is another one */
    s->serial = rpc_id_hash(core->sip_key, slice_text("serial")) >> 32;
    heap_init(&s->timers);
    heap_init(&s->resumes);
    heap_init(&s->relistens);
    table_init_numbers(&s->by_name, sizeof(struct exchange_name), core->sip_key);
    table_init_numbers(&s->forgotten, sizeof(struct peer_id), core->sip_key);
    newest_init(&s->done, sizeof(struct exchange_name), 0, DONE_MAX, core->sip_key);
}

void serve_deinit(struct core *core)
{
    struct serve *s = &core->serve;
    struct handle h;
    for (uint32_t slot = 0; slot < pool_span(&s->calls); slot++) {
        struct call *call = pool_slot(&s->calls, slot, &h);
        if (call != NULL)
            call_free(core, call);
    }
    for (uint32_t slot = 0; slot < pool_span(&s->upstreams); slot++) {
        struct upstream *up = pool_slot(&s->upstreams, slot, &h);
        if (up != NULL)
            upcall_forget(core, up);
    }
    heap_deinit(&s->timers);
    heap_deinit(&s->resumes);
    heap_deinit(&s->relistens);
    table_deinit(&s->by_name);
    table_deinit(&s->forgotten);
    newest_deinit(&s->done);
    spare_deinit(&s->spare_kept);
    pool_deinit(&s->calls);
    pool_deinit(&s->upstreams);
}

/* ---- what may not run twice ----------------------------------------------------------------- */

bool serve_is_unsafe(const struct core *core, const struct wire_message *open)
{
    const struct mesh_request *r = &open->open.request;
    if (r->want == MESH_LISTEN || r->want == MESH_SSE)
        return false;
    /* HTTP+SSE: its answer may be on the stream, whatever its entry heard */
    return r->front == MESH_FRONT_SSE ||
           retry_class_of(&core->retry, &r->rpc, open->payload, false) != RETRY_SAFE;
}

/* When the table is full, of nobody's. */
static void serve_forget_entry(struct core *core, struct peer_id entry)
{
    struct serve *s = &core->serve;
    if (table_get(&s->forgotten, &entry, NULL))
        return;
    if (table_count(&s->forgotten) >= FORGOTTEN_MAX || table_put(&s->forgotten, &entry, 1) < 0)
        s->forgets_all = true;
}

void serve_forget_name(struct core *core, const struct call *call)
{
    if (call->is_unsafe)
        serve_forget_entry(core, call->name.entry);
}

void serve_note_relayed(struct core *core, const struct wire_message *open)
{
    if (serve_is_unsafe(core, open))
        serve_forget_entry(core, open->name.entry);
}

/* Without memory for its name, of all of that entry. */
static void serve_note_done(struct core *core, const struct call *call)
{
    if (call->is_unsafe && call->was_attached && newest_put(&core->serve.done, &call->name) == NULL)
        serve_forget_entry(core, call->name.entry);
}

static bool serve_has_forgotten(const struct core *core, const struct exchange_name *name)
{
    return core->serve.forgets_all || table_get(&core->serve.forgotten, &name->entry, NULL) ||
           newest_find(&core->serve.done, name) != NULL;
}

static void serve_abandon(struct core *core, struct call *call, uint64_t now_ms);

/* ---- OPEN ----------------------------------------------------------------------------------- */

static void serve_say(struct core *core, struct lane lane, const struct wire_message *open,
                      struct wire_message *m)
{
    m->name = open->name;
    (void)links_send(core->links, lane, LINKS_OWNER, m);
    links_close(core->links, lane, LINKS_OWNER);
}

static void serve_refuse(struct core *core, struct lane lane, const struct wire_message *open,
                         enum mesh_reason why)
{
    struct wire_message m = {.kind = WIRE_REFUSED};
    m.end.why = why;
    serve_say(core, lane, open, &m);
}

static void serve_defer(struct core *core, struct lane lane, const struct wire_message *open)
{
    struct wire_message m = {.kind = WIRE_NOT_YET};
    m.not_yet.wait_ms = ENTRY_RETRY_FIRST_MS;
    serve_say(core, lane, open, &m);
}

/* A session that is not ours: whoever asked is told what we know; it asks the others. Of one that
 * we have a copy of, and whose owner seems gone, we may become the owner. */
static void serve_elsewhere(struct core *core, struct lane lane, const struct wire_message *open,
                            uint64_t now_ms)
{
    struct owner_found found;
    struct session *copy = session_find_copy(core, &open->session);
    owner_resolve(core, &open->session, &found, now_ms);
    struct wire_message m = {.kind = WIRE_MOVED};
    bool is_gone =
        found.verdict == OWNER_GONE || (found.verdict == OWNER_THERE && open->open.is_owner_lost);
    if (is_gone && found.verdict == OWNER_THERE &&
        evidence_of(core, found.peer, now_ms) == EVIDENCE_LIVES &&
        relay_begin(core, lane, open, found.peer, now_ms))
        return;
    if (copy != NULL && is_gone) {
        if (!takeover_park(core, copy, lane, open, now_ms))
            serve_defer(core, lane, open);
        return;
    }
    switch (found.verdict) {
    case OWNER_THERE:
        if (is_gone && mesh_epoch_compare(found.epoch, open->epoch) <= 0) {
            serve_refuse(core, lane, open, MESH_OWNER_LOST); /* that one it cannot reach */
            break;
        }
        m.epoch = found.epoch.counter != 0 ? found.epoch : (struct mesh_epoch){0, found.peer};
        serve_say(core, lane, open, &m);
        break;
    case OWNER_ENDED:
    case OWNER_FOREIGN:
        serve_refuse(core, lane, open, MESH_SESSION_UNKNOWN);
        break;
    case OWNER_GONE:
        serve_refuse(core, lane, open, MESH_OWNER_LOST);
        break;
    case OWNER_AWAY:
        if (open->open.is_owner_lost) { /* no record here: all are asked */
            serve_refuse(core, lane, open, MESH_OWNER_LOST);
            break;
        }
        (void)owner_search(core, &open->session, now_ms); /* it asks us again */
        serve_defer(core, lane, open);
        break;
    case OWNER_HERE:
        serve_defer(core, lane, open);
        break;
    }
}

/* The entry has so many bytes more of the answer. */
static void serve_taken(struct core *core, struct call *call, size_t bytes)
{
    if (bytes > 0 && !call->is_told) /* else it was given back with its end */
        upcall_taken(core, call, bytes);
    event_stream_delivered(core, call);
}

static void serve_attach(struct core *core, struct call *call, struct lane lane,
                         const struct wire_message *open, uint64_t now_ms)
{
    if (open->open.is_attach)
        links_cut(core->links, open->name.entry, open->open.lost_link, now_ms);
    if (!lane_is_none(call->answer.lane))
        links_close(core->links, call->answer.lane, LINKS_OWNER);
    links_accept(core->links, lane, call->self);
    call->detached_ms = 0;
    call->was_attached = true;
    call_arm(core, call);
    core->stats.attached++;
    /* what it has of another answer under this name is nothing of this one */
    uint32_t received = open->open.serial == call->serial ? open->open.received : 0;
    (void)fence_answer(core, call, received);
    size_t freed = answer_attach(&call->answer, core->links, lane, received);
    /* the lost lane cannot acknowledge it any more */
    call->progress_ms = now_ms;
    serve_taken(core, call, freed);
}

/* Two open requests with one id: an SDK server would give the second one the first one's stream. */
static bool serve_id_is_open(struct core *core, const struct session *session,
                             const struct wire_message *open)
{
    const struct rpc_message *rpc = &open->open.request.rpc;
    struct upstream *up = upstream_at(core, session->up);
    if (up == NULL || rpc->kind != RPC_REQUEST || list_is_empty(&up->calls))
        return false;
    uint64_t id_hash = rpc_id_hash(core->sip_key, slice_part(open->payload, rpc->id));
    LIST_EACH (at, &up->calls) {
        struct call *other = container_of(at, struct call, by_up);
        if (other->rpc.kind == RPC_REQUEST && other->want == MESH_CALL &&
            call_id_hash(core, other) == id_hash)
            return true;
    }
    return false;
}

/* Without a session there is what makes one, what passes, and what an HTTP server makes of it. */
static enum mesh_reason serve_admit_alone(struct core *core, const struct wire_message *open)
{
    const struct mesh_request *r = &open->open.request;
    bool is_http = upcall_is_http(core);
    if (r->want == MESH_PASS && !is_http && core->config.upstream != MESH_UP_SSE)
        return MESH_NO_ROUTE;
    if (r->want != MESH_PASS && !is_http && !place_is_new_session(r))
        return MESH_NO_SESSION_ID;
    if (core->is_leaving && !affinity_is_here(core, r, open->payload))
        return MESH_STOPPING;
    return MESH_OK;
}

/* Which reason keeps this request from running here, MESH_OK if none does. */
static enum mesh_reason serve_admit(struct core *core, const struct wire_message *open,
                                    struct session *session)
{
    const struct mesh_request *r = &open->open.request;
    if (session == NULL)
        return serve_admit_alone(core, open);
    if (!principal_equal(&session->who, &r->who)) {
        core->stats.not_found_principal++;
        return MESH_SESSION_UNKNOWN;
    }
    if (session->is_single != (r->front == MESH_FRONT_SSE))
        return MESH_SESSION_UNKNOWN; /* an id of the other kind (row A18) */
    /* its stream, which was read at another owner, or over another link */
    bool is_held_on =
        r->want == MESH_SSE && (open->open.is_attach || session_reader(core, session) == NULL);
    if (r->want == MESH_PASS || (session->is_single && r->want != MESH_CALL && !is_held_on))
        return MESH_SESSION_UNKNOWN; /* no entry asks for that in a session */
    if (r->want == MESH_LISTEN && open->open.has_position && open->open.position.is_last)
        return MESH_STREAM_OVER;
    if (session->calls_open >= SESSION_CALLS_MAX)
        return MESH_FULL;
    if (r->want != MESH_CALL)
        return MESH_OK;
    if (r->rpc.method == RPC_INITIALIZE && r->rpc.kind == RPC_REQUEST && !session->is_single)
        return MESH_ALREADY_INITIALIZED;
    if (r->rpc.kind == RPC_BATCH && core->config.upstream != MESH_UP_HTTP &&
        (!session->has_batches || r->rpc.batch_count > SESSION_CALLS_MAX - session->calls_open))
        return session->has_batches ? MESH_FULL : MESH_NOT_SUPPORTED;
    return serve_id_is_open(core, session, open) ? MESH_ID_IN_USE : MESH_OK;
}

/* It may have run at another owner of its session, before it was ours. */
static bool serve_is_of_other(const struct core *core, const struct wire_message *open)
{
    return open->has_session && !peer_id_equal(open->open.ran_at, core_self(core));
}

/* An attach to a name that is not known here. It never arrived, and may run now, unless part of
 * its answer is out (another run's answer would not go on where that one stopped), or it may not
 * run twice, and another owner may have run it, or we have forgotten it, or names of this entry.
 * The answer of another owner's run was by events, if any: a new run goes on with those (mcp.md
 * §5). */
static bool serve_cannot_resume(const struct core *core, const struct session *session,
                                const struct wire_message *open)
{
    enum mesh_want want = open->open.request.want;
    bool is_unsafe = serve_is_unsafe(core, open);
    if (want == MESH_LISTEN || (want == MESH_SSE && open->has_session))
        return false;
    if (serve_is_of_other(core, open)) /* and who is to judge, if it is not ours? */
        return session != NULL && is_unsafe;
    return open->open.received > 0 || (is_unsafe && serve_has_forgotten(core, &open->name));
}

/* A stream that was read here, and then at another owner of its session: its client has the ids of
 * both, and goes on from the last of them. */
static bool serve_is_read_elsewhere(const struct call *call, const struct wire_message *open)
{
    return call_is_held_stream(call) && open->open.is_attach && open->open.serial != 0 &&
           open->open.serial != call->serial;
}

/* The session goes on, though its one stream is read by nobody for a moment. */
static void serve_drop_reader(struct core *core, struct call *reader, uint64_t now_ms)
{
    struct handle self = reader->self;
    call_drop_answer(core, reader);
    reader = call_at(core, self);
    if (reader != NULL)
        call_end(core, reader, MESH_END_CUT, MESH_OK, now_ms);
}

/* Its record says that this request may not run again, though its method does not: its user was
 * asked something, and answered. That is the outcome on its stream, too. */
static bool serve_fail_asked(struct core *core, struct session *session,
                             const struct wire_message *open, uint64_t now_ms)
{
    struct event_stream *stream =
        session != NULL && open->open.has_position && open->open.position.stream != 0
            ? event_stream_shown(session, &open->open.position)
            : NULL;
    if (stream == NULL || stream->is_safe || !event_stream_is_orphan(stream))
        return false;
    event_stream_fail(core, stream, MESH_OUTCOME_UNKNOWN, now_ms);
    return true;
}

/* HTTP+SSE: what is accepted is answered on the session's one stream (H1). Who took the session
 * over accepts nothing before that is read here: it may be read at a rival, of which this owner
 * does not hear, and which knows nothing of what this one accepted. */
static bool serve_lacks_stream(const struct session *session, const struct mesh_request *r)
{
    return session != NULL && session->is_single && r->want == MESH_CALL &&
           r->rpc.kind == RPC_REQUEST && session->own != NULL &&
           event_stream_is_orphan(session->own);
}

/* What an OPEN says of its session's epoch is mostly nothing new: of one that we own the first, in
 * which we minted it, or none. */
static bool serve_knows_epoch(const struct session *session, struct mesh_epoch epoch)
{
    return session != NULL && epoch.counter <= 1 && mesh_epoch_compare(epoch, session->epoch) <= 0;
}

void serve_open(struct core *core, struct lane lane, const struct wire_message *open,
                uint64_t now_ms)
{
    const struct mesh_request *r = &open->open.request;
    struct session *session = NULL;
    struct call *call = MUTANT(NO_NAMES) ? NULL : call_by_name(core, &open->name);
    if (open->open.hops + 1u > core->stats.hops_max)
        core->stats.hops_max = open->open.hops + 1u;
    if (call != NULL && serve_is_read_elsewhere(call, open)) {
        serve_drop_reader(core, call, now_ms);
        call = call_by_name(core, &open->name);
    }
    if (call != NULL && call->answer.is_dropped) {
        serve_refuse(core, lane, open, MESH_OUTCOME_UNKNOWN);
        return;
    }
    if (call != NULL) {
        serve_attach(core, call, lane, open, now_ms);
        return;
    }
    if (open->open.is_attach)
        links_cut(core->links, open->name.entry, open->open.lost_link, now_ms);
    if (open->has_session)
        session = session_find(core, &open->session);
    if (open->has_session && !serve_knows_epoch(session, open->epoch)) {
        owner_learn(core, &open->session, open->epoch);
        fence_claimed(core, &open->session, open->epoch, now_ms);
        session = session_find(core, &open->session);
    }
    if (open->open.is_attach && serve_cannot_resume(core, session, open)) {
        serve_refuse(core, lane, open, MESH_OUTCOME_UNKNOWN);
        return;
    }
    if (open->has_session && session == NULL) {
        serve_elsewhere(core, lane, open, now_ms);
        return;
    }
    /* its entry passes on nothing below that epoch: once this is ours for certain, it is above it,
     * and so are the ids of what is told from then on (S1) */
    if (session != NULL && fence_is_in_doubt(core, session) &&
        mesh_epoch_compare(open->epoch, session->epoch) > 0) {
        serve_defer(core, lane, open);
        return;
    }
    /* answers, cancels and notifications pass: what is under way waits for them (DESIGN §7) */
    bool waits = session != NULL && r->want == MESH_CALL &&
                 (r->rpc.kind == RPC_REQUEST || r->rpc.kind == RPC_BATCH) &&
                 handover_is_quiet(core, session, now_ms);
    if (waits) {
        if (!park_keep(core, lane, open))
            serve_defer(core, lane, open);
        return;
    }
    bool mints = session == NULL && place_is_new_session(r);
    if (serve_lacks_stream(session, r) || (mints && !swim_may_mint(core->swim, now_ms))) {
        serve_defer(core, lane, open);
        return;
    }
    enum mesh_reason why = serve_admit(core, open, session);
    if (why == MESH_OK && r->want == MESH_CALL && open->open.is_attach &&
        serve_fail_asked(core, session, open, now_ms))
        why = MESH_OUTCOME_UNKNOWN;
    if (why != MESH_OK) {
        serve_refuse(core, lane, open, why);
        return;
    }
    call = call_new(core, open);
    if (call == NULL || upcall_prepare(core, call, session, mints, r, now_ms) < 0) {
        if (call != NULL)
            call_free(core, call);
        serve_refuse(core, lane, open, MESH_FULL);
        return;
    }
    links_accept(core->links, lane, call->self);
    call->answer.lane = lane;
    bool goes_on = session != NULL && r->want == MESH_CALL && open->open.has_position;
    if (!goes_on || uplisten_go_on(core, call, now_ms))
        upcall_start(core, call, now_ms);
}

/* ---- the entry's other words, and its lane -------------------------------------------------- */

/* In the legacy era a client that vanishes cancels nothing: the call goes on, its answer has no
 * reader. In the modern era closing the stream is cancellation, and so is every other way in which
 * nobody is left that waits. A session of HTTP+SSE ends with its stream: its client could not come
 * back to it. */
static void serve_abandon(struct core *core, struct call *call, uint64_t now_ms)
{
    struct session *session = session_at(core, call->session);
    bool is_over = call->is_ended;
    bool is_cancelled = call_ends_unread(call) || call->want == MESH_PASS;
    struct handle self = call->self;
    call_drop_answer(core, call);
    if (is_over || !is_cancelled)
        return;
    if (call->want == MESH_SSE && session != NULL)
        serve_end_session(core, session, MESH_SESSION_ENDED, now_ms);
    call = call_at(core, self);
    if (call == NULL)
        return;
    upcall_cancel(core, call);
    call_end(core, call, MESH_END_CUT, MESH_OK, now_ms);
}

void serve_cut_reader(struct core *core, struct call *reader, uint64_t now_ms)
{
    struct session *session = session_at(core, reader->session);
    if (reader->want == MESH_SSE && session != NULL)
        serve_end_session(core, session, MESH_READER_SLOW, now_ms);
    else if (call_is_held_stream(reader))
        call_end(core, reader, MESH_END_CUT, MESH_READER_SLOW, now_ms);
    else
        call_tell_end(core, reader, MESH_END_CUT, MESH_READER_SLOW);
}

void serve_on_message(struct core *core, const struct links_event *event, uint64_t now_ms)
{
    struct call *call = call_at(core, event->user);
    /* an entry's words are taken by being read, and nobody waits to hear it; but a large body would
     * leave no room for its last word */
    if (event->bytes > LINK_WINDOW_FIRST / 2)
        links_consumed(core->links, event->lane, LINKS_OWNER, event->bytes);
    if (event->message.kind == WIRE_OPEN) {
        if (call == NULL) /* a lane carries one request */
            serve_open(core, event->lane, &event->message, now_ms);
        return;
    }
    if (call == NULL || !lane_equal(call->answer.lane, event->lane))
        return;
    if (event->message.kind == WIRE_CANCEL || event->message.kind == WIRE_DONE) {
        serve_note_done(core, call);
        serve_abandon(core, call, now_ms);
    }
}

void serve_on_consumed(struct core *core, const struct links_event *event, uint64_t now_ms)
{
    struct call *call = call_at(core, event->user);
    if (call == NULL || !lane_equal(call->answer.lane, event->lane))
        return;
    uint64_t before = call->answer.taken_payload;
    size_t freed = answer_consumed(&call->answer, event->total);
    if (call->answer.taken_payload > before) /* part of a large event will do */
        call->progress_ms = now_ms;
    serve_taken(core, call, freed);
}

void serve_on_lane_lost(struct core *core, const struct links_event *event, uint64_t now_ms)
{
    struct call *call = call_at(core, event->user);
    if (call == NULL || !lane_equal(call->answer.lane, event->lane))
        return;
    answer_detach(&call->answer);
    call->detached_ms = now_ms;
    call_arm(core, call);
}

void serve_entry_gone(struct core *core, struct peer_id entry, uint64_t now_ms)
{
    struct handle h;
    for (uint32_t slot = 0; slot < pool_span(&core->serve.calls); slot++) {
        struct call *call = pool_slot(&core->serve.calls, slot, &h);
        if (call == NULL || call->answer.is_dropped || !peer_id_equal(call->name.entry, entry))
            continue;
        serve_forget_name(core, call);
        serve_abandon(core, call, now_ms);
    }
}

void serve_release(struct core *core, struct handle h)
{
    struct call *call = call_at(core, h);
    if (call != NULL)
        answer_release(&call->answer, core->links);
}

/* ---- sessions, time ------------------------------------------------------------------------- */

/* Held streams are the last to end: what becomes of the others may be said on them. */
static struct call *serve_next_to_end(struct upstream *up)
{
    struct call *held = NULL;
    LIST_EACH (at, &up->calls) {
        struct call *call = container_of(at, struct call, by_up);
        if (!call_is_held_stream(call))
            return call;
        if (held == NULL)
            held = call;
    }
    return held;
}

bool serve_owes(struct core *core, const struct session *session)
{
    const struct upstream *up = upstream_at(core, session->up);
    if (!session->is_single)
        return false;
    if (up != NULL)
        LIST_EACH (at, &up->calls) {
            const struct call *call = container_of(at, struct call, by_up);
            if (call_is_request(call) && call->is_told && !list_is_linked(&call->in_check))
                return true;
        }
    return session->own != NULL && event_stream_has_answers(session->own);
}

void serve_end_session(struct core *core, struct session *session, enum mesh_reason why,
                       uint64_t now_ms)
{
    struct handle self = session->self;
    struct handle of = session->up;
    struct upstream *up = upstream_at(core, of);
    struct call *call;
    if (serve_owes(core, session))
        session->is_deleted = true; /* whoever else believes to own it ends it, too */
    upcall_close(core, of);         /* nothing that waits is given to it any more */
    while (up != NULL && (call = serve_next_to_end(up)) != NULL)
        call_end(core, call, MESH_END_CUT, call_is_held_stream(call) ? MESH_SESSION_ENDED : why,
                 now_ms);
    upcall_forget_room(core, of);
    session = session_at(core, self);
    if (session == NULL)
        return; /* it was still being made, and went with its initialize */
    if (session->is_announced) {
        core->stats.sessions_closed++;
        core_tell(core, MESH_SESSION_CLOSED, core_self(core), MEMBER_ALIVE,
                  key_log_hash(&core->keys, &session->id));
        fence_end(core, session);
        tombs_tell(core, session, now_ms);
    }
    session_free(core, session);
}

/* HTTP+SSE: a session without its stream is none; what is in flight is answered on it. */
static void serve_leave_single(struct core *core, struct call *stream, uint64_t now_ms)
{
    struct session *session = session_at(core, stream->session);
    if (session != NULL && session->calls_open <= 1)
        serve_end_session(core, session, MESH_STOPPING, now_ms);
}

void serve_leave(struct core *core, uint64_t now_ms)
{
    struct handle h;
    for (uint32_t slot = 0; slot < pool_span(&core->serve.calls); slot++) {
        struct call *call = pool_slot(&core->serve.calls, slot, &h);
        if (call == NULL || call->is_ended ||
            (!call_is_held_stream(call) && call->rpc.method != RPC_LISTEN))
            continue;
        if (call->want == MESH_SSE) {
            serve_leave_single(core, call, now_ms);
            continue;
        }
        if (!call_is_held_stream(call))
            upcall_cancel(core, call);
        call_end(core, call, MESH_END_CUT, MESH_STOPPING, now_ms);
    }
}

void serve_end_all(struct core *core, uint64_t now_ms)
{
    struct handle h;
    for (uint32_t slot = 0; slot < pool_span(&core->sessions.pool); slot++) {
        struct session *session = pool_slot(&core->sessions.pool, slot, &h);
        if (session != NULL && !session->is_copy && !takeover_leave(core, session, now_ms))
            serve_end_session(core, session, MESH_OUTCOME_UNKNOWN, now_ms);
    }
}

bool serve_is_idle(const struct core *core)
{
    struct handle h;
    for (uint32_t slot = 0; slot < pool_span(&core->serve.calls); slot++) {
        const struct call *call = pool_slot(&core->serve.calls, slot, &h);
        if (call != NULL && !call->is_ended && call->want != MESH_SSE)
            return false;
    }
    return true;
}

/* A reader with something to take: is it still taking? */
static void serve_look_at_reader(struct core *core, struct call *call, uint64_t now_ms)
{
    const struct upstream *up = upstream_at(core, call->up);
    bool is_paused = up != NULL && up->owed >= MESH_UP_ROOM_FIRST;
    uint64_t limit_ms = is_paused ? CALL_STALL_PAUSED_MS : CALL_STALL_MS;
    call->stall_at_ms = 0;
    if (call->answer.payload_bytes == 0 || call->is_told)
        return;
    call->stall_at_ms = call->progress_ms + limit_ms;
    if (call->stall_at_ms > now_ms)
        return;
    call->stall_at_ms = 0;
    serve_cut_reader(core, call, now_ms);
}

static void serve_call_due(struct core *core, struct call *call, uint64_t now_ms)
{
    struct handle self = call->self;
    heap_remove(&core->serve.timers, &call->timer);
    if (call->detached_ms != 0 && call->detached_ms + CALL_DETACHED_MS <= now_ms &&
        (call->is_ended || call_ends_unread(call))) {
        serve_forget_name(core, call);
        serve_abandon(core, call, now_ms);
        return;
    }
    if (call->stream_at_ms != 0 && call->stream_at_ms <= now_ms) {
        call->stream_at_ms = 0;
        if (!call->has_head && !call->is_ended)
            call_add_head(core, call, 200, MESH_FORM_SSE, (struct slice){0}, now_ms);
    }
    if (call->stall_at_ms != 0 && call->stall_at_ms <= now_ms)
        serve_look_at_reader(core, call, now_ms);
    call = call_at(core, self);
    if (call != NULL && call->give_up_ms != 0 && call->give_up_ms <= now_ms)
        call_end(core, call, MESH_END_CUT, MESH_UPSTREAM_DOWN, now_ms); /* it reached none */
    call = call_at(core, self);
    if (call != NULL)
        call_arm(core, call);
}

/* Some could not be set for want of memory: who needs one gets it now. */
static void serve_set_timers(struct core *core, uint64_t now_ms)
{
    struct handle h;
    core->serve.lacks_timers = false;
    for (uint32_t slot = 0; slot < pool_span(&core->serve.calls); slot++) {
        struct call *call = pool_slot(&core->serve.calls, slot, &h);
        if (call != NULL && call->timer.index == 0)
            call_arm(core, call);
    }
    for (uint32_t slot = 0; slot < pool_span(&core->serve.upstreams); slot++) {
        struct upstream *up = pool_slot(&core->serve.upstreams, slot, &h);
        const struct session *session = up != NULL ? session_at(core, up->session) : NULL;
        if (session != NULL && !up->is_open)
            replay_try(core, up, now_ms);
        else if (session != NULL && up->listen_head.length > 0)
            uplisten_open(core, up);
    }
}

void serve_now(struct core *core, uint64_t now_ms)
{
    struct heap_node *node;
    struct session *session;
    core->serve.now_ms = now_ms;
    if (core->serve.lacks_timers)
        serve_set_timers(core, now_ms);
    while ((node = heap_first(&core->serve.timers)) != NULL && node->at_ms <= now_ms)
        serve_call_due(core, container_of(node, struct call, timer), now_ms);
    uplisten_now(core, now_ms);
    event_stream_now(core, now_ms);
    while ((session = session_next_expired(core, now_ms)) != NULL) {
        if (session->is_copy)
            session_free(core, session);
        else
            serve_end_session(core, session, MESH_SESSION_ENDED, now_ms);
    }
}

uint64_t serve_deadline_ms(const struct core *core)
{
    const struct serve *s = &core->serve;
    uint64_t deadlines[] = {heap_deadline_ms(&s->timers), heap_deadline_ms(&s->resumes),
                            heap_deadline_ms(&s->relistens), event_stream_deadline_ms(core),
                            heap_deadline_ms(&core->sessions.expiries)};
    uint64_t first = s->lacks_timers ? s->now_ms + SERVE_MEMORY_RETRY_MS : MESH_NEVER;
    for (size_t n = 0; n < sizeof deadlines / sizeof deadlines[0]; n++)
        if (deadlines[n] < first)
            first = deadlines[n];
    return first;
}
