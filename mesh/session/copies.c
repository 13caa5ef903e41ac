/* copies.c - who has copies of our sessions, and what is sent to them. */
#include "mesh/session/copies.h"

#include <errno.h>
#include <stdlib.h>

#include "mesh/session/copies_inside.h"
#include "mesh/base/mutant.h"
#include "mesh/session/core.h"
#include "mesh/session/record.h"

#define COPIES_BURST_MS 100   /* so much of the rate may be made up for */
#define COPIES_SETTLE_MS 100  /* changes of the view come together */
#define COPIES_STEP_LOOKS 256 /* sessions looked at in a step */

int copies_init(struct core *core)
{
    struct copies *c = &core->copies;
    memset(c, 0, sizeof *c);
    list_init(&c->due);
    list_init(&c->acks);
    list_init(&c->outboxes);
    heap_init(&c->timers);
    c->acks_ms = c->due_ms = c->digest_ms = MESH_NEVER;
    strays_init(core);
    return 0;
}

void copies_deinit(struct core *core)
{
    heap_deinit(&core->copies.timers);
}

bool copies_are_kept(const struct session *session)
{
    return !session->is_copy && session->version > 0;
}

/* ---- holders -------------------------------------------------------------------------------- */

static struct holder *holder_of(struct session *session, struct peer_id peer)
{
    for (size_t n = 0; n < COPIES_HOLDERS_MAX; n++)
        if (peer_id_equal(session->holders[n].peer, peer))
            return &session->holders[n];
    return NULL;
}

bool copies_is_holder(const struct session *session, struct peer_id peer)
{
    for (size_t n = 0; n < COPIES_HOLDERS_MAX; n++)
        if (peer_id_equal(session->holders[n].peer, peer))
            return true;
    return false;
}

static bool holder_is_whole(const struct session *session, const struct holder *holder)
{
    return !peer_id_is_nobody(holder->peer) && session->version > 0 &&
           holder->acked == session->version;
}

uint32_t copies_whole(const struct core *core, const struct session *session)
{
    uint32_t count = 0;
    for (size_t n = 0; n < COPIES_HOLDERS_MAX; n++)
        count += holder_is_whole(session, &session->holders[n]) &&
                 core_is_living(core, session->holders[n].peer);
    return count;
}

bool copies_is_whole_at(const struct session *session, struct peer_id peer)
{
    for (size_t n = 0; n < COPIES_HOLDERS_MAX; n++)
        if (peer_id_equal(session->holders[n].peer, peer))
            return holder_is_whole(session, &session->holders[n]);
    return false;
}

/* It said that it has the record, and nothing speaks against that since: no link that broke. */
static bool holder_has_it(const struct holder *holder)
{
    return holder->sent != 0 && holder->acked != 0 && holder->acked >= holder->whole;
}

/* It was sent something a while ago, and has not said that it has that: it may be gone. */
static bool holder_is_silent(const struct holder *holder, uint64_t now_ms)
{
    return holder->acked < holder->sent && now_ms >= holder->since_ms + COPIES_DOUBLE_MS;
}

/* That it has the record is to be relied on: nothing speaks against that it lives. */
static bool holder_is_sure(const struct core *core, const struct holder *holder, uint64_t now_ms)
{
    return holder_has_it(holder) && !holder_is_silent(holder, now_ms) &&
           owner_can_be_asked(core, holder->peer, now_ms);
}

static uint32_t copies_sure(const struct core *core, const struct session *session, uint64_t now_ms)
{
    uint32_t count = 0;
    for (size_t n = 0; n < COPIES_HOLDERS_MAX; n++)
        count += holder_is_sure(core, &session->holders[n], now_ms);
    return count;
}

struct peer_id copies_newest(const struct core *core, const struct session *session)
{
    const struct holder *newest = NULL;
    for (size_t n = 0; n < COPIES_HOLDERS_MAX; n++) {
        const struct holder *holder = &session->holders[n];
        const struct mesh_member *member = view_find(core->view, holder->peer);
        bool has_it = holder_has_it(holder) || (holder->sent != 0 && newest == NULL);
        if (has_it && member != NULL && member_is_eligible(member) &&
            (newest == NULL || holder->acked > newest->acked))
            newest = holder;
    }
    return newest != NULL ? newest->peer : (struct peer_id){0};
}

/* It does not have the record yet, and should. */
static bool holder_is_late(const struct holder *holder, uint64_t now_ms)
{
    if (holder->acked > 0)
        return false;
    return holder->again_ms != 0 ||
           (holder->sent != 0 && now_ms >= holder->since_ms + COPIES_DOUBLE_MS);
}

/* What was on its way is lost: the whole record is to be sent again. */
static void holder_lose(struct core *core, struct holder *holder)
{
    core->stats.copies_resent += holder->sent != 0;
    holder->sent = 0;
    holder->again_ms = 0;
}

/* Says it to a holder that has all that came before. */
static void holder_say(struct core *core, struct session *session, struct holder *holder,
                       struct wire_message *m, uint64_t now_ms)
{
    const struct mesh_addr *addr = core_addr_of(core, holder->peer);
    m->session = session->id;
    m->epoch = session->epoch;
    m->copy.version = session->version;
    if (addr == NULL || links_tell(core->links, holder->peer, addr, m, now_ms) < 0) {
        holder->sent = 0;
        holder->again_ms = now_ms + COPIES_AGAIN_MS;
        return;
    }
    if (holder->sent == 0 || holder->acked == holder->sent)
        holder->since_ms = now_ms;
    holder->sent = session->version;
    holder->again_ms = 0;
}

/* It need not keep it any more. */
static void holder_forget(struct core *core, struct session *session, struct holder *holder,
                          uint64_t now_ms)
{
    struct wire_message m = {.kind = WIRE_COPY};
    holder_say(core, session, holder, &m, now_ms);
    *holder = (struct holder){0};
}

void copies_not_at(struct core *core, struct session *session, struct peer_id peer, uint64_t now_ms)
{
    struct holder *holder = holder_of(session, peer);
    if (holder == NULL || holder->is_refused)
        return;
    holder_lose(core, holder);
    holder->acked = 0;
    holder->again_ms = now_ms + COPIES_AGAIN_MS; /* it refuses what we send until we have met */
    copies_due(core, session, now_ms);
}

/* ---- waiting -------------------------------------------------------------------------------- */

/* When this holder is to be looked at again. */
static uint64_t holder_deadline_ms(const struct session *session, const struct holder *holder,
                                   uint64_t now_ms)
{
    if (peer_id_is_nobody(holder->peer))
        return MESH_NEVER;
    if (holder->again_ms != 0)
        return holder->again_ms;
    if (holder->sent == 0 || holder->acked == session->version)
        return MESH_NEVER; /* it is due, or has all */
    if (holder->acked == 0 && now_ms < holder->since_ms + COPIES_DOUBLE_MS)
        return holder->since_ms + COPIES_DOUBLE_MS;
    return holder->since_ms + COPIES_LOST_MS;
}

static int copies_arm(struct core *core, struct session *session, uint64_t now_ms)
{
    struct copying *copying = &session->copying;
    uint64_t at_ms = copying->alone_ms != 0 ? copying->alone_ms : MESH_NEVER;
    for (size_t n = 0; n < COPIES_HOLDERS_MAX; n++) {
        uint64_t holder_ms = holder_deadline_ms(session, &session->holders[n], now_ms);
        at_ms = holder_ms < at_ms ? holder_ms : at_ms;
    }
    return heap_set(&core->copies.timers, &copying->timer, at_ms);
}

static void copies_release(struct core *core, struct session *session)
{
    if (session->copying.alone_ms == 0)
        return;
    session->copying.alone_ms = 0;
    serve_release(core, session->creator);
}

bool copies_must_wait(const struct core *core, const struct session *session)
{
    (void)core;
    return session->copying.alone_ms != 0 && !MUTANT(NO_FIRST_COPY);
}

void copies_due(struct core *core, struct session *session, uint64_t at_ms)
{
    struct copies *c = &core->copies;
    if (list_is_linked(&session->copying.in_work))
        return;
    list_push_back(&c->due, &session->copying.in_work);
    if (at_ms < c->due_ms)
        c->due_ms = at_ms;
}

void copies_leave(struct core *core, struct session *session)
{
    copies_release(core, session); /* nothing will be acknowledged any more */
    list_remove(&session->copying.in_work);
    heap_remove(&core->copies.timers, &session->copying.timer);
}

/* ---- who is to have it ---------------------------------------------------------------------- */

static void copies_drop_gone(struct core *core, struct session *session)
{
    for (size_t n = 0; n < COPIES_HOLDERS_MAX; n++) {
        struct holder *holder = &session->holders[n];
        if (!peer_id_is_nobody(holder->peer) &&
            (!core_is_living(core, holder->peer) || peer_id_equal(holder->peer, core_self(core))))
            *holder = (struct holder){0};
    }
}

/* A place for one more holder: a free one, or that of one that is not wanted and has nothing yet.
 * Who refused keeps its place until it may be asked again. NULL: there is none. */
static struct holder *copies_place_for(struct core *core, struct session *session, unsigned wanted,
                                       struct peer_id peer, uint64_t now_ms)
{
    struct holder *place = NULL;
    for (unsigned n = 0; n < COPIES_HOLDERS_MAX; n++) {
        struct holder *holder = &session->holders[n];
        if (peer_id_is_nobody(holder->peer)) {
            place = holder;
            break;
        }
        bool is_refused = holder->is_refused && holder->again_ms > now_ms;
        if (place == NULL && !(wanted & 1u << n) && holder->acked == 0 && !is_refused)
            place = holder;
    }
    if (place == NULL)
        return NULL;
    /* while fewer have the record than should, what it has of an earlier epoch may be all that is
     * left (R1): once it wonders, it asks whose that is (strays.c) */
    if (!peer_id_is_nobody(place->peer) &&
        copies_sure(core, session, now_ms) >= core->config.copies)
        holder_forget(core, session, place, now_ms);
    *place = (struct holder){.peer = peer};
    return place;
}

/* Where there are too few candidates, those who are holders already go on as such: so many living
 * ones are to have it (invariant R1), whether they serve or not. */
static unsigned copies_add_others(const struct core *core, const struct session *session,
                                  unsigned wanted, uint32_t left, uint64_t now_ms)
{
    for (unsigned n = 0; n < COPIES_HOLDERS_MAX && left > 0; n++) {
        const struct holder *holder = &session->holders[n];
        const struct mesh_member *member = view_find(core->view, holder->peer);
        if ((wanted & 1u << n) || member == NULL || member->record->draining ||
            (holder->is_refused && holder->again_ms > now_ms))
            continue;
        wanted |= 1u << n;
        left--;
    }
    return wanted;
}

/* Marks in a mask the holders that it should have: the first candidates, and one more for each of
 * them that is late. *is_changed: there is one that was none before. *is_full: there was no place
 * for one more. */
static unsigned copies_choose(struct core *core, struct session *session, uint64_t now_ms,
                              bool *is_changed, bool *is_full)
{
    struct peer_id peers[MESH_CANDIDATES_MAX];
    size_t count = owner_candidates(core, &session->id, peers, MESH_CANDIDATES_MAX);
    uint32_t left = core->config.copies;
    unsigned wanted = 0;
    for (size_t n = 0; n < count && left > 0; n++) {
        const struct mesh_member *member = view_find(core->view, peers[n]);
        struct holder *holder = holder_of(session, peers[n]);
        if (peer_id_equal(peers[n], core_self(core)) || member == NULL || member->record->draining)
            continue;
        if (holder == NULL) {
            holder = copies_place_for(core, session, wanted, peers[n], now_ms);
            *is_changed = *is_changed || holder != NULL;
        }
        *is_full = holder == NULL;
        if (holder == NULL)
            break;
        if (holder->is_refused && holder->again_ms > now_ms)
            continue;
        holder->is_refused = false;
        wanted |= 1u << (holder - session->holders);
        left -= !holder_is_late(holder, now_ms);
    }
    if (*is_full && wanted != 0)
        return wanted;
    return copies_add_others(core, session, wanted, left, now_ms);
}

static bool copies_has_unwanted(const struct session *session, unsigned wanted)
{
    for (unsigned n = 0; n < COPIES_HOLDERS_MAX; n++)
        if (!(wanted & 1u << n) && !peer_id_is_nobody(session->holders[n].peer))
            return true;
    return false;
}

/* Who is not wanted goes once all others have the record, and have answered since they were chosen:
 * never before (invariant R1), for one that said nothing for a while may be dead as long. While
 * there is no place for another that is to have it, one goes at a time, and enough stay. */
static bool copies_drop_unwanted(struct core *core, struct session *session, unsigned wanted,
                                 bool is_full, uint64_t now_ms)
{
    bool is_changed = false;
    for (unsigned n = 0; n < COPIES_HOLDERS_MAX; n++)
        if ((wanted & 1u << n) && (!holder_is_sure(core, &session->holders[n], now_ms) ||
                                   session->holders[n].acked < session->copying.chosen))
            return false;
    if (is_full ? copies_sure(core, session, now_ms) <= core->config.copies : wanted == 0)
        return false;
    for (unsigned n = 0; n < COPIES_HOLDERS_MAX && !(is_full && is_changed); n++) {
        struct holder *holder = &session->holders[n];
        if ((wanted & 1u << n) || peer_id_is_nobody(holder->peer) ||
            (holder->is_refused && holder->again_ms > now_ms))
            continue;
        holder_forget(core, session, holder, now_ms);
        is_changed = true;
    }
    if (is_full && is_changed)
        copies_due(core, session, now_ms + COPIES_STEP_MS); /* there is a place now */
    return is_changed;
}

/* ---- what is sent --------------------------------------------------------------------------- */

static void copies_say_change(struct core *core, struct session *session, struct wire_message *m,
                              uint64_t now_ms)
{
    bool is_waiting = session->copying.timer.index != 0;
    session->version++;
    for (size_t n = 0; n < COPIES_HOLDERS_MAX; n++) {
        struct holder *holder = &session->holders[n];
        if (holder->sent == 0 || holder->sent != session->version - 1)
            continue;
        holder_say(core, session, holder, m, now_ms);
        is_waiting = is_waiting && holder->again_ms == 0;
    }
    if (!is_waiting)
        (void)copies_arm(core, session, now_ms);
}

void copies_on_state(struct core *core, struct session *session, uint64_t now_ms)
{
    struct wire_message m = {.kind = WIRE_COPY};
    if (!copies_are_kept(session))
        return;
    struct bytes *record = record_write(core, session, RECORD_STATE, now_ms);
    m.copy.parts = RECORD_STATE;
    if (record != NULL) {
        m.payload = slice_of(record, 0, record->length);
        copies_say_change(core, session, &m, now_ms);
        bytes_unref(record);
        return;
    }
    session->version++; /* nobody has it: all get the whole record */
    for (size_t n = 0; n < COPIES_HOLDERS_MAX; n++)
        holder_lose(core, &session->holders[n]);
    copies_due(core, session, now_ms);
}

void copies_on_stream(struct core *core, struct session *session, const struct event_stream *stream,
                      uint64_t now_ms)
{
    struct wire_message m = {.kind = WIRE_COPY_STREAM, .payload = stream->request};
    if (!copies_are_kept(session))
        return;
    m.copy.stream = stream->number;
    m.copy.is_last = stream->is_ended;
    m.copy.is_safe = stream->is_safe;
    copies_say_change(core, session, &m, now_ms);
}

void copies_on_event(struct core *core, struct session *session, const struct event_stream *stream,
                     const struct logged *event, uint64_t number, uint64_t now_ms)
{
    struct wire_message m = {.kind = WIRE_COPY_EVENT};
    if (!copies_are_kept(session))
        return;
    if (event->text.length <= RECORD_EVENT_MAX)
        m.payload = event->text;
    m.copy.stream = stream->number;
    m.copy.number = number;
    m.copy.delivered = stream->delivered;
    m.copy.answers = event->answers;
    m.copy.is_last = event->is_last;
    m.copy.why = event->why;
    copies_say_change(core, session, &m, now_ms);
}

bool copies_may_move(struct core *core, uint64_t now_ms)
{
    struct copies *c = &core->copies;
    if (c->moved_ms + COPIES_BURST_MS < now_ms)
        c->moved_ms = now_ms - COPIES_BURST_MS;
    if (c->moved_ms + 1000 / COPIES_MOVES_PER_S > now_ms)
        return false;
    c->moved_ms += 1000 / COPIES_MOVES_PER_S;
    return true;
}

/* The whole record to those of the mask that lack it. False: the rate allows no more now. */
static bool copies_say_whole(struct core *core, struct session *session, unsigned wanted,
                             bool is_urgent, uint64_t now_ms)
{
    struct wire_message m = {.kind = WIRE_COPY};
    struct bytes *record = NULL;
    bool may_go_on = true;
    m.copy.parts = RECORD_WHOLE;
    m.copy.wants_ack = true;
    for (unsigned n = 0; n < COPIES_HOLDERS_MAX && may_go_on; n++) {
        struct holder *holder = &session->holders[n];
        if (!(wanted & 1u << n) || holder->sent != 0 || holder->again_ms > now_ms)
            continue;
        may_go_on = is_urgent || copies_may_move(core, now_ms);
        if (!may_go_on)
            break;
        if (record == NULL)
            record = record_write(core, session, RECORD_WHOLE, now_ms);
        if (record == NULL) {
            holder->again_ms = now_ms + COPIES_AGAIN_MS;
            continue;
        }
        m.payload = slice_of(record, 0, record->length);
        holder->whole = session->version;
        holder_say(core, session, holder, &m, now_ms);
    }
    bytes_unref(record);
    return may_go_on;
}

/* One that is to get the record again once had this very version, and may just be saying so. */
static bool copies_is_ambiguous(const struct session *session, unsigned wanted)
{
    for (unsigned n = 0; n < COPIES_HOLDERS_MAX; n++)
        if ((wanted & 1u << n) && session->holders[n].sent == 0 &&
            session->holders[n].whole == session->version)
            return true;
    return false;
}

/* Gives it the holders that it should have, and them what they lack. False: the rate allows no more
 * now. */
static bool copies_look(struct core *core, struct session *session, bool is_urgent, uint64_t now_ms)
{
    bool is_changed = false, is_full = false;
    copies_drop_gone(core, session);
    unsigned wanted = copies_choose(core, session, now_ms, &is_changed, &is_full);
    struct copying *copying = &session->copying;
    bool is_other = wanted != copying->wanted && copies_has_unwanted(session, wanted);
    copying->wanted = wanted;
    if (is_changed || is_other || copies_is_ambiguous(session, wanted))
        copies_on_state(core, session, now_ms);
    if (is_changed || is_other)
        copying->chosen = session->version;
    if (copies_drop_unwanted(core, session, wanted, is_full, now_ms))
        copies_on_state(core, session, now_ms); /* those who stay know of each other */
    bool is_over = copies_say_whole(core, session, wanted, is_urgent, now_ms);
    if (copies_arm(core, session, now_ms) < 0)
        copies_release(core, session); /* nobody would */
    return is_over;
}

void copies_begin(struct core *core, struct session *session, uint64_t now_ms)
{
    const struct call *creator = call_at(core, session->creator);
    bool is_new = creator != NULL && !creator->is_ended;
    if (core->config.copies == 0 || core->config.on_owner_loss == MESH_LOSS_END ||
        session->is_copy || session->params.length == 0)
        return;
    for (size_t n = 0; n < COPIES_HOLDERS_MAX; n++)
        session->holders[n] = (struct holder){.peer = session->holders[n].peer};
    session->version++; /* within an epoch none comes twice */
    session->copying.wanted = 0;
    session->copying.chosen = 0;
    if (is_new) /* else an answer that waits already goes on waiting for as long as it may */
        session->copying.alone_ms = now_ms + COPIES_ALONE_MS;
    (void)copies_look(core, session, true, now_ms);
    bool is_alone = true;
    for (size_t n = 0; n < COPIES_HOLDERS_MAX; n++)
        is_alone = is_alone && peer_id_is_nobody(session->holders[n].peer);
    core->stats.sessions_alone += is_new && is_alone;
    if (is_alone && is_new)
        session->copying.alone_ms = 0;
    else if (is_alone)
        copies_release(core, session);
    if (core->copies.digest_ms == MESH_NEVER)
        core->copies.digest_ms = now_ms + COPIES_DIGEST_MS;
}

/* ---- what holders say ----------------------------------------------------------------------- */

static void copies_on_ack(struct core *core, struct session *session, struct holder *holder,
                          const struct wire_entry *entry, uint64_t now_ms)
{
    bool is_news = holder->acked == 0 || holder->acked < session->copying.chosen ||
                   holder_is_silent(holder, now_ms);
    if (entry->version <= holder->acked || entry->version > holder->sent ||
        entry->version < holder->whole)
        return;
    holder->acked = entry->version;
    holder->since_ms = now_ms;
    copies_release(core, session);
    (void)copies_arm(core, session, now_ms);
    if (is_news) /* another one may not be needed any more */
        copies_due(core, session, now_ms);
}

static void copies_on_refused(struct core *core, struct session *session, struct holder *holder,
                              uint64_t now_ms)
{
    core->stats.copies_refused++;
    *holder = (struct holder){
        .peer = holder->peer, .is_refused = true, .again_ms = now_ms + COPIES_REFUSED_MS};
    if (session->copying.alone_ms != 0)
        (void)copies_look(core, session, true, now_ms);
    else
        copies_due(core, session, now_ms);
}

/* While fewer have it than should, who has one yet goes on as a holder; without a place for it, it
 * keeps what may be all that is left, and asks again. False: it may forget it. */
static bool copies_adopt(struct core *core, struct session *session, struct peer_id peer,
                         uint64_t now_ms)
{
    struct holder *place = holder_of(session, (struct peer_id){0});
    if (copies_sure(core, session, now_ms) >= core->config.copies || !copies_are_kept(session))
        return false;
    if (place == NULL)
        return true;
    *place = (struct holder){.peer = peer, .whole = session->version}; /* and may say so yet */
    session->copying.wanted = 0;
    copies_due(core, session, now_ms);
    return true;
}

void copies_dismiss(struct core *core, struct session *session, struct peer_id peer,
                    uint64_t now_ms)
{
    struct holder none = {.peer = peer};
    if (!copies_is_holder(session, peer) && !copies_adopt(core, session, peer, now_ms))
        holder_forget(core, session, &none, now_ms);
}

/* It is ours, and that peer is none of its holders. */
static void copies_on_strange(struct core *core, struct session *session, struct peer_id peer,
                              const struct wire_entry *entry, uint64_t now_ms)
{
    const struct mesh_addr *addr = core_addr_of(core, peer);
    struct wire_message forget = {
        .kind = WIRE_COPY, .session = session->id, .has_session = true, .epoch = session->epoch};
    bool is_same = entry->epoch == session->epoch.counter;
    if (!(is_same && entry->version > session->version) &&
        copies_adopt(core, session, peer, now_ms))
        return;
    forget.copy.version = session->version; /* what it has may be of an earlier one, or of us */
    if (is_same && entry->version > session->version)
        forget.copy.version = entry->version;
    if (addr != NULL)
        (void)links_tell(core->links, peer, addr, &forget, now_ms);
}

static void copies_on_entry(struct core *core, struct peer_id from, const struct wire_entry *entry,
                            uint64_t now_ms)
{
    struct session *session = session_find(core, &entry->session);
    struct holder *holder = session != NULL ? holder_of(session, from) : NULL;
    bool asks = entry->flags & WIRE_ENTRY_ASKS;
    if (session == NULL) {
        strays_answer(core, from, entry, now_ms);
        return;
    }
    if (entry->epoch > session->epoch.counter) { /* somebody owned it after us, it says */
        fence_doubt(core, session, (struct mesh_epoch){entry->epoch, {0, 0}}, from, now_ms);
        return;
    }
    if (holder == NULL) {
        copies_on_strange(core, session, from, entry, now_ms);
        return;
    }
    if (entry->epoch < session->epoch.counter || (entry->flags & WIRE_ENTRY_OTHERS)) {
        if (asks) {
            holder_lose(core, holder);
            copies_due(core, session, now_ms);
        }
        return;
    }
    bool lacks = (entry->flags & WIRE_ENTRY_LACKS) || (asks && entry->version < holder->acked);
    if (entry->flags & WIRE_ENTRY_REFUSED) {
        copies_on_refused(core, session, holder, now_ms);
    } else if (lacks && holder->is_refused) {
        return; /* of course: it has not taken what came before */
    } else if (lacks) {
        holder_lose(core, holder);
        holder->acked = 0;
        copies_due(core, session, now_ms);
    } else {
        copies_on_ack(core, session, holder, entry, now_ms);
        if (asks)
            compare_tell(core, session, from, now_ms);
    }
}

static void copies_on_copied(struct core *core, struct peer_id from, struct slice entries,
                             uint64_t now_ms)
{
    struct wire_entry entry;
    while (wire_entry_read(&entry, &entries) > 0)
        copies_on_entry(core, from, &entry, now_ms);
    copies_post(core, now_ms);
}

void copies_on_message(struct core *core, struct peer_id from, const struct wire_message *m,
                       uint64_t now_ms)
{
    if (m->kind == WIRE_FOUND)
        strays_on_found(core, from, m, now_ms);
    else if (m->kind == WIRE_COPIED)
        copies_on_copied(core, from, m->payload, now_ms);
    else
        held_on_message(core, from, m, now_ms);
}

/* ---- what changes around them --------------------------------------------------------------- */

static struct session *copies_kept_in(struct core *core, uint32_t slot)
{
    struct handle h;
    struct session *session = pool_slot(&core->sessions.pool, slot, &h);
    return session != NULL && copies_are_kept(session) ? session : NULL;
}

static void copies_shake(struct core *core, uint64_t now_ms)
{
    compare_soon(core, now_ms);
    strays_shake(core, now_ms);
}

void copies_on_link(struct core *core, struct peer_id peer, bool stands, uint64_t now_ms)
{
    if (stands)
        copies_shake(core, now_ms);
    for (uint32_t slot = 0; slot < pool_span(&core->sessions.pool); slot++) {
        struct session *session = copies_kept_in(core, slot);
        struct holder *holder = session != NULL ? holder_of(session, peer) : NULL;
        if (holder == NULL || holder->is_refused)
            continue;
        if (stands && holder->sent == 0)
            holder->again_ms = 0;
        else if (!stands && holder->sent != 0 && holder->acked < holder->sent)
            holder_lose(core, holder);
        else if (!stands)
            continue;
        if (session->copying.alone_ms != 0)
            (void)copies_look(core, session, true, now_ms);
        else
            copies_due(core, session, now_ms);
    }
}

void copies_on_view(struct core *core, uint64_t now_ms)
{
    copies_shake(core, now_ms);
    for (uint32_t slot = 0; slot < pool_span(&core->sessions.pool); slot++) {
        struct session *session = copies_kept_in(core, slot);
        if (session != NULL)
            copies_due(core, session, now_ms + COPIES_SETTLE_MS);
    }
}

/* ---- time ----------------------------------------------------------------------------------- */

static void copies_timer_due(struct core *core, struct session *session, uint64_t now_ms)
{
    bool is_urgent = session->copying.alone_ms != 0;
    if (is_urgent && session->copying.alone_ms <= now_ms) {
        core->stats.sessions_alone++;
        copies_release(core, session);
    }
    for (size_t n = 0; n < COPIES_HOLDERS_MAX; n++) {
        struct holder *holder = &session->holders[n];
        if (holder->sent != 0 && holder->acked < holder->sent &&
            now_ms >= holder->since_ms + COPIES_LOST_MS)
            holder_lose(core, holder);
        if (holder->again_ms != 0 && holder->again_ms <= now_ms)
            holder->again_ms = 0;
    }
    heap_remove(&core->copies.timers, &session->copying.timer);
    if (!copies_look(core, session, is_urgent, now_ms))
        copies_due(core, session, now_ms + COPIES_STEP_MS);
}

/* Looks at what is due, as far as the rate allows. */
static void copies_look_at_due(struct core *core, uint64_t now_ms)
{
    struct copies *c = &core->copies;
    uint32_t looks = 0;
    if (c->due_ms > now_ms)
        return;
    c->due_ms = MESH_NEVER;
    while (!list_is_empty(&c->due) && looks++ < COPIES_STEP_LOOKS) {
        struct session *session =
            container_of(list_first(&c->due), struct session, copying.in_work);
        list_remove(&session->copying.in_work);
        if (copies_look(core, session, false, now_ms))
            continue;
        list_remove(&session->copying.in_work); /* it may be there again, as one of the last */
        list_push_front(&c->due, &session->copying.in_work);
        break;
    }
    if (!list_is_empty(&c->due))
        c->due_ms = now_ms + COPIES_STEP_MS;
}

void copies_now(struct core *core, uint64_t now_ms)
{
    struct copies *c = &core->copies;
    struct heap_node *node;
    if (c->acks_ms <= now_ms)
        held_acknowledge(core, now_ms);
    while ((node = heap_first(&c->timers)) != NULL && node->at_ms <= now_ms)
        copies_timer_due(core, container_of(node, struct session, copying.timer), now_ms);
    if (c->ring != view_ring_generation(core->view)) { /* who serves, or does not, is no change */
        c->ring = view_ring_generation(core->view);    /* of a member's state */
        copies_on_view(core, now_ms);
    }
    copies_look_at_due(core, now_ms);
    compare_now(core, now_ms);
    strays_now(core, now_ms);
}

uint64_t copies_deadline_ms(const struct core *core)
{
    const struct copies *c = &core->copies;
    uint64_t deadlines[] = {heap_deadline_ms(&c->timers), c->acks_ms, c->due_ms,
                            compare_deadline_ms(core), strays_deadline_ms(core)};
    uint64_t first = MESH_NEVER;
    for (size_t n = 0; n < sizeof deadlines / sizeof deadlines[0]; n++)
        if (deadlines[n] < first)
            first = deadlines[n];
    return first;
}
