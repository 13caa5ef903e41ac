/* siphash.h - SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012): the
 * keyed hash for tables and comparisons whose input strangers choose. It authenticates nothing
 * between peers. */
#ifndef MESH_SIPHASH_H
#define MESH_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t siphash(const uint8_t key[16], const void *data, size_t length);

/* The same in parts: equal to the hash of all parts joined. */
struct siphash_state {
    uint64_t v[4];
    uint64_t tail; /* the last length % 8 bytes, low byte first */
    uint64_t length;
};
void siphash_begin(struct siphash_state *state, const uint8_t key[16]);
void siphash_add(struct siphash_state *state, const void *data, size_t length);
uint64_t siphash_end(struct siphash_state *state);

#endif
