/* client.c - connections of clients: read, timed, closed; requests judged and given to the core.
 * Who is let in stands in client_listen.c, what is answered in client_reply.c. */
#include "node/client.h"

#include <stdlib.h>

#include "node/client_conn.h"
#include "node/log.h"

#define IDLE_MS 75000u       /* between two requests, and before the first */
#define HEADER_MS 10000u     /* from its first byte (row H35) */
#define BODY_FIRST_MS 10000u /* for its first byte (row H31) */
#define BODY_MS 30000u       /* or BODY_FLOOR (row H36) */
#define BODY_FLOOR 1024u     /* bytes a second */
#define COMMENT_MS 15000u    /* of silence on an event stream */
#define STALL_MS 30000u      /* a reader that takes nothing */
#define LINGER_MS 2000u      /* after our FIN, so that no reset overtakes the answer */
#define MORE_MAX (16u << 10) /* pipelined bytes kept before reading stops */

uint64_t client_now_ms(const struct client *client)
{
    return host_now_ms(client->clients->host);
}

static void set_timer(struct client *client, uint64_t due_ms)
{
    wheel_set(&client->clients->host->wheel, &client->timer, due_ms);
}

/* ---- the end of a connection ----------------------------------------------------------------- */

static bool is_busy(const struct client *client)
{
    return client->state == CLIENT_ASKED || client->state == CLIENT_ANSWERED;
}

static void set_state(struct client *client, enum client_state state)
{
    if (is_busy(client))
        client->clients->busy--;
    if (client->state == CLIENT_READING)
        list_remove(&client->in_one);
    client->state = state;
    if (state == CLIENT_READING) {
        list_push_back(&client->clients->reading, &client->in_one);
        client->since_ms = client_now_ms(client);
    }
    if (is_busy(client))
        client->clients->busy++;
}

static void on_closed(uv_handle_t *handle)
{
    struct client *client = handle->data;
    struct clients *clients = client->clients;
    *client->link = client->next;
    if (client->next != NULL)
        client->next->link = client->link;
    clients->stats.connections--;
    clients->closing--;
    client_uncount_address(clients, &client->addr);
    writer_free(&client->writer);
    free(client);
}

static void forget_exchange(struct client *client)
{
    struct clients *clients = client->clients;
    if (client->state == CLIENT_ASKED &&
        slots_get(&clients->exchanges, client->exchange) == client) {
        slots_clear(&clients->exchanges, client->exchange);
        mesh_close(clients->host->mesh, client->exchange, client_now_ms(client));
        clients->stats.lost++;
    }
    client_reply_drop(client);
    mcp_exchange_deinit(&client->x);
    client->x = (struct mcp_exchange){0};
}

void client_drop(struct client *client, bool reset)
{
    if (client->state == CLIENT_CLOSED)
        return;
    forget_exchange(client);
    set_state(client, CLIENT_CLOSED);
    client->clients->closing++;
    h1_deinit(&client->h1);
    bytes_unref(client->more);
    client->more = NULL;
    wheel_stop(&client->timer);
    writer_stop(&client->writer);
    if (!reset || uv_tcp_close_reset(&client->tcp, on_closed) != 0)
        uv_close((uv_handle_t *)&client->tcp, on_closed);
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
    struct client *client = request->data;
    free(request);
    if (status < 0 && status != UV_ECANCELED)
        client_drop(client, false);
}

/* FIN, and what the client still sends is read: closing with unread bytes would reset the
 * connection and could take the answer with it (RFC 9112 section 9.6). */
static void linger(struct client *client)
{
    uv_shutdown_t *request = client->eof ? NULL : malloc(sizeof *request);
    if (request != NULL)
        request->data = client;
    if (request == NULL || uv_shutdown(request, (uv_stream_t *)&client->tcp, on_shutdown) != 0) {
        free(request);
        client_drop(client, false);
        return;
    }
    set_state(client, CLIENT_LINGERING);
    h1_deinit(&client->h1);
    bytes_unref(client->more);
    client->more = NULL;
    set_timer(client, client_now_ms(client) + LINGER_MS);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void refuse(struct client *client, int status, const char *reason, const char *allow,
                   bool close)
{
    struct bytes *answer;
    client->close = client->close || close;
    if (mcp_write_refusal(status, reason, allow, client->close, &answer) < 0)
        client_drop(client, true);
    else
        client_write_whole(client, answer);
}

static void refuse_verdict(struct client *client)
{
    enum gate_verdict verdict = client->verdict;
    const char *allow = verdict == GATE_WRONG_METHOD ? gate_allow(client->pass.route) : NULL;
    refuse(client, gate_status(verdict), gate_reason(verdict), allow, client->close);
}

/* The head is there: may it go on at all? */
static void on_head(struct client *client)
{
    struct clients *clients = client->clients;
    struct h1_head *head = client->h1.head;
    clients->stats.requests++;
    client->verdict = gate_check(&clients->host->gate, head, &client->pass);
    if (client->verdict != GATE_PASS) {
        clients->stats.refused[client->verdict]++;
        log_debug("refused", "cause=%s", gate_name(client->verdict));
        client->refused = true;
        client->close = gate_closes(client->verdict, head) || !head->keep_alive;
        if (client->close)
            refuse_verdict(client); /* its body is not waited for */
        return;
    }
    if (head->expects_continue && writer_add_static(&client->writer, H1_CONTINUE) < 0)
        client_drop(client, true);
}

/* Gives the request to the core. */
static void ask(struct client *client, struct mcp_made *made)
{
    struct clients *clients = client->clients;
    struct mesh *mesh = clients->host->mesh;
    client->x = made->exchange;
    made->exchange = (struct mcp_exchange){0};
    client->exchange = mesh_open(mesh, &made->request, client_now_ms(client));
    if (client->exchange.generation == 0) {
        client_write_outcome(client, MESH_FULL, NULL);
        return;
    }
    if (slots_put(&clients->exchanges, client->exchange, client) < 0) {
        mesh_close(mesh, client->exchange, client_now_ms(client));
        client_write_outcome(client, MESH_FULL, NULL);
        return;
    }
    set_state(client, CLIENT_ASKED);
    set_timer(client, client_now_ms(client) + COMMENT_MS);
}

/* The request is whole. */
static void on_request(struct client *client)
{
    struct clients *clients = client->clients;
    struct h1_head *head = client->h1.head;
    client->since_ms = client_now_ms(client);
    if (client->refused) {
        refuse_verdict(client);
        return;
    }
    struct rpc_message rpc;
    struct slice body = h1_body(&client->h1);
    bool has_facts = head->method == H1_METHOD_POST && client->pass.route != GATE_OTHER;
    if (has_facts)
        rpc_read(&rpc, NULL, body.at, body.length);
    struct mcp_input input = {.head = head,
                              .pass = &client->pass,
                              .body = body,
                              .rpc = has_facts ? &rpc : NULL,
                              .client = slice_text(client->from)};
    struct mcp_made made;
    if (mcp_request_make(&clients->host->mcp, &input, &made) < 0) {
        refuse(client, 503, "no memory", NULL, true);
        return;
    }
    if (made.answer != NULL) {
        struct bytes *answer = made.answer;
        made.answer = NULL;
        client->close = made.exchange.close;
        client_write_whole(client, answer);
    } else
        ask(client, &made);
    mcp_made_deinit(&made);
}

/* ---- reading --------------------------------------------------------------------------------- */

static int keep_more(struct client *client, const uint8_t *data, size_t length)
{
    int rc = 0;
    if (length == 0)
        return 0;
    if (client->more == NULL) {
        client->more = bytes_copy(NULL, data, length);
        rc = client->more == NULL ? UV_ENOMEM : 0;
    } else {
        rc = bytes_grow(&client->more, length);
        if (rc == 0) {
            memcpy(client->more->data + client->more->length, data, length);
            client->more->length += length;
        }
    }
    if (rc == 0 && client->more->length >= MORE_MAX && client->reading) {
        client->reading = false;
        (void)uv_read_stop((uv_stream_t *)&client->tcp);
    }
    return rc;
}

static void on_bad_request(struct client *client)
{
    client->clients->stats.bad_framing++;
    refuse(client, client->h1.status, client->h1.reason, NULL, true);
}

/* What the parser said of some bytes. True: it can be fed more. */
static bool on_event(struct client *client, enum h1_event event)
{
    switch (event) {
    case H1_HEAD:
        on_head(client);
        break;
    case H1_END:
        on_request(client);
        if (client->state != CLIENT_CLOSED && client->state != CLIENT_LINGERING)
            h1_next(&client->h1);
        return false;
    case H1_ERROR:
        on_bad_request(client);
        return false;
    case H1_MORE:
        return false;
    case H1_BODY: /* never: bodies are collected */
        break;
    }
    return client->state == CLIENT_READING;
}

/* Deadlines follow from what the parser waits for. */
static void time_reading(struct client *client, enum h1_phase before)
{
    uint64_t now_ms = client_now_ms(client);
    enum h1_phase phase = h1_phase(&client->h1);
    if (client->state != CLIENT_READING || phase == before)
        return;
    if (phase == H1_PHASE_HEAD) {
        client->since_ms = now_ms;
        set_timer(client, now_ms + HEADER_MS);
    } else if (phase == H1_PHASE_BODY) {
        client->since_ms = now_ms;
        set_timer(client, now_ms + BODY_FIRST_MS);
    } else
        set_timer(client, now_ms + IDLE_MS);
}

static void take_input(struct client *client, const uint8_t *data, size_t length)
{
    enum h1_phase before = h1_phase(&client->h1);
    size_t used;
    bool again = true;
    while (again) {
        enum h1_event event = h1_feed(&client->h1, data, length, &used);
        data += used;
        length -= used;
        again = on_event(client, event);
    }
    if (client->state == CLIENT_ASKED || client->state == CLIENT_ANSWERED) {
        if (keep_more(client, data, length) < 0)
            client_drop(client, true);
    } else
        time_reading(client, before);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct client *client = handle->data;
    uint8_t *at;
    size_t length;
    client->direct = client->state == CLIENT_READING && h1_body_room(&client->h1, &at, &length);
    if (client->direct)
        *buf = uv_buf_init((char *)at, (unsigned)length);
    else
        host_alloc(handle, suggested, buf);
}

static void on_eof(struct client *client)
{
    client->eof = true;
    /* A half-closed client still gets its answer (row H39). Where closing is how clients say that
     * they do not want any more, it is taken so. */
    bool wants_none = client->state == CLIENT_ASKED &&
                      (client->x.want == MESH_LISTEN || client->x.want == MESH_SSE ||
                       client->x.era == MESH_MODERN);
    if (!is_busy(client) || wants_none)
        client_drop(client, false);
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *buf)
{
    struct client *client = stream->data;
    if (length == UV_EOF)
        on_eof(client);
    else if (length < 0)
        client_drop(client, false);
    if (length <= 0 || client->state == CLIENT_CLOSED || client->state == CLIENT_LINGERING)
        return;
    const uint8_t *data = (const uint8_t *)buf->base;
    if (client->state != CLIENT_READING) {
        if (keep_more(client, data, (size_t)length) < 0)
            client_drop(client, true);
    } else if (client->direct) {
        enum h1_phase before = h1_phase(&client->h1);
        on_event(client, h1_body_filled(&client->h1, (size_t)length));
        time_reading(client, before);
    } else
        take_input(client, data, (size_t)length);
}

static int start_reading(struct client *client)
{
    if (client->reading || client->eof)
        return 0;
    client->reading = true;
    return uv_read_start((uv_stream_t *)&client->tcp, on_alloc, on_read);
}

/* ---- writing --------------------------------------------------------------------------------- */

/* The answer has left: the next request, or the end. */
static void next_request(struct client *client)
{
    bool close = client->close || client->eof || client->clients->finishing;
    mcp_exchange_deinit(&client->x);
    client->x = (struct mcp_exchange){0};
    if (close) {
        linger(client);
        return;
    }
    set_state(client, CLIENT_READING);
    client->head_out = client->refused = false;
    set_timer(client, client_now_ms(client) + IDLE_MS);
    if (start_reading(client) < 0) {
        client_drop(client, true);
        return;
    }
    struct bytes *more = client->more;
    client->more = NULL;
    if (more != NULL)
        take_input(client, more->data, more->length);
    bytes_unref(more);
}

void client_answered(struct client *client)
{
    client->close = client->close || client->x.close;
    set_state(client, CLIENT_ANSWERED);
    client->since_ms = client_now_ms(client);
    set_timer(client, client->since_ms + STALL_MS);
    if (client->writer.length == 0)
        next_request(client);
}

static void on_written(struct writer *writer, int status)
{
    struct client *client = container_of(writer, struct client, writer);
    if (client->state == CLIENT_CLOSED)
        return;
    if (status < 0) {
        client_drop(client, false);
        return;
    }
    size_t credit = writer->credit;
    writer->credit = 0;
    if (client->state != CLIENT_READING)
        client->since_ms = client_now_ms(client);
    if (credit > 0 && client->state == CLIENT_ASKED)
        mesh_taken(client->clients->host->mesh, client->exchange, credit, client->since_ms);
    if (client->state == CLIENT_ANSWERED && writer->length == 0)
        next_request(client);
}

/* ---- deadlines ------------------------------------------------------------------------------- */

static void time_out(struct client *client)
{
    client->clients->stats.timeouts++;
    refuse(client, 408, "the request took too long", NULL, true);
}

static void on_body_due(struct client *client, uint64_t now_ms)
{
    /* Thirty seconds, or as long as it keeps above the floor. */
    uint64_t allowed_ms = client->h1.body_bytes * 1000 / BODY_FLOOR;
    if (client->h1.body_bytes == 0)
        allowed_ms = BODY_FIRST_MS;
    else if (allowed_ms < BODY_MS)
        allowed_ms = BODY_MS;
    if (now_ms - client->since_ms >= allowed_ms)
        time_out(client);
    else
        set_timer(client, client->since_ms + allowed_ms);
}

static void on_asked_due(struct client *client, uint64_t now_ms)
{
    uint64_t silent_ms = now_ms - client->since_ms;
    bool stuck = client->writer.length > 0;
    if (stuck && client->stuck_taken != client->writer.taken) {
        client->stuck_taken = client->writer.taken; /* from this look on */
        client->since_ms = now_ms;
    } else if (stuck && silent_ms >= STALL_MS) {
        client->clients->stats.slow++;
        client_drop(client, true);
        return;
    } else if (!stuck && silent_ms >= COMMENT_MS) {
        client->since_ms = now_ms;
        client_write_comment(client);
    }
    if (client->state != CLIENT_CLOSED)
        set_timer(client, client->since_ms + (stuck ? STALL_MS : COMMENT_MS));
}

static void on_timer(struct wheel_item *item, uint64_t now_ms)
{
    struct client *client = container_of(item, struct client, timer);
    switch (client->state) {
    case CLIENT_READING:
        if (h1_phase(&client->h1) == H1_PHASE_HEAD)
            time_out(client);
        else if (h1_phase(&client->h1) == H1_PHASE_BODY)
            on_body_due(client, now_ms);
        else
            client_drop(client, false);
        break;
    case CLIENT_ASKED:
        on_asked_due(client, now_ms);
        break;
    case CLIENT_ANSWERED:
        if (now_ms - client->since_ms >= STALL_MS) {
            client->clients->stats.slow++;
            client_drop(client, true);
        } else
            set_timer(client, client->since_ms + STALL_MS);
        break;
    case CLIENT_LINGERING:
        client_drop(client, false);
        break;
    case CLIENT_CLOSED:
        break;
    }
}

void client_start(struct client *client)
{
    struct clients *clients = client->clients;
    struct host *host = clients->host;
    struct h1_limits limits = h1_limits_default(H1_REQUESTS);
    limits.collect = true;
    limits.body_max = host->gate.body_max;
    (void)uv_tcp_nodelay(&client->tcp, 1);
    h1_init(&client->h1, H1_REQUESTS, &limits, &host->bodies);
    h1_use_memo(&client->h1, &clients->heads);
    writer_init(&client->writer, &host->writers, (uv_stream_t *)&client->tcp, on_written);
    client->timer.on_due = on_timer;
    addr_host_text(&client->addr, client->from);
    client->next = clients->first;
    client->link = &clients->first;
    if (client->next != NULL)
        client->next->link = &client->next;
    clients->first = client;
    clients->stats.connections++;
    set_state(client, CLIENT_READING);
    set_timer(client, host_now_ms(host) + IDLE_MS);
    if (start_reading(client) < 0)
        client_drop(client, true);
}
