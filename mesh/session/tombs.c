/* tombs.c - ended sessions, the newest of them. */
#include "mesh/session/tombs.h"

#include "mesh/session/core.h"

/* Who is to know of one end, and has not said yet that it does. */
struct telling_key {
    struct session_id id;
    struct peer_id peer;
};

struct telling {
    struct handle self;
    struct telling_key key;
    struct peer_id by; /* who tells it as long as it lives; nobody: it is ours to tell */
    bool is_asked;     /* it does not reach it, and asked us to */
    uint32_t wait_ms;  /* before it is told again */
    struct heap_node timer;
};

void tombs_init(struct core *core)
{
    struct tombs *t = &core->tombs;
    newest_init(&t->ends, sizeof(struct session_id), sizeof(struct tomb), TOMBS_MAX, core->sip_key);
    pool_init(&t->told, sizeof(struct telling), TOMBS_TOLD_MAX);
    table_init(&t->told_slots, sizeof(struct telling_key), core->sip_key);
    heap_init(&t->timers);
}

void tombs_deinit(struct core *core)
{
    newest_deinit(&core->tombs.ends);
    heap_deinit(&core->tombs.timers);
    table_deinit(&core->tombs.told_slots);
    pool_deinit(&core->tombs.told);
}

/* NULL: none that still counts. */
static const struct tomb *tombs_find(const struct core *core, const struct session_id *id,
                                     uint64_t now_ms)
{
    const struct tomb *tomb = newest_find(&core->tombs.ends, id->bytes);
    return tomb != NULL && tomb->until_ms > now_ms ? tomb : NULL;
}

/* Without memory it is not noted, and asked for as before. */
void tombs_add(struct core *core, const struct session_id *id, struct mesh_epoch epoch,
               bool is_final, uint64_t now_ms)
{
    struct tomb *tomb = newest_put(&core->tombs.ends, id->bytes);
    if (tomb == NULL)
        return;
    bool is_higher = mesh_epoch_compare(epoch, tomb->epoch) > 0;
    if (tomb->until_ms == 0 || is_higher)
        tomb->is_sure = false;
    tomb->until_ms = now_ms + core->config.session_idle_ms;
    tomb->epoch = is_higher ? epoch : tomb->epoch;
    tomb->is_final = tomb->is_final || is_final;
}

bool tombs_has(const struct core *core, const struct session_id *id, uint64_t now_ms)
{
    return tombs_find(core, id, now_ms) != NULL;
}

bool tombs_is_final(const struct core *core, const struct session_id *id, uint64_t now_ms)
{
    const struct tomb *tomb = tombs_find(core, id, now_ms);
    return tomb != NULL && tomb->is_final;
}

bool tombs_ends(const struct core *core, const struct session_id *id, struct mesh_epoch epoch,
                uint64_t now_ms)
{
    const struct tomb *tomb = tombs_find(core, id, now_ms);
    if (tomb == NULL || tomb->is_final)
        return tomb != NULL;
    struct rounds r = takeover_rounds(core, id); /* who was promised a higher one may own it */
    return mesh_epoch_compare(tomb->epoch, epoch) >= 0 &&
           mesh_epoch_compare(tomb->epoch, rounds_highest(&r)) >= 0;
}

bool tombs_is_sure(const struct core *core, const struct session_id *id, uint64_t now_ms)
{
    const struct tomb *tomb = tombs_find(core, id, now_ms);
    return tomb != NULL && (tomb->is_final || (tomb->is_sure && tomb->came == core->owner.came));
}

void tombs_confirm(struct core *core, const struct session_id *id, uint32_t came, uint64_t now_ms)
{
    struct tomb *tomb = newest_find(&core->tombs.ends, id->bytes);
    if (tomb == NULL || tomb->until_ms <= now_ms)
        return;
    tomb->is_sure = true;
    tomb->came = came;
}

void tombs_forget(struct core *core, const struct session_id *id)
{
    struct tomb *tomb = newest_find(&core->tombs.ends, id->bytes);
    if (tomb != NULL && !tomb->is_final)
        *tomb = (struct tomb){0};
}

static void tombs_send(struct core *core, struct peer_id peer, struct wire_message *m,
                       uint64_t now_ms)
{
    const struct mesh_addr *addr = core_addr_of(core, peer);
    m->has_session = true;
    if (addr != NULL && !peer_id_equal(peer, core_self(core)))
        (void)links_tell(core->links, peer, addr, m, now_ms);
}

static void tombs_say_of(struct core *core, struct peer_id to, const struct session_id *id,
                         struct peer_id unaware, uint64_t now_ms)
{
    const struct tomb *tomb = tombs_find(core, id, now_ms);
    struct wire_message ended = {.kind = WIRE_ENDED,
                                 .session = *id,
                                 .is_ended = tomb != NULL && tomb->is_final,
                                 .ended.unaware = unaware};
    if (tomb != NULL)
        ended.epoch = tomb->epoch;
    tombs_send(core, to, &ended, now_ms);
}

void tombs_say(struct core *core, struct peer_id to, const struct session_id *id, uint64_t now_ms)
{
    tombs_say_of(core, to, id, (struct peer_id){0}, now_ms);
}

/* ---- until they say that they know --------------------------------------------------------- */

static struct telling *telling_find(const struct tombs *t, const struct telling_key *key)
{
    uint32_t slot = 0;
    return table_get(&t->told_slots, key, &slot) ? pool_slot(&t->told, slot, NULL) : NULL;
}

static void telling_free(struct tombs *t, struct telling *telling)
{
    heap_remove(&t->timers, &telling->timer);
    table_remove(&t->told_slots, &telling->key);
    pool_give(&t->told, telling->self);
}

static struct telling_key telling_key(const struct session_id *id, struct peer_id peer)
{
    struct telling_key key;
    memset(&key, 0, sizeof key); /* what lies between its fields counts in a table */
    key.id = *id;
    key.peer = peer;
    return key;
}

/* Without room it is told once. */
static void telling_begin(struct core *core, const struct session_id *id, struct peer_id peer,
                          struct peer_id by, uint64_t now_ms)
{
    struct tombs *t = &core->tombs;
    struct telling_key key = telling_key(id, peer);
    struct handle h;
    struct telling *telling = telling_find(t, &key) == NULL ? pool_take(&t->told, &h) : NULL;
    if (telling == NULL)
        return;
    telling->self = h;
    telling->key = key;
    telling->by = by;
    telling->wait_ms = TOMBS_AGAIN_MS;
    if (table_put(&t->told_slots, &key, h.slot) < 0 ||
        heap_set(&t->timers, &telling->timer, now_ms + telling->wait_ms) < 0)
        telling_free(t, telling);
}

/* Unless somebody else does. */
static void telling_say(struct core *core, const struct telling *telling, uint64_t now_ms)
{
    if (telling->is_asked || !core_is_living(core, telling->by))
        tombs_say(core, telling->key.peer, &telling->key.id, now_ms);
}

/* It may be cut off from us alone, and own the session: the candidates that know of its end are
 * asked to tell it, too. */
static void telling_ask(struct core *core, const struct telling *telling, uint64_t now_ms)
{
    struct peer_id peers[TOMBS_HOLDERS + 1];
    size_t count = owner_candidates(core, &telling->key.id, peers, TOMBS_HOLDERS + 1);
    for (size_t n = 0; n < count; n++) {
        struct telling_key other = telling_key(&telling->key.id, peers[n]);
        if (telling_find(&core->tombs, &other) == NULL)
            tombs_say_of(core, peers[n], &telling->key.id, telling->key.peer, now_ms);
    }
}

/* Its own epoch and the client's wish are the tomb's, and nothing is said of one that lives on. */
static void telling_again(struct core *core, struct telling *telling, uint64_t now_ms)
{
    struct tombs *t = &core->tombs;
    bool is_over = telling->wait_ms >= TOMBS_AGAIN_LAST_MS;
    if (!is_over && tombs_has(core, &telling->key.id, now_ms)) {
        telling->wait_ms *= 2;
        telling_say(core, telling, now_ms);
        if (peer_id_is_nobody(telling->by) && tombs_is_final(core, &telling->key.id, now_ms))
            telling_ask(core, telling, now_ms);
        is_over = heap_set(&t->timers, &telling->timer, now_ms + telling->wait_ms) < 0;
    } else {
        is_over = true;
    }
    if (is_over)
        telling_free(t, telling);
}

void tombs_on_found(struct core *core, struct peer_id from, const struct wire_message *found)
{
    struct telling_key key = telling_key(&found->session, from);
    struct telling *telling = telling_find(&core->tombs, &key);
    struct tomb *tomb = newest_find(&core->tombs.ends, found->session.bytes);
    if (telling == NULL)
        return;
    telling_free(&core->tombs, telling);
    if (tomb != NULL && !found->is_ended)
        tomb->is_sure = false; /* it lives there: others are asked before that is denied */
}

void tombs_on_link(struct core *core, struct peer_id peer, uint64_t now_ms)
{
    struct tombs *t = &core->tombs;
    for (uint32_t slot = 0; pool_count(&t->told) > 0 && slot < pool_span(&t->told); slot++) {
        const struct telling *telling = pool_slot(&t->told, slot, NULL);
        if (telling != NULL && peer_id_equal(telling->key.peer, peer))
            telling_say(core, telling, now_ms);
    }
}

void tombs_on_dead(struct core *core, struct peer_id peer, uint64_t now_ms)
{
    struct tombs *t = &core->tombs;
    for (uint32_t slot = 0; pool_count(&t->told) > 0 && slot < pool_span(&t->told); slot++) {
        const struct telling *telling = pool_slot(&t->told, slot, NULL);
        if (telling != NULL && peer_id_equal(telling->by, peer))
            telling_say(core, telling, now_ms);
    }
}

void tombs_now(struct core *core, uint64_t now_ms)
{
    struct heap_node *node;
    while ((node = heap_first(&core->tombs.timers)) != NULL && node->at_ms <= now_ms)
        telling_again(core, container_of(node, struct telling, timer), now_ms);
}

uint64_t tombs_deadline_ms(const struct core *core)
{
    return heap_deadline_ms(&core->tombs.timers);
}

/* ---- what is told --------------------------------------------------------------------------- */

/* What our tomb says, and again until it is heard. */
static void tombs_tell_again(struct core *core, const struct session_id *id, struct peer_id peer,
                             uint64_t now_ms)
{
    tombs_say(core, peer, id, now_ms);
    telling_begin(core, id, peer, (struct peer_id){0}, now_ms);
}

/* Not by the tomb: there may have been no memory for one. */
static void tombs_tell_one(struct core *core, struct peer_id peer, const struct session *session,
                           uint64_t now_ms)
{
    struct wire_message ended = {.kind = WIRE_ENDED,
                                 .session = session->id,
                                 .epoch = session->epoch,
                                 .is_ended = session->is_deleted};
    tombs_send(core, peer, &ended, now_ms);
    telling_begin(core, &session->id, peer, (struct peer_id){0}, now_ms);
}

void tombs_tell(struct core *core, const struct session *session, uint64_t now_ms)
{
    struct peer_id peers[TOMBS_HOLDERS + 1];
    size_t count = owner_candidates(core, &session->id, peers, TOMBS_HOLDERS + 1), told = 0;
    tombs_add(core, &session->id, session->epoch, session->is_deleted, now_ms);
    tombs_confirm(core, &session->id, core->owner.came, now_ms);
    for (size_t n = 0; n < count && told < TOMBS_HOLDERS; n++) {
        if (peer_id_equal(peers[n], core_self(core)))
            continue;
        told++;
        if (!copies_is_holder(session, peers[n]))
            tombs_tell_one(core, peers[n], session, now_ms);
    }
    for (size_t n = 0; n < COPIES_HOLDERS_MAX; n++)
        if (!peer_id_is_nobody(session->holders[n].peer))
            tombs_tell_one(core, session->holders[n].peer, session, now_ms);
}

static bool tombs_is_candidate(struct core *core, const struct session_id *id, struct peer_id peer)
{
    struct peer_id peers[TOMBS_HOLDERS + 1];
    size_t count = owner_candidates(core, id, peers, TOMBS_HOLDERS + 1);
    for (size_t n = 0; n < count; n++)
        if (peer_id_equal(peers[n], peer))
            return true;
    return false;
}

void tombs_on_came(struct core *core, struct peer_id peer, uint64_t now_ms)
{
    const struct newest *ends = &core->tombs.ends;
    const void *key;
    for (uint32_t slot = 0; slot < ends->capacity; slot++) {
        const struct tomb *tomb = newest_at(ends, slot, &key);
        if (tomb != NULL && tomb->is_final &&
            tomb->until_ms + 2 * TOMBS_AGAIN_LAST_MS > now_ms + core->config.session_idle_ms &&
            tombs_is_candidate(core, key, peer))
            tombs_tell_again(core, key, peer, now_ms);
    }
}

/* Whom it ended for, or its home, may not have been reached by who tells us: should that die before
 * they are, one of them would carry on what is over, and ask others than us. */
static void tombs_stand_in(struct core *core, struct peer_id from, const struct session_id *id,
                           uint64_t now_ms)
{
    struct peer_id peers[TOMBS_HOLDERS + 1];
    size_t count = owner_candidates(core, id, peers, TOMBS_HOLDERS + 1);
    for (size_t n = 0; n < count; n++)
        if (!peer_id_equal(peers[n], from) && !peer_id_equal(peers[n], core_self(core)))
            telling_begin(core, id, peers[n], from, now_ms);
}

/* Who told us may die before it has told all who have a copy, or whoever carries it on: we tell
 * them as well. */
static void tombs_note_ended(struct core *core, struct peer_id from, const struct wire_message *m,
                             uint64_t now_ms)
{
    bool is_final = m->kind == WIRE_ENDED && m->is_ended;
    const struct tomb *tomb = tombs_find(core, &m->session, now_ms);
    bool is_news = tomb == NULL || !tomb->is_final;
    struct session *owned = session_find(core, &m->session);
    struct session *copy = session_find_copy(core, &m->session);
    if (owned != NULL && !is_final) { /* ours to end; but nothing is said below what there was */
        fence_claimed(core, &m->session, m->epoch, now_ms);
        return;
    }
    if (copy != NULL && !is_final && mesh_epoch_compare(copy->epoch, m->epoch) > 0)
        return; /* it went on elsewhere */
    tombs_add(core, &m->session, m->epoch, is_final, now_ms);
    if (owned != NULL) {
        owned->is_deleted = true;
        serve_end_session(core, owned, MESH_SESSION_ENDED, now_ms);
    } else if (copy != NULL) {
        struct session_id id = copy->id;
        struct peer_id others[COPIES_HOLDERS_MAX + 1] = {copy->epoch.owner};
        for (size_t n = 0; n < COPIES_HOLDERS_MAX; n++)
            others[n + 1] = copy->holders[n].peer;
        session_free(core, copy);
        for (size_t n = 0; is_final && n < COPIES_HOLDERS_MAX + 1; n++)
            if (!peer_id_is_nobody(others[n]) && !peer_id_equal(others[n], from) &&
                !peer_id_equal(others[n], core_self(core)))
                tombs_tell_again(core, &id, others[n], now_ms);
    }
    if (is_final && is_news && owned == NULL)
        tombs_stand_in(core, from, &m->session, now_ms);
}

/* It takes the session for one that is owned, or may be. Lists of sessions are looked through by
 * copies.h, and who looks for one is answered by owner.h. */
static bool tombs_is_word_of_life(const struct wire_message *m)
{
    return m->kind == WIRE_COPY || m->kind == WIRE_COPY_EVENT || m->kind == WIRE_COPY_STREAM ||
           (m->kind >= WIRE_TAKE && m->kind <= WIRE_HANDED) ||
           (m->kind == WIRE_FOUND && m->epoch.counter != 0);
}

bool tombs_answer(struct core *core, struct peer_id from, const struct wire_message *m,
                  uint64_t now_ms)
{
    const struct tomb *tomb =
        tombs_is_word_of_life(m) ? tombs_find(core, &m->session, now_ms) : NULL;
    if (tomb == NULL || !tomb->is_final)
        return false;
    tombs_say(core, from, &m->session, now_ms);
    return true;
}

void tombs_on_deleted(struct core *core, const struct session_id *id, struct mesh_epoch epoch,
                      uint64_t now_ms)
{
    struct wire_message ended = {
        .kind = WIRE_ENDED, .session = *id, .epoch = epoch, .is_ended = true};
    if (!peer_id_equal(epoch.owner, core_self(core)))
        tombs_note_ended(core, epoch.owner, &ended, now_ms);
}

/* Who told us does not reach it: what it wants told, we tell as well. */
static void tombs_tell_for(struct core *core, struct peer_id from, const struct session_id *id,
                           struct peer_id unaware, uint64_t now_ms)
{
    struct telling_key key = telling_key(id, unaware);
    if (!core_is_living(core, unaware) || peer_id_equal(unaware, core_self(core)) ||
        !tombs_is_final(core, id, now_ms))
        return;
    telling_begin(core, id, unaware, from, now_ms);
    struct telling *telling = telling_find(&core->tombs, &key);
    if (telling != NULL)
        telling->is_asked = true;
    tombs_say(core, unaware, id, now_ms);
}

void tombs_on_ended(struct core *core, struct peer_id from, const struct wire_message *m,
                    uint64_t now_ms)
{
    struct wire_message found = {.kind = WIRE_FOUND, .session = m->session};
    if (!key_verify(&core->keys, &m->session))
        return;
    tombs_note_ended(core, from, m, now_ms);
    if (m->kind != WIRE_ENDED)
        return;
    tombs_tell_for(core, from, &m->session, m->ended.unaware, now_ms);
    found.is_ended = tombs_has(core, &m->session, now_ms);
    tombs_send(core, from, &found, now_ms);
}
