/* links.c - the table of links, and lanes over them or within this process. Facts become queued
 * events, so that no module is called while another one works. */
#include "mesh/wire/links.h"

#include <errno.h>
#include <stdlib.h>

#include "mesh/base/heap.h"
#include "mesh/base/table.h"

#define LINKS_REDIAL_MAX_MS 1000
#define LINKS_EMPTY_MS 1000 /* the unpreferred of two links closes when it was empty so long */
#define LOCAL_MESSAGE_BYTES 32 /* what a message's head counts on a lane within this process */

enum peer_link_state {
    PEER_LINK_DIALLING,
    PEER_LINK_GREETING,
    PEER_LINK_OPEN,
    PEER_LINK_FAILED, /* no socket: the wait before the next dial */
    PEER_LINK_CLOSED  /* only its LINK_CLOSE is still to be told */
};

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
    uint64_t busy_ms, pinged_ms, ponged_ms, retry_at_ms;
    uint32_t retry_ms, pings;
    struct heap_node timer;
    struct list dirty; /* in links.dirty while it may have output */
};

/* A lane: over a link one side's end of it, within this process both ends. */
struct lane_state {
    struct handle self, link; /* link none: within this process */
    uint32_t stream;          /* 0: the link is not open yet */
    enum links_side side;     /* over a link: ours */
    struct handle users[2];
    bool is_open[2];
    bool is_lost, lost_sent, consumed_queued;
    uint64_t lost_number, consumed;
    struct list in_lost; /* in links.lost: told without needing memory */
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
    struct list queue, lost, dirty;
    struct heap timers;
    struct queued *given; /* the event given out last */
    struct links_event lost_event; /* likewise, of a lost lane */
    struct bytes *record; /* likewise */
    uint32_t greeting_in;
    struct wire_update records[WIRE_RECORDS_MAX];
    uint8_t scratch[WIRE_VIEW_MAX];
};

/* ---- making, queueing -------------------------------------------------------------------------- */

int links_new(struct links **linksp, const struct links_config *config)
{
    struct links *links = calloc(1, sizeof *links);
    *linksp = links;
    if (links == NULL)
        return -ENOMEM;
    links->config = *config;
    pool_init(&links->links, sizeof(struct peer_link), LINKS_MAX);
    pool_init(&links->lanes, sizeof(struct lane_state), LINKS_LANES_MAX);
    table_init(&links->by_peer, sizeof(struct peer_id), config->sip_key);
    list_init(&links->queue);
    list_init(&links->lost);
    list_init(&links->dirty);
    heap_init(&links->timers);
    return 0;
}

static void queued_free(struct queued *q)
{
    if (q == NULL)
        return;
    list_remove(&q->in_queue);
    if (q->is_kept)
        wire_message_drop(&q->event.message);
    slice_drop(&q->text);
    free(q);
}

static void queued_free_all(struct list *list)
{
    while (!list_is_empty(list))
        queued_free(container_of(list_first(list), struct queued, in_queue));
}

void links_free(struct links *links)
{
    struct handle h;
    if (links == NULL)
        return;
    for (uint32_t slot = 0; slot < pool_span(&links->lanes); slot++) {
        struct lane_state *lane = pool_slot(&links->lanes, slot, &h);
        if (lane != NULL)
            queued_free_all(&lane->waiting);
    }
    for (uint32_t slot = 0; slot < pool_span(&links->links); slot++) {
        struct peer_link *l = pool_slot(&links->links, slot, &h);
        if (l == NULL)
            continue;
        queued_free_all(&l->control);
        if (l->state == PEER_LINK_GREETING || l->state == PEER_LINK_OPEN)
            link_deinit(&l->link);
    }
    queued_free(links->given);
    queued_free_all(&links->queue);
    bytes_unref(links->record);
    heap_deinit(&links->timers);
    table_deinit(&links->by_peer);
    pool_deinit(&links->lanes);
    pool_deinit(&links->links);
    free(links);
}

void links_set_self(struct links *links, struct peer_id self)
{
    links->config.self = self;
}

static struct queued *links_queue(struct links *links, enum links_event_kind kind)
{
    struct queued *q = malloc(sizeof *q);
    if (q == NULL)
        return NULL;
    memset(&q->event, 0, offsetof(struct links_event, message));
    q->event.kind = kind;
    q->text = (struct slice){0};
    q->is_kept = false;
    list_push_back(&links->queue, &q->in_queue);
    return q;
}

static void links_queue_for(struct links *links, const struct peer_link *l,
                            enum links_event_kind kind, enum mesh_loss loss)
{
    struct queued *q = links_queue(links, kind);
    if (q == NULL)
        return;
    q->event.peer = l->peer;
    q->event.addr = l->addr;
    q->event.link = l->self;
    q->event.loss = loss;
    if (kind == LINKS_READY || kind == LINKS_LOST) {
        q->event.nonce = l->link.peer.nonce;
        q->event.number = l->link.number;
    }
}

static void links_touch(struct links *links, struct peer_link *l)
{
    if (!list_is_linked(&l->dirty))
        list_push_back(&links->dirty, &l->dirty);
}

/* ---- the links of one peer ------------------------------------------------------------------------ */

static struct peer_link *links_at(const struct links *links, struct handle h)
{
    return pool_at(&links->links, h);
}

/* Of two links of a pair new lanes go on the one dialled by the lower peer id: both ends choose
 * the same without asking. */
static bool links_is_preferred(const struct links *links, const struct peer_link *l)
{
    struct peer_id dialler = l->is_dialled ? links->config.self : l->peer;
    struct peer_id other = l->is_dialled ? l->peer : links->config.self;
    return peer_id_compare(dialler, other) < 0;
}

static struct peer_link *links_open_to(const struct links *links, struct peer_id peer)
{
    uint32_t slot = 0;
    struct handle h;
    if (!table_get(&links->by_peer, &peer, &slot))
        return NULL;
    return pool_slot(&links->links, slot, &h);
}

/* The choice for this peer may have changed: looks at all its links again. */
static void links_choose(struct links *links, struct peer_id peer)
{
    struct peer_link *best = NULL;
    struct handle h;
    table_remove(&links->by_peer, &peer);
    for (uint32_t slot = 0; slot < pool_span(&links->links); slot++) {
        struct peer_link *l = pool_slot(&links->links, slot, &h);
        if (l == NULL || l->state != PEER_LINK_OPEN || l->link.wants_end ||
            !peer_id_equal(l->peer, peer))
            continue;
        if (best == NULL || (links_is_preferred(links, l) && !links_is_preferred(links, best)))
            best = l;
    }
    if (best != NULL)
        (void)table_put(&links->by_peer, &peer, best->self.slot);
}

/* One that is on its way: being dialled, or waiting to be dialled again. */
static struct peer_link *links_coming(const struct links *links, struct peer_id peer)
{
    struct handle h;
    for (uint32_t slot = 0; slot < pool_span(&links->links); slot++) {
        struct peer_link *l = pool_slot(&links->links, slot, &h);
        if (l != NULL && l->is_dialled && peer_id_equal(l->peer, peer) &&
            (l->state == PEER_LINK_DIALLING || l->state == PEER_LINK_GREETING ||
             l->state == PEER_LINK_FAILED))
            return l;
    }
    return NULL;
}

/* When a link that nobody uses closes: soon, if another one of the pair is preferred. */
static uint64_t links_idle_end_ms(const struct links *links, const struct peer_link *l)
{
    return l->busy_ms + (links_open_to(links, l->peer) == l ? LINKS_IDLE_MS : LINKS_EMPTY_MS);
}

static void links_schedule(struct links *links, struct peer_link *l)
{
    uint64_t at = MESH_NEVER, own = MESH_NEVER;
    switch (l->state) {
    case PEER_LINK_GREETING:
        at = link_deadline_ms(&l->link);
        break;
    case PEER_LINK_OPEN:
        at = link_deadline_ms(&l->link);
        if (l->lanes_count > 0)
            own = l->pinged_ms + LINKS_PING_MS;
        else if (!l->link.wants_end)
            own = links_idle_end_ms(links, l);
        break;
    case PEER_LINK_FAILED:
        at = l->retry_at_ms + LINKS_IDLE_MS;
        break;
    case PEER_LINK_DIALLING:
    case PEER_LINK_CLOSED:
        break;
    }
    (void)heap_set(&links->timers, &l->timer, own < at ? own : at);
}

static struct peer_link *links_new_link(struct links *links, const struct mesh_addr *addr,
                                        enum peer_link_state state, uint64_t now_ms)
{
    struct handle h;
    struct peer_link *l = pool_take(&links->links, &h);
    if (l == NULL)
        return NULL;
    l->self = h;
    l->state = state;
    l->addr = *addr;
    l->busy_ms = l->pinged_ms = l->ponged_ms = now_ms;
    list_init(&l->lanes);
    list_init(&l->control);
    return l;
}

static void links_remove(struct links *links, struct peer_link *l)
{
    list_remove(&l->dirty);
    heap_remove(&links->timers, &l->timer);
    queued_free_all(&l->control);
    pool_give(&links->links, l->self);
}

/* ---- lanes ------------------------------------------------------------------------------------------ */

static struct lane_state *lane_at(const struct links *links, struct lane lane)
{
    return pool_at(&links->lanes, lane.at);
}

static struct lane_state *lane_new(struct links *links, struct peer_link *l, enum links_side side)
{
    struct handle h;
    struct lane_state *lane = pool_take(&links->lanes, &h);
    if (lane == NULL)
        return NULL;
    lane->self = h;
    lane->side = side;
    lane->is_open[side] = true;
    list_init(&lane->waiting);
    if (l != NULL) {
        lane->link = l->self;
        list_push_back(&l->lanes, &lane->in_link);
        l->lanes_count++;
    }
    return lane;
}

static void lane_free(struct links *links, struct lane_state *lane)
{
    struct peer_link *l = links_at(links, lane->link);
    queued_free_all(&lane->waiting);
    list_remove(&lane->in_lost);
    list_remove(&lane->in_link);
    if (l != NULL)
        l->lanes_count--;
    pool_give(&links->lanes, lane->self);
}

/* Encodes and hands over to the link; the size on the lane. */
static int links_say(struct links *links, struct peer_link *l, uint32_t stream,
                     const struct wire_message *m)
{
    int head = wire_link_write(m, links->scratch, sizeof links->scratch);
    if (head < 0)
        return head;
    int rc = link_send(&l->link, stream, links->scratch, (size_t)head, m->payload);
    links_touch(links, l);
    return rc < 0 ? rc : head + (int)m->payload.length;
}

static int links_wait(struct links *links, struct list *list, const struct wire_message *m)
{
    struct queued *q = calloc(1, sizeof *q);
    if (q == NULL)
        return -ENOMEM;
    q->event.message = *m;
    q->is_kept = wire_message_keep(&q->event.message, links->config.budget) == 0;
    if (!q->is_kept) {
        free(q);
        return -ENOMEM;
    }
    list_push_back(list, &q->in_queue);
    return 0;
}

static int lane_begin(struct links *links, struct peer_link *l, struct lane_state *lane)
{
    lane->stream = link_stream_open(&l->link, lane->self);
    if (lane->stream == 0)
        return -ENOBUFS;
    while (!list_is_empty(&lane->waiting)) {
        struct queued *q = container_of(list_first(&lane->waiting), struct queued, in_queue);
        int rc = links_say(links, l, lane->stream, &q->event.message);
        queued_free(q);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static void lane_lose(struct links *links, struct lane_state *lane, bool sent, uint64_t number)
{
    if (lane->is_lost)
        return;
    lane->is_lost = true;
    lane->lost_sent = sent;
    lane->lost_number = number;
    list_push_back(&links->lost, &lane->in_lost);
}

static struct peer_link *links_dial(struct links *links, struct peer_id peer,
                                    const struct mesh_addr *addr, uint64_t now_ms)
{
    struct peer_link *l = links_new_link(links, addr, PEER_LINK_DIALLING, now_ms);
    if (l == NULL)
        return NULL;
    l->peer = peer;
    l->is_dialled = l->wants_dial = true;
    links_touch(links, l);
    return l;
}

/* The link that a new lane or message to this peer uses; -EAGAIN, -ENOBUFS. */
static int links_for(struct links *links, struct peer_id peer, const struct mesh_addr *addr,
                     struct peer_link **lp, uint64_t now_ms)
{
    struct peer_link *l = links_open_to(links, peer);
    if (l == NULL)
        l = links_coming(links, peer);
    if (l == NULL && addr == NULL)
        return -EAGAIN;
    if (l == NULL)
        l = links_dial(links, peer, addr, now_ms);
    if (l == NULL)
        return -ENOBUFS;
    if (l->state == PEER_LINK_FAILED) {
        if (now_ms < l->retry_at_ms)
            return -EAGAIN;
        /* a handle of its own: what the host still says of the former dial is not about this */
        struct mesh_addr again = addr != NULL ? *addr : l->addr;
        uint32_t retry_ms = l->retry_ms;
        links_remove(links, l);
        l = links_dial(links, peer, &again, now_ms);
        if (l == NULL)
            return -ENOBUFS;
        l->retry_ms = retry_ms;
    }
    *lp = l;
    return 0;
}

int links_open(struct links *links, struct peer_id peer, const struct mesh_addr *addr,
               struct handle user, struct lane *lanep, uint64_t now_ms)
{
    struct peer_link *l = NULL;
    struct lane_state *lane = NULL;
    int rc = 0;
    if (!peer_id_equal(peer, links->config.self))
        rc = links_for(links, peer, addr, &l, now_ms);
    if (rc == 0 && (lane = lane_new(links, l, LINKS_ENTRY)) == NULL)
        rc = -ENOBUFS;
    if (rc == 0 && l != NULL && l->state == PEER_LINK_OPEN)
        rc = lane_begin(links, l, lane);
    if (rc < 0) {
        if (lane != NULL)
            lane_free(links, lane);
        return rc;
    }
    lane->users[LINKS_ENTRY] = user;
    if (l == NULL)
        lane->is_open[LINKS_OWNER] = true;
    else
        links_schedule(links, l);
    lanep->at = lane->self;
    return 0;
}

void links_accept(struct links *links, struct lane lane, struct handle user)
{
    struct lane_state *state = lane_at(links, lane);
    if (state != NULL)
        state->users[LINKS_OWNER] = user;
}

static int links_send_here(struct links *links, struct lane_state *lane, enum links_side from,
                           const struct wire_message *message)
{
    enum links_side to = from == LINKS_ENTRY ? LINKS_OWNER : LINKS_ENTRY;
    if (!lane->is_open[to])
        return -EPIPE;
    struct queued *q = links_queue(links, LINKS_MESSAGE);
    if (q == NULL)
        return -ENOMEM;
    q->event.lane = (struct lane){lane->self};
    q->event.side = to;
    q->event.bytes = LOCAL_MESSAGE_BYTES + message->payload.length;
    q->event.message = *message;
    q->is_kept = wire_message_keep(&q->event.message, links->config.budget) == 0;
    if (!q->is_kept) {
        queued_free(q);
        return -ENOMEM;
    }
    return (int)q->event.bytes;
}

int links_send(struct links *links, struct lane lane, enum links_side from,
               const struct wire_message *message)
{
    struct lane_state *state = lane_at(links, lane);
    if (state == NULL || state->is_lost)
        return -EPIPE;
    if (handle_is_none(state->link))
        return links_send_here(links, state, from, message);
    if (state->stream == 0)
        return links_wait(links, &state->waiting, message);
    return links_say(links, links_at(links, state->link), state->stream, message);
}

void links_consumed(struct links *links, struct lane lane, enum links_side side, size_t bytes)
{
    struct lane_state *state = lane_at(links, lane);
    if (state == NULL || state->is_lost || bytes == 0)
        return;
    if (!handle_is_none(state->link)) {
        struct peer_link *l = links_at(links, state->link);
        link_consumed(&l->link, state->stream, bytes);
        links_touch(links, l);
        links_schedule(links, l);
        return;
    }
    if (side != LINKS_ENTRY)
        return; /* within this process an OPEN is taken by being read */
    state->consumed += bytes;
    if (state->consumed_queued || !state->is_open[LINKS_OWNER])
        return;
    struct queued *q = links_queue(links, LINKS_CONSUMED);
    if (q == NULL)
        return; /* the next one tells the sum */
    state->consumed_queued = true;
    q->event.lane = lane;
    q->event.side = LINKS_OWNER;
}

void links_close(struct links *links, struct lane lane, enum links_side side)
{
    struct lane_state *state = lane_at(links, lane);
    if (state == NULL)
        return;
    struct peer_link *l = links_at(links, state->link);
    state->is_open[side] = false;
    if (l != NULL && state->stream != 0 && !state->is_lost) {
        link_stream_close(&l->link, state->stream);
        links_touch(links, l);
    }
    if (l != NULL || state->is_lost || (!state->is_open[0] && !state->is_open[1])) {
        lane_free(links, state);
        if (l != NULL)
            links_schedule(links, l);
    }
}

bool links_sent(const struct links *links, struct lane lane)
{
    const struct lane_state *state = lane_at(links, lane);
    if (state == NULL || handle_is_none(state->link))
        return true;
    return state->stream != 0 && link_stream_sent(&links_at(links, state->link)->link,
                                                  state->stream);
}

/* ---- losing a link ------------------------------------------------------------------------------------ */

static void links_lose_lanes(struct links *links, struct peer_link *l)
{
    bool was_open = l->state == PEER_LINK_OPEN;
    LIST_EACH_SAFE (at, after, &l->lanes) {
        struct lane_state *lane = container_of(at, struct lane_state, in_link);
        bool sent = was_open && lane->stream != 0 && link_stream_sent(&l->link, lane->stream);
        list_remove(&lane->in_link);
        lane_lose(links, lane, sent, was_open ? l->link.number : 0);
        lane->link = (struct handle){0};
        queued_free_all(&lane->waiting);
    }
    l->lanes_count = 0;
}

/* Ends a link. `has_socket`: the host is to close it; else it told us that it is closed. */
static void links_end(struct links *links, struct peer_link *l, enum mesh_loss why,
                      bool has_socket, bool cut, uint64_t now_ms)
{
    enum peer_link_state was = l->state;
    if (was == PEER_LINK_CLOSED)
        return;
    if (l->wants_dial)
        has_socket = false; /* the host has not heard of it yet */
    links_lose_lanes(links, l);
    if (was == PEER_LINK_OPEN)
        links_queue_for(links, l, LINKS_LOST, why);
    else if (l->is_dialled)
        links_queue_for(links, l, LINKS_UNDIALLED, why);
    if (was == PEER_LINK_GREETING && !l->is_dialled)
        links->greeting_in--;
    if (was == PEER_LINK_GREETING || was == PEER_LINK_OPEN)
        link_deinit(&l->link);
    l->state = has_socket ? PEER_LINK_CLOSED : PEER_LINK_FAILED;
    if (was == PEER_LINK_OPEN)
        links_choose(links, l->peer);
    queued_free_all(&l->control);
    l->wants_dial = false;
    if (has_socket) {
        l->wants_close = true;
        l->close_cut = cut;
        links_touch(links, l);
    } else if (was == PEER_LINK_OPEN || !l->is_dialled || peer_id_is_nobody(l->peer)) {
        links_remove(links, l);
        return;
    } else {
        l->retry_ms = l->retry_ms == 0 ? LINKS_REDIAL_MS : l->retry_ms * 2;
        if (l->retry_ms > LINKS_REDIAL_MAX_MS)
            l->retry_ms = LINKS_REDIAL_MAX_MS;
        l->retry_at_ms = now_ms + l->retry_ms;
    }
    links_schedule(links, l);
}

void links_cut(struct links *links, struct peer_id peer, uint64_t number, uint64_t now_ms)
{
    struct handle h;
    for (uint32_t slot = 0; number != 0 && slot < pool_span(&links->links); slot++) {
        struct peer_link *l = pool_slot(&links->links, slot, &h);
        if (l != NULL && l->state == PEER_LINK_OPEN && l->link.number == number &&
            peer_id_equal(l->peer, peer))
            links_end(links, l, MESH_LOSS_RST, true, true, now_ms);
    }
}

void links_forget(struct links *links, struct peer_id peer, uint64_t now_ms)
{
    struct handle h;
    for (uint32_t slot = 0; slot < pool_span(&links->links); slot++) {
        struct peer_link *l = pool_slot(&links->links, slot, &h);
        if (l == NULL || !peer_id_equal(l->peer, peer) || l->state == PEER_LINK_CLOSED)
            continue;
        if (l->state == PEER_LINK_FAILED)
            links_remove(links, l);
        else
            links_end(links, l, MESH_LOSS_RST, true, true, now_ms);
    }
}

/* ---- facts from sockets ---------------------------------------------------------------------------------- */

static int links_greet(struct links *links, struct peer_link *l, uint64_t now_ms)
{
    struct link_config config = {.is_dialler = l->is_dialled,
                                 .self = links->config.self,
                                 .nonce = links->config.nonce,
                                 .ring = links->config.ring,
                                 .expected = l->peer,
                                 .rng = links->config.rng,
                                 .budget = links->config.budget};
    int rc = link_init(&l->link, &config, now_ms);
    if (rc < 0)
        return rc;
    l->state = PEER_LINK_GREETING;
    links_touch(links, l);
    links_schedule(links, l);
    return 0;
}

/* Strangers can open sockets without end: the oldest who has proved nothing gives way. */
static void links_drop_oldest_greeting(struct links *links, uint64_t now_ms)
{
    struct peer_link *oldest = NULL;
    struct handle h;
    for (uint32_t slot = 0; slot < pool_span(&links->links); slot++) {
        struct peer_link *l = pool_slot(&links->links, slot, &h);
        if (l != NULL && l->state == PEER_LINK_GREETING && !l->is_dialled &&
            (oldest == NULL || l->busy_ms < oldest->busy_ms))
            oldest = l;
    }
    if (oldest != NULL)
        links_end(links, oldest, MESH_LOSS_TIMEOUT, true, true, now_ms);
}

struct handle links_accepted(struct links *links, const struct mesh_addr *from, uint64_t now_ms)
{
    if (links->greeting_in >= LINKS_HALF_OPEN_MAX)
        links_drop_oldest_greeting(links, now_ms);
    struct peer_link *l = links_new_link(links, from, PEER_LINK_DIALLING, now_ms);
    if (l == NULL)
        return (struct handle){0};
    if (links_greet(links, l, now_ms) < 0) {
        links_remove(links, l);
        return (struct handle){0};
    }
    links->greeting_in++;
    return l->self;
}

void links_up(struct links *links, struct handle h, uint64_t now_ms)
{
    struct peer_link *l = links_at(links, h);
    if (l == NULL || l->state != PEER_LINK_DIALLING)
        return;
    if (links_greet(links, l, now_ms) < 0)
        links_end(links, l, MESH_LOSS_RST, true, true, now_ms);
}

static void links_on_ready(struct links *links, struct peer_link *l, const struct link_event *e,
                           uint64_t now_ms)
{
    if (!l->is_dialled)
        links->greeting_in--;
    l->state = PEER_LINK_OPEN;
    l->peer = e->peer;
    l->retry_ms = 0;
    l->busy_ms = l->ponged_ms = now_ms;
    links_choose(links, l->peer);
    links_queue_for(links, l, LINKS_READY, MESH_LOSS_FIN);
    while (!list_is_empty(&l->control)) {
        struct queued *q = container_of(list_first(&l->control), struct queued, in_queue);
        (void)links_say(links, l, 0, &q->event.message);
        queued_free(q);
    }
    LIST_EACH_SAFE (at, after, &l->lanes) {
        struct lane_state *lane = container_of(at, struct lane_state, in_link);
        if (lane->stream == 0 && lane_begin(links, l, lane) < 0)
            lane_lose(links, lane, false, 0);
    }
}

/* A message becomes an event; the first on a stream of theirs also makes the lane. */
static void links_on_message(struct links *links, struct peer_link *l, const struct link_event *e,
                             uint64_t now_ms)
{
    struct lane_state *lane = e->stream == 0 ? NULL : pool_at(&links->lanes, e->user);
    l->busy_ms = now_ms;
    if (e->stream != 0 && e->is_new) {
        lane = lane_new(links, l, LINKS_OWNER);
        if (lane == NULL) {
            link_stream_cut(&l->link, e->stream);
            return;
        }
        lane->stream = e->stream;
        (void)link_stream_accept(&l->link, e->stream, lane->self);
    }
    struct queued *q = e->stream != 0 && lane == NULL ? NULL
                                                      : links_queue(links, e->stream == 0
                                                                               ? LINKS_CONTROL
                                                                               : LINKS_MESSAGE);
    if (q == NULL)
        return;
    q->event.peer = l->peer;
    q->event.link = l->self;
    q->event.bytes = e->text.length;
    if (lane != NULL) {
        q->event.lane = (struct lane){lane->self};
        q->event.side = lane->side;
    }
    if (slice_keep(&q->text, e->text, links->config.budget) < 0) {
        queued_free(q);
        if (lane != NULL)
            lane_lose(links, lane, true, 0);
    }
}

static void links_on_consumed(struct links *links, const struct link_event *e)
{
    struct lane_state *lane = pool_at(&links->lanes, e->user);
    if (lane == NULL)
        return;
    lane->consumed = e->total;
    if (lane->consumed_queued)
        return;
    struct queued *q = links_queue(links, LINKS_CONSUMED);
    if (q == NULL)
        return;
    lane->consumed_queued = true;
    q->event.lane = (struct lane){lane->self};
    q->event.side = lane->side;
}

static bool links_on_link_event(struct links *links, struct peer_link *l,
                                const struct link_event *e, uint64_t now_ms)
{
    struct lane_state *lane;
    switch (e->kind) {
    case LINK_READY:
        links_on_ready(links, l, e, now_ms);
        break;
    case LINK_MESSAGE:
        links_on_message(links, l, e, now_ms);
        break;
    case LINK_CONSUMED:
        links_on_consumed(links, e);
        break;
    case LINK_STREAM_CLOSED:
        lane = pool_at(&links->lanes, e->user);
        if (lane != NULL)
            lane_lose(links, lane, e->sent, 0);
        break;
    case LINK_PONG:
        l->ponged_ms = now_ms;
        break;
    case LINK_ENDED:
        links_end(links, l, MESH_LOSS_FIN, true, false, now_ms);
        return false;
    case LINK_FAILED:
        links_end(links, l, e->failure == LINK_TIMEOUT ? MESH_LOSS_TIMEOUT : MESH_LOSS_RST, true,
                  true, now_ms);
        return false;
    }
    return true;
}

static void links_drain(struct links *links, struct peer_link *l, uint64_t now_ms)
{
    struct link_event e;
    while (link_next_event(&l->link, &e))
        if (!links_on_link_event(links, l, &e, now_ms))
            return;
    links_touch(links, l);
    links_schedule(links, l);
}

void links_bytes(struct links *links, struct handle h, struct slice sealed, uint64_t now_ms)
{
    struct peer_link *l = links_at(links, h);
    if (l == NULL || (l->state != PEER_LINK_GREETING && l->state != PEER_LINK_OPEN))
        return;
    link_bytes_in(&l->link, sealed, now_ms);
    links_drain(links, l, now_ms);
}

void links_taken(struct links *links, struct handle h, size_t bytes, uint64_t now_ms)
{
    struct peer_link *l = links_at(links, h);
    (void)now_ms;
    if (l == NULL || (l->state != PEER_LINK_GREETING && l->state != PEER_LINK_OPEN))
        return;
    link_written(&l->link, bytes);
    links_touch(links, l);
}

void links_down(struct links *links, struct handle h, enum mesh_loss why, uint64_t now_ms)
{
    struct peer_link *l = links_at(links, h);
    if (l == NULL)
        return;
    if (l->state == PEER_LINK_CLOSED)
        links_remove(links, l); /* the host was faster than our wish to close it */
    else
        links_end(links, l, why, false, false, now_ms);
}

/* ---- time -------------------------------------------------------------------------------------------------- */

static void links_open_due(struct links *links, struct peer_link *l, uint64_t now_ms)
{
    if (l->lanes_count == 0) {
        if (!l->link.wants_end && now_ms >= links_idle_end_ms(links, l)) {
            link_shutdown(&l->link);
            links_choose(links, l->peer);
        }
        return;
    }
    l->busy_ms = now_ms;
    if (now_ms < l->pinged_ms + LINKS_PING_MS)
        return;
    /* a first ping after a quiet time: silence counts from here */
    if (now_ms - l->pinged_ms > LINKS_SILENT_MS)
        l->ponged_ms = now_ms;
    l->pinged_ms = now_ms;
    link_ping(&l->link, ++l->pings);
}

static bool links_is_silent(const struct peer_link *l, uint64_t now_ms)
{
    return l->state == PEER_LINK_OPEN && l->lanes_count > 0 &&
           now_ms - l->ponged_ms > LINKS_SILENT_MS && now_ms - l->pinged_ms < LINKS_SILENT_MS;
}

static void links_due(struct links *links, struct peer_link *l, uint64_t now_ms)
{
    heap_remove(&links->timers, &l->timer);
    if (l->state == PEER_LINK_FAILED) {
        links_remove(links, l);
    } else if (links_is_silent(l, now_ms)) {
        links_end(links, l, MESH_LOSS_TIMEOUT, true, true, now_ms);
    } else {
        link_now(&l->link, now_ms);
        if (l->state == PEER_LINK_OPEN)
            links_open_due(links, l, now_ms);
        links_drain(links, l, now_ms);
    }
}

void links_now(struct links *links, uint64_t now_ms)
{
    struct heap_node *node;
    while ((node = heap_first(&links->timers)) != NULL && node->at_ms <= now_ms)
        links_due(links, container_of(node, struct peer_link, timer), now_ms);
}

uint64_t links_deadline_ms(const struct links *links)
{
    return heap_deadline_ms(&links->timers);
}

/* ---- control messages ---------------------------------------------------------------------------------------- */

int links_tell(struct links *links, struct peer_id peer, const struct mesh_addr *addr,
               const struct wire_message *message, uint64_t now_ms)
{
    struct peer_link *l = NULL;
    int rc = links_for(links, peer, addr, &l, now_ms);
    return rc < 0 ? rc : links_tell_on(links, l->self, message, now_ms);
}

int links_tell_on(struct links *links, struct handle h, const struct wire_message *message,
                  uint64_t now_ms)
{
    struct peer_link *l = links_at(links, h);
    if (l == NULL)
        return -EPIPE;
    l->busy_ms = now_ms;
    if (l->state != PEER_LINK_OPEN)
        return links_wait(links, &l->control, message);
    int rc = links_say(links, l, 0, message);
    return rc < 0 ? rc : 0;
}

bool links_has(const struct links *links, struct peer_id peer)
{
    return links_open_to(links, peer) != NULL;
}

void links_meet(struct links *links, struct peer_id peer, const struct mesh_addr *addr,
                uint64_t now_ms)
{
    struct peer_link *l = NULL;
    if (peer_id_is_nobody(peer))
        l = links_dial(links, peer, addr, now_ms);
    else if (links_for(links, peer, addr, &l, now_ms) < 0)
        l = NULL;
    if (l != NULL)
        l->is_met = true;
}

bool links_is_met(const struct links *links, struct handle h)
{
    const struct peer_link *l = links_at(links, h);
    return l != NULL && l->is_met;
}

uint64_t links_round_trip_ms(const struct links *links, struct peer_id peer)
{
    const struct peer_link *l = links_open_to(links, peer);
    return l == NULL ? 0 : l->ponged_ms;
}

uint32_t links_count(const struct links *links)
{
    return table_count(&links->by_peer);
}

/* ---- outputs ------------------------------------------------------------------------------------------------------ */

/* Fills in what is known only now; false: whom it was for is gone. */
static bool links_finish(struct links *links, struct queued *q)
{
    struct links_event *e = &q->event;
    if (e->kind == LINKS_CONTROL)
        return wire_link_read(&e->message, q->text, links->records) == 0;
    if (e->kind != LINKS_MESSAGE && e->kind != LINKS_CONSUMED)
        return true;
    struct lane_state *lane = lane_at(links, e->lane);
    if (lane == NULL)
        return false;
    e->user = lane->users[e->side];
    if (!lane->is_open[e->side])
        return false;
    if (e->kind == LINKS_CONSUMED) {
        lane->consumed_queued = false;
        e->total = lane->consumed;
    }
    if (e->kind != LINKS_MESSAGE || q->is_kept)
        return true;
    return wire_link_read(&e->message, q->text, links->records) == 0;
}

/* After everything that came before it. */
static const struct links_event *links_next_lost(struct links *links)
{
    struct links_event *event = &links->lost_event;
    if (list_is_empty(&links->lost))
        return NULL;
    struct lane_state *lane = container_of(list_first(&links->lost), struct lane_state, in_lost);
    memset(event, 0, offsetof(struct links_event, message));
    event->kind = LINKS_LANE_LOST;
    event->lane = (struct lane){lane->self};
    event->side = lane->side;
    event->user = lane->users[lane->side];
    event->sent = lane->lost_sent;
    event->number = lane->lost_number;
    lane_free(links, lane);
    return event;
}

const struct links_event *links_next_event(struct links *links)
{
    for (;;) {
        queued_free(links->given);
        links->given = NULL;
        if (list_is_empty(&links->queue))
            return links_next_lost(links);
        struct queued *q = container_of(list_first(&links->queue), struct queued, in_queue);
        list_remove(&q->in_queue);
        links->given = q;
        if (links_finish(links, q))
            return &q->event;
    }
}

bool links_next_effect(struct links *links, struct mesh_effect *effect, uint64_t now_ms)
{
    bytes_unref(links->record);
    links->record = NULL;
    while (!list_is_empty(&links->dirty)) {
        struct peer_link *l = container_of(list_first(&links->dirty), struct peer_link, dirty);
        memset(effect, 0, sizeof *effect);
        effect->handle = l->self;
        if (l->wants_dial) {
            l->wants_dial = false;
            effect->kind = MESH_LINK_DIAL;
            effect->wire.to = l->addr;
            return true;
        }
        if (l->state == PEER_LINK_GREETING || l->state == PEER_LINK_OPEN)
            links->record = link_next_record(&l->link, now_ms);
        if (links->record != NULL) {
            effect->kind = MESH_LINK_BYTES;
            effect->wire.sealed = slice_of(links->record, 0, links->record->length);
            return true;
        }
        list_remove(&l->dirty);
        if (l->wants_close) {
            effect->kind = MESH_LINK_CLOSE;
            effect->end.cut = l->close_cut;
            links_remove(links, l);
            return true;
        }
        if (l->state == PEER_LINK_OPEN && l->link.ended_out && !link_wants_write(&l->link)) {
            links_end(links, l, MESH_LOSS_FIN, true, false, now_ms);
        }
    }
    return false;
}
