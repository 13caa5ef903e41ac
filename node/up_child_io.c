/* up_child_io.c - what a process of a stdio server says, line by line, and what it is told. */
#include <errno.h>
#include <stdlib.h>

#include "node/log.h"
#include "node/up_stdio.h"

#define STDIN_MAX (32u << 20) /* bytes a child may leave unread */
#define KEPT_MAX (64u << 10)  /* of a spare's words; what one read brings may come on top */
#define ERROR_LINE_MAX 1024u  /* of a longer one the beginning is logged */
#define ERROR_LINES 10u       /* logged in one second */

/* ---- what it says ---------------------------------------------------------------------------- */

/* A message counts, not a byte: many programs print how they are used, and end. */
static void note_spoke(struct child *child)
{
    struct up_stdio *kind = child->kind;
    child->spoke = true;
    kind->failures = 0;
    kind->probe_ms = STDIO_PROBE_MS;
    child_note_start_over(child);
    stdio_start_waiting(kind);
}

/* Many servers print to stdout what belongs to stderr: one line more or less. Its text may be a
 * message in part, so it is not shown. */
static void note_babble(struct child *child, size_t length)
{
    child->kind->upstream->stats.lines_dropped++;
    log_write(child->has_babbled ? LOG_DEBUG : LOG_WARN, "child_line_dropped",
              "pid=%d bytes=%zu why=%s", child->process.pid, length,
              "no JSON-RPC message on standard output");
    child->has_babbled = true;
}

static void on_line(struct line_reader *lines, struct slice text)
{
    struct child *child = container_of(lines, struct child, lines);
    struct upstream *upstream = child->kind->upstream;
    struct rpc_message rpc;
    if (child->state == CHILD_GONE)
        return;
    struct rpc_tools *tools = child->wants_tools ? &child->kind->tools : NULL;
    rpc_read(&rpc, tools, text.at, text.length);
    if (rpc.kind == RPC_BAD) {
        note_babble(child, text.length);
        return;
    }
    if (!child->spoke)
        note_spoke(child);
    bool has_tools = tools != NULL && rpc.kind == RPC_RESPONSE && tools->count > 0;
    child->wants_tools = child->wants_tools && !has_tools;
    child->room -= (int64_t)text.length;
    (void)mesh_up_message(upstream->host->mesh, child->handle, MESH_NO_CALL, &rpc,
                          has_tools ? tools : NULL, text, child_now_ms(child));
}

static void on_large_line(struct line_reader *lines, enum rpc_kind kind, struct slice id,
                          size_t length)
{
    struct child *child = container_of(lines, struct child, lines);
    struct upstream *upstream = child->kind->upstream;
    if (child->state == CHILD_GONE)
        return;
    if (kind == RPC_BAD) {
        note_babble(child, length);
        return;
    }
    upstream->stats.lines_large++;
    log_warn("child_line_too_large", "pid=%d bytes=%zu answers=%d", child->process.pid, length,
             kind == RPC_RESPONSE || kind == RPC_ERROR);
    if (!child->spoke)
        note_spoke(child);
    mesh_up_too_large(upstream->host->mesh, child->handle, kind, id, child_now_ms(child));
}

static void tell_errors_dropped(struct child *child)
{
    if (child->error_lines > ERROR_LINES)
        log_warn("child_stderr_dropped", "pid=%d lines=%u", child->process.pid,
                 child->error_lines - ERROR_LINES);
    child->error_lines = 0;
}

static void on_error_line(struct line_reader *lines, struct slice text)
{
    struct child *child = container_of(lines, struct child, errors);
    uint64_t second_ms = child_now_ms(child) / 1000;
    if (child->error_ms != second_ms) {
        tell_errors_dropped(child);
        child->error_ms = second_ms;
    }
    if (++child->error_lines <= ERROR_LINES)
        log_info("child_stderr", "pid=%d text=%.*s", child->process.pid,
                 (int)(text.length < 256 ? text.length : 256), (const char *)text.at);
}

/* Whoever takes it shall hear all of it, so beyond the cap its next words wait in its pipe. */
static void keep(struct child *child, const char *data, size_t length)
{
    int rc = 0;
    if (child->state != CHILD_RUNNING)
        return;
    if (child->kept == NULL)
        child->kept = bytes_new(NULL, length);
    else
        rc = bytes_grow(&child->kept, length);
    if (child->kept == NULL || rc < 0) {
        child_fail(child);
        return;
    }
    memcpy(child->kept->data + child->kept->length, data, length);
    child->kept->length += length;
    child->is_paused = child->kept->length >= KEPT_MAX;
    if (child->is_paused)
        (void)uv_read_stop((uv_stream_t *)&child->out);
}

/* Its readers are behind: what it says next waits in its pipe, and then in itself. */
static void pause_if_full(struct child *child)
{
    if (child->room > 0 || child->is_paused || child->state == CHILD_GONE)
        return;
    child->is_paused = true;
    (void)uv_read_stop((uv_stream_t *)&child->out);
}

static void on_out(uv_stream_t *stream, ssize_t length, const uv_buf_t *buf)
{
    struct child *child = stream->data;
    if (length > 0 && handle_is_none(child->handle))
        keep(child, buf->base, (size_t)length);
    else if (length > 0) {
        if (line_reader_feed(&child->lines, buf->base, (size_t)length) < 0)
            child_fail(child);
        pause_if_full(child);
    } else if (length < 0) {
        child->out_ended = true;
        if (child->exited)
            child_end_exited(child);
        else
            child_begin_end(child); /* it will say nothing more: let it go */
    }
}

void child_give_room(struct child *child, size_t bytes)
{
    child->room += (int64_t)bytes;
    if (child->room <= 0 || !child->is_paused || child_is_spare(child) ||
        child->state == CHILD_GONE)
        return;
    child->is_paused = false;
    (void)uv_read_start((uv_stream_t *)&child->out, host_alloc, on_out);
}

void child_io_read_kept(struct child *child)
{
    struct bytes *kept = child->kept;
    child->kept = NULL;
    if (kept != NULL && line_reader_feed(&child->lines, (const char *)kept->data, kept->length) < 0)
        child_fail(child);
    bytes_unref(kept);
    if (child->is_paused)
        (void)uv_read_start((uv_stream_t *)&child->out, host_alloc, on_out);
    child->is_paused = false;
}

static void on_err(uv_stream_t *stream, ssize_t length, const uv_buf_t *buf)
{
    struct child *child = stream->data;
    if (length > 0)
        (void)line_reader_feed(&child->errors, buf->base, (size_t)length);
    else if (length < 0) {
        child->err_ended = true;
        (void)uv_read_stop(stream);
        if (child->exited)
            child_end_exited(child);
    }
}

/* ---- what it is told ------------------------------------------------------------------------- */

static void on_written(struct writer *writer, int status)
{
    struct child *child = container_of(writer, struct child, writer);
    uint32_t sent = 0;
    if (child->state != CHILD_RUNNING && child->state != CHILD_ENDING)
        return;
    while (sent < child->calls_count && child->calls[sent].at < writer->taken)
        mesh_up_sent(child_mesh(child), child->handle, child->calls[sent++].call,
                     child_now_ms(child));
    child->calls_count -= sent;
    memmove(child->calls, child->calls + sent, child->calls_count * sizeof *child->calls);
    if (status < 0)
        child_begin_end(child); /* it closed its input; what it still says is read */
    if (child->state == CHILD_ENDING && (status < 0 || writer->length == 0))
        child_close_handle((uv_handle_t *)&child->in);
}

static int note_call(struct child *child, uint32_t call)
{
    if (child->calls_count == child->calls_room) {
        uint32_t room = child->calls_room == 0 ? 4 : child->calls_room * 2;
        struct child_call *calls = realloc(child->calls, room * sizeof *calls);
        if (calls == NULL)
            return -ENOMEM;
        child->calls = calls;
        child->calls_room = room;
    }
    child->calls[child->calls_count++] =
        (struct child_call){call, child->writer.taken + child->writer.length};
    return 0;
}

/* One message is one line: legal JSON has raw line ends between its tokens only. */
static struct bytes *flatten(struct slice text, const struct patch *patch)
{
    struct bytes *buf = writer_patched(text, patch);
    for (size_t i = 0; buf != NULL && i < buf->length; i++) {
        if (buf->data[i] == '\n' || buf->data[i] == '\r')
            buf->data[i] = ' ';
    }
    return buf;
}

void child_send(struct child *child, const struct mesh_effect *effect)
{
    struct slice text = effect->send.text;
    struct writer *writer = &child->writer;
    int rc = note_call(child, effect->call);
    child->wants_tools = child->wants_tools || effect->send.lists_tools;
    if (rc == 0 && (memchr(text.at, '\n', text.length) != NULL ||
                    memchr(text.at, '\r', text.length) != NULL)) {
        struct bytes *flat = flatten(text, &effect->patch);
        rc = flat == NULL ? -ENOMEM : writer_add_take(writer, flat);
    } else if (rc == 0)
        rc = writer_add_patched(writer, text, &effect->patch);
    if (rc == 0)
        rc = writer_add_static(writer, "\n");
    if (rc < 0 || writer->length > STDIN_MAX)
        child_fail(child); /* half a line, or a reader that does not read */
}

/* ---- its beginning and end ------------------------------------------------------------------- */

void child_io_init(struct child *child)
{
    line_reader_init(&child->lines, MESH_MESSAGE_MAX, on_line);
    child->lines.on_large = on_large_line;
    child->lines.budget = &child->kind->upstream->host->bodies;
    line_reader_init(&child->errors, ERROR_LINE_MAX, on_error_line);
    child->errors.cuts = true;
    writer_init(&child->writer, &child->kind->upstream->host->writers, (uv_stream_t *)&child->in,
                on_written);
    child->writer.held = true;
    child->room = MESH_UP_ROOM_FIRST;
}

int child_io_start(struct child *child)
{
    int rc = uv_read_start((uv_stream_t *)&child->out, host_alloc, on_out);
    if (rc == 0)
        rc = uv_read_start((uv_stream_t *)&child->err, host_alloc, on_err);
    return rc;
}

void child_io_end(struct child *child)
{
    line_reader_end(&child->errors); /* last words seldom have a line end */
    tell_errors_dropped(child);
    writer_stop(&child->writer);
}
