/* admin.c - the admin endpoint on libmicrohttpd: who may ask, and the routes; the JSON is written
 * in admin_json.c. libmicrohttpd's own timeout is one of inactivity only, so connections get an
 * absolute deadline here. Reads the token file; every other fact is the host's. */
#include "http/admin.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <microhttpd.h>

#include "http/admin_json.h"

#define CONNECTIONS_MAX 64
#define CONNECTIONS_PER_IP_MAX 16
#define CONNECTION_MEMORY_BYTES 16384
#define IDLE_TIMEOUT_S 10u
#define REQUEST_DEADLINE_MS 10000u /* from the connection, or from the answer before */
#define TARGET_MAX 1024u           /* bytes of path and query */
#define ANSWERS_PER_S 50u          /* of /metrics and /v1 together; a second's worth may burst */
#define TOKEN_FILE_MAX 16384

/* A connection's deadline. */
struct guest {
    struct MHD_Connection *connection; /* NULL: free */
    int fd;
    uint64_t deadline_ms;
};

struct token {
    size_t length;
    uint8_t text[ADMIN_TOKEN_BYTES_MAX]; /* the rest is zero */
};

struct admin {
    struct admin_source source;
    struct MHD_Daemon *daemon;
    int epoll_fd;
    uint16_t port;
    bool on_loopback;
    uint64_t now_ms;
    uint64_t credit; /* thousandths of an answer */
    size_t tokens_count;
    struct token tokens[ADMIN_TOKENS_MAX];
    struct guest guests[CONNECTIONS_MAX];
};

/* A request: its target as it came, before libmicrohttpd unescapes (and cuts) it. */
struct asked {
    bool was_seen;
    bool too_long;
    char *query; /* behind the '?', in target; NULL: none */
    char target[TARGET_MAX + 1];
};

/* ---- answers ------------------------------------------------------------------------------ */

/* Takes `text`, which is from malloc(). */
static enum MHD_Result answer_take(struct MHD_Connection *connection, unsigned status,
                                   const char *type, char *text, size_t length)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(length, text, MHD_RESPMEM_MUST_FREE);
    enum MHD_Result result;

    if (response == NULL) {
        free(text);
        return MHD_NO;
    }
    MHD_add_response_header(response, "Content-Type", type);
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "Content-Security-Policy", "default-src 'none'");
    if (status == MHD_HTTP_UNAUTHORIZED)
        MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
    if (status == MHD_HTTP_TOO_MANY_REQUESTS)
        MHD_add_response_header(response, "Retry-After", "1");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, "Allow", "GET, HEAD");
    /* What came with a refused request is not read as a next one. */
    if (status >= 400)
        MHD_add_response_header(response, "Connection", "close");
    result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *text)
{
    char *copy = strdup(text);

    if (copy == NULL)
        return MHD_NO;
    return answer_take(connection, status, "text/plain; charset=utf-8", copy, strlen(copy));
}

/* NULL: the host has no such thing, or there is no memory; the second is rare and looks alike. */
static enum MHD_Result answer_json(struct MHD_Connection *connection, json_t *json)
{
    char *text = admin_json_text(json);

    if (text == NULL)
        return answer(connection, MHD_HTTP_NOT_FOUND, "not available\n");
    return answer_take(connection, MHD_HTTP_OK, "application/json", text, strlen(text));
}

static enum MHD_Result answer_ready(const struct admin *admin, struct MHD_Connection *connection)
{
    const char *reasons[ADMIN_REASONS_MAX];
    size_t count = 0;
    json_t *list;
    char *text;

    if (admin->source.unready != NULL)
        count = admin->source.unready(admin->source.context, reasons);
    if (count == 0)
        return answer(connection, MHD_HTTP_OK, "ready\n");
    list = json_array();
    for (size_t i = 0; i < count && i < ADMIN_REASONS_MAX; i++)
        json_array_append_new(list, json_string(reasons[i]));
    text = admin_json_text(json_pack("{s:b,s:o}", "ready", 0, "reasons", list));
    if (text == NULL)
        return answer(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "not ready\n");
    return answer_take(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "application/json", text,
                       strlen(text));
}

static enum MHD_Result answer_metrics(const struct admin *admin, struct MHD_Connection *connection)
{
    size_t length = 0;
    char *text = NULL;

    if (admin->source.metrics != NULL)
        text = admin->source.metrics(admin->source.context, &length);
    if (text == NULL)
        return answer(connection, MHD_HTTP_NOT_FOUND, "not available\n");
    return answer_take(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", text,
                       length);
}

/* ---- who may ask -------------------------------------------------------------------------- */

/* What a browser names when it is at home here; any other name may be one that somebody made point
 * to us (DNS rebinding). The port is free: forwarded ports differ. */
static bool is_loopback_host(const char *host)
{
    char name[INET6_ADDRSTRLEN + 2];
    const char *end = host[0] == '[' ? strchr(host, ']') : strchr(host, ':');
    struct in_addr addr;
    size_t length;

    if (host[0] == '[' && end == NULL)
        return false;
    if (host[0] == '[')
        end++;
    length = end == NULL ? strlen(host) : (size_t)(end - host);
    if (length >= sizeof name)
        return false;
    if (end != NULL && *end != '\0' && (end[0] != ':' || end[1 + strspn(end + 1, "0123456789")]))
        return false;
    memcpy(name, host, length);
    name[length] = '\0';
    if (strcasecmp(name, "localhost") == 0 || strcmp(name, "[::1]") == 0)
        return true;
    return inet_pton(AF_INET, name, &addr) == 1 && ntohl(addr.s_addr) >> 24 == 127;
}

struct header_count {
    unsigned hosts, origins, authorizations;
};

static enum MHD_Result on_header(void *context, enum MHD_ValueKind kind, const char *name,
                                 const char *value)
{
    struct header_count *count = context;

    (void)kind;
    (void)value;
    count->hosts += strcasecmp(name, "Host") == 0;
    count->origins += strcasecmp(name, "Origin") == 0;
    count->authorizations += strcasecmp(name, "Authorization") == 0;
    return MHD_YES;
}

static const char *header_of(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

/* 0, or the status of a refusal that holds for every route. */
static unsigned refuse_browser(const struct admin *admin, struct MHD_Connection *connection)
{
    struct header_count count = {0, 0, 0};
    const char *host = header_of(connection, "Host");
    const char *origin = header_of(connection, "Origin");

    MHD_get_connection_values(connection, MHD_HEADER_KIND, on_header, &count);
    if (count.hosts > 1 || count.origins > 1 || count.authorizations > 1)
        return MHD_HTTP_BAD_REQUEST;
    if (admin->on_loopback && (host == NULL || !is_loopback_host(host)))
        return MHD_HTTP_FORBIDDEN;
    if (origin == NULL)
        return 0;
    if (host != NULL && strncmp(origin, "http://", 7) == 0 && strcasecmp(origin + 7, host) == 0)
        return 0;
    if (host != NULL && strncmp(origin, "https://", 8) == 0 && strcasecmp(origin + 8, host) == 0)
        return 0;
    return MHD_HTTP_FORBIDDEN;
}

/* The time it takes tells nothing of a token: all are compared, in full. */
static bool token_fits(const struct admin *admin, const char *given)
{
    struct token guess = {.length = strlen(given)};
    unsigned fits = 0;

    if (guess.length > sizeof guess.text)
        return false;
    memcpy(guess.text, given, guess.length);
    for (size_t i = 0; i < admin->tokens_count; i++) {
        const struct token *token = &admin->tokens[i];
        volatile unsigned differ = token->length != guess.length;

        for (size_t k = 0; k < sizeof guess.text; k++)
            differ |= (unsigned)(token->text[k] ^ guess.text[k]);
        fits |= differ == 0;
    }
    return fits != 0;
}

/* 0, or 401 / 403: for the routes that show or do something. */
static unsigned refuse_stranger(const struct admin *admin, struct MHD_Connection *connection)
{
    const char *given = header_of(connection, "Authorization");

    if (admin->tokens_count == 0)
        return admin->on_loopback ? 0 : MHD_HTTP_FORBIDDEN;
    if (given == NULL || strncasecmp(given, "Bearer ", 7) != 0)
        return MHD_HTTP_UNAUTHORIZED;
    given += 7 + strspn(given + 7, " ");
    return token_fits(admin, given) ? 0 : MHD_HTTP_UNAUTHORIZED;
}

/* Whether there is room in this second's answers. */
static bool may_answer(struct admin *admin)
{
    if (admin->credit < 1000)
        return false;
    admin->credit -= 1000;
    return true;
}

/* ---- routes ------------------------------------------------------------------------------- */

static const char index_text[] = "session-mesh admin\n\n"
                                 "/healthz       the process turns\n"
                                 "/readyz        it may be sent clients\n"
                                 "/metrics       counters for Prometheus\n"
                                 "/v1/members    the peers as this one sees them\n"
                                 "/v1/sessions   the sessions owned here (?from=&limit=)\n"
                                 "/v1/why/{id}   who answers for a session, and why\n"
                                 "/v1/keys       the keys of the cluster, by their ids\n"
                                 "/v1/keys/{id}/use  POST: seal with that one\n"
                                 "/v1/drain      POST: hand over and leave\n";

/* name=number of a query; false: there is something else in it. */
static bool read_number(const char **at, const char *name, uint32_t *value, uint32_t max)
{
    size_t length = strlen(name), digits;
    uint64_t number = 0;

    if (strncmp(*at, name, length) != 0)
        return false;
    digits = strspn(*at + length, "0123456789");
    if (digits == 0 || digits > 10)
        return false;
    for (size_t i = 0; i < digits; i++)
        number = number * 10 + (uint64_t)((*at)[length + i] - '0');
    *at += length + digits;
    *value = number > max ? max : (uint32_t)number;
    return **at == '\0' || *(*at)++ == '&';
}

static enum MHD_Result answer_sessions(const struct admin *admin, struct MHD_Connection *connection,
                                       const char *query)
{
    uint32_t from = 0, limit = 100;

    while (query != NULL && *query != '\0')
        if (!read_number(&query, "from=", &from, INT32_MAX) &&
            !read_number(&query, "limit=", &limit, ADMIN_PAGE_MAX))
            return answer(connection, MHD_HTTP_BAD_REQUEST, "from and limit are numbers\n");
    if (limit == 0)
        return answer(connection, MHD_HTTP_BAD_REQUEST, "limit is at least 1\n");
    return answer_json(connection, admin_sessions_json(&admin->source, from, limit));
}

/* "/v1/keys/" 8 hex digits "/use" */
static bool read_use_key(const char *path, uint32_t *id)
{
    static const char before[] = "/v1/keys/", after[] = "/use";
    const char *digits = path + sizeof before - 1;

    if (strncmp(path, before, sizeof before - 1) != 0 || strspn(digits, "0123456789abcdef") != 8 ||
        strcmp(digits + 8, after) != 0)
        return false;
    *id = (uint32_t)strtoul(digits, NULL, 16);
    return true;
}

static enum MHD_Result use_key(const struct admin *admin, struct MHD_Connection *connection,
                               uint32_t id)
{
    int rc =
        admin->source.use_key == NULL ? -ENOENT : admin->source.use_key(admin->source.context, id);

    if (rc == -EBUSY)
        return answer(connection, MHD_HTTP_CONFLICT, "not all living members accept that key\n");
    if (rc < 0)
        return answer(connection, MHD_HTTP_NOT_FOUND, "no such key is in use\n");
    return answer(connection, MHD_HTTP_OK, "used\n");
}

static enum MHD_Result route_v1(struct admin *admin, struct MHD_Connection *connection,
                                const struct asked *asked, bool is_post)
{
    static const char why[] = "/v1/why/";
    const char *path = asked->target;
    unsigned refused = refuse_stranger(admin, connection);
    bool is_drain = strcmp(path, "/v1/drain") == 0;
    uint32_t key = 0;
    bool is_use = read_use_key(path, &key);

    if (refused == MHD_HTTP_UNAUTHORIZED)
        return answer(connection, refused, "a token is needed\n");
    if (refused != 0)
        return answer(connection, refused, "no token file: /v1 answers on loopback only\n");
    if (!may_answer(admin))
        return answer(connection, MHD_HTTP_TOO_MANY_REQUESTS, "too many requests\n");
    if ((is_drain || is_use) != is_post)
        return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "method not allowed\n");
    if (strcmp(path, "/v1/sessions") == 0)
        return answer_sessions(admin, connection, asked->query);
    if (asked->query != NULL)
        return answer(connection, MHD_HTTP_BAD_REQUEST, "no query is known here\n");
    if (strcmp(path, "/v1/members") == 0)
        return answer_json(connection, admin_members_json(&admin->source));
    if (strcmp(path, "/v1/keys") == 0)
        return answer_json(connection, admin_keys_json(&admin->source));
    if (is_use)
        return use_key(admin, connection, key);
    if (strncmp(path, why, sizeof why - 1) == 0)
        return answer_json(connection, admin_why_json(&admin->source, path + sizeof why - 1));
    if (!is_drain || admin->source.drain == NULL)
        return answer(connection, MHD_HTTP_NOT_FOUND, "not found\n");
    admin->source.drain(admin->source.context);
    return answer(connection, MHD_HTTP_ACCEPTED, "draining\n");
}

static bool has_body(struct MHD_Connection *connection)
{
    const char *length = header_of(connection, "Content-Length");

    return header_of(connection, "Transfer-Encoding") != NULL ||
           (length != NULL && strcmp(length, "0") != 0);
}

static enum MHD_Result route(struct admin *admin, struct MHD_Connection *connection,
                             const struct asked *asked, const char *method)
{
    const char *path = asked->target;
    bool is_post = strcmp(method, "POST") == 0;
    unsigned refused = refuse_browser(admin, connection);

    if (refused != 0)
        return answer(connection, refused, "refused\n");
    if (asked->too_long || has_body(connection))
        return answer(connection, MHD_HTTP_BAD_REQUEST, "no body and no such target here\n");
    if (!is_post && strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "method not allowed\n");
    if (strncmp(path, "/v1/", 4) == 0)
        return route_v1(admin, connection, asked, is_post);
    if (is_post)
        return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "method not allowed\n");
    if (strcmp(path, "/healthz") == 0)
        return answer(connection, MHD_HTTP_OK, "ok\n");
    if (strcmp(path, "/readyz") == 0)
        return answer_ready(admin, connection);
    if (strcmp(path, "/") == 0)
        return answer(connection, MHD_HTTP_OK, index_text);
    if (strcmp(path, "/metrics") != 0)
        return answer(connection, MHD_HTTP_NOT_FOUND, "not found\n");
    if (!may_answer(admin))
        return answer(connection, MHD_HTTP_TOO_MANY_REQUESTS, "too many requests\n");
    return answer_metrics(admin, connection);
}

/* ---- libmicrohttpd ------------------------------------------------------------------------ */

/* The request line was read. What is returned is the request's own until on_completed(). */
static void *on_target(void *context, const char *target, struct MHD_Connection *connection)
{
    struct asked *asked = calloc(1, sizeof *asked);
    size_t length = strlen(target);

    (void)context;
    (void)connection;
    if (asked == NULL)
        return NULL;
    asked->too_long = length > TARGET_MAX;
    memcpy(asked->target, target, asked->too_long ? 0 : length);
    asked->query = strchr(asked->target, '?');
    if (asked->query != NULL)
        *asked->query++ = '\0';
    return asked;
}

/* `url` is unescaped and may be cut by a zero: the target is used instead. The first call comes
 * with the head; an answer given then closes the connection, so that a body, which no route takes,
 * is never read as a next request. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_length, void **request)
{
    struct asked *asked = *request;

    (void)url;
    (void)version;
    (void)data;
    *data_length = 0;
    if (asked == NULL)
        return MHD_NO;
    if (!asked->was_seen && !has_body(connection)) {
        asked->was_seen = true;
        return MHD_YES;
    }
    return route(context, connection, asked, method);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **request,
                         enum MHD_RequestTerminationCode why)
{
    struct admin *admin = context;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct guest *guest = info == NULL ? NULL : info->socket_context;

    (void)why;
    if (guest != NULL)
        guest->deadline_ms = admin->now_ms + REQUEST_DEADLINE_MS;
    free(*request);
    *request = NULL;
}

static void on_connection(void *context, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct admin *admin = context;
    struct guest *guest = *socket_context;
    const union MHD_ConnectionInfo *info;

    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (guest != NULL)
            guest->connection = NULL;
        return;
    }
    info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    for (size_t i = 0; i < CONNECTIONS_MAX && info != NULL; i++)
        if (admin->guests[i].connection == NULL) {
            admin->guests[i] =
                (struct guest){connection, info->connect_fd, admin->now_ms + REQUEST_DEADLINE_MS};
            *socket_context = &admin->guests[i];
            return;
        }
}

/* ---- start -------------------------------------------------------------------------------- */

struct endpoint {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
    socklen_t length;
    bool is_loopback;
};

/* "1.2.3.4:80" or "[::1]:80", nothing else. */
static int endpoint_read(struct endpoint *endpoint, const char *text)
{
    const char *colon = strrchr(text, ':');
    char host[INET6_ADDRSTRLEN + 1];
    unsigned port = 0;
    size_t length, digits;

    if (colon == NULL)
        return -EINVAL;
    digits = strspn(colon + 1, "0123456789");
    if (digits == 0 || digits > 5 || colon[1 + digits] != '\0')
        return -EINVAL;
    for (size_t i = 0; i < digits; i++)
        port = port * 10 + (unsigned)(colon[1 + i] - '0');
    length = (size_t)(colon - text);
    if (port > UINT16_MAX || length == 0)
        return -EINVAL;
    memset(endpoint, 0, sizeof *endpoint);
    if (text[0] == '[' && colon[-1] == ']') {
        text++;
        length -= 2;
        endpoint->any.sa_family = AF_INET6;
    } else {
        endpoint->any.sa_family = AF_INET;
    }
    if (length >= sizeof host)
        return -EINVAL;
    memcpy(host, text, length);
    host[length] = '\0';
    if (endpoint->any.sa_family == AF_INET) {
        endpoint->length = sizeof endpoint->v4;
        endpoint->v4.sin_port = htons((uint16_t)port);
        if (inet_pton(AF_INET, host, &endpoint->v4.sin_addr) != 1)
            return -EINVAL;
        endpoint->is_loopback = ntohl(endpoint->v4.sin_addr.s_addr) >> 24 == 127;
        return 0;
    }
    endpoint->length = sizeof endpoint->v6;
    endpoint->v6.sin6_port = htons((uint16_t)port);
    if (inet_pton(AF_INET6, host, &endpoint->v6.sin6_addr) != 1)
        return -EINVAL;
    endpoint->is_loopback = IN6_IS_ADDR_LOOPBACK(&endpoint->v6.sin6_addr);
    return 0;
}

/* The listening socket, or a negative errno; the port goes to *port. */
static int endpoint_listen(struct endpoint *endpoint, uint16_t *port)
{
    int fd = socket(endpoint->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1, rc;

    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(fd, &endpoint->any, endpoint->length) < 0 || listen(fd, CONNECTIONS_MAX) < 0 ||
        getsockname(fd, &endpoint->any, &endpoint->length) < 0) {
        rc = -errno;
        close(fd);
        return rc;
    }
    *port =
        ntohs(endpoint->any.sa_family == AF_INET ? endpoint->v4.sin_port : endpoint->v6.sin6_port);
    return fd;
}

int admin_start(struct admin **adminp, const struct admin_config *config,
                const struct admin_source *source, uint64_t now_ms)
{
    struct admin *admin = calloc(1, sizeof *admin);
    const union MHD_DaemonInfo *info = NULL;
    struct endpoint endpoint;
    int fd, rc;

    if (admin == NULL)
        return -ENOMEM;
    admin->source = *source;
    admin->now_ms = now_ms;
    admin->credit = ANSWERS_PER_S * 1000;
    rc = endpoint_read(&endpoint, config->listen);
    if (rc == 0 && config->token_path != NULL)
        rc = admin_load_tokens(admin, config->token_path);
    if (rc < 0)
        goto fail;
    admin->on_loopback = endpoint.is_loopback;
    fd = endpoint_listen(&endpoint, &admin->port);
    rc = fd;
    if (rc < 0)
        goto fail;
    admin->daemon = MHD_start_daemon(
        MHD_USE_EPOLL, 0, NULL, NULL, on_request, admin, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        (unsigned)CONNECTIONS_PER_IP_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY_BYTES, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_TIMEOUT_S,
        MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_URI_LOG_CALLBACK, on_target, admin,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, admin, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, admin, MHD_OPTION_END);
    if (admin->daemon == NULL)
        close(fd);
    else
        info = MHD_get_daemon_info(admin->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    rc = -EIO;
    if (info == NULL)
        goto fail;
    admin->epoll_fd = info->epoll_fd;
    *adminp = admin;
    return 0;
fail:
    admin_stop(admin);
    return rc;
}

void admin_stop(struct admin *admin)
{
    if (admin == NULL)
        return;
    if (admin->daemon != NULL)
        MHD_stop_daemon(admin->daemon);
    explicit_bzero(admin->tokens, sizeof admin->tokens);
    free(admin);
}

uint16_t admin_port(const struct admin *admin)
{
    return admin->port;
}

int admin_fd(const struct admin *admin)
{
    return admin->epoll_fd;
}

void admin_run(struct admin *admin, uint64_t now_ms)
{
    uint64_t full = ANSWERS_PER_S * 1000, passed_ms = now_ms - admin->now_ms;

    admin->credit += passed_ms > 1000 ? full : passed_ms * ANSWERS_PER_S;
    if (admin->credit > full)
        admin->credit = full;
    admin->now_ms = now_ms;
    /* Shut down, not closed: the socket is libmicrohttpd's, which finds the end and closes it. */
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        struct guest *guest = &admin->guests[i];

        if (guest->connection == NULL || now_ms < guest->deadline_ms)
            continue;
        shutdown(guest->fd, SHUT_RDWR);
        guest->deadline_ms = MESH_NEVER;
    }
    MHD_run(admin->daemon);
}

uint64_t admin_timeout_ms(const struct admin *admin, uint64_t now_ms)
{
    uint64_t timeout_ms = MESH_NEVER;
    MHD_UNSIGNED_LONG_LONG theirs;

    if (MHD_get_timeout(admin->daemon, &theirs) == MHD_YES)
        timeout_ms = theirs;
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        const struct guest *guest = &admin->guests[i];
        uint64_t left_ms = guest->deadline_ms > now_ms ? guest->deadline_ms - now_ms : 0;

        if (guest->connection != NULL && guest->deadline_ms != MESH_NEVER && left_ms < timeout_ms)
            timeout_ms = left_ms;
    }
    return timeout_ms;
}

/* ---- tokens ------------------------------------------------------------------------------- */

/* One line of the file. False: not a token. */
static bool token_read(struct token *token, const char *line, size_t length)
{
    if (length == 0 || length > sizeof token->text)
        return false;
    for (size_t i = 0; i < length; i++)
        if (line[i] < 0x21 || line[i] > 0x7e)
            return false;
    memset(token, 0, sizeof *token);
    memcpy(token->text, line, length);
    token->length = length;
    return true;
}

static int tokens_read(struct token *tokens, size_t *count, const char *text, size_t length)
{
    *count = 0;
    while (length > 0) {
        const char *end = memchr(text, '\n', length);
        size_t line = end == NULL ? length : (size_t)(end - text);
        size_t used = end == NULL ? line : line + 1;

        if (line > 0 && text[line - 1] == '\r')
            line--;
        if (line > 0 && text[0] != '#') {
            if (*count == ADMIN_TOKENS_MAX || !token_read(&tokens[*count], text, line))
                return -EBADMSG;
            ++*count;
        }
        text += used;
        length -= used;
    }
    return *count == 0 ? -EBADMSG : 0;
}

int admin_load_tokens(struct admin *admin, const char *path)
{
    struct token tokens[ADMIN_TOKENS_MAX];
    char text[TOKEN_FILE_MAX];
    size_t count = 0, length = 0;
    struct stat stat;
    ssize_t got = 0;
    int fd, rc;

    /* Not blocking: a FIFO must not hold the process up; it is refused right after. */
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return -errno;
    rc = -EBADMSG;
    if (fstat(fd, &stat) < 0 || !S_ISREG(stat.st_mode) || stat.st_size > TOKEN_FILE_MAX)
        goto out;
    while (length < sizeof text && (got = read(fd, text + length, sizeof text - length)) > 0)
        length += (size_t)got;
    rc = got < 0 ? -errno : tokens_read(tokens, &count, text, length);
    if (rc == 0) {
        memset(admin->tokens, 0, sizeof admin->tokens);
        memcpy(admin->tokens, tokens, count * sizeof tokens[0]);
        admin->tokens_count = count;
    }
out:
    explicit_bzero(text, sizeof text);
    explicit_bzero(tokens, sizeof tokens);
    close(fd);
    return rc;
}
