/* net.c - the paths between seats (delay, jitter, loss, cuts), datagrams on them, and which effect
 * goes where. Byte streams are stream.c's; when a path is bad is drawn in faults.c. */
#include "sim/net.h"

#include <stdlib.h>

#include "sim/check.h"
#include "sim/malice.h"
#include "sim/skew.h"
#include "sim/stream.h"
#include "sim/watch.h"

#define IP_UDP_BYTES 28u
#define PACKETS_KEPT 512u

static void paths_draw_old(struct world *world)
{
    struct net *net = world->net;
    /* One machine room, several, or a mixture: drawn once, then per pair. */
    uint32_t far_ppm = chance_below(&net->chance, 4) * 300000u;
    for (uint32_t n = 0; n < world->seats_max * world->seats_max; n++) {
        bool is_far = chance_hits(&net->chance, far_ppm);
        uint64_t base_us = chance_log(&net->chance, 50, is_far ? 40000 : 600);
        net->paths[n].base_us = (uint32_t)base_us;
        net->paths[n].jitter_us = (uint32_t)chance_log(&net->chance, 10, base_us);
    }
}

/* A pair's path is the same, whoever else is there. */
static void paths_draw(struct world *world)
{
    struct net *net = world->net;
    uint32_t far_ppm = chance_below(&net->chance, 4) * 300000u;
    for (uint32_t from = 0; from < world->seats_max; from++)
        for (uint32_t to = 0; to < world->seats_max; to++) {
            struct path *path = net_path(world, from, to);
            chance_key(&net->luck, world->config.seed, (uint64_t)from << 32 | to);
            bool is_far = chance_hits(&net->luck, far_ppm);
            uint64_t base_us = chance_log(&net->luck, 50, is_far ? 40000 : 600);
            path->base_us = (uint32_t)base_us;
            path->jitter_us = (uint32_t)chance_log(&net->luck, 10, base_us);
        }
}

int net_new(struct world *world)
{
    struct net *net = sim_zero(sizeof *net);
    uint32_t count = world->seats_max * world->seats_max;
    world->net = net;
    chance_init(&net->chance, world->config.seed, 2);
    net->paths = sim_zero(sizeof *net->paths * count);
    if (world->config.draws == 1)
        paths_draw_old(world);
    else
        paths_draw(world);
    for (uint32_t n = 0; n < count && world->config.steady; n++)
        net->paths[n] = (struct path){.base_us = 1000};
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
    for (uint32_t n = 0; n < net->kept_count; n++)
        free(net->kept[n].packet);
    free(net->kept);
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
    return &world->net->paths[from * world->seats_max + to];
}

bool net_is_cut(struct world *world, uint32_t from, uint32_t to)
{
    return from != to && net_path(world, from, to)->cuts > 0;
}

/* What a draw decides about a packet. */
enum luck {
    LUCK_DELAY,
    LUCK_LOSS,
    LUCK_BURST,
    LUCK_REORDER,
    LUCK_REPLAY,
    LUCK_DUPLICATE,
    LUCK_SPOIL,
    LUCK_KEEP
};

/* The draws for what happens now on a path: the same whatever else is drawn for it, so that a fault
 * that is taken away changes no other. Old seeds draw everything in one row. */
static struct shuffle *luck_of(struct world *world, uint32_t from, uint32_t to, enum luck what)
{
    struct net *net = world->net;
    if (world->config.draws == 1)
        return &net->chance;
    const struct path *path = net_path(world, from, to);
    chance_key(&net->luck, world->config.seed ^ (uint64_t)(what + 1) << 56,
               ((uint64_t)path->sent << 32) + from * world->seats_max + to);
    return &net->luck;
}

static uint64_t queue_wait(const struct world *world, const struct path *path)
{
    return path->queue_empty_us > world->now_us ? path->queue_empty_us - world->now_us : 0;
}

static uint64_t queue_full_us(const struct path *path)
{
    return (uint64_t)path->queue_bytes * 1000 / path->rate_kbs;
}

/* Through the narrow place; what does not fit is a stream's, which waits without filling it. */
static uint64_t queue_pass(struct world *world, struct path *path, uint32_t bytes)
{
    uint64_t wait_us = queue_wait(world, path) + (uint64_t)bytes * 1000 / path->rate_kbs;
    if (wait_us > 5 * WORLD_MS)
        world->faults->hits[FAULT_RATE]++;
    path->queue_empty_us =
        world->now_us + (wait_us < queue_full_us(path) ? wait_us : queue_full_us(path));
    return wait_us;
}

uint64_t net_serial(struct world *world, uint32_t from, uint32_t to, uint32_t bytes)
{
    const struct path *path = net_path(world, from, to);
    return path->rate_kbs > 0 ? (uint64_t)bytes * 1000 / path->rate_kbs : 0;
}

uint64_t net_delay(struct world *world, uint32_t from, uint32_t to, uint32_t bytes)
{
    struct path *path = net_path(world, from, to);
    const struct seat *sender = &world->seats[from];
    uint64_t delay_us = path->base_us + path->more_us;
    path->sent++; /* other draws than before */
    struct shuffle *luck = luck_of(world, from, to, LUCK_DELAY);
    if (path->jitter_us > 0)
        delay_us += chance_spread(luck, path->jitter_us);
    if (path->slow_until_us > world->now_us) {
        world->faults->hits[FAULT_DELAY]++;
        delay_us += chance_log(luck, 20000, 400000);
    }
    if (path->rate_kbs > 0)
        delay_us += queue_pass(world, path, bytes);
    if (sender->io_stalled_until_us > world->now_us) {
        world->faults->hits[FAULT_STALL]++;
        delay_us += sender->io_stalled_until_us - world->now_us;
    }
    if (path->clogged_until_us > world->now_us + delay_us) {
        world->faults->hits[FAULT_SWIZZLE]++;
        delay_us = path->clogged_until_us - world->now_us;
    }
    return delay_us;
}

/* A path that changes between good and bad by itself. */
static void bursts_go_on(struct world *world, uint32_t from, uint32_t to)
{
    struct bursts *bursts = &net_path(world, from, to)->bursts;
    while (bursts->bad_ms > 0 && bursts->until_us <= world->now_us) {
        chance_key(&world->net->luck, world->config.seed + bursts->turns++,
                   (uint64_t)(from + 1) << 32 | to);
        bursts->is_bad = !bursts->is_bad;
        uint32_t mean_ms = bursts->is_bad ? bursts->bad_ms : bursts->good_ms;
        bursts->until_us += 1 + chance_spread(&world->net->luck, (uint64_t)mean_ms * WORLD_MS);
    }
}

bool net_loses(struct world *world, uint32_t from, uint32_t to)
{
    struct path *path = net_path(world, from, to);
    path->sent++;
    struct shuffle *luck = luck_of(world, from, to, LUCK_LOSS);
    if (path->bad_until_us > world->now_us && chance_hits(luck, 800000)) {
        world->faults->hits[FAULT_BURST]++;
        return true;
    }
    if (chance_hits(luck, world->faults->loss_ppm)) {
        world->faults->hits[FAULT_LOSS]++;
        return true;
    }
    if (chance_hits(luck, path->loss_ppm)) {
        world->faults->hits[FAULT_ONE_WAY]++;
        return true;
    }
    bursts_go_on(world, from, to);
    luck = luck_of(world, from, to, LUCK_BURST);
    if (path->bursts.is_bad && chance_hits(luck, path->bursts.bad_ppm)) {
        world->faults->hits[FAULT_GILBERT]++;
        return true;
    }
    return false;
}

/* ---- verbs ---------------------------------------------------------------------------------- */

static struct path *path_disturbed(struct world *world, uint32_t from, uint32_t to)
{
    world_disturb(world, from);
    world_disturb(world, to);
    return net_path(world, from, to);
}

void net_set_loss(struct world *world, uint32_t from, uint32_t to, uint32_t ppm)
{
    path_disturbed(world, from, to)->loss_ppm = ppm;
}

void net_set_bursts(struct world *world, uint32_t from, uint32_t to, uint32_t good_ms,
                    uint32_t bad_ms, uint32_t bad_ppm)
{
    struct path *path = path_disturbed(world, from, to);
    path->bursts = (struct bursts){.good_ms = good_ms, .bad_ms = bad_ms, .bad_ppm = bad_ppm};
    path->bursts.until_us = world->now_us;
}

void net_set_delay(struct world *world, uint32_t from, uint32_t to, uint32_t more_us)
{
    path_disturbed(world, from, to)->more_us = more_us;
}

void net_set_gossip_delay(struct world *world, uint32_t from, uint32_t to, uint32_t more_us)
{
    path_disturbed(world, from, to)->gossip_more_us = more_us;
}

void net_set_rate(struct world *world, uint32_t from, uint32_t to, uint32_t kbs,
                  uint32_t queue_bytes)
{
    struct path *path = path_disturbed(world, from, to);
    path->rate_kbs = kbs;
    path->queue_bytes = queue_bytes;
}

void net_set_mtu(struct world *world, uint32_t from, uint32_t to, uint32_t bytes)
{
    path_disturbed(world, from, to)->mtu_bytes = bytes;
}

void net_clog(struct world *world, uint32_t from, uint32_t to, uint64_t until_us)
{
    struct path *path = path_disturbed(world, from, to);
    if (until_us != 0 || path->clogged_until_us > world->now_us)
        path->clogged_until_us = until_us != 0 ? until_us : world->now_us;
}

/* ---- datagrams ------------------------------------------------------------------------------ */

static struct packet *packet_copy(const struct packet *packet)
{
    struct packet *copy = malloc(sizeof *copy + packet->length);
    if (copy == NULL)
        abort();
    memcpy(copy, packet, sizeof *packet + packet->length);
    return copy;
}

static void packet_push(struct world *world, const struct packet *packet, uint64_t at_us)
{
    world_push(world, &(struct world_event){.at_us = at_us,
                                            .kind = NET_PACKET,
                                            .seat = WORLD_NOBODY,
                                            .p = packet_copy(packet)});
}

/* Every packet that was ever sent is kept with the same chance. */
static void packet_keep(struct world *world, const struct packet *packet, uint32_t to)
{
    struct net *net = world->net;
    struct shuffle *luck = luck_of(world, packet->from_seat, to, LUCK_KEEP);
    uint32_t at = net->kept_count;
    if (at == PACKETS_KEPT)
        at = (uint32_t)(shuffle_u64(luck) % (net->kept_of + 1));
    net->kept_of++;
    if (at >= PACKETS_KEPT)
        return;
    if (net->kept == NULL)
        net->kept = sim_zero(PACKETS_KEPT * sizeof *net->kept);
    if (at == net->kept_count)
        net->kept_count++;
    free(net->kept[at].packet);
    net->kept[at] = (struct kept_packet){.packet = packet_copy(packet),
                                         .sent_us = world->now_us,
                                         .from_life = world->seats[packet->from_seat].life,
                                         .to_seat = to};
}

uint32_t net_replay(struct world *world, uint32_t count, uint32_t least_age_ms)
{
    const struct net *net = world->net;
    uint32_t done = 0;
    for (uint32_t n = 0; n < net->kept_count && done < count; n++) {
        const struct kept_packet *kept = &net->kept[n];
        uint32_t from = kept->packet->from_seat;
        bool is_old = world->now_us - kept->sent_us >= (uint64_t)least_age_ms * WORLD_MS;
        if (!is_old && world->seats[from].life == kept->from_life)
            continue;
        struct packet *again = packet_copy(kept->packet);
        world_addr(&again->to, world->seats[kept->to_seat].address);
        uint64_t at_us = world->now_us + ++done * 300;
        world_push(world,
                   &(struct world_event){
                       .at_us = at_us, .kind = NET_PACKET, .seat = WORLD_NOBODY, .p = again});
    }
    return done;
}

static void datagram_spoil(struct world *world, struct packet *packet, struct shuffle *luck)
{
    struct faults *faults = world->faults;
    if (packet->length > 0 && chance_hits(luck, faults->corrupt_ppm)) {
        faults->hits[FAULT_CORRUPT]++;
        packet->serial = 0;
        uint32_t at = chance_below(luck, packet->length);
        packet->data[at] ^= (uint8_t)(1u << chance_below(luck, 8));
        if (world->config.draws == 1 && chance_below(luck, 4) == 0)
            packet->length = chance_below(luck, packet->length);
    }
    if (packet->length > 0 && chance_hits(luck, faults->truncate_ppm)) {
        faults->hits[FAULT_TRUNCATE]++;
        packet->serial = 0;
        packet->length = chance_below(luck, packet->length);
    }
}

/* Dropped before it is on its way? */
static bool datagram_is_barred(struct world *world, uint32_t from, uint32_t to, size_t length)
{
    const struct path *path = net_path(world, from, to);
    if (net_is_cut(world, from, to) || net_loses(world, from, to))
        return true;
    if (path->mtu_bytes > 0 && length + IP_UDP_BYTES > path->mtu_bytes) {
        world->faults->hits[FAULT_MTU]++;
        return true;
    }
    if (path->rate_kbs > 0 && queue_wait(world, path) >= queue_full_us(path)) {
        world->faults->hits[FAULT_RATE]++;
        return true;
    }
    return false;
}

/* Now, and again if the wire says so. */
static void datagram_push(struct world *world, struct packet *packet, uint32_t to, uint64_t at_us)
{
    struct faults *faults = world->faults;
    uint32_t from = packet->from_seat;
    struct shuffle *luck = luck_of(world, from, to, LUCK_REORDER);
    if (chance_hits(luck, faults->reorder_ppm)) {
        faults->hits[FAULT_REORDER]++;
        at_us += chance_log(luck, 1000, 200000);
    }
    luck = luck_of(world, from, to, LUCK_REPLAY);
    if (chance_hits(luck, faults->replay_ppm)) {
        uint64_t later_us = chance_log(luck, WORLD_SECOND, 120 * WORLD_SECOND);
        packet_push(world, packet, at_us + later_us);
        if (at_us + later_us < world->end_us)
            faults->hits[FAULT_REPLAY]++;
    }
    luck = luck_of(world, from, to, LUCK_DUPLICATE);
    if (chance_hits(luck, faults->duplicate_ppm)) {
        faults->hits[FAULT_DUPLICATE]++;
        packet_push(world, packet, at_us + chance_below(luck, 5000));
    }
    datagram_spoil(world, packet, luck_of(world, from, to, LUCK_SPOIL));
    packet_push(world, packet, at_us);
}

static void datagram_send(struct world *world, struct seat *seat, const struct mesh_effect *effect)
{
    struct net *net = world->net;
    uint8_t space[sizeof(struct packet) + MESH_DATAGRAM_MAX];
    struct packet *packet = (struct packet *)(void *)space;
    uint32_t address = world_address_of(&effect->wire.to);
    uint32_t to = address == WORLD_NOBODY ? WORLD_NOBODY : world_seat_at(world, address);
    struct slice sealed = effect->wire.sealed;
    uint8_t later[MESH_DATAGRAM_MAX];
    if (fault_is_on(world->faults, FAULT_SKEW))
        sealed = skew_datagram(world, seat, sealed, later);
    if (fault_is_on(world->faults, FAULT_MALICE))
        sealed = malice_datagram(world, seat, sealed, later);
    size_t length = sealed.length;
    net->datagrams++;
    net->datagram_bytes += length;
    watch_datagram(world, seat, sealed);
    if (to == WORLD_NOBODY || length > MESH_DATAGRAM_MAX)
        return;
    if (datagram_is_barred(world, seat->index, to, length))
        return;
    packet->from_seat = seat->index;
    packet->serial = ++net->packets;
    world_addr(&packet->from, seat->address);
    packet->to = effect->wire.to;
    packet->length = (uint32_t)length;
    memcpy(packet->data, sealed.at, packet->length);
    uint64_t delay_us = net_delay(world, seat->index, to, packet->length + IP_UDP_BYTES) +
                        net_path(world, seat->index, to)->gossip_more_us;
    if (net->keeps)
        packet_keep(world, packet, to);
    datagram_push(world, packet, to, world->now_us + delay_us);
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
        struct mesh_stats before;
        mesh_stats(seat->mesh, &before);
        mesh_datagram(seat->mesh, &packet->from, slice_borrow(packet->data, packet->length),
                      world_clock_ms(world, seat));
        watch_heard(world, seat, packet, &before);
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

uint32_t net_event_seat(const struct world *world, const struct world_event *event)
{
    const struct stream *stream = &world->net->streams[event->a];
    switch ((int)event->kind) {
    case NET_PACKET:
        return world_seat_at(world, world_address_of(&((const struct packet *)event->p)->to));
    case NET_SYN:
        return world_seat_at(world, world_address_of(&stream->to));
    case NET_DELIVER:
        return stream->end[1 - event->b].seat;
    case NET_ACK:
        return stream->end[event->b].seat;
    }
    return event->seat;
}

void net_event(struct world *world, const struct world_event *event)
{
    if (event->kind == NET_PACKET)
        datagram_arrive(world, event);
    else
        stream_event(world, event);
}
