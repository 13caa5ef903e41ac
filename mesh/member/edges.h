/* edges.h - who is hardly heard, though not dead (DESIGN §9: a gray failure). A ping that is lost
 * says little: an edge, we and another, is judged by the share of its pings that were answered
 * (the idea of Rapid, Suresh et al. 2018). Whoever left one unanswered is pinged each second, and
 * so is somebody else by chance, to compare with: where all edges are alike, as under loss
 * everywhere or where we are the one who is hardly heard, none is weak.
 *
 * What an edge found is told to its subject, who counts: it alone can say so to all alike, in its
 * own record. Pure arithmetic; the pings are swim_probe.c's. */
#ifndef MESH_EDGES_H
#define MESH_EDGES_H

#include "mesh/base/types.h"

#define EDGES_KEPT 4        /* at once: the one that we watch, and those that we are a witness of */
#define EDGE_PINGS_LEAST 10 /* with fewer, of the last 16, an edge is not weak, */
#define EDGE_PINGS_FEW 5    /* nor seems to be, */
#define EDGE_ENOUGH 4       /* nor is well */
#define EDGE_OBSERVERS 3    /* so many who say so, or all there are, within EDGE_TOLD_MS */
#define EDGE_OBSERVERS_LEAST 2
#define EDGE_TOLD_MS 30000
#define EDGE_COMPARED_MS 10000 /* what was compared with longer ago says nothing about now */

/* The last pings, at most 16. */
struct pings {
    uint16_t answered; /* a bit for each, the last one lowest */
    uint8_t count;
};

struct edge {
    struct handle who;
    struct pings pings;
};

struct edge_observer {
    struct peer_id id;
    uint64_t told_ms;
};

/* All zero: all were heard. */
struct edges {
    uint32_t count;
    uint64_t due_ms; /* of the next pings, while any edge is kept */
    struct edge kept[EDGES_KEPT];
    struct pings others;
    uint64_t others_ms; /* of the last of those */
    struct edge_observer observers[EDGE_OBSERVERS];
};

/* This member left a ping unanswered: it is to be looked at. */
void edges_look(struct edges *edges, struct handle who, uint64_t now_ms);
bool edges_has(const struct edges *edges, struct handle who);
/* What became of a ping to one that is looked at, or to another drawn by chance. */
void edges_on_ping(struct edges *edges, struct handle who, bool is_answered);
void edges_on_other(struct edges *edges, bool is_answered, uint64_t now_ms);
/* Is the n-th to be looked at no longer? */
bool edges_is_well(const struct edges *edges, uint32_t n);
void edges_drop(struct edges *edges, uint32_t n);
/* The n-th answers at most a third, where others answer at least four fifths; `least`: pings on
 * both sides. */
bool edges_is_weak(const struct edges *edges, uint32_t n, uint8_t least, uint64_t now_ms);
static inline uint64_t edges_deadline_ms(const struct edges *edges)
{
    return edges->count > 0 ? edges->due_ms : MESH_NEVER;
}

/* Of the others whom we pinged ourselves at most half answered. */
bool edges_are_ours(const struct edges *edges, uint64_t now_ms);
/* `observer` says that it hardly hears us. True: so do several, and our own pings say the same.
 * `others`: how many there are. */
bool edges_on_told(struct edges *edges, struct peer_id observer, size_t others, uint64_t now_ms);

#endif
