/* keyfile.h - the key file beside each peer of a world that has keys. It outlives the processes,
 * and may be written while one runs, or stands still. */
#ifndef SIM_KEYFILE_H
#define SIM_KEYFILE_H

#include "mesh/mesh.h"

#define KEYFILE_KEYS 6u /* that there are in all: numbers 1 .. 6 */

struct key_file {
    uint8_t count; /* 0: key 1 alone */
    uint8_t keys[MESH_KEYS_MAX];
    uint8_t verify_only; /* bit n: keys[n] */
};

/* No two share the low 4 bits of their ids. */
void keyfile_secret(uint8_t secret[32], uint8_t number);
uint32_t keyfile_id(uint8_t number);
/* As the process finds it when it starts. */
void keyfile_read(const struct key_file *file, struct mesh_config *config);
/* As it reads it again. */
void keyfile_tell(const struct key_file *file, struct mesh *mesh, uint64_t now_ms);

#endif
