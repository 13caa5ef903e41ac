/* Tests of uplisten.c and of readers that are slow or cut: upstreams that end their streams early
 * (SEP-1699), the upstream's own stream, who is cut when, and answers begun anew. */
#include "mesh/session/call.h"
#include "mesh/session/event_stream.h"
#include "mesh/session/serve.h"
#include "tests/unit/streams_pump.h"

static void patient(struct mesh_config *config)
{
    config->park_ms = 60000;
}

/* ---- an upstream that ends its stream early (SEP-1699) -------------------------------------- */

/* The call whose rest the core asks for, with this mark, after so long and not sooner. */
static struct ucall *asked_again(struct pump *p, uint64_t after_ms, const char *mark)
{
    uint32_t before = p->ucalls_count;
    pump_run(p, after_ms - 10);
    assert_int_equal(p->ucalls_count, before);
    pump_run(p, 20);
    assert_int_equal(p->ucalls_count, before + 1);
    struct ucall *u = pump_last(p);
    assert_int_equal(u->kind, MESH_UP_LISTEN);
    assert_int_equal(u->want, MESH_CALL);
    assert_string_equal(u->text, mark);
    return u;
}

static void test_an_upstream_may_end_its_stream_and_answer_on_the_next(void **state)
{
    (void)state;
    /* the client is back before its upstream was asked, before it answered, or long after */
    for (int when = 0; when < 3; when++) {
        struct pump *p = pump_new(3, http);
        const char *session = pump_session(p, pump_begin_new(p, 0, true));
        uint32_t call = ask(p, 1, session, CALL("1")), rest = 0;
        struct ucall *u = stream_begins(p);
        event(p, u, LOG("a"));
        pump_mark(p, u, "m1", 700);
        pump_end(p, u, MESH_END_WHOLE, MESH_OK);
        pump_settle(p);
        assert_later(p, call);
        assert_heard(p, call, ".a.");
        assert_int_equal(p->clients[call].retry_ms, 700);
        if (when == 0)
            rest = come_back(p, 2, session, call);
        u = asked_again(p, 700, "m1");
        pump_head(p, u, 200, MESH_FORM_SSE, MESH_UP_SESSION_SAME);
        if (when == 1)
            rest = come_back(p, 2, session, call);
        event(p, u, LOG("b"));
        event(p, u, RESULT("1"));
        pump_end(p, u, MESH_END_WHOLE, MESH_OK);
        pump_settle(p);
        if (when == 2)
            rest = come_back(p, 2, session, call);
        assert_heard(p, rest, ".b=");
        assert_whole(p, rest);
        assert_int_equal(p->clients[rest].retry_ms, 700);
        assert_int_equal(pump_executions(p, CALL("1")), 1);
        pump_run(p, EVENT_STREAM_KEPT_MS + 1000);
        assert_quiet(p, 1);
        pump_free(p);
    }
}

static void test_a_client_that_cannot_come_back_keeps_its_stream_meanwhile(void **state)
{
    (void)state;
    /* of an older revision; or the upstream's stream broke, which it did not mean */
    for (int is_broken = 0; is_broken < 2; is_broken++) {
        struct pump *p = pump_new(2, http);
        uint32_t made = is_broken ? pump_begin_new(p, 0, true) : pump_begin(p, 0, true);
        const char *session = pump_session(p, made);
        uint32_t call = ask(p, 1, session, CALL("1"));
        struct ucall *u = stream_begins(p);
        pump_mark(p, u, "m1", 0);
        event(p, u, LOG("a"));
        pump_end(p, u, is_broken ? MESH_END_CUT : MESH_END_WHOLE,
                 is_broken ? MESH_UPSTREAM_LOST : MESH_OK);
        pump_settle(p);
        assert_true(p->clients[call].is_open);
        u = asked_again(p, SERVE_RESUME_MS, "m1");
        pump_head(p, u, 200, MESH_FORM_SSE, MESH_UP_SESSION_SAME);
        event(p, u, RESULT("1"));
        pump_end(p, u, MESH_END_WHOLE, MESH_OK);
        pump_settle(p);
        assert_whole(p, call);
        assert_heard(p, call, is_broken ? ".a=" : "a=");
        pump_free(p);
    }
}

static void test_the_rest_that_never_comes_is_an_error_on_the_stream(void **state)
{
    (void)state;
    static const int statuses[] = {404, 405, 500, 200};
    for (size_t n = 0; n < 4; n++) { /* 200: of JSON */
        struct pump *p = pump_new(1, http);
        const char *session = pump_session(p, pump_begin_new(p, 0, true));
        uint32_t call = ask(p, 0, session, CALL("1"));
        struct ucall *u = stream_begins(p);
        pump_mark(p, u, "m1", 0);
        pump_end(p, u, MESH_END_WHOLE, MESH_OK);
        u = asked_again(p, SERVE_RESUME_MS, "m1");
        pump_head(p, u, statuses[n], MESH_FORM_JSON, MESH_UP_SESSION_SAME);
        pump_settle(p);
        uint32_t rest = come_back(p, 0, session, call);
        assert_heard(p, rest, ".?");
        assert_int_equal(p->clients[rest].told, MESH_UPSTREAM_LOST);
        assert_whole(p, rest);
        pump_free(p);
    }
    /* nor is it asked for ever, where nothing new comes */
    struct pump *p = pump_new(1, http);
    const char *session = pump_session(p, pump_begin(p, 0, true));
    uint32_t call = ask(p, 0, session, CALL("1"));
    struct ucall *u = stream_begins(p);
    pump_mark(p, u, "m1", 0);
    uint32_t before = p->ucalls_count;
    for (int n = 0; n < 20 && p->clients[call].is_open; n++) {
        pump_end(p, u, MESH_END_WHOLE, MESH_OK);
        pump_run(p, SERVE_RESUME_MS + 10);
        u = pump_last(p);
        if (p->clients[call].is_open && u->kind == MESH_UP_LISTEN)
            pump_head(p, u, 200, MESH_FORM_SSE, MESH_UP_SESSION_SAME);
    }
    assert_whole(p, call);
    assert_int_equal(p->clients[call].told, MESH_UPSTREAM_LOST);
    assert_int_equal(p->ucalls_count - before, SERVE_RESUMES_MAX);
    assert_int_equal(pump_executions(p, CALL("1")), 1);
    pump_free(p);
}

static void test_an_upstream_that_makes_progress_may_be_asked_as_often_as_it_likes(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    const char *session = pump_session(p, pump_begin(p, 0, true));
    uint32_t call = ask(p, 0, session, CALL("1"));
    struct ucall *u = stream_begins(p);
    char mark[16] = "m0";
    pump_mark(p, u, mark, 0);
    for (int n = 1; n < 4 * SERVE_RESUMES_MAX; n++) {
        pump_end(p, u, MESH_END_WHOLE, MESH_OK);
        u = asked_again(p, SERVE_RESUME_MS, mark);
        pump_head(p, u, 200, MESH_FORM_SSE, MESH_UP_SESSION_SAME);
        snprintf(mark, sizeof mark, "m%d", n);
        pump_mark(p, u, mark, 0);
        event(p, u, LOG("a"));
    }
    event(p, u, RESULT("1"));
    pump_end(p, u, MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
    assert_whole(p, call);
    assert_int_equal(p->clients[call].texts, 4 * SERVE_RESUMES_MAX);
    pump_free(p);
}

static void test_an_upstreams_own_stream_is_resumed_by_its_own_id(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    const char *session = pump_session(p, pump_begin_new(p, 0, true));
    uint32_t held = hold(p, 1, session);
    struct ucall *u = stream_begins(p);
    assert_string_equal(u->text, "");
    pump_mark(p, u, "g7", 400);
    event(p, u, LOG("a"));
    pump_end(p, u, MESH_END_WHOLE, MESH_OK);
    uint32_t before = p->ucalls_count;
    pump_run(p, 390); /* as long as it asked for */
    assert_int_equal(p->ucalls_count, before);
    pump_run(p, 20);
    assert_int_equal(p->ucalls_count, before + 1);
    u = pump_last(p);
    assert_int_equal(u->want, MESH_LISTEN);
    assert_string_equal(u->text, "g7");
    pump_head(p, u, 200, MESH_FORM_SSE, MESH_UP_SESSION_SAME);
    event(p, u, LOG("b"));
    assert_heard(p, held, ".ab");
    assert_at(p, held, "0-1-2");
    /* refused: it is asked for anew, without the id that it does not know */
    pump_end(p, u, MESH_END_CUT, MESH_UPSTREAM_LOST);
    pump_run(p, 410);
    u = pump_last(p);
    assert_string_equal(u->text, "g7");
    pump_head(p, u, 400, MESH_FORM_RAW, MESH_UP_SESSION_SAME);
    pump_end(p, u, MESH_END_WHOLE, MESH_OK);
    pump_run(p, 410);
    u = pump_last(p);
    assert_string_equal(u->text, "");
    pump_head(p, u, 200, MESH_FORM_SSE, MESH_UP_SESSION_SAME);
    event(p, u, LOG("c"));
    assert_heard(p, held, ".abc");
    assert_true(p->clients[held].is_open);
    pump_free(p);
}

/* ---- slow readers --------------------------------------------------------------------------- */

static void test_a_reader_that_takes_nothing_for_half_a_minute_is_cut_and_may_resume(void **state)
{
    (void)state;
    for (int is_get = 0; is_get < 2; is_get++) {
        struct pump *p = pump_new(2, http);
        const char *session = pump_session(p, pump_begin_new(p, 0, true));
        uint32_t slow = is_get ? hold(p, 1, session) : ask(p, 1, session, CALL("1"));
        struct ucall *u = stream_begins(p);
        p->clients[slow].is_slow = true;
        event(p, u, LOG("a"));
        pump_run(p, CALL_STALL_MS - 100);
        event(p, u, LOG("b"));
        assert_int_equal(u->given, 0);
        pump_run(p, 200);
        assert_int_equal(u->given, u->brought); /* nobody will take it: it is in the log */
        assert_ended(p, slow, MESH_READER_SLOW);
        assert_int_equal(p->clients[slow].end, MESH_END_CUT);
        assert_false(u->is_cancelled); /* the request goes on */
        uint32_t rest = come_back(p, 0, session, slow);
        event(p, u, LOG("c"));
        assert_heard(p, rest, ".c");
        rest = resume(p, 0, session, is_get ? "0-1-0" : "1-1-0");
        assert_heard(p, rest, ".abc");
        pump_free(p);
    }
}

static void test_a_reader_that_takes_a_little_now_and_then_is_not_cut(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    const char *session = pump_session(p, pump_begin_new(p, 0, true));
    uint32_t slow = hold(p, 1, session);
    struct ucall *u = stream_begins(p);
    uint32_t idle = hold(p, 0, pump_session(p, pump_begin(p, 0, true)));
    p->clients[slow].is_slow = true;
    pump_run(p, 3 * CALL_STALL_MS); /* who has nothing to take is not slow */
    for (int n = 0; n < 10; n++)
        event(p, u, LOG("a"));
    for (int n = 0; n < 9; n++) {
        pump_run(p, CALL_STALL_MS - 1000);
        assert_true(p->clients[slow].is_open);
        pump_take(p, slow, strlen(LOG("a")));
        pump_run(p, 100);
    }
    pump_take(p, slow, p->clients[slow].untaken);
    pump_run(p, 3 * CALL_STALL_MS);
    assert_true(p->clients[slow].is_open);
    assert_true(p->clients[idle].is_open);
    assert_heard(p, slow, ".aaaaaaaaaa");
    pump_free(p);
}

/* ---- answers begun anew under one name ------------------------------------------------------ */

/* The owner forgot the exchange of a held stream whose link was lost for long. What the entry has
 * of the answer before is nothing of the next one, whenever the link goes again. */
static void test_a_stream_that_begins_anew_under_its_name_repeats_and_skips_nothing(void **state)
{
    (void)state;
    for (uint32_t moment = 0; moment < 12; moment++) {
        struct pump *p = pump_new(2, patient);
        const char *session = pump_session(p, pump_begin_new(p, 0, false));
        uint32_t held = hold(p, 1, session), done = 0;
        struct ucall *u = pump_last(p);
        for (int n = 0; n < 5; n++)
            say(p, u, LOG("a"));
        p->nodes[0].refuses = true;
        pump_cut(p, 0, 1);
        pump_run(p, CALL_DETACHED_MS + 2000);
        for (int n = 0; n < 5; n++)
            say(p, u, LOG("b"));
        p->nodes[0].refuses = false;
        for (int round = 0; round < 600; round++) {
            p->now_ms += 5;
            for (uint32_t n = 0; n < 2; n++) {
                mesh_now(p->nodes[n].mesh, p->now_ms);
                pump_drain(p, n);
            }
            for (uint32_t n = 0; n < p->conns_count; n++)
                for (int end = 0; end < 2; end++)
                    if (pump_deliver(p, &p->conns[n], end) && done++ == moment)
                        pump_cut(p, 0, 1);
        }
        pump_run(p, 5000);
        pump_cut(p, 0, 1); /* what counts as received is of the new answer alone */
        say(p, u, LOG("c"));
        pump_run(p, 3000);
        say(p, u, LOG("c"));
        assert_true(done > moment);
        assert_true(p->clients[held].is_open);
        char said[64];
        size_t length = 0; /* but for the marks, one at each beginning */
        for (const char *at = p->clients[held].heard; *at != '\0'; at++)
            if (*at != '.')
                said[length++] = *at;
        said[length] = '\0';
        assert_string_equal(said, "aaaaabbbbbcc");
        assert_int_equal(p->clients[held].heads, 1);
        pump_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_upstream_may_end_its_stream_and_answer_on_the_next),
        cmocka_unit_test(test_a_client_that_cannot_come_back_keeps_its_stream_meanwhile),
        cmocka_unit_test(test_the_rest_that_never_comes_is_an_error_on_the_stream),
        cmocka_unit_test(test_an_upstream_that_makes_progress_may_be_asked_as_often_as_it_likes),
        cmocka_unit_test(test_an_upstreams_own_stream_is_resumed_by_its_own_id),
        cmocka_unit_test(test_a_reader_that_takes_nothing_for_half_a_minute_is_cut_and_may_resume),
        cmocka_unit_test(test_a_reader_that_takes_a_little_now_and_then_is_not_cut),
        cmocka_unit_test(test_a_stream_that_begins_anew_under_its_name_repeats_and_skips_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
