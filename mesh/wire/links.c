/* links.c - the table of links: dials, sockets, time, loss, and what leaves. Lanes, messages and
 * events are lanes.c's business. */
#include "mesh/wire/links_inside.h"

#include <errno.h>
#include <stdlib.h>

#define LINKS_REDIAL_MAX_MS 1000
#define LINKS_PROVED_MS 1000 /* a round trip so lately is as good as a new one */
#define LINKS_EMPTY_MS 1000  /* the unpreferred of two links closes when it was empty so long */

/* ---- making --------------------------------------------------------------------------------- */

int links_new(struct links **linksp, const struct links_config *config)
{
    struct links *links = calloc(1, sizeof *links);
    *linksp = links;
    if (links == NULL)
        return -ENOMEM;
    links->config = *config;
    pool_init(&links->links, sizeof(struct peer_link), LINKS_MAX);
    pool_init(&links->lanes, sizeof(struct lane_state), LINKS_LANES_MAX);
    table_init_numbers(&links->by_peer, sizeof(struct peer_id), config->sip_key);
    list_init(&links->queue);
    list_init(&links->consumed);
    list_init(&links->lost);
    list_init(&links->dirty);
    heap_init(&links->timers);
    return 0;
}

void links_free(struct links *links)
{
    struct handle h;
    if (links == NULL)
        return;
    for (uint32_t slot = 0; slot < pool_span(&links->lanes); slot++) {
        struct lane_state *lane = pool_slot(&links->lanes, slot, &h);
        if (lane != NULL)
            queued_free_all(links, &lane->waiting);
    }
    for (uint32_t slot = 0; slot < pool_span(&links->links); slot++) {
        struct peer_link *l = pool_slot(&links->links, slot, &h);
        if (l == NULL)
            continue;
        queued_free_all(links, &l->control);
        if (l->state == PEER_LINK_GREETING || l->state == PEER_LINK_OPEN)
            link_deinit(&l->link);
    }
    queued_free(links, links->given);
    queued_free_all(links, &links->queue);
    spare_deinit(&links->queued);
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

void links_touch(struct links *links, struct peer_link *l)
{
    if (!list_is_linked(&l->dirty))
        list_push_back(&links->dirty, &l->dirty);
}

/* ---- the links of one peer ------------------------------------------------------------------ */

struct peer_link *links_at(const struct links *links, struct handle h)
{
    return pool_at(&links->links, h);
}

/* Of two links of a pair new lanes go on the one dialled by the lower peer id: both ends choose
 * the same without asking. One whose key went out of use is nobody's choice. */
static bool links_is_preferred(const struct links *links, const struct peer_link *l)
{
    struct peer_id dialler = l->is_dialled ? links->config.self : l->peer;
    struct peer_id other = l->is_dialled ? l->peer : links->config.self;
    return peer_id_compare(dialler, other) < 0;
}

static bool links_is_better(const struct links *links, const struct peer_link *l,
                            const struct peer_link *than)
{
    if (l->is_old != than->is_old)
        return than->is_old;
    return links_is_preferred(links, l) && !links_is_preferred(links, than);
}

static struct peer_link *links_open_to(const struct links *links, struct peer_id peer)
{
    uint32_t slot = 0;
    struct handle h;
    if (!table_get(&links->by_peer, &peer, &slot))
        return NULL;
    return pool_slot(&links->links, slot, &h);
}

/* When a link that nobody uses closes: soon, if another one of the pair is preferred. */
static uint64_t links_idle_end_ms(const struct links *links, const struct peer_link *l)
{
    return l->busy_ms + (links_open_to(links, l->peer) == l ? LINKS_IDLE_MS : LINKS_EMPTY_MS);
}

static uint64_t links_dial_doubt_ms(const struct peer_link *l)
{
    return l->lanes_count > 0 && !l->is_doubted ? l->busy_ms + LINKS_DOUBT_DIAL_MS : MESH_NEVER;
}

/* A link without lanes: when its ping counts as unanswered, or the next is due. Whose other end is
 * gone without a word is to be found before somebody needs it, and what is only said on it puts
 * that off by nothing. */
static uint64_t links_idle_due_ms(const struct peer_link *l)
{
    uint64_t last_ms = l->pinged_ms > l->ponged_ms ? l->pinged_ms : l->ponged_ms;
    return l->is_unanswered ? l->pinged_ms + LINKS_SILENT_MS : last_ms + LINKS_IDLE_PING_MS;
}

void links_schedule(struct links *links, struct peer_link *l)
{
    uint64_t at = MESH_NEVER, own = MESH_NEVER;
    switch (l->state) {
    case PEER_LINK_GREETING:
        at = link_deadline_ms(&l->link);
        own = links_dial_doubt_ms(l);
        break;
    case PEER_LINK_OPEN:
        at = link_deadline_ms(&l->link);
        if (l->lanes_count > 0)
            own = l->pinged_ms + LINKS_PING_MS;
        else if (l->link.wants_end)
            own = l->ending_ms + LINKS_SILENT_MS;
        else if (links_idle_end_ms(links, l) < links_idle_due_ms(l))
            own = links_idle_end_ms(links, l);
        else
            own = links_idle_due_ms(l);
        if (l->is_old && l->old_until_ms < own)
            own = l->old_until_ms;
        break;
    case PEER_LINK_FAILED:
        at = l->retry_at_ms + LINKS_IDLE_MS;
        break;
    case PEER_LINK_DIALLING:
        own = links_dial_doubt_ms(l);
        break;
    case PEER_LINK_CLOSED:
        break;
    }
    (void)heap_set(&links->timers, &l->timer, own < at ? own : at);
}

/* The next open link of that peer from `slot` on; NULL: none. */
static struct peer_link *links_next_open(const struct links *links, struct peer_id peer,
                                         uint32_t slot)
{
    struct handle h;
    for (; slot < pool_span(&links->links); slot++) {
        struct peer_link *l = pool_slot(&links->links, slot, &h);
        if (l != NULL && l->state == PEER_LINK_OPEN && !l->link.wants_end &&
            peer_id_equal(l->peer, peer))
            return l;
    }
    return NULL;
}

/* The choice for this peer may have changed: looks at all its links again. */
static void links_choose(struct links *links, struct peer_id peer)
{
    struct peer_link *best = links_next_open(links, peer, 0), *l;
    table_remove(&links->by_peer, &peer);
    if (best == NULL)
        return;
    for (l = best; l != NULL; l = links_next_open(links, peer, l->self.slot + 1))
        if (links_is_better(links, l, best))
            best = l;
    (void)table_put(&links->by_peer, &peer, best->self.slot);
    for (l = links_next_open(links, peer, 0); l != NULL;
         l = links_next_open(links, peer, l->self.slot + 1))
        links_schedule(links, l); /* one that lost its place need not wait for its minute */
}

/* One that is on its way: being dialled, or waiting to be dialled again (perhaps with its last
 * socket not closed yet). */
static struct peer_link *links_coming(const struct links *links, struct peer_id peer)
{
    struct handle h;
    for (uint32_t slot = 0; slot < pool_span(&links->links); slot++) {
        struct peer_link *l = pool_slot(&links->links, slot, &h);
        if (l != NULL && l->is_dialled && peer_id_equal(l->peer, peer) &&
            (l->state == PEER_LINK_DIALLING || l->state == PEER_LINK_GREETING ||
             l->state == PEER_LINK_FAILED || l->retry_at_ms != 0))
            return l;
    }
    return NULL;
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
    queued_free_all(links, &l->control);
    pool_give(&links->links, l->self);
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

int links_for(struct links *links, struct peer_id peer, const struct mesh_addr *addr,
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
    if (l->retry_at_ms != 0) {
        if (now_ms < l->retry_at_ms)
            return -EAGAIN;
        /* a handle of its own: what the host still says of the former dial is not about this */
        struct mesh_addr again = addr != NULL ? *addr : l->addr;
        uint32_t retry_ms = l->retry_ms, tries = l->tries;
        l->retry_at_ms = 0;
        if (l->state == PEER_LINK_FAILED)
            links_remove(links, l);
        l = links_dial(links, peer, &again, now_ms);
        if (l == NULL)
            return -ENOBUFS;
        l->retry_ms = retry_ms;
        l->tries = tries;
    }
    *lp = l;
    return 0;
}

/* ---- losing a link -------------------------------------------------------------------------- */

static void links_put_off(struct peer_link *l, uint64_t now_ms)
{
    l->retry_ms = l->retry_ms == 0 ? LINKS_REDIAL_MS : l->retry_ms * 2;
    if (l->retry_ms > LINKS_REDIAL_MAX_MS)
        l->retry_ms = LINKS_REDIAL_MAX_MS;
    l->retry_at_ms = now_ms + l->retry_ms;
    l->tries++;
}

/* It has no socket any more: it goes, or is remembered until it may be dialled again. */
static void links_closed(struct links *links, struct peer_link *l)
{
    if (l->retry_at_ms == 0) {
        links_remove(links, l);
        return;
    }
    l->state = PEER_LINK_FAILED;
    l->wants_close = false;
    links_schedule(links, l);
}

/* Ends a link. `has_socket`: the host is to close it; else it told us that it is closed. */
static void links_end(struct links *links, struct peer_link *l, enum mesh_loss why, bool has_socket,
                      bool cut, uint64_t now_ms)
{
    enum peer_link_state was = l->state;
    if (was == PEER_LINK_CLOSED || was == PEER_LINK_FAILED)
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
    l->state = PEER_LINK_CLOSED;
    if (was == PEER_LINK_OPEN)
        links_choose(links, l->peer);
    else if (l->is_dialled && !peer_id_is_nobody(l->peer))
        links_put_off(l, now_ms); /* whoever refuses or fails to greet us is not dialled at once */
    queued_free_all(links, &l->control);
    l->wants_dial = false;
    if (!has_socket) {
        links_closed(links, l);
        return;
    }
    l->wants_close = true;
    l->close_cut = cut;
    links_touch(links, l);
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

void links_renew(struct links *links, uint64_t now_ms)
{
    struct handle h;
    for (uint32_t slot = 0, span = pool_span(&links->links); slot < span; slot++) {
        struct peer_link *l = pool_slot(&links->links, slot, &h);
        if (l == NULL || l->state != PEER_LINK_OPEN || l->is_old ||
            seal_ring_find(links->config.ring, l->link.key_id) != NULL)
            continue;
        l->is_old = true;
        l->old_until_ms = now_ms + LINKS_OLD_MS;
        if (l->is_dialled && !l->link.wants_end && links_coming(links, l->peer) == NULL)
            (void)links_dial(links, l->peer, &l->addr, now_ms);
        links_choose(links, l->peer);
    }
}

void links_forget(struct links *links, struct peer_id peer, uint64_t now_ms)
{
    struct handle h;
    for (uint32_t slot = 0; slot < pool_span(&links->links); slot++) {
        struct peer_link *l = pool_slot(&links->links, slot, &h);
        if (l == NULL || !peer_id_equal(l->peer, peer))
            continue;
        links_end(links, l, MESH_LOSS_RST, true, true, now_ms);
        l = pool_slot(&links->links, slot, &h);
        if (l == NULL)
            continue;
        l->retry_at_ms = 0; /* nobody dials it again */
        if (l->state == PEER_LINK_FAILED)
            links_remove(links, l);
    }
}

/* ---- facts from sockets --------------------------------------------------------------------- */

static int links_greet(struct links *links, struct peer_link *l, uint64_t now_ms)
{
    struct link_config config = {.is_dialler = l->is_dialled,
                                 .self = links->config.self,
                                 .nonce = links->config.nonce,
                                 .ring = links->config.ring,
                                 .expected = l->peer,
                                 .key_turn = l->tries,
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
    l->busy_ms = l->ponged_ms = l->proved_ms = now_ms;
    l->is_doubted = false;
    links_choose(links, l->peer);
    links_queue_for(links, l, LINKS_READY, MESH_LOSS_FIN);
    links_say_waiting(links, l);
}

static bool links_on_link_event(struct links *links, struct peer_link *l,
                                const struct link_event *e, uint64_t now_ms)
{
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
        links_on_stream_closed(links, e);
        break;
    case LINK_PONG:
        l->ponged_ms = l->proved_ms = now_ms;
        l->is_doubted = l->is_unanswered = false;
        if (l->is_asked)
            links_queue_for(links, l, LINKS_REACHED, MESH_LOSS_FIN);
        l->is_asked = false;
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
    if (l == NULL || (l->state != PEER_LINK_GREETING && l->state != PEER_LINK_OPEN))
        return;
    link_written(&l->link, bytes);
    l->ending_ms = now_ms;
    links_touch(links, l);
}

void links_down(struct links *links, struct handle h, enum mesh_loss why, uint64_t now_ms)
{
    struct peer_link *l = links_at(links, h);
    if (l == NULL)
        return;
    if (l->state == PEER_LINK_CLOSED)
        links_closed(links, l); /* the host was faster than our wish to close it */
    else
        links_end(links, l, why, false, false, now_ms);
}

/* ---- time ----------------------------------------------------------------------------------- */

static void links_doubt(struct links *links, struct peer_link *l)
{
    if (!l->is_doubted)
        links_queue_for(links, l, LINKS_DOUBTED, MESH_LOSS_TIMEOUT);
    l->is_doubted = true;
}

static void links_open_due(struct links *links, struct peer_link *l, uint64_t now_ms)
{
    if (l->lanes_count == 0) {
        if (!l->link.wants_end && now_ms >= links_idle_end_ms(links, l)) {
            link_shutdown(&l->link);
            l->ending_ms = now_ms;
            links_choose(links, l->peer);
        } else if (!l->link.wants_end && now_ms >= links_idle_due_ms(l)) {
            l->pinged_ms = l->ponged_ms = now_ms; /* once in use, its silence counts from here */
            l->is_unanswered = true;
            link_ping(&l->link, ++l->pings);
        }
        return;
    }
    l->busy_ms = now_ms;
    if (now_ms < l->pinged_ms + LINKS_PING_MS)
        return;
    /* the first ping after a quiet time: silence counts from here, however short that was */
    if (now_ms - l->pinged_ms > 4 * LINKS_PING_MS)
        l->ponged_ms = now_ms;
    l->pinged_ms = now_ms;
    link_ping(&l->link, ++l->pings);
    if (now_ms - l->ponged_ms > LINKS_DOUBT_MS)
        links_doubt(links, l);
}

/* Its other end answered on another link since this one was to: it lives, and this one is broken.
 * Not while we stood still, and what came has not been read. */
static bool links_is_outlived(const struct links *links, const struct peer_link *l, uint64_t now_ms)
{
    const struct peer_link *other = links_next_open(links, l->peer, 0);
    if (now_ms - l->ponged_ms <= LINKS_DOUBT_MS || now_ms - l->pinged_ms > 2 * LINKS_PING_MS)
        return false;
    for (; other != NULL; other = links_next_open(links, l->peer, other->self.slot + 1))
        if (other->proved_ms > l->ponged_ms + LINKS_PING_MS)
            return true;
    return false;
}

/* Its pings are not answered; or it is to end, and nobody takes the rest: nothing pings such a
 * link. */
static bool links_is_silent(const struct links *links, const struct peer_link *l, uint64_t now_ms)
{
    if (l->state != PEER_LINK_OPEN)
        return false;
    if (l->link.wants_end && l->lanes_count == 0)
        return now_ms >= l->ending_ms + LINKS_SILENT_MS;
    if (l->lanes_count == 0)
        return l->is_unanswered && now_ms >= l->pinged_ms + LINKS_SILENT_MS;
    if (links_is_outlived(links, l, now_ms))
        return true;
    return now_ms - l->ponged_ms > LINKS_SILENT_MS && now_ms - l->pinged_ms < LINKS_SILENT_MS;
}

static void links_due(struct links *links, struct peer_link *l, uint64_t now_ms)
{
    heap_remove(&links->timers, &l->timer);
    if (now_ms >= links_dial_doubt_ms(l) &&
        (l->state == PEER_LINK_DIALLING || l->state == PEER_LINK_GREETING))
        links_doubt(links, l);
    if (l->state == PEER_LINK_FAILED) {
        links_remove(links, l);
    } else if (l->state == PEER_LINK_DIALLING) {
        links_schedule(links, l);
    } else if (links_is_silent(links, l, now_ms)) {
        links_end(links, l, MESH_LOSS_TIMEOUT, true, true, now_ms);
    } else if (l->state == PEER_LINK_OPEN && l->is_old && now_ms >= l->old_until_ms) {
        links_end(links, l, MESH_LOSS_RST, true, true, now_ms);
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

/* ---- questions ------------------------------------------------------------------------------ */

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

int links_reach(struct links *links, struct peer_id peer, const struct mesh_addr *addr,
                uint64_t now_ms)
{
    struct peer_link *l = links_open_to(links, peer);
    if (l == NULL)
        return links_for(links, peer, addr, &l, now_ms);
    if (now_ms - l->proved_ms <= LINKS_PROVED_MS)
        return 1;
    l->is_asked = true;
    link_ping(&l->link, ++l->pings);
    links_touch(links, l);
    return 0;
}

void links_try(struct links *links, struct peer_id peer, const struct mesh_addr *addr,
               uint64_t now_ms)
{
    if (links_coming(links, peer) == NULL)
        (void)links_dial(links, peer, addr, now_ms);
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

/* ---- outputs -------------------------------------------------------------------------------- */

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
        if ((l->state == PEER_LINK_GREETING || l->state == PEER_LINK_OPEN) &&
            l->link.state == LINK_DOWN)
            links_drain(links, l, now_ms); /* it failed for want of memory: nobody else will ask */
        if (l->wants_close) {
            effect->kind = MESH_LINK_CLOSE;
            effect->end.cut = l->close_cut;
            links_closed(links, l);
            return true;
        }
        if (l->state == PEER_LINK_OPEN && l->link.ended_out && !link_wants_write(&l->link)) {
            links_end(links, l, MESH_LOSS_FIN, true, false, now_ms);
        }
    }
    return false;
}
