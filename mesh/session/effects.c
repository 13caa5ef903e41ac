/* effects.c - a growing ring of effects, first in, first out. */
#include "mesh/session/effects.h"

#include <errno.h>
#include <stdlib.h>

#define EFFECTS_FIRST 64
#define EFFECT_SLICES_MAX 5

/* The slices that an effect of this kind holds. */
static size_t effect_slices(struct mesh_effect *e, struct slice *slices[EFFECT_SLICES_MAX])
{
    size_t count = 0;
    switch (e->kind) {
    case MESH_DATAGRAM:
    case MESH_LINK_BYTES:
        slices[count++] = &e->wire.sealed;
        break;
    case MESH_UP_OPEN:
    case MESH_UP_SEND:
    case MESH_UP_LISTEN:
        slices[count++] = &e->send.method;
        slices[count++] = &e->send.target;
        slices[count++] = &e->send.head;
        slices[count++] = &e->send.text;
        break;
    case MESH_REPLY_HEAD:
        slices[count++] = &e->head.head;
        break;
    case MESH_REPLY_EVENT:
        slices[count++] = &e->event.text;
        break;
    case MESH_REPLY_DATA:
        slices[count++] = &e->data;
        break;
    case MESH_LINK_DIAL:
    case MESH_LINK_CLOSE:
    case MESH_UP_ROOM:
    case MESH_UP_CANCEL:
    case MESH_REPLY_END:
    case MESH_CHANGED:
        break;
    case MESH_UP_CLOSE:
        slices[count++] = &e->send.head;
        break;
    }
    slices[count++] = &e->patch.put;
    return count;
}

static void effect_drop(struct mesh_effect *e)
{
    struct slice *slices[EFFECT_SLICES_MAX];
    size_t count = effect_slices(e, slices);
    for (size_t n = 0; n < count; n++)
        slice_drop(slices[n]);
}

void effects_init(struct effects *effects, struct bytes_budget *budget)
{
    memset(effects, 0, sizeof *effects);
    effects->budget = budget;
}

void effects_deinit(struct effects *effects)
{
    struct mesh_effect e;
    while (effects_pop(effects, &e))
        continue;
    free(effects->ring);
    memset(effects, 0, sizeof *effects);
}

static int effects_grow(struct effects *effects)
{
    size_t capacity = effects->capacity == 0 ? EFFECTS_FIRST : effects->capacity * 2;
    struct mesh_effect *ring = malloc(capacity * sizeof *ring);
    if (ring == NULL)
        return -ENOMEM;
    for (size_t n = 0; n < effects->count; n++)
        ring[n] = effects->ring[(effects->first + n) & (effects->capacity - 1)];
    free(effects->ring);
    effects->ring = ring;
    effects->capacity = capacity;
    effects->first = 0;
    return 0;
}

int effects_push(struct effects *effects, const struct mesh_effect *effect)
{
    struct slice *slices[EFFECT_SLICES_MAX];
    int rc = 0;
    if (effects->count == effects->capacity)
        rc = effects_grow(effects);
    if (rc < 0)
        return rc;
    struct mesh_effect *kept =
        &effects->ring[(effects->first + effects->count) & (effects->capacity - 1)];
    *kept = *effect;
    size_t count = effect_slices(kept, slices);
    for (size_t n = 0; n < count; n++) {
        rc = slice_keep(slices[n], *slices[n], effects->budget);
        if (rc < 0) {
            while (n > 0)
                slice_drop(slices[--n]);
            return rc;
        }
    }
    effects->count++;
    return 0;
}

bool effects_pop(struct effects *effects, struct mesh_effect *effect)
{
    if (effects->is_given) {
        effect_drop(&effects->ring[effects->first]);
        effects->first = (effects->first + 1) & (effects->capacity - 1);
        effects->count--;
    }
    effects->is_given = effects->count > 0;
    if (effects->is_given)
        *effect = effects->ring[effects->first];
    return effects->is_given;
}
