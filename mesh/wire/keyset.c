/* keyset.c - see keyset.h. */
#include "mesh/wire/keyset.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include <sodium.h>

static bool shares_number(const struct keyset *set, uint32_t id)
{
    for (uint8_t n = 0; n < set->count; n++)
        if (((set->keys[n].id ^ id) & 15) == 0)
            return true;
    return false;
}

uint8_t keyset_find(const struct keyset *set, uint32_t id)
{
    for (uint8_t n = 0; n < set->count; n++)
        if (set->keys[n].id == id)
            return n;
    return SEAL_KEYS_MAX;
}

int keyset_init(struct keyset *set, const uint8_t (*keys)[SEAL_KEY_BYTES], uint8_t count,
                uint8_t verify_only)
{
    struct keyset made = {.wanted = SEAL_KEYS_MAX};
    int rc = count == 0 || count > MESH_KEYS_MAX ? -EINVAL : 0;

    for (uint8_t n = 0; rc == 0 && n < count; n++) {
        struct keyset_key *key = &made.keys[n];
        memcpy(key->secret, keys[n], sizeof key->secret);
        key->id = seal_key_id(keys[n]);
        key->is_listed = true;
        key->verifies = verify_only >> n & 1;
        if (key->id == 0 || shares_number(&made, key->id)) /* 0: none */
            rc = -EINVAL;
        if (!key->verifies && made.wanted == SEAL_KEYS_MAX)
            made.wanted = n;
        made.count++;
    }
    made.sealing = made.wanted;
    if (rc == 0 && made.wanted == SEAL_KEYS_MAX)
        rc = -EINVAL;
    if (rc == 0)
        *set = made;
    sodium_memzero(&made, sizeof made);
    return rc;
}

/* One that was in use, into the set that is made of the new file. */
static int keep(struct keyset *made, const struct keyset_key *key)
{
    uint8_t at = keyset_find(made, key->id);

    if (at < SEAL_KEYS_MAX) {
        made->keys[at].is_leaving = made->keys[at].verifies;
        return 0;
    }
    if (made->count == SEAL_KEYS_MAX || shares_number(made, key->id))
        return -EBUSY;
    made->keys[made->count] = *key;
    made->keys[made->count].is_listed = made->keys[made->count].verifies = false;
    made->keys[made->count++].is_leaving = true;
    return 0;
}

int keyset_read(struct keyset *set, const uint8_t (*keys)[SEAL_KEY_BYTES], uint8_t count,
                uint8_t verify_only)
{
    struct keyset made;
    int rc = keyset_init(&made, keys, count, verify_only);

    if (rc < 0)
        return rc;
    for (uint8_t n = 0; rc == 0 && n < set->count; n++)
        if (keyset_accepts(set, n))
            rc = keep(&made, &set->keys[n]);
    if (rc == 0) {
        made.sealing = keyset_find(&made, set->keys[set->sealing].id);
        *set = made;
    }
    sodium_memzero(&made, sizeof made);
    return rc;
}

void keyset_give_up(struct keyset *set, uint8_t index)
{
    assert(index != set->sealing && set->keys[index].is_leaving);
    set->keys[index].is_leaving = false;
    if (set->keys[index].is_listed)
        return;
    set->count--;
    memmove(&set->keys[index], &set->keys[index + 1],
            (size_t)(set->count - index) * sizeof set->keys[0]);
    sodium_memzero(&set->keys[set->count], sizeof set->keys[0]);
    if (set->sealing > index)
        set->sealing--;
    if (set->wanted > index)
        set->wanted--;
}

uint8_t keyset_secrets(const struct keyset *set, uint8_t secrets[SEAL_KEYS_MAX][SEAL_KEY_BYTES])
{
    uint8_t verify_only = 0;

    for (uint8_t n = 0; n < set->count; n++) {
        memcpy(secrets[n], set->keys[n].secret, SEAL_KEY_BYTES);
        if (!keyset_accepts(set, n))
            verify_only = (uint8_t)(verify_only | 1u << n);
    }
    return verify_only;
}

void keyset_deinit(struct keyset *set)
{
    if (set != NULL)
        sodium_memzero(set, sizeof *set);
}
