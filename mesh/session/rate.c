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

bool rate_allows(struct core *core, const struct mesh_request *request,
                 const struct session_id *session, uint64_t now_ms)
{
    const struct mesh_config *config = &core->config;
    struct principal bearer;
    if (config->rate == 0 || !rate_counts(request) || !rate_bearer(request, session, &bearer))
        return true;
    uint64_t each_us = SECOND_US / config->rate, now_us = now_ms * 1000;
    uint64_t burst = config->rate_burst != 0 ? config->rate_burst : 2 * (uint64_t)config->rate;
    uint64_t *full_us = newest_put(&core->rate.buckets, bearer.hash);
    if (full_us == NULL)
        return true; /* no memory: others refuse, who know how much is left */
    uint64_t from_us = *full_us > now_us ? *full_us : now_us;
    if (from_us - now_us + each_us > burst * each_us) {
        core->stats.rate_limited++;
        return false;
    }
    *full_us = from_us + each_us;
    return true;
}
