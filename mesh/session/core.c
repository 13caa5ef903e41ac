/* core.c - small questions that every module asks. */
#include "mesh/session/core.h"

struct peer_id core_self(const struct core *core)
{
    return view_self(core->view)->record->id;
}

bool core_is_living(const struct core *core, struct peer_id peer)
{
    const struct mesh_member *member = view_find(core->view, peer);
    return member != NULL && member_is_living(member);
}

const struct mesh_addr *core_addr_of(const struct core *core, struct peer_id peer)
{
    const struct mesh_member *member = view_find(core->view, peer);
    return member != NULL && member_is_living(member) ? &member->record->addr : NULL;
}

void core_tell(struct core *core, enum mesh_change what, struct peer_id peer,
               enum member_state state, uint64_t value)
{
    struct mesh_effect e = {.kind = MESH_CHANGED};
    e.changed.what = what;
    e.changed.peer = peer;
    e.changed.state = state;
    e.changed.value = value;
    (void)effects_push(&core->effects, &e);
}
