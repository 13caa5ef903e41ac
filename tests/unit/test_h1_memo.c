/* test_h1_memo.c - a head that is known again says what it said before, and nothing else is taken
 * for it: whatever comes, a parser with a memo and one without say the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "http/h1.h"

#define POST "POST /mcp HTTP/1.1\r\nHost: a\r\n"

/* What one message came to. */
struct said {
    enum h1_event event;
    uint16_t status;
    size_t left;     /* of the input */
    uint64_t length; /* what the head says */
    uint32_t fields, headers_count;
    bool keep_alive, expects_continue;
    enum h1_framing framing;
    char text[512], body[256];
};

static void say(struct h1 *h, const char *data, size_t length, struct said *said)
{
    enum h1_event event;
    size_t used;

    memset(said, 0, sizeof *said);
    do {
        event = h1_feed(h, (const uint8_t *)data, length, &used);
        data += used;
        length -= used;
        if (event == H1_HEAD) {
            said->length = h->head->content_length;
            said->fields = h->head->fields;
            said->headers_count = h->head->headers_count;
            said->keep_alive = h->head->keep_alive;
            said->expects_continue = h->head->expects_continue;
            said->framing = h->head->framing;
            memcpy(said->text, h->head->text.at, h->head->text.length);
        }
    } while (event == H1_HEAD);
    said->event = event;
    said->status = h->status;
    if (event != H1_END)
        return;
    said->left = length;
    if (h1_body(h).length > 0)
        memcpy(said->body, h1_body(h).at, h1_body(h).length);
    h1_next(h);
}

/* The first message, then the second, cut in two, again and again. */
static void check_pair(const char *first, const char *second, size_t cut,
                       const struct h1_limits *limits)
{
    struct bytes_budget budget = {.max = 1u << 20};
    struct h1_memo memo = {.next = 0};
    struct said with, without;
    struct h1 h, plain;

    h1_init(&h, H1_REQUESTS, limits, &budget);
    h1_use_memo(&h, &memo);
    h1_init(&plain, H1_REQUESTS, limits, NULL);
    say(&h, first, strlen(first), &with);
    say(&plain, first, strlen(first), &without);
    for (int n = 0; n < 2 && with.event == H1_END; n++) {
        say(&h, second, cut, &with);
        say(&plain, second, cut, &without);
        assert_memory_equal(&with, &without, sizeof with);
        if (with.event != H1_MORE || cut == strlen(second))
            continue;
        say(&h, second + cut, strlen(second) - cut, &with);
        say(&plain, second + cut, strlen(second) - cut, &without);
        assert_memory_equal(&with, &without, sizeof with);
    }
    h1_deinit(&h);
    h1_deinit(&plain);
    assert_int_equal(budget.used, 0); /* what its head said is kept no longer than it */
}

static void test_h1_memo_changes_no_verdict(void **state)
{
    static const char *const messages[] = {
        POST "Content-Length: 3\r\n\r\nabc",
        POST "Content-Length: 3\r\n\r\nabd",
        POST "Content-Length: 4\r\n\r\nabcd",
        POST "Content-Length: 0\r\n\r\n",
        POST "Content-Length: 9\r\n\r\n123456789",
        POST "Content-Length: 10\r\n\r\n1234567890",
        POST "Content-Length: 99\r\n\r\n",
        POST "Content-Length: +3\r\n\r\nabc",
        POST "Content-Length: -3\r\n\r\nabc",
        POST "Content-Length: 3 \r\n\r\nabc",
        POST "Content-Length:  3\r\n\r\nabc",
        POST "Content-Length: 0x\r\n\r\nabc",
        POST "Content-Length: 03\r\n\r\nabc",
        POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        POST "content-length: 3\r\n\r\nabc",
        POST "Content-Length: 3\r\nConnection: close\r\n\r\nabc",
        POST "Content-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
        POST "Content-Length: 3\n\n\r\nabc",
        "POST /mcp HTTP/1.0\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        "GET /mcp HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /mcp HTTP/1.1\r\nHost: b\r\n\r\n",
        "\r\nGET /mcp HTTP/1.1\r\nHost: a\r\n\r\n",
    };
    enum { COUNT = sizeof messages / sizeof messages[0] };
    struct h1_limits limits = h1_limits_default(H1_REQUESTS);

    (void)state;
    limits.body_max = 50;
    for (size_t i = 0; i < COUNT; i++)
        for (size_t j = 0; j < COUNT; j++)
            for (size_t cut = 1; cut <= strlen(messages[j]); cut++)
                check_pair(messages[i], messages[j], cut, &limits);
}

static void test_h1_memo_leaves_a_text_alone_that_is_kept(void **state)
{
    static const char first[] = POST "Content-Length: 3\r\n\r\nabc";
    static const char second[] = POST "Content-Length: 5\r\n\r\nabcde";
    struct h1_limits limits = h1_limits_default(H1_REQUESTS);
    struct h1_memo memo = {.next = 0};
    struct slice kept;
    struct said said;
    size_t used;
    struct h1 h;

    (void)state;
    h1_init(&h, H1_REQUESTS, &limits, NULL);
    h1_use_memo(&h, &memo);
    assert_int_equal(h1_feed(&h, (const uint8_t *)first, sizeof first - 4, &used), H1_HEAD);
    assert_int_equal(slice_keep(&kept, h.head->text, NULL), 0);
    assert_int_equal(h1_feed(&h, (const uint8_t *)"abc", 3, &used), H1_END);
    h1_next(&h);
    say(&h, second, sizeof second - 1, &said);
    assert_string_equal(said.body, "abcde");
    assert_memory_equal(kept.at, first, kept.length);
    slice_drop(&kept);
    h1_deinit(&h);
}

/* Parsers that share a place take nothing of each other's message that is under way. */
static void test_h1_memo_is_shared(void **state)
{
    static const char text[] = POST "Content-Length: 3\r\n\r\nabc";
    struct h1_limits limits = h1_limits_default(H1_REQUESTS);
    struct h1_memo memo = {.next = 0};
    struct said said;
    struct h1 h[H1_MEMO_HEADS + 1];
    size_t used;

    (void)state;
    for (size_t i = 0; i <= H1_MEMO_HEADS; i++) {
        h1_init(&h[i], H1_REQUESTS, &limits, NULL);
        h1_use_memo(&h[i], &memo);
        say(&h[i], text, sizeof text - 1, &said);
        assert_int_equal(said.event, H1_END);
    }
    assert_int_equal(h1_feed(&h[0], (const uint8_t *)text, sizeof text - 4, &used), H1_HEAD);
    say(&h[H1_MEMO_HEADS], text, sizeof text - 1, &said);
    assert_int_equal(said.event, H1_END);
    assert_int_equal(h1_feed(&h[0], (const uint8_t *)"abc", 3, &used), H1_END);
    h1_next(&h[0]);
    for (size_t i = 0; i <= H1_MEMO_HEADS; i++)
        h1_deinit(&h[i]);
}

/* What frames an answer beside its head is asked again: HEAD, and what stood in front of it. */
static void test_h1_memo_knows_what_was_asked(void **state)
{
    static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
    struct h1_limits limits = h1_limits_default(H1_RESPONSES);
    struct h1_memo memo = {.next = 0};
    struct said said;
    struct h1 h;

    (void)state;
    limits.collect = true;
    h1_init(&h, H1_RESPONSES, &limits, NULL);
    h1_use_memo(&h, &memo);
    for (int i = 0; i < 6; i++) {
        bool is_head = i % 2 == 1;

        h1_expect_response(&h, is_head ? H1_METHOD_HEAD : H1_METHOD_POST);
        say(&h, text, sizeof text - 1 - (is_head ? 3 : 0), &said);
        assert_int_equal(said.event, H1_END);
        assert_int_equal(said.framing, is_head ? H1_NO_BODY : H1_LENGTH);
        assert_string_equal(said.body, is_head ? "" : "abc");
    }
    h1_expect_response(&h, H1_METHOD_POST);
    say(&h, "\r\n", 2, &said);
    say(&h, text, sizeof text - 1, &said);
    assert_int_equal(said.event, H1_ERROR);
    h1_deinit(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_h1_memo_changes_no_verdict),
        cmocka_unit_test(test_h1_memo_leaves_a_text_alone_that_is_kept),
        cmocka_unit_test(test_h1_memo_is_shared),
        cmocka_unit_test(test_h1_memo_knows_what_was_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
