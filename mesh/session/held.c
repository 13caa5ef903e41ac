/* held.c - copies of other peers' sessions, at us. */
#include <errno.h>

#include "mesh/session/copies_inside.h"
#include "mesh/session/core.h"
#include "mesh/session/record.h"

#define HELD_EPOCH_MAX (UINT64_C(1) << 48) /* of a session that we have never heard of */

/* ---- what we say ---------------------------------------------------------------------------- */

static void held_say(struct core *core, struct peer_id owner, const struct session_id *id,
                     uint64_t epoch, uint64_t version, unsigned flags, uint64_t now_ms)
{
    struct wire_entry entry = {.session = *id, .flags = flags, .epoch = epoch, .version = version};
    copies_collect(core, owner, WIRE_COPIED, &entry, now_ms);
}

/* At once: its owner has to do something. */
static void held_complain(struct core *core, struct peer_id owner, const struct session_id *id,
                          uint64_t epoch, unsigned flags, uint64_t now_ms)
{
    held_say(core, owner, id, epoch, 0, flags, now_ms);
    copies_post(core, now_ms);
}

void held_acknowledge(struct core *core, uint64_t now_ms)
{
    struct copies *c = &core->copies;
    while (!list_is_empty(&c->acks)) {
        struct session *copy = container_of(list_first(&c->acks), struct session, copying.in_work);
        list_remove(&copy->copying.in_work);
        held_say(core, copy->epoch.owner, &copy->id, copy->epoch.counter, copy->version, 0, now_ms);
    }
    c->acks_ms = MESH_NEVER;
    copies_post(core, now_ms);
}

static void held_ack(struct core *core, struct session *copy, bool is_urgent, uint64_t now_ms)
{
    struct copies *c = &core->copies;
    if (!list_is_linked(&copy->copying.in_work))
        list_push_back(&c->acks, &copy->copying.in_work);
    if (c->acks_ms == MESH_NEVER)
        c->acks_ms = now_ms + COPIES_ACK_MS;
    if (is_urgent)
        held_acknowledge(core, now_ms);
}

void copies_yielded(struct core *core, struct session *copy, uint64_t now_ms)
{
    strays_begin(core, copy, now_ms);
    if (!peer_id_equal(copy->epoch.owner, core_self(core)))
        copies_lack(core, copy, now_ms);
}

void copies_lack(struct core *core, const struct session *copy, uint64_t now_ms)
{
    held_complain(core, copy->epoch.owner, &copy->id, copy->epoch.counter, WIRE_ENTRY_LACKS,
                  now_ms);
}

/* ---- what is taken -------------------------------------------------------------------------- */

static bool held_has_room(const struct core *core)
{
    uint32_t copies = pool_count(&core->sessions.pool) - core->sessions.owned;
    return copies / COPIES_HOLDERS_MAX < core->config.sessions_max &&
           core->copies.bytes < core->config.memory_max / 4;
}

/* May `from` tell us of this session in this epoch? Its owner may, unless a higher epoch is known
 * (takeover.h); others, of what is newer than ours, since in a round records come from whoever has
 * them. */
static bool held_may_tell(struct core *core, struct peer_id from, const struct session_id *id,
                          struct mesh_epoch epoch, uint64_t now_ms)
{
    const struct session *copy = session_find_copy(core, id);
    uint64_t max = copy != NULL ? copy->epoch.counter + COPIES_EPOCHS_JUMP : HELD_EPOCH_MAX;
    if (epoch.counter == 0 || epoch.counter > max)
        return false;
    if (peer_id_equal(epoch.owner, from))
        return takeover_heard(core, from, id, epoch, now_ms);
    return session_find(core, id) == NULL &&
           (copy == NULL || mesh_epoch_compare(epoch, copy->epoch) >= 0);
}

/* Whose copy this was may own the session still, cut off from who owns it now, and takes what it
 * was told of us for true. */
static void held_tell_former(struct core *core, const struct session_id *id,
                             struct mesh_epoch former, struct mesh_epoch higher, uint64_t now_ms)
{
    if (!peer_id_equal(former.owner, higher.owner) &&
        !peer_id_equal(former.owner, core_self(core)) &&
        takeover_life(core, former.owner, now_ms) == ROUNDS_LIVES)
        fence_tell(core, former.owner, id, former, higher, now_ms);
}

/* The whole record. False: no room, or it makes no sense. */
static bool held_take_whole(struct core *core, struct session *copy, const struct wire_message *m,
                            uint64_t now_ms)
{
    bool is_new = copy == NULL;
    if (is_new && held_has_room(core))
        copy = session_new_copy(core, &m->session, now_ms);
    if (copy == NULL)
        return false;
    struct mesh_epoch before = copy->epoch;
    copy->epoch = m->epoch; /* its streams' ids are of it */
    if (record_read(core, copy, RECORD_WHOLE, m->payload, now_ms) < 0) {
        copy->epoch = before;
        if (is_new)
            session_free(core, copy);
        return false;
    }
    owner_learn(core, &copy->id, copy->epoch);
    if (!is_new)
        held_tell_former(core, &copy->id, before, copy->epoch, now_ms);
    copy->version = m->copy.version;
    if (core->copies.digest_ms == MESH_NEVER)
        core->copies.digest_ms = now_ms + COPIES_DIGEST_MS;
    return true;
}

static void held_on_whole(struct core *core, struct peer_id from, struct session *copy,
                          const struct wire_message *m, uint64_t now_ms)
{
    bool is_owner = peer_id_equal(m->epoch.owner, from);
    bool is_known = copy != NULL && mesh_epoch_compare(m->epoch, copy->epoch) == 0 &&
                    m->copy.version <= copy->version;
    bool is_good = is_known || held_take_whole(core, copy, m, now_ms);
    copy = session_find_copy(core, &m->session);
    if (copy != NULL && !is_known && is_good && !is_owner)
        strays_begin(core, copy, now_ms);
    if (!is_owner)
        return;
    if (copy != NULL && is_good)
        strays_confirm(copy, now_ms);
    if (is_good && copy != NULL)
        held_ack(core, copy, m->copy.wants_ack, now_ms);
    else
        held_complain(core, from, &m->session, m->epoch.counter, WIRE_ENTRY_REFUSED, now_ms);
}

/* One more event of one of its streams. */
static bool held_take_event(struct core *core, struct session *copy, const struct wire_message *m,
                            uint64_t now_ms)
{
    struct event_stream *stream = event_stream_find(copy, m->copy.stream);
    struct logged event = {.text = m->payload,
                           .why = m->copy.why,
                           .answers = m->copy.answers,
                           .is_last = m->copy.is_last};
    event.text.buf = NULL; /* a small event must not pin what it was read from */
    if (stream == NULL && m->copy.stream == 0)
        stream = event_stream_make(core, copy, 0);
    if (stream == NULL)
        return m->copy.stream != 0; /* we have forgotten it, as its owner will */
    if (m->copy.number <= stream->log.number || m->copy.number == UINT64_MAX ||
        m->payload.length > RECORD_EVENT_MAX || stream->is_ended)
        return false;
    if (m->payload.length == 0) { /* too large to be copied */
        event_stream_skip(core, stream, m->copy.number + 1);
        return true;
    }
    if (m->copy.number != stream->log.number + 1)
        event_stream_skip(core, stream, m->copy.number);
    event_stream_add(core, stream, &event, now_ms);
    if (m->copy.delivered > stream->delivered && m->copy.delivered <= stream->log.number)
        stream->delivered = m->copy.delivered;
    return true;
}

static bool held_take_stream(struct core *core, struct session *copy, const struct wire_message *m,
                             uint64_t now_ms)
{
    struct event_stream *stream = event_stream_find(copy, m->copy.stream);
    struct slice id = m->payload;
    if (m->copy.is_last) {
        if (stream != NULL && !stream->is_ended && m->copy.stream != 0)
            event_stream_end(core, stream, now_ms);
        return true;
    }
    if (stream != NULL && m->copy.stream != 0) { /* its request may not run again any more */
        stream->is_safe = stream->is_safe && m->copy.is_safe;
        return true;
    }
    if (m->copy.stream <= copy->streams_count ||
        (id.length > 0 && !record_is_id(id, EVENT_STREAM_ID_MAX)))
        return false;
    copy->streams_count = m->copy.stream;
    if (copy->log_bytes > 2 * EVENT_STREAM_SESSION_MAX)
        return false; /* an owner keeps fewer */
    stream = event_stream_make(core, copy, m->copy.stream);
    if (stream == NULL)
        return false;
    id.buf = NULL;
    stream->is_safe = m->copy.is_safe;
    return slice_keep(&stream->request, id, &core->budget) == 0;
}

static bool held_take_change(struct core *core, struct session *copy, const struct wire_message *m,
                             uint64_t now_ms)
{
    if (m->kind == WIRE_COPY_EVENT)
        return held_take_event(core, copy, m, now_ms);
    if (m->kind == WIRE_COPY_STREAM)
        return held_take_stream(core, copy, m, now_ms);
    return record_read(core, copy, m->copy.parts, m->payload, now_ms) == 0;
}

/* The next version, in the epoch that we have: anything else than that is a gap. */
static void held_on_change(struct core *core, struct peer_id from, struct session *copy,
                           const struct wire_message *m, uint64_t now_ms)
{
    bool is_same = copy != NULL && mesh_epoch_compare(copy->epoch, m->epoch) == 0;
    if (!peer_id_equal(m->epoch.owner, from) || (is_same && m->copy.version <= copy->version))
        return;
    if (is_same && m->copy.version == copy->version + 1 &&
        held_take_change(core, copy, m, now_ms)) {
        copy->version++;
        strays_confirm(copy, now_ms);
        held_ack(core, copy, m->copy.wants_ack, now_ms);
        return;
    }
    held_complain(core, from, &m->session, m->epoch.counter, WIRE_ENTRY_LACKS, now_ms);
}

/* Its owner has it elsewhere. */
static void held_forget(struct core *core, struct session *copy, const struct wire_message *m,
                        struct peer_id from, uint64_t now_ms)
{
    int is_newer = copy != NULL ? mesh_epoch_compare(m->epoch, copy->epoch) : 0;
    if (!peer_id_equal(m->epoch.owner, from))
        return;
    owner_learn(core, &m->session, m->epoch); /* what comes late of an earlier one is not taken */
    if (copy != NULL && is_newer < 0)
        fence_tell(core, from, &m->session, m->epoch, copy->epoch, now_ms);
    if (copy == NULL || is_newer < 0 ||
        (is_newer == 0 && copy->version > m->copy.version)) /* another link: wanted again */
        return;
    if (peer_id_equal(copy->epoch.owner, core_self(core)))
        takeover_dismiss(core, copy, m->epoch, now_ms); /* it took back what we gave */
    held_tell_former(core, &copy->id, copy->epoch, m->epoch, now_ms);
    session_free(core, copy);
}

/* ---- comparisons ---------------------------------------------------------------------------- */

static void held_compare(struct core *core, struct peer_id from, const struct wire_entry *entry,
                         uint64_t now_ms)
{
    struct mesh_epoch epoch = {entry->epoch, from};
    uint64_t idle_ms, absolute_ms;
    bool is_known = session_find_copy(core, &entry->session) != NULL ||
                    session_find(core, &entry->session) != NULL;
    if (!is_known && !key_verify(&core->keys, &entry->session))
        return;
    if (tombs_ends(core, &entry->session, epoch, now_ms)) {
        tombs_say(core, from, &entry->session, now_ms);
        return;
    }
    if (!held_may_tell(core, from, &entry->session, epoch, now_ms))
        return;
    struct session *copy = session_find_copy(core, &entry->session);
    if (copy != NULL && mesh_epoch_compare(copy->epoch, epoch) == 0 &&
        copy->version >= entry->version) {
        session_left(core, copy, now_ms, &idle_ms, &absolute_ms);
        session_set_left(core, copy, entry->idle_ms, absolute_ms, now_ms);
        strays_confirm(copy, now_ms);
        return;
    }
    held_say(core, from, &entry->session, entry->epoch, 0, WIRE_ENTRY_LACKS, now_ms);
}

static void held_on_digest(struct core *core, struct peer_id from, struct slice entries,
                           uint64_t now_ms)
{
    struct wire_entry entry;
    while (wire_entry_read(&entry, &entries) > 0)
        held_compare(core, from, &entry, now_ms);
    copies_post(core, now_ms);
}

/* ---- messages ------------------------------------------------------------------------------- */

void held_on_message(struct core *core, struct peer_id from, const struct wire_message *m,
                     uint64_t now_ms)
{
    if (m->kind == WIRE_DIGEST) {
        held_on_digest(core, from, m->payload, now_ms);
        return;
    }
    if (!key_verify(&core->keys, &m->session))
        return;
    if (m->kind == WIRE_COPY && m->copy.parts == 0) {
        held_forget(core, session_find_copy(core, &m->session), m, from, now_ms);
        return;
    }
    if (tombs_ends(core, &m->session, m->epoch, now_ms)) {
        tombs_say(core, from, &m->session, now_ms);
        held_complain(core, from, &m->session, m->epoch.counter, WIRE_ENTRY_REFUSED, now_ms);
        return;
    }
    if (!held_may_tell(core, from, &m->session, m->epoch, now_ms))
        return;
    if (view_find(core->view, from) == NULL) /* it is asked of us before gossip tells of it */
        owner_meet(core, from, now_ms);
    tombs_forget(core, &m->session);
    struct session *copy = session_find_copy(core, &m->session);
    if (m->kind == WIRE_COPY && m->copy.parts == RECORD_WHOLE)
        held_on_whole(core, from, copy, m, now_ms);
    else
        held_on_change(core, from, copy, m, now_ms);
}

int copies_send(struct core *core, struct session *session, struct peer_id peer, uint64_t now_ms)
{
    const struct mesh_addr *addr = core_addr_of(core, peer);
    struct wire_message m = {.kind = WIRE_COPY, .session = session->id, .epoch = session->epoch};
    struct bytes *record = addr != NULL ? record_write(core, session, RECORD_WHOLE, now_ms) : NULL;
    if (record == NULL)
        return addr == NULL ? -EHOSTUNREACH : -ENOMEM;
    m.copy.version = session->version;
    m.copy.parts = RECORD_WHOLE;
    m.payload = slice_of(record, 0, record->length);
    int rc = links_tell(core->links, peer, addr, &m, now_ms);
    bytes_unref(record);
    return rc;
}
