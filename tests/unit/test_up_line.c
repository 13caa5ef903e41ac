/* test_up_line.c - a child's output as lines, however it is cut, and what becomes of a line that is
 * too long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "node/up_line.c"

#define LINE_MAX_TEST 4096u

static char got[8][LINE_MAX_TEST + 1];
static size_t got_count;

static void on_line(struct line_reader *reader, struct slice text)
{
    (void)reader;
    assert_true(text.length > 0 && text.length <= LINE_MAX_TEST);
    assert_true(got_count < sizeof got / sizeof got[0]);
    memcpy(got[got_count], text.at, text.length);
    got[got_count++][text.length] = '\0';
}

static void feed_in_parts(struct line_reader *reader, const char *data, size_t length, size_t part)
{
    for (size_t at = 0; at < length; at += part)
        assert_int_equal(
            line_reader_feed(reader, data + at, length - at < part ? length - at : part), 0);
}

static void test_lines_come_out_the_same_however_they_are_cut(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":1}\n\n\r\n{\"b\":2}\r\nlast\nopen";
    for (size_t part = 1; part <= sizeof text; part++) {
        struct line_reader reader;
        line_reader_init(&reader, LINE_MAX_TEST, on_line);
        got_count = 0;
        feed_in_parts(&reader, text, sizeof text - 1, part);
        assert_int_equal(got_count, 3);
        assert_string_equal(got[0], "{\"a\":1}");
        assert_string_equal(got[1], "{\"b\":2}");
        assert_string_equal(got[2], "last");
        line_reader_free(&reader);
    }
}

static void test_line_of_the_full_length_passes_and_one_byte_more_does_not(void **state)
{
    (void)state;
    static char text[LINE_MAX_TEST + 2];
    for (size_t part = 1; part <= LINE_MAX_TEST + 2; part += 1023) {
        struct line_reader reader;
        line_reader_init(&reader, LINE_MAX_TEST, on_line);
        memset(text, 'x', sizeof text);
        got_count = 0;
        text[LINE_MAX_TEST] = '\n';
        feed_in_parts(&reader, text, LINE_MAX_TEST + 1, part);
        assert_int_equal(got_count, 1);
        text[LINE_MAX_TEST] = 'x';
        text[LINE_MAX_TEST + 1] = '\n';
        feed_in_parts(&reader, text, LINE_MAX_TEST + 2, part);
        assert_int_equal(got_count, 1); /* no response: nobody waits for it */
        feed_in_parts(&reader, "next\n", 5, 1);
        assert_string_equal(got[1], "next");
        line_reader_free(&reader);
    }
}

static void check_long_response(const char *before, const char *after)
{
    static char filler[3 * LINE_MAX_TEST], text[4 * LINE_MAX_TEST];
    memset(filler, 'y', sizeof filler - 1);
    int length = snprintf(text, sizeof text, "%s%s%s", before, filler, after);
    assert_true(length > (int)LINE_MAX_TEST && (size_t)length < sizeof text);
    for (size_t part = 1; part <= (size_t)length; part = part * 3 + 1) {
        struct line_reader reader;
        struct rpc_message rpc;
        line_reader_init(&reader, LINE_MAX_TEST, on_line);
        got_count = 0;
        feed_in_parts(&reader, text, (size_t)length, part);
        assert_int_equal(got_count, 1);
        rpc_read(&rpc, NULL, got[0], strlen(got[0]));
        assert_int_equal(rpc.kind, RPC_ERROR);
        assert_int_equal(rpc.id.length, 6);
        assert_memory_equal(got[0] + rpc.id.at, "\"id-7\"", 6);
        feed_in_parts(&reader, "next\n", 5, part);
        assert_string_equal(got[1], "next");
        line_reader_free(&reader);
    }
}

static void test_response_too_long_becomes_an_error_with_its_id(void **state)
{
    (void)state;
    check_long_response("{\"jsonrpc\":\"2.0\",\"id\":\"id-7\",\"result\":{\"x\":\"", "\"}}\n");
    check_long_response("{\"jsonrpc\":\"2.0\",\"result\":{\"x\":\"", "\"},\"id\":\"id-7\"}\n");
}

static void test_notification_too_long_is_dropped(void **state)
{
    (void)state;
    static char filler[3 * LINE_MAX_TEST], text[4 * LINE_MAX_TEST];
    memset(filler, 'y', sizeof filler - 1);
    int length =
        snprintf(text, sizeof text,
                 "{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":{\"x\":\"%s\"}}\n", filler);
    struct line_reader reader;
    line_reader_init(&reader, LINE_MAX_TEST, on_line);
    got_count = 0;
    feed_in_parts(&reader, text, (size_t)length, 1000);
    assert_int_equal(got_count, 0);
    line_reader_free(&reader);
}

static void test_line_too_long_is_cut_where_a_beginning_is_enough(void **state)
{
    (void)state;
    static char text[2 * LINE_MAX_TEST + 6];
    memset(text, 'x', sizeof text);
    memcpy(text + 2 * LINE_MAX_TEST, "\nnext\n", 6);
    for (size_t part = 1; part <= sizeof text; part = part * 3 + 1) {
        struct line_reader reader;
        line_reader_init(&reader, LINE_MAX_TEST, on_line);
        reader.cuts = true;
        got_count = 0;
        feed_in_parts(&reader, text, sizeof text, part);
        assert_int_equal(got_count, 2);
        assert_int_equal(strlen(got[0]), LINE_MAX_TEST);
        assert_string_equal(got[1], "next");
        line_reader_free(&reader);
    }
}

static void test_unfinished_line_comes_out_at_the_end(void **state)
{
    (void)state;
    struct line_reader reader;
    line_reader_init(&reader, LINE_MAX_TEST, on_line);
    reader.cuts = true;
    got_count = 0;
    feed_in_parts(&reader, "one\npanic: no line end", 22, 5);
    line_reader_end(&reader);
    assert_int_equal(got_count, 2);
    assert_string_equal(got[1], "panic: no line end");
    line_reader_end(&reader); /* nothing is left */
    assert_int_equal(got_count, 2);
    line_reader_free(&reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_come_out_the_same_however_they_are_cut),
        cmocka_unit_test(test_line_of_the_full_length_passes_and_one_byte_more_does_not),
        cmocka_unit_test(test_response_too_long_becomes_an_error_with_its_id),
        cmocka_unit_test(test_notification_too_long_is_dropped),
        cmocka_unit_test(test_line_too_long_is_cut_where_a_beginning_is_enough),
        cmocka_unit_test(test_unfinished_line_comes_out_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
