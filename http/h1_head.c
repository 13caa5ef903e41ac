/* h1_head.c - what is asked of a head once it is read, and heads as bytes to send. Nothing that a
 * peer could use to end a line early is ever written. The parser is h1.c. */
#include "http/h1.h"

#include <errno.h>
#include <string.h>

/* --- Reading ---------------------------------------------------------------------------------- */

static uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte | 0x20) : byte;
}

bool h1_is_same_name(struct slice a, struct slice b)
{
    size_t i;

    if (a.length != b.length)
        return false;
    for (i = 0; i < a.length; i++)
        if (a.at[i] != b.at[i] && lower(a.at[i]) != lower(b.at[i]))
            return false;
    return true;
}

bool h1_is_name(struct slice a, const char *name)
{
    size_t i;

    for (i = 0; i < a.length; i++)
        if (name[i] == '\0' ||
            (a.at[i] != (uint8_t)name[i] && lower(a.at[i]) != lower((uint8_t)name[i])))
            return false;
    return name[a.length] == '\0';
}

static bool has_prefix(struct slice a, const char *prefix)
{
    size_t length = strlen(prefix);

    return a.length >= length && h1_is_name(slice_borrow(a.at, length), prefix);
}

const char *h1_method_text(enum h1_method method)
{
    switch (method) {
    case H1_METHOD_GET:
        return "GET";
    case H1_METHOD_HEAD:
        return "HEAD";
    case H1_METHOD_POST:
        return "POST";
    case H1_METHOD_PUT:
        return "PUT";
    case H1_METHOD_PATCH:
        return "PATCH";
    case H1_METHOD_DELETE:
        return "DELETE";
    case H1_METHOD_OPTIONS:
        return "OPTIONS";
    }
    return "";
}

struct slice h1_target(const struct h1_head *head)
{
    return slice_part(head->text, head->target);
}

struct slice h1_name(const struct h1_head *head, size_t index)
{
    return slice_part(head->text, head->headers[index].name);
}

struct slice h1_value(const struct h1_head *head, size_t index)
{
    return slice_part(head->text, head->headers[index].value);
}

bool h1_header(const struct h1_head *head, const char *name, struct slice *value)
{
    size_t i, length = strlen(name);

    *value = (struct slice){0};
    for (i = 0; i < head->headers_count; i++) {
        if (head->headers[i].name.length == length && h1_is_name(h1_name(head, i), name)) {
            *value = h1_value(head, i);
            return true;
        }
    }
    return false;
}

size_t h1_header_count(const struct h1_head *head, const char *name)
{
    size_t i, count = 0, length = strlen(name);

    for (i = 0; i < head->headers_count; i++)
        if (head->headers[i].name.length == length && h1_is_name(h1_name(head, i), name))
            count++;
    return count;
}

/* Is `name` one of the words of a Connection line? */
static bool connection_names(const struct h1_head *head, struct slice name)
{
    size_t i;

    for (i = 0; i < head->headers_count; i++) {
        struct slice value = h1_value(head, i);
        size_t at = 0, start;

        if (!h1_is_name(h1_name(head, i), "connection"))
            continue;
        while (at < value.length) {
            for (start = at; at < value.length && strchr(", \t", value.at[at]) == NULL;)
                at++;
            if (h1_is_same_name(slice_borrow(value.at + start, at - start), name))
                return true;
            at++;
        }
    }
    return false;
}

bool h1_header_travels(const struct h1_head *head, size_t index)
{
    static const char *const stay[] = {
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
        "host",
        "expect",
        "forwarded",
        "mcp-init-host",
        "router-key",
        "content_length",
        "transfer_encoding",
        "http2-settings",
    };
    static const char *const stay_prefixes[] = {"proxy-", "x-forwarded-", "x-mesh-"};
    struct slice name = h1_name(head, index);
    size_t i;

    for (i = 0; i < sizeof stay / sizeof stay[0]; i++)
        if (h1_is_name(name, stay[i]))
            return false;
    for (i = 0; i < sizeof stay_prefixes / sizeof stay_prefixes[0]; i++)
        if (has_prefix(name, stay_prefixes[i]))
            return false;
    return !head->has_connection_names || !connection_names(head, name);
}

/* --- Writing ---------------------------------------------------------------------------------- */

const char *h1_status_text(int status)
{
    static const struct {
        int status;
        const char *text;
    } texts[] = {
        {100, "Continue"},
        {101, "Switching Protocols"},
        {103, "Early Hints"},
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {203, "Non-Authoritative Information"},
        {204, "No Content"},
        {205, "Reset Content"},
        {206, "Partial Content"},
        {300, "Multiple Choices"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {407, "Proxy Authentication Required"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {451, "Unavailable For Legal Reasons"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {511, "Network Authentication Required"},
    };
    size_t i;

    for (i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (texts[i].status == status)
            return texts[i].text;
    return "";
}

/* Where a head is being written; rc < 0: refused or full, for good. */
struct pen {
    uint8_t *to;
    size_t room, length;
    int rc;
};

static void put(struct pen *pen, const void *bytes, size_t length)
{
    if (pen->rc < 0)
        return;
    if (length > pen->room - pen->length) {
        pen->rc = -ENOSPC;
        return;
    }
    if (length > 0)
        memcpy(pen->to + pen->length, bytes, length);
    pen->length += length;
}

static void put_text(struct pen *pen, const char *text)
{
    put(pen, text, strlen(text));
}

static bool is_token(struct slice s)
{
    size_t i;

    for (i = 0; i < s.length; i++) {
        uint8_t c = s.at[i];

        if (!(c >= '0' && c <= '9') && !(lower(c) >= 'a' && lower(c) <= 'z') &&
            (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL))
            return false;
    }
    return s.length > 0;
}

static bool is_value(struct slice s, bool blanks_are_fine)
{
    size_t i;

    for (i = 0; i < s.length; i++) {
        uint8_t c = s.at[i];

        if (c == 0x7f || (c < 0x20 && c != '\t') || (!blanks_are_fine && (c == ' ' || c == '\t')))
            return false;
    }
    return true;
}

static bool speaks_of_framing(struct slice name)
{
    return h1_is_name(name, "content-length") || h1_is_name(name, "transfer-encoding") ||
           h1_is_name(name, "connection");
}

static void put_number(struct pen *pen, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;

    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    put(pen, digits + at, sizeof digits - at);
}

bool h1_lines_are_sound(struct slice lines)
{
    size_t at = 0;

    while (at < lines.length) {
        const uint8_t *start = lines.at + at;
        const uint8_t *end = memchr(start, '\r', lines.length - at);
        const uint8_t *colon = end == NULL ? NULL : memchr(start, ':', (size_t)(end - start));
        struct slice name;

        if (colon == NULL || (size_t)(end - lines.at) + 1 >= lines.length || end[1] != '\n')
            return false;
        name = slice_borrow(start, (size_t)(colon - start));
        if (!is_token(name) || speaks_of_framing(name) ||
            !is_value(slice_borrow(colon + 1, (size_t)(end - colon - 1)), true))
            return false;
        at = (size_t)(end - lines.at) + 2;
    }
    return true;
}

/* All but the first line. */
static int put_fields(struct pen *pen, const struct h1_out *out)
{
    size_t i;

    for (i = 0; i < out->lines_count; i++) {
        const struct h1_line *line = &out->lines[i];

        if (!is_token(line->name) || speaks_of_framing(line->name) || !is_value(line->value, true))
            return -EINVAL;
        put(pen, line->name.at, line->name.length);
        put(pen, ": ", 2);
        put(pen, line->value.at, line->value.length);
        put(pen, "\r\n", 2);
    }
    if (!h1_lines_are_sound(out->ready))
        return -EINVAL;
    put(pen, out->ready.at, out->ready.length);
    switch (out->framing) {
    case H1_LENGTH:
        put_text(pen, "Content-Length: ");
        put_number(pen, out->content_length);
        put(pen, "\r\n", 2);
        break;
    case H1_CHUNKED:
        put_text(pen, "Transfer-Encoding: chunked\r\n");
        break;
    case H1_NO_BODY:
    case H1_UNTIL_CLOSE:
        break;
    }
    if (out->close || out->framing == H1_UNTIL_CLOSE)
        put_text(pen, "Connection: close\r\n");
    else if (out->keep_alive)
        put_text(pen, "Connection: keep-alive\r\n");
    put(pen, "\r\n", 2);
    return pen->rc < 0 ? pen->rc : (int)pen->length;
}

int h1_write_response_head(uint8_t *to, size_t room, const struct h1_out *out)
{
    struct pen pen = {.to = to, .room = room < INT32_MAX ? room : INT32_MAX};

    if (out->status < 100 || out->status > 999)
        return -EINVAL;
    put_text(&pen, "HTTP/1.1 ");
    put_number(&pen, (uint64_t)out->status);
    put(&pen, " ", 1);
    put_text(&pen, h1_status_text(out->status));
    put(&pen, "\r\n", 2);
    return put_fields(&pen, out);
}

int h1_write_request_head(uint8_t *to, size_t room, const struct h1_out *out)
{
    struct pen pen = {.to = to, .room = room < INT32_MAX ? room : INT32_MAX};

    if (!is_token(out->method) || out->target.length == 0 || !is_value(out->target, false) ||
        out->framing == H1_UNTIL_CLOSE)
        return -EINVAL;
    put(&pen, out->method.at, out->method.length);
    put(&pen, " ", 1);
    put(&pen, out->target.at, out->target.length);
    put_text(&pen, " HTTP/1.1\r\n");
    return put_fields(&pen, out);
}

size_t h1_head_room(const struct h1_out *out)
{
    /* First line, its words, framing, Connection and the empty line fit 160. */
    size_t i, room = 160 + out->method.length + out->target.length + out->ready.length;

    for (i = 0; i < out->lines_count; i++)
        room += out->lines[i].name.length + out->lines[i].value.length + 4;
    return room;
}

size_t h1_write_chunk_head(uint8_t to[H1_CHUNK_HEAD_MAX], uint64_t length)
{
    static const char digits[] = "0123456789abcdef";
    size_t n = 1, i;

    while (n < 16 && length >> (4 * n) != 0)
        n++;
    for (i = 0; i < n; i++)
        to[i] = (uint8_t)digits[(length >> (4 * (n - 1 - i))) & 15];
    to[n] = '\r';
    to[n + 1] = '\n';
    return n + 2;
}
