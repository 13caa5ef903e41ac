/* place.h - where a request without a session goes: a new session to the peer that shall own it
 * (DESIGN §4, --placement), one of the session-less era to what it is tied to, else here or to
 * whoever serves (DESIGN §12), anything else to the local upstream. */
#ifndef MESH_PLACE_H
#define MESH_PLACE_H

#include "mesh/session/affinity.h"

struct core;

enum place_verdict {
    PLACE_AT,            /* ask `peer` */
    PLACE_WAIT,          /* nobody can take it now, or who shall is being asked */
    PLACE_NO_SESSION_ID, /* this upstream keeps sessions: the request must name one */
    PLACE_NOT_SUPPORTED, /* this upstream cannot speak that */
    PLACE_NO_ROUTE       /* no upstream has such a path */
};

enum place_verdict place_request(struct core *core, const struct mesh_request *request,
                                 const struct affinity *affinity, struct peer_id *peer,
                                 uint64_t now_ms);
/* Does it make a session: initialize, or the GET of HTTP+SSE? */
bool place_is_new_session(const struct mesh_request *request);

#endif
