/* bench_ring.c - what a lookup, a walk of three, a build and one more peer cost, and how even the
 * shares are (target T14 of the anchors' table). `ninja tests/bench_ring`. --tsv: in the columns
 * of mesh-measure, for scripts/bench sim; --quick: with fewer keys.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mesh/member/ring.h"

#define KEYS (1u << 24) /* for the shares; their sampling floor is 1.02 at 1,000 peers */

/* Of this process: others on the machine take time, too. */
static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static uint64_t mix(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static struct ring_peer *make_peers(size_t count)
{
    struct ring_peer *peers = calloc(count, sizeof *peers);
    uint64_t state = 1;
    for (size_t n = 0; peers != NULL && n < count; n++) {
        peers[n].id = (struct peer_id){mix(&state), mix(&state)};
        peers[n].weight = 1;
        peers[n].zone[0] = (char)('a' + n % 3);
    }
    return peers;
}

static double max_to_mean(const struct ring *ring, uint32_t keys)
{
    uint32_t *owned = calloc(ring->peers_count, sizeof *owned), most = 0;
    uint64_t state = 2;
    for (uint32_t n = 0; n < keys; n++) {
        struct peer_id id = ring_lookup(ring, mix(&state));
        uint32_t low = 0, high = ring->peers_count;
        while (low + 1 < high) {
            uint32_t middle = low + (high - low) / 2;
            if (peer_id_compare(ring->peers[middle].id, id) <= 0)
                low = middle;
            else
                high = middle;
        }
        owned[low]++;
    }
    for (uint32_t n = 0; n < ring->peers_count; n++)
        most = owned[n] > most ? owned[n] : most;
    free(owned);
    return (double)most * ring->peers_count / keys;
}

static double lookups_ns(const struct ring *ring, size_t walk, uint64_t state)
{
    uint64_t times = 0;
    struct peer_id found[3];
    volatile uint64_t sum = 0;
    double start = now_ns(), end;
    do {
        for (size_t n = 0; n < 4096; n++) {
            uint64_t point = mix(&state);
            if (walk == 1)
                found[0] = ring_lookup(ring, point);
            else
                (void)ring_walk(ring, point, found, walk);
            sum += found[0].name;
        }
        times += 4096;
        end = now_ns();
    } while (end - start < 1e8);
    return (end - start) / (double)times;
}

/* The best of some: others share the caches. */
static double lookup_ns(const struct ring *ring, size_t walk)
{
    double best = 1e12;
    for (uint64_t n = 0; n < 7; n++) {
        double ns = lookups_ns(ring, walk, 3 + n);
        best = ns < best ? ns : best;
    }
    return best;
}

/* From nothing, and from the ring without the last of them. */
static void time_builds(struct ring *ring, const struct ring_peer *peers, size_t count, double *all,
                        double *one_more)
{
    *all = *one_more = 1e12;
    for (int n = 0; n < 5; n++) {
        ring_deinit(ring);
        double start = now_ns();
        if (ring_build(ring, peers, count - 1, RING_POINT_BITS) < 0)
            exit(1);
        double middle = now_ns();
        if (ring_build(ring, peers, count, RING_POINT_BITS) < 0)
            exit(1);
        double end = now_ns();
        *all = middle - start < *all ? middle - start : *all;
        *one_more = end - middle < *one_more ? end - middle : *one_more;
    }
}

struct costs {
    double lookup, walk, all, one_more, share; /* nanoseconds; most of the mean */
};

static struct costs measure(size_t count, uint32_t keys)
{
    struct ring ring = {.is_built = false};
    struct ring_peer *peers = make_peers(count);
    struct costs costs;
    if (peers == NULL)
        exit(1);
    time_builds(&ring, peers, count, &costs.all, &costs.one_more);
    costs.lookup = lookup_ns(&ring, 1);
    costs.walk = lookup_ns(&ring, 3);
    costs.share = max_to_mean(&ring, keys);
    ring_deinit(&ring);
    free(peers);
    return costs;
}

/* most 0: no target. */
static void show(size_t peers, const char *what, const char *unit, double value, const char *anchor,
                 double most)
{
    char target[32] = "-";
    if (most > 0)
        snprintf(target, sizeof target, "%g", most);
    printf("T14\tproduct\t%zu\t%s\t%s\t1\t0\t%.4g\t\t\t\t%s\t%s\t%s\n", peers, what, unit, value,
           anchor, target,
           most <= 0       ? "-"
           : value <= most ? "met"
                           : "missed");
}

static void show_all(size_t peers, const struct costs *costs)
{
    show(peers, "largest share of the mean one", "times", costs->share,
         peers == 1000  ? "1.37, 100 points a peer"
         : peers == 100 ? "1.29, 100 points a peer"
                        : "-",
         peers == 1000  ? 1.25
         : peers == 100 ? 1.15
                        : 0);
    show(peers, "lookup", "ns", costs->lookup, "-", peers <= 1000 ? 15 : 40);
    show(peers, "walk of 3", "ns", costs->walk, "-", 40);
    show(peers, "rebuild for one more peer", "ms", costs->one_more / 1e6, "-",
         peers == 1000 ? 5 : 0);
}

int main(int argc, char **argv)
{
    static const size_t counts[] = {10, 100, 1000, 10000};
    bool is_tsv = false, is_quick = false;
    for (int n = 1; n < argc; n++) {
        if (strcmp(argv[n], "--tsv") == 0) {
            is_tsv = true;
        } else if (strcmp(argv[n], "--quick") == 0) {
            is_quick = true;
        } else {
            fputs("usage: bench_ring [--tsv] [--quick]\n", stderr);
            return 2;
        }
    }
    if (!is_tsv)
        printf("peers  lookup ns  walk of 3 ns  build ms  one more ms  max/mean\n");
    for (size_t n = 0; n < sizeof counts / sizeof counts[0]; n++) {
        struct costs costs = measure(counts[n], is_quick ? KEYS / 16 : KEYS);
        if (is_tsv)
            show_all(counts[n], &costs);
        else
            printf("%5zu  %9.1f  %12.1f  %8.2f  %11.2f  %8.3f\n", counts[n], costs.lookup,
                   costs.walk, costs.all / 1e6, costs.one_more / 1e6, costs.share);
    }
    return 0;
}
