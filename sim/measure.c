/* measure.c - mesh-measure: options, and the table of what can be measured. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim/huge.h"
#include "sim/measure.h"

static const struct {
    const char *name;
    void (*measure)(struct measure *m);
    const char *help;
} measurements[] = {
    {"gate", measure_gate, "is the harness to be believed? Lifeguard's published figures"},
    {"t1", measure_t1, "a crash is detected, and known everywhere"},
    {"t2", measure_t2, "a crash is known everywhere, 128 to 5000 peers"},
    {"t3", measure_t3, "false positives of stalled members (Lifeguard's intervals)"},
    {"t4", measure_t4, "17 peers on lossy wires for an hour"},
    {"t5", measure_t5, "1 % lose 80 % of what they send"},
    {"t6", measure_t6, "1 % hear nothing, 20 s on, 20 s off"},
    {"t7", measure_t7, "a mass join at one seed"},
    {"t8", measure_t8, "one joins, one leaves"},
    {"t9", measure_t9, "bytes a peer sends, idle and when 1 % crash"},
    {"t10", measure_t10, "one leaves, without and with loss"},
    {"t15", measure_t15, "splits, and their heal"},
    {"t16", measure_t16, "everybody restarts within 60 s"},
    {"t17", measure_t17, "how fast all this runs"},
    {"r10", measure_r10, "200 peers, an hour of 30 % loss, then a crash"},
    {"r11", measure_r11, "5 % of 200 peers lose 80 % of what they send; and of what they hear"},
};
#define MEASUREMENTS (sizeof measurements / sizeof measurements[0])

static const struct named_preset presets[] = {
    {"product", &swim_preset_product},
    {"memberlist", &swim_preset_memberlist_lan},
    {"swim", &swim_preset_swim},
    {"lifeguard", &swim_preset_lifeguard},
};
#define PRESETS (sizeof presets / sizeof presets[0])

static void usage(FILE *to)
{
    fputs("usage: mesh-measure WHAT... [--n N] [--seeds N] [--seed FIRST] [--preset NAME]...\n"
          "                    [--quick] [--tsv] [--samples FILE]\n"
          "  --n N          peers, where the measurement does not say\n"
          "  --seeds N      repeats, each with a seed of its own\n"
          "  --preset NAME  product, memberlist, swim, lifeguard; default: the first two\n"
          "  --quick        a share that takes seconds\n"
          "  --tsv          id, preset, N, figure, unit, count, never, median, p99, p99.9, max,\n"
          "                 anchor, target, verdict\n"
          "  --samples FILE the values behind each line with quantiles: id, preset, N, figure, "
          "value\n"
          "Exit code 1: a gate does not hold. WHAT:\n",
          to);
    for (size_t n = 0; n < MEASUREMENTS; n++)
        fprintf(to, "  %-6s %s\n", measurements[n].name, measurements[n].help);
}

static bool parse_number(const char *text, uint64_t most, uint64_t *number)
{
    char *end = NULL;
    *number = strtoull(text, &end, 10);
    return end != text && *end == 0 && *number > 0 && *number <= most;
}

static bool add_preset(struct measure *m, const char *name)
{
    for (size_t n = 0; n < PRESETS && m->presets_count < PRESETS; n++)
        if (strcmp(presets[n].name, name) == 0) {
            m->presets[m->presets_count++] = presets[n];
            return true;
        }
    return false;
}

static bool parse_option(struct measure *m, int option, const char *text)
{
    uint64_t number = 0;
    switch (option) {
    case 'n':
        if (!parse_number(text, 10000, &number))
            return false;
        m->peers = (uint32_t)number;
        return number >= 2;
    case 's':
        if (!parse_number(text, 1000000, &number))
            return false;
        m->seeds = (uint32_t)number;
        return true;
    case 'f':
        return parse_number(text, UINT64_MAX / 2, &m->first_seed);
    case 'p':
        return add_preset(m, text);
    case 'q':
        m->is_quick = true;
        return true;
    case 't':
        m->is_tsv = true;
        return true;
    case 'o':
        m->samples = fopen(text, "w");
        if (m->samples == NULL)
            perror(text);
        return m->samples != NULL;
    default:
        return false;
    }
}

static bool measure_by_name(struct measure *m, const char *name)
{
    for (size_t n = 0; n < MEASUREMENTS; n++)
        if (strcmp(measurements[n].name, name) == 0) {
            measurements[n].measure(m);
            return true;
        }
    fprintf(stderr, "mesh-measure: there is no '%s' to measure\n", name);
    return false;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"n", required_argument, NULL, 'n'},
        {"seeds", required_argument, NULL, 's'},
        {"seed", required_argument, NULL, 'f'},
        {"preset", required_argument, NULL, 'p'},
        {"quick", no_argument, NULL, 'q'},
        {"tsv", no_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},
        {"samples", required_argument, NULL, 'o'},
        {NULL, 0, NULL, 0},
    };
    struct measure m = {.first_seed = 1};
    int option;
    huge_pages(argv);
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'h') {
            usage(stdout);
            return 0;
        }
        if (!parse_option(&m, option, optarg)) {
            usage(stderr);
            return 2;
        }
    }
    if (optind == argc) {
        usage(stderr);
        return 2;
    }
    if (m.presets_count == 0) {
        add_preset(&m, "product");
        add_preset(&m, "memberlist");
    }
    for (; optind < argc; optind++)
        if (!measure_by_name(&m, argv[optind]))
            return 2;
    if (m.samples != NULL && fclose(m.samples) != 0) {
        perror("mesh-measure: samples");
        return 2;
    }
    return m.gates_failed > 0 ? 1 : 0;
}
