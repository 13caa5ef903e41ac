/* retry.h - may a request run again, once it may have run? The table of MCP methods
 * (reference: MCP methods' effects; tool annotations of MCP 2025-06-18), and the tool hints
 * learned from the upstream's own tools/list. Who asks, and what happens then, is entry's and
 * serve's part. */
#ifndef MESH_RETRY_H
#define MESH_RETRY_H

#include "mesh/base/table.h"
#include "mesh/base/types.h"

#define RETRY_TOOLS_MAX 4096 /* names whose hints are kept; further ones count as unsafe */

enum retry_class {
    RETRY_SAFE,  /* a read by specification, a set operation, or a tool marked so */
    RETRY_NEVER, /* side effects, or nobody knows: at most once (invariant E2) */
    RETRY_DROP   /* fire and forget: nobody waits, it is not repeated */
};

struct retry {
    bool hints;         /* believe readOnlyHint and idempotentHint */
    struct table tools; /* hash of the name -> its place in `known` */
    uint64_t *known;    /* hash of a name, its lowest bit: is safe */
    uint32_t count, room;
};

/* `key`: of the table. Names are hashed alike at all peers: what one learned others can use. */
void retry_init(struct retry *retry, bool hints, const uint8_t key[16]);
void retry_deinit(struct retry *retry);

/* What a tools/list result says of its tools; `text` is the scanned text. A tool that lost its
 * mark since loses it here. True: something is news. */
bool retry_learn(struct retry *retry, const struct rpc_tools *tools, struct slice text);
/* One entry of another peer's `known`. */
void retry_hear(struct retry *retry, uint64_t tool);

/* `body` is the text that `rpc` describes. `user_was_asked`: a question of the upstream for this
 * request was answered already; asking twice is an effect too. */
enum retry_class retry_class_of(const struct retry *retry, const struct rpc_message *rpc,
                                struct slice body, bool user_was_asked);

#endif
