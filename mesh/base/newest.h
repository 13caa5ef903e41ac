/* newest.h - the newest entries of a kind, found by a key of fixed size: grows up to a cap, from
 * where on the entry that was put first gives way. For what is worth remembering, and may be
 * forgotten. */
#ifndef MESH_NEWEST_H
#define MESH_NEWEST_H

#include <stddef.h>

#include "mesh/base/table.h"

struct newest {
    size_t key_bytes, value_bytes, stride;
    uint32_t max, next, capacity;
    uint8_t *ring;      /* stride: in use 1 | key | padding | value */
    struct table slots; /* of the keys in use */
};

/* Takes no memory until something is put. Values are aligned for any integer. */
void newest_init(struct newest *newest, uint32_t key_bytes, size_t value_bytes, uint32_t max,
                 const uint8_t sip_key[16]);
void newest_deinit(struct newest *newest);
/* The value under this key, until the next newest_put(); NULL: there is none. */
void *newest_find(const struct newest *newest, const void *key);
/* Likewise; a new one is zeroed. NULL: no memory, nothing changed but that the oldest may be gone.
 */
void *newest_put(struct newest *newest, const void *key);
/* Each in turn, for slots from 0 to `capacity`; NULL: nothing there. */
const void *newest_at(const struct newest *newest, uint32_t slot, const void **key);

#endif
