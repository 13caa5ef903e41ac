/* keyset.h - the cluster's keys as one peer has them: those that its key file lists, and those that
 * left it but are still answered to, since others seal with them. Which of them seals, and when one
 * that left is given up, is mesh_keys.c's to say: it knows who accepts what. */
#ifndef MESH_KEYSET_H
#define MESH_KEYSET_H

#include "mesh/mesh.h"
#include "mesh/wire/seal.h"

struct keyset_key {
    uint8_t secret[SEAL_KEY_BYTES];
    uint32_t id;
    bool is_listed;  /* the file has it */
    bool is_leaving; /* but not any more as one in use: it is, until keyset_give_up() */
    bool verifies;   /* listed as one that verifies old session ids, and does nothing else */
};

struct keyset {
    struct keyset_key keys[SEAL_KEYS_MAX]; /* those of the file first, in its order */
    uint8_t count;
    uint8_t sealing; /* index; a key in use, or one that is leaving */
    uint8_t wanted;  /* likewise, of the one that is to seal: listed, in use */
};

/* All that may open a datagram. */
static inline bool keyset_accepts(const struct keyset *set, uint8_t index)
{
    return !set->keys[index].verifies || set->keys[index].is_leaving;
}

/* Of a file; bit n of `verify_only`: keys[n] verifies old ids. The first that does more is wanted,
 * and at the start it seals. -EINVAL: no key, too many, none that seals, two that share the low 4
 * bits of their ids. */
int keyset_init(struct keyset *set, const uint8_t (*keys)[SEAL_KEY_BYTES], uint8_t count,
                uint8_t verify_only);
/* The file reads otherwise now. The key that seals goes on; what was in use and is not listed so
 * any more is leaving. Also -EBUSY: one of its keys shares the low 4 bits of its id with one that
 * is leaving, or there is no room beside those. After an error the set is as it was. */
int keyset_read(struct keyset *set, const uint8_t (*keys)[SEAL_KEY_BYTES], uint8_t count,
                uint8_t verify_only);
/* The index of that id, or SEAL_KEYS_MAX. */
uint8_t keyset_find(const struct keyset *set, uint32_t id);
/* Nobody seals with it any more, nor do we. */
void keyset_give_up(struct keyset *set, uint8_t index);
void keyset_deinit(struct keyset *set); /* wipes it */

/* As the rings take them. Returns the mask of those that only verify. */
uint8_t keyset_secrets(const struct keyset *set, uint8_t secrets[SEAL_KEYS_MAX][SEAL_KEY_BYTES]);

#endif
