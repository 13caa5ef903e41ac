/* claims.c - the table of claims: by shard, by age, and what is still to be told. See claims.h. */
#include "mesh/member/claims.h"

#include <errno.h>
#include <stdlib.h>

#include "mesh/base/table.h"

#define NOTHING UINT32_MAX

/* Two lists by age, the oldest first: our own, which are refreshed, and others', which expire. */
enum { OWN, OTHERS, TO_TELL, LISTS };

struct links {
    uint32_t before, after;
};

struct entry {
    struct claim claim;
    uint64_t told_ms;        /* when its claimant last said so, as far as we heard */
    struct links age, queue; /* free entries: age.after */
    uint32_t sends;
    bool is_own, is_queued;
};

struct list {
    uint32_t first, last, count;
};

struct claims {
    struct entry *entries;
    uint32_t capacity, free; /* free: the first free one */
    struct list lists[LISTS];
    struct table slots; /* shard -> entry */
};

/* ---- lists ---------------------------------------------------------------------------------- */

static struct links *links_of(struct claims *claims, unsigned list, uint32_t at)
{
    struct entry *entry = &claims->entries[at];
    return list == TO_TELL ? &entry->queue : &entry->age;
}

static void list_append(struct claims *claims, unsigned which, uint32_t at)
{
    struct list *list = &claims->lists[which];
    *links_of(claims, which, at) = (struct links){list->last, NOTHING};
    if (list->last != NOTHING)
        links_of(claims, which, list->last)->after = at;
    else
        list->first = at;
    list->last = at;
    list->count++;
}

static void list_remove(struct claims *claims, unsigned which, uint32_t at)
{
    struct list *list = &claims->lists[which];
    struct links links = *links_of(claims, which, at);
    if (links.before != NOTHING)
        links_of(claims, which, links.before)->after = links.after;
    else
        list->first = links.after;
    if (links.after != NOTHING)
        links_of(claims, which, links.after)->before = links.before;
    else
        list->last = links.before;
    list->count--;
}

static unsigned age_list(const struct entry *entry)
{
    return entry->is_own ? OWN : OTHERS;
}

static void tell(struct claims *claims, uint32_t at)
{
    struct entry *entry = &claims->entries[at];
    if (entry->is_queued)
        list_remove(claims, TO_TELL, at);
    entry->is_queued = true;
    entry->sends = 0;
    list_append(claims, TO_TELL, at);
}

/* ---- entries -------------------------------------------------------------------------------- */

int claims_new(struct claims **claimsp, const uint8_t sip_key[16])
{
    struct claims *claims = calloc(1, sizeof *claims);
    if (claims == NULL)
        return -ENOMEM;
    claims->free = NOTHING;
    for (unsigned n = 0; n < LISTS; n++)
        claims->lists[n] = (struct list){NOTHING, NOTHING, 0};
    table_init(&claims->slots, sizeof(uint64_t), sip_key);
    *claimsp = claims;
    return 0;
}

void claims_free(struct claims *claims)
{
    if (claims == NULL)
        return;
    table_deinit(&claims->slots);
    free(claims->entries);
    free(claims);
}

static struct entry *entry_of(const struct claims *claims, uint64_t shard)
{
    uint32_t at = 0;
    return table_get(&claims->slots, &shard, &at) ? &claims->entries[at] : NULL;
}

static uint32_t place_of(const struct claims *claims, const struct entry *entry)
{
    return (uint32_t)(entry - claims->entries);
}

static void forget(struct claims *claims, uint32_t at)
{
    struct entry *entry = &claims->entries[at];
    if (entry->is_queued)
        list_remove(claims, TO_TELL, at);
    list_remove(claims, age_list(entry), at);
    table_remove(&claims->slots, &entry->claim.shard);
    *entry = (struct entry){.age.after = claims->free};
    claims->free = at;
}

/* 0, -ENOMEM, or -ENOSPC. */
static int make_room(struct claims *claims)
{
    if (claims->free != NOTHING)
        return 0;
    if (claims->capacity == CLAIMS_MAX) {
        if (claims->lists[OTHERS].count == 0)
            return -ENOSPC;
        forget(claims, claims->lists[OTHERS].first);
        return 0;
    }
    uint32_t more = claims->capacity == 0 ? 16 : claims->capacity * 2;
    struct entry *grown = realloc(claims->entries, more * sizeof *grown);
    if (grown == NULL)
        return -ENOMEM;
    claims->entries = grown;
    for (uint32_t at = more; at-- > claims->capacity;) {
        grown[at] = (struct entry){.age.after = claims->free};
        claims->free = at;
    }
    claims->capacity = more;
    return 0;
}

static int add(struct claims *claims, const struct claim *claim, bool is_own, uint64_t now_ms)
{
    int rc = make_room(claims);
    uint32_t at = claims->free;
    if (rc == 0)
        rc = table_put(&claims->slots, &claim->shard, at);
    if (rc < 0)
        return rc;
    struct entry *entry = &claims->entries[at];
    claims->free = entry->age.after;
    *entry = (struct entry){.claim = *claim, .told_ms = now_ms, .is_own = is_own};
    list_append(claims, age_list(entry), at);
    tell(claims, at);
    return 0;
}

/* The claimant said it again: the youngest of its list, and news. */
static void refresh(struct claims *claims, uint32_t at, uint32_t beat, uint64_t now_ms)
{
    struct entry *entry = &claims->entries[at];
    entry->claim.beat = beat;
    entry->told_ms = now_ms;
    list_remove(claims, age_list(entry), at);
    list_append(claims, age_list(entry), at);
    tell(claims, at);
}

/* ---- what is claimed ------------------------------------------------------------------------ */

static bool is_living(const struct view *view, struct peer_id id)
{
    const struct mesh_member *member = view_find(view, id);
    return member != NULL && member_is_living(member);
}

int claims_make(struct claims *claims, const struct view *view, uint64_t shard, uint64_t now_ms)
{
    struct claim claim = {.shard = shard, .owner = view_self(view)->record->id, .beat = 1};
    struct entry *entry = entry_of(claims, shard);
    if (entry != NULL && entry->is_own)
        return -EEXIST;
    if (entry != NULL)
        forget(claims, place_of(claims, entry));
    return add(claims, &claim, true, now_ms);
}

void claims_drop(struct claims *claims, uint64_t shard)
{
    struct entry *entry = entry_of(claims, shard);
    if (entry != NULL && entry->is_own)
        forget(claims, place_of(claims, entry));
}

/* An echo of our own. One with a higher beat than ours is another's work, or from before we
 * forgot: ours goes above it, or it would be taken for older. */
static void on_echo(struct claims *claims, struct entry *entry, const struct claim *claim,
                    uint64_t now_ms)
{
    if (entry == NULL || !entry->is_own || claim->beat <= entry->claim.beat ||
        claim->beat - entry->claim.beat > CLAIM_BEAT_JUMP_MAX)
        return;
    refresh(claims, place_of(claims, entry), claim->beat + 1, now_ms);
}

static bool is_fresh(const struct entry *entry, uint64_t now_ms)
{
    return entry->is_own || now_ms - entry->told_ms < CLAIM_EXPIRES_MS;
}

bool claims_take(struct claims *claims, struct view *view, const struct claim *claim,
                 uint64_t now_ms)
{
    struct entry *entry = entry_of(claims, claim->shard);
    const struct mesh_member *home = view_find_tag(view, claim->shard >> 3);
    if (claim->shard >> 51 != 0 || claim->beat == 0)
        return false;
    if (peer_id_equal(claim->owner, view_self(view)->record->id)) {
        on_echo(claims, entry, claim, now_ms);
        return false;
    }
    if (!is_living(view, claim->owner) || (home != NULL && member_is_living(home)))
        return false;
    if (entry != NULL && peer_id_equal(entry->claim.owner, claim->owner)) {
        if (claim->beat <= entry->claim.beat ||
            claim->beat - entry->claim.beat > CLAIM_BEAT_JUMP_MAX)
            return false;
        refresh(claims, place_of(claims, entry), claim->beat, now_ms);
        return true;
    }
    if (entry != NULL && is_fresh(entry, now_ms) && is_living(view, entry->claim.owner) &&
        (entry->is_own || peer_id_compare(entry->claim.owner, claim->owner) > 0))
        return false;
    if (entry != NULL)
        forget(claims, place_of(claims, entry));
    return add(claims, claim, false, now_ms) == 0;
}

bool claims_find(const struct claims *claims, const struct view *view, uint64_t shard,
                 struct peer_id *owner, uint64_t now_ms)
{
    const struct entry *entry = entry_of(claims, shard);
    if (entry == NULL || !is_fresh(entry, now_ms) || !is_living(view, entry->claim.owner))
        return false;
    *owner = entry->claim.owner;
    return true;
}

/* ---- time, and telling ---------------------------------------------------------------------- */

/* The oldest of a list, if it is `age_ms` old; NOTHING: it is not. */
static uint32_t due(const struct claims *claims, unsigned list, uint64_t age_ms, uint64_t now_ms)
{
    uint32_t at = claims->lists[list].first;
    return at != NOTHING && now_ms - claims->entries[at].told_ms >= age_ms ? at : NOTHING;
}

void claims_now(struct claims *claims, uint64_t now_ms)
{
    uint32_t at;
    while ((at = due(claims, OTHERS, CLAIM_EXPIRES_MS, now_ms)) != NOTHING)
        forget(claims, at);
    while ((at = due(claims, OWN, CLAIM_REFRESH_MS, now_ms)) != NOTHING)
        refresh(claims, at, claims->entries[at].claim.beat + 1, now_ms);
}

uint64_t claims_deadline_ms(const struct claims *claims)
{
    uint32_t own = claims->lists[OWN].first, other = claims->lists[OTHERS].first;
    uint64_t own_ms = own == NOTHING ? MESH_NEVER : claims->entries[own].told_ms + CLAIM_REFRESH_MS;
    uint64_t other_ms =
        other == NOTHING ? MESH_NEVER : claims->entries[other].told_ms + CLAIM_EXPIRES_MS;
    return own_ms < other_ms ? own_ms : other_ms;
}

bool claims_first(const struct claims *claims, struct claim *claim)
{
    uint32_t at = claims->lists[TO_TELL].first;
    if (at != NOTHING)
        *claim = claims->entries[at].claim;
    return at != NOTHING;
}

void claims_told(struct claims *claims, uint32_t budget)
{
    uint32_t at = claims->lists[TO_TELL].first;
    if (at == NOTHING)
        return;
    struct entry *entry = &claims->entries[at];
    list_remove(claims, TO_TELL, at);
    entry->is_queued = ++entry->sends < budget;
    if (entry->is_queued)
        list_append(claims, TO_TELL, at);
}

size_t claims_waiting(const struct claims *claims)
{
    return claims->lists[TO_TELL].count;
}

size_t claims_count(const struct claims *claims)
{
    return claims->lists[OWN].count + claims->lists[OTHERS].count;
}
