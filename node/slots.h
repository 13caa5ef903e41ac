/* slots.h - what of ours belongs to a handle of the core: an array by slot. It owns nothing it
 * points to. */
#ifndef NODE_SLOTS_H
#define NODE_SLOTS_H

#include "mesh/base/types.h"

struct slots {
    struct slot {
        void *at;
        uint32_t generation;
    } * entries;
    uint32_t count; /* entries there is room for */
};

/* 0 or -ENOMEM. Replaces what an older generation left behind. */
int slots_put(struct slots *slots, struct handle handle, void *at);
void *slots_get(const struct slots *slots, struct handle handle); /* NULL: not ours any more */
void slots_clear(struct slots *slots, struct handle handle);      /* if it is still this one's */
void slots_free(struct slots *slots);

#endif
