/* records.h - what members say of themselves, each kept once: equal records are one object, counted
 * by how many refer to it, and never changed. A view has a store of its own, or shares one that it
 * is given: the simulator has one for all its peers, which mostly know the same. How many there
 * may be is bounded by the views that take them. */
#ifndef MESH_RECORDS_H
#define MESH_RECORDS_H

#include "mesh/base/types.h"

struct records;

int records_new(struct records **recordsp); /* 0 or -ENOMEM */
void records_free(struct records *records); /* NULL is fine; whoever took from it gave all back */

/* The one record that says the same; it stays until it is given back as often as it was taken.
 * Name and zone end with their first 0, or with their room. NULL: no memory. */
const struct mesh_record *records_take(struct records *records, const struct mesh_record *says);
void records_give(struct records *records, const struct mesh_record *record); /* NULL is fine */

/* Of a record that was taken: its share of a view's hash, over all that it says but the name,
 * which the id stands for, and the keys. */
uint64_t records_sum(const struct mesh_record *record);

size_t records_count(const struct records *records);
size_t records_bytes(const struct records *records); /* asked of malloc() */

/* All of it, the proof as well. */
bool record_says_the_same(const struct mesh_record *a, const struct mesh_record *b);
/* Of what any record says but name, id, nonce, version and keys: equal ones have equal hashes. */
uint64_t record_hash(const struct mesh_record *record);
/* Of up to 5 numbers: the same on every machine. */
uint64_t record_hash_words(const uint64_t *words, size_t count);

#endif
