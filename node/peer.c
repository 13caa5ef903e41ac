/* peer.c - see peer.h. Datagrams are sent at once or not at all (libuv would queue them without
 * bound); a link is a TCP socket, a writer and the core's handle. */
#include "node/peer.h"

#include <stdlib.h>

#include "node/host.h"
#include "node/log.h"
#include "node/slots.h"

#define LISTEN_BACKLOG 128
#define DIAL_TIMEOUT_MS 2000u
#define LINGER_MS 2000u /* what a closed link may take to be read out and closed by the other */
#define SOCKETS_MAX 4096u
#define ACCEPT_AGAIN_MS 500u
#define DATAGRAMS_AT_ONCE 16u
#define DATAGRAM_ROOM_BYTES (64u << 10) /* that libuv takes for each */

struct peers {
    struct host *host;
    uv_udp_t udp;
    uv_tcp_t listener;
    struct slots links;
    struct peer_link *first; /* all sockets, also those whose link the core forgot */
    uint32_t count;
    uint64_t datagrams_dropped, datagrams_partial;
    struct wheel_item accept_again;
    char datagrams[]; /* rooms for those that one call reads; what is never filled costs nothing */
};

enum link_state {
    LINK_DIALING,
    LINK_OPEN,
    LINK_ENDING, /* the core let go: what is queued goes out, then FIN */
    LINK_CLOSED  /* uv_close() was called */
};

struct peer_link {
    struct peers *peers;
    struct peer_link *next, **link;
    uv_tcp_t tcp;
    struct writer writer;
    struct handle handle;
    enum link_state state;
    bool fin_queued, fin_seen;
    struct wheel_item timeout;
    union {
        uv_connect_t connect;
        uv_shutdown_t shutdown;
    } request;
};

static uint64_t now(struct peers *peers)
{
    return host_now_ms(peers->host);
}

static void on_link_closed(uv_handle_t *handle)
{
    struct peer_link *link = handle->data;
    *link->link = link->next;
    if (link->next != NULL)
        link->next->link = link->link;
    link->peers->count--;
    writer_free(&link->writer);
    free(link);
}

/* Closes the socket and says to the core what became of it, if it does not know. */
static void drop_link(struct peer_link *link, enum mesh_loss why, bool reset)
{
    if (link->state == LINK_CLOSED)
        return;
    struct peers *peers = link->peers;
    link->state = LINK_CLOSED;
    wheel_stop(&link->timeout);
    writer_stop(&link->writer);
    slots_clear(&peers->links, link->handle);
    if (link->handle.generation != 0)
        mesh_link_down(peers->host->mesh, link->handle, why, now(peers));
    if (!reset || uv_tcp_close_reset(&link->tcp, on_link_closed) != 0)
        uv_close((uv_handle_t *)&link->tcp, on_link_closed);
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
    struct peer_link *link = request->data;
    if (status != UV_ECANCELED && (status < 0 || link->fin_seen))
        drop_link(link, MESH_LOSS_FIN, false);
}

/* Everything is written: FIN, and wait for the other's. */
static void finish_link(struct peer_link *link)
{
    if (link->fin_queued || link->writer.length > 0)
        return;
    link->fin_queued = true;
    link->request.shutdown.data = link;
    if (uv_shutdown(&link->request.shutdown, (uv_stream_t *)&link->tcp, on_shutdown) != 0)
        drop_link(link, MESH_LOSS_RST, false);
}

static void on_written(struct writer *writer, int status)
{
    struct peer_link *link = container_of(writer, struct peer_link, writer);
    if (link->state == LINK_CLOSED)
        return;
    if (status < 0) {
        drop_link(link, MESH_LOSS_RST, false);
        return;
    }
    size_t credit = writer->credit;
    writer->credit = 0;
    if (credit > 0 && link->state == LINK_OPEN)
        mesh_link_taken(link->peers->host->mesh, link->handle, credit, now(link->peers));
    if (link->state == LINK_ENDING)
        finish_link(link);
}

static void on_timeout(struct wheel_item *item, uint64_t now_ms)
{
    (void)now_ms;
    struct peer_link *link = container_of(item, struct peer_link, timeout);
    drop_link(link, MESH_LOSS_TIMEOUT, link->state == LINK_ENDING);
}

static struct peer_link *new_link(struct peers *peers)
{
    struct host *host = peers->host;
    struct peer_link *link = NULL;
    if (peers->count < SOCKETS_MAX)
        link = calloc(1, sizeof *link);
    if (link == NULL || uv_tcp_init(&host->loop, &link->tcp) != 0) {
        free(link);
        return NULL;
    }
    link->peers = peers;
    link->tcp.data = link;
    link->timeout.on_due = on_timeout;
    writer_init(&link->writer, &host->writers, (uv_stream_t *)&link->tcp, on_written);
    link->next = peers->first;
    link->link = &peers->first;
    if (link->next != NULL)
        link->next->link = &link->next;
    peers->first = link;
    peers->count++;
    return link;
}

static void on_link_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *buf)
{
    struct peer_link *link = stream->data;
    struct peers *peers = link->peers;
    if (length == UV_EOF && link->state == LINK_ENDING && !link->fin_queued)
        link->fin_seen = true; /* what is queued still goes out */
    else if (length < 0)
        drop_link(link, length == UV_EOF ? MESH_LOSS_FIN : MESH_LOSS_RST, false);
    else if (length > 0 && link->state == LINK_OPEN)
        mesh_link_bytes(peers->host->mesh, link->handle, slice_borrow(buf->base, (size_t)length),
                        now(peers));
}

static int start_link(struct peer_link *link)
{
    link->state = LINK_OPEN;
    /* Frames of a turn are gathered before they are written: nothing is gained by waiting. */
    (void)uv_tcp_nodelay(&link->tcp, 1);
    return uv_read_start((uv_stream_t *)&link->tcp, host_alloc, on_link_read);
}

static void on_connect(uv_connect_t *request, int status)
{
    struct peer_link *link = request->data;
    if (status == UV_ECANCELED || link->state == LINK_CLOSED)
        return;
    wheel_stop(&link->timeout);
    bool ending = link->state == LINK_ENDING;
    if (status == 0 && !ending)
        status = start_link(link);
    if (status < 0 || ending) {
        drop_link(link, status == UV_ECONNREFUSED ? MESH_LOSS_REFUSED : MESH_LOSS_RST, false);
        return;
    }
    writer_release(&link->writer);
    mesh_link_up(link->peers->host->mesh, link->handle, now(link->peers));
}

static void dial(struct peers *peers, const struct mesh_effect *effect)
{
    struct host *host = peers->host;
    struct peer_link *link = new_link(peers);
    if (link == NULL || slots_put(&peers->links, effect->handle, link) < 0) {
        mesh_link_down(host->mesh, effect->handle, MESH_LOSS_RST, now(peers));
        if (link != NULL)
            drop_link(link, MESH_LOSS_RST, false);
        return;
    }
    link->handle = effect->handle;
    link->state = LINK_DIALING;
    link->writer.held = true;
    link->request.connect.data = link;
    wheel_set(&host->wheel, &link->timeout, now(peers) + DIAL_TIMEOUT_MS);
    struct sockaddr_storage to;
    addr_to_socket(&to, &effect->wire.to);
    if (uv_tcp_connect(&link->request.connect, &link->tcp, (struct sockaddr *)&to, on_connect) != 0)
        drop_link(link, MESH_LOSS_REFUSED, false);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct peers *peers = listener->data;
    struct host *host = peers->host;
    if (status < 0)
        return; /* no descriptor left: libuv closed what waited */
    struct peer_link *link = new_link(peers);
    if (link == NULL) {
        /* libuv holds it and listens no more until it is asked for it. */
        wheel_set(&host->wheel, &peers->accept_again, now(peers) + ACCEPT_AGAIN_MS);
        return;
    }
    struct sockaddr_storage name;
    int length = sizeof name;
    struct mesh_addr from;
    bool good = uv_accept(listener, (uv_stream_t *)&link->tcp) == 0 &&
                uv_tcp_getpeername(&link->tcp, (struct sockaddr *)&name, &length) == 0 &&
                addr_of_socket(&from, (struct sockaddr *)&name);
    if (good) {
        link->handle = mesh_link_accepted(host->mesh, &from, now(peers));
        good = link->handle.generation != 0 && slots_put(&peers->links, link->handle, link) == 0 &&
               start_link(link) == 0;
    }
    if (!good)
        drop_link(link, MESH_LOSS_RST, true);
}

static void on_accept_again(struct wheel_item *item, uint64_t now_ms)
{
    struct peers *peers = container_of(item, struct peers, accept_again);
    (void)now_ms;
    on_connection((uv_stream_t *)&peers->listener, 0);
}

static void alloc_datagrams(uv_handle_t *handle, size_t wanted, uv_buf_t *buf)
{
    struct peers *peers = handle->data;
    (void)wanted;
    *buf = uv_buf_init(peers->datagrams, DATAGRAMS_AT_ONCE * DATAGRAM_ROOM_BYTES);
}

static void on_datagram(uv_udp_t *udp, ssize_t length, const uv_buf_t *buf,
                        const struct sockaddr *name, unsigned flags)
{
    struct peers *peers = udp->data;
    struct mesh_addr from;
    if (length < 0 || name == NULL)
        return; /* an error reported by the network, or nothing more to read */
    if ((flags & UV_UDP_PARTIAL) != 0) {
        peers->datagrams_partial++;
        return;
    }
    if (addr_of_socket(&from, name))
        mesh_datagram(peers->host->mesh, &from, slice_borrow(buf->base, (size_t)length),
                      now(peers));
}

static void send_datagram(struct peers *peers, const struct mesh_effect *effect)
{
    struct sockaddr_storage to;
    struct slice s = effect->wire.sealed;
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)s.at, (unsigned)s.length);
    addr_to_socket(&to, &effect->wire.to);
    if (uv_udp_try_send(&peers->udp, &buf, 1, (struct sockaddr *)&to) < 0)
        peers->datagrams_dropped++;
}

static void write_link(struct peers *peers, const struct mesh_effect *effect)
{
    struct peer_link *link = slots_get(&peers->links, effect->handle);
    struct slice s = effect->wire.sealed;
    if (link != NULL && writer_add(&link->writer, s, s.length) < 0)
        drop_link(link, MESH_LOSS_RST, true); /* a hole in a sealed stream is its end */
}

static void close_link(struct peers *peers, const struct mesh_effect *effect)
{
    struct peer_link *link = slots_get(&peers->links, effect->handle);
    if (link == NULL)
        return;
    if (effect->end.cut || link->state == LINK_DIALING) {
        drop_link(link, MESH_LOSS_RST, link->state != LINK_DIALING);
        return;
    }
    link->state = LINK_ENDING;
    wheel_set(&peers->host->wheel, &link->timeout, now(peers) + LINGER_MS);
    finish_link(link);
}

void peers_do(struct peers *peers, const struct mesh_effect *effect)
{
    /* The other kinds are not ours. */
    if (effect->kind == MESH_DATAGRAM)
        send_datagram(peers, effect);
    else if (effect->kind == MESH_LINK_DIAL)
        dial(peers, effect);
    else if (effect->kind == MESH_LINK_BYTES)
        write_link(peers, effect);
    else if (effect->kind == MESH_LINK_CLOSE)
        close_link(peers, effect);
}

static int bind_both(struct peers *peers, struct mesh_addr *listen)
{
    struct sockaddr_storage at;
    int length = sizeof at;
    addr_to_socket(&at, listen);
    int rc = uv_tcp_bind(&peers->listener, (struct sockaddr *)&at, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&peers->listener, LISTEN_BACKLOG, on_connection);
    if (rc == 0)
        rc = uv_tcp_getsockname(&peers->listener, (struct sockaddr *)&at, &length);
    if (rc == 0)
        rc = uv_udp_bind(&peers->udp, (struct sockaddr *)&at, 0);
    if (rc == 0)
        rc = uv_udp_recv_start(&peers->udp, alloc_datagrams, on_datagram);
    if (rc == 0)
        addr_of_socket(listen, (struct sockaddr *)&at);
    return rc;
}

int peers_new(struct peers **peersp, struct host *host, struct mesh_addr *listen)
{
    struct peers *peers = calloc(1, sizeof *peers + DATAGRAMS_AT_ONCE * DATAGRAM_ROOM_BYTES);
    if (peers == NULL)
        return UV_ENOMEM;
    peers->host = host;
    peers->udp.data = peers->listener.data = peers;
    peers->accept_again.on_due = on_accept_again;
    int rc = uv_udp_init_ex(&host->loop, &peers->udp, AF_UNSPEC | UV_UDP_RECVMMSG);
    if (rc == 0)
        rc = uv_tcp_init(&host->loop, &peers->listener);
    if (rc < 0) { /* no socket is made yet: only a lack of memory gets here */
        free(peers);
        return rc;
    }
    *peersp = peers; /* also when binding fails: the handles are the loop's until they are closed */
    return bind_both(peers, listen);
}

void peers_close(struct peers *peers)
{
    if (peers == NULL)
        return;
    wheel_stop(&peers->accept_again);
    uv_close((uv_handle_t *)&peers->udp, NULL);
    uv_close((uv_handle_t *)&peers->listener, NULL);
    for (struct peer_link *link = peers->first; link != NULL; link = link->next)
        drop_link(link, MESH_LOSS_FIN, false);
}

void peers_free(struct peers *peers)
{
    if (peers == NULL)
        return;
    slots_free(&peers->links);
    free(peers);
}

void peers_stats(const struct peers *peers, struct peers_stats *stats)
{
    *stats = (struct peers_stats){peers->datagrams_dropped, peers->datagrams_partial, peers->count};
}
