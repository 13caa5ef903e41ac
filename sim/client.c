/* client.c - simulated MCP clients: what they do, through whom, and what becomes of their requests.
 * How a request is worded is ask.c's; right or wrong is judged in check.c. */
#include "sim/client.h"

#include <stdlib.h>

#include "sim/check.h"
#include "sim/modern.h"
#include "sim/sse.h"

#define RATE_GAP_US 430000u /* mean between a client's requests; 1.5 clients a peer */

const char *reason_name(enum mesh_reason reason)
{
    static const char *const names[] = {"ok",
                                        "no-session-id",
                                        "session-unknown",
                                        "id-in-use",
                                        "already-initialized",
                                        "unsupported",
                                        "no-route",
                                        "full",
                                        "parked",
                                        "owner-lost",
                                        "outcome-unknown",
                                        "upstream-down",
                                        "upstream-lost",
                                        "upstream-bad",
                                        "too-large",
                                        "superseded",
                                        "session-ended",
                                        "reader-slow",
                                        "cancelled",
                                        "stopping",
                                        "stream-over"};
    return (size_t)reason < sizeof names / sizeof *names ? names[reason] : "?";
}

uint32_t text_number(struct slice text, const char *key)
{
    char quoted[24];
    int length = snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const uint8_t *end = text.at + text.length;
    const uint8_t *at =
        text.length == 0 ? NULL : memmem(text.at, text.length, quoted, (size_t)length);
    if (at == NULL)
        return WORLD_NOBODY;
    uint32_t number = 0;
    at += length;
    if (at == end || *at < '0' || *at > '9')
        return WORLD_NOBODY;
    for (; at < end && *at >= '0' && *at <= '9'; at++)
        number = number * 10 + (uint32_t)(*at - '0');
    return number;
}

struct slice text_patched(struct slice text, const struct patch *patch, char **made)
{
    *made = NULL;
    if ((patch->cut == 0 && patch->put.length == 0) || patch->at + patch->cut > text.length)
        return text;
    size_t length = text.length - patch->cut + patch->put.length;
    size_t after = patch->at + patch->cut;
    char *whole = malloc(length + 1);
    if (whole == NULL)
        abort();
    memcpy(whole, text.at, patch->at);
    if (patch->put.length > 0)
        memcpy(whole + patch->at, patch->put.at, patch->put.length);
    memcpy(whole + patch->at + patch->put.length, text.at + after, text.length - after);
    *made = whole;
    return slice_borrow(whole, length);
}

/* ---- life ----------------------------------------------------------------------------------- */

static void clients_draw(struct world *world)
{
    struct clients *clients = world->clients;
    uint32_t count = world->load_nodes * 3 / 2 + 1;
    clients->clients = sim_zero(count * sizeof *clients->clients);
    clients->clients_count = count;
    for (uint32_t n = 0; n < count; n++) {
        struct client *client = &clients->clients[n];
        client->session = WORLD_NOBODY;
        client->policy = chance_below(&clients->chance, 8) % 3; /* sticky is the rarest */
        client->gap_us = chance_log(&clients->chance, RATE_GAP_US / 4, RATE_GAP_US * 4);
        client->lifetime = (uint32_t)chance_log(&clients->chance, 4, 200);
        client->open_max = (uint32_t)chance_log(&clients->chance, 1, 8);
        client->listens = chance_below(&clients->chance, 5) > 0;
        client->ends_politely = chance_below(&clients->chance, 4) > 0;
        client->is_slow = chance_below(&clients->chance, 6) == 0;
        client->next_seat = chance_below(&clients->chance, world->config.nodes);
        uint64_t at_us = 500 * WORLD_MS + chance_below(&clients->chance, 3 * WORLD_SECOND);
        world_at(world, at_us, CLIENT_TICK, WORLD_NOBODY, n, 0);
    }
}

int clients_new(struct world *world)
{
    struct clients *clients = sim_zero(sizeof *clients);
    world->clients = clients;
    chance_init(&clients->chance, world->config.seed, 3);
    chance_init(&clients->resume_chance, world->config.seed, 8);
    chance_init(&clients->wish_chance, world->config.seed, 12);
    memset(clients->id_key, 7, sizeof clients->id_key);
    if (world->config.load)
        clients_draw(world);
    return 0;
}

void clients_free(struct world *world)
{
    struct clients *clients = world->clients;
    if (clients == NULL)
        return;
    for (uint32_t n = 0; n < clients->requests_count; n++) {
        free(clients->requests[n]->body);
        free(clients->requests[n]->text);
        free(clients->requests[n]);
    }
    for (uint32_t n = 0; n < clients->sessions_count; n++) {
        heard_free(&clients->sessions[n]->tenures.heard);
        free(clients->sessions[n]);
    }
    free(clients->requests);
    free(clients->sessions);
    free(clients->clients);
    free(clients->taken);
    free(clients);
    world->clients = NULL;
}

uint32_t client_session(struct world *world)
{
    struct clients *clients = world->clients;
    clients->sessions = sim_grow(clients->sessions, clients->sessions_count,
                                 &clients->sessions_capacity, sizeof(struct session *));
    struct session *session = sim_zero(sizeof *session);
    uint32_t index = clients->sessions_count++;
    session->client = WORLD_NOBODY;
    session->owner = WORLD_NOBODY;
    session->listen = session->stream = WORLD_NOBODY;
    session->wishes.level = session->wishes.open = WORLD_NOBODY;
    session->tenures.top_owner = WORLD_NOBODY;
    if (index % 3 != 0) /* a third of them is bound to nobody */
        memset(session->who.hash, (int)(1 + index % 200), sizeof session->who.hash);
    clients->sessions[index] = session;
    return index;
}

/* ---- what a client does --------------------------------------------------------------------- */

/* Any peer that runs; mostly one that says it is ready, as a balancer would choose. */
static uint32_t seat_pick(struct world *world, struct client *client)
{
    struct shuffle *chance = &world->clients->chance;
    for (uint32_t tries = 0; tries < 12; tries++) {
        if (client->policy != 2)
            client->next_seat++;
        if (client->policy == 0 || tries > 2)
            client->next_seat = chance_below(chance, world->seats_count);
        uint32_t seat = client->next_seat % world->seats_count;
        const struct seat *peer = &world->seats[seat];
        if (!world_serves(world, seat))
            continue;
        bool ready = mesh_is_joined(peer->mesh) && peer->served && !peer->leaving;
        if (ready || (tries > 3 && chance_below(chance, 4) == 0))
            return seat;
    }
    return WORLD_NOBODY;
}

uint32_t client_pick(struct world *world, uint32_t client, struct shuffle *chance)
{
    (void)client;
    for (uint32_t tries = 0; tries < 12; tries++) {
        uint32_t seat = chance_below(chance, world->seats_count);
        if (world_serves(world, seat))
            return seat;
    }
    return WORLD_NOBODY;
}

static void client_say(struct world *world, struct client *client, enum ask ask, uint64_t delay_us)
{
    uint32_t seat = seat_pick(world, client);
    if (seat != WORLD_NOBODY)
        client_ask(world, client->session, ask, seat, delay_us);
}

static void client_begin(struct world *world, uint32_t index)
{
    struct client *client = &world->clients->clients[index];
    uint32_t seat = seat_pick(world, client);
    if (seat == WORLD_NOBODY)
        return;
    client->session = client_session(world);
    world->clients->sessions[client->session]->client = index;
    client_ask(world, client->session, ASK_INITIALIZE, seat, 100);
}

/* An open request of the session with an id, or NOBODY. */
static uint32_t open_request(const struct world *world, uint32_t session)
{
    const struct clients *clients = world->clients;
    uint32_t looked = 0;
    for (uint32_t n = clients->requests_count; n-- > 0 && looked < 200; looked++) {
        const struct request *request = clients->requests[n];
        if (request->session == session && request->state == REQUEST_OPEN &&
            request->ask == ASK_CALL)
            return n;
    }
    return WORLD_NOBODY;
}

static void client_misbehave(struct world *world, struct client *client)
{
    struct shuffle *chance = &world->clients->chance;
    world->faults->hits[FAULT_BOGUS]++;
    uint32_t open = open_request(world, client->session);
    switch (chance_below(chance, 4)) {
    case 0:
        client_say(world, client, ASK_FORGED, 0);
        break;
    case 1:
        client_say(world, client, ASK_FOREIGN, 0);
        break;
    case 2:
        if (world->upstream != MESH_UP_HTTP)
            client_say(world, client, ASK_NO_ID, 0);
        break;
    default: {
        uint32_t seat = open == WORLD_NOBODY ? WORLD_NOBODY : seat_pick(world, client);
        if (seat != WORLD_NOBODY)
            client_repeat(world, open, seat, 0);
    }
    }
}

/* Now and then it sets the log level, or subscribes; one thing at a time. */
static bool client_wishes(struct world *world, const struct client *client)
{
    struct clients *clients = world->clients;
    const struct session *session = clients->sessions[client->session];
    if (world->config.draws == 1 || session->wishes.open != WORLD_NOBODY ||
        chance_below(&clients->wish_chance, 16) != 0)
        return false;
    uint32_t drawn = chance_below(&clients->wish_chance, 4);
    uint32_t uri = chance_below(&clients->wish_chance, WISHES_URIS);
    bool has_it = (session->wishes.uris >> uri & 1) != 0;
    uint32_t seat = client_pick(world, client->session, &clients->wish_chance);
    if (seat == WORLD_NOBODY)
        return false;
    client_wish(world, client->session,
                drawn == 0 ? ASK_LEVEL
                : has_it   ? ASK_UNSUBSCRIBE
                           : ASK_SUBSCRIBE,
                uri, seat, 0);
    return true;
}

static void client_act(struct world *world, struct client *client)
{
    struct clients *clients = world->clients;
    struct session *session = clients->sessions[client->session];
    if (session->asked >= client->lifetime) {
        if (client->ends_politely && session->open > 0 && session->asked < client->lifetime + 20) {
            session->asked++; /* waits for its answers, for a while */
            return;
        }
        session->state = client->ends_politely ? SESSION_ENDING : SESSION_OVER;
        if (client->ends_politely)
            client_say(world, client, ASK_DELETE, 0);
        return;
    }
    if (session->open >= client->open_max + (session->listen != WORLD_NOBODY))
        return;
    if (fault_is_on(world->faults, FAULT_BOGUS) && !world->calm &&
        chance_hits(&clients->chance, 60000)) {
        client_misbehave(world, client);
        return;
    }
    if (client_wishes(world, client))
        return;
    uint32_t drawn = chance_below(&clients->chance, 100);
    if (client->listens && (session->listen == WORLD_NOBODY || drawn >= 99))
        client_say(world, client, ASK_LISTEN, 0);
    else if (drawn < 50)
        client_say(world, client, ASK_CALL, 0);
    else if (drawn < 75)
        client_say(world, client, ASK_READ, 0);
    else if (drawn < 82)
        client_say(world, client, ASK_LIST, 0);
    else if (drawn < 90)
        client_say(world, client, ASK_PING, 0);
    else
        client_say(world, client, ASK_NOTE, 0);
}

static void client_tick(struct world *world, uint32_t index)
{
    struct clients *clients = world->clients;
    struct client *client = &clients->clients[index];
    const struct session *session =
        client->session == WORLD_NOBODY ? NULL : clients->sessions[client->session];
    if (clients->quiet)
        return;
    if (session == NULL || session->state == SESSION_OVER)
        client_begin(world, index);
    else if (session->state == SESSION_LIVES)
        client_act(world, client);
    uint64_t gap_us = chance_spread(&clients->chance, client->gap_us);
    world_at(world, world->now_us + 1000 + gap_us, CLIENT_TICK, WORLD_NOBODY, index, 0);
}

/* The answer to initialize, then what real clients send within milliseconds. */
static void session_begins(struct world *world, struct session *session)
{
    struct clients *clients = world->clients;
    session->state = SESSION_LIVES;
    session->has_begun = true;
    if (session->client == WORLD_NOBODY)
        return;
    struct client *client = &clients->clients[session->client];
    uint32_t gap_us = chance_below(&clients->chance, 3000);
    client_say(world, client, ASK_INITIALIZED, 100);
    if (client->listens)
        client_say(world, client, ASK_LISTEN, 100 + gap_us / 2);
    client_say(world, client, ASK_LIST, 100 + gap_us);
}

/* What the session's servers are to know from now on. */
static void wish_over(struct world *world, const struct request *request, bool well)
{
    struct wishes *wishes = &world->clients->sessions[request->session]->wishes;
    uint32_t bit = 1u << request->uri;
    well = well && request->has_answer && !request->is_error;
    wishes->open = WORLD_NOBODY;
    wishes->changed_us = world->now_us;
    if (request->ask == ASK_LEVEL) {
        wishes->level_is_unsure = !well;
        wishes->level = well ? request->n : wishes->level;
        return;
    }
    wishes->unsure = well ? wishes->unsure & ~bit : wishes->unsure | bit;
    wishes->uris = request->ask == ASK_SUBSCRIBE ? wishes->uris | bit : wishes->uris & ~bit;
}

static bool request_went_well(const struct request *request)
{
    return request->state == REQUEST_ENDED && request->why == MESH_OK && request->has_head &&
           request->status / 100 == 2;
}

void client_request_over(struct world *world, struct request *request, enum request_state state)
{
    struct clients *clients = world->clients;
    struct session *session = clients->sessions[request->session];
    if (request->state != REQUEST_SENT && request->state != REQUEST_OPEN)
        return;
    request->state = state;
    request->ended_us = world->now_us;
    session->open--;
    if (state == REQUEST_ENDED)
        clients->why[request->why]++;
    clients->unsent += state == REQUEST_UNSENT;
    clients->gone += state == REQUEST_GONE;
    if (ask_is_modern(request->ask))
        modern_over(world, request, state);
    if (ask_is_sse(request->ask))
        sse_over(world, request, state);
    bool well = request_went_well(request);
    if (session->wishes.open == request->n)
        wish_over(world, request, well);
    if (session->listen == request->n)
        session->listen = WORLD_NOBODY;
    resume_after(world, request);
    if (request->ask == ASK_INITIALIZE) {
        if (well && session->has_id && !request->is_error)
            session_begins(world, session);
        else
            session->state = SESSION_OVER;
    } else if (request->ask == ASK_DELETE) {
        session->state = SESSION_OVER;
        if (well)
            session->ended_us = world->now_us + 1;
    } else if (request->ask < ASK_DELETE && request->ask != ASK_LISTEN && state == REQUEST_ENDED &&
               request->end != MESH_END_LATER) {
        session->failed_in_a_row = well ? 0 : session->failed_in_a_row + 1;
        bool told_over = request->why == MESH_SESSION_UNKNOWN ||
                         (world->config.no_copies && request->why == MESH_OWNER_LOST);
        if ((told_over || session->failed_in_a_row > 6) && session->client != WORLD_NOBODY)
            session->state = SESSION_OVER;
    }
}

/* ---- what comes back ------------------------------------------------------------------------ */

static void take(struct world *world, const struct request *request, size_t bytes)
{
    struct clients *clients = world->clients;
    bool slow = request->client == WORLD_NOBODY ? sse_is_slow(world, request)
                                                : clients->clients[request->client].is_slow;
    slow = slow && fault_is_on(world->faults, FAULT_READER) && !world->calm;
    if (bytes == 0)
        return;
    if (slow) {
        uint64_t later_us = chance_log(&clients->chance, 5000, 5 * WORLD_SECOND);
        world->faults->hits[FAULT_READER]++;
        world_at(world, world->now_us + later_us, CLIENT_TAKEN, request->seat, request->n,
                 (uint32_t)bytes);
        return;
    }
    clients->taken = sim_grow(clients->taken, clients->taken_count, &clients->taken_capacity,
                              sizeof *clients->taken);
    clients->taken[clients->taken_count++] = (struct taken){request->n, (uint32_t)bytes};
}

bool client_settle(struct world *world, struct seat *seat)
{
    struct clients *clients = world->clients;
    bool told = false;
    for (uint32_t n = 0; n < clients->taken_count; n++) {
        const struct request *request = clients->requests[clients->taken[n].request];
        if (request->state != REQUEST_OPEN)
            continue;
        told = true;
        mesh_taken(seat->mesh, request->handle, clients->taken[n].bytes,
                   world_clock_ms(world, seat));
    }
    clients->taken_count = 0;
    return told;
}

void client_question(struct world *world, uint32_t index, struct slice text,
                     const struct rpc_message *rpc)
{
    struct clients *clients = world->clients;
    struct session *session = clients->sessions[index];
    struct slice id = slice_part(text, rpc->id);
    struct question_seen *question = &session->question;
    if (id.length >= sizeof question->id)
        return;
    memcpy(question->id, id.at, id.length);
    question->id[id.length] = 0;
    question->up = text_number(text, "u");
    question->at = text_number(text, "q");
    if (clients->is_silent || (session->client == WORLD_NOBODY && !session->is_single))
        return;
    struct shuffle *chance = session->is_single ? &world->sse->chance : &clients->chance;
    uint32_t seat = session->is_single ? client_pick(world, WORLD_NOBODY, chance)
                                       : seat_pick(world, &clients->clients[session->client]);
    uint64_t think_us = chance_log(chance, 200, 200000);
    if (seat != WORLD_NOBODY)
        client_answer(world, index, seat, think_us);
}

struct request *request_behind(struct world *world, struct request *request)
{
    return request->ask == ASK_RESUME ? world->clients->requests[request->resumes] : request;
}

static void message_came(struct world *world, struct request *request, struct slice text,
                         bool answers)
{
    static const char missed[] = "events of this stream were missed";
    struct rpc_message rpc;
    struct request *behind = request_behind(world, request);
    rpc_read(&rpc, NULL, text.at, text.length);
    world_say(world, &world->seats[request->seat], "  #%u %s %.*s", request->n,
              answers ? "answer" : "message", (int)(text.length > 300 ? 300 : text.length),
              (const char *)text.at);
    request->gaps += memmem(text.at, text.length, missed, sizeof missed - 1) != NULL;
    if (check_gap_told(world, request, text))
        return;
    check_message(world, behind, request, text, &rpc, answers);
    if (answers && behind != request)
        world->clients->rested++;
    if (answers && !world->config.no_copies)
        tenure_begins(world, request);
    if (ask_is_modern(request->ask))
        modern_came(world, request, text, &rpc);
    if (rpc.kind == RPC_REQUEST)
        client_question(world, request->session, text, &rpc);
}

static void event_came(struct world *world, struct request *request, struct slice text,
                       const struct mesh_effect *effect)
{
    if (ask_is_sse(request->ask)) {
        sse_came(world, request, text, effect);
        return;
    }
    if (effect->event.retry_ms != 0)
        request->retry_ms = effect->event.retry_ms;
    world_say(world, &world->seats[request->seat], "  #%u event %u-%u-%u%s", request->n,
              effect->event.id.stream, (uint32_t)effect->event.id.epoch,
              (uint32_t)effect->event.id.number, effect->event.id.is_last ? "-e" : "");
    (void)check_gap_told(world, request, text);
    check_event_id(world, request, effect);
    if (effect->event.why != MESH_OK)
        check_failure(world, request_behind(world, request), text, effect->event.why);
    else if (text.length > 0)
        message_came(world, request, text, effect->event.answers);
}

static void head_came(struct world *world, struct request *request,
                      const struct mesh_effect *effect)
{
    struct clients *clients = world->clients;
    struct session *session = clients->sessions[request->session];
    const struct mesh_member *self = mesh_self(world->seats[request->seat].mesh);
    check_head(world, request, effect);
    request->has_head = true;
    request->status = effect->head.status;
    request->form = effect->head.form;
    if (peer_id_equal(self->record->id, effect->head.owner))
        clients->served_here++;
    else
        clients->forwarded++;
    if (effect->head.has_session &&
        (request->ask == ASK_INITIALIZE || ask_is_stream(request->ask))) {
        memcpy(session->id, effect->head.session, MESH_SESSION_TEXT);
        session->has_id = true;
        session->owner = world_life_of(world, effect->head.owner);
        if (session->is_single)
            sse_begins(world, request);
    }
    world_fold(world, (uint64_t)effect->head.status << 32 | effect->head.form);
    world_say(world, &world->seats[request->seat], "REPLY_HEAD #%u %d form %d", request->n,
              effect->head.status, effect->head.form);
}

static void data_came(struct request *request, struct slice part)
{
    char *more = realloc(request->text, request->text_length + part.length + 1);
    if (more == NULL)
        abort();
    memcpy(more + request->text_length, part.at, part.length);
    request->text = more;
    request->text_length += part.length;
}

static void end_came(struct world *world, struct request *request, struct seat *seat,
                     const struct mesh_effect *effect)
{
    request->end = effect->end.end;
    request->why = effect->end.why;
    world_fold(world, (uint64_t)effect->end.end << 32 | effect->end.why);
    world_say(world, seat, "REPLY_END #%u %s%s", request->n, reason_name(request->why),
              request->end == MESH_END_CUT ? " cut" : "");
    if (effect->end.head_sent != request->has_head)
        check_fail(world, "X2", "#%u: END says head_sent %d, %d came", request->n,
                   effect->end.head_sent, request->has_head);
    if (request->form == MESH_FORM_JSON && request->text_length > 0 &&
        request->end == MESH_END_WHOLE)
        message_came(world, request, slice_borrow(request->text, request->text_length),
                     request->id[0] != 0);
    check_end(world, request);
    slots_drop(&seat->exchanges, request->handle);
    client_request_over(world, request, REQUEST_ENDED);
}

void client_effect(struct world *world, struct seat *seat, const struct mesh_effect *effect)
{
    uint32_t index = slots_get(&seat->exchanges, effect->handle);
    char *made = NULL;
    if (index == WORLD_NOBODY) {
        check_fail(world, "X1", "p%u: reply effect %d for a closed exchange %u.%u", seat->index,
                   effect->kind, effect->handle.slot, effect->handle.generation);
        return;
    }
    struct request *request = world->clients->requests[index];
    world_fold(world, request->n);
    if (effect->kind == MESH_REPLY_HEAD) {
        head_came(world, request, effect);
        return;
    }
    if (effect->kind == MESH_REPLY_END) {
        end_came(world, request, seat, effect);
        return;
    }
    bool is_event = effect->kind == MESH_REPLY_EVENT;
    struct slice plain = is_event ? effect->event.text : effect->data;
    struct slice text = text_patched(plain, &effect->patch, &made);
    world_fold_text(world, text.at, text.length);
    if (!request->has_head)
        check_fail(world, "E1", "#%u: part of an answer before its head", index);
    take(world, request, plain.length);
    if (is_event && request->form != MESH_FORM_JSON)
        event_came(world, request, text, effect);
    else
        data_came(request, text);
    free(made);
}

void client_event(struct world *world, const struct world_event *event)
{
    struct clients *clients = world->clients;
    switch ((int)event->kind) {
    case CLIENT_TICK:
        client_tick(world, event->a);
        break;
    case CLIENT_OPEN:
        client_open(world, event);
        break;
    case CLIENT_MODERN:
        modern_event(world, event);
        break;
    case CLIENT_SSE:
        sse_event(world, event);
        break;
    case CLIENT_VANISH:
        client_vanish(world, event->a);
        break;
    case CLIENT_TAKEN: {
        const struct request *request = clients->requests[event->a];
        struct seat *seat = &world->seats[request->seat];
        if (request->state != REQUEST_OPEN)
            break;
        mesh_taken(seat->mesh, request->handle, event->b, world_clock_ms(world, seat));
        world_turn(world, seat);
        break;
    }
    }
}
