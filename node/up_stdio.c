/* up_stdio.c - a child per session, speaking lines of JSON (MCP 2025-11-25, transports, stdio).
 * It starts, feeds, reads, ends children; where a message of theirs goes, and what becomes of a
 * session whose child is lost, the core decides. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "node/child_exec.h"
#include "node/host.h"
#include "node/log.h"
#include "node/up_line.h"
#include "node/upstream.h"

#define TERM_AFTER_MS 1000u /* stdin is closed: time to go by itself */
#define KILL_AFTER_MS 3000u
#define EXIT_GRACE_MS 500u    /* for the rest of stdout after the exit */
#define SPAWNING_MS 5000u     /* silent so long, a child no longer counts as starting */
#define WAITING_MS 10000u     /* for another child to end, where too many run */
#define STDIN_MAX (32u << 20) /* bytes a child may leave unread */
#define ERROR_LINE_MAX 1024u  /* of a longer one the beginning is logged */
#define FAILURES_MAX 5u       /* in a row: not serving (DESIGN §17) */
#define PROBE_MS 1000u
#define PROBE_MAX_MS 30000u
#define EXIT_CANNOT_RUN 126 /* and 127: child_main() and shells say so */

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
    struct child *next, **link; /* all, or those waiting */
    struct handle handle;
    enum child_state state;
    uv_process_t process;
    uv_pipe_t in, out, err;
    uint8_t handles;      /* not closed yet */
    bool wished;          /* UP_CLOSE came */
    bool spoke, starting; /* starting: counts against spawning_max */
    bool exited, out_ended, err_ended, has_process;
    bool is_full; /* not started for want of descriptors or processes: that is no fault of its */
    bool has_babbled; /* said what is no message */
    int64_t exit_status;
    struct writer writer;
    struct child_call {
        uint32_t call;
        uint64_t at; /* the writer's count at its first byte */
    } * calls;       /* written to the queue, first byte not taken yet */
    uint32_t calls_count, calls_room;
    struct line_reader lines, errors;
    uint32_t error_lines; /* logged in the second of error_ms */
    uint64_t error_ms;
    struct wheel_item timer;
};

struct up_stdio {
    struct upstream *upstream;
    struct child *first;                  /* with a process */
    struct child *waiting, **waiting_end; /* in the order they came */
    uint32_t running, starting, failures;
    uint64_t probe_ms; /* the next wait */
    struct wheel_item probe;
    uv_timer_t last; /* of close_all(): the wheel stands still by then */
    bool has_last, is_termed;
    char parent[sizeof CHILD_PARENT_VARIABLE + 16];
    char self[512];
};

static struct mesh *mesh_of(struct child *child)
{
    return child->kind->upstream->host->mesh;
}

static uint64_t now(struct child *child)
{
    return upstream_now_ms(child->kind->upstream);
}

static void start_waiting(struct up_stdio *kind);
static void close_last(struct up_stdio *kind);

/* ---- does it start at all? ------------------------------------------------------------------- */

/* Whether the command could be run; what it does then is not asked. */
static bool command_exists(const char *command)
{
    if (strchr(command, '/') != NULL)
        return access(command, X_OK) == 0;
    const char *path = getenv("PATH");
    for (const char *at = path != NULL ? path : "/usr/bin:/bin"; at != NULL;) {
        const char *end = strchrnul(at, ':');
        char full[4096];
        int n = snprintf(full, sizeof full, "%.*s/%s", (int)(end - at), at, command);
        if (n > 0 && (size_t)n < sizeof full && access(full, X_OK) == 0)
            return true;
        at = *end == ':' ? end + 1 : NULL;
    }
    return false;
}

static void probe(struct up_stdio *kind)
{
    struct upstream *upstream = kind->upstream;
    struct host *host = upstream->host;
    bool exists = command_exists(host->config->command[0]);
    upstream_set_serving(upstream, exists, exists ? "command found" : "command not found");
    if (!exists)
        wheel_set(&host->wheel, &kind->probe, host_now_ms(host) + PROBE_MS);
}

static void on_probe(struct wheel_item *item, uint64_t now_ms)
{
    (void)now_ms;
    probe(container_of(item, struct up_stdio, probe));
}

static void note_failure(struct up_stdio *kind, bool cannot_run)
{
    struct upstream *upstream = kind->upstream;
    struct host *host = upstream->host;
    upstream->stats.spawn_failed++;
    if (++kind->failures < FAILURES_MAX && !cannot_run)
        return;
    upstream_set_serving(upstream, false,
                         cannot_run ? "the command cannot be run"
                                    : "its processes end before they speak");
    /* Each probe lets children start again; the first to speak ends this. */
    wheel_set(&host->wheel, &kind->probe, host_now_ms(host) + kind->probe_ms);
    kind->probe_ms = kind->probe_ms * 2 < PROBE_MAX_MS ? kind->probe_ms * 2 : PROBE_MAX_MS;
}

static void note_start_over(struct child *child)
{
    if (child->starting) {
        child->starting = false;
        child->kind->starting--;
    }
}

/* ---- the end of a child ---------------------------------------------------------------------- */

static void unlink_child(struct child *child)
{
    struct up_stdio *kind = child->kind;
    if (child->next != NULL)
        child->next->link = child->link;
    else if (child->state == CHILD_WAITING)
        kind->waiting_end = child->link;
    *child->link = child->next;
}

static void free_child(struct child *child)
{
    line_reader_free(&child->lines);
    line_reader_free(&child->errors);
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
    unlink_child(child);
    kind->running--;
    free_child(child);
    if (!kind->upstream->closing)
        start_waiting(kind);
    else if (kind->first == NULL)
        close_last(kind);
}

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, on_handle_closed);
}

/* The child and all that it started and that stayed in its group. */
static void kill_group(struct child *child, int number)
{
    if (kill(-child->process.pid, number) != 0 && !child->exited)
        (void)kill(child->process.pid, number);
}

/* Nothing more is to come: tells the core, closes what is open. */
static void end_child(struct child *child)
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
    note_start_over(child);
    wheel_stop(&child->timer);
    line_reader_end(&child->errors); /* last words seldom have a line end */
    writer_stop(&child->writer);
    slots_clear(&upstream->ups, child->handle);
    upstream->stats.open--;
    if (!child->wished && child->process.pid > 0)
        log_warn("child_lost", "pid=%d status=%d spoke=%d", child->process.pid,
                 (int)child->exit_status, child->spoke);
    if (!child->wished && !child->spoke && !child->is_full)
        note_failure(child->kind, cannot_run);
    mesh_up_closed(mesh_of(child), child->handle, why, now(child));
    close_handle((uv_handle_t *)&child->in);
    close_handle((uv_handle_t *)&child->out);
    close_handle((uv_handle_t *)&child->err);
    /* Closed, its handle would not reap it any more. */
    if (child->has_process && (child->exited || upstream->closing))
        close_handle((uv_handle_t *)&child->process);
}

/* After its exit: once all that it said was read, or EXIT_GRACE_MS later. */
static void end_exited(struct child *child)
{
    struct upstream *upstream = child->kind->upstream;
    if ((child->out_ended && child->err_ended) || upstream->closing)
        end_child(child);
    else
        wheel_set(&upstream->host->wheel, &child->timer, now(child) + EXIT_GRACE_MS);
}

static void on_exit_child(uv_process_t *process, int64_t status, int signal_number)
{
    struct child *child = process->data;
    child->exited = true;
    child->exit_status = signal_number != 0 ? 128 + signal_number : status;
    kill_group(child, SIGKILL); /* what it left behind holds our pipes */
    if (child->state == CHILD_GONE)
        close_handle((uv_handle_t *)process);
    else
        end_exited(child);
}

/* MCP 2025-11-25, lifecycle, shutdown: close its input, then SIGTERM, then SIGKILL. */
static void begin_end(struct child *child)
{
    if (child->state != CHILD_RUNNING)
        return;
    child->state = CHILD_ENDING;
    if (child->writer.length == 0 || child->writer.failed)
        close_handle((uv_handle_t *)&child->in); /* else once all is written */
    wheel_set(&child->kind->upstream->host->wheel, &child->timer, now(child) + TERM_AFTER_MS);
}

/* It has no process yet, and will have none. */
static void drop_waiting(struct child *child, enum mesh_reason why)
{
    struct upstream *upstream = child->kind->upstream;
    unlink_child(child);
    wheel_stop(&child->timer);
    slots_clear(&upstream->ups, child->handle);
    upstream->stats.waiting--;
    upstream->stats.open--;
    mesh_up_closed(mesh_of(child), child->handle, why, now(child));
    free_child(child);
}

static void give_up_waiting(struct child *child)
{
    struct up_stdio *kind = child->kind;
    struct host *host = kind->upstream->host;
    if (kind->running < host->config->children_max) {
        /* Those before it start now, a few at a time: its turn will come. */
        wheel_set(&host->wheel, &child->timer, now(child) + WAITING_MS);
        return;
    }
    log_warn("child_not_started", "running=%u waited_ms=%u", kind->running, WAITING_MS);
    kind->upstream->stats.refused++;
    drop_waiting(child, MESH_FULL);
}

static void on_timer(struct wheel_item *item, uint64_t now_ms)
{
    struct child *child = container_of(item, struct child, timer);
    struct wheel *wheel = &child->kind->upstream->host->wheel;
    if (child->exited) {
        end_child(child); /* somebody outside its group holds its stdout */
        return;
    }
    switch (child->state) {
    case CHILD_RUNNING:
        note_start_over(child); /* slow to speak: others may start */
        start_waiting(child->kind);
        break;
    case CHILD_ENDING:
        child->state = CHILD_TERMED;
        writer_stop(&child->writer);
        close_handle((uv_handle_t *)&child->in);
        kill_group(child, SIGTERM);
        wheel_set(wheel, item, now_ms + KILL_AFTER_MS - TERM_AFTER_MS);
        break;
    case CHILD_TERMED:
        child->state = CHILD_KILLED;
        kill_group(child, SIGKILL);
        wheel_set(wheel, item, now_ms + KILL_AFTER_MS);
        break;
    case CHILD_KILLED: /* in an uninterruptible sleep: nobody waits for it */
        end_child(child);
        break;
    case CHILD_WAITING:
        give_up_waiting(child);
        break;
    case CHILD_GONE:
        break;
    }
}

/* It does what no child may: it goes at once. */
static void fail_child(struct child *child)
{
    begin_end(child);
    if (child->state == CHILD_ENDING) {
        child->state = CHILD_KILLED;
        writer_stop(&child->writer);
        kill_group(child, SIGKILL);
    }
}

/* ---- what it says ---------------------------------------------------------------------------- */

/* A message counts, not a byte: many programs print how they are used, and end. */
static void note_spoke(struct child *child)
{
    struct up_stdio *kind = child->kind;
    child->spoke = true;
    kind->failures = 0;
    kind->probe_ms = PROBE_MS;
    note_start_over(child);
    start_waiting(kind);
}

static void on_line(struct line_reader *lines, struct slice text)
{
    struct child *child = container_of(lines, struct child, lines);
    struct upstream *upstream = child->kind->upstream;
    struct rpc_message rpc;
    if (child->state == CHILD_GONE)
        return;
    rpc_read(&rpc, NULL, text.at, text.length);
    if (rpc.kind == RPC_BAD) {
        /* Many servers print to stdout what belongs to stderr: one line more or less. Its text
         * may be a message in part, so it is not shown. */
        upstream->stats.lines_dropped++;
        log_write(child->has_babbled ? LOG_DEBUG : LOG_WARN, "child_line_dropped",
                  "pid=%d bytes=%zu why=%s", child->process.pid, text.length,
                  "no JSON-RPC message on standard output");
        child->has_babbled = true;
        return;
    }
    if (!child->spoke)
        note_spoke(child);
    mesh_up_message(upstream->host->mesh, child->handle, MESH_NO_CALL, &rpc, NULL, text,
                    now(child));
}

static void on_error_line(struct line_reader *lines, struct slice text)
{
    struct child *child = container_of(lines, struct child, errors);
    uint64_t second_ms = now(child) / 1000;
    if (child->error_ms != second_ms) {
        if (child->error_lines > 10)
            log_warn("child_stderr_dropped", "pid=%d lines=%u", child->process.pid,
                     child->error_lines - 10);
        child->error_ms = second_ms;
        child->error_lines = 0;
    }
    if (++child->error_lines <= 10)
        log_info("child_stderr", "pid=%d text=%.*s", child->process.pid,
                 (int)(text.length < 256 ? text.length : 256), (const char *)text.at);
}

static void on_out(uv_stream_t *stream, ssize_t length, const uv_buf_t *buf)
{
    struct child *child = stream->data;
    if (length > 0) {
        if (line_reader_feed(&child->lines, buf->base, (size_t)length) < 0)
            fail_child(child);
    } else if (length < 0) {
        child->out_ended = true;
        if (child->exited)
            end_exited(child);
        else
            begin_end(child); /* it will say nothing more: let it go */
    }
}

static void on_err(uv_stream_t *stream, ssize_t length, const uv_buf_t *buf)
{
    struct child *child = stream->data;
    if (length > 0)
        (void)line_reader_feed(&child->errors, buf->base, (size_t)length);
    else if (length < 0) {
        child->err_ended = true;
        (void)uv_read_stop(stream);
        if (child->exited)
            end_exited(child);
    }
}

/* ---- what it is told ------------------------------------------------------------------------- */

static void on_written(struct writer *writer, int status)
{
    struct child *child = container_of(writer, struct child, writer);
    uint32_t sent = 0;
    if (child->state != CHILD_RUNNING && child->state != CHILD_ENDING)
        return;
    while (sent < child->calls_count && child->calls[sent].at < writer->taken)
        mesh_up_sent(mesh_of(child), child->handle, child->calls[sent++].call, now(child));
    child->calls_count -= sent;
    memmove(child->calls, child->calls + sent, child->calls_count * sizeof *child->calls);
    if (status < 0)
        begin_end(child); /* it closed its input; what it still says is read */
    if (child->state == CHILD_ENDING && (status < 0 || writer->length == 0))
        close_handle((uv_handle_t *)&child->in);
}

static int note_call(struct child *child, uint32_t call)
{
    if (child->calls_count == child->calls_room) {
        uint32_t room = child->calls_room == 0 ? 4 : child->calls_room * 2;
        struct child_call *calls = realloc(child->calls, room * sizeof *calls);
        if (calls == NULL)
            return -ENOMEM;
        child->calls = calls;
        child->calls_room = room;
    }
    child->calls[child->calls_count++] =
        (struct child_call){call, child->writer.taken + child->writer.length};
    return 0;
}

/* One message is one line: legal JSON has raw line ends between its tokens only. */
static struct bytes *flatten(struct slice text, const struct patch *patch)
{
    struct bytes *buf = writer_patched(text, patch);
    for (size_t i = 0; buf != NULL && i < buf->length; i++) {
        if (buf->data[i] == '\n' || buf->data[i] == '\r')
            buf->data[i] = ' ';
    }
    return buf;
}

static void send_child(void *of, const struct mesh_effect *effect)
{
    struct up_stdio *kind = of;
    struct child *child = slots_get(&kind->upstream->ups, effect->handle);
    if (child == NULL || child->state > CHILD_RUNNING)
        return; /* its end will be told */
    struct slice text = effect->send.text;
    struct writer *writer = &child->writer;
    kind->upstream->stats.calls++;
    int rc = note_call(child, effect->call);
    if (rc == 0 && (memchr(text.at, '\n', text.length) != NULL ||
                    memchr(text.at, '\r', text.length) != NULL)) {
        struct bytes *flat = flatten(text, &effect->patch);
        rc = flat == NULL ? -ENOMEM : writer_add_take(writer, flat);
    } else if (rc == 0)
        rc = writer_add_patched(writer, text, &effect->patch);
    if (rc == 0)
        rc = writer_add_static(writer, "\n");
    if (rc < 0 || writer->length > STDIN_MAX)
        fail_child(child); /* half a line, or a reader that does not read */
}

/* ---- its beginning --------------------------------------------------------------------------- */

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

static void start_child(struct child *child)
{
    struct up_stdio *kind = child->kind;
    struct host *host = kind->upstream->host;
    child->next = kind->first;
    child->link = &kind->first;
    if (child->next != NULL)
        child->next->link = &child->next;
    kind->first = child;
    kind->running++;
    child->state = CHILD_RUNNING;
    child->handles = 3;
    (void)uv_pipe_init(&host->loop, &child->in, 0);
    (void)uv_pipe_init(&host->loop, &child->out, 0);
    (void)uv_pipe_init(&host->loop, &child->err, 0);
    child->in.data = child->out.data = child->err.data = child->process.data = child;
    int rc = spawn(child);
    if (rc == 0)
        rc = uv_read_start((uv_stream_t *)&child->out, host_alloc, on_out);
    if (rc == 0)
        rc = uv_read_start((uv_stream_t *)&child->err, host_alloc, on_err);
    if (rc < 0) {
        log_error("child_not_started", "error=%s", host_error_name(rc));
        if (child->process.pid > 0)
            kill_group(child, SIGKILL);
        child->exited = true;
        child->exit_status = EXIT_CANNOT_RUN;
        child->is_full = rc == UV_EMFILE || rc == UV_ENFILE || rc == UV_EAGAIN || rc == UV_ENOMEM;
        if (child->is_full)
            kind->upstream->stats.refused++;
        end_child(child);
        return;
    }
    kind->upstream->stats.spawned++;
    child->starting = true;
    kind->starting++;
    wheel_set(&host->wheel, &child->timer, host_now_ms(host) + SPAWNING_MS);
    writer_release(&child->writer);
    mesh_up_ready(host->mesh, child->handle, host_now_ms(host));
}

static void start_waiting(struct up_stdio *kind)
{
    const struct host_config *config = kind->upstream->host->config;
    while (kind->waiting != NULL && kind->running < config->children_max &&
           kind->starting < config->spawning_max) {
        struct child *child = kind->waiting;
        unlink_child(child);
        kind->upstream->stats.waiting--;
        start_child(child);
    }
}

static void open_child(void *of, const struct mesh_effect *effect)
{
    struct up_stdio *kind = of;
    struct upstream *upstream = kind->upstream;
    struct child *child = calloc(1, sizeof *child);
    if (child == NULL || slots_put(&upstream->ups, effect->handle, child) < 0) {
        free(child);
        mesh_up_closed(upstream->host->mesh, effect->handle, MESH_UPSTREAM_DOWN,
                       upstream_now_ms(upstream));
        return;
    }
    child->kind = kind;
    child->handle = effect->handle;
    child->state = CHILD_WAITING;
    child->timer.on_due = on_timer;
    line_reader_init(&child->lines, MESH_MESSAGE_MAX, on_line);
    line_reader_init(&child->errors, ERROR_LINE_MAX, on_error_line);
    child->errors.cuts = true;
    writer_init(&child->writer, &upstream->host->writers, (uv_stream_t *)&child->in, on_written);
    child->writer.held = true;
    child->link = kind->waiting_end;
    *kind->waiting_end = child;
    kind->waiting_end = &child->next;
    upstream->stats.open++;
    upstream->stats.waiting++;
    wheel_set(&upstream->host->wheel, &child->timer, upstream_now_ms(upstream) + WAITING_MS);
    start_waiting(kind);
}

static void shut_child(void *of, const struct mesh_effect *effect)
{
    struct up_stdio *kind = of;
    struct upstream *upstream = kind->upstream;
    struct child *child = slots_get(&upstream->ups, effect->handle);
    if (child == NULL)
        return;
    child->wished = true;
    if (child->state != CHILD_WAITING) {
        begin_end(child);
        return;
    }
    drop_waiting(child, MESH_OK);
}

/* ---- the kind -------------------------------------------------------------------------------- */

static int start(struct upstream *upstream, void **kindp)
{
    const struct host_config *config = upstream->host->config;
    struct up_stdio *kind = calloc(1, sizeof *kind);
    if (kind == NULL)
        return UV_ENOMEM;
    kind->upstream = upstream;
    kind->waiting_end = &kind->waiting;
    kind->probe.on_due = on_probe;
    kind->probe_ms = PROBE_MS;
    snprintf(kind->parent, sizeof kind->parent, "%s=%d", CHILD_PARENT_VARIABLE, (int)getpid());
    snprintf(kind->self, sizeof kind->self, "%s",
             config->self_path != NULL ? config->self_path : "/proc/self/exe");
    *kindp = kind;
    probe(kind);
    return 0;
}

/* The core bounds what it keeps of a child's messages; in the legacy era nothing is cancelled by
 * closing a stream, so there is nothing to do for these. */
static void ignore(void *of, const struct mesh_effect *effect)
{
    (void)of;
    (void)effect;
}

static void close_last(struct up_stdio *kind)
{
    if (kind->has_last && !uv_is_closing((uv_handle_t *)&kind->last))
        uv_close((uv_handle_t *)&kind->last, NULL);
}

static void on_last(uv_timer_t *timer)
{
    struct up_stdio *kind = timer->data;
    bool is_over = kind->is_termed;
    kind->is_termed = true;
    for (struct child *child = kind->first; child != NULL; child = child->next) {
        if (child->state != CHILD_GONE && !child->exited)
            kill_group(child, is_over ? SIGKILL : SIGTERM);
        if (is_over)
            end_child(child);
    }
    if (is_over)
        close_last(kind);
}

/* The process goes. Its children get the time of begin_end() for what they have to write down; the
 * loop runs until they are gone. */
static void close_all(void *of)
{
    struct up_stdio *kind = of;
    wheel_stop(&kind->probe);
    struct child *next;
    for (struct child *child = kind->waiting; child != NULL; child = next) {
        next = child->next;
        wheel_stop(&child->timer);
        free_child(child);
    }
    kind->waiting = NULL;
    kind->waiting_end = &kind->waiting;
    for (struct child *child = kind->first; child != NULL; child = child->next) {
        wheel_stop(&child->timer);
        child->wished = true;
        if (child->state == CHILD_GONE && child->has_process)
            close_handle((uv_handle_t *)&child->process);
        else if (child->exited || child->state == CHILD_KILLED)
            end_child(child);
        else if (child->state != CHILD_GONE) {
            writer_stop(&child->writer);
            close_handle((uv_handle_t *)&child->in);
        }
    }
    if (kind->first == NULL)
        return;
    (void)uv_timer_init(&kind->upstream->host->loop, &kind->last);
    kind->last.data = kind;
    kind->has_last = true;
    (void)uv_timer_start(&kind->last, on_last, TERM_AFTER_MS, KILL_AFTER_MS - TERM_AFTER_MS);
}

static void free_all(void *of)
{
    free(of);
}

const struct upstream_ops up_stdio_ops = {
    .start = start,
    .open = open_child,
    .send = send_child,
    .room = ignore,
    .cancel = ignore,
    .shut = shut_child,
    .close = close_all,
    .free = free_all,
};
