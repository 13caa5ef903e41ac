/* upstream.h - the MCP server behind this peer, one interface over three kinds: a server over HTTP
 * (of either transport), a child per session, the built-in one. The core names upstream sessions by
 * handle and calls in them by number; what runs again, and what becomes of a lost one, it decides.
 */
#ifndef NODE_UPSTREAM_H
#define NODE_UPSTREAM_H

#include "mesh/mesh.h"
#include "node/slots.h"

struct host;
struct host_config;
struct upstream;

/* What a kind has to offer. `kind` is what its start() made. */
struct upstream_ops {
    int (*start)(struct upstream *upstream, void **kindp); /* 0 or negative errno */
    void (*open)(void *kind, const struct mesh_effect *effect);
    void (*send)(void *kind, const struct mesh_effect *effect); /* UP_SEND and UP_LISTEN */
    void (*room)(void *kind, const struct mesh_effect *effect);
    void (*cancel)(void *kind, const struct mesh_effect *effect);
    void (*shut)(void *kind, const struct mesh_effect *effect); /* UP_CLOSE */
    void (*turn)(void *kind, uint64_t now_ms);                  /* once per turn; or NULL */
    uint64_t (*deadline_ms)(const void *kind);                  /* or NULL */
    bool (*is_busy)(const void *kind);                          /* a lookup runs; or NULL */
    bool (*has_last_words)(const void *kind);                   /* or NULL */
    void (*ask)(void *kind);   /* whether it answers again: now, then once a second; or NULL */
    void (*close)(void *kind); /* closes every handle */
    void (*free)(void *kind);  /* after the loop ran out */
};
extern const struct upstream_ops up_http_ops, up_stdio_ops, up_builtin_ops;

struct upstream {
    struct host *host;
    const struct upstream_ops *ops;
    void *kind;
    struct slots ups;        /* by handle: each kind's own struct */
    bool serving, was_asked; /* as last told to the core */
    bool closing;            /* the process goes: nothing new */
    struct upstream_stats {
        uint64_t calls, refused, lost, spawned, spawn_failed, lines_dropped, lines_large;
        uint64_t asked, asked_in_vain; /* while it failed: whether it answers again */
        uint32_t open, connections, waiting, spares;
    } stats;
};

int upstream_new(struct upstream **upstreamp, struct host *host);
void upstream_do(struct upstream *upstream, const struct mesh_effect *effect);
void upstream_turn(struct upstream *upstream, uint64_t now_ms);
uint64_t upstream_deadline_ms(const struct upstream *upstream);
void upstream_close(struct upstream *upstream);         /* NULL is fine */
bool upstream_is_busy(const struct upstream *upstream); /* as resolver_is_busy() */
/* The server is being told of sessions that ended: worth a moment before the process goes. */
bool upstream_has_last_words(const struct upstream *upstream);
void upstream_free(struct upstream *upstream); /* after the loop ran out; NULL is fine */
/* Whether --upstream can be this: http://host[:port][/path[?query]]. */
bool upstream_url_is_good(const char *url);
/* Whether it is an HTTP+SSE server, as --upstream-transport says or its path tells. */
bool upstream_speaks_sse(const struct host_config *config);
bool upstream_serves(const struct upstream *upstream); /* it is there, and does its work */

/* MESH_UPSTREAM_FAILS. */
void upstream_note_fails(struct upstream *upstream, bool fails);

/* The members changed, or who they are: the built-in server tells its watchers. */
void upstream_members_changed(struct upstream *upstream);

/* ---- for the kinds --------------------------------------------------------------------------- */

/* Tells the core, on a change, or if it failed and answers again. */
void upstream_set_serving(struct upstream *upstream, bool serving, const char *why);
uint64_t upstream_now_ms(struct upstream *upstream);

#endif
