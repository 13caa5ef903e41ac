/* child_exec.c - see child_exec.h. It runs in a process of its own: plain system calls, no loop.
 * That it is a step of its own is what lets the parent use a plain spawn: the death signal must be
 * set by the child itself. */
#include "node/child_exec.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MESH_PREFIX "MESH_"

static void reset_signals(void)
{
    struct sigaction plain;
    memset(&plain, 0, sizeof plain);
    plain.sa_handler = SIG_DFL;
    for (int number = 1; number <= SIGRTMAX; number++)
        (void)sigaction(number, &plain, NULL); /* KILL, STOP and libc's own refuse: rightly */
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Our settings are no business of the server; some name files with secrets. */
static void filter_environment(void)
{
    char **into = environ;
    for (char **at = environ; *at != NULL; at++) {
        if (strncmp(*at, MESH_PREFIX, strlen(MESH_PREFIX)) != 0)
            *into++ = *at;
    }
    *into = NULL;
}

int child_main(int argc, char **argv)
{
    if (argc < 3 || strcmp(argv[1], "--") != 0) {
        fprintf(stderr, "usage: meshd child -- command args...\n");
        return 2;
    }
    const char *parent = getenv(CHILD_PARENT_VARIABLE);
    pid_t expected = parent != NULL ? (pid_t)strtol(parent, NULL, 10) : getppid();
    /* It does not survive a parent killed with SIGKILL (prctl(2)); a parent that went before this
     * call sends no signal any more, and is seen by the changed parent. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != expected)
        return 126;
    /* A process group of its own, so that it is killed with all that it starts. */
    if (getsid(0) != getpid())
        (void)setsid();
    reset_signals();
    filter_environment();
    closefrom(STDERR_FILENO + 1);
    execvp(argv[2], argv + 2);
    int error = errno;
    fprintf(stderr, "cannot run %s: %s\n", argv[2], strerror(error));
    return error == ENOENT ? 127 : 126;
}

int child_watch_main(void)
{
    struct stat file;
    /* Whoever stops all processes of a service wants meshd to end first, in its own time. */
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    closefrom(CHILD_WATCH_FD + 1);
    if (fstat(CHILD_WATCH_FD, &file) != 0 || file.st_size <= 0)
        return 2;
    _Atomic int32_t *groups =
        mmap(NULL, (size_t)file.st_size, PROT_READ, MAP_SHARED, CHILD_WATCH_FD, 0);
    if (groups == MAP_FAILED)
        return 2;
    char byte;
    ssize_t got;
    do
        got = read(STDIN_FILENO, &byte, sizeof byte);
    while (got > 0 || (got < 0 && errno == EINTR));
    for (size_t i = 0; i < (size_t)file.st_size / sizeof *groups; i++) {
        pid_t group = atomic_load_explicit(&groups[i], memory_order_relaxed);
        if (group > 1)
            (void)kill(-group, SIGKILL);
    }
    return 0;
}
