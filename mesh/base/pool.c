/* pool.c - slabs of slots, each with a small head before its object. */
#include "mesh/base/pool.h"

#include <assert.h>
#include <stdlib.h>

#define SLAB_BYTES ((size_t)64 * 1024) /* as an aim: large objects make larger slabs */
#define SLAB_SHIFT_MIN 3
#define SLAB_SHIFT_MAX 10

void pool_init(struct pool *pool, size_t object_bytes, uint32_t max)
{
    size_t align = alignof(max_align_t);

    assert(object_bytes < SIZE_MAX >> (SLAB_SHIFT_MIN + 1) && max < POOL_NO_SLOT);
    *pool = (struct pool){.object_bytes = object_bytes, .max = max, .free_slot = POOL_NO_SLOT};
    pool->stride = (sizeof(struct pool_object) + object_bytes + align - 1) / align * align;
    pool->slab_shift = SLAB_SHIFT_MIN;
    while (pool->slab_shift < SLAB_SHIFT_MAX && pool->stride << pool->slab_shift < SLAB_BYTES)
        pool->slab_shift++;
}

void pool_deinit(struct pool *pool)
{
    if (pool == NULL)
        return;
    for (uint32_t i = 0; i < pool->slabs_count; i++)
        free(pool->slabs[i]);
    free(pool->slabs);
    pool->slabs = NULL;
    pool->slabs_count = pool->slabs_max = pool->count = pool->span = 0;
    pool->free_slot = POOL_NO_SLOT;
}

/* Makes a slab for the slot `span`, which has none yet. */
static bool add_slab(struct pool *pool)
{
    uint32_t slots = (uint32_t)1 << pool->slab_shift, slabs_max;
    uint8_t **slabs, *slab;

    if (pool->slabs_count == pool->slabs_max) {
        slabs_max = pool->slabs_max == 0 ? 8 : pool->slabs_max * 2;
        slabs = reallocarray(pool->slabs, slabs_max, sizeof *slabs);
        if (slabs == NULL)
            return false;
        pool->slabs = slabs;
        pool->slabs_max = slabs_max;
    }
    if (slots > pool->max - pool->span)
        slots = pool->max - pool->span;
    slab = malloc(slots * pool->stride);
    if (slab == NULL)
        return false;
    pool->slabs[pool->slabs_count++] = slab;
    return true;
}

void *pool_take(struct pool *pool, struct handle *h)
{
    struct pool_object *slot;
    uint32_t index = pool->free_slot;

    if (index != POOL_NO_SLOT) {
        slot = pool_object_at(pool, index);
        pool->free_slot = slot->next_free;
    } else {
        index = pool->span;
        if (index == pool->max)
            return NULL;
        if (index >> pool->slab_shift == pool->slabs_count && !add_slab(pool))
            return NULL;
        slot = pool_object_at(pool, index);
        slot->generation = 1;
        pool->span++;
    }
    slot->is_taken = true;
    slot->next_free = POOL_NO_SLOT;
    memset(slot->bytes, 0, pool->object_bytes);
    pool->count++;
    *h = (struct handle){index, slot->generation};
    return slot->bytes;
}

void *pool_slot(const struct pool *pool, uint32_t slot, struct handle *h)
{
    struct pool_object *found;

    if (slot >= pool->span)
        return NULL;
    found = pool_object_at(pool, slot);
    if (!found->is_taken)
        return NULL;
    if (h != NULL)
        *h = (struct handle){slot, found->generation};
    return found->bytes;
}

void pool_give(struct pool *pool, struct handle h)
{
    struct pool_object *slot = pool_find(pool, h);

    assert(slot != NULL);
    slot->is_taken = false;
    slot->generation++;
    if (slot->generation == 0) /* nobody's handle is zero */
        slot->generation = 1;
    slot->next_free = pool->free_slot;
    pool->free_slot = h.slot;
    pool->count--;
}

uint32_t pool_count(const struct pool *pool)
{
    return pool->count;
}

uint32_t pool_span(const struct pool *pool)
{
    return pool->span;
}
