/* guard.h - may it be us? Two reasons to doubt that all who seem dead are (DESIGN §9): since a
 * suspicion began we hear from fewer than half of those whom we contacted (isolation guard), or at
 * least four and more than a fifth of all seem dead at once (brake). Either stretches a suspicion,
 * neither forbids its end: one that forbids would end every takeover in a small mesh.
 *
 * Pure arithmetic: whom we contact and suspect is told to it. What a suspicion is stands in
 * swim_probe.c. */
#ifndef MESH_GUARD_H
#define MESH_GUARD_H

#include "mesh/base/types.h"

#define GUARD_CONTACTS_MAX 64   /* remembered: whom we contacted last */
#define GUARD_CONTACTS_LEAST 2  /* one that is silent, the suspect itself, tells nothing of us */
#define GUARD_PATIENCE_MS 500   /* who was contacted later may not have answered yet */
#define GUARD_SLOWDOWN 3        /* a stretched suspicion runs at a third of its speed, */
#define GUARD_STRETCH_MAX 15000 /* until it has lost so many ms by that */
#define BRAKE_LEAST 4           /* fewer may die at once, and more than */
#define BRAKE_SHARE 5           /* one in so many may not */
#define BRAKE_RECENT_MS 15000   /* who died in the last one or two of these seems dead "at once" */

struct guard_contact {
    struct handle who;
    uint64_t contacted_ms; /* last */
    uint64_t asked_ms;     /* the first time that is not answered yet */
    uint64_t heard_ms;     /* last; 0: not since it stands here */
};

/* All zero: nobody contacted, nobody dead. */
struct guard {
    uint32_t contacts_count, contacts_next;
    uint64_t deaths_since_ms;
    uint32_t deaths, deaths_before; /* since then, and in the BRAKE_RECENT_MS before it */
    struct guard_contact contacts[GUARD_CONTACTS_MAX];
};

/* We sent something that asks for an answer. */
void guard_on_contacted(struct guard *guard, struct handle who, uint64_t now_ms);
/* Something authentic came. */
void guard_on_heard(struct guard *guard, struct handle who, uint64_t now_ms);
/* Nobody is suspected: whom we contact from now on counts for later suspicions. */
void guard_forget_contacts(struct guard *guard);
/* We stood still: what was sent and came before is so much longer ago. */
void guard_on_lag(struct guard *guard, uint64_t lag_ms);
/* Of those contacted since then fewer than half were heard since then. */
bool guard_is_isolated(const struct guard *guard, uint64_t since_ms, uint64_t now_ms);

void guard_on_death(struct guard *guard, uint64_t now_ms);
/* `suspects` of `living` (suspects among them, ourselves too) look dead, besides those who just
 * died. */
bool guard_brakes(const struct guard *guard, size_t suspects, size_t living, uint64_t now_ms);

/* What a suspicion has lost by being stretched, after `span_ms` more of which it ran slowly or
 * not. Its end is so much later. */
uint32_t guard_stretch(uint32_t lost_ms, uint64_t span_ms, bool is_slow);

#endif
