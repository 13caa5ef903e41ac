/* wire_record.h - what the payloads of COPY, COPIED and DIGEST are made of. A record of a session
 * is a sequence of items, one plain struct each, msgpack arrays one after the other; what owner and
 * holder say of many sessions is a sequence of entries of one size. What an item is good for is
 * mesh/session/record.c's business.
 *
 * An entry: session 31 | flags 1 | idle ms 4 | epoch counter 8 | version 8, little-endian. */
#ifndef MESH_WIRE_RECORD_H
#define MESH_WIRE_RECORD_H

#include "mesh/wire/wire.h"

enum wire_item_kind {
    WIRE_ITEM_BASE = 1,
    WIRE_ITEM_HOLDER,       /* one peer that has a copy */
    WIRE_ITEM_LEVEL,        /* text: the logging/setLevel that counts, whole */
    WIRE_ITEM_SUBSCRIPTION, /* text: a URI, raw, without its quotes */
    WIRE_ITEM_QUESTION,     /* text: the raw id of an open request of the upstream */
    WIRE_ITEM_STREAM,
    WIRE_ITEM_TENURE, /* of the stream before it, the oldest first: whose ids are whose events' */
    WIRE_ITEM_EVENT   /* the next one of the stream before it */
};
#define WIRE_ITEM_LAST WIRE_ITEM_EVENT

struct wire_item {
    enum wire_item_kind kind;
    union {
        struct {
            struct principal who;
            bool is_single, has_batches, has_marks, is_initialized, is_announced;
            uint32_t streams_count, upstreams;
            uint64_t idle_ms, absolute_ms; /* what is left of both */
            struct slice params, result;   /* initialize and its answer, whole */
        } base;
        struct peer_id holder;
        struct slice text;
        struct {
            uint32_t number;
            uint64_t first; /* number of the first event that follows; no event lies between the
                               last of them and the next one that comes */
            uint64_t delivered;
            uint32_t retry_ms;
            bool is_ended, is_safe; /* safe: its request may run again */
            struct slice request;   /* its raw id; empty: none, or it ended */
        } stream;
        struct {
            uint64_t epoch, first, base; /* event_stream.h says which */
        } tenure;
        struct {
            enum mesh_reason why;
            bool answers, is_last;
            struct slice text;
        } event;
    };
};

/* Bytes that suffice for it. */
size_t wire_item_room(const struct wire_item *item);
/* The length, or -ENOSPC. */
int wire_item_write(const struct wire_item *item, void *into, size_t room);
/* Takes the next item of *rest; kinds of a later version are skipped, slices lie in it. 1; 0: there
 * is none; -EBADMSG. */
int wire_item_read(struct wire_item *item, struct slice *rest);

/* Of COPIED: */
#define WIRE_ENTRY_LACKS 1   /* I do not have it so: send it whole */
#define WIRE_ENTRY_REFUSED 2 /* nor can I: no room */
#define WIRE_ENTRY_OTHERS 4  /* ASKS: in an epoch that is not yours */
#define WIRE_ENTRY_ASKS 8    /* I have not heard of it for long: is it still to be kept? */
#define WIRE_ENTRY_FLAGS 15

/* In COPIED: I have this version of it. In DIGEST: you should. Its owner is the peer that hears, or
 * says, it. */
struct wire_entry {
    struct session_id session;
    unsigned flags;   /* COPIED */
    uint32_t idle_ms; /* DIGEST: what is left of its idle time */
    uint64_t epoch;   /* its counter */
    uint64_t version;
};
#define WIRE_ENTRY_BYTES (MESH_SESSION_BYTES + 1 + 4 + 8 + 8)

void wire_entry_write(const struct wire_entry *entry, uint8_t into[WIRE_ENTRY_BYTES]);
/* Likewise: 1, 0, -EBADMSG. */
int wire_entry_read(struct wire_entry *entry, struct slice *rest);

#endif
