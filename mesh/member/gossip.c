/* gossip.c - the queue of what is still to be told. See gossip.h.
 *
 * One item per member that something is told about, linked into a list per class. News enters at
 * the head; what was sent moves to the tail: so the least told goes first, without sorting. Items
 * and the way to them from a slot of the view grow with use, and go when nothing is left to tell:
 * a mesh at rest has none. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/member/gossip.h"

#define NOTHING UINT16_MAX
#define ITEMS_FIRST 8
#define LEAST_SENDS 6

struct item {
    struct peer_id accuser;
    uint32_t stamp;         /* the last fill that took it */
    uint16_t slot, use;     /* the view's handle */
    uint16_t before, after; /* after: of one that is free, the next such */
    uint8_t class, sends;
    uint8_t heard; /* told to us by others meanwhile */
    bool has_record;
};

struct queue {
    uint16_t head, tail;
    uint32_t count;
};

struct gossip {
    struct queue queues[GOSSIP_CLASSES];
    struct claims *claims;
    size_t count;
    uint32_t stamp, sends_per_digit; /* 0: by bits */
    struct item *items;              /* [room] */
    uint16_t *by_slot;               /* [slots] NOTHING: none is queued */
    uint32_t room, slots;
    uint16_t free_item;
};

int gossip_new(struct gossip **gossipp, struct claims *claims)
{
    struct gossip *gossip = calloc(1, sizeof *gossip);
    if (gossip == NULL)
        return -ENOMEM;
    gossip->claims = claims;
    gossip->free_item = NOTHING;
    for (size_t class = 0; class < GOSSIP_CLASSES; class ++)
        gossip->queues[class] = (struct queue){NOTHING, NOTHING, 0};
    *gossipp = gossip;
    return 0;
}

static void let_go(struct gossip *gossip)
{
    free(gossip->items);
    free(gossip->by_slot);
    gossip->items = NULL;
    gossip->by_slot = NULL;
    gossip->room = gossip->slots = 0;
    gossip->free_item = NOTHING;
}

void gossip_free(struct gossip *gossip)
{
    if (gossip == NULL)
        return;
    let_go(gossip);
    free(gossip);
}

void gossip_by_digits(struct gossip *gossip, uint32_t sends_per_digit)
{
    gossip->sends_per_digit = sends_per_digit;
}

/* False: no memory. */
static bool have_room(struct gossip *gossip, uint32_t slot)
{
    if (slot >= gossip->slots) {
        uint32_t slots = (slot / 64 + 1) * 64;
        uint16_t *by_slot = realloc(gossip->by_slot, slots * sizeof *by_slot);
        if (by_slot == NULL)
            return false;
        memset(by_slot + gossip->slots, 0xff, (slots - gossip->slots) * sizeof *by_slot);
        gossip->by_slot = by_slot;
        gossip->slots = slots;
    }
    if (gossip->free_item != NOTHING)
        return true;
    uint32_t room = gossip->room == 0 ? ITEMS_FIRST : gossip->room + gossip->room / 2;
    room = room < NOTHING ? room : NOTHING;
    struct item *items = realloc(gossip->items, room * sizeof *items);
    if (items == NULL)
        return false;
    for (uint32_t n = gossip->room; n < room; n++)
        items[n].after = n + 1 < room ? (uint16_t)(n + 1) : NOTHING;
    gossip->free_item = (uint16_t)gossip->room;
    gossip->items = items;
    gossip->room = room;
    return true;
}

static void unlink_item(struct gossip *gossip, uint16_t at)
{
    struct item *item = &gossip->items[at];
    struct queue *queue = &gossip->queues[item->class];
    if (item->before != NOTHING)
        gossip->items[item->before].after = item->after;
    else
        queue->head = item->after;
    if (item->after != NOTHING)
        gossip->items[item->after].before = item->before;
    else
        queue->tail = item->before;
    queue->count--;
    gossip->count--;
}

static void link_item(struct gossip *gossip, uint16_t at, bool at_head)
{
    struct item *item = &gossip->items[at];
    struct queue *queue = &gossip->queues[item->class];
    item->before = at_head ? NOTHING : queue->tail;
    item->after = at_head ? queue->head : NOTHING;
    if (item->before != NOTHING)
        gossip->items[item->before].after = at;
    else
        queue->head = at;
    if (item->after != NOTHING)
        gossip->items[item->after].before = at;
    else
        queue->tail = at;
    queue->count++;
    gossip->count++;
}

static void drop_item(struct gossip *gossip, uint16_t at)
{
    struct item *item = &gossip->items[at];
    unlink_item(gossip, at);
    gossip->by_slot[item->slot] = NOTHING;
    item->after = gossip->free_item;
    gossip->free_item = at;
}

static uint16_t item_of(const struct gossip *gossip, struct handle handle)
{
    return handle.slot < gossip->slots ? gossip->by_slot[handle.slot] : NOTHING;
}

/* The queued item about a member; NULL: none. */
static const struct item *find_item(const struct gossip *gossip, const struct view *view,
                                    struct peer_id subject)
{
    const struct mesh_member *member = view_find(view, subject);
    if (member == NULL)
        return NULL;
    uint16_t at = item_of(gossip, view_handle(view, member));
    return at != NOTHING && gossip->items[at].use == member->use ? &gossip->items[at] : NULL;
}

static uint8_t budget_of(const struct gossip *gossip, const struct view *view)
{
    unsigned bits = 0, digits = 0; /* of N + 1, rounded up */
    if (gossip->sends_per_digit > 0) {
        for (size_t power = 1; power < view_living(view) + 1; power *= 10)
            digits++;
        return (uint8_t)(gossip->sends_per_digit * (digits > 0 ? digits : 1));
    }
    while ((size_t)1 << bits < view_living(view) + 1)
        bits++;
    return (uint8_t)(GOSSIP_SENDS_PER_BIT * (bits > 0 ? bits : 1));
}

/* So often we tell it ourselves, whatever others do: where few are their telling proves little. */
static uint8_t least_of(uint8_t budget)
{
    uint8_t least = budget / 3 > LEAST_SENDS ? budget / 3 : LEAST_SENDS;
    return least < budget ? least : budget;
}

/* What others tell us, too, is known: that counts as told by us. */
static bool is_spent(const struct item *item, uint8_t budget)
{
    return item->sends >= least_of(budget) && item->sends + item->heard >= budget;
}

static void tell(struct gossip *gossip, const struct view *view, struct peer_id subject,
                 enum gossip_class class, struct peer_id accuser, uint8_t sends)
{
    const struct mesh_member *member = view_find(view, subject);
    if (member == NULL)
        return;
    struct handle handle = view_handle(view, member);
    uint16_t at = item_of(gossip, handle);
    uint8_t is = (uint8_t) class;
    bool has_record = class == GOSSIP_ALIVE || class == GOSSIP_RECORD;
    if (at != NOTHING) {
        const struct item *item = &gossip->items[at];
        if (item->use == handle.generation) {
            is = item->class < is ? item->class : is;
            has_record = has_record || item->has_record;
        }
        unlink_item(gossip, at);
    } else if (have_room(gossip, handle.slot)) {
        at = gossip->free_item;
        gossip->free_item = gossip->items[at].after;
        gossip->by_slot[handle.slot] = at;
    } else {
        return; /* others tell it, or the views that are compared */
    }
    gossip->items[at] = (struct item){.accuser = accuser,
                                      .slot = (uint16_t)handle.slot,
                                      .use = (uint16_t)handle.generation,
                                      .class = is,
                                      .sends = sends,
                                      .has_record = has_record};
    link_item(gossip, at, true);
}

void gossip_tell(struct gossip *gossip, const struct view *view, struct peer_id subject,
                 enum gossip_class class, struct peer_id accuser)
{
    tell(gossip, view, subject, class, accuser, 0);
}

void gossip_tell_accuser(struct gossip *gossip, const struct view *view, struct peer_id subject,
                         struct peer_id accuser)
{
    uint8_t budget = budget_of(gossip, view);
    uint8_t least = gossip->sends_per_digit > 0 ? budget : least_of(budget);
    tell(gossip, view, subject, GOSSIP_SUSPECT, accuser, (uint8_t)(budget - least));
}

static void render(const struct item *item, const struct mesh_member *member,
                   struct wire_update *update)
{
    view_tell(member, update);
    if (item != NULL)
        update->accuser = item->accuser;
    bool is_proved = update->kind == UPDATE_LEFT && update->record.has_proof;
    if (update->kind != UPDATE_ALIVE && (item == NULL || !item->has_record) && !is_proved)
        update->record.name[0] = '\0'; /* the receiver has the record */
}

bool gossip_update_of(const struct gossip *gossip, const struct view *view, struct peer_id subject,
                      struct wire_update *update)
{
    const struct mesh_member *member = view_find(view, subject);
    if (member == NULL)
        return false;
    render(find_item(gossip, view, subject), member, update);
    return true;
}

bool gossip_is_telling(const struct gossip *gossip, const struct view *view, struct peer_id subject)
{
    return find_item(gossip, view, subject) != NULL;
}

size_t gossip_count(const struct gossip *gossip)
{
    return gossip->count + claims_waiting(gossip->claims);
}

void gossip_heard(struct gossip *gossip, const struct view *view, const struct mesh_member *member,
                  const struct wire_update *news)
{
    if (gossip->count == 0 || gossip->sends_per_digit > 0)
        return;
    uint16_t at = item_of(gossip, view_handle(view, member));
    struct wire_update ours;
    if (at == NOTHING || gossip->items[at].use != member->use)
        return;
    struct item *item = &gossip->items[at];
    render(item, member, &ours);
    if (news->kind != ours.kind || news->incarnation != ours.incarnation ||
        (ours.record.name[0] != 0 && news->record.version != ours.record.version) ||
        (ours.kind == UPDATE_SUSPECT && !peer_id_equal(news->accuser, ours.accuser)))
        return;
    if (item->heard < UINT8_MAX)
        item->heard++;
    if (is_spent(item, budget_of(gossip, view)))
        drop_item(gossip, at);
}

struct filling {
    const struct view *view;
    struct wire_writer *w;
    struct peer_id to, except;
    uint8_t budget;
    bool told_self;
};

/* Packs what waits in one class until the datagram is `limit` long. */
static void fill_class(struct gossip *gossip, struct filling *f, unsigned class, size_t limit)
{
    uint16_t at = gossip->queues[class].head, after;
    for (uint32_t left = gossip->queues[class].count; left > 0; left--, at = after) {
        struct item *item = &gossip->items[at];
        after = item->after;
        if (item->stamp == gossip->stamp)
            continue;
        const struct mesh_member *member =
            view_by_handle(f->view, (struct handle){item->slot, item->use});
        if (member == NULL) {
            drop_item(gossip, at);
            continue;
        }
        if (peer_id_equal(member->record->id, f->to) && member->state == MEMBER_ALIVE) {
            if (view_others(f->view) == 1) /* nobody else would ever hear of it */
                drop_item(gossip, at);
            continue;
        }
        if (peer_id_equal(member->record->id, f->except))
            continue;
        struct wire_update update;
        struct wire_writer before = *f->w;
        render(item, member, &update);
        if (wire_datagram_add(f->w, &update) < 0)
            return;
        if (f->w->length > limit) {
            *f->w = before;
            return;
        }
        if (member == view_self(f->view))
            f->told_self = true;
        item->stamp = gossip->stamp;
        item->sends++;
        if (!is_spent(item, f->budget)) {
            unlink_item(gossip, at);
            link_item(gossip, at, false);
        } else {
            drop_item(gossip, at);
        }
    }
}

static void fill_claims(struct gossip *gossip, struct filling *f)
{
    struct claim claim;
    for (size_t left = claims_waiting(gossip->claims);
         left > 0 && claims_first(gossip->claims, &claim); left--) {
        struct wire_update update = {.kind = UPDATE_CLAIM, .shard = claim.shard};
        update.record.id = claim.owner;
        update.incarnation = claim.beat;
        if (wire_datagram_add(f->w, &update) < 0)
            return;
        claims_told(gossip->claims, f->budget);
    }
}

bool gossip_fill(struct gossip *gossip, const struct view *view, struct wire_writer *w,
                 struct peer_id to, struct peer_id except)
{
    struct filling f = {.view = view, .w = w, .to = to, .except = except};
    size_t waiting = gossip_count(gossip);
    if (waiting == 0)
        return false;
    f.budget = budget_of(gossip, view);
    gossip->stamp++;
    for (unsigned class = 0; class < GOSSIP_CLASSES; class ++) {
        size_t own = gossip->queues[class].count;
        bool is_last = own == waiting;
        waiting -= own;
        if (own > 0)
            fill_class(gossip, &f, class,
                       is_last ? w->room : w->length + (w->room - w->length) / 4 * 3);
    }
    fill_claims(gossip, &f);
    for (unsigned class = 0; class < GOSSIP_CLASSES && gossip->count > 0; class ++)
        fill_class(gossip, &f, class, w->room);
    if (gossip->count == 0)
        let_go(gossip);
    return f.told_self;
}

size_t gossip_bytes(const struct gossip *gossip)
{
    return sizeof *gossip + gossip->room * sizeof *gossip->items +
           gossip->slots * sizeof *gossip->by_slot;
}
