/* h1_lex.c - the lexer of HTTP heads and trailers: every byte once, in order; line ends, names,
 * values and caps, nothing of their meaning. Bare CR or LF, folded lines, blanks around names and
 * control characters end here. */
#include "http/h1_inside.h"

#include <stdlib.h>
#include <string.h>

#include "mesh/base/wide.h"

#define METHOD_MAX 24
#define VERSION_LENGTH 8 /* "HTTP/1.1" */

const uint8_t h1_class_of[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    2, 7, 6, 7, 7, 7, 7, 7, 6, 6, 7, 7, 6, 7, 7, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 6, 6, 6, 6, 6, 6,
    6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 6, 6, 6, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 6, 7, 6, 7, 0,
    6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6,
    6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6,
    6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6,
    6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6,
};

/* Marks what does not belong to this class, and of what does the little that runs are not made of:
 * a token's but letters, digits and '-', a value's tab. */
static inline wide_marks mark_odd(wide_bytes bytes, uint8_t class)
{
    if (class == H1_TOKEN)
        return ~(((bytes | 0x20) - 'a' < 26) | (bytes - '0' < 10) | (bytes == '-'));
    return (bytes < (uint8_t)(class == H1_VALUE ? ' ' : '!')) | (bytes == 0x7f);
}

/* Bytes of this class from p on, at most `length`. What is odd falls to the table. */
static inline size_t count_class(const uint8_t *p, size_t length, uint8_t class)
{
    size_t n = 0;

    for (;;) {
        while (length - n >= WIDE) {
            size_t plain = wide_unmarked(mark_odd(wide_load(p + n), class));

            n += plain;
            if (plain < WIDE)
                break;
        }
        if (n >= length || (h1_class_of[p[n]] & class) == 0)
            return n;
        n++;
    }
}

size_t h1_count_token(const uint8_t *p, size_t length)
{
    return count_class(p, length, H1_TOKEN);
}

size_t h1_count_value(const uint8_t *p, size_t length)
{
    return count_class(p, length, H1_VALUE);
}

size_t h1_count_target(const uint8_t *p, size_t length)
{
    return count_class(p, length, H1_TARGET);
}

/* How much longer this field line may get. */
static size_t line_room(const struct h1 *h)
{
    uint32_t line = h->line_at + h->limits.line_max;
    uint32_t block = h->block_at + h->limits.header_bytes_max;
    uint32_t end = line < block ? line : block;

    return end > h->at ? end - h->at : 0;
}

/* Takes a run of a class and says how long it was; fails when it goes on beyond `room`. */
static inline size_t lex_run(struct h1 *h, const uint8_t *p, size_t length, uint8_t class,
                             size_t room, uint16_t status)
{
    size_t n = count_class(p, length < room ? length : room, class);

    h->at += (uint32_t)n;
    if (n == room && length > room && (h1_class_of[p[n]] & class) != 0)
        h1_fail(h, status,
                status == 414   ? "target too long"
                : status == 501 ? "method not known"
                : status == 431 ? "header line or block too long"
                                : "malformed first line");
    return n;
}

static bool header_open(struct h1 *h)
{
    struct h1_head *grown;
    uint32_t room;

    if (h->lines_count >= h->limits.headers_max) {
        h1_fail(h, 431, "too many header lines");
        return false;
    }
    h->lines_count++;
    if (h->in_trailers)
        return true;
    if (h->head->headers_count == h->head->headers_room) {
        room = h->head->headers_room * 2;
        grown = realloc(h->head, sizeof *grown + room * sizeof grown->headers[0]);
        if (grown == NULL) {
            h1_fail(h, 503, "no memory");
            return false;
        }
        grown->headers_room = room;
        h->head = grown;
    }
    h->head->headers[h->head->headers_count].name.at = h->at;
    return true;
}

/* One delimiter: what may follow the run that ended at this byte. */
static bool lex_mark(struct h1 *h, uint8_t byte)
{
    struct h1_head *head = h->head;
    struct h1_header *header;
    bool is_request = h->direction == H1_REQUESTS;

    switch ((enum lex_state)h->state) {
    case LEX_METHOD:
        head->method_text.length = h->at;
        head->target.at = h->at + 1;
        h->state = LEX_TARGET;
        return byte == ' ' && h->at > 0;
    case LEX_TARGET:
        head->target.length = h->at - head->target.at;
        h->line_at = h->at + 1;
        h->state = LEX_VERSION;
        return byte == ' ' && head->target.length > 0;
    case LEX_VERSION:
        h->state = is_request ? LEX_LINE_LF : LEX_STATUS;
        return byte == (is_request ? '\r' : ' ') && h->at - h->line_at == VERSION_LENGTH;
    case LEX_STATUS:
        head->reason.at = h->at + 1;
        h->state = byte == ' ' ? LEX_REASON : LEX_LINE_LF;
        return (byte == ' ' || byte == '\r') && h->at == VERSION_LENGTH + 4;
    case LEX_REASON:
        head->reason.length = h->at - head->reason.at;
        h->state = LEX_LINE_LF;
        return byte == '\r';
    case LEX_LINE_LF:
        h->state = LEX_FIELD;
        h->block_at = h->at + 1;
        return byte == '\n';
    case LEX_NAME:
        if (!h->in_trailers) {
            header = &head->headers[head->headers_count];
            header->name.length = h->at - header->name.at;
        }
        h->state = LEX_BLANK;
        return byte == ':';
    case LEX_VALUE:
        if (!h->in_trailers) {
            header = &head->headers[head->headers_count++];
            header->value.length = h->at - header->value.at;
        }
        h->state = LEX_VALUE_LF;
        return byte == '\r';
    case LEX_VALUE_LF:
        h->state = LEX_FIELD;
        return byte == '\n';
    case LEX_END_LF:
        h->state = LEX_DONE;
        return byte == '\n';
    case LEX_START:
    case LEX_START_LF:
    case LEX_FIELD:
    case LEX_BLANK:
    case LEX_DONE:
        break;
    }
    return false;
}

/* The start of a field line: a name, or the CR of the empty line. */
static void lex_field(struct h1 *h, uint8_t byte)
{
    h->line_at = h->at;
    if (byte == '\r') {
        h->at++;
        h->state = LEX_END_LF;
    } else if ((h1_class_of[byte] & H1_TOKEN) == 0) {
        h1_fail(h, 400, "header line without a name");
    } else if (header_open(h)) {
        h->state = LEX_NAME;
    }
}

/* A field line that is wholly there, well formed, and within all caps; its length, and the state is
 * LEX_FIELD again. 0: the walk byte by byte decides, nothing was taken. */
static size_t lex_whole_line(struct h1 *h, const uint8_t *p, size_t length)
{
    size_t name, value_at, end, room;
    struct h1_header *header;

    h->line_at = h->at;
    room = line_room(h);
    length = length < room ? length : room;
    name = count_class(p, length, H1_TOKEN);
    if (name == 0 || name == length || p[name] != ':')
        return 0;
    for (value_at = name + 1; value_at < length && (p[value_at] == ' ' || p[value_at] == '\t');)
        value_at++;
    end = value_at + count_class(p + value_at, length - value_at, H1_VALUE);
    if (length - end < 2 || p[end] != '\r' || p[end + 1] != '\n' || !header_open(h))
        return 0;
    if (!h->in_trailers) {
        header = &h->head->headers[h->head->headers_count++];
        header->name.length = (uint32_t)name;
        header->value.at = h->at + (uint32_t)value_at;
        header->value.length = (uint32_t)(end - value_at);
    }
    h->at += (uint32_t)end + 2;
    return end + 2;
}

static size_t lex_blank(struct h1 *h, const uint8_t *p, size_t length)
{
    size_t n = 0, room = line_room(h);

    while (n < length && n < room && (p[n] == ' ' || p[n] == '\t'))
        n++;
    h->at += (uint32_t)n;
    if (n < length) {
        h->state = LEX_VALUE; /* which fails there if the room is used up */
        if (!h->in_trailers)
            h->head->headers[h->head->headers_count].value.at = h->at;
    }
    return n;
}

size_t h1_lex(struct h1 *h, const uint8_t *data, size_t length)
{
    size_t i = 0;

    while (i < length && h->state != LEX_DONE && h->phase != H1_PHASE_ERROR) {
        const uint8_t *p = data + i;
        size_t left = length - i, n = 0;

        switch ((enum lex_state)h->state) {
        case LEX_METHOD:
            n = lex_run(h, p, left, H1_TOKEN, METHOD_MAX - h->at, 501);
            break;
        case LEX_TARGET:
            n = lex_run(h, p, left, H1_TARGET, h->head->target.at + h->limits.line_max - h->at,
                        414);
            break;
        case LEX_VERSION:
            n = lex_run(h, p, left, H1_TARGET, h->line_at + VERSION_LENGTH - h->at, 400);
            break;
        case LEX_STATUS:
            n = lex_run(h, p, left, H1_TARGET, VERSION_LENGTH + 4 - h->at, 400);
            break;
        case LEX_REASON:
            n = lex_run(h, p, left, H1_VALUE, h->head->reason.at + h->limits.line_max - h->at, 400);
            break;
        case LEX_NAME:
            n = lex_run(h, p, left, H1_TOKEN, line_room(h), 431);
            break;
        case LEX_VALUE:
            n = lex_run(h, p, left, H1_VALUE, line_room(h), 431);
            break;
        case LEX_FIELD:
            n = lex_whole_line(h, p, left);
            i += n;
            if (n > 0 || h->phase == H1_PHASE_ERROR)
                continue;
            lex_field(h, *p);
            i += h->state == LEX_END_LF;
            continue;
        case LEX_BLANK:
            i += lex_blank(h, p, left);
            continue;
        case LEX_LINE_LF:
        case LEX_VALUE_LF:
        case LEX_END_LF:
        case LEX_START:
        case LEX_START_LF:
        case LEX_DONE:
            break;
        }
        i += n;
        if (n == left || h->phase == H1_PHASE_ERROR)
            continue;
        if (!lex_mark(h, p[n])) {
            h1_fail(h, 400, "malformed line");
            continue;
        }
        h->at++;
        i++;
        if (h->state >= LEX_FIELD && h->at - h->block_at > h->limits.header_bytes_max)
            h1_fail(h, 431, "header block too long");
    }
    return i;
}
