/* life.c - who lives at which address: starts, deaths, restarts, leaving and stopping of peers. The
 * clock and the turns are world.c's. */
#include <stdlib.h>

#include "mesh/wire/identity.h"
#include "sim/check.h"
#include "sim/client.h"
#include "sim/ends.h"
#include "sim/net.h"
#include "sim/scenario.h"
#include "sim/sse.h"
#include "sim/upstream.h"
#include "sim/world.h"

#define WALL_MS UINT64_C(1780000000000) /* wall clock of every world's start */
#define JOIN_AGAIN_US (10u * WORLD_SECOND)
#define SHARED_TURN_BITS 18 /* 0.26 s: then the other of two processes at one address gets it */
#define NOWHERE 0xfff000u   /* addresses from here on are nobody's */

/* ---- addresses and ids ---------------------------------------------------------------------- */

void world_addr(struct mesh_addr *addr, uint32_t address)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    memcpy(addr->ip, mapped, sizeof mapped);
    addr->ip[12] = 127; /* loopback: the mesh may run without a key */
    addr->ip[13] = (uint8_t)(1 + (address >> 16));
    addr->ip[14] = (uint8_t)(address >> 8);
    addr->ip[15] = (uint8_t)address;
    addr->port = 7946;
}

uint32_t world_address_of(const struct mesh_addr *addr)
{
    struct mesh_addr same;
    if (addr->ip[13] == 0)
        return WORLD_NOBODY;
    uint32_t address =
        (uint32_t)(addr->ip[13] - 1) << 16 | (uint32_t)addr->ip[14] << 8 | addr->ip[15];
    world_addr(&same, address);
    return mesh_addr_equal(addr, &same) ? address : WORLD_NOBODY;
}

uint32_t world_seat_at(const struct world *world, uint32_t address)
{
    uint32_t first = WORLD_NOBODY, turn = (uint32_t)(world->now_us >> SHARED_TURN_BITS & 1);
    for (uint32_t n = 0; n < world->seats_count; n++) {
        const struct seat *seat = &world->seats[n];
        if (seat->address != address)
            continue;
        if (first == WORLD_NOBODY || (world->seats[first].mesh == NULL && seat->mesh != NULL))
            first = n;
        else if (seat->mesh != NULL && turn == 1)
            return n; /* two share it */
    }
    return first;
}

bool world_serves(const struct world *world, uint32_t seat)
{
    return world_runs(world, seat) && !world->seats[seat].is_foreign;
}

bool world_runs(const struct world *world, uint32_t seat)
{
    return seat < world->seats_count && world->seats[seat].mesh != NULL;
}

bool world_life_runs(const struct world *world, uint32_t life)
{
    return life < world->lives_count && world->lives[life].ended_us == 0;
}

void world_lives_note(struct world *world)
{
    for (uint32_t n = 0; n < world->lives_count; n++) {
        struct life *life = &world->lives[n];
        if (life->ended_us != 0)
            continue;
        const struct seat *seat = &world->seats[life->seat];
        const struct mesh_member *self = mesh_self(seat->mesh);
        life->id = self->record->id;
        life->nonce = self->record->nonce;
        life->version = self->record->version;
        life->incarnation = self->incarnation;
        life->was_leaving = seat->leaving || seat->exited;
    }
}

uint32_t world_life_of(struct world *world, struct peer_id id)
{
    world_lives_note(world); /* a generation is fixed only when its peer has joined */
    uint32_t found = WORLD_NOBODY;
    /* of two in one generation, which their nonces tell apart, the one that runs is meant */
    for (uint32_t n = world->lives_count; n-- > 0;) {
        if (!peer_id_equal(world->lives[n].id, id))
            continue;
        if (world->lives[n].ended_us == 0)
            return n;
        if (found == WORLD_NOBODY)
            found = n;
    }
    return found;
}

bool world_agrees(const struct world *world, uint32_t living)
{
    static struct mesh_member members[2 * WORLD_SEATS_MAX];
    uint64_t hash = 0;
    bool has_hash = false;
    for (uint32_t n = 0; n < world->seats_count; n++) {
        const struct seat *seat = &world->seats[n];
        if (seat->mesh == NULL || seat->waits_for_name || seat->is_foreign)
            continue;
        size_t count = mesh_members(seat->mesh, members, 2 * WORLD_SEATS_MAX);
        uint32_t alive = 0;
        for (size_t m = 0; m < count && m < 2 * WORLD_SEATS_MAX; m++)
            if (members[m].state == MEMBER_ALIVE)
                alive++;
        if (alive != living || (has_hash && mesh_view_hash(seat->mesh) != hash))
            return false;
        hash = mesh_view_hash(seat->mesh);
        has_hash = true;
    }
    return has_hash;
}

/* ---- lives ---------------------------------------------------------------------------------- */

static uint64_t draw_clock_us(struct world *world)
{
    if (world->config.steady)
        return UINT64_C(1000) * WORLD_SECOND;
    uint64_t seconds = chance_log(&world->chance, 10, 10000000);
    return seconds * WORLD_SECOND + chance_below(&world->chance, WORLD_SECOND);
}

/* One CA for all; another process of the name has the same file. */
static void identity_read(const struct seat *seat, struct mesh_config *config)
{
    uint8_t ca_secret[32] = {WORLD_KEY_BYTE}, key[32];
    memset(config->identity_secret, (int)(seat->name % 255 + 1), sizeof config->identity_secret);
    config->identity_secret[0] = (uint8_t)(seat->name / 255);
    identity_public(ca_secret, config->peer_ca);
    identity_public(config->identity_secret, key);
    identity_certify(ca_secret, config->name, key, config->identity_certificate);
    config->has_identity = true;
}

static void config_fill(struct world *world, const struct seat *seat, struct mesh_config *config,
                        char name[16])
{
    struct shuffle entropy;
    mesh_config_defaults(config);
    snprintf(name, 16, "p%u", seat->name);
    config->name = name;
    config->cluster = seat->is_foreign ? "another" : WORLD_LABEL;
    world_addr(&config->addr, seat->address);
    chance_init(&entropy, world->config.seed, 1000 + (uint64_t)seat->index * 4096 + seat->life);
    for (size_t n = 0; n < sizeof config->entropy; n++)
        config->entropy[n] = (uint8_t)shuffle_below(&entropy, 256);
    if (world->keyed)
        keyfile_read(world, seat, config);
    if (world->config.identities)
        identity_read(seat, config);
    config->boot_ms = WALL_MS + world->now_us / WORLD_MS;
    /* Names are on clocks that are wrong by up to an hour; a generation must not care. */
    if (!world->config.steady && seat->name % 4 == 3)
        config->boot_ms -= (seat->name * 7919u + seat->life * 104729u) % 3600000u;
    config->boot_ms = (uint64_t)((int64_t)config->boot_ms + seat->wall_ms);
    config->has_contacts = world->seats_count > 1;
    config->upstream = world->upstream;
    config->rebalance = world->config.rebalances ? MESH_REBALANCE_IDLE : MESH_REBALANCE_OFF;
    config->copies = world->config.no_copies ? 0 : TENURE_COPIES;
    config->members_max = 2 * world->seats_max;
    config->rings = world->rings;
    config->records = world->records;
    config->sessions_max = 2048;
    config->exchanges_max = 2048;
}

/* The names of the contacts are resolved to something else. */
static void join_wrongly(struct world *world, struct seat *seat)
{
    struct mesh_addr addr;
    uint32_t asked = 0;
    world->faults->hits[FAULT_DNS]++;
    for (uint32_t n = 0; seat->dns == DNS_LYING && n < world->seats_count; n++)
        if (world->seats[n].is_foreign && asked++ < 3) {
            world_addr(&addr, world->seats[n].address);
            mesh_join(seat->mesh, &addr, world_clock_ms(world, seat));
        }
    for (uint32_t n = 0; seat->dns != DNS_EMPTY && asked == 0 && n < 3; n++) {
        uint32_t old = world->old_addresses_count > n ? world->old_addresses[n] : NOWHERE + n;
        world_addr(&addr, old);
        mesh_join(seat->mesh, &addr, world_clock_ms(world, seat));
    }
}

static void join_seat(struct world *world, struct seat *seat, uint32_t other)
{
    struct mesh_addr addr;
    world_addr(&addr, world->seats[other].address);
    mesh_join(seat->mesh, &addr, world_clock_ms(world, seat));
}

void life_join(struct world *world, struct seat *seat)
{
    uint32_t asked = 0;
    if (world->stage != NULL) {
        stage_resolve(world, seat);
    } else if (seat->dns != DNS_RIGHT) {
        join_wrongly(world, seat);
    } else if (world->config.steady) {
        for (uint32_t n = 0; n < world->seats_count; n++)
            if (n != seat->index)
                join_seat(world, seat, n);
    } else if (seat->is_foreign) { /* it takes us for its own */
        for (uint32_t n = 0; n < world->seats_count && n < 8; n++)
            if (n != seat->index)
                join_seat(world, seat, n);
    } else {
        uint32_t first = WORLD_NOBODY, others = 0;
        for (uint32_t n = 0; n < 8 && asked < 3; n++) {
            uint32_t other = chance_below(&world->chance, world->seats_count);
            if (other == seat->index || world->seats[other].is_foreign)
                continue;
            others += first != WORLD_NOBODY && other != first;
            first = first == WORLD_NOBODY ? other : first;
            join_seat(world, seat, other);
            asked++;
        }
        /* a list of contacts names more than one, which may be gone for good */
        for (uint32_t n = 0; n < world->seats_count && others == 0 && asked > 0; n++)
            if (n != seat->index && n != first && !world->seats[n].is_foreign)
                join_seat(world, seat, n);
    }
    world_at(world, world->now_us + JOIN_AGAIN_US, EVENT_JOIN, seat->index, 0, 0);
}

void world_start(struct world *world, uint32_t index)
{
    struct seat *seat = &world->seats[index];
    struct mesh_config config;
    char name[16];
    if (seat->mesh != NULL)
        return;
    seat->life++;
    seat->host_down = false;
    seat->leaving = seat->exited = seat->waits_for_name = false;
    seat->is_announced = seat->drain_waits = seat->is_at_place = false;
    seat->place = NULL;
    seat->paused_until_us = 0;
    seat->wake_us = MESH_NEVER;
    seat->idle_wakes = 0;
    seat->heard = 0;
    seat->clock_us = draw_clock_us(world);
    seat->started_us = seat->disturbed_us = seat->harmed_us = world->now_us;
    config_fill(world, seat, &config, name);
    if (mesh_new(&seat->mesh, &config, world_clock_ms(world, seat)) < 0) {
        seat->mesh = NULL;
        check_fail(world, "X1", "mesh_new() refuses p%u", index);
        return;
    }
    world->lives =
        sim_grow(world->lives, world->lives_count, &world->lives_capacity, sizeof *world->lives);
    world->lives[world->lives_count++] =
        (struct life){.seat = index, .life = seat->life, .is_foreign = seat->is_foreign};
    world_say(world, seat, "starts at address %u", seat->address);
    world_fold(world, seat->life);
    life_join(world, seat);
    uint64_t serving_us = world->config.steady ? 0 : chance_log(&world->chance, 1, 2000000);
    world_at(world, world->now_us + serving_us, EVENT_SERVING, index, 2, 0);
    world_turn(world, seat);
}

static void seat_empty(struct world *world, struct seat *seat)
{
    world_lives_note(world);
    for (uint32_t n = world->lives_count; n-- > 0;)
        if (world->lives[n].seat == seat->index && world->lives[n].ended_us == 0)
            world->lives[n].ended_us = world->now_us + 1; /* never 0 */
    tenures_died(world, seat);
    ends_died(world, seat);
    sse_died(world, seat);
    clients_died(world, seat);
    upstreams_died(world, seat);
    mesh_free(seat->mesh);
    seat->mesh = NULL;
    seat->drain_waits = false;
    world_disturb(world, seat->index);
    slots_free(&seat->exchanges);
    slots_free(&seat->ups);
    slots_free(&seat->links);
}

void world_crash(struct world *world, uint32_t index, enum world_death how)
{
    struct seat *seat = &world->seats[index];
    if (seat->mesh == NULL)
        return;
    world_say(world, seat, "dies (%s)", how == DEATH_POWER ? "power" : "killed");
    net_died(world, seat, how);
    seat->host_down = how == DEATH_POWER;
    seat_empty(world, seat);
}

void world_exit(struct world *world, struct seat *seat, enum mesh_change why)
{
    world_say(world, seat, "exits (%d)", why);
    seat->exited = true;
    seat->exit_reason = why;
    if (why == MESH_LEFT_MESH) {
        check_left(world, seat);
        leave_exits(world, seat);
    }
    net_died(world, seat, DEATH_KILLED);
    seat_empty(world, seat);
    if (world->config.load && seat->name == seat->index) /* a supervisor starts it again */
        world_at(world, world->now_us + 2 * WORLD_SECOND, EVENT_START, WORLD_NOBODY, seat->index,
                 ++seat->start_serial);
}

uint32_t world_owners(const struct world *world, uint32_t address)
{
    uint32_t owners = 0;
    for (uint32_t n = 0; n < world->seats_count; n++)
        owners += world->seats[n].address == address;
    return owners;
}

/* One that another peer gave up before, if there is any, and the seat's own is free for others. */
static uint32_t address_other(struct world *world, uint32_t address)
{
    uint32_t *old = world->old_addresses;
    if (world_owners(world, address) > 1) /* two processes have it: the other one stays */
        return world_new_address(world);
    if (world->old_addresses_count < 2) {
        old[world->old_addresses_count++] = address;
        return world_new_address(world);
    }
    uint32_t taken = old[0];
    memmove(old, old + 1, (world->old_addresses_count - 1) * sizeof *old);
    old[world->old_addresses_count - 1] = address;
    return world_owners(world, taken) > 0 ? world_new_address(world) : taken;
}

void world_restart(struct world *world, uint32_t index, bool new_address)
{
    struct seat *seat = &world->seats[index];
    if (seat->mesh != NULL)
        return;
    seat->start_serial++;
    if (new_address)
        seat->address = address_other(world, seat->address);
    world_start(world, index);
}

void world_leave(struct world *world, uint32_t index, uint32_t stay_ms, uint32_t within_ms)
{
    struct seat *seat = &world->seats[index];
    if (seat->mesh == NULL || seat->leaving)
        return;
    world_say(world, seat, "is asked to leave");
    seat->leaving = true;
    world_disturb(world, index);
    leave_asked(world, seat, stay_ms, within_ms);
    uint64_t now_ms = world_clock_ms(world, seat);
    mesh_leave(seat->mesh, now_ms + stay_ms, now_ms + within_ms, now_ms);
    world_turn(world, seat);
}

static void disturb(struct seat *seat, uint64_t until_us)
{
    seat->disturbed_us = until_us > seat->disturbed_us ? until_us : seat->disturbed_us;
    seat->harmed_us = until_us > seat->harmed_us ? until_us : seat->harmed_us;
}

void world_pause(struct world *world, uint32_t index, uint32_t for_ms)
{
    struct seat *seat = &world->seats[index];
    world_say(world, seat, "is stopped for %u ms", for_ms);
    seat->held_us = world->now_us;
    seat->paused_until_us = world->now_us + (uint64_t)for_ms * WORLD_MS;
    disturb(seat, seat->paused_until_us);
}

uint32_t world_add_twin(struct world *world, uint32_t elder)
{
    uint32_t index = world->seats_count;
    if (index == world->seats_max)
        return WORLD_NOBODY;
    world->seats_count++;
    world->seats[index] = (struct seat){
        .index = index, .name = elder, .address = world->addresses_count++, .wake_us = MESH_NEVER};
    return index;
}

uint32_t world_add_foreigner(struct world *world, uint32_t like, uint32_t address)
{
    uint32_t index = world_add_twin(world, like);
    if (index == WORLD_NOBODY)
        return WORLD_NOBODY;
    world->seats[index].is_foreign = true;
    world->seats[index].address = address;
    return index;
}

uint32_t world_new_address(struct world *world)
{
    return world->addresses_count++;
}

void world_move(struct world *world, uint32_t index, uint32_t address)
{
    if (world->seats[index].mesh == NULL)
        world->seats[index].address = address;
}

void world_set_wall(struct world *world, uint32_t index, int64_t wrong_by_ms)
{
    world->seats[index].wall_ms = wrong_by_ms;
}

void world_set_dns(struct world *world, uint32_t index, enum world_dns dns)
{
    world->seats[index].dns = dns;
}

void world_set_files(struct world *world, uint32_t index, bool has_none)
{
    world->seats[index].has_no_files = has_none;
    if (!has_none)
        world->seats[index].files_back_us = world->now_us;
    world_disturb(world, index);
}

void world_reject(struct world *world, uint32_t index, bool on)
{
    world->seats[index].rejects = on;
    if (on)
        net_reset_accepted(world, index);
    world_disturb(world, index);
}

void world_slow(struct world *world, uint32_t index, uint32_t turn_us)
{
    world->seats[index].turn_us = turn_us;
    world_disturb(world, index);
}

void world_starve(struct world *world, uint32_t index, uint32_t service_us)
{
    world->hampered += service_us > 0;
    world->seats[index].service_us = service_us;
    world_disturb(world, index);
    world_say(world, &world->seats[index], "needs %u us for each fact", service_us);
}

void world_stall_io(struct world *world, uint32_t index, uint32_t for_ms)
{
    struct seat *seat = &world->seats[index];
    world_say(world, seat, "sends and receives nothing for %u ms", for_ms);
    world->hampered++;
    seat->held_us = world->now_us;
    seat->io_stalled_until_us = world->now_us + (uint64_t)for_ms * WORLD_MS;
    disturb(seat, seat->io_stalled_until_us);
}

void world_mute(struct world *world, uint32_t index, bool on)
{
    for (uint32_t n = 0; n < world->seats_count; n++)
        if (n != index)
            (on ? world_cut : world_heal)(world, index, n);
}

void world_deafen(struct world *world, uint32_t index, bool on)
{
    for (uint32_t n = 0; n < world->seats_count; n++)
        if (n != index)
            (on ? world_cut : world_heal)(world, n, index);
}

void world_disturb(struct world *world, uint32_t index)
{
    disturb(&world->seats[index], world->now_us);
}

void world_disturb_path(struct world *world, uint32_t from, uint32_t to)
{
    struct seat *ends[] = {&world->seats[from], &world->seats[to]};
    for (size_t n = 0; n < 2; n++)
        if (ends[n]->disturbed_us < world->now_us)
            ends[n]->disturbed_us = world->now_us;
}

void world_cut(struct world *world, uint32_t from, uint32_t to)
{
    net_path(world, from, to)->cuts++;
    world_disturb_path(world, from, to);
    world_say(world, NULL, "cut p%u -> p%u", from, to);
}

void world_heal(struct world *world, uint32_t from, uint32_t to)
{
    struct path *path = net_path(world, from, to);
    if (path->cuts > 0)
        path->cuts--;
    path->healed_us = world->now_us;
    world_disturb_path(world, from, to);
    world_say(world, NULL, "heal p%u -> p%u", from, to);
}
