/* seal.h - the cluster's keys, and datagrams sealed with them (DESIGN §10). Opens what a holder of
 * a key made, once. Whom it names as target, whether the membership vouches for its sender, and
 * how many a source may send are the caller's questions.
 *
 *   ver 1 | flags 1 | key id 4 | sender 8 | nonce 8 | seq 8 | ciphertext | tag 16
 *
 * XChaCha20-Poly1305; its nonce is sender | nonce | seq as they stand; associated data: all clear
 * bytes and the hash of the cluster label. Numbers are little-endian. The generation nonce is 64
 * random bits of each start, so no counter has to survive a restart. */
#ifndef MESH_SEAL_H
#define MESH_SEAL_H

#include "mesh/base/bytes.h"
#include "mesh/base/rng.h"
#include "mesh/base/table.h"

#define SEAL_KEY_BYTES 32
#define SEAL_KEYS_MAX 8 /* those of a key file, and those that are leaving it (keyset.h) */
#define SEAL_LABEL_BYTES 32
#define SEAL_VERSION 1       /* ours */
#define SEAL_VERSION_FIRST 1 /* the oldest that is still read: ours, or the one before */
#define SEAL_DATAGRAM_MAX 1200
#define SEAL_HEAD_BYTES 30
#define SEAL_TAG_BYTES 16
#define SEAL_PLAIN_MAX (SEAL_DATAGRAM_MAX - SEAL_HEAD_BYTES - SEAL_TAG_BYTES)
#define SEAL_WINDOW_BITS 1024
#define SEAL_WINDOWS_MAX 1024 /* senders whose windows are kept; the one heard longest ago goes */

/* ---- the ring of keys ----------------------------------------------------------------------- */

/* One key of the cluster: what is used of it is derived from it, one key for each use. */
struct seal_key {
    uint32_t id;
    bool is_in_use; /* false: it verifies old session ids and opens nothing */
    uint8_t datagram[SEAL_KEY_BYTES], link[SEAL_KEY_BYTES];
};

struct seal_ring {
    struct seal_key keys[SEAL_KEYS_MAX];
    uint8_t count;
    uint8_t sealing;                 /* index of the key that seals */
    uint8_t label[SEAL_LABEL_BYTES]; /* hash of the cluster label */
};

/* First 4 bytes of BLAKE2b(key). */
uint32_t seal_key_id(const uint8_t key[SEAL_KEY_BYTES]);
/* Bit n of `verify_only`: keys[n] opens nothing; the first of the others seals. Without a key, one
 * is made of the label: for loopback only. May be called again on a ring in use: what is sealed
 * from then on is sealed with the new keys. 0; -EINVAL, the ring is unchanged: too many keys, none
 * that seals, or two whose ids have the same low 4 bits. */
int seal_ring_init(struct seal_ring *ring, const uint8_t (*keys)[SEAL_KEY_BYTES], uint8_t count,
                   uint8_t verify_only, const char *label);
void seal_ring_deinit(struct seal_ring *ring); /* wipes it */
/* The key of that id, if it is in use; else NULL. */
const struct seal_key *seal_ring_find(const struct seal_ring *ring, uint32_t id);
/* The n-th of the keys in use, round and round, the one that seals first. */
const struct seal_key *seal_ring_turn(const struct seal_ring *ring, uint32_t n);
uint8_t seal_ring_in_use(const struct seal_ring *ring); /* how many there are */
/* The key of that id, which is in use, seals from now on. */
void seal_ring_use(struct seal_ring *ring, uint32_t id);
static inline const struct seal_key *seal_ring_sealing(const struct seal_ring *ring)
{
    return &ring->keys[ring->sealing];
}

/* ---- datagrams ------------------------------------------------------------------------------ */

/* Who made a datagram, as far as the seal proves it. */
struct seal_sender {
    uint64_t name;  /* hash of its name */
    uint64_t nonce; /* of its generation */
    uint64_t seq;
};

enum seal_verdict {
    SEAL_OPENED,
    SEAL_BAD,       /* not ours, or changed: see the counters */
    SEAL_REPLAYED,  /* seen before, or older than its sender's window */
    SEAL_REFLECTED, /* our own, come back to us: somebody returns what we sent */
    SEAL_OWN        /* sealed as ours with a seq we have not used: a twin of this process (a fork, a
                     * restored checkpoint) repeats our nonces. Take a new generation (row G7) */
};

struct seal_counters {
    uint64_t opened, bad_length, bad_version, bad_key, bad_tag, replayed, reflected, own;
};

/* What was heard of one generation of one sender. */
struct seal_window {
    uint64_t name, nonce;
    uint64_t highest;                     /* seq */
    uint64_t seen[SEAL_WINDOW_BITS / 64]; /* bit seq % SEAL_WINDOW_BITS */
    uint32_t newer, older;                /* the order in which they were heard last */
};

struct seal {
    const struct seal_ring *ring;
    uint64_t name, nonce, next_seq;
    struct table windows_by_sender;
    struct seal_window *windows;
    uint32_t windows_count, windows_room, windows_max;
    uint32_t newest, oldest;
    struct seal_counters counters;
};

/* `name`, `nonce`: our own. `ring` is borrowed and must outlive it. `windows_max` 0:
 * SEAL_WINDOWS_MAX. Takes no memory before the first sender is heard. */
void seal_init(struct seal *seal, const struct seal_ring *ring, uint64_t name, uint64_t nonce,
               uint32_t windows_max, struct rng *rng);
void seal_deinit(struct seal *seal); /* NULL is fine */
/* A new generation: the nonce must be fresh, since seq begins anew. */
void seal_set_self(struct seal *seal, uint64_t name, uint64_t nonce);

/* Seals `length` bytes (at most SEAL_PLAIN_MAX) into `into` (room for SEAL_DATAGRAM_MAX), with a
 * key of the ring; NULL: the one that seals. Returns the datagram's length. */
size_t seal_datagram(struct seal *seal, const struct seal_key *key, const void *plain,
                     size_t length, void *into);
/* Opens into `plain` (room for SEAL_PLAIN_MAX); *length and *from are set for all verdicts but BAD.
 * Before the tag is checked nothing costs more than reading 6 bytes. Without memory for the window
 * of a new sender its datagram counts as REPLAYED. */
enum seal_verdict seal_open(struct seal *seal, struct slice sealed, void *plain, size_t *length,
                            struct seal_sender *from);

#endif
