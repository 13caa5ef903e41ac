/* members.c - the invariants of membership. What the world knows to be true comes from
 * world->lives; what a peer believes, from mesh_members() and the changes that it tells. */
#include "sim/members.h"

#include <inttypes.h>
#include <stdlib.h>

#include "sim/check.h"
#include "sim/client.h"
#include "sim/net.h"

#define SAID_KEPT 16384u
#define LIVES_KEPT 16384u
#define CALM_LOOK_US (500u * WORLD_MS)
#define IDLE_LEAST_US (2u * WORLD_SECOND)

int members_new(struct world *world)
{
    struct members *members = sim_zero(sizeof *members);
    world->members = members;
    members->seen = sim_zero(world->seats_max * sizeof *members->seen);
    members->said = sim_zero(SAID_KEPT * sizeof *members->said);
    members->life_at = sim_zero(LIVES_KEPT * sizeof *members->life_at);
    return 0;
}

void members_free(struct world *world)
{
    struct members *members = world->members;
    if (members == NULL)
        return;
    for (uint32_t n = 0; n < world->seats_max; n++)
        free(members->seen[n].rows);
    free(members->seen);
    free(members->said);
    free(members->life_at);
    free(members);
    world->members = NULL;
}

/* ---- what is true --------------------------------------------------------------------------- */

static bool is_life(const struct life *life, const struct mesh_record *record)
{
    return peer_id_equal(life->id, record->id) &&
           (record->nonce == 0 || record->nonce == life->nonce);
}

static const struct life *life_among(const struct world *world, const struct mesh_record *record)
{
    for (uint32_t n = world->lives_count; n-- > 0;)
        if (is_life(&world->lives[n], record))
            return &world->lives[n];
    return NULL;
}

/* The process of which a row speaks; NULL: there never was one. What living ones say of themselves
 * is asked only where it may matter: of hundreds that takes long. */
static const struct life *life_of(struct world *world, const struct mesh_record *record)
{
    uint64_t hash = members_mix(members_mix(record->id.name, record->id.generation), record->nonce);
    uint32_t *at = &world->members->life_at[hash % LIVES_KEPT];
    if (*at < world->lives_count && is_life(&world->lives[*at], record))
        return &world->lives[*at];
    const struct life *life = record->nonce != 0 ? life_among(world, record) : NULL;
    if (life == NULL) {
        world_lives_note(world);
        life = life_among(world, record);
    }
    if (life != NULL)
        *at = (uint32_t)(life - world->lives);
    return life;
}

/* What others say of a member's health and record may be false for a while (malice.h): nobody can
 * tell, but by identities. Whether it stays so is seen in calm (M3). That it left, or was replaced,
 * is never believed of one that answers. */
static bool is_lied_to(const struct world *world)
{
    return world->faults->hits[FAULT_MALICE] > 0 && !world->config.identities;
}

/* A row says no more than its subject ever did (M1), and is of somebody of our cluster (P7). */
static void check_truth(struct world *world, const struct seat *seat, const struct mesh_member *row)
{
    const struct mesh_record *record = row->record;
    const struct life *life = life_of(world, record);
    if (life == NULL) {
        check_fail(world, "M6", "p%u knows %s %016" PRIx64 ".%" PRIu64 ", who never lived",
                   seat->index, record->name, record->id.name, record->id.generation);
        return;
    }
    if (life->is_foreign != seat->is_foreign)
        check_fail(world, "P7", "p%u knows p%u.%u, which is of another cluster", seat->index,
                   life->seat, life->life);
    uint32_t incarnation = life->incarnation;
    uint64_t version = life->version;
    bool is_leaving = life->was_leaving;
    if (life->ended_us == 0) {
        const struct mesh_member *self = mesh_self(world->seats[life->seat].mesh);
        incarnation = self->incarnation;
        version = self->record->version;
        is_leaving = world->seats[life->seat].leaving || world->seats[life->seat].exited;
    }
    if (!is_lied_to(world) && (row->incarnation > incarnation || record->version > version))
        check_fail(world, "M1",
                   "p%u knows incarnation %u and version %" PRIu64 " of p%u.%u, which never "
                   "went beyond %u and %" PRIu64,
                   seat->index, row->incarnation, record->version, life->seat, life->life,
                   incarnation, version);
    if (row->state == MEMBER_LEFT && !is_leaving)
        check_fail(world, "M2", "p%u believes that p%u.%u left, and it did not", seat->index,
                   life->seat, life->life);
}

/* M5 */
static void check_record(struct world *world, const struct seat *seat,
                         const struct mesh_record *record)
{
    uint64_t key =
        members_mix(members_mix(members_mix(record->id.name, record->id.generation), record->nonce),
                    record->version);
    uint64_t digest = members_mix(record->addr.port, record->weight);
    for (size_t n = 0; n < sizeof record->addr.ip; n++)
        digest = members_mix(digest, record->addr.ip[n]);
    for (size_t n = 0; n < sizeof record->name && record->name[n] != 0; n++)
        digest = members_mix(digest, (uint8_t)record->name[n]);
    digest = members_mix(digest, (uint64_t)record->serving << 2 | (uint64_t)record->draining << 1 |
                                     (uint64_t)record->hold);
    for (uint8_t n = 0; n < record->keys_count; n++)
        digest = members_mix(digest, record->keys[n]);
    if (record->version == 0 || is_lied_to(world))
        return; /* 0: nothing but its end is known */
    struct said *said = &world->members->said[key % SAID_KEPT];
    if (said->key == key && said->digest != digest)
        check_fail(world, "M5", "p%u has another record of %s %" PRIu64 " under version %" PRIu64,
                   seat->index, record->name, record->id.generation, record->version);
    *said = (struct said){key, digest};
}

/* ---- what a peer believes ------------------------------------------------------------------- */

static struct seen *seen_of(struct world *world, const struct seat *seat)
{
    struct seen *seen = &world->members->seen[seat->index];
    if (seen->life != seat->life)
        seen->count = 0;
    seen->life = seat->life;
    return seen;
}

static uint32_t seen_place(const struct seen *seen, struct peer_id id)
{
    uint32_t low = 0, high = seen->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (peer_id_compare(seen->rows[middle].id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* M1, M6: from what it showed before to what it shows now. */
static void check_step(struct world *world, const struct seat *seat, const struct seen_row *was,
                       const struct mesh_member *is)
{
    const char *name = is->record->name;
    if (is->incarnation < was->incarnation)
        check_fail(world, "M1", "p%u: incarnation %u of %s goes back to %u", seat->index,
                   was->incarnation, name, is->incarnation);
    if (is->record->nonce == was->nonce && is->record->version < was->version)
        check_fail(world, "M1", "p%u: version %" PRIu64 " of %s goes back to %" PRIu64, seat->index,
                   was->version, name, is->record->version);
    if (was->state == MEMBER_LEFT && is->state != MEMBER_LEFT)
        check_fail(world, "M6", "p%u: %s left, and is in state %d again", seat->index, name,
                   is->state);
    if (was->state == MEMBER_DEAD && member_state_is_living(is->state) &&
        is->incarnation <= was->incarnation)
        check_fail(world, "M6", "p%u: %s was dead at incarnation %u, and lives again at %u",
                   seat->index, name, was->incarnation, is->incarnation);
}

/* It lives, or lived a second ago; what waited at this seat is as old as the wait. */
static bool is_heard_yet(const struct world *world, const struct seat *seat,
                         const struct life *life)
{
    uint64_t until_us = seat->io_stalled_until_us > seat->paused_until_us
                            ? seat->io_stalled_until_us
                            : seat->paused_until_us;
    bool has_waited = world->now_us < until_us + WORLD_SECOND;
    uint64_t sent_us = has_waited && seat->held_us < world->now_us ? seat->held_us : world->now_us;
    return life->ended_us == 0 || sent_us < life->ended_us + WORLD_SECOND;
}

/* M6: of a name one generation lives, and that is the newest, unless the newer ones are gone and it
 * outlived them. `is_met`: it did not live here before. */
static void check_newest(struct world *world, const struct seat *seat, const struct seen *seen,
                         uint32_t at, bool is_met)
{
    const struct seen_row *row = &seen->rows[at];
    if (!member_state_is_living(row->state))
        return;
    for (uint32_t n = at + 1; n < seen->count && seen->rows[n].id.name == row->id.name; n++) {
        const struct mesh_member *newer = mesh_member_of(seat->mesh, seen->rows[n].id);
        if (newer == NULL)
            continue;
        const struct life *own =
            is_met ? life_of(world, mesh_member_of(seat->mesh, row->id)->record) : NULL;
        bool is_outlived = own != NULL && is_heard_yet(world, seat, own);
        if (member_state_is_living(newer->state) || (is_met && !is_outlived))
            check_fail(world, "M6",
                       "p%u: generation %" PRIu64 " of %016" PRIx64 " lives, and %" PRIu64
                       " is known",
                       seat->index, row->id.generation, row->id.name, newer->record->id.generation);
    }
}

/* A newer process has our name: we are to go. */
static bool is_outdone(struct world *world, const struct seat *seat, struct peer_id id)
{
    world_lives_note(world);
    for (uint32_t n = 0; n < world->lives_count; n++) {
        const struct life *life = &world->lives[n];
        if (life->id.name == id.name && life->is_foreign == seat->is_foreign &&
            (life->id.generation > id.generation ||
             (life->id.generation == id.generation && !peer_id_is_nobody(id) &&
              life->seat != seat->index)))
            return true;
    }
    return false;
}

void members_check_row(struct world *world, struct seat *seat, const struct mesh_member *row)
{
    struct seen *seen = seen_of(world, seat);
    struct peer_id id = row->record->id;
    uint32_t at = seen_place(seen, id);
    bool is_known = at < seen->count && peer_id_equal(seen->rows[at].id, id);
    world->members->looked_at++;
    check_truth(world, seat, row);
    check_record(world, seat, row->record);
    bool is_met = !is_known || !member_state_is_living(seen->rows[at].state);
    if (is_known)
        check_step(world, seat, &seen->rows[at], row);
    bool is_self = peer_id_equal(id, mesh_self(seat->mesh)->record->id);
    if (is_self && row->state != MEMBER_ALIVE && !seat->leaving && !seat->exited &&
        !is_outdone(world, seat, id))
        check_fail(world, "M7", "p%u believes itself to be in state %d", seat->index, row->state);
    if (!is_known) {
        seen->rows = sim_grow(seen->rows, seen->count, &seen->capacity, sizeof *seen->rows);
        memmove(seen->rows + at + 1, seen->rows + at, (seen->count - at) * sizeof *seen->rows);
        seen->count++;
    }
    seen->rows[at] = (struct seen_row){id, row->record->version, row->record->nonce,
                                       row->incarnation, row->state};
    check_newest(world, seat, seen, at, is_met);
}

void members_look(struct world *world, struct seat *seat)
{
    static struct mesh_member rows[MEMBERS_SEEN];
    size_t count = mesh_members(seat->mesh, rows, MEMBERS_SEEN);
    for (size_t n = 0; n < count && n < MEMBERS_SEEN && !world->failed; n++)
        members_check_row(world, seat, &rows[n]);
}

/* Nothing went wrong that could excuse it: without faults, or long after calm began. */
static bool is_peace(const struct world *world, const struct seat *seat, const struct life *life)
{
    uint64_t since_us = world->quiet_us;
    return world->config.load && since_us > 0 && world->now_us > since_us &&
           seat->disturbed_us < since_us && world->seats[life->seat].disturbed_us < since_us;
}

void members_changed(struct world *world, struct seat *seat, struct peer_id id,
                     enum member_state state)
{
    const struct mesh_member *row = mesh_member_of(seat->mesh, id);
    world->members->changes++;
    if (row == NULL)
        return; /* forgotten since */
    members_check_row(world, seat, row);
    const struct life *life = life_of(world, row->record);
    if (state == MEMBER_DEAD && life != NULL && life->ended_us == 0 &&
        !is_outdone(world, &world->seats[life->seat], id) && !world->seats[life->seat].leaving &&
        !world->seats[life->seat].exited && is_peace(world, seat, life))
        check_fail(world, "M2", "in peace p%u declares p%u.%u dead, and it lives", seat->index,
                   life->seat, life->life);
}

/* ---- calm ----------------------------------------------------------------------------------- */

/* What is told is with everybody after 3 log2(N + 1) rounds of 0.2 s; what gossip missed is found
 * by its view hash within 2 s, and exchanged. */
static uint32_t spread_ms(uint32_t nodes)
{
    uint32_t bits = 1;
    while ((nodes + 1) >> bits != 0)
        bits++;
    return 3 * bits * 200 + 2000;
}

/* The slowest way in: a host looks for its contacts anew after 10 s, nobody there answers for 2 s,
 * or a namesake that is gone is asked 3 times, a second apart. The slowest way out, beside it: a
 * monitor pings each second and waits 0.8 s for an answer, and a suspicion that nobody confirms
 * takes 12 s. Guard and brake do not stretch it: in calm everybody is heard, and no more than twins
 * are dead. */
uint32_t members_floor_ms(uint32_t nodes)
{
    uint32_t in_ms = 10000 + 2000 + 3000;
    uint32_t out_ms = 1000 + 800 + 12000;
    return (in_ms > out_ms ? in_ms : out_ms) + spread_ms(nodes);
}

/* How this peer's view differs from what is: a few words each. */
static size_t view_describe(struct world *world, uint32_t seat, uint32_t running, char *text,
                            size_t room)
{
    static struct mesh_member members[MEMBERS_SEEN];
    const struct mesh *mesh = world->seats[seat].mesh;
    size_t count = mesh_members(mesh, members, MEMBERS_SEEN), at = 0;
    uint32_t alive = 0, suspect = 0, shown = 0;
    char wrong[64] = "";
    for (size_t n = 0; n < count && n < MEMBERS_SEEN; n++) {
        const struct mesh_member *m = &members[n];
        alive += m->state == MEMBER_ALIVE;
        suspect += m->state == MEMBER_SUSPECT;
        bool is_living = member_state_is_living(m->state);
        bool lives = world_life_runs(world, world_life_of(world, m->record->id));
        if (is_living == lives && m->state != MEMBER_SUSPECT)
            continue;
        if (shown++ < 3)
            at += (size_t)snprintf(wrong + at, sizeof wrong - at, " %s.%05" PRIu64 " %d",
                                   m->record->name, m->record->id.generation % 100000, m->state);
    }
    return (size_t)snprintf(text, room, " p%u:%04" PRIx64 " %u alive %u suspect of %u%s", seat,
                            mesh_view_hash(mesh) & 0xffff, alive, suspect, running, wrong);
}

static bool suspects_any(const struct world *world, uint32_t seat)
{
    static struct mesh_member members[MEMBERS_SEEN];
    if (!world_serves(world, seat))
        return false;
    size_t count = mesh_members(world->seats[seat].mesh, members, MEMBERS_SEEN);
    for (size_t n = 0; n < count && n < MEMBERS_SEEN; n++)
        if (members[n].state == MEMBER_SUSPECT)
            return true;
    return false;
}

static uint32_t running_count(const struct world *world)
{
    uint32_t running = 0;
    for (uint32_t n = 0; n < world->seats_count; n++)
        running += world_serves(world, n);
    return running;
}

/* They do not agree: who thinks what? */
static void views_compare(struct world *world, uint32_t running)
{
    char seen[300] = "";
    size_t at = 0;
    uint64_t shown[4] = {0};
    for (uint32_t n = 0, kinds = 0; kinds < 4 && n < world->seats_count && at < sizeof seen - 80;
         n++) {
        uint64_t hash = world_serves(world, n) ? mesh_view_hash(world->seats[n].mesh) : 0;
        bool is_new = world_serves(world, n);
        for (uint32_t k = 0; k < kinds && is_new; k++)
            is_new = shown[k] != hash;
        if (!is_new && !suspects_any(world, n))
            continue;
        shown[kinds++ % 4] = hash;
        at += view_describe(world, n, running, seen + at, sizeof seen - at);
    }
    check_fail(world, "M3", "%" PRIu64 " ms of calm, and %u running peers do not agree:%s",
               (world->now_us - world->calm_from_us) / WORLD_MS, running, seen);
}

/* A record that its subject changes is with the others after a moment. */
static bool are_apart(struct world *world, uint32_t running)
{
    struct members *members = world->members;
    if (world_agrees(world, running)) {
        if (members->agreed_us == 0)
            members->agreed_us = world->now_us;
        members->apart_us = 0;
        return false;
    }
    members->agreed_us = 0;
    if (members->apart_us == 0)
        members->apart_us = world->now_us;
    return world->now_us - members->apart_us >= spread_ms(world->config.nodes) * WORLD_MS;
}

void members_calm(struct world *world)
{
    struct members *members = world->members;
    uint64_t floor_us =
        world->calm_from_us + (uint64_t)members_floor_ms(world->config.nodes) * WORLD_MS;
    if (!world->calm || world->clients->quiet || world->now_us % CALM_LOOK_US != 0)
        return;
    uint32_t running = running_count(world);
    bool apart = are_apart(world, running);
    if (world->now_us < floor_us)
        return;
    if (members->calm_since_us == 0) {
        members->calm_since_us = world->now_us;
        members->calm_datagrams = world->net->datagrams;
    }
    if (apart)
        views_compare(world, running);
}

void members_check_calm(struct world *world)
{
    struct members *members = world->members;
    uint32_t senders = 0, nodes = world->config.nodes;
    for (uint32_t n = 0; n < world->seats_count; n++)
        senders += world_runs(world, n);
    if (world->failed)
        return;
    if (are_apart(world, running_count(world)))
        views_compare(world, running_count(world));
    if (members->calm_since_us == 0 || world->now_us - members->calm_since_us < IDLE_LEAST_US)
        return;
    /* a ping and an ack, three contacts where nobody lives, and 8 peers that ask 3 of the lost */
    uint64_t most = (5 * (uint64_t)senders + 24) *
                    ((world->now_us - members->calm_since_us) / WORLD_SECOND + 1);
    uint64_t sent = world->net->datagrams - members->calm_datagrams;
    if (sent > most)
        check_fail(world, "B1",
                   "calm, and %u peers send %" PRIu64 " datagrams in %" PRIu64 " ms, %" PRIu64
                   " are the most",
                   nodes, sent, (world->now_us - members->calm_since_us) / WORLD_MS, most);
}
