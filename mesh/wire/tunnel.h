/* tunnel.h - what makes a TCP connection between two peers secret and theirs: a handshake of three
 * messages, then sealed records (DESIGN §10). What the records hold is link.c's business, and so
 * are deadlines and buffers.
 *
 *   hello, answer   version 1 | kind 1 | length 2 | cipher 1 | key id 4 | X25519 public 32 | name 8
 *                   | generation 8 | nonce 8 | (what later versions add) | proof 32
 *   finish          version 1 | kind 1 | length 2 | proof 32
 *   record          length 2 | ciphertext | tag 16      the length counts what follows it
 *
 * The dialler says hello, the acceptor answers, the dialler finishes. A proof is a keyed BLAKE2b
 * over all that was said so far and the cluster label's hash; from the answer on its key is made of
 * the cluster's key and the secret that both sides share (ephemeral X25519), so that it proves at
 * once the key, the label, both ids and nonces, the choice of cipher, and that the other side is
 * there now. Numbers are little-endian. */
#ifndef MESH_TUNNEL_H
#define MESH_TUNNEL_H

#include <stdalign.h>

#include "mesh/base/types.h"
#include "mesh/wire/seal.h"

#define TUNNEL_VERSION 1
#define TUNNEL_HELLO_MAX 512          /* bytes of any message of the handshake */
#define TUNNEL_HEAD_BYTES 4           /* of a handshake message: they tell its length */
#define TUNNEL_RECORD_MAX (16u << 10) /* ciphertext and tag */
#define TUNNEL_PREFIX 2               /* the length before a record */
#define TUNNEL_TAG 16
#define TUNNEL_PLAIN_MAX (TUNNEL_RECORD_MAX - TUNNEL_TAG)
#define TUNNEL_REKEY_RECORDS (UINT64_C(1) << 20)

enum tunnel_cipher {
    TUNNEL_CHACHA20, /* ChaCha20-Poly1305 (RFC 8439) */
    TUNNEL_AES256    /* AES-256-GCM, where both sides have it in hardware */
};

/* One direction. Both ends make its next key of the last one every TUNNEL_REKEY_RECORDS. */
struct tunnel_half {
    alignas(16) uint8_t aes[512]; /* the cipher's expanded key */
    uint8_t key[32];
    enum tunnel_cipher cipher;
    uint64_t records; /* sealed or opened so far: the nonce of the next one */
};

/* Seals `length` bytes (1 .. TUNNEL_PLAIN_MAX) that stand at record + TUNNEL_PREFIX, in place, with
 * room for the tag behind them. Returns the record's length, prefix and tag included. */
size_t tunnel_seal(struct tunnel_half *half, uint8_t *record, size_t length);
/* The length of the whole record that begins with these two bytes; 0: no record can. */
size_t tunnel_record_length(const uint8_t prefix[TUNNEL_PREFIX]);
/* Opens a whole record into `plain` (room for its length less prefix and tag). 0, or -EBADMSG:
 * changed, or not the next one. */
int tunnel_open(struct tunnel_half *half, const uint8_t *record, size_t length, uint8_t *plain);
void tunnel_half_wipe(struct tunnel_half *half);

enum tunnel_verdict {
    TUNNEL_MORE,      /* so far so good */
    TUNNEL_DONE,      /* the keys are made; a reply still has to leave */
    TUNNEL_NOT_OURS,  /* no handshake of a version that we speak */
    TUNNEL_BAD_KEY,   /* a key that we do not have, or no longer use */
    TUNNEL_BAD_PROOF, /* another key or label, a replay, a change on the way */
    TUNNEL_SELF       /* we dialled ourselves */
};

struct tunnel_peer {
    struct peer_id id;
    uint64_t nonce; /* of its generation */
};

enum tunnel_stage { TUNNEL_AWAITS_HELLO, TUNNEL_AWAITS_ANSWER, TUNNEL_AWAITS_FINISH };

/* A handshake under way. */
struct tunnel_hello {
    enum tunnel_stage stage;
    bool is_dialler, has_aes;
    struct tunnel_peer self, peer; /* peer: only proved once DONE */
    uint32_t key_id;
    uint8_t key[32];    /* the cluster's, for links; the acceptor's once the hello has named it */
    uint8_t secret[32]; /* of our X25519 pair */
    uint8_t proving[32];
    uint8_t label[SEAL_LABEL_BYTES];
    enum tunnel_cipher cipher;
    uint8_t said[2 * TUNNEL_HELLO_MAX];
    size_t said_length;
};

/* The length of the handshake message that begins with these bytes; 0: none does. */
size_t tunnel_hello_length(const uint8_t head[TUNNEL_HEAD_BYTES]);
/* `no_aes`: as on a machine without it. `key`: with which a dialler greets. */
void tunnel_begin(struct tunnel_hello *h, bool is_dialler, struct tunnel_peer self,
                  const struct seal_ring *ring, const struct seal_key *key, bool no_aes,
                  struct rng *rng);
/* The dialler's first message. Returns its length. */
size_t tunnel_write_hello(struct tunnel_hello *h, uint8_t into[TUNNEL_HELLO_MAX]);
/* One whole message of the other side. *reply_length: of what has to be sent back, or 0. */
enum tunnel_verdict tunnel_read(struct tunnel_hello *h, const struct seal_ring *ring,
                                const uint8_t *message, size_t length,
                                uint8_t reply[TUNNEL_HELLO_MAX], size_t *reply_length);
/* After DONE: the keys of both directions. Returns the link's number, the same on both sides. */
uint64_t tunnel_make_keys(const struct tunnel_hello *h, struct tunnel_half *in,
                          struct tunnel_half *out);
void tunnel_wipe(struct tunnel_hello *h);

#endif
