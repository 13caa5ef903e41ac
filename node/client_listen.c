/* client_listen.c - the public listener: who is let in, how many in all and from one address. What
 * becomes of a connection stands in client.c. */
#include <stdlib.h>

#include "node/client_conn.h"

#define BACKLOG 511

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
    uint32_t count = 0;
    address_key(addr, key);
    (void)table_get(&clients->addresses, key, &count);
    if (count >= clients->host->config->connections_per_address_max)
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
static void turn_away(struct clients *clients)
{
    uv_tcp_t *tcp = malloc(sizeof *tcp);
    if (tcp == NULL || uv_tcp_init(&clients->host->loop, tcp) != 0) {
        free(tcp);
        return;
    }
    (void)uv_accept((uv_stream_t *)&clients->listener, (uv_stream_t *)tcp);
    uv_close((uv_handle_t *)tcp, on_refused_closed);
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

static void on_connection(uv_stream_t *listener, int status)
{
    struct clients *clients = listener->data;
    struct host *host = clients->host;
    if (status < 0)
        return; /* no descriptor left: libuv has accepted and closed what waited, by its reserve */
    struct client *client = NULL;
    if (clients->stats.connections < clients->stats.connections_max)
        client = calloc(1, sizeof *client);
    else
        clients->stats.refused_total++;
    if (client == NULL) {
        turn_away(clients);
        return;
    }
    (void)uv_tcp_init(&host->loop, &client->tcp);
    client->clients = clients;
    client->tcp.data = client;
    int rc = accept_client(clients, client);
    if (rc < 0) {
        uv_close((uv_handle_t *)&client->tcp, on_client_refused);
        return;
    }
    clients->stats.accepted++;
    client_start(client);
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
    clients->answers.budget = &host->passing;
    clients->stats.connections_max = host->connections_max;
    int rc = uv_random(NULL, NULL, sip_key, sizeof sip_key, 0, NULL);
    table_init(&clients->addresses, sizeof sip_key, sip_key);
    (void)uv_tcp_init(&host->loop, &clients->listener);
    clients->listener.data = clients;
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
