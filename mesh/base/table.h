/* table.h - from a key of fixed size to a slot. Keys come from outside, so they are placed by a
 * keyed hash. There is no way to walk a table: nothing may be decided by its order (invariant
 * D1). */
#ifndef MESH_TABLE_H
#define MESH_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#define TABLE_WORDS_MAX 6 /* of 4 bytes, in the key of a table of numbers */

struct table {
    uint32_t key_bytes;
    uint32_t count, capacity; /* entries; the capacity is 0 or a power of two */
    uint8_t sip_key[16];
    uint64_t factors[TABLE_WORDS_MAX + 1]; /* the first 0: SipHash */
    uint8_t *cells;                        /* table.c's own */
};

/* An empty table; takes no memory until something is put. */
void table_init(struct table *table, uint32_t key_bytes, const uint8_t sip_key[16]);
/* The same for keys that only who holds the mesh's key can choose: numbers of 4 bytes, at most
 * TABLE_WORDS_MAX. They are placed by multiplications, at a tenth of SipHash's cost. */
void table_init_numbers(struct table *table, uint32_t key_bytes, const uint8_t sip_key[16]);
void table_deinit(struct table *table);
/* Copies the key. 0; -EEXIST: the key is there and keeps its value; -ENOMEM: nothing changed. */
int table_put(struct table *table, const void *key, uint32_t value);
/* False: not there, *value (may be NULL) is unchanged. */
bool table_get(const struct table *table, const void *key, uint32_t *value);
bool table_remove(struct table *table, const void *key); /* false: was not there */
uint32_t table_count(const struct table *table);

#endif
