/* swim_suspect.c - suspicions: how long one runs, whose votes shorten it, what stretches it (guard,
 * brake), and the last check over TCP beside its end (Lifeguard §IV; DESIGN §9). What begins one
 * is a probe's failure or news: swim_probe.c, swim.c. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/base/list.h"
#include "mesh/member/swim_state.h"

#define STRETCHED_STEP_MS 50 /* a stretched one is looked at again so soon at the earliest */
#define CHECKS_PER_S 32      /* of so many suspects */
#define CHECK_FRESH_MS 1000  /* a check asked for so lately need not be repeated */
#define GUARD_MEMORY_MS 5000 /* whom we heard of longer ago says nothing about now */
#define ON_TIME_MS 2000      /* a loop that was late within so long is not on time */
#define SUSPICIONS_FIRST 8

/* log2(n) in 1/1024, rounded down: by squaring, without floats. */
static uint32_t log2_1024(uint32_t n)
{
    uint32_t bits = 0;
    assert(n > 0);
    while (n >> bits > 1)
        bits++;
    uint64_t x = ((uint64_t)n << 31) >> bits; /* 1 .. 2, 31 bits behind the point */
    uint32_t result = bits;
    for (int n_bit = 0; n_bit < 10; n_bit++) {
        x = (x * x) >> 31;
        result = result << 1 | (uint32_t)(x >> 32);
        if (x >> 32 != 0)
            x >>= 1;
    }
    return result;
}

/* ---- the table: sorted by slot of the view -------------------------------------------------- */

static size_t place_of(const struct suspects *suspects, uint32_t slot)
{
    size_t low = 0, high = suspects->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (suspects->sorted[middle]->handle.slot < slot)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The suspicion of whoever has or had this slot; NULL: none. */
static struct suspicion *find_slot(const struct suspects *suspects, uint32_t slot)
{
    if (suspects->count == 0)
        return NULL;
    size_t at = place_of(suspects, slot);
    return at < suspects->count && suspects->sorted[at]->handle.slot == slot ? suspects->sorted[at]
                                                                             : NULL;
}

static struct suspicion *find_suspicion(struct swim *swim, const struct mesh_member *member)
{
    if (member == NULL || swim->suspects.count == 0)
        return NULL;
    struct handle handle = view_handle(swim->view, member);
    struct suspicion *s = find_slot(&swim->suspects, handle.slot);
    return s != NULL && handle_equal(s->handle, handle) ? s : NULL;
}

static bool make_room(struct suspects *suspects)
{
    if (suspects->count < suspects->room)
        return true;
    size_t room = suspects->room == 0 ? SUSPICIONS_FIRST : 2 * suspects->room;
    struct suspicion **sorted = reallocarray(suspects->sorted, room, sizeof(struct suspicion *));
    if (sorted == NULL)
        return false;
    suspects->sorted = sorted;
    suspects->room = room;
    return true;
}

/* NULL: no memory. Then it is suspected without a clock until somebody accuses it again. */
static struct suspicion *take_slot(struct suspects *suspects, uint32_t slot)
{
    struct suspicion *s = find_slot(suspects, slot);
    if (s != NULL) {
        heap_remove(&suspects->timers, &s->timer);
        memset(s, 0, sizeof *s);
        return s;
    }
    s = make_room(suspects) ? calloc(1, sizeof *s) : NULL;
    if (s == NULL)
        return NULL;
    size_t at = place_of(suspects, slot);
    memmove(suspects->sorted + at + 1, suspects->sorted + at,
            (suspects->count - at) * sizeof(struct suspicion *));
    suspects->sorted[at] = s;
    suspects->count++;
    return s;
}

static void end_suspicion(struct swim *swim, struct suspicion *s)
{
    struct suspects *suspects = &swim->suspects;
    size_t at = place_of(suspects, s->handle.slot);
    assert(suspects->sorted[at] == s);
    heap_remove(&suspects->timers, &s->timer);
    suspects->count--;
    memmove(suspects->sorted + at, suspects->sorted + at + 1,
            (suspects->count - at) * sizeof(struct suspicion *));
    free(s);
    if (suspects->count == 0)
        guard_forget_contacts(&swim->guard);
}

void suspicions_deinit(struct swim *swim)
{
    struct suspects *suspects = &swim->suspects;
    heap_deinit(&suspects->timers); /* it writes to its nodes */
    for (size_t n = 0; n < suspects->count; n++)
        free(suspects->sorted[n]);
    free(suspects->sorted);
}

/* ---- how long ------------------------------------------------------------------------------- */

/* Lifeguard, LHA-Suspicion: from max, with the logarithm of the confirmations, to min. */
static uint32_t timeout_ms(const struct swim *swim, const struct suspicion *s)
{
    uint32_t votes = s->accusers_count > 0 ? s->accusers_count - 1 : 0, timeout = s->min_ms;
    if (s->is_refused || s->is_told_dead)
        return s->min_ms;
    if (votes < s->votes_max)
        timeout = s->max_ms - (uint32_t)((uint64_t)(s->max_ms - s->min_ms) * log2_1024(votes + 1) /
                                         log2_1024(s->votes_max + 1));
    /* who saw for itself comes first: else all would check on one, and declare it dead, at once */
    return s->is_seen ? timeout : timeout + swim->preset->hearsay_ms;
}

/* When it ends if nothing stretches it any more. */
static uint64_t end_ms(const struct swim *swim, const struct suspicion *s)
{
    return s->started_ms + timeout_ms(swim, s) + s->lost_ms;
}

static bool is_alone(const struct swim *swim)
{
    return view_others(swim->view) == 1;
}

/* When the next check over TCP is to be asked for. The first one is there in time for the shortest
 * end that this suspicion can come to. */
static uint64_t check_due_ms(const struct swim *swim, const struct suspicion *s)
{
    uint32_t check_ms = swim->preset->check_ms;
    if (check_ms == 0 || s->is_told_dead) /* who told it has looked */
        return MESH_NEVER;
    if (s->checked_ms == 0) {
        uint64_t hearsay_ms = s->is_seen ? 0 : swim->preset->hearsay_ms;
        uint64_t first_ms = s->started_ms + s->min_ms + hearsay_ms + s->lost_ms;
        if (is_alone(swim))
            return s->started_ms;
        return first_ms > s->started_ms + check_ms ? first_ms - check_ms : s->started_ms;
    }
    if (s->is_vetoed) /* it is told so, again and again, until it refutes */
        return s->checked_ms + s->min_ms;
    uint64_t last_ms = end_ms(swim, s) - check_ms;
    return last_ms > s->checked_ms + CHECK_FRESH_MS ? last_ms : MESH_NEVER;
}

/* Whoever saw it fall silent asks it again each second: it may be back, and have nobody else to
 * tell it that it is suspected. */
static uint64_t ping_due_ms(const struct swim *swim, const struct suspicion *s)
{
    return s->is_seen && swim->preset->check_ms != 0 ? s->pinged_ms + SECOND_MS : MESH_NEVER;
}

static bool is_waiting_for_check(const struct swim *swim, const struct suspicion *s,
                                 uint64_t now_ms)
{
    return s->is_checking && now_ms < s->checked_ms + swim->preset->check_ms;
}

static bool is_slow(const struct swim *swim, const struct suspicion *s, uint64_t now_ms)
{
    if (!swim->preset->guards)
        return false;
    uint64_t since_ms = s->started_ms; /* of a long one what was lately counts */
    if (now_ms > since_ms + GUARD_MEMORY_MS)
        since_ms = now_ms - GUARD_MEMORY_MS;
    if (!is_alone(swim))
        return guard_is_isolated(&swim->guard, since_ms, now_ms) ||
               guard_brakes(&swim->guard, swim->suspects.count, view_living(swim->view), now_ms);
    /* nobody else to compare with: is our own loop on time, and was it asked on both ways? An
     * answer would have begun it anew. */
    bool was_late = swim->lagged_ms != 0 && now_ms - swim->lagged_ms < ON_TIME_MS;
    bool is_asked = s->is_seen && (swim->preset->check_ms == 0 || s->checked_ms != 0);
    return was_late || !is_asked;
}

static void schedule(struct swim *swim, struct suspicion *s, uint64_t not_before_ms)
{
    uint64_t at_ms = end_ms(swim, s), check_ms = check_due_ms(swim, s);
    uint64_t ping_ms = ping_due_ms(swim, s);
    if (check_ms < at_ms)
        at_ms = check_ms;
    if (ping_ms < at_ms)
        at_ms = ping_ms;
    if (at_ms < not_before_ms)
        at_ms = not_before_ms;
    (void)heap_set(&swim->suspects.timers, &s->timer, at_ms); /* room was made with the first */
}

/* The time that went by is accounted for as it looks now. */
static bool judge(struct swim *swim, struct suspicion *s, uint64_t now_ms)
{
    bool slow = is_slow(swim, s, now_ms);
    if (now_ms > s->judged_ms) {
        s->lost_ms = guard_stretch(s->lost_ms, now_ms - s->judged_ms, slow);
        s->judged_ms = now_ms;
    }
    return slow && s->lost_ms < GUARD_STRETCH_MAX;
}

/* ---- beginning and votes -------------------------------------------------------------------- */

static uint32_t votes_wanted(const struct swim *swim, size_t living)
{
    const struct swim_preset *preset = swim->preset;
    if (preset->confirmers > 0) /* they are asked: in a small mesh as many as there are */
        return living < 2 + (size_t)preset->confirmers ? (uint32_t)(living > 2 ? living - 2 : 0)
                                                       : preset->confirmers;
    uint32_t votes = preset->alpha > 2 ? preset->alpha - 2 : 0;
    if (preset->beta == 1)
        return 0; /* nothing to shrink: nobody needs to hear of them */
    if (votes >= ACCUSERS_MAX)
        votes = ACCUSERS_MAX - 1;
    return living >= 2 + (size_t)votes ? votes : 0; /* else too few others could confirm */
}

bool suspicion_may_vote(struct swim *swim, struct peer_id accuser, uint64_t now_ms)
{
    if (!swim->preset->limits_accusers || accusers_may_vote(&swim->accusers, accuser, now_ms))
        return true;
    swim->stats.votes_ignored++;
    return false;
}

void suspicion_begin(struct swim *swim, const struct mesh_member *member, struct peer_id accuser,
                     uint64_t now_ms)
{
    const struct swim_preset *preset = swim->preset;
    struct handle handle = view_handle(swim->view, member);
    size_t living = view_living(swim->view);
    struct suspicion *s = take_slot(&swim->suspects, handle.slot);
    if (s == NULL)
        return;
    s->handle = handle;
    s->incarnation = member->incarnation;
    s->started_ms = s->judged_ms = s->pinged_ms = now_ms;
    if (suspicion_may_vote(swim, accuser, now_ms))
        s->accusers[s->accusers_count++] = accuser;
    s->is_seen = peer_id_equal(accuser, view_self(swim->view)->record->id);
    s->min_ms = preset->suspicion_ms * preset->alpha;
    if (!preset->is_flat) {
        /* log10 N = log2 N / 3.3219; 1024 * 3.3219 = 3401.6 */
        uint64_t scale = (uint64_t)log2_1024((uint32_t)living) * 10000 / 3402;
        s->min_ms = (uint32_t)((uint64_t)s->min_ms * (scale > 10000 ? scale : 10000) / 10000);
    }
    s->max_ms = s->min_ms * preset->beta;
    s->votes_max = votes_wanted(swim, living);
    if (heap_set(&swim->suspects.timers, &s->timer, now_ms) < 0) {
        end_suspicion(swim, s);
        return;
    }
    schedule(swim, s, now_ms + 1);
    if (s->is_seen && preset->confirmers > 0)
        s->number = probe_ask_confirmers(swim, member, now_ms);
}

bool suspicion_confirm(struct swim *swim, const struct mesh_member *member, struct peer_id accuser,
                       uint64_t now_ms)
{
    struct suspicion *s = find_suspicion(swim, member);
    bool is_own = peer_id_equal(accuser, view_self(swim->view)->record->id);
    if (s == NULL) {
        suspicion_begin(swim, member, accuser, now_ms); /* for want of memory it had no clock */
        return false;
    }
    if (peer_id_is_nobody(accuser) || !suspicion_may_vote(swim, accuser, now_ms))
        return false;
    (void)judge(swim, s, now_ms);
    bool is_new = s->accusers_count <= s->votes_max;
    for (uint32_t n = 0; n < s->accusers_count; n++)
        if (peer_id_equal(s->accusers[n], accuser))
            is_new = false;
    s->is_seen = s->is_seen || is_own;
    if (is_new)
        s->accusers[s->accusers_count++] = accuser;
    schedule(swim, s, now_ms);
    return is_new;
}

bool suspicion_doubts_death(struct swim *swim, const struct mesh_member *member,
                            const struct wire_update *news, uint64_t now_ms)
{
    struct suspicion *s = find_suspicion(swim, member);
    if (peer_id_equal(news->accuser, view_self(swim->view)->record->id))
        return false; /* our own finding */
    if (!suspicion_may_vote(swim, news->accuser, now_ms))
        return true;
    if (!swim->preset->doubts_deaths)
        return false;
    return s == NULL || news->incarnation > s->incarnation || now_ms < s->started_ms + s->min_ms;
}

void suspicion_told_dead(struct swim *swim, const struct mesh_member *member,
                         struct peer_id accuser, uint64_t now_ms)
{
    struct suspicion *s = find_suspicion(swim, member);
    if (s == NULL || !suspicion_may_vote(swim, accuser, now_ms))
        return;
    (void)judge(swim, s, now_ms);
    s->is_told_dead = true;
    schedule(swim, s, now_ms + 1);
}

/* ---- ends ----------------------------------------------------------------------------------- */

void suspicion_refuted(struct swim *swim, const struct mesh_member *member, uint64_t now_ms)
{
    struct suspicion *s = find_suspicion(swim, member);
    if (s == NULL)
        return;
    for (uint32_t n = 0; n < s->accusers_count && swim->preset->limits_accusers; n++)
        if (!peer_id_equal(s->accusers[n], view_self(swim->view)->record->id))
            (void)accusers_on_refuted(&swim->accusers, s->accusers[n], member->record->id, now_ms);
    end_suspicion(swim, s);
}

void suspicion_over(struct swim *swim, const struct mesh_member *member)
{
    struct suspicion *s = find_suspicion(swim, member);
    if (s != NULL)
        end_suspicion(swim, s);
}

/* It was reached after all: that is no refutation, which only the suspect itself can give, but its
 * suspicion begins anew, without the votes of those who were wrong. */
static void veto(struct swim *swim, struct suspicion *s, uint64_t now_ms)
{
    swim->stats.vetoed++;
    s->started_ms = s->judged_ms = s->checked_ms = now_ms;
    s->lost_ms = 0;
    s->accusers_count = 0;
    s->number = 0;
    s->is_checking = s->is_refused = s->is_told_dead = false;
    s->is_vetoed = true;
    schedule(swim, s, now_ms);
}

void suspicion_on_life(struct swim *swim, const struct mesh_member *member, uint64_t now_ms)
{
    struct suspicion *s = find_suspicion(swim, member);
    if (s != NULL)
        veto(swim, s, now_ms);
}

void suspicion_on_witness(struct swim *swim, struct peer_id witness, uint32_t number,
                          uint64_t now_ms)
{
    for (size_t n = 0; n < swim->suspects.count; n++) {
        struct suspicion *s = swim->suspects.sorted[n];
        const struct mesh_member *member = view_by_handle(swim->view, s->handle);
        if (s->number == 0 || s->number != number || member == NULL ||
            peer_id_equal(member->record->id, witness))
            continue;
        veto(swim, s, now_ms);
        return;
    }
}

/* It is told so, too: perhaps its refutation was lost. */
static void ping(struct swim *swim, struct suspicion *s, const struct mesh_member *member,
                 uint64_t now_ms)
{
    s->pinged_ms = now_ms;
    probe_check(swim, member, now_ms);
}

static void ask_check(struct swim *swim, struct suspicion *s, const struct mesh_member *member,
                      uint64_t now_ms)
{
    s->checked_ms = now_ms != 0 ? now_ms : 1;
    s->is_checking = true;
    check_wish(swim, member);
    ping(swim, s, member, now_ms);
}

/* Where half a large mesh is suspected at once, not all of it is dialled at once. */
static bool may_check(struct swim *swim, uint64_t now_ms)
{
    if (now_ms - swim->checked_since_ms >= SECOND_MS) {
        swim->checked_since_ms = now_ms;
        swim->checked = 0;
    }
    return swim->checked++ < CHECKS_PER_S;
}

static void suspicion_due(struct swim *swim, struct suspicion *s, uint64_t now_ms)
{
    const struct mesh_member *member = view_by_handle(swim->view, s->handle);
    if (member == NULL || member->state != MEMBER_SUSPECT ||
        member->incarnation != s->incarnation) {
        end_suspicion(swim, s); /* overtaken: superseded, gone */
        return;
    }
    if (!is_waiting_for_check(swim, s, now_ms))
        s->is_checking = false;
    bool slow = judge(swim, s, now_ms);
    if (now_ms >= check_due_ms(swim, s)) {
        if (!may_check(swim, now_ms)) {
            /* others, too, look for some of so many; whoever is first tells */
            uint64_t later_ms = now_ms + SECOND_MS / 2 + shuffle_below(&swim->chance, SECOND_MS);
            (void)heap_set(&swim->suspects.timers, &s->timer, later_ms);
            return;
        }
        ask_check(swim, s, member, now_ms);
    }
    if (now_ms >= ping_due_ms(swim, s))
        ping(swim, s, member, now_ms);
    uint64_t again_ms = slow ? now_ms + STRETCHED_STEP_MS : now_ms + 1;
    if (now_ms >= end_ms(swim, s)) {
        if (!is_waiting_for_check(swim, s, now_ms)) {
            end_suspicion(swim, s);
            swim->stats.declared_dead++;
            swim_accuse(swim, member, UPDATE_DEAD, now_ms);
            return;
        }
        again_ms = s->checked_ms + swim->preset->check_ms;
    }
    schedule(swim, s, again_ms);
}

void suspicions_now(struct swim *swim, uint64_t now_ms)
{
    struct heap_node *node;
    while ((node = heap_first(&swim->suspects.timers)) != NULL && node->at_ms <= now_ms)
        suspicion_due(swim, container_of(node, struct suspicion, timer), now_ms);
}

void suspicions_on_lag(struct swim *swim, uint64_t lag_ms)
{
    for (size_t n = 0; n < swim->suspects.count; n++) {
        struct suspicion *s = swim->suspects.sorted[n];
        s->started_ms += lag_ms;
        s->judged_ms += lag_ms;
        s->pinged_ms += lag_ms;
        if (s->checked_ms != 0)
            s->checked_ms += lag_ms;
        s->timer.at_ms += lag_ms; /* of all alike: their order stays */
    }
    guard_on_lag(&swim->guard, lag_ms);
}

/* ---- checks over TCP ------------------------------------------------------------------------ */

void check_wish(struct swim *swim, const struct mesh_member *member)
{
    const struct swim_memberlist *memberlist = swim->preset->memberlist;
    bool is_asked = swim->preset->check_ms != 0 || (memberlist != NULL && memberlist->has_fallback);
    if (!is_asked || member->record->addr.port == 0)
        return;
    for (size_t n = 0; n < swim->checks_count; n++)
        if (peer_id_equal(swim->checks[n].peer, member->record->id))
            return;
    if (swim->checks_count < CHECKS_MAX)
        swim->checks[swim->checks_count++] =
            (struct swim_check){member->record->id, member->record->addr};
}

bool swim_next_check(struct swim *swim, struct swim_check *check)
{
    if (swim->checks_count == 0)
        return false;
    *check = swim->checks[--swim->checks_count];
    return true;
}

void swim_on_reached(struct swim *swim, struct peer_id peer, bool reached, uint64_t now_ms)
{
    const struct mesh_member *member = view_find(swim->view, peer);
    if (member == NULL || swim->phase == SWIM_GONE)
        return;
    swim_note_lag(swim, now_ms);
    struct suspicion *s = find_suspicion(swim, member);
    if (reached) {
        probe_on_reached(swim, member, now_ms);
        if (swim->preset->check_ms != 0)
            suspicion_on_life(swim, member, now_ms);
        if (swim->preset->check_ms != 0 && s != NULL)
            probe_check(swim, member, now_ms); /* it lives, so it may refute */
    } else if (s != NULL && s->is_checking) {
        s->is_checking = false;
        schedule(swim, s, now_ms);
    }
    swim_settle(swim, now_ms);
}

void swim_on_refused(struct swim *swim, struct peer_id peer, uint64_t now_ms)
{
    const struct mesh_member *member = view_find(swim->view, peer);
    swim_on_reached(swim, peer, false, now_ms);
    if (member == NULL || !member_is_living(member) || member == view_self(swim->view) ||
        swim->preset->check_ms == 0 || swim->phase != SWIM_MEMBER)
        return;
    probe_refused(swim, member, now_ms);
    swim_settle(swim, now_ms);
}

bool swim_look_at(struct swim *swim, struct peer_id peer, uint64_t now_ms)
{
    const struct mesh_member *member = view_find(swim->view, peer);
    if (member == NULL || !member_is_living(member) || member == view_self(swim->view) ||
        member->record->addr.port == 0 || swim->phase == SWIM_GONE)
        return false;
    swim_note_lag(swim, now_ms);
    bool is_asked = probe_bare(swim, member, PROBE_LOOK, now_ms);
    swim_settle(swim, now_ms);
    return is_asked;
}

void suspicion_on_refused(struct swim *swim, const struct mesh_member *member, uint64_t now_ms)
{
    struct peer_id id = member->record->id;
    probe_suspect(swim, member, now_ms);
    struct suspicion *s = find_suspicion(swim, view_find(swim->view, id));
    if (s == NULL)
        return;
    (void)judge(swim, s, now_ms);
    s->is_refused = true;
    schedule(swim, s, now_ms);
}
