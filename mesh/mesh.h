/* mesh.h - the mesh core, seen from outside. Facts go in (a datagram, link bytes, a client's
 * exchange, an upstream's answer, the time); effects come out, drained once per loop turn. It
 * owns no socket, clock, thread or log. Node and simulator drive it through this header and
 * nothing else.
 *
 * Arguments are borrowed for the call; an effect's slices hold until the next mesh_next_effect();
 * who keeps one calls slice_keep(). A handle is a slot and a generation: the host keeps arrays by
 * slot. Inputs for closed handles are ignored, effects for them never leave. Times are
 * milliseconds of a clock that never goes back and also runs while the machine sleeps. */
#ifndef MESH_MESH_H
#define MESH_MESH_H

#include "mesh/base/types.h"

#define MESH_CANDIDATES_MAX 8 /* how many of a key's candidates mesh_why() names */
#define MESH_KEYS_MAX 4       /* of a key file */
#define MESH_KEYS_ALL 8       /* and those that left it, while others seal with them */
#define MESH_LABEL_MAX 63
#define MESH_DATAGRAM_MAX 1200       /* bytes of UDP payload (invariant B2) */
#define MESH_MESSAGE_MAX (10u << 20) /* bytes of one upstream message (DESIGN §17) */

struct mesh; /* one peer's view of the mesh */

enum mesh_placement {
    MESH_PLACE_LOCAL, /* new sessions stay on the peer that received them */
    MESH_PLACE_RING,
    MESH_PLACE_LEAST /* the less loaded of two random choices */
};

enum mesh_upstream_kind {
    MESH_UP_HTTP,    /* keeps its own session ids; answers stream by stream */
    MESH_UP_STDIO,   /* one child per session: the core places its messages (mcp.md §4.2 rule 8) */
    MESH_UP_BUILTIN, /* as stdio, in this process */
    MESH_UP_SSE      /* HTTP+SSE of 2024-11-05: as stdio; what is on other paths passes to it */
};

/* What becomes of a session whose owner, or upstream, is lost. */
enum mesh_loss_policy {
    MESH_LOSS_RESUME, /* a successor goes on with a fresh upstream */
    MESH_LOSS_END     /* it ends, and no copies are kept: for servers whose memory must not silently
                         begin anew */
};

/* Whether sessions move though nobody is lost: who is new has none. */
enum mesh_rebalance {
    MESH_REBALANCE_OFF,
    MESH_REBALANCE_IDLE /* idle ones, to new peers; their server's memory is lost */
};

struct records; /* mesh/member/records.h */
struct rings;   /* mesh/member/rings.h */

struct mesh_config {
    const char *name;      /* of this peer: 1 .. MESH_NAME_MAX of [a-z0-9-] */
    const char *cluster;   /* label: 1 .. MESH_LABEL_MAX bytes */
    const char *zone;      /* or NULL */
    struct mesh_addr addr; /* what others dial, UDP and TCP */
    uint8_t weight;
    uint8_t keys[MESH_KEYS_MAX][32]; /* the first that does more than verify seals */
    uint8_t keys_count;              /* 0: keyless, for loopback only (a key made of the label) */
    uint8_t verify_only;             /* bit n: keys[n] verifies old session ids, nothing else */
    uint8_t entropy[32];             /* the only source of chance */
    uint64_t boot_ms;                /* wall clock at start: the lower bound of the generation */
    bool has_contacts;               /* mesh_join() will be called: mint only once joined */
    enum mesh_placement placement;
    enum mesh_upstream_kind upstream;
    bool retry_hints; /* believe a tool's readOnlyHint and idempotentHint */
    enum mesh_loss_policy on_owner_loss;
    enum mesh_rebalance rebalance;
    uint32_t members_max, sessions_max, exchanges_max;
    uint32_t rate,
        rate_burst;        /* requests a second of one principal, 0: any; at once, 0: twice that */
    uint32_t unknown_rate; /* ids a second that are told to be unknown, 0: any number */
    uint32_t copies;       /* of a session, at other peers: at most COPIES_HOLDERS_MAX */
    size_t memory_max;     /* bytes of bodies and kept answers, all together */
    uint32_t park_ms, silent_window_ms, name_wait_ms;
    uint64_t session_idle_ms, session_max_ms;
    /* A key of its own (identity.h). Without one, what members say of each other is not proved. */
    bool has_identity;
    uint8_t identity_secret[32], identity_certificate[64], peer_ca[32];
    struct records *records; /* of members, shared by meshes of one process; NULL: its own */
    struct rings *rings;     /* the same of rings */
};

/* 1 to MESH_NAME_MAX of a-z, 0-9 and -. NULL is none. */
bool mesh_name_is_legal(const char *name);

/* Fills every field that has a default: all but name, cluster, addr, entropy, boot_ms. */
void mesh_config_defaults(struct mesh_config *config);

/* 0, -EINVAL (a bad name, label, address, key or identity), -ENOMEM. */
int mesh_new(struct mesh **meshp, const struct mesh_config *config, uint64_t now_ms);
void mesh_free(struct mesh *mesh); /* NULL is fine */

/* ---- wishes --------------------------------------------------------------------------------- */

/* Ask this address for the mesh. Repeated calls with the same address are cheap: the host calls
 * it again whenever it has resolved its seeds anew. Our own address is skipped. */
void mesh_join(struct mesh *mesh, const struct mesh_addr *contact, uint64_t now_ms);
/* The local upstream was asked whether it is there, and is, or is not. Starts as false. Where
 * mesh_up_fails(), it was asked to answer something, and does. */
void mesh_serving(struct mesh *mesh, bool serving, uint64_t now_ms);
/* Take no new sessions and give away those we own (handover.h); go on serving what still comes here
 * until stay_ms, then end the streams that are held here, tell the others that we leave, and end
 * what is left with definite answers. MESH_CHANGED with MESH_LEFT_MESH says that the process may
 * go; at until_ms at the latest. A second wish hurries. */
void mesh_leave(struct mesh *mesh, uint64_t stay_ms, uint64_t until_ms, uint64_t now_ms);

/* The key file reads otherwise now (as in mesh_config; the order counts). The first key in use
 * begins to seal, and to mint, as soon as all living members accept it; one that left the file is
 * accepted as long as one of them seals with it. 0; nothing changes: -EINVAL (as mesh_new(); or we
 * have no keys at all), -EBUSY (one of them shares the low 4 bits of its id with one that others
 * still seal with: try again). */
int mesh_set_keys(struct mesh *mesh, const uint8_t (*keys)[32], uint8_t count, uint8_t verify_only,
                  uint64_t now_ms);
/* This key of the file is the one that is to seal, until the file changes. 0; -ENOENT: no such key
 * is in use; -EBUSY: not all living members accept it. */
int mesh_use_key(struct mesh *mesh, uint32_t id, uint64_t now_ms);

/* ---- a client's request, at the peer that holds its socket (entry) -------------------------- */

/* Slot and generation of a new exchange; its outcome comes as REPLY_ effects, in order: one HEAD,
 * any EVENT or DATA, one END. After REPLY_END the handle is closed. Generation 0: no room (the
 * cap exchanges_max), nothing will come. */
struct handle mesh_open(struct mesh *mesh, const struct mesh_request *request, uint64_t now_ms);
/* The client's socket took so many bytes of the texts and data of this exchange's effects. */
void mesh_taken(struct mesh *mesh, struct handle exchange, size_t bytes, uint64_t now_ms);
/* The client is gone. In the legacy era that cancels nothing (MCP 2025-11-25, transports). */
void mesh_close(struct mesh *mesh, struct handle exchange, uint64_t now_ms);

/* ---- an upstream, at the owner: an HTTP server's session, a child, the built-in server ------ */

/* Bytes of answers that a call (stdio, built in: the upstream) may bring before MESH_UP_ROOM adds
 * to it. */
#define MESH_UP_ROOM_FIRST (256u << 10)
#define MESH_NO_CALL 0u /* of a message that no call of ours caused to come where it came */

/* It can be written to (a child runs; for HTTP at once). */
void mesh_up_ready(struct mesh *mesh, struct handle up, uint64_t now_ms);
/* The first byte of this call was accepted by the kernel: from now on it may have run. */
void mesh_up_sent(struct mesh *mesh, struct handle up, uint32_t call, uint64_t now_ms);
/* What an HTTP upstream's answer says of its own session (mcp.md §4.2 rule 8). */
enum mesh_up_session {
    MESH_UP_SESSION_SAME, /* nothing new */
    MESH_UP_SESSION_MADE, /* initialize was answered with a session id: the host keeps it */
    MESH_UP_SESSION_LOST  /* 404, or 400 to an id that it gave out: it does not know it any more */
};
/* The head of what answers a call by itself: with HTTP every one, with HTTP+SSE a MESH_PASS and a
 * message that was refused. `head`: the header lines that travel. */
void mesh_up_head(struct mesh *mesh, struct handle up, uint32_t call, int status,
                  enum mesh_form form, enum mesh_up_session session, struct slice head,
                  uint64_t now_ms);
/* One whole message. `rpc` NULL: the text is no JSON-RPC (passed through if it is a JSON answer).
 * `tools`: hints learned in the same scan, or NULL. False: it is nothing that could come there, so
 * the answer to this call may still be on its way: nothing else may be asked on its connection. */
bool mesh_up_message(struct mesh *mesh, struct handle up, uint32_t call,
                     const struct rpc_message *rpc, const struct rpc_tools *tools,
                     struct slice text, uint64_t now_ms);
/* HTTP only: an event of this call's stream, told before what it says: its id (empty: none), and
 * the time after which to ask again (0: not said). The id is what UP_LISTEN may resume with. */
void mesh_up_mark(struct mesh *mesh, struct handle up, uint32_t call, struct slice event_id,
                  uint32_t retry_ms, uint64_t now_ms);
/* Part of an answer that is not taken message by message (RAW, or JSON over 1 MiB). */
void mesh_up_data(struct mesh *mesh, struct handle up, uint32_t call, struct slice part,
                  uint64_t now_ms);
/* stdio, HTTP+SSE: a message over MESH_MESSAGE_MAX came and was not kept; what is known of it.
 * `id`: raw JSON, or empty. The open request that it answers ends with ANSWER_TOO_LARGE, any other
 * is dropped. */
void mesh_up_too_large(struct mesh *mesh, struct handle up, enum rpc_kind kind, struct slice id,
                       uint64_t now_ms);
/* The answer to this call is over, or will not come. `why` MESH_OK, or what went wrong:
 * UPSTREAM_DOWN (refused: nothing was sent), UPSTREAM_LOST, UPSTREAM_BAD, ANSWER_TOO_LARGE. Of a
 * message that HTTP+SSE accepted nothing is told: its answer comes as MESH_NO_CALL. */
void mesh_up_end(struct mesh *mesh, struct handle up, uint32_t call, enum mesh_end end,
                 enum mesh_reason why, uint64_t now_ms);
/* The upstream itself is gone (a child exited, could not be started) or did what was wished by
 * MESH_UP_CLOSE. Closes the handle. */
void mesh_up_closed(struct mesh *mesh, struct handle up, enum mesh_reason why, uint64_t now_ms);

/* ---- peers ---------------------------------------------------------------------------------- */

void mesh_datagram(struct mesh *mesh, const struct mesh_addr *from, struct slice sealed,
                   uint64_t now_ms);
enum mesh_loss {
    MESH_LOSS_FIN,     /* the other side closed */
    MESH_LOSS_RST,     /* reset, or any other error of the socket */
    MESH_LOSS_REFUSED, /* the dial was refused */
    MESH_LOSS_TIMEOUT  /* the dial was not answered */
};
/* Somebody dialled us. Generation 0: too many half-open links, close it. */
struct handle mesh_link_accepted(struct mesh *mesh, const struct mesh_addr *from, uint64_t now_ms);
void mesh_link_up(struct mesh *mesh, struct handle link, uint64_t now_ms); /* our dial succeeded */
void mesh_link_bytes(struct mesh *mesh, struct handle link, struct slice sealed, uint64_t now_ms);
void mesh_link_taken(struct mesh *mesh, struct handle link, size_t bytes, uint64_t now_ms);
void mesh_link_down(struct mesh *mesh, struct handle link, enum mesh_loss why, uint64_t now_ms);

/* Time went on. A turn that comes 500 ms or more after mesh_deadline_ms() means: we stood still. */
void mesh_now(struct mesh *mesh, uint64_t now_ms);
/* After the last effect of a turn: sleep until then. */
uint64_t mesh_deadline_ms(const struct mesh *mesh);

/* ---- effects -------------------------------------------------------------------------------- */

enum mesh_effect_kind {
    MESH_DATAGRAM,   /* wire: send it; may be dropped */
    MESH_LINK_DIAL,  /* wire.to */
    MESH_LINK_BYTES, /* wire.sealed: write it; tell mesh_link_taken() */
    MESH_LINK_CLOSE, /* after what was written: FIN; `end.cut`: RST */
    MESH_UP_OPEN,    /* send.head: header lines of the request that causes it (credentials);
                        send.want: MESH_PASS if it is for that one request of another path */
    MESH_UP_SEND,    /* one message or request on call `call` */
    MESH_UP_LISTEN,  /* HTTP: a GET on call `call`: the upstream's own stream, or the rest of one */
    MESH_UP_ROOM,    /* room: so many more bytes may come on this call; MESH_NO_CALL: in all */
    MESH_UP_CANCEL,  /* call: nobody waits for it any more (modern era, a superseded GET) */
    MESH_UP_CLOSE,   /* end the upstream session; mesh_up_closed() is awaited; send.head: newer
                        header lines than those of UP_OPEN (credentials), or empty */
    MESH_REPLY_HEAD, /* head */
    MESH_REPLY_EVENT, /* event: one SSE event */
    MESH_REPLY_DATA,  /* data */
    MESH_REPLY_END,   /* end: `why` not MESH_OK means that http/mcp.c words the outcome */
    MESH_CHANGED      /* changed: for log and metrics */
};

enum mesh_change {
    MESH_MEMBER_CHANGED, /* peer, state */
    MESH_JOINED,         /* the first other member is known, or we are alone and know it */
    MESH_NAME_WAITING,   /* a living peer has our name (peer): unannounced until it is gone */
    MESH_NAME_TAKEN,     /* name_wait_ms is over: leave with the exit code of that */
    MESH_SUPERSEDED_BY,  /* a newer generation of our name lives: leave */
    MESH_LEFT_MESH,      /* mesh_leave() is done */
    MESH_SESSION_OPENED, /* value: keyed hash of the id (8 hex digits are logged) */
    MESH_SESSION_CLOSED,
    MESH_SESSION_TAKEN,   /* it is carried on here; value likewise */
    MESH_SESSION_HANDED,  /* likewise, since its former owner (peer) gave it */
    MESH_SESSION_YIELDED, /* it is another's (peer) */
    MESH_KEY_USED,        /* value: id of the cluster's key that seals and mints from now on */
    MESH_KEY_GIVEN_UP,    /* value: id of one that left the key file: it opens nothing more */
    MESH_STOOD_STILL,     /* value: ms that the loop was late */
    MESH_UPSTREAM_FAILS,  /* value 1: ask once a second whether it answers again; 0: it does */
    MESH_FAILPOINT        /* mesh_fail_at(): this peer is to die now; nothing more will come */
};

struct mesh_effect {
    enum mesh_effect_kind kind;
    struct handle handle; /* exchange, upstream or link */
    uint32_t call;        /* which call of the upstream */
    union {
        struct {
            struct mesh_addr to;
            struct slice sealed;
        } wire;
        struct {
            int status;
            enum mesh_form form;
            struct slice head; /* header lines of the upstream that travel */
            bool has_session;  /* write Mcp-Session-Id: session */
            char session[MESH_SESSION_TEXT];
            struct peer_id owner; /* who answers */
        } head;
        struct {
            struct slice text; /* empty: nothing is said, but a place to resume from, or a time */
            bool answers;      /* it answers the request's own id */
            enum mesh_reason why; /* not MESH_OK: an error of the mesh; text: the id, raw */
            struct event_id id;   /* none: it has none */
            uint32_t retry_ms;    /* 0: not said */
        } event;
        struct slice data;
        struct {
            enum mesh_end end;
            enum mesh_reason why;
            bool cut;           /* LINK_CLOSE: reset */
            bool head_sent;     /* REPLY_END: a REPLY_HEAD went before */
            struct event_id id; /* REPLY_END: of the event that tells `why`; none: it has none */
        } end;
        struct {
            enum mesh_want want;
            /* LISTEN: text is the upstream's own id of the last event that came; empty: none */
            struct slice method, target, head, text;
            bool is_request;  /* JSON-RPC request: an answer will come */
            bool is_own;      /* the mesh asks it by itself, under the head of another request */
            bool lists_tools; /* its answer lists tools: scan it for their hints */
        } send;
        size_t room;
        struct {
            enum mesh_change what;
            struct peer_id peer;
            enum member_state state;
            uint64_t value;
        } changed;
    };
    struct patch patch; /* of event.text, data or send.text; an empty put with cut 0: none */
};

/* Builds with the option `failpoints`: die at the place of this name (mesh/base/failpoint.h; it is
 * kept), when it is passed for the (skip + 1)th time. Else nothing happens. */
void mesh_fail_at(struct mesh *mesh, const char *name, uint32_t skip);
/* The next thing to do, or false: the turn is over. DATAGRAM and LINK_BYTES are sealed here. */
bool mesh_next_effect(struct mesh *mesh, struct mesh_effect *effect, uint64_t now_ms);

/* ---- questions: they change nothing --------------------------------------------------------- */

/* It has failed too often in a row, and is asked nothing (breaker.h). */
bool mesh_up_fails(const struct mesh *mesh);

/* What a peer decides about a key. The record is the truth; hint and ring only tell where to look
 * for it. */
enum owner_verdict {
    OWNER_HERE,   /* serve */
    OWNER_THERE,  /* another peer, not believed gone */
    OWNER_GONE,   /* its owner is gone */
    OWNER_AWAY,   /* not known yet: the home was never heard of */
    OWNER_ENDED,  /* ended, or nobody has a record (invariant N1) */
    OWNER_FOREIGN /* no id of this mesh */
};
struct mesh_why {
    enum owner_verdict verdict;
    char id_hash[9];            /* how logs name it; empty: it is no id of ours */
    bool well_formed, genuine;  /* 42 legal characters; the tag fits a key we hold */
    enum member_state home;     /* of the minting generation; unknown is not dead */
    struct peer_id home_id;     /* zero if unknown */
    struct mesh_epoch record;   /* counter 0: no record here */
    bool was_handed;            /* ours, by its former owner */
    struct peer_id owner, hint; /* who will be asked; what was learned */
    struct peer_id claim;       /* who says that it carries its shard on; zero: nobody living */
    struct peer_id candidates[MESH_CANDIDATES_MAX];
    uint8_t candidates_count;
};
void mesh_why(struct mesh *mesh, const char *id_text, size_t length, struct mesh_why *why,
              uint64_t now_ms);

/* What this peer has of a session. Asks nobody and walks no ring: cheaper than mesh_why(). */
#define MESH_HOLDERS_SEEN 4
struct mesh_tenure {
    bool is_copy;               /* another peer owns it */
    bool is_dormant;            /* ours, without an upstream until somebody asks for something */
    bool was_handed;            /* ours, by its former owner: it was not taken over */
    struct mesh_epoch epoch;    /* of the record */
    struct mesh_epoch promised; /* the highest granted to a taker; counter 0: none */
    uint64_t version;
    struct { /* ours: who is to have a copy, and what of it was acknowledged; 0: nothing */
        struct peer_id peer;
        uint64_t acked;
    } holders[MESH_HOLDERS_SEEN];
    uint8_t holders_count;
};
/* False: nothing is known here of a session with this id. */
bool mesh_tenure_of(struct mesh *mesh, const char *id_text, size_t length,
                    struct mesh_tenure *tenure);

/* The highest epoch of a session that this peer heard of, by a record or anybody's word; counter 0:
 * none, or only that in which its home minted it. */
struct mesh_epoch mesh_heard_of(const struct mesh *mesh, const char *id_text, size_t length);
uint64_t mesh_heard_count(const struct mesh *mesh); /* how often one of these became higher */

/* Was this peer told that the session's client deleted it? */
bool mesh_knows_deleted(struct mesh *mesh, const char *id_text, size_t length, uint64_t now_ms);

/* A key of the cluster, as this peer has it. */
struct mesh_key_info {
    uint32_t id; /* 0: there is none, all is made of the label */
    enum mesh_key_use {
        MESH_KEY_IN_USE,
        MESH_KEY_VERIFIES, /* old session ids, nothing else */
        MESH_KEY_LEAVING   /* it left the file, and is accepted while others seal with it */
    } use;
    bool seals, is_wanted;    /* is_wanted: it seals as soon as everybody accepts it */
    size_t refusing;          /* living others that do not say that they accept it */
    size_t sealing_others;    /* living others that seal with it */
    uint8_t principal[2][16]; /* made of it, for hashes of principals: equal on every peer */
};
/* In the order of the file; returns how many there are, at least one. */
size_t mesh_keys(const struct mesh *mesh, struct mesh_key_info infos[MESH_KEYS_ALL]);

const struct mesh_member *mesh_self(const struct mesh *mesh);
/* Copies up to members_max members (ourselves among them), ordered by id; returns how many there
 * are. Dead and left ones are listed while they are remembered. Records are borrowed until the next
 * fact or wish. */
size_t mesh_members(const struct mesh *mesh, struct mesh_member *members, size_t members_max);
const struct mesh_member *mesh_member_of(const struct mesh *mesh, struct peer_id id);
uint64_t mesh_view_hash(const struct mesh *mesh);
bool mesh_is_joined(const struct mesh *mesh);

struct mesh_session_info {
    char id_hash[9]; /* 8 hex digits: ids are never shown */
    uint32_t slot;   /* the next page begins at slot + 1 */
    struct mesh_epoch epoch;
    uint64_t opened_ms, used_ms;
    uint32_t exchanges_open, streams_open;
    bool was_handed; /* by its former owner */
    uint64_t calls;
};
/* The sessions owned here, in order of their slots, from `from` on; returns how many were copied.
 */
size_t mesh_sessions(const struct mesh *mesh, uint32_t from, struct mesh_session_info *infos,
                     size_t infos_max);
/* 8 hex digits of the id's keyed hash and a zero: how logs and pages name a session. */
void mesh_session_hash(const struct mesh *mesh, const struct session_id *id, char hex[9]);

/* Counters since the start, and a few levels. Each is one line of /metrics. */
struct mesh_stats {
    uint64_t exchanges_owned, exchanges_forwarded, exchanges_parked;
    uint64_t answers_ok, answers_failed;
    uint64_t not_found_foreign, not_found_principal, not_found_ended;
    uint64_t rate_limited;    /* requests of principals that sent too many */
    uint64_t unknown_limited; /* with unknown ids, beyond those that are told so */
    uint64_t sessions_opened, sessions_closed, moved_followed, attached, stale_dropped;
    uint64_t relayed;     /* exchanges carried between peers that cannot reach each other */
    uint64_t handed_over; /* sessions given away: we drain, our server is gone, or --rebalance */
    uint64_t sessions_taken_over, sessions_yielded;
    uint64_t questions_dropped; /* client answers to questions nobody asks any more */
    uint64_t messages_bad;      /* of upstreams: no JSON-RPC where only that makes sense, or too
                                    large to be passed on */
    uint64_t upstreams_lost;    /* of sessions that go on */
    uint64_t breaks, kept_back; /* of the upstream: times that it failed; calls not given to it */
    uint64_t sessions_resumed, replays_failed; /* at a fresh upstream */
    uint64_t tasks_learned;                    /* of our upstream (2026-07-28) */
    uint64_t tasks_unwritten; /* told to the client before their ring home knew them */
    uint64_t datagrams_in, datagrams_out, datagrams_bad, datagrams_replayed, datagrams_stale;
    uint64_t links_opened, links_lost, links_refused;
    uint64_t suspected, declared_dead, refuted;
    uint64_t hearsay_asked, hearsay_denied; /* news of others: they were asked, and not so */
    uint64_t unproved; /* news without a proof where peers have identities, or with one elsewhere */
    uint64_t copies_resent;  /* records sent again as a whole: something was lost on the way */
    uint64_t copies_refused; /* by peers without room for them */
    uint64_t sessions_alone; /* whose initialize was answered before anybody had a copy */
    uint64_t
        handshakes_not_kept; /* too large to be copied, or no memory: sessions without copies */
    uint32_t copies_held;
    size_t copies_bytes; /* of their event logs */
    uint32_t sessions, exchanges, links, members_alive, parked;
    uint32_t hops_max; /* peers that an exchange which came here had asked, this one included */
    size_t memory_used;
};
void mesh_stats(const struct mesh *mesh, struct mesh_stats *stats);
/* Our sessions by how many living peers have all of them: none, one, two or more. Looks at each. */
void mesh_copied(const struct mesh *mesh, uint32_t counts[3]);

/* For the simulator's checkers: everything that must have come back to nothing in calm. */
struct mesh_levels {
    uint32_t exchanges, calls, names, sessions, upstreams, messages_kept;
    size_t memory_used;
    size_t log_bytes;    /* of event logs: kept on purpose while their sessions live */
    size_t record_bytes; /* likewise, of what else a successor would need */
    uint32_t copies;     /* of other peers' sessions, which may be gone */
};
void mesh_levels(const struct mesh *mesh, struct mesh_levels *levels);

#endif
