/* serve.h - requests whose session is here, or shall be: names that are known attach, others are
 * admitted, moved, deferred or refused; calls to the upstream and what comes back; answers held
 * until the entry acknowledged them. Which stream a message belongs to is session.c's question,
 * whether a request may run again retry.c's. */
#ifndef MESH_SERVE_H
#define MESH_SERVE_H

#include "mesh/session/answer.h"
#include "mesh/session/session.h"

#define SERVE_HOPS_MAX 2 /* peers asked one after the other (invariant B3) */
#define SERVE_BEHIND_MAX                                                                           \
    (256u << 10) /* a reader so far behind is cut, where the upstream's other                      \
                    streams would wait for it */
/* An ended call whose entry is silent is forgotten then, a stream or a request of the modern era
 * that is not ended is given up: its entry gave up before. */
#define SERVE_DETACHED_MS 15000
#define SERVE_ATTEMPTS_MAX 2 /* times that one request is sent to our upstream */
#define SERVE_RELISTEN_FIRST_MS                                                                    \
    50 /* before the upstream's GET stream is opened again, doubling                               \
        */
#define SERVE_RELISTEN_MAX_MS 1000

/* One request here. */
struct call {
    struct handle self;
    struct exchange_name name;
    struct answer answer;
    enum mesh_want want;
    enum mesh_era era;
    struct rpc_message rpc;
    struct slice method, target, head, body; /* kept until the call ends */
    struct handle session;                   /* zero: none (stateless, passed through) */
    struct mesh_epoch epoch;
    struct handle up;
    uint32_t up_call; /* its number at the upstream; 0: not given to it yet */
    struct list by_up;
    uint64_t id_hash, token_hash;
    uint8_t attempts;
    bool is_sent;  /* a byte was accepted by the upstream's socket */
    bool is_heard; /* a byte of an answer came */
    bool has_head; /* its head is known: added, or held */
    enum mesh_form form;
    /* An answer in one piece travels as one message: its head and text wait for its end. */
    bool is_held, holds_text, text_answers;
    int held_status;
    struct slice held_lines, held_text;
    struct patch answer_patch; /* of the text that answers: a state, wrapped (affinity.h) */
    bool is_answered;          /* the answer to its id was added */
    bool is_ended;
    bool user_was_asked;
    bool ends_session;    /* a DELETE that the upstream accepted */
    bool is_unsafe;       /* may not run twice */
    uint64_t detached_ms; /* since when its lane is lost; 0: it is not */
    struct heap_node timer;
};

/* What the core knows of an upstream: one per session, or one per request without a session. */
struct upstream {
    struct handle self;
    struct handle session; /* zero: of a single call */
    bool is_ready, is_closing;
    bool has_no_stream;   /* it answered its GET with 405 */
    uint32_t relisten_ms; /* the wait before its GET was opened last; 0: it was answered 200 */
    uint32_t next_call;
    struct list calls;
};

struct serve {
    struct pool calls, upstreams;
    struct table by_name;
    struct table forgotten; /* entries of which names were given up: they may not run unknown
                               requests again */
    bool forgets_all;       /* there was no room to note one: no entry may */
    struct heap timers;
    bool lacks_timers; /* some have none, for want of memory */
    uint64_t now_ms;   /* of the last serve_now() */
};

struct core;

void serve_init(struct core *core);
void serve_deinit(struct core *core);

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
void serve_up_message(struct core *core, struct handle up, uint32_t up_call,
                      const struct rpc_message *rpc, const struct rpc_tools *tools,
                      struct slice text, uint64_t now_ms);
void serve_up_data(struct core *core, struct handle up, uint32_t up_call, struct slice part,
                   uint64_t now_ms);
void serve_up_end(struct core *core, struct handle up, uint32_t up_call, enum mesh_end end,
                  enum mesh_reason why, uint64_t now_ms);
void serve_up_closed(struct core *core, struct handle up, enum mesh_reason why, uint64_t now_ms);

/* Ends every call of a session with `why`, closes its upstream, forgets the session. */
void serve_end_session(struct core *core, struct session *session, enum mesh_reason why,
                       uint64_t now_ms);
/* We leave: server streams end, other calls may finish. */
void serve_leave(struct core *core, uint64_t now_ms);
bool serve_is_idle(const struct core *core);

void serve_now(struct core *core, uint64_t now_ms);
uint64_t serve_deadline_ms(const struct core *core);

/* A call by its place in the upstream's list. */
struct call *call_at(struct core *core, struct handle h);
struct upstream *upstream_at(struct core *core, struct handle h);

#endif
