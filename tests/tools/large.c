/* large.c - one call whose answer is large, read as fast as it comes or slowly for a while, and
 * compared byte by byte with what the stub said: a JSON answer, or events and then an answer. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tools/fill.h"
#include "tests/tools/mcp.h"

#define TICK_MS 10
#define ID 7 /* of the call, and of its progress */
#define SEED 99

static struct {
    struct client client;
    struct client_call call;
    uint64_t bytes, events, slow_kib, slow_seconds, seconds;
    enum { INITIALIZE, INITIALIZED, CALL, OVER } step;
    char session[MCP_SESSION_MAX + 1];
    uv_timer_t ticks;
    char *expected; /* of the JSON answer, or of the next event */
    size_t expected_length;
    uint64_t got, event; /* bytes of the JSON answer, or of events' data; events */
    uint64_t read;       /* bytes of the body */
    uint64_t begun_ns, ended_ns, slow_until_ns;
    bool is_answered, is_paused;
    char problem[200];
} large = {.bytes = 1u << 20, .seconds = 60};

static void stop(const char *problem)
{
    if (large.problem[0] == '\0' && problem != NULL)
        snprintf(large.problem, sizeof large.problem, "%s", problem);
    large.step = OVER;
    large.ended_ns = io_now_ns();
    client_abort(&large.call);
    uv_stop(large.client.loop);
}

/* before, `bytes` of filling, after */
static void expect(const char *before, size_t bytes, uint64_t seed, const char *after)
{
    size_t length = strlen(before);
    free(large.expected);
    large.expected = malloc(length + bytes + strlen(after) + 1);
    if (large.expected == NULL)
        abort();
    memcpy(large.expected, before, length);
    fill_text(large.expected + length, bytes, seed);
    strcpy(large.expected + length + bytes, after);
    large.expected_length = length + bytes + strlen(after);
}

static void expect_event(void)
{
    char before[200];
    if (large.event == large.events) {
        expect("{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"content\":[{\"type\":\"text\",\"text\":"
               "\"done\"}]}}",
               0, 0, "");
        return;
    }
    snprintf(before, sizeof before,
             "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{"
             "\"progressToken\":%d,\"progress\":%" PRIu64 ",\"total\":%" PRIu64 ",\"message\":\"",
             ID, large.event + 1, large.events);
    expect(before, large.bytes, large.event + 1, "\"}}");
}

static void send_call(void)
{
    char body[512];
    if (large.events > 0)
        snprintf(body, sizeof body,
                 "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"tools/call\",\"params\":{\"name\":"
                 "\"slow\",\"_meta\":{\"progressToken\":%d},\"arguments\":{\"ms\":%" PRIu64
                 ",\"steps\":%" PRIu64 ",\"bytes\":%" PRIu64 "}}}",
                 ID, ID, large.events, large.events, large.bytes);
    else
        snprintf(body, sizeof body,
                 "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"tools/call\",\"params\":{\"name\":"
                 "\"big\",\"arguments\":{\"fill\":%d,\"bytes\":%" PRIu64 "}}}",
                 ID, SEED, large.bytes);
    if (large.events > 0)
        expect_event();
    else
        expect(
            "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"",
            large.bytes, SEED, "\"}]}}");
    struct mcp_request request = {
        .method = "POST", .session = large.session, .event_id = "", .body = body};
    large.step = CALL;
    large.begun_ns = io_now_ns();
    large.slow_until_ns = large.begun_ns + large.slow_seconds * 1000000000u;
    mcp_send(&large.client, &large.call, large.client.targets_count - 1, &request);
}

/* So many bytes may be read by now. */
static bool may_read(void)
{
    uint64_t now = io_now_ns();
    return now >= large.slow_until_ns ||
           large.read <= (now - large.begun_ns) / 1000 * large.slow_kib * 1024 / 1000000;
}

static void on_tick(uv_timer_t *ticks)
{
    (void)ticks;
    if (large.step == CALL && io_now_ns() - large.begun_ns > large.seconds * 1000000000u) {
        stop("too slow");
    } else if (large.is_paused && may_read()) {
        large.is_paused = false;
        client_resume(&large.call);
    }
}

static void pace(void)
{
    if (large.is_paused || large.step != CALL || may_read())
        return;
    large.is_paused = true;
    client_pause(&large.call);
}

static void on_head(struct client_call *call, const struct h1_head *head)
{
    if (large.step == INITIALIZE && !mcp_read_session(head, large.session))
        stop("no session");
    else if (large.step == CALL && (call->status != 200 || call->is_sse != (large.events > 0)))
        stop("another answer than was wanted");
}

static void on_part(struct client_call *call, struct slice part)
{
    if (large.step != CALL)
        return;
    large.read += part.length;
    pace();
    if (call->is_sse)
        return;
    bool fits = part.length <= large.expected_length - large.got;
    if (!fits || memcmp(part.at, large.expected + large.got, part.length) != 0) {
        snprintf(large.problem, sizeof large.problem, "differs within %zu bytes at %" PRIu64,
                 part.length, large.got);
        stop(NULL);
        return;
    }
    large.got += part.length;
    large.is_answered = large.got == large.expected_length;
}

static void on_text(struct client_call *call, struct slice text, struct slice event_id)
{
    (void)call, (void)event_id;
    if (large.step != CALL || text.length == 0)
        return;
    if (text.length != large.expected_length || memcmp(text.at, large.expected, text.length) != 0) {
        snprintf(large.problem, sizeof large.problem,
                 "event %" PRIu64 ": %zu bytes, not %zu: %.60s", large.event + 1, text.length,
                 large.expected_length, (const char *)text.at);
        stop(NULL);
        return;
    }
    large.got += text.length;
    large.is_answered = large.event++ == large.events;
    if (!large.is_answered)
        expect_event();
}

static void on_done(struct client_call *call, int rc)
{
    if (rc < 0)
        stop(rc == -EPROTO ? "no HTTP or no SSE" : uv_strerror(rc));
    else if (large.step == INITIALIZE) {
        large.step = INITIALIZED;
        mcp_send_initialized(&large.client, call, 0, large.session);
    } else if (large.step == INITIALIZED)
        send_call();
    else
        stop(large.is_answered ? NULL : "it ends before its end");
}

static const char usage[] =
    "usage: large --open-at HOST:PORT --to HOST:PORT [options]\n"
    "One call at --to in a session that was opened at --open-at; compares the answer.\n"
    "  --bytes N       of a JSON answer's text (1048576)\n"
    "  --events N      instead: so many events of --bytes, then an answer\n"
    "  --slow-kib N --slow-seconds N  a second, at most, for so long\n"
    "  --seconds N     after which it gives up (60)\n"
    "Exit code 1: something is missing, or not what it should be.\n";

static int read_options(int argc, char **argv)
{
    static const struct option options[] = {
        {"open-at", required_argument, NULL, 'o'},      {"to", required_argument, NULL, 't'},
        {"bytes", required_argument, NULL, 'b'},        {"events", required_argument, NULL, 'e'},
        {"slow-seconds", required_argument, NULL, 'w'}, {"slow-kib", required_argument, NULL, 'k'},
        {"seconds", required_argument, NULL, 's'},      {0}};
    const char *to = NULL;
    int rc = 0;
    for (int option; rc == 0 && (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'o')
            rc = client_add_targets(&large.client, optarg);
        else if (option == 't')
            to = optarg;
        else if (option == 'b')
            rc = io_read_number(optarg, 1u << 30, &large.bytes);
        else if (option == 'e')
            rc = io_read_number(optarg, 100000, &large.events);
        else if (option == 'w')
            rc = io_read_number(optarg, 86400, &large.slow_seconds);
        else if (option == 'k')
            rc = io_read_number(optarg, 1u << 20, &large.slow_kib);
        else if (option == 's')
            rc = io_read_number(optarg, 86400, &large.seconds);
        else
            rc = -EINVAL;
    }
    if (rc == 0 && to != NULL)
        rc = client_add_targets(&large.client, to);
    return rc == 0 && optind == argc && large.client.targets_count == 2 ? 0 : -EINVAL;
}

int main(int argc, char **argv)
{
    if (read_options(argc, argv) < 0) {
        fputs(usage, stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    large.client.loop = uv_default_loop();
    large.client.on_head = on_head;
    large.client.on_text = on_text;
    large.client.on_part = on_part;
    large.client.on_done = on_done;
    uv_timer_init(large.client.loop, &large.ticks);
    uv_timer_start(&large.ticks, on_tick, 0, TICK_MS);
    mcp_send_initialize(&large.client, &large.call, 0);
    uv_run(large.client.loop, UV_RUN_DEFAULT);
    printf("{\"bytes\":%" PRIu64 ",\"events\":%" PRIu64
           ",\"is_answered\":%s,\"seconds\":%.2f,\"problem\":\"%s\"}\n",
           large.got, large.event, large.is_answered ? "true" : "false",
           (double)(large.ended_ns - large.begun_ns) / 1e9, large.problem);
    return large.is_answered && large.problem[0] == '\0' ? 0 : 1;
}
