/* fuzz_h1.h - what the two HTTP fuzzers share: a parser driven over pieces of the input, its
 * events written down so that two runs can be compared. */
#ifndef FUZZ_H1_H
#define FUZZ_H1_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/gate.h"
#include "http/h1.h"

struct record {
    uint8_t *data;
    size_t length, room;
};

static void record_add(struct record *r, const void *data, size_t length)
{
    if (r->room - r->length < length) {
        r->room = (r->length + length) * 2;
        r->data = realloc(r->data, r->room);
        if (r->data == NULL)
            abort();
    }
    if (length > 0)
        memcpy(r->data + r->length, data, length);
    r->length += length;
}

static void record_mark(struct record *r, char mark, uint64_t value)
{
    record_add(r, &mark, 1);
    record_add(r, &value, sizeof value);
}

/* How the input is fed. */
struct feeding {
    enum h1_direction direction;
    enum h1_method asked;
    uint64_t seed; /* of the pieces; 0: whole */
    bool collect, into_room;
};

static size_t next_piece(uint64_t *seed, size_t left)
{
    size_t n;

    if (*seed == 0)
        return left;
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    n = (*seed >> 33) % ((*seed >> 60) < 8 ? 4 : 64) + 1;
    return n < left ? n : left;
}

static void check_head(const struct h1 *h, struct record *r)
{
    static const struct gate_config gate = {
        .mcp_path = "/mcp", .sse_path = "/sse", .messages_path = "/messages", .body_max = 1000};
    struct gate_pass pass;
    size_t i, travelling = 0;

    record_add(r, h->head->text.at, h->head->text.length);
    for (i = 0; i < h->head->headers_count; i++) {
        struct slice value = h1_value(h->head, i);

        if ((value.length > 0 && memchr(value.at, '\n', value.length) != NULL) ||
            h1_name(h->head, i).length == 0)
            abort();
        travelling += h1_header_travels(h->head, i);
    }
    record_mark(r, 'h', h->head->headers_count << 16 | travelling);
    record_mark(r, 'f', (uint64_t)h->head->framing << 1 | h->head->keep_alive);
    record_mark(r, 'l', h->head->content_length);
    if (h->direction == H1_REQUESTS) {
        record_mark(r, 'g', gate_check(&gate, h->head, &pass));
        record_mark(r, 'r', pass.route);
    }
}

/* Returns how many bytes belong to the first message, if it ended; else 0. */
static size_t drive(const struct feeding *feeding, const uint8_t *data, size_t length,
                    struct record *r)
{
    struct h1_limits limits = h1_limits_default(feeding->direction);
    struct bytes_budget budget = {.max = 1u << 20};
    uint64_t seed = feeding->seed;
    struct record body = {0};
    size_t at = 0, first = 0;
    struct h1 h;

    limits.collect = feeding->collect;
    limits.line_max = 200;
    limits.header_bytes_max = 500;
    limits.headers_max = 20;
    limits.body_max = 2000;
    h1_init(&h, feeding->direction, &limits, &budget);
    if (feeding->direction == H1_RESPONSES)
        h1_expect_response(&h, feeding->asked);
    while (at < length) {
        size_t piece = next_piece(&seed, length - at), done = 0, used, room;
        uint8_t *copy, *to;
        enum h1_event event;

        if (feeding->into_room && h1_body_room(&h, &to, &room)) {
            piece = piece < room ? piece : room;
            memcpy(to, data + at, piece);
            if (h1_body_filled(&h, piece) == H1_END)
                goto ended;
            at += piece;
            continue;
        }
        copy = malloc(piece);
        if (copy == NULL)
            abort();
        memcpy(copy, data + at, piece);
        do {
            event = h1_feed(&h, copy + done, piece - done, &used);
            done += used;
            if (event == H1_HEAD)
                check_head(&h, r);
            else if (event == H1_BODY)
                record_add(&body, h.part.at, h.part.length);
        } while (event == H1_HEAD || event == H1_BODY);
        free(copy);
        if (event == H1_ERROR) {
            record_mark(r, 'x', h.status);
            goto out;
        }
        if (event == H1_MORE) {
            if (done != piece)
                abort();
            at += piece;
            continue;
        }
        piece = done;
    ended:
        at += piece;
        if (feeding->collect)
            record_add(&body, h1_body(&h).at, h1_body(&h).length);
        record_mark(r, 'e', body.length);
        record_add(r, body.data, body.length);
        body.length = 0;
        if (first == 0)
            first = at;
        if (!h.head->keep_alive)
            goto out;
        h1_next(&h);
        if (feeding->direction == H1_RESPONSES)
            h1_expect_response(&h, feeding->asked);
    }
    {
        /* Read before the end is told: it may let go of nothing, but ends a body. */
        enum h1_event event = h1_eof(&h);

        if (event == H1_END && feeding->collect)
            record_add(&body, h1_body(&h).at, h1_body(&h).length);
        record_mark(r, 'z', event);
        if (event == H1_END)
            record_add(r, body.data, body.length);
    }
out:
    free(body.data);
    h1_deinit(&h);
    if (budget.used != 0)
        abort();
    return first;
}

static void compare(const struct record *a, const struct record *b)
{
    if (a->length != b->length || (a->length > 0 && memcmp(a->data, b->data, a->length) != 0)) {
        fprintf(stderr, "two runs differ: %zu and %zu bytes\n", a->length, b->length);
        abort();
    }
}

#endif
