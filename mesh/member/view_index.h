/* view_index.h - the slots of a view in the order of a 64-bit key that is a hash: names, home tags.
 * Each entry is one word, the upper 16 bits of its key beside the slot: to find one touches a line
 * or two of the index and the rows that have those bits, and no other row. Where keys are equal in
 * them the caller looks at the rows. Who chooses keys that are, which only members can, makes a
 * lookup as long as it has keys: the caps of the view bound that. */
#ifndef MESH_VIEW_INDEX_H
#define MESH_VIEW_INDEX_H

#include <stdbool.h>
#include <stdint.h>

/* Zeroed: empty, without room. */
struct view_index {
    uint32_t *entries; /* sorted, the caller's order among those of equal upper bits */
    uint32_t count, room;
};

void view_index_deinit(struct view_index *index);
bool view_index_reserve(struct view_index *index, uint32_t room); /* false: no memory */

/* The first place whose upper bits are not below the key's. */
uint32_t view_index_first(const struct view_index *index, uint64_t key);
/* Has this place, which may be the end, the upper bits of the key? */
bool view_index_is_near(const struct view_index *index, uint32_t at, uint64_t key);
static inline uint16_t view_index_slot(const struct view_index *index, uint32_t at)
{
    return (uint16_t)index->entries[at];
}

void view_index_insert(struct view_index *index, uint32_t at, uint64_t key, uint16_t slot);
void view_index_remove(struct view_index *index, uint32_t at);

#endif
