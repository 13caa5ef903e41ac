/* plan_sessions.c - faults that happen to those who have a session: who they are is known when it
 * happens. */
#include "sim/client.h"
#include "sim/net.h"
#include "sim/plan_inside.h"
#include "sim/tenures.h"

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

/* Sets whom it happens to: `seat` owns a session, `other` has a copy. */
static bool target_set(const struct world *world, struct fault *fault)
{
    struct records records;
    const struct session *session = session_pick(world, fault, &records);
    fault->serial = WORLD_NOBODY;
    if (session == NULL)
        return false;
    fault->seat = records.owner;
    fault->other = holder_pick(world, fault, session, records.owner);
    fault->serial = 0;
    return true;
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

/* ---- one fault ------------------------------------------------------------------------------ */

/* Who it happens to is known when it does. */
bool plan_session_do(struct world *world, struct fault *fault, bool begins)
{
    if (begins && !target_set(world, fault))
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
    default: /* counted by what is refused */
        world_reject(world, fault->seat, begins);
        return false;
    }
}
