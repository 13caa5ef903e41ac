/* up_spare.c - processes of a stdio server that wait, started, for a session, so that an initialize
 * does not wait for their start. What one says meanwhile is kept, and read once it is taken. */
#include "node/up_stdio.h"

#define SPARE_AGAIN_MS 1000u /* after one was lost: its next of kin may fare no better */

/* Sessions that wait for a process go before, and their starts are not held up by those of spares.
 * A program that fails gets one try at a time. */
static bool may_start(const struct up_stdio *kind, uint64_t now_ms)
{
    const struct upstream *upstream = kind->upstream;
    const struct host_config *config = upstream->host->config;
    uint32_t starting_max = kind->failures > 0 ? 1 : config->spawning_max;
    return upstream->stats.spares < config->spares && upstream->serving &&
           list_is_empty(&kind->waiting) && kind->running < config->children_max &&
           kind->starting + kind->spares_starting < starting_max && now_ms >= kind->spares_after_ms;
}

void up_spare_fill(struct up_stdio *kind, uint64_t now_ms)
{
    while (may_start(kind, now_ms)) {
        struct child *child = child_new(kind);
        if (child == NULL) {
            kind->spares_after_ms = now_ms + SPARE_AGAIN_MS;
            return;
        }
        list_push_back(&kind->spares, &child->in_spares);
        kind->upstream->stats.spares++;
        child_start(child);
    }
}

struct child *up_spare_first(const struct up_stdio *kind)
{
    struct list *first = list_first(&kind->spares);
    return first != NULL ? container_of(first, struct child, in_spares) : NULL;
}

static void unlist(struct child *child)
{
    list_remove(&child->in_spares);
    child->kind->upstream->stats.spares--;
}

void up_spare_take(struct child *child, struct handle handle)
{
    struct up_stdio *kind = child->kind;
    if (child->starting) {
        kind->spares_starting--;
        kind->starting++;
    }
    unlist(child);
    child->handle = handle;
    mesh_up_ready(child_mesh(child), handle, child_now_ms(child));
    child_io_read_kept(child);
}

void up_spare_drop(struct child *child)
{
    if (!child_is_spare(child))
        return;
    child_note_start_over(child);
    unlist(child);
    child->kind->spares_after_ms = child_now_ms(child) + SPARE_AGAIN_MS;
}

void up_spare_end_all(struct up_stdio *kind)
{
    for (struct child *child = up_spare_first(kind); child != NULL; child = up_spare_first(kind)) {
        child->wished = true;
        child_begin_end(child);
    }
}
