/* answer.h - an answer on its way to its entry peer. Every message is kept until the entry has
 * received it, so that a lost link costs nothing: the entry attaches over another one and gets
 * what it has not seen (DESIGN §6). What the messages say is serve.c's business. */
#ifndef MESH_ANSWER_H
#define MESH_ANSWER_H

#include "mesh/base/list.h"
#include "mesh/base/spare.h"
#include "mesh/wire/links.h"

#define ANSWER_SPARE 64 /* kept messages whose memory is kept for the next */

struct answer {
    struct spare *spare;    /* borrowed: memory of kept messages, of all answers together */
    struct lane lane;       /* none: the entry's link is lost, or it is not interested */
    struct list kept;       /* struct kept, oldest first */
    uint32_t number;        /* of the oldest kept message; they count from 0 */
    uint32_t count;         /* messages so far */
    uint64_t sent_bytes;    /* on this lane, as links count */
    uint64_t sent_payload;  /* of them; the rest is taken by being read */
    uint64_t taken_payload; /* of them, at least: what the entry's client took */
    size_t payload_bytes;   /* kept */
    bool is_dropped;        /* nobody waits: messages are taken and forgotten */
    struct event_id taken;  /* of the newest numbered event that was taken */
    bool is_withheld;       /* from message number withheld_from on */
    uint32_t withheld_from;
    bool is_fenced; /* likewise, for another reason */
    uint32_t fenced_from;
};

void answer_init(struct answer *answer, struct spare *spare);
void answer_deinit(struct answer *answer);
/* Keeps and sends one message. -ENOMEM: it was not added, the answer can only be cut now. */
int answer_add(struct answer *answer, struct links *links, const struct wire_message *message,
               struct bytes_budget *budget);
/* What is added from here on is kept and not sent, until it is released. */
void answer_withhold(struct answer *answer);
void answer_release(struct answer *answer, struct links *links);
/* Likewise, from message `from` on, whether kept or still to come: in doubt whether it may be said
 * at all (fence.h). Who does both has released it when both are over. */
void answer_fence(struct answer *answer, uint32_t from);
void answer_unfence(struct answer *answer, struct links *links);
/* What is kept is said in this epoch from now on. */
void answer_set_epoch(struct answer *answer, struct mesh_epoch epoch);
/* The entry is back on `lane` and has the first `received` messages: returns the payload bytes that
 * are kept no longer. */
size_t answer_attach(struct answer *answer, struct links *links, struct lane lane,
                     uint32_t received);
void answer_detach(struct answer *answer);
/* What is kept will not be sent again: who attaches goes on behind it. */
void answer_skip(struct answer *answer);
/* Nobody waits for it any more. */
void answer_drop(struct answer *answer);
/* The entry took `total` bytes of the lane: returns the payload bytes that are kept no longer,
 * those of messages whose payload was taken whole. */
size_t answer_consumed(struct answer *answer, uint64_t total);
/* More than `limit` bytes wait behind the message under way. */
bool answer_is_behind(const struct answer *answer, size_t limit);

#endif
