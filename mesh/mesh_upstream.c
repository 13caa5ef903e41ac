/* mesh_upstream.c - the boundary of the core towards its upstream: facts about calls, and whether
 * it serves, which follows from them (breaker.h) and from what the host found out. */
#include "mesh/mesh_inside.h"

#include "mesh/session/upcall.h"

/* ---- does it serve? -------------------------------------------------------------------------- */

bool mesh_serves(const struct mesh *m)
{
    return m->is_serving && !m->core.breaker.is_open;
}

static void mesh_tell_serving(struct mesh *m, uint64_t now_ms)
{
    /* when the host says so it was unsure as long as we give the server then; calls say so at once
     */
    uint64_t since_ms = m->is_serving ? now_ms + HANDOVER_DOWN_MS : now_ms;
    handover_serving(&m->core, mesh_serves(m), since_ms);
    mesh_tell_flags(m, mesh_serves(m), m->core.is_leaving, now_ms);
}

/* A child is its session's own, and what is built in is ours. */
static bool mesh_upstream_is_shared(const struct mesh *m)
{
    enum mesh_upstream_kind kind = m->core.config.upstream;
    return kind == MESH_UP_HTTP || kind == MESH_UP_SSE;
}

static void mesh_note_upstream(struct mesh *m, enum breaker_news news, uint32_t seen,
                               uint64_t now_ms)
{
    struct core *core = &m->core;
    if (!mesh_upstream_is_shared(m) || !breaker_note(&core->breaker, news, seen))
        return;
    core->stats.breaks += core->breaker.is_open;
    core_tell(core, MESH_UPSTREAM_FAILS, core_self(core), MEMBER_ALIVE, m->core.breaker.is_open);
    mesh_tell_serving(m, now_ms);
}

void mesh_serving(struct mesh *m, bool serving, uint64_t now_ms)
{
    m->is_serving = serving;
    if (serving)
        mesh_note_upstream(m, BREAKER_WORKS, 0, now_ms);
    mesh_tell_serving(m, now_ms);
}

/* Of a server that fails nothing is asked: as if it refused, but without a connection to it. */
bool mesh_is_kept_back(struct mesh *m, const struct mesh_effect *effect, uint64_t now_ms)
{
    struct core *core = &m->core;
    bool is_call = effect->kind == MESH_UP_SEND || effect->kind == MESH_UP_LISTEN;
    bool asks = is_call || (effect->kind == MESH_UP_OPEN && core->config.upstream == MESH_UP_SSE);
    if (!core->breaker.is_open || !asks || effect->send.want == MESH_PASS)
        return false;
    core->stats.kept_back++;
    if (is_call)
        serve_up_end(core, effect->handle, effect->call, MESH_END_CUT, MESH_UPSTREAM_DOWN, now_ms);
    else
        serve_up_closed(core, effect->handle, MESH_UPSTREAM_DOWN, now_ms);
    return true;
}

/* ---- facts ---------------------------------------------------------------------------------- */

/* The call that a fact of an upstream is about, where that tells anything of the server: not
 * another path, nor its own stream, which it may end as it likes. */
static const struct call *mesh_told_of(struct mesh *m, struct handle up, uint32_t up_call)
{
    struct upstream *upstream = mesh_upstream_is_shared(m) ? upstream_at(&m->core, up) : NULL;
    const struct call *call = upstream != NULL ? upanswer_find(upstream, up_call) : NULL;
    return call != NULL && call->want != MESH_PASS ? call : NULL;
}

void mesh_up_ready(struct mesh *m, struct handle up, uint64_t now_ms)
{
    mesh_note_time(m, now_ms);
    serve_up_ready(&m->core, up, now_ms);
}

void mesh_up_sent(struct mesh *m, struct handle up, uint32_t call, uint64_t now_ms)
{
    (void)now_ms;
    serve_up_sent(&m->core, up, call);
}

void mesh_up_head(struct mesh *m, struct handle up, uint32_t call, int status, enum mesh_form form,
                  enum mesh_up_session session, struct slice head, uint64_t now_ms)
{
    mesh_note_time(m, now_ms);
    const struct call *told = mesh_told_of(m, up, call);
    if (told != NULL)
        mesh_note_upstream(m, breaker_of_status(status, call_is_request(told)), told->failures_seen,
                           now_ms);
    serve_up_head(&m->core, up, call, status, form, session, head, now_ms);
}

bool mesh_up_message(struct mesh *m, struct handle up, uint32_t call, const struct rpc_message *rpc,
                     const struct rpc_tools *tools, struct slice text, uint64_t now_ms)
{
    mesh_note_time(m, now_ms);
    mesh_note_upstream(m, breaker_of_message(rpc), 0, now_ms);
    return serve_up_message(&m->core, up, call, rpc, tools, text, now_ms);
}

void mesh_up_mark(struct mesh *m, struct handle up, uint32_t call, struct slice event_id,
                  uint32_t retry_ms, uint64_t now_ms)
{
    (void)now_ms;
    serve_up_mark(&m->core, up, call, event_id, retry_ms);
}

void mesh_up_data(struct mesh *m, struct handle up, uint32_t call, struct slice part,
                  uint64_t now_ms)
{
    mesh_note_time(m, now_ms);
    serve_up_data(&m->core, up, call, part, now_ms);
}

void mesh_up_too_large(struct mesh *m, struct handle up, enum rpc_kind kind, struct slice id,
                       uint64_t now_ms)
{
    mesh_note_time(m, now_ms);
    serve_up_too_large(&m->core, up, kind, id, now_ms);
}

void mesh_up_end(struct mesh *m, struct handle up, uint32_t call, enum mesh_end end,
                 enum mesh_reason why, uint64_t now_ms)
{
    mesh_note_time(m, now_ms);
    const struct call *told = mesh_told_of(m, up, call);
    if (told != NULL)
        mesh_note_upstream(m, breaker_of_end(why), told->failures_seen, now_ms);
    serve_up_end(&m->core, up, call, end, why, now_ms);
}

void mesh_up_closed(struct mesh *m, struct handle up, enum mesh_reason why, uint64_t now_ms)
{
    mesh_note_time(m, now_ms);
    const struct upstream *upstream = upstream_at(&m->core, up);
    /* one that nobody waits in may well be ended by the server */
    if (upstream != NULL && !list_is_empty(&upstream->calls))
        mesh_note_upstream(m, breaker_of_end(why), upstream->failures_seen, now_ms);
    serve_up_closed(&m->core, up, why, now_ms);
}
