/* call.c - the life of a request at its owner, and its answer's. */
#include "mesh/session/call.h"

#include <stdlib.h>

#include "mesh/session/batch.h"
#include "mesh/session/core.h"
#include "mesh/session/handshake.h"
#include "mesh/session/upcall.h"

struct call *call_at(struct core *core, struct handle h)
{
    return pool_at(&core->serve.calls, h);
}

struct slice call_id(const struct call *call)
{
    return slice_part(call->body, call->rpc.id);
}

/* ---- making and freeing --------------------------------------------------------------------- */

static void call_keep_nothing(struct call *call)
{
    slice_drop(&call->method);
    slice_drop(&call->target);
    slice_drop(&call->head);
    slice_drop(&call->body);
    slice_drop(&call->held_lines);
    slice_drop(&call->held_text);
    slice_drop(&call->up_mark);
    slice_drop(&call->up_id);
    slice_drop(&call->progress);
    slice_drop(&call->answer_patch.put);
    free(call->answered);
    call->answered = NULL;
}

uint64_t call_id_hash(const struct core *core, struct call *call)
{
    if (call->id_hash == 0 && call->want == MESH_CALL && call->rpc.id.length > 0)
        call->id_hash = rpc_id_hash(core->sip_key, call_id(call));
    return call->id_hash;
}

static void call_hash_token(const struct core *core, struct call *call)
{
    if (call->want == MESH_CALL && call->rpc.progress_token.length > 0)
        call->token_hash =
            rpc_id_hash(core->sip_key, slice_part(call->body, call->rpc.progress_token));
}

struct call *call_new(struct core *core, const struct wire_message *m)
{
    const struct mesh_request *r = &m->open.request;
    struct handle h;
    struct call *call = pool_take(&core->serve.calls, &h);
    if (call == NULL)
        return NULL;
    call->self = h;
    call->name = m->name;
    call->serial = ++core->serve.serial;
    call->want = r->want;
    call->era = r->era;
    call->front = r->front;
    call->token = r->token;
    call->rpc = r->rpc;
    call->has_position = m->open.has_position && r->want != MESH_CALL;
    call->position = m->open.position;
    call->epoch = (struct mesh_epoch){1, core_self(core)};
    call->is_unsafe = serve_is_unsafe(core, m);
    list_init(&call->by_up);
    answer_init(&call->answer, &core->serve.spare_kept);
    if (slice_keep(&call->method, r->method, &core->budget) < 0 ||
        slice_keep(&call->target, r->target, &core->budget) < 0 ||
        slice_keep(&call->head, r->head, &core->budget) < 0 ||
        slice_keep(&call->body, m->payload, &core->budget) < 0 ||
        slice_keep(&call->progress, m->open.progress, &core->budget) < 0 ||
        table_put(&core->serve.by_name, &call->name, h.slot) < 0) {
        call_keep_nothing(call);
        pool_give(&core->serve.calls, h);
        return NULL;
    }
    call_hash_token(core, call);
    return call;
}

struct call *call_new_entry(struct core *core, const struct call *batch,
                            const struct rpc_message *rpc, struct slice text)
{
    struct handle h;
    struct call *entry = pool_take(&core->serve.calls, &h);
    if (entry == NULL)
        return NULL;
    entry->self = h;
    entry->batch = batch->self;
    entry->serial = ++core->serve.serial;
    entry->want = MESH_CALL;
    entry->rpc = *rpc;
    entry->session = batch->session;
    entry->epoch = batch->epoch;
    entry->up = batch->up;
    entry->token = batch->token;
    list_init(&entry->by_up);
    answer_init(&entry->answer, &core->serve.spare_kept);
    entry->answer.is_dropped = true;
    if (slice_keep(&entry->head, batch->head, &core->budget) < 0 ||
        slice_keep(&entry->body, text, &core->budget) < 0) {
        call_keep_nothing(entry);
        pool_give(&core->serve.calls, h);
        return NULL;
    }
    call_hash_token(core, entry);
    return entry;
}

void call_free(struct core *core, struct call *call)
{
    if (!lane_is_none(call->answer.lane))
        links_close(core->links, call->answer.lane, LINKS_OWNER);
    if (handle_is_none(call->batch))
        table_remove(&core->serve.by_name, &call->name);
    heap_remove(&core->serve.timers, &call->timer);
    heap_remove(&core->serve.resumes, &call->again);
    list_remove(&call->in_check);
    list_remove(&call->by_up);
    answer_deinit(&call->answer);
    call_keep_nothing(call);
    pool_give(&core->serve.calls, call->self);
}

struct call *call_by_name(struct core *core, const struct exchange_name *name)
{
    uint32_t slot = 0;
    struct handle h;
    if (!table_get(&core->serve.by_name, name, &slot))
        return NULL;
    return pool_slot(&core->serve.calls, slot, &h);
}

/* ---- its timer ------------------------------------------------------------------------------ */

static void call_due_at(uint64_t *due_ms, uint64_t at_ms)
{
    if (at_ms < *due_ms)
        *due_ms = at_ms;
}

void call_arm(struct core *core, struct call *call)
{
    uint64_t due_ms = MESH_NEVER;
    if (call->detached_ms != 0 && (call->is_ended || call_ends_unread(call)))
        call_due_at(&due_ms, call->detached_ms + CALL_DETACHED_MS);
    if (call->stall_at_ms != 0)
        call_due_at(&due_ms, call->stall_at_ms);
    if (call->stream_at_ms != 0)
        call_due_at(&due_ms, call->stream_at_ms);
    if (call->give_up_ms != 0)
        call_due_at(&due_ms, call->give_up_ms);
    if (heap_set(&core->serve.timers, &call->timer, due_ms) < 0)
        core->serve.lacks_timers = true;
}

/* ---- its answer ----------------------------------------------------------------------------- */

/* What is to be sent cannot be kept: the entry is told what can be told without memory. */
void call_add(struct core *core, struct call *call, struct wire_message *m)
{
    m->epoch = call->epoch;
    m->name = call->name;
    if (fence_answer(core, call, call->answer.count) == 0 &&
        answer_add(&call->answer, core->links, m, &core->budget) == 0)
        return;
    if (!lane_is_none(call->answer.lane)) {
        struct wire_message cut = {.kind = WIRE_END, .name = call->name, .epoch = m->epoch};
        cut.end.end = MESH_END_CUT;
        cut.end.why = MESH_FULL;
        (void)links_send(core->links, call->answer.lane, LINKS_OWNER, &cut);
        links_close(core->links, call->answer.lane, LINKS_OWNER);
    }
    serve_forget_name(core, call); /* should it not hear even that, and ask by this name */
    answer_drop(&call->answer);
    if (!call_ends_unread(call))
        return;
    call->detached_ms = core->serve.now_ms + 1; /* nobody comes back to it */
    call_arm(core, call);
}

/* Only the answer that makes a session names it: the client has it from there. */
static void call_send_head(struct core *core, struct call *call, enum wire_kind kind, int status,
                           struct slice lines, struct slice text)
{
    struct wire_message m = {.kind = kind, .payload = text};
    const struct session *session = session_at(core, call->session);
    m.head.status = status;
    m.head.form = call->form;
    m.head.head = lines;
    if (kind == WIRE_HEAD)
        m.head.serial = call->serial;
    m.head.answers = kind == WIRE_WHOLE && call->text_answers;
    if (m.head.answers)
        m.head.patch = call->answer_patch;
    if (session != NULL && handle_equal(session->creator, call->self)) {
        m.has_session = true;
        m.session = session->id;
    }
    call_add(core, call, &m);
}

/* What was held goes out in parts after all. */
static void call_release(struct core *core, struct call *call)
{
    if (!call->is_held)
        return;
    call->is_held = false;
    call_send_head(core, call, WIRE_HEAD, call->held_status, call->held_lines, (struct slice){0});
    if (call->holds_text) {
        struct wire_message m = {.kind = WIRE_DATA, .payload = call->held_text};
        m.text.answers = call->text_answers;
        if (call->text_answers)
            m.text.patch = call->answer_patch;
        call->holds_text = false;
        call_add(core, call, &m);
    }
    slice_drop(&call->held_lines);
    slice_drop(&call->held_text);
}

/* A POST of a session that is answered by events: from here on its client may come back for it. */
static void call_open_stream(struct core *core, struct call *call, uint64_t now_ms)
{
    struct session *session = session_at(core, call->session);
    bool wants_answer = call_is_request(call) || call->rpc.kind == RPC_BATCH;
    if (call->stream != NULL) /* it goes on with one */
        return;
    if (session == NULL || call->want != MESH_CALL || !wants_answer || !call_has_reader(call))
        return;
    struct event_stream *stream = event_stream_open(core, session, call, call->position.stream);
    if (stream == NULL)
        return;
    copies_on_stream(core, session, stream, now_ms);
    event_stream_read(core, stream, call, 0, false, now_ms);
}

void call_add_head(struct core *core, struct call *call, int status, enum mesh_form form,
                   struct slice lines, uint64_t now_ms)
{
    call->stream_at_ms = 0;
    if (call->has_head) /* it runs again: its client has one */
        return;
    call->has_head = true;
    call->form = form;
    if (call->is_told)
        return;
    call->is_held = (form == MESH_FORM_JSON || form == MESH_FORM_NONE) &&
                    slice_keep(&call->held_lines, lines, &core->budget) == 0;
    call->held_status = status;
    if (call->is_held)
        return;
    call_send_head(core, call, WIRE_HEAD, status, lines, (struct slice){0});
    if (form == MESH_FORM_SSE && status / 100 == 2)
        call_open_stream(core, call, now_ms);
}

void call_add_text(struct core *core, struct call *call, enum wire_kind kind, struct slice text,
                   bool answers, uint64_t now_ms)
{
    if (call->stream != NULL && kind == WIRE_EVENT) {
        struct logged event = {.text = text, .answers = answers, .is_last = answers};
        event_stream_add(core, call->stream, &event, now_ms);
        return;
    }
    if (call->is_held && answers && !call->holds_text &&
        slice_keep(&call->held_text, text, &core->budget) == 0) {
        call->holds_text = call->text_answers = true;
        return;
    }
    call_release(core, call);
    struct wire_message m = {.kind = kind, .payload = text};
    m.text.answers = answers;
    if (answers)
        m.text.patch = call->answer_patch;
    call_add(core, call, &m);
}

static void call_add_end(struct core *core, struct call *call, enum mesh_end end,
                         enum mesh_reason why)
{
    if (call->is_held && why == MESH_OK && end == MESH_END_WHOLE) {
        call->is_held = false;
        call_send_head(core, call, WIRE_WHOLE, call->held_status, call->held_lines,
                       call->held_text);
        return;
    }
    /* a head without its text says nothing: the entry words the outcome */
    if (call->holds_text)
        call_release(core, call);
    struct wire_message m = {.kind = WIRE_END};
    m.end.end = end;
    m.end.why = why;
    call_add(core, call, &m);
}

void call_add_failed(struct core *core, struct call *call, const struct logged *event,
                     uint64_t now_ms)
{
    if (call->stream != NULL) {
        event_stream_add(core, call->stream, event, now_ms);
        return;
    }
    struct wire_message m = {.kind = WIRE_EVENT, .payload = event->text};
    m.text.why = event->why;
    m.text.answers = event->answers;
    call_add(core, call, &m);
}

/* ---- ends ----------------------------------------------------------------------------------- */

void call_tell_end(struct core *core, struct call *call, enum mesh_end end, enum mesh_reason why)
{
    if (call->is_told)
        return;
    call_add_end(core, call, end, why);
    call->is_told = true;
    call->stall_at_ms = 0;
    upcall_untaken(core, call); /* whose room that was says the stream */
    event_stream_leave(core, call);
}

bool call_is_batch_on_stream(const struct core *core, const struct call *call)
{
    return upcall_is_http(core) && call->want == MESH_CALL && call->rpc.kind == RPC_BATCH &&
           call->form == MESH_FORM_SSE && call->stream != NULL;
}

/* The last word of a request with a stream, or in a session with one stream: an event like the
 * others, so that who resumes hears it, too. There its POST is accepted, unless it was refused. */
static void call_add_failure(struct core *core, struct call *call, enum mesh_reason why,
                             uint64_t now_ms)
{
    struct session *session = session_at(core, call->session);
    struct event_stream *stream = call->stream;
    bool is_last = stream != NULL, is_refused = call->has_head && !call->is_told;
    if (call->front == MESH_FRONT_SSE && session != NULL && !is_refused) {
        stream = session->own;
        is_last = false;
    }
    if (call_is_batch_on_stream(core, call) && !call->is_answered && why != MESH_OK) {
        batch_fail_rest(core, call, why, now_ms);
        return;
    }
    /* on a stream of many nobody waits for what was cancelled */
    bool is_unheard = call->front == MESH_FRONT_SSE && why == MESH_CANCELLED;
    if (stream == NULL || !call_is_request(call) || call->is_answered || why == MESH_OK ||
        is_unheard)
        return;
    struct logged event = {.text = call_id(call), .why = why, .answers = true, .is_last = is_last};
    call->is_answered = true;
    if (call->front == MESH_FRONT_SSE && !call->is_told)
        upcall_accept_single(core, call, now_ms);
    event_stream_add(core, stream, &event, now_ms);
}

void call_end(struct core *core, struct call *call, enum mesh_end end, enum mesh_reason why,
              uint64_t now_ms)
{
    if (call->is_ended)
        return;
    struct session *session = session_at(core, call->session);
    if (call->may_have_run &&
        (why == MESH_UPSTREAM_DOWN || why == MESH_SESSION_UNKNOWN || why == MESH_FULL))
        why = MESH_UPSTREAM_LOST; /* those say that nothing ran */
    if (session != NULL && !session->is_announced && handle_equal(session->creator, call->self)) {
        upcall_unbind(core, call); /* its initialize came to nothing */
        session = NULL;
    }
    if (call->rpc.kind == RPC_BATCH && call->entries_open > 0) {
        batch_end_entries(core, call, why, now_ms);
        return; /* ended by the last of them */
    }
    call->is_ended = true;
    list_remove(&call->by_up);
    list_init(&call->by_up);
    batch_entry_over(core, call, why, now_ms);
    call_add_failure(core, call, why, now_ms);
    if (call->is_answered) {
        end = MESH_END_WHOLE;
        why = MESH_OK;
    }
    struct event_stream *stream = call->stream;
    call_tell_end(core, call, end, why);
    if (stream != NULL && handle_equal(stream->source, call->self))
        event_stream_end(core, stream, now_ms);
    heap_remove(&core->serve.resumes, &call->again);
    call->give_up_ms = 0;
    if (call->is_own)
        handshake_step_over(core, call, now_ms);
    session = session_at(core, call->session); /* what waited may have ended it */
    call_keep_nothing(call);
    call->stream_at_ms = 0;
    if (session != NULL) {
        session->calls_open--;
        list_push_back(&session->answers, &call->by_up);
        if (!call->is_own)
            session_touch(core, session, now_ms);
    } else {
        upcall_close(core, call->up); /* an upstream of this request alone */
    }
    if (call->answer.is_dropped)
        call_free(core, call);
    else
        call_arm(core, call);
}

void call_drop_answer(struct core *core, struct call *call)
{
    if (!lane_is_none(call->answer.lane))
        links_close(core->links, call->answer.lane, LINKS_OWNER);
    if (!call->is_told) /* else it was given back with its end */
        upcall_untaken(core, call);
    event_stream_leave(core, call);
    list_remove(&call->in_check);
    answer_drop(&call->answer);
    call->stall_at_ms = 0;
    if (call->is_ended)
        call_free(core, call);
    else
        call_arm(core, call);
}
