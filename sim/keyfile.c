/* keyfile.c - see keyfile.h. */
#include "sim/keyfile.h"

#include <assert.h>

#include "mesh/wire/seal.h"
#include "sim/world.h"

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

void keyfile_read(const struct key_file *file, struct mesh_config *config)
{
    config->keys_count = file->count > 0 ? file->count : 1;
    config->verify_only = file->verify_only;
    for (uint8_t n = 0; n < config->keys_count; n++)
        keyfile_secret(config->keys[n], file->count > 0 ? file->keys[n] : 1);
}

void keyfile_tell(const struct key_file *file, struct mesh *mesh, uint64_t now_ms)
{
    struct mesh_config config;
    keyfile_read(file, &config);
    int rc = mesh_set_keys(mesh, (const uint8_t(*)[32])config.keys, config.keys_count,
                           config.verify_only, now_ms);
    assert(rc == 0); /* numbers differ, and a file without a key in use is refused as it is read */
    (void)rc;
}
