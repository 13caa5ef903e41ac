/* tombs.h - sessions that ended, as far as this peer was told: the owner tells the first
 * candidates and the holders of copies, so that the end is known for as long as the session might
 * have lived, whoever dies meanwhile (DESIGN §4, §5; invariant N1: a deleted session never answers
 * again). Who was told says so, and is told again until it does, or a minute is over: a link that
 * broke with the word in it, or a split, does not leave a copy behind that somebody goes on with.
 * Those who know are asked to tell it as well: it may be cut off from the teller alone. Should that
 * die before, those whom it told go on telling; and all tell who comes.
 * Its client's wish beats every epoch; any other end is one of the epoch in which it came:
 * who owns it in a higher one goes on. Where a record is looked for is owner.h's business. */
#ifndef MESH_TOMBS_H
#define MESH_TOMBS_H

#include "mesh/base/heap.h"
#include "mesh/base/newest.h"
#include "mesh/base/pool.h"
#include "mesh/base/table.h"
#include "mesh/base/types.h"

#define TOMBS_MAX 65536 /* the oldest gives way */
#define TOMBS_HOLDERS                                                                              \
    6 /* candidates that are told: some may have been holders for a former owner */

#define TOMBS_TOLD_MAX 16384      /* peers that have not said yet that they know; beyond, */
                                  /* they are told once */
#define TOMBS_AGAIN_MS 1000       /* before who has not said so is told again: doubling, */
#define TOMBS_AGAIN_LAST_MS 32000 /* up to so long: for a minute, in all */

struct core;
struct session;
struct wire_message;

struct tomb {
    uint64_t until_ms;
    struct mesh_epoch epoch; /* in which it ended; counter 0: not known */
    bool is_final;           /* its client wished it */
    bool is_sure;            /* it was ours, or all were asked; */
    uint32_t came;           /* owner's, then */
};

struct tombs {
    struct newest ends; /* struct tomb, by session id */
    struct pool told;   /* struct telling, of tombs.c */
    struct table told_slots;
    struct heap timers;
};

void tombs_init(struct core *core);
/* Its client deleted it: it answers no more, whoever has it. */
bool tombs_is_final(const struct core *core, const struct session_id *id, uint64_t now_ms);
void tombs_deinit(struct core *core);
/* Our session ended: the candidates are told, and who has a copy. */
void tombs_tell(struct core *core, const struct session *session, uint64_t now_ms);
/* Somebody told us of the end of one of its own (ENDED), or that it knows of it (FOUND). */
void tombs_on_ended(struct core *core, struct peer_id from, const struct wire_message *m,
                    uint64_t now_ms);
/* A DELETE that came through us was answered in that epoch: should its owner die with the word, we
 * have it. */
void tombs_on_deleted(struct core *core, const struct session_id *id, struct mesh_epoch epoch,
                      uint64_t now_ms);
/* Whoever speaks of a session that its client deleted is told so, whatever it says. False: that is
 * not so. */
bool tombs_answer(struct core *core, struct peer_id from, const struct wire_message *m,
                  uint64_t now_ms);
/* It need not be told again: it knows, or knows better. */
void tombs_on_found(struct core *core, struct peer_id from, const struct wire_message *found);
/* A link to it stands: who has not said that it knows is told again. */
void tombs_on_link(struct core *core, struct peer_id peer, uint64_t now_ms);
/* It came, or came back: what ended lately, and it is a candidate for, it may not know of. */
void tombs_on_came(struct core *core, struct peer_id peer, uint64_t now_ms);
/* It is gone: what it was to tell, we do. */
void tombs_on_dead(struct core *core, struct peer_id peer, uint64_t now_ms);
void tombs_now(struct core *core, uint64_t now_ms);
uint64_t tombs_deadline_ms(const struct core *core);
void tombs_add(struct core *core, const struct session_id *id, struct mesh_epoch epoch,
               bool is_final, uint64_t now_ms);
bool tombs_has(const struct core *core, const struct session_id *id, uint64_t now_ms);
/* Is it over also for who knows of that epoch? A rival's of the same counter may be above the one
 * that ended, and is not over with it. */
bool tombs_ends(const struct core *core, const struct session_id *id, struct mesh_epoch epoch,
                uint64_t now_ms);
/* On the other side of a split it may not have ended: it was ours, or all were asked, and nobody
 * came since. */
bool tombs_is_sure(const struct core *core, const struct session_id *id, uint64_t now_ms);
/* All were asked who had come until then, and nobody owns it. */
void tombs_confirm(struct core *core, const struct session_id *id, uint32_t came, uint64_t now_ms);
/* Somebody owns it: it lives on in a higher epoch than the one that ended, or will. Not for one
 * that its client ended. */
void tombs_forget(struct core *core, const struct session_id *id);
/* Says to a peer what we know of its end. */
void tombs_say(struct core *core, struct peer_id to, const struct session_id *id, uint64_t now_ms);

#endif
