/* up_child.c - the life of one process of a stdio server: its start, its end, and what is waited
 * for in between. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "node/log.h"
#include "node/up_stdio.h"

#define EXIT_GRACE_MS 500u  /* for the rest of stdout after the exit */
#define SPAWNING_MS 5000u   /* silent so long, a child no longer counts as starting */
#define EXIT_CANNOT_RUN 126 /* and 127: child_main() and shells say so */

/* ---- the end of a child ---------------------------------------------------------------------- */

void child_note_start_over(struct child *child)
{
    if (!child->starting)
        return;
    child->starting = false;
    if (child_is_spare(child))
        child->kind->spares_starting--;
    else
        child->kind->starting--;
}

void child_free(struct child *child)
{
    line_reader_free(&child->lines);
    line_reader_free(&child->errors);
    bytes_unref(child->kept);
    writer_free(&child->writer);
    free(child->calls);
    free(child);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct child *child = handle->data;
    if (--child->handles > 0)
        return;
    struct up_stdio *kind = child->kind;
    list_remove(&child->in_kind);
    kind->running--;
    child_free(child);
    if (!kind->upstream->closing)
        stdio_start_waiting(kind);
    else if (list_is_empty(&kind->children))
        stdio_close_last(kind);
}

void child_close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, on_handle_closed);
}

void child_kill_group(struct child *child, int number)
{
    if (kill(-child->process.pid, number) != 0 && !child->exited)
        (void)kill(child->process.pid, number);
}

/* Whether its end says something of the program. One that waited long for a session and was not
 * asked anything may well have gone of itself. */
static bool is_failure(struct child *child, bool cannot_run)
{
    bool is_young = child_now_ms(child) - child->started_ms < SPAWNING_MS;
    if (child->wished || child->spoke || child->is_full)
        return false;
    return !handle_is_none(child->handle) || cannot_run || is_young;
}

static void tell_end(struct child *child, enum mesh_reason why)
{
    struct upstream *upstream = child->kind->upstream;
    if (handle_is_none(child->handle))
        return;
    slots_clear(&upstream->ups, child->handle);
    upstream->stats.open--;
    mesh_up_closed(child_mesh(child), child->handle, why, child_now_ms(child));
}

void child_end(struct child *child)
{
    if (child->state == CHILD_GONE)
        return;
    struct upstream *upstream = child->kind->upstream;
    bool cannot_run = !child->spoke && (child->exit_status == EXIT_CANNOT_RUN ||
                                        child->exit_status == EXIT_CANNOT_RUN + 1);
    enum mesh_reason why = child->wished    ? MESH_OK
                           : child->is_full ? MESH_FULL
                           : cannot_run     ? MESH_UPSTREAM_DOWN
                                            : MESH_UPSTREAM_LOST;
    child->state = CHILD_GONE;
    up_spare_drop(child);
    child_note_start_over(child);
    wheel_stop(&child->timer);
    child_io_end(child);
    if (!child->wished && child->process.pid > 0)
        log_warn("child_lost", "pid=%d status=%d spoke=%d session=%d", child->process.pid,
                 (int)child->exit_status, child->spoke, !handle_is_none(child->handle));
    if (is_failure(child, cannot_run))
        stdio_note_failure(child->kind, cannot_run);
    tell_end(child, why);
    child_close_handle((uv_handle_t *)&child->in);
    child_close_handle((uv_handle_t *)&child->out);
    child_close_handle((uv_handle_t *)&child->err);
    /* Closed, its handle would not reap it any more. */
    if (child->has_process && (child->exited || upstream->closing))
        child_close_handle((uv_handle_t *)&child->process);
}

void child_end_exited(struct child *child)
{
    struct upstream *upstream = child->kind->upstream;
    if ((child->out_ended && child->err_ended) || upstream->closing)
        child_end(child);
    else
        wheel_set(&upstream->host->wheel, &child->timer, child_now_ms(child) + EXIT_GRACE_MS);
}

static void on_exit_child(uv_process_t *process, int64_t status, int signal_number)
{
    struct child *child = process->data;
    up_spare_drop(child);
    child->exited = true;
    child->exit_status = signal_number != 0 ? 128 + signal_number : status;
    child_kill_group(child, SIGKILL); /* what it left behind holds our pipes */
    watch_remove(&child->kind->watch, child->watch_slot);
    if (child->state == CHILD_GONE)
        child_close_handle((uv_handle_t *)process);
    else
        child_end_exited(child);
}

void child_begin_end(struct child *child)
{
    if (child->state != CHILD_RUNNING)
        return;
    child->state = CHILD_ENDING;
    up_spare_drop(child);
    if (child->writer.length == 0 || child->writer.failed)
        child_close_handle((uv_handle_t *)&child->in); /* else once all is written */
    wheel_set(&child->kind->upstream->host->wheel, &child->timer,
              child_now_ms(child) + CHILD_TERM_AFTER_MS);
}

void child_on_timer(struct wheel_item *item, uint64_t now_ms)
{
    struct child *child = container_of(item, struct child, timer);
    struct wheel *wheel = &child->kind->upstream->host->wheel;
    if (child->exited && child->is_paused && !child->wished) {
        wheel_set(wheel, item, now_ms + EXIT_GRACE_MS); /* its last words wait for their readers */
        return;
    }
    if (child->exited) {
        child_end(child); /* somebody outside its group holds its stdout */
        return;
    }
    switch (child->state) {
    case CHILD_RUNNING:
        child_note_start_over(child); /* slow to speak: others may start */
        stdio_start_waiting(child->kind);
        break;
    case CHILD_ENDING:
        child->state = CHILD_TERMED;
        writer_stop(&child->writer);
        child_close_handle((uv_handle_t *)&child->in);
        child_kill_group(child, SIGTERM);
        wheel_set(wheel, item, now_ms + CHILD_KILL_AFTER_MS - CHILD_TERM_AFTER_MS);
        break;
    case CHILD_TERMED:
        child->state = CHILD_KILLED;
        child_kill_group(child, SIGKILL);
        wheel_set(wheel, item, now_ms + CHILD_KILL_AFTER_MS);
        break;
    case CHILD_KILLED: /* in an uninterruptible sleep: nobody waits for it */
        child_end(child);
        break;
    case CHILD_WAITING:
        stdio_give_up_waiting(child);
        break;
    case CHILD_GONE:
        break;
    }
}

void child_fail(struct child *child)
{
    child_begin_end(child);
    if (child->state == CHILD_ENDING) {
        child->state = CHILD_KILLED;
        writer_stop(&child->writer);
        child_kill_group(child, SIGKILL);
    }
}

/* ---- its beginning --------------------------------------------------------------------------- */

struct child *child_new(struct up_stdio *kind)
{
    struct child *child = calloc(1, sizeof *child);
    if (child == NULL)
        return NULL;
    child->kind = kind;
    child->state = CHILD_WAITING;
    child->timer.on_due = child_on_timer;
    child->watch_slot = WATCH_NO_SLOT;
    child_io_init(child);
    return child;
}

static int spawn(struct child *child)
{
    struct up_stdio *kind = child->kind;
    const struct host_config *config = kind->upstream->host->config;
    size_t count = 0;
    while (config->command[count] != NULL)
        count++;
    size_t inherited = 0;
    while (environ[inherited] != NULL)
        inherited++;
    char **args = calloc(count + 4, sizeof *args);
    char **env = calloc(inherited + 2, sizeof *env);
    int rc = args == NULL || env == NULL ? UV_ENOMEM : 0;
    if (rc == 0) {
        static char child_word[] = "child", dashes[] = "--";
        args[0] = kind->self;
        args[1] = child_word;
        args[2] = dashes;
        memcpy(args + 3, config->command, count * sizeof *args);
        memcpy(env, environ, inherited * sizeof *env);
        env[inherited] = kind->parent;
        uv_stdio_container_t stdio[3] = {
            {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&child->in},
            {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&child->out},
            {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&child->err},
        };
        uv_process_options_t options = {.exit_cb = on_exit_child,
                                        .file = kind->self,
                                        .args = args,
                                        .env = env,
                                        .flags = UV_PROCESS_DETACHED,
                                        .stdio_count = 3,
                                        .stdio = stdio};
        child->has_process = true; /* also when it fails: the handle is the loop's */
        child->handles++;
        rc = uv_spawn(&kind->upstream->host->loop, &child->process, &options);
    }
    free(env);
    free(args);
    return rc;
}

void child_start(struct child *child)
{
    struct up_stdio *kind = child->kind;
    struct host *host = kind->upstream->host;
    list_push_front(&kind->children, &child->in_kind);
    kind->running++;
    child->state = CHILD_RUNNING;
    child->started_ms = host_now_ms(host);
    child->handles = 3;
    (void)uv_pipe_init(&host->loop, &child->in, 0);
    (void)uv_pipe_init(&host->loop, &child->out, 0);
    (void)uv_pipe_init(&host->loop, &child->err, 0);
    child->in.data = child->out.data = child->err.data = child->process.data = child;
    int rc = spawn(child);
    if (rc == 0) {
        child->watch_slot = watch_add(&kind->watch, child->process.pid);
        rc = child_io_start(child);
    }
    if (rc < 0) {
        log_error("child_not_started", "error=%s", host_error_name(rc));
        if (child->process.pid > 0)
            child_kill_group(child, SIGKILL);
        child->exited = true;
        child->exit_status = EXIT_CANNOT_RUN;
        child->is_full = rc == UV_EMFILE || rc == UV_ENFILE || rc == UV_EAGAIN || rc == UV_ENOMEM;
        if (child->is_full && !handle_is_none(child->handle))
            kind->upstream->stats.refused++;
        child_end(child);
        return;
    }
    kind->upstream->stats.spawned++;
    child->starting = true;
    if (child_is_spare(child))
        kind->spares_starting++;
    else
        kind->starting++;
    wheel_set(&host->wheel, &child->timer, host_now_ms(host) + SPAWNING_MS);
    writer_release(&child->writer);
    if (!child_is_spare(child))
        mesh_up_ready(host->mesh, child->handle, host_now_ms(host));
}
