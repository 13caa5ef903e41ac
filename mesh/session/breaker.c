/* breaker.c - see breaker.h. */
#include "mesh/session/breaker.h"

enum breaker_news breaker_of_status(int status, bool awaits_message)
{
    if (status >= 500)
        return BREAKER_FAILED;
    return status >= 400 || !awaits_message ? BREAKER_WORKS : BREAKER_NO_NEWS;
}

enum breaker_news breaker_of_message(const struct rpc_message *rpc)
{
    if (rpc == NULL)
        return BREAKER_NO_NEWS;
    bool is_answer = rpc->kind == RPC_RESPONSE || rpc->kind == RPC_ERROR || rpc->kind == RPC_BATCH;
    return is_answer ? BREAKER_WORKS : BREAKER_NO_NEWS;
}

enum breaker_news breaker_of_end(enum mesh_reason why)
{
    bool has_failed = why == MESH_UPSTREAM_LOST || why == MESH_UPSTREAM_BAD;
    return has_failed ? BREAKER_FAILED : BREAKER_NO_NEWS;
}

bool breaker_note(struct breaker *breaker, enum breaker_news news, uint32_t seen)
{
    bool was_open = breaker->is_open;
    switch (news) {
    case BREAKER_NO_NEWS:
        break;
    case BREAKER_WORKS:
        breaker->failures = 0;
        breaker->is_open = false;
        break;
    case BREAKER_FAILED:
        if (seen != breaker->seen)
            break;
        breaker->seen++;
        if (breaker->failures < BREAKER_FAILURES_MAX)
            breaker->failures++;
        breaker->is_open = breaker->failures == BREAKER_FAILURES_MAX;
        break;
    }
    return breaker->is_open != was_open;
}
