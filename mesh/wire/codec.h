/* codec.h - msgpack as wire.c and wire_link.c use it: elements put into a caller's buffer, and
 * elements taken from an array that was scanned before. Private to them and codec.c; nothing else
 * sees msgpack. */
#ifndef MESH_CODEC_H
#define MESH_CODEC_H

#include <msgpack/pack.h>
#include <msgpack/unpack.h>

#include "mesh/wire/wire.h"

#define CODEC_NIL 0xc0

/* ---- writing -------------------------------------------------------------------------------- */

struct codec_sink {
    uint8_t *at;
    size_t length, room;
    bool is_full; /* sticky: the one check stands at the end */
};

/* The packer's write callback; `data` is a struct codec_sink. */
int codec_sink_write(void *data, const char *bytes, size_t length);
void codec_put_bin(msgpack_packer *p, const void *data, size_t length);
void codec_put_text(msgpack_packer *p, const char *text);
void codec_put_bool(msgpack_packer *p, bool yes);
void codec_put_id(msgpack_packer *p, struct peer_id id);
void codec_put_epoch(msgpack_packer *p, struct mesh_epoch epoch);
void codec_put_addr(msgpack_packer *p, const struct mesh_addr *addr);
void codec_put_update(msgpack_packer *p, const struct wire_update *u);
uint16_t codec_update_elements(const struct wire_update *u);

/* ---- reading -------------------------------------------------------------------------------- */

/* The elements of one array, taken in order. `bad` is sticky and also set by taking too many. */
struct codec_cursor {
    const msgpack_object *at;
    uint32_t left;
    bool bad;
};

/* Decodes one object that wire_scan() has passed, `length` bytes. 0, -EBADMSG or -ENOMEM. What
 * `result` held before is freed; the caller destroys it at the end. */
int codec_unpack(msgpack_unpacked *result, const uint8_t *at, size_t length);
struct codec_cursor codec_cursor(const msgpack_object *array); /* bad: it is no array */
const msgpack_object *codec_take(struct codec_cursor *c, msgpack_object_type type);
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
int codec_read_update(struct wire_update *u, const msgpack_object *array); /* 0 or -EBADMSG */

static inline void codec_write_le64(uint8_t *at, uint64_t n)
{
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)(n >> (8 * i));
}

static inline uint64_t codec_read_le64(const uint8_t *at)
{
    uint64_t n = 0;

    for (int i = 7; i >= 0; i--)
        n = n << 8 | at[i];
    return n;
}

#endif
