/* stub.c - the stub's command line, and its stdio transport: one session, one message a line. It
 * starts in a few milliseconds, since tests start thousands of it as children. */
#include "tests/tools/stub.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/tools/io.h"

#define LINE_MAX_BYTES (16u << 20)

static void write_line(const char *text, size_t length)
{
    if (length == 0)
        return;
    fwrite(text, 1, length, stdout);
    putc('\n', stdout);
}

static void stdio_reply(void *stream, const char *text, size_t length, bool is_last)
{
    (void)stream;
    (void)is_last;
    write_line(text, length);
}

static void stdio_push(struct stub_session *session, uint64_t seq, const char *text, size_t length)
{
    (void)session, (void)seq;
    write_line(text, length);
}

static uint64_t now_ms(void)
{
    return io_now_ns() / 1000000;
}

static void take_line(struct stub *stub, struct stub_session *session, struct slice line)
{
    struct rpc_message m;
    if (line.length == 0)
        return;
    rpc_read(&m, NULL, line.at, line.length);
    if (m.kind != RPC_BAD) {
        stub_take(stub, session, line, &m, session, now_ms());
        return;
    }
    char text[256];
    write_line(text, rpc_write_error(text, sizeof text, (struct slice){0}, m.fault, "stub: bad"));
}

/* Waits for input, at most until the next step of a slow call. False: the input has ended. */
static bool read_more(struct stub *stub, char **linesp, size_t *length, size_t *room)
{
    uint64_t deadline = stub_deadline_ms(stub), now = now_ms();
    int wait_ms = deadline == STUB_NEVER ? -1 : deadline <= now ? 0 : (int)(deadline - now);
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    if (poll(&input, 1, wait_ms) <= 0)
        return true;
    if (*room - *length < 4096) {
        size_t wanted = *room == 0 ? 65536 : *room * 2;
        char *grown = wanted <= LINE_MAX_BYTES ? realloc(*linesp, wanted) : NULL;
        if (grown == NULL)
            return false;
        *linesp = grown;
        *room = wanted;
    }
    ssize_t got = read(STDIN_FILENO, *linesp + *length, *room - *length);
    if (got > 0)
        *length += (size_t)got;
    return got > 0 || (got < 0 && errno == EINTR);
}

static int serve_stdio(struct stub *stub)
{
    struct stub_session session = {.hash = (uint32_t)getpid()};
    char *lines = NULL;
    size_t length = 0, room = 0;
    stub->reply = stdio_reply;
    stub->push = stdio_push;
    while (read_more(stub, &lines, &length, &room)) {
        size_t at = 0;
        for (char *end; (end = memchr(lines + at, '\n', length - at)) != NULL;) {
            take_line(stub, &session, slice_borrow(lines + at, (size_t)(end - lines) - at));
            at = (size_t)(end - lines) + 1;
        }
        if (at > 0)
            memmove(lines, lines + at, length - at);
        length -= at;
        stub_run(stub, now_ms());
        if (fflush(stdout) != 0)
            break;
    }
    stub_session_gone(stub, &session);
    free(lines);
    return 0;
}

static const char usage[] =
    "usage: stub http --listen ADDRESS:PORT [--log FILE] [--name NAME] [--break-every N]\n"
    "                 [--tell]\n"
    "       stub sse --listen ADDRESS:PORT [--log FILE] [--name NAME]\n"
    "       stub stdio [--log FILE] [--name NAME]\n"
    "An MCP server for tests: echo, whoami, counter, slow, slow_counter, ask, notify, say, big.\n"
    "  http    Streamable HTTP at /mcp\n"
    "  sse     HTTP+SSE of 2024-11-05 at /sse\n"
    "  --break-every  http: the session's own stream has ids, ends after so many events, and goes\n"
    "          on where Last-Event-ID says\n"
    "  --tell  each result of a tool names its server: _meta.who\n"
    "  --log   one line for each execution: ms, name, session, method, tool, id, arguments.n\n";

int main(int argc, char **argv)
{
    static const struct option options[] = {{"listen", required_argument, NULL, 'l'},
                                            {"log", required_argument, NULL, 'o'},
                                            {"name", required_argument, NULL, 'n'},
                                            {"break-every", required_argument, NULL, 'b'},
                                            {"tell", no_argument, NULL, 't'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct stub stub = {.name = "stub"};
    const char *listen = NULL;
    bool good = true;
    for (int option; good && (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'l') {
            listen = optarg;
        } else if (option == 'o') {
            stub.log = fopen(optarg, "a");
            good = stub.log != NULL && setvbuf(stub.log, NULL, _IOLBF, 4096) == 0;
        } else if (option == 'n') {
            stub.name = optarg;
        } else if (option == 't') {
            stub.tells = true;
        } else if (option == 'b') {
            good = io_read_number(optarg, 1000000, &stub.break_every) == 0;
        } else {
            good = false;
        }
    }
    const char *mode = optind + 1 == argc ? argv[optind] : "";
    if (good && strcmp(mode, "stdio") == 0 && listen == NULL)
        return serve_stdio(&stub);
    if (good && listen != NULL && (strcmp(mode, "http") == 0 || strcmp(mode, "sse") == 0))
        return stub_serve_http(&stub, listen, strcmp(mode, "sse") == 0);
    fputs(usage, stderr);
    return 2;
}
