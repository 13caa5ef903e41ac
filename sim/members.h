/* members.h - what must hold of every peer's view, looked at from outside: each change of it when
 * it is told, each row now and then, and all views after calm. By the numbers of DESIGN §16, M1 to
 * M4; besides (gossip.md §3.7): M5 a member's record is the same wherever its version is the same;
 *   M6 no generation that has ended, left or been superseded is raised from the dead, and no row is
 *      of a generation that never lived or says more than its subject ever did;
 *   M7 no peer believes itself gone unless it leaves;
 *   P7 peers of different clusters never learn of each other. */
#ifndef SIM_MEMBERS_H
#define SIM_MEMBERS_H

#include "sim/world.h"

#define MEMBERS_SEEN 2048u /* whatever a world lets a peer remember, living or not */

/* Goes on with a digest of what views and records say. */
static inline uint64_t members_mix(uint64_t sum, uint64_t value)
{
    sum = (sum ^ value) * UINT64_C(0xff51afd7ed558ccd);
    return sum ^ sum >> 29;
}

struct members {
    struct seen { /* what each peer showed at its last look, by id */
        struct seen_row {
            struct peer_id id;
            uint64_t version, nonce;
            uint32_t incarnation;
            enum member_state state;
        } * rows;
        uint32_t count, capacity, life;
    } * seen;     /* by seat */
    struct said { /* M5: one digest of each version of a record */
        uint64_t key, digest;
    } * said;
    uint32_t *life_at; /* by hash of an id: its place in world->lives */
    uint64_t looked_at, changes;
    uint64_t agreed_us;     /* calm: since then all views are equal and complete; 0: they are not */
    uint64_t apart_us;      /* calm: since then they are not */
    uint64_t calm_since_us; /* the floor of calm was reached, */
    uint64_t calm_datagrams; /* and so many datagrams were sent until then */
};

int members_new(struct world *world);
void members_free(struct world *world);
/* So long after calm began, views are equal and complete, and stay so; derived in members.c. */
uint32_t members_floor_ms(uint32_t nodes);
/* One row of a peer's view, as it is now. */
void members_check_row(struct world *world, struct seat *seat, const struct mesh_member *row);
/* All of them. */
void members_look(struct world *world, struct seat *seat);
/* MESH_MEMBER_CHANGED came from this peer. */
void members_changed(struct world *world, struct seat *seat, struct peer_id id,
                     enum member_state state);
/* Now and then in calm. */
void members_calm(struct world *world);
/* M3: the views at the end of calm; B1: an idle mesh sends probes and nothing else. */
void members_check_calm(struct world *world);

#endif
