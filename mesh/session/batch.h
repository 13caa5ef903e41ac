/* batch.h - batches (MCP 2025-03-26, base protocol) where the mesh is the server: a child, or a
 * server that speaks HTTP+SSE, takes one message at a time. The POST's entries become requests of
 * their own without a reader, what they bring goes on the POST's stream, and that ends with the
 * last of them. A Streamable HTTP server gets the batch as it is; of its stream of answers only is
 * known which ids had theirs, so that the others are not waited for once it is over. */
#ifndef MESH_BATCH_H
#define MESH_BATCH_H

#include "mesh/base/types.h"

struct core;
struct call;

#define BATCH_ANSWERS_MAX 128 /* more than a batch may have entries */

/* Gives the entries of this POST to its upstream. */
void batch_give(struct core *core, struct call *batch, uint64_t now_ms);
/* A message for an entry: it goes on the batch's stream. */
void batch_add(struct core *core, struct call *entry, struct slice text, bool answers,
               uint64_t now_ms);
/* An entry is over; `why` not MESH_OK: without its answer, and its client is told so. */
void batch_entry_over(struct core *core, struct call *entry, enum mesh_reason why, uint64_t now_ms);
/* The POST is over before its entries: they are, too. */
void batch_end_entries(struct core *core, struct call *batch, enum mesh_reason why,
                       uint64_t now_ms);

/* HTTP, a session that had another upstream before: the client's answers to questions get the ids
 * that the upstream gave, or are left out if nobody asks any more. 0; 1: nothing is left to send;
 * -ENOMEM. */
int batch_restore_answers(struct core *core, struct call *batch, uint64_t now_ms);
/* HTTP: a message of the stream that answers it. */
void batch_note(struct core *core, struct call *batch, const struct rpc_message *rpc,
                struct slice text);
/* How many of its requests have no answer noted. */
uint32_t batch_missing(struct core *core, const struct call *batch);
/* HTTP: the stream is over; whoever has no answer is told why. */
void batch_fail_rest(struct core *core, struct call *batch, enum mesh_reason why, uint64_t now_ms);

#endif
