/* tenures.c - see tenures.h. */
#include "sim/tenures.h"

#include <inttypes.h>
#include <stdlib.h>

#include "sim/check.h"
#include "sim/client.h"
#include "sim/members.h"
#include "sim/net.h"
#include "sim/upstream.h"

#define LOOK_US (1u * WORLD_SECOND)
#define SILENT_US (60u * WORLD_SECOND) /* N1 */
#define PASSES_US (1u * WORLD_SECOND)  /* O1: what was under way has arrived */
#define WELL_US (6u * WORLD_SECOND)    /* O3: so long nothing was wrong with the owner */
#define HOLDER_WELL_US                                                                             \
    (3u * WORLD_SECOND)            /* O1: so long nothing was wrong with who has a record          \
                                    */
#define ALONE_US (995u * WORLD_MS) /* R1: then initialize is answered without a copy */
#define LOSS_PPM_MAX 20000u        /* beyond it a round trip may take seconds */

void tenures_new(struct world *world)
{
    world_at(world, LOOK_US, CHECK_TENURES, WORLD_NOBODY, 0, 0);
}

/* ---- who has what --------------------------------------------------------------------------- */

static bool tenure_at(const struct world *world, uint32_t seat, const struct session *session,
                      struct mesh_tenure *tenure)
{
    return session->has_id && world_serves(world, seat) &&
           mesh_tenure_of(world->seats[seat].mesh, session->id, MESH_SESSION_TEXT, tenure);
}

void records_of(const struct world *world, const struct session *session, struct records *found)
{
    struct mesh_tenure tenure;
    struct mesh_epoch owned = {0}; /* rivals may have the same counter: the higher owner's is it */
    uint64_t lowest = UINT64_MAX, highest = 0;
    *found = (struct records){.owner = WORLD_NOBODY};
    for (uint32_t seat = 0; seat < world->seats_count; seat++) {
        if (!tenure_at(world, seat, session, &tenure))
            continue;
        if (!tenure.is_copy &&
            (found->owner == WORLD_NOBODY || mesh_epoch_compare(tenure.epoch, owned) > 0)) {
            found->owner = seat;
            owned = tenure.epoch;
            found->epoch = owned.counter;
        }
        found->owners += !tenure.is_copy;
        found->copies += tenure.is_copy;
        found->leaving += world->seats[seat].leaving;
        lowest = tenure.epoch.counter < lowest ? tenure.epoch.counter : lowest;
        highest = tenure.epoch.counter > highest ? tenure.epoch.counter : highest;
    }
    if (found->owner == WORLD_NOBODY)
        found->epoch = highest;
    found->agree = lowest == highest;
}

void records_tell(const struct world *world, const struct session *session, char *words,
                  size_t room)
{
    struct mesh_tenure tenure;
    size_t at = 0;
    words[0] = '\0';
    for (uint32_t seat = 0; seat < world->seats_count && at + 32 < room; seat++)
        if (tenure_at(world, seat, session, &tenure))
            at += (size_t)snprintf(words + at, room - at, "%sp%u %s %" PRIu64, at == 0 ? "" : ", ",
                                   seat, tenure.is_copy ? "has" : "owns", tenure.epoch.counter);
}

bool tenure_survives(const struct world *world, const struct session *session)
{
    struct records records;
    records_of(world, session, &records);
    return records.owners + records.copies > records.leaving;
}

static uint32_t life_on(const struct world *world, uint32_t seat)
{
    for (uint32_t n = world->lives_count; n-- > 0;)
        if (world->lives[n].seat == seat)
            return n;
    return WORLD_NOBODY;
}

/* ---- what is wrong -------------------------------------------------------------------------- */

static bool path_is_well(const struct world *world, const struct path *path)
{
    uint64_t since_us = world->now_us < WELL_US ? 0 : world->now_us - WELL_US;
    return path->cuts == 0 && path->healed_us <= since_us && path->bad_until_us <= since_us &&
           path->slow_until_us <= since_us && path->clogged_until_us <= since_us &&
           path->loss_ppm == 0 && path->mtu_bytes == 0 && path->rate_kbs == 0 &&
           path->bursts.bad_ms == 0 && path->more_us == 0 && path->gossip_more_us == 0;
}

/* A stall is a cut of all its wires, both ways. */
static bool io_is_well(const struct world *world, const struct seat *seat)
{
    return seat->io_stalled_until_us == 0 || seat->io_stalled_until_us + WELL_US <= world->now_us;
}

/* Who has no descriptors left dials nobody, and nobody gets through to it. */
static bool files_are_well(const struct world *world, const struct seat *seat)
{
    return !seat->has_no_files &&
           (seat->files_back_us == 0 || seat->files_back_us + WELL_US <= world->now_us);
}

/* Between those that are `meant`, and nothing is lost by chance beyond what costs no second. */
static bool wires_are_well(struct world *world, const bool meant[WORLD_SEATS_MAX])
{
    const struct faults *faults = world->faults;
    if (faults->loss_ppm > LOSS_PPM_MAX || faults->corrupt_ppm > LOSS_PPM_MAX ||
        faults->truncate_ppm > LOSS_PPM_MAX)
        return false;
    for (uint32_t from = 0; from < world->seats_count; from++) {
        if (meant[from] &&
            !(io_is_well(world, &world->seats[from]) && files_are_well(world, &world->seats[from])))
            return false;
        for (uint32_t to = 0; to < world->seats_count; to++)
            if (from != to && meant[from] && meant[to] &&
                !path_is_well(world, net_path(world, from, to)))
                return false;
    }
    return true;
}

/* It was not touched by a fault for so long, nor is now. */
static bool seat_is_well(const struct world *world, uint32_t index, uint64_t for_us)
{
    const struct seat *seat = &world->seats[index];
    return seat->disturbed_us + for_us < world->now_us && seat->turn_us == 0 &&
           seat->service_us == 0 && !seat->has_no_files && !seat->rejects;
}

/* Who has a record of it; true: all of them, but `but` and the one it was taken from, are well. */
static bool keepers_are_well(struct world *world, const struct session *session, uint32_t but,
                             bool meant[WORLD_SEATS_MAX])
{
    struct mesh_tenure tenure;
    bool well = true;
    for (uint32_t seat = 0; seat < world->seats_count; seat++) {
        meant[seat] = tenure_at(world, seat, session, &tenure);
        if (meant[seat] && seat != but && !seat_is_well(world, seat, HOLDER_WELL_US))
            well = false;
    }
    return well;
}

/* Likewise of what is its own: a wire to somebody else is nothing that others hear less by. */
static bool is_unharmed(const struct world *world, uint32_t index)
{
    const struct seat *seat = &world->seats[index];
    return seat->harmed_us + WELL_US < world->now_us && seat->turn_us == 0 &&
           seat->service_us == 0 && !seat->has_no_files && !seat->rejects;
}

static bool keepers_are_unharmed(struct world *world, const struct session *session,
                                 bool meant[WORLD_SEATS_MAX])
{
    struct mesh_tenure tenure;
    bool well = true;
    for (uint32_t seat = 0; seat < world->seats_count; seat++) {
        meant[seat] = tenure_at(world, seat, session, &tenure);
        well = well && (!meant[seat] || is_unharmed(world, seat));
    }
    return well;
}

/* ---- O1: whose words are passed on ---------------------------------------------------------- */

void tenure_moves(struct world *world, uint32_t index)
{
    struct upstream *up = &world->upstreams->ups[index];
    struct mesh_tenure tenure;
    if (up->session == WORLD_NOBODY)
        return;
    struct session *session = world->clients->sessions[up->session];
    if (!tenure_at(world, up->seat, session, &tenure) || tenure.is_copy ||
        world->seats[up->seat].life != up->life)
        return;
    if (up->epoch < tenure.epoch.counter) {
        up->epoch = tenure.epoch.counter;
        up->epoch_us = world->now_us;
    }
    session->owner = life_on(world, up->seat);
    if (session->tenures.top < up->epoch) {
        session->tenures.top = up->epoch;
        session->tenures.top_owner = session->owner;
        session->tenures.top_said_us = 0;
    }
}

/* A higher epoch was heard of so long ago that nothing of a lower one can be under way, and who has
 * a record could have said so to its former owner. */
static bool is_too_late(struct world *world, const struct session *session,
                        const struct upstream *up, uint32_t entry)
{
    const struct tenures *tenures = &session->tenures;
    bool meant[WORLD_SEATS_MAX] = {false};
    /* where it is passed on by who said it, a standstill before is no excuse: it was said after */
    bool is_on_its_way =
        entry != up->seat && (world->seats[entry].disturbed_us + PASSES_US > tenures->top_said_us ||
                              !seat_is_well(world, entry, PASSES_US));
    if (!world_life_runs(world, tenures->top_owner) || tenures->top_said_us == 0 ||
        tenures->top_said_us + PASSES_US > world->now_us || is_on_its_way ||
        !keepers_are_well(world, session, up->seat, meant))
        return false;
    /* its owner is among them, though it was ended there since */
    meant[entry] = meant[up->seat] = meant[world->lives[tenures->top_owner].seat] = true;
    return wires_are_well(world, meant);
}

/* What a log kept from before a takeover is passed on by whoever owns the session now: only what
 * was said after the higher epoch was heard of is a word of who does not own it. */
void tenure_passes(struct world *world, const struct request *request, uint32_t index,
                   uint32_t said_ms)
{
    if (index >= world->upstreams->ups_count || said_ms == WORLD_NOBODY)
        return;
    tenure_moves(world,
                 index); /* it may be the session's owner again, or still, in a later epoch */
    const struct upstream *up = &world->upstreams->ups[index];
    struct session *session = world->clients->sessions[request->session];
    struct tenures *tenures = &session->tenures;
    uint64_t said_us = (uint64_t)said_ms * WORLD_MS;
    /* of one that ended nobody can say any more in which epoch its owner sent its last words */
    if (up->epoch == 0 || up->session != request->session || session->delete_us != 0)
        return;
    heard_passes(world, request, index, said_us);
    /* what it said before is in the logs of others, too: no word of that epoch */
    bool is_of_epoch = said_us >= up->epoch_us;
    if (is_of_epoch && up->epoch == tenures->top && tenures->top_said_us == 0)
        tenures->top_said_us = world->now_us;
    if (up->epoch < tenures->top && said_us > tenures->top_said_us &&
        is_too_late(world, session, up, request->seat))
        check_fail(world, "O1",
                   "#%u through p%u gets what p%u says in epoch %" PRIu64 " of session %u, %" PRIu64
                   " ms after p%u was heard in epoch %" PRIu64,
                   request->n, request->seat, up->seat, up->epoch, request->session,
                   (world->now_us - tenures->top_said_us) / WORLD_MS,
                   world->lives[tenures->top_owner].seat, tenures->top);
}

void tenure_runs(struct world *world, const struct request *request, uint32_t index)
{
    const struct upstream *up = &world->upstreams->ups[index];
    const struct session *session = world->clients->sessions[request->session];
    struct mesh_tenure tenure;
    if (!tenure_at(world, up->seat, session, &tenure))
        return;
    if (tenure.is_copy)
        check_fail(world, "O1", "#%u runs at p%u, which does not own session %u any more",
                   request->n, up->seat, request->session);
}

/* ---- R1 ------------------------------------------------------------------------------------- */

static bool somebody_died_lately(const struct world *world, uint64_t within_us)
{
    for (uint32_t n = 0; n < world->lives_count; n++)
        if (world->lives[n].ended_us != 0 && world->lives[n].ended_us + within_us > world->now_us)
            return true;
    return false;
}

/* Others that it takes for living and that may hold a copy. */
static uint32_t others_of(const struct world *world, uint32_t seat)
{
    static struct mesh_member members[MEMBERS_SEEN];
    const struct mesh *mesh = world->seats[seat].mesh;
    size_t count = mesh_members(mesh, members, MEMBERS_SEEN);
    uint32_t others = 0;
    for (size_t n = 0; n < count && n < MEMBERS_SEEN; n++)
        others += (members[n].state == MEMBER_ALIVE || members[n].state == MEMBER_SUSPECT) &&
                  members[n].record->serving && !members[n].record->draining &&
                  !members[n].record->hold &&
                  !peer_id_equal(members[n].record->id, mesh_self(mesh)->record->id);
    return others;
}

bool tenure_is_alone(const struct world *world, uint32_t seat)
{
    return world_serves(world, seat) && others_of(world, seat) == 0;
}

void tenure_begins(struct world *world, const struct request *request)
{
    const struct session *session = world->clients->sessions[request->session];
    struct records records;
    if (request->ask != ASK_INITIALIZE || request->said_us == 0 || request->is_error ||
        request->said_us + ALONE_US <= world->now_us ||
        somebody_died_lately(world, 2 * WORLD_SECOND))
        return;
    records_of(world, session, &records);
    if (records.owner == WORLD_NOBODY || records.copies > 0 || request->was_alone ||
        others_of(world, records.owner) == 0)
        return;
    check_fail(world, "R1",
               "#%u brings the id of session %u after %" PRIu64
               " ms, and nobody but p%u has a record of it",
               request->n, request->session, (world->now_us - request->said_us) / WORLD_MS,
               records.owner);
}

static uint32_t seat_of(const struct world *world, struct peer_id id)
{
    for (uint32_t seat = 0; seat < world->seats_count; seat++)
        if (world_serves(world, seat) &&
            peer_id_equal(mesh_self(world->seats[seat].mesh)->record->id, id))
            return seat;
    return WORLD_NOBODY;
}

/* It knows that the session ended for good: one of HTTP+SSE ends for everybody where its answers
 * are owed by who yields it, and the other owner may not have heard of that yet. */
static bool is_over_at(const struct world *world, uint32_t seat, const struct session *session)
{
    struct mesh_why why;
    mesh_why(world->seats[seat].mesh, session->id, MESH_SESSION_TEXT, &why,
             world_clock_ms(world, &world->seats[seat]));
    return session->is_single && why.verdict == OWNER_ENDED;
}

/* Who has a record of a higher epoch, from the other side of a split, is the next owner with that.
 */
static bool has_rival(const struct world *world, const struct session *session,
                      struct mesh_epoch epoch)
{
    struct mesh_tenure theirs;
    for (uint32_t seat = 0; seat < world->seats_count; seat++)
        if (tenure_at(world, seat, session, &theirs) && mesh_epoch_compare(theirs.epoch, epoch) > 0)
            return true;
    return false;
}

/* What its owner takes for acknowledged is there. */
static void acked_check(struct world *world, uint32_t number, uint32_t owner)
{
    const struct session *session = world->clients->sessions[number];
    struct mesh_tenure ours, theirs;
    if (!tenure_at(world, owner, session, &ours) || ours.is_copy || session->delete_us != 0)
        return;
    if (session->tenures.top > ours.epoch.counter || has_rival(world, session, ours.epoch))
        return; /* it went on elsewhere, and has its holders there */
    for (uint8_t n = 0; n < ours.holders_count; n++) {
        uint32_t seat = seat_of(world, ours.holders[n].peer);
        if (ours.holders[n].acked == 0 || seat == WORLD_NOBODY)
            continue;
        bool has = tenure_at(world, seat, session, &theirs);
        if (!has && is_over_at(world, seat, session))
            continue;
        if (!has || mesh_epoch_compare(theirs.epoch, ours.epoch) < 0 ||
            (mesh_epoch_compare(theirs.epoch, ours.epoch) == 0 &&
             theirs.version < ours.holders[n].acked))
            check_fail(world, "R1",
                       "p%u takes version %" PRIu64 " of session %u for acknowledged by p%u, "
                       "which has %s %" PRIu64,
                       owner, ours.holders[n].acked, number, seat, has ? "version" : "nothing",
                       theirs.version);
    }
}

/* Is what its client was told of level and subscriptions known at this seat? Its server knows, and
 * not for the moment because it was not told all yet; or it was told before. */
static bool knows_wishes(const struct world *world, uint32_t number, uint32_t seat)
{
    const struct wishes *wishes = &world->clients->sessions[number]->wishes;
    uint32_t index = upstream_of(world, number);
    const struct upstream *up = index != WORLD_NOBODY ? &world->upstreams->ups[index] : NULL;
    if (up != NULL && up->seat == seat && up->shaken.is_initialized &&
        (up->shaken.is_over || !up->shaken.is_replayed))
        return up->shaken.level == wishes->level && up->shaken.uris == wishes->uris;
    for (uint32_t n = 0; n < wishes->safe_count; n++)
        if (wishes->safe_us >= wishes->changed_us && wishes->safe[n] == life_on(world, seat))
            return true;
    return false;
}

/* Everybody who has a copy has all of it: whoever of them is the next owner knows what was answered
 * until now. */
static void safe_note(struct world *world, uint32_t number, uint32_t owner)
{
    struct session *session = world->clients->sessions[number];
    struct mesh_tenure tenure;
    struct wishes *wishes = &session->wishes;
    uint32_t lives[MESH_HOLDERS_SEEN];
    if (!tenure_at(world, owner, session, &tenure) || tenure.is_copy)
        return;
    if (!knows_wishes(world, number, owner) ||
        has_rival(world, session, tenure.epoch)) { /* from now on its record is what others have */
        wishes->safe_count = 0;
        return;
    }
    if (tenure.holders_count == 0)
        return;
    for (uint8_t n = 0; n < tenure.holders_count; n++) {
        uint32_t seat = seat_of(world, tenure.holders[n].peer);
        if (tenure.holders[n].acked != tenure.version || seat == WORLD_NOBODY)
            return;
        lives[n] = life_on(world, seat);
    }
    wishes->safe_us = world->now_us;
    wishes->safe[0] = life_on(world, owner);
    memcpy(wishes->safe + 1, lives, tenure.holders_count * sizeof *lives);
    wishes->safe_count = 1u + tenure.holders_count;
}

/* ---- looking now and then ------------------------------------------------------------------- */

/* Since it was seen to own it last, somebody died whose it was as well: a successor at which
 * nothing ran gives the session back to who owned it before (DESIGN §7), and whose it is then is
 * dead. */
static bool was_given_back(struct world *world, const struct tenures *tenures)
{
    const struct heard *heard = &tenures->heard;
    for (uint32_t n = 0; n < heard->begun_count; n++) {
        uint32_t other = world_life_of(world, heard->begun[n].epoch.owner);
        if (other != WORLD_NOBODY && other != tenures->seen_owner &&
            world->lives[other].ended_us > tenures->seen_us)
            return true;
    }
    return false;
}

static void owners_note(struct world *world, struct session *session)
{
    struct tenures *tenures = &session->tenures;
    struct mesh_tenure tenure;
    tenures->own_count = 0;
    for (uint32_t seat = 0; seat < world->seats_count; seat++)
        if (tenures->own_count < TENURE_OWN && tenure_at(world, seat, session, &tenure) &&
            !tenure.is_copy)
            tenures->own[tenures->own_count++] = life_on(world, seat);
}

/* Beside the former, in an earlier epoch: when they hear each other, one goes on in the next one
 * (DESIGN §7), and takes nothing over. */
static bool owned_before(const struct tenures *tenures, uint32_t life)
{
    for (uint32_t n = 0; n < tenures->own_count; n++)
        if (tenures->own[n] == life)
            return true;
    return false;
}

/* O3 */
static void taken_check(struct world *world, uint32_t number, const struct records *records)
{
    const struct session *session = world->clients->sessions[number];
    bool meant[WORLD_SEATS_MAX];
    struct mesh_tenure tenure;
    if (tenure_at(world, records->owner, session, &tenure) && tenure.was_handed)
        return;
    const struct life *former = &world->lives[session->tenures.seen_owner];
    /* one of less than a second, between two looks, was nobody's to see: its owner is the former */
    struct mesh_epoch last = heard_before(&session->tenures.heard, records->epoch);
    if ((last.counter != 0 && !peer_id_equal(last.owner, former->id)) ||
        was_given_back(world, &session->tenures) ||
        owned_before(&session->tenures, life_on(world, records->owner)))
        return;
    if (former->ended_us != 0 || former->seat == records->owner ||
        world->seats[former->seat].leaving || !is_unharmed(world, former->seat) ||
        !keepers_are_unharmed(world, session, meant))
        return;
    meant[former->seat] = true;
    if (wires_are_well(world, meant))
        check_fail(
            world, "O3",
            "session %u is taken over by p%u, and p%u, whose it was, lives and is well heard",
            number, records->owner, former->seat);
}

static bool is_over(const struct session *session)
{
    return !session->has_begun || session->delete_us != 0 || session->was_left ||
           session->is_single || session->owner == WORLD_NOBODY;
}

/* So many that had a record of it died at once: within a second of the last of them, which died
 * since somebody looked last. */
static uint32_t died_lately(const struct world *world, const struct tenures *tenures)
{
    uint64_t last_us = 0;
    uint32_t count = 0;
    for (uint32_t n = 0; n < tenures->lost_count && n < TENURE_LOST; n++)
        if (world->lives[tenures->lost[n]].ended_us > last_us)
            last_us = world->lives[tenures->lost[n]].ended_us;
    if (last_us + LOOK_US <= world->now_us)
        return 0;
    for (uint32_t n = 0; n < tenures->lost_count && n < TENURE_LOST; n++)
        count += world->lives[tenures->lost[n]].ended_us + LOOK_US > last_us;
    return count;
}

/* Of those who had a record, one runs and lost it, or nobody took up what was there. When all who
 * were to have one by then died at once, nobody is to blame: a session survives the loss of as many
 * as it has copies. */
static void gone_check(struct world *world, uint32_t number)
{
    struct session *session = world->clients->sessions[number];
    const struct tenures *tenures = &session->tenures;
    session->tenures.is_gone = true;
    if (died_lately(world, tenures) > TENURE_COPIES)
        return;
    for (uint32_t n = 0; n < tenures->had_count; n++) {
        uint32_t life = tenures->had[n];
        const struct seat *seat = &world->seats[world->lives[life].seat];
        if (!is_over(session) && world_life_runs(world, life) && !seat->leaving && !seat->exited)
            check_fail(world, "R1", "nobody has a record of session %u any more, and p%u had one",
                       number, seat->index);
    }
}

static void session_look(struct world *world, uint32_t number)
{
    struct session *session = world->clients->sessions[number];
    struct tenures *tenures = &session->tenures;
    struct mesh_tenure tenure;
    struct records records;
    records_of(world, session, &records);
    if (records.owners + records.copies == 0) {
        gone_check(world, number);
        return;
    }
    if (tenures->since_us == 0)
        tenures->since_us = world->now_us;
    tenures->had_count = 0;
    for (uint32_t seat = 0; seat < world->seats_count; seat++)
        if (tenures->had_count < TENURE_HAD && tenure_at(world, seat, session, &tenure))
            tenures->had[tenures->had_count++] = life_on(world, seat);
    if (records.owner == WORLD_NOBODY) {
        tenures->own_count = 0;
        return;
    }
    acked_check(world, number, records.owner);
    safe_note(world, number, records.owner);
    if (records.epoch > tenures->seen) {
        if (tenures->seen != 0)
            taken_check(world, number, &records);
        tenures->seen = records.epoch;
        tenures->seen_owner = life_on(world, records.owner);
    }
    if (tenures->seen_owner == life_on(world, records.owner))
        tenures->seen_us = world->now_us;
    owners_note(world, session);
    if (records.epoch > tenures->top) {
        world->clients->tenures += tenures->top != 0;
        tenures->top = records.epoch;
        tenures->top_said_us = 0;
    }
    if (records.epoch == tenures->top)
        session->owner = tenures->top_owner = life_on(world, records.owner);
}

void tenures_look(struct world *world)
{
    const struct clients *clients = world->clients;
    for (uint32_t n = 0; n < clients->sessions_count && !world->failed; n++)
        if (clients->sessions[n]->has_id && !clients->sessions[n]->tenures.is_gone)
            session_look(world, n);
    world_at(world, world->now_us + LOOK_US, CHECK_TENURES, WORLD_NOBODY, 0, 0);
}

void tenures_died(struct world *world, const struct seat *seat)
{
    struct mesh_tenure tenure;
    if (seat->is_foreign)
        return;
    for (uint32_t n = 0; n < world->clients->sessions_count; n++) {
        struct session *session = world->clients->sessions[n];
        if (!tenure_at(world, seat->index, session, &tenure))
            continue;
        uint32_t *place = &session->tenures.lost[session->tenures.lost_count++ % TENURE_LOST];
        *place = life_on(world, seat->index);
    }
}

/* Is it the one of that hash, as logs name it? */
static bool is_of_hash(const struct world *world, const struct seat *seat,
                       const struct session *session, uint32_t hash)
{
    struct mesh_why why;
    char hex[9];
    snprintf(hex, sizeof hex, "%08" PRIx32, hash);
    mesh_why(seat->mesh, session->id, MESH_SESSION_TEXT, &why, world_clock_ms(world, seat));
    return strcmp(why.id_hash, hex) == 0;
}

void tenures_closed(struct world *world, const struct seat *seat, uint32_t hash)
{
    const struct clients *clients = world->clients;
    for (uint32_t n = 0; seat->leaving && n < clients->sessions_count; n++) {
        struct session *session = clients->sessions[n];
        if (session->has_id && !session->was_left)
            session->was_left = is_of_hash(world, seat, session, hash);
    }
}

void tenures_taken(struct world *world, const struct seat *seat, uint32_t hash)
{
    const struct clients *clients = world->clients;
    struct mesh_tenure tenure;
    for (uint32_t n = 0; n < clients->sessions_count; n++) {
        struct wishes *wishes = &clients->sessions[n]->wishes;
        if (wishes->safe_count > 0 &&
            tenure_at(world, seat->index, clients->sessions[n], &tenure) && !tenure.is_copy &&
            is_of_hash(world, seat, clients->sessions[n], hash) &&
            !knows_wishes(world, n, seat->index))
            wishes->safe_count = 0;
    }
}

/* ---- N1 ------------------------------------------------------------------------------------- */

/* Does a peer that runs know of a newer generation of this name? Then this one is superseded,
 * whether it heard of that or not: its former life can have had the faster clock, and can have been
 * known to nobody whom this one asked on its way in. */
static bool is_superseded(const struct world *world, uint32_t life)
{
    static struct mesh_member members[MEMBERS_SEEN];
    struct peer_id id = world->lives[life].id;
    const struct seat *own = &world->seats[world->lives[life].seat];
    for (uint32_t n = 0; n < world->seats_count; n++) {
        const struct seat *seat = &world->seats[n];
        if (n == own->index
                ? own->life > world->lives[life].life && !seat->is_foreign
                : seat->name == own->name && !seat->is_foreign && seat->joined_us > own->joined_us)
            return true;
        if (!world_serves(world, n))
            continue;
        size_t count = mesh_members(seat->mesh, members, MEMBERS_SEEN);
        for (size_t m = 0; m < count && m < MEMBERS_SEEN; m++)
            if (members[m].record->id.name == id.name &&
                members[m].record->id.generation > id.generation)
                return true;
    }
    return false;
}

bool tenure_may_be_unknown(struct world *world, const struct session *session)
{
    const struct tenures *tenures = &session->tenures;
    struct mesh_tenure tenure;
    for (uint32_t seat = 0; seat < world->seats_count; seat++)
        if (tenure_at(world, seat, session, &tenure) && !world->seats[seat].leaving &&
            !is_superseded(world, life_on(world, seat)))
            return false;
    for (uint32_t n = 0; n < tenures->lost_count && n < TENURE_LOST; n++) {
        const struct life *keeper = &world->lives[tenures->lost[n]];
        bool left = keeper->was_leaving || world->seats[keeper->seat].exited;
        if (keeper->ended_us != 0 && !left && world->now_us - keeper->ended_us <= SILENT_US &&
            !is_superseded(world, tenures->lost[n]))
            return false;
    }
    return true;
}

uint32_t tenures_at(struct world *world, uint32_t seat, uint32_t *left_behind)
{
    struct mesh_tenure tenure;
    uint32_t count = 0;
    *left_behind = 0;
    for (uint32_t n = 0; n < world->clients->sessions_count; n++) {
        const struct session *session = world->clients->sessions[n];
        if (!tenure_at(world, seat, session, &tenure))
            continue;
        count++;
        *left_behind += session->delete_us > world->quiet_us;
        world_say(world, &world->seats[seat], "has session %u in epoch %" PRIu64 " yet, %s", n,
                  tenure.epoch.counter, tenure.is_copy ? "as a copy" : "as its owner");
    }
    return count;
}

/* ---- the end of calm ------------------------------------------------------------------------ */

static void records_check(struct world *world, uint32_t number)
{
    char words[200];
    const struct session *session = world->clients->sessions[number];
    struct records records;
    records_of(world, session, &records);
    uint32_t wanted = 0, has = records.copies;
    if (records.owners + records.copies == 0)
        return;
    if (records.owners != 1 || !records.agree) {
        records_tell(world, session, words, sizeof words);
        check_fail(world, "O2", "calm, and of the records of session %u %s", number, words);
        return;
    }
    wanted = others_of(world, records.owner);
    wanted = wanted < TENURE_COPIES ? wanted : TENURE_COPIES;
    if (has < wanted && session->tenures.since_us + LOOK_US > world->now_us)
        return; /* it is on its way to the others */
    if (has < wanted) {
        struct mesh_tenure ours;
        size_t at = 0;
        words[0] = '\0';
        if (!tenure_at(world, records.owner, session, &ours) || ours.version == 0)
            return; /* its initialize came to nothing: there is nothing to copy */
        for (uint8_t n = 0; n < ours.holders_count && at + 32 < sizeof words; n++)
            at += (size_t)snprintf(words + at, sizeof words - at, ", p%u has %" PRIu64,
                                   seat_of(world, ours.holders[n].peer), ours.holders[n].acked);
        check_fail(world, "R1",
                   "calm, and of session %u there are %u copies, not %u; p%u, its owner in version "
                   "%" PRIu64 ", says:%s",
                   number, has, wanted, records.owner, ours.version, words);
    }
}

void tenures_check_calm(struct world *world)
{
    for (uint32_t n = 0; n < world->clients->sessions_count && !world->failed; n++) {
        const struct session *session = world->clients->sessions[n];
        if (session->has_id && !is_over(session) && !session->tenures.is_gone)
            records_check(world, n);
    }
}
