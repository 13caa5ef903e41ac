/* view.h - who the members are, as this peer believes: their records and states, the view hash,
 * and the rules by which one piece of news outdoes another. Who is probed, when a suspicion runs
 * out and what is told to whom are swim.c's and gossip.c's business. Nothing here reads a clock:
 * times are arguments, in ms of a clock that never goes back.
 *
 * A row is one generation of one name. Living ones (alive, suspect) are members; dead and left
 * ones are remembered as contacts for VIEW_CONTACT_MS, under their own cap, oldest out. A death
 * of somebody never met leaves a contact without a record (an empty name, port 0).
 *
 * The view hash covers the living: name, generation, nonce, record version and record of each
 * (the record, too: one that its subject did not write may have the version of one that it did).
 * Contacts are not in it: every peer forgets them at its own time, and views would differ for ever.
 * A death still shows, as one that is missing. */
#ifndef MESH_VIEW_H
#define MESH_VIEW_H

#include "mesh/member/records.h"
#include "mesh/wire/wire.h"

#define VIEW_CONTACT_MS (24u * 3600 * 1000) /* the dead are remembered so long */
#define VIEW_JUMP_MAX (1u << 20)  /* of incarnation, version, generation, by one piece of news */
#define VIEW_FIRST_MAX (1u << 24) /* incarnation or version of somebody not met before */
#define VIEW_ROWS_MAX 65535u

struct view;

struct view_config {
    struct mesh_record self; /* name, nonce, addr, zone, weight, flags; the rest is set here */
    uint32_t members_max;    /* living ones, ourselves among them */
    uint32_t contacts_max;   /* dead and left ones */
    uint64_t boot_ms;        /* wall clock at start_ms: bounds the generations of others */
    uint64_t start_ms;
    struct records *records; /* shared, and kept by who gives it; NULL: the view has its own */
};

/* What became of a piece of news. */
enum view_news {
    VIEW_OLD,       /* nothing new, or outdone by what is known */
    VIEW_REFUSED,   /* no legal news: a jump, a foreign name, an impossible record, no room */
    VIEW_NEW,       /* our view changed: pass it on */
    VIEW_CONTACTED, /* a death of somebody never met: remembered, not passed on */
    VIEW_CONFIRMED, /* known as suspect already: one more accuser, perhaps */
    VIEW_REFUTED,   /* it was about us and wrong: our record must be told anew */
    VIEW_SUPERSEDED /* a newer generation of our own name exists, or our twin won */
};

struct view_change {
    struct peer_id id;
    enum member_state from, to;
};

/* Hash of a name as peer ids carry it; never 0. */
uint64_t view_name_hash(const char *name);
/* 48 bits that name one generation in every session id it mints (DESIGN §4). */
uint64_t view_home_tag(struct peer_id id);

/* 0 or -ENOMEM, -EINVAL. We are not in the view before view_announce(). */
int view_new(struct view **viewp, const struct view_config *config);
void view_free(struct view *view); /* NULL is fine */

/* Our own record. Its id has generation 0 until we are announced. */
const struct mesh_member *view_self(const struct view *view);
bool view_is_announced(const struct view *view);
/* Fixes our generation and makes us a member. Once only. 0; -EEXIST: a newer one is known;
 * -ENOMEM. */
int view_announce(struct view *view, uint64_t generation, uint64_t now_ms);
/* Changes what our record says, under a new version. 1; 0: it says so already; -ENOMEM. */
int view_set_flags(struct view *view, bool serving, bool draining, bool hold);
/* Likewise: the cluster's keys that we accept, as the record says them. */
int view_set_keys(struct view *view, const uint32_t *ids, uint8_t count);
/* Our own record, with its proof. 0 or -ENOMEM. */
int view_prove(struct view *view, const struct mesh_record *proved);
/* We leave: from now on nothing about us is refuted. */
void view_leave(struct view *view, uint64_t now_ms);

/* Rows, living or not. They stay where they are until they are forgotten, which only news of
 * others, view_announce() and view_forget() do. A row's record stays until the row is forgotten or
 * its member says something new. */
const struct mesh_member *view_find(const struct view *view, struct peer_id id);
/* Of a name the generation that lives, of which there is one at most; else the newest known. */
const struct mesh_member *view_find_name(const struct view *view, uint64_t name);
const struct mesh_member *view_find_newest(const struct view *view, uint64_t name);
/* By view_home_tag(); of several with one tag a living one, then the newest. Lists the
 * rows by tag when it is first asked. */
const struct mesh_member *view_find_tag(struct view *view, uint64_t tag);
/* A living one at this address, else the newest that was there. Linear. */
const struct mesh_member *view_find_addr(const struct view *view, const struct mesh_addr *addr);
/* All rows, ordered by id, ourselves among them once announced. */
size_t view_count(const struct view *view);
const struct mesh_member *view_at(const struct view *view, size_t n);
/* All rows, ordered by home tag, and the first place whose tag is not below `tag`: once they are
 * listed so; false: no memory. */
bool view_lists_tags(struct view *view);
const struct mesh_member *view_by_tag(const struct view *view, size_t n);
size_t view_tag_place(const struct view *view, uint64_t tag);
/* Living members (alive or suspect), ourselves among them once announced and until we leave. */
size_t view_living(const struct view *view);
/* The living others, in no particular order, for drawing some by chance. */
size_t view_others(const struct view *view);
const struct mesh_member *view_other(const struct view *view, size_t n);
static inline bool member_is_living(const struct mesh_member *member)
{
    return member_state_is_living(member->state);
}
/* May stand on the ring (DESIGN §5). */
static inline bool member_is_eligible(const struct mesh_member *member)
{
    const struct mesh_record *record = member->record;
    return member_is_living(member) && record->serving && !record->draining && !record->hold;
}

/* When it was declared dead or left, in ms of our clock; 0: it lives. */
uint64_t view_silent_ms(const struct view *view, const struct mesh_member *member);

/* Handles, for tables beside this one: slot < view_slots(). One that is forgotten finds NULL. Both
 * halves fit in 16 bits: a handle is not kept while its row may be given out 65,535 times. */
size_t view_slots(const struct view *view);
struct handle view_handle(const struct view *view, const struct mesh_member *member);
const struct mesh_member *view_by_handle(const struct view *view, struct handle handle);

/* A row to write notes in: load, acked_at, srtt_8, rttvar_4, told, shown, agrees, lost, round. */
struct mesh_member *view_notes(struct view *view, const struct mesh_member *member);
/* Times in rows: 32 bits that say when, to the ms, for 12 days at least; what is longer ago seems
 * to be 12 days ago. Never 0, and the greater the later, as long as no other stamp is made. */
uint32_t view_stamp(struct view *view, uint64_t now_ms);
uint64_t view_time_ms(const struct view *view, uint32_t stamp); /* 0 for 0 */

uint64_t view_hash(const struct view *view);
/* The same sum by bucket; the generations of a name share one. */
const uint64_t *view_buckets(const struct view *view);
unsigned view_bucket_of(struct peer_id id); /* 0 .. WIRE_BUCKETS - 1 */
/* Goes up whenever something changed that decides the ring. */
uint64_t view_ring_generation(const struct view *view);

/* May somebody be of this generation? Not of a time to come, but for what follows a known one; a
 * clock of ours that was never set, or was shown to be days behind, is no judge. */
bool view_is_plausible(const struct view *view, struct peer_id id, uint64_t now_ms);
/* A peer that answers our first question may raise what we take for the time of day: a clock that
 * is behind is no fault. */
void view_believe_clock(struct view *view, uint64_t generation, uint64_t now_ms);
/* Can it be: no jump, no foreign name, no impossible record? view_apply() refuses what can not. */
bool view_may_take(const struct view *view, const struct wire_update *news, uint64_t now_ms);
/* Takes a piece of news in: checks it, and keeps what outdoes what is known. Incarnation and
 * version never go back, whatever kind of news brings them (M1). */
enum view_news view_apply(struct view *view, const struct wire_update *news, uint64_t now_ms);
/* The news that follows is what its subject says of itself, or it is not any more. Lies that only
 * it heard, or that it had to outdo, may have driven it further than one piece of hearsay may jump:
 * it is believed, or it would be lost for good to whom no step between was told. */
void view_hear_subject(struct view *view, bool is_subject);
/* In the news that follows, what is told of this one counts though newer generations of its name
 * are known, if they are gone: it was found to live. Nobody: of no one any more. */
void view_let_back(struct view *view, struct peer_id id);
/* What we say about a member: its state, as an update. */
void view_tell(const struct mesh_member *member, struct wire_update *update);
void view_note_load(struct view *view, struct peer_id id, uint32_t load);

/* Asked of malloc(), with the records unless they are shared. */
size_t view_bytes(const struct view *view);

/* Forgets contacts older than VIEW_CONTACT_MS. Cheap; call it now and then. */
void view_forget(struct view *view, uint64_t now_ms);

/* Changes of state since the last call, oldest first; false: no more. Drain it once a turn: of
 * more than 2 * view_slots() at once the oldest are dropped. */
bool view_next_change(struct view *view, struct view_change *change);

#endif
