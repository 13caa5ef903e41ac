/* plan.c - what happens when and to whom: drawn from the seed before anything runs, so that a
 * change in how the peers behave does not change it; and carried out with the verbs of world.h and
 * net.h, which are those of scenarios, too. What happens to those who have a session is
 * plan_sessions.c's. */
#include "sim/net.h"
#include "sim/plan_inside.h"
#include "sim/upstream.h"

#define FIRST_FAULT_US (3u * WORLD_SECOND)
#define LEAVE_WITHIN_MS 5000u
#define LEAVE_STAY_MS 3000u
#define ROLLOUT_STEP_MS 6000u
#define STALE_PACKETS 40u
#define STALE_AGE_MS 60000u
#define MASS_WITHIN_MS 3000u
#define SWIZZLED_MAX 8u
#define SWIZZLE_STEP_MS 400u

/* ---- drawing -------------------------------------------------------------------------------- */

struct plan_row {
    enum fault_class class;
    uint32_t count_max;
    uint32_t least_ms, most_ms; /* how long; 0: it is over at once */
};

static const struct plan_row rows[] = {
    {FAULT_BURST, 20, 100, 5000},
    {FAULT_DELAY, 10, 100, 5000},
    {FAULT_CUT, 8, 50, 15000},
    {FAULT_SPLIT, 2, 200, 15000},
    {FAULT_ISOLATE, 3, 100, 12000},
    {FAULT_RESET, 30, 0, 0},
    {FAULT_CRASH, 6, 100, 20000},
    {FAULT_POWER, 3, 500, 20000},
    {FAULT_LEAVE, 3, 0, 0},
    {FAULT_PAUSE, 6, 100, 8000},
    {FAULT_SLOW, 3, 500, 10000},
    {FAULT_TWIN, 2, 500, 20000},
    {FAULT_UP_DIES, 3, 0, 0},
    {FAULT_UP_REFUSES, 3, 200, 8000},
    {FAULT_UP_SLOW, 3, 500, 10000},
    /* since draws 2 */
    {FAULT_GILBERT, 4, 1000, 30000},
    {FAULT_ONE_WAY, 4, 500, 15000},
    {FAULT_RATE, 3, 1000, 15000},
    {FAULT_MTU, 3, 1000, 30000},
    {FAULT_STALE, 6, 0, 0},
    {FAULT_ASYMMETRIC, 2, 200, 15000},
    {FAULT_BRIDGE, 2, 500, 15000},
    {FAULT_MAJORITIES, 2, 500, 15000},
    {FAULT_HALF, 3, 200, 12000},
    {FAULT_HALF_OPEN, 8, 0, 0},
    {FAULT_MID_FRAME, 16, 0, 0},
    {FAULT_EARLY_FIN, 16, 0, 0},
    {FAULT_STALL, 5, 100, 8000},
    {FAULT_STARVE, 3, 500, 12000},
    {FAULT_CLOCK, 4, 100, 3000},
    {FAULT_FOREIGN, 2, 100, 5000},
    {FAULT_SHARED, 2, 500, 12000},
    {FAULT_DNS, 3, 2000, 40000},
    {FAULT_FILES, 3, 200, 8000},
    {FAULT_UP_HANGS, 3, 200, 8000},
    {FAULT_OWNER, 4, 100, 15000},
    {FAULT_HOLDERS, 2, 100, 10000},
    {FAULT_WAKE, 3, 1000, 30000},
    {FAULT_UNHEARD, 4, 100, 15000},
    {FAULT_REJECT, 3, 500, 12000},
    /* their number depends on that of the peers */
    {FAULT_SWIZZLE, 2, 1000, 8000},
    {FAULT_MASS, 1, 100, 5000},
    {FAULT_FAILPOINT, 10, 1500, 12000},
    {FAULT_ROLLOUT, 1, 0, 0},
    {FAULT_RIVALS, 6, 3000, 10000},
    {FAULT_MALICE, 3, 3000, 20000},
};

static bool is_wanted(const struct world *world, uint32_t number)
{
    if (world->config.only == NULL)
        return true;
    for (uint32_t n = 0; n < world->config.only_count; n++)
        if (world->config.only[n] == number)
            return true;
    return false;
}

/* Takes its number, whether it is to happen or not. */
static void plan_append(struct world *world, struct fault fault)
{
    struct faults *faults = world->faults;
    uint64_t end_us = world->calm_from_us;
    faults->plan = sim_grow(faults->plan, faults->count, &faults->capacity, sizeof *faults->plan);
    fault.is_planned =
        fault_is_on(faults, fault.class) && fault.at_us < end_us && is_wanted(world, faults->count);
    if (fault.until_us > end_us)
        fault.until_us = end_us;
    if (fault.is_planned)
        world_at(world, fault.at_us, FAULT_BEGIN, WORLD_NOBODY, faults->count, 0);
    faults->plan[faults->count++] = fault;
}

static uint64_t drawn_ms(uint64_t salt, uint64_t purpose, uint64_t low, uint64_t high)
{
    struct shuffle chance;
    chance_key(&chance, salt, purpose);
    return chance_log(&chance, low, high);
}

/* Peers that begin one after the other and are free again in any order. */
static void append_swizzle(struct world *world, struct fault fault)
{
    uint32_t nodes = world->config.nodes;
    uint32_t count = nodes < SWIZZLED_MAX ? nodes : SWIZZLED_MAX;
    uint64_t began_us = fault.at_us, last_us = began_us + count * SWIZZLE_STEP_MS * WORLD_MS;
    for (uint32_t n = 0; n < count; n++) {
        fault.seat = (fault.seat + 1) % nodes;
        fault.at_us = began_us + n * SWIZZLE_STEP_MS * WORLD_MS;
        fault.until_us = last_us + drawn_ms(fault.salt, n, 50, 8000) * WORLD_MS;
        plan_append(world, fault);
    }
}

static void append_mass(struct world *world, struct fault fault)
{
    uint64_t began_us = fault.at_us;
    for (uint32_t n = 0; n < world->config.nodes; n++) {
        fault.seat = n;
        fault.at_us = began_us + drawn_ms(fault.salt, n, 1, MASS_WITHIN_MS) * WORLD_MS;
        fault.until_us =
            fault.at_us + drawn_ms(fault.salt, UINT64_C(1) << 32 | n, 100, 5000) * WORLD_MS;
        plan_append(world, fault);
    }
}

/* Each has its time, and is back, before the next goes. */
static void append_rollout(struct world *world, struct fault fault)
{
    for (uint32_t n = 0; n < world->config.nodes; n++) {
        fault.seat = (fault.seat + 1) % world->config.nodes;
        fault.until_us = fault.at_us;
        plan_append(world, fault);
        fault.at_us += drawn_ms(fault.salt, n, ROLLOUT_STEP_MS, 2 * ROLLOUT_STEP_MS) * WORLD_MS;
    }
}

static void plan_add(struct world *world, struct shuffle *chance, const struct plan_row *row)
{
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
    if (row->class == FAULT_SPLIT || row->class == FAULT_ASYMMETRIC)
        fault.other = 1 + fault.other / 2;
    if (row->class > FAULT_BOGUS)
        fault.salt = shuffle_u64(chance);
    if (row->class == FAULT_SWIZZLE)
        append_swizzle(world, fault);
    else if (row->class == FAULT_MASS)
        append_mass(world, fault);
    else if (row->class == FAULT_ROLLOUT)
        append_rollout(world, fault);
    else
        plan_append(world, fault);
}

void plan_draw(struct world *world)
{
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        struct shuffle own;
        if (world->config.draws == 1 && rows[n].class > FAULT_BOGUS)
            continue;
        chance_init(&own, world->config.seed, 100 + rows[n].class);
        uint32_t count = 1 + chance_below(&own, rows[n].count_max);
        for (uint32_t k = 0; k < count; k++)
            plan_add(world, &own, &rows[n]);
    }
}

/* ---- wires ---------------------------------------------------------------------------------- */

/* Who sees whom when each sees its neighbours only, in an order that the fault drew. */
struct order {
    uint32_t place[WORLD_NODES_MAX];
};

static void order_draw(const struct fault *fault, uint32_t nodes, struct order *order)
{
    struct shuffle chance;
    chance_key(&chance, fault->salt, 0);
    for (uint32_t n = 0; n < nodes; n++) {
        uint32_t at = chance_below(&chance, n + 1);
        order->place[n] = order->place[at];
        order->place[at] = n;
    }
}

static bool is_beyond_reach(const struct order *order, uint32_t from, uint32_t to, uint32_t nodes)
{
    uint32_t a = order->place[from], b = order->place[to];
    uint32_t apart = a > b ? a - b : b - a;
    uint32_t reach = (nodes + 2) / 4; /* each way: with itself a majority */
    return (apart < nodes - apart ? apart : nodes - apart) > reach;
}

static bool fault_parts(const struct world *world, const struct fault *fault,
                        const struct order *order, uint32_t from, uint32_t to)
{
    uint32_t nodes = world->config.nodes;
    uint32_t from_place = (from % nodes + nodes - fault->seat) % nodes;
    uint32_t to_place = (to % nodes + nodes - fault->seat) % nodes;
    switch ((int)fault->class) {
    case FAULT_CUT:
        return from == fault->seat && to == fault->other;
    case FAULT_SPLIT:
        return (from_place < fault->other) != (to_place < fault->other);
    case FAULT_ISOLATE:
        return (from_place == 0) != (to_place == 0);
    case FAULT_ASYMMETRIC:
        return from_place < fault->other && to_place >= fault->other;
    case FAULT_BRIDGE:
        return from_place != 0 && to_place != 0 &&
               (from_place <= nodes / 2) != (to_place <= nodes / 2);
    case FAULT_MAJORITIES:
        return is_beyond_reach(order, from, to, nodes);
    }
    return false;
}

/* True: somebody was parted. */
static bool cuts_do(struct world *world, const struct fault *fault, bool begins)
{
    bool done = false;
    struct order order;
    order_draw(fault, world->config.nodes, &order);
    for (uint32_t from = 0; from < world->config.nodes; from++)
        for (uint32_t to = 0; to < world->config.nodes; to++) {
            if (from == to || !fault_parts(world, fault, &order, from, to))
                continue;
            (begins ? world_cut : world_heal)(world, from, to);
            done = true;
        }
    return done;
}

static bool is_in_scope(const struct fault *fault, uint32_t from, uint32_t to)
{
    switch (fault->salt & 3) {
    case 0:
        return from == fault->seat && to == fault->other;
    case 1:
        return from == fault->seat;
    case 2:
        return to == fault->seat;
    }
    return from == fault->seat || to == fault->seat;
}

/* One path, or those from or to a peer, or both. */
static void paths_do(struct world *world, const struct fault *fault, bool begins)
{
    uint32_t kbs = (uint32_t)drawn_ms(fault->salt, 1, 8, 500);
    uint32_t queue_ms = (uint32_t)drawn_ms(fault->salt, 2, 50, 3000);
    uint32_t good_ms = (uint32_t)drawn_ms(fault->salt, 1, 200, 10000);
    uint32_t bad_ms = (uint32_t)drawn_ms(fault->salt, 2, 50, 3000);
    uint32_t ppm = (uint32_t)drawn_ms(fault->salt, 3, 300000, 1000000);
    uint32_t mtu_bytes = (uint32_t)drawn_ms(fault->salt, 1, 150, 1227);
    for (uint32_t from = 0; from < world->config.nodes; from++)
        for (uint32_t to = 0; to < world->config.nodes; to++) {
            if (from == to || !is_in_scope(fault, from, to))
                continue;
            if (fault->class == FAULT_GILBERT)
                net_set_bursts(world, from, to, good_ms, begins ? bad_ms : 0, ppm);
            else if (fault->class == FAULT_ONE_WAY)
                net_set_loss(world, from, to, begins ? ppm : 0);
            else if (fault->class == FAULT_RATE)
                net_set_rate(world, from, to, begins ? kbs : 0, kbs * queue_ms);
            else
                net_set_mtu(world, from, to, begins ? mtu_bytes : 0);
        }
}

static void swizzle_do(struct world *world, const struct fault *fault, bool begins)
{
    uint64_t until_us = begins ? fault->until_us : 0;
    for (uint32_t n = 0; n < world->config.nodes; n++)
        if (n != fault->seat) {
            net_clog(world, fault->seat, n, until_us);
            net_clog(world, n, fault->seat, until_us);
        }
}

/* ---- lives ---------------------------------------------------------------------------------- */

/* A second process of a living peer's name; when it goes, the first one may be gone too. */
static bool twin_do(struct world *world, struct fault *fault, bool begins)
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
    return begins && fault->serial != WORLD_NOBODY;
}

bool plan_death_do(struct world *world, struct fault *fault, bool begins)
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

/* An hour back or ahead, or a strobe: a little to and fro, from one start to the next. */
static bool clock_do(struct world *world, struct fault *fault, bool begins)
{
    static const int64_t jumps_ms[] = {-3600000, 3600000, -200, 200};
    if (begins && world_runs(world, fault->seat))
        world_set_wall(world, fault->seat, jumps_ms[fault->salt % 4]);
    return plan_death_do(world, fault, begins);
}

/* The peer's address goes to a peer of another cluster, which has its name; it gets a new one. */
static bool foreign_do(struct world *world, struct fault *fault, bool begins)
{
    uint32_t seat = fault->seat, address = world->seats[seat].address;
    if (!begins) {
        world_restart(world, seat, false);
        return false;
    }
    if (!world_runs(world, seat) || world_owners(world, address) > 1)
        return false;
    fault->serial = world_add_foreigner(world, seat, address);
    if (fault->serial == WORLD_NOBODY)
        return false;
    world_crash(world, seat, fault->salt % 2 == 0 ? DEATH_KILLED : DEATH_POWER);
    world_move(world, seat, world_new_address(world));
    world_start(world, fault->serial);
    return true;
}

static bool shared_do(struct world *world, struct fault *fault, bool begins)
{
    struct seat *seat = &world->seats[fault->seat];
    if (!begins) {
        if (fault->serial == WORLD_NOBODY || seat->address != fault->serial)
            return false;
        world_crash(world, fault->seat, DEATH_KILLED);
        world_move(world, fault->seat, fault->address);
        world_restart(world, fault->seat, false);
        return false;
    }
    fault->serial = WORLD_NOBODY;
    if (fault->seat == fault->other || !world_runs(world, fault->seat) ||
        !world_runs(world, fault->other))
        return false;
    fault->address = seat->address;
    fault->serial = world->seats[fault->other].address;
    world_crash(world, fault->seat, DEATH_KILLED);
    world_move(world, fault->seat, fault->serial);
    world_restart(world, fault->seat, false);
    world_disturb(world, fault->other);
    return true;
}

/* ---- contacts -------------------------------------------------------------------------------- */

static void dns_do(struct world *world, const struct fault *fault, bool begins)
{
    static const enum world_dns kinds[] = {DNS_EMPTY, DNS_STALE, DNS_LYING};
    for (uint32_t n = 0; n < world->config.nodes; n++)
        if (n == fault->seat || fault->salt % 2 == 0)
            world_set_dns(world, n, begins ? kinds[fault->salt / 2 % 3] : DNS_RIGHT);
}

/* ---- one fault ------------------------------------------------------------------------------ */

static bool wire_do(struct world *world, struct fault *fault, bool begins)
{
    struct path *path = net_path(world, fault->seat, fault->other);
    switch ((int)fault->class) {
    case FAULT_BURST:
        path->bad_until_us = begins ? fault->until_us : path->bad_until_us;
        return false; /* counted by what it loses */
    case FAULT_DELAY:
        path->slow_until_us = begins ? fault->until_us : path->slow_until_us;
        return false;
    case FAULT_CUT:
    case FAULT_SPLIT:
    case FAULT_ISOLATE:
    case FAULT_ASYMMETRIC:
    case FAULT_BRIDGE:
    case FAULT_MAJORITIES:
        return cuts_do(world, fault, begins);
    case FAULT_HALF:
        (fault->salt % 2 == 0 ? world_mute : world_deafen)(world, fault->seat, begins);
        return begins;
    case FAULT_SWIZZLE:
        swizzle_do(world, fault, begins);
        return false;
    case FAULT_RESET:
        return begins && net_break_any(world, BREAK_RESET);
    case FAULT_HALF_OPEN:
        return begins && net_break_any(world, BREAK_HALF_OPEN);
    case FAULT_MID_FRAME:
    case FAULT_EARLY_FIN: /* counted when something is written */
        net_break_any(world, fault->class == FAULT_MID_FRAME ? BREAK_MID_FRAME : BREAK_EARLY_FIN);
        return false;
    case FAULT_STALE:
        return net_replay(world, STALE_PACKETS, STALE_AGE_MS) > 0;
    default:
        paths_do(world, fault, begins);
        return false;
    }
}

static bool leave_do(struct world *world, const struct fault *fault, bool begins)
{
    const struct seat *seat = &world->seats[fault->seat];
    if (!begins || seat->mesh == NULL || seat->leaving || seat->paused_until_us > world->now_us)
        return false;
    world_leave(world, fault->seat, (uint32_t)(fault->at_us / WORLD_MS % (LEAVE_STAY_MS + 1)),
                LEAVE_WITHIN_MS);
    return true;
}

static bool upstream_dies(struct world *world, const struct fault *fault, bool begins)
{
    struct seat *seat = &world->seats[fault->seat];
    if (!begins || seat->mesh == NULL || seat->paused_until_us > world->now_us)
        return false;
    bool killed = upstreams_kill(world, seat) > 0;
    world_turn(world, seat);
    return killed;
}

bool plan_do(struct world *world, struct fault *fault, bool begins)
{
    const struct seat *seat = &world->seats[fault->seat];
    uint32_t left_ms = begins ? (uint32_t)((fault->until_us - world->now_us) / WORLD_MS) : 0;
    switch ((int)fault->class) {
    case FAULT_CRASH:
    case FAULT_POWER:
    case FAULT_MASS:
        return plan_death_do(world, fault, begins);
    case FAULT_CLOCK:
        return clock_do(world, fault, begins);
    case FAULT_FOREIGN:
        return foreign_do(world, fault, begins);
    case FAULT_SHARED:
        return shared_do(world, fault, begins);
    case FAULT_TWIN:
        return twin_do(world, fault, begins);
    case FAULT_LEAVE:
    case FAULT_ROLLOUT:
        return leave_do(world, fault, begins);
    case FAULT_PAUSE:
        if (begins && seat->mesh != NULL)
            world_pause(world, fault->seat, left_ms);
        return begins && seat->mesh != NULL;
    case FAULT_SLOW:
        world_slow(world, fault->seat, begins ? 1000 + (uint32_t)(fault->at_us % 90000) : 0);
        return begins && seat->mesh != NULL;
    case FAULT_STALL: /* counted by what waits, as the next */
        if (begins)
            world_stall_io(world, fault->seat, left_ms);
        return false;
    case FAULT_STARVE:
        world_starve(world, fault->seat,
                     begins ? (uint32_t)drawn_ms(fault->salt, 1, 200, 6000) : 0);
        return false;
    case FAULT_MALICE: /* always the same one; counted by datagrams with lies */
        world->seats[world->config.seed % world->config.nodes].lies_until_us =
            begins ? fault->until_us : 0;
        return false;
    case FAULT_DNS: /* counted by wrong contacts */
        dns_do(world, fault, begins);
        return false;
    case FAULT_FILES: /* counted by what is refused */
        world_set_files(world, fault->seat, begins);
        return false;
    case FAULT_UP_DIES:
        return upstream_dies(world, fault, begins);
    case FAULT_UP_REFUSES:
        upstreams_refuse(world, fault->seat, begins);
        return false;
    case FAULT_UP_SLOW:
        world->upstreams->slow[fault->seat] = begins;
        return false;
    case FAULT_UP_HANGS: /* counted by what waits */
        world->upstreams->hangs_until_us[fault->seat] = begins ? fault->until_us : 0;
        return false;
    case FAULT_OWNER:
    case FAULT_HOLDERS:
    case FAULT_WAKE:
    case FAULT_UNHEARD:
    case FAULT_REJECT:
    case FAULT_RIVALS:
    case FAULT_FAILPOINT:
        return plan_session_do(world, fault, begins);
    default:
        return wire_do(world, fault, begins);
    }
}
