/* Tests of affinity.h, tasks.h and place.h: what ties requests of the session-less era to a
 * process, and where those go that nothing ties (reference mcp.md, sections 1.1, 1.2 and 5; DESIGN
 * section 12; bad-inputs.md, row J17). */
#include "mesh/session/core.h"
#include "tests/unit/mesh_pump.h"

#define META "\"_meta\":{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\"}"
#define REQUEST(id, method, params)                                                                \
    "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"method\":\"" method "\",\"params\":{" params META "}}"
#define TOOL(id) REQUEST(id, "tools/call", "\"name\":\"t\",")
#define WITH_STATE(id, state)                                                                      \
    REQUEST(id, "tools/call", "\"requestState\":" state ",\"name\":\"t\",")
#define TASK(what, task) REQUEST("1", "tasks/" what, "\"taskId\":\"" task "\",")
#define NEEDS_INPUT(id, state)                                                                     \
    "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"result\":{\"resultType\":\"input_required\","            \
    "\"requestState\":" state "}}"
#define MADE_TASK(id, task)                                                                        \
    "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"result\":{\"resultType\":\"task\",\"taskId\":\"" task    \
    "\"}}"
#define TAG_BYTES (KEY_PEER_TEXT + 1)

static void http(struct mesh_config *config)
{
    config->upstream = MESH_UP_HTTP;
}

static struct mesh_stats stats_of(const struct pump *p, uint32_t node)
{
    struct mesh_stats stats;
    mesh_stats(p->nodes[node].mesh, &stats);
    return stats;
}

static uint32_t ask(struct pump *p, uint32_t node, const char *text)
{
    uint32_t client = pump_ask_modern(p, node, text, NULL);
    pump_settle(p);
    return client;
}

/* The upstream of the last request answers with this. */
static void answer(struct pump *p, enum mesh_form form, const char *text)
{
    struct ucall *u = pump_last(p);
    pump_head(p, u, 200, form, MESH_UP_SESSION_SAME);
    pump_event(p, u, text);
    pump_end(p, u, MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
}

/* The raw state that a client was given; the text that holds it is overwritten by the next. */
static char *state_of(struct pump *p, uint32_t client)
{
    static char state[200];
    const char *at = strstr(p->clients[client].last, "\"requestState\":");
    assert_non_null(at);
    at += strlen("\"requestState\":");
    const char *end = strchr(at + 1, '"');
    while (end[-1] == '\\')
        end = strchr(end + 1, '"');
    snprintf(state, sizeof state, "%.*s", (int)(end + 1 - at), at);
    return state;
}

static void with_state(char text[400], const char *state)
{
    snprintf(text, 400, WITH_STATE("2", "%s"), state);
}

/* A tool at that node needs input; `back`: what its client says then. */
static void ask_with_state(struct pump *p, uint32_t node, char back[400])
{
    uint32_t client = ask(p, node, TOOL("1"));
    answer(p, MESH_FORM_JSON, NEEDS_INPUT("1", "\"s\""));
    with_state(back, state_of(p, client));
}

/* ---- requestState --------------------------------------------------------------------------- */

static void test_a_state_finds_its_peer_from_anywhere_and_is_there_as_it_was(void **state)
{
    static const char *const states[] = {"\"s\"", "\"\"", "\"a.b\"",
                                         "\"\\/\\u0041\\\"\\\\ \xc3\xa9\""};
    static const enum mesh_form forms[] = {MESH_FORM_JSON, MESH_FORM_SSE};
    (void)state;
    struct pump *p = pump_new(3, http);
    for (uint32_t n = 0; n < 3 * 4 * 2; n++) {
        const char *original = states[n / 2 % 4];
        char made[400], back[400], expected[400];
        snprintf(made, sizeof made, NEEDS_INPUT("1", "%s"), original);
        uint32_t first = ask(p, n % 3, TOOL("1"));
        assert_int_equal(pump_last(p)->node, n % 3);
        answer(p, forms[n % 2], made);
        assert_ended(p, first, MESH_OK);
        assert_int_equal(p->clients[first].texts, 1);
        char *wrapped = state_of(p, first);
        assert_int_equal(strlen(wrapped), strlen(original) + TAG_BYTES);
        assert_int_equal(wrapped[TAG_BYTES], '.');
        assert_string_equal(wrapped + TAG_BYTES + 1, original + 1);
        with_state(back, wrapped);
        with_state(expected, original);
        for (uint32_t through = 0; through < 3; through++) {
            uint32_t again = ask(p, through, back);
            assert_int_equal(pump_last(p)->node, n % 3);
            assert_string_equal(pump_last(p)->text, expected);
            answer(p, forms[n % 2], RESULT("2"));
            assert_ended(p, again, MESH_OK);
            assert_string_equal(p->clients[again].last, RESULT("2"));
        }
    }
    assert_quiet(p, 0);
    pump_free(p);
}

static void test_only_the_answer_of_a_modern_request_is_changed(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    /* an error has no state, whatever its data says */
    uint32_t client = ask(p, 0, TOOL("1"));
    static const char error[] =
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-1,\"message\":\"m\","
        "\"data\":{\"requestState\":\"s\"}}}";
    answer(p, MESH_FORM_JSON, error);
    assert_string_equal(p->clients[client].last, error);
    /* nor has the legacy era */
    client = pump_ask(p, 0, MESH_CALL, NULL, WITH_STATE("1", "\"s\""), 0);
    pump_settle(p);
    assert_string_equal(pump_last(p)->text, WITH_STATE("1", "\"s\""));
    answer(p, MESH_FORM_JSON, NEEDS_INPUT("1", "\"s\""));
    assert_string_equal(p->clients[client].last, NEEDS_INPUT("1", "\"s\""));
    /* a value that is no string is the upstream's own matter */
    client = ask(p, 0, TOOL("1"));
    answer(p, MESH_FORM_JSON, NEEDS_INPUT("1", "{\"a\":1}"));
    assert_string_equal(p->clients[client].last, NEEDS_INPUT("1", "{\"a\":1}"));
    assert_quiet(p, 0);
    pump_free(p);
}

static void test_a_tag_that_is_not_ours_is_none_and_passes_as_it_came(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, http);
    char back[400], text[400];
    uint32_t client = ask(p, 0, TOOL("1"));
    answer(p, MESH_FORM_JSON, NEEDS_INPUT("1", "\"original\""));
    char *wrapped = state_of(p, client);
    for (uint32_t n = 1; n <= TAG_BYTES; n++) {
        char was = wrapped[n];
        wrapped[n] = was == 'A' ? 'B' : 'A';
        with_state(back, wrapped);
        client = ask(p, 1, back);
        assert_int_equal(pump_last(p)->node, 1);
        assert_string_equal(pump_last(p)->text, back);
        answer(p, MESH_FORM_JSON, RESULT("2"));
        assert_ended(p, client, MESH_OK);
        wrapped[n] = was;
    }
    static const char *const others[] = {"\"original\"", "\"\"", "\".\"",
                                         "\"AAAAAAAAAAAAAAAAAAAA.x\""};
    for (uint32_t n = 0; n < 4; n++) {
        with_state(text, others[n]);
        (void)ask(p, 1, text);
        assert_string_equal(pump_last(p)->text, text);
        answer(p, MESH_FORM_JSON, RESULT("2"));
    }
    assert_quiet(p, 0);
    pump_free(p);
}

static void test_the_state_of_a_peer_that_is_gone_goes_to_the_local_upstream_unwrapped(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, http);
    char back[400];
    uint32_t client = ask(p, 2, TOOL("1"));
    answer(p, MESH_FORM_JSON, NEEDS_INPUT("1", "\"original\""));
    with_state(back, state_of(p, client));
    pump_kill(p, 2);
    pump_run(p, 20000);
    client = ask(p, 1, back);
    assert_int_equal(pump_last(p)->node, 1);
    assert_string_equal(pump_last(p)->text, WITH_STATE("2", "\"original\""));
    answer(p, MESH_FORM_JSON, FAULT("2"));
    assert_ended(p, client, MESH_OK);
    assert_string_equal(p->clients[client].last, FAULT("2"));
    assert_quiet(p, 0);
    pump_free(p);
}

/* ---- tasks ---------------------------------------------------------------------------------- */

/* The upstream of `node` answers that it made this task; what its client holds. */
static uint32_t make_task(struct pump *p, uint32_t node, const char *task, enum mesh_form form)
{
    char text[200];
    snprintf(text, sizeof text, MADE_TASK("1", "%s"), task);
    uint32_t client = ask(p, node, TOOL("1"));
    answer(p, form, text);
    return client;
}

static void test_a_task_is_found_from_every_peer_once_its_client_knows_it(void **state)
{
    static const char *const asks[] = {"get", "update", "cancel"};
    (void)state;
    struct pump *p = pump_new(3, http);
    for (uint32_t n = 0; n < 24; n++) {
        char task[32], text[400];
        snprintf(task, sizeof task, "task-%u", n);
        uint32_t made = make_task(p, n % 3, task, n % 2 == 0 ? MESH_FORM_JSON : MESH_FORM_SSE);
        assert_ended(p, made, MESH_OK);
        snprintf(text, sizeof text, TASK("%s", "%s"), asks[n % 3], task);
        for (uint32_t through = 0; through < 3; through++) {
            uint32_t client = ask(p, through, text);
            assert_int_equal(pump_last(p)->node, n % 3);
            assert_string_equal(pump_last(p)->text, text);
            answer(p, MESH_FORM_JSON, RESULT("1"));
            assert_ended(p, client, MESH_OK);
        }
    }
    assert_int_equal(stats_of(p, 0).tasks_learned, 8);
    for (uint32_t n = 0; n < 3; n++)
        assert_int_equal(stats_of(p, n).tasks_unwritten, 0);
    assert_quiet(p, 0);
    pump_free(p);
}

static void test_a_task_id_is_what_it_says_however_it_is_written(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, http);
    (void)make_task(p, 0, "a\\/b", MESH_FORM_JSON);
    for (uint32_t through = 0; through < 3; through++) {
        (void)ask(p, through, TASK("get", "\\u0061/b"));
        assert_int_equal(pump_last(p)->node, 0);
        answer(p, MESH_FORM_JSON, RESULT("1"));
    }
    pump_free(p);
}

/* Links that say nothing: neither end hears the other. */
static void set_stuck(struct pump *p, bool is_stuck)
{
    for (uint32_t n = 0; n < p->conns_count; n++)
        p->conns[n].is_stuck = is_stuck;
}

static void test_a_task_is_told_to_its_client_only_when_others_know_it(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, http);
    uint32_t waited = 0;
    (void)make_task(p, 0, "opens the links", MESH_FORM_JSON);
    for (uint32_t n = 0; n < 24; n++) {
        char task[32];
        uint64_t unwritten = stats_of(p, 0).tasks_unwritten;
        snprintf(task, sizeof task, "late-%u", n);
        set_stuck(p, true);
        uint32_t client = make_task(p, 0, task, n % 2 == 0 ? MESH_FORM_JSON : MESH_FORM_SSE);
        if (!p->clients[client].is_open)
            continue; /* we are one of its homes: of two in three of them */
        waited++;
        assert_int_equal(p->clients[client].texts, 0);
        pump_run(p, TASKS_RELEASE_MS - 1);
        assert_int_equal(p->clients[client].texts, 0);
        if (n % 3 == 0) { /* in time after all */
            set_stuck(p, false);
            pump_settle(p);
            assert_int_equal(stats_of(p, 0).tasks_unwritten, unwritten);
        } else {
            pump_run(p, 1);
            assert_int_equal(stats_of(p, 0).tasks_unwritten, unwritten + 1);
            set_stuck(p, false);
        }
        assert_ended(p, client, MESH_OK);
        pump_run(p, 1000);
    }
    assert_true(waited >= 3);
    pump_run(p, 20000);
    assert_quiet(p, 0);
    pump_free(p);
}

static void test_a_client_that_leaves_while_its_task_is_written_leaves_nothing(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, http);
    (void)make_task(p, 0, "opens the links", MESH_FORM_JSON);
    set_stuck(p, true);
    for (uint32_t n = 0; n < 12; n++) {
        char task[32];
        snprintf(task, sizeof task, "left-%u", n);
        uint32_t client = make_task(p, 0, task, MESH_FORM_JSON);
        if (p->clients[client].is_open)
            pump_close(p, client);
    }
    pump_run(p, TASKS_RELEASE_MS);
    set_stuck(p, false);
    pump_run(p, 20000);
    assert_quiet(p, 0);
    pump_free(p);
}

static void test_alone_there_is_nobody_to_tell(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    assert_ended(p, make_task(p, 0, "mine", MESH_FORM_JSON), MESH_OK);
    assert_int_equal(stats_of(p, 0).tasks_unwritten, 0);
    (void)ask(p, 0, TASK("get", "mine"));
    answer(p, MESH_FORM_JSON, RESULT("1"));
    uint32_t other = ask(p, 0, TASK("get", "unknown"));
    answer(p, MESH_FORM_JSON, FAULT("1"));
    assert_ended(p, other, MESH_OK);
    assert_quiet(p, 0);
    pump_free(p);
}

static void test_a_task_that_nobody_knows_is_the_local_upstreams_to_refuse(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, http);
    for (uint32_t node = 0; node < 3; node++) {
        uint32_t client = ask(p, node, TASK("get", "unknown"));
        assert_int_equal(pump_last(p)->node, node);
        assert_string_equal(pump_last(p)->text, TASK("get", "unknown"));
        answer(p, MESH_FORM_JSON, FAULT("1"));
        assert_ended(p, client, MESH_OK);
    }
    /* and that of a silent mesh is asked for no longer than a second */
    set_stuck(p, true);
    uint32_t count = p->ucalls_count;
    uint32_t client = ask(p, 0, TASK("get", "also unknown"));
    assert_int_equal(p->ucalls_count, count);
    pump_run(p, TASKS_SEARCH_MS);
    assert_int_equal(p->ucalls_count, count + 1);
    answer(p, MESH_FORM_JSON, FAULT("1"));
    assert_ended(p, client, MESH_OK);
    pump_free(p);
}

static void test_the_task_of_a_peer_that_is_gone_goes_to_the_local_upstream(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, http);
    (void)make_task(p, 2, "gone", MESH_FORM_JSON);
    (void)ask(p, 1, TASK("get", "gone"));
    assert_int_equal(pump_last(p)->node, 2);
    answer(p, MESH_FORM_JSON, RESULT("1"));
    pump_kill(p, 2);
    pump_run(p, 20000);
    for (uint32_t node = 0; node < 2; node++) {
        uint32_t client = ask(p, node, TASK("get", "gone"));
        assert_int_equal(pump_last(p)->node, node);
        answer(p, MESH_FORM_JSON, FAULT("1"));
        assert_ended(p, client, MESH_OK);
    }
    assert_quiet(p, 0);
    pump_free(p);
}

static void test_the_creator_alone_is_enough_to_find_a_task(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, http);
    (void)make_task(p, 0, "opens the links", MESH_FORM_JSON);
    set_stuck(p, true);
    char task[32], text[400];
    for (uint32_t n = 0; n < 8; n++) {
        snprintf(task, sizeof task, "unwritten-%u", n);
        (void)make_task(p, 0, task, MESH_FORM_JSON);
    }
    pump_run(p, TASKS_RELEASE_MS);
    pump_cut(p, 0, 1); /* what was on its way is lost */
    pump_cut(p, 0, 2);
    pump_run(p, 2000);
    for (uint32_t n = 0; n < 8; n++) {
        snprintf(text, sizeof text, TASK("get", "unwritten-%u"), n);
        (void)ask(p, 1 + n % 2, text);
        assert_int_equal(pump_last(p)->node, 0);
        answer(p, MESH_FORM_JSON, RESULT("1"));
    }
    pump_free(p);
}

static void test_in_the_legacy_era_a_task_stays_where_its_session_is(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    static const char get[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tasks/get\",\"params\":{"
                              "\"taskId\":\"shared\"}}";
    (void)make_task(p, 0, "shared", MESH_FORM_JSON);
    (void)pump_ask(p, 1, MESH_CALL, NULL, get, 0);
    pump_settle(p);
    assert_int_equal(pump_last(p)->node, 1);
    answer(p, MESH_FORM_JSON, MADE_TASK("1", "legacy"));
    assert_int_equal(stats_of(p, 1).tasks_learned, 0);
    pump_free(p);
}

/* One peer's core, no more of it than tasks.c needs. */
static struct core *core_alone(void)
{
    struct core *core = calloc(1, sizeof *core);
    struct view_config view = {.members_max = 8, .contacts_max = 8, .boot_ms = 1, .start_ms = 0};
    assert_non_null(core);
    snprintf(view.self.name, sizeof view.self.name, "alone");
    view.self.id.name = view_name_hash("alone");
    view.self.nonce = 1;
    view.self.weight = 1;
    view.self.serving = true;
    view.self.addr.port = 1;
    assert_int_equal(view_new(&core->view, &view), 0);
    assert_int_equal(view_announce(core->view, 7, 0), 0);
    assert_int_equal(tasks_init(core), 0);
    return core;
}

static void core_free(struct core *core)
{
    tasks_deinit(core);
    ring_deinit(&core->ring);
    view_free(core->view);
    free(core);
}

static void test_the_oldest_of_too_many_tasks_is_forgotten(void **state)
{
    (void)state;
    struct core *core = core_alone();
    for (uint64_t hash = 1; hash <= TASKS_MAX + 10; hash++)
        assert_false(tasks_learn(core, hash, (struct handle){0}, 0));
    for (uint64_t hash = 1; hash <= TASKS_MAX + 10; hash++)
        assert_int_equal(tasks_is_here(core, hash), hash > 10);
    assert_int_equal(core->tasks.known.capacity, TASKS_MAX);
    core_free(core);
}

static void test_a_task_that_is_named_again_lives_on_and_others_expire(void **state)
{
    (void)state;
    struct core *core = core_alone();
    struct peer_id peer;
    (void)tasks_learn(core, 1, (struct handle){0}, 0);
    (void)tasks_learn(core, 2, (struct handle){0}, 0);
    (void)tasks_learn(core, 2, (struct handle){0}, TASKS_LIFE_MS / 2);
    assert_int_equal(tasks_find(core, 1, &peer, TASKS_LIFE_MS - 1), TASKS_AT);
    assert_int_equal(tasks_find(core, 1, &peer, TASKS_LIFE_MS), TASKS_NOBODY);
    assert_int_equal(tasks_find(core, 2, &peer, TASKS_LIFE_MS), TASKS_AT);
    assert_true(peer_id_equal(peer, core_self(core)));
    assert_int_equal(core->stats.tasks_learned, 2);
    core_free(core);
}

/* ---- handles -------------------------------------------------------------------------------- */

static void test_equal_handles_meet_in_one_process(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, http);
    uint32_t served[3] = {0};
    for (uint32_t n = 0; n < 30; n++) {
        char handle[16];
        uint32_t at = 0;
        snprintf(handle, sizeof handle, "doc-%u", n);
        for (uint32_t through = 0; through < 3; through++) {
            (void)pump_ask_modern(p, through, TOOL("1"), handle);
            pump_settle(p);
            if (through > 0)
                assert_int_equal(pump_last(p)->node, at);
            at = pump_last(p)->node;
            answer(p, MESH_FORM_JSON, RESULT("1"));
        }
        served[at]++;
    }
    for (uint32_t n = 0; n < 3; n++)
        assert_true(served[n] > 0);
    /* one that cannot serve gets none */
    mesh_serving(p->nodes[1].mesh, false, p->now_ms);
    pump_run(p, 5000);
    for (uint32_t n = 0; n < 30; n++) {
        char handle[16];
        snprintf(handle, sizeof handle, "doc-%u", n);
        (void)pump_ask_modern(p, 1, TOOL("1"), handle);
        pump_settle(p);
        assert_int_not_equal(pump_last(p)->node, 1);
        answer(p, MESH_FORM_JSON, RESULT("1"));
    }
    pump_free(p);
}

static void test_a_state_outweighs_a_handle_and_a_gone_one_does_not(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, http);
    char back[400];
    const char *handle = NULL;
    static const char *const handles[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    for (uint32_t n = 0; n < 8 && handle == NULL; n++) {
        (void)pump_ask_modern(p, 0, TOOL("1"), handles[n]);
        pump_settle(p);
        if (pump_last(p)->node == 1)
            handle = handles[n];
        answer(p, MESH_FORM_JSON, RESULT("1"));
    }
    assert_non_null(handle);
    ask_with_state(p, 2, back);
    (void)pump_ask_modern(p, 0, back, handle);
    pump_settle(p);
    assert_int_equal(pump_last(p)->node, 2);
    answer(p, MESH_FORM_JSON, RESULT("2"));
    pump_kill(p, 2);
    pump_run(p, 20000);
    (void)pump_ask_modern(p, 0, back, handle);
    pump_settle(p);
    assert_int_equal(pump_last(p)->node, 1);
    pump_free(p);
}

/* ---- placing -------------------------------------------------------------------------------- */

static void test_what_nothing_ties_stays_here_or_goes_to_who_serves(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, http);
    for (uint32_t node = 0; node < 3; node++) {
        (void)ask(p, node, TOOL("1"));
        assert_int_equal(pump_last(p)->node, node);
        answer(p, MESH_FORM_JSON, RESULT("1"));
    }
    mesh_serving(p->nodes[0].mesh, false, p->now_ms);
    pump_run(p, 5000);
    for (uint32_t n = 0; n < 10; n++) {
        uint32_t client = ask(p, 0, TOOL("1"));
        assert_int_not_equal(pump_last(p)->node, 0);
        answer(p, MESH_FORM_JSON, RESULT("1"));
        assert_ended(p, client, MESH_OK);
    }
    assert_quiet(p, 0);
    pump_free(p);
}

static void test_where_all_that_serve_are_on_hold_one_of_them_takes_it(void **state)
{
    (void)state;
    struct pump *p = pump_new(1, http);
    assert_int_equal(view_set_flags(core_of(p, 0)->view, true, false, true), 1);
    uint32_t client = ask(p, 0, TOOL("1"));
    answer(p, MESH_FORM_JSON, RESULT("1"));
    assert_ended(p, client, MESH_OK);
    (void)pump_session(p, pump_begin(p, 0, true));
    assert_int_equal(view_set_flags(core_of(p, 0)->view, false, false, true), 1);
    uint32_t count = p->ucalls_count;
    (void)ask(p, 0, TOOL("2"));
    assert_int_equal(p->ucalls_count, count); /* ours is down */
    pump_free(p);
}

static void test_a_probe_waits_for_whoever_serves_first(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    mesh_serving(p->nodes[0].mesh, false, p->now_ms);
    mesh_serving(p->nodes[1].mesh, false, p->now_ms);
    pump_run(p, 5000);
    uint32_t count = p->ucalls_count;
    uint32_t probe = ask(p, 0, REQUEST("1", "server/discover", ""));
    pump_run(p, 5000);
    assert_true(p->clients[probe].is_open);
    assert_int_equal(p->ucalls_count, count);
    mesh_serving(p->nodes[1].mesh, true, p->now_ms);
    pump_run(p, 3000);
    assert_int_equal(p->ucalls_count, count + 1);
    assert_int_equal(pump_last(p)->node, 1);
    answer(p, MESH_FORM_JSON, RESULT("1"));
    assert_ended(p, probe, MESH_OK);
    /* and not for ever */
    mesh_serving(p->nodes[1].mesh, false, p->now_ms);
    pump_run(p, 5000);
    probe = ask(p, 0, REQUEST("1", "server/discover", ""));
    pump_run(p, 10001);
    assert_ended(p, probe, MESH_PARKED_TOO_LONG);
    assert_quiet(p, 0);
    pump_free(p);
}

static void test_a_probe_is_not_told_of_an_upstream_that_is_down(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    uint32_t probe = ask(p, 0, REQUEST("1", "server/discover", ""));
    uint32_t other = ask(p, 0, TOOL("2"));
    pump_end(p, pump_last(p), MESH_END_CUT, MESH_UPSTREAM_DOWN);
    pump_end(p, pump_last(p) - 1, MESH_END_CUT, MESH_UPSTREAM_DOWN);
    pump_settle(p);
    assert_ended(p, other, MESH_UPSTREAM_DOWN);
    assert_true(p->clients[probe].is_open);
    mesh_serving(p->nodes[0].mesh, false, p->now_ms); /* its host has noticed */
    pump_run(p, 1000);
    assert_int_equal(pump_last(p)->node, 1);
    answer(p, MESH_FORM_JSON, RESULT("1"));
    assert_ended(p, probe, MESH_OK);
    assert_quiet(p, 0);
    pump_free(p);
}

static void test_a_peer_that_leaves_still_serves_what_only_it_can(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    char back[400];
    ask_with_state(p, 0, back);
    (void)make_task(p, 0, "mine", MESH_FORM_JSON);
    uint32_t holds = ask(p, 0, TOOL("5")); /* keeps it from having gone at once */
    struct ucall held = *pump_last(p);
    mesh_leave(p->nodes[0].mesh, p->now_ms, p->now_ms + 20000, p->now_ms);
    pump_run(p, 1000);
    (void)ask(p, 1, back);
    assert_int_equal(pump_last(p)->node, 0);
    answer(p, MESH_FORM_JSON, RESULT("2"));
    (void)ask(p, 1, TASK("get", "mine"));
    assert_int_equal(pump_last(p)->node, 0);
    answer(p, MESH_FORM_JSON, RESULT("1"));
    (void)ask(p, 0, TOOL("6"));
    assert_int_equal(pump_last(p)->node, 1); /* what nothing ties goes elsewhere */
    answer(p, MESH_FORM_JSON, RESULT("6"));
    pump_head(p, &held, 200, MESH_FORM_JSON, MESH_UP_SESSION_SAME);
    pump_event(p, &held, RESULT("5"));
    pump_end(p, &held, MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
    assert_ended(p, holds, MESH_OK);
    pump_free(p);
}

/* ---- closing, losing, leaving --------------------------------------------------------------- */

static void test_a_client_that_closes_cancels_at_any_peer(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    char back[400];
    ask_with_state(p, 0, back);
    for (uint32_t node = 0; node < 2; node++) {
        uint32_t client = ask(p, node, back);
        assert_int_equal(pump_last(p)->node, 0);
        assert_false(pump_last(p)->is_cancelled);
        pump_close(p, client);
        pump_settle(p);
        assert_true(pump_last(p)->is_cancelled);
    }
    assert_quiet(p, 0);
    pump_free(p);
}

static void test_a_lost_link_cancels_nothing_and_a_dead_entry_does(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    char back[400];
    ask_with_state(p, 0, back);
    uint32_t client = ask(p, 1, back);
    uint32_t count = p->ucalls_count;
    pump_cut(p, 0, 1);
    pump_run(p, 2000);
    assert_false(pump_last(p)->is_cancelled);
    assert_int_equal(p->ucalls_count, count);
    answer(p, MESH_FORM_JSON, RESULT("2"));
    assert_ended(p, client, MESH_OK);
    (void)ask(p, 1, back);
    assert_int_equal(pump_last(p)->node, 0);
    pump_kill(p, 1);
    pump_run(p, 20000);
    assert_true(pump_last(p)->is_cancelled);
    assert_quiet(p, 0);
    pump_free(p);
}

static void test_a_client_that_closes_while_the_link_is_lost_cancels_in_the_end(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    char back[400];
    ask_with_state(p, 0, back);
    uint32_t client = ask(p, 1, back);
    p->nodes[0].refuses = p->nodes[1].refuses = true;
    pump_cut(p, 0, 1);
    pump_close(p, client);
    pump_run(p, CALL_DETACHED_MS - 1);
    assert_false(pump_last(p)->is_cancelled);
    pump_run(p, 1);
    assert_true(pump_last(p)->is_cancelled);
    assert_quiet(p, 0);
    pump_free(p);
}

#define LISTEN REQUEST("9", "subscriptions/listen", "")

static void test_a_held_stream_of_the_modern_era_ends_definitely(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http);
    /* its upstream hangs up */
    uint32_t client = ask(p, 0, LISTEN);
    pump_head(p, pump_last(p), 200, MESH_FORM_SSE, MESH_UP_SESSION_SAME);
    pump_event(p, pump_last(p), LOG("acknowledged"));
    pump_settle(p);
    pump_run(p, 60000);
    assert_true(p->clients[client].is_open);
    pump_end(p, pump_last(p), MESH_END_CUT, MESH_UPSTREAM_LOST);
    pump_settle(p);
    assert_ended(p, client, MESH_UPSTREAM_LOST);
    /* its peer leaves, and does not wait for what never ends */
    client = ask(p, 0, LISTEN);
    pump_head(p, pump_last(p), 200, MESH_FORM_SSE, MESH_UP_SESSION_SAME);
    pump_event(p, pump_last(p), LOG("acknowledged"));
    pump_settle(p);
    mesh_leave(p->nodes[0].mesh, p->now_ms, p->now_ms + 20000, p->now_ms);
    pump_run(p, 3000);
    assert_ended(p, client, MESH_STOPPING);
    assert_int_equal(p->changes[0].counts[MESH_LEFT_MESH], 1);
    pump_free(p);
}

static void test_a_request_lost_with_its_peer_is_told_or_run_again_by_its_class(void **state)
{
    (void)state;
    struct pump *p = pump_new(3, http);
    char again[400];
    uint32_t made = ask(p, 2, TOOL("1"));
    answer(p, MESH_FORM_JSON, NEEDS_INPUT("1", "\"s\""));
    const char *wrapped = state_of(p, made);
    char back[400];
    with_state(back, wrapped);
    snprintf(again, sizeof again,
             REQUEST("3", "prompts/get", "\"requestState\":%s,\"name\":\"p\","), wrapped);
    uint32_t unsafe = ask(p, 1, back);
    uint32_t safe = ask(p, 1, again);
    assert_int_equal(pump_last(p)->node, 2);
    pump_kill(p, 2);
    pump_run(p, 20000);
    assert_ended(p, unsafe, MESH_OUTCOME_UNKNOWN);
    assert_int_equal(pump_last(p)->node, 1);
    assert_string_equal(pump_last(p)->text,
                        REQUEST("3", "prompts/get", "\"requestState\":\"s\",\"name\":\"p\","));
    answer(p, MESH_FORM_JSON, RESULT("3"));
    assert_ended(p, safe, MESH_OK);
    assert_quiet(p, 0);
    pump_free(p);
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_state_finds_its_peer_from_anywhere_and_is_there_as_it_was),
        cmocka_unit_test(test_only_the_answer_of_a_modern_request_is_changed),
        cmocka_unit_test(test_a_tag_that_is_not_ours_is_none_and_passes_as_it_came),
        cmocka_unit_test(
            test_the_state_of_a_peer_that_is_gone_goes_to_the_local_upstream_unwrapped),
        cmocka_unit_test(test_a_task_is_found_from_every_peer_once_its_client_knows_it),
        cmocka_unit_test(test_a_task_id_is_what_it_says_however_it_is_written),
        cmocka_unit_test(test_a_task_is_told_to_its_client_only_when_others_know_it),
        cmocka_unit_test(test_a_client_that_leaves_while_its_task_is_written_leaves_nothing),
        cmocka_unit_test(test_alone_there_is_nobody_to_tell),
        cmocka_unit_test(test_a_task_that_nobody_knows_is_the_local_upstreams_to_refuse),
        cmocka_unit_test(test_the_task_of_a_peer_that_is_gone_goes_to_the_local_upstream),
        cmocka_unit_test(test_the_creator_alone_is_enough_to_find_a_task),
        cmocka_unit_test(test_in_the_legacy_era_a_task_stays_where_its_session_is),
        cmocka_unit_test(test_the_oldest_of_too_many_tasks_is_forgotten),
        cmocka_unit_test(test_a_task_that_is_named_again_lives_on_and_others_expire),
        cmocka_unit_test(test_equal_handles_meet_in_one_process),
        cmocka_unit_test(test_a_state_outweighs_a_handle_and_a_gone_one_does_not),
        cmocka_unit_test(test_what_nothing_ties_stays_here_or_goes_to_who_serves),
        cmocka_unit_test(test_where_all_that_serve_are_on_hold_one_of_them_takes_it),
        cmocka_unit_test(test_a_probe_waits_for_whoever_serves_first),
        cmocka_unit_test(test_a_peer_that_leaves_still_serves_what_only_it_can),
        cmocka_unit_test(test_a_client_that_closes_cancels_at_any_peer),
        cmocka_unit_test(test_a_lost_link_cancels_nothing_and_a_dead_entry_does),
        cmocka_unit_test(test_a_client_that_closes_while_the_link_is_lost_cancels_in_the_end),
        cmocka_unit_test(test_a_probe_is_not_told_of_an_upstream_that_is_down),
        cmocka_unit_test(test_a_held_stream_of_the_modern_era_ends_definitely),
        cmocka_unit_test(test_a_request_lost_with_its_peer_is_told_or_run_again_by_its_class),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
