/* agree.h - how links of this world agree on a secret. X25519 took a fifth of a campaign's time,
 * and in a world without keys there is nobody to keep the secret from. */
#ifndef SIM_AGREE_H
#define SIM_AGREE_H

#include <stdbool.h>

/* By X25519, or by something that is as good between ends of good will. For the whole process,
 * which runs one world at a time. */
void agree_by_curve(bool is_keyed);

#endif
