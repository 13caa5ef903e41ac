/* view.c - the member table and the rules of precedence. See view.h. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "mesh/member/view.h"

#define CLOCK_SET_MS 1577836800000u /* 2020: a wall clock before that was never set */
#define CLOCK_END_MS 4102444800000u /* 2100: no generation is from then */
#define DAY_MS (24u * 3600 * 1000)

struct row {
    struct mesh_member member;
    uint32_t use;      /* how often the slot was given out */
    uint32_t other_at; /* place in others[], while living */
    bool is_used;
};

struct view {
    uint32_t members_max, contacts_max;
    uint64_t boot_ms, start_ms;
    bool is_announced, is_leaving;
    uint64_t hash, ring_generation;
    uint64_t buckets[WIRE_BUCKETS];

    uint32_t slots, fresh; /* slots from `fresh` on were never used */
    uint32_t count, others_count, contacts_count, free_count;
    struct row *rows; /* [0] is ourselves */
    uint16_t *order;  /* slots by id */
    uint16_t *others; /* slots of the living but ourselves */
    uint16_t *free;
    uint64_t *tags; /* home tag << 16 | slot, sorted */

    struct view_change *changes; /* a ring of 2 * slots */
    uint32_t changes_at, changes_count;
};

/* ---- hashes ------------------------------------------------------------------------------- */

static uint64_t hash_words(const uint64_t *words, size_t count)
{
    uint8_t text[8 * 4];
    assert(count <= 4);
    for (size_t n = 0; n < count; n++) /* the same bytes on every machine */
        for (unsigned byte = 0; byte < 8; byte++)
            text[8 * n + byte] = (uint8_t)(words[n] >> (8 * byte));
    return XXH3_64bits(text, 8 * count);
}

uint64_t view_name_hash(const char *name)
{
    uint64_t hash = XXH3_64bits(name, strlen(name));
    return hash != 0 ? hash : 1;
}

uint64_t view_home_tag(struct peer_id id)
{
    return hash_words((uint64_t[]){id.name, id.generation}, 2) >> 16;
}

unsigned view_bucket_of(struct peer_id id)
{
    return (unsigned)(id.name >> 58);
}

static void sum_member(struct view *view, const struct mesh_member *m, bool add)
{
    uint64_t hash =
        hash_words((uint64_t[]){m->id.name, m->id.generation, m->nonce, m->version}, 4);
    if (!add)
        hash = 0 - hash;
    view->hash += hash;
    view->buckets[view_bucket_of(m->id)] += hash;
}

/* ---- rows --------------------------------------------------------------------------------- */

int view_new(struct view **viewp, const struct view_config *config)
{
    uint64_t slots = (uint64_t)config->members_max + config->contacts_max + 2;
    if (config->members_max == 0 || config->contacts_max == 0 || slots > VIEW_ROWS_MAX ||
        config->self.nonce == 0)
        return -EINVAL;
    struct view *view = calloc(1, sizeof *view);
    if (view == NULL)
        return -ENOMEM;
    view->slots = (uint32_t)slots;
    view->members_max = config->members_max;
    view->contacts_max = config->contacts_max;
    view->boot_ms = config->boot_ms;
    view->start_ms = config->start_ms;
    view->rows = calloc(slots, sizeof *view->rows);
    view->order = calloc(slots, sizeof *view->order);
    view->others = calloc(slots, sizeof *view->others);
    view->free = calloc(slots, sizeof *view->free);
    view->tags = calloc(slots, sizeof *view->tags);
    view->changes = calloc(2 * slots, sizeof *view->changes);
    if (!view->rows || !view->order || !view->others || !view->free || !view->tags ||
        !view->changes) {
        view_free(view);
        return -ENOMEM;
    }
    struct row *self = &view->rows[0];
    self->member = config->self;
    self->member.id = (struct peer_id){view_name_hash(config->self.name), 0};
    self->member.state = MEMBER_UNKNOWN;
    self->member.version = 1;
    self->member.incarnation = 0;
    self->member.silent_at = 0;
    self->is_used = true;
    view->fresh = 1;
    *viewp = view;
    return 0;
}

void view_free(struct view *view)
{
    if (view == NULL)
        return;
    free(view->rows);
    free(view->order);
    free(view->others);
    free(view->free);
    free(view->tags);
    free(view->changes);
    free(view);
}

static uint32_t slot_of(const struct view *view, const struct mesh_member *member)
{
    /* member is the first field of its row */
    return (uint32_t)((const struct row *)(const void *)member - view->rows);
}

/* The first place in order[] whose id is not below `id`. */
static uint32_t place_of(const struct view *view, struct peer_id id)
{
    uint32_t low = 0, high = view->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (peer_id_compare(view->rows[view->order[middle]].member.id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint32_t tag_place_of(const struct view *view, uint64_t key)
{
    uint32_t low = 0, high = view->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (view->tags[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void row_list(struct view *view, uint32_t slot)
{
    struct peer_id id = view->rows[slot].member.id;
    uint32_t at = place_of(view, id);
    uint64_t key = view_home_tag(id) << 16 | slot;
    uint32_t tag_at = tag_place_of(view, key);
    memmove(view->order + at + 1, view->order + at, (view->count - at) * sizeof *view->order);
    memmove(view->tags + tag_at + 1, view->tags + tag_at,
            (view->count - tag_at) * sizeof *view->tags);
    view->order[at] = (uint16_t)slot;
    view->tags[tag_at] = key;
    view->count++;
}

static void row_unlist(struct view *view, uint32_t slot)
{
    struct peer_id id = view->rows[slot].member.id;
    uint32_t at = place_of(view, id);
    uint32_t tag_at = tag_place_of(view, view_home_tag(id) << 16 | slot);
    assert(view->order[at] == slot);
    view->count--;
    memmove(view->order + at, view->order + at + 1, (view->count - at) * sizeof *view->order);
    memmove(view->tags + tag_at, view->tags + tag_at + 1,
            (view->count - tag_at) * sizeof *view->tags);
}

static void push_change(struct view *view, struct peer_id id, enum member_state from,
                        enum member_state to)
{
    uint32_t room = 2 * view->slots;
    if (view->changes_count == room) {
        view->changes_at = (view->changes_at + 1) % room;
        view->changes_count--;
    }
    view->changes[(view->changes_at + view->changes_count++) % room] =
        (struct view_change){id, from, to};
}

static bool is_gone(enum member_state state)
{
    return state == MEMBER_DEAD || state == MEMBER_LEFT;
}

static bool decides_ring(const struct mesh_member *a, const struct mesh_member *b)
{
    return member_is_living(a) != member_is_living(b) ||
           member_is_eligible(a) != member_is_eligible(b) ||
           (member_is_living(b) && (a->weight != b->weight || strcmp(a->zone, b->zone) != 0));
}

static void others_add(struct view *view, uint32_t slot)
{
    view->rows[slot].other_at = view->others_count;
    view->others[view->others_count++] = (uint16_t)slot;
}

static void others_remove(struct view *view, uint32_t slot)
{
    uint32_t at = view->rows[slot].other_at;
    uint16_t last = view->others[--view->others_count];
    view->others[at] = last;
    view->rows[last].other_at = at;
}

static void row_forget(struct view *view, uint32_t slot)
{
    struct row *row = &view->rows[slot];
    assert(slot != 0 && !member_is_living(&row->member));
    push_change(view, row->member.id, row->member.state, MEMBER_UNKNOWN);
    row_unlist(view, slot);
    view->contacts_count--;
    row->is_used = false;
    view->free[view->free_count++] = (uint16_t)slot;
}

/* Makes room among the contacts; `keep` stays. */
static void drop_oldest_contact(struct view *view, uint32_t keep)
{
    uint32_t oldest = 0;
    for (uint32_t n = 0; n < view->count; n++) {
        uint32_t slot = view->order[n];
        const struct mesh_member *m = &view->rows[slot].member;
        if (slot != 0 && slot != keep && !member_is_living(m) &&
            (oldest == 0 || m->silent_at < view->rows[oldest].member.silent_at))
            oldest = slot;
    }
    if (oldest != 0)
        row_forget(view, oldest);
}

/* Puts a new state of affairs in place and settles everything that is counted from it. */
static void row_set(struct view *view, uint32_t slot, const struct mesh_member *now_is,
                    uint64_t now_ms)
{
    struct mesh_member *m = &view->rows[slot].member;
    const struct mesh_member was = *m;
    bool lived = member_is_living(&was), lives = member_is_living(now_is);

    if (lived)
        sum_member(view, &was, false);
    if (decides_ring(&was, now_is))
        view->ring_generation++;
    *m = *now_is;
    if (lives)
        sum_member(view, m, true);
    if (lives && !lived) {
        m->silent_at = 0;
        if (slot != 0)
            others_add(view, slot);
        if (slot != 0 && was.state != MEMBER_UNKNOWN)
            view->contacts_count--;
    } else if (is_gone(now_is->state) && !is_gone(was.state)) {
        m->silent_at = now_ms != 0 ? now_ms : 1;
        if (slot != 0 && lived)
            others_remove(view, slot);
        if (slot != 0)
            view->contacts_count++;
        if (view->contacts_count > view->contacts_max)
            drop_oldest_contact(view, slot);
    }
    if (was.state != now_is->state)
        push_change(view, now_is->id, was.state, now_is->state);
}

static bool has_room(const struct view *view)
{
    return view->others_count + 1 < view->members_max;
}

/* A new row in the given state; the caller made sure that a living one has room. */
static void row_add(struct view *view, const struct mesh_member *member, uint64_t now_ms)
{
    uint32_t slot = view->free_count > 0 ? view->free[--view->free_count] : view->fresh++;
    assert(slot < view->slots);
    struct row *row = &view->rows[slot];
    row->use++;
    row->is_used = true;
    memset(&row->member, 0, sizeof row->member);
    row->member.id = member->id;
    row_list(view, slot);
    row_set(view, slot, member, now_ms);
}

/* Every older generation of the name is dead: only one process lives under a name. */
static void supersede(struct view *view, struct peer_id id, uint64_t now_ms)
{
    uint32_t at = place_of(view, (struct peer_id){id.name, 0});
    while (at < view->count) {
        uint32_t slot = view->order[at];
        struct mesh_member m = view->rows[slot].member;
        if (m.id.name != id.name || m.id.generation >= id.generation)
            return;
        if (member_is_living(&m)) {
            m.state = MEMBER_DEAD;
            uint32_t count = view->count;
            row_set(view, slot, &m, now_ms);
            if (view->count < count) { /* a contact went: places moved */
                at = place_of(view, (struct peer_id){id.name, m.id.generation + 1});
                continue;
            }
        }
        at++;
    }
}

/* ---- ourselves ---------------------------------------------------------------------------- */

const struct mesh_member *view_self(const struct view *view)
{
    return &view->rows[0].member;
}

bool view_is_announced(const struct view *view)
{
    return view->is_announced;
}

int view_announce(struct view *view, uint64_t generation, uint64_t now_ms)
{
    struct mesh_member m = view->rows[0].member;
    const struct mesh_member *newest = view_find_name(view, m.id.name);
    assert(!view->is_announced && generation != 0);
    if (newest != NULL && newest->id.generation >= generation)
        return -EEXIST;
    m.id.generation = generation;
    m.state = MEMBER_ALIVE;
    view->rows[0].member.id = m.id;
    row_list(view, 0);
    view->is_announced = true;
    row_set(view, 0, &m, now_ms);
    supersede(view, m.id, now_ms);
    return 0;
}

bool view_set_flags(struct view *view, bool serving, bool draining, bool hold)
{
    struct mesh_member m = view->rows[0].member;
    if (m.serving == serving && m.draining == draining && m.hold == hold)
        return false;
    m.serving = serving;
    m.draining = draining;
    m.hold = hold;
    if (view->is_announced)
        m.version++;
    row_set(view, 0, &m, 0);
    return true;
}

void view_leave(struct view *view, uint64_t now_ms)
{
    struct mesh_member m = view->rows[0].member;
    view->is_leaving = true;
    if (m.state != MEMBER_ALIVE)
        return;
    m.state = MEMBER_LEFT;
    row_set(view, 0, &m, now_ms);
}

/* ---- questions ---------------------------------------------------------------------------- */

const struct mesh_member *view_find(const struct view *view, struct peer_id id)
{
    uint32_t at = place_of(view, id);
    if (at == view->count || !peer_id_equal(view->rows[view->order[at]].member.id, id))
        return NULL;
    return &view->rows[view->order[at]].member;
}

const struct mesh_member *view_find_name(const struct view *view, uint64_t name)
{
    uint32_t at = place_of(view, (struct peer_id){name, UINT64_MAX});
    if (at < view->count && view->rows[view->order[at]].member.id.name == name)
        return &view->rows[view->order[at]].member;
    if (at == 0 || view->rows[view->order[at - 1]].member.id.name != name)
        return NULL;
    return &view->rows[view->order[at - 1]].member;
}

/* Which of two rows to prefer, where only one can be meant. */
static const struct mesh_member *likelier(const struct mesh_member *a, const struct mesh_member *b)
{
    if (a == NULL || member_is_living(a) != member_is_living(b))
        return a == NULL || member_is_living(b) ? b : a;
    if (a->silent_at != b->silent_at)
        return a->silent_at < b->silent_at ? b : a;
    return peer_id_compare(a->id, b->id) < 0 ? b : a;
}

const struct mesh_member *view_find_tag(const struct view *view, uint64_t tag)
{
    const struct mesh_member *found = NULL;
    if (tag >> 48 != 0)
        return NULL;
    for (uint32_t at = tag_place_of(view, tag << 16);
         at < view->count && view->tags[at] >> 16 == tag; at++)
        found = likelier(found, &view->rows[view->tags[at] & 0xffff].member);
    return found;
}

const struct mesh_member *view_find_addr(const struct view *view, const struct mesh_addr *addr)
{
    const struct mesh_member *found = NULL;
    for (uint32_t n = 0; n < view->count; n++) {
        const struct mesh_member *m = &view->rows[view->order[n]].member;
        if (mesh_addr_equal(&m->addr, addr))
            found = likelier(found, m);
    }
    return found;
}

size_t view_count(const struct view *view)
{
    return view->count;
}

const struct mesh_member *view_at(const struct view *view, size_t n)
{
    assert(n < view->count);
    return &view->rows[view->order[n]].member;
}

size_t view_living(const struct view *view)
{
    return view->others_count + (member_is_living(&view->rows[0].member) ? 1u : 0u);
}

size_t view_others(const struct view *view)
{
    return view->others_count;
}

const struct mesh_member *view_other(const struct view *view, size_t n)
{
    assert(n < view->others_count);
    return &view->rows[view->others[n]].member;
}

size_t view_slots(const struct view *view)
{
    return view->slots;
}

struct handle view_handle(const struct view *view, const struct mesh_member *member)
{
    uint32_t slot = slot_of(view, member);
    return (struct handle){slot, view->rows[slot].use};
}

const struct mesh_member *view_by_handle(const struct view *view, struct handle handle)
{
    if (handle.slot >= view->slots)
        return NULL;
    const struct row *row = &view->rows[handle.slot];
    return row->is_used && row->use == handle.generation ? &row->member : NULL;
}

uint64_t view_hash(const struct view *view)
{
    return view->hash;
}

const uint64_t *view_buckets(const struct view *view)
{
    return view->buckets;
}

uint64_t view_ring_generation(const struct view *view)
{
    return view->ring_generation;
}

/* ---- news --------------------------------------------------------------------------------- */

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
    uint64_t bound = wall_ms < CLOCK_SET_MS ? CLOCK_END_MS : wall_ms + DAY_MS;
    if (id.generation <= bound)
        return true;
    const struct mesh_member *newest = view_find_name(view, id.name);
    return newest != NULL && id.generation <= newest->id.generation + VIEW_JUMP_MAX;
}

void view_believe_clock(struct view *view, uint64_t generation, uint64_t now_ms)
{
    uint64_t since_ms = now_ms - view->start_ms;
    if (generation < CLOCK_END_MS && generation > view->boot_ms + since_ms &&
        generation >= since_ms)
        view->boot_ms = generation - since_ms;
}

static bool is_record(const struct view *view, const struct mesh_member *m)
{
    size_t length = strnlen(m->name, sizeof m->name);
    if (length == 0 || length == sizeof m->name || view_name_hash(m->name) != m->id.name)
        return false;
    if (m->nonce == 0 || m->version == 0 || m->addr.port == 0 || m->weight == 0)
        return false;
    if (strnlen(m->zone, sizeof m->zone) == sizeof m->zone)
        return false;
    /* another machine's loopback is no place to send to (G19) */
    return !is_loopback(&m->addr) || is_loopback(&view_self(view)->addr);
}

/* The fields that a member writes itself. */
static void take_record(struct mesh_member *into, const struct mesh_member *from)
{
    memset(into->name, 0, sizeof into->name);
    memset(into->zone, 0, sizeof into->zone);
    memcpy(into->name, from->name, strlen(from->name)); /* is_record() measured both */
    memcpy(into->zone, from->zone, strlen(from->zone));
    into->nonce = from->nonce;
    into->version = from->version;
    into->addr = from->addr;
    into->weight = from->weight;
    into->serving = from->serving;
    into->draining = from->draining;
    into->hold = from->hold;
}

static bool jumps(uint64_t from, uint64_t to)
{
    return to > from && to - from > VIEW_JUMP_MAX;
}

/* News about our own generation. Who is wrong about us is told better; what it claims is outdone. */
static enum view_news apply_self(struct view *view, const struct wire_update *news)
{
    struct mesh_member m = view->rows[0].member;
    const struct mesh_member *said = &news->member;
    if (view->is_leaving || m.state != MEMBER_ALIVE)
        return VIEW_OLD;
    if (jumps(m.incarnation, said->incarnation))
        return VIEW_REFUSED;
    if (news->kind != UPDATE_ALIVE) {
        if (said->incarnation >= m.incarnation)
            m.incarnation = said->incarnation + 1;
    } else if (said->nonce != m.nonce) {
        /* A twin: it started in the same millisecond under our name. The higher nonce stays. */
        return said->nonce > m.nonce && is_record(view, said) ? VIEW_SUPERSEDED : VIEW_REFUTED;
    } else {
        if (jumps(m.version, said->version))
            return VIEW_REFUSED;
        if (said->incarnation <= m.incarnation && said->version <= m.version)
            return VIEW_OLD;
        if (said->incarnation > m.incarnation)
            m.incarnation = said->incarnation + 1;
        if (said->version > m.version)
            m.version = said->version + 1;
    }
    row_set(view, 0, &m, 0);
    return VIEW_REFUTED;
}

static enum view_news apply_alive_known(struct view *view, uint32_t slot,
                                        const struct mesh_member *said, uint64_t now_ms)
{
    struct mesh_member m = view->rows[slot].member;
    if (jumps(m.incarnation, said->incarnation) ||
        (m.nonce == said->nonce && jumps(m.version, said->version)))
        return VIEW_REFUSED;
    if (!member_is_living(&m)) {
        if (said->incarnation <= m.incarnation)
            return VIEW_OLD;
        if (view_find_name(view, m.id.name)->id.generation != m.id.generation)
            return VIEW_OLD; /* superseded is for good */
        if (!has_room(view))
            return VIEW_REFUSED;
        m.state = MEMBER_ALIVE;
        m.incarnation = said->incarnation;
        if (said->version > m.version)
            take_record(&m, said);
        row_set(view, slot, &m, now_ms);
        return VIEW_NEW;
    }
    if (said->nonce < m.nonce)
        return VIEW_OLD;
    if (said->incarnation <= m.incarnation && said->version <= m.version && said->nonce == m.nonce)
        return VIEW_OLD;
    if (said->incarnation > m.incarnation) {
        m.incarnation = said->incarnation;
        m.state = MEMBER_ALIVE;
    }
    if (said->version > m.version || said->nonce > m.nonce)
        take_record(&m, said);
    row_set(view, slot, &m, now_ms);
    return VIEW_NEW;
}

static enum view_news apply_alive(struct view *view, const struct mesh_member *said,
                                  uint64_t now_ms)
{
    if (!is_record(view, said))
        return VIEW_REFUSED;
    const struct mesh_member *known = view_find(view, said->id);
    if (known != NULL)
        return apply_alive_known(view, slot_of(view, known), said, now_ms);
    const struct mesh_member *newest = view_find_name(view, said->id.name);
    if (newest != NULL && newest->id.generation > said->id.generation)
        return VIEW_OLD;
    if (said->incarnation > VIEW_FIRST_MAX || said->version > VIEW_FIRST_MAX)
        return VIEW_REFUSED;
    supersede(view, said->id, now_ms);
    if (!has_room(view))
        return VIEW_REFUSED;
    struct mesh_member m = {.id = said->id, .state = MEMBER_ALIVE};
    m.incarnation = said->incarnation;
    take_record(&m, said);
    row_add(view, &m, now_ms);
    return VIEW_NEW;
}

/* A suspicion, a death or a farewell. */
static enum view_news apply_evidence(struct view *view, const struct wire_update *news,
                                     uint64_t now_ms)
{
    const struct mesh_member *said = &news->member;
    enum member_state state = news->kind == UPDATE_SUSPECT ? MEMBER_SUSPECT
                              : news->kind == UPDATE_DEAD  ? MEMBER_DEAD
                                                           : MEMBER_LEFT;
    const struct mesh_member *known = view_find(view, said->id);
    if (known == NULL) {
        if (state == MEMBER_SUSPECT)
            return VIEW_OLD;
        if (said->incarnation > VIEW_FIRST_MAX || said->version > VIEW_FIRST_MAX)
            return VIEW_REFUSED;
        size_t living = view_living(view);
        struct mesh_member m = {.id = said->id, .state = state};
        m.incarnation = said->incarnation;
        if (said->name[0] != '\0' && is_record(view, said))
            take_record(&m, said);
        supersede(view, said->id, now_ms);
        row_add(view, &m, now_ms);
        return view_living(view) < living ? VIEW_NEW : VIEW_CONTACTED;
    }
    struct mesh_member m = *known;
    if (jumps(m.incarnation, said->incarnation))
        return VIEW_REFUSED;
    bool is_newer = said->incarnation > m.incarnation;
    if (said->incarnation < m.incarnation)
        return VIEW_OLD;
    m.incarnation = said->incarnation;
    enum view_news result = VIEW_NEW;
    if (!member_is_living(&m)) {
        /* Kept all the same: else an older "alive" could raise the dead (P4). */
        if (state == MEMBER_LEFT)
            m.state = MEMBER_LEFT;
        result = VIEW_OLD;
    } else if (state == MEMBER_SUSPECT && m.state == MEMBER_SUSPECT) {
        result = is_newer ? VIEW_NEW : VIEW_CONFIRMED;
    } else {
        m.state = state;
    }
    row_set(view, slot_of(view, known), &m, now_ms);
    return result;
}

enum view_news view_apply(struct view *view, const struct wire_update *news, uint64_t now_ms)
{
    struct peer_id id = news->member.id, self = view_self(view)->id;
    if (!view_is_plausible(view, id, now_ms))
        return VIEW_REFUSED;
    if (view->is_announced && peer_id_equal(id, self))
        return apply_self(view, news);
    enum view_news result = VIEW_OLD, record = VIEW_OLD;
    if (news->kind == UPDATE_ALIVE || (news->kind == UPDATE_SUSPECT && news->member.name[0]))
        record = apply_alive(view, &news->member, now_ms);
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
    update->member = *member;
}

void view_note_load(struct view *view, struct peer_id id, uint32_t load)
{
    const struct mesh_member *known = view_find(view, id);
    if (known != NULL)
        view->rows[slot_of(view, known)].member.load = load;
}

void view_forget(struct view *view, uint64_t now_ms)
{
    for (uint32_t n = view->count; n-- > 0;) {
        uint32_t slot = view->order[n];
        const struct mesh_member *m = &view->rows[slot].member;
        if (slot != 0 && !member_is_living(m) && now_ms - m->silent_at >= VIEW_CONTACT_MS)
            row_forget(view, slot);
    }
}

bool view_next_change(struct view *view, struct view_change *change)
{
    if (view->changes_count == 0)
        return false;
    *change = view->changes[view->changes_at];
    view->changes_at = (view->changes_at + 1) % (2 * view->slots);
    view->changes_count--;
    return true;
}
