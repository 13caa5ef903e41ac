/* handover.h - sessions given to other peers while both live (DESIGN §7): SIGTERM, drain; or the
 * MCP server beside us is gone and does not come back; or a peer is new (rebalance.h). The taker is
 * the first candidate without us, or the new one. It is asked (HAND), once it has the whole record
 * (copies.h), and agrees; when no request of the session is under way here, HAND is said a second
 * time, is_end. We stop at sending that, it owns at receiving it: our session becomes a copy of one
 * that is the taker's. It is repeated until it is acknowledged. A taker that is lost before it
 * heard it is an owner that is lost: whoever has a copy takes over (takeover.h). Idle sessions go
 * first, others when their requests are answered. */
#ifndef MESH_HANDOVER_H
#define MESH_HANDOVER_H

#include "mesh/base/list.h"
#include "mesh/base/types.h"

#define HANDOVER_AT_ONCE 128   /* sessions that are being handed over at one time */
#define HANDOVER_AGAIN_MS 200  /* what was not answered is said again, what was refused offered */
#define HANDOVER_QUIET_MS 5000 /* before the end new requests wait, so that those under way end */
#define HANDOVER_DOWN_MS 1000  /* our server may be back so soon; its host was as long unsure */
#define HANDOVER_DOWN_PER_STEP 100 /* idle sessions each HANDOVER_AGAIN_MS, if it is not */

struct core;
struct session;
struct lane;
struct wire_message;

struct handover {
    bool is_on;    /* we leave, and give away all that we own */
    bool is_woken; /* something changed that may let one go on */
    uint64_t until_ms;
    uint64_t down_ms;             /* since when our server is down; MESH_NEVER: it is not */
    struct list hands;            /* struct hand, of handover.c */
    uint32_t hands_count, cursor; /* cursor: slot of the session to look at next */
    uint64_t again_ms;            /* when to look at sessions again, */
    uint32_t left;                /* and so many more may be offered before */
};

int handover_init(struct core *core);
void handover_deinit(struct core *core);

/* From now on all of our sessions are given away; at until_ms what is left is the caller's. */
void handover_begin(struct core *core, uint64_t until_ms);
/* The MCP server beside us answers, or does not. While it does not, our sessions go to peers whose
 * servers do; when it is back, those that nobody took yet stay. */
void handover_serving(struct core *core, bool serving, uint64_t since_ms);
/* Is the session kept from new requests, so that those under way can end? Such an OPEN is deferred.
 */
bool handover_is_quiet(const struct core *core, const struct session *session, uint64_t now_ms);
/* Nothing is left to hand over, or nobody to take it. */
bool handover_is_over(struct core *core);
/* HAND, HANDED. */
void handover_on_message(struct core *core, struct peer_id from, const struct wire_message *m,
                         uint64_t now_ms);
void handover_now(struct core *core, uint64_t now_ms);
uint64_t handover_deadline_ms(const struct core *core);

#endif
