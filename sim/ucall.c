/* ucall.c - what a simulated MCP server makes of a call: drawn when it comes, done step by step. */
#include "sim/ucall.h"

#include <stdlib.h>

#include "sim/check.h"
#include "sim/client.h"
#include "sim/modern.h"

#define SUBSCRIPTION_GAP_US (2u * WORLD_SECOND)
#define QUESTION_WAIT_US (3u * WORLD_SECOND) /* then it answers without the client's word */

struct request *ucall_request(struct world *world, const struct ucall *call)
{
    struct clients *clients = world->clients;
    return call->request < clients->requests_count ? clients->requests[call->request] : NULL;
}

/* The session that its messages speak of: that of its upstream, or what the request named. */
static uint32_t ucall_session(const struct world *world, const struct ucall *call)
{
    uint32_t session = world->upstreams->ups[call->upstream].session;
    return session == WORLD_NOBODY ? call->session : session;
}

static bool ucall_is_modern(struct world *world, const struct ucall *call)
{
    const struct request *request = ucall_request(world, call);
    return request != NULL && ask_is_modern(request->ask);
}

static bool ucall_listens(struct world *world, const struct ucall *call)
{
    const struct request *request = ucall_request(world, call);
    return request != NULL && request->ask == ASK_M_LISTEN;
}

/* ---- facts for the core --------------------------------------------------------------------- */

void upstream_say(struct world *world, uint32_t index, uint32_t call, const char *text,
                  size_t length)
{
    struct upstreams *ups = world->upstreams;
    const struct upstream *up = &ups->ups[index];
    struct seat *seat = upstream_seat(world, up);
    struct rpc_message rpc;
    struct bytes *buf = bytes_copy(NULL, text, length);
    if (buf == NULL)
        abort();
    rpc_read(&rpc, ups->tools, buf->data, length);
    tenure_moves(world, index);
    world_say(world, seat, "  upstream %u says on call %u: %.*s", index, call,
              (int)(length > 300 ? 300 : length), text);
    (void)mesh_up_message(seat->mesh, up->handle, call, &rpc,
                          ups->tools->count > 0 ? ups->tools : NULL, slice_of(buf, 0, length),
                          world_clock_ms(world, seat));
    bytes_unref(buf);
}

static void ucall_say(struct world *world, struct ucall *call, const char *text, size_t length)
{
    bool http = upstream_is_http(world);
    call->room = length > call->room ? 0 : call->room - length;
    upstream_say(world, call->upstream, http ? call->call : MESH_NO_CALL, text, length);
}

void ucall_head(struct world *world, struct ucall *call, int status, enum mesh_form form)
{
    const struct upstream *up = &world->upstreams->ups[call->upstream];
    struct seat *seat = upstream_seat(world, up);
    enum mesh_up_session session = MESH_UP_SESSION_SAME;
    if (call->head_sent || !upstream_is_http(world))
        return;
    if (up->lost)
        session = MESH_UP_SESSION_LOST;
    else if (call->method == RPC_INITIALIZE)
        session = MESH_UP_SESSION_MADE;
    call->head_sent = true;
    mesh_up_head(seat->mesh, up->handle, call->call, status, form, session,
                 slice_text("X-Sim: 1\r\n"), world_clock_ms(world, seat));
}

void ucall_end(struct world *world, struct ucall *call, enum mesh_end end, enum mesh_reason why)
{
    struct upstream *up = &world->upstreams->ups[call->upstream];
    struct seat *seat = upstream_seat(world, up);
    struct request *request = ucall_request(world, call);
    if (call->state == UCALL_OVER)
        return;
    call->state = UCALL_OVER;
    if (up->listen == call->call && call->want == MESH_LISTEN)
        up->listen = 0;
    if (why != MESH_OK && request != NULL)
        request->lost_us = world->now_us;
    if (upstream_is_http(world))
        mesh_up_end(seat->mesh, up->handle, call->call, end, why, world_clock_ms(world, seat));
}

void upstream_closed(struct world *world, uint32_t index, enum mesh_reason why)
{
    struct upstreams *ups = world->upstreams;
    struct upstream *up = &ups->ups[index];
    struct seat *seat = upstream_seat(world, up);
    if (up->state == UPSTREAM_GONE)
        return;
    for (uint32_t n = 0; n < ups->calls_count; n++)
        if (ups->calls[n].upstream == index && ups->calls[n].state != UCALL_OVER) {
            struct request *request = ucall_request(world, &ups->calls[n]);
            ups->calls[n].state = UCALL_OVER;
            if (request != NULL)
                request->lost_us = world->now_us;
        }
    if (why != MESH_OK && up->session != WORLD_NOBODY)
        world->clients->sessions[up->session]->upstream_lost = true;
    up->state = UPSTREAM_GONE;
    slots_drop(&seat->ups, up->handle);
    world_say(world, seat, "upstream %u closed (%s)", index, reason_name(why));
    mesh_up_closed(seat->mesh, up->handle, why, world_clock_ms(world, seat));
}

/* ---- a call's plan -------------------------------------------------------------------------- */

void ucall_step_at(struct world *world, uint32_t index, uint64_t at_us)
{
    const struct ucall *call = &world->upstreams->calls[index];
    world_at(world, at_us, UPSTREAM_STEP, world->upstreams->ups[call->upstream].seat, index, 0);
}

static uint64_t latency_draw(struct world *world, uint32_t seat)
{
    struct upstreams *ups = world->upstreams;
    uint32_t drawn = chance_below(&ups->chance, 100);
    if (ups->is_scripted)
        return ups->script_us;
    if (ups->slow[seat]) {
        world->faults->hits[FAULT_UP_SLOW]++;
        return chance_log(&ups->chance, 500 * WORLD_MS, 10 * WORLD_SECOND);
    }
    if (drawn < 90)
        return chance_log(&ups->chance, 200, 50 * WORLD_MS);
    if (drawn < 99 || world->calm)
        return chance_log(&ups->chance, 50 * WORLD_MS, 2 * WORLD_SECOND);
    return chance_log(&ups->chance, 2 * WORLD_SECOND, 15 * WORLD_SECOND);
}

static enum ucall_fate fate_draw(struct world *world, const struct ucall *call, uint32_t seat)
{
    struct upstreams *ups = world->upstreams;
    if (ups->refuses[seat] && upstream_is_http(world)) {
        world->faults->hits[FAULT_UP_REFUSES]++;
        return FATE_REFUSES;
    }
    if (world->calm || !call->is_request)
        return FATE_ANSWERS;
    if (fault_is_on(world->faults, FAULT_UP_HALF) && upstream_is_http(world) &&
        chance_hits(&ups->chance, 20000))
        return FATE_HALF;
    if (fault_is_on(world->faults, FAULT_UP_DIES) && chance_hits(&ups->chance, 2000))
        return FATE_DIES;
    return FATE_ANSWERS;
}

/* A scenario says how it is answered. */
static void manner_set(struct ucall *call, const struct manner *manner)
{
    call->asks = manner->asks;
    call->progress_max = manner->events;
    call->is_sse = manner->asks || manner->events > 0;
    call->polls = 0;
    call->step_us = manner->takes_us / (manner->events + 1);
}

void ucall_draw(struct world *world, struct ucall *call)
{
    struct upstreams *ups = world->upstreams;
    uint32_t seat = ups->ups[call->upstream].seat;
    bool is_tool = call->method == RPC_TOOLS_CALL;
    const struct request *request = ucall_request(world, call);
    uint64_t latency_us = latency_draw(world, seat);
    call->fate = fate_draw(world, call, seat);
    call->is_sse = call->is_request && chance_below(&ups->chance, 2) == 0;
    if (is_tool && chance_below(&ups->chance, 4) == 0)
        call->progress_max = chance_below(&ups->chance, 4);
    call->asks = is_tool && chance_below(&ups->chance, 12) == 0 && !ucall_is_modern(world, call);
    if (is_tool && chance_below(&ups->chance, 100) == 0)
        call->pad = (uint32_t)chance_log(&ups->chance, 1024, 400000);
    if (ups->is_scripted) {
        call->is_sse = ups->script_asks && is_tool;
        call->progress_max = 0;
        call->pad = 0;
        call->asks = call->is_sse;
    }
    if (ucall_listens(world, call))
        call->progress_max = 0;
    if (call->progress_max > 0 || call->asks || call->fate == FATE_HALF)
        call->is_sse = call->is_sse || call->asks || chance_below(&ups->chance, 2) == 0;
    if (!call->is_sse && upstream_is_http(world))
        call->progress_max = 0;
    bool is_resumable =
        upstream_is_http(world) && is_tool && call->is_sse && !ucall_is_modern(world, call);
    if (is_resumable && !call->asks && call->fate == FATE_ANSWERS && !ups->is_scripted &&
        chance_below(&ups->poll_chance, 8) == 0)
        call->polls = 1 + chance_below(&ups->poll_chance, 2);
    if (ups->is_scripted && is_tool && (ups->script_polls > 0 || ups->script_progress > 0)) {
        call->is_sse = true;
        call->polls = ups->script_polls;
        call->progress_max = ups->script_progress;
    }
    call->step_us = latency_us / (call->progress_max + 1 + (call->asks ? 1 : 0));
    if (request != NULL && request->manner.is_told) {
        manner_set(call, &request->manner);
        latency_us = request->manner.takes_us;
    }
    call->until_us = world->now_us + latency_us + (call->asks ? QUESTION_WAIT_US : 0) +
                     call->polls * (call->step_us + WORLD_SECOND);
}

uint32_t upstream_said_ms(const struct world *world)
{
    return (uint32_t)(world->now_us / WORLD_MS);
}

static void progress_say(struct world *world, struct ucall *call)
{
    char text[200];
    int length =
        snprintf(text, sizeof text,
                 "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{"
                 "\"progressToken\":%s,\"progress\":%u,\"n\":%u,\"s\":%u,\"u\":%u,\"t\":%u}}",
                 call->token, ++call->progress, call->request, ucall_session(world, call),
                 call->upstream, upstream_said_ms(world));
    ucall_head(world, call, 200, MESH_FORM_SSE);
    ucall_say(world, call, text, (size_t)length);
}

/* A held stream of the session-less era: one notification after the other, never an answer. */
static void subscription_say(struct world *world, uint32_t index)
{
    struct ucall *call = &world->upstreams->calls[index];
    char text[200];
    int length = snprintf(text, sizeof text,
                          "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/%s\",\"params\":{"
                          "\"s\":%u,\"k\":%u,\"u\":%u}}",
                          call->progress == 0 ? "subscriptions/acknowledged" : "message",
                          call->session, call->progress + 1, call->upstream);
    call->progress++;
    ucall_head(world, call, 200, MESH_FORM_SSE);
    ucall_say(world, call, text, (size_t)length);
    ucall_step_at(world, index, world->now_us + SUBSCRIPTION_GAP_US);
}

static void question_say(struct world *world, struct ucall *call)
{
    struct upstream *up = &world->upstreams->ups[call->upstream];
    char text[200];
    call->question = up->questions++;
    call->state = UCALL_ASKS;
    world->upstreams->questions++;
    int length =
        snprintf(text, sizeof text,
                 "{\"jsonrpc\":\"2.0\",\"id\":%u,\"method\":\"sampling/createMessage\","
                 "\"params\":{\"messages\":[],\"maxTokens\":1,\"s\":%u,\"u\":%u,\"q\":%u}}",
                 call->question, up->session, call->upstream, call->question);
    ucall_head(world, call, 200, MESH_FORM_SSE);
    ucall_say(world, call, text, (size_t)length);
}

/* F26: some servers answer a request again; of JSON there is but one body. */
static bool answers_twice(const struct world *world, const struct ucall *call)
{
    struct shuffle chance;
    if (!fault_is_on(world->faults, FAULT_UP_TWICE) || world->calm ||
        (upstream_is_http(world) && !call->is_sse) || call->request == WORLD_NOBODY)
        return false;
    chance_key(&chance, world->config.seed, (UINT64_C(1) << 40) + call->request);
    return chance_hits(&chance, 50000);
}

static void answer_say(struct world *world, struct ucall *call)
{
    static const char tools[] = "\"tools\":[{\"name\":\"bump\",\"inputSchema\":{\"type\":"
                                "\"object\"}},{\"name\":\"look\",\"inputSchema\":{\"type\":"
                                "\"object\"},\"annotations\":{\"readOnlyHint\":true}}]";
    static const char handshake[] = "\"protocolVersion\":\"2025-11-25\",\"capabilities\":{\"tools\""
                                    ":{\"listChanged\":true},\"logging\":{},\"resources\":{"
                                    "\"subscribe\":true}},\"serverInfo\":{\"name\":\"sim\","
                                    "\"version\":\"1\"}";
    const char *body = "\"content\":[]";
    char modern[300];
    bool is_good = true;
    if (call->method == RPC_TOOLS_LIST)
        body = tools;
    else if (call->method == RPC_INITIALIZE)
        body = handshake;
    if (ucall_is_modern(world, call)) {
        is_good = modern_result(world, call, modern, sizeof modern);
        body = modern;
    }
    char *text = sim_zero(800 + (size_t)call->pad);
    int length = snprintf(text, 800,
                          "{\"jsonrpc\":\"2.0\",\"id\":%s,\"%s\":{%s,\"n\":%u,\"s\":%u,"
                          "\"u\":%u,\"t\":%u,\"pad\":\"",
                          call->id, is_good ? "result" : "error", body, call->request,
                          ucall_session(world, call), call->upstream, upstream_said_ms(world));
    memset(text + length, 'x', call->pad);
    memcpy(text + length + call->pad, "\"}}", 3);
    ucall_head(world, call, 200, call->is_sse ? MESH_FORM_SSE : MESH_FORM_JSON);
    struct request *request = ucall_request(world, call);
    if (request != NULL && request->said_us == 0) {
        request->said_us = world->now_us;
        request->was_alone = tenure_is_alone(world, world->upstreams->ups[call->upstream].seat);
    }
    ucall_say(world, call, text, (size_t)length + call->pad + 3);
    if (answers_twice(world, call)) {
        world->faults->hits[FAULT_UP_TWICE]++;
        ucall_say(world, call, text, (size_t)length + call->pad + 3);
    }
    free(text);
    ucall_end(world, call, MESH_END_WHOLE, MESH_OK);
}

void upstream_mark(struct world *world, uint32_t upstream, uint32_t call, char kind,
                   uint32_t number, uint32_t retry_ms)
{
    const struct upstream *up = &world->upstreams->ups[upstream];
    struct seat *seat = upstream_seat(world, up);
    char text[16];
    int length = snprintf(text, sizeof text, "%c%u", kind, number);
    mesh_up_mark(seat->mesh, up->handle, call, slice_borrow(text, (size_t)length), retry_ms,
                 world_clock_ms(world, seat));
}

/* Ends the stream, or loses it, before the answer; its event store has the rest. */
static void ucall_goes_away(struct world *world, uint32_t index)
{
    struct upstreams *ups = world->upstreams;
    struct ucall *call = &ups->calls[index];
    const struct upstream *up = &ups->ups[call->upstream];
    struct seat *seat = upstream_seat(world, up);
    uint32_t number = call->call;
    bool is_lost = !ups->is_scripted && chance_below(&ups->poll_chance, 4) == 0;
    uint32_t retry_ms = ups->is_scripted ? 100 : 50 + chance_below(&ups->poll_chance, 400);
    ucall_head(world, call, 200, MESH_FORM_SSE);
    upstream_mark(world, call->upstream, number, 'm', index, retry_ms);
    call->polls--;
    call->state = UCALL_AWAY;
    call->call = 0;
    call->head_sent = false;
    ups->polls++;
    mesh_up_end(seat->mesh, up->handle, number, is_lost ? MESH_END_CUT : MESH_END_WHOLE,
                is_lost ? MESH_UPSTREAM_LOST : MESH_OK, world_clock_ms(world, seat));
    ucall_step_at(world, index, world->now_us + call->step_us + 1);
}

/* What it says it knows of its client from now on. */
static void handshake_take(struct world *world, struct upstream *up, const struct ucall *call)
{
    struct handshake *shaken = &up->shaken;
    switch ((int)call->method) {
    case RPC_INITIALIZE:
        shaken->initialize = call->request;
        shaken->is_replayed = call->is_said_again;
        world->upstreams->fresh += call->is_said_again;
        break;
    case RPC_INITIALIZED:
        shaken->is_initialized = true;
        break;
    case RPC_SET_LEVEL:
        shaken->level = call->request;
        break;
    case RPC_RESOURCES_SUBSCRIBE:
        shaken->uris |= 1u << call->uri;
        break;
    case RPC_RESOURCES_UNSUBSCRIBE:
        shaken->uris &= ~(1u << call->uri);
        break;
    }
}

/* The request reached the server: from here on it may have run. */
static void ucall_begin(struct world *world, uint32_t index)
{
    struct upstreams *ups = world->upstreams;
    struct ucall *call = &ups->calls[index];
    struct upstream *up = &ups->ups[call->upstream];
    struct seat *seat = upstream_seat(world, up);
    if (call->fate == FATE_REFUSES) {
        ucall_end(world, call, MESH_END_CUT, MESH_UPSTREAM_DOWN);
        return;
    }
    mesh_up_sent(seat->mesh, up->handle, call->call, world_clock_ms(world, seat));
    if (up->lost && upstream_is_http(world)) {
        ucall_head(world, call, 404, MESH_FORM_NONE);
        ucall_end(world, call, MESH_END_WHOLE, MESH_OK);
        return;
    }
    call->state = UCALL_WORKS;
    check_handshake(world, up, call);
    handshake_take(world, up, call);
    if (!call->is_request) {
        ucall_head(world, call, call->want == MESH_DELETE ? 200 : 202, MESH_FORM_NONE);
        ucall_end(world, call, MESH_END_WHOLE, MESH_OK);
        return;
    }
    ups->executions++;
    struct request *request = ucall_request(world, call);
    if (request != NULL)
        request->answers_at_us = call->until_us;
    if (!call->is_said_again)
        check_execution(world, up, call, call->session);
    ucall_step_at(world, index, world->now_us + call->step_us);
}

static void ucall_fails(struct world *world, struct ucall *call)
{
    struct upstream *up = &world->upstreams->ups[call->upstream];
    if (call->fate == FATE_HALF) {
        world->faults->hits[FAULT_UP_HALF]++;
        if (call->is_sse)
            progress_say(world, call);
        ucall_end(world, call, MESH_END_CUT, MESH_UPSTREAM_LOST);
        return;
    }
    world->faults->hits[FAULT_UP_DIES]++;
    if (upstream_is_http(world))
        upstreams_kill(world, upstream_seat(world, up));
    else
        upstream_closed(world, call->upstream, MESH_UPSTREAM_LOST);
}

/* It took the request, and says nothing for a while. */
static bool ucall_hangs(struct world *world, struct ucall *call)
{
    uint32_t seat = world->upstreams->ups[call->upstream].seat;
    uint64_t until_us = world->upstreams->hangs_until_us[seat];
    struct request *request = ucall_request(world, call);
    if (until_us <= world->now_us || world->calm)
        return false;
    world->faults->hits[FAULT_UP_HANGS]++;
    call->until_us = until_us;
    if (request != NULL && request->answers_at_us < until_us)
        request->answers_at_us = until_us;
    return true;
}

void ucall_step(struct world *world, uint32_t index)
{
    struct ucall *call = &world->upstreams->calls[index];
    switch (call->state) {
    case UCALL_TAKEN:
        ucall_begin(world, index);
        break;
    case UCALL_WORKS:
    case UCALL_ASKED:
        if (ucall_hangs(world, call))
            ucall_step_at(world, index, call->until_us);
        else if (call->room == 0 && upstream_is_http(world)) {
            call->waits_for_room = true;
        } else if (call->fate != FATE_ANSWERS) {
            ucall_fails(world, call);
        } else if (ucall_listens(world, call)) {
            subscription_say(world, index);
        } else if (call->polls > 0 && call->progress == call->progress_max) {
            ucall_goes_away(world, index);
        } else if (call->progress < call->progress_max) {
            progress_say(world, call);
            ucall_step_at(world, index, world->now_us + call->step_us);
        } else if (call->asks && call->state == UCALL_WORKS) {
            question_say(world, call);
            ucall_step_at(world, index, world->now_us + QUESTION_WAIT_US);
        } else {
            answer_say(world, call);
        }
        break;
    case UCALL_AWAY:
        call->is_done = true;
        if (call->call == 0)
            break;
        call->state = UCALL_WORKS;
        if (call->polls > 0)
            ucall_goes_away(world, index);
        else
            answer_say(world, call);
        break;
    case UCALL_ASKS: /* the client's word did not come in time */
        call->state = UCALL_ASKED;
        answer_say(world, call);
        break;
    case UCALL_OVER:
        break;
    }
}
