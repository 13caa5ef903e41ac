/* test_up_watch.c - the table of children that a meshd shares with their watcher, and what the
 * watcher does when that meshd is gone. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/child_exec.h"
#include "node/up_watch.h"

#define GROUPS 4u

static void test_slots_are_as_many_as_children_and_used_again(void **state)
{
    (void)state;
    struct up_watch watch;
    watch_init(&watch, NULL, "meshd", GROUPS);
    assert_true(watch.fd >= 0);
    for (int round = 0; round < 10; round++) {
        uint32_t slots[GROUPS];
        for (uint32_t i = 0; i < GROUPS; i++) {
            slots[i] = watch_add(&watch, (int)(100 + i));
            assert_true(slots[i] < GROUPS);
            assert_int_equal(watch.groups[slots[i]], 100 + i);
        }
        assert_int_equal(watch_add(&watch, 99), WATCH_NO_SLOT);
        watch_remove(&watch, WATCH_NO_SLOT);
        watch_remove(&watch, slots[2]);
        assert_int_equal(watch.groups[slots[2]], 0);
        slots[2] = watch_add(&watch, 98);
        assert_int_equal(watch.groups[slots[2]], 98);
        for (uint32_t i = 0; i < GROUPS; i++)
            watch_remove(&watch, slots[i]);
    }
    watch_deinit(&watch);
}

/* Two processes in a group of their own; `alive` is readable as soon as both are gone. */
static pid_t start_group(int alive[2])
{
    assert_int_equal(pipe(alive), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)setpgid(0, 0);
        close(alive[0]);
        (void)fork();
        for (;;)
            pause();
    }
    (void)setpgid(pid, pid); /* whoever comes first */
    close(alive[1]);
    return pid;
}

static pid_t start_watch(const struct up_watch *watch, int end[2])
{
    assert_int_equal(pipe(end), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(end[1]);
        if (dup2(end[0], STDIN_FILENO) < 0 || dup2(watch->fd, CHILD_WATCH_FD) < 0)
            _exit(99);
        _exit(child_watch_main());
    }
    close(end[0]);
    return pid;
}

static bool is_over(int alive, int wait_ms)
{
    struct pollfd over = {.fd = alive, .events = POLLIN};
    return poll(&over, 1, wait_ms) == 1;
}

static void test_groups_in_the_table_are_killed_when_the_pipe_ends(void **state)
{
    (void)state;
    struct up_watch watch;
    int alive[GROUPS][2], end[2], status;
    pid_t groups[GROUPS];
    watch_init(&watch, NULL, "meshd", GROUPS);
    uint32_t last = 0;
    for (uint32_t i = 0; i < GROUPS; i++) {
        groups[i] = start_group(alive[i]);
        if (i == GROUPS - 2)
            last = watch_add(&watch, groups[i]);
        else if (i < GROUPS - 1)
            (void)watch_add(&watch, groups[i]);
    }
    pid_t pid = start_watch(&watch, end);
    watch_remove(&watch, last); /* it ended meanwhile, as far as anybody knows */
    assert_false(is_over(alive[0][0], 200));
    assert_int_equal(write(end[1], "x", 1), 1); /* what is written means nothing */
    assert_false(is_over(alive[0][0], 100));
    assert_int_equal(kill(pid, SIGTERM), 0);
    assert_false(is_over(alive[0][0], 100));
    close(end[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    for (uint32_t i = 0; i < GROUPS; i++) {
        assert_int_equal(is_over(alive[i][0], i < GROUPS - 2 ? 5000 : 100), i < GROUPS - 2);
        (void)kill(-groups[i], SIGKILL);
        assert_int_equal(waitpid(groups[i], &status, 0), groups[i]);
        close(alive[i][0]);
    }
    watch_deinit(&watch);
}

static void test_watcher_without_a_table_ends_at_once(void **state)
{
    (void)state;
    struct up_watch none = {.fd = STDIN_FILENO};
    int end[2], status, null[2];
    assert_int_equal(pipe(null), 0);
    none.fd = null[0];
    pid_t pid = start_watch(&none, end);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 2);
    close(end[1]);
    close(null[0]);
    close(null[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots_are_as_many_as_children_and_used_again),
        cmocka_unit_test(test_groups_in_the_table_are_killed_when_the_pipe_ends),
        cmocka_unit_test(test_watcher_without_a_table_ends_at_once),
    };
    (void)alarm(60);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
