/* identity.c - see identity.h. */
#include "mesh/wire/identity.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

enum { KEY_AT = 0, CERTIFICATE_AT = 32, SIGNATURE_AT = 96 };

static const char certificate_is[20] = "session-mesh peer 1";
static const char statement_is[20] = "session-mesh says 1";

struct text {
    uint8_t bytes[256];
    size_t length;
};

static void put(struct text *text, const void *bytes, size_t length)
{
    assert(length <= sizeof text->bytes - text->length);
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
}

static void put_number(struct text *text, uint64_t number, size_t bytes)
{
    assert(bytes <= sizeof text->bytes - text->length);
    for (size_t n = 0; n < bytes; n++)
        text->bytes[text->length++] = (uint8_t)(number >> (8 * n));
}

/* Always as long: nothing of it can be read as something else. */
static void put_padded(struct text *text, const char *words, size_t room)
{
    char padded[64] = {0};
    assert(room <= sizeof padded);
    memcpy(padded, words, strnlen(words, room));
    put(text, padded, room);
}

static struct text certificate_text(const char *name, const uint8_t key[IDENTITY_KEY_BYTES])
{
    struct text text = {.length = 0};
    put(&text, certificate_is, sizeof certificate_is);
    put_padded(&text, name, MESH_NAME_MAX + 1);
    put(&text, key, IDENTITY_KEY_BYTES);
    return text;
}

/* All of the record but its name, for which the certificate stands. */
static struct text statement_text(const struct identity *identity, const struct mesh_record *r,
                                  uint32_t incarnation, bool is_left)
{
    struct text text = {.length = 0};
    put(&text, statement_is, sizeof statement_is);
    put(&text, identity->label, sizeof identity->label);
    put_number(&text, is_left, 1);
    put_number(&text, incarnation, 4);
    put_number(&text, r->id.name, 8);
    put_number(&text, r->id.generation, 8);
    put_number(&text, r->nonce, 8);
    put_number(&text, r->version, 8);
    put(&text, r->addr.ip, sizeof r->addr.ip);
    put_number(&text, r->addr.port, 2);
    put_padded(&text, r->zone, MESH_ZONE_MAX + 1);
    put_number(&text, r->weight, 1);
    put_number(&text, (uint64_t)(r->serving | r->draining << 1 | r->hold << 2), 1);
    put_number(&text, r->keys_count, 1);
    for (uint8_t n = 0; n < r->keys_count && n < MESH_KEYS_SAID_MAX; n++)
        put_number(&text, r->keys[n], 4);
    return text;
}

void identity_public(const uint8_t secret[IDENTITY_SECRET_BYTES], uint8_t key[IDENTITY_KEY_BYTES])
{
    uint8_t both[64];
    (void)crypto_sign_seed_keypair(key, both, secret);
    sodium_memzero(both, sizeof both);
}

void identity_certify(const uint8_t ca_secret[IDENTITY_SECRET_BYTES], const char *name,
                      const uint8_t key[IDENTITY_KEY_BYTES],
                      uint8_t certificate[IDENTITY_SIGNATURE_BYTES])
{
    uint8_t ca[IDENTITY_KEY_BYTES], both[64];
    struct text text = certificate_text(name, key);
    (void)crypto_sign_seed_keypair(ca, both, ca_secret);
    (void)crypto_sign_detached(certificate, NULL, text.bytes, text.length, both);
    sodium_memzero(both, sizeof both);
}

static bool is_certified(const uint8_t ca[IDENTITY_KEY_BYTES], const char *name,
                         const uint8_t key[IDENTITY_KEY_BYTES],
                         const uint8_t certificate[IDENTITY_SIGNATURE_BYTES])
{
    struct text text = certificate_text(name, key);
    return crypto_sign_verify_detached(certificate, text.bytes, text.length, ca) == 0;
}

int identity_init(struct identity *identity, const uint8_t secret[IDENTITY_SECRET_BYTES],
                  const uint8_t certificate[IDENTITY_SIGNATURE_BYTES],
                  const uint8_t ca[IDENTITY_KEY_BYTES], const char *name, const char *label)
{
    memset(identity, 0, sizeof *identity);
    (void)crypto_sign_seed_keypair(identity->key, identity->secret, secret);
    memcpy(identity->ca, ca, sizeof identity->ca);
    memcpy(identity->certificate, certificate, sizeof identity->certificate);
    (void)crypto_generichash(identity->label, sizeof identity->label, (const uint8_t *)label,
                             strlen(label), NULL, 0);
    if (is_certified(ca, name, identity->key, certificate))
        return 0;
    identity_deinit(identity);
    return -EINVAL;
}

void identity_deinit(struct identity *identity)
{
    sodium_memzero(identity, sizeof *identity);
}

void identity_prove(const struct identity *identity, struct mesh_record *record,
                    uint32_t incarnation, bool is_left)
{
    struct text text = statement_text(identity, record, incarnation, is_left);
    record->has_proof = true;
    memcpy(record->proof + KEY_AT, identity->key, sizeof identity->key);
    memcpy(record->proof + CERTIFICATE_AT, identity->certificate, sizeof identity->certificate);
    (void)crypto_sign_detached(record->proof + SIGNATURE_AT, NULL, text.bytes, text.length,
                               identity->secret);
}

bool identity_holds(const struct identity *identity, const struct mesh_record *record,
                    uint32_t incarnation, bool is_left, const struct mesh_record *known)
{
    if (!record->has_proof || record->name[0] == '\0')
        return false;
    bool is_known = known != NULL && known->has_proof && strcmp(known->name, record->name) == 0 &&
                    memcmp(known->proof, record->proof, SIGNATURE_AT) == 0;
    if (!is_known && !is_certified(identity->ca, record->name, record->proof + KEY_AT,
                                   record->proof + CERTIFICATE_AT))
        return false;
    struct text text = statement_text(identity, record, incarnation, is_left);
    return crypto_sign_verify_detached(record->proof + SIGNATURE_AT, text.bytes, text.length,
                                       record->proof + KEY_AT) == 0;
}
