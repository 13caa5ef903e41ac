/* idle.c - holds many GET streams on which nothing happens, each of a session of its own, so that
 * what one costs can be measured from outside. Says "opened" once the sessions are there, "holding"
 * once all streams are, and reports at the end. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tools/mcp.h"

#define AT_ONCE_MAX 100 /* requests under way */
#define TICK_MS 50
#define PATIENCE_NS 60000000000u /* for sessions and streams to be there */

enum step { NOTHING, INITIALIZE, INITIALIZED, OPEN, LISTEN, HELD, BROKEN };

struct stream {
    struct client_call http; /* first: callbacks get the rest by a cast */
    enum step step;
    char session[MCP_SESSION_MAX + 1];
};

enum idle_phase { OPENING, PAUSING, LISTENING, HOLDING };

static struct {
    struct client client;
    unsigned holders_count; /* targets of --to; those of --open-at stand behind them */
    uint64_t streams_count, seconds, pause_seconds;
    struct stream *streams;
    enum idle_phase phase;
    uint64_t next, under_way, open, held, broken;
    uint64_t begun_ns; /* of the phase */
    uv_timer_t ticks;
} idle;

static unsigned target_of(const struct stream *stream)
{
    unsigned owners = idle.client.targets_count - idle.holders_count;
    uint64_t index = (uint64_t)(stream - idle.streams);
    if (stream->step == LISTEN || owners == 0)
        return (unsigned)(index % idle.holders_count);
    return idle.holders_count + (unsigned)(index % owners);
}

static void listen_to(struct stream *stream)
{
    struct mcp_request request = {.method = "GET", .session = stream->session, .event_id = ""};
    stream->step = LISTEN;
    mcp_send(&idle.client, &stream->http, target_of(stream), &request);
}

static void enter(enum idle_phase phase, const char *word, uint64_t count)
{
    idle.phase = phase;
    idle.next = 0;
    idle.begun_ns = io_now_ns();
    if (word != NULL)
        printf("idle: %s %" PRIu64 "\n", word, count);
    fflush(stdout);
}

static void send_more(void)
{
    while (idle.under_way < AT_ONCE_MAX && idle.next < idle.streams_count) {
        struct stream *stream = &idle.streams[idle.next++];
        if (idle.phase == LISTENING && stream->step != OPEN)
            continue;
        idle.under_way++;
        if (idle.phase == LISTENING) {
            listen_to(stream);
        } else {
            stream->step = INITIALIZE;
            mcp_send_initialize(&idle.client, &stream->http, target_of(stream));
        }
    }
}

static void on_tick(uv_timer_t *ticks)
{
    uint64_t passed_ns = io_now_ns() - idle.begun_ns;
    (void)ticks;
    bool is_late = passed_ns > PATIENCE_NS && (idle.phase == OPENING || idle.phase == LISTENING);
    if (is_late || (idle.phase == HOLDING && passed_ns >= idle.seconds * 1000000000u)) {
        uv_stop(idle.client.loop);
        return;
    }
    if (idle.phase == PAUSING && passed_ns >= idle.pause_seconds * 1000000000u)
        enter(LISTENING, NULL, 0);
    if (idle.phase == OPENING || idle.phase == LISTENING)
        send_more();
    if (idle.under_way > 0 || idle.next < idle.streams_count)
        return;
    if (idle.phase == OPENING)
        enter(PAUSING, "opened", idle.open);
    else if (idle.phase == LISTENING)
        enter(HOLDING, "holding", idle.held);
}

static void on_head(struct client_call *http, const struct h1_head *head)
{
    struct stream *stream = (struct stream *)http;
    if (stream->step == INITIALIZE && !mcp_read_session(head, stream->session))
        http->status = 0;
    if (stream->step != LISTEN || http->status != 200)
        return;
    stream->step = HELD;
    idle.held++;
    idle.under_way--;
}

static void on_text(struct client_call *http, struct slice text, struct slice event_id)
{
    (void)http, (void)text, (void)event_id;
}

static void on_done(struct client_call *http, int rc)
{
    struct stream *stream = (struct stream *)http;
    if (stream->step == HELD) {
        idle.held--;
    } else if (stream->step == INITIALIZE && rc == 0 && http->status == 200) {
        stream->step = INITIALIZED;
        mcp_send_initialized(&idle.client, http, target_of(stream), stream->session);
        return;
    } else if (stream->step == INITIALIZED && rc == 0 && http->status == 202) {
        stream->step = OPEN;
        idle.open++;
        idle.under_way--;
        return;
    } else {
        fprintf(stderr, "idle: step %d: status %d, %s\n", stream->step, http->status,
                rc < 0 ? uv_strerror(rc) : "ended");
        idle.under_way--;
    }
    stream->step = BROKEN;
    idle.broken++;
}

static const char usage[] =
    "usage: idle --to HOST:PORT[,...] --open-at HOST:PORT[,...] [options]\n"
    "Holds GET streams at --to of sessions that were opened at --open-at.\n"
    "  --streams N  (100)\n"
    "  --pause N    seconds between the last session and the first stream (0)\n"
    "  --seconds N  that all are held (20)\n"
    "Exit code 1: a stream was not there, or did not last.\n";

static int read_options(int argc, char **argv)
{
    static const struct option options[] = {
        {"to", required_argument, NULL, 't'},      {"open-at", required_argument, NULL, 'o'},
        {"streams", required_argument, NULL, 'n'}, {"seconds", required_argument, NULL, 's'},
        {"pause", required_argument, NULL, 'p'},   {0}};
    const char *owners = NULL;
    int rc = 0;
    idle.streams_count = 100;
    idle.seconds = 20;
    for (int option; rc == 0 && (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 't')
            rc = client_add_targets(&idle.client, optarg);
        else if (option == 'o')
            owners = optarg;
        else if (option == 'n')
            rc = io_read_number(optarg, 1000000, &idle.streams_count);
        else if (option == 's')
            rc = io_read_number(optarg, 86400, &idle.seconds);
        else if (option == 'p')
            rc = io_read_number(optarg, 86400, &idle.pause_seconds);
        else
            rc = -EINVAL;
    }
    idle.holders_count = idle.client.targets_count;
    if (rc == 0 && owners != NULL)
        rc = client_add_targets(&idle.client, owners);
    return rc == 0 && optind == argc && idle.holders_count > 0 ? 0 : -EINVAL;
}

int main(int argc, char **argv)
{
    if (read_options(argc, argv) < 0) {
        fputs(usage, stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    io_raise_limits();
    idle.client.loop = uv_default_loop();
    idle.client.on_head = on_head;
    idle.client.on_text = on_text;
    idle.client.on_done = on_done;
    idle.streams = calloc(idle.streams_count + 1, sizeof *idle.streams);
    if (idle.streams == NULL)
        return 1;
    enter(OPENING, NULL, 0);
    uv_timer_init(idle.client.loop, &idle.ticks);
    uv_timer_start(&idle.ticks, on_tick, 0, TICK_MS);
    uv_run(idle.client.loop, UV_RUN_DEFAULT);
    uint64_t comments = 0, fewest = UINT64_MAX;
    for (uint64_t i = 0; i < idle.streams_count; i++) {
        comments += idle.streams[i].http.comments;
        if (idle.streams[i].http.comments < fewest)
            fewest = idle.streams[i].http.comments;
    }
    printf("{\"streams\":%" PRIu64 ",\"sessions\":%" PRIu64 ",\"held\":%" PRIu64
           ",\"broken\":%" PRIu64 ",\"comments\":%" PRIu64 ",\"comments_fewest\":%" PRIu64 "}\n",
           idle.streams_count, idle.open, idle.held, idle.broken, comments, fewest);
    return idle.held == idle.streams_count && idle.broken == 0 ? 0 : 1;
}
