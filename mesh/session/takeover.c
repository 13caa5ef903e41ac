/* takeover.c - rounds, yields and the fence. */
#include "mesh/session/takeover.h"

#include "mesh/session/core.h"

int takeover_init(struct core *core)
{
    (void)core;
    return 0;
}

void takeover_deinit(struct core *core)
{
    (void)core;
}

void takeover_own(struct core *core, struct session *copy, struct mesh_epoch epoch,
                  bool is_handover, uint64_t now_ms)
{
    (void)core, (void)copy, (void)epoch, (void)is_handover, (void)now_ms;
}

void takeover_yield(struct core *core, struct session *session, struct mesh_epoch higher,
                    uint64_t now_ms)
{
    (void)core, (void)session, (void)higher, (void)now_ms;
}

void takeover_on_message(struct core *core, struct peer_id from, const struct wire_message *m,
                         uint64_t now_ms)
{
    (void)core, (void)from, (void)m, (void)now_ms;
}

bool takeover_park(struct core *core, struct session *copy, struct lane lane,
                   const struct wire_message *open, uint64_t now_ms)
{
    (void)core, (void)copy, (void)lane, (void)open, (void)now_ms;
    return false;
}

void takeover_now(struct core *core, uint64_t now_ms)
{
    (void)core, (void)now_ms;
}

uint64_t takeover_deadline_ms(const struct core *core)
{
    (void)core;
    return MESH_NEVER;
}
