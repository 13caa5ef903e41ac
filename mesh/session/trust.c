/* trust.c - tokens that upstreams accepted. */
#include "mesh/session/trust.h"

#include <stdlib.h>

#include "mesh/session/core.h"
#include "mesh/session/upcall.h"

static const char question[] = "{\"jsonrpc\":\"2.0\",\"id\":\"mesh-01234567\",\"method\":\"ping\"}";
#define QUESTION_ID_AT 22 /* quotes included */
#define QUESTION_ID_BYTES 15

void trust_note(struct session *session, const struct call *call, uint64_t now_ms)
{
    struct trusted *oldest = NULL;
    for (uint32_t n = 0; n < session->trusted_count; n++) {
        struct trusted *at = &session->trusted[n];
        if (principal_equal(&at->token, &call->token)) {
            at->accepted_ms = now_ms;
            return;
        }
        if (oldest == NULL || at->accepted_ms < oldest->accepted_ms)
            oldest = at;
    }
    if (session->trusted_count < TRUST_TOKENS) {
        struct trusted *grown =
            reallocarray(session->trusted, session->trusted_count + 1, sizeof *grown);
        if (grown == NULL)
            return; /* the upstream is asked again */
        session->trusted = grown;
        oldest = &grown[session->trusted_count++];
    }
    *oldest = (struct trusted){call->token, now_ms};
}

static bool trust_holds(const struct session *session, const struct principal *token,
                        uint64_t now_ms)
{
    for (uint32_t n = 0; n < session->trusted_count; n++) {
        const struct trusted *at = &session->trusted[n];
        if (principal_equal(&at->token, token))
            /* who needs no token at all needs none later, either */
            return principal_is_none(token) || at->accepted_ms + TRUST_MS > now_ms;
    }
    return false;
}

/* A child, or the server in this process, judges no token. */
bool trust_is_good(const struct core *core, const struct session *session, const struct call *call,
                   uint64_t now_ms)
{
    enum mesh_upstream_kind kind = core->config.upstream;
    return (kind != MESH_UP_HTTP && kind != MESH_UP_SSE) ||
           trust_holds(session, &call->token, now_ms);
}

/* A DELETE that goes to the upstream is judged there. */
bool trust_must_ask(struct core *core, const struct call *call, uint64_t now_ms)
{
    const struct session *session = session_at(core, call->session);
    bool is_from_memory = call->want == MESH_LISTEN ||
                          (call->want == MESH_DELETE && core->config.upstream == MESH_UP_SSE);
    return session != NULL && is_from_memory && !trust_is_good(core, session, call, now_ms);
}

/* The id is ours alone: chance tells it from the client's (mcp.md §4.2 rule 2). */
static void trust_write_question(struct core *core, char text[sizeof question])
{
    static const char digits[] = "0123456789abcdef";
    uint64_t chance = rng_u64(&core->rng);
    memcpy(text, question, sizeof question);
    for (size_t n = 0; n < 8; n++)
        text[QUESTION_ID_AT + QUESTION_ID_BYTES - 2 - n] = digits[chance >> (4 * n) & 0x0f];
}

int trust_ask(struct core *core, struct call *call)
{
    char text[sizeof question];
    struct upstream *up = upstream_at(core, call->up);
    struct mesh_effect e = {.kind = MESH_UP_SEND, .handle = call->up};
    trust_write_question(core, text);
    call->up_call = e.call = ++up->next_call;
    call->is_asking = true;
    call->is_sent = false;
    call->attempts++;
    /* known by its id where answers come among other messages; asked again if it is lost */
    call->rpc.kind = RPC_REQUEST;
    call->rpc.method = RPC_PING;
    call->id_hash =
        rpc_id_hash(core->sip_key, slice_borrow(text + QUESTION_ID_AT, QUESTION_ID_BYTES));
    e.send.want = MESH_CALL;
    e.send.head = call->head;
    e.send.text = slice_text(text);
    e.send.is_request = e.send.is_own = true;
    return effects_push(&core->effects, &e);
}

/* Statuses that come after the credentials were looked at. */
static bool trust_is_accepted(int status)
{
    return status / 100 == 2 || status == 400 || status == 405 || status == 406;
}

static void trust_reset(struct call *call)
{
    call->is_asking = false;
    call->rpc.kind = RPC_BAD;
    call->rpc.method = RPC_OTHER;
    call->id_hash = 0;
}

void trust_forget(struct call *call)
{
    trust_reset(call);
    call->must_ask = true;
}

bool trust_answered(struct core *core, struct call *call, int status, uint64_t now_ms)
{
    struct session *session = session_at(core, call->session);
    if (!trust_is_accepted(status)) {
        call->is_asking = false;
        return false;
    }
    upcall_cancel(core, call); /* what it answers is of no interest */
    trust_reset(call);
    if (session != NULL)
        trust_note(session, call, now_ms);
    return true;
}
