/* heard.h - the first sentence of O1 (DESIGN §16), looked at where a client is answered: a peer
 * that learned of a higher epoch of a session sends nothing in a lower one.
 *
 * What is sent tells of no epoch. But what a server said after another peer began to own its
 * session is in no record of that owner: unless its own peer owned it again in a later epoch, it
 * can only have been sent in one that was over. */
#ifndef SIM_HEARD_H
#define SIM_HEARD_H

#include <stdint.h>

#include "mesh/base/types.h"

struct request;
struct seat;
struct upstream;
struct world;

/* Of one session. */
struct heard {
    struct begun { /* somebody owns it, since: */
        struct mesh_epoch epoch;
        uint64_t since_us;
    } * begun;
    uint32_t begun_count, begun_capacity;
    struct listener { /* a peer through which something was asked */
        uint32_t seat, life;
        struct mesh_epoch epoch; /* the highest that it heard of, */
        uint64_t since_us;       /* in the turn of this time */
    } * listeners;
    uint32_t listeners_count, listeners_capacity;
};

void heard_free(struct heard *heard);
/* When somebody was seen first to own it in this epoch; 0: nobody was. */
uint64_t heard_begun_us(const struct heard *heard, struct mesh_epoch epoch);
/* The last tenure below that one that began anywhere; counter 0: none. */
struct mesh_epoch heard_before(const struct heard *heard, uint64_t counter);
/* What the facts of this turn told the peer; before their effects are looked at. */
void heard_turn(struct world *world, struct seat *seat);
/* Something is asked through the request's peer. */
void heard_listen(struct world *world, const struct request *request);
/* A text of this server, said at that time of the world, reaches the request's client. */
void heard_passes(struct world *world, const struct request *request, uint32_t upstream,
                  uint64_t said_us);

#endif
