/* tenures.h - what must hold of a session beyond the life of its owner, looked at from outside: who
 * has a record of it, who owns it in which epoch, whose words reach its clients. By the numbers of
 * DESIGN §16:
 *
 *   O1  nothing that was said in a lower epoch is passed on by a peer that heard of a higher one
 *       (heard.h); nor by any, a second after the higher epoch was heard of anywhere, unless
 *       something is wrong with the wires or with those who have a record; who does not own it
 *       runs nothing
 *   O2  after calm the records of a session agree on one epoch, and one peer owns it
 *   O3  nobody is taken over who lives and is heard by all who have a record
 *   R1  what an owner takes for acknowledged is there; initialize is answered when somebody has a
 *       copy; in calm there are as many copies as there should be, and no record gets lost
 *   T1  a fresh upstream hears the session's own handshake before anything else
 *
 * and what N1 says of records: no 404 while somebody has one. */
#ifndef SIM_TENURES_H
#define SIM_TENURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sim/heard.h"

#define TENURE_COPIES 2u /* beside the owner's own, unless the world has none */
#define TENURE_LOST 16u  /* lives that ended with a record; the oldest is forgotten */
#define TENURE_HAD 8u    /* lives that have one */
#define TENURE_OWN 4u    /* lives that own it */

struct request;
struct seat;
struct session;
struct world;

/* Of one session. */
struct tenures {
    uint64_t top;       /* the highest epoch (its counter) seen */
    uint32_t top_owner; /* the life that has it */
    uint64_t seen;      /* O3: the highest at the last look; 0: none yet */
    uint32_t seen_owner;
    uint64_t seen_us;     /* when that one was seen to own it last */
    uint64_t top_said_us; /* when first something of it reached a client; 0: not yet */
    uint32_t lost[TENURE_LOST], lost_count; /* lives that ended with a record of it */
    uint32_t had[TENURE_HAD], had_count;    /* that had one at the last look */
    struct heard heard;
    uint32_t own[TENURE_OWN], own_count; /* that owned it then */
    uint64_t since_us; /* when somebody was seen to have a record first; 0: not yet */
    bool is_gone;      /* nobody that runs has a record of it any more */
};

/* What all peers that run have of it now. */
struct records {
    uint32_t owner; /* the seat that owns it in the highest epoch; NOBODY: none does */
    uint32_t owners, copies, leaving; /* of them: leaving */
    uint64_t epoch;                   /* of the owner, or the highest of a copy */
    bool agree;                       /* all are of that epoch */
};
void records_of(const struct world *world, const struct session *session, struct records *found);

/* `p3 owns 4, p1 has 4, p7 has 2` */
void records_tell(const struct world *world, const struct session *session, char *words,
                  size_t room);

void tenures_new(struct world *world);
void tenures_look(struct world *world); /* CHECK_TENURES */
/* Before the peer's memory is gone. */
void tenures_died(struct world *world, const struct seat *seat);
/* A peer ends the session of that hash, as logs name it. Who leaves so ends what nobody took. */
void tenures_closed(struct world *world, const struct seat *seat, uint32_t hash);
/* Likewise: carries it on. Without what was answered, its record is what others have from then on,
 * though it be gone before anybody looks (T1). */
void tenures_taken(struct world *world, const struct seat *seat, uint32_t hash);
/* O2, R1: at the end of calm. */
void tenures_check_calm(struct world *world);

/* Something is said to an upstream of a session, or it says something. */
void tenure_moves(struct world *world, uint32_t upstream);
/* O1: a text of this upstream, said at that time of the world, reaches a client. */
void tenure_passes(struct world *world, const struct request *request, uint32_t upstream,
                   uint32_t said_ms);
/* O1: a request runs there. */
void tenure_runs(struct world *world, const struct request *request, uint32_t upstream);
/* Nobody else could keep a copy of what it owns, as far as it knows. */
bool tenure_is_alone(const struct world *world, uint32_t seat);
/* R1: the client learns the id of its session. */
void tenure_begins(struct world *world, const struct request *request);
/* Somebody that runs and does not leave has a record of it. */
bool tenure_survives(const struct world *world, const struct session *session);
/* How many records it has yet, and how many of them of sessions that were ended when nothing was
 * wrong any more. Of others it may not have heard the end: it asks after a while. */
uint32_t tenures_at(struct world *world, uint32_t seat, uint32_t *left_behind);
/* N1: did everybody who had a record go for good? */
bool tenure_may_be_unknown(struct world *world, const struct session *session);

#endif
