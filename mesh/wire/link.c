/* link.c - a link's state, and what comes in: handshake, records, frames, events. What goes out is
 * made in link_out.c; streams and their credit are stream.c's. */
#include "mesh/wire/link.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "mesh/wire/frame.h"
#include "mesh/wire/stream.h"

int link_init(struct link *link, const struct link_config *config, uint64_t now_ms)
{
    memset(link, 0, sizeof *link);
    link->is_dialler = config->is_dialler;
    link->expected = config->expected;
    link->self = (struct tunnel_peer){config->self, config->nonce};
    link->ring = config->ring;
    link->rng = config->rng;
    link->budget = config->budget;
    link->now_ms = link->heard_ms = now_ms;
    link->hello_deadline_ms = now_ms + LINK_DEADLINE_MS;
    link->reports_at_ms = link->admit_at_ms = MESH_NEVER;
    link->hello = malloc(sizeof *link->hello);
    if (streams_init(link) < 0 || link->hello == NULL) {
        link_deinit(link);
        return -ENOMEM;
    }
    tunnel_begin(link->hello, link->is_dialler, link->self, link->ring,
                 seal_ring_turn(link->ring, config->key_turn), config->no_aes, link->rng);
    if (link->is_dialler) {
        link->greeting = bytes_new(NULL, TUNNEL_HELLO_MAX);
        if (link->greeting == NULL) {
            link_deinit(link);
            return -ENOMEM;
        }
        link->greeting->length = tunnel_write_hello(link->hello, link->greeting->data);
    }
    return 0;
}

static void drop_hello(struct link *link)
{
    if (link->hello != NULL)
        tunnel_wipe(link->hello);
    free(link->hello);
    link->hello = NULL;
}

static void drop_input(struct link *link)
{
    bytes_unref(link->partial);
    bytes_unref(link->plain);
    bytes_unref(link->told);
    link->partial = link->plain = link->told = NULL;
    link->input = (struct slice){0};
}

void link_deinit(struct link *link)
{
    if (link == NULL)
        return;
    drop_hello(link);
    drop_input(link);
    bytes_unref(link->greeting);
    link->greeting = NULL;
    streams_deinit(link);
    tunnel_half_wipe(&link->in);
    tunnel_half_wipe(&link->out);
    link->state = LINK_DOWN;
    link->failure_told = true;
}

void link_fail(struct link *link, enum link_failure failure)
{
    if (link->state == LINK_DOWN)
        return;
    link->state = LINK_DOWN;
    link->failure = failure;
    drop_hello(link);
}

void link_now(struct link *link, uint64_t now_ms)
{
    link->now_ms = now_ms;
    if (link->state == LINK_GREETING && now_ms >= link->hello_deadline_ms)
        link_fail(link, LINK_TIMEOUT);
    if (link->state != LINK_OPEN)
        return;
    if (now_ms >= link->reports_at_ms) {
        link->reports_at_ms = MESH_NEVER;
        link->reports_due = !list_is_empty(&link->reporting);
    }
    if (now_ms >= link->admit_at_ms) { /* a message waits for memory that others hold */
        streams_admit_waiting(link);
        link->admit_at_ms =
            list_is_empty(&link->waiting) ? MESH_NEVER : now_ms + LINK_ADMIT_AGAIN_MS;
    }
}

uint64_t link_deadline_ms(const struct link *link)
{
    switch (link->state) {
    case LINK_GREETING:
        return link->hello_deadline_ms;
    case LINK_OPEN:
        return link->reports_at_ms < link->admit_at_ms ? link->reports_at_ms : link->admit_at_ms;
    case LINK_DOWN:
        break;
    }
    return MESH_NEVER;
}

bool link_has_ended(const struct link *link)
{
    return link->ended_in;
}

void link_bytes_in(struct link *link, struct slice sealed, uint64_t now_ms)
{
    assert(link->input.length == 0); /* what came before was drained */
    link_now(link, now_ms);
    if (link->state != LINK_DOWN)
        link->input = sealed;
}

/* ---- whole units out of parts of any size --------------------------------------------------- */

/* The first `want` bytes that have not been used, in one piece; NULL: they are not all there yet,
 * and what is there is kept. */
static const uint8_t *gather(struct link *link, size_t want)
{
    size_t part;

    if (link->partial == NULL) {
        if (link->input.length >= want)
            return link->input.at;
        if (link->input.length == 0)
            return NULL;
        link->partial = bytes_new(NULL, want);
    }
    if (link->partial == NULL || (link->partial->length < want &&
                                  bytes_grow(&link->partial, want - link->partial->length) < 0)) {
        link_fail(link, LINK_NO_MEMORY);
        return NULL;
    }
    part = link->partial->length < want ? want - link->partial->length : 0;
    if (part > link->input.length)
        part = link->input.length;
    if (part > 0) {
        memcpy(link->partial->data + link->partial->length, link->input.at, part);
        link->partial->length += part;
        link->input.at += part;
        link->input.length -= part;
    }
    return link->partial->length >= want ? link->partial->data : NULL;
}

/* The unit that gather() returned has been used. */
static void consume(struct link *link, size_t length)
{
    if (link->partial != NULL) {
        bytes_unref(link->partial);
        link->partial = NULL;
        return;
    }
    link->input.at += length;
    link->input.length -= length;
}

/* ---- the handshake -------------------------------------------------------------------------- */

static enum link_failure failure_of(enum tunnel_verdict verdict)
{
    switch (verdict) {
    case TUNNEL_MORE:
    case TUNNEL_DONE:
        break;
    case TUNNEL_NOT_OURS:
        return LINK_NOT_OURS;
    case TUNNEL_BAD_KEY:
        return LINK_BAD_KEY;
    case TUNNEL_BAD_PROOF:
        return LINK_BAD_PROOF;
    case TUNNEL_SELF:
        return LINK_SELF;
    }
    return LINK_OK;
}

static bool is_expected(const struct link *link)
{
    return !link->is_dialler || peer_id_is_nobody(link->expected) ||
           peer_id_equal(link->expected, link->peer.id);
}

/* The handshake is done. */
static void open_link(struct link *link)
{
    link->peer = link->hello->peer;
    link->key_id = link->hello->key_id;
    if (!is_expected(link)) {
        link_fail(link, LINK_WRONG_PEER);
        return;
    }
    link->number = tunnel_make_keys(link->hello, &link->in, &link->out);
    link->state = LINK_OPEN;
    link->heard_ms = link->now_ms;
    drop_hello(link);
}

static void greet(struct link *link, const uint8_t *message, size_t length)
{
    uint8_t reply[TUNNEL_HELLO_MAX];
    size_t reply_length;
    enum tunnel_verdict verdict =
        tunnel_read(link->hello, link->ring, message, length, reply, &reply_length);

    if (verdict != TUNNEL_MORE && verdict != TUNNEL_DONE) {
        link_fail(link, failure_of(verdict));
        return;
    }
    if (verdict == TUNNEL_DONE)
        open_link(link);
    if (reply_length == 0 || link->state == LINK_DOWN)
        return;
    bytes_unref(link->greeting); /* its answer came, so it was taken */
    link->greeting = bytes_copy(NULL, reply, reply_length);
    if (link->greeting == NULL)
        link_fail(link, LINK_NO_MEMORY);
}

/* False: more bytes are needed. */
static bool next_greeting(struct link *link)
{
    const uint8_t *unit = gather(link, TUNNEL_HEAD_BYTES);
    size_t length;

    if (unit == NULL)
        return false;
    length = tunnel_hello_length(unit);
    if (length == 0) {
        link_fail(link, LINK_NOT_OURS);
        return true;
    }
    unit = gather(link, length);
    if (unit == NULL)
        return false;
    greet(link, unit, length);
    consume(link, length);
    return true;
}

/* ---- records -------------------------------------------------------------------------------- */

/* Opens the next record into link->plain. False: more bytes are needed. */
static bool next_record(struct link *link)
{
    const uint8_t *unit = gather(link, TUNNEL_PREFIX);
    size_t length, plain_length;

    if (unit == NULL)
        return false;
    length = tunnel_record_length(unit);
    if (length == 0 || link->ended_in) {
        link_fail(link, LINK_BAD_RECORD);
        return true;
    }
    unit = gather(link, length);
    if (unit == NULL)
        return false;
    plain_length = length - TUNNEL_PREFIX - TUNNEL_TAG;
    link->plain = bytes_new(link->budget, plain_length);
    if (link->plain == NULL) /* it is read now and seldom kept: not worth losing the link */
        link->plain = bytes_new(NULL, plain_length);
    if (link->plain == NULL) {
        link_fail(link, LINK_NO_MEMORY);
        return true;
    }
    link->plain->length = plain_length;
    link->plain_at = 1;
    if (tunnel_open(&link->in, unit, length, link->plain->data) < 0 ||
        link->plain->data[0] & ~FRAME_FINAL)
        link_fail(link, LINK_BAD_RECORD);
    else
        link->heard_ms = link->now_ms;
    consume(link, length);
    return true;
}

/* ---- frames --------------------------------------------------------------------------------- */

/* The event of a whole message. */
static bool tell_message(struct link_stream *s, struct slice text, struct link_event *e)
{
    *e = (struct link_event){.kind = LINK_MESSAGE,
                             .stream = s->number,
                             .is_new = !s->is_announced,
                             .user = s->user,
                             .text = text};
    s->is_announced = true;
    s->delivered = s->received;
    return true;
}

/* There is no memory for a message: the stream ends, the link lives on. */
static bool refuse_stream(struct link *link, struct link_stream *s, struct link_event *e)
{
    bool is_announced = s->is_announced;

    if (stream_is_control(s)) {
        link_fail(link, LINK_NO_MEMORY);
        return false;
    }
    *e = (struct link_event){.kind = LINK_STREAM_CLOSED,
                             .stream = s->number,
                             .user = s->user,
                             .sent = s->first == NULL,
                             .why = LINK_CLOSE_NO_ROOM};
    s->why = LINK_CLOSE_NO_ROOM;
    stream_drop_queue(link, s);
    stream_retire(link, s, STREAM_CLOSING);
    stream_report(link, s, true);
    return is_announced;
}

/* Adds a part to the message under way. True: *e is an event. */
static bool assemble(struct link *link, struct link_stream *s, struct slice part,
                     struct link_event *e)
{
    size_t left = s->assembly_total - s->assembly->length;

    s->received += part.length;
    if (part.length > left) {
        link_fail(link, LINK_BAD_FRAME);
        return false;
    }
    if (bytes_grow(&s->assembly, part.length) < 0) /* it waits to be admitted as a whole */
        return refuse_stream(link, s, e);
    memcpy(s->assembly->data + s->assembly->length, part.at, part.length);
    s->assembly->length += part.length;
    if (part.length < left)
        return false;
    link->told = s->assembly;
    s->assembly = NULL;
    stream_end_assembly(s);
    return tell_message(s, slice_of(link->told, 0, link->told->length), e);
}

static bool on_first(struct link *link, struct link_stream *s, struct slice body,
                     struct link_event *e)
{
    size_t total = body.length > 4 ? (size_t)frame_get(body.at, 4) : 0;
    struct slice part = body;

    if (total == 0 || total > (stream_is_control(s) ? LINK_CONTROL_MAX : LINK_MESSAGE_MAX) ||
        body.length - 4 > total || s->assembly != NULL) {
        link_fail(link, LINK_BAD_FRAME);
        return false;
    }
    part.at += 4;
    part.length -= 4;
    if (part.length == total) {
        s->received += part.length;
        return tell_message(s, part, e);
    }
    if (stream_begin_assembly(link, s, total) < 0) {
        s->received += part.length;
        return refuse_stream(link, s, e);
    }
    return assemble(link, s, part, e);
}

/* A part of a message, of a stream that exists. */
static bool on_part(struct link *link, struct link_stream *s, enum frame_kind kind,
                    struct slice body, struct link_event *e)
{
    size_t length = kind == FRAME_FIRST && body.length > 4 ? body.length - 4 : body.length;

    if (length == 0) {
        link_fail(link, LINK_BAD_FRAME);
        return false;
    }
    if (!stream_is_control(s) && length > s->limit - s->received) {
        link_fail(link, LINK_BAD_CREDIT);
        return false;
    }
    if (s->state != STREAM_OPEN) { /* nobody reads it any more */
        s->received += length;
        return false;
    }
    if (kind == FRAME_FIRST)
        return on_first(link, s, body, e);
    if (s->assembly == NULL) {
        link_fail(link, LINK_BAD_FRAME);
        return false;
    }
    return assemble(link, s, body, e);
}

static bool on_credit(struct link *link, struct link_stream *s, struct slice body,
                      struct link_event *e)
{
    uint64_t taken = body.length == 12 ? frame_get(body.at, 8) : UINT64_MAX;
    uint64_t room = body.length == 12 ? frame_get(body.at + 8, 4) : 0;
    bool is_news = taken > s->acked;

    if (stream_is_control(s) || taken > s->sent || taken < s->acked ||
        room > LINK_GRANTS_MAX + LINK_WINDOW_FIRST) {
        link_fail(link, LINK_BAD_CREDIT);
        return false;
    }
    s->acked = taken;
    if (taken + room > s->sent_limit)
        s->sent_limit = taken + room;
    stream_update_sending(link, s);
    if (!is_news || s->state != STREAM_OPEN)
        return false;
    *e = (struct link_event){
        .kind = LINK_CONSUMED, .stream = s->number, .user = s->user, .total = taken};
    return true;
}

static bool on_close(struct link *link, struct link_stream *s, struct slice body,
                     struct link_event *e)
{
    bool is_told = s->state == STREAM_OPEN && s->is_announced;

    if (stream_is_control(s) || body.length != 1 || body.at[0] > LINK_CLOSE_NO_ROOM) {
        link_fail(link, LINK_BAD_FRAME);
        return false;
    }
    *e = (struct link_event){.kind = LINK_STREAM_CLOSED,
                             .stream = s->number,
                             .user = s->user,
                             .sent = s->first == NULL,
                             .why = body.at[0]};
    if (s->state == STREAM_CLOSED) {
        stream_free(link, s);
    } else {
        stream_retire(link, s, STREAM_ANSWERING);
        stream_report(link, s, true);
    }
    return is_told;
}

/* The stream of a frame; NULL: the link has failed. */
static struct link_stream *stream_of(struct link *link, uint32_t number, enum frame_kind kind)
{
    bool is_ours = (number & 1) == link->is_dialler;
    struct link_stream *s = number == 0 ? link->control : stream_find(link, number);

    if (s != NULL && s->has_begun && s->state != STREAM_ANSWERING)
        return s;
    if (number == 0)
        return link->control;
    if (s != NULL || is_ours || kind != FRAME_FIRST || number <= link->highest[1] ||
        link->opened_count[1] == LINK_STREAMS_MAX) {
        link_fail(link, LINK_BAD_STREAM);
        return NULL;
    }
    s = stream_make(link, number, false);
    if (s == NULL)
        link_fail(link, LINK_NO_MEMORY);
    return s;
}

static bool on_ping(struct link *link, uint32_t number, enum frame_kind kind, struct slice body,
                    struct link_event *e)
{
    if (number != 0 || body.length != 4) {
        link_fail(link, LINK_BAD_FRAME);
        return false;
    }
    if (kind == FRAME_PONG) {
        *e = (struct link_event){.kind = LINK_PONG, .ping = (uint32_t)frame_get(body.at, 4)};
        return true;
    }
    link->pong = (uint32_t)frame_get(body.at, 4);
    link->has_pong = true;
    return false;
}

/* The next frame of link->plain. True: *e is an event. */
static bool next_frame(struct link *link, struct link_event *e)
{
    size_t left = link->plain->length - link->plain_at;
    const uint8_t *at = link->plain->data + link->plain_at;
    size_t length = left >= FRAME_HEAD_BYTES ? (size_t)frame_get(at + FRAME_AT_LENGTH, 2) : 0;
    struct link_stream *s;

    if (left < FRAME_HEAD_BYTES || length > left - FRAME_HEAD_BYTES) {
        link_fail(link, LINK_BAD_FRAME);
        return false;
    }
    uint32_t number = (uint32_t)frame_get(at, 4);
    struct slice body = slice_of(link->plain, link->plain_at + FRAME_HEAD_BYTES, length);
    enum frame_kind kind = at[FRAME_AT_KIND];
    link->plain_at += FRAME_HEAD_BYTES + length;
    if (kind == FRAME_PING || kind == FRAME_PONG)
        return on_ping(link, number, kind, body, e);
    if (kind < FRAME_FIRST || kind > FRAME_CLOSE) {
        link_fail(link, LINK_BAD_FRAME);
        return false;
    }
    s = stream_of(link, number, kind);
    if (s == NULL)
        return false;
    if (kind == FRAME_CREDIT)
        return on_credit(link, s, body, e);
    if (kind == FRAME_CLOSE)
        return on_close(link, s, body, e);
    return on_part(link, s, kind, body, e);
}

/* The record has been read. True: it was the last one, and *e says so. */
static bool finish_record(struct link *link, struct link_event *e)
{
    bool is_final = link->plain->data[0] & FRAME_FINAL;

    bytes_unref(link->plain);
    link->plain = NULL;
    link->ended_in = is_final;
    *e = (struct link_event){.kind = LINK_ENDED};
    return is_final;
}

static bool tell_ready(struct link *link, struct link_event *e)
{
    link->ready_told = true;
    *e = (struct link_event){.kind = LINK_READY,
                             .peer = link->peer.id,
                             .nonce = link->peer.nonce,
                             .number = link->number};
    return true;
}

static bool tell_failure(struct link *link, struct link_event *e)
{
    drop_input(link);
    if (link->failure_told)
        return false;
    link->failure_told = true;
    *e = (struct link_event){.kind = LINK_FAILED,
                             .failure = link->failure,
                             .peer = link->peer.id,
                             .nonce = link->peer.nonce,
                             .number = link->number};
    return true;
}

bool link_next_event(struct link *link, struct link_event *e)
{
    bool goes_on = true;

    bytes_unref(link->told);
    link->told = NULL;
    while (goes_on && link->state != LINK_DOWN) {
        if (link->state == LINK_GREETING) {
            goes_on = next_greeting(link);
        } else if (!link->ready_told) {
            return tell_ready(link, e);
        } else if (link->plain == NULL) {
            goes_on = next_record(link);
        } else if (link->plain_at == link->plain->length) {
            if (finish_record(link, e))
                return true;
        } else if (next_frame(link, e)) {
            return true;
        }
    }
    return link->state == LINK_DOWN && tell_failure(link, e);
}
