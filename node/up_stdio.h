/* up_stdio.h - a child per session, speaking lines of JSON (MCP 2025-11-25, transports, stdio),
 * shared by up_stdio.c (upstream sessions: which get a process, and when), up_spare.c (processes
 * without a session yet), up_child.c (the life of one process) and up_child_io.c (what it says and
 * is told). Where a message of theirs goes, and what becomes of a session whose child is lost, the
 * core decides. */
#ifndef NODE_UP_STDIO_H
#define NODE_UP_STDIO_H

#include "node/child_exec.h"
#include "node/host.h"
#include "node/up_line.h"
#include "node/up_watch.h"
#include "node/upstream.h"

#define CHILD_TERM_AFTER_MS 1000u /* stdin is closed: time to go by itself */
#define CHILD_KILL_AFTER_MS 3000u
#define STDIO_PROBE_MS 1000u

enum child_state {
    CHILD_WAITING, /* no process yet: too many run */
    CHILD_RUNNING,
    CHILD_ENDING, /* stdin is closed */
    CHILD_TERMED,
    CHILD_KILLED,
    CHILD_GONE /* told to the core; handles are closing */
};

struct child {
    struct up_stdio *kind;
    struct list in_kind;   /* in up_stdio.children, or .waiting */
    struct list in_spares; /* linked: it has no session yet */
    struct handle handle;  /* zero: it has no session, a spare that ends among them */
    enum child_state state;
    uv_process_t process;
    uv_pipe_t in, out, err;
    uint8_t handles;      /* not closed yet */
    bool wished;          /* UP_CLOSE came */
    bool spoke, starting; /* starting: counts against spawning_max */
    bool exited, out_ended, err_ended, has_process;
    bool is_full; /* not started for want of descriptors or processes: that is no fault of its */
    bool has_babbled; /* said what is no message */
    bool is_paused;   /* nothing is read of its stdout */
    bool wants_tools; /* a list of tools is awaited: its messages are looked at for it */
    int64_t room;     /* bytes that may still be given to the core */
    uint64_t started_ms;
    uint32_t watch_slot;
    int64_t exit_status;
    struct writer writer;
    struct child_call {
        uint32_t call;
        uint64_t at; /* the writer's count at its first byte */
    } * calls;       /* written to the queue, first byte not taken yet */
    uint32_t calls_count, calls_room;
    struct line_reader lines, errors;
    struct bytes *kept;   /* what it said before it had a session, unread */
    uint32_t error_lines; /* logged in the second of error_ms */
    uint64_t error_ms;
    struct wheel_item timer;
};

struct up_stdio {
    struct upstream *upstream;
    struct list children;     /* with a process */
    struct list waiting;      /* for one; in the order they came */
    struct list spares;       /* of the children; the oldest first */
    uint64_t spares_after_ms; /* none is started before */
    uint32_t running, failures;
    uint32_t starting, spares_starting;
    struct up_watch watch;
    uint64_t probe_ms; /* the next wait */
    struct wheel_item probe;
    uv_timer_t last; /* of close_all(): the wheel stands still by then */
    bool has_last, is_termed;
    char parent[sizeof CHILD_PARENT_VARIABLE + 16];
    char self[512];
    struct rpc_tools tools; /* of one message, while it is given to the core */
};

static inline struct mesh *child_mesh(struct child *child)
{
    return child->kind->upstream->host->mesh;
}

static inline bool child_is_spare(const struct child *child)
{
    return list_is_linked(&child->in_spares);
}

static inline uint64_t child_now_ms(struct child *child)
{
    return upstream_now_ms(child->kind->upstream);
}

/* ---- up_child.c ------------------------------------------------------------------------------ */

/* In no list, and without a process; NULL: no memory. */
struct child *child_new(struct up_stdio *kind);
/* Its process; where that fails it ends at once, and the core is told. In no list before, but the
 * spares. */
void child_start(struct child *child);
/* Closes its input, then SIGTERM, then SIGKILL (MCP 2025-11-25, lifecycle, shutdown). */
void child_begin_end(struct child *child);
/* It does what no child may: it goes at once. */
void child_fail(struct child *child);
/* Nothing more is to come: tells the core, closes what is open; its last handle frees it. */
void child_end(struct child *child);
/* After its exit: once all that it said was read, or a little later. */
void child_end_exited(struct child *child);
/* The child and all that it started and that stayed in its group. */
void child_kill_group(struct child *child, int number);
void child_note_start_over(struct child *child); /* others may start */
void child_close_handle(uv_handle_t *handle);    /* of a child; closing already is fine */
void child_on_timer(struct wheel_item *item, uint64_t now_ms);
void child_free(struct child *child); /* has no handle, or none that is open */

/* ---- up_child_io.c --------------------------------------------------------------------------- */

void child_io_init(struct child *child);
int child_io_start(struct child *child);      /* begins to read; 0 or negative errno */
void child_io_end(struct child *child);       /* nothing more is read or written */
void child_io_read_kept(struct child *child); /* it has a session now */
void child_send(struct child *child, const struct mesh_effect *effect);
void child_give_room(struct child *child, size_t bytes);

/* ---- up_spare.c ------------------------------------------------------------------------------ */

void up_spare_fill(struct up_stdio *kind, uint64_t now_ms); /* starts what is missing, if it may */
struct child *up_spare_first(const struct up_stdio *kind);  /* NULL: none */
void up_spare_take(struct child *child, struct handle handle);
void up_spare_drop(struct child *child); /* it ends; one that is none is fine */
void up_spare_end_all(struct up_stdio *kind);

/* ---- up_stdio.c ------------------------------------------------------------------------------ */

void stdio_start_waiting(struct up_stdio *kind); /* as many as may */
void stdio_give_up_waiting(struct child *child);
/* A process ended before it spoke, or could not be run. */
void stdio_note_failure(struct up_stdio *kind, bool cannot_run);
void stdio_close_last(struct up_stdio *kind); /* all are gone, and the process goes */

#endif
