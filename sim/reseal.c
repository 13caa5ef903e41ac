/* reseal.c - see reseal.h. */
#include "sim/reseal.h"

#include <stdlib.h>
#include <string.h>

struct reseal {
    struct seal_ring ring;
    struct seal opener;
};

struct reseal *reseal_new(const struct world *world)
{
    static const uint8_t entropy[32]; /* it hides nothing from anybody */
    struct reseal *reseal = sim_zero(sizeof *reseal);
    uint8_t key[1][SEAL_KEY_BYTES];
    struct rng rng;
    memset(key, WORLD_KEY_BYTE, sizeof key);
    rng_init(&rng, entropy);
    if (seal_ring_init(&reseal->ring, (const uint8_t(*)[SEAL_KEY_BYTES])key, world->keyed ? 1 : 0,
                       0, WORLD_LABEL) < 0)
        abort();
    seal_init(&reseal->opener, &reseal->ring, 0, 0, 0, &rng);
    return reseal;
}

void reseal_free(struct reseal *reseal)
{
    if (reseal != NULL)
        seal_deinit(&reseal->opener);
    free(reseal);
}

bool reseal_open(struct reseal *reseal, struct slice sealed, uint8_t *plain, size_t *length,
                 struct seal_sender *from)
{
    return seal_open(&reseal->opener, sealed, plain, length, from) == SEAL_OPENED;
}

struct slice reseal_again(const struct reseal *reseal, const struct seal_sender *from,
                          const uint8_t *plain, size_t length, uint8_t *into)
{
    struct seal again = {
        .ring = &reseal->ring, .name = from->name, .nonce = from->nonce, .next_seq = from->seq};
    return slice_borrow(into, seal_datagram(&again, NULL, plain, length, into));
}
