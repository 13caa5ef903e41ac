/* handover.h - a session given to another peer while both live (DESIGN §7): SIGTERM, drain. Copies
 * are made whole at the taker (copies.h), requests wait, HAND is sent, and from then on it is the
 * taker's; HAND is repeated until HANDED, and taken back only with evidence that the taker is gone.
 */
#ifndef MESH_HANDOVER_H
#define MESH_HANDOVER_H

#include "mesh/base/types.h"

struct core;
struct session;
struct wire_message;

struct handover {
    int todo; /* of handover.c */
};

int handover_init(struct core *core);
void handover_deinit(struct core *core);
/* All of our sessions, idle ones first, until then. */
void handover_begin_all(struct core *core, uint64_t until_ms, uint64_t now_ms);
bool handover_is_over(const struct core *core); /* nothing is left to hand over */
void handover_on_message(struct core *core, struct peer_id from, const struct wire_message *m,
                         uint64_t now_ms);
void handover_now(struct core *core, uint64_t now_ms);
uint64_t handover_deadline_ms(const struct core *core);

#endif
