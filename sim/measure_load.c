/* measure_load.c - what a peer sends when nothing happens and when some crash (T9), and how fast
 * this harness is (T17). */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "sim/measure.h"

#define QUIESCE_S 40u /* contacts are asked for the first 30 */
#define CAP_BYTES 21000

/* ---- T9 ------------------------------------------------------------------------------------- */

static uint64_t sent_by(const struct field *field, uint32_t seat)
{
    const struct field_meter *meter = &field->seats[seat].meter;
    return meter->bytes_out + meter->link_bytes_out;
}

/* Bytes a second of each running peer and each second. */
static void watch_bytes(struct field *field, uint32_t seconds, struct figures *each)
{
    uint32_t seats = field->config.seats;
    uint64_t *before = calloc(seats, sizeof *before);
    if (before == NULL)
        abort();
    for (uint32_t second = 0; second < seconds; second++) {
        for (uint32_t n = 0; n < seats; n++)
            before[n] = sent_by(field, n);
        field_run(field, field->now_us + FIELD_SECOND);
        for (uint32_t n = 0; n < seats; n++)
            if (field_runs(field, n))
                figures_add(each, (sent_by(field, n) - before[n]) * 1000); /* kB */
    }
    free(before);
}

static double mean(const struct figures *figures)
{
    double sum = 0;
    for (size_t n = 0; n < figures->count; n++)
        sum += (double)figures->values[n] / 1e6;
    return sum / (double)(figures->count > 0 ? figures->count : 1);
}

static void bytes_at(struct measure *m, const struct named_preset *preset, uint32_t peers)
{
    struct field_config config = {
        .seed = m->first_seed,
        .seats = peers,
        .spare = 16,
        .preset = preset->preset,
    };
    struct figures idle = {.count = 0}, crash = {.count = 0};
    struct field *field = settled_field(&config, peers, QUIESCE_S);
    uint32_t crashed[64], count = (peers + 99) / 100;
    watch_bytes(field, 60, &idle);
    struct figure f = {
        .id = "T9",
        .what = "sent by a peer, idle, mean",
        .unit = "kB/s",
        .preset = preset->name,
        .peers = peers,
        .anchor = "serf 0.259; memberlist 0.64",
        .target = "0.5",
        .most = {0, 0, 0, 0.5},
    };
    show_number(m, &f, mean(&idle));
    draw_seats(m->first_seed, crashed, count, peers);
    for (uint32_t n = 0; n < count; n++)
        field_crash(field, crashed[n], true);
    watch_bytes(field, 60, &crash);
    f.what = "sent by a peer a second, 1 % crash";
    f.anchor = "0.64/6.4/-/8.0 (mean/p99/-/max)";
    f.target = "p99 4, max 8";
    f.most[P99] = 4;
    f.most[MOST] = 8;
    show_figures(m, &f, &crash);
    show_note(m, "mean %.3f kB/s; the cap of %.1f kB/s %s", mean(&crash), CAP_BYTES / 1000.0,
              figures_at(&crash, MOST) * 1000 > CAP_BYTES ? "is EXCEEDED" : "holds");
    figures_free(&idle);
    figures_free(&crash);
    field_free(field);
}

void measure_t9(struct measure *m)
{
    static const uint32_t sizes[] = {128, 1000, 5000};
    for (size_t n = 0; n < 3; n++)
        for (size_t p = 0; p < m->presets_count && measures_size(m, sizes, 3, n); p++)
            bytes_at(m, &m->presets[p], measure_peers(m, sizes[n]));
}

/* ---- T17 ------------------------------------------------------------------------------------ */

static double cpu_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Peer-seconds a second of CPU. `flaps`: so many crash and come back every second. */
static double speed(uint64_t seed, uint32_t peers, uint32_t seconds, uint32_t flaps,
                    double *datagrams)
{
    struct field_config config = {.seed = seed, .seats = peers, .spare = seconds * flaps + 16};
    struct field *field = settled_field(&config, peers, QUIESCE_S);
    double began_s = cpu_s();
    for (uint32_t second = 0; second < seconds; second++) {
        for (uint32_t n = 0; n < flaps; n++) {
            uint32_t seat = 1 + (second * flaps + n) % (peers - 1);
            field_crash(field, seat, true);
            field_start(field, seat, 0);
        }
        field_run(field, field->now_us + FIELD_SECOND);
    }
    double took_s = cpu_s() - began_s;
    *datagrams = 0;
    for (uint32_t n = 0; n < peers; n++)
        *datagrams += (double)field->seats[n].meter.datagrams_out;
    *datagrams /= (double)peers * (QUIESCE_S + seconds);
    field_free(field);
    return (double)peers * seconds / took_s;
}

static double resident_mib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

void measure_t17(struct measure *m)
{
    static const char *const anchor = "VOPR 4k at 6 replicas";
    uint32_t seconds = m->is_quick ? 20 : 100;
    double datagrams;
    struct figure f = {.id = "T17", .unit = "peer-s/s", .preset = "product", .anchor = anchor};
    f.peers = 1000;
    f.what = "speed, idle";
    f.target = "at least 100k";
    f.least = 100000;
    show_number(m, &f, speed(m->first_seed, 1000, seconds, 0, &datagrams));
    f.what = "speed, a restart a second";
    f.target = "at least 30k";
    f.least = 30000;
    show_number(m, &f, speed(m->first_seed, 1000, seconds / 2, 1, &datagrams));
    show_note(m, "%.1f datagrams a second and peer", datagrams);
    if (m->is_quick)
        return;
    f.peers = measure_peers(m, 5000);
    f.unit = "x real time";
    f.what = "speed, idle";
    f.target = "at least 10";
    f.least = 10;
    show_number(m, &f, speed(m->first_seed, f.peers, 30, 0, &datagrams) / f.peers);
    f.what = "largest resident set of this program";
    f.target = NULL;
    f.unit = "MiB";
    show_number(m, &f, resident_mib());
}
