/* siphash.c - SipHash-2-4 as its paper, section 2, describes it. */
#include "mesh/base/siphash.h"

#include <endian.h>
#include <string.h>

static inline uint64_t rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static inline uint64_t load_word(const uint8_t *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof word);
    return le64toh(word);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

static inline void compress(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    sip_round(v);
    v[0] ^= word;
}

static inline void begin(uint64_t v[4], const uint8_t key[16])
{
    uint64_t k0 = load_word(key), k1 = load_word(key + 8);

    v[0] = k0 ^ UINT64_C(0x736f6d6570736575);
    v[1] = k1 ^ UINT64_C(0x646f72616e646f6d);
    v[2] = k0 ^ UINT64_C(0x6c7967656e657261);
    v[3] = k1 ^ UINT64_C(0x7465646279746573);
}

static inline uint64_t end(uint64_t v[4], uint64_t last)
{
    compress(v, last);
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void siphash_begin(struct siphash_state *state, const uint8_t key[16])
{
    begin(state->v, key);
    state->tail = 0;
    state->length = 0;
}

void siphash_add(struct siphash_state *state, const void *data, size_t length)
{
    const uint8_t *p = data;

    while (length > 0) {
        if (state->length % 8 == 0 && length >= 8) {
            compress(state->v, load_word(p));
            state->length += 8;
            p += 8;
            length -= 8;
            continue;
        }
        state->tail |= (uint64_t)*p++ << (state->length % 8 * 8);
        length--;
        if (++state->length % 8 == 0) {
            compress(state->v, state->tail);
            state->tail = 0;
        }
    }
}

uint64_t siphash_end(struct siphash_state *state)
{
    return end(state->v, state->tail | state->length << 56);
}

uint64_t siphash(const uint8_t key[16], const void *data, size_t length)
{
    const uint8_t *p = data, *words_end = p + length / 8 * 8;
    uint64_t v[4], last = (uint64_t)length << 56;

    begin(v, key);
    for (; p < words_end; p += 8)
        compress(v, load_word(p));
    for (size_t i = 0; i < length % 8; i++)
        last |= (uint64_t)p[i] << (8 * i);
    return end(v, last);
}
