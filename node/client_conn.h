/* client_conn.h - one connection of a client, shared by client_listen.c (who is let in),
 * client.c (its life, its requests) and client_reply.c (the answers). An idle one holds no buffer.
 */
#ifndef NODE_CLIENT_CONN_H
#define NODE_CLIENT_CONN_H

#include "http/h1.h"
#include "http/mcp.h"
#include "mesh/base/list.h"
#include "mesh/base/table.h"
#include "node/client.h"
#include "node/host.h"
#include "node/slots.h"

enum client_state {
    CLIENT_READING,   /* a request, or nothing yet */
    CLIENT_ASKED,     /* the core has it */
    CLIENT_ANSWERED,  /* the answer is whole, not yet written */
    CLIENT_LINGERING, /* FIN was sent: what still comes is read and thrown away */
    CLIENT_CLOSED     /* uv_close() was called */
};

/* A head whose answer's length may still become known in this turn, and the body so far. */
struct client_reply {
    bool waits; /* else there is none */
    bool has_session, has_data;
    char session[MESH_SESSION_TEXT];
    int status;
    enum mesh_form form;
    struct slice lines;
    struct slice data;
    struct patch patch;
};

struct client {
    struct clients *clients;
    struct client *next, **link;
    struct list in_one; /* READING: of `reading`; ASKED, with a reply that waits: of `unsettled` */
    uv_tcp_t tcp;
    struct writer writer;
    struct h1 h1;
    struct wheel_item timer;
    enum client_state state;
    bool eof;      /* it will send no more */
    bool reading;  /* uv_read_start() is in force */
    bool direct;   /* what is being read goes to the body's own buffer */
    bool refused;  /* the request is refused already: answered once it is over */
    bool head_out; /* of the answer */
    bool close;    /* after the answer */
    struct mesh_addr addr;
    char from[ADDR_TEXT_MAX]; /* its host as text */
    enum gate_verdict verdict;
    uint64_t since_ms;    /* of the wait, the header, the body, or the last byte written */
    uint64_t stuck_taken; /* what the writer had written when it was last found stuck */
    struct gate_pass pass;
    struct handle exchange; /* ASKED */
    struct mcp_exchange x;
    struct client_reply reply;
    struct bytes *more; /* what came behind the request under way */
};

struct clients {
    struct host *host;
    uv_tcp_t listener;
    uv_timer_t again; /* no place was free */
    struct slots exchanges;
    struct client *first;
    struct list unsettled;
    struct list reading;    /* the longest without a whole request first: it gives way to others */
    uint32_t closing;       /* of stats.connections: their sockets are closed already */
    struct table addresses; /* connections per address */
    struct h1_memo heads;
    struct mcp_heads answers; /* their heads; a connection has the place that it has in `heads` */
    uint32_t busy;            /* connections whose answer is not written yet */
    bool finishing, listening;
    struct clients_stats stats;
};

/* ---- client.c, for client_reply.c ------------------------------------------------------------ */

uint64_t client_now_ms(const struct client *client);
/* Closes the socket now; tells the core that nobody waits, if something was asked. */
void client_drop(struct client *client, bool reset);
/* The answer is in the writer, whole. */
void client_answered(struct client *client);

/* A connection was accepted and counted: it is read from now on. */
void client_start(struct client *client);

/* ---- client_listen.c, for client.c ----------------------------------------------------------- */

void client_uncount_address(struct clients *clients, const struct mesh_addr *addr);

/* ---- client_reply.c, for client.c ------------------------------------------------------------ */

/* A complete answer of our own; takes the reference. */
void client_write_whole(struct client *client, struct bytes *answer);
/* The outcome of a request that never became an exchange, or whose exchange ended so; `id`: of the
 * event that tells it, or NULL. */
void client_write_outcome(struct client *client, enum mesh_reason why, const struct event_id *id);
void client_write_comment(struct client *client); /* SSE keep-alive, if it may stand here */
void client_reply_drop(struct client *client);

#endif
