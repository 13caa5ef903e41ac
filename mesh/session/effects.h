/* effects.h - the queue of effects between two drains. Holds what it is given by reference. */
#ifndef MESH_EFFECTS_H
#define MESH_EFFECTS_H

#include "mesh/mesh.h"

struct effects {
    struct mesh_effect *ring;
    size_t first, count, capacity; /* capacity: a power of two */
    bool is_given;                 /* the first was given out: its slices live until the next is */
    struct bytes_budget *budget;
};

void effects_init(struct effects *effects, struct bytes_budget *budget);
void effects_deinit(struct effects *effects);
/* Keeps the effect's slices. Only DATAGRAM and CHANGED may be lost for want of memory; for the
 * others the caller ends what cannot be told: -ENOMEM. */
int effects_push(struct effects *effects, const struct mesh_effect *effect);
bool effects_pop(struct effects *effects, struct mesh_effect *effect);

#endif
