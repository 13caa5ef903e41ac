/* resume.c - reads streams of numbered events whose connection is cut again and again: each comes
 * back after a while, at a target by chance, and shows the id of the last event that it saw. A
 * stream is a call's (progress, then the answer) or a session's own. Whether anything is missing is
 * found in resume_check.c. */
#include "tests/tools/resume.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define OPENING_MAX 50 /* sessions being opened at a time */
#define TICK_MS 5
#define AGAIN_NS 100000000u /* after a connection that the other side ended */

struct resume resume = {.streams_count = 10,
                        .events = 100,
                        .bytes = 100,
                        .interval_ms = 10,
                        .cut_ms = 1000,
                        .away_max_ms = 500,
                        .cuts_max = UINT64_MAX,
                        .seed = 1,
                        .seconds = 60};

static struct {
    uint64_t chance, opening, next;
    uv_timer_t ticks;
    bool begun; /* all sessions are open */
} run;

static uint64_t below(uint64_t bound)
{
    run.chance += 0x9e3779b97f4a7c15u;
    uint64_t chance = run.chance;
    chance = (chance ^ chance >> 30) * 0xbf58476d1ce4e5b9u;
    chance = (chance ^ chance >> 27) * 0x94d049bb133111ebu;
    return bound == 0 ? 0 : (chance ^ chance >> 31) % bound;
}

static unsigned any_target(void)
{
    return (unsigned)below(resume.client.targets_count);
}

static void finish(struct stream *stream, enum step step)
{
    stream->step = step;
    resume.done += step == DONE;
    client_abort(&stream->reader.http);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void post(struct client_call *http, const struct stream *stream, const char *body)
{
    struct mcp_request request = {
        .method = "POST", .session = stream->session, .event_id = "", .body = body};
    mcp_send(&resume.client, http, any_target(), &request);
}

static void get(struct stream *stream)
{
    struct mcp_request request = {
        .method = "GET", .session = stream->session, .event_id = stream->event_id};
    mcp_send(&resume.client, &stream->reader.http, any_target(), &request);
}

static void live(struct stream *stream)
{
    stream->step = LIVE;
    stream->act_ns = io_now_ns() + below(resume.cut_ms * 2000000u);
}

static void begin(struct stream *stream)
{
    char body[512];
    stream->step = FIRST;
    if (!resume.is_post) {
        get(stream);
        return;
    }
    snprintf(body, sizeof body,
             "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"tools/call\",\"params\":{\"name\":"
             "\"slow\",\"_meta\":{\"progressToken\":%d},\"arguments\":{\"steps\":%" PRIu64
             ",\"ms\":%" PRIu64 ",\"bytes\":%" PRIu64 "}}}",
             TOKEN, TOKEN, resume.events, resume.events * resume.interval_ms, resume.bytes);
    post(&stream->reader.http, stream, body);
}

/* The GET is there: what comes on it may begin. */
static void start_notes(struct stream *stream)
{
    char body[256];
    snprintf(body, sizeof body,
             "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":"
             "\"notify\",\"arguments\":{\"count\":%" PRIu64 ",\"interval_ms\":%" PRIu64
             ",\"bytes\":%" PRIu64 "}}}",
             resume.events, resume.interval_ms, resume.bytes);
    post(&stream->starter.http, stream, body);
}

/* ---- cut, and back --------------------------------------------------------------------------- */

static void leave(struct stream *stream, uint64_t after_ns)
{
    stream->step = AWAY;
    stream->act_ns = io_now_ns() + after_ns;
}

static void come_back(struct stream *stream)
{
    resume.returns++;
    get(stream);
    stream->asked_ns = io_now_ns();
    live(stream);
}

static uint64_t away_ns(void)
{
    return (resume.away_min_ms + below(resume.away_max_ms - resume.away_min_ms + 1)) * 1000000u;
}

/* Without an id there is no way back: it is cut later. */
static void cut(struct stream *stream)
{
    if (stream->event_id[0] == '\0' || stream->reader.http.status != 200 ||
        resume.cuts >= resume.cuts_max * resume.streams_count) {
        live(stream);
        return;
    }
    resume.cuts++;
    if (resume.stalls) {
        client_pause(&stream->reader.http);
        stream->step = STALLED;
        stream->act_ns = io_now_ns() + away_ns();
        return;
    }
    client_abort(&stream->reader.http);
    leave(stream, away_ns());
}

static void act(struct stream *stream)
{
    if (stream->step == LIVE) {
        cut(stream);
    } else if (stream->step == AWAY) {
        come_back(stream);
    } else if (stream->step == STALLED) {
        client_resume(&stream->reader.http);
        live(stream);
    }
}

static void on_tick(uv_timer_t *ticks)
{
    uint64_t now = io_now_ns();
    (void)ticks;
    for (; run.opening < OPENING_MAX && run.next < resume.streams_count; run.next++) {
        struct stream *stream = &resume.streams[run.next];
        run.opening++;
        stream->step = INITIALIZE;
        mcp_send_initialize(&resume.client, &stream->reader.http, any_target());
    }
    if (!run.begun && run.next == resume.streams_count && run.opening == 0) {
        run.begun = true;
        resume.begun_ns = now;
    }
    uint64_t over = 0;
    for (uint64_t i = 0; run.begun && i < resume.streams_count; i++) {
        struct stream *stream = &resume.streams[i];
        if (stream->step == READY)
            begin(stream);
        else if (stream->step >= LIVE && stream->step <= AWAY && stream->act_ns <= now)
            act(stream);
        over += stream->step == DONE || stream->step == FAILED;
    }
    if (over == resume.streams_count ||
        (run.begun && now - resume.begun_ns > resume.seconds * 1000000000u))
        uv_stop(resume.client.loop);
}

/* ---- what comes back ------------------------------------------------------------------------- */

static void on_head(struct client_call *http, const struct h1_head *head)
{
    struct request *request = (struct request *)http;
    struct stream *stream = request->stream;
    if (request == &stream->starter)
        return;
    if (stream->step == INITIALIZE && !mcp_read_session(head, stream->session))
        http->status = 0;
    if (stream->step != FIRST || http->status != 200)
        return;
    live(stream);
    if (!resume.is_post)
        start_notes(stream);
}

static void on_text(struct client_call *http, struct slice text, struct slice event_id)
{
    struct request *request = (struct request *)http;
    struct stream *stream = request->stream;
    if (request == &stream->starter || stream->step < LIVE || http->status != 200)
        return;
    if (resume_check_event(stream, text, event_id))
        finish(stream, DONE);
}

static void on_opened(struct stream *stream, int rc)
{
    int status = stream->reader.http.status;
    if (rc == 0 && stream->step == INITIALIZE && status == 200) {
        stream->step = INITIALIZED;
        mcp_send_initialized(&resume.client, &stream->reader.http, any_target(), stream->session);
        return;
    }
    run.opening--;
    stream->step = rc == 0 && stream->step == INITIALIZED && status == 202 ? READY : FAILED;
    if (stream->step == FAILED)
        resume_fail(stream, FAIL_STATUS, "its session is not opened: %d", status);
}

static void on_done(struct client_call *http, int rc)
{
    struct request *request = (struct request *)http;
    struct stream *stream = request->stream;
    if (request == &stream->starter) {
        if (rc < 0 || http->status != 200)
            resume_fail(stream, FAIL_STATUS, "the notifications: %d", http->status);
        return;
    }
    if (stream->step < FIRST) {
        on_opened(stream, rc);
        return;
    }
    if (http->status != 0 && http->status != 200) {
        resume_fail(stream, FAIL_STATUS, "%d", http->status);
        finish(stream, FAILED);
    } else if (rc == -EPROTO) {
        resume_fail(stream, FAIL_PROTOCOL, "no HTTP or no SSE");
        finish(stream, FAILED);
    } else if (stream->step == FIRST) {
        resume_fail(stream, FAIL_STATUS, "no answer: %s", rc < 0 ? uv_strerror(rc) : "ended");
        finish(stream, FAILED);
    } else if (stream->step != DONE) {
        resume.broken++;
        leave(stream, AGAIN_NS);
    }
}

/* ---- the command ----------------------------------------------------------------------------- */

static const char usage[] =
    "usage: resume --to HOST:PORT[,...] [options]\n"
    "Reads numbered events; is cut by chance, comes back by Last-Event-ID at any target.\n"
    "  --post           progress of a call and its answer (else: the session's own stream)\n"
    "  --streams N      each in a session of its own (10)\n"
    "  --events N --bytes N --interval-ms N  of one stream, the bytes of filling (100, 100, 10)\n"
    "  --cut-ms N       from coming back to the next cut, on the average (1000)\n"
    "  --cuts N         of a stream, at most on the average\n"
    "  --away-ms N --away-min-ms N  between these two by chance (500, 0)\n"
    "  --stalls         instead of closing its connection it does not read for so long\n"
    "  --receive N      bytes of the kernel's buffer for a connection\n"
    "  --gaps           what is said to be missed may be missing\n"
    "  --seed N --seconds N  of chance; after which it gives up (1, 60)\n"
    "Exit code 1: something is missing, double, or not what it should be.\n";

static uint64_t receive_bytes;
static const struct {
    const char *name;
    uint64_t *value;
    uint64_t max;
} numbers[] = {
    {"streams", &resume.streams_count, 100000}, {"events", &resume.events, 100000},
    {"bytes", &resume.bytes, 1u << 20},         {"interval-ms", &resume.interval_ms, 60000},
    {"cut-ms", &resume.cut_ms, 600000},         {"cuts", &resume.cuts_max, 1000000},
    {"away-ms", &resume.away_max_ms, 600000},   {"away-min-ms", &resume.away_min_ms, 600000},
    {"receive", &receive_bytes, 1u << 30},      {"seed", &resume.seed, UINT64_MAX},
    {"seconds", &resume.seconds, 86400}};
static const struct {
    const char *name;
    bool *value;
} flags[] = {{"post", &resume.is_post}, {"stalls", &resume.stalls}, {"gaps", &resume.allows_gaps}};
#define NUMBERS (sizeof numbers / sizeof *numbers)
#define FLAGS (sizeof flags / sizeof *flags)
#define FLAG_FIRST 100

static int read_options(int argc, char **argv)
{
    struct option options[NUMBERS + FLAGS + 2] = {0};
    int rc = 0;
    for (size_t i = 0; i < NUMBERS; i++)
        options[i] = (struct option){numbers[i].name, required_argument, NULL, (int)i};
    for (size_t i = 0; i < FLAGS; i++)
        options[NUMBERS + i] =
            (struct option){flags[i].name, no_argument, NULL, FLAG_FIRST + (int)i};
    options[NUMBERS + FLAGS] = (struct option){"to", required_argument, NULL, 't' + FLAG_FIRST};
    for (int option; rc == 0 && (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 't' + FLAG_FIRST)
            rc = client_add_targets(&resume.client, optarg);
        else if (option >= 0 && option < (int)NUMBERS)
            rc = io_read_number(optarg, numbers[option].max, numbers[option].value);
        else if (option >= FLAG_FIRST && option < FLAG_FIRST + (int)FLAGS)
            *flags[option - FLAG_FIRST].value = true;
        else
            rc = -EINVAL;
    }
    resume.client.receive_bytes = (int)receive_bytes;
    bool is_sound = optind == argc && resume.client.targets_count > 0 &&
                    resume.away_min_ms <= resume.away_max_ms && resume.streams_count > 0;
    return rc == 0 && is_sound ? 0 : -EINVAL;
}

int main(int argc, char **argv)
{
    if (read_options(argc, argv) < 0) {
        fputs(usage, stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    io_raise_limits();
    run.chance = resume.seed;
    resume.client.loop = uv_default_loop();
    resume.client.on_head = on_head;
    resume.client.on_text = on_text;
    resume.client.on_done = on_done;
    resume.streams = calloc(resume.streams_count, sizeof *resume.streams);
    if (resume.streams == NULL)
        return 1;
    for (uint64_t i = 0; i < resume.streams_count; i++) {
        struct stream *stream = &resume.streams[i];
        stream->reader.stream = stream->starter.stream = stream;
    }
    uv_timer_init(resume.client.loop, &run.ticks);
    uv_timer_start(&run.ticks, on_tick, 0, TICK_MS);
    uv_run(resume.client.loop, UV_RUN_DEFAULT);
    resume.ended_ns = io_now_ns();
    return resume_report() ? 0 : 1;
}
