/* test_log.c - log lines as a reader of standard error sees them (bad-inputs.md rows C11, M6). */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "node/log.h"

static int real_error, reading;
static char text[1 << 17];

/* What follows goes into a pipe instead of standard error, until heard(). */
static void listen_to_it(void)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    real_error = dup(STDERR_FILENO);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    close(ends[1]);
    reading = ends[0];
    assert_int_equal(fcntl(reading, F_SETFL, O_NONBLOCK), 0);
}

static const char *heard(void)
{
    size_t length = 0;
    ssize_t got;
    assert_true(dup2(real_error, STDERR_FILENO) >= 0);
    close(real_error);
    while ((got = read(reading, text + length, sizeof text - 1 - length)) > 0)
        length += (size_t)got;
    text[length] = '\0';
    close(reading);
    return text;
}

static unsigned count_lines(const char *lines)
{
    unsigned count = 0;
    for (; *lines != '\0'; lines++)
        count += *lines == '\n';
    return count;
}

static void test_a_line_has_time_level_event_and_pairs(void **state)
{
    (void)state;
    log_open(LOG_INFO, false);
    listen_to_it();
    log_info("peer_down", "peer=%s silent_ms=%d", "b", 12);
    log_debug("unheard", "a=%d", 1);
    const char *line = heard();
    assert_int_equal(count_lines(line), 1);
    assert_int_equal(line[10], 'T');
    assert_int_equal(line[23], 'Z');
    assert_string_equal(line + 24, " info peer_down peer=b silent_ms=12\n");
}

static void test_json_keeps_numbers_and_texts_apart(void **state)
{
    (void)state;
    log_open(LOG_DEBUG, true);
    listen_to_it();
    log_debug("numbers", "pid=%d session=%08x kept=1 name=%s", -5, 0x123u, "77");
    json_t *json = json_loads(heard(), 0, NULL);
    assert_non_null(json);
    assert_int_equal(json_integer_value(json_object_get(json, "pid")), -5);
    assert_int_equal(json_integer_value(json_object_get(json, "kept")), 1);
    assert_string_equal(json_string_value(json_object_get(json, "session")), "00000123");
    assert_string_equal(json_string_value(json_object_get(json, "name")), "77");
    assert_string_equal(json_string_value(json_object_get(json, "level")), "debug");
    json_decref(json);
}

static void test_a_value_adds_no_line_no_key_and_no_command_of_a_terminal(void **state)
{
    (void)state;
    static const char hostile[] =
        "x level=error\r\n2026 info forged \x1b[2J\xc2\x9b\x7f \"q\" \\ %s%n "
        "\xff\xe2\x80\xae z";
    for (int json = 0; json < 2; json++) {
        log_open(LOG_INFO, json);
        listen_to_it();
        log_info("child_stderr", "pid=%d text=%s", 5, hostile);
        const char *line = heard();
        assert_int_equal(count_lines(line), 1);
        for (const char *at = line; at[1] != '\0'; at++)
            assert_true((unsigned char)*at >= ' ' && (unsigned char)*at < 0x7f);
        if (!json) {
            assert_non_null(strstr(line, " pid=5 text=\"x level=error\\u000d\\n2026"));
            continue;
        }
        json_t *made = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        assert_int_equal(json_object_size(made), 5);
        assert_string_equal(json_string_value(json_object_get(made, "level")), "info");
        json_decref(made);
    }
}

static void test_values_and_lines_are_cut_and_still_whole(void **state)
{
    (void)state;
    char big[3000];
    memset(big, '"', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    for (int json = 0; json < 2; json++) {
        for (int shift = 0; shift < 40; shift++) {
            log_open(LOG_INFO, json);
            listen_to_it();
            log_info("big", "a=%.*s b=%.255s c=%.255s d=%s last=%d", shift, big, big, big, big, 7);
            const char *line = heard();
            if (line[0] == '\0') /* the rate: go on with another event */
                break;
            assert_true(strlen(line) <= 1024);
            assert_int_equal(count_lines(line), 1);
            if (json) {
                json_t *made = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
                assert_non_null(made);
                json_decref(made);
            }
        }
    }
}

static void test_one_event_cannot_drown_the_others(void **state)
{
    (void)state;
    log_open(LOG_INFO, false);
    listen_to_it();
    for (int i = 0; i < 100; i++)
        log_info("flood", "i=%d", i);
    log_info("other", "a=%d", 1);
    const char *lines = heard();
    assert_true(count_lines(lines) >= 21 && count_lines(lines) <= 42);
    assert_non_null(strstr(lines, " other a=1\n"));
    usleep(1100 * 1000);
    listen_to_it();
    log_info("flood", "i=%d", 100);
    assert_non_null(strstr(heard(), " flood i=100 suppressed="));
    assert_true(log_stats().suppressed > 0);
}

static void test_a_blocked_pipe_drops_lines_and_holds_nobody_up(void **state)
{
    (void)state;
    static char filling[1 << 16];
    struct log_stats before = log_stats();
    log_open(LOG_INFO, false);
    listen_to_it();
    assert_int_equal(fcntl(STDERR_FILENO, F_SETFL, O_NONBLOCK), 0);
    while (write(STDERR_FILENO, filling, sizeof filling) > 0)
        ;
    assert_int_equal(fcntl(STDERR_FILENO, F_SETFL, 0), 0); /* now a write would block */
    log_info("blocked", "a=%d", 1);
    assert_int_equal(log_stats().dropped, before.dropped + 1);
    while (read(reading, filling, sizeof filling) > 0)
        ;
    log_info("blocked", "a=%d", 2);
    assert_non_null(strstr(heard(), " blocked a=2 dropped=1\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_has_time_level_event_and_pairs),
        cmocka_unit_test(test_json_keeps_numbers_and_texts_apart),
        cmocka_unit_test(test_a_value_adds_no_line_no_key_and_no_command_of_a_terminal),
        cmocka_unit_test(test_values_and_lines_are_cut_and_still_whole),
        cmocka_unit_test(test_one_event_cannot_drown_the_others),
        cmocka_unit_test(test_a_blocked_pipe_drops_lines_and_holds_nobody_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
