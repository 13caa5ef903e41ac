/* ucall.h - one call of the core on a simulated MCP server, a small plan: taken, progress, perhaps
 * a question, an answer; or it fails in one of the ways that servers fail in. */
#ifndef SIM_UCALL_H
#define SIM_UCALL_H

#include "sim/upstream.h"

static inline bool upstream_is_http(const struct world *world)
{
    return world->upstream == MESH_UP_HTTP;
}

static inline bool upstream_lives(const struct upstream *up)
{
    return up->state == UPSTREAM_STARTING || up->state == UPSTREAM_LIVES;
}

static inline struct seat *upstream_seat(struct world *world, const struct upstream *up)
{
    return &world->seats[up->seat];
}

/* The client's request that its text names; NULL: none. */
struct request *ucall_request(struct world *world, const struct ucall *call);
/* Its plan, by chance or as a story says. */
void ucall_draw(struct world *world, struct ucall *call);
/* What the plan has next; the next event is ordered. */
void ucall_step(struct world *world, uint32_t index);
void ucall_step_at(struct world *world, uint32_t index, uint64_t at_us);

/* Facts for the core. */
/* One message, scanned as an upstream connection would. `call` MESH_NO_CALL: of a child. */
void upstream_say(struct world *world, uint32_t index, uint32_t call, const char *text,
                  size_t length);
/* The id of the event that comes next: a letter and a number. */
void upstream_mark(struct world *world, uint32_t upstream, uint32_t call, char kind,
                   uint32_t number, uint32_t retry_ms);
/* Nothing on stdio, and once a call. */
void ucall_head(struct world *world, struct ucall *call, int status, enum mesh_form form);
void ucall_end(struct world *world, struct ucall *call, enum mesh_end end, enum mesh_reason why);
/* The connection or child is gone, and all its calls with it. */
void upstream_closed(struct world *world, uint32_t index, enum mesh_reason why);
/* For the text of a message, when it was said: a log keeps it for long. */
uint32_t upstream_said_ms(const struct world *world);

#endif
