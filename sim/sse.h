/* sse.h - clients of HTTP+SSE (MCP 2024-11-05) in the made-up world: a GET through any peer makes a
 * session and is its one stream, POSTs through any other bring 202, and everything else comes on
 * the stream. Whoever loses it opens another and goes on, some without initialize, as real ones do.
 * What must hold of them:
 *
 *   H1  what was accepted by a 202 is answered on the stream, once, unless the stream ends before,
 *       or its owner dies before a copy of it says so; where its owner ends it, the errors of what
 *       was open come first
 *   H2  a session ends with its stream, within bounded time
 *
 * and S1: its notifications come in order, and all of them. */
#ifndef SIM_SSE_H
#define SIM_SSE_H

#include "sim/client.h"
#include "sim/world.h"

struct sse_client {
    uint32_t session;  /* NOBODY: before its first stream */
    uint32_t stream;   /* its GET, or NOBODY */
    uint64_t gap_us;   /* between its requests */
    uint32_t lifetime; /* requests of one stream */
    bool is_slow, knows_session;
};

struct sse {
    struct shuffle chance;
    struct sse_client *clients;
    uint32_t clients_count;
    uint64_t streams, again, answers, failures, ended; /* opened, opened by who goes on; on them;
                                                          sessions that ended with theirs */
};

static inline bool ask_is_stream(enum ask ask)
{
    return ask == ASK_S_STREAM || ask == ASK_S_AGAIN;
}
/* A request of a client of HTTP+SSE. */
static inline bool ask_is_sse(enum ask ask)
{
    return ask >= ASK_S_STREAM && ask <= ASK_S_ANSWER;
}

int sse_new(struct world *world);
void sse_free(struct world *world);
void sse_event(struct world *world, const struct world_event *event); /* CLIENT_SSE */
/* Asks through every peer in each session that lives: at the end of calm. */
void sse_probe(struct world *world);
/* All streams are closed by their clients. */
void sse_end(struct world *world);

/* The session's id came with the head of its stream. */
void sse_begins(struct world *world, struct request *request);
/* An event of a stream. */
void sse_came(struct world *world, struct request *stream, struct slice text,
              const struct mesh_effect *effect);
/* A request is over: of a stream, the session with it; of a POST, its answer is waited for. */
void sse_over(struct world *world, struct request *request, enum request_state state);
/* Takes what came only later. */
bool sse_is_slow(const struct world *world, const struct request *request);

/* Before the peer's memory is gone. */
void sse_died(struct world *world, const struct seat *seat);

void sse_check(struct world *world, const struct world_event *event); /* CHECK_SSE */

#endif
