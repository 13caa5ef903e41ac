/* Tests of entry.h: a request at the peer that holds its client. It finds its owner, waits while
 * that is unsure, survives lost links, and ends exactly once (invariants E1, E2, E3; bad-inputs.md,
 * rows N10-N15). */
#include "mesh/mesh.c" /* hints are planted where no peer would send them yet */

#include "mesh/session/exchange.h"
#include "tests/unit/mesh_pump.h"

static void http(struct mesh_config *config)
{
    config->upstream = MESH_UP_HTTP;
}

static struct session_id id_of(const char *session)
{
    struct session_id id;
    assert_true(key_read(&id, slice_borrow(session, MESH_SESSION_TEXT)));
    return id;
}

/* Until the client has its end; how long that took. */
static uint64_t run_to_end(struct pump *p, uint32_t client, uint64_t most_ms)
{
    uint64_t begun = p->now_ms;
    while (p->clients[client].is_open && p->now_ms - begun < most_ms)
        pump_run(p, 10);
    assert_false(p->clients[client].is_open);
    return p->now_ms - begun;
}

/* ---- links that are lost -------------------------------------------------------------------- */

static void test_a_link_lost_at_any_moment_runs_a_call_once_and_loses_no_answer(void **state)
{
    (void)state;
    /* after so many deliveries the link is cut; the upstream answers at once */
    for (uint32_t moment = 0; moment < 24; moment++) {
        struct pump *p = pump_new(2, NULL);
        const char *session = pump_session(p, pump_begin(p, 0, false));
        uint32_t call = pump_ask(p, 1, MESH_CALL, session, CALL("1"), 0);
        uint32_t done = 0;
        bool is_answered = false;
        for (int round = 0; round < 60; round++) {
            for (uint32_t n = 0; n < 2; n++)
                pump_drain(p, n);
            for (uint32_t n = 0; n < p->conns_count; n++)
                for (int end = 0; end < 2; end++)
                    if (pump_deliver(p, &p->conns[n], end) && done++ == moment)
                        pump_cut(p, 0, 1);
            if (!is_answered && pump_executions(p, CALL("1")) > 0) {
                is_answered = true;
                pump_say(p, pump_last(p), RESULT("1"));
            }
        }
        for (int n = 0; n < 40; n++) {
            pump_run(p, 50);
            if (!is_answered && pump_executions(p, CALL("1")) > 0) {
                is_answered = true;
                pump_say(p, pump_last(p), RESULT("1"));
            }
        }
        assert_ended(p, call, MESH_OK);
        assert_string_equal(p->clients[call].last, RESULT("1"));
        assert_int_equal(p->clients[call].texts, 1);
        assert_int_equal(pump_executions(p, CALL("1")), 1);
        pump_run(p, 20000);
        assert_quiet(p, 1);
        pump_free(p);
    }
}

static void test_events_go_on_after_a_lost_link_once_and_in_order(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    uint32_t held = pump_ask(p, 1, MESH_LISTEN, session, "", 0);
    pump_settle(p);
    struct ucall *u = pump_last(p);
    uint64_t sum = 0;
    size_t bytes = 0;
    char text[100];
    for (int n = 0; n < 200; n++) {
        int length = snprintf(text, sizeof text, "{\"jsonrpc\":\"2.0\",\"method\":\"n/%d\"}", n);
        for (int k = 0; k < length; k++)
            sum = sum * 31 + (uint8_t)text[k];
        bytes += (size_t)length;
        pump_say(p, u, text);
        if (n % 7 == 3)
            pump_cut(p, 0, 1);
        if (n % 5 == 0)
            pump_settle(p);
        if (n % 11 == 0)
            pump_run(p, 200);
    }
    pump_run(p, 3000);
    assert_true(p->clients[held].is_open);
    assert_int_equal(p->clients[held].heads, 1);
    assert_int_equal(p->clients[held].texts, 200);
    assert_int_equal(p->clients[held].bytes, bytes);
    assert_true(p->clients[held].sum == sum);
    pump_free(p);
}

static void test_what_was_read_on_a_lost_link_is_not_acknowledged_on_the_next(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    static uint8_t data[8000];
    const char *session = pump_session(p, pump_begin(p, 0, true));
    uint32_t call = pump_ask(p, 1, MESH_CALL, session, LIST("1"), 0);
    p->clients[call].is_slow = true;
    pump_settle(p);
    struct ucall *u = pump_last(p);
    pump_head(p, u, 200, MESH_FORM_RAW, MESH_UP_SESSION_SAME);
    pump_data(p, u, data, sizeof data);
    pump_run(p, 100);
    assert_int_equal(p->clients[call].untaken, sizeof data);
    pump_cut(p, 0, 1);
    pump_run(p, 500);
    size_t room = u->room; /* the entry has it: it is kept no longer */
    assert_int_equal(room, MESH_UP_ROOM_FIRST + sizeof data);
    pump_data(p, u, data, sizeof data);
    pump_run(p, 100);
    pump_take(p, call, sizeof data); /* of the lost link */
    pump_run(p, 100);
    assert_int_equal(u->room, room);
    pump_take(p, call, sizeof data);
    pump_run(p, 100);
    assert_int_equal(u->room, room + sizeof data);
    pump_free(p);
}

/* What counts begins when the owner was heard last: at its last ping, or before the loss by the
 * time between two. */
#define LATEST_WORD_MS 9700

static void test_a_call_that_cannot_be_reached_again_is_unknown_within_ten_seconds(void **state)
{
    (void)state;
    for (int is_new = 0; is_new < 2; is_new++) {
        struct pump *p = pump_new(2, NULL);
        uint32_t begun = is_new ? pump_begin_new(p, 0, false) : pump_begin(p, 0, false);
        const char *session = pump_session(p, begun);
        uint32_t call = pump_ask(p, 1, MESH_CALL, session, CALL("1"), 0);
        uint32_t held = pump_ask(p, 1, MESH_LISTEN, session, "", 0);
        pump_run(p, 30000); /* a long call: what counts begins with the loss */
        assert_true(p->clients[call].is_open);
        p->nodes[0].refuses = true;
        pump_cut(p, 0, 1);
        assert_in_range(run_to_end(p, call, 20000), LATEST_WORD_MS, 10100);
        assert_ended(p, call, MESH_OUTCOME_UNKNOWN);
        assert_int_equal(pump_executions(p, CALL("1")), 1);
        /* its stream is open since its first second; the word that ends it is the stream's last */
        assert_int_equal(p->clients[call].form, MESH_FORM_SSE);
        assert_string_equal(p->clients[call].heard, is_new ? "." : "");
        assert_int_equal(p->clients[call].end_id.number, is_new ? 1 : 0);
        assert_int_equal(p->clients[call].end_id.is_last, is_new);
        run_to_end(p, held, 1000);
        assert_ended(p, held, MESH_SESSION_ENDED);
        assert_true(event_id_is_none(&p->clients[held].end_id)); /* the session's own has no end */
        pump_free(p);
    }
}

static void test_a_call_lost_in_its_first_second_is_told_without_a_head(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    const char *session = pump_session(p, pump_begin_new(p, 0, false));
    uint32_t call = pump_ask(p, 1, MESH_CALL, session, CALL("1"), 0);
    pump_run(p, 900);
    p->nodes[0].refuses = p->nodes[1].refuses = true;
    pump_cut(p, 0, 1);
    assert_in_range(run_to_end(p, call, 20000), LATEST_WORD_MS, 10100);
    assert_ended(p, call, MESH_OUTCOME_UNKNOWN);
    assert_int_equal(p->clients[call].heads, 0);
    assert_true(event_id_is_none(&p->clients[call].end_id));
    pump_free(p);
}

static void test_a_link_that_flaps_for_ever_has_an_end(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    uint32_t call = pump_ask(p, 1, MESH_CALL, session, CALL("1"), 0);
    pump_run(p, 1000);
    uint64_t begun = p->now_ms;
    uint32_t dials = p->dials;
    while (p->clients[call].is_open && p->now_ms - begun < 40000) {
        pump_cut(p, 0, 1);
        pump_run(p, 5);
    }
    assert_in_range(p->now_ms - begun, 9000, 22000);
    assert_ended(p, call, MESH_OUTCOME_UNKNOWN);
    assert_int_equal(pump_executions(p, CALL("1")), 1);
    assert_in_range(p->dials - dials, 5, 60); /* not as fast as it can */
    pump_free(p);
}

static void test_a_peer_that_hangs_up_at_once_is_not_dialled_in_a_storm(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    pump_cut(p, 0, 1);
    pump_settle(p);
    p->nodes[0].resets = true;
    uint32_t dials = p->dials, calls[20], turns = p->turns;
    for (int n = 0; n < 20; n++) {
        char text[100];
        snprintf(text, sizeof text, "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"tools/call\"}", n);
        calls[n] = pump_ask(p, 1, MESH_CALL, session, text, 0);
    }
    pump_run(p, 10200);
    for (int n = 0; n < 20; n++)
        assert_ended(p, calls[n], MESH_PARKED_TOO_LONG); /* never sent: nothing ran */
    assert_in_range(p->dials - dials, 5, 60);
    assert_in_range(p->turns - turns, 10, 3000);
    assert_int_equal(p->ucalls_count, 1);
    pump_free(p);
}

/* ---- waiting for an owner ------------------------------------------------------------------- */

static void test_a_request_waits_for_its_owners_link_and_then_goes_on(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, without_copies);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    pump_cut(p, 0, 1);
    p->nodes[0].refuses = true;
    uint32_t call = pump_ask(p, 1, MESH_CALL, session, CALL("1"), 0);
    pump_run(p, 3000);
    assert_true(p->clients[call].is_open);
    assert_int_equal(p->clients[call].heads, 0);
    p->nodes[0].refuses = false;
    pump_run(p, 1600);
    assert_int_equal(pump_executions(p, CALL("1")), 1);
    pump_say(p, pump_last(p), RESULT("1"));
    pump_settle(p);
    assert_ended(p, call, MESH_OK);
    /* it never comes back: told as never run */
    pump_cut(p, 0, 1);
    p->nodes[0].refuses = true;
    call = pump_ask(p, 1, MESH_CALL, session, CALL("2"), 0);
    assert_in_range(run_to_end(p, call, 20000), LATEST_WORD_MS, 10100);
    assert_ended(p, call, MESH_PARKED_TOO_LONG);
    assert_int_equal(pump_executions(p, CALL("2")), 0);
    pump_free(p);
}

static void test_a_held_stream_gets_its_200_while_its_owner_is_sought(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, without_copies);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    pump_cut(p, 0, 1);
    p->nodes[0].refuses = true;
    uint32_t held = pump_ask(p, 1, MESH_LISTEN, session, "", 0);
    pump_run(p, 490);
    assert_int_equal(p->clients[held].heads, 0);
    pump_run(p, 20);
    assert_int_equal(p->clients[held].status, 200);
    assert_int_equal(p->clients[held].form, MESH_FORM_SSE);
    p->nodes[0].refuses = false;
    pump_run(p, 2000);
    pump_say(p, pump_last(p), LOG("a"));
    pump_settle(p);
    assert_int_equal(p->clients[held].heads, 1);
    assert_int_equal(p->clients[held].texts, 1);
    pump_free(p);
}

/* Where nobody has a copy, nobody carries its sessions on. */
static void test_an_owner_that_dies_gives_each_request_its_definite_end(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, without_copies);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    uint32_t call = pump_ask(p, 1, MESH_CALL, session, CALL("1"), 0);
    uint32_t read = pump_ask(p, 1, MESH_CALL, session, LIST("2"), 0);
    uint32_t told = pump_ask(p, 1, MESH_CALL, session, CALL("3"), 0);
    uint32_t held = pump_ask(p, 2, MESH_LISTEN, session, "", 0);
    pump_settle(p);
    pump_say(p, pump_last(p),
             "{\"jsonrpc\":\"2.0\",\"method\":\"n\"}"); /* two in flight: the server stream */
    pump_settle(p);
    assert_int_equal(p->clients[held].texts, 1);
    pump_kill(p, 0);
    for (uint64_t begun = p->now_ms; p->now_ms - begun < 30000; pump_run(p, 100))
        continue;
    assert_ended(p, call, MESH_OUTCOME_UNKNOWN);
    assert_ended(p, told, MESH_OUTCOME_UNKNOWN);
    assert_ended(p, read, MESH_OWNER_LOST); /* it may run again, but there is nobody */
    assert_ended(p, held, MESH_SESSION_ENDED);
    assert_int_equal(pump_executions(p, LIST("2")), 1);
    assert_quiet(p, 0);
    pump_free(p);
}

/* ---- wrong hints ---------------------------------------------------------------------------- */

static struct mesh_epoch epoch_of(struct pump *p, uint32_t node, const char *session)
{
    struct session_id id = id_of(session);
    const struct session *found = session_find(core_of(p, node), &id);
    assert_non_null(found);
    return found->epoch;
}

static void test_a_wrong_hint_costs_a_hop_and_the_owner_goes_on_above_it(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct session_id id = id_of(session);
    /* n1 believes that n2 took the session over; n2 knows better */
    owner_learn(core_of(p, 1), &id, (struct mesh_epoch){5, core_self(core_of(p, 2))});
    uint32_t call = pump_ask(p, 1, MESH_CALL, session, CALL("1"), 0);
    pump_settle(p);
    assert_int_equal(pump_executions(p, CALL("1")),
                     0); /* not below an epoch that its entry knows */
    pump_run(p, 200);
    assert_int_equal(pump_executions(p, CALL("1")), 1);
    pump_say(p, pump_last(p), RESULT("1"));
    run_to_end(p, call, 12000);
    assert_ended(p, call, MESH_OK);
    assert_int_equal(epoch_of(p, 0, session).counter, 6);
    pump_run(p, 20000);
    assert_quiet(p, 1);
    pump_free(p);
}

static void test_an_answer_of_an_old_epoch_is_none_and_its_owner_hears_so(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct session_id id = id_of(session);
    uint32_t call = pump_ask(p, 1, MESH_CALL, session, CALL("1"), 0);
    pump_settle(p);
    /* meanwhile n1 hears that n2 took the session over */
    owner_learn(core_of(p, 1), &id, (struct mesh_epoch){5, core_self(core_of(p, 2))});
    pump_say(p, pump_last(p), RESULT("1"));
    pump_settle(p);
    assert_ended(p, call, MESH_OUTCOME_UNKNOWN); /* it may have run, and nobody else can know */
    assert_int_equal(p->clients[call].heads, 0);
    assert_int_equal(epoch_of(p, 0, session).counter, 6); /* n0 owns it still, above that */
    uint32_t read = pump_ask(p, 1, MESH_CALL, session, LIST("2"), 0);
    pump_settle(p);
    pump_say(p, pump_last(p), RESULT("2"));
    run_to_end(p, read, 12000);
    assert_ended(p, read, MESH_OK);
    struct mesh_stats stats;
    mesh_stats(p->nodes[1].mesh, &stats);
    assert_int_equal(stats.stale_dropped, 1);
    pump_run(p, 20000);
    assert_quiet(p, 1);
    pump_free(p);
}

static void test_what_an_owner_said_before_its_own_next_epoch_is_passed_on(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct session_id id = id_of(session);
    uint32_t call = pump_ask(p, 1, MESH_CALL, session, CALL("1"), 0);
    pump_settle(p);
    owner_learn(core_of(p, 1), &id, (struct mesh_epoch){2, core_self(core_of(p, 0))});
    pump_say(p, pump_last(p), RESULT("1"));
    run_to_end(p, call, 12000);
    assert_ended(p, call, MESH_OK);
    pump_free(p);
}

static void test_peers_that_believe_of_each_other_that_they_own_it_find_who_does(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct session_id id = id_of(session);
    owner_learn(core_of(p, 1), &id, (struct mesh_epoch){5, core_self(core_of(p, 2))});
    owner_learn(core_of(p, 2), &id, (struct mesh_epoch){6, core_self(core_of(p, 1))});
    uint32_t call = pump_ask(p, 1, MESH_CALL, session, CALL("1"), 0);
    pump_run(p, 200);
    pump_say(p, pump_last(p), RESULT("1"));
    run_to_end(p, call, 12000);
    assert_ended(p, call, MESH_OK);
    assert_int_equal(pump_executions(p, CALL("1")), 1);
    assert_int_equal(epoch_of(p, 0, session).counter, 7);
    pump_free(p);
}

static void test_that_a_home_owns_a_session_again_is_not_forgotten(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct session_id id = id_of(session);
    struct core *core = core_of(p, 1);
    owner_learn(core, &id, (struct mesh_epoch){1, core_self(core_of(p, 0))});
    assert_int_equal(owner_hint(core, &id).counter, 0); /* the id says so */
    owner_learn(core, &id, (struct mesh_epoch){4, core_self(core_of(p, 0))});
    owner_learn(core, &id, (struct mesh_epoch){2, core_self(core_of(p, 2))});
    assert_int_equal(owner_hint(core, &id).counter, 4);
    pump_free(p);
}

static void test_a_search_that_is_begun_again_late_is_counted_once(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    struct core *core = core_of(p, 1);
    struct session_id id = {{0x10, 9, 9, 9, 9, 9, 9}};
    assert_true(owner_search(core, &id, p->now_ms));
    assert_int_equal(core->owner.searching, 1);
    /* its time is over, and no turn was had that noticed */
    assert_true(owner_search(core, &id, p->now_ms + OWNER_SEARCH_MS));
    assert_int_equal(core->owner.searching, 1);
    pump_run(p, 3 * OWNER_SEARCH_MS);
    assert_int_equal(core->owner.searching, 0);
    pump_free(p);
}

/* ---- names ---------------------------------------------------------------------------------- */

static void test_a_request_of_a_peer_not_joined_yet_is_not_taken_for_its_former_lifes(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    char sessions[2][MESH_SESSION_TEXT];
    for (int n = 0; n < 2; n++)
        memcpy(sessions[n], pump_session(p, pump_begin(p, 0, false)), MESH_SESSION_TEXT);
    uint32_t calls[2];
    for (int n = 0; n < 2; n++) {
        pump_kill(p, 1);
        pump_settle(p);
        pump_start(p, 1);
        calls[n] = pump_ask(p, 1, MESH_CALL, sessions[n], n == 0 ? CALL("1") : CALL("2"), 0);
        pump_settle(p);
        pump_join(p, 1);
        pump_run(p, 8000);
    }
    /* the second life's first request is another one than the first life's first */
    assert_int_equal(pump_executions(p, CALL("1")), 1);
    assert_int_equal(pump_executions(p, CALL("2")), 1);
    pump_say(p, pump_last(p), RESULT("2"));
    pump_settle(p);
    assert_ended(p, calls[1], MESH_OK);
    assert_string_equal(p->clients[calls[1]].last, RESULT("2"));
    pump_free(p);
}

/* ---- events --------------------------------------------------------------------------------- */

static bool passes(struct exchange *x, uint64_t epoch, uint64_t number, bool is_last)
{
    struct wire_message event = {.kind = WIRE_EVENT, .payload = slice_text("{}")};
    event.text.id = (struct event_id){.epoch = epoch, .number = number, .is_last = is_last};
    return !exchange_has_passed(x, &event);
}

static void test_an_event_that_two_owners_tell_is_passed_on_once(void **state)
{
    (void)state;
    struct exchange x = {.has_position = false};
    for (uint64_t epoch = 1; epoch <= ENTRY_TENURES; epoch++)
        for (uint64_t number = 1; number <= 3; number++)
            assert_true(passes(&x, epoch, number, false));
    for (uint64_t epoch = 1; epoch <= ENTRY_TENURES; epoch++) {
        assert_false(passes(&x, epoch, 2, false));
        assert_false(passes(&x, epoch, 3, false));
        assert_true(passes(&x, epoch, 3, true)); /* that its rest is lost is said at that place */
        assert_true(passes(&x, epoch, 5, false));
    }
    struct wire_message mark = {.kind = WIRE_EVENT};
    mark.text.id = (struct event_id){.epoch = 2, .number = 4}; /* behind which a client has more */
    assert_true(exchange_has_passed(&x, &mark));
    mark.text.id.number = 5;
    assert_false(exchange_has_passed(&x, &mark));
    assert_true(passes(&x, 99, 1, false)); /* the oldest of too many is forgotten */
    assert_false(passes(&x, ENTRY_TENURES, 5, false));
    exchange_keep_nothing(&x);
}

static uint64_t place_after(struct exchange *x, uint64_t epoch, uint64_t number)
{
    struct event_id id = {.epoch = epoch, .number = number};
    exchange_move_on(x, &id);
    return x->position.epoch * 100 + x->position.number;
}

static void test_a_clients_place_never_goes_back_in_a_tenure(void **state)
{
    (void)state;
    struct exchange x = {.has_position = false};
    assert_int_equal(place_after(&x, 1, 4), 104);
    assert_true(passes(&x, 1, 16, false));
    assert_int_equal(place_after(&x, 1, 16), 116);
    assert_int_equal(place_after(&x, 1, 6), 116); /* an owner that has less of it tells it again */
    assert_true(passes(&x, 3, 1, false));
    assert_int_equal(place_after(&x, 3, 1), 301);
    assert_int_equal(place_after(&x, 1, 17), 117);
    exchange_keep_nothing(&x);
}

/* ---- clients -------------------------------------------------------------------------------- */

static void test_a_client_may_leave_at_any_moment(void **state)
{
    (void)state;
    static const enum mesh_want wants[] = {MESH_CALL, MESH_LISTEN, MESH_DELETE};
    for (int local = 0; local < 2; local++)
        for (size_t w = 0; w < 3; w++)
            for (uint32_t moment = 0; moment < 12; moment++) {
                struct pump *p = pump_new(2, NULL);
                const char *session = pump_session(p, pump_begin(p, 0, false));
                uint32_t call = pump_ask(p, local ? 0 : 1, wants[w], session, CALL("1"), 0);
                struct mesh_effect e;
                for (uint32_t done = 0; done < moment; done++) {
                    if (mesh_next_effect(p->nodes[done % 2].mesh, &e, p->now_ms))
                        pump_effect(p, done % 2, &e);
                    for (uint32_t n = 0; n < p->conns_count; n++)
                        for (int end = 0; end < 2; end++)
                            pump_deliver(p, &p->conns[n], end);
                }
                pump_close(p, call); /* from here on no effect may name it */
                pump_run(p, 100);
                if (pump_executions(p, CALL("1")) > 0)
                    pump_say(p, pump_last(p), RESULT("1"));
                pump_run(p, 20000);
                struct mesh_levels levels;
                for (uint32_t n = 0; n < 2; n++) {
                    mesh_levels(p->nodes[n].mesh, &levels);
                    assert_int_equal(levels.exchanges + levels.calls + levels.names, 0);
                    assert_int_equal(levels.memory_used, levels.record_bytes);
                }
                pump_free(p);
            }
}

static void few_exchanges(struct mesh_config *config)
{
    config->exchanges_max = 4;
}

static void test_more_requests_than_may_be_open_are_refused_by_their_handle(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, few_exchanges);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    uint32_t calls[5];
    for (int n = 0; n < 5; n++) {
        char text[100];
        snprintf(text, sizeof text, "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"tools/call\"}", n);
        calls[n] = pump_ask(p, 0, MESH_CALL, session, text, 0);
        pump_settle(p);
        assert_int_equal(handle_is_none(p->clients[calls[n]].handle), n == 4);
    }
    pump_say(p, pump_last(p), RESULT("0"));
    pump_settle(p);
    assert_ended(p, calls[0], MESH_OK);
    uint32_t next = pump_ask(p, 0, MESH_CALL, session, CALL("9"), 0);
    assert_true(p->clients[next].is_open);
    pump_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_link_lost_at_any_moment_runs_a_call_once_and_loses_no_answer),
        cmocka_unit_test(test_events_go_on_after_a_lost_link_once_and_in_order),
        cmocka_unit_test(test_what_was_read_on_a_lost_link_is_not_acknowledged_on_the_next),
        cmocka_unit_test(test_a_call_that_cannot_be_reached_again_is_unknown_within_ten_seconds),
        cmocka_unit_test(test_a_call_lost_in_its_first_second_is_told_without_a_head),
        cmocka_unit_test(test_a_link_that_flaps_for_ever_has_an_end),
        cmocka_unit_test(test_a_peer_that_hangs_up_at_once_is_not_dialled_in_a_storm),
        cmocka_unit_test(test_a_request_waits_for_its_owners_link_and_then_goes_on),
        cmocka_unit_test(test_a_held_stream_gets_its_200_while_its_owner_is_sought),
        cmocka_unit_test(test_an_owner_that_dies_gives_each_request_its_definite_end),
        cmocka_unit_test(test_a_wrong_hint_costs_a_hop_and_the_owner_goes_on_above_it),
        cmocka_unit_test(test_an_answer_of_an_old_epoch_is_none_and_its_owner_hears_so),
        cmocka_unit_test(test_what_an_owner_said_before_its_own_next_epoch_is_passed_on),
        cmocka_unit_test(test_peers_that_believe_of_each_other_that_they_own_it_find_who_does),
        cmocka_unit_test(test_that_a_home_owns_a_session_again_is_not_forgotten),
        cmocka_unit_test(test_a_search_that_is_begun_again_late_is_counted_once),
        cmocka_unit_test(test_a_request_of_a_peer_not_joined_yet_is_not_taken_for_its_former_lifes),
        cmocka_unit_test(test_an_event_that_two_owners_tell_is_passed_on_once),
        cmocka_unit_test(test_a_clients_place_never_goes_back_in_a_tenure),
        cmocka_unit_test(test_a_client_may_leave_at_any_moment),
        cmocka_unit_test(test_more_requests_than_may_be_open_are_refused_by_their_handle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
