/* gossip.h - what is still to be told: at most one live update per member, sent a bounded number
 * of times on whatever datagram leaves. What an update says is read from the view when it is
 * packed, so a queued one is never behind. Where datagrams go is swim.c's business. */
#ifndef MESH_GOSSIP_H
#define MESH_GOSSIP_H

#include "mesh/member/claims.h"

/* By urgency, claims (claims.h) after them all: each takes three quarters of the room that those
 * before it left, the last one that waits all of it, so that none starves; what is still empty then
 * goes to the most urgent. */
enum gossip_class {
    GOSSIP_DEATH, /* a death, and what refutes one or a suspicion */
    GOSSIP_LEAVE,
    GOSSIP_SUSPECT,
    GOSSIP_ALIVE, /* somebody new */
    GOSSIP_RECORD /* a new version of a record */
};
#define GOSSIP_CLASSES 5

/* An update is sent so often per bit of the number of members. Push gossip leaves a residue of
 * about e^-m after m sends each (Demers et al. 1987); acks, which pull, take most of that. */
#define GOSSIP_SENDS_PER_BIT 3

struct gossip;

/* For one view; told with its updates: `claims`, which stay the caller's. 0 or -ENOMEM. */
int gossip_new(struct gossip **gossipp, struct claims *claims);
void gossip_free(struct gossip *gossip); /* NULL is fine */
/* For the controls: an update is sent so often per decimal digit of the number of members. */
void gossip_by_digits(struct gossip *gossip, uint32_t sends_per_digit);

/* Tells about this member from now on, with a fresh budget; what was queued about it is replaced
 * and keeps the more urgent class. `accuser`: who suspects it or says it is dead. Without memory
 * it is not told. */
void gossip_tell(struct gossip *gossip, const struct view *view, struct peer_id subject,
                 enum gossip_class class, struct peer_id accuser);
/* One more accuser of a suspect: with a third of the budget, where many are, as whoever began that
 * suspicion asked the accusers itself and is answered directly. */
void gossip_tell_accuser(struct gossip *gossip, const struct view *view, struct peer_id subject,
                         struct peer_id accuser);
/* Somebody told us this of a member. If it is what we tell, we tell it once less (the feedback of
 * Demers et al.); not so the controls. */
void gossip_heard(struct gossip *gossip, const struct view *view, const struct mesh_member *member,
                  const struct wire_update *news);
/* The update about this member as a datagram carries it: a record only where it is news. */
bool gossip_update_of(const struct gossip *gossip, const struct view *view, struct peer_id subject,
                      struct wire_update *update);
bool gossip_is_telling(const struct gossip *gossip, const struct view *view,
                       struct peer_id subject);
size_t gossip_count(const struct gossip *gossip);
size_t gossip_bytes(const struct gossip *gossip); /* asked of malloc() */

/* Adds updates to a datagram for `to` until it is full or nothing is left; never one about
 * `except`. Returns whether our own record was among them. */
bool gossip_fill(struct gossip *gossip, const struct view *view, struct wire_writer *w,
                 struct peer_id to, struct peer_id except);

#endif
