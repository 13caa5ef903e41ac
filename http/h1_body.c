/* h1_body.c - bodies: counted, collected or handed on; chunks unwrapped more strictly than llhttp
 * does (rows H12 to H16), trailers read and dropped. Which framing a body has was decided in
 * h1.c. */
#include "http/h1_inside.h"

#include <assert.h>
#include <string.h>

#define CHUNK_DIGITS_MAX 16
#define CHUNK_FREE_BYTES 4096 /* chunk framing that needs no body to justify it (row H16) */
#define CHUNK_RATIO_MAX 16
/* A body's buffer grows with what really came: an announced length alone pins no more. */
#define BODY_STEP_BYTES (256u * 1024)

enum chunk_state {
    CHUNK_SIZE,
    CHUNK_EXTENSION_START,
    CHUNK_EXTENSION,
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_TRAILERS
};

bool h1_append(struct bytes **bufp, struct bytes_budget *budget, const uint8_t *data, size_t length,
               size_t first)
{
    struct bytes *buf = *bufp;

    if (buf == NULL) {
        buf = bytes_new(budget, length > first ? length : first);
        if (buf == NULL)
            return false;
        *bufp = buf;
    } else if (buf->capacity - buf->length < length) {
        size_t more = buf->length > length ? buf->length : length;

        if (bytes_grow(bufp, more) < 0 && (more == length || bytes_grow(bufp, length) < 0))
            return false;
        buf = *bufp;
    }
    if (length > 0)
        memcpy(buf->data + buf->length, data, length);
    buf->length += length;
    return true;
}

void h1_body_start(struct h1 *h)
{
    h->phase = H1_PHASE_BODY;
    h->left = h->head->framing == H1_LENGTH ? h->head->content_length : 0;
    h->chunk_state = CHUNK_SIZE;
    h->chunk_digits = 0;
    h->in_trailers = false;
    h->overhead = h->body_bytes = 0;
}

static enum h1_event end_message(struct h1 *h)
{
    h->phase = H1_PHASE_DONE;
    return H1_END;
}

/* Makes room in the body's buffer for what is left of it, but not for more than a few times of
 * what came. */
static bool make_body_room(struct h1 *h)
{
    size_t more;

    if (h->body == NULL) {
        h->body = bytes_new(h->budget, h1_least(h->left, BODY_STEP_BYTES));
        return h->body != NULL;
    }
    if (h->body->length < h->body->capacity)
        return true;
    more = h->body->length > BODY_STEP_BYTES ? h->body->length : BODY_STEP_BYTES;
    return bytes_grow(&h->body, h1_least(h->left, more)) == 0;
}

static enum h1_event feed_length(struct h1 *h, const uint8_t *data, size_t length, size_t *used)
{
    size_t n;

    if (h->left > 0 && length > 0 && !h->limits.collect) {
        n = h1_least(h->left, length);
        h->part = slice_borrow(data, n);
        h->left -= n;
        h->body_bytes += n;
        *used = n;
        return H1_BODY;
    }
    while (h->left > 0 && *used < length) {
        if (!make_body_room(h))
            return h1_fail(h, 503, "no room for the body");
        n = h1_least(h->left, length - *used);
        n = h1_least(h->body->capacity - h->body->length, n);
        memcpy(h->body->data + h->body->length, data + *used, n);
        h->body->length += n;
        h->left -= n;
        h->body_bytes += n;
        *used += n;
    }
    return h->left == 0 ? end_message(h) : H1_MORE;
}

static int hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

static bool chunk_begin(struct h1 *h)
{
    h->chunk_digits = 0;
    if (h->left == 0) {
        h->chunk_state = CHUNK_TRAILERS;
        h->in_trailers = true;
        h->state = LEX_FIELD;
        h->at = h->line_at = h->block_at = h->lines_count = 0;
        return true;
    }
    h->chunk_state = CHUNK_DATA;
    if (h->left > INT64_MAX ||
        (h->limits.body_max > 0 &&
         (h->left > h->limits.body_max || h->body_bytes > h->limits.body_max - h->left))) {
        h1_fail(h, 413, "body too large");
        return false;
    }
    return true;
}

/* One byte of what stands around the data of chunks (rows H12 to H16). */
static bool chunk_mark(struct h1 *h, uint8_t byte)
{
    int digit;

    if (++h->overhead > CHUNK_FREE_BYTES &&
        (h->overhead - CHUNK_FREE_BYTES) / CHUNK_RATIO_MAX > h->body_bytes)
        return false;
    switch ((enum chunk_state)h->chunk_state) {
    case CHUNK_SIZE:
        digit = hex_digit(byte);
        if (digit >= 0) {
            h->left = (h->chunk_digits == 0 ? 0 : h->left << 4) | (uint64_t)digit;
            return ++h->chunk_digits <= CHUNK_DIGITS_MAX;
        }
        h->chunk_state = byte == ';' ? CHUNK_EXTENSION_START : CHUNK_SIZE_LF;
        return h->chunk_digits > 0 && (byte == ';' || byte == '\r');
    case CHUNK_EXTENSION_START:
        h->chunk_state = CHUNK_EXTENSION;
        return (h1_class_of[byte] & H1_TOKEN) != 0;
    case CHUNK_EXTENSION:
        if (byte == '\r')
            h->chunk_state = CHUNK_SIZE_LF;
        return byte == '\r' || (h1_class_of[byte] & H1_VALUE) != 0;
    case CHUNK_SIZE_LF:
        return byte == '\n' && chunk_begin(h);
    case CHUNK_DATA_CR:
        h->chunk_state = CHUNK_DATA_LF;
        return byte == '\r';
    case CHUNK_DATA_LF:
        h->chunk_state = CHUNK_SIZE;
        return byte == '\n';
    case CHUNK_DATA:
    case CHUNK_TRAILERS:
        break;
    }
    return false;
}

static enum h1_event feed_chunked(struct h1 *h, const uint8_t *data, size_t length, size_t *used)
{
    while (*used < length) {
        const uint8_t *p = data + *used;
        size_t n = length - *used;

        if (h->chunk_state == CHUNK_TRAILERS) {
            *used += h1_lex(h, p, n);
            if (h->phase == H1_PHASE_ERROR)
                return H1_ERROR;
            return h->state == LEX_DONE ? end_message(h) : H1_MORE;
        }
        if (h->chunk_state != CHUNK_DATA) {
            ++*used;
            if (!chunk_mark(h, *p))
                return h->phase == H1_PHASE_ERROR ? H1_ERROR : h1_fail(h, 400, "malformed chunk");
            continue;
        }
        n = h1_least(h->left, n);
        if (h->limits.collect &&
            !h1_append(&h->body, h->budget, p, n, h1_least(h->left, BODY_STEP_BYTES)))
            return h1_fail(h, 503, "no room for the body");
        *used += n;
        h->body_bytes += n;
        h->left -= n;
        if (h->left == 0)
            h->chunk_state = CHUNK_DATA_CR;
        if (!h->limits.collect) {
            h->part = slice_borrow(p, n);
            return H1_BODY;
        }
    }
    return H1_MORE;
}

static enum h1_event feed_until_close(struct h1 *h, const uint8_t *data, size_t length,
                                      size_t *used)
{
    if (length == 0)
        return H1_MORE;
    if (h->limits.body_max > 0 && length > h->limits.body_max - h->body_bytes)
        return h1_fail(h, 413, "body too large");
    *used = length;
    h->body_bytes += length;
    if (h->limits.collect)
        return h1_append(&h->body, h->budget, data, length, 0)
                   ? H1_MORE
                   : h1_fail(h, 503, "no room for the body");
    h->part = slice_borrow(data, length);
    return H1_BODY;
}

enum h1_event h1_body_feed(struct h1 *h, const uint8_t *data, size_t length, size_t *used)
{
    switch (h->head->framing) {
    case H1_NO_BODY:
        break;
    case H1_LENGTH:
        return feed_length(h, data, length, used);
    case H1_CHUNKED:
        return feed_chunked(h, data, length, used);
    case H1_UNTIL_CLOSE:
        return feed_until_close(h, data, length, used);
    }
    return end_message(h);
}

enum h1_event h1_body_eof(struct h1 *h)
{
    if (h->head->framing == H1_NO_BODY || h->head->framing == H1_UNTIL_CLOSE ||
        (h->head->framing == H1_LENGTH && h->left == 0))
        return end_message(h);
    return h1_fail(h, 400, "closed within a body");
}

bool h1_body_room(struct h1 *h, uint8_t **at, size_t *length)
{
    if (h->phase != H1_PHASE_BODY || h->head->framing != H1_LENGTH || h->left == 0 ||
        !h->limits.collect || !make_body_room(h))
        return false; /* without memory h1_feed() says so */
    *at = h->body->data + h->body->length;
    *length = h1_least(h->left, h->body->capacity - h->body->length);
    return true;
}

enum h1_event h1_body_filled(struct h1 *h, size_t length)
{
    assert(h->phase == H1_PHASE_BODY && h->body != NULL && length <= h->left &&
           length <= h->body->capacity - h->body->length);
    h->body->length += length;
    h->body_bytes += length;
    h->left -= length;
    return h->left == 0 ? end_message(h) : H1_MORE;
}

struct slice h1_body(const struct h1 *h)
{
    return h->body != NULL ? slice_of(h->body, 0, h->body->length) : (struct slice){0};
}

struct bytes *h1_body_take(struct h1 *h)
{
    struct bytes *body = h->body;

    h->body = NULL;
    return body;
}
