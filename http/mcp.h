/* mcp.h - MCP over HTTP as rules (MCP 2025-11-25 and before, transports; 2026-07-28). A request's
 * head, route and facts become a mesh_request or an answer of our own; what the core decides
 * becomes status, header and body. The core decides and names a reason; this file words it. It
 * owns no connection and follows no session: which peer, which upstream, again or not, is mesh's.
 */
#ifndef HTTP_MCP_H
#define HTTP_MCP_H

#include "http/gate.h"
#include "http/h1.h"
#include "mesh/base/types.h"

#define MCP_INITIALIZE_MAX (64u << 10) /* bytes of initialize's params (row A12) */
#define MCP_BATCH_MAX 100              /* entries (row J3) */
#define MCP_SESSION_HEADER_MAX 1024    /* bytes of a session id from outside (row A6) */
#define MCP_RETRY_AFTER "1"            /* seconds */

/* --bind-session: what makes two requests come from the same principal (DESIGN §17). */
enum mcp_bind {
    MCP_BIND_AUTO,   /* issuer and subject of a JWT; anything else is unbound */
    MCP_BIND_TOKEN,  /* the whole Authorization header */
    MCP_BIND_HEADER, /* the header bind_header */
    MCP_BIND_NONE
};

/* Made of one of the cluster's keys, equal on every peer. The principal of a session is hashed with
 * the key that its id was minted with, so that it stays the same while keys are changed. */
struct mcp_who_key {
    uint32_t id; /* of the cluster's key; its low 4 bits are in the ids that it mints. 0: none */
    uint8_t hash_keys[2][16];
};
#define MCP_WHO_KEYS_MAX 8

/* Texts are borrowed and must outlive their users. */
struct mcp_config {
    bool http_upstream;                   /* Streamable HTTP; else the mesh is the MCP server */
    bool passes_paths;                    /* other paths go to the upstream: it is one of HTTP */
    const char *mcp_path;                 /* the public one: "/mcp" */
    const char *sse_path, *messages_path; /* of HTTP+SSE: "/sse", "/messages" */
    const char *public_prefix;      /* that whoever stands in front cuts off; NULL: not known */
    const char *upstream_path;      /* of --upstream, maybe with a query: "/mcp" */
    const char *upstream_authority; /* its Host: "127.0.0.1:3000" */
    enum mcp_bind bind;
    const char *bind_header;
    const char *affinity_header;                   /* of the modern era; or NULL */
    struct mcp_who_key who_keys[MCP_WHO_KEYS_MAX]; /* the first: for whoever has no session yet */
    uint32_t who_keys_count;                       /* at least 1 */
};

/* --- A request ----------------------------------------------------------------------------- */

struct mcp_input {
    struct h1_head *head; /* what is made of it is noted there */
    const struct gate_pass *pass;
    struct slice body;
    const struct rpc_message *rpc; /* facts of a POST's body on the MCP path; else may be NULL */
    struct slice client;           /* the client's address as text, for X-Forwarded-For; or empty */
};

/* What wording an answer needs of its request: the host keeps it with the exchange. */
struct mcp_exchange {
    enum mesh_want want;
    enum mesh_era era;
    bool is_request; /* a JSON-RPC request: its outcome has an id and can be told in-band */
    bool is_head;    /* HEAD: no body goes out */
    bool is_http10;
    bool close; /* close the connection after the answer; mcp_write_head() may set it */
    enum h1_framing framing; /* of the answer, set by mcp_write_head() */
    enum mesh_form form;     /* as well */
    struct span id, origin;  /* in `few`, or in `kept` if it is there */
    uint8_t few[40];
    struct bytes *kept;
};
void mcp_exchange_deinit(struct mcp_exchange *exchange);

struct mcp_made {
    struct mesh_request request; /* slices of the input, and of `head` */
    struct mcp_exchange exchange;
    struct bytes *head;   /* the lines that travel */
    struct bytes *body;   /* of our own making; or NULL: the request's body is the input's */
    struct bytes *answer; /* not NULL: no request, write these bytes; then see exchange.close */
    int status;           /* of that answer, for the log */
};
/* 0 (a request, or an answer), or -ENOMEM with nothing to free. The whole body is there and was
 * passed by gate_check(). The core looks at request.key itself: a session id is only refused here
 * if it cannot be one at all (row A6). */
int mcp_request_make(const struct mcp_config *config, const struct mcp_input *input,
                     struct mcp_made *made);
/* Frees what is still in it; who keeps `exchange` or `answer` empties that field before. */
void mcp_made_deinit(struct mcp_made *made);

/* Era of a POST (mcp.md §1.1), as a question of its own. */
enum mesh_era mcp_era(const struct rpc_message *rpc, struct slice body, struct slice version);

/* With which key this request's principal is hashed: its session's, or the first. */
const struct mcp_who_key *mcp_who_key(const struct mcp_config *config,
                                      const struct mesh_request *request);
/* Who asks: all zero for unbound. */
struct principal mcp_principal(const struct mcp_config *config, const struct mcp_who_key *key,
                               const struct h1_head *head);
/* The Authorization header as a keyed hash; all zero: there is none. */
struct principal mcp_token(const struct mcp_who_key *key, const struct h1_head *head);

/* An answer of the gate's or the parser's refusal, complete; `allow` NULL: no Allow line. */
int mcp_write_refusal(int status, const char *reason, const char *allow, bool close,
                      struct bytes **answerp);

/* --- The answer, at the peer that holds the client ----------------------------------------- */

/* The head for MESH_REPLY_HEAD. `lines`: those that travel. `session`: MESH_SESSION_TEXT bytes, or
 * NULL. `length`: of the whole body, if it is known already, else -1. How the body must be framed
 * stands in exchange->framing afterwards: chunks, plain bytes, or plain bytes and then close.
 * 0, -ENOMEM, or -EINVAL: the lines cannot be sent (say MESH_UPSTREAM_BAD instead). */
int mcp_write_head(const struct mcp_config *config, struct mcp_exchange *exchange, int status,
                   enum mesh_form form, struct slice lines, const char *session, int64_t length,
                   struct bytes **headp);

/* Heads written lately, of one config, all of them of requests or all of answers; zeroes to begin
 * with. */
#define MCP_HEADS 256u
struct mcp_heads {
    struct bytes_budget *budget; /* of what is written; or NULL */
    struct mcp_head_kept {
        struct bytes *head; /* NULL: none */
        struct slice session;
        struct span lines;    /* those that travel, in the head */
        size_t before_digits; /* of Content-Length */
    } kept[MCP_HEADS];
};
void mcp_heads_forget(struct mcp_heads *heads, uint32_t place); /* its user is gone */
void mcp_heads_deinit(struct mcp_heads *heads);
/* The same bytes as mcp_write_head(), with less work where the last head of this place had the same
 * lines. `place`: any number that the connection keeps. */
int mcp_write_head_again(const struct mcp_config *config, struct mcp_exchange *exchange, int status,
                         enum mesh_form form, struct slice lines, const char *session,
                         int64_t length, struct mcp_heads *heads, uint32_t place,
                         struct bytes **headp);

enum mcp_ending {
    MCP_END_WHOLE, /* write *textp, end the answer by its framing */
    MCP_END_CUT    /* nothing can be said any more: close without ending the framing */
};
/* The outcome `why` (not MESH_OK) of an exchange; `event_id`: for an event that tells it. Before
 * any head: *textp is a whole answer, head and body, not to be framed. After one: on an event
 * stream the last bytes of its body, to be framed; otherwise MCP_END_CUT and NULL. 0 or -ENOMEM. */
int mcp_write_outcome(const struct mcp_config *config, struct mcp_exchange *exchange,
                      enum mesh_reason why, bool head_sent, struct slice event_id,
                      enum mcp_ending *ending, struct bytes **textp);
/* An error of the mesh's own as an event of a stream: for a REPLY_EVENT with a reason. `id`: the
 * raw JSON-RPC id it answers; `event_id`: its own, may be empty. 0 or -ENOMEM. */
int mcp_write_failure(enum mesh_reason why, struct slice id, struct slice event_id,
                      struct bytes **textp);
/* HTTP+SSE: the first event of a stream says where messages go. Relative to the stream's path where
 * both lie side by side, so that a prefix in front of them need not be known. 0 or -ENOMEM. */
int mcp_write_endpoint(const struct mcp_config *config, const char session[MESH_SESSION_TEXT],
                       struct bytes **textp);
/* A short name for logs and counters: "outcome_unknown". */
const char *mcp_reason_name(enum mesh_reason why);

/* --- The upstream's side, at the owner (HTTP upstreams) ------------------------------------ */

struct mcp_upstream_request {
    enum mesh_want want;
    struct slice method, target; /* of the client's request, as the effect has them */
    struct slice head;           /* the lines that travel */
    struct slice session;        /* the upstream's own session id; empty: none */
    struct slice last_event_id;  /* likewise: of its own events; empty: none */
    struct slice endpoint;       /* HTTP+SSE: the target of its messages; empty: none */
    size_t body_bytes;
    bool is_own; /* a message of the mesh itself, under another request's head */
};
/* 0, -ENOMEM or -EINVAL. */
int mcp_upstream_request_head(const struct mcp_config *config,
                              const struct mcp_upstream_request *request, struct bytes **headp);

/* The same bytes as mcp_upstream_request_head(), with less work where the last head of this place
 * was of the same session and lines. `place`: any number that the session keeps. */
int mcp_upstream_request_head_again(const struct mcp_config *config,
                                    const struct mcp_upstream_request *request,
                                    struct mcp_heads *heads, uint32_t place, struct bytes **headp);

struct mcp_upstream_answer {
    enum mesh_form form;
    struct bytes *lines;  /* that travel: the caller's */
    struct slice session; /* Mcp-Session-Id, as long as the head holds; may be empty */
};
/* 0 or -ENOMEM. Nothing of a PASS is looked into: its form is RAW or NONE. A JSON or SSE answer
 * that is compressed in spite of what we asked for is RAW. */
int mcp_filter_response_head(struct h1_head *head, enum mesh_want want,
                             struct mcp_upstream_answer *answer);
/* Does an answer with this status and body (its first KiB is enough) to a request that carried the
 * upstream's own session id say that the id is not known any more (mcp.md §4.2 rule 8)? */
bool mcp_is_session_lost(int status, struct slice body);

#endif
