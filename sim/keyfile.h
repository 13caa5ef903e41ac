/* keyfile.h - the key file beside each peer of a world that has keys. It outlives the processes,
 * and may be written while one runs, or stands still. */
#ifndef SIM_KEYFILE_H
#define SIM_KEYFILE_H

#include "mesh/mesh.h"

struct seat;
struct world;

#define KEYFILE_KEYS 6u /* that there are in all: numbers 1 .. 6 */

struct key_file {
    uint8_t count; /* 0: key 1 alone */
    uint8_t keys[MESH_KEYS_MAX];
    uint8_t verify_only; /* bit n: keys[n] */
};

/* No two share the low 4 bits of their ids. */
void keyfile_secret(uint8_t secret[32], uint8_t number);
uint32_t keyfile_id(uint8_t number);
/* As the process finds it when it starts; a seat that nobody wrote one for has that of p0. */
void keyfile_read(const struct world *world, const struct seat *seat, struct mesh_config *config);
/* As it reads it again. */
void keyfile_tell(struct world *world, const struct seat *seat);

/* FAULT_KEYS: while things go wrong the key is changed three times: each is added to all files,
 * then put first, then only verifies; in each step every file is written at a time of its own,
 * whether anybody runs there or not. Former keys go on verifying: ids stay genuine (N1). */
void keyfile_plan(struct world *world);
void keyfile_write(struct world *world, uint32_t index, uint32_t step);

#endif
