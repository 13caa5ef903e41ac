/* swim.h - membership: who is alive, how one becomes a member and how one leaves (SWIM, Das et al.
 * 2002, with the suspicion and health rules of Lifeguard, Dadgar et al. 2017). Facts go in
 * (datagrams, messages of links, the time), sends, wishes and events come out and are drained once
 * a turn; then swim_deadline_ms(). It owns the view and the gossip queue. Sealing, replay windows,
 * limits on answers to strangers, dialling and the links themselves are the caller's.
 *
 * Way in: HELLO to a contact, WELCOME back; our generation is fixed; views are exchanged over a
 * link to who answered; then we are a member and say so. Nothing here draws randomness but from
 * the generator given, or reads a clock. */
#ifndef MESH_SWIM_H
#define MESH_SWIM_H

#include "mesh/base/rng.h"
#include "mesh/member/gossip.h"
#include "mesh/member/view.h"

#define SWIM_HELLO_BYTES 192 /* of plain text; no WELCOME is longer */
#define SWIM_CONTACTS_MAX 64 /* addresses given to swim_join(); further ones replace old ones */
#define SWIM_SENDS_MAX 512   /* datagrams waiting to be drained; further ones are dropped */
/* Answers a second to those whose generation we do not know; for who opens datagrams to keep. Each
 * costs a few microseconds and is no longer than its question; 100 made a thousand that join at one
 * seed wait for 16 s. */
#define SWIM_STRANGERS_PER_S 1000
#define SWIM_ALONE_MS 2000 /* no contact answered for so long: we work alone and go on asking */
#define SWIM_MINT_MS 2000  /* after joining, before our sessions' ids are known to be known */

struct swim;
struct identity;

/* What hashicorp/memberlist does otherwise than the product, for a control that is to behave as it
 * does. Not among them, so the same under every preset: identity (generations), the priority of
 * classes in the gossip queue, and that views are exchanged by the buckets that differ. */
struct swim_memberlist {
    bool has_nacks, has_buddies; /* Lifeguard's: its own awareness is awareness_max */
    bool has_fallback;           /* beside the relays the target is asked over TCP */
    uint32_t sends_per_digit;    /* an update is sent so often per decimal digit of N + 1 */
    uint32_t sync_ms;            /* between exchanges of views, at N <= 32; none by a difference */
    uint32_t dead_ms; /* gossip goes to the lately dead, too; else nobody asks for them */
};

/* The constants of detection, to be swapped as a whole: for the product, and as a control. */
struct swim_preset {
    uint32_t period_ms;                /* between probes of members drawn by chance */
    uint32_t ping_min_ms, ping_max_ms; /* bounds of SRTT + 4 RTTVAR (RFC 6298) */
    uint32_t relays;                   /* asked to ping for us */
    uint32_t suspicion_ms;             /* min = this * alpha * max(1, log10 N) */
    uint32_t alpha, beta;              /* max = beta * min; alpha - 2 confirmations reach min */
    uint32_t awareness_max;            /* of our own health, 0: perfect */
    uint32_t gossip_ms, gossip_peers;  /* extra datagrams, only while something waits */
    /* What SWIM with Lifeguard has not (DESIGN §9); each is off if zero. */
    uint32_t monitor_ms;  /* each is probed so often by its fixed monitor */
    uint32_t indirect_ms; /* relays have so long; off: the rest of period_ms */
    bool is_flat;         /* min = suspicion_ms * alpha, however many there are */
    uint32_t confirmers;  /* witnesses asked to look at once; so many confirmations reach min */
    uint32_t hearsay_ms;  /* a suspicion without a failed probe of our own runs so much longer */
    uint32_t check_ms;    /* a check over TCP has so long, beside the end of a suspicion */
    bool guards;          /* isolation guard and brake stretch suspicions */
    bool doubts_deaths; /* one told by others is believed once a suspicion ran its shortest here */
    bool asks_first; /* a farewell, or a newer generation, told by others is believed once asked */
    bool limits_accusers;  /* who was refuted often has no vote for a while */
    uint32_t hold_ms;      /* declared dead twice in five minutes: so long off the ring at first */
    uint32_t weak_hold_ms; /* several hardly hear us: so long off the ring, each time they say so */
    uint32_t farewells;    /* members told directly that we leave */
    const struct swim_memberlist *memberlist; /* NULL: the product's ways */
};
extern const struct swim_preset swim_preset_product;
extern const struct swim_preset swim_preset_memberlist_lan; /* its documented defaults */
/* The two that the paper on Lifeguard compares (alpha 5; beta 1 and 6), on the same timing. */
extern const struct swim_preset swim_preset_swim, swim_preset_lifeguard;

struct swim_config {
    struct mesh_record self; /* name, nonce (not 0), addr, zone, weight, flags */
    uint64_t boot_ms;        /* wall clock now: lower bound of our generation */
    bool has_contacts;       /* swim_join() will be called */
    uint32_t members_max, contacts_max, name_wait_ms;
    const struct swim_preset *preset; /* kept; NULL: the product's */
    const struct identity *identity;  /* kept; NULL: members prove nothing */
    struct shuffle chance;
    struct records *records; /* shared with others, kept by who gives it; NULL: our own */
};

/* A datagram to be written with swim_write_send(), sealed and sent. */
struct swim_send {
    struct peer_id to;     /* nobody: a bare address, a stranger */
    struct mesh_addr addr; /* where */
    bool is_full;          /* may be filled with gossip: `to` lives at addr by its own record */
    enum datagram_kind kind;
    uint32_t number;
    uint64_t target_name, target_nonce;
    struct peer_id subject, tell; /* tell: whose state is told first; nobody: none */
    struct mesh_addr subject_addr;
    bool with_others;             /* ACK to a joiner: and of a few members by chance */
    char name[MESH_NAME_MAX + 1]; /* WELCOME: the name asked about */
};

/* Is this member reached over TCP? Answer with swim_on_reached(): at once, if a link to that very
 * generation had a round trip within the last second; else when one that stands was pinged, or one
 * was dialled and has proved who answers. No answer within swim_preset.check_ms counts as a no. */
struct swim_check {
    struct peer_id peer;
    struct mesh_addr addr;
};

/* Exchange views with this peer: over the link to it, or dial addr. On a ready link:
 * swim_exchange_begin(). A wish is not repeated within a second. */
struct swim_wish {
    struct peer_id with;
    struct mesh_addr addr;
};

enum swim_event_kind {
    SWIM_JOINED,       /* we are a member, perhaps the only one */
    SWIM_NAME_WAITING, /* `peer` lives under our name: unannounced until it is gone */
    SWIM_NAME_TAKEN,   /* name_wait_ms is over: nothing more will come */
    SWIM_SUPERSEDED,   /* `peer` is a newer generation of our name: nothing more will come */
    SWIM_LEFT          /* swim_leave() is done */
};
struct swim_event {
    enum swim_event_kind kind;
    struct peer_id peer;
};

struct swim_stats {
    uint64_t suspected, declared_dead;      /* by our own probes and timers */
    uint64_t refuted;                       /* claims about ourselves */
    uint64_t deaths_refuted;                /* of them: that we are dead */
    uint64_t hearsay_asked, hearsay_denied; /* news of others that they were asked about, and not */
    uint64_t vetoed;        /* suspicions begun anew: somebody reached the suspect */
    uint64_t votes_ignored; /* of those who were wrong too often */
    uint64_t held;          /* how often we went on hold */
    uint64_t stale;         /* datagrams for another generation or target than us */
    uint64_t strange;       /* from members we do not know: their news is ignored */
    uint64_t news_refused;  /* updates that can not be */
    uint64_t unproved;      /* updates without a proof where there are identities, or with one */
    uint64_t sends_dropped, lags;
};

/* 0, -ENOMEM or -EINVAL. */
int swim_new(struct swim **swimp, const struct swim_config *config, uint64_t now_ms);
void swim_free(struct swim *swim); /* NULL is fine */

/* ---- wishes of the host --------------------------------------------------------------------- */

/* An address to ask. Our own is noted and not asked. Call it again whenever names were resolved
 * anew. */
void swim_join(struct swim *swim, const struct mesh_addr *contact, uint64_t now_ms);
void swim_leave(struct swim *swim, uint64_t now_ms);
/* Whether we are on hold (DESIGN §9) is decided here. */
void swim_set_flags(struct swim *swim, bool serving, bool draining, uint64_t now_ms);
/* The cluster's keys that we accept, the one that seals first; at most MESH_KEYS_SAID_MAX. */
void swim_set_keys(struct swim *swim, const uint32_t *ids, uint8_t count, uint64_t now_ms);
void swim_set_load(struct swim *swim, uint32_t sessions);

/* We carry on this shard of a gone peer (claims.h), and say so until swim_unclaim(). 0, -EEXIST,
 * -ENOSPC, -ENOMEM; -EAGAIN: we are not announced yet. */
int swim_claim(struct swim *swim, uint64_t shard, uint64_t now_ms);
void swim_unclaim(struct swim *swim, uint64_t shard);
bool swim_claimant(const struct swim *swim, uint64_t shard, struct peer_id *owner, uint64_t now_ms);

/* ---- facts ---------------------------------------------------------------------------------- */

/* The member that a datagram is from, if it is known in that generation. One whose view is ours
 * leaves its generation out: eight bytes less in each ping. */
const struct mesh_member *swim_sender(const struct swim *swim, const struct wire_datagram *d,
                                      uint64_t sender_nonce);
/* Opened and authentic: `d->sender.name` and `sender_nonce` are whose key material sealed it. */
void swim_on_datagram(struct swim *swim, const struct mesh_addr *from,
                      const struct wire_datagram *d, uint64_t sender_nonce, uint64_t now_ms);
/* The first message of an exchange with the peer at the other end of a link: BUCKETS_ARE. */
void swim_exchange_begin(struct swim *swim, struct peer_id with, struct wire_message *m);
/* BUCKETS_ARE or VIEW from the peer at the other end. */
void swim_on_link_message(struct swim *swim, struct peer_id from, const struct wire_message *m,
                          uint64_t now_ms);
/* Answers a struct swim_check; a yes may be told unasked, whenever a link proves who is at its
 * other end. It vetoes a death; a no never proves one. */
void swim_on_reached(struct swim *swim, struct peer_id peer, bool reached, uint64_t now_ms);
/* A dial of the member's port was refused, whoever wanted it. Counts if it answers no ping either.
 */
void swim_on_refused(struct swim *swim, struct peer_id peer, uint64_t now_ms);
/* Pings the member once, for who has to know now whether it answers: see swim_last_ack_ms(). Nobody
 * is accused if it does not. False: it cannot be pinged now. */
bool swim_look_at(struct swim *swim, struct peer_id peer, uint64_t now_ms);
/* Time went on. Any fact or wish that comes more than 250 ms after the deadline means that we stood
 * still: nobody is blamed for our own delay. */
void swim_now(struct swim *swim, uint64_t now_ms);
uint64_t swim_deadline_ms(const struct swim *swim);
/* For the controls: what is sent blocks from now on, or no more. Memberlist's threads for probes
 * and for gossip then wait in their first send, and its timers run. No effect on the product,
 * which never waits in a send. Time as it is must follow by swim_now(). */
void swim_stall(struct swim *swim, bool is_stalled);

/* ---- what comes out: drain all five after the facts of a turn ------------------------------- */

bool swim_next_send(struct swim *swim, struct swim_send *send);
/* Writes the whole datagram, gossip included. 0; -ENODATA: there is nothing to say after all;
 * -ENOSPC: `room` is too small. Up to WIRE_PLAIN_MAX bytes of `into` are filled, w->length tells.
 */
int swim_write_send(struct swim *swim, const struct swim_send *send, struct wire_writer *w,
                    void *into, size_t room);
/* VIEW messages for the link to `to`; drop them if there is none. `records`: WIRE_RECORDS_MAX of
 * the caller's, which m borrows. */
bool swim_next_link_message(struct swim *swim, struct peer_id *to, struct wire_message *m,
                            struct wire_update *records);
bool swim_next_wish(struct swim *swim, struct swim_wish *wish);
bool swim_next_check(struct swim *swim, struct swim_check *check);
bool swim_next_event(struct swim *swim, struct swim_event *event);

/* ---- questions ------------------------------------------------------------------------------ */

/* For lookups, and for view_next_change(), which is the host's to drain. */
struct view *swim_view(struct swim *swim);
bool swim_is_announced(const struct swim *swim); /* our generation is fixed */
bool swim_is_joined(const struct swim *swim);    /* a member, and not leaving */
bool swim_has_left(const struct swim *swim);
/* May sessions be minted here: is our generation known to those whom a client may ask next? Three
 * members whom we did not tell ourselves showed our own view hash, or all of them, if fewer; or
 * SWIM_MINT_MS after joining (DESIGN §4). Once true it stays true until we leave. */
bool swim_may_mint(struct swim *swim, uint64_t now_ms);
/* When the last direct ping of ours was answered by this member; 0: never. */
uint64_t swim_last_ack_ms(const struct swim *swim, struct peer_id id);
uint32_t swim_awareness(const struct swim *swim);
void swim_stats(const struct swim *swim, struct swim_stats *stats);
/* Asked of malloc(), the view and its records (unless they are shared) included. */
size_t swim_bytes(const struct swim *swim);

#endif
