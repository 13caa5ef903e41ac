/* measure_detect.c - how soon a crash is noticed and everywhere known (T1, T2), and how often the
 * living are taken for dead: by stalled members (T3), on lossy wires (T4, R10). */
#include <stdio.h>
#include <stdlib.h>

#include "sim/measure.h"

#define QUIESCE_S 5u
#define CRASHES 50u
#define PATIENCE_US (120u * (uint64_t)FIELD_SECOND)
#define LOSSY_PEERS 17u

/* ---- T1, T2: one crash after the other ------------------------------------------------------ */

struct crash {
    uint32_t subject;
    uint64_t began_us, first_us, last_us;
    uint32_t seen;
    uint64_t wrong; /* deaths of others */
};

static void crash_watch(void *context, struct field *field, uint32_t observer, uint32_t subject,
                        const struct view_change *change)
{
    struct crash *crash = context;
    (void)observer;
    if (change->to != MEMBER_DEAD || subject == FIELD_NOBODY)
        return;
    if (subject != crash->subject) {
        crash->wrong++;
        return;
    }
    if (crash->seen++ == 0)
        crash->first_us = field->now_us;
    crash->last_us = field->now_us;
}

/* The victims lose their power, one after the other, and come back as new processes. */
static void crash_some(struct measure *m, const struct swim_preset *preset, uint64_t seed,
                       uint32_t peers, uint32_t crashes, struct figures *first,
                       struct figures *after, uint64_t *wrong)
{
    struct crash crash = {.subject = FIELD_NOBODY};
    struct field_config config = {
        .seed = seed,
        .seats = peers,
        .spare = crashes + 8,
        .preset = preset,
        .watch = crash_watch,
        .context = &crash,
    };
    struct field *field = settled_field(&config, peers, QUIESCE_S);
    (void)m;
    for (uint32_t n = 0; n < crashes; n++) {
        uint64_t limit_us;
        draw_seats(seed * 1000 + n, &crash.subject, 1, peers);
        /* anywhere within a period */
        field_run(field, field->now_us + (seed * 7919 + n * 104729) % FIELD_SECOND);
        crash.seen = 0;
        crash.began_us = field->now_us;
        limit_us = field->now_us + PATIENCE_US;
        field_crash(field, crash.subject, true);
        while (crash.seen < peers - 1 && field->now_us < limit_us)
            field_run(field, field->now_us + FIELD_SECOND / 10);
        if (crash.seen > 0)
            figures_add(first, crash.first_us - crash.began_us);
        if (crash.seen >= peers - 1)
            figures_add(after, crash.last_us - crash.first_us);
        field_start(field, crash.subject, crash.subject == 0 ? 1 : 0);
        field_run_until_agreed(field, FIELD_NOBODY, peers, FIELD_SECOND,
                               field->now_us + PATIENCE_US);
        crash.subject = FIELD_NOBODY;
    }
    *wrong += crash.wrong;
    field_free(field);
}

static void crashes_at(struct measure *m, uint32_t peers, uint32_t seeds, uint32_t crashes,
                       bool shows_first, double spread_s, const char *target)
{
    for (size_t p = 0; p < m->presets_count; p++) {
        const struct named_preset *preset = &m->presets[p];
        struct figures first = {.count = 0}, after = {.count = 0};
        uint64_t wrong = 0;
        for (uint32_t n = 0; n < seeds; n++)
            crash_some(m, preset->preset, m->first_seed + n, peers, crashes, &first, &after,
                       &wrong);
        struct figure t1 = {
            .id = "T1",
            .what = "first detection of a crash",
            .unit = "s",
            .preset = preset->name,
            .peers = peers,
            .anchor = "12.4/17.0/19.4",
            .target = "3.5/7.5/10",
            .never = seeds * crashes - first.count,
            .most = {3.5, 7.5, 10, 0},
        };
        struct figure t2 = {
            .id = "T2",
            .what = "everywhere known after the first",
            .unit = "s",
            .preset = preset->name,
            .peers = peers,
            .anchor = "+0.5 at 128",
            .target = target,
            .never = seeds * crashes - after.count,
            .most = {0, spread_s, 0, 0},
        };
        if (shows_first)
            show_figures(m, &t1, &first);
        show_figures(m, &t2, &after);
        if (after.count < seeds * crashes || wrong > 0)
            show_note(m, "%s: %zu of %u crashes known everywhere within 120 s; %llu wrong deaths",
                      preset->name, after.count, seeds * crashes, (unsigned long long)wrong);
        figures_free(&first);
        figures_free(&after);
    }
}

void measure_t1(struct measure *m)
{
    uint32_t peers = measure_peers(m, 128);
    crashes_at(m, peers, measure_seeds(m, m->is_quick ? 4 : 20), m->is_quick ? 10 : CRASHES, true,
               peers <= 128    ? 0.6
               : peers <= 1000 ? 1.2
                               : 1.6,
               peers <= 128    ? "p99 0.6"
               : peers <= 1000 ? "p99 1.2"
                               : "p99 1.6");
}

void measure_t2(struct measure *m)
{
    static const uint32_t sizes[] = {128, 1000, 5000};
    static const double spread_s[] = {0.6, 1.2, 1.6};
    static const char *const targets[] = {"p99 0.6", "p99 1.2", "p99 1.6"};
    static const uint32_t crashes[] = {CRASHES, 10, 4};
    for (size_t n = 0; n < (m->is_quick ? 1u : 3u); n++)
        if (m->peers == 0 || m->peers == sizes[n])
            crashes_at(m, sizes[n], measure_seeds(m, n == 0 ? 4 : 2), crashes[n], false,
                       spread_s[n], targets[n]);
}

/* ---- T3: stalled members -------------------------------------------------------------------- */

void measure_t3(struct measure *m)
{
    static const struct named_preset swim = {"swim", &swim_preset_swim},
                                     lifeguard = {"lifeguard", &swim_preset_lifeguard};
    struct named_preset presets[6] = {swim, lifeguard};
    size_t count = 2;
    for (size_t n = 0; n < m->presets_count; n++)
        if (m->presets[n].preset != swim.preset && m->presets[n].preset != lifeguard.preset)
            presets[count++] = m->presets[n];
    uint32_t cells[INTERVAL_CELLS], runs = measure_seeds(m, m->is_quick ? 12 : 72);
    struct interval_sums sums[6] = {{0}};
    interval_cells(m->first_seed, cells);
    for (size_t p = 0; p < count; p++)
        for (uint32_t n = 0; n < runs; n++)
            interval_trial(presets[p].preset, m->first_seed + n, cells[n % INTERVAL_CELLS],
                           &sums[p]);
    show_note(m,
              "%u of the sweep's %u cells, once each; swim: %llu false positives, %llu at "
              "healthy members",
              runs, (unsigned)INTERVAL_CELLS, (unsigned long long)sums[0].wrong,
              (unsigned long long)sums[0].wrong_at_healthy);
    for (size_t p = 0; p < count; p++) {
        struct figure f = {.id = "T3", .unit = "deaths", .preset = presets[p].name, .peers = 128};
        f.what = "false positives a run";
        show_number(m, &f, (double)sums[p].wrong / runs);
        f.what = "false positives a run, at healthy members";
        show_number(m, &f, (double)sums[p].wrong_at_healthy / runs);
    }
    for (size_t p = 1; p < count; p++) {
        struct figure all = {
            .id = "T3",
            .what = "false positives, of swim's",
            .unit = "%",
            .preset = presets[p].name,
            .peers = 128,
            .anchor = "1.53",
            .target = "0.5",
            .most = {0, 0, 0, 0.5},
        };
        struct figure healthy = all;
        healthy.what = "false positives at healthy members";
        healthy.unit = "deaths";
        healthy.anchor = "1.89 % of swim's";
        healthy.target = "0";
        healthy.most[MOST] = 0;
        show_number(m, &all,
                    100.0 * (double)sums[p].wrong / (double)(sums[0].wrong ? sums[0].wrong : 1));
        show_number(m, &healthy, (double)sums[p].wrong_at_healthy);
        show_note(m, "%s: %llu false positives, %.2f messages a second and member", presets[p].name,
                  (unsigned long long)sums[p].wrong,
                  (double)sums[p].datagrams * 1e6 / (double)sums[p].peer_us);
    }
}

/* ---- T4: lossy wires ------------------------------------------------------------------------ */

struct losses {
    uint64_t deaths;   /* seen by anybody, of who lives */
    uint64_t subjects; /* mistaken for dead by somebody, each time that all was well before */
    uint32_t dead_views[LOSSY_PEERS];
};

static void loss_watch(void *context, struct field *field, uint32_t observer, uint32_t subject,
                       const struct view_change *change)
{
    struct losses *losses = context;
    (void)field;
    (void)observer;
    if (subject == FIELD_NOBODY)
        return;
    if (change->to == MEMBER_DEAD) {
        losses->deaths++;
        losses->subjects += losses->dead_views[subject]++ == 0;
    } else if (change->from == MEMBER_DEAD && losses->dead_views[subject] > 0) {
        losses->dead_views[subject]--;
    }
}

static uint32_t least_known(const struct field *field)
{
    uint32_t least = LOSSY_PEERS;
    for (uint32_t n = 0; n < LOSSY_PEERS; n++) {
        const struct seat *seat = &field->seats[n];
        uint32_t living = seat->swim == NULL ? 0 : (uint32_t)view_living(swim_view(seat->swim));
        least = living < least ? living : least;
    }
    return least;
}

/* Joins one after the other, then an hour. How many members the least knowing one saw, looked at
 * every 10 s, itself among them. */
static uint32_t lossy_hour(const struct swim_preset *preset, uint64_t seed, uint32_t lost_ppm,
                           uint32_t seconds, struct losses *losses)
{
    struct field_config config = {
        .seed = seed,
        .seats = LOSSY_PEERS,
        .spare = 8,
        .preset = preset,
        .watch = loss_watch,
        .context = losses,
    };
    struct field *field = field_new(&config);
    uint32_t least = LOSSY_PEERS;
    memset(losses->dead_views, 0, sizeof losses->dead_views);
    field->lost_ppm = lost_ppm;
    for (uint32_t n = 0; n < LOSSY_PEERS; n++) {
        field_start(field, n, n == 0 ? FIELD_NOBODY : 0);
        field_run(field, field->now_us + 2 * (uint64_t)FIELD_SECOND);
    }
    for (uint32_t passed_s = 0; passed_s < seconds; passed_s += 10) {
        uint32_t known;
        field_run(field, field->now_us + 10 * (uint64_t)FIELD_SECOND);
        known = least_known(field);
        least = known < least && passed_s >= 60 ? known : least;
    }
    field_free(field);
    return least;
}

void measure_t4(struct measure *m)
{
    static const uint32_t lost_ppm[] = {100000, 200000, 300000, 500000};
    uint32_t seeds = measure_seeds(m, m->is_quick ? 2 : 20), seconds = m->is_quick ? 600 : 3600;
    for (size_t p = 0; p < m->presets_count; p++)
        for (size_t l = 0; l < sizeof lost_ppm / sizeof lost_ppm[0]; l++) {
            struct losses losses = {0};
            uint32_t least = LOSSY_PEERS;
            char what[96];
            for (uint32_t n = 0; n < seeds; n++) {
                uint32_t one = lossy_hour(m->presets[p].preset, m->first_seed + n, lost_ppm[l],
                                          seconds, &losses);
                least = one < least ? one : least;
            }
            double hours = (double)seeds * LOSSY_PEERS * seconds / 3600;
            struct figure away = {
                .id = "T4",
                .what = what,
                .unit = "peers",
                .preset = m->presets[p].name,
                .peers = LOSSY_PEERS,
                .anchor = lost_ppm[l] == 100000 ? "5 (12 of 17 stay)" : NULL,
                .target = lost_ppm[l] <= 300000 ? "0" : NULL,
            };
            snprintf(what, sizeof what, "missing in the worst view of %u s at %u %% loss", seconds,
                     lost_ppm[l] / 10000);
            show_number(m, &away, LOSSY_PEERS - least);
            struct figure deaths = away;
            snprintf(what, sizeof what, "mistaken for dead an hour and peer at %u %% loss",
                     lost_ppm[l] / 10000);
            deaths.unit = "times";
            deaths.anchor = NULL;
            deaths.target = lost_ppm[l] <= 200000 ? "0" : NULL;
            show_number(m, &deaths, (double)losses.subjects / hours);
        }
}

/* ---- R10: many on lossy wires --------------------------------------------------------------- */

/* An hour in which nobody dies, then one does. How often somebody went on hold is counted, too. */
static void lossy_many(const struct swim_preset *preset, uint64_t seed, uint32_t peers,
                       uint32_t seconds, struct figures *seen, uint64_t *deaths, uint64_t *holds)
{
    struct crash crash = {.subject = FIELD_NOBODY};
    struct field_config config = {
        .seed = seed,
        .seats = peers,
        .spare = 8,
        .preset = preset,
        .watch = crash_watch,
        .context = &crash,
    };
    struct field *field = settled_field(&config, peers, QUIESCE_S);
    field->lost_ppm = 300000;
    field_run(field, field->now_us + (uint64_t)seconds * FIELD_SECOND);
    for (uint32_t n = 0; n < peers; n++) {
        struct swim_stats stats;
        swim_stats(field->seats[n].swim, &stats);
        *holds += stats.held;
    }
    draw_seats(seed, &crash.subject, 1, peers);
    crash.began_us = field->now_us;
    field_crash(field, crash.subject, true);
    while (crash.seen < peers - 1 && field->now_us < crash.began_us + PATIENCE_US)
        field_run(field, field->now_us + FIELD_SECOND / 10);
    if (crash.seen >= peers - 1)
        figures_add(seen, crash.last_us - crash.began_us);
    *deaths += crash.wrong;
    field_free(field);
}

void measure_r10(struct measure *m)
{
    uint32_t seeds = measure_seeds(m, m->is_quick ? 1 : 20), peers = measure_peers(m, 200);
    for (size_t p = 0; p < m->presets_count; p++) {
        struct figures seen = {.count = 0};
        uint64_t deaths = 0, holds = 0;
        for (uint32_t n = 0; n < seeds; n++)
            lossy_many(m->presets[p].preset, m->first_seed + n, peers, m->is_quick ? 600 : 3600,
                       &seen, &deaths, &holds);
        struct figure f = {
            .id = "R10",
            .what = "a crash is known to all at 30 % loss",
            .unit = "s",
            .preset = m->presets[p].name,
            .peers = peers,
            .target = "30",
            .most = {0, 0, 0, 30},
            .never = seeds - seen.count,
        };
        show_figures(m, &f, &seen);
        struct figure plain = {.id = "R10", .preset = f.preset, .peers = peers, .target = "0"};
        plain.what = "deaths of the living";
        plain.unit = "deaths";
        show_number(m, &plain, (double)deaths);
        plain.what = "members that went on hold";
        plain.unit = "times";
        show_number(m, &plain, (double)holds);
        figures_free(&seen);
    }
}
