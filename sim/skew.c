/* skew.c - see skew.h. */
#include "sim/skew.h"

#include <stdlib.h>
#include <string.h>

#include "mesh/wire/wire.h"
#include "sim/check.h"
#include "sim/reseal.h"

#define LATER_SALT (UINT64_C(22) << 56)
#define LATER_EACH 3u /* lives, of which one is of a later version */
#define MORE_MAX 3u   /* elements behind what we know of an array */
#define TARGET_BYTES 16u
#define NIL 0xc0

struct skew {
    struct reseal *reseal;
    struct wire_datagram was, is;
};

/* What a later version may add: msgpack of every type; `elements` that it declares itself. */
static const struct {
    uint8_t length, elements, bytes[12];
} additions[] = {
    {1, 0, {0x07}},
    {9, 0, {0xcf, 1, 2, 3, 4, 5, 6, 7, 8}},
    {1, 0, {0xff}},
    {1, 0, {NIL}},
    {1, 0, {0xc3}},
    {9, 0, {0xcb, 0x40, 9, 0x21, 0xfb, 0x54, 0x44, 0x2d, 0x18}},
    {4, 0, {0xa3, 'n', 'e', 'w'}},
    {5, 0, {0xc4, 3, 0, 0xff, 0xc1}},
    {4, 2, {0x92, 1, 0xa1, 'x'}},
    {5, 3, {0x91, 0x92, 1, 0xa1, 'x'}},
    {5, 2, {0x81, 0xa2, 'i', 'd', 1}},
};
#define ADDITIONS (sizeof additions / sizeof *additions)

/* What it says instead. */
struct text {
    uint8_t at[WIRE_PLAIN_MAX];
    size_t length;
    uint32_t elements; /* that its arrays declare */
    bool is_full;
};

static void put(struct text *text, const void *bytes, size_t length)
{
    text->is_full = text->is_full || length > sizeof text->at - text->length;
    if (text->is_full)
        return;
    memcpy(text->at + text->length, bytes, length);
    text->length += length;
}

static void put_more(struct text *text, struct shuffle *chance, uint32_t count)
{
    for (uint32_t n = 0; n < count; n++) {
        uint32_t which = chance_below(chance, ADDITIONS);
        put(text, additions[which].bytes, additions[which].length);
        text->elements += additions[which].elements;
    }
}

static void put_array(struct text *text, uint32_t elements)
{
    uint8_t head[3] = {0xdc, (uint8_t)(elements >> 8), (uint8_t)elements};
    uint8_t small = (uint8_t)(0x90 | elements);
    if (elements < 16)
        put(text, &small, 1);
    else
        put(text, head, sizeof head);
    text->elements += elements;
}

/* An array of at most 15 elements as those of our version are, and then as many of later ones. */
static void put_longer(struct text *text, struct shuffle *chance, const uint8_t *array,
                       size_t length)
{
    uint32_t more = 1 + chance_below(chance, MORE_MAX);
    put_array(text, (array[0] & 15u) + more);
    put(text, array + 1, length - 1);
    put_more(text, chance, more);
}

/* A piece of news that nobody of our version has heard of. */
static void put_unknown(struct text *text, struct shuffle *chance)
{
    uint32_t more = 1 + chance_below(chance, MORE_MAX);
    uint8_t kind[2] = {0xcc, (uint8_t)(UPDATE_CLAIM + 1 + chance_below(chance, 100))};
    put_array(text, 1 + more);
    put(text, kind, sizeof kind);
    put_more(text, chance, more);
}

/* False: it stays as it is. */
static bool rewrite(struct text *text, struct shuffle *chance, const uint8_t *plain, size_t length)
{
    uint32_t elements_left = WIRE_ELEMENTS_MAX;
    size_t at = TARGET_BYTES;
    if (length <= TARGET_BYTES + 1 || plain[TARGET_BYTES + 1] == DATAGRAM_WELCOME)
        return false; /* no answer is longer than its question */
    put(text, plain, TARGET_BYTES);
    while (at < length && plain[at] != NIL) {
        int used = wire_scan(plain + at, length - at, &elements_left);
        if (used <= 0 || (plain[at] & 0xf0) != 0x90)
            return false;
        put_longer(text, chance, plain + at, (size_t)used);
        at += (size_t)used;
        if (chance_below(chance, 4) == 0)
            put_unknown(text, chance);
    }
    while (!text->is_full && text->length < length) /* a question is as long as its answer */
        text->at[text->length++] = NIL;
    return !text->is_full && text->elements <= WIRE_ELEMENTS_MAX;
}

static bool is_later(const struct world *world, const struct seat *seat)
{
    struct shuffle chance;
    chance_key(&chance, world->config.seed ^ LATER_SALT, (uint64_t)seat->index << 32 | seat->life);
    return !seat->is_foreign && chance_below(&chance, LATER_EACH) == 0;
}

static struct skew *skew_of(struct world *world)
{
    if (world->skew == NULL) {
        world->skew = sim_zero(sizeof *world->skew);
        world->skew->reseal = reseal_new(world);
    }
    return world->skew;
}

void skew_free(struct world *world)
{
    if (world->skew == NULL)
        return;
    reseal_free(world->skew->reseal);
    free(world->skew);
    world->skew = NULL;
}

static void check_same(struct world *world, const struct seat *seat, const uint8_t *plain,
                       size_t length, const struct text *text)
{
    struct skew *skew = world->skew;
    /* what a message has no room for is not written when it is read: here it is compared */
    memset(&skew->was, 0, sizeof skew->was);
    memset(&skew->is, 0, sizeof skew->is);
    int was = wire_datagram_read(&skew->was, plain, length);
    int is = wire_datagram_read(&skew->is, text->at, text->length);
    size_t known = offsetof(struct wire_datagram, updates) +
                   skew->was.updates_count * sizeof skew->was.updates[0];
    if (was < 0 || is < 0 || skew->was.updates_count != skew->is.updates_count ||
        memcmp(&skew->was, &skew->is, known) != 0)
        check_fail(world, "X6", "what p%u says as a later version is not read as what ours says",
                   seat->index);
}

struct slice skew_datagram(struct world *world, const struct seat *seat, struct slice sealed,
                           uint8_t *into)
{
    struct skew *skew = skew_of(world);
    struct text text = {.length = 0};
    struct seal_sender from;
    struct shuffle chance;
    uint8_t plain[SEAL_PLAIN_MAX];
    size_t length = 0;
    if (!is_later(world, seat) || !reseal_open(skew->reseal, sealed, plain, &length, &from))
        return sealed;
    chance_key(&chance, world->config.seed ^ LATER_SALT ^ from.nonce, from.seq);
    if (!rewrite(&text, &chance, plain, length))
        return sealed;
    check_same(world, seat, plain, length, &text);
    world->faults->hits[FAULT_SKEW]++;
    return reseal_again(skew->reseal, &from, text.at, text.length, into);
}
