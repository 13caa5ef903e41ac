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

size_t rpc_write_number(char *into, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    memcpy(into, digits + at, sizeof digits - at);
    return sizeof digits - at;
}

static void put_int(struct writer *w, int value)
{
    char digits[20];

    if (value < 0)
        put_text(w, "-");
    put(w, digits, rpc_write_number(digits, value < 0 ? 0u - (unsigned)value : (unsigned)value));
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
struct decimal {
    const uint8_t *first, *last; /* of its digits, with a point among them; NULL: it is zero */
    bool is_negative;
    int64_t exponent;
};

static struct decimal read_decimal(const uint8_t *p, const uint8_t *end)
{
    struct decimal number = {.is_negative = p < end && *p == '-'};
    bool fraction = false, minus = false;
    int64_t written = 0;
    const uint8_t *q;

    for (q = p + number.is_negative; q < end && (*q | 0x20) != 'e'; q++) {
        if (*q == '.') {
            fraction = true;
            continue;
        }
        if (*q != '0') {
            number.first = number.first != NULL ? number.first : q;
            number.last = q;
        }
        if (number.first != NULL && !fraction)
            number.exponent++;
        else if (number.first == NULL && fraction)
            number.exponent--;
    }
    for (; q < end; q++) {
        minus = minus || *q == '-';
        if (*q >= '0' && *q <= '9' && written < INT32_MAX)
            written = written * 10 + (*q - '0');
    }
    number.exponent += minus ? -written : written;
    return number;
}

static void hash_number(struct siphash_state *hash, const uint8_t *p, const uint8_t *end)
{
    struct decimal number = read_decimal(p, end);
    uint8_t tail[9];

    if (number.first == NULL) { /* zero, whatever its sign and exponent */
        siphash_add(hash, "0", 1);
        return;
    }
    for (const uint8_t *q = number.first; q <= number.last; q++)
        if (*q != '.')
            siphash_add(hash, q, 1);
    tail[0] = number.is_negative ? '-' : '+';
    for (int i = 0; i < 8; i++)
        tail[1 + i] = (uint8_t)((uint64_t)number.exponent >> (8 * i));
    siphash_add(hash, tail, sizeof tail);
}

/* The next digit, 0 behind the last one. */
static int next_digit(const uint8_t **at, const uint8_t *last)
{
    if (*at <= last && **at == '.')
        ++*at;
    return *at <= last ? *(*at)++ - '0' : 0;
}

static int compare_sizes(const struct decimal *a, const struct decimal *b)
{
    const uint8_t *at = a->first, *bt = b->first;

    if (a->exponent != b->exponent)
        return a->exponent < b->exponent ? -1 : 1;
    while (at <= a->last || bt <= b->last) {
        int digit = next_digit(&at, a->last), other = next_digit(&bt, b->last);

        if (digit != other)
            return digit < other ? -1 : 1;
    }
    return 0;
}

int rpc_number_compare(struct slice a, struct slice b)
{
    struct decimal x = read_decimal(a.at, a.at + a.length), y = read_decimal(b.at, b.at + b.length);
    int sign_x = x.first == NULL ? 0 : x.is_negative ? -1 : 1;
    int sign_y = y.first == NULL ? 0 : y.is_negative ? -1 : 1;

    if (sign_x != sign_y)
        return sign_x < sign_y ? -1 : 1;
    return sign_x == 0 ? 0 : sign_x * compare_sizes(&x, &y);
}

/* The end of the value that begins at `at`, within the text. */
static size_t value_end(struct slice text, size_t at)
{
    size_t depth = 0;

    for (; at < text.length; at++) {
        uint8_t byte = text.at[at];

        if (byte == '"') {
            at = string_end(text, at) - 1;
        } else if (byte == '{' || byte == '[') {
            depth++;
        } else if (byte == '}' || byte == ']') {
            if (depth == 0)
                return at; /* its container's */
            depth--;
        } else if (byte == ',' && depth == 0) {
            return at;
        }
    }
    return at < text.length ? at : text.length;
}

static bool is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

static size_t skip_space(struct slice text, size_t at)
{
    while (at < text.length && is_space(text.at[at]))
        at++;
    return at;
}

struct slice rpc_member(struct slice object, const char *name)
{
    struct slice found = {NULL, NULL, 0};
    size_t at = skip_space(object, 0);

    if (at >= object.length || object.at[at] != '{')
        return found;
    for (at = skip_space(object, at + 1); at < object.length && object.at[at] == '"';) {
        size_t key_end = string_end(object, at);

        if (key_end > object.length)
            break;
        struct slice key = {object.buf, object.at + at, key_end - at};
        size_t begin = skip_space(object, skip_space(object, key_end) + 1); /* the colon */
        size_t end = value_end(object, begin), next = skip_space(object, end + 1);

        if (begin > end)
            break;
        while (end > begin && is_space(object.at[end - 1]))
            end--;
        if (rpc_string_is(key, slice_text(name)))
            found = (struct slice){object.buf, object.at + begin, end - begin};
        at = next;
    }
    return found;
}

bool rpc_progress(const struct rpc_message *message, struct slice text, struct slice *value)
{
    if (message->kind != RPC_NOTIFICATION || message->method != RPC_PROGRESS)
        return false;
    *value = rpc_member(slice_part(text, message->params), "progress");
    return true;
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
