/* monitor.h - who watches whom. All living members stand on a circle, ordered by a hash of their
 * ids: the order is a function of who lives, not of names or of who joined when. Each is probed by
 * the one before it, its fixed monitor, which bounds the tail of detection (Rapid's expander in
 * miniature); those before that one are the witnesses whom a suspicion is put to. */
#ifndef MESH_MONITOR_H
#define MESH_MONITOR_H

#include "mesh/member/view.h"

/* The member whom we are the monitor of: the next after us. Suspects are passed over, as their
 * clocks run already: so a row of dead ones is found in as many seconds, not one after the other's
 * end. If there is nobody but suspects, the next of them. NULL: nobody else lives. */
const struct mesh_member *monitor_watched(struct view *view);
/* Up to `max` members before `id`, the nearest first, without ourselves; returns how many. Those
 * who are suspects themselves are left out. */
size_t monitor_before(struct view *view, struct peer_id id, const struct mesh_member **members,
                      size_t max);

#endif
