/* h1_head.c - what is asked of a head once it is read, and heads as bytes to send. Nothing that a
 * peer could use to end a line early is ever written. The parser is h1.c. */
#include "http/h1_inside.h"

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
    if (slice_equal(a, b)) /* as they are mostly written */
        return true;
    for (i = 0; i < a.length; i++)
        if (lower(a.at[i]) != lower(b.at[i]))
            return false;
    return true;
}

bool h1_is_name(struct slice a, const char *name)
{
    return h1_is_same_name(a, slice_text(name));
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

bool h1_field(const struct h1_head *head, enum h1_field field, struct slice *value)
{
    *value = (struct slice){0};
    if ((head->fields & h1_set(field)) == 0)
        return false;
    *value = h1_value(head, head->first[field]);
    return true;
}

struct slice h1_plain_line(const struct h1_head *head, size_t index)
{
    const struct h1_header *header = &head->headers[index];
    const uint8_t *text = head->text.at;
    uint32_t value_at = header->name.at + header->name.length + 2;
    uint32_t end = header->value.at + header->value.length;

    if (header->value.at != value_at || text[value_at - 1] != ' ' || text[end] != '\r')
        return slice_borrow(NULL, 0);
    return slice_borrow(text + header->name.at, end + 2 - header->name.at);
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

bool h1_connection_names(const struct h1_head *head, struct slice name)
{
    size_t i;

    for (i = 0; i < head->headers_count; i++) {
        struct slice value = h1_value(head, i);
        size_t at = 0, start;

        if (head->headers[i].field != H1_FIELD_CONNECTION)
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
    return s.length > 0 && h1_count_token(s.at, s.length) == s.length;
}

static bool is_value(struct slice s)
{
    return s.length == 0 || h1_count_value(s.at, s.length) == s.length;
}

static bool is_target(struct slice s)
{
    return s.length > 0 && h1_count_target(s.at, s.length) == s.length;
}

static bool speaks_of_framing(struct slice name)
{
    enum h1_field field;
    uint8_t rules;

    if (name.length != 10 && name.length != 14 && name.length != 17)
        return false;
    field = h1_field_of(name, &rules);
    return field == H1_FIELD_CONTENT_LENGTH || field == H1_FIELD_TRANSFER_ENCODING ||
           field == H1_FIELD_CONNECTION;
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
    const uint8_t *at = lines.at, *end = lines.at + lines.length;

    while (at < end) {
        struct slice name = slice_borrow(at, h1_count_token(at, (size_t)(end - at)));

        at += name.length;
        if (name.length == 0 || at == end || *at != ':' || speaks_of_framing(name))
            return false;
        at++;
        at += h1_count_value(at, (size_t)(end - at));
        if (end - at < 2 || at[0] != '\r' || at[1] != '\n')
            return false;
        at += 2;
    }
    return true;
}

/* All but the first line. */
static int put_fields(struct pen *pen, const struct h1_out *out)
{
    size_t i;

    for (i = 0; i < out->lines_count; i++) {
        const struct h1_line *line = &out->lines[i];

        if (!is_token(line->name) || speaks_of_framing(line->name) || !is_value(line->value))
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

    if (!is_token(out->method) || !is_target(out->target) || out->framing == H1_UNTIL_CLOSE)
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
