/* client.h - HTTP/1.1 as a client of tests speaks it: one call at a time on a connection, kept
 * alive and used again or new for each call; answers of JSON whole, of SSE event by event. It
 * judges nothing: what an answer should have been is the caller's to know. */
#ifndef TOOLS_CLIENT_H
#define TOOLS_CLIENT_H

#include "http/h1.h"
#include "http/sse.h"
#include "tests/tools/io.h"

#define CLIENT_TARGETS_MAX 64

struct client_call;

struct client_target {
    struct sockaddr_storage addr;
    char authority[64];        /* as it stands in Host */
    struct client_conn *spare; /* kept alive and idle, the youngest first */
};

struct client {
    uv_loop_t *loop;
    struct client_target targets[CLIENT_TARGETS_MAX];
    unsigned targets_count;
    bool is_new_connection; /* for each call */
    int receive_bytes;      /* of the kernel's buffer for a connection; 0: as it likes */
    uint64_t connections;   /* opened so far */
    /* The final head came. */
    void (*on_head)(struct client_call *call, const struct h1_head *head);
    /* One event's data, or a whole body of another type; holds for the call only. */
    void (*on_text)(struct client_call *call, struct slice text, struct slice event_id);
    /* The parts of a body as they come, those of SSE beside its events. NULL: not wanted, bodies
     * of other types are gathered for on_text instead. */
    void (*on_part)(struct client_call *call, struct slice part);
    /* The answer is complete (0), or its connection broke: a negative error, -EPROTO for an
     * answer that is no HTTP or no SSE. The last callback of a call. */
    void (*on_done)(struct client_call *call, int rc);
    /* The target refused the connection, nothing was sent: where to try instead, or -1. NULL: the
     * call ends. */
    int (*on_refused)(struct client_call *call);
};

/* The caller's, from client_send() to on_done. */
struct client_call {
    struct client_conn *conn; /* NULL: not under way */
    int status;               /* 0: no head yet */
    bool is_sse, is_get, is_sent;
    uint64_t comments; /* of its event stream */
};

/* "HOST:PORT[,HOST:PORT...]", to be called again for more. 0 or -EINVAL. */
int client_add_targets(struct client *client, const char *list);
/* Sends a whole request (copied) to targets[target]. */
void client_send(struct client *client, struct client_call *call, unsigned target,
                 const void *request, size_t length);
/* Closes the idle connections to a target. */
void client_drop_spares(struct client *client, unsigned target);
/* Closes the call's connection; no callback follows. */
void client_abort(struct client_call *call);
/* Reads no further, until client_resume(). */
void client_pause(struct client_call *call);
void client_resume(struct client_call *call);

#endif
