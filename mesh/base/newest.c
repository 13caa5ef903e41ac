/* newest.c - a ring of entries and a table of their keys. */
#include "mesh/base/newest.h"

#include <stdlib.h>
#include <string.h>

#define NEWEST_FIRST 256
#define NEWEST_ALIGN 8

static size_t value_at(const struct newest *newest)
{
    return (1 + newest->key_bytes + NEWEST_ALIGN - 1) / NEWEST_ALIGN * NEWEST_ALIGN;
}

void newest_init(struct newest *newest, uint32_t key_bytes, size_t value_bytes, uint32_t max,
                 const uint8_t sip_key[16])
{
    memset(newest, 0, sizeof *newest);
    newest->key_bytes = key_bytes;
    newest->value_bytes = value_bytes;
    newest->stride =
        value_at(newest) + (value_bytes + NEWEST_ALIGN - 1) / NEWEST_ALIGN * NEWEST_ALIGN;
    newest->max = max;
    table_init(&newest->slots, key_bytes, sip_key);
}

void newest_deinit(struct newest *newest)
{
    table_deinit(&newest->slots);
    free(newest->ring);
    newest->ring = NULL;
}

static uint8_t *entry_at(const struct newest *newest, uint32_t slot)
{
    return newest->ring + slot * newest->stride;
}

void *newest_find(const struct newest *newest, const void *key)
{
    uint32_t slot = 0;
    if (!table_get(&newest->slots, key, &slot))
        return NULL;
    return entry_at(newest, slot) + value_at(newest);
}

static bool grow(struct newest *newest)
{
    uint32_t capacity = newest->capacity == 0 ? NEWEST_FIRST : newest->capacity * 2;
    if (capacity > newest->max)
        capacity = newest->max;
    uint8_t *ring = realloc(newest->ring, capacity * newest->stride);
    if (ring == NULL)
        return false;
    memset(ring + newest->capacity * newest->stride, 0,
           (capacity - newest->capacity) * newest->stride);
    newest->ring = ring;
    newest->capacity = capacity;
    return true;
}

void *newest_put(struct newest *newest, const void *key)
{
    void *value = newest_find(newest, key);
    if (value != NULL)
        return value;
    if (newest->next == newest->capacity && newest->capacity < newest->max && !grow(newest))
        return NULL;
    if (newest->next == newest->capacity)
        newest->next = 0;
    uint8_t *entry = entry_at(newest, newest->next);
    if (entry[0] != 0)
        table_remove(&newest->slots, entry + 1);
    memset(entry, 0, newest->stride);
    if (table_put(&newest->slots, key, newest->next) < 0)
        return NULL;
    entry[0] = 1;
    memcpy(entry + 1, key, newest->key_bytes);
    newest->next++;
    return entry + value_at(newest);
}

const void *newest_at(const struct newest *newest, uint32_t slot, const void **key)
{
    const uint8_t *entry = entry_at(newest, slot);
    *key = entry + 1;
    return entry[0] != 0 ? entry + value_at(newest) : NULL;
}
