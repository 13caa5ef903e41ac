/* Tests of trust.h: what the mesh holds of a session is given to tokens that its upstream accepted,
 * the others are asked about first (DESIGN §17; MCP 2025-11-25, security, session hijacking). */
#include "mesh/session/trust.h"
#include "mesh/session/upcall.h"
#include "tests/unit/streams_pump.h"

#define NOBODY 0 /* without a token */

static void sse(struct mesh_config *config)
{
    config->upstream = MESH_UP_SSE;
}

static uint32_t ask_as(struct pump *p, uint32_t node, enum mesh_want want, const char *session,
                       const char *text, uint8_t token)
{
    struct mesh_request r = {.want = want};
    r.token.hash[0] = token;
    uint32_t client = pump_open(p, node, r, session, text);
    pump_settle(p);
    return client;
}

/* A session of an HTTP server, made at `node` under this token. */
static const char *begin_as(struct pump *p, uint32_t node, uint8_t token)
{
    uint32_t made = ask_as(p, node, MESH_CALL, NULL, INITIALIZE, token);
    struct ucall *u = pump_last(p);
    pump_head(p, u, 200, MESH_FORM_JSON, MESH_UP_SESSION_MADE);
    pump_event(p, u, RESULT("0"));
    pump_end(p, u, MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
    return pump_session(p, made);
}

static bool is_question(const struct ucall *u)
{
    return u->kind == MESH_UP_SEND && u->is_request &&
           strncmp(u->text, "{\"jsonrpc\":\"2.0\",\"id\":\"mesh-", 28) == 0 &&
           strstr(u->text, "\"method\":\"ping\"") != NULL;
}

static uint32_t questions(const struct pump *p)
{
    uint32_t count = 0;
    for (uint32_t n = 0; n < p->ucalls_count; n++)
        count += is_question(&p->ucalls[n]);
    return count;
}

static struct ucall *last_question(struct pump *p)
{
    for (uint32_t n = p->ucalls_count; n-- > 0;)
        if (is_question(&p->ucalls[n]))
            return &p->ucalls[n];
    fail_msg("the upstream was not asked");
    return NULL;
}

/* The answer to it as a server writes it. */
static const char *answer_to(const struct ucall *u, const char *outcome)
{
    static char text[160];
    snprintf(text, sizeof text, "{\"jsonrpc\":\"2.0\",\"id\":%.15s,%s}", u->text + 22, outcome);
    return text;
}

static void answered(struct pump *p, const struct ucall *u, int status)
{
    pump_head(p, u, status, status == 200 ? MESH_FORM_JSON : MESH_FORM_NONE, MESH_UP_SESSION_SAME);
    if (status == 200)
        pump_event(p, u, answer_to(u, "\"result\":{}"));
    pump_end(p, u, MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
}

static void test_a_token_that_was_never_accepted_gets_the_upstreams_refusal(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    const char *session = begin_as(p, 0, 1);
    uint32_t held = ask_as(p, 0, MESH_LISTEN, session, "", 1);
    int statuses[] = {401, 403};
    for (uint32_t n = 0; n < 2; n++) {
        uint32_t stolen = ask_as(p, 1, MESH_LISTEN, session, "", 2);
        assert_int_equal(questions(p), n + 1);
        assert_int_equal(p->clients[stolen].heads, 0);
        answered(p, last_question(p), statuses[n]);
        assert_whole(p, stolen);
        assert_int_equal(p->clients[stolen].status, statuses[n]);
        assert_string_equal(p->clients[stolen].lines, "X-Up: 1\r\n"); /* a challenge stands there */
        assert_int_equal(p->clients[stolen].texts + p->clients[stolen].marks, 0);
    }
    assert_true(p->clients[held].is_open); /* whose stream it is keeps it */
    pump_close(p, held);
    pump_settle(p);
    assert_quiet(p, 1);
    pump_free(p);
}

static void test_a_token_that_is_accepted_now_gets_what_is_stored(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    const char *session = begin_as(p, 0, 1);
    leave(p, ask_as(p, 0, MESH_LISTEN, session, "", 1));
    struct ucall *own = pump_last(p);
    assert_int_equal(own->kind, MESH_UP_LISTEN);
    pump_head(p, own, 200, MESH_FORM_SSE, MESH_UP_SESSION_SAME);
    event(p, own, LOG("stored"));
    uint32_t renewed = ask_as(p, 1, MESH_LISTEN, session, "", 2);
    assert_heard(p, renewed, "");
    answered(p, last_question(p), 200);
    assert_true(p->clients[renewed].is_open);
    assert_int_equal(p->clients[renewed].status, 200);
    assert_heard(p, renewed, "s"); /* and nothing of the question */
    assert_true(last_question(p)->is_cancelled);
    ask_as(p, 0, MESH_LISTEN, session, "", 2); /* known from now on */
    assert_int_equal(questions(p), 1);
    pump_free(p);
}

static void test_statuses_that_come_after_the_credentials_are_no_refusal(void **state)
{
    (void)state;
    struct {
        int status;
        bool is_accepted;
    } rows[] = {{200, true},  {202, true},  {400, true},  {405, true},  {406, true}, {401, false},
                {403, false}, {407, false}, {429, false}, {500, false}, {503, false}};
    struct pump *p = pump_new(1, http);
    const char *session = begin_as(p, 0, 1);
    for (size_t n = 0; n < sizeof rows / sizeof rows[0]; n++) {
        uint32_t client = ask_as(p, 0, MESH_LISTEN, session, "", (uint8_t)(10 + n));
        answered(p, last_question(p), rows[n].status);
        assert_int_equal(p->clients[client].is_open, rows[n].is_accepted);
        assert_int_equal(p->clients[client].status, rows[n].is_accepted ? 200 : rows[n].status);
    }
    pump_free(p);
}

static void test_an_acceptance_counts_for_five_minutes(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    const char *session = begin_as(p, 0, 1);
    pump_run(p, TRUST_MS - 1);
    uint32_t early = ask_as(p, 0, MESH_LISTEN, session, "", 1);
    assert_int_equal(questions(p), 0);
    assert_int_equal(p->clients[early].status, 200);
    pump_run(p, 1);
    uint32_t late = ask_as(p, 0, MESH_LISTEN, session, "", 1);
    assert_int_equal(questions(p), 1);
    answered(p, last_question(p), 401); /* revoked meanwhile */
    assert_int_equal(p->clients[late].status, 401);
    assert_true(p->clients[early].is_open);
    /* any request that it accepts renews it */
    ask_as(p, 0, MESH_CALL, session, CALL("1"), 1);
    answered(p, pump_last(p), 202);
    assert_int_equal(p->clients[ask_as(p, 0, MESH_LISTEN, session, "", 1)].status, 200);
    assert_int_equal(questions(p), 1);
    pump_free(p);
}

static void test_a_request_that_is_refused_makes_no_token_good(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    const char *session = begin_as(p, 0, 1);
    ask_as(p, 0, MESH_CALL, session, CALL("1"), 2);
    answered(p, pump_last(p), 401);
    ask_as(p, 0, MESH_LISTEN, session, "", 2);
    assert_int_equal(questions(p), 1);
    pump_free(p);
}

static void test_who_needs_no_token_is_never_asked_about(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    const char *session = begin_as(p, 0, NOBODY);
    pump_run(p, 2 * TRUST_MS);
    assert_int_equal(p->clients[ask_as(p, 0, MESH_LISTEN, session, "", NOBODY)].status, 200);
    assert_int_equal(questions(p), 0);
    /* but where there is one: a request without it may be somebody's who was never let in */
    session = begin_as(p, 0, 1);
    ask_as(p, 0, MESH_LISTEN, session, "", NOBODY);
    assert_int_equal(questions(p), 1);
    pump_free(p);
}

static void test_the_token_accepted_longest_ago_gives_way(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    const char *session = begin_as(p, 0, 1);
    for (uint8_t token = 2; token <= TRUST_TOKENS + 1; token++) {
        pump_run(p, 1000);
        ask_as(p, 0, MESH_CALL, session, CALL("1"), token);
        answered(p, pump_last(p), 200);
    }
    for (uint8_t token = 2; token <= TRUST_TOKENS + 1; token++)
        ask_as(p, 0, MESH_LISTEN, session, "", token);
    assert_int_equal(questions(p), 0);
    ask_as(p, 0, MESH_LISTEN, session, "", 1);
    assert_int_equal(questions(p), 1);
    pump_free(p);
}

static void test_a_client_that_goes_away_while_it_is_asked_leaves_nothing(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    const char *session = begin_as(p, 0, 1);
    uint32_t gone = ask_as(p, 1, MESH_LISTEN, session, "", 2);
    struct ucall *u = last_question(p);
    leave(p, gone);
    assert_true(u->is_cancelled);
    assert_quiet(p, 1);
    answered(p, u, 200); /* which nobody waits for, and which made nobody known */
    ask_as(p, 1, MESH_LISTEN, session, "", 2);
    assert_int_equal(questions(p), 2);
    pump_free(p);
}

static void test_a_session_that_ends_while_it_is_asked_ends_the_get(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    const char *session = begin_as(p, 0, 1);
    uint32_t waits = ask_as(p, 1, MESH_LISTEN, session, "", 2);
    ask_as(p, 0, MESH_DELETE, session, "", 1);
    pump_head(p, pump_last(p), 200, MESH_FORM_NONE, MESH_UP_SESSION_SAME);
    pump_end(p, pump_last(p), MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
    assert_ended(p, waits, MESH_SESSION_ENDED);
    assert_quiet(p, 0);
    pump_free(p);
}

/* The GET has its 200 by then, since a first one is never repeated (DESIGN §6): but no event. */
static void test_a_slow_answer_gives_nothing_before_it(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    const char *session = begin_as(p, 0, 1);
    leave(p, ask_as(p, 0, MESH_LISTEN, session, "", 1));
    struct ucall *own = pump_last(p);
    pump_head(p, own, 200, MESH_FORM_SSE, MESH_UP_SESSION_SAME);
    event(p, own, LOG("stored"));
    for (int n = 0; n < 2; n++) {
        uint32_t slow = ask_as(p, 1, MESH_LISTEN, session, "", 2);
        pump_run(p, 600);
        assert_int_equal(p->clients[slow].status, 200);
        assert_heard(p, slow, "");
        answered(p, last_question(p), n == 0 ? 401 : 200);
        assert_int_equal(p->clients[slow].is_open, n == 1);
        assert_heard(p, slow, n == 1 ? "s" : "");
    }
    pump_free(p);
}

static void test_a_question_that_was_lost_is_asked_again(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    const char *session = begin_as(p, 0, 1);
    uint32_t client = ask_as(p, 0, MESH_LISTEN, session, "", 2);
    pump_end(p, last_question(p), MESH_END_CUT, MESH_UPSTREAM_LOST);
    pump_settle(p);
    assert_int_equal(questions(p), 2);
    answered(p, pump_last(p), 200);
    assert_true(p->clients[client].is_open);
    assert_int_equal(p->clients[client].status, 200);
    /* so often, and not for ever */
    client = ask_as(p, 0, MESH_LISTEN, session, "", 3);
    for (int n = 0; n < SERVE_ATTEMPTS_MAX; n++) {
        assert_true(is_question(pump_last(p)));
        pump_end(p, pump_last(p), MESH_END_CUT, MESH_UPSTREAM_LOST);
        pump_settle(p);
    }
    assert_ended(p, client, MESH_UPSTREAM_LOST);
    assert_int_equal(questions(p), 2 + SERVE_ATTEMPTS_MAX);
    pump_free(p);
}

static void test_an_upstream_that_lost_the_session_says_so_to_a_question(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http_ends);
    const char *session = begin_as(p, 0, 1);
    uint32_t client = ask_as(p, 1, MESH_LISTEN, session, "", 2);
    pump_head(p, last_question(p), 404, MESH_FORM_RAW, MESH_UP_SESSION_LOST);
    pump_settle(p);
    assert_ended(p, client, MESH_SESSION_ENDED);
    assert_quiet(p, 0);
    pump_free(p);
}

/* ---- HTTP+SSE: no DELETE and no GET of the client's reaches it ------------------------------- */

static const char *begin_sse_as(struct pump *p, uint8_t token)
{
    uint32_t made = ask_as(p, 0, MESH_CALL, NULL, INITIALIZE, token);
    pump_say(p, pump_last(p), RESULT("0"));
    pump_settle(p);
    return pump_session(p, made);
}

static void test_an_old_server_is_asked_before_its_session_is_ended(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, sse);
    const char *session = begin_sse_as(p, 1);
    uint32_t held = ask_as(p, 1, MESH_LISTEN, session, "", 1);
    uint32_t stolen = ask_as(p, 1, MESH_DELETE, session, "", 2);
    assert_true(is_question(pump_last(p)));
    pump_head(p, pump_last(p), 401, MESH_FORM_NONE, MESH_UP_SESSION_SAME);
    pump_end(p, pump_last(p), MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
    assert_int_equal(p->clients[stolen].status, 401);
    assert_true(p->clients[held].is_open);
    uint32_t ends = ask_as(p, 1, MESH_DELETE, session, "", 3);
    pump_say(p, pump_last(p), answer_to(pump_last(p), "\"result\":{}"));
    pump_settle(p);
    assert_ended(p, ends, MESH_OK);
    assert_int_equal(p->clients[ends].status, 200);
    assert_ended(p, held, MESH_SESSION_ENDED);
    assert_int_equal(p->clients[held].texts, 0); /* the answer was not for it */
    assert_quiet(p, 0);
    pump_free(p);
}

static void test_an_old_server_is_asked_before_its_events_are_given(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, sse);
    const char *session = begin_sse_as(p, 1);
    say(p, pump_last(p), LOG("stored"));
    uint32_t first = ask_as(p, 1, MESH_LISTEN, session, "", 2);
    assert_true(is_question(pump_last(p)));
    assert_int_equal(p->clients[first].heads, 0);
    /* an error is an answer, too: the message was taken */
    say(p, pump_last(p), answer_to(pump_last(p), "\"error\":{\"code\":-32601,\"message\":\"-\"}"));
    assert_int_equal(p->clients[first].status, 200);
    assert_heard(p, first, "s");
    /* two questions at once are told apart by their ids */
    uint32_t second = ask_as(p, 0, MESH_LISTEN, session, "", 3);
    struct ucall *of_second = pump_last(p);
    uint32_t third = ask_as(p, 1, MESH_DELETE, session, "", 4);
    assert_string_not_equal(of_second->text, pump_last(p)->text);
    say(p, of_second, answer_to(of_second, "\"result\":{}"));
    assert_int_equal(p->clients[second].status, 200);
    assert_true(p->clients[third].is_open);
    assert_int_equal(p->clients[third].heads, 0);
    pump_free(p);
}

static void test_a_child_judges_no_token_and_is_asked_nothing(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    const char *session = begin_sse_as(p, 1);
    uint32_t held = ask_as(p, 1, MESH_LISTEN, session, "", 2);
    assert_int_equal(p->clients[held].status, 200);
    assert_ended(p, ask_as(p, 1, MESH_DELETE, session, "", 3), MESH_OK);
    assert_int_equal(questions(p), 0);
    pump_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_token_that_was_never_accepted_gets_the_upstreams_refusal),
        cmocka_unit_test(test_a_token_that_is_accepted_now_gets_what_is_stored),
        cmocka_unit_test(test_statuses_that_come_after_the_credentials_are_no_refusal),
        cmocka_unit_test(test_an_acceptance_counts_for_five_minutes),
        cmocka_unit_test(test_a_request_that_is_refused_makes_no_token_good),
        cmocka_unit_test(test_who_needs_no_token_is_never_asked_about),
        cmocka_unit_test(test_the_token_accepted_longest_ago_gives_way),
        cmocka_unit_test(test_a_client_that_goes_away_while_it_is_asked_leaves_nothing),
        cmocka_unit_test(test_a_session_that_ends_while_it_is_asked_ends_the_get),
        cmocka_unit_test(test_a_slow_answer_gives_nothing_before_it),
        cmocka_unit_test(test_a_question_that_was_lost_is_asked_again),
        cmocka_unit_test(test_an_upstream_that_lost_the_session_says_so_to_a_question),
        cmocka_unit_test(test_an_old_server_is_asked_before_its_session_is_ended),
        cmocka_unit_test(test_an_old_server_is_asked_before_its_events_are_given),
        cmocka_unit_test(test_a_child_judges_no_token_and_is_asked_nothing),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
