/* pool.h - objects of one size, named by slot and generation: a handle to an object that was
 * given back finds nothing, even when its slot is in use again. Grows in slabs up to a cap;
 * objects never move. */
#ifndef MESH_POOL_H
#define MESH_POOL_H

#include <stdalign.h>
#include <stddef.h>

#include "mesh/base/types.h"

struct pool {
    size_t stride; /* bytes from one slot to the next */
    size_t object_bytes;
    uint32_t max, count; /* objects */
    uint32_t span;       /* slots ever used: a listing goes from 0 to here */
    uint32_t free_slot;  /* given back last; POOL_NO_SLOT: none */
    uint32_t slab_shift; /* a slab has 2^slab_shift slots */
    uint32_t slabs_count, slabs_max;
    uint8_t **slabs;
};
#define POOL_NO_SLOT UINT32_MAX

struct pool_object {
    uint32_t generation; /* of the object that is in the slot, or will be next */
    uint32_t next_free;
    bool is_taken;
    alignas(max_align_t) uint8_t bytes[];
};

/* The slot, which must be below pool->span. */
static inline struct pool_object *pool_object_at(const struct pool *pool, uint32_t slot)
{
    size_t inside = slot & (((uint32_t)1 << pool->slab_shift) - 1);

    return (struct pool_object *)(void *)(pool->slabs[slot >> pool->slab_shift] +
                                          inside * pool->stride);
}

static inline struct pool_object *pool_find(const struct pool *pool, struct handle h)
{
    struct pool_object *found = h.slot < pool->span ? pool_object_at(pool, h.slot) : NULL;

    return found != NULL && found->is_taken && found->generation == h.generation ? found : NULL;
}

/* An empty pool of at most `max` objects; takes no memory until the first one is taken. */
void pool_init(struct pool *pool, size_t object_bytes, uint32_t max);
void pool_deinit(struct pool *pool); /* frees the objects that are still out, too */
/* A zeroed object, aligned for any type, and its handle; its generation is never 0. The slot given
 * back last is used first. NULL: the pool or the machine is full, *h is unchanged. */
void *pool_take(struct pool *pool, struct handle *h);
/* The object of a handle; NULL if it was given back, or never was. Any handle may be asked for. */
static inline void *pool_at(const struct pool *pool, struct handle h)
{
    struct pool_object *found = pool_find(pool, h);

    return found != NULL ? found->bytes : NULL;
}
/* The object in a slot and its handle (may be NULL), for listing in slot order; NULL: free. */
void *pool_slot(const struct pool *pool, uint32_t slot, struct handle *h);
void pool_give(struct pool *pool, struct handle h); /* a stale handle is a bug of the caller */
uint32_t pool_count(const struct pool *pool);
uint32_t pool_span(const struct pool *pool);

#endif
