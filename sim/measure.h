/* measure.h - mesh-measure: the figures of membership that the reference sets as a gate and as
 * targets (gossip.md, part 2), taken from fields (field.h). One function a figure or a family of
 * them; measure.c has the options and the table, figures.c the sums and how they are shown.
 *
 * Each figure is shown beside its anchor and its target. A target that is missed is a result; a
 * gate that does not hold (mesh-measure gate) means that no other figure counts, and exit code 1.
 */
#ifndef SIM_MEASURE_H
#define SIM_MEASURE_H

#include <stdio.h>

#include "sim/field.h"

/* Values of one figure, in millionths of its unit. */
struct figures {
    uint64_t *values;
    size_t count, capacity;
    bool is_sorted;
};

enum quantile { MEDIAN, P99, P999, MOST };
#define QUANTILES 4

/* A figure as it is shown. */
struct figure {
    const char *id;   /* T1, gate */
    const char *what; /* "first detection" */
    const char *unit;
    const char *preset; /* NULL: none */
    uint32_t peers;
    const char *anchor, *target; /* as the reference words them; NULL: none */
    double most[QUANTILES];      /* the target in numbers; 0: none */
    size_t never;                /* what should have come and did not, beside the values */
    double least;                /* a number's target, where more is better; 0: none */
};

struct named_preset {
    const char *name;
    const struct swim_preset *preset;
};

struct measure {
    uint64_t first_seed;
    uint32_t seeds, peers; /* 0: as the measurement has it */
    bool is_quick, is_tsv;
    struct named_preset presets[4]; /* the controls beside the product */
    size_t presets_count;
    uint32_t gates_failed, targets_missed;
    FILE *samples; /* every value of the figures that are shown, for plots; NULL: nowhere */
};

void figures_add(struct figures *figures, uint64_t millionths);
double figures_at(struct figures *figures, enum quantile quantile); /* 0 of none */
void figures_free(struct figures *figures);

/* Shows median, p99, p99.9 and the most; whether the target holds (true without one). It does not
 * where something never came. */
bool show_figures(struct measure *m, const struct figure *figure, struct figures *figures);
/* Shows one number; its target is `least`, or else most[MOST]. */
bool show_number(struct measure *m, const struct figure *figure, double value);
/* A gate: holds, or not. */
void show_gate(struct measure *m, const char *what, const char *preset, double value, double least,
               double most);
void show_note(const struct measure *m, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

uint32_t measure_seeds(const struct measure *m, uint32_t otherwise);
uint32_t measure_peers(const struct measure *m, uint32_t otherwise);
/* Where targets are set for some sizes, in ascending order: is n-th of them measured? With --n the
 * one that is as large or the next larger, whose targets then apply; else all, or the first if
 * quick. */
bool measures_size(const struct measure *m, const uint32_t *sizes, size_t count, size_t n);

/* Some of the seats 0 .. peers - 1 by chance, `count` of them. */
void draw_seats(uint64_t seed, uint32_t *into, uint32_t count, uint32_t peers);
/* A field of `peers` that know each other, after `quiesce_s` in which nothing is measured. */
struct field *settled_field(const struct field_config *config, uint32_t peers, uint32_t quiesce_s);

/* Lifeguard's Interval set-up, one of its cells (measure_gate.c). */
#define INTERVAL_CELLS (9 * 6 * 8)
struct interval_sums {
    uint64_t runs, wrong, wrong_at_healthy; /* deaths of healthy members seen: FP, FP- */
    uint64_t datagrams, bytes, peer_us;
};
void interval_trial(const struct swim_preset *preset, uint64_t seed, uint32_t cell,
                    struct interval_sums *sums);
void interval_cells(uint64_t seed, uint32_t *cells); /* INTERVAL_CELLS, in an order by chance */

void measure_gate(struct measure *m);
void measure_t1(struct measure *m);
void measure_t2(struct measure *m);
void measure_t3(struct measure *m);
void measure_t4(struct measure *m);
void measure_t5(struct measure *m);
void measure_t6(struct measure *m);
void measure_t7(struct measure *m);
void measure_t8(struct measure *m);
void measure_t9(struct measure *m);
void measure_t10(struct measure *m);
void measure_t15(struct measure *m);
void measure_t16(struct measure *m);
void measure_t17(struct measure *m);
void measure_r10(struct measure *m);
void measure_r11(struct measure *m);

#endif
