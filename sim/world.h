/* world.h - a made-up world in virtual time: seats in which peers live, die and live again, one
 * clock, one heap of events. Facts are fed to a peer's mesh core as a host would feed them, and
 * its effects are carried out by net.c (wires), client.c (replies) and upstream.c (calls).
 * faults.c decides what goes wrong, check.c what must hold.
 *
 * Stories drive it by name: world_new() with no faults and no load, world_run() to a virtual
 * time, world_cut(), world_crash(), client_ask() and the fields of what came of it. Everything
 * that is random comes from the seed; equal seeds give equal runs and equal world->trace. */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include <stdio.h>

#include "mesh/base/rng.h"
#include "mesh/mesh.h"
#include "sim/keyfile.h"
#include "sim/faults.h"

#define WORLD_NODES_MAX 200
#define WORLD_SPARE_SEATS 32 /* for twins and peers of another cluster */
#define WORLD_SEATS_MAX (WORLD_NODES_MAX + WORLD_SPARE_SEATS)
#define WORLD_DRAWS 2 /* how a seed is read by default */
#define WORLD_NOBODY UINT32_MAX
#define WORLD_MS 1000u /* in microseconds, the unit of the world's clock */
#define WORLD_SECOND 1000000u
#define WORLD_LABEL "sim"   /* of our cluster */
#define WORLD_KEY_BYTE 0x5a /* the key of a world that has one is made of it */

struct checks;
struct members;
struct clients;
struct modern;
struct net;
struct skew;
struct malice;
struct sse;
struct stage;
struct upstreams;
struct watch;

struct world_config {
    uint64_t seed;
    uint32_t nodes;
    uint32_t chaos_ms, calm_ms;       /* load runs through both, faults through the first */
    uint32_t calm_from_ms;            /* chaos ends as early as that; 0: when chaos_ms is over */
    uint64_t faults;                  /* bit n: fault class n of faults.h may be on */
    bool load;                        /* simulated clients and what they provoke; stories: none */
    bool steady;                      /* stories: every delay is 1 ms, turns and timers are exact */
    enum mesh_upstream_kind upstream; /* --rebalance idle, of all peers */
    bool trace;                       /* print every effect */
    bool legacy_only;                 /* neither sse.c's clients nor modern.c's: old seeds */
    bool no_copies;                   /* a session ends with its owner */
    bool rebalances;                  /* stories; under load the seed draws it */
    bool identities;                  /* each peer has a key of its own, by its name */
    /* How the seed is read: 1: as when there were the faults up to BOGUS only, and 2 to 20 peers;
     * 2 (or 0): all faults, 2 to 64 peers, load that does not grow without end. */
    uint32_t draws;
    const uint32_t *only; /* numbers of the plan's faults that happen, only_count; NULL: all */
    uint32_t only_count;
};

/* What waits in the heap. Each kind belongs to the module of its name. */
enum world_event_kind {
    EVENT_WAKE, /* a: serial */
    EVENT_DRAIN,
    EVENT_SERVING,  /* a: 0 or 1, or 2: as it is with the server beside it */
    EVENT_KEY_FILE, /* a: seat; b: step of keyfile.h */
    EVENT_KEYS,     /* it reads its key file again */
    EVENT_USE_KEY,  /* a: number of the key that its admin wants to be used */
    EVENT_JOIN,
    EVENT_START,     /* a seat's next life; a: serial of the plan */
    NET_PACKET,      /* p: the packet */
    NET_SYN,         /* a: stream */
    NET_SYN_ACK,     /* a: stream */
    NET_ACCEPT,      /* a: stream */
    NET_DIAL_FAILED, /* a: stream; b: enum mesh_loss */
    NET_DELIVER,     /* a: stream; b: direction */
    NET_ACK,         /* a: stream; b: direction of the data */
    NET_TAKEN,       /* a: stream; b: end */
    NET_RESET,       /* a: stream; b: end that learns of it */
    CLIENT_TICK,     /* a: client */
    CLIENT_OPEN,     /* a: request */
    CLIENT_VANISH,   /* a: request */
    CLIENT_TAKEN,    /* a: request; b: bytes */
    CLIENT_MODERN,   /* a: client of modern.c */
    CLIENT_SSE,      /* a: client of sse.c */
    UPSTREAM_READY,  /* a: upstream */
    UPSTREAM_STEP,   /* a: call */
    UPSTREAM_LISTEN, /* a: call */
    UPSTREAM_NOTE,   /* a: upstream */
    UPSTREAM_CLOSED, /* a: upstream */
    FAULT_BEGIN,     /* a: fault */
    FAULT_END,       /* a: fault */
    CHECK_VIEWS,
    CHECK_RINGS,
    CHECK_REQUEST, /* a: request */
    CHECK_LISTEN,  /* a: request */
    CHECK_LEFT,    /* a: request */
    CHECK_SSE,     /* a: request */
    CHECK_TENURES,
    CHECK_LEAVES /* a: leave */
};

struct world_event {
    uint64_t at_us, seq; /* the order of equal times is the order of their making */
    enum world_event_kind kind;
    uint32_t seat, life; /* of the process it concerns, or NOBODY: it dies with that life */
    uint32_t a, b;
    void *p;
    bool is_admitted; /* had its turn in the queue of a starved process */
};

/* What a handle of the core stands for in this host, by slot. */
struct slot_map {
    struct slot_entry {
        uint32_t generation; /* 0: free */
        uint32_t index;
        uint32_t newest; /* generation given out so far */
        bool is_untold;  /* a link: see seat.has_untold */
    } * slots;
    uint32_t count;
};

/* What a peer's host finds when it looks for the mesh. */
enum world_dns {
    DNS_RIGHT, /* some of the others */
    DNS_EMPTY,
    DNS_STALE, /* addresses where nobody of ours lives any more */
    DNS_LYING  /* peers of another cluster, if there are any; or as STALE */
};

/* A place for one peer at a time. Its name stays, its address may change between lives. */
struct seat {
    uint32_t index, life; /* how many processes have lived here */
    uint32_t name;        /* number in the peer's name; a twin has its elder's */
    uint32_t address;     /* see world_addr() */
    struct mesh *mesh;    /* NULL: no process runs */
    bool host_down;       /* power is off: not even a reset comes back */
    bool leaving, served, exited;
    enum mesh_change exit_reason; /* exited: NAME_TAKEN, SUPERSEDED_BY or LEFT_MESH */
    bool waits_for_name, is_announced;
    struct key_file key_file;
    uint64_t clock_us;        /* the process's clock is the world's plus this */
    uint64_t paused_until_us; /* stopped: what comes waits until then */
    uint64_t turn_us;         /* slow: so long from a fact to the drain of its effects */
    uint64_t service_us;      /* starved: so much of a core for each fact; they queue */
    uint64_t busy_until_us;
    uint64_t lies_until_us;       /* see malice.h */
    uint64_t io_stalled_until_us; /* wires stand still both ways, timers run */
    uint64_t held_us;             /* when what came began to wait, for either, the last time */
    int64_t wall_ms;              /* of the next start: the wall clock is so much wrong */
    enum world_dns dns;
    bool has_untold;   /* links of which the kernel took bytes, and the core was not told */
    bool is_foreign;   /* a peer of another cluster */
    bool has_no_files; /* no descriptors left: no dial, no accept */
    uint64_t files_back_us;
    bool rejects; /* a firewall refuses whoever dials it; datagrams pass */
    bool drain_waits;
    const char *place; /* where it is to die, of mesh/base/failpoint.h; NULL: nowhere */
    bool is_at_place;
    uint64_t wake_us;
    uint32_t wake_serial, idle_wakes, start_serial;
    uint64_t started_us, joined_us;
    uint64_t disturbed_us; /* the last fault that this peer can have felt, */
    uint64_t harmed_us;    /* and the last that was not one of a path to another */
    uint64_t heard;        /* of its core's heard_count: looked at */
    struct slot_map exchanges, ups, links;
};

/* A process that lived: who it was, and what it said of itself last. */
struct life {
    uint32_t seat, life;
    struct peer_id id;
    uint64_t nonce, version;
    uint32_t incarnation;
    bool is_foreign, was_leaving;
    uint64_t ended_us; /* 0: lives */
};

struct world {
    struct world_config config;
    uint64_t now_us, seq, calm_from_us, end_us;
    uint64_t quiet_us; /* from then on nothing is or was wrong lately */
    struct world_event *heap;
    size_t heap_count, heap_capacity;
    struct shuffle chance; /* of lives and their order; the modules have their own */
    struct seat seats[WORLD_SEATS_MAX];
    uint32_t seats_count, seats_max;
    uint32_t load_nodes; /* the load is that of so many peers */
    uint32_t hampered;   /* seats that are starved, or whose wires stood still once */
    /* Of a large world: in a small one each peer makes its own, so that M4 and M5 compare. */
    struct rings *rings;
    struct records *records; /* mesh/member/records.h */
    struct life *lives;
    uint32_t lives_count, lives_capacity;
    uint32_t addresses_count; /* given out so far */
    uint32_t old_addresses[4], old_addresses_count;
    bool calm; /* the chaos phase is over */
    enum mesh_upstream_kind upstream;
    bool keyed;
    uint64_t events, effects, turns;
    uint64_t trace; /* fold of every effect (invariant D1) */
    bool failed;
    char failure[512];
    struct net *net;
    struct clients *clients;
    struct modern *modern;
    struct sse *sse;
    struct upstreams *upstreams;
    struct faults *faults;
    struct checks *checks;
    struct members *members;
    struct stage *stage; /* the scenario that is told; NULL: none */
    struct watch *watch;
    struct skew *skew;     /* NULL before the first datagram of a later version */
    struct malice *malice; /* NULL before the first lie */
};

/* ---- life of a world ------------------------------------------------------------------------ */
int world_new(struct world **worldp, const struct world_config *config);
void world_free(struct world *world);
/* Runs all events up to this time of the world, or until an invariant breaks. */
void world_run(struct world *world, uint64_t until_ms);

/* ---- lives of peers ------------------------------------------------------------------------- */
void world_start(struct world *world, uint32_t seat);
enum world_death { DEATH_KILLED, /* kill -9: the kernel closes the sockets */ DEATH_POWER };
void world_crash(struct world *world, uint32_t seat, enum world_death how);
void world_restart(struct world *world, uint32_t seat, bool new_address);
/* It serves whoever still comes for stay_ms. */
void world_leave(struct world *world, uint32_t seat, uint32_t stay_ms, uint32_t within_ms);
void world_pause(struct world *world, uint32_t seat, uint32_t for_ms);
/* A second process under the name of `seat`, on a seat of its own; not yet started. */
uint32_t world_add_twin(struct world *world, uint32_t seat);
/* A peer of another cluster under the name of `seat` and at this address; not yet started. */
uint32_t world_add_foreigner(struct world *world, uint32_t seat, uint32_t address);
/* The next life has this address: another's is shared by both. The process must not run. */
void world_move(struct world *world, uint32_t seat, uint32_t address);
uint32_t world_new_address(struct world *world);
/* Lifeguard's set-up: the process goes on, but nothing is sent or received; both wait. */
void world_stall_io(struct world *world, uint32_t seat, uint32_t for_ms);
void world_starve(struct world *world, uint32_t seat, uint32_t service_us);   /* 0: no longer */
void world_slow(struct world *world, uint32_t seat, uint32_t turn_us);        /* 0: no longer */
void world_set_wall(struct world *world, uint32_t seat, int64_t wrong_by_ms); /* at next start */
void world_set_dns(struct world *world, uint32_t seat, enum world_dns dns);
void world_set_files(struct world *world, uint32_t seat, bool has_none);
/* Dials of it are refused, and what stands is reset; who it dials is reached. */
void world_reject(struct world *world, uint32_t seat, bool on);
void world_cut(struct world *world, uint32_t from, uint32_t to); /* one way; cuts nest */
void world_heal(struct world *world, uint32_t from, uint32_t to);
void world_mute(struct world *world, uint32_t seat, bool on);   /* hears and is not heard; nests */
void world_deafen(struct world *world, uint32_t seat, bool on); /* is heard and hears not; nests */
void world_disturb(struct world *world, uint32_t seat);         /* a fault touches this peer now */
void world_disturb_path(struct world *world, uint32_t from, uint32_t to); /* or only a path */

/* ---- questions ------------------------------------------------------------------------------ */
bool world_runs(const struct world *world, uint32_t seat);
/* It runs, and is one of our cluster. */
bool world_serves(const struct world *world, uint32_t seat);
/* Every running peer's view hash is the same and counts `living` peers as alive. */
bool world_agrees(const struct world *world, uint32_t living);
/* NOBODY: unused. Of several that run there, now the one and then the other. */
uint32_t world_seat_at(const struct world *world, uint32_t address);
uint32_t world_owners(const struct world *world, uint32_t address); /* seats that have it */
/* Which life (index into lives) has this id; NOBODY: none. */
uint32_t world_life_of(struct world *world, struct peer_id id);
/* Reads anew what the living say of themselves. */
void world_lives_note(struct world *world);
bool world_life_runs(const struct world *world, uint32_t life);
void world_addr(struct mesh_addr *addr, uint32_t address);
uint32_t world_address_of(const struct mesh_addr *addr); /* NOBODY: none of ours */

/* ---- for the modules ------------------------------------------------------------------------ */
void world_at(struct world *world, uint64_t at_us, enum world_event_kind kind, uint32_t seat,
              uint32_t a, uint32_t b);
void world_push(struct world *world, const struct world_event *event);
uint64_t world_clock_ms(const struct world *world, const struct seat *seat);
/* Drains a peer's effects after a fact, now or after its turn_us. */
void world_turn(struct world *world, struct seat *seat);
void world_exit(struct world *world, struct seat *seat, enum mesh_change why);
/* The host resolved its seeds, and will again in 10 s. */
void life_join(struct world *world, struct seat *seat);
void world_fold(struct world *world, uint64_t value);
void world_fold_text(struct world *world, const void *text, size_t length);
void world_say(struct world *world, const struct seat *seat, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* False: the slot is in use, or this generation of it was given out before (X1). */
bool slots_put(struct slot_map *map, struct handle handle, uint32_t index);
uint32_t slots_get(const struct slot_map *map, struct handle handle); /* NOBODY: not ours */
void slots_drop(struct slot_map *map, struct handle handle);
void slots_free(struct slot_map *map);

/* ---- chance --------------------------------------------------------------------------------- */
void chance_init(struct shuffle *chance, uint64_t seed, uint64_t purpose);
/* Cheaply: a generator for few draws, of a key that says what they are for. */
void chance_key(struct shuffle *chance, uint64_t seed, uint64_t key);
uint32_t chance_below(struct shuffle *chance, uint32_t limit); /* 0 for 0 */
bool chance_hits(struct shuffle *chance, uint32_t per_million);
uint64_t chance_log(struct shuffle *chance, uint64_t low, uint64_t high); /* log-uniform */
uint64_t chance_spread(struct shuffle *chance, uint64_t mean); /* exponential, in integers */

void *sim_grow(void *array, uint32_t count, uint32_t *capacity, size_t size); /* or abort */
void *sim_zero(size_t size);

#endif
