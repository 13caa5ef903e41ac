/* fuzz_link.c - hostile bytes for a link. The first byte chooses: raw bytes before and during the
 * handshake, or a script played on two links joined in memory, in which one side also seals frames
 * of the fuzzer's making into its records. Input is cut at points that the input chooses.
 *
 *   clang -g -fsanitize=fuzzer,address,undefined -I. tests/fuzz/fuzz_link.c <mesh/base, mesh/wire>
 *   -lmsgpackc -lsodium */
#include <stdlib.h>

#include <sodium.h>

#include "mesh/wire/link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct seal_ring ring;

struct input {
    const uint8_t *at;
    size_t left;
};

static uint8_t next(struct input *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->at++;
}

struct side {
    struct link link;
    struct rng rng;
    struct bytes_budget budget;
    uint32_t streams[4];
    uint64_t delivered;
};

static void side_init(struct side *side, bool is_dialler)
{
    uint8_t seed[32] = {is_dialler};
    struct link_config config = {.is_dialler = is_dialler,
                                 .self = {is_dialler ? 1 : 2, 1},
                                 .nonce = 5,
                                 .ring = &ring,
                                 .rng = &side->rng,
                                 .budget = &side->budget};

    memset(side, 0, sizeof *side);
    rng_init(&side->rng, seed);
    side->budget.max = 1u << 20;
    if (link_init(&side->link, &config, 0) < 0)
        abort();
}

static void side_deinit(struct side *side)
{
    link_deinit(&side->link);
    if (side->budget.used != 0)
        abort();
}

static void drain(struct side *side)
{
    struct link_event e;

    while (link_next_event(&side->link, &e)) {
        if (e.kind != LINK_MESSAGE)
            continue;
        for (size_t i = 0; i < e.text.length; i += 64)
            side->delivered += e.text.at[i];
        if (e.is_new)
            link_stream_accept(&side->link, e.stream, (struct handle){e.stream, 1});
        side->streams[e.stream / 2 % 4] = e.stream;
        if (e.text.at[0] & 1)
            link_consumed(&side->link, e.stream, e.text.length);
    }
}

static void feed(struct side *to, const uint8_t *bytes, size_t length, size_t part)
{
    while (length > 0) {
        size_t n = part == 0 || part > length ? length : part;
        link_bytes_in(&to->link, slice_borrow(bytes, n), 1);
        drain(to);
        bytes += n;
        length -= n;
    }
}

static bool move(struct side *from, struct side *to, size_t part)
{
    struct bytes *record = link_next_record(&from->link, 1);

    if (record == NULL)
        return false;
    feed(to, record->data, record->length, part);
    link_written(&from->link, record->length);
    bytes_unref(record);
    return true;
}

/* Seals what the input says as the next record. */
static void forge(struct side *from, struct side *to, struct input *in)
{
    uint8_t record[TUNNEL_PREFIX + TUNNEL_RECORD_MAX];
    size_t length = 1u + next(in);

    if (from->link.state != LINK_OPEN)
        return;
    record[TUNNEL_PREFIX] = next(in) & 1;
    for (size_t i = 1; i < length; i++)
        record[TUNNEL_PREFIX + i] = next(in);
    feed(to, record, tunnel_seal(&from->link.out, record, length), next(in));
}

static void send(struct side *side, struct input *in)
{
    uint8_t text[256] = {next(in)};
    unsigned which = next(in) % 5;
    uint32_t stream = which < 4 ? side->streams[which] : 0;
    size_t repeat = next(in);

    struct bytes *buf = bytes_new(NULL, repeat * 256 + 1);
    if (buf == NULL)
        abort();
    buf->length = repeat * 256;
    memset(buf->data, 7, buf->length);
    link_send(&side->link, stream, text, 1u + next(in) % 200, slice_of(buf, 0, buf->length));
    bytes_unref(buf);
}

static void play(struct side sides[2], struct input *in)
{
    uint8_t op = next(in);
    struct side *side = &sides[op & 1], *other = &sides[!(op & 1)];
    uint32_t *stream = &side->streams[op >> 1 & 3];

    switch (op >> 3 & 15) {
    case 0:
        *stream = link_stream_open(&side->link, (struct handle){op, 1});
        break;
    case 1:
    case 2:
        send(side, in);
        break;
    case 3:
        link_stream_close(&side->link, *stream);
        break;
    case 4:
        link_stream_cut(&side->link, *stream);
        break;
    case 5:
        link_consumed(&side->link, *stream, (size_t)next(in) << 8);
        break;
    case 6:
        link_ping(&side->link, op);
        break;
    case 7:
        link_now(&side->link, (uint64_t)next(in) * 40);
        drain(side);
        break;
    case 8:
        if (next(in) == 77)
            link_shutdown(&side->link);
        break;
    case 9:
    case 10:
    case 11:
        forge(side, other, in);
        break;
    default:
        move(side, other, next(in));
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct side sides[2];
    struct input in = {data, size};

    if (ring.count == 0 && (sodium_init() < 0 || seal_ring_init(&ring, NULL, 0, 0, "fuzz") < 0))
        abort();
    side_init(&sides[0], true);
    side_init(&sides[1], false);
    if (next(&in) % 8 == 0) {
        struct side *side = &sides[next(&in) & 1];
        size_t part = next(&in);
        feed(side, in.at, in.left, part);
    } else {
        for (int i = 0; i < 3; i++) /* the three messages of the handshake */
            move(&sides[i % 2], &sides[!(i % 2)], 0);
        while (in.left > 0)
            play(sides, &in);
        for (int i = 0; i < 64; i++)
            move(&sides[0], &sides[1], 0), move(&sides[1], &sides[0], 0);
    }
    side_deinit(&sides[0]);
    side_deinit(&sides[1]);
    return 0;
}
