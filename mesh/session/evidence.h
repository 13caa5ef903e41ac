/* evidence.h - is a peer that owns sessions gone, as far as we can tell from here, sooner than
 * membership says so (DESIGN §7): its port refuses, or a link in use has no round trip for 1.5 s,
 * and fresh probes fail, too. That is reason to ask a candidate instead, and for a holder to grant
 * a takeover; it declares nobody dead. Any success vetoes. */
#ifndef MESH_EVIDENCE_H
#define MESH_EVIDENCE_H

#include "mesh/base/types.h"

#define EVIDENCE_SILENT_MS 1500 /* a link in use without a round trip for so long is doubted */
#define EVIDENCE_PROBE_MS 200   /* for the answer to a ping sent because of a doubt */
#define EVIDENCE_FRESH_MS 1000  /* a round trip so recent is a sign of life */
#define EVIDENCE_PEERS_MAX 1024

struct core;

struct evidence {
    int todo; /* of evidence.c */
};

int evidence_init(struct core *core);
void evidence_deinit(struct core *core);

enum evidence_verdict {
    EVIDENCE_LIVES,   /* a round trip, UDP or TCP, within EVIDENCE_FRESH_MS */
    EVIDENCE_UNKNOWN, /* nothing known: evidence_probe() finds out */
    EVIDENCE_PROBING, /* it was pinged; entry_wake() and takeover_wake() follow */
    EVIDENCE_GONE     /* membership says dead or left, its name has a newer generation, or probes
                         failed and nothing was heard since */
};
enum evidence_verdict evidence_of(const struct core *core, struct peer_id peer, uint64_t now_ms);
/* Finds out, unless that is known or under way. */
void evidence_probe(struct core *core, struct peer_id peer, uint64_t now_ms);
/* Is it worth asking this owner, or has a candidate to be asked instead? Cheap while nothing is
 * wrong anywhere. */
bool evidence_is_unreachable(const struct core *core, struct peer_id peer, uint64_t now_ms);

/* Facts: a dial of its port was refused; it answered (UDP or TCP). */
void evidence_on_refused(struct core *core, struct peer_id peer, uint64_t now_ms);
void evidence_on_life(struct core *core, struct peer_id peer, uint64_t now_ms);
void evidence_now(struct core *core, uint64_t now_ms);
uint64_t evidence_deadline_ms(const struct core *core);

#endif
