/* rings.c - see rings.h. There are as many rings as different views, few: they are looked through
 * one by one. */
#include "mesh/member/rings.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct ring_shared {
    struct rings *rings;
    struct ring_shared *next, **link;
    struct ring ring;
    uint64_t sum; /* of its peers' ids */
    uint32_t uses;
};

struct rings {
    struct ring_shared *first;
    size_t count;
};

int rings_new(struct rings **ringsp)
{
    *ringsp = calloc(1, sizeof **ringsp);
    return *ringsp != NULL ? 0 : -ENOMEM;
}

void rings_free(struct rings *rings)
{
    assert(rings == NULL || rings->count == 0);
    free(rings);
}

size_t rings_count(const struct rings *rings)
{
    return rings->count;
}

static uint64_t sum_of(const struct ring_peer *peers, size_t count)
{
    uint64_t sum = count;
    for (size_t n = 0; n < count; n++)
        sum = XXH3_64bits_withSeed(&peers[n].id, sizeof peers[n].id, sum);
    return sum;
}

static bool is_of(const struct ring *ring, const struct ring_peer *peers, size_t count,
                  unsigned point_bits)
{
    if (ring->peers_count != count || ring->point_bits != point_bits)
        return false;
    for (size_t n = 0; n < count; n++)
        if (!peer_id_equal(ring->peers[n].id, peers[n].id) ||
            ring->peers[n].weight != peers[n].weight ||
            strcmp(ring->peers[n].zone, peers[n].zone) != 0)
            return false;
    return true;
}

bool rings_share(struct rings *rings, struct ring *ring, const struct ring_peer *peers,
                 size_t count, unsigned point_bits)
{
    uint64_t sum = sum_of(peers, count);
    for (struct ring_shared *shared = rings->first; shared != NULL; shared = shared->next)
        if (shared->sum == sum && is_of(&shared->ring, peers, count, point_bits)) {
            shared->uses++; /* before the former one goes: it may be the same */
            ring_deinit(ring);
            *ring = shared->ring;
            return true;
        }
    return false;
}

/* So many of these peers are not on it, or are but are not among them. */
static size_t differing(const struct ring *ring, const struct ring_peer *peers, size_t count)
{
    size_t at = 0, common = 0;
    for (size_t n = 0; n < count; n++) {
        while (at < ring->peers_count && peer_id_compare(ring->ids[at], peers[n].id) < 0)
            at++;
        common += at < ring->peers_count && peer_id_equal(ring->ids[at], peers[n].id);
    }
    return count - common + (ring->peers_count - common);
}

const struct ring *rings_like(const struct rings *rings, const struct ring *ring,
                              const struct ring_peer *peers, size_t count)
{
    size_t least = differing(ring, peers, count);
    for (const struct ring_shared *shared = rings->first; shared != NULL; shared = shared->next) {
        size_t differs = differing(&shared->ring, peers, count);
        if (differs >= least)
            continue;
        least = differs;
        ring = &shared->ring;
    }
    return ring;
}

void rings_offer(struct rings *rings, struct ring *ring)
{
    struct ring_shared *shared = calloc(1, sizeof *shared);
    assert(ring->shared == NULL);
    if (shared == NULL)
        return;
    ring->shared = shared;
    *shared = (struct ring_shared){.rings = rings,
                                   .next = rings->first,
                                   .link = &rings->first,
                                   .ring = *ring,
                                   .sum = sum_of(ring->peers, ring->peers_count),
                                   .uses = 1};
    if (shared->next != NULL)
        shared->next->link = &shared->next;
    rings->first = shared;
    rings->count++;
}

bool rings_give_back(struct ring *ring)
{
    struct ring_shared *shared = ring->shared;
    if (shared == NULL || --shared->uses > 0)
        return shared != NULL;
    *shared->link = shared->next;
    if (shared->next != NULL)
        shared->next->link = shared->link;
    shared->rings->count--;
    free(shared);
    return false;
}
