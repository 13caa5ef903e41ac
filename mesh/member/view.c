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

static uint32_t slot_at(const struct view *view, uint32_t at)
{
    return view_index_slot(&view->order, at);
}

/* The first place in the order whose id is not below `id`. */
static uint32_t place_of(const struct view *view, struct peer_id id)
{
    uint32_t at = view_index_first(&view->order, id.name);
    while (view_index_is_near(&view->order, at, id.name) &&
           peer_id_compare(id_of(view, slot_at(view, at)), id) < 0)
        at++;
    return at;
}

/* The slot of the newest generation of a name. */
static uint32_t newest_of(const struct view *view, uint64_t name)
{
    uint32_t newest = NO_SLOT;
    for (uint32_t at = view_index_first(&view->order, name);
         view_index_is_near(&view->order, at, name); at++)
        if (id_of(view, slot_at(view, at)).name == name)
            newest = slot_at(view, at);
    return newest;
}

static bool grow_others(struct view *view, uint32_t room)
{
    uint16_t *others = realloc(view->others, room * sizeof *others);
    if (others != NULL)
        view->others = others;
    return others != NULL;
}

static bool add_chunk(struct view *view)
{
    uint32_t room = view->room + CHUNK_ROWS;
    if (!grow_others(view, room) || !view_index_reserve(&view->order, room) ||
        (view->tags.room > 0 && !view_index_reserve(&view->tags, room)))
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
    return view->free_slot != 0 || view->fresh < view->room || add_chunk(view);
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
    free(view->others);
    view_index_deinit(&view->order);
    view_index_deinit(&view->tags);
    free(view->changes);
    records_free(view->own_records);
    free(view);
}

uint32_t view_slot_of(const struct view *view, const struct mesh_member *member)
{
    if (member == view_row(view, 0))
        return 0;
    if (member_is_living(member))
        return view->others[member->other_at];
    return slot_at(view, place_of(view, member->record->id));
}

static uint64_t tag_at(const struct view *view, uint32_t at)
{
    return view_home_tag(id_of(view, view_index_slot(&view->tags, at)));
}

/* As the index orders them: tags are of 48 bits. */
static uint64_t key_of(uint64_t tag)
{
    return tag << 16;
}

/* The first place whose tag is not below `tag`. */
static uint32_t tag_place_of(const struct view *view, uint64_t tag)
{
    uint32_t at = view_index_first(&view->tags, key_of(tag));
    while (view_index_is_near(&view->tags, at, key_of(tag)) && tag_at(view, at) < tag)
        at++;
    return at;
}

static void tag_insert(struct view *view, uint32_t slot)
{
    uint64_t tag = view_home_tag(id_of(view, slot));
    view_index_insert(&view->tags, tag_place_of(view, tag), key_of(tag), (uint16_t)slot);
}

static void row_list(struct view *view, uint32_t slot)
{
    struct peer_id id = id_of(view, slot);
    if (view->tags.room > 0)
        tag_insert(view, slot);
    view_index_insert(&view->order, place_of(view, id), id.name, (uint16_t)slot);
}

static void row_unlist(struct view *view, uint32_t slot)
{
    struct peer_id id = id_of(view, slot);
    uint32_t at = place_of(view, id);
    assert(slot_at(view, at) == slot);
    view_index_remove(&view->order, at);
    if (view->tags.room == 0)
        return;
    at = tag_place_of(view, view_home_tag(id));
    while (view_index_slot(&view->tags, at) != slot)
        at++;
    view_index_remove(&view->tags, at);
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
    for (uint32_t n = 0; n < view->order.count; n++) {
        uint32_t slot = slot_at(view, n);
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
    while (at < view->order.count) {
        uint32_t slot = slot_at(view, at);
        struct mesh_member m = *view_row(view, slot);
        struct peer_id older = m.record->id;
        if (older.name != id.name || older.generation >= id.generation)
            return;
        if (member_is_living(&m)) {
            m.state = MEMBER_DEAD;
            uint32_t count = view->order.count;
            view_row_set(view, slot, &m, now_ms);
            if (view->order.count < count) { /* a contact went: places moved */
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
    const struct mesh_member *newest = view_find_newest(view, says.id.name);
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

/* Our record says something else now. 1 or -ENOMEM. */
static int view_say(struct view *view, const struct mesh_record *what)
{
    struct mesh_member m = *view_row(view, 0);
    struct mesh_record says = *what;
    if (view->is_announced)
        says.version++;
    m.record = records_take(view->records, &says);
    if (m.record == NULL)
        return -ENOMEM;
    view_row_set(view, 0, &m, 0);
    return 1;
}

int view_prove(struct view *view, const struct mesh_record *proved)
{
    struct mesh_member m = *view_row(view, 0);
    m.record = records_take(view->records, proved);
    if (m.record == NULL)
        return -ENOMEM;
    view_row_set(view, 0, &m, 0);
    return 0;
}

int view_set_flags(struct view *view, bool serving, bool draining, bool hold)
{
    struct mesh_record says = *view_row(view, 0)->record;
    if (says.serving == serving && says.draining == draining && says.hold == hold)
        return 0;
    says.serving = serving;
    says.draining = draining;
    says.hold = hold;
    return view_say(view, &says);
}

int view_set_keys(struct view *view, const uint32_t *ids, uint8_t count)
{
    struct mesh_record says = *view_row(view, 0)->record;
    if (says.keys_count == count && memcmp(says.keys, ids, count * sizeof *ids) == 0)
        return 0;
    memset(says.keys, 0, sizeof says.keys);
    memcpy(says.keys, ids, count * sizeof *ids);
    says.keys_count = count;
    return view_say(view, &says);
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
    return peer_id_equal(id_of(view, slot_at(view, at)), id) ? view_at(view, at) : NULL;
}

const struct mesh_member *view_find_newest(const struct view *view, uint64_t name)
{
    uint32_t slot = newest_of(view, name);
    return slot != NO_SLOT ? view_row(view, slot) : NULL;
}

const struct mesh_member *view_find_name(const struct view *view, uint64_t name)
{
    const struct mesh_member *newest = view_find_newest(view, name);
    if (newest == NULL || member_is_living(newest))
        return newest;
    uint32_t at = place_of(view, newest->record->id);
    while (at > 0 && id_of(view, slot_at(view, at - 1)).name == name)
        if (member_is_living(view_row(view, slot_at(view, --at))))
            return view_row(view, slot_at(view, at));
    return newest;
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

const struct mesh_member *view_find_tag(struct view *view, uint64_t tag)
{
    const struct mesh_member *found = NULL;
    if (!view_lists_tags(view)) {
        for (uint32_t n = 0; n < view->order.count; n++)
            if (view_home_tag(view_at(view, n)->record->id) == tag)
                found = likelier(found, view_at(view, n));
        return found;
    }
    for (uint32_t at = tag_place_of(view, tag);
         view_index_is_near(&view->tags, at, key_of(tag)) && tag_at(view, at) == tag; at++)
        found = likelier(found, view_by_tag(view, at));
    return found;
}

const struct mesh_member *view_find_addr(const struct view *view, const struct mesh_addr *addr)
{
    const struct mesh_member *found = NULL;
    for (uint32_t n = 0; n < view->order.count; n++) {
        const struct mesh_member *m = view_at(view, n);
        if (mesh_addr_equal(&m->record->addr, addr))
            found = likelier(found, m);
    }
    return found;
}

size_t view_count(const struct view *view)
{
    return view->order.count;
}

const struct mesh_member *view_at(const struct view *view, size_t n)
{
    assert(n < view->order.count);
    return view_row(view, slot_at(view, (uint32_t)n));
}

bool view_lists_tags(struct view *view)
{
    if (view->tags.room > 0)
        return true;
    if (!view_index_reserve(&view->tags, view->room))
        return false;
    for (uint32_t n = 0; n < view->order.count; n++)
        tag_insert(view, slot_at(view, n));
    return true;
}

const struct mesh_member *view_by_tag(const struct view *view, size_t n)
{
    assert(n < view->tags.count);
    return view_row(view, view_index_slot(&view->tags, (uint32_t)n));
}

size_t view_tag_place(const struct view *view, uint64_t tag)
{
    assert(view->tags.room > 0);
    return tag_place_of(view, tag);
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
    for (uint32_t n = view->order.count; n-- > 0;) {
        const struct mesh_member *m = view_at(view, n);
        if (m != view_self(view) && !member_is_living(m) &&
            now_ms - view_silent_ms(view, m) >= VIEW_CONTACT_MS &&
            view_changes_reserve(view, VIEW_CHANGES_EACH))
            row_forget(view, slot_at(view, n));
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
    if (--view->changes_count == 0)
        view->changes_at = 0; /* where the cache has it, not all around the ring */
    return true;
}

size_t view_bytes(const struct view *view)
{
    return sizeof *view + view->room * (sizeof(struct mesh_member) + sizeof *view->others) +
           (view->order.room + view->tags.room) * sizeof *view->order.entries +
           view->room / CHUNK_ROWS * sizeof(struct mesh_member *) +
           view->changes_room * sizeof *view->changes +
           (view->own_records != NULL ? records_bytes(view->own_records) : 0);
}
