/* swim_views.c - views that differ are made equal over links: who is wished for, the sums by
 * bucket, and the records of the buckets that differ, both ways in one exchange (one way alone
 * never converges). Which link carries it is the caller's business. */
#include <string.h>

#include "mesh/member/swim_state.h"

#define DIFFERING_MS 2000      /* a difference that gossip does not end by itself */
#define BACKLOG 32             /* so much waits to be told that an exchange tells it sooner */
#define BACKLOG_MS 250         /* then a difference need not last longer */
#define NEW_HERE_UNTIL_MS 5000 /* whoever joined less than this ago */
#define NEW_HERE_MS 500        /* waits no longer, either */
#define DIFFERING_RESTLESS 4   /* so often in a row our own view may have changed meanwhile */
#define ASKED_MAX 32           /* exchanges begun with us in a second: beyond that we are busy */
#define PART_RECORDS 256       /* what a busy peer tells in each, about */
#define PROVED_RECORDS (WIRE_RECORDS_MAX / 2) /* in a message: a proof makes them twice as long */
#define STRANGER_MS 2000                      /* gossip tells us of most newcomers before that */
#define STRANGER_MAX_MS 16000
#define STRANGER_OLD_MS 60000

static const struct peer_id nobody = {0, 0};

void views_wish(struct swim *swim, struct peer_id with, const struct mesh_addr *addr,
                uint64_t now_ms)
{
    if (swim->wishes_count == WISHES_MAX || addr->port == 0 ||
        mesh_addr_equal(addr, &view_self(swim->view)->record->addr))
        return;
    for (size_t n = 0; n < WISHES_MAX; n++)
        if (peer_id_equal(swim->wished[n].with, with) && now_ms - swim->wished[n].at_ms < SECOND_MS)
            return;
    swim->wished[swim->wished_next].with = with;
    swim->wished[swim->wished_next].at_ms = now_ms;
    swim->wished_next = (swim->wished_next + 1) % WISHES_MAX;
    swim->wishes[swim->wishes_count++] = (struct swim_wish){with, *addr};
}

bool swim_next_wish(struct swim *swim, struct swim_wish *wish)
{
    if (swim->wishes_count == 0)
        return false;
    *wish = swim->wishes[0];
    swim->wishes_count--;
    memmove(swim->wishes, swim->wishes + 1, swim->wishes_count * sizeof swim->wishes[0]);
    return true;
}

/* Somebody we do not know, or not in this generation, speaks as a member. */
void views_on_stranger(struct swim *swim, struct peer_id id, const struct mesh_addr *from,
                       uint64_t now_ms)
{
    struct stranger *stranger = NULL;
    swim->stats.strange++;
    if (swim->phase != SWIM_MEMBER || swim->preset->memberlist != NULL ||
        !view_is_plausible(swim->view, id, now_ms))
        return;
    for (size_t n = 0; n < swim->strangers_count && stranger == NULL; n++)
        if (peer_id_equal(swim->strangers[n].id, id))
            stranger = &swim->strangers[n];
    bool is_known = stranger != NULL && now_ms - stranger->heard_ms <= STRANGER_OLD_MS;
    if (stranger == NULL) {
        stranger = &swim->strangers[swim->strangers_next];
        swim->strangers_next = (swim->strangers_next + 1) % STRANGERS_MAX;
        if (swim->strangers_count < STRANGERS_MAX)
            swim->strangers_count++;
    }
    if (!is_known)
        *stranger = (struct stranger){id, now_ms, now_ms + STRANGER_MS, STRANGER_MS};
    stranger->heard_ms = now_ms;
    if (now_ms < stranger->wish_at_ms)
        return;
    views_wish(swim, id, from, now_ms);
    if (stranger->wait_ms < STRANGER_MAX_MS)
        stranger->wait_ms *= 2;
    stranger->wish_at_ms = now_ms + stranger->wait_ms;
}

/* A datagram carries a dozen records, and each is to be sent dozens of times: where hundreds join
 * at once gossip would take half a minute. */
static bool has_backlog(const struct swim *swim)
{
    return gossip_count(swim->gossip) > BACKLOG;
}

/* Who has just joined, perhaps with others, is the likeliest to have missed something. */
static bool is_new_here(const struct swim *swim, uint64_t now_ms)
{
    return swim->phase == SWIM_MEMBER && now_ms - swim->joined_ms < NEW_HERE_UNTIL_MS;
}

void views_on_hash(struct swim *swim, const struct mesh_member *member, uint64_t hash,
                   uint64_t now_ms)
{
    struct mesh_member *notes = view_notes(swim->view, member);
    notes->agrees = hash == view_hash(swim->view);
    if (notes->agrees) {
        notes->shown = true;
        if (peer_id_equal(member->record->id, swim->differing))
            swim->differing = (struct peer_id){0, 0};
        return;
    }
    if (swim->phase != SWIM_MEMBER || !peer_id_is_nobody(swim->differing) ||
        swim->preset->memberlist != NULL)
        return;
    swim->differing = member->record->id;
    swim->differing_hash = view_hash(swim->view);
    swim->differing_due_ms = now_ms + (has_backlog(swim)           ? BACKLOG_MS
                                       : is_new_here(swim, now_ms) ? NEW_HERE_MS
                                                                   : DIFFERING_MS);
}

/* Where hundreds join at once no view is whole: one that brought something is followed by another
 * one, of anybody's. Each about doubles what is known, until they are equal. */
static void go_on(struct swim *swim, uint64_t now_ms)
{
    const struct mesh_member *next;
    if (swim->phase != SWIM_MEMBER || swim->preset->memberlist != NULL || !has_backlog(swim) ||
        !peer_id_is_nobody(swim->differing) || swim_draw(swim, nobody, &next, 1) == 0)
        return;
    swim->differing = next->record->id;
    swim->differing_hash = 0;
    swim->differing_due_ms = now_ms + BACKLOG_MS;
}

/* Memberlist's push/pull: every so often with anybody; the larger the mesh the rarer. */
static void sync_now(struct swim *swim, uint64_t now_ms)
{
    const struct mesh_member *with;
    uint32_t octaves = 1; /* beyond 32, rounded up, and 1 */
    if (now_ms < swim->sync_at_ms)
        return;
    while (view_living(swim->view) > (size_t)32 << (octaves - 1))
        octaves++;
    swim->sync_at_ms = now_ms + (uint64_t)swim->preset->memberlist->sync_ms * octaves;
    if (swim->phase == SWIM_MEMBER && swim_draw(swim, (struct peer_id){0, 0}, &with, 1) == 1)
        views_wish(swim, with->record->id, &with->record->addr, now_ms);
}

/* Was it only news on its way? Then our own view has changed since, or something still waits to
 * be told. In a mesh that never comes to rest we ask all the same, now and then. */
void views_now(struct swim *swim, uint64_t now_ms)
{
    if (swim->preset->memberlist != NULL)
        sync_now(swim, now_ms);
    if (peer_id_is_nobody(swim->differing) || now_ms < swim->differing_due_ms)
        return;
    const struct mesh_member *member = view_find(swim->view, swim->differing);
    bool is_at_rest =
        swim->differing_hash == view_hash(swim->view) && gossip_count(swim->gossip) == 0;
    swim->differing = (struct peer_id){0, 0};
    if (member == NULL || !member_is_living(member) || swim->phase != SWIM_MEMBER)
        return;
    if (!is_at_rest && !has_backlog(swim) && !is_new_here(swim, now_ms) &&
        ++swim->differing_restless < DIFFERING_RESTLESS)
        return;
    swim->differing_restless = 0;
    views_wish(swim, member->record->id, &member->record->addr, now_ms);
}

uint64_t views_deadline_ms(const struct swim *swim)
{
    if (swim->preset->memberlist != NULL)
        return swim->sync_at_ms;
    return peer_id_is_nobody(swim->differing) ? MESH_NEVER : swim->differing_due_ms;
}

/* ---- the exchange --------------------------------------------------------------------------- */

void swim_exchange_begin(struct swim *swim, struct peer_id with, struct wire_message *m)
{
    const struct mesh_member *member = view_find(swim->view, with);
    memset(m, 0, sizeof *m);
    m->kind = WIRE_BUCKETS_ARE;
    memcpy(m->buckets, view_buckets(swim->view), sizeof m->buckets);
    /* Who joins asks for every bucket: those who are gone are in no sum, and a joiner that never
     * hears of their generations may hand one out again. */
    for (unsigned n = 0; n < WIRE_BUCKETS && swim->phase == SWIM_JOINING; n++)
        m->buckets[n] = ~m->buckets[n];
    if (member != NULL)
        view_notes(swim->view, member)->told = true;
}

static void answer_with(struct swim *swim, struct peer_id to, uint64_t mask, bool asks)
{
    for (size_t n = 0; n < swim->answers_count; n++) {
        struct view_answer *answer = &swim->answers[n];
        if (peer_id_equal(answer->to, to) && answer->asks == asks) {
            answer->mask |= mask;
            return;
        }
    }
    if (swim->answers_count < ANSWERS_MAX)
        swim->answers[swim->answers_count++] = (struct view_answer){to, mask, asks};
}

/* One more exchange was begun with us: are they many? */
static bool is_busy(struct swim *swim, uint64_t now_ms)
{
    if (now_ms - swim->asked_since_ms >= SECOND_MS) {
        swim->asked_since_ms = now_ms;
        swim->asked = 0;
    }
    return ++swim->asked > ASKED_MAX && swim->preset->memberlist == NULL;
}

/* Thousands that join at one peer can not be told thousands of records each. So they are told of
 * some others, whom to ask for the rest (see go_on()), and we hear at least who asks. */
static uint64_t part_of(struct swim *swim, struct peer_id asker, uint64_t mask)
{
    size_t buckets = PART_RECORDS * WIRE_BUCKETS / (view_count(swim->view) + 1) + 1;
    uint64_t part = mask & (uint64_t)1 << view_bucket_of(asker);
    for (unsigned n = 0, at = shuffle_below(&swim->chance, WIRE_BUCKETS); n < WIRE_BUCKETS; n++) {
        uint64_t bucket = mask & (uint64_t)1 << (at + n) % WIRE_BUCKETS;
        if (bucket != 0 && buckets > 0) {
            part |= bucket;
            buckets--;
        }
    }
    return part;
}

/* A death that only a peer of another view tells of may be a mistake of a split: the subject is
 * suspected, which it can refute, before it is taken for dead. */
static void take_record(struct swim *swim, struct peer_id from, const struct wire_update *record,
                        uint64_t now_ms)
{
    const struct mesh_member *known = view_find(swim->view, record->record.id);
    bool is_own = peer_id_equal(record->record.id, from);
    bool is_ours = known == view_self(swim->view);
    struct wire_update news = *record;
    if (news.kind == UPDATE_DEAD && known != NULL && member_is_living(known) && !is_ours) {
        news.kind = UPDATE_SUSPECT;
        news.accuser = from;
    }
    view_hear_subject(swim->view, is_own);
    /* A joiner learns what all others know. */
    swim_hear_news(swim, from, &news, swim->phase == SWIM_JOINING && !is_own, now_ms);
    view_hear_subject(swim->view, false);
}

void swim_on_link_message(struct swim *swim, struct peer_id from, const struct wire_message *m,
                          uint64_t now_ms)
{
    if (!view_is_announced(swim->view) || swim->phase == SWIM_GONE ||
        peer_id_equal(from, view_self(swim->view)->record->id))
        return;
    swim_note_lag(swim, now_ms);
    if (m->kind == WIRE_BUCKETS_ARE) {
        uint64_t mask = 0;
        for (unsigned n = 0; n < WIRE_BUCKETS; n++)
            if (m->buckets[n] != view_buckets(swim->view)[n])
                mask |= (uint64_t)1 << n;
        if (is_busy(swim, now_ms))
            mask = part_of(swim, from, mask);
        answer_with(swim, from, mask, mask != 0);
    } else if (m->kind == WIRE_VIEW) {
        uint64_t hash = view_hash(swim->view);
        for (size_t n = 0; n < m->view.count && swim->phase != SWIM_GONE; n++)
            take_record(swim, from, &m->view.records[n], now_ms);
        if (m->view.answer && m->view.mask != 0)
            answer_with(swim, from, m->view.mask, false);
        const struct mesh_member *member = view_find(swim->view, from);
        if (member != NULL)
            view_notes(swim->view, member)->told = true;
        join_on_view(swim, now_ms);
        if (view_hash(swim->view) != hash)
            go_on(swim, now_ms);
    }
    swim_settle(swim, now_ms);
}

/* The state of one row as an exchange tells it: always with its record, the suspicion left out. */
static void tell_record(const struct mesh_member *member, struct wire_update *record)
{
    view_tell(member, record);
    if (record->kind == UPDATE_SUSPECT)
        record->kind = UPDATE_ALIVE;
}

bool swim_next_link_message(struct swim *swim, struct peer_id *to, struct wire_message *m,
                            struct wire_update *records)
{
    const struct view *view = swim->view;
    uint32_t counts[WIRE_BUCKETS] = {0};
    if (swim->answers_count == 0)
        return false;
    struct view_answer *answer = &swim->answers[0];
    uint64_t mask = 0;
    uint32_t total = 0;
    uint16_t count = 0, most = swim->identity == NULL ? WIRE_RECORDS_MAX : PROVED_RECORDS;

    for (size_t n = 0; n < view_count(view); n++)
        counts[view_bucket_of(view_at(view, n)->record->id)]++;
    for (unsigned n = 0; n < WIRE_BUCKETS; n++) {
        if ((answer->mask >> n & 1) == 0 || (mask != 0 && total + counts[n] > most))
            continue;
        mask |= (uint64_t)1 << n;
        total += counts[n];
    }
    /* The living first: a bucket of more than a whole message leaves out the long dead. */
    for (int pass = 0; pass < 2; pass++)
        for (size_t n = 0; n < view_count(view) && count < most; n++) {
            const struct mesh_member *member = view_at(view, n);
            bool is_chosen = (mask >> view_bucket_of(member->record->id) & 1) != 0;
            if (is_chosen && member_is_living(member) == (pass == 0))
                tell_record(member, &records[count++]);
        }
    memset(m, 0, sizeof *m);
    m->kind = WIRE_VIEW;
    m->view.mask = mask;
    m->view.answer = answer->asks;
    m->view.count = count;
    m->view.records = records;
    *to = answer->to;
    answer->mask &= ~mask;
    if (answer->mask == 0) {
        swim->answers_count--;
        memmove(answer, answer + 1, swim->answers_count * sizeof *answer);
    }
    return true;
}
