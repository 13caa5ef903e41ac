/* wide.h - sixteen bytes at a time, for scans that mostly pass over what is of no interest. The
 * comparisons are the compiler's own on its vector type: each byte that fits becomes 0xff. */
#ifndef MESH_WIDE_H
#define MESH_WIDE_H

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

/* How many bytes stand in front of the first that is marked; WIDE: none is. */
static inline size_t wide_unmarked(wide_marks marks)
{
    uint64_t half[2];

    memcpy(half, &marks, sizeof half);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (half[0] != 0)
        return (size_t)__builtin_ctzll(half[0]) / 8;
    return half[1] != 0 ? 8 + (size_t)__builtin_ctzll(half[1]) / 8 : WIDE;
#else
    if (half[0] != 0)
        return (size_t)__builtin_clzll(half[0]) / 8;
    return half[1] != 0 ? 8 + (size_t)__builtin_clzll(half[1]) / 8 : WIDE;
#endif
}

#endif
