/* spare.h - pieces of memory of one size that are needed again at once: the last few that were
 * given back are kept, a burst's worth, instead of going through malloc() for each request. Which
 * size that is, and how many, says who owns the spares. */
#ifndef MESH_SPARE_H
#define MESH_SPARE_H

#include <stdint.h>
#include <stdlib.h>

/* Under AddressSanitizer nothing is kept: it would not see who uses a piece that was given back. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SPARE_NONE 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define SPARE_NONE 1
#endif

struct spare_piece {
    struct spare_piece *next;
};

struct spare {
    struct spare_piece *first;
    uint32_t count;
};

/* A piece of at least sizeof(struct spare_piece), not cleared; NULL: no memory. All pieces of one
 * `spare` are of the same size. */
static inline void *spare_take(struct spare *spare, size_t bytes)
{
    struct spare_piece *piece = spare->first;

    if (piece == NULL)
        return malloc(bytes);
    spare->first = piece->next;
    spare->count--;
    return piece;
}

/* Keeps the piece, or frees it if `max` are kept. NULL is fine. */
static inline void spare_give(struct spare *spare, void *memory, uint32_t max)
{
    struct spare_piece *piece = memory;

#ifdef SPARE_NONE
    max = 0;
#endif
    if (piece == NULL || spare->count >= max) {
        free(piece);
        return;
    }
    piece->next = spare->first;
    spare->first = piece;
    spare->count++;
}

static inline void spare_deinit(struct spare *spare)
{
    while (spare->first != NULL)
        free(spare_take(spare, 0));
}

#endif
