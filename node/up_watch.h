/* up_watch.h - `meshd child-watch` seen from the meshd that starts it: one process for all
 * children, that kills their groups when this meshd is killed. A child is told by the kernel (see
 * child_exec.c); what it started is not, and would live on. */
#ifndef NODE_UP_WATCH_H
#define NODE_UP_WATCH_H

#include <stdatomic.h>
#include <uv.h>

#define WATCH_NO_SLOT UINT32_MAX

struct up_watch {
    uv_loop_t *loop;
    const char *self;
    int fd;                  /* of the table; -1: there is none, and nothing is watched */
    _Atomic int32_t *groups; /* shared with the process; 0: free */
    uint32_t count, next;    /* next: where a free one is looked for */
    uint64_t again_ms;       /* not started before */
    uv_process_t process;
    uv_pipe_t pipe;  /* its end in there is closed by our death */
    uint8_t handles; /* not closed yet; 0: it does not run */
};

/* `self`: path of this program, borrowed. Starts nothing yet. */
void watch_init(struct up_watch *watch, uv_loop_t *loop, const char *self, uint32_t groups_max);
void watch_deinit(struct up_watch *watch); /* after the loop ran out */
/* Starts it if it does not run (any more). Called while there is something to watch. */
void watch_keep(struct up_watch *watch, uint64_t now_ms);
void watch_close(struct up_watch *watch); /* it ends by itself then */
uint32_t watch_add(struct up_watch *watch, int pid);
void watch_remove(struct up_watch *watch, uint32_t slot); /* WATCH_NO_SLOT is fine */

#endif
