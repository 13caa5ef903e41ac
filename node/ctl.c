/* ctl.c - see ctl.h. A small blocking HTTP client, and tables. One answer has three seconds. */
#include "node/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "http/h1.h"
#include "node/config.h"

#define TIMEOUT_MS 3000
#define ANSWER_MAX (16u << 20) /* bytes */
#define TARGET_MAX_BYTES 900
#define REQUEST_MAX 2048
#define PAGE 1000
#define PAGES_MAX 1000
#define AGAIN_MAX 5 /* while the endpoint says that we ask too often */

enum { EXIT_YES = 0, EXIT_NO = 1, EXIT_USAGE = 2 };

struct ctl {
    const struct config *config;
    struct mesh_addr to;
    char to_text[ADDR_TEXT_MAX];
    char token[SECRETS_TOKEN_MAX + 1];
    /* of the last answer */
    int status;
    struct bytes *body; /* or NULL */
};

static bool complain(const struct ctl *ctl, const char *text)
{
    fprintf(stderr, "meshd: %s %s\n", text, ctl->to_text);
    return false;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static int64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool wait_for(int fd, short events, int64_t until_ms)
{
    struct pollfd ready = {.fd = fd, .events = events};
    int rc;
    do {
        int64_t left_ms = until_ms - clock_ms();
        rc = poll(&ready, 1, left_ms > 0 ? (int)left_ms : 0);
    } while (rc < 0 && errno == EINTR);
    if (rc == 0)
        errno = ETIMEDOUT;
    return rc == 1;
}

static int dial(const struct ctl *ctl, int64_t until_ms)
{
    struct sockaddr_storage to;
    addr_to_socket(&to, &ctl->to);
    int fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    socklen_t length =
        addr_is_v4(&ctl->to) ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    int error = connect(fd, (struct sockaddr *)&to, length) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
        length = sizeof error;
        if (!wait_for(fd, POLLOUT, until_ms) ||
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
            error = errno;
    }
    if (error == 0)
        return fd;
    close(fd);
    return -error;
}

static bool send_all(int fd, const char *text, size_t length, int64_t until_ms)
{
    while (length > 0) {
        ssize_t sent = send(fd, text, length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        if (sent < 0 && !wait_for(fd, POLLOUT, until_ms))
            return false;
        text += sent > 0 ? sent : 0;
        length -= sent > 0 ? (size_t)sent : 0;
    }
    return true;
}

/* Reads the one answer. False: errno says why, EBADMSG for what is no answer. */
static bool receive(struct ctl *ctl, int fd, struct h1 *h, int64_t until_ms)
{
    static uint8_t buffer[64u << 10];
    for (;;) {
        ssize_t got = wait_for(fd, POLLIN, until_ms) ? recv(fd, buffer, sizeof buffer, 0) : -1;
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (got < 0)
            return false;
        const uint8_t *at = buffer;
        enum h1_event event;
        do {
            size_t used = 0;
            event = got > 0 ? h1_feed(h, at, (size_t)(buffer + got - at), &used) : h1_eof(h);
            at += used;
            if (event == H1_HEAD)
                ctl->status = h->head->status;
        } while (event == H1_HEAD || event == H1_BODY);
        errno = EBADMSG;
        if (event == H1_END)
            ctl->body = h1_body_take(h);
        if (event != H1_MORE || got == 0)
            return event == H1_END;
    }
}

static bool explain(const struct ctl *ctl, int error)
{
    char text[160];
    if (error == ECONNREFUSED)
        return complain(ctl, "no meshd answers at");
    if (error == ETIMEDOUT)
        return complain(ctl, "no answer in 3 s from");
    if (error == EBADMSG)
        return complain(ctl, "no admin endpoint of a meshd is at");
    snprintf(text, sizeof text, "%s while asking", strerror(error));
    return complain(ctl, text);
}

/* True: ctl->status and ctl->body are set; false: it was said why. */
static bool request(struct ctl *ctl, const char *method, const char *target)
{
    char text[REQUEST_MAX];
    int64_t until_ms = clock_ms() + TIMEOUT_MS;
    struct h1_limits limits = h1_limits_default(H1_RESPONSES);
    struct h1 h;
    bytes_unref(ctl->body);
    ctl->body = NULL;
    ctl->status = 0;
    int length = snprintf(
        text, sizeof text, "%s %s HTTP/1.1\r\nHost: %s\r\n%s%s%sConnection: close\r\n\r\n", method,
        target, ctl->to_text, ctl->token[0] != '\0' ? "Authorization: Bearer " : "", ctl->token,
        ctl->token[0] != '\0' ? "\r\n" : "");
    int fd = dial(ctl, until_ms);
    if (fd < 0)
        return explain(ctl, -fd);
    limits.collect = true;
    limits.body_max = ANSWER_MAX;
    h1_init(&h, H1_RESPONSES, &limits, NULL);
    h1_expect_response(&h, method[0] == 'P' ? H1_METHOD_POST : H1_METHOD_GET);
    bool good = send_all(fd, text, (size_t)length, until_ms) && receive(ctl, fd, &h, until_ms);
    int error = errno;
    h1_deinit(&h);
    close(fd);
    return good || explain(ctl, error);
}

static bool get(struct ctl *ctl, const char *target)
{
    return request(ctl, "GET", target);
}

static void explain_status(const struct ctl *ctl)
{
    char text[160];
    if (ctl->status == 401)
        (void)complain(ctl, ctl->token[0] == '\0' ? "a token is needed (--admin-token-file) at"
                                                  : "the token is not accepted at");
    else if (ctl->status == 403)
        (void)complain(ctl, "without a token file /v1 is for loopback only; refused at");
    else {
        snprintf(text, sizeof text, "status %d from", ctl->status);
        (void)complain(ctl, text);
    }
}

/* The JSON of a 200, an object in which `key` is a `type`; NULL: it was said why there is none. */
static json_t *get_json(struct ctl *ctl, const char *target, const char *key, json_type type)
{
    json_t *json = NULL;
    for (int i = 0; i < AGAIN_MAX; i++) {
        if (!get(ctl, target))
            return NULL;
        if (ctl->status != 429)
            break;
        (void)poll(NULL, 0, 1000);
    }
    if (ctl->status == 200 && ctl->body != NULL)
        json = json_loadb((const char *)ctl->body->data, ctl->body->length, 0, NULL);
    const json_t *member = json_object_get(json, key);
    if (member != NULL && json_typeof(member) == type)
        return json;
    json_decref(json);
    if (ctl->status == 200)
        (void)complain(ctl, "not understood: the answer of");
    else
        explain_status(ctl);
    return NULL;
}

/* ---- printing -------------------------------------------------------------------------------- */

#define CELLS_MAX 7
#define CELL_BYTES 80

/* Names come from other peers: a terminal obeys none of them. */
static void put_cell(char cell[CELL_BYTES], const char *text)
{
    size_t i = 0;
    for (; text != NULL && text[i] != '\0' && i + 1 < CELL_BYTES; i++)
        cell[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
    cell[i] = '\0';
    if (i == 0)
        memcpy(cell, "-", 2);
}

struct table {
    size_t columns, rows;
    char (*cells)[CELLS_MAX][CELL_BYTES];
};

static char (*table_row(struct table *table))[CELL_BYTES]
{
    size_t size = (table->rows + 1) * sizeof table->cells[0];
    void *cells = realloc(table->cells, size);
    if (cells == NULL)
        return NULL;
    table->cells = cells;
    memset(table->cells[table->rows], 0, sizeof table->cells[0]);
    return table->cells[table->rows++];
}

static void table_head(struct table *table, const char *const *names, size_t count)
{
    char(*row)[CELL_BYTES] = table_row(table);
    table->columns = count;
    for (size_t i = 0; row != NULL && i < count; i++)
        put_cell(row[i], names[i]);
}

static void table_print(struct table *table)
{
    int widths[CELLS_MAX] = {0};
    for (size_t row = 0; row < table->rows; row++) {
        for (size_t i = 0; i + 1 < table->columns; i++) {
            int length = (int)strlen(table->cells[row][i]);
            widths[i] = length > widths[i] ? length : widths[i];
        }
    }
    for (size_t row = 0; row < table->rows; row++) {
        for (size_t i = 0; i < table->columns; i++)
            printf("%-*s%s", widths[i], table->cells[row][i], i + 1 < table->columns ? "  " : "\n");
    }
    free(table->cells);
}

static const char *text_of(const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));
    return text != NULL ? text : "";
}

static uint64_t number_of(const json_t *json, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(json, key));
    return value > 0 ? (uint64_t)value : 0;
}

static bool flag_of(const json_t *json, const char *key)
{
    return json_is_true(json_object_get(json, key));
}

static void put_number(char cell[CELL_BYTES], uint64_t value)
{
    snprintf(cell, CELL_BYTES, "%" PRIu64, value);
}

static void put_time(char cell[CELL_BYTES], uint64_t ms)
{
    uint64_t s = ms / 1000;
    if (s < 120)
        snprintf(cell, CELL_BYTES, "%" PRIu64 ".%us", s, (unsigned)(ms % 1000 / 100));
    else if (s < 7200)
        snprintf(cell, CELL_BYTES, "%" PRIu64 "m%02us", s / 60, (unsigned)(s % 60));
    else
        snprintf(cell, CELL_BYTES, "%" PRIu64 "h%02um", s / 3600, (unsigned)(s / 60 % 60));
}

static int print_json(json_t *json)
{
    (void)json_dumpf(json, stdout, JSON_INDENT(2));
    putchar('\n');
    return EXIT_YES;
}

/* ---- members --------------------------------------------------------------------------------- */

static void member_row(struct table *table, const json_t *member, const char *self)
{
    char(*row)[CELL_BYTES] = table_row(table);
    char name[CELL_BYTES];
    if (row == NULL)
        return;
    put_cell(name, text_of(member, "name"));
    snprintf(row[0], CELL_BYTES, "%.76s%s", name, strcmp(name, self) == 0 ? " *" : "");
    const char *state = text_of(member, "state");
    put_cell(row[1], state);
    put_cell(row[2], text_of(member, "addr"));
    /* What the gone said last is no news. */
    if (strcmp(state, "dead") == 0 || strcmp(state, "left") == 0)
        put_cell(row[3], "");
    else
        snprintf(row[3], CELL_BYTES, "%s%s%s",
                 flag_of(member, "serving") ? "serving" : "not serving",
                 flag_of(member, "draining") ? ", draining" : "",
                 flag_of(member, "hold") ? ", on hold" : "");
    put_cell(row[4], text_of(member, "zone"));
    put_number(row[5], number_of(member, "weight"));
    put_number(row[6], number_of(member, "load"));
}

static int compare_rows(const void *a, const void *b)
{
    return strcmp(a, b); /* the first cell: names */
}

static int show_members(struct ctl *ctl)
{
    static const char *const head[] = {"NAME", "STATE",  "ADDRESS", "SERVICE",
                                       "ZONE", "WEIGHT", "SESSIONS"};
    struct table table = {.rows = 0};
    json_t *json = get_json(ctl, "/v1/members", "members", JSON_ARRAY), *member;
    size_t i;
    if (json == NULL)
        return EXIT_NO;
    if (ctl->config->json)
        print_json(json);
    else {
        table_head(&table, head, sizeof head / sizeof head[0]);
        json_array_foreach(json_object_get(json, "members"), i, member)
            member_row(&table, member, text_of(json, "self"));
        if (table.rows > 2)
            qsort(table.cells[1], table.rows - 1, sizeof table.cells[0], compare_rows);
        table_print(&table);
    }
    json_decref(json);
    return EXIT_YES;
}

/* ---- sessions -------------------------------------------------------------------------------- */

/* A page at a time: there may be many. Widths are those of large values. */
static void print_page(const json_t *sessions, bool is_first)
{
    static const char format[] = "%-8s  %5s  %9s  %9s  %9s  %5s  %7s\n";
    const json_t *session;
    size_t i;
    if (is_first)
        printf(format, "SESSION", "EPOCH", "AGE", "IDLE", "CALLS", "OPEN", "STREAMS");
    json_array_foreach(sessions, i, session)
    {
        char row[7][CELL_BYTES];
        put_cell(row[0], text_of(session, "session"));
        put_number(row[1], number_of(session, "epoch"));
        put_time(row[2], number_of(session, "age_ms"));
        put_time(row[3], number_of(session, "idle_ms"));
        put_number(row[4], number_of(session, "calls"));
        put_number(row[5], number_of(session, "exchanges_open"));
        put_number(row[6], number_of(session, "streams_open"));
        printf(format, row[0], row[1], row[2], row[3], row[4], row[5], row[6]);
    }
}

static int show_sessions(struct ctl *ctl)
{
    json_t *all = json_array();
    uint64_t from = 0;
    bool is_last = false, is_good = true;
    for (int page = 0; page < PAGES_MAX && !is_last && is_good; page++) {
        char target[64];
        snprintf(target, sizeof target, "/v1/sessions?from=%" PRIu64 "&limit=%d", from, PAGE);
        json_t *json = get_json(ctl, target, "sessions", JSON_ARRAY);
        json_t *sessions = json_object_get(json, "sessions");
        is_good = json != NULL;
        if (is_good && ctl->config->json)
            is_good = json_array_extend(all, sessions) == 0;
        else if (is_good)
            print_page(sessions, page == 0);
        is_last = number_of(json, "next") <= from;
        from = number_of(json, "next");
        json_decref(json);
    }
    if (is_good && ctl->config->json)
        print_json(all);
    json_decref(all);
    return is_good ? EXIT_YES : EXIT_NO;
}

/* ---- why ------------------------------------------------------------------------------------- */

static const char *peer_text(const json_t *peer, char text[CELL_BYTES])
{
    put_cell(text, text_of(peer, "name"));
    if (text[0] == '-' && text[1] == '\0')
        snprintf(text, CELL_BYTES, "an unknown peer (generation %" PRIu64 ")",
                 number_of(peer, "generation"));
    return text;
}

static void say_peer(const char *before, const json_t *peer, const char *after)
{
    char text[CELL_BYTES];
    printf("%s%s%s\n", before, peer_text(peer, text), after);
}

static void say_verdict(const json_t *why)
{
    static const struct {
        const char *name, *text;
    } verdicts[] = {
        {"here", "This peer owns the session and answers."},
        {"there", "Another peer owns it: what comes here is forwarded."},
        {"gone", "Its owner is gone: requests get a definite answer."},
        {"away", "It is not known yet who owns it: requests wait while that is found out."},
        {"ended", "It has ended, or no peer knows it: requests get a 404."},
        {"foreign", "No peer is asked: requests get a 404."},
    };
    for (size_t i = 0; i < sizeof verdicts / sizeof verdicts[0]; i++) {
        if (strcmp(text_of(why, "verdict"), verdicts[i].name) == 0)
            printf("%s\n", verdicts[i].text);
    }
}

static void say_why(const json_t *why)
{
    const json_t *record = json_object_get(why, "record"), *home = json_object_get(why, "home");
    const json_t *hint = json_object_get(why, "hint"), *owner = json_object_get(why, "owner");
    const json_t *candidates = json_object_get(why, "candidates"), *candidate;
    const json_t *claim = json_object_get(why, "claim");
    char text[CELL_BYTES];
    size_t i;
    put_cell(text, text_of(why, "session"));
    if (text_of(why, "session")[0] != '\0')
        printf("In logs and lists this session is %s.\n", text);
    if (!flag_of(why, "well_formed"))
        printf("This is no session id of a mesh: it has not the form of one.\n");
    else if (!flag_of(why, "genuine"))
        printf("It has the form of a session id, but no key of this mesh made it.\n");
    else {
        printf("The id is genuine: a key of this mesh made it.\n");
        if (json_is_object(home))
            printf("The peer that made it is %s: ", peer_text(home, text));
        else
            printf("The peer that made it was never heard of: ");
        put_cell(text, text_of(why, "home_state"));
        printf("%s.\n", text);
        if (number_of(record, "epoch") > 0) {
            printf("There is a record of it here: epoch %" PRIu64 ", ", number_of(record, "epoch"));
            say_peer("owned by ", json_object_get(record, "owner"), ".");
            if (flag_of(record, "handed_over"))
                printf("Its former owner handed it over.\n");
        } else
            printf("There is no record of it here.\n");
        if (json_is_object(hint))
            say_peer("It was learned that ", hint, " has it.");
        if (json_is_object(claim))
            say_peer("", claim,
                     " says that it carries on sessions of its maker, this one among them.");
        if (json_is_object(owner))
            say_peer("A request for it goes to ", owner, ".");
        printf("Its candidates, in order:%s", json_array_size(candidates) == 0 ? " none" : "");
        json_array_foreach(candidates, i, candidate)
            printf("%s %s", i > 0 ? "," : "", peer_text(candidate, text));
        printf(".\n");
    }
    say_verdict(why);
}

/* What is no part of an id must not become part of the path. */
static bool why_target(char target[TARGET_MAX_BYTES], const char *id)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t at = (size_t)snprintf(target, TARGET_MAX_BYTES, "/v1/why/");
    for (; *id != '\0'; id++) {
        if (at + 4 > TARGET_MAX_BYTES)
            return false;
        at += (size_t)snprintf(target + at, TARGET_MAX_BYTES - at,
                               strchr(plain, *id) != NULL ? "%c" : "%%%02X",
                               (unsigned)(unsigned char)*id);
    }
    return true;
}

static int show_why(struct ctl *ctl)
{
    char target[TARGET_MAX_BYTES];
    if (!why_target(target, ctl->config->argument)) {
        fprintf(stderr, "meshd: why: that is too long for a session id\n");
        return EXIT_USAGE;
    }
    json_t *json = get_json(ctl, target, "verdict", JSON_STRING);
    if (json == NULL)
        return EXIT_NO;
    if (ctl->config->json)
        print_json(json);
    else
        say_why(json);
    json_decref(json);
    return EXIT_YES;
}

/* ---- keys ------------------------------------------------------------------------------------ */

static void put_names(char cell[CELL_BYTES], const json_t *names, uint64_t count)
{
    size_t at = 0, i;
    const json_t *name;
    snprintf(cell, CELL_BYTES, "%s", count == 0 ? "-" : "");
    json_array_foreach(names, i, name)
    {
        if (at < CELL_BYTES)
            at += (size_t)snprintf(cell + at, CELL_BYTES - at, "%s%s", i > 0 ? "," : "",
                                   json_string_value(name));
    }
    if (count > json_array_size(names) && at < CELL_BYTES)
        snprintf(cell + at, CELL_BYTES - at, ",...");
}

static int list_keys(struct ctl *ctl)
{
    static const char *const names[] = {"KEY",    "USE",     "SEALS",
                                        "WANTED", "SEALING", "NOT ACCEPTED BY"};
    struct table table = {.rows = 0};
    const json_t *key;
    size_t i;
    json_t *json = get_json(ctl, "/v1/keys", "keys", JSON_ARRAY);
    if (json == NULL)
        return EXIT_NO;
    if (ctl->config->json) {
        print_json(json);
        json_decref(json);
        return EXIT_YES;
    }
    table_head(&table, names, sizeof names / sizeof names[0]);
    json_array_foreach(json_object_get(json, "keys"), i, key)
    {
        char(*row)[CELL_BYTES] = table_row(&table);
        if (row == NULL)
            break;
        put_cell(row[0], text_of(key, "key"));
        put_cell(row[1], text_of(key, "use"));
        put_cell(row[2], flag_of(key, "seals") ? "yes" : "-");
        put_cell(row[3], flag_of(key, "wanted") ? "yes" : "-");
        put_number(row[4], number_of(key, "sealing"));
        put_names(row[5], json_object_get(key, "refusing"), number_of(key, "refusing_count"));
    }
    table_print(&table);
    json_decref(json);
    return EXIT_YES;
}

static int use_key(struct ctl *ctl, const char *key)
{
    char target[64];
    if (strlen(key) != 8 || strspn(key, "0123456789abcdef") != 8) {
        fprintf(stderr, "meshd: keys use: a key is named by its id, as `meshd keys` lists it\n");
        return EXIT_USAGE;
    }
    snprintf(target, sizeof target, "/v1/keys/%s/use", key);
    if (!request(ctl, "POST", target))
        return EXIT_NO;
    if (ctl->status == 200)
        return EXIT_YES;
    if (ctl->status == 404)
        fprintf(stderr, "meshd: no such key is in use\n");
    else if (ctl->status == 409)
        fprintf(stderr, "meshd: not all living members accept that key: see meshd keys\n");
    else
        explain_status(ctl);
    return EXIT_NO;
}

static int show_keys(struct ctl *ctl)
{
    const struct config *config = ctl->config;
    if (config->argument == NULL)
        return list_keys(ctl);
    if (strcmp(config->argument, "use") == 0 && config->argument2 != NULL)
        return use_key(ctl, config->argument2);
    fprintf(stderr, "meshd: keys: takes nothing, or: use KEY\n");
    return EXIT_USAGE;
}

/* ---- health ---------------------------------------------------------------------------------- */

static bool says_ready(const struct bytes *body)
{
    static const char ready[] = "ready\n";
    return body != NULL && body->length == sizeof ready - 1 &&
           memcmp(body->data, ready, sizeof ready - 1) == 0;
}

static int show_health(struct ctl *ctl)
{
    if (!get(ctl, "/readyz"))
        return EXIT_NO;
    json_t *json = NULL, *reason;
    size_t i;
    if (ctl->status == 503 && ctl->body != NULL)
        json = json_loadb((const char *)ctl->body->data, ctl->body->length, 0, NULL);
    /* Whatever else listens there may well answer 200 to anything. */
    if (ctl->status == 200 ? !says_ready(ctl->body)
                           : !json_is_array(json_object_get(json, "reasons"))) {
        (void)explain(ctl, EBADMSG);
        json_decref(json);
        return EXIT_NO;
    }
    if (ctl->config->json && json != NULL)
        print_json(json);
    else if (ctl->config->json)
        printf("{\"ready\": %s}\n", ctl->status == 200 ? "true" : "false");
    else {
        printf("%s\n", ctl->status == 200 ? "ready" : "not ready");
        json_array_foreach(json_object_get(json, "reasons"), i, reason)
        {
            char text[CELL_BYTES];
            put_cell(text, json_string_value(reason));
            printf("  %s\n", text);
        }
    }
    json_decref(json);
    return ctl->status == 200 ? EXIT_YES : EXIT_NO;
}

/* ---- commands -------------------------------------------------------------------------------- */

static const struct command {
    const char *name;
    int (*show)(struct ctl *ctl);
    bool takes_argument, judges_arguments;
} commands[] = {{"members", show_members, false, false},
                {"sessions", show_sessions, false, false},
                {"why", show_why, true, false},
                {"keys", show_keys, false, true},
                {"health", show_health, false, false}};

static const struct command *command_named(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

bool ctl_is_command(const char *name)
{
    return command_named(name) != NULL;
}

/* A wildcard is where it listens; here is where it answers. */
static void dial_here(struct mesh_addr *addr)
{
    struct mesh_addr loopback;
    if (addr_is_any(addr) &&
        addr_read(&loopback, addr_is_v4(addr) ? "127.0.0.1" : "[::1]", addr->port))
        *addr = loopback;
}

int ctl_main(const char *name, const struct config *config)
{
    const struct command *command = command_named(name);
    struct ctl ctl = {.config = config, .to = config->admin};
    char why[SECRETS_WHY_MAX];
    if (!command->judges_arguments &&
        (command->takes_argument != (config->argument != NULL) || config->argument2 != NULL)) {
        fprintf(stderr, "meshd: %s: %s\n", name,
                command->takes_argument ? "needs a session id" : "takes no argument");
        return EXIT_USAGE;
    }
    if (!config->has_admin) {
        fprintf(stderr, "meshd: --admin: there is no admin endpoint to ask\n");
        return EXIT_USAGE;
    }
    if (config->host.admin_token_path != NULL &&
        secrets_read_token(ctl.token, config->host.admin_token_path, why) < 0) {
        fprintf(stderr, "meshd: --admin-token-file: %s\n", why);
        return EXIT_USAGE;
    }
    dial_here(&ctl.to);
    addr_text(&ctl.to, ctl.to_text);
    int code = command->show(&ctl);
    bytes_unref(ctl.body);
    explicit_bzero(ctl.token, sizeof ctl.token);
    return code;
}
