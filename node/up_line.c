/* up_line.c - see up_line.h. */
#include "node/up_line.h"

#include <errno.h>
#include <string.h>

#define LINE_FIRST 4096u

void line_reader_init(struct line_reader *reader, size_t max,
                      void (*on_line)(struct line_reader *reader, struct slice text))
{
    *reader = (struct line_reader){.max = max, .on_line = on_line};
}

void line_reader_free(struct line_reader *reader)
{
    bytes_unref(reader->line);
    large_free(reader->large);
    reader->line = NULL;
    reader->large = NULL;
}

/* From here on the line is read, not kept. */
static int begin_large(struct line_reader *reader)
{
    struct large_text *large = large_new();
    struct bytes *line = reader->line;
    if (large == NULL)
        return -ENOMEM;
    if (line != NULL)
        (void)large_feed(large, line->data, line->length);
    bytes_unref(line);
    reader->line = NULL;
    reader->large = large;
    return 0;
}

static void end_large(struct line_reader *reader)
{
    /* Off the reader first: it may be freed by what the line brings about. */
    struct large_text *large = reader->large;
    uint8_t id[LARGE_ID_MAX];
    size_t id_length, length;
    reader->large = NULL;
    enum rpc_kind kind = large_end(large, id, &id_length, &length);
    if (reader->on_large != NULL)
        reader->on_large(reader, kind, slice_borrow(id, id_length), length);
    large_free(large);
}

static void end_line(struct line_reader *reader, struct slice text)
{
    if (text.length > 0 && text.at[text.length - 1] == '\r')
        text.length--;
    if (text.length > 0)
        reader->on_line(reader, text);
}

static void end_kept(struct line_reader *reader)
{
    /* Off the reader first: it may be freed by what the line brings about. */
    struct bytes *line = reader->line;
    reader->line = NULL;
    end_line(reader, slice_of(line, 0, line->length));
    bytes_unref(line);
}

/* Room for `length` bytes more of a line that is kept. */
static int make_room(struct line_reader *reader, size_t length)
{
    if (reader->line == NULL) {
        reader->line = bytes_new(reader->budget, length > LINE_FIRST ? length : LINE_FIRST);
        return reader->line == NULL ? -ENOMEM : 0;
    }
    return bytes_grow(&reader->line, length);
}

/* Part of a line, its end not among it. */
static int keep_part(struct line_reader *reader, const char *data, size_t length)
{
    size_t have = reader->line != NULL ? reader->line->length : 0;
    if (reader->cuts && length > reader->max - have)
        length = reader->max - have;
    if (reader->large == NULL && (length > reader->max - have || make_room(reader, length) < 0)) {
        int rc = begin_large(reader);
        if (rc < 0)
            return rc;
    }
    if (reader->large != NULL)
        return large_feed(reader->large, data, length);
    memcpy(reader->line->data + have, data, length);
    reader->line->length += length;
    return 0;
}

int line_reader_feed(struct line_reader *reader, const char *data, size_t length)
{
    int rc = 0;
    while (rc == 0 && length > 0) {
        const char *end = memchr(data, '\n', length);
        size_t part = end != NULL ? (size_t)(end - data) : length;
        if (end != NULL && reader->line == NULL && reader->large == NULL && part <= reader->max)
            end_line(reader, slice_borrow(data, part));
        else {
            rc = keep_part(reader, data, part);
            if (rc == 0 && end != NULL && reader->large != NULL)
                end_large(reader);
            else if (rc == 0 && end != NULL)
                end_kept(reader);
        }
        part += end != NULL;
        data += part;
        length -= part;
    }
    return rc;
}

void line_reader_end(struct line_reader *reader)
{
    if (reader->large == NULL && reader->line != NULL)
        end_kept(reader);
}
