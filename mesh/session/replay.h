/* replay.h - a fresh upstream for a session that had one: the handshake again in our own name
 * (initialize with the session's own parameters, notifications/initialized, log level,
 * subscriptions), under the header lines of the request that causes it; then the client is told
 * what it may have missed (mcp.md §4.2). The session owns no upstream before: session->up is zero,
 * after a takeover, a hand-over, or the loss of its upstream. Requests wait until it is over. */
#ifndef MESH_REPLAY_H
#define MESH_REPLAY_H

#include "mesh/base/types.h"

struct core;
struct session;
struct call;

/* Notes what a request of the client was answered well: what has to be said again to a fresh
 * upstream (log level, subscriptions). */
void replay_note(struct core *core, struct session *session, const struct call *call,
                 uint64_t now_ms);
/* The session has no upstream and this call needs one: opens it and begins the replay. -ENOBUFS. */
int replay_begin(struct core *core, struct session *session, struct call *call, uint64_t now_ms);
/* A step of it was answered, or failed. */
void replay_step_over(struct core *core, struct call *step, uint64_t now_ms);
/* Its upstream is lost, the session is not: calls that may run again wait for the next upstream,
 * others get their outcome (mcp.md §5), the next epoch begins. False: there is nothing to carry on
 * from (no handshake was kept, or --on-owner-loss end): the caller ends the session. */
bool replay_upstream_lost(struct core *core, struct session *session, enum mesh_reason why,
                          uint64_t now_ms);

#endif
