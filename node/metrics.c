/* metrics.c - see metrics.h. Names and units follow Prometheus' conventions (counters end in
 * _total, base units, one HELP and TYPE a family); no label comes from a client, none is a session.
 */
#include "node/metrics.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "node/client.h"
#include "node/host.h"
#include "node/log.h"
#include "node/peer.h"
#include "node/status.h"
#include "node/upstream.h"

struct page {
    char *at;
    size_t length, room;
};

/* A line that does not fit whole is left out. */
static void put(struct page *page, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct page *page, const char *format, ...)
{
    va_list arguments;
    size_t left = page->room - page->length;
    va_start(arguments, format);
    int length = vsnprintf(page->at + page->length, left, format, arguments);
    va_end(arguments);
    if (length > 0 && (size_t)length < left)
        page->length += (size_t)length;
}

enum kind { COUNTER, GAUGE };

static void family(struct page *page, const char *name, enum kind kind, const char *help)
{
    put(page, "# HELP %s %s\n# TYPE %s %s\n", name, help, name,
        kind == COUNTER ? "counter" : "gauge");
}

static void one(struct page *page, const char *name, enum kind kind, uint64_t value,
                const char *help)
{
    family(page, name, kind, help);
    put(page, "%s %" PRIu64 "\n", name, value);
}

/* Label values: backslash, quote and line feed are escaped (Prometheus text format 0.0.4). */
static const char *escaped(char into[160], const char *text)
{
    size_t at = 0;
    for (; *text != '\0' && at + 3 < 160; text++) {
        if (*text == '\\' || *text == '"' || *text == '\n')
            into[at++] = '\\';
        into[at++] = *text == '\n' ? 'n' : *text;
    }
    into[at] = '\0';
    return into;
}

static void labelled(struct page *page, const char *name, const char *label, const char *text,
                     uint64_t value)
{
    char safe[160];
    put(page, "%s{%s=\"%s\"} %" PRIu64 "\n", name, label, escaped(safe, text), value);
}

/* ---- families -------------------------------------------------------------------------------- */

static void write_self(struct page *page, struct host *host)
{
    char name[160], cluster[160];
    const char *reasons[8];
    family(page, "mesh_info", GAUGE, "This peer; always 1.");
    put(page, "mesh_info{version=\"%s\",name=\"%s\",cluster=\"%s\"} 1\n", MESH_VERSION,
        escaped(name, host->config->mesh.name), escaped(cluster, host->config->mesh.cluster));
    one(page, "mesh_ready", GAUGE, status_unready(host, reasons, 8) == 0,
        "Whether /readyz says that clients may come.");
    one(page, "mesh_draining", GAUGE, host_is_leaving(host), "Whether this peer is leaving.");
}

static void write_members(struct page *page, struct host *host, const struct mesh_stats *stats)
{
    static const char name[] = "mesh_members";
    static const char *const states[] = {
        [MEMBER_UNKNOWN] = "unknown", [MEMBER_ALIVE] = "alive", [MEMBER_SUSPECT] = "suspect",
        [MEMBER_DEAD] = "dead",       [MEMBER_LEFT] = "left",
    };
    uint64_t counts[sizeof states / sizeof states[0]] = {0};
    size_t room = mesh_members(host->mesh, NULL, 0);
    struct mesh_member *members = calloc(room + 1, sizeof *members);
    if (members != NULL) {
        size_t count = mesh_members(host->mesh, members, room);
        for (size_t i = 0; i < count && i < room; i++)
            counts[members[i].state]++;
        family(page, name, GAUGE, "Peers by state as this one sees them, itself among them.");
        for (size_t i = MEMBER_ALIVE; i < sizeof states / sizeof states[0]; i++)
            labelled(page, name, "state", states[i], counts[i]);
        free(members);
    }
    one(page, "mesh_suspicions_total", COUNTER, stats->suspected, "Peers suspected.");
    one(page, "mesh_deaths_total", COUNTER, stats->declared_dead, "Peers declared dead.");
    one(page, "mesh_hearsay_denied_total", COUNTER, stats->hearsay_denied,
        "News of members that they denied when they were asked.");
    one(page, "mesh_unproved_total", COUNTER, stats->unproved,
        "News of members refused for want of a proof, or for one where nobody has an identity.");
    one(page, "mesh_refutations_total", COUNTER, stats->refuted,
        "Suspicions of this peer that it refuted.");
}

static void write_exchanges(struct page *page, const struct mesh_stats *stats)
{
    static const char by_way[] = "mesh_exchanges_total", answers[] = "mesh_answers_total";
    static const char missing[] = "mesh_not_found_total";
    family(page, by_way, COUNTER, "Requests of clients by who answers: this peer or another.");
    labelled(page, by_way, "way", "local", stats->exchanges_owned);
    labelled(page, by_way, "way", "forwarded", stats->exchanges_forwarded);
    family(page, answers, COUNTER,
           "Outcomes of requests: the upstream's, or an error of the mesh.");
    labelled(page, answers, "outcome", "ok", stats->answers_ok);
    labelled(page, answers, "outcome", "failed", stats->answers_failed);
    family(page, missing, COUNTER, "Requests answered 404, by cause.");
    labelled(page, missing, "cause", "foreign", stats->not_found_foreign);
    labelled(page, missing, "cause", "principal", stats->not_found_principal);
    labelled(page, missing, "cause", "ended", stats->not_found_ended);
    one(page, "mesh_rate_limited_total", COUNTER, stats->rate_limited,
        "Requests answered 429: their principal sends too many.");
    one(page, "mesh_unknown_limited_total", COUNTER, stats->unknown_limited,
        "Requests answered 429 in place of 404: too many unknown session ids.");
    one(page, "mesh_parked_total", COUNTER, stats->exchanges_parked,
        "Requests that waited until the owner was known.");
    one(page, "mesh_parked", GAUGE, stats->parked, "Requests that wait now.");
    one(page, "mesh_exchanges_open", GAUGE, stats->exchanges, "Requests without an outcome yet.");
    one(page, "mesh_moved_followed_total", COUNTER, stats->moved_followed,
        "Requests sent on because their session had moved.");
    one(page, "mesh_attached_total", COUNTER, stats->attached,
        "Requests taken up again on another link.");
    one(page, "mesh_stale_dropped_total", COUNTER, stats->stale_dropped,
        "Messages of an epoch that is over, dropped.");
    one(page, "mesh_questions_dropped_total", COUNTER, stats->questions_dropped,
        "Answers of clients to questions that nobody asks any more.");
    one(page, "mesh_tasks_learned_total", COUNTER, stats->tasks_learned,
        "Tasks of the local upstream whose id was learned.");
    one(page, "mesh_tasks_unwritten_total", COUNTER, stats->tasks_unwritten,
        "Of these, told to the client before another peer knew them.");
    one(page, "mesh_sessions", GAUGE, stats->sessions, "Sessions owned by this peer.");
    one(page, "mesh_sessions_opened_total", COUNTER, stats->sessions_opened, "Sessions opened.");
    one(page, "mesh_sessions_closed_total", COUNTER, stats->sessions_closed, "Sessions ended.");
    one(page, "mesh_sessions_taken_over_total", COUNTER, stats->sessions_taken_over,
        "Sessions of other peers that this one carries on since they are gone.");
    one(page, "mesh_sessions_handed_over_total", COUNTER, stats->handed_over,
        "Sessions given to another peer: this one drains, or its MCP server is gone.");
    one(page, "mesh_sessions_yielded_total", COUNTER, stats->sessions_yielded,
        "Sessions of this peer that another one carries on.");
    one(page, "mesh_upstreams_lost_total", COUNTER, stats->upstreams_lost,
        "Upstreams lost under sessions of this peer that go on.");
    one(page, "mesh_sessions_resumed_total", COUNTER, stats->sessions_resumed,
        "Fresh upstreams that were told the handshake of a session that had another one.");
    one(page, "mesh_replays_failed_total", COUNTER, stats->replays_failed,
        "Such handshakes that came to nothing.");
    one(page, "mesh_memory_bytes", GAUGE, stats->memory_used,
        "Bytes of requests and answers held (the cap is --memory).");
}

static void write_copies(struct page *page, struct host *host, const struct mesh_stats *stats)
{
    static const char name[] = "mesh_sessions_copied";
    static const char *const labels[] = {"0", "1", "2+"};
    uint32_t counts[3];
    mesh_copied(host->mesh, counts);
    family(page, name, GAUGE, "Sessions owned by this peer, by how many others have all of them.");
    for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++)
        labelled(page, name, "copies", labels[i], counts[i]);
    one(page, "mesh_copies_held", GAUGE, stats->copies_held,
        "Copies of other peers' sessions held here.");
    one(page, "mesh_copies_bytes", GAUGE, stats->copies_bytes, "Bytes of their event logs.");
    one(page, "mesh_copies_resent_total", COUNTER, stats->copies_resent,
        "Copies sent again as a whole: something was lost on the way.");
    one(page, "mesh_copies_refused_total", COUNTER, stats->copies_refused,
        "Copies refused by peers without room for them.");
    one(page, "mesh_sessions_alone_total", COUNTER, stats->sessions_alone,
        "Sessions that began before another peer had a copy.");
    one(page, "mesh_handshakes_not_kept_total", COUNTER, stats->handshakes_not_kept,
        "Sessions without copies: their handshake is too large.");
}

static void write_wire(struct page *page, struct host *host, const struct mesh_stats *stats)
{
    static const char datagrams[] = "mesh_datagrams_total", bad[] = "mesh_datagrams_refused_total";
    struct peers_stats peers;
    peers_stats(host->peers, &peers);
    family(page, datagrams, COUNTER, "Datagrams between peers.");
    labelled(page, datagrams, "direction", "in", stats->datagrams_in);
    labelled(page, datagrams, "direction", "out", stats->datagrams_out);
    family(page, bad, COUNTER, "Datagrams not listened to, by cause.");
    labelled(page, bad, "cause", "bad", stats->datagrams_bad);
    labelled(page, bad, "cause", "replayed", stats->datagrams_replayed);
    labelled(page, bad, "cause", "stale", stats->datagrams_stale);
    labelled(page, bad, "cause", "too_long", peers.datagrams_partial);
    one(page, "mesh_datagrams_dropped_total", COUNTER, peers.datagrams_dropped,
        "Datagrams not sent because the socket had no room.");
    one(page, "mesh_links", GAUGE, stats->links, "Links to other peers.");
    one(page, "mesh_links_opened_total", COUNTER, stats->links_opened, "Links opened.");
    one(page, "mesh_links_lost_total", COUNTER, stats->links_lost, "Links lost.");
    one(page, "mesh_links_refused_total", COUNTER, stats->links_refused,
        "Links refused: no peer of this mesh, or too many.");
}

static void write_clients(struct page *page, struct host *host)
{
    static const char refused[] = "mesh_client_connections_refused_total";
    static const char gate[] = "mesh_client_requests_refused_total";
    static const char ends[] = "mesh_client_exchanges_total", broken[] = "mesh_client_broken_total";
    const struct clients_stats *stats = clients_stats(host->clients);
    one(page, "mesh_client_connections", GAUGE, stats->connections, "Connections of clients.");
    one(page, "mesh_client_connections_max", GAUGE, stats->connections_max,
        "How many there may be.");
    one(page, "mesh_client_connections_total", COUNTER, stats->accepted, "Connections accepted.");
    family(page, refused, COUNTER, "Connections closed at once, by the cap they met.");
    labelled(page, refused, "cap", "all", stats->refused_total);
    labelled(page, refused, "cap", "address", stats->refused_address);
    one(page, "mesh_client_requests_total", COUNTER, stats->requests, "Requests read.");
    family(page, gate, COUNTER, "Requests refused before the mesh saw them, by cause.");
    for (size_t i = GATE_PASS + 1; i < GATE_VERDICTS; i++)
        labelled(page, gate, "cause", gate_name((enum gate_verdict)i), stats->refused[i]);
    labelled(page, gate, "cause", "framing", stats->bad_framing);
    family(page, ends, COUNTER, "Requests by how they ended.");
    for (size_t i = MESH_OK; i <= MESH_REASON_LAST; i++)
        labelled(page, ends, "end", mcp_reason_name((enum mesh_reason)i), stats->outcomes[i]);
    family(page, broken, COUNTER, "Connections that broke or were given up, by cause.");
    labelled(page, broken, "cause", "lost", stats->lost);
    labelled(page, broken, "cause", "timeout", stats->timeouts);
    labelled(page, broken, "cause", "slow", stats->slow);
    labelled(page, broken, "cause", "displaced", stats->displaced);
}

/* A server over HTTP is shared by sessions; a child is not, and has counters of its own. */
static void write_breaker(struct page *page, struct host *host, const struct mesh_stats *core)
{
    static const char asked[] = "mesh_upstream_probes_total";
    const struct upstream_stats *stats = &host->upstream->stats;
    one(page, "mesh_upstream_connections", GAUGE, stats->connections, "Connections to the server.");
    one(page, "mesh_upstream_fails", GAUGE, mesh_up_fails(host->mesh),
        "Whether it failed five calls in a row and has answered none since.");
    one(page, "mesh_upstream_fails_total", COUNTER, core->breaks, "How often it came to that.");
    one(page, "mesh_upstream_kept_back_total", COUNTER, core->kept_back,
        "Calls not given to it meanwhile; some were tried again.");
    family(page, asked, COUNTER, "Questions whether it answers again.");
    labelled(page, asked, "answered", "yes", stats->asked - stats->asked_in_vain);
    labelled(page, asked, "answered", "no", stats->asked_in_vain);
}

static void write_upstream(struct page *page, struct host *host, const struct mesh_stats *core)
{
    static const char failed[] = "mesh_upstream_failed_total";
    const struct upstream_stats *stats = &host->upstream->stats;
    one(page, "mesh_upstream_serving", GAUGE, upstream_serves(host->upstream),
        "Whether the MCP server behind this peer answers.");
    one(page, "mesh_upstream_sessions", GAUGE, stats->open, "Sessions open at the server.");
    one(page, "mesh_upstream_calls_total", COUNTER, stats->calls, "Messages sent to the server.");
    family(page, failed, COUNTER, "Calls that failed, by cause.");
    labelled(page, failed, "cause", "refused", stats->refused);
    labelled(page, failed, "cause", "lost", stats->lost);
    if (host->config->upstream_url != NULL)
        write_breaker(page, host, core);
    if (host->config->command == NULL)
        return;
    one(page, "mesh_children_waiting", GAUGE, stats->waiting, "Processes not started yet.");
    one(page, "mesh_children_spare", GAUGE, stats->spares,
        "Processes that wait for a session (--spare).");
    one(page, "mesh_children_started_total", COUNTER, stats->spawned, "Processes started.");
    one(page, "mesh_children_failed_total", COUNTER, stats->spawn_failed,
        "Processes that could not be started, or ended without a word.");
    one(page, "mesh_children_lines_dropped_total", COUNTER, stats->lines_dropped,
        "Lines of processes that were no messages.");
    one(page, "mesh_children_lines_too_large_total", COUNTER, stats->lines_large,
        "Messages of processes over 10 MiB, not passed on.");
}

static void write_loop(struct page *page, struct host *host)
{
    static const char lines[] = "mesh_log_lines_total";
    struct host_stats stats;
    struct log_stats log = log_stats();
    host_stats(host, &stats);
    one(page, "mesh_loop_turns_total", COUNTER, stats.turns, "Turns of the loop.");
    one(page, "mesh_effects_total", COUNTER, stats.effects, "Effects of the core that were done.");
    family(page, "mesh_loop_late_seconds", GAUGE,
           "The longest time that the loop stood still since the last look.");
    put(page, "mesh_loop_late_seconds %" PRIu64 ".%03u\n", stats.late_ms_max / 1000,
        (unsigned)(stats.late_ms_max % 1000));
    family(page, lines, COUNTER, "Log lines by what became of them.");
    labelled(page, lines, "fate", "written", log.written);
    labelled(page, lines, "fate", "dropped", log.dropped);
    labelled(page, lines, "fate", "suppressed", log.suppressed);
}

/* ---- the process, under the names that all exporters use ------------------------------------- */

static uint64_t count_files(void)
{
    DIR *all = opendir("/proc/self/fd");
    uint64_t count = 0;
    if (all == NULL)
        return 0;
    for (struct dirent *entry = readdir(all); entry != NULL; entry = readdir(all))
        count += entry->d_name[0] != '.';
    closedir(all);
    return count - 1; /* without the one that counts */
}

static void write_memory(struct page *page)
{
    unsigned long long size, resident;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL)
        return;
    if (fscanf(file, "%llu %llu", &size, &resident) == 2) {
        uint64_t unit = (uint64_t)sysconf(_SC_PAGESIZE);
        one(page, "process_virtual_memory_bytes", GAUGE, size * unit, "Virtual memory.");
        one(page, "process_resident_memory_bytes", GAUGE, resident * unit, "Resident memory.");
    }
    fclose(file);
}

static void write_process(struct page *page, struct host *host)
{
    struct rusage usage;
    struct rlimit files;
    struct timespec wall;
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        uint64_t us = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
                      (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
        family(page, "process_cpu_seconds_total", COUNTER, "CPU time, user and system.");
        put(page, "process_cpu_seconds_total %" PRIu64 ".%06u\n", us / 1000000,
            (unsigned)(us % 1000000));
    }
    write_memory(page);
    one(page, "process_open_fds", GAUGE, count_files(), "Open files.");
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        one(page, "process_max_fds", GAUGE, files.rlim_cur, "How many there may be.");
    /* Worked out once: a value that wavers by a second looks like restarts. */
    static uint64_t started_s;
    if (started_s == 0) {
        clock_gettime(CLOCK_REALTIME, &wall);
        started_s = (uint64_t)wall.tv_sec - (host_now_ms(host) - host_started_ms(host)) / 1000;
    }
    one(page, "process_start_time_seconds", GAUGE, started_s, "When it started, in Unix time.");
}

size_t metrics_write(struct host *host, char *into, size_t room)
{
    struct page page = {.at = into, .room = room};
    struct mesh_stats stats;
    mesh_stats(host->mesh, &stats);
    write_self(&page, host);
    write_members(&page, host, &stats);
    write_exchanges(&page, &stats);
    write_copies(&page, host, &stats);
    write_wire(&page, host, &stats);
    write_clients(&page, host);
    write_upstream(&page, host, &stats);
    write_loop(&page, host);
    write_process(&page, host);
    return page.length;
}
