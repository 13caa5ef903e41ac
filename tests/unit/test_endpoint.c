/* test_endpoint.c - the URI of an endpoint event: what servers say is understood as their own
 * clients understand it, and nobody is sent anywhere else (row S8). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <errno.h>
#include <cmocka.h>

#include "http/endpoint.h"

#define OWN "127.0.0.1:3902"

struct row {
    const char *uri, *target; /* target NULL: refused */
};

static void check(const struct row *row, const char *authority, const char *base)
{
    struct bytes *target = NULL;
    int rc = endpoint_read(slice_text(row->uri), authority, base, &target);

    if (row->target == NULL) {
        if (rc != -EINVAL)
            fail_msg("%s: %d", row->uri, rc);
        assert_null(target);
        return;
    }
    if (rc != 0 || !slice_is(slice_of(target, 0, target->length), row->target))
        fail_msg("%s of %s: %d, %.*s instead of %s", row->uri, base, rc,
                 target == NULL ? 0 : (int)target->length,
                 target == NULL ? "" : (const char *)target->data, row->target);
    bytes_unref(target);
}

/* mcp.md section 2.3: all of these were seen. */
static void test_endpoint_every_form_that_servers_send_is_understood(void **state)
{
    static const struct row rows[] = {
        {"/message?sessionId=1e6b", "/message?sessionId=1e6b"},
        {"/messages/?session_id=00ff", "/messages/?session_id=00ff"},
        {"/messages/1e6b", "/messages/1e6b"},
        {"/sse/messages", "/sse/messages"},
        {"messages?sessionId=1", "/messages?sessionId=1"},
        {"./messages?sessionId=1", "/messages?sessionId=1"},
        {"messages/../other/./x", "/other/x"},
        {"/a/b/../../../c/", "/c/"},
        {"/a/b/..", "/a/"},
        {"?sessionId=1", "/sse?sessionId=1"},
        {"http://127.0.0.1:3902/message?sessionId=1", "/message?sessionId=1"},
        {"HTTP://127.0.0.1:03902/m", "/m"},
        {"//127.0.0.1:3902/m?a", "/m?a"},
        {"http://127.0.0.1:3902?a", "/?a"},
        {"/m?next=http://other.example/", "/m?next=http://other.example/"},
        {"m?a:b", "/m?a:b"},
        {"/m:1?a", "/m:1?a"},
        {"/m%20n%00?a#part", "/m%20n%00?a"},
        {"//127.0.0.1:3902", "/"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check(&rows[i], OWN, "/sse");
}

static void test_endpoint_a_relative_one_begins_where_the_stream_is(void **state)
{
    (void)state;
    check(&(struct row){"messages?a", "/team/x/messages?a"}, OWN, "/team/x/sse?key=/b/c");
    check(&(struct row){"../messages", "/team/messages"}, OWN, "/team/x/sse");
    check(&(struct row){"../../../m", "/m"}, OWN, "/team/x/sse");
    check(&(struct row){"m", "/sse/m"}, OWN, "/sse/");
    check(&(struct row){"?b", "/team/sse?b"}, OWN, "/team/sse?a");
    check(&(struct row){"m", "/m"}, OWN, "/");
}

static void test_endpoint_hosts_are_compared_as_hosts(void **state)
{
    (void)state;
    check(&(struct row){"http://MCP.example/m", "/m"}, "mcp.Example:80", "/sse");
    check(&(struct row){"http://mcp.example:80/m", "/m"}, "mcp.example", "/sse");
    check(&(struct row){"http://mcp.example:/m", NULL}, "mcp.example:81", "/sse");
    check(&(struct row){"http://mcp.example:8080/m", NULL}, "mcp.example", "/sse");
    check(&(struct row){"http://[::1]:80/m", "/m"}, "[::1]", "/sse");
    check(&(struct row){"http://[::1]/m", NULL}, "[::1]:3902", "/sse");
    check(&(struct row){"http://[::2]/m", NULL}, "[::1]", "/sse");
}

static void test_endpoint_another_origin_is_refused(void **state)
{
    static const struct row rows[] = {
        {"http://127.0.0.1:3903/message", NULL},
        {"http://127.0.0.1/message", NULL},
        {"http://localhost:3902/message", NULL},
        {"//evil.example/message", NULL},
        {"//evil.example:3902", NULL},
        {"http://evil.example/http://127.0.0.1:3902/", NULL},
        {"http://127.0.0.1:3902@evil.example/", NULL},
        {"http://evil.example@127.0.0.1:3902/", NULL},
        {"http://127.0.0.1:3902.evil.example/", NULL},
        {"https://127.0.0.1:3902/message", NULL},
        {"ftp://127.0.0.1:3902/", NULL},
        {"file:///etc/passwd", NULL},
        {"javascript:alert(1)", NULL},
        {"http:/message", NULL},
        {"http:message", NULL},
        {"http:///message", NULL},
        {":3902/message", NULL},
        {"\\\\evil.example\\m", NULL},
        {"/\\evil.example/m", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check(&rows[i], OWN, "/sse");
}

static void test_endpoint_bytes_that_would_forge_a_request_are_refused(void **state)
{
    static const struct row rows[] = {
        {"", NULL},
        {"#part", NULL},
        {"/m HTTP/1.1", NULL},
        {"/m\r\nX-Evil: 1", NULL},
        {"/m\nX-Evil: 1", NULL},
        {"/m\tn", NULL},
        {" /m", NULL},
        {"/m\x7f", NULL},
        {"/m\xc3\xa9", NULL},
    };
    struct bytes *target = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check(&rows[i], OWN, "/sse");
    assert_int_equal(endpoint_read(slice_borrow("/m\0n", 4), OWN, "/sse", &target), -EINVAL);
}

static void test_endpoint_has_a_longest_uri(void **state)
{
    static char uri[ENDPOINT_MAX + 2];
    struct bytes *target = NULL;

    (void)state;
    memset(uri, 'a', sizeof uri - 1);
    uri[0] = '/';
    assert_int_equal(endpoint_read(slice_text(uri), OWN, "/sse", &target), -EINVAL);
    uri[ENDPOINT_MAX] = '\0';
    check(&(struct row){uri, uri}, OWN, "/sse");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_endpoint_every_form_that_servers_send_is_understood),
        cmocka_unit_test(test_endpoint_a_relative_one_begins_where_the_stream_is),
        cmocka_unit_test(test_endpoint_hosts_are_compared_as_hosts),
        cmocka_unit_test(test_endpoint_another_origin_is_refused),
        cmocka_unit_test(test_endpoint_bytes_that_would_forge_a_request_are_refused),
        cmocka_unit_test(test_endpoint_has_a_longest_uri),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
