/* rounds.c - the rules of holder, taker and owner in doubt. */
#include "mesh/session/rounds.h"

static const struct mesh_epoch none = {0, {0, 0}};

static bool is_above(struct mesh_epoch a, struct mesh_epoch b)
{
    return mesh_epoch_compare(a, b) > 0;
}

struct mesh_epoch rounds_highest(const struct rounds *r)
{
    return is_above(r->promised, r->known) ? r->promised : r->known;
}

static void hear(struct rounds *r, struct mesh_epoch epoch)
{
    if (epoch.counter > r->tried)
        r->tried = epoch.counter;
}

/* ---- the holder ------------------------------------------------------------------------------ */

static enum rounds_word judge(enum rounds_life life, struct mesh_epoch of, struct mesh_epoch *other)
{
    switch (life) {
    case ROUNDS_LIVES:
        *other = of;
        return ROUNDS_VETO;
    case ROUNDS_UNSURE:
        *other = of;
        return ROUNDS_LATER;
    case ROUNDS_GONE:
        break;
    }
    return ROUNDS_GRANT;
}

enum rounds_word rounds_on_take(struct rounds *r, struct peer_id self, struct mesh_epoch epoch,
                                enum rounds_life owner, enum rounds_life taker,
                                struct mesh_epoch *other)
{
    enum rounds_word word = ROUNDS_GRANT;
    *other = none;
    hear(r, epoch);
    if (mesh_epoch_compare(epoch, r->promised) == 0)
        return ROUNDS_GRANT; /* said again */
    if (r->is_owner || !is_above(epoch, rounds_highest(r))) {
        *other = rounds_highest(r);
        return ROUNDS_VETO;
    }
    /* who owned it last may take it again; what we owned ourselves and gave up is nobody's */
    if (r->known.counter != 0 && !r->is_given && !peer_id_equal(r->known.owner, epoch.owner) &&
        !peer_id_equal(r->known.owner, self))
        word = judge(owner, r->known, other);
    if (word == ROUNDS_GRANT && is_above(r->promised, r->known) &&
        !peer_id_equal(r->promised.owner, epoch.owner))
        word = judge(peer_id_equal(r->promised.owner, self) ? ROUNDS_LIVES : taker, r->promised,
                     other);
    if (word == ROUNDS_GRANT)
        r->promised = epoch;
    return word;
}

void rounds_hear_of(struct rounds *r, struct mesh_epoch epoch, bool is_given)
{
    hear(r, epoch);
    if (r->is_owner || is_above(r->known, epoch))
        return;
    r->is_given = is_given || (r->is_given && !is_above(epoch, r->known));
    r->known = epoch;
}

void rounds_on_yield(struct rounds *r, struct mesh_epoch epoch)
{
    hear(r, epoch);
    if (mesh_epoch_compare(r->promised, epoch) == 0)
        r->promised = none;
}

struct rounds_told rounds_on_check(struct rounds *r, struct peer_id self, struct mesh_epoch epoch,
                                   enum rounds_life taker)
{
    struct rounds_told told = {.other = none};
    hear(r, epoch);
    if (r->taking.counter != 0) { /* of an owner that lives nothing is taken */
        rounds_give_up(r);
        told.yields = true;
    }
    if (is_above(r->known, epoch)) {
        told.other = r->known;
        if (peer_id_equal(r->known.owner, self) && !(r->is_owner && r->has_run)) {
            r->is_owner = false;
            told.gives = true;
        }
    }
    /* a promise to who is gone binds nobody */
    if (is_above(r->promised, epoch) && is_above(r->promised, told.other) && taker != ROUNDS_GONE) {
        told.other = r->promised;
        told.gives = false;
    }
    return told;
}

/* ---- the taker ------------------------------------------------------------------------------- */

enum rounds_word rounds_begin(struct rounds *r, struct peer_id self, enum rounds_life owner,
                              enum rounds_life taker, struct mesh_epoch *other)
{
    hear(r, rounds_highest(r));
    struct mesh_epoch next = {r->tried + 1, self};
    enum rounds_word word = rounds_on_take(r, self, next, owner, taker, other);
    if (word == ROUNDS_GRANT)
        r->taking = next;
    else
        r->tried--; /* nobody heard of it */
    return word;
}

void rounds_give_up(struct rounds *r)
{
    rounds_on_yield(r, r->taking);
    r->taking = none;
}

bool rounds_may_own(const struct rounds *r)
{
    return r->taking.counter > r->known.counter;
}

void rounds_own(struct rounds *r)
{
    rounds_adopt(r, r->taking);
}

void rounds_adopt(struct rounds *r, struct mesh_epoch epoch)
{
    hear(r, epoch);
    r->known = epoch;
    r->taking = none;
    r->is_owner = true;
    r->is_given = r->has_run = false;
}

/* ---- the owner in doubt ---------------------------------------------------------------------- */

static struct rounds_asked *find(struct rounds_check *check, struct peer_id peer)
{
    for (uint32_t n = 0; n < check->count; n++)
        if (peer_id_equal(check->asked[n].peer, peer))
            return &check->asked[n];
    return NULL;
}

bool rounds_check_has(const struct rounds_check *check, struct peer_id peer)
{
    return find((struct rounds_check *)check, peer) != NULL;
}

void rounds_check_add(struct rounds_check *check, struct peer_id peer)
{
    struct rounds_asked *a = find(check, peer);
    if (a == NULL && check->count < ROUNDS_PEERS_MAX)
        a = &check->asked[check->count++];
    if (a != NULL)
        *a = (struct rounds_asked){.peer = peer};
}

void rounds_check_gone(struct rounds_check *check, struct peer_id peer)
{
    struct rounds_asked *a = find(check, peer);
    if (a != NULL)
        *a = check->asked[--check->count];
}

void rounds_on_checked(struct rounds_check *check, struct peer_id from, struct mesh_epoch other,
                       bool gives)
{
    struct rounds_asked *a = find(check, from);
    if (a == NULL)
        return;
    a->told = none;
    a->is_clear = gives || !is_above(other, check->epoch);
    if (gives && is_above(other, check->given))
        check->given = other;
    else if (!a->is_clear && peer_id_equal(other.owner, from))
        check->lost = other;
    else if (!a->is_clear)
        a->told = other;
}

/* Somebody told us what not it itself, but `told.owner` would own: that one has the last word, for
 * it may have given up since. Once it says so, the teller has to hear of it, too. */
static enum rounds_verdict ask_about(struct rounds_check *check, struct rounds_asked *teller,
                                     struct peer_id *whom, struct mesh_epoch *higher)
{
    struct mesh_epoch told = teller->told;
    struct rounds_asked *claimant = find(check, told.owner);
    if (claimant == NULL)
        rounds_check_add(check, told.owner);
    else if (!claimant->is_clear)
        return ROUNDS_WAIT;
    else
        teller->told = none;
    struct rounds_asked *next = claimant != NULL ? teller : find(check, told.owner);
    *higher = told;
    if (next == NULL)
        return ROUNDS_YIELD;
    next->is_asked = true;
    *whom = next->peer;
    return ROUNDS_ASK;
}

static enum rounds_verdict look_at(struct rounds_check *check, struct rounds_asked *a,
                                   struct peer_id *whom, struct mesh_epoch *higher)
{
    if (!a->is_asked) {
        a->is_asked = true;
        *whom = a->peer;
        return ROUNDS_ASK;
    }
    if (a->told.counter == 0)
        return a->is_clear ? ROUNDS_CLEAR : ROUNDS_WAIT;
    if (is_above(a->told, check->given))
        return ask_about(check, a, whom, higher);
    a->told = none; /* its owner has given it up */
    a->is_clear = true;
    return ROUNDS_CLEAR;
}

enum rounds_verdict rounds_check_next(struct rounds_check *check, bool is_late,
                                      struct peer_id *whom, struct mesh_epoch *higher)
{
    enum rounds_verdict all = ROUNDS_CLEAR;
    *higher = check->lost;
    if (is_above(check->lost, check->given))
        return ROUNDS_YIELD;
    for (uint32_t n = 0; n < check->count && is_late; n++) {
        *higher = check->asked[n].told;
        if (is_above(*higher, check->given))
            return ROUNDS_YIELD;
    }
    for (uint32_t n = 0; n < check->count && !is_late; n++) {
        enum rounds_verdict one = look_at(check, &check->asked[n], whom, higher);
        if (one == ROUNDS_ASK || one == ROUNDS_YIELD)
            return one;
        if (one == ROUNDS_WAIT)
            all = ROUNDS_WAIT;
    }
    return all;
}
