/* identity.h - a key of its own for each peer (--identity-file, --peer-ca), beside the cluster's.
 * What a peer says of itself is signed with it, so that nobody else who has the cluster's key can
 * say it in its place: that it is there, as which process, with which record, in which incarnation;
 * that it leaves. Ed25519; draws no chance.
 *
 * A certificate is the signature of the CA, whose public key every peer has, over a peer's name and
 * public key. A proof travels with a record: public key 32 | certificate 64 | signature 64. */
#ifndef MESH_IDENTITY_H
#define MESH_IDENTITY_H

#include "mesh/base/types.h"

#define IDENTITY_SECRET_BYTES 32 /* a seed */
#define IDENTITY_KEY_BYTES 32
#define IDENTITY_SIGNATURE_BYTES 64

struct identity {
    uint8_t ca[IDENTITY_KEY_BYTES];
    uint8_t key[IDENTITY_KEY_BYTES], secret[64];
    uint8_t certificate[IDENTITY_SIGNATURE_BYTES];
    uint8_t label[32]; /* hash of the cluster's: what is said in one mesh is nothing in another */
};

void identity_public(const uint8_t secret[IDENTITY_SECRET_BYTES], uint8_t key[IDENTITY_KEY_BYTES]);
/* What the CA does once for each peer. */
void identity_certify(const uint8_t ca_secret[IDENTITY_SECRET_BYTES], const char *name,
                      const uint8_t key[IDENTITY_KEY_BYTES],
                      uint8_t certificate[IDENTITY_SIGNATURE_BYTES]);
/* 0; -EINVAL: the certificate is not this CA's, for this name and key. */
int identity_init(struct identity *identity, const uint8_t secret[IDENTITY_SECRET_BYTES],
                  const uint8_t certificate[IDENTITY_SIGNATURE_BYTES],
                  const uint8_t ca[IDENTITY_KEY_BYTES], const char *name, const char *label);
void identity_deinit(struct identity *identity); /* wipes it */

/* Puts the proof into our own record: so it is, in this incarnation; or `is_left`: we leave. */
void identity_prove(const struct identity *identity, struct mesh_record *record,
                    uint32_t incarnation, bool is_left);
/* Did its subject say so? `known`: a record whose proof was found good before, or NULL. */
bool identity_holds(const struct identity *identity, const struct mesh_record *record,
                    uint32_t incarnation, bool is_left, const struct mesh_record *known);

#endif
