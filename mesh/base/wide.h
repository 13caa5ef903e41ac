/* wide.h - sixteen bytes at a time, for scans that mostly pass over what is of no interest. The
 * comparisons are the compiler's own on its vector type: each byte that fits becomes 0xff. */
#ifndef MESH_WIDE_H
#define MESH_WIDE_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define WIDE 16

typedef uint8_t wide_bytes __attribute__((vector_size(WIDE)));
typedef int8_t wide_marks __attribute__((vector_size(WIDE)));

static inline wide_bytes wide_load(const uint8_t *p)
{
    wide_bytes bytes;

    memcpy(&bytes, p, sizeof bytes);
    return bytes;
}

/* Bit i: byte i is marked. */
static inline uint32_t wide_bits(wide_marks marks)
{
#ifdef __SSE2__
    typedef char chars __attribute__((vector_size(WIDE)));

    return (uint32_t)__builtin_ia32_pmovmskb128((chars)marks);
#else
    uint64_t half[2];
    uint32_t bits = 0;

    memcpy(half, &marks, sizeof half);
    for (unsigned i = 0; i < 2;
         i++) { /* of byte n keep bit n, and sum the bytes up in the highest */
        uint64_t one_each = htole64(half[i]) & 0x8040201008040201;

        bits |= (uint32_t)(one_each * 0x0101010101010101 >> 56) << 8 * i;
    }
    return bits;
#endif
}

/* How many bytes stand in front of the first that is marked; WIDE: none is. */
static inline size_t wide_unmarked(wide_marks marks)
{
    return (size_t)__builtin_ctz(wide_bits(marks) | 1u << WIDE);
}

#endif
