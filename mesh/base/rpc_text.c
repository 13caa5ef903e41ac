/* rpc_text.c - JSON text written, and ids compared by what they say. Reading messages is rpc.c's.
 */
#include "mesh/base/rpc_scan.h"
#include "mesh/base/siphash.h"

/* A place to write to that remembers having run out of room. */
struct writer {
    uint8_t *into;
    size_t room, length;
    bool is_full;
};

static void put(struct writer *w, const void *data, size_t length)
{
    if (w->is_full || length > w->room - w->length) {
        w->is_full = true;
        return;
    }
    if (length > 0)
        memcpy(w->into + w->length, data, length);
    w->length += length;
}

static void put_text(struct writer *w, const char *text)
{
    put(w, text, strlen(text));
}

static void put_int(struct writer *w, int value)
{
    char digits[12];
    size_t at = sizeof digits;
    unsigned rest = value < 0 ? 0u - (unsigned)value : (unsigned)value;

    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0)
        digits[--at] = '-';
    put(w, digits + at, sizeof digits - at);
}

static void put_control(struct writer *w, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";
    const char *name = c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t" : NULL;
    char escape[] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15], '\0'};

    put_text(w, name != NULL ? name : escape);
}

/* Bytes that are no UTF-8 become U+FFFD: what we write is valid whatever is quoted in it. */
static void put_escaped(struct writer *w, const uint8_t *p, size_t length)
{
    const uint8_t *end = p + length;

    while (p < end && !w->is_full) {
        size_t wide = *p >= 0x80 ? utf8_length(p, end) : 1;

        if (wide == 0)
            put_text(w, "\xEF\xBF\xBD");
        else if (*p < 0x20)
            put_control(w, *p);
        else if (*p == '"' || *p == '\\')
            put(w, (const char[]){'\\', (char)*p}, 2);
        else
            put(w, p, wide);
        p += wide > 0 ? wide : 1;
    }
}

/* The end of the string that begins at `at`. The text is sound. */
static size_t string_end(struct slice text, size_t at)
{
    for (at++; at < text.length && text.at[at] != '"'; at++)
        if (text.at[at] == '\\')
            at++;
    return at + 1;
}

bool rpc_next_entry(struct slice batch, size_t *at, struct slice *entry)
{
    size_t i = *at, depth = 0, begin;

    while (i < batch.length && batch.at[i] != '{')
        i++;
    for (begin = i; i < batch.length; i++) {
        uint8_t byte = batch.at[i];

        if (byte == '"')
            i = string_end(batch, i) - 1;
        else if (byte == '{')
            depth++;
        else if (byte == '}' && --depth == 0)
            break;
    }
    if (i >= batch.length)
        return false;
    *at = i + 1;
    *entry = (struct slice){batch.buf, batch.at + begin, i + 1 - begin};
    return true;
}

size_t rpc_write_string(void *into, size_t room, struct slice text)
{
    struct writer w = {into, room, 0, false};

    if (text.length > 0)
        put_escaped(&w, text.at, text.length);
    return w.is_full ? 0 : w.length;
}

size_t rpc_write_error(void *into, size_t room, struct slice id, int code, const char *message)
{
    struct writer w = {into, room, 0, false};

    put_text(&w, "{\"jsonrpc\":\"2.0\",\"id\":");
    if (id.length > 0)
        put(&w, id.at, id.length);
    else
        put_text(&w, "null");
    put_text(&w, ",\"error\":{\"code\":");
    put_int(&w, code);
    put_text(&w, ",\"message\":\"");
    put_escaped(&w, (const uint8_t *)message, strlen(message));
    put_text(&w, "\"}}");
    return w.is_full ? 0 : w.length;
}

/* The code unit of the \uXXXX at `p`, -1 if there is none. */
static int32_t code_unit(const uint8_t *p, const uint8_t *end)
{
    int32_t unit = 0;

    if (end - p < 6 || p[0] != '\\' || p[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        int digit = hex_value(p[i]);

        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

/* One escape at `p` (a backslash): decodes it into out[] and returns how many bytes it took, 0 if
 * it is none. */
static size_t read_escape(const uint8_t *p, const uint8_t *end, uint8_t out[4], size_t *length)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    int32_t high = code_unit(p, end), low;
    const char *found;

    if (high >= 0xD800 && high < 0xDC00) {
        low = code_unit(p + 6, end);
        if (low < 0xDC00 || low > 0xDFFF)
            return 0;
        *length = utf8_write(out, 0x10000 + (uint32_t)((high & 0x3FF) << 10 | (low & 0x3FF)));
        return 12;
    }
    if (high >= 0) {
        *length = utf8_write(out, (uint32_t)high);
        return 6;
    }
    if (end - p < 2 || p[1] == '\0' || (found = strchr(from, p[1])) == NULL)
        return 0;
    out[0] = (uint8_t)to[found - from];
    *length = 1;
    return 2;
}

bool rpc_string_is(struct slice raw, struct slice text)
{
    size_t at = 0;

    if (raw.length < 2 || raw.at[0] != '"' || raw.at[raw.length - 1] != '"')
        return false;
    for (const uint8_t *p = raw.at + 1, *end = raw.at + raw.length - 1; p < end;) {
        uint8_t out[4] = {*p};
        size_t length = 1, taken = *p == '\\' ? read_escape(p, end, out, &length) : 0;

        if (length > text.length - at || memcmp(text.at + at, out, length) != 0)
            return false;
        at += length;
        p += taken > 0 ? taken : 1;
    }
    return at == text.length;
}

static void hash_text(struct siphash_state *hash, const uint8_t *p, const uint8_t *end)
{
    while (p < end) {
        const uint8_t *escape = memchr(p, '\\', (size_t)(end - p));
        uint8_t out[4];
        size_t length, taken;

        siphash_add(hash, p, (size_t)((escape != NULL ? escape : end) - p));
        if (escape == NULL)
            return;
        taken = read_escape(escape, end, out, &length);
        if (taken > 0)
            siphash_add(hash, out, length);
        else
            siphash_add(hash, escape, 1);
        p = escape + (taken > 0 ? taken : 1);
    }
}

/* 0.d1d2d3... * 10^exponent with d1 and the last digit not 0: one form for each value. The
 * exponent saturates far beyond what rpc.c lets through. */
static void hash_number(struct siphash_state *hash, const uint8_t *p, const uint8_t *end)
{
    const uint8_t *first = NULL, *last = NULL, *q;
    bool is_negative = p < end && *p == '-', fraction = false, minus = false;
    int64_t exponent = 0, written = 0;
    uint8_t tail[9];

    for (q = p + is_negative; q < end && (*q | 0x20) != 'e'; q++) {
        if (*q == '.') {
            fraction = true;
            continue;
        }
        if (*q != '0') {
            first = first != NULL ? first : q;
            last = q;
        }
        if (first != NULL && !fraction)
            exponent++;
        else if (first == NULL && fraction)
            exponent--;
    }
    if (first == NULL) { /* zero, whatever its sign and exponent */
        siphash_add(hash, "0", 1);
        return;
    }
    for (; q < end; q++) {
        minus = minus || *q == '-';
        if (*q >= '0' && *q <= '9' && written < INT32_MAX)
            written = written * 10 + (*q - '0');
    }
    exponent += minus ? -written : written;
    for (q = first; q <= last; q++)
        if (*q != '.')
            siphash_add(hash, q, 1);
    tail[0] = is_negative ? '-' : '+';
    for (int i = 0; i < 8; i++)
        tail[1 + i] = (uint8_t)((uint64_t)exponent >> (8 * i));
    siphash_add(hash, tail, sizeof tail);
}

uint64_t rpc_id_hash(const uint8_t key[16], struct slice raw)
{
    const uint8_t *p = raw.at, *end = p + raw.length;
    struct siphash_state hash;

    siphash_begin(&hash, key);
    if (raw.length >= 2 && p[0] == '"' && end[-1] == '"') {
        siphash_add(&hash, "s", 1);
        hash_text(&hash, p + 1, end - 1);
    } else if (raw.length > 0 && (p[0] == '-' || (p[0] >= '0' && p[0] <= '9'))) {
        siphash_add(&hash, "n", 1);
        hash_number(&hash, p, end);
    } else {
        siphash_add(&hash, "?", 1);
        siphash_add(&hash, p, raw.length);
    }
    return siphash_end(&hash);
}
