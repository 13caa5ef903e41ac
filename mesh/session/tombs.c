/* tombs.c - a ring of ended sessions. */
#include "mesh/session/tombs.h"

#include <stdlib.h>

#include "mesh/session/core.h"

#define TOMBS_FIRST 256

void tombs_init(struct core *core)
{
    memset(&core->tombs, 0, sizeof core->tombs);
    table_init(&core->tombs.slots, sizeof(struct session_id), core->sip_key);
}

void tombs_deinit(struct core *core)
{
    table_deinit(&core->tombs.slots);
    free(core->tombs.ring);
}

/* Grows up to its cap; NULL: no memory, and what is not noted is asked for as before. */
static struct tomb *tombs_room(struct tombs *tombs)
{
    if (tombs->next == tombs->capacity && tombs->capacity < TOMBS_MAX) {
        uint32_t capacity = tombs->capacity == 0 ? TOMBS_FIRST : tombs->capacity * 2;
        struct tomb *ring = realloc(tombs->ring, capacity * sizeof *ring);
        if (ring == NULL)
            return NULL;
        memset(ring + tombs->capacity, 0, (capacity - tombs->capacity) * sizeof *ring);
        tombs->ring = ring;
        tombs->capacity = capacity;
    }
    if (tombs->next == tombs->capacity)
        tombs->next = 0;
    return &tombs->ring[tombs->next];
}

void tombs_add(struct core *core, const struct session_id *id, uint64_t now_ms)
{
    struct tombs *tombs = &core->tombs;
    uint64_t until_ms = now_ms + core->config.session_idle_ms;
    uint32_t slot = 0;
    if (table_get(&tombs->slots, id->bytes, &slot)) {
        tombs->ring[slot].until_ms = until_ms;
        return;
    }
    struct tomb *tomb = tombs_room(tombs);
    if (tomb == NULL)
        return;
    if (tomb->is_used)
        table_remove(&tombs->slots, tomb->id.bytes);
    *tomb = (struct tomb){.id = *id, .until_ms = until_ms};
    tomb->is_used = table_put(&tombs->slots, id->bytes, tombs->next) == 0;
    if (tomb->is_used)
        tombs->next++;
}

bool tombs_has(const struct core *core, const struct session_id *id, uint64_t now_ms)
{
    uint32_t slot = 0;
    return table_get(&core->tombs.slots, id->bytes, &slot) &&
           core->tombs.ring[slot].until_ms > now_ms;
}

void tombs_tell(struct core *core, const struct session_id *id, uint64_t now_ms)
{
    struct peer_id candidates[TOMBS_HOLDERS + 1];
    struct wire_message ended = {.kind = WIRE_ENDED, .session = *id, .has_session = true};
    size_t told = 0, count = owner_candidates(core, id, candidates, TOMBS_HOLDERS + 1);
    for (size_t n = 0; n < count && told < TOMBS_HOLDERS; n++) {
        const struct mesh_addr *addr = core_addr_of(core, candidates[n]);
        if (addr == NULL || peer_id_equal(candidates[n], core_self(core)))
            continue;
        (void)links_tell(core->links, candidates[n], addr, &ended, now_ms);
        told++;
    }
}

void tombs_on_ended(struct core *core, const struct wire_message *m, uint64_t now_ms)
{
    /* one that we have is ours to end */
    if (key_verify(&core->keys, &m->session) && session_find(core, &m->session) == NULL)
        tombs_add(core, &m->session, now_ms);
}
