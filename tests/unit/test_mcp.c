/* test_mcp.c - what http/mcp makes of requests, and how it words answers. Requests are real ones,
 * through h1 and gate; answers are read back with h1. Rows are those of bad-inputs.md. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http/mcp.h"

#define ID "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg"
#define BOTH "Accept: application/json, text/event-stream\r\n"
#define JSON "Content-Type: application/json\r\n"
#define SESSION "Mcp-Session-Id: " ID "\r\n"
#define INITIALIZE                                                                                 \
    "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\",\"params\":{\"protocolVersion\":"     \
    "\"2025-11-25\",\"capabilities\":{},\"clientInfo\":{\"name\":\"t\",\"version\":\"1\"}}}"
#define LIST "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"tools/list\"}"
#define INITIALIZED "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}"
#define DISCOVER                                                                                   \
    "{\"jsonrpc\":\"2.0\",\"id\":\"d\",\"method\":\"server/discover\",\"params\":{\"_meta\":{"     \
    "\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\"}}}"

#define TASK_OF(id)                                                                                \
    "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"tasks/get\",\"params\":{\"taskId\":\"" id "\","    \
    "\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\"}}}"

enum upstream { OWN = 1, HTTP = 2, EITHER = 3 };
#define PASSES 0 /* the request goes on to the core */

/* One request on its way, and what was made of it. */
struct fixture {
    struct h1 h1;
    struct gate_pass pass;
    struct rpc_message rpc;
    struct mcp_config config;
    struct mcp_made made;
};

static struct mcp_config config_of(bool http_upstream)
{
    struct mcp_config config = {.http_upstream = http_upstream,
                                .passes_paths = http_upstream,
                                .mcp_path = "/mcp",
                                .upstream_path = "/srv/mcp",
                                .upstream_authority = "127.0.0.1:3000",
                                .bind = MCP_BIND_AUTO};

    memset(config.who_keys[0].hash_keys[0], 1, 16);
    memset(config.who_keys[0].hash_keys[1], 2, 16);
    config.who_keys_count = 1;
    return config;
}

static void feed(struct h1 *h1, const char *text, size_t length)
{
    enum h1_event event;
    size_t used;

    do {
        event = h1_feed(h1, (const uint8_t *)text, length, &used);
        text += used;
        length -= used;
        assert_int_not_equal(event, H1_ERROR);
    } while (event != H1_END && event != H1_MORE);
    assert_int_equal(event, H1_END);
    assert_int_equal(length, 0);
}

/* Of a head that comes again nothing else is made, though most of it was noted the first time. */
static void make_again(struct fixture *f, const struct gate_config *gate,
                       const struct mcp_input *input)
{
    const struct mesh_request *first = &f->made.request, *second;
    struct gate_pass pass;
    struct mcp_made made;

    assert_int_equal(gate_check(gate, f->h1.head, &pass), GATE_PASS);
    assert_int_equal(pass.route, f->pass.route);
    assert_true(slice_equal(pass.path, f->pass.path));
    assert_true(slice_equal(pass.query, f->pass.query));
    assert_int_equal(mcp_request_make(&f->config, input, &made), 0);
    second = &made.request;
    assert_true(slice_equal(second->head, first->head));
    assert_true(principal_equal(&second->who, &first->who));
    assert_true(principal_equal(&second->token, &first->token));
    assert_int_equal(made.status, f->made.status);
    mcp_made_deinit(&made);
}

static void open_request(struct fixture *f, const struct mcp_config *config, const char *line,
                         const char *lines, const char *body)
{
    static const char *const origins[] = {"http://ok.example"};
    static const struct gate_config gate = {.mcp_path = "/mcp",
                                            .sse_path = "/sse",
                                            .messages_path = "/messages",
                                            .origins = origins,
                                            .origins_count = 1};
    struct h1_limits limits = h1_limits_default(H1_REQUESTS);
    size_t room = strlen(line) + strlen(lines) + strlen(body) + 128;
    char *text = malloc(room);
    enum gate_verdict verdict;
    struct mcp_input input;
    int length;

    memset(f, 0, sizeof *f);
    f->config = *config;
    limits.collect = true;
    assert_non_null(text);
    length = snprintf(text, room, "%s\r\nHost: mesh.example:8080\r\n%s", line, lines);
    if (strncmp(line, "POST", 4) == 0)
        length +=
            snprintf(text + length, room - (size_t)length, "Content-Length: %zu\r\n", strlen(body));
    length += snprintf(text + length, room - (size_t)length, "\r\n%s", body);
    h1_init(&f->h1, H1_REQUESTS, &limits, NULL);
    feed(&f->h1, text, (size_t)length);
    free(text);
    verdict = gate_check(&gate, f->h1.head, &f->pass);
    input = (struct mcp_input){.head = f->h1.head,
                               .pass = &f->pass,
                               .body = h1_body(&f->h1),
                               .client = slice_text("192.0.2.7")};
    if (strncmp(line, "POST", 4) == 0) {
        rpc_read(&f->rpc, NULL, body, strlen(body));
        input.rpc = &f->rpc;
    }
    assert_int_equal(mcp_request_make(&f->config, &input, &f->made), 0);
    assert_int_equal(f->made.answer == NULL, f->made.status == 0);
    if (verdict == GATE_PASS)
        make_again(f, &gate, &input);
}

static void close_request(struct fixture *f)
{
    mcp_made_deinit(&f->made);
    h1_deinit(&f->h1);
}

/* Reads an answer back as a client would; the whole of it must be one message. */
struct reply {
    struct h1 h1;
    char body[4096];
};

static void open_reply(struct reply *reply, const struct bytes *answer, enum h1_method method)
{
    struct h1_limits limits = h1_limits_default(H1_RESPONSES);
    struct slice body;

    limits.collect = true;
    assert_non_null(answer);
    h1_init(&reply->h1, H1_RESPONSES, &limits, NULL);
    h1_expect_response(&reply->h1, method);
    feed(&reply->h1, (const char *)answer->data, answer->length);
    body = h1_body(&reply->h1);
    assert_true(body.length < sizeof reply->body);
    memset(reply->body, 0, sizeof reply->body);
    if (body.length > 0)
        memcpy(reply->body, body.at, body.length);
}

static void assert_header(const struct reply *reply, const char *name, const char *value)
{
    struct slice found;

    assert_int_equal(h1_header(reply->h1.head, name, &found), value != NULL);
    if (value == NULL)
        return;
    if (!slice_is(found, value))
        fail_msg("%s: %.*s instead of %s", name, (int)found.length, (const char *)found.at, value);
}

/* ---- what becomes of a request -------------------------------------------------------------- */

struct row {
    const char *what;
    int upstream;
    const char *line, *lines, *body;
    int status, code; /* status PASSES: want and era are looked at */
    enum mesh_want want;
    enum mesh_era era;
};

#define POST "POST /mcp HTTP/1.1"
#define GET "GET /mcp HTTP/1.1"
#define DELETE "DELETE /mcp HTTP/1.1"
#define SSE "GET /sse HTTP/1.1"
#define MESSAGES(query) "POST /messages" query " HTTP/1.1"
#define STREAM "Accept: text/event-stream\r\n"

static const struct row rows[] = {
    {"initialize", EITHER, POST, BOTH JSON, INITIALIZE, PASSES, 0, MESH_CALL, MESH_LEGACY},
    {"A9 initialize with an id", EITHER, POST, BOTH JSON SESSION, INITIALIZE, PASSES, 0, MESH_CALL,
     MESH_LEGACY},
    {"a request with an id", EITHER, POST, BOTH JSON SESSION, LIST, PASSES, 0, MESH_CALL,
     MESH_LEGACY},
    {"a notification with an id", EITHER, POST, BOTH JSON SESSION, INITIALIZED, PASSES, 0,
     MESH_CALL, MESH_LEGACY},
    {"an answer to a question", EITHER, POST, BOTH JSON SESSION,
     "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}", PASSES, 0, MESH_CALL, MESH_LEGACY},
    /* A1 */
    {"A1 no id, stateless upstream", HTTP, POST, BOTH JSON, LIST, PASSES, 0, MESH_CALL,
     MESH_LEGACY},
    {"A1 no id, own server", OWN, POST, BOTH JSON, LIST, 400, -32000, 0, 0},
    {"A1 no id, own server, notification", OWN, POST, BOTH JSON, INITIALIZED, 400, -32000, 0, 0},
    {"A1 GET without id, own server", OWN, GET, STREAM, "", 405, -32000, 0, 0},
    {"A1 GET without id, HTTP upstream", HTTP, GET, STREAM, "", PASSES, 0, MESH_PASS, MESH_LEGACY},
    {"A1 DELETE without id, own server", OWN, DELETE, "", "", 400, -32000, 0, 0},
    {"A1 DELETE without id, HTTP upstream", HTTP, DELETE, "", "", PASSES, 0, MESH_PASS,
     MESH_LEGACY},
    /* A6 */
    {"A6 an empty id", EITHER, POST, BOTH JSON "Mcp-Session-Id:\r\n", LIST, 400, -32000, 0, 0},
    {"A6 an id with a blank", EITHER, GET, STREAM "Mcp-Session-Id: a b\r\n", "", 400, -32000, 0, 0},
    {"A6 an id with byte 0x80", EITHER, DELETE, "Mcp-Session-Id: a\x80\r\n", "", 400, -32000, 0, 0},
    {"A6 any other text is the core's to refuse", EITHER, GET, STREAM "Mcp-Session-Id: ..%\r\n", "",
     PASSES, 0, MESH_LISTEN, MESH_LEGACY},
    /* A14 */
    {"A14 a legacy version", EITHER, POST, BOTH JSON SESSION "MCP-Protocol-Version: 2025-06-18\r\n",
     LIST, PASSES, 0, MESH_CALL, MESH_LEGACY},
    {"A14 an unknown version", HTTP, POST, BOTH JSON SESSION "MCP-Protocol-Version: 1999-01-01\r\n",
     LIST, PASSES, 0, MESH_CALL, MESH_MODERN},
    {"A14 an unknown version, own server", OWN, POST,
     BOTH JSON SESSION "MCP-Protocol-Version: 1999-01-01\r\n", LIST, 400, -32000, 0, 0},
    {"A14 2026-07-28", HTTP, POST, BOTH JSON SESSION "MCP-Protocol-Version: 2026-07-28\r\n", LIST,
     PASSES, 0, MESH_CALL, MESH_MODERN},
    {"A14 2026-07-28, own server", OWN, POST, BOTH JSON "MCP-Protocol-Version: 2026-07-28\r\n",
     DISCOVER, 400, -32000, 0, 0},
    {"A14 2026-07-28 on initialize", EITHER, POST, BOTH JSON "MCP-Protocol-Version: 2026-07-28\r\n",
     INITIALIZE, 400, -32020, 0, 0},
    {"A14 an unknown version on GET, own server", OWN, GET,
     STREAM SESSION "MCP-Protocol-Version: 1999-01-01\r\n", "", 400, -32000, 0, 0},
    {"era: a claim in _meta", HTTP, POST, BOTH JSON, DISCOVER, PASSES, 0, MESH_CALL, MESH_MODERN},
    {"era: any claim in _meta", HTTP, POST, BOTH JSON,
     "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\",\"params\":{\"_meta\":{"
     "\"io.modelcontextprotocol/protocolVersion\":\"2025-06-18\"}}}",
     PASSES, 0, MESH_CALL, MESH_MODERN},
    {"era: initialize with an old claim", HTTP, POST, BOTH JSON,
     "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{\"_meta\":{"
     "\"io.modelcontextprotocol/protocolVersion\":\"2025-06-18\"}}}",
     PASSES, 0, MESH_CALL, MESH_LEGACY},
    {"era: initialize with a modern claim", HTTP, POST, BOTH JSON,
     "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{\"_meta\":{"
     "\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\"}}}",
     PASSES, 0, MESH_CALL, MESH_MODERN},
    {"era: an answer is legacy whatever its header says", HTTP, POST,
     BOTH JSON SESSION "MCP-Protocol-Version: 2026-07-28\r\n",
     "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}", PASSES, 0, MESH_CALL, MESH_LEGACY},
    /* A12 is a test of its own; A15 */
    {"A15 no Accept", HTTP, POST, JSON SESSION, LIST, PASSES, 0, MESH_CALL, MESH_LEGACY},
    {"A15 no Accept, own server", OWN, POST, JSON SESSION, LIST, 406, -32000, 0, 0},
    {"A15 half an Accept, own server", OWN, POST, "Accept: application/json\r\n" JSON SESSION, LIST,
     406, -32000, 0, 0},
    {"A15 q=0, own server", OWN, POST,
     "Accept: application/json, text/event-stream;q=0.0\r\n" JSON SESSION, LIST, 406, -32000, 0, 0},
    {"A15 any type, own server", OWN, POST, "Accept: */*\r\n" JSON SESSION, LIST, PASSES, 0,
     MESH_CALL, MESH_LEGACY},
    {"A15 two Accept lines, own server", OWN, POST,
     "Accept: text/*;q=0.5\r\nAccept: application/JSON;v=1\r\n" JSON SESSION, LIST, PASSES, 0,
     MESH_CALL, MESH_LEGACY},
    {"A15 GET without Accept", EITHER, GET, SESSION, "", 406, -32000, 0, 0},
    {"A15 GET of any type", EITHER, GET, "Accept: */*\r\n" SESSION, "", 406, -32000, 0, 0},
    {"A15 GET with q=0", EITHER, GET, "Accept: text/event-stream; q=0\r\n" SESSION, "", 406, -32000,
     0, 0},
    {"GET with an id", EITHER, GET, STREAM SESSION, "", PASSES, 0, MESH_LISTEN, MESH_LEGACY},
    {"DELETE with an id", EITHER, DELETE, SESSION, "", PASSES, 0, MESH_DELETE, MESH_LEGACY},
    /* A16 */
    {"A16 text/plain", HTTP, POST, BOTH SESSION "Content-Type: text/plain\r\n", LIST, PASSES, 0,
     MESH_CALL, MESH_LEGACY},
    {"A16 text/plain, own server", OWN, POST, BOTH SESSION "Content-Type: text/plain\r\n", LIST,
     415, -32000, 0, 0},
    {"A16 missing, own server", OWN, POST, BOTH SESSION, LIST, 415, -32000, 0, 0},
    {"A16 odd charset, own server", OWN, POST,
     BOTH SESSION "Content-Type: application/json; charset=utf-16\r\n", LIST, 415, -32000, 0, 0},
    {"A16 UTF-8, own server", OWN, POST,
     BOTH SESSION "Content-Type: application/json; charset=\"UTF-8\"\r\n", LIST, PASSES, 0,
     MESH_CALL, MESH_LEGACY},
    /* A17: the mesh routes on the task's id */
    {"A17 the task's name", HTTP, POST, BOTH JSON "Mcp-Name: t-1\r\n", TASK_OF("t-1"), PASSES, 0,
     MESH_CALL, MESH_MODERN},
    {"A17 the task's name, written otherwise", HTTP, POST, BOTH JSON "Mcp-Name: t/1\r\n",
     TASK_OF("t\\/\\u0031"), PASSES, 0, MESH_CALL, MESH_MODERN},
    {"A17 another task's name", HTTP, POST, BOTH JSON "Mcp-Name: t-2\r\n", TASK_OF("t-1"), 400,
     -32020, 0, 0},
    {"A17 no name is the upstream's to refuse", HTTP, POST, BOTH JSON, TASK_OF("t-1"), PASSES, 0,
     MESH_CALL, MESH_MODERN},
    {"A17 base64", HTTP, POST, BOTH JSON "Mcp-Name: =?base64?dMOpMQ==?=\r\n", TASK_OF("t\\u00e91"),
     PASSES, 0, MESH_CALL, MESH_MODERN},
    {"A17 base64 of another", HTTP, POST, BOTH JSON "Mcp-Name: =?base64?dC0y?=\r\n", TASK_OF("t-1"),
     400, -32020, 0, 0},
    {"A17 base64 without its padding", HTTP, POST, BOTH JSON "Mcp-Name: =?base64?dMOpMQ?=\r\n",
     TASK_OF("t\\u00e91"), 400, -32020, 0, 0},
    {"A17 base64 with unused bits", HTTP, POST, BOTH JSON "Mcp-Name: =?base64?dMOpMR==?=\r\n",
     TASK_OF("t\\u00e91"), 400, -32020, 0, 0},
    {"A17 no base64", HTTP, POST, BOTH JSON "Mcp-Name: =?base64?t-1?=\r\n", TASK_OF("t-1"), 400,
     -32020, 0, 0},
    {"A17 base64 without an end is a name", HTTP, POST, BOTH JSON "Mcp-Name: =?base64?x\r\n",
     TASK_OF("=?base64?x"), PASSES, 0, MESH_CALL, MESH_MODERN},
    {"A17 a legacy task stays in its session", HTTP, POST, BOTH JSON SESSION "Mcp-Name: t-2\r\n",
     "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"tasks/get\",\"params\":{\"taskId\":\"t-1\"}}",
     PASSES, 0, MESH_CALL, MESH_LEGACY},
    {"A17 a tool's name is the upstream's to check", HTTP, POST, BOTH JSON "Mcp-Name: y\r\n",
     "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/"
     "call\",\"params\":{\"name\":\"x\",\"_meta\":{"
     "\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\"}}}",
     PASSES, 0, MESH_CALL, MESH_MODERN},
    /* A18 */
    {"A18 no sessionId", EITHER, "POST /messages HTTP/1.1", JSON, LIST, 400, -32000, 0, 0},
    {"A18 two", EITHER, "POST /messages?sessionId=a&sessionId=b HTTP/1.1", JSON, LIST, 400, -32000,
     0, 0},
    {"A18 line ends", EITHER, "POST /messages?sessionId=a%0d%0ab HTTP/1.1", JSON, LIST, 400, -32000,
     0, 0},
    {"A18 an empty one", EITHER, "POST /messages?sessionId= HTTP/1.1", JSON, LIST, 400, -32000, 0,
     0},
    {"A18 written in percents", EITHER, "POST /messages?sessionId=%41BC HTTP/1.1", JSON, LIST, 400,
     -32000, 0, 0},
    {"A18 another name", EITHER, "POST /messages?xsessionId=" ID " HTTP/1.1", JSON, LIST, 400,
     -32000, 0, 0},
    {"A18 in the header alone", EITHER, "POST /messages HTTP/1.1", JSON SESSION, LIST, 400, -32000,
     0, 0},
    {"A18 not ours is the core's to refuse", EITHER, MESSAGES("?x=1&sessionId=abc"), JSON, LIST,
     PASSES, 0, MESH_CALL, MESH_LEGACY},
    /* HTTP+SSE: whoever speaks it names no types that it accepts */
    {"a message", EITHER, MESSAGES("?sessionId=" ID), JSON, LIST, PASSES, 0, MESH_CALL,
     MESH_LEGACY},
    {"initialize as a message", EITHER, MESSAGES("?sessionId=" ID), JSON, INITIALIZE, PASSES, 0,
     MESH_CALL, MESH_LEGACY},
    {"an answer as a message", EITHER, MESSAGES("?sessionId=" ID "&x=1"), JSON,
     "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}", PASSES, 0, MESH_CALL, MESH_LEGACY},
    {"a message of any revision", EITHER, MESSAGES("?sessionId=" ID),
     JSON "MCP-Protocol-Version: 2025-06-18\r\n", LIST, PASSES, 0, MESH_CALL, MESH_LEGACY},
    {"a message in UTF-8", EITHER, MESSAGES("?sessionId=" ID),
     "Content-Type: application/json; charset=utf-8\r\n", LIST, PASSES, 0, MESH_CALL, MESH_LEGACY},
    {"a message of another type", EITHER, MESSAGES("?sessionId=" ID),
     "Content-Type: text/plain\r\n", LIST, 415, -32000, 0, 0},
    {"a message of no type", EITHER, MESSAGES("?sessionId=" ID), "", LIST, 415, -32000, 0, 0},
    {"a batch as a message", EITHER, MESSAGES("?sessionId=" ID), JSON, "[" LIST "]", 400, -32600, 0,
     0},
    {"half a message", EITHER, MESSAGES("?sessionId=" ID), JSON, "{\"jsonrpc\"", 400, -32700, 0, 0},
    {"a message that is none", EITHER, MESSAGES("?sessionId=" ID), JSON, "{}", 400, -32600, 0, 0},
    {"the legacy stream", EITHER, SSE, STREAM, "", PASSES, 0, MESH_SSE, MESH_LEGACY},
    {"the legacy stream, any type", EITHER, SSE, "Accept: */*\r\n", "", PASSES, 0, MESH_SSE,
     MESH_LEGACY},
    {"the legacy stream, opened again", EITHER, SSE,
     STREAM "MCP-Protocol-Version: 2025-06-18\r\nLast-Event-ID: 3-1-2\r\n", "", PASSES, 0, MESH_SSE,
     MESH_LEGACY},
    {"the legacy stream, no Accept", EITHER, SSE, "", "", PASSES, 0, MESH_SSE, MESH_LEGACY},
    {"the legacy stream, JSON wanted", EITHER, SSE, "Accept: application/json\r\n", "", 406, -32000,
     0, 0},
    {"POST to the legacy stream", EITHER, "POST /sse HTTP/1.1", BOTH JSON, INITIALIZE, 405, -32000,
     0, 0},
    {"DELETE of the legacy stream", EITHER, "DELETE /sse HTTP/1.1", SESSION, "", 405, -32000, 0, 0},
    /* J1, J2 */
    {"J1 nothing", EITHER, POST, BOTH JSON SESSION, "", 400, -32700, 0, 0},
    {"J1 an empty object", EITHER, POST, BOTH JSON SESSION, "{}", 400, -32600, 0, 0},
    {"J1 null", EITHER, POST, BOTH JSON SESSION, "null", 400, -32600, 0, 0},
    {"J1 a string", EITHER, POST, BOTH JSON SESSION, "\"x\"", 400, -32600, 0, 0},
    {"J1 an empty array", EITHER, POST, BOTH JSON SESSION, "[]", 400, -32600, 0, 0},
    {"J1 an array in an array", EITHER, POST, BOTH JSON SESSION, "[[]]", 400, -32600, 0, 0},
    {"J2 cut", EITHER, POST, BOTH JSON SESSION, "{\"jsonrpc\":\"2.0\",\"id\"", 400, -32700, 0, 0},
    {"J2 two objects", EITHER, POST, BOTH JSON SESSION, LIST LIST, 400, -32700, 0, 0},
    /* J3 */
    {"J3 a batch", HTTP, POST, BOTH JSON SESSION, "[" LIST "," INITIALIZED "]", PASSES, 0,
     MESH_CALL, MESH_LEGACY},
    {"J3 a batch of 2025-03-26", HTTP, POST,
     BOTH JSON SESSION "MCP-Protocol-Version: 2025-03-26\r\n", "[" LIST "]", PASSES, 0, MESH_CALL,
     MESH_LEGACY},
    {"J3 a batch of 2025-06-18", HTTP, POST,
     BOTH JSON SESSION "MCP-Protocol-Version: 2025-06-18\r\n", "[" LIST "]", 400, -32600, 0, 0},
    {"J3 a batch, own server", OWN, POST, BOTH JSON SESSION, "[" LIST "]", PASSES, 0, MESH_CALL,
     MESH_LEGACY},
    {"J3 a batch with a modern entry", EITHER, POST, BOTH JSON, "[" DISCOVER "]", 400, -32600, 0,
     0},
    /* methods and paths */
    {"PUT", EITHER, "PUT /mcp HTTP/1.1", SESSION, "", 405, -32000, 0, 0},
    {"HEAD", EITHER, "HEAD /mcp HTTP/1.1", SESSION, "", 405, 0, 0, 0},
    {"OPTIONS", HTTP, "OPTIONS /mcp HTTP/1.1", "", "", PASSES, 0, MESH_PASS, MESH_LEGACY},
    {"OPTIONS, own server", OWN, "OPTIONS /mcp HTTP/1.1", "", "", 204, 0, 0, 0},
    {"OPTIONS of the legacy stream", EITHER, "OPTIONS /sse HTTP/1.1", "", "", 204, 0, 0, 0},
    {"OPTIONS of a message", EITHER, "OPTIONS /messages?sessionId=" ID " HTTP/1.1", "", "", 204, 0,
     0, 0},
    {"another path", HTTP, "GET /.well-known/oauth-protected-resource HTTP/1.1", "", "", PASSES, 0,
     MESH_PASS, MESH_LEGACY},
    {"another path, own server", OWN, "GET /.well-known/oauth-protected-resource HTTP/1.1", "", "",
     404, -32000, 0, 0},
    {"initialize without an id", EITHER, POST, BOTH JSON,
     "{\"jsonrpc\":\"2.0\",\"method\":\"initialize\",\"params\":{}}", 400, -32600, 0, 0},
};

/* HTTP+SSE has paths of its own. */
static enum mesh_front front_of(const struct row *row)
{
    bool is_old = strstr(row->line, " /sse") != NULL || strstr(row->line, " /messages") != NULL;

    return is_old ? MESH_FRONT_SSE : MESH_FRONT_HTTP;
}

static void check_row(const struct row *row, bool http_upstream)
{
    struct mcp_config config = config_of(http_upstream);
    struct fixture f;
    struct reply reply;
    char code[32];

    open_request(&f, &config, row->line, row->lines, row->body);
    if (f.made.status != row->status)
        fail_msg("%s (%s): %d instead of %d", row->what, http_upstream ? "http" : "own",
                 f.made.status, row->status);
    if (row->status == PASSES) {
        if (f.made.request.want != row->want || f.made.request.era != row->era ||
            f.made.request.front != front_of(row))
            fail_msg("%s: want %d, era %d, front %d", row->what, f.made.request.want,
                     f.made.request.era, f.made.request.front);
        close_request(&f);
        return;
    }
    open_reply(&reply, f.made.answer, f.h1.head->method);
    assert_int_equal(reply.h1.head->status, row->status);
    snprintf(code, sizeof code, "\"code\":%d,", row->code);
    if (row->code != 0 && strstr(reply.body, code) == NULL)
        fail_msg("%s: no %s in %s", row->what, code, reply.body);
    if (row->status == 405)
        assert_header(&reply, "Allow", gate_allow(f.pass.route));
    h1_deinit(&reply.h1);
    close_request(&f);
}

static void test_mcp_every_row_gets_its_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].upstream & OWN)
            check_row(&rows[i], false);
        if (rows[i].upstream & HTTP)
            check_row(&rows[i], true);
    }
}

static void test_mcp_initialize_over_64_KiB_makes_no_session(void **state)
{
    struct mcp_config config = config_of(true);
    size_t pad = MCP_INITIALIZE_MAX;
    char *body = malloc(pad + 256);

    (void)state;
    assert_non_null(body);
    for (int over = 0; over < 2; over++) {
        static const char open[] = "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\","
                                   "\"params\":{\"a\":\"";
        struct fixture f;

        pad = MCP_INITIALIZE_MAX - strlen("{\"a\":\"\"}") + (size_t)over;
        memcpy(body, open, sizeof open - 1);
        memset(body + sizeof open - 1, 'x', pad);
        memcpy(body + sizeof open - 1 + pad, "\"}}", 4);
        open_request(&f, &config, POST, BOTH JSON, body);
        assert_int_equal(f.made.status, over ? 400 : 0);
        close_request(&f);
    }
    free(body);
}

static void test_mcp_a_batch_has_at_most_100_entries(void **state)
{
    struct mcp_config config = config_of(true);
    char body[101 * (sizeof INITIALIZED + 1) + 3];

    (void)state;
    for (int count = 100; count <= 101; count++) {
        struct fixture f;
        size_t length = 0;

        for (int i = 0; i < count; i++)
            length += (size_t)snprintf(body + length, sizeof body - length, "%s" INITIALIZED,
                                       i == 0 ? "[" : ",");
        snprintf(body + length, sizeof body - length, "]");
        open_request(&f, &config, POST, BOTH JSON SESSION, body);
        assert_int_equal(f.made.status, count == 100 ? 0 : 400);
        close_request(&f);
    }
}

static void test_mcp_the_session_id_of_a_modern_request_is_not_looked_at(void **state)
{
    struct mcp_config config = config_of(true);
    struct fixture f;

    (void)state;
    open_request(&f, &config, POST, BOTH JSON "Mcp-Session-Id: a b\r\n", DISCOVER);
    assert_int_equal(f.made.status, 0);
    assert_int_equal(f.made.request.key.kind, MESH_KEY_NONE);
    close_request(&f);
    open_request(&f, &config, POST, BOTH JSON SESSION, INITIALIZE);
    assert_int_equal(f.made.request.key.kind, MESH_KEY_SESSION);
    assert_true(slice_is(f.made.request.key.text, ID));
    close_request(&f);
}

static void test_mcp_a_handle_is_taken_from_the_header_that_the_operator_named(void **state)
{
    struct mcp_config config = config_of(true);
    struct fixture f;

    (void)state;
    open_request(&f, &config, POST, BOTH JSON "Mcp-Param-Doc: 7\r\n", DISCOVER);
    assert_int_equal(f.made.request.key.kind, MESH_KEY_NONE);
    close_request(&f);
    config.affinity_header = "Mcp-Param-Doc";
    open_request(&f, &config, POST, BOTH JSON SESSION "mcp-param-doc: 7\r\n", DISCOVER);
    assert_int_equal(f.made.request.key.kind, MESH_KEY_HANDLE);
    assert_true(slice_is(f.made.request.key.text, "7"));
    close_request(&f);
    open_request(&f, &config, POST, BOTH JSON "Mcp-Param-Doc:\r\n", DISCOVER);
    assert_int_equal(f.made.request.key.kind, MESH_KEY_NONE);
    close_request(&f);
    open_request(&f, &config, POST, BOTH JSON SESSION "Mcp-Param-Doc: 7\r\n", LIST);
    assert_int_equal(f.made.request.key.kind, MESH_KEY_SESSION);
    close_request(&f);
}

static void test_mcp_errors_carry_the_id_byte_for_byte(void **state)
{
    static const char *const ids[] = {"7", "\"7\"", "-0", "9007199254740993", "\"a\\/\\u0062\""};
    struct mcp_config config = config_of(false);

    (void)state;
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        struct fixture f;
        struct reply reply;
        char body[128], wanted[64];

        snprintf(body, sizeof body, "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":%s}", ids[i]);
        snprintf(wanted, sizeof wanted, "\"id\":%s,", ids[i]);
        open_request(&f, &config, POST, BOTH JSON, body);
        open_reply(&reply, f.made.answer, H1_METHOD_POST);
        assert_non_null(strstr(reply.body, wanted));
        h1_deinit(&reply.h1);
        close_request(&f);
    }
}

/* ---- the head that travels ------------------------------------------------------------------ */

static void test_mcp_only_lines_for_the_upstream_travel(void **state)
{
    struct mcp_config config = config_of(true);
    struct fixture f;
    struct slice head;
    char text[1024];

    (void)state;
    open_request(&f, &config, POST,
                 BOTH JSON SESSION "Authorization: Bearer t\r\nAccept-Encoding: gzip\r\n"
                                   "X-Forwarded-For: 1.2.3.4\r\nX-Mesh-Owner: b\r\n"
                                   "Last-Event-ID: 3\r\nConnection: close\r\n"
                                   "Transfer_Encoding: chunked\r\ntraceparent: 00-1\r\n"
                                   "Mcp-Param-Region: eu\r\n",
                 LIST);
    head = f.made.request.head;
    assert_true(head.length < sizeof text);
    memcpy(text, head.at, head.length);
    text[head.length] = '\0';
    assert_string_equal(text, BOTH JSON "Authorization: Bearer t\r\ntraceparent: 00-1\r\n"
                                        "Mcp-Param-Region: eu\r\nX-Forwarded-For: 192.0.2.7\r\n"
                                        "X-Forwarded-Host: mesh.example:8080\r\n"
                                        "X-Forwarded-Proto: http\r\n");
    assert_int_equal(f.made.head->length, f.made.head->capacity);
    assert_true(f.made.exchange.close);
    close_request(&f);
}

static void test_mcp_the_lines_of_a_head_name_the_client_that_sends_it_now(void **state)
{
    struct mcp_config config = config_of(true);
    struct fixture f;
    struct mcp_input input;
    struct mcp_made made;

    (void)state;
    open_request(&f, &config, POST, BOTH JSON SESSION, LIST);
    input = (struct mcp_input){.head = f.h1.head,
                               .pass = &f.pass,
                               .body = h1_body(&f.h1),
                               .rpc = &f.rpc,
                               .client = slice_text("192.0.2.8")};
    assert_int_equal(mcp_request_make(&f.config, &input, &made), 0);
    assert_true(slice_is(made.request.head, BOTH JSON "X-Forwarded-For: 192.0.2.8\r\n"
                                                      "X-Forwarded-Host: mesh.example:8080\r\n"
                                                      "X-Forwarded-Proto: http\r\n"));
    mcp_made_deinit(&made);
    close_request(&f);
}

/* Streamable HTTP servers refuse whoever does not accept both; clients of HTTP+SSE ask for less. */
static void test_mcp_a_message_is_passed_on_as_a_post_of_streamable_http(void **state)
{
    struct mcp_config config = config_of(true);
    struct fixture f;

    (void)state;
    open_request(&f, &config, MESSAGES("?sessionId=" ID),
                 "Accept: */*\r\n" JSON "Authorization: Bearer t\r\n", LIST);
    assert_true(slice_is(f.made.request.head,
                         JSON "Authorization: Bearer t\r\nX-Forwarded-For: 192.0.2.7\r\n"
                              "X-Forwarded-Host: mesh.example:8080\r\n"
                              "X-Forwarded-Proto: http\r\n" BOTH));
    assert_int_equal(f.made.head->length, f.made.head->capacity);
    assert_int_equal(f.made.request.key.kind, MESH_KEY_SESSION);
    assert_true(slice_is(f.made.request.key.text, ID));
    assert_false(f.made.exchange.is_request); /* told by its status alone */
    close_request(&f);
}

static void test_mcp_the_place_to_resume_from_is_the_cores(void **state)
{
    struct mcp_config config = config_of(true);
    struct fixture f;

    (void)state;
    open_request(&f, &config, GET, STREAM SESSION "Last-Event-ID: 3-1-17\r\n", "");
    assert_int_equal(f.made.request.want, MESH_LISTEN);
    assert_true(slice_is(f.made.request.last_event_id, "3-1-17"));
    assert_null(memmem(f.made.head->data, f.made.head->length, "Last-Event-ID", 13));
    close_request(&f);
    open_request(&f, &config, GET, STREAM SESSION, "");
    assert_int_equal(f.made.request.last_event_id.length, 0);
    close_request(&f);
    /* what is not ours to answer travels whole */
    open_request(&f, &config, GET, STREAM "Last-Event-ID: u7\r\n", "");
    assert_int_equal(f.made.request.want, MESH_PASS);
    assert_non_null(memmem(f.made.head->data, f.made.head->length, "Last-Event-ID: u7\r\n", 19));
    close_request(&f);
}

static void assert_text(const struct bytes *text, const char *wanted)
{
    char copy[2048];

    assert_non_null(text);
    assert_true(text->length < sizeof copy);
    memcpy(copy, text->data, text->length);
    copy[text->length] = '\0';
    assert_string_equal(copy, wanted);
}

static void test_mcp_an_upstream_request_is_written_anew(void **state)
{
    struct mcp_config config = config_of(true);
    struct mcp_upstream_request request = {.want = MESH_CALL,
                                           .method = slice_text("POST"),
                                           .target = slice_text("/mcp?team=a"),
                                           .head = slice_text(BOTH JSON),
                                           .session = slice_text("u-1"),
                                           .body_bytes = 12};
    struct bytes *head;

    (void)state;
    assert_int_equal(mcp_upstream_request_head(&config, &request, &head), 0);
    assert_text(head, "POST /srv/mcp?team=a HTTP/1.1\r\nHost: 127.0.0.1:3000\r\n"
                      "Accept-Encoding: identity\r\nMcp-Session-Id: u-1\r\n" BOTH JSON
                      "Content-Length: 12\r\n\r\n");
    bytes_unref(head);

    request = (struct mcp_upstream_request){.want = MESH_PASS,
                                            .method = slice_text("GET"),
                                            .target = slice_text("/.well-known/x?y=1"),
                                            .head = slice_text("Accept: */*\r\n")};
    assert_int_equal(mcp_upstream_request_head(&config, &request, &head), 0);
    assert_text(head, "GET /.well-known/x?y=1 HTTP/1.1\r\nHost: 127.0.0.1:3000\r\n"
                      "Accept-Encoding: identity\r\nAccept: */*\r\n\r\n");
    bytes_unref(head);

    request = (struct mcp_upstream_request){.want = MESH_LISTEN,
                                            .target = slice_text("/mcp"),
                                            .head = slice_text(STREAM),
                                            .session = slice_text("u-1"),
                                            .last_event_id = slice_text("g_7")};
    assert_int_equal(mcp_upstream_request_head(&config, &request, &head), 0);
    assert_text(head, "GET /srv/mcp HTTP/1.1\r\nHost: 127.0.0.1:3000\r\n"
                      "Accept-Encoding: identity\r\nMcp-Session-Id: u-1\r\n"
                      "Last-Event-ID: g_7\r\n" STREAM "\r\n");
    bytes_unref(head);

    /* A message of the mesh under the head of a client's GET. */
    request =
        (struct mcp_upstream_request){.want = MESH_CALL,
                                      .target = slice_text("/mcp"),
                                      .head = slice_text(STREAM "Authorization: Bearer t\r\n"),
                                      .body_bytes = 2,
                                      .is_own = true};
    assert_int_equal(mcp_upstream_request_head(&config, &request, &head), 0);
    assert_text(head, "POST /srv/mcp HTTP/1.1\r\nHost: 127.0.0.1:3000\r\n"
                      "Accept-Encoding: identity\r\n" JSON BOTH "Authorization: Bearer t\r\n"
                      "Content-Length: 2\r\n\r\n");
    bytes_unref(head);

    /* HTTP+SSE: its stream is opened so too, and says where messages go, be it our own path. */
    request.want = MESH_LISTEN;
    request.body_bytes = 0;
    assert_int_equal(mcp_upstream_request_head(&config, &request, &head), 0);
    assert_text(head, "GET /srv/mcp HTTP/1.1\r\nHost: 127.0.0.1:3000\r\n"
                      "Accept-Encoding: identity\r\n" STREAM "Authorization: Bearer t\r\n\r\n");
    bytes_unref(head);
    request = (struct mcp_upstream_request){.want = MESH_CALL,
                                            .target = slice_text("/mcp?team=a"),
                                            .head = slice_text(BOTH JSON),
                                            .endpoint = slice_text("/mcp?sessionId=7"),
                                            .body_bytes = 12};
    assert_int_equal(mcp_upstream_request_head(&config, &request, &head), 0);
    assert_text(head, "POST /mcp?sessionId=7 HTTP/1.1\r\nHost: 127.0.0.1:3000\r\n"
                      "Accept-Encoding: identity\r\n" BOTH JSON "Content-Length: 12\r\n\r\n");
    bytes_unref(head);

    /* A line that a peer made up does not get out. */
    request.head = slice_text("Evil: a\r\n\r\nGET / HTTP/1.1\r\n");
    assert_int_equal(mcp_upstream_request_head(&config, &request, &head), -EINVAL);
}

/* Whatever was written before at its place. */
static void test_mcp_a_head_written_again_is_the_same(void **state)
{
    struct mcp_config config = config_of(true);
    const struct mcp_upstream_request plain = {.want = MESH_CALL,
                                               .target = slice_text("/mcp"),
                                               .head = slice_text(BOTH JSON),
                                               .session = slice_text("u-1"),
                                               .body_bytes = 12};
    struct mcp_upstream_request requests[] = {plain, plain, plain, plain, plain, plain,
                                              plain, plain, plain, plain, plain, plain};
    enum { COUNT = sizeof requests / sizeof requests[0] };

    (void)state;
    requests[1].body_bytes = 1234567;
    requests[2].session = slice_text("u-2");
    requests[3].session = (struct slice){0};
    requests[4].head = slice_text(BOTH);
    requests[5].head = slice_text(JSON BOTH);
    requests[6].target = slice_text("/mcp?team=a");
    requests[7].is_own = true;
    requests[8].want = MESH_LISTEN;
    requests[9].last_event_id = slice_text("g_7");
    requests[10].endpoint = slice_text("/mcp?sessionId=7");
    requests[11].body_bytes = 0;
    for (size_t i = 0; i < COUNT * COUNT; i++) {
        static struct mcp_heads heads;
        const struct mcp_upstream_request *three[] = {&requests[i / COUNT], &requests[i % COUNT],
                                                      &requests[i % COUNT]};
        struct bytes *wanted, *head;

        for (size_t n = 0; n < 3; n++) {
            assert_int_equal(mcp_upstream_request_head(&config, three[n], &wanted), 0);
            assert_int_equal(mcp_upstream_request_head_again(&config, three[n], &heads, 5, &head),
                             0);
            assert_int_equal(head->length, wanted->length);
            assert_memory_equal(head->data, wanted->data, wanted->length);
            bytes_unref(wanted);
            bytes_unref(head);
        }
        mcp_heads_forget(&heads, 5 + MCP_HEADS);
        assert_null(heads.kept[5].head);
    }
}

static void test_mcp_an_answers_head_written_again_is_the_same(void **state)
{
    struct mcp_config config = config_of(true);
    static const char session[MESH_SESSION_TEXT + 1] = ID;
    struct answer {
        struct mcp_exchange exchange;
        int status;
        enum mesh_form form;
        const char *lines, *session;
        int64_t length;
    } plain = {{.want = MESH_CALL}, 200, MESH_FORM_JSON, JSON, NULL, 12}, answers[14];
    enum { COUNT = sizeof answers / sizeof answers[0] };

    (void)state;
    for (size_t i = 0; i < COUNT; i++)
        answers[i] = plain;
    answers[1].length = 1234567;
    answers[2].lines = JSON "Set-Cookie: a=b\r\n";
    answers[3].lines = "Set-Cookie: a=b\r\n";
    answers[4].lines = "";
    answers[5].status = 201;
    answers[6].form = MESH_FORM_RAW;
    answers[7].session = session;
    answers[8].length = -1;
    answers[9].length = 0;
    answers[10].exchange.close = true;
    answers[11].exchange.is_head = true;
    answers[12].exchange.is_http10 = true;
    memcpy(answers[13].exchange.few, "http://ok.example", 17);
    answers[13].exchange.origin = (struct span){0, 17};
    answers[13].lines = "";
    for (size_t i = 0; i < COUNT * COUNT; i++) {
        static struct mcp_heads heads;
        const struct answer *three[] = {&answers[i / COUNT], &answers[i % COUNT],
                                        &answers[i % COUNT]};

        for (size_t n = 0; n < 3; n++) {
            const struct answer *a = three[n];
            struct mcp_exchange x = a->exchange, y = a->exchange;
            struct bytes *wanted, *head;

            assert_int_equal(mcp_write_head(&config, &x, a->status, a->form, slice_text(a->lines),
                                            a->session, a->length, &wanted),
                             0);
            assert_int_equal(mcp_write_head_again(&config, &y, a->status, a->form,
                                                  slice_text(a->lines), a->session, a->length,
                                                  &heads, 7, &head),
                             0);
            assert_int_equal(head->length, wanted->length);
            assert_memory_equal(head->data, wanted->data, wanted->length);
            assert_int_equal(y.form, x.form);
            assert_int_equal(y.framing, x.framing);
            assert_int_equal(y.close, x.close);
            bytes_unref(wanted);
            bytes_unref(head);
        }
        mcp_heads_deinit(&heads);
        assert_null(heads.kept[7].head);
    }
}

static void test_mcp_an_upstreams_head_says_its_form(void **state)
{
    static const struct {
        const char *head;
        enum mesh_want want;
        enum mesh_form form;
        const char *lines, *session;
    } answers[] = {
        {"200 OK\r\nContent-Type: application/json; charset=utf-8\r\nMcp-Session-Id: u-1\r\n"
         "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\n{}",
         MESH_CALL, MESH_FORM_JSON, "Content-Type: application/json; charset=utf-8\r\n", "u-1"},
        {"200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
         "Set-Cookie: a=b\r\nContent-Length: 2\r\n\r\n\n\n",
         MESH_CALL, MESH_FORM_SSE, "Set-Cookie: a=b\r\n", ""},
        {"202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", MESH_CALL, MESH_FORM_NONE,
         "", ""},
        {"401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 2\r\n\r\nno", MESH_CALL,
         MESH_FORM_RAW, "WWW-Authenticate: Bearer\r\n", ""},
        {"200 OK\r\nContent-Type: application/jsonx\r\nContent-Length: 2\r\n\r\n{}", MESH_CALL,
         MESH_FORM_RAW, "Content-Type: application/jsonx\r\n", ""},
        {"200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
         "Content-Length: 2\r\n\r\n??",
         MESH_CALL, MESH_FORM_RAW, "Content-Type: application/json\r\nContent-Encoding: gzip\r\n",
         ""},
        {"200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", MESH_PASS,
         MESH_FORM_RAW, "Content-Type: application/json\r\n", ""},
        {"204 No Content\r\n\r\n", MESH_DELETE, MESH_FORM_NONE, "", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct h1_limits limits = h1_limits_default(H1_RESPONSES);
        struct mcp_upstream_answer answer;
        struct h1 h1;
        char text[512];

        limits.collect = true;
        snprintf(text, sizeof text, "HTTP/1.1 %s", answers[i].head);
        h1_init(&h1, H1_RESPONSES, &limits, NULL);
        h1_expect_response(&h1, H1_METHOD_POST);
        feed(&h1, text, strlen(text));
        /* whatever was asked when it came before */
        for (enum mesh_want want = MESH_CALL; want <= MESH_WANT_LAST; want++) {
            assert_int_equal(mcp_filter_response_head(h1.head, want, &answer), 0);
            bytes_unref(answer.lines);
        }
        assert_int_equal(mcp_filter_response_head(h1.head, answers[i].want, &answer), 0);
        assert_int_equal(answer.form, answers[i].form);
        assert_text(answer.lines, answers[i].lines);
        assert_true(slice_is(answer.session, answers[i].session));
        bytes_unref(answer.lines);
        h1_deinit(&h1);
    }
}

static void test_mcp_a_lost_upstream_session_is_told_from_other_refusals(void **state)
{
    (void)state;
    assert_true(mcp_is_session_lost(404, slice_text("")));
    assert_true(mcp_is_session_lost(
        400, slice_text("{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32000,\"message\":"
                        "\"Bad Request: No valid session ID provided\"},\"id\":null}")));
    assert_false(mcp_is_session_lost(
        400, slice_text("{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32700,\"message\":"
                        "\"Parse error\"},\"id\":null}")));
    assert_false(mcp_is_session_lost(
        400, slice_text("{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32000,\"message\":"
                        "\"Bad Request: Unsupported protocol version\"},\"id\":null}")));
    assert_false(mcp_is_session_lost(401, slice_text("session id")));
}

/* ---- answers -------------------------------------------------------------------------------- */

static void test_mcp_every_unknown_session_gets_the_same_bytes(void **state)
{
    static const char wanted[] = "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32001,\"message\":"
                                 "\"Session not found\"},\"id\":null}";
    static const char *const lines[] = {POST, GET, DELETE};
    struct mcp_config config = config_of(true);
    struct bytes *first = NULL;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct fixture f;
        struct reply reply;
        enum mcp_ending ending;
        struct bytes *text;

        open_request(&f, &config, lines[i], i == 0 ? BOTH JSON SESSION : STREAM SESSION,
                     i == 0 ? LIST : "");
        assert_int_equal(f.made.status, 0);
        assert_int_equal(mcp_write_outcome(&config, &f.made.exchange, MESH_SESSION_UNKNOWN, false,
                                           (struct slice){0}, &ending, &text),
                         0);
        open_reply(&reply, text, H1_METHOD_POST);
        assert_int_equal(reply.h1.head->status, 404);
        assert_string_equal(reply.body, wanted);
        assert_header(&reply, "Content-Type", "application/json");
        if (first != NULL) {
            assert_int_equal(text->length, first->length);
            assert_memory_equal(text->data, first->data, first->length);
        }
        h1_deinit(&reply.h1);
        close_request(&f);
        bytes_unref(first);
        first = text;
    }
    bytes_unref(first);
}

static const struct outcome {
    enum mesh_reason why;
    int with_id, without, code; /* statuses; code with an id */
    bool retry_after;           /* without an id */
} outcomes[] = {
    {MESH_NO_SESSION_ID, 400, 400, -32000, false},
    {MESH_SESSION_UNKNOWN, 404, 404, -32001, false},
    {MESH_ID_IN_USE, 400, 400, -32600, false},
    {MESH_ALREADY_INITIALIZED, 400, 400, -32600, false},
    {MESH_NOT_SUPPORTED, 400, 400, -32600, false},
    {MESH_NO_ROUTE, 404, 404, -32000, false},
    {MESH_FULL, 503, 503, -32603, true},
    {MESH_PARKED_TOO_LONG, 200, 503, -32603, true},
    {MESH_OWNER_LOST, 200, 503, -32603, true},
    {MESH_OUTCOME_UNKNOWN, 200, 502, -32603, false},
    {MESH_UPSTREAM_DOWN, 200, 503, -32603, true},
    {MESH_UPSTREAM_LOST, 200, 502, -32603, false},
    {MESH_UPSTREAM_BAD, 200, 502, -32603, false},
    {MESH_ANSWER_TOO_LARGE, 200, 502, -32603, false},
    {MESH_SUPERSEDED, 405, 405, -32000, false},
    {MESH_SESSION_ENDED, 404, 404, -32001, false},
    {MESH_READER_SLOW, 200, 503, -32603, false},
    {MESH_CANCELLED, 200, 503, -32603, false},
    {MESH_STOPPING, 200, 503, -32603, true},
    {MESH_STREAM_OVER, 405, 405, -32000, false},
    {MESH_RATE_LIMITED, 429, 429, -32603, true},
};

static void check_outcome(const struct outcome *o, bool with_id)
{
    struct mcp_config config = config_of(false);
    int status = with_id ? o->with_id : o->without;
    struct fixture f;
    struct reply reply;
    enum mcp_ending ending;
    struct bytes *text;
    char wanted[32];

    open_request(&f, &config, POST, BOTH JSON SESSION, with_id ? LIST : INITIALIZED);
    assert_int_equal(mcp_write_outcome(&config, &f.made.exchange, o->why, false, (struct slice){0},
                                       &ending, &text),
                     0);
    assert_int_equal(ending, MCP_END_WHOLE);
    open_reply(&reply, text, H1_METHOD_POST);
    if (reply.h1.head->status != status)
        fail_msg("%s: %d instead of %d", mcp_reason_name(o->why), reply.h1.head->status, status);
    assert_header(&reply, "Retry-After",
                  o->retry_after && status == o->without && status >= 429 ? "1" : NULL);
    assert_header(&reply, "Content-Type", "application/json");
    snprintf(wanted, sizeof wanted, "\"code\":%d,", o->code);
    assert_non_null(strstr(reply.body, wanted));
    if (status != 404 || o->code == -32000)
        assert_non_null(strstr(reply.body, with_id ? "\"id\":7," : "\"id\":null,"));
    h1_deinit(&reply.h1);
    bytes_unref(text);
    close_request(&f);
}

static void test_mcp_every_reason_has_its_status_and_code(void **state)
{
    (void)state;
    assert_int_equal(sizeof outcomes / sizeof outcomes[0], MESH_REASON_LAST);
    for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++) {
        check_outcome(&outcomes[i], true);
        check_outcome(&outcomes[i], false);
    }
}

static void test_mcp_an_open_event_stream_never_ends_quietly_for_a_request(void **state)
{
    struct mcp_config config = config_of(true);
    struct fixture f;
    enum mcp_ending ending;
    struct bytes *head, *text;

    (void)state;
    open_request(&f, &config, POST, BOTH JSON SESSION, LIST);
    assert_int_equal(mcp_write_head(&config, &f.made.exchange, 200, MESH_FORM_SSE, slice_text(""),
                                    NULL, -1, &head),
                     0);
    bytes_unref(head);
    for (enum mesh_reason why = MESH_NO_SESSION_ID; why <= MESH_REASON_LAST; why++) {
        if (why == MESH_READER_SLOW)
            continue;
        assert_int_equal(mcp_write_outcome(&config, &f.made.exchange, why, true, (struct slice){0},
                                           &ending, &text),
                         0);
        assert_int_equal(ending, MCP_END_WHOLE);
        assert_non_null(text);
        assert_true(text->length > 2);
        assert_memory_equal(text->data + text->length - 2, "\n\n", 2);
        assert_non_null(memmem(text->data, text->length, "\ndata: {", 8));
        assert_non_null(memmem(text->data, text->length, "\"id\":7,\"error\"", 14));
        bytes_unref(text);
    }
    assert_int_equal(mcp_write_outcome(&config, &f.made.exchange, MESH_READER_SLOW, true,
                                       (struct slice){0}, &ending, &text),
                     0);
    assert_int_equal(ending, MCP_END_CUT);
    assert_null(text);
    close_request(&f);
}

static void test_mcp_the_last_event_of_a_stream_has_its_id(void **state)
{
    struct mcp_config config = config_of(true);
    struct fixture f;
    enum mcp_ending ending;
    struct bytes *text;

    (void)state;
    open_request(&f, &config, POST, BOTH JSON SESSION, LIST);
    assert_int_equal(mcp_write_head(&config, &f.made.exchange, 200, MESH_FORM_SSE, slice_text(""),
                                    NULL, -1, &text),
                     0);
    bytes_unref(text);
    for (int has_id = 0; has_id < 2; has_id++) {
        static const char event[] = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":7,\"error\"";
        size_t length = has_id ? 12 : 0;

        assert_int_equal(mcp_write_outcome(&config, &f.made.exchange, MESH_OUTCOME_UNKNOWN, true,
                                           slice_text(has_id ? "3-1-2-e" : ""), &ending, &text),
                         0);
        assert_int_equal(ending, MCP_END_WHOLE);
        assert_memory_equal(text->data, "id: 3-1-2-e\n", length);
        assert_memory_equal(text->data + length, event, sizeof event - 1);
        bytes_unref(text);
    }
    close_request(&f);
}

static void test_mcp_every_failure_is_an_event_with_the_id_it_answers(void **state)
{
    (void)state;
    for (enum mesh_reason why = MESH_NO_SESSION_ID; why <= MESH_REASON_LAST; why++) {
        static const char first[] = "id: 3-1-2-e\nevent: message\ndata: ";
        char wanted[64];
        struct rpc_message rpc;
        struct bytes *text;

        assert_int_equal(
            mcp_write_failure(why, slice_text("\"a\\/b\""), slice_text("3-1-2-e"), &text), 0);
        assert_memory_equal(text->data, first, sizeof first - 1);
        assert_memory_equal(text->data + text->length - 2, "\n\n", 2);
        rpc_read(&rpc, NULL, text->data + sizeof first - 1, text->length - sizeof first + 1 - 2);
        assert_int_equal(rpc.kind, RPC_ERROR);
        assert_non_null(memmem(text->data, text->length, "\"id\":\"a\\/b\",", 12));
        snprintf(wanted, sizeof wanted, "\"reason\":\"%s\"", mcp_reason_name(why));
        assert_non_null(memmem(text->data, text->length, wanted, strlen(wanted)));
        bytes_unref(text);
    }
}

static void test_mcp_the_endpoint_is_a_path_that_survives_what_stands_in_front(void **state)
{
    static const struct {
        const char *sse, *messages, *prefix, *wanted;
    } cases[] = {
        {"/sse", "/messages", NULL, "messages"},
        {"/sse", "/messages", "/team/a", "/team/a/messages"},
        {"/sse", "/messages", "", "/messages"},
        {"/old/sse", "/old/messages", NULL, "messages"},
        {"/old/sse", "/messages", NULL, "/messages"}, /* not side by side */
        {"/sse", "/old/messages", NULL, "/old/messages"},
        {"/ab/sse", "/cd/messages", NULL, "/cd/messages"},
    };
    struct mcp_config config = config_of(true);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bytes *text;
        char wanted[256];

        config.sse_path = cases[i].sse;
        config.messages_path = cases[i].messages;
        config.public_prefix = cases[i].prefix;
        assert_int_equal(mcp_write_endpoint(&config, ID, &text), 0);
        snprintf(wanted, sizeof wanted, "event: endpoint\ndata: %s?sessionId=" ID "\n\n",
                 cases[i].wanted);
        assert_text(text, wanted);
        bytes_unref(text);
    }
}

static void test_mcp_a_stream_of_the_old_kind_shows_its_id_in_no_header(void **state)
{
    struct mcp_config config = config_of(false);
    struct fixture f;
    struct bytes *head;

    (void)state;
    open_request(&f, &config, SSE, STREAM, "");
    assert_int_equal(mcp_write_head(&config, &f.made.exchange, 200, MESH_FORM_SSE, slice_text(""),
                                    ID, -1, &head),
                     0);
    assert_text(head, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                      "Cache-Control: no-cache, no-transform\r\nX-Accel-Buffering: no\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n");
    bytes_unref(head);
    close_request(&f);
}

static void test_mcp_a_superseded_stream_ends_with_a_comment(void **state)
{
    struct mcp_config config = config_of(true);
    struct fixture f;
    enum mcp_ending ending;
    struct bytes *text;

    (void)state;
    open_request(&f, &config, GET, STREAM SESSION, "");
    assert_int_equal(mcp_write_head(&config, &f.made.exchange, 200, MESH_FORM_SSE, slice_text(""),
                                    NULL, -1, &text),
                     0);
    assert_int_equal(f.made.exchange.framing, H1_CHUNKED);
    bytes_unref(text);
    assert_int_equal(mcp_write_outcome(&config, &f.made.exchange, MESH_SUPERSEDED, true,
                                       (struct slice){0}, &ending, &text),
                     0);
    assert_text(text, ": superseded by a newer stream of this session\n\n");
    bytes_unref(text);
    close_request(&f);
}

static void test_mcp_a_json_answer_already_begun_can_only_be_cut(void **state)
{
    struct mcp_config config = config_of(true);
    struct fixture f;
    enum mcp_ending ending;
    struct bytes *text;

    (void)state;
    open_request(&f, &config, POST, BOTH JSON SESSION, LIST);
    assert_int_equal(mcp_write_head(&config, &f.made.exchange, 200, MESH_FORM_JSON, slice_text(""),
                                    NULL, -1, &text),
                     0);
    bytes_unref(text);
    assert_int_equal(mcp_write_outcome(&config, &f.made.exchange, MESH_UPSTREAM_LOST, true,
                                       (struct slice){0}, &ending, &text),
                     0);
    assert_int_equal(ending, MCP_END_CUT);
    assert_null(text);
    close_request(&f);
}

static void test_mcp_heads_are_framed_for_the_client_at_hand(void **state)
{
    static const struct {
        const char *line;
        enum mesh_form form;
        int status;
        int64_t length;
        enum h1_framing framing;
        bool close;
    } cases[] = {
        {POST, MESH_FORM_JSON, 200, 5, H1_LENGTH, false},
        {POST, MESH_FORM_JSON, 200, -1, H1_CHUNKED, false},
        {POST, MESH_FORM_NONE, 202, -1, H1_LENGTH, false},
        {POST, MESH_FORM_NONE, 204, -1, H1_NO_BODY, false},
        {POST, MESH_FORM_SSE, 200, -1, H1_CHUNKED, false},
        {"POST /mcp HTTP/1.0", MESH_FORM_SSE, 200, -1, H1_UNTIL_CLOSE, true},
        {"POST /mcp HTTP/1.0", MESH_FORM_JSON, 200, 5, H1_LENGTH, true},
    };
    struct mcp_config config = config_of(true);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture f;
        struct bytes *head;

        open_request(&f, &config, cases[i].line, BOTH JSON SESSION, LIST);
        assert_int_equal(mcp_write_head(&config, &f.made.exchange, cases[i].status, cases[i].form,
                                        slice_text(""), NULL, cases[i].length, &head),
                         0);
        assert_int_equal(f.made.exchange.framing, cases[i].framing);
        assert_int_equal(f.made.exchange.close, cases[i].close);
        bytes_unref(head);
        close_request(&f);
    }
}

static void test_mcp_a_head_carries_the_session_and_what_the_form_needs(void **state)
{
    struct mcp_config config = config_of(false);
    struct fixture f;
    struct bytes *head;

    (void)state;
    open_request(&f, &config, POST, BOTH JSON "Origin: http://ok.example\r\n", INITIALIZE);
    assert_int_equal(f.made.status, 0);
    assert_int_equal(mcp_write_head(&config, &f.made.exchange, 200, MESH_FORM_SSE, slice_text(""),
                                    ID, -1, &head),
                     0);
    assert_text(head, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                      "Cache-Control: no-cache, no-transform\r\nX-Accel-Buffering: no\r\n"
                      "Mcp-Session-Id: " ID "\r\n"
                      "Access-Control-Allow-Origin: http://ok.example\r\n"
                      "Access-Control-Expose-Headers: Mcp-Session-Id, WWW-Authenticate\r\n"
                      "Vary: Origin\r\nTransfer-Encoding: chunked\r\n\r\n");
    bytes_unref(head);
    assert_int_equal(mcp_write_head(&config, &f.made.exchange, 200, MESH_FORM_JSON,
                                    slice_text("Bad: a\r\n\r\n<b>\r\n"), NULL, -1, &head),
                     -EINVAL);
    close_request(&f);
}

/* A page must be able to read what the mesh answers itself; an upstream's own words stand alone. */
static void test_mcp_pages_may_read_heads_of_our_own_and_those_that_an_upstream_opens(void **state)
{
    static const char open[] = "Access-Control-Allow-Origin: http://ok.example\r\n";
    static const struct {
        bool is_http;
        const char *line, *lines;
        bool is_open;
    } cases[] = {
        {true, SSE, "", true},
        {true, "GET /mcp HTTP/1.1", "", true},
        {true, "GET /mcp HTTP/1.1", "Date: now\r\n", false},
        {false, "GET /mcp HTTP/1.1", "", true},
        {false, "GET /mcp HTTP/1.1", "X-Refusal: 1\r\n", true},
        {false, "GET /mcp HTTP/1.1", "Access-Control-Allow-Origin: *\r\n", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct mcp_config config = config_of(cases[i].is_http);
        struct fixture f;
        struct bytes *head;

        open_request(&f, &config, cases[i].line, STREAM SESSION "Origin: http://ok.example\r\n",
                     "");
        assert_int_equal(f.made.status, 0);
        assert_int_equal(mcp_write_head(&config, &f.made.exchange, 200, MESH_FORM_SSE,
                                        slice_text(cases[i].lines), NULL, -1, &head),
                         0);
        assert_int_equal(memmem(head->data, head->length, open, sizeof open - 1) != NULL,
                         cases[i].is_open);
        bytes_unref(head);
        close_request(&f);
    }
}

static void test_mcp_a_preflight_names_what_may_be_sent_and_read(void **state)
{
    struct mcp_config config = config_of(false);
    struct fixture f;
    struct reply reply;

    (void)state;
    open_request(&f, &config, "OPTIONS /mcp HTTP/1.1",
                 "Origin: http://ok.example\r\nAccess-Control-Request-Method: POST\r\n"
                 "Access-Control-Request-Headers: content-type, mcp-session-id\r\n",
                 "");
    open_reply(&reply, f.made.answer, H1_METHOD_OPTIONS);
    assert_int_equal(reply.h1.head->status, 204);
    assert_header(&reply, "Access-Control-Allow-Origin", "http://ok.example");
    assert_header(&reply, "Access-Control-Allow-Methods", "GET, POST, DELETE");
    assert_header(&reply, "Access-Control-Allow-Headers", "content-type, mcp-session-id");
    assert_header(&reply, "Access-Control-Expose-Headers", "Mcp-Session-Id, WWW-Authenticate");
    h1_deinit(&reply.h1);
    close_request(&f);
}

static void test_mcp_a_refusal_of_the_gate_is_an_answer(void **state)
{
    struct bytes *answer;
    struct reply reply;

    (void)state;
    assert_int_equal(mcp_write_refusal(405, "Method not allowed", "GET", true, &answer), 0);
    open_reply(&reply, answer, H1_METHOD_POST);
    assert_int_equal(reply.h1.head->status, 405);
    assert_header(&reply, "Allow", "GET");
    assert_false(reply.h1.head->keep_alive);
    assert_non_null(strstr(reply.body, "\"id\":null"));
    h1_deinit(&reply.h1);
    bytes_unref(answer);
}

/* ---- principals ----------------------------------------------------------------------------- */

static struct principal principal_with(const struct mcp_config *config, const char *lines)
{
    char all[2048];
    struct fixture f;
    struct principal who;

    snprintf(all, sizeof all, BOTH JSON SESSION "%s", lines);
    open_request(&f, config, POST, all, LIST);
    assert_int_equal(f.made.status, 0);
    who = f.made.request.who;
    close_request(&f);
    return who;
}

static bool same(struct principal a, struct principal b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

/* "Authorization: Bearer <header>.<payload>.<signature>". */
static const char *jwt(const char *payload, const char *signature)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    static char lines[2][1024];
    static int turn;
    char *line = lines[turn++ % 2];
    size_t at = (size_t)sprintf(line, "Authorization: Bearer eyJhbGciOiJub25lIn0.");
    uint32_t bits = 0, have = 0;

    for (const char *p = payload; *p != '\0'; p++) {
        bits = bits << 8 | (uint8_t)*p;
        for (have += 8; have >= 6; have -= 6)
            line[at++] = digits[bits >> (have - 6) & 63];
    }
    if (have > 0)
        line[at++] = digits[bits << (6 - have) & 63];
    snprintf(line + at, 1024 - at, ".%s\r\n", signature);
    return line;
}

static void test_mcp_a_jwt_binds_by_issuer_and_subject_alone(void **state)
{
    struct mcp_config config = config_of(true);
    struct principal unbound = {{0}}, ann, other;

    (void)state;
    ann = principal_with(&config, jwt("{\"iss\":\"i\",\"sub\":\"ann\",\"exp\":1}", "x"));
    assert_false(same(ann, unbound));
    other = principal_with(
        &config, jwt("{ \"exp\" : 2,\n\"a\":{\"sub\":\"bob\",\"k\":[\"iss\"]},\"sub\" : \"ann\","
                     "\"iss\":\"i\"}",
                     "yy"));
    assert_true(same(ann, other));
    assert_false(same(ann, principal_with(&config, jwt("{\"iss\":\"i\",\"sub\":\"bob\"}", "x"))));
    assert_false(same(ann, principal_with(&config, jwt("{\"iss\":\"ia\",\"sub\":\"nn\"}", "x"))));
}

static void test_mcp_what_is_no_sound_jwt_is_unbound(void **state)
{
    static const char *const payloads[] = {
        "{\"iss\":\"i\"}",
        "{\"iss\":\"i\",\"sub\":7}",
        "{\"iss\":\"i\",\"sub\":\"\"}",
        "{\"iss\":\"i\",\"sub\":\"a\",\"sub\":\"b\"}",
        "{\"a\":{\"iss\":\"i\",\"sub\":\"a\"}}",
        "{\"iss\":\"i\",\"sub\":\"a\"",
        "{}{\"iss\":\"i\",\"sub\":\"a\"}",
        "[\"iss\",\"i\",\"sub\",\"a\"]",
        "{\"x\":\"iss\",\"y\":\"sub\"}",
        "",
    };
    static const char *const others[] = {
        "", "Authorization: Basic abc\r\n", "Authorization: Bearer opaque\r\n",
        "Authorization: Bearer a.b.c.d\r\n", "Authorization: Bearer a.!!!.c\r\n"};
    struct mcp_config config = config_of(true);
    struct principal unbound = {{0}};

    (void)state;
    for (size_t i = 0; i < sizeof payloads / sizeof payloads[0]; i++)
        if (!same(principal_with(&config, jwt(payloads[i], "x")), unbound))
            fail_msg("bound by %s", payloads[i]);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_true(same(principal_with(&config, others[i]), unbound));
}

static void test_mcp_binding_follows_the_setting(void **state)
{
    struct mcp_config config = config_of(true);
    const char *token = "Authorization: Bearer opaque\r\n", *user = "X-User: ann\r\n";
    struct principal unbound = {{0}}, by_token, by_user;

    (void)state;
    config.bind = MCP_BIND_TOKEN;
    by_token = principal_with(&config, token);
    assert_false(same(by_token, unbound));
    assert_false(same(by_token, principal_with(&config, "Authorization: Bearer opaqua\r\n")));
    assert_true(same(principal_with(&config, user), unbound));
    config.bind = MCP_BIND_HEADER;
    config.bind_header = "x-user";
    by_user = principal_with(&config, user);
    assert_false(same(by_user, unbound));
    assert_true(same(by_user, principal_with(&config, user)));
    assert_true(same(principal_with(&config, token), unbound));
    config.who_keys[0].hash_keys[1][0]++;
    assert_false(same(by_user, principal_with(&config, user)));
    config.bind = MCP_BIND_NONE;
    assert_true(same(principal_with(&config, token), unbound));
}

/* Keys of the cluster change: who has a session is told by the key of its id, who has none by the
 * first. */
static void test_mcp_a_principal_is_hashed_with_the_key_of_its_session(void **state)
{
    struct mcp_config config = config_of(true), first, second;
    const char *token = "Authorization: Bearer opaque\r\n";
    char lines[256];
    struct fixture f;

    (void)state;
    config.bind = MCP_BIND_TOKEN;
    config.who_keys[0].id = 0xabc5;
    first = second = config;
    second.who_keys[0].id = 0xabc9;
    second.who_keys[0].hash_keys[0][0]++;
    config.who_keys[1] = second.who_keys[0];
    config.who_keys_count = 2;
    static const struct {
        const char *id;
        bool is_second;
    } cases[] = {
        {"GV", true}, {"FV", false}, {"HV", false}, {"\x01V", false}}; /* 0x19, 0x15, 0x1d */
    for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        const struct mcp_config *like = cases[n].is_second ? &second : &first;
        struct principal who, by_token;
        if (cases[n].id[0] == '\x01')
            snprintf(lines, sizeof lines, BOTH JSON "%s", token);
        else
            snprintf(lines, sizeof lines, BOTH JSON "Mcp-Session-Id: %s%s\r\n%s", cases[n].id,
                     "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", token);
        open_request(&f, like, POST, lines, n == 3 ? INITIALIZE : LIST);
        who = f.made.request.who;
        by_token = f.made.request.token;
        close_request(&f);
        open_request(&f, &config, POST, lines, n == 3 ? INITIALIZE : LIST);
        assert_true(same(who, f.made.request.who));
        assert_true(same(by_token, f.made.request.token));
        assert_int_equal(f.made.request.who_key, like->who_keys[0].id);
        close_request(&f);
    }
}

/* Row A22: the id is ours, and the upstream writes targets into its log. */
static void test_mcp_the_session_id_of_a_message_goes_no_further(void **state)
{
    struct mcp_config config = config_of(true);
    struct fixture f;

    (void)state;
    open_request(&f, &config, MESSAGES("?sessionId=" ID "&x=1"), JSON, LIST);
    assert_int_equal(f.made.status, 0);
    assert_true(slice_is(f.made.request.key.text, ID));
    assert_true(slice_is(f.made.request.target, "/messages"));
    close_request(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mcp_every_row_gets_its_answer),
        cmocka_unit_test(test_mcp_initialize_over_64_KiB_makes_no_session),
        cmocka_unit_test(test_mcp_a_batch_has_at_most_100_entries),
        cmocka_unit_test(test_mcp_the_session_id_of_a_modern_request_is_not_looked_at),
        cmocka_unit_test(test_mcp_a_handle_is_taken_from_the_header_that_the_operator_named),
        cmocka_unit_test(test_mcp_errors_carry_the_id_byte_for_byte),
        cmocka_unit_test(test_mcp_only_lines_for_the_upstream_travel),
        cmocka_unit_test(test_mcp_the_lines_of_a_head_name_the_client_that_sends_it_now),
        cmocka_unit_test(test_mcp_a_message_is_passed_on_as_a_post_of_streamable_http),
        cmocka_unit_test(test_mcp_the_place_to_resume_from_is_the_cores),
        cmocka_unit_test(test_mcp_an_upstream_request_is_written_anew),
        cmocka_unit_test(test_mcp_a_head_written_again_is_the_same),
        cmocka_unit_test(test_mcp_an_answers_head_written_again_is_the_same),
        cmocka_unit_test(test_mcp_an_upstreams_head_says_its_form),
        cmocka_unit_test(test_mcp_a_lost_upstream_session_is_told_from_other_refusals),
        cmocka_unit_test(test_mcp_every_unknown_session_gets_the_same_bytes),
        cmocka_unit_test(test_mcp_every_reason_has_its_status_and_code),
        cmocka_unit_test(test_mcp_an_open_event_stream_never_ends_quietly_for_a_request),
        cmocka_unit_test(test_mcp_the_last_event_of_a_stream_has_its_id),
        cmocka_unit_test(test_mcp_every_failure_is_an_event_with_the_id_it_answers),
        cmocka_unit_test(test_mcp_the_endpoint_is_a_path_that_survives_what_stands_in_front),
        cmocka_unit_test(test_mcp_a_stream_of_the_old_kind_shows_its_id_in_no_header),
        cmocka_unit_test(test_mcp_a_superseded_stream_ends_with_a_comment),
        cmocka_unit_test(test_mcp_a_json_answer_already_begun_can_only_be_cut),
        cmocka_unit_test(test_mcp_heads_are_framed_for_the_client_at_hand),
        cmocka_unit_test(test_mcp_a_head_carries_the_session_and_what_the_form_needs),
        cmocka_unit_test(test_mcp_pages_may_read_heads_of_our_own_and_those_that_an_upstream_opens),
        cmocka_unit_test(test_mcp_a_preflight_names_what_may_be_sent_and_read),
        cmocka_unit_test(test_mcp_a_refusal_of_the_gate_is_an_answer),
        cmocka_unit_test(test_mcp_a_jwt_binds_by_issuer_and_subject_alone),
        cmocka_unit_test(test_mcp_what_is_no_sound_jwt_is_unbound),
        cmocka_unit_test(test_mcp_binding_follows_the_setting),
        cmocka_unit_test(test_mcp_a_principal_is_hashed_with_the_key_of_its_session),
        cmocka_unit_test(test_mcp_the_session_id_of_a_message_goes_no_further),
    };

    return cmocka_run_group_tests_name("mcp", tests, NULL, NULL);
}
