/* chance.c - draws from the seed in integers, memory that is there or the program is not, and the
 * map from a core's handles to what they stand for here. */
#include <stdlib.h>

#include "sim/world.h"

/* ---- chance and memory ---------------------------------------------------------------------- */

void chance_init(struct shuffle *chance, uint64_t seed, uint64_t purpose)
{
    struct rng rng;
    uint8_t key[32] = {0};
    for (size_t n = 0; n < 8; n++) {
        key[n] = (uint8_t)(seed >> 8 * n);
        key[8 + n] = (uint8_t)(purpose >> 8 * n);
    }
    rng_init(&rng, key);
    shuffle_init(chance, &rng);
}

static uint64_t mix_next(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15)); /* splitmix64, Vigna 2015 */
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

void chance_key(struct shuffle *chance, uint64_t seed, uint64_t key)
{
    uint64_t state = seed;
    state = mix_next(&state) ^ key;
    for (int n = 0; n < 4; n++)
        chance->s[n] = mix_next(&state);
}

uint32_t chance_below(struct shuffle *chance, uint32_t limit)
{
    return limit == 0 ? 0 : shuffle_below(chance, limit);
}

bool chance_hits(struct shuffle *chance, uint32_t per_million)
{
    return per_million > 0 && shuffle_below(chance, 1000000) < per_million;
}

uint64_t chance_log(struct shuffle *chance, uint64_t low, uint64_t high)
{
    uint32_t octaves = 0;
    while (low << (octaves + 1) <= high)
        octaves++;
    uint64_t floor = low << chance_below(chance, octaves + 1);
    uint64_t drawn = floor + shuffle_u64(chance) % (floor + 1);
    return drawn > high ? high : drawn;
}

uint64_t chance_spread(struct shuffle *chance, uint64_t mean)
{
    /* Halvings of a uniform draw: the leading zeros are geometric, so their sum with the mantissa
     * is close to -log2 of it; 45/64 is ln 2 to a percent or so. */
    uint64_t drawn = shuffle_u64(chance) | 1;
    uint64_t zeros = (uint64_t)__builtin_clzll(drawn);
    uint64_t below = 255 - ((drawn << zeros) >> 55 & 255);
    return mean * (zeros * 256 + below) / 256 * 45 / 64;
}

void *sim_zero(size_t size)
{
    void *made = calloc(1, size);
    if (made == NULL)
        abort();
    return made;
}

void *sim_grow(void *array, uint32_t count, uint32_t *capacity, size_t size)
{
    if (count < *capacity)
        return array;
    uint32_t more = *capacity == 0 ? 64 : *capacity * 2;
    array = realloc(array, more * size);
    if (array == NULL)
        abort();
    *capacity = more;
    return array;
}

/* ---- handles -------------------------------------------------------------------------------- */

bool slots_put(struct slot_map *map, struct handle handle, uint32_t index)
{
    if (handle.slot >= map->count) {
        uint32_t more = handle.slot + 32;
        map->slots = realloc(map->slots, more * sizeof *map->slots);
        if (map->slots == NULL)
            abort();
        memset(map->slots + map->count, 0, (more - map->count) * sizeof *map->slots);
        map->count = more;
    }
    struct slot_entry *entry = &map->slots[handle.slot];
    bool is_fresh = entry->generation == 0 && handle.generation > entry->newest;
    *entry = (struct slot_entry){
        .generation = handle.generation, .index = index, .newest = handle.generation};
    return is_fresh;
}

uint32_t slots_get(const struct slot_map *map, struct handle handle)
{
    if (handle.generation == 0 || handle.slot >= map->count ||
        map->slots[handle.slot].generation != handle.generation)
        return WORLD_NOBODY;
    return map->slots[handle.slot].index;
}

void slots_drop(struct slot_map *map, struct handle handle)
{
    if (slots_get(map, handle) != WORLD_NOBODY)
        map->slots[handle.slot].generation = 0;
}

void slots_free(struct slot_map *map)
{
    free(map->slots);
    *map = (struct slot_map){NULL, 0};
}
