/* builtin_tools.c - the tools of the small MCP server: one table. A tool answers at once, or opens
 * a call that builtin_now(), an answer of the user or a cancel ends. */
#include "http/builtin_inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define QUESTION_MAX 4096u     /* bytes of what a user is asked */
#define ANSWER_MAX (64u << 10) /* and of what is passed on of the answer */

enum call_kind { CALL_SLOW, CALL_ASK };

/* A tools/call that is not answered yet. */
struct call {
    struct call *next;
    enum call_kind kind;
    struct bytes *id; /* raw */
    uint64_t id_hash;
    json_t *token;    /* slow: where progress goes, or NULL */
    json_t *question; /* ask: id of our own request to the client */
    uint64_t start_ms, total_ms;
    uint32_t step, steps;
};

/* Ids of one session meet only each other: the key need not be secret. */
static const uint8_t id_key[16];

/* A tool's result: one text. Takes `text`. */
static json_t *tool_result(json_t *text, bool is_error)
{
    return json_pack("{s:[{s:s,s:o}],s:b}", "content", "type", "text", "text", text, "isError",
                     (int)is_error);
}

/* What is wrong with a call's arguments is the tool's answer, so that a model can mend it
 * (MCP 2025-11-25, tools, error handling). */
static int reply_refused(struct builtin_session *session, struct slice id, const char *why)
{
    return builtin_reply(session, id, tool_result(json_string(why), true));
}

/* ---- calls that take time ----------------------------------------------------------------- */

static struct slice call_id(const struct call *call)
{
    return slice_borrow(call->id->data, call->id->length);
}

static void call_free(struct call *call)
{
    bytes_unref(call->id);
    json_decref(call->token);
    json_decref(call->question);
    free(call);
}

static void call_remove(struct builtin_session *session, struct call **at)
{
    struct call *call = *at;

    *at = call->next;
    session->calls_count--;
    call_free(call);
}

static struct call *call_new(const struct builtin_request *request, enum call_kind kind)
{
    struct builtin_session *session = request->session;
    struct call *call = calloc(1, sizeof *call);

    if (call == NULL)
        return NULL;
    call->kind = kind;
    call->id = bytes_copy(NULL, request->id.at, request->id.length);
    if (call->id == NULL) {
        free(call);
        return NULL;
    }
    call->id_hash = rpc_id_hash(id_key, request->id);
    call->start_ms = request->now_ms;
    call->next = session->calls;
    session->calls = call;
    session->calls_count++;
    return call;
}

static uint64_t call_due_ms(const struct call *call)
{
    if (call->kind == CALL_ASK)
        return call->start_ms + call->total_ms;
    /* Rounded up: at that time slow_step() finds the step done. */
    return call->start_ms + (call->total_ms * (call->step + 1) + call->steps - 1) / call->steps;
}

uint64_t builtin_calls_due_ms(const struct builtin_session *session)
{
    uint64_t due_ms = MESH_NEVER;

    for (const struct call *call = session->calls; call != NULL; call = call->next)
        if (call_due_ms(call) < due_ms)
            due_ms = call_due_ms(call);
    return due_ms;
}

void builtin_calls_drop(struct builtin_session *session)
{
    while (session->calls != NULL)
        call_remove(session, &session->calls);
}

/* One progress for the newest step, however many were slept through: progress must only grow. */
static int slow_step(struct builtin_session *session, struct call *call, uint64_t now_ms)
{
    uint64_t spent_ms = now_ms - call->start_ms;
    uint32_t step = call->steps;

    if (spent_ms < call->total_ms)
        step = (uint32_t)(spent_ms * call->steps / call->total_ms);
    if (step <= call->step)
        return 0;
    call->step = step;
    if (call->token == NULL)
        return 0;
    return builtin_notify(session, "notifications/progress",
                          json_pack("{s:O,s:I,s:I,s:o}", "progressToken", call->token, "progress",
                                    (json_int_t)step, "total", (json_int_t)call->steps, "message",
                                    json_sprintf("step %u of %u", step, call->steps)));
}

static int ask_withdraw(struct builtin_session *session, const struct call *call,
                        const char *reason)
{
    return builtin_notify(session, "notifications/cancelled",
                          json_pack("{s:O,s:s}", "requestId", call->question, "reason", reason));
}

int builtin_now(struct builtin_session *session, uint64_t now_ms)
{
    struct call **at = &session->calls;
    int rc = 0;

    while (*at != NULL && rc == 0) {
        struct call *call = *at;
        bool over = now_ms >= call->start_ms + call->total_ms;

        if (now_ms < call_due_ms(call)) {
            at = &call->next;
            continue;
        }
        if (call->kind == CALL_SLOW) {
            rc = slow_step(session, call, now_ms);
            if (rc == 0 && over)
                rc = builtin_reply(session, call_id(call),
                                   tool_result(json_sprintf("done: %u steps in %u ms", call->steps,
                                                            (unsigned)call->total_ms),
                                               false));
        } else {
            rc = ask_withdraw(session, call, "nobody answered in time");
            if (rc == 0)
                rc = reply_refused(session, call_id(call), "nobody answered in time");
        }
        if (over)
            call_remove(session, at);
        else
            at = &call->next;
    }
    return rc;
}

/* The cancelled call gets no answer (MCP 2025-11-25, cancellation). */
int builtin_on_cancelled(struct builtin_session *session, const struct rpc_message *rpc,
                         struct slice text)
{
    uint64_t hash;
    int rc = 0;

    if (rpc->cancels.length == 0)
        return 0;
    hash = rpc_id_hash(id_key, slice_part(text, rpc->cancels));
    for (struct call **at = &session->calls; *at != NULL; at = &(*at)->next)
        if ((*at)->id_hash == hash) {
            if ((*at)->kind == CALL_ASK)
                rc = ask_withdraw(session, *at, "the call that asked was cancelled");
            call_remove(session, at);
            break;
        }
    return rc;
}

/* The client answers a question of ours: an elicitation's result, or an error. */
int builtin_on_answer(struct builtin_session *session, const struct rpc_message *rpc,
                      struct slice text)
{
    struct slice id = slice_part(text, rpc->id);
    const char *action = NULL, *answer = NULL;
    size_t answer_length = 0;
    struct call **at;
    json_t *whole;
    int rc;

    for (at = &session->calls; *at != NULL; at = &(*at)->next)
        if ((*at)->kind == CALL_ASK && id.length == json_string_length((*at)->question) + 2 &&
            memcmp(id.at + 1, json_string_value((*at)->question), id.length - 2) == 0)
            break;
    if (*at == NULL)
        return 0;
    whole = json_loadb((const char *)text.at, text.length, JSON_ALLOW_NUL, NULL);
    if (rpc->kind == RPC_RESPONSE)
        json_unpack(whole, "{s:{s:s,s?{s?s%}}}", "result", "action", &action, "content", "answer",
                    &answer, &answer_length);
    if (action == NULL)
        rc = reply_refused(session, call_id(*at), "the client could not ask");
    else if (strcmp(action, "accept") != 0)
        rc = builtin_reply(
            session, call_id(*at),
            tool_result(json_string(strcmp(action, "decline") == 0 ? "declined" : "cancelled"),
                        false));
    else if (answer == NULL || answer_length > ANSWER_MAX)
        rc = reply_refused(session, call_id(*at), "the answer has no usable text");
    else
        rc = builtin_reply(session, call_id(*at),
                           tool_result(json_stringn(answer, answer_length), false));
    json_decref(whole);
    call_remove(session, at);
    return rc;
}

/* ---- tools -------------------------------------------------------------------------------- */

/* A text argument of at most `max` bytes, or NULL. */
static json_t *text_argument(const json_t *arguments, const char *name, size_t max)
{
    json_t *value = json_object_get(arguments, name);

    if (!json_is_string(value) || json_string_length(value) > max)
        return NULL;
    return value;
}

static int tool_echo(const struct builtin_request *request, const json_t *arguments)
{
    json_t *message = text_argument(arguments, "message", BUILTIN_TEXT_MAX);

    if (message == NULL)
        return reply_refused(request->session, request->id,
                             "echo wants \"message\": a text of at most 1 MiB");
    return builtin_reply(request->session, request->id, tool_result(json_incref(message), false));
}

static int tool_whoami(const struct builtin_request *request, const json_t *arguments)
{
    struct builtin_session *session = request->session;
    const char *name = session->builtin->info.name;
    json_t *result;

    (void)arguments;
    result = tool_result(json_sprintf("%s, meshd %s, message %llu of this session", name,
                                      MESH_VERSION, (unsigned long long)session->messages),
                         false);
    if (result != NULL)
        json_object_set_new(result, "structuredContent",
                            json_pack("{s:s,s:s,s:I}", "name", name, "version", MESH_VERSION,
                                      "messages", (json_int_t)session->messages));
    return builtin_reply(session, request->id, result);
}

static int tool_counter(const struct builtin_request *request, const json_t *arguments)
{
    struct builtin_session *session = request->session;
    json_t *by = json_object_get(arguments, "by");
    json_t *result;
    int64_t sum, step = 1;
    int rc;

    if (by != NULL && !json_is_integer(by))
        return reply_refused(session, request->id, "counter wants \"by\": a whole number");
    if (by != NULL)
        step = json_integer_value(by);
    if (__builtin_add_overflow(session->counter, step, &sum))
        return reply_refused(session, request->id, "the counter would overflow");
    session->counter = sum;
    rc = builtin_log_info(session, json_pack("{s:I}", "counter", (json_int_t)sum));
    if (rc < 0)
        return rc;
    result = tool_result(json_sprintf("%lld", (long long)sum), false);
    if (result != NULL)
        json_object_set_new(result, "structuredContent",
                            json_pack("{s:I}", "value", (json_int_t)sum));
    return builtin_reply(session, request->id, result);
}

static int tool_slow(const struct builtin_request *request, const json_t *arguments)
{
    json_t *seconds = json_object_get(arguments, "seconds");
    json_t *steps = json_object_get(arguments, "steps");
    double wanted_s = seconds == NULL ? 2 : json_number_value(seconds);
    struct call *call;

    if ((seconds != NULL && !json_is_number(seconds)) || !(wanted_s >= 0) ||
        wanted_s > BUILTIN_SLOW_MAX_MS / 1000)
        return reply_refused(request->session, request->id,
                             "slow wants \"seconds\": a number from 0 to 600");
    if (steps != NULL && (!json_is_integer(steps) || json_integer_value(steps) < 1 ||
                          json_integer_value(steps) > BUILTIN_STEPS_MAX))
        return reply_refused(request->session, request->id,
                             "slow wants \"steps\": a whole number from 1 to 100");
    if (request->session->calls_count >= BUILTIN_CALLS_MAX)
        return reply_refused(request->session, request->id, "too many calls are open");
    call = call_new(request, CALL_SLOW);
    if (call == NULL)
        return -ENOMEM;
    call->total_ms = (uint64_t)(wanted_s * 1000);
    call->steps = steps == NULL ? 5 : (uint32_t)json_integer_value(steps);
    if (request->rpc->progress_token.length > 0) {
        struct slice token = slice_part(request->text, request->rpc->progress_token);

        call->token = json_loadb((const char *)token.at, token.length,
                                 JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    }
    return 0;
}

static int tool_ask(const struct builtin_request *request, const json_t *arguments)
{
    struct builtin_session *session = request->session;
    json_t *question = text_argument(arguments, "question", QUESTION_MAX);
    struct call *call;
    json_t *schema;

    if (question == NULL)
        return reply_refused(session, request->id,
                             "ask wants \"question\": a text of at most 4 KiB");
    if (!session->elicits)
        return reply_refused(session, request->id,
                             "this client did not declare elicitation: nobody can be asked");
    if (session->calls_count >= BUILTIN_CALLS_MAX)
        return reply_refused(session, request->id, "too many calls are open");
    call = call_new(request, CALL_ASK);
    if (call == NULL)
        return -ENOMEM;
    call->total_ms = BUILTIN_ASK_TIMEOUT_MS;
    call->question = json_sprintf("ask-%u", ++session->questions);
    if (call->question == NULL) {
        call_remove(session, &session->calls);
        return -ENOMEM;
    }
    schema = json_pack("{s:s,s:{s:{s:s,s:s}},s:[s]}", "type", "object", "properties", "answer",
                       "type", "string", "title", "Answer", "required", "answer");
    return builtin_say(session, json_pack("{s:s,s:O,s:s,s:{s:O,s:o}}", "jsonrpc", "2.0", "id",
                                          call->question, "method", "elicitation/create", "params",
                                          "message", question, "requestedSchema", schema));
}

static const struct tool {
    const char *name, *title, *description, *properties, *required;
    bool read_only, idempotent;
    int (*run)(const struct builtin_request *request, const json_t *arguments);
} tools[] = {
    {"echo", "Echo", "Returns the message as it came.",
     "{\"message\":{\"type\":\"string\",\"description\":\"What to return\"}}", "[\"message\"]",
     true, true, tool_echo},
    {"whoami", "Who am I",
     "Names the peer that runs this session, and counts the session's messages.", "{}", "[]", true,
     true, tool_whoami},
    {"counter", "Counter",
     "Adds to a number kept in this session's memory and returns it. The memory dies with the "
     "peer.",
     "{\"by\":{\"type\":\"integer\",\"description\":\"How much to add\",\"default\":1}}", "[]",
     false, false, tool_counter},
    {"slow", "Slow call", "Takes its time, with progress if the caller gave a progress token.",
     "{\"seconds\":{\"type\":\"number\",\"minimum\":0,\"maximum\":600,\"default\":2},"
     "\"steps\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":100,\"default\":5}}",
     "[]", true, true, tool_slow},
    {"ask", "Ask the user", "Asks the user a question through the client and returns the answer.",
     "{\"question\":{\"type\":\"string\",\"description\":\"What to ask\"}}", "[\"question\"]",
     false, false, tool_ask},
};
enum { TOOLS = sizeof tools / sizeof tools[0] };

json_t *builtin_tools(void)
{
    json_t *list = json_array();

    for (size_t i = 0; i < TOOLS && list != NULL; i++) {
        const struct tool *t = &tools[i];
        json_t *tool = json_pack(
            "{s:s,s:s,s:s,s:{s:s,s:o,s:o},s:{s:s,s:b,s:b,s:b,s:b}}", "name", t->name, "title",
            t->title, "description", t->description, "inputSchema", "type", "object", "properties",
            json_loads(t->properties, 0, NULL), "required", json_loads(t->required, 0, NULL),
            "annotations", "title", t->title, "readOnlyHint", (int)t->read_only, "destructiveHint",
            0, "idempotentHint", (int)t->idempotent, "openWorldHint", 0);

        if (json_array_append_new(list, tool) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return json_pack("{s:o}", "tools", list);
}

int builtin_on_tools_call(const struct builtin_request *request)
{
    json_t *name = json_object_get(request->params, "name");
    json_t *arguments = json_object_get(request->params, "arguments");

    if (!json_is_string(name) || (arguments != NULL && !json_is_object(arguments)))
        return builtin_reply_error(request->session, request->id, BUILTIN_INVALID_PARAMS,
                                   "tools/call wants a name and an object of arguments");
    for (size_t i = 0; i < TOOLS; i++)
        if (json_string_length(name) == strlen(tools[i].name) &&
            strcmp(json_string_value(name), tools[i].name) == 0)
            return tools[i].run(request, arguments);
    return builtin_reply_error(request->session, request->id, BUILTIN_INVALID_PARAMS,
                               "Unknown tool");
}
