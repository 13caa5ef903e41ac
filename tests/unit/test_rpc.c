/* test_rpc.c - the scanner against the J rows of the bad inputs, against itself cut anywhere, and
 * against jansson as a slow reference; ids and writers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <jansson.h>

#include "mesh/base/rng.h"
#include "mesh/base/rpc.h"
#include "mesh/base/siphash.h"

#define HEAD "{\"jsonrpc\":\"2.0\","
#define PARSE RPC_PARSE_ERROR
#define INVALID RPC_INVALID_REQUEST

static const struct rpc_case {
    const char *text;
    size_t length;
    enum rpc_kind kind;
    int fault;
} cases[] = {
#define CASE(text, kind, fault)                                                                    \
    {                                                                                              \
        text, sizeof text - 1, kind, fault                                                         \
    }
#define GOOD(text, kind) CASE(text, kind, 0)
#define BAD(text, fault) CASE(text, RPC_BAD, fault)
    /* J1 */
    BAD("", PARSE),
    BAD(" \n", PARSE),
    BAD("{}", INVALID),
    BAD("null", INVALID),
    BAD("\"x\"", INVALID),
    BAD("1", INVALID),
    BAD("true", INVALID),
    BAD("[]", INVALID),
    BAD("[[]]", INVALID),
    BAD("[null]", INVALID),
    /* J2 */
    BAD(HEAD "\"id\":1,\"method\":\"ping\"", PARSE),
    BAD(HEAD "\"id\":1,\"method\":\"ping\"}x", PARSE),
    BAD(HEAD "\"id\":1,\"method\":\"ping\"}{}", PARSE),
    BAD(HEAD "\"id\":1,\"method\":\"ping\"}\0", PARSE),
    BAD(HEAD "\"id\":1,\"method\":\"ping\",}", PARSE),
    BAD(HEAD "\"id\":1 \"method\":\"ping\"}", PARSE),
    BAD(HEAD "\"id\" 1}", PARSE),
    BAD(HEAD "id:1}", PARSE),
    BAD("{,}", PARSE),
    BAD("[1,]", PARSE),
    BAD("[,1]", PARSE),
    BAD("[1 2]", PARSE),
    BAD("[1}", PARSE),
    BAD("{\"a\":1]", PARSE),
    BAD("]", PARSE),
    BAD("{'a':1}", PARSE),
    BAD("[1]//", PARSE),
    BAD("\f{}", PARSE),
    BAD("nul", PARSE),
    BAD("nulL", PARSE),
    BAD("truee", PARSE),
    BAD("True", PARSE),
    /* J3 */
    GOOD("[" HEAD "\"id\":1,\"method\":\"ping\"}]", RPC_BATCH),
    GOOD(" [ " HEAD "\"id\":1,\"method\":\"ping\"} , " HEAD "\"method\":\"x\"} ] ", RPC_BATCH),
    GOOD("[" HEAD "\"id\":1,\"result\":{}}]", RPC_BATCH),
    BAD("[" HEAD "\"id\":1,\"method\":\"ping\"},7]", INVALID),
    BAD("[" HEAD "\"id\":1,\"method\":\"ping\"},{}]", INVALID),
    BAD("[" HEAD "\"id\":1,\"method\":\"ping\",\"method\":\"ping\"}]", INVALID),
    BAD("[" HEAD "\"id\":1,\"Method\":\"x\",\"method\":\"ping\"}]", INVALID),
    /* J5 */
    BAD(HEAD "\"id\":1,\"method\":\"ping\",\"method\":\"ping\"}", INVALID),
    BAD(HEAD "\"id\":1,\"method\":\"ping\",\"m\\u0065thod\":\"ping\"}", INVALID),
    BAD(HEAD "\"id\":1,\"method\":\"ping\",\"id\":1}", INVALID),
    BAD(HEAD "\"id\":1,\"method\":\"ping\",\"params\":{},\"params\":{}}", INVALID),
    BAD(HEAD "\"id\":1,\"method\":\"ping\",\"jsonrpc\":\"2.0\"}", INVALID),
    BAD(HEAD "\"id\":1,\"result\":{},\"result\":{}}", INVALID),
    BAD(HEAD "\"id\":1,\"error\":{},\"error\":{}}", INVALID),
    /* J6 */
    BAD(HEAD "\"id\":1,\"Method\":\"ping\"}", INVALID),
    BAD(HEAD "\"id\":1,\"METHOD\":\"ping\"}", INVALID),
    BAD(HEAD "\"id\":1,\"method\\u0000\":\"ping\"}", INVALID),
    BAD(HEAD "\"id\":1,\"method\":\"ping\",\"Method\":\"x\"}", INVALID),
    BAD(HEAD "\"id\":1,\"method\":\"ping\",\"ID\":2}", INVALID),
    BAD(HEAD "\"id\":1,\"method\":\"ping\",\"method\\u0000\":\"x\"}", INVALID),
    BAD(HEAD "\"id\":1,\"method\":\"ping\",\"method\\u0000junk\":\"x\"}", INVALID),
    BAD(HEAD "\"id\":1,\"method\":\"ping\",\"param\xC5\xBF\":{}}", INVALID),
    BAD(HEAD "\"id\":1,\"method\":\"ping\",\"param\\u017f\":{}}", INVALID),
    BAD(HEAD "\"id\":1,\"method\":\"ping\",\"re\\u017fULT\":{}}", INVALID),
    GOOD(HEAD "\"id\":1,\"method\":\"ping\",\"method2\":{},\"meth\":1,\"\":2}", RPC_REQUEST),
    GOOD(HEAD "\"id\":1,\"method\":\"ping\",\"params\":{\"Method\":1,\"id\":2,\"id\":3}}",
         RPC_REQUEST),
    /* J7 */
    BAD("[\"\xFF\"]", PARSE),
    BAD("[\"\x80\"]", PARSE),
    BAD("[\"\xC0\xAF\"]", PARSE),
    BAD("[\"\xC1\xBF\"]", PARSE),
    BAD("[\"\xE0\x9F\xBF\"]", PARSE),
    BAD("[\"\xED\xA0\x80\"]", PARSE),
    BAD("[\"\xF0\x8F\xBF\xBF\"]", PARSE),
    BAD("[\"\xF4\x90\x80\x80\"]", PARSE),
    BAD("[\"\xF5\x80\x80\x80\"]", PARSE),
    BAD("[\"\xE2\x82\"]", PARSE),
    BAD("[\"\xE2\x82", PARSE),
    BAD("[\"\xC3\"]", PARSE),
    BAD("[\"\xE2\x28\xA1\"]", PARSE),
    BAD("[\"\\ud800\"]", PARSE),
    BAD("[\"\\ud83d\\ude00\\ude00\"]", PARSE),
    BAD("[\"\\ud83d\\ude00\\u0041\\ud83d\\ude00\"]", INVALID),
    BAD("[\"\\ud800x\"]", PARSE),
    BAD("[\"\\ud800\\n\"]", PARSE),
    BAD("[\"\\ud800\\u0041\"]", PARSE),
    BAD("[\"\\ud800\\ud800\"]", PARSE),
    BAD("[\"\\udc00\"]", PARSE),
    BAD("[\"\\udc00\\ud800\"]", PARSE),
    BAD("[\"\\u12g4\"]", PARSE),
    BAD("[\"\\u12\"]", PARSE),
    BAD("[\"\\x41\"]", PARSE),
    BAD("[\"\\\0\"]", PARSE),
    BAD("[\"\n\"]", PARSE),
    BAD("[\"\0\"]", PARSE),
    BAD("[\"\x1F\"]", PARSE),
    BAD("\xEF\xBB\xBF{}", PARSE),
    BAD("\xFE\xFF\0{\0}", PARSE),
    BAD("{\0}\0", PARSE),
    BAD("\xC2\xA0{}", PARSE),
    GOOD(HEAD "\"id\":\"\\ud83d\\ude00 \xF0\x9F\x98\x80 \xE2\x82\xAC\x7F\",\"method\":\"a\\/b\"}",
         RPC_REQUEST),
    GOOD(HEAD "\"id\":\"\xED\x9F\xBF\xEE\x80\x80\xF4\x8F\xBF\xBF\xC2\x80\xE0\xA0\x80\xF0\x90\x80"
              "\x80\",\"result\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uD7FF\\uE000\"}",
         RPC_RESPONSE),
    /* J8 */
    BAD(HEAD "\"id\":{},\"method\":\"ping\"}", INVALID),
    BAD(HEAD "\"id\":[1],\"method\":\"ping\"}", INVALID),
    BAD(HEAD "\"id\":true,\"method\":\"ping\"}", INVALID),
    BAD(HEAD "\"id\":null,\"method\":\"ping\"}", INVALID),
    BAD(HEAD "\"id\":null,\"result\":{}}", INVALID),
    BAD(HEAD "\"result\":{}}", INVALID),
    GOOD(HEAD "\"id\":1e400,\"method\":\"ping\"}", RPC_REQUEST),
    GOOD(HEAD "\"id\":-0,\"method\":\"ping\"}", RPC_REQUEST),
    GOOD(HEAD "\"id\":9007199254740993,\"method\":\"ping\"}", RPC_REQUEST),
    GOOD(HEAD "\"id\":\"\",\"method\":\"ping\"}", RPC_REQUEST),
    GOOD(HEAD "\"id\":null,\"error\":{\"code\":-32700,\"message\":\"\"}}", RPC_ERROR),
    GOOD(HEAD "\"error\":{\"code\":-32700,\"message\":\"\"}}", RPC_ERROR),
    GOOD(HEAD "\"id\":1,\"error\":{\"code\":1,\"message\":\"\"}}", RPC_ERROR),
    BAD(HEAD "\"id\":false,\"error\":{}}", INVALID),
    BAD(HEAD "\"id\":1,\"error\":\"no\"}", INVALID),
    BAD(HEAD "\"id\":1,\"result\":{},\"error\":{}}", INVALID),
    BAD(HEAD "\"id\":1,\"result\":{},\"method\":\"x\"}", INVALID),
    BAD(HEAD "\"id\":1,\"error\":{},\"method\":\"x\"}", INVALID),
    /* J13 */
    BAD("{\"id\":1,\"method\":\"ping\"}", INVALID),
    BAD("{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"ping\"}", INVALID),
    BAD("{\"jsonrpc\":2.0,\"id\":1,\"method\":\"ping\"}", INVALID),
    BAD("{\"jsonrpc\":\"2.0 \",\"id\":1,\"method\":\"ping\"}", INVALID),
    GOOD("{\"id\":1,\"method\":\"ping\",\"jsonrpc\":\"2\\u002e0\"}", RPC_REQUEST),
    /* J14 */
    BAD(HEAD "\"id\":1,\"method\":\"\"}", INVALID),
    BAD(HEAD "\"id\":1,\"method\":5}", INVALID),
    BAD(HEAD "\"id\":1,\"method\":{}}", INVALID),
    BAD(HEAD "\"id\":1}", INVALID),
    GOOD(HEAD "\"id\":1,\"method\":\"rpc.x\"}", RPC_REQUEST),
    BAD(HEAD "\"id\":1,\"method\":\"ping\",\"params\":1}", INVALID),
    BAD(HEAD "\"id\":1,\"method\":\"ping\",\"params\":null}", INVALID),
    BAD(HEAD "\"id\":1,\"method\":\"ping\",\"params\":\"x\"}", INVALID),
    GOOD(HEAD "\"id\":1,\"method\":\"ping\",\"params\":[1,{\"name\":\"x\"}]}", RPC_REQUEST),
    GOOD(HEAD "\"method\":\"notifications/initialized\"}", RPC_NOTIFICATION),
    GOOD(HEAD "\"id\":1,\"result\":null}", RPC_RESPONSE),
    /* J16 */
    BAD("[1E999999999]", PARSE),
    BAD("[1e10000]", PARSE),
    BAD("[1e-10000]", PARSE),
    BAD("[1e99999999999999999999999999]", PARSE),
    BAD("[NaN]", PARSE),
    BAD("[Infinity]", PARSE),
    BAD("[-Infinity]", PARSE),
    BAD("[01]", PARSE),
    BAD("[-01]", PARSE),
    BAD("[.5]", PARSE),
    BAD("[5.]", PARSE),
    BAD("[5.e1]", PARSE),
    BAD("[1e]", PARSE),
    BAD("[1e+]", PARSE),
    BAD("[1e+-1]", PARSE),
    BAD("[+1]", PARSE),
    BAD("[-]", PARSE),
    BAD("[--1]", PARSE),
    BAD("[0x1]", PARSE),
    BAD("[1_000]", PARSE),
    BAD("-", PARSE),
    BAD("1.", PARSE),
    BAD("1e", PARSE),
    BAD("1e5 ", INVALID),
    BAD("1.5", INVALID),
    BAD("-0", INVALID),
    BAD("-0.5E-3", INVALID),
    GOOD(HEAD "\"id\":1,\"result\":[0,-0,1.5e+3,0E0,0.0,123456789,1e0009999]}", RPC_RESPONSE),
};
#define CASES (sizeof cases / sizeof *cases)

/* Texts with many facts: what the tests of facts, cuts and mutations start from. */
static const char *const messages[] = {
    HEAD "\"id\":1,\"method\":\"tools\\/call\",\"params\":{\"name\":\"get\\u002dsum\","
         "\"arguments\":{\"name\":\"no\",\"a\":[1,2.5e3,{\"uri\":\"no\"}],\"b\":null},"
         "\"_meta\":{\"progressToken\":\"t-1\",\"io.modelcontextprotocol/related-task\":"
         "{\"taskId\":\"r1\"},\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\"},"
         "\"task\":{\"ttl\":60000,\"taskId\":\"no\"},\"requestState\":\"st\\\"ate\"}}",
    " {\"params\" : { \"progressToken\" : 7 , \"progress\" : 0.5 , \"_meta\" : {\"progressToken\":8"
    "} } ,\r\n\t\"method\":\"notifications/progress\" , \"jsonrpc\" : \"2.0\" }\n",
    HEAD "\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":\"a\\/b\"}}",
    HEAD "\"id\":\"1\",\"method\":\"resources/read\",\"params\":{\"uri\":\"demo://x\"}}",
    HEAD "\"id\":-1.50e1,\"method\":\"initialize\",\"params\":{\"protocolVersion\":\"2025-06-18\","
         "\"capabilities\":{},\"clientInfo\":{\"name\":\"no\",\"version\":\"1\"}}}",
    HEAD "\"id\":0,\"result\":{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{},"
         "\"serverInfo\":{\"name\":\"s\"}}}",
    HEAD
    "\"id\":2,\"result\":{\"task\":{\"taskId\":\"t2\",\"status\":\"working\"},\"requestState\":"
    "\"abc\",\"_meta\":{\"io.modelcontextprotocol/related-task\":{\"taskId\":\"t2\"}}}}",
    HEAD "\"id\":3,\"result\":{\"resultType\":\"task\",\"taskId\":\"t3\",\"task\":{\"taskId\":"
         "\"no\"}}}",
    HEAD "\"id\":4,\"method\":\"tasks/get\",\"params\":{\"taskId\":\"t4\"}}",
    HEAD "\"id\":5,\"error\":{\"code\":-32601,\"message\":\"\xC3\xA9 \\u00e9\",\"data\":[true,"
         "false,null]}}",
    HEAD "\"id\":6,\"result\":{\"tools\":[{\"name\":\"a\",\"annotations\":{\"readOnlyHint\":true,"
         "\"idempotentHint\":false},\"inputSchema\":{\"name\":\"no\",\"annotations\":"
         "{\"readOnlyHint\":true}}},{\"annotations\":{\"idempotentHint\":true,\"title\":\"x\"},"
         "\"name\":\"b\\u0062\"},{\"title\":\"nameless\"},7,{\"name\":\"c\"}]}}",
    "[" HEAD "\"id\":7,\"method\":\"ping\"}," HEAD
    "\"id\":8,\"method\":\"x\",\"params\":{\"_meta\":"
    "{\"io.modelcontextprotocol/protocolVersion\":1}}}]",
};
#define MESSAGES (sizeof messages / sizeof *messages)

static struct rpc_tools whole_tools, cut_tools;

/* The raw text of a span; NULL for an absent one. */
static const char *raw(const char *text, struct span span)
{
    static char copies[4][256];
    static int turn;
    char *copy = copies[turn++ % 4];

    if (span.length == 0)
        return "(absent)";
    assert_true(span.length < sizeof copies[0]);
    memcpy(copy, text + span.at, span.length);
    copy[span.length] = '\0';
    return copy;
}
#define assert_span(text, span, expected) assert_string_equal(raw(text, span), expected)

static void read_text(struct rpc_message *facts, const char *text)
{
    rpc_read(facts, NULL, text, strlen(text));
}

static void test_rows_get_their_kind_and_fault(void **state)
{
    struct rpc_message facts;

    (void)state;
    for (size_t i = 0; i < CASES; i++) {
        rpc_read(&facts, NULL, cases[i].text, cases[i].length);
        if (facts.kind != cases[i].kind || facts.fault != cases[i].fault)
            fail_msg("%s: kind %d fault %d", cases[i].text, (int)facts.kind, facts.fault);
    }
}

static void scan_cut(struct rpc_scan *scan, struct rpc_tools *tools, const uint8_t *text,
                     size_t length, size_t cut, size_t step)
{
    bool alive;

    rpc_scan_begin(scan, tools);
    alive = rpc_scan_feed(scan, text, cut);
    for (size_t at = cut; at < length && alive; at += step) {
        size_t part = step < length - at ? step : length - at;
        uint8_t *copy = malloc(part); /* so that a look beyond a part is seen by the sanitizer */

        assert_non_null(copy);
        memcpy(copy, text + at, part);
        alive = rpc_scan_feed(scan, copy, part);
        free(copy);
    }
    rpc_scan_end(scan);
}

static void check_cuts(const void *text, size_t length)
{
    struct rpc_scan whole, cut;

    scan_cut(&whole, &whole_tools, text, length, length, 1);
    for (size_t at = 0; at <= length; at++) {
        scan_cut(&cut, &cut_tools, text, length, at, at == 0 ? 1 : at % 2 == 0 ? length : 7);
        assert_memory_equal(&whole.facts, &cut.facts, sizeof whole.facts);
        assert_int_equal(whole_tools.count, cut_tools.count);
        for (uint32_t i = 0; i < cut_tools.count; i++) {
            assert_int_equal(whole_tools.tools[i].name.at, cut_tools.tools[i].name.at);
            assert_int_equal(whole_tools.tools[i].name.length, cut_tools.tools[i].name.length);
            assert_int_equal(whole_tools.tools[i].read_only, cut_tools.tools[i].read_only);
            assert_int_equal(whole_tools.tools[i].idempotent, cut_tools.tools[i].idempotent);
        }
    }
}

static void test_a_text_cut_anywhere_gives_the_same_facts(void **state)
{
    (void)state;
    for (size_t i = 0; i < CASES; i++)
        check_cuts(cases[i].text, cases[i].length);
    for (size_t i = 0; i < MESSAGES; i++)
        check_cuts(messages[i], strlen(messages[i]));
}

static void test_a_call_shows_its_facts(void **state)
{
    const char *text = messages[0];
    struct rpc_message facts;

    (void)state;
    read_text(&facts, text);
    assert_int_equal(facts.kind, RPC_REQUEST);
    assert_int_equal(facts.method, RPC_TOOLS_CALL);
    assert_span(text, facts.method_name, "tools\\/call");
    assert_span(text, facts.id, "1");
    assert_span(text, facts.name, "get\\u002dsum");
    assert_span(text, facts.progress_token, "\"t-1\"");
    assert_span(text, facts.meta_version, "2026-07-28");
    assert_span(text, facts.related_task, "\"r1\"");
    assert_span(text, facts.request_state, "\"st\\\"ate\"");
    assert_span(text, facts.task_id, "(absent)");
    assert_span(text, facts.version, "(absent)");
    assert_true(facts.has_task);
    assert_int_equal(text[facts.params.at], '{');
    assert_int_equal(facts.params.at + facts.params.length, strlen(text) - 1);
}

static void test_notifications_name_what_they_speak_of(void **state)
{
    struct rpc_message facts;

    (void)state;
    read_text(&facts, messages[1]);
    assert_int_equal(facts.kind, RPC_NOTIFICATION);
    assert_int_equal(facts.method, RPC_PROGRESS);
    assert_span(messages[1], facts.progress_token, "7");
    read_text(&facts, messages[2]);
    assert_int_equal(facts.method, RPC_CANCELLED);
    assert_span(messages[2], facts.cancels, "\"a\\/b\"");
    read_text(&facts, HEAD "\"id\":1,\"method\":\"ping\",\"params\":{\"requestId\":1,"
                           "\"progressToken\":2}}");
    assert_int_equal(facts.cancels.length, 0);
    assert_int_equal(facts.progress_token.length, 0);
}

static void test_a_uri_is_the_name_where_there_is_no_name(void **state)
{
    const char *both = HEAD "\"id\":1,\"method\":\"x\",\"params\":{\"uri\":\"u\",\"name\":\"n\"}}";
    struct rpc_message facts;

    (void)state;
    read_text(&facts, messages[3]);
    assert_int_equal(facts.method, RPC_RESOURCES_READ);
    assert_span(messages[3], facts.id, "\"1\"");
    assert_span(messages[3], facts.name, "demo://x");
    read_text(&facts, both);
    assert_span(both, facts.name, "n");
}

static void test_versions_and_tasks_are_found_on_both_ways(void **state)
{
    struct rpc_message facts;

    (void)state;
    read_text(&facts, messages[4]);
    assert_int_equal(facts.method, RPC_INITIALIZE);
    assert_span(messages[4], facts.version, "2025-06-18");
    assert_span(messages[4], facts.id, "-1.50e1");
    assert_span(messages[4], facts.name, "(absent)");
    read_text(&facts, messages[5]);
    assert_int_equal(facts.kind, RPC_RESPONSE);
    assert_span(messages[5], facts.version, "2025-11-25");
    read_text(&facts, messages[6]);
    assert_span(messages[6], facts.task_id, "\"t2\"");
    assert_span(messages[6], facts.request_state, "\"abc\"");
    assert_span(messages[6], facts.related_task, "\"t2\"");
    assert_false(facts.has_task);
    read_text(&facts, messages[7]);
    assert_span(messages[7], facts.task_id, "\"t3\"");
    read_text(&facts, messages[8]);
    assert_int_equal(facts.method, RPC_TASKS_GET);
    assert_span(messages[8], facts.task_id, "\"t4\"");
}

static void test_the_last_of_two_equal_keys_below_the_top_counts(void **state)
{
    const char *names =
        HEAD "\"id\":1,\"method\":\"x\",\"params\":{\"name\":\"a\",\"name\":\"b\"}}";
    const char *types = HEAD "\"id\":1,\"method\":\"x\",\"params\":{\"name\":\"a\",\"name\":[]}}";
    const char *metas =
        HEAD "\"id\":1,\"method\":\"x\",\"params\":{\"_meta\":{\"progressToken\":1},"
             "\"_meta\":{}}}";
    struct rpc_message facts;

    (void)state;
    read_text(&facts, names);
    assert_span(names, facts.name, "b");
    read_text(&facts, types);
    assert_span(types, facts.name, "(absent)");
    read_text(&facts, metas);
    assert_int_equal(facts.kind, RPC_REQUEST);
    assert_span(metas, facts.progress_token, "(absent)");
}

static void test_a_bad_request_keeps_its_id_unless_it_has_two(void **state)
{
    const char *one = HEAD "\"id\":\"x\",\"method\":\"\"}";
    struct rpc_message facts;

    (void)state;
    read_text(&facts, one);
    assert_int_equal(facts.fault, INVALID);
    assert_span(one, facts.id, "\"x\"");
    read_text(&facts, HEAD "\"id\":1,\"method\":\"ping\",\"id\":2}");
    assert_int_equal(facts.id.length, 0);
    read_text(&facts, one + 1);
    assert_int_equal(facts.id.length, 0);
}

static void test_hints_of_tools_are_collected(void **state)
{
    const char *text = messages[10];
    struct rpc_message facts;
    struct rpc_tools *t = &whole_tools;

    (void)state;
    rpc_read(&facts, t, text, strlen(text));
    assert_int_equal(t->count, 3);
    assert_span(text, t->tools[0].name, "a");
    assert_true(t->tools[0].read_only);
    assert_false(t->tools[0].idempotent);
    assert_span(text, t->tools[1].name, "b\\u0062");
    assert_false(t->tools[1].read_only);
    assert_true(t->tools[1].idempotent);
    assert_span(text, t->tools[2].name, "c");
    assert_false(t->tools[2].read_only);
    assert_false(t->tools[2].idempotent);
    rpc_read(&facts, t, text, strlen(text) - 1);
    assert_int_equal(t->count, 0);
}

static void test_tools_beyond_the_cap_are_left_out(void **state)
{
    size_t room = 64 + 600 * 80, length;
    char *text = malloc(room);
    struct rpc_message facts;

    (void)state;
    assert_non_null(text);
    length = (size_t)snprintf(text, room, HEAD "\"id\":1,\"result\":{\"tools\":[");
    for (int i = 0; i < 600; i++)
        length += (size_t)snprintf(text + length, room - length,
                                   "%s{\"name\":\"t%d\",\"annotations\":{\"readOnlyHint\":true}}",
                                   i == 0 ? "" : ",", i);
    length += (size_t)snprintf(text + length, room - length, "]}}");
    rpc_read(&facts, &whole_tools, text, length);
    assert_int_equal(facts.kind, RPC_RESPONSE);
    assert_int_equal(whole_tools.count, RPC_TOOLS_MAX);
    assert_span(text, whole_tools.tools[511].name, "t511");
    assert_true(whole_tools.tools[511].read_only);
    free(text);
}

static void test_every_method_is_told_apart(void **state)
{
    static const struct {
        const char *name;
        enum rpc_method method;
    } names[] = {
        {"initialize", RPC_INITIALIZE},
        {"notifications/initialized", RPC_INITIALIZED},
        {"ping", RPC_PING},
        {"notifications/cancelled", RPC_CANCELLED},
        {"notifications/progress", RPC_PROGRESS},
        {"tools/list", RPC_TOOLS_LIST},
        {"tools/call", RPC_TOOLS_CALL},
        {"resources/list", RPC_RESOURCES_LIST},
        {"resources/templates/list", RPC_RESOURCES_TEMPLATES_LIST},
        {"resources/read", RPC_RESOURCES_READ},
        {"resources/subscribe", RPC_RESOURCES_SUBSCRIBE},
        {"resources/unsubscribe", RPC_RESOURCES_UNSUBSCRIBE},
        {"prompts/list", RPC_PROMPTS_LIST},
        {"prompts/get", RPC_PROMPTS_GET},
        {"completion/complete", RPC_COMPLETE},
        {"logging/setLevel", RPC_SET_LEVEL},
        {"server/discover", RPC_DISCOVER},
        {"subscriptions/listen", RPC_LISTEN},
        {"tasks/get", RPC_TASKS_GET},
        {"tasks/list", RPC_TASKS_LIST},
        {"tasks/result", RPC_TASKS_RESULT},
        {"tasks/cancel", RPC_TASKS_CANCEL},
        {"tasks/update", RPC_TASKS_UPDATE},
        {"notifications/roots/list_changed", RPC_ROOTS_CHANGED},
        {"tools/Call", RPC_OTHER},
        {"tools/cal", RPC_OTHER},
        {"tools/call ", RPC_OTHER},
        {"tools/call\\u0000", RPC_OTHER},
        {"\\u0070in\\u0067", RPC_PING},
    };
    struct rpc_message facts;
    char text[128];

    (void)state;
    assert_int_equal(sizeof names / sizeof *names, RPC_ROOTS_CHANGED + 5);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(text, sizeof text, HEAD "\"method\":\"%s\"}", names[i].name);
        read_text(&facts, text);
        assert_int_equal(facts.kind, RPC_NOTIFICATION);
        assert_int_equal(facts.method, names[i].method);
        assert_span(text, facts.method_name, names[i].name);
    }
}

static void test_a_batch_counts_its_entries_and_shows_a_modern_claim(void **state)
{
    struct rpc_message facts;
    char text[101 * 40];
    size_t length;

    (void)state;
    read_text(&facts, messages[11]);
    assert_int_equal(facts.kind, RPC_BATCH);
    assert_int_equal(facts.batch_count, 2);
    assert_true(facts.batch_has_modern);
    assert_int_equal(facts.id.length, 0);
    for (int entries = 99; entries <= 101; entries++) {
        length = 0;
        for (int i = 0; i < entries; i++)
            length += (size_t)snprintf(text + length, sizeof text - length,
                                       "%c" HEAD "\"method\":\"m\"}", i == 0 ? '[' : ',');
        snprintf(text + length, sizeof text - length, "]");
        read_text(&facts, text);
        assert_int_equal(facts.kind, entries <= 100 ? RPC_BATCH : RPC_BAD);
        assert_int_equal(facts.batch_count, entries <= 100 ? entries : 0);
        assert_false(facts.batch_has_modern);
    }
}

/* HEAD, then `depth` containers in all, then as many ends. */
static enum rpc_kind kind_at_depth(size_t depth, char open, char end)
{
    char text[400];
    struct rpc_message facts;
    size_t length = (size_t)snprintf(text, sizeof text, HEAD "\"id\":1,\"result\":");

    for (size_t i = 1; i < depth; i++) {
        text[length++] = open;
        if (open == '{' && i + 1 < depth) {
            memcpy(text + length, "\"\":", 3);
            length += 3;
        }
    }
    for (size_t i = 1; i < depth; i++)
        text[length++] = end;
    text[length++] = '}';
    rpc_read(&facts, NULL, text, length);
    assert_int_equal(facts.fault, facts.kind == RPC_BAD ? PARSE : 0);
    return facts.kind;
}

static void test_depth_64_is_read_and_65_is_refused(void **state)
{
    size_t length = 100000;
    char *text = malloc(length);
    struct rpc_scan scan;

    (void)state;
    assert_int_equal(kind_at_depth(64, '[', ']'), RPC_RESPONSE);
    assert_int_equal(kind_at_depth(65, '[', ']'), RPC_BAD);
    assert_int_equal(kind_at_depth(64, '{', '}'), RPC_RESPONSE);
    assert_int_equal(kind_at_depth(65, '{', '}'), RPC_BAD);
    assert_non_null(text);
    memset(text, '[', length);
    rpc_scan_begin(&scan, NULL);
    assert_true(rpc_scan_feed(&scan, text, 64));
    assert_false(rpc_scan_feed(&scan, text, length - 64));
    assert_false(rpc_scan_feed(&scan, text, 0));
    assert_int_equal(scan.facts.fault, PARSE);
    free(text);
}

/* A message with one string or number of `length` times `filler`. */
static void read_long(struct rpc_message *facts, const char *before, const char *filler,
                      size_t times, const char *after)
{
    size_t head = strlen(before), unit = strlen(filler), length = head;
    char *text = malloc(head + unit * times + strlen(after) + 1);

    assert_non_null(text);
    memcpy(text, before, head);
    for (size_t i = 0; i < times; i++, length += unit)
        memcpy(text + length, filler, unit);
    memcpy(text + length, after, strlen(after) + 1);
    rpc_read(facts, NULL, text, strlen(text));
    free(text);
}

static void test_long_tokens_are_read_or_refused_by_their_caps(void **state)
{
    struct rpc_message facts;

    (void)state;
    read_long(&facts, HEAD "\"id\":\"", "x", 10240, "\",\"method\":\"ping\"}");
    assert_int_equal(facts.kind, RPC_REQUEST);
    assert_int_equal(facts.id.length, 10242);
    read_long(&facts, HEAD "\"id\":1,\"method\":\"", "x", 10240, "\"}");
    assert_int_equal(facts.kind, RPC_REQUEST);
    assert_int_equal(facts.method, RPC_OTHER);
    read_long(&facts, HEAD "\"id\":1,\"method\":\"p\",\"params\":{\"", "\\u0000", 700000, "\":1}}");
    assert_int_equal(facts.kind, RPC_REQUEST);
    read_long(&facts, HEAD "\"id\":1,\"method\":\"p\",\"method\\u0000", "x", 500, "\":1}");
    assert_int_equal(facts.fault, INVALID);
    read_long(&facts, HEAD "\"id\":1,\"method\":\"p\",\"method", "x", 500, "\":1}");
    assert_int_equal(facts.kind, RPC_REQUEST);
    read_long(&facts, HEAD "\"method\":\"p\",\"id\":", "1", 1024, "}");
    assert_int_equal(facts.kind, RPC_REQUEST);
    assert_int_equal(facts.id.length, 1024);
    read_long(&facts, HEAD "\"method\":\"p\",\"id\":", "1", 1025, "}");
    assert_int_equal(facts.fault, PARSE);
    read_long(&facts, "", "1", 1000000, "");
    assert_int_equal(facts.fault, PARSE);
}

/* The value that a span should be: compared with what jansson made of the whole text. */
static void check_span(const char *text, struct span span, bool quoted, json_t *expected,
                       bool text_only)
{
    bool takes = json_is_string(expected) || (!text_only && json_is_number(expected));
    struct span all = quoted ? span : (struct span){span.at - 1, span.length + 2};
    json_t *value;

    if (!takes || (!quoted && json_string_length(expected) == 0)) {
        assert_int_equal(span.length, 0);
        return;
    }
    assert_int_not_equal(span.length, 0);
    value = json_loadb(text + all.at, all.length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    assert_non_null(value);
    assert_true(json_equal(value, expected));
    json_decref(value);
}

static json_t *walk(json_t *from, const char *a, const char *b)
{
    return json_object_get(json_object_get(from, a), b);
}

static enum rpc_kind reference_kind(json_t *root)
{
    json_t *version = json_object_get(root, "jsonrpc"), *id = json_object_get(root, "id");
    json_t *method = json_object_get(root, "method"), *params = json_object_get(root, "params");
    json_t *result = json_object_get(root, "result"), *error = json_object_get(root, "error");
    bool good_id = json_is_string(id) || json_is_number(id);

    if (!json_is_string(version) || json_string_length(version) != 3 ||
        strcmp(json_string_value(version), "2.0") != 0)
        return RPC_BAD;
    if (params != NULL && !json_is_object(params) && !json_is_array(params))
        return RPC_BAD;
    if (method != NULL) {
        if (result != NULL || error != NULL || json_string_length(method) == 0)
            return RPC_BAD;
        return good_id ? RPC_REQUEST : id == NULL ? RPC_NOTIFICATION : RPC_BAD;
    }
    if (result != NULL)
        return good_id && error == NULL ? RPC_RESPONSE : RPC_BAD;
    return json_is_object(error) && (good_id || id == NULL || json_is_null(id)) ? RPC_ERROR
                                                                                : RPC_BAD;
}

static void check_facts(const char *text, const struct rpc_message *facts, json_t *root)
{
    json_t *params = json_object_get(root, "params"), *meta = json_object_get(params, "_meta");
    json_t *result = json_object_get(root, "result");
    bool calls = facts->kind == RPC_REQUEST || facts->kind == RPC_NOTIFICATION;
    json_t *side = calls ? params : facts->kind == RPC_RESPONSE ? result : NULL;
    json_t *name = json_object_get(params, "name"), *task_id = json_object_get(side, "taskId");
    json_t *token = json_object_get(facts->method == RPC_PROGRESS ? params : meta, "progressToken");

    if (json_string_length(name) == 0)
        name = json_object_get(params, "uri");
    if (!calls && !json_is_string(task_id))
        task_id = walk(side, "task", "taskId");
    check_span(text, facts->id, true, json_object_get(root, "id"), false);
    check_span(text, facts->method_name, false, json_object_get(root, "method"), true);
    check_span(text, facts->name, false, calls ? name : NULL, true);
    check_span(text, facts->progress_token, true, calls ? token : NULL, false);
    check_span(text, facts->cancels, true,
               facts->method == RPC_CANCELLED ? json_object_get(params, "requestId") : NULL, false);
    check_span(text, facts->version, false, json_object_get(side, "protocolVersion"), true);
    check_span(text, facts->meta_version, false,
               calls ? json_object_get(meta, "io.modelcontextprotocol/protocolVersion") : NULL,
               true);
    check_span(text, facts->request_state, true, json_object_get(side, "requestState"), true);
    check_span(text, facts->task_id, true, task_id, true);
    check_span(
        text, facts->related_task, true,
        json_object_get(walk(side, "_meta", "io.modelcontextprotocol/related-task"), "taskId"),
        true);
    assert_int_equal(facts->has_task, calls && json_object_get(params, "task") != NULL);
}

/* Whether the reference can judge: jansson wants doubles, 64-bit integers and keys without NUL. */
static bool can_judge(const json_error_t *error)
{
    enum json_error_code code = json_error_code(error);

    return code != json_error_numeric_overflow && code != json_error_null_byte_in_key;
}

static void check_against_reference(const char *text, size_t length)
{
    size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL;
    struct rpc_message facts;
    json_error_t error;
    json_t *root = json_loadb(text, length, flags, &error), *strict;
    enum rpc_kind kind;

    rpc_read(&facts, NULL, text, length);
    if (root == NULL && !can_judge(&error))
        return;
    if ((root != NULL) != (facts.fault != RPC_PARSE_ERROR))
        fail_msg("%.*s: fault %d, but the reference says %s", (int)length, text, facts.fault,
                 root != NULL ? "fine" : error.text);
    if (json_is_object(root)) {
        kind = reference_kind(root);
        strict = json_loadb(text, length, flags | JSON_REJECT_DUPLICATES, NULL);
        /* The mutations make no key that merely resembles one of the six but by letter case. */
        if (facts.kind != kind && strict != NULL && strcasestr(text, "\"METHOD\"") == NULL)
            fail_msg("%.*s: kind %d, not %d", (int)length, text, (int)facts.kind, (int)kind);
        if (facts.kind != RPC_BAD && strict != NULL)
            check_facts(text, &facts, root);
        json_decref(strict);
    }
    json_decref(root);
}

static const char *const fragments[] = {
    "\"",      "\\",        "{",          "}",         "[",    "]",     ",",    ":",    "0",
    "-",       "1e5",       ".",          "\\u0041",   "null", "true",  "\xC3", "\xA9", "\xE2\x82",
    "\xF0",    "\x80",      "\x01",       " ",         "\n",   "{}",    "[]",   "\"\"", "\\ud83d",
    "\\ude00", "\"id\":1,", "\"_meta\":", "\"task\":", "1.5",  "\"x\"", "\\/",  "\\\"", "\xED\xA0",
};

static size_t mutate(char *text, size_t length, size_t room, struct shuffle *chance)
{
    size_t at = shuffle_below(chance, (uint32_t)length + 1), cut, put;
    const char *fragment;

    switch (shuffle_below(chance, 4)) {
    case 0: /* a byte changed */
        if (at < length)
            text[at] = (char)shuffle_u64(chance);
        return length;
    case 1: /* some bytes lost */
        cut = shuffle_below(chance, 6);
        if (cut > length - at)
            cut = length - at;
        memmove(text + at, text + at + cut, length - at - cut);
        return length - cut;
    case 2: /* a piece said twice */
        put = shuffle_below(chance, 30);
        if (put > length - at || length + put > room)
            return length;
        memmove(text + at + put, text + at, length - at);
        return length + put;
    default: /* something from elsewhere */
        fragment = fragments[shuffle_below(chance, sizeof fragments / sizeof *fragments)];
        put = strlen(fragment);
        if (length + put > room)
            return length;
        memmove(text + at + put, text + at, length - at);
        memcpy(text + at, fragment, put);
        return length + put;
    }
}

static void test_the_reference_agrees_on_mutated_texts(void **state)
{
    static const uint8_t seed[32] = "mutations";
    struct rng rng;
    struct shuffle chance;
    char text[1024];

    (void)state;
    rng_init(&rng, seed);
    shuffle_init(&chance, &rng);
    for (size_t i = 0; i < MESSAGES; i++)
        check_against_reference(messages[i], strlen(messages[i]));
    for (int i = 0; i < 60000; i++) {
        const char *from = messages[shuffle_below(&chance, MESSAGES)];
        size_t length = strlen(from);
        uint32_t times = 1 + shuffle_below(&chance, 3);

        memcpy(text, from, length);
        while (times-- > 0)
            length = mutate(text, length, sizeof text - 1, &chance);
        text[length] = '\0';
        check_against_reference(text, length);
    }
}

static void test_the_reference_agrees_on_all_short_sequences_of_utf8(void **state)
{
    static const uint8_t edges[] = {0x00, 0x1F, 0x20, 0x7F, 0x80, 0x8F,
                                    0x90, 0x9F, 0xA0, 0xBF, 0xC0};
    size_t count = sizeof edges;
    char text[16];

    (void)state;
    for (unsigned lead = 0x80; lead <= 0xFF; lead++) {
        for (size_t i = 0; i < count * count * count; i++) {
            for (size_t follow = 0; follow <= 3; follow++) {
                const uint8_t tail[] = {edges[i % count], edges[i / count % count],
                                        edges[i / count / count]};
                size_t length = 2;

                memcpy(text, "[\"", 2);
                text[length++] = (char)lead;
                memcpy(text + length, tail, follow);
                length += follow;
                memcpy(text + length, "\"]", 3);
                check_against_reference(text, length + 2);
            }
        }
    }
}

static uint64_t hash_of(const char *id)
{
    static const uint8_t key[16] = "a key of an id.";

    return rpc_id_hash(key, slice_text(id));
}

static void test_ids_that_say_the_same_hash_the_same(void **state)
{
    static const char *const groups[][6] = {
        {"1", "1.0", "10e-1", "0.1e1", "1E0", "100e-002"},
        {"0", "-0", "0.0", "0e5", "-0.00e-7", "0E+0"},
        {"\"a/b\"", "\"a\\/b\"", "\"\\u0061/b\"", "\"\\u0061\\u002Fb\"", "\"a\\u002fb\"",
         "\"a/b\""},
        {"\"\\ud83d\\ude00\"", "\"\xF0\x9F\x98\x80\"", "\"\\uD83D\\uDE00\"", "\"\xF0\x9F\x98\x80\"",
         "\"\\uD83d\\uDE00\"", "\"\\ud83D\\ude00\""},
        {"-1.5", "-15e-1", "-0.15e1", "-1.50", "-1500e-3", "-0.0015e+3"},
        {"1200", "1.2e3", "12e2", "0.0012e6", "1200.000", "120000e-2"},
        {"1e400", "10e399", "0.1e401", "1.0E400", "1e0400", "100e398"},
        {"9007199254740993", "9007199254740993.0", "9007199254740.993e3", "90071992547409930e-1",
         "9007199254740993e0", "0.9007199254740993e16"},
    };
    static const char *const apart[] = {
        "1",
        "\"1\"",
        "\"1.0\"",
        "10",
        "-1",
        "0",
        "\"0\"",
        "0.1",
        "\"\"",
        "\"a\"",
        "\"A\"",
        "null",
        "1e400",
        "1e401",
        "9007199254740993",
        "9007199254740992",
        "11",
        "1.1",
        "101",
        "12e2",
        "\"\\\"\"",
        "\"\\\\\"",
        "\"n\"",
        "\"\\n\"",
    };

    (void)state;
    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++)
        for (size_t i = 1; i < 6; i++)
            if (hash_of(groups[g][0]) != hash_of(groups[g][i]))
                fail_msg("%s and %s differ", groups[g][0], groups[g][i]);
    for (size_t i = 0; i < sizeof apart / sizeof *apart; i++)
        for (size_t j = 0; j < i; j++)
            if (hash_of(apart[i]) == hash_of(apart[j]))
                fail_msg("%s and %s are equal", apart[i], apart[j]);
}

static void test_hashing_what_is_no_id_reads_no_further(void **state)
{
    static const char *const odd[] = {"\"\\\"",    "\"\\u12\"", "\"\\ud800\"", "\"\\ud800\\u0041\"",
                                      "\"\\q\\\"", "-",         "1e",          "\"",
                                      "{}",        ""};
    static const uint8_t key[16];

    (void)state;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        size_t length = strlen(odd[i]);
        char *copy = malloc(length + 1);

        assert_non_null(copy);
        memcpy(copy + 1, odd[i], length); /* ends where the memory ends */
        assert_int_equal(rpc_id_hash(key, slice_borrow(copy + 1, length)),
                         rpc_id_hash(key, slice_text(odd[i])));
        free(copy);
    }
}

static void test_an_error_is_written_whole_or_not_at_all(void **state)
{
    const char *expected = HEAD "\"id\":\"a\\/b\",\"error\":{\"code\":-32603,\"message\":\"say "
                                "\\\"no\\\"\\n\"}}";
    size_t whole = strlen(expected), length;
    struct rpc_message facts;
    char text[256];

    (void)state;
    length = rpc_write_error(text, sizeof text, slice_text("\"a\\/b\""), -32603, "say \"no\"\n");
    assert_int_equal(length, whole);
    assert_memory_equal(text, expected, whole);
    for (size_t room = 0; room <= whole; room++) {
        memset(text, '#', sizeof text);
        length = rpc_write_error(text, room, slice_text("\"a\\/b\""), -32603, "say \"no\"\n");
        assert_int_equal(length, room == whole ? whole : 0);
        assert_int_equal(text[room], '#');
    }
    length = rpc_write_error(text, sizeof text, slice_borrow(NULL, 0), INT32_MIN, "x");
    rpc_read(&facts, NULL, text, length);
    assert_int_equal(facts.kind, RPC_ERROR);
    assert_int_equal(facts.id.length, 0);
    text[length] = '\0';
    assert_string_equal(text,
                        HEAD "\"id\":null,\"error\":{\"code\":-2147483648,\"message\":\"x\"}}");
}

static void test_a_written_string_is_valid_whatever_is_in_it(void **state)
{
    static const uint8_t seed[32] = "strings";
    struct rng rng;
    char text[512];
    uint8_t noise[64];
    size_t length;

    (void)state;
    length =
        rpc_write_string(text, sizeof text, slice_borrow("a\0\x1F\x7F\"\\/\xC3\xA9\xFF\r\t", 12));
    text[length] = '\0';
    assert_string_equal(text, "a\\u0000\\u001f\x7F\\\"\\\\/\xC3\xA9\xEF\xBF\xBD\\r\\t");
    assert_int_equal(rpc_write_string(text, sizeof text, slice_borrow(NULL, 0)), 0);
    rng_init(&rng, seed);
    for (int i = 0; i < 2000; i++) {
        json_t *value;

        rng_bytes(&rng, noise, sizeof noise);
        text[0] = '"';
        length = rpc_write_string(text + 1, sizeof text - 2, slice_borrow(noise, sizeof noise));
        text[1 + length] = '"';
        value = json_loadb(text, length + 2, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert_non_null(value);
        json_decref(value);
    }
}

static void test_a_string_is_what_it_says_however_it_is_written(void **state)
{
    static const struct {
        const char *raw, *text;
        bool is_equal;
    } rows[] = {
        {"\"abc\"", "abc", true},
        {"\"\"", "", true},
        {"\"a\\/b\"", "a/b", true},
        {"\"\\u0061\\n\\\"\"", "a\n\"", true},
        {"\"\\u00e9\"", "\xc3\xa9", true},
        {"\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80", true},
        {"\"\xc3\xa9\"", "\xc3\xa9", true},
        {"\"abc\"", "abcd", false},
        {"\"abcd\"", "abc", false},
        {"\"abc\"", "abx", false},
        {"\"abc\"", "", false},
        {"\"\"", "a", false},
        {"\"\\u00e9\"", "\xc3", false},
        {"1", "1", false},
        {"\"", "", false},
        {"", "", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(rpc_string_is(slice_text(rows[i].raw), slice_text(rows[i].text)),
                         rows[i].is_equal);
}

static void test_numbers_are_compared_by_what_they_say(void **state)
{
    /* from the smallest up; those of one row are equal */
    static const char *const rows[][4] = {
        {"-1e9998", "-1.0e+9998"},
        {"-20", "-2e1", "-200e-1"},
        {"-2.5", "-25e-1"},
        {"-0.001", "-1e-3"},
        {"0", "-0", "0.00", "0e7"},
        {"1e-9999"},
        {"0.0099", "99e-4"},
        {"0.01", "1e-2", "0.010"},
        {"1", "1.0", "10e-1", "0.1e1"},
        {"1.000000000000000000000000000000001"},
        {"9.99"},
        {"10", "1e1"},
        {"90071992547409930"},
        {"90071992547409931", "9007199254740993.1e1"},
    };
    size_t count = sizeof rows / sizeof rows[0];
    (void)state;
    for (size_t n = 0; n < count * 4; n++) {
        for (size_t k = 0; k < count * 4; k++) {
            const char *a = rows[n / 4][n % 4], *b = rows[k / 4][k % 4];
            int wanted = n / 4 < k / 4 ? -1 : n / 4 > k / 4;
            if (a != NULL && b != NULL)
                assert_int_equal(rpc_number_compare(slice_text(a), slice_text(b)), wanted);
        }
    }
}

static void test_a_member_is_found_by_its_name_in_its_own_object_only(void **state)
{
    static const struct {
        const char *object, *name, *value;
    } rows[] = {
        {"{\"a\":1,\"b\":[{\"c\":2},\"}\"],\"c\":\"x\"}", "c", "\"x\""},
        {"{\"a\":1,\"b\":[{\"c\":2},\"}\"],\"c\":\"x\"}", "b", "[{\"c\":2},\"}\"]"},
        {" { \"a\" : { \"b\" : [ 1 , 2 ] } , \"d\" : true } ", "a", "{ \"b\" : [ 1 , 2 ] }"},
        {" { \"a\" : { \"b\" : 1 } , \"d\" : true } ", "d", "true"},
        {"{\"a\":{\"b\":1}}", "b", ""},
        {"{\"\\u0061\":\"\\\"}\"}", "a", "\"\\\"}\""},
        {"{\"a\":1,\"a\":-2e3}", "a", "-2e3"},
        {"{}", "a", ""},
        {"[\"a\",1]", "a", ""},
        {"\"a\"", "a", ""},
        {"", "a", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct slice found = rpc_member(slice_text(rows[i].object), rows[i].name);
        assert_true(slice_is(found, rows[i].value));
    }
}

/* Whatever is fed to it: under the sanitizers a read beyond the end would show. */
static void test_a_member_of_what_was_cut_is_looked_for_no_further(void **state)
{
    static const char object[] = "{\"a\\\"\": {\"b\" : [1, \"\\u0061\"] }, \"c\":-1.5e3 }";
    (void)state;
    for (size_t length = 0; length <= strlen(object); length++) {
        char *copy = malloc(length + 1);
        assert_non_null(copy);
        memcpy(copy + 1, object, length); /* its end is the allocation's */
        assert_true(rpc_member(slice_borrow(copy + 1, length), "c").length <= length);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_get_their_kind_and_fault),
        cmocka_unit_test(test_a_text_cut_anywhere_gives_the_same_facts),
        cmocka_unit_test(test_a_call_shows_its_facts),
        cmocka_unit_test(test_notifications_name_what_they_speak_of),
        cmocka_unit_test(test_a_uri_is_the_name_where_there_is_no_name),
        cmocka_unit_test(test_versions_and_tasks_are_found_on_both_ways),
        cmocka_unit_test(test_the_last_of_two_equal_keys_below_the_top_counts),
        cmocka_unit_test(test_a_bad_request_keeps_its_id_unless_it_has_two),
        cmocka_unit_test(test_hints_of_tools_are_collected),
        cmocka_unit_test(test_tools_beyond_the_cap_are_left_out),
        cmocka_unit_test(test_every_method_is_told_apart),
        cmocka_unit_test(test_a_batch_counts_its_entries_and_shows_a_modern_claim),
        cmocka_unit_test(test_depth_64_is_read_and_65_is_refused),
        cmocka_unit_test(test_long_tokens_are_read_or_refused_by_their_caps),
        cmocka_unit_test(test_the_reference_agrees_on_mutated_texts),
        cmocka_unit_test(test_the_reference_agrees_on_all_short_sequences_of_utf8),
        cmocka_unit_test(test_ids_that_say_the_same_hash_the_same),
        cmocka_unit_test(test_hashing_what_is_no_id_reads_no_further),
        cmocka_unit_test(test_an_error_is_written_whole_or_not_at_all),
        cmocka_unit_test(test_a_written_string_is_valid_whatever_is_in_it),
        cmocka_unit_test(test_a_string_is_what_it_says_however_it_is_written),
        cmocka_unit_test(test_numbers_are_compared_by_what_they_say),
        cmocka_unit_test(test_a_member_is_found_by_its_name_in_its_own_object_only),
        cmocka_unit_test(test_a_member_of_what_was_cut_is_looked_for_no_further),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
