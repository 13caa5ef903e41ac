/* field_net.c - the paths of a field, and the datagrams on them. A path's delay is a function of
 * its ends, not a table. Links are field_link.c's. */
#include "sim/field_inside.h"

#include <errno.h>
#include <stdlib.h>

#include "mesh/base/bytes.h"

#define INBOX_BYTES 212992 /* a socket's receive buffer (net.core.rmem_default) */
#define PACKET_EXTRA 512   /* what the kernel counts for each beside its bytes, about */
#define PACKET_SMALL 256   /* most datagrams fit */

struct packet {
    struct packet *next; /* free ones */
    struct mesh_addr from;
    uint32_t from_seat, to_seat;
    uint64_t nonce;
    uint16_t length;
    bool is_small;
    uint8_t bytes[];
};

void field_net_new(struct field *field)
{
    field->pools = calloc(1, sizeof *field->pools);
    if (field->pools == NULL)
        abort();
    field_links_new(field);
}

void field_net_free(struct field *field)
{
    for (unsigned n = 0; n < 2; n++)
        for (struct packet *packet = field->pools->packets[n], *next; packet; packet = next) {
            next = packet->next;
            free(packet);
        }
    field_links_free(field);
    free(field->pools);
}

static struct packet *packet_new(struct field *field, size_t length)
{
    bool is_small = length <= PACKET_SMALL;
    struct packet *packet = field->pools->packets[is_small];
    if (packet != NULL)
        field->pools->packets[is_small] = packet->next;
    else
        packet = malloc(sizeof *packet + (is_small ? PACKET_SMALL : WIRE_PLAIN_MAX));
    if (packet == NULL)
        abort();
    packet->is_small = is_small;
    packet->length = (uint16_t)length;
    return packet;
}

static void packet_free(struct field *field, struct packet *packet)
{
    packet->next = field->pools->packets[packet->is_small];
    field->pools->packets[packet->is_small] = packet;
}

void field_event_free(struct field *field, const struct field_event *event)
{
    enum field_event_kind kind = field_event_kind(event);
    if (kind == FIELD_DATAGRAM || kind == FIELD_READ)
        packet_free(field, event->what);
    else
        free(event->what);
}

/* ---- paths ---------------------------------------------------------------------------------- */

uint64_t path_base_delay(const struct field *field, uint32_t from, uint32_t to)
{
    uint64_t x = (field->config.seed + 1) * UINT64_C(0x9e3779b97f4a7c15) ^
                 ((uint64_t)from << 32 | to) * UINT64_C(0xff51afd7ed558ccd);
    uint32_t range = field->config.delay_max_us - field->config.delay_min_us + 1;
    x = (x ^ x >> 32) * UINT64_C(0xc4ceb9fe1a85ec53);
    return field->config.delay_min_us + ((x >> 32) * range >> 32);
}

/* The path's own, and up to a quarter more. */
uint64_t path_delay(struct field *field, uint32_t from, uint32_t to)
{
    uint64_t base_us = path_base_delay(field, from, to);
    return base_us + shuffle_below(&field->chance, (uint32_t)base_us / 4 + 1);
}

bool path_reaches(const struct field *field, uint32_t from, uint32_t to)
{
    const struct seat *a = &field->seats[from], *b = &field->seats[to];
    return !a->mute && !b->deaf && (!field->is_partitioned || a->group == b->group);
}

bool path_both_reach(const struct field *field, uint32_t a, uint32_t b)
{
    return path_reaches(field, a, b) && path_reaches(field, b, a);
}

static bool hits(struct field *field, uint32_t ppm)
{
    return ppm > 0 && shuffle_below(&field->chance, 1000000) < ppm;
}

bool path_is_lost(struct field *field, uint32_t from, uint32_t to)
{
    return hits(field, field->seats[from].lost_out_ppm) || hits(field, field->lost_ppm) ||
           hits(field, field->seats[to].lost_in_ppm);
}

/* When the last byte is on the wire. */
uint64_t path_leaves_at(struct field *field, struct seat *seat, uint64_t from_us, size_t bytes)
{
    if (field->config.bytes_per_s == 0)
        return from_us;
    if (seat->wire_free_us < from_us)
        seat->wire_free_us = from_us;
    seat->wire_free_us += bytes * FIELD_SECOND / field->config.bytes_per_s;
    return seat->wire_free_us;
}

/* ---- stalled peers -------------------------------------------------------------------------- */

void field_hold(struct seat *seat, void *what, bool is_out, bool is_message)
{
    struct field_held *held = calloc(1, sizeof *held);
    if (held == NULL)
        abort();
    *held = (struct field_held){NULL, is_out, is_message, what};
    *seat->held_end = held;
    seat->held_end = &held->next;
}

static struct field_held *take_held(struct seat *seat)
{
    struct field_held *held = seat->held;
    seat->held = NULL;
    seat->held_end = &seat->held;
    return held;
}

void field_net_drop(struct field *field, uint32_t number)
{
    for (struct field_held *held = take_held(&field->seats[number]), *next; held; held = next) {
        next = held->next;
        if (held->is_message)
            free(held->what);
        else
            packet_free(field, held->what);
        free(held);
    }
}

/* ---- datagrams ------------------------------------------------------------------------------ */

static void launch(struct field *field, struct packet *packet)
{
    struct seat *seat = &field->seats[packet->from_seat];
    size_t bytes = packet->length + FIELD_SEAL_BYTES + FIELD_IP_BYTES;
    seat->meter.datagrams_out++;
    seat->meter.bytes_out += bytes;
    uint64_t leaves_us = path_leaves_at(field, seat, field->now_us, bytes);
    if (packet->to_seat == FIELD_NOBODY ||
        !path_reaches(field, packet->from_seat, packet->to_seat) ||
        path_is_lost(field, packet->from_seat, packet->to_seat)) {
        field->datagrams_lost++;
        packet_free(field, packet);
        return;
    }
    field_at(field, leaves_us + path_delay(field, packet->from_seat, packet->to_seat),
             FIELD_DATAGRAM, packet->to_seat, packet);
}

void field_send(struct field *field, uint32_t from, const struct swim_send *send)
{
    struct seat *seat = &field->seats[from];
    struct wire_writer w;
    if (swim_write_send(seat->swim, send, &w, field->pools->text, WIRE_PLAIN_MAX) < 0)
        return;
    struct packet *packet = packet_new(field, w.length);
    memcpy(packet->bytes, field->pools->text, w.length);
    field_addr(&packet->from, seat->address);
    packet->from_seat = from;
    packet->to_seat = field_seat_at(field, &send->addr);
    packet->nonce = seat->nonce;
    if (seat->is_stalled)
        field_hold(seat, packet, true, false);
    else
        launch(field, packet);
}

/* mesh.c's limit on what strangers may cost. */
static bool hears_stranger(const struct field *field, struct seat *seat, uint64_t now_ms)
{
    uint32_t per_s =
        field->config.strangers_per_s == 0 ? SWIM_STRANGERS_PER_S : field->config.strangers_per_s;
    if (now_ms - seat->strangers_since_ms >= 1000) {
        seat->strangers_since_ms = now_ms;
        seat->strangers = 0;
    }
    if (seat->strangers++ < per_s)
        return true;
    seat->strangers_refused++;
    return false;
}

static void read_packet(struct field *field, uint32_t number, struct packet *packet)
{
    struct seat *seat = &field->seats[number];
    struct wire_datagram *d = &field->pools->datagram;
    uint64_t now_ms = field_clock_ms(field);
    if (wire_datagram_read(d, packet->bytes, packet->length) < 0)
        abort(); /* our own codec wrote it */
    const struct view *view = swim_view(seat->swim);
    const struct mesh_member *member = view_find(view, d->sender);
    bool is_answered = d->target_nonce == 0 || d->kind == DATAGRAM_PING ||
                       d->target_nonce == view_self(view)->record->nonce;
    bool is_strange = member == NULL || member->record->nonce != packet->nonce;
    if (!is_strange || !is_answered || hears_stranger(field, seat, now_ms)) {
        swim_on_datagram(seat->swim, &packet->from, d, packet->nonce, now_ms);
        field_turn(field, number);
    }
    packet_free(field, packet);
}

static void packet_arrives(struct field *field, uint32_t number, struct packet *packet)
{
    struct seat *seat = &field->seats[number];
    uint64_t size = packet->length + PACKET_EXTRA;
    if (seat->is_stalled) {
        field_hold(seat, packet, false, false);
        return;
    }
    seat->meter.datagrams_in++;
    seat->meter.bytes_in += packet->length + FIELD_SEAL_BYTES + FIELD_IP_BYTES;
    if (field->config.datagram_us == 0) {
        read_packet(field, number, packet);
        return;
    }
    if (seat->inbox_bytes + size > INBOX_BYTES) {
        field->datagrams_lost++;
        packet_free(field, packet);
        return;
    }
    seat->inbox_bytes += size;
    field_at(field, field_work(field, seat, field->config.datagram_us), FIELD_READ, number, packet);
}

/* ---- events --------------------------------------------------------------------------------- */

void field_net_release(struct field *field, uint32_t number)
{
    struct seat *seat = &field->seats[number];
    struct field_held *first = take_held(seat);
    for (struct field_held *held = first; held != NULL; held = held->next)
        if (held->is_out && held->is_message)
            field_message_leaves(field, held->what);
        else if (held->is_out)
            launch(field, held->what);
    swim_now(seat->swim, field_clock_ms(field));
    field_turn(field, number);
    for (struct field_held *held = first, *next; held != NULL; held = next) {
        next = held->next;
        if (held->is_out)
            ;
        else if (seat->swim == NULL && held->is_message)
            free(held->what);
        else if (seat->swim == NULL)
            packet_free(field, held->what);
        else if (held->is_message)
            field_message_arrives(field, number, held->what);
        else
            packet_arrives(field, number, held->what);
        free(held);
    }
}

void field_net_event(struct field *field, const struct field_event *event)
{
    switch (field_event_kind(event)) {
    case FIELD_WAKE:
        break;
    case FIELD_DATAGRAM:
        packet_arrives(field, event->seat, event->what);
        break;
    case FIELD_READ: {
        struct packet *packet = event->what;
        field->seats[event->seat].inbox_bytes -= packet->length + PACKET_EXTRA;
        read_packet(field, event->seat, packet);
        break;
    }
    case FIELD_LINK_UP:
    case FIELD_UNDIALLED:
    case FIELD_PONG:
    case FIELD_MESSAGE:
    case FIELD_TAKE:
        field_link_event(field, event);
        break;
    }
}
