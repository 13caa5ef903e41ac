/* watch.c - see watch.h. */
#include "sim/watch.h"

#include <stdlib.h>

#include "sim/check.h"
#include "sim/net.h"

#define OUTSIDER_ADDRESS 0xffffu /* no seat is there */

struct watch {
    uint32_t *heard_by; /* per packet serial: seat and life that heard it */
    uint32_t heard_count, heard_capacity;
    struct mesh *outsider; /* same key, another label: it gets a copy of everything */
};

int watch_new(struct world *world)
{
    struct watch *watch = sim_zero(sizeof *watch);
    struct mesh_config config;
    world->watch = watch;
    mesh_config_defaults(&config);
    config.name = "outsider";
    config.cluster = "outside";
    config.members_max = 4;
    world_addr(&config.addr, OUTSIDER_ADDRESS);
    if (world->keyed) {
        config.keys_count = 1;
        memset(config.keys[0], WORLD_KEY_BYTE, sizeof config.keys[0]);
    }
    return mesh_new(&watch->outsider, &config, 0);
}

void watch_free(struct world *world)
{
    struct watch *watch = world->watch;
    if (watch == NULL)
        return;
    mesh_free(watch->outsider);
    free(watch->heard_by);
    free(watch);
    world->watch = NULL;
}

void watch_datagram(struct world *world, const struct seat *seat, struct slice sealed)
{
    struct mesh *outsider = world->watch->outsider;
    struct mesh_addr from;
    struct mesh_stats stats;
    world_addr(&from, seat->address);
    mesh_datagram(outsider, &from, sealed, 0);
    mesh_stats(outsider, &stats);
    if (stats.datagrams_bad != stats.datagrams_in)
        check_fail(world, "X5", "a peer of another label opens a datagram of p%u", seat->index);
}

void watch_heard(struct world *world, const struct seat *seat, const struct packet *packet,
                 const struct mesh_stats *before)
{
    struct watch *watch = world->watch;
    uint32_t self = seat->index << 16 | (seat->life & 0xffff);
    struct mesh_stats stats;
    mesh_stats(seat->mesh, &stats);
    if (packet->serial == 0 || stats.datagrams_bad != before->datagrams_bad ||
        stats.datagrams_replayed != before->datagrams_replayed)
        return;
    while (watch->heard_count <= packet->serial) {
        watch->heard_by = sim_grow(watch->heard_by, watch->heard_count, &watch->heard_capacity,
                                   sizeof *watch->heard_by);
        watch->heard_by[watch->heard_count++] = 0;
    }
    if (watch->heard_by[packet->serial] == self)
        check_fail(world, "X4", "p%u hears the same datagram of p%u again", seat->index,
                   packet->from_seat);
    watch->heard_by[packet->serial] = self;
}
