/* bytes.c - ref-counted buffers under a budget, and views of them. What the bytes mean is decided
 * elsewhere. */
#include "mesh/base/bytes.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of a small buffer. Under AddressSanitizer all are as large as was asked for. */
#ifdef SPARE_NONE
#define SMALL ((size_t)0)
#else
#define SMALL ((size_t)512)
#endif

static bool budget_take(struct bytes_budget *budget, size_t amount)
{
    if (budget == NULL)
        return true;
    if (budget->used > budget->max || amount > budget->max - budget->used)
        return false;
    budget->used += amount;
    return true;
}

static void budget_give(struct bytes_budget *budget, size_t amount)
{
    if (budget == NULL)
        return;
    assert(budget->used >= amount);
    budget->used -= amount;
}

void bytes_budget_keep(struct bytes_budget *budget, uint32_t small_max)
{
    assert(budget->used == 0);
    budget->small_max = SMALL > 0 ? small_max : 0;
}

void bytes_budget_deinit(struct bytes_budget *budget)
{
    spare_deinit(&budget->small);
}

/* Such a buffer has room for SMALL bytes, whatever its capacity. */
static inline bool is_small(const struct bytes_budget *budget, size_t capacity)
{
    return budget != NULL && budget->small_max > 0 && capacity <= SMALL;
}

struct bytes *bytes_new(struct bytes_budget *budget, size_t capacity)
{
    struct bytes *buf = NULL;

    if (capacity > SIZE_MAX - sizeof *buf || !budget_take(budget, capacity))
        return NULL;
    if (is_small(budget, capacity))
        buf = spare_take(&budget->small, sizeof *buf + SMALL);
    else
        buf = malloc(sizeof *buf + capacity);
    if (buf == NULL) {
        budget_give(budget, capacity);
        return NULL;
    }
    buf->refs = 1;
    buf->budget = budget;
    buf->capacity = capacity;
    buf->length = 0;
    return buf;
}

struct bytes *bytes_copy(struct bytes_budget *budget, const void *data, size_t length)
{
    struct bytes *buf = bytes_new(budget, length);

    if (buf != NULL && length > 0) {
        memcpy(buf->data, data, length);
        buf->length = length;
    }
    return buf;
}

static int resize(struct bytes **bufp, size_t capacity)
{
    struct bytes *buf = *bufp, *moved;
    size_t more = capacity - buf->capacity;

    if (capacity > SIZE_MAX - sizeof *buf || !budget_take(buf->budget, more))
        return -ENOMEM;
    moved = is_small(buf->budget, capacity) ? buf : realloc(buf, sizeof *buf + capacity);
    if (moved == NULL) {
        budget_give(buf->budget, more);
        return -ENOMEM;
    }
    moved->capacity = capacity;
    *bufp = moved;
    return 0;
}

int bytes_grow(struct bytes **bufp, size_t more)
{
    struct bytes *buf = *bufp;
    size_t needed;
    int rc = -ENOMEM;

    assert(buf->refs == 1);
    if (more > SIZE_MAX - buf->length)
        return -ENOMEM;
    needed = buf->length + more;
    if (needed <= buf->capacity)
        return 0;
    /* Doubling keeps appending linear; near the end of the budget the bare need must do. */
    if (buf->capacity <= SIZE_MAX / 2 && needed < buf->capacity * 2)
        rc = resize(bufp, buf->capacity * 2);
    if (rc < 0)
        rc = resize(bufp, needed);
    return rc;
}

void bytes_free(struct bytes *buf)
{
    budget_give(buf->budget, buf->capacity);
    if (is_small(buf->budget, buf->capacity))
        spare_give(&buf->budget->small, buf, buf->budget->small_max);
    else
        free(buf);
}

int slice_copy(struct slice *keep, struct slice s, struct bytes_budget *budget)
{
    struct bytes *copy = bytes_copy(budget, s.at, s.length);

    *keep = (struct slice){NULL, NULL, 0};
    if (copy == NULL)
        return -ENOMEM;
    *keep = slice_of(copy, 0, s.length);
    return 0;
}
