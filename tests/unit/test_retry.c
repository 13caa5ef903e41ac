/* Tests of retry.h: the table of MCP methods (reference mcp.md, section 5), and the hints learned
 * from tools/list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mesh/session/retry.h"

static const uint8_t key[16] = {1, 2, 3};
static struct rpc_tools tools; /* too large for a stack */

static enum retry_class class_of(const struct retry *retry, const char *text, bool asked)
{
    struct rpc_message rpc;
    rpc_read(&rpc, NULL, text, strlen(text));
    assert_int_not_equal(rpc.kind, RPC_BAD);
    return retry_class_of(retry, &rpc, slice_text(text), asked);
}

static void learn(struct retry *retry, const char *text)
{
    struct rpc_message rpc;
    memset(&tools, 0, sizeof tools);
    rpc_read(&rpc, &tools, text, strlen(text));
    assert_int_equal(rpc.kind, RPC_RESPONSE);
    retry_learn(retry, &tools, slice_text(text));
}

static const char *call_of(const char *tool)
{
    static char text[300];
    snprintf(
        text, sizeof text,
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"%s\"}}",
        tool);
    return text;
}

static void test_each_method_has_the_class_of_the_table(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        enum retry_class class;
    } rows[] = {
        {"ping", RETRY_SAFE},
        {"server/discover", RETRY_SAFE},
        {"tools/list", RETRY_SAFE},
        {"resources/list", RETRY_SAFE},
        {"resources/templates/list", RETRY_SAFE},
        {"prompts/list", RETRY_SAFE},
        {"resources/read", RETRY_SAFE},
        {"prompts/get", RETRY_SAFE},
        {"completion/complete", RETRY_SAFE},
        {"logging/setLevel", RETRY_SAFE},
        {"resources/subscribe", RETRY_SAFE},
        {"resources/unsubscribe", RETRY_SAFE},
        {"initialize", RETRY_SAFE},
        {"tasks/get", RETRY_SAFE},
        {"tasks/list", RETRY_SAFE},
        {"tasks/cancel", RETRY_SAFE},
        {"tasks/update", RETRY_NEVER},
        {"tasks/result", RETRY_NEVER},
        {"tools/call", RETRY_NEVER},
        {"subscriptions/listen", RETRY_NEVER},
        {"made/up", RETRY_NEVER},
        {"notifications/initialized", RETRY_NEVER}, /* as a request: nobody knows */
    };
    struct retry retry;
    retry_init(&retry, true, key);
    for (size_t n = 0; n < sizeof rows / sizeof rows[0]; n++) {
        char text[200];
        snprintf(text, sizeof text,
                 "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":{}}", rows[n].method);
        assert_int_equal(class_of(&retry, text, false), rows[n].class);
        assert_int_equal(class_of(&retry, text, true), RETRY_NEVER); /* the user was asked */
        snprintf(text, sizeof text, "{\"jsonrpc\":\"2.0\",\"method\":\"%s\"}", rows[n].method);
        assert_int_equal(class_of(&retry, text, false), RETRY_DROP); /* nobody waits for it */
    }
    assert_int_equal(class_of(&retry, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}", false),
                     RETRY_DROP);
    assert_int_equal(
        class_of(&retry, "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":1,\"message\":\"\"}}",
                 false),
        RETRY_DROP);
    assert_int_equal(
        class_of(&retry, "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]", false),
        RETRY_NEVER);
    retry_deinit(&retry);
}

#define LIST(tools) "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"tools\":[" tools "]}}"
#define TOOL(name, hints) "{\"name\":\"" name "\",\"annotations\":{" hints "}}"

static void test_a_marked_tool_may_run_again_and_loses_that_with_its_mark(void **state)
{
    (void)state;
    struct retry retry;
    retry_init(&retry, true, key);
    learn(&retry,
          LIST(TOOL("read", "\"readOnlyHint\":true") "," TOOL(
              "put", "\"idempotentHint\":true") "," TOOL("write",
                                                         "\"readOnlyHint\":false") "," TOOL("plain",
                                                                                            "")));
    assert_int_equal(class_of(&retry, call_of("read"), false), RETRY_SAFE);
    assert_int_equal(class_of(&retry, call_of("put"), false), RETRY_SAFE);
    assert_int_equal(class_of(&retry, call_of("write"), false), RETRY_NEVER);
    assert_int_equal(class_of(&retry, call_of("plain"), false), RETRY_NEVER);
    assert_int_equal(class_of(&retry, call_of("unheard"), false), RETRY_NEVER);
    assert_int_equal(class_of(&retry, call_of("Read"), false), RETRY_NEVER);
    assert_int_equal(class_of(&retry, call_of("read"), true), RETRY_NEVER);
    /* a page that does not name it says nothing of it; one that does counts */
    learn(&retry, LIST(TOOL("put", "\"idempotentHint\":true")));
    assert_int_equal(class_of(&retry, call_of("read"), false), RETRY_SAFE);
    learn(&retry, LIST(TOOL("read", "\"readOnlyHint\":false")));
    assert_int_equal(class_of(&retry, call_of("read"), false), RETRY_NEVER);
    learn(&retry, LIST(TOOL("put", "")));
    assert_int_equal(class_of(&retry, call_of("put"), false), RETRY_NEVER);
    retry_deinit(&retry);
}

static void test_hints_are_not_believed_when_that_is_off(void **state)
{
    (void)state;
    struct retry retry;
    retry_init(&retry, false, key);
    learn(&retry, LIST(TOOL("read", "\"readOnlyHint\":true")));
    assert_int_equal(class_of(&retry, call_of("read"), false), RETRY_NEVER);
    assert_int_equal(class_of(&retry, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}", false),
                     RETRY_SAFE);
    retry_deinit(&retry);
}

static void test_a_call_as_a_task_or_without_a_name_is_never_safe(void **state)
{
    (void)state;
    struct retry retry;
    retry_init(&retry, true, key);
    learn(&retry, LIST(TOOL("read", "\"readOnlyHint\":true")));
    assert_int_equal(class_of(&retry,
                              "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":"
                              "{\"name\":\"read\",\"task\":{\"ttl\":1}}}",
                              false),
                     RETRY_NEVER);
    assert_int_equal(
        class_of(&retry, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{}}",
                 false),
        RETRY_NEVER);
    /* an escape spells the same name, and errs on the safe side */
    assert_int_equal(class_of(&retry, call_of("rea\\u0064"), false), RETRY_NEVER);
    retry_deinit(&retry);
}

static void test_more_tools_than_fit_count_as_unsafe(void **state)
{
    (void)state;
    struct retry retry;
    char text[200], name[32];
    retry_init(&retry, true, key);
    for (unsigned n = 0; n < RETRY_TOOLS_MAX + 10; n++) {
        snprintf(text, sizeof text, LIST(TOOL("tool%u", "\"readOnlyHint\":true")), n);
        learn(&retry, text);
    }
    assert_int_equal(table_count(&retry.tools), RETRY_TOOLS_MAX);
    snprintf(name, sizeof name, "tool%u", RETRY_TOOLS_MAX - 1);
    assert_int_equal(class_of(&retry, call_of(name), false), RETRY_SAFE);
    snprintf(name, sizeof name, "tool%u", RETRY_TOOLS_MAX);
    assert_int_equal(class_of(&retry, call_of(name), false), RETRY_NEVER);
    /* one that is known and told again keeps its place */
    learn(&retry, LIST(TOOL("tool0", "\"idempotentHint\":true")));
    assert_int_equal(class_of(&retry, call_of("tool0"), false), RETRY_SAFE);
    retry_deinit(&retry);
}

static void test_what_one_peer_learned_another_believes(void **state)
{
    (void)state;
    struct retry one, other;
    static const uint8_t other_key[16] = {9, 9};
    retry_init(&one, true, key);
    retry_init(&other, true, other_key);
    learn(&one, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"tools\":["
                "{\"name\":\"look\",\"annotations\":{\"readOnlyHint\":true}},"
                "{\"name\":\"change\"}]}}");
    for (uint32_t n = 0; n < one.count; n++)
        retry_hear(&other, one.known[n]);
    assert_int_equal(class_of(&other, call_of("look"), false), RETRY_SAFE);
    assert_int_equal(class_of(&other, call_of("change"), false), RETRY_NEVER);
    /* and that it lost its mark */
    learn(&one, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"tools\":[{\"name\":\"look\"}]}}");
    for (uint32_t n = 0; n < one.count; n++)
        retry_hear(&other, one.known[n]);
    assert_int_equal(class_of(&other, call_of("look"), false), RETRY_NEVER);
    retry_deinit(&one);
    retry_deinit(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_method_has_the_class_of_the_table),
        cmocka_unit_test(test_a_marked_tool_may_run_again_and_loses_that_with_its_mark),
        cmocka_unit_test(test_hints_are_not_believed_when_that_is_off),
        cmocka_unit_test(test_a_call_as_a_task_or_without_a_name_is_never_safe),
        cmocka_unit_test(test_more_tools_than_fit_count_as_unsafe),
        cmocka_unit_test(test_what_one_peer_learned_another_believes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
