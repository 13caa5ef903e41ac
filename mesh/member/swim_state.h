/* swim_state.h - the insides of struct swim, shared by swim.c (in, out), swim_news.c, swim_probe.c
 * swim_suspect.c and swim_edges.c (detection), swim_join.c (ways in, out and back) and swim_views.c
 * (views over links). Nobody else includes it. */
#ifndef MESH_SWIM_STATE_H
#define MESH_SWIM_STATE_H

#include "mesh/base/heap.h"
#include "mesh/member/accusers.h"
#include "mesh/member/edges.h"
#include "mesh/member/guard.h"
#include "mesh/member/hold.h"
#include "mesh/member/monitor.h"
#include "mesh/member/swim.h"

#define ACCUSERS_MAX 8
#define PROBES_MAX 24 /* under way at once: one by chance, one as monitor, the rest for others, */
#define PROBES_OTHERS 22 /* who are not to take the place of those two */
#define CHECKS_MAX 64    /* over TCP, waiting to be drained */
#define RELAYS_MAX 64    /* pings under way for others */
#define FAREWELLS_MAX 64 /* members told directly that we leave */
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

/* A handle: both halves of one fit in 16 bits (view.h). */
struct in_round {
    uint16_t slot, use;
};

enum probe_why {
    PROBE_RANDOM,  /* in shuffled rounds of all */
    PROBE_WATCH,   /* of the one that we are the monitor of */
    PROBE_CONFIRM, /* somebody suspects it and asks us to look */
    PROBE_REFUSED, /* its port refused a dial: does it answer a ping? */
    PROBE_LOOK,    /* somebody else wants to know, swim_look_at(): nobody is accused; */
    PROBE_EDGE,    /* nor here: how many does it answer? */
    PROBE_OTHER    /* nor here: and how many somebody drawn by chance? */
};

/* One under way. It is dropped once it was answered, or failed. */
struct probe {
    enum probe_why why;
    struct peer_id target, asker; /* asker: is told what comes of it; nobody: nobody asked */
    struct mesh_addr addr;
    uint32_t number, asker_number;
    uint64_t started_ms, relay_at_ms, ends_ms;
    uint32_t nacks_expected, nacks;
    bool is_relayed;
    bool is_check; /* beside the end of a suspicion: an answer vetoes the death */
};

/* A ping for somebody else. */
struct relay {
    struct peer_id asker, subject;
    uint32_t asker_number, number;
    uint64_t started_ms, nack_at_ms, ends_ms;
    bool is_nacked;
};

struct suspicion {
    struct heap_node timer; /* when it is to be looked at again */
    struct handle handle;
    uint32_t incarnation;
    uint64_t started_ms, judged_ms; /* judged: until then lost_ms is accounted for */
    uint64_t checked_ms;            /* the last check asked for; 0: none */
    uint64_t pinged_ms;             /* by us, as a suspect */
    uint32_t lost_ms;               /* by guard and brake */
    uint32_t min_ms, max_ms;
    uint32_t number; /* of what we asked the witnesses; 0: nothing */
    uint32_t votes_max, accusers_count;
    bool is_seen;      /* a probe of our own failed: it is no hearsay */
    bool is_checking;  /* over TCP, since checked_ms */
    bool is_told_dead; /* others say so: it runs its shortest */
    bool is_vetoed;    /* it was reached since it began */
    bool is_refused;   /* its port refuses, and it answers no ping */
    struct peer_id accusers[ACCUSERS_MAX];
};

/* At most one per slot of the view. */
struct suspects {
    struct suspicion **sorted; /* by slot */
    size_t count, room;
    struct heap timers;
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

/* What news that one member tells of another would do to it. */
enum hearsay {
    HEARSAY_HARMLESS,
    HEARSAY_LEFT,  /* it is gone */
    HEARSAY_NEWER, /* another process has its name: a newer generation, or a twin */
    HEARSAY_MOVED, /* it is at another address */
    HEARSAY_OTHER, /* it says something else, under the version that we know: one of both is forged
                    */
    HEARSAY_BACK,  /* it was taken for replaced, by one that is gone, and lives */
    HEARSAY_OLDER  /* it lives, and so does one that replaced it, as far as is known here */
};

/* Such news, held back while those that it is about are asked. */
struct doubt {
    enum hearsay kind;
    struct wire_update news;
    struct peer_id teller; /* the first */
    bool is_quiet;
    bool is_answered; /* NEWER: by the older one */
    bool is_denied;
    uint8_t asked; /* so often, under this: */
    uint32_t number, wait_ms;
    uint64_t ask_at_ms, ends_ms;
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
    enum swim_phase phase;
    uint64_t boot_ms, start_ms, due_ms;
    uint32_t name_wait_ms, load, awareness, number;
    bool serving, draining; /* what our record is to say, besides hold; so the next two */
    uint32_t keys[MESH_KEYS_SAID_MAX];
    uint8_t keys_count;

    /* detection */
    size_t probes_count;
    uint64_t probe_at_ms, watch_at_ms;
    struct in_round *round; /* in probing order */
    size_t round_room, round_count, round_at;
    unsigned round_number;
    size_t relays_count;
    struct suspects suspects;
    size_t checks_count;
    uint64_t checked_since_ms;
    uint32_t checked; /* since then */
    struct hold hold;
    uint64_t lagged_ms; /* when our loop was late last; 0: never */
    uint64_t gossip_at_ms;
    bool hurries; /* something urgent waits that does not wait for gossip_at_ms */

    /* see swim_identity.c; what of ourselves is proved */
    const struct identity *identity; /* NULL: none */
    uint64_t proved_version;
    uint32_t proved_incarnation;
    bool proved_left;

    /* see swim_hearsay.c; no memory while there is none */
    struct doubt *doubts;
    size_t doubts_count, doubts_room;

    /* a control's: see swim_stall() and struct swim_memberlist */
    bool is_stalled, probe_waits, gossip_waits;
    uint64_t sync_at_ms;

    /* ways in */
    size_t contacts_count, contacts_next; /* next: to be asked, and to be replaced */
    bool has_contacts, named_ourselves;   /* named: our own address was given as a contact */
    uint64_t first_contact_ms;            /* when swim_join() first gave another's address */
    uint64_t hello_at_ms, heal_at_ms;
    uint32_t hello_wait_ms; /* between the hellos of one who asks */
    uint64_t lonely_until_ms;
    uint64_t found_at_ms;        /* we begin the mesh that all ask for; MESH_NEVER: not we */
    bool heard_lower;            /* somebody with a lower name asks, too */
    uint32_t heals;              /* ticks of heal_at_ms */
    uint64_t highest_generation; /* known of our name */
    uint64_t introduce_at_ms, introduce_until_ms; /* until: or until views came over a link */
    uint64_t joined_ms;
    bool mints;

    /* ways out */
    size_t farewells_count;
    uint64_t leave_began_ms, farewell_at_ms;

    /* views */
    struct peer_id differing; /* a member whose view hash was not ours; nobody: none */
    uint64_t differing_hash;  /* ours at that time */
    uint64_t differing_due_ms;
    uint32_t differing_restless; /* how often our own hash had changed until then */
    size_t strangers_count, strangers_next;
    uint64_t asked_since_ms;
    uint32_t asked; /* exchanges begun with us since then */
    size_t answers_count;
    size_t wishes_count;
    size_t wished_next;

    /* out */
    struct swim_send *sends; /* a ring, grown up to SWIM_SENDS_MAX */
    size_t sends_room, sends_at, sends_count;
    size_t events_count;

    /* What is long, or rarely looked at, stands last: what every turn looks at, the counts of these
     * among it, is then in few lines of the cache, and thousands of peers are simulated in turn. */
    struct edges edges;
    struct swim_stats stats;
    struct swim_wish welcomer; /* who answered last */
    uint64_t welcomer_nonce;
    struct peer_id incumbent;
    struct mesh_addr incumbent_addr;
    uint64_t waiting_since_ms, incumbent_answered_ms;
    uint32_t incumbent_unanswered;
    struct guard guard;
    struct accusers accusers;
    struct swim_event events[EVENTS_MAX];
    struct probe probes[PROBES_MAX];
    struct relay relays[RELAYS_MAX];
    struct swim_check checks[CHECKS_MAX];
    struct mesh_addr contacts[SWIM_CONTACTS_MAX];
    struct handle contacts_there[SWIM_CONTACTS_MAX]; /* the member found there last */
    uint64_t contacts_named_ms[SWIM_CONTACTS_MAX];   /* when swim_join() gave it last */
    struct farewell farewells[FAREWELLS_MAX];
    struct stranger strangers[STRANGERS_MAX];
    struct view_answer answers[ANSWERS_MAX];
    struct swim_wish wishes[WISHES_MAX];
    struct {
        struct peer_id with;
        uint64_t at_ms;
    } wished[WISHES_MAX];
};

/* swim.c, swim_news.c */
uint32_t swim_number(struct swim *swim); /* the next number of a probe; never 0 */
void swim_push(struct swim *swim, const struct swim_send *send);
struct swim_send swim_send_to(const struct mesh_member *to, enum datagram_kind kind,
                              uint32_t number, struct peer_id tell);
/* A datagram to a member at the address of its record. */
void swim_push_to(struct swim *swim, const struct mesh_member *to, enum datagram_kind kind,
                  uint32_t number, struct peer_id tell);
void swim_push_event(struct swim *swim, enum swim_event_kind kind, struct peer_id peer);
void swim_tell_flags(struct swim *swim); /* what our record is to say, if it does not say so yet */
/* `is_quiet`: of no news to others. */
void swim_take_news(struct swim *swim, const struct wire_update *news, bool is_quiet,
                    uint64_t now_ms);
/* The same, told by this member. */
void swim_hear_news(struct swim *swim, struct peer_id teller, const struct wire_update *news,
                    bool is_quiet, uint64_t now_ms);
/* We found it suspect, or dead (UPDATE_SUSPECT, UPDATE_DEAD), in the incarnation it has here. */
void swim_accuse(struct swim *swim, const struct mesh_member *member, enum update_kind kind,
                 uint64_t now_ms);
/* Draws up to `max` different living others but `but`; returns how many. */
size_t swim_draw(struct swim *swim, struct peer_id but, const struct mesh_member **drawn,
                 size_t max);
/* Before any fact or wish is taken in: have we stood still? Nobody else can be blamed for that
 * time, so what waits for others waits so much longer. */
void swim_note_lag(struct swim *swim, uint64_t now_ms);
void swim_settle(struct swim *swim, uint64_t now_ms); /* sets due_ms */

/* swim_probe.c */
void probe_add(struct swim *swim, const struct mesh_member *member); /* a newcomer */
/* So long its answer to a ping may take. */
uint32_t probe_timeout_ms(const struct swim *swim, const struct mesh_member *member);
void probe_now(struct swim *swim, uint64_t now_ms);
void probe_on_ack(struct swim *swim, const struct mesh_member *sender, uint32_t number,
                  uint64_t now_ms);
void probe_on_nack(struct swim *swim, uint32_t number);
/* False: we sent no such ping there. */
bool probe_on_not_me(struct swim *swim, const struct mesh_addr *from, struct peer_id sender,
                     uint32_t number, uint64_t now_ms);
/* Over TCP. */
void probe_on_reached(struct swim *swim, const struct mesh_member *member, uint64_t now_ms);
/* Somebody suspects `subject`: the witnesses are to look. Returns the number of the question. */
uint32_t probe_ask_confirmers(struct swim *swim, const struct mesh_member *subject,
                              uint64_t now_ms);
void probe_on_confirm(struct swim *swim, const struct mesh_member *asker,
                      const struct wire_datagram *d, uint64_t now_ms);
void probe_check(struct swim *swim, const struct mesh_member *suspect, uint64_t now_ms);
void probe_refused(struct swim *swim, const struct mesh_member *member, uint64_t now_ms);
void probe_look(struct swim *swim, const struct mesh_member *member, uint64_t now_ms); /* now */
/* A ping and no more, for such a reason. False: there is no room for it. */
bool probe_bare(struct swim *swim, const struct mesh_member *member, enum probe_why why,
                uint64_t now_ms);
void probe_suspect(struct swim *swim, const struct mesh_member *member, uint64_t now_ms);
void probe_blame_us(struct swim *swim, uint32_t more); /* our own health is worse */
void probe_push_deadlines(struct swim *swim, uint64_t lag_ms);
uint64_t probe_deadline_ms(const struct swim *swim); /* of suspicions, too */
void relay_on_ping_req(struct swim *swim, const struct mesh_member *asker,
                       const struct wire_datagram *d, uint64_t now_ms);
void relays_now(struct swim *swim, uint64_t now_ms);
uint64_t relays_deadline_ms(const struct swim *swim);

/* swim_suspect.c */
/* False: it was wrong too often. */
bool suspicion_may_vote(struct swim *swim, struct peer_id accuser, uint64_t now_ms);
void suspicion_begin(struct swim *swim, const struct mesh_member *member, struct peer_id accuser,
                     uint64_t now_ms);
/* True: this accuser is new, and counts. */
bool suspicion_confirm(struct swim *swim, const struct mesh_member *member, struct peer_id accuser,
                       uint64_t now_ms);
/* Others say that it is dead. Is that too early for us: was it not suspected here for as long as
 * the shortest suspicion lasts, so that it could have refuted? */
bool suspicion_doubts_death(struct swim *swim, const struct mesh_member *member,
                            const struct wire_update *news, uint64_t now_ms);
void suspicion_told_dead(struct swim *swim, const struct mesh_member *member,
                         struct peer_id accuser, uint64_t now_ms);
/* It lives: who accused it was wrong. */
void suspicion_refuted(struct swim *swim, const struct mesh_member *member, uint64_t now_ms);
/* It is dead, or has left: whoever said so. */
void suspicion_over(struct swim *swim, const struct mesh_member *member);
/* It was reached, by whatever way: only it can refute, but its suspicion begins anew. */
void suspicion_on_life(struct swim *swim, const struct mesh_member *member, uint64_t now_ms);
/* A witness that we asked under this number reached its subject. */
void suspicion_on_witness(struct swim *swim, struct peer_id witness, uint32_t number,
                          uint64_t now_ms);
/* Its port refused, and a ping sent afterwards was not answered. */
void suspicion_on_refused(struct swim *swim, const struct mesh_member *member, uint64_t now_ms);
void suspicions_now(struct swim *swim, uint64_t now_ms);
void suspicions_on_lag(struct swim *swim, uint64_t lag_ms);
void suspicions_deinit(struct swim *swim);
void check_wish(struct swim *swim, const struct mesh_member *member); /* over TCP, if we do that */

/* swim_hearsay.c */
enum hearsay hearsay_kind(const struct swim *swim, const struct wire_update *news);
/* True: it is held back, and asked about. */
bool hearsay_holds(struct swim *swim, enum hearsay kind, struct peer_id teller,
                   const struct wire_update *news, bool is_quiet, uint64_t now_ms);
/* True: it answers a question of these. */
bool hearsay_on_ack(struct swim *swim, const struct mesh_member *sender,
                    const struct mesh_addr *from, uint32_t number, uint64_t now_ms);
/* Likewise, from somebody we do not know: it is known then, if it can be. */
bool hearsay_on_stranger(struct swim *swim, const struct wire_datagram *d, uint64_t sender_nonce,
                         uint64_t now_ms);
void hearsay_now(struct swim *swim, uint64_t now_ms);
void hearsay_on_lag(struct swim *swim, uint64_t lag_ms);
uint64_t hearsay_deadline_ms(const struct swim *swim);

/* swim_identity.c */
enum proof {
    PROOF_NEEDLESS, /* others may say so */
    PROOF_GOOD,     /* its subject said so */
    PROOF_WRONG     /* others may not, or our mesh proves nothing and theirs does */
};
enum proof identity_of(const struct swim *swim, const struct wire_update *news);
void identity_now(struct swim *swim); /* proves what we say, if that changed */

/* swim_edges.c */
/* It left a ping unanswered: is it hardly heard? */
void weak_look(struct swim *swim, const struct mesh_member *member, uint64_t now_ms);
void weak_on_ping(struct swim *swim, const struct probe *probe, bool is_answered, uint64_t now_ms);
void weak_on_told(struct swim *swim, const struct mesh_member *observer, uint64_t now_ms);
/* We learned that we were declared dead; the caller tells our flags. */
void weak_on_death(struct swim *swim, uint64_t now_ms);
void weak_now(struct swim *swim, uint64_t now_ms);

/* swim_join.c */
void join_on_hello(struct swim *swim, const struct mesh_addr *from, const struct wire_datagram *d,
                   uint64_t sender_nonce, uint64_t now_ms);
void join_on_welcome(struct swim *swim, const struct mesh_addr *from, const struct wire_datagram *d,
                     uint64_t sender_nonce, uint64_t now_ms);
bool join_introduces(const struct swim *swim); /* do we, to whom we know? */
/* Is it a HELLO to a process that was met already, with the sender's own record, or the answer? */
bool join_is_introduction(const struct wire_datagram *d);
/* From one whom we do not know: it is known then, if it can be. */
void join_on_introduction(struct swim *swim, const struct mesh_addr *from,
                          const struct wire_datagram *d, uint64_t sender_nonce, uint64_t now_ms);
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
