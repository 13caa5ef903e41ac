/* session.c - the table of sessions owned here, and the placement of messages. */
#include "mesh/session/session.h"

#include <errno.h>
#include <stdlib.h>

#include "mesh/session/core.h"

#define SESSION_KEY_AT 8 /* in the random part of an id: the byte before it is the shard's */
#define SESSION_KEY_BYTES 8
#define SESSION_SHOWN_MAX 48 /* bytes of an id that a question gets from us */

void sessions_init(struct core *core)
{
    struct sessions *s = &core->sessions;
    pool_init(&s->pool, sizeof(struct session),
              core->config.sessions_max * (1 + COPIES_HOLDERS_MAX));
    heap_init(&s->expiries);
    table_init(&s->by_id, SESSION_KEY_BYTES, core->sip_key);
    interns_init(&s->interns, 2 * s->pool.max, core->sip_key);
}

void sessions_deinit(struct core *core)
{
    struct sessions *s = &core->sessions;
    struct handle h;
    for (uint32_t slot = 0; slot < pool_span(&s->pool); slot++) {
        struct session *session = pool_slot(&s->pool, slot, &h);
        if (session != NULL)
            session_free(core, session);
    }
    heap_deinit(&s->expiries);
    table_deinit(&s->by_id);
    interns_deinit(&s->interns);
    pool_deinit(&s->pool);
}

/* Eight random bytes of an id tell our own sessions apart; the whole of it is compared then. */
static const uint8_t *session_key(const struct session_id *id)
{
    return id->bytes + SESSION_KEY_AT;
}

static struct session *session_look_up(struct core *core, const struct session_id *id)
{
    struct sessions *s = &core->sessions;
    uint32_t *recent = &s->recent[session_key(id)[0] % SESSION_RECENT];
    uint32_t slot = 0;
    struct handle h;
    struct session *session = pool_slot(&s->pool, *recent, &h);
    if (session != NULL && session_id_equal(&session->id, id))
        return session; /* no two have the same id */
    if (!table_get(&s->by_id, session_key(id), &slot))
        return NULL;
    *recent = slot;
    session = pool_slot(&s->pool, slot, &h);
    return session != NULL && session_id_equal(&session->id, id) ? session : NULL;
}

struct session *session_find(struct core *core, const struct session_id *id)
{
    struct session *session = session_look_up(core, id);
    return session != NULL && !session->is_copy ? session : NULL;
}

struct session *session_find_copy(struct core *core, const struct session_id *id)
{
    struct session *session = session_look_up(core, id);
    return session != NULL && session->is_copy ? session : NULL;
}

/* Activity renews the idle time; the absolute one stands. Of a session that came from elsewhere
 * both may have begun before our clock did: that they wrap around does no harm to their sums. */
static uint64_t session_end_ms(const struct core *core, const struct session *session)
{
    uint64_t idle = session->used_ms + core->config.session_idle_ms;
    uint64_t absolute = session->opened_ms + core->config.session_max_ms;
    return idle < absolute ? idle : absolute;
}

/* Into the tables under its id. NULL: the cap, or no memory. */
static struct session *session_make(struct core *core, const struct session_id *id, uint64_t now_ms)
{
    struct handle h;
    struct session *session = pool_take(&core->sessions.pool, &h);
    if (session == NULL)
        return NULL;
    session->self = h;
    session->id = *id;
    session->opened_ms = session->used_ms = now_ms;
    session->doubt = core->fence.doubt;
    list_init(&session->answers);
    list_init(&session->questions);
    list_init(&session->streams);
    list_init(&session->subscriptions);
    if (table_put(&core->sessions.by_id, session_key(&session->id), h.slot) < 0)
        goto fail;
    if (heap_set(&core->sessions.expiries, &session->expiry, session_end_ms(core, session)) < 0) {
        table_remove(&core->sessions.by_id, session_key(&session->id));
        goto fail;
    }
    return session;
fail:
    pool_give(&core->sessions.pool, h);
    return NULL;
}

struct session *session_new(struct core *core, const struct principal *who, uint32_t who_key,
                            uint64_t now_ms)
{
    struct session_id id;
    if (core->sessions.owned >= core->config.sessions_max)
        return NULL;
    /* under the key that binds it: who comes back is hashed with the key that the id names */
    key_mint(&id, &core->keys, principal_is_none(who) ? 0 : who_key, view_home_tag(core_self(core)),
             &core->rng);
    struct session *session = session_make(core, &id, now_ms);
    if (session == NULL)
        return NULL;
    core->sessions.owned++;
    session->who = *who;
    session->epoch = (struct mesh_epoch){1, core_self(core)};
    return session;
}

struct session *session_new_copy(struct core *core, const struct session_id *id, uint64_t now_ms)
{
    if (session_look_up(core, id) != NULL)
        return NULL;
    struct session *copy = session_make(core, id, now_ms);
    if (copy != NULL)
        copy->is_copy = true;
    return copy;
}

void session_own(struct core *core, struct session *session, bool is_ours)
{
    if (session->is_copy != is_ours)
        return;
    copies_leave(core, session);
    core->copies.bytes += is_ours ? -session->log_bytes : session->log_bytes;
    session->is_copy = !is_ours;
    if (!is_ours)
        event_stream_not_ours(session);
    session->version = 0; /* of nobody's record */
    core->sessions.owned += is_ours ? 1u : UINT32_MAX;
}

void session_drop_subscriptions(struct session *session)
{
    while (!list_is_empty(&session->subscriptions)) {
        struct subscription *subscription =
            container_of(list_first(&session->subscriptions), struct subscription, in_session);
        list_remove(&subscription->in_session);
        slice_drop(&subscription->uri);
        free(subscription);
    }
    session->subscriptions_count = 0;
}

static void session_drop_question(struct session *session, struct question *question)
{
    list_remove(&question->in_session);
    session->questions_count--;
    slice_drop(&question->id);
    slice_drop(&question->given_id);
    free(question);
}

void session_drop_questions(struct session *session)
{
    while (!list_is_empty(&session->questions))
        session_drop_question(
            session, container_of(list_first(&session->questions), struct question, in_session));
}

void session_free(struct core *core, struct session *session)
{
    while (!list_is_empty(&session->answers)) /* they arrive without it */
        list_remove(list_first(&session->answers));
    copies_leave(core, session);
    session_drop_questions(session);
    event_stream_free_all(core, session);
    session_drop_subscriptions(session);
    free(session->trusted);
    intern_drop(&core->sessions.interns, &session->params);
    intern_drop(&core->sessions.interns, &session->result);
    slice_drop(&session->level);
    takeover_forget(core, session);
    fence_forget(core, session);
    succession_unclaim(core, session);
    if (!session->is_copy)
        core->sessions.owned--;
    heap_remove(&core->sessions.expiries, &session->expiry);
    table_remove(&core->sessions.by_id, session_key(&session->id));
    pool_give(&core->sessions.pool, session->self);
}

void session_touch(struct core *core, struct session *session, uint64_t now_ms)
{
    (void)core;
    session->used_ms = now_ms; /* the heap learns of it when the old deadline has come */
}

/* Somebody waits for one of its calls, or holds its stream. */
static bool session_is_in_use(struct core *core, const struct session *session)
{
    struct upstream *up = upstream_at(core, session->up);
    if (up == NULL)
        return false;
    LIST_EACH (at, &up->calls)
        if (call_has_reader(container_of(at, struct call, by_up)))
            return true;
    return false;
}

void session_left(struct core *core, const struct session *session, uint64_t now_ms,
                  uint64_t *idle_ms, uint64_t *absolute_ms)
{
    uint64_t used_ms = session_is_in_use(core, session) ? 0 : now_ms - session->used_ms;
    uint64_t age_ms = now_ms - session->opened_ms;
    uint64_t idle_max_ms = core->config.session_idle_ms, max_ms = core->config.session_max_ms;
    *idle_ms = used_ms < idle_max_ms ? idle_max_ms - used_ms : 0;
    *absolute_ms = age_ms < max_ms ? max_ms - age_ms : 0;
}

void session_set_left(struct core *core, struct session *session, uint64_t idle_ms,
                      uint64_t absolute_ms, uint64_t now_ms)
{
    uint64_t idle_max_ms = core->config.session_idle_ms, max_ms = core->config.session_max_ms;
    /* whether it was used meanwhile is told by the next comparison */
    if (idle_ms < idle_max_ms)
        idle_ms += COPIES_DIGEST_MS;
    session->used_ms = now_ms - idle_max_ms + (idle_ms < idle_max_ms ? idle_ms : idle_max_ms);
    session->opened_ms = now_ms - max_ms + (absolute_ms < max_ms ? absolute_ms : max_ms);
    (void)heap_set(&core->sessions.expiries, &session->expiry, session_end_ms(core, session));
}

int session_keep_handshake(struct core *core, struct session *session, struct slice params,
                           struct slice result)
{
    struct interns *interns = &core->sessions.interns;
    struct slice kept_params, kept_result;
    if (intern_keep(interns, &kept_params, params, &core->budget) < 0)
        return -ENOMEM;
    if (intern_keep(interns, &kept_result, result, &core->budget) < 0) {
        intern_drop(interns, &kept_params);
        return -ENOMEM;
    }
    intern_drop(interns, &session->params);
    intern_drop(interns, &session->result);
    session->params = kept_params;
    session->result = kept_result;
    return 0;
}

struct session *session_next_expired(struct core *core, uint64_t now_ms)
{
    struct heap_node *node;
    while ((node = heap_first(&core->sessions.expiries)) != NULL && node->at_ms <= now_ms) {
        struct session *session = container_of(node, struct session, expiry);
        if (session_is_in_use(core, session))
            session_touch(core, session, now_ms);
        uint64_t end_ms = session_end_ms(core, session);
        if (end_ms <= now_ms)
            return session;
        if (heap_set(&core->sessions.expiries, node, end_ms) < 0)
            return session;
    }
    return NULL;
}

uint64_t session_mark(const struct session *session)
{
    struct mesh_epoch epoch = session->epoch;
    uint64_t life = epoch.owner.generation * UINT64_C(0x9e3779b97f4a7c15);
    if (epoch.counter == 1)
        return 1; /* its home's: whoever has another one took it over */
    return epoch.counter << SESSION_MARK_BITS | (epoch.owner.name >> 52) << 4 | life >> 60;
}

/* Its mark is in it: no id of another upstream's question is like it. */
static size_t session_name_question(struct session *session, char text[SESSION_SHOWN_MAX])
{
    size_t length = 2;
    memcpy(text, "\"m", 2);
    length += rpc_write_number(text + length, session_mark(session));
    text[length++] = '-';
    length += rpc_write_number(text + length, ++session->questions_named);
    text[length++] = '"';
    return length;
}

/* A question that its client knows by this id. NULL: no memory. */
static struct question *session_add_question(struct core *core, struct session *session,
                                             struct slice id, struct handle asker)
{
    /* a client may leave some unanswered for ever: the oldest gives way */
    if (session->questions_count >= SESSION_QUESTIONS_MAX)
        session_drop_question(
            session, container_of(list_first(&session->questions), struct question, in_session));
    struct question *question = calloc(1, sizeof *question);
    if (question == NULL)
        return NULL;
    id.buf = NULL; /* a few bytes must not pin the message */
    if (id.length <= SESSION_QUESTION_ID_MAX)
        (void)slice_keep(&question->id, id, &core->budget);
    question->id_hash = rpc_id_hash(core->sip_key, id);
    question->asker = asker;
    list_push_back(&session->questions, &question->in_session);
    session->questions_count++;
    return question;
}

int session_take_question(struct core *core, struct session *copy, struct slice id)
{
    return session_add_question(core, copy, id, (struct handle){0}) == NULL ? -ENOMEM : 0;
}

int session_ask(struct core *core, struct session *session, struct slice id, struct handle asker,
                struct slice *shown)
{
    char text[SESSION_SHOWN_MAX];
    struct slice given = id;
    *shown = (struct slice){0};
    if (session->upstreams > 1)
        id = slice_borrow(text, session_name_question(session, text));
    struct question *question = session_add_question(core, session, id, asker);
    if (question == NULL)
        return -ENOBUFS;
    if (session->upstreams <= 1)
        return 0;
    given.buf = NULL;
    *shown = question->id;
    if (shown->length > 0 && slice_keep(&question->given_id, given, &core->budget) == 0)
        return 0;
    session_drop_question(session, question);
    *shown = (struct slice){0};
    return -ENOBUFS;
}

const struct question *session_question(struct core *core, const struct session *session,
                                        struct slice given_id)
{
    uint64_t hash = rpc_id_hash(core->sip_key, given_id);
    LIST_EACH (at, &session->questions) {
        const struct question *question = container_of(at, struct question, in_session);
        uint64_t given = question->given_id.length == 0
                             ? question->id_hash
                             : rpc_id_hash(core->sip_key, question->given_id);
        if (given == hash)
            return question;
    }
    return NULL;
}

bool session_answered(struct session *session, uint64_t id_hash, struct handle *asker,
                      struct slice *given_id)
{
    LIST_EACH (at, &session->questions) {
        struct question *question = container_of(at, struct question, in_session);
        if (question->id_hash != id_hash)
            continue;
        *asker = question->asker;
        *given_id = question->given_id;
        question->given_id = (struct slice){0};
        session_drop_question(session, question);
        return true;
    }
    return false;
}

/* The open request with that id, or the one that gave that progress token. */
static struct call *session_call_by(struct core *core, struct session *session, uint64_t id_hash,
                                    uint64_t token_hash)
{
    struct upstream *up = upstream_at(core, session->up);
    if (up == NULL)
        return NULL;
    LIST_EACH (at, &up->calls) {
        struct call *call = container_of(at, struct call, by_up);
        if (call->rpc.kind != RPC_REQUEST || call->is_ended)
            continue;
        if (id_hash != 0 ? call_id_hash(core, call) == id_hash
                         : token_hash != 0 && call->token_hash == token_hash)
            return call;
    }
    return NULL;
}

struct call *session_open_call(struct core *core, struct session *session, uint64_t id_hash)
{
    return session_call_by(core, session, id_hash, 0);
}

/* The one request in flight, if it is the only one: what the upstream says now is about it. */
static struct call *session_only_call(struct core *core, struct session *session)
{
    struct upstream *up = upstream_at(core, session->up);
    struct call *only = NULL;
    if (up == NULL)
        return NULL;
    LIST_EACH (at, &up->calls) {
        struct call *call = container_of(at, struct call, by_up);
        if (call->want != MESH_CALL || call->rpc.kind != RPC_REQUEST || call->is_ended ||
            call->is_own || call->up_call == 0)
            continue;
        if (only != NULL)
            return NULL;
        only = call;
    }
    return only;
}

struct call *session_reader(struct core *core, const struct session *session)
{
    return session->own == NULL ? NULL : call_at(core, session->own->reader);
}

/* A request with an answer stream of its own; a session of HTTP+SSE has one stream for all. */
static enum session_place session_place_on(const struct session *session, struct call *call,
                                           struct call **callp)
{
    *callp = call;
    return call == NULL || session->is_single ? SESSION_PLACE_OWN : SESSION_PLACE_CALL;
}

enum session_place session_place(struct core *core, struct session *session,
                                 const struct rpc_message *rpc, struct slice text,
                                 struct call **callp)
{
    uint64_t hash = 0;
    switch (rpc->kind) {
    case RPC_RESPONSE:
    case RPC_ERROR:
        if (rpc->id.length == 0)
            return SESSION_PLACE_NOWHERE;
        hash = rpc_id_hash(core->sip_key, slice_part(text, rpc->id));
        *callp = session_call_by(core, session, hash, 0);
        /* what it was not given yet, it does not answer */
        return *callp != NULL && (*callp)->up_call != 0 ? SESSION_PLACE_CALL
                                                        : SESSION_PLACE_NOWHERE;
    case RPC_NOTIFICATION:
        if (rpc->method != RPC_PROGRESS || rpc->progress_token.length == 0)
            break;
        hash = rpc_id_hash(core->sip_key, slice_part(text, rpc->progress_token));
        /* a task's token outlives its request (MCP 2025-11-25, tasks) */
        return session_place_on(session, session_call_by(core, session, 0, hash), callp);
    case RPC_REQUEST:
        break;
    case RPC_BAD:
    case RPC_BATCH:
        return SESSION_PLACE_NOWHERE;
    }
    /* What comes before the answer to initialize waits: some servers speak first, and clients
     * know no session yet (mcp.md §4.2 rule 8). */
    if (!session->is_announced)
        return SESSION_PLACE_OWN;
    return session_place_on(session, session_only_call(core, session), callp);
}
