/* answer.c - messages kept until their entry has them. */
#include "mesh/session/answer.h"

#include <errno.h>

struct kept {
    struct list in_answer;
    uint64_t end_bytes;   /* of the present lane's count, when it was sent there; 0: it was not */
    uint64_t end_payload; /* likewise, of payload alone */
    struct wire_message message;
};

void answer_init(struct answer *answer, struct spare *spare)
{
    memset(answer, 0, sizeof *answer);
    answer->spare = spare;
    list_init(&answer->kept);
}

static void answer_drop_first(struct answer *answer)
{
    struct kept *kept = container_of(list_first(&answer->kept), struct kept, in_answer);
    answer->payload_bytes -= kept->message.payload.length;
    answer->number++;
    list_remove(&kept->in_answer);
    wire_message_drop(&kept->message);
    spare_give(answer->spare, kept, ANSWER_SPARE);
}

void answer_deinit(struct answer *answer)
{
    answer_skip(answer);
}

/* A lane that cannot take it is lost: we hear of that, and the entry attaches, or gives up. */
static void answer_send(struct answer *answer, struct links *links, struct kept *kept)
{
    kept->end_bytes = 0;
    if (lane_is_none(answer->lane))
        return;
    int rc = links_send(links, answer->lane, LINKS_OWNER, &kept->message);
    if (rc < 0)
        return;
    answer->sent_bytes += (uint64_t)rc;
    answer->sent_payload += kept->message.payload.length;
    kept->end_bytes = answer->sent_bytes;
    kept->end_payload = answer->sent_payload;
}

int answer_add(struct answer *answer, struct links *links, const struct wire_message *message,
               struct bytes_budget *budget)
{
    if (answer->is_dropped)
        return 0;
    struct kept *kept = spare_take(answer->spare, sizeof *kept);
    if (kept == NULL)
        return -ENOMEM;
    kept->end_bytes = 0;
    kept->message = *message;
    int rc = wire_message_keep(&kept->message, budget);
    if (rc < 0) {
        spare_give(answer->spare, kept, ANSWER_SPARE);
        return rc;
    }
    list_push_back(&answer->kept, &kept->in_answer);
    answer->count++;
    answer->payload_bytes += kept->message.payload.length;
    if (!answer->is_withheld && !answer->is_fenced)
        answer_send(answer, links, kept);
    return 0;
}

/* Sends the kept messages from that number on, but for what is withheld. */
static void answer_send_from(struct answer *answer, struct links *links, uint32_t from)
{
    uint32_t number = answer->number;
    LIST_EACH (at, &answer->kept) {
        if ((answer->is_withheld && number >= answer->withheld_from) ||
            (answer->is_fenced && number >= answer->fenced_from))
            break;
        if (number++ >= from)
            answer_send(answer, links, container_of(at, struct kept, in_answer));
    }
}

void answer_withhold(struct answer *answer)
{
    if (answer->is_withheld)
        return; /* from where it was: what is kept back stays so */
    answer->is_withheld = true;
    answer->withheld_from = answer->count;
}

void answer_release(struct answer *answer, struct links *links)
{
    if (!answer->is_withheld)
        return;
    answer->is_withheld = false;
    answer_send_from(answer, links, answer->withheld_from);
}

void answer_fence(struct answer *answer, uint32_t from)
{
    if (!answer->is_fenced || from < answer->fenced_from)
        answer->fenced_from = from;
    answer->is_fenced = true;
}

void answer_unfence(struct answer *answer, struct links *links)
{
    if (!answer->is_fenced)
        return;
    answer->is_fenced = false;
    answer_send_from(answer, links, answer->fenced_from);
}

void answer_set_epoch(struct answer *answer, struct mesh_epoch epoch)
{
    LIST_EACH (at, &answer->kept)
        container_of(at, struct kept, in_answer)->message.epoch = epoch;
}

/* It has arrived: no attach will ask for it. */
static void answer_take_first(struct answer *answer)
{
    const struct kept *kept = container_of(list_first(&answer->kept), struct kept, in_answer);
    if (kept->message.kind == WIRE_EVENT && !event_id_is_none(&kept->message.text.id))
        answer->taken = kept->message.text.id;
    answer_drop_first(answer);
}

size_t answer_attach(struct answer *answer, struct links *links, struct lane lane,
                     uint32_t received)
{
    size_t before = answer->payload_bytes;
    answer_detach(answer);
    answer->lane = lane;
    while (!list_is_empty(&answer->kept) && answer->number < received)
        answer_take_first(answer);
    size_t freed = before - answer->payload_bytes;
    answer_send_from(answer, links, answer->number);
    return freed;
}

void answer_detach(struct answer *answer)
{
    answer->lane = (struct lane){0};
    answer->sent_bytes = answer->sent_payload = answer->taken_payload = 0;
}

void answer_skip(struct answer *answer)
{
    while (!list_is_empty(&answer->kept))
        answer_drop_first(answer);
}

void answer_drop(struct answer *answer)
{
    answer_detach(answer);
    answer_skip(answer);
    answer->is_dropped = true;
}

size_t answer_consumed(struct answer *answer, uint64_t total)
{
    size_t before = answer->payload_bytes;
    /* heads are taken by being read, before the payloads of earlier messages are */
    uint64_t heads = answer->sent_bytes - answer->sent_payload;
    if (total > heads && total - heads > answer->taken_payload)
        answer->taken_payload = total - heads;
    while (!list_is_empty(&answer->kept)) {
        struct kept *kept = container_of(list_first(&answer->kept), struct kept, in_answer);
        /* what counts as taken has arrived whole, in order */
        if (kept->end_bytes == 0 || kept->end_bytes > total ||
            kept->end_payload > answer->taken_payload)
            break;
        answer_take_first(answer);
    }
    return before - answer->payload_bytes;
}

bool answer_is_behind(const struct answer *answer, size_t limit)
{
    if (answer->payload_bytes <= limit)
        return false;
    const struct kept *first = container_of(list_first(&answer->kept), struct kept, in_answer);
    return answer->payload_bytes - first->message.payload.length > limit;
}
