/* upstream.c - see upstream.h. */
#include "node/upstream.h"

#include <inttypes.h>
#include <stdlib.h>

#include "node/host.h"
#include "node/log.h"
#include "node/up_builtin.h"

int upstream_new(struct upstream **upstreamp, struct host *host)
{
    struct upstream *upstream = calloc(1, sizeof *upstream);
    if (upstream == NULL)
        return UV_ENOMEM;
    upstream->host = host;
    if (host->config->upstream_url != NULL)
        upstream->ops = &up_http_ops;
    else if (host->config->command != NULL)
        upstream->ops = &up_stdio_ops;
    else
        upstream->ops = &up_builtin_ops;
    int rc = upstream->ops->start(upstream, &upstream->kind);
    if (rc < 0) {
        free(upstream);
        return rc;
    }
    *upstreamp = upstream;
    return 0;
}

void upstream_do(struct upstream *upstream, const struct mesh_effect *effect)
{
    const struct upstream_ops *ops = upstream->ops;
    if (effect->kind == MESH_UP_OPEN)
        ops->open(upstream->kind, effect);
    else if (effect->kind == MESH_UP_SEND || effect->kind == MESH_UP_LISTEN)
        ops->send(upstream->kind, effect);
    else if (effect->kind == MESH_UP_ROOM)
        ops->room(upstream->kind, effect);
    else if (effect->kind == MESH_UP_CANCEL)
        ops->cancel(upstream->kind, effect);
    else if (effect->kind == MESH_UP_CLOSE)
        ops->shut(upstream->kind, effect);
}

void upstream_turn(struct upstream *upstream, uint64_t now_ms)
{
    if (upstream->ops->turn != NULL)
        upstream->ops->turn(upstream->kind, now_ms);
}

uint64_t upstream_deadline_ms(const struct upstream *upstream)
{
    return upstream->ops->deadline_ms != NULL ? upstream->ops->deadline_ms(upstream->kind)
                                              : MESH_NEVER;
}

void upstream_close(struct upstream *upstream)
{
    if (upstream == NULL || upstream->closing)
        return;
    upstream->closing = true;
    upstream->ops->close(upstream->kind);
}

bool upstream_is_busy(const struct upstream *upstream)
{
    return upstream != NULL && upstream->ops->is_busy != NULL &&
           upstream->ops->is_busy(upstream->kind);
}

bool upstream_has_last_words(const struct upstream *upstream)
{
    return upstream->ops->has_last_words != NULL && upstream->ops->has_last_words(upstream->kind);
}

void upstream_free(struct upstream *upstream)
{
    if (upstream == NULL)
        return;
    upstream->ops->free(upstream->kind);
    slots_free(&upstream->ups);
    free(upstream);
}

bool upstream_serves(const struct upstream *upstream)
{
    return upstream->serving && !mesh_up_fails(upstream->host->mesh);
}

void upstream_members_changed(struct upstream *upstream)
{
    if (upstream->ops == &up_builtin_ops)
        up_builtin_members_changed(upstream->kind);
}

void upstream_note_fails(struct upstream *upstream, bool fails)
{
    if (!fails)
        log_info("upstream_works", "asked=%" PRIu64, upstream->stats.asked);
    else
        log_warn("upstream_fails", "calls failed in a row; it is asked once a second");
    if (fails && !upstream->closing && upstream->ops->ask != NULL)
        upstream->ops->ask(upstream->kind);
}

void upstream_set_serving(struct upstream *upstream, bool serving, const char *why)
{
    bool is_back = serving && mesh_up_fails(upstream->host->mesh);
    if (upstream->was_asked && upstream->serving == serving && !is_back)
        return;
    upstream->was_asked = true;
    upstream->serving = serving;
    mesh_serving(upstream->host->mesh, serving, upstream_now_ms(upstream));
    if (serving)
        log_info("upstream_serving", "why=%s", why);
    else
        log_warn("upstream_not_serving", "why=%s", why);
}

uint64_t upstream_now_ms(struct upstream *upstream)
{
    return host_now_ms(upstream->host);
}
