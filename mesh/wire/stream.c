/* stream.c - the table, queues and credit of a link's streams. */
#include "mesh/wire/stream.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define STREAMS_FIRST 8

int streams_init(struct link *link)
{
    uint8_t sip_key[16];

    list_init(&link->sending);
    list_init(&link->reporting);
    list_init(&link->waiting);
    rng_bytes(link->rng, sip_key, sizeof sip_key);
    table_init_numbers(&link->streams_by_number, sizeof(uint32_t), sip_key);
    link->control = calloc(1, sizeof *link->control);
    if (link->control == NULL)
        return -ENOMEM;
    link->control->is_announced = link->control->has_begun = true;
    return 0;
}

static void stream_release(struct link *link, struct link_stream *s)
{
    stream_drop_queue(link, s);
    bytes_unref(s->assembly);
    spare_give(&link->spare_streams, s, LINK_SPARE);
}

void streams_deinit(struct link *link)
{
    for (uint32_t i = 0; i < link->streams_room; i++)
        if (link->streams[i] != NULL)
            stream_release(link, link->streams[i]);
    if (link->control != NULL)
        stream_release(link, link->control);
    spare_deinit(&link->spare_streams);
    spare_deinit(&link->spare_messages);
    free(link->streams);
    free(link->slots_free);
    table_deinit(&link->streams_by_number);
    memset(link->recent, 0, sizeof link->recent);
    link->streams = NULL;
    link->slots_free = NULL;
    link->control = NULL;
    link->streams_room = link->slots_free_count = 0;
}

struct link_stream *stream_find(const struct link *link, uint32_t number)
{
    struct link_stream *recent = link->recent[number % LINK_RECENT];
    uint32_t slot;

    if (recent != NULL && recent->number == number)
        return recent;
    if (!table_get(&link->streams_by_number, &number, &slot))
        return NULL;
    return link->streams[slot];
}

/* Doubles the array of streams and the stack of its free slots, which is then empty. */
static int slots_grow(struct link *link)
{
    uint32_t room = link->streams_room == 0 ? STREAMS_FIRST : link->streams_room * 2;
    struct link_stream **streams = reallocarray(link->streams, room, sizeof *streams);
    uint32_t *free_slots;

    if (streams == NULL)
        return -ENOMEM;
    link->streams = streams;
    free_slots = reallocarray(link->slots_free, room, sizeof *free_slots);
    if (free_slots == NULL)
        return -ENOMEM;
    link->slots_free = free_slots;
    for (uint32_t slot = room; slot-- > link->streams_room;) {
        streams[slot] = NULL;
        free_slots[link->slots_free_count++] = slot;
    }
    link->streams_room = room;
    return 0;
}

struct link_stream *stream_make(struct link *link, uint32_t number, bool is_ours)
{
    struct link_stream *s, **recent = &link->recent[number % LINK_RECENT];
    uint32_t slot;

    if (link->slots_free_count == 0 && slots_grow(link) < 0)
        return NULL;
    slot = link->slots_free[link->slots_free_count - 1];
    s = spare_take(&link->spare_streams, sizeof *s);
    if (s == NULL)
        return NULL;
    if (*recent != NULL &&
        table_put(&link->streams_by_number, &(*recent)->number, (*recent)->slot) < 0) {
        spare_give(&link->spare_streams, s, LINK_SPARE);
        return NULL;
    }
    *s = (struct link_stream){.number = number,
                              .slot = slot,
                              .is_ours = is_ours,
                              .is_announced = is_ours,
                              .has_begun = !is_ours,
                              .window = LINK_WINDOW_FIRST,
                              .sent_limit = LINK_WINDOW_FIRST,
                              .limit = LINK_WINDOW_FIRST,
                              .limit_told = LINK_WINDOW_FIRST};
    link->slots_free_count--;
    link->streams[slot] = s;
    link->opened_count[!is_ours]++;
    link->highest[!is_ours] = number;
    *recent = s;
    return s;
}

static void set_extra(struct link *link, struct link_stream *s, size_t extra)
{
    link->grants = link->grants - s->extra + extra;
    s->extra = extra;
}

void stream_free(struct link *link, struct link_stream *s)
{
    set_extra(link, s, 0);
    list_remove(&s->sending);
    list_remove(&s->reporting);
    list_remove(&s->waiting);
    if (link->recent[s->number % LINK_RECENT] == s)
        link->recent[s->number % LINK_RECENT] = NULL;
    else
        table_remove(&link->streams_by_number, &s->number);
    link->streams[s->slot] = NULL;
    link->slots_free[link->slots_free_count++] = s->slot;
    link->opened_count[!s->is_ours]--;
    stream_release(link, s);
    streams_admit_waiting(link);
}

void stream_drop_first(struct link *link, struct link_stream *s)
{
    struct link_message *m = s->first;

    s->first = m->next;
    if (s->first == NULL)
        s->last = NULL;
    s->first_sent = 0;
    s->queued -= message_length(m);
    link->queued -= message_length(m);
    link->messages_queued--;
    slice_drop(&m->payload);
    if (m->head_length <= MESSAGE_SMALL)
        spare_give(&link->spare_messages, m, LINK_SPARE);
    else
        free(m);
}

void stream_drop_queue(struct link *link, struct link_stream *s)
{
    while (s->first != NULL)
        stream_drop_first(link, s);
    stream_update_sending(link, s);
}

void stream_retire(struct link *link, struct link_stream *s, enum stream_state state)
{
    s->state = state;
    if (state != STREAM_CLOSING)
        stream_drop_queue(link, s);
    stream_end_assembly(s);
    set_extra(link, s, 0);
    streams_admit_waiting(link);
}

void stream_update_sending(struct link *link, struct link_stream *s)
{
    bool may_send = s->first != NULL && s->sent < s->sent_limit;

    if (stream_is_control(s) || may_send == list_is_linked(&s->sending))
        return;
    if (may_send)
        list_push_back(&link->sending, &s->sending);
    else
        list_remove(&s->sending);
}

void stream_report(struct link *link, struct link_stream *s, bool is_urgent)
{
    if (!list_is_linked(&s->reporting)) {
        if (list_is_empty(&link->reporting) && !link->reports_due)
            link->reports_at_ms = link->now_ms + LINK_ACK_DELAY_MS;
        list_push_back(&link->reporting, &s->reporting);
    }
    if (is_urgent)
        link->reports_due = true;
}

/* ---- credit --------------------------------------------------------------------------------- */

static size_t extra_of(uint64_t promised)
{
    return promised > LINK_WINDOW_FIRST ? (size_t)promised - LINK_WINDOW_FIRST : 0;
}

/* Raises the limit to `limit`, if the link's grants have room for that. */
static bool grant(struct link *link, struct link_stream *s, uint64_t limit)
{
    size_t extra;

    if (limit <= s->limit)
        return true;
    extra = extra_of(limit - s->consumed);
    if (extra > s->extra && extra - s->extra > LINK_GRANTS_MAX - link->grants)
        return false;
    set_extra(link, s, extra);
    s->limit = limit;
    return true;
}

static void adapt_window(struct link *link, struct link_stream *s)
{
    bool is_tight = link->grants >= LINK_GRANTS_MAX / 2;
    bool keeps_up = s->delivered - s->consumed <= s->window / 2;

    if (is_tight && s->window > LINK_WINDOW_TIGHT)
        s->window = LINK_WINDOW_TIGHT;
    if (s->consumed - s->grown_at < s->window || !keeps_up)
        return;
    s->grown_at = s->consumed;
    if (s->window < (is_tight ? LINK_WINDOW_TIGHT : LINK_WINDOW_MAX))
        s->window *= 2;
}

void stream_take(struct link *link, struct link_stream *s, size_t bytes)
{
    if (bytes > s->delivered - s->consumed)
        bytes = (size_t)(s->delivered - s->consumed);
    if (bytes == 0)
        return;
    s->consumed += bytes;
    set_extra(link, s, extra_of(s->limit - s->consumed));
    adapt_window(link, s);
    if (!grant(link, s, s->consumed + s->window))
        grant(link, s, s->consumed + LINK_WINDOW_FIRST);
    uint32_t late_max = s->window / 2 < LINK_ACK_MAX ? s->window / 2 : LINK_ACK_MAX;
    stream_report(link, s, s->limit - s->limit_told >= late_max);
    streams_admit_waiting(link);
}

/* A buffer and credit for the whole message under way; false: it has to wait. */
static bool admit(struct link *link, struct link_stream *s)
{
    uint64_t limit = s->limit;
    size_t extra = s->extra;

    if (!grant(link, s, s->assembly_at + s->assembly_total))
        return false;
    if (bytes_grow(&s->assembly, s->assembly_total - s->assembly->length) < 0) {
        s->limit = limit;
        set_extra(link, s, extra);
        return false;
    }
    if (s->limit > limit)
        stream_report(link, s, true);
    return true;
}

int stream_begin_assembly(struct link *link, struct link_stream *s, size_t total)
{
    size_t credit = stream_is_control(s) ? total : (size_t)(s->limit - s->received);

    s->assembly = bytes_new(link->budget, total < credit ? total : credit);
    if (s->assembly == NULL && stream_is_control(s)) /* few and short: they keep the mesh whole */
        s->assembly = bytes_new(NULL, total);
    if (s->assembly == NULL)
        return -ENOMEM;
    s->assembly_total = total;
    s->assembly_at = s->received;
    if (total <= credit || admit(link, s))
        return 0;
    list_push_back(&link->waiting, &s->waiting);
    if (link->admit_at_ms == MESH_NEVER)
        link->admit_at_ms = link->now_ms + LINK_ADMIT_AGAIN_MS;
    return 0;
}

void stream_end_assembly(struct link_stream *s)
{
    list_remove(&s->waiting);
    bytes_unref(s->assembly);
    s->assembly = NULL;
    s->assembly_total = 0;
}

void streams_admit_waiting(struct link *link)
{
    struct list *node;

    while ((node = list_first(&link->waiting)) != NULL) {
        struct link_stream *s = container_of(node, struct link_stream, waiting);
        if (!admit(link, s))
            return;
        list_remove(node);
    }
}
