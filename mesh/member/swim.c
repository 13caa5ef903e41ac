/* swim.c - membership as one value: what comes in, what goes out, the one deadline. What news does
 * stands in swim_news.c, probes in swim_probe.c, suspicions in swim_suspect.c, ways in and out in
 * swim_join.c, views over links in swim_views.c, the constants in swim_presets.c. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/member/swim_state.h"

/* What -ftrivial-auto-var-init leaves alone. */
#if defined(__has_attribute)
#if __has_attribute(uninitialized)
#define UNWIPED __attribute__((uninitialized))
#endif
#endif
#ifndef UNWIPED
#define UNWIPED
#endif

#define SENDS_FIRST 16
#define SENDS_KEPT 64     /* once all are sent: without memory peers still hear from us */
#define NUMBER_MAX 65535u /* of probes: three bytes in each datagram; few are under way at once */
#define DRAWN_MAX 8

static const struct peer_id nobody = {0, 0};

/* ---- small things --------------------------------------------------------------------------- */

uint32_t swim_number(struct swim *swim)
{
    swim->number = swim->number % NUMBER_MAX + 1;
    return swim->number;
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
    struct swim_send *sends = malloc(room * sizeof *sends);
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

struct swim_send swim_send_to(const struct mesh_member *to, enum datagram_kind kind,
                              uint32_t number, struct peer_id tell)
{
    return (struct swim_send){
        .to = to->record->id,
        .addr = to->record->addr,
        .is_full = true,
        .kind = kind,
        .number = number,
        .target_name = to->record->id.name,
        .target_nonce = to->record->nonce,
        .tell = tell,
    };
}

void swim_push_to(struct swim *swim, const struct mesh_member *to, enum datagram_kind kind,
                  uint32_t number, struct peer_id tell)
{
    struct swim_send send = swim_send_to(to, kind, number, tell);
    if (to->record->addr.port != 0)
        swim_push(swim, &send);
}

bool swim_next_send(struct swim *swim, struct swim_send *send)
{
    if (swim->sends_count == 0)
        return false;
    *send = swim->sends[swim->sends_at];
    swim->sends_at = (swim->sends_at + 1) % swim->sends_room;
    if (--swim->sends_count > 0)
        return true;
    swim->sends_at = 0; /* where the cache has it */
    if (swim->sends_room > SENDS_KEPT) {
        free(swim->sends);
        swim->sends = NULL;
        swim->sends_room = 0;
    }
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
        if (peer_id_equal(drawn[n]->record->id, but)) {
            drawn[n] = drawn[--count];
            break;
        }
    return count;
}

/* ---- making and freeing --------------------------------------------------------------------- */

int swim_new(struct swim **swimp, const struct swim_config *config, uint64_t now_ms)
{
    struct view_config view_config = {
        .self = config->self,
        .members_max = config->members_max,
        .contacts_max = config->contacts_max,
        .boot_ms = config->boot_ms,
        .start_ms = now_ms,
        .records = config->records,
    };
    struct swim *swim = calloc(1, sizeof *swim);
    if (swim == NULL)
        return -ENOMEM;
    int rc = view_new(&swim->view, &view_config);
    swim->chance = config->chance;
    uint64_t key[2] = {shuffle_u64(&swim->chance), shuffle_u64(&swim->chance)};
    if (rc == 0)
        rc = claims_new(&swim->claims, (const uint8_t *)key);
    if (rc == 0)
        rc = gossip_new(&swim->gossip, swim->claims);
    if (rc < 0)
        goto fail;
    swim->identity = config->identity;
    swim->preset = config->preset != NULL ? config->preset : &swim_preset_product;
    swim->boot_ms = config->boot_ms > 0 ? config->boot_ms : 1;
    swim->start_ms = now_ms;
    swim->name_wait_ms = config->name_wait_ms;
    swim->has_contacts = config->has_contacts;
    swim->serving = config->self.serving;
    swim->draining = config->self.draining;
    memcpy(swim->keys, config->self.keys, sizeof swim->keys);
    swim->keys_count = config->self.keys_count;
    swim->first_contact_ms = MESH_NEVER;
    swim->found_at_ms = MESH_NEVER;
    swim->hello_at_ms = now_ms;
    /* staggered: peers that start together do not probe together */
    swim->probe_at_ms = now_ms + shuffle_below(&swim->chance, swim->preset->period_ms);
    swim->watch_at_ms = now_ms + shuffle_below(&swim->chance, 1 + swim->preset->monitor_ms);
    swim->number = shuffle_below(&swim->chance, NUMBER_MAX);
    if (swim->preset->memberlist != NULL) {
        gossip_by_digits(swim->gossip, swim->preset->memberlist->sends_per_digit);
        swim->gossip_at_ms = now_ms + shuffle_below(&swim->chance, swim->preset->gossip_ms);
        swim->sync_at_ms = now_ms + shuffle_below(&swim->chance, swim->preset->memberlist->sync_ms);
    }
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
    claims_free(swim->claims);
    free(swim->round);
    free(swim->doubts);
    suspicions_deinit(swim);
    free(swim->sends);
    free(swim);
}

static bool detects(const struct swim *swim)
{
    return swim->phase == SWIM_JOINING || swim->phase == SWIM_MEMBER;
}

/* ---- what we say of ourselves ------------------------------------------------------------------
 */

/* Without memory for that it is tried again. */
void swim_tell_flags(struct swim *swim)
{
    bool hold = hold_is_on(&swim->hold);
    bool flags_differ = view_set_flags(swim->view, swim->serving, swim->draining, hold) > 0;
    bool keys_differ = view_set_keys(swim->view, swim->keys, swim->keys_count) > 0;
    if ((flags_differ || keys_differ) && view_is_announced(swim->view))
        gossip_tell(swim->gossip, swim->view, view_self(swim->view)->record->id, GOSSIP_RECORD,
                    nobody);
}

void swim_set_flags(struct swim *swim, bool serving, bool draining, uint64_t now_ms)
{
    swim_note_lag(swim, now_ms);
    swim->serving = serving;
    swim->draining = draining;
    swim_tell_flags(swim);
    swim_settle(swim, now_ms);
}

void swim_set_keys(struct swim *swim, const uint32_t *ids, uint8_t count, uint64_t now_ms)
{
    swim_note_lag(swim, now_ms);
    memcpy(swim->keys, ids, count * sizeof *ids);
    swim->keys_count = count;
    swim_tell_flags(swim);
    swim_settle(swim, now_ms);
}

void swim_set_load(struct swim *swim, uint32_t sessions)
{
    swim->load = sessions;
}

int swim_claim(struct swim *swim, uint64_t shard, uint64_t now_ms)
{
    int rc = -EAGAIN;
    swim_note_lag(swim, now_ms);
    if (view_is_announced(swim->view))
        rc = claims_make(swim->claims, swim->view, shard, now_ms);
    swim_settle(swim, now_ms);
    return rc;
}

void swim_unclaim(struct swim *swim, uint64_t shard)
{
    claims_drop(swim->claims, shard);
}

bool swim_claimant(const struct swim *swim, uint64_t shard, struct peer_id *owner, uint64_t now_ms)
{
    return claims_find(swim->claims, swim->view, shard, owner, now_ms);
}

/* ---- datagrams ------------------------------------------------------------------------------ */

static void on_not_me(struct swim *swim, const struct mesh_addr *from,
                      const struct wire_datagram *d, uint64_t now_ms)
{
    if (probe_on_not_me(swim, from, d->sender, d->number, now_ms) &&
        view_find(swim->view, d->sender) == NULL &&
        view_is_plausible(swim->view, d->sender, now_ms))
        views_wish(swim, d->sender, from, now_ms);
}

/* Whom to tell a ping's sender about, if it should know what is believed of it. */
static struct peer_id owed_to(const struct swim *swim, const struct mesh_member *sender)
{
    const struct mesh_member *newest = view_find_name(swim->view, sender->record->id.name);
    if (swim->phase == SWIM_LEAVING) /* whoever was told so by others asks us */
        return view_self(swim->view)->record->id;
    if (newest != sender && member_is_living(newest))
        return newest->record->id;
    return sender->state == MEMBER_ALIVE ? nobody : sender->record->id;
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
        send.to = sender->record->id;
        send.is_full = mesh_addr_equal(from, &sender->record->addr);
        if (swim->preset->memberlist == NULL)
            send.tell = owed_to(swim, sender);
        if (send.is_full && peer_id_is_nobody(send.tell) && join_is_introduction(d)) {
            send.tell = view_self(swim->view)->record->id;
            send.with_others = true;
        }
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
    const struct mesh_member *sender = view_by_handle(swim->view, who);
    struct peer_id teller = sender->record->id;
    if (swim->suspects.count > 0)
        guard_on_heard(&swim->guard, who, now_ms);
    /* what a joiner is answered, all others know */
    bool is_quiet = d->kind == DATAGRAM_ACK && join_introduces(swim);
    for (uint16_t n = 0; n < d->updates_count && swim->phase != SWIM_GONE; n++)
        swim_hear_news(swim, teller, &d->updates[n], is_quiet, now_ms);
    sender = view_by_handle(swim->view, who);
    if (sender == NULL || swim->phase == SWIM_GONE)
        return;
    if (d->kind == DATAGRAM_PING || d->kind == DATAGRAM_ACK) {
        view_note_load(swim->view, sender->record->id, d->load);
        if (member_is_living(sender))
            views_on_hash(swim, sender, d->view_hash, now_ms);
    }
    switch (d->kind) {
    case DATAGRAM_PING:
    case DATAGRAM_HELLO: /* an introduction */
        answer_ping(swim, from, sender, d, sender_nonce);
        break;
    case DATAGRAM_ACK:
        if (!hearsay_on_ack(swim, sender, from, d->number, now_ms))
            probe_on_ack(swim, sender, d->number, now_ms);
        break;
    case DATAGRAM_PING_REQ:
        if (mesh_addr_equal(from, &sender->record->addr))
            relay_on_ping_req(swim, sender, d, now_ms);
        break;
    case DATAGRAM_NACK:
        probe_on_nack(swim, d->number);
        break;
    case DATAGRAM_CONFIRM:
        if (!mesh_addr_equal(from, &sender->record->addr) || !detects(swim))
            break;
        if (peer_id_equal(d->subject, view_self(swim->view)->record->id))
            weak_on_told(swim, sender, now_ms);
        else
            probe_on_confirm(swim, sender, d, now_ms);
        break;
    case DATAGRAM_WELCOME:
    case DATAGRAM_GOSSIP:
    case DATAGRAM_NOT_ME:
        break;
    }
}

const struct mesh_member *swim_sender(const struct swim *swim, const struct wire_datagram *d,
                                      uint64_t sender_nonce)
{
    const struct mesh_member *sender = d->sender.generation != 0
                                           ? view_find(swim->view, d->sender)
                                           : view_find_name(swim->view, d->sender.name);
    return sender != NULL && sender->record->nonce == sender_nonce ? sender : NULL;
}

void swim_on_datagram(struct swim *swim, const struct mesh_addr *from,
                      const struct wire_datagram *d, uint64_t sender_nonce, uint64_t now_ms)
{
    const struct mesh_member *self = view_self(swim->view);
    bool is_ours =
        d->target_name_only.name == self->record->id.name && d->target_nonce == self->record->nonce;
    if (swim->phase == SWIM_GONE || sender_nonce == self->record->nonce)
        return;
    swim_note_lag(swim, now_ms);
    bool is_introduction = is_ours && view_is_announced(swim->view) && join_is_introduction(d) &&
                           (d->kind == DATAGRAM_HELLO || join_introduces(swim));
    if (d->kind == DATAGRAM_HELLO && (is_ours || d->target_nonce == 0) && !is_introduction) {
        join_on_hello(swim, from, d, sender_nonce, now_ms);
    } else if (!is_ours) {
        swim->stats.stale++;
        if (d->kind == DATAGRAM_PING && view_is_announced(swim->view))
            answer_not_me(swim, from, d, sender_nonce);
    } else if (d->kind == DATAGRAM_WELCOME) {
        join_on_welcome(swim, from, d, sender_nonce, now_ms);
    } else if (d->kind == DATAGRAM_NOT_ME) {
        on_not_me(swim, from, d, now_ms);
    } else if (view_is_announced(swim->view)) {
        const struct mesh_member *sender = swim_sender(swim, d, sender_nonce);
        if (sender == NULL && is_introduction) {
            join_on_introduction(swim, from, d, sender_nonce, now_ms);
            sender = swim_sender(swim, d, sender_nonce);
        }
        if (swim->phase == SWIM_GONE) {
            ; /* it is a newer generation of our name */
        } else if (sender != NULL) {
            on_member_datagram(swim, from, d, view_handle(swim->view, sender), sender_nonce,
                               now_ms);
        } else if (!hearsay_on_stranger(swim, d, sender_nonce, now_ms)) {
            views_on_stranger(swim, d->sender, from, now_ms);
            /* who leaves could not say so: an answer would deny it */
            if (d->kind == DATAGRAM_PING && swim->phase != SWIM_LEAVING)
                answer_ping(swim, from, NULL, d, sender_nonce);
        }
    }
    swim_settle(swim, now_ms);
}

/* For who has just joined: whom it may introduce itself to next. */
static void write_others(struct swim *swim, struct peer_id to, struct wire_writer *w)
{
    const struct mesh_member *drawn[DRAWN_MAX];
    struct wire_update update;
    size_t count = swim_draw(swim, to, drawn, DRAWN_MAX);
    for (size_t n = 0; n < count; n++) {
        if (drawn[n]->state != MEMBER_ALIVE)
            continue;
        view_tell(drawn[n], &update);
        (void)wire_datagram_add(w, &update);
    }
}

/* What a WELCOME says of the name asked about. */
static void write_welcome(const struct swim *swim, const struct swim_send *send,
                          struct wire_datagram *d)
{
    uint64_t name = view_name_hash(send->name);
    const struct mesh_member *there = view_find_name(swim->view, name);
    memcpy(d->name, send->name, sizeof d->name);
    d->seen_from = send->addr;
    if (there == NULL)
        return;
    d->highest_generation = view_find_newest(swim->view, name)->record->id.generation;
    if (member_is_living(there) && there->record->nonce != send->target_nonce) {
        d->incumbent_lives = true;
        d->incumbent = there->record->id;
        d->incumbent_addr = there->record->addr;
    }
}

int swim_write_send(struct swim *swim, const struct swim_send *send, struct wire_writer *w,
                    void *into, size_t room)
{
    const struct mesh_member *self = view_self(swim->view);
    UNWIPED struct wire_datagram d; /* its updates are the writer's: nobody reads them here */
    struct wire_update tell;
    memset(&d, 0, offsetof(struct wire_datagram, updates));
    d.target_name_only.name = send->target_name;
    d.target_nonce = send->target_nonce;
    d.kind = send->kind;
    d.number = send->number;
    d.sender = self->record->id;
    const struct mesh_member *to = view_find(swim->view, send->to);
    if (to != NULL && to->agrees)
        d.sender.generation = 0; /* it knows us: name and nonce say the rest */
    d.view_hash = view_hash(swim->view);
    d.load = swim->load;
    d.subject = send->subject;
    d.subject_addr = send->subject_addr;
    if (send->kind == DATAGRAM_HELLO)
        memcpy(d.name, self->record->name, sizeof d.name);
    if (send->kind == DATAGRAM_WELCOME)
        write_welcome(swim, send, &d);
    int rc = wire_datagram_begin(w, &d, into, room);
    if (rc < 0)
        return rc;
    if (!peer_id_is_nobody(send->tell) &&
        gossip_update_of(swim->gossip, swim->view, send->tell, &tell))
        (void)wire_datagram_add(w, &tell);
    if (send->with_others)
        write_others(swim, send->to, w);
    if (send->is_full && gossip_fill(swim->gossip, swim->view, w, send->to, send->tell) &&
        to != NULL)
        view_notes(swim->view, to)->told = true;
    if (send->kind == DATAGRAM_HELLO && send->target_nonce == 0)
        wire_datagram_pad(w, SWIM_HELLO_BYTES); /* last: nothing is read behind it */
    return send->kind == DATAGRAM_GOSSIP && w->updates == 0 ? -ENODATA : 0;
}

/* ---- time ----------------------------------------------------------------------------------- */

/* As swim_draw(), the lately dead among them. */
static size_t draw_with_dead(struct swim *swim, const struct mesh_member **drawn, size_t max,
                             uint64_t now_ms)
{
    size_t count = view_count(swim->view), seen = 0;
    if (count == view_living(swim->view))
        return swim_draw(swim, nobody, drawn, max);
    for (size_t n = 0; n < count; n++) {
        const struct mesh_member *member = view_at(swim->view, n);
        bool is_dead = member->state == MEMBER_DEAD;
        if (member == view_self(swim->view) || member->state == MEMBER_LEFT ||
            (is_dead &&
             now_ms - view_silent_ms(swim->view, member) >= swim->preset->memberlist->dead_ms))
            continue;
        /* each of those seen so far is among the drawn with the same chance (Vitter's R) */
        size_t at = seen < max ? seen : shuffle_below(&swim->chance, (uint32_t)seen + 1);
        seen++;
        if (at < max)
            drawn[at] = member;
    }
    return seen < max ? seen : max;
}

static void gossip_now(struct swim *swim, uint64_t now_ms)
{
    const struct mesh_member *drawn[DRAWN_MAX];
    size_t peers = swim->preset->gossip_peers;
    bool is_due = now_ms >= swim->gossip_at_ms || swim->hurries;
    if (gossip_count(swim->gossip) == 0 || !is_due || swim->gossip_waits)
        return;
    /* who hurried waits longer afterwards: on average nothing more is sent */
    uint64_t from_ms = now_ms < swim->gossip_at_ms ? swim->gossip_at_ms : now_ms;
    swim->gossip_at_ms = from_ms + swim->preset->gossip_ms;
    swim->hurries = false;
    size_t count = swim->preset->memberlist == NULL ? swim_draw(swim, nobody, drawn, peers)
                                                    : draw_with_dead(swim, drawn, peers, now_ms);
    for (size_t n = 0; n < count; n++)
        swim_push_to(swim, drawn[n], DATAGRAM_GOSSIP, 0, nobody);
    swim->gossip_waits = swim->is_stalled;
}

/* Memberlist's ticker goes on when there is nothing to tell: what comes waits for it. */
static void gossip_keep_beat(struct swim *swim, uint64_t now_ms)
{
    uint32_t gossip_ms = swim->preset->gossip_ms;
    if (swim->preset->memberlist != NULL && swim->gossip_at_ms < now_ms)
        swim->gossip_at_ms += (now_ms - swim->gossip_at_ms + gossip_ms - 1) / gossip_ms * gossip_ms;
}

void swim_stall(struct swim *swim, bool is_stalled)
{
    swim->is_stalled = is_stalled && swim->preset->memberlist != NULL;
    swim->probe_waits = swim->probe_waits && is_stalled;
    swim->gossip_waits = swim->gossip_waits && is_stalled;
}

void swim_note_lag(struct swim *swim, uint64_t now_ms)
{
    if (swim->due_ms >= now_ms || now_ms - swim->due_ms <= LAG_MS ||
        swim->preset->memberlist != NULL)
        return;
    uint64_t lag_ms = now_ms - swim->due_ms;
    swim->due_ms = now_ms;
    swim->stats.lags++;
    swim->lagged_ms = now_ms;
    probe_push_deadlines(swim, lag_ms);
}

void swim_now(struct swim *swim, uint64_t now_ms)
{
    if (swim->phase == SWIM_GONE)
        return;
    swim_note_lag(swim, now_ms);
    hold_now(&swim->hold, now_ms);
    swim_tell_flags(swim);
    join_now(swim, now_ms);
    if (detects(swim)) {
        suspicions_now(swim, now_ms);
        probe_now(swim, now_ms);
        weak_now(swim, now_ms);
        views_now(swim, now_ms);
    }
    if (view_is_announced(swim->view) && swim->phase != SWIM_GONE) {
        relays_now(swim, now_ms);
        hearsay_now(swim, now_ms);
        claims_now(swim->claims, now_ms);
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
    identity_now(swim);
    uint64_t due_ms = join_deadline_ms(swim);
    if (detects(swim)) {
        sooner(&due_ms, probe_deadline_ms(swim));
        sooner(&due_ms, edges_deadline_ms(&swim->edges));
        sooner(&due_ms, views_deadline_ms(swim));
    }
    if (view_is_announced(swim->view) && swim->phase != SWIM_GONE) {
        sooner(&due_ms, hold_deadline_ms(&swim->hold));
        sooner(&due_ms, relays_deadline_ms(swim));
        sooner(&due_ms, hearsay_deadline_ms(swim));
        sooner(&due_ms, claims_deadline_ms(swim->claims));
        gossip_keep_beat(swim, now_ms);
        if (gossip_count(swim->gossip) > 0 && view_others(swim->view) > 0 && !swim->gossip_waits)
            sooner(&due_ms, swim->hurries ? now_ms : swim->gossip_at_ms);
    }
    swim->due_ms = due_ms > now_ms ? due_ms : now_ms;
}

uint64_t swim_deadline_ms(const struct swim *swim)
{
    return swim->due_ms;
}

/* ---- questions ------------------------------------------------------------------------------ */

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
        const struct mesh_member *row = view_other(swim->view, n);
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
    return member != NULL ? view_time_ms(swim->view, member->acked_at) : 0;
}

uint32_t swim_awareness(const struct swim *swim)
{
    return swim->awareness;
}

size_t swim_bytes(const struct swim *swim)
{
    return sizeof *swim + view_bytes(swim->view) + gossip_bytes(swim->gossip) +
           swim->round_room * sizeof *swim->round + swim->doubts_room * sizeof *swim->doubts +
           swim->suspects.room * sizeof(struct suspicion *) +
           swim->suspects.count * sizeof(struct suspicion) + swim->sends_room * sizeof *swim->sends;
}

void swim_stats(const struct swim *swim, struct swim_stats *stats)
{
    *stats = swim->stats;
}
