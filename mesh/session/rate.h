/* rate.h - how many requests a second one principal may send to this peer (--rate, --rate-burst;
 * DESIGN §17): a bucket of tokens for each principal, as --bind-session tells it, else for the
 * credentials, else for the session. Who shows none of these shares a bucket with nobody and is not
 * counted: behind a balancer that is everybody, and --max-sessions bounds what they begin. A bucket
 * is one number, the time at which it is full again (the virtual scheduling of ITU-T I.371, annex
 * A, known as GCRA). */
#ifndef MESH_RATE_H
#define MESH_RATE_H

#include "mesh/base/newest.h"
#include "mesh/base/types.h"

#define RATE_UNKNOWN_BURST 10  /* seconds' worth at once: all clients of a peer may begin anew */
#define RATE_BUCKETS_MAX 65536 /* the one put first gives way, and is full when it is put again */

struct core;

struct rate {
    struct newest buckets; /* struct principal -> uint64_t, when it is full, in µs */
    uint64_t unknown_us;   /* likewise of ids that are unknown */
};

void rate_init(struct core *core);
void rate_deinit(struct core *core);
/* May it go on? Takes a token if so. What ends or answers something goes on always: a
 * DELETE, a cancellation, the answer to a server's question. `session`: a genuine id of ours, or
 * NULL. */
bool rate_allows(struct core *core, const struct mesh_request *request,
                 const struct session_id *session, uint64_t now_ms);
/* May somebody be told that there is no such session (--unknown-rate)? Whoever guesses ids is not
 * told so often. One bucket for all of them, whatever is wrong with the id: what is refused says
 * nothing of it. */
bool rate_allows_unknown(struct core *core, uint64_t now_ms);

#endif
