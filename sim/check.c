/* check.c - the invariants of DESIGN §16 that can be seen from outside of the peers, each named by
 * its number, and three rules of the boundary: X1 no effect for a closed handle, X2 what an effect
 * says of its text is true, X3 no turn without end and no timer that fires for nothing. Those of
 * datagrams are watch.c's, those of a request check_request.c's. */
#include "sim/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#include "sim/members.h"
#include "sim/modern.h"
#include "sim/sse.h"
#include "sim/tenures.h"

#define VIEWS_EVERY_US (100u * WORLD_MS)
#define RINGS_EVERY_US (1u * WORLD_SECOND)
#define VIEWS_KEPT 4096u
#define RINGS_LOOKED_AT 6 /* peers, each second: building a ring is dear, */
#define RINGS_OF_MANY 2   /* of a large mesh above all */
#define RING_SETTLES_US (1u * WORLD_SECOND)
#define HOPS_MAX 2 /* B3: peers asked for one request */

int checks_new(struct world *world)
{
    struct checks *checks = sim_zero(sizeof *checks);
    world->checks = checks;
    chance_init(&checks->chance, world->config.seed, 6);
    checks->views = sim_zero(VIEWS_KEPT * sizeof *checks->views);
    world_at(world, VIEWS_EVERY_US, CHECK_VIEWS, WORLD_NOBODY, 0, 0);
    world_at(world, RINGS_EVERY_US, CHECK_RINGS, WORLD_NOBODY, 0, 0);
    tenures_new(world);
    return 0;
}

void checks_free(struct world *world)
{
    if (world->checks == NULL)
        return;
    leaves_free(world);
    free(world->checks->views);
    free(world->checks);
    world->checks = NULL;
}

void check_fail(struct world *world, const char *invariant, const char *format, ...)
{
    va_list args;
    char words[400];
    if (world->failed)
        return;
    va_start(args, format);
    vsnprintf(words, sizeof words, format, args);
    va_end(args);
    world->failed = true;
    snprintf(world->failure, sizeof world->failure, "%s at %" PRIu64 ".%06" PRIu64 " s: %s",
             invariant, world->now_us / WORLD_SECOND, world->now_us % WORLD_SECOND, words);
    world_say(world, NULL, "BROKEN %s", world->failure);
}

void check_effect(struct world *world, struct seat *seat, const struct mesh_effect *effect)
{
    if (effect->kind == MESH_DATAGRAM && effect->wire.sealed.length > MESH_DATAGRAM_MAX)
        check_fail(world, "B2", "p%u sends a datagram of %zu B", seat->index,
                   effect->wire.sealed.length);
    if (effect->kind == MESH_CHANGED && effect->changed.what == MESH_MEMBER_CHANGED)
        members_changed(world, seat, effect->changed.peer, effect->changed.state);
    if (effect->kind != MESH_DATAGRAM && effect->kind != MESH_CHANGED &&
        effect->handle.generation == 0)
        check_fail(world, "X1", "p%u: effect %d without a handle", seat->index, effect->kind);
}

/* ---- M3, M4 --------------------------------------------------------------------------------- */

/* What the view hash stands for: the living, and what their records of those versions say. Who is
 * gone is remembered for different times. */
static uint64_t view_digest(const struct mesh *mesh)
{
    static struct mesh_member members[MEMBERS_SEEN];
    size_t count = mesh_members(mesh, members, MEMBERS_SEEN);
    uint64_t sum = 0;
    for (size_t n = 0; n < count && n < MEMBERS_SEEN; n++) {
        const struct mesh_member *m = &members[n];
        if (!member_state_is_living(m->state))
            continue;
        sum = members_mix(sum, m->record->id.name);
        sum = members_mix(sum, m->record->id.generation);
        sum = members_mix(sum, m->record->version);
        sum = members_mix(sum, m->record->addr.port + ((uint64_t)m->record->addr.ip[14] << 16) +
                                   ((uint64_t)m->record->addr.ip[15] << 24));
        sum =
            members_mix(sum, (uint64_t)m->record->weight << 3 | (uint64_t)m->record->serving << 2 |
                                 (uint64_t)m->record->draining << 1 | m->record->hold);
    }
    return sum;
}

static void views_check(struct world *world)
{
    struct checks *checks = world->checks;
    for (uint32_t n = 0; n < world->seats_count; n++) {
        const struct seat *seat = &world->seats[n];
        struct mesh_stats stats;
        if (seat->mesh == NULL)
            continue;
        mesh_stats(seat->mesh, &stats);
        if (stats.hops_max > HOPS_MAX)
            check_fail(world, "B3", "an exchange came to p%u as its hop %u", n, stats.hops_max);
        uint64_t hash = mesh_view_hash(seat->mesh);
        bool same = checks->last[n].hash == hash && checks->last[n].life == seat->life;
        if (same && ++checks->last[n].looks % 16 != 0)
            continue;
        if (!same) {
            checks->last[n].hash = hash;
            checks->last[n].life = seat->life;
            checks->last[n].since_us = world->now_us;
            checks->last[n].looks = 0;
        }
        members_look(world, &world->seats[n]);
        uint64_t digest = view_digest(seat->mesh);
        struct view_seen *seen = &checks->views[hash % VIEWS_KEPT];
        checks->views_compared += seen->hash == hash;
        if (seen->hash == hash && seen->digest != digest)
            check_fail(world, "M3", "p%u has another view under the hash %016" PRIx64, n, hash);
        *seen = (struct view_seen){hash, digest};
    }
}

static void rings_check(struct world *world)
{
    struct checks *checks = world->checks;
    const struct clients *clients = world->clients;
    struct mesh_why first = {.candidates_count = 0};
    uint32_t at = WORLD_NOBODY, looked = 0;
    if (clients->sessions_count == 0)
        return;
    uint32_t drawn = chance_below(&checks->chance, clients->sessions_count);
    uint32_t most = world->config.nodes > 32 ? RINGS_OF_MANY : RINGS_LOOKED_AT;
    uint32_t begin = chance_below(&checks->chance, world->seats_count);
    const struct session *session = clients->sessions[drawn];
    for (uint32_t turn = 0; session->has_id && looked < most && turn < world->seats_count; turn++) {
        uint32_t n = (begin + turn) % world->seats_count;
        const struct seat *seat = &world->seats[n];
        if (seat->mesh == NULL || checks->last[n].life != seat->life ||
            checks->last[n].hash != mesh_view_hash(seat->mesh) ||
            world->now_us - checks->last[n].since_us < RING_SETTLES_US)
            continue;
        if (at != WORLD_NOBODY && checks->last[n].hash != checks->last[at].hash)
            continue;
        looked++;
        struct mesh_why why;
        mesh_why(seat->mesh, session->id, MESH_SESSION_TEXT, &why, world_clock_ms(world, seat));
        if (at == WORLD_NOBODY) {
            first = why;
            at = n;
            continue;
        }
        checks->rings_compared++;
        bool equal = why.candidates_count == first.candidates_count;
        for (uint8_t k = 0; equal && k < why.candidates_count; k++)
            equal = peer_id_equal(why.candidates[k], first.candidates[k]);
        if (!equal)
            check_fail(world, "M4",
                       "p%u and p%u name other candidates for session %u, and their "
                       "views are equal",
                       at, n, drawn);
    }
}

void check_event(struct world *world, const struct world_event *event)
{
    switch ((int)event->kind) {
    case CHECK_VIEWS:
        views_check(world);
        members_calm(world);
        world_at(world, world->now_us + VIEWS_EVERY_US, CHECK_VIEWS, WORLD_NOBODY, 0, 0);
        break;
    case CHECK_RINGS:
        rings_check(world);
        world_at(world, world->now_us + RINGS_EVERY_US, CHECK_RINGS, WORLD_NOBODY, 0, 0);
        break;
    case CHECK_REQUEST:
        check_in_time(world, event);
        break;
    case CHECK_LISTEN:
        check_listens(world, event);
        break;
    case CHECK_LEFT:
        modern_check_left(world, event);
        break;
    case CHECK_SSE:
        sse_check(world, event);
        break;
    case CHECK_TENURES:
        tenures_look(world);
        break;
    case CHECK_LEAVES:
        leave_check_over(world, event);
        break;
    }
}

/* ---- the end of calm ------------------------------------------------------------------------ */

/* An upstream session whose client never learned its id: nobody can end it but time. */
static uint32_t orphans_at(const struct world *world, uint32_t seat)
{
    const struct upstreams *ups = world->upstreams;
    uint32_t count = 0;
    for (uint32_t n = 0; n < ups->ups_count; n++)
        if (ups->ups[n].seat == seat && ups->ups[n].state < UPSTREAM_CLOSING)
            count++;
    return count;
}

/* Its client has no id, or, of an initialize that ran twice, perhaps the other one's. Of that, too,
 * others go on with a copy when its owner dies. */
static bool is_nameless(const struct world *world, const struct upstream *up)
{
    const struct clients *clients = world->clients;
    const struct seat *seat = &world->seats[up->seat];
    bool has_died = seat->mesh == NULL || seat->life != up->life;
    if (up->session == WORLD_NOBODY || !clients->sessions[up->session]->has_id)
        return up->session != WORLD_NOBODY;
    return (up->state < UPSTREAM_CLOSING || has_died) && up->shaken.initialize != WORLD_NOBODY &&
           clients->requests[up->shaken.initialize]->executions > 1;
}

/* Sessions whose clients never learned their ids: they, and copies of them, are wherever they are.
 */
static uint32_t nameless(const struct world *world)
{
    const struct upstreams *ups = world->upstreams;
    uint32_t count = 0;
    for (uint32_t n = 0; n < ups->ups_count; n++)
        count += is_nameless(world, &ups->ups[n]);
    return count;
}

void check_quiescence(struct world *world)
{
    for (uint32_t n = 0; n < world->clients->requests_count; n++) {
        const struct request *request = world->clients->requests[n];
        if (request->state == REQUEST_OPEN)
            check_fail(world, "E1", "calm is over and #%u (%s, session %u) through p%u is open", n,
                       ask_name(request->ask), request->session, request->seat);
    }
    for (uint32_t n = 0; n < world->seats_count && !world->failed; n++) {
        struct mesh_levels levels;
        if (!world_runs(world, n))
            continue;
        mesh_levels(world->seats[n].mesh, &levels);
        uint32_t orphans = orphans_at(world, n) + nameless(world), left = 0;
        uint32_t records = tenures_at(world, n, &left);
        bool is_clean =
            levels.exchanges == 0 && levels.calls == 0 && levels.names == 0 &&
            levels.sessions <= orphans && levels.upstreams <= orphans && left == 0 &&
            (orphans + records > 0 || (levels.messages_kept == 0 && levels.memory_used == 0));
        if (!is_clean)
            check_fail(world, "B1",
                       "all is over and p%u holds %u exchanges, %u calls, %u names, %u "
                       "sessions, %u upstreams (%u of nobody), %u records (%u left behind), %u "
                       "messages, %zu B",
                       n, levels.exchanges, levels.calls, levels.names, levels.sessions,
                       levels.upstreams, orphans, records, left, levels.messages_kept,
                       levels.memory_used);
    }
}
