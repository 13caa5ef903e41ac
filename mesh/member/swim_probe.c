/* swim_probe.c - detection: the probe round, pings for others, suspicions and how they end, and our
 * own health (SWIM §4, Lifeguard §IV). */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/member/swim_state.h"

#define DRAWN_MAX 8
#define SUSPICIONS_FIRST 4
#define ROUND_STEP 64

static const struct peer_id nobody = {0, 0};

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

void probe_blame_us(struct swim *swim, uint32_t more)
{
    swim->awareness += more;
    if (swim->awareness > swim->preset->awareness_max)
        swim->awareness = swim->preset->awareness_max;
}

/* ---- suspicions ----------------------------------------------------------------------------- */

/* At most one per slot of the view. */
static struct suspicion *find_suspicion(struct swim *swim, struct handle handle)
{
    for (size_t n = 0; n < swim->suspicions_count; n++)
        if (swim->suspicions[n].handle.slot == handle.slot)
            return &swim->suspicions[n];
    return NULL;
}

/* Lifeguard, LHA-Suspicion: from max, with the logarithm of the confirmations, to min. */
static void set_suspicion_deadline(struct suspicion *s)
{
    uint32_t confirmations = s->accusers_count - 1, timeout_ms = s->min_ms;
    if (confirmations < s->confirmations_max)
        timeout_ms = s->max_ms -
                     (uint32_t)((uint64_t)(s->max_ms - s->min_ms) * log2_1024(confirmations + 1) /
                                log2_1024(s->confirmations_max + 1));
    s->deadline_ms = s->started_ms + timeout_ms;
}

static bool room_for_suspicion(struct swim *swim)
{
    if (swim->suspicions_count < swim->suspicions_room)
        return true;
    size_t room = swim->suspicions_room == 0 ? SUSPICIONS_FIRST : 2 * swim->suspicions_room;
    struct suspicion *grown = realloc(swim->suspicions, room * sizeof *grown);
    if (grown == NULL)
        return false;
    swim->suspicions = grown;
    swim->suspicions_room = room;
    return true;
}

void suspicion_begin(struct swim *swim, const struct mesh_member *member, struct peer_id accuser,
                     uint64_t now_ms)
{
    const struct swim_preset *preset = swim->preset;
    struct handle handle = view_handle(swim->view, member);
    struct suspicion *s = find_suspicion(swim, handle);
    size_t living = view_living(swim->view);
    if (s == NULL && !room_for_suspicion(swim))
        return; /* who confirms it begins it, and so does its next probe */
    if (s == NULL)
        s = &swim->suspicions[swim->suspicions_count++];
    *s = (struct suspicion){.handle = handle,
                            .incarnation = member->incarnation,
                            .started_ms = now_ms,
                            .accusers_count = 1};
    s->accusers[0] = accuser;
    /* log10 N = log2 N / 3.3219; 1024 * 3.3219 = 3401.6 */
    uint64_t scale = (uint64_t)log2_1024((uint32_t)living) * 10000 / 3402;
    s->min_ms =
        (uint32_t)(preset->suspicion_ms * preset->alpha * (scale > 10000 ? scale : 10000) / 10000);
    s->max_ms = s->min_ms * preset->beta;
    uint32_t confirmations = preset->alpha > 2 ? preset->alpha - 2 : 0;
    if (confirmations >= ACCUSERS_MAX)
        confirmations = ACCUSERS_MAX - 1;
    if (living >= 2 + (size_t)confirmations) /* else too few others could confirm */
        s->confirmations_max = confirmations;
    set_suspicion_deadline(s);
}

bool suspicion_confirm(struct swim *swim, const struct mesh_member *member, struct peer_id accuser,
                       uint64_t now_ms)
{
    struct handle handle = view_handle(swim->view, member);
    struct suspicion *s = find_suspicion(swim, handle);
    if (s == NULL)
        suspicion_begin(swim, member, accuser, now_ms); /* there was no memory for it */
    if (s == NULL || !handle_equal(s->handle, handle) || s->accusers_count > s->confirmations_max ||
        peer_id_is_nobody(accuser))
        return false;
    for (uint32_t n = 0; n < s->accusers_count; n++)
        if (peer_id_equal(s->accusers[n], accuser))
            return false;
    s->accusers[s->accusers_count++] = accuser;
    set_suspicion_deadline(s);
    return true;
}

void probe_suspect(struct swim *swim, const struct mesh_member *member, uint64_t now_ms)
{
    struct wire_update news = {.kind = UPDATE_SUSPECT,
                               .accuser = view_self(swim->view)->record->id};
    news.record.id = member->record->id;
    news.incarnation = member->incarnation;
    if (member->state == MEMBER_ALIVE)
        swim->stats.suspected++;
    swim_take_news(swim, &news, false, now_ms);
}

/* Those that ran out end in a death; those that were refuted, or overtaken, just end. */
void suspicions_now(struct swim *swim, uint64_t now_ms)
{
    for (size_t n = 0; n < swim->suspicions_count;) {
        struct suspicion s = swim->suspicions[n];
        const struct mesh_member *member = view_by_handle(swim->view, s.handle);
        bool holds = member != NULL && member->state == MEMBER_SUSPECT &&
                     member->incarnation == s.incarnation;
        if (holds && now_ms < s.deadline_ms) {
            n++;
            continue;
        }
        swim->suspicions[n] = swim->suspicions[--swim->suspicions_count];
        if (!holds)
            continue;
        struct wire_update news = {.kind = UPDATE_DEAD,
                                   .accuser = view_self(swim->view)->record->id};
        news.record.id = member->record->id;
        news.incarnation = member->incarnation;
        swim->stats.declared_dead++;
        swim_take_news(swim, &news, false, now_ms);
    }
    if (swim->suspicions_count == 0 && swim->suspicions_room > SUSPICIONS_FIRST) {
        free(swim->suspicions); /* they were many once, after a split say */
        swim->suspicions = NULL;
        swim->suspicions_room = 0;
    }
}

/* ---- probing -------------------------------------------------------------------------------- */

static struct turn turn_of(const struct swim *swim, const struct mesh_member *member)
{
    struct handle handle = view_handle(swim->view, member);
    return (struct turn){(uint16_t)handle.slot, (uint16_t)handle.generation};
}

/* For so many at all; false: no memory. */
static bool room_for_round(struct swim *swim, size_t count)
{
    if (count <= swim->round_room)
        return true;
    size_t room = (count / ROUND_STEP + 1) * ROUND_STEP;
    struct turn *round = realloc(swim->round, room * sizeof *round);
    if (round == NULL)
        return false;
    swim->round = round;
    swim->round_room = room;
    return true;
}

/* A newcomer is probed within the round that runs: it takes a random place among the rest. */
void probe_add(struct swim *swim, const struct mesh_member *member)
{
    struct turn turn = turn_of(swim, member);
    if (swim->round_count == view_slots(swim->view) || !room_for_round(swim, swim->round_count + 1))
        return; /* it comes with the next round */
    for (size_t n = 0; n < swim->round_count; n++)
        if (swim->round[n].slot == turn.slot && swim->round[n].use == turn.use)
            return; /* one that comes and goes must not keep the round from its end */
    size_t end = swim->round_count++;
    size_t at = swim->round_at +
                shuffle_below(&swim->chance, (uint32_t)(swim->round_count - swim->round_at));
    swim->round[end] = swim->round[at];
    swim->round[at] = turn;
}

static uint32_t ping_timeout_ms(struct swim *swim, const struct mesh_member *member)
{
    uint32_t timeout_ms = (member->srtt_8 >> 3) + member->rttvar_4; /* SRTT + 4 RTTVAR */
    if (member->acked_at == 0 || timeout_ms > swim->preset->ping_max_ms)
        return swim->preset->ping_max_ms;
    return timeout_ms < swim->preset->ping_min_ms ? swim->preset->ping_min_ms : timeout_ms;
}

static void note_round_trip(struct swim *swim, const struct mesh_member *member, uint64_t rtt_ms,
                            uint64_t now_ms)
{
    struct mesh_member *row = view_notes(swim->view, member);
    int32_t rtt = rtt_ms < 4000 ? (int32_t)rtt_ms : 4000;
    if (row->acked_at == 0) {
        row->srtt_8 = (uint16_t)(rtt * 8);
        row->rttvar_4 = (uint16_t)(rtt * 2);
    } else {
        int32_t error = rtt - (row->srtt_8 >> 3);
        row->srtt_8 = (uint16_t)(row->srtt_8 + error);
        if (error < 0)
            error = -error;
        row->rttvar_4 = (uint16_t)(row->rttvar_4 + error - (row->rttvar_4 >> 2));
    }
    row->acked_at = view_stamp(swim->view, now_ms);
}

static void new_round(struct swim *swim)
{
    size_t count = view_others(swim->view);
    if (!room_for_round(swim, count))
        count = swim->round_room; /* as many as there is memory for: not always the same */
    for (size_t n = 0; n < count; n++) {
        size_t at = shuffle_below(&swim->chance, (uint32_t)n + 1);
        swim->round[n] = swim->round[at];
        swim->round[at] = turn_of(swim, view_other(swim->view, n));
    }
    swim->round_count = count;
    swim->round_at = 0;
}

/* The next of the round that still lives; NULL: there is nobody else. */
static const struct mesh_member *next_target(struct swim *swim)
{
    for (int rounds = 0; rounds < 2; rounds++) {
        while (swim->round_at < swim->round_count) {
            struct turn turn = swim->round[swim->round_at];
            const struct mesh_member *member =
                view_by_handle(swim->view, (struct handle){turn.slot, turn.use});
            swim->round_at++;
            if (member != NULL && member_is_living(member) && member != view_self(swim->view))
                return member;
        }
        new_round(swim);
    }
    return NULL;
}

static void begin_probe(struct swim *swim, uint64_t now_ms)
{
    const struct mesh_member *target = next_target(swim);
    struct probe *probe = &swim->probe;
    swim->probe_at_ms = now_ms + swim->preset->period_ms;
    if (target == NULL)
        return;
    if (mesh_addr_equal(&target->record->addr, &view_self(swim->view)->record->addr)) {
        probe_suspect(swim, target, now_ms); /* it can not be where we are */
        return;
    }
    *probe = (struct probe){
        .is_open = true,
        .target = target->record->id,
        .addr = target->record->addr,
        .number = ++swim->number,
        .started_ms = now_ms,
        .relay_at_ms = now_ms + ping_timeout_ms(swim, target),
        .ends_ms = now_ms + (uint64_t)swim->preset->period_ms * (1 + swim->awareness),
    };
    /* a suspect is told so by whoever pings it: it refutes the sooner (Lifeguard, buddy system) */
    swim_push_to(swim, target, DATAGRAM_PING, probe->number,
                 target->state == MEMBER_SUSPECT ? target->record->id : nobody);
}

static void ask_relays(struct swim *swim)
{
    const struct mesh_member *drawn[DRAWN_MAX];
    struct probe *probe = &swim->probe;
    const struct mesh_member *target = view_find(swim->view, probe->target);
    size_t relays = swim->preset->relays;
    assert(relays < DRAWN_MAX);
    probe->is_relayed = true;
    if (target == NULL)
        return;
    size_t count = swim_draw(swim, target->record->id, drawn, relays + 1);
    for (size_t n = 0; n < count && n < relays; n++) {
        struct swim_send send = swim_send_to(drawn[n], DATAGRAM_PING_REQ, probe->number, nobody);
        send.subject = target->record->id;
        send.subject_addr = target->record->addr;
        swim_push(swim, &send);
        probe->nacks_expected++;
    }
}

static void end_probe(struct swim *swim, uint64_t now_ms)
{
    struct probe *probe = &swim->probe;
    const struct mesh_member *target = view_find(swim->view, probe->target);
    probe->is_open = false;
    if (probe->is_acked)
        return;
    /* Who was asked and does not even say "no answer yet" is hard to hear: so it may be us. */
    probe_blame_us(swim, probe->nacks_expected > 0 ? probe->nacks_expected - probe->nacks : 1);
    if (target != NULL && member_is_living(target))
        probe_suspect(swim, target, now_ms);
}

void probe_now(struct swim *swim, uint64_t now_ms)
{
    struct probe *probe = &swim->probe;
    if (probe->is_open && !probe->is_acked && !probe->is_relayed && now_ms >= probe->relay_at_ms)
        ask_relays(swim);
    if (probe->is_open && !probe->is_acked && now_ms >= probe->ends_ms) {
        end_probe(swim, now_ms);
        swim->probe_at_ms = now_ms;
    }
    if (now_ms >= swim->probe_at_ms && (!probe->is_open || probe->is_acked))
        begin_probe(swim, now_ms);
}

/* ---- pings for others ----------------------------------------------------------------------- */

void relay_on_ping_req(struct swim *swim, const struct mesh_member *asker,
                       const struct wire_datagram *d, uint64_t now_ms)
{
    const struct mesh_member *subject = view_find(swim->view, d->subject);
    if (subject == NULL || subject->record->addr.port == 0 ||
        mesh_addr_equal(&subject->record->addr, &view_self(swim->view)->record->addr)) {
        struct swim_send send = swim_send_to(asker, DATAGRAM_NACK, d->number, nobody);
        send.subject = d->subject;
        swim_push(swim, &send);
        return;
    }
    for (size_t n = 0; n < RELAYS_MAX; n++) {
        struct relay *relay = &swim->relays[n];
        if (relay->is_open)
            continue;
        *relay = (struct relay){
            .is_open = true,
            .asker = asker->record->id,
            .asker_number = d->number,
            .subject = subject->record->id,
            .number = ++swim->number,
            .started_ms = now_ms,
            .nack_at_ms = now_ms + ping_timeout_ms(swim, subject) * 4 / 5,
            .ends_ms = now_ms + swim->preset->period_ms,
        };
        swim_push_to(swim, subject, DATAGRAM_PING, relay->number,
                     subject->state == MEMBER_SUSPECT ? subject->record->id : nobody);
        return;
    }
}

void relays_now(struct swim *swim, uint64_t now_ms)
{
    for (size_t n = 0; n < RELAYS_MAX; n++) {
        struct relay *relay = &swim->relays[n];
        if (!relay->is_open)
            continue;
        const struct mesh_member *asker = view_find(swim->view, relay->asker);
        if (!relay->is_nacked && now_ms >= relay->nack_at_ms && asker != NULL) {
            struct swim_send send = swim_send_to(asker, DATAGRAM_NACK, relay->asker_number, nobody);
            send.subject = relay->subject;
            swim_push(swim, &send);
            relay->is_nacked = true;
        }
        if (now_ms >= relay->ends_ms || asker == NULL)
            relay->is_open = false;
    }
}

static bool relay_on_ack(struct swim *swim, const struct mesh_member *sender, uint32_t number,
                         uint64_t now_ms)
{
    for (size_t n = 0; n < RELAYS_MAX; n++) {
        struct relay *relay = &swim->relays[n];
        if (!relay->is_open || relay->number != number ||
            !peer_id_equal(relay->subject, sender->record->id))
            continue;
        const struct mesh_member *asker = view_find(swim->view, relay->asker);
        if (asker != NULL)
            swim_push_to(swim, asker, DATAGRAM_ACK, relay->asker_number, nobody);
        note_round_trip(swim, sender, now_ms - relay->started_ms, now_ms);
        relay->is_open = false;
        return true;
    }
    return false;
}

/* ---- answers -------------------------------------------------------------------------------- */

void probe_on_ack(struct swim *swim, const struct mesh_member *sender, uint32_t number,
                  uint64_t now_ms)
{
    struct probe *probe = &swim->probe;
    if (relay_on_ack(swim, sender, number, now_ms) ||
        leave_on_ack(swim, number, sender->record->id))
        return;
    if (!probe->is_open || probe->is_acked || probe->number != number)
        return;
    bool is_direct = peer_id_equal(probe->target, sender->record->id);
    if (!is_direct && !probe->is_relayed)
        return;
    if (is_direct)
        note_round_trip(swim, sender, now_ms - probe->started_ms, now_ms);
    probe->is_acked = true;
    if (swim->awareness > 0)
        swim->awareness--;
}

/* ---- deadlines ------------------------------------------------------------------------------ */

void probe_push_deadlines(struct swim *swim, uint64_t lag_ms)
{
    swim->probe_at_ms += lag_ms;
    swim->probe.started_ms += lag_ms;
    swim->probe.relay_at_ms += lag_ms;
    swim->probe.ends_ms += lag_ms;
    for (size_t n = 0; n < RELAYS_MAX; n++) {
        swim->relays[n].started_ms += lag_ms;
        swim->relays[n].nack_at_ms += lag_ms;
        swim->relays[n].ends_ms += lag_ms;
    }
    for (size_t n = 0; n < swim->suspicions_count; n++) {
        swim->suspicions[n].started_ms += lag_ms;
        swim->suspicions[n].deadline_ms += lag_ms;
    }
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t probe_deadline_ms(const struct swim *swim)
{
    const struct probe *probe = &swim->probe;
    bool is_pending = probe->is_open && !probe->is_acked;
    uint64_t due_ms = is_pending ? probe->ends_ms : swim->probe_at_ms;
    if (is_pending && !probe->is_relayed)
        due_ms = least(due_ms, probe->relay_at_ms);
    for (size_t n = 0; n < swim->suspicions_count; n++)
        due_ms = least(due_ms, swim->suspicions[n].deadline_ms);
    return due_ms;
}

uint64_t relays_deadline_ms(const struct swim *swim)
{
    uint64_t due_ms = MESH_NEVER;
    for (size_t n = 0; n < RELAYS_MAX; n++) {
        const struct relay *relay = &swim->relays[n];
        if (relay->is_open)
            due_ms = least(due_ms, relay->is_nacked ? relay->ends_ms : relay->nack_at_ms);
    }
    return due_ms;
}
