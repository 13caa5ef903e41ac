/* up_builtin.c - the built-in MCP server as an upstream: carries its messages to the core and its
 * deadlines to the loop. What it says stands in http/builtin.c; what its resources show is
 * node/status.c's. */
#include "node/up_builtin.h"

#include <stdlib.h>

#include "http/builtin.h"
#include "node/host.h"
#include "node/log.h"
#include "node/status.h"
#include "node/upstream.h"

struct up_builtin {
    struct upstream *upstream;
    struct builtin *builtin;
    struct builtin_up *first;
    struct builtin_up *timed; /* those with a deadline: few */
};

struct builtin_up {
    struct up_builtin *kind;
    struct builtin_up *next, **link;
    struct builtin_up *timed_next, **timed_link; /* timed_link NULL: not in `timed` */
    struct handle handle;
    struct builtin_session *session;
};

static int start(struct upstream *upstream, void **kindp)
{
    struct up_builtin *kind = calloc(1, sizeof *kind);
    if (kind == NULL)
        return UV_ENOMEM;
    kind->upstream = upstream;
    struct builtin_info info = {.source = {.context = upstream->host,
                                           .members = status_members_text,
                                           .member = status_member_text,
                                           .sessions = status_sessions_text}};
    snprintf(info.name, sizeof info.name, "%s", upstream->host->config->mesh.name);
    int rc = builtin_new(&kind->builtin, &info);
    if (rc < 0) {
        free(kind);
        return rc;
    }
    *kindp = kind;
    upstream_set_serving(upstream, true, "builtin");
    return 0;
}

static void unlist(struct builtin_up *up)
{
    if (up->timed_link == NULL)
        return;
    *up->timed_link = up->timed_next;
    if (up->timed_next != NULL)
        up->timed_next->timed_link = up->timed_link;
    up->timed_link = NULL;
}

/* Keeps it in `timed` if it has a deadline. */
static void list(struct builtin_up *up)
{
    struct up_builtin *kind = up->kind;
    unlist(up);
    if (builtin_deadline_ms(up->session) == MESH_NEVER)
        return;
    up->timed_next = kind->timed;
    up->timed_link = &kind->timed;
    if (up->timed_next != NULL)
        up->timed_next->timed_link = &up->timed_next;
    kind->timed = up;
}

static void end_up(struct builtin_up *up, enum mesh_reason why)
{
    struct upstream *upstream = up->kind->upstream;
    unlist(up);
    *up->link = up->next;
    if (up->next != NULL)
        up->next->link = up->link;
    slots_clear(&upstream->ups, up->handle);
    builtin_close(up->session);
    upstream->stats.open--;
    mesh_up_closed(upstream->host->mesh, up->handle, why, upstream_now_ms(upstream));
    free(up);
}

/* Hands over what the session has to say; after an error it ends. */
static void drain(struct builtin_up *up, int rc)
{
    struct upstream *upstream = up->kind->upstream;
    struct bytes *text;
    while (rc == 0 && (text = builtin_next(up->session)) != NULL) {
        struct rpc_message rpc;
        rpc_read(&rpc, NULL, text->data, text->length);
        (void)mesh_up_message(upstream->host->mesh, up->handle, MESH_NO_CALL, &rpc, NULL,
                              slice_of(text, 0, text->length), upstream_now_ms(upstream));
        bytes_unref(text);
    }
    if (rc < 0) {
        log_warn("builtin_failed", "error=%s", host_error_name(rc));
        end_up(up, MESH_UPSTREAM_LOST);
    } else
        list(up);
}

static void open_up(void *of, const struct mesh_effect *effect)
{
    struct up_builtin *kind = of;
    struct upstream *upstream = kind->upstream;
    struct mesh *mesh = upstream->host->mesh;
    struct builtin_up *up = calloc(1, sizeof *up);
    if (up == NULL || builtin_open(kind->builtin, &up->session) < 0 ||
        slots_put(&upstream->ups, effect->handle, up) < 0) {
        if (up != NULL)
            builtin_close(up->session);
        free(up);
        mesh_up_closed(mesh, effect->handle, MESH_UPSTREAM_DOWN, upstream_now_ms(upstream));
        return;
    }
    up->kind = kind;
    up->handle = effect->handle;
    up->next = kind->first;
    up->link = &kind->first;
    if (up->next != NULL)
        up->next->link = &up->next;
    kind->first = up;
    upstream->stats.open++;
    mesh_up_ready(mesh, up->handle, upstream_now_ms(upstream));
}

static void send_up(void *of, const struct mesh_effect *effect)
{
    struct up_builtin *kind = of;
    struct upstream *upstream = kind->upstream;
    struct builtin_up *up = slots_get(&upstream->ups, effect->handle);
    if (up == NULL)
        return;
    struct slice text = effect->send.text;
    struct bytes *patched = NULL;
    int rc = 0;
    if (effect->patch.cut > 0 || effect->patch.put.length > 0) {
        patched = writer_patched(text, &effect->patch);
        if (patched == NULL)
            rc = UV_ENOMEM;
        else
            text = slice_of(patched, 0, patched->length);
    }
    if (rc == 0) {
        struct rpc_message rpc;
        uint64_t now_ms = upstream_now_ms(upstream);
        upstream->stats.calls++;
        rpc_read(&rpc, NULL, text.at, text.length);
        mesh_up_sent(upstream->host->mesh, up->handle, effect->call, now_ms);
        rc = builtin_message(up->session, &rpc, text, now_ms);
    }
    bytes_unref(patched);
    drain(up, rc);
}

/* The core bounds what it keeps of a child's messages: there is no stream to hold back. */
static void ignore(void *of, const struct mesh_effect *effect)
{
    (void)of;
    (void)effect;
}

static void shut_up(void *of, const struct mesh_effect *effect)
{
    struct up_builtin *kind = of;
    struct builtin_up *up = slots_get(&kind->upstream->ups, effect->handle);
    if (up != NULL)
        end_up(up, MESH_OK);
}

static void turn(void *of, uint64_t now_ms)
{
    struct up_builtin *kind = of;
    struct builtin_up *next;
    for (struct builtin_up *up = kind->timed; up != NULL; up = next) {
        next = up->timed_next;
        if (builtin_deadline_ms(up->session) <= now_ms)
            drain(up, builtin_now(up->session, now_ms));
    }
}

static uint64_t deadline_ms(const void *of)
{
    const struct up_builtin *kind = of;
    uint64_t first_ms = MESH_NEVER;
    for (const struct builtin_up *up = kind->timed; up != NULL; up = up->timed_next) {
        uint64_t at_ms = builtin_deadline_ms(up->session);
        first_ms = at_ms < first_ms ? at_ms : first_ms;
    }
    return first_ms;
}

static void close_all(void *of)
{
    (void)of; /* no handles of the loop */
}

static void free_all(void *of)
{
    struct up_builtin *kind = of;
    struct builtin_up *next;
    for (struct builtin_up *up = kind->first; up != NULL; up = next) {
        next = up->next;
        free(up);
    }
    builtin_free(kind->builtin);
    free(kind);
}

void up_builtin_members_changed(void *of)
{
    struct up_builtin *kind = of;
    builtin_members_changed(kind->builtin);
    for (struct builtin_up *up = kind->first; up != NULL; up = up->next)
        list(up); /* those that watch have something to say now */
}

const struct upstream_ops up_builtin_ops = {
    .start = start,
    .open = open_up,
    .send = send_up,
    .room = ignore,
    .cancel = ignore,
    .shut = shut_up,
    .turn = turn,
    .deadline_ms = deadline_ms,
    .close = close_all,
    .free = free_all,
};
