/* mesh_links.c - the boundary between links and who they concern: each message, and each change of
 * a link, to the modules that want to know. Decides nothing itself. */
#include "mesh/mesh_inside.h"
#include "mesh/session/hints.h"

static void mesh_on_control(struct core *core, const struct links_event *event, uint64_t now_ms)
{
    if (tombs_answer(core, event->peer, &event->message, now_ms))
        return;
    switch (event->message.kind) {
    case WIRE_BUCKETS_ARE:
    case WIRE_VIEW:
        swim_on_link_message(core->swim, event->peer, &event->message, now_ms);
        break;
    case WIRE_FIND:
        owner_on_find(core, event->peer, &event->message, now_ms);
        break;
    case WIRE_FOUND:
        tombs_on_found(core, event->peer, &event->message);
        owner_on_found(core, event->peer, &event->message, now_ms);
        copies_on_message(core, event->peer, &event->message, now_ms);
        break;
    case WIRE_ENDED:
        tombs_on_ended(core, event->peer, &event->message, now_ms);
        break;
    case WIRE_TASK_IS:
    case WIRE_TASK_WHERE:
    case WIRE_TASK_AT:
        tasks_on_message(core, event->peer, &event->message, now_ms);
        break;
    case WIRE_TOOLS:
        hints_on_message(core, &event->message);
        break;
    case WIRE_COPY:
    case WIRE_COPY_EVENT:
    case WIRE_COPY_STREAM:
    case WIRE_COPIED:
    case WIRE_DIGEST:
        copies_on_message(core, event->peer, &event->message, now_ms);
        break;
    case WIRE_TAKE:
    case WIRE_GRANT:
    case WIRE_VETO:
    case WIRE_YIELD:
        takeover_on_message(core, event->peer, &event->message, now_ms);
        break;
    case WIRE_CHECK:
    case WIRE_CHECKED:
        fence_on_message(core, event->peer, &event->message, now_ms);
        break;
    case WIRE_HAND:
    case WIRE_HANDED:
        handover_on_message(core, event->peer, &event->message, now_ms);
        break;
    case WIRE_OPEN:
    case WIRE_CANCEL:
    case WIRE_DONE:
    case WIRE_MOVED:
    case WIRE_NOT_YET:
    case WIRE_REFUSED:
    case WIRE_HEAD:
    case WIRE_EVENT:
    case WIRE_DATA:
    case WIRE_END:
    case WIRE_WHOLE:
        break; /* words of a lane, said outside of one */
    }
}

static void mesh_on_link_ready(struct core *core, const struct links_event *event, uint64_t now_ms)
{
    core->stats.links_opened++;
    swim_on_reached(core->swim, event->peer, true, now_ms); /* it proved who it is */
    evidence_on_life(core, event->peer, now_ms);
    fence_on_ready(core, event->peer);
    entry_wake(core);
    copies_on_link(core, event->peer, true, now_ms);
    tombs_on_link(core, event->peer, now_ms);
    hints_tell(core, event->peer, now_ms);
    if (!links_is_met(core->links, event->link))
        return;
    struct wire_message sums = {.kind = WIRE_BUCKETS_ARE};
    swim_exchange_begin(core->swim, event->peer, &sums);
    (void)links_tell_on(core->links, event->link, &sums, now_ms);
}

void mesh_on_links(struct core *core, const struct links_event *event, uint64_t now_ms)
{
    switch (event->kind) {
    case LINKS_READY:
        mesh_on_link_ready(core, event, now_ms);
        break;
    case LINKS_LOST:
        core->stats.links_lost++;
        copies_on_link(core, event->peer, false, now_ms);
        evidence_on_lost(core, event->peer, now_ms);
        if (event->loss != MESH_LOSS_FIN)
            fence_on_lost(core, event->peer);
        break;
    case LINKS_UNDIALLED:
        core->stats.links_refused++;
        copies_on_link(core, event->peer, false, now_ms);
        if (event->loss == MESH_LOSS_REFUSED)
            swim_on_refused(core->swim, event->peer, now_ms);
        else
            swim_on_reached(core->swim, event->peer, false, now_ms);
        evidence_on_lost(core, event->peer, now_ms);
        break;
    case LINKS_REACHED:
        swim_on_reached(core->swim, event->peer, true, now_ms);
        evidence_on_life(core, event->peer, now_ms);
        break;
    case LINKS_DOUBTED:
        evidence_on_doubt(core, event->peer, now_ms);
        break;
    case LINKS_CONTROL:
        mesh_on_control(core, event, now_ms);
        break;
    case LINKS_MESSAGE:
        if (relay_on_event(core, event))
            break;
        if (event->side == LINKS_OWNER)
            serve_on_message(core, event, now_ms);
        else
            entry_on_message(core, event, now_ms);
        break;
    case LINKS_CONSUMED:
        if (!relay_on_event(core, event) && event->side == LINKS_OWNER)
            serve_on_consumed(core, event, now_ms);
        break;
    case LINKS_LANE_LOST:
        if (relay_on_event(core, event))
            break;
        if (event->side == LINKS_OWNER)
            serve_on_lane_lost(core, event, now_ms);
        else
            entry_on_lane_lost(core, event, now_ms);
        break;
    }
}
