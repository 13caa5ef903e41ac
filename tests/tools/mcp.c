/* mcp.c - see mcp.h. */
#include "tests/tools/mcp.h"

#include <string.h>

void mcp_send(struct client *client, struct client_call *call, unsigned target,
              const struct mcp_request *request)
{
    char text[MCP_BODY_MAX + MCP_SESSION_MAX + MCP_EVENT_MAX + 512], length[48] = "";
    const char *body = request->body != NULL ? request->body : "";
    bool has_session = request->session[0] != '\0', has_event = request->event_id[0] != '\0';
    if (request->body != NULL)
        snprintf(length, sizeof length, "Content-Length: %zu\r\n", strlen(body));
    call->is_get = strcmp(request->method, "GET") == 0;
    int written = snprintf(
        text, sizeof text,
        "%s /mcp HTTP/1.1\r\nHost: %s\r\nAccept: %stext/event-stream\r\n%s%s%s%s%s%s%s%s\r\n%s",
        request->method, client->targets[target].authority,
        call->is_get ? "" : "application/json, ",
        has_session ? "MCP-Protocol-Version: " MCP_VERSION "\r\nMcp-Session-Id: " : "",
        request->session, has_session ? "\r\n" : "", has_event ? "Last-Event-ID: " : "",
        request->event_id, has_event ? "\r\n" : "",
        request->body != NULL ? "Content-Type: application/json\r\n" : "", length, body);
    client_send(client, call, target, text, (size_t)written);
}

void mcp_send_initialize(struct client *client, struct client_call *call, unsigned target)
{
    static const char body[] =
        "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\",\"params\":{"
        "\"protocolVersion\":\"" MCP_VERSION "\",\"capabilities\":{},"
        "\"clientInfo\":{\"name\":\"tools\",\"version\":\"1\"}}}";
    struct mcp_request request = {.method = "POST", .session = "", .event_id = "", .body = body};
    mcp_send(client, call, target, &request);
}

void mcp_send_initialized(struct client *client, struct client_call *call, unsigned target,
                          const char *session)
{
    struct mcp_request request = {
        .method = "POST",
        .session = session,
        .event_id = "",
        .body = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}"};
    mcp_send(client, call, target, &request);
}

bool mcp_read_session(const struct h1_head *head, char session[MCP_SESSION_MAX + 1])
{
    struct slice id;
    if (!h1_header(head, "mcp-session-id", &id) || id.length == 0 || id.length > MCP_SESSION_MAX)
        return false;
    memcpy(session, id.at, id.length);
    session[id.length] = '\0';
    return true;
}
