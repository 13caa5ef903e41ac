/* rpc.c - the scanner of rpc.h: the grammar of RFC 8259, one byte-driven state machine without
 * recursion or allocation. All of its state lives in struct rpc_scan, so that a text may be cut
 * anywhere. What the keys mean is left to rpc_facts.c, writing to rpc_text.c. */
#include "mesh/base/rpc_scan.h"
#include "mesh/base/wide.h"

/* RFC 8259 section 6 lets a parser limit range and precision. Parsers behind us turn numbers into
 * doubles or big integers, and the latter at quadratic cost. */
#define NUMBER_MAX 1024 /* bytes */
#define EXPONENT_MAX 9999

enum token {
    TOKEN_NONE,
    TOKEN_STRING,
    TOKEN_UTF8,   /* inside a multi-byte sequence */
    TOKEN_ESCAPE, /* after a backslash */
    TOKEN_HEX,    /* inside \uXXXX */
    TOKEN_LOW_BACKSLASH,
    TOKEN_LOW_U, /* a high surrogate needs \u and a low one */
    TOKEN_NUMBER,
    TOKEN_LITERAL,
    TOKEN_BAD
};

enum expect {
    EXPECT_VALUE,
    EXPECT_VALUE_OR_END,
    EXPECT_KEY,
    EXPECT_KEY_OR_END,
    EXPECT_COLON,
    EXPECT_NEXT, /* a comma, or the end of the container */
    EXPECT_NOTHING
};

enum number {
    NUMBER_MINUS, /* seen; the integer must begin */
    NUMBER_ZERO,
    NUMBER_INTEGER,
    NUMBER_POINT,
    NUMBER_FRACTION,
    NUMBER_E,
    NUMBER_E_SIGN,
    NUMBER_EXPONENT,
    NUMBER_END,
    NUMBER_BAD
};

static inline bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static inline uint32_t offset_of(const struct scan_state *s, const uint8_t *p)
{
    return s->base + (uint32_t)(p - s->part);
}

static void fail(struct rpc_scan *scan)
{
    scan_state_of(scan)->token = TOKEN_BAD;
    scan->facts.fault = RPC_PARSE_ERROR;
}

static inline bool in_object(const struct scan_state *s)
{
    return s->closer == '}';
}

static inline void end_value(struct scan_state *s)
{
    s->token = TOKEN_NONE;
    s->role = ROLE_NONE;
    s->expect = s->depth > 0 ? EXPECT_NEXT : EXPECT_NOTHING;
}

/* `text`: of a string that is collected, unescaped. */
static inline void end_scalar(struct rpc_scan *scan, uint32_t end, struct slice text)
{
    struct scan_state *s = scan_state_of(scan);

    if (s->role != ROLE_NONE)
        rpc_facts_scalar(scan, (enum json_type)s->type, s->value_at, end, text);
    end_value(s);
}

static void open_container(struct rpc_scan *scan, bool is_object, uint32_t at)
{
    struct scan_state *s = scan_state_of(scan);
    enum rpc_place place = PLACE_NONE;
    uint64_t bit;

    if (s->depth == RPC_DEPTH_MAX) {
        fail(scan);
        return;
    }
    if (s->role != ROLE_NONE)
        place = rpc_facts_open(scan, is_object ? JSON_OBJECT : JSON_ARRAY, at);
    bit = (uint64_t)1 << s->depth;
    s->objects = is_object ? s->objects | bit : s->objects & ~bit;
    s->place[++s->depth] = (uint8_t)place;
    s->closer = is_object ? '}' : ']';
    s->role = is_object ? ROLE_NONE : (uint8_t)rpc_facts_element(place);
    s->expect = is_object ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END;
}

static void close_container(struct rpc_scan *scan, uint32_t end)
{
    struct scan_state *s = scan_state_of(scan);
    enum rpc_place place = (enum rpc_place)s->place[s->depth];

    s->depth--;
    s->closer = s->depth == 0 ? 0 : (s->objects >> (s->depth - 1) & 1) != 0 ? '}' : ']';
    if (place != PLACE_NONE)
        rpc_facts_close(scan, place, end);
    end_value(s);
}

static inline void begin_string(struct scan_state *s, bool is_key, bool collects)
{
    s->token = TOKEN_STRING;
    s->type = JSON_STRING;
    s->is_key = is_key;
    s->collects = collects;
    s->name_length = 0;
}

static inline void begin_key(struct scan_state *s)
{
    begin_string(s, true, s->place[s->depth] != PLACE_NONE);
}

static inline void begin_value(struct rpc_scan *scan, uint8_t c, uint32_t at)
{
    struct scan_state *s = scan_state_of(scan);

    s->value_at = at;
    if (c == '"') {
        begin_string(s, false, rpc_facts_wants_text((enum rpc_role)s->role));
    } else if (c == '{' || c == '[') {
        open_container(scan, c == '{', at);
    } else if (c == '-' || is_digit(c)) {
        s->token = TOKEN_NUMBER;
        s->type = JSON_NUMBER;
        s->exponent = 0;
        s->number = c == '-' ? NUMBER_MINUS : c == '0' ? NUMBER_ZERO : NUMBER_INTEGER;
    } else if (c == 't' || c == 'f' || c == 'n') {
        s->token = TOKEN_LITERAL;
        s->type = c == 't' ? JSON_TRUE : c == 'f' ? JSON_FALSE : JSON_NULL;
        s->literal_at = 1;
    } else {
        fail(scan);
    }
}

static inline void take_next(struct rpc_scan *scan, uint8_t c, uint32_t at)
{
    struct scan_state *s = scan_state_of(scan);

    if (c == ',') {
        s->expect = in_object(s) ? EXPECT_KEY : EXPECT_VALUE;
        if (!in_object(s))
            s->role = (uint8_t)rpc_facts_element((enum rpc_place)s->place[s->depth]);
    } else if (c == s->closer) {
        close_container(scan, at + 1);
    } else {
        fail(scan);
    }
}

/* A byte outside of tokens that is no white space. */
static inline void take_byte(struct rpc_scan *scan, uint8_t c, uint32_t at)
{
    struct scan_state *s = scan_state_of(scan);

    switch ((enum expect)s->expect) {
    case EXPECT_NEXT:
        take_next(scan, c, at);
        return;
    case EXPECT_VALUE_OR_END:
        if (c == ']')
            close_container(scan, at + 1);
        else
            begin_value(scan, c, at);
        return;
    case EXPECT_VALUE:
        begin_value(scan, c, at);
        return;
    case EXPECT_KEY_OR_END:
        if (c == '}') {
            close_container(scan, at + 1);
            return;
        }
        break;
    case EXPECT_KEY:
        break;
    case EXPECT_COLON:
        if (c == ':')
            s->expect = EXPECT_VALUE;
        else
            fail(scan);
        return;
    case EXPECT_NOTHING:
        fail(scan);
        return;
    }
    if (c == '"')
        begin_key(s);
    else
        fail(scan);
}

/* What mostly follows, without a turn of the machine for each byte: after a value the ends of
 * containers, and the next key. */
static inline const uint8_t *scan_after_value(struct rpc_scan *scan, const uint8_t *p,
                                              const uint8_t *end)
{
    struct scan_state *s = scan_state_of(scan);

    for (; p < end && s->expect == EXPECT_NEXT; p++) {
        if (*p == s->closer) {
            close_container(scan, offset_of(s, p) + 1);
        } else if (*p == ',' && in_object(s) && end - p >= 2 && p[1] == '"') {
            begin_key(s);
            return p + 2;
        } else {
            break;
        }
    }
    return p;
}

/* After a key the colon, and how its value begins. */
static inline const uint8_t *scan_after_key(struct rpc_scan *scan, const uint8_t *p,
                                            const uint8_t *end)
{
    struct scan_state *s = scan_state_of(scan);

    s->token = TOKEN_NONE;
    if (end - p < 2 || p[0] != ':' || p[1] <= ' ') {
        s->expect = EXPECT_COLON;
        return p;
    }
    s->expect = EXPECT_VALUE;
    begin_value(scan, p[1], offset_of(s, p + 1));
    return p + 2;
}

static const uint8_t *scan_between(struct rpc_scan *scan, const uint8_t *p, const uint8_t *end)
{
    struct scan_state *s = scan_state_of(scan);

    do {
        uint8_t c = *p;

        if (c > ' ' || (c != ' ' && c != '\n' && c != '\r' && c != '\t'))
            take_byte(scan, c, offset_of(s, p));
        p++;
    } while (p < end && s->token == TOKEN_NONE);
    return p;
}

static void collect(struct scan_state *s, const uint8_t *bytes, size_t length)
{
    size_t room = (size_t)RPC_NAME_MAX - s->name_length;

    if (!s->collects)
        return;
    if (length > room) /* longer than any name that is told apart: its first bytes will do */
        length = room;
    memcpy(s->name + s->name_length, bytes, length);
    s->name_length = (uint8_t)(s->name_length + length);
}

static void collect_code(struct scan_state *s, uint32_t code)
{
    uint8_t utf8[4];
    size_t length = utf8_write(utf8, code);

    collect(s, utf8, length);
}

/* Bit i: byte i is a quote, a backslash, a control or beyond ASCII. */
static inline uint32_t mark_special(wide_bytes bytes)
{
    /* signed, what is beyond ASCII is below zero */
    return wide_bits(((wide_marks)bytes < 0x20) | (bytes == '"') | (bytes == '\\'));
}

/* The first such byte from `p` on, of a text that begins at `part`. */
static inline const uint8_t *skip_plain(const uint8_t *part, const uint8_t *p, const uint8_t *end)
{
    uint32_t left;

    for (; end - p >= WIDE; p += WIDE) {
        uint32_t special = mark_special(wide_load(p));

        if (special != 0)
            return p + __builtin_ctz(special);
    }
    left = (uint32_t)(end - p);
    if (end - part >= WIDE) /* those before `p` are read again, and shifted out */
        return p + __builtin_ctz(mark_special(wide_load(end - WIDE)) >> (WIDE - left) | 1u << left);
    while (p < end && *p >= 0x20 && *p < 0x80 && *p != '"' && *p != '\\')
        p++;
    return p;
}

/* The closing quote is at `p`, what it ends began at `run` if nothing of it was collected. */
static inline const uint8_t *end_string(struct rpc_scan *scan, const uint8_t *run, const uint8_t *p,
                                        const uint8_t *end)
{
    struct scan_state *s = scan_state_of(scan);
    struct slice text = slice_borrow(run, (size_t)(p - run));

    if (s->name_length > 0) {
        collect(s, run, text.length);
        text = slice_borrow(s->name, s->name_length);
    }
    p++;
    if (!s->is_key) {
        end_scalar(scan, offset_of(s, p), text);
        return scan_after_value(scan, p, end);
    }
    if (s->collects)
        rpc_facts_key(scan, text);
    return scan_after_key(scan, p, end);
}

/* The first byte from `p` on that is not simply part of a string. */
static inline const uint8_t *skip_string(const uint8_t *part, const uint8_t *p, const uint8_t *end)
{
    for (;;) {
        size_t length;

        p = skip_plain(part, p, end);
        if (p == end || *p < 0x80)
            return p;
        length = utf8_length(p, end);
        if (length == 0)
            return p;
        p += length;
    }
}

static const uint8_t *scan_string(struct rpc_scan *scan, const uint8_t *p, const uint8_t *end)
{
    struct scan_state *s = scan_state_of(scan);
    const uint8_t *run = p;

    p = skip_string(s->part, p, end);
    if (p < end && *p == '"')
        return end_string(scan, run, p, end);
    collect(s, run, (size_t)(p - run));
    if (p == end)
        return p;
    if (*p == '\\') {
        s->token = TOKEN_ESCAPE;
    } else {
        /* A sequence that is bad, or cut by the end of this part: byte by byte. */
        s->utf8_left = utf8_follow(*p, &s->utf8_low, &s->utf8_high);
        s->token = TOKEN_UTF8;
        if (s->utf8_left == 0)
            fail(scan);
        collect(s, p, 1);
    }
    return p + 1;
}

static void take_utf8(struct rpc_scan *scan, uint8_t c)
{
    struct scan_state *s = scan_state_of(scan);

    if (c < s->utf8_low || c > s->utf8_high) {
        fail(scan);
        return;
    }
    s->utf8_low = 0x80;
    s->utf8_high = 0xBF;
    collect(s, &c, 1);
    if (--s->utf8_left == 0)
        s->token = TOKEN_STRING;
}

static void take_escape(struct rpc_scan *scan, uint8_t c)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    struct scan_state *s = scan_state_of(scan);
    const char *found = c == '\0' ? NULL : strchr(from, c);

    if (found != NULL) {
        s->token = TOKEN_STRING;
        collect(s, (const uint8_t *)&to[found - from], 1);
    } else if (c == 'u') {
        s->token = TOKEN_HEX;
        s->hex = 0;
        s->hex_left = 4;
    } else {
        fail(scan);
    }
}

static void take_hex(struct rpc_scan *scan, uint8_t c)
{
    struct scan_state *s = scan_state_of(scan);
    int digit = hex_value(c);
    bool is_low;

    if (digit < 0) {
        fail(scan);
        return;
    }
    s->hex = (uint16_t)(s->hex << 4 | digit);
    if (--s->hex_left > 0)
        return;
    is_low = (s->hex & 0xFC00) == 0xDC00;
    if (is_low != (s->high != 0)) { /* a surrogate without its other half */
        fail(scan);
    } else if (is_low) {
        collect_code(s, 0x10000 + ((uint32_t)(s->high & 0x3FF) << 10) + (s->hex & 0x3FF));
        s->high = 0;
        s->token = TOKEN_STRING;
    } else if ((s->hex & 0xFC00) == 0xD800) {
        s->high = s->hex;
        s->token = TOKEN_LOW_BACKSLASH;
    } else {
        collect_code(s, s->hex);
        s->token = TOKEN_STRING;
    }
}

static void take_low(struct rpc_scan *scan, uint8_t c)
{
    struct scan_state *s = scan_state_of(scan);

    if (s->token == TOKEN_LOW_BACKSLASH && c == '\\') {
        s->token = TOKEN_LOW_U;
    } else if (s->token == TOKEN_LOW_U && c == 'u') {
        s->token = TOKEN_HEX;
        s->hex = 0;
        s->hex_left = 4;
    } else {
        fail(scan);
    }
}

/* Where in a number `c` leads: NUMBER_END if the number ends before it. */
static enum number step_number(enum number at, uint8_t c)
{
    bool digit = is_digit(c), e = (c | 0x20) == 'e';

    switch (at) {
    case NUMBER_MINUS:
        return c == '0' ? NUMBER_ZERO : digit ? NUMBER_INTEGER : NUMBER_BAD;
    case NUMBER_ZERO:
        return c == '.' ? NUMBER_POINT : e ? NUMBER_E : digit ? NUMBER_BAD : NUMBER_END;
    case NUMBER_INTEGER:
        return digit ? NUMBER_INTEGER : c == '.' ? NUMBER_POINT : e ? NUMBER_E : NUMBER_END;
    case NUMBER_POINT:
        return digit ? NUMBER_FRACTION : NUMBER_BAD;
    case NUMBER_FRACTION:
        return digit ? NUMBER_FRACTION : e ? NUMBER_E : NUMBER_END;
    case NUMBER_E:
        return c == '+' || c == '-' ? NUMBER_E_SIGN : digit ? NUMBER_EXPONENT : NUMBER_BAD;
    case NUMBER_E_SIGN:
        return digit ? NUMBER_EXPONENT : NUMBER_BAD;
    case NUMBER_EXPONENT:
        return digit ? NUMBER_EXPONENT : NUMBER_END;
    case NUMBER_END:
    case NUMBER_BAD:
        break;
    }
    return NUMBER_BAD;
}

static inline void end_number(struct rpc_scan *scan, uint32_t end)
{
    struct scan_state *s = scan_state_of(scan);

    if (end - s->value_at > NUMBER_MAX || s->exponent > EXPONENT_MAX)
        fail(scan);
    else
        end_scalar(scan, end, (struct slice){0});
}

static const uint8_t *scan_number(struct rpc_scan *scan, const uint8_t *p, const uint8_t *end)
{
    struct scan_state *s = scan_state_of(scan);
    enum number at = (enum number)s->number;

    for (; p < end; p++) {
        if (at == NUMBER_INTEGER && is_digit(*p)) /* nearly always */
            continue;
        at = step_number(at, *p);
        if (at >= NUMBER_END)
            break;
        if (at == NUMBER_EXPONENT && s->exponent <= EXPONENT_MAX)
            s->exponent = (uint16_t)(s->exponent * 10 + (*p - '0'));
    }
    s->number = (uint8_t)at;
    if (at == NUMBER_BAD)
        fail(scan);
    if (at != NUMBER_END)
        return p;
    end_number(scan, offset_of(s, p));
    return scan_after_value(scan, p, end);
}

static const uint8_t *scan_literal(struct rpc_scan *scan, const uint8_t *p, const uint8_t *end)
{
    struct scan_state *s = scan_state_of(scan);
    const char *text = s->type == JSON_TRUE ? "true" : s->type == JSON_FALSE ? "false" : "null";

    while (p < end && text[s->literal_at] != '\0') {
        if (*p != (uint8_t)text[s->literal_at]) {
            fail(scan);
            return p;
        }
        p++;
        s->literal_at++;
    }
    if (text[s->literal_at] != '\0')
        return p;
    end_scalar(scan, offset_of(s, p), (struct slice){0});
    return scan_after_value(scan, p, end);
}

void rpc_scan_begin(struct rpc_scan *scan, struct rpc_tools *tools)
{
    memset(scan, 0, sizeof *scan);
    scan->tools = tools;
    if (tools != NULL)
        tools->count = 0;
    scan_state_of(scan)->role = ROLE_TOP;
}

bool rpc_scan_feed(struct rpc_scan *scan, const void *data, size_t length)
{
    struct scan_state *s = scan_state_of(scan);
    const uint8_t *p = data, *end;

    if (length == 0)
        return s->token != TOKEN_BAD;
    if (length > UINT32_MAX - s->base) /* spans could not name it */
        fail(scan);
    s->part = p;
    end = p + length;
    while (p < end) {
        switch ((enum token)s->token) {
        case TOKEN_NONE:
            p = scan_between(scan, p, end);
            break;
        case TOKEN_STRING:
            do
                p = scan_string(scan, p, end);
            while (p < end && s->token == TOKEN_STRING);
            break;
        case TOKEN_UTF8:
            take_utf8(scan, *p++);
            break;
        case TOKEN_ESCAPE:
            take_escape(scan, *p++);
            break;
        case TOKEN_HEX:
            take_hex(scan, *p++);
            break;
        case TOKEN_LOW_BACKSLASH:
        case TOKEN_LOW_U:
            take_low(scan, *p++);
            break;
        case TOKEN_NUMBER:
            p = scan_number(scan, p, end);
            break;
        case TOKEN_LITERAL:
            p = scan_literal(scan, p, end);
            break;
        case TOKEN_BAD:
            return false;
        }
    }
    s->base += (uint32_t)length;
    s->part = NULL;
    return s->token != TOKEN_BAD;
}

/* Whether what was read of a number is one. */
static bool number_is_whole(enum number at)
{
    return at == NUMBER_ZERO || at == NUMBER_INTEGER || at == NUMBER_FRACTION ||
           at == NUMBER_EXPONENT;
}

void rpc_scan_end(struct rpc_scan *scan)
{
    struct scan_state *s = scan_state_of(scan);

    /* Only the end of the text tells that a number without a container is over. */
    if (s->token == TOKEN_NUMBER && s->depth == 0 && number_is_whole((enum number)s->number))
        end_number(scan, s->base);
    if (s->token != TOKEN_NONE || s->expect != EXPECT_NOTHING) {
        fail(scan);
        if (scan->tools != NULL)
            scan->tools->count = 0;
        return;
    }
    rpc_facts_end(scan);
}

void rpc_read(struct rpc_message *facts, struct rpc_tools *tools, const void *text, size_t length)
{
    struct rpc_scan scan;

    rpc_scan_begin(&scan, tools);
    rpc_scan_feed(&scan, text, length);
    rpc_scan_end(&scan);
    *facts = scan.facts;
}
