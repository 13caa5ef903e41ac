/* alternate - a balancer without mercy: every request goes to the next backend in strict turn,
 * over a new connection, so that a session meets every peer. It adds "Connection: close" to both
 * heads and passes all other bytes on as they are, in both directions, at once. It does not judge
 * HTTP: what is malformed is the backend's to refuse. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tests/tools/io.h"

#define BACKENDS_MAX 64
#define HEAD_BYTES (64 * 1024)
#define HOLD_BYTES (256 * 1024) /* waiting for a slow side: the fast one is not read meanwhile */
#define PEEK_BYTES 2048         /* of a body, to name its method in the log */
#define LINGER_MS 2000          /* after one side ended, for the other to end as well */
#define LINGER_ROUNDS 15        /* of it, while bytes wait */

static struct {
    uv_loop_t *loop;
    struct sockaddr_storage backends[BACKENDS_MAX];
    unsigned count, turn;
    bool skip_dead, tells;
    FILE *log;
} balancer;

/* One request: the client's connection and the backend's. Either may be gone first. */
struct pair {
    struct io_stream client, backend;
    uv_timer_t linger;
    unsigned open; /* handles not yet closed */
    bool is_ending, has_backend, is_connected, has_answer, is_refused;
    unsigned index, tries, lingered;
    char *head; /* of the request, as it came so far; then rewritten, until connected */
    size_t head_length;
    char *answer; /* the response's head, as it came so far */
    size_t answer_length;
    char method[12], rpc_method[40];
    uint32_t session;
    uint64_t begun_ns;
};

static void on_handle_closed(struct pair *pair)
{
    if (--pair->open > 0)
        return;
    free(pair->head);
    free(pair->answer);
    free(pair);
}

static void on_stream_closed(struct io_stream *stream)
{
    on_handle_closed(stream->owner);
}

static void on_timer_closed(uv_handle_t *timer)
{
    on_handle_closed(timer->data);
}

static void pair_end(struct pair *pair)
{
    if (pair->is_ending)
        return;
    pair->is_ending = true;
    io_close(&pair->client);
    if (pair->has_backend)
        io_close(&pair->backend);
    uv_close((uv_handle_t *)&pair->linger, on_timer_closed);
}

/* Bytes that still wait for a slow reader get some more rounds. */
static void on_linger(uv_timer_t *timer)
{
    struct pair *pair = timer->data;
    bool waits =
        io_waiting(&pair->client) > 0 || (pair->has_backend && io_waiting(&pair->backend) > 0);
    if (waits && pair->lingered++ < LINGER_ROUNDS)
        return;
    pair_end(pair);
}

static void pair_linger(struct pair *pair)
{
    if (!uv_is_active((uv_handle_t *)&pair->linger))
        uv_timer_start(&pair->linger, on_linger, LINGER_MS, LINGER_MS);
}

/* Our log's line: seconds, HTTP method, JSON-RPC method, session, backend, status, ms. */
static void pair_log(const struct pair *pair, int status)
{
    if (balancer.log == NULL)
        return;
    uint64_t now = io_now_ns();
    fprintf(balancer.log, "%.3f %s %s %08x %u %d %.1f\n", (double)now / 1e9, pair->method,
            pair->rpc_method[0] != '\0' ? pair->rpc_method : "-", pair->session, pair->index,
            status, (double)(now - pair->begun_ns) / 1e6);
}

/* An answer of our own, then the end. */
static void pair_refuse(struct pair *pair, int status, const char *what)
{
    char text[256];
    int length = snprintf(text, sizeof text,
                          "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
                          "Connection: close\r\n\r\n%s\n",
                          status, what, strlen(what) + 1, what);
    pair_log(pair, status);
    pair->is_refused = true;
    io_resume(&pair->client); /* what it still sends is read, or a reset would overtake this */
    if (io_write(&pair->client, text, (size_t)length) < 0) {
        pair_end(pair);
        return;
    }
    io_shut(&pair->client);
    pair_linger(pair);
}

/* Where the empty line of a head ends, or 0. */
static size_t head_end(const char *head, size_t length)
{
    const char *end = memmem(head, length, "\r\n\r\n", 4);
    return end == NULL ? 0 : (size_t)(end - head) + 4;
}

static struct slice head_field(const char *head, size_t length, const char *name)
{
    size_t name_length = strlen(name);
    for (const char *line = memchr(head, '\n', length); line != NULL;) {
        line++;
        size_t left = length - (size_t)(line - head);
        const char *end = memchr(line, '\n', left);
        if (end == NULL)
            break;
        if (left > name_length && line[name_length] == ':' &&
            strncasecmp(line, name, name_length) == 0) {
            const char *at = line + name_length + 1;
            while (at < end && (*at == ' ' || *at == '\t'))
                at++;
            while (end > at && (end[-1] == '\r' || end[-1] == ' '))
                end--;
            return (struct slice){.at = (const uint8_t *)at, .length = (size_t)(end - at)};
        }
        line = end;
    }
    return (struct slice){0};
}

/* The head (its first `end` bytes of `bytes`) with its Connection lines and the empty line replaced
 * by `ours`, then the rest. NULL: no memory. The caller frees. */
static char *rewrite_head(const char *bytes, size_t end, size_t length, const char *ours,
                          size_t *written)
{
    static const char *const dropped[] = {"connection:", "keep-alive:", "proxy-connection:"};
    size_t ours_length = strlen(ours);
    char *out = malloc(length + ours_length);
    if (out == NULL)
        return NULL;
    size_t at = 0;
    for (const char *line = bytes; line < bytes + end - 2;) {
        const char *newline = memchr(line, '\n', (size_t)(bytes + end - line));
        size_t line_length = (size_t)(newline - line) + 1;
        bool drop = false;
        for (size_t i = 0; i < sizeof dropped / sizeof *dropped; i++)
            drop = drop || strncasecmp(line, dropped[i], strlen(dropped[i])) == 0;
        if (!drop) {
            memcpy(out + at, line, line_length);
            at += line_length;
        }
        line += line_length;
    }
    memcpy(out + at, ours, ours_length);
    at += ours_length;
    memcpy(out + at, bytes + end, length - end);
    *written = at + length - end;
    return out;
}

/* Both directions alike: written at once; a side that does not take them stops the other. */
static void pair_pass(struct pair *pair, struct io_stream *from, struct io_stream *to,
                      const void *bytes, size_t length)
{
    if (io_write(to, bytes, length) < 0)
        pair_end(pair);
    else if (io_waiting(to) > HOLD_BYTES)
        io_pause(from);
}

static void on_drained(struct io_stream *stream)
{
    struct pair *pair = stream->owner;
    struct io_stream *from = stream == &pair->client ? &pair->backend : &pair->client;
    if (!pair->is_ending && pair->is_connected)
        io_resume(from);
}

static void on_end(struct io_stream *stream, int why)
{
    struct pair *pair = stream->owner;
    bool is_client = stream == &pair->client;
    if (!is_client && !pair->has_answer) {
        if (pair->answer_length > 0)
            io_write(&pair->client, pair->answer, pair->answer_length);
        pair_log(pair, 0);
    }
    if (why != UV_EOF || (is_client && !pair->is_connected)) {
        pair_end(pair);
        return;
    }
    /* Half a close is passed on as half a close, with a limit. */
    struct io_stream *other = is_client ? &pair->backend : &pair->client;
    bool both_ended = stream->is_shut;
    io_shut(other);
    if (both_ended && io_waiting(other) == 0)
        pair_end(pair);
    else
        pair_linger(pair);
}

static const char close_text[] = "Connection: close\r\n\r\n";

static char *rewrite_answer(const struct pair *pair, size_t end, size_t *written)
{
    char ours[80];
    if (balancer.tells)
        snprintf(ours, sizeof ours, "Alternate-Backend: %u\r\n%s", pair->index, close_text);
    else
        snprintf(ours, sizeof ours, "%s", close_text);
    return rewrite_head(pair->answer, end, pair->answer_length, ours, written);
}

/* The response's head, once it is whole; interim ones (1xx) pass before it. */
static void pair_answer(struct pair *pair)
{
    while (!pair->is_ending && pair->answer_length > 0) {
        char *text = pair->answer;
        size_t end = head_end(text, pair->answer_length), written = pair->answer_length;
        bool is_http = pair->answer_length < 7 || memcmp(text, "HTTP/1.", 7) == 0;
        if (end == 0 && is_http && pair->answer_length < HEAD_BYTES)
            return;
        int status = is_http && end > 12 ? atoi(text + 9) : 0;
        if (status >= 100 && status < 200) {
            pair_pass(pair, &pair->backend, &pair->client, text, end);
            pair->answer_length -= end;
            memmove(text, text + end, pair->answer_length + 1);
            continue;
        }
        pair->has_answer = true;
        pair_log(pair, status);
        char *ours = end > 0 ? rewrite_answer(pair, end, &written) : NULL;
        pair_pass(pair, &pair->backend, &pair->client, ours != NULL ? ours : text, written);
        free(ours);
        return;
    }
}

static void on_backend_bytes(struct io_stream *stream, const uint8_t *bytes, size_t length)
{
    struct pair *pair = stream->owner;
    if (pair->has_answer) {
        pair_pass(pair, stream, &pair->client, bytes, length);
        return;
    }
    char *grown = realloc(pair->answer, pair->answer_length + length + 1);
    if (grown == NULL) {
        pair_end(pair);
        return;
    }
    memcpy(grown + pair->answer_length, bytes, length);
    pair->answer = grown;
    pair->answer_length += length;
    grown[pair->answer_length] = '\0';
    pair_answer(pair);
}

static void pair_connect(struct pair *pair);

static void on_connected(struct io_stream *stream, int rc)
{
    struct pair *pair = stream->owner;
    if (rc == 0) {
        pair->is_connected = true;
        pair_pass(pair, &pair->client, stream, pair->head, pair->head_length);
        if (!pair->is_ending && io_waiting(stream) <= HOLD_BYTES)
            io_resume(&pair->client);
        return;
    }
    io_close(stream);
    if (!balancer.skip_dead || ++pair->tries >= balancer.count)
        pair_refuse(pair, 502, "Bad Gateway");
}

static void on_backend_closed(struct io_stream *stream)
{
    struct pair *pair = stream->owner;
    pair->has_backend = false;
    bool again = !pair->is_ending && !pair->is_connected && balancer.skip_dead &&
                 pair->tries < balancer.count;
    if (again)
        pair_connect(pair);
    on_handle_closed(pair);
}

static void pair_connect(struct pair *pair)
{
    pair->index =
        pair->tries == 0 ? balancer.turn++ % balancer.count : (pair->index + 1) % balancer.count;
    pair->backend = (struct io_stream){.owner = pair,
                                       .on_bytes = on_backend_bytes,
                                       .on_end = on_end,
                                       .on_connected = on_connected,
                                       .on_drained = on_drained,
                                       .on_closed = on_backend_closed};
    pair->has_backend = true;
    pair->open++;
    int rc = io_connect(balancer.loop, &pair->backend, &balancer.backends[pair->index]);
    if (rc < 0)
        on_connected(&pair->backend, rc);
}

/* What the log says of a request: cheap, and wrong at worst. */
static void pair_describe(struct pair *pair, size_t end)
{
    size_t word = strcspn(pair->head, " \r\n");
    snprintf(pair->method, sizeof pair->method, "%.*s", (int)(word < 11 ? word : 11), pair->head);
    struct slice id = head_field(pair->head, end, "mcp-session-id");
    pair->session = id.length > 0 ? io_hash(id) : 0;
    size_t peek = pair->head_length - end;
    const char *body = pair->head + end;
    const char *at = memmem(body, peek < PEEK_BYTES ? peek : PEEK_BYTES, "\"method\":\"", 10);
    if (at == NULL)
        return;
    at += 10;
    size_t left = peek - (size_t)(at - body), length = 0;
    while (length < left && length + 1 < sizeof pair->rpc_method && at[length] > ' ' &&
           at[length] != '"' && at[length] < 127)
        length++;
    memcpy(pair->rpc_method, at, length);
}

static void on_client_bytes(struct io_stream *stream, const uint8_t *bytes, size_t length)
{
    struct pair *pair = stream->owner;
    if (pair->is_refused)
        return;
    if (pair->is_connected) {
        pair_pass(pair, stream, &pair->backend, bytes, length);
        return;
    }
    char *grown = realloc(pair->head, pair->head_length + length + 1);
    if (grown == NULL) {
        pair_end(pair);
        return;
    }
    memcpy(grown + pair->head_length, bytes, length);
    pair->head = grown;
    pair->head_length += length;
    grown[pair->head_length] = '\0';
    size_t end = head_end(grown, pair->head_length);
    if (end == 0) {
        if (pair->head_length >= HEAD_BYTES)
            pair_refuse(pair, 431, "Request Header Fields Too Large");
        return;
    }
    io_pause(stream);
    pair_describe(pair, end);
    size_t written;
    char *text = rewrite_head(grown, end, pair->head_length, close_text, &written);
    if (text == NULL) {
        pair_end(pair);
        return;
    }
    free(pair->head);
    pair->head = text;
    pair->head_length = written;
    pair_connect(pair);
}

static void on_connection(uv_stream_t *server, int rc)
{
    struct pair *pair = rc < 0 ? NULL : calloc(1, sizeof *pair);
    if (pair == NULL)
        return;
    pair->client = (struct io_stream){.owner = pair,
                                      .on_bytes = on_client_bytes,
                                      .on_end = on_end,
                                      .on_drained = on_drained,
                                      .on_closed = on_stream_closed};
    uv_timer_init(balancer.loop, &pair->linger);
    pair->linger.data = pair;
    pair->open = 2;
    pair->begun_ns = io_now_ns();
    if (io_accept((uv_tcp_t *)server, &pair->client) < 0)
        pair_end(pair);
}

static const char usage[] =
    "usage: alternate --listen ADDRESS:PORT --to ADDRESS:PORT [--to ADDRESS:PORT ...]\n"
    "                 [--log FILE] [--skip-dead] [--tell]\n"
    "Sends every HTTP request to the next backend in turn, over a new connection.\n"
    "  --skip-dead  a backend that refuses is passed over (else: 502)\n"
    "  --tell       answers name their backend: Alternate-Backend: 0 is the first --to\n";

int main(int argc, char **argv)
{
    static const struct option options[] = {{"listen", required_argument, NULL, 'l'},
                                            {"to", required_argument, NULL, 't'},
                                            {"log", required_argument, NULL, 'o'},
                                            {"skip-dead", no_argument, NULL, 's'},
                                            {"tell", no_argument, NULL, 'e'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct sockaddr_storage listen = {0};
    bool good = true;
    for (int option; good && (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'l') {
            good = io_read_address(optarg, &listen) == 0;
        } else if (option == 't' && balancer.count < BACKENDS_MAX) {
            good = io_read_address(optarg, &balancer.backends[balancer.count++]) == 0;
        } else if (option == 'o') {
            balancer.log = fopen(optarg, "a");
            good = balancer.log != NULL && setvbuf(balancer.log, NULL, _IOLBF, 4096) == 0;
        } else if (option == 's') {
            balancer.skip_dead = true;
        } else if (option == 'e') {
            balancer.tells = true;
        } else {
            good = false;
        }
    }
    if (!good || optind < argc || balancer.count == 0 || listen.ss_family == 0) {
        fputs(usage, stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    io_raise_limits();
    balancer.loop = uv_default_loop();
    static uv_tcp_t server;
    int rc = io_listen(balancer.loop, &server, &listen, on_connection);
    if (rc < 0) {
        fprintf(stderr, "alternate: cannot listen: %s\n", uv_strerror(rc));
        return 1;
    }
    printf("alternate: listening on port %u\n", io_listening_port(&server));
    fflush(stdout);
    return uv_run(balancer.loop, UV_RUN_DEFAULT);
}
