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

static bool tombs_tell_one(struct core *core, struct peer_id peer, const struct session_id *id,
                           uint64_t now_ms)
{
    struct wire_message ended = {.kind = WIRE_ENDED, .session = *id, .has_session = true};
    const struct mesh_addr *addr = core_addr_of(core, peer);
    if (addr == NULL || peer_id_equal(peer, core_self(core)))
        return false;
    (void)links_tell(core->links, peer, addr, &ended, now_ms);
    return true;
}

void tombs_tell(struct core *core, const struct session *session, uint64_t now_ms)
{
    struct peer_id candidates[TOMBS_HOLDERS + 1];
    size_t told = 0, count = owner_candidates(core, &session->id, candidates, TOMBS_HOLDERS + 1);
    for (size_t n = 0; n < count && told < TOMBS_HOLDERS; n++)
        if (!copies_is_holder(session, candidates[n]))
            told += tombs_tell_one(core, candidates[n], &session->id, now_ms);
        else
            told++;
    for (size_t n = 0; n < COPIES_HOLDERS_MAX; n++)
        if (!peer_id_is_nobody(session->holders[n].peer))
            (void)tombs_tell_one(core, session->holders[n].peer, &session->id, now_ms);
}

void tombs_on_ended(struct core *core, const struct wire_message *m, uint64_t now_ms)
{
    /* one that we have is ours to end */
    if (!key_verify(&core->keys, &m->session) || session_find(core, &m->session) != NULL)
        return;
    tombs_add(core, &m->session, now_ms);
    struct session *copy = session_find_copy(core, &m->session);
    if (copy != NULL)
        session_free(core, copy);
}
