/* succession.c - looking through copies for those whose owner is gone; claims. */
#include "mesh/session/succession.h"

#include "mesh/session/core.h"

#define SUCCESSION_SLOTS 4096 /* of the pool looked at in a turn */
#define SUCCESSION_STEP_MS 20

int succession_init(struct core *core)
{
    struct succession *s = &core->succession;
    memset(s, 0, sizeof *s);
    newest_init(&s->shards, sizeof(uint64_t), sizeof(uint32_t), CLAIMS_MAX, core->sip_key);
    return 0;
}

void succession_deinit(struct core *core)
{
    newest_deinit(&core->succession.shards);
}

/* ---- claims --------------------------------------------------------------------------------- */

void succession_claim(struct core *core, struct session *session, uint64_t now_ms)
{
    uint64_t shard = key_shard(&session->id);
    const struct mesh_member *home = view_find_tag(core->view, key_home(&session->id));
    uint32_t *count;
    if (session->is_claimed || (home != NULL && member_is_living(home)) ||
        (count = newest_put(&core->succession.shards, &shard)) == NULL)
        return;
    session->is_claimed = true;
    if ((*count)++ == 0)
        (void)swim_claim(core->swim, shard, now_ms);
}

void succession_unclaim(struct core *core, struct session *session)
{
    uint64_t shard = key_shard(&session->id);
    uint32_t *count = newest_find(&core->succession.shards, &shard);
    if (!session->is_claimed)
        return;
    session->is_claimed = false;
    if (count != NULL && *count > 0 && --*count == 0)
        swim_unclaim(core->swim, shard);
}

/* ---- taking over by itself ------------------------------------------------------------------ */

static void look_from_the_first(struct succession *s, uint64_t now_ms)
{
    s->is_looking = true;
    s->slot = 0;
    s->at_ms = now_ms;
    s->has_left = false;
}

void succession_on_view(struct core *core, uint64_t now_ms)
{
    core->succession.began_ms = now_ms;
    if (pool_count(&core->sessions.pool) != core->sessions.owned) /* there are copies */
        look_from_the_first(&core->succession, now_ms);
}

void succession_look(struct core *core, uint64_t now_ms)
{
    if (!core->succession.is_looking)
        look_from_the_first(&core->succession, now_ms);
}

/* Since when its owner is gone, as membership says; MESH_NEVER: it is not. */
static uint64_t gone_since_ms(const struct core *core, const struct session *copy)
{
    struct rounds r = takeover_rounds(core, &copy->id);
    struct peer_id id = rounds_highest(&r).owner;
    const struct mesh_member *owner = view_find(core->view, id);
    const struct mesh_member *newest = view_find_name(core->view, id.name);
    uint64_t began_ms = core->succession.began_ms;
    if (mesh_epoch_compare(rounds_highest(&r), r.known) == 0 &&
        (r.is_given || peer_id_equal(id, core_self(core))))
        return began_ms; /* it was given up */
    if (owner != NULL)
        return member_is_living(owner) ? MESH_NEVER : view_silent_ms(core->view, owner);
    bool has_next = newest != NULL && newest->record->id.generation > id.generation;
    return has_next ? began_ms : began_ms + SUCCESSION_STRANGE_MS;
}

/* Before us come so many candidates that have a copy; SIZE_MAX: we are none. */
static size_t rank_of_us(struct core *core, const struct session *copy)
{
    struct peer_id peers[MESH_CANDIDATES_MAX];
    size_t count = owner_candidates(core, &copy->id, peers, MESH_CANDIDATES_MAX), rank = 0;
    for (size_t n = 0; n < count; n++) {
        if (peer_id_equal(peers[n], core_self(core)))
            return rank;
        rank += copies_is_holder(copy, peers[n]);
    }
    return SIZE_MAX;
}

bool succession_is_ours(struct core *core, const struct session *copy)
{
    return gone_since_ms(core, copy) != MESH_NEVER && rank_of_us(core, copy) != SIZE_MAX;
}

static void look_at(struct core *core, struct session *copy, uint64_t now_ms)
{
    struct succession *s = &core->succession;
    uint64_t since_ms = gone_since_ms(core, copy);
    size_t rank = since_ms != MESH_NEVER ? rank_of_us(core, copy) : SIZE_MAX;
    if (rank == SIZE_MAX)
        return;
    s->has_left = true;
    if (since_ms + rank * SUCCESSION_RANK_MS > now_ms)
        return;
    s->budget--;
    takeover_begin(core, copy, now_ms);
}

static void fill(struct succession *s, uint64_t now_ms)
{
    uint64_t more = (now_ms - s->filled_ms) * SUCCESSION_PER_S / 1000;
    if (more == 0)
        return;
    s->filled_ms = now_ms;
    s->budget = s->budget + more < SUCCESSION_FIRST ? s->budget + (uint32_t)more : SUCCESSION_FIRST;
}

void succession_now(struct core *core, uint64_t now_ms)
{
    struct succession *s = &core->succession;
    uint32_t looked = 0;
    struct handle h;
    if (!s->is_looking || now_ms < s->at_ms)
        return;
    fill(s, now_ms);
    while (s->slot < pool_span(&core->sessions.pool) && s->budget > 0 &&
           looked++ < SUCCESSION_SLOTS) {
        struct session *copy = pool_slot(&core->sessions.pool, s->slot++, &h);
        if (copy != NULL && copy->is_copy)
            look_at(core, copy, now_ms);
    }
    s->at_ms = now_ms + SUCCESSION_STEP_MS;
    if (s->slot < pool_span(&core->sessions.pool))
        return;
    /* by chance: those who began at one word, and said no to each other, would do so again */
    s->at_ms =
        now_ms + SUCCESSION_AGAIN_MS / 2 + shuffle_below(&core->shuffle, SUCCESSION_AGAIN_MS);
    s->slot = 0;
    s->is_looking = s->has_left;
    s->has_left = false;
}

uint64_t succession_deadline_ms(const struct core *core)
{
    return core->succession.is_looking ? core->succession.at_ms : MESH_NEVER;
}
