/* rounds.h - what one peer may promise another about who owns a session next, as values: no time,
 * no network, no session (DESIGN §7). Three parts that one peer can play at once: the holder, whom
 * a taker asks; the taker; the owner in doubt, who asks whether it still is. takeover.c carries the
 * words; tests/unit/test_rounds.c searches all orders in which they can arrive.
 *
 * Invariant O1 rests on this: a holder that heard the owner, or granted another that lives, says
 * no; an owner that may have been taken for dead answers nothing before all holders were asked. */
#ifndef MESH_ROUNDS_H
#define MESH_ROUNDS_H

#include "mesh/base/types.h"

#define ROUNDS_PEERS_MAX 10 /* asked in one round: candidates, an owner, one more who claims it */

/* What is known of another peer, for who has to decide now. */
enum rounds_life {
    ROUNDS_GONE,
    ROUNDS_LIVES, /* a round trip with it, lately or now */
    ROUNDS_UNSURE /* it is to be found out */
};

/* One session, at one peer. */
struct rounds {
    struct mesh_epoch known;    /* the highest that somebody owned it in, as far as we were told */
    struct mesh_epoch promised; /* granted, and not given back; counter 0: none */
    struct mesh_epoch taking;   /* that our own round is about; counter 0: none runs */
    uint64_t tried;             /* the highest counter heard of: the next one is new */
    bool is_owner;              /* of `known` */
    bool is_given;              /* who was the owner of `known` says that it is not */
    bool has_run;               /* in `known`, more than a replay of the handshake */
};

struct mesh_epoch rounds_highest(const struct rounds *r); /* known, or promised */

/* ---- the holder ------------------------------------------------------------------------------ */

enum rounds_word {
    ROUNDS_GRANT,
    ROUNDS_VETO, /* `other`: who has it, or is promised it */
    ROUNDS_LATER /* once it is known whether `other.owner` lives */
};

/* Somebody wants to own it in `epoch`. `owner` and `taker`: do the owners of `known` and of
 * `promised` live? */
enum rounds_word rounds_on_take(struct rounds *r, struct peer_id self, struct mesh_epoch epoch,
                                enum rounds_life owner, enum rounds_life taker,
                                struct mesh_epoch *other);
/* The taker, or whoever it is, has a record of that epoch: so somebody owned it then; `is_given`:
 * and told the taker that it does not. */
void rounds_hear_of(struct rounds *r, struct mesh_epoch epoch, bool is_given);
/* It will not. */
void rounds_on_yield(struct rounds *r, struct mesh_epoch epoch);

/* The owner of `epoch` is in doubt whether it still is, so it lives. */
struct rounds_told {
    struct mesh_epoch other; /* the highest that we know above it; counter 0: none */
    bool gives;              /* `other` is ours, nothing ran in it, and it is given up by this */
    bool yields;             /* our own round is over by this: its granters are to be told */
};
struct rounds_told rounds_on_check(struct rounds *r, struct peer_id self, struct mesh_epoch epoch,
                                   enum rounds_life taker);

/* ---- the taker ------------------------------------------------------------------------------- */

/* May we ask for the next epoch? As a holder we ask ourselves first; granted, r->taking is what the
 * others are to be asked for. */
enum rounds_word rounds_begin(struct rounds *r, struct peer_id self, enum rounds_life owner,
                              enum rounds_life taker, struct mesh_epoch *other);
/* Vetoed, or it is not needed any more: r->taking will never be ours. */
void rounds_give_up(struct rounds *r);
/* Did a newer record come with the grants, of as high a counter? Then nobody may own the session in
 * r->taking: events of both epochs would have the same ids. It is to be given up, and the next one
 * asked for. */
bool rounds_may_own(const struct rounds *r);
/* Nobody objects: r->taking is what we own. */
void rounds_own(struct rounds *r);
/* Without a round: an owner hands over to itself (its upstream was lost), or is handed to. */
void rounds_adopt(struct rounds *r, struct mesh_epoch epoch);

/* ---- the owner in doubt ---------------------------------------------------------------------- */

struct rounds_asked {
    struct peer_id peer;
    bool is_asked;          /* and its answer awaited, if neither of these is set: */
    bool is_clear;          /* it knows of nothing that stands against us */
    struct mesh_epoch told; /* what it knows of instead; counter 0: nothing */
};

struct rounds_check {
    struct mesh_epoch epoch; /* that was ours when the doubt began */
    struct mesh_epoch given; /* given up for us by its owner; counter 0: none */
    struct mesh_epoch lost;  /* its owner says that it has it; counter 0: nobody does */
    uint32_t count;
    struct rounds_asked asked[ROUNDS_PEERS_MAX];
};

bool rounds_check_has(const struct rounds_check *check, struct peer_id peer);
/* One more to be asked, or again; no room: it is not. */
void rounds_check_add(struct rounds_check *check, struct peer_id peer);
/* An answer: as struct rounds_told. */
void rounds_on_checked(struct rounds_check *check, struct peer_id from, struct mesh_epoch other,
                       bool gives);
/* That one is gone: nothing is expected of it. */
void rounds_check_gone(struct rounds_check *check, struct peer_id peer);

enum rounds_verdict {
    ROUNDS_ASK,   /* *whom; then look again */
    ROUNDS_WAIT,  /* for answers */
    ROUNDS_CLEAR, /* still the owner; in an epoch above `given`, if that is set */
    ROUNDS_YIELD  /* *higher is owned, or may be by the time that we would answer */
};
/* After each change. `is_late`: who has not answered by now does not count. */
enum rounds_verdict rounds_check_next(struct rounds_check *check, bool is_late,
                                      struct peer_id *whom, struct mesh_epoch *higher);

#endif
