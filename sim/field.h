/* field.h - thousands of peers' membership alone (mesh/member/swim.h) in virtual time: what figures
 * over 128 to 5,000 peers are measured in. world.h is the place for whole meshes, clients and
 * checkers; here is no session, no sealing, no trace.
 *
 * Datagrams travel as the bytes the codec makes of them and count 46 B of seal and 28 B of IP and
 * UDP beside; exchanges of views travel as messages of a link that was dialled before. field.c has
 * the clock, the seats and their turns, field_net.c the datagrams, field_link.c the links.
 * Everything that is random comes from the seed: equal seeds, equal runs. */
#ifndef SIM_FIELD_H
#define SIM_FIELD_H

#include "mesh/member/swim.h"

#define FIELD_NOBODY UINT32_MAX
#define FIELD_MS 1000u /* in microseconds, the unit of the field's clock */
#define FIELD_SECOND 1000000u
#define FIELD_SEAL_BYTES WIRE_SEAL_BYTES
#define FIELD_IP_BYTES 28u
#define FIELD_GROUPS_MAX 64

struct field;

/* What a change in somebody's view is told to. `subject`: a seat, NOBODY for a former life of one.
 */
typedef void field_watch(void *context, struct field *field, uint32_t observer, uint32_t subject,
                         const struct view_change *change);

struct field_config {
    uint64_t seed;
    uint32_t seats;                      /* peers at most */
    uint32_t spare;                      /* addresses beyond one a seat, and room in each view */
    const struct swim_preset *preset;    /* NULL: the product's */
    uint32_t delay_min_us, delay_max_us; /* base of a directed pair's delay; 0: a machine room */
    uint32_t strangers_per_s;            /* answers to those unknown; 0: as mesh.c has it */
    /* What a peer's own machine does; 0: nothing takes time. */
    uint32_t datagram_us, message_us, record_us, dial_us; /* of CPU, each received or begun */
    uint32_t bytes_per_s;                                 /* out of it */
    field_watch *watch;                                   /* NULL: nobody looks */
    void *context;
};

/* What has gone out of a peer and come into it: datagrams with seal, IP and UDP; links with the
 * headers of TCP and the seal of records. */
struct field_meter {
    uint64_t datagrams_out, datagrams_in;
    uint64_t bytes_out, bytes_in;
    uint64_t link_bytes_out, link_bytes_in;
    uint64_t dials;
};

/* A place for one peer at a time. Fields above `is_stalled` are faults, to be set by whoever
 * measures. */
struct seat {
    uint32_t lost_out_ppm, lost_in_ppm; /* of datagrams, and of segments of links, beside the
                                           field's own */
    bool mute, deaf;                    /* nothing goes out, nothing comes in */
    uint32_t group;                     /* reaches those of the same */
    bool is_off;                        /* without power: dials go unanswered, none is refused */

    bool is_stalled, has_left, is_joined;
    uint32_t life;     /* how many processes have lived here */
    struct swim *swim; /* NULL: no process runs */
    uint32_t address;
    uint64_t paused_until_us; /* stopped: what comes waits until then */
    uint64_t wake_us;         /* of the wake that counts; MESH_NEVER: none */
    struct field_meter meter;
    struct peer_id id; /* once announced */
    uint64_t nonce;
    uint64_t cpu_free_us, wire_free_us, inbox_bytes;
    uint64_t started_us, joined_us;
    uint64_t strangers_since_ms, strangers, strangers_refused;
    struct field_held *held, **held_end; /* while stalled, in order */
};

struct field_event {
    uint64_t at_us;
    uint64_t order;      /* of equal times: the order of their making; the kind in the low bits */
    uint32_t seat, life; /* of the process it concerns: it dies with that life; 0: whoever lives */
    void *what;
};

struct field {
    struct field_config config;
    uint64_t now_us, order;
    struct field_event *heap;
    size_t heap_count, heap_capacity;
    struct seat *seats;
    uint32_t *seat_at; /* by address; NOBODY: never used, or nobody's now */
    uint32_t addresses_count;
    uint64_t *names; /* sorted: hash of a seat's name */
    uint32_t *named; /* the seat of each */
    struct shuffle chance;
    uint32_t lost_ppm;       /* of every datagram and segment */
    bool is_partitioned;     /* groups count */
    struct records *records; /* what all of them say of themselves, once */
    struct field_links *links;
    struct field_pools *pools;
    uint64_t turns, events, datagrams_lost;
};

/* ---- life of a field ------------------------------------------------------------------------ */

/* Or abort: there is no use in going on without memory. */
struct field *field_new(const struct field_config *config);
void field_free(struct field *field); /* NULL is fine */
/* Runs all events up to this time of the field. */
void field_run(struct field *field, uint64_t until_us);

/* ---- lives of peers ------------------------------------------------------------------------- */

/* A new process. `contact`: a seat to ask; NOBODY: it begins a mesh. */
void field_start(struct field *field, uint32_t seat, uint32_t contact);
void field_contact(struct field *field, uint32_t seat, uint32_t contact); /* one more to ask */
/* Peers 0 .. count - 1 start as members who know each other, without the traffic of joining: each
 * was welcomed by another, which told it all records. */
void field_start_met(struct field *field, uint32_t count);
/* The process is gone; its machine refuses what comes, or says nothing (is_off). */
void field_crash(struct field *field, uint32_t seat, bool power);
/* From the next start on the seat has another address. */
void field_move(struct field *field, uint32_t seat);
void field_leave(struct field *field, uint32_t seat);
/* Stopped, timers and all. */
void field_pause(struct field *field, uint32_t seat, uint64_t until_us);
/* Lifeguard §V: blocks just before a send and just after a receive; timers go on. */
void field_stall(struct field *field, uint32_t seat, bool is_stalled);

/* ---- questions ------------------------------------------------------------------------------ */

bool field_runs(const struct field *field, uint32_t seat);
uint32_t field_seat_of(const struct field *field, uint64_t name); /* NOBODY: no seat's */
/* MEMBER_UNKNOWN: the observer does not know this life of the subject. */
enum member_state field_state(struct field *field, uint32_t observer, uint32_t subject);
/* Every running seat of `group` (NOBODY: of any) is a member, shows the same view, and counts
 * `living` members. */
bool field_agrees(const struct field *field, uint32_t group, uint32_t living);
/* Runs until they agree, looking every `step_us`. When they did; MESH_NEVER: not by `until_us`. */
uint64_t field_run_until_agreed(struct field *field, uint32_t group, uint32_t living,
                                uint64_t step_us, uint64_t until_us);
uint64_t field_clock_ms(const struct field *field);

/* ---- for its files --------------------------------------------------------------------------- */

enum field_event_kind {
    FIELD_WAKE,
    FIELD_DATAGRAM,  /* what: a packet, arrives */
    FIELD_READ,      /* what: a packet; the peer has time for it now */
    FIELD_LINK_UP,   /* what: the dial; at the end that dialled */
    FIELD_UNDIALLED, /* what: the dial; it was refused, or nobody answered */
    FIELD_PONG,      /* what: a dial that was none; a check over a link that stands */
    FIELD_MESSAGE,   /* what: a message of a link, arrives */
    FIELD_TAKE       /* what: a message; the peer has time for it now */
};
static inline enum field_event_kind field_event_kind(const struct field_event *event)
{
    return (enum field_event_kind)(event->order & 15);
}

void field_at(struct field *field, uint64_t at_us, enum field_event_kind kind, uint32_t seat,
              void *what);
/* What a peer has to say after a fact. */
void field_turn(struct field *field, uint32_t seat);
/* When a peer's CPU is done with this work, which begins when it is free. */
uint64_t field_work(struct field *field, struct seat *seat, uint64_t work_us);
uint32_t field_seat_at(const struct field *field, const struct mesh_addr *addr);
void field_addr(struct mesh_addr *addr, uint32_t address);

void field_net_new(struct field *field);
void field_net_free(struct field *field);
void field_send(struct field *field, uint32_t from, const struct swim_send *send);
void field_wish(struct field *field, uint32_t from, const struct swim_wish *wish);
void field_check(struct field *field, uint32_t from, const struct swim_check *check);
void field_tell(struct field *field, uint32_t from, struct peer_id to,
                const struct wire_message *message);
void field_net_event(struct field *field, const struct field_event *event);
void field_net_release(struct field *field, uint32_t seat); /* a stall is over */
void field_net_drop(struct field *field, uint32_t seat);    /* its process is gone */
void field_event_free(struct field *field, const struct field_event *event);

#endif
