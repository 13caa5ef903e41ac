/* swim_world.h - a few peers' membership in a made-up network with virtual time, loss, cuts and
 * restarts: for tests/unit/test_swim.c. Datagrams travel as the bytes that the codec makes of them,
 * unsealed; links as structs, in order. */
#ifndef TESTS_SWIM_WORLD_H
#define TESTS_SWIM_WORLD_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mesh/member/swim.h"

#define PEERS_MAX 24
#define WALL_MS 1760000000000u /* wall clock at virtual time 0 */
#define START_MS 5000

struct peer {
    struct swim *swim; /* NULL: not running */
    struct mesh_addr addr;
    uint64_t nonce;
    unsigned group; /* of those that reach each other */
    bool is_stopped;
    bool is_mute, is_deaf; /* no datagram leaves it, or comes to it; nor is it reached over TCP */
    bool has_no_udp;       /* no datagram leaves it or comes to it, but TCP does */
    bool has_no_links;     /* no exchange of views begins at it or with it */
    uint32_t lost_out;     /* of 100 datagrams that it sends, beside the world's */
    int joined, waiting, taken, superseded, left; /* events seen */
    unsigned deaths, others_deaths;               /* it saw: of others; but of watched_id */
};

struct packet {
    struct packet *next;
    uint64_t at_ms;
    struct mesh_addr from, to;
    uint64_t nonce;
    struct peer_id sender; /* on a link */
    bool is_link;
    struct wire_message message;
    struct wire_update *records;
    size_t length;
    uint8_t bytes[WIRE_PLAIN_MAX];
};

struct world {
    uint64_t now_ms;
    struct peer peers[PEERS_MAX];
    size_t count;
    struct packet *packets; /* by time */
    struct shuffle chance;
    uint32_t loss;                           /* of 100 datagrams */
    struct mesh_addr shared_from, shared_to; /* packets of the first peer astray */
    struct peer *cut[2];                     /* no datagram passes between these two */
    bool blocks_tcp;                         /* no check over TCP is ever answered */
    const struct swim_preset *preset;
    const struct identity *identities[PEERS_MAX]; /* of peers in their order; NULL: none */
    struct peer_id watched_id;                    /* the one in trouble, in stories about one */
    uint64_t nonces, packets_sent, bytes_sent, checks;
};

static struct mesh_addr addr_of(unsigned n)
{
    struct mesh_addr addr = {.ip = {[10] = 0xff, [11] = 0xff, [12] = 10}, .port = 7946};
    addr.ip[14] = (uint8_t)(n >> 8);
    addr.ip[15] = (uint8_t)(n + 1);
    return addr;
}

static void world_init(struct world *w, uint8_t seed)
{
    uint8_t bytes[32] = {seed};
    struct rng rng;
    rng_init(&rng, bytes);
    memset(w, 0, sizeof *w);
    shuffle_init(&w->chance, &rng);
    w->now_ms = START_MS;
}

static void packet_free(struct packet *packet)
{
    free(packet->records);
    free(packet);
}

static void world_deinit(struct world *w)
{
    while (w->packets != NULL) {
        struct packet *packet = w->packets;
        w->packets = packet->next;
        packet_free(packet);
    }
    for (size_t n = 0; n < w->count; n++)
        swim_free(w->peers[n].swim);
}

static void world_send(struct world *w, struct packet *packet, uint32_t delay_ms)
{
    struct packet **at = &w->packets;
    packet->at_ms = w->now_ms + delay_ms;
    while (*at != NULL && (*at)->at_ms <= packet->at_ms)
        at = &(*at)->next;
    packet->next = *at;
    *at = packet;
    w->packets_sent++;
}

static struct peer *peer_at(struct world *w, const struct mesh_addr *addr)
{
    for (size_t n = 0; n < w->count; n++)
        if (w->peers[n].swim != NULL && mesh_addr_equal(&w->peers[n].addr, addr))
            return &w->peers[n];
    return NULL;
}

/* Does nothing get from a to b? */
static bool is_cut(const struct world *w, const struct peer *a, const struct peer *b)
{
    return a->is_mute || b->is_deaf || a->group != b->group || (a == w->cut[0] && b == w->cut[1]) ||
           (a == w->cut[1] && b == w->cut[0]);
}

static bool is_lost(struct world *w, const struct peer *from)
{
    return shuffle_below(&w->chance, 100) < w->loss ||
           (from->lost_out > 0 && shuffle_below(&w->chance, 100) < from->lost_out);
}

static struct peer *peer_of(struct world *w, struct peer_id id)
{
    for (size_t n = 0; n < w->count; n++)
        if (w->peers[n].swim != NULL &&
            peer_id_equal(view_self(swim_view(w->peers[n].swim))->record->id, id))
            return &w->peers[n];
    return NULL;
}

static void link_send(struct world *w, struct peer *from, struct peer *to,
                      const struct wire_message *message, struct wire_update *records)
{
    struct packet *packet = calloc(1, sizeof *packet);
    assert_non_null(packet);
    packet->is_link = true;
    packet->from = from->addr;
    packet->to = to->addr;
    packet->nonce = to->nonce;
    packet->sender = view_self(swim_view(from->swim))->record->id;
    packet->message = *message;
    packet->records = records;
    packet->message.view.records = records != NULL ? records : packet->message.view.records;
    world_send(w, packet, 3); /* always the same: in order */
}

static void drain_events(struct world *w, struct peer *peer)
{
    struct swim_event event;
    struct view_change change;
    while (swim_next_event(peer->swim, &event))
        switch (event.kind) {
        case SWIM_JOINED:
            peer->joined++;
            break;
        case SWIM_NAME_WAITING:
            peer->waiting++;
            break;
        case SWIM_NAME_TAKEN:
            peer->taken++;
            break;
        case SWIM_SUPERSEDED:
            peer->superseded++;
            break;
        case SWIM_LEFT:
            peer->left++;
            break;
        }
    while (view_next_change(swim_view(peer->swim), &change)) {
        bool is_death = change.to == MEMBER_DEAD && change.from != MEMBER_UNKNOWN;
        peer->deaths += is_death;
        peer->others_deaths += is_death && !peer_id_equal(change.id, w->watched_id);
    }
}

static void drain(struct world *w, struct peer *peer)
{
    struct swim_send send;
    struct swim_wish wish;
    struct swim_check check;
    struct wire_message message;
    struct wire_writer writer;
    struct peer_id to;
    while (swim_next_wish(peer->swim, &wish)) {
        struct peer *other = peer_at(w, &wish.addr);
        if (other == NULL || other->group != peer->group || other->is_stopped ||
            peer->has_no_links || other->has_no_links)
            continue;
        swim_exchange_begin(peer->swim, wish.with, &message);
        link_send(w, peer, other, &message, NULL);
    }
    for (;;) {
        struct wire_update *records = calloc(WIRE_RECORDS_MAX, sizeof *records);
        assert_non_null(records);
        if (!swim_next_link_message(peer->swim, &to, &message, records)) {
            free(records);
            break;
        }
        struct peer *other = peer_of(w, to);
        if (other != NULL && other->group == peer->group)
            link_send(w, peer, other, &message, records);
        else
            free(records);
    }
    while (swim_next_check(peer->swim, &check)) {
        struct peer *other = peer_at(w, &check.addr);
        w->checks++;
        if (other == NULL)
            swim_on_refused(peer->swim, check.peer, w->now_ms);
        else if (!is_cut(w, peer, other) && !is_cut(w, other, peer) && !other->is_stopped &&
                 !w->blocks_tcp)
            swim_on_reached(
                peer->swim, check.peer,
                peer_id_equal(view_self(swim_view(other->swim))->record->id, check.peer),
                w->now_ms);
    }
    while (swim_next_send(peer->swim, &send)) {
        struct packet *packet = calloc(1, sizeof *packet);
        assert_non_null(packet);
        int rc = swim_write_send(peer->swim, &send, &writer, packet->bytes, WIRE_PLAIN_MAX);
        struct peer *other = peer_at(w, &send.addr);
        if (rc < 0 || is_lost(w, peer) || other == NULL || is_cut(w, peer, other) ||
            peer->has_no_udp || other->has_no_udp) {
            assert_true(rc == 0 || rc == -ENODATA);
            packet_free(packet);
            continue;
        }
        if (send.kind == DATAGRAM_WELCOME)
            assert_true(writer.length <= SWIM_HELLO_BYTES);
        packet->length = writer.length;
        packet->from = peer->addr;
        packet->to = send.addr;
        if (send.kind == DATAGRAM_NOT_ME && mesh_addr_equal(&peer->addr, &w->shared_to))
            packet->from = w->shared_from;
        if (peer == &w->peers[0] && mesh_addr_equal(&send.addr, &w->shared_from))
            packet->to = w->shared_to;
        packet->nonce = peer->nonce;
        w->bytes_sent += writer.length;
        world_send(w, packet, 1 + shuffle_below(&w->chance, 5));
    }
    drain_events(w, peer);
}

static void deliver(struct world *w, struct packet *packet)
{
    static struct wire_datagram datagram;
    struct peer *peer = peer_at(w, &packet->to);
    if (peer == NULL || peer->is_stopped)
        return;
    if (packet->is_link) {
        if (peer->nonce == packet->nonce)
            swim_on_link_message(peer->swim, packet->sender, &packet->message, w->now_ms);
    } else {
        assert_int_equal(wire_datagram_read(&datagram, packet->bytes, packet->length), 0);
        swim_on_datagram(peer->swim, &packet->from, &datagram, packet->nonce, w->now_ms);
    }
    drain(w, peer);
}

/* Equal hashes mean equal views (M3). */
static void check_views(struct world *w)
{
    for (size_t a = 0; a < w->count; a++)
        for (size_t b = 0; b < a; b++) {
            if (w->peers[a].swim == NULL || w->peers[b].swim == NULL)
                continue;
            struct view *va = swim_view(w->peers[a].swim), *vb = swim_view(w->peers[b].swim);
            if (view_hash(va) != view_hash(vb))
                continue;
            assert_int_equal(view_living(va), view_living(vb));
            for (size_t n = 0; n < view_count(va); n++) {
                const struct mesh_member *ma = view_at(va, n), *mb = view_find(vb, ma->record->id);
                if (!member_is_living(ma))
                    continue;
                assert_non_null(mb);
                assert_true(member_is_living(mb));
                const struct mesh_record *ra = ma->record, *rb = mb->record;
                assert_true(ra->version == rb->version && ra->nonce == rb->nonce &&
                            ra->serving == rb->serving && ra->weight == rb->weight);
                assert_true(mesh_addr_equal(&ra->addr, &rb->addr));
                assert_string_equal(ra->zone, rb->zone);
            }
        }
}

static void world_run(struct world *w, uint64_t for_ms)
{
    uint64_t until_ms = w->now_ms + for_ms, check_ms = w->now_ms;
    for (;;) {
        uint64_t next_ms = w->packets != NULL ? w->packets->at_ms : MESH_NEVER;
        struct peer *due = NULL;
        for (size_t n = 0; n < w->count; n++) {
            struct peer *peer = &w->peers[n];
            if (peer->swim != NULL && !peer->is_stopped && swim_deadline_ms(peer->swim) < next_ms) {
                next_ms = swim_deadline_ms(peer->swim);
                due = peer;
            }
        }
        if (next_ms > until_ms)
            break;
        if (next_ms > w->now_ms)
            w->now_ms = next_ms;
        if (due != NULL) {
            swim_now(due->swim, w->now_ms);
            drain(w, due);
        } else {
            struct packet *packet = w->packets;
            w->packets = packet->next;
            deliver(w, packet);
            packet_free(packet);
        }
        if (w->now_ms >= check_ms) {
            check_views(w);
            check_ms = w->now_ms + 200;
        }
    }
    w->now_ms = until_ms;
}

/* A new process. Its wall clock is off by `clock_ms`. */
static struct peer *world_start(struct world *w, const char *name, unsigned addr, int64_t clock_ms,
                                bool has_contacts)
{
    struct peer *peer = &w->peers[w->count++];
    assert_true(w->count <= PEERS_MAX);
    *peer = (struct peer){.addr = addr_of(addr), .nonce = 1000 + ++w->nonces};
    struct swim_config config = {
        .boot_ms = (uint64_t)((int64_t)(WALL_MS + w->now_ms) + clock_ms),
        .has_contacts = has_contacts,
        .members_max = 64,
        .contacts_max = 32,
        .name_wait_ms = 10000,
        .preset = w->preset,
        .identity = w->identities[w->count - 1],
        .chance = w->chance,
    };
    strcpy(config.self.name, name);
    config.self.addr = peer->addr;
    config.self.nonce = peer->nonce;
    config.self.weight = 1;
    config.self.serving = true;
    shuffle_u64(&w->chance);
    assert_int_equal(swim_new(&peer->swim, &config, w->now_ms), 0);
    drain(w, peer);
    return peer;
}

static struct peer *world_join(struct world *w, const char *name, unsigned addr, unsigned seed)
{
    struct mesh_addr contact = addr_of(seed);
    struct peer *peer = world_start(w, name, addr, 0, true);
    swim_join(peer->swim, &contact, w->now_ms);
    drain(w, peer);
    return peer;
}

static void world_crash(struct world *w, struct peer *peer)
{
    (void)w;
    swim_free(peer->swim);
    peer->swim = NULL;
}

/* Peers 0 .. count-1, called a, b, ...; the first is the seed. */
static void world_make(struct world *w, unsigned count)
{
    char name[2] = "a";
    for (unsigned n = 0; n < count; n++, name[0]++) {
        if (n == 0)
            world_start(w, name, n, 0, false);
        else
            world_join(w, name, n, 0);
        world_run(w, 100);
    }
    world_run(w, 3000);
}

/* All that run are members, know each other as alive and nobody else as living. */
static bool world_agrees(struct world *w)
{
    size_t running = 0;
    for (size_t n = 0; n < w->count; n++)
        running += w->peers[n].swim != NULL && !w->peers[n].is_stopped;
    for (size_t n = 0; n < w->count; n++) {
        struct peer *peer = &w->peers[n];
        if (peer->swim == NULL || peer->is_stopped)
            continue;
        struct view *view = swim_view(peer->swim);
        if (!swim_is_joined(peer->swim) || view_living(view) != running)
            return false;
        for (size_t i = 0; i < view_count(view); i++)
            if (view_at(view, i)->state == MEMBER_SUSPECT ||
                (member_is_living(view_at(view, i)) && !peer_of(w, view_at(view, i)->record->id)))
                return false;
    }
    return true;
}

static uint64_t world_agrees_after(struct world *w, uint64_t max_ms)
{
    uint64_t began_ms = w->now_ms;
    while (!world_agrees(w) && w->now_ms - began_ms < max_ms)
        world_run(w, 50);
    return world_agrees(w) ? w->now_ms - began_ms : MESH_NEVER;
}

static enum member_state state_of(struct peer *peer, struct peer_id id)
{
    const struct mesh_member *member = view_find(swim_view(peer->swim), id);
    return member != NULL ? member->state : MEMBER_UNKNOWN;
}

static struct peer_id id_of(struct peer *peer)
{
    return view_self(swim_view(peer->swim))->record->id;
}

static unsigned deaths_seen(struct world *w)
{
    unsigned deaths = 0;
    for (size_t n = 0; n < w->count; n++)
        deaths += w->peers[n].deaths;
    return deaths;
}

#endif
