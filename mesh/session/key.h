/* key.h - session ids: minted by the owner, verified by any peer without asking anyone (DESIGN
 * §4); and the tag that names a peer in what the session-less era echoes (DESIGN §12). Who owns a
 * session is owner.c's question, what a tag is put on affinity.c's.
 *
 *   0: version 4 bit, key number 4 bit | 1: home 6 B | 7: random 16 B | 23: tag 8 B
 *
 * home names the minting generation, the tag is a keyed BLAKE2b over the rest and the cluster
 * label, the key number is the low 4 bits of the key's id. A peer's tag is the same without the
 * random part: 15 bytes. */
#ifndef MESH_KEY_H
#define MESH_KEY_H

#include "mesh/base/rng.h"
#include "mesh/base/types.h"
#include "mesh/wire/seal.h"

#define KEY_RANDOM_AT 7   /* of an id's bytes, 16 of them */
#define KEY_PEER_TEXT 20  /* characters of a peer's tag */
#define KEY_VERIFIED 1024 /* a power of two: a session's requests come in a row */

struct key_ring {
    uint8_t keys[SEAL_KEYS_MAX][32]; /* made from the cluster's keys, for ids alone */
    uint32_t key_ids[SEAL_KEYS_MAX]; /* of those that may mint; else 0 */
    uint8_t numbers[SEAL_KEYS_MAX];  /* low 4 bits of each key's id */
    uint8_t count;
    uint8_t minting;                          /* index of the key that new ids are made with */
    struct session_id verified[KEY_VERIFIED]; /* lately; placed by their random part */
    struct key_known {                        /* likewise, and how they are written */
        char text[MESH_SESSION_TEXT];
        struct session_id id;
    } known[KEY_VERIFIED];
    /* hash ids for logs, and task ids: of the label alone, equal on every peer while keys change */
    uint8_t log_key[32], task_key[16];
};

/* Derives the keys of ids from the cluster's keys, or without any from the label; bit n of
 * `verify_only`: keys[n] mints nothing; the first of the others does. May be called again: what was
 * remembered is forgotten. -EINVAL: two keys share their number, or too many. */
int key_ring_init(struct key_ring *ring, const uint8_t (*keys)[32], uint8_t count,
                  uint8_t verify_only, const char *label);
void key_ring_use(struct key_ring *ring, uint32_t id); /* mints from now on; it may */
void key_ring_deinit(struct key_ring *ring);           /* wipes it */

/* With the key of the id `with` if that may mint; else, and with 0, with the one that mints. */
void key_mint(struct session_id *id, const struct key_ring *ring, uint32_t with, uint64_t home,
              struct rng *rng);
/* Decodes strictly: 42 characters of [A-Za-z0-9_-], unused bits zero. False: no id of ours. */
bool key_read(struct session_id *id, struct slice text);
void key_write(char text[MESH_SESSION_TEXT], const struct session_id *id);
/* An id that was remembered is neither decoded nor verified again: its text is compared, in
 * constant time. False: it is not known, which says nothing of it. */
bool key_recall(const struct key_ring *ring, struct session_id *id, struct slice text);
void key_remember(struct key_ring *ring, const struct session_id *id, struct slice text);
/* The tag fits a key of the ring, also one that only verifies. Costs a BLAKE2b, or for an id that
 * was verified lately a comparison in constant time. */
bool key_verify(struct key_ring *ring, const struct session_id *id);
/* The same, at the cost of one that was never seen. */
bool key_verify_anew(const struct key_ring *ring, const struct session_id *id);

uint64_t key_home(const struct session_id *id); /* 48 bits: view_home_tag() of the minting peer */
/* Where the walk for its candidates begins: from the id's bytes alone, so that a peer that never
 * met the home walks the same way; 8 points a home, so that its sessions spread (DESIGN §5). */
uint64_t key_point(const struct session_id *id);
/* The shard (home, m) that it belongs to, as claims.h names it. */
uint64_t key_shard(const struct session_id *id);

/* A generation's tag, in [A-Za-z0-9_-]. `home`: view_home_tag() of the peer. */
void key_peer_write(char text[KEY_PEER_TEXT], const struct key_ring *ring, uint64_t home);
/* Decodes strictly and verifies. False: no tag of ours. */
bool key_peer_read(const struct key_ring *ring, struct slice text, uint64_t *home);

uint64_t key_log_hash(const struct key_ring *ring, const struct session_id *id);

#endif
