/* heap.c - a 4-ary min-heap: half the levels of a binary one, and four siblings share a line of
 * cache. */
#include "mesh/base/heap.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "mesh/base/types.h"

#define BRANCHES 4
#define CAPACITY_FIRST 64

static bool is_before(const struct heap_node *a, const struct heap_node *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void place(struct heap *heap, struct heap_node *node, uint32_t at)
{
    heap->nodes[at] = node;
    node->index = at + 1;
}

static void move_up(struct heap *heap, struct heap_node *node)
{
    uint32_t at = node->index - 1;

    while (at > 0) {
        uint32_t parent = (at - 1) / BRANCHES;

        if (!is_before(node, heap->nodes[parent]))
            break;
        place(heap, heap->nodes[parent], at);
        at = parent;
    }
    place(heap, node, at);
}

static void move_down(struct heap *heap, struct heap_node *node)
{
    uint32_t at = node->index - 1;

    for (;;) {
        uint64_t child = (uint64_t)at * BRANCHES + 1, last = child + BRANCHES;
        uint32_t least;

        if (child >= heap->count)
            break;
        least = (uint32_t)child;
        while (++child < last && child < heap->count)
            if (is_before(heap->nodes[child], heap->nodes[least]))
                least = (uint32_t)child;
        if (!is_before(heap->nodes[least], node))
            break;
        place(heap, heap->nodes[least], at);
        at = least;
    }
    place(heap, node, at);
}

void heap_init(struct heap *heap)
{
    *heap = (struct heap){0};
}

void heap_deinit(struct heap *heap)
{
    if (heap == NULL)
        return;
    for (uint32_t i = 0; i < heap->count; i++)
        heap->nodes[i]->index = 0;
    free(heap->nodes);
    *heap = (struct heap){0};
}

static int make_room(struct heap *heap)
{
    uint32_t capacity = heap->capacity == 0 ? CAPACITY_FIRST : heap->capacity * 2;
    struct heap_node **nodes;

    if (heap->count < heap->capacity)
        return 0;
    if (capacity <= heap->capacity)
        return -ENOMEM;
    nodes = reallocarray(heap->nodes, capacity, sizeof *nodes);
    if (nodes == NULL)
        return -ENOMEM;
    heap->nodes = nodes;
    heap->capacity = capacity;
    return 0;
}

int heap_set(struct heap *heap, struct heap_node *node, uint64_t at_ms)
{
    int rc;

    if (at_ms == MESH_NEVER) {
        heap_remove(heap, node);
        return 0;
    }
    if (node->index != 0 && node->at_ms == at_ms)
        return 0;
    if (node->index == 0) {
        rc = make_room(heap);
        if (rc < 0)
            return rc;
        place(heap, node, heap->count++);
    }
    assert(node->index <= heap->count && heap->nodes[node->index - 1] == node);
    node->at_ms = at_ms;
    node->order = ++heap->order;
    move_up(heap, node);
    move_down(heap, node);
    return 0;
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
    struct heap_node *last;
    uint32_t at;

    if (node->index == 0)
        return;
    at = node->index - 1;
    assert(at < heap->count && heap->nodes[at] == node);
    last = heap->nodes[--heap->count];
    node->index = 0;
    if (last == node)
        return;
    place(heap, last, at);
    move_up(heap, last);
    move_down(heap, last);
}

struct heap_node *heap_first(const struct heap *heap)
{
    return heap->count > 0 ? heap->nodes[0] : NULL;
}

uint64_t heap_deadline_ms(const struct heap *heap)
{
    return heap->count > 0 ? heap->nodes[0]->at_ms : MESH_NEVER;
}
