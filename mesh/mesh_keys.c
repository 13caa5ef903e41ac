/* mesh_keys.c - which of the cluster's keys this peer uses, while its key file is changed under
 * way. Two rules make any order of changes on any peers harmless, since each peer says in its
 * record which keys it accepts and which one it seals with:
 *
 *   a key seals, and mints, only once every living member says that it accepts it;
 *   a key that left the file is answered to as long as a living member says that it seals with it.
 *
 * Whoever does not accept what we seal with (it started with an old file) is spoken to with a key
 * that it does accept. What a key is used for stands in seal.h, tunnel.h and key.h. */
#include "mesh/mesh_inside.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>

#include "mesh/base/mutant.h"

_Static_assert(MESH_KEYS_ALL == SEAL_KEYS_MAX, "all of them are shown");

/* A key that nobody seals with any more is given up so much later: what was sealed before is still
 * on its way. */
#define KEYS_GIVE_UP_MS 2000

/* What the living others say of our keys. */
struct tally {
    size_t others;
    size_t accept[SEAL_KEYS_MAX], seal[SEAL_KEYS_MAX];
    size_t silent; /* do not say: of a version before ours */
};

static bool keys_are_none(const struct mesh *m)
{
    return m->keys.set.count == 0;
}

static bool record_says(const struct mesh_record *record, uint32_t id)
{
    for (uint8_t n = 0; n < record->keys_count; n++)
        if (record->keys[n] == id)
            return true;
    return false;
}

static void keys_count_votes(const struct mesh *m, struct tally *tally)
{
    const struct keyset *set = &m->keys.set;
    memset(tally, 0, sizeof *tally);
    tally->others = view_others(m->core.view);
    for (size_t n = 0; n < tally->others; n++) {
        const struct mesh_record *record = view_other(m->core.view, n)->record;
        tally->silent += record->keys_count == 0;
        for (uint8_t k = 0; k < set->count; k++) {
            tally->accept[k] += record_says(record, set->keys[k].id);
            tally->seal[k] += record->keys_count > 0 && record->keys[0] == set->keys[k].id;
        }
    }
}

/* ---- what is decided ------------------------------------------------------------------------ */

static bool keys_may_use(const struct tally *tally, uint8_t k)
{
    return tally->accept[k] == tally->others || MUTANT(KEY_UNASKED);
}

/* The key that is to seal from now on. */
static uint8_t keys_choose(const struct keyset *set, const struct tally *tally)
{
    if (keys_may_use(tally, set->wanted))
        return set->wanted;
    if (tally->accept[set->sealing] > 0 || tally->silent > 0)
        return set->sealing;
    /* nobody takes ours: we started with a file that is ahead of all others */
    for (uint8_t k = 0; k < set->count; k++)
        if (keyset_accepts(set, k) && keys_may_use(tally, k))
            return k;
    return set->sealing;
}

static bool keys_are_to_stay(const struct keyset *set, const struct tally *tally, uint8_t k)
{
    if (!set->keys[k].is_leaving)
        return true;
    return k == set->sealing || ((tally->seal[k] > 0 || tally->silent > 0) && !MUTANT(KEY_DROPPED));
}

/* All that is made of the keys is made anew; what was remembered of ids is forgotten. */
static void keys_apply(struct mesh *m)
{
    struct core *core = &m->core;
    const struct keyset *set = &m->keys.set;
    uint8_t secrets[SEAL_KEYS_MAX][SEAL_KEY_BYTES];
    const uint8_t(*keys)[SEAL_KEY_BYTES] = (const uint8_t(*)[SEAL_KEY_BYTES])secrets;
    const char *label = core->config.cluster;
    uint32_t sealing = set->keys[set->sealing].id;
    uint8_t verify_only = keyset_secrets(set, secrets);
    int rc = seal_ring_init(&m->seal_ring, keys, set->count, verify_only, label);
    if (rc == 0)
        rc = key_ring_init(&core->keys, keys, set->count, verify_only, label);
    assert(rc == 0); /* the set was judged when it was read */
    seal_ring_use(&m->seal_ring, sealing);
    key_ring_use(&core->keys, sealing);
    sodium_memzero(secrets, sizeof secrets);
}

/* The keys in use, that which seals first; one that is leaving is no use to anybody else. */
static uint8_t keys_said(const struct keyset *set, uint32_t said[MESH_KEYS_SAID_MAX])
{
    uint8_t count = 1;
    said[0] = set->keys[set->sealing].id;
    for (uint8_t k = 0; k < set->count; k++)
        if (k != set->sealing && !set->keys[k].is_leaving && !set->keys[k].verifies)
            said[count++] = set->keys[k].id;
    return count;
}

static void keys_tell(struct mesh *m, enum mesh_change what, uint32_t id)
{
    core_tell(&m->core, what, core_self(&m->core), MEMBER_ALIVE, id);
}

static void keys_changed(struct mesh *m, uint64_t now_ms)
{
    uint32_t said[MESH_KEYS_SAID_MAX];
    keys_apply(m);
    swim_set_keys(m->core.swim, said, keys_said(&m->keys.set, said), now_ms);
    links_renew(m->core.links, now_ms);
}

/* True: at least one was given up. */
static bool keys_give_up(struct mesh *m, const struct tally *tally, uint64_t now_ms)
{
    struct keyset *set = &m->keys.set;
    bool any_due = false, any = false;
    for (uint8_t k = 0; k < set->count; k++)
        any_due |= !keys_are_to_stay(set, tally, k);
    if (!any_due)
        m->keys.give_up_ms = MESH_NEVER;
    else if (m->keys.give_up_ms == MESH_NEVER)
        m->keys.give_up_ms = now_ms + KEYS_GIVE_UP_MS;
    if (now_ms < m->keys.give_up_ms)
        return false;
    m->keys.give_up_ms = MESH_NEVER;
    for (uint8_t k = set->count; k-- > 0;) /* from the end: one that goes moves those behind it */
        if (!keys_are_to_stay(set, tally, k)) {
            keys_tell(m, MESH_KEY_GIVEN_UP, set->keys[k].id);
            keyset_give_up(set, k);
            any = true;
        }
    return any;
}

static void keys_decide(struct mesh *m, uint64_t now_ms)
{
    struct keyset *set = &m->keys.set;
    struct tally tally;
    keys_count_votes(m, &tally);
    uint8_t sealing = keys_choose(set, &tally);
    bool changed = sealing != set->sealing;
    set->sealing = sealing;
    if (changed)
        keys_tell(m, MESH_KEY_USED, set->keys[sealing].id);
    if (keys_give_up(m, &tally, now_ms) || changed)
        keys_changed(m, now_ms);
    m->keys.view = view_hash(m->core.view);
}

void mesh_keys_now(struct mesh *m, uint64_t now_ms)
{
    if (keys_are_none(m))
        return;
    if (m->keys.view != view_hash(m->core.view) || now_ms >= m->keys.give_up_ms)
        keys_decide(m, now_ms);
}

uint64_t mesh_keys_deadline_ms(const struct mesh *m)
{
    return keys_are_none(m) ? MESH_NEVER : m->keys.give_up_ms;
}

/* ---- from outside --------------------------------------------------------------------------- */

int mesh_keys_init(struct mesh *m, const struct mesh_config *config)
{
    const char *label = config->cluster;
    m->keys.give_up_ms = MESH_NEVER;
    if (config->keys_count == 0) {
        int rc = seal_ring_init(&m->seal_ring, NULL, 0, 0, label);
        return rc < 0 ? rc : key_ring_init(&m->core.keys, NULL, 0, 0, label);
    }
    int rc = keyset_init(&m->keys.set, (const uint8_t(*)[SEAL_KEY_BYTES])config->keys,
                         config->keys_count, config->verify_only);
    if (rc == 0)
        keys_apply(m);
    return rc;
}

uint8_t mesh_keys_said(const struct mesh *m, uint32_t said[MESH_KEYS_SAID_MAX])
{
    return keys_are_none(m) ? 0 : keys_said(&m->keys.set, said);
}

void mesh_keys_deinit(struct mesh *m)
{
    keyset_deinit(&m->keys.set);
    key_ring_deinit(&m->core.keys);
    seal_ring_deinit(&m->seal_ring);
}

int mesh_set_keys(struct mesh *m, const uint8_t (*keys)[32], uint8_t count, uint8_t verify_only,
                  uint64_t now_ms)
{
    if (keys_are_none(m) || count == 0)
        return -EINVAL; /* with a key and without one are two clusters */
    int rc = keyset_read(&m->keys.set, keys, count, verify_only);
    if (rc < 0)
        return rc;
    keys_changed(m, now_ms);
    keys_decide(m, now_ms);
    return 0;
}

int mesh_use_key(struct mesh *m, uint32_t id, uint64_t now_ms)
{
    struct keyset *set = &m->keys.set;
    struct tally tally;
    uint8_t k = keyset_find(set, id);
    if (k == SEAL_KEYS_MAX || set->keys[k].is_leaving || set->keys[k].verifies)
        return -ENOENT;
    keys_count_votes(m, &tally);
    if (!keys_may_use(&tally, k))
        return -EBUSY;
    set->wanted = k;
    keys_decide(m, now_ms);
    return 0;
}

/* For principals' hashes: of a cluster's key, or without one of the label. */
static void keys_derive_principal(uint8_t derived[2][16], const uint8_t *secret, const char *label)
{
    for (uint8_t n = 0; n < 2; n++) {
        crypto_generichash_state state;
        char use[] = "session-mesh principal 0";
        use[sizeof use - 2] = (char)('0' + n);
        crypto_generichash_init(&state, secret, secret != NULL ? SEAL_KEY_BYTES : 0, 16);
        crypto_generichash_update(&state, (const uint8_t *)use, sizeof use);
        crypto_generichash_update(&state, (const uint8_t *)label, strlen(label));
        crypto_generichash_final(&state, derived[n], 16);
        sodium_memzero(&state, sizeof state);
    }
}

size_t mesh_keys(const struct mesh *m, struct mesh_key_info infos[MESH_KEYS_ALL])
{
    const struct keyset *set = &m->keys.set;
    const char *label = m->core.config.cluster;
    struct tally tally;
    memset(infos, 0, MESH_KEYS_ALL * sizeof *infos);
    keys_count_votes(m, &tally);
    for (uint8_t k = 0; k < set->count; k++) {
        struct mesh_key_info *info = &infos[k];
        info->id = set->keys[k].id;
        info->use = set->keys[k].is_leaving ? MESH_KEY_LEAVING
                    : set->keys[k].verifies ? MESH_KEY_VERIFIES
                                            : MESH_KEY_IN_USE;
        info->seals = k == set->sealing;
        info->is_wanted = k == set->wanted;
        info->refusing = tally.others - tally.accept[k];
        info->sealing_others = tally.seal[k];
        keys_derive_principal(info->principal, set->keys[k].secret, label);
    }
    if (set->count > 0)
        return set->count;
    infos[0].seals = infos[0].is_wanted = true;
    keys_derive_principal(infos[0].principal, NULL, label);
    return 1;
}

/* ---- to whom, with which -------------------------------------------------------------------- */

const struct seal_key *mesh_key_for(struct mesh *m, struct peer_id to)
{
    const struct seal_ring *ring = &m->seal_ring;
    const struct seal_key *sealing = seal_ring_sealing(ring), *key = NULL;
    uint8_t in_use = seal_ring_in_use(ring);
    const struct mesh_member *member;
    if (in_use < 2)
        return sealing;
    member = peer_id_is_nobody(to) ? NULL : view_find(m->core.view, to);
    if (member == NULL) /* a stranger: one of them is what it knows, and it is asked again */
        return seal_ring_turn(ring, shuffle_below(&m->core.shuffle, in_use));
    if (record_says(member->record, sealing->id))
        return sealing;
    for (uint8_t n = 0; n < member->record->keys_count && key == NULL; n++)
        key = seal_ring_find(ring, member->record->keys[n]);
    return key != NULL ? key : sealing;
}
