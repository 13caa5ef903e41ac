/* upcall.c - what is said to an upstream, and how much it may say. */
#include "mesh/session/upcall.h"

#include <errno.h>

#include "mesh/session/affinity.h"
#include "mesh/session/batch.h"
#include "mesh/session/core.h"
#include "mesh/session/replay.h"

bool upcall_is_http(const struct core *core)
{
    return core->config.upstream == MESH_UP_HTTP;
}

bool upcall_has_answer(const struct core *core, const struct call *call)
{
    return upcall_is_http(core) || call->want == MESH_PASS;
}

/* ---- effects -------------------------------------------------------------------------------- */

int upcall_effect(struct core *core, enum mesh_effect_kind kind, struct handle up, uint32_t up_call,
                  size_t room)
{
    struct mesh_effect e = {.kind = kind, .handle = up, .call = up_call};
    if (kind == MESH_UP_ROOM)
        e.room = room;
    return effects_push(&core->effects, &e);
}

void upcall_close(struct core *core, struct handle h)
{
    struct upstream *up = upstream_at(core, h);
    if (up == NULL || up->is_closing)
        return;
    up->is_closing = true;
    up->session = (struct handle){0};
    heap_remove(&core->serve.relistens, &up->again);
    if (!up->is_open) /* whoever empties it forgets it */
        return;
    struct mesh_effect e = {.kind = MESH_UP_CLOSE, .handle = h, .call = MESH_NO_CALL};
    e.send.head = up->listen_head;
    (void)effects_push(&core->effects, &e);
}

void upcall_cancel(struct core *core, struct call *call)
{
    if (call->up_call != 0 && !call->is_ended)
        (void)upcall_effect(core, MESH_UP_CANCEL, call->up, call->up_call, 0);
    call->up_call = 0;
}

int upcall_send(struct core *core, struct call *call, enum mesh_effect_kind kind)
{
    struct upstream *up = upstream_at(core, call->up);
    const struct session *session = session_at(core, call->session);
    struct mesh_effect e = {.kind = kind, .handle = call->up};
    call->up_call = ++up->next_call;
    call->failures_seen = core->breaker.seen;
    call->owed = 0;
    e.call = call->up_call;
    e.send.want = call->want;
    e.send.method = call->method;
    e.send.target = call->target;
    e.send.head = call->head;
    e.send.text = kind == MESH_UP_LISTEN ? call->up_mark : call->body;
    e.send.is_request = kind == MESH_UP_SEND && call_is_request(call);
    e.send.is_own = call->is_own;
    e.send.lists_tools = call_is_request(call) && call->rpc.method == RPC_TOOLS_LIST;
    if (kind == MESH_UP_SEND && call->up_id.length > 0)
        e.patch = (struct patch){call->rpc.id.at, call->rpc.id.length, call->up_id};
    else if (kind == MESH_UP_SEND)
        e.patch = affinity_unwrap(core, call);
    heap_remove(&core->serve.resumes, &call->again);
    call->is_sent = false;
    call->waits_ms = call->give_up_ms = 0;
    if (kind == MESH_UP_SEND) {
        call->sent_as = call->up_call;
        call->is_overtaken = false;
    }
    if (kind == MESH_UP_SEND && call->attempts++ == 0 && session != NULL)
        call->wishes = session->wishes;
    return effects_push(&core->effects, &e);
}

/* ---- room ------------------------------------------------------------------------------------ */

/* Of whose room a reader's bytes are: a child has one for all that it says, an HTTP server one for
 * each answer. */
struct room {
    struct handle up;
    uint32_t up_call;
    size_t *owed; /* NULL: of nobody's any more */
};

static struct room room_of(struct core *core, struct call *reader)
{
    struct upstream *up = upstream_at(core, reader->up);
    struct call *source = NULL;
    if (up == NULL)
        return (struct room){.owed = NULL};
    if (!upcall_has_answer(core, reader))
        return (struct room){up->self, MESH_NO_CALL, &up->owed};
    if (reader->stream != NULL && reader->stream->number == 0)
        return (struct room){up->self, up->listen_call, &up->listen_owed};
    source = reader->stream != NULL ? call_at(core, reader->stream->source) : NULL;
    if (source == NULL)
        source = reader;
    if (source->is_ended) /* nothing more comes on it */
        return (struct room){.owed = NULL};
    return (struct room){up->self, source->up_call, &source->owed};
}

static void room_give(struct core *core, struct room room, size_t bytes)
{
    if (room.owed == NULL)
        return;
    if (bytes > *room.owed)
        bytes = *room.owed;
    *room.owed -= bytes;
    if (bytes > 0 && (room.up_call != 0 || !upcall_is_http(core)))
        (void)upcall_effect(core, MESH_UP_ROOM, room.up, room.up_call, bytes);
}

/* The child is kept from speaking: who takes nothing now holds up all streams of the session. */
static void upcall_hurry(struct core *core, struct upstream *up, uint64_t now_ms)
{
    LIST_EACH (at, &up->calls) {
        struct call *call = container_of(at, struct call, by_up);
        if (call->stall_at_ms <= now_ms + CALL_STALL_PAUSED_MS)
            continue;
        call->stall_at_ms = now_ms + CALL_STALL_PAUSED_MS;
        call_arm(core, call);
    }
}

void upcall_owe(struct core *core, struct upstream *up, uint32_t up_call, size_t bytes,
                uint64_t now_ms)
{
    struct call *call = upanswer_find(up, up_call);
    bool was_paused = up->owed >= MESH_UP_ROOM_FIRST;
    if (up_call == MESH_NO_CALL)
        up->owed += bytes;
    else if (call != NULL)
        call->owed += bytes;
    else if (up_call == up->listen_call)
        up->listen_owed += bytes;
    if (!was_paused && up->owed >= MESH_UP_ROOM_FIRST)
        upcall_hurry(core, up, now_ms);
}

void upcall_waste(struct core *core, struct upstream *up, uint32_t up_call, size_t bytes)
{
    struct call *call = upanswer_find(up, up_call);
    struct room room = {.up = up->self, .up_call = up_call};
    if (call != NULL)
        room.owed = &call->owed;
    else if (up_call != MESH_NO_CALL && up_call == up->listen_call)
        room.owed = &up->listen_owed;
    room_give(core, room, bytes);
}

void upcall_taken(struct core *core, struct call *reader, size_t bytes)
{
    room_give(core, room_of(core, reader), bytes);
}

void upcall_untaken(struct core *core, struct call *reader)
{
    room_give(core, room_of(core, reader), reader->answer.payload_bytes);
}

/* ---- making and binding --------------------------------------------------------------------- */

static struct upstream *upcall_open(struct core *core, struct call *call, struct handle session)
{
    struct handle h;
    struct upstream *up = pool_take(&core->serve.upstreams, &h);
    if (up == NULL)
        return NULL;
    up->self = h;
    up->session = session;
    up->is_open = true;
    up->failures_seen = core->breaker.seen;
    up->is_ready = upcall_has_answer(core, call);
    list_init(&up->calls);
    struct mesh_effect e = {.kind = MESH_UP_OPEN, .handle = h};
    e.send.head = call->head;
    e.send.want = call->want;
    if (effects_push(&core->effects, &e) < 0) {
        pool_give(&core->serve.upstreams, h);
        return NULL;
    }
    return up;
}

void upcall_forget_room(struct core *core, struct handle h)
{
    struct upstream *up = upstream_at(core, h);
    if (up != NULL && !up->is_open)
        upcall_forget(core, up);
}

void upcall_forget(struct core *core, struct upstream *up)
{
    heap_remove(&core->serve.relistens, &up->again);
    slice_drop(&up->listen_head);
    slice_drop(&up->listen_mark);
    pool_give(&core->serve.upstreams, up->self);
}

int upcall_prepare(struct core *core, struct call *call, struct session *session, bool mints,
                   const struct mesh_request *request, uint64_t now_ms)
{
    struct upstream *up = NULL;
    if (session != NULL && replay_is_due(core, session)) {
        if (replay_begin(core, session, call, now_ms) < 0)
            return -ENOBUFS;
    } else if (session != NULL) {
        call->up = session->up;
    }
    if (session == NULL && mints) {
        session = session_new(core, &request->who, request->who_key, now_ms);
        if (session == NULL)
            return -ENOBUFS;
        session->creator = call->self;
        up = upcall_open(core, call, session->self);
        if (up == NULL) {
            session_free(core, session);
            return -ENOBUFS;
        }
        session->up = call->up = up->self;
    } else if (session == NULL) {
        up = upcall_open(core, call, (struct handle){0});
        if (up == NULL)
            return -ENOBUFS;
        call->up = up->self;
    }
    if (session != NULL) {
        call->session = session->self;
        call->epoch = session->epoch;
        session->has_run = session->has_run || !call_is_held_stream(call);
        session->calls_open++;
        session->calls_total++;
        session_touch(core, session, now_ms);
    }
    return 0;
}

void upcall_unbind(struct core *core, struct call *call)
{
    struct session *session = session_at(core, call->session);
    struct upstream *up = upstream_at(core, call->up);
    if (up != NULL)
        up->session = (struct handle){0};
    call->session = (struct handle){0};
    if (session != NULL)
        session_free(core, session);
}

void upcall_announce(struct core *core, struct session *session)
{
    if (session->is_announced)
        return;
    session->is_announced = true;
    core->stats.sessions_opened++;
    core_tell(core, MESH_SESSION_OPENED, core_self(core), MEMBER_ALIVE,
              key_log_hash(&core->keys, &session->id));
}

/* ---- giving a call to the upstream ---------------------------------------------------------- */

/* 202, and that was it. */
static void upcall_accept(struct core *core, struct call *call, uint64_t now_ms)
{
    call_add_head(core, call, 202, MESH_FORM_NONE, (struct slice){0}, now_ms);
    call_end(core, call, MESH_END_WHOLE, MESH_OK, now_ms);
}

void upcall_accept_single(struct core *core, struct call *call, uint64_t now_ms)
{
    call_add_head(core, call, 202, MESH_FORM_NONE, (struct slice){0}, now_ms);
    call_tell_end(core, call, MESH_END_WHOLE, MESH_OK);
}

void upcall_user_answered(struct core *core, struct handle asker, uint64_t now_ms)
{
    struct call *asking = call_at(core, asker);
    if (asking == NULL)
        return;
    asking->user_was_asked = true;
    if (asking->stream == NULL || !asking->stream->is_safe)
        return;
    asking->stream->is_safe = false;
    copies_on_stream(core, session_at(core, asking->session), asking->stream, now_ms);
}

/* The answer to a question of the upstream goes on only while that question is open: ids are
 * counted from 0 by every server, and an old answer would be taken for a new question's. */
static bool upcall_is_awaited(struct core *core, struct call *call, uint64_t now_ms)
{
    struct handle asker = {0};
    struct session *session = session_at(core, call->session);
    if (session == NULL)
        return upcall_is_http(core);
    if (!session_answered(session, call_id_hash(core, call), &asker, &call->up_id))
        return false;
    copies_on_state(core, session, now_ms);
    upcall_user_answered(core, asker, now_ms);
    return true;
}

/* stdio, built in: who was told of a cancel answers nothing more (MCP 2025-11-25, cancellation), so
 * the request ends here; an answer that was under way already finds no open call. */
static void upcall_on_cancelled(struct core *core, struct session *session,
                                const struct call *notice, uint64_t now_ms)
{
    if (notice->rpc.cancels.length == 0)
        return;
    uint64_t hash = rpc_id_hash(core->sip_key, slice_part(notice->body, notice->rpc.cancels));
    struct call *call = session_open_call(core, session, hash);
    if (call != NULL && !handle_equal(session->creator, call->self))
        call_end(core, call, MESH_END_CUT, MESH_CANCELLED, now_ms);
}

static void upcall_give(struct core *core, struct call *call, uint64_t now_ms)
{
    struct session *session = session_at(core, call->session);
    bool is_answer =
        call->want == MESH_CALL && (call->rpc.kind == RPC_RESPONSE || call->rpc.kind == RPC_ERROR);
    if (is_answer && !upcall_is_awaited(core, call, now_ms)) {
        core->stats.questions_dropped++;
        upcall_accept(core, call, now_ms);
        return;
    }
    if (call->want == MESH_DELETE && !upcall_is_http(core)) {
        call_add_head(core, call, 200, MESH_FORM_NONE, (struct slice){0}, now_ms);
        call_end(core, call, MESH_END_WHOLE, MESH_OK, now_ms);
        if (session != NULL) {
            session->is_deleted = true;
            serve_end_session(core, session, MESH_SESSION_ENDED, now_ms);
        }
        return;
    }
    if (call->rpc.kind == RPC_BATCH && !upcall_has_answer(core, call)) {
        batch_give(core, call, now_ms);
        return;
    }
    bool is_late = call->rpc.kind == RPC_BATCH && session != NULL && session->upstreams > 1;
    int rc = is_late ? batch_restore_answers(core, call, now_ms) : 0;
    if (rc > 0)
        upcall_accept(core, call, now_ms);
    else if (rc < 0)
        call_end(core, call, MESH_END_CUT, MESH_FULL, now_ms);
    if (rc != 0)
        return;
    bool is_initialized = session != NULL && call->rpc.method == RPC_INITIALIZED;
    if (is_initialized && session->is_initialized && session->upstreams > 1) {
        upcall_accept(core, call, now_ms); /* this one was told so by us */
        return;
    }
    if (is_initialized)
        session->is_initialized = true;
    if (upcall_send(core, call, MESH_UP_SEND) < 0) {
        call_end(core, call, MESH_END_CUT, MESH_FULL, now_ms);
        return;
    }
    if (upcall_has_answer(core, call))
        return;
    if (call->rpc.kind != RPC_REQUEST) {
        if (session != NULL && call->rpc.method == RPC_CANCELLED)
            upcall_on_cancelled(core, session, call, now_ms);
        upcall_accept(core, call, now_ms);
    } else if (call->front == MESH_FRONT_SSE) {
        if (session != NULL)
            event_stream_accept(core, session, call, now_ms);
        upcall_accept_single(core, call, now_ms);
    } else if (session != NULL && session->is_announced && handle_is_none(call->batch)) {
        call->stream_at_ms = now_ms + CALL_STREAM_MS;
        call_arm(core, call);
    }
}

static void upcall_ask(struct core *core, struct call *call, uint64_t now_ms)
{
    if (trust_ask(core, call) < 0)
        call_end(core, call, MESH_END_CUT, MESH_FULL, now_ms);
}

/* The session has no upstream, and this needs none. */
static void upcall_give_nobody(struct core *core, struct call *call, uint64_t now_ms)
{
    struct session *session = session_at(core, call->session);
    if (call->want == MESH_DELETE) {
        call_add_head(core, call, 200, MESH_FORM_NONE, (struct slice){0}, now_ms);
        call_end(core, call, MESH_END_WHOLE, MESH_OK, now_ms);
        session->is_deleted = true;
        serve_end_session(core, session, MESH_SESSION_ENDED, now_ms);
        return;
    }
    if (call->rpc.method == RPC_INITIALIZED)
        session->is_initialized = true;
    else if (call->rpc.method == RPC_CANCELLED)
        upcall_on_cancelled(core, session, call, now_ms); /* of one that waits */
    else if (call->rpc.kind != RPC_NOTIFICATION)
        core->stats.questions_dropped++;
    upcall_accept(core, call, now_ms);
}

/* A fresh upstream need not have heard the whole handshake to hear that its session is over. */
static bool upcall_ends_without(const struct core *core, const struct session *session,
                                const struct call *call, uint64_t now_ms)
{
    return call->want == MESH_DELETE && call->up_call == 0 && session != NULL &&
           trust_is_good(core, session, call, now_ms);
}

bool upcall_end_early(struct core *core, struct upstream *up, uint64_t now_ms)
{
    const struct session *session = session_at(core, up->session);
    LIST_EACH (at, &up->calls) {
        struct call *call = container_of(at, struct call, by_up);
        if (!upcall_ends_without(core, session, call, now_ms))
            continue;
        upcall_give_nobody(core, call, now_ms);
        return true;
    }
    return false;
}

void upcall_start(struct core *core, struct call *call, uint64_t now_ms)
{
    struct upstream *up = upstream_at(core, call->up);
    bool waits = up != NULL && !up->is_ready && up->is_fresh;
    if (up != NULL)
        list_push_back(&up->calls, &call->by_up);
    if (up == NULL ||
        (waits && upcall_ends_without(core, session_at(core, call->session), call, now_ms))) {
        upcall_give_nobody(core, call, now_ms);
        return;
    }
    if ((up->is_ready || waits) && trust_must_ask(core, call, now_ms)) {
        call->must_ask = true;
        if (up->is_ready)
            upcall_ask(core, call, now_ms);
        else if (!call_is_held_stream(call))
            replay_wait(core, call, now_ms);
        return;
    }
    if (call_is_held_stream(call) && !handle_is_none(call->session))
        uplisten_hold(core, call, now_ms);
    else if (up->is_ready)
        upcall_give(core, call, now_ms);
    else if (waits)
        replay_wait(core, call, now_ms);
}

void upcall_go_on(struct core *core, struct call *call, uint64_t now_ms)
{
    call->must_ask = false;
    if (call_is_held_stream(call))
        uplisten_hold(core, call, now_ms);
    else
        upcall_give(core, call, now_ms);
}

void serve_up_ready(struct core *core, struct handle h, uint64_t now_ms)
{
    struct upstream *up = upstream_at(core, h);
    if (up != NULL && !up->is_ready && !up->is_shaking && !handshake_begins(core, up, now_ms))
        upcall_make_ready(core, up, now_ms);
}

static struct call *upcall_next_waiting(struct upstream *up)
{
    LIST_EACH (at, &up->calls) {
        struct call *call = container_of(at, struct call, by_up);
        if (call->up_call == 0 && !call->is_own && (call->must_ask || !call_is_held_stream(call)))
            return call;
    }
    return NULL;
}

void upcall_make_ready(struct core *core, struct upstream *up, uint64_t now_ms)
{
    struct call *call;
    up->is_ready = true;
    /* looked for anew each time: what one says may end others, a cancel for example */
    while ((call = upcall_next_waiting(up)) != NULL) {
        if (call->must_ask && trust_must_ask(core, call, now_ms))
            upcall_ask(core, call, now_ms);
        else if (call->must_ask)
            upcall_go_on(core, call, now_ms);
        else
            upcall_give(core, call, now_ms);
    }
}

void serve_up_sent(struct core *core, struct handle h, uint32_t up_call)
{
    struct upstream *up = upstream_at(core, h);
    struct call *call = up != NULL ? upanswer_find(up, up_call) : NULL;
    if (call != NULL)
        call->is_sent = true;
}
