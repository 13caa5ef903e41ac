/* h1_inside.h - what the files of the HTTP parser tell each other: h1_lex.c walks the bytes of a
 * head, h1_field.c tells names apart, h1.c judges the head and leads, h1_body.c counts bodies and
 * chunks, h1_head.c answers questions and writes, h1_memo.c knows heads again. Nobody else includes
 * it. */
#ifndef HTTP_H1_INSIDE_H
#define HTTP_H1_INSIDE_H

#include "http/h1.h"

enum lex_state {
    LEX_START,
    LEX_START_LF,
    LEX_METHOD,
    LEX_TARGET,
    LEX_VERSION,
    LEX_STATUS,
    LEX_REASON,
    LEX_LINE_LF,
    LEX_FIELD,
    LEX_NAME,
    LEX_BLANK,
    LEX_VALUE,
    LEX_VALUE_LF,
    LEX_END_LF,
    LEX_DONE
};

enum h1_class { H1_TOKEN = 1, H1_VALUE = 2, H1_TARGET = 4 };

/* The classes of each byte: RFC 9110 section 5.6.2 (token) and 5.5 (field value, with obs-text and
 * tab). A target may hold any byte that is neither blank nor control: gate answers 404 to the odd
 * ones (row H26). */
extern const uint8_t h1_class_of[256];

/* Ends all reading; responses always say 502. Returns H1_ERROR. */
enum h1_event h1_fail(struct h1 *h, uint16_t status, const char *reason);
/* Walks on to the end of the head (or of the trailers) or of the input; how far it came. Every
 * verdict falls at a certain byte, so that the split of the input changes none. */
size_t h1_lex(struct h1 *h, const uint8_t *data, size_t length);
/* Bytes of a token, of a field value, of a target from p on, at most `length`. */
size_t h1_count_token(const uint8_t *p, size_t length);
size_t h1_count_value(const uint8_t *p, size_t length);
size_t h1_count_target(const uint8_t *p, size_t length);

/* What a header's name says by itself. */
enum h1_rule {
    H1_STAYS = 1,    /* its line does not go to the next hop */
    H1_PROTECTED = 2 /* Connection must not name it */
};
/* `name` is a token. *rules: of enum h1_rule. */
enum h1_field h1_field_of(struct slice name, uint8_t *rules);
/* Appends; a buffer that does not exist yet gets at least `first` bytes. */
bool h1_append(struct bytes **bufp, struct bytes_budget *budget, const uint8_t *data, size_t length,
               size_t first);
/* A value of Content-Length: digits, and not too many. */
bool h1_read_length(struct slice value, uint64_t *length);
void h1_head_free(struct h1_head *head); /* NULL is fine */
/* Is this the head that was remembered last? Then h->head is that one, and its length is returned;
 * else 0. */
size_t h1_memo_find(struct h1 *h, const uint8_t *data, size_t length);
void h1_memo_keep(struct h1 *h); /* of a message that is over; h->head is NULL if it is kept */
void h1_memo_forget(struct h1 *h);
/* The head is judged: its body comes next. */
void h1_body_start(struct h1 *h);
/* h1_feed() and h1_eof() within a body. */
enum h1_event h1_body_feed(struct h1 *h, const uint8_t *data, size_t length, size_t *used);
enum h1_event h1_body_eof(struct h1 *h);

static inline size_t h1_least(uint64_t a, size_t b)
{
    return a < b ? (size_t)a : b;
}

#endif
