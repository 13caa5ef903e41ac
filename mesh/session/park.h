/* park.h - OPENs that wait here until it is known who owns their session next: a takeover runs
 * (takeover.h), or the session is about to be handed over (handover.h). Then each is served, moved
 * or refused like one that comes just now. Their entries' clocks run: one that gave up has closed
 * its lane, and is dropped. */
#ifndef MESH_PARK_H
#define MESH_PARK_H

#include "mesh/base/list.h"
#include "mesh/base/types.h"

#define PARK_MAX 16384 /* OPENs; their bodies count against the core's budget */

struct core;
struct lane;
struct wire_message;

struct parks {
    struct list opens; /* struct parked_open, the oldest first */
    uint32_t count;
};

void park_init(struct core *core);
void park_deinit(struct core *core);
/* Keeps an OPEN that came on this lane. False: no room, it is to be deferred. */
bool park_keep(struct core *core, struct lane lane, const struct wire_message *open);
/* Those of this session go on: serve_open() once more. */
void park_release(struct core *core, const struct session_id *id, uint64_t now_ms);

#endif
