/* bench_rpc.c - how fast a body is scanned: MB/s on a long string, on text beyond ASCII, on many
 * keys and on escapes; ns per tools/call of about 300 bytes. Prints; judges nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mesh/base/rpc.h"

#define BODY_MAX ((size_t)4 << 20)

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Scans the text over and over for about 0.3 s; ns per scan. */
static double measure(const char *text, size_t length, struct rpc_message *facts)
{
    double start = now_ns(), end;
    size_t times = 0, batch = length > 65536 ? 1 : 1000;

    do {
        for (size_t i = 0; i < batch; i++)
            rpc_read(facts, NULL, text, length);
        times += batch;
        end = now_ns();
    } while (end - start < 3e8);
    return (end - start) / (double)times;
}

static void report(const char *what, const char *text, size_t length)
{
    struct rpc_message facts;
    double ns = measure(text, length, &facts);

    printf("%-22s %8zu B  %12.0f ns  %8.0f MB/s  kind %d\n", what, length, ns,
           (double)length * 1e3 / ns, (int)facts.kind);
}

static void report_filled(const char *what, const char *before, const char *filler,
                          const char *after)
{
    static char text[BODY_MAX];
    size_t unit = strlen(filler), tail = strlen(after), length = strlen(before);

    memcpy(text, before, length);
    for (; length + unit + tail <= BODY_MAX; length += unit)
        memcpy(text + length, filler, unit);
    memcpy(text + length, after, tail);
    report(what, text, length + tail);
}

int main(void)
{
    static const char call[] =
        "{\"jsonrpc\":\"2.0\",\"id\":17,\"method\":\"tools/call\",\"params\":{\"name\":\"search\","
        "\"arguments\":{\"query\":\"how a mesh of peers finds the owner of a "
        "session\",\"limit\":20,"
        "\"filters\":{\"language\":\"en\",\"since\":\"2025-01-01\",\"exact\":false},\"tags\":["
        "\"mcp\""
        ",\"mesh\"]},\"_meta\":{\"progressToken\":17,\"traceparent\":\"00-0af7651916cd43dd\"}}}";
    static const char head[] =
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\",\"params\":{\"a\":\"";
    static const char open[] =
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\",\"params\":{\"a\":[0";

    report("tools/call", call, sizeof call - 1);
    report_filled("one long string", head, "The quick brown fox jumps over the lazy dog. ", "\"}}");
    report_filled("beyond ASCII", head, "\xE6\xBC\xA2\xE5\xAD\x97", "\"}}");
    report_filled("escaped lines", head, "a line of some source text here;\\n", "\"}}");
    report_filled("\\u0000 only", head, "\\u0000", "\"}}");
    report_filled("numbers", open, ",-0.012345678901234567", "]}}");
    report_filled("indented objects", open, ",\n        {\n            \"k\": \"v\"\n        }",
                  "]}}");
    report_filled("keys of the message", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\"",
                  ",\"\":1", "}");
    return 0;
}
