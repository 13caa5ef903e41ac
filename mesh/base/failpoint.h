/* failpoint.h - named places at which a peer can be made to die, chosen by the option `failpoints`
 * of the build: the simulator and a real process then stop there. MESH_FAIL(core, name) stands
 * before or after a step; if it is the place, the step is not done, or nothing after it: what this
 * turn has brought so far still leaves, then comes MESH_FAILPOINT and nothing more. It is a
 * constant false in every other build. */
#ifndef MESH_FAILPOINT_H
#define MESH_FAILPOINT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define FAILPOINTS                                                                                 \
    "takeover.before_take", "takeover.after_take", "takeover.before_grant",                        \
        "takeover.after_grant", "takeover.before_own", "takeover.after_own",                       \
        "takeover.before_yield", "takeover.after_yield", "takeover.before_check",                  \
        "takeover.after_check", "handover.before_begin", "handover.before_end",                    \
        "handover.after_end", "handover.before_own", "handover.before_handed"

struct failpoint {
    const char *name; /* NULL: none is set */
    uint32_t left;    /* it is the one that is passed so many times before */
    bool is_hit, is_told;
};

static inline bool failpoint_hits(struct failpoint *failpoint, const char *name)
{
    if (failpoint->name == NULL || failpoint->is_hit || strcmp(failpoint->name, name) != 0)
        return failpoint->is_hit;
    failpoint->is_hit = failpoint->left == 0;
    failpoint->left -= failpoint->left > 0;
    return failpoint->is_hit;
}

#ifdef MESH_FAILPOINTS
#define MESH_FAIL(core, name) failpoint_hits(&(core)->failpoint, name)
#else
#define MESH_FAIL(core, name) false
#endif

#endif
