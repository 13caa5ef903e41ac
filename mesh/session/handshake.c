/* handshake.c - initialize, then notifications/initialized, in our own name. */
#include "mesh/session/handshake.h"

#include "mesh/session/core.h"
#include "mesh/session/upcall.h"

static const char initialized[] = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}";

/* False: no memory. */
static bool handshake_step(struct core *core, struct upstream *up, const struct call *under,
                           struct slice text)
{
    struct session *session = session_at(core, up->session);
    struct rpc_message rpc;
    rpc_read(&rpc, NULL, text.at, text.length);
    struct call *step = call_new_entry(core, under, &rpc, text);
    if (step == NULL)
        return false;
    step->batch = (struct handle){0};
    step->is_own = true;
    session->calls_open++;
    list_push_back(&up->calls, &step->by_up);
    if (upcall_send(core, step, MESH_UP_SEND) == 0)
        return true;
    step->is_own = false; /* no step was taken */
    call_end(core, step, MESH_END_CUT, MESH_FULL, core->serve.now_ms);
    return false;
}

bool handshake_begins(struct core *core, struct upstream *up)
{
    struct session *session = session_at(core, up->session);
    struct call *opener = session != NULL ? call_at(core, session->creator) : NULL;
    if (opener == NULL || opener->want != MESH_SSE || opener->body.length == 0 ||
        session->is_initialized)
        return false;
    session->is_initialized = true;
    up->is_shaking = handshake_step(core, up, opener, opener->body);
    return up->is_shaking;
}

void handshake_step_over(struct core *core, struct call *step, uint64_t now_ms)
{
    struct upstream *up = upstream_at(core, step->up);
    bool has_next = step->rpc.method == RPC_INITIALIZE && step->is_answered && !step->is_refused;
    if (up == NULL || up->is_closing || session_at(core, up->session) == NULL)
        return;
    if (has_next && handshake_step(core, up, step, slice_text(initialized))) {
        if (upcall_is_http(core))
            return; /* its 202 is waited for */
        struct call *told = container_of(up->calls.prev, struct call, by_up);
        call_end(core, told, MESH_END_WHOLE, MESH_OK, now_ms);
        return;
    }
    /* refused or not: what the client's requests get, the upstream says */
    up->is_shaking = false;
    upcall_make_ready(core, up, now_ms);
    if (upcall_is_http(core))
        uplisten_open(core, up);
}
