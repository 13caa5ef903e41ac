/* keep.c - messages that outlive what they were read from. */
#include "mesh/wire/wire.h"

#define MESSAGE_SLICES_MAX 5

/* The slices that a message of this kind holds. */
static size_t message_slices(struct wire_message *m, struct slice *slices[MESSAGE_SLICES_MAX])
{
    size_t count = 0;
    slices[count++] = &m->payload;
    switch (m->kind) {
    case WIRE_OPEN:
        slices[count++] = &m->open.request.method;
        slices[count++] = &m->open.request.target;
        slices[count++] = &m->open.request.head;
        slices[count++] = &m->open.progress;
        break;
    case WIRE_HEAD:
    case WIRE_WHOLE:
        slices[count++] = &m->head.head;
        slices[count++] = &m->head.patch.put;
        break;
    case WIRE_EVENT:
    case WIRE_DATA:
        slices[count++] = &m->text.patch.put;
        break;
    case WIRE_BUCKETS_ARE:
    case WIRE_VIEW:
    case WIRE_FIND:
    case WIRE_ENDED:
    case WIRE_FOUND:
    case WIRE_CANCEL:
    case WIRE_DONE:
    case WIRE_MOVED:
    case WIRE_NOT_YET:
    case WIRE_REFUSED:
    case WIRE_END:
    case WIRE_TASK_IS:
    case WIRE_TASK_WHERE:
    case WIRE_TASK_AT:
    case WIRE_COPY:
    case WIRE_COPY_EVENT:
    case WIRE_COPY_STREAM:
    case WIRE_COPIED:
    case WIRE_DIGEST:
    case WIRE_TAKE:
    case WIRE_GRANT:
    case WIRE_VETO:
    case WIRE_YIELD:
    case WIRE_CHECK:
    case WIRE_CHECKED:
    case WIRE_HAND:
    case WIRE_HANDED:
    case WIRE_TOOLS:
        break;
    }
    return count;
}

int wire_message_keep(struct wire_message *m, struct bytes_budget *budget)
{
    struct slice *slices[MESSAGE_SLICES_MAX];
    size_t count = message_slices(m, slices);
    for (size_t n = 0; n < count; n++) {
        int rc = slice_keep(slices[n], *slices[n], budget);
        if (rc < 0) {
            while (n > 0)
                slice_drop(slices[--n]);
            return rc;
        }
    }
    return 0;
}

void wire_message_drop(struct wire_message *m)
{
    struct slice *slices[MESSAGE_SLICES_MAX];
    size_t count = message_slices(m, slices);
    for (size_t n = 0; n < count; n++)
        slice_drop(slices[n]);
}
