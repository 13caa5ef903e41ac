/* up_http.c - upstream sessions and calls of an HTTP MCP server: a call is one request with its
 * answer on one connection. Connections stand in up_http_pool.c, answers in up_http_answer.c; what
 * HTTP+SSE does otherwise, in up_sse.c. */
#include "node/up_http.h"

#include <stdlib.h>

#include "node/log.h"
#include "node/up_sse.h"

#define CALLS_SPARE 64u /* as many as a busy turn begins and ends */

static struct http_up *up_of(struct up_http *kind, const struct mesh_effect *effect)
{
    return slots_get(&kind->upstream->ups, effect->handle);
}

static struct http_call *call_of(struct http_up *up, uint32_t number)
{
    struct http_call *call = up->first;
    while (call != NULL && call->number != number)
        call = call->next;
    return call;
}

/* ---- calls ----------------------------------------------------------------------------------- */

void http_call_free(struct http_call *call)
{
    struct http_up *up = call->up;
    if (call->link != NULL) {
        *call->link = call->next;
        if (call->next != NULL)
            call->next->link = call->link;
    }
    if (call->conn != NULL)
        call->conn->call = NULL;
    bytes_unref(call->lines);
    bytes_unref(call->session);
    bytes_unref(call->gathered);
    sse_reader_deinit(&call->sse);
    free(call->scan);
    free(call->tools);
    if (up != NULL)
        spare_give(&up->kind->calls, call, CALLS_SPARE);
    else
        free(call);
}

void http_call_end(struct http_call *call, enum mesh_reason why)
{
    struct http_up *up = call->up;
    if (call->ops != NULL) {
        call->ops->on_over(call, why);
        return;
    }
    if (up != NULL) {
        struct upstream *upstream = up->kind->upstream;
        if (why == MESH_UPSTREAM_DOWN)
            upstream->stats.refused++;
        else if (why != MESH_OK)
            upstream->stats.lost++;
        mesh_up_end(upstream->host->mesh, up->handle, call->number,
                    why == MESH_OK ? MESH_END_WHOLE : MESH_END_CUT, why, upstream_now_ms(upstream));
    }
    http_call_free(call);
}

/* Writes the request. 0 or negative errno: nothing of it is queued then. */
static int write_request(struct up_http *kind, struct http_call *call,
                         const struct mcp_upstream_request *request, struct slice text,
                         const struct patch *patch)
{
    struct bytes *head = NULL;
    const struct mcp_config *config = &kind->upstream->host->mcp;
    int rc = call->up != NULL ? mcp_upstream_request_head_again(config, request, &kind->requests,
                                                                call->up->handle.slot, &head)
                              : mcp_upstream_request_head(config, request, &head);
    if (rc < 0)
        return rc;
    struct http_conn *conn = http_conn_take(kind, call);
    if (conn == NULL) {
        bytes_unref(head);
        return UV_ECONNREFUSED;
    }
    call->start = conn->writer.taken;
    rc = writer_add_take(&conn->writer, head);
    if (rc == 0)
        rc = writer_add_patched(&conn->writer, text, patch);
    if (rc < 0)
        http_conn_close(conn);
    return rc;
}

static enum h1_method method_of(const struct mcp_upstream_request *request)
{
    /* Only HEAD is answered differently. */
    bool is_head = request->want == MESH_PASS && slice_is(request->method, "HEAD");
    return is_head ? H1_METHOD_HEAD : H1_METHOD_POST;
}

void http_call_start(struct up_http *kind, struct http_call *call,
                     const struct mcp_upstream_request *request, struct slice text,
                     const struct patch *patch)
{
    int rc = write_request(kind, call, request, text, patch);
    if (rc < 0) {
        log_debug("call_failed", "error=%s", host_error_name(rc));
        http_call_end(call, rc == UV_EINVAL ? MESH_UPSTREAM_BAD : MESH_UPSTREAM_DOWN);
        return;
    }
    h1_expect_response(&call->conn->h1, method_of(request));
    kind->upstream->stats.calls++;
}

struct http_call *http_call_new(struct http_up *up)
{
    struct http_call *call =
        up != NULL ? spare_take(&up->kind->calls, sizeof *call) : malloc(sizeof *call);
    if (call == NULL)
        return NULL;
    *call = (struct http_call){.room = MESH_UP_ROOM_FIRST};
    http_answer_begin(call);
    if (up == NULL)
        return call;
    call->up = up;
    call->next = up->first;
    call->link = &up->first;
    if (call->next != NULL)
        call->next->link = &call->next;
    up->first = call;
    return call;
}

void http_call_cancel(struct http_call *call)
{
    struct http_conn *conn = call->conn;
    http_call_free(call);
    http_conn_close(conn);
}

static void send_call(void *of, const struct mesh_effect *effect)
{
    struct up_http *kind = of;
    struct upstream *upstream = kind->upstream;
    struct http_up *up = up_of(kind, effect);
    if (up == NULL)
        return;
    if (up->sse != NULL) {
        sse_up_send(up->sse, effect);
        return;
    }
    struct http_call *call = http_call_new(up);
    if (call == NULL) {
        mesh_up_end(upstream->host->mesh, effect->handle, effect->call, MESH_END_CUT,
                    MESH_UPSTREAM_DOWN, upstream_now_ms(upstream));
        return;
    }
    call->number = effect->call;
    call->want = effect->send.want;
    call->is_listen = effect->kind == MESH_UP_LISTEN;
    call->had_session = up->session != NULL;
    call->wants_tools = effect->send.lists_tools;
    struct slice text = call->is_listen ? (struct slice){0} : effect->send.text;
    struct mcp_upstream_request request = {
        .want = call->is_listen ? MESH_LISTEN : effect->send.want,
        .method = effect->send.method,
        .target = effect->send.target,
        .head = effect->send.head,
        .last_event_id = call->is_listen ? effect->send.text : (struct slice){0},
        .body_bytes = text.length - effect->patch.cut + effect->patch.put.length,
        .is_own = call->is_listen || effect->send.is_own};
    if (up->session != NULL)
        request.session = slice_of(up->session, 0, up->session->length);
    http_call_start(kind, call, &request, text, &effect->patch);
}

static void give_room(void *of, const struct mesh_effect *effect)
{
    struct up_http *kind = of;
    struct http_up *up = up_of(kind, effect);
    struct http_call *call = up != NULL ? call_of(up, effect->call) : NULL;
    if (call == NULL)
        return;
    call->room += (int64_t)effect->room;
    if (call->room > 0)
        http_conn_read(call->conn, true);
}

static void cancel_call(void *of, const struct mesh_effect *effect)
{
    struct up_http *kind = of;
    struct http_up *up = up_of(kind, effect);
    struct http_call *call = up != NULL ? call_of(up, effect->call) : NULL;
    if (call != NULL)
        http_call_cancel(call);
}

/* ---- upstream sessions ----------------------------------------------------------------------- */

static void open_up(void *of, const struct mesh_effect *effect)
{
    struct up_http *kind = of;
    struct upstream *upstream = kind->upstream;
    struct mesh *mesh = upstream->host->mesh;
    uint64_t now_ms = upstream_now_ms(upstream);
    struct http_up *up = calloc(1, sizeof *up);
    if (up == NULL || slice_keep(&up->head, effect->send.head, NULL) < 0 ||
        slots_put(&upstream->ups, effect->handle, up) < 0) {
        if (up != NULL)
            slice_drop(&up->head);
        free(up);
        mesh_up_closed(mesh, effect->handle, MESH_UPSTREAM_DOWN, now_ms);
        return;
    }
    up->kind = kind;
    up->handle = effect->handle;
    upstream->stats.open++;
    if (kind->is_sse && effect->send.want != MESH_PASS)
        sse_up_open(up);
    else
        mesh_up_ready(mesh, up->handle, now_ms);
}

/* The server keeps a session in memory until it is told: expired and moved ones are deleted by the
 * mesh itself. Nobody waits for the answer. */
static void delete_session(struct http_up *up)
{
    static const struct patch none;
    struct http_call *call = http_call_new(NULL);
    if (call == NULL)
        return;
    call->want = MESH_DELETE;
    struct mcp_upstream_request request = {.want = MESH_DELETE,
                                           .head = up->head,
                                           .session = slice_of(up->session, 0, up->session->length),
                                           .is_own = true};
    http_call_start(up->kind, call, &request, (struct slice){0}, &none);
}

static void free_up(struct http_up *up)
{
    mcp_heads_forget(&up->kind->requests, up->handle.slot);
    sse_up_free(up->sse);
    bytes_unref(up->session);
    slice_drop(&up->head);
    free(up);
}

void http_up_close(struct http_up *up, enum mesh_reason why)
{
    struct upstream *upstream = up->kind->upstream;
    while (up->first != NULL)
        http_call_cancel(up->first);
    if (up->session != NULL && !up->is_over)
        delete_session(up);
    slots_clear(&upstream->ups, up->handle);
    upstream->stats.open--;
    mesh_up_closed(upstream->host->mesh, up->handle, why, upstream_now_ms(upstream));
    free_up(up);
}

static void shut_up(void *of, const struct mesh_effect *effect)
{
    struct http_up *up = up_of(of, effect);
    if (up == NULL)
        return;
    if (effect->send.head.length > 0) {
        slice_drop(&up->head);
        (void)slice_keep(&up->head, effect->send.head, NULL);
    }
    http_up_close(up, MESH_OK);
}

/* ---- the kind -------------------------------------------------------------------------------- */

static bool copy_text(char *into, size_t room, const char *from, size_t length)
{
    if (length == 0 || length >= room)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (from[i] <= ' ' || from[i] >= 0x7f)
            return false;
    }
    memcpy(into, from, length);
    into[length] = '\0';
    return true;
}

/* http://host[:port][/path[?query]], nothing else. */
static bool read_url(struct up_http *kind, const char *url)
{
    static const char scheme[] = "http://";
    if (strncmp(url, scheme, strlen(scheme)) != 0)
        return false;
    const char *authority = url + strlen(scheme);
    size_t length = strcspn(authority, "/?#");
    const char *path = authority[length] == '\0' ? "/" : authority + length;
    if (!copy_text(kind->authority, sizeof kind->authority, authority, length) ||
        !copy_text(kind->path, sizeof kind->path, path, strlen(path)) || path[0] != '/' ||
        strchr(path, '#') != NULL || !gate_is_authority(slice_text(kind->authority)))
        return false;
    (void)copy_text(kind->closed, sizeof kind->closed, path, strcspn(path, "?"));
    struct mesh_addr *first = &kind->addresses[0];
    if (addr_read(first, kind->authority, 80)) {
        kind->port = first->port;
        kind->addresses_count = 1;
        return kind->port != 0;
    }
    /* A name: the port in the form that a numeric address takes. */
    const char *colon = strrchr(kind->authority, ':');
    char numeric[32];
    struct mesh_addr port = {.port = 80};
    if (colon != NULL &&
        (snprintf(numeric, sizeof numeric, "0.0.0.0%s", colon) >= (int)sizeof numeric ||
         !addr_read(&port, numeric, 0)))
        return false;
    kind->port = port.port;
    kind->is_name = true;
    size_t name_length = colon != NULL ? (size_t)(colon - kind->authority) : length;
    return kind->port != 0 &&
           copy_text(kind->host, sizeof kind->host, kind->authority, name_length);
}

bool upstream_url_is_good(const char *url)
{
    struct up_http *kind = calloc(1, sizeof *kind);
    bool good = kind != NULL && read_url(kind, url);
    free(kind);
    return good;
}

bool upstream_speaks_sse(const struct host_config *config)
{
    const char *url = config->upstream_url;
    if (url == NULL || config->upstream_transport != HOST_TRANSPORT_AUTO)
        return url != NULL && config->upstream_transport == HOST_TRANSPORT_SSE;
    url += strlen("http://");
    size_t end = strcspn(url, "?");
    if (end > 0 && url[end - 1] == '/')
        end--;
    return end > 4 && memcmp(url + end - 4, "/sse", 4) == 0;
}

static int start(struct upstream *upstream, void **kindp)
{
    struct host *host = upstream->host;
    struct up_http *kind = calloc(1, sizeof *kind);
    if (kind == NULL)
        return UV_ENOMEM;
    kind->upstream = upstream;
    if (!read_url(kind, host->config->upstream_url)) {
        free(kind);
        return UV_EINVAL;
    }
    kind->requests.budget = &host->passing;
    kind->is_sse = upstream_speaks_sse(host->config);
    host->mcp.http_upstream = !kind->is_sse;
    host->mcp.passes_paths = true;
    host->mcp.upstream_path = kind->path;
    host->mcp.upstream_authority = kind->authority;
    /* Its MCP path under another name would be a way around the mesh. */
    if (strcmp(kind->closed, host->mcp.mcp_path) != 0) {
        kind->closed_paths[0] = kind->closed;
        host->gate.closed_paths = kind->closed_paths;
        host->gate.closed_paths_count = 1;
    }
    *kindp = kind;
    http_pool_start(kind);
    return 0;
}

static bool is_busy(const void *of)
{
    const struct up_http *kind = of;
    return kind->in_lookup;
}

static bool has_last_words(const void *of)
{
    const struct up_http *kind = of;
    for (const struct http_conn *conn = kind->first; conn != NULL; conn = conn->next)
        if (conn->call != NULL && conn->call->up == NULL && conn->call->want == MESH_DELETE)
            return true;
    return false;
}

static void ask(void *of)
{
    http_pool_ask(of);
}

static void close_all(void *of)
{
    struct up_http *kind = of;
    for (uint32_t slot = 0; slot < kind->upstream->ups.count; slot++) {
        struct http_up *up = kind->upstream->ups.entries[slot].at;
        if (up == NULL)
            continue;
        while (up->first != NULL)
            http_call_cancel(up->first);
        kind->upstream->ups.entries[slot].at = NULL;
        free_up(up);
    }
    http_pool_close(kind);
}

static void free_all(void *of)
{
    struct up_http *kind = of;
    if (kind != NULL) {
        spare_deinit(&kind->calls);
        h1_memo_deinit(&kind->heads);
        mcp_heads_deinit(&kind->requests);
    }
    free(kind);
}

const struct upstream_ops up_http_ops = {
    .start = start,
    .open = open_up,
    .send = send_call,
    .room = give_room,
    .cancel = cancel_call,
    .shut = shut_up,
    .is_busy = is_busy,
    .has_last_words = has_last_words,
    .ask = ask,
    .close = close_all,
    .free = free_all,
};
