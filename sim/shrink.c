/* shrink.c - see shrink.h. It knows how to run a seed, and nothing of what a run is. */
#include "sim/shrink.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define RUNS_MAX 400u /* then what was found so far must do */
#define FIRST_FAULT_MS 3000u

struct shrinking {
    shrink_run *run;
    void *with;
    struct shrunk *best;
    uint32_t planned[RESULT_PLANNED_MAX]; /* the faults of the best */
    uint32_t planned_count;
    int rc;
};

bool shrink_is_same(const char *failure, const char *other)
{
    size_t length = strcspn(failure, " :");
    return length > 0 && length == strcspn(other, " :") && memcmp(failure, other, length) == 0;
}

static void planned_take(struct shrinking *s, const struct run_result *result)
{
    s->planned_count = result->planned_count;
    memcpy(s->planned, result->planned, sizeof s->planned);
}

/* Kept, if it fails as the best does. */
static bool try_options(struct shrinking *s, const struct run_options *options)
{
    struct run_result result = {.failed = false};
    if (s->rc < 0 || s->best->runs >= RUNS_MAX)
        return false;
    s->best->runs++;
    s->rc = s->run(options, &result, s->with);
    if (s->rc < 0 || !result.failed || !shrink_is_same(result.failure, s->best->failure))
        return false;
    s->best->options = *options;
    memcpy(s->best->failure, result.failure, sizeof s->best->failure);
    planned_take(s, &result);
    return true;
}

/* ---- classes, time, peers ------------------------------------------------------------------- */

static void without_classes(struct shrinking *s)
{
    for (uint32_t class = 0; class < FAULT_CLASSES; class ++) {
        struct run_options options = s->best->options;
        if ((options.faults >> class & 1) == 0)
            continue;
        options.faults &= ~(UINT64_C(1) << class);
        try_options(s, &options);
    }
}

/* Bisection: what fails is not quite monotone, so that what was found is only ever improved. */
static void with_less_chaos(struct shrinking *s, uint32_t chaos_ms)
{
    uint32_t low = FIRST_FAULT_MS, high = chaos_ms;
    while (high > low + 500) {
        struct run_options options = s->best->options;
        options.calm_from_ms = low + (high - low) / 2;
        if (try_options(s, &options))
            high = options.calm_from_ms;
        else
            low = options.calm_from_ms;
    }
}

static void with_fewer_nodes(struct shrinking *s)
{
    uint32_t low = 1, high = s->best->options.nodes;
    while (high > low + 1) {
        struct run_options options = s->best->options;
        options.nodes = low + (high - low) / 2;
        if (try_options(s, &options))
            high = options.nodes;
        else
            low = options.nodes;
    }
}

/* ---- faults of the plan --------------------------------------------------------------------- */

/* The numbers of `from` but those in [begin, end). */
static uint32_t all_but(uint32_t *into, const uint32_t *from, uint32_t count, uint32_t begin,
                        uint32_t end)
{
    memcpy(into, from, begin * sizeof *into);
    memcpy(into + begin, from + end, (count - end) * sizeof *into);
    return count - (end - begin);
}

/* ddmin, of complements only: a subset that fails alone is found by them, too. */
static int with_fewer_faults(struct shrinking *s)
{
    uint32_t count = s->planned_count, parts = 2;
    uint32_t *kept = calloc(count + 1, sizeof *kept), *tried = calloc(count + 1, sizeof *tried);
    if (kept == NULL || tried == NULL) {
        free(kept);
        free(tried);
        return -ENOMEM;
    }
    memcpy(kept, s->planned, count * sizeof *kept);
    while (count > 0 && s->rc == 0 && s->best->runs < RUNS_MAX) {
        uint32_t size = (count + parts - 1) / parts;
        bool found = false;
        for (uint32_t begin = 0; begin < count && !found; begin += size) {
            uint32_t end = begin + size < count ? begin + size : count;
            struct run_options options = s->best->options;
            options.only = tried;
            options.only_count = all_but(tried, kept, count, begin, end);
            found = try_options(s, &options);
            if (found) {
                memcpy(kept, tried, options.only_count * sizeof *kept);
                count = options.only_count;
            }
        }
        if (found)
            parts = parts > 2 ? parts - 1 : 2;
        else if (size == 1)
            break;
        else
            parts = parts * 2 < count ? parts * 2 : count;
    }
    free(tried);
    s->best->kept = kept;
    s->best->options.only = kept; /* also if none could be left out: the run is the same */
    s->best->options.only_count = count;
    return 0;
}

int shrink(const struct run_options *options, shrink_run *run, void *with, struct shrunk *shrunk)
{
    struct run_result result = {.failed = false};
    struct shrinking s = {.run = run, .with = with, .best = shrunk};
    *shrunk = (struct shrunk){.options = *options, .runs = 1};
    s.rc = run(options, &result, with);
    if (s.rc < 0)
        return s.rc;
    if (!result.failed)
        return -ENOENT;
    memcpy(shrunk->failure, result.failure, sizeof shrunk->failure);
    shrunk->options.nodes = result.nodes;
    planned_take(&s, &result);
    without_classes(&s);
    with_less_chaos(&s, result.chaos_ms);
    with_fewer_nodes(&s);
    if (options->only == NULL && s.rc == 0)
        s.rc = with_fewer_faults(&s);
    if (s.rc == 0)
        without_classes(&s); /* those whose faults are all gone */
    return s.rc;
}

void shrink_command(const struct run_options *options, char *text, size_t room)
{
    char faults[512];
    faults_print(options->faults, faults, sizeof faults);
    int at = snprintf(text, room, "mesh-sim --seed %" PRIu64 " --nodes %u --seconds %u --faults %s",
                      options->seed, options->nodes, options->seconds,
                      options->faults == FAULTS_ALL ? "all" : faults);
    if (options->calm_from_ms > 0 && (size_t)at < room)
        at += snprintf(text + at, room - (size_t)at, " --calm-from %u", options->calm_from_ms);
    if (options->legacy_only && (size_t)at < room)
        at += snprintf(text + at, room - (size_t)at, " --legacy");
    else if (options->draws == 1 && (size_t)at < room)
        at += snprintf(text + at, room - (size_t)at, " --draws 1");
    if (options->no_copies && (size_t)at < room)
        at += snprintf(text + at, room - (size_t)at, " --no-copies");
    if (options->rebalances && (size_t)at < room)
        at += snprintf(text + at, room - (size_t)at, " --rebalance");
    if (options->identities && (size_t)at < room)
        at += snprintf(text + at, room - (size_t)at, " --identities");
    for (uint32_t n = 0; options->only != NULL && n < options->only_count && (size_t)at < room; n++)
        at += snprintf(text + at, room - (size_t)at, "%s%u", n == 0 ? " --only " : ",",
                       options->only[n]);
    if (options->only != NULL && options->only_count == 0 && (size_t)at < room)
        snprintf(text + at, room - (size_t)at, " --only none");
}
