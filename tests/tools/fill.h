/* fill.h - text that looks like chance and that two programs make alike, each for itself: what was
 * lost, doubled or moved on the way shows, and where. Plain ASCII that JSON need not escape. */
#ifndef TOOLS_FILL_H
#define TOOLS_FILL_H

#include <stddef.h>
#include <stdint.h>

/* The character at this place of the text that `seed` names. */
static inline char fill_at(uint64_t seed, size_t at)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.";
    uint64_t chance = (seed + at / 8 + 1) * 0x9e3779b97f4a7c15u;
    chance = (chance ^ chance >> 30) * 0xbf58476d1ce4e5b9u;
    return letters[(chance ^ chance >> 27) >> at % 8 * 7 & 63];
}

static inline void fill_text(char *text, size_t length, uint64_t seed)
{
    for (size_t at = 0; at < length; at++)
        text[at] = fill_at(seed, at);
}

#endif
