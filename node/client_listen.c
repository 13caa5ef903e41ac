/* client_listen.c - the public listener: who is let in, how many in all and from one address. What
 * becomes of a connection stands in client.c. */
#include <stdlib.h>
#include <sys/ioctl.h>

#include "node/client_conn.h"

#define BACKLOG 511
#define READING_MS 50u /* for a request to come, before others may have the place */
#define AGAIN_MS 10u
#define LOOKS_MAX 64

/* ---- how many per address -------------------------------------------------------------------- */

/* An IPv6 host has a whole /64 of its own. */
static void address_key(const struct mesh_addr *addr, uint8_t key[16])
{
    memcpy(key, addr->ip, 16);
    if (!addr_is_v4(addr))
        memset(key + 8, 0, 8);
}

static bool count_address(struct clients *clients, const struct mesh_addr *addr)
{
    uint8_t key[16];
    uint32_t count = 0, most = clients->host->config->connections_per_address_max;
    address_key(addr, key);
    (void)table_get(&clients->addresses, key, &count);
    if (most != 0 && count >= most)
        return false;
    (void)table_remove(&clients->addresses, key);
    return table_put(&clients->addresses, key, count + 1) == 0;
}

void client_uncount_address(struct clients *clients, const struct mesh_addr *addr)
{
    uint8_t key[16];
    uint32_t count = 0;
    address_key(addr, key);
    (void)table_get(&clients->addresses, key, &count);
    (void)table_remove(&clients->addresses, key);
    if (count > 1) /* a place was just freed: it has room */
        (void)table_put(&clients->addresses, key, count - 1);
}

/* ---- the listener ---------------------------------------------------------------------------- */

static void on_refused_closed(uv_handle_t *handle)
{
    free(handle);
}

static void on_client_refused(uv_handle_t *handle)
{
    free(handle->data);
}

/* Taken off the backlog and closed: it shall not wait for a place that is not there. */
static int turn_away(struct clients *clients)
{
    uv_tcp_t *tcp = malloc(sizeof *tcp);
    if (tcp == NULL || uv_tcp_init(&clients->host->loop, tcp) != 0) {
        free(tcp);
        return UV_ENOMEM;
    }
    (void)uv_accept((uv_stream_t *)&clients->listener, (uv_stream_t *)tcp);
    uv_close((uv_handle_t *)tcp, on_refused_closed);
    return 0;
}

/* It waits for bytes, and none wait for us. */
static bool is_idle(const struct client *client)
{
    uv_os_fd_t fd;
    int unread = 0;
    return uv_fileno((const uv_handle_t *)&client->tcp, &fd) == 0 &&
           ioctl(fd, FIONREAD, &unread) == 0 && unread == 0;
}

enum room {
    ROOM_FREE,
    ROOM_OF_ANOTHER, /* *client has to go for it */
    ROOM_SOON,
    ROOM_NONE /* all have requests under way */
};

/* There is room for one more, if need be that of whoever waits longest for its request to come, or
 * to become whole: slow ones are not to keep others out, and an idle one finds its connection
 * closed as it might any time. Who is new, or was just answered, has some time first: meanwhile
 * others wait in the backlog. */
static enum room find_room(struct clients *clients, struct client **client)
{
    uint64_t now_ms = host_now_ms(clients->host);
    if (clients->stats.connections - clients->closing < clients->stats.connections_max)
        return ROOM_FREE;
    if (list_is_empty(&clients->reading))
        return ROOM_NONE;
    for (int looks = 0; looks < LOOKS_MAX; looks++) {
        struct list *first = list_first(&clients->reading);
        *client = container_of(first, struct client, in_one);
        if (now_ms < (*client)->since_ms + READING_MS)
            break;
        if (is_idle(*client))
            return ROOM_OF_ANOTHER;
        list_remove(first);
        list_push_back(&clients->reading, first);
    }
    return ROOM_SOON;
}

static int accept_client(struct clients *clients, struct client *client)
{
    struct sockaddr_storage name;
    int length = sizeof name;
    int rc = uv_accept((uv_stream_t *)&clients->listener, (uv_stream_t *)&client->tcp);
    if (rc == 0)
        rc = uv_tcp_getpeername(&client->tcp, (struct sockaddr *)&name, &length);
    if (rc == 0 && !addr_of_socket(&client->addr, (struct sockaddr *)&name))
        rc = UV_EAFNOSUPPORT;
    if (rc == 0 && !count_address(clients, &client->addr)) {
        clients->stats.refused_address++;
        rc = UV_EBUSY;
    }
    return rc;
}

static int take_client(struct clients *clients, struct client *displaced)
{
    struct host *host = clients->host;
    struct client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return UV_ENOMEM;
    (void)uv_tcp_init(&host->loop, &client->tcp);
    client->clients = clients;
    client->tcp.data = client;
    int rc = accept_client(clients, client);
    if (rc < 0) {
        uv_close((uv_handle_t *)&client->tcp, on_client_refused);
        return 0;
    }
    if (displaced != NULL) {
        clients->stats.displaced++;
        client_drop(displaced, false);
    }
    clients->stats.accepted++;
    client_start(client);
    return 0;
}

static void on_again(uv_timer_t *timer);

/* The one that libuv has accepted for us: until it is taken the others wait in the backlog. */
static void take_waiting(struct clients *clients)
{
    struct client *displaced = NULL;
    int rc = UV_EAGAIN;
    switch (find_room(clients, &displaced)) {
    case ROOM_FREE:
    case ROOM_OF_ANOTHER:
        rc = take_client(clients, displaced);
        break;
    case ROOM_SOON:
        break;
    case ROOM_NONE:
        clients->stats.refused_total++;
        rc = turn_away(clients);
        break;
    }
    if (rc < 0)
        (void)uv_timer_start(&clients->again, on_again, AGAIN_MS, 0);
}

static void on_again(uv_timer_t *timer)
{
    take_waiting(timer->data);
}

static void on_connection(uv_stream_t *listener, int status)
{
    if (status == 0)
        take_waiting(listener->data);
    /* else no descriptor is left: libuv has accepted and closed what waited, by its reserve */
}

int clients_new(struct clients **clientsp, struct host *host, struct mesh_addr *listen)
{
    struct clients *clients = calloc(1, sizeof *clients);
    struct sockaddr_storage at;
    int length = sizeof at;
    uint8_t sip_key[16];
    if (clients == NULL)
        return UV_ENOMEM;
    *clientsp = clients;
    clients->host = host;
    list_init(&clients->reading);
    list_init(&clients->unsettled);
    clients->answers.budget = &host->passing;
    clients->stats.connections_max = host->connections_max;
    int rc = uv_random(NULL, NULL, sip_key, sizeof sip_key, 0, NULL);
    table_init(&clients->addresses, sizeof sip_key, sip_key);
    (void)uv_tcp_init(&host->loop, &clients->listener);
    (void)uv_timer_init(&host->loop, &clients->again);
    clients->listener.data = clients->again.data = clients;
    clients->listening = true;
    addr_to_socket(&at, listen);
    if (rc == 0)
        rc = uv_tcp_bind(&clients->listener, (struct sockaddr *)&at, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&clients->listener, BACKLOG, on_connection);
    if (rc == 0)
        rc = uv_tcp_getsockname(&clients->listener, (struct sockaddr *)&at, &length);
    if (rc == 0)
        addr_of_socket(listen, (struct sockaddr *)&at);
    return rc;
}

void clients_finish(struct clients *clients)
{
    clients->finishing = true;
    if (clients->listening) {
        clients->listening = false;
        uv_close((uv_handle_t *)&clients->listener, NULL);
        uv_close((uv_handle_t *)&clients->again, NULL);
    }
    for (struct client *client = clients->first; client != NULL; client = client->next) {
        if (client->state == CLIENT_READING)
            client_drop(client, false);
    }
}

bool clients_are_done(const struct clients *clients)
{
    return clients->busy == 0;
}

void clients_close(struct clients *clients)
{
    if (clients == NULL)
        return;
    clients_finish(clients);
    for (struct client *client = clients->first; client != NULL; client = client->next)
        client_drop(client, false);
}

void clients_free(struct clients *clients)
{
    if (clients == NULL)
        return;
    table_deinit(&clients->addresses);
    slots_free(&clients->exchanges);
    h1_memo_deinit(&clients->heads);
    mcp_heads_deinit(&clients->answers);
    free(clients);
}

const struct clients_stats *clients_stats(const struct clients *clients)
{
    return &clients->stats;
}
