/* event_stream.h - the event streams of a session: its own (number 0) and one for each POST that is
 * answered by events. Each has a log, at most one reader, and goes on without one: who comes back
 * gets what it missed (DESIGN §8; MCP 2025-11-25, transports, resumability). Which message belongs
 * to which stream is session.c's question. */
#ifndef MESH_EVENT_STREAM_H
#define MESH_EVENT_STREAM_H

#include "mesh/session/events.h"
#include "mesh/base/list.h"

#define EVENT_STREAM_KEPT_MS (5u * 60 * 1000) /* an ended one is forgotten then */
#define EVENT_STREAM_ORPHAN_MS                                                                     \
    15000 /* without a source for so long, its request's outcome is unknown */
#define EVENT_STREAM_SESSION_MAX (1u << 20) /* bytes of all logs of a session */
#define EVENT_STREAM_ID_MAX 256             /* bytes of a request's raw id that is kept */
#define EVENT_STREAM_COST 384               /* bytes that a stream costs beside its log */
#define EVENT_STREAM_TENURES 8              /* of one stream, whose ids are understood */

struct core;
struct session;
struct call;

/* A log's numbers go on through all tenures of its session; an id shows the number less `base`:
 * after a hand-over that of the tenure before, so that ids go on; after a takeover all that was
 * given before, so that they begin at 1 (mcp.md §4.2 rule 7). */
struct event_tenure {
    uint64_t epoch;       /* its session's mark then */
    uint64_t first, base; /* in the log's numbers; its events end where the next one's begin */
};

struct event_stream {
    struct list in_session;
    struct list in_ended; /* of all sessions, the first to be forgotten first */
    struct handle session;
    uint32_t number;
    struct handle source;   /* the call that feeds it; zero: the session's own, it ended, or: */
    struct list in_orphans; /* its source went with another owner: it waits for the next, */
    uint64_t orphaned_ms;   /* since then */
    struct handle reader;
    struct events log;
    struct event_tenure tenures[EVENT_STREAM_TENURES]; /* the oldest first; one at least */
    uint32_t tenures_count;
    uint64_t delivered;   /* the newest that a reader took */
    uint32_t retry_ms;    /* asked for by the upstream; 0: not */
    struct slice request; /* of a POST that is not ended: the raw id of its request; empty: none */
    bool is_safe;         /* likewise: it may run again */
    bool is_ended;
    uint64_t ended_ms;
};

struct event_streams {
    struct list ended;
    struct list orphans; /* of all sessions, the first to be given up first */
    size_t bytes;        /* of all logs, EVENT_STREAM_COST for each included */
};

void event_stream_init(struct core *core);
/* The session's own, made when first asked for. NULL: no memory. */
struct event_stream *event_stream_own(struct core *core, struct session *session);
/* A new one for a POST, of that number if it is free; 0: the next one. NULL: no memory: its events
 * have no numbers. */
struct event_stream *event_stream_open(struct core *core, struct session *session,
                                       struct call *source, uint32_t number);
/* HTTP+SSE: this request was accepted, and is answered on the session's own stream. So long as it
 * is not, copies have it as a stream on which nothing comes. */
void event_stream_accept(struct core *core, struct session *session, struct call *source,
                         uint64_t now_ms);
/* The session's own stream is read: what another owner accepted and did not answer is lost. If the
 * reader had more of it than we have (has_gap), its answer may have been there. */
void event_stream_accepted_lost(struct core *core, struct session *session, bool has_gap,
                                uint64_t now_ms);
/* Of a copy: the stream of that number, without a source. NULL: no memory. */
struct event_stream *event_stream_make(struct core *core, struct session *session, uint32_t number);
/* Of a copy: nothing that came before that number is kept, and the next event has it. */
void event_stream_skip(struct core *core, struct event_stream *stream, uint64_t next);
/* NULL: never was, or is forgotten. */
struct event_stream *event_stream_find(struct session *session, uint32_t number);
/* That of a POST which this id names. NULL: likewise, or it is of a tenure that we know nothing of:
 * another owner may have given this number to another request's stream (invariant E3). */
struct event_stream *event_stream_shown(struct session *session, const struct event_id *id);
/* The session's epoch is a new one: ids of what is added to its streams from now on are of it. */
void event_stream_new_tenure(struct core *core, struct session *session, bool is_handover);
void event_stream_free_all(struct core *core, struct session *session);

/* One more event: numbered, logged, given to the reader if there is one. */
void event_stream_add(struct core *core, struct event_stream *stream, const struct logged *event,
                      uint64_t now_ms);
/* The upstream asks for this time before its clients come back. */
void event_stream_retry(struct core *core, struct event_stream *stream, uint32_t retry_ms);
/* Nothing more will come. */
void event_stream_end(struct core *core, struct event_stream *stream, uint64_t now_ms);

/* Makes the call its reader, from behind the event of that number, and gives it what is kept; what
 * is not kept any more, and a position that is not one of this stream's (has_gap), is said. */
void event_stream_read(struct core *core, struct event_stream *stream, struct call *reader,
                       uint64_t after, bool has_gap, uint64_t now_ms);
/* Where a reader goes on that shows this id: behind that event; if its tenure gave more than we
 * have, or is none that we know, behind what is surely common to both, and *has_gap. */
uint64_t event_stream_after(const struct event_stream *stream, const struct event_id *shown,
                            bool *has_gap);
/* Answers of this tenure that no reader took. */
bool event_stream_has_answers(const struct event_stream *stream);
/* It reads no more. */
void event_stream_leave(struct core *core, struct call *reader);
/* Its answer was taken up to this event. */
void event_stream_delivered(struct core *core, struct call *reader);
/* Events that no reader took; `newest`: the last of them; `answer`: the last that is an answer. */
bool event_stream_unheard(const struct event_stream *stream, struct event_id *newest,
                          struct event_id *answer);
/* It is an event that we never had. */
bool event_stream_lacks(const struct event_stream *stream, const struct event_id *id);
/* Its session's owner of a while ago, on the other side of a split, had these: where we have them
 * not, that is one more event. */
void event_stream_on_unheard(struct core *core, struct event_stream *stream,
                             const struct event_id *newest, uint64_t now_ms);
/* Says to a reader whose stream nobody knows any more that its rest is lost, under an id after
 * which nothing comes. */
void event_stream_say_lost(struct core *core, struct call *reader);

/* All streams of requests that nobody feeds: the session is another owner's no more. */
void event_stream_orphan(struct core *core, struct session *session, uint64_t now_ms);
/* The session is another owner's: what they wait for is not ours to end. */
void event_stream_not_ours(struct session *session);
/* Its request was sent again: this call feeds it from now on. */
void event_stream_adopt(struct core *core, struct event_stream *stream, struct call *source);
/* The call feeds it no more, for it goes to another owner: as in a copy, it waits for the next. */
void event_stream_let_go(struct core *core, struct call *source);
/* Its request will not be answered: that is its last event, and whoever reads it hears so. */
void event_stream_fail(struct core *core, struct event_stream *stream, enum mesh_reason why,
                       uint64_t now_ms);
static inline bool event_stream_is_orphan(const struct event_stream *stream)
{
    return stream->orphaned_ms != 0;
}

/* Forgets what is old, or too much. */
void event_stream_now(struct core *core, uint64_t now_ms);
uint64_t event_stream_deadline_ms(const struct core *core);

#endif
