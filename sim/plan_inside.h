/* plan_inside.h - carrying out the faults of a plan, shared by plan.c and plan_sessions.c. Nobody
 * else includes it. */
#ifndef SIM_PLAN_INSIDE_H
#define SIM_PLAN_INSIDE_H

#include "sim/world.h"

/* The fault's seat dies, or lives again. True: it died. */
bool plan_death_do(struct world *world, struct fault *fault, bool begins);
/* A fault of those who have a session. True: it happened to somebody. */
bool plan_session_do(struct world *world, struct fault *fault, bool begins);

#endif
