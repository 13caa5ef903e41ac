/* log.c - see log.h. The keys of a line are read from its format, which is ours; its values may
 * come from anybody and are escaped, so that no child, peer or client writes a line, a key or a
 * terminal's command of its own (bad-inputs.md row M6). */
#include "node/log.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024u /* far below PIPE_BUF: a line is written whole or not at all */
#define VALUE_MAX_BYTES 256u /* before it is escaped */
#define KEYS_MAX 16u
#define EVENTS_MAX 128u /* whose rate is watched */
#define LINES_PER_S 20u /* of one event */
#define TAIL_BYTES 96u  /* kept free for what ends a line */
#define PAIR_BYTES 32u  /* of a pair, beside its key: less room is none */

struct rate {
    const char *event;
    uint32_t second, lines;
    uint64_t suppressed;
};

static enum log_level level_min = LOG_INFO;
static bool is_json;
static struct log_stats stats;
static uint64_t dropped_unsaid;
static struct rate rates[EVENTS_MAX];

void log_open(enum log_level level, bool json)
{
    level_min = level;
    is_json = json;
}

struct log_stats log_stats(void)
{
    return stats;
}

/* ---- a line -------------------------------------------------------------------------------- */

struct line {
    size_t length;
    bool is_full; /* from here on nothing is added */
    char text[LINE_MAX_BYTES];
};

static bool add(struct line *line, const char *text, size_t length)
{
    if (line->is_full || length > sizeof line->text - TAIL_BYTES - line->length) {
        line->is_full = true;
        return false;
    }
    memcpy(line->text + line->length, text, length);
    line->length += length;
    return true;
}

static void add_text(struct line *line, const char *text)
{
    (void)add(line, text, strlen(text));
}

/* Length of the well-formed UTF-8 character at `at` (RFC 3629 section 4), 0 if there is none. */
static size_t utf8_length(const unsigned char *at, size_t left)
{
    size_t length = at[0] < 0x80                     ? 1
                    : at[0] >= 0xc2 && at[0] <= 0xdf ? 2
                    : at[0] >= 0xe0 && at[0] <= 0xef ? 3
                    : at[0] >= 0xf0 && at[0] <= 0xf4 ? 4
                                                     : 0;
    if (length == 0 || length > left)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
        (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f))
        return 0;
    return length;
}

/* Terminals obey C0 and, in UTF-8, C1 (ECMA-48); U+2028 to U+202E and U+2066 to U+2069 break or
 * turn around lines. */
static bool is_unsafe(const unsigned char *at, size_t length)
{
    if (length == 1)
        return at[0] < 0x20 || at[0] == 0x7f;
    if (length == 2)
        return at[0] == 0xc2 && at[1] < 0xa0;
    return length == 3 && at[0] == 0xe2 &&
           ((at[1] == 0x80 && at[2] >= 0xa8 && at[2] <= 0xae) ||
            (at[1] == 0x81 && at[2] >= 0xa6 && at[2] <= 0xa9));
}

static void add_escaped(struct line *line, const char *value, size_t length)
{
    const unsigned char *at = (const unsigned char *)value;
    char escaped[16];
    bool fits = true;
    for (size_t i = 0; i < length && fits;) {
        size_t step = utf8_length(at + i, length - i);
        if (step == 0) {
            snprintf(escaped, sizeof escaped, is_json ? "\\ufffd" : "\\x%02x", at[i]);
            fits = add(line, escaped, strlen(escaped));
            step = 1;
        } else if (is_unsafe(at + i, step)) {
            uint32_t code = step == 1   ? at[i]
                            : step == 2 ? at[i + 1]
                                        : 0x2000u | (at[i + 1] & 0x3fu) << 6 | (at[i + 2] & 0x3fu);
            const char *brief = at[i] == '\n' ? "\\n" : at[i] == '\t' ? "\\t" : NULL;
            snprintf(escaped, sizeof escaped, "\\u%04x", code);
            fits = add(line, brief != NULL ? brief : escaped, brief != NULL ? 2 : 6);
        } else if (at[i] == '"' || at[i] == '\\') {
            escaped[0] = '\\';
            escaped[1] = (char)at[i];
            fits = add(line, escaped, 2);
        } else
            fits = add(line, value + i, step);
        i += step;
    }
}

static bool is_plain(const char *value, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (value[i] <= ' ' || value[i] >= 0x7f || value[i] == '"' || value[i] == '=' ||
            value[i] == '\\')
            return false;
    }
    return length > 0;
}

/* ---- keys, from the format ------------------------------------------------------------------ */

struct key {
    const char *at;
    size_t length;  /* without the '=' */
    bool is_number; /* its value is digits, or printed by %d, %u or the like alone */
};

/* `text` stands behind a key's '='. */
static bool is_number(const char *text)
{
    size_t length = strspn(text, "0123456789");
    if (text[0] == '%') {
        length = 1 + strspn(text + 1, "hljz");
        length = text[length] == 'd' || text[length] == 'u' ? length + 1 : 0;
    }
    return length > 0 && (text[length] == '\0' || text[length] == ' ');
}

/* The words of a format that look like `key=`. */
static size_t keys_of(const char *format, struct key keys[KEYS_MAX])
{
    size_t count = 0;
    const char *at = format;
    while (*at != '\0' && count < KEYS_MAX) {
        size_t length = strspn(at, "abcdefghijklmnopqrstuvwxyz0123456789_");
        if (length > 0 && at[length] == '=')
            keys[count++] = (struct key){at, length, is_number(at + length + 1)};
        at += strcspn(at, " ");
        at += strspn(at, " ");
    }
    return count;
}

/* Where `key=` begins a word of the text; NULL: nowhere. */
static char *find_key(char *text, const struct key *key)
{
    for (char *at = text; *at != '\0'; at++) {
        if ((at == text || at[-1] == ' ') && strncmp(at, key->at, key->length) == 0 &&
            at[key->length] == '=')
            return at;
    }
    return NULL;
}

static void add_pair(struct line *line, const struct key *key, const char *value, size_t length)
{
    bool is_cut = length > VALUE_MAX_BYTES;
    length = is_cut ? VALUE_MAX_BYTES : length;
    bool quoted = is_json ? !key->is_number : is_cut || !is_plain(value, length);
    if (line->is_full || line->length + key->length + PAIR_BYTES + TAIL_BYTES > sizeof line->text) {
        line->is_full = true;
        return;
    }
    add_text(line, is_json ? ",\"" : " ");
    (void)add(line, key->at, key->length);
    add_text(line, is_json ? "\":" : "=");
    if (quoted)
        add_text(line, "\"");
    add_escaped(line, value, length);
    if (is_cut)
        add_text(line, "...");
    if (quoted) /* the tail has room for it */
        line->text[line->length++] = '"';
}

static void add_pairs(struct line *line, const char *format, char *text)
{
    struct key keys[KEYS_MAX];
    size_t count = keys_of(format, keys);
    char *at = count > 0 ? find_key(text, &keys[0]) : NULL;
    if (at == NULL) {
        if (text[0] != '\0')
            add_pair(line, &(struct key){"text", 4, false}, text, strlen(text));
        return;
    }
    for (size_t i = 0; i < count && at != NULL; i++) {
        char *value = at + keys[i].length + 1;
        char *next = i + 1 < count ? find_key(value, &keys[i + 1]) : NULL;
        size_t length = next != NULL ? (size_t)(next - value) : strlen(value);
        while (length > 0 && value[length - 1] == ' ')
            length--;
        add_pair(line, &keys[i], value, length);
        at = next;
    }
}

/* ---- how many, and where to ----------------------------------------------------------------- */

/* False: this event had its lines of this second. *suppressed: how many before this one. */
static bool may_write(const char *event, uint64_t *suppressed)
{
    struct timespec now;
    struct rate *rate = NULL;
    clock_gettime(CLOCK_MONOTONIC, &now);
    *suppressed = 0;
    for (size_t i = 0; i < EVENTS_MAX && rate == NULL; i++) {
        if (rates[i].event == NULL)
            rates[i].event = event;
        if (rates[i].event == event || strcmp(rates[i].event, event) == 0)
            rate = &rates[i];
    }
    if (rate == NULL) /* more events than we have: our bug, and no reason to be silent */
        return true;
    if (rate->second != (uint32_t)now.tv_sec) {
        rate->second = (uint32_t)now.tv_sec;
        rate->lines = 0;
    }
    if (rate->lines >= LINES_PER_S) {
        rate->suppressed++;
        stats.suppressed++;
        return false;
    }
    rate->lines++;
    *suppressed = rate->suppressed;
    rate->suppressed = 0;
    return true;
}

/* Descriptor 2 is shared with whoever started us: it is not made non-blocking for all of them. A
 * writable pipe takes a whole line (pipe(7): PIPE_BUF), a socket has a flag of its own. */
static bool put(const struct line *line)
{
    ssize_t sent = send(STDERR_FILENO, line->text, line->length, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == ENOTSOCK) {
        struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};
        if (poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0)
            return false;
        sent = write(STDERR_FILENO, line->text, line->length);
    }
    return sent == (ssize_t)line->length;
}

static const char *level_name(enum log_level level)
{
    switch (level) {
    case LOG_DEBUG:
        return "debug";
    case LOG_INFO:
        return "info";
    case LOG_WARN:
        return "warn";
    case LOG_ERROR:
        return "error";
    }
    return "";
}

static void begin(struct line *line, enum log_level level, const char *event)
{
    struct timespec now;
    struct tm day;
    char date[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &day);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &day);
    int length = snprintf(line->text, sizeof line->text - TAIL_BYTES,
                          is_json ? "{\"time\":\"%s.%03dZ\",\"level\":\"%s\",\"event\":\"%s\""
                                  : "%s.%03dZ %s %s",
                          date, (int)(now.tv_nsec / 1000000), level_name(level), event);
    line->length = length > 0 ? (size_t)length : 0;
    line->is_full = line->length >= sizeof line->text - TAIL_BYTES; /* a name is short: never */
}

/* Numbers for the tail, for which room was kept. */
static void end(struct line *line, uint64_t suppressed)
{
    const struct {
        const char *name;
        uint64_t value;
    } notes[] = {{"suppressed", suppressed}, {"dropped", dropped_unsaid}};
    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++) {
        if (notes[i].value > 0)
            line->length += (size_t)snprintf(
                line->text + line->length, sizeof line->text - line->length,
                is_json ? ",\"%s\":%" PRIu64 : " %s=%" PRIu64, notes[i].name, notes[i].value);
    }
    if (is_json)
        line->text[line->length++] = '}';
    line->text[line->length++] = '\n';
}

void log_write(enum log_level level, const char *event, const char *format, ...)
{
    struct line line;
    char text[4 * LINE_MAX_BYTES];
    uint64_t suppressed;
    int before = errno; /* a log line changes nothing for its caller */
    if (level < level_min || !may_write(event, &suppressed))
        return;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length < 0)
        text[0] = '\0';
    begin(&line, level, event);
    add_pairs(&line, format, text);
    end(&line, suppressed);
    if (put(&line)) {
        stats.written++;
        dropped_unsaid = 0;
    } else {
        stats.dropped++;
        dropped_unsaid++;
    }
    errno = before;
}
