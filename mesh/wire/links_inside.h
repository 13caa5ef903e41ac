/* links_inside.h - what links.c (the table of links, sockets, time) and lanes.c (lanes, messages,
 * events) share. Nobody else includes it but their tests. */
#ifndef MESH_LINKS_INSIDE_H
#define MESH_LINKS_INSIDE_H

#include "mesh/base/heap.h"
#include "mesh/base/spare.h"
#include "mesh/base/table.h"
#include "mesh/wire/links.h"

enum peer_link_state {
    PEER_LINK_DIALLING,
    PEER_LINK_GREETING,
    PEER_LINK_OPEN,
    PEER_LINK_FAILED, /* no socket: the wait before the next dial */
    PEER_LINK_CLOSED  /* only its LINK_CLOSE is still to be told */
};

#define LINKS_QUEUED_SPARE 64

struct peer_link {
    struct handle self;
    enum peer_link_state state;
    struct peer_id peer; /* nobody: not proved yet */
    struct mesh_addr addr;
    bool is_dialled, is_met, wants_dial, wants_close, close_cut;
    struct link link; /* from GREETING on */
    struct list lanes;
    uint32_t lanes_count;
    struct list control; /* struct queued: said before it was open */
    uint64_t busy_ms, pinged_ms, ponged_ms;
    uint64_t proved_ms;   /* its handshake, or a ping, was answered */
    bool is_asked;        /* by links_reach(): the next answer is an event */
    bool is_doubted;      /* LINKS_DOUBTED was told of this silence */
    bool is_unanswered;   /* the ping of a link without lanes */
    uint64_t ending_ms;   /* it was asked to end, or something of what is left was taken since */
    uint64_t retry_at_ms; /* FAILED, or CLOSED on its way there; else 0 */
    uint32_t retry_ms, pings;
    uint32_t tries; /* dials that failed: who does not take one key is greeted with another */
    bool is_old;    /* the key that proved it is not in use any more */
    uint64_t old_until_ms; /* is_old: it is cut */
    struct heap_node timer;
    struct list dirty; /* in links.dirty while it may have output */
};

/* A lane: over a link one side's end of it, within this process both ends. */
struct lane_state {
    struct handle self, link; /* link: none within this process, or once it is lost */
    uint32_t stream;          /* 0: the link is not open yet */
    enum links_side side;     /* over a link: ours; of a lost lane: who is told next */
    struct handle users[2];
    bool is_open[2];
    bool is_local, is_lost, lost_sent;
    uint64_t lost_number, lost_answered_ms, consumed;
    struct list in_lost, in_consumed; /* of links: told without needing memory */
    struct list in_link;
    struct list waiting; /* struct queued */
};

/* A message or an event that waits. */
struct queued {
    struct list in_queue;
    struct links_event event;
    struct slice text; /* not decoded yet */
    bool is_kept;      /* event.message holds references */
};

struct links {
    struct links_config config;
    struct pool links, lanes;
    struct table by_peer; /* the link for new lanes of a peer, if it is open */
    struct list queue, consumed, lost, dirty;
    struct spare queued; /* struct queued */
    struct heap timers;
    struct queued *given;          /* the event given out last */
    struct links_event given_lane; /* likewise, of a lane that was lost or read */
    struct bytes *record;          /* likewise */
    uint32_t greeting_in;
    struct wire_update records[WIRE_RECORDS_MAX];
    uint8_t scratch[WIRE_VIEW_MAX];
};

/* ---- links.c -------------------------------------------------------------------------------- */
struct peer_link *links_at(const struct links *links, struct handle h); /* NULL: none */
/* The link that a new lane or message to this peer uses; -EAGAIN, -ENOBUFS. */
int links_for(struct links *links, struct peer_id peer, const struct mesh_addr *addr,
              struct peer_link **lp, uint64_t now_ms);
void links_touch(struct links *links, struct peer_link *l);    /* it may have output */
void links_schedule(struct links *links, struct peer_link *l); /* its deadline may have changed */

/* ---- lanes.c -------------------------------------------------------------------------------- */
void queued_free(struct links *links, struct queued *q); /* NULL is fine */
void queued_free_all(struct links *links, struct list *list);
void links_queue_for(struct links *links, const struct peer_link *l, enum links_event_kind kind,
                     enum mesh_loss loss);
/* The link stands: what waited for that is said. */
void links_say_waiting(struct links *links, struct peer_link *l);
/* The link is lost, and its lanes with it. */
void links_lose_lanes(struct links *links, struct peer_link *l);
void links_on_message(struct links *links, struct peer_link *l, const struct link_event *e,
                      uint64_t now_ms);
void links_on_consumed(struct links *links, const struct link_event *e);
void links_on_stream_closed(struct links *links, const struct link_event *e);

#endif
