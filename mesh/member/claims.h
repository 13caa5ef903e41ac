/* claims.h - who carries on what a peer that is gone has left: one claim per shard (home, m), made
 * by the claimant, told again by it every CLAIM_REFRESH_MS and forgotten by everybody once two of
 * these are missed (DESIGN §5). A claim is a hint that saves a round trip: it is never followed to
 * a claimant that is not living, it deposes nobody, and whoever is asked on its word still answers
 * by its own record. What a claim travels in is gossip.c's business. */
#ifndef MESH_CLAIMS_H
#define MESH_CLAIMS_H

#include "mesh/member/view.h"

#define CLAIMS_MAX 65536 /* in all; beyond it the one not told for longest gives way */
#define CLAIM_SHARDS 8   /* of one home: no generation has more claims than that */
#define CLAIM_REFRESH_MS 60000
#define CLAIM_EXPIRES_MS (2 * CLAIM_REFRESH_MS + CLAIM_REFRESH_MS / 2)
#define CLAIM_BEAT_JUMP_MAX 1024 /* over the known one, by one piece of news */

struct claim {
    uint64_t shard;       /* see claim_shard() */
    struct peer_id owner; /* who says that it carries the shard on */
    uint32_t beat;        /* how often it said so: tells news from echoes */
};

/* `home_tag` as of view_home_tag(), 48 bits; `m` below CLAIM_SHARDS. */
static inline uint64_t claim_shard(uint64_t home_tag, unsigned m)
{
    return home_tag << 3 | m;
}

struct claims;

/* 0 or -ENOMEM. Takes little memory until something is claimed. */
int claims_new(struct claims **claimsp, const uint8_t sip_key[16]);
void claims_free(struct claims *claims); /* NULL is fine */

/* Ours from now on, told again until claims_drop(). 0; -EEXIST: it is ours already; -ENOSPC: all
 * room is taken by our own; -ENOMEM. */
int claims_make(struct claims *claims, const struct view *view, uint64_t shard, uint64_t now_ms);
void claims_drop(struct claims *claims, uint64_t shard); /* not ours: nothing happens */

/* A claim that came by gossip. True: it is news, to be passed on. Refused: one of a claimant that
 * is not living here, one for a shard whose home lives, an impossible beat, one that a living
 * claimant outdoes (the higher id stays: a rule that ends the same way everywhere). */
bool claims_take(struct claims *claims, struct view *view, const struct claim *claim,
                 uint64_t now_ms);
/* Who claims this shard and is living. False: nobody known. */
bool claims_find(const struct claims *claims, const struct view *view, uint64_t shard,
                 struct peer_id *owner, uint64_t now_ms);

/* Refreshes ours and forgets what was not refreshed. */
void claims_now(struct claims *claims, uint64_t now_ms);
uint64_t claims_deadline_ms(const struct claims *claims);

/* The claim to be told next, the least told one. False: none waits. */
bool claims_first(const struct claims *claims, struct claim *claim);
/* It was told: behind the others of the queue with it, or out, if that was the `budget`th time. */
void claims_told(struct claims *claims, uint32_t budget);
size_t claims_waiting(const struct claims *claims);
size_t claims_count(const struct claims *claims);

#endif
