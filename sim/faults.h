/* faults.h - what goes wrong in a world: which classes of fault are on for a seed, when and to
 * whom each fault happens (all drawn from the seed before the run), and how often each hit. The
 * classes are those of reliability.md §1 as far as they can be told from outside of a peer. */
#ifndef SIM_FAULTS_H
#define SIM_FAULTS_H

#include <stdbool.h>
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
    FAULT_CLASSES
};
#define FAULTS_ALL ((UINT64_C(1) << FAULT_CLASSES) - 1)

struct world;
struct world_event;
struct mesh_config;

struct fault {
    enum fault_class class;
    uint32_t seat, other; /* SPLIT: seat is the first of the one side, other how many */
    uint64_t at_us, until_us;
    uint32_t serial;
    bool is_on;
};

struct faults {
    uint64_t on; /* the classes of this seed */
    struct fault *plan;
    uint32_t count, capacity;
    uint64_t hits[FAULT_CLASSES];
    uint32_t loss_ppm, duplicate_ppm, reorder_ppm, corrupt_ppm, replay_ppm;
};

const char *fault_name(enum fault_class class);
/* "all", "none" or a list like "loss,crash"; false: an unknown name. */
bool faults_parse(const char *text, uint64_t *mask);

int faults_new(struct world *world);
void faults_free(struct world *world);
void faults_event(struct world *world, const struct world_event *event);
/* Ends the chaos phase: wires whole, everybody started, nobody stopped. */
void faults_calm(struct world *world);
static inline bool fault_is_on(const struct faults *faults, enum fault_class class)
{
    return (faults->on >> class & 1) != 0;
}

#endif
