/* modern.c - the session-less era in the made-up world. */
#include "sim/modern.h"

#include <inttypes.h>
#include <stdlib.h>

#include "sim/check.h"

#define RATE_GAP_US 600000u /* mean between a client's requests */
#define OPEN_MAX 6u
#define STATE_PREFIX 21u /* what the mesh puts before a state: 20 characters of a tag, a dot */
#define CANCEL_US (2u * WORLD_SECOND)        /* A2, in quiet */
#define CANCEL_CHAOS_US (22u * WORLD_SECOND) /* the link was lost: 15 s, and time to notice it */
#define CANCEL_DEATH_US (60u * WORLD_SECOND) /* the peer of the client died: told by membership */

/* ---- clients -------------------------------------------------------------------------------- */

int modern_new(struct world *world)
{
    struct modern *modern = sim_zero(sizeof *modern);
    world->modern = modern;
    chance_init(&modern->chance, world->config.seed, 9);
    for (uint32_t n = 0; n < MODERN_HANDLES; n++)
        modern->handle_seats[n] = WORLD_NOBODY;
    if (!world->config.load || world->config.legacy_only || world->upstream != MESH_UP_HTTP)
        return 0;
    modern->clients_count = 1 + chance_below(&modern->chance, world->load_nodes);
    modern->clients = sim_zero(modern->clients_count * sizeof *modern->clients);
    for (uint32_t n = 0; n < modern->clients_count; n++) {
        struct modern_client *client = &modern->clients[n];
        client->session = WORLD_NOBODY;
        client->state_of = client->task_of = WORLD_NOBODY;
        client->gap_us = chance_log(&modern->chance, RATE_GAP_US / 4, RATE_GAP_US * 3);
        uint64_t at_us = 500 * WORLD_MS + chance_below(&modern->chance, 3 * WORLD_SECOND);
        world_at(world, at_us, CLIENT_MODERN, WORLD_NOBODY, n, 0);
    }
    return 0;
}

void modern_free(struct world *world)
{
    if (world->modern == NULL)
        return;
    free(world->modern->clients);
    free(world->modern);
    world->modern = NULL;
}

static uint32_t seat_any(struct world *world)
{
    for (uint32_t tries = 0; tries < 12; tries++) {
        uint32_t seat = chance_below(&world->modern->chance, world->seats_count);
        const struct seat *peer = &world->seats[seat];
        if (world_serves(world, seat) &&
            (tries > 8 || (mesh_is_joined(peer->mesh) && peer->served && !peer->leaving)))
            return seat;
    }
    return WORLD_NOBODY;
}

static uint32_t modern_say(struct world *world, uint32_t session, enum ask ask, uint32_t of,
                           uint64_t delay_us)
{
    uint32_t seat = seat_any(world);
    return seat == WORLD_NOBODY ? WORLD_NOBODY
                                : client_ask_of(world, session, ask, seat, delay_us, of);
}

/* The newest open request of a client, if there is one among the last. */
static uint32_t modern_open(const struct world *world, uint32_t session)
{
    const struct clients *clients = world->clients;
    uint32_t looked = 0;
    for (uint32_t n = clients->requests_count; n-- > 0 && looked < 200; looked++)
        if (clients->requests[n]->session == session && clients->requests[n]->state == REQUEST_OPEN)
            return n;
    return WORLD_NOBODY;
}

static void modern_act(struct world *world, struct modern_client *client)
{
    uint32_t drawn = chance_below(&world->modern->chance, 100);
    uint32_t open = modern_open(world, client->session);
    if (open != WORLD_NOBODY &&
        (drawn >= 90 || world->clients->sessions[client->session]->open > OPEN_MAX))
        client_vanish(world, open);
    else if (drawn < 20)
        (void)modern_say(world, client->session, ASK_M_CALL, WORLD_NOBODY, 0);
    else if (drawn < 32)
        (void)modern_say(world, client->session, ASK_M_READ, WORLD_NOBODY, 0);
    else if (drawn < 37)
        (void)modern_say(world, client->session, ASK_M_DISCOVER, WORLD_NOBODY, 0);
    else if (drawn < 57)
        (void)modern_say(world, client->session,
                         client->state_of == WORLD_NOBODY ? ASK_M_BEGIN : ASK_M_GO_ON,
                         client->state_of, 0);
    else if (drawn < 67 || client->task_of == WORLD_NOBODY)
        (void)modern_say(world, client->session, ASK_M_MAKE, WORLD_NOBODY, 0);
    else if (drawn < 85)
        (void)modern_say(world, client->session, ASK_M_TASK, client->task_of, 0);
    else
        (void)modern_say(world, client->session, ASK_M_LISTEN, WORLD_NOBODY, 0);
}

void modern_event(struct world *world, const struct world_event *event)
{
    struct modern *modern = world->modern;
    struct modern_client *client = &modern->clients[event->a];
    if (world->clients->quiet)
        return;
    if (client->session == WORLD_NOBODY)
        client->session = client_session(world);
    modern_act(world, client);
    uint64_t gap_us = chance_spread(&modern->chance, client->gap_us);
    world_at(world, world->now_us + 1000 + gap_us, CLIENT_MODERN, WORLD_NOBODY, event->a, 0);
}

static const char *modern_method(enum ask ask, uint32_t n)
{
    static const char *const tasks[] = {"tasks/get", "tasks/get", "tasks/update", "tasks/cancel"};
    if (ask == ASK_M_TASK)
        return tasks[n % 4];
    if (ask == ASK_M_LISTEN)
        return "subscriptions/listen";
    return ask == ASK_M_DISCOVER ? "server/discover" : "tools/call";
}

int modern_body(const struct world *world, const struct request *request, char *text, size_t room)
{
    char carried[160] = "";
    const char *held =
        request->of == WORLD_NOBODY ? "" : world->clients->requests[request->of]->held;
    if (request->ask == ASK_M_GO_ON)
        snprintf(carried, sizeof carried, "\"requestState\":%s,", held);
    else if (request->ask == ASK_M_TASK)
        snprintf(carried, sizeof carried, "\"taskId\":%s,", held);
    return snprintf(
        text, room,
        "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"%s\",\"params\":{%s\"name\":\"%s\","
        "\"arguments\":{\"n\":%u,\"s\":%u},\"_meta\":{\"progressToken\":%u,"
        "\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\"}}}",
        request->id, modern_method(request->ask, request->n), carried,
        request->ask == ASK_M_READ ? "look" : "bump", request->n, request->session, request->n);
}

static struct modern_client *modern_client_of(const struct world *world, uint32_t session)
{
    struct modern *modern = world->modern;
    for (uint32_t n = 0; n < modern->clients_count; n++)
        if (modern->clients[n].session == session)
            return &modern->clients[n];
    return NULL;
}

/* The client may ask on at once: through any peer, before anything else could travel. */
static void modern_go_on(struct world *world, struct modern_client *client, bool is_state,
                         uint32_t of)
{
    uint32_t *held = is_state ? &client->state_of : &client->task_of;
    *held = of;
    if (!world->clients->quiet && chance_below(&world->modern->chance, 3) > 0)
        (void)modern_say(world, client->session, is_state ? ASK_M_GO_ON : ASK_M_TASK, of, 0);
}

void modern_came(struct world *world, struct request *request, struct slice text,
                 const struct rpc_message *rpc)
{
    struct modern_client *client = modern_client_of(world, request->session);
    struct slice state = slice_part(text, rpc->request_state);
    struct slice task = slice_part(text, rpc->task_id);
    struct slice held = state.length > 0 ? state : task;
    if (rpc->kind != RPC_RESPONSE && rpc->kind != RPC_ERROR)
        return;
    if (client != NULL && request->ask == ASK_M_GO_ON && client->state_of == request->of)
        client->state_of = WORLD_NOBODY;
    if (client != NULL && rpc->kind == RPC_ERROR && client->task_of == request->of)
        client->task_of = WORLD_NOBODY;
    if (rpc->kind == RPC_ERROR || held.length == 0 || request->ask == ASK_M_TASK)
        return;
    if (held.length >= sizeof request->held)
        check_fail(world, "A1", "#%u gets a state of %zu B", request->n, held.length);
    else
        memcpy(request->held, held.at, held.length);
    size_t length = strlen(request->made);
    if (state.length > 0 &&
        (state.length != length + STATE_PREFIX || state.at[STATE_PREFIX] != '.' ||
         memcmp(state.at + STATE_PREFIX + 1, request->made + 1, length - 1) != 0))
        check_fail(world, "A1", "#%u was given the state %s and gets %.*s", request->n,
                   request->made, (int)state.length, (const char *)state.at);
    if (state.length == 0 && strcmp(request->held, request->made) != 0)
        check_fail(world, "A1", "#%u made the task %s and gets %s", request->n, request->made,
                   request->held);
    if (client != NULL)
        modern_go_on(world, client, state.length > 0, request->n);
}

void modern_over(struct world *world, struct request *request, enum request_state state)
{
    if (state != REQUEST_GONE)
        return;
    request->left_us = world->now_us;
    world_at(world, world->now_us + CANCEL_US, CHECK_LEFT, WORLD_NOBODY, request->n, 0);
}

void modern_probe(struct world *world)
{
    const struct modern *modern = world->modern;
    for (uint32_t n = 0; n < modern->clients_count; n++) {
        const struct modern_client *client = &modern->clients[n];
        for (uint32_t seat = 0; seat < world->config.nodes; seat++) {
            if (client->session == WORLD_NOBODY || !world_runs(world, seat))
                continue;
            uint64_t delay_us = n * 5000 + seat * 200;
            client_ask_of(world, client->session, ASK_M_DISCOVER, seat, delay_us, WORLD_NOBODY);
            if (client->state_of != WORLD_NOBODY)
                client_ask_of(world, client->session, ASK_M_GO_ON, seat, delay_us,
                              client->state_of);
            if (client->task_of != WORLD_NOBODY)
                client_ask_of(world, client->session, ASK_M_TASK, seat, delay_us, client->task_of);
        }
    }
}

void modern_end(struct world *world)
{
    for (uint32_t n = 0; n < world->clients->requests_count; n++)
        if (world->clients->requests[n]->ask == ASK_M_LISTEN)
            client_vanish(world, n);
}

/* ---- servers -------------------------------------------------------------------------------- */

static bool is_of_this_server(const struct world *world, const struct request *request,
                              uint32_t seat)
{
    const struct request *of = world->clients->requests[request->of];
    return of->made_seat == seat && of->made_server == world->upstreams->server[seat];
}

static void modern_make(struct world *world, struct request *request, uint32_t seat, char kind)
{
    uint32_t server = world->upstreams->server[seat];
    /* text that some writer would write otherwise: it must not be written anew */
    snprintf(request->made, sizeof request->made,
             kind == 's' ? "\"s.\\/\\u00e9\\\"%u-%u\"" : "\"t-%u-%u\"", server, request->n);
    request->made_server = server;
    request->made_seat = seat;
}

bool modern_result(struct world *world, const struct ucall *call, char *text, size_t room)
{
    struct request *request = world->clients->requests[call->request];
    uint32_t seat = world->upstreams->ups[call->upstream].seat;
    bool goes_on =
        request->ask == ASK_M_GO_ON && request->n % 3 == 0 && !world->upstreams->is_scripted;
    snprintf(text, room, "\"resultType\":\"complete\",\"content\":[]");
    if (request->of != WORLD_NOBODY && !is_of_this_server(world, request, seat)) {
        snprintf(text, room, "\"code\":-32602,\"message\":\"it is of another server\"");
        return false;
    }
    if (request->ask == ASK_M_BEGIN || goes_on) {
        modern_make(world, request, seat, 's');
        snprintf(text, room, "\"resultType\":\"input_required\",\"requestState\":%s",
                 request->made);
    } else if (request->ask == ASK_M_MAKE) {
        modern_make(world, request, seat, 't');
        snprintf(text, room, "\"resultType\":\"task\",\"status\":\"working\",\"taskId\":%s",
                 request->made);
    } else if (request->ask == ASK_M_TASK) {
        snprintf(text, room, "\"status\":\"working\",\"taskId\":%s",
                 world->clients->requests[request->of]->made);
    }
    return true;
}

/* ---- checks --------------------------------------------------------------------------------- */

/* Nothing was wrong lately, here and at the peer on that seat. */
static bool is_quiet_between(const struct world *world, const struct request *request,
                             uint32_t seat)
{
    return request->was_quiet && world->seats[request->seat].disturbed_us <= world->quiet_us &&
           world->seats[seat].disturbed_us <= world->quiet_us && !world->seats[seat].leaving;
}

/* The server that gave what this request carries still knows it, and its peer is there. */
static bool giver_lives(const struct world *world, const struct request *request)
{
    const struct request *of = world->clients->requests[request->of];
    return world->upstreams->server[of->made_seat] == of->made_server &&
           world_runs(world, of->made_seat);
}

static void check_handle(struct world *world, const struct request *request, uint32_t seat)
{
    struct modern *modern = world->modern;
    uint32_t *last = &modern->handle_seats[request->handle_number % MODERN_HANDLES];
    if (!is_quiet_between(world, request, seat))
        return;
    if (*last != WORLD_NOBODY && *last != seat)
        check_fail(world, "A1", "handle %u is served at p%u and at p%u", request->handle_number,
                   *last, seat);
    modern->handles += *last == seat;
    *last = seat;
}

void modern_check_execution(struct world *world, struct request *request, const struct upstream *up,
                            const struct ucall *call)
{
    struct modern *modern = world->modern;
    modern->requests++;
    request->lost_us = 0;
    if (request->ask == ASK_M_CALL)
        check_handle(world, request, up->seat);
    if (request->of == WORLD_NOBODY)
        return;
    const struct request *of = world->clients->requests[request->of];
    if (strcmp(call->carried, of->made) != 0)
        check_fail(world, "A1", "#%u carries %s to its server, and #%u was given %s", request->n,
                   call->carried, of->n, of->made);
    if (is_of_this_server(world, request, up->seat)) {
        modern->states += request->ask == ASK_M_GO_ON;
        modern->tasks += request->ask == ASK_M_TASK;
    } else if (giver_lives(world, request) && is_quiet_between(world, request, of->made_seat)) {
        check_fail(world, "A1", "#%u (%s) runs at p%u, and what it carries is of p%u", request->n,
                   ask_name(request->ask), up->seat, of->made_seat);
    }
}

void modern_check_end(struct world *world, const struct request *request)
{
    bool well = request->why == MESH_OK && request->status == 200 && request->has_answer;
    bool is_lost = request->of != WORLD_NOBODY && !giver_lives(world, request);
    if (request->ask == ASK_M_LISTEN && request->why == MESH_OK)
        check_fail(world, "E1", "#%u: a held stream ends as if all were well", request->n);
    if (request->ask == ASK_M_LISTEN || !is_quiet_between(world, request, request->seat))
        return;
    if (!well || (request->is_error && !is_lost))
        check_fail(world, "L1", "calm, and #%u (%s) ends with %d '%s'%s", request->n,
                   ask_name(request->ask), request->status, reason_name(request->why),
                   request->is_error ? ", an error" : "");
}

static const struct ucall *call_of(const struct world *world, uint32_t request)
{
    const struct upstreams *ups = world->upstreams;
    for (uint32_t n = ups->calls_count; n-- > 0;)
        if (ups->calls[n].request == request && ups->calls[n].state != UCALL_OVER)
            return &ups->calls[n];
    return NULL;
}

void modern_check_left(struct world *world, const struct world_event *event)
{
    const struct request *request = world->clients->requests[event->a];
    const struct ucall *call = call_of(world, event->a);
    const struct seat *entry = &world->seats[request->seat];
    bool has_died = entry->mesh == NULL || entry->life != request->life;
    uint64_t since_us = request->left_us, bound_us = CANCEL_US;
    if (call == NULL) {
        world->modern->cancels++;
        return;
    }
    const struct seat *owner = &world->seats[world->upstreams->ups[call->upstream].seat];
    if (entry->disturbed_us > since_us)
        since_us = entry->disturbed_us;
    if (owner->disturbed_us > since_us)
        since_us = owner->disturbed_us;
    if (!request->was_quiet || since_us > request->left_us)
        bound_us = CANCEL_CHAOS_US;
    if (has_died)
        bound_us = CANCEL_DEATH_US;
    if (world->now_us > since_us + bound_us)
        check_fail(world, "A2",
                   "the client of #%u (%s) left p%u %" PRIu64
                   " ms ago, and p%u's server still works for it",
                   request->n, ask_name(request->ask), request->seat,
                   (world->now_us - request->left_us) / WORLD_MS, owner->index);
    else
        world_at(world, since_us + bound_us + 1, CHECK_LEFT, WORLD_NOBODY, event->a, 0);
}
