/* sse.c - clients of HTTP+SSE in the made-up world. */
#include "sim/sse.h"

#include <inttypes.h>
#include <stdlib.h>

#include "sim/check.h"

#define RATE_GAP_US 600000u /* mean between a client's requests */
#define OPEN_MAX 6u
#define ANSWER_US (15u * WORLD_SECOND)    /* H1: 10 s, and 5 s to notice a loss */
#define END_US (2u * WORLD_SECOND)        /* H2, in quiet */
#define END_CHAOS_US (22u * WORLD_SECOND) /* the link was lost: 15 s, and time to notice it */
#define END_DEATH_US (60u * WORLD_SECOND) /* the peer of the client died: told by membership */

int sse_new(struct world *world)
{
    struct sse *sse = sim_zero(sizeof *sse);
    world->sse = sse;
    chance_init(&sse->chance, world->config.seed, 10);
    if (!world->config.load || world->config.legacy_only)
        return 0;
    sse->clients_count = chance_below(&sse->chance, world->load_nodes / 2 + 2);
    sse->clients = sim_zero((sse->clients_count + 1) * sizeof *sse->clients);
    for (uint32_t n = 0; n < sse->clients_count; n++) {
        struct sse_client *client = &sse->clients[n];
        client->session = client->stream = WORLD_NOBODY;
        client->gap_us = chance_log(&sse->chance, RATE_GAP_US / 4, RATE_GAP_US * 3);
        client->lifetime = (uint32_t)chance_log(&sse->chance, 3, 100);
        client->is_slow = chance_below(&sse->chance, 6) == 0;
        uint64_t at_us = 500 * WORLD_MS + chance_below(&sse->chance, 3 * WORLD_SECOND);
        world_at(world, at_us, CLIENT_SSE, WORLD_NOBODY, n, 0);
    }
    return 0;
}

void sse_free(struct world *world)
{
    if (world->sse == NULL)
        return;
    free(world->sse->clients);
    free(world->sse);
    world->sse = NULL;
}

static struct request *request_at(const struct world *world, uint32_t number)
{
    return number == WORLD_NOBODY ? NULL : world->clients->requests[number];
}

static struct sse_client *client_of(const struct world *world, uint32_t session)
{
    struct sse *sse = world->sse;
    for (uint32_t n = 0; n < sse->clients_count; n++)
        if (sse->clients[n].session == session)
            return &sse->clients[n];
    return NULL;
}

/* The GET of a session. */
static const struct request *stream_of(const struct world *world, uint32_t session)
{
    return request_at(world, world->clients->sessions[session]->stream);
}

/* ---- what a client does ---------------------------------------------------------------------- */

static uint32_t seat_any(struct world *world)
{
    for (uint32_t tries = 0; tries < 12; tries++) {
        uint32_t seat = chance_below(&world->sse->chance, world->seats_count);
        const struct seat *peer = &world->seats[seat];
        if (world_serves(world, seat) &&
            (tries > 8 || (mesh_is_joined(peer->mesh) && peer->served && !peer->leaving)))
            return seat;
    }
    return WORLD_NOBODY;
}

static void sse_say(struct world *world, uint32_t session, enum ask ask, uint64_t delay_us)
{
    uint32_t seat = seat_any(world);
    if (seat != WORLD_NOBODY)
        client_ask(world, session, ask, seat, delay_us);
}

/* A stream that breaks is opened anew, by half of its clients without initialize. */
static void stream_open(struct world *world, struct sse_client *client)
{
    struct sse *sse = world->sse;
    uint32_t seat = seat_any(world);
    bool goes_on = client->knows_session && chance_below(&sse->chance, 2) == 0;
    if (seat == WORLD_NOBODY)
        return;
    client->knows_session = false;
    client->session = client_session(world);
    world->clients->sessions[client->session]->is_single = true;
    client->stream =
        client_ask(world, client->session, goes_on ? ASK_S_AGAIN : ASK_S_STREAM, seat, 100);
    world->clients->sessions[client->session]->stream = client->stream;
    sse->streams++;
    sse->again += goes_on;
}

static void sse_act(struct world *world, struct sse_client *client)
{
    const struct session *session = world->clients->sessions[client->session];
    uint32_t drawn = chance_below(&world->sse->chance, 100);
    if (session->asked >= client->lifetime || drawn >= 98)
        client_vanish(world, client->stream);
    else if (session->open > OPEN_MAX)
        return;
    else if (drawn < 60)
        sse_say(world, client->session, ASK_S_CALL, 0);
    else
        sse_say(world, client->session, ASK_S_READ, 0);
}

void sse_event(struct world *world, const struct world_event *event)
{
    struct sse_client *client = &world->sse->clients[event->a];
    const struct request *stream = request_at(world, client->stream);
    if (world->clients->quiet)
        return;
    if (stream == NULL || stream->state > REQUEST_OPEN)
        stream_open(world, client);
    else if (client->knows_session)
        sse_act(world, client);
    uint64_t gap_us = chance_spread(&world->sse->chance, client->gap_us);
    world_at(world, world->now_us + 1000 + gap_us, CLIENT_SSE, WORLD_NOBODY, event->a, 0);
}

void sse_begins(struct world *world, struct request *request)
{
    struct sse_client *client = client_of(world, request->session);
    if (client == NULL || world->clients->quiet)
        return;
    if (request->ask == ASK_S_STREAM)
        sse_say(world, request->session, ASK_S_INITIALIZE, 200);
    else
        client->knows_session = true; /* as it believes */
}

/* Its initialize was answered. */
static void sse_is_known(struct world *world, const struct request *request)
{
    struct sse_client *client = client_of(world, request->session);
    if (client == NULL || request->is_error)
        return;
    client->knows_session = true;
    sse_say(world, request->session, ASK_S_INITIALIZED, 100);
}

void sse_probe(struct world *world)
{
    const struct sse *sse = world->sse;
    for (uint32_t n = 0; n < sse->clients_count; n++) {
        const struct sse_client *client = &sse->clients[n];
        const struct request *stream = request_at(world, client->stream);
        if (stream == NULL || stream->state != REQUEST_OPEN || !client->knows_session)
            continue;
        for (uint32_t seat = 0; seat < world->config.nodes; seat++)
            if (world_runs(world, seat))
                client_ask(world, client->session, ASK_S_READ, seat, n * 5000 + seat * 200);
    }
}

void sse_end(struct world *world)
{
    for (uint32_t n = 0; n < world->clients->requests_count; n++)
        if (ask_is_stream(world->clients->requests[n]->ask))
            client_vanish(world, n);
}

bool sse_is_slow(const struct world *world, const struct request *request)
{
    const struct sse_client *client =
        ask_is_stream(request->ask) ? client_of(world, request->session) : NULL;
    return client != NULL && client->is_slow;
}

/* ---- what comes on a stream ------------------------------------------------------------------ */

/* The request of the session that this id answers; NULL: none. */
static struct request *asked_with(const struct world *world, uint32_t session, struct slice id)
{
    const struct clients *clients = world->clients;
    uint64_t hash = rpc_id_hash(clients->id_key, id);
    for (uint32_t n = clients->requests_count; n-- > 0;) {
        struct request *request = clients->requests[n];
        if (request->session == session && request->id[0] != 0 && request->id_hash == hash &&
            !ask_is_stream(request->ask))
            return request;
        if (n == clients->sessions[session]->stream)
            break;
    }
    return NULL;
}

/* A session's notifications are counted: on its one stream none is missing, but where that was
 * said. */
static void note_check(struct world *world, struct request *stream, uint32_t note, uint32_t up)
{
    if (stream->last_note > 0 && up > stream->last_up)
        stream->last_note = 0; /* a fresh server counts anew */
    if (!stream->is_excused && (note != stream->last_note + 1 || up < stream->last_up))
        check_fail(world, "S1",
                   "#%u gets notification %u of upstream %u after %u on its one stream", stream->n,
                   note, up, stream->last_note);
    stream->is_excused = false;
    stream->last_note = note;
    stream->last_up = up;
}

static void message_came(struct world *world, struct request *stream, struct slice text)
{
    struct rpc_message rpc;
    if (check_gap_told(world, stream, text))
        return;
    rpc_read(&rpc, NULL, text.at, text.length);
    bool answers = rpc.kind == RPC_RESPONSE || rpc.kind == RPC_ERROR;
    uint32_t note = text_number(text, "k"), token = text_number(text, "progressToken");
    struct request *behind = stream;
    if (answers)
        behind = asked_with(world, stream->session, slice_part(text, rpc.id));
    else if (token < world->clients->requests_count)
        behind = world->clients->requests[token];
    if (behind == NULL || behind->session != stream->session) {
        check_fail(world, "E3", "#%u gets what belongs to no request of its session: %.*s",
                   stream->n, (int)text.length, (const char *)text.at);
        return;
    }
    if (note != WORLD_NOBODY) {
        note_check(world, stream, note, text_number(text, "u"));
        return;
    }
    check_message(world, behind, stream, text, &rpc, answers);
    world->sse->answers += answers;
    if (answers && behind->ask == ASK_S_INITIALIZE && !world->clients->quiet)
        sse_is_known(world, behind);
    if (rpc.kind == RPC_REQUEST)
        client_question(world, stream->session, text, &rpc);
}

void sse_came(struct world *world, struct request *stream, struct slice text,
              const struct mesh_effect *effect)
{
    if (!event_id_is_none(&effect->event.id) || !ask_is_stream(stream->ask))
        check_fail(world, "X2", "#%u (%s) gets an event with an id, or on a POST", stream->n,
                   ask_name(stream->ask));
    if (effect->event.why == MESH_OK) {
        message_came(world, stream, text);
        return;
    }
    struct request *behind = asked_with(world, stream->session, text);
    world->sse->failures++;
    if (behind == NULL)
        check_fail(world, "E3", "#%u is told '%s' of %.*s, which nobody asked", stream->n,
                   reason_name(effect->event.why), (int)text.length, (const char *)text.at);
    else
        check_failure(world, behind, text, effect->event.why);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static bool is_accepted(const struct request *request)
{
    return ask_is_sse(request->ask) && !ask_is_stream(request->ask) && request->id[0] != 0 &&
           request->state == REQUEST_ENDED && request->why == MESH_OK && request->status / 100 == 2;
}

/* Nothing has been wrong at that seat for a while. */
static bool is_calm_at(const struct world *world, uint32_t seat)
{
    return world->seats[seat].disturbed_us + 20 * WORLD_SECOND < world->now_us;
}

/* The stream was ended by its owner: whoever was accepted has an outcome by now. */
static void outcomes_check(struct world *world, const struct request *stream)
{
    const struct clients *clients = world->clients;
    const struct session *session = clients->sessions[stream->session];
    if (session->owner == WORLD_NOBODY || !world_life_runs(world, session->owner))
        return;
    uint32_t owner = world->lives[session->owner].seat;
    if (!is_calm_at(world, owner) || !is_calm_at(world, stream->seat) ||
        world->seats[owner].leaving || world->seats[stream->seat].leaving)
        return;
    for (uint32_t n = stream->n + 1; n < clients->requests_count; n++) {
        const struct request *request = clients->requests[n];
        if (request->session == stream->session && is_accepted(request) && !request->has_answer &&
            !request->is_forgotten)
            check_fail(world, "H1", "#%u ends with '%s', and #%u has no outcome", stream->n,
                       reason_name(stream->why), request->n);
    }
}

static bool tenure_at(const struct world *world, uint32_t seat, const struct session *session,
                      struct mesh_tenure *tenure)
{
    return seat != WORLD_NOBODY && session->has_id && world_serves(world, seat) &&
           mesh_tenure_of(world->seats[seat].mesh, session->id, MESH_SESSION_TEXT, tenure);
}

static void accepted_note(struct world *world, struct request *request)
{
    const struct session *session = world->clients->sessions[request->session];
    struct mesh_tenure tenure;
    struct records records;
    records_of(world, session, &records);
    if (!tenure_at(world, records.owner, session, &tenure))
        return;
    request->accepted = tenure.epoch;
    request->accepted_version = tenure.version;
}

/* The newest that another peer has of that epoch. */
static uint64_t version_but_at(const struct world *world, const struct seat *but,
                               const struct session *session, struct mesh_epoch epoch)
{
    uint64_t newest = 0;
    struct mesh_tenure tenure;
    for (uint32_t n = 0; n < world->seats_count; n++)
        if (n != but->index && tenure_at(world, n, session, &tenure) &&
            mesh_epoch_compare(tenure.epoch, epoch) == 0 && tenure.version > newest)
            newest = tenure.version;
    return newest;
}

void sse_died(struct world *world, const struct seat *seat)
{
    struct clients *clients = world->clients;
    struct mesh_tenure tenure;
    for (uint32_t n = 0; n < clients->requests_count; n++) {
        struct request *request = clients->requests[n];
        const struct session *session = clients->sessions[request->session];
        if (!is_accepted(request) || request->has_answer || session->delete_us != 0 ||
            !tenure_at(world, seat->index, session, &tenure) || tenure.is_copy ||
            mesh_epoch_compare(tenure.epoch, request->accepted) != 0)
            continue;
        request->is_forgotten =
            request->accepted_version > version_but_at(world, seat, session, request->accepted);
    }
}

void sse_over(struct world *world, struct request *request, enum request_state state)
{
    struct session *session = world->clients->sessions[request->session];
    bool is_stream = ask_is_stream(request->ask);
    if (is_stream)
        session->delete_us = world->now_us + 1; /* the session goes with it */
    if (is_stream && state == REQUEST_ENDED && request->why == MESH_SESSION_ENDED)
        outcomes_check(world, request);
    if (is_stream && session->has_id) {
        request->left_us = world->now_us;
        world_at(world, world->now_us + END_US, CHECK_SSE, WORLD_NOBODY, request->n, 0);
    } else if (is_accepted(request)) {
        accepted_note(world, request);
        world_at(world, world->now_us + ANSWER_US, CHECK_SSE, WORLD_NOBODY, request->n, 0);
    }
}

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t disturbed_us(const struct world *world, const struct request *stream)
{
    const struct session *session = world->clients->sessions[stream->session];
    uint64_t at_us = world->seats[stream->seat].disturbed_us;
    if (session->owner != WORLD_NOBODY)
        at_us = later(at_us, world->seats[world->lives[session->owner].seat].disturbed_us);
    return at_us;
}

/* Its server works on it yet: one that ends its streams early takes its time again each time. */
static bool is_at_work(const struct world *world, uint32_t request)
{
    const struct upstreams *ups = world->upstreams;
    for (uint32_t n = ups->calls_count; n-- > 0;)
        if (ups->calls[n].request == request && ups->calls[n].state != UCALL_OVER)
            return true;
    return false;
}

/* H1 */
static void answer_check(struct world *world, const struct request *request)
{
    const struct request *stream = stream_of(world, request->session);
    if (request->has_answer || request->is_forgotten || stream->state != REQUEST_OPEN)
        return;
    uint64_t excuse_us = later(request->ended_us, disturbed_us(world, stream));
    excuse_us = later(excuse_us, later(request->lost_us, request->answers_at_us));
    excuse_us = later(excuse_us, stream->answers_at_us); /* our own handshake comes before */
    if (sse_is_slow(world, stream))
        excuse_us += 2 * ANSWER_US;
    if (is_at_work(world, request->n))
        excuse_us = later(excuse_us, world->now_us);
    if (world->now_us <= excuse_us + ANSWER_US) {
        world_at(world, excuse_us + ANSWER_US + 1, CHECK_SSE, WORLD_NOBODY, request->n, 0);
        return;
    }
    check_fail(world, "H1",
               "#%u (%s) was accepted %" PRIu64 " ms ago, and its stream #%u has no answer to it",
               request->n, ask_name(request->ask), (world->now_us - request->ended_us) / WORLD_MS,
               stream->n);
}

/* H2 */
static void end_check(struct world *world, const struct request *stream)
{
    const struct seat *entry = &world->seats[stream->seat];
    bool has_died = entry->mesh == NULL || entry->life != stream->life;
    uint64_t since_us = later(stream->left_us, disturbed_us(world, stream));
    bool is_quiet = stream->was_quiet && since_us == stream->left_us;
    uint64_t bound_us = has_died ? END_DEATH_US : is_quiet ? END_US : END_CHAOS_US;
    if (upstream_of(world, stream->session) == WORLD_NOBODY) {
        world->sse->ended++;
    } else if (world->now_us > since_us + bound_us) {
        check_fail(world, "H2",
                   "the stream #%u of session %u is over for %" PRIu64 " ms, and the session lives",
                   stream->n, stream->session, (world->now_us - stream->left_us) / WORLD_MS);
    } else {
        world_at(world, since_us + bound_us + 1, CHECK_SSE, WORLD_NOBODY, stream->n, 0);
    }
}

void sse_check(struct world *world, const struct world_event *event)
{
    const struct request *request = world->clients->requests[event->a];
    if (ask_is_stream(request->ask))
        end_check(world, request);
    else
        answer_check(world, request);
}
