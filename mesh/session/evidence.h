/* evidence.h - is a peer that owns sessions gone, as far as we can tell from here, sooner than
 * membership says so (DESIGN §7): its port refuses, or a link in use has no round trip for
 * LINKS_DOUBT_MS, and fresh probes fail, too. That is reason to ask a candidate instead, and for a
 * holder to grant a takeover; it declares nobody dead. Any success vetoes. */
#ifndef MESH_EVIDENCE_H
#define MESH_EVIDENCE_H

#include "mesh/base/types.h"

#define EVIDENCE_PROBE_MS 200 /* for the answer to a ping sent because of a doubt */
#define EVIDENCE_FRESH_MS                                                                          \
    1000 /* a round trip so recent is a sign of life, a failed probe one of                        \
            death */
#define EVIDENCE_PEERS_MAX 1024

struct core;

/* What is known of one peer beside membership. */
struct evidence_peer {
    struct peer_id peer;
    uint64_t heard_ms;  /* over a link; 0: not lately */
    uint64_t probed_ms; /* since then an answer is waited for; 0: none is */
    uint64_t failed_ms; /* when a probe had no answer; 0: none had */
    bool is_doubted;    /* a link to it is silent: given up, if it answers nothing else */
};

struct evidence {
    struct evidence_peer *peers; /* in no order; none while nothing is wrong */
    uint32_t count, room, probing;
};

int evidence_init(struct core *core);
void evidence_deinit(struct core *core);

enum evidence_verdict {
    EVIDENCE_LIVES,   /* a round trip, UDP or TCP, within EVIDENCE_FRESH_MS */
    EVIDENCE_UNKNOWN, /* nothing known: evidence_probe() finds out */
    EVIDENCE_PROBING, /* it was pinged; entry_wake() and takeover_wake() follow */
    EVIDENCE_GONE     /* membership says dead or left, its name has a newer generation, or a probe
                         failed within EVIDENCE_FRESH_MS and nothing was heard since */
};
enum evidence_verdict evidence_of(const struct core *core, struct peer_id peer, uint64_t now_ms);
/* Finds out, unless that is known or under way. */
void evidence_probe(struct core *core, struct peer_id peer, uint64_t now_ms);
/* Is it not worth asking this owner, has a candidate to be asked instead? A probe failed, and
 * nothing was heard since: a port that refuses is not enough. Costs nothing while nothing is wrong
 * anywhere. */
bool evidence_is_unreachable(const struct core *core, struct peer_id peer, uint64_t now_ms);

/* Facts: a link to it was lost, or a dial failed; lanes wait for it, and it is silent; it answered.
 */
void evidence_on_lost(struct core *core, struct peer_id peer, uint64_t now_ms);
void evidence_on_doubt(struct core *core, struct peer_id peer, uint64_t now_ms);
void evidence_on_life(struct core *core, struct peer_id peer, uint64_t now_ms);
void evidence_now(struct core *core, uint64_t now_ms);
uint64_t evidence_deadline_ms(const struct core *core);

#endif
