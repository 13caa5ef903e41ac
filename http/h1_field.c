/* h1_field.c - the header names that some rule of http/ names, told apart once for each line of a
 * head. What follows from a name is decided where its rule stands. */
#include "http/h1_inside.h"

#include <string.h>

#define LENGTH_MAX 20
#define SAME_LENGTH_MAX 5

struct known {
    char name[LENGTH_MAX + 1];
    uint8_t field, rules;
};

/* By the length of the name. Lines that stay speak of one connection or its framing (RFC 9110
 * section 7.6.1), or would claim to come from a proxy of ours (rows H11, H46). Connection must not
 * take the protected ones away: who asks for that wants the next hop to see another request than
 * we do (row H42). */
static const struct known known[LENGTH_MAX + 1][SAME_LENGTH_MAX] = {
    [2] = {{"te", H1_FIELD_OTHER, H1_STAYS}},
    [4] = {{"host", H1_FIELD_HOST, H1_STAYS | H1_PROTECTED}},
    [6] = {{"accept", H1_FIELD_ACCEPT, H1_PROTECTED},
           {"cookie", H1_FIELD_OTHER, H1_PROTECTED},
           {"expect", H1_FIELD_EXPECT, H1_STAYS | H1_PROTECTED},
           {"origin", H1_FIELD_ORIGIN, H1_PROTECTED}},
    [7] = {{"alt-svc", H1_FIELD_ALT_SVC, 0},
           {"trailer", H1_FIELD_OTHER, H1_STAYS},
           {"upgrade", H1_FIELD_OTHER, H1_STAYS}},
    [8] = {{"mcp-name", H1_FIELD_MCP_NAME, 0}},
    [9] = {{"forwarded", H1_FIELD_OTHER, H1_STAYS}},
    [10] = {{"connection", H1_FIELD_CONNECTION, H1_STAYS},
            {"keep-alive", H1_FIELD_OTHER, H1_STAYS},
            {"mcp-method", H1_FIELD_MCP_METHOD, 0},
            {"router-key", H1_FIELD_OTHER, H1_STAYS},
            {"set-cookie", H1_FIELD_OTHER, H1_PROTECTED}},
    [12] = {{"content-type", H1_FIELD_CONTENT_TYPE, H1_PROTECTED}},
    [13] = {{"authorization", H1_FIELD_AUTHORIZATION, H1_PROTECTED},
            {"cache-control", H1_FIELD_CACHE_CONTROL, 0},
            {"last-event-id", H1_FIELD_LAST_EVENT_ID, H1_PROTECTED},
            {"mcp-init-host", H1_FIELD_OTHER, H1_STAYS}},
    [14] = {{"mcp-session-id", H1_FIELD_MCP_SESSION_ID, 0},
            {"content-length", H1_FIELD_CONTENT_LENGTH, H1_STAYS | H1_PROTECTED},
            {"content_length", H1_FIELD_OTHER, H1_STAYS},
            {"http2-settings", H1_FIELD_OTHER, H1_STAYS}},
    [15] = {{"accept-encoding", H1_FIELD_ACCEPT_ENCODING, 0}},
    [16] = {{"content-encoding", H1_FIELD_CONTENT_ENCODING, H1_PROTECTED},
            {"www-authenticate", H1_FIELD_OTHER, H1_PROTECTED}},
    [17] = {{"transfer-encoding", H1_FIELD_TRANSFER_ENCODING, H1_STAYS | H1_PROTECTED},
            {"transfer_encoding", H1_FIELD_OTHER, H1_STAYS},
            {"x-accel-buffering", H1_FIELD_X_ACCEL_BUFFERING, 0}},
    [20] = {{"mcp-protocol-version", H1_FIELD_MCP_PROTOCOL_VERSION, 0}},
};

/* Do these bytes differ in letter case at most? So read, of the characters of a token only ^ and ~
 * are taken for each other, and no name here has one. */
static bool is_same_word(const void *a, const void *b)
{
    uint64_t x, y;

    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return ((x ^ y) & UINT64_C(0xdfdfdfdfdfdfdfdf)) == 0;
}

static bool is_same(const uint8_t *name, const char *ours, size_t length)
{
    size_t i = 0;

    for (; length - i >= 8; i += 8)
        if (!is_same_word(name + i, ours + i))
            return false;
    if (length >= 8) /* the last word may overlap the one before */
        return is_same_word(name + length - 8, ours + length - 8);
    for (; i < length; i++)
        if (((name[i] ^ (uint8_t)ours[i]) & 0xdf) != 0)
            return false;
    return true;
}

static bool has_prefix(struct slice name, const char *prefix, size_t length)
{
    return name.length >= length && is_same(name.at, prefix, length);
}

static const struct known *find_known(struct slice name)
{
    size_t i;

    if (name.length > LENGTH_MAX)
        return NULL;
    for (i = 0; i < SAME_LENGTH_MAX; i++) {
        const struct known *one = &known[name.length][i];

        if (one->name[0] == '\0')
            break;
        if (is_same(name.at, one->name, name.length))
            return one;
    }
    return NULL;
}

enum h1_field h1_field_of(struct slice name, uint8_t *rules)
{
    const struct known *one = find_known(name);
    enum h1_field field = one != NULL ? (enum h1_field)one->field : H1_FIELD_OTHER;

    *rules = one != NULL ? one->rules : 0;
    if (has_prefix(name, "mcp-", 4))
        *rules |= H1_PROTECTED;
    else if (has_prefix(name, "proxy-", 6) || has_prefix(name, "x-forwarded-", 12) ||
             has_prefix(name, "x-mesh-", 7))
        *rules |= H1_STAYS;
    return field;
}
