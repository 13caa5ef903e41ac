/* list.h - an intrusive doubly linked ring: a head and members of the same type, each inside its
 * owner. Nothing is allocated and nothing counted. */
#ifndef MESH_LIST_H
#define MESH_LIST_H

#include <stdbool.h>
#include <stddef.h>

/* The owner of the `member` that `at` points to. */
#define container_of(at, type, member)                                                             \
    ((type *)(void *)((char *)(void *)(at)-offsetof(type, member)))

/* A head, or a member. All zero: a member of no list. */
struct list {
    struct list *next, *prev;
};

/* Each member from the first on. The names are declared by the macro. In LIST_EACH the body takes
 * nothing out; in LIST_EACH_SAFE it may take `node` out (and free its owner), but not `after`. */
#define LIST_EACH(node, head)                                                                      \
    for (struct list *node = (head)->next; node != (head); node = node->next)
#define LIST_EACH_SAFE(node, after, head)                                                          \
    for (struct list *node = (head)->next, *after = node->next; node != (head);                    \
         node = after, after = node->next)

static inline void list_init(struct list *list) /* as a head: empty */
{
    list->next = list;
    list->prev = list;
}

static inline bool list_is_empty(const struct list *list)
{
    return list->next == list;
}

static inline struct list *list_first(const struct list *list) /* NULL: empty */
{
    return list->next != list ? list->next : NULL;
}

static inline bool list_is_linked(const struct list *node) /* a member: of some list */
{
    return node->next != NULL;
}

static inline void list_push_front(struct list *list, struct list *node)
{
    node->prev = list;
    node->next = list->next;
    list->next->prev = node;
    list->next = node;
}

static inline void list_push_back(struct list *list, struct list *node)
{
    list_push_front(list->prev, node);
}

static inline void list_remove(struct list *node) /* of no list is fine */
{
    if (node->next == NULL)
        return;
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = NULL;
    node->prev = NULL;
}

#endif
