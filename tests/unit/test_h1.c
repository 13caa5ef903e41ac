/* test_h1.c - the rows H of hostile HTTP that a parser can judge, and both directions of honest
 * HTTP; every input whole, byte by byte and cut in two at each place. */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <cmocka.h>

#include "http/h1.h"

#define POST "POST /mcp HTTP/1.1\r\nHost: a\r\n"
#define GET "GET /mcp HTTP/1.1\r\nHost: a\r\n"
#define HOSTLESS "GET /mcp HTTP/1.1\r\n"
#define BYTES(text) text, sizeof(text) - 1

/* --- A run, written down --------------------------------------------------------------------- */

struct transcript {
    char text[4096];
    size_t length;
};

__attribute__((format(printf, 2, 3))) static void note(struct transcript *t, const char *format,
                                                       ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(t->text + t->length, sizeof t->text - t->length, format, args);
    va_end(args);
    assert_true(n >= 0);
    t->length += (size_t)n;
    if (t->length >= sizeof t->text)
        t->length = sizeof t->text - 1;
}

static void note_head(struct transcript *t, const struct h1 *h)
{
    static const char framings[] = "-LCU";
    const struct h1_head *head = h->head;

    if (h->direction == H1_REQUESTS)
        note(t, "%s %.*s", h1_method_text(head->method), (int)head->target.length,
             (const char *)h1_target(head).at);
    else
        note(t, "%d", head->status);
    note(t, " 1.%d %c%s%s%s", head->version_minor, framings[head->framing],
         head->keep_alive ? "k" : "", head->expects_continue ? "e" : "",
         head->has_foreign_expect ? "x" : "");
    note(t, " %u|", head->headers_count);
}

struct way {
    enum h1_direction direction;
    struct h1_limits limits;
    enum h1_method asked;
    int answers; /* how many responses are awaited */
    bool ends;   /* then the connection ends */
};

static const struct way requests = {.direction = H1_REQUESTS};

/* Bodies are noted as bytes run together, so that their parts do not matter. Parsing stops at an
 * error or where the connection may not go on. */
static void feed(struct h1 *h, struct transcript *t, const struct way *way, const uint8_t *data,
                 size_t length, bool *is_over, int *answers)
{
    enum h1_event event;
    size_t used;

    do {
        if (*is_over)
            return;
        event = h1_feed(h, data, length, &used);
        assert_true(used <= length);
        data += used;
        length -= used;
        switch (event) {
        case H1_MORE:
            assert_int_equal(length, 0);
            break;
        case H1_HEAD:
            note_head(t, h);
            break;
        case H1_BODY:
            assert_true(h->part.length > 0);
            note(t, "%.*s", h->part.length > 64 ? 64 : (int)h->part.length,
                 (const char *)h->part.at);
            break;
        case H1_END:
            if (h->limits.collect)
                note(t, "%.*s", (int)h1_body(h).length, (const char *)h1_body(h).at);
            note(t, "|");
            *is_over = !h->head->keep_alive;
            h1_next(h);
            if (--*answers > 0)
                h1_expect_response(h, way->asked);
            break;
        case H1_ERROR:
            note(t, "%d", h->status);
            assert_true(h->reason != NULL && h->reason[0] != '\0');
            *is_over = true;
            break;
        }
    } while (event != H1_MORE && event != H1_ERROR);
}

/* Feeds first `first` bytes, then pieces of `piece`. */
static void run(struct transcript *t, const struct way *way, const char *data, size_t length,
                size_t first, size_t piece)
{
    struct h1_limits limits =
        way->limits.line_max > 0 ? way->limits : h1_limits_default(way->direction);
    struct bytes_budget budget = {.max = 64u << 20};
    bool is_over = false;
    int answers = way->answers > 0 ? way->answers : 1;
    struct h1 h;
    size_t at = 0;

    t->length = 0;
    t->text[0] = '\0';
    h1_init(&h, way->direction, &limits, &budget);
    if (way->direction == H1_RESPONSES)
        h1_expect_response(&h, way->asked);
    while (at < length) {
        size_t n = at == 0 ? first : piece;
        uint8_t *copy; /* its end is watched by the sanitizer, and nothing of it may be kept */

        if (n > length - at)
            n = length - at;
        copy = malloc(n > 0 ? n : 1);
        assert_non_null(copy);
        memcpy(copy, data + at, n);
        feed(&h, t, way, copy, n, &is_over, &answers);
        memset(copy, 0xee, n);
        free(copy);
        at += n;
        if (n == 0 && first == 0)
            first = 1;
    }
    if (way->ends && !is_over) {
        enum h1_event event = h1_eof(&h);

        if (event == H1_ERROR)
            note(t, "!%d", h.status);
        else
            note(t, "%s", event == H1_END ? "$" : "");
    }
    h1_deinit(&h);
    assert_int_equal(budget.used, 0);
}

static void check(const char *row, const struct way *way, const char *data, size_t length,
                  const char *wanted)
{
    struct transcript whole, other;
    size_t cut, step = length > 2000 ? 1009 : 1;

    run(&whole, way, data, length, length, length);
    if (strcmp(whole.text, wanted) != 0)
        fail_msg("%s: wanted %s, got %s", row, wanted, whole.text);
    run(&other, way, data, length, 1, 1);
    if (strcmp(other.text, wanted) != 0)
        fail_msg("%s, byte by byte: wanted %s, got %s", row, wanted, other.text);
    for (cut = 1; cut < length; cut += step) {
        run(&other, way, data, length, cut, length);
        if (strcmp(other.text, wanted) != 0)
            fail_msg("%s, cut at %zu: wanted %s, got %s", row, cut, wanted, other.text);
    }
}

struct line {
    const char *row, *data;
    size_t length;
    const char *wanted;
};

static void check_all(const struct way *way, const struct line *lines, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++)
        check(lines[i].row, way, lines[i].data, lines[i].length, lines[i].wanted);
}
#define CHECK_ALL(way, lines) check_all(way, lines, sizeof(lines) / sizeof((lines)[0]))

/* --- Requests --------------------------------------------------------------------------------- */

static void test_h1_reads_honest_requests(void **state)
{
    static const struct line lines[] = {
        {"get", BYTES(GET "\r\n"), "GET /mcp 1.1 -k 1||"},
        {"post", BYTES(POST "Content-Length: 5\r\n\r\nhello"), "POST /mcp 1.1 Lk 2|hello|"},
        {"length zero", BYTES(POST "Content-Length: 0\r\n\r\n"), "POST /mcp 1.1 -k 2||"},
        {"length with a leading zero", BYTES(POST "content-length:05\r\n\r\nhello"),
         "POST /mcp 1.1 Lk 2|hello|"},
        {"no blank", BYTES("GET / HTTP/1.1\r\nHost:a\r\nX:\r\n\r\n"), "GET / 1.1 -k 2||"},
        {"chunked",
         BYTES(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n0002\r\nlo\r\n0\r\n\r\n"),
         "POST /mcp 1.1 Ck 2|hello|"},
        {"chunked, upper case, extension",
         BYTES(POST "transfer-encoding: CHUNKED\r\n\r\nA;n=\"v\";m\r\n0123456789\r\n0;x\r\n\r\n"),
         "POST /mcp 1.1 Ck 2|0123456789|"},
        {"close", BYTES(GET "Connection: close\r\n\r\n" GET "\r\n"), "GET /mcp 1.1 - 2||"},
        {"1.0", BYTES("GET / HTTP/1.0\r\nHost: a\r\n\r\n"), "GET / 1.0 - 1||"},
        {"1.0 kept", BYTES("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n" GET "\r\n"),
         "GET / 1.0 -k 1||GET /mcp 1.1 -k 1||"},
        {"absolute", BYTES("OPTIONS http://a/mcp HTTP/1.1\r\nHost: a\r\n\r\n"),
         "OPTIONS http://a/mcp 1.1 -k 1||"},
        {"star", BYTES("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), "OPTIONS * 1.1 -k 1||"},
        {"obs-text in a value", BYTES(GET "X: \xc3\xa9\r\n\r\n"), "GET /mcp 1.1 -k 2||"},
        {"H40 two blank lines", BYTES("\r\n\r\n" GET "\r\n"), "GET /mcp 1.1 -k 1||"},
        {"H11", BYTES(POST "Transfer_Encoding: chunked\r\nContent_Length: 3\r\n\r\n"),
         "POST /mcp 1.1 -k 3||"},
        {"H17",
         BYTES(POST "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nContent-Length: 5\r\n"
                    "Host: b\r\nAuthorization: c\r\nMcp-Session-Id: d\r\n\r\n" GET "\r\n"),
         "POST /mcp 1.1 Ck 2|x|GET /mcp 1.1 -k 1||"},
        {"H30", BYTES(POST "Content-Length: 1\r\nExpect: 100-Continue\r\n\r\nx"),
         "POST /mcp 1.1 Lke 3|x|"},
        {"H30 without body", BYTES(GET "Expect: 100-continue\r\n\r\n"), "GET /mcp 1.1 -k 2||"},
        {"H31", BYTES(POST "Content-Length: 1\r\nExpect: y\r\n\r\nx"), "POST /mcp 1.1 Lkx 3|x|"},
        {"H33",
         BYTES(POST "Content-Length: 1\r\n\r\na" POST
                    "Transfer-Encoding: chunked\r\n\r\n1\r\nb\r\n0\r\n\r\n" GET "\r\n"),
         "POST /mcp 1.1 Lk 2|a|POST /mcp 1.1 Ck 2|b|GET /mcp 1.1 -k 1||"},
        {"H43", BYTES(GET "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n"),
         "GET /mcp 1.1 -k 3||"},
    };

    (void)state;
    CHECK_ALL(&requests, lines);
}

static void test_h1_refuses_ambiguous_lengths(void **state)
{
#define CL(value) BYTES(POST "Content-Length:" value "\r\n\r\nhello")
#define TE(value) BYTES(POST "Transfer-Encoding:" value "\r\n\r\n0\r\n\r\n")
    static const struct line lines[] = {
        {"H1", BYTES(POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
         "400"},
        {"H1", BYTES(POST "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n"),
         "400"},
        {"H2", BYTES(POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"), "400"},
        {"H3", BYTES(POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"), "400"},
        {"H4", CL(" 3,3"), "400"},
        {"H4", CL(" +3"), "400"},
        {"H4", CL(" -1"), "400"},
        {"H4", CL(" 0x3"), "400"},
        {"H4", CL(" 3 3"), "400"},
        {"H4", CL(""), "400"},
        {"H4", CL(" "), "400"},
        {"H4", CL(" 1_0"), "400"},
        {"H4", CL(" 0000000000000000000003"), "400"},
        {"H4", CL("\t5"), "400"},
        {"H4", CL(" 5 "), "400"},
        {"H5", CL(" 9223372036854775808"), "413"},
        {"H5", CL(" 18446744073709551616"), "400"},
        {"H5", CL(" 18446744073709551619"), "400"},
        {"H6", CL(" 4194305"), "413"},
        {"H7", BYTES(POST "Content-Length : 5\r\n\r\nhello"), "400"},
        {"H7", BYTES(POST "Content-Length\t: 5\r\n\r\nhello"), "400"},
        {"H8", TE(" xchunked"), "501"},
        {"H8", TE(" gzip"), "501"},
        {"H8", TE(" identity"), "501"},
        {"H8", TE(" gzip, chunked"), "400"},
        {"H8", TE(" chunked, identity"), "400"},
        {"H8", TE(" ,chunked"), "400"},
        {"H8", TE(" chunked;a=b"), "400"},
        {"H8", TE(" \"chunked\""), "400"},
        {"H9", TE(" chunked\r\nTransfer-Encoding: chunked"), "400"},
        {"H9", TE(" chunked\r\nTransfer-Encoding: identity"), "400"},
        {"H9", TE("\tchunked"), "400"},
        {"H9", TE(" chunked\t"), "400"},
        {"H9",
         TE(" \x0b"
            "chunked"),
         "400"},
        {"H9", TE(" chunked\x0c"), "400"},
        {"H9", TE(" chunked\0"), "400"},
        {"H9", TE(" chunked,"), "400"},
        {"H9", TE(""), "400"},
        {"H10", BYTES("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
         "400"},
        {"H42", BYTES(GET "Connection: close, keep-alive\r\n\r\n"), "400"},
        {"H42", BYTES(GET "Connection: close\r\nConnection: keep-alive\r\n\r\n"), "400"},
        {"H42", BYTES(GET "Connection: mcp-session-id\r\n\r\n"), "400"},
        {"H42", BYTES(GET "Connection: keep-alive, Authorization\r\n\r\n"), "400"},
        {"H42", BYTES(GET "Connection: close; x\r\n\r\n"), "400"},
    };

    (void)state;
    CHECK_ALL(&requests, lines);
}

static void test_h1_refuses_malformed_chunks(void **state)
{
#define CHUNKED(text) BYTES(POST "Transfer-Encoding: chunked\r\n\r\n" text)
#define CHUNKED_400 "POST /mcp 1.1 Ck 2|400"
    static const struct line lines[] = {
        {"H12", CHUNKED("0x3\r\nabc\r\n0\r\n\r\n"), CHUNKED_400},
        {"H12", CHUNKED("+3\r\nabc\r\n0\r\n\r\n"), CHUNKED_400},
        {"H12", CHUNKED("-3\r\nabc\r\n0\r\n\r\n"), CHUNKED_400},
        {"H12", CHUNKED("3 \r\nabc\r\n0\r\n\r\n"), CHUNKED_400},
        {"H12", CHUNKED(" 3\r\nabc\r\n0\r\n\r\n"), CHUNKED_400},
        {"H12", CHUNKED("\r\nabc\r\n0\r\n\r\n"), CHUNKED_400},
        {"H12", CHUNKED("00000000000000003\r\nabc\r\n0\r\n\r\n"), CHUNKED_400},
        {"H12", CHUNKED("ffffffffffffffff\r\nabc"), "POST /mcp 1.1 Ck 2|413"},
        {"H6 in chunks", CHUNKED("400001\r\nabc"), "POST /mcp 1.1 Ck 2|413"},
        {"H6 in two chunks", CHUNKED("3\r\nabc\r\n3ffffe\r\n"), "POST /mcp 1.1 Ck 2|413"},
        {"H13", CHUNKED("3;a\nabc\r\n0\r\n\r\n"), CHUNKED_400},
        {"H13", CHUNKED("3;a\rabc\r\n0\r\n\r\n"), CHUNKED_400},
        {"H13", CHUNKED("3;\nabc\r\n0\r\n\r\n"), CHUNKED_400},
        {"H13", CHUNKED("3;\r\nabc\r\n0\r\n\r\n"), CHUNKED_400},
        {"H13", CHUNKED("3;a=\"\r\"\r\nabc\r\n0\r\n\r\n"), CHUNKED_400},
        {"H13", CHUNKED("3;a=\0\r\nabc\r\n0\r\n\r\n"), CHUNKED_400},
        {"H14", CHUNKED("3\nabc\r\n0\r\n\r\n"), CHUNKED_400},
        {"H14", CHUNKED("3\r\nabc\n0\r\n\r\n"), CHUNKED_400},
        {"H14", CHUNKED("3\r\nabc\r\n0\n\r\n"), CHUNKED_400},
        {"H14", CHUNKED("3\r\nabc\r\n0\r\n\n"), CHUNKED_400},
        {"H14", CHUNKED("0\r\nX: y\n\r\n"), CHUNKED_400},
        {"H14", CHUNKED("0\r\nX: y\r\n Z\r\n\r\n"), CHUNKED_400},
        {"H15", CHUNKED("3\r\nabcd\r\n0\r\n\r\n"), CHUNKED_400},
        {"H15", CHUNKED("3\r\nabc0\r\n\r\n"), CHUNKED_400},
        {"H15", CHUNKED("3\r\nabcx\n0\r\n\r\n"), CHUNKED_400},
        {"H15", CHUNKED("3\r\nabc\rx0\r\n\r\n"), CHUNKED_400},
        {"H15", CHUNKED("4\r\nabc\r\n0\r\n\r\n"), CHUNKED_400},
    };

    (void)state;
    CHECK_ALL(&requests, lines);
}

static void test_h1_refuses_malformed_heads(void **state)
{
#define LINE(text) BYTES("GET /mcp HTTP/1.1\r\nHost: a\r\n" text "\r\n\r\n")
    static const struct line lines[] = {
        {"H18", LINE("A: b\r\n c"), "400"},
        {"H18", LINE("A: b\r\n\tc"), "400"},
        {"H18", BYTES("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), "400"},
        {"H18", LINE("Transfer-Encoding:\r\n chunked"), "400"},
        {"H19", BYTES("GET / HTTP/1.1\nHost: a\n\n"), "400"},
        {"H19", BYTES("GET / HTTP/1.1\r\nHost: a\n\r\n"), "400"},
        {"H19", BYTES("GET / HTTP/1.1\r\nHost: a\r\n\n"), "400"},
        {"H19", BYTES("GET / HTTP/1.1\rXHost: a\r\n\r\n"), "400"},
        {"H19", LINE("A: b\rc"), "400"},
        {"H19", LINE("A\r: b"), "400"},
        {"H19", LINE("A: b\r"), "400"},
        {"H19", BYTES("GET / HTTP/1.1\r\nHost: a\r\n\rX"), "400"},
        {"H20", BYTES("G\0T / HTTP/1.1\r\nHost: a\r\n\r\n"), "400"},
        {"H20", BYTES("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"), "400"},
        {"H20", LINE("A\0: b"), "400"},
        {"H20", LINE("A: b\0"), "400"},
        {"H21", LINE(": b"), "400"},
        {"H21", LINE("A"), "400"},
        {"H21", LINE("A b: c"), "400"},
        {"H21", LINE("A(: c"), "400"},
        {"H21", LINE("A\x80: c"), "400"},
        {"H21", LINE("\xff: c"), "400"},
        {"H22", LINE("A: \x01"), "400"},
        {"H22", LINE("A: b\x1f"), "400"},
        {"H22",
         LINE("A: b\x7f"
              "c"),
         "400"},
        {"H23", BYTES("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), "400"},
        {"H26", BYTES("GET \\mcp HTTP/1.1\r\nHost: a\r\n\r\n"), "404"},
        {"H28", BYTES("GETT / HTTP/1.1\r\nHost: a\r\n\r\n"), "501"},
        {"H28", BYTES("get / HTTP/1.1\r\nHost: a\r\n\r\n"), "501"},
        {"H28", BYTES("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"), "501"},
        {"H28", BYTES("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"), "501"},
        {"H28", BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "505"},
        {"H29", BYTES("GET /\r\n\r\n"), "400"},
        {"H29", BYTES("GET / \r\n\r\n"), "400"},
        {"H29", BYTES("GET / HTTP/0.9\r\nHost: a\r\n\r\n"), "505"},
        {"H29", BYTES("GET / HTTP/1.9\r\nHost: a\r\n\r\n"), "505"},
        {"H29", BYTES("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), "505"},
        {"H29", BYTES("GET / HTTP/1.10\r\nHost: a\r\n\r\n"), "400"},
        {"H29", BYTES("GET / HTTP/11.1\r\nHost: a\r\n\r\n"), "400"},
        {"H29", BYTES("GET / http/1.1\r\nHost: a\r\n\r\n"), "400"},
        {"H29", BYTES("GET / HTTP/1,1\r\nHost: a\r\n\r\n"), "400"},
        {"blanks", BYTES("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), "400"},
        {"blanks", BYTES("GET / HTTP/1.1 \r\nHost: a\r\n\r\n"), "400"},
        {"blanks", BYTES("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"), "400"},
        {"blanks", BYTES(" GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "400"},
        {"target", BYTES("GET mcp HTTP/1.1\r\nHost: a\r\n\r\n"), "400"},
        {"target", BYTES("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"), "400"},
        {"target", BYTES("GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n"), "400"},
        {"H40", BYTES("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), "400"},
        {"H40", BYTES("SSH-2.0-OpenSSH_9\r\n"), "400"},
        {"H40", BYTES("G\0E\0T\0 \0"), "400"},
        {"H40", BYTES("\n"), "400"},
        {"H40", BYTES("\r\r\n"), "400"},
        {"H40", BYTES("\r\n\r\n\r\n" GET "\r\n"), "400"},
        {"after a request", BYTES(GET "\r\nnonsense\r\n"), "GET /mcp 1.1 -k 1||400"},
    };

    (void)state;
    CHECK_ALL(&requests, lines);
}

/* A text of `head`, `count` times `fill`, `tail`. */
static char *repeat(const char *head, const char *fill, size_t count, const char *tail,
                    size_t *length)
{
    size_t h = strlen(head), f = strlen(fill), t = strlen(tail), i;
    char *text = malloc(h + f * count + t + 1);

    assert_non_null(text);
    memcpy(text, head, h);
    for (i = 0; i < count; i++)
        memcpy(text + h + i * f, fill, f);
    memcpy(text + h + f * count, tail, t + 1);
    *length = h + f * count + t;
    return text;
}

static void check_repeated(const char *row, const char *head, const char *fill, size_t count,
                           const char *tail, const char *wanted)
{
    static const size_t pieces[] = {1u << 20, 8192, 7777, 61, 1};
    struct transcript t;
    size_t length, i;
    char *text = repeat(head, fill, count, tail, &length);

    for (i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        run(&t, &requests, text, length, pieces[i], pieces[i]);
        if (strncmp(t.text, wanted, strlen(wanted)) != 0)
            fail_msg("%s, pieces of %zu: wanted %s, got %s", row, pieces[i], wanted, t.text);
    }
    free(text);
}

static void test_h1_holds_its_caps_to_the_byte(void **state)
{
    const char *end = "\r\n\r\n";

    (void)state;
    check_repeated("H27", "GET /", "a", 8191, " HTTP/1.1\r\nHost: a\r\n\r\n", "GET /aaa");
    check_repeated("H27", "GET /", "a", 8192, " HTTP/1.1\r\nHost: a\r\n\r\n", "414");
    check_repeated("H27", GET "A: ", "b", 8189, end, "GET /mcp 1.1 -k 2||");
    check_repeated("H27", GET "A: ", "b", 8190, end, "431");
    check_repeated("H27", GET "A:", " ", 8190, end, "GET /mcp 1.1 -k 2||");
    check_repeated("H27", GET "A:", " ", 8191, end, "431");
    check_repeated("H27", GET, "b", 8193, ": c\r\n\r\n", "431");
    check_repeated("H27", GET, "A: b\r\n", 99, "\r\n", "GET /mcp 1.1 -k 100||");
    check_repeated("H27", GET, "A: b\r\n", 100, "\r\n", "431");
    check_repeated("H28", "", "A", 300, " / HTTP/1.1\r\n\r\n", "501");
    check_repeated("H40", "", "\r\n", 32768, "", "400");
    check_repeated("H27 trailers", POST "Transfer-Encoding: chunked\r\n\r\n0\r\n", "A: b\r\n", 101,
                   "\r\n", "POST /mcp 1.1 Ck 2|431");
}

static void test_h1_holds_the_cap_of_the_header_block_to_the_byte(void **state)
{
    struct way way = {.direction = H1_REQUESTS, .limits = h1_limits_default(H1_REQUESTS)};

    (void)state;
    way.limits.header_bytes_max = 19;
    check("H27", &way, BYTES("GET / HTTP/1.1\r\nHost: a\r\nA: bcde\r\n\r\n"), "431");
    way.limits.header_bytes_max = 20;
    check("H27", &way, BYTES("GET / HTTP/1.1\r\nHost: a\r\nA: bcde\r\n\r\n" GET "\r\n"),
          "GET / 1.1 -k 2||GET /mcp 1.1 -k 1||");
    check("H27", &way, BYTES("GET / HTTP/1.1\r\nHost: a\r\nA: bcdef\r\n\r\n"), "431");
}

static void test_h1_refuses_padded_chunks(void **state)
{
    char extension[4200];
    size_t length;
    char *text;

    (void)state;
    memset(extension, 'x', sizeof extension);
    memcpy(extension, "1;", 2);
    memcpy(extension + 4096, "\r\na\r\n", 6);
    text = repeat(POST "Transfer-Encoding: chunked\r\n\r\n", extension, 2, "0\r\n\r\n", &length);
    check("H16", &requests, text, length, "POST /mcp 1.1 Ck 2|400");
    free(text);
    /* Five bytes around each one are no attack. */
    text =
        repeat(POST "Transfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n", 3000, "0\r\n\r\n", &length);
    {
        struct transcript t;

        run(&t, &requests, text, length, length, length);
        assert_non_null(strstr(t.text, "aaaa"));
        assert_null(strstr(t.text, "400"));
    }
    free(text);
}

static void test_h1_reads_straight_into_a_large_body(void **state)
{
    enum { LENGTH = 1000000 };
    static const char head[] = POST "Content-Length: 1000000\r\n\r\nabc";
    struct h1_limits limits = h1_limits_default(H1_REQUESTS);
    struct bytes_budget budget = {.max = 64u << 20};
    enum h1_event event = H1_MORE;
    size_t used, length, sent = 3;
    uint8_t *at;
    struct h1 h;
    struct bytes *body;

    (void)state;
    h1_init(&h, H1_REQUESTS, &limits, &budget);
    assert_false(h1_body_room(&h, &at, &length));
    assert_int_equal(h1_feed(&h, (const uint8_t *)head, sizeof head - 1, &used), H1_HEAD);
    assert_int_equal(used, sizeof head - 1 - 3);
    assert_int_equal(h1_phase(&h), H1_PHASE_BODY);
    assert_int_equal(h1_feed(&h, (const uint8_t *)head + used, 3, &used), H1_MORE);
    while (event == H1_MORE) {
        assert_true(h1_body_room(&h, &at, &length));
        assert_true(length > 0 && length <= LENGTH - sent);
        /* What was announced but did not come costs no memory. */
        assert_true(budget.used <= 4 * sent + (512u << 10));
        if (length > 50000)
            length = 50000;
        memset(at, 'x', length);
        event = h1_body_filled(&h, length);
        sent += length;
    }
    assert_int_equal(event, H1_END);
    assert_int_equal(sent, LENGTH);
    assert_false(h1_body_room(&h, &at, &length));
    assert_int_equal(h1_body(&h).length, LENGTH);
    body = h1_body_take(&h);
    h1_next(&h);
    assert_int_equal(h1_body(&h).length, 0);
    assert_memory_equal(body->data, "abcxxx", 6);
    assert_int_equal(body->length, LENGTH);
    bytes_unref(body);
    h1_deinit(&h);
    assert_int_equal(budget.used, 0);
}

static void test_h1_without_room_answers_503(void **state)
{
    static const char head[] = POST "Content-Length: 5000\r\n\r\nabc";
    struct h1_limits limits = h1_limits_default(H1_REQUESTS);
    struct bytes_budget budget = {.max = 1000};
    size_t used, length;
    uint8_t *at;
    struct h1 h;

    (void)state;
    h1_init(&h, H1_REQUESTS, &limits, &budget);
    assert_int_equal(h1_feed(&h, (const uint8_t *)head, sizeof head - 1, &used), H1_HEAD);
    assert_false(h1_body_room(&h, &at, &length));
    assert_int_equal(h1_feed(&h, (const uint8_t *)head + used, 3, &used), H1_ERROR);
    assert_int_equal(h.status, 503);
    h1_deinit(&h);
    assert_int_equal(budget.used, 0);
}

static void test_h1_idle_connection_holds_no_buffer(void **state)
{
    struct h1_limits limits = h1_limits_default(H1_REQUESTS);
    struct bytes_budget budget = {.max = 64u << 20};
    size_t used;
    struct h1 h;

    (void)state;
    h1_init(&h, H1_REQUESTS, &limits, &budget);
    assert_int_equal(h1_phase(&h), H1_PHASE_IDLE);
    assert_int_equal(h1_feed(&h, (const uint8_t *)"\r\n", 2, &used), H1_MORE);
    assert_int_equal(h1_phase(&h), H1_PHASE_IDLE);
    assert_int_equal(h1_feed(&h, (const uint8_t *)"G", 1, &used), H1_MORE);
    assert_int_equal(h1_phase(&h), H1_PHASE_HEAD);
    assert_int_equal(h1_feed(&h, (const uint8_t *)"ET / HTTP/1.1\r\n\r\n", 17, &used), H1_HEAD);
    assert_int_equal(h1_feed(&h, NULL, 0, &used), H1_END);
    assert_int_equal(h1_phase(&h), H1_PHASE_DONE);
    assert_true(budget.used > 0);
    h1_next(&h);
    assert_int_equal(h1_phase(&h), H1_PHASE_IDLE);
    assert_null(h.head);
    assert_int_equal(budget.used, 0);
    assert_int_equal(h1_eof(&h), H1_MORE);
    h1_deinit(&h);
}

static void test_h1_head_outlives_the_message_when_kept(void **state)
{
    static const char text[] = GET "Mcp-Session-Id: s1\r\nX: 1\r\nx: 2\r\n\r\n";
    struct h1_limits limits = h1_limits_default(H1_REQUESTS);
    struct bytes_budget budget = {.max = 64u << 20};
    struct slice value, kept;
    uint8_t input[sizeof text];
    size_t used;
    struct h1 h;

    (void)state;
    memcpy(input, text, sizeof text);
    h1_init(&h, H1_REQUESTS, &limits, &budget);
    assert_int_equal(h1_feed(&h, input, sizeof text - 1, &used), H1_HEAD);
    memset(input, 0, sizeof input);
    assert_true(h1_header(h.head, "mcp-session-id", &value));
    assert_true(slice_is(value, "s1"));
    assert_int_equal(h1_header_count(h.head, "X"), 2);
    assert_true(h1_header(h.head, "x", &value) && slice_is(value, "1"));
    assert_false(h1_header(h.head, "mcp-session", &value));
    assert_int_equal(value.length, 0);
    assert_int_equal(slice_keep(&kept, h1_value(h.head, 1), &budget), 0);
    assert_int_equal(h1_feed(&h, NULL, 0, &used), H1_END);
    h1_next(&h);
    assert_true(slice_is(kept, "s1"));
    slice_drop(&kept);
    h1_deinit(&h);
    assert_int_equal(budget.used, 0);
}

static void test_h1_tells_the_fields_that_rules_name(void **state)
{
    static const struct {
        const char *name;
        enum h1_field field;
    } named[] = {
        {"accept", H1_FIELD_ACCEPT},
        {"accept-encoding", H1_FIELD_ACCEPT_ENCODING},
        {"alt-svc", H1_FIELD_ALT_SVC},
        {"authorization", H1_FIELD_AUTHORIZATION},
        {"cache-control", H1_FIELD_CACHE_CONTROL},
        {"content-encoding", H1_FIELD_CONTENT_ENCODING},
        {"content-type", H1_FIELD_CONTENT_TYPE},
        {"host", H1_FIELD_HOST},
        {"last-event-id", H1_FIELD_LAST_EVENT_ID},
        {"mcp-method", H1_FIELD_MCP_METHOD},
        {"mcp-name", H1_FIELD_MCP_NAME},
        {"mcp-protocol-version", H1_FIELD_MCP_PROTOCOL_VERSION},
        {"mcp-session-id", H1_FIELD_MCP_SESSION_ID},
        {"origin", H1_FIELD_ORIGIN},
        {"x-accel-buffering", H1_FIELD_X_ACCEL_BUFFERING},
    };
    struct h1_limits limits = h1_limits_default(H1_REQUESTS);
    char text[256], upper[32], other[32];
    struct slice value;
    size_t used, i, k, length;
    struct h1 h;

    (void)state;
    for (i = 0; i < sizeof named / sizeof named[0]; i++) {
        length = strlen(named[i].name);
        for (k = 0; k <= length; k++)
            upper[k] = (char)toupper((unsigned char)named[i].name[k]);
        for (k = 0; k < length; k++) { /* wrong by one character, wherever it stands */
            memcpy(other, named[i].name, length + 1);
            other[k] = other[k] == 'q' ? 'z' : 'q';
            snprintf(text, sizeof text, HOSTLESS "%s: a\r\n%sx: b\r\n\r\n", other, upper);
            h1_init(&h, H1_REQUESTS, &limits, NULL);
            assert_int_equal(h1_feed(&h, (uint8_t *)text, strlen(text), &used), H1_HEAD);
            assert_int_equal(h.head->fields & h1_set(named[i].field), 0);
            assert_false(h1_field(h.head, named[i].field, &value));
            h1_deinit(&h);
        }
        snprintf(text, sizeof text, HOSTLESS "x: a\r\n%s: b\r\n\r\n", upper);
        h1_init(&h, H1_REQUESTS, &limits, NULL);
        assert_int_equal(h1_feed(&h, (uint8_t *)text, strlen(text), &used), H1_HEAD);
        assert_true(h1_field(h.head, named[i].field, &value) && slice_is(value, "b"));
        assert_int_equal(h.head->doubles & h1_set(named[i].field), 0);
        h1_deinit(&h);
    }
    h1_init(&h, H1_REQUESTS, &limits, NULL);
    assert_int_equal(
        h1_feed(&h, (const uint8_t *)BYTES(GET "Origin: a\r\nX: 1\r\norigin: b\r\n\r\n"), &used),
        H1_HEAD);
    assert_int_equal(h.head->doubles & h1_set(H1_FIELD_ORIGIN), h1_set(H1_FIELD_ORIGIN));
    assert_true(h1_field(h.head, H1_FIELD_ORIGIN, &value) && slice_is(value, "a"));
    h1_deinit(&h);
}

static void test_h1_plain_lines_are_those_written_as_we_would(void **state)
{
    static const char text[] = GET "A: 1\r\nB:2\r\nC:  3\r\nD: 4 \r\nE:\t5\r\nF: \r\nG:\r\n\r\n";
    static const char *const plain[] = {"A: 1\r\n", "", "", "", "", "F: \r\n", ""};
    struct h1_limits limits = h1_limits_default(H1_REQUESTS);
    size_t used, i;
    struct h1 h;

    (void)state;
    h1_init(&h, H1_REQUESTS, &limits, NULL);
    assert_int_equal(h1_feed(&h, (const uint8_t *)BYTES(text), &used), H1_HEAD);
    for (i = 0; i < sizeof plain / sizeof plain[0]; i++)
        assert_true(slice_is(h1_plain_line(h.head, h.head->headers_count - 7 + i), plain[i]));
    h1_deinit(&h);
}

static void test_h1_lets_only_end_to_end_lines_travel(void **state)
{
    static const char text[] = GET
        "Connection: keep-alive, X-Hop ,\tx-other\r\nX-Hop: 1\r\nX-OTHER: 2\r\nKeep-Alive: 5\r\n"
        "TE: trailers\r\nTrailer: a\r\nUpgrade: h2c\r\nProxy-Authorization: a\r\n"
        "Proxy-Connection: a\r\nExpect: 100-continue\r\nX-Forwarded-For: 1\r\nForwarded: a\r\n"
        "X-Mesh-Peer: b\r\nmcp-init-host: c\r\nrouter-key: d\r\nTransfer_Encoding: chunked\r\n"
        "Content_Length: 4\r\nContent-Length: 0\r\nAccept: a\r\nAuthorization: b\r\n"
        "Mcp-Session-Id: c\r\nX-Hopper: d\r\nCookie: e\r\ntraceparent: f\r\n\r\n";
    struct h1_limits limits = h1_limits_default(H1_REQUESTS);
    char travels[512] = "";
    size_t used, i;
    struct h1 h;

    (void)state;
    h1_init(&h, H1_REQUESTS, &limits, NULL);
    assert_int_equal(h1_feed(&h, (const uint8_t *)text, sizeof text - 1, &used), H1_HEAD);
    for (i = 0; i < h.head->headers_count; i++) {
        struct slice name = h1_name(h.head, i);

        if (h1_header_travels(h.head, i))
            snprintf(travels + strlen(travels), sizeof travels - strlen(travels), "%.*s ",
                     (int)name.length, (const char *)name.at);
    }
    assert_string_equal(travels,
                        "Accept Authorization Mcp-Session-Id X-Hopper Cookie traceparent ");
    h1_deinit(&h);
}

static void test_h1_tells_a_clean_end_from_a_broken_one(void **state)
{
    struct way way = {.direction = H1_REQUESTS, .ends = true};

    (void)state;
    check("clean", &way, BYTES(GET "\r\n"), "GET /mcp 1.1 -k 1||");
    check("H39", &way, BYTES(GET), "!400");
    check("H39", &way, BYTES(POST "Content-Length: 5\r\n\r\nabc"), "POST /mcp 1.1 Lk 2|!400");
    check("H39", &way, BYTES(POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
          "POST /mcp 1.1 Ck 2|!400");
}

/* --- Responses -------------------------------------------------------------------------------- */

#define OK "HTTP/1.1 200 OK\r\n"

static void test_h1_reads_honest_responses(void **state)
{
    struct way way = {.direction = H1_RESPONSES, .answers = 1};
    static const struct line lines[] = {
        {"length", BYTES(OK "Content-Length: 5\r\n\r\nhello"), "200 1.1 Lk 1|hello|"},
        {"chunked", BYTES(OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
         "200 1.1 Ck 1|hello|"},
        {"chunked, empty",
         BYTES("HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
         "202 1.1 Ck 1||"},
        {"no content", BYTES("HTTP/1.1 204 No Content\r\n\r\n"), "204 1.1 -k 0||"},
        {"no content, yet chunked",
         BYTES("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
         "204 1.1 - 1||"},
        {"not modified", BYTES("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
         "304 1.1 -k 1||"},
        {"no reason", BYTES("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"), "200 1.1 -k 1||"},
        {"empty reason", BYTES("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"), "200 1.1 -k 1||"},
        {"1.0", BYTES("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx"), "200 1.0 L 1|x|"},
        {"interim",
         BYTES("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" OK
               "Content-Length: 1\r\n\r\nx"),
         "200 1.1 Lk 1|x|"},
        {"U7 extra bytes", BYTES(OK "Content-Length: 1\r\n\r\nxy"), "200 1.1 Lk 1|x|502"},
    };

    (void)state;
    CHECK_ALL(&way, lines);
    way.answers = 2;
    check("kept alive", &way,
          BYTES(OK "Content-Length: 1\r\n\r\nx" OK
                   "Transfer-Encoding: chunked\r\n\r\n1\r\ny\r\n0\r\n\r\n"),
          "200 1.1 Lk 1|x|200 1.1 Ck 1|y|");
}

static void test_h1_reads_until_close_and_heads_without_bodies(void **state)
{
    struct way close = {.direction = H1_RESPONSES, .ends = true};
    struct way head = {.direction = H1_RESPONSES, .asked = H1_METHOD_HEAD, .answers = 2};

    (void)state;
    check("close", &close, BYTES(OK "\r\nhello"), "200 1.1 U 0|hello$");
    check("close, empty", &close, BYTES(OK "\r\n"), "200 1.1 U 0|$");
    check("U8", &close, "", 0, "!502");
    check("cut", &close, BYTES(OK "Content-Length: 5\r\n\r\nhel"), "200 1.1 Lk 1|hel!502");
    check("cut", &close, BYTES(OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
          "200 1.1 Ck 1|hello!502");
    check("head", &head,
          BYTES(OK "Content-Length: 5\r\n\r\n" OK "Transfer-Encoding: chunked\r\n\r\n"),
          "200 1.1 -k 1||200 1.1 -k 1||");
}

static void test_h1_refuses_hostile_responses(void **state)
{
    const struct way way = {.direction = H1_RESPONSES, .answers = 1};
    static const struct line lines[] = {
        {"U1 H1", BYTES(OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
         "502"},
        {"U1 H2", BYTES(OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"), "502"},
        {"U1 H5", BYTES(OK "Content-Length: 9223372036854775808\r\n\r\nhello"), "502"},
        {"U1 H8", BYTES(OK "Transfer-Encoding: gzip\r\n\r\nhello"), "502"},
        {"U1 H10", BYTES("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "502"},
        {"U1 H12", BYTES(OK "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"),
         "200 1.1 Ck 1|502"},
        {"U1 H14", BYTES(OK "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n"),
         "200 1.1 Ck 1|502"},
        {"U1 H18", BYTES(OK "A: b\r\n c\r\n\r\n"), "502"},
        {"U1 H19", BYTES("HTTP/1.1 200 OK\nContent-Length: 0\n\n"), "502"},
        {"U1 H19", BYTES(OK "A: b\rc\r\n\r\n"), "502"},
        {"U1 H42", BYTES(OK "Connection: mcp-session-id\r\n\r\n"), "502"},
        {"U1", BYTES("\r\n" OK "Content-Length: 0\r\n\r\n"), "502"},
        {"U2", BYTES("HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\n\r\n"), "502"},
        {"U2", BYTES("HTTP/1.1 099 Low\r\n\r\n"), "502"},
        {"U2", BYTES("HTTP/1.1 600 High\r\n\r\n"), "502"},
        {"U2", BYTES("HTTP/1.1 1000 Long\r\n\r\n"), "502"},
        {"U2", BYTES("HTTP/1.1 200OK\r\n\r\n"), "502"},
        {"U2", BYTES("HTTP/1.1 20 OK\r\n\r\n"), "502"},
        {"U2", BYTES("HTTP/1.1  200 OK\r\n\r\n"), "502"},
        {"U2", BYTES("HTTP/2.0 200 OK\r\n\r\n"), "502"},
        {"U2", BYTES("ICY 200 OK\r\n\r\n"), "502"},
        {"U2", BYTES("HTTP/1.1 200 O\0K\r\n\r\n"), "502"},
    };
    size_t length;
    char *flood;

    (void)state;
    CHECK_ALL(&way, lines);
    flood =
        repeat("", "HTTP/1.1 100 Continue\r\n\r\n", 8, OK "Content-Length: 1\r\n\r\nx", &length);
    check("U2 eight", &way, flood, length, "200 1.1 Lk 1|x|");
    free(flood);
    flood = repeat("", "HTTP/1.1 100 Continue\r\n\r\n", 9, OK "\r\n", &length);
    check("U2 flood", &way, flood, length, "502");
    free(flood);
}

static void test_h1_refuses_bytes_that_nobody_asked_for(void **state)
{
    struct h1_limits limits = h1_limits_default(H1_RESPONSES);
    size_t used;
    struct h1 h;

    (void)state;
    h1_init(&h, H1_RESPONSES, &limits, NULL);
    assert_int_equal(h1_eof(&h), H1_MORE);
    assert_int_equal(h1_feed(&h, (const uint8_t *)OK, 5, &used), H1_ERROR);
    assert_int_equal(used, 0);
    h1_next(&h);
    assert_int_equal(h1_feed(&h, (const uint8_t *)OK, 5, &used), H1_ERROR);
    h1_deinit(&h);
}

/* --- Writing ---------------------------------------------------------------------------------- */

static void test_h1_writes_heads_that_it_reads_again(void **state)
{
    const struct h1_line lines[] = {{slice_text("A"), slice_text("b c")},
                                    {slice_text("E"), slice_text("")}};
    struct h1_out out = {.status = 404,
                         .lines = lines,
                         .lines_count = 2,
                         .ready = slice_text("X: y\r\nZ:\r\n"),
                         .framing = H1_LENGTH,
                         .content_length = 18446744073709551615u};
    uint8_t to[512];
    int n, room;

    (void)state;
    n = h1_write_response_head(to, sizeof to, &out);
    assert_true(n > 0 && (size_t)n <= h1_head_room(&out));
    to[n] = '\0';
    assert_string_equal((char *)to, "HTTP/1.1 404 Not Found\r\nA: b c\r\nE: \r\nX: y\r\nZ:\r\n"
                                    "Content-Length: 18446744073709551615\r\n\r\n");
    for (room = 0; room < n; room++)
        assert_int_equal(h1_write_response_head(to, (size_t)room, &out), -ENOSPC);
    out = (struct h1_out){.status = 200, .framing = H1_CHUNKED, .keep_alive = true};
    n = h1_write_response_head(to, sizeof to, &out);
    to[n] = '\0';
    assert_string_equal((char *)to,
                        OK "Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n");
    out = (struct h1_out){.method = slice_text("POST"),
                          .target = slice_text("/mcp?a"),
                          .framing = H1_NO_BODY,
                          .close = true};
    n = h1_write_request_head(to, sizeof to, &out);
    to[n] = '\0';
    assert_string_equal((char *)to, "POST /mcp?a HTTP/1.1\r\nConnection: close\r\n\r\n");
}

static void test_h1_writes_nothing_that_ends_a_line_early(void **state)
{
    static const struct {
        const char *text;
        size_t length;
    } bad[] = {{BYTES("a\rb")}, {BYTES("a\nb")}, {BYTES("a\0b")}, {BYTES("a\r\nB: c")}};
    static const char *const bad_lines[] = {"A: b",
                                            "A: b\n",
                                            "A: b\r",
                                            "A: b\r\nC",
                                            "A b: c\r\n",
                                            ": c\r\n",
                                            "A: b\r\n\r\n",
                                            "Content-Length: 3\r\n",
                                            "A: b\r\nTransfer-Encoding: chunked\r\n",
                                            "connection: close\r\n",
                                            "A: b\rc\r\n"};
    uint8_t to[512];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct slice evil = slice_borrow(bad[i].text, bad[i].length);
        struct h1_line name = {evil, slice_text("a")}, value = {slice_text("a"), evil};
        struct h1_out out = {.status = 200, .lines = &name, .lines_count = 1};

        assert_int_equal(h1_write_response_head(to, sizeof to, &out), -EINVAL);
        out.lines = &value;
        assert_int_equal(h1_write_response_head(to, sizeof to, &out), -EINVAL);
        out = (struct h1_out){.method = evil, .target = slice_text("/")};
        assert_int_equal(h1_write_request_head(to, sizeof to, &out), -EINVAL);
        out = (struct h1_out){.method = slice_text("GET"), .target = evil};
        assert_int_equal(h1_write_request_head(to, sizeof to, &out), -EINVAL);
    }
    for (i = 0; i < sizeof bad_lines / sizeof bad_lines[0]; i++) {
        struct h1_out out = {.status = 200, .ready = slice_text(bad_lines[i])};

        assert_false(h1_lines_are_sound(out.ready));
        assert_int_equal(h1_write_response_head(to, sizeof to, &out), -EINVAL);
    }
    assert_true(h1_lines_are_sound(slice_text("")));
    assert_true(h1_lines_are_sound(slice_text("A: b\r\nC:\r\n")));
}

static void test_h1_writes_chunk_heads(void **state)
{
    uint8_t to[H1_CHUNK_HEAD_MAX];

    (void)state;
    assert_int_equal(h1_write_chunk_head(to, 1), 3);
    assert_memory_equal(to, "1\r\n", 3);
    assert_int_equal(h1_write_chunk_head(to, 0x1a0), 5);
    assert_memory_equal(to, "1a0\r\n", 5);
    assert_int_equal(h1_write_chunk_head(to, UINT64_MAX), 18);
    assert_memory_equal(to, "ffffffffffffffff\r\n", 18);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_h1_reads_honest_requests),
        cmocka_unit_test(test_h1_refuses_ambiguous_lengths),
        cmocka_unit_test(test_h1_refuses_malformed_chunks),
        cmocka_unit_test(test_h1_refuses_malformed_heads),
        cmocka_unit_test(test_h1_holds_its_caps_to_the_byte),
        cmocka_unit_test(test_h1_holds_the_cap_of_the_header_block_to_the_byte),
        cmocka_unit_test(test_h1_refuses_padded_chunks),
        cmocka_unit_test(test_h1_reads_straight_into_a_large_body),
        cmocka_unit_test(test_h1_without_room_answers_503),
        cmocka_unit_test(test_h1_idle_connection_holds_no_buffer),
        cmocka_unit_test(test_h1_head_outlives_the_message_when_kept),
        cmocka_unit_test(test_h1_tells_the_fields_that_rules_name),
        cmocka_unit_test(test_h1_plain_lines_are_those_written_as_we_would),
        cmocka_unit_test(test_h1_lets_only_end_to_end_lines_travel),
        cmocka_unit_test(test_h1_tells_a_clean_end_from_a_broken_one),
        cmocka_unit_test(test_h1_reads_honest_responses),
        cmocka_unit_test(test_h1_reads_until_close_and_heads_without_bodies),
        cmocka_unit_test(test_h1_refuses_hostile_responses),
        cmocka_unit_test(test_h1_refuses_bytes_that_nobody_asked_for),
        cmocka_unit_test(test_h1_writes_heads_that_it_reads_again),
        cmocka_unit_test(test_h1_writes_nothing_that_ends_a_line_early),
        cmocka_unit_test(test_h1_writes_chunk_heads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
