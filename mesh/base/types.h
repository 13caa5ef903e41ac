/* types.h - the nouns that mesh/, http/, node/ and sim/ share: peers, addresses, epochs, names of
 * exchanges, requests, and the words in which the core says what became of one. No functions but
 * trivial comparisons; no policy. */
#ifndef MESH_TYPES_H
#define MESH_TYPES_H

#include <assert.h>
#include <string.h>

#include "mesh/base/event_id.h"
#include "mesh/base/rpc.h"

#define MESH_NAME_MAX 63      /* bytes of a peer's name, of [a-z0-9-] */
#define MESH_ZONE_MAX 31      /* bytes of a zone's name */
#define MESH_SESSION_BYTES 31 /* a session id, decoded */
#define MESH_SESSION_TEXT 42  /* a session id, as clients see it */
#define MESH_KEYS_SAID_MAX 5  /* cluster keys that a peer says it accepts */
#define MESH_PROOF_BYTES 160  /* of what a member says of itself: see identity.h */
#define MESH_NEVER UINT64_MAX /* a deadline of nothing to wait for */

/* A slot of an array and how often it was given out: a handle to a closed thing finds nothing. */
struct handle {
    uint32_t slot, generation;
};
static inline bool handle_is_none(struct handle a)
{
    return a.generation == 0;
}
static inline bool handle_equal(struct handle a, struct handle b)
{
    return a.slot == b.slot && a.generation == b.generation;
}

/* One life of a named peer (DESIGN §9). Ordered by name hash, then generation. Zero: nobody. */
struct peer_id {
    uint64_t name; /* hash of the name */
    uint64_t generation;
};
static inline bool peer_id_equal(struct peer_id a, struct peer_id b)
{
    return a.name == b.name && a.generation == b.generation;
}
static inline int peer_id_compare(struct peer_id a, struct peer_id b)
{
    if (a.name != b.name)
        return a.name < b.name ? -1 : 1;
    return a.generation == b.generation ? 0 : a.generation < b.generation ? -1 : 1;
}
static inline bool peer_id_is_nobody(struct peer_id a)
{
    return a.name == 0 && a.generation == 0;
}

/* Where a peer's UDP and TCP sockets are. IPv4 is kept as ::ffff:a.b.c.d. Port 0: nowhere. */
struct mesh_addr {
    uint8_t ip[16]; /* network order */
    uint16_t port;  /* host order */
};
static inline bool mesh_addr_equal(const struct mesh_addr *a, const struct mesh_addr *b)
{
    return a->port == b->port && memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

enum member_state {
    MEMBER_UNKNOWN, /* never heard of: not the same as dead */
    MEMBER_ALIVE,
    MEMBER_SUSPECT,
    MEMBER_DEAD,
    MEMBER_LEFT
};
static inline bool member_state_is_living(enum member_state state)
{
    return state == MEMBER_ALIVE || state == MEMBER_SUSPECT;
}

/* What a member says of itself, under its record version. */
struct mesh_record {
    char name[MESH_NAME_MAX + 1]; /* empty: a member of whom nothing but its end is known */
    struct peer_id id;
    uint64_t nonce;   /* generation nonce: random per start, seeds the datagram nonce */
    uint64_t version; /* of what follows */
    struct mesh_addr addr;
    char zone[MESH_ZONE_MAX + 1];
    uint8_t weight; /* 1 .. 16 units of ring points */
    bool serving;   /* its upstream answers */
    bool draining;
    bool hold; /* off the ring by its own decision */
    /* Ids of the cluster's keys that it accepts, the one that it seals with first. None: it has no
     * key, or is of a version that does not say. */
    uint32_t keys[MESH_KEYS_SAID_MAX];
    uint8_t keys_count;
    bool has_proof; /* false: its mesh has no identities */
    uint8_t proof[MESH_PROOF_BYTES];
};

/* What a peer knows of a member: a row of its view. A mesh of N has N * N of them in all, so what
 * all peers know alike, the record, is not in it (DESIGN §14). */
struct mesh_member {
    const struct mesh_record *record; /* never changed; another one when the member says so */
    uint32_t incarnation;
    uint32_t load; /* sessions owned, as its last ack said */
    /* The rest is for mesh/member: view.c's, and what swim.c notes. Times are stamps of the view:
     * see view_time_ms(). */
    union {
        uint32_t gone_at;   /* dead or left: since when */
        uint32_t other_at;  /* living: its place among the others */
        uint32_t next_free; /* of no member: the next such row */
    };
    uint32_t acked_at;         /* when it last answered a ping of ours; 0: never */
    uint16_t srtt_8, rttvar_4; /* ms, scaled as in RFC 6298's appendix of old */
    uint16_t use;              /* how often the row was given out */
    enum member_state state : 4;
    bool told : 1, shown : 1;       /* it had our record from ourselves; it showed our view hash */
    bool agrees : 1;                /* the view hash that it showed last was ours */
    bool lost : 1, lost_before : 1; /* it died, here, within the last minutes */
    unsigned round : 4; /* the last round of probes that it stood in, 1 .. 15; 0: none */
};
static_assert(sizeof(struct mesh_member) <= 32, "DESIGN §14: a row is 32 bytes at most");

/* One tenure of a session: its number and its owner. Compared as one number, the counter first;
 * since it names its owner, no two peers can choose the same (invariant O1). Counter 0: none. */
struct mesh_epoch {
    uint64_t counter;
    struct peer_id owner;
};
static inline int mesh_epoch_compare(struct mesh_epoch a, struct mesh_epoch b)
{
    if (a.counter != b.counter)
        return a.counter < b.counter ? -1 : 1;
    return peer_id_compare(a.owner, b.owner);
}

/* One request on every link it travels. OPEN with a known name attaches, it does not execute. */
struct exchange_name {
    struct peer_id entry; /* the generation that holds the client */
    uint64_t counter;
};

struct session_id {
    uint8_t bytes[MESH_SESSION_BYTES];
};
static inline bool session_id_equal(const struct session_id *a, const struct session_id *b)
{
    return memcmp(a->bytes, b->bytes, MESH_SESSION_BYTES) == 0;
}

/* Who asks: a keyed hash of what --bind-session names; all zero: unbound (DESIGN §17). */
struct principal {
    uint8_t hash[16];
};

static inline bool principal_equal(const struct principal *a, const struct principal *b)
{
    return memcmp(a->hash, b->hash, sizeof a->hash) == 0;
}

static inline bool principal_is_none(const struct principal *a)
{
    static const struct principal none;
    return principal_equal(a, &none);
}

/* What a request is routed by, as it came from outside: not yet decoded, not yet verified. */
enum mesh_key_kind {
    MESH_KEY_NONE,
    MESH_KEY_SESSION,
    MESH_KEY_HANDLE /* modern era: equal ones are served by one process (--affinity-header) */
};
struct mesh_key {
    enum mesh_key_kind kind;
    struct slice text; /* the header's value */
};

enum mesh_want {
    MESH_CALL,   /* POST of a message (DELETE and GET are their own) */
    MESH_LISTEN, /* GET: the session's server stream, or the rest of one (last_event_id) */
    MESH_DELETE, /* end the session */
    MESH_PASS,   /* any other path: for an HTTP upstream, untouched */
    MESH_SSE     /* GET of HTTP+SSE (MCP 2024-11-05): a new session and its one stream */
};
#define MESH_WANT_LAST MESH_SSE

/* How the client speaks. A session is used the way it was opened. */
enum mesh_front {
    MESH_FRONT_HTTP, /* Streamable HTTP */
    MESH_FRONT_SSE   /* HTTP+SSE: everything comes on the one stream, a POST brings 202 */
};

enum mesh_era {
    MESH_LEGACY, /* sessions: every revision up to 2025-11-25 */
    MESH_MODERN  /* 2026-07-28: no sessions; closing the stream cancels */
};

/* A client's request, made once at the edge (http/mcp.c); it travels whole in OPEN. */
struct mesh_request {
    enum mesh_want want;
    enum mesh_era era;
    enum mesh_front front;
    struct mesh_key key;
    struct principal who;
    struct principal token;      /* its credentials, hashed alike; all zero: none */
    uint32_t who_key;            /* id of the cluster's key behind both hashes; 0: not said */
    struct rpc_message rpc;      /* MESH_CALL: offsets into body */
    struct slice last_event_id;  /* MESH_LISTEN: the header's value; empty: a stream from now on */
    struct slice method, target; /* of HTTP, for MESH_PASS and the upstream's request line */
    struct slice head;           /* the header lines that travel: "Name: value CRLF" each */
    struct slice body;
};

/* How an answer's bytes are cut. */
enum mesh_form {
    MESH_FORM_NONE, /* a head and no body: 202, 204 */
    MESH_FORM_JSON, /* one JSON text */
    MESH_FORM_SSE,  /* events */
    MESH_FORM_RAW   /* bytes of another type, passed through */
};

enum mesh_end {
    MESH_END_WHOLE, /* all of it came */
    MESH_END_CUT,   /* it ended before its end */
    MESH_END_LATER  /* a stream ends well, its rest comes to a GET with Last-Event-ID (SEP-1699) */
};
#define MESH_END_LAST MESH_END_LATER

/* Why an exchange ended without its upstream's answer. The core names it, http/mcp.c words it
 * (status, header, body). */
enum mesh_reason {
    MESH_OK,
    MESH_NO_SESSION_ID,       /* 400: not initialize, and no id where one is needed */
    MESH_SESSION_UNKNOWN,     /* 404: no id of ours, another principal's, ended, or nobody has it */
    MESH_ID_IN_USE,           /* 400 -32600: an open request of this session has that id */
    MESH_ALREADY_INITIALIZED, /* 400 -32600 */
    MESH_NOT_SUPPORTED,       /* 400: this kind of upstream cannot serve it (a batch, modern) */
    MESH_NO_ROUTE,            /* 404: no such path with this upstream */
    MESH_FULL,                /* 503 + Retry-After: a cap of §17 */
    MESH_PARKED_TOO_LONG,     /* in-band: the owner could not be found in time */
    MESH_OWNER_LOST,          /* in-band: its owner died and nobody carries the session on */
    MESH_OUTCOME_UNKNOWN,     /* in-band: lost in flight, not known whether it ran; not retried */
    MESH_UPSTREAM_DOWN,       /* in-band: refused, cannot be started; nothing ran */
    MESH_UPSTREAM_LOST,       /* in-band: it died or hung up with the request in flight */
    MESH_UPSTREAM_BAD,        /* in-band: it answered what is no answer */
    MESH_ANSWER_TOO_LARGE,    /* in-band: a message over 10 MiB */
    MESH_SUPERSEDED,          /* a server stream replaced by a newer GET */
    MESH_SESSION_ENDED,       /* a held stream whose session was deleted or expired */
    MESH_READER_SLOW,         /* cut: a reader of this answer is too far behind */
    MESH_CANCELLED,           /* in-band: its client cancelled it, and no answer will come */
    MESH_STOPPING,            /* this process is going down */
    MESH_STREAM_OVER,         /* 405: a resume that shows the stream's last event */
    MESH_RATE_LIMITED         /* 429 + Retry-After: its principal sends too many */
};
#define MESH_REASON_LAST MESH_RATE_LIMITED

#endif
