/* measure_faults.c - what splits do to the views: parts that do not reach each other for minutes
 * (T15). */
#include <stdio.h>
#include <stdlib.h>

#include "sim/measure.h"

#define QUIESCE_S 10u

struct split {
    bool is_healed;
    uint64_t deaths; /* seen after the heal, of who lives */
};

static void split_watch(void *context, struct field *field, uint32_t observer, uint32_t subject,
                        const struct view_change *change)
{
    struct split *split = context;
    (void)field;
    (void)observer;
    if (split->is_healed && subject != FIELD_NOBODY && change->to == MEMBER_DEAD)
        split->deaths++;
}

static uint64_t split_trial(const struct swim_preset *preset, uint64_t seed, uint32_t peers,
                            uint32_t groups, uint32_t seconds, uint64_t *deaths)
{
    struct split split = {.is_healed = false};
    struct field_config config = {
        .seed = seed,
        .seats = peers,
        .spare = 16,
        .preset = preset,
        .watch = split_watch,
        .context = &split,
    };
    struct field *field = settled_field(&config, peers, QUIESCE_S);
    for (uint32_t n = 0; n < peers; n++)
        field->seats[n].group = n % groups;
    field->is_partitioned = true;
    field_run(field, field->now_us + (uint64_t)seconds * FIELD_SECOND);
    field->is_partitioned = false;
    split.is_healed = true;
    uint64_t healed_us = field->now_us;
    uint64_t agreed_us = field_run_until_agreed(field, FIELD_NOBODY, peers, FIELD_SECOND / 20,
                                                healed_us + 60 * (uint64_t)FIELD_SECOND);
    if (agreed_us != MESH_NEVER) /* what comes late is caused by it, too */
        field_run(field, agreed_us + 20 * (uint64_t)FIELD_SECOND);
    *deaths += split.deaths;
    field_free(field);
    return agreed_us == MESH_NEVER ? MESH_NEVER : agreed_us - healed_us;
}

void measure_t15(struct measure *m)
{
    static const struct {
        uint32_t groups, seconds;
        double limit_s;
        const char *what, *target;
    } splits[] = {
        {2, 590, 10, "one view after a split of 590 s in 2", "10"},
        {2, 1200, 30, "one view after a split of 1200 s in 2", "30"},
        {10, 590, 10, "one view after a split of 590 s in 10", "10"},
    };
    uint32_t peers = measure_peers(m, m->is_quick ? 128 : 1000);
    for (size_t p = 0; p < m->presets_count; p++)
        for (size_t s = 0; s < (m->is_quick ? 1u : 3u); s++) {
            struct figures healed = {.count = 0};
            uint64_t deaths = 0, never = 0;
            uint32_t seeds = measure_seeds(m, 1);
            for (uint32_t n = 0; n < seeds; n++) {
                uint64_t after_us = split_trial(m->presets[p].preset, m->first_seed + n, peers,
                                                splits[s].groups, splits[s].seconds, &deaths);
                never += after_us == MESH_NEVER;
                if (after_us != MESH_NEVER)
                    figures_add(&healed, after_us);
            }
            struct figure f = {
                .id = "T15",
                .what = splits[s].what,
                .unit = "s",
                .preset = m->presets[p].name,
                .peers = peers,
                .anchor = "never",
                .target = splits[s].target,
                .most = {0, 0, 0, splits[s].limit_s},
            };
            show_figures(m, &f, &healed);
            struct figure plain = {.id = "T15", .preset = f.preset, .peers = peers, .target = "0"};
            plain.what = "runs without one view after 60 s";
            plain.unit = "runs";
            show_number(m, &plain, (double)never);
            plain.what = "deaths of the living after the heal";
            plain.unit = "deaths";
            show_number(m, &plain, (double)deaths);
            figures_free(&healed);
        }
}
