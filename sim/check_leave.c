/* check_leave.c - planned leaves (SIGTERM, drain), by the numbers of DESIGN §7's hand-over:
 *
 *   G1  where nothing else goes wrong, a leave fails no request that ends before its time is over
 *   G2  who leaves had its sessions taken over: whoever can take them owns them when it is gone
 *   G3  it is gone when its time is over
 *   G4  who gave a session away serves it no more, and who takes it does not before it was given:
 *       it never has two owners
 *
 * G1 is judged in worlds that are gentle to peers, G2 and G4 also in those that break their links.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "sim/check.h"
#include "sim/tenures.h"
#include "sim/ucall.h"
#include "sim/upstream.h"

#define GENTLE                                                                                     \
    (fault_bit(FAULT_LEAVE) | fault_bit(FAULT_ROLLOUT) | fault_bit(FAULT_DUPLICATE) |              \
     fault_bit(FAULT_REORDER) | fault_bit(FAULT_REPLAY) | fault_bit(FAULT_VANISH) |                \
     fault_bit(FAULT_READER) | fault_bit(FAULT_BOGUS) | fault_bit(FAULT_UP_SLOW) |                 \
     fault_bit(FAULT_SKEW))
#define LINKS (fault_bit(FAULT_RESET) | fault_bit(FAULT_MID_FRAME) | fault_bit(FAULT_EARLY_FIN))
#define OVER_US (500u * WORLD_MS) /* G3: turns, and the last words */
#define LAST_US                                                                                    \
    (1u * WORLD_SECOND) /* G1: so long before its end it gives what is in flight, too              \
                         */

/* One planned leave, and the sessions that were the leaver's when it was asked. */
struct leave {
    uint32_t seat, life;
    uint64_t asked_us, stays_us, until_us; /* stays: until then it takes new requests */
    uint32_t *sessions, sessions_count, sessions_capacity;
};

static bool is_world_of(const struct world *world, uint64_t faults)
{
    return world->config.load && !world->config.no_copies && (world->faults->on & ~faults) == 0;
}

static bool owns(const struct world *world, uint32_t seat, const struct session *session)
{
    struct mesh_tenure tenure;
    return session->has_id && world_serves(world, seat) &&
           mesh_tenure_of(world->seats[seat].mesh, session->id, MESH_SESSION_TEXT, &tenure) &&
           !tenure.is_copy;
}

/* Of those that can outlive a peer. */
static bool is_open(const struct session *session)
{
    return session->has_begun && !session->is_single && session->delete_us == 0 &&
           !session->tenures.is_gone;
}

void leaves_free(struct world *world)
{
    struct checks *checks = world->checks;
    for (uint32_t n = 0; n < checks->leaves_count; n++)
        free(checks->leaves[n].sessions);
    free(checks->leaves);
}

void leave_asked(struct world *world, const struct seat *seat, uint32_t stay_ms, uint32_t within_ms)
{
    struct checks *checks = world->checks;
    checks->leaves = sim_grow(checks->leaves, checks->leaves_count, &checks->leaves_capacity,
                              sizeof *checks->leaves);
    struct leave *leave = &checks->leaves[checks->leaves_count++];
    *leave = (struct leave){.seat = seat->index, .life = seat->life, .asked_us = world->now_us};
    leave->stays_us = world->now_us + (uint64_t)stay_ms * WORLD_MS;
    leave->until_us = world->now_us + (uint64_t)within_ms * WORLD_MS;
    for (uint32_t n = 0; n < world->clients->sessions_count; n++)
        if (is_open(world->clients->sessions[n]) &&
            owns(world, seat->index, world->clients->sessions[n])) {
            leave->sessions = sim_grow(leave->sessions, leave->sessions_count,
                                       &leave->sessions_capacity, sizeof *leave->sessions);
            leave->sessions[leave->sessions_count++] = n;
        }
    world_at(world, leave->until_us + OVER_US, CHECK_LEAVES, seat->index, checks->leaves_count - 1,
             0);
}

/* ---- G3 ------------------------------------------------------------------------------------- */

/* It comes to the life that was asked, or to nobody. */
void leave_check_over(struct world *world, const struct world_event *event)
{
    const struct leave *leave = &world->checks->leaves[event->a];
    const struct seat *seat = &world->seats[leave->seat];
    bool is_late = seat->turn_us > 0 || seat->service_us > 0; /* whatever it does comes late */
    if (is_late || seat->disturbed_us + OVER_US > world->now_us) {
        world_at(world, world->now_us + OVER_US, CHECK_LEAVES, leave->seat, event->a, 0);
        return;
    }
    check_fail(world, "G3", "p%u was to be gone %" PRIu64 " ms ago, and runs", leave->seat,
               (world->now_us - leave->until_us) / WORLD_MS);
}

/* ---- G2 ------------------------------------------------------------------------------------- */

static bool can_take(const struct world *world, uint32_t seat)
{
    const struct seat *at = &world->seats[seat];
    return world_serves(world, seat) && at->served && !at->leaving && !at->waits_for_name &&
           at->joined_us != 0 && at->joined_us + 5 * WORLD_SECOND < world->now_us;
}

static void session_left(struct world *world, uint32_t seat, uint32_t number)
{
    const struct session *session = world->clients->sessions[number];
    struct records records;
    char words[200];
    records_of(world, session, &records);
    if (!is_open(session) || (records.owner != WORLD_NOBODY && records.owner != seat))
        return;
    records_tell(world, session, words, sizeof words);
    check_fail(world, "G2", "p%u left and session %u is nobody's; of its records: %s", seat, number,
               words[0] != '\0' ? words : "there are none");
}

void leave_exits(struct world *world, const struct seat *seat)
{
    const struct checks *checks = world->checks;
    bool is_somebody_there = false;
    for (uint32_t other = 0; other < world->seats_count; other++)
        is_somebody_there = is_somebody_there || (other != seat->index && can_take(world, other));
    if (!is_world_of(world, GENTLE | LINKS) || !is_somebody_there)
        return;
    for (uint32_t n = 0; n < checks->leaves_count; n++)
        for (uint32_t k = 0; k < checks->leaves[n].sessions_count; k++)
            if (checks->leaves[n].seat == seat->index && checks->leaves[n].life == seat->life)
                session_left(world, seat->index, checks->leaves[n].sessions[k]);
}

/* ---- G4 ------------------------------------------------------------------------------------- */

void leave_taken(struct world *world, const struct seat *seat)
{
    const struct clients *clients = world->clients;
    if (!is_world_of(world, GENTLE | LINKS))
        return;
    for (uint32_t n = 0; n < clients->sessions_count; n++) {
        if (!owns(world, seat->index, clients->sessions[n]))
            continue;
        for (uint32_t other = 0; other < world->seats_count; other++)
            if (other != seat->index && owns(world, other, clients->sessions[n]))
                check_fail(world, "G4", "p%u takes session %u, and p%u%s owns it", seat->index, n,
                           other, world->seats[other].leaving ? ", which leaves," : "");
    }
}

/* ---- G1 ------------------------------------------------------------------------------------- */

/* The server that takes the place of another was asked when the request came, or before, and has
 * not answered its handshake yet: slower than anybody waits, whether somebody leaves or not. */
static bool is_server_slow(const struct world *world, const struct request *request)
{
    const struct upstreams *ups = world->upstreams;
    for (uint32_t n = 0; n < ups->calls_count; n++) {
        const struct ucall *call = &ups->calls[n];
        const struct upstream *up = &ups->ups[call->upstream];
        if (call->state != UCALL_OVER && call->is_own && call->is_request &&
            up->session == request->session && upstream_lives(up) &&
            up->opened_us <= request->opened_us + LAST_US)
            return true;
    }
    return false;
}

static bool is_loss(const struct world *world, const struct request *request, enum mesh_reason why)
{
    if (why == MESH_UPSTREAM_DOWN && is_server_slow(world, request))
        return false;
    return why == MESH_OWNER_LOST || why == MESH_OUTCOME_UNKNOWN || why == MESH_UPSTREAM_LOST ||
           why == MESH_UPSTREAM_DOWN || why == MESH_PARKED_TOO_LONG || why == MESH_STOPPING ||
           why == MESH_SESSION_UNKNOWN || why == MESH_SESSION_ENDED;
}

/* It came to a peer that takes no new ones any more; or its answer was to come when a leave that it
 * met was almost over, or later. */
static bool is_too_late(const struct world *world, const struct request *request)
{
    const struct checks *checks = world->checks;
    for (uint32_t n = 0; n < checks->leaves_count; n++)
        if (checks->leaves[n].seat == request->seat && checks->leaves[n].life == request->life &&
            checks->leaves[n].stays_us <= request->opened_us)
            return true;
    for (uint32_t n = 0; n < checks->leaves_count; n++)
        if (checks->leaves[n].asked_us <= world->now_us &&
            checks->leaves[n].until_us >= request->opened_us &&
            request->answers_at_us + LAST_US >= checks->leaves[n].until_us)
            return true;
    return false;
}

void leave_judges(struct world *world, const struct request *request)
{
    const struct session *session = world->clients->sessions[request->session];
    enum mesh_reason why = request->why != MESH_OK ? request->why : request->told_failure;
    bool is_plain = request->ask <= ASK_UNSUBSCRIBE && request->ask != ASK_LISTEN;
    if (!is_plain || !is_open(session) || !is_loss(world, request, why) ||
        !is_world_of(world, GENTLE) || world->checks->leaves_count == 0 ||
        is_too_late(world, request))
        return;
    check_fail(world, "G1",
               "nothing is wrong but leaves, and #%u (%s, session %u) through p%u ends "
               "with '%s'",
               request->n, ask_name(request->ask), request->session, request->seat,
               reason_name(why));
}
