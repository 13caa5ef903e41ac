/* test_admin.c - the admin endpoint as a real daemon on loopback, asked by a plain socket. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "http/admin.h"

#define OWN_ID "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg"

/* ---- the host's side ------------------------------------------------------------------------ */

static int drains;
static bool is_ready;

static const char *self(void *context)
{
    (void)context;
    return "peer-a";
}

static size_t members(void *context, struct mesh_member *into, size_t max)
{
    static const struct mesh_record records[2] = {
        {.name = "peer-a",
         .id = {1, 1790000000000},
         .addr = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1}, 7946},
         .zone = "z1",
         .weight = 2,
         .serving = true},
        {.name = "peer-b",
         .addr = {{0xfd, [15] = 2}, 7947},
         .zone = "\xff\"<\n",
         .draining = true,
         .hold = true},
    };
    static const struct mesh_member both[2] = {
        {.record = &records[0], .state = MEMBER_ALIVE, .incarnation = 3, .load = 5},
        {.record = &records[1], .state = MEMBER_DEAD},
    };

    (void)context;
    for (size_t i = 0; i < max && i < 2; i++)
        into[i] = both[i];
    return 2;
}

static size_t sessions(void *context, uint32_t from, struct admin_session *into, size_t max)
{
    size_t count = 0;

    (void)context;
    for (uint32_t i = from; i < 250 && count < max; i++, count++) {
        into[count] = (struct admin_session){.epoch = i, .age_ms = 10, .calls = 2};
        snprintf(into[count].id_hash, sizeof into[count].id_hash, "%08x", i);
    }
    return count;
}

static void why(void *context, const char *id, size_t length, struct admin_why *into)
{
    (void)context;
    if (length != strlen(OWN_ID) || memcmp(id, OWN_ID, length) != 0)
        return;
    into->verdict = "there";
    into->well_formed = into->genuine = true;
    into->home_state = MEMBER_SUSPECT;
    into->epoch = 4;
    memcpy(into->id_hash, "0badcafe", 9);
    memcpy(into->owner.name, "peer-b", 7);
    into->candidates[0] = into->candidates[1] = into->owner;
    into->candidates_count = 2;
}

static size_t unready(void *context, const char *reasons[ADMIN_REASONS_MAX])
{
    (void)context;
    if (is_ready)
        return 0;
    reasons[0] = "joining";
    reasons[1] = "upstream does not answer";
    return 2;
}

static char *metrics(void *context, size_t *length)
{
    (void)context;
    *length = 9;
    return strdup("mesh_x 1\n");
}

static void drain(void *context)
{
    (void)context;
    drains++;
}

static uint32_t used_key;

static size_t keys(void *context, struct admin_key into[ADMIN_KEYS_MAX])
{
    (void)context;
    memset(into, 0, 2 * sizeof *into);
    into[0] = (struct admin_key){
        .id = 0x0badcafe, .use = "in_use", .is_wanted = true, .refusing_count = 9};
    for (int n = 0; n < ADMIN_REFUSING_MAX; n++)
        snprintf(into[0].refusing[n], sizeof into[0].refusing[n], "peer-%d", n);
    into[1] = (struct admin_key){.id = 0x12, .use = "leaving", .seals = true, .sealing = 10};
    return 2;
}

static int use_key(void *context, uint32_t id)
{
    (void)context;
    used_key = id;
    return id == 0x0badcafe ? -EBUSY : id == 0x12 ? 0 : -ENOENT;
}

static const struct admin_source source = {.self = self,
                                           .members = members,
                                           .sessions = sessions,
                                           .why = why,
                                           .unready = unready,
                                           .metrics = metrics,
                                           .drain = drain,
                                           .keys = keys,
                                           .use_key = use_key};

/* ---- a client ------------------------------------------------------------------------------- */

struct fixture {
    struct admin *admin;
    uint64_t now_ms;
    char token_path[64];
    int status;
    char answer[65536], *body; /* of the last request */
};

static void write_tokens(struct fixture *f, const char *text)
{
    int fd = open(f->token_path, O_WRONLY | O_TRUNC | O_CREAT, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void start(struct fixture *f, const char *listen, const char *tokens)
{
    struct admin_config config = {.listen = listen};

    memset(f, 0, sizeof *f);
    f->now_ms = 1000000;
    if (tokens != NULL) {
        int fd;

        snprintf(f->token_path, sizeof f->token_path, "/tmp/test_admin.XXXXXX");
        fd = mkstemp(f->token_path);
        assert_true(fd >= 0);
        close(fd);
        write_tokens(f, tokens);
        config.token_path = f->token_path;
    }
    assert_int_equal(admin_start(&f->admin, &config, &source, f->now_ms), 0);
    assert_int_not_equal(admin_port(f->admin), 0);
}

static void stop(struct fixture *f)
{
    admin_stop(f->admin);
    if (f->token_path[0] != '\0')
        unlink(f->token_path);
}

static int dial(const struct fixture *f)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(admin_port(f->admin))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    return fd;
}

/* Runs the daemon until `fd` is readable; false: it stays quiet. */
static bool run_until_readable(struct fixture *f, int fd)
{
    for (int turns = 0; turns < 40; turns++) {
        struct pollfd fds[2] = {{.fd = fd, .events = POLLIN},
                                {.fd = admin_fd(f->admin), .events = POLLIN}};

        admin_run(f->admin, f->now_ms);
        poll(fds, 2, admin_timeout_ms(f->admin, f->now_ms) == 0 ? 0 : 5);
        if (fds[0].revents != 0)
            return true;
    }
    return false;
}

/* Sends `text` and reads until the daemon closes or is quiet. */
static void send_raw(struct fixture *f, const char *text)
{
    size_t length = 0;
    ssize_t got;
    int fd = dial(f);

    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    while (length < sizeof f->answer - 1 && run_until_readable(f, fd)) {
        got = recv(fd, f->answer + length, sizeof f->answer - 1 - length, 0);
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    close(fd);
    admin_run(f->admin, f->now_ms);
    f->answer[length] = '\0';
    f->status = length > 12 ? atoi(f->answer + 9) : 0;
    f->body = strstr(f->answer, "\r\n\r\n");
    f->body = f->body == NULL ? f->answer + length : f->body + 4;
}

static void ask_host(struct fixture *f, const char *line, const char *host, const char *lines)
{
    char text[20000];

    f->now_ms += 100; /* keeps clear of the rate limit */
    snprintf(text, sizeof text, "%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s\r\n", line,
             host, lines);
    send_raw(f, text);
}

static void ask(struct fixture *f, const char *line, const char *lines)
{
    ask_host(f, line, "127.0.0.1:9090", lines);
}

/* The body of a 200 as JSON. */
static json_t *ask_json(struct fixture *f, const char *line)
{
    json_t *json;

    ask(f, line, "");
    assert_int_equal(f->status, 200);
    assert_non_null(strstr(f->answer, "Content-Type: application/json\r\n"));
    json = json_loads(f->body, 0, NULL);
    assert_non_null(json);
    return json;
}

/* ---- tests ---------------------------------------------------------------------------------- */

static void test_admin_open_routes_answer_without_a_token(void **state)
{
    struct fixture f;

    (void)state;
    start(&f, "127.0.0.1:0", "s3cret-token\n");
    ask(&f, "GET /healthz", "");
    assert_int_equal(f.status, 200);
    ask(&f, "GET /metrics", "");
    assert_int_equal(f.status, 200);
    assert_string_equal(f.body, "mesh_x 1\n");
    is_ready = false;
    ask(&f, "GET /readyz", "");
    assert_int_equal(f.status, 503);
    assert_string_equal(f.body,
                        "{\"ready\":false,\"reasons\":[\"joining\",\"upstream does not answer\"]}");
    is_ready = true;
    ask(&f, "GET /readyz", "");
    assert_int_equal(f.status, 200);
    ask(&f, "GET /", "");
    assert_int_equal(f.status, 200);
    assert_non_null(strstr(f.body, "/v1/members"));
    ask(&f, "HEAD /healthz", "");
    assert_int_equal(f.status, 200);
    assert_string_equal(f.body, "");
    stop(&f);
}

static void test_admin_lists_members_even_with_odd_zones(void **state)
{
    struct fixture f;
    json_t *json, *a, *b;

    (void)state;
    start(&f, "127.0.0.1:0", NULL);
    json = ask_json(&f, "GET /v1/members");
    assert_string_equal(json_string_value(json_object_get(json, "self")), "peer-a");
    assert_int_equal(json_array_size(json_object_get(json, "members")), 2);
    a = json_array_get(json_object_get(json, "members"), 0);
    b = json_array_get(json_object_get(json, "members"), 1);
    assert_string_equal(json_string_value(json_object_get(a, "state")), "alive");
    assert_string_equal(json_string_value(json_object_get(a, "addr")), "10.0.0.1:7946");
    assert_int_equal(json_integer_value(json_object_get(a, "generation")), 1790000000000);
    assert_int_equal(json_integer_value(json_object_get(a, "weight")), 2);
    assert_true(json_is_true(json_object_get(a, "serving")));
    assert_string_equal(json_string_value(json_object_get(b, "state")), "dead");
    assert_string_equal(json_string_value(json_object_get(b, "addr")), "[fd00::2]:7947");
    assert_string_equal(json_string_value(json_object_get(b, "zone")), "?");
    assert_true(json_is_true(json_object_get(b, "hold")));
    json_decref(json);
    stop(&f);
}

static void test_admin_pages_through_sessions(void **state)
{
    struct fixture f;
    json_t *json;

    (void)state;
    start(&f, "127.0.0.1:0", NULL);
    json = ask_json(&f, "GET /v1/sessions");
    assert_int_equal(json_array_size(json_object_get(json, "sessions")), 100);
    assert_int_equal(json_integer_value(json_object_get(json, "next")), 100);
    json_decref(json);
    json = ask_json(&f, "GET /v1/sessions?from=240&limit=20");
    assert_int_equal(json_array_size(json_object_get(json, "sessions")), 10);
    assert_true(json_is_null(json_object_get(json, "next")));
    json_decref(json);
    json = ask_json(&f, "GET /v1/sessions?limit=4000000000");
    assert_int_equal(json_array_size(json_object_get(json, "sessions")), 250);
    json_decref(json);
    static const char *const bad[] = {"?limit=0",  "?limit=-1",       "?limit=",          "?x=1",
                                      "?from=1;2", "?from=1&limit=a", "?from=99999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char line[64];

        snprintf(line, sizeof line, "GET /v1/sessions%s", bad[i]);
        ask(&f, line, "");
        if (f.status != 400)
            fail_msg("%s: %d", bad[i], f.status);
    }
    stop(&f);
}

static void test_admin_says_why_without_showing_the_id(void **state)
{
    struct fixture f;
    json_t *json;

    (void)state;
    start(&f, "127.0.0.1:0", NULL);
    json = ask_json(&f, "GET /v1/why/" OWN_ID);
    assert_null(strstr(f.answer, OWN_ID));
    assert_string_equal(json_string_value(json_object_get(json, "session")), "0badcafe");
    assert_string_equal(json_string_value(json_object_get(json, "verdict")), "there");
    assert_string_equal(json_string_value(json_object_get(json, "home_state")), "suspect");
    assert_true(json_is_null(json_object_get(json, "hint")));
    assert_int_equal(json_array_size(json_object_get(json, "candidates")), 2);
    json_decref(json);
    json = ask_json(&f, "GET /v1/why/no-such");
    assert_string_equal(json_string_value(json_object_get(json, "verdict")), "foreign");
    assert_null(strstr(f.answer, "no-such"));
    json_decref(json);
    stop(&f);
}

static void test_admin_lists_keys_by_their_ids_and_uses_one(void **state)
{
    static const struct {
        const char *line;
        int status;
    } cases[] = {
        {"POST /v1/keys/00000012/use", 200},
        {"POST /v1/keys/0badcafe/use", 409},
        {"POST /v1/keys/00000013/use", 404},
        {"GET /v1/keys/00000012/use", 405},
        {"POST /v1/keys", 405},
        {"POST /v1/keys/12/use", 405},
        {"POST /v1/keys/0BADCAFE/use", 405},
        {"POST /v1/keys/000000012/use", 405},
        {"POST /v1/keys/00000012/use/", 405},
        {"POST /v1/keys/00000012/drop", 405},
        {"POST /v1/keys/00000012/use?x", 400},
        {"GET /v1/keys?x=1", 400},
    };
    struct fixture f;
    json_t *json, *key;

    (void)state;
    start(&f, "127.0.0.1:0", NULL);
    json = ask_json(&f, "GET /v1/keys");
    assert_int_equal(json_array_size(json_object_get(json, "keys")), 2);
    key = json_array_get(json_object_get(json, "keys"), 0);
    assert_string_equal(json_string_value(json_object_get(key, "key")), "0badcafe");
    assert_true(json_is_true(json_object_get(key, "wanted")));
    assert_true(json_is_false(json_object_get(key, "seals")));
    assert_int_equal(json_integer_value(json_object_get(key, "refusing_count")), 9);
    assert_int_equal(json_array_size(json_object_get(key, "refusing")), ADMIN_REFUSING_MAX);
    key = json_array_get(json_object_get(json, "keys"), 1);
    assert_string_equal(json_string_value(json_object_get(key, "key")), "00000012");
    assert_string_equal(json_string_value(json_object_get(key, "use")), "leaving");
    assert_int_equal(json_integer_value(json_object_get(key, "sealing")), 10);
    json_decref(json);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ask(&f, cases[i].line, "");
        if (f.status != cases[i].status)
            fail_msg("%s: %d", cases[i].line, f.status);
    }
    assert_int_equal(used_key, 0x13);
    stop(&f);
}

static void test_admin_v1_wants_the_token(void **state)
{
    static const struct {
        const char *line, *lines;
        int status;
    } cases[] = {
        {"GET /v1/members", "", 401},
        {"GET /v1/members", "Authorization: Bearer wrong\r\n", 401},
        {"GET /v1/members", "Authorization: Bearer s3cret-toke\r\n", 401},
        {"GET /v1/members", "Authorization: Bearer s3cret-tokenx\r\n", 401},
        {"GET /v1/members", "Authorization: Basic s3cret-token\r\n", 401},
        {"GET /v1/members", "Authorization: Bearer \r\n", 401},
        {"GET /v1/members?token=s3cret-token", "", 401},
        {"GET /v1/nothing", "", 401},
        {"POST /v1/drain", "", 401},
        {"GET /v1/keys", "", 401},
        {"POST /v1/keys/00000012/use", "", 401},
        {"POST /v1/keys/00000012/use", "Authorization: Bearer wrong\r\n", 401},
        {"GET /v1/members", "Authorization: Bearer s3cret-token\r\n", 200},
        {"GET /v1/members", "authorization: bearer second\r\n", 200},
        {"GET /v1/members",
         "Authorization: Bearer s3cret-token\r\nAuthorization: Bearer s3cret-token\r\n", 400},
        {"GET /v1/nothing", "Authorization: Bearer s3cret-token\r\n", 404},
        {"GET /debug/pprof", "Authorization: Bearer s3cret-token\r\n", 404},
    };
    struct fixture f;

    (void)state;
    start(&f, "127.0.0.1:0", "# of the operator\ns3cret-token\r\n\nsecond");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ask(&f, cases[i].line, cases[i].lines);
        if (f.status != cases[i].status)
            fail_msg("%s, %s: %d", cases[i].line, cases[i].lines, f.status);
        if (f.status == 401)
            assert_non_null(strstr(f.answer, "WWW-Authenticate: Bearer\r\n"));
    }
    stop(&f);
}

static void test_admin_keeps_browsers_of_other_sites_out(void **state)
{
    static const struct {
        const char *line, *host, *lines;
        int status;
    } cases[] = {
        {"GET /v1/members", "evil.example", "", 403},
        {"GET /v1/members", "127.0.0.1.evil.example:9090", "", 403},
        {"GET /v1/members", "localhost.evil:80", "", 403},
        {"GET /v1/members", "[::1", "", 403},
        {"GET /v1/members", "localhost:80x", "", 403},
        {"GET /healthz", "evil.example", "", 403},
        {"GET /v1/members", "127.0.0.1:9090", "Origin: http://evil.example\r\n", 403},
        {"GET /v1/members", "127.0.0.1:9090", "Origin: null\r\n", 403},
        {"POST /v1/drain", "127.0.0.1:9090", "Origin: http://localhost:9090\r\n", 403},
        {"GET /v1/members", "127.0.0.1:9090", "Host: 127.0.0.1:9090\r\n", 400},
        {"GET /v1/members", "127.0.0.1:9090", "Origin: http://127.0.0.1:9090\r\n", 200},
        {"GET /v1/members", "localhost:1234", "", 200},
        {"GET /v1/members", "LocalHost", "", 200},
        {"GET /v1/members", "127.1.2.3", "", 200},
        {"GET /v1/members", "[::1]:9090", "", 200},
    };
    struct fixture f;

    (void)state;
    drains = 0;
    start(&f, "127.0.0.1:0", NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ask_host(&f, cases[i].line, cases[i].host, cases[i].lines);
        if (f.status != cases[i].status)
            fail_msg("%s at %s, %s: %d", cases[i].line, cases[i].host, cases[i].lines, f.status);
    }
    assert_int_equal(drains, 0);
    stop(&f);
}

static void test_admin_refuses_odd_requests(void **state)
{
    static const char line_end[] = "\r\n";
    struct fixture f;
    char line[12000];

    (void)state;
    drains = 0;
    start(&f, "127.0.0.1:0", NULL);
    ask(&f, "POST /v1/members", "Content-Length: 0\r\n");
    assert_int_equal(f.status, 405);
    ask(&f, "DELETE /healthz", "");
    assert_int_equal(f.status, 405);
    ask(&f, "POST /healthz", "");
    assert_int_equal(f.status, 405);
    ask(&f, "GET /v1/drain", "");
    assert_int_equal(f.status, 405);
    ask(&f, "GET /healthz", "Content-Length: 3\r\n\r\nabc");
    assert_int_equal(f.status, 400);
    ask(&f, "GET /healthz", "Transfer-Encoding: chunked\r\n\r\n0\r\n");
    assert_int_equal(f.status, 400);
    ask(&f, "GET /v1/members?x=1", "");
    assert_int_equal(f.status, 400);
    ask(&f, "GET /healthz%00", "");
    assert_int_equal(f.status, 404);
    ask(&f, "GET /v1/../healthz", "");
    assert_int_equal(f.status, 404);
    snprintf(line, sizeof line, "GET /v1/members?%0*d", 10240, 0);
    ask(&f, line, "");
    assert_int_equal(f.status, 400);
    snprintf(line, sizeof line, "X: %0*d%s", 11000, 0, line_end);
    ask(&f, "GET /healthz", line);
    assert_true(f.status == 431 || f.status == 200);
    ask(&f, "POST /v1/drain", "Content-Length: 0\r\n");
    assert_int_equal(f.status, 202);
    ask(&f, "POST /v1/drain", "");
    assert_int_equal(f.status, 202);
    assert_int_equal(drains, 2);
    ask(&f, "GET /healthz", "");
    assert_int_equal(f.status, 200);
    stop(&f);
}

static void test_admin_a_header_block_beyond_its_memory_ends_the_connection(void **state)
{
    struct fixture f;
    char *text = malloc(40000);
    size_t length = (size_t)sprintf(text, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ");

    (void)state;
    memset(text + length, 'x', 30000);
    memcpy(text + length + 30000, "\r\n\r\n", 5);
    start(&f, "127.0.0.1:0", NULL);
    send_raw(&f, text);
    assert_true(f.status == 431 || f.status == 413 || f.status == 0);
    ask(&f, "GET /healthz", "");
    assert_int_equal(f.status, 200);
    stop(&f);
    free(text);
}

static void test_admin_answers_at_a_bounded_rate(void **state)
{
    struct fixture f;
    int refused = 0;

    (void)state;
    start(&f, "127.0.0.1:0", NULL);
    for (int i = 0; i < 60; i++) {
        send_raw(&f, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        refused += f.status == 429;
        assert_true(f.status == 200 || f.status == 429);
    }
    assert_int_equal(refused, 10);
    assert_non_null(strstr(f.answer, "Retry-After: 1\r\n"));
    send_raw(&f, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_int_equal(f.status, 200);
    f.now_ms += 1000;
    send_raw(&f, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_int_equal(f.status, 200);
    stop(&f);
}

static void test_admin_drops_a_slow_request_at_its_deadline(void **state)
{
    struct fixture f;
    char byte;
    int fd;

    (void)state;
    start(&f, "127.0.0.1:0", NULL);
    fd = dial(&f);
    assert_int_equal(send(fd, "GET /he", 7, MSG_NOSIGNAL), 7);
    assert_false(run_until_readable(&f, fd));
    assert_true(admin_timeout_ms(f.admin, f.now_ms) <= 10000);
    for (int i = 0; i < 9; i++) {
        f.now_ms += 1000;
        assert_int_equal(send(fd, "a", 1, MSG_NOSIGNAL), 1);
        admin_run(f.admin, f.now_ms);
        assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
    }
    f.now_ms += 1000;
    assert_true(run_until_readable(&f, fd));
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    close(fd);
    ask(&f, "GET /healthz", "");
    assert_int_equal(f.status, 200);
    stop(&f);
}

static void test_admin_a_kept_connection_may_ask_again(void **state)
{
    static const char text[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct fixture f;
    char answer[1024];
    int fd;

    (void)state;
    start(&f, "127.0.0.1:0", NULL);
    fd = dial(&f);
    for (int i = 0; i < 4; i++) {
        f.now_ms += 8000;
        assert_int_equal(send(fd, text, sizeof text - 1, MSG_NOSIGNAL), sizeof text - 1);
        assert_true(run_until_readable(&f, fd));
        assert_true(recv(fd, answer, sizeof answer, 0) > 12);
        assert_memory_equal(answer, "HTTP/1.1 200", 12);
    }
    close(fd);
    stop(&f);
}

static void test_admin_a_bad_token_file_leaves_the_tokens_in_use(void **state)
{
    static const char *const bad[] = {"", "# nothing\n", "a b\n", "tok\xc3\xa9n\n",
                                      "1\n2\n3\n4\n5\n6\n7\n8\n9\n"};
    char fifo[80], line[400];
    struct fixture f;

    (void)state;
    start(&f, "127.0.0.1:0", "first\n");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        write_tokens(&f, bad[i]);
        assert_int_equal(admin_load_tokens(f.admin, f.token_path), -EBADMSG);
    }
    memset(line, 'x', sizeof line);
    memcpy(line + 257, "\n", 2);
    write_tokens(&f, line);
    assert_int_equal(admin_load_tokens(f.admin, f.token_path), -EBADMSG);
    assert_int_equal(admin_load_tokens(f.admin, "/nonexistent/token"), -ENOENT);
    assert_int_equal(admin_load_tokens(f.admin, "/tmp"), -EBADMSG);
    snprintf(fifo, sizeof fifo, "%s.fifo", f.token_path);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(admin_load_tokens(f.admin, fifo), -EBADMSG);
    unlink(fifo);
    ask(&f, "GET /v1/members", "Authorization: Bearer first\r\n");
    assert_int_equal(f.status, 200);
    write_tokens(&f, "second\n");
    assert_int_equal(admin_load_tokens(f.admin, f.token_path), 0);
    ask(&f, "GET /v1/members", "Authorization: Bearer first\r\n");
    assert_int_equal(f.status, 401);
    ask(&f, "GET /v1/members", "Authorization: Bearer second\r\n");
    assert_int_equal(f.status, 200);
    stop(&f);
}

static void test_admin_takes_only_addresses_to_listen_at(void **state)
{
    static const char *const bad[] = {"",
                                      "localhost:9090",
                                      "127.0.0.1",
                                      "127.0.0.1:",
                                      "127.0.0.1:70000",
                                      "127.0.0.1: 80",
                                      "::1:80",
                                      "[127.0.0.1]:80",
                                      "127.0.0.1:-1",
                                      "[::1]",
                                      ":80",
                                      "127.0.0.1:0x50"};
    struct admin *admin;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct admin_config config = {.listen = bad[i]};

        if (admin_start(&admin, &config, &source, 0) != -EINVAL)
            fail_msg("took %s", bad[i]);
    }
    admin_stop(NULL);
}

/* An IPv4 address written as IPv6 is not taken for loopback: so that this can be tried at all. */
static void test_admin_without_a_token_shows_nothing_beyond_loopback(void **state)
{
    struct admin_config config = {.listen = "[::ffff:127.0.0.1]:0"};
    struct admin *admin;
    struct fixture f;

    (void)state;
    if (admin_start(&admin, &config, &source, 0) < 0)
        skip(); /* no IPv6 here */
    admin_stop(admin);
    start(&f, config.listen, NULL);
    ask_host(&f, "GET /v1/members", "127.0.0.1", "");
    assert_int_equal(f.status, 403);
    ask_host(&f, "GET /healthz", "pod-1.svc:9090", "");
    assert_int_equal(f.status, 200);
    stop(&f);
    start(&f, config.listen, "token\n");
    ask_host(&f, "GET /v1/members", "pod-1.svc:9090", "Authorization: Bearer token\r\n");
    assert_int_equal(f.status, 200);
    ask_host(&f, "GET /v1/members", "pod-1.svc:9090",
             "Authorization: Bearer token\r\nOrigin: http://evil.example\r\n");
    assert_int_equal(f.status, 403);
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_admin_open_routes_answer_without_a_token),
        cmocka_unit_test(test_admin_lists_members_even_with_odd_zones),
        cmocka_unit_test(test_admin_pages_through_sessions),
        cmocka_unit_test(test_admin_says_why_without_showing_the_id),
        cmocka_unit_test(test_admin_lists_keys_by_their_ids_and_uses_one),
        cmocka_unit_test(test_admin_v1_wants_the_token),
        cmocka_unit_test(test_admin_keeps_browsers_of_other_sites_out),
        cmocka_unit_test(test_admin_refuses_odd_requests),
        cmocka_unit_test(test_admin_a_header_block_beyond_its_memory_ends_the_connection),
        cmocka_unit_test(test_admin_answers_at_a_bounded_rate),
        cmocka_unit_test(test_admin_drops_a_slow_request_at_its_deadline),
        cmocka_unit_test(test_admin_a_kept_connection_may_ask_again),
        cmocka_unit_test(test_admin_a_bad_token_file_leaves_the_tokens_in_use),
        cmocka_unit_test(test_admin_takes_only_addresses_to_listen_at),
        cmocka_unit_test(test_admin_without_a_token_shows_nothing_beyond_loopback),
    };

    return cmocka_run_group_tests_name("admin", tests, NULL, NULL);
}
