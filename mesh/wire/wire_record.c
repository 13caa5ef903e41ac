/* wire_record.c - the codec of records and of entries. As in wire.c, elements that a later version
 * appends to an item are skipped. */
#include "mesh/wire/wire_record.h"

#include <errno.h>

#include "mesh/wire/codec.h"

#define ITEM_ELEMENTS_MAX 64 /* an item is one flat array */
#define ITEM_ROOM 96         /* of an item, beside its slices */
#define EVENT_ROOM 16        /* likewise, of an event: there are many */

enum {
    BASE_IS_SINGLE = 1,
    BASE_HAS_BATCHES = 2,
    BASE_HAS_MARKS = 4,
    BASE_IS_INITIALIZED = 8,
    BASE_IS_ANNOUNCED = 16,
    BASE_FLAGS = 31
};
enum { STREAM_IS_ENDED = 1, STREAM_IS_SAFE = 2, STREAM_FLAGS = 3 };
enum { EVENT_ANSWERS = 1, EVENT_IS_LAST = 2, EVENT_FLAGS = 3 };

/* ---- writing -------------------------------------------------------------------------------- */

size_t wire_item_room(const struct wire_item *item)
{
    switch (item->kind) {
    case WIRE_ITEM_BASE:
        return ITEM_ROOM + item->base.params.length + item->base.result.length;
    case WIRE_ITEM_HOLDER:
        return ITEM_ROOM;
    case WIRE_ITEM_LEVEL:
    case WIRE_ITEM_SUBSCRIPTION:
    case WIRE_ITEM_QUESTION:
        return ITEM_ROOM + item->text.length;
    case WIRE_ITEM_STREAM:
        return ITEM_ROOM + item->stream.request.length;
    case WIRE_ITEM_TENURE:
        return ITEM_ROOM;
    case WIRE_ITEM_EVENT:
        return EVENT_ROOM + item->event.text.length;
    }
    return 0;
}

static void put_slice(struct codec_sink *sink, struct slice s)
{
    codec_put_data(sink, s.at, s.length);
}

static void put_base(struct codec_sink *sink, const struct wire_item *item)
{
    unsigned flags = (item->base.is_single ? BASE_IS_SINGLE : 0u) |
                     (item->base.has_batches ? BASE_HAS_BATCHES : 0u) |
                     (item->base.has_marks ? BASE_HAS_MARKS : 0u) |
                     (item->base.is_initialized ? BASE_IS_INITIALIZED : 0u) |
                     (item->base.is_announced ? BASE_IS_ANNOUNCED : 0u);

    codec_put_array(sink, 9);
    codec_put_uint8(sink, (uint8_t)item->kind);
    codec_put_data(sink, item->base.who.hash, sizeof item->base.who.hash);
    codec_put_uint8(sink, (uint8_t)flags);
    codec_put_uint32(sink, item->base.streams_count);
    codec_put_uint32(sink, item->base.upstreams);
    codec_put_uint64(sink, item->base.idle_ms);
    codec_put_uint64(sink, item->base.absolute_ms);
    put_slice(sink, item->base.params);
    put_slice(sink, item->base.result);
}

static void put_stream(struct codec_sink *sink, const struct wire_item *item)
{
    unsigned flags = (item->stream.is_ended ? STREAM_IS_ENDED : 0u) |
                     (item->stream.is_safe ? STREAM_IS_SAFE : 0u);

    codec_put_array(sink, 7);
    codec_put_uint8(sink, (uint8_t)item->kind);
    codec_put_uint32(sink, item->stream.number);
    codec_put_uint64(sink, item->stream.first);
    codec_put_uint64(sink, item->stream.delivered);
    codec_put_uint32(sink, item->stream.retry_ms);
    codec_put_uint8(sink, (uint8_t)flags);
    put_slice(sink, item->stream.request);
}

static void put_event(struct codec_sink *sink, const struct wire_item *item)
{
    unsigned flags =
        (item->event.answers ? EVENT_ANSWERS : 0u) | (item->event.is_last ? EVENT_IS_LAST : 0u);

    codec_put_array(sink, 4);
    codec_put_uint8(sink, (uint8_t)item->kind);
    codec_put_uint8(sink, (uint8_t)item->event.why);
    codec_put_uint8(sink, (uint8_t)flags);
    put_slice(sink, item->event.text);
}

int wire_item_write(const struct wire_item *item, void *into, size_t room)
{
    struct codec_sink sink = {.at = into, .room = room};

    switch (item->kind) {
    case WIRE_ITEM_BASE:
        put_base(&sink, item);
        break;
    case WIRE_ITEM_HOLDER:
        codec_put_array(&sink, 3);
        codec_put_uint8(&sink, (uint8_t)item->kind);
        codec_put_id(&sink, item->holder);
        break;
    case WIRE_ITEM_LEVEL:
    case WIRE_ITEM_SUBSCRIPTION:
    case WIRE_ITEM_QUESTION:
        codec_put_array(&sink, 2);
        codec_put_uint8(&sink, (uint8_t)item->kind);
        put_slice(&sink, item->text);
        break;
    case WIRE_ITEM_STREAM:
        put_stream(&sink, item);
        break;
    case WIRE_ITEM_TENURE:
        codec_put_array(&sink, 4);
        codec_put_uint8(&sink, (uint8_t)item->kind);
        codec_put_uint64(&sink, item->tenure.epoch);
        codec_put_uint64(&sink, item->tenure.first);
        codec_put_uint64(&sink, item->tenure.base);
        break;
    case WIRE_ITEM_EVENT:
        put_event(&sink, item);
        break;
    }
    return sink.is_full ? -ENOSPC : (int)sink.length;
}

/* ---- reading -------------------------------------------------------------------------------- */

static void take_base(struct codec_cursor *c, struct wire_item *item, struct bytes *buf)
{
    codec_take_bytes(c, item->base.who.hash, sizeof item->base.who.hash);
    unsigned flags = (unsigned)codec_take_uint(c, BASE_FLAGS);
    item->base.is_single = flags & BASE_IS_SINGLE;
    item->base.has_batches = flags & BASE_HAS_BATCHES;
    item->base.has_marks = flags & BASE_HAS_MARKS;
    item->base.is_initialized = flags & BASE_IS_INITIALIZED;
    item->base.is_announced = flags & BASE_IS_ANNOUNCED;
    item->base.streams_count = (uint32_t)codec_take_uint(c, UINT32_MAX);
    item->base.upstreams = (uint32_t)codec_take_uint(c, UINT32_MAX);
    item->base.idle_ms = codec_take_uint(c, UINT64_MAX);
    item->base.absolute_ms = codec_take_uint(c, UINT64_MAX);
    item->base.params = codec_take_bin(c, buf);
    item->base.result = codec_take_bin(c, buf);
}

static void take_stream(struct codec_cursor *c, struct wire_item *item, struct bytes *buf)
{
    item->stream.number = (uint32_t)codec_take_uint(c, UINT32_MAX);
    item->stream.first = codec_take_uint(c, UINT64_MAX);
    item->stream.delivered = codec_take_uint(c, UINT64_MAX);
    item->stream.retry_ms = (uint32_t)codec_take_uint(c, UINT32_MAX);
    unsigned flags = (unsigned)codec_take_uint(c, STREAM_FLAGS);
    item->stream.is_ended = flags & STREAM_IS_ENDED;
    item->stream.is_safe = flags & STREAM_IS_SAFE;
    item->stream.request = codec_take_bin(c, buf);
}

static void take_event(struct codec_cursor *c, struct wire_item *item, struct bytes *buf)
{
    item->event.why = (enum mesh_reason)codec_take_uint(c, MESH_REASON_LAST);
    unsigned flags = (unsigned)codec_take_uint(c, EVENT_FLAGS);
    item->event.answers = flags & EVENT_ANSWERS;
    item->event.is_last = flags & EVENT_IS_LAST;
    item->event.text = codec_take_bin(c, buf);
}

/* What one scanned array says. False: malformed. A kind of a later version: item->kind is 0. */
static bool item_read(struct wire_item *item, const uint8_t *at, size_t length, struct bytes *buf)
{
    struct codec_cursor c = codec_cursor(at, length);

    memset(item, 0, sizeof *item);
    unsigned kind = c.bad ? 0 : (unsigned)codec_take_uint(&c, UINT8_MAX);
    if (c.bad || kind == 0 || kind > WIRE_ITEM_LAST)
        return !c.bad && kind != 0;
    item->kind = (enum wire_item_kind)kind;
    switch (item->kind) {
    case WIRE_ITEM_BASE:
        take_base(&c, item, buf);
        break;
    case WIRE_ITEM_HOLDER:
        item->holder = codec_take_id(&c);
        break;
    case WIRE_ITEM_LEVEL:
    case WIRE_ITEM_SUBSCRIPTION:
    case WIRE_ITEM_QUESTION:
        item->text = codec_take_bin(&c, buf);
        break;
    case WIRE_ITEM_STREAM:
        take_stream(&c, item, buf);
        break;
    case WIRE_ITEM_TENURE:
        item->tenure.epoch = codec_take_uint(&c, UINT64_MAX);
        item->tenure.first = codec_take_uint(&c, UINT64_MAX);
        item->tenure.base = codec_take_uint(&c, UINT64_MAX);
        break;
    case WIRE_ITEM_EVENT:
        take_event(&c, item, buf);
        break;
    }
    return !c.bad;
}

int wire_item_read(struct wire_item *item, struct slice *rest)
{
    while (rest->length > 0) {
        uint32_t elements_left = ITEM_ELEMENTS_MAX;
        int used = wire_scan(rest->at, rest->length, &elements_left);
        if (used < 0 || !item_read(item, rest->at, (size_t)used, rest->buf))
            return -EBADMSG;
        rest->at += used;
        rest->length -= (size_t)used;
        if (item->kind != 0)
            return 1;
    }
    return 0;
}

/* ---- entries -------------------------------------------------------------------------------- */

enum { ENTRY_FLAGS_AT = MESH_SESSION_BYTES, ENTRY_IDLE_AT = 32, ENTRY_EPOCH_AT = 36 };

void wire_entry_write(const struct wire_entry *entry, uint8_t into[WIRE_ENTRY_BYTES])
{
    memcpy(into, entry->session.bytes, MESH_SESSION_BYTES);
    into[ENTRY_FLAGS_AT] = (uint8_t)entry->flags;
    for (int n = 0; n < 4; n++)
        into[ENTRY_IDLE_AT + n] = (uint8_t)(entry->idle_ms >> (8 * n));
    codec_write_le64(into + ENTRY_EPOCH_AT, entry->epoch);
    codec_write_le64(into + ENTRY_EPOCH_AT + 8, entry->version);
}

int wire_entry_read(struct wire_entry *entry, struct slice *rest)
{
    const uint8_t *at = rest->at;

    if (rest->length == 0)
        return 0;
    if (rest->length < WIRE_ENTRY_BYTES || at[ENTRY_FLAGS_AT] > WIRE_ENTRY_FLAGS)
        return -EBADMSG;
    memset(entry, 0, sizeof *entry);
    memcpy(entry->session.bytes, at, MESH_SESSION_BYTES);
    entry->flags = at[ENTRY_FLAGS_AT];
    for (int n = 0; n < 4; n++)
        entry->idle_ms |= (uint32_t)at[ENTRY_IDLE_AT + n] << (8 * n);
    entry->epoch = codec_read_le64(at + ENTRY_EPOCH_AT);
    entry->version = codec_read_le64(at + ENTRY_EPOCH_AT + 8);
    rest->at += WIRE_ENTRY_BYTES;
    rest->length -= WIRE_ENTRY_BYTES;
    return 1;
}
