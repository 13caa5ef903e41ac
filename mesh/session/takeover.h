/* takeover.h - who owns a session next (DESIGN §7): a holder whose owner seems gone asks all living
 * holders and candidates (TAKE) and owns it in the next epoch when none objects (GRANT, VETO); who
 * learns of a higher epoch yields; and the fence: in doubt, no byte of an answer leaves before the
 * holders were asked (CHECK). What one peer may promise another is rounds.h, a value without time
 * and network that a unit test searches exhaustively; copies are copies.h's, the fresh upstream
 * replay.h's business. */
#ifndef MESH_TAKEOVER_H
#define MESH_TAKEOVER_H

#include "mesh/base/list.h"
#include "mesh/base/types.h"

#define TAKEOVER_SILENT_MS 300 /* who has not answered a TAKE by then counts as silent */
#define TAKEOVER_AGAIN_MS                                                                          \
    100                     /* .. 200, by chance: a vetoed one asks again while somebody waits     \
                             */
#define FENCE_STALL_MS 500  /* the loop stood so long: in doubt */
#define FENCE_SILENT_MS 500 /* who has not answered a CHECK by then counts as silent */

struct core;
struct session;
struct call;
struct lane;
struct wire_message;

struct takeover {
    int todo; /* of takeover.c */
};

int takeover_init(struct core *core);
void takeover_deinit(struct core *core);

/* An OPEN for a session of which we have a copy and whose owner seems gone, to us or to the entry
 * (open.is_owner_lost): begins the round, unless it runs, and keeps the OPEN until that is over;
 * then it is served here, or moved to who owns it. False: no room, it is to be deferred. */
bool takeover_park(struct core *core, struct session *copy, struct lane lane,
                   const struct wire_message *open, uint64_t now_ms);
/* We own this copy from now on, in this epoch: no round is needed (a hand-over), or it is over.
 * Its numbers go on (is_handover), or begin anew. */
void takeover_own(struct core *core, struct session *copy, struct mesh_epoch epoch,
                  bool is_handover, uint64_t now_ms);
/* A higher epoch than ours exists: nothing more is sent in ours. Calls that may run there are told
 * MOVED, others that their outcome is unknown; the upstream is closed; the session becomes a copy.
 */
void takeover_yield(struct core *core, struct session *session, struct mesh_epoch higher,
                    uint64_t now_ms);
/* At home: the upstream was lost. The next epoch is ours, too. */
void takeover_next_epoch(struct core *core, struct session *session, uint64_t now_ms);

/* May an answer of this session leave? False: it is withheld (answer_withhold()), and released when
 * the holders have said that nobody took over. One branch while nothing is in doubt. */
bool fence_may_answer(struct core *core, struct session *session, uint64_t now_ms);
/* From now on every session is in doubt until its holders were asked: we stood still, we refuted
 * our own death. Of one holder: the link to it is back. */
void fence_doubt_all(struct core *core, uint64_t now_ms);
void fence_doubt(struct core *core, struct peer_id holder, uint64_t now_ms);

/* TAKE .. CHECKED. */
void takeover_on_message(struct core *core, struct peer_id from, const struct wire_message *m,
                         uint64_t now_ms);
/* What is known of peers changed: rounds go on. */
void takeover_wake(struct core *core);
void takeover_now(struct core *core, uint64_t now_ms);
uint64_t takeover_deadline_ms(const struct core *core);

#endif
