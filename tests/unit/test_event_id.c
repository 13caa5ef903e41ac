/* Tests of event_id.h: one text for each id and one id for each text; whatever else a client sends
 * as Last-Event-ID is no id of ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mesh/base/event_id.h"

static const struct {
    struct event_id id;
    const char *text;
} ids[] = {
    {{.stream = 3, .epoch = 1, .number = 17}, "3-1-17"},
    {{.stream = 3, .epoch = 1, .number = 18, .is_last = true}, "3-1-18-e"},
    {{.epoch = 1}, "0-1-0"},
    {{.epoch = 10, .number = 100}, "0-10-100"},
    {{.stream = 1, .epoch = 1, .is_last = true}, "1-1-0-e"},
    {{.stream = UINT32_MAX, .epoch = UINT64_MAX, .number = UINT64_MAX, .is_last = true},
     "4294967295-18446744073709551615-18446744073709551615-e"},
};
#define IDS_COUNT (sizeof ids / sizeof ids[0])

/* In memory of its own, so that a sanitizer sees a read behind its end. */
static bool read_copy(struct event_id *id, const char *text, size_t length)
{
    char *copy = malloc(length ? length : 1);
    assert_non_null(copy);
    if (length > 0)
        memcpy(copy, text, length);
    memset(id, 0xff, sizeof *id);
    bool is_read = event_id_read(id, slice_borrow(copy, length));
    free(copy);
    assert_int_equal(event_id_is_none(id), !is_read);
    if (!is_read)
        assert_true(id->number == 0 && id->stream == 0 && !id->is_last);
    return is_read;
}

static void assert_written_as(const struct event_id *id, const char *text, size_t length)
{
    char written[EVENT_ID_TEXT];
    assert_int_equal(event_id_write(written, id), length);
    assert_memory_equal(written, text, length);
}

static void test_each_id_has_its_text(void **state)
{
    (void)state;
    for (size_t n = 0; n < IDS_COUNT; n++) {
        struct event_id read;
        size_t length = strlen(ids[n].text);
        assert_true(length <= EVENT_ID_TEXT);
        assert_written_as(&ids[n].id, ids[n].text, length);
        assert_true(read_copy(&read, ids[n].text, length));
        assert_int_equal(read.stream, ids[n].id.stream);
        assert_true(read.epoch == ids[n].id.epoch && read.number == ids[n].id.number);
        assert_int_equal(read.is_last, ids[n].id.is_last);
    }
}

/* What is accepted is the very text that the id is written as; what is accepted counts. */
static uint32_t accepted(const char *text, size_t length)
{
    struct event_id read;
    if (!read_copy(&read, text, length))
        return 0;
    assert_written_as(&read, text, length);
    return 1;
}

static void test_a_part_of_an_id_is_another_id_or_none(void **state)
{
    (void)state;
    uint32_t shorter = 0;
    for (size_t n = 0; n < IDS_COUNT; n++)
        for (size_t cut = 0; cut < strlen(ids[n].text); cut++)
            shorter += accepted(ids[n].text, cut);
    /* 3-1-1, 3-1-1 and 3-1-18 of their ends, 0-10-10 and 0-10-1, 1-1-0; of the longest, all that
     * end in a digit of the last number */
    assert_int_equal(shorter, 1 + 2 + 0 + 2 + 1 + 20);
}

static void test_each_changed_byte_makes_another_id_or_none(void **state)
{
    (void)state;
    for (size_t n = 0; n < IDS_COUNT; n++) {
        char text[EVENT_ID_TEXT + 1];
        size_t length = strlen(ids[n].text);
        for (size_t at = 0; at < length; at++) {
            for (int value = 0; value <= 0xff; value++) {
                strcpy(text, ids[n].text);
                text[at] = (char)value;
                bool is_digit = value >= '0' && value <= '9';
                bool was_digit = ids[n].text[at] >= '0' && ids[n].text[at] <= '9';
                uint32_t is_read = accepted(text, length);
                if (text[at] == ids[n].text[at])
                    assert_int_equal(is_read, 1);
                else if (!was_digit || (!is_digit && value != '-'))
                    assert_int_equal(is_read, 0);
            }
        }
    }
}

static void test_another_way_to_write_a_number_is_none(void **state)
{
    static const char *const texts[] = {"",
                                        "-",
                                        "--",
                                        "---e",
                                        "0",
                                        "0-1",
                                        "0-1-",
                                        "-1-1",
                                        "0--1",
                                        "0-0-0",
                                        "0-0-1",
                                        "00-1-1",
                                        "0-01-1",
                                        "0-1-01",
                                        "0-1-00",
                                        "+0-1-1",
                                        "0-+1-1",
                                        "0-1--1",
                                        " 0-1-1",
                                        "0-1-1 ",
                                        "0 -1-1",
                                        "0-1-1-",
                                        "0-1-1-E",
                                        "0-1-1-e ",
                                        "0-1-1-e-e",
                                        "0-1-1e",
                                        "0x1-1-1",
                                        "1e1-1-1",
                                        "0-1-1-0",
                                        "0-1-1-e0",
                                        "0_1_1",
                                        "0-1.0-1",
                                        "\xd9\xa0-1-1",
                                        "0-1-1\n",
                                        "4294967296-1-1",
                                        "42949672950-1-1",
                                        "99999999999999999999-1-1",
                                        "0-18446744073709551616-1",
                                        "0-1-18446744073709551616",
                                        "0-1-99999999999999999999",
                                        "0-1-184467440737095516150",
                                        "0-340282366920938463463374607431768211457-1"};
    (void)state;
    for (size_t n = 0; n < sizeof texts / sizeof texts[0]; n++)
        if (accepted(texts[n], strlen(texts[n])) != 0)
            fail_msg("'%s' is taken for an id", texts[n]);
    assert_int_equal(accepted("0-1-1\0", 6), 0);
    assert_int_equal(accepted("0-18446744073709551615-1", 24), 1);
    assert_int_equal(accepted("4294967295-1-18446744073709551615", 33), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_id_has_its_text),
        cmocka_unit_test(test_a_part_of_an_id_is_another_id_or_none),
        cmocka_unit_test(test_each_changed_byte_makes_another_id_or_none),
        cmocka_unit_test(test_another_way_to_write_a_number_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
