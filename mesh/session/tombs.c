/* tombs.c - ended sessions, the newest of them. */
#include "mesh/session/tombs.h"

#include "mesh/session/core.h"

void tombs_init(struct core *core)
{
    newest_init(&core->tombs.ends, sizeof(struct session_id), sizeof(struct tomb), TOMBS_MAX,
                core->sip_key);
}

void tombs_deinit(struct core *core)
{
    newest_deinit(&core->tombs.ends);
}

/* NULL: none that still counts. */
static const struct tomb *tombs_find(const struct core *core, const struct session_id *id,
                                     uint64_t now_ms)
{
    const struct tomb *tomb = newest_find(&core->tombs.ends, id->bytes);
    return tomb != NULL && tomb->until_ms > now_ms ? tomb : NULL;
}

/* Without memory it is not noted, and asked for as before. */
void tombs_add(struct core *core, const struct session_id *id, uint64_t epoch, bool is_final,
               uint64_t now_ms)
{
    struct tomb *tomb = newest_put(&core->tombs.ends, id->bytes);
    if (tomb == NULL)
        return;
    tomb->until_ms = now_ms + core->config.session_idle_ms;
    tomb->epoch = epoch > tomb->epoch ? epoch : tomb->epoch;
    tomb->is_final = tomb->is_final || is_final;
}

bool tombs_has(const struct core *core, const struct session_id *id, uint64_t now_ms)
{
    return tombs_find(core, id, now_ms) != NULL;
}

bool tombs_ends(const struct core *core, const struct session_id *id, uint64_t epoch,
                uint64_t now_ms)
{
    const struct tomb *tomb = tombs_find(core, id, now_ms);
    return tomb != NULL && (tomb->is_final || tomb->epoch >= epoch);
}

void tombs_forget(struct core *core, const struct session_id *id)
{
    struct tomb *tomb = newest_find(&core->tombs.ends, id->bytes);
    if (tomb != NULL)
        *tomb = (struct tomb){0};
}

static bool tombs_tell_one(struct core *core, struct peer_id peer, const struct session_id *id,
                           struct mesh_epoch epoch, bool is_final, uint64_t now_ms)
{
    struct wire_message ended = {.kind = WIRE_ENDED,
                                 .session = *id,
                                 .has_session = true,
                                 .epoch = epoch,
                                 .is_ended = is_final};
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
    tombs_add(core, &session->id, session->epoch.counter, session->is_deleted, now_ms);
    for (size_t n = 0; n < count && told < TOMBS_HOLDERS; n++)
        if (!copies_is_holder(session, candidates[n]))
            told += tombs_tell_one(core, candidates[n], &session->id, session->epoch,
                                   session->is_deleted, now_ms);
        else
            told++;
    for (size_t n = 0; n < COPIES_HOLDERS_MAX; n++)
        if (!peer_id_is_nobody(session->holders[n].peer))
            (void)tombs_tell_one(core, session->holders[n].peer, &session->id, session->epoch,
                                 session->is_deleted, now_ms);
}

void tombs_say(struct core *core, struct peer_id to, const struct session_id *id, uint64_t now_ms)
{
    const struct tomb *tomb = tombs_find(core, id, now_ms);
    struct mesh_epoch epoch = {tomb != NULL ? tomb->epoch : 0, core_self(core)};
    (void)tombs_tell_one(core, to, id, epoch, tomb != NULL && tomb->is_final, now_ms);
}

void tombs_on_ended(struct core *core, const struct wire_message *m, uint64_t now_ms)
{
    bool is_final = m->kind == WIRE_ENDED && m->is_ended;
    if (!key_verify(&core->keys, &m->session))
        return;
    struct session *owned = session_find(core, &m->session);
    struct session *copy = session_find_copy(core, &m->session);
    if (owned != NULL && !is_final)
        return; /* ours to end */
    if (copy != NULL && !is_final && copy->epoch.counter > m->epoch.counter)
        return; /* it went on elsewhere */
    tombs_add(core, &m->session, m->epoch.counter, is_final, now_ms);
    if (owned != NULL) {
        owned->is_deleted = true;
        serve_end_session(core, owned, MESH_SESSION_ENDED, now_ms);
    } else if (copy != NULL) {
        session_free(core, copy);
    }
}
