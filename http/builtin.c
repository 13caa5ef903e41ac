/* builtin.c - the small MCP server: sessions, handshake, resources, prompts, and the table of
 * methods. Tools and the calls that take time are builtin_tools.c's. Texts of resources are the
 * host's; streams, ids in use and retries are decided in mesh/session. */
#include "http/builtin_inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define METHOD_NOT_FOUND (-32601)
#define RESOURCE_NOT_FOUND (-32002) /* MCP 2025-11-25, resources, error handling */

/* One message that waits for builtin_next(). */
struct waiting {
    struct waiting *next;
    struct bytes *text;
};

static const char *const versions[] = {"2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"};
static const char *const levels[] = {"debug", "info",     "notice", "warning",
                                     "error", "critical", "alert",  "emergency"};
enum { LEVEL_INFO = 1, LEVELS = sizeof levels / sizeof levels[0] };

/* ---- what is said ------------------------------------------------------------------------- */

/* Takes the caller's reference. */
static int say(struct builtin_session *session, struct bytes *text)
{
    struct waiting *waiting;

    if (text == NULL)
        return -ENOMEM;
    if (text->length > BUILTIN_WAITING_MAX - session->waiting_bytes) {
        bytes_unref(text);
        return -ENOBUFS;
    }
    waiting = malloc(sizeof *waiting);
    if (waiting == NULL) {
        bytes_unref(text);
        return -ENOMEM;
    }
    waiting->text = text;
    waiting->next = NULL;
    *session->last = waiting;
    session->last = &waiting->next;
    session->waiting_bytes += text->length;
    return 0;
}

static void append(struct bytes *into, const void *data, size_t length)
{
    memcpy(into->data + into->length, data, length);
    into->length += length;
}

/* The id goes back byte for byte as it came. Takes `result`. */
int builtin_reply(struct builtin_session *session, struct slice id, json_t *result)
{
    static const char head[] = "{\"jsonrpc\":\"2.0\",\"id\":", middle[] = ",\"result\":";
    struct bytes *text = NULL;
    size_t size;

    if (result == NULL)
        return -ENOMEM;
    size = json_dumpb(result, NULL, 0, JSON_COMPACT);
    if (size > 0)
        text = bytes_new(NULL, sizeof head + id.length + sizeof middle + size + 1);
    if (text != NULL) {
        append(text, head, sizeof head - 1);
        append(text, id.at, id.length);
        append(text, middle, sizeof middle - 1);
        text->length += json_dumpb(result, (char *)text->data + text->length, size, JSON_COMPACT);
        append(text, "}", 1);
    }
    json_decref(result);
    return say(session, text);
}

int builtin_reply_error(struct builtin_session *session, struct slice id, int code,
                        const char *message)
{
    size_t room = 96 + id.length + 6 * strlen(message);
    struct bytes *text = bytes_new(NULL, room);

    if (text != NULL)
        text->length = rpc_write_error(text->data, room, id, code, message);
    return say(session, text);
}

/* A message of our own. Takes `message`. */
int builtin_say(struct builtin_session *session, json_t *message)
{
    struct bytes *text = NULL;
    size_t size;

    if (message == NULL)
        return -ENOMEM;
    size = json_dumpb(message, NULL, 0, JSON_COMPACT);
    if (size > 0)
        text = bytes_new(NULL, size);
    if (text != NULL)
        text->length = json_dumpb(message, (char *)text->data, size, JSON_COMPACT);
    json_decref(message);
    return say(session, text);
}

int builtin_notify(struct builtin_session *session, const char *method, json_t *params)
{
    return builtin_say(
        session, json_pack("{s:s,s:s,s:o}", "jsonrpc", "2.0", "method", method, "params", params));
}

int builtin_log_info(struct builtin_session *session, json_t *data)
{
    if (session->level > LEVEL_INFO) {
        json_decref(data);
        return 0;
    }
    return builtin_notify(session, "notifications/message",
                          json_pack("{s:s,s:s,s:o}", "level", levels[LEVEL_INFO], "logger",
                                    "session-mesh", "data", data));
}

/* ---- the other methods -------------------------------------------------------------------- */

static const char *version_negotiate(const char *wanted)
{
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++)
        if (strcmp(wanted, versions[i]) == 0)
            return versions[i];
    return versions[0];
}

/* The same words on every peer: a session that moves must find the server it left (mcp.md §4.2
 * rule 3). Only whoami names the peer. */
static int on_initialize(const struct builtin_request *request)
{
    struct builtin_session *session = request->session;
    json_t *wanted = json_object_get(request->params, "protocolVersion");
    json_t *can = json_object_get(request->params, "capabilities");
    json_t *elicitation = json_object_get(can, "elicitation");
    const char *version;

    if (session->initialized)
        return builtin_reply_error(session, request->id, RPC_INVALID_REQUEST,
                                   "Invalid Request: Server already initialized");
    if (!json_is_string(wanted) || json_string_length(wanted) != strlen(json_string_value(wanted)))
        return builtin_reply_error(session, request->id, BUILTIN_INVALID_PARAMS,
                                   "initialize wants a protocolVersion");
    version = version_negotiate(json_string_value(wanted));
    session->initialized = true;
    /* An empty object means forms, too (MCP 2025-11-25, elicitation, capabilities). */
    session->elicits =
        json_is_object(elicitation) &&
        (json_object_size(elicitation) == 0 || json_object_get(elicitation, "form") != NULL) &&
        strcmp(version, "2025-06-18") >= 0;
    return builtin_reply(
        session, request->id,
        json_pack("{s:s,s:{s:{},s:{s:b},s:{},s:{}},s:{s:s,s:s,s:s},s:s}", "protocolVersion",
                  version, "capabilities", "tools", "resources", "subscribe", 1, "prompts",
                  "logging", "serverInfo", "name", "session-mesh", "title",
                  "session-mesh built-in server", "version", MESH_VERSION, "instructions",
                  "A small server inside meshd. Try whoami and counter through several peers: "
                  "the session stays the same."));
}

static int on_ping(const struct builtin_request *request)
{
    return builtin_reply(request->session, request->id, json_object());
}

static int on_tools_list(const struct builtin_request *request)
{
    return builtin_reply(request->session, request->id,
                         json_incref(request->session->builtin->tools));
}

static int on_resources_list(const struct builtin_request *request)
{
    return builtin_reply(request->session, request->id,
                         json_pack("{s:[{s:s,s:s,s:s,s:s},{s:s,s:s,s:s,s:s}]}", "resources", "uri",
                                   "mesh://members", "name", "members", "description",
                                   "The peers of the mesh as this one sees them", "mimeType",
                                   "application/json", "uri", "mesh://sessions", "name", "sessions",
                                   "description", "The sessions that this peer owns", "mimeType",
                                   "application/json"));
}

static int on_templates_list(const struct builtin_request *request)
{
    return builtin_reply(request->session, request->id,
                         json_pack("{s:[{s:s,s:s,s:s,s:s}]}", "resourceTemplates", "uriTemplate",
                                   "mesh://members/{name}", "name", "member", "description",
                                   "One peer of the mesh", "mimeType", "application/json"));
}

/* The JSON text behind a URI, to be freed; NULL: there is none. */
static char *resource_read(const struct builtin *builtin, const char *uri)
{
    static const char members[] = "mesh://members";
    const struct builtin_source *source = &builtin->info.source;
    size_t length = strlen(uri);

    if (strcmp(uri, members) == 0 && source->members != NULL)
        return source->members(source->context);
    if (strcmp(uri, "mesh://sessions") == 0 && source->sessions != NULL)
        return source->sessions(source->context);
    if (strncmp(uri, "mesh://members/", sizeof members) == 0 && length > sizeof members &&
        length <= BUILTIN_URI_MAX && source->member != NULL)
        return source->member(source->context, uri + sizeof members, length - sizeof members);
    return NULL;
}

/* params.uri as a string without a zero inside, else NULL. */
static const char *uri_param(const struct builtin_request *request)
{
    json_t *uri = json_object_get(request->params, "uri");
    const char *value = json_string_value(uri);

    return value != NULL && strlen(value) == json_string_length(uri) ? value : NULL;
}

static int on_resources_read(const struct builtin_request *request)
{
    const char *uri = uri_param(request);
    char *text;
    int rc;

    if (uri == NULL)
        return builtin_reply_error(request->session, request->id, BUILTIN_INVALID_PARAMS,
                                   "resources/read wants a uri");
    text = resource_read(request->session->builtin, uri);
    if (text == NULL)
        return builtin_reply_error(request->session, request->id, RESOURCE_NOT_FOUND,
                                   "Resource not found");
    rc = builtin_reply(request->session, request->id,
                       json_pack("{s:[{s:s,s:s,s:s}]}", "contents", "uri", uri, "mimeType",
                                 "application/json", "text", text));
    free(text);
    return rc;
}

static int on_subscribe(const struct builtin_request *request)
{
    struct builtin_session *session = request->session;
    const char *uri = uri_param(request);
    uint32_t i;
    char *text;

    if (uri == NULL || strcmp(uri, "mesh://sessions") == 0)
        return builtin_reply_error(session, request->id, BUILTIN_INVALID_PARAMS,
                                   "only mesh://members and its peers announce their changes");
    for (i = 0; i < session->subscriptions_count; i++)
        if (strcmp(session->subscriptions[i], uri) == 0)
            return builtin_reply(session, request->id, json_object());
    text = resource_read(session->builtin, uri);
    free(text);
    if (text == NULL)
        return builtin_reply_error(session, request->id, RESOURCE_NOT_FOUND, "Resource not found");
    if (i == BUILTIN_SUBSCRIPTIONS_MAX)
        return builtin_reply_error(session, request->id, BUILTIN_INVALID_PARAMS,
                                   "too many subscriptions");
    if (session->subscriptions == NULL)
        session->subscriptions = calloc(BUILTIN_SUBSCRIPTIONS_MAX, sizeof *session->subscriptions);
    if (session->subscriptions == NULL)
        return -ENOMEM;
    memcpy(session->subscriptions[i], uri, strlen(uri) + 1);
    session->subscriptions_count++;
    return builtin_reply(session, request->id, json_object());
}

static int on_unsubscribe(const struct builtin_request *request)
{
    struct builtin_session *session = request->session;
    const char *uri = uri_param(request);

    if (uri == NULL)
        return builtin_reply_error(session, request->id, BUILTIN_INVALID_PARAMS,
                                   "resources/unsubscribe wants a uri");
    for (uint32_t i = 0; i < session->subscriptions_count; i++)
        if (strcmp(session->subscriptions[i], uri) == 0) {
            memmove(session->subscriptions[i],
                    session->subscriptions[--session->subscriptions_count], BUILTIN_URI_MAX + 1);
            break;
        }
    return builtin_reply(session, request->id, json_object());
}

static int on_prompts_list(const struct builtin_request *request)
{
    return builtin_reply(request->session, request->id,
                         json_pack("{s:[{s:s,s:s,s:s}]}", "prompts", "name", "mesh-report", "title",
                                   "Report on the mesh", "description",
                                   "Asks for a short report on the state of the mesh"));
}

static int on_prompts_get(const struct builtin_request *request)
{
    json_t *name = json_object_get(request->params, "name");
    char *members;
    int rc;

    if (!json_is_string(name) || strcmp(json_string_value(name), "mesh-report") != 0)
        return builtin_reply_error(request->session, request->id, BUILTIN_INVALID_PARAMS,
                                   "Unknown prompt");
    members = resource_read(request->session->builtin, "mesh://members");
    rc = builtin_reply(
        request->session, request->id,
        json_pack("{s:s,s:[{s:s,s:{s:s,s:o}}]}", "description", "State of the mesh", "messages",
                  "role", "user", "content", "type", "text", "text",
                  json_sprintf("Report in a few sentences which peers of this mesh live, "
                               "which do not, and what needs attention:\n\n%s",
                               members == NULL ? "{}" : members)));
    free(members);
    return rc;
}

static int on_set_level(const struct builtin_request *request)
{
    const char *level = json_string_value(json_object_get(request->params, "level"));

    for (int i = 0; i < LEVELS && level != NULL; i++)
        if (strcmp(level, levels[i]) == 0) {
            request->session->level = i;
            return builtin_reply(request->session, request->id, json_object());
        }
    return builtin_reply_error(request->session, request->id, BUILTIN_INVALID_PARAMS,
                               "Unknown log level");
}

static const struct {
    enum rpc_method method;
    int (*handle)(const struct builtin_request *request);
} methods[] = {
    {RPC_INITIALIZE, on_initialize},
    {RPC_PING, on_ping},
    {RPC_TOOLS_LIST, on_tools_list},
    {RPC_TOOLS_CALL, builtin_on_tools_call},
    {RPC_RESOURCES_LIST, on_resources_list},
    {RPC_RESOURCES_TEMPLATES_LIST, on_templates_list},
    {RPC_RESOURCES_READ, on_resources_read},
    {RPC_RESOURCES_SUBSCRIBE, on_subscribe},
    {RPC_RESOURCES_UNSUBSCRIBE, on_unsubscribe},
    {RPC_PROMPTS_LIST, on_prompts_list},
    {RPC_PROMPTS_GET, on_prompts_get},
    {RPC_SET_LEVEL, on_set_level},
};

static int on_request(struct builtin_session *session, const struct rpc_message *rpc,
                      struct slice text, uint64_t now_ms)
{
    struct builtin_request request = {
        .session = session, .rpc = rpc, .text = text, .now_ms = now_ms};
    struct slice params = slice_part(text, rpc->params);
    int rc;

    request.id = slice_part(text, rpc->id);
    if (!session->initialized && rpc->method != RPC_INITIALIZE && rpc->method != RPC_PING)
        return builtin_reply_error(session, request.id, RPC_INVALID_REQUEST,
                                   "initialize comes first");
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (methods[i].method != rpc->method)
            continue;
        request.params = rpc->params.length == 0
                             ? json_object()
                             : json_loadb((const char *)params.at, params.length,
                                          JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
        if (request.params == NULL)
            rc = builtin_reply_error(session, request.id, BUILTIN_INVALID_PARAMS,
                                     "params repeat a key or hold a number out of range");
        else
            rc = methods[i].handle(&request);
        json_decref(request.params);
        return rc;
    }
    return builtin_reply_error(session, request.id, METHOD_NOT_FOUND, "Method not found");
}

int builtin_message(struct builtin_session *session, const struct rpc_message *rpc,
                    struct slice text, uint64_t now_ms)
{
    session->messages++;
    switch (rpc->kind) {
    case RPC_REQUEST:
        return on_request(session, rpc, text, now_ms);
    case RPC_NOTIFICATION:
        return rpc->method == RPC_CANCELLED ? builtin_on_cancelled(session, rpc, text) : 0;
    case RPC_RESPONSE:
    case RPC_ERROR:
        return builtin_on_answer(session, rpc, text);
    case RPC_BAD:
    case RPC_BATCH:
        break;
    }
    return builtin_reply_error(session, slice_borrow(NULL, 0), RPC_INVALID_REQUEST,
                               "Invalid Request");
}

/* ---- sessions ----------------------------------------------------------------------------- */

int builtin_new(struct builtin **builtinp, const struct builtin_info *info)
{
    struct builtin *builtin = calloc(1, sizeof *builtin);

    if (builtin == NULL)
        return -ENOMEM;
    builtin->info = *info;
    builtin->tools = builtin_tools();
    if (builtin->tools == NULL) {
        free(builtin);
        return -ENOMEM;
    }
    *builtinp = builtin;
    return 0;
}

void builtin_free(struct builtin *builtin)
{
    if (builtin == NULL)
        return;
    while (builtin->sessions != NULL)
        builtin_close(builtin->sessions);
    json_decref(builtin->tools);
    free(builtin);
}

int builtin_open(struct builtin *builtin, struct builtin_session **sessionp)
{
    struct builtin_session *session = calloc(1, sizeof *session);

    if (session == NULL)
        return -ENOMEM;
    session->builtin = builtin;
    session->last = &session->first;
    session->level = LEVELS;
    session->next = builtin->sessions;
    if (session->next != NULL)
        session->next->previous = session;
    builtin->sessions = session;
    *sessionp = session;
    return 0;
}

void builtin_close(struct builtin_session *session)
{
    struct bytes *text;

    if (session == NULL)
        return;
    session->members_changed = false;
    while ((text = builtin_next(session)) != NULL)
        bytes_unref(text);
    builtin_calls_drop(session);
    if (session->next != NULL)
        session->next->previous = session->previous;
    if (session->previous != NULL)
        session->previous->next = session->next;
    else
        session->builtin->sessions = session->next;
    free(session->subscriptions);
    free(session);
}

/* A notification lost for want of memory is lost: the next change is told again. */
static void tell_subscribed(struct builtin_session *session)
{
    session->members_changed = false;
    for (uint32_t i = 0; i < session->subscriptions_count; i++)
        (void)builtin_notify(session, "notifications/resources/updated",
                             json_pack("{s:s}", "uri", session->subscriptions[i]));
}

struct bytes *builtin_next(struct builtin_session *session)
{
    struct waiting *waiting;
    struct bytes *text;

    if (session->members_changed)
        tell_subscribed(session);
    waiting = session->first;
    if (waiting == NULL)
        return NULL;
    text = waiting->text;
    session->first = waiting->next;
    if (session->first == NULL)
        session->last = &session->first;
    session->waiting_bytes -= text->length;
    free(waiting);
    return text;
}

uint64_t builtin_deadline_ms(const struct builtin_session *session)
{
    if (session->first != NULL || session->members_changed)
        return 0;
    return builtin_calls_due_ms(session);
}

void builtin_members_changed(struct builtin *builtin)
{
    for (struct builtin_session *s = builtin->sessions; s != NULL; s = s->next)
        s->members_changed = s->subscriptions_count > 0;
}
