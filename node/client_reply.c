/* client_reply.c - answers to clients: what the core says becomes bytes in the connection's
 * writer. A head waits for its body until the end of the turn, so that a small JSON answer leaves
 * as one write with its length; events leave at once. */
#include "http/sse.h"
#include "node/client_conn.h"
#include "node/log.h"

#define PREFIX_MAX 160u /* of an event with an id of ours and the name "message" */
_Static_assert(PREFIX_MAX >= EVENT_ID_TEXT + 64 + 8, "sse_prefix_room()");

static bool has_patch(const struct patch *patch)
{
    return patch->cut > 0 || patch->put.length > 0;
}

static size_t patched_length(struct slice text, const struct patch *patch)
{
    return text.length - patch->cut + patch->put.length;
}

static void unsettle(struct client *client)
{
    if (!list_is_linked(&client->in_one))
        list_push_front(&client->clients->unsettled, &client->in_one);
}

void client_reply_drop(struct client *client)
{
    struct client_reply *reply = &client->reply;
    if (!reply->waits)
        return;
    list_remove(&client->in_one);
    slice_drop(&reply->lines);
    slice_drop(&reply->data);
    slice_drop(&reply->patch.put);
    *reply = (struct client_reply){0};
}

/* ---- framing --------------------------------------------------------------------------------- */

/* Is there a body at all? Not for HEAD: for the core it was taken nevertheless. */
static bool has_body(struct client *client, size_t credit)
{
    if (client->x.framing != H1_NO_BODY)
        return true;
    if (credit > 0)
        mesh_taken(client->clients->host->mesh, client->exchange, credit, client_now_ms(client));
    return false;
}

/* Opens `length` bytes of the body, a chunk where it is chunked; `prefix` are the first of them. */
static int frame_begin(struct client *client, size_t length, const uint8_t *prefix,
                       size_t prefix_length)
{
    uint8_t head[H1_CHUNK_HEAD_MAX + PREFIX_MAX];
    size_t used = 0;
    if (client->x.framing == H1_CHUNKED)
        used = h1_write_chunk_head(head, length);
    if (prefix_length > 0)
        memcpy(head + used, prefix, prefix_length);
    used += prefix_length;
    return used > 0 ? writer_add_copy(&client->writer, head, used) : 0;
}

static int frame_finish(struct client *client)
{
    if (client->x.framing != H1_CHUNKED)
        return 0;
    return writer_add_static(&client->writer, H1_CHUNK_END);
}

/* What the core gave, patched where it has to be. */
static int frame_data(struct client *client, struct slice text, const struct patch *patch)
{
    size_t length = patched_length(text, patch);
    if (length == 0 || !has_body(client, text.length))
        return 0;
    int rc = frame_begin(client, length, NULL, 0);
    if (rc == 0)
        rc = writer_add_patched(&client->writer, text, patch);
    return rc == 0 ? frame_finish(client) : rc;
}

/* Text of our own making that stands for `credit` bytes of the core's. */
static int frame_text(struct client *client, struct slice text, size_t credit)
{
    if (text.length == 0 || !has_body(client, credit))
        return 0;
    int rc = frame_begin(client, text.length, NULL, 0);
    if (rc == 0)
        rc = writer_add(&client->writer, text, credit);
    return rc == 0 ? frame_finish(client) : rc;
}

static int frame_event(struct client *client, const struct sse_event *event,
                       const struct patch *patch)
{
    uint8_t prefix[PREFIX_MAX];
    int length = sse_write_prefix(prefix, sizeof prefix, event);
    if (length < 0)
        return length;
    if (!has_body(client, event->data.length))
        return 0;
    size_t prefix_length = (size_t)length;
    int rc =
        frame_begin(client, prefix_length + patched_length(event->data, patch) + strlen(SSE_SUFFIX),
                    prefix, prefix_length);
    if (rc == 0)
        rc = writer_add_patched(&client->writer, event->data, patch);
    if (rc == 0)
        rc = writer_add_static(&client->writer, SSE_SUFFIX);
    return rc == 0 ? frame_finish(client) : rc;
}

/* Ends the body as its framing asks. */
static int frame_end(struct client *client)
{
    if (client->x.framing == H1_CHUNKED)
        return writer_add_static(&client->writer, H1_LAST_CHUNK);
    if (client->x.framing == H1_UNTIL_CLOSE)
        client->close = true;
    return 0;
}

/* The body ends before its end. By its framing the client sees that; where the end of the
 * connection is the end of the body only a reset says it: negative. */
static int cut(struct client *client)
{
    client->close = true;
    return client->x.framing == H1_UNTIL_CLOSE || !client->head_out ? UV_ECONNABORTED : 0;
}

/* ---- the head -------------------------------------------------------------------------------- */

/* Writes the head that waits. `length`: of the body, or -1. */
static int put_head(struct client *client, int64_t length)
{
    struct client_reply *reply = &client->reply;
    struct host *host = client->clients->host;
    struct bytes *head = NULL;
    if (host_is_leaving(host))
        client->x.close = true; /* the next request of this client belongs elsewhere */
    int rc = mcp_write_head_again(&host->mcp, &client->x, reply->status, reply->form, reply->lines,
                                  reply->has_session ? reply->session : NULL, length,
                                  &client->clients->answers, client->h1.memo_at, &head);
    if (rc == 0)
        rc = writer_add_take(&client->writer, head);
    if (rc == 0)
        client->head_out = true;
    return rc;
}

/* The head and what waits with it, length unknown. */
static int settle(struct client *client)
{
    struct client_reply *reply = &client->reply;
    if (!reply->waits)
        return 0;
    int rc = put_head(client, reply->form == MESH_FORM_NONE ? 0 : -1);
    if (rc == 0 && reply->has_data)
        rc = frame_data(client, reply->data, &reply->patch);
    client_reply_drop(client);
    return rc;
}

/* What cannot be put into words any more, for want of memory or of sound header lines. */
static void fail_reply(struct client *client, int rc)
{
    log_debug("reply_failed", "error=%s", host_error_name(rc));
    struct mesh *mesh = client->clients->host->mesh;
    client_reply_drop(client);
    if (client->head_out || rc != UV_EINVAL) {
        client_drop(client, true);
        return;
    }
    /* The upstream's header lines cannot be sent: its answer is none. */
    slots_clear(&client->clients->exchanges, client->exchange);
    mesh_close(mesh, client->exchange, client_now_ms(client));
    client_write_outcome(client, MESH_UPSTREAM_BAD, NULL);
}

static int frame_endpoint(struct client *client, const char session[MESH_SESSION_TEXT])
{
    struct bytes *text = NULL;
    int rc = mcp_write_endpoint(&client->clients->host->mcp, session, &text);
    if (rc == 0)
        rc = frame_text(client, slice_of(text, 0, text->length), 0);
    bytes_unref(text);
    return rc;
}

static int on_head(struct client *client, const struct mesh_effect *effect)
{
    struct client_reply *reply = &client->reply;
    client_reply_drop(client);
    reply->waits = true;
    reply->status = effect->head.status;
    reply->form = effect->head.form;
    reply->has_session = effect->head.has_session;
    memcpy(reply->session, effect->head.session, sizeof reply->session);
    int rc = slice_keep(&reply->lines, effect->head.head, NULL);
    if (rc == 0 && reply->form != MESH_FORM_SSE) {
        unsettle(client);
        return 0;
    }
    if (rc == 0)
        rc = settle(client); /* its length is never known */
    if (rc == 0 && client->x.want == MESH_SSE && effect->head.has_session)
        rc = frame_endpoint(client, effect->head.session);
    return rc;
}

/* ---- the body -------------------------------------------------------------------------------- */

/* Raw line ends between its tokens: the event is written anew. */
static int on_split_event(struct client *client, const struct sse_event *event,
                          const struct patch *patch)
{
    struct bytes *patched = NULL, *whole = NULL;
    struct sse_event split = *event;
    if (has_patch(patch)) {
        patched = writer_patched(event->data, patch);
        if (patched == NULL)
            return UV_ENOMEM;
        split.data = slice_of(patched, 0, patched->length);
    }
    int rc = sse_copy_event(NULL, &split, &whole);
    bytes_unref(patched);
    if (rc == 0) {
        rc = frame_text(client, slice_of(whole, 0, whole->length), event->data.length);
        bytes_unref(whole);
    }
    return rc;
}

/* Nothing but a time after which to come back. */
static int on_retry(struct client *client, uint32_t retry_ms)
{
    uint8_t text[SSE_RETRY_ROOM];
    size_t length = sse_write_retry(text, retry_ms);
    if (!has_body(client, 0))
        return 0;
    int rc = frame_begin(client, length, text, length);
    return rc == 0 ? frame_finish(client) : rc;
}

/* An error of the mesh itself. */
static int on_failure(struct client *client, const struct mesh_effect *effect, struct slice id)
{
    struct bytes *text = NULL;
    int rc = mcp_write_failure(effect->event.why, effect->event.text, id, &text);
    if (rc == 0)
        rc = frame_text(client, slice_of(text, 0, text->length), effect->event.text.length);
    bytes_unref(text);
    return rc;
}

static int on_event(struct client *client, const struct mesh_effect *effect)
{
    char id[EVENT_ID_TEXT];
    struct sse_event event = {.data = effect->event.text, .retry_ms = effect->event.retry_ms};
    int rc = settle(client);
    if (rc < 0)
        return rc;
    if (!event_id_is_none(&effect->event.id))
        event.id = slice_borrow(id, event_id_write(id, &effect->event.id));
    if (client->x.want == MESH_SSE)
        event.name = slice_text("message");
    if (effect->event.why != MESH_OK)
        return on_failure(client, effect, event.id);
    if (event.data.length == 0 && event.id.length == 0)
        return on_retry(client, event.retry_ms);
    if (sse_needs_split(event.data))
        return on_split_event(client, &event, &effect->patch);
    return frame_event(client, &event, &effect->patch);
}

static int on_data(struct client *client, const struct mesh_effect *effect)
{
    struct client_reply *reply = &client->reply;
    if (reply->waits && !reply->has_data) {
        int rc = slice_keep(&reply->data, effect->data, NULL);
        if (rc == 0)
            rc = slice_keep(&reply->patch.put, effect->patch.put, NULL);
        reply->patch.at = effect->patch.at;
        reply->patch.cut = effect->patch.cut;
        reply->has_data = true;
        return rc;
    }
    int rc = settle(client);
    return rc == 0 ? frame_data(client, effect->data, &effect->patch) : rc;
}

/* ---- the end --------------------------------------------------------------------------------- */

void client_write_whole(struct client *client, struct bytes *answer)
{
    client->head_out = true;
    if (writer_add_take(&client->writer, answer) < 0)
        client_drop(client, true);
    else
        client_answered(client);
}

void client_write_outcome(struct client *client, enum mesh_reason why, const struct event_id *id)
{
    char id_text[EVENT_ID_TEXT];
    struct slice event_id = {0};
    struct host *host = client->clients->host;
    struct bytes *text = NULL;
    enum mcp_ending ending;
    bool head_out = client->head_out;
    if (host_is_leaving(host))
        client->x.close = true;
    if (id != NULL && !event_id_is_none(id))
        event_id = slice_borrow(id_text, event_id_write(id_text, id));
    int rc = mcp_write_outcome(&host->mcp, &client->x, why, head_out, event_id, &ending, &text);
    if (rc == 0 && !head_out && text != NULL) {
        client_write_whole(client, text);
        return;
    }
    if (rc == 0 && text != NULL)
        rc = frame_text(client, slice_of(text, 0, text->length), 0);
    bytes_unref(text);
    if (rc == 0 && ending == MCP_END_WHOLE)
        rc = frame_end(client);
    else if (rc == 0)
        rc = cut(client);
    if (rc < 0)
        client_drop(client, true);
    else
        client_answered(client);
}

static void on_end(struct client *client, const struct mesh_effect *effect)
{
    struct client_reply *reply = &client->reply;
    client->clients->stats.outcomes[effect->end.why]++;
    slots_clear(&client->clients->exchanges, client->exchange);
    if (effect->end.why != MESH_OK) {
        /* A head that did not leave yet is taken back: the outcome has its own. */
        client_reply_drop(client);
        client_write_outcome(client, effect->end.why, &effect->end.id);
        return;
    }
    int rc = 0;
    bool whole = effect->end.end != MESH_END_CUT;
    if (reply->waits && whole) {
        size_t length = reply->has_data ? patched_length(reply->data, &reply->patch) : 0;
        rc = put_head(client, (int64_t)length);
        if (rc == 0 && reply->has_data)
            rc = frame_data(client, reply->data, &reply->patch);
        client_reply_drop(client);
    } else
        rc = settle(client);
    if (rc == 0 && whole && client->head_out)
        rc = frame_end(client);
    if (rc < 0) {
        fail_reply(client, rc);
        return;
    }
    if (!whole)
        rc = cut(client);
    if (rc < 0)
        client_drop(client, true);
    else
        client_answered(client);
}

void client_write_comment(struct client *client)
{
    /* Between two events: nothing else is ever written to an event stream in parts. */
    if (client->head_out && client->x.form == MESH_FORM_SSE && client->writer.length == 0 &&
        frame_text(client, slice_text(SSE_KEEPALIVE), 0) < 0)
        client_drop(client, true);
}

void clients_do(struct clients *clients, const struct mesh_effect *effect)
{
    struct client *client = slots_get(&clients->exchanges, effect->handle);
    int rc = 0;
    if (client == NULL)
        return;
    if (effect->kind == MESH_REPLY_HEAD)
        rc = on_head(client, effect);
    else if (effect->kind == MESH_REPLY_EVENT)
        rc = on_event(client, effect);
    else if (effect->kind == MESH_REPLY_DATA)
        rc = on_data(client, effect);
    else if (effect->kind == MESH_REPLY_END)
        on_end(client, effect);
    if (rc < 0)
        fail_reply(client, rc);
}

void clients_settle(struct clients *clients)
{
    struct list *first;
    while ((first = list_first(&clients->unsettled)) != NULL) {
        struct client *client = container_of(first, struct client, in_one);
        int rc = settle(client);
        if (rc < 0)
            fail_reply(client, rc);
    }
}
