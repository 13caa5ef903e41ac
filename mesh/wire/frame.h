/* frame.h - the frames inside a link's records, as drawn in link.h. Private to link.c and
 * link_out.c. */
#ifndef MESH_FRAME_H
#define MESH_FRAME_H

#include <endian.h>

#include "mesh/wire/link.h"

#define FRAME_HEAD_BYTES 7
#define FRAME_AT_KIND 4
#define FRAME_AT_LENGTH 5
#define FRAME_FINAL 1 /* flag of a record */

enum frame_kind { FRAME_FIRST = 1, FRAME_MORE, FRAME_CREDIT, FRAME_CLOSE, FRAME_PING, FRAME_PONG };

/* `bytes`: at most 8, little-endian. */
static inline uint64_t frame_get(const uint8_t *at, size_t bytes)
{
    uint64_t le = 0;

    memcpy(&le, at, bytes);
    return le64toh(le);
}
static inline void frame_put(uint8_t *at, uint64_t n, size_t bytes)
{
    uint64_t le = htole64(n);

    memcpy(at, &le, bytes);
}

void link_fail(struct link *link, enum link_failure failure);

#endif
