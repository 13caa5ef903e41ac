/* swim_hearsay.c - what one member says of another and would end, replace or move it: that it left,
 * that a newer process has its name, that it is at another address. Who has the cluster's key may
 * lie, so the one that it is about is asked before that is believed; told by itself it is believed
 * at once (reliability.md, B4). A death has its suspicion, which is refuted: swim_suspect.c.
 *
 * A farewell is believed unless the one that left answers, and says nothing of it: who leaves says
 * so in what it answers. If it is silent, a second member that tells it suffices: of those that
 * believe it at least one has asked. A newer generation is believed if it answers, or if the older
 * one does not; one of our own name only if it answers. So of a name the newest process that
 * answers is the member, whatever was told, and one that was taken for replaced, by one that is
 * gone, comes back when it speaks. Of two records of one version it is told ours, which it outdoes
 * if it is not its own: else only who tells it by chance would end that. */
#include <stdlib.h>

#include "mesh/base/mutant.h"
#include "mesh/member/swim_state.h"

#define DOUBTS_FIRST 4
#define DOUBTS_MAX 128 /* what is beyond that is told again, or found when views are compared */
#define ASKS_MAX 3     /* one may be lost */
#define ASK_MIN_MS 60u /* between two of them: as long as an answer may take, within these */
#define ASK_MAX_MS 160u
#define DENIED_MS 500 /* who was asked and denied it is not asked again before */

static const struct peer_id nobody = {0, 0};

static bool carries_record(const struct wire_update *news)
{
    return news->kind == UPDATE_ALIVE ||
           (news->kind == UPDATE_SUSPECT && news->record.name[0] != '\0');
}

/* News of one that does not live, as far as is known here. `of_name`: who lives under its name, or
 * the newest that did. */
static enum hearsay kind_of_gone(const struct mesh_member *known, const struct mesh_member *of_name,
                                 const struct wire_update *news)
{
    uint64_t generation = news->record.id.generation, other = of_name->record->id.generation;
    bool is_alive = news->kind == UPDATE_ALIVE;
    if (known != NULL && (!is_alive || news->incarnation <= known->incarnation))
        return HEARSAY_HARMLESS;
    bool is_older = is_alive && generation < other;
    if (member_is_living(of_name) && generation > other &&
        (news->kind != UPDATE_SUSPECT || carries_record(news)))
        return HEARSAY_NEWER;
    if (member_is_living(of_name))
        return is_older ? HEARSAY_OLDER : HEARSAY_HARMLESS;
    bool has_left = known != NULL && known->state == MEMBER_LEFT;
    return is_older && !has_left ? HEARSAY_BACK : HEARSAY_HARMLESS;
}

enum hearsay hearsay_kind(const struct swim *swim, const struct wire_update *news)
{
    const struct mesh_record *said = &news->record;
    const struct mesh_member *of_name = view_find_name(swim->view, said->id.name), *known;
    if (news->kind == UPDATE_CLAIM || of_name == NULL)
        return HEARSAY_HARMLESS;
    known = view_find(swim->view, said->id);
    if (known == NULL || !member_is_living(known))
        return kind_of_gone(known, of_name, news);
    bool is_ours = known == view_self(swim->view);
    if (news->kind == UPDATE_LEFT && !is_ours && news->incarnation >= known->incarnation)
        return HEARSAY_LEFT;
    if (!carries_record(news) || said->nonce < known->record->nonce)
        return HEARSAY_HARMLESS;
    if (said->nonce > known->record->nonce)
        return HEARSAY_NEWER; /* a twin */
    if (is_ours || said->version < known->record->version)
        return HEARSAY_HARMLESS;
    if (said->version == known->record->version)
        return record_hash(said) != record_hash(known->record) ? HEARSAY_OTHER : HEARSAY_HARMLESS;
    return mesh_addr_equal(&said->addr, &known->record->addr) ? HEARSAY_HARMLESS : HEARSAY_MOVED;
}

/* ---- questions ------------------------------------------------------------------------------ */

/* Whom it would end, replace or move. */
static const struct mesh_member *subject_of(const struct swim *swim, const struct doubt *doubt)
{
    struct peer_id id = doubt->news.record.id;
    return doubt->kind == HEARSAY_NEWER ? view_find_name(swim->view, id.name)
                                        : view_find(swim->view, id);
}

/* A process that is no member here, or another address, is to be asked. */
static bool has_other(const struct swim *swim, const struct doubt *doubt)
{
    const struct mesh_record *said = &doubt->news.record;
    return (doubt->kind == HEARSAY_NEWER || doubt->kind == HEARSAY_MOVED ||
            doubt->kind == HEARSAY_BACK) &&
           said->name[0] != '\0' && said->nonce != 0 && said->addr.port != 0 &&
           !mesh_addr_equal(&said->addr, &view_self(swim->view)->record->addr);
}

static void ask(struct swim *swim, struct doubt *doubt, uint64_t now_ms)
{
    const struct mesh_member *subject = subject_of(swim, doubt);
    const struct mesh_record *said = &doubt->news.record;
    doubt->asked++;
    doubt->ask_at_ms = now_ms + doubt->wait_ms;
    bool is_there = subject != NULL && subject != view_self(swim->view);
    if (is_there && doubt->kind != HEARSAY_MOVED && doubt->kind != HEARSAY_BACK)
        swim_push_to(swim, subject, DATAGRAM_PING, doubt->number,
                     doubt->kind == HEARSAY_OTHER ? subject->record->id : nobody);
    if (has_other(swim, doubt)) {
        struct swim_send send = {.addr = said->addr, .kind = DATAGRAM_PING};
        send.number = doubt->number;
        send.target_name = said->id.name;
        send.target_nonce = said->nonce;
        swim_push(swim, &send);
    }
}

static struct doubt *find_doubt(struct swim *swim, enum hearsay kind,
                                const struct mesh_record *said)
{
    for (size_t n = 0; n < swim->doubts_count; n++) {
        struct doubt *doubt = &swim->doubts[n];
        if (doubt->kind == kind && peer_id_equal(doubt->news.record.id, said->id) &&
            (kind != HEARSAY_NEWER || doubt->news.record.nonce == said->nonce))
            return doubt;
    }
    return NULL;
}

static struct doubt *add_doubt(struct swim *swim)
{
    if (swim->doubts_count == swim->doubts_room) {
        size_t room = swim->doubts_room == 0 ? DOUBTS_FIRST : 2 * swim->doubts_room;
        struct doubt *doubts =
            room <= DOUBTS_MAX ? reallocarray(swim->doubts, room, sizeof *doubts) : NULL;
        if (doubts == NULL)
            return NULL;
        swim->doubts = doubts;
        swim->doubts_room = room;
    }
    return &swim->doubts[swim->doubts_count++];
}

/* So long an answer may take. Of somebody new, or of one that is not there, nothing is known. */
static uint32_t wait_ms(struct swim *swim, enum hearsay kind, const struct wire_update *news)
{
    const struct mesh_member *known = view_find(swim->view, news->record.id);
    if (kind != HEARSAY_LEFT)
        return ASK_MAX_MS;
    uint32_t wait_ms = probe_timeout_ms(swim, known);
    return wait_ms < ASK_MIN_MS ? ASK_MIN_MS : wait_ms > ASK_MAX_MS ? ASK_MAX_MS : wait_ms;
}

static void believe(struct swim *swim, struct doubt *doubt, uint64_t now_ms);

bool hearsay_holds(struct swim *swim, enum hearsay kind, struct peer_id teller,
                   const struct wire_update *news, bool is_quiet, uint64_t now_ms)
{
    bool is_believed = kind == HEARSAY_HARMLESS || kind == HEARSAY_OLDER;
    if (!swim->preset->asks_first || is_believed || MUTANT(BELIEVE_HEARSAY) ||
        !view_may_take(swim->view, news, now_ms))
        return false;
    struct doubt *doubt = find_doubt(swim, kind, &news->record);
    if (doubt != NULL) {
        if (news->incarnation > doubt->news.incarnation)
            doubt->news = *news;
        if (kind == HEARSAY_LEFT && !doubt->is_denied && !peer_id_equal(teller, doubt->teller))
            believe(swim, doubt, now_ms);
        return true;
    }
    doubt = add_doubt(swim);
    if (doubt == NULL)
        return true;
    *doubt = (struct doubt){.kind = kind,
                            .news = *news,
                            .teller = teller,
                            .is_quiet = is_quiet,
                            .wait_ms = wait_ms(swim, kind, news),
                            .number = swim_number(swim)};
    doubt->ends_ms = now_ms + ASKS_MAX * doubt->wait_ms;
    swim->stats.hearsay_asked++;
    ask(swim, doubt, now_ms);
    return true;
}

/* ---- answers -------------------------------------------------------------------------------- */

static void drop(struct swim *swim, struct doubt *doubt)
{
    *doubt = swim->doubts[--swim->doubts_count];
    if (swim->doubts_count > 0)
        return;
    free(swim->doubts);
    swim->doubts = NULL;
    swim->doubts_room = 0;
}

static void believe(struct swim *swim, struct doubt *doubt, uint64_t now_ms)
{
    struct doubt done = *doubt;
    drop(swim, doubt);
    if (done.kind == HEARSAY_BACK)
        view_let_back(swim->view, done.news.record.id);
    swim_take_news(swim, &done.news, done.is_quiet, now_ms);
    view_let_back(swim->view, nobody);
}

/* It is not asked again at once: who lies repeats it. */
static void deny(struct swim *swim, struct doubt *doubt, uint64_t now_ms)
{
    if (doubt->kind != HEARSAY_OTHER)
        swim->stats.hearsay_denied++;
    doubt->is_denied = true;
    doubt->ends_ms = now_ms + DENIED_MS;
}

static struct doubt *asked_under(struct swim *swim, uint32_t number)
{
    for (size_t n = 0; n < swim->doubts_count; n++)
        if (swim->doubts[n].number == number && !swim->doubts[n].is_denied)
            return &swim->doubts[n];
    return NULL;
}

bool hearsay_on_ack(struct swim *swim, const struct mesh_member *sender,
                    const struct mesh_addr *from, uint32_t number, uint64_t now_ms)
{
    struct doubt *doubt = asked_under(swim, number);
    if (doubt == NULL || subject_of(swim, doubt) != sender)
        return false;
    switch (doubt->kind) {
    case HEARSAY_LEFT:
        if (member_is_living(sender))
            deny(swim, doubt, now_ms);
        else
            drop(swim, doubt); /* the answer says that it left */
        break;
    case HEARSAY_NEWER: /* the newer one may answer as well */
        doubt->is_answered = true;
        if (!has_other(swim, doubt))
            deny(swim, doubt, now_ms);
        break;
    case HEARSAY_MOVED:
        if (mesh_addr_equal(from, &doubt->news.record.addr))
            believe(swim, doubt, now_ms);
        break;
    case HEARSAY_BACK:
        believe(swim, doubt, now_ms);
        break;
    case HEARSAY_OTHER:
        deny(swim, doubt, now_ms);
        break;
    case HEARSAY_OLDER:
    case HEARSAY_HARMLESS:
        break;
    }
    return true;
}

bool hearsay_on_stranger(struct swim *swim, const struct wire_datagram *d, uint64_t sender_nonce,
                         uint64_t now_ms)
{
    struct doubt *doubt = d->kind == DATAGRAM_ACK ? asked_under(swim, d->number) : NULL;
    if (doubt == NULL || (doubt->kind != HEARSAY_NEWER && doubt->kind != HEARSAY_BACK) ||
        !peer_id_equal(doubt->news.record.id, d->sender) ||
        doubt->news.record.nonce != sender_nonce)
        return false;
    doubt->news.kind = UPDATE_ALIVE; /* whatever was told of it */
    believe(swim, doubt, now_ms);
    return true;
}

/* ---- time ----------------------------------------------------------------------------------- */

/* Nobody answered who would have denied it. */
static bool is_believed_in_silence(const struct swim *swim, const struct doubt *doubt)
{
    if (doubt->kind == HEARSAY_NEWER)
        return !doubt->is_answered && subject_of(swim, doubt) != view_self(swim->view);
    return doubt->kind == HEARSAY_LEFT;
}

void hearsay_now(struct swim *swim, uint64_t now_ms)
{
    for (size_t n = 0; n < swim->doubts_count && swim->phase != SWIM_GONE;) {
        struct doubt *doubt = &swim->doubts[n];
        if (!doubt->is_denied && doubt->asked < ASKS_MAX && now_ms >= doubt->ask_at_ms)
            ask(swim, doubt, now_ms);
        if (now_ms < doubt->ends_ms) {
            n++;
        } else if (doubt->is_denied) {
            drop(swim, doubt);
        } else if (is_believed_in_silence(swim, doubt)) {
            believe(swim, doubt, now_ms);
        } else {
            deny(swim, doubt, now_ms);
        }
    }
}

void hearsay_on_lag(struct swim *swim, uint64_t lag_ms)
{
    for (size_t n = 0; n < swim->doubts_count; n++) {
        swim->doubts[n].ask_at_ms += lag_ms;
        swim->doubts[n].ends_ms += lag_ms;
    }
}

uint64_t hearsay_deadline_ms(const struct swim *swim)
{
    uint64_t due_ms = MESH_NEVER;
    for (size_t n = 0; n < swim->doubts_count; n++) {
        const struct doubt *doubt = &swim->doubts[n];
        bool asks =
            !doubt->is_denied && doubt->asked < ASKS_MAX && doubt->ask_at_ms < doubt->ends_ms;
        uint64_t at_ms = asks ? doubt->ask_at_ms : doubt->ends_ms;
        due_ms = at_ms < due_ms ? at_ms : due_ms;
    }
    return due_ms;
}
