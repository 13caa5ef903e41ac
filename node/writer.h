/* writer.h - what is to be written to one stream: slices gathered over a turn, written together,
 * their references held until the kernel took them. It counts how much of what the core gave was
 * taken; what a failure means is its owner's business. */
#ifndef NODE_WRITER_H
#define NODE_WRITER_H

#include <uv.h>

#include "mesh/base/bytes.h"

struct writers; /* those of a host that have something to flush */

#define WRITER_PIECES_FEW 4u /* head and patched body: no memory is asked for */

struct writer_piece {
    struct slice s;
    size_t credit;
};

struct writer {
    struct writers *all;
    uv_stream_t *stream;
    /* Called from writers_flush() or the loop, never from writer_add_*(): some bytes were taken
     * (status 0), or the stream failed (negative errno; nothing is written any more). May close
     * the stream. */
    void (*on_written)(struct writer *writer, int status);
    struct writer_piece few[WRITER_PIECES_FEW];
    struct writer_piece *pieces; /* `few`, or memory of its own while there are more */
    uint32_t first, count, room;
    uint32_t flying; /* pieces of the uv_write under way */
    size_t flying_bytes;
    size_t length;     /* bytes not yet taken by the kernel */
    size_t credit;     /* bytes taken of what was added with credit: the owner sets it back */
    uint64_t taken;    /* bytes taken since writer_init() */
    bool failed, held; /* held: nothing is flushed (not connected yet) */
    struct writer *next, **link; /* in writers */
};

#define WRITER_FLUSH_PIECES 64u  /* of one write */
#define WRITER_SMALL_BYTES 2048u /* that are written as one piece */

struct writers {
    struct writer *first;
    uv_buf_t bufs[WRITER_FLUSH_PIECES]; /* scratch of a flush */
    char small[WRITER_SMALL_BYTES];     /* as well */
};

void writer_init(struct writer *writer, struct writers *all, uv_stream_t *stream,
                 void (*on_written)(struct writer *writer, int status));
/* Adds a slice: takes a reference, or copies what is merely borrowed. `credit`: how many bytes of
 * the core's it stands for; counted in writer.credit as they are taken. 0 or -ENOMEM. */
int writer_add(struct writer *writer, struct slice s, size_t credit);
/* A text with a patch, as up to three pieces whose credit is the text's length together. */
int writer_add_patched(struct writer *writer, struct slice text, const struct patch *patch);
int writer_add_copy(struct writer *writer, const void *data, size_t length);
int writer_add_static(struct writer *writer, const char *text); /* lives for ever */
/* Takes the reference that the caller holds, also on failure. */
int writer_add_take(struct writer *writer, struct bytes *buf);
void writer_release(struct writer *writer); /* no longer held: flush */
/* Drops what is queued and not under way; the stream is about to be closed. */
void writer_stop(struct writer *writer);
void writer_free(struct writer *writer); /* after the stream's close callback */

/* The text with its patch applied, as a buffer of its own; NULL: no memory. For where it cannot be
 * gathered. */
struct bytes *writer_patched(struct slice text, const struct patch *patch);

bool writers_flush(struct writers *all); /* whether there was anything to do */

#endif
