/* mesh_pump.h - a few whole mesh cores joined in memory, with clients and upstreams that do only
 * what a test says: for test_session.c, test_entry.c, test_serve.c and test_mesh.c. Time stands
 * still unless a test runs it; every effect is carried out at once. Campaigns are mesh-sim's. */
#ifndef TESTS_MESH_PUMP_H
#define TESTS_MESH_PUMP_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "mesh/mesh.h"

#ifndef NODES_MAX
#define NODES_MAX 3
#endif
#define CONNS_MAX 512
#define CLIENTS_MAX 1024
#define UCALLS_MAX 1024
#define UPS_MAX 512
#define PUMP_HEAD_MAX 64 /* bytes of header lines, and of an event's id, that tests use */

struct core;

static int pump_outside; /* above 0: what is allocated now is the test's own */

struct node {
    struct mesh *mesh;
    struct mesh_addr addr;
    bool is_dead;
    bool refuses;     /* its port answers with a reset */
    bool resets;      /* it accepts, and hangs up at once */
    bool sleeps;      /* stopped: it does nothing, and what comes over links waits */
    uint32_t unheard; /* nodes, a bit each, that nothing reaches from here: see pump_part() */
};

struct conn {
    struct {
        uint32_t node;
        struct handle handle;
        bool is_open;
    } ends[2];
    struct bytes *flow[2]; /* from ends[n], not delivered yet */
    bool has_fin[2], has_rst[2], is_stuck;
};

/* A client's request. */
struct client {
    uint32_t node;
    struct handle handle;
    bool is_open, is_slow; /* slow: takes nothing by itself */
    bool is_lied_to;       /* its owner's peer says what it likes: S1 is not to be had */
    uint32_t heads, ends;
    int status;
    enum mesh_form form;
    char lines[PUMP_HEAD_MAX]; /* the header lines of its head */
    bool has_session;
    char session[MESH_SESSION_TEXT];
    uint32_t texts;   /* events that say something, or parts of data */
    uint32_t marks;   /* events that say nothing: places to resume from, times */
    uint32_t answers; /* events that said they answer */
    char last[256];   /* the beginning of the last text */
    /* its events, a letter each: '.' a mark, '!' events were missed, '?' an error of the mesh, '='
     * the answer, of a LOG() its first letter, '*' anything else */
    char heard[1200];
    struct event_id position; /* of the last event with an id; at first: what was shown */
    uint32_t retry_ms;
    enum mesh_reason told;  /* by an event; MESH_OK: no error was */
    struct event_id end_id; /* of the event that tells how it ended */
    size_t bytes, untaken;
    uint64_t sum; /* of all bytes by place: order and loss show */
    enum mesh_end end;
    enum mesh_reason why;
    bool head_sent;
};

/* A request that an upstream got. */
struct ucall {
    uint32_t node;
    struct handle up;
    uint32_t call;
    enum mesh_effect_kind kind; /* MESH_UP_SEND or MESH_UP_LISTEN */
    enum mesh_want want;
    bool is_request, is_cancelled;
    char text[256];
    size_t length, room;
    size_t brought, given; /* bytes that came, and room given back for them */
};

struct up {
    uint32_t node;
    struct handle handle;
    bool is_open, wants_close;
    size_t brought, given; /* of no call: a child */
};

struct pump {
    struct node nodes[NODES_MAX];
    uint32_t nodes_count;
    struct conn conns[CONNS_MAX];
    struct client clients[CLIENTS_MAX];
    struct ucall ucalls[UCALLS_MAX];
    struct up ups[UPS_MAX];
    uint32_t conns_count, clients_count, ucalls_count, ups_count;
    uint32_t dials, turns;
    uint64_t now_ms;
    bool loses_datagrams, ups_wait; /* ups_wait: no upstream is ready by itself */
    struct mesh_change_seen {
        uint32_t counts[16];
    } changes[NODES_MAX];
};

/* What only mesh/ knows of a node, for tests that look inside: its first member. */
static inline struct core *core_of(const struct pump *p, uint32_t node)
{
    return (struct core *)(void *)p->nodes[node].mesh;
}

/* ---- making --------------------------------------------------------------------------------- */

static inline void pump_config(struct pump *p, uint32_t n, struct mesh_config *config)
{
    static char names[NODES_MAX][8];
    mesh_config_defaults(config);
    snprintf(names[n], sizeof names[n], "n%u", n);
    config->name = names[n];
    config->cluster = "test";
    config->addr.ip[15] = 1;
    config->addr.port = (uint16_t)(7000 + n);
    config->entropy[0] = (uint8_t)(n + 1);
    config->boot_ms = UINT64_C(1760000000000);
    config->has_contacts = p->nodes_count > 1;
    config->upstream = MESH_UP_STDIO;
}

static inline void pump_run(struct pump *p, uint64_t ms);

/* For pump_new(): nobody could carry a session on. */
static inline void without_copies(struct mesh_config *config)
{
    config->copies = 0;
}

static inline struct pump *pump_new(uint32_t nodes, void (*change)(struct mesh_config *))
{
    struct pump *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->now_ms = 1000;
    p->nodes_count = nodes;
    for (uint32_t n = 0; n < nodes; n++) {
        struct mesh_config config;
        pump_config(p, n, &config);
        if (change != NULL)
            change(&config);
        p->nodes[n].addr = config.addr;
        assert_int_equal(mesh_new(&p->nodes[n].mesh, &config, p->now_ms), 0);
        mesh_serving(p->nodes[n].mesh, true, p->now_ms);
    }
    for (uint32_t n = 0; n < nodes; n++)
        for (uint32_t k = 0; k < nodes && nodes > 1; k++)
            mesh_join(p->nodes[n].mesh, &p->nodes[k].addr, p->now_ms);
    pump_run(p, 6000);
    for (uint32_t n = 0; n < nodes; n++) {
        assert_true(mesh_is_joined(p->nodes[n].mesh));
        assert_int_equal(mesh_members(p->nodes[n].mesh, NULL, 0), nodes);
    }
    return p;
}

/* Checks that nothing is left but what the test left open. */
static inline void pump_free(struct pump *p)
{
    for (uint32_t n = 0; n < p->nodes_count; n++)
        mesh_free(p->nodes[n].mesh);
    for (uint32_t n = 0; n < p->conns_count; n++) {
        bytes_unref(p->conns[n].flow[0]);
        bytes_unref(p->conns[n].flow[1]);
    }
    free(p);
}

static inline void pump_kill(struct pump *p, uint32_t node);

static inline struct bytes *pump_copy(const void *data, size_t length)
{
    pump_outside++;
    struct bytes *copy = bytes_copy(NULL, data, length);
    pump_outside--;
    assert_non_null(copy);
    return copy;
}

/* ---- carrying out effects ------------------------------------------------------------------- */

static inline struct conn *pump_conn(struct pump *p, uint32_t node, struct handle handle, int *end)
{
    for (uint32_t n = p->conns_count; n-- > 0;)
        for (*end = 0; *end < 2; ++*end)
            if (p->conns[n].ends[*end].node == node &&
                handle_equal(p->conns[n].ends[*end].handle, handle))
                return &p->conns[n];
    fail_msg("an effect for a socket that never was");
    return NULL;
}

static inline uint32_t pump_node_at(const struct pump *p, const struct mesh_addr *addr)
{
    uint32_t n = 0;
    while (n < p->nodes_count && (!mesh_addr_equal(&p->nodes[n].addr, addr) || p->nodes[n].is_dead))
        n++;
    return n;
}

static inline bool pump_is_unheard(const struct pump *p, uint32_t from, uint32_t to)
{
    return p->nodes[to].sleeps || (p->nodes[from].unheard >> to & 1);
}

static inline void pump_dial(struct pump *p, uint32_t from, const struct mesh_effect *e)
{
    uint32_t to = pump_node_at(p, &e->wire.to);
    p->dials++;
    assert_true(p->conns_count < CONNS_MAX);
    struct conn *conn = &p->conns[p->conns_count];
    conn->ends[0].node = from;
    conn->ends[0].handle = e->handle;
    if (to < p->nodes_count && pump_is_unheard(p, from, to)) {
        conn->ends[1].node = to; /* nobody answers */
        conn->ends[0].is_open = true;
        p->conns_count++;
        return;
    }
    if (to == p->nodes_count || p->nodes[to].refuses) {
        mesh_link_down(p->nodes[from].mesh, e->handle, MESH_LOSS_REFUSED, p->now_ms);
        return;
    }
    if (p->nodes[to].resets) {
        mesh_link_up(p->nodes[from].mesh, e->handle, p->now_ms);
        mesh_link_down(p->nodes[from].mesh, e->handle, MESH_LOSS_RST, p->now_ms);
        return;
    }
    p->conns_count++;
    conn->ends[1].node = to;
    conn->ends[1].handle = mesh_link_accepted(p->nodes[to].mesh, &p->nodes[from].addr, p->now_ms);
    conn->ends[0].is_open = conn->ends[1].is_open = true;
    if (handle_is_none(conn->ends[1].handle)) {
        conn->ends[1].is_open = false;
        conn->has_rst[1] = true;
    }
    mesh_link_up(p->nodes[from].mesh, e->handle, p->now_ms);
}

static inline void pump_put(struct bytes **flow, struct slice data)
{
    pump_outside++;
    if (*flow == NULL)
        *flow = bytes_new(NULL, data.length);
    assert_non_null(*flow);
    assert_int_equal(bytes_grow(flow, data.length), 0);
    pump_outside--;
    memcpy((*flow)->data + (*flow)->length, data.at, data.length);
    (*flow)->length += data.length;
}

static inline struct client *pump_client(struct pump *p, uint32_t node, struct handle handle)
{
    for (uint32_t n = p->clients_count; n-- > 0;)
        if (p->clients[n].node == node && handle_equal(p->clients[n].handle, handle))
            return &p->clients[n];
    fail_msg("an effect for a client that never was");
    return NULL;
}

/* The beginning of a text, its patch carried out. */
static inline void pump_text(char into[256], struct slice text, const struct patch *patch)
{
    assert_true(patch->at <= text.length && patch->cut <= text.length - patch->at);
    struct slice parts[] = {
        slice_borrow(text.at, patch->at), patch->put,
        slice_borrow(text.at + patch->at + patch->cut, text.length - patch->at - patch->cut)};
    size_t length = 0;
    for (int n = 0; n < 3; n++) {
        size_t more = parts[n].length < 255 - length ? parts[n].length : 255 - length;
        memcpy(into + length, more > 0 ? (const char *)parts[n].at : "", more);
        length += more;
    }
    into[length] = '\0';
}

/* What stands behind those words; NULL: they are not in it. */
static inline const char *pump_find(struct slice text, const char *words)
{
    const char *at = text.at == NULL ? NULL : memmem(text.at, text.length, words, strlen(words));
    return at == NULL ? NULL : at + strlen(words);
}

static inline char pump_letter(const struct mesh_effect *e)
{
    struct slice text = e->event.text;
    const char *data = pump_find(text, "{\"data\":\"");
    if (e->event.why != MESH_OK)
        return '?';
    if (text.length == 0)
        return '.';
    if (pump_find(text, "events of this stream were missed") != NULL)
        return '!';
    if (e->event.answers)
        return '=';
    return data != NULL ? *data : '*';
}

/* Within a stream ids go on by one, unless it was said that some are missing (invariant S1). */
static inline void pump_place(struct client *c, const struct mesh_effect *e, char letter)
{
    const struct event_id *id = &e->event.id;
    size_t heard = strlen(c->heard);
    bool was_told = heard > 0 && c->heard[heard - 1] == '!';
    if (event_id_is_none(id) || c->is_lied_to)
        return;
    assert_false(c->position.is_last); /* nothing comes behind the last one */
    if (!event_id_is_none(&c->position) && letter != '.' && letter != '!' && !was_told) {
        bool is_next = id->number == c->position.number + 1;
        assert_int_equal(id->stream, c->position.stream);
        assert_true(id->epoch >= c->position.epoch);
        /* a takeover counts from 1 again, which its epoch tells; a hand-over goes on */
        assert_true(is_next || (id->epoch > c->position.epoch && id->number == 1));
    }
    c->position = *id;
}

static inline void pump_event_came(struct client *c, const struct mesh_effect *e)
{
    char letter = pump_letter(e);
    size_t heard = strlen(c->heard);
    pump_place(c, e, letter);
    if (heard + 1 < sizeof c->heard)
        c->heard[heard] = letter;
    c->answers += e->event.answers;
    c->marks += letter == '.';
    if (e->event.why != MESH_OK)
        c->told = e->event.why;
    if (e->event.retry_ms != 0)
        c->retry_ms = e->event.retry_ms;
}

/* What a client is given; the order of a reply's effects is checked here. */
static inline void pump_reply(struct pump *p, uint32_t node, const struct mesh_effect *e)
{
    struct client *c = pump_client(p, node, e->handle);
    struct slice text = e->kind == MESH_REPLY_EVENT ? e->event.text : e->data;
    assert_true(c->is_open); /* nothing for a closed handle, nothing after its end */
    if (e->kind == MESH_REPLY_HEAD) {
        assert_int_equal(c->heads, 0);
        c->heads++;
        c->status = e->head.status;
        c->form = e->head.form;
        snprintf(c->lines, sizeof c->lines, "%.*s", (int)e->head.head.length,
                 e->head.head.length > 0 ? (const char *)e->head.head.at : "");
        c->has_session = e->head.has_session;
        memcpy(c->session, e->head.session, sizeof c->session);
    } else if (e->kind == MESH_REPLY_END) {
        c->ends++;
        c->end = e->end.end;
        c->why = e->end.why;
        c->head_sent = e->end.head_sent;
        c->end_id = e->end.id;
        assert_int_equal(c->head_sent, c->heads);
        c->is_open = false;
    } else {
        assert_int_equal(c->heads, 1);
        if (e->kind == MESH_REPLY_EVENT)
            pump_event_came(c, e);
        if (text.length == 0)
            return;
        c->texts++;
        pump_text(c->last, text, &e->patch);
        for (size_t n = 0; n < text.length; n++)
            c->sum = c->sum * 31 + text.at[n];
        c->bytes += text.length;
        if (c->is_slow)
            c->untaken += text.length;
        else
            mesh_taken(p->nodes[node].mesh, c->handle, text.length, p->now_ms);
    }
}

static inline struct up *pump_up(struct pump *p, uint32_t node, struct handle handle)
{
    for (uint32_t n = p->ups_count; n-- > 0;)
        if (p->ups[n].node == node && handle_equal(p->ups[n].handle, handle))
            return &p->ups[n];
    fail_msg("an effect for an upstream that never was");
    return NULL;
}

static inline struct ucall *pump_ucall(struct pump *p, uint32_t node, struct handle up,
                                       uint32_t call)
{
    for (uint32_t n = p->ucalls_count; n-- > 0;)
        if (p->ucalls[n].node == node && handle_equal(p->ucalls[n].up, up) &&
            p->ucalls[n].call == call)
            return &p->ucalls[n];
    return NULL;
}

static inline void pump_upstream(struct pump *p, uint32_t node, const struct mesh_effect *e)
{
    struct ucall *u = pump_ucall(p, node, e->handle, e->call);
    if (e->kind == MESH_UP_OPEN) {
        assert_true(p->ups_count < UPS_MAX);
        p->ups[p->ups_count++] = (struct up){.node = node, .handle = e->handle, .is_open = true};
        if (!p->ups_wait)
            mesh_up_ready(p->nodes[node].mesh, e->handle, p->now_ms);
        return;
    }
    struct up *up = pump_up(p, node, e->handle);
    assert_true(up->is_open);
    if (e->kind == MESH_UP_CLOSE) {
        up->is_open = false;
        mesh_up_closed(p->nodes[node].mesh, e->handle, MESH_OK, p->now_ms);
    } else if (e->kind == MESH_UP_ROOM) {
        size_t *given = u != NULL ? &u->given : &up->given;
        *given += e->room;
        assert_true(u != NULL || e->call == MESH_NO_CALL);
        assert_true(*given <= (u != NULL ? u->brought : up->brought)); /* not more than came */
        if (u != NULL)
            u->room += e->room;
    } else if (e->kind == MESH_UP_CANCEL && u != NULL) {
        u->is_cancelled = true;
    } else if (e->kind == MESH_UP_SEND || e->kind == MESH_UP_LISTEN) {
        assert_true(p->ucalls_count < UCALLS_MAX);
        u = &p->ucalls[p->ucalls_count++];
        *u = (struct ucall){.node = node,
                            .up = e->handle,
                            .call = e->call,
                            .kind = e->kind,
                            .want = e->send.want,
                            .is_request = e->send.is_request,
                            .length = e->send.text.length,
                            .room = MESH_UP_ROOM_FIRST};
        pump_text(u->text, e->send.text, &e->patch);
        mesh_up_sent(p->nodes[node].mesh, e->handle, e->call, p->now_ms);
    }
}

static inline void pump_effect(struct pump *p, uint32_t n, const struct mesh_effect *e)
{
    int end = 0;
    uint32_t to;
    struct conn *conn;
    switch (e->kind) {
    case MESH_DATAGRAM:
        assert_true(e->wire.sealed.length <= MESH_DATAGRAM_MAX);
        to = pump_node_at(p, &e->wire.to);
        if (to < p->nodes_count && !p->loses_datagrams && !pump_is_unheard(p, n, to))
            mesh_datagram(p->nodes[to].mesh, &p->nodes[n].addr, e->wire.sealed, p->now_ms);
        break;
    case MESH_LINK_DIAL:
        pump_dial(p, n, e);
        break;
    case MESH_LINK_BYTES:
        conn = pump_conn(p, n, e->handle, &end);
        assert_true(conn->ends[end].is_open);
        pump_put(&conn->flow[end], e->wire.sealed);
        mesh_link_taken(p->nodes[n].mesh, e->handle, e->wire.sealed.length, p->now_ms);
        break;
    case MESH_LINK_CLOSE:
        conn = pump_conn(p, n, e->handle, &end);
        conn->ends[end].is_open = false;
        conn->has_fin[end] = !e->end.cut;
        conn->has_rst[end] = e->end.cut;
        break;
    case MESH_UP_OPEN:
    case MESH_UP_SEND:
    case MESH_UP_LISTEN:
    case MESH_UP_ROOM:
    case MESH_UP_CANCEL:
    case MESH_UP_CLOSE:
        pump_upstream(p, n, e);
        break;
    case MESH_REPLY_HEAD:
    case MESH_REPLY_EVENT:
    case MESH_REPLY_DATA:
    case MESH_REPLY_END:
        pump_reply(p, n, e);
        break;
    case MESH_CHANGED:
        p->changes[n].counts[e->changed.what]++;
        break;
    }
}

/* ---- turns ---------------------------------------------------------------------------------- */

/* One node's turn: all its effects. */
static inline bool pump_drain(struct pump *p, uint32_t n)
{
    struct mesh_effect e;
    uint32_t count = 0;
    while (!p->nodes[n].is_dead && !p->nodes[n].sleeps &&
           mesh_next_effect(p->nodes[n].mesh, &e, p->now_ms)) {
        pump_effect(p, n, &e);
        assert_true(++count < 100000); /* a turn ends */
    }
    return count > 0;
}

static inline bool pump_deliver(struct pump *p, struct conn *conn, int from)
{
    struct node *to = &p->nodes[conn->ends[!from].node];
    struct handle handle = conn->ends[!from].handle;
    struct bytes *flow = conn->flow[from];
    if (conn->is_stuck || !conn->ends[!from].is_open ||
        pump_is_unheard(p, conn->ends[from].node, conn->ends[!from].node))
        return false;
    if (flow != NULL && !conn->has_rst[from]) {
        conn->flow[from] = NULL;
        mesh_link_bytes(to->mesh, handle, slice_borrow(flow->data, flow->length), p->now_ms);
        bytes_unref(flow);
        return true;
    }
    if (!conn->has_fin[from] && !conn->has_rst[from])
        return false;
    conn->ends[!from].is_open = false;
    mesh_link_down(to->mesh, handle, conn->has_fin[from] ? MESH_LOSS_FIN : MESH_LOSS_RST,
                   p->now_ms);
    return true;
}

/* Until nothing is on its way any more; time stands still. */
static inline void pump_settle(struct pump *p)
{
    bool did = true;
    for (int round = 0; did; round++) {
        assert_true(round < 20000);
        did = false;
        for (uint32_t n = 0; n < p->nodes_count; n++)
            did |= pump_drain(p, n);
        for (uint32_t n = 0; n < p->conns_count; n++)
            for (int end = 0; end < 2; end++)
                did |= pump_deliver(p, &p->conns[n], end);
    }
}

/* Runs to `now + ms` at the nodes' deadlines; nobody may ask for turn after turn at one time. */
static inline void pump_run(struct pump *p, uint64_t ms)
{
    uint64_t until = p->now_ms + ms;
    uint32_t same = 0;
    pump_settle(p);
    for (;;) {
        uint64_t next = until + 1;
        for (uint32_t n = 0; n < p->nodes_count; n++)
            if (!p->nodes[n].is_dead && !p->nodes[n].sleeps &&
                mesh_deadline_ms(p->nodes[n].mesh) < next)
                next = mesh_deadline_ms(p->nodes[n].mesh);
        if (next > until)
            break;
        same = next > p->now_ms ? 0 : same + 1;
        assert_true(same < 100);
        p->now_ms = next > p->now_ms ? next : p->now_ms;
        p->turns++;
        for (uint32_t n = 0; n < p->nodes_count; n++)
            if (!p->nodes[n].is_dead && !p->nodes[n].sleeps &&
                mesh_deadline_ms(p->nodes[n].mesh) <= p->now_ms)
                mesh_now(p->nodes[n].mesh, p->now_ms);
        pump_settle(p);
    }
    p->now_ms = until;
}

/* Dials that nobody answered are given up. */
static inline void pump_give_up_dials(struct pump *p, uint32_t a, uint32_t b)
{
    for (uint32_t n = 0; n < p->conns_count; n++) {
        struct conn *conn = &p->conns[n];
        if (!conn->ends[0].is_open || !handle_is_none(conn->ends[1].handle) ||
            (conn->ends[0].node != a && conn->ends[0].node != b) ||
            (conn->ends[1].node != a && conn->ends[1].node != b))
            continue;
        conn->ends[0].is_open = false;
        mesh_link_down(p->nodes[conn->ends[0].node].mesh, conn->ends[0].handle, MESH_LOSS_TIMEOUT,
                       p->now_ms);
    }
}

/* It goes on: what waited for it comes before it is told the time. */
static inline void pump_wake(struct pump *p, uint32_t node)
{
    p->nodes[node].sleeps = false;
    for (uint32_t n = 0; n < p->nodes_count; n++)
        if (n != node && !p->nodes[n].is_dead)
            pump_give_up_dials(p, n, node);
    pump_settle(p);
    mesh_now(p->nodes[node].mesh, p->now_ms);
    pump_settle(p);
}

/* From now on nothing comes from one of the two to the other, or all comes again; what links carry
 * waits. */
static inline void pump_part(struct pump *p, uint32_t a, uint32_t b, bool are_parted)
{
    p->nodes[a].unheard &= ~(1u << b);
    p->nodes[b].unheard &= ~(1u << a);
    p->nodes[a].unheard |= are_parted ? 1u << b : 0;
    p->nodes[b].unheard |= are_parted ? 1u << a : 0;
    if (!are_parted)
        pump_give_up_dials(p, a, b);
}

/* Resets every connection between two nodes; what was on its way is lost. */
static inline void pump_cut(struct pump *p, uint32_t a, uint32_t b)
{
    for (uint32_t n = 0; n < p->conns_count; n++) {
        struct conn *conn = &p->conns[n];
        if ((conn->ends[0].node != a || conn->ends[1].node != b) &&
            (conn->ends[0].node != b || conn->ends[1].node != a))
            continue;
        for (int end = 0; end < 2; end++) {
            bytes_unref(conn->flow[end]);
            conn->flow[end] = NULL;
            if (conn->ends[end].is_open)
                mesh_link_down(p->nodes[conn->ends[end].node].mesh, conn->ends[end].handle,
                               MESH_LOSS_RST, p->now_ms);
            conn->ends[end].is_open = false;
        }
    }
}

static inline void pump_kill(struct pump *p, uint32_t node)
{
    p->nodes[node].is_dead = true;
    for (uint32_t n = 0; n < p->conns_count; n++)
        for (int end = 0; end < 2; end++)
            if (p->conns[n].ends[end].node == node && p->conns[n].ends[end].is_open) {
                p->conns[n].ends[end].is_open = false;
                p->conns[n].has_rst[end] = true;
            }
}

/* A new life of that name, which looks for the mesh from now on. */
static inline void pump_start(struct pump *p, uint32_t node)
{
    struct mesh_config config;
    mesh_free(p->nodes[node].mesh);
    pump_config(p, node, &config);
    config.entropy[1]++;
    config.boot_ms += p->now_ms;
    assert_int_equal(mesh_new(&p->nodes[node].mesh, &config, p->now_ms), 0);
    p->nodes[node].is_dead = false;
    mesh_serving(p->nodes[node].mesh, true, p->now_ms);
}

static inline void pump_join(struct pump *p, uint32_t node)
{
    for (uint32_t n = 0; n < p->nodes_count; n++)
        mesh_join(p->nodes[node].mesh, &p->nodes[n].addr, p->now_ms);
}

/* ---- clients -------------------------------------------------------------------------------- */

/* `r` names what is wanted and how; session, text (of a CALL) and the rest are filled in here. */
static inline uint32_t pump_open(struct pump *p, uint32_t node, struct mesh_request r,
                                 const char *session, const char *text)
{
    assert_true(p->clients_count < CLIENTS_MAX);
    struct client *c = &p->clients[p->clients_count];
    struct bytes *body = pump_copy(text, strlen(text));
    if (r.want == MESH_CALL) {
        rpc_read(&r.rpc, NULL, body->data, body->length);
        assert_int_not_equal(r.rpc.kind, RPC_BAD);
        r.body = slice_of(body, 0, body->length);
    }
    if (session != NULL)
        r.key = (struct mesh_key){MESH_KEY_SESSION, slice_borrow(session, MESH_SESSION_TEXT)};
    r.head = slice_text("Accept: application/json\r\n");
    if (r.last_event_id.length > 0)
        (void)event_id_read(&c->position, r.last_event_id);
    c->node = node;
    c->handle = mesh_open(p->nodes[node].mesh, &r, p->now_ms);
    c->is_open = !handle_is_none(c->handle);
    bytes_unref(body);
    return p->clients_count++;
}

static inline uint32_t pump_ask(struct pump *p, uint32_t node, enum mesh_want want,
                                const char *session, const char *text, uint8_t who)
{
    struct mesh_request r = {.want = want, .era = MESH_LEGACY};
    r.who.hash[0] = who;
    return pump_open(p, node, r, session, text);
}

/* A request of the session-less era; `handle` NULL: it has none. */
static inline uint32_t pump_ask_modern(struct pump *p, uint32_t node, const char *text,
                                       const char *handle)
{
    struct mesh_request r = {.want = MESH_CALL, .era = MESH_MODERN};
    if (handle != NULL)
        r.key = (struct mesh_key){MESH_KEY_HANDLE, slice_text(handle)};
    return pump_open(p, node, r, NULL, text);
}

/* A GET with this Last-Event-ID. */
static inline uint32_t pump_resume(struct pump *p, uint32_t node, const char *session,
                                   const char *shown)
{
    struct mesh_request r = {.want = MESH_LISTEN, .last_event_id = slice_text(shown)};
    return pump_open(p, node, r, session, "");
}

/* The GET of a client that goes on where `client` stopped. */
static inline uint32_t pump_come_back(struct pump *p, uint32_t node, const char *session,
                                      uint32_t client)
{
    char shown[EVENT_ID_TEXT + 1] = {0};
    assert_false(event_id_is_none(&p->clients[client].position));
    (void)event_id_write(shown, &p->clients[client].position);
    return pump_resume(p, node, session, shown);
}

/* HTTP+SSE: the GET that makes a session, and a POST of it. */
static inline uint32_t pump_sse(struct pump *p, uint32_t node)
{
    struct mesh_request r = {.want = MESH_SSE, .front = MESH_FRONT_SSE};
    return pump_open(p, node, r, NULL, "");
}

/* Likewise of a client that goes on without initialize (mcp.md, section 2.3). */
static inline uint32_t pump_sse_again(struct pump *p, uint32_t node)
{
    static const char initialize[] = "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\","
                                     "\"params\":{\"protocolVersion\":\"2024-11-05\"}}";
    struct mesh_request r = {.want = MESH_SSE, .front = MESH_FRONT_SSE};
    struct bytes *body = pump_copy(initialize, sizeof initialize - 1);
    rpc_read(&r.rpc, NULL, body->data, body->length);
    r.body = slice_of(body, 0, body->length);
    uint32_t client = pump_open(p, node, r, NULL, "");
    bytes_unref(body);
    return client;
}

static inline uint32_t pump_post(struct pump *p, uint32_t node, const char *session,
                                 const char *text)
{
    struct mesh_request r = {.want = MESH_CALL, .front = MESH_FRONT_SSE};
    return pump_open(p, node, r, session, text);
}

static inline const char *pump_session(const struct pump *p, uint32_t client)
{
    assert_true(p->clients[client].has_session);
    return p->clients[client].session;
}

static inline void pump_close(struct pump *p, uint32_t client)
{
    p->clients[client].is_open = false;
    mesh_close(p->nodes[p->clients[client].node].mesh, p->clients[client].handle, p->now_ms);
}

static inline void pump_take(struct pump *p, uint32_t client, size_t bytes)
{
    struct client *c = &p->clients[client];
    assert_true(bytes <= c->untaken);
    c->untaken -= bytes;
    mesh_taken(p->nodes[c->node].mesh, c->handle, bytes, p->now_ms);
}

static inline void assert_ended(const struct pump *p, uint32_t client, enum mesh_reason why)
{
    const struct client *c = &p->clients[client];
    assert_false(c->is_open);
    assert_int_equal(c->ends, 1);
    assert_int_equal(c->why, why);
    if (why == MESH_OK)
        assert_int_equal(c->heads, 1);
}

/* ---- upstreams ------------------------------------------------------------------------------ */

/* The last request that reached an upstream. */
static inline struct ucall *pump_last(struct pump *p)
{
    assert_true(p->ucalls_count > 0);
    return &p->ucalls[p->ucalls_count - 1];
}

/* How often this very text reached an upstream. */
static inline uint32_t pump_executions(const struct pump *p, const char *text)
{
    uint32_t count = 0;
    for (uint32_t n = 0; n < p->ucalls_count; n++)
        count += strncmp(p->ucalls[n].text, text, sizeof p->ucalls[n].text - 1) == 0;
    return count;
}

static inline void pump_say_on(struct pump *p, uint32_t node, struct handle up, uint32_t call,
                               const char *text, size_t length)
{
    static struct rpc_tools tools;
    struct rpc_message rpc;
    struct bytes *body = pump_copy(text, length);
    struct ucall *u = pump_ucall(p, node, up, call);
    if (u != NULL)
        u->brought += length;
    else if (call == MESH_NO_CALL)
        pump_up(p, node, up)->brought += length;
    tools.count = 0;
    rpc_read(&rpc, &tools, body->data, body->length);
    (void)mesh_up_message(p->nodes[node].mesh, up, call, &rpc, tools.count > 0 ? &tools : NULL,
                          slice_of(body, 0, body->length), p->now_ms);
    bytes_unref(body);
}

/* A child says a line. */
static inline void pump_say(struct pump *p, const struct ucall *u, const char *text)
{
    pump_say_on(p, u->node, u->up, MESH_NO_CALL, text, strlen(text));
}

/* HTTP: head, one message, end. */
static inline void pump_head(struct pump *p, const struct ucall *u, int status, enum mesh_form form,
                             enum mesh_up_session session)
{
    mesh_up_head(p->nodes[u->node].mesh, u->up, u->call, status, form, session,
                 slice_text("X-Up: 1\r\n"), p->now_ms);
}

static inline void pump_event(struct pump *p, const struct ucall *u, const char *text)
{
    pump_say_on(p, u->node, u->up, u->call, text, strlen(text));
}

/* Its next event has this id, or asks for this time before its stream is asked for again. */
static inline void pump_mark(struct pump *p, const struct ucall *u, const char *id,
                             uint32_t retry_ms)
{
    mesh_up_mark(p->nodes[u->node].mesh, u->up, u->call, slice_text(id), retry_ms, p->now_ms);
}

static inline void pump_data(struct pump *p, struct ucall *u, const void *part, size_t length)
{
    u->brought += length;
    mesh_up_data(p->nodes[u->node].mesh, u->up, u->call, slice_borrow(part, length), p->now_ms);
}

static inline void pump_end(struct pump *p, const struct ucall *u, enum mesh_end end,
                            enum mesh_reason why)
{
    mesh_up_end(p->nodes[u->node].mesh, u->up, u->call, end, why, p->now_ms);
}

#define INITIALIZE                                                                                 \
    "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\",\"params\":{\"protocolVersion\":"     \
    "\"2025-06-18\"}}"
/* The revision from which on events without data may be sent. */
#define INITIALIZE_NEW                                                                             \
    "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\",\"params\":{\"protocolVersion\":"     \
    "\"2025-11-25\"}}"
#define AGREED(version)                                                                            \
    "{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":{\"protocolVersion\":\"" version "\"}}"
#define INITIALIZED "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}"
#define RESULT(id) "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"result\":{}}"
#define FAULT(id)                                                                                  \
    "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"error\":{\"code\":-32000,\"message\":\"no\"}}"
#define CALL(id)                                                                                   \
    "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"method\":\"tools/call\",\"params\":{\"name\":\"t\"}}"
#define LIST(id) "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"method\":\"tools/list\"}"
#define LOG(text)                                                                                  \
    "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"data\":\"" text "\"}" \
    "}"
#define PROGRESS(token)                                                                            \
    "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/"                                             \
    "progress\",\"params\":{\"progressToken\":" token ",\"progress\":1}}"
#define TOKEN_CALL(id, token)                                                                      \
    "{\"jsonrpc\":\"2.0\",\"id\":" id                                                              \
    ",\"method\":\"tools/call\",\"params\":{\"name\":\"t\",\"_meta\":"                             \
    "{\"progressToken\":" token "}}}"
#define SAMPLE(id)                                                                                 \
    "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"method\":\"sampling/createMessage\",\"params\":{}}"

static inline uint32_t pump_begin_with(struct pump *p, uint32_t node, bool is_http,
                                       const char *initialize, const char *result)
{
    uint32_t client = pump_ask(p, node, MESH_CALL, NULL, initialize, 0);
    pump_settle(p);
    struct ucall *u = pump_last(p);
    assert_string_equal(u->text, initialize);
    if (is_http) {
        pump_head(p, u, 200, MESH_FORM_JSON, MESH_UP_SESSION_MADE);
        pump_event(p, u, result);
        pump_end(p, u, MESH_END_WHOLE, MESH_OK);
    } else {
        pump_say(p, u, result);
    }
    pump_settle(p);
    assert_ended(p, client, MESH_OK);
    assert_true(p->clients[client].has_session);
    return client;
}

/* A session at `node`, made by a client there; the client that holds its id. */
static inline uint32_t pump_begin(struct pump *p, uint32_t node, bool is_http)
{
    return pump_begin_with(p, node, is_http, INITIALIZE, RESULT("0"));
}

/* Likewise of a revision that has events without data. */
static inline uint32_t pump_begin_new(struct pump *p, uint32_t node, bool is_http)
{
    return pump_begin_with(p, node, is_http, INITIALIZE_NEW, AGREED("2025-11-25"));
}

/* Nothing is left of any request; of sessions that live, only their logs. */
static inline void assert_quiet(struct pump *p, uint32_t sessions)
{
    struct mesh_levels levels, all = {0};
    size_t heads = 0;
    for (uint32_t n = 0; n < p->nodes_count; n++) {
        if (p->nodes[n].is_dead)
            continue;
        mesh_levels(p->nodes[n].mesh, &levels);
        all.exchanges += levels.exchanges;
        all.calls += levels.calls;
        all.names += levels.names;
        all.sessions += levels.sessions;
        all.upstreams += levels.upstreams;
        all.messages_kept += levels.messages_kept;
        all.memory_used += levels.memory_used;
        all.log_bytes += levels.log_bytes;
        all.record_bytes += levels.record_bytes;
        all.copies += levels.copies;
    }
    for (uint32_t n = 0; n < p->ucalls_count; n++) /* the header lines of the client's newest GET */
        heads += p->ucalls[n].kind == MESH_UP_LISTEN ? PUMP_HEAD_MAX : 0;
    assert_int_equal(all.exchanges, 0);
    assert_int_equal(all.calls, 0);
    assert_int_equal(all.names, 0);
    assert_int_equal(all.sessions, sessions);
    assert_int_equal(all.upstreams, sessions);
    assert_int_equal(all.messages_kept, 0);
    if (sessions == 0)
        assert_int_equal(all.log_bytes + all.memory_used + all.copies, 0);
    assert_true(all.memory_used <= all.log_bytes + all.record_bytes + heads);
}

#endif
