/* entry.c - the client's side of an exchange, as a small state machine: PARKED until its owner
 * can be asked, ASKED while an answer may come on its lane, then exactly one end. Whom it asks
 * stands in exchange_route.c, what it hears in exchange_hear.c, what its client is told in
 * exchange.c. */
#include "mesh/session/entry.h"

#include "mesh/session/core.h"
#include "mesh/session/exchange.h"
#include "mesh/session/place.h"

#define EXCHANGE_MEMORY_RETRY_MS 20

void entry_init(struct core *core)
{
    struct entry *e = &core->entry;
    memset(e, 0, sizeof *e);
    list_init(&e->parked);
    heap_init(&e->timers);
    pool_init(&e->exchanges, sizeof(struct exchange), core->config.exchanges_max);
}

void entry_deinit(struct core *core)
{
    struct entry *e = &core->entry;
    struct handle h;
    for (uint32_t slot = 0; slot < pool_span(&e->exchanges); slot++) {
        struct exchange *x = pool_slot(&e->exchanges, slot, &h);
        if (x != NULL)
            exchange_keep_nothing(x);
    }
    heap_deinit(&e->timers);
    pool_deinit(&e->exchanges);
}

bool entry_may_tell(struct core *core, struct handle h, bool is_end)
{
    struct exchange *x = pool_at(&core->entry.exchanges, h);
    if (x != NULL && is_end)
        exchange_free(core, x);
    return x != NULL;
}

/* ---- facts from the client ------------------------------------------------------------------ */

/* An id that is none, one of another's session here, and one of a session that its client deleted
 * are told to be unknown after the same work: how long that takes says nothing of which it is.
 * Where we know better at once, the work is done for that alone. */
static bool exchange_is_refused(struct core *core, const struct exchange *x,
                                const struct session *session, struct slice text, bool is_known,
                                uint64_t now_ms)
{
    struct session_id again;
    if (session != NULL && principal_equal(&session->who, &x->request.who))
        return false;
    bool is_foreign = session != NULL;
    bool is_deleted = tombs_is_final(core, &x->session, now_ms) && !is_foreign;
    if (!is_foreign && !is_deleted)
        return false;
    if (is_known)
        (void)key_read(&again, text);
    (void)key_verify_anew(&core->keys, &x->session);
    if (place_is_new_session(&x->request))
        return true; /* it is dropped, and nothing told */
    core->stats.not_found_principal += is_foreign;
    core->stats.not_found_ended += is_deleted;
    return true;
}

/* Which session is asked for. False: one that is told to be unknown; nobody is asked about it. */
static bool exchange_read_key(struct core *core, struct exchange *x, const struct mesh_key *key,
                              uint64_t now_ms)
{
    bool is_new = place_is_new_session(&x->request);
    if (key->kind != MESH_KEY_SESSION || x->request.era == MESH_MODERN ||
        x->request.want == MESH_PASS)
        return true;
    bool is_known = key_recall(&core->keys, &x->session, key->text);
    bool is_read = is_known || key_read(&x->session, key->text);
    const struct session *session = is_read ? session_find(core, &x->session) : NULL;
    bool is_here = session != NULL;
    if (is_read && exchange_is_refused(core, x, session, key->text, is_known, now_ms))
        return is_new;
    if (!is_known && !is_here && !(is_read && key_verify(&core->keys, &x->session))) {
        core->stats.not_found_foreign += !is_new;
        return is_new;
    }
    if (!is_known)
        key_remember(&core->keys, &x->session, key->text);
    if (is_here) {
        x->owner = core_self(core); /* no need to ask who owns it */
        x->epoch = session->epoch;
        x->is_told = true;
    }
    x->has_session = true;
    return true;
}

struct handle entry_open(struct core *core, const struct mesh_request *request, uint64_t now_ms)
{
    struct entry *e = &core->entry;
    struct handle h;
    struct exchange *x = pool_take(&e->exchanges, &h);
    if (x == NULL)
        return (struct handle){0};
    x->self = h;
    x->request = *request;
    x->request.method = x->request.target = x->request.head = x->request.body = (struct slice){0};
    x->request.key = (struct mesh_key){0};
    x->request.last_event_id = (struct slice){0};
    x->has_position = request->want == MESH_LISTEN && request->last_event_id.length > 0;
    if (x->has_position)
        (void)event_id_read(&x->position, request->last_event_id);
    x->give_up_ms = x->retry_at_ms = x->grace_ms = MESH_NEVER;
    x->state = EXCHANGE_ASKED;
    if (slice_keep(&x->request.method, request->method, &core->budget) < 0 ||
        slice_keep(&x->request.target, request->target, &core->budget) < 0 ||
        slice_keep(&x->request.head, request->head, &core->budget) < 0 ||
        slice_keep(&x->request.body, request->body, &core->budget) < 0) {
        exchange_keep_nothing(x);
        pool_give(&e->exchanges, h);
        return (struct handle){0};
    }
    x->risen = UINT64_MAX; /* nothing was looked up */
    x->name = (struct exchange_name){core_self(core), ++e->counter};
    x->affinity = affinity_of(core, request);
    if (!exchange_read_key(core, x, &request->key, now_ms)) {
        exchange_fail(core, x, MESH_SESSION_UNKNOWN);
        return h;
    }
    if (!rate_allows(core, request, x->has_session ? &x->session : NULL, now_ms)) {
        exchange_fail(core, x, MESH_RATE_LIMITED);
        return h;
    }
    /* but for one that shows the last event of its stream: its answer is 405 (mcp.md §4.2) */
    if (request->want == MESH_LISTEN && x->has_session && !x->position.is_last)
        x->grace_ms = now_ms + ENTRY_LISTEN_GRACE_MS;
    exchange_set_timer(core, x);
    exchange_enter(core, x, EXCHANGE_PARKED);
    exchange_try(core, x, now_ms);
    if (peer_id_equal(x->owner, core_self(core)) && !lane_is_none(x->lane))
        core->stats.exchanges_owned++;
    else if (!lane_is_none(x->lane))
        core->stats.exchanges_forwarded++;
    return h;
}

void entry_taken(struct core *core, struct handle h, size_t bytes, uint64_t now_ms)
{
    struct exchange *x = pool_at(&core->entry.exchanges, h);
    (void)now_ms;
    if (x == NULL)
        return;
    /* what came on an earlier lane is not this one's to acknowledge */
    size_t stale = bytes < x->stale_bytes ? bytes : x->stale_bytes;
    x->stale_bytes -= stale;
    bytes -= stale;
    if (bytes > x->unread_bytes)
        bytes = x->unread_bytes;
    x->unread_bytes -= bytes;
    links_consumed(core->links, x->lane, LINKS_ENTRY, bytes);
}

void entry_close(struct core *core, struct handle h, uint64_t now_ms)
{
    struct exchange *x = pool_at(&core->entry.exchanges, h);
    (void)now_ms;
    if (x == NULL)
        return;
    if (x->state != EXCHANGE_ENDED)
        exchange_leave_lane(core, x, WIRE_CANCEL);
    exchange_free(core, x);
}

/* ---- time ----------------------------------------------------------------------------------- */

void entry_wake(struct core *core)
{
    core->entry.is_woken = true;
}

static void exchange_due(struct core *core, struct exchange *x, uint64_t now_ms)
{
    if (x->state == EXCHANGE_BROKEN) {
        exchange_end(core, x, MESH_END_CUT, MESH_FULL);
        if (x->state == EXCHANGE_BROKEN) {
            x->retry_at_ms = now_ms + EXCHANGE_MEMORY_RETRY_MS;
            exchange_set_timer(core, x);
        }
        return;
    }
    if (x->grace_ms <= now_ms)
        exchange_grant_grace(core, x);
    if (x->state == EXCHANGE_PARKED && (x->retry_at_ms <= now_ms || x->give_up_ms <= now_ms))
        exchange_try(core, x, now_ms);
    if (x->state == EXCHANGE_ENDED)
        return;
    if (x->state == EXCHANGE_ASKED)
        x->retry_at_ms = MESH_NEVER;
    else if (x->retry_at_ms <= now_ms)
        x->retry_at_ms = now_ms + ENTRY_RETRY_FIRST_MS;
    exchange_set_timer(core, x);
}

/* Some could not be set for want of memory. */
static void entry_set_timers(struct core *core)
{
    struct handle h;
    core->entry.lacks_timers = false;
    for (uint32_t slot = 0; slot < pool_span(&core->entry.exchanges); slot++) {
        struct exchange *x = pool_slot(&core->entry.exchanges, slot, &h);
        if (x != NULL && x->state != EXCHANGE_ENDED)
            exchange_set_timer(core, x);
    }
}

void entry_now(struct core *core, uint64_t now_ms)
{
    struct entry *e = &core->entry;
    struct heap_node *node;
    e->now_ms = now_ms;
    if (e->lacks_timers)
        entry_set_timers(core);
    /* A try may wake others (a search that ended at once); each round ends or parks them, and the
     * next turn goes on where this one stopped. */
    for (int round = 0; e->is_woken && round < 4; round++) {
        e->is_woken = false;
        uint32_t waiting = e->parked_count;
        while (waiting-- > 0 && !list_is_empty(&e->parked)) {
            struct exchange *x = container_of(list_first(&e->parked), struct exchange, parked);
            list_remove(&x->parked);
            list_push_back(&e->parked, &x->parked);
            exchange_try(core, x, now_ms);
        }
    }
    while ((node = heap_first(&e->timers)) != NULL && node->at_ms <= now_ms)
        exchange_due(core, container_of(node, struct exchange, timer), now_ms);
}

uint64_t entry_deadline_ms(const struct core *core)
{
    const struct entry *e = &core->entry;
    uint64_t timers = heap_deadline_ms(&e->timers);
    uint64_t again = e->lacks_timers ? e->now_ms + EXCHANGE_MEMORY_RETRY_MS : MESH_NEVER;
    if (e->is_woken)
        return 0;
    return timers < again ? timers : again;
}

static bool exchange_is_over(const struct exchange *x)
{
    return x->state == EXCHANGE_BROKEN || x->state == EXCHANGE_ENDED;
}

/* The stream of HTTP+SSE of a session of ours ends when its requests are over (serve_leave). */
static bool exchange_is_own_single(const struct core *core, const struct exchange *x)
{
    return x->request.want == MESH_SSE && x->state == EXCHANGE_ASKED &&
           peer_id_equal(x->owner, core_self(core));
}

void entry_leave(struct core *core)
{
    struct handle h;
    for (uint32_t slot = 0; slot < pool_span(&core->entry.exchanges); slot++) {
        struct exchange *x = pool_slot(&core->entry.exchanges, slot, &h);
        if (x == NULL || exchange_is_over(x) || exchange_is_own_single(core, x))
            continue;
        if (x->request.want == MESH_LISTEN && x->head_out)
            exchange_end(core, x, x->has_position ? MESH_END_LATER : MESH_END_WHOLE, MESH_OK);
        else if (exchange_is_held_stream(x) || x->request.rpc.method == RPC_LISTEN)
            exchange_stop(core, x, MESH_STOPPING);
    }
}

bool entry_is_idle(const struct core *core)
{
    struct handle h;
    for (uint32_t slot = 0; slot < pool_span(&core->entry.exchanges); slot++) {
        const struct exchange *x = pool_slot(&core->entry.exchanges, slot, &h);
        if (x != NULL && !exchange_is_own_single(core, x))
            return false;
    }
    return true;
}

void entry_end_all(struct core *core)
{
    struct handle h;
    for (uint32_t slot = 0; slot < pool_span(&core->entry.exchanges); slot++) {
        struct exchange *x = pool_slot(&core->entry.exchanges, slot, &h);
        if (x != NULL && !exchange_is_over(x))
            exchange_stop(core, x, MESH_STOPPING);
    }
}
