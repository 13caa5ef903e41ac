/* h1.c - the parser of one connection. The lexer (h1_lex.c) walks every byte of a head once, in
 * order; then llhttp reads the same head, and both must agree on method, version and framing, so
 * that one reader's quirk never frames a message. Bodies are h1_body.c's; questions about a head
 * and writing are in h1_head.c. */
#include "http/h1_inside.h"

#include <assert.h>
#include <llhttp.h>
#include <stdlib.h>
#include <string.h>

#define VERSION_LENGTH 8 /* "HTTP/1.1" */
#define BLANK_LINES_MAX 2
#define INTERIM_MAX 8        /* 1xx responses before the real one (row U2) */
#define LENGTH_DIGITS_MAX 19 /* all such numbers fit 64 bits */

/* What the fields say of the framing, before it is judged. */
struct facts {
    unsigned hosts, lengths, codings, expects;
    uint64_t length;
    bool says_close, says_keep_alive;
};

/* What llhttp made of the same head. */
struct second_reader {
    bool is_complete, is_chunked, has_length;
    uint8_t major, minor, method;
    int status;
    uint64_t length;
};

enum h1_event h1_fail(struct h1 *h, uint16_t status, const char *reason)
{
    h->phase = H1_PHASE_ERROR;
    h->status = h->direction == H1_REQUESTS ? status : 502;
    h->reason = reason;
    return H1_ERROR;
}

/* --- Reading a whole head --------------------------------------------------------------------- */

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

static void trim(const uint8_t *text, struct span *value)
{
    while (value->length > 0 && is_blank(text[value->at + value->length - 1]))
        value->length--;
}

/* Lines that frame take no blanks but spaces before the value (row H9). */
static bool is_plain_line(const uint8_t *text, const struct h1_header *header)
{
    uint32_t at = header->name.at + header->name.length + 1;

    for (; at < header->value.at; at++)
        if (text[at] != ' ')
            return false;
    return text[header->value.at + header->value.length] == '\r';
}

bool h1_read_length(struct slice value, uint64_t *length)
{
    size_t i;

    *length = 0;
    if (value.length == 0 || value.length > LENGTH_DIGITS_MAX)
        return false;
    for (i = 0; i < value.length; i++) {
        if (value.at[i] < '0' || value.at[i] > '9')
            return false;
        *length = *length * 10 + (uint64_t)(value.at[i] - '0');
    }
    return true;
}

static bool read_connection(struct h1_head *head, struct slice value, struct facts *facts)
{
    size_t i = 0, start;

    while (i < value.length) {
        struct slice name;
        uint8_t rules;

        while (i < value.length && (is_blank(value.at[i]) || value.at[i] == ','))
            i++;
        start = i;
        i += h1_count_token(value.at + i, value.length - i);
        name = slice_borrow(value.at + start, i - start);
        while (i < value.length && is_blank(value.at[i]))
            i++;
        if (i < value.length && value.at[i] != ',')
            return false;
        if (name.length == 0)
            continue;
        (void)h1_field_of(name, &rules);
        if (h1_is_name(name, "close"))
            facts->says_close = true;
        else if (h1_is_name(name, "keep-alive"))
            facts->says_keep_alive = true;
        else if ((rules & H1_PROTECTED) != 0)
            return false;
        else
            head->has_connection_names = true;
    }
    return !(facts->says_close && facts->says_keep_alive);
}

static bool read_coding(struct h1 *h, const struct h1_header *header, struct slice value,
                        struct facts *facts)
{
    if (++facts->codings > 1 || !is_plain_line(h->head->text.at, header)) {
        h1_fail(h, 400, "malformed Transfer-Encoding");
        return false;
    }
    if (h1_is_name(value, "chunked"))
        return true;
    if (value.length > 0 && h1_count_token(value.at, value.length) == value.length)
        h1_fail(h, 501, "transfer coding not known");
    else
        h1_fail(h, 400, "malformed Transfer-Encoding");
    return false;
}

/* Tells the field and notes it in the head. */
static void classify(struct h1_head *head, uint32_t index)
{
    struct h1_header *header = &head->headers[index];
    uint8_t rules;
    enum h1_field field = h1_field_of(slice_part(head->text, header->name), &rules);

    header->field = (uint8_t)field;
    header->stays = (rules & H1_STAYS) != 0;
    head->doubles |= head->fields & h1_set(field);
    if ((head->fields & h1_set(field)) == 0)
        head->first[field] = index;
    head->fields |= h1_set(field);
}

/* One field; only those that frame are looked at. */
static bool read_field(struct h1 *h, const struct h1_header *header, struct facts *facts)
{
    struct slice value = slice_part(h->head->text, header->value);

    if (header->field == H1_FIELD_HOST && ++facts->hosts > 1 && h->direction == H1_REQUESTS) {
        h1_fail(h, 400, "two Hosts");
    } else if (header->field == H1_FIELD_CONTENT_LENGTH) {
        if (++facts->lengths > 1 || !is_plain_line(h->head->text.at, header) ||
            !h1_read_length(value, &facts->length))
            h1_fail(h, 400, "malformed Content-Length");
    } else if (header->field == H1_FIELD_TRANSFER_ENCODING) {
        return read_coding(h, header, value, facts);
    } else if (header->field == H1_FIELD_CONNECTION) {
        if (!read_connection(h->head, value, facts))
            h1_fail(h, 400, "malformed Connection");
    } else if (header->field == H1_FIELD_EXPECT) {
        if (++facts->expects > 1 || !h1_is_name(value, "100-continue"))
            h->head->has_foreign_expect = true;
    }
    return h->phase != H1_PHASE_ERROR;
}

static bool read_version(struct h1 *h, uint32_t at)
{
    const uint8_t *text = h->head->text.at + at;

    if (memcmp(text, "HTTP/", 5) != 0 || text[5] < '0' || text[5] > '9' || text[6] != '.' ||
        text[7] < '0' || text[7] > '9')
        h1_fail(h, 400, "malformed version");
    else if (text[5] != '1' || text[7] > '1')
        h1_fail(h, 505, "version not supported");
    h->head->version_minor = (uint8_t)(text[7] - '0');
    return h->phase != H1_PHASE_ERROR;
}

static bool read_request_line(struct h1 *h)
{
    struct slice target = h1_target(h->head);
    struct slice method = slice_part(h->head->text, h->head->method_text);
    int m;

    if (!read_version(h, h->head->target.at + h->head->target.length + 1))
        return false;
    for (m = H1_METHOD_GET; m <= H1_METHOD_OPTIONS; m++)
        if (slice_is(method, h1_method_text((enum h1_method)m)))
            break;
    if (m > H1_METHOD_OPTIONS) {
        h1_fail(h, 501, "method not known");
        return false;
    }
    h->head->method = (enum h1_method)m;
    if (target.at[0] == '/' || slice_is(target, "*") ||
        (target.length > 7 && h1_is_name(slice_borrow(target.at, 7), "http://")) ||
        (target.length > 8 && h1_is_name(slice_borrow(target.at, 8), "https://")))
        return true;
    if (target.at[0] == '\\')
        h1_fail(h, 404, "no such path"); /* row H26 wants these alike */
    else
        h1_fail(h, 400, "malformed target");
    return false;
}

static bool read_status_line(struct h1 *h)
{
    const uint8_t *digits = h->head->text.at + VERSION_LENGTH + 1;
    int i, status = 0;

    if (!read_version(h, 0))
        return false;
    for (i = 0; i < 3; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            break;
        status = status * 10 + (digits[i] - '0');
    }
    if (i < 3 || status < 100 || status > 599 || status == 101) {
        h1_fail(h, 502, "malformed status");
        return false;
    }
    h->head->status = (uint16_t)status;
    return true;
}

static int on_second_head(llhttp_t *parser)
{
    struct second_reader *second = parser->data;

    second->is_complete = true;
    second->is_chunked = (parser->flags & F_CHUNKED) != 0;
    second->has_length = (parser->flags & F_CONTENT_LENGTH) != 0;
    second->major = parser->http_major;
    second->minor = parser->http_minor;
    second->method = parser->method;
    second->status = parser->status_code;
    second->length = parser->content_length;
    return HPE_PAUSED;
}

/* llhttp reads the head too; false if it refuses it or understands it otherwise. */
static bool second_agrees(const struct h1 *h, const struct facts *facts)
{
    static const llhttp_settings_t settings = {.on_headers_complete = on_second_head};
    static const uint8_t methods[] = {
        [H1_METHOD_GET] = HTTP_GET,         [H1_METHOD_HEAD] = HTTP_HEAD,
        [H1_METHOD_POST] = HTTP_POST,       [H1_METHOD_PUT] = HTTP_PUT,
        [H1_METHOD_PATCH] = HTTP_PATCH,     [H1_METHOD_DELETE] = HTTP_DELETE,
        [H1_METHOD_OPTIONS] = HTTP_OPTIONS,
    };
    const struct h1_head *head = h->head;
    struct second_reader second = {0};
    bool is_request = h->direction == H1_REQUESTS;
    llhttp_t parser;

    llhttp_init(&parser, is_request ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
    parser.data = &second;
    (void)llhttp_execute(&parser, (const char *)head->text.at, head->text.length);
    return second.is_complete && second.major == 1 && second.minor == head->version_minor &&
           second.is_chunked == (facts->codings > 0) && second.has_length == (facts->lengths > 0) &&
           (!second.has_length || second.length == facts->length) &&
           (is_request ? second.method == methods[head->method] : second.status == head->status);
}

/* RFC 9112 section 6.3, without its leniencies. */
static void set_framing(struct h1 *h, const struct facts *facts)
{
    struct h1_head *head = h->head;
    bool is_bodiless = h->direction == H1_RESPONSES && (h->is_asked_head || head->status < 200 ||
                                                        head->status == 204 || head->status == 304);

    head->keep_alive = head->version_minor == 1 ? !facts->says_close : facts->says_keep_alive;
    if (is_bodiless) {
        /* 204 with a body announced: who knows what follows. */
        if (head->status == 204 && (facts->codings > 0 || facts->length > 0))
            head->keep_alive = false;
    } else if (facts->codings > 0) {
        head->framing = H1_CHUNKED;
    } else if (facts->lengths > 0) {
        head->framing = facts->length > 0 ? H1_LENGTH : H1_NO_BODY;
        head->content_length = facts->length;
    } else if (h->direction == H1_RESPONSES) {
        head->framing = H1_UNTIL_CLOSE;
        head->keep_alive = false;
    }
    if (facts->expects > 0 && head->version_minor == 1 && !head->has_foreign_expect)
        head->expects_continue = head->framing != H1_NO_BODY;
}

/* Judges the whole head in h->head->text. */
static bool read_head(struct h1 *h)
{
    struct h1_head *head = h->head;
    struct facts facts = {0};
    uint32_t i;

    if (h->direction == H1_REQUESTS ? !read_request_line(h) : !read_status_line(h))
        return false;
    for (i = 0; i < head->headers_count; i++) {
        struct h1_header *header = &head->headers[i];
        /* is_plain_line() sees a trailing blank by what stands behind the value. */
        trim(head->text.at, &header->value);
        classify(head, i);
        if (!read_field(h, header, &facts))
            return false;
    }
    if (facts.codings > 0 && (facts.lengths > 0 || head->version_minor == 0))
        h1_fail(h, 400, "Transfer-Encoding where it must not be");
    else if (facts.length > INT64_MAX ||
             (h->limits.body_max > 0 && facts.length > h->limits.body_max))
        h1_fail(h, 413, "body too large");
    else if (!second_agrees(h, &facts))
        h1_fail(h, 400, "malformed head");
    else
        set_framing(h, &facts);
    return h->phase != H1_PHASE_ERROR;
}

/* --- Feeding ---------------------------------------------------------------------------------- */

static struct h1_head *head_new(void)
{
    enum { HEADERS_FIRST = 16 };
    struct h1_head *head = malloc(sizeof *head + HEADERS_FIRST * sizeof head->headers[0]);

    if (head != NULL) {
        memset(head, 0, sizeof *head);
        head->headers_room = HEADERS_FIRST;
    }
    return head;
}

void h1_head_free(struct h1_head *head)
{
    if (head != NULL) {
        bytes_unref(head->text.buf);
        bytes_unref(head->notes.lines);
    }
    free(head);
}

static void head_drop(struct h1 *h)
{
    h1_head_free(h->head);
    h->head = NULL;
    bytes_unref(h->text);
    h->text = NULL;
    h->state = LEX_START;
    h->at = h->line_at = h->block_at = h->lines_count = 0;
}

/* Skips what may stand before a request and opens the head at its first byte. */
static size_t start_head(struct h1 *h, const uint8_t *data, size_t length)
{
    size_t i = 0;

    for (; i < length && data[i] == (h->state == LEX_START ? '\r' : '\n'); i++) {
        if (h->state == LEX_START && ++h->blank_lines > BLANK_LINES_MAX)
            break;
        h->state = h->state == LEX_START ? LEX_START_LF : LEX_START;
    }
    if (i == length)
        return i;
    if (h->state == LEX_START_LF || (h1_class_of[data[i]] & H1_TOKEN) == 0 ||
        (h->direction == H1_RESPONSES && h->blank_lines > 0)) {
        h1_fail(h, 400, "no HTTP");
        return i;
    }
    h->head = head_new();
    if (h->head == NULL) {
        h1_fail(h, 503, "no memory");
        return i;
    }
    h->state = h->direction == H1_REQUESTS ? LEX_METHOD : LEX_VERSION;
    h->phase = H1_PHASE_HEAD;
    return i;
}

/* H1_MORE with input left over: an interim response was skipped. */
static enum h1_event feed_head(struct h1 *h, const uint8_t *data, size_t length, size_t *used)
{
    size_t skipped = 0, n;

    *used = 0;
    if (h->phase == H1_PHASE_IDLE) {
        skipped = start_head(h, data, length);
        *used = skipped;
        if (h->phase != H1_PHASE_HEAD)
            return h->phase == H1_PHASE_ERROR ? H1_ERROR : H1_MORE;
    }
    n = h1_lex(h, data + skipped, length - skipped);
    *used = skipped + n;
    if (h->phase == H1_PHASE_ERROR)
        return H1_ERROR;
    if (!h1_append(&h->text, h->budget, data + skipped, n, h->state == LEX_DONE ? 0 : 512))
        return h1_fail(h, 503, "no memory");
    if (h->state != LEX_DONE)
        return H1_MORE;
    h->head->text = slice_of(h->text, 0, h->text->length);
    h->text = NULL;
    if (!read_head(h))
        return H1_ERROR;
    if (h->direction == H1_RESPONSES && h->head->status < 200) {
        if (++h->interim_count > INTERIM_MAX)
            return h1_fail(h, 502, "too many interim responses");
        head_drop(h);
        h->phase = H1_PHASE_IDLE;
        return H1_MORE;
    }
    h1_body_start(h);
    return H1_HEAD;
}

enum h1_event h1_feed(struct h1 *h, const uint8_t *data, size_t length, size_t *used)
{
    enum h1_event event = H1_MORE;
    size_t n;

    *used = 0;
    switch (h->phase) {
    case H1_PHASE_IDLE:
    case H1_PHASE_HEAD:
        if (length == 0)
            return H1_MORE;
        if (h->direction == H1_RESPONSES && !h->is_asked)
            return h1_fail(h, 502, "bytes that nobody asked for");
        if (h->phase == H1_PHASE_IDLE && (*used = h1_memo_find(h, data, length)) > 0) {
            h1_body_start(h);
            return H1_HEAD;
        }
        do {
            event = feed_head(h, data + *used, length - *used, &n);
            *used += n;
        } while (event == H1_MORE && *used < length);
        return event;
    case H1_PHASE_BODY:
        return h1_body_feed(h, data, length, used);
    case H1_PHASE_DONE:
        break;
    case H1_PHASE_ERROR:
        return H1_ERROR;
    }
    assert(h->phase != H1_PHASE_DONE); /* h1_next() was forgotten */
    return event;
}

enum h1_event h1_eof(struct h1 *h)
{
    switch (h->phase) {
    case H1_PHASE_IDLE:
        if (h->direction == H1_RESPONSES && h->is_asked)
            return h1_fail(h, 502, "closed without an answer");
        return H1_MORE;
    case H1_PHASE_BODY:
        return h1_body_eof(h);
    case H1_PHASE_HEAD:
        return h1_fail(h, 400, "closed within a head");
    case H1_PHASE_DONE:
        return H1_MORE;
    case H1_PHASE_ERROR:
        break;
    }
    return H1_ERROR;
}

/* --- Life ------------------------------------------------------------------------------------- */

struct h1_limits h1_limits_default(enum h1_direction direction)
{
    return (struct h1_limits){
        .line_max = 8192,
        .header_bytes_max = 32768,
        .headers_max = 100,
        .body_max = direction == H1_REQUESTS ? 4u << 20 : 0,
        .collect = direction == H1_REQUESTS,
    };
}

void h1_init(struct h1 *h, enum h1_direction direction, const struct h1_limits *limits,
             struct bytes_budget *budget)
{
    *h = (struct h1){
        .direction = direction,
        .limits = *limits,
        .budget = budget,
        .phase = H1_PHASE_IDLE,
        .state = LEX_START,
    };
}

static void message_drop(struct h1 *h)
{
    head_drop(h);
    bytes_unref(h->body);
    h->body = NULL;
}

void h1_deinit(struct h1 *h)
{
    message_drop(h);
    h1_memo_forget(h); /* what its head says is nobody's any more */
}

void h1_next(struct h1 *h)
{
    if (h->phase == H1_PHASE_ERROR)
        return;
    h1_memo_keep(h);
    message_drop(h);
    h->phase = H1_PHASE_IDLE;
    h->part = (struct slice){0};
    h->left = h->overhead = h->body_bytes = 0;
    h->blank_lines = h->interim_count = 0;
    h->is_asked = h->is_asked_head = h->in_trailers = false;
}

void h1_expect_response(struct h1 *h, enum h1_method method)
{
    h->is_asked = true;
    h->is_asked_head = method == H1_METHOD_HEAD;
}

enum h1_phase h1_phase(const struct h1 *h)
{
    return h->phase;
}
