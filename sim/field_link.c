/* field_link.c - links, as far as membership has use for them: dialled for an exchange of views or
 * to see whether somebody is there, then they carry messages in order. Loss makes them slow, a cut
 * ends them. */
#include "sim/field_inside.h"

#include <stdlib.h>

#include "mesh/base/bytes.h"

#define SYN_RETRY_US 1000000 /* RFC 6298 */
#define RETRY_US 200000      /* Linux's least RTO */
#define DIAL_US 5000000      /* links.h: LINK_DEADLINE_MS */
#define IDLE_US 60000000     /* links.h: LINKS_IDLE_MS */
#define PROVED_US 1000000    /* links.h: LINKS_PROVED_MS */
#define WAIT_US 50000        /* between looks whether a stalled peer shakes hands */
#define SEGMENT_BYTES 1400
#define WINDOW_BYTES 14000u /* ten segments, doubling by round trips (RFC 6928) */
#define TCP_BYTES 52        /* headers of IP and TCP with time stamps */
#define RECORD_BYTES 18     /* length and tag of a sealed record */
#define SHAKE_BYTES 400     /* a dial and its handshake, each way, about */
#define RECORD_TEXT 90      /* a member's record in a VIEW, about */

struct message {
    uint32_t from, to;
    struct peer_id sender;
    uint32_t length;
    uint8_t bytes[];
};

/* The link between two peers, whoever dialled; [0] is the lower seat. */
struct link {
    struct link *next; /* of the same bucket */
    uint32_t seat[2], life[2];
    bool is_up;
    bool wants[2]; /* an exchange, once its dial is through */
    uint64_t dial_until_us[2], arrival_us[2], used_us;
    uint64_t heard_us[2]; /* when this end last read of the other; 0: never */
};

struct field_links {
    struct link **buckets;
    uint32_t mask;
};

/* Also a ping on a link that stands, and what became of either. */
struct dial {
    uint32_t from, to, life;
    struct peer_id with;
    uint64_t until_us;
    bool is_refused;
};

void field_links_new(struct field *field)
{
    uint32_t buckets = 1024;
    while (buckets < 2 * field->config.seats)
        buckets *= 2;
    field->links = calloc(1, sizeof *field->links);
    if (field->links == NULL)
        abort();
    field->links->mask = buckets - 1;
    field->links->buckets = calloc(buckets, sizeof *field->links->buckets);
    if (field->links->buckets == NULL)
        abort();
}

void field_links_free(struct field *field)
{
    for (uint32_t n = 0; n <= field->links->mask; n++)
        for (struct link *link = field->links->buckets[n], *next; link != NULL; link = next) {
            next = link->next;
            free(link);
        }
    free(field->links->buckets);
    free(field->links);
}

/* One segment, sent again until it arrives. Above DIAL_US it does not count any more. */
static uint64_t segment_delay(struct field *field, uint32_t from, uint32_t to, uint64_t retry_us)
{
    uint64_t trip_us = path_delay(field, from, to);
    while (trip_us < 2 * (uint64_t)DIAL_US && path_is_lost(field, from, to)) {
        trip_us += retry_us;
        retry_us *= 2;
    }
    return trip_us;
}

static struct link *link_between(struct field *field, uint32_t a, uint32_t b)
{
    uint32_t low = a < b ? a : b, high = a < b ? b : a;
    uint64_t key = ((uint64_t)low << 32 | high) * UINT64_C(0x9e3779b97f4a7c15);
    struct link **at = &field->links->buckets[(key >> 32) & field->links->mask];
    for (struct link *link = *at; link != NULL; link = link->next)
        if (link->seat[0] == low && link->seat[1] == high)
            return link;
    struct link *link = calloc(1, sizeof *link);
    if (link == NULL)
        abort();
    link->seat[0] = low;
    link->seat[1] = high;
    link->next = *at;
    *at = link;
    return link;
}

static bool link_is_up(const struct field *field, const struct link *link)
{
    return link->is_up && field->now_us - link->used_us < IDLE_US &&
           field->seats[link->seat[0]].life == link->life[0] && field_runs(field, link->seat[0]) &&
           field->seats[link->seat[1]].life == link->life[1] && field_runs(field, link->seat[1]);
}

void field_message_leaves(struct field *field, struct message *message)
{
    struct seat *seat = &field->seats[message->from];
    struct link *link = link_between(field, message->from, message->to);
    unsigned side = link->seat[1] == message->from;
    uint32_t segments = 1 + message->length / SEGMENT_BYTES;
    size_t bytes = message->length + RECORD_BYTES + (size_t)segments * TCP_BYTES;
    if (!link_is_up(field, link) || !path_both_reach(field, message->from, message->to)) {
        link->is_up = false;
        free(message);
        return;
    }
    uint64_t work_us = field->config.message_us +
                       (uint64_t)field->config.record_us * (message->length / RECORD_TEXT);
    uint64_t at_us = path_leaves_at(field, seat, field_work(field, seat, work_us), bytes),
             late_us = 0;
    for (uint32_t n = 0; n < segments; n++) {
        uint64_t one_us = segment_delay(field, message->from, message->to, RETRY_US);
        late_us = one_us > late_us ? one_us : late_us;
    }
    for (uint32_t sent = message->length; sent > WINDOW_BYTES; sent /= 2)
        late_us += path_base_delay(field, message->from, message->to) +
                   path_base_delay(field, message->to, message->from);
    at_us += late_us;
    if (at_us < link->arrival_us[side])
        at_us = link->arrival_us[side];
    link->arrival_us[side] = at_us;
    link->used_us = field->now_us;
    seat->meter.link_bytes_out += bytes;
    field->seats[message->to].meter.link_bytes_in += bytes;
    field_at(field, at_us, FIELD_MESSAGE, message->to, message);
}

static void tell_seat(struct field *field, uint32_t from, uint32_t to, const struct wire_message *m)
{
    struct seat *seat = &field->seats[from];
    int length = wire_link_write(m, field->pools->text, sizeof field->pools->text);
    if (length < 0)
        abort(); /* WIRE_VIEW_MAX suffices */
    struct message *message = malloc(sizeof *message + (size_t)length);
    if (message == NULL)
        abort();
    message->from = from;
    message->to = to;
    message->sender = view_self(swim_view(seat->swim))->record->id;
    message->length = (uint32_t)length;
    memcpy(message->bytes, field->pools->text, (size_t)length);
    if (seat->is_stalled)
        field_hold(seat, message, true, true);
    else
        field_message_leaves(field, message);
}

void field_tell(struct field *field, uint32_t from, struct peer_id to, const struct wire_message *m)
{
    uint32_t seat = field_seat_of(field, to.name);
    if (seat != FIELD_NOBODY && peer_id_equal(field->seats[seat].id, to) &&
        link_is_up(field, link_between(field, from, seat)))
        tell_seat(field, from, seat, m);
}

static void exchange(struct field *field, uint32_t from, uint32_t to)
{
    struct wire_message *sums = &field->pools->message;
    swim_exchange_begin(field->seats[from].swim, field->seats[to].id, sums);
    tell_seat(field, from, to, sums);
}

static struct dial *dial_new(struct field *field, uint32_t from, uint32_t to, struct peer_id with,
                             uint64_t until_us)
{
    struct dial *dial = malloc(sizeof *dial);
    if (dial == NULL)
        abort();
    *dial = (struct dial){from, to, field->seats[to].life, with, until_us, false};
    return dial;
}

/* When a dial is through, its handshake included; DIAL_US or more later: too late. */
static uint64_t dialled_us(struct field *field, uint32_t from, uint32_t to)
{
    uint64_t syn_us = segment_delay(field, from, to, SYN_RETRY_US);
    uint64_t answer_us = segment_delay(field, to, from, SYN_RETRY_US);
    uint64_t shake_us = segment_delay(field, from, to, RETRY_US);
    uint64_t shaken_us = segment_delay(field, to, from, RETRY_US);
    uint64_t begun_us = field_work(field, &field->seats[from], field->config.dial_us);
    uint64_t taken_us = field_work(field, &field->seats[to], field->config.dial_us);
    uint64_t at_us = begun_us + syn_us + answer_us + shake_us;
    return (at_us > taken_us ? at_us : taken_us) + shaken_us;
}

static void begin_dial(struct field *field, uint32_t from, uint32_t to, struct peer_id with)
{
    struct seat *seat = &field->seats[from], *other = &field->seats[to];
    struct link *link = link_between(field, from, to);
    unsigned side = link->seat[1] == from;
    uint64_t until_us = field->now_us + DIAL_US;
    if (link->dial_until_us[side] > field->now_us)
        return; /* under way */
    link->dial_until_us[side] = until_us;
    struct dial *dial = dial_new(field, from, to, with, until_us);
    seat->meter.dials++;
    seat->meter.link_bytes_out += SHAKE_BYTES;
    if (!path_both_reach(field, from, to) || (!field_runs(field, to) && other->is_off)) {
        field_at(field, until_us, FIELD_UNDIALLED, from, dial); /* nobody answers */
    } else if (!field_runs(field, to)) {
        dial->is_refused = true;
        field_at(field, field->now_us + path_delay(field, from, to) + path_delay(field, to, from),
                 FIELD_UNDIALLED, from, dial);
    } else {
        uint64_t at_us = dialled_us(field, from, to);
        other->meter.link_bytes_out += SHAKE_BYTES;
        other->meter.link_bytes_in += SHAKE_BYTES;
        seat->meter.link_bytes_in += SHAKE_BYTES;
        if (at_us < until_us)
            field_at(field, at_us, FIELD_LINK_UP, from, dial);
        else
            field_at(field, until_us, FIELD_UNDIALLED, from, dial);
    }
}

static bool is_wanted(const struct field *field, uint32_t seat, struct peer_id with)
{
    return peer_id_is_nobody(with) || peer_id_equal(with, field->seats[seat].id);
}

void field_wish(struct field *field, uint32_t from, const struct swim_wish *wish)
{
    uint32_t to = field_seat_at(field, &wish->addr);
    if (to == FIELD_NOBODY || to == from)
        return;
    struct link *link = link_between(field, from, to);
    if (link_is_up(field, link) && is_wanted(field, to, wish->with)) {
        exchange(field, from, to);
        return;
    }
    link->wants[link->seat[1] == from] = true;
    begin_dial(field, from, to, wish->with);
}

void field_check(struct field *field, uint32_t from, const struct swim_check *check)
{
    uint32_t to = field_seat_at(field, &check->addr);
    if (to == FIELD_NOBODY || to == from || field->seats[from].is_stalled)
        return; /* no answer is a no */
    struct link *link = link_between(field, from, to);
    unsigned side = link->seat[1] == from;
    if (!link_is_up(field, link) || !is_wanted(field, to, check->peer)) {
        begin_dial(field, from, to, check->peer);
    } else if (link->heard_us[side] != 0 && field->now_us - link->heard_us[side] <= PROVED_US) {
        swim_on_reached(field->seats[from].swim, check->peer, true, field_clock_ms(field));
    } else {
        uint64_t trip_us = segment_delay(field, from, to, RETRY_US);
        trip_us += segment_delay(field, to, from, RETRY_US);
        if (path_both_reach(field, from, to) && trip_us < DIAL_US)
            field_at(field, field->now_us + trip_us, FIELD_PONG, from,
                     dial_new(field, from, to, check->peer, field->now_us + DIAL_US));
    }
}

static bool is_awake(const struct field *field, uint32_t number)
{
    const struct seat *seat = &field->seats[number];
    return !seat->is_stalled && seat->paused_until_us <= field->now_us;
}

/* Each end knows now who the other one is. */
static void reached(struct field *field, uint32_t by, uint32_t whom)
{
    struct link *link = link_between(field, by, whom);
    link->heard_us[link->seat[1] == by] = field->now_us;
    swim_on_reached(field->seats[by].swim, field->seats[whom].id, true, field_clock_ms(field));
}

static void link_up(struct field *field, struct dial *dial)
{
    struct link *link = link_between(field, dial->from, dial->to);
    unsigned side = link->seat[1] == dial->from;
    const struct seat *to = &field->seats[dial->to];
    bool runs = field_runs(field, dial->to) && to->life == dial->life;
    bool waits = !is_awake(field, dial->from) || !is_awake(field, dial->to) ||
                 !path_both_reach(field, dial->from, dial->to);
    if (runs && waits && field->now_us + WAIT_US < dial->until_us) {
        field_at(field, field->now_us + WAIT_US, FIELD_LINK_UP, dial->from, dial);
        return;
    }
    link->dial_until_us[side] = 0;
    if (runs && !waits && !peer_id_is_nobody(to->id) && is_wanted(field, dial->to, dial->with)) {
        link->is_up = true;
        link->life[0] = field->seats[link->seat[0]].life;
        link->life[1] = field->seats[link->seat[1]].life;
        link->used_us = field->now_us;
        reached(field, dial->to, dial->from);
        field_turn(field, dial->to);
        reached(field, dial->from, dial->to);
        if (link->wants[side])
            exchange(field, dial->from, dial->to);
        link->wants[side] = false;
        field_turn(field, dial->from);
    }
    free(dial);
}

static void undialled(struct field *field, struct dial *dial)
{
    struct link *link = link_between(field, dial->from, dial->to);
    struct swim *swim = field->seats[dial->from].swim;
    link->dial_until_us[link->seat[1] == dial->from] = 0;
    link->wants[link->seat[1] == dial->from] = false;
    if (dial->is_refused)
        swim_on_refused(swim, dial->with, field_clock_ms(field));
    else
        swim_on_reached(swim, dial->with, false, field_clock_ms(field));
    uint32_t from = dial->from;
    free(dial);
    field_turn(field, from);
}

static void ponged(struct field *field, struct dial *dial)
{
    bool runs = field_runs(field, dial->to) && field->seats[dial->to].life == dial->life;
    if (runs && is_awake(field, dial->from) && is_awake(field, dial->to) &&
        path_both_reach(field, dial->from, dial->to)) {
        reached(field, dial->from, dial->to);
        field_turn(field, dial->from);
    }
    free(dial);
}

static void take_message(struct field *field, uint32_t number, struct message *message)
{
    struct wire_message *m = &field->pools->message;
    struct slice text = slice_borrow(message->bytes, message->length);
    if (wire_link_read(m, text, field->pools->records) < 0)
        abort(); /* our own codec wrote it */
    struct link *link = link_between(field, number, message->from);
    link->heard_us[link->seat[1] == number] = field->now_us;
    swim_on_link_message(field->seats[number].swim, message->sender, m, field_clock_ms(field));
    free(message);
    field_turn(field, number);
}

void field_message_arrives(struct field *field, uint32_t number, struct message *message)
{
    struct seat *seat = &field->seats[number];
    uint64_t work_us = field->config.message_us +
                       (uint64_t)field->config.record_us * (message->length / RECORD_TEXT);
    if (seat->is_stalled)
        field_hold(seat, message, false, true);
    else if (work_us == 0)
        take_message(field, number, message);
    else
        field_at(field, field_work(field, seat, work_us), FIELD_TAKE, number, message);
}

void field_link_event(struct field *field, const struct field_event *event)
{
    switch (field_event_kind(event)) {
    case FIELD_WAKE:
    case FIELD_DATAGRAM:
    case FIELD_READ:
        break;
    case FIELD_LINK_UP:
        link_up(field, event->what);
        break;
    case FIELD_UNDIALLED:
        undialled(field, event->what);
        break;
    case FIELD_PONG:
        ponged(field, event->what);
        break;
    case FIELD_MESSAGE:
        field_message_arrives(field, event->seat, event->what);
        break;
    case FIELD_TAKE:
        take_message(field, event->seat, event->what);
        break;
    }
}
