/* link_out.c - what leaves a link: messages are queued by stream, and whatever may leave now goes
 * into one sealed record: control first, then the streams in turn. */
#include "mesh/wire/link.h"

#include <errno.h>
#include <stdlib.h>

#include "mesh/wire/frame.h"
#include "mesh/wire/stream.h"

#define SMALL_PAYLOAD 512 /* copied into the queue: a reference would pin a whole buffer */
#define PART_MIN 64       /* no shorter part of a message that would fit nowhere anyway */
#define CREDIT_BYTES 12
#define TOTAL_BYTES 4

/* The stream that its user may still write to. */
static struct link_stream *find_open(const struct link *link, uint32_t number)
{
    struct link_stream *s = number == 0 ? NULL : stream_find(link, number);

    return s != NULL && s->state == STREAM_OPEN ? s : NULL;
}

/* ---- wishes --------------------------------------------------------------------------------- */

uint32_t link_stream_open(struct link *link, struct handle user)
{
    uint32_t highest = link->highest[0];
    uint32_t number = highest != 0 ? highest + 2 : link->is_dialler ? 1 : 2;
    struct link_stream *s;

    if (link->state != LINK_OPEN || link->wants_end || link->ended_in ||
        link->opened_count[0] == LINK_STREAMS_MAX || highest > UINT32_MAX - 2)
        return 0;
    s = stream_make(link, number, true);
    if (s == NULL)
        return 0;
    s->user = user;
    return number;
}

int link_stream_accept(struct link *link, uint32_t stream, struct handle user)
{
    struct link_stream *s = find_open(link, stream);

    if (s == NULL)
        return -ENOENT;
    s->user = user;
    return 0;
}

static struct link_message *message_new(struct link *link, const void *head, size_t head_length,
                                        struct slice payload)
{
    bool is_copied = payload.buf == NULL || payload.length <= SMALL_PAYLOAD;
    size_t copied = head_length + (is_copied ? payload.length : 0);
    struct link_message *m = copied <= MESSAGE_SMALL
                                 ? spare_take(&link->spare_messages, sizeof *m + MESSAGE_SMALL)
                                 : malloc(sizeof *m + copied);

    if (m == NULL)
        return NULL;
    *m = (struct link_message){.head_length = copied};
    memcpy(m->head, head, head_length);
    if (is_copied && payload.length > 0)
        memcpy(m->head + head_length, payload.at, payload.length);
    else if (!is_copied)
        slice_keep(&m->payload, payload, NULL); /* a reference: it cannot fail */
    return m;
}

int link_send(struct link *link, uint32_t stream, const void *head, size_t head_length,
              struct slice payload)
{
    struct link_stream *s = stream == 0 ? link->control : find_open(link, stream);
    struct link_message *m;

    if (link->state != LINK_OPEN || link->wants_end)
        return -EPIPE;
    if (s == NULL)
        return -ENOENT;
    if (head_length == 0 || payload.length > LINK_MESSAGE_MAX ||
        head_length + payload.length > (stream == 0 ? LINK_CONTROL_MAX : LINK_MESSAGE_MAX))
        return -EMSGSIZE;
    if (link->queued + link->unwritten + head_length + payload.length > LINK_PENDING_MAX)
        return -ENOBUFS;
    m = message_new(link, head, head_length, payload);
    if (m == NULL)
        return -ENOMEM;
    if (s->last != NULL)
        s->last->next = m;
    else
        s->first = m;
    s->last = m;
    s->queued += message_length(m);
    link->queued += message_length(m);
    link->messages_queued++;
    stream_update_sending(link, s);
    return 0;
}

void link_consumed(struct link *link, uint32_t stream, size_t bytes)
{
    struct link_stream *s = find_open(link, stream);

    if (s != NULL && link->state == LINK_OPEN)
        stream_take(link, s, bytes);
}

/* Nothing is left to be sent before the CLOSE. */
static void close_now(struct link *link, struct link_stream *s)
{
    if (!s->has_begun) /* the other side never heard of it */
        stream_free(link, s);
    else
        stream_report(link, s, true);
}

void link_stream_close(struct link *link, uint32_t stream)
{
    struct link_stream *s = find_open(link, stream);

    if (s == NULL)
        return;
    stream_retire(link, s, STREAM_CLOSING);
    if (s->first == NULL)
        close_now(link, s);
}

void link_stream_cut(struct link *link, uint32_t stream)
{
    struct link_stream *s = stream == 0 ? NULL : stream_find(link, stream);

    if (s == NULL || (s->state != STREAM_OPEN && s->state != STREAM_CLOSING))
        return;
    stream_drop_queue(link, s);
    stream_retire(link, s, STREAM_CLOSING);
    close_now(link, s);
}

bool link_stream_sent(const struct link *link, uint32_t stream)
{
    const struct link_stream *s = stream == 0 ? link->control : stream_find(link, stream);

    return s == NULL || s->first == NULL;
}

size_t link_stream_queued(const struct link *link, uint32_t stream)
{
    const struct link_stream *s = stream == 0 ? link->control : stream_find(link, stream);

    return s == NULL ? 0 : s->queued - s->first_sent;
}

uint32_t link_streams_count(const struct link *link)
{
    return link->opened_count[0] + link->opened_count[1];
}

void link_ping(struct link *link, uint32_t number)
{
    link->ping = number;
    link->has_ping = true;
}

void link_shutdown(struct link *link)
{
    link->wants_end = true;
}

/* ---- records -------------------------------------------------------------------------------- */

/* A record under construction. */
struct writer {
    uint8_t *at;
    size_t length, room;
};

/* Begins a frame with a body of `length` bytes and returns where it goes; NULL: no room. */
static uint8_t *put_frame(struct writer *w, uint32_t stream, enum frame_kind kind, size_t length)
{
    uint8_t *at = w->at + w->length;

    if (w->room - w->length < FRAME_HEAD_BYTES + length)
        return NULL;
    frame_put(at, stream, 4);
    at[FRAME_AT_KIND] = (uint8_t)kind;
    frame_put(at + FRAME_AT_LENGTH, length, 2);
    w->length += FRAME_HEAD_BYTES + length;
    return at + FRAME_HEAD_BYTES;
}

static void put_pings(struct link *link, struct writer *w)
{
    uint8_t *at;

    if (link->has_ping && (at = put_frame(w, 0, FRAME_PING, 4)) != NULL) {
        frame_put(at, link->ping, 4);
        link->has_ping = false;
    }
    if (link->has_pong && (at = put_frame(w, 0, FRAME_PONG, 4)) != NULL) {
        frame_put(at, link->pong, 4);
        link->has_pong = false;
    }
}

/* The CREDIT or CLOSE that is due on a stream. False: no room. */
static bool put_report(struct link *link, struct writer *w, struct link_stream *s)
{
    uint8_t *at;

    if (s->state == STREAM_OPEN) {
        at = put_frame(w, s->number, FRAME_CREDIT, CREDIT_BYTES);
        if (at == NULL)
            return false;
        frame_put(at, s->consumed, 8);
        frame_put(at + 8, s->limit - s->consumed, 4);
        s->limit_told = s->limit;
        list_remove(&s->reporting);
        return true;
    }
    if (s->state == STREAM_CLOSING && s->first != NULL) { /* later, behind what is queued */
        list_remove(&s->reporting);
        return true;
    }
    at = put_frame(w, s->number, FRAME_CLOSE, 1);
    if (at == NULL)
        return false;
    at[0] = (uint8_t)s->why;
    list_remove(&s->reporting);
    if (s->state == STREAM_ANSWERING)
        stream_free(link, s);
    else
        s->state = STREAM_CLOSED;
    return true;
}

static bool put_reports(struct link *link, struct writer *w)
{
    struct list *node;

    while ((node = list_first(&link->reporting)) != NULL)
        if (!put_report(link, w, container_of(node, struct link_stream, reporting)))
            return false;
    link->reports_due = false;
    link->reports_at_ms = MESH_NEVER;
    return true;
}

/* Copies bytes at .. at + length of a message. */
static void copy_part(uint8_t *into, const struct link_message *m, size_t at, size_t length)
{
    size_t of_head = at < m->head_length ? m->head_length - at : 0;

    if (of_head > length)
        of_head = length;
    if (of_head > 0)
        memcpy(into, m->head + at, of_head);
    if (length > of_head)
        memcpy(into + of_head, m->payload.at + (at + of_head - m->head_length), length - of_head);
}

/* One part of a stream's first message, of at most `most` bytes. Returns its length; 0: no room. */
static size_t put_part(struct link *link, struct writer *w, struct link_stream *s, size_t most)
{
    struct link_message *m = s->first;
    size_t total = message_length(m), left = total - s->first_sent;
    bool is_first = s->first_sent == 0;
    size_t head = is_first ? TOTAL_BYTES : 0, room = w->room - w->length, length = left;
    uint8_t *at;

    if (room < FRAME_HEAD_BYTES + head + (left < PART_MIN ? left : PART_MIN))
        return 0;
    if (!stream_is_control(s) && length > s->sent_limit - s->sent)
        length = (size_t)(s->sent_limit - s->sent);
    if (length > most)
        length = most;
    if (length > room - FRAME_HEAD_BYTES - head)
        length = room - FRAME_HEAD_BYTES - head;
    at = put_frame(w, s->number, is_first ? FRAME_FIRST : FRAME_MORE, head + length);
    if (is_first)
        frame_put(at, total, TOTAL_BYTES);
    copy_part(at + head, m, s->first_sent, length);
    s->has_begun = true;
    s->sent += length;
    s->first_sent += length;
    if (length == left)
        stream_drop_first(link, s);
    return length;
}

/* One stream's turn. False: the record is full. */
static bool put_turn(struct link *link, struct writer *w, struct link_stream *s)
{
    bool is_alone = link->sending.next == link->sending.prev;
    size_t quantum = is_alone ? TUNNEL_PLAIN_MAX : LINK_QUANTUM;

    while (s->first != NULL && s->sent < s->sent_limit && quantum > 0) {
        size_t length = put_part(link, w, s, quantum);
        if (length == 0)
            return false;
        quantum -= length;
    }
    list_remove(&s->sending); /* to the end of the line, or out of it */
    stream_update_sending(link, s);
    if (s->first == NULL && s->state == STREAM_CLOSING)
        close_now(link, s);
    return true;
}

static void put_messages(struct link *link, struct writer *w)
{
    struct list *node;

    while (link->control->first != NULL)
        if (put_part(link, w, link->control, LINK_CONTROL_MAX) == 0)
            return;
    while ((node = list_first(&link->sending)) != NULL)
        if (!put_turn(link, w, container_of(node, struct link_stream, sending)))
            return;
}

static bool final_is_due(const struct link *link)
{
    return link->wants_end && !link->ended_out && link->messages_queued == 0 &&
           list_is_empty(&link->reporting);
}

bool link_wants_write(const struct link *link)
{
    if (link->state == LINK_DOWN)
        return false;
    if (link->greeting != NULL)
        return true;
    if (link->state != LINK_OPEN || link->ended_out)
        return false;
    return link->control->first != NULL || !list_is_empty(&link->sending) || link->has_ping ||
           link->has_pong || (link->reports_due && !list_is_empty(&link->reporting)) ||
           (link->wants_end && final_is_due(link));
}

/* How much a record may come to hold: a guess that is seldom too small. */
static size_t record_room(const struct link *link)
{
    uint32_t streams = link_streams_count(link);
    size_t reports = streams < 200 ? streams : 200;
    size_t room = link->queued + (link->messages_queued + 2 * reports) * 11 + 256;

    return room < TUNNEL_PLAIN_MAX ? room : TUNNEL_PLAIN_MAX;
}

static struct bytes *take_greeting(struct link *link)
{
    struct bytes *greeting = link->greeting;

    link->greeting = NULL;
    link->unwritten += greeting->length;
    return greeting;
}

struct bytes *link_next_record(struct link *link, uint64_t now_ms)
{
    struct bytes *record;
    struct writer w;

    link_now(link, now_ms);
    if (!link_wants_write(link) || link->unwritten >= LINK_UNWRITTEN_MAX)
        return NULL;
    if (link->greeting != NULL)
        return take_greeting(link);
    w = (struct writer){.length = 1, .room = record_room(link)};
    record = bytes_new(NULL, TUNNEL_PREFIX + w.room + TUNNEL_TAG);
    if (record == NULL) {
        link_fail(link, LINK_NO_MEMORY);
        return NULL;
    }
    w.at = record->data + TUNNEL_PREFIX;
    put_pings(link, &w);
    if (put_reports(link, &w))
        put_messages(link, &w);
    put_reports(link, &w); /* a stream that has sent its last closes in the same record */
    w.at[0] = final_is_due(link) ? FRAME_FINAL : 0;
    link->ended_out = w.at[0] != 0;
    record->length = tunnel_seal(&link->out, record->data, w.length);
    link->unwritten += record->length;
    return record;
}

void link_written(struct link *link, size_t bytes)
{
    link->unwritten -= bytes < link->unwritten ? bytes : link->unwritten;
}
