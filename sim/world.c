/* world.c - clock, heap of events, seats and the turns of their peers. Feeds what happens to a
 * peer, hands its effects on, honours its deadline. What wires, clients and upstreams do is left
 * to their files; what must hold, to check.c. */
#include "sim/world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#include "mesh/member/records.h"
#include "mesh/member/rings.h"
#include "sim/agree.h"
#include "sim/check.h"
#include "sim/client.h"
#include "sim/heard.h"
#include "sim/members.h"
#include "sim/modern.h"
#include "sim/malice.h"
#include "sim/skew.h"
#include "sim/sse.h"
#include "sim/net.h"
#include "sim/scenario.h"
#include "sim/upstream.h"
#include "sim/watch.h"

#define TURN_EFFECTS_MAX 1000000u
#define IDLE_WAKES_MAX 200u
#define OLD_SEATS_MAX 64u           /* of draws 1, whose paths were drawn for so many */
#define LARGE_NODES 32u             /* more peers than that share what equal views have alike */
#define LOAD_NODES_MAX 10u          /* more peers make no more load: it proves nothing more */
#define ASKED_AGAIN_US WORLD_SECOND /* a server that failed, by its host */
#define BACKLOG_MAX_US (1u * WORLD_SECOND) /* of a starved process; then datagrams are dropped */

/* ---- trace ---------------------------------------------------------------------------------- */

void world_fold(struct world *world, uint64_t value)
{
    uint64_t mixed = (world->trace ^ value) * UINT64_C(0xff51afd7ed558ccd);
    world->trace = mixed ^ mixed >> 32;
}

void world_fold_text(struct world *world, const void *text, size_t length)
{
    const uint8_t *at = text;
    uint64_t sum = length;
    for (size_t n = 0; n < length; n++)
        sum = (sum ^ at[n]) * UINT64_C(0x100000001b3);
    world_fold(world, sum);
}

void world_say(struct world *world, const struct seat *seat, const char *format, ...)
{
    if (!world->config.trace)
        return;
    va_list args;
    va_start(args, format);
    printf("%5" PRIu64 ".%06" PRIu64 " ", world->now_us / WORLD_SECOND,
           world->now_us % WORLD_SECOND);
    if (seat != NULL)
        printf("p%u.%u ", seat->index, seat->life);
    else
        printf("-    ");
    vprintf(format, args);
    putchar('\n');
    va_end(args);
}

/* ---- heap ----------------------------------------------------------------------------------- */

static bool event_before(const struct world_event *a, const struct world_event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->seq < b->seq;
}

void world_push(struct world *world, const struct world_event *event)
{
    if (event->at_us < world->now_us)
        abort(); /* time goes forward: nothing that was seen so would be true */
    if (world->heap_count == world->heap_capacity) {
        world->heap_capacity = world->heap_capacity == 0 ? 1024 : world->heap_capacity * 2;
        world->heap = realloc(world->heap, world->heap_capacity * sizeof *world->heap);
        if (world->heap == NULL)
            abort();
    }
    struct world_event made = *event;
    made.seq = world->seq++;
    size_t at = world->heap_count++;
    while (at > 0 && event_before(&made, &world->heap[(at - 1) / 4])) {
        world->heap[at] = world->heap[(at - 1) / 4];
        at = (at - 1) / 4;
    }
    world->heap[at] = made;
}

static struct world_event heap_pop(struct world *world)
{
    struct world_event top = world->heap[0];
    struct world_event moved = world->heap[--world->heap_count];
    size_t at = 0;
    for (;;) {
        size_t least = 0;
        size_t first = at * 4 + 1;
        for (size_t child = first; child < first + 4 && child < world->heap_count; child++)
            if (least == 0 || event_before(&world->heap[child], &world->heap[least]))
                least = child;
        if (least == 0 || !event_before(&world->heap[least], &moved))
            break;
        world->heap[at] = world->heap[least];
        at = least;
    }
    world->heap[at] = moved;
    return top;
}

void world_at(struct world *world, uint64_t at_us, enum world_event_kind kind, uint32_t seat,
              uint32_t a, uint32_t b)
{
    struct world_event event = {.at_us = at_us, .kind = kind, .seat = seat, .a = a, .b = b};
    if (seat != WORLD_NOBODY)
        event.life = world->seats[seat].life;
    world_push(world, &event);
}

/* ---- turns ---------------------------------------------------------------------------------- */

uint64_t world_clock_ms(const struct world *world, const struct seat *seat)
{
    return (world->now_us + seat->clock_us) / WORLD_MS;
}

static void wake_plan(struct world *world, struct seat *seat)
{
    uint64_t deadline_ms = mesh_deadline_ms(seat->mesh);
    if (deadline_ms == MESH_NEVER) {
        seat->wake_serial++;
        seat->wake_us = MESH_NEVER;
        return;
    }
    uint64_t now_clock = world->now_us + seat->clock_us;
    uint64_t at_us = deadline_ms * WORLD_MS > now_clock
                         ? deadline_ms * WORLD_MS - seat->clock_us
                         : world->now_us + 50; /* a timer of no length: the next turn */
    if (at_us == seat->wake_us)
        return;
    seat->wake_us = at_us;
    seat->wake_serial++;
    world_at(world, at_us, EVENT_WAKE, seat->index, seat->wake_serial, 0);
}

static void effect_changed(struct world *world, struct seat *seat, const struct mesh_effect *effect)
{
    world_fold(world, effect->changed.what);
    world_say(world, seat, "CHANGED %d %016" PRIx64 ".%" PRIu64 " state %d value %" PRIu64,
              effect->changed.what, effect->changed.peer.name, effect->changed.peer.generation,
              effect->changed.state, effect->changed.value);
    switch (effect->changed.what) {
    case MESH_NAME_WAITING:
        seat->waits_for_name = true;
        break;
    case MESH_JOINED:
        seat->waits_for_name = false;
        seat->joined_us = world->now_us;
        break;
    case MESH_NAME_TAKEN:
    case MESH_SUPERSEDED_BY:
    case MESH_LEFT_MESH:
        seat->exited = true;
        seat->exit_reason = effect->changed.what;
        break;
    case MESH_MEMBER_CHANGED:
        if (peer_id_equal(effect->changed.peer, mesh_self(seat->mesh)->record->id))
            seat->is_announced = effect->changed.state == MEMBER_ALIVE;
        break;
    case MESH_SESSION_CLOSED:
        tenures_closed(world, seat, (uint32_t)effect->changed.value);
        leave_taken(world, seat);
        break;
    case MESH_SESSION_TAKEN:
        tenures_taken(world, seat, (uint32_t)effect->changed.value);
        leave_taken(world, seat);
        break;
    case MESH_SESSION_OPENED:
    case MESH_SESSION_HANDED:
        leave_taken(world, seat);
        break;
    case MESH_SESSION_YIELDED:
    case MESH_KEY_USED:
    case MESH_KEY_GIVEN_UP:
    case MESH_STOOD_STILL:
        break;
    case MESH_UPSTREAM_FAILS:
        if (effect->changed.value != 0) /* its host asks it */
            world_at(world, world->now_us + ASKED_AGAIN_US, EVENT_SERVING, seat->index, 2, 0);
        break;
    case MESH_FAILPOINT:
        seat->is_at_place = true;
        break;
    }
    if (world->stage != NULL)
        stage_changed(world, seat, effect);
}

static void effect_do(struct world *world, struct seat *seat, const struct mesh_effect *effect)
{
    world_fold(world, world->now_us);
    world_fold(world, (uint64_t)seat->index << 32 | effect->kind);
    check_effect(world, seat, effect);
    switch (effect->kind) {
    case MESH_DATAGRAM:
    case MESH_LINK_DIAL:
    case MESH_LINK_BYTES:
    case MESH_LINK_CLOSE:
        net_effect(world, seat, effect);
        break;
    case MESH_UP_OPEN:
    case MESH_UP_SEND:
    case MESH_UP_LISTEN:
    case MESH_UP_ROOM:
    case MESH_UP_CANCEL:
    case MESH_UP_CLOSE:
        upstream_effect(world, seat, effect);
        break;
    case MESH_REPLY_HEAD:
    case MESH_REPLY_EVENT:
    case MESH_REPLY_DATA:
    case MESH_REPLY_END:
        client_effect(world, seat, effect);
        break;
    case MESH_CHANGED:
        effect_changed(world, seat, effect);
        break;
    }
}

static void drain(struct world *world, struct seat *seat)
{
    struct mesh_effect effect;
    uint32_t count = 0;
    bool told = true;
    seat->drain_waits = false;
    world->turns++;
    heard_turn(world, seat);
    while (told && !world->failed) {
        while (mesh_next_effect(seat->mesh, &effect, world_clock_ms(world, seat))) {
            count++;
            effect_do(world, seat, &effect);
            if (count > TURN_EFFECTS_MAX) {
                check_fail(world, "X3", "p%u: a turn without end", seat->index);
                return;
            }
        }
        told = net_settle(world, seat);
        told = client_settle(world, seat) || told;
    }
    world->effects += count;
    if (count > 0)
        seat->idle_wakes = 0;
    if (world->stage != NULL)
        stage_turned(world, seat);
    if (seat->is_at_place)
        failpoint_reached(world, seat);
    else if (seat->exited)
        world_exit(world, seat, seat->exit_reason);
    else
        wake_plan(world, seat);
}

void world_turn(struct world *world, struct seat *seat)
{
    if (seat->mesh == NULL || seat->drain_waits)
        return;
    if (seat->turn_us > 0) {
        seat->drain_waits = true;
        world_at(world, world->now_us + seat->turn_us, EVENT_DRAIN, seat->index, 0, 0);
    } else {
        drain(world, seat);
    }
}

static void wake(struct world *world, struct seat *seat, uint32_t serial)
{
    if (serial != seat->wake_serial)
        return;
    seat->wake_us = MESH_NEVER;
    if (++seat->idle_wakes > IDLE_WAKES_MAX) {
        check_fail(world, "X3",
                   "p%u: woken %u times in a row for nothing, deadline %" PRIu64 " at %" PRIu64
                   " ms",
                   seat->index, seat->idle_wakes, mesh_deadline_ms(seat->mesh),
                   world_clock_ms(world, seat));
        return;
    }
    mesh_now(seat->mesh, world_clock_ms(world, seat));
    world_turn(world, seat);
}

/* ---- events --------------------------------------------------------------------------------- */

static void life_event(struct world *world, const struct world_event *event)
{
    struct seat *seat = event->seat == WORLD_NOBODY ? NULL : &world->seats[event->seat];
    switch ((int)event->kind) {
    case EVENT_WAKE:
        wake(world, seat, event->a);
        break;
    case EVENT_DRAIN:
        drain(world, seat);
        break;
    case EVENT_SERVING:
        seat->served = event->a == 2 ? !world->upstreams->refuses[event->seat] : event->a != 0;
        mesh_serving(seat->mesh, seat->served, world_clock_ms(world, seat));
        world_turn(world, seat);
        break;
    case EVENT_KEY_FILE:
        keyfile_write(world, event->a, event->b);
        break;
    case EVENT_KEYS:
        keyfile_tell(world, seat);
        world_turn(world, seat);
        break;
    case EVENT_USE_KEY: /* refused or not: what becomes of it shows */
        (void)mesh_use_key(seat->mesh, keyfile_id((uint8_t)event->a), world_clock_ms(world, seat));
        world_turn(world, seat);
        break;
    case EVENT_JOIN:
        life_join(world, seat);
        world_turn(world, seat);
        break;
    case EVENT_START:
        if (event->b == world->seats[event->a].start_serial)
            world_start(world, event->a);
        break;
    }
}

static void dispatch(struct world *world, const struct world_event *event)
{
    if (event->kind <= EVENT_START)
        life_event(world, event);
    else if (event->kind <= NET_RESET)
        net_event(world, event);
    else if (event->kind <= CLIENT_SSE)
        client_event(world, event);
    else if (event->kind <= UPSTREAM_CLOSED)
        upstream_event(world, event);
    else if (event->kind <= FAULT_END)
        faults_event(world, event);
    else
        check_event(world, event);
}

/* What comes to a process whose wires stand still, or that gets too little of a core, waits. True:
 * it came too early, and comes again, or never. */
static bool is_held_up(struct world *world, struct world_event *event)
{
    bool is_wire = event->kind >= NET_PACKET && event->kind <= NET_RESET;
    uint32_t index = is_wire ? net_event_seat(world, event) : event->seat;
    if (index == WORLD_NOBODY)
        return false;
    struct seat *seat = &world->seats[index];
    if (is_wire && seat->io_stalled_until_us > world->now_us) {
        world->faults->hits[FAULT_STALL]++;
        event->at_us = seat->io_stalled_until_us;
        world_push(world, event);
        return true;
    }
    if (seat->service_us == 0 || event->is_admitted || seat->mesh == NULL)
        return false;
    uint64_t begins_us = seat->busy_until_us > world->now_us ? seat->busy_until_us : world->now_us;
    if (event->kind == NET_PACKET && begins_us > world->now_us + BACKLOG_MAX_US) {
        net_drop(event); /* the socket's buffer is full */
        return true;
    }
    seat->busy_until_us = begins_us + seat->service_us;
    if (begins_us == world->now_us)
        return false;
    world->faults->hits[FAULT_STARVE]++;
    event->at_us = begins_us;
    event->is_admitted = true;
    world_push(world, event);
    return true;
}

void world_run(struct world *world, uint64_t until_ms)
{
    uint64_t until_us = until_ms * WORLD_MS;
    while (!world->failed && world->heap_count > 0 && world->heap[0].at_us <= until_us) {
        struct world_event event = heap_pop(world);
        world->now_us = event.at_us;
        world->events++;
        if (event.seat != WORLD_NOBODY) {
            const struct seat *seat = &world->seats[event.seat];
            if (seat->mesh == NULL || seat->life != event.life) {
                net_drop(&event);
                continue;
            }
            if (seat->paused_until_us > world->now_us) {
                event.at_us = seat->paused_until_us;
                world_push(world, &event);
                continue;
            }
        }
        if (world->hampered > 0 && is_held_up(world, &event))
            continue;
        dispatch(world, &event);
    }
    if (!world->failed && world->now_us < until_us)
        world->now_us = until_us;
}

/* ---- life of a world ------------------------------------------------------------------------ */

int world_new(struct world **worldp, const struct world_config *config)
{
    struct world *world = sim_zero(sizeof *world);
    world->config = *config;
    if (config->draws == 0)
        world->config.draws = WORLD_DRAWS;
    bool is_old = world->config.draws == 1;
    world->seats_max = is_old ? OLD_SEATS_MAX : config->nodes + WORLD_SPARE_SEATS;
    world->load_nodes = is_old || config->nodes < LOAD_NODES_MAX ? config->nodes : LOAD_NODES_MAX;
    chance_init(&world->chance, config->seed, 1);
    world->trace = config->seed;
    world->seats_count = world->addresses_count = config->nodes;
    for (uint32_t n = 0; n < config->nodes; n++)
        world->seats[n] = (struct seat){.index = n, .name = n, .address = n, .wake_us = MESH_NEVER};
    world->upstream = config->upstream;
    if (config->load) {
        static const enum mesh_upstream_kind kinds[] = {MESH_UP_HTTP, MESH_UP_STDIO,
                                                        MESH_UP_BUILTIN};
        world->upstream = kinds[chance_below(&world->chance, 3)];
        world->keyed = chance_below(&world->chance, 8) == 0;
        world->keyed = world->keyed || (config->faults & fault_bit(FAULT_KEYS)) != 0;
    }
    agree_by_curve(world->keyed);
    bool is_early = config->calm_from_ms > 0 && config->calm_from_ms < config->chaos_ms;
    world->calm_from_us = (uint64_t)(is_early ? config->calm_from_ms : config->chaos_ms) * WORLD_MS;
    world->end_us = world->calm_from_us + (uint64_t)config->calm_ms * WORLD_MS;
    int rc = 0;
    if (config->nodes > LARGE_NODES) {
        rc = rings_new(&world->rings);
        if (rc == 0)
            rc = records_new(&world->records);
    }
    if (rc == 0)
        rc = net_new(world);
    if (rc == 0)
        rc = upstreams_new(world);
    if (rc == 0)
        rc = checks_new(world);
    if (rc == 0)
        rc = members_new(world);
    if (rc == 0)
        rc = watch_new(world);
    if (rc == 0)
        rc = clients_new(world);
    if (rc == 0)
        rc = modern_new(world);
    if (rc == 0)
        rc = sse_new(world);
    if (rc == 0)
        rc = faults_new(world);
    if (rc < 0) {
        world_free(world);
        return rc;
    }
    for (uint32_t n = 0; n < config->nodes; n++) {
        uint64_t at_us = config->steady ? 0 : chance_below(&world->chance, 2 * WORLD_SECOND);
        world_at(world, at_us, EVENT_START, WORLD_NOBODY, n, world->seats[n].start_serial);
    }
    *worldp = world;
    return 0;
}

void world_free(struct world *world)
{
    if (world == NULL)
        return;
    for (uint32_t n = 0; n < world->seats_count; n++) {
        mesh_free(world->seats[n].mesh);
        slots_free(&world->seats[n].exchanges);
        slots_free(&world->seats[n].ups);
        slots_free(&world->seats[n].links);
    }
    for (size_t n = 0; n < world->heap_count; n++)
        net_drop(&world->heap[n]);
    faults_free(world);
    modern_free(world);
    sse_free(world);
    clients_free(world);
    checks_free(world);
    members_free(world);
    watch_free(world);
    skew_free(world);
    malice_free(world);
    upstreams_free(world);
    net_free(world);
    rings_free(world->rings);
    records_free(world->records);
    free(world->lives);
    free(world->heap);
    free(world);
}
