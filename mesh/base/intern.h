/* intern.h - texts that many owners keep alike, each of them once: a thousand sessions of one
 * server and one client program have the same handshake. */
#ifndef MESH_INTERN_H
#define MESH_INTERN_H

#include "mesh/base/bytes.h"
#include "mesh/base/pool.h"
#include "mesh/base/table.h"

struct interns {
    struct pool pool;     /* struct interned */
    struct table by_hash; /* keyed, of the content */
    uint8_t key[16];
    size_t bytes; /* of all of them, each counted once */
};

/* Takes no memory until something is kept; `max` different texts. */
void interns_init(struct interns *interns, uint32_t max, const uint8_t key[16]);
void interns_deinit(struct interns *interns); /* nothing is kept any more */
/* Keeps a text: a reference to the equal one that is kept already, else a copy. Who keeps it gives
 * it back by intern_drop(). -ENOMEM: *keep is empty. */
int intern_keep(struct interns *interns, struct slice *keep, struct slice text,
                struct bytes_budget *budget);
void intern_drop(struct interns *interns, struct slice *keep); /* an empty one is fine */
/* Is an equal text kept? */
bool intern_has(const struct interns *interns, struct slice text);

#endif
