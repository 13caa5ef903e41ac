/* demo - MCP sessions through a strictly alternating balancer (`alternate --tell`), shown message
 * by message: which peer received it, which peer owns the session. One session after the other, a
 * new connection for every message; all sessions stay open. The owner is what the session's own
 * answers say (the tool whoami of the built-in server, asked first and last), and that its memory
 * is one process's is what the counter shows. Starting and ending peers is left to scripts/demo. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/tools/client.h"

#define PEERS_MAX 9
#define NAME_MAX_BYTES 12
#define ID_MAX 128
#define SESSIONS_MAX 10000
#define CALL_TIMEOUT_MS 15000 /* the mesh itself gives up after 10 s */
#define VERSION "2025-11-25"

/* Seven messages for three peers: every session's begin with another peer than the last one's. */
enum step {
    STEP_INITIALIZE,
    STEP_INITIALIZED,
    STEP_FIRST_WHOAMI,
    STEP_FIRST_COUNTER,
    STEP_COUNTER,
    STEP_ECHO,
    STEP_WHOAMI,
    STEPS_COUNT
};

static const struct {
    const char *label;
    int width; /* of its column */
    const char *method, *params;
} steps[STEPS_COUNT] = {
    [STEP_INITIALIZE] = {"initialize", 10, "initialize",
                         "{\"protocolVersion\":\"" VERSION "\",\"capabilities\":{},"
                         "\"clientInfo\":{\"name\":\"demo\",\"version\":\"1\"}}"},
    [STEP_INITIALIZED] = {"initialized", 11, "notifications/initialized", NULL},
    [STEP_FIRST_WHOAMI] = {"whoami", 7, "tools/call", "{\"name\":\"whoami\",\"arguments\":{}}"},
    [STEP_FIRST_COUNTER] = {"counter", 7, "tools/call", "{\"name\":\"counter\",\"arguments\":{}}"},
    [STEP_COUNTER] = {"counter", 7, "tools/call", "{\"name\":\"counter\",\"arguments\":{}}"},
    [STEP_ECHO] = {"echo", 7, "tools/call", NULL}, /* step_send() makes its text */
    [STEP_WHOAMI] = {"whoami", 7, "tools/call", "{\"name\":\"whoami\",\"arguments\":{}}"},
};

static struct {
    struct client client;
    struct client_call call;
    uv_timer_t timeout, pace;
    char peers[PEERS_MAX][NAME_MAX_BYTES + 1];
    unsigned peers_count, owned[PEERS_MAX];
    uint64_t sessions, pace_ms;
    bool is_coloured, is_utf8;
    /* the session under way */
    uint64_t session; /* counts from 1 */
    enum step step;
    char id[ID_MAX + 1];
    char owner[NAME_MAX_BYTES + 1];
    int received[STEPS_COUNT]; /* which peer; -1: it is not known */
    bool has_answer;
    char failure[200]; /* empty: none */
    /* of all */
    uint64_t messages, forwarded, local, failures, begun_ns;
} demo;

/* --- what is shown --- */

static const char *colour(const char *code)
{
    return demo.is_coloured ? code : "";
}

#define PLAIN colour("\033[0m")
#define DIM colour("\033[2m")
#define BOLD colour("\033[1m")
#define CYAN colour("\033[36m")
#define RED colour("\033[31m")

static const char *arrow(void)
{
    return demo.is_utf8 ? "→" : ">";
}

/* The colour's bytes have no width: the blanks are counted by hand. */
static void put_cell(const char *code, const char *text, int columns, int width)
{
    printf("  %s%s%s%*s", code, text, PLAIN, width > columns ? width - columns : 0, "");
}

static void print_head(void)
{
    printf("  A cell names the peer that received the message. \"b %s a\": b did not own the "
           "session and\n"
           "  forwarded the message to a, which does.\n\n",
           arrow());
    printf("  %ssession  owner", BOLD);
    for (int i = 0; i < STEPS_COUNT; i++)
        printf("  %-*s", steps[i].width, steps[i].label);
    printf("%s\n", PLAIN);
}

static void print_step(int step)
{
    char text[2 * NAME_MAX_BYTES + 8];
    const char *received = "?";
    if (demo.received[step] >= 0)
        received = demo.peers[demo.received[step]];
    bool is_local = strcmp(received, demo.owner) == 0;
    int columns = (int)strlen(received);
    if (is_local || demo.owner[0] == '\0') {
        snprintf(text, sizeof text, "%s", received);
    } else {
        snprintf(text, sizeof text, "%s %s %s", received, arrow(), demo.owner);
        columns += 3 + (int)strlen(demo.owner);
    }
    /* No blanks at the end of a line. */
    int width = step + 1 < STEPS_COUNT ? steps[step].width : 0;
    put_cell(is_local ? DIM : CYAN, text, columns, width);
}

/* One line a session: each message's receiver, and the owner where that is another peer. */
static void print_session(void)
{
    const char *owner = demo.owner[0] != '\0' ? demo.owner : "?";
    bool has_failed = demo.failure[0] != '\0';
    printf("  %7" PRIu64, demo.session);
    put_cell(BOLD, owner, (int)strlen(owner), 5);
    for (int i = 0; i < STEPS_COUNT && i < (int)demo.step; i++)
        print_step(i);
    if (has_failed)
        printf("  %sfailed%s\n           %s%s: %s%s", RED, PLAIN, RED, steps[demo.step].label,
               demo.failure, PLAIN);
    printf("\n");
    fflush(stdout);
}

static void print_summary(void)
{
    uint64_t tenths = (io_now_ns() - demo.begun_ns) / 100000000;
    uint64_t share =
        demo.messages > 0 ? (demo.forwarded * 100 + demo.messages / 2) / demo.messages : 0;
    printf("\n  %s%" PRIu64 " sessions, %" PRIu64 " messages: %" PRIu64 " forwarded (%" PRIu64
           " %%), %" PRIu64 " local, %s%" PRIu64 " failures%s,"
           " %" PRIu64 ".%" PRIu64 " s\n  sessions owned:",
           BOLD, demo.session, demo.messages, demo.forwarded, share, demo.local,
           demo.failures > 0 ? RED : "", demo.failures, PLAIN, tenths / 10, tenths % 10);
    for (unsigned i = 0; i < demo.peers_count; i++)
        printf("%s %s %u", i > 0 ? "," : "", demo.peers[i], demo.owned[i]);
    printf("\n");
}

/* --- one message after the other --- */

static void session_begin(void);
static void step_send(void);

__attribute__((format(printf, 1, 2))) static void fail(const char *format, ...)
{
    va_list arguments;
    if (demo.failure[0] != '\0') /* the first reason is the one to show */
        return;
    va_start(arguments, format);
    vsnprintf(demo.failure, sizeof demo.failure, format, arguments);
    va_end(arguments);
    for (char *at = demo.failure; *at != '\0'; at++) {
        if (*at < ' ' || *at > '~') /* it may quote what came from outside */
            *at = '?';
    }
}

static void on_pace(uv_timer_t *timer)
{
    (void)timer;
    session_begin();
}

static void session_end(void)
{
    for (int i = 0; i < (int)demo.step; i++) {
        bool is_local =
            demo.received[i] >= 0 && strcmp(demo.peers[demo.received[i]], demo.owner) == 0;
        demo.messages++;
        demo.local += is_local;
        demo.forwarded += !is_local;
    }
    demo.failures += demo.failure[0] != '\0';
    for (unsigned i = 0; i < demo.peers_count; i++)
        demo.owned[i] += strcmp(demo.owner, demo.peers[i]) == 0;
    print_session();
    if (demo.session == demo.sessions) {
        uv_close((uv_handle_t *)&demo.timeout, NULL);
        uv_close((uv_handle_t *)&demo.pace, NULL);
    } else {
        uv_timer_start(&demo.pace, on_pace, demo.pace_ms, 0);
    }
}

static void session_begin(void)
{
    demo.session++;
    demo.step = STEP_INITIALIZE;
    demo.id[0] = demo.owner[0] = demo.failure[0] = '\0';
    for (int i = 0; i < STEPS_COUNT; i++)
        demo.received[i] = -1;
    step_send();
}

/* The message was answered: `step` counts those that were. */
static void step_end(void)
{
    uv_timer_stop(&demo.timeout);
    if (demo.failure[0] == '\0')
        demo.step++;
    if (demo.failure[0] != '\0' || demo.step == STEPS_COUNT)
        session_end();
    else
        step_send();
}

static void on_timeout(uv_timer_t *timer)
{
    (void)timer;
    client_abort(&demo.call);
    fail("no answer in %d s", CALL_TIMEOUT_MS / 1000);
    step_end();
}

static void echo_text(char text[40])
{
    snprintf(text, 40, "hello from session %" PRIu64, demo.session);
}

static void step_send(void)
{
    char text[2048], body[1024], params[512] = "{}", message[40], id[32] = "";
    bool has_id = demo.step != STEP_INITIALIZE;
    demo.has_answer = false;
    echo_text(message);
    if (demo.step == STEP_ECHO)
        snprintf(params, sizeof params, "{\"name\":\"echo\",\"arguments\":{\"message\":\"%s\"}}",
                 message);
    else if (steps[demo.step].params != NULL)
        snprintf(params, sizeof params, "%s", steps[demo.step].params);
    if (demo.step != STEP_INITIALIZED)
        snprintf(id, sizeof id, "\"id\":%d,", (int)demo.step);
    int length =
        snprintf(body, sizeof body, "{\"jsonrpc\":\"2.0\",%s\"method\":\"%s\",\"params\":%s}", id,
                 steps[demo.step].method, params);
    int whole = snprintf(text, sizeof text,
                         "POST /mcp HTTP/1.1\r\nHost: %s\r\n"
                         "Accept: application/json, text/event-stream\r\n"
                         "Content-Type: application/json\r\nContent-Length: %d\r\n"
                         "Connection: close\r\n%s%s%s\r\n%s",
                         demo.client.targets[0].authority, length,
                         has_id ? "MCP-Protocol-Version: " VERSION "\r\nMcp-Session-Id: " : "",
                         demo.id, has_id ? "\r\n" : "", body);
    uv_timer_start(&demo.timeout, on_timeout, CALL_TIMEOUT_MS, 0);
    client_send(&demo.client, &demo.call, 0, text, (size_t)whole);
}

/* --- what comes back --- */

static void on_head(struct client_call *call, const struct h1_head *head)
{
    struct slice value;
    int wanted = demo.step == STEP_INITIALIZED ? 202 : 200;
    if (h1_header(head, "alternate-backend", &value) && value.length == 1 && value.at[0] >= '0' &&
        value.at[0] < '0' + (int)demo.peers_count)
        demo.received[demo.step] = value.at[0] - '0';
    else
        fail("the balancer did not name the peer (alternate --tell)");
    if (call->status != wanted) {
        const char *by = demo.received[demo.step] >= 0 ? demo.peers[demo.received[demo.step]] : "?";
        fail("received by %s: HTTP status %d instead of %d", by, call->status, wanted);
    }
    if (demo.step != STEP_INITIALIZE)
        return;
    h1_header(head, "mcp-session-id", &value);
    if (value.length == 0 || value.length > ID_MAX)
        fail("no session id in the answer");
    else
        snprintf(demo.id, sizeof demo.id, "%.*s", (int)value.length, (const char *)value.at);
}

/* whoami: asked twice, the session must name one and the same peer. */
static void check_owner(const json_t *result)
{
    const char *name =
        json_string_value(json_object_get(json_object_get(result, "structuredContent"), "name"));
    bool is_known = false;
    for (unsigned i = 0; i < demo.peers_count; i++)
        is_known = is_known || (name != NULL && strcmp(name, demo.peers[i]) == 0);
    if (!is_known)
        fail("the answer names none of the peers");
    else if (demo.step == STEP_FIRST_WHOAMI)
        memcpy(demo.owner, name, strlen(name) + 1);
    else if (strcmp(name, demo.owner) != 0)
        fail("answered by %s, not by %s", name, demo.owner);
}

static void check_result(const json_t *result)
{
    json_int_t wanted = demo.step == STEP_FIRST_COUNTER ? 1 : 2;
    char message[40];
    const json_t *content;
    switch (demo.step) {
    case STEP_FIRST_WHOAMI:
    case STEP_WHOAMI:
        check_owner(result);
        break;
    case STEP_FIRST_COUNTER:
    case STEP_COUNTER:
        content = json_object_get(json_object_get(result, "structuredContent"), "value");
        if (json_integer_value(content) != wanted)
            fail("the counter is %" JSON_INTEGER_FORMAT ", not %" JSON_INTEGER_FORMAT,
                 json_integer_value(content), wanted);
        break;
    case STEP_ECHO:
        echo_text(message);
        content = json_object_get(json_array_get(json_object_get(result, "content"), 0), "text");
        if (!json_is_string(content) || strcmp(json_string_value(content), message) != 0)
            fail("another text came back");
        break;
    case STEP_INITIALIZE:
    case STEP_INITIALIZED:
    case STEPS_COUNT:
        break;
    }
}

/* Notifications pass; the one response must be ours. */
static void on_text(struct client_call *call, struct slice text, struct slice event_id)
{
    (void)call;
    (void)event_id;
    json_t *json = json_loadb((const char *)text.at, text.length, 0, NULL);
    const json_t *id = json_object_get(json, "id"), *result = json_object_get(json, "result");
    const json_t *error = json_object_get(json, "error");
    if (error != NULL) {
        const char *message = json_string_value(json_object_get(error, "message"));
        fail("JSON-RPC error: %s", message != NULL ? message : "(no message)");
    } else if (result != NULL && !demo.has_answer &&
               json_integer_value(id) == (json_int_t)demo.step) {
        demo.has_answer = true;
        check_result(result);
    } else if (result != NULL) {
        fail("another call's answer");
    }
    json_decref(json);
}

static void on_done(struct client_call *call, int rc)
{
    (void)call;
    if (rc < 0)
        fail("the connection broke: %s", uv_strerror(rc));
    else if (!demo.has_answer && demo.step != STEP_INITIALIZED)
        fail("the answer ended without a result");
    step_end();
}

/* --- the command --- */

/* "a,b,c" */
static int read_peers(const char *list)
{
    while (*list != '\0') {
        size_t length = strcspn(list, ",");
        if (length == 0 || length > NAME_MAX_BYTES || demo.peers_count == PEERS_MAX)
            return -EINVAL;
        memcpy(demo.peers[demo.peers_count++], list, length);
        list += length + (list[length] == ',');
    }
    return 0;
}

static int read_options(int argc, char **argv)
{
    static const struct option options[] = {{"to", required_argument, NULL, 't'},
                                            {"peers", required_argument, NULL, 'p'},
                                            {"sessions", required_argument, NULL, 's'},
                                            {"pace-ms", required_argument, NULL, 'm'},
                                            {0}};
    int rc = 0;
    demo.sessions = 50;
    for (int option; rc == 0 && (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 't')
            rc = client_add_targets(&demo.client, optarg);
        else if (option == 'p')
            rc = read_peers(optarg);
        else if (option == 's')
            rc = io_read_number(optarg, SESSIONS_MAX, &demo.sessions);
        else if (option == 'm')
            rc = io_read_number(optarg, 10000, &demo.pace_ms);
        else
            rc = -EINVAL;
    }
    bool is_whole = demo.client.targets_count == 1 && demo.peers_count > 0 && demo.sessions > 0;
    return rc == 0 && is_whole && optind == argc ? 0 : -EINVAL;
}

int main(int argc, char **argv)
{
    if (read_options(argc, argv) < 0) {
        fputs("usage: demo --to ADDRESS:PORT --peers NAME,NAME,... [--sessions 50] [--pace-ms 0]\n"
              "Opens MCP sessions through `alternate --tell`, whose --to are the peers in this "
              "order,\nand shows where each message went. Exit code 1: something failed.\n",
              stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    setlocale(LC_CTYPE, "");
    demo.is_utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    demo.is_coloured = isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL;
    demo.client.loop = uv_default_loop();
    demo.client.is_new_connection = true;
    demo.client.on_head = on_head;
    demo.client.on_text = on_text;
    demo.client.on_done = on_done;
    uv_timer_init(demo.client.loop, &demo.timeout);
    uv_timer_init(demo.client.loop, &demo.pace);
    demo.begun_ns = io_now_ns();
    print_head();
    session_begin();
    uv_run(demo.client.loop, UV_RUN_DEFAULT);
    print_summary();
    uv_loop_close(demo.client.loop);
    return demo.failures > 0 ? 1 : 0;
}
