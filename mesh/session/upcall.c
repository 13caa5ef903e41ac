/* upcall.c - what is said to an upstream, and what becomes of what it says. */
#include "mesh/session/upcall.h"

#include <errno.h>

#include "mesh/session/affinity.h"
#include "mesh/session/core.h"

static bool upcall_is_http(const struct core *core)
{
    return core->config.upstream == MESH_UP_HTTP;
}

/* ---- effects -------------------------------------------------------------------------------- */

static int upcall_effect(struct core *core, enum mesh_effect_kind kind, struct handle up,
                         uint32_t up_call, size_t room)
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
    (void)upcall_effect(core, MESH_UP_CLOSE, h, MESH_NO_CALL, 0);
}

void upcall_cancel(struct core *core, struct call *call)
{
    if (call->up_call != 0 && !call->is_ended)
        (void)upcall_effect(core, MESH_UP_CANCEL, call->up, call->up_call, 0);
    call->up_call = 0;
}

void upcall_room(struct core *core, struct call *call, size_t bytes)
{
    if (upcall_is_http(core) && call->up_call != 0 && bytes > 0)
        (void)upcall_effect(core, MESH_UP_ROOM, call->up, call->up_call, bytes);
}

static int upcall_send(struct core *core, struct call *call, enum mesh_effect_kind kind)
{
    struct upstream *up = upstream_at(core, call->up);
    struct mesh_effect e = {.kind = kind, .handle = call->up};
    call->up_call = ++up->next_call;
    e.call = call->up_call;
    e.send.want = call->want;
    e.send.method = call->method;
    e.send.target = call->target;
    e.send.head = call->head;
    e.send.text = call->body;
    e.send.is_request = call->want == MESH_CALL && call->rpc.kind == RPC_REQUEST;
    e.send.lists_tools = e.send.is_request && call->rpc.method == RPC_TOOLS_LIST;
    e.patch = affinity_unwrap(core, call);
    call->is_sent = false;
    call->attempts++;
    return effects_push(&core->effects, &e);
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
    up->is_ready = upcall_is_http(core);
    list_init(&up->calls);
    struct mesh_effect e = {.kind = MESH_UP_OPEN, .handle = h};
    e.send.head = call->head;
    if (effects_push(&core->effects, &e) < 0) {
        pool_give(&core->serve.upstreams, h);
        return NULL;
    }
    return up;
}

int upcall_prepare(struct core *core, struct call *call, struct session *session, bool mints,
                   const struct principal *who, uint64_t now_ms)
{
    struct upstream *up = NULL;
    if (session == NULL && mints) {
        session = session_new(core, who, now_ms);
        if (session == NULL)
            return -ENOBUFS;
        session->creator = call->self;
        up = upcall_open(core, call, session->self);
        if (up == NULL) {
            session_free(core, session);
            return -ENOBUFS;
        }
        session->up = up->self;
    } else if (session == NULL) {
        up = upcall_open(core, call, (struct handle){0});
        if (up == NULL)
            return -ENOBUFS;
        call->up = up->self;
    }
    if (session != NULL) {
        call->session = session->self;
        call->up = session->up;
        call->epoch = session->epoch;
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

static void upcall_announce(struct core *core, struct session *session)
{
    if (session->is_announced)
        return;
    session->is_announced = true;
    core->stats.sessions_opened++;
    core_tell(core, MESH_SESSION_OPENED, core_self(core), MEMBER_ALIVE,
              key_log_hash(&core->keys, &session->id));
}

/* ---- giving a call to the upstream ---------------------------------------------------------- */

static void upcall_accept(struct core *core, struct call *call, uint64_t now_ms)
{
    call_add_head(core, call, 202, MESH_FORM_NONE, (struct slice){0});
    call_end(core, call, MESH_END_WHOLE, MESH_OK, now_ms);
}

/* The answer to a question of the upstream goes on only while that question is open: ids are
 * counted from 0 by every server, and an old answer would be taken for a new question's. */
static bool upcall_is_awaited(struct core *core, struct call *call)
{
    struct handle asker = {0};
    struct session *session = session_at(core, call->session);
    if (session == NULL)
        return upcall_is_http(core);
    if (!session_answered(session, call->id_hash, &asker))
        return false;
    struct call *asking = call_at(core, asker);
    if (asking != NULL)
        asking->user_was_asked = true;
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
    if (is_answer && !upcall_is_awaited(core, call)) {
        core->stats.questions_dropped++;
        upcall_accept(core, call, now_ms);
        return;
    }
    if (call->want == MESH_DELETE && !upcall_is_http(core)) {
        call_add_head(core, call, 200, MESH_FORM_NONE, (struct slice){0});
        call_end(core, call, MESH_END_WHOLE, MESH_OK, now_ms);
        if (session != NULL)
            serve_end_session(core, session, MESH_SESSION_ENDED, now_ms);
        return;
    }
    if (upcall_send(core, call, MESH_UP_SEND) < 0) {
        call_end(core, call, MESH_END_CUT, MESH_FULL, now_ms);
        return;
    }
    if (upcall_is_http(core) || call->rpc.kind == RPC_REQUEST)
        return;
    if (session != NULL && call->rpc.method == RPC_CANCELLED)
        upcall_on_cancelled(core, session, call, now_ms);
    upcall_accept(core, call, now_ms);
}

void upcall_listen(struct core *core, struct call *call)
{
    struct upstream *up = upstream_at(core, call->up);
    if (up != NULL && !up->has_no_stream && upcall_is_http(core) &&
        upcall_send(core, call, MESH_UP_LISTEN) < 0)
        call->up_call = 0;
}

/* A newer GET takes over the upstream's stream as it is: opened anew it would be answered 409
 * while the old one is still mapped, and what the server says meanwhile would be lost. */
static void upcall_take_over(struct core *core, struct call *call, struct call *old)
{
    call->up_call = old->up_call;
    old->up_call = 0;
    upcall_room(core, call, old->answer.payload_bytes); /* its reader makes no more room */
}

/* A held server stream: a newer GET supersedes the older one. */
static void upcall_hold(struct core *core, struct call *call, uint64_t now_ms)
{
    struct session *session = session_at(core, call->session);
    struct slice text;
    struct call *old = session != NULL ? call_at(core, session->listen) : NULL;
    if (old != NULL) {
        upcall_take_over(core, call, old);
        call_end(core, old, MESH_END_WHOLE, MESH_SUPERSEDED, now_ms);
    }
    if (session != NULL)
        session->listen = call->self;
    call_add_head(core, call, 200, MESH_FORM_SSE, (struct slice){0});
    while (session != NULL && session_take_early(session, &text)) {
        call_add_text(core, call, WIRE_EVENT, text, false);
        slice_drop(&text);
    }
    if (call->up_call == 0)
        upcall_listen(core, call);
}

void upcall_start(struct core *core, struct call *call, uint64_t now_ms)
{
    struct upstream *up = upstream_at(core, call->up);
    list_push_back(&up->calls, &call->by_up);
    if (call->want == MESH_LISTEN && !handle_is_none(call->session))
        upcall_hold(core, call, now_ms);
    else if (up->is_ready)
        upcall_give(core, call, now_ms);
}

void serve_up_ready(struct core *core, struct handle h, uint64_t now_ms)
{
    struct upstream *up = upstream_at(core, h);
    if (up == NULL || up->is_ready)
        return;
    up->is_ready = true;
    LIST_EACH_SAFE (at, next, &up->calls) {
        struct call *call = container_of(at, struct call, by_up);
        if (call->up_call == 0 && call->want != MESH_LISTEN)
            upcall_give(core, call, now_ms);
    }
}

/* ---- what comes back ------------------------------------------------------------------------ */

static struct call *upcall_find(struct core *core, struct handle h, uint32_t up_call)
{
    struct upstream *up = upstream_at(core, h);
    if (up == NULL || up_call == MESH_NO_CALL)
        return NULL;
    LIST_EACH (at, &up->calls) {
        struct call *call = container_of(at, struct call, by_up);
        if (call->up_call == up_call)
            return call;
    }
    return NULL;
}

void serve_up_sent(struct core *core, struct handle h, uint32_t up_call)
{
    struct call *call = upcall_find(core, h, up_call);
    if (call != NULL)
        call->is_sent = true;
}

static void upcall_listen_head(struct core *core, struct call *call, int status)
{
    struct upstream *up = upstream_at(core, call->up);
    if (up == NULL)
        return;
    up->has_no_stream = status == 405; /* it offers none: the client's stays, with our own words */
    if (status == 200)
        up->relisten_ms = 0;
}

void serve_up_head(struct core *core, struct handle h, uint32_t up_call, int status,
                   enum mesh_form form, enum mesh_up_session said, struct slice head,
                   uint64_t now_ms)
{
    struct call *call = upcall_find(core, h, up_call);
    if (call == NULL)
        return;
    struct session *session = session_at(core, call->session);
    call->is_heard = true;
    if (said == MESH_UP_SESSION_LOST && session != NULL) {
        /* its own 404 never reaches a client: the session is gone, and says so in-band */
        if (call->want == MESH_DELETE) {
            call_add_head(core, call, 200, MESH_FORM_NONE, (struct slice){0});
            call_end(core, call, MESH_END_WHOLE, MESH_OK, now_ms);
        }
        serve_end_session(core, session, MESH_UPSTREAM_LOST, now_ms);
        return;
    }
    if (call->want == MESH_LISTEN && session != NULL) {
        upcall_listen_head(core, call, status);
        return;
    }
    if (session != NULL && handle_equal(session->creator, call->self)) {
        if (said == MESH_UP_SESSION_MADE && status < 300)
            upcall_announce(core, session);
        else
            upcall_unbind(core, call);
    }
    call->ends_session = call->want == MESH_DELETE && status >= 200 && status < 300;
    call_add_head(core, call, status, form, head);
}

/* Does this message answer the request of the call? Ids are compared as JSON, not as text. */
static bool upcall_answers(struct core *core, const struct call *call,
                           const struct rpc_message *rpc, struct slice text)
{
    if (call->want != MESH_CALL || call->rpc.kind != RPC_REQUEST || rpc == NULL ||
        (rpc->kind != RPC_RESPONSE && rpc->kind != RPC_ERROR) || rpc->id.length == 0)
        return false;
    return rpc_id_hash(core->sip_key, slice_part(text, rpc->id)) == call->id_hash;
}

/* Text that its reader could make nothing of: an event that is no message, or answers another id;
 * a good status whose one text is not the answer. Clients would wait for the answer in vain. */
static bool upcall_is_senseless(const struct call *call, const struct rpc_message *rpc,
                                bool answers)
{
    bool is_request = call->want == MESH_CALL && call->rpc.kind == RPC_REQUEST;
    bool is_answer = rpc != NULL && (rpc->kind == RPC_RESPONSE || rpc->kind == RPC_ERROR);
    if (call->form == MESH_FORM_SSE && call->has_head)
        return rpc == NULL || rpc->kind == RPC_BAD || (is_request && is_answer && !answers);
    return is_request && !answers && call->is_held && call->held_status / 100 == 2;
}

/* One message of the upstream onto a call's stream. */
static void upcall_deliver(struct core *core, struct call *call, const struct rpc_message *rpc,
                           struct slice text, uint64_t now_ms)
{
    bool answers = upcall_answers(core, call, rpc, text);
    if (!upcall_is_http(core) && call->answer.payload_bytes > SERVE_BEHIND_MAX) {
        call_end(core, call, MESH_END_CUT, MESH_READER_SLOW, now_ms);
        return;
    }
    if (upcall_is_senseless(call, rpc, answers)) {
        core->stats.messages_bad++;
        upcall_room(core, call, text.length);
        if (call->is_held) {
            upcall_cancel(core, call);
            call_end(core, call, MESH_END_CUT, MESH_UPSTREAM_BAD, now_ms);
        }
        return;
    }
    if (!call->has_head)
        call_add_head(core, call, 200, answers ? MESH_FORM_JSON : MESH_FORM_SSE, (struct slice){0});
    if (answers) {
        call->is_answered = true;
        affinity_on_answer(core, call, rpc, text, now_ms);
    }
    if (call->answer.is_dropped)
        upcall_room(core, call, text.length);
    call_add_text(core, call, call->form == MESH_FORM_SSE ? WIRE_EVENT : WIRE_DATA, text, answers);
}

static void upcall_note_question(struct core *core, struct session *session, struct call *call,
                                 const struct rpc_message *rpc, struct slice text)
{
    struct handle asker = {0};
    if (session == NULL || rpc->kind != RPC_REQUEST)
        return;
    if (call != NULL && call->want == MESH_CALL)
        asker = call->self;
    if (session_ask(core, session, rpc_id_hash(core->sip_key, slice_part(text, rpc->id)), asker) <
        0)
        core->stats.questions_dropped++;
}

/* stdio, built in: the answer to initialize decides whether there is a session. */
static void upcall_on_creation(struct core *core, struct session *session, struct call *call,
                               const struct rpc_message *rpc)
{
    if (call == NULL || session->is_announced || !handle_equal(session->creator, call->self))
        return;
    if (rpc->kind == RPC_RESPONSE)
        upcall_announce(core, session);
    else if (rpc->kind == RPC_ERROR)
        upcall_unbind(core, call);
}

static void upcall_place(struct core *core, struct session *session, const struct rpc_message *rpc,
                         struct slice text, uint64_t now_ms)
{
    struct call *call = session_place(core, session, rpc, text);
    bool is_answer = rpc->kind == RPC_RESPONSE || rpc->kind == RPC_ERROR;
    upcall_note_question(core, session, call, rpc, text);
    if (call == NULL) {
        if (is_answer || rpc->kind == RPC_BAD || rpc->kind == RPC_BATCH)
            core->stats.messages_bad++; /* an answer to nothing, or nothing at all */
        else
            (void)session_keep_early(core, session, rpc, text);
        return;
    }
    upcall_on_creation(core, session, call, rpc);
    struct handle self = call->self;
    upcall_deliver(core, call, rpc, text, now_ms);
    call = call_at(core, self);
    if (call != NULL && is_answer)
        call_end(core, call, MESH_END_WHOLE, MESH_OK, now_ms);
}

void serve_up_message(struct core *core, struct handle h, uint32_t up_call,
                      const struct rpc_message *rpc, const struct rpc_tools *tools,
                      struct slice text, uint64_t now_ms)
{
    struct upstream *up = upstream_at(core, h);
    if (up == NULL)
        return;
    struct session *session = session_at(core, up->session);
    if (tools != NULL)
        retry_learn(&core->retry, tools, text);
    if (up_call == MESH_NO_CALL) {
        if (session != NULL && rpc != NULL)
            upcall_place(core, session, rpc, text, now_ms);
        return;
    }
    struct call *call = upcall_find(core, h, up_call);
    if (call == NULL)
        return;
    call->is_heard = true;
    if (rpc != NULL)
        upcall_note_question(core, session, call, rpc, text);
    upcall_deliver(core, call, rpc, text, now_ms);
}

void serve_up_data(struct core *core, struct handle h, uint32_t up_call, struct slice part,
                   uint64_t now_ms)
{
    struct call *call = upcall_find(core, h, up_call);
    (void)now_ms;
    if (call == NULL || !call->has_head)
        return;
    call->is_heard = true;
    if (call->answer.is_dropped)
        upcall_room(core, call, part.length);
    call_add_text(core, call, WIRE_DATA, part, false);
}

/* ---- ends ----------------------------------------------------------------------------------- */

/* Once more: when no byte of it left, or when nothing came back and it may run twice. */
static bool upcall_try_again(struct core *core, struct call *call, enum mesh_reason why)
{
    bool may_run_again = !call->is_sent || retry_class_of(&core->retry, &call->rpc, call->body,
                                                          call->user_was_asked) == RETRY_SAFE;
    if (why != MESH_UPSTREAM_LOST || call->is_heard || call->want == MESH_PASS ||
        call->attempts >= SERVE_ATTEMPTS_MAX || !may_run_again)
        return false;
    return upcall_send(core, call, MESH_UP_SEND) == 0;
}

/* The upstream's GET stream is over, the client's is not: it is opened again, soon the first time.
 */
static void upcall_listen_end(struct core *core, struct call *call, uint64_t now_ms)
{
    struct upstream *up = upstream_at(core, call->up);
    up->relisten_ms = up->relisten_ms == 0 ? SERVE_RELISTEN_FIRST_MS : up->relisten_ms * 2;
    if (up->relisten_ms > SERVE_RELISTEN_MAX_MS)
        up->relisten_ms = SERVE_RELISTEN_MAX_MS;
    call->up_call = 0;
    if (call->detached_ms == 0)
        call_set_timer(core, call, now_ms + up->relisten_ms);
}

void serve_up_end(struct core *core, struct handle h, uint32_t up_call, enum mesh_end end,
                  enum mesh_reason why, uint64_t now_ms)
{
    struct call *call = upcall_find(core, h, up_call);
    if (call == NULL)
        return;
    struct session *session = session_at(core, call->session);
    if (call->want == MESH_LISTEN && session != NULL) {
        upcall_listen_end(core, call, now_ms);
        return;
    }
    if (why != MESH_OK && upcall_try_again(core, call, why))
        return;
    /* a stream that ends without its answer must not end quietly: clients wait a minute */
    bool is_missing = call->want == MESH_CALL && call->rpc.kind == RPC_REQUEST &&
                      call->form == MESH_FORM_SSE && !call->is_answered;
    bool ends_session = call->ends_session && why == MESH_OK;
    if (call->is_answered)
        why = MESH_OK;
    else if (why == MESH_OK && (is_missing || end == MESH_END_CUT || !call->has_head))
        why = MESH_UPSTREAM_LOST;
    call_end(core, call, why == MESH_OK ? MESH_END_WHOLE : MESH_END_CUT, why, now_ms);
    if (ends_session && session != NULL)
        serve_end_session(core, session, MESH_SESSION_ENDED, now_ms);
}

void serve_up_closed(struct core *core, struct handle h, enum mesh_reason why, uint64_t now_ms)
{
    struct upstream *up = upstream_at(core, h);
    if (up == NULL)
        return;
    struct session *session = session_at(core, up->session);
    if (why == MESH_OK)
        why = MESH_UPSTREAM_LOST;
    up->is_closing = true; /* it is: no effect asks for it again */
    if (session != NULL) {
        serve_end_session(core, session, why, now_ms);
    } else {
        while (!list_is_empty(&up->calls)) {
            struct call *call = container_of(list_first(&up->calls), struct call, by_up);
            call_end(core, call, call->is_answered ? MESH_END_WHOLE : MESH_END_CUT,
                     call->is_answered ? MESH_OK : why, now_ms);
        }
    }
    pool_give(&core->serve.upstreams, h);
}
