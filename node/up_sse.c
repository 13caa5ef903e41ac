/* up_sse.c - see up_sse.h. What a POST is answered with says only whether the message was taken:
 * an answer to it comes on the stream, and where it goes the core decides. */
#include "node/up_sse.h"

#include <errno.h>
#include <stdlib.h>

#include "http/endpoint.h"
#include "node/log.h"
#include "node/up_large.h"

#define OPEN_MS 10000u /* until the endpoint event */
/* A notification is taken before what follows it is sent: to some servers a request that overtakes
 * notifications/initialized is an error. For so long: others answer its POST when all is done. */
#define TAKE_MS 1000u
#define WAITING_MAX (32u << 20) /* bytes of messages that wait so */
#define POSTS_MAX 320u          /* not answered yet; more than the core has calls of a session */
#define POST_ANSWER_MAX (64u << 10) /* bytes that nobody reads */

struct sse_up {
    struct http_up *up;
    struct http_call *stream; /* NULL: it was refused, and is over */
    struct bytes *endpoint;   /* the target of messages; NULL: not known yet */
    struct large_text *large; /* a message that is not kept; or NULL */
    struct rpc_tools *tools;  /* a list of tools is awaited: each message is looked at for it */
    struct list waiting;      /* messages, in order */
    size_t waiting_bytes;
    uint32_t before;         /* the call that has to be taken first; 0: none */
    struct wheel_item timer; /* for the endpoint, then for `before` */
    bool goes_on;            /* inside go_on() */
    int refused;             /* the status that the stream was refused with; 0: it was not */
    struct bytes *refusal;   /* header lines of that answer */
};

struct sse_message {
    struct list in_waiting;
    uint32_t call;
    bool is_request;
    struct slice head, text;
    struct patch patch;
};

static struct mesh *mesh_of(const struct sse_up *sse)
{
    return sse->up->kind->upstream->host->mesh;
}

static uint64_t now(const struct sse_up *sse)
{
    return upstream_now_ms(sse->up->kind->upstream);
}

static void set_timer(struct sse_up *sse, uint32_t ms)
{
    wheel_set(&sse->up->kind->upstream->host->wheel, &sse->timer, now(sse) + ms);
}

static void count(struct sse_up *sse, enum mesh_reason why)
{
    struct upstream_stats *stats = &sse->up->kind->upstream->stats;
    if (why == MESH_UPSTREAM_DOWN)
        stats->refused++;
    else
        stats->lost++;
}

/* ---- what was refused ------------------------------------------------------------------------ */

/* Whether the credentials of a request do is between client and server: that answer passes. */
static bool is_about_credentials(int status)
{
    return status == 401 || status == 403;
}

static struct bytes *challenge(const struct h1_head *head)
{
    static const char name[] = "WWW-Authenticate: ";
    struct slice value;
    if (!h1_header(head, "WWW-Authenticate", &value))
        return bytes_new(NULL, 1);
    struct bytes *lines = bytes_new(NULL, sizeof name + value.length + 2);
    if (lines == NULL)
        return NULL;
    uint8_t *at = mempcpy(lines->data, name, sizeof name - 1);
    at = mempcpy(at, value.at, value.length);
    at = mempcpy(at, "\r\n", 2);
    lines->length = (size_t)(at - lines->data);
    return lines;
}

static void tell_refusal(struct sse_up *sse, uint32_t call, int status, const struct bytes *lines)
{
    mesh_up_head(mesh_of(sse), sse->up->handle, call, status, MESH_FORM_NONE, MESH_UP_SESSION_SAME,
                 slice_borrow(lines->data, lines->length), now(sse));
    mesh_up_end(mesh_of(sse), sse->up->handle, call, MESH_END_WHOLE, MESH_OK, now(sse));
}

static void tell_failure(struct sse_up *sse, uint32_t call, enum mesh_reason why)
{
    count(sse, why);
    mesh_up_end(mesh_of(sse), sse->up->handle, call, MESH_END_CUT, why, now(sse));
}

/* ---- messages to the server ------------------------------------------------------------------ */

static const struct http_call_ops post_ops;

/* A server that answers no POST gets room for another by closing the oldest that it has read. */
static void make_room(struct sse_up *sse)
{
    struct http_call *oldest = NULL;
    uint32_t posts = 0;
    for (struct http_call *call = sse->up->first; call != NULL; call = call->next) {
        if (call == sse->stream)
            continue;
        posts++;
        if (call->sent)
            oldest = call; /* the latest stands first */
    }
    if (posts >= POSTS_MAX && oldest != NULL)
        http_call_cancel(oldest);
}

static void post(struct sse_up *sse, const struct sse_message *message)
{
    make_room(sse);
    struct http_call *call = http_call_new(sse->up);
    if (call == NULL) {
        tell_failure(sse, message->call, MESH_UPSTREAM_DOWN);
        return;
    }
    call->ops = &post_ops;
    call->number = message->call;
    call->want = MESH_CALL;
    if (!message->is_request) {
        sse->before = message->call;
        set_timer(sse, TAKE_MS);
    }
    struct mcp_upstream_request request = {
        .want = MESH_CALL,
        .head = message->head,
        .endpoint = slice_of(sse->endpoint, 0, sse->endpoint->length),
        .body_bytes = message->text.length - message->patch.cut + message->patch.put.length};
    http_call_start(sse->up->kind, call, &request, message->text, &message->patch);
}

static void free_message(struct sse_message *message)
{
    slice_drop(&message->head);
    slice_drop(&message->text);
    slice_drop(&message->patch.put);
    free(message);
}

static size_t message_bytes(const struct sse_message *message)
{
    return sizeof *message + message->head.length + message->text.length;
}

static int keep(struct sse_up *sse, const struct sse_message *message)
{
    struct sse_message *kept = calloc(1, sizeof *kept);
    if (kept == NULL)
        return -ENOMEM;
    kept->call = message->call;
    kept->is_request = message->is_request;
    kept->patch = message->patch;
    kept->patch.put = (struct slice){0};
    if (slice_keep(&kept->head, message->head, NULL) < 0 ||
        slice_keep(&kept->text, message->text, NULL) < 0 ||
        slice_keep(&kept->patch.put, message->patch.put, NULL) < 0) {
        free_message(kept);
        return -ENOMEM;
    }
    sse->waiting_bytes += message_bytes(kept);
    list_push_back(&sse->waiting, &kept->in_waiting);
    return 0;
}

/* What waited for a message that was taken, or is not waited for any longer. */
static void go_on(struct sse_up *sse)
{
    if (sse->goes_on)
        return; /* a POST that failed at once */
    sse->goes_on = true;
    while (sse->before == 0 && !list_is_empty(&sse->waiting)) {
        struct sse_message *message =
            container_of(list_first(&sse->waiting), struct sse_message, in_waiting);
        list_remove(&message->in_waiting);
        sse->waiting_bytes -= message_bytes(message);
        post(sse, message);
        free_message(message);
    }
    sse->goes_on = false;
}

static void note_taken(struct sse_up *sse, uint32_t call)
{
    if (call == 0 || sse->before != call)
        return;
    sse->before = 0;
    wheel_stop(&sse->timer);
    go_on(sse);
}

void sse_up_send(struct sse_up *sse, const struct mesh_effect *effect)
{
    const struct sse_message message = {.call = effect->call,
                                        .is_request = effect->send.is_request,
                                        .head = effect->send.head,
                                        .text = effect->send.text,
                                        .patch = effect->patch};
    if (sse->refused != 0) {
        tell_refusal(sse, effect->call, sse->refused, sse->refusal);
        return;
    }
    if (effect->send.lists_tools && sse->tools == NULL)
        sse->tools = malloc(sizeof *sse->tools); /* or they are not known: nothing runs again */
    if (sse->before == 0)
        post(sse, &message);
    else if (keep(sse, &message) < 0)
        tell_failure(sse, effect->call, MESH_UPSTREAM_DOWN);
    else if (sse->waiting_bytes > WAITING_MAX)
        http_up_close(sse->up, MESH_UPSTREAM_LOST); /* it takes nothing any more */
}

static int on_post_head(struct http_call *call, struct h1_head *head)
{
    struct sse_up *sse = call->up->sse;
    bool is_taken = head->status >= 200 && head->status < 300;
    if (!is_taken && !is_about_credentials(head->status))
        return UV_EPROTO;
    call->head_told = true; /* whatever follows, nothing more is said of it */
    if (!is_taken) {
        struct bytes *lines = challenge(head);
        if (lines == NULL)
            return -ENOMEM;
        tell_refusal(sse, call->number, head->status, lines);
        bytes_unref(lines);
    }
    note_taken(sse, call->number);
    return 0;
}

static int on_answer_part(struct http_call *call, struct slice part)
{
    (void)part;
    return call->conn->h1.body_bytes > POST_ANSWER_MAX ? -EMSGSIZE : 0;
}

static void on_post_over(struct http_call *call, enum mesh_reason why)
{
    struct sse_up *sse = call->up->sse;
    uint32_t number = call->number;
    bool is_told = call->head_told;
    http_call_free(call);
    if (!is_told)
        tell_failure(sse, number, why);
    note_taken(sse, number);
}

static const struct http_call_ops post_ops = {
    .on_head = on_post_head,
    .on_part = on_answer_part,
    .on_over = on_post_over,
};

/* ---- its stream ------------------------------------------------------------------------------ */

/* Where messages go is no way around the mesh either. */
static void close_path(struct up_http *kind, struct slice target)
{
    const uint8_t *mark = memchr(target.at, '?', target.length);
    struct gate_config *gate = &kind->upstream->host->gate;
    size_t length = mark != NULL ? (size_t)(mark - target.at) : target.length;
    if (length >= sizeof kind->closed_endpoint)
        return;
    if (kind->closed_endpoint[0] == '\0') {
        kind->closed_paths[gate->closed_paths_count++] = kind->closed_endpoint;
        gate->closed_paths = kind->closed_paths;
    }
    memcpy(kind->closed_endpoint, target.at, length);
    kind->closed_endpoint[length] = '\0';
}

static int take_endpoint(struct sse_up *sse, struct slice uri)
{
    struct up_http *kind = sse->up->kind;
    int rc = endpoint_read(uri, kind->authority, kind->path, &sse->endpoint);
    if (rc == -EINVAL)
        log_warn("endpoint_refused", "bytes=%zu why=%s", uri.length,
                 "it is no URI of the upstream's own origin");
    if (rc < 0)
        return rc;
    close_path(kind, slice_of(sse->endpoint, 0, sse->endpoint->length));
    wheel_stop(&sse->timer);
    mesh_up_ready(mesh_of(sse), sse->up->handle, now(sse));
    return 0;
}

static void give_message(struct sse_up *sse, struct slice text)
{
    struct rpc_message rpc;
    rpc_read(&rpc, sse->tools, text.at, text.length);
    bool has_tools = rpc.kind == RPC_RESPONSE && sse->tools != NULL && sse->tools->count > 0;
    (void)mesh_up_message(mesh_of(sse), sse->up->handle, MESH_NO_CALL, &rpc,
                          has_tools ? sse->tools : NULL, text, now(sse));
    http_take_room(sse->stream, text.length); /* MESH_NO_CALL is the stream's own number */
    if (has_tools) {
        free(sse->tools);
        sse->tools = NULL;
    }
}

/* What is too large to be kept is read for whom it was meant. */
static int on_large_part(struct sse_up *sse, struct slice part)
{
    if (sse->endpoint == NULL)
        return -EMSGSIZE; /* no word of it was asked for */
    if (sse->large == NULL)
        sse->large = large_new();
    return sse->large == NULL ? -ENOMEM : large_feed(sse->large, part.at, part.length);
}

static void on_large_end(struct sse_up *sse, bool is_message)
{
    struct large_text *large = sse->large;
    uint8_t id[LARGE_ID_MAX];
    size_t id_length, length;
    enum rpc_kind kind = large_end(large, id, &id_length, &length);
    sse->large = NULL;
    large_free(large);
    if (!is_message)
        return;
    log_warn("message_too_large", "bytes=%zu answers=%d", length,
             kind == RPC_RESPONSE || kind == RPC_ERROR);
    mesh_up_too_large(mesh_of(sse), sse->up->handle, kind, slice_borrow(id, id_length), now(sse));
}

static int on_event(struct sse_up *sse, const struct sse_event *event)
{
    bool is_message = event->name.length == 0 || slice_is(event->name, "message");
    if (event->is_large) {
        on_large_end(sse, is_message);
        return 0;
    }
    if (slice_is(event->name, "endpoint"))
        return sse->endpoint == NULL ? take_endpoint(sse, event->data) : 0;
    if (event->data.length > 0 && is_message)
        give_message(sse, event->data);
    return 0;
}

static int on_stream_head(struct http_call *call, struct h1_head *head)
{
    struct sse_up *sse = call->up->sse;
    struct mcp_upstream_answer answer;
    if (is_about_credentials(head->status)) {
        sse->refusal = challenge(head);
        if (sse->refusal == NULL)
            return -ENOMEM;
        sse->refused = head->status;
        wheel_stop(&sse->timer);
        mesh_up_ready(mesh_of(sse), sse->up->handle, now(sse));
        return 0;
    }
    int rc = mcp_filter_response_head(head, MESH_LISTEN, &answer);
    if (rc < 0)
        return rc;
    bytes_unref(answer.lines);
    return head->status == 200 && answer.form == MESH_FORM_SSE ? 0 : UV_EPROTO;
}

static int on_stream_part(struct http_call *call, struct slice in)
{
    struct sse_up *sse = call->up->sse;
    int rc = 0;
    if (sse->refused != 0)
        return on_answer_part(call, in);
    while (rc == 0) {
        struct sse_event event;
        size_t used;
        enum sse_result result = sse_read(&call->sse, in, &used, &event);
        in.at += used;
        in.length -= used;
        if (result == SSE_MORE)
            break;
        if (result == SSE_PART)
            rc = on_large_part(sse, event.data);
        else
            rc = result == SSE_ERROR ? call->sse.error : on_event(sse, &event);
    }
    return rc;
}

static void on_stream_over(struct http_call *call, enum mesh_reason why)
{
    struct http_up *up = call->up;
    struct sse_up *sse = up->sse;
    bool is_bad = why == MESH_UPSTREAM_BAD || why == MESH_ANSWER_TOO_LARGE;
    http_call_free(call);
    sse->stream = NULL;
    if (sse->refused != 0)
        return;  /* the core closes it, once its request was answered so */
    if (!is_bad) /* before the endpoint nothing can have run */
        why = sse->endpoint == NULL ? MESH_UPSTREAM_DOWN : MESH_UPSTREAM_LOST;
    count(sse, why);
    http_up_close(up, why);
}

static const struct http_call_ops stream_ops = {
    .on_head = on_stream_head,
    .on_part = on_stream_part,
    .on_over = on_stream_over,
};

/* ---- its beginning and end ------------------------------------------------------------------- */

static void on_timer(struct wheel_item *item, uint64_t now_ms)
{
    struct sse_up *sse = container_of(item, struct sse_up, timer);
    (void)now_ms;
    if (sse->endpoint == NULL) {
        count(sse, MESH_UPSTREAM_DOWN);
        http_up_close(sse->up, MESH_UPSTREAM_DOWN);
    } else
        note_taken(sse, sse->before);
}

void sse_up_open(struct http_up *up)
{
    static const struct patch none;
    struct sse_up *sse = calloc(1, sizeof *sse);
    struct http_call *call = sse != NULL ? http_call_new(up) : NULL;
    if (call == NULL) {
        free(sse);
        http_up_close(up, MESH_UPSTREAM_DOWN);
        return;
    }
    sse->up = up;
    sse->stream = call;
    sse->timer.on_due = on_timer;
    list_init(&sse->waiting);
    up->sse = sse;
    call->ops = &stream_ops;
    call->want = MESH_LISTEN;
    call->is_stream = true;
    call->sse.gives_parts = true;
    set_timer(sse, OPEN_MS);
    struct mcp_upstream_request request = {.want = MESH_LISTEN, .head = up->head, .is_own = true};
    http_call_start(up->kind, call, &request, (struct slice){0}, &none);
}

void sse_up_free(struct sse_up *sse)
{
    if (sse == NULL)
        return;
    wheel_stop(&sse->timer);
    LIST_EACH_SAFE (at, next, &sse->waiting)
        free_message(container_of(at, struct sse_message, in_waiting));
    bytes_unref(sse->endpoint);
    bytes_unref(sse->refusal);
    large_free(sse->large);
    free(sse->tools);
    free(sse);
}
