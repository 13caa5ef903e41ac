/* watch.h - rules of datagrams that only who sees every wire can check: X4 one is heard once, X5 by
 * nobody of another mesh. It changes nothing in a world, and draws nothing. */
#ifndef SIM_WATCH_H
#define SIM_WATCH_H

#include "sim/world.h"

struct packet;
struct watch;

int watch_new(struct world *world);
void watch_free(struct world *world);
/* X5: before a datagram goes its way. */
void watch_datagram(struct world *world, const struct seat *seat, struct slice sealed);
/* X4: a peer was given a packet, and had counted that much before. */
void watch_heard(struct world *world, const struct seat *seat, const struct packet *packet,
                 const struct mesh_stats *before);

#endif
