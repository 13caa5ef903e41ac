/* swim.c - detection: the probe round, pings for others, suspicions and how they end, our own
 * health, and what datagrams say. Ways in and out stand in swim_join.c, views over links in
 * swim_views.c. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/member/swim_state.h"

#define SENDS_FIRST 16
#define DRAWN_MAX 8

const struct swim_preset swim_preset_product = {
    .period_ms = 1000,
    .ping_min_ms = 50,
    .ping_max_ms = 500,
    .relays = 3,
    .suspicion_ms = 500, /* 2 s at up to 10 members */
    .alpha = 4,
    .beta = 3,
    .awareness_max = 8,
    .gossip_ms = 200,
    .gossip_peers = 3,
};

const struct swim_preset swim_preset_memberlist_lan = {
    .period_ms = 1000,
    .ping_min_ms = 500,
    .ping_max_ms = 500,
    .relays = 3,
    .suspicion_ms = 1000,
    .alpha = 4,
    .beta = 6,
    .awareness_max = 8,
    .gossip_ms = 200,
    .gossip_peers = 3,
};

static const struct peer_id nobody = {0, 0};

/* ---- small things ------------------------------------------------------------------------- */

struct swim_row *swim_row_of(struct swim *swim, const struct mesh_member *member)
{
    struct handle handle = view_handle(swim->view, member);
    struct swim_row *row = &swim->rows[handle.slot];
    if (row->use != handle.generation)
        *row = (struct swim_row){.use = handle.generation};
    return row;
}

void swim_push_event(struct swim *swim, enum swim_event_kind kind, struct peer_id peer)
{
    if (swim->events_count < EVENTS_MAX)
        swim->events[swim->events_count++] = (struct swim_event){kind, peer};
}

bool swim_next_event(struct swim *swim, struct swim_event *event)
{
    if (swim->events_count == 0)
        return false;
    *event = swim->events[0];
    swim->events_count--;
    memmove(swim->events, swim->events + 1, swim->events_count * sizeof swim->events[0]);
    return true;
}

static bool sends_grow(struct swim *swim)
{
    size_t room = swim->sends_room == 0 ? SENDS_FIRST : 2 * swim->sends_room;
    if (swim->sends_room == SWIM_SENDS_MAX)
        return false;
    struct swim_send *sends = calloc(room, sizeof *sends);
    if (sends == NULL)
        return false;
    for (size_t n = 0; n < swim->sends_count; n++)
        sends[n] = swim->sends[(swim->sends_at + n) % swim->sends_room];
    free(swim->sends);
    swim->sends = sends;
    swim->sends_room = room;
    swim->sends_at = 0;
    return true;
}

void swim_push(struct swim *swim, const struct swim_send *send)
{
    if (swim->sends_count == swim->sends_room && !sends_grow(swim)) {
        swim->stats.sends_dropped++;
        return;
    }
    swim->sends[(swim->sends_at + swim->sends_count++) % swim->sends_room] = *send;
}

static struct swim_send send_to(const struct mesh_member *to, enum datagram_kind kind,
                                uint32_t number, struct peer_id tell)
{
    return (struct swim_send){
        .to = to->id,
        .addr = to->addr,
        .is_full = true,
        .kind = kind,
        .number = number,
        .target_name = to->id.name,
        .target_nonce = to->nonce,
        .tell = tell,
    };
}

void swim_push_to(struct swim *swim, const struct mesh_member *to, enum datagram_kind kind,
                  uint32_t number, struct peer_id tell)
{
    struct swim_send send = send_to(to, kind, number, tell);
    if (to->addr.port != 0)
        swim_push(swim, &send);
}

bool swim_next_send(struct swim *swim, struct swim_send *send)
{
    if (swim->sends_count == 0)
        return false;
    *send = swim->sends[swim->sends_at];
    swim->sends_at = (swim->sends_at + 1) % swim->sends_room;
    swim->sends_count--;
    return true;
}

size_t swim_draw(struct swim *swim, struct peer_id but, const struct mesh_member **drawn,
                 size_t max)
{
    size_t others = view_others(swim->view), count = 0;
    if (max > others)
        max = others;
    /* Floyd's sampling: as many draws as members drawn */
    for (size_t n = others - max; n < others; n++) {
        const struct mesh_member *pick =
            view_other(swim->view, shuffle_below(&swim->chance, (uint32_t)n + 1));
        for (size_t i = 0; i < count; i++)
            if (drawn[i] == pick)
                pick = view_other(swim->view, n);
        drawn[count++] = pick;
    }
    for (size_t n = 0; n < count; n++)
        if (peer_id_equal(drawn[n]->id, but)) {
            drawn[n] = drawn[--count];
            break;
        }
    return count;
}

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

static void awareness_add(struct swim *swim, uint32_t more)
{
    swim->awareness += more;
    if (swim->awareness > swim->preset->awareness_max)
        swim->awareness = swim->preset->awareness_max;
}

/* ---- making and freeing ------------------------------------------------------------------- */

int swim_new(struct swim **swimp, const struct swim_config *config, uint64_t now_ms)
{
    struct view_config view_config = {
        .self = config->self,
        .members_max = config->members_max,
        .contacts_max = config->contacts_max,
        .boot_ms = config->boot_ms,
        .start_ms = now_ms,
    };
    struct swim *swim = calloc(1, sizeof *swim);
    if (swim == NULL)
        return -ENOMEM;
    int rc = view_new(&swim->view, &view_config);
    if (rc == 0)
        rc = gossip_new(&swim->gossip, swim->view);
    if (rc < 0)
        goto fail;
    size_t slots = view_slots(swim->view);
    swim->rows = calloc(slots, sizeof *swim->rows);
    swim->round = calloc(slots, sizeof *swim->round);
    swim->round_use = calloc(slots, sizeof *swim->round_use);
    swim->suspicions = calloc(slots, sizeof *swim->suspicions);
    rc = -ENOMEM;
    if (!swim->rows || !swim->round || !swim->round_use || !swim->suspicions)
        goto fail;
    swim->preset = config->preset != NULL ? config->preset : &swim_preset_product;
    swim->chance = config->chance;
    swim->boot_ms = config->boot_ms > 0 ? config->boot_ms : 1;
    swim->start_ms = now_ms;
    swim->name_wait_ms = config->name_wait_ms;
    swim->has_contacts = config->has_contacts;
    swim->first_contact_ms = MESH_NEVER;
    swim->found_at_ms = MESH_NEVER;
    swim->hello_at_ms = now_ms;
    /* staggered: peers that start together do not probe together */
    swim->probe_at_ms = now_ms + shuffle_below(&swim->chance, swim->preset->period_ms);
    swim->number = (uint32_t)shuffle_u64(&swim->chance);
    swim->phase = SWIM_ASKING;
    if (!config->has_contacts)
        join_now(swim, now_ms);
    swim_settle(swim, now_ms);
    *swimp = swim;
    return 0;
fail:
    swim_free(swim);
    return rc;
}

void swim_free(struct swim *swim)
{
    if (swim == NULL)
        return;
    view_free(swim->view);
    gossip_free(swim->gossip);
    free(swim->rows);
    free(swim->round);
    free(swim->round_use);
    free(swim->suspicions);
    free(swim->sends);
    free(swim);
}

/* ---- suspicions --------------------------------------------------------------------------- */

static struct suspicion *find_suspicion(struct swim *swim, const struct mesh_member *member)
{
    struct handle handle = view_handle(swim->view, member);
    for (size_t n = 0; n < swim->suspicions_count; n++)
        if (handle_equal(swim->suspicions[n].handle, handle))
            return &swim->suspicions[n];
    return NULL;
}

/* Lifeguard, LHA-Suspicion: from max, with the logarithm of the confirmations, to min. */
static void set_suspicion_deadline(struct suspicion *s)
{
    uint32_t confirmations = s->accusers_count - 1, timeout_ms = s->min_ms;
    if (confirmations < s->confirmations_max)
        timeout_ms =
            s->max_ms - (uint32_t)((uint64_t)(s->max_ms - s->min_ms) *
                                   log2_1024(confirmations + 1) /
                                   log2_1024(s->confirmations_max + 1));
    s->deadline_ms = s->started_ms + timeout_ms;
}

static void begin_suspicion(struct swim *swim, const struct mesh_member *member,
                            struct peer_id accuser, uint64_t now_ms)
{
    const struct swim_preset *preset = swim->preset;
    struct suspicion *s = find_suspicion(swim, member);
    size_t living = view_living(swim->view);
    if (s == NULL) {
        assert(swim->suspicions_count < view_slots(swim->view));
        s = &swim->suspicions[swim->suspicions_count++];
    }
    *s = (struct suspicion){.handle = view_handle(swim->view, member),
                            .incarnation = member->incarnation,
                            .started_ms = now_ms,
                            .accusers_count = 1};
    s->accusers[0] = accuser;
    /* log10 N = log2 N / 3.3219; 1024 * 3.3219 = 3401.6 */
    uint64_t scale = (uint64_t)log2_1024((uint32_t)living) * 10000 / 3402;
    s->min_ms = (uint32_t)(preset->suspicion_ms * preset->alpha *
                           (scale > 10000 ? scale : 10000) / 10000);
    s->max_ms = s->min_ms * preset->beta;
    uint32_t confirmations = preset->alpha > 2 ? preset->alpha - 2 : 0;
    if (confirmations >= ACCUSERS_MAX)
        confirmations = ACCUSERS_MAX - 1;
    if (living >= 2 + (size_t)confirmations) /* else too few others could confirm */
        s->confirmations_max = confirmations;
    set_suspicion_deadline(s);
}

/* True: this accuser is new, and counts. */
static bool confirm_suspicion(struct swim *swim, const struct mesh_member *member,
                              struct peer_id accuser)
{
    struct suspicion *s = find_suspicion(swim, member);
    if (s == NULL || s->accusers_count > s->confirmations_max || peer_id_is_nobody(accuser))
        return false;
    for (uint32_t n = 0; n < s->accusers_count; n++)
        if (peer_id_equal(s->accusers[n], accuser))
            return false;
    s->accusers[s->accusers_count++] = accuser;
    set_suspicion_deadline(s);
    return true;
}

static void suspect(struct swim *swim, const struct mesh_member *member, uint64_t now_ms)
{
    struct wire_update news = {.kind = UPDATE_SUSPECT, .accuser = view_self(swim->view)->id};
    news.member.id = member->id;
    news.member.incarnation = member->incarnation;
    if (member->state == MEMBER_ALIVE)
        swim->stats.suspected++;
    swim_take_news(swim, &news, false, now_ms);
}

/* Those that ran out end in a death; those that were refuted, or overtaken, just end. */
static void suspicions_now(struct swim *swim, uint64_t now_ms)
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
        struct wire_update news = {.kind = UPDATE_DEAD, .accuser = view_self(swim->view)->id};
        news.member.id = member->id;
        news.member.incarnation = member->incarnation;
        swim->stats.declared_dead++;
        swim_take_news(swim, &news, false, now_ms);
    }
}

/* ---- news --------------------------------------------------------------------------------- */

/* A newcomer is probed within the round that runs: it takes a random place among the rest. */
static void round_add(struct swim *swim, const struct mesh_member *member)
{
    struct handle handle = view_handle(swim->view, member);
    if (swim->round_count == view_slots(swim->view))
        return; /* it comes with the next round */
    size_t end = swim->round_count++;
    size_t at = swim->round_at +
                shuffle_below(&swim->chance, (uint32_t)(swim->round_count - swim->round_at));
    swim->round[end] = swim->round[at];
    swim->round_use[end] = swim->round_use[at];
    swim->round[at] = (uint16_t)handle.slot;
    swim->round_use[at] = handle.generation;
}

static void pass_on(struct swim *swim, const struct mesh_member *is, enum member_state was,
                    uint32_t was_incarnation, struct peer_id accuser)
{
    enum gossip_class class = GOSSIP_RECORD;
    switch (is->state) {
    case MEMBER_ALIVE:
        if (was == MEMBER_UNKNOWN)
            class = GOSSIP_ALIVE;
        else if (was != MEMBER_ALIVE || is->incarnation != was_incarnation)
            class = GOSSIP_DEATH;
        break;
    case MEMBER_SUSPECT:
        class = was == MEMBER_SUSPECT && is->incarnation == was_incarnation ? GOSSIP_RECORD
                                                                           : GOSSIP_SUSPECT;
        break;
    case MEMBER_DEAD:
        class = GOSSIP_DEATH;
        break;
    case MEMBER_LEFT:
        class = GOSSIP_LEAVE;
        break;
    case MEMBER_UNKNOWN:
        return;
    }
    gossip_tell(swim->gossip, swim->view, is->id, class, accuser);
}

static void refute(struct swim *swim, uint32_t was_incarnation)
{
    const struct mesh_member *self = view_self(swim->view);
    if (self->incarnation != was_incarnation) {
        swim->stats.refuted++;
        awareness_add(swim, 1);
    } else if (gossip_is_telling(swim->gossip, swim->view, self->id)) {
        return; /* who is behind will hear of it */
    }
    gossip_tell(swim->gossip, swim->view, self->id, GOSSIP_DEATH, nobody);
}

static void become_superseded(struct swim *swim)
{
    struct peer_id self = view_self(swim->view)->id;
    const struct mesh_member *newest = view_find_name(swim->view, self.name);
    swim->phase = SWIM_GONE;
    swim_push_event(swim, SWIM_SUPERSEDED, newest != NULL ? newest->id : self);
}

void swim_take_news(struct swim *swim, const struct wire_update *news, bool is_quiet,
                    uint64_t now_ms)
{
    const struct mesh_member *member = view_find(swim->view, news->member.id);
    enum member_state was = member != NULL ? member->state : MEMBER_UNKNOWN;
    uint32_t self_incarnation = view_self(swim->view)->incarnation;
    uint32_t incarnation = member != NULL ? member->incarnation : 0;
    bool was_living = member != NULL && member_is_living(member);

    enum view_news result = view_apply(swim->view, news, now_ms);
    member = view_find(swim->view, news->member.id);
    switch (result) {
    case VIEW_OLD:
    case VIEW_CONTACTED:
        break;
    case VIEW_REFUSED:
        swim->stats.news_refused++;
        break;
    case VIEW_NEW:
        if (member == NULL)
            break;
        if (member_is_living(member) && !was_living)
            round_add(swim, member);
        if (member->state == MEMBER_SUSPECT &&
            (was != MEMBER_SUSPECT || member->incarnation != incarnation))
            begin_suspicion(swim, member, news->accuser, now_ms);
        if (!is_quiet)
            pass_on(swim, member, was, incarnation, news->accuser);
        break;
    case VIEW_CONFIRMED:
        if (confirm_suspicion(swim, member, news->accuser))
            gossip_tell(swim->gossip, swim->view, member->id, GOSSIP_SUSPECT, news->accuser);
        break;
    case VIEW_REFUTED:
        refute(swim, self_incarnation);
        break;
    case VIEW_SUPERSEDED:
        become_superseded(swim);
        break;
    }
}

void swim_set_flags(struct swim *swim, bool serving, bool draining, bool hold, uint64_t now_ms)
{
    if (view_set_flags(swim->view, serving, draining, hold) && view_is_announced(swim->view))
        gossip_tell(swim->gossip, swim->view, view_self(swim->view)->id, GOSSIP_RECORD, nobody);
    swim_settle(swim, now_ms);
}

void swim_set_load(struct swim *swim, uint32_t sessions)
{
    swim->load = sessions;
}

/* ---- probing ------------------------------------------------------------------------------ */

static uint32_t ping_timeout_ms(struct swim *swim, const struct mesh_member *member)
{
    const struct swim_row *row = swim_row_of(swim, member);
    uint32_t timeout_ms = (row->srtt_8 >> 3) + row->rttvar_4; /* SRTT + 4 RTTVAR */
    if (row->last_ack_ms == 0 || timeout_ms > swim->preset->ping_max_ms)
        return swim->preset->ping_max_ms;
    return timeout_ms < swim->preset->ping_min_ms ? swim->preset->ping_min_ms : timeout_ms;
}

static void note_round_trip(struct swim *swim, const struct mesh_member *member, uint64_t rtt_ms,
                            uint64_t now_ms)
{
    struct swim_row *row = swim_row_of(swim, member);
    int32_t rtt = rtt_ms < 4000 ? (int32_t)rtt_ms : 4000;
    if (row->last_ack_ms == 0) {
        row->srtt_8 = (uint16_t)(rtt * 8);
        row->rttvar_4 = (uint16_t)(rtt * 2);
    } else {
        int32_t error = rtt - (row->srtt_8 >> 3);
        row->srtt_8 = (uint16_t)(row->srtt_8 + error);
        if (error < 0)
            error = -error;
        row->rttvar_4 = (uint16_t)(row->rttvar_4 + error - (row->rttvar_4 >> 2));
    }
    row->last_ack_ms = now_ms != 0 ? now_ms : 1;
}

static void new_round(struct swim *swim)
{
    size_t count = view_others(swim->view);
    for (size_t n = 0; n < count; n++) {
        struct handle handle = view_handle(swim->view, view_other(swim->view, n));
        size_t at = shuffle_below(&swim->chance, (uint32_t)n + 1);
        swim->round[n] = swim->round[at];
        swim->round_use[n] = swim->round_use[at];
        swim->round[at] = (uint16_t)handle.slot;
        swim->round_use[at] = handle.generation;
    }
    swim->round_count = count;
    swim->round_at = 0;
}

/* The next of the round that still lives; NULL: there is nobody else. */
static const struct mesh_member *next_target(struct swim *swim)
{
    for (int rounds = 0; rounds < 2; rounds++) {
        while (swim->round_at < swim->round_count) {
            struct handle handle = {swim->round[swim->round_at],
                                    swim->round_use[swim->round_at]};
            const struct mesh_member *member = view_by_handle(swim->view, handle);
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
    if (mesh_addr_equal(&target->addr, &view_self(swim->view)->addr)) {
        suspect(swim, target, now_ms); /* it can not be where we are */
        return;
    }
    *probe = (struct probe){
        .is_open = true,
        .target = target->id,
        .addr = target->addr,
        .number = ++swim->number,
        .started_ms = now_ms,
        .relay_at_ms = now_ms + ping_timeout_ms(swim, target),
        .ends_ms = now_ms + (uint64_t)swim->preset->period_ms * (1 + swim->awareness),
    };
    /* a suspect is told so by whoever pings it: it refutes the sooner (Lifeguard, buddy system) */
    swim_push_to(swim, target, DATAGRAM_PING, probe->number,
                 target->state == MEMBER_SUSPECT ? target->id : nobody);
}

static void ask_relays(struct swim *swim)
{
    const struct mesh_member *drawn[DRAWN_MAX];
    struct probe *probe = &swim->probe;
    const struct mesh_member *target = view_find(swim->view, probe->target);
    size_t relays = swim->preset->relays;
    probe->is_relayed = true;
    if (target == NULL)
        return;
    size_t count = swim_draw(swim, target->id, drawn, relays + 1);
    for (size_t n = 0; n < count && n < relays; n++) {
        struct swim_send send = send_to(drawn[n], DATAGRAM_PING_REQ, probe->number, nobody);
        send.subject = target->id;
        send.subject_addr = target->addr;
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
    awareness_add(swim, probe->nacks_expected > 0 ? probe->nacks_expected - probe->nacks : 1);
    if (target != NULL && member_is_living(target))
        suspect(swim, target, now_ms);
}

static void probe_now(struct swim *swim, uint64_t now_ms)
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

/* ---- pings for others --------------------------------------------------------------------- */

static void on_ping_req(struct swim *swim, const struct mesh_member *asker,
                        const struct wire_datagram *d, uint64_t now_ms)
{
    const struct mesh_member *subject = view_find(swim->view, d->subject);
    if (subject == NULL || subject == view_self(swim->view) || subject->addr.port == 0) {
        struct swim_send send = send_to(asker, DATAGRAM_NACK, d->number, nobody);
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
            .asker = asker->id,
            .asker_number = d->number,
            .subject = subject->id,
            .number = ++swim->number,
            .started_ms = now_ms,
            .nack_at_ms = now_ms + ping_timeout_ms(swim, subject) * 4 / 5,
            .ends_ms = now_ms + swim->preset->period_ms,
        };
        swim_push_to(swim, subject, DATAGRAM_PING, relay->number,
                     subject->state == MEMBER_SUSPECT ? subject->id : nobody);
        return;
    }
}

static void relays_now(struct swim *swim, uint64_t now_ms)
{
    for (size_t n = 0; n < RELAYS_MAX; n++) {
        struct relay *relay = &swim->relays[n];
        if (!relay->is_open)
            continue;
        const struct mesh_member *asker = view_find(swim->view, relay->asker);
        if (!relay->is_nacked && now_ms >= relay->nack_at_ms && asker != NULL) {
            struct swim_send send = send_to(asker, DATAGRAM_NACK, relay->asker_number, nobody);
            send.subject = relay->subject;
            swim_push(swim, &send);
            relay->is_nacked = true;
        }
        if (now_ms >= relay->ends_ms)
            relay->is_open = false;
    }
}

static bool relay_on_ack(struct swim *swim, const struct mesh_member *sender, uint32_t number,
                         uint64_t now_ms)
{
    for (size_t n = 0; n < RELAYS_MAX; n++) {
        struct relay *relay = &swim->relays[n];
        if (!relay->is_open || relay->number != number ||
            !peer_id_equal(relay->subject, sender->id))
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

/* ---- datagrams ---------------------------------------------------------------------------- */

static void on_ack(struct swim *swim, const struct mesh_member *sender, uint32_t number,
                   uint64_t now_ms)
{
    struct probe *probe = &swim->probe;
    if (relay_on_ack(swim, sender, number, now_ms) || leave_on_ack(swim, number, sender->id))
        return;
    if (!probe->is_open || probe->is_acked || probe->number != number)
        return;
    bool is_direct = peer_id_equal(probe->target, sender->id);
    if (!is_direct && !probe->is_relayed)
        return;
    if (is_direct)
        note_round_trip(swim, sender, now_ms - probe->started_ms, now_ms);
    probe->is_acked = true;
    if (swim->awareness > 0)
        swim->awareness--;
}

/* Somebody else is where we looked for a member. That proves no death: an address may be shared,
 * translated or out of date. */
static void on_not_me(struct swim *swim, const struct mesh_addr *from,
                      const struct wire_datagram *d, uint64_t now_ms)
{
    struct probe *probe = &swim->probe;
    if (!probe->is_open || probe->is_acked || probe->number != d->number ||
        !mesh_addr_equal(from, &probe->addr) || peer_id_equal(d->sender, probe->target))
        return;
    const struct mesh_member *target = view_find(swim->view, probe->target);
    probe->is_open = false;
    if (target != NULL && member_is_living(target))
        suspect(swim, target, now_ms);
    if (view_find(swim->view, d->sender) == NULL && view_is_plausible(swim->view, d->sender, now_ms))
        views_wish(swim, d->sender, from, now_ms);
}

/* Whom to tell a ping's sender about, if it should know what is believed of it. */
static struct peer_id owed_to(const struct swim *swim, const struct mesh_member *sender)
{
    const struct mesh_member *newest = view_find_name(swim->view, sender->id.name);
    if (newest != sender)
        return newest->id;
    return sender->state == MEMBER_ALIVE ? nobody : sender->id;
}

/* `sender` NULL: unknown. It gets an answer all the same, as long as its question: else it would
 * suspect us until it is known here. */
static void answer_ping(struct swim *swim, const struct mesh_addr *from,
                        const struct mesh_member *sender, const struct wire_datagram *d,
                        uint64_t sender_nonce)
{
    struct swim_send send = {.addr = *from, .kind = DATAGRAM_ACK, .number = d->number};
    send.target_name = d->sender.name;
    send.target_nonce = sender_nonce;
    if (sender != NULL) {
        send.to = sender->id;
        send.is_full = mesh_addr_equal(from, &sender->addr);
        send.tell = owed_to(swim, sender);
    }
    swim_push(swim, &send);
}

static void answer_not_me(struct swim *swim, const struct mesh_addr *from,
                          const struct wire_datagram *d, uint64_t sender_nonce)
{
    struct swim_send send = {.addr = *from, .kind = DATAGRAM_NOT_ME, .number = d->number};
    send.target_name = d->sender.name;
    send.target_nonce = sender_nonce;
    swim_push(swim, &send);
}

/* From a member that we know, in the generation that we know. */
static void on_member_datagram(struct swim *swim, const struct mesh_addr *from,
                               const struct wire_datagram *d, struct handle who,
                               uint64_t sender_nonce, uint64_t now_ms)
{
    const struct mesh_member *sender;
    for (uint16_t n = 0; n < d->updates_count && swim->phase != SWIM_GONE; n++)
        swim_take_news(swim, &d->updates[n], false, now_ms);
    sender = view_by_handle(swim->view, who);
    if (sender == NULL || swim->phase == SWIM_GONE)
        return;
    if (d->kind == DATAGRAM_PING || d->kind == DATAGRAM_ACK) {
        view_note_load(swim->view, sender->id, d->load);
        if (member_is_living(sender))
            views_on_hash(swim, sender, d->view_hash, now_ms);
    }
    switch (d->kind) {
    case DATAGRAM_PING:
        answer_ping(swim, from, sender, d, sender_nonce);
        break;
    case DATAGRAM_ACK:
        on_ack(swim, sender, d->number, now_ms);
        break;
    case DATAGRAM_PING_REQ:
        if (mesh_addr_equal(from, &sender->addr))
            on_ping_req(swim, sender, d, now_ms);
        break;
    case DATAGRAM_NACK:
        if (swim->probe.is_open && swim->probe.number == d->number &&
            swim->probe.nacks < swim->probe.nacks_expected)
            swim->probe.nacks++;
        break;
    case DATAGRAM_HELLO:
    case DATAGRAM_WELCOME:
    case DATAGRAM_GOSSIP:
    case DATAGRAM_NOT_ME:
        break;
    }
}

void swim_on_datagram(struct swim *swim, const struct mesh_addr *from,
                      const struct wire_datagram *d, uint64_t sender_nonce, uint64_t now_ms)
{
    const struct mesh_member *self = view_self(swim->view);
    bool is_ours = d->target_name_only.name == self->id.name && d->target_nonce == self->nonce;
    if (swim->phase == SWIM_GONE || sender_nonce == self->nonce)
        return;
    swim_note_lag(swim, now_ms);
    if (d->kind == DATAGRAM_HELLO && (is_ours || d->target_nonce == 0)) {
        join_on_hello(swim, from, d, sender_nonce, now_ms);
    } else if (!is_ours) {
        swim->stats.stale++;
        if (d->kind == DATAGRAM_PING && view_is_announced(swim->view))
            answer_not_me(swim, from, d, sender_nonce);
    } else if (d->kind == DATAGRAM_WELCOME) {
        join_on_welcome(swim, from, d, now_ms);
    } else if (d->kind == DATAGRAM_NOT_ME) {
        on_not_me(swim, from, d, now_ms);
    } else if (view_is_announced(swim->view)) {
        const struct mesh_member *sender = view_find(swim->view, d->sender);
        if (sender != NULL && sender->nonce == sender_nonce) {
            on_member_datagram(swim, from, d, view_handle(swim->view, sender), sender_nonce,
                               now_ms);
        } else {
            views_on_stranger(swim, d->sender, from, now_ms);
            if (d->kind == DATAGRAM_PING)
                answer_ping(swim, from, NULL, d, sender_nonce);
        }
    }
    swim_settle(swim, now_ms);
}

/* What a WELCOME says of the name asked about. */
static void write_welcome(const struct swim *swim, const struct swim_send *send,
                          struct wire_datagram *d)
{
    const struct mesh_member *newest = view_find_name(swim->view, view_name_hash(send->name));
    memcpy(d->name, send->name, sizeof d->name);
    d->seen_from = send->addr;
    if (newest == NULL)
        return;
    d->highest_generation = newest->id.generation;
    if (member_is_living(newest) && newest->nonce != send->target_nonce) {
        d->incumbent_lives = true;
        d->incumbent = newest->id;
        d->incumbent_addr = newest->addr;
    }
}

int swim_write_send(struct swim *swim, const struct swim_send *send, struct wire_writer *w,
                    void *into, size_t room)
{
    const struct mesh_member *self = view_self(swim->view);
    struct wire_datagram d;
    struct wire_update tell;
    memset(&d, 0, offsetof(struct wire_datagram, updates));
    d.target_name_only.name = send->target_name;
    d.target_nonce = send->target_nonce;
    d.kind = send->kind;
    d.number = send->number;
    d.sender = self->id;
    d.view_hash = view_hash(swim->view);
    d.load = swim->load;
    d.subject = send->subject;
    d.subject_addr = send->subject_addr;
    if (send->kind == DATAGRAM_HELLO)
        memcpy(d.name, self->name, sizeof d.name);
    if (send->kind == DATAGRAM_WELCOME)
        write_welcome(swim, send, &d);
    int rc = wire_datagram_begin(w, &d, into, room);
    if (rc < 0)
        return rc;
    if (send->kind == DATAGRAM_HELLO)
        wire_datagram_pad(w, SWIM_HELLO_BYTES);
    if (!peer_id_is_nobody(send->tell) &&
        gossip_update_of(swim->gossip, swim->view, send->tell, &tell))
        (void)wire_datagram_add(w, &tell);
    if (send->is_full && gossip_fill(swim->gossip, swim->view, w, send->to, send->tell)) {
        const struct mesh_member *to = view_find(swim->view, send->to);
        if (to != NULL)
            swim_row_of(swim, to)->told = true;
    }
    return send->kind == DATAGRAM_GOSSIP && w->updates == 0 ? -ENODATA : 0;
}

/* ---- time --------------------------------------------------------------------------------- */

static void gossip_now(struct swim *swim, uint64_t now_ms)
{
    const struct mesh_member *drawn[DRAWN_MAX];
    if (gossip_count(swim->gossip) == 0 || now_ms < swim->gossip_at_ms)
        return;
    swim->gossip_at_ms = now_ms + swim->preset->gossip_ms;
    size_t count = swim_draw(swim, nobody, drawn, swim->preset->gossip_peers);
    for (size_t n = 0; n < count; n++)
        swim_push_to(swim, drawn[n], DATAGRAM_GOSSIP, 0, nobody);
}

void swim_note_lag(struct swim *swim, uint64_t now_ms)
{
    if (swim->due_ms >= now_ms || now_ms - swim->due_ms <= LAG_MS)
        return;
    uint64_t lag_ms = now_ms - swim->due_ms;
    swim->due_ms = now_ms;
    swim->stats.lags++;
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

static bool detects(const struct swim *swim)
{
    return swim->phase == SWIM_JOINING || swim->phase == SWIM_MEMBER;
}

void swim_now(struct swim *swim, uint64_t now_ms)
{
    if (swim->phase == SWIM_GONE)
        return;
    swim_note_lag(swim, now_ms);
    join_now(swim, now_ms);
    if (detects(swim)) {
        suspicions_now(swim, now_ms);
        probe_now(swim, now_ms);
        views_now(swim, now_ms);
    }
    if (view_is_announced(swim->view) && swim->phase != SWIM_GONE) {
        relays_now(swim, now_ms);
        gossip_now(swim, now_ms);
    }
    swim_settle(swim, now_ms);
}

static void sooner(uint64_t *due_ms, uint64_t at_ms)
{
    if (at_ms < *due_ms)
        *due_ms = at_ms;
}

void swim_settle(struct swim *swim, uint64_t now_ms)
{
    uint64_t due_ms = join_deadline_ms(swim);
    if (detects(swim)) {
        const struct probe *probe = &swim->probe;
        bool is_pending = probe->is_open && !probe->is_acked;
        sooner(&due_ms, is_pending ? probe->ends_ms : swim->probe_at_ms);
        if (is_pending && !probe->is_relayed)
            sooner(&due_ms, probe->relay_at_ms);
        for (size_t n = 0; n < swim->suspicions_count; n++)
            sooner(&due_ms, swim->suspicions[n].deadline_ms);
        sooner(&due_ms, views_deadline_ms(swim));
    }
    if (view_is_announced(swim->view) && swim->phase != SWIM_GONE) {
        for (size_t n = 0; n < RELAYS_MAX; n++)
            if (swim->relays[n].is_open)
                sooner(&due_ms, swim->relays[n].is_nacked ? swim->relays[n].ends_ms
                                                          : swim->relays[n].nack_at_ms);
        if (gossip_count(swim->gossip) > 0 && view_others(swim->view) > 0)
            sooner(&due_ms, swim->gossip_at_ms);
    }
    swim->due_ms = due_ms > now_ms ? due_ms : now_ms;
}

uint64_t swim_deadline_ms(const struct swim *swim)
{
    return swim->due_ms;
}

/* ---- questions ---------------------------------------------------------------------------- */

struct view *swim_view(struct swim *swim)
{
    return swim->view;
}

bool swim_is_announced(const struct swim *swim)
{
    return view_is_announced(swim->view);
}

bool swim_is_joined(const struct swim *swim)
{
    return swim->phase == SWIM_MEMBER;
}

bool swim_has_left(const struct swim *swim)
{
    return swim->phase == SWIM_GONE;
}

bool swim_may_mint(struct swim *swim, uint64_t now_ms)
{
    size_t others = view_others(swim->view), shown = 0, shown_untold = 0;
    if (swim->phase != SWIM_MEMBER)
        return false;
    for (size_t n = 0; n < others && !swim->mints; n++) {
        const struct swim_row *row = swim_row_of(swim, view_other(swim->view, n));
        shown += row->shown;
        shown_untold += row->shown && !row->told;
    }
    /* who looks for a mesh and has found nobody yet may be about to find one */
    bool is_lonely = others == 0 && swim->contacts_count > 0;
    if ((shown == others && !is_lonely) || shown_untold >= 3 ||
        now_ms - swim->joined_ms >= SWIM_MINT_MS)
        swim->mints = true;
    return swim->mints;
}

uint64_t swim_last_ack_ms(const struct swim *swim, struct peer_id id)
{
    const struct mesh_member *member = view_find(swim->view, id);
    if (member == NULL)
        return 0;
    struct handle handle = view_handle(swim->view, member);
    const struct swim_row *row = &swim->rows[handle.slot];
    return row->use == handle.generation ? row->last_ack_ms : 0;
}

uint32_t swim_awareness(const struct swim *swim)
{
    return swim->awareness;
}

void swim_stats(const struct swim *swim, struct swim_stats *stats)
{
    *stats = swim->stats;
}
