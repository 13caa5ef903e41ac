/* entry.h - requests whose client is here: find the owner, park while that is unsure, open,
 * attach again when a link is lost, and give exactly one outcome (invariant E1). */
#ifndef MESH_ENTRY_H
#define MESH_ENTRY_H

#include "mesh/base/heap.h"
#include "mesh/base/pool.h"
#include "mesh/session/affinity.h"
#include "mesh/wire/links.h"

#define ENTRY_LISTEN_GRACE_MS 500 /* a GET with a genuine id gets its 200 by then (DESIGN §6) */
#define ENTRY_RETRY_FIRST_MS 50   /* NOT_YET, failed dials: doubling, with chance */
#define ENTRY_RETRY_MAX_MS 1000
/* A lane that lived so long was answered: longer than a silent link does. */
#define ENTRY_LANE_LIVED_MS (LINKS_SILENT_MS + 1000)
#define ENTRY_TENURES 4 /* of a stream, of which is known how far its client has it */

struct core;

enum exchange_state {
    EXCHANGE_PARKED, /* the owner is not known, or cannot be asked now */
    EXCHANGE_ASKED,  /* OPEN is on its way or there; the answer comes on the lane */
    EXCHANGE_BROKEN, /* no memory to tell its client: only its end is still to be told */
    EXCHANGE_ENDED   /* its REPLY_END is queued */
};

/* The head of an answer in one piece waits for the piece: should that be lost, the client can
 * still be given an error instead of a cut answer. */
struct held_head {
    int status;
    enum mesh_form form;
    struct slice lines;
    bool has_session;
    struct session_id session;
    struct peer_id owner;
};

/* What its client was told, in events: there with the first of them. */
struct exchange_told {
    struct event_id passed[ENTRY_TENURES]; /* the newest that it got of each tenure */
    struct slice progress;                 /* that it got last, a raw number; empty: none; */
    struct peer_id progress_of;            /* by this owner */
};

struct exchange {
    struct handle self;
    struct exchange_name name;
    enum exchange_state state;
    bool is_bound; /* what the peer `ran_at` did with it is not known: it is asked as long as
                      it can be, then, of a session, whoever carries that on */
    uint8_t hops;
    struct mesh_request request; /* slices kept until the end */
    bool has_session;
    struct session_id session;
    struct affinity affinity;
    struct mesh_epoch epoch; /* highest known, */
    uint64_t risen;          /* when owner.risen said this; lower answers are dropped */
    struct peer_id owner;    /* whom we asked last */
    struct lane lane;
    struct peer_id ran_at;
    bool is_stale;      /* that peer answered in an epoch that is over, or MOVED: others are asked
                           first */
    bool was_sent;      /* an OPEN under this name left once: any further one attaches */
    bool may_have_run;  /* the last byte of an OPEN left, and no word says that it did not */
    bool is_in_place;   /* `owner` was asked in place of the real one, which it may carry it to */
    bool is_carried;    /* and so may `ran_at` have been, or it may have run at another one as well:
                           no peer alone knows that nothing ran */
    bool is_unrecorded; /* `owner` was asked as a candidate and has no record: all are asked */
    bool is_told;       /* MOVED named `owner` */
    bool has_position;  /* its client showed an event's id, or got one since: */
    struct event_id position;   /* the newest; none: what was shown is no id of ours */
    struct exchange_told *told; /* NULL: nothing */
    uint64_t lost_link;         /* number of the link that it was lost with */
    uint64_t serial;            /* of the answer, by its owner, */
    uint32_t received;          /* and how many whole messages of it came */
    uint32_t retry_ms;          /* the next wait */
    struct held_head *held;     /* NULL: none, as mostly */
    size_t unread_bytes;        /* came on this lane, not taken by the socket yet */
    size_t stale_bytes;         /* likewise, of earlier lanes: taken first, and not acknowledged */
    bool head_out, is_answered, has_failed, was_parked; /* has_failed: told by an event */
    bool has_marks;      /* events without data may be sent to its client: it got one */
    enum mesh_form form; /* head_out: of what the client gets */
    uint64_t asked_ms;   /* when the lane was opened */
    uint64_t retry_at_ms, give_up_ms, grace_ms; /* MESH_NEVER: not set */
    struct heap_node timer;
    struct list parked; /* in entry.parked while PARKED */
};

/* A GET that holds a stream of its session. */
static inline bool exchange_is_held_stream(const struct exchange *x)
{
    return x->request.want == MESH_LISTEN || x->request.want == MESH_SSE;
}

struct entry {
    struct pool exchanges;
    struct heap timers;
    struct list parked;
    uint32_t parked_count;
    uint64_t counter;  /* of names */
    uint64_t now_ms;   /* of the last entry_now() */
    bool is_woken;     /* something changed that may free parked ones */
    bool lacks_timers; /* some have none, for want of memory */
};

void entry_init(struct core *core);
void entry_deinit(struct core *core);

struct handle entry_open(struct core *core, const struct mesh_request *request, uint64_t now_ms);
void entry_taken(struct core *core, struct handle x, size_t bytes, uint64_t now_ms);
void entry_close(struct core *core, struct handle x, uint64_t now_ms);

/* Whether an effect for this exchange may leave: its client may have gone since it was queued.
 * `is_end`: it is the REPLY_END, which closes the handle. */
bool entry_may_tell(struct core *core, struct handle x, bool is_end);

/* From the owner's side of a lane (exchange_hear.c). */
void entry_on_message(struct core *core, const struct links_event *event, uint64_t now_ms);
void entry_on_lane_lost(struct core *core, const struct links_event *event, uint64_t now_ms);

/* Members, links, hints or our own state changed: parked exchanges are tried again at the next
 * entry_now(), and those bound to an owner that is gone get their outcome. */
void entry_wake(struct core *core);
void entry_now(struct core *core, uint64_t now_ms);
uint64_t entry_deadline_ms(const struct core *core);
/* We leave: the streams that are held here end, requests may finish. */
void entry_leave(struct core *core);
bool entry_is_idle(const struct core *core); /* nothing is still to finish */
void entry_end_all(struct core *core);       /* whatever is still open */

#endif
