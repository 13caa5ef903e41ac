/* test_sse.c - server-sent events both ways: every stream whole, byte by byte and cut in two at
 * each place; what the writer writes the reader reads back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <cmocka.h>

#include "http/sse.h"

#define BYTES(text) text, sizeof(text) - 1
#define EVENT_MAX 64

struct transcript {
    char text[2048];
    size_t length;
};

static void note(struct transcript *t, const char *mark, struct slice s)
{
    size_t i;

    t->length += (size_t)snprintf(t->text + t->length, sizeof t->text - t->length, "%s", mark);
    for (i = 0; i < s.length; i++)
        t->length += (size_t)snprintf(t->text + t->length, sizeof t->text - t->length,
                                      s.at[i] == '\n' ? "\\n" : "%c", s.at[i]);
    assert_true(t->length < sizeof t->text);
}

static bool gives_parts;

/* Events as "[name#id!retry=data]"; "?" in place of "#" for an id of an earlier block; "~]" ends
 * one whose data stands before it, in parts. */
static void run(struct transcript *t, const char *data, size_t length, size_t first, size_t piece)
{
    struct bytes_budget budget = {.max = 1u << 20};
    struct sse_reader reader;
    enum sse_result result = SSE_MORE;
    size_t at = 0, used;

    t->length = 0;
    t->text[0] = '\0';
    sse_reader_init(&reader, EVENT_MAX, &budget);
    reader.gives_parts = gives_parts;
    while (at < length && result != SSE_ERROR) {
        size_t n = at == 0 ? first : piece, done = 0;
        uint8_t *copy;

        if (n > length - at)
            n = length - at;
        copy = malloc(n);
        assert_non_null(copy);
        memcpy(copy, data + at, n);
        do {
            struct sse_event event;
            char retry[16];

            result = sse_read(&reader, slice_borrow(copy + done, n - done), &used, &event);
            done += used;
            assert_true(done <= n);
            if (result == SSE_ERROR)
                note(t, "X", (struct slice){0});
            if (result == SSE_PART)
                note(t, "", event.data);
            if (result != SSE_EVENT)
                continue;
            note(t, "[", event.name);
            note(t, event.has_id ? "#" : "?", event.id);
            snprintf(retry, sizeof retry, "!%u", event.retry_ms);
            note(t, event.retry_ms > 0 ? retry : "", (struct slice){0});
            note(t, "=", event.data);
            note(t, event.is_large ? "~]" : "]", (struct slice){0});
        } while (result == SSE_EVENT || result == SSE_PART);
        memset(copy, 0xee, n);
        free(copy);
        at += n;
    }
    sse_reader_deinit(&reader);
    assert_int_equal(budget.used, 0);
}

static void check(const char *data, size_t length, const char *wanted)
{
    struct transcript t;
    size_t cut;

    run(&t, data, length, length, length);
    if (strcmp(t.text, wanted) != 0)
        fail_msg("%s: wanted %s, got %s", data, wanted, t.text);
    run(&t, data, length, 1, 1);
    if (strcmp(t.text, wanted) != 0)
        fail_msg("%s, byte by byte: wanted %s, got %s", data, wanted, t.text);
    for (cut = 1; cut < length; cut++) {
        run(&t, data, length, cut, length);
        if (strcmp(t.text, wanted) != 0)
            fail_msg("%s, cut at %zu: wanted %s, got %s", data, cut, wanted, t.text);
    }
}

static void test_sse_reads_any_line_ends(void **state)
{
    (void)state;
    check(BYTES("data: a\n\ndata: b\n\n"), "[?=a][?=b]");
    check(BYTES("data: a\r\n\r\ndata: b\r\n\r\n"), "[?=a][?=b]");
    check(BYTES("data: a\r\rdata: b\r\r"), "[?=a][?=b]");
    check(BYTES("data: a\r\n\ndata: b\n\r\ndata: c\n\r"), "[?=a][?=b][?=c]");
    check(BYTES("data: a\rdata: b\r\ndata: c\n\n"), "[?=a\\nb\\nc]");
    check(BYTES("\n\r\n\r\rdata: a\n\n\n\n"), "[?=a]");
}

static void test_sse_reads_every_field(void **state)
{
    (void)state;
    check(BYTES("event: message\nid: 7\nretry: 1500\ndata: {}\n\n"), "[message#7!1500={}]");
    check(BYTES("id:7\ndata:a\n\ndata: b\n\nid\ndata\n\n"), "[#7=a][?7=b][#=]");
    check(BYTES("data:\n\ndata: \n\ndata:  x\n\n"), "[?=][?=][?= x]");
    check(BYTES("data\ndata\n\n"), "[?=\\n]");
    check(BYTES("event: a\nevent: b\nid: 1\nid: 2\ndata: c\n\ndata: d\n\n"), "[b#2=c][?2=d]");
    check(BYTES("event: a\n\ndata: b\n\n"), "[?=b]");
    check(BYTES("id: 1\n\ndata: b\n\n"), "[?1=b]");
    check(BYTES("unknown: a\ndatas: b\ndat: c\nlongfieldname: d\ndata : e\nData: f\n\ndata: g\n\n"),
          "[?=g]");
    check(BYTES("id: a\0b\ndata: c\n\n"), "[?=c]");
    check(BYTES("data: a:b\nid: :\n\n"), "[#:=a:b]");
}

static void test_sse_drops_marks_comments_and_half_events(void **state)
{
    (void)state;
    check(BYTES("\xef\xbb\xbf"
                "data: a\n\n"),
          "[?=a]");
    check(BYTES("\xef\xbb\xbf\n\xef\xbb\xbf"
                "data: a\n\n"),
          "");
    check(BYTES("\xef\xbb"
                "data: a\n\ndata: b\n\n"),
          "[?=b]");
    check(BYTES("\xef\n"
                "data: b\n\n"),
          "[?=b]");
    check(BYTES(": keepalive\n\n:\n\ndata: a\n: x\ndata: b\n\n:::::::"), "[?=a\\nb]");
    check(BYTES("data: a\n\ndata: half\n"), "[?=a]"); /* row S4 */
    check(BYTES("data: a\n\nid: 3\ndata: half"), "[?=a]");
}

static void test_sse_clamps_retry(void **state)
{
    (void)state;
    check(BYTES("retry: 0\ndata: a\n\n"), "[?!100=a]");
    check(BYTES("retry: 99999999999\ndata: a\n\n"), "[?!60000=a]");
    check(BYTES("retry: 99999999999999999999999999999999999\ndata: a\n\n"), "[?!60000=a]");
    check(BYTES("retry: 4294967796\ndata: a\n\n"), "[?!60000=a]"); /* 2^32 + 500 */
    check(BYTES("retry: 60000\ndata: a\n\n"), "[?!60000=a]");
    check(BYTES("retry: 12x\ndata: a\n\n"), "[?=a]");
    check(BYTES("retry: -1\ndata: a\n\n"), "[?=a]");
    check(BYTES("retry:\ndata: a\n\n"), "[?=a]");
    check(BYTES("retry: 300\nretry: x\ndata: a\n\ndata: b\n\n"), "[?!300=a][?=b]");
    assert_int_equal(sse_clamp_retry(0), 100);
    assert_int_equal(sse_clamp_retry(UINT64_MAX), 60000);
}

static void test_sse_bounds_events_ids_and_names(void **state)
{
    char text[SSE_ID_MAX + 64];

    (void)state;
    memset(text, 'x', sizeof text);
    memcpy(text, "data: ", 6);
    memcpy(text + 6 + EVENT_MAX, "\n\n", 2);
    {
        struct transcript t;

        run(&t, text, 8 + EVENT_MAX, sizeof text, 1);
        assert_int_equal(t.length, EVENT_MAX + 4);
    }
    memcpy(text + 6 + EVENT_MAX, "x\n\n", 3);
    check(text, 9 + EVENT_MAX, "X");
    memcpy(text + 6 + EVENT_MAX, "\ndata\n\n", 7); /* its line end counts */
    check(text, 13 + EVENT_MAX, "X");
    check(BYTES(":0123456789012345678901234567890123456789012345678901234567890123456789\n"
                "unknown: 0123456789012345678901234567890123456789012345678901234567890123456789\n"
                "data: a\n\n"),
          "[?=a]");
    memset(text, 'x', sizeof text);
    memcpy(text, "event: ", 7);
    memcpy(text + 7 + SSE_NAME_MAX + 1, "\n\n", 2);
    check(text, 7 + SSE_NAME_MAX + 3, "X");
    memset(text, 'x', sizeof text);
    memcpy(text, "id: ", 4);
    memcpy(text + 4 + SSE_ID_MAX + 1, "\n\n", 2);
    {
        struct transcript t;

        run(&t, text, 4 + SSE_ID_MAX + 3, sizeof text, 1);
        assert_string_equal(t.text, "X");
    }
}

static void test_sse_gives_out_what_is_too_large_in_parts(void **state)
{
#define DIGITS "0123456789"
#define LONG DIGITS DIGITS DIGITS DIGITS DIGITS DIGITS /* 60 bytes, of 64 */

    (void)state;
    gives_parts = true;
    check(BYTES("data: " LONG "0123\n\n"), "[?=" LONG "0123]");
    check(BYTES("data: " LONG "01234\n\n"), LONG "01234[?=~]");
    check(BYTES("data: " LONG "\ndata: " LONG "\ndata\ndata: a\n\ndata: b\n\n"),
          LONG "\\n" LONG "\\n\\na[?=~][?=b]");
    check(BYTES("data: " LONG "012\ndata\n\n"), "[?=" LONG "012\\n]");
    check(BYTES("data: " LONG "0123\ndata\n\n"), LONG "0123\\n[?=~]"); /* its line end counts */
    check(BYTES("data\ndata: " LONG LONG "\r\n\r\n"), "\\n" LONG LONG "[?=~]");
    check(BYTES("data: " LONG LONG "\nid: 1\nevent: a\nretry: 200\n\n"), LONG LONG "[a#1!200=~]");
    check(BYTES("data: " LONG LONG "\n"), LONG LONG); /* and its end never comes (row S4) */
    gives_parts = false;
}

static void test_sse_hands_out_slices_of_the_input(void **state)
{
    static const char text[] = "id: 1\ndata: hello\n\ndata: a\ndata: b\n\n: x\n\n";
    struct bytes_budget budget = {.max = 1u << 20};
    struct bytes *input = bytes_copy(&budget, text, sizeof text - 1);
    struct sse_reader reader;
    struct sse_event event;
    struct slice kept;
    size_t used, at = 0;

    (void)state;
    assert_non_null(input);
    sse_reader_init(&reader, EVENT_MAX, &budget);
    assert_int_equal(sse_read(&reader, slice_of(input, 0, input->length), &used, &event),
                     SSE_EVENT);
    assert_ptr_equal(event.data.buf, input);
    assert_ptr_equal(event.data.at, input->data + 12);
    assert_int_equal(used, 19);
    at = used;
    assert_int_equal(sse_read(&reader, slice_of(input, at, input->length - at), &used, &event),
                     SSE_EVENT);
    assert_true(slice_is(event.data, "a\nb"));
    assert_int_equal(slice_keep(&kept, event.data, &budget), 0);
    at += used;
    assert_true(sse_reader_is_between(&reader));
    assert_int_equal(sse_read(&reader, slice_of(input, at, input->length - at), &used, &event),
                     SSE_MORE);
    assert_int_equal(reader.comments_count, 1);
    assert_true(sse_reader_is_between(&reader));
    assert_int_equal(sse_read(&reader, slice_text("da"), &used, &event), SSE_MORE);
    assert_false(sse_reader_is_between(&reader));
    assert_true(slice_is(kept, "a\nb"));
    slice_drop(&kept);
    bytes_unref(input);
    sse_reader_deinit(&reader);
    assert_int_equal(sse_read(&reader, slice_text("x"), &used, &event), SSE_ERROR);
    assert_int_equal(budget.used, 0);
}

static void test_sse_writer_splits_data_and_forges_nothing(void **state)
{
    static const struct {
        const char *data;
        size_t length;
        const char *text;
    } lines[] = {
        {BYTES("a"), "id: 9\ndata: a\n\n"},
        {BYTES(""), "id: 9\ndata: \n\n"},
        {BYTES("a\n\nb"), "id: 9\ndata: a\ndata: \ndata: b\n\n"},
        {BYTES("a\rb"), "id: 9\ndata: a\ndata: b\n\n"},
        {BYTES("a\r\nb"), "id: 9\ndata: a\ndata: b\n\n"},
        {BYTES("a\n\rb"), "id: 9\ndata: a\ndata: \ndata: b\n\n"},
        {BYTES("a\ndata: b"), "id: 9\ndata: a\ndata: data: b\n\n"},
        {BYTES("a\nid: 7"), "id: 9\ndata: a\ndata: id: 7\n\n"},
        {BYTES("a\nretry: 1"), "id: 9\ndata: a\ndata: retry: 1\n\n"},
        {BYTES("a\n"), "id: 9\ndata: a\ndata: \n\n"},
        {BYTES("\r\n"), "id: 9\ndata: \ndata: \n\n"},
        {BYTES(" a"), "id: 9\ndata:  a\n\n"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct sse_event event = {.id = slice_text("9"),
                                  .data = slice_borrow(lines[i].data, lines[i].length)};
        struct bytes_budget budget = {.max = 1u << 20};
        struct bytes *text;
        uint8_t prefix[128];
        int n;

        assert_int_equal(sse_copy_event(&budget, &event, &text), 0);
        assert_true(slice_is(slice_of(text, 0, text->length), lines[i].text));
        bytes_unref(text);
        assert_int_equal(budget.used, 0);
        n = sse_write_prefix(prefix, sizeof prefix, &event);
        assert_int_equal(n, strlen("id: 9\ndata: "));
        assert_int_equal(sse_needs_split(event.data), strpbrk(lines[i].data, "\r\n") != NULL);
    }
}

static void test_sse_writer_refuses_ids_and_names_that_end_lines(void **state)
{
    static const struct {
        const char *text;
        size_t length;
    } bad[] = {{BYTES("a\rb")}, {BYTES("\n")}, {BYTES("a\0")}, {BYTES("longer than eight\rb")}};
    struct sse_event event = {.data = slice_text("x")};
    struct bytes *text = NULL;
    uint8_t prefix[256];
    size_t i;
    int n;

    (void)state;
    for (i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        event.name = (struct slice){0};
        event.id = slice_borrow(bad[i].text, bad[i].length);
        assert_int_equal(sse_write_prefix(prefix, sizeof prefix, &event), -EINVAL);
        assert_int_equal(sse_copy_event(NULL, &event, &text), -EINVAL);
        event.name = event.id;
        event.id = (struct slice){0};
        assert_int_equal(sse_write_prefix(prefix, sizeof prefix, &event), -EINVAL);
        assert_int_equal(sse_copy_event(NULL, &event, &text), -EINVAL);
    }
    assert_null(text);
    event = (struct sse_event){
        .id = slice_text("i"), .name = slice_text("endpoint"), .retry_ms = 60000};
    n = sse_write_prefix(prefix, sizeof prefix, &event);
    assert_true(
        slice_is(slice_borrow(prefix, (size_t)n), "id: i\nevent: endpoint\nretry: 60000\ndata: "));
    assert_true((size_t)n <= sse_prefix_room(&event));
    assert_int_equal(sse_write_prefix(prefix, sse_prefix_room(&event) - 1, &event), -ENOSPC);
}

static void test_sse_reads_a_stream_of_bare_line_ends_in_linear_time(void **state)
{
    enum { LENGTH = 4 << 20 };
    char *text = malloc(LENGTH);
    struct sse_reader reader;
    struct sse_event event;
    size_t i, used, at = 0, events = 0;

    (void)state;
    assert_non_null(text);
    for (i = 0; i < LENGTH; i += 8)
        memcpy(text + i, "data:x\r\r", 8);
    sse_reader_init(&reader, EVENT_MAX, NULL);
    while (sse_read(&reader, slice_borrow(text + at, LENGTH - at), &used, &event) == SSE_EVENT) {
        at += used;
        events++;
    }
    assert_int_equal(events, LENGTH / 8);
    sse_reader_deinit(&reader);
    free(text);
}

static void test_sse_a_retry_block_says_a_time_and_is_no_event(void **state)
{
    static const uint32_t times[] = {100, 1500, 60000, UINT32_MAX};

    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        uint8_t text[SSE_RETRY_ROOM + 1] = {0};
        char wanted[SSE_RETRY_ROOM];
        struct sse_reader reader;
        struct sse_event event;
        size_t used, length = sse_write_retry(text, times[i]);

        snprintf(wanted, sizeof wanted, "retry: %u\n\n", times[i]);
        assert_true(length <= SSE_RETRY_ROOM);
        assert_string_equal((const char *)text, wanted);
        assert_int_equal(length, strlen(wanted));
        sse_reader_init(&reader, EVENT_MAX, NULL);
        assert_int_equal(sse_read(&reader, slice_borrow(text, length), &used, &event), SSE_MORE);
        assert_int_equal(reader.retry_ms, times[i] < 60000 ? times[i] : 60000);
        assert_true(sse_reader_is_between(&reader));
        sse_reader_deinit(&reader);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sse_reads_any_line_ends),
        cmocka_unit_test(test_sse_reads_every_field),
        cmocka_unit_test(test_sse_drops_marks_comments_and_half_events),
        cmocka_unit_test(test_sse_clamps_retry),
        cmocka_unit_test(test_sse_bounds_events_ids_and_names),
        cmocka_unit_test(test_sse_gives_out_what_is_too_large_in_parts),
        cmocka_unit_test(test_sse_hands_out_slices_of_the_input),
        cmocka_unit_test(test_sse_writer_splits_data_and_forges_nothing),
        cmocka_unit_test(test_sse_writer_refuses_ids_and_names_that_end_lines),
        cmocka_unit_test(test_sse_a_retry_block_says_a_time_and_is_no_event),
        cmocka_unit_test(test_sse_reads_a_stream_of_bare_line_ends_in_linear_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
