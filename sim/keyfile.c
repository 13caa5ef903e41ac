/* keyfile.c - see keyfile.h. */
#include "sim/keyfile.h"

#include <assert.h>

#include "mesh/wire/seal.h"
#include "sim/world.h"

#define FIRST_US (5 * WORLD_SECOND)
#define STEPS 9u /* three of each key */

void keyfile_secret(uint8_t secret[32], uint8_t number)
{
    static const uint8_t bytes[KEYFILE_KEYS] = {WORLD_KEY_BYTE, 0x5b, 0x5c, 0x5d, 0x5f, 0x60};
    assert(number >= 1 && number <= KEYFILE_KEYS);
    memset(secret, bytes[number - 1], 32);
}

uint32_t keyfile_id(uint8_t number)
{
    uint8_t secret[32];
    keyfile_secret(secret, number);
    return seal_key_id(secret);
}

void keyfile_read(const struct world *world, const struct seat *seat, struct mesh_config *config)
{
    const struct key_file *file =
        seat->key_file.count > 0 ? &seat->key_file : &world->seats[0].key_file;
    config->keys_count = file->count > 0 ? file->count : 1;
    config->verify_only = file->verify_only;
    for (uint8_t n = 0; n < config->keys_count; n++)
        keyfile_secret(config->keys[n], file->count > 0 ? file->keys[n] : 1);
}

void keyfile_tell(struct world *world, const struct seat *seat)
{
    struct mesh_config config;
    keyfile_read(world, seat, &config);
    int rc = mesh_set_keys(seat->mesh, (const uint8_t(*)[32])config.keys, config.keys_count,
                           config.verify_only, world_clock_ms(world, seat));
    assert(rc == 0); /* numbers differ, and a file without a key in use is refused as it is read */
    (void)rc;
}

void keyfile_plan(struct world *world)
{
    struct shuffle chance;
    uint64_t span_us = (world->calm_from_us - FIRST_US) / (STEPS + 1);
    chance_init(&chance, world->config.seed, 12);
    for (uint32_t step = 0; step < STEPS; step++)
        for (uint32_t seat = 0; seat < world->seats_max; seat++) {
            uint64_t at_us = FIRST_US + step * span_us + chance_below(&chance, (uint32_t)span_us);
            world_at(world, at_us, EVENT_KEY_FILE, WORLD_NOBODY, seat, step);
        }
}

static void add(struct key_file *file, uint32_t key, bool verifies)
{
    if (verifies)
        file->verify_only = (uint8_t)(file->verify_only | 1u << file->count);
    file->keys[file->count++] = (uint8_t)key;
}

void keyfile_write(struct world *world, uint32_t index, uint32_t step)
{
    struct seat *seat = &world->seats[index];
    struct key_file file = {.count = 0};
    uint32_t former = 1 + step / 3, key = former + 1;
    if (index >= world->seats_count || seat->is_foreign)
        return;
    add(&file, step % 3 == 0 ? former : key, false);
    add(&file, step % 3 == 0 ? key : former, step % 3 == 2);
    for (uint32_t old = 1; old < former; old++)
        add(&file, old, true);
    seat->key_file = file;
    world->faults->hits[FAULT_KEYS]++;
    if (seat->mesh != NULL)
        world_at(world, world->now_us, EVENT_KEYS, index, 0, 0);
}
