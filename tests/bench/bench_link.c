/* bench_link.c - what a message costs on a link: queued, sealed into a record, opened and told on
 * the other side. Prints ns per message of 300 bytes one way, alone and sixteen to a record, with
 * and without the codec. Sockets are not in it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <sodium.h>

#include "mesh/wire/link.h"

#define MESSAGES 400000
#define BODY 300

static struct link links[2];
static struct seal_ring ring;
static struct bytes_budget budget = {.max = 64u << 20};
static uint64_t heard;
static bool decodes;

static void drain(struct link *link)
{
    struct link_event e;

    while (link_next_event(link, &e)) {
        if (e.kind != LINK_MESSAGE)
            continue;
        if (decodes) {
            struct wire_message m;
            if (wire_link_read(&m, e.text, NULL) < 0)
                abort();
            heard += m.payload.length == BODY;
        } else {
            heard++;
        }
        link_consumed(link, e.stream, e.text.length);
    }
}

static bool move(int from)
{
    struct bytes *record = link_next_record(&links[from], 0);

    if (record == NULL)
        return false;
    link_bytes_in(&links[!from], slice_of(record, 0, record->length), 0);
    drain(&links[!from]);
    link_written(&links[from], record->length);
    bytes_unref(record);
    return true;
}

static void join(struct rng *rng, bool no_aes)
{
    for (int side = 0; side < 2; side++) {
        struct link_config config = {.is_dialler = side == 0,
                                     .self = {(uint64_t)side + 1, 1},
                                     .nonce = (uint64_t)side + 7,
                                     .ring = &ring,
                                     .no_aes = no_aes,
                                     .rng = rng,
                                     .budget = &budget};
        if (link_init(&links[side], &config, 0) < 0)
            abort();
    }
    for (int i = 0; i < 3; i++) /* the three messages of the handshake */
        move(i % 2);
}

static double run(unsigned batch, struct bytes *body)
{
    struct wire_message m = {.kind = WIRE_EVENT, .epoch = {3, {1, 2}}};
    struct timespec from, to;
    uint8_t head[128];
    uint32_t streams[16];

    for (unsigned i = 0; i < batch; i++)
        streams[i] = link_stream_open(&links[0], (struct handle){i, 1});
    m.payload = slice_of(body, 0, BODY);
    heard = 0;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (unsigned n = 0; n < MESSAGES; n += batch) {
        for (unsigned i = 0; i < batch; i++) {
            int length = 20;
            if (decodes)
                length = wire_link_write(&m, head, sizeof head);
            if (link_send(&links[0], streams[i], head, (size_t)length, m.payload) < 0)
                abort();
        }
        move(0);
        while (move(1))
            ;
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    if (heard != MESSAGES)
        abort();
    return ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) /
           MESSAGES;
}

int main(void)
{
    struct bytes *body = bytes_new(NULL, BODY);
    uint8_t seed[32] = {1};
    struct rng rng;

    if (sodium_init() < 0 || body == NULL || seal_ring_init(&ring, NULL, 0, 0, "bench") < 0)
        return 1;
    body->length = BODY;
    rng_init(&rng, seed);
    for (int no_aes = 0; no_aes < 2; no_aes++)
        for (int codec = 0; codec < 2; codec++) {
            decodes = codec;
            join(&rng, no_aes);
            double one = run(1, body), sixteen = run(16, body);
            printf("%-9s %-10s %6.0f ns alone %6.0f ns by sixteen\n",
                   no_aes ? "chacha20" : "aes256gcm", codec ? "with codec" : "bytes", one, sixteen);
            link_deinit(&links[0]);
            link_deinit(&links[1]);
        }
    bytes_unref(body);
    return 0;
}
