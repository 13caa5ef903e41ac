/* endpoint.h - the URI of an HTTP+SSE server's `endpoint` event (MCP 2024-11-05, transports; RFC
 * 3986 section 5) as the target of the requests that follow. A server says where its messages go;
 * it does not say to whom: another origin than its own is refused (row S8). */
#ifndef HTTP_ENDPOINT_H
#define HTTP_ENDPOINT_H

#include "mesh/base/bytes.h"

#define ENDPOINT_MAX 2048u /* bytes of the URI */

/* `authority`: of the server, "host[:port]"; `base`: the target of its stream, "/sse?a=b". The
 * target is path and query, without dot segments and fragment, visible ASCII throughout. 0,
 * -EINVAL (no such URI, or of another origin) or -ENOMEM. */
int endpoint_read(struct slice uri, const char *authority, const char *base,
                  struct bytes **targetp);

#endif
