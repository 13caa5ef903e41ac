/* copies_inside.h - what copies.c (an owner's side), held.c (a holder's), compare.c and
 * strays.c share. */
#ifndef MESH_COPIES_INSIDE_H
#define MESH_COPIES_INSIDE_H

#include "mesh/session/copies.h"
#include "mesh/wire/wire_record.h"

#define COPIES_STEP_MS 10      /* between steps of long work, */
#define COPIES_STEP_SLOTS 1024 /* of so many places of the pool each */

/* ---- copies.c ------------------------------------------------------------------------------- */

/* It is ours, and others are to have it. */
bool copies_are_kept(const struct session *session);
/* It is looked at, at a bounded rate. */
void copies_due(struct core *core, struct session *session, uint64_t at_ms);
/* May one more record be sent now that nobody waits for? */
bool copies_may_move(struct core *core, uint64_t now_ms);

/* ---- compare.c ------------------------------------------------------------------------------ */

/* Entries for a peer are collected, and said in one message of that kind. */
void copies_collect(struct core *core, struct peer_id peer, enum wire_kind kind,
                    const struct wire_entry *entry, uint64_t now_ms);
void copies_post(struct core *core, uint64_t now_ms);
/* That holder has, or is to have, what we have. */
void compare_tell(struct core *core, const struct session *session, struct peer_id holder,
                  uint64_t now_ms);
void compare_soon(struct core *core, uint64_t now_ms);
void compare_now(struct core *core, uint64_t now_ms);
uint64_t compare_deadline_ms(const struct core *core);

/* ---- strays.c ------------------------------------------------------------------------------- */

void strays_init(struct core *core);
/* The owner of its epoch says that we are to have it. */
void strays_confirm(struct session *copy, uint64_t now_ms);
/* Nobody has said so of this one. */
void strays_begin(struct core *core, struct session *copy, uint64_t now_ms);
/* Members or links came or went: whoever is not confirmed after that is to ask. */
void strays_shake(struct core *core, uint64_t now_ms);
/* They are looked for then, if not before. */
void strays_soon(struct core *core, uint64_t at_ms);
/* An entry about a session that is not ours. */
void strays_answer(struct core *core, struct peer_id from, const struct wire_entry *entry,
                   uint64_t now_ms);
void strays_on_found(struct core *core, struct peer_id from, const struct wire_message *m,
                     uint64_t now_ms);
void strays_now(struct core *core, uint64_t now_ms);
uint64_t strays_deadline_ms(const struct core *core);

/* ---- held.c --------------------------------------------------------------------------------- */

/* COPY, COPY_EVENT, COPY_STREAM, DIGEST. */
void held_on_message(struct core *core, struct peer_id from, const struct wire_message *m,
                     uint64_t now_ms);
/* Acknowledges all that is to be acknowledged. */
void held_acknowledge(struct core *core, uint64_t now_ms);

#endif
