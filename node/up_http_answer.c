/* up_http_answer.c - answers of an HTTP upstream: head, then events, one JSON text, or bytes, each
 * as the core wants them. Whether the upstream has lost its session is read here (mcp.md §4.2
 * rule 8), what follows from it is decided in the core. */
#include <errno.h>
#include <stdlib.h>

#include "node/log.h"
#include "node/up_http.h"

#define JSON_WHOLE_MAX (1u << 20) /* held whole; beyond: passed on in parts (DESIGN §17) */
#define JSON_FIRST 4096u
#define LOST_LOOK 1024u /* of a 400's body, to see what it means */

static struct host *host_of(const struct http_call *call)
{
    return call->up->kind->upstream->host;
}

static uint64_t now(const struct http_call *call)
{
    return host_now_ms(host_of(call));
}

void http_answer_begin(struct http_call *call)
{
    sse_reader_init(&call->sse, MESH_MESSAGE_MAX, NULL);
}

static struct slice gathered(const struct http_call *call)
{
    return call->gathered == NULL ? (struct slice){0}
                                  : slice_of(call->gathered, 0, call->gathered->length);
}

/* Room for the first part: for the whole body, where its length is known and small. */
static size_t first_room(const struct http_call *call, size_t length)
{
    const struct h1_head *head = call->conn->h1.head;
    size_t room = JSON_FIRST;
    if (head->framing == H1_LENGTH && head->content_length < room)
        room = (size_t)head->content_length;
    return length > room ? length : room;
}

static int gather(struct http_call *call, struct slice part)
{
    int rc = 0;
    size_t have = call->gathered != NULL ? call->gathered->length : 0;
    if (part.length == 0)
        return 0;
    if (call->gathered == NULL) {
        call->gathered =
            bytes_new(&call->conn->kind->upstream->host->passing, first_room(call, part.length));
        rc = call->gathered == NULL ? -ENOMEM : 0;
    } else if (call->gathered->capacity - have < part.length)
        rc = bytes_grow(&call->gathered, part.length > have ? part.length : have);
    if (rc == 0) {
        memcpy(call->gathered->data + have, part.at, part.length);
        call->gathered->length += part.length;
    }
    return rc;
}

void http_take_room(struct http_call *call, size_t length)
{
    call->room -= (int64_t)length;
    if (call->room <= 0)
        http_conn_read(call->conn, false);
}

static void give_message(struct http_call *call, const struct rpc_message *rpc,
                         const struct rpc_tools *tools, struct slice text)
{
    const struct rpc_message *facts = rpc->kind == RPC_BAD ? NULL : rpc;
    bool has_tools = facts != NULL && tools != NULL && tools->count > 0;
    bool is_its_own = mesh_up_message(host_of(call)->mesh, call->up->handle, call->number, facts,
                                      has_tools ? tools : NULL, text, now(call));
    if (!is_its_own)
        call->conn->is_doubted = true;
    http_take_room(call, text.length);
}

static void give_data(struct http_call *call, struct slice part)
{
    if (part.length == 0)
        return;
    mesh_up_data(host_of(call)->mesh, call->up->handle, call->number, part, now(call));
    http_take_room(call, part.length);
}

static int need_tools(struct http_call *call)
{
    if (!call->wants_tools || call->tools != NULL)
        return 0;
    call->tools = malloc(sizeof *call->tools);
    return call->tools == NULL ? -ENOMEM : 0;
}

/* ---- the body, by form ----------------------------------------------------------------------- */

/* Empty data is a mark for resuming; an event of another name is nothing that clients read. */
static bool is_message(const struct sse_event *event)
{
    return event->data.length > 0 && (event->name.length == 0 || slice_is(event->name, "message"));
}

static int on_events(struct http_call *call, struct slice in)
{
    int rc = need_tools(call);
    while (rc == 0) {
        struct sse_event event;
        struct rpc_message rpc;
        size_t used;
        enum sse_result result = sse_read(&call->sse, in, &used, &event);
        in.at += used;
        in.length -= used;
        if (result == SSE_MORE)
            break;
        if (result == SSE_ERROR)
            rc = call->sse.error;
        else if (event.has_id || event.retry_ms != 0)
            mesh_up_mark(host_of(call)->mesh, call->up->handle, call->number, event.id,
                         event.retry_ms, now(call));
        if (rc == 0 && is_message(&event)) {
            rpc_read(&rpc, call->tools, event.data.at, event.data.length);
            give_message(call, &rpc, call->tools, event.data);
        }
    }
    return rc;
}

static int tell_head(struct http_call *call);

/* It grew beyond what is held: what there is goes out, and from now on everything as it comes. */
static int begin_parts(struct http_call *call)
{
    int rc = tell_head(call);
    call->in_parts = true;
    free(call->scan);
    call->scan = NULL;
    give_data(call, gathered(call));
    bytes_unref(call->gathered);
    call->gathered = NULL;
    return rc;
}

/* Scans as it comes what comes in several parts; one part alone is scanned at its end. */
static int scan_part(struct http_call *call, struct slice part)
{
    if (call->scan == NULL) {
        call->scan = malloc(sizeof *call->scan);
        if (call->scan == NULL)
            return -ENOMEM;
        rpc_scan_begin(call->scan, call->tools);
        (void)rpc_scan_feed(call->scan, call->gathered->data, call->gathered->length);
    }
    (void)rpc_scan_feed(call->scan, part.at, part.length);
    return 0;
}

/* The JSON answer that is held, if one is. */
static void give_json(struct http_call *call)
{
    struct slice text = gathered(call);
    struct rpc_message facts;
    if (call->form != MESH_FORM_JSON || call->is_listen || call->gathered == NULL)
        return;
    if (call->scan != NULL) {
        rpc_scan_end(call->scan);
        facts = call->scan->facts;
    } else
        rpc_read(&facts, call->tools, text.at, text.length);
    give_message(call, &facts, call->tools, text);
}

static int on_json(struct http_call *call, struct slice part)
{
    if (call->in_parts) {
        give_data(call, part);
        return 0;
    }
    bool is_first = call->gathered == NULL;
    int rc = need_tools(call);
    if (rc == 0 && !is_first)
        rc = scan_part(call, part);
    if (rc == 0)
        rc = gather(call, part);
    if (rc == 0 && gathered(call).length > JSON_WHOLE_MAX)
        rc = begin_parts(call);
    return rc;
}

static int on_body(struct http_call *call, struct slice part)
{
    if (call->up == NULL || (call->is_listen && call->form != MESH_FORM_SSE))
        return 0; /* why there is no stream is nobody's message */
    switch (call->form) {
    case MESH_FORM_NONE:
        return 0;
    case MESH_FORM_SSE:
        return on_events(call, part);
    case MESH_FORM_JSON:
        return on_json(call, part);
    case MESH_FORM_RAW:
        give_data(call, part);
        return 0;
    }
    return 0;
}

/* ---- the head -------------------------------------------------------------------------------- */

static enum mesh_up_session read_session(struct http_call *call)
{
    struct http_up *up = call->up;
    bool is_good = call->status >= 200 && call->status < 300;
    if (call->had_session && mcp_is_session_lost(call->status, gathered(call))) {
        up->is_over = up->is_over || !call->is_listen; /* a GET may have no route */
        return MESH_UP_SESSION_LOST;
    }
    if (call->want == MESH_DELETE && is_good)
        up->is_over = true;
    if (call->want != MESH_CALL || !is_good || call->session == NULL || up->session != NULL)
        return MESH_UP_SESSION_SAME;
    up->session = call->session;
    call->session = NULL;
    return MESH_UP_SESSION_MADE;
}

/* Tells the head, then what of the body came before it could be told. */
static int tell_head(struct http_call *call)
{
    struct http_up *up = call->up;
    call->head_told = true;
    if (up == NULL)
        return 0;
    struct slice lines = slice_of(call->lines, 0, call->lines->length);
    enum mesh_up_session said = read_session(call);
    mesh_up_head(host_of(call)->mesh, up->handle, call->number, call->status, call->form, said,
                 lines, now(call));
    bytes_unref(call->lines);
    call->lines = NULL;
    if (call->form == MESH_FORM_JSON)
        return 0; /* it was gathered to be given whole */
    struct bytes *early = call->gathered;
    call->gathered = NULL;
    int rc = early != NULL ? on_body(call, slice_of(early, 0, early->length)) : 0;
    bytes_unref(early);
    return rc;
}

static int on_head(struct http_call *call, struct h1_head *head)
{
    struct mcp_upstream_answer answer;
    if (call->up != NULL)
        call->up->kind->answered_ms = now(call);
    call->status = head->status;
    if (call->ops != NULL)
        return call->ops->on_head(call, head);
    int rc = mcp_filter_response_head(head, call->want, &answer);
    if (rc < 0)
        return rc;
    call->form = answer.form;
    call->lines = answer.lines;
    if (answer.session.length > 0 && answer.session.length <= MCP_SESSION_HEADER_MAX) {
        call->session = bytes_copy(NULL, answer.session.at, answer.session.length);
        if (call->session == NULL)
            return -ENOMEM;
    }
    /* A JSON answer cut short is answered in-band as long as nothing of it was told; a 400 says
     * only in its body whether the session is meant. */
    bool waits = (call->form == MESH_FORM_JSON && !call->is_listen) ||
                 (call->had_session && call->status == 400);
    return waits ? 0 : tell_head(call);
}

static int on_part(struct http_call *call, struct slice part)
{
    if (call->ops != NULL)
        return call->ops->on_part(call, part);
    if (call->head_told || (call->form == MESH_FORM_JSON && !call->is_listen))
        return on_body(call, part);
    int rc = gather(call, part);
    return rc == 0 && gathered(call).length >= LOST_LOOK ? tell_head(call) : rc;
}

/* The answer is whole. */
static int on_end(struct http_call *call)
{
    if (call->ops != NULL)
        return 0;
    int rc = call->head_told ? 0 : tell_head(call);
    if (rc == 0)
        give_json(call);
    return rc;
}

/* A stream is over. Its last block may have had an id or a time and no data: no event told them. */
static void tell_last_mark(struct http_call *call)
{
    const struct sse_reader *sse = &call->sse;
    if (call->up == NULL || call->ops != NULL || call->form != MESH_FORM_SSE ||
        (sse->id == NULL && sse->retry_ms == 0))
        return;
    mesh_up_mark(host_of(call)->mesh, call->up->handle, call->number,
                 sse->id == NULL ? (struct slice){0} : slice_of(sse->id, 0, sse->id->length),
                 sse->retry_ms, now(call));
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static enum mesh_reason reason_of(int rc)
{
    return rc == -EMSGSIZE ? MESH_ANSWER_TOO_LARGE : MESH_UPSTREAM_BAD;
}

/* Was that perhaps not the answer to this call? Then the next one is not the next call's: a server
 * that speaks out of turn would give one session's answers to another (row U7). */
static bool is_doubtful(const struct http_conn *conn)
{
    const struct http_call *call = conn->call;
    bool is_unread = call->ops == NULL && call->in_parts; /* nobody looked whose it is */
    bool is_no_stream = call->is_listen && call->status / 100 == 2 && call->form != MESH_FORM_SSE;
    return conn->is_doubted || is_unread || is_no_stream;
}

/* False: the answer is over, and with it the call. */
static bool on_h1(struct http_conn *conn, enum h1_event event)
{
    struct http_call *call = conn->call;
    int rc = 0;
    switch (event) {
    case H1_MORE:
        return false;
    case H1_HEAD:
        rc = on_head(call, conn->h1.head);
        break;
    case H1_BODY:
        rc = on_part(call, conn->h1.part);
        break;
    case H1_END:
        rc = on_end(call);
        if (rc == 0) {
            bool keep = conn->h1.head->keep_alive && !is_doubtful(conn);
            tell_last_mark(call);
            http_call_end(call, MESH_OK);
            http_conn_release(conn, keep);
            return false;
        }
        break;
    case H1_ERROR:
        rc = UV_EPROTO;
        break;
    }
    if (rc == 0)
        return true;
    log_debug("upstream_bad", "error=%s cause=%s", host_error_name(rc),
              event == H1_ERROR && conn->h1.reason != NULL ? conn->h1.reason : "-");
    http_call_end(call, reason_of(rc));
    http_conn_close(conn);
    return false;
}

/* Events come when the server has something to say, the parts of any other body one by one. */
static bool is_in_body(const struct http_conn *conn)
{
    const struct http_call *call = conn->call;
    return call != NULL && call->ops == NULL && call->status != 0 && call->form != MESH_FORM_SSE;
}

void http_answer_bytes(struct http_conn *conn, const uint8_t *data, size_t length)
{
    bool again = true;
    if (conn->call == NULL) {
        http_conn_close(conn); /* bytes that nobody asked for (row U7) */
        return;
    }
    while (again) {
        size_t used;
        enum h1_event event = h1_feed(&conn->h1, data, length, &used);
        data += used;
        length -= used;
        again = on_h1(conn, event);
    }
    if (length > 0)
        http_conn_close(conn); /* more than its answer (row U7) */
    else if (is_in_body(conn))
        http_conn_await_part(conn);
}

void http_answer_eof(struct http_conn *conn, bool reset)
{
    struct http_call *call = conn->call;
    if (!reset && h1_eof(&conn->h1) == H1_END) {
        (void)on_h1(conn, H1_END);
        http_conn_close(conn);
        return;
    }
    tell_last_mark(call);
    http_call_end(call, MESH_UPSTREAM_LOST);
    http_conn_close(conn);
}
