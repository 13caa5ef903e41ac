/* takeover.h - who owns a session next (DESIGN §7): a holder whose owner seems gone asks all living
 * holders and candidates (TAKE) and owns it in the next epoch when none objects (GRANT, VETO); who
 * learns of a higher epoch yields. What one peer may promise another is rounds.h, a value without
 * time and network that a unit test searches exhaustively; whether we still own a session is asked
 * by fence.h; copies are copies.h's, the fresh upstream replay.h's business. */
#ifndef MESH_TAKEOVER_H
#define MESH_TAKEOVER_H

#include "mesh/base/heap.h"
#include "mesh/base/list.h"
#include "mesh/base/newest.h"
#include "mesh/base/pool.h"
#include "mesh/session/rounds.h"
#include "mesh/session/tenure.h"
#include "mesh/wire/links.h"

#define TAKEOVER_SILENT_MS 300 /* who has not answered a TAKE by then counts as silent */
#define TAKEOVER_DEAF_MS 1500  /* nothing came for so long, and nobody answers: it is us */
#define TAKEOVER_AGAIN_MS 100  /* .. 200, by chance: after a veto, while somebody waits */
#define TAKEOVER_WAIT_MS 3000  /* so long an OPEN is kept; then its entry is to ask again */
#define TAKEOVER_PARKED_MAX 16384
#define TAKEOVER_ROUNDS_MAX 16384
#define TAKEOVER_ASKS_MAX 16384    /* TAKEs that wait for evidence */
#define TAKEOVER_PROMISES_MAX 4096 /* about sessions that we have no copy of */

struct core;
struct session;
struct wire_message;

struct takeover {
    struct pool rounds; /* struct round, of takeover.c */
    struct pool parked; /* struct parked, likewise */
    struct heap timers;
    struct list asks; /* struct ask: TAKEs that are answered once it is known who lives */
    uint32_t asks_count;
    struct newest promises; /* struct promise, by session id */
    bool is_woken;
};

int takeover_init(struct core *core);
void takeover_deinit(struct core *core);

/* An OPEN for a session of which we have a copy and whose owner seems gone, to us or to the entry
 * (open.is_owner_lost): begins the round, unless it runs, and keeps the OPEN until that is over;
 * then it is given to serve_open(), or moved to who owns it. False: no room, it is to be deferred.
 */
bool takeover_park(struct core *core, struct session *copy, struct lane lane,
                   const struct wire_message *open, uint64_t now_ms);
/* Begins the round, unless it runs, because membership says that the owner is gone. */
void takeover_begin(struct core *core, struct session *copy, uint64_t now_ms);
/* `from` says that it owns it in `epoch`, by sending its copy or part of one. False: its word does
 * not count: it was told of a higher epoch, or we find out which of us two it is. */
bool takeover_heard(struct core *core, struct peer_id from, const struct session_id *id,
                    struct mesh_epoch epoch, uint64_t now_ms);

/* As rounds.h has it: of a session, or of one that we have no copy of. */
struct rounds takeover_rounds(const struct core *core, const struct session_id *id);
void takeover_note(struct core *core, const struct session_id *id, const struct rounds *r);
enum rounds_life takeover_life(const struct core *core, struct peer_id peer, uint64_t now_ms);
/* It is owned, in this epoch: our round is over, if there is one, and who waits is sent there. */
void takeover_cancel(struct core *core, struct session *copy, struct mesh_epoch owner,
                     uint64_t now_ms);
/* We own it no more, in our epoch, but another one in `higher`: who has our record asks there what
 * is to become of it. */
void takeover_dismiss(struct core *core, const struct session *session, struct mesh_epoch higher,
                      uint64_t now_ms);
/* It is ours: who waits is served. */
void takeover_over(struct core *core, struct session *session, uint64_t now_ms);

/* One of GRANT, VETO and YIELD to a peer that has an address; `other`: whom else it knows of. */
void takeover_tell(struct core *core, struct peer_id to, enum wire_kind kind,
                   const struct session_id *id, struct mesh_epoch epoch, struct mesh_epoch other,
                   uint64_t now_ms);
/* TAKE .. YIELD. */
void takeover_on_message(struct core *core, struct peer_id from, const struct wire_message *m,
                         uint64_t now_ms);
/* We stood still: what was granted meanwhile, or not answered in time, says nothing any more. */
void takeover_doubt_all(struct core *core);
/* The session is about to be freed. */
void takeover_forget(struct core *core, struct session *session);
/* What is known of peers changed: rounds go on. */
void takeover_wake(struct core *core);
void takeover_now(struct core *core, uint64_t now_ms);
uint64_t takeover_deadline_ms(const struct core *core);

#endif
