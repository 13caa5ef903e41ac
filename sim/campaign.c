/* campaign.c - the two phases of a seed and what is asked at its end. What may go wrong is drawn
 * in faults.c, what must hold stands in check.c. */
#include "sim/campaign.h"

#include <inttypes.h>

#include "sim/check.h"
#include "sim/client.h"
#include "sim/ends.h"
#include "sim/members.h"
#include "sim/modern.h"
#include "sim/net.h"
#include "sim/sse.h"
#include "sim/upstream.h"

#define NODES_DRAWN_MAX 63u
#define WIDE_EACH 8u         /* a seed of 200 peers takes as long as 25 of 20 */
#define CALM_LEAST_MS 20000u /* of draws 1 */
#define CALM_AFTER_MS 3000u  /* in which views stay equal */
#define PROBES_MAX 300u
#define PROBE_MS 6000u  /* for the answers to the probes */
#define ENDING_MS 4000u /* for those to the DELETEs, and what must come back to nothing */

uint32_t campaign_draw_nodes(uint64_t seed, uint32_t draws)
{
    struct shuffle chance;
    chance_init(&chance, seed, 7);
    return (uint32_t)chance_log(&chance, 2, draws == 1 ? 20 : NODES_DRAWN_MAX);
}

uint32_t campaign_draw_wide(uint64_t seed)
{
    struct shuffle chance;
    chance_init(&chance, seed, 7);
    uint32_t nodes = (uint32_t)chance_log(&chance, 2, NODES_DRAWN_MAX);
    bool is_large = chance_below(&chance, WIDE_EACH) == 0;
    return is_large ? (uint32_t)chance_log(&chance, NODES_DRAWN_MAX + 1, WORLD_NODES_MAX) : nodes;
}

/* A fresh request of every session: through each peer where its owner lives. */
static void probe(struct world *world)
{
    struct clients *clients = world->clients;
    uint32_t sessions = clients->sessions_count;
    uint32_t sent = 0;
    for (uint32_t n = sessions; n-- > 0 && sent < PROBES_MAX;) {
        const struct session *session = clients->sessions[n];
        if (!session->has_id || session->is_single)
            continue;
        bool lives = check_session_lives(world, session);
        uint32_t through = lives ? world->config.nodes : 1;
        for (uint32_t k = 0; k < through; k++) {
            uint32_t seat = (n + k) % world->config.nodes;
            if (world_runs(world, seat))
                client_ask(world, n, k == 0 ? ASK_CALL : ASK_PING, seat, sent * 1000);
            sent++;
        }
    }
}

static void end_all(struct world *world)
{
    struct clients *clients = world->clients;
    uint32_t sessions = clients->sessions_count;
    for (uint32_t n = 0; n < sessions; n++) {
        struct session *session = clients->sessions[n];
        if ((!check_session_lives(world, session) && !session->has_id) || session->is_single)
            continue;
        if (ends_is_forgotten(world, session)) /* it lives, and so do streams that are held (N1) */
            session->ended_us = 0;
        if (session->ended_us == 0 && world_runs(world, n % world->config.nodes))
            client_ask(world, n, ASK_DELETE, n % world->config.nodes, n * 500);
    }
}

/* A run in which the clients asked little proves little, and so does one in which little of it was
 * answered well. A request ends by an answer or with its peer. Where both of two peers lost power,
 * most of what is asked ends as an error. */
static void check_void(struct world *world)
{
    uint64_t seconds = world->end_us / WORLD_SECOND;
    uint64_t least = world->load_nodes * seconds / 2, ended = world->clients->gone;
    for (size_t why = 0; why < sizeof world->clients->why / sizeof world->clients->why[0]; why++)
        ended += world->clients->why[why];
    if (ended < least || world->clients->why[MESH_OK] < least / 2)
        check_fail(world, "void",
                   "%" PRIu64 " requests ended, %" PRIu64 " well; %" PRIu64
                   " are the least, half of them well",
                   ended, world->clients->why[MESH_OK], least);
}

static void result_take(const struct world *world, struct run_result *result)
{
    const struct clients *clients = world->clients;
    result->failed = world->failed;
    memcpy(result->failure, world->failure, sizeof result->failure);
    result->trace = world->trace;
    result->nodes = world->config.nodes;
    result->virtual_ms = world->now_us / WORLD_MS;
    result->events = world->events;
    result->effects = world->effects;
    result->requests = clients->requests_count;
    result->sessions = clients->sessions_count;
    memcpy(result->why, clients->why, sizeof result->why);
    result->unsent = clients->unsent;
    result->gone = clients->gone;
    result->forwarded = clients->forwarded;
    result->served_here = clients->served_here;
    result->resumed = clients->resumed;
    result->rested = clients->rested;
    result->gaps = clients->gaps;
    result->polls = world->upstreams->polls;
    result->replayed = world->upstreams->replayed;
    result->executions = world->upstreams->executions;
    result->questions = world->upstreams->questions;
    result->answered = world->upstreams->answered;
    result->tenures = clients->tenures;
    result->fresh = world->upstreams->fresh;
    result->notes = world->upstreams->notes;
    result->datagrams = world->net->datagrams;
    result->datagram_bytes = world->net->datagram_bytes;
    result->dials = world->net->dials;
    result->views_compared = world->checks->views_compared;
    result->rings_compared = world->checks->rings_compared;
    result->rows = world->members->looked_at;
    result->changes = world->members->changes;
    if (world->members->agreed_us > world->calm_from_us)
        result->agreed_ms = (world->members->agreed_us - world->calm_from_us) / WORLD_MS;
    result->modern = world->modern->requests;
    result->states = world->modern->states;
    result->tasks = world->modern->tasks;
    result->handles = world->modern->handles;
    result->cancels = world->modern->cancels;
    result->sse_streams = world->sse->streams;
    result->sse_again = world->sse->again;
    result->sse_answers = world->sse->answers;
    result->sse_failures = world->sse->failures;
    result->sse_ended = world->sse->ended;
    memcpy(result->hits, world->faults->hits, sizeof result->hits);
    memcpy(result->places, world->faults->places, sizeof result->places);
}

/* Everything that was drawn, so that a seed says what it is about. */
static void drawn_take(const struct world *world, struct run_result *result)
{
    static const char *const upstreams[] = {"http", "stdio", "built-in", "sse"};
    const struct faults *faults = world->faults;
    char classes[600];
    faults_print(faults->on, classes, sizeof classes);
    result->chaos_ms = (uint32_t)(world->calm_from_us / WORLD_MS);
    snprintf(
        result->drawn, sizeof result->drawn,
        "draws %u, %u peers, load of %u, %s, upstream %s, chaos until %u ms, calm until %" PRIu64
        " ms; loss %u duplicate %u reorder %u corrupt %u truncate %u replay %u ppm; on: %s",
        world->config.draws, world->config.nodes, world->load_nodes,
        world->keyed ? "keyed" : "keyless", upstreams[world->upstream], result->chaos_ms,
        world->end_us / WORLD_MS, faults->loss_ppm, faults->duplicate_ppm, faults->reorder_ppm,
        faults->corrupt_ppm, faults->truncate_ppm, faults->replay_ppm, classes);
    for (uint32_t n = 0; n < faults->count; n++)
        if (faults->plan[n].is_planned && result->planned_count < RESULT_PLANNED_MAX)
            result->planned[result->planned_count++] = n;
}

int campaign_run(const struct run_options *options, struct run_result *result)
{
    struct world *world = NULL;
    uint32_t total_ms = options->seconds * 1000;
    uint32_t draws = options->legacy_only ? 1 : options->draws;
    uint32_t nodes =
        options->nodes != 0 ? options->nodes : campaign_draw_nodes(options->seed, draws);
    uint32_t least_ms = draws == 1 ? CALM_LEAST_MS : members_floor_ms(nodes) + CALM_AFTER_MS;
    uint32_t calm_ms = total_ms / 3 < least_ms ? least_ms : total_ms / 3;
    struct world_config config = {.seed = options->seed,
                                  .nodes = nodes,
                                  .chaos_ms = total_ms > calm_ms ? total_ms - calm_ms : 0,
                                  .calm_ms = calm_ms,
                                  .faults = options->faults,
                                  .load = true,
                                  .draws = draws,
                                  .calm_from_ms = options->calm_from_ms,
                                  .only = options->only,
                                  .only_count = options->only_count,
                                  .legacy_only = options->legacy_only,
                                  .no_copies = options->no_copies,
                                  .rebalances = options->rebalances,
                                  .identities = options->identities,
                                  .trace = options->trace};
    int rc = world_new(&world, &config);
    if (rc < 0)
        return rc;
    drawn_take(world, result);
    world_say(world, NULL, "seed %" PRIu64 ": %s", options->seed, result->drawn);
    uint64_t end_ms = world->end_us / WORLD_MS;
    world_run(world, world->calm_from_us / WORLD_MS);
    faults_calm(world);
    world_run(world, end_ms);
    world->clients->quiet = true;
    members_check_calm(world);
    if (!options->no_copies)
        tenures_check_calm(world);
    probe(world);
    modern_probe(world);
    sse_probe(world);
    world_run(world, end_ms + PROBE_MS);
    end_all(world);
    modern_end(world);
    sse_end(world);
    world_run(world, end_ms + PROBE_MS + ENDING_MS);
    check_quiescence(world);
    check_void(world);
    result_take(world, result);
    world_free(world);
    return 0;
}
