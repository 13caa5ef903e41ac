/* client_reply.c - answers to clients: what the core says becomes bytes in the connection's
 * writer. A head waits for its body until the end of the turn, so that a small JSON answer leaves
 * as one write with its length; events leave at once. */
#include "http/sse.h"
#include "node/client_conn.h"
#include "node/log.h"

#define PREFIX_MAX 64u /* of an event without id and name: "data: " and a little room */

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
    struct clients *clients = client->clients;
    if (client->unsettled_link != NULL)
        return;
    client->unsettled_next = clients->unsettled;
    client->unsettled_link = &clients->unsettled;
    if (client->unsettled_next != NULL)
        client->unsettled_next->unsettled_link = &client->unsettled_next;
    clients->unsettled = client;
}

void client_reply_drop(struct client *client)
{
    struct client_reply *reply = &client->reply;
    if (client->unsettled_link != NULL) {
        *client->unsettled_link = client->unsettled_next;
        if (client->unsettled_next != NULL)
            client->unsettled_next->unsettled_link = client->unsettled_link;
        client->unsettled_link = NULL;
    }
    if (!reply->waits)
        return;
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

static int frame_event(struct client *client, struct slice text, const struct patch *patch)
{
    struct sse_event event = {.data = text};
    uint8_t prefix[PREFIX_MAX];
    int length = sse_write_prefix(prefix, sizeof prefix, &event);
    if (length < 0)
        return length;
    if (!has_body(client, text.length))
        return 0;
    size_t prefix_length = (size_t)length;
    int rc = frame_begin(client, prefix_length + patched_length(text, patch) + strlen(SSE_SUFFIX),
                         prefix, prefix_length);
    if (rc == 0)
        rc = writer_add_patched(&client->writer, text, patch);
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
    int rc = mcp_write_head(&host->mcp, &client->x, reply->status, reply->form, reply->lines,
                            reply->has_session ? reply->session : NULL, length, &head);
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
    client_write_outcome(client, MESH_UPSTREAM_BAD);
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
    if (rc == 0 && reply->form == MESH_FORM_SSE)
        rc = settle(client); /* its length is never known */
    else if (rc == 0)
        unsettle(client);
    return rc;
}

/* ---- the body -------------------------------------------------------------------------------- */

static int on_event(struct client *client, const struct mesh_effect *effect)
{
    struct slice text = effect->event.text;
    int rc = settle(client);
    if (rc < 0)
        return rc;
    if (!sse_needs_split(text))
        return frame_event(client, text, &effect->patch);
    /* Raw line ends between its tokens: the event is written anew. */
    struct bytes *patched = NULL, *whole = NULL;
    struct sse_event event = {.data = text};
    if (has_patch(&effect->patch)) {
        patched = writer_patched(text, &effect->patch);
        if (patched == NULL)
            return UV_ENOMEM;
        event.data = slice_of(patched, 0, patched->length);
    }
    rc = sse_copy_event(NULL, &event, &whole);
    bytes_unref(patched);
    if (rc == 0) {
        rc = frame_text(client, slice_of(whole, 0, whole->length), text.length);
        bytes_unref(whole);
    }
    return rc;
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

void client_write_outcome(struct client *client, enum mesh_reason why)
{
    struct host *host = client->clients->host;
    struct bytes *text = NULL;
    enum mcp_ending ending;
    bool head_out = client->head_out;
    if (host_is_leaving(host))
        client->x.close = true;
    int rc = mcp_write_outcome(&host->mcp, &client->x, why, head_out, &ending, &text);
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
        client_write_outcome(client, effect->end.why);
        return;
    }
    int rc = 0;
    bool whole = effect->end.end == MESH_END_WHOLE;
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
    while (clients->unsettled != NULL) {
        struct client *client = clients->unsettled;
        int rc = settle(client);
        if (rc < 0)
            fail_reply(client, rc);
    }
}
