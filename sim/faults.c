/* faults.c - which classes of fault are on for a seed, and when the chaos ends. What happens when
 * and to whom is plan.c's. */
#include "sim/faults.h"

#include <stdlib.h>
#include <string.h>

#include "sim/net.h"
#include "sim/world.h"

static const char *const names[FAULT_CLASSES] = {
    "loss",    "burst",     "delay",     "duplicate",  "reorder", "corrupt",    "replay",
    "cut",     "split",     "isolate",   "reset",      "crash",   "power",      "readdress",
    "leave",   "pause",     "slow",      "twin",       "up-dies", "up-refuses", "up-half",
    "up-slow", "vanish",    "reader",    "bogus",      "gilbert", "one-way",    "rate",
    "mtu",     "truncate",  "stale",     "asymmetric", "bridge",  "majorities", "swizzle",
    "half",    "half-open", "mid-frame", "early-fin",  "stall",   "starve",     "clock",
    "foreign", "shared",    "mass",      "dns",        "files",   "up-twice",   "up-hangs",
    "owner",   "holders",   "wake",      "unheard",    "reject",  "failpoint",  "rollout",
    "skew",    "rivals",    "malice",    "keys"};

const char *fault_name(enum fault_class class)
{
    return names[class];
}

bool faults_parse(const char *text, uint64_t *mask)
{
    *mask = 0;
    if (strcmp(text, "none") == 0)
        return true;
    while (*text != 0) {
        size_t length = strcspn(text, ",");
        uint32_t class = 0;
        while (class < FAULT_CLASSES &&
               (strlen(names[class]) != length || memcmp(names[class], text, length) != 0))
            class ++;
        bool is_all = length == 3 && memcmp("all", text, 3) == 0;
        if (class == FAULT_CLASSES && !is_all)
            return false;
        *mask |= is_all ? FAULTS_ALL : UINT64_C(1) << class;
        text += length + (text[length] == ',');
    }
    return true;
}

void faults_print(uint64_t mask, char *text, size_t room)
{
    size_t at = 0;
    snprintf(text, room, "none");
    for (uint32_t n = 0; n < FAULT_CLASSES && at < room; n++)
        if ((mask >> n & 1) != 0)
            at += (size_t)snprintf(text + at, room - at, "%s%s", at == 0 ? "" : ",", names[n]);
}

/* Swarm testing (Groce et al., "Swarm Testing", 2012): some seeds with few classes, some with many;
 * a class that is always there hides what others would show. Alone it hides none. */
static uint64_t swarm_draw(const struct world *world)
{
    struct shuffle chance;
    if ((world->config.faults & (world->config.faults - 1)) == 0)
        return world->config.faults;
    chance_init(&chance, world->config.seed, 11);
    uint64_t a = shuffle_u64(&chance), b = shuffle_u64(&chance), c = shuffle_u64(&chance);
    switch (chance_below(&chance, 16)) {
    case 0:
        return 0;
    case 1:
    case 2:
    case 3:
    case 4:
    case 5:
        return a & b & c; /* an eighth of them */
    case 6:
    case 7:
    case 8:
    case 9:
    case 10:
        return a & b;
    case 11:
    case 12:
    case 13:
        return a & (b | c);
    }
    return a;
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
    if (world->config.draws == 1)
        faults->on = on & fewer & FAULTS_OF_DRAWS_1 & world->config.faults;
    else
        faults->on = (swarm_draw(world) | fault_bit(FAULT_FAILPOINT) | fault_bit(FAULT_ROLLOUT) |
                      fault_bit(FAULT_RIVALS) | fault_bit(FAULT_MALICE) | fault_bit(FAULT_KEYS)) &
                     world->config.faults & FAULTS_BUILT;
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
    uint64_t truncate = chance_log(&chance, 500, 50000);
    faults->truncate_ppm = fault_is_on(faults, FAULT_TRUNCATE) ? (uint32_t)truncate : 0;
    world->net->keeps = fault_is_on(faults, FAULT_STALE);
    plan_draw(world);
    if (fault_is_on(faults, FAULT_KEYS))
        keyfile_plan(world);
    if (world->config.load)
        world->quiet_us =
            faults->on == 0 ? 15 * WORLD_SECOND : world->calm_from_us + 15 * WORLD_SECOND;
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

void faults_event(struct world *world, const struct world_event *event)
{
    struct fault *fault = &world->faults->plan[event->a];
    if (event->kind == FAULT_BEGIN && !fault->is_on) {
        fault->is_on = true;
        world_say(world, NULL, "fault %u %s p%u p%u until %u ms", event->a, names[fault->class],
                  fault->seat, fault->other, (uint32_t)(fault->until_us / WORLD_MS));
        if (plan_do(world, fault, true))
            world->faults->hits[fault->class]++;
        if (fault->until_us > fault->at_us)
            world_at(world, fault->until_us, FAULT_END, WORLD_NOBODY, event->a, 0);
    } else if (event->kind == FAULT_END && fault->is_on) {
        fault->is_on = false;
        plan_do(world, fault, false);
    }
}

/* A seat may have kept another's address through a restart: calm is without such. */
static void part_addresses(struct world *world)
{
    for (uint32_t n = 1; n < world->config.nodes; n++)
        for (uint32_t m = 0; m < n; m++)
            if (world->seats[n].address == world->seats[m].address) {
                world_crash(world, n, DEATH_KILLED);
                world->seats[n].address = world_new_address(world);
            }
}

void faults_calm(struct world *world)
{
    struct faults *faults = world->faults;
    world_say(world, NULL, "calm");
    world->calm = true;
    faults->loss_ppm = faults->duplicate_ppm = faults->reorder_ppm = 0;
    faults->corrupt_ppm = faults->replay_ppm = faults->truncate_ppm = 0;
    net_calm(world);
    for (uint32_t n = 0; n < faults->count; n++)
        if (faults->plan[n].is_on && faults->plan[n].until_us > faults->plan[n].at_us) {
            faults->plan[n].is_on = false;
            plan_do(world, &faults->plan[n], false);
        }
    for (uint32_t n = world->config.nodes; n < world->seats_count; n++)
        if (!world->seats[n].is_foreign)
            world_crash(world, n, DEATH_KILLED);
    part_addresses(world);
    for (uint32_t n = 0; n < world->config.nodes; n++)
        world_restart(world, n, false);
}
