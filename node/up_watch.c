/* up_watch.c - see up_watch.h. The table lies in shared memory: noting a child costs a store, no
 * message can be lost, and a new watcher finds it as it is. */
#include "node/up_watch.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "node/child_exec.h"
#include "node/host.h"
#include "node/log.h"

#define AGAIN_MS 1000u

void watch_init(struct up_watch *watch, uv_loop_t *loop, const char *self, uint32_t groups_max)
{
    size_t length = groups_max * sizeof *watch->groups;
    *watch = (struct up_watch){.loop = loop, .self = self, .count = groups_max};
    watch->fd = memfd_create("mesh-children", MFD_CLOEXEC);
    void *at = MAP_FAILED;
    if (watch->fd >= 0 && ftruncate(watch->fd, (off_t)length) == 0)
        at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, watch->fd, 0);
    if (at != MAP_FAILED) {
        watch->groups = at;
        return;
    }
    log_warn("child_watch_not_started", "error=%s", host_error_name(-errno));
    watch_deinit(watch);
}

void watch_deinit(struct up_watch *watch)
{
    if (watch->groups != NULL)
        (void)munmap((void *)watch->groups, watch->count * sizeof *watch->groups);
    if (watch->fd >= 0)
        close(watch->fd);
    watch->groups = NULL;
    watch->fd = -1;
}

static void on_closed(uv_handle_t *handle)
{
    struct up_watch *watch = handle->data;
    watch->handles--;
}

void watch_close(struct up_watch *watch)
{
    if (watch->handles == 0 || uv_is_closing((uv_handle_t *)&watch->pipe))
        return;
    uv_close((uv_handle_t *)&watch->pipe, on_closed);
    uv_close((uv_handle_t *)&watch->process, on_closed);
}

static void on_exit_watch(uv_process_t *process, int64_t status, int signal_number)
{
    struct up_watch *watch = process->data;
    log_warn("child_watch_lost", "status=%d signal=%d", (int)status, signal_number);
    watch_close(watch);
}

void watch_keep(struct up_watch *watch, uint64_t now_ms)
{
    static char word[] = "child-watch", self[] = "meshd";
    char *args[] = {self, word, NULL}, *env[] = {NULL};
    if (watch->fd < 0 || watch->handles > 0 || now_ms < watch->again_ms)
        return;
    watch->again_ms = now_ms + AGAIN_MS;
    watch->handles = 2;
    watch->pipe.data = watch->process.data = watch;
    (void)uv_pipe_init(watch->loop, &watch->pipe, 0);
    uv_stdio_container_t stdio[CHILD_WATCH_FD + 1] = {
        {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&watch->pipe},
        {.flags = UV_IGNORE},
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = watch->fd},
    };
    uv_process_options_t options = {.exit_cb = on_exit_watch,
                                    .file = watch->self,
                                    .args = args,
                                    .env = env,
                                    .flags = UV_PROCESS_DETACHED,
                                    .stdio_count = CHILD_WATCH_FD + 1,
                                    .stdio = stdio};
    int rc = uv_spawn(watch->loop, &watch->process, &options);
    if (rc < 0) {
        log_warn("child_watch_not_started", "error=%s", host_error_name(rc));
        watch_close(watch);
    }
}

uint32_t watch_add(struct up_watch *watch, int pid)
{
    for (uint32_t n = 0; watch->groups != NULL && n < watch->count; n++) {
        uint32_t slot = (watch->next + n) % watch->count;
        if (atomic_load_explicit(&watch->groups[slot], memory_order_relaxed) != 0)
            continue;
        atomic_store_explicit(&watch->groups[slot], pid, memory_order_relaxed);
        watch->next = slot + 1;
        return slot;
    }
    return WATCH_NO_SLOT;
}

void watch_remove(struct up_watch *watch, uint32_t slot)
{
    if (slot != WATCH_NO_SLOT && watch->groups != NULL)
        atomic_store_explicit(&watch->groups[slot], 0, memory_order_relaxed);
}
