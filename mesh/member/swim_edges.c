/* swim_edges.c - members that are hardly heard, though others reach them now and then so that they
 * never die (edges.h): who is pinged for that, what it is told, and what we do when we are told so.
 */
#include "mesh/member/swim_state.h"

/* As of a suspicion, and some more: some of those, too, may be hardly heard. */
#define WITNESSES 6

static const struct peer_id nobody = {0, 0};

static bool looks(const struct swim *swim)
{
    return swim->preset->weak_hold_ms != 0;
}

void weak_look(struct swim *swim, const struct mesh_member *member, uint64_t now_ms)
{
    if (looks(swim))
        edges_look(&swim->edges, view_handle(swim->view, member), now_ms);
}

void weak_on_ping(struct swim *swim, const struct probe *probe, bool is_answered, uint64_t now_ms)
{
    const struct mesh_member *target = view_find(swim->view, probe->target);
    if (probe->why == PROBE_OTHER)
        edges_on_other(&swim->edges, is_answered, now_ms);
    else if (probe->why == PROBE_EDGE && target != NULL)
        edges_on_ping(&swim->edges, view_handle(swim->view, target), is_answered);
}

/* Put to a witness: look at it. Put to the subject itself: look at yourself. */
static void ask(struct swim *swim, const struct mesh_member *whom, const struct mesh_member *weak)
{
    struct swim_send send =
        swim_send_to(whom, DATAGRAM_CONFIRM, swim_number(swim), weak->record->id);
    send.subject = weak->record->id;
    swim_push(swim, &send);
}

static void ask_witness(struct swim *swim, const struct mesh_member *weak)
{
    const struct mesh_member *witnesses[WITNESSES];
    size_t count = monitor_before(swim->view, weak->record->id, witnesses, WITNESSES);
    if (count > 0)
        ask(swim, witnesses[shuffle_below(&swim->chance, (uint32_t)count)], weak);
}

/* Somebody by chance; not one of those looked at, unless nobody else is drawn. */
static const struct mesh_member *draw_other(struct swim *swim)
{
    const struct mesh_member *drawn[EDGES_KEPT + 1];
    size_t count = swim_draw(swim, nobody, drawn, EDGES_KEPT + 1);
    size_t first = count > 0 ? shuffle_below(&swim->chance, (uint32_t)count) : 0;
    for (size_t n = 0; n < count; n++) {
        const struct mesh_member *member = drawn[(first + n) % count];
        if (!edges_has(&swim->edges, view_handle(swim->view, member)))
            return member;
    }
    return count > 0 ? drawn[first] : NULL;
}

void weak_now(struct swim *swim, uint64_t now_ms)
{
    struct edges *edges = &swim->edges;
    if (edges->count == 0 || now_ms < edges->due_ms)
        return;
    edges->due_ms = now_ms + SECOND_MS;
    for (uint32_t n = 0; n < edges->count;) {
        const struct mesh_member *member = view_by_handle(swim->view, edges->kept[n].who);
        if (member == NULL || !member_is_living(member) || edges_is_well(edges, n)) {
            edges_drop(edges, n);
            continue;
        }
        if (edges_is_weak(edges, n, EDGE_PINGS_FEW, now_ms) && !member->record->hold)
            ask_witness(swim, member);
        if (edges_is_weak(edges, n, EDGE_PINGS_LEAST, now_ms))
            ask(swim, member, member);
        (void)probe_bare(swim, member, PROBE_EDGE, now_ms);
        n++;
    }
    const struct mesh_member *other = edges->count > 0 ? draw_other(swim) : NULL;
    if (other != NULL)
        (void)probe_bare(swim, other, PROBE_OTHER, now_ms);
}

static void go_on_hold(struct swim *swim, uint64_t now_ms)
{
    swim->stats.held += !hold_is_on(&swim->hold);
    hold_on_weak(&swim->hold, swim->preset->weak_hold_ms, now_ms);
}

void weak_on_told(struct swim *swim, const struct mesh_member *observer, uint64_t now_ms)
{
    size_t others = view_others(swim->view);
    if (!looks(swim) || !edges_on_told(&swim->edges, observer->record->id, others, now_ms))
        return;
    go_on_hold(swim, now_ms);
    swim_tell_flags(swim);
}

/* That is the word of several, too. */
void weak_on_death(struct swim *swim, uint64_t now_ms)
{
    if (looks(swim) && edges_are_ours(&swim->edges, now_ms))
        go_on_hold(swim, now_ms);
}
