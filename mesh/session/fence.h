/* fence.h - is a session still ours (DESIGN §7)? In doubt, because we stood still, refuted our own
 * death or lost and found a holder, no byte of an answer leaves before the holders and the first
 * candidates were asked (CHECK, CHECKED): after the work, before the bytes. What their answers mean
 * is rounds.h's. */
#ifndef MESH_FENCE_H
#define MESH_FENCE_H

#include "mesh/base/heap.h"
#include "mesh/base/list.h"
#include "mesh/base/newest.h"
#include "mesh/base/pool.h"
#include "mesh/session/rounds.h"

#define FENCE_SILENT_MS 500 /* who has not answered a CHECK by then counts as silent */
#define FENCE_CANDIDATES 4  /* are asked beside the holders; we may be one of them */
#define FENCE_CHECKS_MAX 65536
#define FENCE_LOST_MAX 4096
#define FENCE_SILENT_MAX 2       /* peers of which one session's owner remembers that */
#define FENCE_SILENT_OF_MAX 4096 /* sessions; the one noted first gives way */
#define FENCE_LOOK_MS 20         /* sessions in doubt are asked about, so many in so long */
#define FENCE_LOOKS 25

struct core;
struct session;
struct call;
struct wire_message;

struct fence {
    uint32_t doubt;     /* how often we were in doubt about everything */
    struct pool checks; /* struct check, of fence.c */
    struct heap timers;
    uint64_t number;      /* of the last CHECK */
    struct newest lost;   /* bool by peer: a link to it broke, and none stands since */
    struct newest silent; /* peer ids by session of ours: who did not answer when we took it, and
                             may know better; asked once a link to it stands anew */
    uint64_t refuted;     /* swim's count of deaths refuted, when we looked last */
    bool is_looking;      /* for sessions in doubt of which nothing is to be answered now */
    uint32_t slot;
    uint64_t look_ms;
};

int fence_init(struct core *core);
void fence_deinit(struct core *core);

/* Holds back what will be added to the call's answer, and what is kept of it from message `from`
 * on, if its session is in doubt; released when it is certain. One branch while nothing is in
 * doubt. -ENOMEM: it can not be asked, and nothing may leave. */
int fence_answer(struct core *core, struct call *call, uint32_t from);
bool fence_is_in_doubt(const struct core *core, const struct session *session);

/* From now on every session is in doubt until its holders were asked: for an answer at once, else
 * one after the other. */
void fence_doubt_all(struct core *core);
/* Of one session, for it is said to be owned in this higher epoch: it is yielded, or goes on above
 * that. `from` is one that has to be asked, too: it has a record of it. */
void fence_doubt(struct core *core, struct session *session, struct mesh_epoch claim,
                 struct peer_id from, uint64_t now_ms);
/* Somebody knows that it was owned in this epoch. If it is ours, in a lower one: likewise. */
void fence_claimed(struct core *core, const struct session_id *id, struct mesh_epoch claim,
                   uint64_t now_ms);
/* A link to a peer broke, not by the will of either; one stands (again). */
void fence_on_lost(struct core *core, struct peer_id peer);
void fence_on_ready(struct core *core, struct peer_id peer);

/* These did not answer when this session was taken over (nobody: fewer did not). */
void fence_note_silent(struct core *core, const struct session_id *id,
                       const struct peer_id peers[FENCE_SILENT_MAX]);

/* CHECK, CHECKED. */
void fence_on_message(struct core *core, struct peer_id from, const struct wire_message *m,
                      uint64_t now_ms);
/* Says that `other` is known to be above the epoch in which `to` spoke. */
void fence_tell(struct core *core, struct peer_id to, const struct session_id *id,
                struct mesh_epoch epoch, struct mesh_epoch other, uint64_t now_ms);
/* It is not ours any more: each call whose answer is held back is given to `take`, which lets go of
 * it. */
typedef void fence_take_call(struct core *core, struct call *call, struct mesh_epoch higher,
                             uint64_t now_ms);
void fence_give_calls(struct core *core, struct session *session, struct mesh_epoch higher,
                      fence_take_call *take, uint64_t now_ms);
/* It ends: so does the epoch that was given up for it since the doubt began, of which others have
 * copies that an end of an earlier one leaves alone. */
void fence_end(struct core *core, struct session *session);
void fence_forget(struct core *core, struct session *session); /* it is about to be freed */
void fence_now(struct core *core, uint64_t now_ms);
uint64_t fence_deadline_ms(const struct core *core);

#endif
