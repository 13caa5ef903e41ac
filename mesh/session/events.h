/* events.h - the log of one stream: its events, numbered without holes, as far back as its bounds
 * allow. A number, once given, is never given again. Who reads, and from where, is event_stream.h's
 * business. */
#ifndef MESH_EVENTS_H
#define MESH_EVENTS_H

#include "mesh/base/types.h"

#define EVENTS_MAX 1000               /* of one log */
#define EVENTS_BYTES_MAX (256u << 10) /* likewise; a larger event is kept alone */
#define EVENTS_COPY_MAX                                                                            \
    4096               /* up to here text is copied: a small event must not pin the                \
                          buffer it was read into (DESIGN §8) */
#define EVENTS_COST 96 /* bytes that an event costs beside its text */

struct logged {
    struct slice text;    /* of the event; of a failure: the raw JSON-RPC id it answers */
    enum mesh_reason why; /* not MESH_OK: the mesh's own error, worded by http/mcp.c */
    bool answers, is_last;
};

struct events {
    struct logged *ring;
    uint32_t capacity, head, count; /* capacity: a power of two, or 0 */
    uint64_t number;                /* of the newest event; 0: none yet */
    size_t bytes;                   /* kept: texts, and EVENTS_COST for each */
};

void events_init(struct events *events);
void events_deinit(struct events *events);
/* Numbers one more event and keeps its text, dropping the oldest that the bounds have no room for.
 * What was kept stands in *kept (borrowed from the log). -ENOMEM: it has its number, but neither it
 * nor what came before is kept. */
int events_add(struct events *events, const struct logged *event, struct bytes_budget *budget,
               struct logged *kept);
/* The number of the oldest event that is kept; number + 1 if there is none. */
uint64_t events_oldest(const struct events *events);
/* NULL: it is not kept. */
const struct logged *events_at(const struct events *events, uint64_t number);
/* Drops the oldest; false: there is none. */
bool events_drop_oldest(struct events *events);
/* Drops everything; the next event gets this number, which none before it had. */
void events_skip(struct events *events, uint64_t next);
/* Everything up to this number arrived: what is too large to be kept for a resume is dropped. */
void events_delivered(struct events *events, uint64_t number);

#endif
