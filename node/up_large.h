/* up_large.h - a message beyond the cap, read on without being kept: of it come out its kind and
 * its id, wherever that stands, so that it can be answered for. */
#ifndef NODE_UP_LARGE_H
#define NODE_UP_LARGE_H

#include "mesh/base/rpc.h"

#define LARGE_ID_MAX 4096u /* bytes of an id that is found */

struct large_text;

struct large_text *large_new(void); /* NULL: no memory */
/* 0, or -EMSGSIZE: over 1 GiB; nothing more can be made of it. */
int large_feed(struct large_text *large, const void *data, size_t length);
/* It is over: its kind. Its raw id is copied to `id`; *id_length 0: it has none, or too long a one.
 * *length: of the whole text. */
enum rpc_kind large_end(struct large_text *large, uint8_t id[LARGE_ID_MAX], size_t *id_length,
                        size_t *length);
void large_free(struct large_text *large); /* NULL is fine */

#endif
