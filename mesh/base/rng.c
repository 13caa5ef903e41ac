/* rng.c - the two generators of rng.h. */
#include "mesh/base/rng.h"

#include <endian.h>
#include <sodium.h>
#include <string.h>

static void refill(struct rng *rng)
{
    /* One key makes one stream: the nonce has nothing to tell apart. */
    static const uint8_t nonce[crypto_stream_chacha20_NONCEBYTES];

    crypto_stream_chacha20(rng->block, sizeof rng->block, nonce, rng->key);
    memcpy(rng->key, rng->block, sizeof rng->key);
    sodium_memzero(rng->block, sizeof rng->key);
    rng->at = sizeof rng->key;
}

void rng_init(struct rng *rng, const uint8_t seed[32])
{
    memcpy(rng->key, seed, sizeof rng->key);
    refill(rng);
}

void rng_bytes(struct rng *rng, void *into, size_t length)
{
    uint8_t *p = into;

    while (length > 0) {
        size_t part = sizeof rng->block - rng->at;

        if (part > length)
            part = length;
        memcpy(p, rng->block + rng->at, part);
        sodium_memzero(rng->block + rng->at, part);
        rng->at += part;
        p += part;
        length -= part;
        if (rng->at == sizeof rng->block)
            refill(rng);
    }
}

uint64_t rng_u64(struct rng *rng)
{
    uint64_t word;

    rng_bytes(rng, &word, sizeof word);
    return le64toh(word); /* the same run on every machine */
}

void shuffle_init(struct shuffle *shuffle, struct rng *rng)
{
    do {
        for (int i = 0; i < 4; i++)
            shuffle->s[i] = rng_u64(rng);
    } while ((shuffle->s[0] | shuffle->s[1] | shuffle->s[2] | shuffle->s[3]) == 0);
}

static inline uint64_t rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

uint64_t shuffle_u64(struct shuffle *shuffle)
{
    uint64_t *s = shuffle->s, result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint32_t shuffle_below(struct shuffle *shuffle, uint32_t n)
{
    uint64_t product;
    uint32_t reject;

    if (n == 0)
        return 0;
    /* The high half of x * n is in [0, n). 2^32 mod n of the low halves would make some results
     * likelier: those are drawn again (Lemire, "Fast random integer generation in an interval",
     * 2019). */
    reject = (uint32_t)-n % n;
    do {
        product = (shuffle_u64(shuffle) >> 32) * n;
    } while ((uint32_t)product < reject);
    return (uint32_t)(product >> 32);
}
