/* trust.h - may this token have what the mesh holds of a session in its own memory: stored events,
 * an attach? The mesh verifies no token. One that the upstream accepted for this session lately is
 * good; of any other the upstream is asked first (DESIGN §17; MCP 2025-11-25, security, session
 * hijacking). What a principal is, and that it is the session's, was checked before. */
#ifndef MESH_TRUST_H
#define MESH_TRUST_H

#include "mesh/base/types.h"

#define TRUST_TOKENS 4            /* of a session; the one accepted longest ago gives way */
#define TRUST_MS (5u * 60 * 1000) /* for so long an acceptance counts */

struct core;
struct session;
struct call;

struct trusted {
    struct principal token;
    uint64_t accepted_ms;
};

/* The upstream answered this call's request, and not with a refusal. */
void trust_note(struct session *session, const struct call *call, uint64_t now_ms);
/* Did the upstream accept this call's token lately, or does it judge none? */
bool trust_is_good(const struct core *core, const struct session *session, const struct call *call,
                   uint64_t now_ms);
/* Has the upstream to be asked before this call gets anything? */
bool trust_must_ask(struct core *core, const struct call *call, uint64_t now_ms);
/* Sends the question: a ping under the call's own header lines. -ENOMEM */
int trust_ask(struct core *core, struct call *call);
/* The answer's status: true, and the call may go on; false: what the upstream answers is the
 * call's answer, too. */
bool trust_answered(struct core *core, struct call *call, int status, uint64_t now_ms);

/* The upstream that was asked is gone: another one will be. */
void trust_forget(struct call *call);

#endif
