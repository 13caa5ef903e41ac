/* stream.c - a small TCP between seats: dial and refusal, a bounded send buffer, segments in order,
 * acknowledgements, FIN, reset, half-open ends, giving up. */
#include "sim/stream.h"

#include <stdlib.h>

#include "sim/check.h"
#include "sim/net.h"

#define DIAL_WAIT_US (5u * WORLD_SECOND) /* the host gives a dial so long */
#define SYN_AGAIN_US (1u * WORLD_SECOND)
#define RETRANSMIT_US 200000u
#define GIVE_UP_US (15u * WORLD_SECOND) /* unacknowledged for so long: ETIMEDOUT */
#define SEGMENTS_A_WRITE 32u
#define EPHEMERAL_PORT 40000u
#define IP_TCP_BYTES 40u

void flow_clear(struct flow *flow)
{
    while (flow->first != NULL) {
        struct segment *segment = flow->first;
        flow->first = segment->next;
        free(segment);
    }
    flow->last = flow->next = NULL;
}

/* ---- streams: what leaves ------------------------------------------------------------------- */

static bool end_lives(const struct world *world, const struct stream_end *end)
{
    return end->is_bound && world->seats[end->seat].mesh != NULL &&
           world->seats[end->seat].life == end->life;
}

static void end_unbind(struct world *world, struct stream_end *end)
{
    if (end->is_bound && world->seats[end->seat].life == end->life)
        slots_drop(&world->seats[end->seat].links, end->handle);
    end->is_bound = false;
}

static void reset_push(struct world *world, uint32_t index, uint32_t at_end, uint64_t at_us)
{
    struct stream_end *end = &world->net->streams[index].end[at_end];
    if (end->is_bound)
        world_push(world, &(struct world_event){.at_us = at_us,
                                                .kind = NET_RESET,
                                                .seat = end->seat,
                                                .life = end->life,
                                                .a = index,
                                                .b = at_end});
}

static void dial_failed(struct world *world, uint32_t index, enum mesh_loss why, uint64_t at_us)
{
    const struct stream_end *end = &world->net->streams[index].end[0];
    world_push(world, &(struct world_event){.at_us = at_us,
                                            .kind = NET_DIAL_FAILED,
                                            .seat = end->seat,
                                            .life = end->life,
                                            .a = index,
                                            .b = why});
}

static void flow_plan(struct world *world, uint32_t index, uint32_t dir, uint64_t at_us)
{
    struct flow *flow = &world->net->streams[index].flow[dir];
    if (flow->deliver_waits)
        return;
    flow->deliver_waits = true;
    world_at(world, at_us > world->now_us ? at_us : world->now_us, NET_DELIVER, WORLD_NOBODY, index,
             dir);
}

/* Of hundreds of links few have something to tell, and to look at each takes long. */
static void note_untold(struct world *world, uint32_t index, const struct stream_end *end)
{
    struct seat *seat = &world->seats[end->seat];
    seat->has_untold = true;
    if (end->is_bound && slots_get(&seat->links, end->handle) == index)
        seat->links.slots[end->handle.slot].is_untold = true;
}

/* Lets go what the send buffer has room for. */
static void flow_pump(struct world *world, uint32_t index, uint32_t dir)
{
    struct stream *stream = &world->net->streams[index];
    struct flow *flow = &stream->flow[dir];
    uint32_t from = stream->end[dir].seat;
    uint32_t to = stream->end[1 - dir].seat;
    if (dir == 0 && !stream->is_up)
        return;
    while (flow->next != NULL &&
           flow->taken + flow->next->length <= flow->acked + stream->buffer_bytes) {
        struct segment *segment = flow->next;
        uint32_t bytes = segment->length + IP_TCP_BYTES;
        uint64_t at_us = world->now_us + net_delay(world, from, to, bytes);
        uint64_t behind_us = flow->arrival_us + net_serial(world, from, to, bytes);
        if (net_loses(world, from, to))
            at_us += RETRANSMIT_US;
        flow->arrival_us = at_us > behind_us ? at_us : behind_us;
        flow->taken += segment->length;
        note_untold(world, index, &stream->end[dir]);
        flow->next = segment->next;
        if (segment == flow->first)
            flow_plan(world, index, dir, flow->arrival_us);
    }
}

static void flow_append(struct flow *flow, const uint8_t *data, uint32_t length, bool is_fin)
{
    struct segment *segment = malloc(sizeof *segment + length);
    if (segment == NULL)
        abort();
    *segment = (struct segment){.length = length, .is_fin = is_fin};
    if (length > 0)
        memcpy(segment->data, data, length);
    if (flow->last != NULL)
        flow->last->next = segment;
    else
        flow->first = segment;
    flow->last = segment;
    if (flow->next == NULL)
        flow->next = segment;
    flow->written += length;
}

/* Something between the two ends breaks the stream within what is being written. */
static void trap_spring(struct world *world, uint32_t index, uint32_t dir)
{
    struct stream *stream = &world->net->streams[index];
    bool by_fin = stream->trap == BREAK_EARLY_FIN;
    stream->has_trap = false;
    stream->is_cut_short = true;
    world->faults->hits[by_fin ? FAULT_EARLY_FIN : FAULT_MID_FRAME]++;
    world_disturb(world, stream->end[0].seat);
    world_disturb(world, stream->end[1].seat);
    uint64_t at_us = stream->flow[dir].arrival_us + WORLD_MS;
    if (at_us < world->now_us)
        at_us = world->now_us; /* of one byte the half is none, and the last came long ago */
    if (by_fin) {
        flow_append(&stream->flow[dir], NULL, 0, true);
        flow_pump(world, index, dir);
    } else {
        reset_push(world, index, 1 - dir, at_us);
    }
    reset_push(world, index, dir, at_us + 50 * WORLD_MS); /* the writer hears of it later */
}

void stream_write(struct world *world, uint32_t index, uint32_t dir, struct slice bytes)
{
    struct net *net = world->net;
    struct stream *stream = &net->streams[index];
    struct flow *flow = &stream->flow[dir];
    uint32_t chunk = stream->buffer_bytes < 16384 ? stream->buffer_bytes : 16384;
    if (!world->config.steady && chance_below(&net->chance, 16) == 0)
        chunk = (uint32_t)chance_log(&net->chance, 1, 256);
    if (stream->is_cut_short)
        return;
    if (stream->has_trap)
        bytes.length /= 2;
    if (bytes.length / chunk > SEGMENTS_A_WRITE)
        chunk = (uint32_t)(bytes.length / SEGMENTS_A_WRITE) + 1;
    if (chunk > stream->buffer_bytes)
        chunk = stream->buffer_bytes;
    for (size_t at = 0; at < bytes.length;) {
        size_t length = bytes.length - at < chunk ? bytes.length - at : chunk;
        flow_append(flow, bytes.at + at, (uint32_t)length, false);
        net->segments++;
        at += length;
    }
    flow_pump(world, index, dir);
    if (stream->has_trap)
        trap_spring(world, index, dir);
    if (!world->config.steady && chance_below(&net->chance, 8) == 0)
        world_at(world, world->now_us + chance_log(&net->chance, 10, 5000), NET_TAKEN,
                 stream->end[dir].seat, index, dir);
}

static bool stream_tell_taken(struct world *world, uint32_t index, uint32_t dir)
{
    struct stream *stream = &world->net->streams[index];
    struct flow *flow = &stream->flow[dir];
    struct stream_end *end = &stream->end[dir];
    uint64_t more = flow->taken - flow->announced;
    if (more == 0 || !end_lives(world, end))
        return false;
    flow->announced = flow->taken;
    struct seat *seat = &world->seats[end->seat];
    mesh_link_taken(seat->mesh, end->handle, (size_t)more, world_clock_ms(world, seat));
    return true;
}

bool net_settle(struct world *world, struct seat *seat)
{
    struct net *net = world->net;
    bool told = false;
    if (!seat->has_untold)
        return false;
    seat->has_untold = false;
    for (uint32_t n = 0; n < seat->links.count; n++) {
        struct slot_entry *slot = &seat->links.slots[n];
        if (slot->generation == 0 || !slot->is_untold)
            continue;
        slot->is_untold = false;
        uint32_t index = slot->index;
        const struct stream *stream = &net->streams[index];
        uint32_t dir = stream->end[0].seat == seat->index && stream->end[0].is_bound &&
                               stream->end[0].handle.slot == n
                           ? 0
                           : 1;
        told = stream_tell_taken(world, index, dir) || told;
    }
    return told;
}

/* ---- streams: what the core wishes ---------------------------------------------------------- */

void stream_dial(struct world *world, struct seat *seat, const struct mesh_effect *effect)
{
    struct net *net = world->net;
    net->streams =
        sim_grow(net->streams, net->streams_count, &net->streams_capacity, sizeof *net->streams);
    uint32_t index = net->streams_count++;
    struct stream *stream = &net->streams[index];
    uint64_t buffer_bytes = chance_log(&net->chance, 16384, 524288);
    *stream = (struct stream){.to = effect->wire.to, .dial_until_us = world->now_us + DIAL_WAIT_US};
    stream->end[0] =
        (struct stream_end){seat->index, seat->life, seat->address, effect->handle, true};
    stream->end[1].seat = WORLD_NOBODY;
    stream->buffer_bytes = world->config.steady ? 65536 : (uint32_t)buffer_bytes;
    if (!slots_put(&seat->links, effect->handle, index))
        check_fail(world, "X1", "p%u: dials with link %u.%u, which was given out before",
                   seat->index, effect->handle.slot, effect->handle.generation);
    net->dials++;
    uint32_t to = world_seat_at(world, world_address_of(&effect->wire.to));
    uint64_t delay_us = to == WORLD_NOBODY ? 1000 : net_delay(world, seat->index, to, IP_TCP_BYTES);
    if (seat->has_no_files) {
        world->faults->hits[FAULT_FILES]++;
        dial_failed(world, index, MESH_LOSS_RST, world->now_us);
        return;
    }
    world_at(world, world->now_us + delay_us, NET_SYN, WORLD_NOBODY, index, 0);
}

void stream_close(struct world *world, uint32_t index, uint32_t dir, bool reset)
{
    struct stream *stream = &world->net->streams[index];
    struct flow *flow = &stream->flow[dir];
    uint32_t from = stream->end[dir].seat;
    uint32_t to = stream->end[1 - dir].seat;
    end_unbind(world, &stream->end[dir]);
    flow_clear(&stream->flow[1 - dir]);
    if (dir == 0 && !stream->is_up) {
        flow_clear(flow); /* never dialled through; a late SYN-ACK meets a closed port */
        return;
    }
    if (!reset) {
        flow_append(flow, NULL, 0, true);
        flow_pump(world, index, dir);
        return;
    }
    flow_clear(flow);
    if (!net_is_cut(world, from, to))
        reset_push(world, index, 1 - dir, world->now_us + net_delay(world, from, to, IP_TCP_BYTES));
}

/* ---- streams: what arrives ------------------------------------------------------------------ */

static void end_down(struct world *world, uint32_t index, uint32_t at_end, enum mesh_loss why)
{
    struct stream *stream = &world->net->streams[index];
    struct stream_end *end = &stream->end[at_end];
    if (!end_lives(world, end)) {
        end->is_bound = false;
        return;
    }
    struct seat *seat = &world->seats[end->seat];
    world_say(world, seat, "link %u.%u is down (%d)", end->handle.slot, end->handle.generation,
              why);
    end_unbind(world, end);
    flow_clear(&stream->flow[at_end]);
    mesh_link_down(seat->mesh, end->handle, why, world_clock_ms(world, seat));
    world_turn(world, seat);
}

/* Comes again later: the path is cut, or the host without power. */
static void flow_stall(struct world *world, uint32_t index, uint32_t dir)
{
    struct flow *flow = &world->net->streams[index].flow[dir];
    if (flow->stalled_us == 0)
        flow->stalled_us = world->now_us;
    if (world->now_us - flow->stalled_us < GIVE_UP_US) {
        flow_plan(world, index, dir, world->now_us + RETRANSMIT_US);
        return;
    }
    reset_push(world, index, dir, world->now_us);
    flow_clear(flow);
}

static void deliver_to_end(struct world *world, uint32_t index, uint32_t dir,
                           struct segment *segment)
{
    struct stream *stream = &world->net->streams[index];
    struct stream_end *end = &stream->end[1 - dir];
    struct flow *flow = &stream->flow[dir];
    struct seat *seat = &world->seats[end->seat];
    if (segment->is_fin) {
        end_down(world, index, 1 - dir, MESH_LOSS_FIN);
        return;
    }
    flow->delivered += segment->length;
    if (!flow->ack_waits) {
        flow->ack_waits = true;
        uint64_t back_us = net_delay(world, end->seat, stream->end[dir].seat, IP_TCP_BYTES);
        world_at(world, world->now_us + back_us, NET_ACK, WORLD_NOBODY, index, dir);
    }
    mesh_link_bytes(seat->mesh, end->handle, slice_borrow(segment->data, segment->length),
                    world_clock_ms(world, seat));
    world_turn(world, seat);
}

static void stream_deliver(struct world *world, uint32_t index, uint32_t dir)
{
    struct stream *stream = &world->net->streams[index];
    struct flow *flow = &stream->flow[dir];
    uint32_t from = stream->end[dir].seat;
    uint32_t to = stream->end[1 - dir].seat;
    flow->deliver_waits = false;
    if (flow->first == NULL || flow->first == flow->next)
        return;
    struct seat *seat = &world->seats[to];
    if (net_is_cut(world, from, to) || seat->host_down || stream->is_black ||
        seat->address != stream->end[1 - dir].address) {
        flow_stall(world, index, dir);
        return;
    }
    flow->stalled_us = 0;
    bool same_life = seat->mesh != NULL && seat->life == stream->end[1 - dir].life;
    bool not_yet = same_life && (dir == 0 ? !stream->is_accepted : !stream->is_up);
    if (same_life && (seat->paused_until_us > world->now_us || not_yet)) {
        uint64_t at_us = world->now_us + WORLD_MS;
        flow_plan(world, index, dir, seat->paused_until_us > at_us ? seat->paused_until_us : at_us);
        return;
    }
    struct segment *segment = flow->first;
    flow->first = segment->next;
    if (flow->first == NULL)
        flow->last = NULL;
    if (flow->first != NULL && flow->first != flow->next)
        flow_plan(world, index, dir, world->now_us + 1);
    if (end_lives(world, &stream->end[1 - dir])) {
        deliver_to_end(world, index, dir, segment);
    } else if (!segment->is_fin && !net_is_cut(world, to, from)) {
        reset_push(world, index, dir, world->now_us + net_delay(world, to, from, IP_TCP_BYTES));
    }
    free(segment);
}

static void stream_ack(struct world *world, const struct world_event *event)
{
    struct stream *stream = &world->net->streams[event->a];
    uint32_t dir = event->b;
    struct flow *flow = &stream->flow[dir];
    struct world_event later = *event;
    const struct stream_end *end = &stream->end[dir];
    if (net_is_cut(world, stream->end[1 - dir].seat, end->seat)) {
        later.at_us = world->now_us + RETRANSMIT_US;
        if (flow->first != NULL || flow->acked < flow->delivered)
            world_push(world, &later);
        else
            flow->ack_waits = false;
        return;
    }
    flow->ack_waits = false;
    flow->acked = flow->delivered;
    flow_pump(world, event->a, dir);
    if (!end_lives(world, end))
        return;
    struct seat *seat = &world->seats[end->seat];
    if (flow->taken == flow->announced)
        return;
    if (seat->paused_until_us > world->now_us) {
        world_at(world, seat->paused_until_us, NET_TAKEN, end->seat, event->a, dir);
        return;
    }
    stream_tell_taken(world, event->a, dir);
    world_turn(world, seat);
}

/* ---- streams: how they begin ---------------------------------------------------------------- */

static void syn_again(struct world *world, const struct world_event *event)
{
    struct stream *stream = &world->net->streams[event->a];
    struct world_event later = *event;
    later.at_us = world->now_us + SYN_AGAIN_US;
    if (later.at_us > stream->dial_until_us) /* which is over for who was paused meanwhile */
        dial_failed(world, event->a, MESH_LOSS_TIMEOUT,
                    stream->dial_until_us > world->now_us ? stream->dial_until_us : world->now_us);
    else
        world_push(world, &later);
}

static void syn_arrive(struct world *world, const struct world_event *event)
{
    struct stream *stream = &world->net->streams[event->a];
    uint32_t from = stream->end[0].seat;
    uint32_t to = world_seat_at(world, world_address_of(&stream->to));
    if (!end_lives(world, &stream->end[0]))
        return;
    bool is_deaf = to != WORLD_NOBODY && world->seats[to].has_no_files;
    world->faults->hits[FAULT_FILES] += is_deaf;
    if (to == WORLD_NOBODY || world->seats[to].host_down || is_deaf ||
        net_is_cut(world, from, to) || net_is_cut(world, to, from)) {
        syn_again(world, event);
        return;
    }
    uint64_t back_us = world->now_us + net_delay(world, to, from, IP_TCP_BYTES);
    world->faults->hits[FAULT_REJECT] += world->seats[to].rejects;
    if (world->seats[to].mesh == NULL || world->seats[to].rejects) {
        dial_failed(world, event->a, MESH_LOSS_REFUSED, back_us);
        return;
    }
    stream->end[1] = (struct stream_end){
        .seat = to, .life = world->seats[to].life, .address = world->seats[to].address};
    stream->flow[1].arrival_us = back_us;
    world_at(world, world->now_us, NET_ACCEPT, to, event->a, 0);
    world_at(world, back_us, NET_SYN_ACK, from, event->a, 0);
}

static void accept_arrive(struct world *world, uint32_t index)
{
    struct stream *stream = &world->net->streams[index];
    struct stream_end *end = &stream->end[1];
    struct seat *seat = &world->seats[end->seat];
    struct mesh_addr from;
    world_addr(&from, world->seats[stream->end[0].seat].address);
    from.port = (uint16_t)(EPHEMERAL_PORT + index % 20000);
    end->handle = mesh_link_accepted(seat->mesh, &from, world_clock_ms(world, seat));
    stream->is_accepted = true;
    end->is_bound = end->handle.generation != 0;
    if (end->is_bound && !slots_put(&seat->links, end->handle, index))
        check_fail(world, "X1", "p%u accepts with link %u.%u, which was given out before",
                   seat->index, end->handle.slot, end->handle.generation);
    if (!end->is_bound)
        reset_push(world, index, 0,
                   world->now_us + net_delay(world, end->seat, stream->end[0].seat, IP_TCP_BYTES));
    world_turn(world, seat);
}

static void syn_ack_arrive(struct world *world, uint32_t index)
{
    struct stream *stream = &world->net->streams[index];
    struct stream_end *end = &stream->end[0];
    struct seat *seat = &world->seats[end->seat];
    stream->is_up = true;
    if (!end->is_bound) {
        reset_push(world, index, 1,
                   world->now_us + net_delay(world, end->seat, stream->end[1].seat, IP_TCP_BYTES));
        return;
    }
    mesh_link_up(seat->mesh, end->handle, world_clock_ms(world, seat));
    flow_pump(world, index, 0);
    world_turn(world, seat);
}

void stream_event(struct world *world, const struct world_event *event)
{
    switch ((int)event->kind) {
    case NET_SYN:
        syn_arrive(world, event);
        break;
    case NET_SYN_ACK:
        syn_ack_arrive(world, event->a);
        break;
    case NET_ACCEPT:
        accept_arrive(world, event->a);
        break;
    case NET_DIAL_FAILED:
        end_down(world, event->a, 0, (enum mesh_loss)event->b);
        break;
    case NET_DELIVER:
        stream_deliver(world, event->a, event->b);
        break;
    case NET_ACK:
        stream_ack(world, event);
        break;
    case NET_TAKEN:
        if (stream_tell_taken(world, event->a, event->b))
            world_turn(world, &world->seats[event->seat]);
        break;
    case NET_RESET:
        flow_clear(&world->net->streams[event->a].flow[1 - event->b]);
        end_down(world, event->a, event->b, MESH_LOSS_RST);
        break;
    }
}

/* ---- deaths --------------------------------------------------------------------------------- */

/* Forgets what the kernel has not taken yet. */
static void flow_drop_unsent(struct flow *flow)
{
    struct flow rest = {.first = flow->next};
    if (flow->next == NULL)
        return;
    if (flow->first == flow->next) {
        flow_clear(flow);
        return;
    }
    struct segment *kept = flow->first;
    while (kept->next != flow->next)
        kept = kept->next;
    kept->next = NULL;
    flow->last = kept;
    flow->next = NULL;
    flow_clear(&rest);
}

static void end_died(struct world *world, uint32_t index, uint32_t dir, enum world_death how)
{
    struct net *net = world->net;
    struct stream *stream = &net->streams[index];
    bool by_reset = chance_below(&net->chance, 2) == 0;
    if (how == DEATH_POWER || (dir == 0 && !stream->is_up)) {
        end_unbind(world, &stream->end[dir]);
        flow_clear(&stream->flow[dir]);
        return;
    }
    flow_drop_unsent(&stream->flow[dir]);
    stream_close(world, index, dir, by_reset); /* else the rest goes out, then FIN */
}

void net_died(struct world *world, struct seat *seat, enum world_death how)
{
    struct net *net = world->net;
    for (uint32_t n = 0; n < net->streams_count; n++)
        for (uint32_t dir = 0; dir < 2; dir++) {
            const struct stream_end *end = &net->streams[n].end[dir];
            if (end->is_bound && end->seat == seat->index && end->life == seat->life)
                end_died(world, n, dir, how);
        }
}

void net_calm(struct world *world)
{
    struct net *net = world->net;
    for (uint32_t n = 0; n < net->streams_count; n++) {
        net->streams[n].has_trap = false;
        if (!net->streams[n].is_black && !net->streams[n].is_cut_short)
            continue;
        net->streams[n].is_black = false;
        net->streams[n].is_cut_short = true;
        flow_clear(&net->streams[n].flow[0]);
        flow_clear(&net->streams[n].flow[1]);
        reset_push(world, n, 0, world->now_us);
        reset_push(world, n, 1, world->now_us);
    }
}

void net_reset_accepted(struct world *world, uint32_t seat)
{
    struct net *net = world->net;
    for (uint32_t n = 0; n < net->streams_count; n++) {
        struct stream *stream = &net->streams[n];
        if (!stream->is_up || stream->end[1].seat != seat || !stream->end[0].is_bound ||
            !stream->end[1].is_bound)
            continue;
        flow_clear(&stream->flow[0]);
        flow_clear(&stream->flow[1]);
        reset_push(world, n, 0, world->now_us);
        reset_push(world, n, 1, world->now_us);
        world_disturb(world, stream->end[0].seat);
    }
}

bool net_break_any(struct world *world, enum net_break how)
{
    struct net *net = world->net;
    uint32_t first = chance_below(&net->chance, net->streams_count);
    for (uint32_t n = 0; n < net->streams_count; n++) {
        uint32_t index = (first + n) % net->streams_count;
        struct stream *stream = &net->streams[index];
        if (!stream->is_up || !stream->end[0].is_bound || !stream->end[1].is_bound)
            continue;
        world_disturb(world, stream->end[0].seat);
        world_disturb(world, stream->end[1].seat);
        stream->has_trap = how == BREAK_MID_FRAME || how == BREAK_EARLY_FIN;
        stream->trap = how;
        stream->is_black = stream->is_black || how == BREAK_HALF_OPEN;
        if (how != BREAK_RESET)
            return true;
        flow_clear(&stream->flow[0]);
        flow_clear(&stream->flow[1]);
        reset_push(world, index, 0, world->now_us + chance_below(&net->chance, 50000));
        reset_push(world, index, 1, world->now_us + chance_below(&net->chance, 50000));
        return true;
    }
    return false;
}
