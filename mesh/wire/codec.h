/* codec.h - msgpack as wire.c, wire_link.c and wire_record.c use it: elements put into a caller's
 * buffer, and elements taken from an array that was scanned before. Private to them and codec.c;
 * nothing else sees msgpack. */
#ifndef MESH_CODEC_H
#define MESH_CODEC_H

#include <endian.h>
#include <msgpack/pack_define.h>
#include <msgpack/timestamp.h>

#include "mesh/wire/wire.h"

#define CODEC_NIL 0xc0

/* ---- writing -------------------------------------------------------------------------------- */

struct codec_sink {
    uint8_t *at;
    size_t length, room;
    bool is_full; /* sticky: the one check stands at the end */
};

static inline int codec_append(struct codec_sink *sink, const void *bytes, size_t length)
{
    if (sink->is_full || length > sink->room - sink->length) {
        sink->is_full = true;
        return -1;
    }
    memcpy(sink->at + sink->length, bytes, length);
    sink->length += length;
    return 0;
}

/* msgpack-c's own writer, which appends to a sink without a call for each element: codec_put_nil(),
 * _true(), _false(), _uint8() .. _uint64(), _array(), _bin(), _bin_body(), _str(), _str_body(). */
#define msgpack_pack_inline_func(name) static inline int codec_put##name
#define msgpack_pack_inline_func_cint(name) static inline int codec_put##name
#define msgpack_pack_user struct codec_sink *
#define msgpack_pack_append_buffer(sink, bytes, length) return codec_append(sink, bytes, length)
#include <msgpack/pack_template.h>

void codec_put_data(struct codec_sink *sink, const void *data, size_t length); /* a bin */
void codec_put_text(struct codec_sink *sink, const char *text);
void codec_put_bool(struct codec_sink *sink, bool yes);
void codec_put_id(struct codec_sink *sink, struct peer_id id);
void codec_put_epoch(struct codec_sink *sink, struct mesh_epoch epoch);
void codec_put_addr(struct codec_sink *sink, const struct mesh_addr *addr);
void codec_put_update(struct codec_sink *sink, const struct wire_update *u);
uint16_t codec_update_elements(const struct wire_update *u);

/* ---- reading -------------------------------------------------------------------------------- */

/* The elements of one array, taken in order from bytes that wire_scan() has passed: it proved that
 * each of the `left` elements lies within them. `bad` is sticky and also set by taking too many. */
struct codec_cursor {
    const uint8_t *at, *end;
    uint32_t left;
    bool bad;
};

struct codec_cursor codec_cursor(const uint8_t *scanned, size_t length); /* bad: no array */
/* Takers return zeroes, and set `bad`, for what is not there, of another type or out of range. */
uint64_t codec_take_uint(struct codec_cursor *c, uint64_t max);
bool codec_take_bool(struct codec_cursor *c);
bool codec_take_nil(struct codec_cursor *c); /* false: another type, and it is not taken */
struct slice codec_take_bin(struct codec_cursor *c, struct bytes *buf);
void codec_take_bytes(struct codec_cursor *c, void *into, size_t length); /* exactly */
struct peer_id codec_take_id(struct codec_cursor *c);
struct mesh_epoch codec_take_epoch(struct codec_cursor *c);
void codec_take_name(struct codec_cursor *c, char name[MESH_NAME_MAX + 1]);
struct mesh_addr codec_take_addr(struct codec_cursor *c);
/* A list of at most `max` updates. Returns how many there are of kinds that we know. */
uint16_t codec_take_updates(struct codec_cursor *c, struct wire_update *updates, uint16_t max);
/* 0; -EBADMSG. A kind of a later version: u->kind is 0. */
int codec_read_update(struct wire_update *u, const uint8_t *scanned, size_t length);

static inline void codec_write_le64(uint8_t *at, uint64_t n)
{
    uint64_t le = htole64(n);

    memcpy(at, &le, sizeof le);
}

static inline uint64_t codec_read_le64(const uint8_t *at)
{
    uint64_t le;

    memcpy(&le, at, sizeof le);
    return le64toh(le);
}

#endif
