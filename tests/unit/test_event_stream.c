/* Tests of event_stream.h and what serve.c makes of it: ids, readers that come back through any
 * peer, what is said of what is lost, and how much is kept (MCP 2025-11-25, transports,
 * resumability; reference mcp.md, section 4.2 rules 6 and 7). */
#include "mesh/session/event_stream.h"

#include "mesh/session/core.h"
#include "tests/unit/streams_pump.h"

/* ---- ids and marks -------------------------------------------------------------------------- */

static void test_a_stream_begins_with_a_place_to_resume_from_where_clients_know_it(void **state)
{
    (void)state;
    static const struct {
        const char *result;
        bool has_marks;
    } rows[] = {{AGREED("2025-11-25"), true},   {AGREED("2026-01-01"), true},
                {AGREED("2025-11-24"), false},  {AGREED("2025-06-18"), false},
                {AGREED("2025-11-255"), false}, {RESULT("0"), false}};
    for (size_t n = 0; n < sizeof rows / sizeof rows[0]; n++) {
        for (int is_http = 0; is_http < 2; is_http++) {
            struct pump *p = pump_new(1, is_http ? http : NULL);
            uint32_t made = pump_begin_with(p, 0, is_http, INITIALIZE_NEW, rows[n].result);
            uint32_t held = hold(p, 0, pump_session(p, made));
            assert_int_equal(p->clients[held].status, 200);
            assert_heard(p, held, rows[n].has_marks ? "." : "");
            if (rows[n].has_marks)
                assert_at(p, held, "0-1-0");
            pump_free(p);
        }
    }
}

static void test_events_are_numbered_by_their_stream_and_the_answer_is_its_last(void **state)
{
    (void)state;
    for (int has_marks = 0; has_marks < 2; has_marks++) {
        struct pump *p = pump_new(2, http);
        uint32_t made = has_marks ? pump_begin_new(p, 0, true) : pump_begin(p, 0, true);
        const char *session = pump_session(p, made);
        uint32_t held = hold(p, 1, session);
        struct ucall *own = stream_begins(p);
        uint32_t one = ask(p, 1, session, CALL("1"));
        struct ucall *first = stream_begins(p);
        uint32_t two = ask(p, 1, session, CALL("2"));
        struct ucall *second = stream_begins(p);
        event(p, second, LOG("b"));
        event(p, first, LOG("a"));
        event(p, own, LOG("c"));
        assert_at(p, one, "1-1-1");
        assert_at(p, two, "2-1-1");
        assert_at(p, held, "0-1-1");
        event(p, second, RESULT("2"));
        event(p, own, LOG("d"));
        assert_at(p, two, "2-1-2-e");
        assert_at(p, held, "0-1-2");
        assert_true(p->clients[two].is_open); /* until its upstream's stream ends */
        pump_end(p, second, MESH_END_WHOLE, MESH_OK);
        pump_settle(p);
        assert_whole(p, two);
        assert_heard(p, one, has_marks ? ".a" : "a");
        assert_heard(p, two, has_marks ? ".b=" : "b=");
        assert_heard(p, held, has_marks ? ".cd" : "cd");
        pump_free(p);
    }
}

static void test_an_answer_in_one_piece_is_no_stream(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    const char *session = pump_session(p, pump_begin_new(p, 0, true));
    uint32_t call = ask(p, 0, session, CALL("1"));
    struct ucall *u = pump_last(p);
    pump_head(p, u, 200, MESH_FORM_JSON, MESH_UP_SESSION_SAME);
    event(p, u, RESULT("1"));
    pump_end(p, u, MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
    assert_whole(p, call);
    assert_heard(p, call, "");
    assert_int_equal(log_bytes(p, 0), 0);
    /* nor is a stream of a request without a session */
    call = ask(p, 0, NULL, CALL("1"));
    u = stream_begins(p);
    event(p, u, LOG("a"));
    event(p, u, RESULT("1"));
    pump_end(p, u, MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
    assert_heard(p, call, "a=");
    assert_true(event_id_is_none(&p->clients[call].position));
    assert_int_equal(log_bytes(p, 0), 0);
    pump_free(p);
}

static void test_a_child_that_says_nothing_for_a_second_is_answered_by_a_stream(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    const char *session = pump_session(p, pump_begin_new(p, 0, false));
    for (uint32_t node = 0; node < 2; node++) {
        uint32_t slow = ask(p, node, session, CALL("1")), quick = ask(p, node, session, CALL("2"));
        struct ucall *u = pump_last(p);
        pump_run(p, CALL_STREAM_MS - 10);
        assert_int_equal(p->clients[slow].heads, 0);
        say(p, u, RESULT("2"));
        assert_whole(p, quick);
        assert_int_equal(p->clients[quick].form, MESH_FORM_JSON);
        pump_run(p, 20);
        assert_int_equal(p->clients[slow].form, MESH_FORM_SSE);
        assert_int_equal(p->clients[slow].status, 200);
        assert_heard(p, slow, ".");
        say(p, u, RESULT("1"));
        assert_whole(p, slow);
        assert_heard(p, slow, ".=");
        assert_true(p->clients[slow].position.is_last);
    }
    /* who asks for a session waits for what tells whether it is one */
    uint32_t made = ask(p, 0, NULL, INITIALIZE_NEW);
    pump_run(p, 20 * CALL_STREAM_MS);
    assert_int_equal(p->clients[made].heads, 0);
    say(p, pump_last(p), FAULT("0"));
    assert_whole(p, made);
    assert_int_equal(p->clients[made].form, MESH_FORM_JSON);
    pump_free(p);
}

/* ---- a client comes back -------------------------------------------------------------------- */

static void test_who_comes_back_through_any_peer_misses_nothing(void **state)
{
    (void)state;
    for (int is_http = 0; is_http < 2; is_http++) {
        struct pump *p = pump_new(3, is_http ? http : NULL);
        const char *session = pump_session(p, pump_begin_new(p, 0, is_http));
        uint32_t held = hold(p, 1, session);
        struct ucall *u = is_http ? stream_begins(p) : pump_last(p);
        void (*tell)(struct pump *, const struct ucall *, const char *) = is_http ? event : say;
        tell(p, u, LOG("a"));
        tell(p, u, LOG("b"));
        assert_heard(p, held, ".ab");
        for (uint32_t round = 0; round < 6; round++) {
            leave(p, held);
            tell(p, u, LOG("c"));
            pump_run(p, 20000);
            tell(p, u, LOG("d"));
            held = come_back(p, (round * 2 + 2) % 3, session, held);
            assert_heard(p, held, ".cd");
            tell(p, u, LOG("e"));
            assert_heard(p, held, ".cde");
        }
        assert_false(u->is_cancelled);
        /* one that took the bytes and lost them on its way shows an older id */
        leave(p, held);
        held = resume(p, 2, session, "0-1-1");
        assert_heard(p, held, ".bcdecdecdecdecdecde");
        pump_free(p);
    }
}

static void test_an_entry_that_dies_takes_nothing_with_it(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, http);
    const char *session = pump_session(p, pump_begin_new(p, 0, true));
    uint32_t held = hold(p, 1, session);
    struct ucall *own = stream_begins(p);
    uint32_t call = ask(p, 1, session, CALL("1"));
    struct ucall *u = stream_begins(p);
    event(p, own, LOG("a"));
    event(p, u, LOG("x"));
    pump_kill(p, 1);
    event(p, own, LOG("b"));
    event(p, u, LOG("y"));
    uint32_t again = come_back(p, 2, session, held), rest = come_back(p, 2, session, call);
    assert_heard(p, again, ".b");
    assert_heard(p, rest, ".y");
    event(p, own, LOG("c"));
    event(p, u, RESULT("1"));
    pump_end(p, u, MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
    assert_heard(p, again, ".bc");
    assert_heard(p, rest, ".y=");
    assert_whole(p, rest);
    pump_run(p, 60000); /* the dead entry's exchanges are given up, the others are not */
    event(p, own, LOG("d"));
    assert_heard(p, again, ".bcd");
    assert_int_equal(pump_executions(p, CALL("1")), 1);
    pump_free(p);
}

static void test_a_get_without_a_place_gets_what_nobody_took(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    const char *session = pump_session(p, pump_begin(p, 0, true));
    uint32_t held = hold(p, 1, session);
    struct ucall *u = stream_begins(p);
    event(p, u, LOG("a"));
    pump_run(p, 100);
    p->clients[held].is_slow = true;
    event(p, u, LOG("b"));
    leave(p, held);
    event(p, u, LOG("c"));
    held = hold(p, 0, session);
    assert_heard(p, held, "bc"); /* its socket may not have had it: rather twice than never */
    pump_run(p, 100);
    leave(p, held);
    held = hold(p, 1, session);
    assert_heard(p, held, "");
    /* however many came behind what it did not take */
    p->clients[held].is_slow = true;
    for (int n = 0; n < 40; n++)
        event(p, u, LOG("d"));
    pump_take(p, held, strlen(LOG("d")) * 3);
    pump_run(p, 100);
    leave(p, held);
    held = hold(p, 0, session);
    assert_heard(p, held, "ddddddddddddddddddddddddddddddddddddd");
    pump_free(p);

    /* what a child says before anybody listens waits for the first one */
    p = pump_new(1, NULL);
    session = pump_session(p, pump_begin(p, 0, false));
    say(p, pump_last(p), LOG("a"));
    say(p, pump_last(p), LOG("b"));
    assert_heard(p, hold(p, 0, session), "ab");
    pump_free(p);
}

static void test_a_newer_get_with_a_place_supersedes_and_repeats_from_there(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    const char *session = pump_session(p, pump_begin_new(p, 0, true));
    uint32_t first = hold(p, 0, session);
    struct ucall *u = stream_begins(p);
    event(p, u, LOG("a"));
    event(p, u, LOG("b"));
    uint32_t second = resume(p, 1, session, "0-1-1");
    assert_ended(p, first, MESH_SUPERSEDED);
    assert_heard(p, first, ".ab");
    assert_heard(p, second, ".b");
    event(p, u, LOG("c"));
    assert_heard(p, first, ".ab");
    assert_heard(p, second, ".bc");
    assert_false(u->is_cancelled);
    pump_free(p);
}

static void test_an_upstreams_own_stream_outlives_its_reader_and_gets_its_room_back(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    const char *session = pump_session(p, pump_begin_new(p, 0, true));
    uint32_t held = hold(p, 1, session);
    struct ucall *u = stream_begins(p);
    leave(p, held);
    pump_run(p, 60000);
    assert_false(u->is_cancelled);
    assert_ptr_equal(pump_last(p), u);
    for (int n = 0; n < 20; n++) { /* nobody takes it but the log */
        event(p, u, note(20 * KIB));
        assert_int_equal(u->given, u->brought);
    }
    event(p, u, LOG("a"));
    held = hold(p, 0, session);
    assert_heard(p, held, ".!************a"); /* 256 KiB of it */
    pump_free(p);
}

/* ---- the rest of a POST's stream ------------------------------------------------------------ */

static void test_a_resume_takes_over_from_the_post_whose_client_is_still_there(void **state)
{
    (void)state;
    for (int is_http = 0; is_http < 2; is_http++) {
        struct pump *p = pump_new(2, is_http ? http : NULL);
        const char *session = pump_session(p, pump_begin_new(p, 0, is_http));
        void (*tell)(struct pump *, const struct ucall *, const char *) = is_http ? event : say;
        uint32_t call = ask(p, 1, session, TOKEN_CALL("1", "7"));
        struct ucall *u = is_http ? stream_begins(p) : pump_last(p);
        tell(p, u, PROGRESS("7"));
        assert_heard(p, call, ".*");
        uint32_t rest = come_back(p, 0, session, call);
        assert_later(p, call);
        assert_heard(p, rest, ".");
        tell(p, u, PROGRESS("7"));
        assert_heard(p, rest, ".*");
        /* and from whoever resumed before */
        uint32_t last = come_back(p, 1, session, call);
        assert_ended(p, rest, MESH_SUPERSEDED);
        assert_heard(p, last, ".*");
        tell(p, u, RESULT("1"));
        if (is_http)
            pump_end(p, u, MESH_END_WHOLE, MESH_OK);
        pump_settle(p);
        assert_heard(p, last, ".*=");
        assert_whole(p, last);
        assert_heard(p, call, ".*");
        assert_heard(p, rest, ".*");
        pump_run(p, EVENT_STREAM_KEPT_MS + 1000);
        assert_quiet(p, 1);
        pump_free(p);
    }
}

static void test_a_call_whose_client_vanished_waits_in_its_log(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    const char *session = pump_session(p, pump_begin_new(p, 0, true));
    uint32_t call = ask(p, 1, session, CALL("1"));
    struct ucall *u = stream_begins(p);
    leave(p, call);
    assert_false(u->is_cancelled); /* a client that vanishes cancels nothing */
    event(p, u, LOG("a"));
    event(p, u, RESULT("1"));
    pump_end(p, u, MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
    assert_int_equal(u->given, u->brought);
    for (uint32_t node = 0; node < 2; node++) { /* as often as it likes */
        uint32_t rest = come_back(p, node, session, call);
        assert_heard(p, rest, ".a=");
        assert_whole(p, rest);
        assert_true(p->clients[rest].position.is_last);
    }
    assert_int_equal(pump_executions(p, CALL("1")), 1);
    pump_run(p, EVENT_STREAM_KEPT_MS + 1000);
    assert_quiet(p, 1);
    pump_free(p);
}

static void test_a_failure_is_an_event_that_who_resumes_gets_too(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    const char *session = pump_session(p, pump_begin_new(p, 0, true));
    uint32_t call = ask(p, 1, session, CALL("\"x\"")), other = ask(p, 1, session, CALL("2"));
    struct ucall *u = pump_last(p) - 1;
    pump_head(p, u, 200, MESH_FORM_SSE, MESH_UP_SESSION_SAME);
    event(p, u, LOG("a"));
    pump_end(p, u, MESH_END_CUT, MESH_ANSWER_TOO_LARGE);
    pump_settle(p);
    assert_whole(p, call);
    assert_heard(p, call, ".a?");
    assert_int_equal(p->clients[call].told, MESH_ANSWER_TOO_LARGE);
    assert_string_equal(p->clients[call].last, "\"x\""); /* the id that it answers */
    assert_at(p, call, "1-1-2-e");
    uint32_t rest = resume(p, 0, session, "1-1-0");
    assert_heard(p, rest, ".a?");
    assert_int_equal(p->clients[rest].told, MESH_ANSWER_TOO_LARGE);
    assert_int_equal(p->clients[rest].answers, 1);
    assert_whole(p, rest);
    assert_at(p, rest, "1-1-2-e");
    assert_true(p->clients[other].is_open);
    pump_free(p);
}

static void test_a_resume_that_shows_the_last_event_is_over(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    const char *session = pump_session(p, pump_begin_new(p, 0, true));
    uint32_t call = ask(p, 1, session, CALL("1"));
    struct ucall *u = stream_begins(p);
    event(p, u, RESULT("1"));
    assert_at(p, call, "1-1-1-e");
    for (int is_closed = 0; is_closed < 2;
         is_closed++) { /* the client may be quicker than its end */
        for (uint32_t node = 0; node < 2; node++) {
            uint32_t rest = come_back(p, node, session, call);
            pump_run(p, 2000);
            assert_ended(p, rest, MESH_STREAM_OVER);
            assert_int_equal(p->clients[rest].heads, 0); /* 405: the client is quiet */
        }
        if (is_closed == 0)
            pump_end(p, u, MESH_END_WHOLE, MESH_OK);
        pump_settle(p);
    }
    assert_whole(p, call);
    /* also of a stream that nobody remembers; but not of a session that is not the client's */
    assert_ended(p, resume(p, 1, session, "77-5-3-e"), MESH_STREAM_OVER);
    struct mesh_request r = {.want = MESH_LISTEN, .last_event_id = slice_text("1-1-1-e")};
    r.who.hash[0] = 9;
    uint32_t foreign = pump_open(p, 1, r, session, "");
    pump_settle(p);
    assert_ended(p, foreign, MESH_SESSION_UNKNOWN);
    pump_free(p);
}

static void test_the_rest_of_an_unknown_stream_is_told_lost_and_ends(void **state)
{
    (void)state;
    static const char *const shown[] = {"7-1-3", "1-1-0", "4000000000-1-3", "3-9-1"};
    static const char *const told[] = {"7-1-3-e", "1-1-0-e", "4000000000-1-3-e", "3-9-1-e"};
    for (int is_http = 0; is_http < 2; is_http++) {
        struct pump *p = pump_new(2, is_http ? http : NULL);
        const char *session = pump_session(p, pump_begin(p, 0, is_http));
        uint32_t held = hold(p, 0, session);
        for (uint32_t n = 0; n < 8; n++) {
            uint32_t rest = resume(p, n % 2, session, shown[n / 2]);
            assert_whole(p, rest);
            assert_int_equal(p->clients[rest].status, 200);
            assert_heard(p, rest, "!");
            assert_at(p, rest, told[n / 2]); /* after which nothing is asked for */
        }
        assert_true(p->clients[held].is_open); /* another stream's reader is none of theirs */
        assert_heard(p, held, "");
        pump_free(p);
    }
}

static void test_no_stream_is_replayed_on_another(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    const char *session = pump_session(p, pump_begin_new(p, 0, true));
    uint32_t held = hold(p, 0, session);
    struct ucall *own = stream_begins(p);
    uint32_t one = ask(p, 0, session, CALL("1"));
    struct ucall *first = stream_begins(p);
    uint32_t two = ask(p, 0, session, CALL("2"));
    struct ucall *second = stream_begins(p);
    event(p, own, LOG("a"));
    event(p, first, LOG("b"));
    event(p, second, LOG("c"));
    leave(p, held);
    leave(p, one);
    leave(p, two);
    event(p, own, LOG("d"));
    event(p, first, LOG("e"));
    event(p, second, LOG("f"));
    assert_heard(p, come_back(p, 0, session, two), ".f");
    assert_heard(p, come_back(p, 0, session, held), ".d");
    assert_heard(p, come_back(p, 0, session, one), ".e");
    pump_free(p);
}

/* ---- gaps ----------------------------------------------------------------------------------- */

static void test_what_is_not_kept_is_said_before_what_follows(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    const char *session = pump_session(p, pump_begin_new(p, 0, false));
    uint32_t held = hold(p, 1, session);
    struct ucall *u = pump_last(p);
    char wanted[EVENTS_MAX + 3] = ".!";
    say(p, u, LOG("a"));
    leave(p, held);
    for (int n = 0; n < EVENTS_MAX + 1; n++)
        pump_say(p, u, LOG("b"));
    pump_settle(p);
    held = come_back(p, 1, session, held); /* shows 1, and 3 is the oldest */
    memset(wanted + 2, 'b', EVENTS_MAX);
    assert_heard(p, held, wanted);
    assert_at(p, held, "0-1-1002");
    leave(p, held);
    /* whoever shows the place before the oldest misses nothing */
    held = resume(p, 0, session, "0-1-2");
    memset(wanted + 1, 'b', EVENTS_MAX);
    wanted[EVENTS_MAX + 1] = '\0';
    assert_heard(p, held, wanted);
    pump_free(p);
}

static void test_a_place_that_never_was_is_a_gap_and_the_stream_goes_on(void **state)
{
    (void)state;
    static const char *const shown[] = {"0-1-999", "0-7-1", "0-1-4", "x", "0-1-01", "0"};
    for (size_t n = 0; n < sizeof shown / sizeof shown[0]; n++) {
        struct pump *p = pump_new(2, http);
        const char *session = pump_session(p, pump_begin_new(p, 0, true));
        uint32_t held = hold(p, 0, session);
        struct ucall *u = stream_begins(p);
        event(p, u, LOG("a"));
        event(p, u, LOG("b"));
        pump_run(p, 100);
        leave(p, held);
        event(p, u, LOG("c"));
        held = resume(p, 1, session, shown[n]);
        assert_heard(p, held, ".!c"); /* the newest place that both know: what was taken */
        assert_at(p, held, "0-1-3");
        event(p, u, LOG("d"));
        assert_heard(p, held, ".!cd");
        pump_free(p);
    }
}

static void test_an_event_larger_than_a_log_arrives_and_is_a_gap_afterwards(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    const char *session = pump_session(p, pump_begin_new(p, 0, true));
    uint32_t held = hold(p, 1, session);
    struct ucall *u = stream_begins(p);
    event(p, u, LOG("a"));
    event(p, u, note(300 * KIB));
    pump_run(p, 1000);
    assert_heard(p, held, ".a*");
    assert_int_equal(u->given, u->brought);
    assert_true(log_bytes(p, 0) < KIB); /* delivered: it is not kept */
    leave(p, held);
    event(p, u, LOG("b"));
    assert_heard(p, come_back(p, 0, session, held), ".b");
    assert_heard(p, resume(p, 0, session, "0-1-1"), ".!b");
    pump_free(p);
}

/* ---- bounds --------------------------------------------------------------------------------- */

static void test_an_ended_stream_is_kept_for_five_minutes(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    const char *session = pump_session(p, pump_begin_new(p, 0, true));
    uint32_t call = ask(p, 0, session, CALL("1"));
    struct ucall *u = stream_begins(p);
    event(p, u, LOG("a"));
    leave(p, call);
    event(p, u, RESULT("1"));
    pump_run(p, 2 * EVENT_STREAM_KEPT_MS); /* not ended yet: however long it takes */
    pump_end(p, u, MESH_END_WHOLE, MESH_OK);
    pump_run(p, EVENT_STREAM_KEPT_MS - 100);
    uint32_t rest = come_back(p, 0, session, call);
    assert_heard(p, rest, ".=");
    assert_whole(p, rest);
    assert_true(log_bytes(p, 0) > 0);
    pump_run(p, 200);
    assert_int_equal(log_bytes(p, 0), 0);
    rest = come_back(p, 0, session, call);
    assert_heard(p, rest, "!");
    assert_true(p->clients[rest].position.is_last);
    assert_quiet(p, 1);
    pump_free(p);
}

static void test_the_logs_of_a_session_are_bounded_together(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    const char *session = pump_session(p, pump_begin_new(p, 0, true));
    const char *other = pump_session(p, pump_begin_new(p, 0, true));
    uint32_t calls[8];
    uint32_t bystander = ask(p, 0, other, CALL("1"));
    struct ucall *beside = stream_begins(p);
    event(p, beside, note(200 * KIB));
    for (uint32_t n = 0; n < 8; n++) {
        calls[n] = ask(p, 0, session, CALL("1"));
        struct ucall *u = stream_begins(p);
        event(p, u, note(200 * KIB));
        event(p, u, RESULT("1"));
        pump_end(p, u, MESH_END_WHOLE, MESH_OK);
        pump_settle(p);
        assert_heard(p, calls[n], ".*=");
        assert_in_range(log_bytes(p, 0), 200 * KIB, EVENT_STREAM_SESSION_MAX + 201 * KIB);
    }
    char shown[] = "1-1-0"; /* the oldest that ended go first */
    for (uint32_t n = 0; n < 8; n++, shown[0]++)
        assert_heard(p, resume(p, 0, session, shown), n < 3 ? "!" : ".*=");
    leave(p, bystander);
    assert_heard(p, resume(p, 0, other, "1-1-0"), ".*");
    pump_free(p);
}

static void test_where_none_ended_the_fullest_log_gives_way(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    const char *session = pump_session(p, pump_begin_new(p, 0, true));
    uint32_t calls[6];
    struct ucall *us[6];
    for (uint32_t n = 0; n < 6; n++) {
        static const char *const texts[] = {CALL("0"), CALL("1"), CALL("2"),
                                            CALL("3"), CALL("4"), CALL("5")};
        calls[n] = ask(p, 0, session, texts[n]);
        us[n] = stream_begins(p);
    }
    for (int round = 0; round < 30; round++) {
        for (uint32_t n = 1; n < 6; n++)
            event(p, us[n], note(10 * KIB));
        if (round < 3)
            event(p, us[0], LOG("a"));
        assert_true(log_bytes(p, 0) <= EVENT_STREAM_SESSION_MAX);
    }
    for (uint32_t n = 0; n < 6; n++) {
        assert_int_equal(p->clients[calls[n]].texts, n == 0 ? 3 : 30); /* readers lose nothing */
        leave(p, calls[n]);
    }
    assert_heard(p, resume(p, 0, session, "1-1-0"), ".aaa");
    uint32_t rest = resume(p, 0, session, "2-1-0");
    assert_memory_equal(p->clients[rest].heard, ".!*", 3);
    assert_in_range(p->clients[rest].texts, 15, 27);
    pump_free(p);
}

static void narrow(struct mesh_config *config)
{
    config->upstream = MESH_UP_HTTP;
    config->memory_max = 8u << 20;
}

static void test_many_logs_leave_room_for_what_is_under_way(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, narrow);
    size_t most = 0;
    for (uint32_t n = 0; n < 60; n++) {
        const char *session = pump_session(p, pump_begin_new(p, 0, true));
        uint32_t call = ask(p, 0, session, CALL("1"));
        struct ucall *u = stream_begins(p);
        leave(p, call);
        event(p, u, note(200 * KIB));
        event(p, u, RESULT("1"));
        pump_end(p, u, MESH_END_WHOLE, MESH_OK);
        pump_run(p, 2000); /* the next turn */
        most = log_bytes(p, 0) > most ? log_bytes(p, 0) : most;
    }
    assert_in_range(most, 3u << 20, 4u << 20);
    pump_free(p);
}

/* ---- tenures -------------------------------------------------------------------------------- */

/* A session with streams, and nothing around it. */
struct bench {
    struct core *core;
    struct session *session;
};

static struct bench bench_new(void)
{
    struct bench b = {.core = calloc(1, sizeof *b.core)};
    struct handle h;
    assert_non_null(b.core);
    b.core->budget.max = b.core->config.memory_max = 64u << 20;
    event_stream_init(b.core);
    pool_init(&b.core->sessions.pool, sizeof(struct session), 4);
    pool_init(&b.core->serve.calls, sizeof(struct call), 4);
    b.session = pool_take(&b.core->sessions.pool, &h);
    assert_non_null(b.session);
    b.session->self = h;
    b.session->epoch.counter = 1;
    list_init(&b.session->streams);
    return b;
}

static void bench_free(struct bench *b)
{
    event_stream_free_all(b->core, b->session);
    assert_int_equal(b->core->streams.bytes + b->core->budget.used + b->session->log_bytes, 0);
    pool_deinit(&b->core->sessions.pool);
    pool_deinit(&b->core->serve.calls);
    free(b->core);
}

static void bench_add(struct bench *b, struct event_stream *stream, int count)
{
    struct logged event = {.text = slice_text("{}")};
    while (count-- > 0)
        event_stream_add(b->core, stream, &event, 0);
}

static void bench_next(struct bench *b, bool is_handover)
{
    b->session->epoch.counter++;
    event_stream_new_tenure(b->core, b->session, is_handover);
}

static struct event_id id_of(const char *text)
{
    struct event_id id;
    assert_true(event_id_read(&id, slice_text(text)));
    if (id.epoch > 1) /* the bench's owner is nobody */
        id.epoch <<= SESSION_MARK_BITS;
    return id;
}

static void assert_after(const struct event_stream *stream, const char *shown, uint64_t place,
                         bool is_gap)
{
    struct event_id id = id_of(shown);
    bool has_gap = !is_gap;
    assert_int_equal(event_stream_after(stream, &id, &has_gap), place);
    assert_int_equal(has_gap, is_gap);
}

static void test_after_a_takeover_numbers_begin_anew_and_old_ids_keep_their_place(void **state)
{
    (void)state;
    struct bench b = bench_new();
    struct event_stream *own = event_stream_own(b.core, b.session);
    bench_add(&b, own, 17);
    bench_next(&b, false);
    assert_after(own, "0-1-5", 5, false);
    assert_after(own, "0-1-17", 17, false);
    assert_after(own, "0-2-0", 17, false);
    /* the owner before gave more than it could copy: that is missed, and nothing comes twice */
    assert_after(own, "0-1-18", 17, true);
    assert_after(own, "0-1-18446744073709551615", 17, true);
    bench_add(&b, own, 3);
    assert_after(own, "0-1-5", 5, false);
    assert_after(own, "0-1-20", 17, true);
    assert_after(own, "0-2-1", 18, false);
    assert_after(own, "0-2-3", 20, false);
    own->delivered = 18;
    assert_after(own, "0-2-4", 18, true); /* nobody gave it */
    bench_free(&b);
}

static void test_through_a_hand_over_numbers_go_on(void **state)
{
    (void)state;
    struct bench b = bench_new();
    struct event_stream *own = event_stream_own(b.core, b.session);
    bench_add(&b, own, 4);
    bench_next(&b, true);
    bench_add(&b, own, 2);
    assert_after(own, "0-1-4", 4, false);
    assert_after(own, "0-2-4", 4, false);
    assert_after(own, "0-2-6", 6, false);
    assert_after(own, "0-1-5", 4, true);
    bench_next(&b, false);
    bench_next(&b, true); /* nothing came in between */
    bench_add(&b, own, 1);
    assert_after(own, "0-2-6", 6, false);
    assert_after(own, "0-3-0", 6, false);
    assert_after(own, "0-4-1", 7, false);
    assert_after(own, "0-3-1", 6, true);
    bench_free(&b);
}

/* Its owner had what came before, and what it had besides is not known here. */
static void test_an_id_of_an_unknown_tenure_goes_on_behind_what_came_before_it(void **state)
{
    (void)state;
    struct bench b = bench_new();
    b.session->epoch.counter = 3;
    struct event_stream *own = event_stream_own(b.core, b.session);
    bench_add(&b, own, 5);
    b.session->epoch.counter = 5;
    bench_next(&b, false); /* 6 */
    bench_add(&b, own, 5);
    own->delivered = 7;
    assert_after(own, "0-2-9", 0, true);
    assert_after(own, "0-4-1", 5, true);
    assert_after(own, "0-5-100", 5, true);
    assert_after(own, "0-7-1", 7, true);
    bench_free(&b);
}

/* Two owners in a split: what they gave has other ids, and what came before is common to both. */
static void test_an_id_of_a_rival_of_the_same_counter_goes_on_where_both_began(void **state)
{
    (void)state;
    struct bench b = bench_new(), rival = bench_new();
    struct event_stream *own = event_stream_own(b.core, b.session);
    struct event_stream *its = event_stream_own(rival.core, rival.session);
    bench_add(&b, own, 5);
    bench_add(&rival, its, 5);
    b.session->epoch.owner.name = UINT64_C(1) << 52;
    rival.session->epoch.owner.name = UINT64_C(2) << 52;
    bench_next(&b, false);
    bench_next(&rival, false);
    bench_add(&b, own, 4);
    bench_add(&rival, its, 2);
    bench_next(&b, true); /* it had the last word */
    bench_add(&b, own, 1);
    own->delivered = 8;
    for (uint64_t number = 1; number < 3; number++) {
        struct event_id id = {.epoch = session_mark(rival.session), .number = number};
        bool has_gap = false;
        assert_int_equal(event_stream_after(own, &id, &has_gap), 5);
        assert_true(has_gap);
    }
    bench_free(&rival);
    bench_free(&b);
}

/* Another owner may have given the same number to another request (invariant E3). */
static void test_a_request_s_stream_is_found_only_by_ids_of_tenures_that_are_known(void **state)
{
    (void)state;
    struct bench b = bench_new();
    struct call source = {0};
    b.session->epoch.counter = 3;
    struct event_stream *stream = event_stream_open(b.core, b.session, &source, 0);
    assert_non_null(stream);
    bench_add(&b, stream, 2);
    b.session->epoch.counter = 4;
    bench_next(&b, false); /* 5 */
    static const struct {
        const char *id;
        bool is_found;
    } rows[] = {{"1-3-1", true},  {"1-3-7", true},  {"1-5-0", true},  {"1-2-1", false},
                {"1-4-1", false}, {"1-6-1", false}, {"2-3-1", false}, {"1-5-1", true}};
    for (size_t n = 0; n < sizeof rows / sizeof rows[0]; n++) {
        struct event_id id = id_of(rows[n].id);
        assert_ptr_equal(event_stream_shown(b.session, &id), rows[n].is_found ? stream : NULL);
    }
    bench_free(&b);
}

static void test_of_many_tenures_the_newest_are_understood(void **state)
{
    (void)state;
    struct bench b = bench_new();
    struct event_stream *own = event_stream_own(b.core, b.session);
    bench_add(&b, own, 2);
    for (int n = 0; n < EVENT_STREAM_TENURES + 2; n++) {
        bench_next(&b, false);
        bench_add(&b, own, 2);
    }
    assert_int_equal(own->log.number, 22);
    assert_after(own, "0-11-2", 22, false);
    assert_after(own, "0-4-1", 7, false);
    assert_after(own, "0-3-1", 6, true);
    assert_after(own, "0-1-1", 6, true);
    assert_int_equal(events_oldest(&own->log), 7); /* nothing is kept that has no name */
    bench_free(&b);
}

static void test_a_stream_that_ended_keeps_its_ids(void **state)
{
    (void)state;
    struct bench b = bench_new();
    struct call source = {0};
    struct event_stream *stream = event_stream_open(b.core, b.session, &source, 0);
    assert_non_null(stream);
    bench_add(&b, stream, 3);
    event_stream_end(b.core, stream, 0);
    bench_next(&b, false);
    assert_int_equal(stream->tenures_count, 1);
    assert_after(stream, "1-1-2", 2, false);
    bench_free(&b);
}

static void test_what_waits_for_its_next_source_is_not_ended_by_who_yielded(void **state)
{
    (void)state;
    struct bench b = bench_new();
    b.session->is_single = true;
    event_stream_orphan(b.core, b.session, 100);
    assert_false(list_is_empty(&b.core->streams.orphans));
    session_own(b.core, b.session, false);
    assert_true(list_is_empty(&b.core->streams.orphans));
    bench_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_waits_for_its_next_source_is_not_ended_by_who_yielded),
        cmocka_unit_test(test_a_stream_begins_with_a_place_to_resume_from_where_clients_know_it),
        cmocka_unit_test(test_events_are_numbered_by_their_stream_and_the_answer_is_its_last),
        cmocka_unit_test(test_an_answer_in_one_piece_is_no_stream),
        cmocka_unit_test(test_a_child_that_says_nothing_for_a_second_is_answered_by_a_stream),
        cmocka_unit_test(test_who_comes_back_through_any_peer_misses_nothing),
        cmocka_unit_test(test_an_entry_that_dies_takes_nothing_with_it),
        cmocka_unit_test(test_a_get_without_a_place_gets_what_nobody_took),
        cmocka_unit_test(test_a_newer_get_with_a_place_supersedes_and_repeats_from_there),
        cmocka_unit_test(test_an_upstreams_own_stream_outlives_its_reader_and_gets_its_room_back),
        cmocka_unit_test(test_a_resume_takes_over_from_the_post_whose_client_is_still_there),
        cmocka_unit_test(test_a_call_whose_client_vanished_waits_in_its_log),
        cmocka_unit_test(test_a_failure_is_an_event_that_who_resumes_gets_too),
        cmocka_unit_test(test_a_resume_that_shows_the_last_event_is_over),
        cmocka_unit_test(test_the_rest_of_an_unknown_stream_is_told_lost_and_ends),
        cmocka_unit_test(test_no_stream_is_replayed_on_another),
        cmocka_unit_test(test_what_is_not_kept_is_said_before_what_follows),
        cmocka_unit_test(test_a_place_that_never_was_is_a_gap_and_the_stream_goes_on),
        cmocka_unit_test(test_an_event_larger_than_a_log_arrives_and_is_a_gap_afterwards),
        cmocka_unit_test(test_an_ended_stream_is_kept_for_five_minutes),
        cmocka_unit_test(test_the_logs_of_a_session_are_bounded_together),
        cmocka_unit_test(test_where_none_ended_the_fullest_log_gives_way),
        cmocka_unit_test(test_many_logs_leave_room_for_what_is_under_way),
        cmocka_unit_test(test_after_a_takeover_numbers_begin_anew_and_old_ids_keep_their_place),
        cmocka_unit_test(test_through_a_hand_over_numbers_go_on),
        cmocka_unit_test(test_an_id_of_an_unknown_tenure_goes_on_behind_what_came_before_it),
        cmocka_unit_test(test_an_id_of_a_rival_of_the_same_counter_goes_on_where_both_began),
        cmocka_unit_test(test_a_request_s_stream_is_found_only_by_ids_of_tenures_that_are_known),
        cmocka_unit_test(test_of_many_tenures_the_newest_are_understood),
        cmocka_unit_test(test_a_stream_that_ended_keeps_its_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
