/* record.c - records as bytes. What is read is judged whole before anything is taken from it: a
 * copy is what it was, or what the record says. */
#include "mesh/session/record.h"

#include <errno.h>
#include <stdlib.h>

#include "mesh/session/core.h"
#include "mesh/wire/wire_record.h"

#define RECORD_STREAMS_MAX (EVENT_STREAM_SESSION_MAX / EVENT_STREAM_COST)

/* ---- writing -------------------------------------------------------------------------------- */

/* Goes through the items twice: first to count, then to write. */
struct record_writer {
    struct bytes *buf; /* NULL: counts */
    size_t room;       /* counted */
    size_t excess;     /* bytes of events that have no room: the oldest are left out */
};

static void record_put(struct record_writer *w, const struct wire_item *item)
{
    struct bytes *buf = w->buf;
    if (buf == NULL) {
        w->room += wire_item_room(item);
        return;
    }
    int length = wire_item_write(item, buf->data + buf->length, buf->capacity - buf->length);
    assert(length > 0); /* it was counted */
    buf->length += (size_t)length;
}

static void record_put_text(struct record_writer *w, enum wire_item_kind kind, struct slice text,
                            size_t max)
{
    struct wire_item item = {.kind = kind, .text = text};
    if (text.length > 0 && text.length <= max)
        record_put(w, &item);
}

static void record_put_base(struct record_writer *w, struct core *core,
                            const struct session *session, uint64_t now_ms)
{
    struct wire_item item = {.kind = WIRE_ITEM_BASE};
    item.base.who = session->who;
    item.base.is_single = session->is_single;
    item.base.has_batches = session->has_batches;
    item.base.has_marks = session->has_marks;
    item.base.is_initialized = session->is_initialized;
    item.base.is_announced = session->is_announced;
    item.base.streams_count = session->streams_count;
    item.base.upstreams = session->upstreams;
    session_left(core, session, now_ms, &item.base.idle_ms, &item.base.absolute_ms);
    item.base.params = session->params;
    item.base.result = session->result;
    record_put(w, &item);
}

static void record_put_state(struct record_writer *w, const struct session *session)
{
    struct wire_item item = {.kind = WIRE_ITEM_HOLDER};
    for (size_t n = 0; n < COPIES_HOLDERS_MAX; n++) {
        item.holder = session->holders[n].peer;
        if (!peer_id_is_nobody(item.holder))
            record_put(w, &item);
    }
    record_put_text(w, WIRE_ITEM_LEVEL, session->level, RECORD_LEVEL_MAX);
    LIST_EACH (at, &session->subscriptions)
        record_put_text(w, WIRE_ITEM_SUBSCRIPTION,
                        container_of(at, struct subscription, in_session)->uri, RECORD_URI_MAX);
    LIST_EACH (at, &session->questions)
        record_put_text(w, WIRE_ITEM_QUESTION, container_of(at, struct question, in_session)->id,
                        SESSION_QUESTION_ID_MAX);
}

static struct wire_item record_event(const struct logged *event)
{
    struct wire_item item = {.kind = WIRE_ITEM_EVENT};
    item.event.why = event->why;
    item.event.answers = event->answers;
    item.event.is_last = event->is_last;
    item.event.text = event->text;
    return item;
}

/* Where the part of its log begins that is written: behind what is too large to be copied, and what
 * has no room. */
static uint64_t record_first(struct record_writer *w, const struct event_stream *stream)
{
    uint64_t first = events_oldest(&stream->log);
    for (uint64_t number = first; number <= stream->log.number; number++)
        if (events_at(&stream->log, number)->text.length > RECORD_EVENT_MAX)
            first = number + 1;
    for (; w->excess > 0 && first <= stream->log.number; first++) {
        struct wire_item item = record_event(events_at(&stream->log, first));
        size_t bytes = wire_item_room(&item);
        w->excess -= bytes < w->excess ? bytes : w->excess;
    }
    return first;
}

static void record_put_stream(struct record_writer *w, const struct event_stream *stream)
{
    struct wire_item item = {.kind = WIRE_ITEM_STREAM};
    item.stream.number = stream->number;
    item.stream.first = record_first(w, stream);
    item.stream.delivered = stream->delivered;
    item.stream.retry_ms = stream->retry_ms;
    item.stream.is_ended = stream->is_ended;
    item.stream.is_safe = stream->is_safe;
    item.stream.request = stream->request;
    record_put(w, &item);
    for (uint32_t n = 0; n < stream->tenures_count; n++) {
        const struct event_tenure *tenure = &stream->tenures[n];
        struct wire_item each = {.kind = WIRE_ITEM_TENURE};
        each.tenure.epoch = tenure->epoch;
        each.tenure.first = tenure->first;
        each.tenure.base = tenure->base;
        record_put(w, &each);
    }
    for (uint64_t number = item.stream.first; number <= stream->log.number; number++) {
        struct wire_item each = record_event(events_at(&stream->log, number));
        record_put(w, &each);
    }
}

/* The session's own stream first, then in the order of their numbers. */
static void record_put_streams(struct record_writer *w, const struct session *session)
{
    if (session->own != NULL)
        record_put_stream(w, session->own);
    LIST_EACH (at, &session->streams) {
        struct event_stream *stream = container_of(at, struct event_stream, in_session);
        if (stream != session->own)
            record_put_stream(w, stream);
    }
}

static void record_put_parts(struct record_writer *w, struct core *core,
                             const struct session *session, unsigned parts, uint64_t now_ms)
{
    if (parts & RECORD_BASE)
        record_put_base(w, core, session, now_ms);
    if (parts & RECORD_STATE)
        record_put_state(w, session);
    if (parts & RECORD_STREAMS)
        record_put_streams(w, session);
}

struct bytes *record_write(struct core *core, const struct session *session, unsigned parts,
                           uint64_t now_ms)
{
    struct record_writer w = {0};
    record_put_parts(&w, core, session, parts, now_ms);
    w.excess = w.room > RECORD_MAX ? w.room - RECORD_MAX : 0;
    w.buf = bytes_new(&core->budget, w.room);
    if (w.buf == NULL)
        return NULL;
    record_put_parts(&w, core, session, parts, now_ms);
    return w.buf;
}

/* ---- judging -------------------------------------------------------------------------------- */

/* Is it one message of JSON-RPC of that kind? */
static bool record_is_message(struct slice text, enum rpc_kind kind, enum rpc_method method)
{
    struct rpc_message rpc;
    rpc_read(&rpc, NULL, text.at, text.length);
    return rpc.kind == kind && (kind != RPC_REQUEST || rpc.method == method);
}

/* Does it mean, between those two pieces of a request, what is said there and nothing else? */
static bool record_fits(struct slice raw, const char *before, const char *after,
                        struct rpc_message *rpc)
{
    char text[RECORD_URI_MAX + 128];
    size_t head = strlen(before), tail = strlen(after);
    if (raw.length == 0 || head + raw.length + tail > sizeof text)
        return false;
    memcpy(text, before, head);
    memcpy(text + head, raw.at, raw.length);
    memcpy(text + head + raw.length, after, tail);
    rpc_read(rpc, NULL, text, head + raw.length + tail);
    return rpc->kind == RPC_REQUEST;
}

bool record_is_id(struct slice raw, size_t max)
{
    static const char before[] = "{\"jsonrpc\":\"2.0\",\"id\":";
    struct rpc_message rpc;
    return raw.length <= max && record_fits(raw, before, ",\"method\":\"x\"}", &rpc) &&
           rpc.id.at == sizeof before - 1 && rpc.id.length == raw.length;
}

static bool record_is_uri(struct slice raw)
{
    static const char before[] =
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\",\"params\":{\"uri\":\"";
    struct rpc_message rpc;
    return raw.length <= RECORD_URI_MAX && record_fits(raw, before, "\"}}", &rpc) &&
           rpc.name.at == sizeof before - 1 && rpc.name.length == raw.length;
}

static bool record_is_handshake(struct core *core, struct slice text, enum rpc_kind kind)
{
    return text.length > 0 && text.length <= RECORD_HANDSHAKE_MAX &&
           (intern_has(&core->sessions.interns, text) ||
            record_is_message(text, kind, RPC_INITIALIZE));
}

/* How much of each kind came so far. */
struct record_counts {
    uint32_t bases, holders, levels, subscriptions, questions, streams, tenures, events;
    struct event_tenure tenure; /* the last one */
    uint32_t streams_count;     /* as BASE says, or as the copy has it */
    uint32_t stream;            /* the last number */
    bool is_in_stream;          /* what comes next may be of it */
};

static bool record_judge_stream(struct record_counts *counts, const struct wire_item *item)
{
    bool is_next = counts->streams == 0 || item->stream.number > counts->stream;
    counts->is_in_stream = true;
    counts->stream = item->stream.number;
    counts->events = counts->tenures = 0;
    return is_next && ++counts->streams <= RECORD_STREAMS_MAX &&
           item->stream.number <= counts->streams_count && item->stream.first > 0 &&
           item->stream.first < UINT64_MAX - EVENTS_MAX &&
           (item->stream.request.length == 0 ||
            record_is_id(item->stream.request, EVENT_STREAM_ID_MAX));
}

/* Its tenures are in order, and none but the last is later than the record's. */
static bool record_judge_tenure(struct record_counts *counts, const struct wire_item *item,
                                uint64_t epoch)
{
    struct event_tenure tenure = {item->tenure.epoch, item->tenure.first, item->tenure.base};
    bool is_next = counts->tenures == 0 ||
                   (tenure.epoch > counts->tenure.epoch && tenure.first >= counts->tenure.first);
    counts->tenure = tenure;
    return is_next && counts->is_in_stream && counts->events == 0 &&
           ++counts->tenures <= EVENT_STREAM_TENURES && tenure.epoch > 0 && tenure.epoch <= epoch &&
           tenure.first > tenure.base;
}

static bool record_judge_item(struct core *core, struct record_counts *counts,
                              const struct wire_item *item, unsigned parts, uint64_t epoch)
{
    if ((parts & RECORD_BASE) && counts->bases == 0 && item->kind != WIRE_ITEM_BASE)
        return false; /* it is the first */
    if (item->kind != WIRE_ITEM_TENURE && item->kind != WIRE_ITEM_EVENT)
        counts->is_in_stream = false;
    switch (item->kind) {
    case WIRE_ITEM_BASE:
        counts->streams_count = item->base.streams_count;
        return (parts & RECORD_BASE) && ++counts->bases == 1 &&
               record_is_handshake(core, item->base.params, RPC_REQUEST) &&
               record_is_handshake(core, item->base.result, RPC_RESPONSE);
    case WIRE_ITEM_HOLDER:
        return (parts & RECORD_STATE) && ++counts->holders <= COPIES_HOLDERS_MAX &&
               !peer_id_is_nobody(item->holder);
    case WIRE_ITEM_LEVEL:
        return (parts & RECORD_STATE) && ++counts->levels == 1 &&
               item->text.length <= RECORD_LEVEL_MAX &&
               record_is_message(item->text, RPC_REQUEST, RPC_SET_LEVEL);
    case WIRE_ITEM_SUBSCRIPTION:
        return (parts & RECORD_STATE) && ++counts->subscriptions <= SESSION_SUBSCRIPTIONS_MAX &&
               record_is_uri(item->text);
    case WIRE_ITEM_QUESTION:
        return (parts & RECORD_STATE) && ++counts->questions <= SESSION_QUESTIONS_MAX &&
               record_is_id(item->text, SESSION_QUESTION_ID_MAX);
    case WIRE_ITEM_STREAM:
        return (parts & RECORD_STREAMS) && record_judge_stream(counts, item);
    case WIRE_ITEM_TENURE:
        return record_judge_tenure(counts, item, epoch);
    case WIRE_ITEM_EVENT:
        return counts->is_in_stream && ++counts->events <= EVENTS_MAX &&
               item->event.text.length > 0 && item->event.text.length <= RECORD_EVENT_MAX;
    }
    return false;
}

static bool record_is_sound(struct core *core, const struct session *copy, unsigned parts,
                            struct slice rest)
{
    struct record_counts counts = {.streams_count = copy->streams_count};
    struct wire_item item;
    int rc;
    if (rest.length > RECORD_MAX || (parts & ~(unsigned)RECORD_WHOLE) != 0)
        return false;
    while ((rc = wire_item_read(&item, &rest)) > 0)
        if (!record_judge_item(core, &counts, &item, parts, session_mark(copy)))
            return false;
    return rc == 0 && counts.bases == ((parts & RECORD_BASE) != 0);
}

/* ---- reading -------------------------------------------------------------------------------- */

/* Everything in `from` goes over to `to`, which is empty. */
static void record_move(struct list *to, struct list *from)
{
    list_init(to);
    while (!list_is_empty(from)) {
        struct list *first = list_first(from);
        list_remove(first);
        list_push_back(to, first);
    }
}

static int record_take_base(struct core *core, struct session *copy, const struct wire_item *item,
                            uint64_t now_ms)
{
    int rc = session_keep_handshake(core, copy, item->base.params, item->base.result);
    if (rc < 0)
        return rc;
    copy->who = item->base.who;
    copy->is_single = item->base.is_single;
    copy->has_batches = item->base.has_batches;
    copy->has_marks = item->base.has_marks;
    copy->is_initialized = item->base.is_initialized;
    copy->is_announced = item->base.is_announced;
    copy->streams_count = item->base.streams_count;
    copy->upstreams = item->base.upstreams;
    session_set_left(core, copy, item->base.idle_ms, item->base.absolute_ms, now_ms);
    return 0;
}

/* Small texts get memory of their own: they must not pin the record. */
static int record_keep(struct core *core, struct slice *keep, struct slice text)
{
    text.buf = NULL;
    return slice_keep(keep, text, &core->budget);
}

static int record_take_subscription(struct core *core, struct session *copy, struct slice uri)
{
    struct subscription *subscription = calloc(1, sizeof *subscription);
    if (subscription == NULL || record_keep(core, &subscription->uri, uri) < 0) {
        free(subscription);
        return -ENOMEM;
    }
    list_push_back(&copy->subscriptions, &subscription->in_session);
    copy->subscriptions_count++;
    return 0;
}

static int record_take_stream(struct core *core, struct session *copy, const struct wire_item *item,
                              struct event_stream **streamp)
{
    struct event_stream *stream = event_stream_make(core, copy, item->stream.number);
    if (stream == NULL || record_keep(core, &stream->request, item->stream.request) < 0)
        return -ENOMEM;
    event_stream_skip(core, stream, item->stream.first);
    stream->retry_ms = item->stream.retry_ms;
    stream->is_safe = item->stream.is_safe;
    *streamp = stream;
    return 0;
}

/* Its events are there: what holds of it after them. */
static void record_finish_stream(struct core *core, struct event_stream *stream,
                                 const struct wire_item *head, uint64_t now_ms)
{
    uint64_t delivered = head->stream.delivered;
    if (stream == NULL)
        return;
    stream->delivered = delivered < stream->log.number ? delivered : stream->log.number;
    if (head->stream.is_ended)
        event_stream_end(core, stream, now_ms);
}

/* Into parts that were emptied before. A stream of which no tenure is named is of this one. */
static int record_fill(struct core *core, struct session *copy, struct slice rest, uint64_t now_ms)
{
    struct event_stream *stream = NULL;
    struct wire_item item, head = {0};
    size_t holders = 0;
    uint32_t tenures = 0;
    int rc = 0;
    while (rc == 0 && wire_item_read(&item, &rest) > 0) {
        if (item.kind != WIRE_ITEM_TENURE && item.kind != WIRE_ITEM_EVENT) {
            record_finish_stream(core, stream, &head, now_ms);
            stream = NULL;
        }
        switch (item.kind) {
        case WIRE_ITEM_BASE:
            rc = record_take_base(core, copy, &item, now_ms);
            break;
        case WIRE_ITEM_HOLDER:
            copy->holders[holders++].peer = item.holder;
            break;
        case WIRE_ITEM_LEVEL:
            rc = record_keep(core, &copy->level, item.text);
            break;
        case WIRE_ITEM_SUBSCRIPTION:
            rc = record_take_subscription(core, copy, item.text);
            break;
        case WIRE_ITEM_QUESTION:
            rc = session_take_question(core, copy, item.text);
            break;
        case WIRE_ITEM_STREAM:
            head = item;
            rc = record_take_stream(core, copy, &item, &stream);
            tenures = 0;
            break;
        case WIRE_ITEM_TENURE:
            stream->tenures[tenures++] =
                (struct event_tenure){item.tenure.epoch, item.tenure.first, item.tenure.base};
            stream->tenures_count = tenures;
            break;
        case WIRE_ITEM_EVENT: {
            struct logged event = {.text = item.event.text,
                                   .why = item.event.why,
                                   .answers = item.event.answers,
                                   .is_last = item.event.is_last};
            event.text.buf = NULL;
            event_stream_add(core, stream, &event, now_ms);
            break;
        }
        }
    }
    if (rc == 0)
        record_finish_stream(core, stream, &head, now_ms);
    return rc;
}

/* What a session has of those parts, put aside, but for BASE. */
struct record_aside {
    struct list subscriptions, questions, streams;
    uint32_t subscriptions_count, questions_count;
    struct slice level;
    struct event_stream *own;
    struct holder holders[COPIES_HOLDERS_MAX];
};

static void record_put_aside(struct session *copy, unsigned parts, struct record_aside *aside)
{
    if (parts & RECORD_STATE) {
        record_move(&aside->subscriptions, &copy->subscriptions);
        record_move(&aside->questions, &copy->questions);
        aside->subscriptions_count = copy->subscriptions_count;
        aside->questions_count = copy->questions_count;
        aside->level = copy->level;
        memcpy(aside->holders, copy->holders, sizeof aside->holders);
        copy->subscriptions_count = copy->questions_count = 0;
        copy->level = (struct slice){0};
        memset(copy->holders, 0, sizeof copy->holders);
    }
    if (parts & RECORD_STREAMS) {
        record_move(&aside->streams, &copy->streams);
        aside->own = copy->own;
        copy->own = NULL;
    }
}

static void record_drop(struct core *core, struct session *copy, unsigned parts)
{
    if (parts & RECORD_STATE) {
        session_drop_subscriptions(copy);
        session_drop_questions(copy);
        slice_drop(&copy->level);
    }
    if (parts & RECORD_STREAMS)
        event_stream_free_all(core, copy);
}

static void record_put_back(struct session *copy, unsigned parts, struct record_aside *aside)
{
    if (parts & RECORD_STATE) {
        record_move(&copy->subscriptions, &aside->subscriptions);
        record_move(&copy->questions, &aside->questions);
        copy->subscriptions_count = aside->subscriptions_count;
        copy->questions_count = aside->questions_count;
        copy->level = aside->level;
        memcpy(copy->holders, aside->holders, sizeof copy->holders);
    }
    if (parts & RECORD_STREAMS) {
        record_move(&copy->streams, &aside->streams);
        copy->own = aside->own;
    }
}

int record_read(struct core *core, struct session *copy, unsigned parts, struct slice record,
                uint64_t now_ms)
{
    struct record_aside before = {0}, after = {0};
    assert(copy->is_copy);
    if (!record_is_sound(core, copy, parts, record))
        return -EBADMSG;
    record_put_aside(copy, parts, &before);
    int rc = record_fill(core, copy, record, now_ms);
    if (rc < 0) {
        record_drop(core, copy, parts);
        record_put_back(copy, parts, &before);
        return rc;
    }
    /* the former ones go as they would have gone from the session */
    record_put_aside(copy, parts, &after);
    record_put_back(copy, parts, &before);
    record_drop(core, copy, parts);
    record_put_back(copy, parts, &after);
    return 0;
}
