/* measure_faults.c - what gray failures and splits do to the views: members that are hardly heard
 * (T5), that hear by turns (T6), and halves that do not reach each other for minutes (T15). */
#include <stdio.h>
#include <stdlib.h>

#include "sim/measure.h"

#define QUIESCE_S 10u
#define FAULTY_MAX 64u
#define WATCHED_S 300u
#define FLIP_US (20u * (uint64_t)FIELD_SECOND)

/* ---- gray failures -------------------------------------------------------------------------- */

struct gray {
    bool *is_faulty;
    uint32_t faulty[FAULTY_MAX], faulty_count;
    uint32_t reference; /* a healthy member: through whose eyes changes are counted */
    uint64_t began_us;
    uint64_t healthy_deaths;      /* seen by healthy members, of healthy ones */
    uint64_t out_us[FAULTY_MAX];  /* first out of the reference's view */
    uint32_t returns[FAULTY_MAX]; /* into it */
    bool is_on_ring[FAULTY_MAX];  /* of the reference, as last looked at */
    uint64_t ring_changes;
};

static void gray_watch(void *context, struct field *field, uint32_t observer, uint32_t subject,
                       const struct view_change *change)
{
    struct gray *gray = context;
    if (subject == FIELD_NOBODY || gray->is_faulty[observer])
        return;
    if (!gray->is_faulty[subject]) {
        gray->healthy_deaths += change->to == MEMBER_DEAD;
        return;
    }
    for (uint32_t n = 0; observer == gray->reference && n < gray->faulty_count; n++) {
        if (gray->faulty[n] != subject)
            continue;
        if (change->to == MEMBER_DEAD && gray->out_us[n] == MESH_NEVER)
            gray->out_us[n] = field->now_us - gray->began_us;
        gray->returns[n] += change->from == MEMBER_DEAD && change->to == MEMBER_ALIVE;
    }
}

/* Who is on hold is a member, and not on the ring. */
static void look_at_ring(struct field *field, struct gray *gray)
{
    for (uint32_t n = 0; n < gray->faulty_count; n++) {
        const struct view *view = swim_view(field->seats[gray->reference].swim);
        const struct mesh_member *m = view_find(view, field->seats[gray->faulty[n]].id);
        bool is_on_ring = m != NULL && member_is_eligible(m);
        gray->ring_changes += is_on_ring != gray->is_on_ring[n];
        gray->is_on_ring[n] = is_on_ring;
    }
}

/* Do all healthy members show one view, without any faulty one? */
static bool is_cut_out(const struct field *field, const struct gray *gray, uint32_t peers)
{
    uint64_t hash = view_hash(swim_view(field->seats[gray->reference].swim));
    for (uint32_t n = 0; n < peers; n++) {
        const struct view *view = swim_view(field->seats[n].swim);
        if (!gray->is_faulty[n] &&
            (view_hash(view) != hash || view_living(view) != peers - gray->faulty_count))
            return false;
    }
    return true;
}

static bool is_one_view(const struct field *field, const struct gray *gray, uint32_t peers)
{
    uint64_t hash = view_hash(swim_view(field->seats[gray->reference].swim));
    for (uint32_t n = 0; n < peers; n++)
        if (!gray->is_faulty[n] && view_hash(swim_view(field->seats[n].swim)) != hash)
            return false;
    return true;
}

struct gray_sums {
    struct figures cut_out; /* when all healthy views were without them */
    struct figures out;     /* when each was first out of one view */
    uint64_t never, healthy_deaths, returns, returns_most, faulty;
    uint64_t seconds, seconds_out, seconds_equal; /* of healthy views: without them; equal */
    uint64_t ring_changes;                        /* of faulty ones, at the reference */
};

static void gray_add(const struct gray *gray, struct gray_sums *sums)
{
    for (uint32_t n = 0; n < gray->faulty_count; n++) {
        if (gray->out_us[n] != MESH_NEVER)
            figures_add(&sums->out, gray->out_us[n]);
        sums->returns += gray->returns[n];
        if (gray->returns[n] > sums->returns_most)
            sums->returns_most = gray->returns[n];
    }
    sums->faulty += gray->faulty_count;
    sums->healthy_deaths += gray->healthy_deaths;
}

static void gray_trial(const struct swim_preset *preset, uint64_t seed, uint32_t peers,
                       bool is_flipping, struct gray_sums *sums)
{
    struct gray gray = {.faulty_count = (peers + 99) / 100, .reference = 0};
    struct field_config config = {
        .seed = seed,
        .seats = peers,
        .spare = 16,
        .preset = preset,
        .watch = gray_watch,
        .context = &gray,
    };
    gray.is_faulty = calloc(peers, sizeof *gray.is_faulty);
    if (gray.is_faulty == NULL || gray.faulty_count > FAULTY_MAX)
        abort();
    draw_seats(seed, gray.faulty, gray.faulty_count, peers);
    for (uint32_t n = 0; n < gray.faulty_count; n++) {
        gray.is_faulty[gray.faulty[n]] = true;
        gray.out_us[n] = MESH_NEVER;
    }
    while (gray.is_faulty[gray.reference])
        gray.reference++;
    struct field *field = settled_field(&config, peers, QUIESCE_S);
    look_at_ring(field, &gray);
    gray.ring_changes = 0; /* so far they were only met */
    uint64_t cut_us = MESH_NEVER;
    gray.began_us = field->now_us;
    for (uint32_t tenth = 0; tenth < WATCHED_S * 10; tenth++) {
        uint64_t since_us = field->now_us - gray.began_us;
        for (uint32_t n = 0; n < gray.faulty_count; n++) {
            struct seat *seat = &field->seats[gray.faulty[n]];
            if (is_flipping)
                seat->deaf = since_us / FLIP_US % 2 == 0;
            else
                seat->lost_out_ppm = 800000;
        }
        field_run(field, field->now_us + FIELD_SECOND / 10);
        look_at_ring(field, &gray);
        if (cut_us == MESH_NEVER && is_cut_out(field, &gray, peers))
            cut_us = field->now_us - gray.began_us;
        if (tenth % 10 == 9) {
            sums->seconds++;
            sums->seconds_out += is_cut_out(field, &gray, peers);
            sums->seconds_equal += is_one_view(field, &gray, peers);
        }
    }
    if (cut_us == MESH_NEVER)
        sums->never++;
    else
        figures_add(&sums->cut_out, cut_us);
    sums->ring_changes += gray.ring_changes;
    gray_add(&gray, sums);
    field_free(field);
    free(gray.is_faulty);
}

static void gray_show(struct measure *m, const struct named_preset *preset, uint32_t peers,
                      bool is_flipping, struct gray_sums *sums)
{
    double limit_s = is_flipping ? 60 : 30;
    struct figure f = {
        .id = is_flipping ? "T6" : "T5",
        .what = "all faulty ones out of all healthy views",
        .unit = "s",
        .preset = preset->name,
        .peers = peers,
        .anchor = is_flipping ? "oscillates" : "never, inconsistent",
        .target = is_flipping ? "60" : "30",
        .most = {0, 0, 0, limit_s},
    };
    show_figures(m, &f, &sums->cut_out);
    struct figure plain = {.id = f.id, .preset = f.preset, .peers = peers, .target = "0"};
    plain.what = "runs in which that never was";
    plain.unit = "runs";
    show_number(m, &plain, (double)sums->never);
    plain.what = "deaths of healthy members at healthy ones";
    plain.unit = "deaths";
    show_number(m, &plain, (double)sums->healthy_deaths);
    plain.what = "returns of a faulty one, most";
    plain.unit = "times";
    plain.target = "1";
    plain.most[MOST] = 1;
    show_number(m, &plain, (double)sums->returns_most);
    plain.what = "ring changes a faulty one";
    plain.target = is_flipping ? "2" : NULL;
    plain.most[MOST] = 2;
    show_number(m, &plain, (double)sums->ring_changes / (double)sums->faulty);
    plain.what = "of the time healthy views without any";
    plain.unit = "%";
    plain.target = NULL;
    show_number(m, &plain, 100.0 * (double)sums->seconds_out / (double)sums->seconds);
    plain.what = "of the time healthy views equal";
    show_number(m, &plain, 100.0 * (double)sums->seconds_equal / (double)sums->seconds);
}

static void gray_measure(struct measure *m, bool is_flipping)
{
    uint32_t peers = measure_peers(m, m->is_quick ? 200 : 1000);
    for (size_t p = 0; p < m->presets_count; p++) {
        struct gray_sums sums = {.never = 0};
        for (uint32_t n = 0; n < measure_seeds(m, m->is_quick ? 1 : 3); n++)
            gray_trial(m->presets[p].preset, m->first_seed + n, peers, is_flipping, &sums);
        gray_show(m, &m->presets[p], peers, is_flipping, &sums);
        figures_free(&sums.cut_out);
        figures_free(&sums.out);
    }
}

void measure_t5(struct measure *m)
{
    gray_measure(m, false);
}

void measure_t6(struct measure *m)
{
    gray_measure(m, true);
}

/* ---- T15: splits ---------------------------------------------------------------------------- */

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
