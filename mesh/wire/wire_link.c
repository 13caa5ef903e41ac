/* wire_link.c - the codec of messages on links: kind, one flat array, payload. As in wire.c,
 * elements that a later version appends are skipped. */
#include "mesh/wire/wire.h"

#include <endian.h>
#include <errno.h>

#include "mesh/wire/codec.h"

#define FACTS_BYTES 10 /* of the packed rpc_message, before its spans */
#define SPANS_COUNT 11

/* Of what follows the head of a message that is neither OPEN nor BUCKETS_ARE. */
#define SMALL_KINDS_BYTES 96
#define FITS(part) (sizeof(((struct wire_message *)0)->part) <= SMALL_KINDS_BYTES)
_Static_assert(FITS(head) && FITS(text) && FITS(end) && FITS(not_yet) && FITS(ended) &&
                   FITS(task) && FITS(copy) && FITS(round) && FITS(view),
               "SMALL_KINDS_BYTES");

/* ---- the facts of a body -------------------------------------------------------------------- */

/* Packed: kind 1 | method 1 | fault 1 | flags 1 | batch_count 4 | present 2 | at 4, length 4 for
 * each span present; little-endian. */
static const size_t spans_at[SPANS_COUNT] = {
    offsetof(struct rpc_message, id),           offsetof(struct rpc_message, method_name),
    offsetof(struct rpc_message, name),         offsetof(struct rpc_message, progress_token),
    offsetof(struct rpc_message, cancels),      offsetof(struct rpc_message, version),
    offsetof(struct rpc_message, meta_version), offsetof(struct rpc_message, request_state),
    offsetof(struct rpc_message, task_id),      offsetof(struct rpc_message, related_task),
    offsetof(struct rpc_message, params),
};

static inline void write_le32(uint8_t *at, uint32_t n)
{
    uint32_t le = htole32(n);

    memcpy(at, &le, sizeof le);
}

static uint32_t read_le32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static size_t write_facts(uint8_t into[FACTS_BYTES + 8 * SPANS_COUNT],
                          const struct rpc_message *rpc, bool has_body)
{
    uint8_t *at = into + FACTS_BYTES;
    unsigned present = 0;

    into[0] = (uint8_t)rpc->kind;
    into[1] = (uint8_t)rpc->method;
    into[2] = rpc->fault == RPC_PARSE_ERROR ? 1 : rpc->fault == RPC_INVALID_REQUEST ? 2 : 0;
    into[3] = (uint8_t)((rpc->has_task ? 1u : 0u) | (rpc->batch_has_modern ? 2u : 0u));
    write_le32(into + 4, rpc->batch_count);
    for (unsigned i = 0; i < SPANS_COUNT && has_body; i++) {
        struct span span;
        memcpy(&span, (const char *)rpc + spans_at[i], sizeof span);
        if (span.length == 0)
            continue;
        present |= 1u << i;
        write_le32(at, span.at);
        write_le32(at + 4, span.length);
        at += 8;
    }
    into[8] = (uint8_t)present;
    into[9] = (uint8_t)(present >> 8);
    return (size_t)(at - into);
}

static int read_facts(struct rpc_message *rpc, struct slice facts, size_t body_length)
{
    static const int faults[] = {0, RPC_PARSE_ERROR, RPC_INVALID_REQUEST};
    const uint8_t *at = facts.at, *end = at + facts.length;

    memset(rpc, 0, sizeof *rpc);
    if (facts.length < FACTS_BYTES || at[0] > RPC_BATCH || at[1] > RPC_ROOTS_CHANGED || at[2] > 2)
        return -EBADMSG;
    rpc->kind = at[0];
    rpc->method = at[1];
    rpc->fault = faults[at[2]];
    rpc->has_task = at[3] & 1;
    rpc->batch_has_modern = at[3] & 2;
    rpc->batch_count = read_le32(at + 4);
    unsigned present = at[8] | (unsigned)at[9] << 8;
    at += FACTS_BYTES;
    for (unsigned i = 0; i < SPANS_COUNT; i++) {
        if (!(present & 1u << i))
            continue;
        if (end - at < 8)
            return -EBADMSG;
        struct span span = {.at = read_le32(at), .length = read_le32(at + 4)};
        if (span.length == 0 || span.at > body_length || span.length > body_length - span.at)
            return -EBADMSG;
        memcpy((char *)rpc + spans_at[i], &span, sizeof span);
        at += 8;
    }
    return 0;
}

/* ---- link messages -------------------------------------------------------------------------- */

/* 4 elements. */
static void put_event_id(struct codec_sink *sink, const struct event_id *id)
{
    codec_put_uint32(sink, id->stream);
    codec_put_uint64(sink, id->epoch);
    codec_put_uint64(sink, id->number);
    codec_put_bool(sink, id->is_last);
}

static struct event_id take_event_id(struct codec_cursor *c)
{
    struct event_id id;
    id.stream = (uint32_t)codec_take_uint(c, UINT32_MAX);
    id.epoch = codec_take_uint(c, UINT64_MAX);
    id.number = codec_take_uint(c, UINT64_MAX);
    id.is_last = codec_take_bool(c);
    return id;
}

/* What most requests do not have is left out. */
enum open_flag {
    OPEN_IS_ATTACH = 1,    /* lost_link, received, serial */
    OPEN_HAS_POSITION = 2, /* an event id */
    OPEN_HAS_WHO = 4,
    OPEN_HAS_TOKEN = 8,
    OPEN_IS_SSE = 16,
    OPEN_IS_OWNER_LOST = 32,
    OPEN_HAS_PROGRESS = 64,
    OPEN_FLAGS = 127
};

static unsigned open_flags(const struct wire_message *m)
{
    const struct mesh_request *r = &m->open.request;
    return (m->open.is_attach ? OPEN_IS_ATTACH : 0u) |
           (m->open.has_position ? OPEN_HAS_POSITION : 0u) |
           (!principal_is_none(&r->who) ? OPEN_HAS_WHO : 0u) |
           (!principal_is_none(&r->token) ? OPEN_HAS_TOKEN : 0u) |
           (r->front == MESH_FRONT_SSE ? OPEN_IS_SSE : 0u) |
           (m->open.is_owner_lost ? OPEN_IS_OWNER_LOST : 0u) |
           (m->open.progress.length > 0 ? OPEN_HAS_PROGRESS : 0u);
}

/* With which of the cluster's keys a session is to be minted that is bound to somebody. */
static bool open_has_key(const struct wire_message *m)
{
    return !m->has_session && !principal_is_none(&m->open.request.who);
}

static size_t open_elements(unsigned flags)
{
    return 15u + (flags & OPEN_IS_ATTACH ? 5u : 0u) + (flags & OPEN_HAS_POSITION ? 4u : 0u) +
           (flags & OPEN_HAS_WHO ? 1u : 0u) + (flags & OPEN_HAS_TOKEN ? 1u : 0u) +
           (flags & OPEN_HAS_PROGRESS ? 1u : 0u);
}

static void put_open(struct codec_sink *sink, const struct wire_message *m)
{
    const struct mesh_request *r = &m->open.request;
    uint8_t facts[FACTS_BYTES + 8 * SPANS_COUNT];
    unsigned flags = open_flags(m);

    codec_put_array(sink, open_elements(flags) + open_has_key(m));
    codec_put_id(sink, m->name.entry);
    codec_put_uint64(sink, m->name.counter);
    if (m->has_session)
        codec_put_data(sink, m->session.bytes, MESH_SESSION_BYTES);
    else
        codec_put_nil(sink);
    codec_put_epoch(sink, m->epoch);
    codec_put_uint8(sink, m->open.hops);
    codec_put_uint8(sink, (uint8_t)r->want);
    codec_put_uint8(sink, (uint8_t)r->era);
    codec_put_data(sink, r->method.at, r->method.length);
    codec_put_data(sink, r->target.at, r->target.length);
    codec_put_data(sink, r->head.at, r->head.length);
    codec_put_data(sink, facts, write_facts(facts, &r->rpc, m->payload.length > 0));
    codec_put_uint8(sink, (uint8_t)flags);
    if (flags & OPEN_IS_ATTACH) {
        codec_put_uint64(sink, m->open.lost_link);
        codec_put_uint32(sink, m->open.received);
        codec_put_uint64(sink, m->open.serial);
        codec_put_id(sink, m->open.ran_at);
    }
    if (flags & OPEN_HAS_POSITION)
        put_event_id(sink, &m->open.position);
    if (flags & OPEN_HAS_WHO)
        codec_put_data(sink, r->who.hash, sizeof r->who.hash);
    if (flags & OPEN_HAS_TOKEN)
        codec_put_data(sink, r->token.hash, sizeof r->token.hash);
    if (flags & OPEN_HAS_PROGRESS)
        codec_put_data(sink, m->open.progress.at, m->open.progress.length);
    if (open_has_key(m))
        codec_put_uint32(sink, r->who_key);
}

/* Three elements. */
static void put_patch(struct codec_sink *sink, const struct patch *patch)
{
    codec_put_uint64(sink, patch->at);
    codec_put_uint64(sink, patch->cut);
    codec_put_data(sink, patch->put.at, patch->put.length);
}

static void put_text_head(struct codec_sink *sink, const struct wire_message *m)
{
    codec_put_array(sink, m->kind == WIRE_EVENT ? 13 : 7);
    codec_put_epoch(sink, m->epoch);
    codec_put_bool(sink, m->text.answers);
    put_patch(sink, &m->text.patch);
    if (m->kind != WIRE_EVENT)
        return;
    put_event_id(sink, &m->text.id);
    codec_put_uint32(sink, m->text.retry_ms);
    codec_put_uint8(sink, (uint8_t)m->text.why);
}

static void put_view(struct codec_sink *sink, const struct wire_message *m)
{
    codec_put_array(sink, 3);
    codec_put_uint64(sink, m->view.mask);
    codec_put_bool(sink, m->view.answer);
    codec_put_array(sink, m->view.count);
    for (uint16_t i = 0; i < m->view.count; i++)
        codec_put_update(sink, &m->view.records[i]);
}

static void put_buckets(struct codec_sink *sink, const struct wire_message *m)
{
    uint8_t sums[8 * WIRE_BUCKETS];

    for (size_t i = 0; i < WIRE_BUCKETS; i++)
        codec_write_le64(sums + 8 * i, m->buckets[i]);
    codec_put_array(sink, 1);
    codec_put_data(sink, sums, sizeof sums);
}

/* `elements` of its array, 7 of them written here. */
static void put_answer_head(struct codec_sink *sink, const struct wire_message *m, size_t elements)
{
    codec_put_array(sink, elements);
    codec_put_epoch(sink, m->epoch);
    codec_put_uint16(sink, (uint16_t)m->head.status);
    codec_put_uint8(sink, (uint8_t)m->head.form);
    codec_put_data(sink, m->head.head.at, m->head.head.length);
    if (m->has_session)
        codec_put_data(sink, m->session.bytes, MESH_SESSION_BYTES);
    else
        codec_put_nil(sink);
}

/* ---- copies and rounds ---------------------------------------------------------------------- */

enum { COPY_WANTS_ACK = 1, COPY_ANSWERS = 2, COPY_IS_LAST = 4, COPY_IS_SAFE = 8, COPY_FLAGS = 15 };

static void put_copy(struct codec_sink *sink, const struct wire_message *m)
{
    unsigned flags = (m->copy.wants_ack ? COPY_WANTS_ACK : 0u) |
                     (m->copy.answers ? COPY_ANSWERS : 0u) | (m->copy.is_last ? COPY_IS_LAST : 0u) |
                     (m->copy.is_safe ? COPY_IS_SAFE : 0u);

    codec_put_array(sink, 11);
    codec_put_data(sink, m->session.bytes, MESH_SESSION_BYTES);
    codec_put_epoch(sink, m->epoch);
    codec_put_uint64(sink, m->copy.version);
    codec_put_uint8(sink, m->copy.parts);
    codec_put_uint8(sink, (uint8_t)flags);
    codec_put_uint32(sink, m->copy.stream);
    codec_put_uint64(sink, m->copy.number);
    codec_put_uint64(sink, m->copy.delivered);
    codec_put_uint8(sink, (uint8_t)m->copy.why);
}

static void read_copy(struct codec_cursor *c, struct wire_message *m)
{
    codec_take_bytes(c, m->session.bytes, MESH_SESSION_BYTES);
    m->epoch = codec_take_epoch(c);
    m->copy.version = codec_take_uint(c, UINT64_MAX);
    m->copy.parts = (uint8_t)codec_take_uint(c, UINT8_MAX);
    unsigned flags = (unsigned)codec_take_uint(c, COPY_FLAGS);
    m->copy.wants_ack = flags & COPY_WANTS_ACK;
    m->copy.answers = flags & COPY_ANSWERS;
    m->copy.is_last = flags & COPY_IS_LAST;
    m->copy.is_safe = flags & COPY_IS_SAFE;
    m->copy.stream = (uint32_t)codec_take_uint(c, UINT32_MAX);
    m->copy.number = codec_take_uint(c, UINT64_MAX);
    m->copy.delivered = codec_take_uint(c, UINT64_MAX);
    m->copy.why = (enum mesh_reason)codec_take_uint(c, MESH_REASON_LAST);
}

enum {
    ROUND_RUNS = 1,
    ROUND_IS_END = 2,
    ROUND_IS_REFUSED = 4,
    ROUND_IS_GIVEN = 8,
    ROUND_IS_UNHEARD = 16, /* two event ids */
    ROUND_FLAGS = 31
};

static void put_round(struct codec_sink *sink, const struct wire_message *m)
{
    unsigned flags = (m->round.runs ? ROUND_RUNS : 0u) | (m->round.is_end ? ROUND_IS_END : 0u) |
                     (m->round.is_refused ? ROUND_IS_REFUSED : 0u) |
                     (m->round.is_given ? ROUND_IS_GIVEN : 0u) |
                     (m->round.is_unheard ? ROUND_IS_UNHEARD : 0u);

    codec_put_array(sink, m->round.is_unheard ? 18 : 10);
    codec_put_data(sink, m->session.bytes, MESH_SESSION_BYTES);
    codec_put_epoch(sink, m->epoch);
    codec_put_epoch(sink, m->round.other);
    codec_put_uint64(sink, m->round.version);
    codec_put_uint8(sink, (uint8_t)flags);
    codec_put_uint64(sink, m->round.number);
    if (!m->round.is_unheard)
        return;
    put_event_id(sink, &m->round.newest);
    put_event_id(sink, &m->round.answer);
}

static void read_round(struct codec_cursor *c, struct wire_message *m)
{
    codec_take_bytes(c, m->session.bytes, MESH_SESSION_BYTES);
    m->epoch = codec_take_epoch(c);
    m->round.other = codec_take_epoch(c);
    m->round.version = codec_take_uint(c, UINT64_MAX);
    unsigned flags = (unsigned)codec_take_uint(c, ROUND_FLAGS);
    m->round.runs = flags & ROUND_RUNS;
    m->round.is_end = flags & ROUND_IS_END;
    m->round.is_refused = flags & ROUND_IS_REFUSED;
    m->round.is_given = flags & ROUND_IS_GIVEN;
    m->round.number = codec_take_uint(c, UINT64_MAX);
    m->round.is_unheard = flags & ROUND_IS_UNHEARD;
    if (!m->round.is_unheard)
        return;
    m->round.newest = take_event_id(c);
    m->round.answer = take_event_id(c);
}

static void put_message(struct codec_sink *sink, const struct wire_message *m)
{
    switch (m->kind) {
    case WIRE_BUCKETS_ARE:
        put_buckets(sink, m);
        break;
    case WIRE_VIEW:
        put_view(sink, m);
        break;
    case WIRE_FIND:
        codec_put_array(sink, 1);
        codec_put_data(sink, m->session.bytes, MESH_SESSION_BYTES);
        break;
    case WIRE_ENDED:
        codec_put_array(sink, 7);
        codec_put_data(sink, m->session.bytes, MESH_SESSION_BYTES);
        codec_put_epoch(sink, m->epoch);
        codec_put_bool(sink, m->is_ended);
        codec_put_id(sink, m->ended.unaware);
        break;
    case WIRE_FOUND:
        codec_put_array(sink, 6);
        codec_put_data(sink, m->session.bytes, MESH_SESSION_BYTES);
        codec_put_epoch(sink, m->epoch);
        codec_put_bool(sink, m->is_ended);
        codec_put_bool(sink, m->has_copy);
        break;
    case WIRE_DONE:
        codec_put_array(sink, 3);
        codec_put_id(sink, m->name.entry);
        codec_put_uint64(sink, m->name.counter);
        break;
    case WIRE_OPEN:
        put_open(sink, m);
        break;
    case WIRE_CANCEL:
        codec_put_array(sink, 0);
        break;
    case WIRE_MOVED:
        codec_put_array(sink, 3);
        codec_put_epoch(sink, m->epoch);
        break;
    case WIRE_NOT_YET:
        codec_put_array(sink, 1);
        codec_put_uint32(sink, m->not_yet.wait_ms);
        break;
    case WIRE_REFUSED:
        codec_put_array(sink, 1);
        codec_put_uint8(sink, (uint8_t)m->end.why);
        break;
    case WIRE_HEAD:
        put_answer_head(sink, m, 8);
        codec_put_uint64(sink, m->head.serial);
        break;
    case WIRE_WHOLE:
        put_answer_head(sink, m, 11);
        codec_put_bool(sink, m->head.answers);
        put_patch(sink, &m->head.patch);
        break;
    case WIRE_EVENT:
    case WIRE_DATA:
        put_text_head(sink, m);
        break;
    case WIRE_END:
        codec_put_array(sink, 5);
        codec_put_epoch(sink, m->epoch);
        codec_put_uint8(sink, (uint8_t)m->end.end);
        codec_put_uint8(sink, (uint8_t)m->end.why);
        break;
    case WIRE_TASK_IS:
    case WIRE_TASK_WHERE:
    case WIRE_TASK_AT:
        codec_put_array(sink, 4);
        codec_put_uint64(sink, m->task.hash);
        codec_put_id(sink, m->task.peer);
        codec_put_uint32(sink, m->task.number);
        break;
    case WIRE_COPY:
    case WIRE_COPY_EVENT:
    case WIRE_COPY_STREAM:
        put_copy(sink, m);
        break;
    case WIRE_COPIED:
    case WIRE_DIGEST:
    case WIRE_TOOLS:
        codec_put_array(sink, 0);
        break;
    case WIRE_TAKE:
    case WIRE_GRANT:
    case WIRE_VETO:
    case WIRE_YIELD:
    case WIRE_CHECK:
    case WIRE_CHECKED:
    case WIRE_HAND:
    case WIRE_HANDED:
        put_round(sink, m);
        break;
    }
}

int wire_link_write(const struct wire_message *m, void *into, size_t room)
{
    struct codec_sink sink = {.at = into, .length = 1, .room = room};

    if (room < 1)
        return -ENOSPC;
    sink.at[0] = (uint8_t)m->kind;
    put_message(&sink, m);
    if (sink.is_full || (m->kind != WIRE_VIEW && sink.length > WIRE_HEAD_MAX))
        return -ENOSPC;
    return (int)sink.length;
}

/* What a request line may hold, so that nothing can be smuggled into one (RFC 9112 §3). */
static bool is_request_part(struct slice s, size_t max)
{
    if (s.length > max)
        return false;
    for (size_t i = 0; i < s.length; i++)
        if (s.at[i] <= 0x20 || s.at[i] == 0x7f)
            return false;
    return true;
}

static void read_session(struct codec_cursor *c, struct wire_message *m)
{
    m->has_session = !codec_take_nil(c);
    if (m->has_session)
        codec_take_bytes(c, m->session.bytes, MESH_SESSION_BYTES);
}

static void read_open_rest(struct codec_cursor *c, struct wire_message *m, struct bytes *buf)
{
    struct mesh_request *r = &m->open.request;
    unsigned flags = (unsigned)codec_take_uint(c, OPEN_FLAGS);

    r->front = flags & OPEN_IS_SSE ? MESH_FRONT_SSE : MESH_FRONT_HTTP;
    m->open.is_owner_lost = flags & OPEN_IS_OWNER_LOST;
    m->open.is_attach = flags & OPEN_IS_ATTACH;
    if (m->open.is_attach) {
        m->open.lost_link = codec_take_uint(c, UINT64_MAX);
        m->open.received = (uint32_t)codec_take_uint(c, UINT32_MAX);
        m->open.serial = codec_take_uint(c, UINT64_MAX);
        m->open.ran_at = codec_take_id(c);
    }
    m->open.has_position = flags & OPEN_HAS_POSITION;
    if (m->open.has_position)
        m->open.position = take_event_id(c);
    if (flags & OPEN_HAS_WHO)
        codec_take_bytes(c, r->who.hash, sizeof r->who.hash);
    if (flags & OPEN_HAS_TOKEN)
        codec_take_bytes(c, r->token.hash, sizeof r->token.hash);
    if (flags & OPEN_HAS_PROGRESS)
        m->open.progress = codec_take_bin(c, buf);
    if (flags & OPEN_HAS_WHO && !m->has_session && c->left > 0)
        r->who_key = (uint32_t)codec_take_uint(c, UINT32_MAX);
    if (m->open.progress.length > WIRE_PROGRESS_MAX)
        c->bad = true;
}

static void read_open(struct codec_cursor *c, struct wire_message *m, struct bytes *buf)
{
    struct mesh_request *r = &m->open.request;

    m->name.entry = codec_take_id(c);
    m->name.counter = codec_take_uint(c, UINT64_MAX);
    read_session(c, m);
    m->epoch = codec_take_epoch(c);
    m->open.hops = (uint8_t)codec_take_uint(c, UINT8_MAX);
    r->want = (enum mesh_want)codec_take_uint(c, MESH_WANT_LAST);
    r->era = (enum mesh_era)codec_take_uint(c, MESH_MODERN);
    r->method = codec_take_bin(c, buf);
    r->target = codec_take_bin(c, buf);
    r->head = codec_take_bin(c, buf);
    struct slice facts = codec_take_bin(c, NULL);
    read_open_rest(c, m, buf);
    if (c->bad || peer_id_is_nobody(m->name.entry) || !is_request_part(r->method, 32) ||
        !is_request_part(r->target, WIRE_HEAD_MAX) ||
        read_facts(&r->rpc, facts, m->payload.length) < 0 ||
        (r->want == MESH_CALL && r->rpc.kind == RPC_BAD))
        c->bad = true;
}

static void read_patch(struct codec_cursor *c, struct patch *patch, size_t payload_length,
                       struct bytes *buf)
{
    patch->at = (size_t)codec_take_uint(c, payload_length);
    patch->cut = (size_t)codec_take_uint(c, payload_length);
    patch->put = codec_take_bin(c, buf);
    if (patch->cut > payload_length - patch->at)
        c->bad = true;
}

static void read_text_head(struct codec_cursor *c, struct wire_message *m, struct bytes *buf)
{
    m->epoch = codec_take_epoch(c);
    m->text.answers = codec_take_bool(c);
    read_patch(c, &m->text.patch, m->payload.length, buf);
    if (m->kind != WIRE_EVENT)
        return;
    m->text.id = take_event_id(c);
    m->text.retry_ms = (uint32_t)codec_take_uint(c, UINT32_MAX);
    m->text.why = (enum mesh_reason)codec_take_uint(c, MESH_REASON_LAST);
}

static void read_buckets(struct codec_cursor *c, struct wire_message *m)
{
    struct slice sums = codec_take_bin(c, NULL);

    if (sums.length != 8 * WIRE_BUCKETS) {
        c->bad = true;
        return;
    }
    for (size_t i = 0; i < WIRE_BUCKETS; i++)
        m->buckets[i] = codec_read_le64(sums.at + 8 * i);
}

static void read_view(struct codec_cursor *c, struct wire_message *m, struct wire_update *records)
{
    m->view.mask = codec_take_uint(c, UINT64_MAX);
    m->view.answer = codec_take_bool(c);
    m->view.records = records;
    m->view.count = codec_take_updates(c, records, WIRE_RECORDS_MAX);
}

static void read_answer_head(struct codec_cursor *c, struct wire_message *m, struct bytes *buf)
{
    m->epoch = codec_take_epoch(c);
    m->head.status = (int)codec_take_uint(c, 599);
    m->head.form = (enum mesh_form)codec_take_uint(c, MESH_FORM_RAW);
    m->head.head = codec_take_bin(c, buf);
    read_session(c, m);
    if (m->head.status < 100)
        c->bad = true;
}

static void read_message(struct codec_cursor *c, struct wire_message *m, struct bytes *buf,
                         struct wire_update *records)
{
    switch (m->kind) {
    case WIRE_BUCKETS_ARE:
        read_buckets(c, m);
        break;
    case WIRE_VIEW:
        read_view(c, m, records);
        break;
    case WIRE_FIND:
        codec_take_bytes(c, m->session.bytes, MESH_SESSION_BYTES);
        break;
    case WIRE_ENDED:
        codec_take_bytes(c, m->session.bytes, MESH_SESSION_BYTES);
        m->epoch = codec_take_epoch(c);
        m->is_ended = codec_take_bool(c);
        m->ended.unaware = codec_take_id(c);
        break;
    case WIRE_FOUND:
        codec_take_bytes(c, m->session.bytes, MESH_SESSION_BYTES);
        m->epoch = codec_take_epoch(c);
        m->is_ended = codec_take_bool(c);
        m->has_copy = codec_take_bool(c);
        break;
    case WIRE_DONE:
        m->name.entry = codec_take_id(c);
        m->name.counter = codec_take_uint(c, UINT64_MAX);
        break;
    case WIRE_OPEN:
        read_open(c, m, buf);
        break;
    case WIRE_CANCEL:
        break;
    case WIRE_MOVED:
        m->epoch = codec_take_epoch(c);
        break;
    case WIRE_NOT_YET:
        m->not_yet.wait_ms = (uint32_t)codec_take_uint(c, UINT32_MAX);
        if (m->not_yet.wait_ms > WIRE_WAIT_MAX_MS)
            m->not_yet.wait_ms = WIRE_WAIT_MAX_MS;
        break;
    case WIRE_REFUSED:
        m->end.why = (enum mesh_reason)codec_take_uint(c, MESH_REASON_LAST);
        break;
    case WIRE_HEAD:
        read_answer_head(c, m, buf);
        m->head.serial = codec_take_uint(c, UINT64_MAX);
        break;
    case WIRE_WHOLE:
        read_answer_head(c, m, buf);
        m->head.answers = codec_take_bool(c);
        read_patch(c, &m->head.patch, m->payload.length, buf);
        break;
    case WIRE_EVENT:
    case WIRE_DATA:
        read_text_head(c, m, buf);
        break;
    case WIRE_END:
        m->epoch = codec_take_epoch(c);
        m->end.end = (enum mesh_end)codec_take_uint(c, MESH_END_LAST);
        m->end.why = (enum mesh_reason)codec_take_uint(c, MESH_REASON_LAST);
        break;
    case WIRE_TASK_IS:
    case WIRE_TASK_WHERE:
    case WIRE_TASK_AT:
        m->task.hash = codec_take_uint(c, UINT64_MAX);
        m->task.peer = codec_take_id(c);
        m->task.number = (uint32_t)codec_take_uint(c, UINT32_MAX);
        break;
    case WIRE_COPY:
    case WIRE_COPY_EVENT:
    case WIRE_COPY_STREAM:
        read_copy(c, m);
        break;
    case WIRE_COPIED:
    case WIRE_DIGEST:
    case WIRE_TOOLS:
        break;
    case WIRE_TAKE:
    case WIRE_GRANT:
    case WIRE_VETO:
    case WIRE_YIELD:
    case WIRE_CHECK:
    case WIRE_CHECKED:
    case WIRE_HAND:
    case WIRE_HANDED:
        read_round(c, m);
        break;
    }
}

static bool has_payload(enum wire_kind kind)
{
    return kind == WIRE_OPEN || kind == WIRE_EVENT || kind == WIRE_DATA || kind == WIRE_WHOLE ||
           (kind >= WIRE_COPY && kind <= WIRE_DIGEST) || kind == WIRE_TOOLS;
}

/* Bytes of a message of this kind that are cleared before it is read. */
static size_t message_bytes(uint8_t kind)
{
    size_t before = offsetof(struct wire_message, open);

    if (kind == WIRE_BUCKETS_ARE) /* it fills them all */
        return before;
    return before +
           (kind == WIRE_OPEN ? sizeof(((struct wire_message *)0)->open) : SMALL_KINDS_BYTES);
}

int wire_link_read(struct wire_message *m, struct slice text, struct wire_update *records)
{
    uint8_t kind = text.length > 0 ? text.at[0] : 0;
    size_t head_max = kind == WIRE_VIEW ? WIRE_VIEW_MAX : WIRE_HEAD_MAX;
    uint32_t elements_left = kind == WIRE_VIEW ? WIRE_RECORDS_MAX * 32 : WIRE_ELEMENTS_MAX;

    if (kind == 0 || kind > WIRE_KIND_LAST)
        return -EBADMSG;
    int head_length = wire_scan(text.at + 1, text.length - 1, &elements_left);
    if (head_length < 0 || (size_t)head_length >= head_max)
        return -EBADMSG;
    memset(m, 0, message_bytes(kind));
    m->kind = kind;
    m->payload = text;
    m->payload.at += 1 + head_length;
    m->payload.length -= 1 + (size_t)head_length;
    if (m->payload.length > (has_payload(m->kind) ? WIRE_PAYLOAD_MAX : 0))
        return -EBADMSG;
    struct codec_cursor c = codec_cursor(text.at + 1, (size_t)head_length);
    if (!c.bad)
        read_message(&c, m, text.buf, records);
    return c.bad ? -EBADMSG : 0;
}
