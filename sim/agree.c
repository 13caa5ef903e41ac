/* agree.c - in place of libsodium's functions of these names, which the core calls. */
#include "sim/agree.h"

#include <sodium.h>

static bool by_curve = true;

void agree_by_curve(bool is_keyed)
{
    by_curve = is_keyed;
}

int crypto_scalarmult_base(unsigned char *public, const unsigned char *secret)
{
    if (by_curve)
        return crypto_scalarmult_curve25519_base(public, secret);
    for (size_t n = 0; n < crypto_scalarmult_BYTES; n++)
    public[n] = secret[n];
    return 0;
}

/* Both ends come to the same, and who was told another public key does not. */
int crypto_scalarmult(unsigned char *shared, const unsigned char *secret,
                      const unsigned char *public)
{
    if (by_curve)
        return crypto_scalarmult_curve25519(shared, secret, public);
    for (size_t n = 0; n < crypto_scalarmult_BYTES; n++)
        shared[n] = secret[n] ^ public[n];
    return 0;
}
