/* up_line.c - see up_line.h. */
#include "node/up_line.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LINE_HOPELESS (1u << 30) /* offsets of a scan are 32 bit; nobody means such a line */
#define LINE_FIRST 4096u
#define ERROR_MAX 1024u

void line_reader_init(struct line_reader *reader, size_t max,
                      void (*on_line)(struct line_reader *reader, struct slice text))
{
    reader->max = max;
    reader->on_line = on_line;
    reader->cuts = false;
    reader->line = NULL;
    reader->scan = NULL;
    reader->length = 0;
}

void line_reader_free(struct line_reader *reader)
{
    bytes_unref(reader->line);
    free(reader->scan);
    reader->line = NULL;
    reader->scan = NULL;
}

static void feed_long(struct line_reader *reader, const char *data, size_t length)
{
    rpc_scan_feed(reader->scan, data, length);
    for (size_t i = length > LINE_TAIL ? length - LINE_TAIL : 0; i < length; i++)
        reader->tail[(reader->length + i) % LINE_TAIL] = (uint8_t)data[i];
    reader->length += length;
}

/* From here on the line is read, not kept. */
static int begin_long(struct line_reader *reader)
{
    reader->scan = malloc(sizeof *reader->scan);
    if (reader->scan == NULL)
        return -ENOMEM;
    rpc_scan_begin(reader->scan, NULL);
    reader->length = 0;
    if (reader->line != NULL)
        feed_long(reader, (const char *)reader->line->data, reader->line->length);
    return 0;
}

static bool find_id(const struct line_reader *reader, struct span id, uint8_t into[LINE_TAIL])
{
    uint64_t end = (uint64_t)id.at + id.length;
    if (id.length == 0 || id.length > LINE_TAIL)
        return false;
    if (reader->line != NULL && end <= reader->line->length)
        memcpy(into, reader->line->data + id.at, id.length);
    else if (id.at + LINE_TAIL >= reader->length) {
        for (uint32_t i = 0; i < id.length; i++)
            into[i] = reader->tail[(id.at + i) % LINE_TAIL];
    } else
        return false;
    return true;
}

static void end_long(struct line_reader *reader)
{
    uint8_t id[LINE_TAIL];
    char text[ERROR_MAX];
    rpc_scan_end(reader->scan);
    struct rpc_message facts = reader->scan->facts;
    bool answers = facts.kind == RPC_RESPONSE || facts.kind == RPC_ERROR;
    bool found = answers && find_id(reader, facts.id, id);
    line_reader_free(reader);
    if (!found)
        return;
    size_t length =
        rpc_write_error(text, sizeof text, slice_borrow(id, facts.id.length), RPC_INTERNAL_ERROR,
                        "the server's answer is larger than the 10 MiB that can be "
                        "passed on");
    if (length > 0)
        reader->on_line(reader, slice_borrow(text, length));
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

/* Part of a line, its end not among it. */
static int keep_part(struct line_reader *reader, const char *data, size_t length)
{
    int rc = 0;
    size_t have = reader->line != NULL ? reader->line->length : 0;
    if (reader->cuts && length > reader->max - have)
        length = reader->max - have;
    if (reader->scan == NULL && have + length > reader->max)
        rc = begin_long(reader);
    if (rc == 0 && reader->scan != NULL) {
        /* The id usually stands at the beginning: of a line never kept, so much is. */
        if (reader->line == NULL && reader->length == 0)
            reader->line = bytes_copy(NULL, data, length < LINE_FIRST ? length : LINE_FIRST);
        feed_long(reader, data, length);
        return reader->length > LINE_HOPELESS ? -EMSGSIZE : 0;
    }
    if (rc == 0 && reader->line == NULL) {
        reader->line = bytes_new(NULL, length > LINE_FIRST ? length : LINE_FIRST);
        rc = reader->line == NULL ? -ENOMEM : 0;
    }
    if (rc == 0 && reader->line->capacity - have < length)
        rc = bytes_grow(&reader->line, length > have ? length : have);
    if (rc == 0) {
        memcpy(reader->line->data + have, data, length);
        reader->line->length += length;
    }
    return rc;
}

int line_reader_feed(struct line_reader *reader, const char *data, size_t length)
{
    int rc = 0;
    while (rc == 0 && length > 0) {
        const char *end = memchr(data, '\n', length);
        size_t part = end != NULL ? (size_t)(end - data) : length;
        if (end != NULL && reader->line == NULL && reader->scan == NULL && part <= reader->max)
            end_line(reader, slice_borrow(data, part));
        else {
            rc = keep_part(reader, data, part);
            if (rc == 0 && end != NULL && reader->scan != NULL)
                end_long(reader);
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
    if (reader->scan == NULL && reader->line != NULL)
        end_kept(reader);
}
