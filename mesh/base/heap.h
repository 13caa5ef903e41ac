/* heap.h - deadlines, the nearest first. Nodes sit in their owners, who find themselves with
 * container_of (list.h). What happens at a deadline is the owner's. */
#ifndef MESH_HEAP_H
#define MESH_HEAP_H

#include <stdint.h>

/* All zero: in no heap. Its owner reads `at_ms` at most, while it is in one. */
struct heap_node {
    uint64_t at_ms;
    uint64_t order; /* of nodes with equal deadlines, who was set first comes first */
    uint32_t index; /* place in the heap, from 1; 0: in none */
};

struct heap {
    struct heap_node **nodes;
    uint32_t count, capacity;
    uint64_t order; /* of the last node set */
};

void heap_init(struct heap *heap);
void heap_deinit(struct heap *heap); /* frees no node; the nodes count as being in no heap */
/* Puts the node in or moves it; MESH_NEVER takes it out. A node that is set to the time it has
 * keeps its place among equals. -ENOMEM: only when putting in; the node is in no heap. */
int heap_set(struct heap *heap, struct heap_node *node, uint64_t at_ms);
void heap_remove(struct heap *heap, struct heap_node *node); /* in no heap is fine */
struct heap_node *heap_first(const struct heap *heap);       /* NULL: empty */
uint64_t heap_deadline_ms(const struct heap *heap);          /* MESH_NEVER: empty */

#endif
