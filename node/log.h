/* log.h - one line per event to standard error, as text or JSON. What is worth a line, and that
 * no secret or whole session id stands in it, is the caller's business. */
#ifndef NODE_LOG_H
#define NODE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Lines below `level` are dropped; `json`: each line is one JSON object. */
void log_open(enum log_level level, bool json);

/* `event`: [a-z_]+, a literal: what a reader searches for. The formatted rest is `key=value` pairs;
 * which keys there are, the format says: a value cannot add one. Values are cut at 256 bytes, lines
 * at 1 KiB, and of one event 20 lines a second are written: the next line then says how many were
 * suppressed. Never blocks: a line that cannot be written is dropped and counted. */
void log_write(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_debug(event, ...) log_write(LOG_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...) log_write(LOG_INFO, event, __VA_ARGS__)
#define log_warn(event, ...) log_write(LOG_WARN, event, __VA_ARGS__)
#define log_error(event, ...) log_write(LOG_ERROR, event, __VA_ARGS__)

struct log_stats {
    uint64_t written, dropped, suppressed; /* lines */
};
struct log_stats log_stats(void);

#endif
