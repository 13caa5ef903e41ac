/* wire.c - the codec of datagrams. Each message is one flat array, read element by element;
 * elements that a later version appends are skipped, and so are updates of kinds that it adds.
 * Nothing is decoded before wire_scan() has bounded what it may ask for. Whether a message makes
 * sense in the state of its receiver is not judged here. */
#include "mesh/wire/wire.h"

#include <errno.h>

#include "mesh/wire/codec.h"

#define TARGET_BYTES 16

static uint16_t datagram_elements(const struct wire_datagram *d)
{
    switch (d->kind) {
    case DATAGRAM_HELLO:
        return 5;
    case DATAGRAM_WELCOME:
        return d->incumbent_lives ? 13 : 9;
    case DATAGRAM_PING:
    case DATAGRAM_ACK:
    case DATAGRAM_NACK:
    case DATAGRAM_CONFIRM:
        return 6;
    case DATAGRAM_PING_REQ:
        return 8;
    case DATAGRAM_GOSSIP:
    case DATAGRAM_NOT_ME:
        return 4;
    }
    return 0;
}

static void put_datagram(struct codec_sink *sink, const struct wire_datagram *d)
{
    codec_put_array(sink, datagram_elements(d));
    codec_put_uint8(sink, (uint8_t)d->kind);
    codec_put_uint32(sink, d->number);
    codec_put_id(sink, d->sender);
    switch (d->kind) {
    case DATAGRAM_HELLO:
        codec_put_text(sink, d->name);
        break;
    case DATAGRAM_WELCOME:
        codec_put_text(sink, d->name);
        codec_put_uint64(sink, d->highest_generation);
        codec_put_addr(sink, &d->seen_from);
        codec_put_bool(sink, d->incumbent_lives);
        if (d->incumbent_lives) {
            codec_put_addr(sink, &d->incumbent_addr);
            codec_put_id(sink, d->incumbent);
        }
        break;
    case DATAGRAM_PING:
    case DATAGRAM_ACK:
        codec_put_uint64(sink, d->view_hash);
        codec_put_uint32(sink, d->load);
        break;
    case DATAGRAM_PING_REQ:
        codec_put_id(sink, d->subject);
        codec_put_addr(sink, &d->subject_addr);
        break;
    case DATAGRAM_NACK:
    case DATAGRAM_CONFIRM:
        codec_put_id(sink, d->subject);
        break;
    case DATAGRAM_GOSSIP:
    case DATAGRAM_NOT_ME:
        break;
    }
}

int wire_datagram_begin(struct wire_writer *w, const struct wire_datagram *d, void *into,
                        size_t room)
{
    struct codec_sink sink = {.at = into, .length = TARGET_BYTES, .room = room};

    *w = (struct wire_writer){.at = into, .room = room};
    if (room < TARGET_BYTES || room > WIRE_PLAIN_MAX)
        return -ENOSPC;
    codec_write_le64(sink.at, d->target_name_only.name);
    codec_write_le64(sink.at + 8, d->target_nonce);
    put_datagram(&sink, d);
    if (sink.is_full)
        return -ENOSPC;
    w->length = sink.length;
    w->elements = datagram_elements(d);
    return 0;
}

int wire_datagram_add(struct wire_writer *w, const struct wire_update *u)
{
    struct codec_sink sink = {.at = w->at, .length = w->length, .room = w->room};
    uint16_t elements = codec_update_elements(u);

    if (w->updates == WIRE_UPDATES_MAX || w->elements + elements > WIRE_ELEMENTS_MAX)
        return -ENOSPC;
    codec_put_update(&sink, u);
    if (sink.is_full)
        return -ENOSPC;
    w->length = sink.length;
    w->updates++;
    w->elements = (uint16_t)(w->elements + elements);
    return 0;
}

void wire_datagram_pad(struct wire_writer *w, size_t length)
{
    if (length > w->room)
        length = w->room;
    if (length <= w->length)
        return;
    memset(w->at + w->length, CODEC_NIL, length - w->length);
    w->length = length;
}

static int read_datagram_head(struct wire_datagram *d, const uint8_t *scanned, size_t length)
{
    struct codec_cursor c = codec_cursor(scanned, length);
    uint64_t kind = codec_take_uint(&c, DATAGRAM_KIND_LAST);

    d->kind = (enum datagram_kind)kind;
    d->number = (uint32_t)codec_take_uint(&c, UINT32_MAX);
    d->sender = codec_take_id(&c);
    if (c.bad || kind == 0 || d->sender.name == 0)
        return -EBADMSG;
    switch (d->kind) {
    case DATAGRAM_HELLO:
        codec_take_name(&c, d->name);
        break;
    case DATAGRAM_WELCOME:
        codec_take_name(&c, d->name);
        d->highest_generation = codec_take_uint(&c, UINT64_MAX);
        d->seen_from = codec_take_addr(&c);
        d->incumbent_lives = codec_take_bool(&c);
        if (d->incumbent_lives) {
            d->incumbent_addr = codec_take_addr(&c);
            d->incumbent = codec_take_id(&c);
        }
        break;
    case DATAGRAM_PING:
    case DATAGRAM_ACK:
        d->view_hash = codec_take_uint(&c, UINT64_MAX);
        d->load = (uint32_t)codec_take_uint(&c, UINT32_MAX);
        break;
    case DATAGRAM_PING_REQ:
        d->subject = codec_take_id(&c);
        d->subject_addr = codec_take_addr(&c);
        break;
    case DATAGRAM_NACK:
    case DATAGRAM_CONFIRM:
        d->subject = codec_take_id(&c);
        break;
    case DATAGRAM_GOSSIP:
    case DATAGRAM_NOT_ME:
        break;
    }
    return c.bad ? -EBADMSG : 0;
}

static bool is_padding(const uint8_t *at, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (at[i] != CODEC_NIL)
            return false;
    return true;
}

static int read_update(struct wire_datagram *d, const uint8_t *scanned, size_t length)
{
    struct wire_update *update = &d->updates[d->updates_count];
    int rc =
        d->updates_count < WIRE_UPDATES_MAX ? codec_read_update(update, scanned, length) : -EBADMSG;
    if (rc == 0 && update->kind != 0) /* else it is of a later version */
        d->updates_count++;
    return rc;
}

int wire_datagram_read(struct wire_datagram *d, const void *plain, size_t length)
{
    uint32_t elements_left = WIRE_ELEMENTS_MAX;
    const uint8_t *bytes = plain;
    size_t at = TARGET_BYTES;
    bool has_head = false;
    int rc = 0;

    memset(d, 0, offsetof(struct wire_datagram, updates));
    if (length < TARGET_BYTES || length > WIRE_PLAIN_MAX)
        return -EBADMSG;
    d->target_name_only.name = codec_read_le64(bytes);
    d->target_nonce = codec_read_le64(bytes + 8);
    while (rc == 0 && at < length && bytes[at] != CODEC_NIL) {
        int used = wire_scan(bytes + at, length - at, &elements_left);
        if (used < 0)
            return used;
        if (!has_head)
            rc = read_datagram_head(d, bytes + at, (size_t)used);
        else
            rc = read_update(d, bytes + at, (size_t)used);
        has_head = true;
        at += (size_t)used;
    }
    if (rc == 0 && (!has_head || !is_padding(bytes + at, length - at)))
        rc = -EBADMSG;
    return rc;
}
