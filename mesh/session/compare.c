/* compare.c - what owners and holders tell each other of many sessions in one message: entries that
 * are collected for a peer, and the comparison of all that an owner's holders have. */
#include <stdlib.h>

#include "mesh/session/copies_inside.h"
#include "mesh/session/core.h"

#define OUTBOX_ENTRIES 128

struct outbox {
    struct list in_copies;
    struct peer_id peer;
    enum wire_kind kind;
    uint32_t count;
    uint8_t entries[OUTBOX_ENTRIES * WIRE_ENTRY_BYTES];
};

/* ---- entries -------------------------------------------------------------------------------- */

void copies_collect(struct core *core, struct peer_id peer, enum wire_kind kind,
                    const struct wire_entry *entry, uint64_t now_ms)
{
    struct copies *c = &core->copies;
    struct outbox *outbox = NULL;
    LIST_EACH (at, &c->outboxes) {
        outbox = container_of(at, struct outbox, in_copies);
        if (outbox->kind == kind && peer_id_equal(outbox->peer, peer))
            break;
        outbox = NULL;
    }
    if (outbox == NULL) {
        outbox = malloc(sizeof *outbox);
        if (outbox == NULL)
            return; /* it is said again by the next comparison */
        outbox->peer = peer;
        outbox->kind = kind;
        outbox->count = 0;
        list_push_back(&c->outboxes, &outbox->in_copies);
    }
    wire_entry_write(entry, outbox->entries + outbox->count * WIRE_ENTRY_BYTES);
    if (++outbox->count == OUTBOX_ENTRIES)
        copies_post(core, now_ms);
}

void copies_post(struct core *core, uint64_t now_ms)
{
    struct copies *c = &core->copies;
    while (!list_is_empty(&c->outboxes)) {
        struct outbox *outbox = container_of(list_first(&c->outboxes), struct outbox, in_copies);
        struct wire_message m = {.kind = outbox->kind};
        const struct mesh_addr *addr = core_addr_of(core, outbox->peer);
        m.payload = slice_borrow(outbox->entries, outbox->count * WIRE_ENTRY_BYTES);
        if (addr != NULL)
            (void)links_tell(core->links, outbox->peer, addr, &m, now_ms);
        list_remove(&outbox->in_copies);
        free(outbox);
    }
}

/* ---- comparisons ---------------------------------------------------------------------------- */

/* Who was away may have missed what became of its copies: all is compared soon. */
void compare_soon(struct core *core, uint64_t now_ms)
{
    struct copies *c = &core->copies;
    if (c->digest_ms == MESH_NEVER)
        return;
    uint64_t soon_ms = c->digest_ms - COPIES_DIGEST_MS + 2 * COPIES_SOON_MS;
    if (soon_ms < now_ms + COPIES_SOON_MS)
        soon_ms = now_ms + COPIES_SOON_MS;
    if (soon_ms < c->digest_ms)
        c->digest_ms = soon_ms;
}

void compare_tell(struct core *core, const struct session *session, struct peer_id holder,
                  uint64_t now_ms)
{
    struct wire_entry entry = {
        .session = session->id, .epoch = session->epoch.counter, .version = session->version};
    uint64_t idle_ms, absolute_ms;
    session_left(core, session, now_ms, &idle_ms, &absolute_ms);
    entry.idle_ms = idle_ms < UINT32_MAX ? (uint32_t)idle_ms : UINT32_MAX;
    copies_collect(core, holder, WIRE_DIGEST, &entry, now_ms);
}

static void compare_one(struct core *core, struct session *session, uint64_t now_ms)
{
    for (size_t n = 0; n < COPIES_HOLDERS_MAX; n++)
        if (session->holders[n].sent != 0)
            compare_tell(core, session, session->holders[n].peer, now_ms);
    copies_due(core, session, now_ms); /* whatever of its surroundings was not told as a change */
}

/* A step of the comparison that is under way. */
static void compare_step(struct core *core, uint64_t now_ms)
{
    struct copies *c = &core->copies;
    struct handle h;
    uint32_t end = pool_span(&core->sessions.pool);
    if (end - c->digest_slot > COPIES_STEP_SLOTS)
        end = c->digest_slot + COPIES_STEP_SLOTS;
    for (; c->digest_slot < end; c->digest_slot++) {
        struct session *session = pool_slot(&core->sessions.pool, c->digest_slot, &h);
        if (session != NULL && copies_are_kept(session))
            compare_one(core, session, now_ms);
    }
    copies_post(core, now_ms);
    c->is_comparing = end < pool_span(&core->sessions.pool);
    c->digest_step_ms = now_ms + COPIES_STEP_MS;
}

void compare_now(struct core *core, uint64_t now_ms)
{
    struct copies *c = &core->copies;
    if (!c->is_comparing && c->digest_ms <= now_ms) {
        c->is_comparing = true;
        c->digest_slot = 0;
        c->digest_step_ms = now_ms;
        c->digest_ms = now_ms + COPIES_DIGEST_MS;
        strays_soon(core, now_ms + COPIES_ASK_MS); /* of some their owner may have been silent */
    }
    if (c->is_comparing && c->digest_step_ms <= now_ms)
        compare_step(core, now_ms);
    if (!c->is_comparing && pool_count(&core->sessions.pool) == 0)
        c->digest_ms = MESH_NEVER;
}

uint64_t compare_deadline_ms(const struct core *core)
{
    const struct copies *c = &core->copies;
    return c->is_comparing ? c->digest_step_ms : c->digest_ms;
}
