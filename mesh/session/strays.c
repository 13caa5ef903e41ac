/* strays.c - copies that nobody spoke of: each is confirmed by an owner, or moves on. Whoever has
 * one asks, at a bounded rate, whose it is: the owner of the highest epoch that it knows of; where
 * that is gone, or does not own it, the first candidates, one after the other. Who is asked always
 * says something definite: the owner, that it is to be kept (DIGEST, or all of it) or forgotten;
 * who knows of a higher epoch, which (FOUND, YIELD); who was named and does not own it, that
 * (YIELD): then it is nobody's, as if its owner were gone; who has nothing, that, and is given the
 * copy, so that a candidate has one and can take the session over (succession.h). Nobody but an
 * owner, or who knows of the session's end, has a copy forgotten (invariants O2, R1). */
#include "mesh/session/copies_inside.h"
#include "mesh/session/core.h"

#define STRAY_SOON_MS 500     /* one is asked about so soon, with others */
#define STRAY_SETTLE_MS 2500  /* so long after a change owners may still speak by themselves, */
#define STRAY_SILENT_MS 10000 /* but no longer than this, should there be ever more changes */
#define STRAY_CANDIDATES 3    /* are asked */

struct target {
    struct peer_id peer;
    struct mesh_epoch epoch; /* that it is asked about */
};

void strays_init(struct core *core)
{
    core->copies.strays = (struct strays){.at_ms = MESH_NEVER, .gap_ms = COPIES_ASK_MS};
}

void strays_soon(struct core *core, uint64_t at_ms)
{
    struct strays *s = &core->copies.strays;
    if (at_ms >= s->at_ms)
        return;
    s->at_ms = at_ms;
    s->slot = 0;
    s->has_left = false;
}

void strays_shake(struct core *core, uint64_t now_ms)
{
    struct strays *s = &core->copies.strays;
    s->shaken_ms = now_ms;
    s->gap_ms = COPIES_ASK_MS;
    strays_soon(core, now_ms + COPIES_ASK_MS);
}

void strays_confirm(struct session *copy, uint64_t now_ms)
{
    copy->copying.heard_ms = now_ms;
    copy->copying.asked = 0;
}

void strays_begin(struct core *core, struct session *copy, uint64_t now_ms)
{
    copy->copying.heard_ms = 0;
    copy->copying.asked = 0;
    core->copies.strays.gap_ms = COPIES_ASK_MS;
    strays_soon(core, now_ms + STRAY_SOON_MS);
}

/* ---- whose it is ---------------------------------------------------------------------------- */

static bool stray_is_given(const struct session *copy, struct mesh_epoch epoch)
{
    return mesh_epoch_compare(epoch, copy->given) == 0 ||
           mesh_epoch_compare(epoch, copy->given_other) == 0;
}

static bool stray_can_ask(const struct core *core, const struct session *copy,
                          struct mesh_epoch epoch)
{
    return core_is_living(core, epoch.owner) && !peer_id_equal(epoch.owner, core_self(core)) &&
           !stray_is_given(copy, epoch);
}

/* The highest epoch that somebody may own it in. */
static struct mesh_epoch stray_highest(const struct core *core, const struct session *copy)
{
    struct mesh_epoch highest = copy->epoch, hint = owner_hint(core, &copy->id);
    if (mesh_epoch_compare(hint, highest) > 0 && !stray_is_given(copy, hint))
        highest = hint;
    return mesh_epoch_compare(copy->promised, highest) > 0 ? copy->promised : highest;
}

/* Whose it was is gone, or owns it no more; so is who was to own it next. */
static bool stray_is_nobodys(const struct core *core, const struct session *copy)
{
    return !stray_can_ask(core, copy, stray_highest(core, copy)) &&
           !stray_can_ask(core, copy, copy->epoch);
}

static bool stray_is_unsure(const struct core *core, const struct session *copy, uint64_t now_ms)
{
    uint64_t heard_ms = copy->copying.heard_ms;
    return heard_ms < core->copies.strays.shaken_ms || heard_ms + COPIES_STALE_MS <= now_ms ||
           stray_is_nobodys(core, copy);
}

/* Its owner would have spoken of it by now. */
static bool stray_has_waited(const struct core *core, const struct session *copy, uint64_t now_ms)
{
    return copy->copying.heard_ms == 0 || copy->copying.heard_ms + STRAY_SILENT_MS <= now_ms ||
           core->copies.strays.shaken_ms + STRAY_SETTLE_MS <= now_ms;
}

/* ---- asking --------------------------------------------------------------------------------- */

static size_t stray_add(struct target *targets, size_t count, struct peer_id peer,
                        struct mesh_epoch epoch)
{
    for (size_t n = 0; n < count; n++)
        if (peer_id_equal(targets[n].peer, peer))
            return count;
    targets[count] = (struct target){peer, epoch};
    return count + 1;
}

static size_t stray_targets(struct core *core, const struct session *copy,
                            struct target targets[STRAY_CANDIDATES + 2])
{
    struct peer_id peers[STRAY_CANDIDATES + 1];
    struct mesh_epoch highest = stray_highest(core, copy);
    size_t count = 0, candidates = 0;
    if (stray_can_ask(core, copy, highest))
        count = stray_add(targets, count, highest.owner, highest);
    if (stray_can_ask(core, copy, copy->epoch))
        count = stray_add(targets, count, copy->epoch.owner, copy->epoch);
    size_t found = owner_candidates(core, &copy->id, peers, STRAY_CANDIDATES + 1);
    for (size_t n = 0; n < found && candidates < STRAY_CANDIDATES; n++) {
        if (peer_id_equal(peers[n], core_self(core)))
            continue;
        count = stray_add(targets, count, peers[n], copy->epoch);
        candidates++;
    }
    return count;
}

static void stray_say(struct core *core, const struct session *copy, struct target to,
                      uint64_t now_ms)
{
    bool is_its_own = mesh_epoch_compare(to.epoch, copy->epoch) == 0;
    struct wire_entry entry = {
        .session = copy->id, .flags = WIRE_ENTRY_ASKS, .epoch = to.epoch.counter};
    if (!peer_id_equal(to.peer, to.epoch.owner))
        entry.flags |= WIRE_ENTRY_OTHERS;
    else if (is_its_own)
        entry.version = copy->version;
    copies_collect(core, to.peer, WIRE_COPIED, &entry, now_ms);
}

static void stray_ask(struct core *core, struct session *copy, uint64_t now_ms)
{
    struct target targets[STRAY_CANDIDATES + 2];
    size_t count = stray_targets(core, copy, targets);
    if (count == 0)
        return;
    struct target to = targets[copy->copying.asked++ % count];
    copy->copying.asks_whose = !peer_id_equal(to.peer, to.epoch.owner);
    stray_say(core, copy, to, now_ms);
}

/* Somebody said that this one owns it. If that is what we asked, it is asked even if we knew of it,
 * and it has not answered so far. */
static void stray_follow(struct core *core, struct session *copy, struct mesh_epoch epoch,
                         uint64_t now_ms)
{
    bool is_news = mesh_epoch_compare(epoch, stray_highest(core, copy)) > 0;
    bool is_answer = copy->copying.asks_whose;
    copy->copying.asks_whose = false;
    owner_learn(core, &copy->id, epoch);
    if ((is_news || is_answer) && stray_can_ask(core, copy, epoch))
        stray_say(core, copy, (struct target){epoch.owner, epoch}, now_ms);
    copies_post(core, now_ms);
}

void copies_ask(struct core *core, const struct session *copy, struct mesh_epoch epoch,
                uint64_t now_ms)
{
    stray_say(core, copy, (struct target){epoch.owner, epoch}, now_ms);
    copies_post(core, now_ms);
}

/* ---- being asked ---------------------------------------------------------------------------- */

static void strays_tell(struct core *core, struct peer_id to, struct wire_message *m,
                        uint64_t now_ms)
{
    const struct mesh_addr *addr = core_addr_of(core, to);
    if (addr != NULL && key_verify(&core->keys, &m->session))
        (void)links_tell(core->links, to, addr, m, now_ms);
}

void strays_answer(struct core *core, struct peer_id from, const struct wire_entry *entry,
                   uint64_t now_ms)
{
    const struct session *copy = session_find_copy(core, &entry->session);
    struct mesh_epoch known = owner_hint(core, &entry->session);
    struct mesh_epoch mine = {entry->epoch, core_self(core)};
    struct wire_message m = {.session = entry->session, .has_session = true};
    if (copy != NULL && mesh_epoch_compare(copy->epoch, known) > 0)
        known = copy->epoch;
    bool is_others = entry->flags & WIRE_ENTRY_OTHERS;
    struct mesh_epoch its = {entry->epoch, is_others ? (struct peer_id){0} : core_self(core)};
    if (tombs_ends(core, &entry->session, its, now_ms)) {
        tombs_say(core, from, &entry->session, now_ms);
        return;
    }
    /* an epoch that we may yet be handed is not given up */
    bool may_come =
        copy != NULL && copy->tried < entry->epoch && copy->epoch.counter < entry->epoch;
    if (known.counter == 0 && key_home(&entry->session) == view_home_tag(core_self(core))) {
        m.kind = WIRE_ENDED; /* minted here, and it did not go elsewhere, whoever it names */
        m.epoch = (struct mesh_epoch){entry->epoch, {UINT64_MAX, UINT64_MAX}};
    } else if (!is_others && !may_come) {
        m.kind = WIRE_YIELD;
        m.epoch = mine;
        if (mesh_epoch_compare(known, mine) > 0)
            m.round.other = known;
    } else {
        m.kind = WIRE_FOUND;
        m.epoch = known;
        m.has_copy = copy != NULL;
    }
    strays_tell(core, from, &m, now_ms);
}

/* ---- answers -------------------------------------------------------------------------------- */

static bool stray_is_candidate(struct core *core, const struct session *copy, struct peer_id peer)
{
    struct peer_id peers[STRAY_CANDIDATES + 1];
    size_t count = owner_candidates(core, &copy->id, peers, STRAY_CANDIDATES + 1);
    for (size_t n = 0; n < count; n++)
        if (peer_id_equal(peers[n], peer))
            return true;
    return false;
}

void strays_on_found(struct core *core, struct peer_id from, const struct wire_message *m,
                     uint64_t now_ms)
{
    struct session *copy = session_find_copy(core, &m->session);
    int is_newer = copy != NULL ? mesh_epoch_compare(m->epoch, copy->epoch) : 0;
    if (copy == NULL || m->is_ended)
        return;
    /* of the epoch that we have as well: its owner did not hear us, or we not what it said */
    bool is_owned = is_newer > 0 || (is_newer == 0 && stray_can_ask(core, copy, m->epoch));
    if (m->epoch.counter != 0 && is_owned)
        stray_follow(core, copy, m->epoch, now_ms);
    else if (!(m->has_copy && is_newer == 0) && stray_is_nobodys(core, copy) &&
             stray_is_candidate(core, copy, from) && copies_may_move(core, now_ms))
        (void)copies_send(core, copy, from, now_ms);
}

void copies_on_granted(struct core *core, struct session *copy, uint64_t now_ms)
{
    strays_begin(core, copy, now_ms);
}

void copies_on_given(struct core *core, struct session *copy, struct mesh_epoch epoch,
                     struct mesh_epoch other, uint64_t now_ms)
{
    bool is_its_own = mesh_epoch_compare(epoch, copy->epoch) == 0;
    if (is_its_own)
        copy->given = epoch;
    else if (mesh_epoch_compare(epoch, owner_hint(core, &copy->id)) == 0)
        copy->given_other = epoch;
    if (is_its_own || mesh_epoch_compare(epoch, copy->given_other) == 0)
        strays_begin(core, copy, now_ms);
    if (other.counter != 0)
        stray_follow(core, copy, other, now_ms);
}

/* ---- time ----------------------------------------------------------------------------------- */

static void stray_look(struct core *core, struct session *copy, uint64_t now_ms)
{
    struct strays *s = &core->copies.strays;
    if (!stray_is_unsure(core, copy, now_ms))
        return;
    s->has_left = true;
    if (!stray_has_waited(core, copy, now_ms))
        return;
    if (stray_is_nobodys(core, copy) && succession_is_ours(core, copy))
        succession_look(core, now_ms);
    else
        stray_ask(core, copy, now_ms);
}

void strays_now(struct core *core, uint64_t now_ms)
{
    struct strays *s = &core->copies.strays;
    struct handle h;
    uint32_t span = pool_span(&core->sessions.pool), end = span;
    if (s->at_ms > now_ms)
        return;
    if (end > s->slot + COPIES_STEP_SLOTS)
        end = s->slot + COPIES_STEP_SLOTS;
    for (; s->slot < end; s->slot++) {
        struct session *session = pool_slot(&core->sessions.pool, s->slot, &h);
        if (session != NULL && session->is_copy)
            stray_look(core, session, now_ms);
    }
    copies_post(core, now_ms);
    if (end < span) {
        s->at_ms = now_ms + COPIES_STEP_MS;
        return;
    }
    s->at_ms = s->has_left ? now_ms + s->gap_ms : MESH_NEVER;
    s->gap_ms = 2 * s->gap_ms < COPIES_STALE_MS ? 2 * s->gap_ms : COPIES_STALE_MS;
    s->slot = 0;
    s->has_left = false;
}

uint64_t strays_deadline_ms(const struct core *core)
{
    return core->copies.strays.at_ms;
}
