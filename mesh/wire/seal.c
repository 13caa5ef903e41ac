/* seal.c - datagrams sealed with the cluster's keys, and the windows that let each in once. What
 * they say is wire.c's business. */
#include "mesh/wire/seal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "mesh/base/mutant.h"

#define NO_WINDOW UINT32_MAX
#define WINDOWS_FIRST 8

enum { AT_FLAGS = 1, AT_KEY = 2, AT_SENDER = 6, AT_NONCE = 14, AT_SEQ = 22 };

_Static_assert(crypto_aead_xchacha20poly1305_ietf_ABYTES == SEAL_TAG_BYTES, "tag");
_Static_assert(crypto_aead_xchacha20poly1305_ietf_NPUBBYTES == SEAL_HEAD_BYTES - AT_SENDER,
               "nonce");

static void write_le(uint8_t *at, uint64_t n, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        at[i] = (uint8_t)(n >> (8 * i));
}

static uint64_t read_le(const uint8_t *at, size_t bytes)
{
    uint64_t n = 0;

    while (bytes-- > 0)
        n = n << 8 | at[bytes];
    return n;
}

/* ---- the ring of keys ----------------------------------------------------------------------- */

uint32_t seal_key_id(const uint8_t key[SEAL_KEY_BYTES])
{
    uint8_t hash[crypto_generichash_BYTES];

    crypto_generichash(hash, sizeof hash, key, SEAL_KEY_BYTES, NULL, 0);
    return (uint32_t)read_le(hash, 4);
}

/* A key of its own for each use, so that no cipher's weakness reaches another's keys. */
static void derive(uint8_t derived[SEAL_KEY_BYTES], const uint8_t key[SEAL_KEY_BYTES],
                   const char *use)
{
    crypto_generichash(derived, SEAL_KEY_BYTES, (const uint8_t *)use, strlen(use), key,
                       SEAL_KEY_BYTES);
}

static bool ids_are_distinct(const struct seal_ring *ring)
{
    unsigned seen = 0;

    for (uint8_t i = 0; i < ring->count; i++) {
        unsigned bit = 1u << (ring->keys[i].id & 15);
        if (seen & bit)
            return false;
        seen |= bit;
    }
    return true;
}

int seal_ring_init(struct seal_ring *ring, const uint8_t (*keys)[SEAL_KEY_BYTES], uint8_t count,
                   uint8_t verify_only, const char *label)
{
    uint8_t label_key[1][SEAL_KEY_BYTES];
    struct seal_ring made = {.count = count, .sealing = SEAL_KEYS_MAX};
    int rc = 0;

    if (count > SEAL_KEYS_MAX)
        return -EINVAL;
    if (MUTANT(LABEL_IGNORED))
        label = "";
    crypto_generichash(made.label, sizeof made.label, (const uint8_t *)label, strlen(label), NULL,
                       0);
    derive(label_key[0], made.label, "session-mesh keyless");
    if (count == 0) {
        keys = (const uint8_t(*)[SEAL_KEY_BYTES])label_key;
        made.count = 1;
        verify_only = 0;
    }
    for (uint8_t i = made.count; i-- > 0;) {
        struct seal_key *key = &made.keys[i];
        key->id = seal_key_id(keys[i]);
        key->is_in_use = !(verify_only >> i & 1);
        derive(key->datagram, keys[i], "session-mesh datagram");
        derive(key->link, keys[i], "session-mesh link");
        if (key->is_in_use)
            made.sealing = i;
    }
    if (made.sealing == SEAL_KEYS_MAX || !ids_are_distinct(&made))
        rc = -EINVAL;
    else
        *ring = made;
    sodium_memzero(&made, sizeof made);
    sodium_memzero(label_key, sizeof label_key);
    return rc;
}

void seal_ring_deinit(struct seal_ring *ring)
{
    if (ring != NULL)
        sodium_memzero(ring, sizeof *ring);
}

const struct seal_key *seal_ring_find(const struct seal_ring *ring, uint32_t id)
{
    for (uint8_t i = 0; i < ring->count; i++)
        if (ring->keys[i].id == id)
            return ring->keys[i].is_in_use ? &ring->keys[i] : NULL;
    return NULL;
}

void seal_ring_use(struct seal_ring *ring, uint32_t id)
{
    const struct seal_key *key = seal_ring_find(ring, id);

    assert(key != NULL);
    ring->sealing = (uint8_t)(key - ring->keys);
}

uint8_t seal_ring_in_use(const struct seal_ring *ring)
{
    uint8_t count = 0;

    for (uint8_t i = 0; i < ring->count; i++)
        count = (uint8_t)(count + ring->keys[i].is_in_use);
    return count;
}

const struct seal_key *seal_ring_turn(const struct seal_ring *ring, uint32_t n)
{
    uint8_t at = ring->sealing;

    for (n %= seal_ring_in_use(ring); n > 0; n--)
        do
            at = (uint8_t)((at + 1) % ring->count);
        while (!ring->keys[at].is_in_use);
    return &ring->keys[at];
}

/* ---- windows -------------------------------------------------------------------------------- */

static void window_unlink(struct seal *seal, uint32_t index)
{
    struct seal_window *w = &seal->windows[index];

    if (w->newer != NO_WINDOW)
        seal->windows[w->newer].older = w->older;
    else
        seal->newest = w->older;
    if (w->older != NO_WINDOW)
        seal->windows[w->older].newer = w->newer;
    else
        seal->oldest = w->newer;
}

static void window_link_newest(struct seal *seal, uint32_t index)
{
    struct seal_window *w = &seal->windows[index];

    w->newer = NO_WINDOW;
    w->older = seal->newest;
    if (w->older != NO_WINDOW)
        seal->windows[w->older].newer = index;
    else
        seal->oldest = index;
    seal->newest = index;
}

/* An index for a new window: a fresh one, or that of the sender heard longest ago. */
static uint32_t window_take(struct seal *seal)
{
    uint32_t index;

    if (seal->windows_count == seal->windows_max) {
        index = seal->oldest;
        window_unlink(seal, index);
        table_remove(&seal->windows_by_sender, &seal->windows[index].name);
        return index;
    }
    if (seal->windows_count == seal->windows_room) {
        uint32_t room = seal->windows_room == 0 ? WINDOWS_FIRST : seal->windows_room * 2;
        if (room > seal->windows_max)
            room = seal->windows_max;
        struct seal_window *moved = reallocarray(seal->windows, room, sizeof *moved);
        if (moved == NULL)
            return NO_WINDOW;
        seal->windows = moved;
        seal->windows_room = room;
    }
    return seal->windows_count++;
}

/* The window of a sender, made if need be; NULL: no memory. */
static struct seal_window *window_of(struct seal *seal, const struct seal_sender *from)
{
    const uint64_t key[2] = {from->name, from->nonce};
    bool evicts = seal->windows_count == seal->windows_max;
    uint32_t index;

    if (table_get(&seal->windows_by_sender, key, &index)) {
        window_unlink(seal, index);
        window_link_newest(seal, index);
        return &seal->windows[index];
    }
    index = window_take(seal);
    if (index == NO_WINDOW)
        return NULL;
    seal->windows[index] = (struct seal_window){.name = from->name, .nonce = from->nonce};
    if (table_put(&seal->windows_by_sender, key, index) < 0) {
        assert(!evicts); /* the entry that went has left room in the table */
        seal->windows_count--;
        return NULL;
    }
    window_link_newest(seal, index);
    return &seal->windows[index];
}

static uint64_t *window_word(struct seal_window *w, uint64_t seq)
{
    return &w->seen[seq % SEAL_WINDOW_BITS / 64];
}

/* Moves the window's upper edge to `seq` and forgets what falls out below. */
static void window_advance(struct seal_window *w, uint64_t seq)
{
    if (seq - w->highest >= SEAL_WINDOW_BITS)
        memset(w->seen, 0, sizeof w->seen);
    else
        for (uint64_t n = w->highest + 1; n != seq + 1; n++)
            *window_word(w, n) &= ~((uint64_t)1 << n % 64);
    w->highest = seq;
}

static bool window_admit(struct seal_window *w, uint64_t seq)
{
    uint64_t bit = (uint64_t)1 << seq % 64;

    if (seq > w->highest)
        window_advance(w, seq);
    else if (w->highest - seq >= SEAL_WINDOW_BITS || *window_word(w, seq) & bit)
        return MUTANT(NO_REPLAY_WINDOW);
    *window_word(w, seq) |= bit;
    return true;
}

/* ---- datagrams ------------------------------------------------------------------------------ */

void seal_init(struct seal *seal, const struct seal_ring *ring, uint64_t name, uint64_t nonce,
               uint32_t windows_max, struct rng *rng)
{
    uint8_t sip_key[16];

    *seal = (struct seal){.ring = ring,
                          .windows_max = windows_max > 0 ? windows_max : SEAL_WINDOWS_MAX,
                          .newest = NO_WINDOW,
                          .oldest = NO_WINDOW};
    rng_bytes(rng, sip_key, sizeof sip_key);
    table_init(&seal->windows_by_sender, 2 * sizeof(uint64_t), sip_key);
    seal_set_self(seal, name, nonce);
}

void seal_deinit(struct seal *seal)
{
    if (seal == NULL)
        return;
    table_deinit(&seal->windows_by_sender);
    free(seal->windows);
    seal->windows = NULL;
    seal->windows_count = seal->windows_room = 0;
}

void seal_set_self(struct seal *seal, uint64_t name, uint64_t nonce)
{
    seal->name = name;
    seal->nonce = nonce;
    seal->next_seq = 1;
}

/* Associated data: the clear bytes and the label's hash, one after the other. */
static void make_associated(uint8_t data[SEAL_HEAD_BYTES + SEAL_LABEL_BYTES], const uint8_t *head,
                            const struct seal_ring *ring)
{
    memcpy(data, head, SEAL_HEAD_BYTES);
    memcpy(data + SEAL_HEAD_BYTES, ring->label, SEAL_LABEL_BYTES);
}

size_t seal_datagram(struct seal *seal, const struct seal_key *key, const void *plain,
                     size_t length, void *into)
{
    uint8_t data[SEAL_HEAD_BYTES + SEAL_LABEL_BYTES], *head = into;
    unsigned long long sealed;

    assert(length <= SEAL_PLAIN_MAX);
    if (key == NULL)
        key = seal_ring_sealing(seal->ring);
    head[0] = SEAL_VERSION;
    head[AT_FLAGS] = 0;
    write_le(head + AT_KEY, key->id, 4);
    write_le(head + AT_SENDER, seal->name, 8);
    write_le(head + AT_NONCE, seal->nonce, 8);
    write_le(head + AT_SEQ, seal->next_seq++, 8);
    make_associated(data, head, seal->ring);
    crypto_aead_xchacha20poly1305_ietf_encrypt(head + SEAL_HEAD_BYTES, &sealed, plain, length, data,
                                               sizeof data, NULL, head + AT_SENDER, key->datagram);
    return SEAL_HEAD_BYTES + (size_t)sealed;
}

/* All that comes before the tag, cheapest first. NULL: counted and done with. */
static const struct seal_key *check_head(struct seal *seal, struct slice sealed)
{
    const struct seal_key *key;

    if (sealed.length < SEAL_HEAD_BYTES + SEAL_TAG_BYTES || sealed.length > SEAL_DATAGRAM_MAX) {
        seal->counters.bad_length++;
        return NULL;
    }
    if (sealed.at[0] < SEAL_VERSION_FIRST || sealed.at[0] > SEAL_VERSION ||
        sealed.at[AT_FLAGS] != 0) {
        seal->counters.bad_version++;
        return NULL;
    }
    key = seal_ring_find(seal->ring, (uint32_t)read_le(sealed.at + AT_KEY, 4));
    if (key == NULL)
        seal->counters.bad_key++;
    return key;
}

/* Of a datagram whose tag is good. */
static enum seal_verdict judge(struct seal *seal, const struct seal_sender *from)
{
    struct seal_window *w;

    if (from->name == seal->name && from->nonce == seal->nonce) {
        if (from->seq < seal->next_seq) {
            seal->counters.reflected++;
            return SEAL_REFLECTED;
        }
        seal->counters.own++;
        return SEAL_OWN;
    }
    w = window_of(seal, from);
    if (w == NULL || !window_admit(w, from->seq)) {
        seal->counters.replayed++;
        return SEAL_REPLAYED;
    }
    seal->counters.opened++;
    return SEAL_OPENED;
}

enum seal_verdict seal_open(struct seal *seal, struct slice sealed, void *plain, size_t *length,
                            struct seal_sender *from)
{
    const struct seal_key *key = check_head(seal, sealed);
    uint8_t data[SEAL_HEAD_BYTES + SEAL_LABEL_BYTES];
    unsigned long long opened;

    if (key == NULL)
        return SEAL_BAD;
    make_associated(data, sealed.at, seal->ring);
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(
            plain, &opened, NULL, sealed.at + SEAL_HEAD_BYTES, sealed.length - SEAL_HEAD_BYTES,
            data, sizeof data, sealed.at + AT_SENDER, key->datagram) != 0) {
        seal->counters.bad_tag++;
        return SEAL_BAD;
    }
    *length = (size_t)opened;
    *from = (struct seal_sender){.name = read_le(sealed.at + AT_SENDER, 8),
                                 .nonce = read_le(sealed.at + AT_NONCE, 8),
                                 .seq = read_le(sealed.at + AT_SEQ, 8)};
    return judge(seal, from);
}
