/* relay.h - exchanges that we carry between an entry and an owner which cannot reach each other,
 * though we reach both (DESIGN §5, §6): a rule of a firewall between two peers is no reason to take
 * a session over. Each message goes on as it came, and room is given back as the entry takes what
 * came; nothing is kept. A lane that is lost on one side is closed on the other: the entry attaches
 * again, by whatever way it finds then. The path of a request has two hops so (invariant B3). */
#ifndef MESH_RELAY_H
#define MESH_RELAY_H

#include "mesh/base/pool.h"
#include "mesh/base/table.h"
#include "mesh/base/types.h"

#define RELAYS_MAX 4096

struct core;
struct lane;
struct links_event;
struct wire_message;

struct relays {
    struct pool pool;
    struct table by_lane; /* both lanes of each */
};

void relay_init(struct core *core);
void relay_deinit(struct core *core);
/* Carries the exchange of this OPEN, that came on this lane, to `owner`. False: no room, or it
 * cannot be reached from here either. */
bool relay_begin(struct core *core, struct lane lane, const struct wire_message *open,
                 struct peer_id owner, uint64_t now_ms);
/* True: it was about a lane that we carry. */
bool relay_on_event(struct core *core, const struct links_event *event);

#endif
