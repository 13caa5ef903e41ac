/* Tests of what ends while something else is under way, and of upstreams and peers that say what
 * nobody would: cancels that come before their request, sessions that end in a handshake, rests
 * that cannot be asked for, words after the last one. */
#include "mesh/session/call.h"
#include "mesh/session/core.h"
#include "tests/unit/streams_pump.h"

#define CANCEL(id)                                                                                 \
    "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":" id "}}"

static void up_is_ready(struct pump *p, uint32_t up)
{
    mesh_up_ready(p->nodes[p->ups[up].node].mesh, p->ups[up].handle, p->now_ms);
    pump_settle(p);
}

static uint32_t post(struct pump *p, uint32_t node, const char *session, const char *text)
{
    uint32_t client = pump_post(p, node, session, text);
    pump_settle(p);
    return client;
}

/* ---- what waits for an upstream -------------------------------------------------------------- */

static void test_what_waits_for_a_child_may_be_cancelled_by_what_waits_before_it(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, NULL);
    p->ups_wait = true;
    uint32_t held = pump_sse(p, 0);
    pump_settle(p);
    const char *session = pump_session(p, held);
    uint32_t cancel = post(p, 0, session, CANCEL("7")), call = post(p, 0, session, CALL("7"));
    uint32_t other = post(p, 0, session, CALL("8"));
    assert_true(p->clients[call].is_open);
    up_is_ready(p, 0);
    assert_ended(p, cancel, MESH_OK);
    assert_false(p->clients[call].is_open);
    assert_int_equal(p->clients[call].ends, 1);
    assert_ended(p, other, MESH_OK);
    assert_int_equal(pump_executions(p, CALL("7")), 0);
    assert_int_equal(pump_executions(p, CALL("8")), 1);
    leave(p, held);
    assert_quiet(p, 0);
    pump_free(p);
}

static void test_a_session_that_ends_in_its_handshake_runs_nothing(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, NULL);
    uint32_t held = pump_sse_again(p, 0);
    pump_settle(p);
    assert_non_null(strstr(pump_last(p)->text, "\"initialize\""));
    uint32_t call = post(p, 0, pump_session(p, held), CALL("1"));
    assert_true(p->clients[call].is_open); /* it waits for the handshake */
    leave(p, held);
    assert_int_equal(p->clients[call].ends, 1);
    assert_int_equal(pump_executions(p, CALL("1")), 0);
    assert_quiet(p, 0);
    pump_free(p);
}

/* ---- the rest of an answer, and tokens ------------------------------------------------------- */

static void test_a_rest_that_cannot_be_asked_for_is_of_a_request_that_ran(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    const char *session = pump_session(p, pump_begin_new(p, 0, true));
    uint32_t held = hold(p, 0, session), call = ask(p, 0, session, CALL("1"));
    struct ucall *u = stream_begins(p);
    pump_mark(p, u, "m1", 0);
    event(p, u, LOG("a"));
    pump_end(p, u, MESH_END_CUT, MESH_UPSTREAM_LOST);
    pump_run(p, 1010);
    u = pump_last(p);
    assert_string_equal(u->text, "m1");
    pump_end(p, u, MESH_END_CUT, MESH_UPSTREAM_DOWN); /* it starts anew, perhaps */
    pump_run(p, 1010);
    assert_true(p->clients[call].is_open);
    u = pump_last(p);
    assert_string_equal(u->text, "m1");
    for (int n = 0; n < 8 && p->clients[call].is_open; n++) {
        pump_end(p, pump_last(p), MESH_END_CUT, MESH_UPSTREAM_DOWN);
        pump_run(p, 1010);
    }
    assert_int_equal(p->clients[call].told, MESH_UPSTREAM_LOST); /* not: nothing ran */
    assert_true(p->clients[held].is_open);
    pump_free(p);
}

static uint32_t hold_with(struct pump *p, const char *session, uint8_t token)
{
    struct mesh_request r = {.want = MESH_LISTEN};
    r.token.hash[0] = token;
    uint32_t client = pump_open(p, 0, r, session, "");
    pump_settle(p);
    return client;
}

static void test_a_question_about_a_token_is_asked_again_as_it_was(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    const char *session = pump_session(p, pump_begin_new(p, 0, true));
    uint32_t held = hold_with(p, session, 7);
    struct ucall *u = pump_last(p);
    assert_non_null(strstr(u->text, "\"ping\""));
    pump_end(p, u, MESH_END_CUT, MESH_UPSTREAM_LOST); /* a kept connection that was none */
    pump_settle(p);
    u = pump_last(p);
    assert_non_null(strstr(u->text, "\"ping\""));
    assert_int_equal(u->want, MESH_CALL);
    pump_head(p, u, 200, MESH_FORM_JSON, MESH_UP_SESSION_SAME);
    pump_settle(p);
    assert_int_equal(p->clients[held].status, 200);
    assert_true(p->clients[held].is_open);
    pump_free(p);
}

/* ---- an upstream's own stream ---------------------------------------------------------------- */

static void
test_a_server_without_a_route_for_the_get_has_no_stream_and_keeps_its_session(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http_ends);
    const char *session = pump_session(p, pump_begin(p, 0, true));
    uint32_t held = hold(p, 0, session);
    struct ucall *u = pump_last(p);
    pump_head(p, u, 404, MESH_FORM_RAW, MESH_UP_SESSION_LOST);
    pump_end(p, u, MESH_END_WHOLE, MESH_OK);
    pump_run(p, 60000);
    assert_true(p->clients[held].is_open);
    uint32_t call = ask(p, 0, session, CALL("1"));
    assert_string_equal(pump_last(p)->text, CALL("1"));
    pump_head(p, pump_last(p), 404, MESH_FORM_RAW, MESH_UP_SESSION_LOST);
    pump_settle(p);
    assert_ended(p, call, MESH_UPSTREAM_LOST); /* here a 404 means the session */
    assert_ended(p, held, MESH_SESSION_ENDED);
    assert_quiet(p, 0);
    pump_free(p);
}

static void test_a_rest_that_is_404_there_ends_its_request_alone(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    const char *session = pump_session(p, pump_begin_new(p, 0, true));
    uint32_t call = ask(p, 0, session, CALL("1"));
    struct ucall *u = stream_begins(p);
    pump_mark(p, u, "m1", 0);
    event(p, u, LOG("a"));
    pump_end(p, u, MESH_END_CUT, MESH_UPSTREAM_LOST);
    pump_run(p, 1010);
    pump_head(p, pump_last(p), 404, MESH_FORM_RAW, MESH_UP_SESSION_LOST);
    pump_settle(p);
    assert_whole(p, call);
    assert_int_equal(p->clients[call].told, MESH_UPSTREAM_LOST);
    (void)ask(p, 0, session, CALL("2"));
    assert_string_equal(pump_last(p)->text, CALL("2"));
    pump_free(p);
}

static void test_a_stream_that_was_there_and_is_404_takes_its_session_with_it(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http_ends);
    uint32_t held = hold(p, 0, pump_session(p, pump_begin(p, 0, true)));
    struct ucall *u = stream_begins(p);
    pump_end(p, u, MESH_END_CUT, MESH_UPSTREAM_LOST);
    pump_run(p, 1000);
    assert_true(pump_last(p)->call != u->call);
    pump_head(p, pump_last(p), 404, MESH_FORM_RAW, MESH_UP_SESSION_LOST);
    pump_settle(p);
    assert_ended(p, held, MESH_SESSION_ENDED);
    assert_quiet(p, 0);
    pump_free(p);
}

static void test_a_stream_that_ends_at_once_each_time_is_not_asked_for_in_a_storm(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    uint32_t held = hold(p, 0, pump_session(p, pump_begin(p, 0, true)));
    uint32_t before = p->ucalls_count, seen = p->ucalls_count - 1;
    for (int n = 0; n < 1000; n++) {
        for (; seen < p->ucalls_count; seen++) {
            struct ucall *u = &p->ucalls[seen];
            pump_head(p, u, 200, MESH_FORM_SSE, MESH_UP_SESSION_SAME);
            pump_end(p, u, MESH_END_WHOLE, MESH_OK);
        }
        pump_run(p, 10);
    }
    assert_in_range(p->ucalls_count - before, 10, 16); /* in 10 s */
    assert_true(p->clients[held].is_open);
    pump_free(p);
}

/* ---- words after the last one ---------------------------------------------------------------- */

static void test_what_comes_behind_an_answer_is_not_on_its_stream(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    const char *session = pump_session(p, pump_begin_new(p, 0, true));
    uint32_t held = hold(p, 1, session), call = ask(p, 1, session, CALL("1"));
    struct ucall *u = stream_begins(p);
    event(p, u, LOG("a"));
    event(p, u, RESULT("1"));
    event(p, u, RESULT("1"));
    event(p, u, LOG("b"));
    pump_end(p, u, MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
    assert_whole(p, call);
    assert_heard(p, call, ".a=");
    assert_heard(p, held, ".");
    pump_free(p);
}

static void test_in_the_modern_era_what_comes_behind_an_answer_is_nobodys(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    uint32_t call = pump_ask_modern(p, 1, CALL("1"), NULL);
    pump_settle(p);
    struct ucall *u = stream_begins(p);
    event(p, u, RESULT("1"));
    event(p, u, RESULT("1"));
    event(p, u, LOG("b"));
    pump_end(p, u, MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
    assert_whole(p, call);
    assert_heard(p, call, "=");
    assert_quiet(p, 0);
    pump_free(p);
}

/* What reaches nobody is nobody's to take: else it would hold its stream up in the end. */
static void test_what_makes_no_sense_costs_a_stream_none_of_its_room(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    const char *session = pump_session(p, pump_begin_new(p, 0, true));
    (void)hold(p, 0, session);
    struct ucall *own = stream_begins(p);
    (void)ask(p, 0, session, CALL("1"));
    struct ucall *u = stream_begins(p);
    for (int n = 0; n < 3; n++) {
        event(p, u, RESULT("2"));
        event(p, own, RESULT("2"));
        event(p, u, n == 1 ? RESULT("1") : LOG("a"));
    }
    assert_int_equal(u->given, u->brought);
    assert_int_equal(own->given, own->brought);
    pump_free(p);
}

static void test_an_answer_in_parts_is_too_large_for_http_sse(void **state)
{
    (void)state;
    static const char part[4096];
    struct pump *p = pump_new(1, http);
    uint32_t held = pump_sse(p, 0);
    pump_settle(p);
    uint32_t call = post(p, 0, pump_session(p, held), CALL("1"));
    struct ucall *u = pump_last(p);
    pump_head(p, u, 200, MESH_FORM_JSON, MESH_UP_SESSION_MADE);
    pump_data(p, u, part, sizeof part);
    pump_settle(p);
    assert_whole(p, call);
    assert_true(u->is_cancelled);
    assert_heard(p, held, "?");
    assert_int_equal(p->clients[held].told, MESH_ANSWER_TOO_LARGE);
    pump_free(p);
}

/* Whose session would end with it. */
static void test_a_reader_of_http_sse_is_cut_when_it_takes_nothing_and_not_before(void **state)
{
    (void)state;
    static char text[200 * KIB];
    struct pump *p = pump_new(2, http);
    uint32_t held = pump_sse(p, 1);
    pump_settle(p);
    const char *session = pump_session(p, held);
    int head = snprintf(text, sizeof text, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"pad\":\"");
    memset(text + head, 'x', sizeof text - (size_t)head);
    memcpy(text + sizeof text - 4, "\"}}", 4);
    p->clients[held].is_slow = true;
    for (int n = 0; n < 4; n++) {
        (void)post(p, 1, session, CALL("1"));
        struct ucall *u = stream_begins(p);
        event(p, u, text);
        pump_end(p, u, MESH_END_WHOLE, MESH_OK);
        pump_run(p, 1000);
    }
    assert_true(p->clients[held].is_open);
    p->clients[held].is_slow = false;
    pump_take(p, held, p->clients[held].untaken);
    pump_settle(p);
    assert_heard(p, held, "****");
    (void)post(p, 1, session, CALL("1"));
    struct ucall *u = stream_begins(p);
    p->clients[held].is_slow = true;
    event(p, u, text);
    pump_run(p, 31000);
    assert_false(p->clients[held].is_open);
    pump_free(p);
}

/* ---- bounds ---------------------------------------------------------------------------------- */

static void small(struct mesh_config *config)
{
    config->upstream = MESH_UP_HTTP;
    config->memory_max = 4u << 20;
}

/* Sessions that live keep their own streams' logs for as long as they do. */
static void test_the_logs_of_many_living_streams_leave_room_for_requests(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, small);
    const char *session = NULL;
    for (uint32_t n = 0; n < 60; n++) {
        session = pump_session(p, pump_begin_new(p, 0, true));
        uint32_t held = hold(p, 0, session);
        struct ucall *u = stream_begins(p);
        for (int k = 0; k < 50; k++)
            event(p, u, note(3 * KIB));
        assert_int_equal(p->clients[held].texts, 50);
        leave(p, held);
    }
    assert_true(log_bytes(p, 0) <= (4u << 20) / 2 + 60 * 4 * KIB);
    uint32_t call = ask(p, 0, session, CALL("1"));
    assert_string_equal(pump_last(p)->text, CALL("1"));
    pump_head(p, pump_last(p), 200, MESH_FORM_JSON, MESH_UP_SESSION_SAME);
    event(p, pump_last(p), RESULT("1"));
    pump_end(p, pump_last(p), MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
    assert_ended(p, call, MESH_OK);
    pump_free(p);
}

/* Each GET repeats what is kept; of those that were superseded only the end waits for its reader.
 */
static void test_readers_that_never_read_do_not_add_up(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    struct mesh_levels levels;
    const char *session = pump_session(p, pump_begin_new(p, 0, true));
    (void)hold(p, 0, session);
    struct ucall *u = stream_begins(p);
    for (int n = 0; n < 500; n++)
        event(p, u, LOG("a"));
    for (int n = 0; n < 40; n++) {
        uint32_t again = pump_resume(p, 1, session, "0-1-0");
        p->clients[again].is_slow = true;
        pump_settle(p);
    }
    mesh_levels(p->nodes[0].mesh, &levels);
    assert_in_range(levels.messages_kept, 400, 2 * 500);
    pump_free(p);
}

/* ---- peers that talk nonsense ---------------------------------------------------------------- */

/* An OPEN as no entry would send it; node 1 says it to node 0. */
static void entry_says(struct pump *p, struct mesh_request r, const char *session, const char *text)
{
    static uint64_t counter = 1000;
    struct core *core = core_of(p, 1);
    struct lane lane;
    struct wire_message m = {.kind = WIRE_OPEN, .payload = slice_text(text)};
    assert_int_equal(links_open(core->links, core_self(core_of(p, 0)), &p->nodes[0].addr,
                                (struct handle){0}, &lane, p->now_ms),
                     0);
    m.name = (struct exchange_name){core_self(core), ++counter};
    m.has_session = session != NULL;
    if (session != NULL)
        assert_true(key_read(&m.session, slice_borrow(session, MESH_SESSION_TEXT)));
    m.open.request = r;
    assert_true(links_send(core->links, lane, LINKS_ENTRY, &m) > 0);
    pump_settle(p);
    pump_run(p, 100);
}

static void test_requests_that_no_entry_would_pass_on_run_nowhere(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    uint32_t held = pump_sse(p, 0);
    pump_settle(p);
    const char *single = pump_session(p, held), *batch = "[" CALL("1") "]";
    uint32_t ups = p->ups_count, asked = p->ucalls_count;
    struct mesh_request r = {.want = MESH_CALL};
    rpc_read(&r.rpc, NULL, batch, strlen(batch));
    entry_says(p, r, NULL, batch); /* a child is no server without a session */
    for (enum mesh_want want = MESH_CALL; want <= MESH_WANT_LAST; want++) {
        r = (struct mesh_request){.want = want};
        rpc_read(&r.rpc, NULL, CALL("1"), strlen(CALL("1")));
        if (want != MESH_SSE) /* that makes one */
            entry_says(p, r, NULL, CALL("1"));
        if (want == MESH_PASS || want == MESH_SSE)
            entry_says(p, r, session, CALL("1"));
        r.front = MESH_FRONT_SSE;
        if (want != MESH_CALL)
            entry_says(p, r, single, "");
    }
    assert_int_equal(p->ups_count, ups);
    assert_int_equal(p->ucalls_count, asked);
    assert_true(p->clients[held].is_open);
    pump_free(p);
}

/* The owner's only call that waits says this to its entry. */
static void owner_says(struct pump *p, uint32_t node, struct wire_message *m)
{
    struct core *core = core_of(p, node);
    struct handle h;
    for (uint32_t slot = 0; slot < pool_span(&core->serve.calls); slot++) {
        struct call *call = pool_slot(&core->serve.calls, slot, &h);
        if (call == NULL || lane_is_none(call->answer.lane))
            continue;
        m->name = call->name;
        m->epoch = call->epoch;
        (void)links_send(core->links, call->answer.lane, LINKS_OWNER, m);
    }
    pump_settle(p);
}

static void test_a_batch_is_no_larger_than_its_session_whatever_its_entry_counted(void **state)
{
    (void)state;
    static char text[64 * 1024];
    struct pump *p = pump_new(2, NULL);
    uint32_t begun = pump_begin_with(p, 0, false, INITIALIZE, AGREED("2025-03-26"));
    struct mesh_request r = {.want = MESH_CALL};
    size_t length = 1;
    text[0] = '[';
    for (int n = 0; n < 600; n++)
        length += (size_t)snprintf(text + length, sizeof text - length, "%s" LIST("%d"),
                                   n > 0 ? "," : "", n);
    snprintf(text + length, sizeof text - length, "]");
    r.rpc.kind = RPC_BATCH;
    r.rpc.batch_count = 1;
    entry_says(p, r, pump_session(p, begun), text);
    assert_in_range(p->ucalls_count, 100, 260);
    pump_free(p);
}

static void test_an_answer_without_a_head_is_none(void **state)
{
    (void)state;
    static const enum wire_kind kinds[] = {WIRE_END, WIRE_EVENT, WIRE_DATA};
    for (size_t n = 0; n < sizeof kinds / sizeof kinds[0]; n++)
        for (uint32_t entry = 0; entry < 2; entry++) {
            struct pump *p = pump_new(2, http);
            const char *session = pump_session(p, pump_begin_new(p, 0, true));
            uint32_t call = ask(p, entry, session, CALL("1"));
            struct wire_message m = {.kind = kinds[n]};
            if (kinds[n] != WIRE_END)
                m.payload = slice_text(RESULT("1"));
            else
                m.end.end = MESH_END_LATER;
            owner_says(p, 0, &m);
            assert_ended(p, call, MESH_OUTCOME_UNKNOWN);
            assert_int_equal(p->clients[call].texts, 0);
            pump_free(p);
        }
}

/* ---- leaving --------------------------------------------------------------------------------- */

/* HTTP+SSE: what is in flight is answered on the stream, and nowhere else. */
static void test_a_stream_of_http_sse_outlives_the_wish_to_leave_by_its_requests(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    p->ups_wait = true;
    uint32_t idle = pump_sse(p, 0), again = pump_sse_again(p, 0);
    pump_settle(p);
    const char *session = pump_session(p, again);
    uint32_t call = post(p, 1, session, CALL("1"));
    mesh_leave(p->nodes[0].mesh, p->now_ms, p->now_ms + 20000, p->now_ms);
    pump_run(p, 1000);
    assert_ended(p, idle, MESH_SESSION_ENDED);
    assert_true(p->clients[again].is_open);
    up_is_ready(p, 1);
    assert_non_null(strstr(pump_last(p)->text, "\"initialize\""));
    say(p, pump_last(p), RESULT("0"));
    assert_ended(p, call, MESH_OK);
    assert_int_equal(pump_executions(p, CALL("1")), 1);
    assert_true(p->clients[again].is_open);
    say(p, pump_last(p), RESULT("1"));
    pump_run(p, 100);
    assert_string_equal(p->clients[again].last, RESULT("1"));
    assert_ended(p, again, MESH_SESSION_ENDED); /* now nothing keeps it */
    pump_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_waits_for_a_child_may_be_cancelled_by_what_waits_before_it),
        cmocka_unit_test(test_a_session_that_ends_in_its_handshake_runs_nothing),
        cmocka_unit_test(test_a_rest_that_cannot_be_asked_for_is_of_a_request_that_ran),
        cmocka_unit_test(test_a_question_about_a_token_is_asked_again_as_it_was),
        cmocka_unit_test(
            test_a_server_without_a_route_for_the_get_has_no_stream_and_keeps_its_session),
        cmocka_unit_test(test_a_rest_that_is_404_there_ends_its_request_alone),
        cmocka_unit_test(test_a_stream_that_was_there_and_is_404_takes_its_session_with_it),
        cmocka_unit_test(test_a_stream_that_ends_at_once_each_time_is_not_asked_for_in_a_storm),
        cmocka_unit_test(test_what_comes_behind_an_answer_is_not_on_its_stream),
        cmocka_unit_test(test_in_the_modern_era_what_comes_behind_an_answer_is_nobodys),
        cmocka_unit_test(test_what_makes_no_sense_costs_a_stream_none_of_its_room),
        cmocka_unit_test(test_a_reader_of_http_sse_is_cut_when_it_takes_nothing_and_not_before),
        cmocka_unit_test(test_an_answer_in_parts_is_too_large_for_http_sse),
        cmocka_unit_test(test_the_logs_of_many_living_streams_leave_room_for_requests),
        cmocka_unit_test(test_readers_that_never_read_do_not_add_up),
        cmocka_unit_test(test_requests_that_no_entry_would_pass_on_run_nowhere),
        cmocka_unit_test(test_a_batch_is_no_larger_than_its_session_whatever_its_entry_counted),
        cmocka_unit_test(test_an_answer_without_a_head_is_none),
        cmocka_unit_test(test_a_stream_of_http_sse_outlives_the_wish_to_leave_by_its_requests),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
