/* view_state.h - the insides of struct view, shared by view.c (the table) and view_news.c (the
 * rules of precedence). Nobody else includes it. */
#ifndef MESH_VIEW_STATE_H
#define MESH_VIEW_STATE_H

#include "mesh/member/view.h"

struct row {
    struct mesh_member member;
    uint32_t use;      /* how often the slot was given out */
    uint32_t other_at; /* place in others[], while living */
    bool is_used;
};

struct view {
    uint32_t members_max, contacts_max;
    uint64_t boot_ms, start_ms;
    bool is_announced, is_leaving;
    uint64_t hash, ring_generation;
    uint64_t buckets[WIRE_BUCKETS];

    uint32_t slots, fresh; /* slots from `fresh` on were never used */
    uint32_t count, others_count, contacts_count, free_count;
    struct row *rows; /* [0] is ourselves */
    uint16_t *order;  /* slots by id */
    uint16_t *others; /* slots of the living but ourselves */
    uint16_t *free;
    uint64_t *tags; /* home tag << 16 | slot, sorted */

    struct view_change *changes; /* a ring of 2 * slots */
    uint32_t changes_at, changes_count;
};

/* Of what a member says of itself but its name: equal records of one version, equal hashes. */
uint64_t view_record_hash(const struct mesh_member *m);
uint32_t view_slot_of(const struct view *view, const struct mesh_member *member);
bool view_has_room(const struct view *view); /* for one more living member */
/* Puts a new state of affairs in place and settles everything that is counted from it. May forget
 * the oldest contact, but not this one. */
void view_row_set(struct view *view, uint32_t slot, const struct mesh_member *now_is,
                  uint64_t now_ms);
/* A new row in the given state; the caller made sure that a living one has room. */
void view_row_add(struct view *view, const struct mesh_member *member, uint64_t now_ms);
/* Every older generation of the name is dead: only one process lives under a name. */
void view_supersede(struct view *view, struct peer_id id, uint64_t now_ms);

#endif
