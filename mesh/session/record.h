/* record.h - what a session is beside its upstream, as bytes: what its copies have, and what a
 * successor carries it on from (DESIGN §7). No credentials are in it. Written at the owner from
 * its struct session, read at a holder into a struct session that is a copy. When a copy is sent,
 * and to whom, is copies.h's business; how the bytes lie wire_record.h's. */
#ifndef MESH_RECORD_H
#define MESH_RECORD_H

#include "mesh/base/types.h"

/* Of one WIRE_COPY. All of them: the whole record, in place of whatever the holder has. */
enum record_part {
    RECORD_BASE = 1,    /* principal, what was agreed, initialize and its answer, times; once */
    RECORD_STATE = 2,   /* holders, log level, subscriptions, the upstream's open questions */
    RECORD_STREAMS = 4, /* streams and their logs */
    RECORD_WHOLE = 7
};
#define RECORD_MAX (960u << 10) /* bytes: it must go as one control message of a link */
#define RECORD_HANDSHAKE_MAX                                                                       \
    (64u << 10) /* initialize, and its answer; a larger one is not copied */
#define RECORD_EVENT_MAX                                                                           \
    (256u << 10)              /* a larger event is not copied: only that it was is known           \
                               */
#define RECORD_LEVEL_MAX 4096 /* a larger setLevel, or URI, is not copied */
#define RECORD_URI_MAX 2048

struct core;
struct session;

/* The parts as one buffer under the core's budget; the oldest events give way to RECORD_MAX. NULL:
 * no memory. */
struct bytes *record_write(struct core *core, const struct session *session, unsigned parts,
                           uint64_t now_ms);
/* Replaces those parts of a copy, whose epoch is the record's. 0; -EBADMSG: malformed, nothing is
 * changed; -ENOMEM: likewise, but that BASE may be new, which says little else than before. */
int record_read(struct core *core, struct session *copy, unsigned parts, struct slice record,
                uint64_t now_ms);
/* Is it the raw id of a JSON-RPC request, of at most `max` bytes? */
bool record_is_id(struct slice raw, size_t max);

#endif
