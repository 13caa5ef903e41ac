/* stream.h - the byte streams of net.h, for net.c. `index` is a stream's place in net->streams,
 * `dir` the end that writes: 0 dialled. */
#ifndef SIM_STREAM_H
#define SIM_STREAM_H

#include "sim/net.h"

void stream_dial(struct world *world, struct seat *seat, const struct mesh_effect *effect);
void stream_write(struct world *world, uint32_t index, uint32_t dir, struct slice bytes);
/* The process closes this end: FIN after what was written, or a reset. */
void stream_close(struct world *world, uint32_t index, uint32_t dir, bool reset);
void stream_event(struct world *world, const struct world_event *event);
void flow_clear(struct flow *flow);

#endif
