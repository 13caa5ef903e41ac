/* upstream.c - simulated MCP servers: they are opened and die, read what the core sends, hold GET
 * streams. What the core makes of it is judged in check.c. */
#include "sim/upstream.h"

#include <stdlib.h>

#include "sim/check.h"
#include "sim/client.h"
#include "sim/sse.h"
#include "sim/ucall.h"

#define REFUSED_US                                                                                 \
    WORLD_SECOND /* .. 2 s: its host asks it every second, and believes it the second time */
#define FOUND_US (WORLD_SECOND / 10) /* .. 1.1 s */

int upstreams_new(struct world *world)
{
    struct upstreams *ups = sim_zero(sizeof *ups);
    world->upstreams = ups;
    chance_init(&ups->chance, world->config.seed, 4);
    chance_init(&ups->poll_chance, world->config.seed, 9);
    ups->is_scripted = world->config.steady;
    ups->script_us = 5 * WORLD_MS;
    ups->tools = sim_zero(sizeof *ups->tools);
    for (uint32_t n = 0; n < world->seats_max; n++)
        ups->server[n] = ++ups->servers;
    return 0;
}

void upstreams_free(struct world *world)
{
    struct upstreams *ups = world->upstreams;
    if (ups == NULL)
        return;
    free(ups->tools);
    free(ups->ups);
    free(ups->calls);
    free(ups);
    world->upstreams = NULL;
}

uint32_t upstream_beside(const struct world *world, uint32_t session, const bool *who)
{
    const struct upstreams *ups = world->upstreams;
    for (uint32_t n = ups->ups_count; n-- > 0;)
        if (ups->ups[n].session == session && upstream_lives(&ups->ups[n]) && !ups->ups[n].lost &&
            (who == NULL || who[ups->ups[n].seat]))
            return n;
    return WORLD_NOBODY;
}

uint32_t upstream_of(const struct world *world, uint32_t session)
{
    return upstream_beside(world, session, NULL);
}

/* ---- what the core wishes -------------------------------------------------------------------
 */

static void up_open(struct world *world, struct seat *seat, const struct mesh_effect *effect)
{
    struct upstreams *ups = world->upstreams;
    ups->ups = sim_grow(ups->ups, ups->ups_count, &ups->ups_capacity, sizeof *ups->ups);
    uint32_t index = ups->ups_count++;
    ups->ups[index] =
        (struct upstream){.seat = seat->index,
                          .life = seat->life,
                          .handle = effect->handle,
                          .session = WORLD_NOBODY,
                          .opened_us = world->now_us,
                          .shaken = {.initialize = WORLD_NOBODY, .level = WORLD_NOBODY}};
    if (!slots_put(&seat->ups, effect->handle, index))
        check_fail(world, "X1", "p%u: upstream %u.%u is given out twice", seat->index,
                   effect->handle.slot, effect->handle.generation);
    uint64_t start_us = upstream_is_http(world) ? 5 : ups->is_scripted ? WORLD_MS : 0;
    if (start_us == 0)
        start_us = chance_log(&ups->chance, WORLD_MS, 300 * WORLD_MS);
    world_at(world, world->now_us + start_us, UPSTREAM_READY, seat->index, index, 0);
}

/* The client's answer to a question: whoever asked goes on. */
static void question_answered(struct world *world, uint32_t upstream, struct slice text,
                              const struct rpc_message *rpc)
{
    struct upstreams *ups = world->upstreams;
    struct slice id = slice_part(text, rpc->id);
    char digits[24] = {0};
    memcpy(digits, id.at, id.length < sizeof digits - 1 ? id.length : sizeof digits - 1);
    uint32_t question = (uint32_t)strtoul(digits, NULL, 10);
    uint32_t session = text_number(text, "s");
    if (text_number(text, "qu") != upstream || text_number(text, "qq") != question)
        check_fail(world, "E3",
                   "upstream %u gets an answer to question %u of upstream %u for its own %u",
                   upstream, text_number(text, "qq"), text_number(text, "qu"), question);
    if (session != ups->ups[upstream].session)
        check_fail(world, "E3", "an answer of session %u reached the upstream of session %u",
                   session, ups->ups[upstream].session);
    for (uint32_t n = 0; n < ups->calls_count; n++) {
        struct ucall *call = &ups->calls[n];
        if (call->upstream != upstream || call->state != UCALL_ASKS || call->question != question)
            continue;
        call->state = UCALL_ASKED;
        ups->answered++;
        ucall_step_at(world, n, world->now_us + 200);
    }
}

/* The mesh says again, in its own name, what the session's client said to another server. */
static void own_read(struct world *world, struct ucall *call, const struct rpc_message *rpc,
                     struct slice text)
{
    const struct clients *clients = world->clients;
    const struct request *first =
        call->request < clients->requests_count ? clients->requests[call->request] : NULL;
    call->is_said_again = first == NULL || !ask_is_stream(first->ask);
    if (rpc->kind != RPC_REQUEST || first == NULL || !call->is_said_again)
        return;
    if (rpc_id_hash(clients->id_key, slice_part(text, rpc->id)) == first->id_hash)
        check_fail(world, "T1", "the mesh says #%u again under the id of its client's", first->n);
}

/* `sim://SESSION/NUMBER` */
static void uri_read(struct ucall *call, struct slice text)
{
    static const char scheme[] = "sim://";
    const uint8_t *at = memmem(text.at, text.length, scheme, sizeof scheme - 1);
    char digits[24] = {0};
    char *end = NULL;
    if (at == NULL)
        return;
    at += sizeof scheme - 1;
    size_t left = (size_t)(text.at + text.length - at);
    memcpy(digits, at, left < sizeof digits - 1 ? left : sizeof digits - 1);
    call->session = (uint32_t)strtoul(digits, &end, 10);
    call->uri = *end == '/' ? (uint32_t)strtoul(end + 1, NULL, 10) % 32 : 0;
}

/* Reads what the core sent, as a server would. */
static void ucall_read(struct world *world, struct ucall *call, struct slice text)
{
    struct upstreams *ups = world->upstreams;
    struct upstream *up = &ups->ups[call->upstream];
    struct rpc_message rpc;
    rpc_read(&rpc, NULL, text.at, text.length);
    call->kind = rpc.kind;
    call->method = rpc.method;
    call->request = text_number(text, "n");
    call->session = text_number(text, "s");
    if (rpc.method == RPC_RESOURCES_SUBSCRIBE || rpc.method == RPC_RESOURCES_UNSUBSCRIBE)
        uri_read(call, text);
    if (call->is_own)
        own_read(world, call, &rpc, text);
    else if (call->request == WORLD_NOBODY || call->request >= world->clients->requests_count)
        check_fail(world, "E3", "an upstream of p%u got a text that no client sent: %.*s", up->seat,
                   (int)text.length, (const char *)text.at);
    if (rpc.kind == RPC_REQUEST && rpc.method == RPC_INITIALIZE && up->session == WORLD_NOBODY)
        up->session = call->session;
    tenure_moves(world, call->upstream);
    struct slice id = slice_part(text, rpc.id);
    struct slice token = slice_part(text, rpc.progress_token);
    struct slice carried =
        slice_part(text, rpc.request_state.length > 0 ? rpc.request_state : rpc.task_id);
    size_t length = 0;
    for (size_t n = 0; n < id.length && length < sizeof call->id - 1; n++)
        if (id.at[n] != '\\') /* written anew: "r\/1" is "r/1" */
            call->id[length++] = (char)id.at[n];
    snprintf(call->token, sizeof call->token, "%.*s", (int)token.length,
             token.length > 0 ? (const char *)token.at : "0");
    snprintf(call->carried, sizeof call->carried, "%.*s", (int)carried.length,
             carried.length > 0 ? (const char *)carried.at : "");
    if (rpc.kind == RPC_RESPONSE)
        question_answered(world, call->upstream, text, &rpc);
}

static uint32_t ucall_new(struct world *world, uint32_t upstream, const struct mesh_effect *effect)
{
    struct upstreams *ups = world->upstreams;
    ups->calls = sim_grow(ups->calls, ups->calls_count, &ups->calls_capacity, sizeof *ups->calls);
    uint32_t index = ups->calls_count++;
    ups->calls[index] = (struct ucall){.upstream = upstream,
                                       .call = effect->call,
                                       .want = effect->send.want,
                                       .is_request = effect->send.is_request,
                                       .is_own = effect->send.is_own,
                                       .request = WORLD_NOBODY,
                                       .session = WORLD_NOBODY,
                                       .room = MESH_UP_ROOM_FIRST};
    return index;
}

static void up_send(struct world *world, struct seat *seat, uint32_t upstream,
                    const struct mesh_effect *effect)
{
    char *made = NULL;
    struct slice text = text_patched(effect->send.text, &effect->patch, &made);
    uint32_t index = ucall_new(world, upstream, effect);
    struct ucall *call = &world->upstreams->calls[index];
    world_fold_text(world, text.at, text.length);
    world_say(world, seat, "UP_SEND upstream %u call %u %.*s", upstream, effect->call,
              (int)text.length, text.length > 0 ? (const char *)text.at : "");
    if (text.length > 0)
        ucall_read(world, call, text);
    if (text.length > 0 && call->is_request != (call->kind == RPC_REQUEST))
        check_fail(world, "X2", "UP_SEND says is_request %d of a text of kind %d", call->is_request,
                   call->kind);
    ucall_draw(world, call);
    ucall_step_at(world, index, world->now_us + 20);
    free(made);
}

/* The number behind the letter of an id of ours; NOBODY: it is none. */
static uint32_t mark_number(struct slice text, char kind)
{
    char digits[16] = {0};
    if (text.length < 2 || text.length >= sizeof digits || text.at[0] != (uint8_t)kind)
        return WORLD_NOBODY;
    memcpy(digits, text.at + 1, text.length - 1);
    return (uint32_t)strtoul(digits, NULL, 10);
}

/* The core comes back for the rest of an answer. */
static void up_rest(struct world *world, uint32_t upstream, const struct mesh_effect *effect)
{
    struct upstreams *ups = world->upstreams;
    struct seat *seat = upstream_seat(world, &ups->ups[upstream]);
    uint32_t index = mark_number(effect->send.text, 'm');
    bool is_known = index < ups->calls_count && ups->calls[index].upstream == upstream &&
                    ups->calls[index].state == UCALL_AWAY && !ups->ups[upstream].lost;
    if (!is_known) {
        mesh_up_head(seat->mesh, ups->ups[upstream].handle, effect->call,
                     ups->ups[upstream].lost ? 404 : 400, MESH_FORM_NONE,
                     ups->ups[upstream].lost ? MESH_UP_SESSION_LOST : MESH_UP_SESSION_SAME,
                     (struct slice){0}, world_clock_ms(world, seat));
        mesh_up_end(seat->mesh, ups->ups[upstream].handle, effect->call, MESH_END_WHOLE, MESH_OK,
                    world_clock_ms(world, seat));
        return;
    }
    struct ucall *call = &ups->calls[index];
    call->call = effect->call;
    call->room = MESH_UP_ROOM_FIRST;
    ucall_head(world, call, 200, MESH_FORM_SSE);
    if (call->is_done)
        ucall_step_at(world, index, world->now_us + 50);
}

static void up_listen(struct world *world, uint32_t upstream, const struct mesh_effect *effect)
{
    struct upstreams *ups = world->upstreams;
    uint32_t index = ucall_new(world, upstream, effect);
    ups->calls[index].want = MESH_LISTEN;
    ups->calls[index].is_request = false;
    ups->calls[index].after_note = mark_number(effect->send.text, 'g');
    world_at(world, world->now_us + 50, UPSTREAM_LISTEN, ups->ups[upstream].seat, index, 0);
}

static uint32_t ucall_find(const struct world *world, uint32_t upstream, uint32_t number)
{
    const struct upstreams *ups = world->upstreams;
    for (uint32_t n = ups->calls_count; n-- > 0;)
        if (ups->calls[n].upstream == upstream && ups->calls[n].call == number)
            return n;
    return WORLD_NOBODY;
}

static void up_room(struct world *world, uint32_t upstream, const struct mesh_effect *effect)
{
    uint32_t index = ucall_find(world, upstream, effect->call);
    if (index == WORLD_NOBODY)
        return;
    struct ucall *call = &world->upstreams->calls[index];
    call->room += effect->room;
    if (call->waits_for_room && call->room > 0) {
        call->waits_for_room = false;
        ucall_step_at(world, index, world->now_us + 20);
    }
}

static void up_cancel(struct world *world, uint32_t upstream, const struct mesh_effect *effect)
{
    struct upstreams *ups = world->upstreams;
    uint32_t index = ucall_find(world, upstream, effect->call);
    if (index == WORLD_NOBODY)
        return;
    ups->calls[index].state = UCALL_OVER;
    if (ups->ups[upstream].listen == effect->call)
        ups->ups[upstream].listen = 0;
}

/* Who leaves before the client learned its session's id ends it. */
static void left_note(struct session *session)
{
    session->was_left = session->was_left || !session->has_id;
}

void upstream_effect(struct world *world, struct seat *seat, const struct mesh_effect *effect)
{
    struct upstreams *ups = world->upstreams;
    uint32_t upstream = slots_get(&seat->ups, effect->handle);
    world_fold(world, (uint64_t)effect->handle.slot << 32 | effect->call);
    if (effect->kind == MESH_UP_OPEN) {
        up_open(world, seat, effect);
        return;
    }
    if (upstream == WORLD_NOBODY) {
        check_fail(world, "X1", "p%u: upstream effect %d for a closed handle %u.%u", seat->index,
                   effect->kind, effect->handle.slot, effect->handle.generation);
        return;
    }
    switch ((int)effect->kind) {
    case MESH_UP_SEND:
        up_send(world, seat, upstream, effect);
        break;
    case MESH_UP_LISTEN:
        world_say(world, seat, "UP_LISTEN upstream %u call %u", upstream, effect->call);
        if (effect->send.want == MESH_CALL)
            up_rest(world, upstream, effect);
        else
            up_listen(world, upstream, effect);
        break;
    case MESH_UP_ROOM:
        up_room(world, upstream, effect);
        break;
    case MESH_UP_CANCEL:
        world_say(world, seat, "UP_CANCEL upstream %u call %u", upstream, effect->call);
        up_cancel(world, upstream, effect);
        break;
    case MESH_UP_CLOSE:
        world_say(world, seat, "UP_CLOSE upstream %u", upstream);
        ups->ups[upstream].state = UPSTREAM_CLOSING;
        if (seat->leaving && ups->ups[upstream].session != WORLD_NOBODY)
            left_note(world->clients->sessions[ups->ups[upstream].session]);
        world_at(world, world->now_us + WORLD_MS, UPSTREAM_CLOSED, seat->index, upstream, 0);
        break;
    }
}

/* ---- events ---------------------------------------------------------------------------------
 */

static void note_at(struct world *world, uint32_t index)
{
    struct upstreams *ups = world->upstreams;
    uint64_t gap_us = chance_log(&ups->chance, 300 * WORLD_MS, 8 * WORLD_SECOND);
    if (!ups->is_scripted)
        world_at(world, world->now_us + gap_us, UPSTREAM_NOTE, ups->ups[index].seat, index, 0);
}

static void note_say(struct world *world, uint32_t index, uint32_t call, uint32_t note)
{
    char text[200];
    int length =
        snprintf(text, sizeof text,
                 "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{"
                 "\"level\":\"info\",\"data\":{\"s\":%u,\"k\":%u,\"u\":%u,\"t\":%u}}}",
                 world->upstreams->ups[index].session, note, index, upstream_said_ms(world));
    if (call != MESH_NO_CALL)
        upstream_mark(world, index, call, 'g', note, 0);
    upstream_say(world, index, call, text, (size_t)length);
}

/* What its event store has behind the note that the GET named. */
static void notes_replay(struct world *world, const struct ucall *call)
{
    const struct upstream *up = &world->upstreams->ups[call->upstream];
    if (call->after_note == WORLD_NOBODY)
        return;
    for (uint32_t note = call->after_note + 1; note <= up->notes; note++) {
        world->upstreams->replayed++;
        note_say(world, call->upstream, call->call, note);
    }
}

static void listen_begin(struct world *world, uint32_t index)
{
    struct upstreams *ups = world->upstreams;
    struct ucall *call = &ups->calls[index];
    struct upstream *up = &ups->ups[call->upstream];
    int status = 200;
    if (call->state == UCALL_OVER || !upstream_lives(up))
        return;
    if (up->session != WORLD_NOBODY && up->session % 8 == 7 && !ups->is_scripted)
        status = 405; /* offers no server stream */
    else if (up->listen != 0)
        status = 409; /* "Only one SSE stream is allowed per session" */
    if (up->lost)
        status = 404;
    struct seat *seat = upstream_seat(world, up);
    mesh_up_sent(seat->mesh, up->handle, call->call, world_clock_ms(world, seat));
    ucall_head(world, call, status, status == 200 ? MESH_FORM_SSE : MESH_FORM_NONE);
    call->state = UCALL_WORKS;
    if (status != 200) {
        ucall_end(world, call, MESH_END_WHOLE, MESH_OK);
        return;
    }
    up->listen = call->call;
    if (!up->was_listened)
        upstream_mark(world, call->upstream, call->call, 'g', up->notes, 0);
    up->was_listened = true;
    notes_replay(world, call);
}

void upstream_break(struct world *world, uint32_t index)
{
    uint32_t call = ucall_find(world, index, world->upstreams->ups[index].listen);
    if (call != WORLD_NOBODY)
        ucall_end(world, &world->upstreams->calls[call], MESH_END_WHOLE, MESH_OK);
}

/* Now and then a server's GET stream breaks. */
static void listen_breaks(struct world *world, uint32_t index)
{
    struct upstreams *ups = world->upstreams;
    if (ups->is_scripted || world->calm || !fault_is_on(world->faults, FAULT_UP_HALF) ||
        chance_below(&ups->poll_chance, 12) != 0)
        return;
    upstream_break(world, index);
}

void upstream_notify(struct world *world, uint32_t index)
{
    struct upstream *up = &world->upstreams->ups[index];
    if (!upstream_lives(up) || up->session == WORLD_NOBODY || up->lost ||
        (upstream_is_http(world) && !up->was_listened))
        return;
    world->upstreams->notes++;
    up->notes++;
    if (!upstream_is_http(world)) {
        note_say(world, index, MESH_NO_CALL, up->notes);
        return;
    }
    if (up->listen != 0)
        listen_breaks(world, index);
    if (up->listen != 0)
        note_say(world, index, up->listen, up->notes);
}

static void up_ready(struct world *world, uint32_t index)
{
    struct upstreams *ups = world->upstreams;
    struct upstream *up = &ups->ups[index];
    struct seat *seat = upstream_seat(world, up);
    if (up->state != UPSTREAM_STARTING)
        return;
    if (ups->refuses[up->seat] && !upstream_is_http(world)) {
        world->faults->hits[FAULT_UP_REFUSES]++;
        upstream_closed(world, index, MESH_UPSTREAM_DOWN);
        return;
    }
    up->state = UPSTREAM_LIVES;
    mesh_up_ready(seat->mesh, up->handle, world_clock_ms(world, seat));
    note_at(world, index);
}

void upstream_event(struct world *world, const struct world_event *event)
{
    struct upstreams *ups = world->upstreams;
    switch ((int)event->kind) {
    case UPSTREAM_READY:
        up_ready(world, event->a);
        break;
    case UPSTREAM_STEP:
        if (upstream_lives(&ups->ups[ups->calls[event->a].upstream]))
            ucall_step(world, event->a);
        break;
    case UPSTREAM_LISTEN:
        listen_begin(world, event->a);
        break;
    case UPSTREAM_NOTE:
        if (!upstream_lives(&ups->ups[event->a]) || world->clients->quiet)
            return;
        upstream_notify(world, event->a);
        note_at(world, event->a);
        break;
    case UPSTREAM_CLOSED:
        upstream_closed(world, event->a, MESH_OK);
        break;
    }
    world_turn(world, &world->seats[event->seat]);
}

/* ---- deaths ---------------------------------------------------------------------------------
 */

void upstreams_died(struct world *world, struct seat *seat)
{
    struct upstreams *ups = world->upstreams;
    ups->server[seat->index] = ++ups->servers;
    for (uint32_t n = 0; n < ups->ups_count; n++)
        if (ups->ups[n].seat == seat->index && ups->ups[n].life == seat->life)
            ups->ups[n].state = UPSTREAM_GONE;
    for (uint32_t n = 0; n < ups->calls_count; n++) {
        struct ucall *call = &ups->calls[n];
        if (call->state == UCALL_OVER || ups->ups[call->upstream].state != UPSTREAM_GONE)
            continue;
        struct request *request = ucall_request(world, call);
        call->state = UCALL_OVER;
        if (request != NULL)
            request->lost_us = world->now_us;
    }
}

uint32_t upstreams_kill(struct world *world, struct seat *seat)
{
    struct upstreams *ups = world->upstreams;
    uint32_t count = 0;
    ups->server[seat->index] = ++ups->servers;
    for (uint32_t n = 0; n < ups->ups_count; n++) {
        struct upstream *up = &ups->ups[n];
        if (up->seat != seat->index || up->life != seat->life || !upstream_lives(up))
            continue;
        count++;
        if (!upstream_is_http(world)) {
            upstream_closed(world, n, MESH_UPSTREAM_LOST);
            continue;
        }
        up->lost = true;
        if (up->session != WORLD_NOBODY)
            world->clients->sessions[up->session]->upstream_lost = true;
        for (uint32_t c = 0; c < ups->calls_count; c++)
            if (ups->calls[c].upstream == n && ups->calls[c].state != UCALL_OVER)
                ucall_end(world, &ups->calls[c], MESH_END_CUT,
                          ups->calls[c].state == UCALL_TAKEN ? MESH_UPSTREAM_DOWN
                                                             : MESH_UPSTREAM_LOST);
    }
    return count;
}

void upstreams_refuse(struct world *world, uint32_t seat, bool refuses)
{
    uint64_t wait_us = refuses ? REFUSED_US : FOUND_US;
    struct shuffle chance;
    chance_key(&chance, world->config.seed, (UINT64_C(1) << 41) + world->now_us);
    if (!world->upstreams->is_scripted)
        wait_us += chance_below(&chance, WORLD_SECOND);
    world->upstreams->refuses[seat] = refuses;
    world_at(world, world->now_us + wait_us, EVENT_SERVING, seat, 2, 0);
}
