/* load_check.c - what is wrong with an answer, if anything, and the report of a run. */
#include "tests/tools/load.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tools/json.h"

#define COUNT_MAX (1u << 24)

const char *const load_failure_names[FAILURES] = {"connect", "closed",  "status",     "error",
                                                  "wrong",   "twice",   "unanswered", "order",
                                                  "timeout", "protocol"};
const char *const load_purpose_names[] = {"initialize", "initialized", "list",   "GET",    "notify",
                                          "call",       "look",        "answer", "DELETE", "raw"};

void load_fail(struct load_call *call, enum load_failure kind, const char *format, ...)
{
    if (call->has_failed && call->purpose != CALL_LISTEN)
        return;
    call->has_failed = true;
    call->failure = kind;
    load.failures[kind]++;
    va_list more;
    va_start(more, format);
    vsnprintf(call->detail, sizeof call->detail, format, more);
    va_end(more);
    if (load.samples_count < SAMPLES_MAX)
        snprintf(load.samples[load.samples_count++], sizeof load.samples[0],
                 "%s of %s %" PRIu64 ": %s", load_failure_names[kind],
                 load_purpose_names[call->purpose], call->number, call->detail);
}

uint64_t load_failures(void)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < FAILURES; i++)
        sum += load.failures[i];
    return sum;
}

/* A tick may come a little before its time. */
static void time_call(const struct load_call *call)
{
    uint64_t now = io_now_ns();
    io_histogram_add(&load.latency, now > call->due_ns ? (now - call->due_ns) / 1000 : 0);
}

static void check_count(struct load_call *call, struct slice text)
{
    struct load_session *session = call->session;
    uint64_t count = json_number(text, 0);
    if (count == 0 || count > COUNT_MAX) {
        load_fail(call, FAIL_WRONG, "no count: %.*s", (int)text.length, (const char *)text.at);
        return;
    }
    if (count > session->calls) {
        load_fail(call, FAIL_TWICE, "execution %" PRIu64 " of %" PRIu64 " calls", count,
                  session->calls);
        return;
    }
    if (count / 8 >= session->counts_bytes) {
        size_t bytes = count / 8 * 2 + 64;
        uint8_t *grown = realloc(session->counts, bytes);
        if (grown == NULL)
            abort();
        memset(grown + session->counts_bytes, 0, bytes - session->counts_bytes);
        session->counts = grown;
        session->counts_bytes = bytes;
    }
    uint8_t bit = (uint8_t)(1u << count % 8);
    if (session->counts[count / 8] & bit)
        load_fail(call, FAIL_TWICE, "count %" PRIu64 " came before", count);
    session->counts[count / 8] |= bit;
}

static void check_echo(struct load_call *call, struct slice text)
{
    char number[24];
    size_t length = (size_t)snprintf(number, sizeof number, "%" PRIu64 ".", call->number);
    static const char prefix[] = "Echo: "; /* as some servers say */
    size_t skip = sizeof prefix - 1;
    if (text.length > skip && memcmp(text.at, prefix, skip) == 0) {
        text.at += skip;
        text.length -= skip;
    }
    if (text.length != length + load.pad || memcmp(text.at, number, length) != 0)
        load_fail(call, FAIL_WRONG, "want %s got %.*s", number,
                  (int)(text.length < 40 ? text.length : 40), (const char *)text.at);
}

static void check_result(struct load_call *call, struct slice answer)
{
    struct slice result = json_field(answer, "result");
    struct slice text = json_inside(json_field(json_first(json_field(result, "content")), "text"));
    if (slice_is(json_field(result, "isError"), "true")) {
        load_fail(call, FAIL_ERROR, "%.*s", (int)text.length, (const char *)text.at);
        return;
    }
    if (call->tool->check == CHECK_ECHO) {
        check_echo(call, text);
    } else if (call->tool->check == CHECK_COUNTER) {
        check_count(call, text);
    } else if (call->tool->check == CHECK_SAME) {
        uint32_t who = io_hash(text) | 1;
        if (call->session->who != 0 && call->session->who != who)
            load_fail(call, FAIL_WRONG, "another replica: %.*s", (int)text.length,
                      (const char *)text.at);
        call->session->who = who;
    }
}

static void check_response(struct load_call *call, struct slice text, const struct rpc_message *m)
{
    struct slice id = slice_part(text, m->id);
    if (json_number(id, UINT64_MAX) != call->id) {
        load_fail(call, FAIL_WRONG, "id %.*s, not %" PRIu64, (int)id.length, (const char *)id.at,
                  call->id);
        return;
    }
    if (call->is_answered) {
        load_fail(call, FAIL_TWICE, "a second answer");
        return;
    }
    call->is_answered = true;
    call->answered_ns = io_now_ns();
    if (m->kind == RPC_ERROR) {
        struct slice error = json_field(text, "error");
        struct slice code = json_field(error, "code");
        struct slice what = json_inside(json_field(error, "message"));
        load_fail(call, FAIL_ERROR, "%.*s %.*s", (int)code.length, (const char *)code.at,
                  (int)what.length, (const char *)what.at);
        return;
    }
    if (call->purpose != CALL_TOOL)
        return;
    check_result(call, text);
    struct slice who =
        json_inside(json_field(json_field(json_field(text, "result"), "_meta"), "who"));
    if (call->has_failed)
        return;
    snprintf(call->detail, sizeof call->detail, "%.*s", (int)(who.length < 64 ? who.length : 64),
             who.length > 0 ? (const char *)who.at : "");
    load.notes_expected += call->tool->says;
    load.answered++;
    time_call(call);
}

static void check_progress(struct load_call *call, struct slice text, const struct rpc_message *m)
{
    struct slice params = slice_part(text, m->params);
    uint64_t token = json_number(slice_part(text, m->progress_token), UINT64_MAX);
    uint64_t step = json_number(json_field(params, "progress"), UINT64_MAX);
    if (call->is_answered || token != call->id || step != call->steps + 1)
        load_fail(call, FAIL_ORDER, "token %" PRIu64 " step %" PRIu64 " after %u", token, step,
                  call->steps);
    call->steps = (uint32_t)step;
}

/* Numbered by the server from 1 within each session; others are none of our business. */
static void check_note(struct load_call *call, struct slice text, const struct rpc_message *m)
{
    struct load_session *session = call->session;
    struct slice data = json_field(slice_part(text, m->params), "data");
    uint64_t said = json_number(json_field(data, "said"), UINT64_MAX);
    if (said != UINT64_MAX) {
        load.notes++;
        load_record_event(session, said);
        if (call->purpose != CALL_LISTEN)
            load_fail(call, FAIL_WRONG, "an event of the session on the stream of a call");
        return;
    }
    static const char missed[] = "\"events of this stream were missed";
    if (data.length >= sizeof missed - 1 && memcmp(data.at, missed, sizeof missed - 1) == 0)
        load_record_stream(call, "missed");
    uint64_t seq = json_number(json_field(data, "seq"), 0);
    if (seq == 0)
        return;
    if (call->purpose != CALL_LISTEN)
        load_fail(call, FAIL_WRONG, "a notification of the session on the stream of a call");
    else if (seq <= session->notes)
        load_fail(call, FAIL_TWICE, "notification %" PRIu64 " after %" PRIu64, seq, session->notes);
    else if (seq > session->notes + 1)
        load_fail(call, FAIL_ORDER, "notification %" PRIu64 " after %" PRIu64, seq, session->notes);
    if (seq > session->notes) {
        session->notes = seq;
        load.notes++;
    }
}

bool load_check_message(struct load_call *call, struct slice text, struct slice event_id,
                        struct slice *question)
{
    struct rpc_message m;
    if (call->purpose == CALL_LISTEN && event_id.length > 0 && event_id.length <= EVENT_ID_MAX) {
        memcpy(call->session->event_id, event_id.at, event_id.length);
        call->session->event_id[event_id.length] = '\0';
    }
    if (call->http.status != 200) {
        if (call->http.status != 202)
            load_fail(call, FAIL_STATUS, "%d %.*s", call->http.status, (int)text.length,
                      (const char *)text.at);
        return false;
    }
    if (text.length == 0 || call->purpose == CALL_RAW || call->purpose == CALL_DELETE)
        return false;
    rpc_read(&m, NULL, text.at, text.length);
    if (m.kind == RPC_RESPONSE || m.kind == RPC_ERROR)
        check_response(call, text, &m);
    else if (m.kind == RPC_NOTIFICATION && m.method == RPC_PROGRESS)
        check_progress(call, text, &m);
    else if (m.kind == RPC_NOTIFICATION)
        check_note(call, text, &m);
    else if (m.kind != RPC_REQUEST)
        load_fail(call, FAIL_PROTOCOL, "no JSON-RPC: %.*s", (int)text.length,
                  (const char *)text.at);
    if (m.kind == RPC_REQUEST)
        *question = slice_part(text, m.id);
    return m.kind == RPC_REQUEST;
}

void load_check_done(struct load_call *call, int rc)
{
    int status = call->http.status;
    bool wants_accepted = call->purpose == CALL_INITIALIZED || call->purpose == CALL_ANSWER;
    bool wants_answer = call->purpose == CALL_INITIALIZE || call->purpose == CALL_TOOL ||
                        call->purpose == CALL_NOTIFY || call->purpose == CALL_LIST ||
                        call->purpose == CALL_LOOK;
    if (call->is_answered)
        return;
    if (rc < 0 && !call->http.is_sent)
        load_fail(call, FAIL_CONNECT, "%s", strerror(-rc));
    else if (rc == -EPROTO)
        load_fail(call, FAIL_PROTOCOL, "status %d", status);
    else if (rc < 0)
        load_fail(call, FAIL_CLOSED, "%s, status %d", strerror(-rc), status);
    else if (status != (wants_accepted ? 202 : 200) &&
             !(call->purpose == CALL_DELETE && status == 204))
        load_fail(call, FAIL_STATUS, "%d", status);
    else if (wants_answer)
        load_fail(call, FAIL_UNANSWERED, "the stream ended");
    else if (call->purpose == CALL_RAW) {
        load.answered++;
        time_call(call);
    }
}

static void print_json(uint64_t rate, double seconds)
{
    const struct io_histogram *h = &load.latency;
    printf("{\"sessions\":%" PRIu64 ",\"sent\":%" PRIu64 ",\"answered\":%" PRIu64
           ",\"failed\":%" PRIu64 ",\"failures\":{",
           load.sessions_count, load.sent, load.answered, load_failures());
    const char *comma = "";
    for (size_t i = 0; i < FAILURES; i++) {
        if (load.failures[i] == 0)
            continue;
        printf("%s\"%s\":%" PRIu64, comma, load_failure_names[i], load.failures[i]);
        comma = ",";
    }
    printf("},\"rate\":%" PRIu64
           ",\"seconds\":%.3f,\"opening_seconds\":%.3f,\"connections\":%" PRIu64
           ",\"latency_us\":{\"p50\":%" PRIu64 ",\"p90\":%" PRIu64 ",\"p99\":%" PRIu64
           ",\"p999\":%" PRIu64 ",\"max\":%" PRIu64 "}",
           rate, seconds, (double)(load.begun_ns - load.opened_ns) / 1e9, load.client.connections,
           io_histogram_at(h, 5000), io_histogram_at(h, 9000), io_histogram_at(h, 9900),
           io_histogram_at(h, 9990), h->max_us);
    printf(",\"notifications\":{\"expected\":%" PRIu64 ",\"received\":%" PRIu64
           ",\"breaks\":%" PRIu64 "}}\n",
           load.notes_expected, load.notes, load.breaks);
}

void load_print(void)
{
    const struct io_histogram *h = &load.latency;
    double seconds = (double)(load.ended_ns - load.begun_ns) / 1e9;
    uint64_t rate = seconds > 0 ? (uint64_t)((double)load.answered / seconds) : 0;
    for (unsigned i = 0; i < load.samples_count; i++)
        fprintf(stderr, "load: %s\n", load.samples[i]);
    if (load.is_json) {
        print_json(rate, seconds);
        return;
    }
    printf("%" PRIu64 " sent, %" PRIu64 " answered, %" PRIu64 " failed", load.sent, load.answered,
           load_failures());
    for (size_t i = 0; i < FAILURES; i++)
        if (load.failures[i] > 0)
            printf(", %s %" PRIu64, load_failure_names[i], load.failures[i]);
    printf("\n%" PRIu64 "/s over %.2f s, %" PRIu64 " connections\n", rate, seconds,
           load.client.connections);
    printf("latency us: p50 %" PRIu64 ", p90 %" PRIu64 ", p99 %" PRIu64 ", max %" PRIu64 "\n",
           io_histogram_at(h, 5000), io_histogram_at(h, 9000), io_histogram_at(h, 9900), h->max_us);
    if (load.has_get_streams)
        printf("notifications: %" PRIu64 " of %" PRIu64 ", %" PRIu64 " streams broke\n", load.notes,
               load.notes_expected, load.breaks);
}
