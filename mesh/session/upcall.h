/* upcall.h - calls to the upstream, between serve.c (which admits requests) and the facts of
 * mesh.h about upstreams: upcall.c gives them to it, upanswer.c takes what comes back, uplisten.c
 * keeps its own stream open and goes on with streams that it ended early. */
#ifndef MESH_UPCALL_H
#define MESH_UPCALL_H

#include "mesh/session/serve.h"

bool upcall_is_http(const struct core *core);
/* Its answer comes as one of its own, head and all; else as a message among others. */
bool upcall_has_answer(const struct core *core, const struct call *call);

/* ---- upcall.c -------------------------------------------------------------------------------- */

/* Binds a new call to its session's upstream; makes both for a request that mints, and an
 * upstream for this call alone where there is no session. -ENOBUFS: a cap. */
int upcall_prepare(struct core *core, struct call *call, struct session *session, bool mints,
                   const struct mesh_request *request, uint64_t now_ms);
/* Gives it to the upstream, or lets it wait for a child that is not up yet. */
void upcall_start(struct core *core, struct call *call, uint64_t now_ms);
/* A fresh upstream accepted credentials: a DELETE under these that waits for the rest of the
 * handshake ends the session at once. True: it did. */
bool upcall_end_early(struct core *core, struct upstream *up, uint64_t now_ms);
/* The upstream was asked whether it accepts its token, and does. */
void upcall_go_on(struct core *core, struct call *call, uint64_t now_ms);
/* What waits for it is given to it. */
void upcall_make_ready(struct core *core, struct upstream *up, uint64_t now_ms);
/* HTTP+SSE: the POST gets its 202, the request goes on; its answer comes on the session's stream.
 */
void upcall_accept_single(struct core *core, struct call *call, uint64_t now_ms);
/* A question that came with this call was answered: to ask the user twice is an effect, too. */
void upcall_user_answered(struct core *core, struct handle asker, uint64_t now_ms);
/* Gives it to the upstream as UP_SEND, or UP_LISTEN for the rest of its stream, under a new number
 * of its own. -ENOMEM */
int upcall_send(struct core *core, struct call *call, enum mesh_effect_kind kind);
int upcall_effect(struct core *core, enum mesh_effect_kind kind, struct handle up, uint32_t up_call,
                  size_t room);
/* Nobody waits for what this call still brings. */
void upcall_cancel(struct core *core, struct call *call);
/* Ends an upstream; its last word is awaited. A closed or unknown handle is fine. */
void upcall_close(struct core *core, struct handle up);
/* It was closed, and was never opened: nobody waits in it any more. Any other handle is fine. */
void upcall_forget_room(struct core *core, struct handle up);
/* The handle is closed. */
void upcall_forget(struct core *core, struct upstream *up);
/* A session whose initialize failed, or that its upstream keeps none of, is no session. */
void upcall_unbind(struct core *core, struct call *call);
/* The client is told the id of its session. */
void upcall_announce(struct core *core, struct session *session);

/* Room for what upstreams bring: `bytes` came on this call; the reader took some; nobody will take
 * what it has not. */
void upcall_owe(struct core *core, struct upstream *up, uint32_t up_call, size_t bytes,
                uint64_t now_ms);
/* What came on it was given to nobody. (A child's messages are counted together: upanswer.c.) */
void upcall_waste(struct core *core, struct upstream *up, uint32_t up_call, size_t bytes);
void upcall_taken(struct core *core, struct call *reader, size_t bytes);
void upcall_untaken(struct core *core, struct call *reader);

/* ---- uplisten.c ------------------------------------------------------------------------------ */

/* Attaches a client's GET to the stream that it asks for. */
void uplisten_hold(struct core *core, struct call *call, uint64_t now_ms);
/* A request that another owner may have begun to answer by events: goes on with those, from where
 * its client is. False: all of it is there, it does not run again. */
bool uplisten_go_on(struct core *core, struct call *call, uint64_t now_ms);
/* HTTP: the session is initialized: its upstream's own stream is asked for, under the head of this
 * request. Not only when the client's GET comes: what is said before that would be lost. */
void uplisten_begin(struct core *core, struct upstream *up, const struct call *call);
/* HTTP: asks for it, unless that was done. */
void uplisten_open(struct core *core, struct upstream *up);
void uplisten_head(struct core *core, struct upstream *up, int status);
/* An event of it came. */
void uplisten_heard(struct upstream *up);
void uplisten_end(struct core *core, struct upstream *up, uint64_t now_ms);
/* The upstream's stream ended before the answer: is the rest asked for later? */
bool uplisten_awaits_rest(struct core *core, struct call *call, enum mesh_reason why,
                          uint64_t now_ms);
void uplisten_now(struct core *core, uint64_t now_ms);

/* ---- upanswer.c ------------------------------------------------------------------------------ */

struct call *upanswer_find(struct upstream *up, uint32_t up_call);

#endif
