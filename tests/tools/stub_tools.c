/* stub_tools.c - the stub's MCP: every method it knows, its tools, calls that take time. It owns
 * no socket and no clock. See stub.h. */
#include "tests/tools/stub.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/tools/fill.h"
#include "tests/tools/json.h"

#define BIG_MAX (128u << 20)
#define STEP_MAX (8u << 20) /* bytes of one notification */
#define STEPS_MAX 100000
#define SAID_MAX 100000

enum job_kind { JOB_SLOW, JOB_ASK, JOB_NOTIFY };

/* A call under way (or, for JOB_NOTIFY, what it set off). */
struct stub_job {
    struct stub_job *next;
    enum job_kind kind;
    struct stub_session *session;
    void *stream; /* NULL: the client left */
    char id[STUB_ID_MAX], token[STUB_ID_MAX];
    size_t id_length, token_length;
    uint64_t at_ms, interval_ms; /* of the next step; between two */
    uint32_t step, steps;
    uint64_t question; /* JOB_ASK: the id it was asked under */
    bool counts;
    size_t bytes; /* of filling in each notification */
};

#define READ_ONLY "\"annotations\":{\"readOnlyHint\":true,\"idempotentHint\":true}"
#define EFFECTS "\"annotations\":{\"readOnlyHint\":false,\"idempotentHint\":false}"
#define TOOL(name, hints, properties)                                                              \
    "{\"name\":\"" name "\",\"inputSchema\":{\"type\":\"object\",\"properties\":{" properties      \
    "}}," hints "}"
#define NUMBER(name) "\"" name "\":{\"type\":\"number\"}"
#define STRING(name) "\"" name "\":{\"type\":\"string\"}"

/* clang-format off */
static const char tools_list[] =
    "{\"tools\":["
    TOOL("echo", READ_ONLY, STRING("message")) ","
    TOOL("whoami", READ_ONLY, "") ","
    TOOL("counter", EFFECTS, NUMBER("n")) ","
    TOOL("slow", READ_ONLY, NUMBER("ms") "," NUMBER("steps")) ","
    TOOL("slow_counter", EFFECTS, NUMBER("ms") "," NUMBER("steps")) ","
    TOOL("ask", EFFECTS, STRING("kind")) ","
    TOOL("notify", EFFECTS, NUMBER("count") "," NUMBER("interval_ms")) ","
    TOOL("say", EFFECTS, NUMBER("n")) ","
    TOOL("big", READ_ONLY, NUMBER("bytes"))
    "]}";
/* clang-format on */

/* {"jsonrpc":"2.0","id":ID,"result":RESULT} in three parts, the middle one long or short. */
static void reply_parts(struct stub *stub, void *stream, struct slice id, const char *before,
                        struct slice middle, const char *after)
{
    static const char opening[] = "{\"jsonrpc\":\"2.0\",\"id\":", result[] = ",\"result\":";
    char small[2048];
    size_t before_length = strlen(before), after_length = strlen(after);
    size_t length =
        sizeof opening + sizeof result + id.length + before_length + middle.length + after_length;
    char *text = length <= sizeof small ? small : malloc(length);
    if (text == NULL || stream == NULL)
        return;
    char *at = mempcpy(text, opening, sizeof opening - 1);
    at = mempcpy(at, id.at, id.length);
    at = mempcpy(at, result, sizeof result - 1);
    at = mempcpy(at, before, before_length);
    if (middle.length > 0)
        at = mempcpy(at, middle.at, middle.length);
    at = mempcpy(at, after, after_length);
    *at++ = '}';
    stub->reply(stream, text, (size_t)(at - text), true);
    if (text != small)
        free(text);
}

static void reply_result(struct stub *stub, void *stream, struct slice id, const char *result)
{
    reply_parts(stub, stream, id, result, (struct slice){0}, "");
}

/* `inside`: of a JSON string's quotes, already escaped. */
static void reply_text(struct stub *stub, void *stream, struct slice id, struct slice inside)
{
    char after[192] = "\"}]}";
    if (stub->tells)
        snprintf(after, sizeof after, "\"}],\"_meta\":{\"who\":\"%.128s\"}}", stub->name);
    reply_parts(stub, stream, id, "{\"content\":[{\"type\":\"text\",\"text\":\"", inside, after);
}

static void reply_count(struct stub *stub, void *stream, struct slice id,
                        struct stub_session *session)
{
    char text[16];
    int length = snprintf(text, sizeof text, "%" PRIu32, ++session->count);
    reply_text(stub, stream, id, slice_borrow(text, (size_t)length));
}

static void reply_error(struct stub *stub, void *stream, struct slice id, int code,
                        const char *what)
{
    char text[512];
    size_t length = rpc_write_error(text, sizeof text, id, code, what);
    stub->reply(stream, text, length, true);
}

/* Tab-separated: ms, name, session, method, tool, id, arguments.n. */
static void log_execution(struct stub *stub, const struct stub_session *session, struct slice text,
                          const struct rpc_message *m, struct slice arguments, uint64_t now_ms)
{
    struct slice method = slice_part(text, m->method_name), name = slice_part(text, m->name);
    struct slice id = slice_part(text, m->id), n = json_field(arguments, "n");
    fprintf(stub->log, "%" PRIu64 "\t%s\t%08" PRIx32 "\t%.*s\t%.*s\t%.*s\t%.*s\n", now_ms,
            stub->name, session->hash, (int)method.length, (const char *)method.at,
            name.length > 0 ? (int)name.length : 1, name.length > 0 ? (const char *)name.at : "-",
            id.length > 0 ? (int)id.length : 1, id.length > 0 ? (const char *)id.at : "-",
            n.length > 0 ? (int)n.length : 1, n.length > 0 ? (const char *)n.at : "-");
}

/* --- calls that take time --- */

static struct stub_job *job_new(struct stub *stub, enum job_kind kind, struct stub_session *session,
                                void *stream, struct slice text, const struct rpc_message *m)
{
    struct slice id = slice_part(text, m->id), token = slice_part(text, m->progress_token);
    struct stub_job *job = calloc(1, sizeof *job);
    if (job == NULL || id.length > sizeof job->id || token.length > sizeof job->token) {
        free(job);
        reply_error(stub, stream, id, RPC_INTERNAL_ERROR, "stub: no room for this call");
        return NULL;
    }
    job->kind = kind;
    job->session = session;
    job->stream = stream;
    memcpy(job->id, id.at, id.length);
    job->id_length = id.length;
    if (token.length > 0)
        memcpy(job->token, token.at, token.length);
    job->token_length = token.length;
    job->at_ms = STUB_NEVER;
    job->next = stub->jobs;
    stub->jobs = job;
    return job;
}

/* One more member of an object, `prefix` first; nothing where it would be empty. */
static int fill_member(char *text, const char *prefix, size_t bytes, uint64_t seed)
{
    size_t length = strlen(prefix);
    if (bytes == 0)
        return 0;
    memcpy(text, prefix, length);
    fill_text(text + length, bytes, seed);
    text[length + bytes] = '"';
    return (int)(length + bytes + 1);
}

static size_t fill_bytes(struct slice arguments)
{
    uint64_t bytes = json_number(json_field(arguments, "bytes"), 0);
    return bytes < STEP_MAX ? bytes : STEP_MAX;
}

static void jobs_sweep(struct stub *stub) /* frees those whose session is NULL */
{
    for (struct stub_job **at = &stub->jobs; *at != NULL;) {
        struct stub_job *job = *at;
        if (job->session != NULL) {
            at = &job->next;
            continue;
        }
        *at = job->next;
        free(job);
    }
}

static void push_said(struct stub *stub, struct stub_session *session, uint64_t seq)
{
    char text[160];
    int length =
        snprintf(text, sizeof text,
                 "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":"
                 "{\"level\":\"info\",\"logger\":\"stub\",\"data\":{\"said\":%" PRIu64 "}}}",
                 session->said[seq - 1] - 1);
    stub->push(session, seq, text, (size_t)length);
}

/* Notification `seq` of a session: the same text whenever it is said. */
static void push_note(struct stub *stub, struct stub_session *session, uint64_t seq)
{
    if (seq <= session->said_count && session->said[seq - 1] != 0) {
        push_said(stub, session, seq);
        return;
    }
    char small[1024];
    size_t room = session->note_bytes + 256;
    char *text = room <= sizeof small ? small : malloc(room);
    if (text == NULL)
        return;
    int length = snprintf(text, room,
                          "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":"
                          "{\"level\":\"info\",\"logger\":\"stub\",\"data\":{\"seq\":%" PRIu64,
                          seq);
    length += fill_member(text + length, ",\"fill\":\"", session->note_bytes, seq);
    length += snprintf(text + length, room - (size_t)length, "}}}");
    stub->push(session, seq, text, (size_t)length);
    if (text != small)
        free(text);
}

static void say_progress(struct stub *stub, const struct stub_job *job)
{
    char small[1024];
    size_t room = job->bytes + job->token_length + 256;
    char *text = room <= sizeof small ? small : malloc(room);
    if (text == NULL)
        return;
    int length = snprintf(text, room,
                          "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":"
                          "{\"progressToken\":%.*s,\"progress\":%" PRIu32 ",\"total\":%" PRIu32,
                          (int)job->token_length, job->token, job->step, job->steps);
    length += fill_member(text + length, ",\"message\":\"", job->bytes, job->step);
    length += snprintf(text + length, room - (size_t)length, "}}");
    stub->reply(job->stream, text, (size_t)length, false);
    if (text != small)
        free(text);
}

void stub_replay(struct stub *stub, struct stub_session *session, uint64_t after)
{
    for (uint64_t seq = after + 1; seq <= session->seq; seq++)
        push_note(stub, session, seq);
}

/* One step of a slow call; false: it was the last. */
static bool job_step(struct stub *stub, struct stub_job *job)
{
    struct slice id = slice_borrow(job->id, job->id_length);
    job->step++;
    if (job->kind == JOB_NOTIFY) {
        job->session->note_bytes = job->bytes;
        push_note(stub, job->session, ++job->session->seq);
        return job->step < job->steps;
    }
    if (job->token_length > 0 && job->stream != NULL)
        say_progress(stub, job);
    if (job->step < job->steps)
        return true;
    if (job->counts)
        reply_count(stub, job->stream, id, job->session);
    else
        reply_text(stub, job->stream, id, slice_text("done"));
    return false;
}

void stub_run(struct stub *stub, uint64_t now_ms)
{
    for (struct stub_job *job = stub->jobs; job != NULL; job = job->next) {
        while (job->session != NULL && job->at_ms <= now_ms) {
            job->at_ms += job->interval_ms;
            if (!job_step(stub, job))
                job->session = NULL;
        }
    }
    jobs_sweep(stub);
}

uint64_t stub_deadline_ms(const struct stub *stub)
{
    uint64_t deadline = STUB_NEVER;
    for (const struct stub_job *job = stub->jobs; job != NULL; job = job->next)
        if (job->at_ms < deadline)
            deadline = job->at_ms;
    return deadline;
}

void stub_stream_gone(struct stub *stub, const void *stream)
{
    for (struct stub_job *job = stub->jobs; job != NULL; job = job->next)
        if (job->stream == stream)
            job->stream = NULL;
}

void stub_session_gone(struct stub *stub, struct stub_session *session)
{
    free(session->said);
    session->said = NULL;
    session->said_count = 0;
    for (struct stub_job *job = stub->jobs; job != NULL; job = job->next) {
        if (job->session != session)
            continue;
        if (job->stream != NULL)
            stub->reply(job->stream, NULL, 0, true);
        job->session = NULL;
    }
    jobs_sweep(stub);
}

static void cancel(struct stub *stub, const struct stub_session *session, struct slice id)
{
    for (struct stub_job *job = stub->jobs; job != NULL; job = job->next) {
        if (job->session != session || job->kind == JOB_NOTIFY ||
            !slice_equal(id, slice_borrow(job->id, job->id_length)))
            continue;
        if (job->stream != NULL)
            stub->reply(job->stream, NULL, 0, true);
        job->session = NULL;
    }
    jobs_sweep(stub);
}

/* --- the tools --- */

static void call_slow(struct stub *stub, struct stub_session *session, struct slice text,
                      const struct rpc_message *m, struct slice arguments, void *stream,
                      uint64_t now_ms)
{
    struct stub_job *job = job_new(stub, JOB_SLOW, session, stream, text, m);
    if (job == NULL)
        return;
    uint64_t steps = json_number(json_field(arguments, "steps"), 1);
    job->steps = (uint32_t)(steps == 0 ? 1 : steps > STEPS_MAX ? STEPS_MAX : steps);
    job->interval_ms = json_number(json_field(arguments, "ms"), 1000) / job->steps;
    job->at_ms = now_ms + job->interval_ms;
    job->counts = slice_is(slice_part(text, m->name), "slow_counter");
    job->bytes = fill_bytes(arguments);
}

static void call_notify(struct stub *stub, struct stub_session *session, struct slice text,
                        const struct rpc_message *m, struct slice arguments, void *stream,
                        uint64_t now_ms)
{
    struct stub_job *job = job_new(stub, JOB_NOTIFY, session, stream, text, m);
    if (job == NULL)
        return;
    job->stream = NULL;
    job->steps = (uint32_t)json_number(json_field(arguments, "count"), 1);
    job->interval_ms = json_number(json_field(arguments, "interval_ms"), 1000);
    job->bytes = fill_bytes(arguments);
    job->at_ms = job->steps == 0 ? STUB_NEVER : now_ms + job->interval_ms;
    if (job->interval_ms == 0)
        job->interval_ms = 1;
    reply_text(stub, stream, slice_part(text, m->id), slice_text("started"));
    if (job->steps == 0)
        job->session = NULL;
}

/* One notification of a number that the client chose, so that what was asked for and what came can
 * be compared whatever became of this process and its sessions. */
static void call_say(struct stub *stub, struct stub_session *session, struct slice id,
                     struct slice arguments, void *stream)
{
    uint64_t seq = session->seq + 1, number = json_number(json_field(arguments, "n"), UINT64_MAX);
    uint64_t *said =
        number < UINT64_MAX && seq <= SAID_MAX ? realloc(session->said, seq * sizeof *said) : NULL;
    if (said == NULL) {
        reply_error(stub, stream, id, -32602, "stub: no number n, or no more room");
        return;
    }
    for (session->said = said; session->said_count < seq; session->said_count++)
        said[session->said_count] = 0;
    said[seq - 1] = number + 1;
    session->seq = seq;
    push_note(stub, session, seq);
    reply_text(stub, stream, id, slice_text("said"));
}

static void call_ask(struct stub *stub, struct stub_session *session, struct slice text,
                     const struct rpc_message *m, struct slice arguments, void *stream)
{
    static const char sampling[] =
        "\"method\":\"sampling/createMessage\",\"params\":{\"messages\":[{\"role\":\"user\","
        "\"content\":{\"type\":\"text\",\"text\":\"stub asks\"}}],\"maxTokens\":16}}";
    static const char elicitation[] =
        "\"method\":\"elicitation/create\",\"params\":{\"message\":\"stub asks\","
        "\"requestedSchema\":{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"}}}}"
        "}";
    struct stub_job *job = job_new(stub, JOB_ASK, session, stream, text, m);
    if (job == NULL)
        return;
    bool elicits = slice_is(json_inside(json_field(arguments, "kind")), "elicitation");
    char question[512];
    job->question = session->questions++;
    int length = snprintf(question, sizeof question, "{\"jsonrpc\":\"2.0\",\"id\":%" PRIu64 ",%s",
                          job->question, elicits ? elicitation : sampling);
    stub->reply(stream, question, (size_t)length, false);
}

/* The client's answer to call_ask(), as the text of the call's result. */
static void take_answer(struct stub *stub, struct stub_session *session, struct slice text,
                        const struct rpc_message *m)
{
    uint64_t question = json_number(slice_part(text, m->id), UINT64_MAX);
    struct slice answer = json_field(text, m->kind == RPC_ERROR ? "error" : "result");
    for (struct stub_job *job = stub->jobs; job != NULL; job = job->next) {
        if (job->session != session || job->kind != JOB_ASK || job->question != question)
            continue;
        size_t room = answer.length * 6 + 1;
        char *inside = malloc(room);
        size_t length = inside != NULL ? rpc_write_string(inside, room, answer) : 0;
        reply_text(stub, job->stream, slice_borrow(job->id, job->id_length),
                   slice_borrow(inside, length));
        free(inside);
        job->session = NULL;
    }
    jobs_sweep(stub);
}

static void call_big(struct stub *stub, struct slice id, struct slice arguments, void *stream)
{
    uint64_t bytes = json_number(json_field(arguments, "bytes"), 1024);
    char *text = bytes <= BIG_MAX ? malloc(bytes + 1) : NULL;
    if (text == NULL) {
        reply_error(stub, stream, id, -32602, "stub: too big");
        return;
    }
    uint64_t seed = json_number(json_field(arguments, "fill"), UINT64_MAX);
    if (seed == UINT64_MAX)
        memset(text, 'x', bytes);
    else
        fill_text(text, bytes, seed);
    reply_text(stub, stream, id, slice_borrow(text, bytes));
    free(text);
}

static void take_call(struct stub *stub, struct stub_session *session, struct slice text,
                      const struct rpc_message *m, void *stream, uint64_t now_ms)
{
    struct slice id = slice_part(text, m->id), tool = slice_part(text, m->name);
    struct slice arguments = json_field(slice_part(text, m->params), "arguments");
    if (stub->log != NULL)
        log_execution(stub, session, text, m, arguments, now_ms);
    if (slice_is(tool, "echo")) {
        reply_text(stub, stream, id, json_inside(json_field(arguments, "message")));
    } else if (slice_is(tool, "whoami")) {
        char who[160];
        int length = snprintf(who, sizeof who, "%.128s %d", stub->name, (int)getpid());
        reply_text(stub, stream, id, slice_borrow(who, (size_t)length));
    } else if (slice_is(tool, "counter")) {
        reply_count(stub, stream, id, session);
    } else if (slice_is(tool, "slow") || slice_is(tool, "slow_counter")) {
        call_slow(stub, session, text, m, arguments, stream, now_ms);
    } else if (slice_is(tool, "ask")) {
        call_ask(stub, session, text, m, arguments, stream);
    } else if (slice_is(tool, "notify")) {
        call_notify(stub, session, text, m, arguments, stream, now_ms);
    } else if (slice_is(tool, "say")) {
        call_say(stub, session, id, arguments, stream);
    } else if (slice_is(tool, "big")) {
        call_big(stub, id, arguments, stream);
    } else {
        reply_error(stub, stream, id, -32602, "stub: unknown tool");
    }
}

/* --- methods --- */

static void take_initialize(struct stub *stub, struct slice text, const struct rpc_message *m,
                            void *stream)
{
    static const char *const known[] = {"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"};
    struct slice version = slice_part(text, m->version);
    size_t i = 0;
    while (i < 3 && !slice_is(version, known[i]))
        i++;
    char result[512];
    snprintf(result, sizeof result,
             "{\"protocolVersion\":\"%s\",\"capabilities\":{\"tools\":{},\"logging\":{}},"
             "\"serverInfo\":{\"name\":\"stub\",\"title\":\"%.128s\",\"version\":\"1\"}}",
             known[i], stub->name);
    reply_result(stub, stream, slice_part(text, m->id), result);
}

static void take_request(struct stub *stub, struct stub_session *session, struct slice text,
                         const struct rpc_message *m, void *stream, uint64_t now_ms)
{
    struct slice id = slice_part(text, m->id);
    if (m->method == RPC_TOOLS_CALL) {
        take_call(stub, session, text, m, stream, now_ms);
        return;
    }
    if (stub->log != NULL)
        log_execution(stub, session, text, m, (struct slice){0}, now_ms);
    if (m->method == RPC_INITIALIZE)
        take_initialize(stub, text, m, stream);
    else if (m->method == RPC_PING || m->method == RPC_SET_LEVEL)
        reply_result(stub, stream, id, "{}");
    else if (m->method == RPC_TOOLS_LIST)
        reply_result(stub, stream, id, tools_list);
    else if (m->method == RPC_RESOURCES_LIST)
        reply_result(stub, stream, id, "{\"resources\":[]}");
    else if (m->method == RPC_PROMPTS_LIST)
        reply_result(stub, stream, id, "{\"prompts\":[]}");
    else
        reply_error(stub, stream, id, -32601, "stub: unknown method");
}

void stub_take(struct stub *stub, struct stub_session *session, struct slice text,
               const struct rpc_message *m, void *stream, uint64_t now_ms)
{
    if (m->kind == RPC_REQUEST) {
        take_request(stub, session, text, m, stream, now_ms);
        return;
    }
    if (m->kind == RPC_RESPONSE || m->kind == RPC_ERROR) {
        take_answer(stub, session, text, m);
        return;
    }
    if (stub->log != NULL && m->kind == RPC_NOTIFICATION)
        log_execution(stub, session, text, m, (struct slice){0}, now_ms);
    if (m->method == RPC_CANCELLED)
        cancel(stub, session, slice_part(text, m->cancels));
}
