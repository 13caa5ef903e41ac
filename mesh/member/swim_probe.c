/* swim_probe.c - probes: of members by chance, of the one that we are the fixed monitor of, and of
 * whom others ask us about; pings for others, and our own health (SWIM §4, Lifeguard §IV). What a
 * failed one begins is swim_suspect.c's business. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/member/swim_state.h"

#define DRAWN_MAX 8
#define ROUND_SPARE 8        /* for newcomers, besides a quarter */
#define ROUND_NUMBER_MAX 15u /* of four bits */
#define RELAY_MS 1000        /* a ping for somebody else is given up */
#define REFUSED_PING_MS 200  /* who refuses a dial has so long to answer a ping */

static const struct peer_id nobody = {0, 0};

void probe_blame_us(struct swim *swim, uint32_t more)
{
    swim->awareness += more;
    if (swim->awareness > swim->preset->awareness_max)
        swim->awareness = swim->preset->awareness_max;
}

/* ---- the controls' ways --------------------------------------------------------------------- */

static bool has_nacks(const struct swim *swim)
{
    return swim->preset->memberlist == NULL || swim->preset->memberlist->has_nacks;
}

/* Who is to be told to a suspect that is pinged, directly or for another: itself, so that it
 * refutes the sooner (Lifeguard, buddy system). */
static struct peer_id buddy_of(const struct swim *swim, const struct mesh_member *target,
                               bool is_direct)
{
    const struct swim_memberlist *memberlist = swim->preset->memberlist;
    bool tells = memberlist == NULL || (memberlist->has_buddies && is_direct);
    return tells && target->state == MEMBER_SUSPECT ? target->record->id : nobody;
}

void probe_suspect(struct swim *swim, const struct mesh_member *member, uint64_t now_ms)
{
    if (member->state == MEMBER_ALIVE)
        swim->stats.suspected++;
    swim_accuse(swim, member, UPDATE_SUSPECT, now_ms);
}

/* The guard looks at them while anybody is suspected. */
static void note_contact(struct swim *swim, const struct mesh_member *member, uint64_t now_ms)
{
    if (swim->suspects.count > 0)
        guard_on_contacted(&swim->guard, view_handle(swim->view, member), now_ms);
}

/* ---- probing -------------------------------------------------------------------------------- */

static void put_in_round(struct swim *swim, size_t at, struct handle handle)
{
    swim->round[at] = (struct in_round){(uint16_t)handle.slot, (uint16_t)handle.generation};
}

/* A newcomer is probed within the round that runs: it takes a random place among the rest. */
void probe_add(struct swim *swim, const struct mesh_member *member)
{
    struct handle handle = view_handle(swim->view, member);
    if (swim->round_count == swim->round_room ||
        member->round == (swim->round_number & ROUND_NUMBER_MAX))
        return; /* one that comes and goes must not keep the round from its end */
    view_notes(swim->view, member)->round = swim->round_number & ROUND_NUMBER_MAX;
    size_t end = swim->round_count++;
    size_t at = swim->round_at +
                shuffle_below(&swim->chance, (uint32_t)(swim->round_count - swim->round_at));
    swim->round[end] = swim->round[at];
    put_in_round(swim, at, handle);
}

uint32_t probe_timeout_ms(const struct swim *swim, const struct mesh_member *member)
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
    if (count > swim->round_room) {
        size_t room = count + count / 4 + ROUND_SPARE;
        struct in_round *round = reallocarray(swim->round, room, sizeof *round);
        if (round != NULL) {
            swim->round = round;
            swim->round_room = room;
        }
    }
    swim->round_number = swim->round_number % ROUND_NUMBER_MAX + 1;
    swim->round_count = swim->round_at = 0;
    for (size_t n = 0; n < count && n < swim->round_room; n++) {
        const struct mesh_member *member = view_other(swim->view, n);
        size_t at = shuffle_below(&swim->chance, (uint32_t)n + 1);
        view_notes(swim->view, member)->round = swim->round_number & ROUND_NUMBER_MAX;
        swim->round[n] = swim->round[at];
        put_in_round(swim, at, view_handle(swim->view, member));
        swim->round_count++;
    }
}

/* The next of the round that still lives; NULL: there is nobody else. */
static const struct mesh_member *next_target(struct swim *swim)
{
    for (int rounds = 0; rounds < 2; rounds++) {
        while (swim->round_at < swim->round_count) {
            struct in_round next = swim->round[swim->round_at];
            struct handle handle = {next.slot, next.use};
            const struct mesh_member *member = view_by_handle(swim->view, handle);
            swim->round_at++;
            if (member != NULL && member_is_living(member) && member != view_self(swim->view))
                return member;
        }
        new_round(swim);
    }
    return NULL;
}

/* When a probe that was handed to others as well is given up. */
static uint64_t give_up_ms(const struct swim *swim, uint64_t relay_at_ms, uint64_t now_ms)
{
    uint64_t patience = 1 + swim->awareness;
    if (swim->preset->indirect_ms != 0)
        return relay_at_ms + swim->preset->indirect_ms * patience;
    return now_ms + swim->preset->period_ms * patience;
}

/* Whatever comes of it, nobody is accused. */
static bool only_asks(enum probe_why why)
{
    return why == PROBE_LOOK || why == PROBE_EDGE || why == PROBE_OTHER;
}

/* A ping without relays. */
static bool is_bare(enum probe_why why)
{
    return why == PROBE_REFUSED || only_asks(why);
}

/* NULL: it can not be where we are, or there are too many. */
static struct probe *begin_probe(struct swim *swim, const struct mesh_member *target,
                                 enum probe_why why, uint64_t now_ms)
{
    if (mesh_addr_equal(&target->record->addr, &view_self(swim->view)->record->addr)) {
        if (!only_asks(why))
            probe_suspect(swim, target, now_ms);
        return NULL;
    }
    bool is_own = why == PROBE_RANDOM || why == PROBE_WATCH;
    if (swim->probes_count >= (is_own ? PROBES_MAX : PROBES_OTHERS))
        return NULL;
    struct probe *probe = &swim->probes[swim->probes_count++];
    *probe = (struct probe){
        .why = why,
        .target = target->record->id,
        .addr = target->record->addr,
        .number = swim_number(swim),
        .started_ms = now_ms,
        .relay_at_ms = now_ms + probe_timeout_ms(swim, target),
    };
    probe->ends_ms = give_up_ms(swim, probe->relay_at_ms, now_ms);
    if (is_bare(why)) { /* that it answers is all that counts */
        bool is_late = why == PROBE_EDGE || why == PROBE_OTHER; /* slow is not lost */
        probe->is_relayed = true;
        probe->ends_ms = now_ms + (is_late ? swim->preset->ping_max_ms : REFUSED_PING_MS);
    }
    swim_push_to(swim, target, DATAGRAM_PING, probe->number, buddy_of(swim, target, true));
    note_contact(swim, target, now_ms);
    swim->probe_waits = swim->is_stalled;
    return probe;
}

static struct probe *find_probe(struct swim *swim, enum probe_why why)
{
    for (size_t n = 0; n < swim->probes_count; n++)
        if (swim->probes[n].why == why)
            return &swim->probes[n];
    return NULL;
}

static void drop_probe(struct swim *swim, struct probe *probe)
{
    *probe = swim->probes[--swim->probes_count];
}

static void ask_relays(struct swim *swim, struct probe *probe, uint64_t now_ms)
{
    const struct mesh_member *drawn[DRAWN_MAX];
    const struct mesh_member *target = view_find(swim->view, probe->target);
    size_t relays = swim->preset->relays;
    assert(relays < DRAWN_MAX);
    probe->is_relayed = true;
    if (target == NULL)
        return;
    weak_look(swim, target, now_ms);
    size_t count = swim_draw(swim, target->record->id, drawn, relays + 1);
    for (size_t n = 0; n < count && n < relays; n++) {
        struct swim_send send = swim_send_to(drawn[n], DATAGRAM_PING_REQ, probe->number, nobody);
        send.subject = target->record->id;
        send.subject_addr = target->record->addr;
        swim_push(swim, &send);
        note_contact(swim, drawn[n], now_ms);
        if (has_nacks(swim))
            probe->nacks_expected++;
    }
    check_wish(swim, target); /* UDP may be blocked where TCP is not */
    swim->probe_waits = swim->is_stalled;
}

/* Who asked us to look for itself is told what we found. */
static void tell_asker(struct swim *swim, const struct probe *probe, bool is_alive)
{
    const struct mesh_member *asker = view_find(swim->view, probe->asker);
    if (asker == NULL || !member_is_living(asker))
        return;
    if (is_alive)
        swim_push_to(swim, asker, DATAGRAM_ACK, probe->asker_number, nobody);
    else
        swim_push_to(swim, asker, DATAGRAM_GOSSIP, 0, probe->target);
}

static void fail_probe(struct swim *swim, struct probe failed, uint64_t now_ms)
{
    const struct mesh_member *target = view_find(swim->view, failed.target);
    if (only_asks(failed.why)) {
        weak_on_ping(swim, &failed, false, now_ms);
        return;
    }
    if (failed.why == PROBE_REFUSED) {
        if (target != NULL && member_is_living(target))
            suspicion_on_refused(swim, target, now_ms);
        return;
    }
    /* Who was asked and does not even say "no answer yet" is hard to hear: so it may be us. */
    probe_blame_us(swim, failed.nacks_expected > 0 ? failed.nacks_expected - failed.nacks : 1);
    if (target != NULL && member_is_living(target))
        probe_suspect(swim, target, now_ms);
    if (failed.why == PROBE_RANDOM)
        swim->probe_at_ms = now_ms;
    tell_asker(swim, &failed, false);
}

/* The one whom we are the fixed monitor of. */
static void watch_now(struct swim *swim, uint64_t now_ms)
{
    uint32_t monitor_ms = swim->preset->monitor_ms;
    if (monitor_ms == 0 || now_ms < swim->watch_at_ms || find_probe(swim, PROBE_WATCH) != NULL)
        return;
    /* in steps of its own: the phase stays what it was drawn as */
    swim->watch_at_ms += ((now_ms - swim->watch_at_ms) / monitor_ms + 1) * monitor_ms;
    const struct mesh_member *target = monitor_watched(swim->view);
    if (target != NULL)
        (void)begin_probe(swim, target, PROBE_WATCH, now_ms);
}

static void round_now(struct swim *swim, uint64_t now_ms)
{
    if (now_ms < swim->probe_at_ms || find_probe(swim, PROBE_RANDOM) != NULL)
        return;
    swim->probe_at_ms = now_ms + swim->preset->period_ms;
    const struct mesh_member *target = next_target(swim);
    if (target != NULL)
        (void)begin_probe(swim, target, PROBE_RANDOM, now_ms);
}

void probe_now(struct swim *swim, uint64_t now_ms)
{
    if (swim->probe_waits)
        return;
    for (size_t n = 0; n < swim->probes_count;) {
        struct probe *probe = &swim->probes[n];
        if (!probe->is_relayed && now_ms >= probe->relay_at_ms)
            ask_relays(swim, probe, now_ms);
        if (swim->probe_waits)
            return;
        if (now_ms < probe->ends_ms) {
            n++;
            continue;
        }
        struct probe failed = *probe;
        drop_probe(swim, probe);
        fail_probe(swim, failed, now_ms);
    }
    watch_now(swim, now_ms);
    round_now(swim, now_ms);
}

/* ---- probes for confirmation ---------------------------------------------------------------- */

uint32_t probe_ask_confirmers(struct swim *swim, const struct mesh_member *subject, uint64_t now_ms)
{
    const struct mesh_member *confirmers[DRAWN_MAX];
    assert(swim->preset->confirmers < DRAWN_MAX);
    size_t count =
        monitor_before(swim->view, subject->record->id, confirmers, swim->preset->confirmers);
    uint32_t number = swim_number(swim);
    for (size_t n = 0; n < count; n++) {
        struct swim_send send =
            swim_send_to(confirmers[n], DATAGRAM_CONFIRM, number, subject->record->id);
        send.subject = subject->record->id;
        swim_push(swim, &send);
        note_contact(swim, confirmers[n], now_ms);
    }
    return number;
}

/* One under way of this member, for that reason or, if it is PROBE_CONFIRM, for any that would
 * accuse it as well; NULL: none. */
static struct probe *find_probe_of(struct swim *swim, const struct mesh_member *member,
                                   enum probe_why why)
{
    for (size_t n = 0; n < swim->probes_count; n++) {
        struct probe *probe = &swim->probes[n];
        if (peer_id_equal(probe->target, member->record->id) &&
            (probe->why == why || (why == PROBE_CONFIRM && !is_bare(probe->why))))
            return probe;
    }
    return NULL;
}

/* Likewise, begun if there is none; NULL: none can be. */
static struct probe *probe_of(struct swim *swim, const struct mesh_member *member,
                              enum probe_why why, uint64_t now_ms)
{
    struct probe *probe = find_probe_of(swim, member, why);
    return probe != NULL ? probe : begin_probe(swim, member, why, now_ms);
}

void probe_on_confirm(struct swim *swim, const struct mesh_member *asker,
                      const struct wire_datagram *d, uint64_t now_ms)
{
    const struct mesh_member *subject = view_find(swim->view, d->subject);
    struct probe *probe;
    if (subject == NULL || !member_is_living(subject) || subject == view_self(swim->view) ||
        subject->record->addr.port == 0)
        return;
    probe = find_probe_of(swim, subject, PROBE_CONFIRM);
    if (probe == NULL)
        probe = begin_probe(swim, subject, PROBE_CONFIRM, now_ms);
    if (probe == NULL || !peer_id_is_nobody(probe->asker))
        return; /* whoever asked first spreads what we find */
    probe->asker = asker->record->id;
    probe->asker_number = d->number;
}

void probe_check(struct swim *swim, const struct mesh_member *suspect, uint64_t now_ms)
{
    struct probe *probe = probe_of(swim, suspect, PROBE_CONFIRM, now_ms);
    if (probe != NULL)
        probe->is_check = true;
}

void probe_look(struct swim *swim, const struct mesh_member *member, uint64_t now_ms)
{
    (void)probe_of(swim, member, PROBE_CONFIRM, now_ms);
}

void probe_refused(struct swim *swim, const struct mesh_member *member, uint64_t now_ms)
{
    (void)probe_bare(swim, member, PROBE_REFUSED, now_ms);
}

bool probe_bare(struct swim *swim, const struct mesh_member *member, enum probe_why why,
                uint64_t now_ms)
{
    return probe_of(swim, member, why, now_ms) != NULL;
}

/* ---- pings for others ----------------------------------------------------------------------- */

void relay_on_ping_req(struct swim *swim, const struct mesh_member *asker,
                       const struct wire_datagram *d, uint64_t now_ms)
{
    const struct mesh_member *subject = view_find(swim->view, d->subject);
    if (subject == NULL || subject->record->addr.port == 0 || swim->relays_count == RELAYS_MAX ||
        mesh_addr_equal(&subject->record->addr, &view_self(swim->view)->record->addr)) {
        struct swim_send send = swim_send_to(asker, DATAGRAM_NACK, d->number, nobody);
        send.subject = d->subject;
        if (has_nacks(swim))
            swim_push(swim, &send);
        return;
    }
    struct relay *relay = &swim->relays[swim->relays_count++];
    *relay = (struct relay){
        .asker = asker->record->id,
        .asker_number = d->number,
        .subject = subject->record->id,
        .number = swim_number(swim),
        .started_ms = now_ms,
        .nack_at_ms = now_ms + probe_timeout_ms(swim, subject) * 4 / 5,
        .ends_ms = now_ms + RELAY_MS,
        .is_nacked = !has_nacks(swim),
    };
    swim_push_to(swim, subject, DATAGRAM_PING, relay->number, buddy_of(swim, subject, false));
    note_contact(swim, subject, now_ms);
}

void relays_now(struct swim *swim, uint64_t now_ms)
{
    for (size_t n = 0; n < swim->relays_count;) {
        struct relay *relay = &swim->relays[n];
        const struct mesh_member *asker = view_find(swim->view, relay->asker);
        if (!relay->is_nacked && now_ms >= relay->nack_at_ms && asker != NULL) {
            struct swim_send send = swim_send_to(asker, DATAGRAM_NACK, relay->asker_number, nobody);
            send.subject = relay->subject;
            swim_push(swim, &send);
            relay->is_nacked = true;
        }
        if (now_ms >= relay->ends_ms || asker == NULL)
            *relay = swim->relays[--swim->relays_count];
        else
            n++;
    }
}

static bool relay_on_ack(struct swim *swim, const struct mesh_member *sender, uint32_t number,
                         uint64_t now_ms)
{
    for (size_t n = 0; n < swim->relays_count; n++) {
        struct relay *relay = &swim->relays[n];
        if (relay->number != number || !peer_id_equal(relay->subject, sender->record->id))
            continue;
        const struct mesh_member *asker = view_find(swim->view, relay->asker);
        if (asker != NULL)
            swim_push_to(swim, asker, DATAGRAM_ACK, relay->asker_number, nobody);
        note_round_trip(swim, sender, now_ms - relay->started_ms, now_ms);
        *relay = swim->relays[--swim->relays_count];
        return true;
    }
    return false;
}

/* ---- answers -------------------------------------------------------------------------------- */

/* It lives: so much the better for our own health, and for who asked. */
static void succeed(struct swim *swim, struct probe *probe, uint64_t now_ms)
{
    struct probe done = *probe;
    tell_asker(swim, &done, true);
    drop_probe(swim, probe);
    if (only_asks(done.why)) {
        weak_on_ping(swim, &done, true, now_ms);
        return;
    }
    if (swim->awareness > 0)
        swim->awareness--;
    if (done.is_check)
        suspicion_on_life(swim, view_find(swim->view, done.target), now_ms);
}

void probe_on_ack(struct swim *swim, const struct mesh_member *sender, uint32_t number,
                  uint64_t now_ms)
{
    if (relay_on_ack(swim, sender, number, now_ms) ||
        leave_on_ack(swim, number, sender->record->id))
        return;
    for (size_t n = 0; n < swim->probes_count; n++) {
        struct probe *probe = &swim->probes[n];
        if (probe->number != number)
            continue;
        bool is_direct = peer_id_equal(probe->target, sender->record->id);
        if (is_direct)
            note_round_trip(swim, sender, now_ms - probe->started_ms, now_ms);
        if (is_direct || (probe->is_relayed && !is_bare(probe->why)))
            succeed(swim, probe, now_ms);
        return;
    }
    suspicion_on_witness(swim, sender->record->id, number, now_ms);
}

void probe_on_nack(struct swim *swim, uint32_t number)
{
    for (size_t n = 0; n < swim->probes_count; n++) {
        struct probe *probe = &swim->probes[n];
        if (probe->number == number && probe->nacks < probe->nacks_expected)
            probe->nacks++;
    }
}

void probe_on_reached(struct swim *swim, const struct mesh_member *member, uint64_t now_ms)
{
    for (size_t n = 0; n < swim->probes_count;) {
        struct probe *probe = &swim->probes[n];
        /* before others were asked nothing was in doubt: the answer to the ping may still come */
        bool is_edge = probe->why == PROBE_EDGE || probe->why == PROBE_OTHER;
        if (peer_id_equal(probe->target, member->record->id) && probe->is_relayed && !is_edge)
            succeed(swim, probe, now_ms);
        else
            n++;
    }
}

/* Somebody else is where we looked for a member. That proves no death: an address may be shared,
 * translated or out of date. Another process of its own name, in its place, is as much as a port
 * that refuses. */
bool probe_on_not_me(struct swim *swim, const struct mesh_addr *from, struct peer_id sender,
                     uint32_t number, uint64_t now_ms)
{
    for (size_t n = 0; n < swim->probes_count; n++) {
        struct probe probe = swim->probes[n];
        if (probe.number != number || !mesh_addr_equal(from, &probe.addr) ||
            peer_id_equal(sender, probe.target))
            continue;
        drop_probe(swim, &swim->probes[n]);
        const struct mesh_member *target = view_find(swim->view, probe.target);
        if (target != NULL && member_is_living(target) && sender.name == probe.target.name)
            suspicion_on_refused(swim, target, now_ms);
        else if (target != NULL && member_is_living(target))
            probe_suspect(swim, target, now_ms);
        return true;
    }
    return false;
}

/* ---- deadlines ------------------------------------------------------------------------------ */

void probe_push_deadlines(struct swim *swim, uint64_t lag_ms)
{
    swim->probe_at_ms += lag_ms;
    swim->watch_at_ms += lag_ms;
    for (size_t n = 0; n < swim->probes_count; n++) {
        swim->probes[n].started_ms += lag_ms;
        swim->probes[n].relay_at_ms += lag_ms;
        swim->probes[n].ends_ms += lag_ms;
    }
    for (size_t n = 0; n < swim->relays_count; n++) {
        swim->relays[n].started_ms += lag_ms;
        swim->relays[n].nack_at_ms += lag_ms;
        swim->relays[n].ends_ms += lag_ms;
    }
    hearsay_on_lag(swim, lag_ms);
    suspicions_on_lag(swim, lag_ms);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t probe_deadline_ms(const struct swim *swim)
{
    uint64_t due_ms = heap_deadline_ms(&swim->suspects.timers);
    bool is_watching = swim->preset->monitor_ms == 0, is_probing = false;
    for (size_t n = 0; n < swim->probes_count; n++) {
        const struct probe *probe = &swim->probes[n];
        due_ms = least(due_ms, probe->is_relayed ? probe->ends_ms
                                                 : least(probe->relay_at_ms, probe->ends_ms));
        is_watching = is_watching || probe->why == PROBE_WATCH;
        is_probing = is_probing || probe->why == PROBE_RANDOM;
    }
    if (swim->probe_waits) /* in its send */
        return heap_deadline_ms(&swim->suspects.timers);
    if (!is_probing)
        due_ms = least(due_ms, swim->probe_at_ms);
    return is_watching ? due_ms : least(due_ms, swim->watch_at_ms);
}

uint64_t relays_deadline_ms(const struct swim *swim)
{
    uint64_t due_ms = MESH_NEVER;
    for (size_t n = 0; n < swim->relays_count; n++) {
        const struct relay *relay = &swim->relays[n];
        due_ms = least(due_ms, relay->is_nacked ? relay->ends_ms : relay->nack_at_ms);
    }
    return due_ms;
}
