/* tombs.h - sessions that ended, as far as this peer was told: the owner tells the first
 * candidates, so that the end is known for as long as the session might have lived, whoever dies
 * meanwhile (DESIGN §4, §5; invariant N1: a deleted session never answers again). Where a record is
 * looked for is owner.h's business. */
#ifndef MESH_TOMBS_H
#define MESH_TOMBS_H

#include "mesh/base/newest.h"
#include "mesh/base/types.h"

#define TOMBS_MAX 65536 /* the oldest gives way */
#define TOMBS_HOLDERS 2 /* candidates that are told */

struct core;
struct session;
struct wire_message;

struct tombs {
    struct newest until_ms; /* of session ids */
};

void tombs_init(struct core *core);
void tombs_deinit(struct core *core);
/* Our session ended: the candidates are told, and who has a copy. */
void tombs_tell(struct core *core, const struct session *session, uint64_t now_ms);
/* Somebody told us of the end of one of its own. */
void tombs_on_ended(struct core *core, const struct wire_message *m, uint64_t now_ms);
void tombs_add(struct core *core, const struct session_id *id, uint64_t now_ms);
bool tombs_has(const struct core *core, const struct session_id *id, uint64_t now_ms);

#endif
