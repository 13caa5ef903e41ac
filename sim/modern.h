/* modern.h - the session-less era (MCP 2026-07-28) in the made-up world: clients that ask through
 * any peer and keep what a server gave them (a state, a task), the answers of servers that know
 * only what they gave themselves, and what must hold of both:
 *
 *   A1  a state or a task comes to the server that gave it, as it gave it, while that lives; equal
 *       handles meet at one peer
 *   A2  what a client that left had asked for is cancelled, within bounded time
 *
 * In chaos a peer may take a living one for dead, so where A1 says "comes to" it speaks of quiet
 * times; "as it gave it" holds always. */
#ifndef SIM_MODERN_H
#define SIM_MODERN_H

#include "sim/client.h"
#include "sim/upstream.h"
#include "sim/world.h"

#define MODERN_HANDLES 8u

struct modern_client {
    uint32_t session;  /* of the world's count only: nobody else knows it */
    uint64_t gap_us;   /* between its requests */
    uint32_t state_of; /* the request whose answer brought the state it holds, or NOBODY */
    uint32_t task_of;  /* likewise, of its newest task */
};

struct modern {
    struct shuffle chance;
    struct modern_client *clients;
    uint32_t clients_count;
    uint32_t handle_seats[MODERN_HANDLES]; /* where each was served last in quiet; NOBODY */
    uint64_t requests, states, tasks, handles, cancels; /* that came where they had to */
};

static inline bool ask_is_modern(enum ask ask)
{
    return ask >= ASK_M_CALL && ask <= ASK_M_LISTEN;
}

int modern_new(struct world *world);
void modern_free(struct world *world);
void modern_event(struct world *world, const struct world_event *event); /* CLIENT_MODERN */
/* Asks through every peer for all that is held: at the end of calm. */
void modern_probe(struct world *world);
/* The held streams are closed by their clients. */
void modern_end(struct world *world);

/* ---- clients -------------------------------------------------------------------------------- */
/* The text of a request; its length. */
int modern_body(const struct world *world, const struct request *request, char *text, size_t room);
/* What came for a request: the client keeps a state or a task. */
void modern_came(struct world *world, struct request *request, struct slice text,
                 const struct rpc_message *rpc);
/* The request is over; if its client left, what it asked for must be cancelled soon. */
void modern_over(struct world *world, struct request *request, enum request_state state);

/* ---- servers -------------------------------------------------------------------------------- */
/* The inside of the result of a call; false: of an error. */
bool modern_result(struct world *world, const struct ucall *call, char *text, size_t room);

/* ---- checks --------------------------------------------------------------------------------- */
void modern_check_execution(struct world *world, struct request *request, const struct upstream *up,
                            const struct ucall *call);
void modern_check_end(struct world *world, const struct request *request);
void modern_check_left(struct world *world, const struct world_event *event); /* CHECK_LEFT */

#endif
