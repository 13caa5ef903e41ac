/* reseal.h - for faults that change what a peer says: its datagrams opened, and sealed again as if
 * it had said something else. Each is opened once by whoever has one of these. */
#ifndef SIM_RESEAL_H
#define SIM_RESEAL_H

#include "mesh/wire/seal.h"
#include "sim/world.h"

struct reseal;

struct reseal *reseal_new(const struct world *world);
void reseal_free(struct reseal *reseal); /* NULL is fine */
/* False: it is nobody's of this cluster, or was opened before. `plain`: SEAL_PLAIN_MAX bytes. */
bool reseal_open(struct reseal *reseal, struct slice sealed, uint8_t *plain, size_t *length,
                 struct seal_sender *from);
/* Into MESH_DATAGRAM_MAX bytes, from the same one under the same number. */
struct slice reseal_again(const struct reseal *reseal, const struct seal_sender *from,
                          const uint8_t *plain, size_t length, uint8_t *into);

#endif
