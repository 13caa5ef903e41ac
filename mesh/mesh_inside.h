/* mesh_inside.h - what the files of the boundary share: mesh.c (facts in, effects out),
 * mesh_upstream.c (facts of upstreams), mesh_links.c (what came over links), mesh_keys.c (the
 * cluster's keys), mesh_look.c (questions). */
#ifndef MESH_MESH_INSIDE_H
#define MESH_MESH_INSIDE_H

#include "mesh/mesh.h"
#include "mesh/session/core.h"
#include "mesh/wire/identity.h"
#include "mesh/wire/keyset.h"
#include "mesh/wire/seal.h"

/* mesh_keys.c */
struct mesh_keyring {
    struct keyset set; /* without a key: empty */
    uint64_t view;     /* hash of the view that the last decision was made by */
    uint64_t
        give_up_ms; /* when keys that nobody seals with are given up; MESH_NEVER: there are none */
};

struct mesh {
    struct core core;
    struct mesh_keyring keys;
    struct identity identity; /* config.has_identity */
    struct seal_ring seal_ring;
    struct seal seal;
    uint64_t now_ms;
    uint64_t due_ms; /* the deadline that the last turn ended with */
    uint64_t stay_until_ms, leave_until_ms;
    uint64_t farewell_ms; /* from here on the others may hear that we left; MESH_NEVER: not set */
    bool is_serving, is_leaving_swim, has_told_left;
    uint64_t strangers_since_ms;
    uint32_t strangers;
    struct wire_datagram datagram;                /* scratch: too large for the stack */
    struct wire_update records[WIRE_RECORDS_MAX]; /* scratch, likewise */
    struct wire_message message;                  /* scratch, likewise */
    uint8_t plain[WIRE_PLAIN_MAX], sealed[WIRE_DATAGRAM_MAX];
};

/* Before any fact that may bring an answer: did we stand still? */
void mesh_note_time(struct mesh *m, uint64_t now_ms);
/* Tells the others what we take. */
void mesh_tell_flags(struct mesh *m, bool serving, bool draining, uint64_t now_ms);

/* New work may be given to our upstream. */
bool mesh_serves(const struct mesh *m);
/* This effect is a call to an upstream that fails: it is over, as one that was refused. */
bool mesh_is_kept_back(struct mesh *m, const struct mesh_effect *effect, uint64_t now_ms);

/* What a link did, or a message that came over it, to whom it concerns. */
void mesh_on_links(struct core *core, const struct links_event *event, uint64_t now_ms);

int mesh_keys_init(struct mesh *mesh, const struct mesh_config *config);
void mesh_keys_deinit(struct mesh *mesh);
uint8_t mesh_keys_said(const struct mesh *mesh, uint32_t said[MESH_KEYS_SAID_MAX]);
void mesh_keys_now(struct mesh *mesh, uint64_t now_ms);
uint64_t mesh_keys_deadline_ms(const struct mesh *mesh);
/* What is said to this peer is sealed with it; nobody: a stranger. */
const struct seal_key *mesh_key_for(struct mesh *mesh, struct peer_id to);

#endif
