/* owner.h - who owns a session, as far as this peer can tell (DESIGN §5). The record is the
 * truth; the id's home, hints and the ring only tell where to look for it. What is done with the
 * answer is entry's and serve's business. */
#ifndef MESH_OWNER_H
#define MESH_OWNER_H

#include "mesh/base/newest.h"
#include "mesh/mesh.h"

#define OWNER_HINTS_MAX 65536
#define OWNER_SEARCHES_MAX 1024
#define OWNER_SEARCH_MS 1000   /* after which the silent count as having none */
#define OWNER_NEGATIVE_MS 5000 /* how long "nobody has it" is believed */
#define OWNER_SEARCHES_PER_S 100
#define OWNER_SETTLED_MS 3000 /* no new member for so long: an unknown home is no newcomer */

struct core;
struct wire_message;

/* Asking every living member once for a record (one search at a time per id). */
struct owner_search {
    struct session_id id;
    uint32_t asked, answered;
    uint32_t came;     /* owner's, when it began */
    uint64_t until_ms; /* while it runs; then: while its "nobody" is believed */
    bool is_over, is_used;
    bool is_whole;         /* over, and all of them answered: none has a record (invariant N1) */
    bool home_is_known;    /* somebody knows its home as living, or as silent only lately */
    bool is_owned;         /* the holder says that it owns it */
    struct peer_id holder; /* has a copy of it, in this epoch; counter 0: nobody said so */
    struct mesh_epoch holds;
};

struct owner {
    struct newest hints; /* the highest epochs known, of sessions that moved */
    uint64_t risen;      /* how often one of them became higher */
    struct owner_search *searches;
    uint32_t searches_next, searching; /* searching: how many run */
    struct table search_slots;
    uint32_t came; /* members that came, or came back, so far: they may bring records */
    uint64_t rate_since_ms;
    uint32_t rate_count;
};

int owner_init(struct core *core);
void owner_deinit(struct core *core);

struct owner_found {
    enum owner_verdict verdict;
    struct peer_id peer;     /* HERE, THERE, GONE: whom to ask; GONE: who is to take it over, or has
                                a record; it may be we ourselves, or nobody */
    struct mesh_epoch epoch; /* highest known; counter 0: none */
    struct peer_id hint;
    bool is_searched; /* GONE, AWAY: every living member was asked and has no record */
};
void owner_resolve(struct core *core, const struct session_id *id, struct owner_found *found,
                   uint64_t now_ms);

/* It is not believed gone, and what is known of links and pings does not speak against it. */
bool owner_can_be_asked(const struct core *core, struct peer_id peer, uint64_t now_ms);

/* The candidates for a session's copies and succession: its home if alive or suspect, then the
 * eligible peers on the ring after its point. Returns how many. */
size_t owner_candidates(struct core *core, const struct session_id *id, struct peer_id *peers,
                        size_t peers_max);

/* What was learned so. Counter 0: nothing. */
struct mesh_epoch owner_hint(const struct core *core, const struct session_id *id);
/* A peer said that this epoch is the session's, or a record does. Lower ones than known are
 * ignored. */
void owner_learn(struct core *core, const struct session_id *id, struct mesh_epoch epoch);

/* Begins to ask every living member, unless that runs already. False: over the rate, later. */
bool owner_search(struct core *core, const struct session_id *id, uint64_t now_ms);
/* Somebody whom we do not know, or who knows whom we do not: views are exchanged. Over the link
 * that stands, if it is no member yet. */
void owner_meet(struct core *core, struct peer_id peer, uint64_t now_ms);
void owner_on_member(struct core *core, enum member_state from, enum member_state to);
void owner_on_find(struct core *core, struct peer_id from, const struct wire_message *m,
                   uint64_t now_ms);
void owner_on_found(struct core *core, struct peer_id from, const struct wire_message *m,
                    uint64_t now_ms);
void owner_now(struct core *core, uint64_t now_ms);
uint64_t owner_deadline_ms(const struct core *core);

void owner_why(struct core *core, struct slice id_text, struct mesh_why *why, uint64_t now_ms);

#endif
