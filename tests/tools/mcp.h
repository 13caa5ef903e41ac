/* mcp.h - the requests of MCP (Streamable HTTP) that tools send over client.h: a session's opening,
 * its calls, its GET. What comes back is the caller's to judge. */
#ifndef TOOLS_MCP_H
#define TOOLS_MCP_H

#include "tests/tools/client.h"

#define MCP_VERSION "2025-11-25"
#define MCP_SESSION_MAX 128
#define MCP_EVENT_MAX 128
#define MCP_BODY_MAX 1024

/* All texts end with NUL; session and event id may be empty, body (at most MCP_BODY_MAX) NULL. */
struct mcp_request {
    const char *method, *session, *event_id, *body;
};
void mcp_send(struct client *client, struct client_call *call, unsigned target,
              const struct mcp_request *request);
void mcp_send_initialize(struct client *client, struct client_call *call, unsigned target);
void mcp_send_initialized(struct client *client, struct client_call *call, unsigned target,
                          const char *session);
/* The session's id in the answer to initialize; false: none, or too long. */
bool mcp_read_session(const struct h1_head *head, char session[MCP_SESSION_MAX + 1]);

#endif
