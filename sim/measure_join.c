/* measure_join.c - how soon everybody knows: a whole mesh that joins at one seed (T7), one who
 * comes or goes (T8), one who says farewell (T10), and everybody restarting (T16). */
#include <stdio.h>
#include <stdlib.h>

#include "sim/measure.h"

#define QUIESCE_S 5u
#define SPREAD_US (20 * (uint64_t)FIELD_SECOND) /* who has not heard by then counts apart */

/* What a machine takes: measured ones are in tests/bench; these are on the careful side. */
static void set_machine(struct field_config *config)
{
    config->datagram_us = 20;
    config->message_us = 20;
    config->record_us = 2;
    config->dial_us = 200;
    config->bytes_per_s = 125000000; /* 1 Gbit/s */
}

/* ---- T7: a mass join ------------------------------------------------------------------------ */

/* How many different sizes the members told of, looked at every second. */
static uint32_t sizes_told(const struct field *field, bool *is_told, uint32_t peers)
{
    uint32_t fresh = 0;
    for (uint32_t n = 0; n < peers; n++) {
        if (!field->seats[n].is_joined)
            continue;
        size_t living = view_living(swim_view(field->seats[n].swim));
        fresh += !is_told[living];
        is_told[living] = true;
    }
    return fresh;
}

static uint64_t mass_join(const struct swim_preset *preset, uint64_t seed, uint32_t peers,
                          struct figures *sizes)
{
    struct field_config config = {.seed = seed, .seats = peers, .spare = 16, .preset = preset};
    bool *is_told = calloc(peers + 17, sizeof *is_told);
    uint32_t told = 0;
    if (is_told == NULL)
        abort();
    set_machine(&config);
    struct field *field = field_new(&config);
    field_start(field, 0, FIELD_NOBODY);
    field_run(field, 10 * (uint64_t)FIELD_SECOND);
    uint64_t began_us = field->now_us, agreed_us = MESH_NEVER;
    for (uint32_t n = 1; n < peers; n++) { /* spawned within half a second */
        field_run(field, began_us + (uint64_t)n * (FIELD_SECOND / 2) / peers);
        field_start(field, n, 0);
    }
    for (uint32_t second = 0; second < 120 && agreed_us == MESH_NEVER; second++) {
        agreed_us = field_run_until_agreed(field, FIELD_NOBODY, peers, FIELD_SECOND / 20,
                                           began_us + (second + 1) * (uint64_t)FIELD_SECOND);
        told += sizes_told(field, is_told, peers);
    }
    figures_add(sizes, (uint64_t)told * 1000000);
    field_free(field);
    free(is_told);
    return agreed_us == MESH_NEVER ? MESH_NEVER : agreed_us - began_us;
}

void measure_t7(struct measure *m)
{
    static const uint32_t sizes[] = {100, 1000, 2000, 5000};
    static const double limits_s[] = {5, 8, 12, 20};
    static const char *const targets[] = {"5", "8", "12", "20"};
    static const char *const anchors[] = {NULL, NULL, "95; Rapid 41-48", NULL};
    for (size_t n = 0; n < (m->is_quick ? 1u : 4u); n++)
        for (size_t p = 0; p < m->presets_count; p++) {
            struct figures times = {.count = 0}, told = {.count = 0};
            uint32_t seeds = measure_seeds(m, sizes[n] <= 100 ? 20 : sizes[n] <= 1000 ? 2 : 1);
            uint32_t never = 0;
            if (m->peers != 0 && m->peers != sizes[n])
                continue;
            for (uint32_t seed = 0; seed < seeds; seed++) {
                uint64_t after_us =
                    mass_join(m->presets[p].preset, m->first_seed + seed, sizes[n], &told);
                never += after_us == MESH_NEVER;
                if (after_us != MESH_NEVER)
                    figures_add(&times, after_us);
            }
            struct figure f = {
                .id = "T7",
                .what = "from one to full views",
                .unit = "s",
                .preset = m->presets[p].name,
                .peers = sizes[n],
                .anchor = anchors[n],
                .target = targets[n],
                .never = never,
                .most = {0, 0, 0, limits_s[n]},
            };
            show_figures(m, &f, &times);
            if (never > 0)
                show_note(m, "in %u of %u runs not within 120 s", never, seeds);
            f.what = "sizes told, looked at every second";
            f.never = 0;
            f.unit = "sizes";
            f.anchor = "901 @1000, 1858 @2000; Rapid 4, 7";
            f.target = NULL;
            show_figures(m, &f, &told);
            figures_free(&times);
            figures_free(&told);
        }
}

/* ---- T8, T10: one who comes or goes --------------------------------------------------------- */

struct spread {
    uint32_t subject, seen;
    bool is_join;
    uint64_t began_us;
    struct figures *each; /* when each member knew */
};

static void spread_watch(void *context, struct field *field, uint32_t observer, uint32_t subject,
                         const struct view_change *change)
{
    struct spread *spread = context;
    bool is_it = spread->is_join ? change->from == MEMBER_UNKNOWN && change->to == MEMBER_ALIVE
                                 : change->to == MEMBER_LEFT || change->to == MEMBER_DEAD;
    if (subject != spread->subject || observer == subject || !is_it)
        return;
    spread->seen++;
    figures_add(spread->each, field->now_us - spread->began_us);
}

/* The last seat joins and leaves again, so many times. */
static void come_and_go(const struct swim_preset *preset, uint64_t seed, uint32_t peers,
                        uint32_t lost_ppm, uint32_t times, struct figures *joins,
                        struct figures *leaves)
{
    struct spread spread = {.subject = FIELD_NOBODY};
    uint32_t last = peers - 1;
    struct field_config config = {
        .seed = seed,
        .seats = peers,
        .spare = times + 16,
        .preset = preset,
        .watch = spread_watch,
        .context = &spread,
    };
    struct field *field = settled_field(&config, peers - 1, QUIESCE_S);
    field->lost_ppm = lost_ppm;
    for (uint32_t n = 0; n < times; n++) {
        uint64_t limit_us = field->now_us + SPREAD_US;
        spread = (struct spread){.subject = last, .is_join = true, .each = joins};
        field_start(field, last, n % (peers - 1));
        /* from when it has a generation to tell of: what came before are its questions */
        while (peer_id_is_nobody(field->seats[last].id) && field->now_us < limit_us) {
            spread.began_us = field->now_us;
            field_run(field, field->now_us + FIELD_SECOND / 1000);
        }
        while (spread.seen < peers - 1 && field->now_us < limit_us)
            field_run(field, field->now_us + FIELD_SECOND / 10);
        field_run(field, field->now_us + 5 * (uint64_t)FIELD_SECOND);
        spread = (struct spread){.subject = last, .began_us = field->now_us, .each = leaves};
        field_leave(field, last);
        limit_us = field->now_us + SPREAD_US;
        while (spread.seen < peers - 1 && field->now_us < limit_us)
            field_run(field, field->now_us + FIELD_SECOND / 10);
        field_run(field, field->now_us + 5 * (uint64_t)FIELD_SECOND);
        if (field_runs(field, last))
            field_crash(field, last, true);
    }
    field_free(field);
}

/* Who hears of it twice, as left and as dead, counts twice. */
static size_t missing(size_t all, const struct figures *figures)
{
    return figures->count < all ? all - figures->count : 0;
}

static void spread_measure(struct measure *m, bool is_t10)
{
    static const uint32_t sizes[] = {100, 1000, 5000}, times[] = {20, 5, 2};
    static const double join_s[] = {1.2, 1.6, 2.0};
    static const char *const join_targets[] = {"1.2", "1.6", "2.0"};
    static const char *const models[] = {"model 2.0", "model 2.2", "model 2.4"};
    static const uint32_t lost_ppm[2][2] = {{0, 500000}, {0, 200000}};
    for (size_t n = 0; n < 3; n++)
        for (size_t l = 0; l < (m->is_quick ? 1 : 2); l++)
            for (size_t p = 0; p < m->presets_count; p++) {
                struct figures joins = {.count = 0}, leaves = {.count = 0};
                uint32_t lost = lost_ppm[is_t10][l], seeds = measure_seeds(m, n == 0 ? 4 : 1);
                uint32_t trials = lost > 0 && n > 0 ? 2 : times[n]; /* they take their time */
                uint32_t peers = measure_peers(m, sizes[n]);
                char what[64];
                if (!measures_size(m, sizes, 3, n))
                    continue;
                for (uint32_t seed = 0; seed < seeds; seed++)
                    come_and_go(m->presets[p].preset, m->first_seed + seed, peers, lost, trials,
                                &joins, &leaves);
                struct figure f = {
                    .id = is_t10 ? "T10" : "T8",
                    .what = what,
                    .unit = "s",
                    .preset = m->presets[p].name,
                    .peers = peers,
                    .anchor = is_t10     ? "25 @3600"
                              : lost > 0 ? "model 4.4"
                                         : models[n],
                    .target = is_t10     ? "1.5"
                              : lost > 0 ? "3"
                                         : join_targets[n],
                };
                f.most[MOST] = is_t10 ? 1.5 : lost > 0 ? 3 : join_s[n];
                size_t all = (size_t)seeds * trials * (peers - 1);
                if (!is_t10) {
                    snprintf(what, sizeof what, "a join is known at %u %% loss", lost / 10000);
                    f.never = missing(all, &joins);
                    show_figures(m, &f, &joins);
                    if (joins.count < all)
                        show_note(m, "%zu times it did not come within 20 s", all - joins.count);
                }
                snprintf(what, sizeof what, "a farewell is known at %u %% loss", lost / 10000);
                f.never = missing(all, &leaves);
                show_figures(m, &f, &leaves);
                if (leaves.count < all)
                    show_note(m, "%zu times it did not come within 20 s", all - leaves.count);
                figures_free(&joins);
                figures_free(&leaves);
            }
}

void measure_t8(struct measure *m)
{
    spread_measure(m, false);
}

void measure_t10(struct measure *m)
{
    spread_measure(m, true);
}

/* ---- T16: everybody restarts ---------------------------------------------------------------- */

static uint64_t full_restart(const struct swim_preset *preset, uint64_t seed, uint32_t peers,
                             uint32_t over_s)
{
    struct field_config config = {
        .seed = seed,
        .seats = peers,
        .spare = peers + 16,
        .preset = preset,
    };
    uint32_t *order = calloc(peers, sizeof *order);
    if (order == NULL)
        abort();
    set_machine(&config);
    draw_seats(seed, order, peers, peers);
    struct field *field = settled_field(&config, peers, QUIESCE_S);
    uint64_t began_us = field->now_us, each_us = over_s * (uint64_t)FIELD_SECOND / peers;
    for (uint32_t n = 0; n < peers; n++) {
        uint32_t seat = order[n];
        field_run(field, began_us + n * each_us);
        field_crash(field, seat, false);
        if (n % 2 == 1)
            field_move(field, seat);
        /* three of the names that a resolver gives */
        field_start(field, seat, seat == 0 ? 1 : 0);
        field_contact(field, seat, seat <= 1 ? 2 : 1);
        field_contact(field, seat, seat <= 2 ? 3 : 2);
    }
    uint64_t last_us = field->now_us;
    uint64_t agreed_us = field_run_until_agreed(field, FIELD_NOBODY, peers, FIELD_SECOND / 10,
                                                last_us + 120 * (uint64_t)FIELD_SECOND);
    field_free(field);
    free(order);
    return agreed_us == MESH_NEVER ? MESH_NEVER : agreed_us - last_us;
}

void measure_t16(struct measure *m)
{
    uint32_t peers = measure_peers(m, m->is_quick ? 128 : 1000), seeds = measure_seeds(m, 1);
    for (size_t p = 0; p < m->presets_count; p++) {
        struct figures after = {.count = 0};
        uint32_t never = 0;
        for (uint32_t n = 0; n < seeds; n++) {
            uint64_t us = full_restart(m->presets[p].preset, m->first_seed + n, peers, 60);
            never += us == MESH_NEVER;
            if (us != MESH_NEVER)
                figures_add(&after, us);
        }
        struct figure f = {
            .id = "T16",
            .what = "all views full after the last start",
            .unit = "s",
            .preset = m->presets[p].name,
            .peers = peers,
            .anchor = "some never",
            .target = "15 @4500",
            .never = never,
            .most = {0, 0, 0, 15},
        };
        show_figures(m, &f, &after);
        if (never > 0)
            show_note(m, "in %u of %u runs not within 120 s", never, seeds);
        figures_free(&after);
    }
}
