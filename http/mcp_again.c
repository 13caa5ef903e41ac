/* mcp_again.c - heads that were written lately, of requests to the upstream and of answers to
 * clients. A session's calls have the same one again and again, but for its Content-Length: that
 * one is written anew, the rest is copied once the lines and the session that it was made of are
 * found to be the same. */
#include "http/mcp_inside.h"

#include <errno.h>

#define HEAD_MAX 2048u /* a longer one is not worth its memory */
#define DIGITS_MAX 20u

static const char length_name[] = "Content-Length: ", end_of_head[] = "\r\n\r\n";

/* Is its head made of nothing but lines, session and length? */
static bool is_plain(const struct mcp_upstream_request *request)
{
    return request->want == MESH_CALL && !request->is_own && request->body_bytes > 0 &&
           request->last_event_id.length == 0 && request->endpoint.length == 0 &&
           request->head.length > 0 &&
           (request->target.length == 0 ||
            memchr(request->target.at, '?', request->target.length) == NULL);
}

static size_t write_digits(uint8_t to[DIGITS_MAX], uint64_t number)
{
    uint8_t digits[DIGITS_MAX];
    size_t at = DIGITS_MAX;

    do
        digits[--at] = (uint8_t)('0' + number % 10);
    while ((number /= 10) > 0);
    memcpy(to, digits + at, DIGITS_MAX - at);
    return DIGITS_MAX - at;
}

static void forget(struct mcp_head_kept *kept)
{
    bytes_unref(kept->head);
    slice_drop(&kept->session);
    *kept = (struct mcp_head_kept){0};
}

void mcp_heads_forget(struct mcp_heads *heads, uint32_t place)
{
    forget(&heads->kept[place % MCP_HEADS]);
}

void mcp_heads_deinit(struct mcp_heads *heads)
{
    for (uint32_t place = 0; place < MCP_HEADS; place++)
        mcp_heads_forget(heads, place);
}

static bool is_same(const struct mcp_head_kept *kept, struct slice session, struct slice lines)
{
    return kept->head != NULL && slice_equal(kept->session, session) &&
           slice_equal(slice_part(slice_of(kept->head, 0, kept->head->length), kept->lines), lines);
}

/* Where the lines of a head stand follows from its end: h1 writes them last but for the length. */
static void keep(struct mcp_head_kept *kept, struct slice session, struct slice lines,
                 uint64_t body_bytes, struct bytes *head)
{
    uint8_t digits[DIGITS_MAX];
    size_t behind = write_digits(digits, body_bytes) + sizeof end_of_head - 1;
    size_t length_line = sizeof length_name - 1 + behind;

    forget(kept);
    if (head->length > HEAD_MAX || head->length < length_line + lines.length)
        return;
    *kept = (struct mcp_head_kept){
        .lines = {.at = (uint32_t)(head->length - length_line - lines.length),
                  .length = (uint32_t)lines.length},
        .before_digits = head->length - behind};
    if (slice_keep(&kept->session, session, NULL) < 0)
        return;
    kept->head = bytes_ref(head);
    if (!is_same(kept, session, lines) ||
        memcmp(head->data + kept->before_digits - (sizeof length_name - 1), length_name,
               sizeof length_name - 1) != 0)
        forget(kept); /* it was written otherwise than we think */
}

static int write_again(const struct mcp_heads *heads, const struct mcp_head_kept *kept,
                       uint64_t body_bytes, struct bytes **headp)
{
    struct bytes *head =
        bytes_new(heads->budget, kept->before_digits + DIGITS_MAX + sizeof end_of_head);

    if (head == NULL)
        return -ENOMEM;
    memcpy(head->data, kept->head->data, kept->before_digits);
    head->length = kept->before_digits;
    head->length += write_digits(head->data + head->length, body_bytes);
    mcp_append(head, slice_borrow(end_of_head, sizeof end_of_head - 1));
    *headp = head;
    return 0;
}

int mcp_upstream_request_head_again(const struct mcp_config *config,
                                    const struct mcp_upstream_request *request,
                                    struct mcp_heads *heads, uint32_t place, struct bytes **headp)
{
    struct mcp_head_kept *kept = &heads->kept[place % MCP_HEADS];
    int rc;

    if (!is_plain(request))
        return mcp_upstream_request_head(config, request, headp);
    if (is_same(kept, request->session, request->head))
        return write_again(heads, kept, request->body_bytes, headp);
    rc = mcp_upstream_request_head(config, request, headp);
    if (rc == 0)
        keep(kept, request->session, request->head, request->body_bytes, *headp);
    return rc;
}

int mcp_write_head_again(const struct mcp_config *config, struct mcp_exchange *exchange, int status,
                         enum mesh_form form, struct slice lines, const char *session,
                         int64_t length, struct mcp_heads *heads, uint32_t place,
                         struct bytes **headp)
{
    struct mcp_head_kept *kept = &heads->kept[place % MCP_HEADS];
    const struct slice none = {NULL, NULL, 0};
    bool is_only_lines = status == 200 && form == MESH_FORM_JSON && length > 0 &&
                         lines.length > 0 && session == NULL && exchange->origin.length == 0 &&
                         !exchange->is_head && !exchange->is_http10 && !exchange->close;
    int rc;

    if (!is_only_lines)
        return mcp_write_head(config, exchange, status, form, lines, session, length, headp);
    if (is_same(kept, none, lines)) {
        exchange->form = form;
        exchange->framing = H1_LENGTH;
        return write_again(heads, kept, (uint64_t)length, headp);
    }
    rc = mcp_write_head(config, exchange, status, form, lines, session, length, headp);
    if (rc == 0)
        keep(kept, none, lines, (uint64_t)length, *headp);
    return rc;
}
