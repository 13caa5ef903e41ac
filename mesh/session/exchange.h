/* exchange.h - one exchange, for entry.c and exchange_*.c alone: its states, whom it asks, and what
 * its client is told. */
#ifndef MESH_EXCHANGE_H
#define MESH_EXCHANGE_H

#include "mesh/session/entry.h"

void exchange_keep_nothing(struct exchange *x); /* of its request */
/* Out of every table; its handle is closed. */
void exchange_free(struct core *core, struct exchange *x);
/* For the nearest of its deadlines that counts in its state. */
void exchange_set_timer(struct core *core, struct exchange *x);
void exchange_enter(struct core *core, struct exchange *x, enum exchange_state state);
/* Waits for a change, or for a while that doubles; gives up park_ms after it began to wait. One
 * that is answered ends. */
void exchange_park_again(struct core *core, struct exchange *x, uint64_t now_ms);
/* Its owner answers: whatever is lost from here on is lost anew. */
void exchange_is_heard(struct exchange *x);
/* Says the last word (DONE, CANCEL) and closes the lane, if there is one. */
void exchange_leave_lane(struct core *core, struct exchange *x, enum wire_kind last_word);

/* ---- whom it asks (exchange_route.c) -------------------------------------------------------- */

/* One try to go on with a parked exchange: asks somebody, parks it again, or ends it. */
void exchange_try(struct core *core, struct exchange *x, uint64_t now_ms);
void exchange_learn(struct exchange *x, struct mesh_epoch epoch);
/* What others said meanwhile of its session; each message of an answer asks. */
void exchange_look_up_epoch(const struct core *core, struct exchange *x);
/* Its session is none any more, and it makes one: a stale id on initialize is dropped. The stream
 * of HTTP+SSE has told its client the id of its session, and ends with that. */
bool exchange_may_begin_anew(const struct exchange *x);
/* It may have run where nobody can be asked any more, and may not run twice (E2). */
bool exchange_is_unknown(const struct core *core, const struct exchange *x);
/* Nobody has a record, or its time is over. */
void exchange_fail_lost(struct core *core, struct exchange *x, enum mesh_reason why);
/* We stop looking, whatever may come of it; what may have run is told as that. */
void exchange_stop(struct core *core, struct exchange *x, enum mesh_reason why);

/* ---- what its client is told ---------------------------------------------------------------- */

/* Queues an effect for its client. False: no memory; it is BROKEN and will be ended later. */
bool exchange_tell(struct core *core, struct exchange *x, struct mesh_effect *effect);
bool exchange_tell_head(struct core *core, struct exchange *x, const struct held_head *head);
/* Says its owner something that needs a head before it, and there was none? */
bool exchange_lacks_head(const struct exchange *x, const struct wire_message *m);
/* Whether its client got this event before, from whichever owner, or of a mark what comes behind
 * it; from now on it has. */
bool exchange_has_passed(struct exchange *x, const struct wire_message *event);
/* Where its client is in the stream, once it has this event. It never goes back in a tenure: to the
 * next owner, who has less of that, it would look as if nothing were missed (E1). */
void exchange_move_on(struct exchange *x, const struct event_id *id);
/* This event is told: if it is progress, the next owner that runs it is to go on from there. False:
 * it is progress of a run at another owner, and its client was told as much. */
bool exchange_note_progress(struct core *core, struct exchange *x,
                            const struct wire_message *event);
/* Of a HEAD or a WHOLE; its lines are borrowed. */
struct held_head exchange_head_of(const struct wire_message *m);
void exchange_on_head(struct core *core, struct exchange *x, const struct wire_message *m);
bool exchange_release_head(struct core *core, struct exchange *x);
void exchange_grant_grace(struct core *core, struct exchange *x);
/* The one outcome: ENDED from here on. Once answered it ends well, whatever is said. */
void exchange_end(struct core *core, struct exchange *x, enum mesh_end end, enum mesh_reason why);
void exchange_fail(struct core *core, struct exchange *x, enum mesh_reason why);

#endif
