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
    enum { OPENING, RUNNING, LOOKING, SETTLING, ENDING, DONE } phase;
    uint64_t next_session, settled_ns, looked_ns;
    struct load_call **workers;
    bool is_told_to_end;
    bool workers_idle; /* one or more wait for the next tick */
    int timer;
    uv_poll_t ticks;
} run;

/* --- the run --- */

/* By chance, not in turn: sessions in turn through targets in turn would each meet the same target
 * for ever. One of the first `among`; NULL: none is open. */
static struct load_session *next_open_session(uint64_t among)
{
    uint64_t count = among < load.sessions_count ? among : load.sessions_count;
    uint64_t first = load_below(count);
    for (uint64_t i = 0; i < count; i++) {
        struct load_session *session = &load.sessions[(first + i) % count];
        if (session->is_open)
            return session;
    }
    return NULL;
}

static const struct load_tool *next_tool(void)
{
    return &load.tools[load.tools_count > 1 ? load_below(load.tools_count) : 0];
}

static void worker_go(struct load_call *call)
{
    struct load_session *session = call->session;
    bool is_raw = call->purpose == CALL_RAW;
    if (!is_raw)
        session = next_open_session(load.sessions_count);
    *call = (struct load_call){.session = session,
                               .purpose = is_raw ? CALL_RAW : CALL_TOOL,
                               .is_worker = true,
                               .tool = next_tool(),
                               .due_ns = io_now_ns()};
    if (is_raw)
        load_send_raw(call);
    else
        load_send_tool(call);
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
    for (uint64_t i = 0; i < load.streams_count && i < load.sessions_count; i++)
        if (load.sessions[i].is_open)
            load_send_listen(&load.sessions[i]);
    if (load.is_controlled) {
        printf("load: running since %" PRIu64 "\n", load.begun_ns);
        fflush(stdout);
    }
    if (!load.is_closed)
        return;
    run.workers = calloc(load.connections, sizeof(struct load_call *));
    if (run.workers == NULL)
        abort();
    for (uint64_t i = 0; i < load.connections; i++) {
        struct load_session *session =
            load.is_plain ? NULL : next_open_session(load.sessions_count);
        /* --raw says the same id again and again: one at a time in a session. */
        if (load.is_raw && session != NULL && load.sessions[i % load.sessions_count].is_open)
            session = &load.sessions[i % load.sessions_count];
        run.workers[i] = load_call_new(session, load.is_raw ? CALL_RAW : CALL_TOOL);
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
        const struct load_tool *tool = next_tool();
        struct load_session *session =
            next_open_session(tool->says ? load.streams_count : load.sessions_count);
        if (session == NULL) /* a listener's that did not open */
            session = next_open_session(load.sessions_count);
        struct load_call *call = load_call_new(session, CALL_TOOL);
        call->tool = tool;
        uint64_t tick = ((load.sent + 1) * 1000 + load.rate - 1) / load.rate;
        call->due_ns = load.begun_ns + tick * TICK_NS;
        load_send_tool(call);
    }
    load.ended_ns = now;
    if (passed_ms >= end_ms || run.is_told_to_end)
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
            load_send_listen(session);
    }
}

static void open_more(void)
{
    while (run.phase == OPENING && load.in_flight < OPENING_MAX &&
           run.next_session < load.sessions_count)
        load_send_initialize(&load.sessions[run.next_session++]);
    if (run.next_session == load.sessions_count && load.in_flight == 0)
        run_begin();
}

static void listen_end(struct load_session *session)
{
    client_abort(&session->listen->http);
    load_call_free(session->listen);
    session->listen = NULL;
}

/* Are all sessions still there? At the pace of the run. */
static void look(uint64_t now)
{
    if (run.looked_ns == 0) {
        run.looked_ns = now;
        run.next_session = 0;
    }
    uint64_t due = (now - run.looked_ns) / TICK_NS * load.rate / 1000;
    for (; run.next_session < load.sessions_count && run.next_session < due; run.next_session++)
        if (load.sessions[run.next_session].is_open)
            load_send_look(&load.sessions[run.next_session]);
    if (run.next_session == load.sessions_count && load.in_flight == 0) {
        load.looks = false;
        run.phase = SETTLING;
    }
}

static void settle(uint64_t now)
{
    if (load.looks && load.in_flight == 0) {
        run.phase = LOOKING;
        return;
    }
    bool has_all = load.notes >= load.notes_expected;
    if (run.settled_ns == 0)
        run.settled_ns = now;
    if (load.in_flight > 0 || (!has_all && now - run.settled_ns < SETTLE_NS))
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
    while (!load.keeps && load.in_flight < OPENING_MAX && run.next_session < load.sessions_count) {
        struct load_session *session = &load.sessions[run.next_session++];
        if (session->is_open)
            load_send_delete(session);
    }
    if (load.in_flight > 0)
        return;
    run.phase = DONE;
    uv_stop(load.client.loop);
}

static void on_done(struct client_call *http, int rc);

static void expire(uint64_t now)
{
    while (load.oldest != NULL && now > load.oldest->due_ns &&
           now - load.oldest->due_ns > load.timeout_ms * 1000000u) {
        struct load_call *call = load.oldest;
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
    if (load.streams_count > 0)
        listen_again(now);
    if (run.phase == OPENING)
        open_more();
    else if (run.phase == RUNNING && load.is_closed)
        run_closed_loop(now);
    else if (run.phase == RUNNING)
        run_open_loop(now);
    else if (run.phase == LOOKING)
        look(now);
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
    if (call->purpose == CALL_LISTEN && http->status == 200)
        load_record_stream(call, "opened");
    if (call->purpose == CALL_LISTEN && http->status == 200 && load.has_get_streams &&
        !session->is_notified) {
        session->is_notified = true;
        load_send_notify(session);
    }
}

static void on_text(struct client_call *http, struct slice text, struct slice event_id)
{
    struct load_call *call = (struct load_call *)http;
    struct slice question;
    if (load_check_message(call, text, event_id, &question))
        load_send_answer(call->session, question);
}

static void listen_ended(struct load_call *call, int rc)
{
    struct load_session *session = call->session;
    load.breaks++;
    load_record_stream(call, "ended");
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
        load.in_flight--;
        load_call_unlink(call);
        load_check_done(call, rc);
        load_record_call(call);
    }
    if (call->is_worker) {
        if (run.phase == RUNNING && !call->has_failed)
            worker_go(call);
        run.workers_idle = run.workers_idle || call->has_failed;
        return;
    }
    bool opens = call->purpose == CALL_INITIALIZE || call->purpose == CALL_INITIALIZED ||
                 call->purpose == CALL_LIST;
    if (call->has_failed && opens)
        session->has_failed = true;
    else if (call->purpose == CALL_INITIALIZE)
        load_send_initialized(session);
    else if (call->purpose == CALL_INITIALIZED && load.lists)
        load_send_list(session);
    else if (opens)
        session->is_open = true;
    load_call_free(call);
}

static int on_refused(struct client_call *http)
{
    return load_next_try((struct load_call *)http);
}

/* --- who controls us --- */

static void obey(const char *line)
{
    uint64_t target;
    bool is_out = strncmp(line, "out ", 4) == 0;
    if (strcmp(line, "end") == 0) {
        run.is_told_to_end = true;
    } else if ((is_out || strncmp(line, "in ", 3) == 0) &&
               io_read_number(line + (is_out ? 4 : 3), load.client.targets_count - 1, &target) ==
                   0) {
        load.is_out[target] = is_out;
        if (is_out)
            client_drop_spares(&load.client, (unsigned)target);
    } else {
        fprintf(stderr, "load: not understood: %s\n", line);
    }
}

static void on_control(uv_poll_t *control, int rc, int events)
{
    static char lines[1024];
    static size_t length;
    (void)events;
    ssize_t got = rc < 0 ? -1 : read(STDIN_FILENO, lines + length, sizeof lines - 1 - length);
    if (got <= 0) {
        uv_poll_stop(control);
        return;
    }
    length += (size_t)got;
    for (char *end; (end = memchr(lines, '\n', length)) != NULL;) {
        *end++ = '\0';
        obey(lines);
        length -= (size_t)(end - lines);
        memmove(lines, end, length);
    }
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
    "  --tool NAME[,...]    echo, counter, slow, slow_counter, whoami, ask, say, ... (echo); of\n"
    "                       several each call draws one\n"
    "  --tool-ms N --tool-steps N  of slow (200, 4)\n"
    "  --pad BYTES          more in each message (0)\n"
    "  --get-streams        a GET stream in each session, numbered notifications on it\n"
    "  --notify-ms N        between two of them (500)\n"
    "  --streams N          a GET stream in each of the first N sessions; the events of say come "
    "there\n"
    "  --new-connection     for every request\n"
    "  --timeout-ms N       (10000)\n"
    "  --list               each session asks for the tools, as clients do\n"
    "  --moves              a session may go on at another server: its counts begin again\n"
    "  --look               at the end each session is asked once more\n"
    "  --skip-dead          who refuses a connection is passed over\n"
    "  --control            reads lines: out N, in N (a target, from 0), end\n"
    "  --record FILE        a line for each call and event: load.h\n"
    "  --keep               the sessions are not deleted at the end\n"
    "  --json               the report as one line of JSON\n"
    "  --expect-clean       exit code 1 if anything failed\n";

enum {
    OPTION_TO = 1,
    OPTION_PATH,
    OPTION_TOOL,
    OPTION_OPEN_AT,
    OPTION_RECORD,
    OPTION_NUMBER = 64,
    OPTION_FLAG = 128
};

static const struct {
    const char *name;
    uint64_t *value;
    uint64_t min, max;
} numbers[] = {
    {"sessions", &load.sessions_count, 0, 1000000}, {"rate", &load.rate, 1, 1000000},
    {"connections", &load.connections, 1, 100000},  {"seconds", &load.seconds, 1, 86400},
    {"streams", &load.streams_count, 0, 1000000},   {"tool-ms", &load.tool_ms, 0, 600000},
    {"tool-steps", &load.tool_steps, 1, 1000},      {"pad", &load.pad, 0, 8u << 20},
    {"notify-ms", &load.notify_ms, 1, 600000},      {"timeout-ms", &load.timeout_ms, 1, 600000}};
static const struct {
    const char *name;
    bool *value;
} flags[] = {{"closed", &load.is_closed},
             {"raw", &load.is_raw},
             {"plain", &load.is_plain},
             {"get-streams", &load.has_get_streams},
             {"new-connection", &load.client.is_new_connection},
             {"list", &load.lists},
             {"moves", &load.moves},
             {"look", &load.looks},
             {"skip-dead", &load.skips_dead},
             {"control", &load.is_controlled},
             {"keep", &load.keeps},
             {"json", &load.is_json},
             {"expect-clean", &load.expects_clean}};
#define WORDS 5
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
    else if (option == OPTION_RECORD)
        load.record = optarg;
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
    return strlen(load.path) < 256 ? 0 : -EINVAL;
}

static int read_tools(const char *list)
{
    while (*list != '\0') {
        struct load_tool *tool = &load.tools[load.tools_count];
        size_t length = strcspn(list, ",");
        if (load.tools_count == TOOLS_MAX || length == 0 || length >= sizeof tool->name)
            return -EINVAL;
        load.tools_count++;
        memcpy(tool->name, list, length);
        list += length + (list[length] == ',');
        const char *name = tool->name;
        bool counts = strcmp(name, "counter") == 0 || strcmp(name, "slow_counter") == 0;
        tool->check = strcmp(name, "echo") == 0     ? CHECK_ECHO
                      : counts                      ? CHECK_COUNTER
                      : strcmp(name, "whoami") == 0 ? CHECK_SAME
                                                    : CHECK_ANY;
        if (load.moves && tool->check != CHECK_ECHO)
            tool->check = CHECK_ANY;
        tool->is_slow = strncmp(name, "slow", 4) == 0;
        tool->says = strcmp(name, "say") == 0;
    }
    return load.tools_count > 0 ? 0 : -EINVAL;
}

static int read_options(int argc, char **argv)
{
    struct option options[WORDS + NUMBERS + FLAGS + 1] = {
        {"to", required_argument, NULL, OPTION_TO},
        {"path", required_argument, NULL, OPTION_PATH},
        {"tool", required_argument, NULL, OPTION_TOOL},
        {"open-at", required_argument, NULL, OPTION_OPEN_AT},
        {"record", required_argument, NULL, OPTION_RECORD}};
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
    if (load.has_get_streams)
        load.streams_count = load.sessions_count;
    if (read_tools(load.tool) < 0)
        return -EINVAL;
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
    load.client.on_refused = on_refused;
    load.sessions = calloc(load.sessions_count + 1, sizeof *load.sessions);
    run.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct itimerspec tick = {{0, TICK_NS}, {0, TICK_NS}};
    if (load.sessions == NULL || run.timer < 0 || timerfd_settime(run.timer, 0, &tick, NULL) < 0) {
        fprintf(stderr, "load: %s\n", strerror(errno));
        return 1;
    }
    int rc = load.record != NULL ? load_record_open(load.record) : 0;
    if (rc < 0) {
        fprintf(stderr, "load: %s: %s\n", load.record, strerror(-rc));
        return 1;
    }
    static uv_poll_t control;
    if (load.is_controlled && uv_poll_init(load.client.loop, &control, STDIN_FILENO) == 0)
        uv_poll_start(&control, UV_READABLE, on_control);
    load.opened_ns = io_now_ns();
    uv_poll_init(load.client.loop, &run.ticks, run.timer);
    uv_poll_start(&run.ticks, UV_READABLE, on_tick);
    uv_run(load.client.loop, UV_RUN_DEFAULT);
    load_record_close();
    load_print();
    bool has_missed = load.notes < load.notes_expected;
    return load.expects_clean && (load_failures() > 0 || has_missed || load.answered == 0) ? 1 : 0;
}
