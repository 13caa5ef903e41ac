/* handshake.c - initialize, notifications/initialized, logging/setLevel, resources/subscribe: in
 * our own name. */
#include "mesh/session/handshake.h"

#include <errno.h>

#include "mesh/session/core.h"
#include "mesh/session/replay.h"
#include "mesh/session/upcall.h"

#define STEP_ID_MAX 40
#define STEP_SUBSCRIBE_MAX 4096 /* bytes of the message around, and of, a resource's URI */

enum step { STEP_INITIALIZE, STEP_INITIALIZED, STEP_LEVEL, STEP_SUBSCRIBE };

static const char initialized[] = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}";

/* ---- one step ------------------------------------------------------------------------------- */

/* Not like any that its client gives, but for a chance of 1 in 2^32 (mcp.md §4.2 rule 2). */
static size_t step_write_id(const struct upstream *up, char id[STEP_ID_MAX])
{
    static const char digits[] = "0123456789abcdef";
    size_t length = 3;
    memcpy(id, "\"m-", 3);
    for (int n = 7; n >= 0; n--)
        id[length++] = digits[up->tag >> (4 * n) & 0x0f];
    id[length++] = '-';
    length += rpc_write_number(id + length, up->steps_over);
    id[length++] = '"';
    return length;
}

/* A fresh upstream gets it under an id of ours. */
static int step_name(struct core *core, const struct upstream *up, struct call *step)
{
    char id[STEP_ID_MAX];
    if (!up->is_fresh || step->rpc.kind != RPC_REQUEST)
        return 0;
    struct slice text = slice_borrow(id, step_write_id(up, id));
    step->id_hash = rpc_id_hash(core->sip_key, text);
    return slice_keep(&step->up_id, text, &core->budget);
}

static struct call *step_new(struct core *core, struct upstream *up, const struct call *under,
                             struct slice text)
{
    struct session *session = session_at(core, up->session);
    struct rpc_message rpc;
    rpc_read(&rpc, NULL, text.at, text.length);
    struct call *step = call_new_entry(core, under, &rpc, text);
    if (step == NULL)
        return NULL;
    step->batch = (struct handle){0};
    step->session = session->self;
    step->epoch = session->epoch;
    step->up = up->self;
    step->is_own = true;
    if (step_name(core, up, step) < 0) {
        call_free(core, step);
        return NULL;
    }
    session->calls_open++;
    list_push_back(&up->calls, &step->by_up);
    up->step = step->self;
    return step;
}

/* False: no memory. */
static bool step_send(struct core *core, struct upstream *up, struct call *step, uint64_t now_ms)
{
    up->is_shaking = true;
    if (upcall_send(core, step, MESH_UP_SEND) < 0) {
        up->step = (struct handle){0}; /* no step was taken */
        call_end(core, step, MESH_END_CUT, MESH_FULL, now_ms);
        return false;
    }
    if (up->is_fresh) {
        step->give_up_ms = now_ms + REPLAY_STEP_MS;
        call_arm(core, step);
    }
    if (step->rpc.kind != RPC_REQUEST && !upcall_is_http(core)) /* whose 202 is waited for */
        call_end(core, step, MESH_END_WHOLE, MESH_OK, now_ms);
    return true;
}

/* ---- which one ------------------------------------------------------------------------------ */

static size_t step_write_subscribe(const struct subscription *subscription,
                                   char text[STEP_SUBSCRIBE_MAX])
{
    static const char before[] = "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"resources/subscribe\","
                                 "\"params\":{\"uri\":\"";
    static const char after[] = "\"}}";
    size_t begin = sizeof before - 1, length = subscription->uri.length;
    if (begin + length + sizeof after > STEP_SUBSCRIBE_MAX)
        return 0;
    memcpy(text, before, begin);
    memcpy(text + begin, subscription->uri.at, length);
    memcpy(text + begin + length, after, sizeof after - 1);
    return begin + length + sizeof after - 1;
}

static const struct subscription *subscription_of(const struct session *session, uint32_t index)
{
    LIST_EACH (at, &session->subscriptions)
        if (index-- == 0)
            return container_of(at, struct subscription, in_session);
    return NULL;
}

/* What the upstream is told next; false: nothing. */
static bool step_text(struct upstream *up, struct session *session, struct slice *text,
                      char room[STEP_SUBSCRIBE_MAX])
{
    const struct subscription *subscription = NULL;
    if (up->steps_over == STEP_INITIALIZED) {
        *text = slice_text(initialized);
        session->is_initialized = true; /* its client's own is not passed on any more */
        return true;
    }
    if (up->steps_over == STEP_LEVEL && session->level.length > 0) {
        *text = session->level;
        return true;
    }
    if (up->steps_over == STEP_LEVEL)
        up->steps_over++;
    while ((subscription = subscription_of(session, up->steps_over - STEP_SUBSCRIBE)) != NULL) {
        *text = slice_borrow(room, step_write_subscribe(subscription, room));
        if (text->length > 0)
            return true;
        up->steps_over++;
    }
    return false;
}

/* ---- the handshake -------------------------------------------------------------------------- */

int handshake_prepare(struct core *core, struct upstream *up, const struct call *under)
{
    struct session *session = session_at(core, up->session);
    up->tag = (uint32_t)rng_u64(&core->rng);
    return step_new(core, up, under, session->params) == NULL ? -ENOBUFS : 0;
}

/* One of HTTP+SSE whose client named its revision. */
static bool handshake_is_due(const struct session *session, const struct call *opener)
{
    return opener != NULL && opener->want == MESH_SSE && opener->body.length > 0 &&
           !session->is_initialized;
}

bool handshake_begins(struct core *core, struct upstream *up, uint64_t now_ms)
{
    struct session *session = session_at(core, up->session);
    struct call *step = call_at(core, up->step);
    struct call *opener = session != NULL ? call_at(core, session->creator) : NULL;
    if (session == NULL)
        return false;
    if (step == NULL && !up->is_fresh && handshake_is_due(session, opener)) {
        session->is_initialized = true;
        step = step_new(core, up, opener, opener->body);
    }
    return step != NULL && step_send(core, up, step, now_ms);
}

void handshake_heard(struct core *core, struct call *step, const struct rpc_message *rpc,
                     struct slice answer, uint64_t now_ms)
{
    struct session *session = session_at(core, step->session);
    if (answer.length == 0)
        return;
    step->is_refused = rpc->kind == RPC_ERROR;
    if (step->rpc.method != RPC_INITIALIZE || step->is_refused || session == NULL)
        return;
    struct rpc_message before;
    rpc_read(&before, NULL, session->result.at, session->result.length);
    struct slice version = slice_part(answer, rpc->version);
    step->is_other_version = session->result.length > 0 &&
                             !slice_equal(version, slice_part(session->result, before.version));
    if (!step->is_other_version)
        replay_note_result(core, session, step, answer, now_ms);
}

static enum handshake_end handshake_judge(const struct core *core, const struct call *step)
{
    bool is_heard =
        step->rpc.kind == RPC_REQUEST ? step->is_answered : step->has_head || !upcall_is_http(core);
    if (step->is_denied)
        return HANDSHAKE_DENIED;
    if (step->is_other_version)
        return HANDSHAKE_CHANGED;
    if (!is_heard && step->has_head && step->held_status >= 500)
        return HANDSHAKE_LOST;
    if (step->rpc.method == RPC_INITIALIZE && (step->is_refused || (!is_heard && step->has_head)))
        return HANDSHAKE_REFUSED;
    return is_heard || step->has_head ? HANDSHAKE_DONE : HANDSHAKE_LOST;
}

static void handshake_over(struct core *core, struct upstream *up, const struct call *step,
                           enum handshake_end end, uint64_t now_ms)
{
    bool is_initialized = session_at(core, up->session)->is_initialized;
    if (up->is_fresh) {
        replay_over(core, up, end, now_ms);
        if (end != HANDSHAKE_DONE)
            return;
    }
    /* of one that is not fresh, refused or not: what the client's requests get, it says */
    up->is_shaking = false;
    upcall_make_ready(core, up, now_ms);
    up = upstream_at(core, step->up);
    if (up == NULL || up->is_closing || !is_initialized)
        return;
    if (up->listen_head.length == 0)
        uplisten_begin(core, up, step);
    else if (upcall_is_http(core))
        uplisten_open(core, up);
}

void handshake_step_over(struct core *core, struct call *step, uint64_t now_ms)
{
    struct upstream *up = upstream_at(core, step->up);
    struct session *session = up != NULL ? session_at(core, up->session) : NULL;
    char room[STEP_SUBSCRIBE_MAX];
    struct slice text;
    if (session == NULL || up->is_closing || !handle_equal(up->step, step->self))
        return;
    enum handshake_end end = handshake_judge(core, step);
    up->step = (struct handle){0};
    up->steps_lost += step->is_refused;
    up->steps_over++;
    if (end == HANDSHAKE_DONE && up->is_fresh && upcall_end_early(core, up, now_ms))
        return;
    if (end == HANDSHAKE_DONE && step_text(up, session, &text, room)) {
        struct call *next = step_new(core, up, step, text);
        if (next != NULL && step_send(core, up, next, now_ms))
            return;
        end = HANDSHAKE_LOST;
    }
    handshake_over(core, up, step, end, now_ms);
}
