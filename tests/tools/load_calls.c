/* load_calls.c - the requests of load.c: what each says, and which target is its turn. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/tools/load.h"

#define VERSION "2025-11-25"

struct load_call *load_call_new(struct load_session *session, enum load_purpose purpose)
{
    struct load_call *call = load.unused;
    if (call != NULL)
        load.unused = call->next;
    else
        call = malloc(sizeof *call);
    if (call == NULL)
        abort();
    *call = (struct load_call){.session = session, .purpose = purpose, .due_ns = io_now_ns()};
    return call;
}

void load_call_free(struct load_call *call)
{
    call->next = load.unused;
    load.unused = call;
}

static void call_link(struct load_call *call)
{
    call->next = NULL;
    call->previous = load.youngest;
    if (load.youngest != NULL)
        load.youngest->next = call;
    else
        load.oldest = call;
    load.youngest = call;
}

void load_call_unlink(struct load_call *call)
{
    if (call->previous != NULL)
        call->previous->next = call->next;
    else
        load.oldest = call->next;
    if (call->next != NULL)
        call->next->previous = call->previous;
    else
        load.youngest = call->previous;
}

/* The next of `count` from `first` on that is not taken out; where all are, any. */
static unsigned next_of(unsigned first, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned target = first + load.turn++ % count;
        if (!load.is_out[target])
            return target;
    }
    return first + load.turn++ % count;
}

/* Those of --open-at stand behind those of --to. */
static unsigned next_target(enum load_purpose purpose)
{
    bool opens = purpose == CALL_INITIALIZE || purpose == CALL_INITIALIZED ||
                 purpose == CALL_LIST || purpose == CALL_DELETE;
    unsigned others = load.client.targets_count - load.targets_count;
    return opens && others > 0 ? next_of(load.targets_count, others)
                               : next_of(0, load.targets_count);
}

int load_next_try(struct load_call *call)
{
    if (!load.skips_dead || ++call->tries >= load.client.targets_count)
        return -1;
    call->target = next_target(call->purpose);
    return (int)call->target;
}

uint64_t load_below(uint64_t bound)
{
    load.chance += 0x9e3779b97f4a7c15u;
    uint64_t chance = load.chance;
    chance = (chance ^ chance >> 30) * 0xbf58476d1ce4e5b9u;
    chance = (chance ^ chance >> 27) * 0x94d049bb133111ebu;
    return (chance ^ chance >> 31) % bound;
}

/* A request with the session's headers and a body (NULL: none). */
static void call_send(struct load_call *call, const char *method, const char *body)
{
    char small[4096];
    const struct load_session *session = call->session;
    unsigned target = call->target = next_target(call->purpose);
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
        load.in_flight++;
        call_link(call);
    }
    client_send(&load.client, &call->http, target, text, (size_t)head + length);
    if (text != small)
        free(text);
}

void load_send_initialize(struct load_session *session)
{
    struct load_call *call = load_call_new(session, CALL_INITIALIZE);
    call->id = session->next_id++;
    char body[256];
    snprintf(body, sizeof body,
             "{\"jsonrpc\":\"2.0\",\"id\":%" PRIu64 ",\"method\":\"initialize\",\"params\":{"
             "\"protocolVersion\":\"" VERSION "\",\"capabilities\":{\"sampling\":{},"
             "\"elicitation\":{}},\"clientInfo\":{\"name\":\"load\",\"version\":\"1\"}}}",
             call->id);
    call_send(call, "POST", body);
}

void load_send_initialized(struct load_session *session)
{
    call_send(load_call_new(session, CALL_INITIALIZED), "POST",
              "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}");
}

void load_send_list(struct load_session *session)
{
    struct load_call *call = load_call_new(session, CALL_LIST);
    call->id = session->next_id++;
    char body[128];
    snprintf(body, sizeof body,
             "{\"jsonrpc\":\"2.0\",\"id\":%" PRIu64 ",\"method\":\"tools/list\"}", call->id);
    call_send(call, "POST", body);
}

void load_send_look(struct load_session *session)
{
    struct load_call *call = load_call_new(session, CALL_LOOK);
    call->id = session->next_id++;
    char body[128];
    snprintf(body, sizeof body, "{\"jsonrpc\":\"2.0\",\"id\":%" PRIu64 ",\"method\":\"ping\"}",
             call->id);
    call_send(call, "POST", body);
}

void load_send_delete(struct load_session *session)
{
    call_send(load_call_new(session, CALL_DELETE), "DELETE", NULL);
}

void load_send_listen(struct load_session *session)
{
    session->listen_again_ns = 0;
    session->listen = load_call_new(session, CALL_LISTEN);
    call_send(session->listen, "GET", NULL);
}

void load_send_notify(struct load_session *session)
{
    struct load_call *call = load_call_new(session, CALL_NOTIFY);
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

void load_send_tool(struct load_call *call)
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
    const struct load_tool *tool = call->tool;
    int length = snprintf(body, room,
                          "{\"jsonrpc\":\"2.0\",\"id\":%" PRIu64
                          ",\"method\":\"tools/call\",\"params\":{\"name\":\"%s\",",
                          call->id, tool->name);
    if (tool->is_slow)
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

void load_send_answer(struct load_session *session, struct slice question)
{
    char body[512];
    snprintf(
        body, sizeof body,
        "{\"jsonrpc\":\"2.0\",\"id\":%.*s,\"result\":{\"model\":\"none\",\"role\":\"assistant\","
        "\"content\":{\"type\":\"text\",\"text\":\"yes\"}}}",
        (int)(question.length < 200 ? question.length : 200), (const char *)question.at);
    call_send(load_call_new(session, CALL_ANSWER), "POST", body);
}

void load_send_raw(struct load_call *call)
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
                          load.tools[0].name);
        memset(bodies[0] + at, 'x', load.pad);
        memcpy(bodies[0] + at + load.pad, "\"}}}", 5);
        snprintf(bodies[1], room, "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"ping\"}");
    }
    load.sent++;
    call_send(call, "POST", bodies[call->session == NULL]);
}
