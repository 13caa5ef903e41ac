/* ends.c - see ends.h. */
#include "sim/ends.h"

#include "sim/client.h"
#include "sim/net.h"

#define TOLD_US (6u * WORLD_SECOND) /* once nothing keeps it from being told */

static bool knows(const struct world *world, const struct seat *seat, const struct session *session)
{
    return world_serves(world, seat->index) &&
           mesh_knows_deleted(seat->mesh, session->id, MESH_SESSION_TEXT,
                              world_clock_ms(world, seat));
}

static bool is_known(const struct world *world, const struct session *session,
                     const struct seat *but)
{
    for (uint32_t n = 0; n < world->seats_count; n++)
        if (&world->seats[n] != but && knows(world, &world->seats[n], session))
            return true;
    return false;
}

void ends_died(struct world *world, const struct seat *seat)
{
    for (uint32_t n = 0; n < world->clients->sessions_count; n++) {
        struct session *session = world->clients->sessions[n];
        if (session->has_id && session->delete_us != 0 && !session->end_died &&
            knows(world, seat, session))
            session->end_died = !is_known(world, session, seat);
    }
}

bool ends_is_forgotten(const struct world *world, const struct session *session)
{
    return session->end_died && !is_known(world, session, NULL);
}

static bool is_recent(const struct world *world, uint64_t at_us)
{
    return at_us + TOLD_US > world->now_us;
}

/* It can send and hear nothing, or could not just now. */
static bool is_alone(const struct world *world, const struct seat *seat)
{
    return seat->has_no_files || is_recent(world, seat->files_back_us) ||
           is_recent(world, seat->io_stalled_until_us);
}

static bool is_cut(struct world *world, uint32_t from, uint32_t to)
{
    const struct path *path = net_path(world, from, to);
    return path->cuts > 0 || is_recent(world, path->healed_us) ||
           is_recent(world, path->clogged_until_us) || is_alone(world, &world->seats[from]) ||
           is_alone(world, &world->seats[to]);
}

/* By anybody who knows. */
static bool can_be_told(struct world *world, uint32_t owner, const struct session *session)
{
    for (uint32_t n = 0; n < world->seats_count; n++)
        if (n != owner && knows(world, &world->seats[n], session) && !is_cut(world, n, owner) &&
            !is_cut(world, owner, n))
            return true;
    return false;
}

/* It owned the session beside who was told to end it, and whoever reaches both has yet to say so.
 */
static bool is_late(const struct world *world, const struct session *session,
                    struct mesh_epoch epoch)
{
    uint64_t begun_us = heard_begun_us(&session->tenures.heard, epoch);
    return begun_us != 0 && begun_us < session->ended_us && is_recent(world, session->ended_us);
}

bool ends_is_unheard(struct world *world, const struct session *session)
{
    struct mesh_tenure tenure;
    for (uint32_t n = 0; n < world->seats_count; n++)
        if (world_serves(world, n) &&
            mesh_tenure_of(world->seats[n].mesh, session->id, MESH_SESSION_TEXT, &tenure) &&
            !tenure.is_copy &&
            (is_late(world, session, tenure.epoch) || !can_be_told(world, n, session)))
            return true;
    return false;
}
