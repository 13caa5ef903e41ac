/* mcp_modern.c - what a request of the session-less era (MCP 2026-07-28) names in its headers, as
 * far as the mesh routes on it: the task, which must be the body's, and the handle that
 * --affinity-header names. All else is the upstream's to check. */
#include "http/mcp_inside.h"

static int base64_digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* RFC 4648 section 4, with its padding and without unused bits: one spelling a text. `into` has
 * room for three bytes a group. False: it is none. */
static bool base64_decode(uint8_t *into, size_t *length, struct slice text)
{
    size_t padding = 0;

    *length = 0;
    while (padding < 2 && padding < text.length && text.at[text.length - 1 - padding] == '=')
        padding++;
    if (text.length % 4 != 0)
        return false;
    for (size_t group = 0; group < text.length; group += 4) {
        size_t digits = group + 4 == text.length ? 4 - padding : 4;
        uint32_t bits = 0;

        for (size_t i = 0; i < 4; i++) {
            int digit = i < digits ? base64_digit(text.at[group + i]) : 0;

            if (digit < 0)
                return false;
            bits = bits << 6 | (uint32_t)digit;
        }
        for (size_t i = 0; i < digits - 1; i++)
            into[(*length)++] = (uint8_t)(bits >> (16 - 8 * i));
        if (bits << (8 * (digits - 1)) & 0xffffff)
            return false;
    }
    return true;
}

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
    if (value.length / 4 * 3 > sizeof decoded || !base64_decode(decoded, &length, value))
        return false;
    return rpc_string_is(raw, slice_borrow(decoded, length));
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
