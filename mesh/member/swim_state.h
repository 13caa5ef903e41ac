/* swim_state.h - the insides of struct swim, shared by swim.c (in, out, news), swim_probe.c
 * (detection), swim_join.c (ways in, out and back) and swim_views.c (views over links). Nobody else
 * includes it. */
#ifndef MESH_SWIM_STATE_H
#define MESH_SWIM_STATE_H

#include "mesh/member/swim.h"

#define ACCUSERS_MAX 8
#define RELAYS_MAX 64    /* pings under way for others */
#define FAREWELLS_MAX 8  /* members told directly that we leave */
#define WISHES_MAX 32    /* waiting, and remembered so as not to be repeated */
#define STRANGERS_MAX 16 /* remembered because they go on talking to us */
#define ANSWERS_MAX 32   /* exchanges in which we still have to send views */
#define EVENTS_MAX 8
#define SECOND_MS 1000
#define LAG_MS 250 /* later than that after its deadline a turn is late */

enum swim_phase {
    SWIM_ASKING,  /* no generation yet: what is known of our name? */
    SWIM_WAITING, /* a living peer has our name */
    SWIM_JOINING, /* generation fixed; views still to be exchanged with who answered */
    SWIM_MEMBER,
    SWIM_LEAVING,
    SWIM_GONE
};

struct probe {
    bool is_open, is_acked, is_relayed;
    struct peer_id target;
    struct mesh_addr addr;
    uint32_t number;
    uint64_t started_ms, relay_at_ms, ends_ms;
    uint32_t nacks_expected, nacks;
};

/* A ping for somebody else. */
struct relay {
    struct peer_id asker, subject;
    uint32_t asker_number, number;
    uint64_t started_ms, nack_at_ms, ends_ms;
    bool is_open, is_nacked;
};

struct suspicion {
    struct handle handle;
    uint32_t incarnation;
    uint64_t started_ms, deadline_ms;
    uint32_t min_ms, max_ms, confirmations_max;
    uint32_t accusers_count;
    struct peer_id accusers[ACCUSERS_MAX];
};

/* A place in the probe round: a handle of the view. */
struct turn {
    uint16_t slot, use;
};

struct farewell {
    struct peer_id to;
    uint32_t number;
    bool is_acked;
};

struct stranger {
    struct peer_id id;
    uint64_t heard_ms, wish_at_ms;
    uint32_t wait_ms; /* doubled by each wish: it may be one whom our view never takes */
};

/* Views to be sent over the link to a peer. */
struct view_answer {
    struct peer_id to;
    uint64_t mask;
    bool asks; /* for theirs, too */
};

struct swim {
    const struct swim_preset *preset;
    struct view *view;
    struct gossip *gossip;
    struct claims *claims;
    struct shuffle chance;
    struct swim_stats stats;
    enum swim_phase phase;
    uint64_t boot_ms, start_ms, due_ms;
    uint32_t name_wait_ms, load, awareness, number;
    bool serving, draining, hold; /* what our record is to say */

    /* detection */
    struct probe probe;
    uint64_t probe_at_ms;
    struct turn *round; /* in probing order */
    size_t round_room, round_count, round_at;
    struct relay relays[RELAYS_MAX];
    struct suspicion *suspicions;
    size_t suspicions_room, suspicions_count;
    uint64_t gossip_at_ms;

    /* ways in */
    struct mesh_addr contacts[SWIM_CONTACTS_MAX];
    size_t contacts_count, contacts_next; /* next: to be asked, and to be replaced */
    bool has_contacts, named_ourselves;   /* named: our own address was given as a contact */
    uint64_t first_contact_ms;            /* when swim_join() first gave another's address */
    uint64_t hello_at_ms, heal_at_ms;
    uint32_t hello_wait_ms;      /* between the hellos of one who asks */
    uint64_t found_at_ms;        /* we begin the mesh that all ask for; MESH_NEVER: not we */
    bool heard_lower;            /* somebody with a lower name asks, too */
    uint32_t heals;              /* ticks of heal_at_ms */
    uint64_t highest_generation; /* known of our name */
    struct swim_wish welcomer;   /* who answered last */
    struct peer_id incumbent;
    struct mesh_addr incumbent_addr;
    uint64_t waiting_since_ms, incumbent_answered_ms;
    uint32_t incumbent_unanswered;
    uint64_t joined_ms;
    bool mints;

    /* ways out */
    struct farewell farewells[FAREWELLS_MAX];
    size_t farewells_count;
    uint64_t leave_began_ms, farewell_at_ms;

    /* views */
    struct peer_id differing; /* a member whose view hash was not ours; nobody: none */
    uint64_t differing_hash;  /* ours at that time */
    uint64_t differing_due_ms;
    uint32_t differing_restless; /* how often our own hash had changed until then */
    struct stranger strangers[STRANGERS_MAX];
    size_t strangers_count, strangers_next;
    struct view_answer answers[ANSWERS_MAX];
    size_t answers_count;
    struct swim_wish wishes[WISHES_MAX];
    size_t wishes_count;
    struct {
        struct peer_id with;
        uint64_t at_ms;
    } wished[WISHES_MAX];
    size_t wished_next;

    /* out */
    struct swim_send *sends; /* a ring, grown up to SWIM_SENDS_MAX */
    size_t sends_room, sends_at, sends_count;
    struct swim_event events[EVENTS_MAX];
    size_t events_count;
};

/* swim.c */
void swim_push(struct swim *swim, const struct swim_send *send);
struct swim_send swim_send_to(const struct mesh_member *to, enum datagram_kind kind,
                              uint32_t number, struct peer_id tell);
/* A datagram to a member at the address of its record. */
void swim_push_to(struct swim *swim, const struct mesh_member *to, enum datagram_kind kind,
                  uint32_t number, struct peer_id tell);
void swim_push_event(struct swim *swim, enum swim_event_kind kind, struct peer_id peer);
/* `is_quiet`: of no news to others. */
void swim_take_news(struct swim *swim, const struct wire_update *news, bool is_quiet,
                    uint64_t now_ms);
/* Draws up to `max` different living others but `but`; returns how many. */
size_t swim_draw(struct swim *swim, struct peer_id but, const struct mesh_member **drawn,
                 size_t max);
/* Before any fact is taken in: have we stood still? Nobody else can be blamed for that time, so
 * what waits for others waits so much longer. */
void swim_note_lag(struct swim *swim, uint64_t now_ms);
void swim_settle(struct swim *swim, uint64_t now_ms); /* sets due_ms */

/* swim_probe.c */
void probe_add(struct swim *swim, const struct mesh_member *member); /* a newcomer */
void probe_now(struct swim *swim, uint64_t now_ms);
void probe_on_ack(struct swim *swim, const struct mesh_member *sender, uint32_t number,
                  uint64_t now_ms);
void probe_suspect(struct swim *swim, const struct mesh_member *member, uint64_t now_ms);
void probe_blame_us(struct swim *swim, uint32_t more); /* our own health is worse */
void probe_push_deadlines(struct swim *swim, uint64_t lag_ms);
uint64_t probe_deadline_ms(const struct swim *swim); /* of suspicions, too */
void suspicion_begin(struct swim *swim, const struct mesh_member *member, struct peer_id accuser,
                     uint64_t now_ms);
/* True: this accuser is new, and counts. */
bool suspicion_confirm(struct swim *swim, const struct mesh_member *member, struct peer_id accuser,
                       uint64_t now_ms);
void suspicions_now(struct swim *swim, uint64_t now_ms);
void relay_on_ping_req(struct swim *swim, const struct mesh_member *asker,
                       const struct wire_datagram *d, uint64_t now_ms);
void relays_now(struct swim *swim, uint64_t now_ms);
uint64_t relays_deadline_ms(const struct swim *swim);

/* swim_join.c */
void join_on_hello(struct swim *swim, const struct mesh_addr *from, const struct wire_datagram *d,
                   uint64_t sender_nonce, uint64_t now_ms);
void join_on_welcome(struct swim *swim, const struct mesh_addr *from, const struct wire_datagram *d,
                     uint64_t now_ms);
void join_on_view(struct swim *swim, uint64_t now_ms);
bool leave_on_ack(struct swim *swim, uint32_t number, struct peer_id from);
void join_now(struct swim *swim, uint64_t now_ms);
uint64_t join_deadline_ms(const struct swim *swim);

/* swim_views.c */
void views_wish(struct swim *swim, struct peer_id with, const struct mesh_addr *addr,
                uint64_t now_ms);
void views_on_stranger(struct swim *swim, struct peer_id id, const struct mesh_addr *from,
                       uint64_t now_ms);
void views_on_hash(struct swim *swim, const struct mesh_member *member, uint64_t hash,
                   uint64_t now_ms);
void views_now(struct swim *swim, uint64_t now_ms);
uint64_t views_deadline_ms(const struct swim *swim);

#endif
