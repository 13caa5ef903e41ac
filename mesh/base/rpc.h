/* rpc.h - JSON-RPC messages as text. A body is scanned once, strictly, at the edge where it
 * enters; the facts found travel with it as offsets, so that nobody reads it again. The scan is
 * resumable: it may be fed in parts of any size. Writers make the few messages that the mesh says
 * itself. What a message means for a session is decided in mesh/session. */
#ifndef MESH_RPC_H
#define MESH_RPC_H

#include "mesh/base/bytes.h"

#define RPC_DEPTH_MAX 64
#define RPC_TOOLS_MAX 512 /* tools of one tools/list page whose hints are kept */
#define RPC_NAME_MAX 128  /* longest method name that is told apart (decoded bytes) */

#define RPC_PARSE_ERROR (-32700)
#define RPC_INVALID_REQUEST (-32600)
#define RPC_INTERNAL_ERROR (-32603)

enum rpc_kind {
    RPC_BAD, /* see fault */
    RPC_REQUEST,
    RPC_NOTIFICATION,
    RPC_RESPONSE, /* with a result */
    RPC_ERROR,    /* a response with an error */
    RPC_BATCH     /* an array (revision 2025-03-26); its entries are checked, not told apart */
};

/* Methods that some rule of the mesh names; all others are RPC_OTHER. */
enum rpc_method {
    RPC_OTHER,
    RPC_INITIALIZE,
    RPC_INITIALIZED,
    RPC_PING,
    RPC_CANCELLED,
    RPC_PROGRESS,
    RPC_TOOLS_LIST,
    RPC_TOOLS_CALL,
    RPC_RESOURCES_LIST,
    RPC_RESOURCES_TEMPLATES_LIST,
    RPC_RESOURCES_READ,
    RPC_RESOURCES_SUBSCRIBE,
    RPC_RESOURCES_UNSUBSCRIBE,
    RPC_PROMPTS_LIST,
    RPC_PROMPTS_GET,
    RPC_COMPLETE,
    RPC_SET_LEVEL,
    RPC_DISCOVER,
    RPC_LISTEN,
    RPC_TASKS_GET,
    RPC_TASKS_LIST,
    RPC_TASKS_RESULT,
    RPC_TASKS_CANCEL,
    RPC_TASKS_UPDATE,
    RPC_ROOTS_CHANGED
};

/* What one scan found. Every span is an offset into the scanned text and is raw JSON, escapes and
 * all: ids, tokens and states with their quotes; names and versions without (their quotes stand
 * on either side). A value of the wrong type is absent; of two equal keys inside params, result
 * or _meta the last one counts. Facts that a kind does not have are absent. */
struct rpc_message {
    enum rpc_kind kind;
    enum rpc_method method;
    int fault;      /* RPC_BAD: RPC_PARSE_ERROR or RPC_INVALID_REQUEST */
    struct span id; /* of a request or response, raw: "1" is not 1; an error's null: absent.
                       Also of a bad message whose id is beyond doubt */
    struct span method_name; /* as written, without quotes */
    struct span name;        /* params.name, else params.uri */
    struct span
        progress_token;        /* params._meta.progressToken; of a progress: params.progressToken */
    struct span cancels;       /* notifications/cancelled: params.requestId, raw */
    struct span version;       /* params.protocolVersion or result.protocolVersion */
    struct span meta_version;  /* params._meta["io.modelcontextprotocol/protocolVersion"] */
    struct span request_state; /* params.requestState or result.requestState, raw with quotes */
    struct span task_id;       /* params.taskId, else result.taskId or result.task.taskId */
    struct span related_task;  /* _meta["io.modelcontextprotocol/related-task"].taskId */
    struct span params;        /* raw JSON value of params */
    bool has_task;             /* params.task is present */
    bool batch_has_modern;     /* an entry of the batch claims a modern version in its _meta */
    uint32_t batch_count;      /* entries of a batch */
};

/* The hints of one tool of a tools/list result (MCP 2025-06-18, ToolAnnotations). */
struct rpc_tool {
    struct span name; /* without quotes */
    bool read_only, idempotent;
};
struct rpc_tools {
    uint32_t count;
    struct rpc_tool tools[RPC_TOOLS_MAX];
};

/* A scan under way: may be moved or copied between feeds. Feed the parts of one text in order, then
 * end it. Memory: fixed, no allocation; depth is counted, never recursed. `tools` (NULL: not
 * wanted) gets the hints of a result's tools in the same pass. After rpc_scan_end() `facts` says
 * what it is; text after the value, bad UTF-8, lone surrogates, a BOM, depth over RPC_DEPTH_MAX,
 * bad numbers (also those over 1,024 bytes or with an exponent over 9,999: RFC 8259 section 6) and
 * 4 GiB of text are RPC_PARSE_ERROR, whatever else is wrong; what is JSON but no JSON-RPC 2.0
 * message (wrong or missing jsonrpc, duplicate jsonrpc/method/id/params/result/error keys, a key
 * that differs from those only by letter case or by what follows a NUL, an id that is no string,
 * number or (in an error response) null, an empty method, params that are no object or array; a
 * batch of none or of more than 100, or with a bad entry) is RPC_INVALID_REQUEST. Names are
 * compared after JSON unescaping. */
struct rpc_scan {
    struct rpc_message facts;
    struct rpc_tools *tools;
    struct rpc_scan_state {
        uint64_t opaque[64]; /* rpc.c's own */
    } state;
};
void rpc_scan_begin(struct rpc_scan *scan, struct rpc_tools *tools);
/* False: the text is bad already, no need to feed more (facts.fault says why). */
bool rpc_scan_feed(struct rpc_scan *scan, const void *data, size_t length);
void rpc_scan_end(struct rpc_scan *scan);
/* The three at once, for a text that is whole. */
void rpc_read(struct rpc_message *facts, struct rpc_tools *tools, const void *text, size_t length);

/* The next entry of a batch whose scan said RPC_BATCH: *at begins at 0. False: there is none. */
bool rpc_next_entry(struct slice batch, size_t *at, struct slice *entry);

/* A keyed 64-bit SipHash of an id's (or token's) canonical form: equal for "a\/b" and "a/b", for
 * 1, 1.0 and 10e-1, different for 1 and "1". Upstreams write ids anew, so raw text cannot be
 * compared. `raw` is JSON text as in rpc_message.id. */
uint64_t rpc_id_hash(const uint8_t key[16], struct slice raw);

/* Does the JSON string `raw`, quotes and all, say `text`? */
bool rpc_string_is(struct slice raw, struct slice text);
/* Compares what two JSON numbers say: below 0, 0, above 0. */
int rpc_number_compare(struct slice a, struct slice b);

/* For the few facts that no scan collects: the raw value of a member of a JSON object that was
 * scanned before, of two equal keys the last one; empty: it has none, or is no object. */
struct slice rpc_member(struct slice object, const char *name);
/* False: it is no notifications/progress. *value: what it says of it, raw; empty: nothing. */
bool rpc_progress(const struct rpc_message *message, struct slice text, struct slice *value);

/* {"jsonrpc":"2.0","id":<id raw>,"error":{"code":..,"message":".."}} into at most `room` bytes;
 * an empty id is written as null. `message` is escaped. Returns the length, 0 if it has no room. */
size_t rpc_write_error(void *into, size_t room, struct slice id, int code, const char *message);
/* The digits of `value`, at most 20; returns how many. */
size_t rpc_write_number(char *into, uint64_t value);
/* Escapes `text` as the inside of a JSON string. Returns the length, or 0 if it has no room. */
size_t rpc_write_string(void *into, size_t room, struct slice text);

#endif
