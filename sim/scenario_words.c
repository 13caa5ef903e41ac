/* scenario_words.c - the words of a scenario's line: numbers, times, shares, peers. */
#include "sim/scenario_words.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#define TIME_MAX_MS (48u * 3600u * 1000u)

int reader_bad(const struct reader *reader, const char *format, ...)
{
    va_list args;
    int length = snprintf(reader->error, reader->error_size, "%s:%u: ", reader->scenario->path,
                          reader->line);
    va_start(args, format);
    if (length > 0 && (size_t)length < reader->error_size)
        vsnprintf(reader->error + length, reader->error_size - (size_t)length, format, args);
    va_end(args);
    return -EINVAL;
}

/* ---- words ---------------------------------------------------------------------------------- */

const char *reader_word(const struct reader *reader)
{
    return reader->at < reader->count ? reader->words[reader->at] : "";
}

bool reader_takes(struct reader *reader, const char *expected)
{
    if (strcmp(reader_word(reader), expected) != 0)
        return false;
    reader->at++;
    return true;
}

int reader_needs(struct reader *reader, const char *expected)
{
    return reader_takes(reader, expected)
               ? 0
               : reader_bad(reader, "'%s' where '%s' has to stand", reader_word(reader), expected);
}

/* Which of these words stands here; -EINVAL: none of them. */
int reader_one_of(struct reader *reader, const char *const *words, size_t count)
{
    for (size_t n = 0; n < count; n++)
        if (reader_takes(reader, words[n]))
            return (int)n;
    return reader_bad(reader, "'%s': no word for this place", reader_word(reader));
}

/* Digits at *text, which is moved behind them. */
static bool digits(const char **text, uint64_t most, uint64_t *number)
{
    const char *at = *text;
    uint64_t value = 0;
    for (; *at >= '0' && *at <= '9' && value <= most; at++)
        value = value * 10 + (uint64_t)(*at - '0');
    if (at == *text || value > most)
        return false;
    *text = at;
    *number = value;
    return true;
}

int reader_number(struct reader *reader, uint64_t most, uint64_t *number)
{
    const char *at = reader_word(reader);
    if (!digits(&at, most, number) || *at != '\0')
        return reader_bad(reader, "'%s': no number from 0 to %" PRIu64, reader_word(reader), most);
    reader->at++;
    return 0;
}

bool time_of(const char *text, uint64_t *ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    if (!digits(&text, TIME_MAX_MS, ms))
        return false;
    for (size_t n = 0; n < sizeof units / sizeof *units; n++)
        if (strcmp(text, units[n].unit) == 0) {
            *ms *= units[n].ms;
            return *ms <= TIME_MAX_MS;
        }
    return *ms == 0 && *text == '\0';
}

int reader_time(struct reader *reader, uint64_t *ms)
{
    if (!time_of(reader_word(reader), ms))
        return reader_bad(reader, "'%s': no time like 250ms, 10s, 5m, 2h, at most 48h",
                          reader_word(reader));
    reader->at++;
    return 0;
}

int reader_percent(struct reader *reader, int64_t *ppm)
{
    const char *at = reader_word(reader);
    uint64_t percent = 0;
    if (!digits(&at, 100, &percent) || strcmp(at, "%") != 0)
        return reader_bad(reader, "'%s': no share like 30%%", reader_word(reader));
    *ppm = (int64_t)percent * 10000;
    reader->at++;
    return 0;
}

/* ---- peers ---------------------------------------------------------------------------------- */

/* `p3` at *text; the file may name twins before it makes them. */
static bool one_peer(const char **text, uint64_t *seat)
{
    if (**text != 'p')
        return false;
    ++*text;
    return digits(text, WORLD_SEATS_MAX - 1, seat);
}

static bool add_peers(const char *text, struct peers *peers)
{
    uint64_t first = 0, last = 0;
    if (!one_peer(&text, &first))
        return false;
    last = first;
    if (strncmp(text, "..", 2) == 0) {
        text += 2;
        if (!one_peer(&text, &last))
            return false;
    }
    if (*text != '\0' || last < first)
        return false;
    for (uint64_t seat = first; seat <= last; seat++)
        peers->set[seat / 64] |= UINT64_C(1) << seat % 64;
    return true;
}

/* `owner of 0`, `holders of 0`, `strangers to 0`. -ENOENT: something else stands here. */
static int peers_of_session(struct reader *reader, struct peers *peers)
{
    static const char *const words[] = {"owner", "holders", "strangers"};
    static const enum peers_kind kinds[] = {PEERS_OWNER, PEERS_HOLDERS, PEERS_STRANGERS};
    uint64_t session = 0;
    for (size_t n = 0; n < sizeof kinds / sizeof *kinds; n++) {
        if (!reader_takes(reader, words[n]))
            continue;
        int rc = reader_needs(reader, kinds[n] == PEERS_STRANGERS ? "to" : "of");
        if (rc == 0)
            rc = reader_number(reader, SCENARIO_SESSIONS_MAX - 1, &session);
        peers->kind = kinds[n];
        peers->session = (uint32_t)session;
        return rc;
    }
    return -ENOENT;
}

int reader_peers(struct reader *reader, struct peers *peers)
{
    uint64_t any = 0;
    uint32_t listed = 0;
    *peers = (struct peers){.kind = PEERS_LISTED};
    if (reader_takes(reader, "any")) {
        int rc = reader_number(reader, WORLD_SEATS_MAX, &any);
        if (rc < 0)
            return rc;
        if (any == 0)
            return reader_bad(reader, "'any 0' is nobody");
        peers->any = (uint32_t)any;
        if (!reader_takes(reader, "of")) {
            peers->kind = PEERS_ALL;
            return 0;
        }
    }
    if (any == 0 && (reader_takes(reader, "all") || reader_takes(reader, "others"))) {
        peers->kind = strcmp(reader->words[reader->at - 1], "all") == 0 ? PEERS_ALL : PEERS_OTHERS;
        return 0;
    }
    int rc = peers_of_session(reader, peers);
    if (rc != -ENOENT)
        return rc;
    for (; add_peers(reader_word(reader), peers); listed++)
        reader->at++;
    return listed > 0 ? 0 : reader_bad(reader, "'%s': no peers", reader_word(reader));
}

int reader_one_peer(struct reader *reader, struct peers *peers, uint32_t *seat)
{
    const char *at = reader_word(reader);
    uint64_t number = 0;
    if (!one_peer(&at, &number) || *at != '\0')
        return reader_bad(reader, "'%s': no single peer", reader_word(reader));
    *peers = (struct peers){.kind = PEERS_LISTED};
    peers->set[number / 64] = UINT64_C(1) << number % 64;
    *seat = (uint32_t)number;
    reader->at++;
    return 0;
}
