/* mcp.c - a client's HTTP request as the core wants it: era, want, key, principal and the header
 * lines that travel, or an answer of our own where the mesh is the MCP server, or nothing could be
 * made of it. Who asks is told by mcp_principal.c, answers are worded in mcp_answer.c; framing,
 * Host and Origin were h1's and gate's. */
#include "http/mcp.h"

#include <errno.h>
#include <stdlib.h>

#include "http/mcp_inside.h"
#include "mesh/base/wide.h"

#define FIRST_MODERN "2026-07-28"
#define ID_MAX (16u << 10) /* bytes of a JSON-RPC id that is echoed */

/* ---- revisions and eras ------------------------------------------------------------------- */

/* All that a client of the legacy era may name; 2024-10-07 only TypeScript knows. */
static const char *const legacy_versions[] = {"2025-11-25", "2025-06-18", "2025-03-26",
                                              "2024-11-05", "2024-10-07"};

static bool is_legacy_version(struct slice version)
{
    for (size_t i = 0; i < sizeof legacy_versions / sizeof legacy_versions[0]; i++)
        if (slice_is(version, legacy_versions[i]))
            return true;
    return false;
}

/* A date, and not before the first without sessions. */
static bool is_modern_version(struct slice version)
{
    static const char form[] = "dddd-dd-dd";

    if (version.length != sizeof form - 1)
        return false;
    for (size_t i = 0; i < version.length; i++)
        if (form[i] == '-' ? version.at[i] != '-' : version.at[i] < '0' || version.at[i] > '9')
            return false;
    return memcmp(version.at, FIRST_MODERN, sizeof FIRST_MODERN - 1) >= 0;
}

enum mesh_era mcp_era(const struct rpc_message *rpc, struct slice body, struct slice version)
{
    bool is_claimed = rpc->meta_version.length > 0;

    switch (rpc->kind) {
    case RPC_BAD:
    case RPC_BATCH:
    case RPC_RESPONSE:
    case RPC_ERROR:
        return MESH_LEGACY;
    case RPC_REQUEST:
    case RPC_NOTIFICATION:
        break;
    }
    if (rpc->method == RPC_INITIALIZE && !is_modern_version(slice_part(body, rpc->meta_version)))
        return MESH_LEGACY;
    if (is_claimed || (version.length > 0 && !is_legacy_version(version)))
        return MESH_MODERN;
    return MESH_LEGACY;
}

/* ---- header values ------------------------------------------------------------------------ */

struct slice mcp_trim(struct slice s)
{
    while (s.length > 0 && (s.at[0] == ' ' || s.at[0] == '\t')) {
        s.at++;
        s.length--;
    }
    while (s.length > 0 && (s.at[s.length - 1] == ' ' || s.at[s.length - 1] == '\t'))
        s.length--;
    return s;
}

bool mcp_next_part(struct slice *rest, char mark, struct slice *part)
{
    const uint8_t *end;

    if (rest->at == NULL)
        return false;
    end = rest->length == 0 ? NULL : memchr(rest->at, mark, rest->length);
    *part = *rest;
    if (end == NULL) {
        *rest = slice_borrow(NULL, 0);
    } else {
        part->length = (size_t)(end - rest->at);
        rest->length -= part->length + 1;
        rest->at = end + 1;
    }
    *part = mcp_trim(*part);
    return true;
}

static bool is_weight_zero(struct slice value)
{
    if (value.length == 0 || value.at[0] != '0')
        return false;
    for (size_t i = 1; i < value.length; i++)
        if (value.at[i] != '0' && value.at[i] != '.')
            return false;
    return true;
}

/* Does Accept name `type`? With `by_range` a range like text/any or any/any will do. */
static bool accepts(const struct h1_head *head, const char *type, bool by_range)
{
    size_t major = (size_t)(strchr(type, '/') - type) + 1;

    for (size_t i = 0; i < head->headers_count; i++) {
        struct slice list = h1_value(head, i), range, media, param;

        if (head->headers[i].field != H1_FIELD_ACCEPT)
            continue;
        while (mcp_next_part(&list, ',', &range)) {
            bool is_refused = false, fits;

            if (!mcp_next_part(&range, ';', &media))
                continue;
            while (mcp_next_part(&range, ';', &param))
                if (param.length > 2 && (param.at[0] | 0x20) == 'q' && param.at[1] == '=')
                    is_refused = is_weight_zero(slice_borrow(param.at + 2, param.length - 2));
            fits = h1_is_name(media, type);
            if (by_range && !fits)
                fits = slice_is(media, "*/*") ||
                       (media.length == major + 1 && media.at[major] == '*' &&
                        h1_is_same_name(slice_borrow(media.at, major), slice_borrow(type, major)));
            if (fits && !is_refused)
                return true;
        }
    }
    return false;
}

/* application/json, in UTF-8 if it names a charset. */
static bool is_json_content(const struct h1_head *head)
{
    struct slice rest, media, param;

    if (!h1_field(head, H1_FIELD_CONTENT_TYPE, &rest) || !mcp_next_part(&rest, ';', &media) ||
        !h1_is_name(media, "application/json"))
        return false;
    while (mcp_next_part(&rest, ';', &param)) {
        if (param.length < 8 || !h1_is_name(slice_borrow(param.at, 8), "charset="))
            continue;
        param = slice_borrow(param.at + 8, param.length - 8);
        if (param.length >= 2 && param.at[0] == '"' && param.at[param.length - 1] == '"')
            param = slice_borrow(param.at + 1, param.length - 2);
        if (!h1_is_name(param, "utf-8") && !h1_is_name(param, "utf8"))
            return false;
    }
    return true;
}

/* Visible ASCII (MCP 2025-11-25, transports, session management). */
static bool is_session_text(struct slice s)
{
    if (s.length == 0 || s.length > MCP_SESSION_HEADER_MAX)
        return false;
    size_t i = 0;
    for (; s.length - i >= WIDE; i += WIDE)
        if (wide_unmarked((wide_load(s.at + i) - 0x21) > 0x7e - 0x21) < WIDE)
            return false;
    for (; i < s.length; i++)
        if ((uint8_t)(s.at[i] - 0x21) > 0x7e - 0x21)
            return false;
    return true;
}

/* ---- what is made of a request ------------------------------------------------------------ */

static const struct mcp_own no_refusal = {0};

static struct mcp_own refuse(int status, int code, const char *message)
{
    return (struct mcp_own){.status = status, .code = code, .message = message};
}

/* What both kinds of upstream need of a message in the legacy era. */
static struct mcp_own check_legacy(const struct mcp_input *input, struct slice version)
{
    const struct rpc_message *rpc = input->rpc;

    if (rpc->kind == RPC_BATCH) {
        if (rpc->batch_has_modern || rpc->batch_count == 0 || rpc->batch_count > MCP_BATCH_MAX)
            return refuse(400, RPC_INVALID_REQUEST, "Invalid Request: not a usable batch");
        if (version.length > 0 && !slice_is(version, "2025-03-26"))
            return refuse(400, RPC_INVALID_REQUEST,
                          "Invalid Request: only revision 2025-03-26 has batches");
    }
    if (rpc->method != RPC_INITIALIZE || rpc->kind == RPC_BATCH)
        return no_refusal;
    if (rpc->kind != RPC_REQUEST)
        return refuse(400, RPC_INVALID_REQUEST, "Invalid Request: initialize has an id");
    if (rpc->params.length > MCP_INITIALIZE_MAX)
        return refuse(400, RPC_INVALID_REQUEST, "Invalid Request: initialize is too large");
    if (is_modern_version(version))
        return refuse(400, MCP_HEADER_MISMATCH,
                      "Header mismatch: initialize is not of revision 2026-07-28");
    return no_refusal;
}

/* What an HTTP upstream would say itself: here the mesh is the server (mcp.md §2.2). */
static struct mcp_own check_as_server(const struct mcp_input *input)
{
    if (!accepts(input->head, "application/json", true) ||
        !accepts(input->head, "text/event-stream", true))
        return refuse(406, MCP_BAD_REQUEST,
                      "Not Acceptable: Client must accept both application/json and "
                      "text/event-stream");
    if (!is_json_content(input->head))
        return refuse(415, MCP_BAD_REQUEST,
                      "Unsupported Media Type: Content-Type must be application/json");
    return no_refusal;
}

static struct mcp_own check_modern_as_server(struct slice version, const struct rpc_message *rpc)
{
    /* Not -32020 ... -32022: on those a client of both eras would not fall back to initialize. */
    if (rpc->meta_version.length == 0 && !is_modern_version(version))
        return refuse(400, MCP_BAD_REQUEST,
                      "Bad Request: Unsupported protocol version (supported versions: 2025-11-25, "
                      "2025-06-18, 2025-03-26, 2024-11-05)");
    return refuse(400, MCP_BAD_REQUEST, "Bad Request: initialize required");
}

/* The session id, once it matters. */
static struct mcp_own take_key(const struct mcp_input *input, struct mesh_request *request)
{
    struct slice value;

    if (!h1_field(input->head, H1_FIELD_MCP_SESSION_ID, &value))
        return no_refusal;
    if (!input->head->notes.is_session_text && !is_session_text(value))
        return refuse(400, MCP_BAD_REQUEST, "Bad Request: Mcp-Session-Id is not visible ASCII");
    input->head->notes.is_session_text = true;
    request->key = (struct mesh_key){MESH_KEY_SESSION, value};
    return no_refusal;
}

static const char no_session_text[] = "Bad Request: Mcp-Session-Id header is required";

static struct mcp_own make_post(const struct mcp_config *config, const struct mcp_input *input,
                                struct mesh_request *request)
{
    const struct rpc_message *rpc = input->rpc;
    struct mcp_own own = no_refusal;
    struct slice version;

    request->want = MESH_CALL;
    h1_field(input->head, H1_FIELD_MCP_PROTOCOL_VERSION, &version);
    if (!config->http_upstream)
        own = check_as_server(input);
    if (own.status != 0)
        return own;
    if (rpc == NULL || (rpc->kind == RPC_BAD && rpc->fault != RPC_INVALID_REQUEST))
        return refuse(400, RPC_PARSE_ERROR, "Parse error");
    if (rpc->kind == RPC_BAD || rpc->id.length > ID_MAX)
        return refuse(400, RPC_INVALID_REQUEST, "Invalid Request");
    request->rpc = *rpc;
    request->era = mcp_era(rpc, input->body, version);
    if (request->era == MESH_MODERN)
        return config->http_upstream ? mcp_take_modern(config, input, request)
                                     : check_modern_as_server(version, rpc);
    own = check_legacy(input, version);
    if (own.status == 0)
        own = take_key(input, request);
    if (own.status == 0 && !config->http_upstream && request->key.kind == MESH_KEY_NONE &&
        rpc->method != RPC_INITIALIZE)
        own = refuse(400, MCP_BAD_REQUEST, no_session_text);
    return own;
}

/* GET and DELETE. Without a session id they are a stateless upstream's own matter. */
static struct mcp_own make_get_or_delete(const struct mcp_config *config,
                                         const struct mcp_input *input,
                                         struct mesh_request *request)
{
    bool is_get = input->head->method == H1_METHOD_GET;
    struct mcp_own own = take_key(input, request);
    struct slice version;

    if (own.status != 0)
        return own;
    if (request->key.kind == MESH_KEY_NONE && config->http_upstream) {
        request->want = MESH_PASS;
        return no_refusal;
    }
    request->want = is_get ? MESH_LISTEN : MESH_DELETE;
    if (request->key.kind == MESH_KEY_NONE && is_get)
        return (struct mcp_own){405, MCP_BAD_REQUEST, "Method not allowed without a session",
                                .allow = gate_allow(GATE_MCP)};
    if (request->key.kind == MESH_KEY_NONE)
        return refuse(400, MCP_BAD_REQUEST, no_session_text);
    if (is_get && !accepts(input->head, "text/event-stream", false))
        return refuse(406, MCP_BAD_REQUEST, "Not Acceptable: Client must accept text/event-stream");
    if (!config->http_upstream && h1_field(input->head, H1_FIELD_MCP_PROTOCOL_VERSION, &version) &&
        !is_legacy_version(version))
        return refuse(400, MCP_BAD_REQUEST, "Bad Request: Unsupported protocol version");
    if (is_get)
        h1_field(input->head, H1_FIELD_LAST_EVENT_ID, &request->last_event_id);
    return no_refusal;
}

/* A page asks before it sends what no form could; the answer is nobody's but ours. */
static struct mcp_own preflight(enum gate_route route)
{
    return (struct mcp_own){.status = 204, .allow = gate_allow(route), .is_preflight = true};
}

static struct mcp_own make_mcp(const struct mcp_config *config, const struct mcp_input *input,
                               struct mesh_request *request)
{
    switch (input->head->method) {
    case H1_METHOD_POST:
        return make_post(config, input, request);
    case H1_METHOD_GET:
    case H1_METHOD_DELETE:
        return make_get_or_delete(config, input, request);
    case H1_METHOD_OPTIONS:
        request->want = MESH_PASS;
        if (config->http_upstream)
            return no_refusal;
        return preflight(GATE_MCP);
    case H1_METHOD_HEAD:
    case H1_METHOD_PUT:
    case H1_METHOD_PATCH:
        break;
    }
    request->want = MESH_PASS;
    return (struct mcp_own){405, MCP_BAD_REQUEST, "Method not allowed",
                            .allow = gate_allow(GATE_MCP)};
}

/* ---- HTTP+SSE (MCP 2024-11-05, transports) ------------------------------------------------ */

/* The stream: a new session. Clients of Streamable HTTP take the 405 of a POST for "not a server of
 * 2024-11-05" (mcp.md §2.2). */
static struct mcp_own make_sse(const struct mcp_input *input, struct mesh_request *request)
{
    struct slice accept;

    if (input->head->method == H1_METHOD_OPTIONS)
        return preflight(GATE_SSE);
    if (input->head->method != H1_METHOD_GET)
        return (struct mcp_own){405, MCP_BAD_REQUEST, "Method not allowed",
                                .allow = gate_allow(GATE_SSE)};
    /* Clients of that time were never asked for it. */
    if (h1_field(input->head, H1_FIELD_ACCEPT, &accept) &&
        !accepts(input->head, "text/event-stream", true))
        return refuse(406, MCP_BAD_REQUEST, "Not Acceptable: Client must accept text/event-stream");
    request->want = MESH_SSE;
    request->front = MESH_FRONT_SSE;
    return no_refusal;
}

/* A client whose stream broke opens a new one and goes on as if nothing were; only this header
 * tells it from a first one (mcp.md §2.3). Its handshake goes along, as far as it is known. */
static int make_handshake(const struct mcp_input *input, struct mcp_made *made)
{
    static const char before[] =
        "{\"jsonrpc\":\"2.0\",\"id\":\"session-mesh-initialize\",\"method\":"
        "\"initialize\",\"params\":{\"protocolVersion\":\"";
    static const char after[] = "\",\"capabilities\":{},\"clientInfo\":{\"name\":\"session-mesh\","
                                "\"version\":\"" MESH_VERSION "\"}}}";
    struct mesh_request *request = &made->request;
    struct slice version;

    if (request->want != MESH_SSE ||
        !h1_field(input->head, H1_FIELD_MCP_PROTOCOL_VERSION, &version) ||
        !is_legacy_version(version))
        return 0;
    made->body = bytes_new(NULL, sizeof before + version.length + sizeof after);
    if (made->body == NULL)
        return -ENOMEM;
    mcp_append(made->body, slice_borrow(before, sizeof before - 1));
    mcp_append(made->body, version);
    mcp_append(made->body, slice_borrow(after, sizeof after - 1));
    request->body = slice_of(made->body, 0, made->body->length);
    rpc_read(&request->rpc, NULL, made->body->data, made->body->length);
    return 0;
}

/* The one sessionId of the query (row A18). An id that could be none is unknown at once: clients
 * hang on anything slower. */
static struct mcp_own take_query_key(const struct mcp_input *input, struct mesh_request *request)
{
    struct slice rest = input->pass->query, pair, id = {NULL, NULL, 0};
    size_t count = 0;

    if (rest.length == 0)
        rest = slice_borrow(NULL, 0);
    while (mcp_next_part(&rest, '&', &pair))
        if (pair.length >= 10 && memcmp(pair.at, "sessionId=", 10) == 0) {
            id = slice_borrow(pair.at + 10, pair.length - 10);
            count++;
        }
    if (count != 1 || !is_session_text(id) || memchr(id.at, '%', id.length) != NULL)
        return refuse(400, MCP_BAD_REQUEST, "Bad Request: one sessionId is required");
    request->key = (struct mesh_key){MESH_KEY_SESSION, id};
    return no_refusal;
}

/* A message. What it brings comes on the stream: the answer to the POST is 202. */
static struct mcp_own make_message(const struct mcp_input *input, struct mesh_request *request)
{
    const struct rpc_message *rpc = input->rpc;
    struct mcp_own own;

    if (input->head->method == H1_METHOD_OPTIONS)
        return preflight(GATE_MESSAGES);
    own = take_query_key(input, request);
    if (own.status != 0)
        return own;
    if (!is_json_content(input->head))
        return refuse(415, MCP_BAD_REQUEST,
                      "Unsupported Media Type: Content-Type must be application/json");
    if (rpc == NULL || (rpc->kind == RPC_BAD && rpc->fault != RPC_INVALID_REQUEST))
        return refuse(400, RPC_PARSE_ERROR, "Parse error");
    if (rpc->kind == RPC_BAD || rpc->kind == RPC_BATCH || rpc->id.length > ID_MAX ||
        (rpc->method == RPC_INITIALIZE && rpc->params.length > MCP_INITIALIZE_MAX))
        return refuse(400, RPC_INVALID_REQUEST, "Invalid Request");
    request->want = MESH_CALL;
    request->front = MESH_FRONT_SSE;
    request->rpc = *rpc;
    return no_refusal;
}

static struct mcp_own make_route(const struct mcp_config *config, const struct mcp_input *input,
                                 struct mesh_request *request)
{
    request->want = MESH_PASS;
    switch (input->pass->route) {
    case GATE_MCP:
        return make_mcp(config, input, request);
    case GATE_SSE:
        return make_sse(input, request);
    case GATE_MESSAGES:
        return make_message(input, request);
    case GATE_OTHER:
        break;
    }
    return config->passes_paths ? no_refusal : refuse(404, MCP_BAD_REQUEST, "Not found");
}

/* ---- the head that travels ---------------------------------------------------------------- */

/* A line that a proxy adds; none if there is nothing to say. */
static size_t forwarded_bytes(const char *name, struct slice value)
{
    return value.length > 0 ? strlen(name) + value.length + 4 : 0;
}

static void forwarded_append(struct bytes *head, const char *name, struct slice value)
{
    if (value.length > 0)
        mcp_append_line(head, slice_text(name), value);
}

static int make_head(const struct mcp_input *input, const struct mesh_request *request,
                     struct bytes **headp)
{
    static const char client[] = "X-Forwarded-For", host[] = "X-Forwarded-Host";
    static const char scheme[] = "X-Forwarded-Proto: http\r\n";
    /* Whoever speaks HTTP+SSE asks for neither: a Streamable HTTP server wants both. */
    static const char both[] = "Accept: application/json, text/event-stream\r\n";
    bool is_message = request->front == MESH_FRONT_SSE && request->want == MESH_CALL;
    /* The coding is ours to choose, the session id is ours and not the upstream's. */
    uint32_t without = h1_set(H1_FIELD_ACCEPT_ENCODING) | h1_set(H1_FIELD_MCP_SESSION_ID);
    struct slice authority;
    struct span noted_client;

    /* Event ids are the owner's: the upstream knows others, or none. */
    if (request->want != MESH_PASS)
        without |= h1_set(H1_FIELD_LAST_EVENT_ID);
    if (is_message)
        without |= h1_set(H1_FIELD_ACCEPT); /* which tells a message from the others, too */
    *headp = mcp_noted_lines(&input->head->notes, without, input->client);
    if (*headp != NULL)
        return 0;
    h1_field(input->head, H1_FIELD_HOST, &authority);
    *headp =
        mcp_copy_lines(input->head, without,
                       forwarded_bytes(client, input->client) + forwarded_bytes(host, authority) +
                           sizeof scheme - 1 + (is_message ? sizeof both - 1 : 0));
    if (*headp == NULL)
        return -ENOMEM;
    noted_client = (struct span){(uint32_t)((*headp)->length + sizeof client - 1 + 2),
                                 (uint32_t)input->client.length};
    forwarded_append(*headp, client, input->client);
    forwarded_append(*headp, host, authority);
    mcp_append(*headp, slice_borrow(scheme, sizeof scheme - 1));
    if (is_message)
        mcp_append(*headp, slice_borrow(both, sizeof both - 1));
    mcp_note_lines(&input->head->notes, without, noted_client, *headp);
    return 0;
}

static void take_who(const struct mcp_config *config, struct h1_head *head,
                     struct mesh_request *request)
{
    const struct mcp_who_key *key = mcp_who_key(config, request);
    struct h1_notes *notes = &head->notes;

    if (!notes->knows_who || notes->who_key != key->id) {
        notes->who = mcp_principal(config, key, head);
        notes->token = mcp_token(key, head);
        notes->who_key = key->id;
        notes->knows_who = true;
    }
    request->who_key = key->id;
    request->who = notes->who;
    request->token = notes->token;
}

/* ---- all together ------------------------------------------------------------------------- */

/* Id and Origin outlive the request's buffers: they are copied, being small. */
static int make_exchange(const struct mcp_input *input, const struct mesh_request *request,
                         struct mcp_exchange *exchange)
{
    const struct rpc_message *rpc = input->rpc;
    struct slice id = {NULL, NULL, 0}, origin;
    uint8_t *to = exchange->few;

    exchange->want = request->want;
    exchange->era = request->era;
    exchange->is_head = input->head->method == H1_METHOD_HEAD;
    exchange->is_http10 = input->head->version_minor == 0;
    exchange->close = !input->head->keep_alive;
    h1_field(input->head, H1_FIELD_ORIGIN, &origin);
    /* on a POST of HTTP+SSE a client reads the status alone */
    if (rpc != NULL && rpc->kind == RPC_REQUEST && rpc->id.length <= ID_MAX &&
        request->front == MESH_FRONT_HTTP) {
        exchange->is_request = true;
        id = slice_part(input->body, rpc->id);
    }
    if (id.length + origin.length > sizeof exchange->few) {
        exchange->kept = bytes_new(NULL, id.length + origin.length);
        if (exchange->kept == NULL)
            return -ENOMEM;
        exchange->kept->length = id.length + origin.length;
        to = exchange->kept->data;
    }
    exchange->id = (struct span){0, (uint32_t)id.length};
    exchange->origin = (struct span){(uint32_t)id.length, (uint32_t)origin.length};
    if (id.length > 0)
        memcpy(to, id.at, id.length);
    if (origin.length > 0)
        memcpy(to + id.length, origin.at, origin.length);
    return 0;
}

/* The target in origin form, whatever form it came in. */
static struct slice origin_form(const struct gate_pass *pass)
{
    struct slice target = pass->path;

    if (pass->query.length > 0)
        target.length = (size_t)(pass->query.at + pass->query.length - pass->path.at);
    return target;
}

int mcp_request_make(const struct mcp_config *config, const struct mcp_input *input,
                     struct mcp_made *made)
{
    struct mesh_request *request = &made->request;
    struct mcp_own own;
    int rc;

    memset(made, 0, sizeof *made);
    own = make_route(config, input, request);
    rc = make_exchange(input, request, &made->exchange);
    if (rc < 0)
        goto fail;
    if (own.status != 0) {
        if (own.is_preflight)
            h1_header(input->head, "Access-Control-Request-Headers", &own.asked_headers);
        made->status = own.status;
        rc = mcp_write_own(&made->exchange, &own, &made->answer);
        if (rc < 0)
            goto fail;
        return 0;
    }
    rc = make_head(input, request, &made->head);
    if (rc < 0)
        goto fail;
    if (request->want != MESH_PASS && request->era == MESH_LEGACY)
        take_who(config, input->head, request);
    request->method = slice_part(input->head->text, input->head->method_text);
    request->target = origin_form(input->pass);
    if (request->front == MESH_FRONT_SSE)
        request->target = input->pass->path; /* the query is the session's id, and ours */
    request->head = slice_of(made->head, 0, made->head->length);
    request->body = input->body;
    rc = make_handshake(input, made);
    if (rc < 0)
        goto fail;
    return 0;
fail:
    mcp_made_deinit(made);
    return rc;
}

void mcp_exchange_deinit(struct mcp_exchange *exchange)
{
    bytes_unref(exchange->kept);
    memset(exchange, 0, sizeof *exchange);
}

void mcp_made_deinit(struct mcp_made *made)
{
    mcp_exchange_deinit(&made->exchange);
    bytes_unref(made->head);
    bytes_unref(made->body);
    bytes_unref(made->answer);
    made->head = made->body = made->answer = NULL;
}
