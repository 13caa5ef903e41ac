/* h1.h - HTTP/1.1 as bytes, both ways: requests of clients, responses of upstreams (RFC 9112).
 * Bytes go in, one event at a time comes out, nothing calls back. Stricter than llhttp: whatever
 * two readers could understand differently is refused. What a host or a path means is gate's and
 * mcp's business; sockets and deadlines are the host's. */
#ifndef HTTP_H1_H
#define HTTP_H1_H

#include "mesh/base/types.h"

/* --- One message's head ------------------------------------------------------------------- */

/* Methods that may pass; any other is answered 501 by the parser itself. */
enum h1_method {
    H1_METHOD_GET,
    H1_METHOD_HEAD,
    H1_METHOD_POST,
    H1_METHOD_PUT,
    H1_METHOD_PATCH,
    H1_METHOD_DELETE,
    H1_METHOD_OPTIONS
};
const char *h1_method_text(enum h1_method method);

enum h1_framing {
    H1_NO_BODY,
    H1_LENGTH, /* Content-Length */
    H1_CHUNKED,
    H1_UNTIL_CLOSE /* responses only */
};

/* Header names that some rule of ours looks for, letter case aside. */
enum h1_field {
    H1_FIELD_OTHER,
    H1_FIELD_ACCEPT,
    H1_FIELD_ACCEPT_ENCODING,
    H1_FIELD_ALT_SVC,
    H1_FIELD_AUTHORIZATION,
    H1_FIELD_CACHE_CONTROL,
    H1_FIELD_CONNECTION,
    H1_FIELD_CONTENT_ENCODING,
    H1_FIELD_CONTENT_LENGTH,
    H1_FIELD_CONTENT_TYPE,
    H1_FIELD_EXPECT,
    H1_FIELD_HOST,
    H1_FIELD_LAST_EVENT_ID,
    H1_FIELD_MCP_METHOD,
    H1_FIELD_MCP_NAME,
    H1_FIELD_MCP_PROTOCOL_VERSION,
    H1_FIELD_MCP_SESSION_ID,
    H1_FIELD_ORIGIN,
    H1_FIELD_TRANSFER_ENCODING,
    H1_FIELD_X_ACCEL_BUFFERING
};
#define H1_FIELDS (H1_FIELD_X_ACCEL_BUFFERING + 1)

/* Sets of fields. */
static inline uint32_t h1_set(enum h1_field field)
{
    return UINT32_C(1) << field;
}

/* A header line: places in the head's text. The value is without the blanks around it. */
struct h1_header {
    struct span name, value;
    uint8_t field; /* enum h1_field */
    bool stays;    /* here by its name alone, see h1_header_travels() */
};

/* What is made of a head by those who read it, and would be made of it again: it is kept with the
 * head, and when that one comes again (h1_use_memo()) nothing but the digits of its Content-Length
 * may differ. Each note is of one config. */
struct h1_notes {
    /* gate.c: it passed, where to */
    bool is_passed;
    uint8_t route; /* enum gate_route */
    struct span path, query;
    /* mcp.c, mcp_answer.c: the lines that travel */
    struct bytes *lines;      /* NULL: not noted */
    uint32_t lines_without;   /* of the head's, the fields that are left out */
    struct span lines_client; /* in `lines`: whom they came from */
    bool is_session_text;     /* mcp.c: its Mcp-Session-Id could be one */
    /* mcp.c: who asks */
    bool knows_who;
    uint32_t who_key; /* that made these two */
    struct principal who, token;
};

/* Valid from H1_HEAD to h1_next(). To keep slices of it longer: slice_keep() takes a reference
 * to the text, nothing is copied. */
struct h1_head {
    struct slice text;               /* first line to the empty line, both included */
    struct span method_text, target; /* requests */
    struct span reason;              /* responses; may be empty */
    enum h1_method method;           /* requests */
    uint16_t status;                 /* responses: 200 .. 599 */
    uint8_t version_minor;           /* 0 or 1 */
    enum h1_framing framing;
    uint64_t content_length;   /* with H1_LENGTH: > 0. A HEAD answer's is not kept here */
    bool keep_alive;           /* the connection may carry another message */
    bool expects_continue;     /* Expect: 100-continue on HTTP/1.1 with a body */
    bool has_foreign_expect;   /* any other expectation: 417 */
    bool has_connection_names; /* Connection names more than close and keep-alive */
    uint32_t fields, doubles;  /* sets: fields that came, and that came more than once */
    uint32_t first[H1_FIELDS]; /* of those that came: the index of the first */
    struct h1_notes notes;
    uint32_t headers_count, headers_room;
    struct h1_header headers[];
};

static inline struct slice h1_target(const struct h1_head *head)
{
    return slice_part(head->text, head->target);
}

static inline struct slice h1_name(const struct h1_head *head, size_t index)
{
    return slice_part(head->text, head->headers[index].name);
}

static inline struct slice h1_value(const struct h1_head *head, size_t index)
{
    return slice_part(head->text, head->headers[index].value);
}

/* The first header of this field, which is not H1_FIELD_OTHER. False: absent, *value is empty. */
bool h1_field(const struct h1_head *head, enum h1_field field, struct slice *value);
/* The same for names that are no h1_field; letter case aside. */
bool h1_header(const struct h1_head *head, const char *name, struct slice *value);
size_t h1_header_count(const struct h1_head *head, const char *name);
/* The whole line, CR LF included, if it stands in the text as "Name: value"; else empty. */
struct slice h1_plain_line(const struct h1_head *head, size_t index);
/* Is `name` one of the words of a Connection line? */
bool h1_connection_names(const struct h1_head *head, struct slice name);
/* May this line be passed on to the next hop or the mesh? Not: what speaks of this connection
 * (RFC 9110 section 7.6.1) or its framing, what Connection names, and what would claim to come
 * from a proxy of ours (rows H11, H46). */
static inline bool h1_header_travels(const struct h1_head *head, size_t index)
{
    return !head->headers[index].stays &&
           (!head->has_connection_names || !h1_connection_names(head, h1_name(head, index)));
}
bool h1_is_same_name(struct slice a, struct slice b); /* ASCII letter case aside */
bool h1_is_name(struct slice a, const char *name);

/* --- The parser of one connection --------------------------------------------------------- */

enum h1_direction { H1_REQUESTS, H1_RESPONSES };

struct h1_limits {
    uint32_t line_max;         /* bytes of a header line or a target */
    uint32_t header_bytes_max; /* bytes of the header lines together, and of the trailers */
    uint32_t headers_max;      /* lines */
    uint64_t body_max;         /* bytes; 0: no cap */
    bool collect;              /* the body is gathered into one buffer, not handed out in parts */
};
struct h1_limits h1_limits_default(enum h1_direction direction);

enum h1_event {
    H1_MORE, /* all input is used; feed more */
    H1_HEAD, /* h->head is there */
    H1_BODY, /* h->part: a borrowed slice of the input (never when collecting) */
    H1_END,  /* the message is complete; h1_next() before the next is fed */
    H1_ERROR /* h->status, h->reason; for good: answer, then close */
};

enum h1_phase {
    H1_PHASE_IDLE, /* no byte of a message yet. Holds no buffer */
    H1_PHASE_HEAD, /* the header deadline runs */
    H1_PHASE_BODY, /* the body deadline runs */
    H1_PHASE_DONE, /* H1_END was reported, or is about to be */
    H1_PHASE_ERROR
};

struct h1 {
    /* to read */
    struct h1_head *head; /* from H1_HEAD on */
    struct slice part;
    uint16_t status;     /* what to answer: 400 404 408 413 414 431 501 503 505; responses: 502 */
    const char *reason;  /* constant text, no byte of the input */
    uint64_t body_bytes; /* of the body, so far */
    /* its own */
    struct h1_limits limits;
    struct bytes_budget *budget;
    struct bytes *text; /* a head that came in pieces */
    struct bytes *body;
    uint64_t left, overhead; /* of the body or chunk; bytes of chunk framing so far */
    enum h1_direction direction;
    enum h1_phase phase;
    uint8_t state, chunk_state, chunk_digits, blank_lines, interim_count;
    bool is_asked, is_asked_head, in_trailers;
    uint32_t at, line_at, block_at, lines_count; /* places in the head (or in the trailers) */
    struct h1_memo *memo;                        /* NULL: none */
    uint32_t memo_at;
};

/* Heads that were read lately: an idle connection holds none itself. */
#define H1_MEMO_HEADS 256u
struct h1_memo {
    struct h1_memo_place {
        struct h1_head *head; /* NULL: none */
        uint32_t length;      /* of its text */
        struct span digits;   /* of its Content-Length, in the text; length 0: none */
    } places[H1_MEMO_HEADS];
    uint32_t next;
};

/* `budget` (may be NULL) counts heads and collected bodies and must outlive h. Allocates
 * nothing. */
void h1_init(struct h1 *h, enum h1_direction direction, const struct h1_limits *limits,
             struct bytes_budget *budget);
void h1_deinit(struct h1 *h);
/* From now on, where a head is the one before again, but for the number of its Content-Length, it
 * is not read anew. `memo` is shared by parsers of one direction and the same limits, and must
 * outlive them; zeroes to begin with. What it keeps is counted by the parsers' budgets. */
void h1_use_memo(struct h1 *h, struct h1_memo *memo);
void h1_memo_deinit(struct h1_memo *memo);

/* Reads up to the next event; *used tells how far. H1_MORE: all of it was used. Call again with
 * the rest, even if that is empty, until H1_MORE. */
enum h1_event h1_feed(struct h1 *h, const uint8_t *data, size_t length, size_t *used);
/* The other side will send no more. H1_END: that ended the body; H1_MORE: between two messages,
 * all is well; else H1_ERROR. */
enum h1_event h1_eof(struct h1 *h);
/* Done with this message: lets go of head and body. What is fed then is the next one. */
void h1_next(struct h1 *h);
/* Responses: a request was written. Bytes that come unasked are an error (row U7), and an answer
 * to HEAD has no body. */
void h1_expect_response(struct h1 *h, enum h1_method method);
enum h1_phase h1_phase(const struct h1 *h);

/* While a body of known length is being collected: where the socket may read to, so that nothing
 * is copied. False: not now, feed as usual. */
bool h1_body_room(struct h1 *h, uint8_t **at, size_t *length);
/* So many bytes were put there: H1_MORE, H1_END or H1_ERROR. */
enum h1_event h1_body_filled(struct h1 *h, size_t length);
/* The collected body, once H1_END was reported; empty if there is none. */
struct slice h1_body(const struct h1 *h);
/* The same as the caller's own reference; NULL if there is none. */
struct bytes *h1_body_take(struct h1 *h);

/* --- Writing ------------------------------------------------------------------------------- */

#define H1_CHUNK_HEAD_MAX 18 /* bytes of a chunk's first line */
#define H1_CHUNK_END "\r\n"
#define H1_LAST_CHUNK "0\r\n\r\n"
#define H1_CONTINUE "HTTP/1.1 100 Continue\r\n\r\n"

struct h1_line {
    struct slice name, value;
};

/* Head to write. `lines` must not hold Content-Length, Transfer-Encoding or Connection. */
struct h1_out {
    int status;                  /* responses */
    struct slice method, target; /* requests */
    const struct h1_line *lines;
    size_t lines_count;
    struct slice ready; /* further lines as text, each ended by CR LF; may be empty */
    enum h1_framing framing;
    uint64_t content_length; /* with H1_LENGTH. H1_NO_BODY writes no length line at all */
    bool close;              /* Connection: close */
    bool keep_alive;         /* Connection: keep-alive, for an HTTP/1.0 client */
};

/* The bytes written to `to`, or -ENOSPC, or -EINVAL: CR, LF, NUL or another control character
 * where none may be; then nothing of `to` is to be used. */
int h1_write_response_head(uint8_t *to, size_t room, const struct h1_out *out);
int h1_write_request_head(uint8_t *to, size_t room, const struct h1_out *out);
/* "1a2\r\n"; the number of bytes. length 0 would be the last chunk: not allowed here. */
size_t h1_write_chunk_head(uint8_t to[H1_CHUNK_HEAD_MAX], uint64_t length);
/* How many bytes a head will need at most. */
size_t h1_head_room(const struct h1_out *out);
const char *h1_status_text(int status); /* "Not Found"; "" if it has no name here */
/* Are these whole header lines, one after the other, that could be sent as they are? */
bool h1_lines_are_sound(struct slice lines);

#endif
