/* resume_check.c - events counted: none lost, none twice, each in its place and with its text; what
 * is not kept any more is said to be missed before the numbers go on behind it. */
#include "tests/tools/resume.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "tests/tools/fill.h"
#include "tests/tools/json.h"

static const char *const failure_names[FAILURES] = {"lost", "double", "wrong", "status",
                                                    "protocol"};

void resume_fail(struct stream *stream, enum failure kind, const char *format, ...)
{
    resume.failures[kind]++;
    if (resume.samples_count == SAMPLES_MAX)
        return;
    char *sample = resume.samples[resume.samples_count++];
    size_t room = sizeof resume.samples[0];
    int used = snprintf(sample, room,
                        "%s on stream %td behind event %" PRIu64 " (%s): ", failure_names[kind],
                        stream - resume.streams, stream->last, stream->event_id);
    va_list more;
    va_start(more, format);
    vsnprintf(sample + used, room - (size_t)used, format, more);
    va_end(more);
}

static void check_number(struct stream *stream, uint64_t number)
{
    uint64_t expected = stream->last + 1;
    if (number < expected) {
        resume_fail(stream, FAIL_DOUBLE, "%" PRIu64 " again", number);
        return;
    }
    if (number > expected && stream->is_gap_said) {
        resume.missed += number - expected;
    } else if (number > expected) {
        resume_fail(stream, FAIL_LOST, "%" PRIu64 " came next", number);
        resume.failures[FAIL_LOST] += number - expected - 1;
    }
    stream->is_gap_said = false;
    stream->last = number;
    resume.received++;
}

static void check_fill(struct stream *stream, struct slice fill, uint64_t number)
{
    bool is_right = fill.length == resume.bytes;
    for (size_t i = 0; is_right && i < fill.length; i++)
        is_right = fill.at[i] == (uint8_t)fill_at(number, i);
    if (!is_right)
        resume_fail(stream, FAIL_WRONG, "the text of %" PRIu64 " is not its own", number);
}

static void check_answer(struct stream *stream, struct slice text, const struct rpc_message *m)
{
    bool is_ours = json_number(slice_part(text, m->id), 0) == TOKEN;
    if (!resume.is_post || !is_ours || m->kind == RPC_ERROR)
        resume_fail(stream, FAIL_WRONG, "%.*s", (int)(text.length < 120 ? text.length : 120),
                    (const char *)text.at);
    if (stream->is_answered)
        resume_fail(stream, FAIL_DOUBLE, "a second answer");
    if (stream->last < resume.events && !stream->is_gap_said)
        resume_fail(stream, FAIL_LOST, "answered before its last event");
    else
        resume.missed += resume.events - stream->last;
    stream->is_answered = true;
    resume.answers++;
}

static void check_notification(struct stream *stream, struct slice text,
                               const struct rpc_message *m)
{
    static const char missed[] = "\"events of this stream were missed";
    struct slice params = slice_part(text, m->params), data = json_field(params, "data");
    bool is_progress = m->method == RPC_PROGRESS;
    if (data.length >= sizeof missed - 1 && memcmp(data.at, missed, sizeof missed - 1) == 0) {
        resume.gaps++;
        stream->is_gap_said = true;
        return;
    }
    uint64_t number =
        json_number(json_field(is_progress ? params : data, is_progress ? "progress" : "seq"), 0);
    if (number == 0 || is_progress != resume.is_post) {
        resume_fail(stream, FAIL_WRONG, "%.*s", (int)(text.length < 120 ? text.length : 120),
                    (const char *)text.at);
        return;
    }
    check_number(stream, number);
    check_fill(
        stream,
        json_inside(json_field(is_progress ? params : data, is_progress ? "message" : "fill")),
        number);
}

bool resume_check_event(struct stream *stream, struct slice text, struct slice event_id)
{
    struct rpc_message m;
    if (event_id.length > 0 && event_id.length <= MCP_EVENT_MAX) {
        memcpy(stream->event_id, event_id.at, event_id.length);
        stream->event_id[event_id.length] = '\0';
    }
    if (text.length == 0)
        return false;
    if (stream->asked_ns != 0)
        io_histogram_add(&resume.back_us, (io_now_ns() - stream->asked_ns) / 1000);
    stream->asked_ns = 0;
    rpc_read(&m, NULL, text.at, text.length);
    if (m.kind == RPC_RESPONSE || m.kind == RPC_ERROR)
        check_answer(stream, text, &m);
    else if (m.kind == RPC_NOTIFICATION)
        check_notification(stream, text, &m);
    else
        resume_fail(stream, FAIL_PROTOCOL, "%.*s", (int)(text.length < 120 ? text.length : 120),
                    (const char *)text.at);
    return resume.is_post ? stream->is_answered : stream->last >= resume.events;
}

bool resume_report(void)
{
    const struct io_histogram *h = &resume.back_us;
    uint64_t bad = 0;
    for (unsigned i = 0; i < resume.samples_count; i++)
        fprintf(stderr, "resume: %s\n", resume.samples[i]);
    printf("{\"streams\":%" PRIu64 ",\"done\":%" PRIu64 ",\"received\":%" PRIu64
           ",\"answers\":%" PRIu64 ",\"cuts\":%" PRIu64 ",\"returns\":%" PRIu64
           ",\"broken\":%" PRIu64 ",\"gaps\":%" PRIu64 ",\"missed\":%" PRIu64,
           resume.streams_count, resume.done, resume.received, resume.answers, resume.cuts,
           resume.returns, resume.broken, resume.gaps, resume.missed);
    for (size_t i = 0; i < FAILURES; i++) {
        printf(",\"%s\":%" PRIu64, failure_names[i], resume.failures[i]);
        bad += resume.failures[i];
    }
    printf(",\"seconds\":%.1f,\"back_us\":{\"p50\":%" PRIu64 ",\"p99\":%" PRIu64 ",\"max\":%" PRIu64
           "}}\n",
           (double)(resume.ended_ns - resume.begun_ns) / 1e9, io_histogram_at(h, 5000),
           io_histogram_at(h, 9900), h->max_us);
    uint64_t expected = resume.streams_count * resume.events;
    bool has_all = resume.done == resume.streams_count &&
                   resume.received + resume.missed == expected &&
                   resume.answers == (resume.is_post ? resume.streams_count : 0);
    return bad == 0 && has_all && (resume.allows_gaps || resume.gaps == 0);
}
