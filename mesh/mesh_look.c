/* mesh_look.c - questions to the core: members, sessions, counters, levels. Nothing changes. */
#include "mesh/mesh_inside.h"

_Static_assert(MESH_HOLDERS_SEEN == COPIES_HOLDERS_MAX, "all of them are shown");

void mesh_why(struct mesh *m, const char *id_text, size_t length, struct mesh_why *why,
              uint64_t now_ms)
{
    struct session_id id;
    owner_why(&m->core, slice_borrow(id_text, length), why, now_ms);
    if (why->genuine && key_read(&id, slice_borrow(id_text, length)))
        mesh_session_hash(m, &id, why->id_hash);
}

bool mesh_tenure_of(struct mesh *m, const char *id_text, size_t length, struct mesh_tenure *tenure)
{
    struct session_id id;
    memset(tenure, 0, sizeof *tenure);
    if (!key_read(&id, slice_borrow(id_text, length)))
        return false;
    const struct session *session = session_find(&m->core, &id);
    if (session == NULL)
        session = session_find_copy(&m->core, &id);
    if (session == NULL)
        return false;
    tenure->is_copy = session->is_copy;
    tenure->is_dormant = !session->is_copy && handle_is_none(session->up);
    tenure->was_handed = !session->is_copy && session->was_handed;
    tenure->epoch = session->epoch;
    tenure->promised = session->promised;
    tenure->version = session->version;
    for (size_t n = 0; !session->is_copy && n < COPIES_HOLDERS_MAX; n++) {
        const struct holder *holder = &session->holders[n];
        if (peer_id_is_nobody(holder->peer))
            continue;
        tenure->holders[tenure->holders_count].peer = holder->peer;
        tenure->holders[tenure->holders_count++].acked = holder->acked;
    }
    return true;
}

struct mesh_epoch mesh_heard_of(const struct mesh *m, const char *id_text, size_t length)
{
    struct session_id id;
    if (!key_read(&id, slice_borrow(id_text, length)))
        return (struct mesh_epoch){0};
    return owner_hint(&m->core, &id);
}

uint64_t mesh_heard_count(const struct mesh *m)
{
    return m->core.owner.risen;
}

bool mesh_knows_deleted(struct mesh *m, const char *id_text, size_t length, uint64_t now_ms)
{
    struct session_id id;
    return key_read(&id, slice_borrow(id_text, length)) && tombs_is_final(&m->core, &id, now_ms);
}

const struct mesh_member *mesh_self(const struct mesh *m)
{
    return view_self(m->core.view);
}

size_t mesh_members(const struct mesh *m, struct mesh_member *members, size_t members_max)
{
    size_t count = view_count(m->core.view);
    for (size_t n = 0; n < count && n < members_max; n++) {
        members[n] = *view_at(m->core.view, n);
        if (peer_id_equal(members[n].record->id, core_self(&m->core)))
            members[n].load = m->core.sessions.owned; /* nobody tells us our own */
    }
    return count;
}

const struct mesh_member *mesh_member_of(const struct mesh *m, struct peer_id id)
{
    return view_find(m->core.view, id);
}

uint64_t mesh_view_hash(const struct mesh *m)
{
    return view_hash(m->core.view);
}

bool mesh_is_joined(const struct mesh *m)
{
    return swim_is_joined(m->core.swim);
}

void mesh_session_hash(const struct mesh *m, const struct session_id *id, char hex[9])
{
    static const char digits[] = "0123456789abcdef";
    uint64_t hash = key_log_hash(&m->core.keys, id);
    for (int n = 0; n < 8; n++)
        hex[n] = digits[hash >> (4 * (7 - n)) & 0x0f];
    hex[8] = '\0';
}

size_t mesh_sessions(const struct mesh *m, uint32_t from, struct mesh_session_info *infos,
                     size_t infos_max)
{
    size_t count = 0;
    struct handle h;
    const struct pool *pool = &m->core.sessions.pool;
    for (uint32_t slot = from; slot < pool_span(pool) && count < infos_max; slot++) {
        const struct session *session = pool_slot(pool, slot, &h);
        if (session == NULL || session->is_copy || !session->is_announced)
            continue;
        struct mesh_session_info *info = &infos[count++];
        mesh_session_hash(m, &session->id, info->id_hash);
        info->slot = slot;
        info->epoch = session->epoch;
        info->opened_ms = session->opened_ms;
        info->used_ms = session->used_ms;
        info->exchanges_open = session->calls_open;
        info->streams_open = session->own == NULL || handle_is_none(session->own->reader) ? 0 : 1;
        info->calls = session->calls_total;
        info->was_handed = session->was_handed;
    }
    return count;
}

bool mesh_up_fails(const struct mesh *m)
{
    return m->core.breaker.is_open;
}

void mesh_stats(const struct mesh *m, struct mesh_stats *stats)
{
    const struct core *core = &m->core;
    struct swim_stats swim;
    swim_stats(core->swim, &swim);
    *stats = core->stats;
    stats->datagrams_stale = swim.stale;
    stats->suspected = swim.suspected;
    stats->declared_dead = swim.declared_dead;
    stats->hearsay_asked = swim.hearsay_asked;
    stats->hearsay_denied = swim.hearsay_denied;
    stats->unproved = swim.unproved;
    stats->refuted = swim.refuted;
    stats->sessions = core->sessions.owned;
    stats->exchanges = pool_count(&core->entry.exchanges);
    stats->links = links_count(core->links);
    stats->members_alive = (uint32_t)view_living(core->view);
    stats->parked = core->entry.parked_count;
    stats->memory_used = core->budget.used;
    stats->copies_held = pool_count(&core->sessions.pool) - core->sessions.owned;
    stats->copies_bytes = core->copies.bytes;
}

void mesh_copied(const struct mesh *m, uint32_t counts[3])
{
    const struct core *core = &m->core;
    struct handle h;
    counts[0] = counts[1] = counts[2] = 0;
    for (uint32_t slot = 0; slot < pool_span(&core->sessions.pool); slot++) {
        const struct session *session = pool_slot(&core->sessions.pool, slot, &h);
        if (session == NULL || session->is_copy)
            continue;
        uint32_t whole = copies_whole(core, session);
        counts[whole < 2 ? whole : 2]++;
    }
}

/* What of the budget is a session's for its successor, beside its logs and its handshake. */
static size_t mesh_record_bytes(const struct session *session)
{
    size_t bytes = session->level.length;
    LIST_EACH (at, &session->subscriptions)
        bytes += container_of(at, struct subscription, in_session)->uri.length;
    LIST_EACH (at, &session->questions)
        bytes += container_of(at, struct question, in_session)->id.length;
    LIST_EACH (at, &session->streams)
        bytes += container_of(at, struct event_stream, in_session)->request.length;
    return bytes;
}

void mesh_levels(const struct mesh *m, struct mesh_levels *levels)
{
    const struct core *core = &m->core;
    struct handle h;
    memset(levels, 0, sizeof *levels);
    levels->exchanges = pool_count(&core->entry.exchanges);
    levels->calls = pool_count(&core->serve.calls);
    levels->names = table_count(&core->serve.by_name);
    levels->sessions = core->sessions.owned;
    levels->upstreams = pool_count(&core->serve.upstreams);
    levels->memory_used = core->budget.used;
    levels->log_bytes = core->streams.bytes;
    levels->copies = pool_count(&core->sessions.pool) - core->sessions.owned;
    levels->record_bytes = core->sessions.interns.bytes;
    for (uint32_t slot = 0; slot < pool_span(&core->sessions.pool); slot++) {
        const struct session *session = pool_slot(&core->sessions.pool, slot, &h);
        if (session != NULL)
            levels->record_bytes += mesh_record_bytes(session);
    }
    for (uint32_t slot = 0; slot < pool_span(&core->serve.calls); slot++) {
        const struct call *call = pool_slot(&core->serve.calls, slot, &h);
        if (call != NULL)
            levels->messages_kept += call->answer.count - call->answer.number;
    }
}
