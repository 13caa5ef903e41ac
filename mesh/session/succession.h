/* succession.h - what a peer does by itself about sessions whose owner membership says is gone: the
 * first candidate takes them over, at a bounded rate, so that they have copies again and every
 * peer's search for them ends at one (invariants R1, O2); and it claims their shards, so that who
 * looks for one asks it first (DESIGN §5). */
#ifndef MESH_SUCCESSION_H
#define MESH_SUCCESSION_H

#include "mesh/base/newest.h"
#include "mesh/base/types.h"

#define SUCCESSION_FIRST 200 /* rounds begun at once, */
#define SUCCESSION_PER_S 500 /* and a second */
#define SUCCESSION_RANK_MS                                                                         \
    2000 /* so much later for each candidate before us: it may have no copy                        \
          */
#define SUCCESSION_STRANGE_MS 3000 /* likewise: its owner may be one whom we do not know yet */
#define SUCCESSION_AGAIN_MS 500    /* between passes, on average, while any are left */

struct core;
struct session;

struct succession {
    bool is_looking, has_left; /* has_left: some of this pass are to be looked at again */
    uint32_t slot, budget;     /* of the sessions' pool; rounds that may begin now */
    uint64_t at_ms, filled_ms;
    uint64_t began_ms;    /* the last change of members */
    struct newest shards; /* uint32_t by shard: how many of our sessions we claim it for */
};

int succession_init(struct core *core);
void succession_deinit(struct core *core);
/* A member is dead, has left, or came, perhaps in place of a former generation. */
void succession_on_view(struct core *core, uint64_t now_ms);
/* Among copies there may be more to be taken over. */
void succession_look(struct core *core, uint64_t now_ms);
/* Of this copy, whose owner is gone: are we one of those who may take it over, sooner or later? */
bool succession_is_ours(struct core *core, const struct session *copy);
/* We carry this one on; not any more. */
void succession_claim(struct core *core, struct session *session, uint64_t now_ms);
void succession_unclaim(struct core *core, struct session *session);
void succession_now(struct core *core, uint64_t now_ms);
uint64_t succession_deadline_ms(const struct core *core);

#endif
