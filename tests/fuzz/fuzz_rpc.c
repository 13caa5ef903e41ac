/* fuzz_rpc.c - fuzz T10 for the scanner itself: a text gives the same facts whole, in random pieces
 * and cut in two, every span lies inside the text, and ids can be hashed. The first two bytes
 * choose the pieces and the cut, the rest is the text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/base/rpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rpc_tools whole_tools, cut_tools;

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_span(struct span span, size_t length)
{
    require(span.at <= length && span.length <= length - span.at);
}

static void check_facts(const struct rpc_message *f, size_t length)
{
    const struct span spans[] = {f->id,           f->method_name,   f->name,   f->progress_token,
                                 f->cancels,      f->version,       f->params, f->meta_version,
                                 f->related_task, f->request_state, f->task_id};

    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++)
        check_span(spans[i], length);
    require((f->kind == RPC_BAD) == (f->fault != 0));
    require(f->kind != RPC_REQUEST || (f->id.length > 0 && f->method_name.length > 0));
    require(f->kind != RPC_BATCH || (f->batch_count >= 1 && f->batch_count <= 100));
}

/* The first piece, then others by the seed; 0: all the rest. */
static size_t next_piece(uint64_t *seed, size_t left)
{
    size_t n;

    if (*seed == 0)
        return left;
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    n = (*seed >> 33) % ((*seed >> 60) < 8 ? 3 : 40) + 1;
    return n < left ? n : left;
}

static void scan_cut(struct rpc_scan *scan, const uint8_t *text, size_t length, size_t first,
                     uint64_t seed)
{
    size_t at = 0, part = first < length ? first : length;
    bool alive = true;

    rpc_scan_begin(scan, &cut_tools);
    while (at < length && alive) {
        uint8_t *copy = malloc(part > 0 ? part : 1);

        require(copy != NULL);
        memcpy(copy, text + at, part);
        alive = rpc_scan_feed(scan, copy, part);
        free(copy);
        at += part;
        part = next_piece(&seed, length - at);
    }
    rpc_scan_end(scan);
}

static void require_equal(const struct rpc_scan *whole, const struct rpc_scan *cut)
{
    require(memcmp(&whole->facts, &cut->facts, sizeof whole->facts) == 0);
    require(whole_tools.count == cut_tools.count);
    require(memcmp(whole_tools.tools, cut_tools.tools,
                   whole_tools.count * sizeof *whole_tools.tools) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[16];
    struct rpc_scan whole, cut;

    if (size < 2)
        return 0;
    rpc_scan_begin(&whole, &whole_tools);
    rpc_scan_feed(&whole, data + 2, size - 2);
    rpc_scan_end(&whole);
    check_facts(&whole.facts, size - 2);
    for (uint32_t i = 0; i < whole_tools.count; i++)
        check_span(whole_tools.tools[i].name, size - 2);

    scan_cut(&cut, data + 2, size - 2, 0, data[1] + 1u);
    require_equal(&whole, &cut);
    scan_cut(&cut, data + 2, size - 2, ((size_t)data[0] << 8 | data[1]) % (size - 1), 0);
    require_equal(&whole, &cut);
    rpc_id_hash(key, slice_borrow(data + 2, size - 2));
    return 0;
}
