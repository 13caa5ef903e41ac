/* swim_news.c - what a piece of news does, besides to the view: whom it makes a suspect or frees of
 * suspicion, what is passed on, what we answer to news about ourselves. Which news outdoes which is
 * view_news.c's. */
#include "mesh/member/swim_state.h"

static const struct peer_id nobody = {0, 0};

/* A death, or a farewell, decides where sessions are: it is passed on at once, if the last gossip
 * was not early already. */
static void hurry(struct swim *swim, uint64_t now_ms)
{
    swim->hurries =
        swim->preset->memberlist == NULL && swim->gossip_at_ms <= now_ms + swim->preset->gossip_ms;
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
    gossip_tell(swim->gossip, swim->view, is->record->id, class, accuser);
}

static void refute(struct swim *swim, uint32_t was_incarnation)
{
    const struct mesh_member *self = view_self(swim->view);
    if (self->incarnation != was_incarnation) {
        swim->stats.refuted++;
        probe_blame_us(swim, 1);
    } else if (gossip_is_telling(swim->gossip, swim->view, self->record->id)) {
        return; /* who is behind will hear of it */
    }
    gossip_tell(swim->gossip, swim->view, self->record->id, GOSSIP_DEATH, nobody);
}

static void become_superseded(struct swim *swim)
{
    struct peer_id self = view_self(swim->view)->record->id;
    const struct mesh_member *newest = view_find_name(swim->view, self.name);
    swim->phase = SWIM_GONE;
    swim_push_event(swim, SWIM_SUPERSEDED, newest != NULL ? newest->record->id : self);
}

static void take_claim(struct swim *swim, const struct wire_update *news, uint64_t now_ms)
{
    struct claim claim = {news->shard, news->record.id, news->incarnation};
    (void)claims_take(swim->claims, swim->view, &claim, now_ms);
}

/* What was known of a member before the news. */
struct known {
    enum member_state state;
    uint32_t incarnation;
};

static void on_new_state(struct swim *swim, const struct mesh_member *member,
                         const struct known *was, const struct wire_update *news, bool is_quiet,
                         uint64_t now_ms)
{
    bool was_living = member_state_is_living(was->state);
    bool is_newer = member->incarnation != was->incarnation;
    if (member_is_living(member) && !was_living)
        probe_add(swim, member);
    if (was->state == MEMBER_SUSPECT && is_newer)
        suspicion_refuted(swim, member, now_ms);
    if (was->state == MEMBER_SUSPECT && !member_is_living(member))
        suspicion_over(swim, member);
    if (member->state == MEMBER_SUSPECT && (was->state != MEMBER_SUSPECT || is_newer))
        suspicion_begin(swim, member, news->accuser, now_ms);
    if (member->state == MEMBER_DEAD && was_living) {
        guard_on_death(&swim->guard, now_ms);
        view_notes(swim->view, member)->lost = true;
    }
    if (!is_quiet)
        pass_on(swim, member, was->state, was->incarnation, news->accuser);
    if (!is_quiet && was_living && !member_is_living(member))
        hurry(swim, now_ms);
}

void swim_take_news(struct swim *swim, const struct wire_update *news, bool is_quiet,
                    uint64_t now_ms)
{
    if (news->kind == UPDATE_CLAIM) {
        take_claim(swim, news, now_ms);
        return;
    }
    const struct mesh_member *member = view_find(swim->view, news->record.id);
    uint32_t self_incarnation = view_self(swim->view)->incarnation;
    struct known before = {MEMBER_UNKNOWN, 0};
    struct wire_update doubted;
    if (member != NULL)
        before = (struct known){member->state, member->incarnation};
    bool is_death = news->kind == UPDATE_DEAD && member != NULL && member_is_living(member) &&
                    member != view_self(swim->view);
    if (is_death && suspicion_doubts_death(swim, member, news, now_ms)) {
        doubted = *news;
        doubted.kind = UPDATE_SUSPECT;
        news = &doubted;
    }

    enum view_news result = view_apply(swim->view, news, now_ms);
    member = view_find(swim->view, news->record.id);
    switch (result) {
    case VIEW_OLD:
        if (member != NULL)
            gossip_heard(swim->gossip, swim->view, member, news);
        break;
    case VIEW_CONTACTED:
        break;
    case VIEW_REFUSED:
        swim->stats.news_refused++;
        break;
    case VIEW_NEW:
        if (member != NULL)
            on_new_state(swim, member, &before, news, is_quiet, now_ms);
        break;
    case VIEW_CONFIRMED:
        if (suspicion_confirm(swim, member, news->accuser, now_ms))
            gossip_tell_accuser(swim->gossip, swim->view, member->record->id, news->accuser);
        else
            gossip_heard(swim->gossip, swim->view, member, news);
        break;
    case VIEW_REFUTED:
        if (news->kind == UPDATE_DEAD)
            swim->stats.deaths_refuted++;
        refute(swim, self_incarnation);
        break;
    case VIEW_SUPERSEDED:
        become_superseded(swim);
        break;
    }
    if (news == &doubted && member != NULL)
        suspicion_told_dead(swim, member, news->accuser, now_ms);
}

static bool is_lost(const struct mesh_member *member)
{
    return member->lost || member->lost_before;
}

/* Were we on the smaller side of a split? Those whom we lost are the other side. */
static bool were_the_fewer(const struct swim *swim)
{
    size_t lost = 0, kept = 1;
    for (size_t n = 0; n < view_count(swim->view); n++) {
        const struct mesh_member *member = view_at(swim->view, n);
        if (member == view_self(swim->view))
            continue;
        lost += is_lost(member);
        kept += !is_lost(member) && member_is_living(member);
    }
    return kept < lost;
}

/* Others keep losing us: we go off the ring for a while. But who lost each other were parted, and
 * if the larger side held, too, the ring would be empty. */
static void learn_of_own_death(struct swim *swim, struct peer_id teller, uint64_t now_ms)
{
    const struct mesh_member *member = view_find(swim->view, teller);
    uint32_t hold_ms = swim->preset->hold_ms;
    bool is_mutual = member != NULL && (is_lost(member) || !member_is_living(member));
    if (is_mutual && !were_the_fewer(swim))
        return;
    if (hold_ms != 0 && hold_on_death(&swim->hold, hold_ms, now_ms))
        swim->stats.held++;
    weak_on_death(swim, now_ms);
    swim_tell_flags(swim);
}

void swim_accuse(struct swim *swim, const struct mesh_member *member, enum update_kind kind,
                 uint64_t now_ms)
{
    struct wire_update news = {.kind = kind, .accuser = view_self(swim->view)->record->id};
    news.record.id = member->record->id;
    news.incarnation = member->incarnation;
    swim_take_news(swim, &news, false, now_ms);
}

/* It says that we found somebody suspect, or dead, and we did not: our own finding counts more than
 * what others tell. */
static bool is_foisted(const struct swim *swim, const struct wire_update *news)
{
    const struct mesh_member *member = view_find(swim->view, news->record.id);
    if ((news->kind != UPDATE_SUSPECT && news->kind != UPDATE_DEAD) ||
        !peer_id_equal(news->accuser, view_self(swim->view)->record->id))
        return false;
    return news->kind == UPDATE_DEAD || member == NULL || member->state != MEMBER_SUSPECT ||
           member->incarnation != news->incarnation;
}

static void look_at_newest(struct swim *swim, uint64_t name, uint64_t now_ms)
{
    const struct mesh_member *newest = view_find_name(swim->view, name);
    if (newest != view_self(swim->view))
        probe_look(swim, newest, now_ms);
}

void swim_hear_news(struct swim *swim, struct peer_id teller, const struct wire_update *news,
                    bool is_quiet, uint64_t now_ms)
{
    const struct mesh_member *self = view_self(swim->view);
    bool is_own_death =
        news->kind == UPDATE_DEAD && peer_id_equal(news->record.id, self->record->id);
    uint32_t incarnation = self->incarnation;
    enum hearsay kind = hearsay_kind(swim, news);
    struct wire_update told;
    enum proof proof = identity_of(swim, news);
    if (proof == PROOF_WRONG) {
        swim->stats.unproved++;
        return;
    }
    /* what it signed is its own word, whoever brings it; but it may be long ago */
    bool is_own =
        peer_id_equal(teller, news->record.id) || (proof == PROOF_GOOD && kind != HEARSAY_BACK);
    if (!is_own && hearsay_holds(swim, kind, teller, news, is_quiet, now_ms))
        return;
    if (kind == HEARSAY_OLDER && swim->preset->asks_first) /* is the newer one there? */
        look_at_newest(swim, news->record.id.name, now_ms);
    if (kind == HEARSAY_BACK && swim->preset->asks_first)
        view_let_back(swim->view, news->record.id);
    if (is_foisted(swim, news)) {
        told = *news;
        told.accuser = nobody;
        news = &told;
    }
    swim_take_news(swim, news, is_quiet, now_ms);
    view_let_back(swim->view, nobody);
    if (is_own_death && self->incarnation != incarnation)
        learn_of_own_death(swim, teller, now_ms);
}
