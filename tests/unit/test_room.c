/* Tests of the room that upstreams are given back (mesh.h, MESH_UP_ROOM), as properties over
 * sequences by chance: never for more bytes than came (checked in mesh_pump.h at each effect),
 * never for what a reader still has to take, and for all once all is taken. */
#include "mesh/base/rng.h"
#include "mesh/session/event_stream.h"
#include "tests/unit/streams_pump.h"

#define CALLS_MAX 6
#define SEEDS 25
#define STEPS 300

/* One session of a child or an HTTP server, its calls, and what clients do, all by chance. */
struct bench {
    struct pump *p;
    struct shuffle chance;
    bool is_http, leaves; /* leaves: clients go away and come back */
    uint32_t nodes;
    const char *session;
    uint32_t held; /* the GET */
    struct ucall *own;
    struct {
        bool is_open; /* at the upstream */
        uint32_t client, id;
        struct ucall *u;
    } calls[CALLS_MAX];
    uint32_t next_id;
};

static void bench_init(struct bench *b, uint8_t seed, bool is_http, bool leaves)
{
    uint8_t entropy[32] = {seed, is_http, leaves};
    struct rng rng;
    memset(b, 0, sizeof *b);
    rng_init(&rng, entropy);
    shuffle_init(&b->chance, &rng);
    b->is_http = is_http;
    b->leaves = leaves;
    b->nodes = leaves ? 2 : 1;
    b->p = pump_new(b->nodes, is_http ? http : NULL);
    b->session = pump_session(b->p, pump_begin_new(b->p, 0, is_http));
    b->held = hold(b->p, 0, b->session);
    b->own = is_http ? stream_begins(b->p) : pump_last(b->p);
    b->next_id = 1;
}

static uint32_t below(struct bench *b, uint32_t limit)
{
    return shuffle_below(&b->chance, limit);
}

static void call_begins(struct bench *b, uint32_t n)
{
    char text[200];
    b->calls[n].id = b->next_id++;
    snprintf(text, sizeof text,
             "{\"jsonrpc\":\"2.0\",\"id\":%u,\"method\":\"tools/call\",\"params\":{\"_meta\":{"
             "\"progressToken\":%u}}}",
             b->calls[n].id, b->calls[n].id);
    b->calls[n].client = ask(b->p, below(b, b->nodes), b->session, text);
    b->calls[n].u = b->is_http ? stream_begins(b->p) : b->own;
    b->calls[n].is_open = true;
    b->p->clients[b->calls[n].client].is_slow = below(b, 2) == 0;
}

/* A message for a call: progress, or its answer. */
static void call_speaks(struct bench *b, uint32_t n, bool is_answer)
{
    static char text[70 * KIB];
    char *at = text;
    if (is_answer)
        at += sprintf(at, "{\"jsonrpc\":\"2.0\",\"id\":%u,\"result\":{", b->calls[n].id);
    else
        at += sprintf(at,
                      "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{"
                      "\"progressToken\":%u,\"progress\":1,",
                      b->calls[n].id);
    sprintf(at, "\"x\":\"%0*d\"}}", 1 + (int)below(b, below(b, 8) == 0 ? 60 * KIB : 300), 0);
    (b->is_http ? event : say)(b->p, b->calls[n].u, text);
    b->calls[n].is_open = !is_answer;
    if (is_answer && b->is_http)
        pump_end(b->p, b->calls[n].u, MESH_END_WHOLE, MESH_OK);
    pump_settle(b->p);
}

static void client_takes(struct bench *b, uint32_t client, bool takes_all)
{
    struct client *c = &b->p->clients[client];
    if (c->untaken > 0)
        pump_take(b->p, client, takes_all ? c->untaken : 1 + below(b, (uint32_t)c->untaken));
    pump_settle(b->p);
}

/* Who reads at once has nothing left to take. */
static void held_changes_pace(struct bench *b)
{
    struct client *c = &b->p->clients[b->held];
    c->is_slow = below(b, 2) == 0;
    if (!c->is_slow && c->is_open)
        client_takes(b, b->held, true);
}

static void held_leaves(struct bench *b)
{
    struct client *c = &b->p->clients[b->held];
    bool has_place = !event_id_is_none(&c->position);
    if (c->is_open)
        leave(b->p, b->held);
    if (below(b, 2) == 0)
        (b->is_http ? event : say)(b->p, b->own, note(100 + below(b, 5000)));
    b->held = has_place && below(b, 2) == 0 ? come_back(b->p, below(b, 2), b->session, b->held)
                                            : hold(b->p, below(b, 2), b->session);
    b->p->clients[b->held].is_slow = below(b, 2) == 0;
}

static void call_moves(struct bench *b, uint32_t n)
{
    uint32_t client = b->calls[n].client;
    if (event_id_is_none(&b->p->clients[client].position))
        return;
    if (b->p->clients[client].is_open && below(b, 2) == 0)
        leave(b->p, client);
    b->calls[n].client = come_back(b->p, below(b, 2), b->session, client);
    b->p->clients[b->calls[n].client].is_slow = below(b, 2) == 0;
}

static void step(struct bench *b)
{
    uint32_t n = below(b, CALLS_MAX), drawn = below(b, 10);
    if (!b->calls[n].is_open && drawn < 5)
        call_begins(b, n);
    else if (drawn < 4 && b->calls[n].is_open)
        call_speaks(b, n, drawn == 0);
    else if (drawn < 6)
        (b->is_http ? event : say)(b->p, b->own, note(100 + below(b, 5000)));
    else if (drawn < 8)
        client_takes(b, drawn == 6 ? b->held : b->calls[n].client, !b->leaves || below(b, 3) == 0);
    else if (drawn == 8)
        held_changes_pace(b);
    else if (b->leaves && below(b, 2) == 0)
        held_leaves(b);
    else if (b->leaves && b->calls[n].is_open)
        call_moves(b, n);
    if (b->leaves)
        pump_run(b->p, below(b, 300));
}

/* Bytes that came from this upstream, or call, and whose room was not given back. */
static size_t owed(const struct bench *b, const struct ucall *u)
{
    const struct up *up = pump_up(b->p, 0, u->up);
    return b->is_http ? u->brought - u->given : up->brought - up->given;
}

static size_t untaken(const struct bench *b, uint32_t client)
{
    return b->p->clients[client].is_open ? b->p->clients[client].untaken : 0;
}

/* With nobody leaving, and texts taken whole, by which room is given: exactly what the readers of
 * open exchanges have still to take. */
static void assert_exact(const struct bench *b)
{
    size_t pending = untaken(b, b->held);
    if (b->is_http)
        assert_int_equal(owed(b, b->own), pending);
    for (uint32_t n = 0; n < CALLS_MAX; n++) {
        if (b->calls[n].u == NULL)
            continue;
        pending += untaken(b, b->calls[n].client);
        if (b->is_http && b->calls[n].is_open)
            assert_int_equal(owed(b, b->calls[n].u), untaken(b, b->calls[n].client));
    }
    if (!b->is_http)
        assert_int_equal(owed(b, b->own), pending);
}

static void test_room_is_given_for_what_readers_took_and_for_nothing_else(void **state)
{
    (void)state;
    for (uint8_t seed = 1; seed <= SEEDS; seed++) {
        for (int is_http = 0; is_http < 2; is_http++) {
            struct bench b;
            bench_init(&b, seed, is_http, false);
            for (int n = 0; n < STEPS; n++) {
                step(&b);
                assert_exact(&b);
            }
            pump_free(b.p);
        }
    }
}

/* Whoever was there and went, and however slowly they read: in the end nothing is kept back. */
static void test_in_the_end_all_room_is_given_back(void **state)
{
    (void)state;
    for (uint8_t seed = 1; seed <= SEEDS; seed++) {
        for (int is_http = 0; is_http < 2; is_http++) {
            struct bench b;
            bench_init(&b, seed, is_http, true);
            for (int n = 0; n < STEPS; n++)
                step(&b);
            for (uint32_t n = 0; n < b.p->clients_count; n++) {
                b.p->clients[n].is_slow = false;
                if (b.p->clients[n].is_open && b.p->clients[n].untaken > 0)
                    client_takes(&b, n, true);
            }
            for (int n = 0; n < 3; n++) /* what was held back behind it comes now */
                pump_run(b.p, 1000);
            assert_int_equal(owed(&b, b.own), 0);
            for (uint32_t n = 0; n < CALLS_MAX; n++)
                if (b.calls[n].is_open)
                    assert_int_equal(owed(&b, b.calls[n].u), 0);
            pump_free(b.p);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_room_is_given_for_what_readers_took_and_for_nothing_else),
        cmocka_unit_test(test_in_the_end_all_room_is_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
