/* swim_join.c - ways in, back and out: HELLO and WELCOME, the generation, waiting for a namesake
 * to go, healing a split by asking the dead and the seeds for ever, and saying farewell. */
#include <string.h>

#include "mesh/member/swim_state.h"

#define UNRESOLVED_MS 5000     /* contacts were promised and none was given */
#define UNJOINED_MS 5000       /* somebody answered, and no link to it came about */
#define HELLO_FIRST_MS 125     /* while nobody answers: doubling, */
#define HELLO_MOST_MS 250      /* so far. Half of what is sent may be lost: of 8 one is answered */
#define LONELY_MS 3000         /* so long we go on asking after we began alone, */
#define LONELY_HELLO_MS 60     /* more often: others know of us now, and some of them wait */
#define FOUND_MS 250           /* before the lowest of several askers begins */
#define INTRODUCE_FIRST_MS 100 /* a link has brought the views by then, or datagrams are lost */
#define INTRODUCE_MS 150       /* between introductions, as long as no link brings them */
#define INTRODUCED_AT_ONCE 3   /* members that we have learned of meanwhile */
#define ASKED_AT_ONCE 3        /* contacts or contacts lost, per second */
#define FRESH_MS 30000         /* after our start contacts are asked every second */
#define NAMED_LATELY_MS 60000  /* contacts given in so long are asked every second by some, */
#define LOST_LATELY_MS 600000  /* and so are members lost; others at the low rate */
#define LOST_DIALLERS 8        /* so many of all members, on average */
#define FORGET_SECONDS 60      /* who has been gone for a day may be remembered so much longer */
#define LOST_SECONDS 300       /* see hold.h: two deaths within so long */
#define SELDOM_SECONDS 10      /* the low rate: 3 of all members, on average, in so long */
#define SELDOM_DIALLERS 3
#define NAMESAKE_TRIES 3    /* unanswered: it is gone; a pod made anew is a member within 2 s */
#define NAMESAKE_MS 500     /* between two of them */
#define FAREWELL_WATCHERS 4 /* our monitor and the next witnesses */
#define FAREWELL_MS 200     /* until said again */
#define FAREWELL_MIN_MS 400 /* gossip gets so much time */
#define FAREWELL_MAX_MS 2000

static void push_hello(struct swim *swim, const struct mesh_addr *addr)
{
    struct swim_send send = {.addr = *addr, .kind = DATAGRAM_HELLO, .number = swim_number(swim)};
    if (addr->port != 0 && !mesh_addr_equal(addr, &view_self(swim->view)->record->addr))
        swim_push(swim, &send);
}

/* Does a living member have this contact's address? Who was found there last is looked at first. */
static bool is_known(struct swim *swim, size_t n)
{
    const struct mesh_addr *addr = &swim->contacts[n];
    const struct mesh_member *there = view_by_handle(swim->view, swim->contacts_there[n]);
    if (there == NULL || !member_is_living(there) || !mesh_addr_equal(&there->record->addr, addr))
        there = view_find_addr(swim->view, addr);
    if (there == NULL || !member_is_living(there))
        return false;
    swim->contacts_there[n] = view_handle(swim->view, there);
    return true;
}

/* Some of the contacts named within so long where no member is known to live, in turn. */
static void ask_contacts(struct swim *swim, uint64_t within_ms, uint64_t now_ms)
{
    for (size_t n = 0, asked = 0; asked < ASKED_AT_ONCE && n < swim->contacts_count; n++) {
        swim->contacts_next = (swim->contacts_next + 1) % swim->contacts_count;
        if (now_ms - swim->contacts_named_ms[swim->contacts_next] > within_ms ||
            is_known(swim, swim->contacts_next))
            continue;
        push_hello(swim, &swim->contacts[swim->contacts_next]);
        asked++;
    }
}

static void become_member(struct swim *swim, uint64_t now_ms)
{
    swim->phase = SWIM_MEMBER;
    swim->joined_ms = now_ms;
    swim_push_event(swim, SWIM_JOINED, view_self(swim->view)->record->id);
}

/* Views are asked for over a link, and while it does not bring them we say by datagrams who we are.
 */
static void begin_introductions(struct swim *swim, uint64_t now_ms)
{
    swim->introduce_at_ms = now_ms + INTRODUCE_FIRST_MS;
    swim->introduce_until_ms = now_ms + UNJOINED_MS;
    views_wish(swim, swim->welcomer.with, &swim->welcomer.addr, now_ms);
}

#define GENERATION_STEP_MAX 1024

/* From here on we have an identity: others may learn of us. Where the clock is behind, a former
 * process of our name may have counted up from the same one that we heard of, and died before it
 * was widely known: by chance we do not take the very generation that it took. */
static void fix_generation(struct swim *swim, enum swim_phase phase, uint64_t now_ms)
{
    const struct mesh_member *self = view_self(swim->view);
    uint64_t generation = swim->boot_ms;
    if (generation <= swim->highest_generation)
        generation =
            swim->highest_generation + 1 + shuffle_below(&swim->chance, GENERATION_STEP_MAX);
    if (view_announce(swim->view, generation, now_ms) < 0)
        return;
    gossip_tell(swim->gossip, swim->view, self->record->id, GOSSIP_ALIVE, (struct peer_id){0, 0});
    swim->heal_at_ms = now_ms + SECOND_MS;
    swim->joined_ms = now_ms;
    swim->phase = phase;
    if (phase == SWIM_MEMBER)
        become_member(swim, now_ms);
    else
        begin_introductions(swim, now_ms);
}

void swim_join(struct swim *swim, const struct mesh_addr *contact, uint64_t now_ms)
{
    size_t at = swim->contacts_count;
    swim_note_lag(swim, now_ms);
    if (mesh_addr_equal(contact, &view_self(swim->view)->record->addr)) {
        swim->named_ourselves = true;
    } else {
        for (size_t n = 0; n < swim->contacts_count; n++)
            if (mesh_addr_equal(contact, &swim->contacts[n])) {
                swim->contacts_named_ms[n] = now_ms;
                return;
            }
        if (at < SWIM_CONTACTS_MAX)
            swim->contacts_count++;
        else
            at = shuffle_below(&swim->chance, SWIM_CONTACTS_MAX);
        swim->contacts[at] = *contact;
        swim->contacts_named_ms[at] = now_ms;
        if (swim->first_contact_ms == MESH_NEVER)
            swim->first_contact_ms = now_ms;
        if (swim->phase == SWIM_ASKING) {
            if (at < ASKED_AT_ONCE)
                push_hello(swim, contact);
            if (swim->hello_at_ms <= now_ms)
                swim->hello_at_ms = now_ms + HELLO_FIRST_MS;
        }
    }
    swim_settle(swim, now_ms);
}

/* When we stop waiting for an answer and begin alone. Where all begin at once, the lowest name
 * among those who ask each other does so soon, for the others to join it. */
static uint64_t alone_at_ms(const struct swim *swim)
{
    if (swim->contacts_count > 0)
        return swim->found_at_ms < swim->first_contact_ms + SWIM_ALONE_MS
                   ? swim->found_at_ms
                   : swim->first_contact_ms + SWIM_ALONE_MS;
    return swim->start_ms + (swim->has_contacts && !swim->named_ourselves ? UNRESOLVED_MS : 0);
}

/* ---- hello and welcome ---------------------------------------------------------------------- */

/* Somebody asks while we ask: whoever is lower begins, once others had time to be heard. */
static void on_fellow_asker(struct swim *swim, const struct mesh_addr *from,
                            const struct wire_datagram *d, uint64_t now_ms)
{
    uint64_t name = view_self(swim->view)->record->id.name;
    if (d->sender.generation != 0) {
        push_hello(swim, from); /* it began: it will welcome us */
    } else if (d->sender.name < name) {
        swim->heard_lower = true;
        swim->found_at_ms = MESH_NEVER;
        push_hello(swim, from); /* we may be none of its contacts: it is to hear of us */
    } else if (d->sender.name > name && !swim->heard_lower && swim->found_at_ms == MESH_NEVER) {
        swim->found_at_ms = now_ms + FOUND_MS;
    }
}

void join_on_hello(struct swim *swim, const struct mesh_addr *from, const struct wire_datagram *d,
                   uint64_t sender_nonce, uint64_t now_ms)
{
    if (swim->phase == SWIM_ASKING && sender_nonce != view_self(swim->view)->record->nonce)
        on_fellow_asker(swim, from, d, now_ms);
    if ((swim->phase != SWIM_JOINING && swim->phase != SWIM_MEMBER) ||
        sender_nonce == view_self(swim->view)->record->nonce)
        return;
    struct swim_send send = {.addr = *from, .kind = DATAGRAM_WELCOME, .number = d->number};
    send.target_name = d->sender.name;
    send.target_nonce = sender_nonce;
    memcpy(send.name, d->name, sizeof send.name);
    swim_push(swim, &send);

    const struct mesh_member *member = view_find(swim->view, d->sender);
    if (swim->phase == SWIM_MEMBER && view_is_plausible(swim->view, d->sender, now_ms) &&
        (member == NULL || !member_is_living(member)))
        views_wish(swim, d->sender, from, now_ms);
}

static void wait_for_namesake(struct swim *swim, const struct wire_datagram *d, uint64_t now_ms)
{
    swim->phase = SWIM_WAITING;
    swim->incumbent = d->incumbent;
    swim->incumbent_addr = d->incumbent_addr;
    swim->waiting_since_ms = now_ms;
    swim->incumbent_answered_ms = now_ms;
    swim->incumbent_unanswered = 1;
    swim->hello_at_ms = now_ms + NAMESAKE_MS;
    push_hello(swim, &d->incumbent_addr);
    swim_push_event(swim, SWIM_NAME_WAITING, d->incumbent);
}

/* What a peer knows of our name, before we have a generation. */
static void learn_of_name(struct swim *swim, const struct wire_datagram *d, uint64_t now_ms)
{
    uint64_t highest = d->highest_generation;
    view_believe_clock(swim->view, highest, now_ms);
    view_believe_clock(swim->view, d->sender.generation, now_ms);
    struct peer_id id = {view_self(swim->view)->record->id.name, highest};
    if (highest > swim->highest_generation && view_is_plausible(swim->view, id, now_ms))
        swim->highest_generation = highest;
}

void join_on_welcome(struct swim *swim, const struct mesh_addr *from, const struct wire_datagram *d,
                     uint64_t sender_nonce, uint64_t now_ms)
{
    const struct mesh_member *self = view_self(swim->view);
    if (d->sender.generation == 0 || d->target_nonce == 0 ||
        peer_id_equal(d->sender, self->record->id))
        return;
    bool is_asking = swim->phase == SWIM_ASKING || swim->phase == SWIM_WAITING;
    bool is_alone = swim->phase == SWIM_MEMBER && view_others(swim->view) == 0;
    if (is_asking)
        learn_of_name(swim, d, now_ms);
    if ((is_asking && d->sender.name != self->record->id.name) ||
        (is_alone && !join_introduces(swim))) {
        swim->welcomer = (struct swim_wish){d->sender, *from};
        swim->welcomer_nonce = sender_nonce;
    }
    switch (swim->phase) {
    case SWIM_ASKING:
        if (d->incumbent_lives && d->incumbent.name == self->record->id.name &&
            d->incumbent.generation != 0 &&
            !mesh_addr_equal(&d->incumbent_addr, &self->record->addr))
            wait_for_namesake(swim, d, now_ms);
        else
            fix_generation(swim, SWIM_JOINING, now_ms);
        break;
    case SWIM_WAITING:
        if (d->sender.name == self->record->id.name) {
            swim->incumbent_answered_ms = now_ms;
            swim->incumbent_unanswered = 0;
        }
        break;
    case SWIM_JOINING:
    case SWIM_MEMBER: {
        const struct mesh_member *member = view_find(swim->view, d->sender);
        if (view_others(swim->view) == 0) /* who began alone is told the time as a joiner is */
            view_believe_clock(swim->view, d->sender.generation, now_ms);
        if (is_alone && !join_introduces(swim))
            begin_introductions(swim, now_ms); /* and joins as one */
        if (swim->phase == SWIM_JOINING && now_ms - swim->joined_ms < SECOND_MS)
            break; /* one view is enough, if it comes */
        if (member == NULL || !member_is_living(member))
            views_wish(swim, d->sender, from, now_ms);
        break;
    }
    case SWIM_LEAVING:
    case SWIM_GONE:
        break;
    }
}

void join_on_view(struct swim *swim, uint64_t now_ms)
{
    swim->introduce_until_ms = 0;
    if (swim->phase == SWIM_JOINING)
        become_member(swim, now_ms);
}

/* ---- introductions ------------------------------------------------------------------------- */

bool join_introduces(const struct swim *swim)
{
    return (swim->phase == SWIM_JOINING || swim->phase == SWIM_MEMBER) &&
           swim->introduce_until_ms != 0 && swim->preset->memberlist == NULL;
}

/* A dial, and views over its link, take many seconds where datagrams are lost, and the newcomer
 * would be unknown as long. So it says HELLO again, to the process that welcomed it and with its
 * own record, until that is answered; the answer tells of others, to whom it says the same. */
static void introductions_now(struct swim *swim, uint64_t now_ms)
{
    const struct mesh_member *drawn[INTRODUCED_AT_ONCE];
    struct peer_id self = view_self(swim->view)->record->id;
    if (!join_introduces(swim) || now_ms < swim->introduce_at_ms)
        return;
    swim->introduce_at_ms = now_ms + INTRODUCE_MS;
    if (now_ms >= swim->introduce_until_ms)
        swim->introduce_until_ms = 0;
    if (view_find(swim->view, swim->welcomer.with) == NULL) {
        struct swim_send send = {.addr = swim->welcomer.addr, .kind = DATAGRAM_HELLO, .tell = self};
        send.number = swim_number(swim);
        send.target_name = swim->welcomer.with.name;
        send.target_nonce = swim->welcomer_nonce;
        swim_push(swim, &send);
    }
    size_t count = swim_draw(swim, self, drawn, INTRODUCED_AT_ONCE);
    for (size_t n = 0; n < count; n++)
        swim_push_to(swim, drawn[n], DATAGRAM_HELLO, swim_number(swim), self);
}

bool join_is_introduction(const struct wire_datagram *d)
{
    const struct wire_update *first = &d->updates[0];
    return (d->kind == DATAGRAM_HELLO || d->kind == DATAGRAM_ACK) && d->target_nonce != 0 &&
           d->updates_count > 0 && first->kind == UPDATE_ALIVE &&
           peer_id_equal(first->record.id, d->sender);
}

void join_on_introduction(struct swim *swim, const struct mesh_addr *from,
                          const struct wire_datagram *d, uint64_t sender_nonce, uint64_t now_ms)
{
    const struct wire_update *own = &d->updates[0];
    if ((swim->phase != SWIM_JOINING && swim->phase != SWIM_MEMBER) ||
        swim->preset->memberlist != NULL || !join_is_introduction(d) ||
        own->record.nonce != sender_nonce || !mesh_addr_equal(&own->record.addr, from))
        return;
    view_hear_subject(swim->view, true);
    swim_hear_news(swim, d->sender, own, d->kind == DATAGRAM_ACK, now_ms);
    view_hear_subject(swim->view, false);
    const struct mesh_member *member = view_find(swim->view, d->sender);
    if (member != NULL) /* we told it of us, or do now */
        view_notes(swim->view, member)->told = true;
}

/* ---- timers --------------------------------------------------------------------------------- */

static void waiting_now(struct swim *swim, uint64_t now_ms)
{
    if (now_ms - swim->waiting_since_ms >= swim->name_wait_ms) {
        swim->phase = SWIM_GONE;
        swim_push_event(swim, SWIM_NAME_TAKEN, swim->incumbent);
        return;
    }
    if (now_ms < swim->hello_at_ms)
        return;
    swim->hello_at_ms = now_ms + NAMESAKE_MS;
    if (swim->incumbent_unanswered >= NAMESAKE_TRIES) {
        fix_generation(swim, SWIM_JOINING, now_ms);
        return;
    }
    swim->incumbent_unanswered++;
    push_hello(swim, &swim->incumbent_addr);
}

/* We began alone, and there may be others: of a few questions all may have been lost. */
static bool is_lonely(const struct swim *swim)
{
    return swim->contacts_count > 0 && view_others(swim->view) == 0 && swim->lonely_until_ms != 0 &&
           swim->preset->memberlist == NULL;
}

static void lonely_now(struct swim *swim, uint64_t now_ms)
{
    if (!is_lonely(swim) || now_ms < swim->hello_at_ms)
        return;
    swim->hello_at_ms = now_ms + LONELY_HELLO_MS;
    if (now_ms >= swim->lonely_until_ms)
        swim->lonely_until_ms = 0;
    ask_contacts(swim, MESH_NEVER, now_ms);
}

/* Dead, not superseded, and known by an address where no living member is. */
static bool is_lost(const struct swim *swim, const struct mesh_member *member)
{
    if (member->state != MEMBER_DEAD || member->record->addr.port == 0 ||
        view_find_name(swim->view, member->record->id.name) != member)
        return false;
    const struct mesh_member *there = view_find_addr(swim->view, &member->record->addr);
    return there == NULL || !member_is_living(there);
}

static bool is_drawn(struct swim *swim, uint32_t of_all)
{
    size_t living = view_living(swim->view);
    return shuffle_below(&swim->chance, (uint32_t)living) < of_all;
}

/* By everybody while we are new: where all start at once several may have begun, and their meshes
 * meet at the contacts. By some for ever: two meshes that never met have nothing of each other but
 * the names of their contacts, and only what is named still is worth asking so often. */
static void ask_named(struct swim *swim, uint64_t now_ms)
{
    if (swim->phase == SWIM_JOINING || view_others(swim->view) == 0 ||
        now_ms - swim->start_ms < FRESH_MS)
        ask_contacts(swim, MESH_NEVER, now_ms);
    else if (swim->preset->memberlist == NULL && is_drawn(swim, LOST_DIALLERS))
        ask_contacts(swim, NAMED_LATELY_MS, now_ms);
}

/* A few of the members lost lately, beginning anywhere. */
static void ask_lost_lately(struct swim *swim, uint64_t now_ms)
{
    size_t count = view_count(swim->view), asked = 0;
    if (count == view_living(swim->view) || !is_drawn(swim, LOST_DIALLERS))
        return;
    size_t from = shuffle_below(&swim->chance, (uint32_t)count);
    for (size_t n = 0; n < count && asked < ASKED_AT_ONCE; n++) {
        const struct mesh_member *member = view_at(swim->view, (from + n) % count);
        if (member->state == MEMBER_DEAD &&
            now_ms - view_silent_ms(swim->view, member) < LOST_LATELY_MS && is_lost(swim, member)) {
            push_hello(swim, &member->record->addr);
            asked++;
        }
    }
}

/* One dead contact or seed of all. */
static void ask_seldom(struct swim *swim)
{
    size_t count = view_count(swim->view);
    size_t dead = count - view_living(swim->view);
    size_t pick = shuffle_below(&swim->chance, (uint32_t)(dead + swim->contacts_count));
    if (pick >= dead) {
        if (swim->contacts_count == 0)
            return;
        if (!is_known(swim, pick - dead))
            push_hello(swim, &swim->contacts[pick - dead]);
        return;
    }
    for (size_t n = 0; n < count; n++) {
        const struct mesh_member *member = view_at(swim->view, n);
        if (!member_is_living(member) && pick-- == 0) {
            if (is_lost(swim, member))
                push_hello(swim, &member->record->addr);
            return;
        }
    }
}

/* Who was lost more than one or two of these ago counts as never lost. */
static void forget_losses(struct swim *swim)
{
    for (size_t n = 0; n < view_count(swim->view); n++) {
        struct mesh_member *notes = view_notes(swim->view, view_at(swim->view, n));
        notes->lost_before = notes->lost;
        notes->lost = false;
    }
}

/* Once a second for ever: a split, or a restart of everybody, always heals. */
static void heal_now(struct swim *swim, uint64_t now_ms)
{
    if (swim->phase == SWIM_JOINING && now_ms - swim->joined_ms >= UNJOINED_MS)
        become_member(swim, now_ms);
    if (now_ms < swim->heal_at_ms)
        return;
    swim->heal_at_ms = now_ms + SECOND_MS;
    swim->heals++;
    ask_named(swim, now_ms);
    if (swim->phase != SWIM_MEMBER || swim->preset->memberlist != NULL)
        return;
    ask_lost_lately(swim, now_ms);
    if (swim->heals % SELDOM_SECONDS == 0 && is_drawn(swim, SELDOM_DIALLERS))
        ask_seldom(swim);
    if (swim->heals % FORGET_SECONDS == 0 && view_count(swim->view) > view_living(swim->view))
        view_forget(swim->view, now_ms);
    if (swim->heals % LOST_SECONDS == 0)
        forget_losses(swim);
}

/* ---- farewell ------------------------------------------------------------------------------- */

/* Those who would miss us first, and some by chance. */
static void choose_farewells(struct swim *swim)
{
    const struct mesh_member *chosen[FAREWELLS_MAX];
    struct peer_id self = view_self(swim->view)->record->id;
    size_t max = swim->preset->farewells < FAREWELLS_MAX ? swim->preset->farewells : FAREWELLS_MAX;
    size_t watchers = max < FAREWELL_WATCHERS ? max : FAREWELL_WATCHERS;
    size_t count = monitor_before(swim->view, self, chosen, watchers);
    watchers = count;
    count += swim_draw(swim, self, chosen + count, max - count);
    for (size_t n = 0; n < count; n++) {
        bool is_twice = false;
        for (size_t i = 0; i < watchers && n >= watchers; i++)
            is_twice = is_twice || chosen[i] == chosen[n];
        if (!is_twice)
            swim->farewells[swim->farewells_count++] =
                (struct farewell){chosen[n]->record->id, swim_number(swim), false};
    }
}

void swim_leave(struct swim *swim, uint64_t now_ms)
{
    struct peer_id self = view_self(swim->view)->record->id;
    if (swim->phase == SWIM_LEAVING || swim->phase == SWIM_GONE)
        return;
    swim_note_lag(swim, now_ms);
    if (!view_is_announced(swim->view)) {
        swim->phase = SWIM_GONE;
        swim_push_event(swim, SWIM_LEFT, self);
        swim_settle(swim, now_ms);
        return;
    }
    swim->phase = SWIM_LEAVING;
    view_leave(swim->view, now_ms);
    gossip_tell(swim->gossip, swim->view, self, GOSSIP_LEAVE, (struct peer_id){0, 0});
    choose_farewells(swim);
    swim->leave_began_ms = now_ms;
    swim->farewell_at_ms = now_ms;
    join_now(swim, now_ms);
    swim_settle(swim, now_ms);
}

bool leave_on_ack(struct swim *swim, uint32_t number, struct peer_id from)
{
    for (size_t n = 0; n < swim->farewells_count; n++)
        if (swim->farewells[n].number == number && peer_id_equal(swim->farewells[n].to, from)) {
            swim->farewells[n].is_acked = true;
            return true;
        }
    return false;
}

static void leaving_now(struct swim *swim, uint64_t now_ms)
{
    struct peer_id self = view_self(swim->view)->record->id;
    uint64_t since_ms = now_ms - swim->leave_began_ms;
    size_t open = 0;
    for (size_t n = 0; n < swim->farewells_count; n++) {
        const struct farewell *farewell = &swim->farewells[n];
        const struct mesh_member *member = view_find(swim->view, farewell->to);
        if (farewell->is_acked || member == NULL || !member_is_living(member))
            continue;
        open++;
        if (now_ms >= swim->farewell_at_ms)
            swim_push_to(swim, member, DATAGRAM_PING, farewell->number, self);
    }
    if (now_ms >= swim->farewell_at_ms)
        swim->farewell_at_ms = now_ms + FAREWELL_MS;
    if (view_others(swim->view) == 0 || since_ms >= FAREWELL_MAX_MS ||
        (open == 0 && since_ms >= FAREWELL_MIN_MS)) {
        swim->phase = SWIM_GONE;
        swim_push_event(swim, SWIM_LEFT, self);
    }
}

void join_now(struct swim *swim, uint64_t now_ms)
{
    switch (swim->phase) {
    case SWIM_ASKING:
        if (now_ms >= alone_at_ms(swim)) {
            fix_generation(swim, SWIM_MEMBER, now_ms);
            swim->lonely_until_ms = now_ms + LONELY_MS;
            swim->hello_at_ms = now_ms;
            lonely_now(swim, now_ms);
        } else if (now_ms >= swim->hello_at_ms) {
            swim->hello_wait_ms = swim->hello_wait_ms == 0 ? HELLO_FIRST_MS : swim->hello_wait_ms;
            swim->hello_at_ms = now_ms + swim->hello_wait_ms;
            if (swim->hello_wait_ms < HELLO_MOST_MS)
                swim->hello_wait_ms *= 2; /* peers that start together hear each other soon */
            ask_contacts(swim, MESH_NEVER, now_ms);
        }
        break;
    case SWIM_WAITING:
        waiting_now(swim, now_ms);
        break;
    case SWIM_JOINING:
    case SWIM_MEMBER:
        lonely_now(swim, now_ms);
        introductions_now(swim, now_ms);
        heal_now(swim, now_ms);
        break;
    case SWIM_LEAVING:
        leaving_now(swim, now_ms);
        break;
    case SWIM_GONE:
        break;
    }
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t join_deadline_ms(const struct swim *swim)
{
    uint64_t introduce_ms = join_introduces(swim) ? swim->introduce_at_ms : MESH_NEVER;
    switch (swim->phase) {
    case SWIM_ASKING:
        return least(alone_at_ms(swim), swim->hello_at_ms);
    case SWIM_WAITING:
        return least(swim->hello_at_ms, swim->waiting_since_ms + swim->name_wait_ms);
    case SWIM_JOINING:
        return least(least(swim->heal_at_ms, swim->joined_ms + UNJOINED_MS), introduce_ms);
    case SWIM_MEMBER:
        return least(least(swim->heal_at_ms, introduce_ms),
                     is_lonely(swim) ? swim->hello_at_ms : MESH_NEVER);
    case SWIM_LEAVING:
        return swim->farewell_at_ms;
    case SWIM_GONE:
        return MESH_NEVER;
    }
    return MESH_NEVER;
}
