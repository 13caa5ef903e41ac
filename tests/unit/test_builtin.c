/* test_builtin.c - the small MCP server, spoken to in JSON-RPC texts as a client would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "http/builtin.h"

static char *members_text(void *context)
{
    (void)context;
    return strdup("{\"members\":[{\"name\":\"peer-a\"}]}");
}

static char *member_text(void *context, const char *name, size_t length)
{
    (void)context;
    return length == 6 && memcmp(name, "peer-a", 6) == 0 ? strdup("{\"name\":\"peer-a\"}") : NULL;
}

static char *sessions_text(void *context)
{
    (void)context;
    return strdup("{\"sessions\":[]}");
}

struct fixture {
    struct builtin *builtin;
    struct builtin_session *session;
    uint64_t now_ms;
};

static void tell(struct fixture *f, const char *text)
{
    struct rpc_message rpc;

    rpc_read(&rpc, NULL, text, strlen(text));
    assert_int_equal(builtin_message(f->session, &rpc, slice_text(text), f->now_ms), 0);
}

/* The next message, parsed; NULL: there is none. Each must be a sound JSON-RPC message. */
static json_t *hear(struct fixture *f)
{
    struct bytes *text = builtin_next(f->session);
    struct rpc_message rpc;
    json_t *json;

    if (text == NULL)
        return NULL;
    rpc_read(&rpc, NULL, text->data, text->length);
    assert_int_not_equal(rpc.kind, RPC_BAD);
    assert_null(memchr(text->data, '\n', text->length));
    json = json_loadb((const char *)text->data, text->length, JSON_ALLOW_NUL, NULL);
    assert_non_null(json);
    bytes_unref(text);
    return json;
}

static void assert_silent(struct fixture *f)
{
    assert_null(builtin_next(f->session));
}

/* Follows "a.b.0.c". */
static json_t *at(json_t *json, const char *path)
{
    char copy[128], *rest = NULL;

    snprintf(copy, sizeof copy, "%s", path);
    for (char *step = strtok_r(copy, ".", &rest); step != NULL; step = strtok_r(NULL, ".", &rest))
        json = json_is_array(json) ? json_array_get(json, (size_t)strtoul(step, NULL, 10))
                                   : json_object_get(json, step);
    return json;
}

static void assert_text_at(json_t *json, const char *path, const char *wanted)
{
    const char *found = json_string_value(at(json, path));

    if (found == NULL)
        fail_msg("nothing at %s", path);
    assert_string_equal(found, wanted);
}

static void assert_number_at(json_t *json, const char *path, json_int_t wanted)
{
    assert_true(json_is_integer(at(json, path)));
    assert_int_equal(json_integer_value(at(json, path)), wanted);
}

static json_t *ask(struct fixture *f, const char *text)
{
    json_t *answer;

    tell(f, text);
    answer = hear(f);
    assert_non_null(answer);
    return answer;
}

static void assert_error(struct fixture *f, const char *text, int code)
{
    json_t *answer = ask(f, text);

    assert_number_at(answer, "error.code", code);
    json_decref(answer);
}

static void assert_tool_says(struct fixture *f, const char *text, const char *said, bool is_error)
{
    json_t *answer = ask(f, text);

    assert_text_at(answer, "result.content.0.text", said);
    assert_int_equal(json_is_true(at(answer, "result.isError")), is_error);
    json_decref(answer);
}

#define REQUEST(id, method, params)                                                                \
    "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"method\":\"" method "\",\"params\":" params "}"
#define CALL(id, tool, arguments)                                                                  \
    REQUEST(id, "tools/call", "{\"name\":\"" tool "\",\"arguments\":" arguments "}")
#define INITIALIZE(version, capabilities)                                                          \
    REQUEST("0", "initialize",                                                                     \
            "{\"protocolVersion\":\"" version "\",\"capabilities\":" capabilities                  \
            ",\"clientInfo\":{\"name\":\"t\",\"version\":\"1\"}}")

static void open_bare(struct fixture *f)
{
    struct builtin_info info = {.name = "peer-a",
                                .source = {NULL, members_text, member_text, sessions_text}};

    memset(f, 0, sizeof *f);
    f->now_ms = 1000;
    assert_int_equal(builtin_new(&f->builtin, &info), 0);
    assert_int_equal(builtin_open(f->builtin, &f->session), 0);
}

static void open_session(struct fixture *f, const char *initialize)
{
    open_bare(f);
    json_decref(ask(f, initialize));
    tell(f, "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}");
    assert_silent(f);
}

static void close_session(struct fixture *f)
{
    builtin_close(f->session);
    builtin_free(f->builtin);
}

static void test_builtin_negotiates_each_legacy_version(void **state)
{
    static const char *const cases[][2] = {
        {INITIALIZE("2024-11-05", "{}"), "2024-11-05"},
        {INITIALIZE("2025-03-26", "{}"), "2025-03-26"},
        {INITIALIZE("2025-06-18", "{}"), "2025-06-18"},
        {INITIALIZE("2025-11-25", "{}"), "2025-11-25"},
        {INITIALIZE("2026-07-28", "{}"), "2025-11-25"},
        {INITIALIZE("x", "{}"), "2025-11-25"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture f;
        json_t *answer;

        open_bare(&f);
        answer = ask(&f, cases[i][0]);
        assert_text_at(answer, "result.protocolVersion", cases[i][1]);
        assert_text_at(answer, "result.serverInfo.name", "session-mesh");
        assert_true(json_is_true(at(answer, "result.capabilities.resources.subscribe")));
        json_decref(answer);
        close_session(&f);
    }
}

static void test_builtin_serves_nothing_but_ping_before_initialize(void **state)
{
    struct fixture f;
    json_t *answer;

    (void)state;
    open_bare(&f);
    assert_error(&f, REQUEST("1", "tools/list", "{}"), -32600);
    answer = ask(&f, REQUEST("2", "ping", "{}"));
    assert_int_equal(json_object_size(at(answer, "result")), 0);
    json_decref(answer);
    assert_error(&f, REQUEST("3", "initialize", "{\"protocolVersion\":7}"), -32602);
    json_decref(ask(&f, INITIALIZE("2025-11-25", "{}")));
    assert_error(&f, INITIALIZE("2025-11-25", "{}"), -32600);
    close_session(&f);
}

static void test_builtin_answers_with_the_id_byte_for_byte(void **state)
{
    static const char *const ids[] = {"-0", "\"a\\u002fb\"", "9007199254740993", "1.50"};
    struct fixture f;

    (void)state;
    open_session(&f, INITIALIZE("2025-11-25", "{}"));
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        char text[128], wanted[128];
        struct bytes *answer;

        snprintf(text, sizeof text, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"ping\"}", ids[i]);
        snprintf(wanted, sizeof wanted, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":{}}", ids[i]);
        tell(&f, text);
        answer = builtin_next(f.session);
        assert_non_null(answer);
        assert_int_equal(answer->length, strlen(wanted));
        assert_memory_equal(answer->data, wanted, answer->length);
        bytes_unref(answer);
    }
    close_session(&f);
}

static void test_builtin_refuses_what_it_does_not_know(void **state)
{
    struct fixture f;

    (void)state;
    open_session(&f, INITIALIZE("2025-11-25", "{}"));
    assert_error(&f, REQUEST("1", "no/such", "{}"), -32601);
    assert_error(&f, REQUEST("2", "completion/complete", "{}"), -32601);
    assert_error(&f, CALL("3", "nosuch", "{}"), -32602);
    assert_error(&f, REQUEST("4", "tools/call", "{\"name\":\"echo\",\"arguments\":[]}"), -32602);
    assert_error(&f, REQUEST("5", "tools/call", "{\"name\":\"echo\\u0000\"}"), -32602);
    assert_error(&f, CALL("6", "echo", "{\"message\":\"a\",\"message\":\"b\"}"), -32602);
    assert_error(&f, CALL("7", "counter", "{\"by\":99999999999999999999}"), -32602);
    assert_error(&f, REQUEST("8", "resources/read", "{\"uri\":\"mesh://none\"}"), -32002);
    assert_error(&f, REQUEST("9", "prompts/get", "{\"name\":\"none\"}"), -32602);
    assert_error(&f, REQUEST("10", "logging/setLevel", "{\"level\":\"loud\"}"), -32602);
    assert_error(&f, "[" REQUEST("11", "ping", "{}") "]", -32600);
    tell(&f, "{\"jsonrpc\":\"2.0\",\"method\":\"no/such\"}");
    tell(&f, "{\"jsonrpc\":\"2.0\",\"id\":5,\"result\":{}}");
    assert_silent(&f);
    close_session(&f);
}

static void test_builtin_lists_tools_with_hints_that_say_what_may_run_twice(void **state)
{
    static const struct {
        const char *name;
        bool read_only, idempotent;
    } wanted[] = {{"echo", true, true},
                  {"whoami", true, true},
                  {"counter", false, false},
                  {"slow", true, true},
                  {"ask", false, false}};
    struct fixture f;
    json_t *answer;

    (void)state;
    open_session(&f, INITIALIZE("2025-11-25", "{}"));
    answer = ask(&f, REQUEST("1", "tools/list", "{}"));
    assert_int_equal(json_array_size(at(answer, "result.tools")), 5);
    for (size_t i = 0; i < 5; i++) {
        json_t *tool = json_array_get(at(answer, "result.tools"), i);

        assert_text_at(tool, "name", wanted[i].name);
        assert_text_at(tool, "inputSchema.type", "object");
        assert_int_equal(json_is_true(at(tool, "annotations.readOnlyHint")), wanted[i].read_only);
        assert_int_equal(json_is_true(at(tool, "annotations.idempotentHint")),
                         wanted[i].idempotent);
    }
    json_decref(answer);
    close_session(&f);
}

static void test_builtin_echo_returns_any_text(void **state)
{
    char *long_text = malloc(BUILTIN_TEXT_MAX + 512);
    struct fixture f;
    json_t *answer;

    (void)state;
    assert_non_null(long_text);
    open_session(&f, INITIALIZE("2025-11-25", "{}"));
    assert_tool_says(&f, CALL("1", "echo", "{\"message\":\"h\\u00e9\\\"\\n\"}"), "h\xc3\xa9\"\n",
                     false);
    answer = ask(&f, CALL("2", "echo", "{\"message\":\"a\\u0000b\"}"));
    assert_int_equal(json_string_length(at(answer, "result.content.0.text")), 3);
    json_decref(answer);
    for (size_t over = 0; over < 2; over++) {
        size_t head = (size_t)sprintf(long_text, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":"
                                                 "\"tools/call\",\"params\":{\"name\":\"echo\","
                                                 "\"arguments\":{\"message\":\"");

        memset(long_text + head, 'x', BUILTIN_TEXT_MAX + over);
        memcpy(long_text + head + BUILTIN_TEXT_MAX + over, "\"}}}", 5);
        answer = ask(&f, long_text);
        assert_int_equal(json_is_true(at(answer, "result.isError")), over);
        json_decref(answer);
    }
    assert_tool_says(&f, CALL("3", "echo", "{}"), "echo wants \"message\": a text of at most 1 MiB",
                     true);
    free(long_text);
    close_session(&f);
}

static void test_builtin_keeps_a_counter_per_session(void **state)
{
    struct fixture f, second;

    (void)state;
    open_session(&f, INITIALIZE("2025-11-25", "{}"));
    second = f;
    assert_int_equal(builtin_open(f.builtin, &second.session), 0);
    json_decref(ask(&second, INITIALIZE("2025-11-25", "{}")));
    assert_tool_says(&f, CALL("1", "counter", "{}"), "1", false);
    assert_tool_says(&f, CALL("2", "counter", "{\"by\":-5}"), "-4", false);
    assert_tool_says(&second, CALL("1", "counter", "{\"by\":9223372036854775807}"),
                     "9223372036854775807", false);
    assert_tool_says(&second, CALL("2", "counter", "{}"), "the counter would overflow", true);
    assert_tool_says(&f, CALL("3", "counter", "{}"), "-3", false);
    builtin_close(second.session);
    close_session(&f);
}

static void test_builtin_whoami_names_the_peer_and_counts_messages(void **state)
{
    struct fixture f;
    json_t *answer;

    (void)state;
    open_session(&f, INITIALIZE("2025-11-25", "{}"));
    answer = ask(&f, CALL("1", "whoami", "{}"));
    assert_text_at(answer, "result.structuredContent.name", "peer-a");
    assert_number_at(answer, "result.structuredContent.messages", 3);
    json_decref(answer);
    close_session(&f);
}

static void test_builtin_slow_reports_each_step_in_time_and_then_answers(void **state)
{
    struct fixture f;
    json_t *answer;

    (void)state;
    open_session(&f, INITIALIZE("2025-11-25", "{}"));
    tell(&f, REQUEST("1", "tools/call",
                     "{\"name\":\"slow\",\"arguments\":{\"seconds\":1,\"steps\":3},"
                     "\"_meta\":{\"progressToken\":\"p\"}}"));
    assert_silent(&f);
    for (int step = 1; step <= 3; step++) {
        uint64_t due_ms = builtin_deadline_ms(f.session);

        assert_int_equal(due_ms, 1000 + (step * 1000 + 2) / 3);
        assert_int_equal(builtin_now(f.session, due_ms - 1), 0);
        assert_silent(&f);
        assert_int_equal(builtin_now(f.session, due_ms), 0);
        assert_int_equal(builtin_deadline_ms(f.session), 0);
        answer = hear(&f);
        assert_text_at(answer, "method", "notifications/progress");
        assert_text_at(answer, "params.progressToken", "p");
        assert_number_at(answer, "params.progress", step);
        assert_number_at(answer, "params.total", 3);
        json_decref(answer);
    }
    answer = hear(&f);
    assert_number_at(answer, "id", 1);
    assert_text_at(answer, "result.content.0.text", "done: 3 steps in 1000 ms");
    json_decref(answer);
    assert_int_equal(builtin_deadline_ms(f.session), MESH_NEVER);
    close_session(&f);
}

static void test_builtin_slow_without_a_token_only_answers(void **state)
{
    struct fixture f;
    json_t *answer;

    (void)state;
    open_session(&f, INITIALIZE("2025-11-25", "{}"));
    tell(&f, CALL("1", "slow", "{\"seconds\":0.5,\"steps\":4}"));
    tell(&f, CALL("2", "slow", "{\"seconds\":0}"));
    assert_int_equal(builtin_now(f.session, 1000), 0);
    answer = hear(&f);
    assert_number_at(answer, "id", 2);
    json_decref(answer);
    assert_int_equal(builtin_now(f.session, 1499), 0);
    assert_silent(&f);
    assert_int_equal(builtin_now(f.session, 90000), 0);
    answer = hear(&f);
    assert_number_at(answer, "id", 1);
    json_decref(answer);
    assert_silent(&f);
    assert_tool_says(&f, CALL("3", "slow", "{\"seconds\":601}"),
                     "slow wants \"seconds\": a number from 0 to 600", true);
    assert_tool_says(&f, CALL("3", "slow", "{\"steps\":0}"),
                     "slow wants \"steps\": a whole number from 1 to 100", true);
    close_session(&f);
}

static void test_builtin_a_cancelled_call_is_never_answered(void **state)
{
    struct fixture f;

    (void)state;
    open_session(&f, INITIALIZE("2025-11-25", "{}"));
    tell(&f, CALL("\"s\"", "slow", "{}"));
    tell(&f, "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\","
             "\"params\":{\"requestId\":\"t\"}}");
    assert_true(builtin_deadline_ms(f.session) != MESH_NEVER);
    tell(&f, "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\","
             "\"params\":{\"requestId\":\"s\"}}");
    assert_true(builtin_deadline_ms(f.session) == MESH_NEVER);
    assert_int_equal(builtin_now(f.session, 90000), 0);
    assert_silent(&f);
    close_session(&f);
}

static void test_builtin_open_calls_are_bounded(void **state)
{
    struct fixture f;
    char text[256];

    (void)state;
    open_session(&f, INITIALIZE("2025-11-25", "{}"));
    for (int i = 0; i < BUILTIN_CALLS_MAX; i++) {
        snprintf(text, sizeof text,
                 "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"tools/call\",\"params\":{\"name\":"
                 "\"slow\"}}",
                 i + 1);
        tell(&f, text);
    }
    assert_silent(&f);
    assert_tool_says(&f, CALL("99", "slow", "{}"), "too many calls are open", true);
    close_session(&f);
}

static void test_builtin_ask_returns_what_the_user_answers(void **state)
{
    static const char *const answers[][3] = {
        {"\"result\":{\"action\":\"accept\",\"content\":{\"answer\":\"blue\"}}", "blue", ""},
        {"\"result\":{\"action\":\"decline\"}", "declined", ""},
        {"\"result\":{\"action\":\"cancel\"}", "cancelled", ""},
        {"\"result\":{\"action\":\"accept\",\"content\":{\"answer\":7}}",
         "the answer has no usable text", "error"},
        {"\"result\":{}", "the client could not ask", "error"},
        {"\"error\":{\"code\":-32601,\"message\":\"x\"}", "the client could not ask", "error"},
    };
    struct fixture f;

    (void)state;
    open_session(&f, INITIALIZE("2025-06-18", "{\"elicitation\":{}}"));
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        json_t *question = ask(&f, CALL("4", "ask", "{\"question\":\"Colour?\"}"));
        char text[256];

        assert_text_at(question, "method", "elicitation/create");
        assert_text_at(question, "params.message", "Colour?");
        assert_text_at(question, "params.requestedSchema.properties.answer.type", "string");
        snprintf(text, sizeof text, "{\"jsonrpc\":\"2.0\",\"id\":\"%s\",%s}",
                 json_string_value(at(question, "id")), answers[i][0]);
        assert_tool_says(&f, text, answers[i][1], answers[i][2][0] != '\0');
        tell(&f, text); /* a second answer finds no question */
        assert_silent(&f);
        json_decref(question);
    }
    close_session(&f);
}

static void test_builtin_asks_only_a_client_that_declared_it(void **state)
{
    static const char *const initializes[] = {
        INITIALIZE("2025-11-25", "{}"),
        INITIALIZE("2025-11-25", "{\"elicitation\":{\"url\":{}}}"),
        INITIALIZE("2025-03-26", "{\"elicitation\":{}}"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof initializes / sizeof initializes[0]; i++) {
        struct fixture f;

        open_session(&f, initializes[i]);
        assert_tool_says(&f, CALL("1", "ask", "{\"question\":\"?\"}"),
                         "this client did not declare elicitation: nobody can be asked", true);
        close_session(&f);
    }
}

static void test_builtin_withdraws_a_question_nobody_needs_or_answers(void **state)
{
    struct fixture f;
    json_t *question, *message;

    (void)state;
    open_session(&f, INITIALIZE("2025-11-25", "{\"elicitation\":{\"form\":{}}}"));
    question = ask(&f, CALL("1", "ask", "{\"question\":\"?\"}"));
    message = ask(&f, "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\","
                      "\"params\":{\"requestId\":1}}");
    assert_text_at(message, "method", "notifications/cancelled");
    assert_true(json_equal(at(message, "params.requestId"), at(question, "id")));
    assert_silent(&f);
    json_decref(message);
    json_decref(question);

    question = ask(&f, CALL("2", "ask", "{\"question\":\"?\"}"));
    assert_int_equal(builtin_now(f.session, f.now_ms + BUILTIN_ASK_TIMEOUT_MS), 0);
    message = hear(&f);
    assert_true(json_equal(at(message, "params.requestId"), at(question, "id")));
    json_decref(message);
    message = hear(&f);
    assert_number_at(message, "id", 2);
    assert_true(json_is_true(at(message, "result.isError")));
    json_decref(message);
    json_decref(question);
    close_session(&f);
}

static void test_builtin_reads_what_the_host_shows(void **state)
{
    struct fixture f;
    json_t *answer;

    (void)state;
    open_session(&f, INITIALIZE("2025-11-25", "{}"));
    answer = ask(&f, REQUEST("1", "resources/list", "{}"));
    assert_text_at(answer, "result.resources.0.uri", "mesh://members");
    assert_text_at(answer, "result.resources.1.uri", "mesh://sessions");
    json_decref(answer);
    answer = ask(&f, REQUEST("2", "resources/templates/list", "{}"));
    assert_text_at(answer, "result.resourceTemplates.0.uriTemplate", "mesh://members/{name}");
    json_decref(answer);
    answer = ask(&f, REQUEST("3", "resources/read", "{\"uri\":\"mesh://members/peer-a\"}"));
    assert_text_at(answer, "result.contents.0.text", "{\"name\":\"peer-a\"}");
    json_decref(answer);
    assert_error(&f, REQUEST("4", "resources/read", "{\"uri\":\"mesh://members/peer-b\"}"), -32002);
    assert_error(&f, REQUEST("5", "resources/read", "{\"uri\":\"mesh://members/\"}"), -32002);
    answer = ask(&f, REQUEST("6", "prompts/list", "{}"));
    assert_text_at(answer, "result.prompts.0.name", "mesh-report");
    json_decref(answer);
    answer = ask(&f, REQUEST("7", "prompts/get", "{\"name\":\"mesh-report\"}"));
    assert_non_null(
        strstr(json_string_value(at(answer, "result.messages.0.content.text")), "peer-a"));
    json_decref(answer);
    close_session(&f);
}

static void test_builtin_tells_watchers_once_of_changes(void **state)
{
    struct fixture f;
    json_t *message;

    (void)state;
    open_session(&f, INITIALIZE("2025-11-25", "{}"));
    builtin_members_changed(f.builtin);
    assert_silent(&f);
    json_decref(ask(&f, REQUEST("1", "resources/subscribe", "{\"uri\":\"mesh://members\"}")));
    json_decref(ask(&f, REQUEST("2", "resources/subscribe", "{\"uri\":\"mesh://members\"}")));
    assert_error(&f, REQUEST("3", "resources/subscribe", "{\"uri\":\"mesh://members/x\"}"), -32002);
    assert_error(&f, REQUEST("4", "resources/subscribe", "{\"uri\":\"mesh://sessions\"}"), -32602);
    assert_true(builtin_deadline_ms(f.session) == MESH_NEVER);
    builtin_members_changed(f.builtin);
    builtin_members_changed(f.builtin);
    assert_int_equal(builtin_deadline_ms(f.session), 0);
    message = hear(&f);
    assert_text_at(message, "method", "notifications/resources/updated");
    assert_text_at(message, "params.uri", "mesh://members");
    json_decref(message);
    assert_silent(&f);
    json_decref(ask(&f, REQUEST("5", "resources/unsubscribe", "{\"uri\":\"mesh://members\"}")));
    builtin_members_changed(f.builtin);
    assert_silent(&f);
    close_session(&f);
}

static void test_builtin_logs_only_what_was_asked_for(void **state)
{
    struct fixture f;
    json_t *message;

    (void)state;
    open_session(&f, INITIALIZE("2025-11-25", "{}"));
    assert_tool_says(&f, CALL("1", "counter", "{}"), "1", false);
    json_decref(ask(&f, REQUEST("2", "logging/setLevel", "{\"level\":\"info\"}")));
    message = ask(&f, CALL("3", "counter", "{}"));
    assert_text_at(message, "method", "notifications/message");
    assert_text_at(message, "params.level", "info");
    json_decref(message);
    json_decref(hear(&f));
    json_decref(ask(&f, REQUEST("4", "logging/setLevel", "{\"level\":\"warning\"}")));
    assert_tool_says(&f, CALL("5", "counter", "{}"), "3", false);
    assert_silent(&f);
    close_session(&f);
}

static void test_builtin_frees_what_was_never_heard(void **state)
{
    struct fixture f;
    struct builtin_session *second;

    (void)state;
    open_session(&f, INITIALIZE("2025-11-25", "{\"elicitation\":{}}"));
    assert_int_equal(builtin_open(f.builtin, &second), 0);
    tell(&f, CALL("1", "ask", "{\"question\":\"?\"}"));
    tell(&f, CALL("2", "slow", "{}"));
    tell(&f, CALL("3", "echo", "{\"message\":\"x\"}"));
    builtin_close(NULL);
    builtin_free(f.builtin); /* with both sessions open */
    builtin_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_builtin_negotiates_each_legacy_version),
        cmocka_unit_test(test_builtin_serves_nothing_but_ping_before_initialize),
        cmocka_unit_test(test_builtin_answers_with_the_id_byte_for_byte),
        cmocka_unit_test(test_builtin_refuses_what_it_does_not_know),
        cmocka_unit_test(test_builtin_lists_tools_with_hints_that_say_what_may_run_twice),
        cmocka_unit_test(test_builtin_echo_returns_any_text),
        cmocka_unit_test(test_builtin_keeps_a_counter_per_session),
        cmocka_unit_test(test_builtin_whoami_names_the_peer_and_counts_messages),
        cmocka_unit_test(test_builtin_slow_reports_each_step_in_time_and_then_answers),
        cmocka_unit_test(test_builtin_slow_without_a_token_only_answers),
        cmocka_unit_test(test_builtin_a_cancelled_call_is_never_answered),
        cmocka_unit_test(test_builtin_open_calls_are_bounded),
        cmocka_unit_test(test_builtin_ask_returns_what_the_user_answers),
        cmocka_unit_test(test_builtin_asks_only_a_client_that_declared_it),
        cmocka_unit_test(test_builtin_withdraws_a_question_nobody_needs_or_answers),
        cmocka_unit_test(test_builtin_reads_what_the_host_shows),
        cmocka_unit_test(test_builtin_tells_watchers_once_of_changes),
        cmocka_unit_test(test_builtin_logs_only_what_was_asked_for),
        cmocka_unit_test(test_builtin_frees_what_was_never_heard),
    };

    return cmocka_run_group_tests_name("builtin", tests, NULL, NULL);
}
