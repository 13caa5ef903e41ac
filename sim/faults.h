/* faults.h - what goes wrong in a world: which classes of fault are on for a seed, when and to
 * whom each fault happens (all drawn from the seed before the run), and how often each hit. The
 * classes are those of reliability.md §1 as far as they can be told from outside of a peer. */
#ifndef SIM_FAULTS_H
#define SIM_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fault_class {
    /* datagrams and streams, from the draw of a path */
    FAULT_LOSS,  /* uniform; a stream's segment comes a retransmission later */
    FAULT_BURST, /* one directed pair loses most for a while */
    FAULT_DELAY, /* one directed pair is slow for a while */
    FAULT_DUPLICATE,
    FAULT_REORDER,
    FAULT_CORRUPT, /* of datagrams; TCP's checksum is believed */
    FAULT_REPLAY,  /* a datagram comes again, seconds to minutes later */
    FAULT_CUT,     /* one way */
    FAULT_SPLIT,   /* two groups */
    FAULT_ISOLATE, /* one peer, both ways */
    FAULT_RESET,   /* one stream is reset */
    /* lives */
    FAULT_CRASH,
    FAULT_POWER,     /* no reset, streams half open */
    FAULT_READDRESS, /* the restart after a death takes a new address, or another's old one */
    FAULT_LEAVE,
    FAULT_PAUSE,
    FAULT_SLOW, /* a loop that turns late */
    FAULT_TWIN, /* two processes of one name */
    /* upstreams */
    FAULT_UP_DIES,
    FAULT_UP_REFUSES,
    FAULT_UP_HALF, /* half an answer, then it hangs up */
    FAULT_UP_SLOW,
    /* clients */
    FAULT_VANISH,
    FAULT_READER, /* reads slowly */
    FAULT_BOGUS,  /* ids that no peer minted, another's ids, no id, an id twice */
    /* since draws 2 (see world.h); the numbers above are read from old seeds */
    /* wires */
    FAULT_GILBERT,    /* F1: bursts: paths that are good and bad in turn */
    FAULT_ONE_WAY,    /* F2: much is lost, one way */
    FAULT_RATE,       /* F9: a narrow path with a queue */
    FAULT_MTU,        /* long datagrams vanish */
    FAULT_TRUNCATE,   /* F8 */
    FAULT_STALE,      /* F6: packets of earlier lives, and of minutes ago */
    FAULT_ASYMMETRIC, /* F12: one group hears another, which does not hear it */
    FAULT_BRIDGE,     /* F13: two groups see each other only through one peer */
    FAULT_MAJORITIES, /* F13: each sees a majority, each another one */
    FAULT_SWIZZLE,    /* F14: peers clogged one by one, free again in another order */
    FAULT_HALF,       /* F28: hears and cannot send, or the reverse */
    FAULT_HALF_OPEN,  /* F25: streams that nobody is told are dead */
    FAULT_MID_FRAME,  /* F25: a reset within a frame */
    FAULT_EARLY_FIN,  /* F25: FIN before the last frame */
    /* hosts */
    FAULT_STALL,    /* I/O stands still, timers run */
    FAULT_STARVE,   /* F18 */
    FAULT_CLOCK,    /* F19: restarts with a wrong wall clock */
    FAULT_FOREIGN,  /* P7: an address goes to a peer of another cluster */
    FAULT_SHARED,   /* F21: two processes at one address */
    FAULT_MASS,     /* all restart within seconds */
    FAULT_DNS,      /* F24 */
    FAULT_FILES,    /* F23: no descriptors left */
    FAULT_UP_TWICE, /* F26: an upstream answers twice */
    FAULT_UP_HANGS, /* F26: takes requests, and answers late */
    FAULT_OWNER,    /* who owns the session that is used most */
    FAULT_HOLDERS,  /* two who have a record of one session, within 100 ms */
    FAULT_WAKE,     /* who owns a session stands still, for 1 s, 5 s, or longer than it is missed */
    FAULT_UNHEARD,  /* one way, between an owner and who has a copy */
    FAULT_REJECT,   /* a firewall refuses dials, datagrams pass */
    /* in builds with the option `failpoints` alone */
    FAULT_FAILPOINT, /* who has a session dies at a named place */
    /* of a campaign of its own: not among `all` */
    FAULT_ROLLOUT, /* all leave, one after the other */
    /* datagrams again */
    FAULT_SKEW, /* F22: peers of a later version say more than ours knows */
    /* of a campaign of its own, too */
    FAULT_RIVALS, /* of all peers one hears the owner of a session, and is heard too late to object
                     to the next one: it hears both */
    FAULT_MALICE, /* one of them lies about the others */
    FAULT_KEYS,   /* the cluster's key is changed, a file at a time: keyfile.h */
    FAULT_CLASSES
};
#define FAULTS_ALL                                                                                 \
    (((UINT64_C(1) << FAULT_CLASSES) - 1) &                                                        \
     ~(UINT64_C(1) << FAULT_ROLLOUT | UINT64_C(1) << FAULT_RIVALS | UINT64_C(1) << FAULT_MALICE |  \
       UINT64_C(1) << FAULT_KEYS))
#define FAULTS_OF_DRAWS_1 ((UINT64_C(2) << FAULT_BOGUS) - 1)

static inline uint64_t fault_bit(enum fault_class class)
{
    return UINT64_C(1) << class;
}

#ifdef MESH_FAILPOINTS
#define FAULTS_BUILT UINT64_MAX
#else
#define FAULTS_BUILT (~fault_bit(FAULT_FAILPOINT))
#endif
#define PLACES 15u /* those of mesh/base/failpoint.h */

struct seat;
struct world;
struct world_event;
struct mesh_config;

struct fault {
    enum fault_class class;
    uint32_t seat, other; /* SPLIT: seat is the first of the one side, other how many */
    uint64_t at_us, until_us;
    uint64_t salt; /* drawn, for what else there is to choose */
    uint32_t serial, address;
    bool is_planned, is_on;
};

/* The ppm may be set by a scenario at any time. */
struct faults {
    uint64_t on;        /* the classes of this seed */
    struct fault *plan; /* of every class, on or not: a fault's number is its place */
    uint32_t count, capacity;
    uint64_t hits[FAULT_CLASSES];
    uint64_t places[PLACES]; /* how often somebody died there */
    uint32_t loss_ppm, duplicate_ppm, reorder_ppm, corrupt_ppm, replay_ppm, truncate_ppm;
};

const char *fault_name(enum fault_class class);
/* "none" or a list like "loss,crash", "all,keys"; false: an unknown name. */
bool faults_parse(const char *text, uint64_t *mask);

int faults_new(struct world *world);
void faults_free(struct world *world);
void faults_event(struct world *world, const struct world_event *event);
/* Ends the chaos phase: wires whole, everybody started, nobody stopped. */
void faults_calm(struct world *world);
/* The classes that are on, as faults_parse() reads them. */
void faults_print(uint64_t mask, char *text, size_t room);
/* plan.c: draws what happens when and to whom; begins or ends one fault: true if it happened to
 * somebody. */
void plan_draw(struct world *world);
bool plan_do(struct world *world, struct fault *fault, bool begins);
/* plan_sessions.c: the name of a place; a peer has come to the one where it is to die. */
const char *fault_place(uint32_t place);
void failpoint_reached(struct world *world, struct seat *seat);
static inline bool fault_is_on(const struct faults *faults, enum fault_class class)
{
    return (faults->on >> class & 1) != 0;
}

#endif
