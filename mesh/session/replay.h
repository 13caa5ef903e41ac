/* replay.h - a fresh upstream for a session that had one: the handshake again in our own name
 * (handshake.h), under the header lines of the request that causes it; then the client is told what
 * it may have missed (mcp.md §4.2). Until then the session has no upstream that is open: after a
 * takeover, a hand-over, or the loss of its upstream. Requests wait, as long as parked ones do. */
#ifndef MESH_REPLAY_H
#define MESH_REPLAY_H

#include "mesh/session/handshake.h"

#define REPLAY_STEP_MS 60000      /* a step without an answer for so long: it is given up */
#define REPLAY_AGAIN_FIRST_MS 100 /* before the next try, doubling */
#define REPLAY_AGAIN_MAX_MS 30000
#define REPLAY_LIVED_MS 10000 /* an upstream lost sooner is followed by the next one later */

struct core;
struct session;
struct call;
struct upstream;
struct event_stream;

/* A request of the client was answered well: notes what has to be said again to a fresh upstream
 * (the handshake, log level, subscriptions). `rpc`: the answer. */
void replay_note(struct core *core, struct session *session, const struct call *call,
                 const struct rpc_message *rpc, struct slice answer, uint64_t now_ms);
/* The answer to initialize, in place of the one before. */
void replay_note_result(struct core *core, struct session *session, const struct call *initialize,
                        struct slice answer, uint64_t now_ms);

/* It has no upstream that is open. */
bool replay_is_due(struct core *core, const struct session *session);
/* Then this opens one for the call, and begins the replay, unless that was done; the call is to
 * wait in call->up, which stays zero for one that needs none. -ENOBUFS */
int replay_begin(struct core *core, struct session *session, struct call *call, uint64_t now_ms);
/* It waits, but not for ever. */
void replay_wait(struct core *core, struct call *call, uint64_t now_ms);
/* The next try is due. */
void replay_try(struct core *core, struct upstream *up, uint64_t now_ms);
/* Its initialize was refused for its credentials: that is what its causer hears. */
void replay_denied(struct core *core, struct upstream *up, struct call *step, int status,
                   struct slice head, uint64_t now_ms);
/* Before anything of a fresh upstream comes on the session's own stream: its client is told that it
 * is one. */
void replay_tell_first(struct core *core, struct session *session, uint64_t now_ms);
/* The handshake is over, or came to nothing. */
void replay_over(struct core *core, struct upstream *up, enum handshake_end end, uint64_t now_ms);

/* Its upstream is lost, the session is not: calls that may run again wait for the next upstream,
 * others get their outcome (mcp.md §5), the next epoch begins. False: there is nothing to carry on
 * from (no handshake was kept, or --on-owner-loss end): the caller ends the session. */
bool replay_upstream_lost(struct core *core, struct session *session, enum mesh_reason why,
                          uint64_t now_ms);
/* It is ours now, and its upstream was another peer's: its questions are nobody's any more, and
 * requests' streams wait for those who ask again. In its new epoch. */
void replay_taken_over(struct core *core, struct session *session, uint64_t now_ms);

/* Its upstream lost it, not its session. True: it may run again, and is as if it had never been
 * given to one, but for what its client has. */
bool replay_take_again(struct core *core, struct call *call, uint64_t now_ms);
/* It goes on with this stream: what progress its client has is noted. */
void replay_note_progress(struct core *core, struct call *call, const struct event_stream *stream);
/* It runs again, and this message is progress that its client has: that must only grow. */
bool replay_is_old_progress(struct core *core, const struct call *call,
                            const struct rpc_message *rpc, struct slice text);

#endif
