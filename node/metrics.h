/* metrics.h - the counters of this process as Prometheus text. */
#ifndef NODE_METRICS_H
#define NODE_METRICS_H

#include <stddef.h>

struct host;

/* Writes at most `room` bytes, whole lines only; returns how many. */
size_t metrics_write(struct host *host, char *into, size_t room);

#endif
