/* tasks.c - where tasks run. */
#include "mesh/session/tasks.h"

#include <errno.h>
#include <stdlib.h>

#include "mesh/session/core.h"

/* An answer that is kept back until one of the task's homes knows. */
struct task_wait {
    struct list in_waits;
    uint64_t hash, until_ms;
    struct handle call;
};

int tasks_init(struct core *core)
{
    struct tasks *t = &core->tasks;
    memset(t, 0, sizeof *t);
    list_init(&t->waits);
    newest_init(&t->known, sizeof(uint64_t), sizeof(struct task), TASKS_MAX, core->sip_key);
    t->searches = calloc(TASKS_SEARCHES_MAX, sizeof *t->searches);
    return t->searches == NULL ? -ENOMEM : 0;
}

static void wait_free(struct tasks *t, struct task_wait *wait)
{
    list_remove(&wait->in_waits);
    t->waits_count--;
    free(wait);
}

void tasks_deinit(struct core *core)
{
    struct tasks *t = &core->tasks;
    while (t->waits_count > 0)
        wait_free(t, container_of(list_first(&t->waits), struct task_wait, in_waits));
    newest_deinit(&t->known);
    free(t->searches);
}

/* ---- the table ------------------------------------------------------------------------------ */

static struct task *task_of(const struct tasks *t, uint64_t hash)
{
    return newest_find(&t->known, &hash);
}

/* What is said last is true: an id that came anew is another task. NULL: no memory. */
static struct task *task_note(struct tasks *t, uint64_t hash, struct peer_id peer, uint64_t now_ms)
{
    struct task *task = newest_put(&t->known, &hash);
    if (task == NULL)
        return NULL;
    task->peer = peer;
    task->at_ms = now_ms;
    return task;
}

/* Who runs it, if that is known and lives. */
static bool task_peer(const struct core *core, uint64_t hash, struct peer_id *peer, uint64_t now_ms)
{
    const struct task *task = task_of(&core->tasks, hash);
    if (task == NULL || task->at_ms + TASKS_LIFE_MS <= now_ms || !core_is_living(core, task->peer))
        return false;
    *peer = task->peer;
    return true;
}

bool tasks_is_here(const struct core *core, uint64_t hash)
{
    const struct task *task = task_of(&core->tasks, hash);
    return task != NULL && peer_id_equal(task->peer, core_self(core));
}

static size_t task_homes(struct core *core, uint64_t hash, struct peer_id homes[TASKS_HOMES])
{
    (void)ring_sync(&core->ring, core->view, core->config.rings);
    return ring_walk(&core->ring, ring_point(&hash, sizeof hash), homes, TASKS_HOMES);
}

static bool task_tell(struct core *core, struct peer_id to, enum wire_kind kind, uint64_t hash,
                      struct peer_id peer, uint32_t number, uint64_t now_ms)
{
    struct wire_message m = {.kind = kind};
    const struct mesh_addr *addr = core_addr_of(core, to);
    m.task.hash = hash;
    m.task.peer = peer;
    m.task.number = number;
    return addr != NULL && links_tell(core->links, to, addr, &m, now_ms) >= 0;
}

/* ---- at the peer that runs it --------------------------------------------------------------- */

static bool wait_new(struct tasks *t, uint64_t hash, struct handle call, uint64_t now_ms)
{
    struct task_wait *wait = t->waits_count < TASKS_WAITS_MAX ? malloc(sizeof *wait) : NULL;
    if (wait == NULL)
        return false;
    *wait = (struct task_wait){.hash = hash, .until_ms = now_ms + TASKS_RELEASE_MS, .call = call};
    list_push_back(&t->waits, &wait->in_waits);
    t->waits_count++;
    return true;
}

bool tasks_learn(struct core *core, uint64_t hash, struct handle call, uint64_t now_ms)
{
    struct tasks *t = &core->tasks;
    struct peer_id homes[TASKS_HOMES], self = core_self(core);
    bool is_known = tasks_is_here(core, hash), is_written = false;
    struct task *task = task_note(t, hash, self, now_ms);
    if (task == NULL || (is_known && task->told_ms + TASKS_AGAIN_MS > now_ms))
        return false;
    task->told_ms = now_ms;
    core->stats.tasks_learned += !is_known;
    uint32_t told = 0;
    size_t count = task_homes(core, hash, homes);
    for (size_t n = 0; n < count; n++) {
        if (peer_id_equal(homes[n], self))
            is_written = true; /* whoever asks its ring home asks us */
        else
            told += task_tell(core, homes[n], WIRE_TASK_IS, hash, self, 0, now_ms);
    }
    if (is_known || is_written)
        return false;
    if (told > 0 && wait_new(t, hash, call, now_ms))
        return true;
    core->stats.tasks_unwritten++;
    return false;
}

/* One of its homes knows: whoever waits for that goes on. Answers come nearly in the order of
 * their questions, so the one that is looked for stands near the front. */
static void tasks_on_written(struct core *core, uint64_t hash)
{
    struct tasks *t = &core->tasks;
    LIST_EACH_SAFE (at, next, &t->waits) {
        struct task_wait *wait = container_of(at, struct task_wait, in_waits);
        if (wait->hash != hash)
            continue;
        struct handle call = wait->call;
        wait_free(t, wait);
        serve_release(core, call);
    }
}

/* ---- at a peer that is asked for it --------------------------------------------------------- */

static struct task_search *search_of(struct tasks *t, uint64_t hash)
{
    for (uint32_t n = 0; n < TASKS_SEARCHES_MAX; n++)
        if (t->searches[n].is_used && t->searches[n].hash == hash)
            return &t->searches[n];
    return NULL;
}

static void search_ask(struct core *core, struct task_search *search, struct peer_id peer,
                       uint64_t now_ms)
{
    if (!peer_id_equal(peer, core_self(core)) &&
        task_tell(core, peer, WIRE_TASK_WHERE, search->hash, (struct peer_id){0}, search->number,
                  now_ms))
        search->asked++;
}

static void search_end(struct core *core, struct task_search *search, uint64_t now_ms)
{
    search->is_over = true;
    search->until_ms = now_ms + TASKS_NEGATIVE_MS;
    core->tasks.searching--;
    entry_wake(core);
}

/* At most so many a second ask everybody: ids that nobody knows cost their sender nothing. */
static bool search_may_widen(struct tasks *t, uint64_t now_ms)
{
    if (now_ms - t->rate_since_ms >= 1000) {
        t->rate_since_ms = now_ms;
        t->rate_count = 0;
    }
    return t->rate_count++ < TASKS_WIDE_PER_S;
}

/* The homes do not know, or are silent: our rings may differ, but the one that runs it knows. */
static void search_widen(struct core *core, struct task_search *search, uint64_t now_ms)
{
    search->is_wide = true;
    search->wide_ms = MESH_NEVER;
    if (!search_may_widen(&core->tasks, now_ms))
        return;
    for (size_t n = 0; n < view_count(core->view); n++) {
        const struct mesh_member *member = view_at(core->view, n);
        bool was_asked = !member_is_living(member);
        for (uint8_t k = 0; k < search->homes_count; k++)
            was_asked = was_asked || peer_id_equal(search->homes[k], member->record->id);
        if (!was_asked)
            search_ask(core, search, member->record->id, now_ms);
    }
}

/* All that were asked have answered. */
static void search_go_on(struct core *core, struct task_search *search, uint64_t now_ms)
{
    if (search->answered >= search->asked && !search->is_wide)
        search_widen(core, search, now_ms);
    if (search->answered >= search->asked)
        search_end(core, search, now_ms);
}

static void search_begin(struct core *core, struct task_search *search, uint64_t hash,
                         uint64_t now_ms)
{
    struct tasks *t = &core->tasks;
    if (search == NULL) {
        search = &t->searches[t->searches_next++ % TASKS_SEARCHES_MAX];
        if (search->is_used && !search->is_over)
            t->searching--; /* the oldest gives way: who waits for it asks anew */
    }
    if (++t->numbers == 0)
        t->numbers = 1; /* zero acknowledges */
    *search = (struct task_search){.hash = hash,
                                   .number = t->numbers,
                                   .wide_ms = now_ms + TASKS_HOMES_MS,
                                   .until_ms = now_ms + TASKS_SEARCH_MS,
                                   .is_used = true};
    t->searching++;
    search->homes_count = (uint8_t)task_homes(core, hash, search->homes);
    for (uint8_t n = 0; n < search->homes_count; n++)
        search_ask(core, search, search->homes[n], now_ms);
    search_go_on(core, search, now_ms);
}

enum tasks_verdict tasks_find(struct core *core, uint64_t hash, struct peer_id *peer,
                              uint64_t now_ms)
{
    if (task_peer(core, hash, peer, now_ms))
        return TASKS_AT;
    struct task_search *search = search_of(&core->tasks, hash);
    if (search != NULL && !search->is_over)
        return TASKS_ASKING;
    if (search != NULL && search->until_ms > now_ms)
        return TASKS_NOBODY;
    search_begin(core, search, hash, now_ms);
    search = search_of(&core->tasks, hash);
    return search->is_over ? TASKS_NOBODY : TASKS_ASKING;
}

static void tasks_on_answer(struct core *core, const struct wire_message *m, uint64_t now_ms)
{
    struct task_search *search = search_of(&core->tasks, m->task.hash);
    if (search == NULL || search->is_over || search->number != m->task.number)
        return;
    search->answered++;
    if (core_is_living(core, m->task.peer) &&
        task_note(&core->tasks, m->task.hash, m->task.peer, now_ms) != NULL)
        search_end(core, search, now_ms);
    else
        search_go_on(core, search, now_ms);
}

/* ---- both ----------------------------------------------------------------------------------- */

void tasks_on_message(struct core *core, struct peer_id from, const struct wire_message *m,
                      uint64_t now_ms)
{
    struct peer_id peer = {0};
    uint64_t hash = m->task.hash;
    if (m->kind == WIRE_TASK_IS) {
        if (task_note(&core->tasks, hash, m->task.peer, now_ms) != NULL)
            (void)task_tell(core, from, WIRE_TASK_AT, hash, m->task.peer, 0, now_ms);
    } else if (m->kind == WIRE_TASK_WHERE) {
        (void)task_peer(core, hash, &peer, now_ms);
        (void)task_tell(core, from, WIRE_TASK_AT, hash, peer, m->task.number, now_ms);
    } else if (m->task.number == 0) {
        tasks_on_written(core, hash);
    } else {
        tasks_on_answer(core, m, now_ms);
    }
}

void tasks_now(struct core *core, uint64_t now_ms)
{
    struct tasks *t = &core->tasks;
    while (!list_is_empty(&t->waits)) {
        struct task_wait *wait = container_of(list_first(&t->waits), struct task_wait, in_waits);
        if (wait->until_ms > now_ms)
            break;
        struct handle call = wait->call;
        wait_free(t, wait);
        core->stats.tasks_unwritten++;
        serve_release(core, call);
    }
    for (uint32_t n = 0; t->searching > 0 && n < TASKS_SEARCHES_MAX; n++) {
        struct task_search *search = &t->searches[n];
        if (!search->is_used || search->is_over)
            continue;
        if (search->until_ms <= now_ms) {
            search_end(core, search, now_ms);
        } else if (search->wide_ms <= now_ms) {
            search_widen(core, search, now_ms);
            search_go_on(core, search, now_ms);
        }
    }
}

uint64_t tasks_deadline_ms(const struct core *core)
{
    const struct tasks *t = &core->tasks;
    const struct list *first = list_first(&t->waits);
    uint64_t deadline =
        first == NULL ? MESH_NEVER : container_of(first, struct task_wait, in_waits)->until_ms;
    for (uint32_t n = 0; t->searching > 0 && n < TASKS_SEARCHES_MAX; n++) {
        const struct task_search *search = &t->searches[n];
        if (!search->is_used || search->is_over)
            continue;
        if (search->until_ms < deadline)
            deadline = search->until_ms;
        if (search->wide_ms < deadline)
            deadline = search->wide_ms;
    }
    return deadline;
}
