/* serve.h - requests whose session is here, or shall be: names that are known attach, others are
 * admitted, moved, deferred or refused; calls to the upstream and what comes back; answers held
 * until the entry acknowledged them. Which stream a message belongs to is session.c's question,
 * whether a request may run again retry.c's. */
#ifndef MESH_SERVE_H
#define MESH_SERVE_H

#include "mesh/base/newest.h"
#include "mesh/session/call.h"
#include "mesh/session/session.h"

#define SERVE_HOPS_MAX 2 /* peers asked one after the other (invariant B3) */
#define SERVE_BEHIND_MAX                                                                           \
    (256u << 10) /* a reader so far behind is cut, where nothing else holds its upstream back */
#define SERVE_ATTEMPTS_MAX 2       /* times that one request is sent to our upstream */
#define SERVE_RELISTEN_FIRST_MS 50 /* before an upstream's stream is asked for again, doubling */
#define SERVE_RELISTEN_MAX_MS 1000
#define SERVE_RESUME_MS 1000 /* before the rest of an answer is asked for; unless it says else */
#define SERVE_RESUMES_MAX 5  /* in a row that brought nothing new */
#define SERVE_MARK_MAX 4096  /* bytes of an upstream's event id that is kept */

/* What the core knows of an upstream: one per session, or one per request without a session. */
struct upstream {
    struct handle self;
    struct handle session; /* zero: of a single call */
    bool is_open;          /* the host has it; else it only holds what waits for it (replay.h) */
    bool is_ready, is_closing;
    bool is_fresh;        /* its session had another one before: it is ours to initialize */
    bool is_shaking;      /* our own handshake is under way: what else there is waits */
    struct handle step;   /* of that handshake (handshake.h), */
    uint32_t steps_over;  /* and how many are over; */
    uint32_t steps_lost;  /* of them refused: what they say does not carry over */
    uint32_t tag;         /* chance in their ids */
    uint8_t declares;     /* likewise: lists that may change (replay.c), before or now */
    bool is_told;         /* likewise: its session's client was told of it */
    struct handle caused; /* the call under whose header lines it was opened */
    uint32_t next_call;
    uint32_t failures_seen; /* of its server, when it was opened (breaker.h) */
    struct list calls;
    size_t owed; /* stdio, built in: bytes that came and whose room was not given back */
    /* HTTP: its own GET stream, which outlives the client's, so that nothing is missed meanwhile */
    uint32_t listen_call;     /* 0: it is not asked for now */
    bool was_listened;        /* it answered its GET with 200 once */
    bool has_no_stream;       /* it answered its GET with 405, or 404 from the first */
    uint32_t relisten_ms;     /* the wait before it was asked for last; 0: something came since */
    uint32_t listen_retry_ms; /* the wait it asked for; 0: none */
    size_t listen_owed;
    struct slice listen_head, listen_mark; /* of the client's newest GET; its own last event id */
    struct heap_node again;
};

struct serve {
    struct pool calls, upstreams;
    struct spare spare_kept; /* of answers */
    struct table by_name;
    struct table forgotten; /* entries of which names were given up: they may not run unknown
                               requests again */
    struct newest done;     /* names of which the entry has the outcome, and that it attached to:
                               an OPEN of them may still be on its way, over a slower link */
    bool forgets_all;       /* there was no room to note one: no entry may */
    struct heap timers;
    struct heap resumes;   /* calls whose upstream's stream is asked for again */
    struct heap relistens; /* upstreams, likewise for their own stream */
    uint64_t serial;       /* of the last answer */
    bool lacks_timers;     /* some have none, for want of memory */
    uint64_t now_ms;       /* of the last serve_now() */
};

struct core;

void serve_init(struct core *core);
void serve_deinit(struct core *core);

/* An OPEN that came on this lane: it attaches, is served, moved, deferred or refused. Also one that
 * takeover.c kept until it was known who owns the session. */
void serve_open(struct core *core, struct lane lane, const struct wire_message *open,
                uint64_t now_ms);
/* From the entry's side of a lane: OPEN, CANCEL, DONE. */
void serve_on_message(struct core *core, const struct links_event *event, uint64_t now_ms);
void serve_on_consumed(struct core *core, const struct links_event *event, uint64_t now_ms);
void serve_on_lane_lost(struct core *core, const struct links_event *event, uint64_t now_ms);
/* An answer that waited until others know of its task may go. */
void serve_release(struct core *core, struct handle call);

/* That entry is gone: nobody will ask for its outcomes. */
void serve_entry_gone(struct core *core, struct peer_id entry, uint64_t now_ms);

/* The facts of mesh.h about upstreams. */
void serve_up_ready(struct core *core, struct handle up, uint64_t now_ms);
void serve_up_sent(struct core *core, struct handle up, uint32_t up_call);
void serve_up_head(struct core *core, struct handle up, uint32_t up_call, int status,
                   enum mesh_form form, enum mesh_up_session session, struct slice head,
                   uint64_t now_ms);
bool serve_up_message(struct core *core, struct handle up, uint32_t up_call,
                      const struct rpc_message *rpc, const struct rpc_tools *tools,
                      struct slice text, uint64_t now_ms);
void serve_up_mark(struct core *core, struct handle up, uint32_t up_call, struct slice event_id,
                   uint32_t retry_ms);
void serve_up_data(struct core *core, struct handle up, uint32_t up_call, struct slice part,
                   uint64_t now_ms);
void serve_up_too_large(struct core *core, struct handle up, enum rpc_kind kind, struct slice id,
                        uint64_t now_ms);
void serve_up_end(struct core *core, struct handle up, uint32_t up_call, enum mesh_end end,
                  enum mesh_reason why, uint64_t now_ms);
void serve_up_closed(struct core *core, struct handle up, enum mesh_reason why, uint64_t now_ms);

/* HTTP+SSE: a request was accepted here and is not answered yet, or its answer was read by nobody.
 * Its client waits for that on the one stream of its session; another owner knows nothing of it. */
bool serve_owes(struct core *core, const struct session *session);
/* Ends every call of a session with `why`, closes its upstream, forgets the session. */
void serve_end_session(struct core *core, struct session *session, enum mesh_reason why,
                       uint64_t now_ms);
/* We leave: server streams end, other calls may finish; those of HTTP+SSE, and with each its
 * stream. */
void serve_leave(struct core *core, uint64_t now_ms);
/* We are about to be gone: our sessions end, at their upstreams, and for whoever asks for them. */
void serve_end_all(struct core *core, uint64_t now_ms);
bool serve_is_idle(const struct core *core); /* nothing is still to finish */

void serve_now(struct core *core, uint64_t now_ms);
uint64_t serve_deadline_ms(const struct core *core);

/* A reader that takes too little: its exchange is cut, what it reads goes on. */
void serve_cut_reader(struct core *core, struct call *reader, uint64_t now_ms);

/* ---- for call.c ------------------------------------------------------------------------------ */

/* Whether what an OPEN asks for may not run twice. */
bool serve_is_unsafe(const struct core *core, const struct wire_message *open);
/* A request that could not be told its outcome: whether this entry's other unknown names ran is
 * not known any more either (invariant E2). */
void serve_forget_name(struct core *core, const struct call *call);
/* It was carried on to an owner: should its entry ask for it by its name when the session is ours,
 * it may have run there. */
void serve_note_relayed(struct core *core, const struct wire_message *open);

#endif
