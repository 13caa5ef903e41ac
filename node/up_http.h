/* up_http.h - an MCP server over HTTP as an upstream, shared by up_http.c (upstream sessions,
 * calls), up_http_answer.c (what comes back), up_http_pool.c (connections, and is it there at
 * all?), and up_sse.c (sessions of HTTP+SSE). */
#ifndef NODE_UP_HTTP_H
#define NODE_UP_HTTP_H

#include "http/h1.h"
#include "http/mcp.h"
#include "http/sse.h"
#include "mesh/base/spare.h"
#include "node/host.h"
#include "node/upstream.h"

#define HTTP_ADDRESSES_MAX 8u

struct http_call;

/* How the answer to a call is read, where that is not up_http_answer.c's way. */
struct http_call_ops {
    /* 0 or negative errno: it is over, as one that is no answer. */
    int (*on_head)(struct http_call *call, struct h1_head *head);
    int (*on_part)(struct http_call *call, struct slice part);
    /* It is over: to its end (MESH_OK), or why not. Frees the call. */
    void (*on_over)(struct http_call *call, enum mesh_reason why);
};

/* An upstream session as the core names it. */
struct http_up {
    struct up_http *kind;
    struct handle handle;
    struct sse_up *sse;    /* a session of HTTP+SSE (up_sse.c); or NULL */
    struct bytes *session; /* the upstream's own id; NULL: none given yet */
    struct slice head;     /* of the request that opened it: credentials for our own DELETE */
    bool is_over;          /* the upstream knows it no more: deleted, or lost */
    struct http_call *first;
};

/* A request given to the upstream, until its answer is over. */
struct http_call {
    struct http_up *up;              /* NULL: our own, its answer is of no interest */
    const struct http_call_ops *ops; /* or NULL */
    struct up_http *asker;           /* of the question whether it answers; else NULL */
    struct http_call *next, **link;
    uint32_t number;
    enum mesh_want want;
    bool is_listen;   /* UP_LISTEN: only events are of interest */
    bool is_stream;   /* it lasts, and begins on a connection of its own: what the server does to
                         idle ones is no news of it */
    bool had_session; /* it carried the upstream's own session id */
    bool wants_tools; /* its answer lists tools */
    bool sent;        /* told to the core */
    uint64_t start;   /* the writer's count at its first byte */
    struct http_conn *conn;
    /* the answer */
    int status;
    enum mesh_form form;
    bool head_told, in_parts;
    struct bytes *lines;    /* until the head is told */
    struct bytes *session;  /* named by the answer, to be kept */
    struct bytes *gathered; /* a JSON answer; before the head is told anything */
    struct rpc_scan *scan;
    struct rpc_tools *tools;
    struct sse_reader sse;
    int64_t room; /* bytes that may still be given to the core */
};

enum http_conn_state { CONN_CONNECTING, CONN_BUSY, CONN_IDLE, CONN_CLOSED };

struct http_conn {
    struct up_http *kind;
    struct http_conn *next, **link;           /* all */
    struct http_conn *idle_next, **idle_link; /* the latest first */
    uv_tcp_t tcp;
    uv_connect_t connect;
    struct writer writer;
    struct h1 h1;
    struct wheel_item timer;
    enum http_conn_state state;
    bool reading, reused;
    bool heard;      /* a byte of the answer came */
    bool is_doubted; /* it brought what was not for its call: never used again */
    struct http_call *call;
};

struct up_http {
    struct upstream *upstream;
    bool is_sse; /* it speaks HTTP+SSE */
    char host[256], authority[272], path[1024], closed[1024];
    char closed_endpoint[256]; /* HTTP+SSE: where the latest session's messages go */
    const char *closed_paths[2];
    uint16_t port;
    bool is_name;
    struct mesh_addr addresses[HTTP_ADDRESSES_MAX];
    uint32_t addresses_count, address; /* address: the one in use */
    struct http_conn *first, *idle;
    uint32_t idle_count;
    struct spare calls;        /* memory of those that are over */
    struct h1_memo heads;      /* of answers */
    struct mcp_heads requests; /* heads, by slot of their session */
    /* is it there? */
    uv_getaddrinfo_t lookup;
    bool in_lookup;
    struct probe *probe;
    struct http_call *question; /* while it fails: the question whether it answers again */
    struct wheel_item probe_timer;
    uint64_t asked_ms;    /* of the latest question */
    uint32_t failures;    /* in a row */
    uint64_t answered_ms; /* when it last answered anything */
};

/* ---- up_http_pool.c -------------------------------------------------------------------------- */

/* A connection for this call, an idle one if there is any. NULL: none can be made. */
struct http_conn *http_conn_take(struct up_http *kind, struct http_call *call);
void http_conn_close(struct http_conn *conn); /* its call is let go of, nothing is told */
/* The answer is over: back to the idle ones, or closed. */
void http_conn_release(struct http_conn *conn, bool keep);
void http_conn_read(struct http_conn *conn, bool wanted); /* back-pressure */
/* Within a body that does not wait for a tool: its next part has to come in some time. */
void http_conn_await_part(struct http_conn *conn);
void http_pool_start(struct up_http *kind);
/* It fails: asks it, at once unless that was done less than a second ago, then every second. */
void http_pool_ask(struct up_http *kind);
void http_pool_close(struct up_http *kind);

/* ---- up_http_answer.c ------------------------------------------------------------------------ */

void http_answer_begin(struct http_call *call);
/* Bytes of the answer; the connection may be closed by them. */
void http_answer_bytes(struct http_conn *conn, const uint8_t *data, size_t length);
void http_answer_eof(struct http_conn *conn, bool reset);
/* So much was given to the core: without room for more nothing is read. */
void http_take_room(struct http_call *call, size_t length);

/* ---- up_http.c ------------------------------------------------------------------------------- */

/* A call of this upstream session, or (NULL) of our own. NULL: no memory. */
struct http_call *http_call_new(struct http_up *up);
/* Writes its request on a connection, or ends it. */
void http_call_start(struct up_http *kind, struct http_call *call,
                     const struct mcp_upstream_request *request, struct slice text,
                     const struct patch *patch);
/* The call is over: tells the core, frees it. Its connection must be released or closed after. */
void http_call_end(struct http_call *call, enum mesh_reason why);
void http_call_free(struct http_call *call);
/* Nobody waits for it any more: its connection closes, which is how an HTTP server hears of it. */
void http_call_cancel(struct http_call *call);
/* The upstream session is over: cancels its calls, tells the core, frees it. */
void http_up_close(struct http_up *up, enum mesh_reason why);

#endif
