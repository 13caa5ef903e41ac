/* uplisten.c - streams that are held: a client's GET reads one of its session's, the upstream's own
 * GET stream (HTTP) feeds the session's and is kept open without a reader, and the rest of an
 * answer is fetched from an upstream that ended the stream before it (SEP-1699). */
#include <errno.h>

#include "mesh/session/core.h"
#include "mesh/session/replay.h"
#include "mesh/session/upcall.h"

/* ---- a client's GET -------------------------------------------------------------------------- */

/* Who reads this stream reads no more. Of what it has not taken only its end is kept: all of it is
 * in the log, and given to the next reader. */
static void uplisten_supersede(struct core *core, struct event_stream *stream, uint64_t now_ms)
{
    struct call *before = call_at(core, stream->reader);
    if (before == NULL)
        return;
    if (before->answer.number > 0) { /* its head has arrived: an end alone would be none */
        upcall_untaken(core, before);
        answer_skip(&before->answer);
    }
    if (handle_equal(stream->source, before->self))
        call_tell_end(core, before, MESH_END_LATER, MESH_OK);
    else
        call_end(core, before, MESH_END_WHOLE, MESH_SUPERSEDED, now_ms);
}

/* The rest of a POST's stream: its POST, or who resumed it before, reads no more. */
static void uplisten_resume(struct core *core, struct call *call, struct session *session,
                            uint64_t now_ms)
{
    struct event_stream *stream = event_stream_shown(session, &call->position);
    bool has_gap = false;
    if (stream == NULL) {
        event_stream_say_lost(core, call);
        call_end(core, call, MESH_END_WHOLE, MESH_OK, now_ms);
        return;
    }
    uplisten_supersede(core, stream, now_ms);
    uint64_t after = event_stream_after(stream, &call->position, &has_gap);
    event_stream_read(core, stream, call, after, has_gap, now_ms);
    if (event_stream_is_orphan(stream)) /* who comes back itself does not ask again */
        event_stream_fail(core, stream, MESH_OUTCOME_UNKNOWN, now_ms);
    if (!stream->is_ended || call->is_ended)
        return;
    stream->reader = (struct handle){0};
    call->stream = NULL;
    call_end(core, call, MESH_END_WHOLE, MESH_OK, now_ms);
}

/* That of a request which another owner began to answer; NULL: we have none of it, or not its
 * answer, which was too large to be copied. */
static struct event_stream *uplisten_begun(struct core *core, struct session *session,
                                           struct call *call)
{
    struct event_stream *stream =
        call->position.stream != 0 ? event_stream_shown(session, &call->position) : NULL;
    if (stream == NULL)
        return NULL;
    if (stream->is_ended)
        return stream->log.count > 0 ? stream : NULL;
    bool is_its = call_at(core, stream->source) == NULL &&
                  rpc_id_hash(core->sip_key, stream->request) == call_id_hash(core, call);
    return is_its ? stream : NULL;
}

bool uplisten_go_on(struct core *core, struct call *call, uint64_t now_ms)
{
    struct session *session = session_at(core, call->session);
    struct event_stream *stream = uplisten_begun(core, session, call);
    bool has_gap = false;
    if (stream == NULL) { /* one of its own, of the same number if that is free */
        call_add_head(core, call, 200, MESH_FORM_SSE, (struct slice){0}, now_ms);
        return true;
    }
    uplisten_supersede(core, stream, now_ms);
    call->stream = stream;
    call_add_head(core, call, 200, MESH_FORM_SSE, (struct slice){0}, now_ms);
    uint64_t after = event_stream_after(stream, &call->position, &has_gap);
    event_stream_read(core, stream, call, after, has_gap, now_ms);
    if (!stream->is_ended) {
        event_stream_adopt(core, stream, call);
        replay_note_progress(core, call, stream);
        return true;
    }
    stream->reader = (struct handle){0};
    call->stream = NULL;
    call->is_answered = true; /* by the log */
    call_end(core, call, MESH_END_WHOLE, MESH_OK, now_ms);
    return false;
}

/* The session's own stream: a newer GET supersedes the older one. */
static void uplisten_read_own(struct core *core, struct call *call, struct session *session,
                              uint64_t now_ms)
{
    struct event_stream *own = event_stream_own(core, session);
    bool has_gap = false;
    if (own == NULL) {
        call_end(core, call, MESH_END_CUT, MESH_FULL, now_ms);
        return;
    }
    uplisten_supersede(core, own, now_ms);
    uint64_t after =
        call->has_position ? event_stream_after(own, &call->position, &has_gap) : own->delivered;
    /* HTTP+SSE: its place is its entry's, which was told it by a rival; what it got from us it does
     * not pass on again, and what it did not get is not to be missed (H1) */
    if (has_gap && call->want == MESH_SSE && after > own->delivered)
        after = own->delivered;
    event_stream_read(core, own, call, after, has_gap, now_ms);
    if (call->want == MESH_SSE)
        event_stream_accepted_lost(core, session, has_gap, now_ms);
}

/* The newest credentials are those to ask with. */
static void uplisten_keep_head(struct core *core, struct upstream *up, const struct call *call)
{
    slice_drop(&up->listen_head);
    (void)slice_keep(&up->listen_head, call->head, &core->budget);
}

void uplisten_begin(struct core *core, struct upstream *up, const struct call *call)
{
    if (!upcall_is_http(core))
        return;
    uplisten_keep_head(core, up, call);
    uplisten_open(core, up);
}

void uplisten_hold(struct core *core, struct call *call, uint64_t now_ms)
{
    struct session *session = session_at(core, call->session);
    struct upstream *up = upstream_at(core, call->up);
    if (call->want == MESH_SSE) {
        session->is_single = true;
        if (event_stream_own(core, session) == NULL) { /* without it there is no session */
            call_end(core, call, MESH_END_CUT, MESH_FULL, now_ms);
            return;
        }
        upcall_announce(core, session);
        if (up->is_ready && handshake_begins(core, up, now_ms))
            up->is_ready = false;
    }
    call_add_head(core, call, 200, MESH_FORM_SSE, (struct slice){0}, now_ms);
    if (call->has_position && call->position.stream != 0) {
        uplisten_resume(core, call, session, now_ms);
        return;
    }
    uplisten_read_own(core, call, session, now_ms);
    if (session->own == NULL)
        return;
    if (call->want == MESH_LISTEN)
        uplisten_begin(core, up, call);
    else
        uplisten_keep_head(core, up, call);
}

/* ---- the upstream's own stream --------------------------------------------------------------- */

static void uplisten_again(struct core *core, struct upstream *up, uint64_t at_ms)
{
    if (heap_set(&core->serve.relistens, &up->again, at_ms) < 0)
        core->serve.lacks_timers = true;
}

static void uplisten_ask(struct core *core, struct upstream *up)
{
    struct mesh_effect e = {.kind = MESH_UP_LISTEN, .handle = up->self, .call = up->next_call + 1};
    e.send.want = MESH_LISTEN;
    e.send.head = up->listen_head;
    e.send.text = up->listen_mark;
    heap_remove(&core->serve.relistens, &up->again);
    up->listen_owed = 0;
    if (effects_push(&core->effects, &e) == 0)
        up->listen_call = ++up->next_call;
    else
        uplisten_again(core, up, core->serve.now_ms + SERVE_RELISTEN_MAX_MS);
}

void uplisten_open(struct core *core, struct upstream *up)
{
    if (up->listen_call == 0 && up->again.index == 0 && !up->has_no_stream && !up->is_closing &&
        up->is_ready)
        uplisten_ask(core, up);
}

void uplisten_head(struct core *core, struct upstream *up, int status)
{
    /* it offers none, or has no such route: the client's stays, with our own words */
    up->has_no_stream = status == 405 || (status == 404 && !up->was_listened);
    if (status == 200)
        up->was_listened = true;
    else if (status >= 400)
        slice_drop(&up->listen_mark); /* it cannot go on from there */
    (void)core;
}

/* A stream that only begins and ends is asked for ever more slowly. */
void uplisten_heard(struct upstream *up)
{
    up->relisten_ms = 0;
}

/* It is over, the session is not: it is asked for again, soon the first time. */
void uplisten_end(struct core *core, struct upstream *up, uint64_t now_ms)
{
    uint32_t wait_ms = up->relisten_ms == 0 ? SERVE_RELISTEN_FIRST_MS : up->relisten_ms * 2;
    up->relisten_ms = wait_ms > SERVE_RELISTEN_MAX_MS ? SERVE_RELISTEN_MAX_MS : wait_ms;
    up->listen_call = 0;
    if (up->has_no_stream || up->is_closing)
        return;
    uplisten_again(
        core, up,
        now_ms + (up->listen_retry_ms > up->relisten_ms ? up->listen_retry_ms : up->relisten_ms));
}

/* ---- the rest of an answer ------------------------------------------------------------------- */

bool uplisten_awaits_rest(struct core *core, struct call *call, enum mesh_reason why,
                          uint64_t now_ms)
{
    struct session *session = session_at(core, call->session);
    bool may_resume = session != NULL && call_is_request(call) && call->form == MESH_FORM_SSE &&
                      !call->is_answered && call->up_mark.length > 0 &&
                      (why == MESH_OK || why == MESH_UPSTREAM_LOST) &&
                      call->resumes < SERVE_RESUMES_MAX;
    uint64_t wait_ms = call->up_retry_ms != 0 ? call->up_retry_ms : SERVE_RESUME_MS;
    if (!may_resume || heap_set(&core->serve.resumes, &call->again, now_ms + wait_ms) < 0)
        return false;
    upcall_untaken(core, call);
    call->resumes++;
    call->up_call = 0;
    /* what the upstream meant for its client is passed on, if that one can come back, too */
    if (why == MESH_OK && session->has_marks && call->stream != NULL)
        call_tell_end(core, call, MESH_END_LATER, MESH_OK);
    return true;
}

void uplisten_now(struct core *core, uint64_t now_ms)
{
    struct heap_node *node;
    while ((node = heap_first(&core->serve.relistens)) != NULL && node->at_ms <= now_ms) {
        struct upstream *up = container_of(node, struct upstream, again);
        if (up->is_open)
            uplisten_ask(core, up);
        else
            replay_try(core, up, now_ms);
    }
    while ((node = heap_first(&core->serve.resumes)) != NULL && node->at_ms <= now_ms) {
        struct call *call = container_of(node, struct call, again);
        heap_remove(&core->serve.resumes, node);
        if (call->is_asking
                ? trust_ask(core, call) < 0
                : upcall_send(core, call, call->resumes > 0 ? MESH_UP_LISTEN : MESH_UP_SEND) < 0)
            call_end(core, call, MESH_END_CUT, MESH_FULL, now_ms);
    }
}
