/* net.h - the made-up wires: datagrams per directed pair of seats, and ordered byte streams with
 * dial, refusal, reset, FIN, half-open ends and a bounded send buffer. What travels is bytes; a
 * wire opens nothing. Who is cut off, and how lossy it is, comes from world.h and faults.h. */
#ifndef SIM_NET_H
#define SIM_NET_H

#include "sim/world.h"

/* A directed pair of seats. */
struct path {
    uint32_t base_us, jitter_us;
    uint32_t cuts; /* how many faults cut it now */
    uint64_t bad_until_us, slow_until_us;
};

struct packet {
    uint32_t from_seat; /* the path it takes */
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

struct stream {
    struct stream_end end[2]; /* 0 dialled */
    struct flow flow[2];
    struct mesh_addr to;
    uint64_t dial_until_us;
    uint32_t buffer_bytes;
    bool is_up, is_accepted;
};

struct net {
    struct shuffle chance;
    struct path *paths; /* [from * WORLD_SEATS_MAX + to] */
    struct stream *streams;
    uint32_t streams_count, streams_capacity;
    uint64_t datagrams, datagram_bytes, segments, dials;
};

int net_new(struct world *world);
void net_free(struct world *world);
struct path *net_path(struct world *world, uint32_t from, uint32_t to);
bool net_is_cut(struct world *world, uint32_t from, uint32_t to);
uint64_t net_delay(struct world *world, uint32_t from, uint32_t to); /* us, drawn */
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
/* Resets one stream that is up, by chance. False: there is none. */
bool net_reset_any(struct world *world);

#endif
