/* view_state.h - the insides of struct view, shared by view.c (the table) and view_news.c (the
 * rules of precedence). Nobody else includes it. */
#ifndef MESH_VIEW_STATE_H
#define MESH_VIEW_STATE_H

#include "mesh/member/view.h"
#include "mesh/member/view_index.h"

/* Rows come in chunks and stay where they are; what indexes them grows with them. */
#define CHUNK_ROWS 64
/* A piece of news makes no more: one joins, the older generation that lived is gone, and for each
 * of both a contact is forgotten. */
#define VIEW_CHANGES_EACH 4

struct view {
    uint32_t members_max, contacts_max;
    uint64_t boot_ms, start_ms;
    uint64_t stamps_ms; /* what the stamps of rows count from */
    bool is_announced, is_leaving;
    bool hears_subject;      /* the news that comes now is its subject's own word */
    bool is_clock_behind;    /* by more than a day, as a peer showed: no judge of generations */
    struct peer_id let_back; /* see view_let_back() */
    uint64_t hash, ring_generation;
    struct records *records, *own_records; /* own: made here, freed here */

    uint32_t slots;       /* the most that there may be */
    uint32_t room, fresh; /* there are; those from `fresh` on were never used */
    uint32_t free_slot;   /* given back last, 0: none */
    uint32_t others_count, contacts_count;
    struct mesh_member **chunks; /* slot 0 is ourselves; a row without a record is free */
    uint16_t *others;            /* [room] slots of the living but ourselves */
    struct view_index order;     /* by id: the generations of a name in their order */
    struct view_index tags;      /* by home tag, from the first lookup on */

    struct view_change *changes; /* a ring, grown up to 2 * slots; small again once drained */
    uint32_t changes_room, changes_at, changes_count;

    uint64_t buckets[WIRE_BUCKETS]; /* last: the rest is in a few lines of the cache */
};

/* A slot below view->room. */
static inline struct mesh_member *view_row(const struct view *view, uint32_t slot)
{
    return &view->chunks[slot / CHUNK_ROWS][slot % CHUNK_ROWS];
}

uint32_t view_slot_of(const struct view *view, const struct mesh_member *member);
bool view_has_room(const struct view *view); /* for one more living member */
/* Puts a new state of affairs in place (record, incarnation, state) and settles everything that is
 * counted from it. A record that is not the row's own was taken by the caller; the row has it now.
 * May forget the oldest contact, but not this one. */
void view_row_set(struct view *view, uint32_t slot, const struct mesh_member *now_is,
                  uint64_t now_ms);
/* A new row in the given state; the caller made sure that a living one has room. Has the record,
 * as above, even if it fails: false, for want of memory. */
bool view_row_add(struct view *view, const struct mesh_member *member, uint64_t now_ms);
/* Room for so many more changes, or the most that there may be: what is lost otherwise would not be
 * noticed by anybody. False: no memory. */
bool view_changes_reserve(struct view *view, uint32_t more);
/* Every older generation of the name is dead: only one process lives under a name. */
void view_supersede(struct view *view, struct peer_id id, uint64_t now_ms);

#endif
