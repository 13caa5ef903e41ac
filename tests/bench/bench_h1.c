/* bench_h1.c - prints what reading a typical request costs: ns for the head alone, and for head,
 * gate and body of a tool call. Not part of the test run. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "http/gate.h"
#include "http/sse.h"

#define ROUNDS 500000

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static const char head[] =
    "POST /mcp HTTP/1.1\r\nHost: localhost:3000\r\nConnection: keep-alive\r\n"
    "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
    "Mcp-Session-Id: 4f1vK0bq8QmX2cY9Lw3ZtR7uJ5sN6dHaPeGiTkWo12\r\n"
    "MCP-Protocol-Version: 2025-06-18\r\nAccept-Language: *\r\nSec-Fetch-Mode: cors\r\n"
    "User-Agent: node\r\nAccept-Encoding: gzip, deflate\r\n";
static const char body[] = "{\"jsonrpc\":\"2.0\",\"id\":12,\"method\":\"tools/call\",\"params\":"
                           "{\"name\":\"echo\",\"arguments\":{\"message\":\"hello\"}}}";

static void bench(const char *what, const char *text, size_t length, bool with_gate)
{
    static const struct gate_config gate = {
        .mcp_path = "/mcp", .sse_path = "/sse", .messages_path = "/messages", .is_loopback = true};
    struct h1_limits limits = h1_limits_default(H1_REQUESTS);
    uint64_t start, passed = 0;
    size_t used;
    struct h1 h;
    int i;

    h1_init(&h, H1_REQUESTS, &limits, NULL);
    start = now_ns();
    for (i = 0; i < ROUNDS; i++) {
        struct gate_pass pass;

        if (h1_feed(&h, (const uint8_t *)text, length, &used) != H1_HEAD)
            break;
        if (with_gate)
            passed += gate_check(&gate, h.head, &pass) == GATE_PASS;
        if (h1_feed(&h, (const uint8_t *)text + used, length - used, &used) != H1_END)
            break;
        h1_next(&h);
    }
    printf("%-24s %4zu bytes %6.0f ns%s\n", what, length,
           (double)(now_ns() - start) / (i > 0 ? i : 1),
           i < ROUNDS || (with_gate && passed != ROUNDS) ? " REFUSED" : "");
    h1_deinit(&h);
}

static void bench_sse(void)
{
    static const char text[] =
        "id: s-1-42\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":"
        "{\"progressToken\":1,\"progress\":3,\"total\":10}}\n\n";
    struct sse_reader reader;
    struct sse_event event;
    uint64_t start;
    size_t used;
    int i;

    sse_reader_init(&reader, 1u << 20, NULL);
    start = now_ns();
    for (i = 0; i < ROUNDS; i++)
        if (sse_read(&reader, slice_borrow(text, sizeof text - 1), &used, &event) != SSE_EVENT)
            break;
    printf("%-24s %4zu bytes %6.0f ns\n", "event", sizeof text - 1,
           (double)(now_ns() - start) / (i > 0 ? i : 1));
    sse_reader_deinit(&reader);
}

int main(void)
{
    char text[1024];
    int n;

    n = snprintf(text, sizeof text, "%s\r\n", head);
    bench("head", text, (size_t)n, false);
    bench("head, gate", text, (size_t)n, true);
    n = snprintf(text, sizeof text, "%sContent-Length: %zu\r\n\r\n%s", head, sizeof body - 1, body);
    bench("head, gate, body", text, (size_t)n, true);
    bench_sse();
    return 0;
}
