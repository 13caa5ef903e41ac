/* edges.c - see edges.h. */
#include "mesh/member/edges.h"

#define PINGS_MAX 16

static void note(struct pings *pings, bool is_answered)
{
    pings->answered = (uint16_t)(pings->answered << 1 | is_answered);
    if (pings->count < PINGS_MAX)
        pings->count++;
}

static uint32_t answered(const struct pings *pings)
{
    uint32_t count = 0;
    for (uint32_t bits = pings->answered; bits != 0; bits &= bits - 1)
        count++;
    return count;
}

/* edges->count: not looked at. */
static uint32_t find(const struct edges *edges, struct handle who)
{
    uint32_t n = 0;
    while (n < edges->count && !handle_equal(edges->kept[n].who, who))
        n++;
    return n;
}

bool edges_has(const struct edges *edges, struct handle who)
{
    return find(edges, who) < edges->count;
}

void edges_look(struct edges *edges, struct handle who, uint64_t now_ms)
{
    if (edges->count == EDGES_KEPT || edges_has(edges, who))
        return;
    if (edges->count == 0)
        edges->due_ms = now_ms;
    edges->kept[edges->count++] = (struct edge){.who = who};
}

void edges_on_ping(struct edges *edges, struct handle who, bool is_answered)
{
    uint32_t n = find(edges, who);
    if (n < edges->count)
        note(&edges->kept[n].pings, is_answered);
}

void edges_on_other(struct edges *edges, bool is_answered, uint64_t now_ms)
{
    if (now_ms - edges->others_ms > EDGE_COMPARED_MS)
        edges->others = (struct pings){0, 0};
    edges->others_ms = now_ms;
    note(&edges->others, is_answered);
}

bool edges_is_well(const struct edges *edges, uint32_t n)
{
    const struct pings *pings = &edges->kept[n].pings;
    return pings->count >= EDGE_ENOUGH && 2 * answered(pings) > pings->count;
}

void edges_drop(struct edges *edges, uint32_t n)
{
    edges->kept[n] = edges->kept[--edges->count];
}

static bool has_compared(const struct edges *edges, uint8_t least, uint64_t now_ms)
{
    return edges->others.count >= least && now_ms - edges->others_ms <= EDGE_COMPARED_MS;
}

bool edges_is_weak(const struct edges *edges, uint32_t n, uint8_t least, uint64_t now_ms)
{
    const struct pings *pings = &edges->kept[n].pings, *others = &edges->others;
    return pings->count >= least && 3 * answered(pings) <= pings->count &&
           has_compared(edges, least, now_ms) && 5 * answered(others) >= 4u * others->count;
}

bool edges_are_ours(const struct edges *edges, uint64_t now_ms)
{
    return has_compared(edges, EDGE_PINGS_LEAST, now_ms) &&
           2 * answered(&edges->others) <= edges->others.count;
}

bool edges_on_told(struct edges *edges, struct peer_id observer, size_t others, uint64_t now_ms)
{
    struct edge_observer *place = &edges->observers[0];
    size_t wanted = others < EDGE_OBSERVERS ? others : EDGE_OBSERVERS, count = 0;
    for (size_t n = 0; n < EDGE_OBSERVERS; n++) {
        struct edge_observer *one = &edges->observers[n];
        if (peer_id_equal(one->id, observer)) {
            place = one;
            break;
        }
        if (one->told_ms < place->told_ms)
            place = one;
    }
    *place = (struct edge_observer){observer, now_ms};
    for (size_t n = 0; n < EDGE_OBSERVERS; n++)
        count += !peer_id_is_nobody(edges->observers[n].id) &&
                 now_ms - edges->observers[n].told_ms <= EDGE_TOLD_MS;
    return others >= EDGE_OBSERVERS_LEAST && count >= wanted && edges_are_ours(edges, now_ms);
}
