/* session.h - the sessions owned here: what a session is, and where a message of its upstream
 * belongs (mcp.md §4.2 rule 8): on exactly one stream, or kept until there is one. The requests
 * themselves are serve.c's. */
#ifndef MESH_SESSION_H
#define MESH_SESSION_H

#include "mesh/base/heap.h"
#include "mesh/base/intern.h"
#include "mesh/base/list.h"
#include "mesh/base/pool.h"
#include "mesh/base/table.h"
#include "mesh/session/copies.h"
#include "mesh/session/trust.h"
#include "mesh/mesh.h"

#define SESSION_CALLS_MAX 256    /* open at once */
#define SESSION_QUESTIONS_MAX 64 /* of the upstream, unanswered at once */

struct core;
struct call;

struct session {
    struct handle self;
    struct session_id id;
    struct principal who;
    struct mesh_epoch epoch;
    struct handle up;      /* its upstream */
    struct handle creator; /* the call that initializes it; closed once answered */
    bool is_announced;     /* the client was told its id */
    uint64_t opened_ms, used_ms;
    struct heap_node expiry;
    uint32_t calls_open;
    struct list answers; /* struct call, by_up: those that ended, and whose answer is under way */
    uint64_t calls_total;
    struct trusted *trusted; /* tokens that its upstream accepted; NULL: none */
    uint32_t trusted_count;
    bool is_initialized;      /* notifications/initialized was sent, by its client or by us */
    bool is_single;           /* opened by HTTP+SSE: everything comes on its own stream */
    bool has_batches;         /* revision 2025-03-26 */
    bool has_marks;           /* revision 2025-11-25 or later: events without data may be sent */
    struct list streams;      /* struct event_stream */
    struct event_stream *own; /* its own stream; NULL: nothing came for it, nobody asked */
    uint32_t streams_count;   /* opened so far: the number of the last */
    size_t log_bytes;         /* of its streams */
    struct list questions;    /* struct question: of the upstream, not answered yet */
    uint32_t questions_count;
    uint64_t questions_named; /* ids given to questions of its second and later upstreams */
    /* What carries over to a successor (record.h, copies.h, replay.h): */
    bool is_copy;               /* another peer's: without calls and upstream */
    struct mesh_epoch promised; /* granted to a taker, and not given back; counter 0: none */
    struct mesh_epoch given;    /* a copy: who was to own it in this epoch says that it does not; */
    struct mesh_epoch given_other; /* likewise, one that is not the record's */
    uint64_t tried;                /* the highest counter of an epoch that we heard of (rounds.h) */
    bool has_run;                  /* in this epoch, more than a replay of the handshake; or its
                                      client was told an outcome there */
    struct handle round;           /* ours, to become its owner (takeover.h) */
    uint32_t doubt;              /* how often we were in doubt when it was certain last (fence.h) */
    struct mesh_epoch certain;   /* the epoch in which it was; counter 0: in this one */
    struct handle check;         /* of the question whether it is ours still */
    bool is_claimed;             /* it counts for the claim to its shard */
    bool was_handed;             /* by its former owner, which lived */
    uint64_t version;            /* of the record, in this epoch */
    struct slice params, result; /* initialize and its answer, whole; equal ones are one buffer */
    struct slice level;          /* the last logging/setLevel that was accepted, whole */
    struct list subscriptions;   /* struct subscription */
    uint32_t subscriptions_count;
    uint32_t wishes;         /* so many of those calls were answered here */
    uint32_t upstreams;      /* that it had so far, this one included */
    uint64_t replayed_ms;    /* when a replay began last; */
    uint32_t replay_wait_ms; /* what the next one waits if it comes too soon; 0: nothing */
    bool is_deleted;         /* it ends because its client wished so */
    struct holder holders[COPIES_HOLDERS_MAX];
    struct copying copying;
};

/* A request of the upstream that the client has not answered. From a session's second upstream on
 * its client sees another id than the upstream gave: every server counts from 0, and an answer to
 * an earlier one's question must not be taken for one to this (mcp.md §4.2 rule 5). */
struct question {
    struct list in_session;
    uint64_t id_hash; /* as its client sees it */
    struct handle asker;
    struct slice id;       /* likewise, raw; empty: too long to be carried over */
    struct slice given_id; /* what the upstream gave, raw; empty: the same */
};
#define SESSION_QUESTION_ID_MAX 256

/* resources/subscribe, less what was unsubscribed. */
struct subscription {
    struct list in_session;
    struct slice uri; /* raw, without its quotes */
};
#define SESSION_SUBSCRIPTIONS_MAX 256

#define SESSION_RECENT 256u
struct sessions {
    struct pool pool;
    struct table by_id;
    uint32_t recent[SESSION_RECENT]; /* slots where sessions were found last, by a byte of the id */
    struct heap expiries;
    uint32_t owned;         /* of the pool; the others are copies */
    struct interns interns; /* handshakes */
};

void sessions_init(struct core *core);
void sessions_deinit(struct core *core);

/* One that we own; a copy of another peer's. NULL: none. */
struct session *session_find(struct core *core, const struct session_id *id);
struct session *session_find_copy(struct core *core, const struct session_id *id);
/* A new session with a fresh id, epoch 1 of ours, bound to `who`, whose hash `who_key` made. NULL:
 * the cap, or no memory. */
struct session *session_new(struct core *core, const struct principal *who, uint32_t who_key,
                            uint64_t now_ms);
/* A copy without anything in it. NULL: the cap, no memory, or we have one, or own it. */
struct session *session_new_copy(struct core *core, const struct session_id *id, uint64_t now_ms);
/* Turns a copy into one that we own, and back. Its copies elsewhere are copies.h's business. */
void session_own(struct core *core, struct session *session, bool is_ours);
/* Takes it out of every table and frees it; its calls and upstream are the caller's concern. */
void session_free(struct core *core, struct session *session);
/* Its epoch as clients see it, in ids of events and of questions, in the order of epochs: the
 * counter, and something of its owner. In a split two may own it under one counter, and give other
 * events; that their marks are equal is one chance in 65,536. The first epoch's is 1. */
#define SESSION_MARK_BITS 16
uint64_t session_mark(const struct session *session);
/* The counter of the epoch whose mark it is; of what is no mark, itself. */
static inline uint64_t session_mark_counter(uint64_t mark)
{
    return mark >> SESSION_MARK_BITS == 0 ? mark : mark >> SESSION_MARK_BITS;
}
void session_touch(struct core *core, struct session *session, uint64_t now_ms);
/* What is left of its idle and its absolute time: all of the idle time while it is in use. */
void session_left(struct core *core, const struct session *session, uint64_t now_ms,
                  uint64_t *idle_ms, uint64_t *absolute_ms);
/* A copy: as its owner said; never more than we would give it. */
void session_set_left(struct core *core, struct session *session, uint64_t idle_ms,
                      uint64_t absolute_ms, uint64_t now_ms);
/* Keeps initialize and its answer, as texts, in place of what was kept. -ENOMEM: nothing is. */
int session_keep_handshake(struct core *core, struct session *session, struct slice params,
                           struct slice result);
/* The next session whose idle or absolute time is over, or NULL. One in use is not idle. */
struct session *session_next_expired(struct core *core, uint64_t now_ms);

/* Notes a question (a request) of the upstream, by its raw id, that travels with call `asker`
 * (zero: none). Of too many that were never answered the oldest is forgotten. *shown: another id
 * that the client gets to see (borrowed), or empty. -ENOBUFS: no memory. */
int session_ask(struct core *core, struct session *session, struct slice id, struct handle asker,
                struct slice *shown);
/* Into a copy: one that its client knows by this raw id. -ENOMEM */
int session_take_question(struct core *core, struct session *copy, struct slice id);
/* The question that the upstream means by this id; NULL: none is open. */
const struct question *session_question(struct core *core, const struct session *session,
                                        struct slice given_id);
void session_drop_questions(struct session *session);
void session_drop_subscriptions(struct session *session);
/* The client answered: true if the question was open, and whose request had caused it. *given_id:
 * the id that its upstream knows it by (the caller's from now on), or empty: the same. */
bool session_answered(struct session *session, uint64_t id_hash, struct handle *asker,
                      struct slice *given_id);

/* Where a message goes that no call brought (stdio, built in, HTTP+SSE). */
enum session_place {
    SESSION_PLACE_CALL, /* the request *callp: its stream, or its answer */
    SESSION_PLACE_OWN,  /* the session's own stream, whatever request *callp it is about, if any */
    SESSION_PLACE_NOWHERE /* an answer to nothing, or no message at all */
};
enum session_place session_place(struct core *core, struct session *session,
                                 const struct rpc_message *rpc, struct slice text,
                                 struct call **callp);
/* The open request of that id; NULL: none. */
struct call *session_open_call(struct core *core, struct session *session, uint64_t id_hash);
/* The call that reads its own stream; NULL: none. */
struct call *session_reader(struct core *core, const struct session *session);

#endif
