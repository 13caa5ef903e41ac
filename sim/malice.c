/* malice.c - see malice.h. */
#include "sim/malice.h"

#include <stdlib.h>
#include <string.h>

#include "mesh/member/claims.h"
#include "mesh/wire/wire.h"
#include "sim/reseal.h"

#define LIE_SALT (UINT64_C(24) << 56)
#define LIES_MAX 6u /* in one datagram */
#define MEMBERS_SEEN 256u

struct malice {
    struct reseal *reseal;
    struct wire_datagram said;
    struct mesh_member members[MEMBERS_SEEN]; /* of whom lies are told: as the liar knows them */
    size_t members_count;
    struct mesh_record records[MEMBERS_SEEN];
};

static struct malice *malice_of(struct world *world)
{
    if (world->malice == NULL) {
        world->malice = sim_zero(sizeof *world->malice);
        world->malice->reseal = reseal_new(world);
    }
    return world->malice;
}

void malice_free(struct world *world)
{
    if (world->malice == NULL)
        return;
    reseal_free(world->malice->reseal);
    free(world->malice);
    world->malice = NULL;
}

/* Whom the liar knows, but for itself. */
static void look_around(struct malice *malice, const struct seat *seat)
{
    struct peer_id self = mesh_self(seat->mesh)->record->id;
    size_t count = mesh_members(seat->mesh, malice->members, MEMBERS_SEEN), kept = 0;
    if (count > MEMBERS_SEEN)
        count = MEMBERS_SEEN;
    for (size_t n = 0; n < count; n++) {
        if (peer_id_equal(malice->members[n].record->id, self))
            continue;
        malice->members[kept] = malice->members[n];
        malice->records[kept++] = *malice->members[n].record;
    }
    malice->members_count = kept;
}

static const struct mesh_record *anybody(const struct malice *malice, struct shuffle *chance)
{
    return &malice->records[chance_below(chance, (uint32_t)malice->members_count)];
}

/* Whom the datagram is for. */
static struct peer_id hearer_of(const struct malice *malice)
{
    for (size_t n = 0; n < malice->members_count; n++)
        if (malice->records[n].nonce == malice->said.target_nonce)
            return malice->records[n].id;
    return (struct peer_id){0, 0};
}

static void lie(struct malice *malice, struct shuffle *chance, struct peer_id self,
                struct wire_update *u)
{
    uint32_t whom = chance_below(chance, (uint32_t)malice->members_count);
    const struct mesh_member *victim = &malice->members[whom];
    memset(u, 0, sizeof *u);
    u->record = malice->records[whom];
    u->incarnation = victim->incarnation;
    u->accuser = self;
    switch (chance_below(chance, 14)) {
    case 0:
        u->kind = UPDATE_SUSPECT;
        break;
    case 1:
        u->kind = UPDATE_DEAD;
        break;
    case 2: /* another one accuses it */
        u->kind = chance_below(chance, 2) == 0 ? UPDATE_SUSPECT : UPDATE_DEAD;
        u->accuser = anybody(malice, chance)->id;
        break;
    case 3:
        u->kind = UPDATE_LEFT;
        break;
    case 4: /* it moved to where another one is */
        u->kind = UPDATE_ALIVE;
        u->record.version++;
        u->record.addr = anybody(malice, chance)->addr;
        break;
    case 5: /* it takes no sessions any more */
        u->kind = UPDATE_ALIVE;
        u->record.version++;
        u->record.serving = false;
        u->record.draining = chance_below(chance, 2) == 0;
        u->record.hold = chance_below(chance, 2) == 0;
        break;
    case 6: /* numbers that nothing can follow */
        u->kind = UPDATE_SUSPECT;
        u->incarnation = UINT32_MAX - chance_below(chance, 2);
        break;
    case 7:
        u->kind = UPDATE_ALIVE;
        u->record.version = UINT64_MAX - chance_below(chance, 2);
        break;
    case 8: /* a life that it never had, ages ahead */
        u->kind = UPDATE_ALIVE;
        u->record.id.generation += UINT64_C(1) << (20 + chance_below(chance, 40));
        break;
    case 9: /* a step that is allowed, and then suspected */
        u->kind = UPDATE_DEAD;
        u->incarnation += 1 + chance_below(chance, 1000);
        break;
    case 10: /* a twin of it */
        u->kind = chance_below(chance, 2) == 0 ? UPDATE_ALIVE : UPDATE_SUSPECT;
        u->record.nonce += 1 + chance_below(chance, 1000);
        break;
    case 11: /* a newer process of its name, which left or died, and was never */
        u->kind = chance_below(chance, 2) == 0 ? UPDATE_LEFT : UPDATE_DEAD;
        u->record.id.generation += 1 + chance_below(chance, 1000);
        if (chance_below(chance, 2) == 0)
            u->record.name[0] = 0;
        break;
    case 12: /* it found it dead itself, whoever hears this */
        u->kind = UPDATE_DEAD;
        u->accuser = hearer_of(malice);
        break;
    default:
        u->kind = UPDATE_CLAIM;
        u->shard = claim_shard(view_home_tag(u->record.id), chance_below(chance, 16));
        u->incarnation = 1 + chance_below(chance, 3);
        if (chance_below(chance, 2) == 0)
            u->record.id = self;
        break;
    }
}

struct slice malice_datagram(struct world *world, const struct seat *seat, struct slice sealed,
                             uint8_t *into)
{
    struct malice *malice;
    struct seal_sender from;
    struct shuffle chance;
    struct wire_writer writer;
    struct wire_update u;
    uint8_t plain[SEAL_PLAIN_MAX], text[WIRE_PLAIN_MAX];
    size_t length = 0;
    if (seat->lies_until_us <= world->now_us || seat->mesh == NULL || seat->is_foreign)
        return sealed;
    malice = malice_of(world);
    if (!reseal_open(malice->reseal, sealed, plain, &length, &from) ||
        wire_datagram_read(&malice->said, plain, length) < 0 ||
        malice->said.kind == DATAGRAM_HELLO || malice->said.kind == DATAGRAM_WELCOME)
        return sealed;
    look_around(malice, seat);
    if (malice->members_count == 0 ||
        wire_datagram_begin(&writer, &malice->said, text, sizeof text) < 0)
        return sealed;
    chance_key(&chance, world->config.seed ^ LIE_SALT ^ from.nonce, from.seq);
    for (uint32_t lies = 1 + chance_below(&chance, LIES_MAX); lies > 0; lies--) {
        lie(malice, &chance, mesh_self(seat->mesh)->record->id, &u);
        (void)wire_datagram_add(&writer, &u);
    }
    for (uint32_t n = 0; n < malice->said.updates_count; n++)
        (void)wire_datagram_add(&writer, &malice->said.updates[n]);
    world->faults->hits[FAULT_MALICE]++;
    return reseal_again(malice->reseal, &from, text, writer.length, into);
}
