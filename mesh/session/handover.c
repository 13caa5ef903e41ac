/* handover.c - giving sessions away. */
#include "mesh/session/handover.h"

#include "mesh/session/core.h"

int handover_init(struct core *core)
{
    (void)core;
    return 0;
}

void handover_deinit(struct core *core)
{
    (void)core;
}

void handover_on_message(struct core *core, struct peer_id from, const struct wire_message *m,
                         uint64_t now_ms)
{
    (void)core, (void)from, (void)m, (void)now_ms;
}

void handover_now(struct core *core, uint64_t now_ms)
{
    (void)core, (void)now_ms;
}

uint64_t handover_deadline_ms(const struct core *core)
{
    (void)core;
    return MESH_NEVER;
}
