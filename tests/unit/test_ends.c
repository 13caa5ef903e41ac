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

/* The GET of a client of HTTP+SSE that goes on without initialize (mcp.md, section 2.3). */
static uint32_t stream_again(struct pump *p, uint32_t node)
{
    struct bytes *body = pump_copy(INITIALIZE, strlen(INITIALIZE));
    struct mesh_request r = {.want = MESH_SSE, .front = MESH_FRONT_SSE};
    struct client *c = &p->clients[p->clients_count];
    r.body = slice_of(body, 0, body->length);
    rpc_read(&r.rpc, NULL, body->data, body->length);
    c->node = node;
    c->handle = mesh_open(p->nodes[node].mesh, &r, p->now_ms);
    c->is_open = true;
    bytes_unref(body);
    p->clients_count++;
    pump_settle(p);
    assert_int_equal(c->status, 200);
    return p->clients_count - 1;
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
    uint32_t held = stream_again(p, 0);
    assert_string_equal(pump_last(p)->text, INITIALIZE);
    uint32_t call = post(p, 0, pump_session(p, held), CALL("1"));
    assert_true(p->clients[call].is_open); /* it waits for the handshake */
    leave(p, held);
    assert_int_equal(p->clients[call].ends, 1);
    assert_int_equal(pump_executions(p, CALL("1")), 0);
    assert_quiet(p, 0);
    pump_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_waits_for_a_child_may_be_cancelled_by_what_waits_before_it),
        cmocka_unit_test(test_a_session_that_ends_in_its_handshake_runs_nothing),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
