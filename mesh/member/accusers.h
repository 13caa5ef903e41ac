/* accusers.h - whose accusations turn out wrong. One slow or half cut-off peer accuses everybody
 * (hashicorp/consul#5928); who was refuted three times within a minute, by more than one, has no
 * vote for the next: a suspicion that it begins runs its longest, and none is shortened by it. One
 * that answers nobody and refutes again and again costs those who watch it no vote. */
#ifndef MESH_ACCUSERS_H
#define MESH_ACCUSERS_H

#include "mesh/base/types.h"

#define ACCUSERS_KEPT 32        /* the one refuted least recently gives way */
#define ACCUSER_REFUTED_MAX 3   /* so often, */
#define ACCUSER_WINDOW_MS 60000 /* within so long: */
#define ACCUSER_MUTE_MS 60000   /* no vote for so long */

struct accuser {
    struct peer_id id;
    uint64_t first_ms, last_ms; /* refuted */
    uint64_t muted_until_ms;    /* 0: not */
    uint32_t refuted;
    struct peer_id first_by; /* the one that refuted it first, since first_ms */
    bool is_by_several;
};

/* All zero: nobody was refuted. */
struct accusers {
    struct accuser kept[ACCUSERS_KEPT];
    uint32_t count;
};

/* `subject` lives, whom this peer accused. True: it has no vote from now on. */
bool accusers_on_refuted(struct accusers *accusers, struct peer_id accuser, struct peer_id subject,
                         uint64_t now_ms);
bool accusers_may_vote(const struct accusers *accusers, struct peer_id accuser, uint64_t now_ms);

#endif
