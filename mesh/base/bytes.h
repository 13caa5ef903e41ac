/* bytes.h - memory that bodies, events and frames live in. A buffer is made where data enters the
 * process, counted against a budget, shared by reference and never copied between layers. What a
 * byte means is decided elsewhere. */
#ifndef MESH_BYTES_H
#define MESH_BYTES_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "mesh/base/spare.h"

/* A cap on what a group of buffers may hold together, in bytes of capacity. Of small ones that come
 * and go with each request the memory of the last few may be kept: see bytes_budget_keep(). */
struct bytes_budget {
    size_t used, max;
    struct spare small;
    uint32_t small_max; /* how many; 0: none are kept */
};

/* A ref-counted buffer. `length` bytes of `data` are filled; who made it may append up to
 * `capacity` while it holds the only reference. */
struct bytes {
    uint32_t refs;
    struct bytes_budget *budget; /* NULL: counted nowhere */
    size_t capacity, length;
    uint8_t data[];
};

/* A view of part of a buffer. `buf` NULL: the memory is borrowed for the call, or static. */
struct slice {
    struct bytes *buf;
    const uint8_t *at;
    size_t length;
};

/* `put` stands for `cut` bytes at offset `at` of a text: an id, a state. Written by writev, so
 * that a body is changed without being copied. cut 0 and an empty put: no patch. */
struct patch {
    size_t at, cut;
    struct slice put;
};

/* A place in a text, by offset: survives that the text is moved or travels. length 0: absent. */
struct span {
    uint32_t at, length;
};

/* Before the first buffer: so many small ones are kept. Who calls this ends it after the last. */
void bytes_budget_keep(struct bytes_budget *budget, uint32_t small_max);
void bytes_budget_deinit(struct bytes_budget *budget);

/* A new buffer with one reference; NULL when the budget or the machine has no room. A buffer's
 * budget must outlive it. */
struct bytes *bytes_new(struct bytes_budget *budget, size_t capacity);
struct bytes *bytes_copy(struct bytes_budget *budget, const void *data, size_t length);
/* Makes room for `more` bytes after `length`, moving the buffer if need be; the caller must hold
 * the only reference. 0, or -ENOMEM with *bufp unchanged. */
int bytes_grow(struct bytes **bufp, size_t more);
void bytes_free(struct bytes *buf); /* for bytes_unref() */

static inline struct bytes *bytes_ref(struct bytes *buf)
{
    assert(buf->refs > 0 && buf->refs < UINT32_MAX);
    buf->refs++;
    return buf;
}

/* NULL is fine; the last one frees. */
static inline void bytes_unref(struct bytes *buf)
{
    if (buf == NULL)
        return;
    assert(buf->refs > 0);
    if (--buf->refs == 0)
        bytes_free(buf);
}

static inline struct slice slice_borrow(const void *data, size_t length)
{
    return (struct slice){NULL, data, length};
}

static inline struct slice slice_text(const char *text)
{
    return slice_borrow(text, strlen(text));
}

/* Takes no reference. */
static inline struct slice slice_of(struct bytes *buf, size_t at, size_t length)
{
    assert(at <= buf->length && length <= buf->length - at);
    return (struct slice){buf, buf->data + at, length};
}

static inline struct slice slice_part(struct slice whole, struct span part)
{
    /* Spans travel between peers: one that does not fit finds nothing. */
    if (part.at > whole.length || part.length > whole.length - part.at || part.length == 0)
        return (struct slice){NULL, NULL, 0};
    return (struct slice){whole.buf, whole.at + part.at, part.length};
}

int slice_copy(struct slice *keep, struct slice s,
               struct bytes_budget *budget); /* slice_keep()'s */

/* A slice that outlives the call: takes a reference, or copies what is merely borrowed (into a
 * buffer under `budget`). -ENOMEM: *keep is empty. An empty slice is kept as an empty slice. */
static inline int slice_keep(struct slice *keep, struct slice s, struct bytes_budget *budget)
{
    if (s.length > 0 && s.buf == NULL)
        return slice_copy(keep, s, budget);
    *keep = s.length > 0 ? s : (struct slice){NULL, NULL, 0};
    if (keep->buf != NULL)
        bytes_ref(keep->buf);
    return 0;
}

/* Gives the reference back and empties it. */
static inline void slice_drop(struct slice *s)
{
    bytes_unref(s->buf);
    *s = (struct slice){NULL, NULL, 0};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.at, b.at, a.length) == 0);
}

static inline bool slice_is(struct slice s, const char *text)
{
    return slice_equal(s, slice_text(text));
}

#endif
