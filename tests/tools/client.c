/* client.c - see client.h. */
#include "tests/tools/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX (64u << 20)
#define SPARE_NS 3000000000u /* servers close idle connections after 4 or 5 seconds */

struct client_conn {
    struct io_stream stream;
    struct client *client;
    struct client_target *target;
    struct client_call *call; /* NULL: idle */
    struct client_conn *next; /* among the spare ones */
    struct h1 h1;
    struct sse_reader sse;
    struct bytes *body; /* of an answer that comes in pieces */
    char *request;      /* until connected */
    size_t request_length;
    uint64_t idle_since_ns;
    bool has_sse;
};

int client_add_targets(struct client *client, const char *list)
{
    while (*list != '\0') {
        size_t length = strcspn(list, ",");
        if (client->targets_count == CLIENT_TARGETS_MAX)
            return -EINVAL;
        struct client_target *target = &client->targets[client->targets_count];
        if (length >= sizeof target->authority)
            return -EINVAL;
        memcpy(target->authority, list, length);
        if (io_read_address(target->authority, &target->addr) < 0)
            return -EINVAL;
        client->targets_count++;
        list += length + (list[length] == ',');
    }
    return 0;
}

static void on_closed(struct io_stream *stream)
{
    struct client_conn *conn = stream->owner;
    h1_deinit(&conn->h1);
    if (conn->has_sse)
        sse_reader_deinit(&conn->sse);
    bytes_unref(conn->body);
    free(conn->request);
    free(conn);
}

static void conn_forget(struct client_conn *conn)
{
    for (struct client_conn **at = &conn->target->spare; *at != NULL; at = &(*at)->next) {
        if (*at == conn) {
            *at = conn->next;
            return;
        }
    }
}

/* The connection is of no more use; its call ends with `rc`. */
static void conn_fail(struct client_conn *conn, int rc)
{
    struct client_call *call = conn->call;
    if (conn->stream.closing)
        return;
    conn->call = NULL;
    if (call == NULL)
        conn_forget(conn);
    io_close(&conn->stream);
    if (call != NULL) {
        call->conn = NULL;
        conn->client->on_done(call, rc);
    }
}

void client_drop_spares(struct client *client, unsigned target)
{
    struct client_conn *conn = client->targets[target].spare;
    client->targets[target].spare = NULL;
    for (struct client_conn *next; conn != NULL; conn = next) {
        next = conn->next;
        io_close(&conn->stream);
    }
}

void client_abort(struct client_call *call)
{
    if (call->conn == NULL)
        return;
    call->conn->call = NULL;
    io_close(&call->conn->stream);
    call->conn = NULL;
}

void client_pause(struct client_call *call)
{
    if (call->conn != NULL)
        io_pause(&call->conn->stream);
}

void client_resume(struct client_call *call)
{
    if (call->conn != NULL)
        io_resume(&call->conn->stream);
}

/* The answer is complete. */
static void conn_done(struct client_conn *conn)
{
    struct client_call *call = conn->call;
    bool keeps = conn->h1.head->keep_alive && !conn->client->is_new_connection;
    if (!call->is_sse && conn->body != NULL) {
        conn->client->on_text(call, slice_of(conn->body, 0, conn->body->length), (struct slice){0});
        bytes_unref(conn->body);
        conn->body = NULL;
    }
    if (conn->call == NULL) /* aborted by its owner */
        return;
    if (conn->has_sse)
        sse_reader_deinit(&conn->sse);
    conn->has_sse = false;
    h1_next(&conn->h1);
    conn->call = NULL;
    call->conn = NULL;
    if (keeps) {
        conn->idle_since_ns = io_now_ns();
        conn->next = conn->target->spare;
        conn->target->spare = conn;
    } else {
        io_close(&conn->stream);
    }
    conn->client->on_done(call, 0);
}

static void conn_head(struct client_conn *conn)
{
    const struct h1_head *head = conn->h1.head;
    struct client_call *call = conn->call;
    struct slice type;
    call->status = head->status;
    h1_header(head, "content-type", &type);
    size_t media = 0;
    while (media < type.length && type.at[media] != ';' && type.at[media] != ' ')
        media++;
    call->is_sse = slice_is(slice_borrow(type.at, media), "text/event-stream");
    if (call->is_sse) {
        sse_reader_init(&conn->sse, ANSWER_MAX, NULL);
        conn->has_sse = true;
    }
    conn->client->on_head(call, head);
}

static void conn_events(struct client_conn *conn, struct slice part)
{
    while (conn->call != NULL) {
        struct sse_event event;
        size_t used = 0;
        enum sse_result result = sse_read(&conn->sse, part, &used, &event);
        conn->call->comments = conn->sse.comments_count;
        part.at += used;
        part.length -= used;
        if (result == SSE_MORE)
            return;
        if (result == SSE_ERROR) {
            conn_fail(conn, -EPROTO);
            return;
        }
        conn->client->on_text(conn->call, event.data, event.id);
    }
}

static void conn_body(struct client_conn *conn, struct slice part)
{
    const struct h1_head *head = conn->h1.head;
    bool wants_parts = conn->client->on_part != NULL, is_sse = conn->call->is_sse;
    if (wants_parts)
        conn->client->on_part(conn->call, part);
    if (is_sse)
        conn_events(conn, part);
    if (wants_parts || is_sse)
        return;
    if (conn->body == NULL && head->framing == H1_LENGTH && part.length == head->content_length) {
        conn->client->on_text(conn->call, part, (struct slice){0});
        return;
    }
    if (conn->body == NULL)
        conn->body = bytes_new(NULL, part.length);
    if (conn->body == NULL || conn->body->length + part.length > ANSWER_MAX ||
        bytes_grow(&conn->body, part.length) < 0) {
        conn_fail(conn, -ENOMEM);
        return;
    }
    memcpy(conn->body->data + conn->body->length, part.at, part.length);
    conn->body->length += part.length;
}

/* True: go on with the input. */
static bool conn_event(struct client_conn *conn, enum h1_event event)
{
    switch (event) {
    case H1_MORE:
        return false;
    case H1_HEAD:
        conn_head(conn);
        break;
    case H1_BODY:
        conn_body(conn, conn->h1.part);
        break;
    case H1_END:
        conn_done(conn);
        break;
    case H1_ERROR:
        conn_fail(conn, -EPROTO);
        break;
    }
    return conn->call != NULL;
}

static void on_bytes(struct io_stream *stream, const uint8_t *bytes, size_t length)
{
    struct client_conn *conn = stream->owner;
    if (conn->call == NULL) {
        conn_fail(conn, -EPROTO);
        return;
    }
    for (bool more = true; more;) {
        struct client_call *call = conn->call;
        size_t used = 0;
        enum h1_event event = h1_feed(&conn->h1, bytes, length, &used);
        bytes += used;
        length -= used;
        more = conn_event(conn, event) && conn->call == call;
        if (event == H1_END && length > 0)
            conn_fail(conn, -EPROTO); /* bytes that nobody asked for */
    }
}

static void on_end(struct io_stream *stream, int why)
{
    struct client_conn *conn = stream->owner;
    if (conn->call != NULL && why == UV_EOF && conn->call->status != 0 &&
        h1_eof(&conn->h1) == H1_END) {
        conn_done(conn);
        return;
    }
    conn_fail(conn, why == UV_EOF ? UV_ECONNRESET : why);
}

/* True: its request is on its way elsewhere. */
static bool conn_divert(struct client_conn *conn)
{
    struct client_call *call = conn->call;
    struct client *client = conn->client;
    int target = call != NULL && client->on_refused != NULL ? client->on_refused(call) : -1;
    if (target < 0)
        return false;
    conn->call = NULL;
    io_close(&conn->stream);
    client_send(client, call, (unsigned)target, conn->request, conn->request_length);
    return true;
}

static void on_connected(struct io_stream *stream, int rc)
{
    struct client_conn *conn = stream->owner;
    if (rc == UV_ECONNREFUSED && conn_divert(conn))
        return;
    if (rc == 0)
        rc = io_write(stream, conn->request, conn->request_length);
    free(conn->request);
    conn->request = NULL;
    if (rc < 0)
        conn_fail(conn, rc);
    else if (conn->call != NULL)
        conn->call->is_sent = true;
}

static struct client_conn *conn_spare(struct client_target *target)
{
    uint64_t now = target->spare != NULL ? io_now_ns() : 0;
    while (target->spare != NULL) {
        struct client_conn *conn = target->spare;
        target->spare = conn->next;
        if (now - conn->idle_since_ns < SPARE_NS)
            return conn;
        io_close(&conn->stream);
    }
    return NULL;
}

static struct client_conn *conn_new(struct client *client, struct client_target *target)
{
    struct client_conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL)
        abort();
    struct h1_limits limits = h1_limits_default(H1_RESPONSES);
    limits.collect = false;
    limits.body_max = 0;
    h1_init(&conn->h1, H1_RESPONSES, &limits, NULL);
    conn->client = client;
    conn->target = target;
    conn->stream = (struct io_stream){.owner = conn,
                                      .on_bytes = on_bytes,
                                      .on_end = on_end,
                                      .on_connected = on_connected,
                                      .on_closed = on_closed,
                                      .receive_bytes = client->receive_bytes};
    client->connections++;
    return conn;
}

void client_send(struct client *client, struct client_call *call, unsigned target,
                 const void *request, size_t length)
{
    struct client_target *to = &client->targets[target];
    struct client_conn *conn = client->is_new_connection ? NULL : conn_spare(to);
    bool is_new = conn == NULL;
    if (is_new)
        conn = conn_new(client, to);
    conn->call = call;
    call->conn = conn;
    call->status = 0;
    call->is_sse = false;
    call->comments = 0;
    call->is_sent = !is_new;
    h1_expect_response(&conn->h1, call->is_get ? H1_METHOD_GET : H1_METHOD_POST);
    int rc;
    if (!is_new) {
        rc = io_write(&conn->stream, request, length);
    } else {
        conn->request = malloc(length);
        if (conn->request == NULL)
            abort();
        memcpy(conn->request, request, length);
        conn->request_length = length;
        rc = io_connect(client->loop, &conn->stream, &to->addr);
    }
    if (rc < 0 && call->conn == conn) {
        conn->call = NULL;
        call->conn = NULL;
        io_close(&conn->stream);
        client->on_done(call, rc);
    }
}
