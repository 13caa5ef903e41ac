/* scenario_inside.h - a scenario while it is told, shared by scenario.c (time and deeds) and
 * scenario_judge.c (what is so). Nobody else includes it. */
#ifndef SIM_SCENARIO_INSIDE_H
#define SIM_SCENARIO_INSIDE_H

#include "sim/scenario.h"

struct stage {
    const struct scenario *scenario;
    struct world *world;
    struct shuffle chance; /* of `any` */
    struct telling {
        uint64_t due_ms; /* when it is looked at next; MESH_NEVER: it is over */
        bool has_begun;
        uint64_t looks; /* that found somebody to look at */
        uint64_t bytes; /* sent by all when it began */
        uint32_t changes[WORLD_SEATS_MAX];
    } telling[SCENARIO_STEPS_MAX];
    /* how often it changed at each peer: its ring, members to suspect, members to dead */
    uint32_t changes[CHANGE_WORDS][WORLD_SEATS_MAX];
    uint64_t view_hash[WORLD_SEATS_MAX], ring[WORLD_SEATS_MAX]; /* as last seen */
    enum dns_word dns;
    uint32_t resolved[WORLD_SEATS_MAX]; /* stale: the address of each seat */
    uint32_t sessions[SCENARIO_SESSIONS_MAX];
    uint32_t calls[SCENARIO_CALLS_MAX], calls_count;
};

enum verdict { SO, NOT_SO, NOBODY_THERE };

/* Those meant, seat by seat; `first`: whom `others` are not. `which` are there to be meant. */
enum peers_which { PEERS_RUNNING, PEERS_STILL, PEERS_NODES };
void peers_resolve(struct stage *stage, const struct peers *peers, const struct peers *first,
                   enum peers_which which, bool is_meant[WORLD_SEATS_MAX]);

/* Is it so now? `never`: a state of members is asked of each pair, and so is its contrary.
 * NOT_SO: `words` say what is. */
enum verdict state_is(struct stage *stage, const struct state *state, bool never, char *words,
                      size_t words_size);
/* A change of a member: what `always` and `never` say of it. */
enum verdict change_is(struct stage *stage, const struct state *state, bool never,
                       const struct seat *at, struct peer_id id, enum member_state now_is,
                       char *words, size_t words_size);
/* What decides the ring at a peer. */
uint64_t ring_sum(const struct mesh *mesh);

#endif
