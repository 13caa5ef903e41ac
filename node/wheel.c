/* wheel.c - see wheel.h. */
#include "node/wheel.h"

#include <stddef.h>

void wheel_init(struct wheel *wheel, uint64_t now_ms)
{
    *wheel = (struct wheel){.done_ms = now_ms};
}

void wheel_stop(struct wheel_item *item)
{
    if (item->link == NULL)
        return;
    *item->link = item->next;
    if (item->next != NULL)
        item->next->link = item->link;
    item->next = NULL;
    item->link = NULL;
}

static void place(struct wheel *wheel, struct wheel_item *item, uint64_t at_ms)
{
    /* A slot already turned would be looked at a whole round later. */
    if (at_ms < wheel->done_ms)
        at_ms = wheel->done_ms;
    /* Beyond the round: look again in its last slot. */
    uint64_t last_ms = wheel->done_ms + (uint64_t)(WHEEL_SLOTS - 1) * WHEEL_TICK_MS;
    if (at_ms > last_ms)
        at_ms = last_ms;
    struct wheel_item **slot = &wheel->slots[at_ms / WHEEL_TICK_MS % WHEEL_SLOTS];
    item->place_ms = at_ms;
    item->next = *slot;
    item->link = slot;
    if (item->next != NULL)
        item->next->link = &item->next;
    *slot = item;
}

void wheel_set(struct wheel *wheel, struct wheel_item *item, uint64_t due_ms)
{
    item->due_ms = due_ms;
    if (item->link != NULL && item->place_ms <= due_ms)
        return;
    wheel_stop(item);
    place(wheel, item, due_ms);
}

static void turn_slot(struct wheel *wheel, struct wheel_item **slot, uint64_t now_ms)
{
    /* Taken off as a list of its own: items set anew during the calls land in the slot. */
    struct wheel_item *due = *slot;
    *slot = NULL;
    if (due != NULL)
        due->link = &due;
    while (due != NULL) {
        struct wheel_item *item = due;
        wheel_stop(item);
        if (item->due_ms > now_ms)
            place(wheel, item, item->due_ms);
        else
            item->on_due(item, now_ms);
    }
}

void wheel_turn(struct wheel *wheel, uint64_t now_ms)
{
    uint64_t first = wheel->done_ms / WHEEL_TICK_MS, last = now_ms / WHEEL_TICK_MS;
    if (last - first >= WHEEL_SLOTS)
        first = last - (WHEEL_SLOTS - 1);
    wheel->done_ms = now_ms;
    for (uint64_t tick = first; tick <= last; tick++)
        turn_slot(wheel, &wheel->slots[tick % WHEEL_SLOTS], now_ms);
}
