/* figures.c - quantiles of what was measured, and one line for each figure: for people, or as tab
 * separated values. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim/measure.h"

static const char *const quantile_names[QUANTILES] = {"median", "p99", "p99.9", "max"};

void figures_add(struct figures *figures, uint64_t millionths)
{
    if (figures->count == figures->capacity) {
        figures->capacity = figures->capacity == 0 ? 256 : 2 * figures->capacity;
        figures->values = realloc(figures->values, figures->capacity * sizeof *figures->values);
        if (figures->values == NULL)
            abort();
    }
    figures->values[figures->count++] = millionths;
    figures->is_sorted = false;
}

void figures_free(struct figures *figures)
{
    free(figures->values);
    *figures = (struct figures){.count = 0};
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

/* The least value that so many of a thousand do not exceed. */
double figures_at(struct figures *figures, enum quantile quantile)
{
    static const size_t of_thousand[QUANTILES] = {500, 990, 999, 1000};
    if (figures->count == 0)
        return 0;
    if (!figures->is_sorted)
        qsort(figures->values, figures->count, sizeof *figures->values, compare);
    figures->is_sorted = true;
    size_t at = (figures->count * of_thousand[quantile] + 999) / 1000;
    return (double)figures->values[at > 0 ? at - 1 : 0] / 1e6;
}

static const char *or_dash(const char *text)
{
    return text != NULL ? text : "-";
}

static void show_head(const struct measure *m, const struct figure *f)
{
    if (m->is_tsv)
        printf("%s\t%s\t%u\t%s\t%s", f->id, or_dash(f->preset), f->peers, f->what, f->unit);
    else
        printf("%-4s %-10s N=%-5u %s", f->id, or_dash(f->preset), f->peers, f->what);
}

static bool show_tail(struct measure *m, const struct figure *f, bool is_met)
{
    bool is_judged = f->target != NULL && (f->preset == NULL || strcmp(f->preset, "product") == 0);
    const char *verdict = !is_judged ? "-" : is_met ? "met" : "missed";
    if (m->is_tsv)
        printf("\t%s\t%s\t%s\n", or_dash(f->anchor), or_dash(f->target), verdict);
    else
        printf("  [anchor %s; target %s: %s]\n", or_dash(f->anchor), or_dash(f->target), verdict);
    if (is_judged && !is_met)
        m->targets_missed++;
    fflush(stdout);
    return is_met;
}

/* A line each, sorted: id, preset, N, figure, value. */
static void write_samples(const struct measure *m, const struct figure *f,
                          const struct figures *figures)
{
    for (size_t n = 0; n < figures->count; n++)
        fprintf(m->samples, "%s\t%s\t%u\t%s\t%.6f\n", f->id, or_dash(f->preset), f->peers, f->what,
                (double)figures->values[n] / 1e6);
}

bool show_figures(struct measure *m, const struct figure *f, struct figures *figures)
{
    bool is_met = figures->count > 0 && f->never == 0;
    show_head(m, f);
    printf(m->is_tsv ? "\t%zu\t%zu" : ": n=%zu never=%zu", figures->count, f->never);
    for (unsigned q = 0; q < QUANTILES; q++) {
        double value = figures_at(figures, (enum quantile)q);
        if (m->is_tsv)
            printf("\t%.3f", value);
        else
            printf(" %s %.3f", quantile_names[q], value);
        if (f->most[q] > 0 && value > f->most[q])
            is_met = false;
    }
    if (!m->is_tsv)
        printf(" %s", f->unit);
    if (m->samples != NULL)
        write_samples(m, f, figures);
    return show_tail(m, f, is_met);
}

bool show_number(struct measure *m, const struct figure *f, double value)
{
    show_head(m, f);
    if (m->is_tsv)
        printf("\t1\t0\t%.4g\t\t\t", value);
    else
        printf(": %.4g %s", value, f->unit);
    return show_tail(m, f, f->least > 0 ? value >= f->least : value <= f->most[MOST]);
}

void show_gate(struct measure *m, const char *what, const char *preset, double value, double least,
               double most)
{
    bool holds = value >= least && value <= most;
    if (m->is_tsv)
        printf("gate\t%s\t128\t%s\t-\t1\t0\t%.3f\t\t\t\t-\t%.3f..%.3f\t%s\n", preset, what, value,
               least, most, holds ? "holds" : "FAILS");
    else
        printf("gate %-10s %s: %.3f (%.3f .. %.3f): %s\n", preset, what, value, least, most,
               holds ? "holds" : "FAILS");
    if (!holds)
        m->gates_failed++;
    fflush(stdout);
}

void show_note(const struct measure *m, const char *format, ...)
{
    va_list args;
    if (m->is_tsv)
        return;
    va_start(args, format);
    printf("     ");
    vprintf(format, args);
    putchar('\n');
    va_end(args);
    fflush(stdout);
}

uint32_t measure_seeds(const struct measure *m, uint32_t otherwise)
{
    return m->seeds > 0 ? m->seeds : otherwise;
}

uint32_t measure_peers(const struct measure *m, uint32_t otherwise)
{
    return m->peers > 0 ? m->peers : otherwise;
}

bool measures_size(const struct measure *m, const uint32_t *sizes, size_t count, size_t n)
{
    if (m->peers == 0)
        return n == 0 || !m->is_quick;
    return (n == 0 || m->peers > sizes[n - 1]) && (n == count - 1 || m->peers <= sizes[n]);
}

void draw_seats(uint64_t seed, uint32_t *into, uint32_t count, uint32_t peers)
{
    uint32_t *seats = calloc(peers, sizeof *seats);
    struct shuffle chance = {{seed + 1, 2, 3, 4}};
    if (seats == NULL)
        abort();
    for (unsigned n = 0; n < 16; n++) /* away from its beginning */
        shuffle_u64(&chance);
    for (uint32_t n = 0; n < peers; n++)
        seats[n] = n;
    for (uint32_t n = 0; n < count; n++) {
        uint32_t at = n + shuffle_below(&chance, peers - n);
        into[n] = seats[at];
        seats[at] = seats[n];
    }
    free(seats);
}

struct field *settled_field(const struct field_config *config, uint32_t peers, uint32_t quiesce_s)
{
    struct field *field = field_new(config);
    field_start_met(field, peers);
    field_run(field, (uint64_t)quiesce_s * FIELD_SECOND);
    return field;
}
