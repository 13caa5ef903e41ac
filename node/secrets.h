/* secrets.h - the files that hold secrets: cluster keys, and tokens of the admin endpoint. Read
 * here, bounded and strict (bad-inputs.md row C2); what a key does stands in mesh/wire/seal.h, who
 * is asked for a token in http/admin.h. No message names a byte of what was read. */
#ifndef NODE_SECRETS_H
#define NODE_SECRETS_H

#include "mesh/mesh.h"

#define SECRETS_FILE_MAX (64u << 10) /* bytes of a key file */
#define SECRETS_TOKEN_MAX 256        /* bytes of a token */
#define SECRETS_WHY_MAX 160          /* bytes of a message, its zero included */

/* Key file: one key a line, 64 hex digits; "verify " before it: the key verifies old session ids
 * and nothing else; empty lines and those beginning with # are skipped. */
struct secret_keys {
    uint8_t keys[MESH_KEYS_MAX][32];
    uint8_t count;
    uint8_t verify_only; /* bit n: keys[n] */
};

/* A regular file that is not open to everybody, with 1 .. 4 keys of which one seals, whose ids
 * differ in their low 4 bits. 0, or -EINVAL and *keys wiped: `why` holds the reason, one line. */
int secrets_read_keys(struct secret_keys *keys, const char *path, char why[SECRETS_WHY_MAX]);
void secrets_wipe_keys(struct secret_keys *keys);
bool secrets_keys_equal(const struct secret_keys *a, const struct secret_keys *b);

/* A peer's identity: lines "name NAME", "secret HEX", "certificate HEX", as `meshd identity` prints
 * them; the CA's public key: one line of 64 hex digits, as `meshd ca-public` does. Likewise. */
struct secret_identity {
    char name[MESH_NAME_MAX + 1];
    uint8_t secret[32], certificate[64], ca[32];
};
int secrets_read_identity(struct secret_identity *identity, const char *path,
                          char why[SECRETS_WHY_MAX]);
int secrets_read_ca(struct secret_identity *identity, const char *path, char why[SECRETS_WHY_MAX]);
/* A line of 64 hex digits with its end. False: it is none. */
bool secrets_read_hex(const char *line, uint8_t *into, size_t length);

/* The first token of a token file (one of visible ASCII a line, # comments). 0, or -EINVAL. */
int secrets_read_token(char token[SECRETS_TOKEN_MAX + 1], const char *path,
                       char why[SECRETS_WHY_MAX]);

/* A new key as a line of a key file: 64 hex digits and a zero. 0 or negative errno. */
int secrets_make_key(char line[65]);

#endif
