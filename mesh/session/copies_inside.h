/* copies_inside.h - what copies.c (an owner's side) and held.c (a holder's) share. */
#ifndef MESH_COPIES_INSIDE_H
#define MESH_COPIES_INSIDE_H

#include "mesh/session/copies.h"
#include "mesh/wire/wire_record.h"

/* ---- copies.c ------------------------------------------------------------------------------- */

/* Entries for a peer are collected, and said in one message of that kind. */
void copies_collect(struct core *core, struct peer_id peer, enum wire_kind kind,
                    const struct wire_entry *entry, uint64_t now_ms);
void copies_post(struct core *core, uint64_t now_ms);

/* ---- held.c --------------------------------------------------------------------------------- */

/* COPY, COPY_EVENT, COPY_STREAM, DIGEST. */
void held_on_message(struct core *core, struct peer_id from, const struct wire_message *m,
                     uint64_t now_ms);
/* Acknowledges all that is to be acknowledged. */
void held_acknowledge(struct core *core, uint64_t now_ms);
/* A copy whose owner lives and has not spoken of it for long: it is asked. */
void held_ask(struct core *core, const struct session *copy, uint64_t now_ms);

#endif
