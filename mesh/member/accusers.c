/* accusers.c - see accusers.h. */
#include "mesh/member/accusers.h"

static struct accuser *find_or_make(struct accusers *accusers, struct peer_id id)
{
    struct accuser *oldest = &accusers->kept[0];
    for (uint32_t n = 0; n < accusers->count; n++) {
        struct accuser *accuser = &accusers->kept[n];
        if (peer_id_equal(accuser->id, id))
            return accuser;
        if (accuser->last_ms < oldest->last_ms)
            oldest = accuser;
    }
    if (accusers->count < ACCUSERS_KEPT)
        oldest = &accusers->kept[accusers->count++];
    *oldest = (struct accuser){.id = id};
    return oldest;
}

bool accusers_on_refuted(struct accusers *accusers, struct peer_id id, struct peer_id subject,
                         uint64_t now_ms)
{
    if (peer_id_is_nobody(id))
        return false;
    struct accuser *accuser = find_or_make(accusers, id);
    if (accuser->refuted == 0 || now_ms - accuser->first_ms > ACCUSER_WINDOW_MS) {
        accuser->refuted = 0;
        accuser->first_ms = now_ms;
        accuser->first_by = subject;
        accuser->is_by_several = false;
    }
    accuser->last_ms = now_ms;
    if (!peer_id_equal(accuser->first_by, subject))
        accuser->is_by_several = true;
    if (++accuser->refuted < ACCUSER_REFUTED_MAX || !accuser->is_by_several)
        return false;
    accuser->muted_until_ms = now_ms + ACCUSER_MUTE_MS;
    accuser->refuted = 0;
    return true;
}

bool accusers_may_vote(const struct accusers *accusers, struct peer_id id, uint64_t now_ms)
{
    for (uint32_t n = 0; n < accusers->count; n++)
        if (peer_id_equal(accusers->kept[n].id, id))
            return now_ms >= accusers->kept[n].muted_until_ms;
    return true;
}
