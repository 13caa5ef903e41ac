/* table.h - from a key of fixed size to a slot. Keys come from outside, so they are placed by a
 * keyed hash: SipHash, but for keys of 4 bytes a multiplication. Those are numbers that peers
 * give, who hold the mesh's key and could do worse. There is no way to walk a table: nothing may be
 * decided by its order (invariant D1). */
#ifndef MESH_TABLE_H
#define MESH_TABLE_H

#include <stdbool.h>
#include <stdint.h>

struct table {
    uint32_t key_bytes;
    uint32_t count, capacity; /* entries; the capacity is 0 or a power of two */
    uint8_t sip_key[16];
    uint8_t *cells; /* table.c's own */
};

/* An empty table; takes no memory until something is put. */
void table_init(struct table *table, uint32_t key_bytes, const uint8_t sip_key[16]);
void table_deinit(struct table *table);
/* Copies the key. 0; -EEXIST: the key is there and keeps its value; -ENOMEM: nothing changed. */
int table_put(struct table *table, const void *key, uint32_t value);
/* False: not there, *value (may be NULL) is unchanged. */
bool table_get(const struct table *table, const void *key, uint32_t *value);
bool table_remove(struct table *table, const void *key); /* false: was not there */
uint32_t table_count(const struct table *table);

#endif
