/* test_gate.c - the rows H and A that the gate answers for, each on every route. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "http/gate.h"

static const struct gate_config loopback = {
    .mcp_path = "/mcp",
    .sse_path = "/sse",
    .messages_path = "/messages",
    .is_loopback = true,
    .listen_host = "127.0.0.2",
};
static const struct gate_config open_to_all = {
    .mcp_path = "/mcp",
    .sse_path = "/sse",
    .messages_path = "/messages",
};

/* Parses and asks the gate; `length` 0: text is a string. */
static enum gate_verdict ask_bytes(const struct gate_config *config, const char *text,
                                   size_t length, struct gate_pass *pass)
{
    struct h1_limits limits = h1_limits_default(H1_REQUESTS);
    enum gate_verdict verdict;
    size_t used;
    struct h1 h;

    h1_init(&h, H1_REQUESTS, &limits, NULL);
    if (h1_feed(&h, (const uint8_t *)text, length, &used) != H1_HEAD)
        fail_msg("not a head: %s: %s", text, h.reason != NULL ? h.reason : "unfinished");
    verdict = gate_check(config, h.head, pass);
    assert_true(gate_status(verdict) >= 200 && gate_status(verdict) <= 499);
    pass->path.buf = pass->query.buf = NULL; /* only route counts from here on */
    h1_deinit(&h);
    return verdict;
}

__attribute__((format(printf, 2, 3))) static enum gate_verdict ask(const struct gate_config *config,
                                                                   const char *format, ...)
{
    struct gate_pass pass;
    char text[4096];
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    assert_true(n > 0 && (size_t)n < sizeof text);
    return ask_bytes(config, text, (size_t)n, &pass);
}

#define WANT(verdict, ...)                                                                         \
    do {                                                                                           \
        enum gate_verdict got = ask(__VA_ARGS__);                                                  \
        if (got != (verdict))                                                                      \
            fail_msg("line %d: wanted %s, got %s", __LINE__, gate_name(verdict), gate_name(got));  \
    } while (0)

/* A method that each of the four routes takes. */
static const char *const routes[] = {"GET /mcp", "GET /sse", "POST /messages", "GET /other"};
#define ROUTES (sizeof routes / sizeof routes[0])

static void test_gate_finds_the_route_by_the_exact_path(void **state)
{
    static const struct {
        const char *text;
        enum gate_route route;
    } lines[] = {
        {"GET /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n", GATE_MCP},
        {"POST /mcp?x=1 HTTP/1.1\r\nHost: localhost:1\r\n\r\n", GATE_MCP},
        {"DELETE http://localhost/mcp HTTP/1.1\r\nHost: LocalHost\r\n\r\n", GATE_MCP},
        {"GET /sse HTTP/1.1\r\nHost: localhost\r\n\r\n", GATE_SSE},
        {"POST /messages?sessionId=a HTTP/1.1\r\nHost: localhost\r\n\r\n", GATE_MESSAGES},
        {"PUT / HTTP/1.1\r\nHost: localhost\r\n\r\n", GATE_OTHER},
        {"GET /.well-known/oauth-protected-resource/mcp HTTP/1.1\r\nHost: localhost\r\n\r\n",
         GATE_OTHER},
        {"GET /mcpx HTTP/1.1\r\nHost: localhost\r\n\r\n", GATE_OTHER},
        {"GET /a%20b/%c3%a9;v=1/ HTTP/1.1\r\nHost: localhost\r\n\r\n", GATE_OTHER},
        {"GET /a?b=../..&c=%00//%2f HTTP/1.1\r\nHost: localhost\r\n\r\n", GATE_OTHER},
    };
    struct gate_pass pass;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        assert_int_equal(ask_bytes(&loopback, lines[i].text, strlen(lines[i].text), &pass),
                         GATE_PASS);
        assert_int_equal(pass.route, lines[i].route);
    }
}

static void test_gate_splits_path_and_query(void **state)
{
    static const char text[] = "POST http://localhost/messages?sessionId=a?b HTTP/1.1\r\n"
                               "Host: localhost\r\n\r\n";
    struct h1_limits limits = h1_limits_default(H1_REQUESTS);
    struct gate_pass pass;
    size_t used;
    struct h1 h;

    (void)state;
    h1_init(&h, H1_REQUESTS, &limits, NULL);
    assert_int_equal(h1_feed(&h, (const uint8_t *)text, sizeof text - 1, &used), H1_HEAD);
    assert_int_equal(gate_check(&loopback, h.head, &pass), GATE_PASS);
    assert_true(slice_is(pass.path, "/messages"));
    assert_true(slice_is(pass.query, "sessionId=a?b"));
    assert_ptr_equal(pass.query.buf, h.head->text.buf);
    h1_deinit(&h);
}

/* A head that comes again has passed already, but for the size of what it brings. */
static void test_gate_judges_the_length_of_a_head_that_comes_again(void **state)
{
    static const struct {
        int length;
        enum gate_verdict verdict;
    } messages[] = {{10, GATE_PASS}, {20, GATE_PASS}, {99, GATE_BODY_TOO_LARGE}, {10, GATE_PASS}};
    struct gate_config config = loopback;
    struct h1_limits limits = h1_limits_default(H1_REQUESTS);
    struct h1_memo memo = {.next = 0};
    const void *first = NULL;
    struct h1 h;

    (void)state;
    config.body_max = 50;
    h1_init(&h, H1_REQUESTS, &limits, NULL);
    h1_use_memo(&h, &memo);
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        struct gate_pass pass;
        char text[256];
        size_t used, at;
        int length = snprintf(text, sizeof text,
                              "POST /mcp?a=b HTTP/1.1\r\nHost: localhost\r\n"
                              "Content-Length: %d\r\n\r\n%0*d",
                              messages[i].length, messages[i].length, 0);

        assert_int_equal(h1_feed(&h, (const uint8_t *)text, (size_t)length, &used), H1_HEAD);
        if (first == NULL)
            first = h.head;
        assert_ptr_equal(h.head, first);
        assert_int_equal(gate_check(&config, h.head, &pass), messages[i].verdict);
        assert_int_equal(pass.route, GATE_MCP);
        assert_true(slice_is(pass.path, "/mcp"));
        assert_true(slice_is(pass.query, "a=b"));
        at = used;
        do {
            enum h1_event event =
                h1_feed(&h, (const uint8_t *)text + at, (size_t)length - at, &used);
            at += used;
            if (event == H1_END)
                break;
            assert_int_equal(event, H1_BODY);
        } while (true);
        h1_next(&h);
    }
    h1_deinit(&h);
    h1_memo_deinit(&memo);
}

static void test_gate_refuses_malformed_hosts_on_every_route(void **state)
{
    static const char *const bad[] = {"",         "a, b", "a@b",    "a/b",      "a#b",   "a:99999",
                                      "a:0",      "a:",   "a:1x",   "a b",      "a:1:2", "[::1",
                                      "[::1]x",   "[]",   "[g::1]", "http://a", "a%41",  "\xc3\xa9",
                                      "a:123456", ".a",   "a?b",    "a\\b"};
    char long_name[301];
    size_t i, r;

    (void)state;
    memset(long_name, 'a', 300);
    long_name[300] = '\0';
    for (r = 0; r < ROUTES; r++) {
        WANT(GATE_BAD_HOST, &open_to_all, "%s HTTP/1.1\r\nA: b\r\n\r\n", routes[r]);
        WANT(GATE_BAD_HOST, &open_to_all, "%s HTTP/1.0\r\n\r\n", routes[r]);
        WANT(GATE_BAD_HOST, &open_to_all, "%s HTTP/1.1\r\nHost: %s\r\n\r\n", routes[r], long_name);
        for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
            WANT(GATE_BAD_HOST, &open_to_all, "%s HTTP/1.1\r\nHost: %s\r\n\r\n", routes[r], bad[i]);
    }
}

static void test_gate_lets_only_known_hosts_in_on_every_route(void **state)
{
    static const char *const names[] = {"mesh.example", "port.example:8080"};
    static const char *const any[] = {"*"};
    static const char *const home[] = {"localhost", "LOCALHOST:3000", "127.0.0.1",  "127.0.0.1:80",
                                       "[::1]",     "[::1]:65535",    "127.0.0.2:1"};
    static const char *const foreign[] = {"evil.example.com", "localhost.evil", "127.0.0.3",
                                          "evil:80",          "[::2]",          "0.0.0.0",
                                          "xlocalhost"};
    struct gate_config more = loopback, listed = open_to_all, all = loopback;
    size_t i, r;

    (void)state;
    more.hosts = listed.hosts = names;
    more.hosts_count = listed.hosts_count = 2;
    all.hosts = any;
    all.hosts_count = 1;
    for (r = 0; r < ROUTES; r++) {
        for (i = 0; i < sizeof home / sizeof home[0]; i++) {
            WANT(GATE_PASS, &loopback, "%s HTTP/1.1\r\nHost: %s\r\n\r\n", routes[r], home[i]);
            WANT(GATE_PASS, &more, "%s HTTP/1.1\r\nHost: %s\r\n\r\n", routes[r], home[i]);
        }
        for (i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
            WANT(GATE_FOREIGN_HOST, &loopback, "%s HTTP/1.1\r\nHost: %s\r\n\r\n", routes[r],
                 foreign[i]);
            WANT(GATE_PASS, &open_to_all, "%s HTTP/1.1\r\nHost: %s\r\n\r\n", routes[r], foreign[i]);
            WANT(GATE_PASS, &all, "%s HTTP/1.1\r\nHost: %s\r\n\r\n", routes[r], foreign[i]);
            WANT(GATE_FOREIGN_HOST, &listed, "%s HTTP/1.1\r\nHost: %s\r\n\r\n", routes[r],
                 foreign[i]);
        }
        WANT(GATE_PASS, &more, "%s HTTP/1.1\r\nHost: Mesh.Example:4\r\n\r\n", routes[r]);
        WANT(GATE_PASS, &listed, "%s HTTP/1.1\r\nHost: port.example:8080\r\n\r\n", routes[r]);
        WANT(GATE_FOREIGN_HOST, &listed, "%s HTTP/1.1\r\nHost: port.example\r\n\r\n", routes[r]);
        WANT(GATE_FOREIGN_HOST, &listed, "%s HTTP/1.1\r\nHost: localhost\r\n\r\n", routes[r]);
    }
}

static void test_gate_keeps_pages_of_other_origins_out_on_every_route(void **state)
{
    static const char *const bad[] = {"null",
                                      "https://evil",
                                      "http://localhost.evil:80",
                                      "http://[::1]:80",
                                      "http://localhost",
                                      "localhost:80",
                                      "ftp://localhost:80",
                                      "http://localhost:80/",
                                      "",
                                      "http://localhost:81",
                                      "http://localhost:80, http://a"};
    static const char *const origins[] = {"https://app.example", "null"};
    static const char *const names[] = {"mesh.example"};
    struct gate_config listed = loopback, named = open_to_all;
    size_t i, r;

    (void)state;
    listed.origins = origins;
    listed.origins_count = 2;
    named.hosts = names;
    named.hosts_count = 1;
    for (r = 0; r < ROUTES; r++) {
        const char *host = "Host: localhost:80\r\n";

        for (i = 0; i < sizeof bad / sizeof bad[0]; i++)
            WANT(GATE_FOREIGN_ORIGIN, &loopback, "%s HTTP/1.1\r\n%sOrigin: %s\r\n\r\n", routes[r],
                 host, bad[i]);
        WANT(GATE_PASS, &loopback, "%s HTTP/1.1\r\n%sOrigin: http://LocalHost:80\r\n\r\n",
             routes[r], host);
        WANT(GATE_PASS, &listed, "%s HTTP/1.1\r\n%sOrigin: https://app.example\r\n\r\n", routes[r],
             host);
        WANT(GATE_PASS, &listed, "%s HTTP/1.1\r\n%sOrigin: null\r\n\r\n", routes[r], host);
        WANT(GATE_FOREIGN_ORIGIN, &listed, "%s HTTP/1.1\r\n%sOrigin: http://app.example\r\n\r\n",
             routes[r], host);
        WANT(GATE_DOUBLE_HEADER, &listed, "%s HTTP/1.1\r\n%sOrigin: null\r\nOrigin: null\r\n\r\n",
             routes[r], host);
        /* A rebound name is its own origin: that proves nothing unless the name is known. */
        WANT(GATE_FOREIGN_ORIGIN, &open_to_all,
             "%s HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n\r\n", routes[r]);
        WANT(GATE_PASS, &named,
             "%s HTTP/1.1\r\nHost: mesh.example\r\nOrigin: https://mesh.example\r\n\r\n",
             routes[r]);
    }
}

static void test_gate_neither_serves_nor_forwards_lookalike_paths(void **state)
{
    static const char *const odd[] = {
        "/mcp/../admin", "//mcp",         "/mcp%2f..",  "/MCP",         "/mcp;x",
        "/mcp/",         "/mcp//",        "/./mcp",     "/a/../mcp",    "/%6dcp",
        "/%4dCP",        "/mcp%3bx",      "/mcp;x/",    "/Sse",         "/messages/",
        "/mcp%c0%af",    "/mcp%e0%80%af", "/\xc0\xaf",  "/mcp\xc3\xa9", "/a\\mcp",
        "/a%5cmcp",      "/%2e%2e/mcp",   "/a/%2E",     "/..",          "/..;/mcp",
        "/a/..;x/b",     "/a//b",         "/a%0d%0ab",  "/a%7f",        "/%",
        "/%4",           "/%zz",          "/%ed%a0%80", "/%80",         "/%c3",
        "/%f4%90%80%80", "/upstream",     "/Upstream/",
    };
    static const char *const closed[] = {"/upstream"};
    struct gate_config config = loopback;
    size_t i;

    (void)state;
    config.closed_paths = closed;
    config.closed_paths_count = 1;
    for (i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        enum gate_verdict got = ask(&config, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", odd[i]);

        if (got != GATE_NO_SUCH_PATH)
            fail_msg("%s: %s", odd[i], gate_name(got));
    }
    assert_int_equal(gate_status(GATE_NO_SUCH_PATH), 404);
    WANT(GATE_PASS, &config, "GET /upstream2 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    WANT(GATE_PASS, &config, "GET /... HTTP/1.1\r\nHost: localhost\r\n\r\n");
    WANT(GATE_NO_SUCH_PATH, &config, "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n");
}

static void test_gate_refuses_targets_that_say_two_things(void **state)
{
    (void)state;
    WANT(GATE_BAD_TARGET, &loopback, "GET /mcp%%00 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    WANT(GATE_BAD_TARGET, &loopback, "GET /%%00/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    WANT(GATE_BAD_TARGET, &loopback, "GET /mcp#a HTTP/1.1\r\nHost: localhost\r\n\r\n");
    WANT(GATE_BAD_TARGET, &loopback, "GET http://evil/mcp HTTP/1.1\r\nHost: localhost\r\n\r\n");
    WANT(GATE_BAD_TARGET, &loopback,
         "GET http://localhost:1/mcp HTTP/1.1\r\nHost: localhost\r\n\r\n");
    WANT(GATE_BAD_TARGET, &loopback,
         "GET http://a@localhost/mcp HTTP/1.1\r\nHost: localhost\r\n\r\n");
    WANT(GATE_BAD_TARGET, &loopback,
         "GET http://localhost?mcp HTTP/1.1\r\nHost: localhost\r\n\r\n");
    WANT(GATE_BAD_TARGET, &loopback, "GET * HTTP/1.1\r\nHost: localhost\r\n\r\n");
}

static void test_gate_refuses_tokens_in_a_query(void **state)
{
    (void)state;
#define QUERY(verdict, target)                                                                     \
    WANT(verdict, &loopback, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", target)
    QUERY(GATE_TOKEN_IN_QUERY, "/mcp?access_token=a");
    QUERY(GATE_TOKEN_IN_QUERY, "/mcp?b&access_token=a");
    QUERY(GATE_TOKEN_IN_QUERY, "/mcp?access%5ftoken=a");
    QUERY(GATE_TOKEN_IN_QUERY, "/sse?token=a");
    QUERY(GATE_TOKEN_IN_QUERY, "/sse?token");
    QUERY(GATE_TOKEN_IN_QUERY, "/other?access_token=a");
    QUERY(GATE_PASS, "/other?token=a");
    QUERY(GATE_PASS, "/mcp?tokens=a&my_access_token=b&c=token&");
    QUERY(GATE_PASS, "/mcp?");
}

static void test_gate_knows_the_methods_of_its_routes(void **state)
{
    static const struct {
        const char *path;
        const char *takes;
    } lines[] = {{"/mcp", "GET POST DELETE OPTIONS"},
                 {"/sse", "GET OPTIONS"},
                 {"/messages", "POST OPTIONS"},
                 {"/other", "GET HEAD POST PUT PATCH DELETE OPTIONS"}};
    static const char *const methods[] = {"GET",   "HEAD",   "POST",   "PUT",
                                          "PATCH", "DELETE", "OPTIONS"};
    size_t i, m;

    (void)state;
    for (i = 0; i < 4; i++)
        for (m = 0; m < 7; m++)
            WANT(strstr(lines[i].takes, methods[m]) != NULL ? GATE_PASS : GATE_WRONG_METHOD,
                 &loopback, "%s %s HTTP/1.1\r\nHost: localhost\r\n\r\n", methods[m], lines[i].path);
    assert_int_equal(gate_status(GATE_WRONG_METHOD), 405);
}

static void test_gate_refuses_bodies_where_none_belongs(void **state)
{
    static const char *const methods[] = {"GET", "HEAD", "OPTIONS", "DELETE"};
    size_t i;

    (void)state;
    for (i = 0; i < 4; i++) {
        WANT(GATE_UNWANTED_BODY, &loopback,
             "%s /other HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n", methods[i]);
        WANT(GATE_UNWANTED_BODY, &loopback,
             "%s /other HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
             methods[i]);
        WANT(GATE_PASS, &loopback,
             "%s /other HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", methods[i]);
    }
    assert_int_equal(gate_status(GATE_UNWANTED_BODY), 400);
}

static void test_gate_refuses_doubled_headers_on_every_route(void **state)
{
    static const char *const names[] = {"Mcp-Session-Id", "Authorization", "MCP-Protocol-Version",
                                        "content-type", "Last-Event-ID"};
    size_t i, r;

    (void)state;
    for (r = 0; r < ROUTES; r++)
        for (i = 0; i < sizeof names / sizeof names[0]; i++) {
            WANT(GATE_DOUBLE_HEADER, &loopback,
                 "%s HTTP/1.1\r\nHost: localhost\r\n%s: a\r\nX: y\r\n%s: a\r\n\r\n", routes[r],
                 names[i], names[i]);
            WANT(GATE_PASS, &loopback, "%s HTTP/1.1\r\nHost: localhost\r\n%s: a\r\nX: %s\r\n\r\n",
                 routes[r], names[i], names[i]);
        }
}

static void test_gate_judges_codings_expectations_and_sizes(void **state)
{
    struct gate_config small = loopback;

    (void)state;
    small.body_max = 4;
#define BODY(verdict, config, lines)                                                               \
    WANT(verdict, config, "POST /mcp HTTP/1.1\r\nHost: localhost\r\n%s\r\n", lines)
    BODY(GATE_CODED_BODY, &loopback, "Content-Encoding: gzip\r\n");
    BODY(GATE_CODED_BODY, &loopback, "Content-Encoding: identity\r\nContent-Encoding: gzip\r\n");
    BODY(GATE_CODED_BODY, &loopback, "Content-Encoding:\r\n");
    BODY(GATE_PASS, &loopback, "Content-Encoding: Identity\r\n");
    BODY(GATE_EXPECTATION, &loopback, "Content-Length: 1\r\nExpect: y\r\n");
    BODY(GATE_EXPECTATION, &loopback, "Expect: 100-continue\r\nExpect: 100-continue\r\n");
    BODY(GATE_PASS, &loopback, "Content-Length: 1\r\nExpect: 100-continue\r\n");
    BODY(GATE_BODY_TOO_LARGE, &small, "Content-Length: 5\r\nExpect: 100-continue\r\n");
    BODY(GATE_PASS, &small, "Content-Length: 4\r\n");
    assert_int_equal(gate_status(GATE_CODED_BODY), 415);
    assert_int_equal(gate_status(GATE_EXPECTATION), 417);
    assert_int_equal(gate_status(GATE_BODY_TOO_LARGE), 413);
}

static void test_gate_closes_what_could_fall_out_of_step(void **state)
{
    static const char with_body[] =
        "PUT /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n";
    static const char without[] = "PUT /mcp HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct h1_limits limits = h1_limits_default(H1_REQUESTS);
    size_t used;
    struct h1 h;

    (void)state;
    h1_init(&h, H1_REQUESTS, &limits, NULL);
    h1_feed(&h, (const uint8_t *)with_body, sizeof with_body - 1, &used);
    assert_true(gate_closes(GATE_WRONG_METHOD, h.head));
    assert_false(gate_closes(GATE_PASS, h.head));
    h1_next(&h);
    h1_feed(&h, (const uint8_t *)without, sizeof without - 1, &used);
    assert_false(gate_closes(GATE_WRONG_METHOD, h.head));
    assert_true(gate_closes(GATE_BAD_HOST, h.head));
    h1_deinit(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gate_finds_the_route_by_the_exact_path),
        cmocka_unit_test(test_gate_splits_path_and_query),
        cmocka_unit_test(test_gate_refuses_malformed_hosts_on_every_route),
        cmocka_unit_test(test_gate_lets_only_known_hosts_in_on_every_route),
        cmocka_unit_test(test_gate_keeps_pages_of_other_origins_out_on_every_route),
        cmocka_unit_test(test_gate_neither_serves_nor_forwards_lookalike_paths),
        cmocka_unit_test(test_gate_refuses_targets_that_say_two_things),
        cmocka_unit_test(test_gate_refuses_tokens_in_a_query),
        cmocka_unit_test(test_gate_knows_the_methods_of_its_routes),
        cmocka_unit_test(test_gate_refuses_bodies_where_none_belongs),
        cmocka_unit_test(test_gate_refuses_doubled_headers_on_every_route),
        cmocka_unit_test(test_gate_judges_codings_expectations_and_sizes),
        cmocka_unit_test(test_gate_judges_the_length_of_a_head_that_comes_again),
        cmocka_unit_test(test_gate_closes_what_could_fall_out_of_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
