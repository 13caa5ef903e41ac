/* gate.c - one gate for every route. Cheap checks first; Host and Origin before anything that
 * would tell paths apart, so that each route refuses a foreign browser alike. Framing was h1's,
 * sessions and content are mcp's. */
#include "http/gate.h"

#include <string.h>

/* --- Host and Origin -------------------------------------------------------------------------- */

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_alnum(uint8_t c)
{
    return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

/* "host" of "host:port", brackets kept; the length is 0 if it is neither name nor address. */
static struct slice authority_host(struct slice text)
{
    size_t i = 0;

    if (text.length > 0 && text.at[0] == '[') {
        for (i = 1; i < text.length && text.at[i] != ']'; i++)
            if (!is_digit(text.at[i]) && text.at[i] != ':' && text.at[i] != '.' &&
                !((text.at[i] | 0x20) >= 'a' && (text.at[i] | 0x20) <= 'f'))
                return (struct slice){0};
        if (i < 3 || i >= text.length || i > 46)
            return (struct slice){0};
        i++;
    } else {
        while (i < text.length && (is_alnum(text.at[i]) || text.at[i] == '.' || text.at[i] == '-' ||
                                   text.at[i] == '_'))
            i++;
    }
    return slice_borrow(text.at, i);
}

/* Splits off *host; false if the whole is not well formed. */
static bool read_authority(struct slice text, struct slice *hostp)
{
    struct slice host;
    uint32_t port = 0;
    size_t i;

    if (text.length == 0 || text.length > 255 + 6)
        return false;
    host = authority_host(text);
    if (host.length == 0 || host.length > 255 || host.at[0] == '.')
        return false;
    *hostp = host;
    if (host.length == text.length)
        return true;
    if (text.at[host.length] != ':' || text.length - host.length > 6 ||
        text.length - host.length < 2)
        return false;
    for (i = host.length + 1; i < text.length; i++) {
        if (!is_digit(text.at[i]))
            return false;
        port = port * 10 + (uint32_t)(text.at[i] - '0');
    }
    return port > 0 && port <= 65535;
}

bool gate_is_authority(struct slice text)
{
    struct slice host;

    return read_authority(text, &host);
}

static bool is_any(const char *entry)
{
    return strcmp(entry, "*") == 0;
}

enum host_rank { HOST_FOREIGN, HOST_ANY, HOST_NAMED };

static enum host_rank rank_host(const struct gate_config *config, struct slice authority,
                                struct slice host)
{
    static const char *const loopback[] = {"localhost", "127.0.0.1", "[::1]"};
    enum host_rank rank = HOST_FOREIGN;
    size_t i;

    for (i = 0; i < config->hosts_count; i++) {
        if (is_any(config->hosts[i]))
            rank = HOST_ANY;
        else if (h1_is_name(host, config->hosts[i]) || h1_is_name(authority, config->hosts[i]))
            return HOST_NAMED;
    }
    if (!config->is_loopback && config->hosts_count == 0)
        return HOST_ANY;
    for (i = 0; config->is_loopback && i < sizeof loopback / sizeof loopback[0]; i++)
        if (h1_is_name(host, loopback[i]))
            return HOST_NAMED;
    if (config->listen_host != NULL && h1_is_name(host, config->listen_host))
        return HOST_NAMED;
    return rank;
}

static bool cut_prefix(struct slice *s, const char *prefix)
{
    size_t length = strlen(prefix);

    if (s->length < length || !h1_is_name(slice_borrow(s->at, length), prefix))
        return false;
    s->at += length;
    s->length -= length;
    return true;
}

static bool is_origin_allowed(const struct gate_config *config, struct slice origin,
                              struct slice host, enum host_rank rank)
{
    size_t i;

    for (i = 0; i < config->origins_count; i++)
        if (is_any(config->origins[i]) || h1_is_name(origin, config->origins[i]))
            return true;
    /* The page came from this very host; with a host that nobody named that proves nothing, a
     * rebound name looks the same. */
    return rank == HOST_NAMED &&
           (cut_prefix(&origin, "http://") || cut_prefix(&origin, "https://")) &&
           h1_is_same_name(origin, host);
}

static bool is_double(const struct h1_head *head, enum h1_field field)
{
    return (head->doubles & h1_set(field)) != 0;
}

static enum gate_verdict check_site(const struct gate_config *config, const struct h1_head *head,
                                    struct slice *authority)
{
    struct slice origin, host;
    enum host_rank rank;

    if (is_double(head, H1_FIELD_HOST) || !h1_field(head, H1_FIELD_HOST, authority) ||
        !read_authority(*authority, &host))
        return GATE_BAD_HOST;
    rank = rank_host(config, *authority, host);
    if (rank == HOST_FOREIGN)
        return GATE_FOREIGN_HOST;
    if (!h1_field(head, H1_FIELD_ORIGIN, &origin))
        return GATE_PASS;
    if (is_double(head, H1_FIELD_ORIGIN))
        return GATE_DOUBLE_HEADER;
    return is_origin_allowed(config, origin, *authority, rank) ? GATE_PASS : GATE_FOREIGN_ORIGIN;
}

/* --- Target ----------------------------------------------------------------------------------- */

static int hex_digit(uint8_t c)
{
    if (is_digit(c))
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte at *at with %-escapes decoded, and past it; -1 for a broken escape. */
static int decode(struct slice text, size_t *at)
{
    int high, low;

    if (text.at[*at] != '%')
        return text.at[(*at)++];
    if (text.length - *at < 3) {
        *at = text.length;
        return -1;
    }
    high = hex_digit(text.at[*at + 1]);
    low = hex_digit(text.at[*at + 2]);
    *at += 3;
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

enum path_kind { PATH_PLAIN, PATH_ODD, PATH_WITH_NUL };

static bool is_dots(size_t segment, size_t dots)
{
    return segment > 0 && segment == dots && dots <= 2;
}

/* Takes one more byte of a text; false where it cannot be UTF-8 (RFC 3629): overlong forms,
 * surrogates, stray or missing continuations. */
static bool is_utf8_next(int c, int *lead, int *continuations)
{
    int first = *lead;

    *lead = 0;
    if (c >= 0x80 && c < 0xc0)
        return --*continuations >= 0 && !(first == 0xe0 && c < 0xa0) &&
               !(first == 0xed && c >= 0xa0) && !(first == 0xf0 && c < 0x90) &&
               !(first == 0xf4 && c >= 0x90);
    if (*continuations > 0 || c == 0xc0 || c == 0xc1 || c > 0xf4)
        return false;
    *continuations = c < 0xc0 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    *lead = c;
    return true;
}

/* Odd is what two servers may understand differently: dot segments, empty segments, escaped
 * slashes, backslashes, controls, bytes that are no UTF-8, broken escapes. */
static enum path_kind path_kind(struct slice path)
{
    size_t at = 0, segment = 0, dots = 0;
    bool is_odd = false, in_parameters = false;
    int lead = 0, continuations = 0;

    while (at < path.length) {
        bool is_escaped = path.at[at] == '%';
        int c = decode(path, &at);

        if (c == 0)
            return PATH_WITH_NUL;
        if (c < 0x20 || c == 0x7f || c == '\\' || (c == '/' && is_escaped) ||
            (c >= 0x80 && !is_escaped) || !is_utf8_next(c, &lead, &continuations))
            is_odd = true;
        if (c == '/') {
            is_odd = is_odd || is_dots(segment, dots) || (segment == 0 && at > 1);
            segment = dots = 0;
            in_parameters = false;
        } else if (c == ';') {
            in_parameters = true;
        } else if (!in_parameters) {
            segment++;
            dots += c == '.';
        }
    }
    return is_odd || continuations > 0 || is_dots(segment, dots) ? PATH_ODD : PATH_PLAIN;
}

/* The next byte of a path as a lenient server would see it: decoded, in lower case, parameters
 * gone, slashes run together; 0 at its end, at which a slash does not count. */
static int lenient_next(struct slice path, size_t *at)
{
    int c;

    if (*at >= path.length)
        return 0;
    c = decode(path, at);
    if (c == ';')
        while (*at < path.length && path.at[*at] != '/')
            ++*at;
    if (c == ';' || c == '/') {
        while (*at < path.length && path.at[*at] == '/')
            ++*at;
        return *at >= path.length ? 0 : '/';
    }
    return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

/* Could a lenient server take `path` for `own`? */
static bool is_lookalike(struct slice path, const char *own)
{
    struct slice ours = slice_text(own);
    size_t a = 0, b = 0;
    int ca, cb;

    do {
        ca = lenient_next(path, &a);
        cb = lenient_next(ours, &b);
    } while (ca == cb && ca > 0);
    return ca == cb;
}

static enum gate_verdict find_route(const struct gate_config *config, struct slice path,
                                    enum gate_route *route)
{
    const char *own[] = {config->mcp_path, config->sse_path, config->messages_path};
    size_t i;

    for (i = 0; i < 3; i++) {
        if (own[i] != NULL && slice_is(path, own[i])) {
            *route = (enum gate_route)i;
            return GATE_PASS;
        }
    }
    switch (path_kind(path)) {
    case PATH_PLAIN:
        break;
    case PATH_ODD:
        return GATE_NO_SUCH_PATH;
    case PATH_WITH_NUL:
        return GATE_BAD_TARGET;
    }
    for (i = 0; i < 3; i++)
        if (own[i] != NULL && is_lookalike(path, own[i]))
            return GATE_NO_SUCH_PATH;
    for (i = 0; i < config->closed_paths_count; i++)
        if (is_lookalike(path, config->closed_paths[i]))
            return GATE_NO_SUCH_PATH;
    *route = GATE_OTHER;
    return GATE_PASS;
}

/* Does the query have a parameter of this name, however escaped? */
static bool query_has(struct slice query, const char *name)
{
    size_t at = 0, i;

    while (at < query.length) {
        for (i = 0; at < query.length && name[i] != '\0'; i++)
            if (decode(query, &at) != name[i])
                break;
        if (name[i] == '\0' && (at >= query.length || query.at[at] == '=' || query.at[at] == '&'))
            return true;
        while (at < query.length && query.at[at] != '&')
            at++;
        at++;
    }
    return false;
}

static enum gate_verdict check_target(const struct gate_config *config, const struct h1_head *head,
                                      struct slice host, struct gate_pass *pass)
{
    struct slice rest = h1_target(head);
    const uint8_t *mark;
    enum gate_verdict verdict;

    if (slice_is(rest, "*"))
        return head->method == H1_METHOD_OPTIONS ? GATE_NO_SUCH_PATH : GATE_BAD_TARGET;
    if (memchr(rest.at, '#', rest.length) != NULL)
        return GATE_BAD_TARGET;
    if (cut_prefix(&rest, "http://") || cut_prefix(&rest, "https://")) {
        struct slice authority = rest;

        for (authority.length = 0; authority.length < rest.length; authority.length++)
            if (rest.at[authority.length] == '/' || rest.at[authority.length] == '?')
                break;
        if (!h1_is_same_name(authority, host) || authority.length == rest.length ||
            rest.at[authority.length] != '/')
            return GATE_BAD_TARGET;
        rest.at += authority.length;
        rest.length -= authority.length;
    }
    pass->path = rest;
    pass->query = slice_borrow(rest.at + rest.length, 0);
    mark = memchr(rest.at, '?', rest.length);
    if (mark != NULL) {
        pass->path.length = (size_t)(mark - rest.at);
        pass->query = slice_borrow(mark + 1, rest.length - pass->path.length - 1);
        pass->query.buf = rest.buf;
    }
    verdict = find_route(config, pass->path, &pass->route);
    if (verdict != GATE_PASS)
        return verdict;
    /* Other routes are the upstream's: "token" may mean anything there. */
    if (query_has(pass->query, "access_token") ||
        (pass->route != GATE_OTHER && query_has(pass->query, "token")))
        return GATE_TOKEN_IN_QUERY;
    return GATE_PASS;
}

/* --- The rest --------------------------------------------------------------------------------- */

static bool is_method_allowed(enum gate_route route, enum h1_method method)
{
    switch (route) {
    case GATE_MCP:
        return method == H1_METHOD_POST || method == H1_METHOD_GET || method == H1_METHOD_DELETE ||
               method == H1_METHOD_OPTIONS;
    case GATE_SSE:
        return method == H1_METHOD_GET || method == H1_METHOD_OPTIONS;
    case GATE_MESSAGES:
        return method == H1_METHOD_POST || method == H1_METHOD_OPTIONS;
    case GATE_OTHER:
        break;
    }
    return true;
}

static bool has_doubles(const struct h1_head *head)
{
    uint32_t singles = h1_set(H1_FIELD_AUTHORIZATION) | h1_set(H1_FIELD_CONTENT_TYPE) |
                       h1_set(H1_FIELD_LAST_EVENT_ID) | h1_set(H1_FIELD_MCP_METHOD) |
                       h1_set(H1_FIELD_MCP_NAME) | h1_set(H1_FIELD_MCP_PROTOCOL_VERSION) |
                       h1_set(H1_FIELD_MCP_SESSION_ID);

    return (head->doubles & singles) != 0;
}

static enum gate_verdict check_body(const struct gate_config *config, const struct h1_head *head)
{
    struct slice coding;
    bool wants_none = head->method == H1_METHOD_GET || head->method == H1_METHOD_HEAD ||
                      head->method == H1_METHOD_OPTIONS || head->method == H1_METHOD_DELETE;

    if (wants_none && head->framing != H1_NO_BODY)
        return GATE_UNWANTED_BODY;
    if (h1_field(head, H1_FIELD_CONTENT_ENCODING, &coding) &&
        (!h1_is_name(coding, "identity") || is_double(head, H1_FIELD_CONTENT_ENCODING)))
        return GATE_CODED_BODY;
    if (head->has_foreign_expect)
        return GATE_EXPECTATION;
    if (config->body_max > 0 && head->framing == H1_LENGTH &&
        head->content_length > config->body_max)
        return GATE_BODY_TOO_LARGE;
    return GATE_PASS;
}

static void note_pass(struct h1_head *head, const struct gate_pass *pass)
{
    struct h1_notes *notes = &head->notes;

    notes->is_passed = true;
    notes->route = (uint8_t)pass->route;
    notes->path =
        (struct span){(uint32_t)(pass->path.at - head->text.at), (uint32_t)pass->path.length};
    notes->query =
        (struct span){(uint32_t)(pass->query.at - head->text.at), (uint32_t)pass->query.length};
}

static struct slice noted(const struct h1_head *head, struct span part)
{
    return (struct slice){head->text.buf, head->text.at + part.at, part.length};
}

enum gate_verdict gate_check(const struct gate_config *config, struct h1_head *head,
                             struct gate_pass *pass)
{
    struct slice host = {0};
    enum gate_verdict verdict;

    if (head->notes.is_passed) {
        *pass = (struct gate_pass){.route = (enum gate_route)head->notes.route,
                                   .path = noted(head, head->notes.path),
                                   .query = noted(head, head->notes.query)};
        return check_body(config, head);
    }
    verdict = check_site(config, head, &host);
    *pass = (struct gate_pass){.route = GATE_OTHER};
    if (verdict == GATE_PASS)
        verdict = check_target(config, head, host, pass);
    if (verdict == GATE_PASS && !is_method_allowed(pass->route, head->method))
        verdict = GATE_WRONG_METHOD;
    if (verdict == GATE_PASS && has_doubles(head))
        verdict = GATE_DOUBLE_HEADER;
    if (verdict == GATE_PASS)
        verdict = check_body(config, head);
    if (verdict == GATE_PASS)
        note_pass(head, pass);
    return verdict;
}

static const struct {
    int status;
    const char *name, *reason;
} verdicts[GATE_VERDICTS] = {
    [GATE_PASS] = {200, "pass", ""},
    [GATE_BAD_HOST] = {400, "bad_host", "Host is missing or malformed"},
    [GATE_FOREIGN_HOST] = {403, "foreign_host", "Host is not allowed"},
    [GATE_FOREIGN_ORIGIN] = {403, "foreign_origin", "Origin is not allowed"},
    [GATE_DOUBLE_HEADER] = {400, "double_header", "a header that must be single came twice"},
    [GATE_BAD_TARGET] = {400, "bad_target", "malformed request target"},
    [GATE_NO_SUCH_PATH] = {404, "no_such_path", "no such path"},
    [GATE_TOKEN_IN_QUERY] = {400, "token_in_query", "tokens do not belong into a query"},
    [GATE_WRONG_METHOD] = {405, "wrong_method", "method not allowed here"},
    [GATE_UNWANTED_BODY] = {400, "unwanted_body", "this method takes no body"},
    [GATE_CODED_BODY] = {415, "coded_body", "content codings are not supported"},
    [GATE_EXPECTATION] = {417, "expectation", "expectation not supported"},
    [GATE_BODY_TOO_LARGE] = {413, "body_too_large", "body too large"},
};

int gate_status(enum gate_verdict verdict)
{
    return verdicts[verdict].status;
}

const char *gate_reason(enum gate_verdict verdict)
{
    return verdicts[verdict].reason;
}

const char *gate_name(enum gate_verdict verdict)
{
    return verdicts[verdict].name;
}

bool gate_closes(enum gate_verdict verdict, const struct h1_head *head)
{
    if (verdict == GATE_PASS)
        return !head->keep_alive;
    /* What follows an unread body would be taken for a request. 404 and 405 end nothing. */
    return !head->keep_alive || head->framing != H1_NO_BODY ||
           (verdict != GATE_NO_SUCH_PATH && verdict != GATE_WRONG_METHOD);
}

const char *gate_allow(enum gate_route route)
{
    switch (route) {
    case GATE_MCP:
        return "GET, POST, DELETE, OPTIONS";
    case GATE_SSE:
        return "GET, OPTIONS";
    case GATE_MESSAGES:
        return "POST, OPTIONS";
    case GATE_OTHER:
        break;
    }
    return "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
}
