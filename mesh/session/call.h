/* call.h - one request at the owner: what it asked, the exchange that waits for its answer, and how
 * far both are. A request may outlive its exchange (its client vanished, or resumes elsewhere), and
 * an exchange may read what another request brings. What is admitted is serve.c's question, what
 * the upstream does upcall.c's. */
#ifndef MESH_CALL_H
#define MESH_CALL_H

#include "mesh/base/heap.h"
#include "mesh/session/answer.h"

#define CALL_STALL_MS 30000 /* a reader that takes nothing for so long is cut (DESIGN §8) */
#define CALL_STALL_PAUSED_MS                                                                       \
    2000 /* likewise, while its session's upstream is kept from speaking by it */
/* A call whose entry is silent is forgotten then if it is ended, and given up if it ends unread:
 * its entry gave up before. */
#define CALL_DETACHED_MS 15000
/* stdio, built in: a request without an answer for so long is answered by a stream: it can be kept
 * alive by comments, and resumed */
#define CALL_STREAM_MS 1000

struct core;
struct session;
struct event_stream;
struct wire_message;
struct logged;

struct call {
    struct handle self;
    struct exchange_name name;
    uint64_t serial; /* of the answer: one begun anew under the same name has another */
    struct answer answer;
    enum mesh_want want;
    enum mesh_era era;
    enum mesh_front front;
    struct rpc_message rpc;
    struct slice method, target, head, body; /* kept until the call ends */
    bool has_position;                       /* LISTEN: its client showed an event's id: */
    struct event_id position;
    struct principal token;
    bool is_asking;        /* the upstream is asked first whether it accepts the token (trust.h), */
    bool must_ask;         /* or will be, once it can be */
    bool is_own;           /* the mesh asks it by itself (handshake.h) */
    bool is_refused;       /* likewise, and an error was the answer, */
    bool is_other_version; /* or another protocol version than its session's, */
    bool is_denied;        /* or that its credentials are not accepted */
    struct slice up_id;    /* the id under which the upstream gets it, raw; empty: its own */
    struct slice progress; /* it ran before: what its client knows, a raw number; empty: nothing */
    struct handle batch;   /* an entry of it (batch.h); zero: it is none */
    uint32_t entries_open; /* a batch: requests without an answer */
    bool is_given;         /* a batch: all of its entries are */
    uint64_t *answered;    /* HTTP, a batch: hashes of the ids that have their answer; or NULL */
    uint32_t answered_count;
    struct handle session; /* zero: none (stateless, passed through) */
    struct mesh_epoch epoch;
    struct event_stream *stream; /* a POST: that it feeds; LISTEN, SSE: that it reads; or NULL */
    struct handle up;
    uint32_t up_call;       /* its number at the upstream; 0: not given to it yet */
    uint32_t failures_seen; /* of the upstream's, when it was given to it (breaker.h) */
    size_t owed;            /* HTTP: bytes that came and whose room was not given back */
    struct list by_up;      /* of its upstream; once it is ended, of its session's answers */
    struct list in_check;   /* its answer is held back until its session is certain (fence.h) */
    uint64_t id_hash, token_hash; /* id_hash: 0 before call_id_hash() */
    uint8_t attempts;
    uint32_t wishes;   /* the session's, when it was given to an upstream first */
    uint32_t sent_as;  /* its number when it was sent: it may be another one since (resumes) */
    bool is_overtaken; /* what was sent later says otherwise, and has its answer (replay.c) */
    bool is_sent;      /* a byte was accepted by the upstream's socket */
    bool is_heard;     /* a byte of an answer came */
    bool is_unknown; /* the session, to this server: unless it is heard, it did not run there; what
                        may not run twice does not rely on that */
    bool has_head;   /* its head is known: added, or held */
    enum mesh_form form;
    /* An answer in one piece travels as one message: its head and text wait for its end. */
    bool is_held, holds_text, text_answers;
    int held_status;
    struct slice held_lines, held_text;
    struct patch answer_patch; /* of the text that answers: a state, wrapped (affinity.h) */
    /* HTTP: the upstream's own id of the last event, to go on from if its stream ends early */
    struct slice up_mark;
    uint32_t up_retry_ms;
    uint8_t resumes; /* in a row, without anything new */
    struct heap_node again;
    bool is_answered; /* the answer to its id was added */
    bool is_told;     /* its exchange has its END; the request may go on */
    bool is_ended;    /* the request is over */
    bool user_was_asked;
    bool ends_session;                               /* a DELETE that the upstream accepted */
    bool is_unsafe;                                  /* may not run twice */
    uint64_t detached_ms;                            /* since when its lane is lost; 0: it is not */
    uint64_t stream_at_ms, stall_at_ms, progress_ms; /* 0: not set */
    bool was_attached;                               /* there was more than one OPEN for it */
    bool may_have_run;   /* it waits for another upstream, and an earlier one got it */
    uint64_t waits_ms;   /* since when it waits for a fresh upstream, and 1; 0: it does not */
    uint64_t refused_ms; /* HTTP: likewise, for a server that refuses connections */
    uint64_t give_up_ms; /* it is ended then; 0: not set */
    struct heap_node timer;
};

/* From an OPEN. NULL: the cap, or no memory. */
struct call *call_new(struct core *core, const struct wire_message *open);
/* An entry of a batch: without a name, an exchange or a reader. */
struct call *call_new_entry(struct core *core, const struct call *batch,
                            const struct rpc_message *rpc, struct slice text);
void call_free(struct core *core, struct call *call);
struct call *call_at(struct core *core, struct handle h);
struct call *call_by_name(struct core *core, const struct exchange_name *name);
static inline bool call_is_request(const struct call *call)
{
    return call->want == MESH_CALL && call->rpc.kind == RPC_REQUEST;
}
/* A GET that reads a stream of the session. */
static inline bool call_is_held_stream(const struct call *call)
{
    return call->want == MESH_LISTEN || call->want == MESH_SSE;
}
/* An upstream was given it, or of a batch a part, and not refused at once; it runs, or has. */
static inline bool call_may_have_run(const struct call *call)
{
    return call->up_call != 0 || call->resumes > 0 || call->is_ended || call->is_given;
}
/* It ends when nobody reads it any more: what closing cancels is not left to run for nobody. */
static inline bool call_ends_unread(const struct call *call)
{
    return call_is_held_stream(call) || call->era == MESH_MODERN;
}
/* A batch that its upstream answers by events, as a whole. */
bool call_is_batch_on_stream(const struct core *core, const struct call *call);
/* Somebody waits for what it brings, or reads its stream. */
static inline bool call_has_reader(const struct call *call)
{
    return !call->answer.is_dropped && !call->is_told;
}
/* Adds an error of the mesh to its stream. */
void call_add_failed(struct core *core, struct call *call, const struct logged *event,
                     uint64_t now_ms);
struct slice call_id(const struct call *call); /* the raw JSON-RPC id; empty: none */
/* Of the id that it is known by at the upstream; 0: none. Ids are compared as JSON, not as text. */
uint64_t call_id_hash(const struct core *core, struct call *call);

/* Adds to its answer. What cannot be kept for want of memory cuts it. */
void call_add(struct core *core, struct call *call, struct wire_message *m);
void call_add_head(struct core *core, struct call *call, int status, enum mesh_form form,
                   struct slice lines, uint64_t now_ms);
/* One message (or part of one) that came for it, to where it belongs: its stream, or its answer. */
void call_add_text(struct core *core, struct call *call, enum wire_kind kind, struct slice text,
                   bool answers, uint64_t now_ms);
/* The exchange ends, the request goes on: nothing more is added to the answer. */
void call_tell_end(struct core *core, struct call *call, enum mesh_end end, enum mesh_reason why);
/* The request is over, and its exchange with it. */
void call_end(struct core *core, struct call *call, enum mesh_end end, enum mesh_reason why,
              uint64_t now_ms);
/* Nobody waits any more; an ended call is freed by it. */
void call_drop_answer(struct core *core, struct call *call);

/* Its timer, for the nearest of what it waits for. */
void call_arm(struct core *core, struct call *call);

#endif
