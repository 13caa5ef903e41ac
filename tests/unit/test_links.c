/* Tests of links.h: two or three tables of links joined in memory. Dials, lanes, what is told when
 * a link goes, and rows N9 and N15 of bad-inputs.md. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "mesh/wire/links_inside.h"

#define SIDES_MAX 3
#define CONNS_MAX 256
#define SEEN_MAX 4096
#define KIB 1024u

/* An event as one side was told it, with what is needed of its message. */
struct seen {
    struct links_event event; /* its slices are gone */
    uint64_t name;
    uint32_t first; /* of the payload */
    size_t payload;
};

struct side {
    struct links *links;
    struct peer_id id;
    struct mesh_addr addr;
    struct rng rng;
    struct seal_ring ring;
    struct bytes_budget budget;
    struct seen *seen;
    uint32_t seen_count, dials, closes, resets;
    bool refuses;  /* its port answers with a reset */
    bool is_deaf;  /* takes bytes, answers nothing */
    bool is_lazy;  /* the lanes' readers take nothing */
    bool may_miss; /* events that the budget has no room for are expected */
};

struct conn {
    struct {
        uint32_t side;
        struct handle handle;
        bool is_open;
    } ends[2];
    uint8_t *flow[2]; /* from ends[n] to the other one, not delivered yet */
    size_t flow_length[2], flow_capacity[2];
    bool has_fin[2], has_rst[2];
    bool is_stuck; /* nothing arrives */
};

struct net {
    struct side sides[SIDES_MAX];
    struct conn conns[CONNS_MAX];
    uint32_t sides_count, conns_count;
    uint64_t now_ms;
    struct rng splits;
    bool splits_bytes;
};

static const uint8_t sip_key[16] = {9};
static const uint8_t keys[2][32] = {{1}, {2}};

/* ---- making --------------------------------------------------------------------------------- */

static void side_init(struct net *net, uint32_t n, const uint8_t *key)
{
    struct side *side = &net->sides[n];
    uint8_t entropy[32] = {(uint8_t)(n + 1)};
    rng_init(&side->rng, entropy);
    side->id = (struct peer_id){10 * (n + 1), 100 + n};
    side->addr.port = (uint16_t)(7000 + n);
    side->budget.max = 256u << 20;
    side->seen = calloc(SEEN_MAX, sizeof *side->seen);
    assert_non_null(side->seen);
    assert_int_equal(seal_ring_init(&side->ring, (const uint8_t(*)[32])key, 1, 0, "test"), 0);
    struct links_config config = {.self = side->id,
                                  .nonce = 1000 + n,
                                  .ring = &side->ring,
                                  .sip_key = sip_key,
                                  .rng = &side->rng,
                                  .budget = &side->budget};
    assert_int_equal(links_new(&side->links, &config), 0);
}

static struct net *net_new(uint32_t sides)
{
    uint8_t entropy[32] = {99};
    struct net *net = calloc(1, sizeof *net);
    assert_non_null(net);
    net->now_ms = 1000;
    net->sides_count = sides;
    rng_init(&net->splits, entropy);
    for (uint32_t n = 0; n < sides; n++)
        side_init(net, n, keys[0]);
    return net;
}

static void net_free(struct net *net)
{
    for (uint32_t n = 0; n < net->sides_count; n++) {
        links_free(net->sides[n].links);
        assert_int_equal(net->sides[n].budget.used, 0);
        seal_ring_deinit(&net->sides[n].ring);
        free(net->sides[n].seen);
    }
    for (uint32_t n = 0; n < net->conns_count; n++) {
        free(net->conns[n].flow[0]);
        free(net->conns[n].flow[1]);
    }
    free(net);
}

/* ---- sockets -------------------------------------------------------------------------------- */

static struct conn *conn_of(struct net *net, uint32_t side, struct handle handle, int *end)
{
    for (uint32_t n = net->conns_count; n-- > 0;)
        for (int k = 0; k < 2; k++) {
            struct conn *conn = &net->conns[n];
            if (conn->ends[k].side == side && handle_equal(conn->ends[k].handle, handle)) {
                *end = k;
                return conn;
            }
        }
    fail_msg("an effect for a socket that never was");
    return NULL;
}

static void dial(struct net *net, uint32_t from, const struct mesh_effect *e)
{
    uint32_t to = 0;
    net->sides[from].dials++;
    while (to < net->sides_count && !mesh_addr_equal(&net->sides[to].addr, &e->wire.to))
        to++;
    assert_true(net->conns_count < CONNS_MAX);
    struct conn *conn = &net->conns[net->conns_count++];
    conn->ends[0].side = from;
    conn->ends[0].handle = e->handle;
    if (to == net->sides_count || net->sides[to].refuses) {
        links_down(net->sides[from].links, e->handle, MESH_LOSS_REFUSED, net->now_ms);
        return;
    }
    conn->ends[1].side = to;
    conn->ends[1].handle =
        links_accepted(net->sides[to].links, &net->sides[from].addr, net->now_ms);
    assert_false(handle_is_none(conn->ends[1].handle));
    conn->ends[0].is_open = conn->ends[1].is_open = true;
    links_up(net->sides[from].links, e->handle, net->now_ms);
}

static void put(struct conn *conn, int end, struct slice data)
{
    if (conn->flow_length[end] + data.length > conn->flow_capacity[end]) {
        conn->flow_capacity[end] = 2 * (conn->flow_length[end] + data.length);
        conn->flow[end] = realloc(conn->flow[end], conn->flow_capacity[end]);
        assert_non_null(conn->flow[end]);
    }
    memcpy(conn->flow[end] + conn->flow_length[end], data.at, data.length);
    conn->flow_length[end] += data.length;
}

static bool effects(struct net *net, uint32_t n)
{
    struct side *side = &net->sides[n];
    struct mesh_effect e;
    struct conn *conn;
    bool did = false;
    int end;
    while (links_next_effect(side->links, &e, net->now_ms)) {
        did = true;
        if (e.kind == MESH_LINK_DIAL) {
            dial(net, n, &e);
        } else if (e.kind == MESH_LINK_BYTES) {
            conn = conn_of(net, n, e.handle, &end);
            put(conn, end, e.wire.sealed);
            links_taken(side->links, e.handle, e.wire.sealed.length, net->now_ms);
        } else {
            assert_int_equal(e.kind, MESH_LINK_CLOSE);
            conn = conn_of(net, n, e.handle, &end);
            assert_true(conn->ends[end].is_open);
            conn->ends[end].is_open = false;
            conn->has_fin[end] = !e.end.cut;
            conn->has_rst[end] = e.end.cut;
            side->closes++;
            side->resets += e.end.cut;
        }
    }
    return did;
}

static bool deliver(struct net *net, struct conn *conn, int from)
{
    struct side *to = &net->sides[conn->ends[!from].side];
    size_t length = conn->flow_length[from];
    bool did = false;
    if (conn->is_stuck || !conn->ends[!from].is_open)
        return false;
    if (conn->has_rst[from])
        length = 0; /* it overtakes what was not read */
    if (length > 0) {
        size_t part = net->splits_bytes ? 1 + rng_u64(&net->splits) % length : length;
        uint8_t *copy = malloc(part);
        assert_non_null(copy);
        memcpy(copy, conn->flow[from], part);
        memmove(conn->flow[from], conn->flow[from] + part, length - part);
        conn->flow_length[from] -= part;
        if (!to->is_deaf)
            links_bytes(to->links, conn->ends[!from].handle, slice_borrow(copy, part), net->now_ms);
        free(copy);
        did = true;
    } else if (conn->has_fin[from] || conn->has_rst[from]) {
        conn->ends[!from].is_open = false;
        links_down(to->links, conn->ends[!from].handle,
                   conn->has_fin[from] ? MESH_LOSS_FIN : MESH_LOSS_RST, net->now_ms);
        did = true;
    }
    return did;
}

/* ---- events --------------------------------------------------------------------------------- */

static bool events(struct net *net, uint32_t n)
{
    struct side *side = &net->sides[n];
    const struct links_event *e;
    bool did = false;
    while ((e = links_next_event(side->links)) != NULL) {
        assert_true(side->seen_count < SEEN_MAX);
        struct seen *seen = &side->seen[side->seen_count++];
        did = true;
        seen->event = *e;
        if (e->kind != LINKS_MESSAGE && e->kind != LINKS_CONTROL)
            continue;
        seen->name = e->message.name.counter;
        seen->payload = e->message.payload.length;
        if (seen->payload >= 4)
            memcpy(&seen->first, e->message.payload.at, 4);
        if (e->kind == LINKS_MESSAGE && e->message.kind == WIRE_OPEN)
            links_accept(side->links, e->lane, (struct handle){(uint32_t)seen->name, 77});
        if (e->kind == LINKS_MESSAGE && !side->is_lazy)
            links_consumed(side->links, e->lane, e->side, e->bytes);
    }
    return did;
}

static void settle(struct net *net)
{
    bool did = true;
    for (int rounds = 0; did && rounds < 100000; rounds++) {
        did = false;
        for (uint32_t n = 0; n < net->sides_count; n++) {
            did |= events(net, n);
            did |= effects(net, n);
        }
        for (uint32_t n = 0; n < net->conns_count; n++)
            for (int end = 0; end < 2; end++)
                did |= deliver(net, &net->conns[n], end);
    }
    assert_false(did);
}

/* Runs to `now + ms`, turn by turn at the deadlines; none may lie in the past after its turn. */
static void run(struct net *net, uint64_t ms)
{
    uint64_t until = net->now_ms + ms;
    settle(net);
    for (;;) {
        uint64_t next = MESH_NEVER;
        for (uint32_t n = 0; n < net->sides_count; n++) {
            uint64_t at = links_deadline_ms(net->sides[n].links);
            next = at < next ? at : next;
        }
        if (next > until)
            break;
        if (next > net->now_ms)
            net->now_ms = next;
        for (uint32_t n = 0; n < net->sides_count; n++) {
            links_now(net->sides[n].links, net->now_ms);
            assert_true(links_deadline_ms(net->sides[n].links) > net->now_ms);
        }
        settle(net);
    }
    net->now_ms = until;
    for (uint32_t n = 0; n < net->sides_count; n++)
        links_now(net->sides[n].links, net->now_ms);
    settle(net);
}

/* The latest event of a kind; NULL: none. */
static const struct seen *last(const struct net *net, uint32_t side, enum links_event_kind kind)
{
    for (uint32_t n = net->sides[side].seen_count; n-- > 0;)
        if (net->sides[side].seen[n].event.kind == kind)
            return &net->sides[side].seen[n];
    return NULL;
}

static uint32_t count(const struct net *net, uint32_t side, enum links_event_kind kind)
{
    uint32_t found = 0;
    for (uint32_t n = 0; n < net->sides[side].seen_count; n++)
        found += net->sides[side].seen[n].event.kind == kind;
    return found;
}

static void forget_seen(struct net *net)
{
    for (uint32_t n = 0; n < net->sides_count; n++)
        net->sides[n].seen_count = 0;
}

/* ---- what is said --------------------------------------------------------------------------- */

static int try_open(struct net *net, uint32_t from, uint32_t to, uint64_t name, struct lane *lane)
{
    struct side *side = &net->sides[from];
    return links_open(side->links, net->sides[to].id, &net->sides[to].addr,
                      (struct handle){(uint32_t)name, 1}, lane, net->now_ms);
}

static int say_open(struct net *net, uint32_t from, struct lane lane, uint64_t name, size_t body)
{
    static uint8_t text[256 * KIB];
    uint32_t first = (uint32_t)name;
    memcpy(text, &first, 4);
    struct wire_message m = {.kind = WIRE_OPEN, .payload = slice_borrow(text, body)};
    m.name = (struct exchange_name){net->sides[from].id, name};
    m.open.request.rpc.kind = RPC_REQUEST;
    return links_send(net->sides[from].links, lane, LINKS_ENTRY, &m);
}

static struct lane open_lane(struct net *net, uint32_t from, uint32_t to, uint64_t name)
{
    struct lane lane = {0};
    assert_int_equal(try_open(net, from, to, name, &lane), 0);
    assert_true(say_open(net, from, lane, name, 16) >= 0);
    return lane;
}

static int say_data(struct net *net, uint32_t from, struct lane lane, enum links_side side,
                    uint32_t number, size_t length)
{
    static uint8_t text[4 << 20];
    memcpy(text, &number, 4);
    struct wire_message m = {.kind = WIRE_DATA, .payload = slice_borrow(text, length)};
    return links_send(net->sides[from].links, lane, side, &m);
}

/* The owner's lane of the exchange of that name. */
static struct lane lane_of(const struct net *net, uint32_t side, uint64_t name)
{
    for (uint32_t n = net->sides[side].seen_count; n-- > 0;) {
        const struct seen *seen = &net->sides[side].seen[n];
        if (seen->event.kind == LINKS_MESSAGE && seen->event.message.kind == WIRE_OPEN &&
            seen->name == name)
            return seen->event.lane;
    }
    fail_msg("no such OPEN");
    return (struct lane){0};
}

static uint32_t lanes_alive(const struct net *net, uint32_t side); /* below: needs the inside */

/* ---- dials, lanes --------------------------------------------------------------------------- */

static void test_a_lane_dials_and_its_messages_wait_for_the_handshake(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    net->splits_bytes = true;
    struct lane lane = {0};
    assert_int_equal(try_open(net, 0, 1, 5, &lane), 0);
    assert_true(say_open(net, 0, lane, 5, 100 * KIB) >= 0);
    assert_false(links_sent(net->sides[0].links, lane));
    settle(net);
    assert_true(links_sent(net->sides[0].links, lane));
    assert_int_equal(count(net, 0, LINKS_READY), 1);
    assert_int_equal(count(net, 1, LINKS_READY), 1);
    const struct seen *ready = last(net, 1, LINKS_READY);
    assert_true(peer_id_equal(ready->event.peer, net->sides[0].id));
    assert_true(ready->event.nonce == 1000);
    assert_true(ready->event.number == last(net, 0, LINKS_READY)->event.number);
    const struct seen *open = last(net, 1, LINKS_MESSAGE);
    assert_int_equal(open->name, 5);
    assert_int_equal(open->event.side, LINKS_OWNER);
    assert_true(handle_is_none(open->event.user)); /* nobody had accepted it */
    assert_int_equal(open->payload, 100 * KIB);
    assert_int_equal(open->first, 5);
    int said = say_data(net, 1, open->event.lane, LINKS_OWNER, 42, 3000);
    assert_true(said > 3000);
    settle(net);
    const struct seen *data = last(net, 0, LINKS_MESSAGE);
    assert_int_equal(data->first, 42);
    assert_int_equal(data->event.side, LINKS_ENTRY);
    assert_int_equal(data->event.user.slot, 5);
    assert_int_equal(data->event.bytes, said); /* both ends count alike */
    run(net, 100);
    const struct seen *consumed = last(net, 1, LINKS_CONSUMED);
    assert_non_null(consumed);
    assert_true(consumed->event.total == (uint64_t)said);
    assert_int_equal(consumed->event.user.slot, 5);
    assert_int_equal(links_count(net->sides[0].links), 1);
    assert_true(links_has(net->sides[0].links, net->sides[1].id));
    links_close(net->sides[0].links, lane, LINKS_ENTRY);
    settle(net);
    const struct seen *lost = last(net, 1, LINKS_LANE_LOST);
    assert_int_equal(lost->event.user.slot, 5);
    assert_int_equal(lanes_alive(net, 0) + lanes_alive(net, 1), 0);
    net_free(net);
}

static void test_many_lanes_share_one_link_in_both_directions(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    struct lane lanes[2][50];
    open_lane(net, 0, 1, 1000);
    settle(net);
    for (uint32_t n = 0; n < 50; n++) {
        lanes[0][n] = open_lane(net, 0, 1, n);
        lanes[1][n] = open_lane(net, 1, 0, 100 + n);
    }
    settle(net);
    assert_int_equal(net->conns_count, 1);
    assert_int_equal(count(net, 1, LINKS_MESSAGE), 51);
    assert_int_equal(count(net, 0, LINKS_MESSAGE), 50);
    for (uint32_t n = 0; n < 50; n++) {
        links_close(net->sides[0].links, lanes[0][n], LINKS_ENTRY);
        links_close(net->sides[1].links, lanes[1][n], LINKS_ENTRY);
    }
    settle(net);
    assert_int_equal(lanes_alive(net, 0), 1);
    assert_int_equal(lanes_alive(net, 1), 1);
    net_free(net);
}

static void test_a_refused_dial_loses_the_lane_unsent_and_is_not_repeated_at_once(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    struct lane lane;
    net->sides[1].refuses = true;
    open_lane(net, 0, 1, 5);
    settle(net);
    const struct seen *lost = last(net, 0, LINKS_LANE_LOST);
    assert_false(lost->event.sent);
    assert_int_equal(lost->event.user.slot, 5);
    assert_int_equal(last(net, 0, LINKS_UNDIALLED)->event.loss, MESH_LOSS_REFUSED);
    assert_int_equal(try_open(net, 0, 1, 6, &lane), -EAGAIN);
    run(net, LINKS_REDIAL_MS - 1);
    assert_int_equal(try_open(net, 0, 1, 6, &lane), -EAGAIN);
    run(net, 1);
    /* as often as one may: the waits double up to a second */
    for (uint64_t until = net->now_ms + 10000; net->now_ms < until; run(net, 10))
        if (try_open(net, 0, 1, 6, &lane) == 0)
            settle(net);
    assert_in_range(net->sides[0].dials, 10, 16);
    /* and it is no obstacle once the peer is there */
    net->sides[1].refuses = false;
    run(net, 1001);
    assert_int_equal(try_open(net, 0, 1, 7, &lane), 0);
    assert_true(say_open(net, 0, lane, 7, 16) >= 0);
    settle(net);
    assert_int_equal(last(net, 1, LINKS_MESSAGE)->name, 7);
    /* nor does one that dials us wait for our next dial */
    net_free(net);
}

static void test_a_failed_dial_is_forgotten_in_the_end(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    net->sides[1].refuses = true;
    open_lane(net, 0, 1, 5);
    run(net, 2 * LINKS_IDLE_MS);
    assert_true(links_deadline_ms(net->sides[0].links) == MESH_NEVER);
    net_free(net);
}

static void test_a_handshake_that_fails_is_not_repeated_at_once(void **state)
{
    (void)state;
    struct net *net = net_new(1);
    struct lane lane;
    side_init(net, 1, keys[1]); /* of another cluster */
    net->sides_count = 2;
    open_lane(net, 0, 1, 5);
    settle(net);
    assert_false(last(net, 0, LINKS_LANE_LOST)->event.sent);
    assert_non_null(last(net, 0, LINKS_UNDIALLED));
    assert_int_equal(try_open(net, 0, 1, 6, &lane), -EAGAIN);
    for (uint64_t until = net->now_ms + 10000; net->now_ms < until; run(net, 10))
        if (try_open(net, 0, 1, 6, &lane) == 0)
            settle(net);
    assert_in_range(net->sides[0].dials, 10, 16);
    net_free(net);
}

static void test_another_peer_at_the_address_is_not_taken_for_the_one_dialled(void **state)
{
    (void)state;
    struct net *net = net_new(3);
    struct lane lane;
    assert_int_equal(links_open(net->sides[0].links, net->sides[1].id, &net->sides[2].addr,
                                (struct handle){5, 1}, &lane, net->now_ms),
                     0);
    assert_true(say_open(net, 0, lane, 5, 16) >= 0);
    settle(net);
    assert_false(last(net, 0, LINKS_LANE_LOST)->event.sent);
    assert_null(last(net, 2, LINKS_MESSAGE));
    assert_int_equal(links_count(net->sides[0].links), 0);
    /* and asking again at once would change nothing */
    net->sides[1].addr = net->sides[2].addr;
    net->sides[2].addr.port = 1;
    assert_int_equal(try_open(net, 0, 1, 6, &lane), -EAGAIN);
    net_free(net);
}

static void test_a_peer_that_never_answers_the_handshake_is_given_up(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    net->sides[1].is_deaf = true;
    open_lane(net, 0, 1, 5);
    run(net, LINK_DEADLINE_MS - 1);
    assert_null(last(net, 0, LINKS_LANE_LOST));
    run(net, 1);
    assert_false(last(net, 0, LINKS_LANE_LOST)->event.sent);
    assert_int_equal(last(net, 0, LINKS_UNDIALLED)->event.loss, MESH_LOSS_TIMEOUT);
    net_free(net);
}

/* ---- losing a link -------------------------------------------------------------------------- */

static void test_a_cut_link_tells_which_lanes_were_sent(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    struct lane sent = open_lane(net, 0, 1, 1), unsent = {0};
    settle(net);
    assert_true(links_sent(net->sides[0].links, sent));
    net->sides[1].is_lazy = true;
    assert_int_equal(try_open(net, 0, 1, 2, &unsent), 0);
    net->conns[0].is_stuck = true;
    assert_true(say_open(net, 0, unsent, 2, 256 * KIB) > 0); /* more than its first credit */
    settle(net);
    assert_false(links_sent(net->sides[0].links, unsent));
    uint64_t number = last(net, 0, LINKS_READY)->event.number;
    forget_seen(net);
    links_down(net->sides[0].links, net->conns[0].ends[0].handle, MESH_LOSS_RST, net->now_ms);
    net->conns[0].ends[0].is_open = false;
    settle(net);
    assert_int_equal(count(net, 0, LINKS_LANE_LOST), 2);
    assert_int_equal(count(net, 0, LINKS_LOST), 1);
    for (uint32_t n = 0; n < net->sides[0].seen_count; n++) {
        const struct links_event *e = &net->sides[0].seen[n].event;
        if (e->kind != LINKS_LANE_LOST)
            continue;
        assert_int_equal(e->sent, e->user.slot == 1);
        assert_true(e->number == number);
    }
    assert_int_equal(links_count(net->sides[0].links), 0);
    assert_int_equal(lanes_alive(net, 0), 0);
    net_free(net);
}

static void test_what_came_before_a_loss_is_told_before_it(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    open_lane(net, 0, 1, 1);
    settle(net);
    struct lane owner = lane_of(net, 1, 1);
    for (uint32_t n = 0; n < 5; n++)
        assert_true(say_data(net, 1, owner, LINKS_OWNER, n, 100) > 0);
    effects(net, 1);
    assert_true(deliver(net, &net->conns[0], 1)); /* read, not told yet */
    links_down(net->sides[0].links, net->conns[0].ends[0].handle, MESH_LOSS_RST, net->now_ms);
    net->conns[0].ends[0].is_open = false;
    forget_seen(net);
    settle(net);
    uint32_t n = 0;
    for (uint32_t k = 0; k < net->sides[0].seen_count; k++) {
        const struct seen *seen = &net->sides[0].seen[k];
        if (seen->event.kind == LINKS_MESSAGE)
            assert_int_equal(seen->first, n++);
        if (seen->event.kind == LINKS_LANE_LOST)
            assert_int_equal(n, 5);
    }
    assert_int_equal(n, 5);
    assert_int_equal(count(net, 0, LINKS_LANE_LOST), 1);
    net_free(net);
}

static void test_a_named_link_is_cut_unread_and_no_other(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    struct lane lane = {0};
    open_lane(net, 0, 1, 1);
    settle(net);
    uint64_t number = last(net, 1, LINKS_READY)->event.number;
    net->conns[0].is_stuck = true;
    assert_int_equal(try_open(net, 0, 1, 2, &lane), 0);
    assert_true(say_open(net, 0, lane, 2, 16) > 0);
    settle(net);
    links_cut(net->sides[1].links, net->sides[0].id, number + 1, net->now_ms);
    links_cut(net->sides[1].links, net->sides[0].id, 0, net->now_ms);
    links_cut(net->sides[1].links, (struct peer_id){4, 4}, number, net->now_ms);
    settle(net);
    assert_int_equal(net->sides[1].closes, 0);
    links_cut(net->sides[1].links, net->sides[0].id, number, net->now_ms);
    settle(net);
    assert_int_equal(net->sides[1].resets, 1);
    net->conns[0].is_stuck = false;
    settle(net);
    assert_int_equal(count(net, 1, LINKS_MESSAGE), 1); /* the second was never read */
    assert_int_equal(count(net, 0, LINKS_LANE_LOST), 2);
    assert_int_equal(count(net, 1, LINKS_LANE_LOST), 1);
    net_free(net);
}

static void test_a_peer_that_is_gone_takes_its_links_with_it(void **state)
{
    (void)state;
    struct net *net = net_new(3);
    open_lane(net, 0, 1, 1);
    open_lane(net, 0, 2, 2);
    settle(net);
    links_forget(net->sides[0].links, net->sides[1].id, net->now_ms);
    settle(net);
    assert_int_equal(count(net, 0, LINKS_LANE_LOST), 1);
    assert_int_equal(last(net, 0, LINKS_LANE_LOST)->event.user.slot, 1);
    assert_false(links_has(net->sides[0].links, net->sides[1].id));
    assert_true(links_has(net->sides[0].links, net->sides[2].id));
    /* also one that waits to be dialled again, and one that is being dialled */
    net->sides[1].refuses = true;
    open_lane(net, 0, 1, 3);
    settle(net);
    links_forget(net->sides[0].links, net->sides[1].id, net->now_ms);
    open_lane(net, 0, 1, 4);
    links_forget(net->sides[0].links, net->sides[1].id, net->now_ms);
    settle(net);
    assert_int_equal(count(net, 0, LINKS_LANE_LOST), 3);
    assert_int_equal(lanes_alive(net, 0), 1);
    net_free(net);
}

static void test_a_silent_link_is_given_up(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    open_lane(net, 0, 1, 1);
    settle(net);
    run(net, 60000); /* in use, and answered: it stays */
    assert_int_equal(net->conns_count, 1);
    assert_null(last(net, 0, LINKS_LANE_LOST));
    assert_true(net->now_ms - links_round_trip_ms(net->sides[0].links, net->sides[1].id) <= 300);
    net->sides[1].is_deaf = true;
    run(net, LINKS_SILENT_MS - LINKS_PING_MS);
    assert_null(last(net, 0, LINKS_LANE_LOST));
    run(net, 3 * LINKS_PING_MS);
    assert_true(last(net, 0, LINKS_LANE_LOST)->event.sent);
    assert_int_equal(last(net, 0, LINKS_LOST)->event.loss, MESH_LOSS_TIMEOUT);
    net_free(net);
}

static void test_a_process_that_stood_still_does_not_blame_the_link(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    open_lane(net, 0, 1, 1);
    run(net, 1000);
    net->now_ms += 3 * LINKS_SILENT_MS; /* no turn was had in between */
    run(net, 1000);
    assert_null(last(net, 0, LINKS_LANE_LOST));
    assert_null(last(net, 1, LINKS_LANE_LOST));
    /* nor one that was not used for as long */
    links_close(net->sides[0].links, lane_of(net, 1, 1), LINKS_OWNER);
    net_free(net);
}

/* A peer far away, asked anew just before its silence would have been too long. */
static void test_a_link_that_was_quiet_for_a_while_owes_no_answer_for_that(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    struct lane lane = open_lane(net, 0, 1, 1);
    run(net, 1000);
    links_close(net->sides[0].links, lane, LINKS_ENTRY);
    run(net, LINKS_SILENT_MS - 2 * LINKS_PING_MS);
    net->sides[1].is_deaf = true;
    open_lane(net, 0, 1, 2);
    run(net, LINKS_SILENT_MS - 4 * LINKS_PING_MS);
    assert_null(last(net, 0, LINKS_LANE_LOST));
    run(net, 6 * LINKS_PING_MS);
    assert_non_null(last(net, 0, LINKS_LANE_LOST));
    net_free(net);
}

static void test_an_unused_link_is_quiet_and_closes_after_a_while(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    struct lane lane = open_lane(net, 0, 1, 1);
    settle(net);
    links_close(net->sides[0].links, lane, LINKS_ENTRY);
    run(net, LINKS_IDLE_MS - 1000);
    assert_int_equal(links_count(net->sides[0].links), 1);
    run(net, 3000);
    assert_int_equal(links_count(net->sides[0].links), 0);
    assert_int_equal(links_count(net->sides[1].links), 0);
    assert_int_equal(net->sides[0].resets + net->sides[1].resets, 0);
    run(net, 1000);
    assert_true(links_deadline_ms(net->sides[0].links) == MESH_NEVER);
    net_free(net);
}

/* ---- two links of a pair (N15) -------------------------------------------------------------- */

static void test_both_dial_at_once_and_the_lower_ones_link_stays(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    struct lane low = open_lane(net, 0, 1, 1), high = open_lane(net, 1, 0, 2);
    settle(net);
    assert_int_equal(net->conns_count, 2);
    assert_int_equal(count(net, 0, LINKS_MESSAGE), 1);
    assert_int_equal(count(net, 1, LINKS_MESSAGE), 1);
    assert_int_equal(links_count(net->sides[0].links), 1);
    uint32_t preferred = net->conns[0].ends[0].side == 0 ? 0 : 1;
    /* new lanes of both go on the one that the lower dialled */
    struct lane more[2] = {open_lane(net, 0, 1, 3), open_lane(net, 1, 0, 4)};
    net->conns[!preferred].is_stuck = true;
    settle(net);
    assert_int_equal(count(net, 0, LINKS_MESSAGE), 2);
    assert_int_equal(count(net, 1, LINKS_MESSAGE), 2);
    net->conns[!preferred].is_stuck = false;
    /* the other one stays while it carries something, and goes soon after: FINAL, not RST */
    run(net, 5000);
    assert_true(net->conns[!preferred].ends[0].is_open);
    links_close(net->sides[0].links, low, LINKS_ENTRY);
    links_close(net->sides[1].links, high, LINKS_ENTRY);
    run(net, 3000);
    assert_false(net->conns[!preferred].ends[0].is_open);
    assert_false(net->conns[!preferred].ends[1].is_open);
    assert_true(net->conns[preferred].ends[0].is_open);
    assert_int_equal(net->sides[0].resets + net->sides[1].resets, 0);
    assert_int_equal(lanes_alive(net, 0), 2);
    assert_int_equal(links_count(net->sides[0].links), 1);
    assert_int_equal(links_count(net->sides[1].links), 1);
    links_close(net->sides[0].links, more[0], LINKS_ENTRY);
    links_close(net->sides[1].links, more[1], LINKS_ENTRY);
    net_free(net);
}

/* Its other end may have closed it long ago, and dialled anew. */
static void test_a_silent_link_beside_one_that_answers_is_given_up_sooner(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    open_lane(net, 0, 1, 1);
    open_lane(net, 1, 0, 2);
    run(net, 1000);
    uint32_t preferred = net->conns[0].ends[0].side == 0 ? 0 : 1;
    net->conns[0].is_stuck = net->conns[1].is_stuck = true;
    run(net, 2 * LINKS_DOUBT_MS); /* perhaps it is the peer */
    assert_null(last(net, 0, LINKS_LOST));
    net->conns[0].is_stuck = net->conns[1].is_stuck = false;
    run(net, 1000);
    net->conns[preferred].is_stuck = true;
    run(net, LINKS_DOUBT_MS - LINKS_PING_MS);
    assert_null(last(net, 0, LINKS_LOST));
    run(net, 4 * LINKS_PING_MS);
    assert_int_equal(last(net, 0, LINKS_LOST)->event.loss, MESH_LOSS_TIMEOUT);
    assert_int_equal(count(net, 0, LINKS_LANE_LOST), 1);
    open_lane(net, 0, 1, 3);
    settle(net);
    assert_int_equal(net->conns_count, 2);
    assert_int_equal(last(net, 1, LINKS_MESSAGE)->name, 3);
    net_free(net);
}

static void test_an_empty_unpreferred_link_goes_as_soon_as_the_preferred_one_stands(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    struct lane high = open_lane(net, 1, 0, 2);
    settle(net);
    links_close(net->sides[1].links, high, LINKS_ENTRY);
    run(net, 5000); /* empty, and its timer says a minute */
    links_meet(net->sides[0].links, (struct peer_id){0}, &net->sides[1].addr, net->now_ms);
    settle(net);
    assert_int_equal(net->conns_count, 2);
    run(net, 3000);
    assert_false(net->conns[0].ends[0].is_open);
    assert_true(net->conns[1].ends[0].is_open);
    assert_int_equal(links_count(net->sides[0].links), 1);
    net_free(net);
}

/* Keys of the cluster change: both sides have `keys`, of which keys[0] only verifies now. */
static void retire_first_key(struct side *side)
{
    assert_int_equal(seal_ring_init(&side->ring, keys, 2, 1, "test"), 0);
}

static void test_a_link_whose_key_went_out_of_use_is_replaced_without_a_loss(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    struct lane lane = open_lane(net, 0, 1, 1);
    settle(net);
    for (int n = 0; n < 2; n++)
        assert_int_equal(seal_ring_init(&net->sides[n].ring, keys, 2, 0, "test"), 0);
    links_renew(net->sides[0].links, net->now_ms); /* all are in use */
    run(net, 1000);
    assert_int_equal(net->conns_count, 1);
    for (int n = 0; n < 2; n++) {
        retire_first_key(&net->sides[n]);
        links_renew(net->sides[n].links, net->now_ms);
    }
    settle(net);
    assert_int_equal(net->conns_count, 2); /* who dialled it dials again */
    struct lane more[2] = {open_lane(net, 0, 1, 3), open_lane(net, 1, 0, 4)};
    net->conns[0].is_stuck = true;
    settle(net);
    assert_int_equal(last(net, 1, LINKS_MESSAGE)->name, 3);
    assert_int_equal(last(net, 0, LINKS_MESSAGE)->name, 4);
    net->conns[0].is_stuck = false;
    run(net, 5000);
    assert_true(net->conns[0].ends[0].is_open); /* something is on it still */
    assert_int_equal(lanes_alive(net, 0), 3);
    links_close(net->sides[0].links, lane, LINKS_ENTRY);
    run(net, 3000);
    assert_false(net->conns[0].ends[0].is_open);
    assert_int_equal(net->sides[0].resets + net->sides[1].resets, 0);
    assert_int_equal(count(net, 0, LINKS_LANE_LOST) + count(net, 1, LINKS_LANE_LOST), 1);
    links_close(net->sides[0].links, more[0], LINKS_ENTRY);
    links_close(net->sides[1].links, more[1], LINKS_ENTRY);
    net_free(net);
}

static void test_a_link_whose_key_went_out_of_use_is_cut_in_the_end(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    open_lane(net, 0, 1, 1);
    settle(net);
    retire_first_key(&net->sides[1]); /* the other side knows no other key */
    links_renew(net->sides[1].links, net->now_ms);
    run(net, LINKS_OLD_MS - 1000);
    assert_int_equal(lanes_alive(net, 0), 1);
    run(net, 2000);
    assert_int_equal(lanes_alive(net, 0), 0);
    assert_int_equal(net->sides[1].resets, 1);
    net_free(net);
}

static void test_who_refuses_one_key_is_greeted_with_another(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    assert_int_equal(seal_ring_init(&net->sides[0].ring, keys, 2, 0, "test"), 0);
    seal_ring_use(&net->sides[0].ring, seal_key_id(keys[1])); /* side 1 has keys[0] alone */
    open_lane(net, 0, 1, 1);
    settle(net);
    assert_non_null(last(net, 0, LINKS_UNDIALLED));
    run(net, LINKS_REDIAL_MS);
    open_lane(net, 0, 1, 2);
    settle(net);
    assert_int_equal(last(net, 1, LINKS_MESSAGE)->name, 2);
    net_free(net);
}

static void test_when_the_preferred_link_is_lost_the_other_one_serves(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    open_lane(net, 0, 1, 1);
    open_lane(net, 1, 0, 2);
    settle(net);
    uint32_t preferred = net->conns[0].ends[0].side == 0 ? 0 : 1;
    for (int end = 0; end < 2; end++) {
        links_down(net->sides[net->conns[preferred].ends[end].side].links,
                   net->conns[preferred].ends[end].handle, MESH_LOSS_RST, net->now_ms);
        net->conns[preferred].ends[end].is_open = false;
    }
    settle(net);
    assert_true(links_has(net->sides[0].links, net->sides[1].id));
    open_lane(net, 0, 1, 3);
    settle(net);
    assert_int_equal(net->conns_count, 2);
    assert_int_equal(last(net, 1, LINKS_MESSAGE)->name, 3);
    net_free(net);
}

/* ---- lanes within this process -------------------------------------------------------------- */

static void test_a_lane_to_ourselves_carries_the_same_messages(void **state)
{
    (void)state;
    struct net *net = net_new(1);
    net->sides[0].is_lazy = true;
    struct lane lane = open_lane(net, 0, 0, 9);
    assert_true(links_sent(net->sides[0].links, lane));
    settle(net);
    const struct seen *open = last(net, 0, LINKS_MESSAGE);
    assert_int_equal(open->event.side, LINKS_OWNER);
    assert_int_equal(open->name, 9);
    assert_true(handle_is_none(open->event.user));
    int said = say_data(net, 0, lane, LINKS_OWNER, 1, 500);
    assert_true(said > 500);
    said += say_data(net, 0, lane, LINKS_OWNER, 2, 500);
    settle(net);
    const struct seen *data = last(net, 0, LINKS_MESSAGE);
    assert_int_equal(data->event.side, LINKS_ENTRY);
    assert_int_equal(data->event.user.slot, 9);
    assert_int_equal(data->event.user.generation, 1);
    links_consumed(net->sides[0].links, lane, LINKS_ENTRY, 100);
    links_consumed(net->sides[0].links, lane, LINKS_ENTRY, (size_t)said - 100);
    settle(net);
    assert_int_equal(count(net, 0, LINKS_CONSUMED), 1); /* one word for both */
    assert_true(last(net, 0, LINKS_CONSUMED)->event.total == (uint64_t)said);
    assert_int_equal(last(net, 0, LINKS_CONSUMED)->event.user.generation, 77);
    links_close(net->sides[0].links, lane, LINKS_ENTRY);
    assert_int_equal(say_data(net, 0, lane, LINKS_OWNER, 3, 5), -EPIPE);
    links_close(net->sides[0].links, lane, LINKS_OWNER);
    settle(net);
    assert_int_equal(count(net, 0, LINKS_LANE_LOST), 0); /* both were done with it */
    assert_int_equal(lanes_alive(net, 0), 0);
    assert_int_equal(net->conns_count, 0);
    net_free(net);
}

static void test_a_side_of_a_local_lane_hears_when_the_other_is_done(void **state)
{
    (void)state;
    struct net *net = net_new(1);
    struct lane lane = open_lane(net, 0, 0, 9);
    settle(net);
    links_close(net->sides[0].links, lane, LINKS_ENTRY); /* without a last word */
    settle(net);
    const struct seen *lost = last(net, 0, LINKS_LANE_LOST);
    assert_non_null(lost);
    assert_int_equal(lost->event.side, LINKS_OWNER);
    assert_int_equal(lost->event.user.generation, 77);
    lane = open_lane(net, 0, 0, 10);
    settle(net);
    assert_true(say_data(net, 0, lane, LINKS_OWNER, 1, 8) > 0);
    links_close(net->sides[0].links, lane, LINKS_OWNER);
    settle(net);
    assert_int_equal(last(net, 0, LINKS_MESSAGE)->first, 1); /* what was said before is heard */
    lost = last(net, 0, LINKS_LANE_LOST);
    assert_int_equal(lost->event.side, LINKS_ENTRY);
    assert_true(lost->event.sent);
    assert_int_equal(lanes_alive(net, 0), 0);
    /* one that never carried anything leaves nothing behind */
    assert_int_equal(try_open(net, 0, 0, 11, &lane), 0);
    links_close(net->sides[0].links, lane, LINKS_ENTRY);
    settle(net);
    assert_int_equal(lanes_alive(net, 0), 0);
    net_free(net);
}

/* ---- no room -------------------------------------------------------------------------------- */

static void test_a_lane_that_cannot_take_a_message_is_lost_for_both_sides(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    open_lane(net, 0, 1, 1);
    settle(net);
    struct lane owner = lane_of(net, 1, 1);
    net->sides[0].is_lazy = true;
    net->conns[0].is_stuck = true; /* 32 MiB wait at most */
    uint32_t taken = 0;
    while (say_data(net, 1, owner, LINKS_OWNER, taken, 1 << 20) > 0)
        taken++;
    assert_in_range(taken, 30, 32);
    /* a later one that would fit may not overtake the one that did not */
    assert_int_equal(say_data(net, 1, owner, LINKS_OWNER, 99, 8), -EPIPE);
    net->conns[0].is_stuck = false;
    net->sides[0].is_lazy = false;
    forget_seen(net);
    settle(net);
    assert_int_equal(count(net, 1, LINKS_LANE_LOST), 1);
    assert_int_equal(count(net, 0, LINKS_LANE_LOST), 1);
    assert_int_equal(lanes_alive(net, 0) + lanes_alive(net, 1), 0);
    for (uint32_t n = 0, k = 0; n < net->sides[0].seen_count; n++)
        if (net->sides[0].seen[n].event.kind == LINKS_MESSAGE)
            assert_int_equal(net->sides[0].seen[n].first, k++);
    /* the link itself goes on */
    open_lane(net, 0, 1, 2);
    settle(net);
    assert_int_equal(last(net, 1, LINKS_MESSAGE)->name, 2);
    assert_int_equal(net->conns_count, 1);
    net_free(net);
}

static void test_a_message_that_is_none_loses_its_lane(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    struct lane lane = open_lane(net, 0, 1, 1);
    settle(net);
    struct wire_message m = {.kind = WIRE_DATA, .payload = slice_text("abcd")};
    m.text.patch = (struct patch){.at = 3, .cut = 9, .put = slice_text("x")}; /* outside of it */
    assert_true(links_send(net->sides[0].links, lane, LINKS_ENTRY, &m) > 0);
    settle(net);
    assert_int_equal(count(net, 0, LINKS_LANE_LOST), 1);
    assert_int_equal(count(net, 1, LINKS_LANE_LOST), 1);
    assert_int_equal(lanes_alive(net, 0) + lanes_alive(net, 1), 0);
    net_free(net);
}

static void test_slow_readers_do_not_stop_the_others(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    net->sides[0].is_lazy = true;
    for (uint32_t n = 0; n < 17; n++)
        open_lane(net, 0, 1, n);
    settle(net);
    for (uint32_t n = 0; n < 17; n++)
        for (uint32_t k = 0; k < 8; k++)
            assert_true(say_data(net, 1, lane_of(net, 1, n), LINKS_OWNER, k, 100 * KIB) > 0);
    settle(net);
    open_lane(net, 0, 1, 100);
    net->sides[0].is_lazy = false;
    forget_seen(net);
    settle(net);
    struct lane brisk = lane_of(net, 1, 100);
    for (uint32_t k = 0; k < 20; k++)
        assert_true(say_data(net, 1, brisk, LINKS_OWNER, 1000 + k, 100 * KIB) > 0);
    struct wire_message find = {.kind = WIRE_FIND, .has_session = true};
    assert_int_equal(links_tell(net->sides[1].links, net->sides[0].id, NULL, &find, net->now_ms),
                     0);
    run(net, 1000);
    assert_int_equal(last(net, 0, LINKS_MESSAGE)->first, 1019);
    assert_int_equal(count(net, 0, LINKS_CONTROL), 1);
    net_free(net);
}

static void test_half_open_strangers_give_way(void **state)
{
    (void)state;
    struct net *net = net_new(1);
    struct mesh_addr stranger = {.port = 9};
    struct handle handles[LINKS_HALF_OPEN_MAX + 10];
    struct mesh_effect e;
    uint32_t closes = 0;
    for (uint32_t n = 0; n < LINKS_HALF_OPEN_MAX + 10; n++) {
        net->now_ms++;
        handles[n] = links_accepted(net->sides[0].links, &stranger, net->now_ms);
        assert_false(handle_is_none(handles[n]));
    }
    while (links_next_effect(net->sides[0].links, &e, net->now_ms)) {
        assert_int_equal(e.kind, MESH_LINK_CLOSE);
        assert_true(handle_equal(e.handle, handles[closes])); /* the oldest first */
        closes++;
    }
    assert_int_equal(closes, 10);
    links_bytes(net->sides[0].links, handles[20], slice_text("GET / HTTP/1.1\r\n\r\n"),
                net->now_ms);
    assert_true(links_next_effect(net->sides[0].links, &e, net->now_ms));
    assert_int_equal(e.kind, MESH_LINK_CLOSE);
    net->now_ms += LINK_DEADLINE_MS + 1;
    links_now(net->sides[0].links, net->now_ms);
    while (links_next_effect(net->sides[0].links, &e, net->now_ms))
        closes++;
    assert_int_equal(closes, LINKS_HALF_OPEN_MAX + 9);
    assert_true(links_deadline_ms(net->sides[0].links) == MESH_NEVER);
    net_free(net);
}

/* ---- control -------------------------------------------------------------------------------- */

static void test_control_waits_for_the_handshake_or_for_nothing(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    struct wire_message find = {.kind = WIRE_FIND, .has_session = true};
    assert_int_equal(links_tell(net->sides[0].links, net->sides[1].id, NULL, &find, net->now_ms),
                     -EAGAIN);
    find.session.bytes[3] = 33;
    assert_int_equal(
        links_tell(net->sides[0].links, net->sides[1].id, &net->sides[1].addr, &find, net->now_ms),
        0);
    settle(net);
    const struct seen *control = last(net, 1, LINKS_CONTROL);
    assert_int_equal(control->event.message.kind, WIRE_FIND);
    assert_int_equal(control->event.message.session.bytes[3], 33);
    assert_true(peer_id_equal(control->event.peer, net->sides[0].id));
    assert_int_equal(links_tell(net->sides[1].links, net->sides[0].id, NULL, &find, net->now_ms),
                     0);
    settle(net);
    assert_non_null(last(net, 0, LINKS_CONTROL));
    net_free(net);
}

static void test_a_view_is_told_as_it_was_or_not_at_all(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    static struct wire_update records[WIRE_RECORDS_MAX];
    struct wire_message view = {.kind = WIRE_VIEW};
    records[0].kind = UPDATE_SUSPECT;
    records[0].record.id = (struct peer_id){5, 50};
    records[0].accuser = (struct peer_id){6, 60};
    view.view.mask = 1;
    view.view.count = 1;
    view.view.records = records;
    /* the caller's records are its scratch: they say something else when the link stands */
    int rc =
        links_tell(net->sides[0].links, net->sides[1].id, &net->sides[1].addr, &view, net->now_ms);
    records[0].record.id = (struct peer_id){7, 70};
    settle(net);
    assert_int_equal(rc, -EAGAIN);
    assert_null(last(net, 1, LINKS_CONTROL));
    assert_int_equal(links_tell(net->sides[0].links, net->sides[1].id, NULL, &view, net->now_ms),
                     0);
    settle(net);
    assert_int_equal(last(net, 1, LINKS_CONTROL)->event.message.view.count, 1);
    net_free(net);
}

static void test_a_meeting_dials_whoever_answers(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    links_meet(net->sides[0].links, (struct peer_id){0}, &net->sides[1].addr, net->now_ms);
    settle(net);
    const struct seen *ready = last(net, 0, LINKS_READY);
    assert_true(peer_id_equal(ready->event.peer, net->sides[1].id));
    assert_true(links_is_met(net->sides[0].links, ready->event.link));
    assert_false(links_is_met(net->sides[1].links, last(net, 1, LINKS_READY)->event.link));
    net->sides[1].refuses = true;
    links_meet(net->sides[0].links, (struct peer_id){0}, &net->sides[1].addr, net->now_ms);
    settle(net);
    assert_int_equal(last(net, 0, LINKS_UNDIALLED)->event.addr.port, net->sides[1].addr.port);
    net_free(net);
}

static int try_reach(struct net *net)
{
    return links_reach(net->sides[0].links, net->sides[1].id, &net->sides[1].addr, net->now_ms);
}

static void test_a_peer_is_reached_by_a_dial_or_by_a_ping_of_the_link_that_stands(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    assert_int_equal(try_reach(net), 0);
    settle(net);
    assert_int_equal(count(net, 0, LINKS_READY), 1);
    assert_false(links_is_met(net->sides[0].links, last(net, 0, LINKS_READY)->event.link));
    assert_int_equal(try_reach(net), 1); /* it proved itself just now */
    run(net, 1001);
    assert_int_equal(try_reach(net), 0);
    settle(net);
    assert_int_equal(count(net, 0, LINKS_REACHED), 1);
    assert_true(peer_id_equal(last(net, 0, LINKS_REACHED)->event.peer, net->sides[1].id));
    assert_int_equal(try_reach(net), 1);
    assert_int_equal(count(net, 0, LINKS_READY), 1);
    net->sides[1].is_deaf = true;
    run(net, 1001);
    assert_int_equal(try_reach(net), 0);
    run(net, 2000);
    assert_int_equal(count(net, 0, LINKS_REACHED), 1); /* silence is no answer */
    net_free(net);
}

static void test_a_peer_that_refuses_is_not_reached_nor_asked_again_at_once(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    net->sides[1].refuses = true;
    assert_int_equal(try_reach(net), 0);
    settle(net);
    assert_int_equal(last(net, 0, LINKS_UNDIALLED)->event.loss, MESH_LOSS_REFUSED);
    assert_int_equal(try_reach(net), -EAGAIN);
    net->sides[1].refuses = false;
    run(net, 1000);
    assert_int_equal(try_reach(net), 0);
    settle(net);
    assert_int_equal(count(net, 0, LINKS_READY), 1);
    net_free(net);
}

static void test_ten_thousand_lanes_leave_nothing_behind(void **state)
{
    (void)state;
    struct net *net = net_new(2);
    open_lane(net, 0, 1, 1);
    settle(net);
    for (uint32_t n = 0; n < 10000; n++) {
        struct lane lane = open_lane(net, 0, 1, 2);
        if (n % 50 == 49 || n == 9999) {
            forget_seen(net);
            settle(net);
        }
        links_close(net->sides[0].links, lane, LINKS_ENTRY);
    }
    forget_seen(net);
    settle(net);
    assert_int_equal(lanes_alive(net, 0), 1);
    assert_int_equal(lanes_alive(net, 1), 1);
    net_free(net);
}

static uint32_t lanes_alive(const struct net *net, uint32_t side)
{
    return pool_count(&net->sides[side].links->lanes);
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_lane_dials_and_its_messages_wait_for_the_handshake),
        cmocka_unit_test(test_many_lanes_share_one_link_in_both_directions),
        cmocka_unit_test(test_a_refused_dial_loses_the_lane_unsent_and_is_not_repeated_at_once),
        cmocka_unit_test(test_a_failed_dial_is_forgotten_in_the_end),
        cmocka_unit_test(test_a_handshake_that_fails_is_not_repeated_at_once),
        cmocka_unit_test(test_another_peer_at_the_address_is_not_taken_for_the_one_dialled),
        cmocka_unit_test(test_a_peer_that_never_answers_the_handshake_is_given_up),
        cmocka_unit_test(test_a_cut_link_tells_which_lanes_were_sent),
        cmocka_unit_test(test_what_came_before_a_loss_is_told_before_it),
        cmocka_unit_test(test_a_named_link_is_cut_unread_and_no_other),
        cmocka_unit_test(test_a_peer_that_is_gone_takes_its_links_with_it),
        cmocka_unit_test(test_a_silent_link_is_given_up),
        cmocka_unit_test(test_a_process_that_stood_still_does_not_blame_the_link),
        cmocka_unit_test(test_a_link_that_was_quiet_for_a_while_owes_no_answer_for_that),
        cmocka_unit_test(test_an_unused_link_is_quiet_and_closes_after_a_while),
        cmocka_unit_test(test_both_dial_at_once_and_the_lower_ones_link_stays),
        cmocka_unit_test(test_a_silent_link_beside_one_that_answers_is_given_up_sooner),
        cmocka_unit_test(test_an_empty_unpreferred_link_goes_as_soon_as_the_preferred_one_stands),
        cmocka_unit_test(test_a_link_whose_key_went_out_of_use_is_replaced_without_a_loss),
        cmocka_unit_test(test_a_link_whose_key_went_out_of_use_is_cut_in_the_end),
        cmocka_unit_test(test_who_refuses_one_key_is_greeted_with_another),
        cmocka_unit_test(test_when_the_preferred_link_is_lost_the_other_one_serves),
        cmocka_unit_test(test_a_lane_to_ourselves_carries_the_same_messages),
        cmocka_unit_test(test_a_side_of_a_local_lane_hears_when_the_other_is_done),
        cmocka_unit_test(test_a_lane_that_cannot_take_a_message_is_lost_for_both_sides),
        cmocka_unit_test(test_a_message_that_is_none_loses_its_lane),
        cmocka_unit_test(test_slow_readers_do_not_stop_the_others),
        cmocka_unit_test(test_half_open_strangers_give_way),
        cmocka_unit_test(test_control_waits_for_the_handshake_or_for_nothing),
        cmocka_unit_test(test_a_view_is_told_as_it_was_or_not_at_all),
        cmocka_unit_test(test_a_meeting_dials_whoever_answers),
        cmocka_unit_test(test_a_peer_is_reached_by_a_dial_or_by_a_ping_of_the_link_that_stands),
        cmocka_unit_test(test_a_peer_that_refuses_is_not_reached_nor_asked_again_at_once),
        cmocka_unit_test(test_ten_thousand_lanes_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
