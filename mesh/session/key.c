/* key.c - session ids and tags of peers; the drawings are in key.h. */
#include "mesh/session/key.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>

#include "mesh/member/claims.h"
#include "mesh/member/ring.h"

#define KEY_VERSION 1
#define KEY_PEER_VERSION 2 /* of a peer's tag: none is ever taken for the beginning of an id */
#define KEY_HOME_AT 1
#define KEY_RANDOM_TEXT_AT 10 /* a character that is made of random bits alone, as is the next */
#define KEY_TAG_AT 23
#define KEY_TAG_BYTES 8
#define KEY_PEER_TAG_AT 7
#define KEY_PEER_BYTES 15
#define KEY_SHARD_BITS 3 /* of the random part: sessions of one home share 8 points */

static void key_derive(uint8_t out[32], const uint8_t *secret, size_t secret_length,
                       const char *label, const char *purpose)
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, secret, secret_length, 32);
    crypto_generichash_update(&state, (const uint8_t *)purpose, strlen(purpose) + 1);
    crypto_generichash_update(&state, (const uint8_t *)label, strlen(label));
    crypto_generichash_final(&state, out, 32);
}

int key_ring_init(struct key_ring *ring, const uint8_t (*keys)[32], uint8_t count,
                  uint8_t verify_only, const char *label)
{
    uint8_t task_key[32];
    memset(ring, 0, sizeof *ring);
    if (count > SEAL_KEYS_MAX)
        return -EINVAL;
    key_derive(task_key, NULL, 0, label, "session-mesh task");
    memcpy(ring->task_key, task_key, sizeof ring->task_key);
    key_derive(ring->log_key, NULL, 0, label, "session-mesh log keyless");
    if (count == 0) {
        key_derive(ring->keys[0], NULL, 0, label, "session-mesh id keyless");
        ring->count = 1;
        return 0;
    }
    ring->minting = count;
    for (uint8_t n = 0; n < count; n++) {
        uint32_t id = seal_key_id(keys[n]);
        ring->numbers[n] = id & 0x0f;
        for (uint8_t before = 0; before < n; before++)
            if (ring->numbers[before] == ring->numbers[n])
                return -EINVAL;
        key_derive(ring->keys[n], keys[n], 32, label, "session-mesh id");
        if (verify_only >> n & 1)
            continue;
        ring->key_ids[n] = id;
        if (ring->minting == count)
            ring->minting = n;
    }
    ring->count = count;
    return ring->minting < count ? 0 : -EINVAL;
}

/* The index of a key that may mint; `count`: none. */
static uint8_t key_find(const struct key_ring *ring, uint32_t id)
{
    uint8_t n = 0;
    while (n < ring->count && (id == 0 || ring->key_ids[n] != id))
        n++;
    return n;
}

void key_ring_use(struct key_ring *ring, uint32_t id)
{
    ring->minting = key_find(ring, id);
    assert(ring->minting < ring->count);
}

void key_ring_deinit(struct key_ring *ring)
{
    sodium_memzero(ring, sizeof *ring);
}

/* The lengths differ, so what tags an id tags no peer. */
static void key_tag(uint8_t tag[KEY_TAG_BYTES], const uint8_t key[32], const uint8_t *bytes,
                    size_t length)
{
    uint8_t hash[16];
    crypto_generichash(hash, sizeof hash, bytes, length, key, 32);
    memcpy(tag, hash, KEY_TAG_BYTES);
}

static void key_put_home(uint8_t at[6], uint64_t home)
{
    for (int byte = 0; byte < 6; byte++)
        at[byte] = (uint8_t)(home >> (8 * (5 - byte)));
}

static uint64_t key_get_home(const uint8_t at[6])
{
    uint64_t home = 0;
    for (int byte = 0; byte < 6; byte++)
        home = home << 8 | at[byte];
    return home;
}

void key_mint(struct session_id *id, const struct key_ring *ring, uint32_t with, uint64_t home,
              struct rng *rng)
{
    uint8_t n = key_find(ring, with);
    if (n == ring->count)
        n = ring->minting;
    id->bytes[0] = (uint8_t)(KEY_VERSION << 4 | ring->numbers[n]);
    key_put_home(id->bytes + KEY_HOME_AT, home);
    rng_bytes(rng, id->bytes + KEY_RANDOM_AT, KEY_TAG_AT - KEY_RANDOM_AT);
    key_tag(id->bytes + KEY_TAG_AT, ring->keys[n], id->bytes, KEY_TAG_AT);
}

/* The 6 bits of a character of base64url (RFC 4648 section 5), 64: none. libsodium's decoder
 * takes ten times as long, for secrets; an id goes over the wire in every request. */
static const uint8_t key_bits[256] = {
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 62, 64, 64,
    52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 64, 64, 64, 64, 64, 64, 64, 0,  1,  2,  3,  4,  5,  6,
    7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 64, 64, 64, 64, 63,
    64, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48,
    49, 50, 51, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
};

/* Whole groups of four characters are three bytes; two or three that are left are one or two. */
static bool key_decode(uint8_t *into, struct slice text)
{
    const uint8_t *c = text.at;
    uint32_t none = 0, bits = 0;
    size_t left = text.length;
    for (; left >= 4; left -= 4, c += 4, into += 3) {
        uint8_t a = key_bits[c[0]], b = key_bits[c[1]], d = key_bits[c[2]], e = key_bits[c[3]];
        none |= a | b | d | e;
        bits = (uint32_t)a << 18 | (uint32_t)b << 12 | (uint32_t)d << 6 | e;
        into[0] = (uint8_t)(bits >> 16);
        into[1] = (uint8_t)(bits >> 8);
        into[2] = (uint8_t)bits;
    }
    bits = 0;
    for (size_t n = 0; n < left; n++) {
        none |= key_bits[c[n]];
        bits |= (uint32_t)(key_bits[c[n]] & 63) << (18 - 6 * n);
    }
    for (size_t n = 0; n + 1 < left; n++, bits = bits << 8 & 0xffffff)
        into[n] = (uint8_t)(bits >> 16);
    return none < 64 && bits == 0; /* unused bits are zero: one spelling an id */
}

bool key_read(struct session_id *id, struct slice text)
{
    return text.length == MESH_SESSION_TEXT && key_decode(id->bytes, text);
}

void key_write(char text[MESH_SESSION_TEXT], const struct session_id *id)
{
    char out[MESH_SESSION_TEXT + 1];
    sodium_bin2base64(out, sizeof out, id->bytes, sizeof id->bytes,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    memcpy(text, out, MESH_SESSION_TEXT);
}

/* In a time that tells nothing of where they differ: a guess is compared with an id of ours. At
 * least eight bytes. */
static inline bool key_is_same(const void *a, const void *b, size_t length)
{
    uint64_t x, y, differ = 0;
    const size_t last = length - sizeof x;
    for (size_t at = 0; at < last + sizeof x; at += sizeof x) {
        memcpy(&x, (const uint8_t *)a + (at < last ? at : last), sizeof x);
        memcpy(&y, (const uint8_t *)b + (at < last ? at : last), sizeof y);
        differ |= x ^ y;
    }
    return differ == 0;
}

/* By two characters of the random part. */
static size_t key_known_place(struct slice text)
{
    return (size_t)(text.at[KEY_RANDOM_TEXT_AT] << 5 ^ text.at[KEY_RANDOM_TEXT_AT + 1]) %
           KEY_VERIFIED;
}

bool key_recall(const struct key_ring *ring, struct session_id *id, struct slice text)
{
    if (text.length != MESH_SESSION_TEXT)
        return false;
    const struct key_known *known = &ring->known[key_known_place(text)];
    if (!key_is_same(known->text, text.at, sizeof known->text) || known->text[0] == '\0')
        return false;
    *id = known->id;
    return true;
}

void key_remember(struct key_ring *ring, const struct session_id *id, struct slice text)
{
    struct key_known *known = &ring->known[key_known_place(text)];
    memcpy(known->text, text.at, sizeof known->text);
    known->id = *id;
}

bool key_verify_anew(const struct key_ring *ring, const struct session_id *id)
{
    uint8_t tag[KEY_TAG_BYTES];
    if (id->bytes[0] >> 4 != KEY_VERSION)
        return false;
    for (uint8_t n = 0; n < ring->count; n++) {
        if (ring->numbers[n] != (id->bytes[0] & 0x0f))
            continue;
        key_tag(tag, ring->keys[n], id->bytes, KEY_TAG_AT);
        return sodium_memcmp(tag, id->bytes + KEY_TAG_AT, KEY_TAG_BYTES) == 0;
    }
    return false;
}

bool key_verify(struct key_ring *ring, const struct session_id *id)
{
    uint32_t at = (uint32_t)(id->bytes[KEY_RANDOM_AT + 1] << 8 | id->bytes[KEY_RANDOM_AT + 2]);
    struct session_id *verified = &ring->verified[at % KEY_VERIFIED];
    if (key_is_same(verified->bytes, id->bytes, sizeof id->bytes) && id->bytes[0] != 0)
        return true;
    if (!key_verify_anew(ring, id))
        return false;
    *verified = *id;
    return true;
}

void key_peer_write(char text[KEY_PEER_TEXT], const struct key_ring *ring, uint64_t home)
{
    uint8_t bytes[KEY_PEER_BYTES];
    char out[KEY_PEER_TEXT + 1];
    bytes[0] = (uint8_t)(KEY_PEER_VERSION << 4 | ring->numbers[ring->minting]);
    key_put_home(bytes + KEY_HOME_AT, home);
    key_tag(bytes + KEY_PEER_TAG_AT, ring->keys[ring->minting], bytes, KEY_PEER_TAG_AT);
    sodium_bin2base64(out, sizeof out, bytes, sizeof bytes,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    memcpy(text, out, KEY_PEER_TEXT);
}

bool key_peer_read(const struct key_ring *ring, struct slice text, uint64_t *home)
{
    uint8_t bytes[KEY_PEER_BYTES], tag[KEY_TAG_BYTES];
    if (text.length != KEY_PEER_TEXT || !key_decode(bytes, text) ||
        bytes[0] >> 4 != KEY_PEER_VERSION)
        return false;
    for (uint8_t n = 0; n < ring->count; n++) {
        if (ring->numbers[n] != (bytes[0] & 0x0f))
            continue;
        key_tag(tag, ring->keys[n], bytes, KEY_PEER_TAG_AT);
        *home = key_get_home(bytes + KEY_HOME_AT);
        return sodium_memcmp(tag, bytes + KEY_PEER_TAG_AT, KEY_TAG_BYTES) == 0;
    }
    return false;
}

uint64_t key_home(const struct session_id *id)
{
    return key_get_home(id->bytes + KEY_HOME_AT);
}

static unsigned key_shard_of(const struct session_id *id)
{
    return id->bytes[KEY_RANDOM_AT] & ((1 << KEY_SHARD_BITS) - 1);
}

uint64_t key_shard(const struct session_id *id)
{
    return claim_shard(key_home(id), key_shard_of(id));
}

uint64_t key_point(const struct session_id *id)
{
    uint8_t shard[8];
    memcpy(shard, id->bytes + KEY_HOME_AT, 6);
    shard[6] = '#';
    shard[7] = (uint8_t)key_shard_of(id);
    return ring_point(shard, sizeof shard);
}

uint64_t key_log_hash(const struct key_ring *ring, const struct session_id *id)
{
    uint8_t hash[16];
    uint64_t value;
    crypto_generichash(hash, sizeof hash, id->bytes, sizeof id->bytes, ring->log_key, 32);
    memcpy(&value, hash, sizeof value);
    return value;
}
