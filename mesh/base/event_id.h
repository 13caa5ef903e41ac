/* event_id.h - how an event of a session's stream is named, towards clients and between peers: the
 * stream, the epoch's counter, the number. Numbers go on without holes within an epoch (mcp.md
 * §4.2 rule 7). What is kept and replayed by them is mesh/session/events.h's business. */
#ifndef MESH_EVENT_ID_H
#define MESH_EVENT_ID_H

#include "mesh/base/bytes.h"

#define EVENT_ID_TEXT 56 /* bytes that the longest one needs */

/* "3-1-17": event 17 of stream 3 in epoch 1; "3-1-18-e": the last one of its stream. Number 0 is
 * the place before the first event. */
struct event_id {
    uint64_t epoch; /* its counter; 0: no event is meant */
    uint64_t number;
    uint32_t stream; /* 0: the session's own, else one of a POST */
    bool is_last;
};

static inline bool event_id_is_none(const struct event_id *id)
{
    return id->epoch == 0;
}

/* The length written, at most EVENT_ID_TEXT. */
size_t event_id_write(char text[EVENT_ID_TEXT], const struct event_id *id);
/* Strictly: one text for each id. False: no id of ours, *id is none. */
bool event_id_read(struct event_id *id, struct slice text);

#endif
