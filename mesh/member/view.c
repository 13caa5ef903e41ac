/* view.c - the member table: rows, sums, lookups. Which news outdoes which stands in view_news.c.
 * See view.h. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "mesh/base/mutant.h"
#include "mesh/member/view_state.h"

#define NO_SLOT UINT16_MAX /* above every slot: VIEW_ROWS_MAX */
#define NAMES_BITS_FIRST 5
#define CHANGES_FIRST 16
#define STAMP_MAX ((uint32_t)1 << 31) /* then they are counted anew: 24 days */

/* ---- hashes --------------------------------------------------------------------------------- */

uint64_t view_name_hash(const char *name)
{
    uint64_t hash = XXH3_64bits(name, strlen(name));
    return hash != 0 ? hash : 1;
}

uint64_t view_home_tag(struct peer_id id)
{
    return record_hash_words((uint64_t[]){id.name, id.generation}, 2) >> 16;
}

unsigned view_bucket_of(struct peer_id id)
{
    return (unsigned)(id.name >> 58);
}

static void sum_member(struct view *view, const struct mesh_record *record, bool add)
{
    uint64_t sum = add ? records_sum(record) : 0 - records_sum(record);
    view->hash += sum;
    view->buckets[view_bucket_of(record->id)] += sum;
}

/* ---- rows ----------------------------------------------------------------------------------- */

static struct peer_id id_of(const struct view *view, uint32_t slot)
{
    return view_row(view, slot)->record->id;
}

/* The newest row of a name stands in names[] at the place that its hash says, or next behind. Who
 * chooses names that meet there, which only members can, makes a lookup as long as it has names:
 * the caps of the view bound that. */
static uint32_t name_place(const struct view *view, uint64_t name)
{
    uint32_t mask = ((uint32_t)1 << view->names_bits) - 1;
    uint32_t at = (uint32_t)((name ^ view->names_seed) * 0x9e3779b97f4a7c15u >> 32) & mask;
    while (view->names[at] != NO_SLOT && id_of(view, view->names[at]).name != name)
        at = (at + 1) & mask;
    return at;
}

static uint32_t newest_of(const struct view *view, uint64_t name)
{
    return view->names[name_place(view, name)];
}

/* There is room for one more, see make_room(). */
static void name_put(struct view *view, uint32_t slot)
{
    uint32_t at = name_place(view, id_of(view, slot).name);
    if (view->names[at] == NO_SLOT)
        view->names_count++;
    view->names[at] = (uint16_t)slot;
}

/* What stands behind moves up, so that it is found without the one that goes. */
static void name_remove(struct view *view, uint64_t name)
{
    uint32_t mask = ((uint32_t)1 << view->names_bits) - 1;
    uint32_t at = name_place(view, name);
    view->names[at] = NO_SLOT;
    view->names_count--;
    for (at = (at + 1) & mask; view->names[at] != NO_SLOT; at = (at + 1) & mask) {
        uint16_t slot = view->names[at];
        view->names[at] = NO_SLOT;
        view->names[name_place(view, id_of(view, slot).name)] = slot;
    }
}

static bool names_grow(struct view *view)
{
    uint32_t bits = view->names == NULL ? NAMES_BITS_FIRST : view->names_bits + 1;
    uint32_t was_room = view->names == NULL ? 0 : (uint32_t)1 << view->names_bits;
    uint16_t *was = view->names, *names = malloc(((size_t)1 << bits) * sizeof *names);
    if (names == NULL)
        return false;
    memset(names, 0xff, ((size_t)1 << bits) * sizeof *names); /* NO_SLOT */
    view->names = names;
    view->names_bits = bits;
    for (uint32_t n = 0; n < was_room; n++)
        if (was[n] != NO_SLOT)
            names[name_place(view, id_of(view, was[n]).name)] = was[n];
    free(was);
    return true;
}

static bool grow_slots(uint16_t **slots, uint32_t room)
{
    uint16_t *grown = realloc(*slots, room * sizeof *grown);
    if (grown != NULL)
        *slots = grown;
    return grown != NULL;
}

static bool add_chunk(struct view *view)
{
    uint32_t room = view->room + CHUNK_ROWS;
    if (!grow_slots(&view->order, room) || !grow_slots(&view->others, room) ||
        (view->tags != NULL && !grow_slots(&view->tags, room)))
        return false;
    struct mesh_member **chunks =
        realloc(view->chunks, room / CHUNK_ROWS * sizeof(struct mesh_member *));
    if (chunks == NULL)
        return false;
    view->chunks = chunks;
    chunks[view->room / CHUNK_ROWS] = calloc(CHUNK_ROWS, sizeof **chunks);
    if (chunks[view->room / CHUNK_ROWS] == NULL)
        return false;
    view->room = room;
    return true;
}

/* For one more row. False: no memory. */
static bool make_room(struct view *view)
{
    if (view->free_slot == 0 && view->fresh == view->room && !add_chunk(view))
        return false;
    return (view->names != NULL && view->names_count < (3u << view->names_bits) / 4) ||
           names_grow(view);
}

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
    view->names_seed = config->self.nonce;
    view->stamps_ms = config->start_ms - 1; /* no stamp is 0 */
    view->records = config->records;
    if (view->records == NULL && records_new(&view->own_records) == 0)
        view->records = view->own_records;
    struct mesh_record says = config->self;
    says.id = (struct peer_id){view_name_hash(config->self.name), 0};
    says.version = 1;
    const struct mesh_record *record = NULL;
    if (view->records != NULL && make_room(view) && view_changes_reserve(view, VIEW_CHANGES_EACH))
        record = records_take(view->records, &says);
    if (record == NULL) {
        view_free(view);
        return -ENOMEM;
    }
    view_row(view, 0)->record = record;
    view->fresh = 1;
    *viewp = view;
    return 0;
}

void view_free(struct view *view)
{
    if (view == NULL)
        return;
    for (uint32_t slot = 0; slot < view->fresh; slot++)
        records_give(view->records, view_row(view, slot)->record);
    for (uint32_t slot = 0; slot < view->room; slot += CHUNK_ROWS)
        free(view->chunks[slot / CHUNK_ROWS]);
    free(view->chunks);
    free(view->order);
    free(view->others);
    free(view->tags);
    free(view->names);
    free(view->changes);
    records_free(view->own_records);
    free(view);
}

/* The first place in order[] whose id is not below `id`. */
static uint32_t place_of(const struct view *view, struct peer_id id)
{
    uint32_t low = 0, high = view->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (peer_id_compare(id_of(view, view->order[middle]), id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint32_t view_slot_of(const struct view *view, const struct mesh_member *member)
{
    if (member == view_row(view, 0))
        return 0;
    if (member_is_living(member))
        return view->others[member->other_at];
    return view->order[place_of(view, member->record->id)];
}

/* The first place of `count` in tags[] whose tag is not below `tag`. */
static uint32_t tag_place_of(const struct view *view, uint64_t tag, uint32_t count)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (view_home_tag(id_of(view, view->tags[middle])) < tag)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void tag_insert(struct view *view, uint32_t slot, uint32_t count)
{
    uint32_t at = tag_place_of(view, view_home_tag(id_of(view, slot)), count);
    memmove(view->tags + at + 1, view->tags + at, (count - at) * sizeof *view->tags);
    view->tags[at] = (uint16_t)slot;
}

static void tag_remove(struct view *view, uint32_t slot)
{
    uint32_t at = tag_place_of(view, view_home_tag(id_of(view, slot)), view->count);
    while (view->tags[at] != slot)
        at++;
    memmove(view->tags + at, view->tags + at + 1, (view->count - 1 - at) * sizeof *view->tags);
}

static void row_list(struct view *view, uint32_t slot)
{
    struct peer_id id = id_of(view, slot);
    uint32_t at = place_of(view, id);
    if (view->tags != NULL)
        tag_insert(view, slot, view->count);
    memmove(view->order + at + 1, view->order + at, (view->count - at) * sizeof *view->order);
    view->order[at] = (uint16_t)slot;
    view->count++;
    if (at + 1 == view->count || id_of(view, view->order[at + 1]).name != id.name)
        name_put(view, slot);
}

static void row_unlist(struct view *view, uint32_t slot)
{
    struct peer_id id = id_of(view, slot);
    uint32_t at = place_of(view, id);
    assert(view->order[at] == slot);
    if (view->tags != NULL)
        tag_remove(view, slot);
    view->count--;
    memmove(view->order + at, view->order + at + 1, (view->count - at) * sizeof *view->order);
    if (newest_of(view, id.name) != slot)
        return;
    if (at > 0 && id_of(view, view->order[at - 1]).name == id.name)
        name_put(view, view->order[at - 1]);
    else
        name_remove(view, id.name);
}

bool view_changes_reserve(struct view *view, uint32_t more)
{
    uint32_t limit = 2 * view->slots, room = view->changes_room;
    if (view->changes_count + more <= room || room == limit)
        return true;
    while (room < view->changes_count + more)
        room = room == 0 ? CHANGES_FIRST : 2 * room;
    room = room < limit ? room : limit;
    struct view_change *changes = calloc(room, sizeof *changes);
    if (changes == NULL)
        return false;
    for (uint32_t n = 0; n < view->changes_count; n++)
        changes[n] = view->changes[(view->changes_at + n) % view->changes_room];
    free(view->changes);
    view->changes = changes;
    view->changes_room = room;
    view->changes_at = 0;
    return true;
}

static void push_change(struct view *view, struct peer_id id, enum member_state from,
                        enum member_state to)
{
    uint32_t room = view->changes_room;
    if (view->changes_count == room) {
        view->changes_at = (view->changes_at + 1) % room;
        view->changes_count--;
    }
    view->changes[(view->changes_at + view->changes_count++) % room] =
        (struct view_change){id, from, to};
}

/* They were many once: that is no reason to keep so much room. */
static void changes_shrink(struct view *view)
{
    if (view->changes_room <= CHANGES_FIRST || CHANGES_FIRST > 2 * view->slots)
        return;
    struct view_change *changes = calloc(CHANGES_FIRST, sizeof *changes);
    if (changes == NULL)
        return;
    free(view->changes);
    view->changes = changes;
    view->changes_room = CHANGES_FIRST;
    view->changes_at = 0;
}

static bool is_gone(enum member_state state)
{
    return state == MEMBER_DEAD || state == MEMBER_LEFT;
}

static bool decides_ring(const struct mesh_member *a, const struct mesh_member *b)
{
    return member_is_living(a) != member_is_living(b) ||
           (member_is_eligible(a) != member_is_eligible(b) && !MUTANT(RING_STALE)) ||
           (member_is_living(b) && (a->record->weight != b->record->weight ||
                                    strcmp(a->record->zone, b->record->zone) != 0));
}

static void others_add(struct view *view, uint32_t slot)
{
    view_row(view, slot)->other_at = view->others_count;
    view->others[view->others_count++] = (uint16_t)slot;
}

static void others_remove(struct view *view, uint32_t slot)
{
    uint32_t at = view_row(view, slot)->other_at;
    uint16_t last = view->others[--view->others_count];
    view->others[at] = last;
    view_row(view, last)->other_at = at;
}

static void row_forget(struct view *view, uint32_t slot)
{
    struct mesh_member *m = view_row(view, slot);
    assert(slot != 0 && !member_is_living(m));
    push_change(view, m->record->id, m->state, MEMBER_UNKNOWN);
    row_unlist(view, slot);
    view->contacts_count--;
    records_give(view->records, m->record);
    m->record = NULL;
    m->next_free = view->free_slot;
    view->free_slot = slot;
}

/* Makes room among the contacts; `keep` stays. */
static void drop_oldest_contact(struct view *view, uint32_t keep)
{
    uint32_t oldest = 0;
    for (uint32_t n = 0; n < view->count; n++) {
        uint32_t slot = view->order[n];
        const struct mesh_member *m = view_row(view, slot);
        if (slot != 0 && slot != keep && !member_is_living(m) &&
            (oldest == 0 || m->gone_at < view_row(view, oldest)->gone_at))
            oldest = slot;
    }
    if (oldest != 0)
        row_forget(view, oldest);
}

/* The row is no longer a living member's, or never was. */
static void fall_silent(struct view *view, uint32_t slot, bool lived, uint64_t now_ms)
{
    if (slot != 0 && lived)
        others_remove(view, slot); /* by other_at, where gone_at comes to stand */
    view_row(view, slot)->gone_at = view_stamp(view, now_ms);
    if (slot != 0)
        view->contacts_count++;
    if (view->contacts_count > view->contacts_max)
        drop_oldest_contact(view, slot);
}

void view_row_set(struct view *view, uint32_t slot, const struct mesh_member *now_is,
                  uint64_t now_ms)
{
    struct mesh_member *m = view_row(view, slot);
    const struct mesh_member was = *m, is = *now_is;
    bool lived = member_is_living(&was), lives = member_is_living(&is);

    if (lived && !(lives && was.record == is.record))
        sum_member(view, was.record, false);
    if (lives && !(lived && was.record == is.record))
        sum_member(view, is.record, true);
    if (decides_ring(&was, &is))
        view->ring_generation++;
    m->record = is.record;
    m->incarnation = is.incarnation;
    m->state = is.state;
    if (was.record != is.record)
        records_give(view->records, was.record);
    if (lives && !lived) {
        m->other_at = 0;
        if (slot != 0)
            others_add(view, slot);
        if (slot != 0 && was.state != MEMBER_UNKNOWN)
            view->contacts_count--;
    } else if (is_gone(is.state) && !is_gone(was.state)) {
        fall_silent(view, slot, lived, now_ms);
    }
    if (was.state != is.state)
        push_change(view, is.record->id, was.state, is.state);
}

bool view_has_room(const struct view *view)
{
    return view->others_count + 1 < view->members_max;
}

bool view_row_add(struct view *view, const struct mesh_member *member, uint64_t now_ms)
{
    if (!make_room(view)) {
        records_give(view->records, member->record);
        return false;
    }
    uint32_t slot = view->free_slot;
    if (slot != 0)
        view->free_slot = view_row(view, slot)->next_free;
    else
        slot = view->fresh++;
    assert(slot < view->slots);
    struct mesh_member *row = view_row(view, slot);
    uint16_t use = (uint16_t)(row->use + 1);
    *row = (struct mesh_member){.record = member->record, .use = use != 0 ? use : 1};
    row_list(view, slot);
    view_row_set(view, slot, member, now_ms);
    return true;
}

void view_supersede(struct view *view, struct peer_id id, uint64_t now_ms)
{
    uint32_t at = place_of(view, (struct peer_id){id.name, 0});
    while (at < view->count) {
        uint32_t slot = view->order[at];
        struct mesh_member m = *view_row(view, slot);
        struct peer_id older = m.record->id;
        if (older.name != id.name || older.generation >= id.generation)
            return;
        if (member_is_living(&m)) {
            m.state = MEMBER_DEAD;
            uint32_t count = view->count;
            view_row_set(view, slot, &m, now_ms);
            if (view->count < count) { /* a contact went: places moved */
                at = place_of(view, (struct peer_id){id.name, older.generation + 1});
                continue;
            }
        }
        at++;
    }
}

/* ---- stamps --------------------------------------------------------------------------------- */

/* Before they do not fit any longer, all are moved back; what is 12 days old by then stays so. */
static void move_stamps(struct view *view, uint64_t by)
{
    for (uint32_t slot = 0; slot < view->fresh; slot++) {
        struct mesh_member *m = view_row(view, slot);
        if (m->record == NULL)
            continue;
        if (m->acked_at != 0)
            m->acked_at = m->acked_at > by ? (uint32_t)(m->acked_at - by) : 1;
        if (is_gone(m->state))
            m->gone_at = m->gone_at > by ? (uint32_t)(m->gone_at - by) : 1;
    }
    view->stamps_ms += by;
}

uint32_t view_stamp(struct view *view, uint64_t now_ms)
{
    uint64_t since_ms = now_ms > view->start_ms ? now_ms - view->stamps_ms : 1;
    if (since_ms > STAMP_MAX) {
        move_stamps(view, since_ms - STAMP_MAX / 2);
        since_ms = now_ms - view->stamps_ms;
    }
    return (uint32_t)since_ms;
}

uint64_t view_time_ms(const struct view *view, uint32_t stamp)
{
    return stamp != 0 ? view->stamps_ms + stamp : 0;
}

uint64_t view_silent_ms(const struct view *view, const struct mesh_member *member)
{
    return is_gone(member->state) ? view_time_ms(view, member->gone_at) : 0;
}

/* ---- ourselves ------------------------------------------------------------------------------ */

const struct mesh_member *view_self(const struct view *view)
{
    return view_row(view, 0);
}

bool view_is_announced(const struct view *view)
{
    return view->is_announced;
}

int view_announce(struct view *view, uint64_t generation, uint64_t now_ms)
{
    struct mesh_member *self = view_row(view, 0), m = *self;
    struct mesh_record says = *m.record;
    const struct mesh_member *newest = view_find_name(view, says.id.name);
    assert(!view->is_announced && generation != 0);
    if (newest != NULL && newest->record->id.generation >= generation)
        return -EEXIST;
    says.id.generation = generation;
    if (!make_room(view) || !view_changes_reserve(view, VIEW_CHANGES_EACH) ||
        (m.record = records_take(view->records, &says)) == NULL)
        return -ENOMEM;
    records_give(view->records, self->record);
    self->record = m.record;
    m.state = MEMBER_ALIVE;
    row_list(view, 0);
    view->is_announced = true;
    view_row_set(view, 0, &m, now_ms);
    view_supersede(view, says.id, now_ms);
    return 0;
}

int view_set_flags(struct view *view, bool serving, bool draining, bool hold)
{
    struct mesh_member m = *view_row(view, 0);
    struct mesh_record says = *m.record;
    if (says.serving == serving && says.draining == draining && says.hold == hold)
        return 0;
    says.serving = serving;
    says.draining = draining;
    says.hold = hold;
    if (view->is_announced)
        says.version++;
    m.record = records_take(view->records, &says);
    if (m.record == NULL)
        return -ENOMEM;
    view_row_set(view, 0, &m, 0);
    return 1;
}

void view_leave(struct view *view, uint64_t now_ms)
{
    struct mesh_member m = *view_row(view, 0);
    view->is_leaving = true;
    if (m.state != MEMBER_ALIVE)
        return;
    m.state = MEMBER_LEFT;
    view_row_set(view, 0, &m, now_ms);
}

/* ---- questions ------------------------------------------------------------------------------ */

const struct mesh_member *view_find(const struct view *view, struct peer_id id)
{
    uint32_t slot = newest_of(view, id.name);
    if (slot == NO_SLOT || id_of(view, slot).generation < id.generation)
        return NULL;
    if (id_of(view, slot).generation == id.generation)
        return view_row(view, slot);
    uint32_t at = place_of(view, id);
    return peer_id_equal(id_of(view, view->order[at]), id) ? view_at(view, at) : NULL;
}

const struct mesh_member *view_find_name(const struct view *view, uint64_t name)
{
    uint32_t slot = newest_of(view, name);
    return slot != NO_SLOT ? view_row(view, slot) : NULL;
}

/* Which of two rows to prefer, where only one can be meant. */
static const struct mesh_member *likelier(const struct mesh_member *a, const struct mesh_member *b)
{
    if (a == NULL || member_is_living(a) != member_is_living(b))
        return a == NULL || member_is_living(b) ? b : a;
    if (!member_is_living(a) && a->gone_at != b->gone_at)
        return a->gone_at < b->gone_at ? b : a;
    return peer_id_compare(a->record->id, b->record->id) < 0 ? b : a;
}

/* False: no memory. */
static bool list_tags(struct view *view)
{
    if (view->tags == NULL && !grow_slots(&view->tags, view->room))
        return false;
    for (uint32_t n = 0; n < view->count; n++)
        tag_insert(view, view->order[n], n);
    return true;
}

const struct mesh_member *view_find_tag(struct view *view, uint64_t tag)
{
    const struct mesh_member *found = NULL;
    if (!view_lists_tags(view)) {
        for (uint32_t n = 0; n < view->count; n++)
            if (view_home_tag(id_of(view, view->order[n])) == tag)
                found = likelier(found, view_at(view, n));
        return found;
    }
    for (uint32_t at = tag_place_of(view, tag, view->count);
         at < view->count && view_home_tag(id_of(view, view->tags[at])) == tag; at++)
        found = likelier(found, view_row(view, view->tags[at]));
    return found;
}

const struct mesh_member *view_find_addr(const struct view *view, const struct mesh_addr *addr)
{
    const struct mesh_member *found = NULL;
    for (uint32_t n = 0; n < view->count; n++) {
        const struct mesh_member *m = view_at(view, n);
        if (mesh_addr_equal(&m->record->addr, addr))
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
    return view_row(view, view->order[n]);
}

bool view_lists_tags(struct view *view)
{
    return view->tags != NULL || list_tags(view);
}

const struct mesh_member *view_by_tag(const struct view *view, size_t n)
{
    assert(view->tags != NULL && n < view->count);
    return view_row(view, view->tags[n]);
}

size_t view_tag_place(const struct view *view, uint64_t tag)
{
    assert(view->tags != NULL);
    return tag_place_of(view, tag, view->count);
}

size_t view_living(const struct view *view)
{
    return view->others_count + (member_is_living(view_self(view)) ? 1u : 0u);
}

size_t view_others(const struct view *view)
{
    return view->others_count;
}

const struct mesh_member *view_other(const struct view *view, size_t n)
{
    assert(n < view->others_count);
    return view_row(view, view->others[n]);
}

size_t view_slots(const struct view *view)
{
    return view->slots;
}

struct handle view_handle(const struct view *view, const struct mesh_member *member)
{
    return (struct handle){view_slot_of(view, member), member->use};
}

const struct mesh_member *view_by_handle(const struct view *view, struct handle handle)
{
    if (handle.slot >= view->fresh)
        return NULL;
    const struct mesh_member *m = view_row(view, handle.slot);
    return m->record != NULL && m->use == handle.generation ? m : NULL;
}

struct mesh_member *view_notes(struct view *view, const struct mesh_member *member)
{
    return view_row(view, view_slot_of(view, member));
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
        view_notes(view, known)->load = load;
}

void view_forget(struct view *view, uint64_t now_ms)
{
    if (view->contacts_count == 0 || now_ms - view->start_ms < VIEW_CONTACT_MS)
        return; /* the rows are many, and none can be so old */
    for (uint32_t n = view->count; n-- > 0;) {
        const struct mesh_member *m = view_at(view, n);
        if (m != view_self(view) && !member_is_living(m) &&
            now_ms - view_silent_ms(view, m) >= VIEW_CONTACT_MS &&
            view_changes_reserve(view, VIEW_CHANGES_EACH))
            row_forget(view, view->order[n]);
    }
}

bool view_next_change(struct view *view, struct view_change *change)
{
    if (view->changes_count == 0) {
        changes_shrink(view);
        return false;
    }
    *change = view->changes[view->changes_at];
    view->changes_at = (view->changes_at + 1) % view->changes_room;
    view->changes_count--;
    return true;
}

size_t view_bytes(const struct view *view)
{
    size_t names = view->names != NULL ? (size_t)1 << view->names_bits : 0;
    size_t arrays = view->tags != NULL ? 3 : 2; /* order, others, tags */
    return sizeof *view + view->room * (sizeof(struct mesh_member) + arrays * sizeof *view->order) +
           view->room / CHUNK_ROWS * sizeof(struct mesh_member *) + names * sizeof *view->names +
           view->changes_room * sizeof *view->changes +
           (view->own_records != NULL ? records_bytes(view->own_records) : 0);
}
