/* up_line.c - see up_line.h. */
#include "node/up_line.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LINE_HOPELESS (1u << 30) /* offsets of a scan are 32 bit; nobody means such a line */
#define LINE_FIRST 4096u
#define LINE_ENDS 4096u /* of a line too long: so much of its beginning and of its end is kept */

/* SDKs write the id at the beginning of the object, or (in TypeScript) at its end. */
struct large_line {
    struct rpc_scan scan;
    uint64_t length;
    uint8_t first[LINE_ENDS];
    uint8_t last[LINE_ENDS]; /* by offset modulo */
};

void line_reader_init(struct line_reader *reader, size_t max,
                      void (*on_line)(struct line_reader *reader, struct slice text))
{
    *reader = (struct line_reader){.max = max, .on_line = on_line};
}

void line_reader_free(struct line_reader *reader)
{
    bytes_unref(reader->line);
    free(reader->large);
    reader->line = NULL;
    reader->large = NULL;
}

static int feed_large(struct large_line *large, const uint8_t *data, size_t length)
{
    (void)rpc_scan_feed(&large->scan, data, length);
    for (size_t i = 0; i < length && large->length + i < LINE_ENDS; i++)
        large->first[large->length + i] = data[i];
    for (size_t i = length > LINE_ENDS ? length - LINE_ENDS : 0; i < length; i++)
        large->last[(large->length + i) % LINE_ENDS] = data[i];
    large->length += length;
    return large->length > LINE_HOPELESS ? -EMSGSIZE : 0;
}

/* From here on the line is read, not kept. */
static int begin_large(struct line_reader *reader)
{
    struct large_line *large = malloc(sizeof *large);
    struct bytes *line = reader->line;
    if (large == NULL)
        return -ENOMEM;
    rpc_scan_begin(&large->scan, NULL);
    large->length = 0;
    if (line != NULL)
        (void)feed_large(large, line->data, line->length);
    bytes_unref(line);
    reader->line = NULL;
    reader->large = large;
    return 0;
}

/* Its id, copied; 0: it stands where nothing was kept. */
static size_t find_id(const struct large_line *large, uint8_t into[LINE_ENDS])
{
    struct span id = large->scan.facts.id;
    uint64_t end = (uint64_t)id.at + id.length;
    if (end <= LINE_ENDS)
        memcpy(into, large->first + id.at, id.length);
    else if (id.at + (uint64_t)LINE_ENDS >= large->length) {
        for (uint32_t i = 0; i < id.length; i++)
            into[i] = large->last[(id.at + i) % LINE_ENDS];
    } else
        return 0;
    return id.length;
}

static void end_large(struct line_reader *reader)
{
    /* Off the reader first: it may be freed by what the line brings about. */
    struct large_line *large = reader->large;
    uint8_t id[LINE_ENDS];
    reader->large = NULL;
    rpc_scan_end(&large->scan);
    if (reader->on_large != NULL)
        reader->on_large(reader, large->scan.facts.kind, slice_borrow(id, find_id(large, id)),
                         (size_t)large->length);
    free(large);
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
        return feed_large(reader->large, (const uint8_t *)data, length);
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
