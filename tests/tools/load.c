/* load.c - a generator of MCP load that checks every answer. It opens sessions, then sends
 * numbered tool calls over them, either at a fixed rate whatever the answers do (latencies count
 * from when a call was due) or as fast as a number of connections allows. What is wrong with an
 * answer is found in load_check.c. */
#include "tests/tools/load.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>

#include "tests/tools/json.h"

#define TICK_NS 1000000u
#define OPENING_MAX 100 /* sessions being opened, or ended, at a time */
#define AGAIN_NS 1000000000u
#define SETTLE_NS 5000000000u
#define VERSION "2025-11-25"

struct load load = {.rate = 1000,
                    .seconds = 5,
                    .sessions_count = 10,
                    .connections = 50,
                    .tool_ms = 200,
                    .tool_steps = 4,
                    .notify_ms = 500,
                    .timeout_ms = 10000,
                    .tool = "echo",
                    .path = "/mcp"};

static struct {
    enum { OPENING, RUNNING, SETTLING, ENDING, DONE } phase;
    uint64_t next_session, in_flight, settled_ns, chance;
    struct load_call *oldest, *youngest;
    struct load_call *unused;
    struct load_call **workers;
    bool workers_idle; /* one or more wait for the next tick */
    int timer;
    uv_poll_t ticks;
} run;

/* --- calls --- */

static struct load_call *call_new(struct load_session *session, enum load_purpose purpose)
{
    struct load_call *call = run.unused;
    if (call != NULL)
        run.unused = call->next;
    else
        call = malloc(sizeof *call);
    if (call == NULL)
        abort();
    *call = (struct load_call){.session = session, .purpose = purpose, .due_ns = io_now_ns()};
    return call;
}

static void call_free(struct load_call *call)
{
    call->next = run.unused;
    run.unused = call;
}

static void call_link(struct load_call *call)
{
    call->next = NULL;
    call->previous = run.youngest;
    if (run.youngest != NULL)
        run.youngest->next = call;
    else
        run.oldest = call;
    run.youngest = call;
}

static void call_unlink(struct load_call *call)
{
    if (call->previous != NULL)
        call->previous->next = call->next;
    else
        run.oldest = call->next;
    if (call->next != NULL)
        call->next->previous = call->previous;
    else
        run.youngest = call->previous;
}

/* Those of --open-at stand behind those of --to. */
static unsigned next_target(enum load_purpose purpose)
{
    bool opens =
        purpose == CALL_INITIALIZE || purpose == CALL_INITIALIZED || purpose == CALL_DELETE;
    unsigned others = load.client.targets_count - load.targets_count;
    if (opens && others > 0)
        return load.targets_count + load.turn++ % others;
    return load.turn++ % load.targets_count;
}

/* A request with the session's headers and a body (NULL: none). */
static void call_send(struct load_call *call, const char *method, const char *body)
{
    char small[4096];
    const struct load_session *session = call->session;
    unsigned target = next_target(call->purpose);
    size_t length = body != NULL ? strlen(body) : 0;
    size_t room = length + strlen(load.path) + 1024;
    char *text = room <= sizeof small ? small : malloc(room);
    if (text == NULL)
        abort();
    bool is_get = strcmp(method, "GET") == 0, has_id = session != NULL && session->id[0] != '\0';
    int head = snprintf(text, room,
                        "%s %s HTTP/1.1\r\nHost: %s\r\n"
                        "Accept: %stext/event-stream\r\n%s%s%s%s%s%s%s",
                        method, load.path, load.client.targets[target].authority,
                        is_get ? "" : "application/json, ",
                        has_id ? "MCP-Protocol-Version: " VERSION "\r\nMcp-Session-Id: " : "",
                        has_id ? session->id : "", has_id ? "\r\n" : "",
                        is_get && session->event_id[0] != '\0' ? "Last-Event-ID: " : "",
                        is_get && session->event_id[0] != '\0' ? session->event_id : "",
                        is_get && session->event_id[0] != '\0' ? "\r\n" : "",
                        load.client.is_new_connection ? "Connection: close\r\n" : "");
    if (body != NULL)
        head += snprintf(text + head, room - (size_t)head,
                         "Content-Type: application/json\r\nContent-Length: %zu\r\n", length);
    head += snprintf(text + head, room - (size_t)head, "\r\n");
    if (length > 0)
        memcpy(text + head, body, length);
    call->http.is_get = is_get;
    if (call->purpose != CALL_LISTEN) {
        run.in_flight++;
        call_link(call);
    }
    client_send(&load.client, &call->http, target, text, (size_t)head + length);
    if (text != small)
        free(text);
}

static void send_initialize(struct load_session *session)
{
    struct load_call *call = call_new(session, CALL_INITIALIZE);
    call->id = session->next_id++;
    char body[256];
    snprintf(body, sizeof body,
             "{\"jsonrpc\":\"2.0\",\"id\":%" PRIu64 ",\"method\":\"initialize\",\"params\":{"
             "\"protocolVersion\":\"" VERSION "\",\"capabilities\":{\"sampling\":{},"
             "\"elicitation\":{}},\"clientInfo\":{\"name\":\"load\",\"version\":\"1\"}}}",
             call->id);
    call_send(call, "POST", body);
}

static void send_initialized(struct load_session *session)
{
    call_send(call_new(session, CALL_INITIALIZED), "POST",
              "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}");
}

static void send_listen(struct load_session *session)
{
    session->listen_again_ns = 0;
    session->listen = call_new(session, CALL_LISTEN);
    call_send(session->listen, "GET", NULL);
}

static void send_notify(struct load_session *session)
{
    struct load_call *call = call_new(session, CALL_NOTIFY);
    uint64_t count = load.seconds * 1000 / load.notify_ms;
    call->id = session->next_id++;
    load.notes_expected += count;
    char body[256];
    snprintf(body, sizeof body,
             "{\"jsonrpc\":\"2.0\",\"id\":%" PRIu64 ",\"method\":\"tools/call\",\"params\":{"
             "\"name\":\"notify\",\"arguments\":{\"count\":%" PRIu64 ",\"interval_ms\":%" PRIu64
             "}}}",
             call->id, count, load.notify_ms);
    call_send(call, "POST", body);
}

static void send_tool(struct load_call *call)
{
    char small[1024];
    struct load_session *session = call->session;
    size_t room = 512 + load.pad;
    char *body = room <= sizeof small ? small : malloc(room);
    if (body == NULL)
        abort();
    call->id = session->next_id++;
    call->number = load.sent++;
    session->calls++;
    bool is_slow = strncmp(load.tool, "slow", 4) == 0;
    int length = snprintf(body, room,
                          "{\"jsonrpc\":\"2.0\",\"id\":%" PRIu64
                          ",\"method\":\"tools/call\",\"params\":{\"name\":\"%s\",",
                          call->id, load.tool);
    if (is_slow)
        length +=
            snprintf(body + length, room - (size_t)length,
                     "\"_meta\":{\"progressToken\":%" PRIu64 "},\"arguments\":{\"ms\":%" PRIu64
                     ",\"steps\":%" PRIu64 ",\"n\":%" PRIu64 "}}}",
                     call->id, load.tool_ms, load.tool_steps, call->number);
    else {
        length += snprintf(body + length, room - (size_t)length,
                           "\"arguments\":{\"n\":%" PRIu64 ",\"message\":\"%" PRIu64 ".",
                           call->number, call->number);
        memset(body + length, 'x', load.pad);
        memcpy(body + length + load.pad, "\"}}}", 5);
    }
    call_send(call, "POST", body);
    if (body != small)
        free(body);
}

/* The client's answer to a question of a tool. */
static void send_answer(struct load_session *session, struct slice question)
{
    char body[512];
    snprintf(
        body, sizeof body,
        "{\"jsonrpc\":\"2.0\",\"id\":%.*s,\"result\":{\"model\":\"none\",\"role\":\"assistant\","
        "\"content\":{\"type\":\"text\",\"text\":\"yes\"}}}",
        (int)(question.length < 200 ? question.length : 200), (const char *)question.at);
    call_send(call_new(session, CALL_ANSWER), "POST", body);
}

/* The same bytes again and again: their session is in call->session (NULL: --plain). */
static void send_raw(struct load_call *call)
{
    static char *bodies[2];
    if (bodies[0] == NULL) {
        size_t room = 256 + load.pad;
        bodies[0] = malloc(room);
        bodies[1] = malloc(room);
        if (bodies[0] == NULL || bodies[1] == NULL)
            abort();
        int at = snprintf(bodies[0], room,
                          "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"tools/call\",\"params\":{"
                          "\"name\":\"%s\",\"arguments\":{\"message\":\"",
                          load.tool);
        memset(bodies[0] + at, 'x', load.pad);
        memcpy(bodies[0] + at + load.pad, "\"}}}", 5);
        snprintf(bodies[1], room, "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"ping\"}");
    }
    load.sent++;
    call_send(call, "POST", bodies[call->session == NULL]);
}

/* --- the run --- */

/* By chance, not in turn: sessions in turn through targets in turn would each meet the same target
 * for ever. The same chance in every run. */
static struct load_session *next_open_session(void)
{
    run.chance += 0x9e3779b97f4a7c15u;
    uint64_t chance = run.chance;
    chance = (chance ^ chance >> 30) * 0xbf58476d1ce4e5b9u;
    chance = (chance ^ chance >> 27) * 0x94d049bb133111ebu;
    uint64_t first = (chance ^ chance >> 31) % load.sessions_count;
    for (uint64_t i = 0; i < load.sessions_count; i++) {
        struct load_session *session = &load.sessions[(first + i) % load.sessions_count];
        if (session->is_open)
            return session;
    }
    return NULL;
}

static void worker_go(struct load_call *call)
{
    struct load_session *session = call->session;
    bool is_raw = call->purpose == CALL_RAW;
    if (!is_raw)
        session = next_open_session();
    *call = (struct load_call){.session = session,
                               .purpose = is_raw ? CALL_RAW : CALL_TOOL,
                               .is_worker = true,
                               .due_ns = io_now_ns()};
    if (is_raw)
        send_raw(call);
    else
        send_tool(call);
}

static void run_begin(void)
{
    uint64_t open = 0;
    for (uint64_t i = 0; i < load.sessions_count; i++)
        open += load.sessions[i].is_open;
    load.begun_ns = load.ended_ns = io_now_ns();
    run.phase = open > 0 || load.is_plain ? RUNNING : SETTLING;
    if (run.phase == SETTLING)
        return;
    if (load.has_get_streams)
        for (uint64_t i = 0; i < load.sessions_count; i++)
            if (load.sessions[i].is_open)
                send_listen(&load.sessions[i]);
    if (!load.is_closed)
        return;
    run.workers = calloc(load.connections, sizeof(struct load_call *));
    if (run.workers == NULL)
        abort();
    for (uint64_t i = 0; i < load.connections; i++) {
        struct load_session *session = load.is_plain ? NULL : next_open_session();
        /* --raw says the same id again and again: one at a time in a session. */
        if (load.is_raw && session != NULL && load.sessions[i % load.sessions_count].is_open)
            session = &load.sessions[i % load.sessions_count];
        run.workers[i] = call_new(session, load.is_raw ? CALL_RAW : CALL_TOOL);
        worker_go(run.workers[i]);
    }
}

/* What is due since the last tick. A call's time is the tick it falls into. */
static void run_open_loop(uint64_t now)
{
    uint64_t passed_ms = (now - load.begun_ns + TICK_NS / 2) / TICK_NS,
             end_ms = load.seconds * 1000;
    uint64_t due = (passed_ms < end_ms ? passed_ms : end_ms) * load.rate / 1000;
    while (load.sent < due) {
        struct load_call *call = call_new(next_open_session(), CALL_TOOL);
        uint64_t tick = ((load.sent + 1) * 1000 + load.rate - 1) / load.rate;
        call->due_ns = load.begun_ns + tick * TICK_NS;
        send_tool(call);
    }
    load.ended_ns = now;
    if (passed_ms >= end_ms)
        run.phase = SETTLING;
}

static void run_closed_loop(uint64_t now)
{
    load.ended_ns = now;
    if (now - load.begun_ns >= load.seconds * 1000000000u) {
        run.phase = SETTLING;
        return;
    }
    if (!run.workers_idle)
        return;
    run.workers_idle = false;
    for (uint64_t i = 0; i < load.connections; i++)
        if (run.workers[i]->http.conn == NULL && run.workers[i]->has_failed)
            worker_go(run.workers[i]);
}

static void listen_again(uint64_t now)
{
    for (uint64_t i = 0; i < load.sessions_count; i++) {
        struct load_session *session = &load.sessions[i];
        if (session->listen_again_ns != 0 && session->listen_again_ns <= now)
            send_listen(session);
    }
}

static void open_more(void)
{
    while (run.phase == OPENING && run.in_flight < OPENING_MAX &&
           run.next_session < load.sessions_count)
        send_initialize(&load.sessions[run.next_session++]);
    if (run.next_session == load.sessions_count && run.in_flight == 0)
        run_begin();
}

static void listen_end(struct load_session *session)
{
    client_abort(&session->listen->http);
    call_free(session->listen);
    session->listen = NULL;
}

static void settle(uint64_t now)
{
    bool has_all = load.notes >= load.notes_expected;
    if (run.settled_ns == 0)
        run.settled_ns = now;
    if (run.in_flight > 0 || (!has_all && now - run.settled_ns < SETTLE_NS))
        return;
    run.phase = ENDING;
    run.next_session = 0;
    for (uint64_t i = 0; i < load.sessions_count; i++) {
        struct load_session *session = &load.sessions[i];
        session->listen_again_ns = 0;
        if (session->listen != NULL)
            listen_end(session);
    }
}

static void end_more(void)
{
    while (!load.keeps && run.in_flight < OPENING_MAX && run.next_session < load.sessions_count) {
        struct load_session *session = &load.sessions[run.next_session++];
        if (session->is_open)
            call_send(call_new(session, CALL_DELETE), "DELETE", NULL);
    }
    if (run.in_flight > 0)
        return;
    run.phase = DONE;
    uv_stop(load.client.loop);
}

static void on_done(struct client_call *http, int rc);

static void expire(uint64_t now)
{
    while (run.oldest != NULL && now > run.oldest->due_ns &&
           now - run.oldest->due_ns > load.timeout_ms * 1000000u) {
        struct load_call *call = run.oldest;
        if (!call->is_answered)
            load_fail(call, FAIL_TIMEOUT, "status %d", call->http.status);
        client_abort(&call->http);
        on_done(&call->http, UV_ETIMEDOUT);
    }
}

static void on_tick(uv_poll_t *ticks, int rc, int events)
{
    (void)ticks, (void)rc, (void)events;
    uint64_t expirations, now = io_now_ns();
    if (read(run.timer, &expirations, sizeof expirations) < 0)
        return;
    expire(now);
    if (load.has_get_streams)
        listen_again(now);
    if (run.phase == OPENING)
        open_more();
    else if (run.phase == RUNNING && load.is_closed)
        run_closed_loop(now);
    else if (run.phase == RUNNING)
        run_open_loop(now);
    else if (run.phase == SETTLING)
        settle(now);
    else if (run.phase == ENDING)
        end_more();
}

/* --- what comes back --- */

static void on_head(struct client_call *http, const struct h1_head *head)
{
    struct load_call *call = (struct load_call *)http;
    struct load_session *session = call->session;
    struct slice id;
    if (call->purpose == CALL_INITIALIZE && h1_header(head, "mcp-session-id", &id) &&
        id.length <= SESSION_ID_MAX)
        memcpy(session->id, id.at, id.length);
    if (call->purpose == CALL_LISTEN && http->status == 200 && !session->is_notified) {
        session->is_notified = true;
        send_notify(session);
    }
}

static void on_text(struct client_call *http, struct slice text, struct slice event_id)
{
    struct load_call *call = (struct load_call *)http;
    struct slice question;
    if (load_check_message(call, text, event_id, &question))
        send_answer(call->session, question);
}

static void listen_ended(struct load_call *call, int rc)
{
    struct load_session *session = call->session;
    load.breaks++;
    if (call->http.status != 0 && call->http.status != 200)
        load_check_done(call, rc);
    session->listen = NULL;
    session->listen_again_ns = io_now_ns() + AGAIN_NS;
}

static void on_done(struct client_call *http, int rc)
{
    struct load_call *call = (struct load_call *)http;
    struct load_session *session = call->session;
    if (call->purpose == CALL_LISTEN) {
        listen_ended(call, rc);
    } else {
        run.in_flight--;
        call_unlink(call);
        load_check_done(call, rc);
    }
    if (call->is_worker) {
        if (run.phase == RUNNING && !call->has_failed)
            worker_go(call);
        run.workers_idle = run.workers_idle || call->has_failed;
        return;
    }
    if (call->has_failed && (call->purpose == CALL_INITIALIZE || call->purpose == CALL_INITIALIZED))
        session->has_failed = true;
    else if (call->purpose == CALL_INITIALIZE)
        send_initialized(session);
    else if (call->purpose == CALL_INITIALIZED)
        session->is_open = true;
    call_free(call);
}

/* --- the command --- */

static const char usage[] =
    "usage: load --to HOST:PORT[,HOST:PORT...] [options]\n"
    "Opens MCP sessions, sends numbered calls, checks every answer.\n"
    "  --path PATH          of the endpoint (/mcp)\n"
    "  --open-at HOST:PORT[,...]  where sessions are opened and deleted (as --to)\n"
    "  --sessions N         (10; with --raw one for each connection is wanted)\n"
    "  --rate N             calls a second, whatever the answers do (1000)\n"
    "  --closed             instead: as fast as --connections N allow (50)\n"
    "  --raw                closed, one fixed request again and again, only its status is checked\n"
    "  --plain              with --raw: no session, a ping\n"
    "  --seconds N          (5)\n"
    "  --tool NAME          echo, counter, slow, slow_counter, whoami, ask, ... (echo)\n"
    "  --tool-ms N --tool-steps N  of slow (200, 4)\n"
    "  --pad BYTES          more in each message (0)\n"
    "  --get-streams        a GET stream in each session, numbered notifications on it\n"
    "  --notify-ms N        between two of them (500)\n"
    "  --new-connection     for every request\n"
    "  --timeout-ms N       (10000)\n"
    "  --keep               the sessions are not deleted at the end\n"
    "  --json               the report as one line of JSON\n"
    "  --expect-clean       exit code 1 if anything failed\n";

enum {
    OPTION_TO = 1,
    OPTION_PATH,
    OPTION_TOOL,
    OPTION_OPEN_AT,
    OPTION_NUMBER = 64,
    OPTION_FLAG = 128
};

static const struct {
    const char *name;
    uint64_t *value;
    uint64_t min, max;
} numbers[] = {{"sessions", &load.sessions_count, 0, 1000000},
               {"rate", &load.rate, 1, 1000000},
               {"connections", &load.connections, 1, 100000},
               {"seconds", &load.seconds, 1, 86400},
               {"tool-ms", &load.tool_ms, 0, 600000},
               {"tool-steps", &load.tool_steps, 1, 1000},
               {"pad", &load.pad, 0, 8u << 20},
               {"notify-ms", &load.notify_ms, 1, 600000},
               {"timeout-ms", &load.timeout_ms, 1, 600000}};
static const struct {
    const char *name;
    bool *value;
} flags[] = {{"closed", &load.is_closed},
             {"raw", &load.is_raw},
             {"plain", &load.is_plain},
             {"get-streams", &load.has_get_streams},
             {"new-connection", &load.client.is_new_connection},
             {"keep", &load.keeps},
             {"json", &load.is_json},
             {"expect-clean", &load.expects_clean}};
#define WORDS 4
#define NUMBERS (sizeof numbers / sizeof *numbers)
#define FLAGS (sizeof flags / sizeof *flags)

static int read_option(int option)
{
    if (option == OPTION_TO)
        return client_add_targets(&load.client, optarg);
    if (option == OPTION_PATH)
        load.path = optarg;
    else if (option == OPTION_OPEN_AT)
        load.open_at = optarg;
    else if (option == OPTION_TOOL)
        load.tool = optarg;
    else if (option >= OPTION_FLAG && option < OPTION_FLAG + (int)FLAGS)
        *flags[option - OPTION_FLAG].value = true;
    else if (option >= OPTION_NUMBER && option < OPTION_NUMBER + (int)NUMBERS) {
        size_t i = (size_t)(option - OPTION_NUMBER);
        uint64_t number;
        if (io_read_number(optarg, numbers[i].max, &number) < 0 || number < numbers[i].min)
            return -EINVAL;
        *numbers[i].value = number;
    } else
        return -EINVAL;
    return strlen(load.path) < 256 && strlen(load.tool) < 128 ? 0 : -EINVAL;
}

static int read_options(int argc, char **argv)
{
    struct option options[WORDS + NUMBERS + FLAGS + 1] = {
        {"to", required_argument, NULL, OPTION_TO},
        {"path", required_argument, NULL, OPTION_PATH},
        {"tool", required_argument, NULL, OPTION_TOOL},
        {"open-at", required_argument, NULL, OPTION_OPEN_AT}};
    for (size_t i = 0; i < NUMBERS; i++)
        options[WORDS + i] =
            (struct option){numbers[i].name, required_argument, NULL, OPTION_NUMBER + (int)i};
    for (size_t i = 0; i < FLAGS; i++)
        options[WORDS + NUMBERS + i] =
            (struct option){flags[i].name, no_argument, NULL, OPTION_FLAG + (int)i};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        if (read_option(option) < 0)
            return -EINVAL;
    load.targets_count = load.client.targets_count;
    if (load.open_at != NULL && client_add_targets(&load.client, load.open_at) < 0)
        return -EINVAL;
    if (load.is_plain)
        load.sessions_count = 0;
    load.is_closed = load.is_closed || load.is_raw;
    bool is_count = strcmp(load.tool, "counter") == 0 || strcmp(load.tool, "slow_counter") == 0;
    load.check = strcmp(load.tool, "echo") == 0     ? CHECK_ECHO
                 : is_count                         ? CHECK_COUNTER
                 : strcmp(load.tool, "whoami") == 0 ? CHECK_SAME
                                                    : CHECK_ANY;
    bool has_work = load.sessions_count > 0 || (load.is_plain && load.is_raw);
    return optind == argc && load.targets_count > 0 && has_work ? 0 : -EINVAL;
}

int main(int argc, char **argv)
{
    if (read_options(argc, argv) < 0) {
        fputs(usage, stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    io_raise_limits();
    load.client.loop = uv_default_loop();
    load.client.on_head = on_head;
    load.client.on_text = on_text;
    load.client.on_done = on_done;
    load.sessions = calloc(load.sessions_count + 1, sizeof *load.sessions);
    run.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct itimerspec tick = {{0, TICK_NS}, {0, TICK_NS}};
    if (load.sessions == NULL || run.timer < 0 || timerfd_settime(run.timer, 0, &tick, NULL) < 0) {
        fprintf(stderr, "load: %s\n", strerror(errno));
        return 1;
    }
    load.opened_ns = io_now_ns();
    uv_poll_init(load.client.loop, &run.ticks, run.timer);
    uv_poll_start(&run.ticks, UV_READABLE, on_tick);
    uv_run(load.client.loop, UV_RUN_DEFAULT);
    load_print();
    bool has_missed = load.notes < load.notes_expected;
    return load.expects_clean && (load_failures() > 0 || has_missed || load.answered == 0) ? 1 : 0;
}
