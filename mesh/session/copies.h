/* copies.h - records of sessions at other peers, so that one of those can carry a session on
 * (DESIGN §7; invariant R1). The owner sends the record whole, then each change, in order; the
 * holder acknowledges. A copy is a struct session with is_copy set: in the same pool and table,
 * with streams and logs like any other, but without calls and upstream. Where copies belong says
 * owner_candidates(); who becomes owner of one says takeover.h. */
#ifndef MESH_COPIES_H
#define MESH_COPIES_H

#include "mesh/base/list.h"
#include "mesh/base/types.h"

#define COPIES_HOLDERS_MAX 4 /* of a session, the owner not counted */
#define COPIES_DOUBLE_MS                                                                           \
    250                      /* a holder that has not acknowledged so long is doubled by the next  \
                              */
#define COPIES_ALONE_MS 1000 /* after which a session begins without one */
#define COPIES_ACK_MS 100    /* an acknowledgement that nobody waits for may wait so long */
#define COPIES_DIGEST_MS 30000 /* between comparisons of all that a holder has */
#define COPIES_MOVES_PER_S 500 /* records sent because the ring changed */

struct core;
struct session;
struct event_stream;
struct logged;
struct wire_message;

/* One holder of one session, as its owner knows it. */
struct holder {
    struct peer_id peer;  /* nobody: unused */
    uint64_t sent, acked; /* versions; sent 0: it has to get the whole record */
    uint64_t since_ms;    /* when the oldest unacknowledged one was sent */
};

struct copies {
    int todo; /* of copies.c */
};

int copies_init(struct core *core);
void copies_deinit(struct core *core);

/* ---- at the owner --------------------------------------------------------------------------- */

/* The session has what a successor needs (initialize was answered, or a takeover is over): it gets
 * its holders, and they the record. */
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

/* ---- at a holder ---------------------------------------------------------------------------- */

/* Sends all of what we have of it to `peer`, in the epoch that we have it of. 0 or negative. */
int copies_send(struct core *core, struct session *session, struct peer_id peer, uint64_t now_ms);
/* COPY, COPY_EVENT, COPY_STREAM, COPIED, DIGEST. */
void copies_on_message(struct core *core, struct peer_id from, const struct wire_message *m,
                       uint64_t now_ms);

/* ---- both ----------------------------------------------------------------------------------- */

/* The link to that peer was lost, or stands again; members came or went. */
void copies_on_link(struct core *core, struct peer_id peer, bool stands, uint64_t now_ms);
void copies_on_view(struct core *core, uint64_t now_ms);
void copies_now(struct core *core, uint64_t now_ms);
uint64_t copies_deadline_ms(const struct core *core);

#endif
