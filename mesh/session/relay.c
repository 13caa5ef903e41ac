/* relay.c - messages from one lane to another. */
#include "mesh/session/relay.h"

#include "mesh/session/core.h"

struct relay {
    struct handle self;
    struct lane in, out; /* from the entry, to the owner */
    uint64_t taken;      /* bytes that the entry took, as the owner was told */
};

void relay_init(struct core *core)
{
    pool_init(&core->relays.pool, sizeof(struct relay), RELAYS_MAX);
    table_init_numbers(&core->relays.by_lane, sizeof(struct handle), core->sip_key);
}

void relay_deinit(struct core *core)
{
    pool_deinit(&core->relays.pool);
    table_deinit(&core->relays.by_lane);
}

static struct relay *relay_of(struct core *core, struct lane lane)
{
    struct handle h;
    uint32_t slot = 0;
    if (pool_count(&core->relays.pool) == 0 || !table_get(&core->relays.by_lane, &lane.at, &slot))
        return NULL;
    return pool_slot(&core->relays.pool, slot, &h);
}

static void relay_free(struct core *core, struct relay *relay)
{
    table_remove(&core->relays.by_lane, &relay->in.at);
    table_remove(&core->relays.by_lane, &relay->out.at);
    links_close(core->links, relay->in, LINKS_OWNER);
    links_close(core->links, relay->out, LINKS_ENTRY);
    pool_give(&core->relays.pool, relay->self);
}

bool relay_begin(struct core *core, struct lane lane, const struct wire_message *open,
                 struct peer_id owner, uint64_t now_ms)
{
    const struct mesh_addr *addr = core_addr_of(core, owner);
    struct wire_message onward = *open;
    struct handle h;
    /* a lane within this process has both its ends here: nobody is carried from or to ourselves */
    bool is_between =
        !peer_id_equal(open->name.entry, core_self(core)) && !peer_id_equal(owner, core_self(core));
    struct relay *relay = is_between && addr != NULL && open->open.hops + 1 < SERVE_HOPS_MAX
                              ? pool_take(&core->relays.pool, &h)
                              : NULL;
    if (relay == NULL)
        return false;
    onward.open.hops++;
    onward.open.is_owner_lost = false;
    relay->self = h;
    relay->in = lane;
    if (links_open(core->links, owner, addr, (struct handle){0}, &relay->out, now_ms) < 0) {
        pool_give(&core->relays.pool, h);
        return false;
    }
    if (table_put(&core->relays.by_lane, &relay->in.at, h.slot) < 0 ||
        table_put(&core->relays.by_lane, &relay->out.at, h.slot) < 0 ||
        links_send(core->links, relay->out, LINKS_ENTRY, &onward) < 0) {
        table_remove(&core->relays.by_lane, &relay->in.at);
        table_remove(&core->relays.by_lane, &relay->out.at);
        links_close(core->links, relay->out, LINKS_ENTRY);
        pool_give(&core->relays.pool, h);
        return false;
    }
    serve_note_relayed(core, open);
    core->stats.relayed++;
    return true;
}

static void relay_on_message(struct core *core, struct relay *relay,
                             const struct links_event *event)
{
    bool is_onward =
        event->side == LINKS_OWNER; /* it came from the entry: we are its owner's side */
    int rc;
    if (is_onward) {
        links_consumed(core->links, relay->in, LINKS_OWNER, event->bytes);
        rc = links_send(core->links, relay->out, LINKS_ENTRY, &event->message);
    } else {
        rc = links_send(core->links, relay->in, LINKS_OWNER, &event->message);
    }
    if (rc < 0)
        relay_free(core, relay);
}

bool relay_on_event(struct core *core, const struct links_event *event)
{
    struct relay *relay = relay_of(core, event->lane);
    if (relay == NULL)
        return false;
    /* a lane of length zero has both its ends here: the other one is the entry's own */
    if (event->side != (lane_equal(event->lane, relay->in) ? LINKS_OWNER : LINKS_ENTRY))
        return false;
    switch (event->kind) {
    case LINKS_MESSAGE:
        relay_on_message(core, relay, event);
        break;
    case LINKS_CONSUMED:
        if (event->side == LINKS_OWNER && event->total > relay->taken) {
            links_consumed(core->links, relay->out, LINKS_ENTRY,
                           (size_t)(event->total - relay->taken));
            relay->taken = event->total;
        }
        break;
    case LINKS_LANE_LOST:
        relay_free(core, relay);
        break;
    case LINKS_READY:
    case LINKS_LOST:
    case LINKS_UNDIALLED:
    case LINKS_REACHED:
    case LINKS_DOUBTED:
    case LINKS_CONTROL:
        return false;
    }
    return true;
}
