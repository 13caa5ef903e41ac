/* fence.c - asking the holders whether a session is still ours. */
#include "mesh/session/fence.h"

#include <errno.h>

#include "mesh/base/failpoint.h"
#include "mesh/base/mutant.h"
#include "mesh/session/core.h"

/* The question about one session. */
struct check {
    struct handle self, session;
    struct rounds_check asked;
    struct mesh_epoch claim; /* the highest that it is said to be owned in; counter 0: none */
    uint64_t number;         /* answers to another one are old */
    struct heap_node timer;
    struct list calls; /* whose answers are held back */
};

int fence_init(struct core *core)
{
    struct fence *f = &core->fence;
    memset(f, 0, sizeof *f);
    pool_init(&f->checks, sizeof(struct check), FENCE_CHECKS_MAX);
    heap_init(&f->timers);
    newest_init(&f->lost, sizeof(struct peer_id), sizeof(bool), FENCE_LOST_MAX, core->sip_key);
    newest_init(&f->silent, sizeof(struct session_id), FENCE_SILENT_MAX * sizeof(struct peer_id),
                FENCE_SILENT_OF_MAX, core->sip_key);
    return 0;
}

void fence_deinit(struct core *core)
{
    struct fence *f = &core->fence;
    newest_deinit(&f->lost);
    newest_deinit(&f->silent);
    heap_deinit(&f->timers);
    pool_deinit(&f->checks);
}

static struct check *check_at(const struct core *core, struct handle h)
{
    return pool_at(&core->fence.checks, h);
}

bool fence_is_in_doubt(const struct core *core, const struct session *session)
{
    return session->doubt != core->fence.doubt;
}

/* ---- the question --------------------------------------------------------------------------- */

static void check_free(struct core *core, struct check *check)
{
    struct session *session = session_at(core, check->session);
    if (session != NULL)
        session->check = (struct handle){0};
    heap_remove(&core->fence.timers, &check->timer);
    pool_give(&core->fence.checks, check->self);
}

static void check_ask(struct core *core, const struct check *check, struct peer_id whom,
                      uint64_t now_ms)
{
    const struct session *session = session_at(core, check->session);
    struct wire_message m = {.kind = WIRE_CHECK, .session = session->id, .has_session = true};
    m.epoch = check->asked.epoch;
    m.round.number = check->number;
    (void)links_tell(core->links, whom, core_addr_of(core, whom), &m, now_ms);
}

static bool silent_has(const struct peer_id *silent, struct peer_id peer)
{
    for (size_t n = 0; silent != NULL && n < FENCE_SILENT_MAX; n++)
        if (peer_id_equal(silent[n], peer))
            return true;
    return false;
}

/* Who did not answer when we took it, and does now. */
static void check_heard_silent(struct core *core, const struct check *check,
                               const struct session *session)
{
    struct peer_id *silent = newest_find(&core->fence.silent, &session->id);
    for (uint32_t n = 0; silent != NULL && n < check->asked.count; n++)
        for (size_t k = 0; k < FENCE_SILENT_MAX; k++)
            if (check->asked.asked[n].is_clear &&
                peer_id_equal(silent[k], check->asked.asked[n].peer))
                silent[k] = (struct peer_id){0};
}

/* It is ours: what was held back leaves. In an epoch above any that others know of: they pass on
 * nothing lower. */
static void check_clear(struct core *core, struct check *check, uint64_t now_ms)
{
    struct session *session = session_at(core, check->session);
    struct mesh_epoch given = check->asked.given;
    struct list *at;
    session->doubt = core->fence.doubt;
    session->certain = (struct mesh_epoch){0};
    check_heard_silent(core, check, session);
    if (given.counter > session->tried)
        session->tried = given.counter;
    if (check->claim.counter > session->tried)
        session->tried = check->claim.counter;
    if (given.counter != 0 || mesh_epoch_compare(check->claim, session->epoch) > 0)
        takeover_keep(core, session, now_ms);
    if (given.counter != 0)
        copies_dismiss(core, session, given.owner, now_ms);
    while ((at = list_first(&check->calls)) != NULL) {
        struct call *call = container_of(at, struct call, in_check);
        list_remove(&call->in_check);
        call->epoch = session->epoch;
        answer_set_epoch(&call->answer, session->epoch);
        answer_unfence(&call->answer, core->links);
    }
    check_free(core, check);
}

static void check_add(struct core *core, struct check *check, struct peer_id peer)
{
    if (core_is_living(core, peer) && !peer_id_equal(peer, core_self(core)) &&
        !rounds_check_has(&check->asked, peer))
        rounds_check_add(&check->asked, peer);
}

/* The holders, and as a taker would the first candidates: where the holders that we know are gone
 * since, it went on at others. And who did not answer when we took it. */
static void check_add_all(struct core *core, struct check *check)
{
    const struct session *session = session_at(core, check->session);
    const struct peer_id *silent = newest_find(&core->fence.silent, &session->id);
    struct peer_id candidates[FENCE_CANDIDATES];
    size_t count = core->config.copies > 0
                       ? owner_candidates(core, &session->id, candidates, FENCE_CANDIDATES)
                       : 0;
    for (size_t n = 0; n < COPIES_HOLDERS_MAX; n++)
        check_add(core, check, session->holders[n].peer);
    for (size_t n = 0; n < count; n++)
        check_add(core, check, candidates[n]);
    for (size_t n = 0; silent != NULL && n < FENCE_SILENT_MAX; n++)
        check_add(core, check, silent[n]);
}

static void check_go(struct core *core, struct check *check, bool is_late, uint64_t now_ms)
{
    struct mesh_epoch higher;
    struct peer_id whom;
    if (!is_late)
        check_add_all(core, check);
    for (;;) {
        switch (rounds_check_next(&check->asked, is_late, &whom, &higher)) {
        case ROUNDS_ASK:
            if (core_is_living(core, whom)) {
                check_ask(core, check, whom, now_ms);
                continue;
            }
            if (peer_id_equal(whom, higher.owner)) /* it had it, and is gone with its last word */
                break;
            rounds_check_gone(&check->asked, whom);
            continue;
        case ROUNDS_WAIT:
            return;
        case ROUNDS_CLEAR:
            check_clear(core, check, now_ms);
            return;
        case ROUNDS_YIELD:
            break;
        }
        struct session *session = session_at(core, check->session);
        session->version = 0; /* what we have is not what the new owner's copies have */
        takeover_yield(core, session, higher, now_ms);
        return;
    }
}

/* NULL: no room. It may be over at once: then the session is not in doubt any more. */
static struct check *check_new(struct core *core, struct session *session, uint64_t now_ms)
{
    struct handle h;
    struct check *check = pool_take(&core->fence.checks, &h);
    if (check == NULL)
        return NULL;
    check->self = h;
    check->session = session->self;
    check->number = ++core->fence.number;
    check->asked.epoch = session->certain.counter != 0 ? session->certain : session->epoch;
    list_init(&check->calls);
    if (heap_set(&core->fence.timers, &check->timer, now_ms + FENCE_SILENT_MS) < 0) {
        pool_give(&core->fence.checks, h);
        return NULL;
    }
    session->check = h;
    return check;
}

int fence_answer(struct core *core, struct call *call, uint32_t from)
{
    struct session *session = session_at(core, call->session);
    if (session == NULL || !fence_is_in_doubt(core, session) || session->is_copy ||
        call->answer.is_dropped || MUTANT(NO_FENCE))
        return 0;
    struct check *check = check_at(core, session->check);
    if (check == NULL) {
        if (MESH_FAIL(core, "takeover.before_check"))
            return 0;
        check = check_new(core, session, core->now_ms);
        if (check == NULL)
            return -ENOMEM;
        check_go(core, check, false, core->now_ms);
        (void)MESH_FAIL(core, "takeover.after_check");
        session = session_at(core, call->session);
        check = session != NULL ? check_at(core, session->check) : NULL;
        if (check == NULL)
            return 0; /* nobody was to be asked */
    }
    answer_fence(&call->answer, from);
    if (!list_is_linked(&call->in_check))
        list_push_back(&check->calls, &call->in_check);
    return 0;
}

void fence_give_calls(struct core *core, struct session *session, struct mesh_epoch higher,
                      fence_take_call *take, uint64_t now_ms)
{
    struct check *check = check_at(core, session->check);
    struct list *at;
    if (check == NULL)
        return;
    while ((at = list_first(&check->calls)) != NULL)
        take(core, container_of(at, struct call, in_check), higher, now_ms);
    check_free(core, check);
}

/* Its session ended, perhaps at another owner: what was held back is said by nobody. */
static void fence_give_up(struct core *core, struct call *call)
{
    struct wire_message m = {.kind = WIRE_END, .name = call->name, .epoch = call->epoch};
    m.end.end = MESH_END_CUT;
    m.end.why = call->is_unsafe ? MESH_OUTCOME_UNKNOWN : MESH_SESSION_ENDED;
    serve_forget_name(core, call);
    if (!lane_is_none(call->answer.lane))
        (void)links_send(core->links, call->answer.lane, LINKS_OWNER, &m);
    call_drop_answer(core, call);
}

void fence_end(struct core *core, struct session *session)
{
    const struct check *check = check_at(core, session->check);
    if (check != NULL && mesh_epoch_compare(check->asked.given, session->epoch) > 0)
        session->epoch = (struct mesh_epoch){check->asked.given.counter + 1, core_self(core)};
}

void fence_forget(struct core *core, struct session *session)
{
    struct check *check = check_at(core, session->check);
    struct list *at;
    if (check == NULL)
        return;
    while ((at = list_first(&check->calls)) != NULL) {
        struct call *call = container_of(at, struct call, in_check);
        list_remove(at);
        if (call->want == MESH_DELETE) /* that is true whoever owned it */
            answer_unfence(&call->answer, core->links);
        else
            fence_give_up(core, call);
    }
    check_free(core, check);
}

/* ---- doubts --------------------------------------------------------------------------------- */

/* What was answered until now is not known to be true any more. */
static void check_restart(struct core *core, struct check *check, uint64_t now_ms)
{
    check->number = ++core->fence.number;
    for (uint32_t n = 0; n < check->asked.count; n++)
        check->asked.asked[n] = (struct rounds_asked){.peer = check->asked.asked[n].peer};
    (void)heap_set(&core->fence.timers, &check->timer, now_ms + FENCE_SILENT_MS);
    check_go(core, check, false, now_ms);
}

static void fence_look(struct core *core)
{
    struct fence *f = &core->fence;
    f->is_looking = true;
    f->slot = 0;
    f->look_ms = core->now_ms + FENCE_LOOK_MS;
}

void fence_doubt_all(struct core *core)
{
    struct fence *f = &core->fence;
    struct handle h;
    f->doubt++;
    for (uint32_t slot = 0; slot < pool_span(&f->checks); slot++) {
        struct check *check = pool_slot(&f->checks, slot, &h);
        if (check != NULL)
            check_restart(core, check, core->now_ms);
    }
    fence_look(core);
}

void fence_doubt(struct core *core, struct session *session, struct mesh_epoch claim,
                 struct peer_id from, uint64_t now_ms)
{
    struct check *check = check_at(core, session->check);
    if (claim.counter > session->epoch.counter + COPIES_EPOCHS_JUMP)
        return;
    session->doubt = core->fence.doubt - 1;
    if (check == NULL)
        check = check_new(core, session, now_ms);
    if (check == NULL)
        return;
    if (mesh_epoch_compare(claim, check->claim) > 0)
        check->claim = claim;
    rounds_check_add(&check->asked, from);
    check_go(core, check, false, now_ms);
}

void fence_claimed(struct core *core, const struct session_id *id, struct mesh_epoch claim,
                   uint64_t now_ms)
{
    struct session *session = session_find(core, id);
    if (session != NULL && mesh_epoch_compare(claim, session->epoch) > 0)
        fence_doubt(core, session, claim, claim.owner, now_ms);
}

void fence_on_lost(struct core *core, struct peer_id peer)
{
    bool *is_lost = newest_put(&core->fence.lost, &peer);
    if (is_lost != NULL)
        *is_lost = true;
    else
        fence_doubt_all(core); /* it cannot be noted: then now */
}

void fence_note_silent(struct core *core, const struct session_id *id,
                       const struct peer_id peers[FENCE_SILENT_MAX])
{
    struct peer_id *silent = newest_find(&core->fence.silent, id);
    if (silent == NULL && !peer_id_is_nobody(peers[0]))
        silent = newest_put(&core->fence.silent, id);
    if (silent != NULL)
        memcpy(silent, peers, FENCE_SILENT_MAX * sizeof *silent);
}

void fence_on_ready(struct core *core, struct peer_id peer)
{
    struct handle h;
    bool *is_lost = newest_find(&core->fence.lost, &peer);
    if (is_lost == NULL || !*is_lost)
        return;
    *is_lost = false;
    for (uint32_t slot = 0; slot < pool_span(&core->sessions.pool); slot++) {
        struct session *session = pool_slot(&core->sessions.pool, slot, &h);
        if (session != NULL && !session->is_copy && !fence_is_in_doubt(core, session) &&
            (copies_is_holder(session, peer) ||
             silent_has(newest_find(&core->fence.silent, &session->id), peer)))
            session->doubt = core->fence.doubt - 1;
    }
    fence_look(core);
}

/* ---- words ---------------------------------------------------------------------------------- */

static void fence_say(struct core *core, struct peer_id to, const struct session_id *id,
                      struct mesh_epoch epoch, struct rounds_told told, uint64_t number,
                      uint64_t now_ms)
{
    struct wire_message m = {.kind = WIRE_CHECKED, .session = *id, .has_session = true};
    const struct mesh_addr *addr = core_addr_of(core, to);
    m.epoch = epoch;
    m.round.other = told.other;
    m.round.runs = told.other.counter != 0 && !told.gives;
    m.round.number = number;
    if (addr != NULL)
        (void)links_tell(core->links, to, addr, &m, now_ms);
}

void fence_tell(struct core *core, struct peer_id to, const struct session_id *id,
                struct mesh_epoch epoch, struct mesh_epoch other, uint64_t now_ms)
{
    if (peer_id_equal(to, core_self(core)))
        fence_claimed(core, id, other, now_ms);
    else
        fence_say(core, to, id, epoch, (struct rounds_told){.other = other}, 0, now_ms);
}

static void on_check(struct core *core, struct peer_id from, const struct wire_message *m,
                     uint64_t now_ms)
{
    struct rounds r = takeover_rounds(core, &m->session);
    struct session *session = session_find(core, &m->session);
    struct session *copy = session_find_copy(core, &m->session);
    evidence_on_life(core, from, now_ms);
    if (tombs_is_final(core, &m->session, now_ms)) {
        tombs_say(core, from, &m->session, now_ms);
        return;
    }
    struct rounds_told told = rounds_on_check(&r, core_self(core), m->epoch,
                                              takeover_life(core, r.promised.owner, now_ms));
    takeover_note(core, &m->session, &r);
    if (copy != NULL && (told.yields || mesh_epoch_compare(copy->epoch, m->epoch) <= 0))
        takeover_cancel(core, copy, m->epoch, now_ms);
    if (session != NULL && told.gives) {
        session->version = 0; /* nor what the copies of its owner have */
        takeover_yield(core, session, (struct mesh_epoch){0, from}, now_ms);
    } else if (session != NULL && mesh_epoch_compare(m->epoch, session->epoch) > 0) {
        fence_doubt(core, session, m->epoch, from, now_ms);
    }
    fence_say(core, from, &m->session, m->epoch, told, m->round.number, now_ms);
}

static void on_checked(struct core *core, struct peer_id from, const struct wire_message *m,
                       uint64_t now_ms)
{
    struct session *session = session_find(core, &m->session);
    struct check *check = session != NULL ? check_at(core, session->check) : NULL;
    bool is_given =
        peer_id_equal(m->round.other.owner, from) && !m->round.runs && m->round.other.counter != 0;
    if (session == NULL) {
        /* it gives up for us what we gave up ourselves since: it may have it again */
        if (is_given && peer_id_equal(m->epoch.owner, core_self(core)))
            takeover_tell(core, from, WIRE_YIELD, &m->session, m->epoch, (struct mesh_epoch){0},
                          now_ms);
        return;
    }
    bool is_higher = mesh_epoch_compare(m->round.other, session->epoch) > 0;
    if (is_higher)
        copies_not_at(core, session, from, now_ms);
    if (m->round.number == 0) {
        if (is_higher)
            fence_doubt(core, session, m->round.other, from, now_ms); /* it knows whom to ask */
        return;
    }
    if (check == NULL || check->number != m->round.number)
        return;
    evidence_on_life(core, from, now_ms);
    rounds_on_checked(&check->asked, from, m->round.other, is_given);
    check_go(core, check, false, now_ms);
}

void fence_on_message(struct core *core, struct peer_id from, const struct wire_message *m,
                      uint64_t now_ms)
{
    if (!key_verify(&core->keys, &m->session))
        return;
    if (m->kind == WIRE_CHECK && peer_id_equal(m->epoch.owner, from))
        on_check(core, from, m, now_ms);
    else if (m->kind == WIRE_CHECKED)
        on_checked(core, from, m, now_ms);
}

/* ---- time ----------------------------------------------------------------------------------- */

/* Those of which nothing is to be answered now: who took one over is to know soon, too. */
static void fence_look_on(struct core *core, uint64_t now_ms)
{
    struct fence *f = &core->fence;
    struct handle h;
    uint32_t looks = 0;
    while (f->slot < pool_span(&core->sessions.pool) && looks < FENCE_LOOKS) {
        struct session *session = pool_slot(&core->sessions.pool, f->slot++, &h);
        if (session == NULL || session->is_copy || !fence_is_in_doubt(core, session) ||
            check_at(core, session->check) != NULL)
            continue;
        if (MESH_FAIL(core, "takeover.before_check"))
            return;
        struct check *check = check_new(core, session, now_ms);
        if (check != NULL)
            check_go(core, check, false, now_ms);
        if (MESH_FAIL(core, "takeover.after_check"))
            return;
        looks++;
    }
    f->look_ms = now_ms + FENCE_LOOK_MS;
    f->is_looking = f->slot < pool_span(&core->sessions.pool);
}

void fence_now(struct core *core, uint64_t now_ms)
{
    struct fence *f = &core->fence;
    struct heap_node *node;
    struct swim_stats stats;
    swim_stats(core->swim, &stats);
    if (stats.deaths_refuted != f->refuted) {
        fence_doubt_all(core);
        copies_on_view(core, now_ms); /* what our copies' owners said meanwhile did not reach us */
    }
    f->refuted = stats.deaths_refuted;
    while ((node = heap_first(&f->timers)) != NULL && node->at_ms <= now_ms) {
        struct check *check = container_of(node, struct check, timer);
        heap_remove(&f->timers, node);
        check_go(core, check, true, now_ms);
    }
    if (f->is_looking && f->look_ms <= now_ms)
        fence_look_on(core, now_ms);
}

uint64_t fence_deadline_ms(const struct core *core)
{
    uint64_t timers = heap_deadline_ms(&core->fence.timers);
    if (!core->fence.is_looking)
        return timers;
    return timers < core->fence.look_ms ? timers : core->fence.look_ms;
}
