/* Tests of copies.h: who has a session's record beside its owner, when, and that it is the same
 * one; and that nobody but its owner says what is in it. */
#define NODES_MAX 6
#include "mesh/wire/wire_record.h"
#include "tests/unit/copies_pump.h"

static void two(struct mesh_config *config)
{
    config->copies = 2;
}

static void one(struct mesh_config *config)
{
    config->copies = 1;
}

static void two_http(struct mesh_config *config)
{
    config->upstream = MESH_UP_HTTP;
    config->copies = 2;
}

static void short_lived(struct mesh_config *config)
{
    config->copies = 2;
    config->session_idle_ms = 40000;
}

/* A client asks for a session at `node`, and its server answers. */
static uint32_t begin_answered(struct pump *p, uint32_t node)
{
    uint32_t client = pump_ask(p, node, MESH_CALL, NULL, INITIALIZE, 0);
    pump_settle(p);
    pump_say(p, pump_last(p), RESULT("0"));
    pump_settle(p);
    return client;
}

/* The node that a session of `owner` has its one copy at. */
static uint32_t holder_at(const struct pump *p, uint32_t owner, const char *session)
{
    for (uint32_t n = 0; n < p->nodes_count; n++)
        if (n != owner && copy_at(p, n, session) != NULL)
            return n;
    fail_msg("nobody has a copy");
    return 0;
}

/* ---- before initialize is answered ----------------------------------------------------------- */

static void test_initialize_is_answered_when_others_have_the_session(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        struct pump *p = pump_new(3, k == 0 ? two : two_http);
        const char *session = pump_session(p, pump_begin(p, 1, k == 1));
        assert_copied(p, 1, 0, session);
        assert_copied(p, 1, 2, session);
        assert_int_equal(copies_whole(core_of(p, 1), owned_at(p, 1, session)), 2);
        assert_int_equal(stats_at(p, 1).sessions_alone, 0);
        assert_int_equal(stats_at(p, 0).copies_held, 1);
        pump_free(p);
    }
}

static void test_the_answer_to_initialize_waits_for_the_first_copy(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, two);
    (void)pump_begin(p, 0, false); /* opens the link */
    set_stuck(p, 0, 1, true);
    uint32_t client = begin_answered(p, 0);
    pump_run(p, 600);
    assert_int_equal(p->clients[client].heads, 0);
    set_stuck(p, 0, 1, false);
    pump_settle(p);
    assert_ended(p, client, MESH_OK);
    assert_int_equal(stats_at(p, 0).sessions_alone, 0);
    assert_copied(p, 0, 1, pump_session(p, client));
    pump_free(p);
}

static void test_after_a_second_initialize_is_answered_without_a_copy(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, two);
    (void)pump_begin(p, 0, false);
    set_stuck(p, 0, 1, true);
    uint32_t client = begin_answered(p, 0);
    pump_run(p, COPIES_ALONE_MS - 1);
    assert_int_equal(p->clients[client].heads, 0);
    pump_run(p, 1);
    assert_ended(p, client, MESH_OK);
    assert_int_equal(stats_at(p, 0).sessions_alone, 1);
    set_stuck(p, 0, 1, false); /* it gets its copy after all */
    pump_run(p, 100);
    assert_copied(p, 0, 1, pump_session(p, client));
    pump_free(p);
}

static void test_alone_initialize_is_answered_at_once(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, two);
    (void)pump_begin(p, 0, false);
    assert_int_equal(stats_at(p, 0).sessions_alone, 1);
    pump_free(p);
}

static void test_without_copies_nothing_is_sent_and_nothing_waits(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    core_of(p, 0)->config.copies = 0;
    const char *session = pump_session(p, pump_begin(p, 0, false));
    pump_run(p, 60000);
    assert_int_equal(copies_of(p, session), 0);
    assert_int_equal(stats_at(p, 0).sessions_alone, 0);
    pump_free(p);
}

static void test_a_holder_that_is_silent_is_doubled_by_the_next(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, one);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    uint32_t first = holder_at(p, 0, session), next = 3 - first;
    /* sessions of one home have eight shards: one that has the same first candidate */
    for (int n = 0; n < 64; n++) {
        set_stuck(p, 0, first, true);
        uint32_t client = begin_answered(p, 0);
        if (!p->clients[client].is_open) {
            set_stuck(p, 0, first, false);
            pump_run(p, 2000);
            continue; /* the other one was asked */
        }
        pump_run(p, COPIES_DOUBLE_MS - 1);
        assert_int_equal(p->clients[client].heads, 0);
        pump_run(p, 1);
        assert_ended(p, client, MESH_OK);
        session = pump_session(p, client);
        assert_copied(p, 0, next, session);
        /* the first one comes round: the second is not needed any more */
        set_stuck(p, 0, first, false);
        pump_run(p, 1000);
        assert_copied(p, 0, first, session);
        assert_null(copy_at(p, next, session));
        assert_int_equal(stats_at(p, 0).sessions_alone, 0);
        pump_free(p);
        return;
    }
    fail_msg("no session had that first candidate");
}

static void test_a_holder_without_room_refuses_and_the_next_is_asked(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, one);
    core_of(p, 1)->config.memory_max = core_of(p, 2)->config.memory_max = 0;
    uint32_t alone = begin_answered(p, 0);
    assert_true(p->clients[alone].is_open); /* both have refused: perhaps somebody else comes */
    assert_int_equal(stats_at(p, 0).copies_refused, 2);
    pump_run(p, COPIES_ALONE_MS);
    assert_ended(p, alone, MESH_OK);
    core_of(p, 2)->config.memory_max = 1 << 20;
    uint32_t client = begin_answered(p, 0);
    assert_ended(p, client, MESH_OK);
    assert_copied(p, 0, 2, pump_session(p, client));
    /* in time the one that was refused is tried again */
    core_of(p, 1)->config.memory_max = 1 << 20;
    pump_run(p, COPIES_REFUSED_MS + 2000);
    assert_int_equal(copies_of(p, pump_session(p, alone)), 1);
    assert_int_equal(copies_of(p, pump_session(p, client)), 1);
    pump_free(p);
}

/* More of them than there are places for holders: nobody is asked again in another's place. */
static void test_where_all_refuse_nobody_is_asked_twice(void **state)
{
    (void)state;
    struct pump *p = pump_new(COPIES_HOLDERS_MAX + 2, two);
    for (uint32_t n = 1; n < p->nodes_count; n++)
        core_of(p, n)->config.memory_max = 0;
    (void)begin_answered(p, 0);
    pump_run(p, 20000);
    assert_int_equal(stats_at(p, 0).copies_refused, COPIES_HOLDERS_MAX);
    pump_free(p);
}

static void test_a_handshake_that_is_too_large_is_not_copied(void **state)
{
    (void)state;
    static char result[RECORD_HANDSHAKE_MAX + 100];
    struct pump *p = pump_new(2, two);
    snprintf(result, sizeof result, "{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":{\"x\":\"%0*d\"}}",
             (int)RECORD_HANDSHAKE_MAX, 0);
    const char *session = pump_session(p, pump_begin_with(p, 0, false, INITIALIZE, result));
    pump_run(p, 40000);
    assert_int_equal(copies_of(p, session), 0);
    assert_int_equal(stats_at(p, 0).handshakes_not_kept, 1);
    assert_ended(p, ask(p, 1, session, "{\"jsonrpc\":\"2.0\",\"method\":\"x\"}"), MESH_OK);
    pump_free(p);
}

/* ---- what is in it --------------------------------------------------------------------------- */

static void test_equal_handshakes_are_kept_once(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, two);
    (void)pump_begin(p, 0, false);
    size_t bytes = core_of(p, 1)->sessions.interns.bytes;
    assert_int_equal(bytes, sizeof INITIALIZE - 1 + sizeof RESULT("0") - 1);
    for (int n = 0; n < 10; n++)
        (void)pump_begin(p, 0, false);
    assert_int_equal(core_of(p, 0)->sessions.interns.bytes, bytes);
    assert_int_equal(core_of(p, 1)->sessions.interns.bytes, bytes);
    pump_free(p);
}

static void test_what_is_said_on_the_sessions_own_stream_is_copied(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct ucall *u = pump_last(p);
    for (int n = 0; n < 20; n++)
        say(p, u, n % 2 ? LOG("a") : note(5000));
    say(p, u, SAMPLE("\"q\""));
    pump_run(p, COPIES_ACK_MS);
    assert_copied(p, 0, 1, session);
    assert_copied(p, 0, 2, session);
    assert_int_equal(copy_at(p, 1, session)->own->log.number, 21);
    assert_int_equal(copy_at(p, 1, session)->questions_count, 1);
    assert_int_equal(copies_whole(core_of(p, 0), owned_at(p, 0, session)), 2);
    /* the client answers: the question is none any more */
    assert_ended(p, ask(p, 2, session, RESULT("\"q\"")), MESH_OK);
    assert_int_equal(copy_at(p, 1, session)->questions_count, 0);
    assert_copied(p, 0, 1, session);
    assert_true(stats_at(p, 1).copies_bytes > 50000);
    assert_int_equal(stats_at(p, 0).copies_bytes, 0);
    pump_free(p);
}

static void test_streams_of_requests_are_copied_from_their_first_to_their_last_event(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, two_http);
    const char *session = pump_session(p, pump_begin_new(p, 0, true));
    uint32_t call = ask(p, 1, session, CALL("\"7\"")), read = ask(p, 1, session, LIST("8"));
    struct ucall *first = &p->ucalls[p->ucalls_count - 2], *second = pump_last(p);
    pump_head(p, first, 200, MESH_FORM_SSE, MESH_UP_SESSION_SAME);
    pump_head(p, second, 200, MESH_FORM_SSE, MESH_UP_SESSION_SAME);
    event(p, first, LOG("a"));
    event(p, second, LOG("b"));
    assert_copied(p, 0, 1, session);
    struct event_stream *stream = event_stream_find(copy_at(p, 1, session), 1);
    assert_true(slice_is(stream->request, "\"7\""));
    assert_false(stream->is_safe || stream->is_ended);
    stream = event_stream_find(copy_at(p, 1, session), 2);
    assert_true(slice_is(stream->request, "8"));
    assert_true(stream->is_safe);
    event(p, first, RESULT("\"7\""));
    pump_end(p, first, MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
    assert_ended(p, call, MESH_OK);
    assert_true(p->clients[read].is_open);
    assert_copied(p, 0, 1, session);
    stream = event_stream_find(copy_at(p, 1, session), 1);
    assert_true(stream->is_ended);
    assert_int_equal(stream->request.length, 0);
    pump_free(p);
}

/* Of two requests the later one's stream is there when the earlier one comes back to its own, which
 * a former owner had. */
static void test_a_stream_that_stands_behind_later_ones_is_copied(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, NULL);
    const char *session = pump_session(p, pump_begin_new(p, 0, false));
    (void)pump_ask(p, 0, MESH_CALL, session, CALL("1"), 0);
    (void)pump_ask(p, 0, MESH_CALL, session, CALL("2"), 0);
    pump_settle(p);
    struct core *core = core_of(p, 0);
    struct session *owned = owned_at(p, 0, session);
    struct list *first = list_first(&upstream_at(core, owned->up)->calls);
    struct call *earlier = container_of(first, struct call, by_up);
    struct call *later = container_of(first->next, struct call, by_up);
    assert_non_null(event_stream_open(core, owned, later, 7));
    assert_non_null(event_stream_open(core, owned, earlier, 3));
    struct bytes *record = record_of(core, owned, RECORD_WHOLE);
    assert_int_equal(record_read(core_of(p, 1), copy_at(p, 1, session), RECORD_WHOLE,
                                 slice_of(record, 0, record->length), p->now_ms),
                     0);
    assert_non_null(event_stream_find(copy_at(p, 1, session), 3));
    assert_non_null(event_stream_find(copy_at(p, 1, session), 7));
    bytes_unref(record);
    pump_free(p);
}

static void test_requests_that_are_answered_by_json_cause_no_traffic_of_copies(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    uint64_t version = owned_at(p, 0, session)->version;
    for (int n = 0; n < 5; n++) {
        uint32_t call = ask(p, 0, session, CALL("1"));
        pump_say(p, pump_last(p), RESULT("1"));
        pump_settle(p);
        assert_ended(p, call, MESH_OK);
    }
    assert_int_equal(owned_at(p, 0, session)->version, version);
    assert_int_equal(copy_at(p, 1, session)->version, version);
    pump_free(p);
}

static void test_of_an_event_too_large_only_its_place_is_copied(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct ucall *u = pump_last(p);
    say(p, u, LOG("a"));
    say(p, u, note(RECORD_EVENT_MAX + 100));
    struct event_stream *own = copy_at(p, 1, session)->own;
    assert_int_equal(own->log.number, 2);
    assert_int_equal(own->log.count, 0);
    say(p, u, LOG("b"));
    assert_copied(p, 0, 1, session);
    assert_int_equal(own->log.number, 3);
    assert_int_equal(own->log.count, 1);
    pump_free(p);
}

/* ---- lost and found -------------------------------------------------------------------------- */

static void test_after_a_lost_link_the_copy_is_made_whole_again(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct ucall *u = pump_last(p);
    say(p, u, LOG("a"));
    pump_run(p, COPIES_ACK_MS);
    uint64_t resent = stats_at(p, 0).copies_resent;
    set_stuck(p, 0, 1, true);
    say(p, u, LOG("b"));
    say(p, u, LOG("c"));
    assert_int_equal(copies_whole(core_of(p, 0), owned_at(p, 0, session)), 0);
    pump_cut(p, 0, 1);
    pump_run(p, 1500);
    assert_copied(p, 0, 1, session);
    assert_int_equal(copies_whole(core_of(p, 0), owned_at(p, 0, session)), 1);
    assert_int_equal(stats_at(p, 0).copies_resent, resent + 1);
    /* with nothing on its way a lost link costs nothing */
    pump_cut(p, 0, 1);
    pump_run(p, 1500);
    assert_int_equal(stats_at(p, 0).copies_resent, resent + 1);
    say(p, u, LOG("d"));
    assert_copied(p, 0, 1, session);
    pump_free(p);
}

static void test_a_gap_is_noticed_and_filled(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct ucall *u = pump_last(p);
    say(p, u, LOG("a"));
    struct session *copy = copy_at(p, 1, session);
    copy->version--; /* as if it had not come */
    event_stream_free_all(core_of(p, 1), copy);
    say(p, u, LOG("b"));
    pump_run(p, 100);
    assert_copied(p, 0, 1, session);
    assert_int_equal(copy_at(p, 1, session)->own->log.count, 2);
    pump_free(p);
}

static void test_a_copy_that_is_lost_is_missed_by_the_next_comparison(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    session_free(core_of(p, 1), copy_at(p, 1, session));
    pump_run(p, COPIES_DIGEST_MS - 1000);
    assert_int_equal(copies_of(p, session), 0);
    pump_run(p, 1200);
    assert_copied(p, 0, 1, session);
    pump_free(p);
}

static void test_a_copy_that_its_owner_knows_nothing_of_is_not_kept(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct session *owned = owned_at(p, 0, session);
    copies_leave(core_of(p, 0), owned); /* it has no copies, as far as its owner knows */
    memset(owned->holders, 0, sizeof owned->holders);
    owned->version = 0;
    pump_run(p, COPIES_STALE_MS - 1000);
    assert_int_equal(copies_of(p, session), 1);
    pump_run(p, COPIES_DIGEST_MS + 2000);
    assert_int_equal(copies_of(p, session), 0);
    pump_free(p);
}

/* ---- where it is ----------------------------------------------------------------------------- */

static void test_when_a_holder_dies_another_gets_the_record(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, one);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    uint32_t first = holder_at(p, 0, session), next = 3 - first;
    assert_null(copy_at(p, next, session));
    pump_kill(p, first);
    pump_run(p, 15000);
    assert_copied(p, 0, next, session);
    /* it comes back, is the first candidate again, and the other one's copy goes */
    pump_start(p, first);
    pump_join(p, first);
    pump_run(p, 10000);
    assert_copied(p, 0, first, session);
    assert_null(copy_at(p, next, session));
    pump_free(p);
}

static void test_who_begins_to_serve_gets_what_it_is_a_candidate_for(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, two);
    mesh_serving(p->nodes[2].mesh, false, p->now_ms);
    pump_run(p, 2000);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    assert_null(copy_at(p, 2, session));
    mesh_serving(p->nodes[2].mesh, true, p->now_ms);
    pump_run(p, 2000);
    assert_copied(p, 0, 2, session);
    pump_free(p);
}

/* Its server is gone, and there is no other candidate: it goes on as a holder. */
static void test_who_serves_no_more_keeps_its_copy_where_too_few_serve(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    pump_run(p, 1000);
    assert_copied(p, 0, 2, session);
    mesh_serving(p->nodes[2].mesh, false, p->now_ms);
    pump_run(p, 3000);
    assert_copied(p, 0, 1, session);
    assert_copied(p, 0, 2, session);
    pump_free(p);
}

/* All places are taken, by holders that are not wanted any more: they go one by one. */
static void test_where_all_places_are_taken_there_are_always_enough_copies(void **state)
{
    (void)state;
    struct pump *p = pump_new(COPIES_HOLDERS_MAX + 2, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct session *owned = owned_at(p, 0, session);
    uint32_t wanted[2], count = 0, at = 0;
    for (uint32_t n = 1; n < p->nodes_count; n++)
        if (copy_at(p, n, session) != NULL && count < 2)
            wanted[count++] = n;
    memset(owned->holders, 0, sizeof owned->holders);
    for (uint32_t n = 1; n < p->nodes_count && at < COPIES_HOLDERS_MAX; n++)
        if (n != wanted[0]) { /* the others have it, and so has one of those that are to have it */
            if (copy_at(p, n, session) == NULL)
                assert_int_equal(
                    copies_send(core_of(p, 0), owned, core_self(core_of(p, n)), p->now_ms), 0);
            owned->holders[at++] = (struct holder){.peer = core_self(core_of(p, n)),
                                                   .sent = owned->version,
                                                   .acked = owned->version,
                                                   .whole = owned->version};
        }
    session_free(core_of(p, wanted[0]), copy_at(p, wanted[0], session));
    pump_settle(p);
    assert_int_equal(copies_of(p, session), COPIES_HOLDERS_MAX);
    copies_on_view(core_of(p, 0), p->now_ms);
    for (int n = 0; n < 200; n++) {
        pump_run(p, 10);
        assert_true(copies_of(p, session) >= 2);
    }
    assert_int_equal(copies_of(p, session), 2);
    assert_copied(p, 0, wanted[0], session);
    assert_copied(p, 0, wanted[1], session);
    pump_free(p);
}

/* Node 0's session has a second holder, which has its record. */
static void give_another(struct pump *p, struct session *owned, struct peer_id peer)
{
    assert_int_equal(copies_send(core_of(p, 0), owned, peer, p->now_ms), 0);
    owned->holders[1] = (struct holder){
        .peer = peer, .sent = owned->version, .acked = owned->version, .whole = owned->version};
}

/* One of which nobody knows whether it lives is no reason to do without another. */
static void test_a_copy_is_kept_while_one_that_should_do_cannot_be_reached(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, one);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    uint32_t first = holder_at(p, 0, session), other = 3 - first;
    struct session *owned = owned_at(p, 0, session);
    struct peer_id peers[] = {core_self(core_of(p, first)), core_self(core_of(p, other))};
    pump_part(p, 0, first, true);
    evidence_on_doubt(core_of(p, 0), peers[0], p->now_ms);
    pump_run(p, EVIDENCE_PROBE_MS + 10);
    assert_false(owner_can_be_asked(core_of(p, 0), peers[0], p->now_ms));
    assert_true(core_is_living(core_of(p, 0), peers[0]));
    give_another(p, owned, peers[1]);
    copies_on_view(core_of(p, 0), p->now_ms);
    pump_run(p, 200);
    assert_non_null(copy_at(p, other, session));
    pump_part(p, 0, first, false);
    pump_run(p, 3000);
    assert_true(owner_can_be_asked(core_of(p, 0), peers[0], p->now_ms));
    copies_on_view(core_of(p, 0), p->now_ms);
    pump_run(p, 200);
    assert_null(copy_at(p, other, session));
    assert_copied(p, 0, first, session);
    pump_free(p);
}

/* It has said nothing for a while, having nothing to say: it may have died meanwhile. */
static void test_a_copy_is_kept_until_one_that_should_do_has_answered_again(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, one);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    uint32_t first = holder_at(p, 0, session), other = 3 - first;
    struct session *owned = owned_at(p, 0, session);
    struct peer_id peers[] = {core_self(core_of(p, first)), core_self(core_of(p, other))};
    set_stuck(p, 0, first, true);
    give_another(p, owned, peers[1]);
    owned->copying.wanted = 3; /* until now */
    copies_on_view(core_of(p, 0), p->now_ms);
    pump_run(p, 200);
    assert_true(owner_can_be_asked(core_of(p, 0), peers[0], p->now_ms));
    assert_non_null(copy_at(p, other, session));
    set_stuck(p, 0, first, false);
    copies_on_view(core_of(p, 0), p->now_ms);
    pump_run(p, 8000);
    assert_null(copy_at(p, other, session));
    assert_copied(p, 0, first, session);
    pump_free(p);
}

static void test_many_sessions_move_at_a_bounded_rate(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, two);
    const char *session = NULL;
    for (int n = 0; n < 150; n++)
        session = pump_session(p, pump_begin(p, 0, false));
    pump_kill(p, 2);
    pump_run(p, 15000);
    pump_start(p, 2);
    pump_join(p, 2);
    uint32_t held = 0, most = 0;
    for (int n = 0; n < 1000; n++) {
        pump_run(p, 20);
        uint32_t more = stats_at(p, 2).copies_held - held;
        held += more;
        most = more > most ? more : most;
    }
    assert_int_equal(held, 150);
    assert_true(most <= 61); /* 100 ms may be made up for, and 20 go by */
    assert_copied(p, 0, 2, session);
    pump_free(p);
}

/* ---- its end --------------------------------------------------------------------------------- */

static void test_a_deleted_session_is_deleted_at_all_holders(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    assert_int_equal(copies_of(p, session), 2);
    uint32_t client = pump_ask(p, 1, MESH_DELETE, session, "", 0);
    pump_settle(p);
    assert_ended(p, client, MESH_OK);
    assert_int_equal(copies_of(p, session), 0);
    pump_run(p, 1000);
    assert_quiet(p, 0);
    pump_free(p);
}

/* Two owners after a split, of which one heard the client's DELETE. */
static void test_a_delete_beats_every_epoch_and_no_other_end_does(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct session *copy = copy_at(p, 1, session);
    copy->epoch.counter = 5; /* it went on elsewhere */
    struct wire_message m = {.kind = WIRE_ENDED, .session = copy->id, .epoch = {4, {1, 1}}};
    tombs_on_ended(core_of(p, 1), core_self(core_of(p, 1)), &m, p->now_ms);
    m.epoch.counter = 5; /* a rival's */
    tombs_on_ended(core_of(p, 1), core_self(core_of(p, 1)), &m, p->now_ms);
    assert_int_equal(copies_of(p, session), 1);
    tombs_on_ended(core_of(p, 0), core_self(core_of(p, 0)), &m, p->now_ms);
    assert_non_null(owned_at(p, 0, session));
    m.is_ended = true;
    tombs_on_ended(core_of(p, 1), core_self(core_of(p, 1)), &m, p->now_ms);
    assert_int_equal(copies_of(p, session), 0);
    /* its owner finds out when it speaks of it */
    say(p, pump_last(p), LOG("a"));
    assert_null(owned_at(p, 0, session));
    assert_ended(p, ask(p, 0, session, CALL("1")), MESH_SESSION_UNKNOWN);
    assert_ended(p, ask(p, 1, session, CALL("1")), MESH_SESSION_UNKNOWN);
    pump_free(p);
}

static void test_an_end_in_an_epoch_that_is_over_is_forgotten(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct session *owned = owned_at(p, 0, session);
    session_free(core_of(p, 1), copy_at(p, 1, session));
    tombs_add(core_of(p, 1), &owned->id, owned->epoch, false, p->now_ms);
    say(p, pump_last(p), LOG("a"));
    assert_int_equal(copies_of(p, session), 0);
    owned->epoch.counter = 2;
    copies_begin(core_of(p, 0), owned, p->now_ms);
    pump_settle(p);
    assert_copied(p, 0, 1, session);
    assert_false(tombs_has(core_of(p, 1), &owned->id, p->now_ms));
    pump_free(p);
}

static void test_a_copy_of_a_dead_owner_runs_down_by_its_holders_clock(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, short_lived);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    pump_run(p, 10000);
    pump_kill(p, 0);
    pump_run(p, 500); /* nobody knows yet that it died, and nobody asks */
    assert_int_equal(copies_of(p, session), 1);
    p->now_ms += 29600; /* we stood still: before anything else is done, its time is over */
    serve_now(core_of(p, 1), p->now_ms - 101);
    assert_int_equal(copies_of(p, session), 1);
    serve_now(core_of(p, 1), p->now_ms);
    assert_int_equal(copies_of(p, session), 0);
    assert_int_equal(stats_at(p, 1).copies_held, 0);
    pump_free(p);
}

static void test_a_session_in_use_lives_on_at_its_holders(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, short_lived);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    for (int n = 0; n < 10; n++) {
        pump_run(p, 20000);
        (void)ask(p, 0, session, "{\"jsonrpc\":\"2.0\",\"method\":\"x\"}");
        assert_int_equal(copies_of(p, session), 1);
    }
    uint32_t held = hold(p, 0, session);
    pump_run(p, 200000);
    assert_true(p->clients[held].is_open);
    assert_int_equal(copies_of(p, session), 1);
    pump_free(p);
}

static void two_that_expire(struct mesh_config *config)
{
    two(config);
    config->session_idle_ms = COPIES_ALONE_MS / 2;
}

static void test_an_answer_that_waits_for_a_copy_is_released_when_its_session_ends(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, two_that_expire);
    (void)pump_begin(p, 0, false);
    set_stuck(p, 0, 1, true);
    uint32_t client = begin_answered(p, 0);
    assert_true(p->clients[client].is_open);
    pump_run(p, COPIES_ALONE_MS / 2 + 10);
    assert_ended(p, client, MESH_OK);
    pump_free(p);
}

/* ---- who may say so -------------------------------------------------------------------------- */

static void tell(struct pump *p, uint32_t from, uint32_t to, const struct wire_message *m)
{
    assert_true(links_tell(core_of(p, from)->links, core_self(core_of(p, to)), &p->nodes[to].addr,
                           m, p->now_ms) >= 0);
    pump_settle(p);
}

static struct wire_message change_of(const struct session *session, uint64_t version)
{
    struct wire_message m = {.kind = WIRE_COPY_EVENT, .session = session->id};
    m.epoch = session->epoch;
    m.payload = slice_text(LOG("x"));
    m.copy.version = version;
    m.copy.number = 1;
    return m;
}

static void test_nobody_but_its_owner_changes_a_copy(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct session *copy = copy_at(p, 1, session);
    struct wire_message m = change_of(copy, copy->version + 1);
    tell(p, 2, 1, &m); /* in its owner's epoch, from another peer */
    m.epoch.owner = core_self(core_of(p, 2));
    tell(p, 2, 1, &m); /* in an epoch of its own, which is no whole record */
    m.kind = WIRE_COPY;
    m.copy.parts = 0; /* forget it */
    tell(p, 2, 1, &m);
    assert_ptr_equal(copy_at(p, 1, session), copy);
    assert_null(copy->own);
    assert_copied(p, 0, 1, session);
    /* its owner may */
    m = change_of(copy, copy->version + 1);
    tell(p, 0, 1, &m);
    assert_int_equal(copy->own->log.number, 1);
    pump_free(p);
}

static void test_what_is_to_be_forgotten_is_what_was_had_then(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct session *copy = copy_at(p, 1, session);
    struct wire_message m = change_of(copy, copy->version - 1);
    m.kind = WIRE_COPY;
    m.payload = (struct slice){0};
    m.copy.number = 0;
    tell(p, 0, 1, &m); /* said before it was given what it has now */
    assert_ptr_equal(copy_at(p, 1, session), copy);
    m.copy.version++;
    tell(p, 0, 1, &m);
    assert_null(copy_at(p, 1, session));
    pump_free(p);
}

static void test_who_forgets_a_copy_for_a_rival_does_not_count_as_having_it(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct session *owned = owned_at(p, 0, session);
    struct peer_id holder = core_self(core_of(p, 1));
    struct wire_message m = {.kind = WIRE_COPY, .session = owned->id};
    m.epoch = (struct mesh_epoch){owned->epoch.counter + 1, core_self(core_of(p, 2))};
    m.copy.version = owned->version;
    set_stuck(p, 0, 2, true); /* the two owners do not hear each other */
    assert_true(copies_is_whole_at(owned, holder));
    tell(p, 2, 1, &m);
    pump_settle(p);
    assert_null(copy_at(p, 1, session));
    assert_ptr_equal(owned_at(p, 0, session), owned);
    assert_false(copies_is_whole_at(owned, holder));
    pump_free(p);
}

static void test_an_epoch_that_is_over_is_refused_and_one_far_ahead_is_ignored(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct session *copy = copy_at(p, 1, session);
    struct bytes *record = record_write(core_of(p, 0), owned_at(p, 0, session), RECORD_WHOLE, 0);
    copy->promised = (struct mesh_epoch){5, core_self(core_of(p, 1))};
    say(p, pump_last(p), LOG("a"));
    assert_null(copy->own); /* nothing of its owner's after another was promised it */
    struct wire_message m = {.kind = WIRE_COPY, .session = copy->id};
    m.payload = slice_of(record, 0, record->length);
    m.copy.parts = RECORD_WHOLE;
    m.copy.version = 1;
    m.epoch =
        (struct mesh_epoch){copy->epoch.counter + COPIES_EPOCHS_JUMP + 1, core_self(core_of(p, 0))};
    tell(p, 0, 1, &m);
    assert_int_equal(copy->epoch.counter, m.epoch.counter - COPIES_EPOCHS_JUMP - 1);
    m.epoch.counter--;
    tell(p, 0, 1, &m);
    assert_int_equal(copy->epoch.counter, m.epoch.counter);
    bytes_unref(record);
    pump_free(p);
}

static void test_an_id_that_is_none_of_ours_is_not_kept(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct session *owned = owned_at(p, 0, session);
    struct bytes *record = record_write(core_of(p, 0), owned, RECORD_WHOLE, 0);
    struct wire_message m = {.kind = WIRE_COPY, .session = owned->id, .epoch = owned->epoch};
    m.payload = slice_of(record, 0, record->length);
    m.copy.parts = RECORD_WHOLE;
    m.copy.version = 1;
    m.session.bytes[12] ^= 1; /* the tag does not fit it */
    tell(p, 0, 1, &m);
    assert_int_equal(stats_at(p, 1).copies_held, 1);
    bytes_unref(record);
    pump_free(p);
}

static void test_a_newer_record_is_taken_from_whoever_has_it(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct ucall *u = pump_last(p);
    set_stuck(p, 0, 2, true);
    say(p, u, LOG("a"));
    struct session *copy = copy_at(p, 1, session);
    assert_int_equal(copy_at(p, 2, session)->version + 1, copy->version);
    assert_int_equal(copies_send(core_of(p, 1), copy, core_self(core_of(p, 2)), p->now_ms), 0);
    pump_settle(p);
    assert_copied(p, 0, 2, session);
    /* an older one is not */
    assert_int_equal(
        copies_send(core_of(p, 2), copy_at(p, 2, session), core_self(core_of(p, 1)), p->now_ms), 0);
    pump_settle(p);
    assert_copied(p, 0, 1, session);
    pump_free(p);
}

static void test_a_holder_that_has_less_than_it_said_is_given_it_again(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct session *owned = owned_at(p, 0, session);
    uint8_t bytes[WIRE_ENTRY_BYTES];
    struct wire_entry entry = {.session = owned->id, .epoch = 1, .version = 77};
    struct wire_message m = {.kind = WIRE_COPIED};
    wire_entry_write(&entry, bytes);
    m.payload = slice_borrow(bytes, sizeof bytes);
    tell(p, 1, 0, &m); /* more than was sent: it says nothing */
    assert_int_equal(owned->holders[0].acked, owned->version);
    entry.flags = WIRE_ENTRY_LACKS;
    wire_entry_write(&entry, bytes);
    session_free(core_of(p, 1), copy_at(p, 1, session));
    tell(p, 1, 0, &m);
    pump_run(p, 100);
    assert_copied(p, 0, 1, session);
    m.payload = slice_borrow(bytes, sizeof bytes - 1);
    tell(p, 1, 0, &m);
    pump_free(p);
}

static void test_what_a_holder_had_before_it_is_none_any_more_says_nothing(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, two);
    const char *session = pump_session(p, pump_begin(p, 0, false));
    struct session *owned = owned_at(p, 0, session);
    uint8_t bytes[WIRE_ENTRY_BYTES];
    struct wire_entry entry = {.session = owned->id, .epoch = 1, .version = owned->version};
    struct wire_message m = {.kind = WIRE_COPIED};
    m.payload = slice_borrow(bytes, sizeof bytes);
    struct peer_id holder = core_self(core_of(p, 1));
    for (int n = 0; n < 2; n++) {
        entry.version = owned->version;
        entry.flags = n == 0 ? 0 : WIRE_ENTRY_LACKS;
        set_stuck(p, 0, 1, true);
        if (n == 0) /* it was told to forget it, and is wanted again */
            memset(owned->holders, 0, sizeof owned->holders);
        wire_entry_write(&entry, bytes);
        copies_on_message(core_of(p, 0), holder, &m, p->now_ms);
        copies_on_view(core_of(p, 0), p->now_ms);
        pump_run(p, 200);
        entry.flags = 0; /* said before, and late */
        wire_entry_write(&entry, bytes);
        copies_on_message(core_of(p, 0), holder, &m, p->now_ms);
        assert_false(copies_is_whole_at(owned, holder));
        assert_int_equal(owned->holders[0].acked, 0);
        set_stuck(p, 0, 1, false);
        pump_settle(p);
        assert_true(copies_is_whole_at(owned, holder));
        assert_copied(p, 0, 1, session);
    }
    pump_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_initialize_is_answered_when_others_have_the_session),
        cmocka_unit_test(test_the_answer_to_initialize_waits_for_the_first_copy),
        cmocka_unit_test(test_after_a_second_initialize_is_answered_without_a_copy),
        cmocka_unit_test(test_alone_initialize_is_answered_at_once),
        cmocka_unit_test(test_without_copies_nothing_is_sent_and_nothing_waits),
        cmocka_unit_test(test_a_holder_that_is_silent_is_doubled_by_the_next),
        cmocka_unit_test(test_a_holder_without_room_refuses_and_the_next_is_asked),
        cmocka_unit_test(test_where_all_refuse_nobody_is_asked_twice),
        cmocka_unit_test(test_a_handshake_that_is_too_large_is_not_copied),
        cmocka_unit_test(test_equal_handshakes_are_kept_once),
        cmocka_unit_test(test_what_is_said_on_the_sessions_own_stream_is_copied),
        cmocka_unit_test(test_streams_of_requests_are_copied_from_their_first_to_their_last_event),
        cmocka_unit_test(test_a_stream_that_stands_behind_later_ones_is_copied),
        cmocka_unit_test(test_requests_that_are_answered_by_json_cause_no_traffic_of_copies),
        cmocka_unit_test(test_of_an_event_too_large_only_its_place_is_copied),
        cmocka_unit_test(test_after_a_lost_link_the_copy_is_made_whole_again),
        cmocka_unit_test(test_a_gap_is_noticed_and_filled),
        cmocka_unit_test(test_a_copy_that_is_lost_is_missed_by_the_next_comparison),
        cmocka_unit_test(test_a_copy_that_its_owner_knows_nothing_of_is_not_kept),
        cmocka_unit_test(test_when_a_holder_dies_another_gets_the_record),
        cmocka_unit_test(test_who_begins_to_serve_gets_what_it_is_a_candidate_for),
        cmocka_unit_test(test_who_serves_no_more_keeps_its_copy_where_too_few_serve),
        cmocka_unit_test(test_where_all_places_are_taken_there_are_always_enough_copies),
        cmocka_unit_test(test_a_copy_is_kept_while_one_that_should_do_cannot_be_reached),
        cmocka_unit_test(test_a_copy_is_kept_until_one_that_should_do_has_answered_again),
        cmocka_unit_test(test_many_sessions_move_at_a_bounded_rate),
        cmocka_unit_test(test_a_deleted_session_is_deleted_at_all_holders),
        cmocka_unit_test(test_a_delete_beats_every_epoch_and_no_other_end_does),
        cmocka_unit_test(test_an_end_in_an_epoch_that_is_over_is_forgotten),
        cmocka_unit_test(test_a_copy_of_a_dead_owner_runs_down_by_its_holders_clock),
        cmocka_unit_test(test_a_session_in_use_lives_on_at_its_holders),
        cmocka_unit_test(test_an_answer_that_waits_for_a_copy_is_released_when_its_session_ends),
        cmocka_unit_test(test_nobody_but_its_owner_changes_a_copy),
        cmocka_unit_test(test_what_is_to_be_forgotten_is_what_was_had_then),
        cmocka_unit_test(test_who_forgets_a_copy_for_a_rival_does_not_count_as_having_it),
        cmocka_unit_test(test_an_epoch_that_is_over_is_refused_and_one_far_ahead_is_ignored),
        cmocka_unit_test(test_an_id_that_is_none_of_ours_is_not_kept),
        cmocka_unit_test(test_a_newer_record_is_taken_from_whoever_has_it),
        cmocka_unit_test(test_a_holder_that_has_less_than_it_said_is_given_it_again),
        cmocka_unit_test(test_what_a_holder_had_before_it_is_none_any_more_says_nothing),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
