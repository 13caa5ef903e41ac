/* copies.h - records of sessions at other peers, so that one of those can carry a session on
 * (DESIGN §7; invariant R1). The owner sends the record whole, then each change, in order; the
 * holder acknowledges. A copy is a struct session with is_copy set: in the same pool and table,
 * with streams and logs like any other, but without calls and upstream. Where copies belong says
 * owner_candidates(); who becomes owner of one says takeover.h. copies.c is the owner's side,
 * held.c the holder's; compare.c compares, strays.c asks about what nobody speaks of. */
#ifndef MESH_COPIES_H
#define MESH_COPIES_H

#include "mesh/base/heap.h"
#include "mesh/base/list.h"
#include "mesh/base/types.h"

#define COPIES_HOLDERS_MAX 4    /* of a session, the owner not counted */
#define COPIES_DOUBLE_MS 250    /* a holder that has not acknowledged the record is doubled then */
#define COPIES_ALONE_MS 1000    /* after which a session begins without one */
#define COPIES_AGAIN_MS 1000    /* before a record that could not be sent is sent again */
#define COPIES_LOST_MS 5000     /* after which what was not acknowledged counts as lost */
#define COPIES_ACK_MS 100       /* an acknowledgement that nobody waits for may wait so long */
#define COPIES_DIGEST_MS 30000  /* between comparisons of all that a holder has */
#define COPIES_SOON_MS 2000     /* after members came or went, unless it was just done */
#define COPIES_ASK_MS 3000      /* likewise: a copy of which its owner was silent is asked about */
#define COPIES_STALE_MS 45000   /* a copy of which its owner was silent so long is asked about */
#define COPIES_REFUSED_MS 30000 /* a holder without room is not asked again before */
#define COPIES_MOVES_PER_S 500  /* records sent because the ring changed, or a link */
#define COPIES_EPOCHS_JUMP 1024 /* no epoch is so far above the one known */

struct core;
struct session;
struct event_stream;
struct logged;
struct wire_message;

/* One holder of one session, as its owner knows it. At a holder: only whom the record names. */
struct holder {
    struct peer_id peer;  /* nobody: unused */
    uint64_t sent, acked; /* versions; sent 0: it has to get the whole record */
    uint64_t whole;       /* the version that was sent whole last: it acknowledges none before */
    uint64_t since_ms;    /* when the oldest unacknowledged one was sent */
    uint64_t again_ms;    /* it could not be sent, or was refused: not before then; else 0 */
    bool is_refused;      /* it has no room */
};

/* Of a session, copies.c's own. */
struct copying {
    struct list in_work;    /* owned: to be looked at; a copy: to be acknowledged */
    struct heap_node timer; /* owned */
    uint64_t alone_ms;      /* the answer to initialize waits until then; 0: it does not */
    uint64_t chosen;        /* owned: the version that was said when its holders were, */
    unsigned wanted;        /* these, a bit each */
    uint64_t heard_ms;      /* a copy: when its owner spoke of it last; 0: it did not */
    uint32_t asked;         /* likewise: how often others were asked about it since */
    bool asks_whose;        /* likewise: somebody else than its owner was asked last */
};

/* Of copies that nobody spoke of, strays.c's own. */
struct strays {
    uint64_t shaken_ms; /* when members or links came or went last */
    uint64_t at_ms;     /* when they are looked for next; or never */
    uint32_t gap_ms;    /* and how long after that again, while any are left */
    uint32_t slot;
    bool has_left;
};

struct copies {
    struct list due;    /* owned sessions to be looked at, at a bounded rate */
    struct heap timers; /* owned sessions that wait for something */
    struct list acks;   /* copies to be acknowledged, at acks_ms */
    uint64_t acks_ms, due_ms, moved_ms;
    uint64_t digest_ms; /* when the next comparison begins */
    struct strays strays;
    uint32_t digest_slot; /* where the one under way is */
    bool is_comparing;
    uint64_t digest_step_ms;
    struct list outboxes; /* struct outbox: entries that are collected for peers */
    uint64_t ring;        /* of the view, when it was looked at last (view_ring_generation()) */
    size_t bytes;         /* of the logs of copies */
};

int copies_init(struct core *core);
void copies_deinit(struct core *core);
/* The session is freed, or becomes a copy, or becomes owned: it leaves what copies.h has it in. */
void copies_leave(struct core *core, struct session *session);

/* ---- at the owner --------------------------------------------------------------------------- */

/* The session has what a successor needs (initialize was answered), or a new epoch of ours has
 * begun: it gets its holders, and they the record. */
void copies_begin(struct core *core, struct session *session, uint64_t now_ms);
/* Nobody has it yet, and somebody might soon: the answer to initialize waits; it is released by
 * serve_release(), COPIES_ALONE_MS after copies_begin() at the latest. */
bool copies_must_wait(const struct core *core, const struct session *session);
/* Log level, subscriptions, questions or what was agreed changed. */
void copies_on_state(struct core *core, struct session *session, uint64_t now_ms);
/* A POST's stream opened or ended; an event was added to any stream's log (`number`: its own). */
void copies_on_stream(struct core *core, struct session *session, const struct event_stream *stream,
                      uint64_t now_ms);
void copies_on_event(struct core *core, struct session *session, const struct event_stream *stream,
                     const struct logged *event, uint64_t number, uint64_t now_ms);
/* How many living holders have all of it. */
uint32_t copies_whole(const struct core *core, const struct session *session);
/* Does this holder have all of it? For a hand-over. */
bool copies_is_whole_at(const struct session *session, struct peer_id peer);
/* The holder that has most of it, of those that take sessions, or one to which it is on its way;
 * nobody: there is none. */
struct peer_id copies_newest(const struct core *core, const struct session *session);
/* That peer knows of a higher epoch: it has a record of that, or forgot ours for it. */
void copies_not_at(struct core *core, struct session *session, struct peer_id peer,
                   uint64_t now_ms);
/* That peer has an older record, and forgets it unless it is a holder, or to be one for now. */
void copies_dismiss(struct core *core, struct session *session, struct peer_id peer,
                    uint64_t now_ms);
bool copies_is_holder(const struct session *session, struct peer_id peer);

/* ---- at a holder --------- ------------------------------------------------------------------- */

/* Sends all of what we have of it to `peer`, in the epoch that we have it of. 0 or negative. */
int copies_send(struct core *core, struct session *session, struct peer_id peer, uint64_t now_ms);

/* Somebody owns it in that epoch, above our record's: does it want us to have one? */
void copies_ask(struct core *core, const struct session *copy, struct mesh_epoch epoch,
                uint64_t now_ms);
/* It was granted to somebody, who may have others keep it, and leave ours unmentioned: unless it is
 * spoken of soon, we ask. */
void copies_on_granted(struct core *core, struct session *copy, uint64_t now_ms);
/* Its owner in that epoch says that it does not own it then, and never will; and which one does
 * instead, or counter 0. */
void copies_on_given(struct core *core, struct session *copy, struct mesh_epoch epoch,
                     struct mesh_epoch other, uint64_t now_ms);
/* It was ours until now: who owns it is asked what is to become of it here. */
void copies_yielded(struct core *core, struct session *copy, uint64_t now_ms);
/* What we have is not what its owner's copies have: it is asked for the whole record. */
void copies_lack(struct core *core, const struct session *copy, uint64_t now_ms);

/* ---- both ----------------------------------------------------------------------------------- */

/* COPY, COPY_EVENT, COPY_STREAM, COPIED, DIGEST; FOUND. */
void copies_on_message(struct core *core, struct peer_id from, const struct wire_message *m,
                       uint64_t now_ms);
/* The link to that peer was lost, or stands again; members came or went. */
void copies_on_link(struct core *core, struct peer_id peer, bool stands, uint64_t now_ms);
void copies_on_view(struct core *core, uint64_t now_ms);
void copies_now(struct core *core, uint64_t now_ms);
uint64_t copies_deadline_ms(const struct core *core);

#endif
