/* up_sse.h - sessions of an HTTP+SSE server (MCP 2024-11-05, transports), as a part of up_http.c:
 * one stream brings all that the server says, its first event names where messages are POSTed. To
 * the core that is a child's way of speaking: it places each message. */
#ifndef NODE_UP_SSE_H
#define NODE_UP_SSE_H

#include "node/up_http.h"

/* Opens the stream of a new upstream session, which is ready, or closed, once it is known where
 * its messages go. `up` may be gone afterwards. */
void sse_up_open(struct http_up *up);
/* UP_SEND. `sse`, and its session, may be gone afterwards. */
void sse_up_send(struct sse_up *sse, const struct mesh_effect *effect);
void sse_up_free(struct sse_up *sse); /* after its calls; NULL is fine */

#endif
