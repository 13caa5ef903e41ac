/* scenario.c - tells a scenario: its deeds at their times, and what has to be so at others. What is
 * so is scenario_judge.c's to say; how a file is read, scenario_read.c's. */
#include "sim/scenario.h"

#include <inttypes.h>
#include <stdlib.h>

#include "sim/check.h"
#include "sim/client.h"
#include "sim/net.h"
#include "sim/scenario_inside.h"
#include "sim/upstream.h"

#define LOOK_MS 10u /* how often what no change tells of is looked at */

/* ---- deeds ---------------------------------------------------------------------------------- */

typedef void pair_do(struct world *world, uint32_t from, uint32_t to);

static void mend(struct world *world, uint32_t from, uint32_t to)
{
    while (net_path(world, from, to)->cuts > 0)
        world_heal(world, from, to);
}

static void pairs_do(struct world *world, const bool *from, const bool *to, pair_do *does)
{
    for (uint32_t a = 0; a < world->seats_count; a++)
        for (uint32_t b = 0; b < world->seats_count; b++)
            if (from[a] && to[b] && a != b)
                does(world, a, b);
}

static void path_do(struct stage *stage, const struct deed *deed)
{
    bool from[WORLD_SEATS_MAX], to[WORLD_SEATS_MAX];
    peers_resolve(stage, &deed->who[0], &deed->who[0], PEERS_NODES, from);
    peers_resolve(stage, &deed->who[1], &deed->who[0], PEERS_NODES, to);
    pairs_do(stage->world, from, to, deed->kind == DEED_CUT ? world_cut : mend);
}

static void quality_set(struct world *world, const struct deed *deed, uint32_t from, uint32_t to)
{
    uint32_t number = (uint32_t)deed->number;
    if (deed->kind == DEED_LOSS)
        net_set_loss(world, from, to, number);
    else if (deed->kind == DEED_DELAY)
        net_set_delay(world, from, to, number * WORLD_MS);
    else if (deed->kind == DEED_DELAY_GOSSIP)
        net_set_gossip_delay(world, from, to, number * WORLD_MS);
    else
        net_set_mtu(world, from, to, number);
}

/* Without an arrow it is said of all that goes to or from them. */
static void quality_do(struct stage *stage, const struct deed *deed)
{
    bool from[WORLD_SEATS_MAX], to[WORLD_SEATS_MAX];
    bool both = deed->who_count == 1;
    struct peers all = {.kind = PEERS_ALL};
    peers_resolve(stage, &deed->who[0], &deed->who[0], PEERS_NODES, from);
    peers_resolve(stage, both ? &all : &deed->who[1], &deed->who[0], PEERS_NODES, to);
    for (uint32_t a = 0; a < stage->world->seats_count; a++)
        for (uint32_t b = 0; b < stage->world->seats_count; b++) {
            if (a == b || !from[a] || !to[b])
                continue;
            quality_set(stage->world, deed, a, b);
            if (both)
                quality_set(stage->world, deed, b, a);
        }
}

static void split_do(struct stage *stage, const struct deed *deed)
{
    bool sides[SCENARIO_GROUPS_MAX][WORLD_SEATS_MAX];
    for (uint32_t n = 0; n < deed->who_count; n++)
        peers_resolve(stage, &deed->who[n], &deed->who[0], PEERS_NODES, sides[n]);
    for (uint32_t n = 0; n < deed->who_count; n++)
        for (uint32_t k = 0; k < deed->who_count; k++)
            if (n != k)
                pairs_do(stage->world, sides[n], sides[k], world_cut);
}

static void heal_do(struct world *world)
{
    for (uint32_t from = 0; from < world->seats_count; from++)
        for (uint32_t to = 0; to < world->seats_count; to++)
            mend(world, from, to);
}

static void wires_do(struct world *world, const struct deed *deed)
{
    uint32_t *const shares[] = {&world->faults->duplicate_ppm, &world->faults->reorder_ppm,
                                &world->faults->replay_ppm};
    *shares[deed->kind - DEED_DUPLICATE] = (uint32_t)deed->number;
}

static void dns_do(struct stage *stage, const struct deed *deed)
{
    stage->dns = (enum dns_word)deed->number;
    for (uint32_t seat = 0; seat < stage->world->seats_count; seat++)
        stage->resolved[seat] = stage->world->seats[seat].address;
}

void stage_resolve(struct world *world, struct seat *seat)
{
    struct stage *stage = world->stage;
    bool contacts[WORLD_SEATS_MAX];
    peers_resolve(stage, &stage->scenario->contacts, &stage->scenario->contacts, PEERS_NODES,
                  contacts);
    for (uint32_t n = 0; n < world->seats_count && stage->dns != DNS_WORD_EMPTY; n++) {
        struct mesh_addr addr;
        world_addr(&addr,
                   stage->dns == DNS_WORD_STALE ? stage->resolved[n] : world->seats[n].address);
        if (contacts[n] && world->seats[n].is_foreign == seat->is_foreign)
            mesh_join(seat->mesh, &addr, world_clock_ms(world, seat));
    }
}

static void call_count(struct stage *stage, uint32_t request)
{
    if (stage->calls_count == SCENARIO_CALLS_MAX)
        check_fail(stage->world, "scenario", "one call too many");
    else
        stage->calls[stage->calls_count++] = request;
}

/* A request in a session that is open. */
static void request_do(struct stage *stage, const struct deed *deed, uint32_t session,
                       uint32_t seat)
{
    struct world *world = stage->world;
    static const enum ask asks[DEED_KINDS] = {[DEED_CALL] = ASK_CALL,
                                              [DEED_READ] = ASK_READ,
                                              [DEED_GET] = ASK_LISTEN,
                                              [DEED_DELETE] = ASK_DELETE};
    struct session *opened = world->clients->sessions[session];
    if (opened->asked == 1) { /* nothing but initialize */
        client_ask(world, session, ASK_INITIALIZED, seat, 0);
        client_ask(world, session, ASK_LIST, seat, 0); /* what its tools say of themselves */
    }
    if (deed->kind == DEED_ANSWER) {
        client_answer(world, session, seat, 0);
        return;
    }
    uint32_t request = client_ask(world, session, asks[deed->kind], seat, 0);
    world->clients->requests[request]->manner =
        (struct manner){true, deed->asks, (uint64_t)deed->other * WORLD_MS, deed->events};
    call_count(stage, request);
}

static void session_do(struct stage *stage, const struct deed *deed)
{
    struct world *world = stage->world;
    bool who[WORLD_SEATS_MAX];
    uint32_t seat = 0;
    uint32_t *session = &stage->sessions[deed->number];
    peers_resolve(stage, &deed->who[0], &deed->who[0], PEERS_NODES, who);
    while (seat < WORLD_SEATS_MAX && !who[seat])
        seat++;
    if (deed->kind == DEED_SAY) {
        uint32_t up = *session == WORLD_NOBODY
                          ? WORLD_NOBODY
                          : upstream_beside(world, *session, deed->is_there ? who : NULL);
        if (up != WORLD_NOBODY)
            upstream_notify(world, up);
        if (up != WORLD_NOBODY)
            world_turn(world, &world->seats[world->upstreams->ups[up].seat]);
        return;
    }
    if (seat == WORLD_SEATS_MAX) {
        check_fail(world, "scenario", "a request through nobody");
    } else if (deed->kind == DEED_OPEN) {
        *session = client_session(world);
        client_ask(world, *session, ASK_INITIALIZE, seat, 0);
    } else if (*session == WORLD_NOBODY) {
        check_fail(world, "scenario", "a call of a session that was not opened");
    } else {
        request_do(stage, deed, *session, seat);
    }
}

static void call_do(struct stage *stage, const struct deed *deed)
{
    bool who[WORLD_SEATS_MAX];
    uint32_t seat = 0;
    if (deed->number > stage->calls_count) {
        check_fail(stage->world, "scenario", "there is no such call yet");
        return;
    }
    uint32_t request = stage->calls[deed->number - 1];
    peers_resolve(stage, &deed->who[0], &deed->who[0], PEERS_NODES, who);
    while (seat < WORLD_SEATS_MAX && !who[seat])
        seat++;
    if (deed->kind == DEED_VANISH)
        client_vanish(stage->world, request);
    else
        call_count(stage, client_resume(stage->world, request, seat, 0));
}

static void end_server(struct world *world, uint32_t seat)
{
    upstreams_kill(world, &world->seats[seat]);
    world_turn(world, &world->seats[seat]);
}

static void seat_do(struct world *world, const struct deed *deed, uint32_t seat)
{
    uint32_t ms = (uint32_t)deed->number;
    switch ((int)deed->kind) {
    case DEED_START:
        world_start(world, seat);
        break;
    case DEED_CRASH:
    case DEED_POWER_OFF:
        world_crash(world, seat, deed->kind == DEED_CRASH ? DEATH_KILLED : DEATH_POWER);
        break;
    case DEED_RESTART:
        if (deed->number == RESTART_AT)
            world_move(world, seat, world->seats[deed->other].address);
        world_restart(world, seat, deed->number == RESTART_NEW_ADDRESS);
        break;
    case DEED_LEAVE:
        world_leave(world, seat, 0, ms);
        break;
    case DEED_PAUSE:
        world_pause(world, seat, ms);
        break;
    case DEED_STALL:
        world_stall_io(world, seat, ms);
        break;
    case DEED_SLOW:
        world_slow(world, seat, ms * WORLD_MS);
        break;
    case DEED_SERVING:
        world_at(world, world->now_us, EVENT_SERVING, seat, deed->number != 0, 0);
        break;
    case DEED_KEYS:
        world->seats[seat].key_file = deed->keys;
        if (world->seats[seat].mesh != NULL)
            world_at(world, world->now_us, EVENT_KEYS, seat, 0, 0);
        break;
    case DEED_USE_KEY:
        world_at(world, world->now_us, EVENT_USE_KEY, seat, (uint32_t)deed->number, 0);
        break;
    case DEED_CLOCK:
        world_set_wall(world, seat, deed->number);
        break;
    case DEED_REJECT:
    case DEED_ADMIT:
        world_reject(world, seat, deed->kind == DEED_REJECT);
        break;
    case DEED_STOP_SERVER:
    case DEED_START_SERVER:
        upstreams_refuse(world, seat, deed->kind == DEED_STOP_SERVER);
        if (deed->kind == DEED_STOP_SERVER)
            end_server(world, seat);
        break;
    case DEED_END_SERVER:
        end_server(world, seat);
        break;
    case DEED_HANG_SERVER:
        world->upstreams->hangs_until_us[seat] = world->now_us + (uint64_t)ms * WORLD_MS;
        break;
    case DEED_TWIN:
        world_start(world, world_add_twin(world, seat));
        break;
    }
}

static void deed_do(struct stage *stage, const struct deed *deed)
{
    bool who[WORLD_SEATS_MAX];
    enum peers_which which = PEERS_RUNNING;
    switch ((int)deed->kind) {
    case DEED_CUT:
    case DEED_MEND:
        path_do(stage, deed);
        return;
    case DEED_SPLIT:
        split_do(stage, deed);
        return;
    case DEED_HEAL:
        heal_do(stage->world);
        return;
    case DEED_DNS:
        dns_do(stage, deed);
        return;
    case DEED_LOSS:
    case DEED_DELAY:
    case DEED_DELAY_GOSSIP:
    case DEED_MTU:
        quality_do(stage, deed);
        return;
    case DEED_DUPLICATE:
    case DEED_REORDER:
    case DEED_REPLAY:
        wires_do(stage->world, deed);
        return;
    case DEED_OPEN:
    case DEED_CALL:
    case DEED_READ:
    case DEED_GET:
    case DEED_DELETE:
    case DEED_ANSWER:
    case DEED_SAY:
        session_do(stage, deed);
        return;
    case DEED_VANISH:
    case DEED_RESUME:
        call_do(stage, deed);
        return;
    case DEED_START:
    case DEED_RESTART:
        which = PEERS_STILL;
        break;
    case DEED_CLOCK:
    case DEED_KEYS: /* a file is there whether anybody runs or not */
        which = PEERS_NODES;
        break;
    }
    peers_resolve(stage, &deed->who[0], &deed->who[0], which, who);
    for (uint32_t seat = 0; seat < WORLD_SEATS_MAX; seat++)
        if (who[seat] && !stage->world->failed)
            seat_do(stage->world, deed, seat);
}

/* ---- what has to be so ---------------------------------------------------------------------- */

static void step_fail(struct stage *stage, const struct step *step, const char *what,
                      const char *words)
{
    char place[16];
    snprintf(place, sizeof place, "line %u", step->line);
    check_fail(stage->world, place, "'%s': %s%s", step->text, what, words);
}

static void rule_look(struct stage *stage, uint32_t n)
{
    const struct step *step = &stage->scenario->steps[n];
    char words[128];
    enum verdict verdict =
        state_is(stage, &step->state, step->kind == STEP_NEVER, words, sizeof words);
    stage->telling[n].looks += verdict != NOBODY_THERE;
    if (verdict == NOT_SO)
        step_fail(stage, step, "", words);
}

/* Again when, for one that lasts: a change of a member tells of itself. */
static uint64_t rule_again(const struct step *step, uint64_t now_ms)
{
    uint64_t at_ms = step->state.kind == STATE_MEMBER ? step->to_ms : now_ms + LOOK_MS;
    if (now_ms >= step->to_ms)
        return MESH_NEVER;
    return at_ms < step->to_ms ? at_ms : step->to_ms;
}

static void expect_look(struct stage *stage, const struct step *step)
{
    char words[128];
    enum verdict verdict = state_is(stage, &step->state, false, words, sizeof words);
    if (verdict != SO)
        step_fail(stage, step, "", verdict == NOT_SO ? words : "nobody is there");
}

static uint32_t running(const struct world *world)
{
    uint32_t count = 0;
    for (uint32_t seat = 0; seat < world->seats_count; seat++)
        count += world_runs(world, seat);
    return count;
}

/* How much something was counted up between two times. */
static void count_look(struct stage *stage, uint32_t n)
{
    const struct step *step = &stage->scenario->steps[n];
    struct telling *telling = &stage->telling[n];
    const uint32_t *changes = stage->changes[step->state.words];
    bool where[WORLD_SEATS_MAX];
    char words[128];
    if (!telling->has_begun) {
        telling->bytes = stage->world->net->datagram_bytes;
        memcpy(telling->changes, changes, sizeof telling->changes);
        return;
    }
    if (step->kind == STEP_BYTES) {
        uint64_t seconds = (step->to_ms - step->from_ms + 999) / 1000;
        uint64_t bytes = stage->world->net->datagram_bytes - telling->bytes;
        uint32_t peers = running(stage->world);
        snprintf(words, sizeof words, "%" PRIu64, peers == 0 ? bytes : bytes / peers / seconds);
        if (bytes > (uint64_t)step->most * peers * seconds)
            step_fail(stage, step, "bytes per peer-second: ", words);
        return;
    }
    peers_resolve(stage, &step->state.where, &step->state.where, PEERS_RUNNING, where);
    for (uint32_t seat = 0; seat < WORLD_SEATS_MAX; seat++) {
        uint32_t more = changes[seat] - telling->changes[seat];
        snprintf(words, sizeof words, "%u at p%u", more, seat);
        if (where[seat] && more > step->most)
            step_fail(stage, step, "changes: ", words);
    }
}

/* ---- time ----------------------------------------------------------------------------------- */

static void step_now(struct stage *stage, uint32_t n, uint64_t now_ms)
{
    const struct step *step = &stage->scenario->steps[n];
    struct telling *telling = &stage->telling[n];
    uint64_t next_ms = MESH_NEVER;
    switch (step->kind) {
    case STEP_DEED:
        deed_do(stage, &step->deed);
        if (step->every_ms > 0 && now_ms + step->every_ms <= step->to_ms)
            next_ms = now_ms + step->every_ms;
        break;
    case STEP_EXPECT:
        expect_look(stage, step);
        break;
    case STEP_ALWAYS:
    case STEP_NEVER:
        rule_look(stage, n);
        next_ms = rule_again(step, now_ms);
        if (next_ms == MESH_NEVER && telling->looks == 0)
            step_fail(stage, step, "nobody was ever there to look at", "");
        break;
    case STEP_CHANGES:
    case STEP_BYTES:
        count_look(stage, n);
        next_ms = telling->has_begun ? MESH_NEVER : step->to_ms;
        break;
    }
    telling->has_begun = true;
    telling->due_ms = next_ms;
}

static void tell(struct stage *stage)
{
    const struct scenario *scenario = stage->scenario;
    struct world *world = stage->world;
    for (;;) {
        uint64_t due_ms = scenario->end_ms;
        for (uint32_t n = 0; n < scenario->steps_count; n++)
            if (stage->telling[n].due_ms < due_ms)
                due_ms = stage->telling[n].due_ms;
        world_run(world, due_ms);
        for (uint32_t n = 0; n < scenario->steps_count && !world->failed; n++)
            if (stage->telling[n].due_ms == due_ms)
                step_now(stage, n, due_ms);
        if (world->failed || due_ms == scenario->end_ms)
            return;
    }
}

/* ---- what the world tells ------------------------------------------------------------------- */

void stage_changed(struct world *world, const struct seat *seat, const struct mesh_effect *effect)
{
    struct stage *stage = world->stage;
    uint64_t now_ms = world->now_us / WORLD_MS;
    char words[128];
    if (effect->changed.what != MESH_MEMBER_CHANGED)
        return;
    stage->changes[CHANGE_SUSPECT][seat->index] += effect->changed.state == MEMBER_SUSPECT;
    stage->changes[CHANGE_DEAD][seat->index] += effect->changed.state == MEMBER_DEAD;
    for (uint32_t n = 0; n < stage->scenario->steps_count; n++) {
        const struct step *step = &stage->scenario->steps[n];
        bool never = step->kind == STEP_NEVER;
        if ((step->kind != STEP_ALWAYS && !never) || step->state.kind != STATE_MEMBER ||
            now_ms < step->from_ms || now_ms > step->to_ms)
            continue;
        enum verdict verdict = change_is(stage, &step->state, never, seat, effect->changed.peer,
                                         effect->changed.state, words, sizeof words);
        stage->telling[n].looks += verdict != NOBODY_THERE;
        if (verdict == NOT_SO)
            step_fail(stage, step, "", words);
    }
}

void stage_turned(struct world *world, const struct seat *seat)
{
    struct stage *stage = world->stage;
    uint64_t hash = mesh_view_hash(seat->mesh);
    if (stage->view_hash[seat->index] == hash)
        return; /* whatever decides the ring is in it */
    stage->view_hash[seat->index] = hash;
    uint64_t ring = ring_sum(seat->mesh);
    stage->changes[CHANGE_RING][seat->index] += ring != stage->ring[seat->index];
    stage->ring[seat->index] = ring;
}

int scenario_run(const struct scenario *scenario, uint64_t seed, bool trace,
                 struct scenario_result *result)
{
    struct world *world = NULL;
    struct world_config config = {
        .seed = seed, .nodes = scenario->nodes, .steady = true, .trace = trace};
    static const enum mesh_upstream_kind kinds[] = {MESH_UP_HTTP, MESH_UP_STDIO, MESH_UP_BUILTIN};
    config.rebalances = scenario->rebalances;
    if (scenario->servers_by_seed)
        config.upstream = kinds[seed % 3];
    int rc = world_new(&world, &config);
    if (rc < 0)
        return rc;
    struct stage *stage = sim_zero(sizeof *stage);
    stage->scenario = scenario;
    stage->world = world;
    world->stage = stage;
    world->keyed = scenario->keyed;
    chance_init(&stage->chance, seed, 8);
    for (uint32_t n = 0; n < scenario->nodes; n++) {
        world->seats[n].start_serial++; /* nobody starts but by a deed */
        world->seats[n].is_foreign = (scenario->another.set[n / 64] >> n % 64 & 1) != 0;
    }
    for (uint32_t n = 0; n < SCENARIO_SESSIONS_MAX; n++)
        stage->sessions[n] = WORLD_NOBODY;
    for (uint32_t n = 0; n < scenario->steps_count; n++)
        stage->telling[n].due_ms = scenario->steps[n].from_ms;
    tell(stage);
    result->failed = world->failed;
    snprintf(result->failure, sizeof result->failure, "%s", world->failure);
    result->trace = world->trace;
    result->events = world->events;
    result->virtual_ms = world->now_us / WORLD_MS;
    world_free(world);
    free(stage);
    return 0;
}
