/* evidence.c - whether an owner is gone. */
#include "mesh/session/evidence.h"

#include "mesh/session/core.h"

int evidence_init(struct core *core)
{
    (void)core;
    return 0;
}

void evidence_deinit(struct core *core)
{
    (void)core;
}

enum evidence_verdict evidence_of(const struct core *core, struct peer_id peer, uint64_t now_ms)
{
    (void)core, (void)peer, (void)now_ms;
    return EVIDENCE_UNKNOWN;
}

bool evidence_is_unreachable(const struct core *core, struct peer_id peer, uint64_t now_ms)
{
    (void)core, (void)peer, (void)now_ms;
    return false;
}

void evidence_now(struct core *core, uint64_t now_ms)
{
    (void)core, (void)now_ms;
}

uint64_t evidence_deadline_ms(const struct core *core)
{
    (void)core;
    return MESH_NEVER;
}
