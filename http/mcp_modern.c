/* mcp_modern.c - what a request of the session-less era (MCP 2026-07-28) names in its headers, as
 * far as the mesh routes on it: the task, which must be the body's, and the handle that
 * --affinity-header names. All else is the upstream's to check. */
#include "http/base64.h"
#include "http/mcp_inside.h"

/* Does this header value say what the JSON string `raw` says? As text, or in base64 where it is
 * not visible ASCII (MCP 2026-07-28, header values). */
static bool names(struct slice value, struct slice raw)
{
    static const char opening[] = "=?base64?", closing[] = "?=";
    const size_t before = sizeof opening - 1, behind = sizeof closing - 1;
    uint8_t decoded[MCP_NAME_MAX];
    size_t length;

    if (value.length < before + behind || memcmp(value.at, opening, before) != 0 ||
        memcmp(value.at + value.length - behind, closing, behind) != 0)
        return rpc_string_is(raw, value);
    value = slice_borrow(value.at + before, value.length - before - behind);
    return base64_decode(decoded, sizeof decoded, &length, value, BASE64_PADDED) &&
           rpc_string_is(raw, slice_borrow(decoded, length));
}

static bool is_about_a_task(const struct rpc_message *rpc)
{
    return rpc->kind == RPC_REQUEST &&
           (rpc->method == RPC_TASKS_GET || rpc->method == RPC_TASKS_UPDATE ||
            rpc->method == RPC_TASKS_CANCEL);
}

struct mcp_own mcp_take_modern(const struct mcp_config *config, const struct mcp_input *input,
                               struct mesh_request *request)
{
    static const struct mcp_own none = {0};
    struct slice name, handle, task = slice_part(input->body, input->rpc->task_id);

    if (is_about_a_task(input->rpc) && task.length > 0 &&
        h1_field(input->head, H1_FIELD_MCP_NAME, &name) && !names(name, task))
        return (struct mcp_own){.status = 400,
                                .code = MCP_HEADER_MISMATCH,
                                .message = "Header mismatch: Mcp-Name is not params.taskId"};
    if (config->affinity_header != NULL &&
        h1_header(input->head, config->affinity_header, &handle) && handle.length > 0)
        request->key = (struct mesh_key){MESH_KEY_HANDLE, handle};
    return none;
}
