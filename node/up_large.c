/* up_large.c - see up_large.h. */
#include "node/up_large.h"

#include <errno.h>
#include <stdlib.h>

#define LARGE_HOPELESS (1u << 30) /* offsets of a scan are 32 bit; nobody means such a text */

/* SDKs write the id at the beginning of the object, or (in TypeScript) at its end: so much of
 * either is kept. */
struct large_text {
    struct rpc_scan scan;
    uint64_t length;
    uint8_t first[LARGE_ID_MAX];
    uint8_t last[LARGE_ID_MAX]; /* by offset modulo */
};

struct large_text *large_new(void)
{
    struct large_text *large = malloc(sizeof *large);
    if (large == NULL)
        return NULL;
    rpc_scan_begin(&large->scan, NULL);
    large->length = 0;
    return large;
}

int large_feed(struct large_text *large, const void *data, size_t length)
{
    const uint8_t *at = data;
    (void)rpc_scan_feed(&large->scan, data, length);
    for (size_t i = 0; i < length && large->length + i < LARGE_ID_MAX; i++)
        large->first[large->length + i] = at[i];
    for (size_t i = length > LARGE_ID_MAX ? length - LARGE_ID_MAX : 0; i < length; i++)
        large->last[(large->length + i) % LARGE_ID_MAX] = at[i];
    large->length += length;
    return large->length > LARGE_HOPELESS ? -EMSGSIZE : 0;
}

/* 0: it stands where nothing was kept. */
static size_t find_id(const struct large_text *large, uint8_t into[LARGE_ID_MAX])
{
    struct span id = large->scan.facts.id;
    uint64_t end = (uint64_t)id.at + id.length;
    if (end <= LARGE_ID_MAX)
        memcpy(into, large->first + id.at, id.length);
    else if (id.at + (uint64_t)LARGE_ID_MAX >= large->length) {
        for (uint32_t i = 0; i < id.length; i++)
            into[i] = large->last[(id.at + i) % LARGE_ID_MAX];
    } else
        return 0;
    return id.length;
}

enum rpc_kind large_end(struct large_text *large, uint8_t id[LARGE_ID_MAX], size_t *id_length,
                        size_t *length)
{
    rpc_scan_end(&large->scan);
    *id_length = find_id(large, id);
    *length = (size_t)large->length;
    return large->scan.facts.kind;
}

void large_free(struct large_text *large)
{
    free(large);
}
