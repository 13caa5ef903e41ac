/* stream.h - the streams of one link: their numbers, queues and credit. Private to link.c,
 * link_out.c and stream.c; frames and records are theirs.
 *
 * Credit granted to the other side is limit - consumed. What of it exceeds LINK_WINDOW_FIRST is
 * `extra` and counts against LINK_GRANTS_MAX of the link, so that no number of slow readers can
 * make it hold more, and none of them can stop another stream. */
#ifndef MESH_STREAM_H
#define MESH_STREAM_H

#include "mesh/wire/link.h"

/* Our CLOSE may be wished (CLOSING), gone (CLOSED), or due as the answer to theirs (ANSWERING). */
enum stream_state { STREAM_OPEN, STREAM_CLOSING, STREAM_CLOSED, STREAM_ANSWERING };

/* A message whose head is no longer lies in a spare piece, which has room for so much. */
#define MESSAGE_SMALL 1000u

/* One message that waits to leave. */
struct link_message {
    struct link_message *next;
    struct slice payload; /* behind the head */
    size_t head_length;
    uint8_t head[];
};

struct link_stream {
    uint32_t number, slot;
    enum stream_state state;
    struct handle user;
    bool is_ours;
    bool is_announced; /* our user knows it */
    bool has_begun;    /* the other side knows it */
    enum link_close_reason why;

    /* out, in bytes of messages */
    struct link_message *first, *last;
    size_t first_sent; /* of the first message */
    size_t queued;
    uint64_t sent, sent_limit, acked;

    /* in */
    uint64_t received, delivered, consumed, limit, limit_told;
    uint64_t grown_at; /* `consumed` when the window last changed */
    uint32_t window;
    size_t extra;
    struct bytes *assembly; /* the message under way, and its length in all */
    size_t assembly_total;
    uint64_t assembly_at; /* `received` when it began */

    struct list sending, reporting, waiting;
};

static inline size_t message_length(const struct link_message *m)
{
    return m->head_length + m->payload.length;
}
static inline bool stream_is_control(const struct link_stream *s)
{
    return s->number == 0;
}

int streams_init(struct link *link); /* 0 or -ENOMEM; makes the control stream */
void streams_deinit(struct link *link);
struct link_stream *stream_find(const struct link *link, uint32_t number); /* NULL: not alive */
/* NULL: no memory. */
struct link_stream *stream_make(struct link *link, uint32_t number, bool is_ours);
void stream_free(struct link *link, struct link_stream *s);
void stream_drop_queue(struct link *link, struct link_stream *s);
void stream_drop_first(struct link *link, struct link_stream *s);
/* It is neither read nor written for its user any more: gives back what it holds for that. */
void stream_retire(struct link *link, struct link_stream *s, enum stream_state state);
/* Puts it among those whose turn to send comes, or takes it out. */
void stream_update_sending(struct link *link, struct link_stream *s);
void stream_report(struct link *link, struct link_stream *s, bool is_urgent);
/* The reader took `bytes`: widens the window if it keeps up, and grants what that allows. */
void stream_take(struct link *link, struct link_stream *s, size_t bytes);
/* A message of `total` bytes begins. 0: a buffer for it is there, credit comes now or later;
 * -ENOMEM. */
int stream_begin_assembly(struct link *link, struct link_stream *s, size_t total);
void stream_end_assembly(struct link_stream *s); /* drops the buffer */
void streams_admit_waiting(struct link *link);

#endif
