/* status.c - see status.h. libmicrohttpd has an epoll descriptor and a timeout of its own; here
 * they become a poll handle and a timer of the loop (bad-inputs.md §10). */
#include "node/status.h"

#include <inttypes.h>
#include <stdlib.h>

#include "http/admin.h"
#include "node/host.h"
#include "node/log.h"
#include "node/metrics.h"
#include "node/secrets.h"
#include "node/upstream.h"

#define METRICS_MAX (64u << 10)
#define TIMEOUT_MAX_MS 60000u
#define SESSIONS_SHOWN 100u
#define SESSIONS_AT_ONCE 64u

struct status {
    struct host *host;
    struct admin *admin; /* NULL: no endpoint */
    struct admin_source source;
    uv_poll_t poll;
    uv_timer_t timer;
};

static const char *self(void *context)
{
    struct host *host = context;
    return host->config->mesh.name;
}

static size_t members(void *context, struct mesh_member *members, size_t members_max)
{
    struct host *host = context;
    return mesh_members(host->mesh, members, members_max);
}

static void show_session(struct admin_session *into, const struct mesh_session_info *info,
                         uint64_t now_ms)
{
    *into = (struct admin_session){.epoch = info->epoch.counter,
                                   .age_ms = now_ms - info->opened_ms,
                                   .idle_ms = now_ms - info->used_ms,
                                   .calls = info->calls,
                                   .was_handed = info->was_handed,
                                   .exchanges_open = info->exchanges_open,
                                   .streams_open = info->streams_open};
    memcpy(into->id_hash, info->id_hash, sizeof into->id_hash);
}

/* The page counts sessions, the core counts slots: those before the page are passed over. */
static size_t sessions(void *context, uint32_t from, struct admin_session *sessions,
                       size_t sessions_max)
{
    struct host *host = context;
    struct mesh_session_info infos[SESSIONS_AT_ONCE];
    size_t passed = 0, count = 0, got;
    uint32_t slot = 0;
    do {
        got = mesh_sessions(host->mesh, slot, infos, SESSIONS_AT_ONCE);
        for (size_t i = 0; i < got && count < sessions_max; i++) {
            if (passed++ >= from)
                show_session(&sessions[count++], &infos[i], host_now_ms(host));
        }
        if (got > 0)
            slot = infos[got - 1].slot + 1;
    } while (got == SESSIONS_AT_ONCE && count < sessions_max);
    return count;
}

static struct admin_peer peer_named(struct host *host, struct peer_id id)
{
    struct admin_peer peer = {.generation = id.generation};
    const struct mesh_member *member = mesh_member_of(host->mesh, id);
    if (member != NULL)
        snprintf(peer.name, sizeof peer.name, "%s", member->record->name);
    return peer;
}

static const char *verdict_text(enum owner_verdict verdict)
{
    switch (verdict) {
    case OWNER_HERE:
        return "here";
    case OWNER_THERE:
        return "there";
    case OWNER_GONE:
        return "gone";
    case OWNER_AWAY:
        return "away";
    case OWNER_ENDED:
        return "ended";
    case OWNER_FOREIGN:
        return "foreign";
    }
    return "";
}

static void why(void *context, const char *id, size_t length, struct admin_why *into)
{
    struct host *host = context;
    struct mesh_why from;
    mesh_why(host->mesh, id, length, &from, host_now_ms(host));
    *into = (struct admin_why){.verdict = verdict_text(from.verdict),
                               .well_formed = from.well_formed,
                               .genuine = from.genuine,
                               .home_state = from.home,
                               .epoch = from.record.counter,
                               .was_handed = from.was_handed,
                               .home = peer_named(host, from.home_id),
                               .record_owner = peer_named(host, from.record.owner),
                               .owner = peer_named(host, from.owner),
                               .hint = peer_named(host, from.hint),
                               .claim = peer_named(host, from.claim)};
    memcpy(into->id_hash, from.id_hash, sizeof into->id_hash);
    for (uint8_t i = 0; i < from.candidates_count && i < ADMIN_CANDIDATES_MAX; i++)
        into->candidates[into->candidates_count++] = peer_named(host, from.candidates[i]);
}

size_t status_unready(struct host *host, const char **reasons, size_t reasons_max)
{
    const struct host_config *config = host->config;
    struct mesh_stats stats;
    mesh_stats(host->mesh, &stats);
    bool waits = stats.members_alive < config->expect &&
                 host_now_ms(host) - host_started_ms(host) < config->expect_grace_ms;
    const struct {
        bool is;
        const char *text;
    } all[] = {
        {!mesh_is_joined(host->mesh) && !host_is_leaving(host), "not joined yet"},
        {waits, "waiting for the expected members"},
        {!upstream_serves(host->upstream), "the upstream does not answer"},
        {host_is_leaving(host), "draining"},
    };
    size_t count = 0;
    for (size_t i = 0; i < sizeof all / sizeof all[0] && count < reasons_max; i++) {
        if (all[i].is)
            reasons[count++] = all[i].text;
    }
    return count;
}

static size_t unready(void *context, const char *reasons[ADMIN_REASONS_MAX])
{
    return status_unready(context, reasons, ADMIN_REASONS_MAX);
}

static char *metrics(void *context, size_t *length)
{
    char *text = malloc(METRICS_MAX);
    if (text != NULL)
        *length = metrics_write(context, text, METRICS_MAX);
    return text;
}

/* Who does not say that it accepts this key. */
static void name_refusing(struct host *host, struct admin_key *key)
{
    size_t count = mesh_members(host->mesh, NULL, 0), named = 0;
    struct mesh_member *members = calloc(count + 1, sizeof *members);
    if (members == NULL)
        return;
    count = mesh_members(host->mesh, members, count);
    for (size_t i = 0; i < count && named < ADMIN_REFUSING_MAX; i++) {
        const struct mesh_record *record = members[i].record;
        bool accepts = members[i].record == mesh_self(host->mesh)->record;
        for (uint8_t k = 0; k < record->keys_count; k++)
            accepts = accepts || record->keys[k] == key->id;
        if (!accepts && member_state_is_living(members[i].state))
            snprintf(key->refusing[named++], sizeof key->refusing[0], "%s", record->name);
    }
    free(members);
}

static size_t keys(void *context, struct admin_key into[ADMIN_KEYS_MAX])
{
    static const char *const uses[] = {[MESH_KEY_IN_USE] = "in_use",
                                       [MESH_KEY_VERIFIES] = "verifies",
                                       [MESH_KEY_LEAVING] = "leaving"};
    struct host *host = context;
    struct mesh_key_info infos[MESH_KEYS_ALL];
    size_t count = mesh_keys(host->mesh, infos);
    if (host->config->key_path == NULL)
        count = 0;
    for (size_t i = 0; i < count; i++) {
        into[i] = (struct admin_key){.id = infos[i].id,
                                     .use = uses[infos[i].use],
                                     .seals = infos[i].seals,
                                     .is_wanted = infos[i].is_wanted,
                                     .sealing = (uint32_t)infos[i].sealing_others + infos[i].seals,
                                     .refusing_count = (uint32_t)infos[i].refusing};
        name_refusing(host, &into[i]);
    }
    explicit_bzero(infos, sizeof infos);
    return count;
}

static int use_key(void *context, uint32_t id)
{
    struct host *host = context;
    int rc = mesh_use_key(host->mesh, id, host_now_ms(host));
    log_info("key_wished", "key=%08" PRIx32 " refused=%d", id, rc < 0);
    return rc;
}

static void drain(void *context)
{
    host_leave(context);
}

char *status_members_text(void *context)
{
    struct host *host = context;
    return admin_members_text(&host->status->source);
}

char *status_member_text(void *context, const char *name, size_t length)
{
    struct host *host = context;
    return admin_member_text(&host->status->source, name, length);
}

char *status_sessions_text(void *context)
{
    struct host *host = context;
    return admin_sessions_text(&host->status->source, 0, SESSIONS_SHOWN);
}

/* ---- on the loop ----------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer);

static void run(struct status *status)
{
    uint64_t now_ms = host_now_ms(status->host);
    admin_run(status->admin, now_ms);
    uint64_t wait_ms = admin_timeout_ms(status->admin, now_ms);
    if (wait_ms == MESH_NEVER)
        (void)uv_timer_stop(&status->timer);
    else
        (void)uv_timer_start(&status->timer, on_timer,
                             wait_ms < TIMEOUT_MAX_MS ? wait_ms : TIMEOUT_MAX_MS, 0);
}

static void on_timer(uv_timer_t *timer)
{
    run(timer->data);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    run(poll->data);
}

int status_new(struct status **statusp, struct host *host)
{
    const struct host_config *config = host->config;
    struct status *status = calloc(1, sizeof *status);
    if (status == NULL)
        return UV_ENOMEM;
    status->host = host;
    status->source = (struct admin_source){.context = host,
                                           .self = self,
                                           .members = members,
                                           .sessions = sessions,
                                           .why = why,
                                           .unready = unready,
                                           .metrics = metrics,
                                           .drain = drain,
                                           .keys = keys,
                                           .use_key = use_key};
    if (config->admin_listen != NULL) {
        struct admin_config admin = {config->admin_listen, config->admin_token_path};
        int rc = admin_start(&status->admin, &admin, &status->source, host_now_ms(host));
        if (rc < 0) {
            free(status);
            return rc;
        }
        (void)uv_timer_init(&host->loop, &status->timer);
        rc = uv_poll_init(&host->loop, &status->poll, admin_fd(status->admin));
        status->poll.data = status->timer.data = status;
        if (rc == 0)
            rc = uv_poll_start(&status->poll, UV_READABLE, on_readable);
        if (rc < 0) { /* an epoll descriptor can always be watched: our bug, or no memory */
            uv_close((uv_handle_t *)&status->timer, NULL);
            admin_stop(status->admin);
            status->admin = NULL;
            *statusp = status;
            return rc;
        }
    }
    *statusp = status;
    return 0;
}

void status_reload(struct status *status)
{
    const char *path = status->host->config->admin_token_path;
    if (status->admin == NULL || path == NULL)
        return;
    char token[SECRETS_TOKEN_MAX + 1], why[SECRETS_WHY_MAX];
    /* As strict as at the start, and it says what is wrong. */
    int rc = secrets_read_token(token, path, why);
    explicit_bzero(token, sizeof token);
    if (rc == 0) {
        rc = admin_load_tokens(status->admin, path);
        snprintf(why, sizeof why, "%s", rc < 0 ? strerror(-rc) : "");
    }
    if (rc < 0)
        log_error("token_file_bad", "kept=1 why=%s", why);
    else
        log_info("token_file_read", "in_use=1");
}

void status_close(struct status *status)
{
    if (status == NULL || status->admin == NULL)
        return;
    uv_close((uv_handle_t *)&status->poll, NULL);
    uv_close((uv_handle_t *)&status->timer, NULL);
    /* Its descriptor must leave the loop before it is closed. */
    admin_stop(status->admin);
    status->admin = NULL;
}

void status_free(struct status *status)
{
    free(status);
}

uint16_t status_port(const struct status *status)
{
    return status->admin != NULL ? admin_port(status->admin) : 0;
}
