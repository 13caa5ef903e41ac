/* resolve.c - see resolve.h. One lookup at a time: a resolver that hangs holds one thread of
 * libuv's pool and delays the other names, never the loop. */
#include "node/resolve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "node/host.h"
#include "node/log.h"

#define NAME_MAX_BYTES 253u
#define LABEL_MAX_BYTES 63u
#define ADDRESSES_MAX 64u
#define AGAIN_MS 5000u        /* while we know of no other member */
#define AGAIN_FOUND_MS 30000u /* after */
#define SEEDS_MAX 64u

struct seed {
    struct mesh_addr addr; /* numeric: the whole of it; a name: the port */
    bool is_name, failed;
    char name[NAME_MAX_BYTES + 1];
};

struct resolver {
    struct host *host;
    struct wheel_item again;
    uv_getaddrinfo_t request;
    bool in_flight, closing;
    uint32_t next, count; /* next: the seed whose turn it is */
    struct seed seeds[];
};

static bool name_is_good(const char *name, size_t length)
{
    size_t label = 0;
    if (length == 0 || length > NAME_MAX_BYTES)
        return false;
    for (size_t i = 0; i < length; i++) {
        char c = name[i];
        bool dot = c == '.';
        if (dot ? label == 0 : ++label > LABEL_MAX_BYTES)
            return false;
        if (dot)
            label = 0;
        else if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
                 c != '-' && c != '_')
            return false;
    }
    return true; /* a dot at the end is legal: the name is complete */
}

static bool read_seed(struct seed *seed, const char *text, uint16_t port_default)
{
    *seed = (struct seed){.is_name = false};
    if (addr_read(&seed->addr, text, port_default))
        return seed->addr.port != 0;
    const char *colon = strrchr(text, ':');
    size_t length = colon != NULL ? (size_t)(colon - text) : strlen(text);
    if (!name_is_good(text, length))
        return false;
    /* The port in the form that a numeric address takes: one reader for both. */
    char numeric[32];
    if (colon != NULL &&
        (snprintf(numeric, sizeof numeric, "0.0.0.0%s", colon) >= (int)sizeof numeric ||
         !addr_read(&seed->addr, numeric, 0) || seed->addr.port == 0))
        return false;
    if (colon == NULL)
        seed->addr.port = port_default;
    seed->is_name = true;
    memcpy(seed->name, text, length);
    return true;
}

bool resolve_is_seed(const char *text)
{
    struct seed seed;
    return read_seed(&seed, text, 1);
}

static void resolve_next(struct resolver *resolver);

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct resolver *resolver = request->data;
    struct host *host = resolver->host;
    struct seed *seed = &resolver->seeds[resolver->next];
    resolver->in_flight = false;
    uint32_t taken = 0;
    if (!resolver->closing && status == 0) {
        for (struct addrinfo *at = found; at != NULL && taken < ADDRESSES_MAX; at = at->ai_next) {
            struct mesh_addr addr;
            if (!addr_of_socket(&addr, at->ai_addr))
                continue;
            addr.port = seed->addr.port;
            mesh_join(host->mesh, &addr, host_now_ms(host));
            taken++;
        }
    }
    uv_freeaddrinfo(found);
    if (resolver->closing)
        return;
    /* One line when it begins to fail, one when it is over. */
    bool failed = taken == 0;
    if (failed && !seed->failed)
        log_warn("seed_unresolved", "name=%s error=%s", seed->name,
                 status < 0 ? host_error_name(status) : "empty");
    else if (!failed && seed->failed)
        log_info("seed_resolved", "name=%s addresses=%u", seed->name, taken);
    seed->failed = failed;
    resolver->next++;
    resolve_next(resolver);
}

static void resolve_next(struct resolver *resolver)
{
    struct host *host = resolver->host;
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    for (; resolver->next < resolver->count; resolver->next++) {
        struct seed *seed = &resolver->seeds[resolver->next];
        if (!seed->is_name) {
            mesh_join(host->mesh, &seed->addr, host_now_ms(host));
            continue;
        }
        resolver->request.data = resolver;
        if (uv_getaddrinfo(&host->loop, &resolver->request, on_resolved, seed->name, NULL,
                           &hints) == 0) {
            resolver->in_flight = true;
            return;
        }
    }
    struct mesh_stats stats;
    mesh_stats(host->mesh, &stats);
    /* Who found nobody works alone: it may be the names that are wrong. */
    uint32_t wait_ms = stats.members_alive > 1 ? AGAIN_FOUND_MS : AGAIN_MS;
    /* Jitter: a whole deployment that starts at once should not ask in step for ever. */
    wait_ms += host_chance(host, wait_ms / 4);
    wheel_set(&host->wheel, &resolver->again, host_now_ms(host) + wait_ms);
}

static void on_again(struct wheel_item *item, uint64_t now_ms)
{
    (void)now_ms;
    struct resolver *resolver = container_of(item, struct resolver, again);
    resolver->next = 0;
    resolve_next(resolver);
}

int resolver_new(struct resolver **resolverp, struct host *host, const char *const *seeds,
                 size_t count, uint16_t port_default)
{
    if (count > SEEDS_MAX)
        return -EINVAL;
    struct resolver *resolver = calloc(1, sizeof *resolver + count * sizeof resolver->seeds[0]);
    if (resolver == NULL)
        return -ENOMEM;
    resolver->host = host;
    resolver->again.on_due = on_again;
    for (size_t i = 0; i < count; i++) {
        if (!read_seed(&resolver->seeds[i], seeds[i], port_default)) {
            free(resolver);
            return -EINVAL;
        }
    }
    resolver->count = (uint32_t)count;
    *resolverp = resolver;
    return 0;
}

void resolver_start(struct resolver *resolver)
{
    if (resolver->count > 0)
        on_again(&resolver->again, host_now_ms(resolver->host));
}

void resolver_close(struct resolver *resolver)
{
    if (resolver == NULL)
        return;
    resolver->closing = true;
    wheel_stop(&resolver->again);
}

bool resolver_is_busy(const struct resolver *resolver)
{
    return resolver != NULL && resolver->in_flight;
}

void resolver_free(struct resolver *resolver)
{
    free(resolver);
}
