/* stub_http.c - the stub over HTTP: Streamable HTTP (2025-03-26 to 2025-11-25) as the SDKs'
 * servers speak it, and HTTP+SSE of 2024-11-05. No authorization, no resuming, no checks of Host
 * or Accept. Quick enough to stand behind a benchmark. */
#include "tests/tools/stub.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "http/h1.h"
#include "tests/tools/io.h"
#include "tests/tools/json.h"

#define ID_TEXT 24
#define SESSIONS_MAX (1u << 20)
#define LEFTOVER_MAX (64 * 1024)
#define BODY_MAX (64u << 20)

struct session {
    struct stub_session stub; /* first: the transport gets it back by a cast */
    uint32_t index;
    char id[ID_TEXT + 1];
    struct conn *listener; /* its GET stream (of HTTP+SSE: its only stream) */
    uint64_t said;         /* notifications that a listener got */
};

/* A client's connection: one request at a time. */
struct conn {
    struct io_stream stream;
    struct h1 h1;
    struct session *listens; /* whose stream this is */
    const char *announce;    /* the session id that the answer's head names */
    bool is_busy, keep_alive, is_sse, is_pumping;
    uint8_t *left; /* input that came while busy */
    size_t left_length;
};

static struct {
    uv_loop_t *loop;
    uv_timer_t timer;
    struct stub *stub;
    bool is_legacy;
    struct session **sessions;
    uint32_t sessions_count, sessions_room;
    uint64_t chance;
} server;

static uint64_t now_ms(void)
{
    return io_now_ns() / 1000000;
}

/* --- sessions --- */

static struct session *session_new(void)
{
    if (server.sessions_count == server.sessions_room) {
        uint32_t room = server.sessions_room == 0 ? 1024 : server.sessions_room * 2;
        struct session **grown =
            room <= SESSIONS_MAX ? realloc(server.sessions, room * sizeof *grown) : NULL;
        if (grown == NULL)
            return NULL;
        server.sessions = grown;
        server.sessions_room = room;
    }
    struct session *session = calloc(1, sizeof *session);
    if (session == NULL)
        return NULL;
    session->index = server.sessions_count++;
    server.sessions[session->index] = session;
    server.chance = (server.chance ^ server.chance >> 31) * 0x9e3779b97f4a7c15u + io_now_ns();
    snprintf(session->id, sizeof session->id, "%08" PRIx32 "%016" PRIx64, session->index,
             server.chance);
    session->stub.hash = io_hash(slice_borrow(session->id, ID_TEXT));
    return session;
}

/* The index in front spares a table. */
static struct session *session_find(struct slice id)
{
    char digits[9] = {0};
    if (id.length != ID_TEXT)
        return NULL;
    memcpy(digits, id.at, 8);
    unsigned long index = strtoul(digits, NULL, 16);
    struct session *session = index < server.sessions_count ? server.sessions[index] : NULL;
    return session != NULL && memcmp(session->id, id.at, ID_TEXT) == 0 ? session : NULL;
}

/* --- answers --- */

static void conn_close(struct conn *conn)
{
    io_close(&conn->stream);
}

static void conn_pump(struct conn *conn, const uint8_t *bytes, size_t length);

/* The exchange is over: the connection takes its next request, or ends. */
static void conn_done(struct conn *conn)
{
    conn->is_busy = conn->is_sse = false;
    conn->announce = NULL;
    if (!conn->keep_alive) {
        io_shut(&conn->stream);
        return;
    }
    if (conn->is_pumping || conn->left_length == 0)
        return;
    uint8_t *left = conn->left;
    size_t length = conn->left_length;
    conn->left = NULL;
    conn->left_length = 0;
    conn_pump(conn, left, length);
    free(left);
    if (!conn->is_busy)
        io_resume(&conn->stream);
}

static void conn_write(struct conn *conn, const uv_buf_t *parts, unsigned count)
{
    if (io_write_parts(&conn->stream, parts, count) < 0)
        conn_close(conn);
}

static size_t write_head(const struct conn *conn, char *to, size_t room, int status,
                         const char *type, const char *framing)
{
    int length =
        snprintf(to, room, "HTTP/1.1 %d %s\r\n%s%s%s%s%s%s\r\n", status, h1_status_text(status),
                 type, framing, conn->announce != NULL ? "Mcp-Session-Id: " : "",
                 conn->announce != NULL ? conn->announce : "", conn->announce != NULL ? "\r\n" : "",
                 conn->keep_alive ? "" : "Connection: close\r\n");
    return (size_t)length;
}

static void answer(struct conn *conn, int status, const char *type, const char *text, size_t length)
{
    char head[512], framing[48];
    snprintf(framing, sizeof framing, "Content-Length: %zu\r\n", length);
    size_t head_length = write_head(conn, head, sizeof head, status, type, framing);
    uv_buf_t parts[] = {{.base = head, .len = head_length},
                        {.base = (char *)(uintptr_t)text, .len = length}};
    conn_write(conn, parts, length > 0 ? 2 : 1);
    conn_done(conn);
}

/* A 200 of JSON, for the benchmark's sake without snprintf. */
static void answer_json(struct conn *conn, const char *text, size_t length)
{
    static const char start[] =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ";
    char head[sizeof start + 32], digits[24];
    size_t count = 0;
    if (conn->announce != NULL || !conn->keep_alive) {
        answer(conn, 200, "Content-Type: application/json\r\n", text, length);
        return;
    }
    for (size_t rest = length; rest > 0 || count == 0; rest /= 10)
        digits[count++] = (char)('0' + rest % 10);
    char *at = mempcpy(head, start, sizeof start - 1);
    while (count > 0)
        *at++ = digits[--count];
    at = mempcpy(at, "\r\n\r\n", 4);
    uv_buf_t parts[] = {{.base = head, .len = (size_t)(at - head)},
                        {.base = (char *)(uintptr_t)text, .len = length}};
    conn_write(conn, parts, 2);
    conn_done(conn);
}

static void answer_error(struct conn *conn, int status, int code, const char *what)
{
    char text[256];
    size_t length = rpc_write_error(text, sizeof text, (struct slice){0}, code, what);
    answer(conn, status, "Content-Type: application/json\r\n", text, length);
}

static void open_sse(struct conn *conn)
{
    char head[512];
    size_t length = write_head(conn, head, sizeof head, 200,
                               "Content-Type: text/event-stream\r\n"
                               "Cache-Control: no-cache, no-transform\r\n",
                               "Transfer-Encoding: chunked\r\n");
    conn->is_sse = true;
    conn_write(conn, &(uv_buf_t){.base = head, .len = length}, 1);
}

/* One event as one chunk, with an id unless that is 0; `is_last` ends the stream. */
static void write_event(struct conn *conn, uint64_t id, const char *name, const char *text,
                        size_t length, bool is_last)
{
    char before[128], id_line[32] = "";
    if (id > 0)
        snprintf(id_line, sizeof id_line, "id: %" PRIu64 "\n", id);
    int prefix = snprintf(before + H1_CHUNK_HEAD_MAX, sizeof before - H1_CHUNK_HEAD_MAX,
                          "%sevent: %s\ndata: ", id_line, name);
    uint8_t chunk[H1_CHUNK_HEAD_MAX];
    size_t chunk_length = h1_write_chunk_head(chunk, (size_t)prefix + length + 2);
    char *start = before + H1_CHUNK_HEAD_MAX - chunk_length;
    memcpy(start, chunk, chunk_length);
    const char *end = is_last ? "\n\n" H1_CHUNK_END H1_LAST_CHUNK : "\n\n" H1_CHUNK_END;
    uv_buf_t parts[] = {{.base = start, .len = chunk_length + (size_t)prefix},
                        {.base = (char *)(uintptr_t)text, .len = length},
                        {.base = (char *)(uintptr_t)end, .len = strlen(end)}};
    conn_write(conn, parts, 3);
}

static void end_sse(struct conn *conn)
{
    conn_write(conn, &(uv_buf_t){.base = (char *)(uintptr_t)H1_LAST_CHUNK, .len = 5}, 1);
    conn_done(conn);
}

/* --- what the stub says --- */

static void http_reply(void *stream, const char *text, size_t length, bool is_last)
{
    struct conn *conn = stream;
    if (conn->stream.closing)
        return;
    if (is_last && length > 0 && !conn->is_sse) {
        answer_json(conn, text, length);
        return;
    }
    if (!conn->is_sse)
        open_sse(conn);
    if (length > 0)
        write_event(conn, 0, "message", text, length, is_last);
    else
        end_sse(conn);
    if (length > 0 && is_last)
        conn_done(conn);
}

static void http_push(struct stub_session *stub, uint64_t seq, const char *text, size_t length)
{
    struct session *session = (struct session *)stub;
    struct conn *listener = session->listener;
    bool breaks = server.stub->break_every > 0 && !server.is_legacy;
    if (listener == NULL)
        return;
    write_event(listener, breaks ? seq : 0, "message", text, length, false);
    session->said++;
    if (!breaks || session->said % server.stub->break_every > 0)
        return;
    session->listener = NULL;
    listener->listens = NULL;
    end_sse(listener);
}

/* HTTP+SSE has one stream for everything. */
static void legacy_reply(void *stream, const char *text, size_t length, bool is_last)
{
    (void)is_last;
    if (length > 0)
        http_push(stream, 0, text, length);
}

static void on_timer(uv_timer_t *timer);

static void timer_set(void)
{
    uint64_t deadline = stub_deadline_ms(server.stub), now = now_ms();
    if (deadline == STUB_NEVER)
        uv_timer_stop(&server.timer);
    else
        uv_timer_start(&server.timer, on_timer, deadline > now ? deadline - now : 0, 0);
}

static void on_timer(uv_timer_t *timer)
{
    (void)timer;
    stub_run(server.stub, now_ms());
    uv_update_time(server.loop);
    timer_set();
}

static void session_end(struct session *session)
{
    stub_session_gone(server.stub, &session->stub);
    if (session->listener != NULL) {
        session->listener->listens = NULL;
        end_sse(session->listener);
    }
    server.sessions[session->index] = NULL;
    free(session);
}

/* --- requests --- */

static void take_message(struct conn *conn, struct session *session, struct slice body,
                         const struct rpc_message *m, void *stream)
{
    const struct stub_job *jobs = server.stub->jobs;
    bool is_request = m->kind == RPC_REQUEST;
    if (!is_request || server.is_legacy)
        answer(conn, 202, "", NULL, 0);
    stub_take(server.stub, &session->stub, body, m, stream, now_ms());
    if (server.stub->jobs != jobs) {
        uv_update_time(server.loop);
        timer_set();
    }
}

static void post(struct conn *conn, bool has_id, struct slice id)
{
    struct slice body = h1_body(&conn->h1);
    struct session *session = has_id ? session_find(id) : NULL;
    struct rpc_message m;
    rpc_read(&m, NULL, body.at, body.length);
    if (has_id && session == NULL) {
        answer_error(conn, 404, -32001, "Session not found");
    } else if (m.kind == RPC_BAD || m.kind == RPC_BATCH) {
        answer_error(conn, 400, m.kind == RPC_BAD ? m.fault : RPC_INVALID_REQUEST, "stub: refused");
    } else if (m.method == RPC_INITIALIZE && session != NULL && !server.is_legacy) {
        answer_error(conn, 400, RPC_INVALID_REQUEST, "Server already initialized");
    } else if (session == NULL && (m.method != RPC_INITIALIZE || m.kind != RPC_REQUEST)) {
        answer_error(conn, 400, -32000, "Bad Request: no session id");
    } else if (session == NULL && (session = session_new()) == NULL) {
        answer_error(conn, 503, RPC_INTERNAL_ERROR, "stub: too many sessions");
    } else {
        if (!has_id)
            conn->announce = session->id;
        take_message(conn, session, body, &m, server.is_legacy ? (void *)session : conn);
    }
}

static void listen_for(struct conn *conn, struct session *session)
{
    conn->listens = session;
    session->listener = conn;
    open_sse(conn);
}

/* What was said before the first one came is said to it. */
static void listen_after(struct conn *conn, struct session *session, const struct h1_head *head)
{
    struct slice last;
    uint64_t after = session->said == 0 ? 0 : session->stub.seq;
    listen_for(conn, session);
    if (h1_header(head, "last-event-id", &last))
        after = json_number(last, after);
    stub_replay(server.stub, &session->stub, after);
}

static void streamable(struct conn *conn, const struct h1_head *head)
{
    struct slice id;
    bool has_id = h1_header(head, "mcp-session-id", &id);
    if (head->method == H1_METHOD_POST) {
        post(conn, has_id, id);
        return;
    }
    struct session *session = has_id ? session_find(id) : NULL;
    if (head->method != H1_METHOD_GET && head->method != H1_METHOD_DELETE)
        answer(conn, 405, "Allow: GET, POST, DELETE\r\n", NULL, 0);
    else if (!has_id)
        answer_error(conn, 400, -32000, "Bad Request: no session id");
    else if (session == NULL)
        answer_error(conn, 404, -32001, "Session not found");
    else if (head->method == H1_METHOD_GET && session->listener != NULL)
        answer_error(conn, 409, -32000, "Conflict: Only one SSE stream is allowed per session");
    else if (head->method == H1_METHOD_GET)
        listen_after(conn, session, head);
    else {
        session_end(session);
        answer(conn, 200, "", NULL, 0);
    }
}

static void legacy(struct conn *conn, const struct h1_head *head, struct slice target)
{
    static const char messages[] = "/messages?sessionId=";
    size_t prefix = sizeof messages - 1;
    if (head->method == H1_METHOD_GET && slice_is(target, "/sse")) {
        struct session *session = session_new();
        if (session == NULL) {
            answer(conn, 503, "", NULL, 0);
            return;
        }
        char endpoint[sizeof messages + ID_TEXT];
        int length = snprintf(endpoint, sizeof endpoint, "%s%s", messages, session->id);
        listen_for(conn, session);
        write_event(conn, 0, "endpoint", endpoint, (size_t)length, false);
    } else if (head->method == H1_METHOD_POST && target.length > prefix &&
               memcmp(target.at, messages, prefix) == 0) {
        post(conn, true, slice_borrow(target.at + prefix, target.length - prefix));
    } else {
        answer(conn, 404, "", NULL, 0);
    }
}

static void conn_request(struct conn *conn)
{
    const struct h1_head *head = conn->h1.head;
    struct slice target = h1_target(head);
    conn->is_busy = true;
    conn->keep_alive = head->keep_alive && head->version_minor > 0;
    if (server.is_legacy)
        legacy(conn, head, target);
    else if (slice_is(target, "/mcp"))
        streamable(conn, head);
    else
        answer(conn, 404, "", NULL, 0);
}

static void conn_keep(struct conn *conn, const uint8_t *bytes, size_t length)
{
    uint8_t *grown = length > 0 ? realloc(conn->left, conn->left_length + length) : conn->left;
    if (grown == NULL && length > 0) {
        conn_close(conn);
        return;
    }
    if (length > 0)
        memcpy(grown + conn->left_length, bytes, length);
    conn->left = grown;
    conn->left_length += length;
    if (conn->left_length > LEFTOVER_MAX)
        io_pause(&conn->stream);
}

static void conn_pump(struct conn *conn, const uint8_t *bytes, size_t length)
{
    conn->is_pumping = true;
    while (!conn->stream.closing && !conn->stream.is_shut) {
        size_t used = 0;
        if (conn->is_busy) {
            conn_keep(conn, bytes, length);
            break;
        }
        enum h1_event event = h1_feed(&conn->h1, bytes, length, &used);
        bytes += used;
        length -= used;
        if (event == H1_MORE)
            break;
        if (event == H1_HEAD && conn->h1.head->expects_continue) {
            conn_write(conn, &(uv_buf_t){.base = (char *)(uintptr_t)H1_CONTINUE, .len = 25}, 1);
        } else if (event == H1_END) {
            conn_request(conn);
            h1_next(&conn->h1);
        } else if (event == H1_ERROR) {
            conn->keep_alive = false;
            answer(conn, conn->h1.status, "", NULL, 0);
        }
    }
    conn->is_pumping = false;
}

static void on_bytes(struct io_stream *stream, const uint8_t *bytes, size_t length)
{
    conn_pump(stream->owner, bytes, length);
}

static void on_end(struct io_stream *stream, int why)
{
    (void)why;
    conn_close(stream->owner);
}

static void on_closed(struct io_stream *stream)
{
    struct conn *conn = stream->owner;
    struct session *session = conn->listens;
    stub_stream_gone(server.stub, conn);
    if (session != NULL) {
        session->listener = NULL;
        if (server.is_legacy)
            session_end(session);
    }
    h1_deinit(&conn->h1);
    free(conn->left);
    free(conn);
}

static void on_connection(uv_stream_t *listener, int rc)
{
    struct conn *conn = rc < 0 ? NULL : calloc(1, sizeof *conn);
    if (conn == NULL)
        return;
    struct h1_limits limits = h1_limits_default(H1_REQUESTS);
    limits.collect = true;
    limits.body_max = BODY_MAX;
    h1_init(&conn->h1, H1_REQUESTS, &limits, NULL);
    conn->stream = (struct io_stream){
        .owner = conn, .on_bytes = on_bytes, .on_end = on_end, .on_closed = on_closed};
    io_accept((uv_tcp_t *)listener, &conn->stream);
}

int stub_serve_http(struct stub *stub, const char *listen, bool is_legacy)
{
    static uv_tcp_t listener;
    struct sockaddr_storage addr;
    if (io_read_address(listen, &addr) < 0) {
        fprintf(stderr, "stub: not an address: %s\n", listen);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    io_raise_limits();
    server.loop = uv_default_loop();
    server.stub = stub;
    server.is_legacy = is_legacy;
    if (getrandom(&server.chance, sizeof server.chance, 0) != sizeof server.chance)
        return 1;
    stub->reply = is_legacy ? legacy_reply : http_reply;
    stub->push = http_push;
    uv_timer_init(server.loop, &server.timer);
    int rc = io_listen(server.loop, &listener, &addr, on_connection);
    if (rc < 0) {
        fprintf(stderr, "stub: cannot listen: %s\n", uv_strerror(rc));
        return 1;
    }
    printf("stub: listening on port %u\n", io_listening_port(&listener));
    fflush(stdout);
    return uv_run(server.loop, UV_RUN_DEFAULT);
}
