/* retry.c - the class of a request. */
#include "mesh/session/retry.h"

#include "mesh/base/siphash.h"

void retry_init(struct retry *retry, bool hints, const uint8_t key[16])
{
    memset(retry, 0, sizeof *retry);
    retry->hints = hints;
    memcpy(retry->key, key, sizeof retry->key);
    table_init(&retry->tools, sizeof(uint64_t), key);
}

void retry_deinit(struct retry *retry)
{
    table_deinit(&retry->tools);
}

/* Names are compared as written: an upstream and its client write a tool's name alike, and a
 * difference errs on the side of "unsafe". */
static uint64_t retry_tool_key(const struct retry *retry, struct slice name)
{
    return siphash(retry->key, name.at, name.length);
}

void retry_learn(struct retry *retry, const struct rpc_tools *tools, struct slice text)
{
    for (uint32_t n = 0; n < tools->count; n++) {
        const struct rpc_tool *tool = &tools->tools[n];
        uint64_t key = retry_tool_key(retry, slice_part(text, tool->name));
        table_remove(&retry->tools, &key);
        /* no room, or no memory: the tool stays unsafe */
        if ((tool->read_only || tool->idempotent) && table_count(&retry->tools) < RETRY_TOOLS_MAX)
            (void)table_put(&retry->tools, &key, 1);
    }
}

static bool retry_tool_is_safe(const struct retry *retry, const struct rpc_message *rpc,
                               struct slice body)
{
    uint32_t marked = 0;
    if (!retry->hints || rpc->has_task || rpc->name.length == 0 || table_count(&retry->tools) == 0)
        return false;
    uint64_t key = retry_tool_key(retry, slice_part(body, rpc->name));
    return table_get(&retry->tools, &key, &marked);
}

enum retry_class retry_class_of(const struct retry *retry, const struct rpc_message *rpc,
                                struct slice body, bool user_was_asked)
{
    if (rpc->kind != RPC_REQUEST && rpc->kind != RPC_BATCH)
        return RETRY_DROP;
    if (rpc->kind == RPC_BATCH || user_was_asked)
        return RETRY_NEVER;
    switch (rpc->method) {
    case RPC_INITIALIZE:
    case RPC_PING:
    case RPC_DISCOVER:
    case RPC_TOOLS_LIST:
    case RPC_RESOURCES_LIST:
    case RPC_RESOURCES_TEMPLATES_LIST:
    case RPC_RESOURCES_READ:
    case RPC_RESOURCES_SUBSCRIBE:
    case RPC_RESOURCES_UNSUBSCRIBE:
    case RPC_PROMPTS_LIST:
    case RPC_PROMPTS_GET:
    case RPC_COMPLETE:
    case RPC_SET_LEVEL:
    case RPC_TASKS_GET:
    case RPC_TASKS_LIST:
    case RPC_TASKS_CANCEL:
        return RETRY_SAFE;
    case RPC_TOOLS_CALL:
        return retry_tool_is_safe(retry, rpc, body) ? RETRY_SAFE : RETRY_NEVER;
    case RPC_OTHER:
    case RPC_INITIALIZED:
    case RPC_CANCELLED:
    case RPC_PROGRESS:
    case RPC_LISTEN:
    case RPC_TASKS_RESULT:
    case RPC_TASKS_UPDATE:
    case RPC_ROOTS_CHANGED:
        return RETRY_NEVER;
    }
    return RETRY_NEVER;
}
