/* sse.c - see sse.h. The reader walks each byte once, whatever its line ends: a stream of bare CRs
 * costs no more than one of LFs. The writer never lets a byte of an id, a name or data end a line.
 */
#include "http/sse.h"

#include <errno.h>
#include <string.h>

/* Positions in the stream's grammar. */
enum sse_state {
    SSE_BOM,
    SSE_FIELD, /* in a field's name */
    SSE_SPACE, /* behind the colon */
    SSE_VALUE,
    SSE_COMMENT,
    SSE_DEAD
};

enum sse_field { FIELD_OTHER, FIELD_DATA, FIELD_ID, FIELD_EVENT, FIELD_RETRY };

#define FIELD_TOO_LONG 6 /* longer than any name we know: sizeof field */

static const uint8_t bom[3] = {0xef, 0xbb, 0xbf};

/* Bytes before the first CR or LF; length if there is none. Eight at a time: a byte equals one of
 * the two when the xor with it is zero there. */
static size_t until_line_end(const uint8_t *p, size_t length)
{
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    size_t i = 0;

    for (; length - i >= 8; i += 8) {
        uint64_t word, cr, lf;

        memcpy(&word, p + i, 8);
        cr = word ^ (ones * '\r');
        lf = word ^ (ones * '\n');
        if ((((cr - ones) & ~cr) | ((lf - ones) & ~lf)) & highs)
            break;
    }
    while (i < length && p[i] != '\r' && p[i] != '\n')
        i++;
    return i;
}

uint32_t sse_clamp_retry(uint64_t retry_ms)
{
    if (retry_ms < SSE_RETRY_MIN_MS)
        return SSE_RETRY_MIN_MS;
    return retry_ms > SSE_RETRY_MAX_MS ? SSE_RETRY_MAX_MS : (uint32_t)retry_ms;
}

/* --- Reader ----------------------------------------------------------------------------------- */

void sse_reader_init(struct sse_reader *reader, size_t event_max, struct bytes_budget *budget)
{
    *reader = (struct sse_reader){.event_max = event_max, .budget = budget, .state = SSE_BOM};
}

static void drop(struct bytes **bufp)
{
    bytes_unref(*bufp);
    *bufp = NULL;
}

void sse_reader_deinit(struct sse_reader *reader)
{
    drop(&reader->data);
    drop(&reader->id);
    drop(&reader->name);
    drop(&reader->next_id);
    reader->state = SSE_DEAD;
}

static int append(struct sse_reader *reader, struct bytes **bufp, const uint8_t *p, size_t length,
                  size_t max)
{
    struct bytes *buf = *bufp;
    size_t more;

    if (length > max || (buf != NULL && buf->length > max - length))
        return -EMSGSIZE;
    if (buf == NULL) {
        buf = *bufp = bytes_new(reader->budget, length > 64 ? length : 64);
        if (buf == NULL)
            return -ENOMEM;
    } else if (buf->capacity - buf->length < length) {
        more = buf->length > length ? buf->length : length;
        if (bytes_grow(bufp, more) < 0 && (more == length || bytes_grow(bufp, length) < 0))
            return -ENOMEM;
        buf = *bufp;
    }
    if (length > 0)
        memcpy(buf->data + buf->length, p, length);
    buf->length += length;
    return 0;
}

static struct slice whole(struct bytes *buf)
{
    return buf != NULL ? slice_of(buf, 0, buf->length) : (struct slice){0};
}

/* Data of an event: gathered, or once that is too much given out as it comes. */
static int add_data(struct sse_reader *reader, struct slice part)
{
    if (!reader->is_large) {
        int rc = append(reader, &reader->data, part.at, part.length, reader->event_max);

        if (rc != -EMSGSIZE || !reader->gives_parts)
            return rc;
        reader->is_large = true;
        if (reader->data != NULL)
            reader->parts[reader->parts_count++] = whole(reader->data);
    }
    if (part.length > 0)
        reader->parts[reader->parts_count++] = part;
    return 0;
}

/* The whole data line that is still only in the input goes to a buffer of ours. */
static int keep_pending(struct sse_reader *reader)
{
    if (!reader->has_pending)
        return 0;
    reader->has_pending = false;
    return add_data(reader, reader->pending);
}

static enum sse_field name_field(const char *name, size_t length)
{
    if (length == 4 && memcmp(name, "data", 4) == 0)
        return FIELD_DATA;
    if (length == 2 && memcmp(name, "id", 2) == 0)
        return FIELD_ID;
    if (length == 5 && memcmp(name, "event", 5) == 0)
        return FIELD_EVENT;
    if (length == 5 && memcmp(name, "retry", 5) == 0)
        return FIELD_RETRY;
    return FIELD_OTHER;
}

/* The value begins (or is empty, for a line without colon). */
static int begin_value(struct sse_reader *reader)
{
    int rc = 0;

    reader->field_kind = (uint8_t)name_field(reader->field, reader->field_length);
    switch ((enum sse_field)reader->field_kind) {
    case FIELD_DATA:
        rc = keep_pending(reader);
        if (rc == 0 && reader->has_data)
            rc = add_data(reader, slice_borrow("\n", 1));
        break;
    case FIELD_ID:
        drop(&reader->next_id);
        reader->has_next_id = reader->is_bad_id = false;
        break;
    case FIELD_EVENT:
        drop(&reader->name);
        break;
    case FIELD_RETRY:
        reader->retry_number = 0;
        reader->retry_digits = 0;
        break;
    case FIELD_OTHER:
        break;
    }
    return rc;
}

static void take_retry(struct sse_reader *reader, const uint8_t *p, size_t length)
{
    size_t i;

    for (i = 0; i < length; i++) {
        if (p[i] < '0' || p[i] > '9')
            reader->retry_digits = UINT8_MAX; /* not a number: ignored as a whole */
        if (reader->retry_digits == UINT8_MAX)
            return;
        reader->retry_digits = 1;
        if (reader->retry_number <= SSE_RETRY_MAX_MS)
            reader->retry_number = reader->retry_number * 10 + (uint32_t)(p[i] - '0');
    }
}

/* Part of a value; `is_whole`: all of it, from its first byte to its line's end. */
static int take_value(struct sse_reader *reader, struct slice part, bool is_whole)
{
    switch ((enum sse_field)reader->field_kind) {
    case FIELD_DATA:
        if (is_whole && !reader->has_data && part.length <= reader->event_max) {
            reader->pending = part;
            reader->has_pending = true;
            return 0;
        }
        return add_data(reader, part);
    case FIELD_ID:
        if (part.length > 0 && memchr(part.at, '\0', part.length) != NULL)
            reader->is_bad_id = true;
        return append(reader, &reader->next_id, part.at, part.length, SSE_ID_MAX);
    case FIELD_EVENT:
        return append(reader, &reader->name, part.at, part.length, SSE_NAME_MAX);
    case FIELD_RETRY:
        take_retry(reader, part.at, part.length);
        return 0;
    case FIELD_OTHER:
        break;
    }
    return 0;
}

static void end_value(struct sse_reader *reader)
{
    switch ((enum sse_field)reader->field_kind) {
    case FIELD_DATA:
        reader->has_data = true;
        break;
    case FIELD_ID:
        reader->has_next_id = !reader->is_bad_id;
        if (reader->is_bad_id)
            drop(&reader->next_id);
        break;
    case FIELD_RETRY:
        if (reader->retry_digits == 1)
            reader->retry_ms = reader->block_retry_ms = sse_clamp_retry(reader->retry_number);
        break;
    case FIELD_EVENT:
    case FIELD_OTHER:
        break;
    }
}

/* The empty line: the block's id counts from here on; with data it is an event. */
static bool end_block(struct sse_reader *reader, struct sse_event *event)
{
    bool has_id = reader->has_next_id, is_event = reader->has_data;

    if (has_id) {
        bytes_unref(reader->id);
        reader->id = reader->next_id;
        reader->next_id = NULL;
    }
    if (is_event) {
        *event = (struct sse_event){
            .id = whole(reader->id),
            .name = whole(reader->name),
            .data = reader->has_pending ? reader->pending : whole(reader->data),
            .retry_ms = reader->block_retry_ms,
            .has_id = has_id,
            .is_large = reader->is_large,
        };
        reader->is_event_out = true;
    } else {
        drop(&reader->name);
    }
    reader->has_next_id = reader->has_data = reader->has_pending = reader->is_large = false;
    reader->block_retry_ms = 0;
    return is_event;
}

/* A line ended; true: and with it an event. */
static bool end_line(struct sse_reader *reader, struct sse_event *event, int *rc)
{
    bool is_event = false;

    switch ((enum sse_state)reader->state) {
    case SSE_FIELD:
        if (reader->field_length == 0) {
            is_event = end_block(reader, event);
            break;
        }
        *rc = begin_value(reader);
        if (*rc == 0)
            *rc = take_value(reader, (struct slice){0}, true);
        end_value(reader);
        break;
    case SSE_SPACE:
        *rc = take_value(reader, (struct slice){0}, true);
        end_value(reader);
        break;
    case SSE_VALUE:
        end_value(reader);
        break;
    case SSE_COMMENT:
    case SSE_BOM:
    case SSE_DEAD:
        break;
    }
    reader->state = SSE_FIELD;
    reader->field_length = 0;
    return is_event;
}

/* A byte of a field's name that is no line end. */
static int take_name(struct sse_reader *reader, uint8_t byte)
{
    if (byte == ':') {
        reader->state = reader->field_length == 0 ? SSE_COMMENT : SSE_SPACE;
        if (reader->state == SSE_COMMENT)
            reader->comments_count++;
        return reader->state == SSE_SPACE ? begin_value(reader) : 0;
    }
    if (reader->field_length < FIELD_TOO_LONG)
        reader->field[reader->field_length++] = (char)byte;
    return 0;
}

/* A mark at the very start is no part of the first line; a part of one is. */
static int take_bom(struct sse_reader *reader, uint8_t byte, bool *is_taken)
{
    uint8_t i;

    *is_taken = byte == bom[reader->bom_count];
    if (*is_taken) {
        if (++reader->bom_count == sizeof bom)
            reader->state = SSE_FIELD;
        return 0;
    }
    reader->state = SSE_FIELD;
    for (i = 0; i < reader->bom_count; i++)
        take_name(reader, bom[i]);
    return 0;
}

/* Everything of the input up to a line end that belongs to one state; how much it was. */
static size_t take_run(struct sse_reader *reader, struct slice in, size_t at, int *rc)
{
    const uint8_t *p = in.at + at;
    size_t left = in.length - at, n = 0;
    bool is_first = false, is_taken;

    switch ((enum sse_state)reader->state) {
    case SSE_BOM:
        *rc = take_bom(reader, *p, &is_taken);
        return is_taken;
    case SSE_FIELD:
        *rc = take_name(reader, *p);
        return 1;
    case SSE_SPACE:
        reader->state = SSE_VALUE;
        n = *p == ' ';
        is_first = true;
        break;
    case SSE_COMMENT:
        return until_line_end(p, left);
    case SSE_VALUE:
    case SSE_DEAD:
        break;
    }
    if (!is_first || n < left) {
        size_t length = until_line_end(p + n, left - n);
        struct slice part = {in.buf, p + n, length};

        *rc = take_value(reader, part, is_first && n + length < left);
        n += length;
    }
    return n;
}

static void forget_event(struct sse_reader *reader)
{
    reader->is_event_out = false;
    drop(&reader->data);
    drop(&reader->name);
}

static bool next_part(struct sse_reader *reader, struct sse_event *event)
{
    if (reader->parts_at == reader->parts_count)
        return false;
    *event = (struct sse_event){.data = reader->parts[reader->parts_at++]};
    return true;
}

static void forget_parts(struct sse_reader *reader)
{
    if (reader->parts_count > 0)
        drop(&reader->data); /* what was gathered before there were too many */
    reader->parts_at = reader->parts_count = 0;
}

enum sse_result sse_read(struct sse_reader *reader, struct slice in, size_t *used,
                         struct sse_event *event)
{
    bool is_event = false;
    int rc = 0;
    size_t i = 0;

    *used = 0;
    if (reader->state == SSE_DEAD)
        return SSE_ERROR;
    if (reader->is_event_out)
        forget_event(reader);
    if (next_part(reader, event))
        return SSE_PART;
    forget_parts(reader);
    while (i < in.length && !is_event && rc == 0 && reader->parts_count == 0) {
        uint8_t byte = in.at[i];
        bool was_cr = reader->skip_lf;

        reader->skip_lf = false;
        if (was_cr && byte == '\n') {
            i++;
        } else if ((byte == '\r' || byte == '\n') && reader->state != SSE_BOM) {
            reader->skip_lf = byte == '\r';
            is_event = end_line(reader, event, &rc);
            i++;
        } else if (byte == '\r' || byte == '\n') {
            bool is_taken;

            rc = take_bom(reader, byte, &is_taken); /* leaves SSE_BOM: the line ends next time */
        } else {
            i += take_run(reader, in, i, &rc);
        }
    }
    *used = i;
    if (rc == 0 && !is_event)
        rc = keep_pending(reader);
    if (rc < 0) {
        sse_reader_deinit(reader);
        reader->error = rc;
        return SSE_ERROR;
    }
    if (next_part(reader, event))
        return SSE_PART;
    return is_event ? SSE_EVENT : SSE_MORE;
}

bool sse_reader_is_between(const struct sse_reader *reader)
{
    return reader->state <= SSE_FIELD && reader->field_length == 0 && !reader->has_data &&
           !reader->has_next_id && reader->name == NULL && reader->bom_count % sizeof bom == 0;
}

/* --- Writer ----------------------------------------------------------------------------------- */

bool sse_needs_split(struct slice data)
{
    return until_line_end(data.at, data.length) < data.length;
}

static bool fits_a_line(struct slice s)
{
    return s.length == 0 || (!sse_needs_split(s) && memchr(s.at, '\0', s.length) == NULL);
}

size_t sse_prefix_room(const struct sse_event *event)
{
    return event->id.length + event->name.length + 64;
}

static size_t put(uint8_t *to, const void *bytes, size_t length)
{
    if (length > 0)
        memcpy(to, bytes, length);
    return length;
}

static size_t put_line(uint8_t *to, const char *field, struct slice value)
{
    size_t n = put(to, field, strlen(field));

    n += put(to + n, value.at, value.length);
    to[n] = '\n';
    return n + 1;
}

/* id, event and retry; the room was checked. */
static size_t put_fields(uint8_t *to, const struct sse_event *event)
{
    uint8_t digits[10];
    size_t n = 0, at = sizeof digits;
    uint32_t retry_ms = event->retry_ms;

    if (event->id.length > 0)
        n += put_line(to, "id: ", event->id);
    if (event->name.length > 0)
        n += put_line(to + n, "event: ", event->name);
    if (retry_ms > 0) {
        for (; retry_ms > 0; retry_ms /= 10)
            digits[--at] = (uint8_t)('0' + retry_ms % 10);
        n += put_line(to + n, "retry: ", slice_borrow(digits + at, sizeof digits - at));
    }
    return n;
}

int sse_write_prefix(uint8_t *to, size_t room, const struct sse_event *event)
{
    size_t n;

    if (!fits_a_line(event->id) || !fits_a_line(event->name))
        return -EINVAL;
    if (room < sse_prefix_room(event) || room > INT32_MAX)
        return -ENOSPC;
    n = put_fields(to, event);
    return (int)(n + put(to + n, "data: ", 6));
}

size_t sse_write_retry(uint8_t to[SSE_RETRY_ROOM], uint32_t retry_ms)
{
    const struct sse_event event = {.retry_ms = retry_ms};
    size_t n = put_fields(to, &event);

    return n + put(to + n, "\n", 1);
}

int sse_copy_event(struct bytes_budget *budget, const struct sse_event *event, struct bytes **textp)
{
    struct slice data = event->data;
    size_t at, lines = 1, n;
    struct bytes *text;

    if (!fits_a_line(event->id) || !fits_a_line(event->name))
        return -EINVAL;
    for (at = until_line_end(data.at, data.length); at < data.length;
         at += 1 + until_line_end(data.at + at + 1, data.length - at - 1))
        lines++; /* CR LF counts twice: room, not content */
    if (data.length > SIZE_MAX / 8)
        return -ENOMEM;
    text = bytes_new(budget, sse_prefix_room(event) + data.length + lines * 7 + 1);
    if (text == NULL)
        return -ENOMEM;
    n = put_fields(text->data, event);
    for (at = 0;;) {
        size_t length = until_line_end(data.at + at, data.length - at);

        n += put_line(text->data + n, "data: ", slice_borrow(data.at + at, length));
        at += length;
        if (at >= data.length)
            break;
        at += data.at[at] == '\r' && at + 1 < data.length && data.at[at + 1] == '\n' ? 2 : 1;
    }
    text->data[n++] = '\n';
    text->length = n;
    *textp = text;
    return 0;
}
