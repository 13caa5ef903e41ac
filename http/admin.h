/* admin.h - the admin endpoint: health, metrics, and what a peer knows, as JSON. The one impure
 * file of http/: libmicrohttpd owns its sockets and gives the host an epoll descriptor and a
 * timeout; no threads, no suspended connections. What is shown comes from the host through struct
 * admin_source; nothing here knows the mesh. A public endpoint is http/h1 and http/mcp. */
#ifndef HTTP_ADMIN_H
#define HTTP_ADMIN_H

#include "mesh/base/types.h"

#define ADMIN_TOKENS_MAX 8
#define ADMIN_TOKEN_BYTES_MAX 256
#define ADMIN_REASONS_MAX 8
#define ADMIN_CANDIDATES_MAX 8
#define ADMIN_KEYS_MAX 8
#define ADMIN_REFUSING_MAX 8
#define ADMIN_PAGE_MAX 1000u /* sessions of one answer; 100 if none is asked for */

/* A peer as pages name it. An empty name: nobody, or not known any more. */
struct admin_peer {
    char name[MESH_NAME_MAX + 1];
    uint64_t generation;
};

struct admin_session {
    char id_hash[9]; /* 8 hex digits and a zero: ids are never shown */
    uint64_t epoch;  /* its counter */
    uint64_t age_ms, idle_ms, calls;
    uint32_t exchanges_open, streams_open;
    bool was_handed; /* by its former owner: a hand-over, no loss */
};

/* Why a session id is answered for where it is. */
struct admin_why {
    char id_hash[9];     /* empty: it is no id */
    const char *verdict; /* here, there, gone, away, ended, foreign */
    bool well_formed, genuine;
    enum member_state home_state;
    uint64_t epoch;  /* 0: no record here */
    bool was_handed; /* ours, by its former owner */
    struct admin_peer home, record_owner, owner, hint, claim;
    struct admin_peer candidates[ADMIN_CANDIDATES_MAX];
    uint8_t candidates_count;
};

/* A key of the cluster, by its id: keys are never shown. */
struct admin_key {
    uint32_t id;
    const char *use;       /* in_use, verifies, leaving */
    bool seals, is_wanted; /* is_wanted: it seals as soon as everybody accepts it */
    uint32_t sealing;      /* living members that seal with it, this one included */
    uint32_t
        refusing_count; /* living members that do not say that they accept it, and some names */
    char refusing[ADMIN_REFUSING_MAX][MESH_NAME_MAX + 1];
};

/* What the host knows. Every function is asked within admin_run() or an admin_..._text() and gets
 * `context`. A NULL function answers 404. */
struct admin_source {
    void *context;
    const char *(*self)(void *context); /* our name */
    /* As mesh_members(): copies up to `members_max`, returns how many there are. */
    size_t (*members)(void *context, struct mesh_member *members, size_t members_max);
    /* The sessions owned here, in a steady order, from the `from`th on: how many were copied. */
    size_t (*sessions)(void *context, uint32_t from, struct admin_session *sessions,
                       size_t sessions_max);
    void (*why)(void *context, const char *id, size_t length, struct admin_why *why);
    /* Why this peer is not ready (static texts); 0: it is. */
    size_t (*unready)(void *context, const char *reasons[ADMIN_REASONS_MAX]);
    /* Prometheus text from malloc(), freed here; NULL: no memory. */
    char *(*metrics)(void *context, size_t *length);
    void (*drain)(void *context); /* may be asked again: then it does nothing */
    /* Returns how many there are; none: this cluster has no keys. */
    size_t (*keys)(void *context, struct admin_key keys[ADMIN_KEYS_MAX]);
    /* 0; -ENOENT: no such key is in use; -EBUSY: not everybody accepts it. */
    int (*use_key)(void *context, uint32_t id);
};

struct admin_config {
    const char *listen;     /* "127.0.0.1:9090", "[::1]:0": an address, not a name */
    const char *token_path; /* NULL: /v1 answers on a loopback address only */
};

struct admin;

/* Binds and listens. 0, -EINVAL (not an address), -EBADMSG (the token file holds no token, too many
 * or none usable), or what bind(), open() ... said. `source` is copied. */
int admin_start(struct admin **adminp, const struct admin_config *config,
                const struct admin_source *source, uint64_t now_ms);
void admin_stop(struct admin *admin); /* closes everything; NULL is fine */

uint16_t admin_port(const struct admin *admin); /* the bound one */
/* Readable: call admin_run(). Also call it when admin_timeout_ms() is over, and ask that anew
 * after each run. The timeout is counted from now_ms; MESH_NEVER: none. */
int admin_fd(const struct admin *admin);
void admin_run(struct admin *admin, uint64_t now_ms);
uint64_t admin_timeout_ms(const struct admin *admin, uint64_t now_ms);

/* Reads the token file: one token of visible ASCII a line, empty lines and those beginning with #
 * skipped. On an error (as admin_start) the tokens in use stay. */
int admin_load_tokens(struct admin *admin, const char *path);

/* The JSON of /v1/members, of one of its members and of a page of /v1/sessions, from malloc();
 * NULL: no such member, no such function, no memory. For the built-in server's resources. */
char *admin_members_text(const struct admin_source *source);
char *admin_member_text(const struct admin_source *source, const char *name, size_t length);
char *admin_sessions_text(const struct admin_source *source, uint32_t from, uint32_t limit);

#endif
