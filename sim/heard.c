/* heard.c - see heard.h. */
#include "sim/heard.h"

#include <inttypes.h>
#include <stdlib.h>

#include "sim/check.h"
#include "sim/client.h"
#include "sim/upstream.h"

void heard_free(struct heard *heard)
{
    free(heard->begun);
    free(heard->listeners);
}

/* ---- what began ----------------------------------------------------------------------------- */

uint64_t heard_begun_us(const struct heard *heard, struct mesh_epoch epoch)
{
    for (uint32_t n = 0; n < heard->begun_count; n++)
        if (mesh_epoch_compare(heard->begun[n].epoch, epoch) == 0)
            return heard->begun[n].since_us;
    return 0;
}

struct mesh_epoch heard_before(const struct heard *heard, uint64_t counter)
{
    struct mesh_epoch last = {0};
    for (uint32_t n = 0; n < heard->begun_count; n++)
        if (heard->begun[n].epoch.counter < counter &&
            mesh_epoch_compare(heard->begun[n].epoch, last) > 0)
            last = heard->begun[n].epoch;
    return last;
}

static void heard_begins(const struct world *world, struct heard *heard, struct mesh_epoch epoch)
{
    if (heard_begun_us(heard, epoch) != 0)
        return;
    heard->begun =
        sim_grow(heard->begun, heard->begun_count, &heard->begun_capacity, sizeof *heard->begun);
    heard->begun[heard->begun_count++] = (struct begun){epoch, world->now_us};
}

/* ---- who heard of it ------------------------------------------------------------------------ */

static struct listener *listener_find(const struct heard *heard, uint32_t seat, uint32_t life)
{
    for (uint32_t n = 0; n < heard->listeners_count; n++)
        if (heard->listeners[n].seat == seat && heard->listeners[n].life == life)
            return &heard->listeners[n];
    return NULL;
}

static void listener_look(const struct world *world, const struct session *session,
                          struct listener *listener)
{
    struct mesh_epoch epoch = mesh_heard_of(world->seats[listener->seat].mesh, session->id,
                                            session->has_id ? MESH_SESSION_TEXT : 0);
    if (mesh_epoch_compare(epoch, listener->epoch) <= 0)
        return;
    listener->epoch = epoch;
    listener->since_us = world->now_us;
}

void heard_listen(struct world *world, const struct request *request)
{
    struct session *session = world->clients->sessions[request->session];
    struct heard *heard = &session->tenures.heard;
    if (listener_find(heard, request->seat, request->life) != NULL)
        return;
    heard->listeners = sim_grow(heard->listeners, heard->listeners_count,
                                &heard->listeners_capacity, sizeof *heard->listeners);
    struct listener *listener = &heard->listeners[heard->listeners_count++];
    *listener = (struct listener){.seat = request->seat, .life = request->life};
    listener_look(world, session, listener);
}

/* Whoever begins to own one hears of that, too. */
void heard_turn(struct world *world, struct seat *seat)
{
    uint64_t count = mesh_heard_count(seat->mesh);
    if (count == seat->heard || world->clients == NULL)
        return;
    seat->heard = count;
    for (uint32_t n = 0; n < world->clients->sessions_count; n++) {
        struct session *session = world->clients->sessions[n];
        struct heard *heard = &session->tenures.heard;
        struct listener *listener = listener_find(heard, seat->index, seat->life);
        struct mesh_tenure tenure;
        if (session->has_id &&
            mesh_tenure_of(seat->mesh, session->id, MESH_SESSION_TEXT, &tenure) && !tenure.is_copy)
            heard_begins(world, heard, tenure.epoch);
        if (listener != NULL)
            listener_look(world, session, listener);
    }
}

/* ---- what is passed on ---------------------------------------------------------------------- */

static struct peer_id peer_of(const struct world *world, uint32_t seat, uint32_t life)
{
    if (world->seats[seat].mesh != NULL && world->seats[seat].life == life)
        return mesh_self(world->seats[seat].mesh)->record->id;
    for (uint32_t n = world->lives_count; n-- > 0;)
        if (world->lives[n].seat == seat && world->lives[n].life == life)
            return world->lives[n].id;
    return (struct peer_id){0};
}

void heard_passes(struct world *world, const struct request *request, uint32_t upstream,
                  uint64_t said_us)
{
    const struct upstream *up = &world->upstreams->ups[upstream];
    const struct session *session = world->clients->sessions[request->session];
    const struct heard *heard = &session->tenures.heard;
    struct listener *listener = listener_find(heard, request->seat, request->life);
    struct mesh_epoch said = {up->epoch, peer_of(world, up->seat, up->life)};
    /* a successor may say it that has it from the log of that epoch: its own is heard by it */
    if (listener != NULL)
        listener_look(world, session, listener);
    /* of this turn it may be that the word came first */
    if (listener == NULL || listener->since_us == world->now_us ||
        mesh_epoch_compare(said, listener->epoch) >= 0 ||
        peer_id_equal(said.owner, listener->epoch.owner))
        return;
    uint64_t over_us = heard_begun_us(heard, listener->epoch);
    if (over_us != 0 && said_us > over_us)
        check_fail(world, "O1",
                   "#%u through p%u gets what upstream %u of epoch %" PRIu64
                   " says, and that peer heard of epoch %" PRIu64 " before",
                   request->n, request->seat, upstream, up->epoch, listener->epoch.counter);
}
