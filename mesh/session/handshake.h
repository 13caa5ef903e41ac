/* handshake.h - the handshake that the mesh does itself with an upstream, for a client that
 * believes it has done it: one of HTTP+SSE whose stream broke opens a new one and goes on without
 * initialize (mcp.md §2.3). Its requests wait until it is over. What it says of its client is what
 * is known: the revision. */
#ifndef MESH_HANDSHAKE_H
#define MESH_HANDSHAKE_H

#include "mesh/base/types.h"

struct core;
struct call;
struct upstream;

/* Does this upstream have to be initialized by us before it can be used? Then it was begun. */
bool handshake_begins(struct core *core, struct upstream *up);
/* A step of it is over. */
void handshake_step_over(struct core *core, struct call *step, uint64_t now_ms);

#endif
