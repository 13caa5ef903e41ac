/* handover.c - giving sessions away, and taking them. */
#include "mesh/session/handover.h"

#include <stdlib.h>

#include "mesh/base/failpoint.h"
#include "mesh/base/mutant.h"
#include "mesh/session/core.h"

/* One session under way to its taker. */
struct hand {
    struct list in_all;
    struct session_id id;
    struct peer_id taker;
    struct mesh_epoch epoch; /* in which it is the taker's */
    bool is_agreed;          /* the taker is ready */
    bool is_given;           /* it is not ours any more; acknowledged: the hand is over */
    uint64_t again_ms;       /* say it again */
};

int handover_init(struct core *core)
{
    struct handover *h = &core->handover;
    list_init(&h->hands);
    h->until_ms = h->down_ms = h->again_ms = MESH_NEVER;
    h->is_woken = core->config.rebalance != MESH_REBALANCE_OFF; /* its first step is planned */
    return 0;
}

static void hand_free(struct core *core, struct hand *hand)
{
    list_remove(&hand->in_all);
    core->handover.hands_count--;
    core->handover.is_woken = true;
    free(hand);
}

void handover_deinit(struct core *core)
{
    struct list *at;
    rebalance_deinit(core);
    if (core->handover.hands.next == NULL)
        return; /* it was never made */
    while ((at = list_first(&core->handover.hands)) != NULL)
        hand_free(core, container_of(at, struct hand, in_all));
}

void handover_begin(struct core *core, uint64_t until_ms)
{
    core->handover.is_on = core->handover.is_woken = true;
    core->handover.again_ms = MESH_NEVER; /* that of a lesser reason */
    core->handover.until_ms = until_ms;
}

void handover_serving(struct core *core, bool serving, uint64_t since_ms)
{
    struct handover *h = &core->handover;
    if (serving)
        h->down_ms = MESH_NEVER;
    else if (h->down_ms == MESH_NEVER)
        h->down_ms = since_ms;
    h->is_woken = true;
}

/* Why sessions are given away, the most urgent reason first. */
enum handover_cause {
    HANDOVER_LEAVING, /* all of them, before until_ms */
    HANDOVER_DOWN,    /* our server is gone: all of them, unless it comes back */
    HANDOVER_NEW,     /* idle ones, to a peer that is new */
    HANDOVER_NONE
};

static enum handover_cause handover_cause(const struct core *core, uint64_t now_ms)
{
    const struct handover *h = &core->handover;
    if (h->is_on)
        return HANDOVER_LEAVING;
    if (h->down_ms != MESH_NEVER)
        return now_ms >= h->down_ms + HANDOVER_DOWN_MS ? HANDOVER_DOWN : HANDOVER_NONE;
    return core->config.rebalance == MESH_REBALANCE_IDLE ? HANDOVER_NEW : HANDOVER_NONE;
}

/* ---- the giver ------------------------------------------------------------------------------- */

static struct hand *hand_of(const struct core *core, const struct session_id *id)
{
    LIST_EACH (at, &core->handover.hands) {
        struct hand *hand = container_of(at, struct hand, in_all);
        if (session_id_equal(&hand->id, id))
            return hand;
    }
    return NULL;
}

/* Who would take it; false: nobody. */
static bool handover_taker(struct core *core, const struct session *session, struct peer_id *taker)
{
    struct peer_id peers[MESH_CANDIDATES_MAX];
    size_t count = owner_candidates(core, &session->id, peers, MESH_CANDIDATES_MAX);
    for (size_t n = 0; n < count; n++) {
        const struct mesh_member *member = view_find(core->view, peers[n]);
        if (peer_id_equal(peers[n], core_self(core)) || member == NULL ||
            !member_is_eligible(member))
            continue;
        *taker = peers[n];
        return true;
    }
    return false;
}

/* A request of it is under way here, or its answer: an entry that has heard of the next epoch drops
 * what it did not take before. Not its held streams, which go on elsewhere, nor what no upstream
 * was given yet, which waits there as well. */
static bool handover_is_busy(struct core *core, const struct session *session)
{
    const struct upstream *up = upstream_at(core, session->up);
    if (!session->is_announced)
        return true;
    LIST_EACH (at, &session->answers) {
        const struct call *call = container_of(at, struct call, by_up);
        if (!call_is_held_stream(call) && !lane_is_none(call->answer.lane))
            return true;
    }
    if (up == NULL)
        return false;
    LIST_EACH (at, &up->calls) {
        const struct call *call = container_of(at, struct call, by_up);
        if (!call_is_held_stream(call) && call_may_have_run(call))
            return true;
    }
    return false;
}

/* A request of it waits here for an upstream. */
static bool handover_is_awaited(struct core *core, const struct session *session)
{
    const struct upstream *up = upstream_at(core, session->up);
    if (up == NULL)
        return false;
    LIST_EACH (at, &up->calls)
        if (!call_is_held_stream(container_of(at, struct call, by_up)))
            return true;
    return false;
}

/* Its stream is a client's connection that ends with us. */
static bool handover_is_bound_here(struct core *core, const struct session *session)
{
    const struct call *reader = session_reader(core, session);
    return session->is_single && reader != NULL &&
           peer_id_equal(reader->name.entry, core_self(core));
}

bool handover_is_quiet(const struct core *core, const struct session *session, uint64_t now_ms)
{
    const struct handover *h = &core->handover;
    const struct hand *hand = h->is_on ? hand_of(core, &session->id) : NULL;
    return hand != NULL && hand->is_agreed && now_ms + HANDOVER_QUIET_MS >= h->until_ms;
}

static void hand_say(struct core *core, struct hand *hand, uint64_t version, uint64_t now_ms)
{
    struct wire_message m = {.kind = WIRE_HAND, .session = hand->id, .epoch = hand->epoch};
    const struct mesh_addr *addr = core_addr_of(core, hand->taker);
    m.round.version = version;
    m.round.is_end = hand->is_given;
    hand->again_ms = now_ms + HANDOVER_AGAIN_MS;
    if (addr != NULL)
        (void)links_tell(core->links, hand->taker, addr, &m, now_ms);
}

/* Its taker has agreed: given as soon as nothing is under way, and the record is there. */
static void hand_try(struct core *core, struct hand *hand, uint64_t now_ms)
{
    struct session *session = session_find(core, &hand->id);
    if (session == NULL)
        return; /* it ended: handover_now() forgets the hand */
    bool is_due = now_ms + HANDOVER_QUIET_MS / 10 >= core->handover.until_ms;
    if (!copies_is_whole_at(session, hand->taker) || (handover_is_busy(core, session) && !is_due))
        return;
    uint64_t version = session->version;
    struct mesh_epoch next = {session->epoch.counter + 1, hand->taker};
    hand->epoch = next;
    if (MESH_FAIL(core, "handover.before_end"))
        return;
    hand->is_given = true;
    core->stats.handed_over++;
    hand_say(core, hand, version, now_ms);
    if (MESH_FAIL(core, "handover.after_end") || MUTANT(GIVER_SERVES))
        return;
    takeover_yield(core, session, next, now_ms);
    park_release(core, &hand->id, now_ms);
}

static void handover_offer(struct core *core, struct session *session, struct peer_id taker,
                           uint64_t now_ms)
{
    struct hand *hand = calloc(1, sizeof *hand);
    if (hand == NULL)
        return;
    hand->id = session->id;
    hand->taker = taker;
    hand->epoch = (struct mesh_epoch){session->epoch.counter + 1, taker};
    list_push_back(&core->handover.hands, &hand->in_all);
    core->handover.hands_count++;
    if (MESH_FAIL(core, "handover.before_begin"))
        return;
    hand_say(core, hand, session->version, now_ms);
}

/* Is it to be offered now, and to whom? */
static bool handover_is_due(struct core *core, const struct session *session,
                            enum handover_cause cause, struct peer_id *taker, uint64_t now_ms)
{
    if (cause == HANDOVER_NEW)
        return rebalance_taker(core, session, taker, now_ms);
    bool is_busy = handover_is_busy(core, session);
    bool is_late = now_ms + HANDOVER_QUIET_MS >= core->handover.until_ms;
    bool is_due = (is_late || !is_busy) && !handover_is_bound_here(core, session);
    if (cause == HANDOVER_DOWN) /* who waits for it has waited long enough */
        is_due = !is_busy && (core->handover.left > 0 || handover_is_awaited(core, session));
    return is_due && handover_taker(core, session, taker);
}

/* Looks for sessions to offer, from where it stopped: all of them once, or as many as may be under
 * way. Those with requests come when these are answered. */
static void handover_look(struct core *core, enum handover_cause cause, uint64_t now_ms)
{
    struct handover *h = &core->handover;
    uint32_t *left = cause == HANDOVER_NEW ? &core->rebalance.left : &h->left;
    uint32_t span = pool_span(&core->sessions.pool);
    struct peer_id taker;
    struct handle at;
    for (uint32_t n = 0; n < span && h->hands_count < HANDOVER_AT_ONCE; n++) {
        if (cause == HANDOVER_NEW && !rebalance_looks(core))
            break; /* there may be many turns in a step */
        h->cursor = h->cursor + 1 < span ? h->cursor + 1 : 0;
        if (h->cursor == 0)
            core->rebalance.takes_held = !core->rebalance.takes_held;
        struct session *session = pool_slot(&core->sessions.pool, h->cursor, &at);
        if (session == NULL || session->is_copy || !session->is_announced ||
            hand_of(core, &session->id) != NULL)
            continue;
        if (!handover_is_due(core, session, cause, &taker, now_ms) ||
            !copies_is_whole_at(session, taker))
            continue;
        handover_offer(core, session, taker, now_ms);
        if (*left > 0)
            --*left;
        if (cause == HANDOVER_NEW)
            rebalance_offered(core, taker, false);
    }
}

bool handover_is_over(struct core *core)
{
    struct handle h;
    if (!core->handover.is_on)
        return true;
    if (core->handover.hands_count > 0)
        return false;
    for (uint32_t slot = 0; slot < pool_span(&core->sessions.pool); slot++) {
        struct session *session = pool_slot(&core->sessions.pool, slot, &h);
        struct peer_id taker;
        if (session != NULL && !session->is_copy && session->is_announced && session->version > 0 &&
            !handover_is_bound_here(core, session) && handover_taker(core, session, &taker))
            return false;
    }
    return true;
}

/* The taker will not have it after all, or cannot: ours again, in an epoch above the one that it
 * refused. */
static void hand_take_back(struct core *core, struct hand *hand, uint64_t now_ms)
{
    struct session *copy = session_find_copy(core, &hand->id);
    struct mesh_epoch next = {hand->epoch.counter + 1, core_self(core)};
    struct session_id id = hand->id;
    if (hand->is_given && copy != NULL && mesh_epoch_compare(copy->epoch, hand->epoch) == 0)
        takeover_own(core, copy, next, true, now_ms);
    hand_free(core, hand);
    park_release(core, &id, now_ms);
}

/* One that was given is the business of whoever has a copy, once its taker is gone. */
static void hand_go_on(struct core *core, struct hand *hand, enum handover_cause cause,
                       uint64_t now_ms)
{
    const struct session *session = session_find(core, &hand->id);
    const struct mesh_member *taker = view_find(core->view, hand->taker);
    /* who leaves meanwhile gets no copies any more, and would never have the record whole */
    bool may_take = taker != NULL && member_is_eligible(taker);
    bool is_off = !hand->is_given &&
                  (session == NULL || cause == HANDOVER_NONE || !may_take ||
                   (cause == HANDOVER_NEW && !rebalance_is_idle(core, session, true, now_ms)));
    if (!core_is_living(core, hand->taker) || is_off) {
        struct session_id id = hand->id;
        if (is_off && cause == HANDOVER_NEW)
            rebalance_offered(core, hand->taker, true);
        hand_free(core, hand);
        park_release(core, &id, now_ms);
        return;
    }
    if (hand->is_agreed && !hand->is_given) {
        hand_try(core, hand, now_ms);
        return;
    }
    if (hand->again_ms <= now_ms) {
        const struct session *known = hand->is_given ? session_find_copy(core, &hand->id) : session;
        hand_say(core, hand, known != NULL ? known->version : 0, now_ms);
    }
}

static void handover_on_handed(struct core *core, struct peer_id from, const struct wire_message *m,
                               uint64_t now_ms)
{
    struct hand *hand = hand_of(core, &m->session);
    if (hand == NULL || !peer_id_equal(hand->taker, from) ||
        mesh_epoch_compare(hand->epoch, m->epoch) != 0 || m->round.is_end != hand->is_given)
        return;
    if (m->round.is_refused) {
        hand_take_back(core, hand, now_ms);
    } else if (m->round.is_end) {
        hand_free(core, hand);
    } else {
        hand->is_agreed = true;
        hand->again_ms = MESH_NEVER;
        hand_go_on(core, hand, handover_cause(core, now_ms), now_ms);
    }
}

/* ---- the taker ------------------------------------------------------------------------------- */

static bool handover_may_take(const struct core *core)
{
    const struct mesh_record *self = view_self(core->view)->record;
    return !core->is_leaving && self->serving && !self->draining;
}

static void handover_on_hand(struct core *core, struct peer_id from, const struct wire_message *m,
                             uint64_t now_ms)
{
    struct session *copy = session_find_copy(core, &m->session);
    const struct session *ours = session_find(core, &m->session);
    const struct mesh_addr *addr = core_addr_of(core, from);
    struct wire_message answer = {.kind = WIRE_HANDED, .session = m->session, .epoch = m->epoch};
    answer.round.is_end = m->round.is_end;
    /* said twice: it was heard the first time, whatever became of it since */
    bool is_known = (ours != NULL && mesh_epoch_compare(ours->epoch, m->epoch) >= 0) ||
                    (copy != NULL && mesh_epoch_compare(copy->epoch, m->epoch) >= 0);
    bool is_from_owner = copy != NULL && peer_id_equal(copy->epoch.owner, from) &&
                         m->epoch.counter == copy->epoch.counter + 1 &&
                         peer_id_equal(m->epoch.owner, core_self(core));
    if (!is_known) {
        /* what we agreed to we take, even if we should drain since: we can give it away */
        bool is_possible =
            is_from_owner && mesh_epoch_compare(copy->promised, m->epoch) < 0 &&
            (m->round.is_end ? m->round.version == copy->version : handover_may_take(core));
        answer.round.is_refused = !is_possible;
        bool is_given = m->round.is_end || MUTANT(TAKER_HASTES);
        if (is_possible && is_given && !MESH_FAIL(core, "handover.before_own"))
            takeover_own(core, copy, m->epoch, true, now_ms);
    }
    if (m->round.is_end && MESH_FAIL(core, "handover.before_handed"))
        return;
    if (addr != NULL)
        (void)links_tell(core->links, from, addr, &answer, now_ms);
}

void handover_on_message(struct core *core, struct peer_id from, const struct wire_message *m,
                         uint64_t now_ms)
{
    if (!key_verify(&core->keys, &m->session))
        return;
    if (m->kind == WIRE_HAND)
        handover_on_hand(core, from, m, now_ms);
    else
        handover_on_handed(core, from, m, now_ms);
}

/* ---- time ------------------------------------------------------------------------------------ */

/* How many are offered in this step, and when the next one begins. */
static void handover_next_step(struct core *core, enum handover_cause cause, uint64_t now_ms)
{
    struct handover *h = &core->handover;
    switch (cause) {
    case HANDOVER_LEAVING:
        h->again_ms = now_ms + HANDOVER_AGAIN_MS; /* as many as may be under way */
        break;
    case HANDOVER_DOWN:
        h->left = HANDOVER_DOWN_PER_STEP;
        h->again_ms = now_ms + HANDOVER_AGAIN_MS;
        break;
    case HANDOVER_NEW:
        rebalance_step(core, now_ms);
        h->again_ms = now_ms + REBALANCE_STEP_MS;
        break;
    case HANDOVER_NONE:
        h->again_ms = h->down_ms == MESH_NEVER ? MESH_NEVER : h->down_ms + HANDOVER_DOWN_MS;
        break;
    }
}

void handover_now(struct core *core, uint64_t now_ms)
{
    struct handover *h = &core->handover;
    enum handover_cause cause = handover_cause(core, now_ms);
    bool is_due = h->again_ms <= now_ms;
    rebalance_watch(core, now_ms);
    if (!h->is_woken && !is_due && h->hands_count == 0)
        return;
    h->is_woken = false;
    if (is_due || h->again_ms == MESH_NEVER || cause == HANDOVER_NONE)
        handover_next_step(core, cause, now_ms);
    for (struct list *at = list_first(&h->hands), *next; at != NULL; at = next) {
        next = at->next != &h->hands ? at->next : NULL;
        hand_go_on(core, container_of(at, struct hand, in_all), cause, now_ms);
    }
    if (cause != HANDOVER_NONE)
        handover_look(core, cause, now_ms);
}

uint64_t handover_deadline_ms(const struct core *core)
{
    const struct handover *h = &core->handover;
    uint64_t first = h->is_woken ? 0 : h->again_ms;
    LIST_EACH (at, &h->hands) {
        const struct hand *hand = container_of(at, struct hand, in_all);
        if (hand->again_ms < first)
            first = hand->again_ms;
    }
    return first;
}
