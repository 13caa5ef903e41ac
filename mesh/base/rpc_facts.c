/* rpc_facts.c - what the keys of a JSON-RPC message mean: which member of which container is a
 * fact of struct rpc_message, and what makes a JSON text a JSON-RPC 2.0 message. The grammar, and
 * where strings end, is rpc.c's. */
#include "mesh/base/rpc_scan.h"

#define BATCH_MAX 100
#define META_VERSION_KEY "io.modelcontextprotocol/protocolVersion"
#define META_RELATED_KEY "io.modelcontextprotocol/related-task"

/* What a name means: of a key its role, of a method which it is. The text is padded with zeros.
 * Two keys that mean nothing are among them, for being so frequent. */
struct name_rule {
    char text[48];
    uint8_t length;
    uint8_t means;
};
#define KEY(text, means)                                                                           \
    {                                                                                              \
        text, sizeof text - 1, means                                                               \
    }

static const struct name_rule message_keys[] = {
    KEY("jsonrpc", ROLE_JSONRPC), KEY("method", ROLE_METHOD), KEY("id", ROLE_ID),
    KEY("params", ROLE_PARAMS),   KEY("result", ROLE_RESULT), KEY("error", ROLE_ERROR),
};
static const struct name_rule params_keys[] = {
    KEY("name", ROLE_NAME),
    KEY("arguments", ROLE_NONE),
    KEY("uri", ROLE_URI),
    KEY("_meta", ROLE_META),
    KEY("requestId", ROLE_CANCELS),
    KEY("progressToken", ROLE_PROGRESS),
    KEY("protocolVersion", ROLE_VERSION),
    KEY("requestState", ROLE_STATE),
    KEY("task", ROLE_TASK),
    KEY("taskId", ROLE_TASK_ID),
};
static const struct name_rule params_meta_keys[] = {
    KEY("progressToken", ROLE_META_TOKEN),
    KEY(META_VERSION_KEY, ROLE_META_VERSION),
    KEY(META_RELATED_KEY, ROLE_RELATED),
};
static const struct name_rule params_related_keys[] = {KEY("taskId", ROLE_RELATED_ID)};
static const struct name_rule result_keys[] = {
    KEY("content", ROLE_NONE),
    KEY("_meta", ROLE_RESULT_META),
    KEY("protocolVersion", ROLE_RESULT_VERSION),
    KEY("requestState", ROLE_RESULT_STATE),
    KEY("task", ROLE_RESULT_TASK),
    KEY("taskId", ROLE_RESULT_TASK_ID),
    KEY("tools", ROLE_TOOLS),
};
static const struct name_rule result_meta_keys[] = {KEY(META_RELATED_KEY, ROLE_RESULT_RELATED)};
static const struct name_rule result_related_keys[] = {KEY("taskId", ROLE_RESULT_RELATED_ID)};
static const struct name_rule result_task_keys[] = {KEY("taskId", ROLE_RESULT_TASK_TASK_ID)};
static const struct name_rule tool_keys[] = {
    KEY("name", ROLE_TOOL_NAME),
    KEY("annotations", ROLE_HINTS),
};
static const struct name_rule hints_keys[] = {
    KEY("readOnlyHint", ROLE_READ_ONLY),
    KEY("idempotentHint", ROLE_IDEMPOTENT),
};

#define KEYS(array)                                                                                \
    {                                                                                              \
        array, sizeof array / sizeof *array                                                        \
    }
static const struct place_rule {
    const struct name_rule *keys;
    size_t count;
} place_rules[PLACE_COUNT] = {
    [PLACE_MESSAGE] = KEYS(message_keys),
    [PLACE_PARAMS] = KEYS(params_keys),
    [PLACE_PARAMS_META] = KEYS(params_meta_keys),
    [PLACE_PARAMS_RELATED] = KEYS(params_related_keys),
    [PLACE_RESULT] = KEYS(result_keys),
    [PLACE_RESULT_META] = KEYS(result_meta_keys),
    [PLACE_RESULT_RELATED] = KEYS(result_related_keys),
    [PLACE_RESULT_TASK] = KEYS(result_task_keys),
    [PLACE_TOOL] = KEYS(tool_keys),
    [PLACE_HINTS] = KEYS(hints_keys),
};

#define TEXT (1u << JSON_STRING)
#define TEXT_OR_NUMBER (1u << JSON_STRING | 1u << JSON_NUMBER)
#define PART(member) offsetof(struct rpc_found, member), sizeof(((struct rpc_found *)0)->member)

/* What a value in a role is kept as. `at`, `bytes`: the part of struct rpc_found that speaks of
 * it, cleared when its key comes, so that of two equal keys the last one counts, as it does for
 * the parsers behind us. */
static const struct role_rule {
    uint16_t at, bytes;
    uint8_t accepts;       /* bit per type of scalar whose span is stored there */
    bool is_bare;          /* ... without its quotes */
    uint8_t object, array; /* the place that such a container is */
} role_rules[ROLE_COUNT] = {
    [ROLE_TOP] = {.object = PLACE_MESSAGE, .array = PLACE_BATCH},
    [ROLE_ENTRY] = {.object = PLACE_MESSAGE},
    [ROLE_METHOD] = {PART(method_name), TEXT, true, 0, 0},
    [ROLE_ID] = {PART(id), TEXT_OR_NUMBER, false, 0, 0},
    [ROLE_PARAMS] = {.object = PLACE_PARAMS, .array = PLACE_PARAMS_ARRAY},
    [ROLE_RESULT] = {.object = PLACE_RESULT},
    [ROLE_NAME] = {PART(name), TEXT, true, 0, 0},
    [ROLE_URI] = {PART(uri), TEXT, true, 0, 0},
    [ROLE_CANCELS] = {PART(cancels), TEXT_OR_NUMBER, false, 0, 0},
    [ROLE_PROGRESS] = {PART(progress), TEXT_OR_NUMBER, false, 0, 0},
    [ROLE_VERSION] = {PART(version), TEXT, true, 0, 0},
    [ROLE_STATE] = {PART(state), TEXT, false, 0, 0},
    [ROLE_TASK_ID] = {PART(task_id), TEXT, false, 0, 0},
    [ROLE_META] = {PART(meta), 0, false, PLACE_PARAMS_META, 0},
    [ROLE_META_TOKEN] = {PART(meta.token), TEXT_OR_NUMBER, false, 0, 0},
    [ROLE_META_VERSION] = {PART(meta.version), TEXT, true, 0, 0},
    [ROLE_RELATED] = {PART(meta.related), 0, false, PLACE_PARAMS_RELATED, 0},
    [ROLE_RELATED_ID] = {PART(meta.related), TEXT, false, 0, 0},
    [ROLE_RESULT_VERSION] = {PART(result_version), TEXT, true, 0, 0},
    [ROLE_RESULT_STATE] = {PART(result_state), TEXT, false, 0, 0},
    [ROLE_RESULT_TASK_ID] = {PART(result_task_id), TEXT, false, 0, 0},
    [ROLE_RESULT_TASK] = {PART(result_task_task_id), 0, false, PLACE_RESULT_TASK, 0},
    [ROLE_RESULT_TASK_TASK_ID] = {PART(result_task_task_id), TEXT, false, 0, 0},
    [ROLE_RESULT_META] = {PART(result_related), 0, false, PLACE_RESULT_META, 0},
    [ROLE_RESULT_RELATED] = {PART(result_related), 0, false, PLACE_RESULT_RELATED, 0},
    [ROLE_RESULT_RELATED_ID] = {PART(result_related), TEXT, false, 0, 0},
    [ROLE_TOOLS] = {.array = PLACE_TOOLS},
    [ROLE_TOOL] = {.object = PLACE_TOOL},
    [ROLE_HINTS] = {.object = PLACE_HINTS},
};

static const struct name_rule method_rules[] = {
    KEY("tools/call", RPC_TOOLS_CALL),
    KEY("tools/list", RPC_TOOLS_LIST),
    KEY("ping", RPC_PING),
    KEY("notifications/progress", RPC_PROGRESS),
    KEY("initialize", RPC_INITIALIZE),
    KEY("notifications/initialized", RPC_INITIALIZED),
    KEY("notifications/cancelled", RPC_CANCELLED),
    KEY("notifications/roots/list_changed", RPC_ROOTS_CHANGED),
    KEY("resources/list", RPC_RESOURCES_LIST),
    KEY("resources/templates/list", RPC_RESOURCES_TEMPLATES_LIST),
    KEY("resources/read", RPC_RESOURCES_READ),
    KEY("resources/subscribe", RPC_RESOURCES_SUBSCRIBE),
    KEY("resources/unsubscribe", RPC_RESOURCES_UNSUBSCRIBE),
    KEY("prompts/list", RPC_PROMPTS_LIST),
    KEY("prompts/get", RPC_PROMPTS_GET),
    KEY("completion/complete", RPC_COMPLETE),
    KEY("logging/setLevel", RPC_SET_LEVEL),
    KEY("server/discover", RPC_DISCOVER),
    KEY("subscriptions/listen", RPC_LISTEN),
    KEY("tasks/get", RPC_TASKS_GET),
    KEY("tasks/list", RPC_TASKS_LIST),
    KEY("tasks/result", RPC_TASKS_RESULT),
    KEY("tasks/cancel", RPC_TASKS_CANCEL),
    KEY("tasks/update", RPC_TASKS_UPDATE),
};

/* The first eight bytes, zeros behind a shorter name. */
static inline uint64_t name_head(const uint8_t *name, size_t length)
{
    uint64_t head;
    uint32_t first, last;

    if (length >= sizeof head) {
        memcpy(&head, name, sizeof head);
        return le64toh(head);
    }
    if (length >= sizeof first) { /* the two may share bytes, and say the same there */
        memcpy(&first, name, sizeof first);
        memcpy(&last, name + length - sizeof last, sizeof last);
        return le32toh(first) | (uint64_t)le32toh(last) << 8 * (length - sizeof last);
    }
    if (length == 0)
        return 0;
    return name[0] | (uint64_t)name[length / 2] << 8 * (length / 2) |
           (uint64_t)name[length - 1] << 8 * (length - 1);
}

/* Of two names whose heads and lengths are the same: so are the rests. */
static inline bool has_same_rest(const char *text, struct slice name)
{
    if (name.length <= 8)
        return true;
    if (name.length <= 16)
        return memcmp(text + name.length - 8, name.at + name.length - 8, 8) == 0;
    return memcmp(text, name.at, name.length) == 0;
}

/* What the rule of this name says; 0: there is none. */
static inline uint8_t find_name(const struct name_rule *rules, size_t count, struct slice name)
{
    uint64_t head = name_head(name.at, name.length), its;

    for (size_t i = 0; i < count; i++) {
        memcpy(&its, rules[i].text, sizeof its);
        if (le64toh(its) == head && rules[i].length == name.length &&
            has_same_rest(rules[i].text, name))
            return rules[i].means;
    }
    return 0;
}

/* Whether some parser behind us may take the key in name[] for `text`: those that fold letter
 * case (Go's folds U+017F to s as well) or end a key at NUL. */
static bool name_resembles(struct slice name, const char *text)
{
    size_t i = 0;

    for (; *text != '\0'; text++, i++) {
        if (i >= name.length)
            return false;
        if (*text == 's' && name.at[i] == 0xC5 && i + 1 < name.length && name.at[i + 1] == 0xBF)
            i++;
        else if ((name.at[i] | 0x20) != *text)
            return false;
    }
    return i == name.length || name.at[i] == '\0';
}

static bool name_resembles_any(struct slice name)
{
    for (size_t i = 0; i < MESSAGE_KEYS; i++)
        if (name_resembles(name, message_keys[i].text))
            return true;
    return false;
}

static void take_message_key(struct scan_state *s, struct slice name)
{
    uint8_t bit;

    if (s->role == ROLE_NONE) {
        if (name_resembles_any(name))
            s->is_invalid = true;
        return;
    }
    bit = (uint8_t)(1u << (s->role - ROLE_JSONRPC));
    if ((s->found.seen & bit) != 0) {
        s->is_invalid = true;
        s->role = ROLE_NONE; /* parsers differ in which one counts: neither does */
    }
    s->found.seen |= bit;
}

static struct rpc_tool *tool_under_way(struct rpc_scan *scan)
{
    struct rpc_tools *tools = scan->tools;

    return tools != NULL && tools->count < RPC_TOOLS_MAX ? &tools->tools[tools->count] : NULL;
}

static void take_tools_key(struct rpc_scan *scan, enum rpc_role role)
{
    struct rpc_tool *tool = tool_under_way(scan);

    if (role == ROLE_TOOLS && scan->tools != NULL)
        scan->tools->count = 0;
    if (tool == NULL)
        return;
    if (role == ROLE_TOOL_NAME)
        tool->name = (struct span){0};
    if (role == ROLE_HINTS || role == ROLE_READ_ONLY)
        tool->read_only = false;
    if (role == ROLE_HINTS || role == ROLE_IDEMPOTENT)
        tool->idempotent = false;
}

/* What the role's part of `found` says is undone. */
static inline void forget(struct scan_state *s, const struct role_rule *rule)
{
    uint8_t *part = (uint8_t *)&s->found + rule->at;

    if (rule->bytes == sizeof(struct span)) /* nearly always */
        memset(part, 0, sizeof(struct span));
    else if (rule->bytes > 0)
        memset(part, 0, rule->bytes);
}

void rpc_facts_key(struct rpc_scan *scan, struct slice name)
{
    struct scan_state *s = scan_state_of(scan);
    enum rpc_place place = (enum rpc_place)s->place[s->depth];

    s->role = find_name(place_rules[place].keys, place_rules[place].count, name);
    forget(s, &role_rules[s->role]);
    if (place == PLACE_MESSAGE)
        take_message_key(s, name);
    else if (s->role >= ROLE_TOOLS)
        take_tools_key(scan, (enum rpc_role)s->role);
    else if (s->role == ROLE_TASK)
        s->found.has_task = true;
    else if (s->role == ROLE_META_VERSION && s->is_batch)
        s->batch_has_modern = true;
}

static void note_type(struct scan_state *s, enum json_type type)
{
    if (s->role >= ROLE_JSONRPC && s->role <= ROLE_ERROR)
        s->found.types[s->role - ROLE_JSONRPC] = (uint8_t)type;
}

enum rpc_place rpc_facts_open(struct rpc_scan *scan, enum json_type type, uint32_t at)
{
    struct scan_state *s = scan_state_of(scan);
    const struct role_rule *rule = &role_rules[s->role];
    enum rpc_place place = (enum rpc_place)(type == JSON_OBJECT ? rule->object : rule->array);
    struct rpc_tool *tool;

    note_type(s, type);
    if (s->role == ROLE_PARAMS) {
        s->params_at = at;
    } else if (s->role == ROLE_TOP) {
        s->is_batch = type == JSON_ARRAY;
    } else if (s->role == ROLE_ENTRY) {
        s->batch_count++;
        memset(&s->found, 0, sizeof s->found);
        if (type != JSON_OBJECT)
            s->is_invalid = true;
    } else if (place == PLACE_TOOLS && (scan->tools == NULL || s->is_batch)) {
        place = PLACE_NONE;
    } else if (place == PLACE_TOOL) {
        tool = tool_under_way(scan);
        if (tool != NULL)
            *tool = (struct rpc_tool){0};
        else
            place = PLACE_NONE;
    }
    return place;
}

static void take_tools_scalar(struct rpc_scan *scan, enum json_type type, struct span name)
{
    struct scan_state *s = scan_state_of(scan);
    struct rpc_tool *tool = tool_under_way(scan);

    if (tool == NULL)
        return;
    if (s->role == ROLE_TOOL_NAME && type == JSON_STRING)
        tool->name = name;
    else if (s->role == ROLE_READ_ONLY)
        tool->read_only = type == JSON_TRUE;
    else if (s->role == ROLE_IDEMPOTENT)
        tool->idempotent = type == JSON_TRUE;
}

void rpc_facts_scalar(struct rpc_scan *scan, enum json_type type, uint32_t at, uint32_t end,
                      struct slice inside)
{
    struct scan_state *s = scan_state_of(scan);
    const struct role_rule *rule = &role_rules[s->role];
    struct span span = {at, end - at}, bare = {at + 1, end - at - 2};

    note_type(s, type);
    if ((rule->accepts >> type & 1) != 0)
        memcpy((uint8_t *)&s->found + rule->at, rule->is_bare ? &bare : &span, sizeof span);
    if (s->role == ROLE_TOP || s->role == ROLE_ENTRY)
        s->is_invalid = true;
    else if (s->role == ROLE_JSONRPC)
        s->found.is_version_2 = type == JSON_STRING && slice_is(inside, "2.0");
    else if (s->role == ROLE_METHOD && type == JSON_STRING)
        s->found.method =
            find_name(method_rules, sizeof method_rules / sizeof *method_rules, inside);
    else if (s->role > ROLE_TOOLS)
        take_tools_scalar(scan, type, bare);
}

/* JSON-RPC 2.0, sections 4 and 5, as MCP narrows them: an id is a string or a number (basic
 * protocol, "Requests"); an error may also say null, or nothing, if it names no request. */
static enum rpc_kind kind_of(const struct rpc_found *found)
{
    enum json_type method = (enum json_type)found->types[ROLE_METHOD - ROLE_JSONRPC];
    enum json_type id = (enum json_type)found->types[ROLE_ID - ROLE_JSONRPC];
    enum json_type params = (enum json_type)found->types[ROLE_PARAMS - ROLE_JSONRPC];
    enum json_type result = (enum json_type)found->types[ROLE_RESULT - ROLE_JSONRPC];
    enum json_type error = (enum json_type)found->types[ROLE_ERROR - ROLE_JSONRPC];
    bool has_id = id == JSON_STRING || id == JSON_NUMBER;

    if (!found->is_version_2)
        return RPC_BAD;
    if (params != JSON_ABSENT && params != JSON_OBJECT && params != JSON_ARRAY)
        return RPC_BAD;
    if (method != JSON_ABSENT) {
        if (method != JSON_STRING || found->method_name.length == 0)
            return RPC_BAD;
        if (result != JSON_ABSENT || error != JSON_ABSENT)
            return RPC_BAD;
        return has_id ? RPC_REQUEST : id == JSON_ABSENT ? RPC_NOTIFICATION : RPC_BAD;
    }
    if (error == JSON_ABSENT)
        return has_id && result != JSON_ABSENT ? RPC_RESPONSE : RPC_BAD;
    if (error != JSON_OBJECT || result != JSON_ABSENT)
        return RPC_BAD;
    return has_id || id == JSON_NULL || id == JSON_ABSENT ? RPC_ERROR : RPC_BAD;
}

void rpc_facts_close(struct rpc_scan *scan, enum rpc_place place, uint32_t end)
{
    struct scan_state *s = scan_state_of(scan);
    struct rpc_tool *tool;

    if (place == PLACE_PARAMS || place == PLACE_PARAMS_ARRAY) {
        s->found.params = (struct span){s->params_at, end - s->params_at};
    } else if (place == PLACE_MESSAGE) {
        s->kind = (uint8_t)kind_of(&s->found);
        if (s->kind == RPC_BAD)
            s->is_invalid = true;
    } else if (place == PLACE_TOOL) {
        tool = tool_under_way(scan);
        if (tool != NULL && tool->name.length > 0)
            scan->tools->count++;
    }
}

static inline struct span first_of(struct span a, struct span b)
{
    return a.length > 0 ? a : b;
}

static void fill_call(struct rpc_message *facts, const struct rpc_found *found)
{
    facts->method = (enum rpc_method)found->method;
    facts->method_name = found->method_name;
    facts->params = found->params;
    facts->name = first_of(found->name, found->uri);
    facts->progress_token = facts->method == RPC_PROGRESS ? found->progress : found->meta.token;
    if (facts->method == RPC_CANCELLED)
        facts->cancels = found->cancels;
    facts->version = found->version;
    facts->meta_version = found->meta.version;
    facts->request_state = found->state;
    facts->task_id = found->task_id;
    facts->related_task = found->meta.related;
    facts->has_task = found->has_task;
}

static void fill_response(struct rpc_message *facts, const struct rpc_found *found)
{
    facts->version = found->result_version;
    facts->request_state = found->result_state;
    facts->task_id = first_of(found->result_task_id, found->result_task_task_id);
    facts->related_task = found->result_related;
}

void rpc_facts_end(struct rpc_scan *scan)
{
    struct scan_state *s = scan_state_of(scan);
    struct rpc_message *facts = &scan->facts;

    if (s->is_batch && (s->batch_count == 0 || s->batch_count > BATCH_MAX))
        s->is_invalid = true;
    facts->kind = s->is_invalid ? RPC_BAD : s->is_batch ? RPC_BATCH : (enum rpc_kind)s->kind;
    if (!s->is_batch)
        facts->id = s->found.id;
    switch (facts->kind) {
    case RPC_BAD:
        facts->fault = RPC_INVALID_REQUEST;
        break;
    case RPC_REQUEST:
    case RPC_NOTIFICATION:
        fill_call(facts, &s->found);
        break;
    case RPC_RESPONSE:
        fill_response(facts, &s->found);
        break;
    case RPC_ERROR:
        break;
    case RPC_BATCH:
        facts->batch_count = s->batch_count;
        facts->batch_has_modern = s->batch_has_modern;
        break;
    }
    if (facts->kind != RPC_RESPONSE && scan->tools != NULL)
        scan->tools->count = 0;
}
