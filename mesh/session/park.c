/* park.c - OPENs that wait. */
#include "mesh/session/park.h"

#include <stdlib.h>

#include "mesh/session/core.h"

struct parked_open {
    struct list in_all;
    struct lane lane;
    struct wire_message open;
};

void park_init(struct core *core)
{
    list_init(&core->parks.opens);
}

static void parked_free(struct core *core, struct parked_open *parked)
{
    list_remove(&parked->in_all);
    core->parks.count--;
    wire_message_drop(&parked->open);
    free(parked);
}

void park_deinit(struct core *core)
{
    struct list *at;
    while ((at = list_first(&core->parks.opens)) != NULL)
        parked_free(core, container_of(at, struct parked_open, in_all));
}

bool park_keep(struct core *core, struct lane lane, const struct wire_message *open)
{
    struct parked_open *parked = core->parks.count < PARK_MAX ? malloc(sizeof *parked) : NULL;
    if (parked == NULL)
        return false;
    parked->in_all = (struct list){0};
    parked->lane = lane;
    parked->open = *open;
    if (wire_message_keep(&parked->open, &core->budget) < 0) {
        free(parked);
        return false;
    }
    list_push_back(&core->parks.opens, &parked->in_all);
    core->parks.count++;
    return true;
}

void park_release(struct core *core, const struct session_id *id, uint64_t now_ms)
{
    struct list ready;
    struct list *head;
    list_init(&ready);
    /* apart first: one that is served may be kept once more */
    LIST_EACH_SAFE (at, after, &core->parks.opens) {
        if (!session_id_equal(&container_of(at, struct parked_open, in_all)->open.session, id))
            continue;
        list_remove(at);
        list_push_back(&ready, at);
    }
    while ((head = list_first(&ready)) != NULL) {
        struct parked_open *parked = container_of(head, struct parked_open, in_all);
        if (links_is_open(core->links, parked->lane, LINKS_OWNER))
            serve_open(core, parked->lane, &parked->open, now_ms);
        parked_free(core, parked);
    }
}
