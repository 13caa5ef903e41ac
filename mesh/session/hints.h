/* hints.h - what one peer's upstream says of its tools, told to the others: a successor has to know
 * which requests may run again though no tools/list ever went through it (retry.h). All upstreams
 * of a mesh are replicas of one server. A peer is told all that is known when a link to it stands,
 * and all again when something is news. */
#ifndef MESH_HINTS_H
#define MESH_HINTS_H

#include "mesh/base/types.h"

struct core;
struct wire_message;

void hints_tell(struct core *core, struct peer_id peer, uint64_t now_ms);
void hints_tell_all(struct core *core, uint64_t now_ms);
void hints_on_message(struct core *core, const struct wire_message *m); /* TOOLS */

#endif
