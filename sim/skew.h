/* skew.h - F22: some peers are of a later version than ours, in one life and not in the next. It
 * says what ours does, and more: elements behind those that we know, of every type; updates of
 * kinds that we have not. Others read what they know and lose nothing. Of datagrams alone: what a
 * link carries is sealed with keys that nobody but its two ends has. */
#ifndef SIM_SKEW_H
#define SIM_SKEW_H

#include "sim/world.h"

struct skew;

void skew_free(struct world *world);
/* What this peer sends, as its version would: `sealed` itself, or another one in `into` (room for
 * MESH_DATAGRAM_MAX). X6: others read the same in it. */
struct slice skew_datagram(struct world *world, const struct seat *seat, struct slice sealed,
                           uint8_t *into);

#endif
