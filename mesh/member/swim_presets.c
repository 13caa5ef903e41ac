/* swim_presets.c - the constants of detection: the product's, and those of the controls that it is
 * measured beside. */
#include "mesh/member/swim.h"

const struct swim_preset swim_preset_product = {
    .period_ms = 10000, /* the monitor finds the dead; these keep everybody in touch */
    .ping_min_ms = 50,
    .ping_max_ms = 500,
    .relays = 3,
    .suspicion_ms = 500, /* 2 s */
    .alpha = 4,
    .beta = 9, /* stretched, more than half a minute in which we may be the stalled one */
    .awareness_max = 8,
    .gossip_ms = 200,
    .gossip_peers = 3,
    .monitor_ms = 1000,
    .indirect_ms = 300,
    .is_flat = true,
    .confirmers = 3,
    .hearsay_ms = 2000, /* news of a death is with nearly all of 5,000 by then */
    .check_ms = 500,
    .guards = true,
    .doubts_deaths = true,
    .asks_first = true,
    .limits_accusers = true,
    .hold_ms = 60000,
    .weak_hold_ms = 60000,
    .farewells = 64,
};

/* Of memberlist's LAN profile, which Lifeguard and its baseline were measured with. */
#define MEMBERLIST_LAN                                                                             \
    .period_ms = 1000, .ping_min_ms = 500, .ping_max_ms = 500, .relays = 3, .suspicion_ms = 1000,  \
    .gossip_ms = 200, .gossip_peers = 3

static const struct swim_memberlist memberlist_lan = {
    .has_nacks = true,
    .has_buddies = true,
    .has_fallback = true,
    .sends_per_digit = 4,
    .sync_ms = 30000,
    .dead_ms = 30000,
};

const struct swim_preset swim_preset_memberlist_lan = {
    MEMBERLIST_LAN, .alpha = 4, .beta = 6, .awareness_max = 8, .memberlist = &memberlist_lan,
};

/* Lifeguard, §V: memberlist's LAN timing, alpha 5, beta 6. */
const struct swim_preset swim_preset_lifeguard = {
    MEMBERLIST_LAN, .alpha = 5, .beta = 6, .awareness_max = 8, .memberlist = &memberlist_lan,
};

static const struct swim_memberlist memberlist_before_lifeguard = {
    .has_fallback = true,
    .sends_per_digit = 4,
    .sync_ms = 30000,
    .dead_ms = 30000,
};

/* Its baseline: the same without awareness, nacks, buddies and shrinking suspicions. */
const struct swim_preset swim_preset_swim = {
    MEMBERLIST_LAN,
    .alpha = 5,
    .beta = 1,
    .awareness_max = 0,
    .memberlist = &memberlist_before_lifeguard,
};
