/* faults.c - the plan of what goes wrong, drawn from the seed before anything runs, so that a
 * change in how the peers behave does not change it. What a fault does to a wire, a life or an
 * upstream is done by their files. */
#include "sim/faults.h"

#include <stdlib.h>
#include <string.h>

#include "sim/client.h"
#include "sim/net.h"
#include "sim/upstream.h"
#include "sim/world.h"

#define FIRST_FAULT_US (3u * WORLD_SECOND)
#define LEAVE_WITHIN_MS 5000u

static const char *const names[FAULT_CLASSES] = {
    "loss",    "burst",  "delay",   "duplicate", "reorder", "corrupt",    "replay",
    "cut",     "split",  "isolate", "reset",     "crash",   "power",      "readdress",
    "leave",   "pause",  "slow",    "twin",      "up-dies", "up-refuses", "up-half",
    "up-slow", "vanish", "reader",  "bogus"};

const char *fault_name(enum fault_class class)
{
    return names[class];
}

bool faults_parse(const char *text, uint64_t *mask)
{
    if (strcmp(text, "all") == 0 || strcmp(text, "none") == 0) {
        *mask = text[0] == 'a' ? FAULTS_ALL : 0;
        return true;
    }
    *mask = 0;
    while (*text != 0) {
        size_t length = strcspn(text, ",");
        uint32_t class = 0;
        while (class < FAULT_CLASSES &&
               (strlen(names[class]) != length || memcmp(names[class], text, length) != 0))
            class ++;
        if (class == FAULT_CLASSES)
            return false;
        *mask |= UINT64_C(1) << class;
        text += length + (text[length] == ',');
    }
    return true;
}

/* ---- the plan ------------------------------------------------------------------------------- */

struct plan_row {
    enum fault_class class;
    uint32_t count_max;
    uint32_t least_ms, most_ms; /* how long; 0: it is over at once */
};

static const struct plan_row rows[] = {
    {FAULT_BURST, 20, 100, 5000}, {FAULT_DELAY, 10, 100, 5000},     {FAULT_CUT, 8, 50, 15000},
    {FAULT_SPLIT, 2, 200, 15000}, {FAULT_ISOLATE, 3, 100, 12000},   {FAULT_RESET, 30, 0, 0},
    {FAULT_CRASH, 6, 100, 20000}, {FAULT_POWER, 3, 500, 20000},     {FAULT_LEAVE, 3, 0, 0},
    {FAULT_PAUSE, 6, 100, 8000},  {FAULT_SLOW, 3, 500, 10000},      {FAULT_TWIN, 2, 500, 20000},
    {FAULT_UP_DIES, 3, 0, 0},     {FAULT_UP_REFUSES, 3, 200, 8000}, {FAULT_UP_SLOW, 3, 500, 10000},
};

static void plan_add(struct world *world, struct shuffle *chance, const struct plan_row *row)
{
    struct faults *faults = world->faults;
    uint64_t end_us = (uint64_t)world->config.chaos_ms * WORLD_MS;
    struct fault fault = {.class = row->class};
    if (end_us <= FIRST_FAULT_US)
        return;
    fault.at_us = FIRST_FAULT_US + shuffle_u64(chance) % (end_us - FIRST_FAULT_US);
    if (row->most_ms > 0)
        fault.until_us = fault.at_us + chance_log(chance, row->least_ms, row->most_ms) * WORLD_MS;
    else
        fault.until_us = fault.at_us;
    if (fault.until_us > end_us)
        fault.until_us = end_us;
    fault.seat = chance_below(chance, world->config.nodes);
    fault.other = chance_below(chance, world->config.nodes);
    if (row->class == FAULT_SPLIT)
        fault.other = 1 + fault.other / 2;
    faults->plan = sim_grow(faults->plan, faults->count, &faults->capacity, sizeof *faults->plan);
    world_at(world, fault.at_us, FAULT_BEGIN, WORLD_NOBODY, faults->count, 0);
    faults->plan[faults->count++] = fault;
}

int faults_new(struct world *world)
{
    struct faults *faults = sim_zero(sizeof *faults);
    struct shuffle chance;
    world->faults = faults;
    chance_init(&chance, world->config.seed, 5);
    /* All draws are made, wanted or not: a mask takes faults away and changes no other. */
    uint64_t on = shuffle_u64(&chance);
    uint64_t fewer = shuffle_u64(&chance);
    fewer |= shuffle_u64(&chance);
    faults->on = on & fewer & world->config.faults;
    uint64_t loss = chance_log(&chance, 1000, 250000);
    uint64_t duplicate = chance_log(&chance, 1000, 200000);
    uint64_t reorder = chance_log(&chance, 1000, 300000);
    uint64_t corrupt = chance_log(&chance, 500, 50000);
    uint64_t replay = chance_log(&chance, 500, 20000);
    faults->loss_ppm = fault_is_on(faults, FAULT_LOSS) ? (uint32_t)loss : 0;
    faults->duplicate_ppm = fault_is_on(faults, FAULT_DUPLICATE) ? (uint32_t)duplicate : 0;
    faults->reorder_ppm = fault_is_on(faults, FAULT_REORDER) ? (uint32_t)reorder : 0;
    faults->corrupt_ppm = fault_is_on(faults, FAULT_CORRUPT) ? (uint32_t)corrupt : 0;
    faults->replay_ppm = fault_is_on(faults, FAULT_REPLAY) ? (uint32_t)replay : 0;
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        struct shuffle own;
        chance_init(&own, world->config.seed, 100 + rows[n].class);
        uint32_t count = 1 + chance_below(&own, rows[n].count_max);
        if (!fault_is_on(faults, rows[n].class))
            count = 0;
        for (uint32_t k = 0; k < count; k++)
            plan_add(world, &own, &rows[n]);
    }
    if (world->config.load)
        world->quiet_us = faults->on == 0 ? 15 * WORLD_SECOND
                                          : (uint64_t)(world->config.chaos_ms + 15000) * WORLD_MS;
    return 0;
}

void faults_free(struct world *world)
{
    if (world->faults == NULL)
        return;
    free(world->faults->plan);
    free(world->faults);
    world->faults = NULL;
}

/* ---- carrying it out ------------------------------------------------------------------------ */

static bool on_one_side(const struct world *world, const struct fault *fault, uint32_t seat)
{
    uint32_t nodes = world->config.nodes;
    uint32_t place = (seat % nodes + nodes - fault->seat) % nodes;
    return fault->class == FAULT_ISOLATE ? place == 0 : place < fault->other;
}

static void split_do(struct world *world, const struct fault *fault, bool cut)
{
    for (uint32_t from = 0; from < world->config.nodes; from++)
        for (uint32_t to = 0; to < world->config.nodes; to++) {
            if (on_one_side(world, fault, from) == on_one_side(world, fault, to))
                continue;
            if (cut)
                world_cut(world, from, to);
            else
                world_heal(world, from, to);
        }
}

static void slow_do(struct world *world, struct fault *fault, bool begins)
{
    struct seat *seat = &world->seats[fault->seat];
    seat->turn_us = begins ? 1000 + fault->at_us % 90000 : 0;
    world_disturb(world, fault->seat);
}

/* A second process of a living peer's name; when it goes, the first one may be gone too. */
static void twin_do(struct world *world, struct fault *fault, bool begins)
{
    if (begins) {
        fault->serial =
            world_runs(world, fault->seat) ? world_add_twin(world, fault->seat) : WORLD_NOBODY;
        if (fault->serial != WORLD_NOBODY) {
            world_disturb(world, fault->seat);
            world_start(world, fault->serial);
        }
    } else if (fault->serial != WORLD_NOBODY) {
        world_crash(world, fault->serial, DEATH_KILLED);
        world_restart(world, fault->seat, false);
    }
}

static bool death_do(struct world *world, struct fault *fault, bool begins)
{
    uint32_t seat = fault->seat;
    if (!begins) {
        bool moves = fault_is_on(world->faults, FAULT_READDRESS) && fault->at_us % 2 == 0;
        if (moves && !world_runs(world, seat))
            world->faults->hits[FAULT_READDRESS]++;
        world_restart(world, seat, moves);
        return false;
    }
    if (!world_runs(world, seat))
        return false;
    world_crash(world, seat, fault->class == FAULT_POWER ? DEATH_POWER : DEATH_KILLED);
    return true;
}

/* True: it happened to somebody. */
static bool fault_do(struct world *world, struct fault *fault, bool begins)
{
    struct seat *seat = &world->seats[fault->seat];
    struct path *path = net_path(world, fault->seat, fault->other);
    switch (fault->class) {
    case FAULT_BURST:
        path->bad_until_us = begins ? fault->until_us : path->bad_until_us;
        return false; /* counted by what it loses */
    case FAULT_DELAY:
        path->slow_until_us = begins ? fault->until_us : path->slow_until_us;
        return false;
    case FAULT_CUT:
        if (fault->seat == fault->other)
            return false;
        if (begins)
            world_cut(world, fault->seat, fault->other);
        else
            world_heal(world, fault->seat, fault->other);
        return true;
    case FAULT_SPLIT:
    case FAULT_ISOLATE:
        split_do(world, fault, begins);
        return true;
    case FAULT_RESET:
        return begins && net_reset_any(world);
    case FAULT_CRASH:
    case FAULT_POWER:
        return death_do(world, fault, begins);
    case FAULT_LEAVE:
        if (begins && seat->mesh != NULL && !seat->leaving &&
            seat->paused_until_us <= world->now_us) {
            world_leave(world, fault->seat, LEAVE_WITHIN_MS);
            return true;
        }
        return false;
    case FAULT_PAUSE:
        if (begins && seat->mesh != NULL) {
            uint64_t for_us = fault->until_us - world->now_us;
            world_pause(world, fault->seat, (uint32_t)(for_us / WORLD_MS));
        }
        return seat->mesh != NULL;
    case FAULT_SLOW:
        slow_do(world, fault, begins);
        return seat->mesh != NULL;
    case FAULT_TWIN:
        twin_do(world, fault, begins);
        return begins && fault->serial != WORLD_NOBODY;
    case FAULT_UP_DIES:
        if (!begins || seat->mesh == NULL || seat->paused_until_us > world->now_us)
            return false;
        bool killed = upstreams_kill(world, seat) > 0;
        world_turn(world, seat);
        return killed;
    case FAULT_UP_REFUSES:
        world->upstreams->refuses[fault->seat] = begins;
        return false;
    case FAULT_UP_SLOW:
        world->upstreams->slow[fault->seat] = begins;
        return false;
    case FAULT_LOSS:
    case FAULT_DUPLICATE:
    case FAULT_REORDER:
    case FAULT_CORRUPT:
    case FAULT_REPLAY:
    case FAULT_READDRESS:
    case FAULT_UP_HALF:
    case FAULT_VANISH:
    case FAULT_READER:
    case FAULT_BOGUS:
    case FAULT_CLASSES:
        break; /* drawn where they happen */
    }
    return false;
}

void faults_event(struct world *world, const struct world_event *event)
{
    struct fault *fault = &world->faults->plan[event->a];
    if (event->kind == FAULT_BEGIN && !fault->is_on) {
        fault->is_on = true;
        world_say(world, NULL, "fault %s p%u p%u", names[fault->class], fault->seat, fault->other);
        if (fault_do(world, fault, true))
            world->faults->hits[fault->class]++;
        if (fault->until_us > fault->at_us)
            world_at(world, fault->until_us, FAULT_END, WORLD_NOBODY, event->a, 0);
    } else if (event->kind == FAULT_END && fault->is_on) {
        fault->is_on = false;
        fault_do(world, fault, false);
    }
}

void faults_calm(struct world *world)
{
    struct faults *faults = world->faults;
    world_say(world, NULL, "calm");
    world->calm = true;
    faults->loss_ppm = faults->duplicate_ppm = faults->reorder_ppm = 0;
    faults->corrupt_ppm = faults->replay_ppm = 0;
    for (uint32_t n = 0; n < faults->count; n++)
        if (faults->plan[n].is_on && faults->plan[n].until_us > faults->plan[n].at_us) {
            faults->plan[n].is_on = false;
            fault_do(world, &faults->plan[n], false);
        }
    for (uint32_t n = world->config.nodes; n < world->seats_count; n++)
        world_crash(world, n, DEATH_KILLED);
    for (uint32_t n = 0; n < world->config.nodes; n++)
        world_restart(world, n, false);
}
