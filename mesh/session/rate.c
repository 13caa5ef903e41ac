/* rate.c - see rate.h. */
#include "mesh/session/rate.h"

#include "mesh/session/core.h"

#define SECOND_US 1000000u

void rate_init(struct core *core)
{
    newest_init(&core->rate.buckets, sizeof(struct principal), sizeof(uint64_t), RATE_BUCKETS_MAX,
                core->sip_key);
}

void rate_deinit(struct core *core)
{
    newest_deinit(&core->rate.buckets);
}

/* Whose bucket it is; false: nobody's. An id's 16 random bytes are like no other's hash. */
static bool rate_bearer(const struct mesh_request *request, const struct session_id *session,
                        struct principal *bearer)
{
    *bearer = request->who;
    if (principal_is_none(bearer))
        *bearer = request->token;
    if (principal_is_none(bearer) && session != NULL)
        memcpy(bearer->hash, session->bytes + KEY_RANDOM_AT, sizeof bearer->hash);
    return !principal_is_none(bearer);
}

static bool rate_counts(const struct mesh_request *request)
{
    const struct rpc_message *rpc = &request->rpc;
    bool is_answer = rpc->kind == RPC_RESPONSE || rpc->kind == RPC_ERROR;
    bool is_end = request->want == MESH_DELETE || rpc->method == RPC_CANCELLED;
    return !is_end && !(request->want == MESH_CALL && is_answer);
}

/* Takes a token of a bucket that is full at `*full_us`, and holds `burst`. */
static bool rate_take(uint64_t *full_us, uint64_t rate, uint64_t burst, uint64_t now_ms)
{
    uint64_t each_us = SECOND_US / rate, now_us = now_ms * 1000;
    uint64_t from_us = *full_us > now_us ? *full_us : now_us;
    if (from_us - now_us + each_us > burst * each_us)
        return false;
    *full_us = from_us + each_us;
    return true;
}

bool rate_allows(struct core *core, const struct mesh_request *request,
                 const struct session_id *session, uint64_t now_ms)
{
    const struct mesh_config *config = &core->config;
    struct principal bearer;
    if (config->rate == 0 || !rate_counts(request) || !rate_bearer(request, session, &bearer))
        return true;
    uint64_t burst = config->rate_burst != 0 ? config->rate_burst : 2 * (uint64_t)config->rate;
    uint64_t *full_us = newest_put(&core->rate.buckets, bearer.hash);
    if (full_us == NULL)
        return true; /* no memory: others refuse, who know how much is left */
    if (rate_take(full_us, config->rate, burst, now_ms))
        return true;
    core->stats.rate_limited++;
    return false;
}

bool rate_allows_unknown(struct core *core, uint64_t now_ms)
{
    uint64_t rate = core->config.unknown_rate;
    if (rate == 0 || rate_take(&core->rate.unknown_us, rate, RATE_UNKNOWN_BURST * rate, now_ms))
        return true;
    core->stats.unknown_limited++;
    return false;
}
