/* test_scenario.c - what scenario files may say, and how they are told that they are wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim/scenario.h"

static char path[] = "/tmp/scenario-XXXXXX";

static void write_file(const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

/* Reads and tells it under seed 1. */
static struct scenario_result told(const char *text)
{
    struct scenario *scenario = NULL;
    struct scenario_result result = {.failed = false};
    char error[512] = "";
    write_file(text);
    if (scenario_read(&scenario, path, error, sizeof error) < 0)
        fail_msg("%s", error);
    assert_int_equal(scenario_run(scenario, 1, false, &result), 0);
    free(scenario);
    return result;
}

static void assert_told(const char *text)
{
    struct scenario_result result = told(text);
    if (result.failed)
        fail_msg("%s", result.failure);
}

static void assert_broken(const char *text, const char *words)
{
    struct scenario_result result = told(text);
    assert_true(result.failed);
    if (strstr(result.failure, words) == NULL)
        fail_msg("'%s' is not in: %s", words, result.failure);
}

static void assert_refused(const char *text, const char *words)
{
    struct scenario *scenario = NULL;
    char error[512] = "", wanted[600];
    write_file(text);
    assert_true(scenario_read(&scenario, path, error, sizeof error) < 0);
    assert_null(scenario);
    snprintf(wanted, sizeof wanted, "%s:%s", path, words);
    if (strstr(error, wanted) == NULL)
        fail_msg("'%s' is not in: %s", wanted, error);
}

#define START "nodes 3\nat 0 start all\n"

static void test_a_wrong_line_is_refused_and_named(void **state)
{
    (void)state;
    assert_refused("", "0: the file tells nothing");
    assert_refused("# nothing\nat 0 start all\n", "2: 'at' where 'nodes'");
    assert_refused("nodes 0\n", "1: a mesh of nobody");
    assert_refused("nodes 99999\n", "1: '99999': no number");
    assert_refused("nodes 3\nseeds 0\nat 0 start all\n", "2: no seed");
    assert_refused(START "at 5 crash p1\n", "3: '5': no time");
    assert_refused(START "at 5y crash p1\n", "3: '5y': no time");
    assert_refused(START "at 49h crash p1\n", "3: '49h': no time");
    assert_refused(START "at 18446744073709551617s crash p1\n", "3: ");
    assert_refused(START "at 5s\n", "3: '': no deed");
    assert_refused(START "at 5s kill p1\n", "3: 'kill': no deed");
    assert_refused(START "at 5s crash\n", "3: '': no peers");
    assert_refused(START "at 5s crash p3\n", "3: it names a peer that is not there");
    assert_refused(START "at 5s crash p1 now\n", "3: 'now' and what follows: too much");
    assert_refused(START "at 5s crash p2..p1\n", "3: 'p2..p1': no peers");
    assert_refused(START "at 5s crash p99999999999999999999\n", "3: ");
    assert_refused(START "at 5s crash any 0\n", "3: 'any 0' is nobody");
    assert_refused(START "at 5s split p0 p1\n", "3: a split has two sides");
    assert_refused(START "at 5s loss all 101%\n", "3: '101%': no share");
    assert_refused(START "at 5s twin p1 as p4\n", "3: the next twin is p3");
    assert_refused(START "at 5s clock p1 1h\n", "3: '1h': no jump");
    assert_refused(START "at 5s delay-gossip p1 5\n", "3: '5': no time");
    assert_refused(START "from 5s to 5s always all agree\n", "3: from a time to a later one");
    assert_refused(START "from 5s to 9s every 0 crash p1\n", "3: every 0");
    assert_refused(START "from 5s to 9s sometimes all agree\n", "3: 'sometimes' where");
    assert_refused(START "at 5s crash p1\nby 4s all agree\n", "4: that is before the deed");
    assert_refused(START "by 5s state p1 at all is well\n", "3: 'well': no word");
    assert_refused(START "by 5s state p1 at all\n", "3: '' where 'is' has to stand");
    assert_refused(START "by 5s members at all < 3\n", "3: '<': no word");
    assert_refused(START "by 5s call 0 is answered\n", "3: calls count from 1");
    assert_refused(START "soon all agree\n", "3: 'soon': a line begins");
}

static void test_a_file_has_bounds(void **state)
{
    (void)state;
    char text[20000] = START;
    for (size_t n = 0; n <= SCENARIO_STEPS_MAX; n++)
        strcat(text, "at 5s expect all agree\n");
    assert_refused(text, "258: more than 256 steps");
    strcpy(text, START "at 5s crash");
    for (size_t n = 0; n < 100; n++)
        strcat(text, " p1");
    assert_refused(text, "3: a line of more than 254 bytes");
    strcpy(text, START);
    for (size_t n = 0; n < 70; n++)
        strcat(text, "p ");
    assert_refused(text, "3: a line of more than 64 words");
    strcpy(text, "");
    for (size_t n = 0; n < 2001; n++)
        strcat(text, "\n");
    assert_refused(text, "2001: more than 2000 lines");
}

static void test_a_file_that_is_not_there_is_named(void **state)
{
    (void)state;
    struct scenario *scenario = NULL;
    char error[512] = "";
    assert_true(scenario_read(&scenario, "/nowhere/at/all.txt", error, sizeof error) < 0);
    assert_non_null(strstr(error, "/nowhere/at/all.txt: No such file"));
}

static void test_what_comes_true_is_found_true(void **state)
{
    (void)state;
    assert_told(START
                "by 5s all agree\nat 6s expect members at all = names\n"
                "at 6s expect table at all <= names + 0\n"
                "at 6s expect serving all at all is on\nat 6s expect all run\n"
                "from 6s to 20s always all agree\nfrom 6s to 20s at most 0 changes of ring at all\n"
                "from 6s to 20s never state all at all is suspect or dead or left or unknown\n"
                "from 6s to 20s bytes per peer-second <= 1000\n");
    assert_told(START "at 6s crash p2\nby 16s state p2 at others is dead\n"
                      "at 16s restart p2 new-address\nby 25s all agree\n");
    assert_told(START "at 6s leave p2 within 2s\nby 8s exit of p2 is left\n"
                      "at 8s expect state p2 at p0 p1 is left\n");
    assert_told(START
                "at 6s open 1 at p0\nat 7s call 1 at p1 taking 2s\nat 8s expect call 1 is open\n"
                "by 10s call 1 is answered\nat 10s expect call 1 ran 1 times\n");
    assert_told(START "at 6s open 1 at p0\nat 7s expect moves at all = 0\n"
                      "at 7s power-off p0\nby 30s claims of 1 = 2\n");
    assert_told(START "at 6s open 1 at p0\nat 7s delay-gossip all 5s\nat 7s call 1 at p1\n"
                      "by 7010ms call 1 is answered\n");
}

static void test_what_does_not_come_true_is_told_with_its_line(void **state)
{
    (void)state;
    assert_broken(START "at 6s crash p2\nat 6s expect state p2 at others is dead\n",
                  "line 4 at 6.000000 s: 'at 6s expect state p2 at others is dead'");
    assert_broken(START
                  "at 6s crash p2\nby 20s all agree\nat 30s start p0\nby 31s members at all = 3\n",
                  "line 6 at 31.000000 s: 'by 31s members at all = 3': p0 has 2");
    assert_broken(START "at 6s crash p2\nfrom 6s to 30s always state p2 at all is alive\n",
                  "p2 for suspect");
    assert_broken(START "at 6s crash p2\nfrom 6s to 30s never state p2 at all is dead\n",
                  "p2 for dead");
    assert_broken(START "at 6s crash p2\nfrom 6s to 30s at most 0 changes of ring at p0\n",
                  "changes: 1 at p0");
    assert_broken(START "at 6s crash p2\nfrom 6s to 30s at most 0 changes to dead at p0\n",
                  "changes: 1 at p0");
    assert_broken(START "from 6s to 30s bytes per peer-second <= 10\n", "bytes per peer-second: ");
    assert_broken(START "at 6s open 1 at p0\nat 7s expect candidates of 1 at all are all\n"
                        "at 7s serving p2 off\nby 8s serving p2 at others is off\n"
                        "from 8s to 9s always candidates of 1 at all are all\n",
                  "p2 is no candidate");
    assert_broken(START "from 6s to 7s never all agree\n", "it is so");
    assert_broken("nodes 2\nat 0 start p0\nfrom 1s to 2s always state p0 at p1 is alive\n",
                  "nobody was ever there to look at");
    assert_broken("nodes 2\nat 0 start p0\nby 2s members at p1 = 1\n", "nobody is there");
    assert_broken(START "at 6s call 1 at p0\n", "not opened");
    assert_broken(START "at 6s open 1 at p0\nat 7s expect claims of 1 >= 1\n", "claims: 0");
    assert_broken(START "at 6s open 1 at p0\nat 7s call 1 at p1\nat 8s expect moves at all >= 1\n",
                  "p0 has 0");
    assert_broken("nodes 3\nat 0 delay-gossip p0..p2 9s\nat 0 start all\nby 5s all agree\n",
                  "p0 takes 1 for alive");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_wrong_line_is_refused_and_named),
        cmocka_unit_test(test_a_file_has_bounds),
        cmocka_unit_test(test_a_file_that_is_not_there_is_named),
        cmocka_unit_test(test_what_comes_true_is_found_true),
        cmocka_unit_test(test_what_does_not_come_true_is_told_with_its_line),
    };
    int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    close(fd);
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failures;
}
