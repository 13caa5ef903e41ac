/* handshake.h - the handshake that the mesh does itself with an upstream, step after step, while
 * the client's requests wait: for a client that believes it has done it (one of HTTP+SSE whose
 * stream broke opens a new one and goes on without initialize, mcp.md §2.3; what is said of it is
 * what is known: the revision), and for a session that had another upstream before (replay.h). */
#ifndef MESH_HANDSHAKE_H
#define MESH_HANDSHAKE_H

#include "mesh/base/types.h"

struct core;
struct call;
struct upstream;

enum handshake_end {
    HANDSHAKE_DONE,
    HANDSHAKE_REFUSED, /* by an error, or what is no answer */
    HANDSHAKE_DENIED,  /* its credentials are not accepted */
    HANDSHAKE_CHANGED, /* the server speaks another protocol version now */
    HANDSHAKE_LOST     /* no answer came */
};

/* A fresh upstream: initialize with its session's own parameters is to be the first that it gets,
 * under the header lines of this call. -ENOBUFS */
int handshake_prepare(struct core *core, struct upstream *up, const struct call *under);
/* It can be written to: does it have to be initialized by us before it is used? Then that was
 * begun. */
bool handshake_begins(struct core *core, struct upstream *up, uint64_t now_ms);
/* A message came for a step; `answer`: its text, if it is the answer. */
void handshake_heard(struct core *core, struct call *step, const struct rpc_message *rpc,
                     struct slice answer, uint64_t now_ms);
/* A step is over. */
void handshake_step_over(struct core *core, struct call *step, uint64_t now_ms);

#endif
