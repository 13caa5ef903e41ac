/* upanswer.c - what becomes of what an upstream says: each message goes to the request it answers,
 * to that request's stream, or to the session's own. */
#include <errno.h>

#include "mesh/session/affinity.h"
#include "mesh/session/batch.h"
#include "mesh/session/core.h"
#include "mesh/session/hints.h"
#include "mesh/session/handshake.h"
#include "mesh/session/record.h"
#include "mesh/session/replay.h"
#include "mesh/session/upcall.h"

#define UPANSWER_AGAIN_MAX_MS 1000 /* before a server that refuses is tried again */

struct call *upanswer_find(struct upstream *up, uint32_t up_call)
{
    if (up_call == MESH_NO_CALL)
        return NULL;
    LIST_EACH (at, &up->calls) {
        struct call *call = container_of(at, struct call, by_up);
        if (call->up_call == up_call)
            return call;
    }
    return NULL;
}

/* ---- what may run again ---------------------------------------------------------------------- */

/* Once more: when no byte of it left, or when it may run twice; then an answer that had begun goes
 * on with another run's, in a session, where it is a stream of ours (mcp.md §5). Not at once: a
 * server that dies closes its connections before it refuses new ones, so that a second run would
 * die of the same death, and count as a second one. */
static bool upanswer_try_again(struct core *core, struct call *call, enum mesh_reason why,
                               uint64_t now_ms)
{
    const struct session *session = session_at(core, call->session);
    bool goes_on = session != NULL && session->is_announced && !call->is_own &&
                   !handle_equal(session->creator, call->self);
    if (why != MESH_UPSTREAM_LOST || call->want == MESH_PASS || (call->is_heard && !goes_on))
        return false;
    if (call->is_asking)
        return !call->is_heard && call->attempts < SERVE_ATTEMPTS_MAX && trust_ask(core, call) == 0;
    return replay_take_again(core, call, now_ms) &&
           heap_set(&core->serve.resumes, &call->again, now_ms + REPLAY_AGAIN_FIRST_MS) == 0;
}

/* ---- heads ----------------------------------------------------------------------------------- */

/* Its own 404 never reaches a client. */
static void upanswer_session_lost(struct core *core, struct session *session, struct call *call,
                                  uint64_t now_ms)
{
    /* refused for its session: it did not run; unless it is the rest that is asked for */
    if (call != NULL && call->resumes == 0)
        call->is_sent = call->is_heard = false;
    /* what else is under way there is refused as well */
    struct upstream *up = upstream_at(core, session->up);
    if (up != NULL)
        LIST_EACH (at, &up->calls)
            container_of(at, struct call, by_up)->is_unknown = true;
    if (!replay_upstream_lost(core, session, MESH_UPSTREAM_LOST, now_ms))
        serve_end_session(core, session, MESH_UPSTREAM_LOST, now_ms);
}

/* The GET for the rest of an answer. Another status: it keeps none. */
static void upanswer_resumed(struct core *core, struct call *call, int status, enum mesh_form form,
                             uint64_t now_ms)
{
    if (status == 200 && form == MESH_FORM_SSE)
        return;
    upcall_cancel(core, call);
    if (!upanswer_try_again(core, call, MESH_UPSTREAM_LOST, now_ms))
        call_end(core, call, MESH_END_CUT, MESH_UPSTREAM_LOST, now_ms);
}

/* HTTP+SSE in front of Streamable HTTP: a good answer comes on the stream, a refusal on the POST.
 */
static bool upanswer_is_single(struct core *core, struct session *session, struct call *call,
                               int status, enum mesh_form form, uint64_t now_ms)
{
    if (call->front != MESH_FRONT_SSE || session == NULL || status / 100 != 2)
        return false;
    if (call_is_request(call)) {
        event_stream_accept(core, session, call, now_ms);
        upcall_accept_single(core, call, now_ms);
        call->form = form;
    } else {
        call_add_head(core, call, 202, MESH_FORM_NONE, (struct slice){0}, now_ms);
    }
    return true;
}

void serve_up_head(struct core *core, struct handle h, uint32_t up_call, int status,
                   enum mesh_form form, enum mesh_up_session said, struct slice head,
                   uint64_t now_ms)
{
    struct upstream *up = upstream_at(core, h);
    struct call *call = up != NULL ? upanswer_find(up, up_call) : NULL;
    bool is_own = up != NULL && up_call != 0 && up_call == up->listen_call;
    struct session *session = up != NULL ? session_at(core, up->session) : NULL;
    if (call == NULL && !is_own)
        return;
    /* a server that offers no stream may have no route for its GET: that says nothing */
    if ((is_own || call->resumes > 0) && !up->was_listened)
        said = MESH_UP_SESSION_SAME;
    if (said == MESH_UP_SESSION_LOST && session != NULL && !up->is_shaking) {
        upanswer_session_lost(core, session, call, now_ms);
        return;
    }
    if (is_own) {
        uplisten_head(core, up, status);
        return;
    }
    call->is_heard = true;
    if (call->is_asking && trust_answered(core, call, status, now_ms)) {
        upcall_go_on(core, call, now_ms);
        return;
    }
    if (session != NULL && status < 400)
        trust_note(session, call, now_ms);
    if (call->resumes > 0) {
        upanswer_resumed(core, call, status, form, now_ms);
        return;
    }
    if (session != NULL && handle_equal(session->creator, call->self)) {
        if (said == MESH_UP_SESSION_MADE && status < 300)
            upcall_announce(core, session);
        else
            upcall_unbind(core, call);
    }
    if (upanswer_is_single(core, session, call, status, form, now_ms)) {
        if (said == MESH_UP_SESSION_MADE)
            uplisten_open(core, up);
        return;
    }
    if (session != NULL && call->rpc.method == RPC_INITIALIZED && status / 100 == 2)
        uplisten_begin(core, up, call);
    if (call->is_own && (status == 401 || status == 403))
        replay_denied(core, up, call, status, head, now_ms);
    call->ends_session = call->want == MESH_DELETE && status >= 200 && status < 300;
    call_add_head(core, call, status, form, head, now_ms);
}

void serve_up_mark(struct core *core, struct handle h, uint32_t up_call, struct slice event_id,
                   uint32_t retry_ms)
{
    struct upstream *up = upstream_at(core, h);
    struct call *call = up != NULL ? upanswer_find(up, up_call) : NULL;
    struct slice *mark = call != NULL ? &call->up_mark : NULL;
    if (up != NULL && up_call != 0 && up_call == up->listen_call) {
        mark = &up->listen_mark;
        uplisten_heard(up);
        if (retry_ms != 0)
            up->listen_retry_ms = retry_ms;
    }
    if (mark == NULL)
        return;
    if (event_id.length > 0) {
        slice_drop(mark);
        if (event_id.length <= SERVE_MARK_MAX)
            (void)slice_keep(mark, event_id, &core->budget);
    }
    if (call == NULL || retry_ms == 0)
        return;
    call->up_retry_ms = retry_ms;
    if (call->stream != NULL)
        event_stream_retry(core, call->stream, retry_ms);
}

/* ---- messages -------------------------------------------------------------------------------- */

/* Does this message answer the request of the call? Ids are compared as JSON, not as text. */
static bool upanswer_answers(struct core *core, struct call *call, const struct rpc_message *rpc,
                             struct slice text)
{
    if (!call_is_request(call) || rpc == NULL ||
        (rpc->kind != RPC_RESPONSE && rpc->kind != RPC_ERROR) || rpc->id.length == 0)
        return false;
    struct slice id = slice_part(text, rpc->id);
    if (call->id_hash == 0 && slice_equal(id, call_id(call))) /* as they are mostly written */
        return true;
    return rpc_id_hash(core->sip_key, id) == call_id_hash(core, call);
}

/* Text that its reader could make nothing of: an event that is no message, or answers another id;
 * a good status whose one text is not the answer. Clients would wait for the answer in vain. */
static bool upanswer_is_senseless(const struct call *call, const struct rpc_message *rpc,
                                  bool answers)
{
    bool is_answer = rpc != NULL && (rpc->kind == RPC_RESPONSE || rpc->kind == RPC_ERROR);
    if (call->is_answered && call_is_request(call))
        return true; /* the answer is the last event of its stream */
    if ((call->form == MESH_FORM_SSE && call->has_head) || call->is_told)
        return rpc == NULL || rpc->kind == RPC_BAD ||
               (call_is_request(call) && is_answer && !answers);
    return call_is_request(call) && !answers && call->is_held && call->held_status / 100 == 2;
}

/* A server of ours speaks whenever it likes, and so do many answers on one stream. */
static bool upanswer_is_unheld(const struct core *core, const struct session *session)
{
    return core->config.upstream == MESH_UP_BUILTIN || (session->is_single && upcall_is_http(core));
}

/* A session of HTTP+SSE ends with its reader, who could not come back for the rest: that one may be
 * as far behind as with one message of the largest size. */
static size_t upanswer_behind_max(const struct session *session)
{
    return session->is_single ? WIRE_PAYLOAD_MAX : SERVE_BEHIND_MAX;
}

/* The session's own stream. Where nothing holds its upstream back, a reader too far behind is cut:
 * the log has what it misses. */
static void upanswer_add_own(struct core *core, struct session *session, struct slice text,
                             uint64_t now_ms)
{
    struct event_stream *own = event_stream_own(core, session);
    struct logged event = {.text = text};
    struct handle self = session->self;
    if (own == NULL) {
        core->stats.messages_bad++;
        return;
    }
    replay_tell_first(core, session, now_ms);
    struct call *reader = call_at(core, own->reader);
    if (reader != NULL && upanswer_is_unheld(core, session) &&
        answer_is_behind(&reader->answer, upanswer_behind_max(session)))
        serve_cut_reader(core, reader, now_ms);
    if (session_at(core, self) != NULL)
        event_stream_add(core, own, &event, now_ms);
}

/* What was accepted with 202 is answered there. Should its reader be cut for this one, the call has
 * no answer, and its client is told that. */
static void upanswer_add_accepted(struct core *core, struct session *session, struct call *call,
                                  struct slice text, bool answers, uint64_t now_ms)
{
    struct handle self = call->self;
    call->is_answered = call->is_answered && !answers;
    upanswer_add_own(core, session, text, now_ms);
    call = call_at(core, self);
    if (call != NULL)
        call->is_answered = call->is_answered || answers;
}

/* A response on the call of a notification: it is another request's. */
static bool upanswer_is_foreign(const struct call *call, const struct rpc_message *rpc)
{
    return call->want == MESH_CALL && call->rpc.kind == RPC_NOTIFICATION && rpc != NULL &&
           rpc->kind == RPC_RESPONSE;
}

/* One message of the upstream for a request. False: it is not its own. */
static bool upanswer_deliver(struct core *core, struct call *call, const struct rpc_message *rpc,
                             struct slice text, uint64_t now_ms)
{
    struct session *session = session_at(core, call->session);
    bool answers = upanswer_answers(core, call, rpc, text);
    if (upanswer_is_senseless(call, rpc, answers)) {
        core->stats.messages_bad++;
        upcall_waste(core, upstream_at(core, call->up), call->up_call, text.length);
        if (call->is_held) {
            upcall_cancel(core, call);
            call_end(core, call, MESH_END_CUT, MESH_UPSTREAM_BAD, now_ms);
        }
        return false;
    }
    bool is_foreign = upanswer_is_foreign(call, rpc);
    call->resumes = call->resumes > 0; /* something new came */
    call->is_answered = call->is_answered || answers;
    if (call->is_own) {
        handshake_heard(core, call, rpc, answers ? text : (struct slice){0}, now_ms);
        if (!answers && rpc != NULL && session != NULL &&
            (rpc->kind == RPC_REQUEST || rpc->kind == RPC_NOTIFICATION))
            upanswer_add_own(core, session, text, now_ms);
        return !is_foreign;
    }
    if (replay_is_old_progress(core, call, rpc, text)) {
        upcall_waste(core, upstream_at(core, call->up), call->up_call, text.length);
        return true;
    }
    if (answers)
        replay_note(core, session, call, rpc, text, now_ms);
    if (answers)
        affinity_on_answer(core, call, rpc, text, now_ms);
    if (!handle_is_none(call->batch)) {
        batch_add(core, call, text, answers, now_ms);
        return !is_foreign;
    }
    if (call->front == MESH_FRONT_SSE && call->is_told && session != NULL) {
        upanswer_add_accepted(core, session, call, text, answers, now_ms);
        return !is_foreign;
    }
    if (call_is_batch_on_stream(core, call) && rpc != NULL)
        batch_note(core, call, rpc, text);
    if (!call->has_head)
        call_add_head(core, call, 200, answers ? MESH_FORM_JSON : MESH_FORM_SSE, (struct slice){0},
                      now_ms);
    call_add_text(core, call, call->form == MESH_FORM_SSE ? WIRE_EVENT : WIRE_DATA, text, answers,
                  now_ms);
    return !is_foreign;
}

/* The text with `put` in place of that part of it. -ENOMEM */
static int upanswer_rewrite(struct core *core, struct slice *text, struct span part,
                            struct slice put, struct slice *made)
{
    struct bytes *buf = bytes_new(&core->budget, text->length - part.length + put.length);
    if (buf == NULL)
        return -ENOMEM;
    size_t rest = part.at + part.length;
    memcpy(buf->data, text->at, part.at);
    memcpy(buf->data + part.at, put.at, put.length);
    memcpy(buf->data + part.at + put.length, text->at + rest, text->length - rest);
    buf->length = text->length - part.length + put.length;
    *made = *text = slice_of(buf, 0, buf->length);
    return 0;
}

/* A question of the upstream, or its word that one is cancelled: the client may know it by another
 * id. Then *text becomes the text with that, *made what the caller has to give back. */
static void upanswer_note_question(struct core *core, struct session *session, struct call *call,
                                   const struct rpc_message *rpc, struct slice *text,
                                   struct slice *made, uint64_t now_ms)
{
    struct handle asker = {0};
    struct slice shown = {0};
    struct span part = rpc->id;
    int rc = 0;
    if (session == NULL)
        return;
    if (rpc->kind == RPC_REQUEST) {
        if (call != NULL && call->want == MESH_CALL && !call->is_own)
            asker = call->self;
        rc = session_ask(core, session, slice_part(*text, rpc->id), asker, &shown);
        copies_on_state(core, session, now_ms);
    } else if (rpc->method == RPC_CANCELLED && rpc->cancels.length > 0) {
        part = rpc->cancels;
        const struct question *question =
            session_question(core, session, slice_part(*text, rpc->cancels));
        if (question != NULL && question->given_id.length > 0)
            shown = question->id;
    }
    if (rc == 0 && shown.length > 0)
        rc = upanswer_rewrite(core, text, part, shown, made);
    if (rc < 0)
        core->stats.questions_dropped++;
}

static bool is_with_marks(struct slice version)
{
    static const char first[] = "2025-11-25";
    return version.length == sizeof first - 1 && memcmp(version.at, first, version.length) >= 0;
}

/* A successor needs the handshake; whoever has it holds the answer back, until another peer has it,
 * too (invariant R1). */
static void upanswer_keep_handshake(struct core *core, struct session *session, struct call *call,
                                    struct slice result, uint64_t now_ms)
{
    bool is_small =
        call->body.length <= RECORD_HANDSHAKE_MAX && result.length <= RECORD_HANDSHAKE_MAX;
    if (!is_small || session_keep_handshake(core, session, call->body, result) < 0) {
        core->stats.handshakes_not_kept++;
        return;
    }
    session->upstreams = 1;
    copies_begin(core, session, now_ms);
    if (copies_must_wait(core, session))
        answer_withhold(&call->answer);
}

/* The answer to initialize: what was agreed; and, of a child, whether there is a session. */
static void upanswer_on_creation(struct core *core, struct session *session, struct call *call,
                                 const struct rpc_message *rpc, struct slice text, uint64_t now_ms)
{
    if (!handle_equal(session->creator, call->self) || call->want != MESH_CALL)
        return;
    if (rpc->kind == RPC_RESPONSE)
        session->has_batches = slice_is(slice_part(text, rpc->version), "2025-03-26");
    if (rpc->kind == RPC_RESPONSE)
        session->has_marks = is_with_marks(slice_part(text, rpc->version));
    if (!session->is_announced && !upcall_is_http(core)) {
        if (rpc->kind == RPC_RESPONSE)
            upcall_announce(core, session);
        else if (rpc->kind == RPC_ERROR)
            upcall_unbind(core, call);
    }
    if (rpc->kind == RPC_RESPONSE && upanswer_answers(core, call, rpc, text))
        upanswer_keep_handshake(core, session, call, text, now_ms);
}

static void upanswer_place(struct core *core, struct session *session,
                           const struct rpc_message *rpc, struct slice text, struct slice *made,
                           uint64_t now_ms)
{
    struct call *call = NULL;
    switch (session_place(core, session, rpc, text, &call)) {
    case SESSION_PLACE_NOWHERE:
        core->stats.messages_bad++; /* an answer to nothing, or nothing at all */
        return;
    case SESSION_PLACE_OWN:
        if (call != NULL && replay_is_old_progress(core, call, rpc, text)) {
            upcall_waste(core, upstream_at(core, call->up), call->up_call, text.length);
            return;
        }
        upanswer_note_question(core, session, NULL, rpc, &text, made, now_ms);
        upanswer_add_own(core, session, text, now_ms);
        return;
    case SESSION_PLACE_CALL:
        break;
    }
    if (call->is_asking) {
        if (trust_answered(core, call, 200, now_ms))
            upcall_go_on(core, call, now_ms);
        return;
    }
    trust_note(session, call, now_ms); /* it brought an answer: the message was taken */
    upanswer_note_question(core, session, call, rpc, &text, made, now_ms);
    upanswer_on_creation(core, session, call, rpc, text, now_ms);
    struct handle self = call->self;
    call->is_heard = true;
    bool is_answer = rpc->kind == RPC_RESPONSE || rpc->kind == RPC_ERROR;
    (void)upanswer_deliver(core, call, rpc, text, now_ms);
    call = call_at(core, self);
    if (call != NULL && is_answer)
        call_end(core, call, MESH_END_WHOLE, MESH_OK, now_ms);
}

/* A message on the upstream's own GET stream. False: none that could come there. */
static bool upanswer_own(struct core *core, struct upstream *up, const struct rpc_message *rpc,
                         struct slice text, struct slice *made, uint64_t now_ms)
{
    struct session *session = session_at(core, up->session);
    bool is_senseless = rpc == NULL || (rpc->kind != RPC_REQUEST && rpc->kind != RPC_NOTIFICATION);
    if (session == NULL || is_senseless) {
        core->stats.messages_bad++;
        upcall_waste(core, up, up->listen_call, text.length);
        return false;
    }
    upanswer_note_question(core, session, NULL, rpc, &text, made, now_ms);
    upanswer_add_own(core, session, text, now_ms);
    return true;
}

/* A child: what no reader has still to take. */
static size_t upanswer_pending(const struct upstream *up)
{
    size_t pending = 0;
    LIST_EACH (at, &up->calls)
        pending += container_of(at, struct call, by_up)->answer.payload_bytes;
    return pending;
}

/* Who will take the bytes that just came? If nobody, their room is given back now. */
static void upanswer_settle(struct core *core, struct upstream *up, uint32_t up_call)
{
    struct session *session = session_at(core, up->session);
    struct call *call = upanswer_find(up, up_call), *reader = call;
    bool is_own = up_call != MESH_NO_CALL && up_call == up->listen_call;
    size_t pending = 0;
    size_t *owed = up_call == MESH_NO_CALL ? &up->owed
                   : is_own                ? &up->listen_owed
                   : call != NULL          ? &call->owed
                                           : NULL;
    if (owed == NULL)
        return;
    if (is_own)
        reader = session != NULL ? session_reader(core, session) : NULL;
    else if (call != NULL && call->stream != NULL)
        reader = call_at(core, call->stream->reader);
    if (up_call == MESH_NO_CALL)
        pending = upanswer_pending(up);
    else if (reader != NULL && call_has_reader(reader))
        return;
    if (*owed <= pending)
        return;
    (void)upcall_effect(core, MESH_UP_ROOM, up->self, up_call, *owed - pending);
    *owed = pending;
}

bool serve_up_message(struct core *core, struct handle h, uint32_t up_call,
                      const struct rpc_message *rpc, const struct rpc_tools *tools,
                      struct slice text, uint64_t now_ms)
{
    struct upstream *up = upstream_at(core, h);
    struct slice made = {0};
    bool is_its_own = true;
    if (up == NULL)
        return true;
    struct session *session = session_at(core, up->session);
    struct call *call = upanswer_find(up, up_call);
    if (tools != NULL && retry_learn(&core->retry, tools, text))
        hints_tell_all(core, now_ms);
    upcall_owe(core, up, up_call, text.length, now_ms);
    if (up_call == MESH_NO_CALL) {
        if (session != NULL && rpc != NULL)
            upanswer_place(core, session, rpc, text, &made, now_ms);
    } else if (up_call == up->listen_call) {
        uplisten_heard(up);
        is_its_own = upanswer_own(core, up, rpc, text, &made, now_ms);
    } else if (call != NULL) {
        call->is_heard = true;
        if (rpc != NULL)
            upanswer_note_question(core, session, call, rpc, &text, &made, now_ms);
        if (rpc != NULL && session != NULL)
            upanswer_on_creation(core, session, call, rpc, text, now_ms);
        is_its_own = upanswer_deliver(core, call, rpc, text, now_ms);
    }
    slice_drop(&made);
    up = upstream_at(core, h);
    if (up != NULL)
        upanswer_settle(core, up, up_call);
    return is_its_own;
}

void serve_up_data(struct core *core, struct handle h, uint32_t up_call, struct slice part,
                   uint64_t now_ms)
{
    struct upstream *up = upstream_at(core, h);
    struct call *call = up != NULL ? upanswer_find(up, up_call) : NULL;
    if (call == NULL || !call->has_head)
        return;
    call->is_heard = true;
    upcall_owe(core, up, up_call, part.length, now_ms);
    if (call->is_told) { /* HTTP+SSE: no event is made of parts */
        upcall_cancel(core, call);
        call_end(core, call, MESH_END_CUT, MESH_ANSWER_TOO_LARGE, now_ms);
        return;
    }
    call_add_text(core, call, WIRE_DATA, part, false, now_ms);
    upanswer_settle(core, up, up_call);
}

/* stdio: nobody has the text, so nothing is owed for it; its request must not wait for it. */
void serve_up_too_large(struct core *core, struct handle h, enum rpc_kind kind, struct slice id,
                        uint64_t now_ms)
{
    struct upstream *up = upstream_at(core, h);
    struct session *session = up != NULL ? session_at(core, up->session) : NULL;
    bool is_answer = (kind == RPC_RESPONSE || kind == RPC_ERROR) && id.length > 0;
    if (session == NULL)
        return;
    core->stats.messages_bad++;
    struct call *call =
        is_answer ? session_open_call(core, session, rpc_id_hash(core->sip_key, id)) : NULL;
    if (call != NULL)
        call_end(core, call, MESH_END_CUT, MESH_ANSWER_TOO_LARGE, now_ms);
}

/* ---- ends ------------------------------------------------------------------------------------ */

/* The longer it refused, the more seldom it is tried; the last time at the end of the wait. */
static uint64_t upanswer_try_next_ms(const struct call *call, uint64_t until_ms, uint64_t now_ms)
{
    uint64_t wait_ms = (now_ms + 1 - call->refused_ms) / 4;
    if (wait_ms < REPLAY_AGAIN_FIRST_MS)
        wait_ms = REPLAY_AGAIN_FIRST_MS;
    else if (wait_ms > UPANSWER_AGAIN_MAX_MS)
        wait_ms = UPANSWER_AGAIN_MAX_MS;
    return now_ms + wait_ms < until_ms ? now_ms + wait_ms : until_ms;
}

/* A session's server that refuses is being started again, perhaps: nothing was sent. */
static bool upanswer_waits_for_it(struct core *core, const struct session *session,
                                  struct call *call, uint64_t now_ms)
{
    if (session == NULL || !session->is_announced || call->is_own || call->want == MESH_PASS)
        return false;
    if (call->refused_ms == 0)
        call->refused_ms = now_ms + 1;
    uint64_t until_ms = call->refused_ms + core->config.park_ms;
    if (until_ms <= now_ms || heap_set(&core->serve.resumes, &call->again,
                                       upanswer_try_next_ms(call, until_ms, now_ms)) < 0)
        return false;
    upcall_untaken(core, call);
    call->up_call = 0;
    if (call->attempts > 0) /* this was none */
        call->attempts--;
    return true;
}

void serve_up_end(struct core *core, struct handle h, uint32_t up_call, enum mesh_end end,
                  enum mesh_reason why, uint64_t now_ms)
{
    struct upstream *up = upstream_at(core, h);
    struct call *call = up != NULL ? upanswer_find(up, up_call) : NULL;
    if (up != NULL && up_call != 0 && up_call == up->listen_call)
        uplisten_end(core, up, now_ms);
    if (call == NULL)
        return;
    struct session *session = session_at(core, call->session);
    if (why == MESH_UPSTREAM_DOWN && call->is_heard)
        why = MESH_UPSTREAM_LOST; /* only the rest was not asked for: the request ran */
    if (why == MESH_UPSTREAM_DOWN && upanswer_waits_for_it(core, session, call, now_ms))
        return;
    if (uplisten_awaits_rest(core, call, why, now_ms) ||
        upanswer_try_again(core, call, why, now_ms))
        return;
    /* a stream that ends without its answer must not end quietly: clients wait a minute */
    bool is_batch = call_is_batch_on_stream(core, call);
    if (is_batch)
        call->is_answered = batch_missing(core, call) == 0;
    bool is_missing =
        !call->is_answered &&
        (is_batch || (call_is_request(call) && (call->form == MESH_FORM_SSE || call->is_told)));
    bool ends_session = call->ends_session && why == MESH_OK;
    if (call->is_answered)
        why = MESH_OK;
    else if (why == MESH_OK && (is_missing || end == MESH_END_CUT || !call->has_head))
        why = MESH_UPSTREAM_LOST;
    call_end(core, call, why == MESH_OK ? MESH_END_WHOLE : MESH_END_CUT, why, now_ms);
    if (ends_session && session != NULL) {
        session->is_deleted = true;
        serve_end_session(core, session, MESH_SESSION_ENDED, now_ms);
    }
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
        if (!replay_upstream_lost(core, session, why, now_ms))
            serve_end_session(core, session, why, now_ms);
    } else {
        while (!list_is_empty(&up->calls)) {
            struct call *call = container_of(list_first(&up->calls), struct call, by_up);
            call_end(core, call, MESH_END_CUT, why, now_ms);
        }
    }
    upcall_forget(core, up);
}
