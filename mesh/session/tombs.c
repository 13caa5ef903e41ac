/* tombs.c - ended sessions, the newest of them. */
#include "mesh/session/tombs.h"

#include "mesh/session/core.h"

void tombs_init(struct core *core)
{
    newest_init(&core->tombs.until_ms, sizeof(struct session_id), sizeof(uint64_t), TOMBS_MAX,
                core->sip_key);
}

void tombs_deinit(struct core *core)
{
    newest_deinit(&core->tombs.until_ms);
}

/* Without memory it is not noted, and asked for as before. */
void tombs_add(struct core *core, const struct session_id *id, uint64_t now_ms)
{
    uint64_t *until_ms = newest_put(&core->tombs.until_ms, id->bytes);
    if (until_ms != NULL)
        *until_ms = now_ms + core->config.session_idle_ms;
}

bool tombs_has(const struct core *core, const struct session_id *id, uint64_t now_ms)
{
    const uint64_t *until_ms = newest_find(&core->tombs.until_ms, id->bytes);
    return until_ms != NULL && *until_ms > now_ms;
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
