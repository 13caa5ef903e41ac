/* resume.c - clients whose stream broke, or was ended before its answer: they come back with the id
 * of the last event they saw, through any peer (MCP 2025-11-25, transports, resumability). Some
 * come back with an id that makes no sense. What they then get is judged in check.c. */
#include "sim/client.h"

#include "sim/check.h"

#define AWAY_MAX_US (2u * WORLD_SECOND)

static bool resume_is_wanted(struct world *world, const struct request *request)
{
    const struct session *session = world->clients->sessions[request->session];
    bool is_broken = request->state == REQUEST_GONE || request->state == REQUEST_UNSENT ||
                     (request->state == REQUEST_ENDED &&
                      (request->end == MESH_END_LATER || request->why == MESH_READER_SLOW));
    if (session->client == WORLD_NOBODY || session->state != SESSION_LIVES || !is_broken ||
        !request->has_position || request->position.is_last || world->clients->quiet)
        return false;
    if (request->ask == ASK_LISTEN)
        return true;
    return !request->has_answer && (request->ask == ASK_RESUME || request->id[0] != 0);
}

/* A number that was never given, a stream that never was, or no id at all. */
static void resume_nonsense(struct world *world, const struct request *request, uint32_t seat,
                            uint64_t away_us)
{
    struct shuffle *chance = &world->clients->resume_chance;
    static const char *const shown[] = {"0-1-999999", "0-7-1",          "x",
                                        "0-1-01",     "4000000000-1-3", "9f8e7d6c_1"};
    uint32_t which = chance_below(chance, sizeof shown / sizeof shown[0]);
    client_listen_after(world, request->session, shown[which], seat, away_us);
}

void resume_after(struct world *world, struct request *request)
{
    struct shuffle *chance = &world->clients->resume_chance;
    if (!resume_is_wanted(world, request))
        return;
    uint32_t drawn = chance_below(chance, 16);
    uint64_t away_us = chance_log(chance, WORLD_MS, AWAY_MAX_US);
    uint32_t seat = client_pick(world, request->client, chance);
    if (request->end == MESH_END_LATER && request->retry_ms != 0)
        away_us = request->retry_ms * (uint64_t)WORLD_MS;
    if (seat == WORLD_NOBODY || (drawn == 0 && request->end != MESH_END_LATER))
        return; /* it does not come back */
    if (drawn == 1 && request->ask == ASK_LISTEN)
        resume_nonsense(world, request, seat, away_us);
    else
        client_resume(world, request->n, seat, away_us);
}
