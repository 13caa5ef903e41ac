/* events.c - a ring of events. */
#include "mesh/session/events.h"

#include <errno.h>
#include <stdlib.h>

#define EVENTS_FIRST 8

void events_init(struct events *events)
{
    memset(events, 0, sizeof *events);
}

static struct logged *events_slot(const struct events *events, uint32_t index)
{
    return &events->ring[(events->head + index) & (events->capacity - 1)];
}

bool events_drop_oldest(struct events *events)
{
    if (events->count == 0)
        return false;
    struct logged *oldest = events_slot(events, 0);
    events->bytes -= EVENTS_COST + oldest->text.length;
    slice_drop(&oldest->text);
    events->head = (events->head + 1) & (events->capacity - 1);
    events->count--;
    return true;
}

static void events_drop_all(struct events *events)
{
    while (events_drop_oldest(events))
        ;
}

void events_deinit(struct events *events)
{
    events_drop_all(events);
    free(events->ring);
    events->ring = NULL;
    events->capacity = 0;
}

static int events_grow(struct events *events)
{
    uint32_t capacity = events->capacity == 0 ? EVENTS_FIRST : events->capacity * 2;
    struct logged *ring = calloc(capacity, sizeof *ring);
    if (ring == NULL)
        return -ENOMEM;
    for (uint32_t n = 0; n < events->count; n++)
        ring[n] = *events_slot(events, n);
    free(events->ring);
    events->ring = ring;
    events->capacity = capacity;
    events->head = 0;
    return 0;
}

/* A small text gets memory of its own, a large one is shared. */
static int events_keep(struct slice *keep, struct slice text, struct bytes_budget *budget)
{
    if (text.length <= EVENTS_COPY_MAX)
        text.buf = NULL;
    return slice_keep(keep, text, budget);
}

int events_add(struct events *events, const struct logged *event, struct bytes_budget *budget,
               struct logged *kept)
{
    size_t cost = EVENTS_COST + event->text.length;
    struct slice text = {0};
    int rc = 0;
    events->number++;
    while (events->count >= EVENTS_MAX ||
           (events->count > 0 && events->bytes + cost > EVENTS_BYTES_MAX))
        (void)events_drop_oldest(events);
    if (events->count == events->capacity)
        rc = events_grow(events);
    if (rc == 0)
        rc = events_keep(&text, event->text, budget);
    if (rc < 0) {
        events_drop_all(events); /* a log has no holes */
        *kept = *event;
        return rc;
    }
    struct logged *slot = events_slot(events, events->count++);
    *slot = *event;
    slot->text = text;
    events->bytes += cost;
    *kept = *slot;
    return 0;
}

uint64_t events_oldest(const struct events *events)
{
    return events->number + 1 - events->count;
}

const struct logged *events_at(const struct events *events, uint64_t number)
{
    if (number < events_oldest(events) || number > events->number)
        return NULL;
    return events_slot(events, (uint32_t)(number - events_oldest(events)));
}

void events_skip(struct events *events, uint64_t next)
{
    events_drop_all(events);
    events->number = next - 1;
}

void events_delivered(struct events *events, uint64_t number)
{
    while (events->bytes > EVENTS_BYTES_MAX && events_oldest(events) <= number &&
           events_drop_oldest(events))
        ;
}
