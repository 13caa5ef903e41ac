/* upstream.c - simulated MCP servers. Each call is a small plan: taken, progress, perhaps a
 * question, an answer; or it fails in one of the ways that servers fail in. What the core makes of
 * it is judged in check.c. */
#include "sim/upstream.h"

#include <stdlib.h>

#include "sim/check.h"
#include "sim/client.h"
#include "sim/modern.h"
#include "sim/sse.h"

#define SUBSCRIPTION_GAP_US (2u * WORLD_SECOND)
#define QUESTION_WAIT_US (3u * WORLD_SECOND) /* then it answers without the client's word */
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

static bool is_http(const struct world *world)
{
    return world->upstream == MESH_UP_HTTP;
}

static bool up_lives(const struct upstream *up)
{
    return up->state == UPSTREAM_STARTING || up->state == UPSTREAM_LIVES;
}

static struct seat *up_seat(struct world *world, const struct upstream *up)
{
    return &world->seats[up->seat];
}

uint32_t upstream_of(const struct world *world, uint32_t session)
{
    const struct upstreams *ups = world->upstreams;
    for (uint32_t n = ups->ups_count; n-- > 0;)
        if (ups->ups[n].session == session && up_lives(&ups->ups[n]) && !ups->ups[n].lost)
            return n;
    return WORLD_NOBODY;
}

static struct request *ucall_request(struct world *world, const struct ucall *call)
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

/* One message, scanned as an upstream connection would. `call` MESH_NO_CALL: of a child. */
static void say(struct world *world, uint32_t index, uint32_t call, const char *text, size_t length)
{
    struct upstreams *ups = world->upstreams;
    const struct upstream *up = &ups->ups[index];
    struct seat *seat = up_seat(world, up);
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
    bool http = is_http(world);
    call->room = length > call->room ? 0 : call->room - length;
    say(world, call->upstream, http ? call->call : MESH_NO_CALL, text, length);
}

static void ucall_head(struct world *world, struct ucall *call, int status, enum mesh_form form)
{
    const struct upstream *up = &world->upstreams->ups[call->upstream];
    struct seat *seat = up_seat(world, up);
    enum mesh_up_session session = MESH_UP_SESSION_SAME;
    if (call->head_sent || !is_http(world))
        return;
    if (up->lost)
        session = MESH_UP_SESSION_LOST;
    else if (call->method == RPC_INITIALIZE)
        session = MESH_UP_SESSION_MADE;
    call->head_sent = true;
    mesh_up_head(seat->mesh, up->handle, call->call, status, form, session,
                 slice_text("X-Sim: 1\r\n"), world_clock_ms(world, seat));
}

static void ucall_end(struct world *world, struct ucall *call, enum mesh_end end,
                      enum mesh_reason why)
{
    struct upstream *up = &world->upstreams->ups[call->upstream];
    struct seat *seat = up_seat(world, up);
    struct request *request = ucall_request(world, call);
    if (call->state == UCALL_OVER)
        return;
    call->state = UCALL_OVER;
    if (up->listen == call->call && call->want == MESH_LISTEN)
        up->listen = 0;
    if (why != MESH_OK && request != NULL)
        request->lost_us = world->now_us;
    if (is_http(world))
        mesh_up_end(seat->mesh, up->handle, call->call, end, why, world_clock_ms(world, seat));
}

static void up_closed(struct world *world, uint32_t index, enum mesh_reason why)
{
    struct upstreams *ups = world->upstreams;
    struct upstream *up = &ups->ups[index];
    struct seat *seat = up_seat(world, up);
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

static void step_at(struct world *world, uint32_t index, uint64_t at_us)
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
    if (ups->refuses[seat] && is_http(world)) {
        world->faults->hits[FAULT_UP_REFUSES]++;
        return FATE_REFUSES;
    }
    if (world->calm || !call->is_request)
        return FATE_ANSWERS;
    if (fault_is_on(world->faults, FAULT_UP_HALF) && is_http(world) &&
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

static void ucall_draw(struct world *world, struct ucall *call)
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
    if (!call->is_sse && is_http(world))
        call->progress_max = 0;
    bool is_resumable = is_http(world) && is_tool && call->is_sse && !ucall_is_modern(world, call);
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

/* When it was said: a log keeps it for long. */
static uint32_t said_ms(const struct world *world)
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
                 call->upstream, said_ms(world));
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
    step_at(world, index, world->now_us + SUBSCRIPTION_GAP_US);
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
        (is_http(world) && !call->is_sse) || call->request == WORLD_NOBODY)
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
                          ucall_session(world, call), call->upstream, said_ms(world));
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

static void mark_say(struct world *world, uint32_t upstream, uint32_t call, char kind,
                     uint32_t number, uint32_t retry_ms)
{
    const struct upstream *up = &world->upstreams->ups[upstream];
    struct seat *seat = up_seat(world, up);
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
    struct seat *seat = up_seat(world, up);
    uint32_t number = call->call;
    bool is_lost = !ups->is_scripted && chance_below(&ups->poll_chance, 4) == 0;
    uint32_t retry_ms = ups->is_scripted ? 100 : 50 + chance_below(&ups->poll_chance, 400);
    ucall_head(world, call, 200, MESH_FORM_SSE);
    mark_say(world, call->upstream, number, 'm', index, retry_ms);
    call->polls--;
    call->state = UCALL_AWAY;
    call->call = 0;
    call->head_sent = false;
    ups->polls++;
    mesh_up_end(seat->mesh, up->handle, number, is_lost ? MESH_END_CUT : MESH_END_WHOLE,
                is_lost ? MESH_UPSTREAM_LOST : MESH_OK, world_clock_ms(world, seat));
    step_at(world, index, world->now_us + call->step_us + 1);
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
    struct seat *seat = up_seat(world, up);
    if (call->fate == FATE_REFUSES) {
        ucall_end(world, call, MESH_END_CUT, MESH_UPSTREAM_DOWN);
        return;
    }
    mesh_up_sent(seat->mesh, up->handle, call->call, world_clock_ms(world, seat));
    if (up->lost && is_http(world)) {
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
    step_at(world, index, world->now_us + call->step_us);
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
    if (is_http(world))
        upstreams_kill(world, up_seat(world, up));
    else
        up_closed(world, call->upstream, MESH_UPSTREAM_LOST);
}

/* It took the request, and says nothing for a while. */
static bool hangs(struct world *world, struct ucall *call)
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

static void ucall_step(struct world *world, uint32_t index)
{
    struct ucall *call = &world->upstreams->calls[index];
    switch (call->state) {
    case UCALL_TAKEN:
        ucall_begin(world, index);
        break;
    case UCALL_WORKS:
    case UCALL_ASKED:
        if (hangs(world, call))
            step_at(world, index, call->until_us);
        else if (call->room == 0 && is_http(world)) {
            call->waits_for_room = true;
        } else if (call->fate != FATE_ANSWERS) {
            ucall_fails(world, call);
        } else if (ucall_listens(world, call)) {
            subscription_say(world, index);
        } else if (call->polls > 0 && call->progress == call->progress_max) {
            ucall_goes_away(world, index);
        } else if (call->progress < call->progress_max) {
            progress_say(world, call);
            step_at(world, index, world->now_us + call->step_us);
        } else if (call->asks && call->state == UCALL_WORKS) {
            question_say(world, call);
            step_at(world, index, world->now_us + QUESTION_WAIT_US);
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

/* ---- what the core wishes ------------------------------------------------------------------- */

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
    uint64_t start_us = is_http(world) ? 5 : ups->is_scripted ? WORLD_MS : 0;
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
        step_at(world, n, world->now_us + 200);
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
    step_at(world, index, world->now_us + 20);
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
    struct seat *seat = up_seat(world, &ups->ups[upstream]);
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
        step_at(world, index, world->now_us + 50);
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
        step_at(world, index, world->now_us + 20);
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

/* Who leaves gave its session away, or ended it. */
static void left_note(struct world *world, const struct seat *seat, struct session *session)
{
    struct mesh_why why;
    mesh_why(seat->mesh, session->id, MESH_SESSION_TEXT, &why, world_clock_ms(world, seat));
    session->was_left = session->was_left || !session->has_id || why.verdict == OWNER_ENDED;
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
            left_note(world, seat, world->clients->sessions[ups->ups[upstream].session]);
        world_at(world, world->now_us + WORLD_MS, UPSTREAM_CLOSED, seat->index, upstream, 0);
        break;
    }
}

/* ---- events --------------------------------------------------------------------------------- */

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
    int length = snprintf(text, sizeof text,
                          "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{"
                          "\"level\":\"info\",\"data\":{\"s\":%u,\"k\":%u,\"u\":%u,\"t\":%u}}}",
                          world->upstreams->ups[index].session, note, index, said_ms(world));
    if (call != MESH_NO_CALL)
        mark_say(world, index, call, 'g', note, 0);
    say(world, index, call, text, (size_t)length);
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
    if (call->state == UCALL_OVER || !up_lives(up))
        return;
    if (up->session != WORLD_NOBODY && up->session % 8 == 7 && !ups->is_scripted)
        status = 405; /* offers no server stream */
    else if (up->listen != 0)
        status = 409; /* "Only one SSE stream is allowed per session" */
    if (up->lost)
        status = 404;
    struct seat *seat = up_seat(world, up);
    mesh_up_sent(seat->mesh, up->handle, call->call, world_clock_ms(world, seat));
    ucall_head(world, call, status, status == 200 ? MESH_FORM_SSE : MESH_FORM_NONE);
    call->state = UCALL_WORKS;
    if (status != 200) {
        ucall_end(world, call, MESH_END_WHOLE, MESH_OK);
        return;
    }
    up->listen = call->call;
    if (!up->was_listened)
        mark_say(world, call->upstream, call->call, 'g', up->notes, 0);
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
    if (!up_lives(up) || up->session == WORLD_NOBODY || up->lost ||
        (is_http(world) && !up->was_listened))
        return;
    world->upstreams->notes++;
    up->notes++;
    if (!is_http(world)) {
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
    struct seat *seat = up_seat(world, up);
    if (up->state != UPSTREAM_STARTING)
        return;
    if (ups->refuses[up->seat] && !is_http(world)) {
        world->faults->hits[FAULT_UP_REFUSES]++;
        up_closed(world, index, MESH_UPSTREAM_DOWN);
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
        if (up_lives(&ups->ups[ups->calls[event->a].upstream]))
            ucall_step(world, event->a);
        break;
    case UPSTREAM_LISTEN:
        listen_begin(world, event->a);
        break;
    case UPSTREAM_NOTE:
        if (!up_lives(&ups->ups[event->a]) || world->clients->quiet)
            return;
        upstream_notify(world, event->a);
        note_at(world, event->a);
        break;
    case UPSTREAM_CLOSED:
        up_closed(world, event->a, MESH_OK);
        break;
    }
    world_turn(world, &world->seats[event->seat]);
}

/* ---- deaths --------------------------------------------------------------------------------- */

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
        if (up->seat != seat->index || up->life != seat->life || !up_lives(up))
            continue;
        count++;
        if (!is_http(world)) {
            up_closed(world, n, MESH_UPSTREAM_LOST);
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
