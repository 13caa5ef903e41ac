/* net.c - the paths between seats (delay, jitter, loss, cuts), datagrams on them, and which effect
 * goes where. Byte streams are stream.c's; when a path is bad is drawn in faults.c. */
#include "sim/net.h"

#include <stdlib.h>

#include "sim/check.h"
#include "sim/stream.h"

int net_new(struct world *world)
{
    struct net *net = sim_zero(sizeof *net);
    bool steady = world->config.steady;
    world->net = net;
    chance_init(&net->chance, world->config.seed, 2);
    net->paths = sim_zero(sizeof *net->paths * WORLD_SEATS_MAX * WORLD_SEATS_MAX);
    /* One machine room, several, or a mixture: drawn once, then per pair. */
    uint32_t far_ppm = chance_below(&net->chance, 4) * 300000u;
    for (uint32_t n = 0; n < WORLD_SEATS_MAX * WORLD_SEATS_MAX; n++) {
        bool is_far = chance_hits(&net->chance, far_ppm);
        uint64_t base_us = chance_log(&net->chance, 50, is_far ? 40000 : 600);
        uint64_t jitter_us = chance_log(&net->chance, 10, base_us);
        net->paths[n].base_us = steady ? 1000 : (uint32_t)base_us;
        net->paths[n].jitter_us = steady ? 0 : (uint32_t)jitter_us;
    }
    return 0;
}

void net_free(struct world *world)
{
    struct net *net = world->net;
    if (net == NULL)
        return;
    for (uint32_t n = 0; n < net->streams_count; n++) {
        flow_clear(&net->streams[n].flow[0]);
        flow_clear(&net->streams[n].flow[1]);
    }
    free(net->streams);
    free(net->paths);
    free(net);
    world->net = NULL;
}

void net_drop(struct world_event *event)
{
    if (event->kind == NET_PACKET)
        free(event->p);
}

struct path *net_path(struct world *world, uint32_t from, uint32_t to)
{
    return &world->net->paths[from * WORLD_SEATS_MAX + to];
}

bool net_is_cut(struct world *world, uint32_t from, uint32_t to)
{
    return from != to && net_path(world, from, to)->cuts > 0;
}

uint64_t net_delay(struct world *world, uint32_t from, uint32_t to)
{
    const struct path *path = net_path(world, from, to);
    uint64_t delay_us = path->base_us;
    if (path->jitter_us > 0)
        delay_us += chance_spread(&world->net->chance, path->jitter_us);
    if (path->slow_until_us > world->now_us) {
        world->faults->hits[FAULT_DELAY]++;
        delay_us += chance_log(&world->net->chance, 20000, 400000);
    }
    return delay_us;
}

bool net_loses(struct world *world, uint32_t from, uint32_t to)
{
    const struct path *path = net_path(world, from, to);
    if (path->bad_until_us > world->now_us && chance_hits(&world->net->chance, 800000)) {
        world->faults->hits[FAULT_BURST]++;
        return true;
    }
    if (chance_hits(&world->net->chance, world->faults->loss_ppm)) {
        world->faults->hits[FAULT_LOSS]++;
        return true;
    }
    return false;
}

/* ---- datagrams ------------------------------------------------------------------------------ */

static void packet_push(struct world *world, const struct packet *packet, uint64_t at_us)
{
    struct packet *copy = malloc(sizeof *copy + packet->length);
    if (copy == NULL)
        abort();
    memcpy(copy, packet, sizeof *packet + packet->length);
    world_push(world, &(struct world_event){
                          .at_us = at_us, .kind = NET_PACKET, .seat = WORLD_NOBODY, .p = copy});
}

static void datagram_send(struct world *world, struct seat *seat, const struct mesh_effect *effect)
{
    struct net *net = world->net;
    struct faults *faults = world->faults;
    uint8_t space[sizeof(struct packet) + MESH_DATAGRAM_MAX];
    struct packet *packet = (struct packet *)(void *)space;
    uint32_t address = world_address_of(&effect->wire.to);
    uint32_t to = address == WORLD_NOBODY ? WORLD_NOBODY : world_seat_at(world, address);
    net->datagrams++;
    net->datagram_bytes += effect->wire.sealed.length;
    if (to == WORLD_NOBODY || effect->wire.sealed.length > MESH_DATAGRAM_MAX)
        return;
    if (net_is_cut(world, seat->index, to) || net_loses(world, seat->index, to))
        return;
    packet->from_seat = seat->index;
    world_addr(&packet->from, seat->address);
    packet->to = effect->wire.to;
    packet->length = (uint32_t)effect->wire.sealed.length;
    memcpy(packet->data, effect->wire.sealed.at, packet->length);
    uint64_t at_us = world->now_us + net_delay(world, seat->index, to);
    if (chance_hits(&net->chance, faults->reorder_ppm)) {
        faults->hits[FAULT_REORDER]++;
        at_us += chance_log(&net->chance, 1000, 200000);
    }
    if (chance_hits(&net->chance, faults->replay_ppm)) {
        uint64_t later_us = chance_log(&net->chance, WORLD_SECOND, 120 * WORLD_SECOND);
        packet_push(world, packet, at_us + later_us);
        if (at_us + later_us < world->end_us)
            faults->hits[FAULT_REPLAY]++;
    }
    if (chance_hits(&net->chance, faults->duplicate_ppm)) {
        faults->hits[FAULT_DUPLICATE]++;
        packet_push(world, packet, at_us + chance_below(&net->chance, 5000));
    }
    if (packet->length > 0 && chance_hits(&net->chance, faults->corrupt_ppm)) {
        faults->hits[FAULT_CORRUPT]++;
        uint32_t at = chance_below(&net->chance, packet->length);
        packet->data[at] ^= (uint8_t)(1u << chance_below(&net->chance, 8));
        if (chance_below(&net->chance, 4) == 0)
            packet->length = chance_below(&net->chance, packet->length);
    }
    packet_push(world, packet, at_us);
}

static void datagram_arrive(struct world *world, const struct world_event *event)
{
    struct packet *packet = event->p;
    uint32_t to = world_seat_at(world, world_address_of(&packet->to));
    struct seat *seat = to == WORLD_NOBODY ? NULL : &world->seats[to];
    if (seat != NULL && seat->mesh != NULL && seat->paused_until_us > world->now_us) {
        struct world_event later = *event;
        later.at_us = seat->paused_until_us;
        world_push(world, &later); /* it waits in the socket's buffer */
        return;
    }
    if (seat != NULL && seat->mesh != NULL) {
        mesh_datagram(seat->mesh, &packet->from, slice_borrow(packet->data, packet->length),
                      world_clock_ms(world, seat));
        world_turn(world, seat);
    }
    free(packet);
}

/* ---- effects and events --------------------------------------------------------------------- */

void net_effect(struct world *world, struct seat *seat, const struct mesh_effect *effect)
{
    uint32_t address = 0;
    uint32_t index = WORLD_NOBODY;
    if (effect->kind == MESH_DATAGRAM || effect->kind == MESH_LINK_DIAL) {
        address = world_address_of(&effect->wire.to);
        world_fold(world, address);
    }
    if (effect->kind == MESH_DATAGRAM || effect->kind == MESH_LINK_BYTES)
        world_fold(world, effect->wire.sealed.length);
    if (effect->kind != MESH_DATAGRAM)
        world_fold(world, (uint64_t)effect->handle.slot << 32 | effect->handle.generation);
    if (effect->kind == MESH_LINK_BYTES || effect->kind == MESH_LINK_CLOSE) {
        index = slots_get(&seat->links, effect->handle);
        if (index == WORLD_NOBODY) {
            check_fail(world, "X1", "p%u: link effect %d for a closed handle %u.%u", seat->index,
                       effect->kind, effect->handle.slot, effect->handle.generation);
            return;
        }
    }
    const struct stream *stream = index == WORLD_NOBODY ? NULL : &world->net->streams[index];
    uint32_t dir = stream != NULL && stream->end[0].is_bound &&
                           stream->end[0].seat == seat->index &&
                           handle_equal(stream->end[0].handle, effect->handle)
                       ? 0
                       : 1;
    switch ((int)effect->kind) {
    case MESH_DATAGRAM:
        world_say(world, seat, "DATAGRAM to %u, %zu B", address, effect->wire.sealed.length);
        datagram_send(world, seat, effect);
        break;
    case MESH_LINK_DIAL:
        world_say(world, seat, "LINK_DIAL %u.%u to %u", effect->handle.slot,
                  effect->handle.generation, address);
        stream_dial(world, seat, effect);
        break;
    case MESH_LINK_BYTES:
        world_say(world, seat, "LINK_BYTES %u.%u %zu B", effect->handle.slot,
                  effect->handle.generation, effect->wire.sealed.length);
        stream_write(world, index, dir, effect->wire.sealed);
        break;
    case MESH_LINK_CLOSE:
        world_say(world, seat, "LINK_CLOSE %u.%u%s", effect->handle.slot, effect->handle.generation,
                  effect->end.cut ? " by reset" : "");
        stream_close(world, index, dir, effect->end.cut);
        break;
    }
}

void net_event(struct world *world, const struct world_event *event)
{
    if (event->kind == NET_PACKET)
        datagram_arrive(world, event);
    else
        stream_event(world, event);
}
