/* sse.h - server-sent events as bytes, both ways (WHATWG HTML, section 9.2). The reader takes
 * any line ends and any split of the input; the writer lets nothing forge an event. What an
 * event's text means, and when a keep-alive is due, is decided elsewhere. */
#ifndef HTTP_SSE_H
#define HTTP_SSE_H

#include "mesh/base/bytes.h"

#define SSE_ID_MAX 4096  /* bytes of an id; a Last-Event-ID must fit a header line */
#define SSE_NAME_MAX 256 /* bytes of an event's name */
#define SSE_RETRY_MIN_MS 100
#define SSE_RETRY_MAX_MS 60000
#define SSE_KEEPALIVE ": keepalive\n\n"

/* Read: holds until the next call for this reader; slice_keep() to keep. Written: empty id or
 * name and retry_ms 0 are left out. */
struct sse_event {
    struct slice id;   /* reading: the last id the stream set, so maybe an earlier event's */
    struct slice name; /* empty: "message" */
    struct slice data;
    uint32_t retry_ms; /* reading: set in this event's block, clamped (row S5) */
    bool has_id;       /* reading: this block set the id */
    bool is_large;     /* reading: its data came in parts */
};

enum sse_result {
    SSE_MORE,  /* all input is used */
    SSE_EVENT, /* *event is filled */
    SSE_PART,  /* event->data is the next part of an event over event_max, which is not kept */
    SSE_ERROR  /* an event, id or name over its cap, or no memory; for good */
};

struct sse_reader {
    /* to read */
    uint64_t comments_count;
    uint32_t retry_ms; /* the last one the stream set, clamped; 0: none */
    int error;         /* after SSE_ERROR: -EMSGSIZE or -ENOMEM */
    bool gives_parts;  /* to set after init: an event over event_max is no error */
    /* its own */
    size_t event_max;
    struct bytes_budget *budget;
    struct bytes *data, *id, *name, *next_id;
    struct slice pending;  /* one whole data line, still in the input */
    struct slice parts[3]; /* to be given out, from parts_at on */
    uint8_t parts_at, parts_count;
    bool is_large, has_pending, has_data, is_event_out, has_next_id, is_bad_id, skip_lf;
    uint8_t state, bom_count, field_length, field_kind, retry_digits;
    char field[6];
    uint32_t retry_number, block_retry_ms;
};

/* event_max: bytes of one event's data. Allocates nothing. */
void sse_reader_init(struct sse_reader *reader, size_t event_max, struct bytes_budget *budget);
/* An unfinished event is dropped (row S4). */
void sse_reader_deinit(struct sse_reader *reader);
/* Reads up to the next event; call again with the rest until SSE_MORE. An event that lies whole
 * in the input with one data line is a slice of it (and of in.buf); else it is put together in a
 * buffer of its own. Blocks without data are no events: their id and retry count all the same. The
 * input stays where it is until SSE_MORE. */
enum sse_result sse_read(struct sse_reader *reader, struct slice in, size_t *used,
                         struct sse_event *event);
/* Nothing of an event has been read yet: the place where a comment may stand. */
bool sse_reader_is_between(const struct sse_reader *reader);

/* Clamps to 100 ms .. 60 s. */
uint32_t sse_clamp_retry(uint64_t retry_ms);

/* Data with a line end cannot stand behind one prefix: sse_copy_event() splits it. */
bool sse_needs_split(struct slice data);
#define SSE_SUFFIX "\n\n"
#define SSE_RETRY_ROOM 24
/* A block that says a retry time and nothing else. The bytes written, at most SSE_RETRY_ROOM. */
size_t sse_write_retry(uint8_t to[SSE_RETRY_ROOM], uint32_t retry_ms);
/* "id: …\nevent: …\nretry: …\ndata: ", to be followed by event->data, which needs no split, and
 * SSE_SUFFIX. The bytes written, -ENOSPC, or -EINVAL: CR, LF or NUL in id or name (row S2). */
int sse_write_prefix(uint8_t *to, size_t room, const struct sse_event *event);
size_t sse_prefix_room(const struct sse_event *event); /* bytes a prefix needs at most */
/* The whole event, its data split into lines at CR, LF and CR LF (row S1). 0, -EINVAL (as
 * above), or -ENOMEM. */
int sse_copy_event(struct bytes_budget *budget, const struct sse_event *event,
                   struct bytes **textp);

#endif
