/* ring.c - a ring out of a view, and what is read off it. How one is made: ring_build.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "mesh/base/mutant.h"
#include "mesh/member/ring.h"

int ring_sync(struct ring *ring, const struct view *view)
{
    uint64_t generation = view_ring_generation(view);
    size_t rows = view_count(view), count = 0;
    bool any_eligible = false;
    if (ring->is_built && ring->generation == generation)
        return 0;
    struct ring_peer *peers = calloc(rows > 0 ? rows : 1, sizeof *peers);
    if (peers == NULL)
        return -ENOMEM;
    for (size_t n = 0; n < rows; n++)
        any_eligible = any_eligible || member_is_eligible(view_at(view, n));
    for (size_t n = 0; n < rows; n++) {
        const struct mesh_member *member = view_at(view, n);
        if (any_eligible ? !member_is_eligible(member) : !member_is_living(member))
            continue;
        struct ring_peer *peer = &peers[count++];
        peer->id = member->record->id;
        peer->weight = member->record->weight;
        memcpy(peer->zone, member->record->zone, sizeof peer->zone);
    }
    int rc = ring_build(ring, peers, count, MUTANT(RING_ORDER) ? 10 : 64);
    if (rc == 0)
        ring->generation = generation;
    free(peers);
    return rc;
}

static uint32_t place_of(const struct ring *ring, uint64_t point)
{
    uint32_t at = ring->index[point >> ring->index_shift];
    while (at < ring->points_count && ring->points[at].at < point)
        at++;
    return at < ring->points_count ? at : 0;
}

struct peer_id ring_lookup(const struct ring *ring, uint64_t point)
{
    if (ring->points_count == 0)
        return (struct peer_id){0, 0};
    return ring->ids[ring->points[place_of(ring, point)].owner];
}

static bool is_among(const uint32_t *peers, size_t count, uint32_t peer)
{
    for (size_t n = 0; n < count; n++)
        if (peers[n] == peer)
            return true;
    return false;
}

/* The walk in places of peers; `max` at most RING_WALK_MAX. */
static size_t walk(const struct ring *ring, uint64_t point, uint32_t *out, size_t max)
{
    uint32_t at = place_of(ring, point), first_zone = ring->points[at].zone;
    size_t count = 0, limit = max < ring->peers_count ? max : ring->peers_count;
    /* what is still looked for: a second peer that is of another zone */
    bool wants_zone = ring->zones_count > 1 && limit > 1;

    for (uint32_t left = ring->points_count; left > 0 && (count < limit || wants_zone); left--) {
        struct ring_point here = ring->points[at];
        at = at + 1 < ring->points_count ? at + 1 : 0;
        bool is_other = wants_zone && here.zone != first_zone;
        if ((count == limit && !is_other) || is_among(out, count, here.owner))
            continue;
        if (is_other) { /* it goes second, the others one further */
            if (count < limit)
                count++;
            memmove(out + 2, out + 1, (count - 2) * sizeof *out);
            out[1] = here.owner;
            wants_zone = false;
        } else {
            out[count++] = here.owner;
        }
    }
    return count;
}

size_t ring_walk(const struct ring *ring, uint64_t point, struct peer_id *out, size_t max)
{
    uint32_t places[RING_WALK_MAX];
    if (ring->points_count == 0 || max == 0)
        return 0;
    size_t count = walk(ring, point, places, max < RING_WALK_MAX ? max : RING_WALK_MAX);
    for (size_t n = 0; n < count; n++)
        out[n] = ring->ids[places[n]];
    return count;
}

uint64_t ring_point(const void *bytes, size_t length)
{
    return XXH3_64bits(bytes, length);
}
