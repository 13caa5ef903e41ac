/* up_http_pool.c - connections to the HTTP upstream: kept while they are of use, dropped before
 * the server drops them; and whether it answers at all. */
#include <stdlib.h>

#include "node/log.h"
#include "node/up_http.h"

#define IDLE_MS 3000u /* Node closes after 5 s: a request must not meet that (mcp.md §2.1) */
#define IDLE_MAX 256u
#define CONNECT_MS 2000u
#define PART_MS 30000u /* a body that stands still (row U5) */
#define PROBE_EVERY_MS 1000u
#define PROBE_MS 1000u
#define FAILURES_MAX 2u /* in a row, once it was there: not serving */

static uint64_t now(struct up_http *kind)
{
    return upstream_now_ms(kind->upstream);
}

/* ---- a connection ---------------------------------------------------------------------------- */

static void unlist_idle(struct http_conn *conn)
{
    if (conn->idle_link == NULL)
        return;
    *conn->idle_link = conn->idle_next;
    if (conn->idle_next != NULL)
        conn->idle_next->idle_link = conn->idle_link;
    conn->idle_link = NULL;
    conn->kind->idle_count--;
}

static void on_closed(uv_handle_t *handle)
{
    struct http_conn *conn = handle->data;
    *conn->link = conn->next;
    if (conn->next != NULL)
        conn->next->link = conn->link;
    conn->kind->upstream->stats.connections--;
    writer_free(&conn->writer);
    free(conn);
}

void http_conn_close(struct http_conn *conn)
{
    if (conn == NULL || conn->state == CONN_CLOSED)
        return;
    conn->state = CONN_CLOSED;
    if (conn->call != NULL)
        conn->call->conn = NULL;
    conn->call = NULL;
    unlist_idle(conn);
    wheel_stop(&conn->timer);
    writer_stop(&conn->writer);
    h1_deinit(&conn->h1);
    uv_close((uv_handle_t *)&conn->tcp, on_closed);
}

static void close_idle(struct up_http *kind)
{
    while (kind->idle != NULL)
        http_conn_close(kind->idle);
}

/* The connection is no more: what does that mean for its call? */
static void fail(struct http_conn *conn, enum mesh_reason why)
{
    struct http_call *call = conn->call;
    /* One that the server dropped tells of the others: it was restarted, or is tired of them. */
    if (conn->reused)
        close_idle(conn->kind);
    if (call != NULL)
        http_call_end(call, why);
    http_conn_close(conn);
}

static void on_timer(struct wheel_item *item, uint64_t now_ms)
{
    (void)now_ms;
    struct http_conn *conn = container_of(item, struct http_conn, timer);
    if (conn->state == CONN_CONNECTING)
        fail(conn, MESH_UPSTREAM_DOWN);
    else if (conn->state == CONN_IDLE)
        http_conn_close(conn);
    else if (conn->reading)
        fail(conn, MESH_UPSTREAM_LOST);
    else
        http_conn_await_part(conn); /* we are the ones who wait for a reader */
}

void http_conn_await_part(struct http_conn *conn)
{
    wheel_set(&conn->kind->upstream->host->wheel, &conn->timer, now(conn->kind) + PART_MS);
}

static void on_written(struct writer *writer, int status)
{
    struct http_conn *conn = container_of(writer, struct http_conn, writer);
    struct http_call *call = conn->call;
    if (conn->state == CONN_CLOSED)
        return;
    if (call != NULL && !call->sent && writer->taken > call->start) {
        call->sent = true;
        if (call->up != NULL)
            mesh_up_sent(conn->kind->upstream->host->mesh, call->up->handle, call->number,
                         now(conn->kind));
    }
    /* A server that answers before it has read everything may close its side: its answer is
     * read first, the end of the connection tells what was not answered. */
    if (status < 0 && !conn->reading)
        fail(conn, MESH_UPSTREAM_LOST);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    host_alloc(handle, suggested, buf);
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *buf)
{
    struct http_conn *conn = stream->data;
    if (length > 0) {
        conn->heard = true;
        http_answer_bytes(conn, (const uint8_t *)buf->base, (size_t)length);
    } else if (length < 0 && conn->call != NULL) {
        if (conn->reused && !conn->heard)
            fail(conn, MESH_UPSTREAM_LOST);
        else
            http_answer_eof(conn, length != UV_EOF);
    } else if (length < 0)
        http_conn_close(conn);
}

void http_conn_read(struct http_conn *conn, bool wanted)
{
    if (conn == NULL || conn->reading == wanted || conn->state == CONN_CONNECTING ||
        conn->state == CONN_CLOSED)
        return;
    conn->reading = wanted;
    if (!wanted)
        (void)uv_read_stop((uv_stream_t *)&conn->tcp);
    else if (uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read) != 0)
        fail(conn, MESH_UPSTREAM_LOST);
}

static void probe(struct up_http *kind);

/* A call was refused: whether it is there is asked now, not when that is due. */
static void doubt(struct up_http *kind)
{
    bool is_asked = kind->failures > 0 || kind->probe != NULL || kind->question != NULL ||
                    kind->in_lookup || mesh_up_fails(kind->upstream->host->mesh);
    kind->answered_ms = 0;
    if (is_asked || kind->upstream->closing)
        return;
    wheel_stop(&kind->probe_timer);
    probe(kind);
}

static void on_connect(uv_connect_t *request, int status)
{
    struct http_conn *conn = request->data;
    if (status == UV_ECANCELED || conn->state == CONN_CLOSED)
        return;
    if (status < 0) {
        doubt(conn->kind);
        fail(conn, MESH_UPSTREAM_DOWN);
        return;
    }
    wheel_stop(&conn->timer);
    conn->state = CONN_BUSY;
    (void)uv_tcp_nodelay(&conn->tcp, 1);
    http_conn_read(conn, true);
    if (conn->state == CONN_BUSY)
        writer_release(&conn->writer);
}

static struct http_conn *new_conn(struct up_http *kind)
{
    struct host *host = kind->upstream->host;
    struct http_conn *conn = calloc(1, sizeof *conn);
    struct sockaddr_storage to;
    if (conn == NULL || kind->addresses_count == 0 || uv_tcp_init(&host->loop, &conn->tcp) != 0) {
        free(conn);
        return NULL;
    }
    conn->kind = kind;
    conn->tcp.data = conn->connect.data = conn;
    conn->timer.on_due = on_timer;
    writer_init(&conn->writer, &host->writers, (uv_stream_t *)&conn->tcp, on_written);
    conn->writer.held = true;
    struct h1_limits limits = h1_limits_default(H1_RESPONSES);
    limits.body_max = 0;
    limits.collect = false;
    h1_init(&conn->h1, H1_RESPONSES, &limits, NULL);
    h1_use_memo(&conn->h1, &kind->heads);
    conn->next = kind->first;
    conn->link = &kind->first;
    if (conn->next != NULL)
        conn->next->link = &conn->next;
    kind->first = conn;
    kind->upstream->stats.connections++;
    addr_to_socket(&to, &kind->addresses[kind->address]);
    if (uv_tcp_connect(&conn->connect, &conn->tcp, (struct sockaddr *)&to, on_connect) != 0) {
        http_conn_close(conn);
        return NULL;
    }
    wheel_set(&host->wheel, &conn->timer, now(kind) + CONNECT_MS);
    return conn;
}

struct http_conn *http_conn_take(struct up_http *kind, struct http_call *call)
{
    struct http_conn *conn = call->is_stream ? NULL : kind->idle;
    if (conn != NULL) {
        unlist_idle(conn);
        wheel_stop(&conn->timer);
        conn->state = CONN_BUSY;
        conn->reused = true;
        conn->heard = false;
    } else
        conn = new_conn(kind);
    if (conn != NULL) {
        conn->call = call;
        call->conn = conn;
    }
    return conn;
}

void http_conn_release(struct http_conn *conn, bool keep)
{
    struct up_http *kind = conn->kind;
    if (conn->state == CONN_CLOSED)
        return;
    if (!keep || conn->state != CONN_BUSY || conn->writer.length > 0 || conn->writer.failed ||
        kind->idle_count >= IDLE_MAX || kind->upstream->closing) {
        http_conn_close(conn);
        return;
    }
    h1_next(&conn->h1);
    conn->state = CONN_IDLE;
    conn->idle_next = kind->idle;
    conn->idle_link = &kind->idle;
    if (conn->idle_next != NULL)
        conn->idle_next->idle_link = &conn->idle_next;
    kind->idle = conn;
    kind->idle_count++;
    http_conn_read(conn, true); /* to see it close */
    wheel_set(&kind->upstream->host->wheel, &conn->timer, now(kind) + IDLE_MS);
}

/* ---- is it there? ---------------------------------------------------------------------------- */

struct probe {
    struct up_http *kind;
    uv_tcp_t tcp;
    uv_connect_t connect;
    struct wheel_item timer;
    bool closed;
};

static void probe_next(struct up_http *kind)
{
    if (!kind->upstream->closing)
        wheel_set(&kind->upstream->host->wheel, &kind->probe_timer, now(kind) + PROBE_EVERY_MS);
}

static void probe_result(struct up_http *kind, bool good, const char *why)
{
    if (good) {
        kind->failures = 0;
        upstream_set_serving(kind->upstream, true, why);
        return;
    }
    kind->failures++;
    if (kind->addresses_count > 0)
        kind->address = (kind->address + 1) % kind->addresses_count;
    if (kind->failures >= FAILURES_MAX || !kind->upstream->was_asked)
        upstream_set_serving(kind->upstream, false, why);
}

static void on_probe_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void end_probe(struct probe *probe)
{
    if (probe->closed)
        return;
    probe->closed = true;
    probe->kind->probe = NULL;
    wheel_stop(&probe->timer);
    uv_close((uv_handle_t *)&probe->tcp, on_probe_closed);
}

static void on_probe_connect(uv_connect_t *request, int status)
{
    struct probe *probe = request->data;
    struct up_http *kind = probe->kind;
    if (status == UV_ECANCELED || probe->closed)
        return;
    probe_result(kind, status == 0,
                 status == 0 ? "it accepts connections" : host_error_name(status));
    end_probe(probe);
    probe_next(kind);
}

static void on_probe_due(struct wheel_item *item, uint64_t now_ms)
{
    (void)now_ms;
    struct probe *probe = container_of(item, struct probe, timer);
    struct up_http *kind = probe->kind;
    probe_result(kind, false, "ETIMEDOUT");
    end_probe(probe);
    probe_next(kind);
}

/* ---- it is there, but fails what it is asked (mesh/session/breaker.h) -------------------------
 */

static int on_question_head(struct http_call *call, struct h1_head *head)
{
    (void)call;
    (void)head;
    return UV_ECANCELED; /* its status is all that is wanted */
}

static int on_question_part(struct http_call *call, struct slice part)
{
    (void)call;
    (void)part;
    return UV_ECANCELED;
}

/* Any status is an answer but those with which it says that it failed. */
static void question_over(struct up_http *kind, int status)
{
    bool good = status != 0 && status < 500;
    kind->question = NULL;
    kind->upstream->stats.asked++;
    kind->upstream->stats.asked_in_vain += !good;
    if (kind->upstream->closing)
        return;
    wheel_set(&kind->upstream->host->wheel, &kind->probe_timer, kind->asked_ms + PROBE_EVERY_MS);
    probe_result(kind, good, good ? "it answers again" : "it does not answer");
}

static void on_question_over(struct http_call *call, enum mesh_reason why)
{
    struct up_http *kind = call->asker;
    int status = call->status;
    (void)why;
    http_call_free(call);
    question_over(kind, status);
}

static const struct http_call_ops question_ops = {
    .on_head = on_question_head, .on_part = on_question_part, .on_over = on_question_over};

/* Without a session and credentials: a refusal does. Of HTTP+SSE a stream is asked for. */
static void question(struct up_http *kind)
{
    static const char ping[] = "{\"jsonrpc\":\"2.0\",\"id\":\"mesh-answers\",\"method\":\"ping\"}";
    static const struct patch none;
    struct slice text = kind->is_sse ? (struct slice){0} : slice_text(ping);
    struct mcp_upstream_request request = {
        .want = kind->is_sse ? MESH_LISTEN : MESH_CALL, .body_bytes = text.length, .is_own = true};
    struct http_call *call = http_call_new(NULL);
    if (call == NULL) {
        probe_next(kind);
        return;
    }
    call->ops = &question_ops;
    call->asker = kind;
    call->want = request.want;
    call->is_stream = true; /* what becomes of idle connections is no answer */
    kind->question = call;
    kind->asked_ms = now(kind);
    wheel_set(&kind->upstream->host->wheel, &kind->probe_timer, kind->asked_ms + PROBE_MS);
    http_call_start(kind, call, &request, text, &none);
}

void http_pool_ask(struct up_http *kind)
{
    uint64_t at_ms = kind->asked_ms + PROBE_EVERY_MS;
    if (kind->question != NULL || kind->in_lookup)
        return;
    if (kind->probe != NULL)
        end_probe(kind->probe); /* that it accepts connections is no answer */
    wheel_stop(&kind->probe_timer);
    if (kind->asked_ms != 0 && at_ms > now(kind))
        wheel_set(&kind->upstream->host->wheel, &kind->probe_timer, at_ms);
    else
        question(kind);
}

static void start_probe(struct up_http *kind)
{
    struct host *host = kind->upstream->host;
    if (mesh_up_fails(host->mesh)) {
        question(kind);
        return;
    }
    struct probe *probe = calloc(1, sizeof *probe);
    if (probe == NULL || uv_tcp_init(&host->loop, &probe->tcp) != 0) {
        free(probe);
        probe_next(kind);
        return;
    }
    probe->kind = kind;
    probe->tcp.data = probe->connect.data = probe;
    probe->timer.on_due = on_probe_due;
    kind->probe = probe;
    struct sockaddr_storage to;
    addr_to_socket(&to, &kind->addresses[kind->address]);
    int rc = uv_tcp_connect(&probe->connect, &probe->tcp, (struct sockaddr *)&to, on_probe_connect);
    if (rc < 0) {
        probe_result(kind, false, host_error_name(rc));
        end_probe(probe);
        probe_next(kind);
    } else
        wheel_set(&host->wheel, &probe->timer, now(kind) + PROBE_MS);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct up_http *kind = request->data;
    uint32_t count = 0;
    kind->in_lookup = false;
    for (struct addrinfo *at = status == 0 ? found : NULL; at != NULL && count < HTTP_ADDRESSES_MAX;
         at = at->ai_next) {
        if (!addr_of_socket(&kind->addresses[count], at->ai_addr))
            continue;
        kind->addresses[count++].port = kind->port;
    }
    uv_freeaddrinfo(found);
    if (kind->upstream->closing)
        return;
    if (count > 0) {
        kind->addresses_count = count;
        kind->address = 0;
        start_probe(kind);
    } else {
        probe_result(kind, false, status < 0 ? host_error_name(status) : "no address");
        probe_next(kind);
    }
}

static void probe(struct up_http *kind)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct host *host = kind->upstream->host;
    if (kind->question != NULL) {
        http_call_cancel(kind->question); /* it is silent */
        question_over(kind, 0);
    } else if (kind->answered_ms + PROBE_EVERY_MS > now(kind) && !mesh_up_fails(host->mesh)) {
        probe_result(kind, true, "it answers");
        probe_next(kind);
    } else if (kind->is_name && kind->failures % HTTP_ADDRESSES_MAX == 0 &&
               (kind->failures > 0 || kind->addresses_count == 0)) {
        kind->lookup.data = kind;
        kind->in_lookup =
            uv_getaddrinfo(&host->loop, &kind->lookup, on_resolved, kind->host, NULL, &hints) == 0;
        if (!kind->in_lookup)
            probe_next(kind);
    } else if (kind->addresses_count > 0)
        start_probe(kind);
    else {
        kind->failures = 0; /* nothing known to ask: look it up at the next turn */
        probe_next(kind);
    }
}

static void on_probe_timer(struct wheel_item *item, uint64_t now_ms)
{
    (void)now_ms;
    probe(container_of(item, struct up_http, probe_timer));
}

void http_pool_start(struct up_http *kind)
{
    kind->probe_timer.on_due = on_probe_timer;
    probe(kind);
}

void http_pool_close(struct up_http *kind)
{
    wheel_stop(&kind->probe_timer);
    if (kind->probe != NULL)
        end_probe(kind->probe);
    for (struct http_conn *conn = kind->first; conn != NULL; conn = conn->next) {
        if (conn->call != NULL)
            http_call_free(conn->call); /* our own, without an upstream session */
        http_conn_close(conn);
    }
}
