/* rpc_scan.h - what rpc.c (the grammar of JSON) and rpc_facts.c (what the keys mean) share: the
 * state behind struct rpc_scan. Nobody else includes it but rpc_text.c, for the UTF-8 rule. */
#ifndef MESH_RPC_SCAN_H
#define MESH_RPC_SCAN_H

#include <endian.h>
#include <string.h>

#include "mesh/base/rpc.h"

enum json_type {
    JSON_ABSENT,
    JSON_OBJECT,
    JSON_ARRAY,
    JSON_STRING,
    JSON_NUMBER,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL
};

/* Which container the scan is in, as far as its members matter. Inside PLACE_NONE everything is
 * PLACE_NONE, and its keys are not even decoded. */
enum rpc_place {
    PLACE_NONE,
    PLACE_BATCH,
    PLACE_MESSAGE,
    PLACE_PARAMS,
    PLACE_PARAMS_ARRAY,
    PLACE_PARAMS_META,
    PLACE_PARAMS_RELATED,
    PLACE_RESULT,
    PLACE_RESULT_META,
    PLACE_RESULT_RELATED,
    PLACE_RESULT_TASK,
    PLACE_TOOLS,
    PLACE_TOOL,
    PLACE_HINTS,
    PLACE_COUNT
};

/* What the value under way is in its container. */
enum rpc_role {
    ROLE_NONE,
    ROLE_TOP,
    ROLE_ENTRY,   /* of a batch */
    ROLE_JSONRPC, /* the six keys of a message, in the order of found.types */
    ROLE_METHOD,
    ROLE_ID,
    ROLE_PARAMS,
    ROLE_RESULT,
    ROLE_ERROR,
    ROLE_NAME,
    ROLE_URI,
    ROLE_CANCELS,
    ROLE_PROGRESS,
    ROLE_VERSION,
    ROLE_STATE,
    ROLE_TASK,
    ROLE_TASK_ID,
    ROLE_META,
    ROLE_META_TOKEN,
    ROLE_META_VERSION,
    ROLE_RELATED,
    ROLE_RELATED_ID,
    ROLE_RESULT_VERSION,
    ROLE_RESULT_STATE,
    ROLE_RESULT_TASK_ID,
    ROLE_RESULT_TASK,
    ROLE_RESULT_TASK_TASK_ID,
    ROLE_RESULT_META,
    ROLE_RESULT_RELATED,
    ROLE_RESULT_RELATED_ID,
    ROLE_TOOLS,
    ROLE_TOOL,
    ROLE_TOOL_NAME,
    ROLE_HINTS,
    ROLE_READ_ONLY,
    ROLE_IDEMPOTENT,
    ROLE_COUNT
};

#define MESSAGE_KEYS (ROLE_ERROR - ROLE_JSONRPC + 1)

/* What is known of the message under way (of a batch: of its current entry). Which of it counts
 * depends on the kind and the method, and those may come last. */
struct rpc_found {
    uint8_t types[MESSAGE_KEYS]; /* enum json_type of the value of each of the six keys */
    uint8_t seen;                /* bit per key: it came */
    bool is_version_2;
    bool has_task;
    uint8_t method;
    struct span id, method_name, params;
    struct span name, uri, cancels, progress, version, state, task_id;
    struct found_meta {
        struct span token, version, related;
    } meta;
    struct span result_version, result_state, result_task_id, result_task_task_id, result_related;
};

struct scan_state {
    const uint8_t *part; /* the bytes being fed; valid during rpc_scan_feed() only */
    uint32_t base;       /* offset of part[0] in the whole text */
    uint8_t token;       /* rpc.c: where inside a token the scan is */
    uint8_t expect;      /* rpc.c: what may come outside of one */
    uint8_t number;      /* rpc.c: where inside a number */
    uint8_t depth;
    uint64_t objects; /* bit per level: an object, not an array */
    uint8_t closer;   /* what ends the container that the scan is in; 0: it is in none */
    uint8_t role;     /* of the value that comes next or is under way */
    uint8_t type;     /* of the scalar under way */
    bool is_key;
    bool collects; /* the string under way is decoded into name[] */
    uint32_t value_at;
    uint8_t utf8_left, utf8_low, utf8_high; /* bytes to come; range of the next one */
    uint8_t hex_left;
    uint16_t hex, high; /* code unit under way; a high surrogate that waits for its low one */
    uint16_t exponent;  /* saturates at EXPONENT_MAX + 1 */
    uint8_t literal_at;
    /* The meaning: */
    bool is_batch, is_invalid, batch_has_modern;
    uint8_t kind; /* enum rpc_kind of the message that closed last */
    uint8_t name_length;
    uint32_t batch_count, params_at;
    uint8_t place[RPC_DEPTH_MAX + 1];
    uint8_t name[RPC_NAME_MAX]; /* of a key, a method or a version that is escaped or came in
                                   parts: what was collected so far; its first bytes */
    struct rpc_found found;
};
_Static_assert(sizeof(struct scan_state) <= sizeof(struct rpc_scan_state), "opaque too small");
_Static_assert(RPC_DEPTH_MAX <= 64, "a bit per level");
_Static_assert(RPC_NAME_MAX <= UINT8_MAX, "name_length");

static inline struct scan_state *scan_state_of(struct rpc_scan *scan)
{
    return (struct scan_state *)(void *)&scan->state;
}

/* The role of a member of this name; a key that comes again undoes what it said. */
void rpc_facts_key(struct rpc_scan *scan, struct slice name);
/* A container opens in the current role, at this offset: what place it is. */
enum rpc_place rpc_facts_open(struct rpc_scan *scan, enum json_type type, uint32_t at);
void rpc_facts_close(struct rpc_scan *scan, enum rpc_place place, uint32_t end);
/* A scalar in the current role, text[at, end) with its quotes; `inside`: what it says, if the role
 * wants that. */
void rpc_facts_scalar(struct rpc_scan *scan, enum json_type type, uint32_t at, uint32_t end,
                      struct slice inside);
/* The text was whole and JSON: fills scan->facts. */
void rpc_facts_end(struct rpc_scan *scan);

static inline enum rpc_role rpc_facts_element(enum rpc_place place)
{
    return place == PLACE_BATCH ? ROLE_ENTRY : place == PLACE_TOOLS ? ROLE_TOOL : ROLE_NONE;
}
static inline bool rpc_facts_wants_text(enum rpc_role role)
{
    return role == ROLE_JSONRPC || role == ROLE_METHOD;
}

/* The range of the second byte of a multi-byte sequence and how many bytes follow the first: 0
 * for a byte that begins none (Unicode 15, table 3-7: no overlong forms, no surrogates, nothing
 * over U+10FFFF). The bytes after the second are 80..BF. */
static inline uint8_t utf8_follow(uint8_t lead, uint8_t *low, uint8_t *high)
{
    *low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    *high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (lead < 0xC2 || lead > 0xF4)
        return 0;
    return lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
}

/* Length of the multi-byte sequence at `p`; 0 if it is bad or not all of it is there. */
static inline size_t utf8_length(const uint8_t *p, const uint8_t *end)
{
    uint8_t low, high;
    size_t follow = utf8_follow(*p, &low, &high);

    if (follow == 0 || (size_t)(end - p) <= follow || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i <= follow; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    return follow + 1;
}

static inline int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* UTF-8 of a scalar value; returns its length, 1..4. */
static inline size_t utf8_write(uint8_t out[4], uint32_t code)
{
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (uint8_t)(0xC0 | code >> 6);
        out[1] = (uint8_t)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (uint8_t)(0xE0 | code >> 12);
        out[1] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
        out[2] = (uint8_t)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (uint8_t)(0xF0 | code >> 18);
    out[1] = (uint8_t)(0x80 | (code >> 12 & 0x3F));
    out[2] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
    out[3] = (uint8_t)(0x80 | (code & 0x3F));
    return 4;
}

#endif
