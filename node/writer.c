/* writer.c - see writer.h. One uv_write at a time and of bounded size, so that its callbacks show
 * how fast the reader is; everything else goes by uv_try_write, which costs no request. */
#include "node/writer.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define FLUSH_BYTES (256u << 10)

void writer_init(struct writer *writer, struct writers *all, uv_stream_t *stream,
                 void (*on_written)(struct writer *writer, int status))
{
    *writer = (struct writer){.all = all, .stream = stream, .on_written = on_written};
    writer->pieces = writer->few;
    writer->room = WRITER_PIECES_FEW;
}

/* Makes room for twice as many pieces. */
static int grow(struct writer *writer)
{
    uint32_t room = writer->room * 2;
    bool were_few = writer->pieces == writer->few;
    struct writer_piece *pieces = realloc(were_few ? NULL : writer->pieces, room * sizeof *pieces);
    if (pieces == NULL)
        return -ENOMEM;
    if (were_few)
        memcpy(pieces, writer->few, sizeof writer->few);
    writer->pieces = pieces;
    writer->room = room;
    return 0;
}

/* An idle connection holds no memory. */
static void shrink(struct writer *writer)
{
    if (writer->pieces != writer->few)
        free(writer->pieces);
    writer->pieces = writer->few;
    writer->room = WRITER_PIECES_FEW;
    writer->first = 0;
}

static void unmark(struct writer *writer)
{
    if (writer->link == NULL)
        return;
    *writer->link = writer->next;
    if (writer->next != NULL)
        writer->next->link = writer->link;
    writer->next = NULL;
    writer->link = NULL;
}

static void mark(struct writer *writer)
{
    if (writer->link != NULL || writer->held || writer->failed || writer->flying > 0)
        return;
    writer->next = writer->all->first;
    writer->link = &writer->all->first;
    if (writer->next != NULL)
        writer->next->link = &writer->next;
    writer->all->first = writer;
}

static int push(struct writer *writer, struct slice s, size_t credit)
{
    if (writer->first > 0 && writer->first + writer->count == writer->room) {
        memmove(writer->pieces, writer->pieces + writer->first,
                writer->count * sizeof *writer->pieces);
        writer->first = 0;
    }
    if (writer->count == writer->room && grow(writer) < 0)
        return -ENOMEM;
    writer->pieces[writer->first + writer->count++] = (struct writer_piece){s, credit};
    writer->length += s.length;
    mark(writer);
    return 0;
}

int writer_add(struct writer *writer, struct slice s, size_t credit)
{
    if (s.length == 0)
        return 0;
    if (writer->failed)
        return 0; /* its owner has been told, or will be */
    struct slice keep;
    int rc = slice_keep(&keep, s, NULL);
    if (rc == 0) {
        rc = push(writer, keep, credit);
        if (rc < 0)
            slice_drop(&keep);
    }
    return rc;
}

int writer_add_patched(struct writer *writer, struct slice text, const struct patch *patch)
{
    if (patch->cut == 0 && patch->put.length == 0)
        return writer_add(writer, text, text.length);
    assert(patch->at <= text.length && patch->cut <= text.length - patch->at);
    struct slice before = {text.buf, text.at, patch->at};
    size_t behind = patch->at + patch->cut;
    struct slice after = {text.buf, text.at + behind, text.length - behind};
    int rc = writer_add(writer, before, before.length);
    if (rc == 0)
        rc = writer_add(writer, patch->put, patch->cut);
    if (rc == 0)
        rc = writer_add(writer, after, after.length);
    return rc;
}

int writer_add_copy(struct writer *writer, const void *data, size_t length)
{
    return writer_add(writer, slice_borrow(data, length), 0);
}

int writer_add_static(struct writer *writer, const char *text)
{
    return writer->failed ? 0 : push(writer, slice_text(text), 0);
}

int writer_add_take(struct writer *writer, struct bytes *buf)
{
    int rc = 0;
    if (buf->length == 0 || writer->failed)
        bytes_unref(buf);
    else {
        rc = push(writer, slice_of(buf, 0, buf->length), 0);
        if (rc < 0)
            bytes_unref(buf);
    }
    return rc;
}

static void drop_first(struct writer *writer)
{
    struct writer_piece *piece = &writer->pieces[writer->first];
    writer->length -= piece->s.length;
    slice_drop(&piece->s);
    writer->first++;
    writer->count--;
    if (writer->count == 0)
        shrink(writer);
}

static void took(struct writer *writer, size_t bytes)
{
    writer->taken += bytes;
    while (bytes > 0) {
        struct writer_piece *piece = &writer->pieces[writer->first];
        if (bytes < piece->s.length) {
            /* Part of a patch's put counts nothing: what it stands for is taken with its end. */
            size_t credit = piece->credit == piece->s.length ? bytes : 0;
            writer->credit += credit;
            piece->credit -= credit;
            piece->s.at += bytes;
            piece->s.length -= bytes;
            writer->length -= bytes;
            return;
        }
        bytes -= piece->s.length;
        writer->credit += piece->credit;
        drop_first(writer);
    }
}

static void drop_from(struct writer *writer, uint32_t keep)
{
    while (writer->count > keep) {
        struct writer_piece *piece = &writer->pieces[writer->first + writer->count - 1];
        writer->length -= piece->s.length;
        slice_drop(&piece->s);
        writer->count--;
    }
}

static void fail(struct writer *writer, int status)
{
    writer->failed = true;
    drop_from(writer, 0);
    writer->on_written(writer, status);
}

static void on_write(uv_write_t *request, int status)
{
    struct writer *writer = request->data;
    size_t bytes = writer->flying_bytes;
    free(request);
    writer->flying = 0;
    if (status == UV_ECANCELED || writer->failed) /* closing: writer_free() follows */
        return;
    if (status < 0) {
        fail(writer, status);
        return;
    }
    took(writer, bytes);
    if (writer->count > 0)
        mark(writer);
    writer->on_written(writer, 0);
}

/* Returns how many pieces, the last perhaps in part, make the next write of *bytes. */
static uint32_t gather(const struct writer *writer, uv_buf_t *bufs, size_t *bytes)
{
    uint32_t n = 0;
    *bytes = 0;
    while (n < writer->count && n < WRITER_FLUSH_PIECES && *bytes < FLUSH_BYTES) {
        struct slice s = writer->pieces[writer->first + n].s;
        size_t part = FLUSH_BYTES - *bytes < s.length ? FLUSH_BYTES - *bytes : s.length;
        /* libuv does not write through a const pointer. */
        bufs[n++] = uv_buf_init((char *)(uintptr_t)s.at, (unsigned)part);
        *bytes += part;
    }
    return n;
}

/* What is small goes as one piece: copying it costs less than what the kernel does for each more.
 */
static uint32_t join_small(struct writers *all, uint32_t n, size_t bytes)
{
    size_t at = 0;
    if (n < 2 || bytes > sizeof all->small)
        return n;
    for (uint32_t i = 0; i < n; i++) {
        memcpy(all->small + at, all->bufs[i].base, all->bufs[i].len);
        at += all->bufs[i].len;
    }
    all->bufs[0] = uv_buf_init(all->small, (unsigned)at);
    return 1;
}

/* The kernel takes no more now: libuv waits for it. Most connections never need a request, so it
 * is made where one does. */
static int write_later(struct writer *writer)
{
    uv_buf_t *bufs = writer->all->bufs;
    size_t bytes;
    uint32_t n = gather(writer, bufs, &bytes);
    uv_write_t *request = malloc(sizeof *request);
    if (request == NULL)
        return UV_ENOMEM;
    request->data = writer;
    int rc = uv_write(request, writer->stream, bufs, n, on_write);
    if (rc < 0) {
        free(request);
        return rc;
    }
    writer->flying = n;
    writer->flying_bytes = bytes;
    return 0;
}

/* How many bytes the kernel took, or a negative errno. One piece for a TCP socket is sent as libuv
 * would write it, on a shorter way through the kernel. */
static int write_now(struct writer *writer, const uv_buf_t *bufs, uint32_t n)
{
    uv_stream_t *stream = writer->stream;
    uv_os_fd_t fd;
    if (n != 1 || stream->type != UV_TCP || uv_stream_get_write_queue_size(stream) > 0 ||
        uv_fileno((uv_handle_t *)stream, &fd) < 0)
        return uv_try_write(stream, bufs, n);
    ssize_t sent = send(fd, bufs[0].base, bufs[0].len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0)
        return errno == EINTR || errno == EWOULDBLOCK ? UV_EAGAIN : uv_translate_sys_error(errno);
    return (int)sent;
}

static void flush(struct writer *writer)
{
    uv_buf_t *bufs = writer->all->bufs;
    uint64_t before = writer->taken;
    size_t bytes;
    int rc = 0;
    while (writer->count > 0 && rc >= 0) {
        uint32_t n = gather(writer, bufs, &bytes);
        rc = write_now(writer, bufs, join_small(writer->all, n, bytes));
        if (rc > 0)
            took(writer, (size_t)rc);
    }
    if (rc == UV_EAGAIN)
        rc = write_later(writer);
    if (rc < 0)
        fail(writer, rc);
    else if (writer->taken != before)
        writer->on_written(writer, 0);
}

void writer_release(struct writer *writer)
{
    writer->held = false;
    if (writer->count > 0)
        mark(writer);
}

void writer_stop(struct writer *writer)
{
    unmark(writer);
    writer->failed = true;
    drop_from(writer, writer->flying);
}

void writer_free(struct writer *writer)
{
    unmark(writer);
    writer->flying = 0;
    drop_from(writer, 0);
    shrink(writer);
}

bool writers_flush(struct writers *all)
{
    bool any = false;
    /* On a list of its own: what is added during the calls is the next round's. */
    struct writer *todo = all->first;
    all->first = NULL;
    if (todo != NULL)
        todo->link = &todo;
    while (todo != NULL) {
        struct writer *writer = todo;
        unmark(writer);
        any = true;
        flush(writer);
    }
    return any;
}

struct bytes *writer_patched(struct slice text, const struct patch *patch)
{
    size_t behind = patch->at + patch->cut;
    size_t length = text.length - patch->cut + patch->put.length;
    struct bytes *buf = bytes_new(NULL, length);
    if (buf == NULL)
        return NULL;
    uint8_t *at = buf->data;
    const struct slice parts[] = {
        {NULL, text.at, patch->at},
        patch->put,
        {NULL, text.at + behind, text.length - behind},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (parts[i].length > 0)
            memcpy(at, parts[i].at, parts[i].length);
        at += parts[i].length;
    }
    buf->length = length;
    return buf;
}
