/* links.h - the links to all other peers, and the lanes on them. A lane carries one exchange
 * between its entry peer and its owner. A lane to ourselves is a link of length zero: the same
 * messages, nothing encoded, the same events. Dials on demand, keeps two links of a pair alive
 * side by side until the unpreferred one is empty, pings links in use. What a message means is
 * mesh/session's and mesh/member's business; where a peer lives is the caller's. */
#ifndef MESH_LINKS_H
#define MESH_LINKS_H

#include "mesh/base/list.h"
#include "mesh/base/pool.h"
#include "mesh/base/rng.h"
#include "mesh/mesh.h"
#include "mesh/wire/link.h"
#include "mesh/wire/wire.h"

#define LINKS_MAX 4096
#define LINKS_LANES_MAX 131072
#define LINKS_HALF_OPEN_MAX 64   /* handshakes under way; the oldest accepted one gives way */
#define LINKS_PING_MS 250        /* a link in use is pinged so often */
#define LINKS_SILENT_MS 5000     /* no ping is answered; or it is to end, and nothing is taken; */
                                 /* LINKS_DOUBT_MS, if its peer answers on another one: given up */
#define LINKS_IDLE_PING_MS 15000 /* and one without lanes so often */
#define LINKS_DOUBT_MS 1500      /* likewise: doubted */
#define LINKS_DOUBT_DIAL_MS 1000 /* lanes wait so long for a dial that nobody answers: doubted */
#define LINKS_IDLE_MS 60000      /* no lane for so long: closed */
#define LINKS_OLD_MS 60000       /* one whose key went out of use may still have lanes so long */
#define LINKS_REDIAL_MS 50       /* first wait after a failed dial, doubling to 1 s */

/* One end of an exchange's way; all zero: none. */
struct lane {
    struct handle at;
};
static inline bool lane_is_none(struct lane lane)
{
    return handle_is_none(lane.at);
}
static inline bool lane_equal(struct lane a, struct lane b)
{
    return handle_equal(a.at, b.at);
}

enum links_side {
    LINKS_ENTRY, /* the side that opened the lane */
    LINKS_OWNER
};

enum links_event_kind {
    LINKS_READY,     /* a link to `peer` stands (it proved who it is) */
    LINKS_LOST,      /* link number `number` to `peer` is gone; its lanes come as LINKS_LANE_LOST */
    LINKS_UNDIALLED, /* the dial to `peer` (or to `addr`) failed: `loss` */
    LINKS_REACHED,   /* `peer` answered the ping that links_reach() sent */
    LINKS_DOUBTED,   /* lanes wait for `peer`, which is silent; told once per silence */
    LINKS_CONTROL,   /* message on stream 0 */
    LINKS_MESSAGE,   /* message on a lane, for `side` whose object is `user` */
    LINKS_CONSUMED,  /* the entry took so many bytes in all of what `user` sent on the lane */
    LINKS_LANE_LOST  /* `sent`: the last byte queued on it had left; `number`: of its lost link */
};

struct links_event {
    enum links_event_kind kind;
    struct peer_id peer;
    uint64_t nonce; /* READY: of its generation */
    struct mesh_addr addr;
    struct handle link;
    uint64_t number; /* of the link: both ends know it by this */
    enum mesh_loss loss;
    struct lane lane;
    enum links_side side; /* who receives this */
    struct handle user;   /* its object; zero for an OPEN that nobody has accepted yet */
    bool sent;
    size_t bytes; /* MESSAGE: its size on the lane, as counted by lane_consumed */
    uint64_t total;
    /* LANE_LOST: when its link last proved that the other end is there;
     * MESH_NEVER: that closed the lane */
    uint64_t answered_ms;
    struct wire_message message;
};

struct links_config {
    struct peer_id self;
    uint64_t nonce;
    const struct seal_ring *ring;
    const uint8_t *sip_key; /* 16 bytes */
    struct rng *rng;
    struct bytes_budget *budget;
};

struct links;
int links_new(struct links **linksp, const struct links_config *config);
void links_free(struct links *links);
/* Who we are, once our generation is known: new links say so from now on. */
void links_set_self(struct links *links, struct peer_id self);

/* ---- facts from sockets --------------------------------------------------------------------- */
struct handle links_accepted(struct links *links, const struct mesh_addr *from, uint64_t now_ms);
void links_up(struct links *links, struct handle link, uint64_t now_ms);
void links_bytes(struct links *links, struct handle link, struct slice sealed, uint64_t now_ms);
void links_taken(struct links *links, struct handle link, size_t bytes, uint64_t now_ms);
void links_down(struct links *links, struct handle link, enum mesh_loss why, uint64_t now_ms);
void links_now(struct links *links, uint64_t now_ms);
uint64_t links_deadline_ms(const struct links *links);

/* ---- lanes ---------------------------------------------------------------------------------- */

/* A lane to `peer`, from the entry's side. Dials `addr` if no link stands; messages wait for the
 * handshake. -EAGAIN: the last dial failed just now; -ENOBUFS: no stream, lane or
 * link left. */
int links_open(struct links *links, struct peer_id peer, const struct mesh_addr *addr,
               struct handle user, struct lane *lane, uint64_t now_ms);
/* Whom the OPEN that just came on this lane woke. */
void links_accept(struct links *links, struct lane lane, struct handle user);
/* Queues one message; keeps what it needs of its slices. Its size on the lane (0: it waits for the
 * handshake), or -EPIPE: no such lane any more, -ENOBUFS: 32 MiB wait on that link already,
 * -ENOMEM. After an error the lane is lost for both sides: what came later would follow a gap. */
int links_send(struct links *links, struct lane lane, enum links_side from,
               const struct wire_message *message);
/* The reader at `side` has taken so many bytes (of links_event.bytes) for good. */
void links_consumed(struct links *links, struct lane lane, enum links_side side, size_t bytes);
/* This side is done with the lane; the other side hears of it as a lost lane, after what was said
 * before. */
void links_close(struct links *links, struct lane lane, enum links_side side);
/* Has neither side closed it, nor its link been lost? */
bool links_is_open(const struct links *links, struct lane lane, enum links_side side);
/* Everything that the entry queued on it has left this process. Always true for a local lane. */
bool links_sent(const struct links *links, struct lane lane);
/* Closes the link of that number to that peer without reading what waits in it. */
void links_cut(struct links *links, struct peer_id peer, uint64_t number, uint64_t now_ms);

/* ---- control messages, and the table itself ------------------------------------------------- */
/* One control message to a peer; dials `addr` (NULL: only if a link stands or is being dialled). 0
 * or negative; -EAGAIN also for a VIEW that would have to wait for a link. */
int links_tell(struct links *links, struct peer_id peer, const struct mesh_addr *addr,
               const struct wire_message *message, uint64_t now_ms);
int links_tell_on(struct links *links, struct handle link, const struct wire_message *message,
                  uint64_t now_ms);
bool links_has(const struct links *links, struct peer_id peer); /* one that stands */
/* Dials `addr` for a view exchange; nobody: whoever answers there. */
void links_meet(struct links *links, struct peer_id peer, const struct mesh_addr *addr,
                uint64_t now_ms);
/* Does `peer` answer over TCP? 1: it proved so within the last second. 0: it was pinged, or is
 * being dialled: LINKS_REACHED or LINKS_READY will say yes, LINKS_UNDIALLED no. -EAGAIN: the last
 * dial failed just now; -ENOBUFS. */
int links_reach(struct links *links, struct peer_id peer, const struct mesh_addr *addr,
                uint64_t now_ms);
/* Dials once more, although a link stands or is being dialled: does its port answer? READY and
 * UNDIALLED tell. */
void links_try(struct links *links, struct peer_id peer, const struct mesh_addr *addr,
               uint64_t now_ms);
bool links_is_met(const struct links *links, struct handle link); /* dialled by links_meet() */
/* Keys went out of use: a link that one of them proved is replaced by a new one beside it, closes
 * when it is empty, and is cut after LINKS_OLD_MS: its other end may not know any other key. */
void links_renew(struct links *links, uint64_t now_ms);
/* That generation is gone: its links are closed. */
void links_forget(struct links *links, struct peer_id peer, uint64_t now_ms);
uint64_t links_round_trip_ms(const struct links *links, struct peer_id peer); /* last pong; 0 */
uint32_t links_count(const struct links *links);

/* ---- outputs -------------------------------------------------------------------------------- */
/* The next event, which holds until the next call; NULL: none. */
const struct links_event *links_next_event(struct links *links);
/* LINK_DIAL, LINK_BYTES or LINK_CLOSE; at the end of a turn, so that one record carries all. The
 * slice holds until the next call. */
bool links_next_effect(struct links *links, struct mesh_effect *effect, uint64_t now_ms);

#endif
