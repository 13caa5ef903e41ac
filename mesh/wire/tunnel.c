/* tunnel.c - the handshake of a link and the sealing of its records. Buffers, deadlines and what a
 * record holds are link.c's. */
#include "mesh/wire/tunnel.h"

#include <errno.h>
#include <string.h>

#include <sodium.h>

enum { KIND_HELLO = 1, KIND_ANSWER, KIND_FINISH };
enum {
    AT_LENGTH = 2,
    AT_CIPHER = 4,
    AT_KEY = 5,
    AT_PUBLIC = 9,
    AT_NAME = 41,
    AT_GENERATION = 49,
    AT_NONCE = 57,
    HELLO_BODY = 65,
    PROOF_BYTES = 32,
    FINISH_BYTES = TUNNEL_HEAD_BYTES + PROOF_BYTES
};

_Static_assert(crypto_aead_aes256gcm_ABYTES == TUNNEL_TAG, "tag");
_Static_assert(crypto_aead_chacha20poly1305_ietf_ABYTES == TUNNEL_TAG, "tag");
_Static_assert(sizeof(crypto_aead_aes256gcm_state) <= sizeof(((struct tunnel_half *)0)->aes),
               "expanded key");

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

/* ---- records -------------------------------------------------------------------------------- */

static void half_set_key(struct tunnel_half *half, enum tunnel_cipher cipher, const uint8_t key[32])
{
    memmove(half->key, key, sizeof half->key);
    half->cipher = cipher;
    if (cipher == TUNNEL_AES256)
        crypto_aead_aes256gcm_beforenm((crypto_aead_aes256gcm_state *)(void *)half->aes, half->key);
}

/* Before each record: the next key when it is due, and the nonce. */
static void half_step(struct tunnel_half *half, uint8_t nonce[12])
{
    static const uint8_t next[] = "next";
    uint8_t key[32];

    if (half->records > 0 && half->records % TUNNEL_REKEY_RECORDS == 0) {
        crypto_generichash(key, sizeof key, next, sizeof next - 1, half->key, sizeof half->key);
        half_set_key(half, half->cipher, key);
        sodium_memzero(key, sizeof key);
    }
    write_le(nonce, half->records, 8);
    memset(nonce + 8, 0, 4);
    half->records++;
}

size_t tunnel_seal(struct tunnel_half *half, uint8_t *record, size_t length)
{
    uint8_t nonce[12], *text = record + TUNNEL_PREFIX;

    half_step(half, nonce);
    write_le(record, length + TUNNEL_TAG, TUNNEL_PREFIX);
    switch (half->cipher) {
    case TUNNEL_AES256:
        crypto_aead_aes256gcm_encrypt_afternm(
            text, NULL, text, length, record, TUNNEL_PREFIX, NULL, nonce,
            (const crypto_aead_aes256gcm_state *)(const void *)half->aes);
        break;
    case TUNNEL_CHACHA20:
        crypto_aead_chacha20poly1305_ietf_encrypt(text, NULL, text, length, record, TUNNEL_PREFIX,
                                                  NULL, nonce, half->key);
        break;
    }
    return TUNNEL_PREFIX + length + TUNNEL_TAG;
}

size_t tunnel_record_length(const uint8_t prefix[TUNNEL_PREFIX])
{
    size_t length = (size_t)read_le(prefix, TUNNEL_PREFIX);

    return length > TUNNEL_TAG && length <= TUNNEL_RECORD_MAX ? TUNNEL_PREFIX + length : 0;
}

int tunnel_open(struct tunnel_half *half, const uint8_t *record, size_t length, uint8_t *plain)
{
    const uint8_t *text = record + TUNNEL_PREFIX;
    unsigned long long sealed = length - TUNNEL_PREFIX;
    uint8_t nonce[12];
    int rc = -1;

    half_step(half, nonce);
    switch (half->cipher) {
    case TUNNEL_AES256:
        rc = crypto_aead_aes256gcm_decrypt_afternm(
            plain, NULL, NULL, text, sealed, record, TUNNEL_PREFIX, nonce,
            (const crypto_aead_aes256gcm_state *)(const void *)half->aes);
        break;
    case TUNNEL_CHACHA20:
        rc = crypto_aead_chacha20poly1305_ietf_decrypt(plain, NULL, NULL, text, sealed, record,
                                                       TUNNEL_PREFIX, nonce, half->key);
        break;
    }
    return rc == 0 ? 0 : -EBADMSG;
}

void tunnel_half_wipe(struct tunnel_half *half)
{
    sodium_memzero(half, sizeof *half);
}

/* ---- the handshake -------------------------------------------------------------------------- */

size_t tunnel_hello_length(const uint8_t head[TUNNEL_HEAD_BYTES])
{
    size_t length = (size_t)read_le(head + AT_LENGTH, 2);

    if (head[0] != TUNNEL_VERSION || head[1] < KIND_HELLO || head[1] > KIND_FINISH)
        return 0;
    if (head[1] == KIND_FINISH)
        return length == FINISH_BYTES ? length : 0;
    return length >= HELLO_BODY + PROOF_BYTES && length <= TUNNEL_HELLO_MAX ? length : 0;
}

void tunnel_begin(struct tunnel_hello *h, bool is_dialler, struct tunnel_peer self,
                  const struct seal_ring *ring, const struct seal_key *key, bool no_aes,
                  struct rng *rng)
{
    memset(h, 0, sizeof *h);
    h->stage = is_dialler ? TUNNEL_AWAITS_ANSWER : TUNNEL_AWAITS_HELLO;
    h->is_dialler = is_dialler;
    h->has_aes = !no_aes && crypto_aead_aes256gcm_is_available() == 1;
    h->self = self;
    memcpy(h->label, ring->label, sizeof h->label);
    h->key_id = key->id;
    memcpy(h->key, key->link, sizeof h->key);
    rng_bytes(rng, h->secret, sizeof h->secret);
}

/* A hello or an answer but its proof. `cipher`: what is offered, or what is chosen. */
static size_t write_body(const struct tunnel_hello *h, uint8_t *into, uint8_t kind, uint8_t cipher)
{
    into[0] = TUNNEL_VERSION;
    into[1] = kind;
    write_le(into + AT_LENGTH, HELLO_BODY + PROOF_BYTES, 2);
    into[AT_CIPHER] = cipher;
    write_le(into + AT_KEY, h->key_id, 4);
    crypto_scalarmult_base(into + AT_PUBLIC, h->secret);
    write_le(into + AT_NAME, h->self.id.name, 8);
    write_le(into + AT_GENERATION, h->self.id.generation, 8);
    write_le(into + AT_NONCE, h->self.nonce, 8);
    return HELLO_BODY;
}

static void say(struct tunnel_hello *h, const uint8_t *bytes, size_t length)
{
    memcpy(h->said + h->said_length, bytes, length);
    h->said_length += length;
}

/* A hello proves the key and the label, and no more: it may be a replay. */
static void prove_hello(const struct tunnel_hello *h, uint8_t proof[PROOF_BYTES],
                        const uint8_t *body, size_t length)
{
    crypto_generichash_state state;

    crypto_generichash_init(&state, h->key, sizeof h->key, PROOF_BYTES);
    crypto_generichash_update(&state, h->label, sizeof h->label);
    crypto_generichash_update(&state, body, length);
    crypto_generichash_final(&state, proof, PROOF_BYTES);
}

/* What all later proofs and keys are made of; -1: the public key yields no secret. */
static int make_proving(struct tunnel_hello *h, const uint8_t public[32])
{
    crypto_generichash_state state;
    uint8_t shared[crypto_scalarmult_BYTES];
    int rc = crypto_scalarmult(shared, h->secret, public);

    if (rc == 0) {
        crypto_generichash_init(&state, h->key, sizeof h->key, sizeof h->proving);
        crypto_generichash_update(&state, h->label, sizeof h->label);
        crypto_generichash_update(&state, shared, sizeof shared);
        crypto_generichash_update(&state, h->said, h->said_length);
        crypto_generichash_final(&state, h->proving, sizeof h->proving);
    }
    sodium_memzero(shared, sizeof shared);
    sodium_memzero(&state, sizeof state);
    return rc;
}

static void derive(const struct tunnel_hello *h, uint8_t derived[32], const char *use)
{
    crypto_generichash(derived, 32, (const uint8_t *)use, strlen(use), h->proving,
                       sizeof h->proving);
}

size_t tunnel_write_hello(struct tunnel_hello *h, uint8_t into[TUNNEL_HELLO_MAX])
{
    size_t length = write_body(h, into, KIND_HELLO, h->has_aes);

    prove_hello(h, into + length, into, length);
    length += PROOF_BYTES;
    say(h, into, length);
    return length;
}

static void read_body(struct tunnel_hello *h, const uint8_t *message)
{
    h->peer.id.name = read_le(message + AT_NAME, 8);
    h->peer.id.generation = read_le(message + AT_GENERATION, 8);
    h->peer.nonce = read_le(message + AT_NONCE, 8);
}

static bool is_self(const struct tunnel_hello *h)
{
    return peer_id_equal(h->peer.id, h->self.id) && h->peer.nonce == h->self.nonce;
}

static enum tunnel_verdict read_hello(struct tunnel_hello *h, const struct seal_ring *ring,
                                      const uint8_t *message, size_t length, uint8_t *reply,
                                      size_t *reply_length)
{
    const struct seal_key *key = seal_ring_find(ring, (uint32_t)read_le(message + AT_KEY, 4));
    uint8_t proof[PROOF_BYTES];
    size_t body;

    if (key == NULL)
        return TUNNEL_BAD_KEY;
    h->key_id = key->id;
    memcpy(h->key, key->link, sizeof h->key);
    prove_hello(h, proof, message, length - PROOF_BYTES);
    if (sodium_memcmp(proof, message + length - PROOF_BYTES, PROOF_BYTES) != 0)
        return TUNNEL_BAD_PROOF;
    read_body(h, message);
    if (is_self(h))
        return TUNNEL_SELF;
    h->cipher = message[AT_CIPHER] & 1 && h->has_aes ? TUNNEL_AES256 : TUNNEL_CHACHA20;
    say(h, message, length);
    body = write_body(h, reply, KIND_ANSWER, (uint8_t)h->cipher);
    say(h, reply, body);
    if (make_proving(h, message + AT_PUBLIC) != 0)
        return TUNNEL_BAD_PROOF;
    derive(h, reply + body, "acceptor is here");
    *reply_length = body + PROOF_BYTES;
    h->stage = TUNNEL_AWAITS_FINISH;
    return TUNNEL_MORE;
}

static enum tunnel_verdict read_answer(struct tunnel_hello *h, const uint8_t *message,
                                       size_t length, uint8_t *reply, size_t *reply_length)
{
    uint8_t proof[PROOF_BYTES];

    if (read_le(message + AT_KEY, 4) != h->key_id)
        return TUNNEL_BAD_KEY;
    if (message[AT_CIPHER] > (h->has_aes ? TUNNEL_AES256 : TUNNEL_CHACHA20))
        return TUNNEL_BAD_PROOF;
    h->cipher = message[AT_CIPHER];
    say(h, message, length - PROOF_BYTES);
    if (make_proving(h, message + AT_PUBLIC) != 0)
        return TUNNEL_BAD_PROOF;
    derive(h, proof, "acceptor is here");
    if (sodium_memcmp(proof, message + length - PROOF_BYTES, PROOF_BYTES) != 0)
        return TUNNEL_BAD_PROOF;
    read_body(h, message);
    if (is_self(h))
        return TUNNEL_SELF;
    reply[0] = TUNNEL_VERSION;
    reply[1] = KIND_FINISH;
    write_le(reply + AT_LENGTH, FINISH_BYTES, 2);
    derive(h, reply + TUNNEL_HEAD_BYTES, "dialler is here");
    *reply_length = FINISH_BYTES;
    return TUNNEL_DONE;
}

static enum tunnel_verdict read_finish(struct tunnel_hello *h, const uint8_t *message)
{
    uint8_t proof[PROOF_BYTES];

    derive(h, proof, "dialler is here");
    return sodium_memcmp(proof, message + TUNNEL_HEAD_BYTES, PROOF_BYTES) == 0 ? TUNNEL_DONE
                                                                               : TUNNEL_BAD_PROOF;
}

enum tunnel_verdict tunnel_read(struct tunnel_hello *h, const struct seal_ring *ring,
                                const uint8_t *message, size_t length,
                                uint8_t reply[TUNNEL_HELLO_MAX], size_t *reply_length)
{
    static const uint8_t kinds[] = {
        [TUNNEL_AWAITS_HELLO] = KIND_HELLO,
        [TUNNEL_AWAITS_ANSWER] = KIND_ANSWER,
        [TUNNEL_AWAITS_FINISH] = KIND_FINISH,
    };

    *reply_length = 0;
    if (length < TUNNEL_HEAD_BYTES || tunnel_hello_length(message) != length ||
        message[1] != kinds[h->stage])
        return TUNNEL_NOT_OURS;
    switch (h->stage) {
    case TUNNEL_AWAITS_HELLO:
        return read_hello(h, ring, message, length, reply, reply_length);
    case TUNNEL_AWAITS_ANSWER:
        return read_answer(h, message, length, reply, reply_length);
    case TUNNEL_AWAITS_FINISH:
        return read_finish(h, message);
    }
    return TUNNEL_NOT_OURS;
}

uint64_t tunnel_make_keys(const struct tunnel_hello *h, struct tunnel_half *in,
                          struct tunnel_half *out)
{
    uint8_t derived[32];
    uint64_t number;

    memset(in, 0, sizeof *in);
    memset(out, 0, sizeof *out);
    derive(h, derived, "records of the dialler");
    half_set_key(h->is_dialler ? out : in, h->cipher, derived);
    derive(h, derived, "records of the acceptor");
    half_set_key(h->is_dialler ? in : out, h->cipher, derived);
    derive(h, derived, "number of the link");
    number = read_le(derived, 8);
    sodium_memzero(derived, sizeof derived);
    return number;
}

void tunnel_wipe(struct tunnel_hello *h)
{
    sodium_memzero(h, sizeof *h);
}
