/* gossip.c - the queue of what is still to be told. See gossip.h.
 *
 * One item per slot of the view, linked into a list per class. News enters at the head; what was
 * sent moves to the tail: so the least told goes first, without sorting. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/member/gossip.h"

#define NOTHING UINT16_MAX

struct item {
    struct peer_id accuser;
    uint32_t use;   /* generation of the view's handle */
    uint32_t stamp; /* the last fill that took it */
    uint16_t before, after;
    uint8_t class, sends;
    bool is_queued, has_record;
};

struct queue {
    uint16_t head, tail;
    uint32_t count;
};

struct gossip {
    struct queue queues[GOSSIP_CLASSES];
    size_t slots, count;
    uint32_t stamp;
    struct item items[];
};

int gossip_new(struct gossip **gossipp, const struct view *view)
{
    size_t slots = view_slots(view);
    struct gossip *gossip = calloc(1, sizeof *gossip + slots * sizeof gossip->items[0]);
    if (gossip == NULL)
        return -ENOMEM;
    gossip->slots = slots;
    for (size_t class = 0; class < GOSSIP_CLASSES; class ++)
        gossip->queues[class] = (struct queue){NOTHING, NOTHING, 0};
    *gossipp = gossip;
    return 0;
}

void gossip_free(struct gossip *gossip)
{
    free(gossip);
}

static void unlink_item(struct gossip *gossip, uint16_t slot)
{
    struct item *item = &gossip->items[slot];
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
    item->is_queued = false;
}

static void link_item(struct gossip *gossip, uint16_t slot, bool at_head)
{
    struct item *item = &gossip->items[slot];
    struct queue *queue = &gossip->queues[item->class];
    item->before = at_head ? NOTHING : queue->tail;
    item->after = at_head ? queue->head : NOTHING;
    if (item->before != NOTHING)
        gossip->items[item->before].after = slot;
    else
        queue->head = slot;
    if (item->after != NOTHING)
        gossip->items[item->after].before = slot;
    else
        queue->tail = slot;
    queue->count++;
    gossip->count++;
    item->is_queued = true;
}

/* The queued item about a member; NULL: none. */
static const struct item *find_item(const struct gossip *gossip, const struct view *view,
                                    struct peer_id subject)
{
    const struct mesh_member *member = view_find(view, subject);
    if (member == NULL)
        return NULL;
    struct handle handle = view_handle(view, member);
    const struct item *item = &gossip->items[handle.slot];
    return item->is_queued && item->use == handle.generation ? item : NULL;
}

void gossip_tell(struct gossip *gossip, const struct view *view, struct peer_id subject,
                 enum gossip_class class, struct peer_id accuser)
{
    const struct mesh_member *member = view_find(view, subject);
    if (member == NULL)
        return;
    struct handle handle = view_handle(view, member);
    struct item *item = &gossip->items[handle.slot];
    uint8_t is = (uint8_t) class;
    bool has_record = class == GOSSIP_ALIVE || class == GOSSIP_RECORD;
    if (item->is_queued) {
        if (item->use == handle.generation) {
            is = item->class < is ? item->class : is;
            has_record = has_record || item->has_record;
        }
        unlink_item(gossip, (uint16_t)handle.slot);
    }
    *item = (struct item){.accuser = accuser, .use = handle.generation, .class = is};
    item->has_record = has_record;
    link_item(gossip, (uint16_t)handle.slot, true);
}

static void render(const struct item *item, const struct mesh_member *member,
                   struct wire_update *update)
{
    view_tell(member, update);
    if (item != NULL)
        update->accuser = item->accuser;
    if (update->kind != UPDATE_ALIVE && (item == NULL || !item->has_record))
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
    return gossip->count;
}

static uint8_t budget_of(const struct view *view)
{
    unsigned bits = 0; /* of N + 1, rounded up */
    while ((size_t)1 << bits < view_living(view) + 1)
        bits++;
    return (uint8_t)(GOSSIP_SENDS_PER_BIT * (bits > 0 ? bits : 1));
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
    uint16_t slot = gossip->queues[class].head, after;
    for (uint32_t left = gossip->queues[class].count; left > 0; left--, slot = after) {
        struct item *item = &gossip->items[slot];
        after = item->after;
        if (item->stamp == gossip->stamp)
            continue;
        const struct mesh_member *member =
            view_by_handle(f->view, (struct handle){slot, item->use});
        if (member == NULL) {
            unlink_item(gossip, slot);
            continue;
        }
        if (peer_id_equal(member->record->id, f->to) && member->state == MEMBER_ALIVE) {
            if (view_others(f->view) == 1) /* nobody else would ever hear of it */
                unlink_item(gossip, slot);
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
        unlink_item(gossip, slot);
        if (++item->sends < f->budget)
            link_item(gossip, slot, false);
    }
}

bool gossip_fill(struct gossip *gossip, const struct view *view, struct wire_writer *w,
                 struct peer_id to, struct peer_id except)
{
    struct filling f = {.view = view, .w = w, .to = to, .except = except};
    unsigned top = 0;
    if (gossip->count == 0)
        return false;
    f.budget = budget_of(view);
    gossip->stamp++;
    while (gossip->queues[top].count == 0)
        top++;
    size_t limit = w->length + (w->room - w->length) / 4 * 3;
    bool is_alone = gossip->queues[top].count == gossip->count;
    fill_class(gossip, &f, top, is_alone ? w->room : limit);
    for (unsigned class = top + 1; class < GOSSIP_CLASSES && gossip->count > 0; class ++)
        fill_class(gossip, &f, class, w->room);
    if (!is_alone)
        fill_class(gossip, &f, top, w->room);
    return f.told_self;
}
