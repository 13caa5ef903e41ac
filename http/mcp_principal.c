/* mcp_principal.c - who asks, as --bind-session tells it: a keyed hash, equal on every peer, of
 * what stays the same from one request of a principal to the next. Nothing is verified here: that
 * is the upstream's; a principal only has to be told from others. */
#include "http/base64.h"
#include "http/mcp_inside.h"
#include "mesh/base/siphash.h"

#define JWT_MAX 6144 /* bytes of a JWT's payload: a header line of 8 KiB, decoded */

/* The inside of the JSON string at *at, which is left behind its closing quote. */
static bool json_string_at(struct slice text, size_t *at, struct slice *inside)
{
    size_t i = *at + 1;

    while (i < text.length && text.at[i] != '"') {
        if (text.at[i] < 0x20)
            return false;
        i += text.at[i] == '\\' ? 2 : 1;
    }
    if (i >= text.length)
        return false;
    *inside = slice_borrow(text.at + *at + 1, i - *at - 1);
    *at = i + 1;
    return true;
}

static void json_skip_blanks(struct slice text, size_t *at)
{
    while (*at < text.length && (text.at[*at] == ' ' || text.at[*at] == '\t' ||
                                 text.at[*at] == '\n' || text.at[*at] == '\r'))
        ++*at;
}

/* The strings "iss" and "sub" of an object, raw, each there once. The token is not verified, so
 * this only has to tell the same of the same token; whoever forges one is judged by the upstream.
 */
static bool jwt_read_claims(struct slice text, struct slice *issuer, struct slice *subject)
{
    size_t at = 0, depth = 0, start;
    bool is_key = false;
    struct slice key, value;

    *issuer = *subject = slice_borrow(NULL, 0);
    json_skip_blanks(text, &at);
    if (at == text.length || text.at[at] != '{')
        return false;
    start = at;
    while (at < text.length) {
        uint8_t c = text.at[at];
        struct slice *claim;

        if (c != '"') {
            bool is_blank = c == ' ' || c == '\t' || c == '\n' || c == '\r';

            if (depth == 0 && at > start && !is_blank)
                return false; /* behind the object */
            if (c == '{' || c == '[')
                depth++;
            if (c == '}' || c == ']')
                depth--;
            is_key = c == ',' || c == '{' || (is_key && is_blank);
            at++;
            continue;
        }
        if (depth == 0 || !json_string_at(text, &at, &key))
            return false;
        if (depth != 1 || !is_key)
            continue;
        is_key = false;
        claim = slice_is(key, "iss") ? issuer : slice_is(key, "sub") ? subject : NULL;
        json_skip_blanks(text, &at);
        if (claim == NULL || at == text.length || text.at[at] != ':')
            continue;
        at++;
        json_skip_blanks(text, &at);
        if (at == text.length || text.at[at] != '"' || !json_string_at(text, &at, &value) ||
            claim->length > 0)
            return false;
        *claim = value;
    }
    return depth == 0 && issuer->length > 0 && subject->length > 0;
}

static uint64_t hash_parts(const uint8_t key[16], enum mcp_bind bind, struct slice a,
                           struct slice b)
{
    uint8_t head[9] = {(uint8_t)bind};
    struct siphash_state state;

    for (size_t i = 0; i < 8; i++)
        head[1 + i] = (uint8_t)((uint64_t)a.length >> 8 * i);
    siphash_begin(&state, key);
    siphash_add(&state, head, sizeof head);
    siphash_add(&state, a.at, a.length);
    if (b.length > 0)
        siphash_add(&state, b.at, b.length);
    return siphash_end(&state);
}

static struct principal hash_as(const struct mcp_who_key *key, enum mcp_bind bind, struct slice a,
                                struct slice b)
{
    struct principal who;

    for (size_t k = 0; k < 2; k++) {
        uint64_t hash = hash_parts(key->hash_keys[k], bind, a, b);

        for (size_t i = 0; i < 8; i++)
            who.hash[8 * k + i] = (uint8_t)(hash >> 8 * i);
    }
    return who;
}

/* The first byte of an id, 4 bits of which are its key's (DESIGN section 4). An id that is none, or
 * of a key that is not known, is refused anyway. */
const struct mcp_who_key *mcp_who_key(const struct mcp_config *config,
                                      const struct mesh_request *request)
{
    uint8_t bytes[3];
    size_t length;

    if (config->who_keys_count == 1 || request->key.kind != MESH_KEY_SESSION ||
        request->key.text.length < 4 ||
        !base64_decode(bytes, sizeof bytes, &length,
                       slice_part(request->key.text, (struct span){0, 4}), BASE64_URL))
        return &config->who_keys[0];
    for (uint32_t n = 0; n < config->who_keys_count; n++)
        if (((config->who_keys[n].id ^ bytes[0]) & 15) == 0)
            return &config->who_keys[n];
    return &config->who_keys[0];
}

struct principal mcp_token(const struct mcp_who_key *key, const struct h1_head *head)
{
    const struct slice none = {NULL, NULL, 0};
    struct principal token = {{0}};
    struct slice value;

    if (h1_field(head, H1_FIELD_AUTHORIZATION, &value) && value.length > 0)
        token = hash_as(key, MCP_BIND_TOKEN, value, none);
    return token;
}

/* The payload of "Bearer head.payload.signature". */
static bool jwt_payload(struct slice value, struct slice *payload)
{
    struct slice scheme, part;

    value = mcp_trim(value);
    if (!mcp_next_part(&value, ' ', &scheme) || !h1_is_name(scheme, "Bearer"))
        return false;
    value = mcp_trim(value);
    return mcp_next_part(&value, '.', &part) && mcp_next_part(&value, '.', payload) &&
           mcp_next_part(&value, '.', &part) && value.at == NULL && payload->length > 0;
}

/* Issuer and subject of a JWT; *who is left alone without both. */
static void bind_claims(const struct mcp_who_key *key, struct slice payload, struct principal *who)
{
    uint8_t decoded[JWT_MAX];
    size_t length;
    struct slice issuer, subject;

    if (base64_decode(decoded, sizeof decoded, &length, payload, BASE64_URL) &&
        jwt_read_claims(slice_borrow(decoded, length), &issuer, &subject))
        *who = hash_as(key, MCP_BIND_AUTO, issuer, subject);
}

struct principal mcp_principal(const struct mcp_config *config, const struct mcp_who_key *key,
                               const struct h1_head *head)
{
    const struct slice none = {NULL, NULL, 0};
    struct principal who = {{0}};
    struct slice value, payload;

    switch (config->bind) {
    case MCP_BIND_NONE:
        break;
    case MCP_BIND_HEADER:
        if (h1_header(head, config->bind_header, &value) && value.length > 0)
            return hash_as(key, config->bind, value, none);
        break;
    case MCP_BIND_TOKEN:
        if (h1_field(head, H1_FIELD_AUTHORIZATION, &value) && value.length > 0)
            return hash_as(key, config->bind, value, none);
        break;
    case MCP_BIND_AUTO:
        if (h1_field(head, H1_FIELD_AUTHORIZATION, &value) && jwt_payload(value, &payload))
            bind_claims(key, payload, &who);
        break;
    }
    return who;
}
