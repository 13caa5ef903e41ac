/* copies.c - records at other peers. */
#include "mesh/session/copies.h"

#include "mesh/session/core.h"

int copies_init(struct core *core)
{
    (void)core;
    return 0;
}

void copies_deinit(struct core *core)
{
    (void)core;
}

bool copies_is_whole_at(const struct session *session, struct peer_id peer)
{
    (void)session, (void)peer;
    return false;
}

void copies_on_message(struct core *core, struct peer_id from, const struct wire_message *m,
                       uint64_t now_ms)
{
    (void)core, (void)from, (void)m, (void)now_ms;
}

void copies_begin(struct core *core, struct session *session, uint64_t now_ms)
{
    (void)core, (void)session, (void)now_ms;
}

int copies_send(struct core *core, struct session *session, struct peer_id peer, uint64_t now_ms)
{
    (void)core, (void)session, (void)peer, (void)now_ms;
    return 0;
}

void copies_now(struct core *core, uint64_t now_ms)
{
    (void)core, (void)now_ms;
}

uint64_t copies_deadline_ms(const struct core *core)
{
    (void)core;
    return MESH_NEVER;
}
