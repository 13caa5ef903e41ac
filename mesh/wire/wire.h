/* wire.h - every message between peers, one plain struct each, and its one codec (msgpack).
 * Decode checks sizes first and never allocates by what the bytes declare; encode fills the
 * caller's buffer. Sealing, replay and what a message means are others' business.
 *
 * A datagram, opened (DESIGN §10):
 *
 *   target 16 (name hash 8 | generation nonce 8; zero: first contact) | message | update ...
 *
 * message and updates are msgpack arrays one after the other, up to the datagram's end.
 *
 * A message on a link: kind 1 | msgpack array (its head) | payload (raw bytes: a body, an event,
 * data). The link carries its length, and its stream (0: no stream). */
#ifndef MESH_WIRE_H
#define MESH_WIRE_H

#include "mesh/base/types.h"

#define WIRE_UPDATES_MAX 64
#define WIRE_DATAGRAM_MAX 1200
#define WIRE_SEAL_BYTES 46                                   /* around the sealed part */
#define WIRE_PLAIN_MAX (WIRE_DATAGRAM_MAX - WIRE_SEAL_BYTES) /* what may be sealed */
#define WIRE_PROGRESS_MAX 32      /* bytes of a number; JavaScript writes none longer than 25 */
#define WIRE_HEAD_MAX (48u << 10) /* encoded head of a link message: header lines and names */
#define WIRE_PAYLOAD_MAX (10u << 20)
#define WIRE_VIEW_MAX (64u << 10) /* encoded head of a WIRE_VIEW */
#define WIRE_RECORDS_MAX 256      /* member records of one WIRE_VIEW message */
#define WIRE_BUCKETS 64
#define WIRE_DEPTH_MAX 4              /* arrays within arrays */
#define WIRE_ELEMENTS_MAX 512         /* elements that the arrays of a datagram may declare */
#define WIRE_WAIT_MAX_MS (60u * 1000) /* a NOT_YET that asks for more is read as this */

/* Walks one msgpack object at `data` without allocating: a msgpack decoder believes declared
 * sizes (5 bytes ask for 2 GiB), so this comes first. Its length, or -EBADMSG: it declares more
 * than the bytes left or than *elements_left (which shrinks by what it declares), is deeper than
 * WIRE_DEPTH_MAX, is cut short, or holds the reserved byte. */
int wire_scan(const void *data, size_t length, uint32_t *elements_left);

/* ---- datagrams ------------------------------------------------------------------------------ */

enum datagram_kind {
    DATAGRAM_HELLO = 1, /* who is there? also: is somebody living under my name? With a target, its
                           first update being the sender's own record: here I am */
    DATAGRAM_WELCOME,   /* the answer: no longer than the question */
    DATAGRAM_PING,
    DATAGRAM_ACK,
    DATAGRAM_PING_REQ, /* ping `subject` for me */
    DATAGRAM_NACK,     /* I pinged `subject` for you; no answer yet */
    DATAGRAM_GOSSIP,   /* updates only */
    DATAGRAM_NOT_ME,   /* you named another target than me: I am the sender of this */
    DATAGRAM_CONFIRM   /* I suspect `subject`: look for yourself, and ACK or accuse it, too. To the
                          subject itself: I hardly hear you, and others well */
};
#define DATAGRAM_KIND_LAST DATAGRAM_CONFIRM

enum update_kind {
    UPDATE_ALIVE = 1, /* carries the whole record */
    UPDATE_SUSPECT,
    UPDATE_DEAD,
    UPDATE_LEFT,
    UPDATE_CLAIM /* about a shard: claims.h */
};

/* One thing to be told about one member. An ALIVE carries the record; the others do if
 * record.name is not empty, so that a VIEW can tell of a dead peer nobody here has met. That
 * id.name is the hash of the name is for the caller to check. */
struct wire_update {
    enum update_kind kind;
    uint32_t incarnation;
    struct peer_id accuser;    /* SUSPECT, DEAD */
    struct mesh_record record; /* of an update without one: its id alone */
    uint64_t shard; /* CLAIM: record.id says that it carries this on, for the incarnation-th time */
};

struct wire_datagram {
    struct peer_id target_name_only; /* .name: target's name hash; .generation unused here */
    uint64_t target_nonce;           /* 0: first contact */
    enum datagram_kind kind;
    uint32_t number; /* of the probe: an ACK or NACK repeats it */
    /* Who speaks (the seal authenticates name hash and nonce). Generation 0: it has none yet, or
     * the receiver knows it by its nonce. */
    struct peer_id sender;
    uint64_t view_hash;            /* PING, ACK */
    uint32_t load;                 /* PING, ACK: sessions owned */
    struct peer_id subject;        /* PING_REQ, NACK, CONFIRM */
    struct mesh_addr subject_addr; /* PING_REQ: unused for sending unless it is the record's */
    /* HELLO: the name asked about. WELCOME: what is known of that name. */
    char name[MESH_NAME_MAX + 1];
    uint64_t highest_generation; /* WELCOME: known for that name, 0: none */
    bool incumbent_lives;        /* WELCOME: a member of that name is alive or suspect, at: */
    struct mesh_addr incumbent_addr;
    struct peer_id incumbent;
    struct mesh_addr seen_from; /* WELCOME: the asker's UDP source */
    uint16_t updates_count;     /* decode only */
    struct wire_update updates[WIRE_UPDATES_MAX];
};

/* A datagram under construction: begin writes target and message, add appends one update. */
struct wire_writer {
    uint8_t *at;
    size_t length, room;
    uint16_t updates, elements;
};
/* `room` at most WIRE_PLAIN_MAX. 0 or -ENOSPC. updates[] of the datagram is not read. */
int wire_datagram_begin(struct wire_writer *w, const struct wire_datagram *d, void *into,
                        size_t room);
/* -ENOSPC: no room, w is as it was. */
int wire_datagram_add(struct wire_writer *w, const struct wire_update *u);
/* Pads with a msgpack nil each up to `length`: a HELLO is made as long as its answer may be.
 * Nothing can be added behind it. */
void wire_datagram_pad(struct wire_writer *w, size_t length);
/* 0; -EBADMSG: not one of ours, too many updates, an illegal name, address, weight or port.
 * Of updates[] only the first updates_count are written. */
int wire_datagram_read(struct wire_datagram *d, const void *plain, size_t length);

/* ---- links ---------------------------------------------------------------------------------- */

enum wire_kind {
    /* stream 0, ahead of everything */
    WIRE_BUCKETS_ARE = 1, /* sums: my view's hash per bucket; answered by WIRE_VIEW */
    WIRE_VIEW,            /* records: member states of the buckets that differ, or of all */
    WIRE_FIND,            /* who has a record of this session? */
    WIRE_FOUND,           /* I: epoch (counter 0: nobody that I know) */
    /* on a stream, from the entry */
    WIRE_OPEN,   /* a request, or an attach to one; payload: the body */
    WIRE_CANCEL, /* the client is gone (modern era: stop the work); the entry's last word */
    WIRE_DONE,   /* the entry has the outcome: forget the name; its last word */
    /* on a stream, from the owner */
    WIRE_MOVED,   /* it is epoch.owner's: ask there */
    WIRE_NOT_YET, /* I cannot say now: ask again after a while */
    WIRE_REFUSED, /* why: nothing ran, and asking again changes nothing */
    WIRE_HEAD,    /* status, form, header lines, session */
    WIRE_EVENT,   /* payload: one event's data */
    WIRE_DATA,    /* payload: part of a JSON or RAW answer */
    WIRE_END,     /* end, why */
    WIRE_WHOLE,   /* HEAD, one text (or none) and a good END in one; payload: the text */
    /* on stream 0 */
    WIRE_ENDED,      /* this session of mine is over: who looks for it need not look further */
    WIRE_TASK_IS,    /* task.hash runs at task.peer: keep that, and say TASK_AT (DESIGN §12) */
    WIRE_TASK_WHERE, /* who runs task.hash? */
    WIRE_TASK_AT,    /* task.peer does, as far as I know (zero: I do not know) */
    /* likewise: copies of a session, from its owner, in its epoch (DESIGN §7; copies.h) */
    WIRE_COPY,        /* payload: the record, or parts of it (record.h) */
    WIRE_COPY_EVENT,  /* one more event of a stream; payload: its text */
    WIRE_COPY_STREAM, /* a POST's stream opened, or ended; payload: the raw id of its request */
    WIRE_COPIED,      /* to the owner: what I have of its sessions; payload: entries */
    WIRE_DIGEST,      /* what you should have of mine; payload: entries */
    /* likewise: who owns a session next (takeover.h) */
    WIRE_TAKE,    /* I shall own it in `epoch`, unless you know better: GRANT or VETO */
    WIRE_GRANT,   /* I know of nothing against `epoch`; what I had newer went before */
    WIRE_VETO,    /* not in `epoch`: its owner lives, or round.other is promised */
    WIRE_YIELD,   /* I do not own it in `epoch`, and shall not */
    WIRE_CHECK,   /* do I own it still, in `epoch`? */
    WIRE_CHECKED, /* of `epoch`: the highest that I know is round.other */
    WIRE_HAND, /* its owner: will you have it in `epoch`? round.is_end: it is yours (handover.h) */
    WIRE_HANDED, /* I will, or it is mine; round.is_refused: no */
    /* likewise */
    WIRE_TOOLS /* what is known of the tools of the upstreams; payload: hints.h */
};
#define WIRE_KIND_LAST WIRE_TOOLS

/* One message on a link, either way. Which fields count stands beside them. Slices are borrowed
 * from the plain record on reading; `payload` is a slice of a ref-counted buffer. */
struct wire_message {
    enum wire_kind kind;
    struct exchange_name name; /* OPEN; DONE if set */
    struct session_id session; /* FIND, FOUND, ENDED, COPY .. HANDED but COPIED and DIGEST; OPEN,
                                  HEAD with has_session */
    bool is_ended;             /* FOUND: I was told that it is over; ENDED: by its client's wish,
                                  which beats every epoch */
    bool has_copy;             /* FOUND: I have a copy of it, in that epoch */
    bool has_session;          /* OPEN: of a session; HEAD: minted by this answer */
    struct mesh_epoch epoch;   /* OPEN: highest known; MOVED, FOUND, HEAD, EVENT, DATA, END, WHOLE,
                                  ENDED, COPY .. HANDED but COPIED and DIGEST */
    struct slice payload;      /* OPEN, EVENT, DATA, WHOLE, COPY .. DIGEST */
    union {
        struct {
            /* but body (see payload), key (see session). Without a payload rpc's spans do not
             * travel: an attach may come without its body. */
            struct mesh_request request;
            uint8_t hops;          /* peers asked before this one */
            bool is_owner_lost;    /* the entry cannot reach whom it takes for the owner */
            bool is_attach;        /* it was sent before, on a link that is lost */
            uint64_t lost_link;    /* is_attach: that link's number; the owner closes it unread */
            uint32_t received;     /* is_attach: whole messages of the answer that came here, */
            uint64_t serial;       /* of the answer that HEAD gave this number; 0: no HEAD came */
            struct peer_id ran_at; /* is_attach: the only peer at which it may have run; nobody:
                                      there may be several */
            bool has_position;     /* LISTEN: the client showed an event's id */
            struct event_id position; /* has_position: none if it is no id of ours */
            struct slice progress;    /* what its client was told last, a raw number of at most
                                         WIRE_PROGRESS_MAX bytes; empty: nothing */
        } open;
        struct {
            int status;
            enum mesh_form form;
            struct slice head;
            bool answers;       /* WHOLE: the payload answers the request's own id */
            uint64_t serial;    /* HEAD: tells it from one begun anew under the same name */
            struct patch patch; /* WHOLE: of the payload */
        } head;
        struct {
            bool answers; /* EVENT, DATA: this text answers the request's own id */
            struct patch patch;
            /* EVENT: */
            struct event_id
                id;            /* none: it has no number. Without payload: a place to resume from */
            uint32_t retry_ms; /* 0: not said */
            enum mesh_reason why; /* not OK: the mesh's own error; payload: the raw id it answers */
        } text;
        struct {
            enum mesh_end end;
            enum mesh_reason why; /* END, REFUSED */
        } end;
        struct {
            uint32_t wait_ms; /* NOT_YET: a good time to ask again */
        } not_yet;
        struct {
            struct peer_id unaware; /* ENDED: it did not say to me that it knows: tell it, too */
        } ended;
        struct {
            uint64_t hash; /* of the task's id */
            struct peer_id peer;
            uint32_t number; /* of the question; TASK_AT repeats it, 0: it acknowledges */
        } task;
        struct {
            uint64_t version;      /* COPY, _EVENT, _STREAM: the record's, with this in it */
            uint8_t parts;         /* COPY: which it carries, a mask of enum record_part */
            bool wants_ack;        /* at once; else it may wait for others */
            uint32_t stream;       /* _EVENT, _STREAM */
            uint64_t number;       /* _EVENT: of the event, in its stream's log */
            uint64_t delivered;    /* _EVENT: the newest that a reader took */
            bool answers, is_last; /* _EVENT; _STREAM: is_last: it ended */
            bool is_safe;          /* _STREAM: its request may run again */
            enum mesh_reason why;  /* _EVENT: as in `text` */
        } copy;
        struct {
            struct mesh_epoch other; /* VETO, CHECKED: the highest known; 0: none above */
            uint64_t version; /* HAND: of the record that goes with it; TAKE: of that which the
                                 taker has, of the epoch `other` */
            bool runs;        /* CHECKED: something but the replay ran in `other` */
            bool is_given;    /* TAKE: the owner of `other` says that it does not own it */
            bool is_end, is_refused; /* HAND and HANDED: the second step; HANDED: no */
            bool is_unheard;         /* YIELD: its own stream has events that no reader took: */
            struct event_id newest;  /* the last of them, */
            struct event_id answer;  /* and the last that is an answer, if one is */
            /* CHECK: of the question, CHECKED repeats it; 0: told unasked */
            uint64_t number;
        } round;
        uint64_t buckets[WIRE_BUCKETS];
        struct {
            uint64_t mask; /* VIEW: the buckets it is complete for */
            bool answer;   /* VIEW: send yours of these buckets */
            uint16_t count;
            struct wire_update *records; /* decode: into the caller's array, see wire_link_read */
        } view;
    };
};

/* Encodes kind and head into at most `room` bytes (WIRE_HEAD_MAX suffices for all but VIEW, for
 * which WIRE_VIEW_MAX suffice); the payload follows by itself. Returns the length, or -ENOSPC. */
int wire_link_write(const struct wire_message *m, void *into, size_t room);
/* Decodes a whole message; a datagram's rules hold for members in it, and an enum out of range, a
 * span or patch outside its payload, a payload where none belongs are refused. `text` is kept alive
 * by the caller while m's slices are used; `payload` becomes the rest behind the head. `records`
 * (room for WIRE_RECORDS_MAX) is used for VIEW. 0 or -EBADMSG. */
int wire_link_read(struct wire_message *m, struct slice text, struct wire_update *records);

/* Makes a message outlive its source: references or copies for each of its slices (not VIEW's
 * records). -ENOMEM: nothing is kept. */
int wire_message_keep(struct wire_message *m, struct bytes_budget *budget);
void wire_message_drop(struct wire_message *m);

#endif
