/* place.h - where a request without a session goes: a new session to the peer that shall own it
 * (DESIGN §4, --placement), anything else to the local upstream. */
#ifndef MESH_PLACE_H
#define MESH_PLACE_H

#include "mesh/base/types.h"

struct core;

enum place_verdict {
    PLACE_AT,            /* ask `peer` */
    PLACE_WAIT,          /* nobody can take it now */
    PLACE_NO_SESSION_ID, /* this upstream keeps sessions: the request must name one */
    PLACE_NOT_SUPPORTED, /* this upstream cannot speak that */
    PLACE_NO_ROUTE       /* no upstream has such a path */
};

enum place_verdict place_request(struct core *core, const struct mesh_request *request,
                                 struct peer_id *peer);
/* Does it make a session: initialize, or the GET of HTTP+SSE? */
bool place_is_new_session(const struct mesh_request *request);

#endif
