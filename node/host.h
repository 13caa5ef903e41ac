/* host.h - the process around the core: one loop, one thread. It feeds mesh/ with what sockets,
 * children and the clock bring, does the effects once per turn, and sleeps until the core's
 * deadline. It decides nothing about sessions. main.c fills a host_config and calls the three
 * functions host_new, host_run, host_free; the rest is for the other files of node/. */
#ifndef NODE_HOST_H
#define NODE_HOST_H

#include <uv.h>

#include "http/gate.h"
#include "http/mcp.h"
#include "mesh/mesh.h"
#include "node/wheel.h"
#include "node/writer.h"

#define HOST_READ_BYTES (64u << 10)

/* Which transport --upstream speaks; auto: HTTP+SSE if the last segment of its path is `sse`. */
enum host_transport { HOST_TRANSPORT_AUTO, HOST_TRANSPORT_HTTP, HOST_TRANSPORT_SSE };

/* What main.c made of flags and environment. Texts and arrays are borrowed until host_free(). */
struct host_config {
    /* Filled by main.c but for entropy, boot_ms, has_contacts and upstream. addr: what others
     * dial; port 0: the one of peer_listen; address zero: that of peer_listen, and if that is
     * a wildcard the first of this machine's own that is no loopback. */
    struct mesh_config mesh;
    struct mesh_addr listen;      /* clients; port 0: any */
    struct mesh_addr peer_listen; /* peers, UDP and TCP; port 0: any */
    const char *admin_listen;     /* "127.0.0.1:9090"; NULL: no admin endpoint */
    const char *admin_token_path; /* or NULL: loopback needs none */
    const char *const *joins;     /* HOST[:PORT] */
    size_t joins_count;
    uint16_t join_port;               /* where a join names none */
    uint32_t expect, expect_grace_ms; /* readiness waits for so many members, so long */
    const char *upstream_url;         /* http://host[:port]/path, or NULL */
    char *const *command;             /* stdio: NULL-terminated, or NULL */
    const char *self_path;            /* of this program, to start children; NULL: /proc/self/exe */
    uint32_t children_max;            /* stdio: children at once */
    uint32_t spares;                  /* stdio: children that wait for a session */
    uint32_t spawning_max;            /* stdio: children started but silent yet, at once */
    enum host_transport upstream_transport;
    uint32_t connections_max, connections_per_address_max;
    uint32_t drain_timeout_ms, drain_grace_ms;
    struct gate_config gate;             /* but listen_host and is_loopback */
    struct mcp_config mcp;               /* but what is of the upstream, and keys */
    const char *identity_path, *ca_path; /* of the identity in `mesh`, read once; or NULL */
    const char *key_path; /* where the keys of `mesh` are from: it is watched; or NULL */
};

void host_config_defaults(struct host_config *config);

enum host_exit {
    HOST_EXIT_OK = 0,
    HOST_EXIT_USAGE = 2,
    HOST_EXIT_INTERNAL = 3,
    HOST_EXIT_NAME_TAKEN = 4,
    HOST_EXIT_SUPERSEDED = 5
};

struct host {
    const struct host_config *config;
    uv_loop_t loop;
    struct mesh *mesh;
    struct clients *clients;
    struct upstream *upstream;
    struct peers *peers;
    struct resolver *resolver;
    struct status *status;
    struct reload *reload;
    struct writers writers;
    struct wheel wheel;
    struct host_core *core;      /* host.c's own */
    struct gate_config gate;     /* with what depends on the listener */
    struct mcp_config mcp;       /* with what upstream_new() and reload_new() fill in */
    uint32_t connections_max;    /* as the descriptors allow */
    struct bytes_budget bodies;  /* of requests and lines of children, on their way in */
    struct bytes_budget passing; /* heads, and answers of the upstream: counted elsewhere */
    /* Where sockets are read into: what is to outlive the callback is copied or referenced. */
    char read_buffer[HOST_READ_BYTES];
};

/* Binds everything; nothing runs yet. 0 or negative errno, after a line in the log. */
int host_new(struct host **hostp, const struct host_config *config);
enum host_exit host_run(struct host *host); /* until SIGTERM, or until there is a reason to go */
/* NULL is fine. False: a lookup still runs in its thread, and exit() would wait for it: leave by
 * _exit() (what belongs to the host is not freed then). */
bool host_free(struct host *host);

/* ---- for the rest of node/ ------------------------------------------------------------------- */

/* CLOCK_BOOTTIME in ms, read once per turn. */
uint64_t host_now_ms(struct host *host);
/* For jitter only: 0 .. below-1. */
uint32_t host_chance(struct host *host, uint32_t below);
/* As the first SIGTERM: drain, then go. Again: does nothing. */
void host_leave(struct host *host);
const char *host_error_name(int error); /* of a negative errno; good until the next call */
bool host_is_leaving(const struct host *host);
/* Counters of the process itself, for metrics. */
struct host_stats {
    uint64_t turns, effects, late_ms_max; /* late_ms_max: the worst turn since the last call */
};
void host_stats(struct host *host, struct host_stats *stats);
uint64_t host_started_ms(const struct host *host);
/* uv_alloc_cb over read_buffer; handle->loop->data is the host. */
void host_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf);

/* Addresses (addr.c). IPv4 is ::ffff:a.b.c.d in the core and AF_INET at a socket. False: neither
 * family. */
bool addr_of_socket(struct mesh_addr *addr, const struct sockaddr *from);
void addr_to_socket(struct sockaddr_storage *to, const struct mesh_addr *addr);
bool addr_is_v4(const struct mesh_addr *addr);
bool addr_is_any(const struct mesh_addr *addr);
bool addr_is_loopback(const struct mesh_addr *addr);
#define ADDR_TEXT_MAX 56
const char *addr_text(const struct mesh_addr *addr, char text[ADDR_TEXT_MAX]);
const char *addr_host_text(const struct mesh_addr *addr, char text[ADDR_TEXT_MAX]); /* no port */
/* Numeric "a.b.c.d", "[v6]" or "v6", with ":port" where there is a port. False: not numeric. */
bool addr_read(struct mesh_addr *addr, const char *text, uint16_t port_default);

#endif
