/* net.h - the made-up wires: datagrams per directed pair of seats, and ordered byte streams with
 * dial, refusal, reset, FIN, half-open ends and a bounded send buffer. What travels is bytes; a
 * wire opens nothing. Who is cut off, and how lossy it is, comes from world.h and faults.h. */
#ifndef SIM_NET_H
#define SIM_NET_H

#include "sim/world.h"

/* Gilbert and Elliott: a path that is good for a while and then bad for a while, both drawn around
 * these means. bad_ms 0: it has no bursts. */
struct bursts {
    uint32_t good_ms, bad_ms, bad_ppm; /* loss while it is bad */
    uint32_t turns;                    /* changes so far */
    bool is_bad;
    uint64_t until_us; /* of the state it is in */
};

/* A directed pair of seats. What a verb below set to 0 is not there. */
struct path {
    uint32_t base_us, jitter_us;
    uint32_t cuts;      /* how many faults cut it now */
    uint64_t healed_us; /* when the last of them ended */
    uint32_t sent;      /* draws so far: what chance does to one packet depends on nothing else */
    uint64_t bad_until_us, slow_until_us, clogged_until_us;
    uint32_t loss_ppm, more_us, gossip_more_us, mtu_bytes;
    uint32_t rate_kbs, queue_bytes; /* kB a second, and what waits for it at most */
    uint64_t queue_empty_us;
    struct bursts bursts;
};

struct packet {
    uint32_t from_seat; /* the path it takes */
    uint32_t serial;    /* its copies have the same; 0: changed on its way */
    struct mesh_addr from, to;
    uint32_t length;
    uint8_t data[];
};

struct segment {
    struct segment *next;
    uint32_t length;
    bool is_fin;
    uint8_t data[];
};

/* One direction of a stream, from the end of its index. */
struct flow {
    struct segment *first, *last; /* accepted by the sender's kernel or waiting for it, in order */
    struct segment *next;         /* the first one that has not left */
    uint64_t written, taken, delivered, acked, announced;
    uint64_t arrival_us,
        stalled_us; /* the last arrival; since when the path is cut; 0: it is not */
    bool fin_written, deliver_waits, ack_waits;
};

struct stream_end {
    uint32_t seat, life, address;
    struct handle handle;
    bool is_bound; /* the process has it open */
};

enum net_break {
    BREAK_RESET,     /* both ends learn of a reset; what is under way is lost */
    BREAK_MID_FRAME, /* of the next write half arrives, then the reset */
    BREAK_EARLY_FIN, /* of the next write half arrives, then FIN; its writer is reset */
    BREAK_HALF_OPEN  /* nothing arrives any more, and nobody is told */
};

struct stream {
    struct stream_end end[2]; /* 0 dialled */
    struct flow flow[2];
    struct mesh_addr to;
    uint64_t dial_until_us;
    uint32_t buffer_bytes;
    bool is_up, is_accepted;
    bool is_black; /* half open: see BREAK_HALF_OPEN */
    bool has_trap; /* the next write breaks it: trap says how */
    enum net_break trap;
    bool is_cut_short; /* what is written from now on goes nowhere */
};

/* A packet of old, to come again. */
struct kept_packet {
    struct packet *packet;
    uint64_t sent_us;
    uint32_t from_life, to_seat;
};

struct net {
    struct shuffle chance, luck;
    struct path *paths; /* [from * seats_max + to] */
    struct kept_packet *kept;
    uint32_t kept_count;
    uint64_t kept_of; /* packets among which they were drawn */
    bool keeps;       /* packets, for net_replay() */
    struct stream *streams;
    uint32_t streams_count, streams_capacity, packets;
    uint64_t datagrams, datagram_bytes, segments, dials;
};

int net_new(struct world *world);
void net_free(struct world *world);
struct path *net_path(struct world *world, uint32_t from, uint32_t to);
bool net_is_cut(struct world *world, uint32_t from, uint32_t to);
/* us until so many bytes that are sent now arrive; drawn. */
uint64_t net_delay(struct world *world, uint32_t from, uint32_t to, uint32_t bytes);
/* us that so many bytes take through the narrowest place of the path. */
uint64_t net_serial(struct world *world, uint32_t from, uint32_t to, uint32_t bytes);
/* Whether what is sent now gets lost. */
bool net_loses(struct world *world, uint32_t from, uint32_t to);
/* DATAGRAM, LINK_DIAL, LINK_BYTES or LINK_CLOSE of that seat's peer. */
void net_effect(struct world *world, struct seat *seat, const struct mesh_effect *effect);
/* After the last effect of a turn: tells the core what its kernel took. True: it told something. */
bool net_settle(struct world *world, struct seat *seat);
void net_event(struct world *world, const struct world_event *event);
void net_drop(struct world_event *event); /* frees what the event carries */
/* A process died: what its kernel sends, or does not. Call before the seat's life is counted on. */
void net_died(struct world *world, struct seat *seat, enum world_death how);
/* Which seat's process this event comes to; NOBODY: none. */
uint32_t net_event_seat(const struct world *world, const struct world_event *event);

/* ---- verbs: what is wrong with a directed path from now on; 0 ends it ------------------------ */
void net_set_loss(struct world *world, uint32_t from, uint32_t to, uint32_t ppm);
void net_set_bursts(struct world *world, uint32_t from, uint32_t to, uint32_t good_ms,
                    uint32_t bad_ms, uint32_t bad_ppm);
void net_set_delay(struct world *world, uint32_t from, uint32_t to, uint32_t more_us);
void net_set_gossip_delay(struct world *world, uint32_t from, uint32_t to, uint32_t more_us);
/* kB a second; datagrams that find more than queue_bytes waiting are dropped, streams wait. */
void net_set_rate(struct world *world, uint32_t from, uint32_t to, uint32_t kbs,
                  uint32_t queue_bytes);
/* Datagrams that are longer, with 28 B of IP and UDP, are dropped in silence. */
void net_set_mtu(struct world *world, uint32_t from, uint32_t to, uint32_t bytes);
/* What is sent waits on the way, in order, until that time of the world (0: no longer). */
void net_clog(struct world *world, uint32_t from, uint32_t to, uint64_t until_us);
/* Sends up to `count` kept datagrams again, each of an earlier life of its sender or at least
 * least_age_ms old, to where the peer lives now that they were for. How many there were. Packets
 * are kept once net->keeps is set. */
uint32_t net_replay(struct world *world, uint32_t count, uint32_t least_age_ms);
/* Breaks one stream that is up, by chance. False: there is none. */
bool net_break_any(struct world *world, enum net_break how);
/* Resets the streams that others dialled to this seat. */
void net_reset_accepted(struct world *world, uint32_t seat);
/* Streams that were to break stay whole, and half-open ones are reset. */
void net_calm(struct world *world);

#endif
