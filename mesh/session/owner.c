/* owner.c - where a session's owner is. */
#include "mesh/session/owner.h"

#include <errno.h>
#include <stdlib.h>

#include "mesh/session/core.h"

int owner_init(struct core *core)
{
    struct owner *o = &core->owner;
    memset(o, 0, sizeof *o);
    o->searches = calloc(OWNER_SEARCHES_MAX, sizeof *o->searches);
    if (o->searches == NULL)
        return -ENOMEM;
    newest_init(&o->hints, sizeof(struct session_id), sizeof(struct mesh_epoch), OWNER_HINTS_MAX,
                core->sip_key);
    table_init(&o->search_slots, sizeof(struct session_id), core->sip_key);
    return 0;
}

void owner_deinit(struct core *core)
{
    struct owner *o = &core->owner;
    newest_deinit(&o->hints);
    table_deinit(&o->search_slots);
    free(o->searches);
}

/* NULL: none. */
static struct mesh_epoch *owner_hint_of(const struct owner *o, const struct session_id *id)
{
    return newest_find(&o->hints, id->bytes);
}

static struct owner_search *owner_search_of(const struct owner *o, const struct session_id *id)
{
    uint32_t slot = 0;
    return table_get(&o->search_slots, id->bytes, &slot) ? &o->searches[slot] : NULL;
}

struct mesh_epoch owner_hint(const struct core *core, const struct session_id *id)
{
    const struct mesh_epoch *hint = owner_hint_of(&core->owner, id);
    return hint != NULL ? *hint : (struct mesh_epoch){0};
}

void owner_learn(struct core *core, const struct session_id *id, struct mesh_epoch epoch)
{
    struct owner *o = &core->owner;
    if (epoch.counter == 0)
        return;
    struct mesh_epoch *hint = owner_hint_of(o, id);
    /* The home is asked anyway: only what the id does not say is worth a place. That others owned
     * it before the home does again is worth one. */
    if (hint == NULL && epoch.counter == 1 && view_home_tag(epoch.owner) == key_home(id))
        return;
    if (hint == NULL)
        hint = newest_put(&o->hints, id->bytes);
    if (hint == NULL || mesh_epoch_compare(*hint, epoch) >= 0)
        return;
    *hint = epoch;
    o->risen++;
}

/* Invariant N1: a home that fell silent lately may come back with the session. One whose name
 * lives on in a newer generation keeps no memory and does not count. */
static bool owner_may_come_back(const struct core *core, const struct mesh_member *home,
                                uint64_t now_ms)
{
    uint64_t silent_ms = view_silent_ms(core->view, home);
    if (silent_ms == 0 || silent_ms + core->config.silent_window_ms <= now_ms)
        return false;
    const struct mesh_member *newest = view_find_name(core->view, home->record->id.name);
    return newest == NULL || newest->record->id.generation == home->record->id.generation;
}

/* Whoever fell silent lately may hold the record. Who started lately may never have met somebody
 * who is only cut off, unless it is the session's home itself. */
static bool owner_somebody_is_missing(const struct core *core, bool is_ours, uint64_t now_ms)
{
    if (!is_ours && core->config.has_contacts &&
        now_ms < core->started_ms + core->config.silent_window_ms)
        return true;
    for (size_t n = 0; n < view_count(core->view); n++)
        if (owner_may_come_back(core, view_at(core->view, n), now_ms))
            return true;
    return false;
}

/* "Nobody has it" means nothing while we look for the mesh and have found nobody, nor while
 * members are still becoming known: the home may be among the next. */
static bool owner_knows_the_mesh(const struct core *core, uint64_t now_ms)
{
    if (!core->config.has_contacts)
        return true;
    return view_others(core->view) > 0 ? now_ms >= core->view_changed_ms + OWNER_SETTLED_MS
                                       : now_ms >= core->started_ms + core->config.silent_window_ms;
}

/* Invariant N1: all members were asked, none has it, and nobody who might is only silent. */
static bool owner_is_nowhere(const struct core *core, const struct owner_search *search,
                             bool is_ours, uint64_t now_ms)
{
    return search->is_whole && !search->home_is_known &&
           !owner_somebody_is_missing(core, is_ours, now_ms);
}

/* A home that somebody knows of may still come with the views that are exchanged now. */
static bool owner_search_has_settled(const struct core *core, const struct owner_search *search,
                                     uint64_t now_ms)
{
    uint64_t over_ms = search->until_ms - OWNER_NEGATIVE_MS;
    return search->home_is_known ? now_ms >= over_ms + OWNER_SEARCH_MS
                                 : owner_knows_the_mesh(core, now_ms);
}

bool owner_can_be_asked(const struct core *core, struct peer_id peer, uint64_t now_ms)
{
    return core_is_living(core, peer) && !evidence_is_unreachable(core, peer, now_ms);
}

/* As far as we know, who have one of it ourselves. */
static bool owner_has_copy(const struct core *core, const struct session *copy, struct peer_id peer)
{
    return peer_id_equal(peer, core_self(core)) || copies_is_holder(copy, peer);
}

/* Who is to be asked in place of `gone`: who is known to have a record, who says that it carries
 * the shard on, the first candidate; who has a copy knows which of those have one, too. It may be
 * we ourselves, or nobody. */
static struct peer_id owner_successor(struct core *core, const struct session_id *id,
                                      struct peer_id gone, uint64_t now_ms)
{
    const struct owner_search *search = owner_search_of(&core->owner, id);
    struct peer_id peers[MESH_CANDIDATES_MAX], claimant;
    const struct session *copy = session_find_copy(core, id);
    bool has_copy = copy != NULL;
    if (search != NULL && !has_copy && search->holds.counter != 0 &&
        owner_can_be_asked(core, search->holder, now_ms))
        return search->holder;
    if (swim_claimant(core->swim, key_shard(id), &claimant, now_ms) &&
        !peer_id_equal(claimant, gone) && owner_can_be_asked(core, claimant, now_ms))
        return claimant;
    size_t count = owner_candidates(core, id, peers, MESH_CANDIDATES_MAX);
    for (size_t n = 0; n < count; n++)
        if (!peer_id_equal(peers[n], gone) && owner_can_be_asked(core, peers[n], now_ms) &&
            (!has_copy || owner_has_copy(core, copy, peers[n])))
            return peers[n];
    return has_copy ? core_self(core) : (struct peer_id){0};
}

/* Somebody is known to own it, or to have owned it: a record here, or a hint. */
static void owner_resolve_known(struct core *core, const struct session_id *id,
                                struct owner_found *found, uint64_t now_ms)
{
    struct peer_id owner = found->epoch.owner;
    if (!peer_id_equal(owner, core_self(core)) && owner_can_be_asked(core, owner, now_ms)) {
        found->verdict = OWNER_THERE;
        found->peer = owner;
        return;
    }
    found->verdict = OWNER_GONE;
    found->peer = owner_successor(core, id, owner, now_ms);
    if (core_is_living(core, owner)) /* it was not asked, and may answer yet */
        found->is_searched = false;
}

/* Nobody here knows more than its id says. */
static void owner_resolve_by_home(struct core *core, const struct session_id *id,
                                  struct owner_found *found, uint64_t now_ms)
{
    const struct mesh_member *home = view_find_tag(core->view, key_home(id));
    const struct owner_search *search = owner_search_of(&core->owner, id);
    bool is_ours = home != NULL && peer_id_equal(home->record->id, core_self(core));
    if (home != NULL && !is_ours && member_is_living(home)) {
        bool is_lost = evidence_is_unreachable(core, home->record->id, now_ms);
        found->verdict = is_lost ? OWNER_GONE : OWNER_THERE;
        found->is_searched = found->is_searched && !is_lost; /* likewise */
        found->peer =
            is_lost ? owner_successor(core, id, home->record->id, now_ms) : home->record->id;
    } else if (found->is_searched && owner_is_nowhere(core, search, is_ours, now_ms)) {
        found->verdict = OWNER_ENDED;
    } else if (home != NULL && !is_ours) {
        found->verdict = OWNER_GONE;
        found->peer = owner_successor(core, id, home->record->id, now_ms);
    } else { /* what was minted here may have gone on elsewhere, and we were told to forget it */
        found->verdict = found->is_searched ? OWNER_GONE : OWNER_AWAY;
        if (found->is_searched)
            found->peer =
                owner_successor(core, id, is_ours ? home->record->id : (struct peer_id){0}, now_ms);
    }
}

/* "Nobody has it" is believed for a while; not if somebody came since, who was not asked. */
static bool owner_search_counts(const struct core *core, const struct owner_search *search,
                                uint64_t now_ms)
{
    return search->until_ms > now_ms && search->came == core->owner.came;
}

/* Somebody has a record. One of the epoch in which we minted it is nothing to go on with: had it
 * not ended, we would have it, or a later one would be known. */
static bool owner_has_holder(const struct core *core, const struct owner_search *search,
                             uint64_t now_ms)
{
    return search->holds.counter != 0 && search->until_ms > now_ms &&
           owner_can_be_asked(core, search->holder, now_ms) &&
           (search->holds.counter > 1 || !peer_id_equal(search->holds.owner, core_self(core)));
}

void owner_resolve(struct core *core, const struct session_id *id, struct owner_found *found,
                   uint64_t now_ms)
{
    memset(found, 0, sizeof *found);
    const struct session *session = session_find(core, id);
    if (session != NULL) {
        found->verdict = OWNER_HERE;
        found->peer = core_self(core);
        found->epoch = session->epoch;
        return;
    }
    const struct session *copy = session_find_copy(core, id);
    const struct owner_search *search = owner_search_of(&core->owner, id);
    struct mesh_epoch hint = owner_hint(core, id);
    bool has_holder = search != NULL && owner_has_holder(core, search, now_ms);
    found->is_searched = search != NULL && search->is_over &&
                         owner_search_counts(core, search, now_ms) && !has_holder &&
                         owner_search_has_settled(core, search, now_ms);
    found->epoch = hint;
    found->hint = hint.owner;
    if (copy != NULL && mesh_epoch_compare(copy->epoch, hint) > 0)
        found->epoch = copy->epoch;
    if (copy != NULL)
        found->is_searched = false;
    if (has_holder && mesh_epoch_compare(search->holds, found->epoch) > 0)
        found->epoch = search->holds;
    bool was_asked = search != NULL && search->is_over && owner_search_counts(core, search, now_ms);
    if (!(has_holder && search->is_owned) && tombs_ends(core, id, found->epoch, now_ms))
        found->verdict = was_asked || tombs_is_sure(core, id, now_ms) ? OWNER_ENDED : OWNER_AWAY;
    else if (copy != NULL || has_holder ||
             (hint.counter != 0 && core_is_living(core, hint.owner) &&
              !peer_id_equal(hint.owner, core_self(core))))
        owner_resolve_known(core, id, found, now_ms);
    else
        owner_resolve_by_home(core, id, found, now_ms);
}

size_t owner_candidates(struct core *core, const struct session_id *id, struct peer_id *peers,
                        size_t peers_max)
{
    size_t count = 0;
    struct peer_id walk[MESH_CANDIDATES_MAX];
    const struct mesh_member *home = view_find_tag(core->view, key_home(id));
    if (home != NULL && core_is_living(core, home->record->id) && count < peers_max)
        peers[count++] = home->record->id;
    (void)ring_sync(&core->ring, core->view, core->config.rings);
    size_t walked = ring_walk(&core->ring, key_point(id), walk, MESH_CANDIDATES_MAX);
    for (size_t n = 0; n < walked && count < peers_max; n++)
        if (home == NULL || !peer_id_equal(walk[n], home->record->id))
            peers[count++] = walk[n];
    return count;
}

/* At most so many searches a second: made-up ids cannot be genuine, but lost ones can be many. */
static bool owner_search_allowed(struct owner *o, uint64_t now_ms)
{
    if (now_ms - o->rate_since_ms >= 1000) {
        o->rate_since_ms = now_ms;
        o->rate_count = 0;
    }
    return o->rate_count++ < OWNER_SEARCHES_PER_S;
}

bool owner_search(struct core *core, const struct session_id *id, uint64_t now_ms)
{
    struct owner *o = &core->owner;
    struct owner_search *search = owner_search_of(o, id);
    if (search != NULL && (!search->is_over || owner_search_counts(core, search, now_ms)) &&
        search->until_ms > now_ms)
        return true;
    bool runs = search != NULL && !search->is_over; /* its time is up, which nobody noted yet */
    if (!owner_search_allowed(o, now_ms))
        return false;
    if (search == NULL) {
        uint32_t slot = o->searches_next++ % OWNER_SEARCHES_MAX;
        search = &o->searches[slot];
        if (search->is_used && !search->is_over)
            o->searching--; /* the oldest gives way: who waits for it asks anew */
        if (search->is_used)
            table_remove(&o->search_slots, search->id.bytes);
        search->is_used = table_put(&o->search_slots, id->bytes, slot) == 0;
        search->id = *id;
        if (!search->is_used)
            return false;
    }
    search->asked = search->answered = 0;
    search->is_over = search->home_is_known = search->is_owned = false;
    search->is_whole = true;
    search->came = o->came;
    search->holds = (struct mesh_epoch){0};
    if (!runs)
        o->searching++;
    search->until_ms = now_ms + OWNER_SEARCH_MS;
    struct wire_message find = {.kind = WIRE_FIND, .session = *id, .has_session = true};
    for (size_t n = 0; n < view_count(core->view); n++) {
        const struct mesh_member *member = view_at(core->view, n);
        if (!core_is_living(core, member->record->id) ||
            peer_id_equal(member->record->id, core_self(core)))
            continue;
        if (links_tell(core->links, member->record->id, &member->record->addr, &find, now_ms) >= 0)
            search->asked++;
        else
            search->is_whole = false;
    }
    return true;
}

void owner_on_member(struct core *core, enum member_state from, enum member_state to)
{
    core->owner.came += !member_state_is_living(from) && member_state_is_living(to);
}

void owner_on_find(struct core *core, struct peer_id from, const struct wire_message *m,
                   uint64_t now_ms)
{
    struct wire_message found = {.kind = WIRE_FOUND, .session = m->session, .has_session = true};
    const struct session *session = session_find(core, &m->session);
    const struct session *copy = session_find_copy(core, &m->session);
    const struct mesh_member *home = view_find_tag(core->view, key_home(&m->session));
    if (session != NULL) {
        found.epoch = session->epoch;
    } else if (tombs_ends(core, &m->session, found.epoch, now_ms)) {
        found.is_ended = true;
        tombs_say(core, from, &m->session, now_ms);
    } else if (copy != NULL) {
        found.epoch = copy->epoch;
        found.has_copy = true;
    } else if (home != NULL &&
               (member_is_living(home) || owner_may_come_back(core, home, now_ms))) {
        found.epoch.owner = home->record->id; /* no record here, but its home lives, or may yet */
    }
    const struct mesh_addr *addr = core_addr_of(core, from);
    if (addr != NULL && key_verify(&core->keys, &m->session))
        (void)links_tell(core->links, from, addr, &found, now_ms);
}

static void owner_search_end(struct core *core, struct owner_search *search, uint64_t now_ms)
{
    search->is_over = true;
    search->is_whole = search->is_whole && search->answered >= search->asked;
    if (search->is_owned)
        tombs_forget(core, &search->id);
    else if (search->is_whole)
        tombs_confirm(core, &search->id, search->came, now_ms);
    core->owner.searching--;
    search->until_ms = now_ms + OWNER_NEGATIVE_MS;
    entry_wake(core);
}

void owner_meet(struct core *core, struct peer_id peer, uint64_t now_ms)
{
    struct wire_message sums = {.kind = WIRE_BUCKETS_ARE};
    swim_exchange_begin(core->swim, peer, &sums);
    (void)links_tell(core->links, peer, core_addr_of(core, peer), &sums, now_ms);
}

void owner_on_found(struct core *core, struct peer_id from, const struct wire_message *m,
                    uint64_t now_ms)
{
    struct owner_search *search = owner_search_of(&core->owner, &m->session);
    if (search == NULL || search->is_over)
        return;
    if (m->is_ended) {
        tombs_on_ended(core, from, m, now_ms);
        entry_wake(core);
    } else if (m->epoch.counter != 0) {
        /* an owner goes on above what ended elsewhere, and counts more than any copy */
        bool owns = !m->has_copy && peer_id_equal(m->epoch.owner, from);
        bool is_better =
            owns != search->is_owned ? owns : mesh_epoch_compare(m->epoch, search->holds) > 0;
        owner_learn(core, &m->session, m->epoch);
        if (is_better && (owns || m->has_copy)) {
            search->is_owned = owns;
            search->holder = from;
            search->holds = m->epoch;
        }
        entry_wake(core);
    } else if (!peer_id_is_nobody(m->epoch.owner) && !search->home_is_known &&
               !peer_id_equal(m->epoch.owner, core_self(core))) {
        search->home_is_known = true;
        owner_meet(core, from, now_ms); /* it knows the home, we do not: that is asked then */
    }
    if (++search->answered >= search->asked)
        owner_search_end(core, search, now_ms);
}

/* One that runs, the youngest first, or NULL. Those that do are among the last to have begun: not
 * many are looked at. `*n` begins at 0, `*left` at how many run. */
static struct owner_search *owner_search_next(const struct owner *o, uint32_t *n, uint32_t *left)
{
    while (*left > 0 && *n < OWNER_SEARCHES_MAX) {
        struct owner_search *search = &o->searches[(o->searches_next - ++*n) % OWNER_SEARCHES_MAX];
        if (!search->is_used || search->is_over)
            continue;
        --*left;
        return search;
    }
    return NULL;
}

void owner_now(struct core *core, uint64_t now_ms)
{
    uint32_t n = 0, left = core->owner.searching;
    struct owner_search *search;
    while ((search = owner_search_next(&core->owner, &n, &left)) != NULL)
        if (search->until_ms <= now_ms || search->asked == 0)
            owner_search_end(core, search, now_ms);
}

uint64_t owner_deadline_ms(const struct core *core)
{
    uint64_t deadline = MESH_NEVER;
    uint32_t n = 0, left = core->owner.searching;
    const struct owner_search *search;
    while ((search = owner_search_next(&core->owner, &n, &left)) != NULL)
        if (search->until_ms < deadline)
            deadline = search->asked == 0 ? 0 : search->until_ms;
    return deadline;
}

void owner_why(struct core *core, struct slice id_text, struct mesh_why *why, uint64_t now_ms)
{
    struct session_id id;
    struct owner_found found;
    memset(why, 0, sizeof *why);
    why->verdict = OWNER_FOREIGN;
    why->well_formed = key_read(&id, id_text);
    why->genuine = why->well_formed && key_verify(&core->keys, &id);
    if (!why->genuine)
        return;
    owner_resolve(core, &id, &found, now_ms);
    const struct session *session = session_find(core, &id);
    const struct mesh_member *home = view_find_tag(core->view, key_home(&id));
    why->verdict = found.verdict;
    why->home = home == NULL ? MEMBER_UNKNOWN : home->state;
    if (home != NULL)
        why->home_id = home->record->id;
    why->owner = found.peer;
    why->hint = found.hint;
    (void)swim_claimant(core->swim, key_shard(&id), &why->claim, now_ms);
    if (session == NULL)
        session = session_find_copy(core, &id);
    if (session != NULL)
        why->record = session->epoch;
    why->was_handed = session != NULL && !session->is_copy && session->was_handed;
    why->candidates_count =
        (uint8_t)owner_candidates(core, &id, why->candidates, MESH_CANDIDATES_MAX);
}
