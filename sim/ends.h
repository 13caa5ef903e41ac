/* ends.h - who knows that a session was deleted (DESIGN §16, N1: it never answers again). What all
 * forgot who knew of it no protocol can keep: when the last of them dies, that is noted, and what
 * others go on with from their copies is no break of the rule, until somebody knows again. */
#ifndef SIM_ENDS_H
#define SIM_ENDS_H

#include <stdbool.h>

struct seat;
struct session;
struct world;

/* Before the peer's memory is gone. */
void ends_died(struct world *world, const struct seat *seat);
/* Everybody who knew that it was deleted is dead, and nobody has heard of it. */
bool ends_is_forgotten(const struct world *world, const struct session *session);
/* Who owns it is on the other side of a split than all who know (DESIGN §7: both sides serve), or
 * owned it when another was told, a moment ago, and hears of it by way of a third. */
bool ends_is_unheard(struct world *world, const struct session *session);

#endif
