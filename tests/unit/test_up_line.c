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

/* What came out of lines that were not kept. */
static struct {
    enum rpc_kind kind;
    char id[64];
    size_t length;
} large[8];
static size_t large_count;

static void on_large(struct line_reader *reader, enum rpc_kind kind, struct slice id, size_t length)
{
    (void)reader;
    assert_true(large_count < sizeof large / sizeof large[0]);
    assert_true(id.length < sizeof large[0].id);
    large[large_count].kind = kind;
    large[large_count].length = length;
    memcpy(large[large_count].id, id.at, id.length);
    large[large_count++].id[id.length] = '\0';
}

/* The line `before filler after`, fed in parts of any size; the next line comes out whole. */
static void check_large(const char *before, const char *after, enum rpc_kind kind, const char *id)
{
    static char filler[4 * LARGE_ID_MAX], text[6 * LARGE_ID_MAX];
    memset(filler, 'y', sizeof filler - 1);
    int length = snprintf(text, sizeof text, "%s%s%s\n", before, filler, after);
    assert_true(length > (int)LINE_MAX_TEST && (size_t)length < sizeof text);
    for (size_t part = 1; part <= (size_t)length; part = part * 3 + 1) {
        struct line_reader reader;
        line_reader_init(&reader, LINE_MAX_TEST, on_line);
        reader.on_large = on_large;
        got_count = large_count = 0;
        feed_in_parts(&reader, text, (size_t)length, part);
        assert_int_equal(got_count, 0);
        assert_int_equal(large_count, 1);
        assert_int_equal(large[0].kind, kind);
        assert_int_equal(large[0].length, length - 1);
        assert_string_equal(large[0].id, id);
        feed_in_parts(&reader, "next\n", 5, part);
        assert_string_equal(got[0], "next");
        line_reader_free(&reader);
    }
}

static void test_line_too_long_tells_its_kind_and_its_id(void **state)
{
    (void)state;
    check_large("{\"jsonrpc\":\"2.0\",\"id\":\"id-7\",\"result\":{\"x\":\"", "\"}}", RPC_RESPONSE,
                "\"id-7\"");
    check_large("{\"jsonrpc\":\"2.0\",\"result\":{\"x\":\"", "\"},\"id\":\"id-7\"}", RPC_RESPONSE,
                "\"id-7\"");
    check_large("{\"jsonrpc\":\"2.0\",\"error\":{\"code\":1,\"message\":\"", "\"},\"id\":17}",
                RPC_ERROR, "17");
    check_large("{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"m\",\"params\":{\"x\":\"", "\"}}",
                RPC_REQUEST, "3");
    check_large("{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":{\"x\":\"", "\"}}",
                RPC_NOTIFICATION, "");
    check_large("no JSON: ", "", RPC_BAD, "");
}

static void test_id_of_a_line_too_long_is_found_as_far_as_its_ends_are_kept(void **state)
{
    (void)state;
    static char before[LARGE_ID_MAX + 64], after[LARGE_ID_MAX + 64];
    static const char end[] = ",\"id\":\"id-7\"", begin[] = "{\"jsonrpc\":\"2.0\",";
    for (size_t more = 0; more < 2; more++) {
        /* its last byte is the last kept one of the beginning, or the one after that */
        size_t blanks = LARGE_ID_MAX - (sizeof begin - 1) - (sizeof end - 2) + more;
        int n = snprintf(before, sizeof before, "%s%*s%s,\"result\":\"", begin, (int)blanks, "",
                         end + 1);
        assert_true(n > 0 && (size_t)n < sizeof before);
        check_large(before, "\"}", RPC_RESPONSE, more == 0 ? "\"id-7\"" : "");
        /* its first byte is the first kept one of the end, or the one before that */
        blanks = LARGE_ID_MAX - 6 - 1 + more;
        n = snprintf(after, sizeof after, "\",\"id\":\"id-7\"%*s}", (int)blanks, "");
        assert_true(n > 0 && (size_t)n < sizeof after);
        check_large("{\"jsonrpc\":\"2.0\",\"result\":\"", after, RPC_RESPONSE,
                    more == 0 ? "\"id-7\"" : "");
    }
}

static void test_line_for_which_there_is_no_memory_is_read_on_without_it(void **state)
{
    (void)state;
    static char text[LINE_MAX_TEST];
    struct bytes_budget budget = {.max = 1000};
    struct line_reader reader;
    line_reader_init(&reader, sizeof text, on_line);
    reader.on_large = on_large;
    reader.budget = &budget;
    int length = snprintf(text, sizeof text, "{\"jsonrpc\":\"2.0\",\"result\":\"%*s\",\"id\":5}\n",
                          2000, "");
    got_count = large_count = 0;
    feed_in_parts(&reader, text, (size_t)length, 100);
    assert_int_equal(got_count, 0);
    assert_int_equal(large_count, 1);
    assert_string_equal(large[0].id, "5");
    assert_int_equal(budget.used, 0);
    budget.max = 2 * sizeof text;
    feed_in_parts(&reader, text, (size_t)length, 100);
    assert_int_equal(got_count, 1);
    assert_int_equal(budget.used, 0);
    line_reader_free(&reader);
}

static void test_line_too_long_holds_the_ends_only(void **state)
{
    (void)state;
    static char text[64 * 1024];
    struct bytes_budget budget = {.max = 1u << 30};
    struct line_reader reader;
    memset(text, 'x', sizeof text);
    line_reader_init(&reader, 4 * sizeof text, on_line);
    reader.budget = &budget;
    for (int i = 0; i < 4; i++)
        assert_int_equal(line_reader_feed(&reader, text, sizeof text), 0);
    assert_true(budget.used >= 4 * sizeof text);
    assert_int_equal(line_reader_feed(&reader, text, 1), 0);
    assert_int_equal(budget.used, 0);
    assert_int_equal(line_reader_feed(&reader, "\n", 1), 0); /* nobody asked for it */
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
        cmocka_unit_test(test_line_too_long_tells_its_kind_and_its_id),
        cmocka_unit_test(test_id_of_a_line_too_long_is_found_as_far_as_its_ends_are_kept),
        cmocka_unit_test(test_line_for_which_there_is_no_memory_is_read_on_without_it),
        cmocka_unit_test(test_line_too_long_holds_the_ends_only),
        cmocka_unit_test(test_line_too_long_is_cut_where_a_beginning_is_enough),
        cmocka_unit_test(test_unfinished_line_comes_out_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
