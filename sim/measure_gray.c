/* measure_gray.c - what gray failures do to the views: members that are hardly heard (T5, R11), and
 * members that hear by turns (T6). One that others still reach, now and then, is no dead one
 * (DESIGN §9); what such a one must lose is its place on the ring, at all healthy members alike. So
 * "out" is: not on the ring, whether dead or on hold. */
#include <stdio.h>
#include <stdlib.h>

#include "sim/measure.h"

#define QUIESCE_S 10u
#define FAULTY_MAX 64u
#define WATCHED_S 300u
#define CALM_AFTER_US (60 * (uint64_t)FIELD_SECOND) /* R11 */
#define FLIP_US (20u * (uint64_t)FIELD_SECOND)
#define LOST_PPM 800000u

enum gray_kind {
    GRAY_EGRESS, /* loses most of what it sends */
    GRAY_BOTH,   /* and of what comes to it */
    GRAY_FLIPS   /* hears nothing, 20 s on, 20 s off */
};

struct gray {
    bool *is_faulty;
    uint32_t faulty[FAULTY_MAX], faulty_count, peers;
    uint32_t reference; /* a healthy member: through whose eyes changes are counted */
    uint64_t began_us;
    uint64_t deaths;       /* seen by healthy members, of healthy ones */
    uint64_t late_changes; /* of whether a healthy one lives, at healthy ones, after a minute */
    uint32_t returns[FAULTY_MAX];      /* of faulty ones into the view of the reference, */
    uint32_t ring_returns[FAULTY_MAX]; /* and on its ring */
    uint64_t ring_changes;             /* of faulty ones */
    uint64_t last_hash, late_views;    /* of the reference: how often another after a minute */
    uint64_t healthy_off;              /* how often a healthy one left it */
    bool *is_on_ring;                  /* as last looked at */
};

static void gray_watch(void *context, struct field *field, uint32_t observer, uint32_t subject,
                       const struct view_change *change)
{
    struct gray *gray = context;
    if (subject == FIELD_NOBODY || gray->is_faulty[observer])
        return;
    if (!gray->is_faulty[subject]) {
        bool is_late = field->now_us > gray->began_us + CALM_AFTER_US;
        gray->deaths += change->to == MEMBER_DEAD;
        gray->late_changes +=
            is_late && member_state_is_living(change->from) != member_state_is_living(change->to);
        return;
    }
    for (uint32_t n = 0; observer == gray->reference && n < gray->faulty_count; n++)
        if (gray->faulty[n] == subject)
            gray->returns[n] += change->from == MEMBER_DEAD && change->to == MEMBER_ALIVE;
}

/* Who is on hold is a member, and not on the ring. */
static void look_at_ring(struct field *field, struct gray *gray)
{
    const struct view *view = swim_view(field->seats[gray->reference].swim);
    for (uint32_t n = 0; n < gray->peers; n++) {
        const struct mesh_member *m = view_find(view, field->seats[n].id);
        bool is_on_ring = m != NULL && member_is_eligible(m);
        if (!gray->is_faulty[n])
            gray->healthy_off += gray->is_on_ring[n] && !is_on_ring;
        for (uint32_t f = 0; f < gray->faulty_count && is_on_ring != gray->is_on_ring[n]; f++) {
            if (gray->faulty[f] != n)
                continue;
            gray->ring_changes++;
            gray->ring_returns[f] += is_on_ring;
        }
        gray->is_on_ring[n] = is_on_ring;
    }
    gray->late_views +=
        field->now_us > gray->began_us + CALM_AFTER_US && view_hash(view) != gray->last_hash;
    gray->last_hash = view_hash(view);
}

static bool is_one_view(const struct field *field, const struct gray *gray)
{
    uint64_t hash = view_hash(swim_view(field->seats[gray->reference].swim));
    for (uint32_t n = 0; n < gray->peers; n++)
        if (!gray->is_faulty[n] && view_hash(swim_view(field->seats[n].swim)) != hash)
            return false;
    return true;
}

/* Is no faulty one in the reference's view, or on its ring? */
static bool is_without(const struct field *field, const struct gray *gray, bool on_ring)
{
    const struct view *view = swim_view(field->seats[gray->reference].swim);
    for (uint32_t n = 0; n < gray->faulty_count; n++) {
        const struct mesh_member *m = view_find(view, field->seats[gray->faulty[n]].id);
        if (m != NULL && (on_ring ? member_is_eligible(m) : member_is_living(m)))
            return false;
    }
    return true;
}

struct gray_sums {
    struct figures off_ring, out; /* when all healthy members showed one view, with no faulty one
                                     on its ring; and in it */
    uint64_t runs, deaths, late_changes, late_views, healthy_off, ring_changes, faulty;
    uint64_t returns_most, ring_returns_most;
    uint64_t seconds, seconds_off, seconds_out, seconds_equal;
};

static void gray_add(const struct gray *gray, struct gray_sums *sums)
{
    for (uint32_t n = 0; n < gray->faulty_count; n++) {
        if (gray->returns[n] > sums->returns_most)
            sums->returns_most = gray->returns[n];
        if (gray->ring_returns[n] > sums->ring_returns_most)
            sums->ring_returns_most = gray->ring_returns[n];
    }
    sums->runs++;
    sums->faulty += gray->faulty_count;
    sums->deaths += gray->deaths;
    sums->late_changes += gray->late_changes;
    sums->late_views += gray->late_views;
    sums->healthy_off += gray->healthy_off;
    sums->ring_changes += gray->ring_changes;
}

static void set_fault(struct field *field, const struct gray *gray, enum gray_kind kind)
{
    for (uint32_t n = 0; n < gray->faulty_count; n++) {
        struct seat *seat = &field->seats[gray->faulty[n]];
        if (kind == GRAY_FLIPS)
            seat->deaf = (field->now_us - gray->began_us) / FLIP_US % 2 == 0;
        else
            seat->lost_out_ppm = LOST_PPM;
        if (kind == GRAY_BOTH)
            seat->lost_in_ppm = LOST_PPM;
    }
}

/* Ten looks a second. */
static void gray_watched(struct field *field, struct gray *gray, enum gray_kind kind,
                         struct gray_sums *sums)
{
    bool was_off = false, was_out = false;
    for (uint32_t tenth = 1; tenth <= WATCHED_S * 10; tenth++) {
        set_fault(field, gray, kind);
        field_run(field, field->now_us + FIELD_SECOND / 10);
        look_at_ring(field, gray);
        bool is_off = is_without(field, gray, true), is_out = is_without(field, gray, false);
        bool is_equal = ((is_off && !was_off) || (is_out && !was_out) || tenth % 10 == 0) &&
                        is_one_view(field, gray);
        if (is_off && is_equal && !was_off)
            figures_add(&sums->off_ring, field->now_us - gray->began_us);
        if (is_out && is_equal && !was_out)
            figures_add(&sums->out, field->now_us - gray->began_us);
        was_off = was_off || (is_off && is_equal);
        was_out = was_out || (is_out && is_equal);
        if (tenth % 10 != 0)
            continue;
        sums->seconds++;
        sums->seconds_off += is_off && is_equal;
        sums->seconds_out += is_out && is_equal;
        sums->seconds_equal += is_equal;
    }
}

static void gray_trial(const struct swim_preset *preset, uint64_t seed, uint32_t peers,
                       uint32_t faulty, enum gray_kind kind, struct gray_sums *sums)
{
    struct gray gray = {.faulty_count = faulty, .peers = peers, .reference = 0};
    struct field_config config = {
        .seed = seed,
        .seats = peers,
        .spare = 16,
        .preset = preset,
        .watch = gray_watch,
        .context = &gray,
    };
    gray.is_faulty = calloc(peers, sizeof *gray.is_faulty);
    gray.is_on_ring = calloc(peers, sizeof *gray.is_on_ring);
    if (gray.is_faulty == NULL || gray.is_on_ring == NULL || gray.faulty_count > FAULTY_MAX)
        abort();
    draw_seats(seed, gray.faulty, gray.faulty_count, peers);
    for (uint32_t n = 0; n < gray.faulty_count; n++)
        gray.is_faulty[gray.faulty[n]] = true;
    while (gray.is_faulty[gray.reference])
        gray.reference++;
    struct field *field = settled_field(&config, peers, QUIESCE_S);
    look_at_ring(field, &gray);
    gray.ring_changes = 0; /* so far they were only met */
    memset(gray.ring_returns, 0, sizeof gray.ring_returns);
    gray.began_us = field->now_us;
    gray_watched(field, &gray, kind, sums);
    gray_add(&gray, sums);
    field_free(field);
    free(gray.is_faulty);
    free(gray.is_on_ring);
}

static void show_times(struct measure *m, const struct figure *base, struct gray_sums *sums,
                       double limit_s)
{
    struct figure f = *base;
    f.unit = "s";
    f.what = "all faulty ones off the ring of all healthy views, which are equal";
    f.never = sums->runs - sums->off_ring.count;
    f.most[MOST] = limit_s;
    show_figures(m, &f, &sums->off_ring);
    f.what = "and out of all healthy views";
    f.never = sums->runs - sums->out.count;
    f.target = NULL;
    show_figures(m, &f, &sums->out);
}

static void show_count(struct measure *m, struct figure f, const char *what, const char *unit,
                       double value)
{
    f.what = what;
    f.unit = unit;
    show_number(m, &f, value);
}

/* R11 asks for still views, T5 and T6 for how soon they are out. */
static void gray_show(struct measure *m, const struct figure *base, struct gray_sums *sums,
                      bool is_target, bool is_flipping)
{
    double limit_s = is_flipping ? 60 : 30;
    struct figure f = *base, none = *base, zero = *base;
    none.anchor = zero.anchor = NULL;
    zero.target = "0";
    f.target = !is_target ? NULL : is_flipping ? "60" : "30";
    show_times(m, &f, sums, limit_s);
    show_count(m, zero, "deaths of healthy members at healthy ones", "deaths",
               (double)sums->deaths);
    show_count(m, zero, "changes of healthy members at healthy ones after 60 s", "changes",
               (double)sums->late_changes);
    show_count(m, is_target ? none : zero, "changes of a healthy view after 60 s", "changes",
               (double)sums->late_views);
    show_count(m, zero, "healthy members that left the ring", "times", (double)sums->healthy_off);
    struct figure once = none;
    once.target = "1";
    once.most[MOST] = 1;
    show_count(m, once, "returns of a faulty one to the ring, most", "times",
               (double)sums->ring_returns_most);
    show_count(m, none, "returns of a faulty one to the view, most", "times",
               (double)sums->returns_most);
    struct figure changes = none;
    changes.target = is_flipping ? "2" : NULL;
    changes.most[MOST] = 2;
    show_count(m, changes, "ring changes a faulty one", "times",
               (double)sums->ring_changes / (double)sums->faulty);
    show_count(m, none, "of the time healthy views equal, none of them on the ring", "%",
               100.0 * (double)sums->seconds_off / (double)sums->seconds);
    show_count(m, none, "of the time healthy views equal, none of them in the view", "%",
               100.0 * (double)sums->seconds_out / (double)sums->seconds);
    show_count(m, none, "of the time healthy views equal", "%",
               100.0 * (double)sums->seconds_equal / (double)sums->seconds);
}

static void gray_measure(struct measure *m, const char *id, enum gray_kind kind, uint32_t peers,
                         uint32_t percent, uint32_t seeds)
{
    bool is_flipping = kind == GRAY_FLIPS, is_target = id[0] == 'T';
    for (size_t p = 0; p < m->presets_count; p++) {
        struct gray_sums sums = {.runs = 0};
        for (uint32_t n = 0; n < seeds; n++)
            gray_trial(m->presets[p].preset, m->first_seed + n, peers, (peers * percent + 99) / 100,
                       kind, &sums);
        struct figure base = {
            .id = id,
            .preset = m->presets[p].name,
            .peers = peers,
            .anchor = !is_target    ? NULL
                      : is_flipping ? "oscillates"
                                    : "never, inconsistent",
        };
        gray_show(m, &base, &sums, is_target, is_flipping);
        figures_free(&sums.off_ring);
        figures_free(&sums.out);
    }
}

void measure_t5(struct measure *m)
{
    gray_measure(m, "T5", GRAY_EGRESS, measure_peers(m, m->is_quick ? 200 : 1000), 1,
                 measure_seeds(m, m->is_quick ? 1 : 3));
}

void measure_t6(struct measure *m)
{
    gray_measure(m, "T6", GRAY_FLIPS, measure_peers(m, m->is_quick ? 200 : 1000), 1,
                 measure_seeds(m, m->is_quick ? 1 : 3));
}

/* One in twenty loses 80 % of what it sends (R11), and of what comes to it as well (R11b). */
void measure_r11(struct measure *m)
{
    uint32_t seeds = measure_seeds(m, m->is_quick ? 2 : 20);
    gray_measure(m, "R11", GRAY_EGRESS, measure_peers(m, 200), 5, seeds);
    gray_measure(m, "R11b", GRAY_BOTH, measure_peers(m, 200), 5, seeds);
}
