/* stub.h - a small MCP server that the tests judge others by: its tools, and the log of what was
 * executed. How its messages travel is the transport's: stub.c (stdio), stub_http.c (HTTP). */
#ifndef TOOLS_STUB_H
#define TOOLS_STUB_H

#include <stdio.h>

#include "mesh/base/rpc.h"

#define STUB_ID_MAX 160 /* bytes of a JSON-RPC id or progress token that a slow call keeps */
#define STUB_NEVER UINT64_MAX

struct stub_session {
    uint32_t hash;     /* names it in the log */
    uint32_t count;    /* executions of the counters */
    uint64_t seq;      /* of its last notification, from 1 */
    size_t note_bytes; /* of filling in each */
    uint64_t *said; /* for each notification: 1 + the number that `say` was given; 0: another's */
    size_t said_count;
    uint64_t questions; /* asked of the client so far: the next one's id, as SDKs count */
};

struct stub {
    const char *name;
    FILE *log;            /* NULL: none */
    uint64_t break_every; /* events of the session's own stream; 0: it does not break */
    bool tells;           /* each result of a tool says who made it: _meta.who */
    /* One message of a call's stream; `is_last` with its response, or (length 0) without one. */
    void (*reply)(void *stream, const char *text, size_t length, bool is_last);
    /* One message of the session's own stream: its notification of that number. */
    void (*push)(struct stub_session *session, uint64_t seq, const char *text, size_t length);
    struct stub_job *jobs; /* calls that take time */
};

/* A sound message of the client, as `m` describes it. `stream` (not NULL) is where replies to a
 * request go; for other messages it is not used. */
void stub_take(struct stub *stub, struct stub_session *session, struct slice text,
               const struct rpc_message *m, void *stream, uint64_t now_ms);
/* The client left: the call goes on, its replies go nowhere. */
void stub_stream_gone(struct stub *stub, const void *stream);
/* Says the session's notifications behind that one again. */
void stub_replay(struct stub *stub, struct stub_session *session, uint64_t after);
void stub_session_gone(struct stub *stub, struct stub_session *session);
uint64_t stub_deadline_ms(const struct stub *stub); /* or STUB_NEVER */
void stub_run(struct stub *stub, uint64_t now_ms);

/* Serves until it is told to stop; return: the exit code. */
int stub_serve_http(struct stub *stub, const char *listen, bool is_legacy);

#endif
