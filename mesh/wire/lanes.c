/* lanes.c - lanes over links or within this process, the messages on them, and the events that
 * come of both. Facts become queued events, so that no module is called while another one works.
 * Which links there are is links.c's business. */
#include "mesh/wire/links_inside.h"

#include <errno.h>
#include <stdlib.h>

#define LOCAL_MESSAGE_BYTES 32 /* what a message's head counts on a lane within this process */

/* ---- queueing ------------------------------------------------------------------------------- */

void queued_free(struct links *links, struct queued *q)
{
    if (q == NULL)
        return;
    list_remove(&q->in_queue);
    if (q->is_kept)
        wire_message_drop(&q->event.message);
    slice_drop(&q->text);
    spare_give(&links->queued, q, LINKS_QUEUED_SPARE);
}

void queued_free_all(struct links *links, struct list *list)
{
    while (!list_is_empty(list))
        queued_free(links, container_of(list_first(list), struct queued, in_queue));
}

static struct queued *links_queue(struct links *links, enum links_event_kind kind)
{
    struct queued *q = spare_take(&links->queued, sizeof *q);
    if (q == NULL)
        return NULL;
    memset(&q->event, 0, offsetof(struct links_event, message));
    q->event.kind = kind;
    q->text = (struct slice){0};
    q->is_kept = false;
    list_push_back(&links->queue, &q->in_queue);
    return q;
}

void links_queue_for(struct links *links, const struct peer_link *l, enum links_event_kind kind,
                     enum mesh_loss loss)
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

/* A VIEW's records are the caller's for this call only. It is not worth a copy: views that differ
 * are exchanged again once the link stands. */
static int links_wait(struct links *links, struct list *list, const struct wire_message *m)
{
    if (m->kind == WIRE_VIEW)
        return -EAGAIN;
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

/* ---- the life of a lane --------------------------------------------------------------------- */

static struct lane_state *lane_at(const struct links *links, struct lane lane)
{
    return pool_at(&links->lanes, lane.at);
}

static enum links_side lane_other(enum links_side side)
{
    return side == LINKS_ENTRY ? LINKS_OWNER : LINKS_ENTRY;
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
    lane->is_local = l == NULL;
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
    queued_free_all(links, &lane->waiting);
    list_remove(&lane->in_lost);
    list_remove(&lane->in_consumed);
    list_remove(&lane->in_link);
    if (l != NULL)
        l->lanes_count--;
    pool_give(&links->lanes, lane->self);
}

static int lane_begin(struct links *links, struct peer_link *l, struct lane_state *lane)
{
    lane->stream = link_stream_open(&l->link, lane->self);
    if (lane->stream == 0)
        return -ENOBUFS;
    while (!list_is_empty(&lane->waiting)) {
        struct queued *q = container_of(list_first(&lane->waiting), struct queued, in_queue);
        int rc = links_say(links, l, lane->stream, &q->event.message);
        queued_free(links, q);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static void lane_lose(struct links *links, struct lane_state *lane, bool sent, uint64_t number,
                      uint64_t answered_ms)
{
    if (lane->is_lost)
        return;
    lane->is_lost = true;
    lane->lost_sent = sent;
    lane->lost_number = number;
    lane->lost_answered_ms = answered_ms;
    list_push_back(&links->lost, &lane->in_lost);
}

/* A message could not be taken, or was none. Those after it would make a gap, so the lane is lost
 * for both sides; the link lives on, and the entry attaches over another lane. */
static void lane_break(struct links *links, struct lane_state *lane)
{
    struct peer_link *l = links_at(links, lane->link);
    if (lane->is_lost)
        return;
    if (l != NULL && lane->stream != 0) {
        link_stream_close(&l->link, lane->stream);
        links_touch(links, l);
    }
    lane_lose(links, lane, true, 0, l != NULL ? l->proved_ms : 0);
}

void links_say_waiting(struct links *links, struct peer_link *l)
{
    while (!list_is_empty(&l->control)) {
        struct queued *q = container_of(list_first(&l->control), struct queued, in_queue);
        (void)links_say(links, l, 0, &q->event.message);
        queued_free(links, q);
    }
    LIST_EACH (at, &l->lanes) {
        struct lane_state *lane = container_of(at, struct lane_state, in_link);
        if (lane->stream != 0 || lane->is_lost || lane_begin(links, l, lane) == 0)
            continue;
        link_stream_close(&l->link, lane->stream);
        lane_lose(links, lane, false, 0, l->proved_ms);
    }
}

void links_lose_lanes(struct links *links, struct peer_link *l)
{
    bool was_open = l->state == PEER_LINK_OPEN;
    LIST_EACH_SAFE (at, after, &l->lanes) {
        struct lane_state *lane = container_of(at, struct lane_state, in_link);
        bool sent = was_open && lane->stream != 0 && link_stream_sent(&l->link, lane->stream);
        list_remove(&lane->in_link);
        lane_lose(links, lane, sent, was_open ? l->link.number : 0, l->proved_ms);
        lane->link = (struct handle){0};
        queued_free_all(links, &lane->waiting);
    }
    l->lanes_count = 0;
}

/* ---- what the two sides do with a lane ------------------------------------------------------ */

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
    enum links_side to = lane_other(from);
    struct queued *q = links_queue(links, LINKS_MESSAGE);
    if (q == NULL)
        return -ENOMEM;
    q->event.lane = (struct lane){lane->self};
    q->event.side = to;
    q->event.bytes = LOCAL_MESSAGE_BYTES + message->payload.length;
    q->event.message = *message;
    q->is_kept = wire_message_keep(&q->event.message, links->config.budget) == 0;
    if (!q->is_kept) {
        queued_free(links, q);
        return -ENOMEM;
    }
    return (int)q->event.bytes;
}

int links_send(struct links *links, struct lane lane, enum links_side from,
               const struct wire_message *message)
{
    struct lane_state *state = lane_at(links, lane);
    int rc;
    if (state == NULL || state->is_lost)
        return -EPIPE;
    if (state->is_local)
        rc = links_send_here(links, state, from, message);
    else if (state->stream == 0)
        rc = links_wait(links, &state->waiting, message);
    else
        rc = links_say(links, links_at(links, state->link), state->stream, message);
    if (rc < 0)
        lane_break(links, state);
    return rc;
}

static void lane_consumed(struct links *links, struct lane_state *lane, uint64_t total)
{
    lane->consumed = total;
    if (!list_is_linked(&lane->in_consumed))
        list_push_back(&links->consumed, &lane->in_consumed);
}

void links_consumed(struct links *links, struct lane lane, enum links_side side, size_t bytes)
{
    struct lane_state *state = lane_at(links, lane);
    if (state == NULL || state->is_lost || bytes == 0)
        return;
    if (!state->is_local) {
        struct peer_link *l = links_at(links, state->link);
        link_consumed(&l->link, state->stream, bytes);
        links_touch(links, l);
        links_schedule(links, l);
    } else if (side == LINKS_ENTRY) { /* within this process an OPEN is taken by being read */
        lane_consumed(links, state, state->consumed + bytes);
    }
}

void links_close(struct links *links, struct lane lane, enum links_side side)
{
    struct lane_state *state = lane_at(links, lane);
    if (state == NULL)
        return;
    struct peer_link *l = links_at(links, state->link);
    state->is_open[side] = false;
    if (state
            ->is_open[lane_other(side)]) { /* within this process: it hears of it, as over a link */
        state->side = lane_other(side);
        lane_lose(links, state, true, 0, MESH_NEVER);
        return;
    }
    if (l != NULL && state->stream != 0 && !state->is_lost) {
        link_stream_close(&l->link, state->stream);
        links_touch(links, l);
    }
    lane_free(links, state);
    if (l != NULL)
        links_schedule(links, l);
}

bool links_is_open(const struct links *links, struct lane lane, enum links_side side)
{
    const struct lane_state *state = lane_at(links, lane);
    return state != NULL && state->is_open[side] && !state->is_lost;
}

bool links_sent(const struct links *links, struct lane lane)
{
    const struct lane_state *state = lane_at(links, lane);
    if (state == NULL || handle_is_none(state->link))
        return true;
    return state->stream != 0 &&
           link_stream_sent(&links_at(links, state->link)->link, state->stream);
}

/* ---- control messages ----------------------------------------------------------------------- */

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
    if (l == NULL || l->state == PEER_LINK_FAILED || l->state == PEER_LINK_CLOSED)
        return -EPIPE;
    l->busy_ms = now_ms;
    if (l->state != PEER_LINK_OPEN)
        return links_wait(links, &l->control, message);
    int rc = links_say(links, l, 0, message);
    return rc < 0 ? rc : 0;
}

/* ---- what came over a link ------------------------------------------------------------------ */

/* A message becomes an event; the first on a stream of theirs also makes the lane. */
void links_on_message(struct links *links, struct peer_link *l, const struct link_event *e,
                      uint64_t now_ms)
{
    bool is_control = e->stream == 0;
    struct lane_state *lane = is_control ? NULL : pool_at(&links->lanes, e->user);
    l->busy_ms = now_ms;
    if (!is_control && e->is_new) {
        lane = lane_new(links, l, LINKS_OWNER);
        if (lane == NULL) {
            link_stream_cut(&l->link, e->stream);
            return;
        }
        lane->stream = e->stream;
        (void)link_stream_accept(&l->link, e->stream, lane->self);
    }
    if (!is_control && (lane == NULL || lane->is_lost))
        return;
    struct queued *q = links_queue(links, is_control ? LINKS_CONTROL : LINKS_MESSAGE);
    if (q != NULL && slice_keep(&q->text, e->text, links->config.budget) < 0) {
        queued_free(links, q);
        q = NULL;
    }
    if (q == NULL) {
        if (lane != NULL)
            lane_break(links, lane);
        return;
    }
    q->event.peer = l->peer;
    q->event.link = l->self;
    q->event.bytes = e->text.length;
    if (lane != NULL) {
        q->event.lane = (struct lane){lane->self};
        q->event.side = lane->side;
    }
}

void links_on_consumed(struct links *links, const struct link_event *e)
{
    struct lane_state *lane = pool_at(&links->lanes, e->user);
    if (lane != NULL)
        lane_consumed(links, lane, e->total);
}

void links_on_stream_closed(struct links *links, const struct link_event *e)
{
    struct lane_state *lane = pool_at(&links->lanes, e->user);
    if (lane != NULL)
        lane_lose(links, lane, e->sent, 0, MESH_NEVER);
}

/* ---- events out ----------------------------------------------------------------------------- */

/* Fills in what is known only now; false: whom it was for is gone. */
static bool links_finish(struct links *links, struct queued *q)
{
    struct links_event *e = &q->event;
    if (e->kind == LINKS_CONTROL)
        return wire_link_read(&e->message, q->text, links->records) == 0;
    if (e->kind != LINKS_MESSAGE)
        return true;
    struct lane_state *lane = lane_at(links, e->lane);
    if (lane == NULL || !lane->is_open[e->side])
        return false;
    e->user = lane->users[e->side];
    if (q->is_kept)
        return true;
    if (wire_link_read(&e->message, q->text, links->records) == 0)
        return true;
    lane_break(links, lane);
    return false;
}

static struct links_event *links_lane_event(struct links *links, const struct lane_state *lane,
                                            enum links_event_kind kind, enum links_side side)
{
    struct links_event *event = &links->given_lane;
    memset(event, 0, offsetof(struct links_event, message));
    event->kind = kind;
    event->lane = (struct lane){lane->self};
    event->side = side;
    event->user = lane->users[side];
    return event;
}

static const struct links_event *links_next_consumed(struct links *links)
{
    while (!list_is_empty(&links->consumed)) {
        struct lane_state *lane =
            container_of(list_first(&links->consumed), struct lane_state, in_consumed);
        enum links_side side = lane->is_local ? LINKS_OWNER : lane->side;
        list_remove(&lane->in_consumed);
        if (!lane->is_open[side])
            continue;
        struct links_event *event = links_lane_event(links, lane, LINKS_CONSUMED, side);
        event->total = lane->consumed;
        return event;
    }
    return NULL;
}

/* After everything that came before it. */
static const struct links_event *links_next_lost(struct links *links)
{
    if (list_is_empty(&links->lost))
        return NULL;
    struct lane_state *lane = container_of(list_first(&links->lost), struct lane_state, in_lost);
    enum links_side side = lane->side;
    struct links_event *event = links_lane_event(links, lane, LINKS_LANE_LOST, side);
    event->sent = lane->lost_sent;
    event->number = lane->lost_number;
    event->answered_ms = lane->lost_answered_ms;
    lane->is_open[side] = false;
    if (lane->is_open[lane_other(side)])
        lane->side = lane_other(side); /* within this process: told next */
    else
        lane_free(links, lane);
    return event;
}

const struct links_event *links_next_event(struct links *links)
{
    const struct links_event *event;
    for (;;) {
        queued_free(links, links->given);
        links->given = NULL;
        if (list_is_empty(&links->queue))
            break;
        struct queued *q = container_of(list_first(&links->queue), struct queued, in_queue);
        list_remove(&q->in_queue);
        links->given = q;
        if (links_finish(links, q))
            return &q->event;
    }
    event = links_next_consumed(links);
    return event != NULL ? event : links_next_lost(links);
}
