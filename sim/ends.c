/* ends.c - see ends.h. */
#include "sim/ends.h"

#include "sim/client.h"
#include "sim/world.h"

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
