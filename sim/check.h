/* check.h - what must hold, by the numbers of DESIGN §16, and a few rules of the boundary (X).
 * Called by the modules at the moment a fact or effect happens; the first break ends the run with
 * its number and words. */
#ifndef SIM_CHECK_H
#define SIM_CHECK_H

#include "sim/client.h"
#include "sim/upstream.h"
#include "sim/world.h"

struct checks {
    struct shuffle chance;
    struct view_seen { /* one digest per view hash (M3) */
        uint64_t hash, digest;
    } * views;
    uint32_t views_count;
    uint64_t views_compared, rings_compared;
    struct leave *leaves; /* check_leave.c */
    uint32_t leaves_count, leaves_capacity;
    struct { /* what each peer showed at its last look */
        uint64_t hash;
        uint64_t since_us;
        uint32_t life, looks;
    } last[WORLD_SEATS_MAX];
};

int checks_new(struct world *world);
void checks_free(struct world *world);
void check_fail(struct world *world, const char *invariant, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void check_event(struct world *world, const struct world_event *event);

/* B2 and the boundary: before an effect is carried out. */
void check_effect(struct world *world, struct seat *seat, const struct mesh_effect *effect);
/* T1: a text reaches an upstream. */
void check_handshake(struct world *world, struct upstream *up, const struct ucall *call);
/* E2, E3, O1: the upstream begins to work on a request's text. */
void check_execution(struct world *world, const struct upstream *up, const struct ucall *call,
                     uint32_t session);
/* E1, E3: parts of an outcome. `text` is one JSON-RPC message for that request, which came on the
 * stream of `on`. */
void check_head(struct world *world, struct request *request, const struct mesh_effect *effect);
void check_message(struct world *world, struct request *request, struct request *on,
                   struct slice text, const struct rpc_message *rpc, bool answers);
/* S1: ids follow each other; a gap is said before what comes behind it. */
void check_event_id(struct world *world, struct request *request, const struct mesh_effect *effect);
/* The mesh says that events were missed: true, if this is that. */
bool check_gap_told(struct world *world, struct request *request, struct slice text);
/* An error of the mesh as an event; `id`: the raw id that it answers. */
void check_failure(struct world *world, struct request *request, struct slice id,
                   enum mesh_reason why);
void check_end(struct world *world, struct request *request);
/* CHECK_REQUEST, CHECK_LISTEN: an outcome in time, a stream that begins in time (E1). */
void check_in_time(struct world *world, const struct world_event *event);
void check_listens(struct world *world, const struct world_event *event);
/* A peer that left by its own will holds no client any more (E1). */
void check_left(struct world *world, struct seat *seat);
/* G1 to G4: a peer is asked to leave; it is gone by its own will; a peer owns a session from now
 * on; what came of a request. */
void leave_asked(struct world *world, const struct seat *seat, uint32_t stay_ms,
                 uint32_t within_ms);
void leave_exits(struct world *world, const struct seat *seat);
void leave_taken(struct world *world, const struct seat *seat);
void leave_judges(struct world *world, const struct request *request);
void leave_check_over(struct world *world, const struct world_event *event); /* CHECK_LEAVES */
void leaves_free(struct world *world);
/* The end of the calm phase: nothing open (E1), nothing leaked (levels). */
void check_quiescence(struct world *world);
/* Somebody has it, or will take it over, and nothing ended it: probes of the calm phase are to be
 * answered. */
bool check_session_lives(struct world *world, const struct session *session);

#endif
