/* takeover.c - rounds: who is asked, what is answered, who waits; becoming an owner, and yielding.
 * The rules are rounds.c's. */
#include "mesh/session/takeover.h"

#include <stdlib.h>

#include "mesh/base/failpoint.h"
#include "mesh/base/mutant.h"
#include "mesh/session/core.h"

static const struct mesh_epoch none = {0, {0, 0}};

enum round_state {
    ROUND_FINDING, /* whether those live who stand against it */
    ROUND_ASKING,
    ROUND_RESTING /* it was vetoed, and somebody waits */
};

struct round_asked {
    struct peer_id peer;
    bool is_done; /* it has granted, or could not be told */
    bool has_granted;
};

/* Ours, to become the owner of one session. */
struct round {
    struct handle self, session;
    struct session_id id;
    enum round_state state;
    struct mesh_epoch epoch; /* ASKING */
    uint32_t asked_count, awaited;
    struct round_asked asked[ROUNDS_PEERS_MAX];
    struct heap_node timer;
    struct list parked; /* struct parked */
};

/* An OPEN that waits for a round to end. */
struct parked {
    struct handle self;
    struct list in_round;
    struct lane lane;
    struct wire_message open;
    uint64_t since_ms;
};

/* A TAKE that is answered once it is known who lives. */
struct ask {
    struct list in_asks;
    struct peer_id from;
    struct wire_message take;
    uint64_t since_ms;
};

/* About a session that we have no copy of. */
struct promise {
    struct mesh_epoch promised;
    uint64_t tried;
};

int takeover_init(struct core *core)
{
    struct takeover *t = &core->takeover;
    memset(t, 0, sizeof *t);
    pool_init(&t->rounds, sizeof(struct round), TAKEOVER_ROUNDS_MAX);
    pool_init(&t->parked, sizeof(struct parked), TAKEOVER_PARKED_MAX);
    newest_init(&t->promises, MESH_SESSION_BYTES, sizeof(struct promise), TAKEOVER_PROMISES_MAX,
                core->sip_key);
    heap_init(&t->timers);
    list_init(&t->asks);
    return 0;
}

static void ask_free(struct takeover *t, struct ask *ask)
{
    list_remove(&ask->in_asks);
    t->asks_count--;
    free(ask);
}

void takeover_deinit(struct core *core)
{
    struct takeover *t = &core->takeover;
    struct handle h;
    while (t->asks_count > 0)
        ask_free(t, container_of(list_first(&t->asks), struct ask, in_asks));
    for (uint32_t slot = 0; slot < pool_span(&t->parked); slot++) {
        struct parked *parked = pool_slot(&t->parked, slot, &h);
        if (parked != NULL)
            wire_message_drop(&parked->open);
    }
    heap_deinit(&t->timers);
    newest_deinit(&t->promises);
    pool_deinit(&t->rounds);
    pool_deinit(&t->parked);
}

static struct round *round_at(const struct core *core, struct handle h)
{
    return pool_at(&core->takeover.rounds, h);
}

/* ---- what is known -------------------------------------------------------------------------- */

static const struct session *takeover_find(const struct core *core, const struct session_id *id)
{
    struct core *any = (struct core *)core; /* looking it up changes nothing */
    const struct session *session = session_find(any, id);
    return session != NULL ? session : session_find_copy(any, id);
}

struct rounds takeover_rounds(const struct core *core, const struct session_id *id)
{
    const struct session *session = takeover_find(core, id);
    struct rounds r = {.known = none};
    if (session == NULL) {
        const struct promise *promise = newest_find(&core->takeover.promises, id->bytes);
        r.known = owner_hint(core, id);
        if (promise != NULL) {
            r.promised = promise->promised;
            r.tried = promise->tried;
        }
        return r;
    }
    const struct round *round = round_at(core, session->round);
    r.known = session->epoch;
    r.is_given = session->is_copy && mesh_epoch_compare(session->given, session->epoch) == 0;
    r.promised = session->promised;
    r.tried = session->tried;
    r.is_owner = !session->is_copy;
    r.has_run = session->has_run;
    if (round != NULL && round->state == ROUND_ASKING)
        r.taking = round->epoch;
    return r;
}

/* What it knows and owns is the record's. */
void takeover_note(struct core *core, const struct session_id *id, const struct rounds *r)
{
    struct session *session = (struct session *)takeover_find(core, id);
    struct promise *promise;
    if (session != NULL) {
        session->promised = r->promised;
        session->tried = r->tried;
    } else if ((promise = newest_put(&core->takeover.promises, id->bytes)) != NULL) {
        promise->promised = r->promised;
        promise->tried = r->tried;
    }
}

enum rounds_life takeover_life(const struct core *core, struct peer_id peer, uint64_t now_ms)
{
    if (peer_id_is_nobody(peer) || MUTANT(NO_VETO))
        return ROUNDS_GONE;
    switch (evidence_of(core, peer, now_ms)) {
    case EVIDENCE_LIVES:
        return ROUNDS_LIVES;
    case EVIDENCE_GONE:
        return ROUNDS_GONE;
    case EVIDENCE_UNKNOWN:
    case EVIDENCE_PROBING:
        break;
    }
    return ROUNDS_UNSURE;
}

void takeover_tell(struct core *core, struct peer_id to, enum wire_kind kind,
                   const struct session_id *id, struct mesh_epoch epoch, struct mesh_epoch other,
                   uint64_t now_ms)
{
    const struct mesh_addr *addr = core_addr_of(core, to);
    struct wire_message m = {.kind = kind, .session = *id, .has_session = true, .epoch = epoch};
    m.round.other = other;
    if (addr != NULL && !peer_id_equal(to, core_self(core)))
        (void)links_tell(core->links, to, addr, &m, now_ms);
}

/* ---- who waits ------------------------------------------------------------------------------ */

static void parked_free(struct core *core, struct parked *parked)
{
    list_remove(&parked->in_round);
    wire_message_drop(&parked->open);
    pool_give(&core->takeover.parked, parked->self);
}

static void parked_say(struct core *core, struct parked *parked, struct wire_message *m)
{
    m->name = parked->open.name;
    (void)links_send(core->links, parked->lane, LINKS_OWNER, m);
    links_close(core->links, parked->lane, LINKS_OWNER);
    parked_free(core, parked);
}

static void parked_defer(struct core *core, struct parked *parked)
{
    struct wire_message m = {.kind = WIRE_NOT_YET};
    m.not_yet.wait_ms = TAKEOVER_AGAIN_MS;
    parked_say(core, parked, &m);
}

/* Whoever lives to be asked; for who cannot reach it, we carry it there. */
static void parked_move(struct core *core, struct parked *parked, struct mesh_epoch owner,
                        uint64_t now_ms)
{
    struct wire_message m = {.kind = WIRE_MOVED, .epoch = owner};
    if (!parked->open.open.is_owner_lost)
        parked_say(core, parked, &m);
    else if (relay_begin(core, parked->lane, &parked->open, owner.owner, now_ms))
        parked_free(core, parked);
    else
        parked_defer(core, parked);
}

/* What it waited for is known: it is looked at like one that came just now. */
static void parked_give_back(struct core *core, struct list *waiting, uint64_t now_ms)
{
    while (!list_is_empty(waiting)) {
        struct parked *parked = container_of(list_first(waiting), struct parked, in_round);
        struct wire_message open = parked->open;
        struct lane lane = parked->lane;
        parked->open = (struct wire_message){.kind = WIRE_CANCEL}; /* ours to drop */
        parked_free(core, parked);
        if (links_is_open(core->links, lane, LINKS_OWNER)) /* else its entry has given up */
            serve_open(core, lane, &open, now_ms);
        wire_message_drop(&open);
    }
}

/* ---- rounds --------------------------------------------------------------------------------- */

static void round_yield(struct core *core, struct round *round, uint64_t now_ms);
static void round_go(struct core *core, struct round *round, uint64_t now_ms);

static struct round *round_new(struct core *core, struct session *copy)
{
    struct handle h;
    struct round *round = pool_take(&core->takeover.rounds, &h);
    if (round == NULL)
        return NULL;
    round->self = h;
    round->session = copy->self;
    round->id = copy->id;
    list_init(&round->parked);
    copy->round = h;
    return round;
}

/* It is over; who waited is the caller's from here on. */
static void round_end(struct core *core, struct round *round, struct list *waiting)
{
    struct session *session = session_at(core, round->session);
    list_init(waiting);
    while (!list_is_empty(&round->parked)) {
        struct list *first = list_first(&round->parked);
        list_remove(first);
        list_push_back(waiting, first);
    }
    if (session != NULL)
        session->round = (struct handle){0};
    heap_remove(&core->takeover.timers, &round->timer);
    pool_give(&core->takeover.rounds, round->self);
}

static void round_set(struct core *core, struct round *round, enum round_state state,
                      uint64_t at_ms)
{
    round->state = state;
    if (heap_set(&core->takeover.timers, &round->timer, at_ms) < 0)
        core->takeover.is_woken = true; /* no memory: looked at in the next turn instead */
}

static void round_add(struct core *core, struct round *round, struct peer_id peer, uint64_t now_ms)
{
    if (peer_id_equal(peer, core_self(core)) || !core_is_living(core, peer) ||
        takeover_life(core, peer, now_ms) == ROUNDS_GONE || round->asked_count == ROUNDS_PEERS_MAX)
        return;
    for (uint32_t n = 0; n < round->asked_count; n++)
        if (peer_id_equal(round->asked[n].peer, peer))
            return;
    round->asked[round->asked_count++] = (struct round_asked){.peer = peer};
}

/* Its question may have been lost with a link; what those know is not known here. */
static void round_note_silent(struct core *core, const struct round *round)
{
    struct peer_id silent[FENCE_SILENT_MAX] = {{0}};
    uint32_t count = 0;
    for (uint32_t n = 0; n < round->asked_count && count < FENCE_SILENT_MAX; n++)
        if (!round->asked[n].has_granted)
            silent[count++] = round->asked[n].peer;
    fence_note_silent(core, &round->id, silent);
}

static void round_won(struct core *core, struct round *round, uint64_t now_ms)
{
    struct session *copy = session_at(core, round->session);
    struct mesh_epoch epoch = round->epoch;
    struct list waiting;
    struct rounds r = takeover_rounds(core, &round->id);
    if (!rounds_may_own(&r)) {
        round_yield(core, round, now_ms);
        round_go(core, round, now_ms);
        return;
    }
    if (MESH_FAIL(core, "takeover.before_own"))
        return;
    round_note_silent(core, round);
    round_end(core, round, &waiting);
    takeover_own(core, copy, epoch, false, now_ms);
    if (MESH_FAIL(core, "takeover.after_own"))
        return;
    parked_give_back(core, &waiting, now_ms);
}

static void round_ask(struct core *core, struct round *round, struct session *copy,
                      const struct rounds *r, uint64_t now_ms)
{
    struct peer_id candidates[COPIES_HOLDERS_MAX + 2];
    struct wire_message take = {.kind = WIRE_TAKE, .session = copy->id, .has_session = true};
    size_t count = owner_candidates(core, &copy->id, candidates, COPIES_HOLDERS_MAX + 2);
    if (MESH_FAIL(core, "takeover.before_take"))
        return;
    round->epoch = take.epoch = r->taking;
    round->asked_count = round->awaited = 0;
    round_add(core, round, r->known.owner, now_ms);
    for (size_t n = 0; n < COPIES_HOLDERS_MAX; n++)
        round_add(core, round, copy->holders[n].peer, now_ms);
    for (size_t n = 0; n < count; n++)
        round_add(core, round, candidates[n], now_ms);
    take.round.other = copy->epoch;
    take.round.version = copy->version;
    take.round.is_given = r->is_given;
    for (uint32_t n = 0; n < round->asked_count; n++) {
        struct round_asked *asked = &round->asked[n];
        const struct mesh_addr *addr = core_addr_of(core, asked->peer);
        asked->is_done = links_tell(core->links, asked->peer, addr, &take, now_ms) < 0;
        round->awaited += !asked->is_done;
    }
    round_set(core, round, ROUND_ASKING, now_ms + TAKEOVER_SILENT_MS);
    if (MESH_FAIL(core, "takeover.after_take"))
        return;
    if (round->awaited == 0)
        round_won(core, round, now_ms);
}

/* Nobody is to wait here for what `owner` can tell. */
static void round_move(struct core *core, struct round *round, struct mesh_epoch owner,
                       uint64_t now_ms)
{
    struct list waiting;
    round_end(core, round, &waiting);
    while (!list_is_empty(&waiting))
        parked_move(core, container_of(list_first(&waiting), struct parked, in_round), owner,
                    now_ms);
}

/* `other` stands against it. An epoch that may be a promise only is nothing to be told as one. */
static void round_vetoed(struct core *core, struct round *round, struct mesh_epoch other,
                         uint64_t now_ms)
{
    const struct session *copy = session_at(core, round->session);
    struct mesh_epoch owner = other;
    struct list waiting;
    if (copy != NULL && list_is_empty(&round->parked) && mesh_epoch_compare(other, copy->epoch) > 0)
        copies_ask(core, copy, other, now_ms); /* perhaps it owns it, and has other holders */
    if (copy == NULL || mesh_epoch_compare(other, copy->epoch) != 0)
        owner.counter = 0;
    if (other.counter != 0 && !peer_id_equal(other.owner, core_self(core)) &&
        core_is_living(core, other.owner) &&
        takeover_life(core, other.owner, now_ms) != ROUNDS_GONE) {
        round_move(core, round, owner, now_ms);
    } else if (list_is_empty(&round->parked)) {
        round_end(core, round, &waiting); /* it was by itself: succession.c comes back to it */
    } else {
        uint64_t wait_ms = TAKEOVER_AGAIN_MS + shuffle_below(&core->shuffle, TAKEOVER_AGAIN_MS);
        round_set(core, round, ROUND_RESTING, now_ms + wait_ms);
    }
}

/* Those who may have granted it are told that nothing comes of it. */
static void round_yield(struct core *core, struct round *round, uint64_t now_ms)
{
    struct rounds r = takeover_rounds(core, &round->id);
    if (round->state != ROUND_ASKING)
        return;
    r.taking = round->epoch;
    rounds_give_up(&r);
    takeover_note(core, &round->id, &r);
    for (uint32_t n = 0; n < round->asked_count; n++)
        takeover_tell(core, round->asked[n].peer, WIRE_YIELD, &round->id, round->epoch, none,
                      now_ms);
    round->state = ROUND_RESTING;
}

/* One step: as far as it comes without further answers. */
static void round_go(struct core *core, struct round *round, uint64_t now_ms)
{
    struct session *copy = session_at(core, round->session);
    struct mesh_epoch other;
    struct list waiting;
    if (copy == NULL || !copy->is_copy || tombs_has(core, &round->id, now_ms)) {
        round_yield(core, round, now_ms); /* else who granted it says no to all others, for ever */
        round_end(core, round, &waiting);
        parked_give_back(core, &waiting, now_ms);
        return;
    }
    struct rounds r = takeover_rounds(core, &copy->id);
    enum rounds_word word =
        rounds_begin(&r, core_self(core), takeover_life(core, r.known.owner, now_ms),
                     takeover_life(core, r.promised.owner, now_ms), &other);
    takeover_note(core, &copy->id, &r);
    switch (word) {
    case ROUNDS_GRANT:
        round_ask(core, round, copy, &r, now_ms);
        break;
    case ROUNDS_VETO:
        round_vetoed(core, round, other, now_ms);
        break;
    case ROUNDS_LATER:
        evidence_probe(core, other.owner, now_ms);
        round_set(core, round, ROUND_FINDING, now_ms + EVIDENCE_PROBE_MS);
        break;
    }
}

void takeover_begin(struct core *core, struct session *copy, uint64_t now_ms)
{
    if (round_at(core, copy->round) != NULL)
        return;
    struct round *round = round_new(core, copy);
    if (round != NULL)
        round_go(core, round, now_ms);
}

bool takeover_park(struct core *core, struct session *copy, struct lane lane,
                   const struct wire_message *open, uint64_t now_ms)
{
    struct takeover *t = &core->takeover;
    struct round *round = round_at(core, copy->round);
    struct list waiting;
    struct handle h;
    bool is_new = round == NULL;
    struct parked *parked = pool_take(&t->parked, &h);
    if (parked == NULL)
        return false;
    if (round == NULL)
        round = round_new(core, copy);
    parked->self = h;
    parked->lane = lane;
    parked->open = *open;
    parked->since_ms = now_ms;
    if (round == NULL || wire_message_keep(&parked->open, &core->budget) < 0) {
        pool_give(&t->parked, h);
        if (is_new && round != NULL)
            round_end(core, round, &waiting);
        return false;
    }
    list_push_back(&round->parked, &parked->in_round);
    if (is_new)
        round_go(core, round, now_ms);
    return true;
}

void takeover_dismiss(struct core *core, const struct session *session, struct mesh_epoch higher,
                      uint64_t now_ms)
{
    for (size_t n = 0; n < COPIES_HOLDERS_MAX; n++)
        if (!peer_id_is_nobody(session->holders[n].peer))
            takeover_tell(core, session->holders[n].peer, WIRE_YIELD, &session->id, session->epoch,
                          higher, now_ms);
}

void takeover_cancel(struct core *core, struct session *copy, struct mesh_epoch owner,
                     uint64_t now_ms)
{
    struct round *round = round_at(core, copy->round);
    if (round == NULL)
        return;
    round_yield(core, round, now_ms);
    round_move(core, round, owner, now_ms);
}

void takeover_over(struct core *core, struct session *session, uint64_t now_ms)
{
    struct round *round = round_at(core, session->round);
    struct list waiting;
    if (round == NULL)
        return;
    round_end(core, round, &waiting);
    parked_give_back(core, &waiting, now_ms);
}

void takeover_forget(struct core *core, struct session *session)
{
    if (round_at(core, session->round) != NULL)
        core->takeover.is_woken = true; /* it finds that there is nothing to take */
}

/* ---- answers to our TAKE -------------------------------------------------------------------- */

/* That of ours which this word is about; NULL: it is over, or was never. */
static struct round *round_of(struct core *core, const struct wire_message *m)
{
    struct session *copy = session_find_copy(core, &m->session);
    struct round *round = copy != NULL ? round_at(core, copy->round) : NULL;
    bool is_it = round != NULL && round->state == ROUND_ASKING &&
                 mesh_epoch_compare(round->epoch, m->epoch) == 0;
    return is_it ? round : NULL;
}

static void on_grant(struct core *core, struct peer_id from, const struct wire_message *m,
                     uint64_t now_ms)
{
    struct round *round = round_of(core, m);
    struct rounds r = takeover_rounds(core, &m->session);
    if (round == NULL) {
        /* nothing will come of it, should it believe that; nor is it what our holders have */
        if (!r.is_owner && mesh_epoch_compare(r.known, m->epoch) != 0)
            takeover_tell(core, from, WIRE_YIELD, &m->session, m->epoch, none, now_ms);
        return;
    }
    for (uint32_t n = 0; n < round->asked_count; n++) {
        struct round_asked *asked = &round->asked[n];
        if (!peer_id_equal(asked->peer, from) || asked->is_done)
            continue;
        asked->is_done = asked->has_granted = true;
        round->awaited--;
    }
    if (round->awaited == 0)
        round_won(core, round, now_ms);
}

static void on_veto(struct core *core, const struct wire_message *m, uint64_t now_ms)
{
    struct round *round = round_of(core, m);
    if (round == NULL)
        return;
    round_yield(core, round, now_ms);
    struct rounds r = takeover_rounds(core, &m->session);
    if (m->round.other.counter > r.tried)
        r.tried = m->round.other.counter;
    takeover_note(core, &m->session, &r);
    round_vetoed(core, round, m->round.other, now_ms);
}

/* ---- as a holder ---------------------------------------------------------------------------- */

/* What we have of it that the taker has not goes before the grant. */
static void send_newer(struct core *core, const struct wire_message *take, struct peer_id to,
                       uint64_t now_ms)
{
    struct session *copy = session_find_copy(core, &take->session);
    if (copy == NULL)
        return;
    int newer = mesh_epoch_compare(copy->epoch, take->round.other);
    if (newer > 0 || (newer == 0 && copy->version > take->round.version))
        (void)copies_send(core, copy, to, now_ms);
}

/* False: not yet. */
static bool answer_take(struct core *core, struct peer_id from, const struct wire_message *m,
                        uint64_t now_ms)
{
    struct session *copy = session_find_copy(core, &m->session);
    struct mesh_epoch other;
    struct rounds r = takeover_rounds(core, &m->session);
    rounds_hear_of(&r, m->round.other, m->round.is_given);
    enum rounds_word word =
        rounds_on_take(&r, core_self(core), m->epoch, takeover_life(core, r.known.owner, now_ms),
                       takeover_life(core, r.promised.owner, now_ms), &other);
    takeover_note(core, &m->session, &r);
    switch (word) {
    case ROUNDS_GRANT:
        if (MESH_FAIL(core, "takeover.before_grant"))
            return true;
        send_newer(core, m, from, now_ms);
        takeover_tell(core, from, WIRE_GRANT, &m->session, m->epoch, none, now_ms);
        if (copy != NULL)
            copies_on_granted(core, copy, now_ms);
        (void)MESH_FAIL(core, "takeover.after_grant");
        break;
    case ROUNDS_VETO:
        takeover_tell(core, from, WIRE_VETO, &m->session, m->epoch, other, now_ms);
        break;
    case ROUNDS_LATER:
        evidence_probe(core, other.owner, now_ms);
        return false;
    }
    return true;
}

static void on_take(struct core *core, struct peer_id from, const struct wire_message *m,
                    uint64_t now_ms)
{
    struct takeover *t = &core->takeover;
    struct mesh_epoch known = {.counter = m->epoch.counter - 1}; /* to the taker, at the most: */
    if (mesh_epoch_compare(m->round.other, known) > 0)
        known = m->round.other;
    if (tombs_ends(core, &m->session, known, now_ms)) { /* nobody owns it any more */
        tombs_say(core, from, &m->session, now_ms);
        takeover_tell(core, from, WIRE_VETO, &m->session, m->epoch, none, now_ms);
        return;
    }
    struct session *owned = session_find(core, &m->session);
    if (owned != NULL && mesh_epoch_compare(m->round.other, owned->epoch) > 0)
        fence_doubt(core, owned, m->round.other, from,
                    now_ms); /* it has a record of a later epoch than ours */
    if (answer_take(core, from, m, now_ms))
        return;
    struct ask *ask = t->asks_count < TAKEOVER_ASKS_MAX ? calloc(1, sizeof *ask) : NULL;
    if (ask == NULL) {
        takeover_tell(core, from, WIRE_VETO, &m->session, m->epoch, none, now_ms);
        return;
    }
    ask->from = from;
    ask->take = *m; /* it has no slices */
    ask->since_ms = now_ms;
    list_push_back(&t->asks, &ask->in_asks);
    t->asks_count++;
}

/* Its owner of a while ago had events that no reader took. HTTP+SSE: an answer among them which we
 * have not is to a request of which we need not know; nobody can give it any more, and its client
 * begins anew (H1). */
static void on_unheard(struct core *core, struct session *owned, const struct wire_message *m,
                       uint64_t now_ms)
{
    if (owned->is_single && event_stream_lacks(owned->own, &m->round.answer))
        serve_end_session(core, owned, MESH_SESSION_ENDED, now_ms);
    else
        event_stream_on_unheard(core, owned->own, &m->round.newest, now_ms);
}

/* Also what an owner says to its holders that is none any more, in its own epoch: who owns it now
 * is to know of them. */
static void on_yield(struct core *core, const struct wire_message *m, uint64_t now_ms)
{
    struct takeover *t = &core->takeover;
    struct session *copy = session_find_copy(core, &m->session);
    struct session *owned = session_find(core, &m->session);
    if (owned != NULL && owned->own != NULL && m->round.is_unheard)
        on_unheard(core, owned, m, now_ms);
    if (copy != NULL)
        copies_on_given(core, copy, m->epoch, m->round.other, now_ms);
    struct rounds r = takeover_rounds(core, &m->session);
    rounds_on_yield(&r, m->epoch);
    takeover_note(core, &m->session, &r);
    LIST_EACH_SAFE (at, after, &t->asks) {
        struct ask *ask = container_of(at, struct ask, in_asks);
        if (session_id_equal(&ask->take.session, &m->session) &&
            mesh_epoch_compare(ask->take.epoch, m->epoch) == 0)
            ask_free(t, ask);
    }
    if (copy == NULL || !peer_id_equal(copy->epoch.owner, core_self(core)))
        return;
    if (mesh_epoch_compare(m->epoch, copy->epoch) < 0)
        takeover_begin(core, copy, now_ms); /* for whom we gave it up had yielded itself before */
    else
        takeover_dismiss(core, copy, none, now_ms); /* who was to have it next does not want it */
}

void takeover_on_message(struct core *core, struct peer_id from, const struct wire_message *m,
                         uint64_t now_ms)
{
    bool is_its_own = peer_id_equal(m->epoch.owner, from) && m->epoch.counter != 0;
    if (!key_verify(&core->keys, &m->session))
        return;
    if (m->kind == WIRE_TAKE && is_its_own)
        on_take(core, from, m, now_ms);
    else if (m->kind == WIRE_YIELD && is_its_own)
        on_yield(core, m, now_ms);
    else if (m->kind == WIRE_GRANT)
        on_grant(core, from, m, now_ms);
    else if (m->kind == WIRE_VETO)
        on_veto(core, m, now_ms);
}

bool takeover_heard(struct core *core, struct peer_id from, const struct session_id *id,
                    struct mesh_epoch epoch, uint64_t now_ms)
{
    struct session *session = session_find(core, id);
    struct rounds r = takeover_rounds(core, id);
    struct mesh_epoch highest = rounds_highest(&r);
    if (session != NULL && mesh_epoch_compare(epoch, session->epoch) > 0) {
        fence_doubt(core, session, epoch, from, now_ms);
        return false;
    }
    if (session != NULL || mesh_epoch_compare(epoch, highest) < 0) {
        fence_tell(core, from, id, epoch, highest, now_ms);
        return false;
    }
    session = session_find_copy(core, id);
    if (session == NULL || mesh_epoch_compare(epoch, highest) == 0)
        return true;
    if (peer_id_equal(session->epoch.owner, core_self(core)))
        takeover_dismiss(core, session, epoch, now_ms); /* it took back what we gave */
    if (epoch.counter > r.tried)
        r.tried = epoch.counter;
    takeover_note(core, id, &r);
    takeover_cancel(core, session, epoch, now_ms);
    return true;
}

/* ---- time ----------------------------------------------------------------------------------- */

void takeover_wake(struct core *core)
{
    core->takeover.is_woken = true;
}

static void takeover_answer_asks(struct core *core, uint64_t now_ms)
{
    struct takeover *t = &core->takeover;
    LIST_EACH_SAFE (at, after, &t->asks) {
        struct ask *ask = container_of(at, struct ask, in_asks);
        /* one who got no answer in time went on without */
        if (ask->since_ms + 2 * TAKEOVER_SILENT_MS > now_ms &&
            !answer_take(core, ask->from, &ask->take, now_ms))
            continue;
        ask_free(t, ask);
    }
}

/* Who waited long enough here may be found by somebody else. */
static void round_defer_old(struct core *core, struct round *round, uint64_t now_ms)
{
    LIST_EACH_SAFE (at, after, &round->parked) {
        struct parked *parked = container_of(at, struct parked, in_round);
        if (parked->since_ms + TAKEOVER_WAIT_MS <= now_ms)
            parked_defer(core, parked);
    }
}

/* Nobody has answered, and nothing else comes from anybody: it is us who do not hear. Once
 * membership says that the owner is gone, we are on our own. */
static bool round_is_deaf(const struct core *core, const struct round *round, uint64_t now_ms)
{
    struct rounds r = takeover_rounds(core, &round->id);
    return round->asked_count > 0 && round->awaited == round->asked_count &&
           core->heard_ms + TAKEOVER_DEAF_MS <= now_ms && core_is_living(core, r.known.owner);
}

static void round_due(struct core *core, struct round *round, uint64_t now_ms)
{
    struct list waiting;
    heap_remove(&core->takeover.timers, &round->timer);
    round_defer_old(core, round, now_ms);
    if (round->state == ROUND_RESTING && list_is_empty(&round->parked)) {
        round_end(core, round, &waiting);
        return;
    }
    if (round->state == ROUND_ASKING && round_is_deaf(core, round, now_ms)) {
        round_yield(core, round, now_ms);
        round_set(core, round, ROUND_FINDING, now_ms + TAKEOVER_AGAIN_MS);
    } else if (round->state == ROUND_ASKING && session_at(core, round->session) != NULL) {
        round_won(core, round, now_ms); /* who has not answered is silent */
    } else {
        round_go(core, round, now_ms);
    }
}

void takeover_doubt_all(struct core *core)
{
    struct takeover *t = &core->takeover;
    struct handle h;
    for (uint32_t slot = 0; pool_count(&t->rounds) > 0 && slot < pool_span(&t->rounds); slot++) {
        struct round *round = pool_slot(&t->rounds, slot, &h);
        if (round == NULL || round->state != ROUND_ASKING)
            continue;
        round_yield(core, round, core->now_ms);
        round_set(core, round, ROUND_FINDING, core->now_ms + TAKEOVER_AGAIN_MS);
    }
}

/* What is known of peers changed. */
static void takeover_look_again(struct core *core, uint64_t now_ms)
{
    struct takeover *t = &core->takeover;
    struct handle h;
    t->is_woken = false;
    takeover_answer_asks(core, now_ms);
    for (uint32_t slot = 0; pool_count(&t->rounds) > 0 && slot < pool_span(&t->rounds); slot++) {
        struct round *round = pool_slot(&t->rounds, slot, &h);
        if (round != NULL &&
            (round->state == ROUND_FINDING || session_at(core, round->session) == NULL))
            round_go(core, round, now_ms);
    }
}

void takeover_now(struct core *core, uint64_t now_ms)
{
    struct takeover *t = &core->takeover;
    struct heap_node *node;
    if (t->is_woken)
        takeover_look_again(core, now_ms);
    while ((node = heap_first(&t->timers)) != NULL && node->at_ms <= now_ms)
        round_due(core, container_of(node, struct round, timer), now_ms);
}

uint64_t takeover_deadline_ms(const struct core *core)
{
    return core->takeover.is_woken ? 0 : heap_deadline_ms(&core->takeover.timers);
}
