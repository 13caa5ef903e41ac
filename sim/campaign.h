/* campaign.h - one seed from its first event to its verdict: chaos, calm, probes through every
 * peer, the end of every session, nothing left. */
#ifndef SIM_CAMPAIGN_H
#define SIM_CAMPAIGN_H

#include "sim/faults.h"
#include "sim/world.h"

struct run_options {
    uint64_t seed, faults;
    uint32_t nodes; /* 0: drawn */
    uint32_t seconds;
    uint32_t draws;        /* how the seed is read: see world.h; 0: the newest way */
    uint32_t calm_from_ms; /* chaos ends as early as that; 0: as drawn */
    const uint32_t *only;  /* of the plan's faults only these happen; NULL: all */
    uint32_t only_count;
    bool trace, legacy_only, no_copies, rebalances, identities;
};

#define RESULT_PLANNED_MAX 1024

struct run_result {
    bool failed;
    char failure[512];
    char drawn[900]; /* what the seed drew: in words */
    uint32_t chaos_ms;
    uint32_t planned[RESULT_PLANNED_MAX]; /* numbers of the plan's faults that were to happen */
    uint32_t planned_count;
    uint64_t trace; /* equal for equal seeds (invariant D1) */
    uint32_t nodes;
    uint64_t virtual_ms, events, effects, requests, sessions;
    uint64_t why[64]; /* outcomes by enum mesh_reason */
    uint64_t unsent, gone, executions, forwarded, served_here;
    /* of clients: streams gone on with, of them with their answer, gaps told; of upstreams: streams
     * ended before the answer, notifications told again */
    uint64_t resumed, rested, gaps, polls, replayed;
    uint64_t tenures, fresh; /* sessions taken over; servers that were told of them again */
    uint64_t questions, answered, notes, datagrams, datagram_bytes, dials;
    uint64_t views_compared, rings_compared;
    uint64_t rows, changes, agreed_ms; /* of members.h; agreed_ms: from calm on, to equal views */
    uint64_t modern, states, tasks, handles, cancels; /* of the session-less era */
    uint64_t sse_streams, sse_again, sse_answers, sse_failures, sse_ended; /* of HTTP+SSE */
    uint64_t hits[FAULT_CLASSES], places[PLACES];
};

/* Log-uniform 2 .. 63; of draws 1 2 .. 20. */
uint32_t campaign_draw_nodes(uint64_t seed, uint32_t draws);
/* The same, but of one seed in eight log-uniform 64 .. 200. */
uint32_t campaign_draw_wide(uint64_t seed);
int campaign_run(const struct run_options *options, struct run_result *result);

#endif
