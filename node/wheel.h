/* wheel.h - many coarse deadlines on one tick: connections, dials, children. Setting one later is
 * free (the item is looked at again in its old place), so that a busy connection costs nothing.
 * Precision is the host's tick; what needs milliseconds is the mesh's own deadline. */
#ifndef NODE_WHEEL_H
#define NODE_WHEEL_H

#include <stdint.h>

#include "mesh/base/list.h" /* container_of */

#define WHEEL_SLOTS 256
#define WHEEL_TICK_MS 500

/* Sits inside what it times; all zero: not set. */
struct wheel_item {
    struct wheel_item *next, **link; /* link: what points at us; NULL: in no slot */
    uint64_t due_ms, place_ms;       /* place_ms: the time whose slot it hangs in */
    void (*on_due)(struct wheel_item *item, uint64_t now_ms);
};

struct wheel {
    struct wheel_item *slots[WHEEL_SLOTS];
    uint64_t done_ms; /* everything due before it was called */
};

void wheel_init(struct wheel *wheel, uint64_t now_ms);
/* on_due must be set. Replaces an earlier deadline. */
void wheel_set(struct wheel *wheel, struct wheel_item *item, uint64_t due_ms);
void wheel_stop(struct wheel_item *item); /* also of one that is not set */
/* Calls on_due of all that are due; each is stopped before its call and may set itself again, or
 * stop and free others. */
void wheel_turn(struct wheel *wheel, uint64_t now_ms);

#endif
