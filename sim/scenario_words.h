/* scenario_words.h - one line of a scenario file as words, and what a word or a few of them mean.
 * Every reader_ function takes what it reads off the line; 0 or -EINVAL, with reader->error saying
 * where and what. For scenario_read.c and
 * scenario_deeds.c. */
#ifndef SIM_SCENARIO_WORDS_H
#define SIM_SCENARIO_WORDS_H

#include "sim/scenario.h"

#define WORDS_MAX 64u

struct reader {
    struct scenario *scenario;
    char *error;
    size_t error_size;
    uint32_t line, count, at;
    const char *words[WORDS_MAX];
    char text[96];         /* the line, its words one blank apart */
    uint64_t last_deed_ms; /* of the lines above: no `by` may be sooner */
};

int reader_bad(const struct reader *reader, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The next word; empty at the end of the line. */
const char *reader_word(const struct reader *reader);
bool reader_takes(struct reader *reader, const char *expected); /* false: it stays */
int reader_needs(struct reader *reader, const char *expected);
/* Which of these words stands here; -EINVAL: none of them. */
int reader_one_of(struct reader *reader, const char *const *words, size_t count);
int reader_number(struct reader *reader, uint64_t most, uint64_t *number);
int reader_time(struct reader *reader, uint64_t *ms);
int reader_percent(struct reader *reader, int64_t *ppm);
int reader_peers(struct reader *reader, struct peers *peers);
int reader_one_peer(struct reader *reader, struct peers *peers, uint32_t *seat);
/* A deed: scenario.h says how each is written. */
int reader_deed(struct reader *reader, struct deed *deed);
/* False: the text is no time. */
bool time_of(const char *text, uint64_t *ms);

#endif
