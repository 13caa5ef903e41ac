/* records.c - records by their content. See records.h.
 *
 * A chain per bucket of ids. Only equal content makes two records one, so hashes that collide share
 * nothing; what they could do is to make a chain long. Names are their owners' choice: who has the
 * cluster's key may choose many that fall into one bucket, and a chain is then as long as the
 * caps of a view let it have members (a word or two compared for each). It is walked only for news
 * that changes a view, which costs more than that already. A keyed hash would save nothing. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "mesh/member/records.h"

#define BITS_FIRST 3

struct entry {
    struct mesh_record record; /* first: a record that was taken is its entry */
    uint32_t refs;
    uint64_t sum;
    struct entry *next;
};

struct records {
    struct entry **buckets;
    unsigned bits; /* of the number of buckets */
    size_t count;
};

/* ---- hashes --------------------------------------------------------------------------------- */

uint64_t record_hash_words(const uint64_t *words, size_t count)
{
    uint8_t text[8 * 5];
    assert(count <= 5);
    for (size_t n = 0; n < count; n++)
        for (unsigned byte = 0; byte < 8; byte++)
            text[8 * n + byte] = (uint8_t)(words[n] >> (8 * byte));
    return XXH3_64bits(text, 8 * count);
}

/* The keys are left out: a peer of the version before ours passes a record on without them, and the
 * version that they are under is in the sum. */
uint64_t record_hash(const struct mesh_record *r)
{
    uint8_t text[sizeof r->addr.ip + 4 + sizeof r->zone];
    size_t length = sizeof r->addr.ip, zone_length = strnlen(r->zone, sizeof r->zone);
    memcpy(text, r->addr.ip, length);
    text[length++] = (uint8_t)r->addr.port;
    text[length++] = (uint8_t)(r->addr.port >> 8);
    text[length++] = r->weight;
    text[length++] = (uint8_t)(r->serving | r->draining << 1 | r->hold << 2);
    memcpy(text + length, r->zone, zone_length);
    return XXH3_64bits(text, length + zone_length);
}

static uint64_t sum_of(const struct mesh_record *r)
{
    return record_hash_words(
        (uint64_t[]){r->id.name, r->id.generation, r->nonce, r->version, record_hash(r)}, 5);
}

static bool same_text(const char *a, const char *b, size_t room)
{
    size_t length = strnlen(a, room);
    return length == strnlen(b, room) && memcmp(a, b, length) == 0;
}

bool record_says_the_same(const struct mesh_record *a, const struct mesh_record *b)
{
    return peer_id_equal(a->id, b->id) && a->version == b->version && a->nonce == b->nonce &&
           mesh_addr_equal(&a->addr, &b->addr) && a->weight == b->weight &&
           a->serving == b->serving && a->draining == b->draining && a->hold == b->hold &&
           a->keys_count == b->keys_count && a->has_proof == b->has_proof &&
           (!a->has_proof || memcmp(a->proof, b->proof, sizeof a->proof) == 0) &&
           memcmp(a->keys, b->keys, a->keys_count * sizeof a->keys[0]) == 0 &&
           same_text(a->name, b->name, sizeof a->name) &&
           same_text(a->zone, b->zone, sizeof a->zone);
}

/* ---- the store ------------------------------------------------------------------------------ */

int records_new(struct records **recordsp)
{
    struct records *records = calloc(1, sizeof *records);
    if (records == NULL)
        return -ENOMEM;
    records->bits = BITS_FIRST;
    records->buckets = calloc((size_t)1 << records->bits, sizeof(struct entry *));
    if (records->buckets == NULL) {
        free(records);
        return -ENOMEM;
    }
    *recordsp = records;
    return 0;
}

void records_free(struct records *records)
{
    if (records == NULL)
        return;
    assert(records->count == 0);
    free(records->buckets);
    free(records);
}

static struct entry **bucket_of(struct entry **buckets, unsigned bits, struct peer_id id)
{
    uint64_t mixed = (id.name ^ id.generation * 0x9e3779b97f4a7c15u) * 0xd6e8feb86659fd93u;
    return &buckets[mixed >> (64 - bits)];
}

/* Twice as many buckets. Without memory for that the chains become longer: nothing else. */
static void grow(struct records *records)
{
    unsigned bits = records->bits + 1;
    struct entry **buckets = calloc((size_t)1 << bits, sizeof(struct entry *));
    if (buckets == NULL)
        return;
    for (size_t n = 0; n < (size_t)1 << records->bits; n++)
        for (struct entry *entry = records->buckets[n], *next; entry != NULL; entry = next) {
            struct entry **bucket = bucket_of(buckets, bits, entry->record.id);
            next = entry->next;
            entry->next = *bucket;
            *bucket = entry;
        }
    free(records->buckets);
    records->buckets = buckets;
    records->bits = bits;
}

const struct mesh_record *records_take(struct records *records, const struct mesh_record *says)
{
    struct entry **bucket = bucket_of(records->buckets, records->bits, says->id);
    for (struct entry *entry = *bucket; entry != NULL; entry = entry->next)
        if (record_says_the_same(&entry->record, says)) {
            assert(entry->refs < UINT32_MAX);
            entry->refs++;
            return &entry->record;
        }
    struct entry *entry = calloc(1, sizeof *entry);
    if (entry == NULL)
        return NULL;
    entry->record = *says;
    /* what stands behind the texts says nothing, and is not kept */
    memset(entry->record.name, 0, sizeof says->name);
    memset(entry->record.zone, 0, sizeof says->zone);
    memcpy(entry->record.name, says->name, strnlen(says->name, MESH_NAME_MAX));
    memcpy(entry->record.zone, says->zone, strnlen(says->zone, MESH_ZONE_MAX));
    entry->sum = sum_of(&entry->record);
    entry->refs = 1;
    if (records->count >= (size_t)1 << records->bits) {
        grow(records);
        bucket = bucket_of(records->buckets, records->bits, says->id);
    }
    entry->next = *bucket;
    *bucket = entry;
    records->count++;
    return &entry->record;
}

void records_give(struct records *records, const struct mesh_record *record)
{
    if (record == NULL)
        return;
    struct entry **at = bucket_of(records->buckets, records->bits, record->id);
    while (&(*at)->record != record) /* it was taken, so it is there */
        at = &(*at)->next;
    struct entry *entry = *at;
    if (--entry->refs > 0)
        return;
    *at = entry->next;
    records->count--;
    free(entry);
}

uint64_t records_sum(const struct mesh_record *record)
{
    return ((const struct entry *)(const void *)record)->sum;
}

size_t records_count(const struct records *records)
{
    return records->count;
}

size_t records_bytes(const struct records *records)
{
    return sizeof *records + ((size_t)1 << records->bits) * sizeof(struct entry *) +
           records->count * sizeof(struct entry);
}
