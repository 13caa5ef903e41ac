/* main.c - mesh-sim: options, a loop over seeds, the summary of a campaign. What a seed does is
 * campaign.c's. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sim/campaign.h"
#include "sim/client.h"
#include "sim/huge.h"
#include "sim/scenario.h"
#include "sim/shrink.h"

#define FAILURES_SHOWN 20
#define SEEDS_FOR_HITS 100  /* a campaign so long must have seen every fault, */
#define SEEDS_FOR_PLACES 60 /* and, where peers die at places, every place */

struct options {
    uint64_t from, to;
    uint32_t nodes, seconds;
    uint64_t faults;
    const char *faults_text, *file, *scenario;
    uint32_t draws, calm_from_ms;
    uint32_t only[RESULT_PLANNED_MAX], only_count;
    bool has_seed, has_only, wide, trace, verify, quiet, legacy_only, no_copies, rebalances,
        identities, shrink;
};

struct totals {
    struct run_result sum; /* of all runs; agreed_ms: the most; failure and trace unused */
    uint64_t seeds, failures, agreed_ms;
    struct timespec began;
};

static const char usage[] =
    "usage: mesh-sim [--seed N | --seeds FROM..TO | --file SEEDS] [--nodes N] [--seconds S]\n"
    "                [--faults all|none|LIST] [--only NUMBERS|none] [--calm-from MS]\n"
    "                [--wide] [--draws N] [--legacy] [--no-copies] [--rebalance] [--identities]\n"
    "                [--trace] [--verify] [--quiet] [--shrink]\n"
    "       mesh-sim --scenario FILE [--seed N | --seeds FROM..TO] [--trace] [--verify] [--quiet]\n"
    "  --nodes N    peers, up to 200; 0: drawn from 2 to 63 (the default)\n"
    "  --wide       one seed in eight has 64 to 200 peers instead\n"
    "  --seconds S  of virtual time; two thirds with faults, the rest (at least 20) in calm\n"
    "  --faults L   classes that may be on, one alone is; others are off, and change nothing else\n"
    "  --only L     faults of the plan that happen, by the numbers that --trace shows\n"
    "  --calm-from  chaos ends as early as that\n"
    "  --file F     lines `seed nodes seconds # why`, after the seconds perhaps draws1 or legacy\n"
    "  --draws 1    read the seed as before there were more faults than up to bogus\n"
    "  --legacy     also without clients of HTTP+SSE and of the session-less era\n"
    "  --no-copies  a session ends with its owner\n"
    "  --rebalance  idle sessions go to peers that are new\n"
    "  --identities each peer has a key of its own\n"
    "  --scenario F a story told by a file of sim/scenarios/, under its own seeds or these\n"
    "  --shrink     look for the smallest run that breaks the same invariant\n"
    "  --verify     run each seed twice and compare what happened\n";

static bool parse_number(const char *text, uint64_t *number)
{
    char *end = NULL;
    *number = strtoull(text, &end, 10);
    return end != text && *end == 0;
}

static bool parse_seeds(const char *text, struct options *options)
{
    char copy[64];
    const char *dots = strstr(text, "..");
    if (dots == NULL || (size_t)(dots - text) >= sizeof copy)
        return false;
    memcpy(copy, text, (size_t)(dots - text));
    copy[dots - text] = 0;
    return parse_number(copy, &options->from) && parse_number(dots + 2, &options->to) &&
           options->from <= options->to;
}

static bool parse_only(const char *text, struct options *options)
{
    options->has_only = true;
    options->only_count = 0;
    if (strcmp(text, "none") == 0)
        return true;
    while (options->only_count < RESULT_PLANNED_MAX) {
        char *end = NULL;
        options->only[options->only_count++] = (uint32_t)strtoul(text, &end, 10);
        if (end == text)
            return false;
        if (*end != ',')
            return *end == 0;
        text = end + 1;
    }
    return false;
}

static bool parse_option(int option, const char *text, struct options *options)
{
    uint64_t number = 0;
    switch (option) {
    case 's':
        if (!parse_number(text, &options->from))
            return false;
        options->to = options->from;
        options->has_seed = true;
        return true;
    case 'r':
        options->has_seed = true;
        return parse_seeds(text, options);
    case 'y':
        options->scenario = text;
        return true;
    case 'n':
        options->nodes = parse_number(text, &number) ? (uint32_t)number : UINT32_MAX;
        return number <= WORLD_NODES_MAX && options->nodes != UINT32_MAX;
    case 't':
        options->seconds = parse_number(text, &number) ? (uint32_t)number : 0;
        return options->seconds >= 1 && number <= 100000;
    case 'f':
        options->faults_text = text;
        return faults_parse(text, &options->faults);
    case 'i':
        options->file = text;
        return true;
    case 'T':
        options->trace = true;
        return true;
    case 'v':
        options->verify = true;
        return true;
    case 'w':
        options->wide = true;
        return true;
    case 'd':
        options->draws = parse_number(text, &number) ? (uint32_t)number : 0;
        return number >= 1 && number <= WORLD_DRAWS;
    case 'o':
        return parse_only(text, options);
    case 'c':
        options->calm_from_ms = parse_number(text, &number) ? (uint32_t)number : 0;
        return options->calm_from_ms > 0;
    case 'S':
        options->shrink = true;
        return true;
    case 'l':
        options->legacy_only = true;
        return true;
    case 'N':
        options->no_copies = true;
        return true;
    case 'B':
        options->rebalances = true;
        return true;
    case 'I':
        options->identities = true;
        return true;
    case 'q':
        options->quiet = true;
        return true;
    }
    return false;
}

static int parse(int argc, char **argv, struct options *options)
{
    static const struct option longs[] = {{"seed", required_argument, NULL, 's'},
                                          {"seeds", required_argument, NULL, 'r'},
                                          {"nodes", required_argument, NULL, 'n'},
                                          {"seconds", required_argument, NULL, 't'},
                                          {"faults", required_argument, NULL, 'f'},
                                          {"file", required_argument, NULL, 'i'},
                                          {"trace", no_argument, NULL, 'T'},
                                          {"verify", no_argument, NULL, 'v'},
                                          {"wide", no_argument, NULL, 'w'},
                                          {"draws", required_argument, NULL, 'd'},
                                          {"only", required_argument, NULL, 'o'},
                                          {"calm-from", required_argument, NULL, 'c'},
                                          {"shrink", no_argument, NULL, 'S'},
                                          {"scenario", required_argument, NULL, 'y'},
                                          {"legacy", no_argument, NULL, 'l'},
                                          {"quiet", no_argument, NULL, 'q'},
                                          {"help", no_argument, NULL, 'h'},
                                          {"no-copies", no_argument, NULL, 'N'},
                                          {"rebalance", no_argument, NULL, 'B'},
                                          {"identities", no_argument, NULL, 'I'},
                                          {NULL, 0, NULL, 0}};
    *options = (struct options){.from = 1,
                                .to = 1,
                                .seconds = 60,
                                .faults = FAULTS_ALL,
                                .faults_text = "all",
                                .draws = WORLD_DRAWS};
    int option = 0;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            exit(0);
        }
        if (option == '?' || !parse_option(option, optarg, options)) {
            if (option != '?')
                fprintf(stderr, "mesh-sim: wrong value '%s'\n", optarg != NULL ? optarg : "");
            fputs(usage, stderr);
            return -1;
        }
    }
    if (optind != argc) {
        fputs(usage, stderr);
        return -1;
    }
    return 0;
}

/* ---- one seed ------------------------------------------------------------------------------- */

static void totals_add(struct totals *totals, const struct run_result *result)
{
    struct run_result *sum = &totals->sum;
    totals->seeds++;
    totals->failures += result->failed;
    sum->virtual_ms += result->virtual_ms;
    sum->events += result->events;
    sum->effects += result->effects;
    sum->requests += result->requests;
    sum->sessions += result->sessions;
    for (size_t n = 0; n < sizeof sum->why / sizeof *sum->why; n++)
        sum->why[n] += result->why[n];
    for (size_t n = 0; n < FAULT_CLASSES; n++)
        sum->hits[n] += result->hits[n];
    for (size_t n = 0; n < PLACES; n++)
        sum->places[n] += result->places[n];
    sum->unsent += result->unsent;
    sum->gone += result->gone;
    sum->executions += result->executions;
    sum->resumed += result->resumed;
    sum->rested += result->rested;
    sum->gaps += result->gaps;
    sum->polls += result->polls;
    sum->replayed += result->replayed;
    sum->forwarded += result->forwarded;
    sum->served_here += result->served_here;
    sum->questions += result->questions;
    sum->answered += result->answered;
    sum->tenures += result->tenures;
    sum->fresh += result->fresh;
    sum->notes += result->notes;
    sum->datagrams += result->datagrams;
    sum->datagram_bytes += result->datagram_bytes;
    sum->dials += result->dials;
    sum->views_compared += result->views_compared;
    sum->rings_compared += result->rings_compared;
    sum->rows += result->rows;
    sum->changes += result->changes;
    if (sum->agreed_ms < result->agreed_ms)
        sum->agreed_ms = result->agreed_ms;
    totals->agreed_ms += result->agreed_ms;
    sum->modern += result->modern;
    sum->states += result->states;
    sum->tasks += result->tasks;
    sum->handles += result->handles;
    sum->cancels += result->cancels;
    sum->sse_streams += result->sse_streams;
    sum->sse_again += result->sse_again;
    sum->sse_answers += result->sse_answers;
    sum->sse_failures += result->sse_failures;
    sum->sse_ended += result->sse_ended;
}

static int run_once(const struct run_options *options, struct run_result *result, void *with)
{
    (void)with;
    return campaign_run(options, result);
}

static void shrink_print(const struct run_options *options)
{
    static struct shrunk shrunk;
    static char command[8192];
    struct run_options quiet = *options;
    quiet.trace = false;
    if (shrink(&quiet, run_once, NULL, &shrunk) < 0) {
        printf("  it does not fail\n");
        return;
    }
    shrink_command(&shrunk.options, command, sizeof command);
    printf("  shrunk in %u runs to %u faults: %s\n  %s\n", shrunk.runs, shrunk.options.only_count,
           shrunk.failure, command);
    free(shrunk.kept);
}

static void failure_print(const struct options *options, const struct run_options *run,
                          const struct run_result *result)
{
    static char command[8192];
    struct run_options repeat = *run;
    repeat.nodes = result->nodes;
    shrink_command(&repeat, command, sizeof command);
    printf("seed %" PRIu64 " (%u peers): %s\n  drawn: %s\n  repeat: %s --trace\n", run->seed,
           result->nodes, result->failure, result->drawn, command);
    if (options->shrink)
        shrink_print(&repeat);
}

static int run_one(const struct options *options, struct totals *totals, uint64_t seed,
                   uint32_t nodes, uint32_t seconds, uint32_t draws, bool legacy_only)
{
    struct run_options run = {.seed = seed,
                              .faults = options->faults,
                              .nodes = nodes,
                              .seconds = seconds,
                              .draws = draws,
                              .calm_from_ms = options->calm_from_ms,
                              .only = options->has_only ? options->only : NULL,
                              .only_count = options->only_count,
                              .legacy_only = legacy_only,
                              .no_copies = options->no_copies,
                              .rebalances = options->rebalances,
                              .identities = options->identities,
                              .trace = options->trace};
    struct run_result result = {.failed = false};
    int rc = campaign_run(&run, &result);
    if (rc == 0 && options->verify && !result.failed) {
        struct run_result again = {.failed = false};
        rc = campaign_run(&run, &again);
        if (rc == 0 && again.trace != result.trace) {
            result.failed = true;
            snprintf(result.failure, sizeof result.failure,
                     "D1: two runs, traces %016" PRIx64 " and %016" PRIx64, result.trace,
                     again.trace);
        }
    }
    if (rc < 0) {
        fprintf(stderr, "mesh-sim: seed %" PRIu64 ": %s\n", seed, strerror(-rc));
        return rc;
    }
    totals_add(totals, &result);
    if (result.failed && totals->failures <= FAILURES_SHOWN)
        failure_print(options, &run, &result);
    else if (!options->quiet && (options->from == options->to || options->file != NULL))
        printf("seed %" PRIu64 " (%u peers): trace %016" PRIx64 "\n", seed, result.nodes,
               result.trace);
    fflush(stdout);
    return 0;
}

static int run_file(const struct options *options, struct totals *totals)
{
    char line[512];
    int rc = 0;
    FILE *file = fopen(options->file, "re");
    if (file == NULL) {
        fprintf(stderr, "mesh-sim: cannot read %s\n", options->file);
        return -1;
    }
    while (rc == 0 && fgets(line, sizeof line, file) != NULL) {
        uint64_t seed = 0;
        uint32_t nodes = 0;
        uint32_t seconds = 0;
        char era[8] = "";
        if (line[0] == '#' || line[0] == '\n')
            continue;
        if (sscanf(line, "%" SCNu64 " %" SCNu32 " %" SCNu32 " %7s", &seed, &nodes, &seconds, era) <
                3 ||
            nodes > WORLD_NODES_MAX || seconds == 0 || seconds > 100000) {
            fprintf(stderr, "mesh-sim: not `seed nodes seconds`: %s", line);
            rc = -1;
            break;
        }
        rc = run_one(options, totals, seed, nodes, seconds,
                     strcmp(era, "draws1") == 0 ? 1 : options->draws,
                     options->legacy_only || strcmp(era, "legacy") == 0);
    }
    fclose(file);
    return rc;
}

/* ---- summary -------------------------------------------------------------------------------- */

static bool places_are_complete(const struct options *options, const struct totals *totals)
{
    bool complete = true;
    bool has_places = (options->faults & FAULTS_BUILT & fault_bit(FAULT_FAILPOINT)) != 0 &&
                      options->draws != 1 && !options->no_copies;
    for (uint32_t n = 0; has_places && totals->seeds >= SEEDS_FOR_PLACES && n < PLACES; n++)
        if (totals->sum.places[n] == 0) {
            printf("nobody ever died at %s: the campaign proves nothing about it\n",
                   fault_place(n));
            complete = false;
        }
    return complete;
}

static bool hits_are_complete(const struct options *options, const struct totals *totals)
{
    bool complete = true;
    if (totals->seeds < SEEDS_FOR_HITS)
        return true;
    uint64_t may_be = options->draws == 1 ? FAULTS_OF_DRAWS_1 : FAULTS_BUILT;
    for (uint32_t n = 0; n < FAULT_CLASSES; n++)
        if (((options->faults & may_be) >> n & 1) != 0 && totals->sum.hits[n] == 0) {
            printf("the fault '%s' never happened: the campaign proves nothing about it\n",
                   fault_name((enum fault_class)n));
            complete = false;
        }
    if (!options->no_copies && (totals->sum.tenures == 0 || totals->sum.fresh == 0)) {
        printf("no session was taken over, or no server told of one again: see the summary\n");
        complete = false;
    }
    if (!options->legacy_only && (totals->sum.states == 0 || totals->sum.tasks == 0 ||
                                  totals->sum.handles == 0 || totals->sum.cancels == 0)) {
        printf("of the session-less era something never happened: see the summary\n");
        complete = false;
    }
    if (!options->legacy_only && (totals->sum.sse_again == 0 || totals->sum.sse_answers == 0 ||
                                  totals->sum.sse_failures == 0 || totals->sum.sse_ended == 0)) {
        printf("of HTTP+SSE something never happened: see the summary\n");
        complete = false;
    }
    return complete;
}

static void summary(const struct totals *totals)
{
    const struct run_result *sum = &totals->sum;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double real_s = (double)(now.tv_sec - totals->began.tv_sec) +
                    (double)(now.tv_nsec - totals->began.tv_nsec) / 1e9;
    uint64_t answered = sum->forwarded + sum->served_here;
    printf("seeds %" PRIu64 ", virtual %.0f s, real %.1f s, events %" PRIu64 ", effects %" PRIu64
           "\n",
           totals->seeds, (double)sum->virtual_ms / 1000, real_s, sum->events, sum->effects);
    printf("sessions %" PRIu64 ", requests %" PRIu64 ", executions %" PRIu64
           ", forwarded %.1f %%, questions %" PRIu64 " (%" PRIu64
           " answered), notifications %" PRIu64 "\n",
           sum->sessions, sum->requests, sum->executions,
           answered == 0 ? 0 : 100.0 * (double)sum->forwarded / (double)answered, sum->questions,
           sum->answered, sum->notes);
    printf("tenures begun by others %" PRIu64 ", fresh servers told of a session %" PRIu64 "\n",
           sum->tenures, sum->fresh);
    printf("streams resumed %" PRIu64 " (%" PRIu64 " brought the answer), gaps told %" PRIu64
           ", ended early by upstreams %" PRIu64 ", notifications told again by them %" PRIu64 "\n",
           sum->resumed, sum->rested, sum->gaps, sum->polls, sum->replayed);
    printf("datagrams %" PRIu64 " (%" PRIu64 " B each), dials %" PRIu64 ", views compared %" PRIu64
           ", rings compared %" PRIu64 "\n",
           sum->datagrams, sum->datagrams == 0 ? 0 : sum->datagram_bytes / sum->datagrams,
           sum->dials, sum->views_compared, sum->rings_compared);
    printf("membership: changes %" PRIu64 ", rows looked at %" PRIu64 ", views equal after %" PRIu64
           " ms of calm on average, %" PRIu64 " at most\n",
           sum->changes, sum->rows, totals->seeds == 0 ? 0 : totals->agreed_ms / totals->seeds,
           sum->agreed_ms);
    printf("session-less: executions %" PRIu64 ", states back %" PRIu64 ", tasks found %" PRIu64
           ", handles met %" PRIu64 ", cancelled %" PRIu64 "\n",
           sum->modern, sum->states, sum->tasks, sum->handles, sum->cancels);
    printf("HTTP+SSE: streams %" PRIu64 " (%" PRIu64 " by who goes on), answers %" PRIu64
           ", failures told %" PRIu64 ", sessions ended with theirs %" PRIu64 "\n",
           sum->sse_streams, sum->sse_again, sum->sse_answers, sum->sse_failures, sum->sse_ended);
    printf("outcomes:");
    for (uint32_t n = 0; n < sizeof sum->why / sizeof *sum->why; n++)
        if (sum->why[n] > 0)
            printf(" %s %" PRIu64, reason_name((enum mesh_reason)n), sum->why[n]);
    printf(" | peer gone %" PRIu64 ", nobody listened %" PRIu64 "\nfaults:", sum->gone,
           sum->unsent);
    for (uint32_t n = 0; n < FAULT_CLASSES; n++)
        printf(" %s %" PRIu64, fault_name((enum fault_class)n), sum->hits[n]);
    if (sum->hits[FAULT_FAILPOINT] > 0) {
        printf("\ndied at:");
        for (uint32_t n = 0; n < PLACES; n++)
            printf(" %s %" PRIu64, fault_place(n), sum->places[n]);
    }
    printf("\nfailures: %" PRIu64 "\n", totals->failures);
}

/* ---- scenarios ------------------------------------------------------------------------------ */

/* Tells one under one seed, twice if that is to be compared. */
static int scenario_tell(const struct options *options, const struct scenario *scenario,
                         uint64_t seed, struct scenario_result *result)
{
    struct scenario_result again = {.failed = false};
    int rc = scenario_run(scenario, seed, options->trace, result);
    if (rc < 0 || !options->verify || result->failed)
        return rc;
    rc = scenario_run(scenario, seed, false, &again);
    if (rc == 0 && again.trace != result->trace) {
        result->failed = true;
        snprintf(result->failure, sizeof result->failure,
                 "D1: two runs, traces %016" PRIx64 " and %016" PRIx64, result->trace, again.trace);
    }
    return rc;
}

static int run_scenario(const struct options *options)
{
    struct scenario *scenario = NULL;
    char error[512];
    uint64_t failures = 0, events = 0, trace = 0;
    if (scenario_read(&scenario, options->scenario, error, sizeof error) < 0) {
        fprintf(stderr, "mesh-sim: %s\n", error);
        return 2;
    }
    uint64_t from = options->has_seed ? options->from : 1;
    uint64_t to = options->has_seed ? options->to : scenario->seeds;
    for (uint64_t seed = from; seed <= to; seed++) {
        struct scenario_result result = {.failed = false};
        int rc = scenario_tell(options, scenario, seed, &result);
        if (rc < 0) {
            fprintf(stderr, "mesh-sim: seed %" PRIu64 ": %s\n", seed, strerror(-rc));
            free(scenario);
            return 2;
        }
        events += result.events;
        trace ^= result.trace;
        if (result.failed && ++failures <= FAILURES_SHOWN)
            printf("seed %" PRIu64 " (%s): %s\n  repeat: mesh-sim --scenario %s --seed %" PRIu64
                   " --trace\n",
                   seed, options->scenario, result.failure, options->scenario, seed);
    }
    if (!options->quiet || failures > 0)
        printf("%s: seeds %" PRIu64 "..%" PRIu64 ", events %" PRIu64 ", traces %016" PRIx64
               ", failures %" PRIu64 "\n",
               options->scenario, from, to, events, trace, failures);
    free(scenario);
    return failures > 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct options options;
    struct totals totals = {.seeds = 0};
    int rc = 0;
    if (parse(argc, argv, &options) < 0)
        return 2;
    if (options.scenario != NULL)
        return run_scenario(&options);
    if (options.wide)
        huge_pages(argv);
    clock_gettime(CLOCK_MONOTONIC, &totals.began);
    if (options.file != NULL) {
        rc = run_file(&options, &totals);
    } else {
        for (uint64_t seed = options.from; rc == 0 && seed <= options.to; seed++)
            rc = run_one(&options, &totals, seed,
                         options.wide && options.nodes == 0 ? campaign_draw_wide(seed)
                                                            : options.nodes,
                         options.seconds, options.draws, options.legacy_only);
    }
    if (rc < 0)
        return 2;
    bool complete = places_are_complete(&options, &totals) && hits_are_complete(&options, &totals);
    if (!options.quiet || totals.failures > 0)
        summary(&totals);
    return totals.failures > 0 || !complete ? 1 : 0;
}
