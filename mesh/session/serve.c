/* serve.c - the owner's side of an exchange: what is done with an OPEN, and the life of a call.
 * What the upstream does with it is in upcall.c. */
#include "mesh/session/serve.h"

#include <errno.h>

#include "mesh/session/affinity.h"
#include "mesh/session/core.h"
#include "mesh/session/upcall.h"

#define FORGOTTEN_MAX 4096
#define SERVE_MEMORY_RETRY_MS 20

void serve_init(struct core *core)
{
    struct serve *s = &core->serve;
    memset(s, 0, sizeof *s);
    pool_init(&s->calls, sizeof(struct call), core->config.exchanges_max);
    pool_init(&s->upstreams, sizeof(struct upstream),
              core->config.sessions_max + core->config.exchanges_max);
    heap_init(&s->timers);
    table_init(&s->by_name, sizeof(struct exchange_name), core->sip_key);
    table_init(&s->forgotten, sizeof(struct peer_id), core->sip_key);
}

static void call_free(struct core *core, struct call *call);

void serve_deinit(struct core *core)
{
    struct serve *s = &core->serve;
    struct handle h;
    for (uint32_t slot = 0; slot < pool_span(&s->calls); slot++) {
        struct call *call = pool_slot(&s->calls, slot, &h);
        if (call != NULL)
            call_free(core, call);
    }
    heap_deinit(&s->timers);
    table_deinit(&s->by_name);
    table_deinit(&s->forgotten);
    pool_deinit(&s->calls);
    pool_deinit(&s->upstreams);
}

struct call *call_at(struct core *core, struct handle h)
{
    return pool_at(&core->serve.calls, h);
}

struct upstream *upstream_at(struct core *core, struct handle h)
{
    return pool_at(&core->serve.upstreams, h);
}

/* ---- the life of a call --------------------------------------------------------------------- */

static void call_keep_nothing(struct call *call)
{
    slice_drop(&call->method);
    slice_drop(&call->target);
    slice_drop(&call->head);
    slice_drop(&call->body);
    slice_drop(&call->held_lines);
    slice_drop(&call->held_text);
    slice_drop(&call->answer_patch.put);
}

static bool serve_is_unsafe(const struct core *core, const struct wire_message *open)
{
    return open->open.request.want != MESH_LISTEN &&
           retry_class_of(&core->retry, &open->open.request.rpc, open->payload, false) !=
               RETRY_SAFE;
}

static struct call *call_new(struct core *core, const struct wire_message *m)
{
    const struct mesh_request *r = &m->open.request;
    struct handle h;
    struct call *call = pool_take(&core->serve.calls, &h);
    if (call == NULL)
        return NULL;
    call->self = h;
    call->name = m->name;
    call->want = r->want;
    call->era = r->era;
    call->rpc = r->rpc;
    call->epoch = (struct mesh_epoch){1, core_self(core)};
    call->is_unsafe = serve_is_unsafe(core, m);
    list_init(&call->by_up);
    answer_init(&call->answer);
    if (slice_keep(&call->method, r->method, &core->budget) < 0 ||
        slice_keep(&call->target, r->target, &core->budget) < 0 ||
        slice_keep(&call->head, r->head, &core->budget) < 0 ||
        slice_keep(&call->body, m->payload, &core->budget) < 0 ||
        table_put(&core->serve.by_name, &call->name, h.slot) < 0) {
        call_keep_nothing(call);
        pool_give(&core->serve.calls, h);
        return NULL;
    }
    if (call->want == MESH_CALL && call->rpc.id.length > 0)
        call->id_hash = rpc_id_hash(core->sip_key, slice_part(call->body, call->rpc.id));
    if (call->want == MESH_CALL && call->rpc.progress_token.length > 0)
        call->token_hash =
            rpc_id_hash(core->sip_key, slice_part(call->body, call->rpc.progress_token));
    return call;
}

static void call_free(struct core *core, struct call *call)
{
    if (!lane_is_none(call->answer.lane))
        links_close(core->links, call->answer.lane, LINKS_OWNER);
    table_remove(&core->serve.by_name, &call->name);
    heap_remove(&core->serve.timers, &call->timer);
    answer_deinit(&call->answer);
    call_keep_nothing(call);
    pool_give(&core->serve.calls, call->self);
}

static struct call *call_by_name(struct core *core, const struct exchange_name *name)
{
    uint32_t slot = 0;
    struct handle h;
    if (!table_get(&core->serve.by_name, name, &slot))
        return NULL;
    return pool_slot(&core->serve.calls, slot, &h);
}

/* A request that could not be told its outcome: whether this entry's other unknown names ran is
 * not known any more either (invariant E2). When the table is full, of nobody's. */
static void call_forget_name(struct core *core, const struct call *call)
{
    struct serve *s = &core->serve;
    if (!call->is_unsafe || table_get(&s->forgotten, &call->name.entry, NULL))
        return;
    if (table_count(&s->forgotten) >= FORGOTTEN_MAX ||
        table_put(&s->forgotten, &call->name.entry, 1) < 0)
        s->forgets_all = true;
}

static bool serve_has_forgotten(const struct core *core, struct peer_id entry)
{
    return core->serve.forgets_all || table_get(&core->serve.forgotten, &entry, NULL);
}

/* What is to be sent cannot be kept: the entry is told what can be told without memory. */
void call_add(struct core *core, struct call *call, struct wire_message *m)
{
    m->epoch = call->epoch;
    m->name = call->name;
    if (answer_add(&call->answer, core->links, m, &core->budget) == 0)
        return;
    if (!lane_is_none(call->answer.lane)) {
        struct wire_message cut = {.kind = WIRE_END, .name = call->name, .epoch = m->epoch};
        cut.end.end = MESH_END_CUT;
        cut.end.why = MESH_FULL;
        (void)links_send(core->links, call->answer.lane, LINKS_OWNER, &cut);
        links_close(core->links, call->answer.lane, LINKS_OWNER);
    }
    call_forget_name(core, call); /* should it not hear even that, and ask by this name */
    answer_drop(&call->answer);
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

void call_add_head(struct core *core, struct call *call, int status, enum mesh_form form,
                   struct slice lines)
{
    call->has_head = true;
    call->form = form;
    call->is_held = (form == MESH_FORM_JSON || form == MESH_FORM_NONE) &&
                    slice_keep(&call->held_lines, lines, &core->budget) == 0;
    call->held_status = status;
    if (!call->is_held)
        call_send_head(core, call, WIRE_HEAD, status, lines, (struct slice){0});
}

void call_add_text(struct core *core, struct call *call, enum wire_kind kind, struct slice text,
                   bool answers)
{
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

void call_set_timer(struct core *core, struct call *call, uint64_t at_ms)
{
    if (heap_set(&core->serve.timers, &call->timer, at_ms) < 0)
        core->serve.lacks_timers = true;
}

void call_end(struct core *core, struct call *call, enum mesh_end end, enum mesh_reason why,
              uint64_t now_ms)
{
    if (call->is_ended)
        return;
    struct session *session = session_at(core, call->session);
    if (session != NULL && !session->is_announced && handle_equal(session->creator, call->self)) {
        upcall_unbind(core, call); /* its initialize came to nothing */
        session = NULL;
    }
    call->is_ended = true;
    list_remove(&call->by_up);
    list_init(&call->by_up);
    call_add_end(core, call, end, why);
    call_keep_nothing(call);
    if (session != NULL) {
        session->calls_open--;
        session_touch(core, session, now_ms);
        if (handle_equal(session->listen, call->self))
            session->listen = (struct handle){0};
    } else {
        upcall_close(core, call->up); /* an upstream of this request alone */
    }
    if (call->answer.is_dropped)
        call_free(core, call);
    else if (call->detached_ms != 0)
        call_set_timer(core, call, now_ms + SERVE_DETACHED_MS);
    else
        heap_remove(&core->serve.timers, &call->timer);
}

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

/* A session that is not ours: whoever asked is told what we know; it asks the others. */
static void serve_elsewhere(struct core *core, struct lane lane, const struct wire_message *open,
                            uint64_t now_ms)
{
    struct owner_found found;
    owner_resolve(core, &open->session, &found, now_ms);
    struct wire_message m = {.kind = WIRE_MOVED};
    switch (found.verdict) {
    case OWNER_THERE:
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
    case OWNER_HERE:
        serve_defer(core, lane, open);
        break;
    }
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
    heap_remove(&core->serve.timers, &call->timer);
    core->stats.attached++;
    size_t freed = answer_attach(&call->answer, core->links, lane, open->open.received);
    if (!call->is_ended)
        upcall_room(core, call, freed); /* the lost lane cannot acknowledge it any more */
    if (call->want == MESH_LISTEN && !call->is_ended && call->up_call == 0)
        upcall_listen(core, call);
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
        if (other->rpc.kind == RPC_REQUEST && other->want == MESH_CALL && other->id_hash == id_hash)
            return true;
    }
    return false;
}

/* Which reason keeps this request from running here, MESH_OK if none does. */
static enum mesh_reason serve_admit(struct core *core, const struct wire_message *open,
                                    struct session *session)
{
    const struct mesh_request *r = &open->open.request;
    if (session == NULL)
        return core->is_leaving && !affinity_is_here(core, r, open->payload) ? MESH_STOPPING
                                                                             : MESH_OK;
    if (memcmp(&session->who, &r->who, sizeof session->who) != 0) {
        core->stats.not_found_principal++;
        return MESH_SESSION_UNKNOWN;
    }
    if (session->calls_open >= SESSION_CALLS_MAX)
        return MESH_FULL;
    if (r->want != MESH_CALL)
        return MESH_OK;
    if (r->rpc.method == RPC_INITIALIZE && r->rpc.kind == RPC_REQUEST)
        return MESH_ALREADY_INITIALIZED;
    if (r->rpc.kind == RPC_BATCH && core->config.upstream != MESH_UP_HTTP)
        return MESH_NOT_SUPPORTED;
    return serve_id_is_open(core, session, open) ? MESH_ID_IN_USE : MESH_OK;
}

/* An attach to a name that is not known here. It never arrived, and may run now, unless part of
 * its answer is out (another run's answer would not go on where that one stopped), or we have
 * forgotten names of this entry and it may not run twice. */
static bool serve_cannot_resume(const struct core *core, const struct wire_message *open)
{
    if (open->open.request.want == MESH_LISTEN)
        return false;
    return open->open.received > 0 ||
           (serve_is_unsafe(core, open) && serve_has_forgotten(core, open->name.entry));
}

static void serve_open(struct core *core, const struct links_event *event, uint64_t now_ms)
{
    const struct wire_message *open = &event->message;
    const struct mesh_request *r = &open->open.request;
    struct session *session = NULL;
    struct call *call = call_by_name(core, &open->name);
    if (open->open.hops + 1u > core->stats.hops_max)
        core->stats.hops_max = open->open.hops + 1u;
    if (call != NULL && call->answer.is_dropped) {
        serve_refuse(core, event->lane, open, MESH_OUTCOME_UNKNOWN);
        return;
    }
    if (call != NULL) {
        serve_attach(core, call, event->lane, open, now_ms);
        return;
    }
    if (open->open.is_attach)
        links_cut(core->links, open->name.entry, open->open.lost_link, now_ms);
    if (open->open.is_attach && serve_cannot_resume(core, open)) {
        serve_refuse(core, event->lane, open, MESH_OUTCOME_UNKNOWN);
        return;
    }
    if (open->has_session) {
        session = session_find(core, &open->session);
        if (session == NULL) {
            serve_elsewhere(core, event->lane, open, now_ms);
            return;
        }
    }
    bool mints = session == NULL && r->want == MESH_CALL && r->era == MESH_LEGACY &&
                 r->rpc.method == RPC_INITIALIZE && r->rpc.kind == RPC_REQUEST;
    if (mints && !swim_may_mint(core->swim, now_ms)) {
        serve_defer(core, event->lane, open);
        return;
    }
    enum mesh_reason why = serve_admit(core, open, session);
    if (why != MESH_OK) {
        serve_refuse(core, event->lane, open, why);
        return;
    }
    call = call_new(core, open);
    if (call == NULL || upcall_prepare(core, call, session, mints, &r->who, now_ms) < 0) {
        if (call != NULL)
            call_free(core, call);
        serve_refuse(core, event->lane, open, MESH_FULL);
        return;
    }
    links_accept(core->links, event->lane, call->self);
    call->answer.lane = event->lane;
    upcall_start(core, call, now_ms);
}

/* ---- the entry's other words, and its lane -------------------------------------------------- */

/* In the legacy era a client that vanishes cancels nothing: the call goes on, its answer has no
 * reader. In the modern era closing the stream is cancellation, and so is every other way in which
 * nobody is left that waits. */
static void serve_abandon(struct core *core, struct call *call, uint64_t now_ms)
{
    if (!lane_is_none(call->answer.lane))
        links_close(core->links, call->answer.lane, LINKS_OWNER);
    answer_drop(&call->answer);
    if (call->is_ended) {
        call_free(core, call);
        return;
    }
    if (call->want == MESH_LISTEN || call->era == MESH_MODERN || call->want == MESH_PASS) {
        upcall_cancel(core, call);
        call_end(core, call, MESH_END_CUT, MESH_OK, now_ms);
    } else {
        upcall_room(core, call, MESH_UP_ROOM_FIRST); /* nobody's taking will make room */
    }
}

void serve_on_message(struct core *core, const struct links_event *event, uint64_t now_ms)
{
    struct call *call = call_at(core, event->user);
    /* an entry's words are taken by being read: a large body would leave no room for its last one
     */
    links_consumed(core->links, event->lane, LINKS_OWNER, event->bytes);
    if (event->message.kind == WIRE_OPEN) {
        if (call == NULL) /* a lane carries one request */
            serve_open(core, event, now_ms);
        return;
    }
    if (call == NULL || !lane_equal(call->answer.lane, event->lane))
        return;
    if (event->message.kind == WIRE_CANCEL || event->message.kind == WIRE_DONE)
        serve_abandon(core, call, now_ms);
}

void serve_on_consumed(struct core *core, const struct links_event *event, uint64_t now_ms)
{
    struct call *call = call_at(core, event->user);
    (void)now_ms;
    if (call == NULL || !lane_equal(call->answer.lane, event->lane))
        return;
    size_t freed = answer_consumed(&call->answer, event->total);
    if (freed > 0 && !call->is_ended)
        upcall_room(core, call, freed);
}

/* Its entry attaches within the time that it waits for us, or has told its client an end. What
 * closing cancels is not left to run for nobody; the rest of the legacy era goes on. */
static bool call_ends_detached(const struct call *call)
{
    return call->is_ended || call->want == MESH_LISTEN || call->era == MESH_MODERN;
}

void serve_on_lane_lost(struct core *core, const struct links_event *event, uint64_t now_ms)
{
    struct call *call = call_at(core, event->user);
    if (call == NULL || !lane_equal(call->answer.lane, event->lane))
        return;
    answer_detach(&call->answer);
    call->detached_ms = now_ms;
    if (call_ends_detached(call))
        call_set_timer(core, call, now_ms + SERVE_DETACHED_MS);
}

void serve_entry_gone(struct core *core, struct peer_id entry, uint64_t now_ms)
{
    struct handle h;
    for (uint32_t slot = 0; slot < pool_span(&core->serve.calls); slot++) {
        struct call *call = pool_slot(&core->serve.calls, slot, &h);
        if (call == NULL || call->answer.is_dropped || !peer_id_equal(call->name.entry, entry))
            continue;
        call_forget_name(core, call);
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

void serve_end_session(struct core *core, struct session *session, enum mesh_reason why,
                       uint64_t now_ms)
{
    struct handle self = session->self;
    struct upstream *up = upstream_at(core, session->up);
    while (up != NULL && !list_is_empty(&up->calls)) {
        struct call *call = container_of(list_first(&up->calls), struct call, by_up);
        bool is_listen = call->want == MESH_LISTEN;
        call_end(core, call, call->is_answered ? MESH_END_WHOLE : MESH_END_CUT,
                 call->is_answered ? MESH_OK
                 : is_listen       ? MESH_SESSION_ENDED
                                   : why,
                 now_ms);
    }
    session = session_at(core, self);
    if (session == NULL)
        return; /* it was still being made, and went with its initialize */
    if (session->is_announced) {
        core->stats.sessions_closed++;
        core_tell(core, MESH_SESSION_CLOSED, core_self(core), MEMBER_ALIVE,
                  key_log_hash(&core->keys, &session->id));
    }
    upcall_close(core, session->up);
    session_free(core, session);
}

void serve_leave(struct core *core, uint64_t now_ms)
{
    struct handle h;
    for (uint32_t slot = 0; slot < pool_span(&core->serve.calls); slot++) {
        struct call *call = pool_slot(&core->serve.calls, slot, &h);
        if (call == NULL || call->is_ended || !request_is_stream(call->want, &call->rpc))
            continue;
        upcall_cancel(core, call);
        call_end(core, call, MESH_END_CUT, MESH_STOPPING, now_ms);
    }
}

bool serve_is_idle(const struct core *core)
{
    struct handle h;
    for (uint32_t slot = 0; slot < pool_span(&core->serve.calls); slot++) {
        const struct call *call = pool_slot(&core->serve.calls, slot, &h);
        if (call != NULL && !call->is_ended)
            return false;
    }
    return true;
}

static void serve_call_due(struct core *core, struct call *call, uint64_t now_ms)
{
    heap_remove(&core->serve.timers, &call->timer);
    if (call->detached_ms != 0 && call->detached_ms + SERVE_DETACHED_MS <= now_ms) {
        call_forget_name(core, call);
        serve_abandon(core, call, now_ms);
    } else if (call->want == MESH_LISTEN && !call->is_ended) {
        upcall_listen(core, call);
    }
}

/* Some could not be set for want of memory: who needs one gets it now. */
static void serve_set_timers(struct core *core, uint64_t now_ms)
{
    struct handle h;
    core->serve.lacks_timers = false;
    for (uint32_t slot = 0; slot < pool_span(&core->serve.calls); slot++) {
        struct call *call = pool_slot(&core->serve.calls, slot, &h);
        bool is_listen = call != NULL && call->want == MESH_LISTEN && !call->is_ended;
        if (call == NULL || call->timer.index != 0)
            continue;
        if (call->detached_ms != 0 && call_ends_detached(call))
            call_set_timer(core, call, now_ms + SERVE_DETACHED_MS);
        else if (is_listen && call->up_call == 0)
            upcall_listen(core, call);
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
    while ((session = session_next_expired(core, now_ms)) != NULL)
        serve_end_session(core, session, MESH_SESSION_ENDED, now_ms);
}

uint64_t serve_deadline_ms(const struct core *core)
{
    uint64_t calls = heap_deadline_ms(&core->serve.timers);
    uint64_t sessions = heap_deadline_ms(&core->sessions.expiries);
    uint64_t again = core->serve.now_ms + SERVE_MEMORY_RETRY_MS;
    if (core->serve.lacks_timers && again < calls)
        calls = again;
    return calls < sessions ? calls : sessions;
}
