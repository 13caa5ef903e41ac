/* host.c - see host.h. A turn: callbacks feed the core, then, just before the loop would sleep,
 * its effects are done, each socket is written once, and the next deadline is set. */
#include "node/host.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "node/client.h"
#include "node/log.h"
#include "node/peer.h"
#include "node/reload.h"
#include "node/resolve.h"
#include "node/status.h"
#include "node/upstream.h"

#define ROUNDS_MAX 64u /* of effects and writes in one turn */
#define SLEEP_MAX_MS 3600000u
#define BUFFERS_KEPT 64u /* small ones, as many as a busy turn fills */
#define FINISH_MS 1000u  /* for the last answers, once the mesh is left */
#define UNPROVED_LOOK_MS 1000
#define UNPROVED_TELL_MS 60000 /* it goes on as long as that one tries */
#define FILES_RESERVED 64u     /* for everything but clients, at least */

enum host_phase {
    HOST_RUNNING,
    HOST_LEAVING,  /* the core drains */
    HOST_LEFT,     /* it has; clients may still come, for the balancers' sake */
    HOST_FINISHING /* the last answers are written */
};

struct host_core {
    uv_prepare_t turn;
    uv_timer_t deadline, tick;
    uint64_t unproved, unproved_look_ms, unproved_told_ms;
    uv_signal_t terminate, interrupt, hangup;
    enum host_phase phase;
    enum host_exit exit_code;
    bool has_now, is_at_place;
    uint64_t now_ms, started_ms, grace_ms, force_ms; /* force_ms: stop then at the latest */
    uint64_t chance;
    struct host_stats stats;
    struct wheel_item leave_step;
    struct mesh_addr listen, peer_listen;
    char listen_host[ADDR_TEXT_MAX];
};

void host_config_defaults(struct host_config *config)
{
    *config = (struct host_config){.expect_grace_ms = 30000,
                                   .children_max = 256,
                                   .spawning_max = 8,
                                   .connections_max = 10000,
                                   .join_port = 7946,
                                   .drain_timeout_ms = 25000,
                                   .drain_grace_ms = 5000};
    mesh_config_defaults(&config->mesh);
    (void)addr_read(&config->listen, "127.0.0.1:8080", 0);
    (void)addr_read(&config->peer_listen, "127.0.0.1:7946", 0);
    config->gate.mcp_path = config->mcp.mcp_path = "/mcp";
    config->gate.sse_path = config->mcp.sse_path = "/sse";
    config->gate.messages_path = config->mcp.messages_path = "/messages";
    config->gate.body_max = 4u << 20;
}

/* ---- time and chance ------------------------------------------------------------------------- */

uint64_t host_now_ms(struct host *host)
{
    struct host_core *core = host->core;
    if (!core->has_now) {
        struct timespec at;
        clock_gettime(CLOCK_BOOTTIME, &at);
        core->now_ms = (uint64_t)at.tv_sec * 1000 + (uint64_t)at.tv_nsec / 1000000;
        core->has_now = true;
    }
    return core->now_ms;
}

uint32_t host_chance(struct host *host, uint32_t below)
{
    /* xorshift64 (Marsaglia 2003): good enough to keep peers from asking in step. */
    uint64_t x = host->core->chance;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    host->core->chance = x;
    return below == 0 ? 0 : (uint32_t)(x % below);
}

uint64_t host_started_ms(const struct host *host)
{
    return host->core->started_ms;
}

const char *host_error_name(int error)
{
    /* uv_err_name() keeps a copy for every error that it does not know. */
    static char name[64];
    return uv_err_name_r(error, name, sizeof name);
}

void host_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct host *host = handle->loop->data;
    *buf = uv_buf_init(host->read_buffer, sizeof host->read_buffer);
}

/* ---- effects --------------------------------------------------------------------------------- */

static const char *state_text(enum member_state state)
{
    switch (state) {
    case MEMBER_UNKNOWN:
        return "unknown";
    case MEMBER_ALIVE:
        return "alive";
    case MEMBER_SUSPECT:
        return "suspect";
    case MEMBER_DEAD:
        return "dead";
    case MEMBER_LEFT:
        return "left";
    }
    return "";
}

static void host_end(struct host *host, enum host_exit code);

static void note_change(struct host *host, const struct mesh_effect *effect)
{
    struct host_core *core = host->core;
    const struct mesh_member *member = mesh_member_of(host->mesh, effect->changed.peer);
    const char *name = member != NULL ? member->record->name : "";
    uint64_t value = effect->changed.value;
    switch (effect->changed.what) {
    case MESH_MEMBER_CHANGED:
        log_info("member_changed", "peer=%s generation=%" PRIu64 " state=%s", name,
                 effect->changed.peer.generation, state_text(effect->changed.state));
        upstream_members_changed(host->upstream);
        break;
    case MESH_JOINED:
        log_info("joined", "members=%zu", mesh_members(host->mesh, NULL, 0));
        break;
    case MESH_NAME_WAITING:
        log_warn("name_waiting", "name=%s a living peer has it", host->config->mesh.name);
        break;
    case MESH_NAME_TAKEN:
        log_error("name_taken", "name=%s", host->config->mesh.name);
        host_end(host, HOST_EXIT_NAME_TAKEN);
        break;
    case MESH_SUPERSEDED_BY:
        log_error("superseded", "by_generation=%" PRIu64, effect->changed.peer.generation);
        host_end(host, HOST_EXIT_SUPERSEDED);
        break;
    case MESH_LEFT_MESH:
        if (core->phase < HOST_LEFT) {
            log_info("left", "uptime_ms=%" PRIu64, host_now_ms(host) - core->started_ms);
            core->phase = HOST_LEFT;
            wheel_set(&host->wheel, &core->leave_step, host_now_ms(host));
        }
        break;
    case MESH_SESSION_OPENED:
        log_debug("session_opened", "session=%08x", (uint32_t)value);
        break;
    case MESH_SESSION_CLOSED:
        log_debug("session_closed", "session=%08x", (uint32_t)value);
        break;
    case MESH_SESSION_TAKEN:
        log_info("session_taken_over", "session=%08x", (uint32_t)value);
        break;
    case MESH_SESSION_HANDED:
        log_info("session_handed_over", "session=%08x from=%s", (uint32_t)value, name);
        break;
    case MESH_SESSION_YIELDED:
        log_info("session_yielded", "session=%08x to=%s", (uint32_t)value, name);
        break;
    case MESH_KEY_USED:
        log_info("key_used", "key=%08" PRIx64, value);
        reload_keys_changed(host);
        break;
    case MESH_KEY_GIVEN_UP:
        log_info("key_given_up", "key=%08" PRIx64, value);
        reload_keys_changed(host);
        break;
    case MESH_UPSTREAM_FAILS:
        upstream_note_fails(host->upstream, value != 0);
        break;
    case MESH_FAILPOINT:
        host->core->is_at_place = true;
        break;
    case MESH_STOOD_STILL:
        log_warn("stood_still", "late_ms=%" PRIu64, value);
        reload_look(host->reload); /* ids may be of a key that we have not read yet */
        if (value > core->stats.late_ms_max)
            core->stats.late_ms_max = value;
        break;
    }
}

static void do_effect(struct host *host, const struct mesh_effect *effect)
{
    switch (effect->kind) {
    case MESH_DATAGRAM:
    case MESH_LINK_DIAL:
    case MESH_LINK_BYTES:
    case MESH_LINK_CLOSE:
        peers_do(host->peers, effect);
        break;
    case MESH_UP_OPEN:
    case MESH_UP_SEND:
    case MESH_UP_LISTEN:
    case MESH_UP_ROOM:
    case MESH_UP_CANCEL:
    case MESH_UP_CLOSE:
        upstream_do(host->upstream, effect);
        break;
    case MESH_REPLY_HEAD:
    case MESH_REPLY_EVENT:
    case MESH_REPLY_DATA:
    case MESH_REPLY_END:
        clients_do(host->clients, effect);
        break;
    case MESH_CHANGED:
        note_change(host, effect);
        break;
    }
}

/* Effects, then writes; what was written may bring new effects. True: there is more to do. */
static bool do_round(struct host *host)
{
    struct mesh_effect effect;
    bool any = false;
    uint64_t now_ms = host_now_ms(host);
    while (mesh_next_effect(host->mesh, &effect, now_ms)) {
        any = true;
        host->core->stats.effects++;
        do_effect(host, &effect);
    }
    clients_settle(host->clients);
    bool is_more = writers_flush(&host->writers) || any;
    if (host->core->is_at_place) /* a build for tests: as if it were killed here */
        (void)raise(SIGKILL);
    return is_more;
}

static void on_deadline(uv_timer_t *timer)
{
    (void)timer; /* that the loop turns is all that was wanted */
}

static void on_turn(uv_prepare_t *prepare)
{
    struct host *host = prepare->data;
    struct host_core *core = host->core;
    uint64_t now_ms = host_now_ms(host);
    uint32_t rounds = 0;
    core->stats.turns++;
    upstream_turn(host->upstream, now_ms);
    mesh_now(host->mesh, now_ms);
    while (rounds < ROUNDS_MAX && do_round(host))
        rounds++;
    uint64_t at_ms = mesh_deadline_ms(host->mesh);
    uint64_t upstream_ms = upstream_deadline_ms(host->upstream);
    at_ms = upstream_ms < at_ms ? upstream_ms : at_ms;
    uint64_t wait_ms = at_ms > now_ms && rounds < ROUNDS_MAX ? at_ms - now_ms : 0;
    uv_update_time(&host->loop); /* the loop's own clock: timers count from it */
    (void)uv_timer_start(&core->deadline, on_deadline,
                         wait_ms < SLEEP_MAX_MS ? wait_ms : SLEEP_MAX_MS, 0);
    core->has_now = false;
}

/* Somebody is refused for its want of an identity, or for ours: once in a while that is said. */
static void tell_unproved(struct host *host, uint64_t now_ms)
{
    struct host_core *core = host->core;
    struct mesh_stats stats;
    if (now_ms < core->unproved_look_ms)
        return;
    core->unproved_look_ms = now_ms + UNPROVED_LOOK_MS;
    mesh_stats(host->mesh, &stats);
    if (stats.unproved == core->unproved || now_ms < core->unproved_told_ms)
        return;
    core->unproved_told_ms = now_ms + UNPROVED_TELL_MS;
    log_error("peers_refused", "refused=%llu why=%s",
              (unsigned long long)(stats.unproved - core->unproved),
              host->config->mesh.has_identity
                  ? "what they say is not signed by an identity of --peer-ca"
                  : "they have identities and this peer has none (--identity-file)");
    core->unproved = stats.unproved;
}

static void on_tick(uv_timer_t *timer)
{
    struct host *host = timer->data;
    wheel_turn(&host->wheel, host_now_ms(host));
    tell_unproved(host, host_now_ms(host));
}

/* ---- leaving --------------------------------------------------------------------------------- */

bool host_is_leaving(const struct host *host)
{
    return host->core->phase != HOST_RUNNING;
}

/* From here on nothing is decided any more: the last answers go out, then the loop ends. */
static void host_end(struct host *host, enum host_exit code)
{
    struct host_core *core = host->core;
    if (core->phase == HOST_FINISHING)
        return;
    core->phase = HOST_FINISHING;
    core->exit_code = code;
    core->force_ms = host_now_ms(host) + FINISH_MS;
    clients_finish(host->clients);
    wheel_set(&host->wheel, &core->leave_step, host_now_ms(host));
}

static void on_leave_step(struct wheel_item *item, uint64_t now_ms)
{
    struct host_core *core = container_of(item, struct host_core, leave_step);
    struct host *host = core->turn.data;
    bool is_done = clients_are_done(host->clients) && !upstream_has_last_words(host->upstream);
    if (core->phase == HOST_FINISHING && (is_done || now_ms >= core->force_ms)) {
        uv_stop(&host->loop);
        return;
    }
    if (core->phase != HOST_FINISHING && now_ms >= core->force_ms) {
        log_warn("drain_timeout", "timeout_ms=%u", host->config->drain_timeout_ms);
        host_end(host, HOST_EXIT_OK);
    } else if (core->phase == HOST_LEFT && now_ms >= core->grace_ms)
        host_end(host, HOST_EXIT_OK);
    wheel_set(&host->wheel, item, now_ms + WHEEL_TICK_MS);
}

static void leave(struct host *host, uint32_t grace_ms)
{
    struct host_core *core = host->core;
    uint64_t now_ms = host_now_ms(host);
    if (core->phase != HOST_RUNNING)
        return;
    core->phase = HOST_LEAVING;
    core->grace_ms = now_ms + grace_ms;
    core->force_ms = now_ms + host->config->drain_timeout_ms;
    log_info("leaving", "timeout_ms=%u grace_ms=%u", host->config->drain_timeout_ms, grace_ms);
    mesh_leave(host->mesh, core->grace_ms, core->force_ms, now_ms);
    wheel_set(&host->wheel, &core->leave_step, now_ms);
}

/* Balancers learn late that we go, so the listener stays open a while; alone there is nobody who
 * could serve what still comes, and somebody at a keyboard does not want to wait. */
static uint32_t grace_for(struct host *host, int number)
{
    struct mesh_stats stats;
    mesh_stats(host->mesh, &stats);
    return number == SIGINT || stats.members_alive < 2 ? 0 : host->config->drain_grace_ms;
}

void host_leave(struct host *host)
{
    leave(host, grace_for(host, SIGTERM));
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct host *host = handle->data;
    struct host_core *core = host->core;
    log_info("signal", "number=%d", number);
    if (number == SIGHUP)
        reload_now(host->reload);
    else if (core->phase == HOST_RUNNING)
        leave(host, grace_for(host, number));
    else {
        /* A second one hurries: what is open ends with definite answers, now. */
        mesh_leave(host->mesh, host_now_ms(host), host_now_ms(host), host_now_ms(host));
        core->grace_ms = host_now_ms(host);
        core->force_ms = host_now_ms(host) + FINISH_MS;
        wheel_set(&host->wheel, &core->leave_step, host_now_ms(host));
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

/* Descriptors: as many as we may have; fewer clients if that is not enough (row C7). */
static uint32_t connections_allowed(const struct host_config *config)
{
    struct rlimit files;
    uint32_t wanted = config->connections_max;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        return wanted;
    rlim_t need = (rlim_t)wanted + FILES_RESERVED + wanted / 2;
    if (files.rlim_cur < need && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = need < files.rlim_max ? need : files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    if (files.rlim_cur >= need)
        return wanted;
    /* Half of what there is: upstream and links want theirs. */
    uint32_t allowed = files.rlim_cur > 2 * FILES_RESERVED
                           ? (uint32_t)(files.rlim_cur - FILES_RESERVED) / 2
                           : (uint32_t)(files.rlim_cur / 4);
    log_warn("few_files", "limit=%" PRIu64 " connections=%u", (uint64_t)files.rlim_cur, allowed);
    return allowed < wanted ? allowed : wanted;
}

static void find_own_address(struct mesh_addr *addr, bool v4)
{
    uv_interface_address_t *all;
    int count;
    if (uv_interface_addresses(&all, &count) != 0)
        return;
    for (int i = 0; i < count; i++) {
        struct mesh_addr found;
        if (all[i].is_internal || !addr_of_socket(&found, (struct sockaddr *)&all[i].address) ||
            addr_is_v4(&found) != v4)
            continue;
        memcpy(addr->ip, found.ip, sizeof addr->ip);
        break;
    }
    uv_free_interface_addresses(all, count);
}

#ifdef MESH_FAILPOINTS
/* MESH_FAILPOINT=NAME[:N]: it dies there, when it has passed N times before. */
static void set_place(struct host *host)
{
    static char name[64];
    const char *place = getenv("MESH_FAILPOINT");
    if (place == NULL)
        return;
    size_t length = strcspn(place, ":");
    snprintf(name, sizeof name, "%.*s", (int)length, place);
    uint32_t skip = place[length] == ':' ? (uint32_t)strtoul(place + length + 1, NULL, 10) : 0;
    mesh_fail_at(host->mesh, name, skip);
}
#endif

static int make_mesh(struct host *host)
{
    const struct host_config *config = host->config;
    struct host_core *core = host->core;
    struct mesh_config mesh = config->mesh;
    struct timespec wall;
    if (addr_is_any(&mesh.addr)) {
        memcpy(mesh.addr.ip, core->peer_listen.ip, sizeof mesh.addr.ip);
        if (addr_is_any(&mesh.addr))
            find_own_address(&mesh.addr, addr_is_v4(&core->peer_listen));
    }
    if (mesh.addr.port == 0)
        mesh.addr.port = core->peer_listen.port;
    int rc = uv_random(NULL, NULL, mesh.entropy, sizeof mesh.entropy, 0, NULL);
    if (rc < 0)
        return rc;
    clock_gettime(CLOCK_REALTIME, &wall);
    mesh.boot_ms = (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / 1000000;
    mesh.has_contacts = config->joins_count > 0;
    mesh.upstream = upstream_speaks_sse(config)    ? MESH_UP_SSE
                    : config->upstream_url != NULL ? MESH_UP_HTTP
                    : config->command != NULL      ? MESH_UP_STDIO
                                                   : MESH_UP_BUILTIN;
    rc = mesh_new(&host->mesh, &mesh, host_now_ms(host));
#ifdef MESH_FAILPOINTS
    if (rc == 0)
        set_place(host);
#endif
    if (rc == 0) {
        char text[ADDR_TEXT_MAX];
        log_info("peer", "name=%s cluster=%s address=%s", mesh.name, mesh.cluster,
                 addr_text(&mesh.addr, text));
    }
    return rc;
}

static int init_loop(struct host *host)
{
    struct host_core *core = host->core;
    uint64_t chance;
    int rc = uv_loop_init(&host->loop);
    if (rc < 0)
        return rc;
    host->loop.data = host;
    (void)uv_prepare_init(&host->loop, &core->turn);
    (void)uv_timer_init(&host->loop, &core->deadline);
    (void)uv_timer_init(&host->loop, &core->tick);
    core->turn.data = core->tick.data = core->deadline.data = host;
    core->leave_step.on_due = on_leave_step;
    rc = uv_random(NULL, NULL, &chance, sizeof chance, 0, NULL);
    core->chance = chance | 1;
    uv_signal_t *const signals[] = {&core->terminate, &core->interrupt, &core->hangup};
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        int failed = uv_signal_init(&host->loop, signals[i]);
        signals[i]->data = host;
        if (failed == 0)
            failed = uv_signal_start(signals[i], on_signal, numbers[i]);
        if (failed < 0)
            rc = failed;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    if (rc == 0)
        rc = uv_prepare_start(&core->turn, on_turn);
    if (rc == 0)
        rc = uv_timer_start(&core->tick, on_tick, WHEEL_TICK_MS, WHEEL_TICK_MS);
    return rc;
}

static int open_all(struct host *host, const char **whatp)
{
    const struct host_config *config = host->config;
    struct host_core *core = host->core;
    *whatp = "peer-listen";
    int rc = peers_new(&host->peers, host, &core->peer_listen);
    if (rc == 0) {
        *whatp = "mesh";
        rc = make_mesh(host);
    }
    if (rc == 0) {
        *whatp = "upstream";
        rc = upstream_new(&host->upstream, host);
    }
    if (rc == 0) {
        *whatp = "listen";
        rc = clients_new(&host->clients, host, &core->listen);
    }
    if (rc == 0) {
        *whatp = "admin";
        rc = status_new(&host->status, host);
    }
    if (rc == 0)
        rc = reload_new(&host->reload, host);
    if (rc == 0) {
        *whatp = "join";
        rc = resolver_new(&host->resolver, host, config->joins, config->joins_count,
                          config->join_port);
    }
    return rc;
}

int host_new(struct host **hostp, const struct host_config *config)
{
    struct host *host = calloc(1, sizeof *host);
    struct host_core *core = calloc(1, sizeof *core);
    const char *what = "loop";
    if (host == NULL || core == NULL) {
        free(core);
        free(host);
        return UV_ENOMEM;
    }
    host->config = config;
    host->core = core;
    core->listen = config->listen;
    core->peer_listen = config->peer_listen;
    core->started_ms = host_now_ms(host);
    wheel_init(&host->wheel, core->started_ms);
    host->connections_max = connections_allowed(config);
    host->bodies.max = config->mesh.memory_max;
    host->passing.max = SIZE_MAX;
    bytes_budget_keep(&host->bodies, BUFFERS_KEPT);
    bytes_budget_keep(&host->passing, BUFFERS_KEPT);
    host->mcp = config->mcp;
    host->gate = config->gate;
    addr_host_text(&config->listen, core->listen_host);
    host->gate.listen_host = core->listen_host;
    host->gate.is_loopback = addr_is_loopback(&config->listen);
    int rc = init_loop(host);
    if (rc == 0)
        rc = open_all(host, &what);
    if (rc < 0) {
        log_error("not_started", "part=%s error=%s", what, host_error_name(rc));
        (void)host_free(host);
        return rc;
    }
    char listen[ADDR_TEXT_MAX], peer[ADDR_TEXT_MAX];
    log_info("listening", "clients=%s peers=%s admin_port=%u", addr_text(&core->listen, listen),
             addr_text(&core->peer_listen, peer), status_port(host->status));
    *hostp = host;
    return 0;
}

enum host_exit host_run(struct host *host)
{
    resolver_start(host->resolver);
    (void)uv_run(&host->loop, UV_RUN_DEFAULT);
    log_info("stopped", "exit=%d", (int)host->core->exit_code);
    return host->core->exit_code;
}

bool host_free(struct host *host)
{
    if (host == NULL)
        return true;
    struct host_core *core = host->core;
    if (core->turn.data != NULL) {
        uv_handle_t *const own[] = {
            (uv_handle_t *)&core->turn,      (uv_handle_t *)&core->deadline,
            (uv_handle_t *)&core->tick,      (uv_handle_t *)&core->terminate,
            (uv_handle_t *)&core->interrupt, (uv_handle_t *)&core->hangup};
        for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
            if (own[i]->type != UV_UNKNOWN_HANDLE) /* it was never made */
                uv_close(own[i], NULL);
        clients_close(host->clients);
        upstream_close(host->upstream);
        peers_close(host->peers);
        status_close(host->status);
        resolver_close(host->resolver);
        if (resolver_is_busy(host->resolver) || upstream_is_busy(host->upstream))
            return false;
        (void)uv_run(&host->loop, UV_RUN_DEFAULT);
        int rc = uv_loop_close(&host->loop);
        if (rc < 0)
            log_error("loop_not_closed", "error=%s", host_error_name(rc));
    }
    clients_free(host->clients);
    upstream_free(host->upstream);
    peers_free(host->peers);
    status_free(host->status);
    reload_free(host->reload);
    resolver_free(host->resolver);
    mesh_free(host->mesh);
    bytes_budget_deinit(&host->bodies);
    bytes_budget_deinit(&host->passing);
    free(core);
    free(host);
    return true;
}

void host_stats(struct host *host, struct host_stats *stats)
{
    *stats = host->core->stats;
    host->core->stats.late_ms_max = 0;
}
