/* rng.h - chance. `struct rng` makes what strangers must not guess (ids, nonces, keys); `struct
 * shuffle` makes order and jitter, cheaply. Both are values: the same seed gives the same run
 * (invariant D1). Entropy itself is the caller's to bring. */
#ifndef MESH_RNG_H
#define MESH_RNG_H

#include <stddef.h>
#include <stdint.h>

#define RNG_BLOCK_BYTES 512

/* ChaCha20 with fast key erasure (D. J. Bernstein, "Fast-key-erasure random-number generators",
 * 2017): each block replaces the key that made it, and bytes are erased as they are given out, so
 * that who reads this memory learns nothing of the past. Not to be copied. */
struct rng {
    uint8_t key[32];
    uint8_t block[RNG_BLOCK_BYTES];
    size_t at; /* of the first byte of block not given out */
};
void rng_init(struct rng *rng, const uint8_t seed[32]);
void rng_bytes(struct rng *rng, void *into, size_t length);
uint64_t rng_u64(struct rng *rng);

/* xoshiro256** (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2021): what
 * it gave tells what it will give. */
struct shuffle {
    uint64_t s[4];
};
void shuffle_init(struct shuffle *shuffle, struct rng *rng);
uint64_t shuffle_u64(struct shuffle *shuffle);
/* Uniform in [0, n); n 0 gives 0. May draw more than once. */
uint32_t shuffle_below(struct shuffle *shuffle, uint32_t n);

#endif
