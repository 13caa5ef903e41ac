/* fuzz_ring.c - the ring against a list: any peers, weights and zones, points that meet. A lookup
 * is the first point at or after, by place and peer; a walk names each peer once, in that order,
 * the second of another zone where there is one; who goes takes no more than its own keys away.
 *
 *   clang -g -fsanitize=fuzzer,address,undefined -I. tests/fuzz/fuzz_ring.c <mesh/base, member> */
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "mesh/member/ring.h"

#define PEERS_MAX 10
#define WEIGHT_SUM_MAX 16 /* keeps a run short */
#define PLACES_MAX (WEIGHT_SUM_MAX * RING_POINTS_PER_WEIGHT)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct place {
    uint64_t point;
    const struct ring_peer *peer;
};

/* All points, by place and peer. */
struct list {
    struct place places[PLACES_MAX];
    size_t count;
};

struct input {
    const uint8_t *at;
    size_t left;
};

static void check(bool holds)
{
    if (!holds)
        abort();
}

static uint8_t next(struct input *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->at++;
}

static int compare_places(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->point != y->point)
        return x->point < y->point ? -1 : 1;
    return peer_id_compare(x->peer->id, y->peer->id);
}

/* The same points, as the ring's description gives them: the upper 48 bits of XXH3 of the id, '#'
 * and a number. */
static void list_build(struct list *list, const struct ring_peer *peers, size_t count,
                       unsigned bits)
{
    list->count = 0;
    for (size_t n = 0; n < count; n++)
        for (uint32_t k = 0; k < (uint32_t)peers[n].weight * RING_POINTS_PER_WEIGHT; k++) {
            uint8_t text[21];
            for (unsigned byte = 0; byte < 8; byte++) {
                text[byte] = (uint8_t)(peers[n].id.name >> (8 * byte));
                text[8 + byte] = (uint8_t)(peers[n].id.generation >> (8 * byte));
            }
            text[16] = '#';
            for (unsigned byte = 0; byte < 4; byte++)
                text[17 + byte] = (uint8_t)(k >> (8 * byte));
            uint64_t point = XXH3_64bits(text, sizeof text) & UINT64_MAX << (64 - bits);
            list->places[list->count++] = (struct place){point & ~(uint64_t)UINT16_MAX, &peers[n]};
        }
    qsort(list->places, list->count, sizeof list->places[0], compare_places);
}

/* A peer's points that meet are one. */
static size_t list_distinct(const struct list *list)
{
    size_t count = 0;
    for (size_t n = 0; n < list->count; n++)
        count += n == 0 || compare_places(&list->places[n - 1], &list->places[n]) != 0;
    return count;
}

static size_t list_first(const struct list *list, uint64_t point)
{
    for (size_t n = 0; n < list->count; n++)
        if (list->places[n].point >= (point & ~(uint64_t)UINT16_MAX))
            return n;
    return 0;
}

/* Every peer once, in the order of the walk; then the first of another zone is put second. */
static size_t list_walk(const struct list *list, uint64_t point, struct ring_peer out[PEERS_MAX])
{
    size_t count = 0, first = list_first(list, point), other = 0;
    for (size_t n = 0; n < list->count; n++) {
        const struct ring_peer *peer = list->places[(first + n) % list->count].peer;
        size_t k = 0;
        while (k < count && !peer_id_equal(out[k].id, peer->id))
            k++;
        if (k == count)
            out[count++] = *peer;
    }
    while (other < count && strcmp(out[other].zone, out[0].zone) == 0)
        other++;
    if (other < count && other > 1) {
        struct ring_peer moved = out[other];
        memmove(out + 2, out + 1, (other - 1) * sizeof *out);
        out[1] = moved;
    }
    return count;
}

static size_t draw_peers(struct input *in, struct ring_peer peers[PEERS_MAX])
{
    size_t want = next(in) % (PEERS_MAX + 1), count = 0;
    unsigned weights = 0;
    while (count < want) {
        uint8_t n = next(in), weight = next(in) % 5;
        struct peer_id id = {1 + n % 8, n >> 4};
        bool is_new = true;
        if (n & 8)
            id.name |= (uint64_t)next(in) << 56;
        for (size_t k = 0; k < count; k++)
            is_new = is_new && !peer_id_equal(peers[k].id, id);
        if (!is_new || weights + weight > WEIGHT_SUM_MAX)
            break;
        weights += weight;
        peers[count] = (struct ring_peer){.id = id, .weight = weight};
        peers[count++].zone[0] = (char)("\0ab"[next(in) % 3]);
    }
    return count;
}

static void check_point(const struct ring *ring, const struct list *list, size_t peers_count,
                        uint64_t point)
{
    struct ring_peer expected[PEERS_MAX];
    struct peer_id walk[PEERS_MAX + 2];
    size_t count = list_walk(list, point, expected);
    struct peer_id found = ring_lookup(ring, point);
    if (count == 0) {
        check(peer_id_is_nobody(found) && ring_walk(ring, point, walk, PEERS_MAX) == 0);
        return;
    }
    check(peer_id_equal(found, expected[0].id));
    for (size_t max = 0; max <= peers_count + 1; max++) {
        size_t walked = ring_walk(ring, point, walk, max);
        check(walked == (max < count ? max : count));
        for (size_t n = 0; n < walked; n++)
            check(peer_id_equal(walk[n], expected[n].id));
    }
}

/* Without the last peer: what it did not have stays where it was. */
static void check_loss(const struct ring *ring, const struct ring_peer *peers, size_t count,
                       unsigned bits, uint64_t point)
{
    struct ring fewer = {0};
    if (count == 0)
        return;
    check(ring_build(&fewer, peers, count, bits) == 0);
    check(ring_build(&fewer, peers, count - 1, bits) == 0);
    struct peer_id was = ring_lookup(ring, point), is = ring_lookup(&fewer, point);
    check(peer_id_equal(was, peers[count - 1].id) || peer_id_equal(was, is));
    ring_deinit(&fewer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct list list;
    struct ring_peer peers[PEERS_MAX];
    struct ring ring = {0};
    struct input in = {data, size};
    unsigned bits = 1 + next(&in) % RING_POINT_BITS;
    size_t count = draw_peers(&in, peers);
    list_build(&list, peers, count, bits);
    /* of nothing, or of a ring of some of them: it has to be the same */
    size_t from = count > 0 ? next(&in) % count : 0;
    check(ring_build(&ring, peers + from, count - from, bits) == 0);
    check(ring_build(&ring, peers, count, bits) == 0);
    check(ring.points_count == list_distinct(&list));
    do {
        uint64_t point = 0;
        uint8_t how = next(&in);
        for (unsigned n = 0; n < 8; n++)
            point = point << 8 | next(&in);
        if (how & 1 && list.count > 0) /* at a point, just before or just after it */
            point = list.places[point % list.count].point + ((uint64_t)(how >> 1) % 3 << 16) -
                    ((uint64_t)1 << 16);
        check_point(&ring, &list, count, point);
        check_loss(&ring, peers, count, bits, point);
    } while (in.left > 0);
    ring_deinit(&ring);
    return 0;
}
