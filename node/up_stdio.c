/* up_stdio.c - a child per session: which session gets a process, and when. Their lives are
 * up_child.c's, their lines up_child_io.c's. */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "node/log.h"
#include "node/up_stdio.h"

#define WAITING_MS 10000u /* for another child to end, where too many run */
#define FAILURES_MAX 5u   /* in a row: not serving (DESIGN §17) */
#define PROBE_MAX_MS 30000u

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
        wheel_set(&host->wheel, &kind->probe, host_now_ms(host) + STDIO_PROBE_MS);
}

static void on_probe(struct wheel_item *item, uint64_t now_ms)
{
    (void)now_ms;
    probe(container_of(item, struct up_stdio, probe));
}

void stdio_note_failure(struct up_stdio *kind, bool cannot_run)
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

/* ---- waiting for its turn -------------------------------------------------------------------- */

/* It has no process yet, and will have none. */
static void drop_waiting(struct child *child, enum mesh_reason why)
{
    struct upstream *upstream = child->kind->upstream;
    list_remove(&child->in_kind);
    wheel_stop(&child->timer);
    slots_clear(&upstream->ups, child->handle);
    upstream->stats.waiting--;
    upstream->stats.open--;
    mesh_up_closed(child_mesh(child), child->handle, why, child_now_ms(child));
    child_free(child);
}

void stdio_give_up_waiting(struct child *child)
{
    struct up_stdio *kind = child->kind;
    struct host *host = kind->upstream->host;
    if (kind->running < host->config->children_max) {
        /* Those before it start now, a few at a time: its turn will come. */
        wheel_set(&host->wheel, &child->timer, child_now_ms(child) + WAITING_MS);
        return;
    }
    log_warn("child_not_started", "running=%u waited_ms=%u", kind->running, WAITING_MS);
    kind->upstream->stats.refused++;
    drop_waiting(child, MESH_FULL);
}

void stdio_start_waiting(struct up_stdio *kind)
{
    const struct host_config *config = kind->upstream->host->config;
    while (!list_is_empty(&kind->waiting) && kind->running < config->children_max &&
           kind->starting < config->spawning_max) {
        struct child *child = container_of(list_first(&kind->waiting), struct child, in_kind);
        list_remove(&child->in_kind);
        kind->upstream->stats.waiting--;
        child_start(child);
    }
}

static void open_child(void *of, const struct mesh_effect *effect)
{
    struct up_stdio *kind = of;
    struct upstream *upstream = kind->upstream;
    struct child *spare = up_spare_first(kind);
    struct child *child = spare != NULL ? spare : child_new(kind);
    if (child == NULL || slots_put(&upstream->ups, effect->handle, child) < 0) {
        if (spare == NULL)
            free(child);
        mesh_up_closed(upstream->host->mesh, effect->handle, MESH_UPSTREAM_DOWN,
                       upstream_now_ms(upstream));
        return;
    }
    upstream->stats.open++;
    if (spare != NULL) {
        up_spare_take(spare, effect->handle);
        return;
    }
    child->handle = effect->handle;
    list_push_back(&kind->waiting, &child->in_kind);
    upstream->stats.waiting++;
    wheel_set(&upstream->host->wheel, &child->timer, upstream_now_ms(upstream) + WAITING_MS);
    stdio_start_waiting(kind);
}

static void send_child(void *of, const struct mesh_effect *effect)
{
    struct up_stdio *kind = of;
    struct child *child = slots_get(&kind->upstream->ups, effect->handle);
    if (child == NULL || child->state > CHILD_RUNNING)
        return; /* its end will be told */
    kind->upstream->stats.calls++;
    child_send(child, effect);
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
        child_begin_end(child);
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
    list_init(&kind->children);
    list_init(&kind->waiting);
    list_init(&kind->spares);
    kind->probe.on_due = on_probe;
    kind->probe_ms = STDIO_PROBE_MS;
    snprintf(kind->parent, sizeof kind->parent, "%s=%d", CHILD_PARENT_VARIABLE, (int)getpid());
    snprintf(kind->self, sizeof kind->self, "%s",
             config->self_path != NULL ? config->self_path : "/proc/self/exe");
    watch_init(&kind->watch, &upstream->host->loop, kind->self, config->children_max);
    *kindp = kind;
    probe(kind);
    return 0;
}

static void turn(void *of, uint64_t now_ms)
{
    struct up_stdio *kind = of;
    if (host_is_leaving(kind->upstream->host))
        up_spare_end_all(kind);
    else
        up_spare_fill(kind, now_ms);
    if (kind->running > 0)
        watch_keep(&kind->watch, now_ms);
}

static void give_room(void *of, const struct mesh_effect *effect)
{
    struct up_stdio *kind = of;
    struct child *child = slots_get(&kind->upstream->ups, effect->handle);
    if (child != NULL)
        child_give_room(child, effect->room);
}

/* In the legacy era nothing is cancelled by closing a stream. */
static void ignore(void *of, const struct mesh_effect *effect)
{
    (void)of;
    (void)effect;
}

void stdio_close_last(struct up_stdio *kind)
{
    watch_close(&kind->watch);
    if (kind->has_last && !uv_is_closing((uv_handle_t *)&kind->last))
        uv_close((uv_handle_t *)&kind->last, NULL);
}

static void on_last(uv_timer_t *timer)
{
    struct up_stdio *kind = timer->data;
    bool is_over = kind->is_termed;
    kind->is_termed = true;
    LIST_EACH (at, &kind->children) {
        struct child *child = container_of(at, struct child, in_kind);
        if (child->state != CHILD_GONE && !child->exited)
            child_kill_group(child, is_over ? SIGKILL : SIGTERM);
        if (is_over)
            child_end(child);
    }
    if (is_over)
        stdio_close_last(kind);
}

/* The process goes. Its children get the time of child_begin_end() for what they have to write
 * down; the loop runs until they are gone. */
static void close_all(void *of)
{
    struct up_stdio *kind = of;
    wheel_stop(&kind->probe);
    LIST_EACH_SAFE (at, next, &kind->waiting) {
        struct child *child = container_of(at, struct child, in_kind);
        list_remove(&child->in_kind);
        wheel_stop(&child->timer);
        child_free(child);
    }
    LIST_EACH (at, &kind->children) {
        struct child *child = container_of(at, struct child, in_kind);
        wheel_stop(&child->timer);
        child->wished = true;
        if (child->state == CHILD_GONE && child->has_process)
            child_close_handle((uv_handle_t *)&child->process);
        else if (child->exited || child->state == CHILD_KILLED)
            child_end(child);
        else if (child->state != CHILD_GONE) {
            writer_stop(&child->writer);
            child_close_handle((uv_handle_t *)&child->in);
        }
    }
    if (list_is_empty(&kind->children)) {
        watch_close(&kind->watch);
        return;
    }
    (void)uv_timer_init(&kind->upstream->host->loop, &kind->last);
    kind->last.data = kind;
    kind->has_last = true;
    (void)uv_timer_start(&kind->last, on_last, CHILD_TERM_AFTER_MS,
                         CHILD_KILL_AFTER_MS - CHILD_TERM_AFTER_MS);
}

static void free_all(void *of)
{
    struct up_stdio *kind = of;
    watch_deinit(&kind->watch);
    free(kind);
}

const struct upstream_ops up_stdio_ops = {
    .start = start,
    .open = open_child,
    .send = send_child,
    .room = give_room,
    .cancel = ignore,
    .shut = shut_child,
    .turn = turn,
    .close = close_all,
    .free = free_all,
};
