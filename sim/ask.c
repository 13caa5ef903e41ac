/* ask.c - what clients say: JSON-RPC texts, session ids good and bad, and the mesh_request made of
 * them, as http/mcp.c would. What comes back is client.c's. */
#include <stdlib.h>

#include "sim/check.h"
#include "sim/client.h"
#include "sim/heard.h"
#include "sim/modern.h"
#include "sim/sse.h"

#define HEAD_LINES                                                                                 \
    "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"

const char *ask_name(enum ask ask)
{
    static const char *const names[ASK_KINDS] = {
        "initialize", "initialized", "listen",     "call",    "read",         "list",
        "ping",       "note",        "answer",     "level",   "subscribe",    "unsubscribe",
        "delete",     "forged",      "foreign",    "twice",   "no-id",        "resume",
        "m-call",     "m-read",      "m-discover", "m-begin", "m-go-on",      "m-make",
        "m-task",     "m-listen",    "s-stream",   "s-again", "s-initialize", "s-initialized",
        "s-call",     "s-read",      "s-answer"};
    return names[ask];
}

/* ---- what is said --------------------------------------------------------------------------- */

/* Ids as clients write them: numbers from 0, strings, strings with needless escapes. */
static void id_write(const struct request *request, uint32_t number, char id[32])
{
    switch (request->session % 4) {
    case 0:
        snprintf(id, 32, "\"%u\"", number);
        break;
    case 1:
        snprintf(id, 32, "\"r\\/%u\"", number);
        break;
    default:
        snprintf(id, 32, "%u", number);
        break;
    }
}

static const char *ask_method(enum ask ask)
{
    switch (ask) {
    case ASK_INITIALIZE:
    case ASK_S_INITIALIZE:
    case ASK_S_AGAIN:
        return "initialize";
    case ASK_INITIALIZED:
    case ASK_S_INITIALIZED:
        return "notifications/initialized";
    case ASK_LIST:
        return "tools/list";
    case ASK_PING:
        return "ping";
    case ASK_LEVEL:
        return "logging/setLevel";
    case ASK_SUBSCRIBE:
        return "resources/subscribe";
    case ASK_UNSUBSCRIBE:
        return "resources/unsubscribe";
    case ASK_NOTE:
        return "notifications/roots/list_changed";
    case ASK_CALL:
    case ASK_READ:
    case ASK_FORGED:
    case ASK_FOREIGN:
    case ASK_TWICE:
    case ASK_NO_ID:
    case ASK_S_CALL:
    case ASK_S_READ:
        return "tools/call";
    case ASK_LISTEN:
    case ASK_ANSWER:
    case ASK_S_STREAM:
    case ASK_S_ANSWER:
    case ASK_DELETE:
    case ASK_M_CALL:
    case ASK_M_READ:
    case ASK_M_DISCOVER:
    case ASK_M_BEGIN:
    case ASK_M_GO_ON:
    case ASK_M_MAKE:
    case ASK_M_TASK:
    case ASK_M_LISTEN:
    case ASK_RESUME:
    case ASK_KINDS:
        break; /* GET, DELETE, no method, or modern.c's */
    }
    return NULL;
}

static bool ask_has_id(enum ask ask)
{
    return ask_is_modern(ask) || (ask_method(ask) != NULL && ask != ASK_INITIALIZED &&
                                  ask != ASK_NOTE && ask != ASK_S_INITIALIZED);
}

static void body_write(const struct world *world, struct request *request,
                       const struct question_seen *question)
{
    char text[600];
    const char *method = ask_method(request->ask);
    bool is_read = request->ask == ASK_READ || request->ask == ASK_S_READ;
    uint32_t n = request->n;
    uint32_t s = request->session;
    int length = 0;
    if (ask_is_modern(request->ask))
        length = modern_body(world, request, text, sizeof text);
    else if (request->ask == ASK_ANSWER || request->ask == ASK_S_ANSWER)
        length = snprintf(text, sizeof text,
                          "{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":{\"n\":%u,\"s\":%u,\"qu\":%u,"
                          "\"qq\":%u}}",
                          question->id, n, s, question->up, question->at);
    else if (request->ask == ASK_LEVEL)
        length = snprintf(text, sizeof text,
                          "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"%s\",\"params\":{\"level\":"
                          "\"warning\",\"_meta\":{\"n\":%u,\"s\":%u}}}",
                          request->id, method, n, s);
    else if (request->ask == ASK_SUBSCRIBE || request->ask == ASK_UNSUBSCRIBE)
        length = snprintf(text, sizeof text,
                          "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"%s\",\"params\":{\"uri\":"
                          "\"sim://%u/%u\",\"_meta\":{\"n\":%u,\"s\":%u}}}",
                          request->id, method, s, request->uri, n, s);
    else if (strcmp(method, "initialize") == 0)
        length = snprintf(text, sizeof text,
                          "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"initialize\",\"params\":{"
                          "\"protocolVersion\":\"2025-11-25\",\"capabilities\":{\"sampling\":{}},"
                          "\"clientInfo\":{\"name\":\"sim\",\"version\":\"1\"},\"_meta\":{"
                          "\"n\":%u,\"s\":%u}}}",
                          request->id, n, s);
    else if (!ask_has_id(request->ask))
        length = snprintf(text, sizeof text,
                          "{\"jsonrpc\":\"2.0\",\"method\":\"%s\",\"params\":{\"_meta\":{\"n\":%u,"
                          "\"s\":%u}}}",
                          method, n, s);
    else
        length = snprintf(text, sizeof text,
                          "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"%s\",\"params\":{\"name\":"
                          "\"%s\",\"arguments\":{\"n\":%u,\"s\":%u},\"_meta\":{"
                          "\"progressToken\":%u}}}",
                          request->id, method, is_read ? "look" : "bump", n, s, n);
    request->body = sim_zero((size_t)length + 1);
    memcpy(request->body, text, (size_t)length);
    request->body_length = (uint32_t)length;
}

/* A session id that no peer minted: random, too short, or a real one with a bit of it changed. */
static void key_forge(struct world *world, struct request *request, const struct session *session)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    struct shuffle *chance = &world->clients->chance;
    uint32_t how = session->has_id ? chance_below(chance, 4) : 0;
    request->key_length = MESH_SESSION_TEXT;
    for (uint32_t n = 0; n < MESH_SESSION_TEXT; n++)
        request->key[n] = letters[chance_below(chance, 64)];
    if (how > 0)
        memcpy(request->key, session->id, MESH_SESSION_TEXT);
    if (how == 2)
        request->key_length = chance_below(chance, MESH_SESSION_TEXT);
    if (how == 3)
        request->key[chance_below(chance, MESH_SESSION_TEXT)] = '%';
    if (how == 1) { /* another letter at one place */
        uint32_t at = chance_below(chance, MESH_SESSION_TEXT);
        char old = request->key[at];
        while (request->key[at] == old)
            request->key[at] = letters[chance_below(chance, 64)];
    }
    if (request->key_length == 0)
        request->key_length = 1;
}

static struct request *request_new(struct world *world, uint32_t session, enum ask ask)
{
    struct clients *clients = world->clients;
    clients->requests = sim_grow(clients->requests, clients->requests_count,
                                 &clients->requests_capacity, sizeof(struct request *));
    struct request *request = sim_zero(sizeof *request);
    request->n = clients->requests_count++;
    request->ask = ask;
    request->session = session;
    request->of = WORLD_NOBODY;
    request->client = clients->sessions[session]->client;
    request->sent_us = world->now_us;
    request->was_quiet = world->quiet_us != 0 && world->now_us >= world->quiet_us;
    clients->requests[request->n] = request;
    return request;
}

static uint32_t request_send(struct world *world, struct request *request, uint32_t seat,
                             uint64_t delay_us, const struct question_seen *question)
{
    struct clients *clients = world->clients;
    struct session *session = clients->sessions[request->session];
    if (ask_has_id(request->ask) && request->id[0] == 0)
        id_write(request, session->next_id++, request->id);
    if (request->id[0] != 0)
        request->id_hash = rpc_id_hash(clients->id_key, slice_text(request->id));
    if (request->ask == ASK_FORGED) {
        key_forge(world, request, session);
    } else if (request->ask == ASK_M_CALL) {
        request->handle_number = request->n % MODERN_HANDLES;
        request->key_length =
            (uint32_t)snprintf(request->key, sizeof request->key, "h%u", request->handle_number);
    } else if (!ask_is_modern(request->ask) && request->ask != ASK_INITIALIZE &&
               request->ask != ASK_NO_ID && !ask_is_stream(request->ask)) {
        memcpy(request->key, session->id, MESH_SESSION_TEXT);
        request->key_length = MESH_SESSION_TEXT;
    }
    if (request->ask != ASK_LISTEN && request->ask != ASK_DELETE && request->ask != ASK_RESUME &&
        request->ask != ASK_S_STREAM)
        body_write(world, request, question);
    if (request->ask == ASK_LISTEN)
        session->listen = request->n;
    if (request->ask == ASK_DELETE && session->delete_us == 0)
        session->delete_us = world->now_us + 1;
    request->is_after_end = session->ended_us != 0;
    request->seat = seat;
    request->life = world->seats[seat].life;
    session->open++;
    session->asked++;
    world_at(world, world->now_us + delay_us, CLIENT_OPEN, WORLD_NOBODY, request->n, 0);
    if (fault_is_on(world->faults, FAULT_VANISH) && !world->calm && !ask_is_modern(request->ask) &&
        !ask_is_sse(request->ask) && chance_hits(&clients->chance, 30000)) {
        uint64_t later_us = chance_log(&clients->chance, WORLD_MS, 3 * WORLD_SECOND);
        world_at(world, world->now_us + delay_us + later_us, CLIENT_VANISH, WORLD_NOBODY,
                 request->n, 0);
    }
    return request->n;
}

uint32_t client_ask(struct world *world, uint32_t session, enum ask ask, uint32_t seat,
                    uint64_t delay_us)
{
    return request_send(world, request_new(world, session, ask), seat, delay_us, NULL);
}

uint32_t client_ask_of(struct world *world, uint32_t session, enum ask ask, uint32_t seat,
                       uint64_t delay_us, uint32_t of)
{
    struct request *request = request_new(world, session, ask);
    request->of = of;
    return request_send(world, request, seat, delay_us, NULL);
}

uint32_t client_resume(struct world *world, uint32_t number, uint32_t seat, uint64_t delay_us)
{
    struct request *broken = world->clients->requests[number];
    struct request *request =
        request_new(world, broken->session, broken->ask == ASK_LISTEN ? ASK_LISTEN : ASK_RESUME);
    request->resumes = request_behind(world, broken)->n;
    request->has_position = true;
    request->position = broken->position;
    request->last_note = broken->last_note;
    request->last_up = broken->last_up;
    request->is_excused = broken->is_excused;
    request->shown[event_id_write(request->shown, &broken->position)] = 0;
    world->clients->resumed++;
    return request_send(world, request, seat, delay_us, NULL);
}

uint32_t client_listen_after(struct world *world, uint32_t session, const char *shown,
                             uint32_t seat, uint64_t delay_us)
{
    struct request *request = request_new(world, session, ASK_LISTEN);
    snprintf(request->shown, sizeof request->shown, "%s", shown);
    return request_send(world, request, seat, delay_us, NULL);
}

uint32_t client_answer(struct world *world, uint32_t session, uint32_t seat, uint64_t delay_us)
{
    const struct session *of = world->clients->sessions[session];
    enum ask ask = of->is_single ? ASK_S_ANSWER : ASK_ANSWER;
    return request_send(world, request_new(world, session, ask), seat, delay_us, &of->question);
}

uint32_t client_wish(struct world *world, uint32_t session, enum ask ask, uint32_t uri,
                     uint32_t seat, uint64_t delay_us)
{
    struct request *request = request_new(world, session, ask);
    request->uri = uri;
    world->clients->sessions[session]->wishes.open = request->n;
    return request_send(world, request, seat, delay_us, NULL);
}

uint32_t client_repeat(struct world *world, uint32_t other, uint32_t seat, uint64_t delay_us)
{
    struct request *open = world->clients->requests[other];
    struct request *request = request_new(world, open->session, ASK_TWICE);
    memcpy(request->id, open->id, sizeof request->id);
    return request_send(world, request, seat, delay_us, NULL);
}

/* ---- opening -------------------------------------------------------------------------------- */

static void request_fill(const struct world *world, const struct request *request,
                         struct mesh_request *made, struct bytes *body)
{
    const struct session *session = world->clients->sessions[request->session];
    *made = (struct mesh_request){.want = MESH_CALL, .era = MESH_LEGACY};
    made->key.kind = request->key_length > 0 ? MESH_KEY_SESSION : MESH_KEY_NONE;
    made->key.text = slice_borrow(request->key, request->key_length);
    made->who = session->who;
    if (request->ask == ASK_FOREIGN)
        made->who.hash[0] ^= 0x80;
    made->method = slice_text("POST");
    made->target = slice_text("/mcp");
    made->head = slice_text(HEAD_LINES);
    if (ask_is_modern(request->ask)) {
        made->era = MESH_MODERN;
        made->who = (struct principal){0};
        made->key.kind = request->key_length > 0 ? MESH_KEY_HANDLE : MESH_KEY_NONE;
    }
    if (ask_is_sse(request->ask))
        made->front = MESH_FRONT_SSE;
    if (ask_is_stream(request->ask)) {
        made->want = MESH_SSE;
        made->method = slice_text("GET");
        made->head = slice_text("Accept: text/event-stream\r\n");
    }
    if (request->ask == ASK_LISTEN || request->ask == ASK_RESUME) {
        made->last_event_id = slice_text(request->shown);
        made->want = MESH_LISTEN;
        made->method = slice_text("GET");
        made->head = slice_text("Accept: text/event-stream\r\n");
    } else if (request->ask == ASK_DELETE) {
        made->want = MESH_DELETE;
        made->method = slice_text("DELETE");
    } else if (body != NULL) {
        made->body = slice_of(body, 0, body->length);
        rpc_read(&made->rpc, NULL, body->data, body->length);
    }
}

void client_open(struct world *world, const struct world_event *event)
{
    struct request *request = world->clients->requests[event->a];
    struct seat *seat = &world->seats[request->seat];
    struct mesh_request made;
    struct bytes *body = NULL;
    if (seat->mesh == NULL || seat->life != request->life) {
        client_request_over(world, request, REQUEST_UNSENT);
        return;
    }
    if (seat->paused_until_us > world->now_us) {
        struct world_event later = *event;
        later.at_us = seat->paused_until_us;
        world_push(world, &later);
        return;
    }
    if (request->body != NULL) {
        body = bytes_copy(NULL, request->body, request->body_length);
        if (body == NULL)
            abort();
    }
    request_fill(world, request, &made, body);
    request->opened_us = world->now_us;
    request->handle = mesh_open(seat->mesh, &made, world_clock_ms(world, seat));
    bytes_unref(body);
    world_say(world, seat, "open #%u %s session %u as %u.%u%s%s", request->n,
              ask_name(request->ask), request->session, request->handle.slot,
              request->handle.generation, request->shown[0] != 0 ? " after " : "", request->shown);
    if (request->handle.generation == 0) {
        request->why = MESH_FULL;
        request->state = REQUEST_OPEN;
        client_request_over(world, request, REQUEST_ENDED);
    } else {
        request->state = REQUEST_OPEN;
        heard_listen(world, request);
        if (!slots_put(&seat->exchanges, request->handle, request->n))
            check_fail(world, "X1", "p%u: exchange %u.%u is given out twice", seat->index,
                       request->handle.slot, request->handle.generation);
        world_at(world, world->now_us + 15 * WORLD_SECOND, CHECK_REQUEST, WORLD_NOBODY, request->n,
                 0);
        if (request->ask == ASK_LISTEN)
            world_at(world, world->now_us + 1500 * WORLD_MS, CHECK_LISTEN, WORLD_NOBODY, request->n,
                     0);
    }
    world_turn(world, seat);
}

void client_vanish(struct world *world, uint32_t number)
{
    struct request *request = world->clients->requests[number];
    struct seat *seat = &world->seats[request->seat];
    if (request->state != REQUEST_OPEN || seat->paused_until_us > world->now_us)
        return;
    world->faults->hits[FAULT_VANISH]++;
    world_say(world, seat, "client of #%u vanishes", number);
    slots_drop(&seat->exchanges, request->handle);
    mesh_close(seat->mesh, request->handle, world_clock_ms(world, seat));
    client_request_over(world, request, REQUEST_GONE);
    world_turn(world, seat);
}

void clients_died(struct world *world, struct seat *seat)
{
    for (uint32_t n = 0; n < seat->exchanges.count; n++)
        if (seat->exchanges.slots[n].generation != 0)
            client_request_over(world, world->clients->requests[seat->exchanges.slots[n].index],
                                REQUEST_GONE);
}
