/* event_stream.c - streams with logs, and their readers. */
#include "mesh/session/event_stream.h"

#include <stdlib.h>

#include "mesh/session/core.h"

static const char missed_text[] =
    "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"warning\","
    "\"logger\":\"session-mesh\",\"data\":\"events of this stream were missed: they are not kept "
    "any more\"}}";

void event_stream_init(struct core *core)
{
    list_init(&core->streams.ended);
    list_init(&core->streams.orphans);
    core->streams.bytes = 0;
}

static void event_stream_count(struct core *core, struct session *session, size_t before,
                               size_t after)
{
    core->streams.bytes += after - before;
    session->log_bytes += after - before;
    if (session->is_copy)
        core->copies.bytes += after - before;
}

/* ---- tenures -------------------------------------------------------------------------------- */

/* NULL: none that is known. */
static const struct event_tenure *event_stream_tenure(const struct event_stream *stream,
                                                      uint64_t epoch)
{
    for (uint32_t n = stream->tenures_count; n-- > 0;)
        if (stream->tenures[n].epoch == epoch)
            return &stream->tenures[n];
    return NULL;
}

static uint64_t event_stream_epoch(const struct event_stream *stream)
{
    return stream->tenures[stream->tenures_count - 1].epoch;
}

/* The newest number that a tenure gave. */
static uint64_t event_stream_last_of(const struct event_stream *stream,
                                     const struct event_tenure *tenure)
{
    bool is_present = tenure->epoch == event_stream_epoch(stream);
    return is_present ? stream->log.number : tenure[1].first - 1;
}

/* Events before the oldest tenure have no name any more. */
static void event_stream_drop_oldest_tenure(struct core *core, struct event_stream *stream)
{
    size_t before = stream->log.bytes;
    struct event_tenure *at = stream->tenures;
    memmove(at, at + 1, --stream->tenures_count * sizeof *at);
    while (events_oldest(&stream->log) < at->first && events_drop_oldest(&stream->log))
        ;
    event_stream_count(core, session_at(core, stream->session), before, stream->log.bytes);
}

void event_stream_new_tenure(struct core *core, struct session *session, bool is_handover)
{
    LIST_EACH (at, &session->streams) {
        struct event_stream *stream = container_of(at, struct event_stream, in_session);
        if (stream->is_ended)
            continue; /* nothing is added to it any more */
        const struct event_tenure *last = &stream->tenures[stream->tenures_count - 1];
        uint64_t base = is_handover ? last->base : stream->log.number;
        if (stream->tenures_count == EVENT_STREAM_TENURES)
            event_stream_drop_oldest_tenure(core, stream);
        stream->tenures[stream->tenures_count++] =
            (struct event_tenure){session_mark(session), stream->log.number + 1, base};
    }
}

/* Of an event, or (is_place) of a place behind one, which is also the beginning of a tenure. */
static struct event_id event_stream_id(const struct event_stream *stream, uint64_t number,
                                       bool is_place)
{
    const struct event_tenure *tenure = &stream->tenures[stream->tenures_count - 1];
    while (tenure > stream->tenures && tenure->first > number + is_place)
        tenure--;
    uint64_t shown = number > tenure->base ? number - tenure->base : 0;
    return (struct event_id){.stream = stream->number, .epoch = tenure->epoch, .number = shown};
}

/* ---- making and forgetting ------------------------------------------------------------------ */

/* Streams stand in the order of their numbers, as in the record, which nobody takes otherwise: one
 * that its client holds, and a former owner had, may come after later ones. */
static void event_stream_insert(struct session *session, struct event_stream *stream)
{
    struct list *at = session->streams.prev;
    while (at != &session->streams &&
           container_of(at, struct event_stream, in_session)->number > stream->number)
        at = at->prev;
    list_push_front(at, &stream->in_session); /* behind it */
}

static struct event_stream *event_stream_new(struct core *core, struct session *session,
                                             uint32_t number)
{
    struct event_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL)
        return NULL;
    events_init(&stream->log);
    stream->number = number;
    stream->session = session->self;
    stream->tenures[0] = (struct event_tenure){session_mark(session), 1, 0};
    stream->tenures_count = 1;
    event_stream_insert(session, stream);
    event_stream_count(core, session, 0, EVENT_STREAM_COST);
    return stream;
}

static void event_stream_free(struct core *core, struct event_stream *stream)
{
    struct session *session = session_at(core, stream->session);
    struct call *source = call_at(core, stream->source), *reader = call_at(core, stream->reader);
    if (source != NULL)
        source->stream = NULL;
    if (reader != NULL)
        reader->stream = NULL;
    event_stream_count(core, session, EVENT_STREAM_COST + stream->log.bytes, 0);
    list_remove(&stream->in_session);
    list_remove(&stream->in_ended);
    list_remove(&stream->in_orphans);
    slice_drop(&stream->request);
    events_deinit(&stream->log);
    if (session->own == stream)
        session->own = NULL;
    free(stream);
}

struct event_stream *event_stream_own(struct core *core, struct session *session)
{
    if (session->own == NULL)
        session->own = event_stream_new(core, session, 0);
    return session->own;
}

struct event_stream *event_stream_make(struct core *core, struct session *session, uint32_t number)
{
    struct event_stream *stream = event_stream_new(core, session, number);
    if (stream != NULL && number == 0)
        session->own = stream;
    return stream;
}

struct event_stream *event_stream_open(struct core *core, struct session *session,
                                       struct call *source, uint32_t number)
{
    if (number == 0 || event_stream_find(session, number) != NULL)
        number = session->streams_count + 1;
    struct event_stream *stream = event_stream_new(core, session, number);
    if (stream == NULL)
        return NULL;
    if (session->streams_count < number)
        session->streams_count = number;
    stream->source = stream->reader = source->self;
    source->stream = stream;
    stream->is_safe = !source->is_unsafe;
    if (call_is_request(source) && call_id(source).length <= EVENT_STREAM_ID_MAX)
        (void)slice_keep(&stream->request, call_id(source), &core->budget);
    return stream;
}

void event_stream_accept(struct core *core, struct session *session, struct call *source,
                         uint64_t now_ms)
{
    struct event_stream *stream =
        source->stream == NULL ? event_stream_open(core, session, source, 0) : NULL;
    if (stream == NULL)
        return; /* it runs again, or there is no memory */
    stream->reader = (struct handle){0};
    copies_on_stream(core, session, stream, now_ms);
}

/* What it is to say is said on the session's own. */
static bool event_stream_is_accepted(const struct session *session,
                                     const struct event_stream *stream)
{
    return session->is_single && stream->number != 0;
}

struct event_stream *event_stream_find(struct session *session, uint32_t number)
{
    LIST_EACH (at, &session->streams) {
        struct event_stream *stream = container_of(at, struct event_stream, in_session);
        if (stream->number == number)
            return stream;
    }
    return NULL;
}

struct event_stream *event_stream_shown(struct session *session, const struct event_id *id)
{
    struct event_stream *stream = event_stream_find(session, id->stream);
    return stream != NULL && event_stream_tenure(stream, id->epoch) != NULL ? stream : NULL;
}

void event_stream_free_all(struct core *core, struct session *session)
{
    struct list *at;
    while ((at = list_first(&session->streams)) != NULL)
        event_stream_free(core, container_of(at, struct event_stream, in_session));
}

/* The stream of the session whose log holds most; NULL: none has an event to spare. */
static struct event_stream *event_stream_largest(struct session *session)
{
    struct event_stream *largest = NULL;
    LIST_EACH (at, &session->streams) {
        struct event_stream *stream = container_of(at, struct event_stream, in_session);
        if (stream->log.count > 1 && (largest == NULL || stream->log.bytes > largest->log.bytes))
            largest = stream;
    }
    return largest;
}

/* The oldest that ended goes first, then the oldest events of the one that holds most. */
static void event_stream_trim(struct core *core, struct session *session)
{
    while (session->log_bytes > EVENT_STREAM_SESSION_MAX) {
        struct event_stream *victim = NULL;
        LIST_EACH (at, &session->streams) {
            victim = container_of(at, struct event_stream, in_session);
            if (victim->is_ended)
                break;
            victim = NULL;
        }
        if (victim != NULL) {
            event_stream_free(core, victim);
            continue;
        }
        victim = event_stream_largest(session);
        if (victim == NULL)
            return;
        size_t before = victim->log.bytes;
        (void)events_drop_oldest(&victim->log);
        event_stream_count(core, session, before, victim->log.bytes);
    }
}

/* The logs of all sessions leave room for what is under way: where none that ended is left to give
 * way, who adds to its log loses its past. */
static void event_stream_yield(struct core *core, struct event_stream *stream)
{
    size_t before = stream->log.bytes;
    size_t rest = core->streams.bytes - before;
    while (list_is_empty(&core->streams.ended) && stream->log.count > 1 &&
           rest + stream->log.bytes > core->config.memory_max / 2)
        (void)events_drop_oldest(&stream->log);
    event_stream_count(core, session_at(core, stream->session), before, stream->log.bytes);
}

/* ---- events --------------------------------------------------------------------------------- */

static void event_stream_tell(struct core *core, const struct event_stream *stream,
                              struct call *reader, const struct logged *event, uint64_t number)
{
    struct wire_message m = {.kind = WIRE_EVENT, .payload = event->text};
    m.text.answers = event->answers;
    m.text.why = event->why;
    m.text.id = event_stream_id(stream, number, false);
    m.text.id.is_last = event->is_last;
    call_add(core, reader, &m);
}

/* From now on the reader is expected to take something. */
static void event_stream_expect(struct core *core, struct call *reader, uint64_t now_ms)
{
    if (reader->stall_at_ms != 0)
        return;
    reader->progress_ms = now_ms;
    reader->stall_at_ms = now_ms + CALL_STALL_MS;
    call_arm(core, reader);
}

void event_stream_add(struct core *core, struct event_stream *stream, const struct logged *event,
                      uint64_t now_ms)
{
    struct session *session = session_at(core, stream->session);
    struct call *reader = call_at(core, stream->reader);
    struct logged kept;
    size_t before = stream->log.bytes;
    (void)events_add(&stream->log, event, &core->budget, &kept);
    event_stream_count(core, session, before, stream->log.bytes);
    copies_on_event(core, session, stream, &kept, stream->log.number, now_ms);
    if (reader != NULL) {
        event_stream_tell(core, stream, reader, &kept, stream->log.number);
        event_stream_expect(core, reader, now_ms);
    }
    event_stream_trim(core, session);
    event_stream_yield(core, stream);
}

void event_stream_skip(struct core *core, struct event_stream *stream, uint64_t next)
{
    size_t before = stream->log.bytes;
    events_skip(&stream->log, next);
    event_stream_count(core, session_at(core, stream->session), before, stream->log.bytes);
}

static void event_stream_tell_retry(struct core *core, struct call *reader, uint32_t retry_ms)
{
    struct wire_message m = {.kind = WIRE_EVENT};
    m.text.retry_ms = retry_ms;
    call_add(core, reader, &m);
}

void event_stream_retry(struct core *core, struct event_stream *stream, uint32_t retry_ms)
{
    struct call *reader = call_at(core, stream->reader);
    if (stream->retry_ms == retry_ms)
        return;
    stream->retry_ms = retry_ms;
    if (reader != NULL)
        event_stream_tell_retry(core, reader, retry_ms);
}

/* ---- without a source ----------------------------------------------------------------------- */

void event_stream_orphan(struct core *core, struct session *session, uint64_t now_ms)
{
    if (session->is_single) /* it ends with its stream, which somebody may hold or not */
        (void)event_stream_own(core, session);
    LIST_EACH (at, &session->streams) {
        struct event_stream *stream = container_of(at, struct event_stream, in_session);
        if (stream->is_ended || call_at(core, stream->source) != NULL ||
            (stream->number == 0 && !session->is_single))
            continue;
        stream->source = (struct handle){0};
        stream->orphaned_ms = now_ms + 1;
        list_remove(&stream->in_orphans);
        list_push_back(&core->streams.orphans, &stream->in_orphans);
    }
}

static void event_stream_found(struct event_stream *stream)
{
    list_remove(&stream->in_orphans);
    stream->orphaned_ms = 0;
}

void event_stream_not_ours(struct session *session)
{
    LIST_EACH (at, &session->streams)
        event_stream_found(container_of(at, struct event_stream, in_session));
}

void event_stream_adopt(struct core *core, struct event_stream *stream, struct call *source)
{
    (void)core;
    event_stream_found(stream);
    stream->source = source->self;
    source->stream = stream;
}

void event_stream_let_go(struct core *core, struct call *source)
{
    struct event_stream *stream = source->stream;
    if (stream == NULL || !handle_equal(stream->source, source->self))
        return;
    event_stream_leave(core, source);
    stream->source = (struct handle){0};
    source->stream = NULL;
}

void event_stream_fail(struct core *core, struct event_stream *stream, enum mesh_reason why,
                       uint64_t now_ms)
{
    struct session *session = session_at(core, stream->session);
    struct event_stream *on = stream;
    struct logged event = {.text = stream->request, .why = why, .answers = true};
    if (stream->request.length == 0) /* of a batch: its ids are not known */
        event = (struct logged){.text = slice_text(missed_text)};
    if (event_stream_is_accepted(session, stream)) {
        on = event_stream_own(core, session);
        session->has_run = true; /* whoever has it back may know another outcome, and say that */
    }
    event.is_last = on == stream;
    if (on != NULL)
        event_stream_add(core, on, &event, now_ms);
    event_stream_end(core, stream, now_ms);
}

void event_stream_accepted_lost(struct core *core, struct session *session, bool has_gap,
                                uint64_t now_ms)
{
    LIST_EACH_SAFE (at, after, &session->streams) {
        struct event_stream *stream = container_of(at, struct event_stream, in_session);
        if (!event_stream_is_accepted(session, stream) || !event_stream_is_orphan(stream))
            continue;
        if (has_gap)
            event_stream_end(core, stream, now_ms);
        else
            event_stream_fail(core, stream, MESH_OUTCOME_UNKNOWN, now_ms);
    }
}

void event_stream_end(struct core *core, struct event_stream *stream, uint64_t now_ms)
{
    struct call *reader = call_at(core, stream->reader), *source = call_at(core, stream->source);
    struct session *session = session_at(core, stream->session);
    event_stream_found(stream);
    stream->is_ended = true;
    stream->ended_ms = now_ms;
    stream->source = stream->reader = (struct handle){0};
    slice_drop(&stream->request);
    list_push_back(&core->streams.ended, &stream->in_ended);
    copies_on_stream(core, session, stream, now_ms);
    if (source != NULL)
        source->stream = NULL;
    if (event_stream_is_accepted(session, stream)) { /* nobody comes back for that */
        event_stream_free(core, stream);
        return;
    }
    if (reader == NULL || reader == source)
        return;
    reader->stream = NULL;
    call_end(core, reader, MESH_END_WHOLE, MESH_OK, now_ms);
}

/* ---- readers -------------------------------------------------------------------------------- */

static void event_stream_say_missed(struct core *core, struct call *reader, struct event_id id)
{
    struct wire_message m = {.kind = WIRE_EVENT, .payload = slice_text(missed_text)};
    m.text.id = id;
    call_add(core, reader, &m);
}

void event_stream_say_lost(struct core *core, struct call *reader)
{
    struct event_id id = reader->position;
    id.is_last = true;
    event_stream_say_missed(core, reader, id);
}

/* Of a tenure that is not known: who was in it has had all that came before it, and before ours of
 * its counter, if it was that one's rival. */
static uint64_t event_stream_before(const struct event_stream *stream, uint64_t epoch)
{
    const struct event_tenure *at = stream->tenures;
    if (epoch == 0 ||
        session_mark_counter(epoch) > session_mark_counter(event_stream_epoch(stream)))
        return stream->delivered; /* no id of ours */
    while (session_mark_counter(at->epoch) < session_mark_counter(epoch))
        at++;
    return at->first - 1;
}

uint64_t event_stream_after(const struct event_stream *stream, const struct event_id *shown,
                            bool *has_gap)
{
    const struct event_tenure *tenure = event_stream_tenure(stream, shown->epoch);
    *has_gap = true;
    if (tenure == NULL)
        return event_stream_before(stream, shown->epoch);
    uint64_t last = event_stream_last_of(stream, tenure), place = tenure->base + shown->number;
    if (shown->number > last - tenure->base) /* nobody gave it, or who did had more than we have */
        return tenure->epoch == event_stream_epoch(stream) ? stream->delivered : last;
    *has_gap = false;
    return place < tenure->first ? tenure->first - 1 : place;
}

/* As the reader knows it, if it does: a place between two tenures has a name in each. */
static struct event_id event_stream_place(const struct event_stream *stream,
                                          const struct call *reader, uint64_t number, bool has_gap)
{
    const struct event_id *shown = &reader->position;
    bool is_known = !has_gap && !event_id_is_none(shown) && shown->stream == stream->number;
    return is_known ? *shown : event_stream_id(stream, number, true);
}

void event_stream_read(struct core *core, struct event_stream *stream, struct call *reader,
                       uint64_t after, bool has_gap, uint64_t now_ms)
{
    const struct session *session = session_at(core, stream->session);
    uint64_t next = after + 1;
    stream->reader = reader->self;
    reader->stream = stream;
    if (stream->number == 0)
        event_stream_found(stream);
    if (next < events_oldest(&stream->log)) {
        next = events_oldest(&stream->log);
        has_gap = true;
    }
    /* an id from the start, so that no loss comes before the first one (MCP 2025-11-25; clients of
     * earlier revisions cannot read an event without data) */
    if (session->has_marks) {
        struct wire_message mark = {.kind = WIRE_EVENT};
        mark.text.id = event_stream_place(stream, reader, next - 1, has_gap);
        mark.text.retry_ms = stream->retry_ms;
        call_add(core, reader, &mark);
    } else if (stream->retry_ms != 0) {
        event_stream_tell_retry(core, reader, stream->retry_ms);
    }
    if (has_gap)
        event_stream_say_missed(core, reader, (struct event_id){0});
    for (; next <= stream->log.number; next++) {
        const struct logged *event = events_at(&stream->log, next);
        event_stream_tell(core, stream, reader, event, next);
        event_stream_expect(core, reader, now_ms);
    }
}

static bool event_is_answer(const struct logged *event)
{
    struct rpc_message rpc;
    rpc_read(&rpc, NULL, event->text.at, event->text.length);
    return event->answers || rpc.kind == RPC_RESPONSE || rpc.kind == RPC_ERROR;
}

/* The newest answer that no reader took; 0: none is kept. */
static uint64_t event_stream_newest_answer(const struct event_stream *stream)
{
    uint64_t number = stream->log.number, oldest = events_oldest(&stream->log);
    while (number > stream->delivered && number >= oldest &&
           !event_is_answer(events_at(&stream->log, number)))
        number--;
    return number > stream->delivered && number >= oldest ? number : 0;
}

bool event_stream_has_answers(const struct event_stream *stream)
{
    uint64_t number = event_stream_newest_answer(stream);
    return number > 0 && number >= stream->tenures[stream->tenures_count - 1].first;
}

void event_stream_leave(struct core *core, struct call *reader)
{
    struct event_stream *stream = reader->stream;
    (void)core;
    if (stream == NULL || !handle_equal(stream->reader, reader->self))
        return;
    stream->reader = (struct handle){0};
    if (!handle_equal(stream->source, reader->self))
        reader->stream = NULL;
}

void event_stream_delivered(struct core *core, struct call *reader)
{
    struct event_stream *stream = reader->stream;
    const struct event_id *taken = &reader->answer.taken;
    bool has_gap = true;
    if (stream == NULL || !handle_equal(stream->reader, reader->self))
        return;
    uint64_t number = event_stream_after(stream, taken, &has_gap);
    if (has_gap || number <= stream->delivered)
        return;
    size_t before = stream->log.bytes;
    stream->delivered = number;
    events_delivered(&stream->log, stream->delivered);
    event_stream_count(core, session_at(core, stream->session), before, stream->log.bytes);
}

bool event_stream_unheard(const struct event_stream *stream, struct event_id *newest,
                          struct event_id *answer)
{
    uint64_t number = event_stream_newest_answer(stream);
    *newest = event_stream_id(stream, stream->log.number, false);
    *answer = number > 0 ? event_stream_id(stream, number, false) : (struct event_id){0};
    return stream->log.number > stream->delivered;
}

bool event_stream_lacks(const struct event_stream *stream, const struct event_id *id)
{
    bool has_gap = false;
    if (!event_id_is_none(id))
        (void)event_stream_after(stream, id, &has_gap);
    return has_gap;
}

void event_stream_on_unheard(struct core *core, struct event_stream *stream,
                             const struct event_id *newest, uint64_t now_ms)
{
    struct logged event = {.text = slice_text(missed_text)};
    if (event_stream_lacks(stream, newest))
        event_stream_add(core, stream, &event, now_ms);
}

/* ---- time ----------------------------------------------------------------------------------- */

void event_stream_now(struct core *core, uint64_t now_ms)
{
    struct list *at;
    while ((at = list_first(&core->streams.orphans)) != NULL) {
        struct event_stream *oldest = container_of(at, struct event_stream, in_orphans);
        if (oldest->orphaned_ms + EVENT_STREAM_ORPHAN_MS > now_ms)
            break;
        if (oldest->number != 0)
            event_stream_fail(core, oldest, MESH_OUTCOME_UNKNOWN, now_ms);
        else
            serve_end_session(core, session_at(core, oldest->session), MESH_SESSION_ENDED, now_ms);
    }
    /* all logs together leave room for what is under way */
    while ((at = list_first(&core->streams.ended)) != NULL) {
        struct event_stream *oldest = container_of(at, struct event_stream, in_ended);
        if (oldest->ended_ms + EVENT_STREAM_KEPT_MS > now_ms &&
            core->streams.bytes <= core->config.memory_max / 2)
            break;
        event_stream_free(core, oldest);
    }
}

uint64_t event_stream_deadline_ms(const struct core *core)
{
    const struct list *ended = list_first(&core->streams.ended);
    const struct list *orphan = list_first(&core->streams.orphans);
    uint64_t forget_ms = MESH_NEVER, fail_ms = MESH_NEVER;
    if (ended != NULL)
        forget_ms =
            container_of(ended, struct event_stream, in_ended)->ended_ms + EVENT_STREAM_KEPT_MS;
    if (orphan != NULL)
        fail_ms = container_of(orphan, struct event_stream, in_orphans)->orphaned_ms +
                  EVENT_STREAM_ORPHAN_MS;
    return forget_ms < fail_ms ? forget_ms : fail_ms;
}
