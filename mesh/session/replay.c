/* replay.c - what becomes of a session, its requests and its streams when its upstream is another
 * one. */
#include "mesh/session/replay.h"

#include <errno.h>
#include <stdlib.h>

#include "mesh/session/core.h"
#include "mesh/session/record.h"
#include "mesh/session/upcall.h"

#define REPLAY_TEXT_MAX 4096 /* bytes of a notification that names an id or a URI */
#define REPLAY_UNSENT_MAX 4  /* times that a request which nobody got is given to an upstream */

#define NOTIFICATION(name) "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/" name "\"}"
#define WARNING(text)                                                                              \
    "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"warning\"," \
    "\"logger\":\"session-mesh\",\"data\":\"" text "\"}}"

static const char resumed_text[] = WARNING(
    "the server of this session was replaced: the handshake, the log level and the subscriptions "
    "are told to the new one; what the former one kept in its memory is lost");
static const char refused_text[] = WARNING(
    "the server that replaced the one of this session did not accept its log level, or one of its "
    "subscriptions");

/* Lists that a server may say have changed. */
static const struct replay_list {
    const char *capability, *changed;
} lists[] = {{"tools", NOTIFICATION("tools/list_changed")},
             {"prompts", NOTIFICATION("prompts/list_changed")},
             {"resources", NOTIFICATION("resources/list_changed")}};

/* ---- what is kept for it -------------------------------------------------------------------- */

static void replay_keep_handshake(struct core *core, struct session *session, struct slice params,
                                  struct slice result)
{
    bool is_small = params.length <= RECORD_HANDSHAKE_MAX && result.length <= RECORD_HANDSHAKE_MAX;
    if (is_small)
        (void)session_keep_handshake(core, session, params, result);
}

static uint8_t replay_declared(struct slice answer)
{
    struct slice can = rpc_member(rpc_member(answer, "result"), "capabilities");
    uint8_t declared = 0;
    for (size_t n = 0; n < sizeof lists / sizeof lists[0]; n++)
        if (slice_is(rpc_member(rpc_member(can, lists[n].capability), "listChanged"), "true"))
            declared |= (uint8_t)(1u << n);
    return declared;
}

void replay_note_result(struct core *core, struct session *session, const struct call *initialize,
                        struct slice answer, uint64_t now_ms)
{
    struct upstream *up = upstream_at(core, initialize->up);
    bool is_first = session->params.length == 0;
    if (up != NULL)
        up->declares = replay_declared(session->result) | replay_declared(answer);
    replay_keep_handshake(core, session, is_first ? initialize->body : session->params, answer);
    if (is_first)
        session->upstreams = 1;
    copies_begin(core, session, now_ms);
}

/* A small text must not pin the body that it stands in. */
static void replay_keep(struct core *core, struct slice *keep, struct slice text)
{
    slice_drop(keep);
    text.buf = NULL;
    (void)slice_keep(keep, text, &core->budget);
}

static struct subscription *replay_subscription(struct session *session, struct slice uri)
{
    LIST_EACH (at, &session->subscriptions) {
        struct subscription *subscription = container_of(at, struct subscription, in_session);
        if (slice_equal(subscription->uri, uri))
            return subscription;
    }
    return NULL;
}

static void replay_subscribe(struct core *core, struct session *session, struct slice uri)
{
    if (uri.length > RECORD_URI_MAX || replay_subscription(session, uri) != NULL ||
        session->subscriptions_count >= SESSION_SUBSCRIPTIONS_MAX)
        return;
    struct subscription *subscription = calloc(1, sizeof *subscription);
    if (subscription == NULL)
        return;
    replay_keep(core, &subscription->uri, uri);
    list_push_back(&session->subscriptions, &subscription->in_session);
    session->subscriptions_count++;
}

static void replay_unsubscribe(struct session *session, struct slice uri)
{
    struct subscription *subscription = replay_subscription(session, uri);
    if (subscription == NULL)
        return;
    list_remove(&subscription->in_session);
    session->subscriptions_count--;
    slice_drop(&subscription->uri);
    free(subscription);
}

/* What it subscribes to, or no more; false: it is no such call, or does not say. */
static bool replay_uri(const struct call *call, struct slice *uri)
{
    enum rpc_method method = call->rpc.method;
    if (method != RPC_RESOURCES_SUBSCRIBE && method != RPC_RESOURCES_UNSUBSCRIBE)
        return false;
    *uri = rpc_member(slice_part(call->body, call->rpc.params), "uri");
    if (uri->length < 2 || uri->at[0] != '"')
        return false;
    *uri = slice_borrow(uri->at + 1, uri->length - 2);
    return true;
}

/* It changes what the server knows of its client. */
static bool replay_is_wish(const struct call *call)
{
    return call->rpc.method == RPC_SET_LEVEL || call->rpc.method == RPC_RESOURCES_SUBSCRIBE ||
           call->rpc.method == RPC_RESOURCES_UNSUBSCRIBE;
}

/* Are both about the level, or about one URI? */
static bool replay_is_same_wish(const struct call *a, const struct call *b)
{
    struct slice uri, other;
    if (a->rpc.method == RPC_SET_LEVEL || b->rpc.method == RPC_SET_LEVEL)
        return a->rpc.method == b->rpc.method;
    return replay_uri(a, &uri) && replay_uri(b, &other) && slice_equal(uri, other);
}

/* A server takes what it is told in the order in which that is sent, whenever it answers: what was
 * sent before this one, and has no answer yet, does not count any more when it gets that. */
static void replay_overtake(struct core *core, const struct call *call)
{
    struct upstream *up = upstream_at(core, call->up);
    if (up == NULL || !replay_is_wish(call))
        return;
    LIST_EACH (at, &up->calls) {
        struct call *other = container_of(at, struct call, by_up);
        if (other->sent_as < call->sent_as && replay_is_same_wish(call, other))
            other->is_overtaken = true;
    }
}

void replay_note(struct core *core, struct session *session, const struct call *call,
                 const struct rpc_message *rpc, struct slice answer, uint64_t now_ms)
{
    struct slice uri;
    if (session == NULL || rpc->kind != RPC_RESPONSE || call->is_overtaken)
        return;
    replay_overtake(core, call);
    if (replay_uri(call, &uri) && call->rpc.method == RPC_RESOURCES_SUBSCRIBE)
        replay_subscribe(core, session, uri);
    else if (replay_uri(call, &uri))
        replay_unsubscribe(session, uri);
    else if (call->rpc.method == RPC_SET_LEVEL && call->body.length <= RECORD_LEVEL_MAX)
        replay_keep(core, &session->level, call->body);
    else if (call->rpc.method == RPC_INITIALIZE && session->params.length == 0)
        replay_note_result(core, session, call, answer, now_ms);
    else
        return;
    session->wishes += replay_is_wish(call);
    copies_on_state(core, session, now_ms);
}

/* ---- what the client is told ---------------------------------------------------------------- */

/* On the session's own stream, if its client ever had one: that is kept until it comes back. */
static void replay_say(struct core *core, struct session *session, struct slice text,
                       uint64_t now_ms)
{
    struct logged event = {.text = text};
    if (session->own != NULL)
        event_stream_add(core, session->own, &event, now_ms);
}

/* `before`, the raw value, and what closes it. */
static struct slice replay_write(char text[REPLAY_TEXT_MAX], const char *before, struct slice value,
                                 const char *after)
{
    size_t begin = strlen(before), end = strlen(after);
    if (value.length == 0 || begin + value.length + end > REPLAY_TEXT_MAX)
        return (struct slice){0};
    memcpy(text, before, begin);
    memcpy(text + begin, value.at, value.length);
    memcpy(text + begin + value.length, after, end);
    return slice_borrow(text, begin + value.length + end);
}

/* The former upstream's questions are nobody's: what a client shows its user for them is closed. */
static void replay_cancel_questions(struct core *core, struct session *session, uint64_t now_ms)
{
    char room[REPLAY_TEXT_MAX];
    LIST_EACH (at, &session->questions) {
        const struct question *question = container_of(at, struct question, in_session);
        struct call *asker = call_at(core, question->asker);
        struct slice text =
            replay_write(room,
                         "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/"
                         "cancelled\",\"params\":{\"requestId\":",
                         question->id, ",\"reason\":\"the server that asked is gone\"}}");
        if (text.length == 0)
            continue;
        if (asker != NULL && !asker->is_ended && asker->stream != NULL && !session->is_single)
            call_add_text(core, asker, WIRE_EVENT, text, false, now_ms);
        else
            replay_say(core, session, text, now_ms);
    }
    session_drop_questions(session);
}

void replay_tell_first(struct core *core, struct session *session, uint64_t now_ms)
{
    struct upstream *up = upstream_at(core, session->up);
    if (up == NULL || !up->is_fresh || up->is_told)
        return;
    up->is_told = true;
    replay_say(core, session, slice_text(resumed_text), now_ms);
}

static void replay_tell(struct core *core, struct session *session, const struct upstream *up,
                        uint64_t now_ms)
{
    char room[REPLAY_TEXT_MAX];
    replay_tell_first(core, session, now_ms);
    if (up->steps_lost > 0)
        replay_say(core, session, slice_text(refused_text), now_ms);
    for (size_t n = 0; n < sizeof lists / sizeof lists[0]; n++)
        if (up->declares & (1u << n))
            replay_say(core, session, slice_text(lists[n].changed), now_ms);
    LIST_EACH (at, &session->subscriptions) {
        struct slice text = replay_write(
            room,
            "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/resources/updated\",\"params\":{"
            "\"uri\":\"",
            container_of(at, struct subscription, in_session)->uri, "\"}}");
        if (text.length > 0)
            replay_say(core, session, text, now_ms);
    }
}

/* ---- opening one ---------------------------------------------------------------------------- */

/* An upstream that nobody has opened: what needs one waits in it. NULL: no room. */
static struct upstream *replay_room(struct core *core, struct session *session)
{
    struct handle h;
    struct upstream *up = pool_take(&core->serve.upstreams, &h);
    if (up == NULL)
        return NULL;
    up->self = h;
    up->session = session->self;
    up->is_fresh = true;
    list_init(&up->calls);
    return up;
}

static void replay_drop_room(struct core *core, struct session *session, struct upstream *up)
{
    if (up->is_open || !list_is_empty(&up->calls))
        return;
    if (handle_equal(session->up, up->self))
        session->up = (struct handle){0};
    upcall_forget(core, up);
}

static void replay_at(struct core *core, struct upstream *up, uint64_t at_ms)
{
    if (heap_set(&core->serve.relistens, &up->again, at_ms) < 0)
        core->serve.lacks_timers = true;
}

/* Each try that follows the one before too soon waits longer. */
static void replay_later(struct core *core, struct session *session, struct upstream *up,
                         uint64_t now_ms)
{
    uint32_t wait_ms = session->replay_wait_ms;
    session->replay_wait_ms = wait_ms == 0                        ? REPLAY_AGAIN_FIRST_MS
                              : wait_ms * 2 < REPLAY_AGAIN_MAX_MS ? wait_ms * 2
                                                                  : REPLAY_AGAIN_MAX_MS;
    replay_at(core, up, now_ms + wait_ms);
}

static int replay_open(struct core *core, struct session *session, struct upstream *up,
                       const struct call *under, uint64_t now_ms)
{
    struct mesh_effect e = {.kind = MESH_UP_OPEN, .handle = up->self};
    e.send.head = under->head;
    e.send.want = MESH_CALL;
    heap_remove(&core->serve.relistens, &up->again);
    int rc = handshake_prepare(core, up, under);
    if (rc < 0)
        return rc;
    rc = effects_push(&core->effects, &e);
    if (rc < 0) {
        struct call *step = call_at(core, up->step);
        up->step = (struct handle){0};
        call_end(core, step, MESH_END_CUT, MESH_FULL, now_ms);
        return -ENOBUFS;
    }
    up->is_open = true;
    up->failures_seen = core->breaker.seen;
    up->caused = under->self;
    session->replayed_ms = now_ms;
    session->upstreams = session->upstreams == 0 ? 2 : session->upstreams + 1;
    return 0;
}

/* Of what needs no answer of an upstream, a fresh one is told only that roots changed (mcp.md §5);
 * a session is ended without one for whoever may have what we hold of it. */
static bool replay_is_wanted(struct core *core, const struct session *session,
                             const struct call *call, uint64_t now_ms)
{
    if (call->want == MESH_DELETE)
        return !trust_is_good(core, session, call, now_ms);
    if (call->want != MESH_CALL || call_is_request(call) || call->rpc.kind == RPC_BATCH)
        return true;
    return call->rpc.method == RPC_ROOTS_CHANGED && session->is_initialized;
}

bool replay_is_due(struct core *core, const struct session *session)
{
    const struct upstream *up = upstream_at(core, session->up);
    return up == NULL || !up->is_open;
}

int replay_begin(struct core *core, struct session *session, struct call *call, uint64_t now_ms)
{
    struct upstream *up = upstream_at(core, session->up);
    uint64_t soon_ms = session->replayed_ms + REPLAY_AGAIN_FIRST_MS;
    call->up = (struct handle){0};
    if (!replay_is_wanted(core, session, call, now_ms))
        return 0;
    if (up == NULL)
        up = replay_room(core, session);
    if (up == NULL)
        return -ENOBUFS;
    session->up = call->up = up->self;
    if (up->again.index != 0 && soon_ms > now_ms) {
        if (soon_ms < up->again.at_ms)
            replay_at(core, up, soon_ms);
        return 0;
    }
    int rc = replay_open(core, session, up, call, now_ms);
    if (rc < 0)
        replay_drop_room(core, session, up);
    return rc;
}

/* Under whose header lines: a request's, else those of who holds a stream. */
static struct call *replay_causer(struct upstream *up)
{
    struct call *held = NULL;
    LIST_EACH (at, &up->calls) {
        struct call *call = container_of(at, struct call, by_up);
        if (call->is_own || call->up_call != 0)
            continue;
        if (!call_is_held_stream(call))
            return call;
        if (held == NULL)
            held = call;
    }
    return held;
}

void replay_try(struct core *core, struct upstream *up, uint64_t now_ms)
{
    struct session *session = session_at(core, up->session);
    struct call *causer = replay_causer(up);
    heap_remove(&core->serve.relistens, &up->again);
    if (session == NULL)
        return;
    if (causer == NULL)
        replay_drop_room(core, session, up);
    else if (replay_open(core, session, up, causer, now_ms) < 0)
        replay_later(core, session, up, now_ms + REPLAY_AGAIN_FIRST_MS);
}

/* ---- who waits ------------------------------------------------------------------------------ */

void replay_wait(struct core *core, struct call *call, uint64_t now_ms)
{
    call->waits_ms = now_ms + 1;
    call->give_up_ms = now_ms + core->config.park_ms;
    call_arm(core, call);
}

static bool replay_waits(const struct call *call)
{
    return call->waits_ms != 0 && call->up_call == 0;
}

static void replay_end_waiting(struct core *core, struct upstream *up, enum mesh_reason why,
                               uint64_t now_ms)
{
    struct call *call = NULL;
    do {
        call = NULL;
        LIST_EACH (at, &up->calls) {
            call = container_of(at, struct call, by_up);
            if (replay_waits(call))
                break;
            call = NULL;
        }
        if (call != NULL)
            call_end(core, call, MESH_END_CUT, why, now_ms);
    } while (call != NULL);
}

/* All of them, to an upstream that is not opened yet. */
static void replay_move(struct core *core, const struct session *session, struct upstream *from,
                        struct upstream *to)
{
    struct list *at;
    (void)core;
    while ((at = list_first(&from->calls)) != NULL) {
        struct call *call = container_of(at, struct call, by_up);
        list_remove(at);
        list_push_back(&to->calls, at);
        call->up = to->self;
        call->owed = 0; /* the room that it had was the former upstream's */
        call->epoch = session->epoch;
    }
}

/* ---- its end -------------------------------------------------------------------------------- */

void replay_denied(struct core *core, struct upstream *up, struct call *step, int status,
                   struct slice head, uint64_t now_ms)
{
    struct call *causer = call_at(core, up->caused);
    if (!up->is_fresh || step->rpc.method != RPC_INITIALIZE)
        return;
    step->is_denied = true;
    if (causer == NULL || causer->is_ended || causer->up_call != 0 ||
        !handle_equal(causer->up, up->self))
        return;
    call_add_head(core, causer, status, MESH_FORM_NONE, head, now_ms);
    call_end(core, causer, MESH_END_WHOLE, MESH_OK, now_ms);
}

static void replay_fail(struct core *core, struct session *session, struct upstream *up,
                        enum handshake_end end, uint64_t now_ms)
{
    struct upstream *room = replay_room(core, session);
    if (room == NULL) {
        serve_end_session(core, session, MESH_FULL, now_ms);
        return;
    }
    core->stats.replays_failed++;
    replay_move(core, session, up, room);
    session->up = room->self;
    upcall_close(core, up->self);
    if (end == HANDSHAKE_REFUSED)
        replay_end_waiting(core, room, MESH_UPSTREAM_DOWN, now_ms);
    if (list_is_empty(&room->calls))
        replay_drop_room(core, session, room);
    else
        replay_later(core, session, room, now_ms);
}

void replay_over(struct core *core, struct upstream *up, enum handshake_end end, uint64_t now_ms)
{
    struct session *session = session_at(core, up->session);
    switch (end) {
    case HANDSHAKE_DONE:
        core->stats.sessions_resumed++;
        replay_tell(core, session, up, now_ms);
        break;
    case HANDSHAKE_CHANGED:
        serve_end_session(core, session, MESH_SESSION_UNKNOWN, now_ms);
        break;
    case HANDSHAKE_REFUSED:
    case HANDSHAKE_DENIED:
    case HANDSHAKE_LOST:
        replay_fail(core, session, up, end, now_ms);
        break;
    }
}

/* ---- the loss of one ------------------------------------------------------------------------ */

bool replay_is_old_progress(struct core *core, const struct call *call,
                            const struct rpc_message *rpc, struct slice text)
{
    struct slice value;
    if (call->progress.length == 0 || rpc == NULL || !rpc_progress(rpc, text, &value) ||
        rpc_id_hash(core->sip_key, slice_part(text, rpc->progress_token)) != call->token_hash)
        return false;
    return value.length > 0 && rpc_number_compare(value, call->progress) <= 0;
}

/* The newest progress in the log of its stream, unless its client was told more. */
void replay_note_progress(struct core *core, struct call *call, const struct event_stream *stream)
{
    struct rpc_message rpc;
    struct slice value;
    if (stream == NULL || call->token_hash == 0)
        return;
    for (uint64_t number = stream->log.number; number >= events_oldest(&stream->log); number--) {
        struct slice text = events_at(&stream->log, number)->text;
        rpc_read(&rpc, NULL, text.at, text.length);
        if (!rpc_progress(&rpc, text, &value) ||
            rpc_id_hash(core->sip_key, slice_part(text, rpc.progress_token)) != call->token_hash)
            continue;
        if (call->progress.length == 0 || rpc_number_compare(value, call->progress) > 0)
            replay_keep(core, &call->progress, value);
        return;
    }
}

static bool replay_may_run_again(struct core *core, const struct call *call)
{
    bool is_out = call->has_head && !call->is_held && call->form != MESH_FORM_SSE && !call->is_told;
    bool was_got = call->is_sent || call->resumes > 0; /* by the last one; or any: */
    bool may_have_run = was_got || call->may_have_run;
    bool is_unrun = call->is_unknown && !call->is_heard && call->resumes == 0;
    if (call->is_answered || is_out)
        return false;
    const struct session *session = session_at(core, call->session);
    if (may_have_run && replay_is_wish(call) && session != NULL && call->wishes != session->wishes)
        return false; /* its client has wished something else since, which would be undone */
    return call->attempts < (was_got && !is_unrun ? SERVE_ATTEMPTS_MAX : REPLAY_UNSENT_MAX) &&
           (!may_have_run || retry_class_of(&core->retry, &call->rpc, call->body,
                                            call->user_was_asked) == RETRY_SAFE);
}

/* As if it had never been given to an upstream, but for what its client has. */
static void replay_take_back(struct core *core, struct call *call, uint64_t now_ms)
{
    const struct session *session = session_at(core, call->session);
    bool is_single = call->front == MESH_FRONT_SSE && session != NULL;
    heap_remove(&core->serve.resumes, &call->again);
    slice_drop(&call->up_mark);
    call->up_call = 0;
    call->may_have_run = call->may_have_run || call->is_sent || call->resumes > 0;
    call->is_sent = call->is_heard = call->is_unknown = false;
    call->resumes = 0;
    call->up_retry_ms = 0;
    if (call->is_asking) {
        trust_forget(call);
        return;
    }
    if (call->is_held) {
        slice_drop(&call->held_lines);
        call->is_held = call->has_head = false;
    }
    replay_note_progress(core, call, is_single ? session->own : call->stream);
    replay_wait(core, call, now_ms);
}

bool replay_take_again(struct core *core, struct call *call, uint64_t now_ms)
{
    if (!replay_may_run_again(core, call))
        return false;
    replay_take_back(core, call, now_ms);
    return true;
}

/* A notification, or the answer to a question of the former upstream: fire and forget. */
static bool replay_is_word(const struct call *call)
{
    return call->want == MESH_CALL && !call->is_own && !call_is_request(call) &&
           call->rpc.kind != RPC_BATCH;
}

static void replay_drop_word(struct core *core, struct call *call, uint64_t now_ms)
{
    struct session *session = session_at(core, call->session);
    if (call->rpc.method == RPC_INITIALIZED)
        session->is_initialized = true;
    call_add_head(core, call, 202, MESH_FORM_NONE, (struct slice){0}, now_ms);
    call_end(core, call, MESH_END_WHOLE, MESH_OK, now_ms);
}

/* Given to the former upstream, or about to be; a batch is what its entries are. */
static bool replay_was_given(const struct call *call)
{
    return call->is_own || (call->up_call != 0 && call->up_call != UINT32_MAX) ||
           call->again.index != 0;
}

static bool replay_goes_on(struct core *core, const struct call *call)
{
    if (call->is_own)
        return false;
    if (call->is_asking || !replay_was_given(call))
        return true;
    return replay_is_word(call) ? call->rpc.method == RPC_ROOTS_CHANGED
                                : replay_may_run_again(core, call);
}

/* Those whose outcome is that the upstream is lost. */
static void replay_end_lost(struct core *core, struct upstream *up, enum mesh_reason why,
                            uint64_t now_ms)
{
    struct call *call;
    do {
        call = NULL;
        LIST_EACH (at, &up->calls) {
            call = container_of(at, struct call, by_up);
            if (!replay_goes_on(core, call))
                break;
            call = NULL;
        }
        if (call != NULL && replay_is_word(call))
            replay_drop_word(core, call, now_ms);
        else if (call != NULL)
            call_end(core, call, MESH_END_CUT, why, now_ms);
    } while (call != NULL);
}

/* Its DELETE was under way: the session is over. */
static bool replay_was_deleted(struct core *core, struct session *session, struct upstream *up,
                               uint64_t now_ms)
{
    LIST_EACH (at, &up->calls) {
        struct call *call = container_of(at, struct call, by_up);
        if (call->want != MESH_DELETE || call->is_asking)
            continue;
        call_add_head(core, call, 200, MESH_FORM_NONE, (struct slice){0}, now_ms);
        call_end(core, call, MESH_END_WHOLE, MESH_OK, now_ms);
        session->is_deleted = true;
        serve_end_session(core, session, MESH_SESSION_ENDED, now_ms);
        return true;
    }
    return false;
}

static bool replay_may_go_on(const struct core *core, const struct session *session)
{
    return core->config.on_owner_loss == MESH_LOSS_RESUME && session->is_announced &&
           session->params.length > 0;
}

bool replay_upstream_lost(struct core *core, struct session *session, enum mesh_reason why,
                          uint64_t now_ms)
{
    struct upstream *up = upstream_at(core, session->up);
    struct call *call;
    if (!replay_may_go_on(core, session))
        return false;
    if (up->is_fresh && !up->is_ready) { /* before anything but the handshake reached it */
        call = call_at(core, up->step);
        up->step = (struct handle){0};
        if (call != NULL)
            call_end(core, call, MESH_END_CUT, why, now_ms);
        replay_over(core, up, HANDSHAKE_LOST, now_ms);
        return true;
    }
    if (replay_was_deleted(core, session, up, now_ms))
        return true;
    struct upstream *room = replay_room(core, session);
    if (room == NULL)
        return false;
    core->stats.upstreams_lost++;
    if (session->replayed_ms + REPLAY_LIVED_MS <= now_ms)
        session->replay_wait_ms = 0;
    replay_cancel_questions(core, session, now_ms);
    up->step = (struct handle){0};
    replay_end_lost(core, up, why, now_ms);
    takeover_next_epoch(core, session, now_ms);
    replay_move(core, session, up, room);
    session->up = room->self;
    upcall_close(core, up->self);
    LIST_EACH (at, &room->calls) {
        call = container_of(at, struct call, by_up);
        if (replay_was_given(call)) {
            slice_drop(&call->up_id); /* of a question of the former upstream */
            replay_take_back(core, call, now_ms);
        }
    }
    if (list_is_empty(&room->calls))
        replay_drop_room(core, session, room);
    else
        replay_later(core, session, room, now_ms);
    return true;
}

void replay_taken_over(struct core *core, struct session *session, uint64_t now_ms)
{
    replay_cancel_questions(core, session, now_ms);
    event_stream_orphan(core, session, now_ms);
}
