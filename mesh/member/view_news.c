/* view_news.c - which piece of news outdoes which: SWIM's precedence by incarnation, over rows that
 * have generations and record versions besides. */
#include <string.h>

#include "mesh/base/mutant.h"
#include "mesh/member/view_state.h"

#define CLOCK_SET_MS 1577836800000u /* 2020: a wall clock before that was never set */
#define CLOCK_END_MS 4102444800000u /* 2100: no generation is from then */
#define DAY_MS (24u * 3600 * 1000)
#define REACH_MAX ((uint64_t)UINT32_MAX - VIEW_JUMP_MAX) /* of claims that one outdoes */

static bool is_loopback(const struct mesh_addr *addr)
{
    static const uint8_t v4[12] = {[10] = 0xff, [11] = 0xff};
    static const uint8_t v6[16] = {[15] = 1};
    return (memcmp(addr->ip, v4, sizeof v4) == 0 && addr->ip[12] == 127) ||
           memcmp(addr->ip, v6, sizeof v6) == 0;
}

bool view_is_plausible(const struct view *view, struct peer_id id, uint64_t now_ms)
{
    if (id.name == 0 || id.generation == 0)
        return false;
    uint64_t wall_ms = view->boot_ms + (now_ms - view->start_ms);
    bool is_judge = wall_ms >= CLOCK_SET_MS && !view->is_clock_behind;
    uint64_t bound = is_judge ? wall_ms + DAY_MS : CLOCK_END_MS;
    if (id.generation <= bound)
        return true;
    const struct mesh_member *newest = view_find_newest(view, id.name);
    return newest != NULL && id.generation <= newest->record->id.generation + VIEW_JUMP_MAX;
}

void view_believe_clock(struct view *view, uint64_t generation, uint64_t now_ms)
{
    uint64_t since_ms = now_ms - view->start_ms, wall_ms = view->boot_ms + since_ms;
    if (generation >= CLOCK_END_MS || generation <= wall_ms || generation < since_ms)
        return;
    /* when that peer started says little of when others did */
    view->is_clock_behind = view->is_clock_behind || generation - wall_ms > DAY_MS;
    view->boot_ms = generation - since_ms;
}

static bool is_record(const struct view *view, const struct mesh_record *m)
{
    size_t length = strnlen(m->name, sizeof m->name);
    if (length == 0 || length == sizeof m->name || view_name_hash(m->name) != m->id.name)
        return false;
    if (m->nonce == 0 || m->version == 0 || m->addr.port == 0 || m->weight == 0)
        return false;
    if (strnlen(m->zone, sizeof m->zone) == sizeof m->zone)
        return false;
    /* another machine's loopback is no place to send to (G19) */
    return !is_loopback(&m->addr) || is_loopback(&view_self(view)->record->addr);
}

/* Gives m, which is a copy of its row or to become one, the record that says so: to be put in place
 * by view_row_set() or view_row_add(), which has it then. False: no memory, m is as it was. */
static bool take_record(struct view *view, struct mesh_member *m, const struct mesh_record *says)
{
    const struct mesh_record *record = records_take(view->records, says);
    if (record == NULL)
        return false;
    if (record == m->record) /* the row has it already */
        records_give(view->records, record);
    m->record = record;
    return true;
}

static bool jumps(const struct view *view, uint64_t from, uint64_t to)
{
    return view->hears_subject ? to > REACH_MAX + 1 : to > from && to - from > VIEW_JUMP_MAX;
}

void view_hear_subject(struct view *view, bool is_subject)
{
    view->hears_subject = is_subject;
}

bool view_may_take(const struct view *view, const struct wire_update *news, uint64_t now_ms)
{
    const struct mesh_record *said = &news->record;
    const struct mesh_member *known = view_find(view, said->id);
    bool has_record = news->kind == UPDATE_ALIVE || said->name[0] != '\0';
    if (!view_is_plausible(view, said->id, now_ms) || (has_record && !is_record(view, said)))
        return false;
    if (known == NULL)
        return news->incarnation <= VIEW_FIRST_MAX && said->version <= VIEW_FIRST_MAX;
    bool is_twin = known->record->nonce != said->nonce;
    return !jumps(view, known->incarnation, news->incarnation) &&
           (!has_record || is_twin || !jumps(view, known->record->version, said->version));
}

void view_let_back(struct view *view, struct peer_id id)
{
    view->let_back = id;
}

/* A newer process has its name, or had: superseded is for good, but for one that outlived it. */
static bool is_superseded(const struct view *view, struct peer_id id)
{
    const struct mesh_member *of_name = view_find_name(view, id.name);
    return of_name != NULL && of_name->record->id.generation > id.generation &&
           (member_is_living(of_name) || !peer_id_equal(id, view->let_back));
}

/* Our own counter, raised so that it outdoes a claim about us. What lies far ahead is climbed to in
 * steps, as often as it is said: those who know us refuse larger ones. UINT64_MAX: out of reach. */
static uint64_t outdo(uint64_t ours, uint64_t claimed)
{
    if (claimed < ours)
        return ours;
    if (claimed > REACH_MAX)
        return UINT64_MAX;
    return claimed - ours < VIEW_JUMP_MAX / 2 ? claimed + 1 : ours + VIEW_JUMP_MAX / 2;
}

/* News about our own generation. Who is wrong about us is told better; what it claims is outdone.
 */
static enum view_news apply_self(struct view *view, const struct wire_update *news)
{
    struct mesh_member m = *view_self(view);
    struct mesh_record ours = *m.record;
    const struct mesh_record *said = &news->record;
    uint64_t incarnation = outdo(m.incarnation, news->incarnation);
    uint64_t version = outdo(ours.version, said->version);
    if (view->is_leaving || m.state != MEMBER_ALIVE || MUTANT(NO_REFUTE))
        return VIEW_OLD;
    if (incarnation == UINT64_MAX)
        return VIEW_REFUSED;
    if (news->kind != UPDATE_ALIVE) {
        m.incarnation = (uint32_t)incarnation;
    } else if (said->nonce != ours.nonce) {
        /* A twin: it started in the same millisecond under our name. The higher nonce stays. */
        return said->nonce > ours.nonce && is_record(view, said) ? VIEW_SUPERSEDED : VIEW_REFUTED;
    } else {
        bool is_forged = said->version > ours.version ||
                         (said->version == ours.version && record_hash(said) != record_hash(&ours));
        if (version == UINT64_MAX)
            return VIEW_REFUSED;
        if (news->incarnation <= m.incarnation && !is_forged)
            return VIEW_OLD;
        if (news->incarnation > m.incarnation)
            m.incarnation = (uint32_t)incarnation;
        ours.version = version;
        if (is_forged && !take_record(view, &m, &ours))
            return VIEW_REFUSED;
    }
    view_row_set(view, 0, &m, 0);
    return VIEW_REFUTED;
}

static enum view_news apply_alive_known(struct view *view, const struct mesh_member *known,
                                        const struct wire_update *news, uint64_t now_ms)
{
    struct mesh_member m = *known;
    const struct mesh_record *said = &news->record, *had = known->record;
    if (jumps(view, m.incarnation, news->incarnation) ||
        (had->nonce == said->nonce && jumps(view, had->version, said->version)))
        return VIEW_REFUSED;
    if (!member_is_living(&m)) {
        if (news->incarnation + MUTANT(RESURRECT) <= m.incarnation)
            return VIEW_OLD;
        if (is_superseded(view, said->id))
            return VIEW_OLD;
        view_supersede(view, said->id, now_ms); /* one that it had outlived */
        if (!view_has_room(view))
            return VIEW_REFUSED;
        if ((said->version > had->version || said->has_proof) && !take_record(view, &m, said))
            return VIEW_REFUSED;
        m.state = MEMBER_ALIVE;
        m.incarnation = news->incarnation;
        view_row_set(view, view_slot_of(view, known), &m, now_ms);
        return VIEW_NEW;
    }
    if (said->nonce < had->nonce)
        return VIEW_OLD;
    if (news->incarnation <= m.incarnation && said->version <= had->version &&
        said->nonce == had->nonce)
        return VIEW_OLD;
    /* with a proof, which is of this incarnation, it is no older */
    bool is_proved = said->has_proof && said->version == had->version;
    if ((said->version > had->version || said->nonce > had->nonce || is_proved) &&
        !take_record(view, &m, said))
        return VIEW_REFUSED;
    if (news->incarnation > m.incarnation) {
        m.incarnation = news->incarnation;
        m.state = MEMBER_ALIVE;
    }
    view_row_set(view, view_slot_of(view, known), &m, now_ms);
    return VIEW_NEW;
}

static enum view_news apply_alive(struct view *view, const struct wire_update *news,
                                  uint64_t now_ms)
{
    const struct mesh_record *said = &news->record;
    if (!is_record(view, said))
        return VIEW_REFUSED;
    const struct mesh_member *known = view_find(view, said->id);
    if (known != NULL)
        return apply_alive_known(view, known, news, now_ms);
    if (is_superseded(view, said->id))
        return VIEW_OLD;
    uint64_t first_max = view->hears_subject ? REACH_MAX + 1 : VIEW_FIRST_MAX;
    if (news->incarnation > first_max || said->version > first_max)
        return VIEW_REFUSED;
    view_supersede(view, said->id, now_ms);
    if (!view_has_room(view))
        return VIEW_REFUSED;
    struct mesh_member m = {.state = MEMBER_ALIVE, .incarnation = news->incarnation};
    if (!take_record(view, &m, said) || !view_row_add(view, &m, now_ms))
        return VIEW_REFUSED;
    return VIEW_NEW;
}

/* The end of somebody never met. */
static enum view_news apply_end_unknown(struct view *view, const struct wire_update *news,
                                        enum member_state state, uint64_t now_ms)
{
    const struct mesh_record *said = &news->record;
    if (news->incarnation > VIEW_FIRST_MAX || said->version > VIEW_FIRST_MAX)
        return VIEW_REFUSED;
    size_t living = view_living(view);
    struct mesh_member m = {.state = state, .incarnation = news->incarnation};
    const struct mesh_record nothing = {.id = said->id};
    bool is_known = said->name[0] != '\0' && is_record(view, said);
    view_supersede(view, said->id, now_ms);
    if (!take_record(view, &m, is_known ? said : &nothing) || !view_row_add(view, &m, now_ms))
        return view_living(view) < living ? VIEW_NEW : VIEW_REFUSED;
    return view_living(view) < living ? VIEW_NEW : VIEW_CONTACTED;
}

/* A suspicion, a death or a farewell. */
static enum view_news apply_evidence(struct view *view, const struct wire_update *news,
                                     uint64_t now_ms)
{
    enum member_state state = news->kind == UPDATE_SUSPECT ? MEMBER_SUSPECT
                              : news->kind == UPDATE_DEAD  ? MEMBER_DEAD
                                                           : MEMBER_LEFT;
    const struct mesh_member *known = view_find(view, news->record.id);
    if (known == NULL)
        return state == MEMBER_SUSPECT ? VIEW_OLD : apply_end_unknown(view, news, state, now_ms);
    struct mesh_member m = *known;
    if (jumps(view, m.incarnation, news->incarnation))
        return VIEW_REFUSED;
    bool is_newer = news->incarnation > m.incarnation;
    if (news->incarnation < m.incarnation)
        return VIEW_OLD;
    m.incarnation = news->incarnation;
    enum view_news result = VIEW_NEW;
    if (!member_is_living(&m)) {
        /* Kept all the same: else an older "alive" could raise the dead (P4). */
        if (state == MEMBER_LEFT)
            m.state = MEMBER_LEFT;
        if (state == MEMBER_LEFT && news->record.has_proof && !take_record(view, &m, &news->record))
            return VIEW_REFUSED;
        result = VIEW_OLD;
    } else if (state == MEMBER_SUSPECT && m.state == MEMBER_SUSPECT) {
        result = is_newer ? VIEW_NEW : VIEW_CONFIRMED;
    } else {
        bool has_proof = state == MEMBER_LEFT && news->record.has_proof;
        if (has_proof && !take_record(view, &m, &news->record))
            return VIEW_REFUSED;
        m.state = state;
    }
    view_row_set(view, view_slot_of(view, known), &m, now_ms);
    return result;
}

enum view_news view_apply(struct view *view, const struct wire_update *news, uint64_t now_ms)
{
    struct peer_id id = news->record.id, self = view_self(view)->record->id;
    if (!view_is_plausible(view, id, now_ms) || !view_changes_reserve(view, VIEW_CHANGES_EACH))
        return VIEW_REFUSED;
    if (view->is_announced && peer_id_equal(id, self))
        return apply_self(view, news);
    enum view_news result = VIEW_OLD, record = VIEW_OLD;
    if (news->kind == UPDATE_ALIVE || (news->kind == UPDATE_SUSPECT && news->record.name[0]))
        record = apply_alive(view, news, now_ms);
    if (record == VIEW_REFUSED || news->kind == UPDATE_ALIVE)
        result = record;
    else
        result = apply_evidence(view, news, now_ms);
    if (record == VIEW_NEW)
        result = VIEW_NEW;
    if (view->is_announced && id.name == self.name && id.generation > self.generation &&
        (result == VIEW_NEW || result == VIEW_CONTACTED))
        return VIEW_SUPERSEDED;
    return result;
}

void view_tell(const struct mesh_member *member, struct wire_update *update)
{
    memset(update, 0, sizeof *update);
    switch (member->state) {
    case MEMBER_UNKNOWN:
    case MEMBER_ALIVE:
        update->kind = UPDATE_ALIVE;
        break;
    case MEMBER_SUSPECT:
        update->kind = UPDATE_SUSPECT;
        break;
    case MEMBER_DEAD:
        update->kind = UPDATE_DEAD;
        break;
    case MEMBER_LEFT:
        update->kind = UPDATE_LEFT;
        break;
    }
    update->record = *member->record;
    update->incarnation = member->incarnation;
}
