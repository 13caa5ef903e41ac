/* retry.c - the class of a request. */
#include "mesh/session/retry.h"

#include <stdlib.h>

#include "mesh/base/siphash.h"

#define RETRY_FIRST 64
#define RETRY_SAFE_BIT UINT64_C(1)

void retry_init(struct retry *retry, bool hints, const uint8_t key[16])
{
    memset(retry, 0, sizeof *retry);
    retry->hints = hints;
    table_init(&retry->tools, sizeof(uint64_t), key);
}

void retry_deinit(struct retry *retry)
{
    table_deinit(&retry->tools);
    free(retry->known);
}

/* Names are compared as written: an upstream and its client write a tool's name alike, and a
 * difference errs on the side of "unsafe". Who could choose names that collide is the operator's
 * own server. */
static uint64_t retry_tool_hash(struct slice name)
{
    static const uint8_t shared[16] = "mesh tool names";
    return siphash(shared, name.at, name.length) & ~RETRY_SAFE_BIT;
}

/* True: news. No room, or no memory: the tool stays unsafe. */
static bool retry_set(struct retry *retry, uint64_t hash, bool is_safe)
{
    uint64_t tool = hash | (is_safe ? RETRY_SAFE_BIT : 0);
    uint32_t at = 0;
    if (table_get(&retry->tools, &hash, &at)) {
        bool is_news = retry->known[at] != tool;
        retry->known[at] = tool;
        return is_news;
    }
    if (!is_safe || retry->count == RETRY_TOOLS_MAX)
        return false;
    if (retry->count == retry->room) {
        uint32_t room = retry->room == 0 ? RETRY_FIRST : retry->room * 2;
        uint64_t *known = reallocarray(retry->known, room, sizeof *known);
        if (known == NULL)
            return false;
        retry->known = known;
        retry->room = room;
    }
    if (table_put(&retry->tools, &hash, retry->count) < 0)
        return false;
    retry->known[retry->count++] = tool;
    return true;
}

bool retry_learn(struct retry *retry, const struct rpc_tools *tools, struct slice text)
{
    bool is_news = false;
    for (uint32_t n = 0; n < tools->count; n++) {
        const struct rpc_tool *tool = &tools->tools[n];
        uint64_t hash = retry_tool_hash(slice_part(text, tool->name));
        is_news = retry_set(retry, hash, tool->read_only || tool->idempotent) || is_news;
    }
    return is_news;
}

void retry_hear(struct retry *retry, uint64_t tool)
{
    (void)retry_set(retry, tool & ~RETRY_SAFE_BIT, (tool & RETRY_SAFE_BIT) != 0);
}

static bool retry_tool_is_safe(const struct retry *retry, const struct rpc_message *rpc,
                               struct slice body)
{
    uint32_t at = 0;
    if (!retry->hints || rpc->has_task || rpc->name.length == 0 || retry->count == 0)
        return false;
    uint64_t hash = retry_tool_hash(slice_part(body, rpc->name));
    return table_get(&retry->tools, &hash, &at) && (retry->known[at] & RETRY_SAFE_BIT);
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
