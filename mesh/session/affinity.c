/* affinity.c - what ties a request of the session-less era to a process. */
#include "mesh/session/affinity.h"

#include "mesh/session/core.h"

#define STATE_MARK '.'                      /* between tag and original */
#define STATE_PREFIX (KEY_PEER_TEXT + 1)    /* bytes of both */
#define STATE_QUOTED_MIN (STATE_PREFIX + 2) /* of a raw state that can have them */

/* The home that the tag of a request's state names. False: it has no state, or no tag of ours. */
static bool affinity_read_state(const struct core *core, const struct rpc_message *rpc,
                                struct slice body, uint64_t *home)
{
    struct slice raw = slice_part(body, rpc->request_state);
    if (rpc->kind != RPC_REQUEST || raw.length < STATE_QUOTED_MIN ||
        raw.at[STATE_PREFIX] != STATE_MARK)
        return false;
    return key_peer_read(&core->keys, slice_borrow(raw.at + 1, KEY_PEER_TEXT), home);
}

static bool affinity_read_task(const struct core *core, const struct rpc_message *rpc,
                               struct slice body, uint64_t *task)
{
    bool asks = rpc->kind == RPC_REQUEST &&
                (rpc->method == RPC_TASKS_GET || rpc->method == RPC_TASKS_UPDATE ||
                 rpc->method == RPC_TASKS_CANCEL);
    if (!asks || rpc->task_id.length == 0)
        return false;
    *task = rpc_id_hash(core->keys.task_key, slice_part(body, rpc->task_id));
    return true;
}

struct affinity affinity_of(const struct core *core, const struct mesh_request *request)
{
    struct affinity a = {.has_state = false};
    if (request->want != MESH_CALL || request->era != MESH_MODERN)
        return a;
    a.has_state = affinity_read_state(core, &request->rpc, request->body, &a.home);
    a.has_task = affinity_read_task(core, &request->rpc, request->body, &a.task);
    a.has_handle = request->key.kind == MESH_KEY_HANDLE && request->key.text.length > 0;
    if (a.has_handle)
        a.point = ring_point(request->key.text.at, request->key.text.length);
    return a;
}

/* Equal handles meet at one peer of the ring; a ring without anybody eligible is of the living,
 * and none of those is worth more than another. */
static bool affinity_route_handle(struct core *core, uint64_t point, struct peer_id *peer)
{
    (void)ring_sync(&core->ring, core->view, core->config.rings);
    if (ring_walk(&core->ring, point, peer, 1) == 0)
        return false;
    const struct mesh_member *member = view_find(core->view, *peer);
    return member != NULL && member_is_eligible(member);
}

enum affinity_verdict affinity_route(struct core *core, const struct affinity *affinity,
                                     struct peer_id *peer, uint64_t now_ms)
{
    const struct mesh_member *home =
        affinity->has_state ? view_find_tag(core->view, affinity->home) : NULL;
    if (home != NULL && member_is_living(home)) {
        *peer = home->record->id;
        return AFFINITY_AT;
    }
    if (affinity->has_task) {
        switch (tasks_find(core, affinity->task, peer, now_ms)) {
        case TASKS_AT:
            return AFFINITY_AT;
        case TASKS_ASKING:
            return AFFINITY_WAIT;
        case TASKS_NOBODY:
            break;
        }
    }
    if (affinity->has_handle && affinity_route_handle(core, affinity->point, peer))
        return AFFINITY_AT;
    return AFFINITY_NONE;
}

bool affinity_is_here(const struct core *core, const struct mesh_request *request,
                      struct slice body)
{
    uint64_t home = 0, task = 0;
    if (request->want != MESH_CALL || request->era != MESH_MODERN)
        return false;
    if (affinity_read_state(core, &request->rpc, body, &home))
        return home == view_home_tag(core_self(core));
    return affinity_read_task(core, &request->rpc, body, &task) && tasks_is_here(core, task);
}

/* ---- the texts ------------------------------------------------------------------------------ */

/* Whoever gave it: if that peer is gone, its state still is what its clients were given it as, and
 * our upstream says what it makes of that. */
struct patch affinity_unwrap(const struct core *core, const struct call *call)
{
    struct patch patch = {.at = 0};
    uint64_t home = 0;
    if (call->want != MESH_CALL || call->era != MESH_MODERN ||
        !affinity_read_state(core, &call->rpc, call->body, &home))
        return patch;
    patch.at = call->rpc.request_state.at + 1u;
    patch.cut = STATE_PREFIX;
    return patch;
}

/* An insertion behind the opening quote: the original is not written anew. */
static void affinity_wrap(struct core *core, struct call *call, const struct rpc_message *rpc)
{
    uint64_t home = view_home_tag(core_self(core));
    struct bytes *put = bytes_new(&core->budget, STATE_PREFIX);
    if (put == NULL)
        return; /* unwrapped it still serves a client that comes back to us */
    key_peer_write((char *)put->data, &core->keys, home);
    put->data[KEY_PEER_TEXT] = STATE_MARK;
    put->length = STATE_PREFIX;
    slice_drop(&call->answer_patch.put);
    call->answer_patch =
        (struct patch){.at = rpc->request_state.at + 1u, .put = slice_of(put, 0, STATE_PREFIX)};
}

void affinity_on_answer(struct core *core, struct call *call, const struct rpc_message *rpc,
                        struct slice text, uint64_t now_ms)
{
    if (call->want != MESH_CALL || call->era != MESH_MODERN || rpc->kind != RPC_RESPONSE ||
        peer_id_is_nobody(core_self(core)))
        return;
    if (rpc->request_state.length > 0)
        affinity_wrap(core, call, rpc);
    if (rpc->task_id.length == 0)
        return;
    uint64_t task = rpc_id_hash(core->keys.task_key, slice_part(text, rpc->task_id));
    if (tasks_learn(core, task, call->self, now_ms))
        answer_withhold(&call->answer);
}
