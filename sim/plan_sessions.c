/* plan_sessions.c - faults that happen to those who have a session: who they are is known when it
 * happens. Among them is the death at a place that has a name (mesh/base/failpoint.h). */
#include "mesh/base/failpoint.h"
#include "sim/client.h"
#include "sim/net.h"
#include "sim/plan_inside.h"
#include "sim/tenures.h"

#define LEAVER_STAYS_MS 2000u
#define LEAVER_GOES_MS 6000u
#define TOO_LATE_US (500u * WORLD_MS) /* who is to grant a takeover is waited for 300 ms */
#define PASSED_BEFORE_MAX 6u          /* how often a place is passed before it is deadly */

/* ---- who ------------------------------------------------------------------------------------ */

/* The session that has most open requests now, of several one by lot; NULL: nobody owns any. */
static const struct session *session_pick(const struct world *world, const struct fault *fault,
                                          struct records *records)
{
    const struct clients *clients = world->clients;
    const struct session *found = NULL;
    for (uint32_t n = 0; n < clients->sessions_count; n++) {
        uint32_t at = (uint32_t)((fault->salt + n) % clients->sessions_count);
        const struct session *session = clients->sessions[at];
        struct records has;
        if (!session->has_id || (found != NULL && session->open <= found->open))
            continue;
        records_of(world, session, &has);
        if (has.owner == WORLD_NOBODY)
            continue;
        found = session;
        *records = has;
    }
    return found;
}

/* Another peer that has a record of it, by lot, or if there is none any other. */
static uint32_t holder_pick(const struct world *world, const struct fault *fault,
                            const struct session *session, uint32_t owner)
{
    uint32_t any = WORLD_NOBODY, nodes = world->config.nodes;
    for (uint32_t n = 0; n < nodes; n++) {
        struct mesh_tenure tenure;
        uint32_t seat = (uint32_t)(((fault->salt >> 32) + n) % nodes);
        if (seat == owner || !world_serves(world, seat))
            continue;
        if (mesh_tenure_of(world->seats[seat].mesh, session->id, MESH_SESSION_TEXT, &tenure))
            return seat;
        any = seat;
    }
    return any;
}

/* Who takes it over when its owner goes: the first candidate but the owner. */
static uint32_t next_pick(const struct world *world, const struct session *session, uint32_t owner)
{
    struct mesh_why why;
    const struct seat *seat = &world->seats[owner];
    mesh_why(seat->mesh, session->id, MESH_SESSION_TEXT, &why, world_clock_ms(world, seat));
    for (uint8_t n = 0; n < why.candidates_count; n++)
        for (uint32_t other = 0; other < world->config.nodes; other++)
            if (other != owner && world_serves(world, other) &&
                peer_id_equal(mesh_self(world->seats[other].mesh)->record->id, why.candidates[n]))
                return other;
    return WORLD_NOBODY;
}

/* Sets whom it happens to: `seat` owns a session, `other` has a copy or is the next to own it. */
static bool target_set(const struct world *world, struct fault *fault, bool wants_next)
{
    struct records records;
    const struct session *session = session_pick(world, fault, &records);
    fault->serial = WORLD_NOBODY;
    if (session == NULL)
        return false;
    fault->seat = records.owner;
    fault->other = wants_next ? next_pick(world, session, records.owner)
                              : holder_pick(world, fault, session, records.owner);
    fault->serial = 0;
    return true;
}

/* `other` has a copy, is not the next to own it, and holds the stream of its client, if there is
 * such a session; with many peers there is mostly none. */
static bool rivals_set(const struct world *world, struct fault *fault)
{
    const struct clients *clients = world->clients;
    for (uint32_t n = 0; n < clients->sessions_count; n++) {
        const struct session *session =
            clients->sessions[(fault->salt + n) % clients->sessions_count];
        struct records records;
        struct mesh_tenure tenure;
        if (!session->has_id || session->listen == WORLD_NOBODY)
            continue;
        records_of(world, session, &records);
        uint32_t other = clients->requests[session->listen]->seat;
        if (records.owner == WORLD_NOBODY || other == records.owner ||
            !world_serves(world, other) || other == next_pick(world, session, records.owner) ||
            !mesh_tenure_of(world->seats[other].mesh, session->id, MESH_SESSION_TEXT, &tenure))
            continue;
        fault->seat = records.owner;
        fault->other = other;
        fault->serial = 0;
        return true;
    }
    return target_set(world, fault, false);
}

/* ---- what ----------------------------------------------------------------------------------- */

static bool holders_die(struct world *world, struct fault *fault, bool begins)
{
    uint32_t seats[] = {fault->seat, fault->other};
    for (size_t n = 0; n < 2; n++) {
        if (seats[n] == WORLD_NOBODY)
            continue;
        if (begins)
            world_crash(world, seats[n], DEATH_KILLED);
        else
            world_restart(world, seats[n], false);
    }
    return begins;
}

static bool unheard_do(struct world *world, const struct fault *fault, bool begins)
{
    bool is_back = (fault->salt & 1) != 0;
    if (fault->other == WORLD_NOBODY)
        return false;
    (begins ? world_cut : world_heal)(world, is_back ? fault->other : fault->seat,
                                      is_back ? fault->seat : fault->other);
    return begins;
}

/* Its owner is cut off from all but one, whose words come late to all but the owner. */
static bool rivals_do(struct world *world, const struct fault *fault, bool begins)
{
    uint32_t owner = fault->seat, both = fault->other;
    if (both == WORLD_NOBODY)
        return false;
    for (uint32_t n = 0; n < world->config.nodes; n++) {
        if (n == owner || n == both)
            continue;
        (begins ? world_cut : world_heal)(world, owner, n);
        (begins ? world_cut : world_heal)(world, n, owner);
        net_set_delay(world, both, n, begins ? TOO_LATE_US : 0);
    }
    return begins;
}

/* ---- named places --------------------------------------------------------------------------- */

/* Who passes a place: the owner of a session, who is next to own it, or another who has a record;
 * and what brings them there. */
static const struct place {
    enum { OWNER, TAKER, HOLDER } who;
    enum { OWNER_DIES, OWNER_LEAVES, LINKS_BREAK } by;
} places[] = {
    {TAKER, OWNER_DIES},   /* takeover.before_take */
    {TAKER, OWNER_DIES},   /* after_take */
    {HOLDER, OWNER_DIES},  /* before_grant */
    {HOLDER, OWNER_DIES},  /* after_grant */
    {TAKER, OWNER_DIES},   /* before_own */
    {TAKER, OWNER_DIES},   /* after_own */
    {OWNER, OWNER_LEAVES}, /* before_yield */
    {OWNER, OWNER_LEAVES}, /* after_yield */
    {OWNER, LINKS_BREAK},  /* before_check */
    {OWNER, LINKS_BREAK},  /* after_check */
    {OWNER, OWNER_LEAVES}, /* handover.before_begin */
    {OWNER, OWNER_LEAVES}, /* before_end */
    {OWNER, OWNER_LEAVES}, /* after_end */
    {TAKER, OWNER_LEAVES}, /* before_own */
    {TAKER, OWNER_LEAVES}, /* before_handed */
};
static const char *const place_names[] = {FAILPOINTS};
_Static_assert(sizeof places / sizeof *places == PLACES, "somebody passes each");
_Static_assert(sizeof place_names / sizeof *place_names == PLACES, "each has a name");

const char *fault_place(uint32_t place)
{
    return place_names[place];
}

static uint32_t place_drawn(const struct fault *fault)
{
    struct shuffle chance;
    chance_key(&chance, fault->salt, 1);
    return chance_below(&chance, PLACES);
}

/* A quarter of them is passed by itself, or not; to the others their peer is brought. */
static void place_provoke(struct world *world, const struct fault *fault, const struct place *place)
{
    struct shuffle chance;
    chance_key(&chance, fault->salt, 2);
    if (chance_below(&chance, 4) == 0)
        return;
    switch (place->by) {
    case OWNER_DIES:
        world_crash(world, fault->seat, DEATH_KILLED);
        break;
    case OWNER_LEAVES:
        world_leave(world, fault->seat, chance_below(&chance, LEAVER_STAYS_MS), LEAVER_GOES_MS);
        break;
    case LINKS_BREAK:
        net_reset_accepted(world, fault->seat);
        net_reset_accepted(world, fault->other);
        break;
    }
}

/* Says who is to die there, if anybody is. */
static void place_arm(struct world *world, struct fault *fault, uint32_t number)
{
    struct shuffle chance;
    uint32_t index = places[number].who == OWNER ? fault->seat : fault->other;
    if (index == WORLD_NOBODY || world->seats[index].place != NULL)
        return;
    chance_key(&chance, fault->salt, 3);
    uint32_t skip = chance_below(&chance, 2) == 0 ? 0 : chance_below(&chance, PASSED_BEFORE_MAX);
    fault->serial = index;
    world->seats[index].place = place_names[number];
    mesh_fail_at(world->seats[index].mesh, place_names[number], skip);
    world_say(world, &world->seats[index], "dies at %s, passed %u times before",
              place_names[number], skip);
}

static void failpoint_do(struct world *world, struct fault *fault, bool begins)
{
    uint32_t number = place_drawn(fault);
    if (begins) {
        fault->serial = WORLD_NOBODY;
        place_arm(world, fault, number);
        if (fault->serial != WORLD_NOBODY)
            place_provoke(world, fault, &places[number]);
        return;
    }
    struct seat *armed = &world->seats[fault->serial];
    if (armed->mesh != NULL && armed->place == place_names[number]) {
        armed->place = NULL;
        mesh_fail_at(armed->mesh, NULL, 0);
    }
    world_restart(world, armed->index, false);
    world_restart(world, fault->seat, false);
}

void failpoint_reached(struct world *world, struct seat *seat)
{
    for (uint32_t n = 0; n < PLACES; n++)
        world->faults->places[n] += seat->place == place_names[n];
    world->faults->hits[FAULT_FAILPOINT]++;
    world_crash(world, seat->index, DEATH_KILLED);
}

/* ---- one fault ------------------------------------------------------------------------------ */

/* Who it happens to is known when it does. */
bool plan_session_do(struct world *world, struct fault *fault, bool begins)
{
    bool wants_next = fault->class == FAULT_FAILPOINT && places[place_drawn(fault)].who == TAKER;
    if (begins && !(fault->class == FAULT_RIVALS ? rivals_set(world, fault)
                                                 : target_set(world, fault, wants_next)))
        return false;
    if (fault->serial == WORLD_NOBODY)
        return false;
    switch ((int)fault->class) {
    case FAULT_OWNER:
        return plan_death_do(world, fault, begins);
    case FAULT_HOLDERS:
        return holders_die(world, fault, begins);
    case FAULT_WAKE:
        if (begins)
            world_pause(world, fault->seat,
                        (uint32_t)((fault->until_us - world->now_us) / WORLD_MS));
        return begins;
    case FAULT_UNHEARD:
        return unheard_do(world, fault, begins);
    case FAULT_RIVALS:
        return rivals_do(world, fault, begins);
    case FAULT_FAILPOINT: /* counted by who dies */
        failpoint_do(world, fault, begins);
        return false;
    default: /* counted by what is refused */
        world_reject(world, fault->seat, begins);
        return false;
    }
}
