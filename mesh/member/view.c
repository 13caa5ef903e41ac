/* view.c - the member table: rows, sums, lookups. Which news outdoes which stands in view_news.c.
 * See view.h. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "mesh/member/view_state.h"

/* ---- hashes --------------------------------------------------------------------------------- */

static uint64_t hash_words(const uint64_t *words, size_t count)
{
    uint8_t text[8 * 5];
    assert(count <= 5);
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

uint64_t view_record_hash(const struct mesh_member *m)
{
    uint8_t text[sizeof m->addr.ip + 4 + sizeof m->zone];
    size_t length = sizeof m->addr.ip, zone_length = strnlen(m->zone, sizeof m->zone);
    memcpy(text, m->addr.ip, length);
    text[length++] = (uint8_t)m->addr.port;
    text[length++] = (uint8_t)(m->addr.port >> 8);
    text[length++] = m->weight;
    text[length++] = (uint8_t)(m->serving | m->draining << 1 | m->hold << 2);
    memcpy(text + length, m->zone, zone_length);
    return XXH3_64bits(text, length + zone_length);
}

static void sum_member(struct view *view, const struct mesh_member *m, bool add)
{
    uint64_t hash = hash_words(
        (uint64_t[]){m->id.name, m->id.generation, m->nonce, m->version, view_record_hash(m)}, 5);
    if (!add)
        hash = 0 - hash;
    view->hash += hash;
    view->buckets[view_bucket_of(m->id)] += hash;
}

/* ---- rows ----------------------------------------------------------------------------------- */

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

uint32_t view_slot_of(const struct view *view, const struct mesh_member *member)
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

void view_row_set(struct view *view, uint32_t slot, const struct mesh_member *now_is,
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

bool view_has_room(const struct view *view)
{
    return view->others_count + 1 < view->members_max;
}

void view_row_add(struct view *view, const struct mesh_member *member, uint64_t now_ms)
{
    uint32_t slot = view->free_count > 0 ? view->free[--view->free_count] : view->fresh++;
    assert(slot < view->slots);
    struct row *row = &view->rows[slot];
    row->use++;
    row->is_used = true;
    memset(&row->member, 0, sizeof row->member);
    row->member.id = member->id;
    row_list(view, slot);
    view_row_set(view, slot, member, now_ms);
}

void view_supersede(struct view *view, struct peer_id id, uint64_t now_ms)
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
            view_row_set(view, slot, &m, now_ms);
            if (view->count < count) { /* a contact went: places moved */
                at = place_of(view, (struct peer_id){id.name, m.id.generation + 1});
                continue;
            }
        }
        at++;
    }
}

/* ---- ourselves ------------------------------------------------------------------------------ */

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
    view_row_set(view, 0, &m, now_ms);
    view_supersede(view, m.id, now_ms);
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
    view_row_set(view, 0, &m, 0);
    return true;
}

void view_leave(struct view *view, uint64_t now_ms)
{
    struct mesh_member m = view->rows[0].member;
    view->is_leaving = true;
    if (m.state != MEMBER_ALIVE)
        return;
    m.state = MEMBER_LEFT;
    view_row_set(view, 0, &m, now_ms);
}

/* ---- questions ------------------------------------------------------------------------------ */

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
    uint32_t slot = view_slot_of(view, member);
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

/* ---- the rest ------------------------------------------------------------------------------- */

void view_note_load(struct view *view, struct peer_id id, uint32_t load)
{
    const struct mesh_member *known = view_find(view, id);
    if (known != NULL)
        view->rows[view_slot_of(view, known)].member.load = load;
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
