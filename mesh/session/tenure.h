/* tenure.h - what becomes of a session when its owner changes: at who becomes the owner, and at who
 * is it no more. Whether that may be is decided before (takeover.h, fence.h, handover.h). */
#ifndef MESH_TENURE_H
#define MESH_TENURE_H

#include "mesh/base/types.h"

struct core;
struct session;

/* We own this copy from now on, in this epoch. Its numbers go on (is_handover), or begin anew. It
 * has no upstream yet. What waits for it is given back. */
void takeover_own(struct core *core, struct session *copy, struct mesh_epoch epoch,
                  bool is_handover, uint64_t now_ms);
/* It is another's, in `higher`: nothing more is sent in our epoch. Calls that may run there are
 * told MOVED, others that their outcome is unknown; the upstream is closed; the session becomes a
 * copy, or is forgotten if nobody would look for one here. */
void takeover_yield(struct core *core, struct session *session, struct mesh_epoch higher,
                    uint64_t now_ms);
/* We leave for good: it is nobody's, and whoever has a copy takes it over. False: nobody has, or it
 * can only end. */
bool takeover_leave(struct core *core, struct session *session, uint64_t now_ms);
/* At home: the upstream was lost. The next epoch is ours, too. */
void takeover_next_epoch(struct core *core, struct session *session, uint64_t now_ms);
/* Likewise; nothing was lost, and its numbers go on: who had taken it gave it back. */
void takeover_keep(struct core *core, struct session *session, uint64_t now_ms);

#endif
