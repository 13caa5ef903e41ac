/* slots.c - see slots.h. */
#include "node/slots.h"

#include <errno.h>
#include <stdlib.h>

#define SLOTS_FIRST 64u

int slots_put(struct slots *slots, struct handle handle, void *at)
{
    if (handle.slot >= slots->count) {
        uint32_t count = slots->count == 0 ? SLOTS_FIRST : slots->count;
        while (count <= handle.slot && count < UINT32_MAX / 2)
            count *= 2;
        struct slot *entries = realloc(slots->entries, count * sizeof *entries);
        if (entries == NULL)
            return -ENOMEM;
        memset(entries + slots->count, 0, (count - slots->count) * sizeof *entries);
        slots->entries = entries;
        slots->count = count;
    }
    slots->entries[handle.slot] = (struct slot){at, handle.generation};
    return 0;
}

void *slots_get(const struct slots *slots, struct handle handle)
{
    if (handle.slot >= slots->count || slots->entries[handle.slot].generation != handle.generation)
        return NULL;
    return slots->entries[handle.slot].at;
}

void slots_clear(struct slots *slots, struct handle handle)
{
    if (slots_get(slots, handle) != NULL)
        slots->entries[handle.slot].at = NULL;
}

void slots_free(struct slots *slots)
{
    free(slots->entries);
    *slots = (struct slots){0};
}
