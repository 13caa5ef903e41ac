/* link.h - one TCP connection between two peers, as bytes in and records out: handshake, sealed
 * records, streams with credit each (DESIGN §6, §10). It opens no socket and knows no message:
 * which links exist, what is said on them and what a loss means is decided elsewhere.
 *
 * A record, opened: flags 1 | frame ...          flags: 1 FINAL, no record follows
 * A frame:          stream 4 | kind 1 | length 2 | body
 *
 *   FIRST    total 4 | part    a message of `total` bytes begins
 *   MORE     part              it goes on
 *   CREDIT   taken 8 | room 4  the reader took so many bytes in all, and may be sent `room` more
 *   CLOSE    why 1             the sender neither sends nor reads any more
 *   PING, PONG  number 4
 *
 * Stream 0 is for control: outside credit, ahead of all others. The dialler's streams are odd, the
 * acceptor's even, each new one higher than those before it. A CLOSE is answered by a CLOSE; with
 * both the number is forgotten. Credit counts the bytes of messages. */
#ifndef MESH_LINK_H
#define MESH_LINK_H

#include "mesh/base/list.h"
#include "mesh/base/rng.h"
#include "mesh/base/spare.h"
#include "mesh/base/table.h"
#include "mesh/base/types.h"
#include "mesh/wire/seal.h"
#include "mesh/wire/tunnel.h"
#include "mesh/wire/wire.h"

#define LINK_DEADLINE_MS 5000 /* for the handshake */
#define LINK_ACK_DELAY_MS 25  /* what a reader took is told so late, if nothing else leaves */
/* Unless it is so much: who waits for it may have less room than a wide window. */
#define LINK_ACK_MAX (64u << 10)
#define LINK_ADMIT_AGAIN_MS 100 /* between tries to find memory for a message under way */
#define LINK_MESSAGE_MAX (1u + WIRE_HEAD_MAX + WIRE_PAYLOAD_MAX)
#define LINK_CONTROL_MAX (1u << 20)    /* a message on stream 0 */
#define LINK_STREAMS_MAX 16384         /* opened by each side */
#define LINK_WINDOW_FIRST (16u << 10)  /* a stream's credit at its start, doubling up to */
#define LINK_WINDOW_MAX (1u << 20)     /* this while its reader keeps up */
#define LINK_WINDOW_TIGHT (64u << 10)  /* its ceiling when half of GRANTS_MAX is out */
#define LINK_GRANTS_MAX (32u << 20)    /* credit out, beyond each stream's first window */
#define LINK_PENDING_MAX (32u << 20)   /* queued, and sealed but not yet written */
#define LINK_UNWRITTEN_MAX (64u << 10) /* no more is sealed while the socket owes so much */
#define LINK_QUANTUM (4u << 10)        /* of one stream, before it is another one's turn */
#define LINK_SPARE 32u                 /* streams and small messages whose memory is kept */
#define LINK_RECENT 128u               /* streams that are found without a look into the table */

enum link_state {
    LINK_GREETING, /* handshake under way */
    LINK_OPEN,
    LINK_DOWN /* failed; nothing goes in or out any more */
};

enum link_failure {
    LINK_OK,
    LINK_NOT_OURS,   /* the other side speaks something else, or another version */
    LINK_BAD_KEY,    /* it uses a key that we do not */
    LINK_BAD_PROOF,  /* wrong key or label, replayed, changed */
    LINK_WRONG_PEER, /* proved to be another one than we dialled: see event.peer */
    LINK_SELF,       /* we dialled ourselves */
    LINK_TIMEOUT,    /* the handshake took too long */
    LINK_BAD_RECORD, /* changed, out of order, too long, or after FINAL */
    LINK_BAD_FRAME,  /* malformed, or it makes no sense where it stands */
    LINK_BAD_STREAM, /* number of the wrong side, reused, or one too many */
    LINK_BAD_CREDIT, /* more sent than was granted, or a grant that cannot be */
    LINK_NO_MEMORY
};

/* How a stream ends before its time. */
enum link_close_reason {
    LINK_CLOSE_DONE,
    LINK_CLOSE_NO_ROOM /* the message under way was not delivered: no room for it */
};

struct link_config {
    bool is_dialler;
    struct peer_id self;
    uint64_t nonce;               /* of our generation */
    const struct seal_ring *ring; /* borrowed */
    struct peer_id expected;      /* dialler: whom; nobody: whoever answers */
    uint32_t key_turn;            /* dialler: greets with this one of the keys in use (seal.h) */
    bool no_aes;                  /* as on a machine without it */
    struct rng *rng;              /* borrowed */
    struct bytes_budget *budget;  /* borrowed; for messages that come in */
};

enum link_event_kind {
    LINK_READY,         /* peer, nonce, number */
    LINK_MESSAGE,       /* stream, user, text; is_new: the other side opened the stream with it */
    LINK_CONSUMED,      /* stream, user, total: its reader took so many bytes of ours in all */
    LINK_STREAM_CLOSED, /* stream, user, sent, why: by the other side; the stream is gone */
    LINK_PONG,          /* ping: its number */
    LINK_ENDED,         /* the other side will send nothing more (FINAL) */
    LINK_FAILED         /* failure; close the socket. It comes once, and nothing after it */
};

struct link_event {
    enum link_event_kind kind;
    uint32_t stream; /* 0: control */
    bool is_new;
    bool sent;          /* STREAM_CLOSED: all that was queued on it had left */
    struct handle user; /* as given to link_stream_open() or _accept(); zero before */
    struct slice text;  /* a whole message, ref-counted; until the next call */
    uint64_t total;     /* bytes of messages */
    enum link_close_reason why;
    struct peer_id peer;
    uint64_t nonce, number;
    uint32_t ping;
    enum link_failure failure;
};

struct link_stream;
struct link_message;

struct link {
    enum link_state state;
    enum link_failure failure;
    bool is_dialler, failure_told, ready_told, ended_in, ended_out, wants_end, reports_due;
    struct peer_id expected;
    struct tunnel_peer self, peer;
    uint32_t key_id; /* of the key that proved both ends */
    uint64_t number;
    const struct seal_ring *ring;
    struct rng *rng;
    struct bytes_budget *budget;
    uint64_t now_ms, heard_ms; /* heard: the last time that something proved to be the peer's */
    uint64_t hello_deadline_ms, reports_at_ms, admit_at_ms;
    struct tunnel_hello *hello; /* NULL once the link is open */
    struct tunnel_half in, out;

    /* what came in */
    struct slice input;    /* borrowed, until link_next_event() has returned false */
    struct bytes *partial; /* the beginning of a record or of a handshake message */
    struct bytes *plain;   /* the record that is read now */
    size_t plain_at;
    struct bytes *told; /* the assembled message of the last event */

    /* what goes out */
    struct bytes *greeting; /* a handshake message that waits to be taken */
    size_t queued, unwritten;
    uint32_t messages_queued;
    uint32_t ping, pong;
    bool has_ping, has_pong;

    /* streams */
    struct link_stream *recent[LINK_RECENT]; /* by the last bits of their numbers; NULL: none */
    struct table streams_by_number;          /* those whose place in `recent` a later one has */
    struct link_stream **streams;            /* by the table's values; NULL: free */
    struct spare spare_streams, spare_messages;
    uint32_t *slots_free;
    uint32_t streams_room, slots_free_count;
    uint32_t opened_count[2]; /* by us, by them: streams that live */
    uint32_t highest[2];      /* numbers */
    struct link_stream *control;
    struct list sending;   /* streams with something that may leave now, in turn */
    struct list reporting; /* streams with a CREDIT or CLOSE to be told */
    struct list waiting;   /* streams whose message under way waits for room in the grants */
    size_t grants;
};

/* Begins the handshake. 0 or -ENOMEM. */
int link_init(struct link *link, const struct link_config *config, uint64_t now_ms);
void link_deinit(struct link *link); /* NULL is fine; all streams and what they queued go */

/* ---- in ------------------------------------------------------------------------------------- */

/* Bytes from the socket, in parts of any size. They are borrowed until link_next_event() has
 * returned false, which must happen before the next call. */
void link_bytes_in(struct link *link, struct slice sealed, uint64_t now_ms);
bool link_next_event(struct link *link, struct link_event *event);
/* Time went on; at link_deadline_ms() at the latest. */
void link_now(struct link *link, uint64_t now_ms);
uint64_t link_deadline_ms(const struct link *link);
/* FINAL has come: an EOF now is an end, before it was a cut. */
bool link_has_ended(const struct link *link);

/* ---- out ------------------------------------------------------------------------------------ */

/* A new stream, or 0: the link is not open or ends, too many live, or its numbers are used up. The
 * other side hears of it by its first message, and takes no number below one that it has seen: of
 * two streams the one opened first is the first to be written to, or closed. */
uint32_t link_stream_open(struct link *link, struct handle user);
/* Whom a stream that the other side opened belongs to; also changes it. -ENOENT: it is gone. */
int link_stream_accept(struct link *link, uint32_t stream, struct handle user);
/* Queues one message: a copy of `head` and a reference to `payload` (a copy if it is borrowed or
 * small). Stream 0: control. 0; -ENOENT: no such stream, or it was closed; -ENOBUFS:
 * LINK_PENDING_MAX; -EMSGSIZE; -EPIPE: not open, or shut down; -ENOMEM. */
int link_send(struct link *link, uint32_t stream, const void *head, size_t head_length,
              struct slice payload);
/* The reader took so many bytes of this stream's messages for good: the other side is told, and may
 * send more. An unknown stream is ignored. */
void link_consumed(struct link *link, uint32_t stream, size_t bytes);
/* No more comes from us on this stream once what is queued has left, and what still comes in on it
 * is dropped. No event follows. */
void link_stream_close(struct link *link, uint32_t stream);
/* The same at once: what is queued is dropped, a message half sent is never ended. */
void link_stream_cut(struct link *link, uint32_t stream);
/* All that was queued on this stream has left in sealed records (true of an unknown one). */
bool link_stream_sent(const struct link *link, uint32_t stream);
/* Bytes that wait on this stream for credit or for their turn. */
size_t link_stream_queued(const struct link *link, uint32_t stream);
uint32_t link_streams_count(const struct link *link); /* alive, of both sides */
void link_ping(struct link *link, uint32_t number);   /* LINK_PONG answers the latest one */
/* FINAL after all that is queued; nothing can be queued from now on. */
void link_shutdown(struct link *link);

/* Something may leave now. */
bool link_wants_write(const struct link *link);
/* The next bytes for the socket: one sealed record with all that waits (at most 16 KiB), or a
 * message of the handshake. The caller drops the reference. NULL: nothing to write, the socket owes
 * too much, or no memory (then the link is down). */
struct bytes *link_next_record(struct link *link, uint64_t now_ms);
void link_written(struct link *link, size_t bytes); /* the socket took so many */

#endif
