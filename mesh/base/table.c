/* table.c - open addressing with linear probing. Removing shifts later entries back (Knuth, The
 * Art of Computer Programming 3, section 6.4, algorithm R), so that no tombstones pile up under
 * sessions that come and go for months. */
#include "mesh/base/table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/base/siphash.h"

#define CAPACITY_FIRST 16
#define CAPACITY_MAX ((uint32_t)1 << 31)

/* A cell: this, then the key. `hash` 0: empty. */
struct cell {
    uint32_t hash, value;
};

static size_t cell_bytes(const struct table *table)
{
    return sizeof(struct cell) + (((size_t)table->key_bytes + 3) & ~(size_t)3);
}

static struct cell *cell_at(const struct table *table, uint32_t index)
{
    return (struct cell *)(void *)(table->cells + (size_t)index * cell_bytes(table));
}

/* Multiply-shift (Dietzfelbinger, "Universal hashing and k-wise independent random variables via
 * integer arithmetic without primes", 1996): two keys meet in a cell no oftener than by chance, for
 * who does not know the factors. */
static uint32_t hash_numbers(const struct table *table, const void *key)
{
    uint64_t sum = table->factors[0];
    uint32_t number;

    for (uint32_t i = 0; i < table->key_bytes / sizeof number; i++) {
        memcpy(&number, (const uint8_t *)key + i * sizeof number, sizeof number);
        sum += table->factors[1 + i] * number;
    }
    return (uint32_t)(sum >> 32);
}

static uint32_t hash_of(const struct table *table, const void *key)
{
    uint32_t hash = table->factors[0] != 0
                        ? hash_numbers(table, key)
                        : (uint32_t)siphash(table->sip_key, key, table->key_bytes);

    return hash != 0 ? hash : 1;
}

/* The cell of the key, or the empty one where it would go. The table must not be full. */
static uint32_t find_cell(const struct table *table, const void *key, uint32_t hash)
{
    uint32_t mask = table->capacity - 1, index = hash & mask;
    const struct cell *cell = cell_at(table, index);

    while (cell->hash != 0) {
        if (cell->hash == hash && memcmp(cell + 1, key, table->key_bytes) == 0)
            break;
        index = (index + 1) & mask;
        cell = cell_at(table, index);
    }
    return index;
}

void table_init(struct table *table, uint32_t key_bytes, const uint8_t sip_key[16])
{
    *table = (struct table){.key_bytes = key_bytes};
    memcpy(table->sip_key, sip_key, sizeof table->sip_key);
}

void table_init_numbers(struct table *table, uint32_t key_bytes, const uint8_t sip_key[16])
{
    assert(key_bytes % sizeof(uint32_t) == 0 && key_bytes / sizeof(uint32_t) <= TABLE_WORDS_MAX);
    table_init(table, key_bytes, sip_key);
    for (uint8_t i = 0; i < TABLE_WORDS_MAX + 1; i++)
        table->factors[i] = siphash(sip_key, &i, sizeof i) | 1;
}

void table_deinit(struct table *table)
{
    if (table == NULL)
        return;
    free(table->cells);
    table->cells = NULL;
    table->count = 0;
    table->capacity = 0;
}

static int grow(struct table *table)
{
    struct table old = *table;

    if (old.capacity == CAPACITY_MAX)
        return -ENOMEM;
    table->capacity = old.capacity == 0 ? CAPACITY_FIRST : old.capacity * 2;
    table->cells = calloc(table->capacity, cell_bytes(table));
    if (table->cells == NULL) {
        *table = old;
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < old.capacity; i++) {
        const struct cell *cell = cell_at(&old, i);

        if (cell->hash != 0)
            memcpy(cell_at(table, find_cell(table, cell + 1, cell->hash)), cell, cell_bytes(table));
    }
    free(old.cells);
    return 0;
}

int table_put(struct table *table, const void *key, uint32_t value)
{
    uint32_t hash = hash_of(table, key);
    struct cell *cell;
    int rc;

    if (table->capacity > 0 && cell_at(table, find_cell(table, key, hash))->hash != 0)
        return -EEXIST;
    /* Over three quarters full the probes of a linear table grow long. */
    if (table->count >= table->capacity / 4 * 3) {
        rc = grow(table);
        if (rc < 0)
            return rc;
    }
    cell = cell_at(table, find_cell(table, key, hash));
    cell->hash = hash;
    cell->value = value;
    memcpy(cell + 1, key, table->key_bytes);
    table->count++;
    return 0;
}

bool table_get(const struct table *table, const void *key, uint32_t *value)
{
    const struct cell *cell;

    if (table->count == 0)
        return false;
    cell = cell_at(table, find_cell(table, key, hash_of(table, key)));
    if (cell->hash == 0)
        return false;
    if (value != NULL)
        *value = cell->value;
    return true;
}

bool table_remove(struct table *table, const void *key)
{
    uint32_t mask = table->capacity - 1, hole, next;

    if (table->count == 0)
        return false;
    hole = find_cell(table, key, hash_of(table, key));
    if (cell_at(table, hole)->hash == 0)
        return false;
    for (next = (hole + 1) & mask; cell_at(table, next)->hash != 0; next = (next + 1) & mask) {
        uint32_t home = cell_at(table, next)->hash & mask;

        /* An entry may move into the hole unless its home lies behind it on the way to `next`. */
        if (((next - home) & mask) >= ((next - hole) & mask)) {
            memcpy(cell_at(table, hole), cell_at(table, next), cell_bytes(table));
            hole = next;
        }
    }
    memset(cell_at(table, hole), 0, cell_bytes(table));
    table->count--;
    return true;
}

uint32_t table_count(const struct table *table)
{
    return table->count;
}
