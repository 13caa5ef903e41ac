/* mcp_answer.c - words: the core's reasons, refusals and heads as HTTP, towards the client; the
 * heads of requests and answers as they pass to and from an HTTP upstream. What is decided was
 * decided before. */
#include "http/mcp_inside.h"

#include <errno.h>

#include "http/sse.h"

/* mcp.md §2.2: the same bytes for an id that is forged, foreign, ended or another principal's. */
static const char unknown_session[] =
    "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32001,\"message\":\"Session not found\"},"
    "\"id\":null}";

void mcp_append_line(struct bytes *into, struct slice name, struct slice value)
{
    mcp_append(into, name);
    mcp_append(into, slice_borrow(": ", 2));
    mcp_append(into, value);
    mcp_append(into, slice_borrow("\r\n", 2));
}

static inline bool goes_on(const struct h1_head *head, size_t index, uint32_t without)
{
    return h1_header_travels(head, index) &&
           (without & h1_set((enum h1_field)head->headers[index].field)) == 0;
}

struct bytes *mcp_copy_lines(const struct h1_head *head, uint32_t without, size_t more)
{
    struct bytes *lines;
    size_t size = more;

    for (size_t i = 0; i < head->headers_count; i++)
        if (goes_on(head, i, without))
            size += head->headers[i].name.length + head->headers[i].value.length + 4;
    lines = bytes_new(NULL, size);
    for (size_t i = 0; lines != NULL && i < head->headers_count; i++) {
        struct slice line = h1_plain_line(head, i);

        if (!goes_on(head, i, without))
            continue;
        if (line.length > 0)
            mcp_append(lines, line);
        else
            mcp_append_line(lines, h1_name(head, i), h1_value(head, i));
    }
    return lines;
}

static struct slice kept(const struct mcp_exchange *exchange, struct span part)
{
    if (part.length == 0)
        return slice_borrow(NULL, 0);
    if (exchange->kept == NULL)
        return slice_borrow(exchange->few + part.at, part.length);
    return slice_part(slice_of(exchange->kept, 0, exchange->kept->length), part);
}

/* ---- JSON-RPC errors ---------------------------------------------------------------------- */

/* {"jsonrpc":..,"id":..,"error":{..}}; texts are ours and need no escaping, but in rpc_write_error
 * there is no place for data. */
static struct bytes *error_text(struct slice id, int code, const char *message, const char *reason)
{
    size_t room = 128 + id.length + 6 * strlen(message) + (reason == NULL ? 0 : strlen(reason));
    struct bytes *text = bytes_new(NULL, room);

    if (text == NULL)
        return NULL;
    text->length = rpc_write_error(text->data, room, id, code, message);
    if (reason != NULL && text->length > 2) {
        text->length -= 2; /* the two braces at its end */
        mcp_append(text, slice_text(",\"data\":{\"reason\":\""));
        mcp_append(text, slice_text(reason));
        mcp_append(text, slice_text("\"}}}"));
    }
    return text;
}

/* ---- answers of our own ------------------------------------------------------------------- */

#define LINES_MAX 12

struct lines {
    struct h1_line at[LINES_MAX];
    size_t count;
};

static void add(struct lines *lines, const char *name, struct slice value)
{
    lines->at[lines->count++] = (struct h1_line){slice_text(name), value};
}

/* The Origin passed the gate; a page must be able to read our errors and the session id. */
static void add_cors(struct lines *lines, struct slice origin)
{
    if (origin.length == 0)
        return;
    add(lines, "Access-Control-Allow-Origin", origin);
    add(lines, "Access-Control-Expose-Headers", slice_text("Mcp-Session-Id, WWW-Authenticate"));
    add(lines, "Vary", slice_text("Origin"));
}

/* Head by `out`, then `body`. */
static int write_whole(struct h1_out *out, struct slice body, bool with_body,
                       struct bytes **answerp)
{
    size_t room = h1_head_room(out);
    struct bytes *answer = bytes_new(NULL, room + body.length);
    int length;

    if (answer == NULL)
        return -ENOMEM;
    length = h1_write_response_head(answer->data, room, out);
    if (length < 0) {
        bytes_unref(answer);
        return -EINVAL;
    }
    answer->length = (size_t)length;
    if (with_body)
        mcp_append(answer, body);
    *answerp = answer;
    return 0;
}

int mcp_write_own(const struct mcp_exchange *exchange, const struct mcp_own *own,
                  struct bytes **answerp)
{
    struct lines lines = {.count = 0};
    struct bytes *text = NULL;
    struct slice body = {NULL, NULL, 0};
    struct h1_out out = {.status = own->status,
                         .lines = lines.at,
                         .framing = own->status == 204 ? H1_NO_BODY : H1_LENGTH,
                         .close = exchange->close,
                         .keep_alive = exchange->is_http10 && !exchange->close};
    int rc;

    if (own->is_unknown_session) {
        body = slice_text(unknown_session);
    } else if (own->status != 204 && !own->is_empty) {
        text = error_text(kept(exchange, exchange->id), own->code, own->message, own->reason);
        if (text == NULL)
            return -ENOMEM;
        body = slice_of(text, 0, text->length);
    }
    if (body.length > 0)
        add(&lines, "Content-Type", slice_text("application/json"));
    if (own->allow != NULL)
        add(&lines, "Allow", slice_text(own->allow));
    if (own->retry_after)
        add(&lines, "Retry-After", slice_text(MCP_RETRY_AFTER));
    add_cors(&lines, kept(exchange, exchange->origin));
    if (own->is_preflight && exchange->origin.length > 0) {
        add(&lines, "Access-Control-Allow-Methods", slice_text("GET, POST, DELETE"));
        if (own->asked_headers.length > 0)
            add(&lines, "Access-Control-Allow-Headers", own->asked_headers);
        add(&lines, "Access-Control-Max-Age", slice_text("600"));
    }
    out.lines_count = lines.count;
    out.content_length = body.length;
    rc = write_whole(&out, body, !exchange->is_head, answerp);
    bytes_unref(text);
    return rc;
}

int mcp_write_refusal(int status, const char *reason, const char *allow, bool close,
                      struct bytes **answerp)
{
    struct mcp_exchange exchange = {.close = close};
    struct mcp_own own = {.status = status,
                          .code = MCP_BAD_REQUEST,
                          .message = reason,
                          .allow = allow,
                          .retry_after = status == 429 || status == 503};

    return mcp_write_own(&exchange, &own, answerp);
}

/* ---- what the core named ------------------------------------------------------------------ */

/* One row a reason. in_band: with a JSON-RPC id it is told as 200 with an error, since clients
 * take a 5xx for a broken server (mcp.md fact 4); `status` is for everything else. */
static const struct wording {
    const char *name;
    bool in_band;
    int status;
    bool retry_after;
    int code;
    const char *message;
} wordings[] = {
    [MESH_OK] = {"ok", false, 500, false, RPC_INTERNAL_ERROR, "session mesh: internal error"},
    [MESH_NO_SESSION_ID] = {"no_session_id", false, 400, false, MCP_BAD_REQUEST,
                            "Bad Request: Mcp-Session-Id header is required"},
    [MESH_SESSION_UNKNOWN] = {"session_unknown", false, 404, false, MCP_SESSION_NOT_FOUND,
                              "Session not found"},
    [MESH_ID_IN_USE] = {"id_in_use", false, 400, false, RPC_INVALID_REQUEST,
                        "Invalid Request: an open request of this session has this id"},
    [MESH_ALREADY_INITIALIZED] = {"already_initialized", false, 400, false, RPC_INVALID_REQUEST,
                                  "Invalid Request: Server already initialized"},
    [MESH_NOT_SUPPORTED] = {"not_supported", false, 400, false, RPC_INVALID_REQUEST,
                            "Invalid Request: this server does not serve it"},
    [MESH_NO_ROUTE] = {"no_route", false, 404, false, MCP_BAD_REQUEST, "Not found"},
    [MESH_FULL] = {"full", false, 503, true, RPC_INTERNAL_ERROR,
                   "session mesh: no room; nothing ran"},
    [MESH_PARKED_TOO_LONG] = {"parked_too_long", true, 503, true, RPC_INTERNAL_ERROR,
                              "session mesh: the session's owner could not be found in time; "
                              "nothing ran"},
    [MESH_OWNER_LOST] = {"owner_lost", true, 503, true, RPC_INTERNAL_ERROR,
                         "session mesh: the peer that owned this session was lost, and no other "
                         "carries it on"},
    [MESH_OUTCOME_UNKNOWN] = {"outcome_unknown", true, 502, false, RPC_INTERNAL_ERROR,
                              "session mesh: the peer that ran this request was lost; not known "
                              "whether it ran; only what is read-only or idempotent is sent again"},
    [MESH_UPSTREAM_DOWN] = {"upstream_down", true, 503, true, RPC_INTERNAL_ERROR,
                            "session mesh: the MCP server cannot be reached; nothing ran"},
    [MESH_UPSTREAM_LOST] = {"upstream_lost", true, 502, false, RPC_INTERNAL_ERROR,
                            "session mesh: the MCP server was lost with this request in flight; "
                            "not known whether it ran"},
    [MESH_UPSTREAM_BAD] = {"upstream_bad", true, 502, false, RPC_INTERNAL_ERROR,
                           "session mesh: the MCP server answered what is no answer"},
    [MESH_ANSWER_TOO_LARGE] = {"answer_too_large", true, 502, false, RPC_INTERNAL_ERROR,
                               "session mesh: the MCP server's message is too large"},
    /* 405 keeps a client quiet that lost the race of two GETs; any other status it would report
     * (mcp.md §2.5). */
    [MESH_SUPERSEDED] = {"superseded", false, 405, false, MCP_BAD_REQUEST,
                         "superseded by a newer stream of this session"},
    [MESH_SESSION_ENDED] = {"session_ended", false, 404, false, MCP_SESSION_NOT_FOUND,
                            "session mesh: the session has ended"},
    [MESH_READER_SLOW] = {"reader_slow", true, 503, false, RPC_INTERNAL_ERROR,
                          "session mesh: the answer was read too slowly"},
    [MESH_CANCELLED] = {"cancelled", true, 503, false, RPC_INTERNAL_ERROR,
                        "session mesh: the request was cancelled by its client"},
    [MESH_STOPPING] = {"stopping", true, 503, true, RPC_INTERNAL_ERROR,
                       "session mesh: this peer is going down"},
    /* The client has its answer: it is quiet at once after a 405, and after nothing else. */
    [MESH_STREAM_OVER] = {"stream_over", false, 405, false, MCP_BAD_REQUEST,
                          "nothing follows this event"},
    [MESH_RATE_LIMITED] = {"rate_limited", false, 429, true, RPC_INTERNAL_ERROR,
                           "session mesh: too many requests; nothing ran"},
};
_Static_assert(sizeof wordings / sizeof wordings[0] == MESH_REASON_LAST + 1, "one row a reason");

const char *mcp_reason_name(enum mesh_reason why)
{
    return wordings[why].name;
}

int mcp_write_failure(enum mesh_reason why, struct slice id, struct slice event_id,
                      struct bytes **textp)
{
    const struct wording *w = &wordings[why];
    struct bytes *error = error_text(id, w->code, w->message, w->name);
    struct sse_event event = {.id = event_id, .name = slice_text("message")};
    int rc;

    if (error == NULL)
        return -ENOMEM;
    event.data = slice_of(error, 0, error->length);
    rc = sse_copy_event(NULL, &event, textp);
    bytes_unref(error);
    return rc;
}

/* The last bytes of an event stream. */
static int write_last_event(const struct mcp_exchange *exchange, enum mesh_reason why,
                            struct slice event_id, struct bytes **textp)
{
    const struct wording *w = &wordings[why];
    struct bytes *text;

    if (exchange->is_request)
        return mcp_write_failure(why, kept(exchange, exchange->id), event_id, textp);
    /* A held server stream has nobody to tell; the client comes back, sooner if we go. */
    text = bytes_new(NULL, 32 + strlen(w->message));
    if (text == NULL)
        return -ENOMEM;
    mcp_append(text, slice_text(why == MESH_STOPPING ? "retry: 200\n: " : ": "));
    mcp_append(text, slice_text(w->message));
    mcp_append(text, slice_text("\n\n"));
    *textp = text;
    return 0;
}

int mcp_write_outcome(const struct mcp_config *config, struct mcp_exchange *exchange,
                      enum mesh_reason why, bool head_sent, struct slice event_id,
                      enum mcp_ending *ending, struct bytes **textp)
{
    const struct wording *w = &wordings[why];
    bool is_in_band = w->in_band && exchange->is_request && exchange->want == MESH_CALL;
    struct mcp_own own = {.status = is_in_band ? 200 : w->status,
                          .code = w->code,
                          .message = w->message,
                          .reason = w->name,
                          .retry_after = w->retry_after && !is_in_band};

    (void)config;
    *textp = NULL;
    *ending = MCP_END_WHOLE;
    /* Who does not read would not read this either. */
    if (head_sent && exchange->form == MESH_FORM_SSE && why != MESH_READER_SLOW)
        return write_last_event(exchange, why, event_id, textp);
    if (head_sent) {
        if (exchange->form != MESH_FORM_NONE)
            *ending = MCP_END_CUT;
        return 0;
    }
    own.is_unknown_session = why == MESH_SESSION_UNKNOWN || why == MESH_SESSION_ENDED;
    if (why == MESH_SUPERSEDED || why == MESH_STREAM_OVER)
        own.allow = gate_allow(GATE_MCP);
    if (why == MESH_NOT_SUPPORTED && exchange->era == MESH_MODERN) {
        own.code = MCP_BAD_REQUEST;
        own.message = "Bad Request: initialize required";
    }
    return mcp_write_own(exchange, &own, textp);
}

/* Up to and with its last slash. */
static size_t directory_length(const char *path)
{
    return (size_t)(strrchr(path, '/') - path) + 1;
}

int mcp_write_endpoint(const struct mcp_config *config, const char session[MESH_SESSION_TEXT],
                       struct bytes **textp)
{
    const char *path = config->messages_path, *prefix = config->public_prefix;
    size_t directory = directory_length(path);
    struct bytes *text;

    if (prefix == NULL && directory == directory_length(config->sse_path) &&
        memcmp(path, config->sse_path, directory) == 0)
        path += directory;
    if (prefix == NULL)
        prefix = "";
    text = bytes_new(NULL, strlen(prefix) + strlen(path) + MESH_SESSION_TEXT + 64);
    if (text == NULL)
        return -ENOMEM;
    mcp_append(text, slice_text("event: endpoint\ndata: "));
    mcp_append(text, slice_text(prefix));
    mcp_append(text, slice_text(path));
    mcp_append(text, slice_text("?sessionId="));
    mcp_append(text, slice_borrow(session, MESH_SESSION_TEXT));
    mcp_append(text, slice_text("\n\n"));
    *textp = text;
    return 0;
}

/* ---- the head of an upstream's answer, towards the client --------------------------------- */

/* Is there a line of this name in a block of whole lines? */
static bool has_line(struct slice lines, const char *name)
{
    size_t length = strlen(name);

    while (lines.length > 0) {
        const uint8_t *end = memchr(lines.at, '\n', lines.length);
        size_t used = end == NULL ? lines.length : (size_t)(end - lines.at) + 1;

        if (used > length && lines.at[length] == ':' &&
            h1_is_name(slice_borrow(lines.at, length), name))
            return true;
        lines.at += used;
        lines.length -= used;
    }
    return false;
}

static enum h1_framing answer_framing(const struct mcp_exchange *exchange, int status,
                                      int64_t length)
{
    if (exchange->is_head || status == 204 || status == 304)
        return H1_NO_BODY;
    if (exchange->form == MESH_FORM_NONE || length >= 0)
        return H1_LENGTH;
    return exchange->is_http10 ? H1_UNTIL_CLOSE : H1_CHUNKED;
}

/* What an HTTP upstream says to browsers is its own policy. But a head without any line of its is
 * of our own making (a stream, the 202 of HTTP+SSE), and says nothing that it could forbid. */
static bool is_ours_to_open(const struct mcp_config *config, struct slice lines)
{
    return lines.length == 0 ||
           (!config->http_upstream && !has_line(lines, "Access-Control-Allow-Origin"));
}

int mcp_write_head(const struct mcp_config *config, struct mcp_exchange *exchange, int status,
                   enum mesh_form form, struct slice lines, const char *session, int64_t length,
                   struct bytes **headp)
{
    struct lines more = {.count = 0};
    struct h1_out out = {.status = status, .lines = more.at, .ready = lines};
    const struct slice nothing = {NULL, NULL, 0};

    exchange->form = form;
    exchange->framing = answer_framing(exchange, status, length);
    if (exchange->framing == H1_UNTIL_CLOSE)
        exchange->close = true;
    if (form == MESH_FORM_JSON && !has_line(lines, "Content-Type"))
        add(&more, "Content-Type", slice_text("application/json"));
    if (form == MESH_FORM_SSE) {
        add(&more, "Content-Type", slice_text("text/event-stream"));
        add(&more, "Cache-Control", slice_text("no-cache, no-transform"));
        add(&more, "X-Accel-Buffering", slice_text("no"));
    }
    if (session != NULL && exchange->want != MESH_SSE)
        add(&more, "Mcp-Session-Id", slice_borrow(session, MESH_SESSION_TEXT));
    if (exchange->want != MESH_PASS && is_ours_to_open(config, lines))
        add_cors(&more, kept(exchange, exchange->origin));
    out.lines_count = more.count;
    out.framing = exchange->framing;
    out.content_length = length > 0 && form != MESH_FORM_NONE ? (uint64_t)length : 0;
    out.close = exchange->close;
    out.keep_alive = exchange->is_http10 && !exchange->close;
    return write_whole(&out, nothing, false, headp);
}

/* ---- the upstream's side ------------------------------------------------------------------ */

static bool is_media(struct slice value, const char *type)
{
    size_t length = strlen(type);

    if (value.length < length || !h1_is_name(slice_borrow(value.at, length), type))
        return false;
    return value.length == length || strchr("; \t", value.at[length]) != NULL;
}

static enum mesh_form answer_form(const struct h1_head *head, enum mesh_want want)
{
    struct slice type, coding;

    if (head->framing == H1_NO_BODY || head->status == 204 || head->status == 304 ||
        (head->status == 202 && want != MESH_PASS))
        return MESH_FORM_NONE;
    if (want == MESH_PASS || !h1_field(head, H1_FIELD_CONTENT_TYPE, &type))
        return MESH_FORM_RAW;
    if (h1_field(head, H1_FIELD_CONTENT_ENCODING, &coding) && !h1_is_name(coding, "identity"))
        return MESH_FORM_RAW;
    if (is_media(type, "text/event-stream"))
        return MESH_FORM_SSE;
    return is_media(type, "application/json") ? MESH_FORM_JSON : MESH_FORM_RAW;
}

int mcp_filter_response_head(struct h1_head *head, enum mesh_want want,
                             struct mcp_upstream_answer *answer)
{
    /* The session id is written anew by the peer that has the client, the rest of these by whoever
     * frames or streams. */
    uint32_t without = h1_set(H1_FIELD_MCP_SESSION_ID) | h1_set(H1_FIELD_ALT_SVC);
    const struct slice nobody = {NULL, NULL, 0};

    memset(answer, 0, sizeof *answer);
    answer->form = answer_form(head, want);
    if (answer->form == MESH_FORM_SSE)
        without |= h1_set(H1_FIELD_CONTENT_TYPE) | h1_set(H1_FIELD_CACHE_CONTROL) |
                   h1_set(H1_FIELD_X_ACCEL_BUFFERING);
    h1_field(head, H1_FIELD_MCP_SESSION_ID, &answer->session);
    answer->lines = mcp_noted_lines(&head->notes, without, nobody);
    if (answer->lines != NULL)
        return 0;
    answer->lines = mcp_copy_lines(head, without, 0);
    if (answer->lines == NULL)
        return -ENOMEM;
    mcp_note_lines(&head->notes, without, (struct span){0}, answer->lines);
    return 0;
}

static bool contains(struct slice text, const char *what)
{
    return text.at != NULL && memmem(text.at, text.length, what, strlen(what)) != NULL;
}

bool mcp_is_session_lost(int status, struct slice body)
{
    if (status == 404)
        return true;
    /* server-everything and others say 400 where the specification has 404. */
    if (status != 400 || !contains(body, "-32000"))
        return false;
    return contains(body, "ession ID") || contains(body, "ession id") ||
           contains(body, "ession not found") || contains(body, "not initialized");
}

/* The path of our MCP route stands for the upstream's own; any other target is itself. Only where
 * a query follows another path a buffer is made: *madep. */
static int upstream_target(const struct mcp_config *config,
                           const struct mcp_upstream_request *request, struct slice *target,
                           struct bytes **madep)
{
    struct slice path = request->target, query = {NULL, NULL, 0}, base;
    const uint8_t *mark = path.length == 0 ? NULL : memchr(path.at, '?', path.length);

    if (mark != NULL) {
        path.length = (size_t)(mark - path.at);
        query = slice_borrow(mark + 1, request->target.length - path.length - 1);
    }
    *target = request->endpoint.length > 0 ? request->endpoint : request->target;
    if (request->endpoint.length > 0)
        return 0;
    if (request->want == MESH_PASS && !slice_is(path, config->mcp_path))
        return 0;
    base = slice_text(config->upstream_path);
    *target = base;
    if (query.length == 0)
        return 0;
    *madep = bytes_new(NULL, base.length + 1 + query.length);
    if (*madep == NULL)
        return -ENOMEM;
    mcp_append(*madep, base);
    mcp_append(*madep, slice_text(strchr(config->upstream_path, '?') == NULL ? "?" : "&"));
    mcp_append(*madep, query);
    *target = slice_of(*madep, 0, (*madep)->length);
    return 0;
}

static struct slice upstream_method(const struct mcp_upstream_request *request)
{
    switch (request->want) {
    case MESH_CALL:
        return slice_text("POST");
    case MESH_LISTEN:
    case MESH_SSE:
        return slice_text("GET");
    case MESH_DELETE:
        return slice_text("DELETE");
    case MESH_PASS:
        break;
    }
    return request->method;
}

/* Methods whose empty body is said to be empty (RFC 9110 section 8.6). */
static bool wants_length(struct slice method)
{
    return slice_is(method, "POST") || slice_is(method, "PUT") || slice_is(method, "PATCH");
}

/* A message of our own goes under the head of a request of another kind: what speaks of that
 * one's body and answer is left out. NULL: no memory. */
static struct bytes *own_lines(struct slice lines)
{
    struct bytes *kept_lines = bytes_new(NULL, lines.length);

    while (kept_lines != NULL && lines.length > 0) {
        const uint8_t *end = memchr(lines.at, '\n', lines.length);
        size_t used = end == NULL ? lines.length : (size_t)(end - lines.at) + 1;
        struct slice line = slice_borrow(lines.at, used);

        if (!has_line(line, "Accept") && !has_line(line, "Content-Type"))
            mcp_append(kept_lines, line);
        lines.at += used;
        lines.length -= used;
    }
    return kept_lines;
}

int mcp_upstream_request_head(const struct mcp_config *config,
                              const struct mcp_upstream_request *request, struct bytes **headp)
{
    struct lines lines = {.count = 0};
    struct h1_out out = {.method = upstream_method(request), .lines = lines.at};
    struct bytes *target = NULL, *own = NULL, *head = NULL;
    int length, rc = upstream_target(config, request, &out.target, &target);

    if (rc < 0)
        return rc;
    rc = -ENOMEM;
    out.ready = request->head;
    if (request->is_own) {
        own = own_lines(request->head);
        if (own == NULL)
            goto out;
        out.ready = slice_of(own, 0, own->length);
    }
    add(&lines, "Host", slice_text(config->upstream_authority));
    add(&lines, "Accept-Encoding", slice_text("identity"));
    if (request->session.length > 0)
        add(&lines, "Mcp-Session-Id", request->session);
    if (request->last_event_id.length > 0)
        add(&lines, "Last-Event-ID", request->last_event_id);
    if (request->want == MESH_CALL && !has_line(out.ready, "Content-Type"))
        add(&lines, "Content-Type", slice_text("application/json"));
    if (request->is_own && request->want != MESH_PASS)
        add(&lines, "Accept",
            slice_text(request->want == MESH_LISTEN ? "text/event-stream"
                                                    : "application/json, text/event-stream"));
    out.lines_count = lines.count;
    out.framing = request->body_bytes > 0 || wants_length(out.method) ? H1_LENGTH : H1_NO_BODY;
    out.content_length = request->body_bytes;
    head = bytes_new(NULL, h1_head_room(&out));
    if (head == NULL)
        goto out;
    length = h1_write_request_head(head->data, head->capacity, &out);
    rc = length < 0 ? -EINVAL : 0;
    if (rc == 0) {
        head->length = (size_t)length;
        *headp = head;
        head = NULL;
    }
out:
    bytes_unref(head);
    bytes_unref(own);
    bytes_unref(target);
    return rc;
}
