/* malice.h - a member that has the key and lies: every datagram that it sends tells of others what
 * they did not say. They are suspect, dead, gone, at another address, in a generation or an
 * incarnation that never was, or a twin of themselves; others accuse them, the hearer among those;
 * shards are claimed. What it is asked it answers
 * as always, so that it stays a member. Nobody believes it for good, no session is lost by it
 * (reliability.md, B4). */
#ifndef SIM_MALICE_H
#define SIM_MALICE_H

#include "sim/world.h"

struct malice;

void malice_free(struct world *world);
/* What this peer sends while it lies: `sealed` itself, or another one in `into` (room for
 * MESH_DATAGRAM_MAX). */
struct slice malice_datagram(struct world *world, const struct seat *seat, struct slice sealed,
                             uint8_t *into);

#endif
