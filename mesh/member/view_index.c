/* view_index.c - see view_index.h. */
#include "mesh/member/view_index.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define NEAR 8 /* so far from where it is looked for first the place may well be */

void view_index_deinit(struct view_index *index)
{
    free(index->entries);
    memset(index, 0, sizeof *index);
}

bool view_index_reserve(struct view_index *index, uint32_t room)
{
    uint32_t *entries = realloc(index->entries, room * sizeof *entries);
    if (entries == NULL)
        return false;
    index->entries = entries;
    index->room = room;
    return true;
}

static uint32_t upper_of(uint64_t key)
{
    return (uint32_t)(key >> 48) << 16;
}

/* Keys are uniform: where it is looked for first is about the square root of their number away.
 * From there in steps that double, until it lies between two, and then by halves. */
uint32_t view_index_first(const struct view_index *index, uint64_t key)
{
    uint32_t wanted = upper_of(key), low = 0, high = index->count, step = NEAR;
    if (high == 0)
        return 0;
    uint32_t at = (uint32_t)((uint64_t)wanted * index->count >> 32);
    if (index->entries[at] < wanted) {
        for (low = at + 1; high - low > step && index->entries[low + step] < wanted; step *= 2)
            low += step + 1;
        high = high - low > step ? low + step : high;
    } else {
        for (high = at; high > step && index->entries[high - step] >= wanted; step *= 2)
            high -= step;
        low = high > step ? high - step + 1 : 0;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (index->entries[middle] < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool view_index_is_near(const struct view_index *index, uint32_t at, uint64_t key)
{
    return at < index->count && (index->entries[at] ^ upper_of(key)) >> 16 == 0;
}

void view_index_insert(struct view_index *index, uint32_t at, uint64_t key, uint16_t slot)
{
    assert(index->count < index->room);
    memmove(index->entries + at + 1, index->entries + at,
            (index->count - at) * sizeof *index->entries);
    index->entries[at] = upper_of(key) | slot;
    index->count++;
}

void view_index_remove(struct view_index *index, uint32_t at)
{
    index->count--;
    memmove(index->entries + at, index->entries + at + 1,
            (index->count - at) * sizeof *index->entries);
}
