/* mesh.c - the boundary: facts to the modules, effects from them, one deadline. Decides nothing
 * about sessions (mesh/session) or members (mesh/member); what it does decide is how much of a
 * stranger's datagrams is answered at all, and the order in which a turn is drained. */
#include "mesh/mesh_inside.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#define MESH_CONTACTS_MAX 1024
#define MESH_WINDOWS_SPARE 64 /* replay windows beyond one a member: for those who join */
#define MESH_STALL_MS 500     /* so late after the deadline: this process stood still */
#define MESH_LEAVE_POLL_MS 20 /* before a leaver looks whether all is over: longer and longer, */
#define MESH_LEAVE_POLL_MAX_MS 250 /* up to so long */
#define MESH_LEAVE_TELL_MS 250     /* for the ends of our sessions, a dial included */

void mesh_config_defaults(struct mesh_config *config)
{
    memset(config, 0, sizeof *config);
    config->weight = 1;
    config->placement = MESH_PLACE_LOCAL;
    config->upstream = MESH_UP_BUILTIN;
    config->retry_hints = true;
    config->on_owner_loss = MESH_LOSS_RESUME;
    config->rebalance = MESH_REBALANCE_OFF;
    config->members_max = 1024;
    config->sessions_max = 100000;
    config->exchanges_max = 65536;
    config->copies = 2;
    config->memory_max = 256u << 20;
    config->park_ms = 10000;
    config->silent_window_ms = 60000;
    config->name_wait_ms = 60000;
    config->session_idle_ms = 30 * 60 * 1000;
    config->session_max_ms = 24 * 60 * 60 * 1000;
}

/* ---- making --------------------------------------------------------------------------------- */

bool mesh_name_is_legal(const char *name)
{
    size_t length = name == NULL ? 0 : strlen(name);
    if (length == 0 || length > MESH_NAME_MAX)
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == length;
}

static bool mesh_config_is_legal(const struct mesh_config *c)
{
    return mesh_name_is_legal(c->name) && c->cluster != NULL && c->cluster[0] != '\0' &&
           strlen(c->cluster) <= MESH_LABEL_MAX && c->addr.port != 0 && c->weight >= 1 &&
           c->weight <= 16 && c->keys_count <= MESH_KEYS_MAX && c->members_max > 0 &&
           c->sessions_max > 0 && c->exchanges_max > 0 && c->copies <= COPIES_HOLDERS_MAX &&
           (c->zone == NULL || strlen(c->zone) <= MESH_ZONE_MAX);
}

static int mesh_make_swim(struct mesh *m, uint64_t nonce, uint64_t now_ms)
{
    const struct mesh_config *c = &m->core.config;
    struct swim_config swim = {.boot_ms = c->boot_ms,
                               .has_contacts = c->has_contacts,
                               .members_max = c->members_max,
                               .contacts_max = MESH_CONTACTS_MAX,
                               .name_wait_ms = c->name_wait_ms,
                               .records = c->records};
    memcpy(swim.self.name, c->name, strlen(c->name));
    if (c->zone != NULL)
        memcpy(swim.self.zone, c->zone, strlen(c->zone));
    swim.self.nonce = nonce;
    swim.self.addr = c->addr;
    swim.self.weight = c->weight;
    swim.self.keys_count = mesh_keys_said(m, swim.self.keys);
    swim.identity = c->has_identity ? &m->identity : NULL;
    shuffle_init(&swim.chance, &m->core.rng);
    int rc = swim_new(&m->core.swim, &swim, now_ms);
    if (rc == 0)
        m->core.view = swim_view(m->core.swim);
    return rc;
}

static int mesh_make_wire(struct mesh *m, uint64_t nonce)
{
    const struct mesh_config *c = &m->core.config;
    seal_init(&m->seal, &m->seal_ring, view_name_hash(c->name), nonce,
              c->members_max + MESH_WINDOWS_SPARE, &m->core.rng);
    struct links_config links = {.self = core_self(&m->core),
                                 .nonce = nonce,
                                 .ring = &m->seal_ring,
                                 .sip_key = m->core.sip_key,
                                 .rng = &m->core.rng,
                                 .budget = &m->core.budget};
    return links_new(&m->core.links, &links);
}

int mesh_new(struct mesh **meshp, const struct mesh_config *config, uint64_t now_ms)
{
    uint64_t nonce = 0;
    uint8_t key[16];
    *meshp = NULL;
    if (!mesh_config_is_legal(config))
        return -EINVAL;
    if (sodium_init() < 0)
        return -ENOMEM;
    struct mesh *m = calloc(1, sizeof *m);
    if (m == NULL)
        return -ENOMEM;
    struct core *core = &m->core;
    core->config = *config;
    sodium_memzero(core->config.entropy, sizeof core->config.entropy);
    sodium_memzero(core->config.keys, sizeof core->config.keys);
    sodium_memzero(core->config.identity_secret, sizeof core->config.identity_secret);
    core->budget.max = config->memory_max;
    m->now_ms = core->started_ms = now_ms;
    m->leave_until_ms = m->farewell_ms = m->due_ms = MESH_NEVER;
    core->now_ms = now_ms;
    rng_init(&core->rng, config->entropy);
    shuffle_init(&core->shuffle, &core->rng);
    rng_bytes(&core->rng, core->sip_key, sizeof core->sip_key);
    rng_bytes(&core->rng, key, sizeof key);
    while (nonce == 0) /* zero means "first contact" in every datagram */
        nonce = rng_u64(&core->rng);
    effects_init(&core->effects, &core->budget);
    retry_init(&core->retry, config->retry_hints, key);
    sessions_init(core);
    event_stream_init(core);
    tombs_init(core);
    park_init(core);
    rate_init(core);
    relay_init(core);
    serve_init(core);
    entry_init(core);
    int rc = mesh_keys_init(m, config);
    if (rc == 0)
        rc = owner_init(core);
    if (rc == 0)
        rc = tasks_init(core);
    if (rc == 0)
        rc = copies_init(core);
    if (rc == 0)
        rc = evidence_init(core);
    if (rc == 0)
        rc = takeover_init(core);
    if (rc == 0)
        rc = fence_init(core);
    if (rc == 0)
        rc = succession_init(core);
    if (rc == 0)
        rc = handover_init(core);
    if (rc == 0 && config->has_identity)
        rc = identity_init(&m->identity, config->identity_secret, config->identity_certificate,
                           config->peer_ca, config->name, config->cluster);
    if (rc == 0)
        rc = mesh_make_swim(m, nonce, now_ms);
    if (rc == 0)
        rc = mesh_make_wire(m, nonce);
    if (rc < 0) {
        mesh_free(m);
        return rc;
    }
    *meshp = m;
    return 0;
}

void mesh_free(struct mesh *m)
{
    if (m == NULL)
        return;
    struct core *core = &m->core;
    entry_deinit(core);
    sessions_deinit(core);
    serve_deinit(core);
    owner_deinit(core);
    tombs_deinit(core);
    rate_deinit(core);
    tasks_deinit(core);
    copies_deinit(core);
    evidence_deinit(core);
    takeover_deinit(core);
    fence_deinit(core);
    succession_deinit(core);
    handover_deinit(core);
    park_deinit(core);
    relay_deinit(core);
    links_free(core->links);
    swim_free(core->swim);
    identity_deinit(&m->identity);
    ring_deinit(&core->ring);
    retry_deinit(&core->retry);
    effects_deinit(&core->effects);
    seal_deinit(&m->seal);
    mesh_keys_deinit(m);
    sodium_memzero(core, sizeof *core);
    free(m);
}

/* Before any fact that may bring an answer: did we stand still? Others may have taken us for dead
 * meanwhile, so what is answered from here on waits until they were asked. */
void mesh_note_time(struct mesh *m, uint64_t now_ms)
{
    struct core *core = &m->core;
    core->now_ms = now_ms;
    if (m->due_ms == MESH_NEVER || now_ms < m->due_ms + MESH_STALL_MS)
        return;
    core_tell(core, MESH_STOOD_STILL, core_self(core), MEMBER_ALIVE, now_ms - m->due_ms);
    m->due_ms = MESH_NEVER; /* said once */
    takeover_doubt_all(core);
    fence_doubt_all(core);
}

/* ---- wishes --------------------------------------------------------------------------------- */

void mesh_join(struct mesh *m, const struct mesh_addr *contact, uint64_t now_ms)
{
    swim_join(m->core.swim, contact, now_ms);
}

void mesh_tell_flags(struct mesh *m, bool serving, bool draining, uint64_t now_ms)
{
    swim_set_flags(m->core.swim, serving, draining, now_ms);
    entry_wake(&m->core);
}

void mesh_leave(struct mesh *m, uint64_t stay_ms, uint64_t until_ms, uint64_t now_ms)
{
    m->stay_until_ms = stay_ms < until_ms ? stay_ms : until_ms;
    m->leave_until_ms = until_ms;
    m->core.is_leaving = true;
    mesh_tell_flags(m, mesh_serves(m), true, now_ms);
    handover_begin(&m->core, until_ms);
}

/* ---- facts: clients and upstreams ----------------------------------------------------------- */

struct handle mesh_open(struct mesh *m, const struct mesh_request *request, uint64_t now_ms)
{
    mesh_note_time(m, now_ms);
    struct handle exchange = entry_open(&m->core, request, now_ms);
    if (m->has_told_left)
        entry_end_all(&m->core); /* nobody turns for it any more */
    return exchange;
}

void mesh_taken(struct mesh *m, struct handle exchange, size_t bytes, uint64_t now_ms)
{
    entry_taken(&m->core, exchange, bytes, now_ms);
}

void mesh_close(struct mesh *m, struct handle exchange, uint64_t now_ms)
{
    entry_close(&m->core, exchange, now_ms);
}

/* ---- facts: peers --------------------------------------------------------------------------- */

/* A stranger's datagram costs an AEAD and perhaps an answer: at most so many a second. */
static bool mesh_hears_stranger(struct mesh *m, uint64_t now_ms)
{
    if (now_ms - m->strangers_since_ms >= 1000) {
        m->strangers_since_ms = now_ms;
        m->strangers = 0;
    }
    return m->strangers++ < SWIM_STRANGERS_PER_S;
}

void mesh_datagram(struct mesh *m, const struct mesh_addr *from, struct slice sealed,
                   uint64_t now_ms)
{
    mesh_note_time(m, now_ms);
    struct core *core = &m->core;
    struct seal_sender sender;
    size_t length = 0;
    core->stats.datagrams_in++;
    switch (seal_open(&m->seal, sealed, m->plain, &length, &sender)) {
    case SEAL_OPENED:
        core->heard_ms = now_ms;
        break;
    case SEAL_REPLAYED:
        core->stats.datagrams_replayed++;
        return;
    case SEAL_BAD:
    case SEAL_REFLECTED:
    case SEAL_OWN:
        core->stats.datagrams_bad++;
        return;
    }
    if (wire_datagram_read(&m->datagram, m->plain, length) < 0 ||
        m->datagram.sender.name != sender.name) {
        core->stats.datagrams_bad++;
        return;
    }
    /* one that names a former generation of ours is stale: it gets no answer and costs none */
    bool is_answered = m->datagram.target_nonce == 0 || m->datagram.kind == DATAGRAM_PING ||
                       m->datagram.target_nonce == view_self(core->view)->record->nonce;
    if (swim_sender(core->swim, &m->datagram, sender.nonce) == NULL && is_answered &&
        !mesh_hears_stranger(m, now_ms))
        return;
    swim_on_datagram(core->swim, from, &m->datagram, sender.nonce, now_ms);
}

struct handle mesh_link_accepted(struct mesh *m, const struct mesh_addr *from, uint64_t now_ms)
{
    return links_accepted(m->core.links, from, now_ms);
}

void mesh_link_up(struct mesh *m, struct handle link, uint64_t now_ms)
{
    mesh_note_time(m, now_ms);
    links_up(m->core.links, link, now_ms);
}

void mesh_link_bytes(struct mesh *m, struct handle link, struct slice sealed, uint64_t now_ms)
{
    mesh_note_time(m, now_ms);
    m->core.heard_ms = now_ms;
    links_bytes(m->core.links, link, sealed, now_ms);
}

void mesh_link_taken(struct mesh *m, struct handle link, size_t bytes, uint64_t now_ms)
{
    links_taken(m->core.links, link, bytes, now_ms);
}

void mesh_link_down(struct mesh *m, struct handle link, enum mesh_loss why, uint64_t now_ms)
{
    mesh_note_time(m, now_ms);
    if (why != MESH_LOSS_TIMEOUT)
        m->core.heard_ms = now_ms;
    links_down(m->core.links, link, why, now_ms);
}

/* ---- time ----------------------------------------------------------------------------------- */

/* Our sessions end first: who hears of it while a link to us can still be had knows that they do
 * not come back. */
static void mesh_end_sessions(struct mesh *m, uint64_t now_ms)
{
    struct core *core = &m->core;
    bool are_told = core->sessions.owned > 0 && view_others(core->view) > 0;
    m->farewell_ms = now_ms + (are_told ? MESH_LEAVE_TELL_MS : 0);
    serve_end_all(core, now_ms);
}

/* Streams that are held here end, and what nobody takes over; requests go on. */
static void mesh_end_streams(struct mesh *m, uint64_t now_ms)
{
    entry_leave(&m->core); /* also those that came since the last turn */
    if (handover_is_over(&m->core))
        serve_leave(&m->core, now_ms);
}

static void mesh_leave_now(struct mesh *m, uint64_t now_ms)
{
    struct core *core = &m->core;
    bool is_over = now_ms >= m->leave_until_ms;
    if (!core->is_leaving || m->has_told_left || now_ms < m->stay_until_ms)
        return;
    mesh_end_streams(m, now_ms);
    bool is_idle = handover_is_over(core) && serve_is_idle(core) && entry_is_idle(core);
    if (m->farewell_ms == MESH_NEVER && (is_over || is_idle))
        mesh_end_sessions(m, now_ms);
    bool is_served_out = now_ms >= m->farewell_ms && entry_is_idle(core); /* some came since */
    if (!m->is_leaving_swim && (is_over || is_served_out)) {
        m->is_leaving_swim = true;
        entry_end_all(core);
        swim_leave(core->swim, now_ms);
    }
    if (is_over || swim_has_left(core->swim)) {
        entry_end_all(core);
        m->has_told_left = true;
        core_tell(core, MESH_LEFT_MESH, core_self(core), MEMBER_LEFT, 0);
    }
}

void mesh_now(struct mesh *m, uint64_t now_ms)
{
    struct core *core = &m->core;
    mesh_note_time(m, now_ms);
    m->now_ms = now_ms;
    swim_set_load(core->swim, core->sessions.owned);
    swim_now(core->swim, now_ms);
    mesh_keys_now(m, now_ms);
    links_now(core->links, now_ms);
    owner_now(core, now_ms);
    tombs_now(core, now_ms);
    tasks_now(core, now_ms);
    evidence_now(core, now_ms);
    takeover_now(core, now_ms);
    fence_now(core, now_ms);
    succession_now(core, now_ms);
    copies_now(core, now_ms);
    handover_now(core, now_ms);
    serve_now(core, now_ms);
    entry_now(core, now_ms);
    mesh_leave_now(m, now_ms);
}

static uint64_t mesh_leave_deadline_ms(const struct mesh *m)
{
    if (!m->core.is_leaving || m->has_told_left)
        return MESH_NEVER;
    if (m->now_ms < m->stay_until_ms)
        return m->stay_until_ms;
    uint64_t wait_ms = (m->now_ms - m->stay_until_ms) / 16;
    if (wait_ms < MESH_LEAVE_POLL_MS)
        wait_ms = MESH_LEAVE_POLL_MS;
    if (wait_ms > MESH_LEAVE_POLL_MAX_MS)
        wait_ms = MESH_LEAVE_POLL_MAX_MS;
    uint64_t at_ms = m->now_ms + wait_ms;
    if (m->farewell_ms > m->now_ms && m->farewell_ms < at_ms)
        at_ms = m->farewell_ms;
    return at_ms < m->leave_until_ms ? at_ms : m->leave_until_ms;
}

uint64_t mesh_deadline_ms(const struct mesh *m)
{
    const struct core *core = &m->core;
    uint64_t deadlines[] = {
        swim_deadline_ms(core->swim), links_deadline_ms(core->links), owner_deadline_ms(core),
        tombs_deadline_ms(core),      tasks_deadline_ms(core),        evidence_deadline_ms(core),
        takeover_deadline_ms(core),   fence_deadline_ms(core),        succession_deadline_ms(core),
        copies_deadline_ms(core),     handover_deadline_ms(core),     serve_deadline_ms(core),
        entry_deadline_ms(core)};
    uint64_t first = mesh_leave_deadline_ms(m), keys_ms = mesh_keys_deadline_ms(m);
    if (keys_ms < first)
        first = keys_ms;
    for (size_t n = 0; n < sizeof deadlines / sizeof deadlines[0]; n++)
        if (deadlines[n] < first)
            first = deadlines[n];
    return first;
}

/* ---- the turn: what modules have to say to each other, then what the host has to do --------- */

static void mesh_on_view_change(struct mesh *m, const struct view_change *change, uint64_t now_ms)
{
    struct core *core = &m->core;
    core->view_changed_ms = now_ms;
    owner_on_member(core, change->from, change->to);
    core_tell(core, MESH_MEMBER_CHANGED, change->id, change->to, 0);
    bool is_gone = change->to == MEMBER_DEAD || change->to == MEMBER_LEFT;
    /* who left closes its links itself: what it said last, as of sessions it gave away, is read */
    if (change->to == MEMBER_DEAD && !peer_id_equal(change->id, core_self(core)))
        links_forget(core->links, change->id, now_ms);
    if (is_gone && !peer_id_equal(change->id, core_self(core)))
        serve_entry_gone(core, change->id, now_ms);
    if (is_gone)
        tombs_on_dead(core, change->id, now_ms);
    else if (!member_state_is_living(change->from))
        tombs_on_came(core, change->id, now_ms);
    if (change->to != MEMBER_SUSPECT)
        succession_on_view(core, now_ms);
    copies_on_view(core, now_ms);
    takeover_wake(core);
    entry_wake(core);
}

static void mesh_on_swim(struct mesh *m, const struct swim_event *event)
{
    struct core *core = &m->core;
    static const enum mesh_change changes[] = {[SWIM_JOINED] = MESH_JOINED,
                                               [SWIM_NAME_WAITING] = MESH_NAME_WAITING,
                                               [SWIM_NAME_TAKEN] = MESH_NAME_TAKEN,
                                               [SWIM_SUPERSEDED] = MESH_SUPERSEDED_BY};
    entry_wake(core);
    if (event->kind != SWIM_LEFT)
        core_tell(core, changes[event->kind], event->peer, MEMBER_ALIVE, 0);
}

static void mesh_meet(struct mesh *m, const struct swim_wish *wish, uint64_t now_ms)
{
    struct core *core = &m->core;
    struct wire_message sums = {.kind = WIRE_BUCKETS_ARE};
    if (peer_id_is_nobody(wish->with) || !links_has(core->links, wish->with)) {
        links_meet(core->links, wish->with, &wish->addr, now_ms);
        return;
    }
    swim_exchange_begin(core->swim, wish->with, &sums);
    (void)links_tell(core->links, wish->with, &wish->addr, &sums, now_ms);
}

/* Membership wants to know before it takes a suspect for dead. */
static void mesh_check(struct mesh *m, const struct swim_check *check, uint64_t now_ms)
{
    int rc = links_reach(m->core.links, check->peer, &check->addr, now_ms);
    if (rc != 0)
        swim_on_reached(m->core.swim, check->peer, rc > 0, now_ms);
}

/* What membership has to say: changes, events, views for others, wishes. */
static bool mesh_pump_members(struct mesh *m, uint64_t now_ms)
{
    struct core *core = &m->core;
    struct swim_event event;
    struct swim_wish wish;
    struct swim_check check;
    struct view_change change;
    struct peer_id to;
    if (view_next_change(core->view, &change))
        mesh_on_view_change(m, &change, now_ms);
    else if (swim_next_event(core->swim, &event))
        mesh_on_swim(m, &event);
    else if (swim_next_link_message(core->swim, &to, &m->message, m->records))
        (void)links_tell(core->links, to, NULL, &m->message, now_ms);
    else if (swim_next_wish(core->swim, &wish))
        mesh_meet(m, &wish, now_ms);
    else if (swim_next_check(core->swim, &check))
        mesh_check(m, &check, now_ms);
    else
        return false;
    links_set_self(core->links, core_self(core));
    return true;
}

/* One step of what is between the modules; false: nothing left. */
static bool mesh_pump(struct mesh *m, uint64_t now_ms)
{
    struct core *core = &m->core;
    const struct links_event *link_event = links_next_event(core->links);
    if (link_event != NULL)
        mesh_on_links(core, link_event, now_ms);
    else if (mesh_pump_members(m, now_ms))
        return true;
    else if (core->takeover.is_woken)
        takeover_now(core, now_ms);
    else if (core->entry.is_woken)
        entry_now(core, now_ms);
    else
        return false;
    return true;
}

static bool mesh_next_datagram(struct mesh *m, struct mesh_effect *effect)
{
    struct swim_send send;
    struct wire_writer w;
    while (swim_next_send(m->core.swim, &send)) {
        if (swim_write_send(m->core.swim, &send, &w, m->plain, sizeof m->plain) < 0)
            continue;
        const struct seal_key *key = mesh_key_for(m, send.to);
        size_t length = seal_datagram(&m->seal, key, m->plain, w.length, m->sealed);
        if (length == 0)
            continue;
        memset(effect, 0, sizeof *effect);
        effect->kind = MESH_DATAGRAM;
        effect->wire.to = send.addr;
        effect->wire.sealed = slice_borrow(m->sealed, length);
        m->core.stats.datagrams_out++;
        return true;
    }
    return false;
}

/* Handles may have been closed since the effect was queued. */
static bool mesh_may_leave(struct mesh *m, const struct mesh_effect *effect)
{
    switch (effect->kind) {
    case MESH_REPLY_HEAD:
    case MESH_REPLY_EVENT:
    case MESH_REPLY_DATA:
        return entry_may_tell(&m->core, effect->handle, false);
    case MESH_REPLY_END:
        return entry_may_tell(&m->core, effect->handle, true);
    case MESH_UP_OPEN:
    case MESH_UP_SEND:
    case MESH_UP_LISTEN:
    case MESH_UP_ROOM:
    case MESH_UP_CANCEL:
    case MESH_UP_CLOSE:
        return upstream_at(&m->core, effect->handle) != NULL;
    case MESH_DATAGRAM:
    case MESH_LINK_DIAL:
    case MESH_LINK_BYTES:
    case MESH_LINK_CLOSE:
    case MESH_CHANGED:
        return true;
    }
    return true;
}

static bool mesh_next_failpoint(struct mesh *m, struct mesh_effect *effect)
{
    struct failpoint *failpoint = &m->core.failpoint;
    if (!failpoint->is_hit || failpoint->is_told)
        return false;
    failpoint->is_told = true;
    memset(effect, 0, sizeof *effect);
    effect->kind = MESH_CHANGED;
    effect->changed.what = MESH_FAILPOINT;
    return true;
}

bool mesh_next_effect(struct mesh *m, struct mesh_effect *effect, uint64_t now_ms)
{
    struct core *core = &m->core;
    if (core->failpoint.is_told)
        return false; /* it is dead */
    do {
        while (effects_pop(&core->effects, effect))
            if (mesh_may_leave(m, effect) && !mesh_is_kept_back(m, effect, now_ms))
                return true;
    } while (mesh_pump(m, now_ms));
    /* last: a datagram carries, and a record seals, all that the turn brought */
    if (mesh_next_datagram(m, effect) || links_next_effect(core->links, effect, now_ms))
        return true;
    m->due_ms = mesh_deadline_ms(m);
    if (m->due_ms < core->now_ms)
        m->due_ms = core->now_ms;
    return mesh_next_failpoint(m, effect);
}

void mesh_fail_at(struct mesh *m, const char *name, uint32_t skip)
{
    if (!m->core.failpoint.is_hit) /* else it is dead already */
        m->core.failpoint = (struct failpoint){.name = name, .left = skip};
}
