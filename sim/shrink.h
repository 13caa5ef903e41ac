/* shrink.h - makes a failing seed small: classes of fault are switched off one by one, then the
 * chaos is made shorter and the peers fewer, then the faults of the plan are left out by delta
 * debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002). A
 * change is kept if the run still breaks the same invariant. */
#ifndef SIM_SHRINK_H
#define SIM_SHRINK_H

#include "sim/campaign.h"

/* Runs once: fills nodes, chaos_ms, planned, failed and failure of the result. 0 or negative errno.
 */
typedef int shrink_run(const struct run_options *options, struct run_result *result, void *with);

struct shrunk {
    struct run_options options; /* the smallest that still fails; only: in `kept`, or NULL */
    uint32_t *kept;             /* to be freed */
    char failure[512];
    uint32_t runs;
};

/* 0; -ENOENT: it does not fail; or what `run` said. */
int shrink(const struct run_options *options, shrink_run *run, void *with, struct shrunk *shrunk);
/* The number of the invariant that a failure names, as "M3"; true: both name the same. */
bool shrink_is_same(const char *failure, const char *other);
/* The command that repeats a run. */
void shrink_command(const struct run_options *options, char *text, size_t room);

#endif
