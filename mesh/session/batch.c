/* batch.c - the entries of a batch, one by one. Their texts are read here for a second time: what
 * was found at the edge says only that each is sound. */
#include "mesh/session/batch.h"

#include "mesh/session/core.h"
#include "mesh/session/upcall.h"

static struct call *batch_of(struct core *core, const struct call *entry)
{
    return call_at(core, entry->batch);
}

/* The last answer is the last event. */
static bool batch_is_last(const struct call *batch)
{
    return batch->entries_open == 1 && batch->is_given;
}

void batch_add(struct core *core, struct call *entry, struct slice text, bool answers,
               uint64_t now_ms)
{
    struct call *batch = batch_of(core, entry);
    if (batch == NULL)
        return;
    entry->is_answered = entry->is_answered || answers;
    if (answers && batch_is_last(batch))
        batch->is_answered = true;
    call_add_text(core, batch, WIRE_EVENT, text, answers && batch_is_last(batch), now_ms);
}

static void batch_end_if_over(struct core *core, struct call *batch, uint64_t now_ms)
{
    if (batch->is_given && batch->entries_open == 0 && !batch->is_ended)
        call_end(core, batch, MESH_END_WHOLE, MESH_OK, now_ms);
}

void batch_entry_over(struct core *core, struct call *entry, enum mesh_reason why, uint64_t now_ms)
{
    struct call *batch = batch_of(core, entry);
    if (batch == NULL || !call_is_request(entry))
        return;
    if (!entry->is_answered) {
        struct logged event = {.text = call_id(entry),
                               .why = why == MESH_OK ? MESH_UPSTREAM_LOST : why,
                               .answers = batch_is_last(batch),
                               .is_last = batch_is_last(batch)};
        batch->is_answered = event.is_last;
        call_add_failed(core, batch, &event, now_ms);
    }
    batch->entries_open--;
    batch_end_if_over(core, batch, now_ms);
}

void batch_end_entries(struct core *core, struct call *batch, enum mesh_reason why, uint64_t now_ms)
{
    struct upstream *up = upstream_at(core, batch->up);
    struct handle self = batch->self;
    while (up != NULL) {
        struct call *entry = NULL;
        LIST_EACH (at, &up->calls) {
            entry = container_of(at, struct call, by_up);
            if (handle_equal(entry->batch, self))
                break;
            entry = NULL;
        }
        if (entry == NULL)
            return;
        call_end(core, entry, MESH_END_CUT, why, now_ms);
    }
}

/* NULL: no room; it gets an error of its own. */
static struct call *batch_make_entry(struct core *core, struct call *batch,
                                     const struct rpc_message *rpc, struct slice text)
{
    struct session *session = session_at(core, batch->session);
    struct call *entry = session->calls_open < SESSION_CALLS_MAX + 1 /* the batch itself */
                             ? call_new_entry(core, batch, rpc, text)
                             : NULL;
    if (entry == NULL)
        return NULL;
    session->calls_open++;
    session->calls_total++;
    return entry;
}

/* Which reason keeps an entry from running, MESH_OK if none does. */
static enum mesh_reason batch_admit(struct core *core, struct call *batch,
                                    const struct rpc_message *rpc, struct slice text)
{
    struct session *session = session_at(core, batch->session);
    if (rpc->kind != RPC_REQUEST)
        return MESH_OK;
    if (rpc->method == RPC_INITIALIZE)
        return MESH_ALREADY_INITIALIZED; /* it must not be part of one */
    uint64_t hash = rpc_id_hash(core->sip_key, slice_part(text, rpc->id));
    return session_open_call(core, session, hash) != NULL ? MESH_ID_IN_USE : MESH_OK;
}

static void batch_refuse(struct core *core, struct call *batch, struct slice id,
                         enum mesh_reason why, uint64_t now_ms)
{
    struct logged event = {.text = id, .why = why};
    call_add_failed(core, batch, &event, now_ms);
}

static void batch_give_entry(struct core *core, struct call *batch, struct slice text,
                             uint64_t now_ms)
{
    struct rpc_message rpc;
    struct call *entry = NULL;
    rpc_read(&rpc, NULL, text.at, text.length);
    enum mesh_reason why = batch_admit(core, batch, &rpc, text);
    if (why == MESH_OK) {
        entry = batch_make_entry(core, batch, &rpc, text);
        why = MESH_FULL;
    }
    if (entry != NULL) {
        batch->entries_open += rpc.kind == RPC_REQUEST;
        upcall_start(core, entry, now_ms);
    } else if (rpc.kind == RPC_REQUEST) {
        batch_refuse(core, batch, slice_part(text, rpc.id), why, now_ms);
    }
}

/* Does any entry want an answer? */
static bool batch_has_requests(struct slice body)
{
    struct slice entry;
    size_t at = 0;
    while (rpc_next_entry(body, &at, &entry)) {
        struct rpc_message rpc;
        rpc_read(&rpc, NULL, entry.at, entry.length);
        if (rpc.kind == RPC_REQUEST)
            return true;
    }
    return false;
}

void batch_give(struct core *core, struct call *batch, uint64_t now_ms)
{
    struct handle self = batch->self, session = batch->session;
    struct slice body, entry;
    size_t at = 0;
    bool has_requests = batch_has_requests(batch->body);
    if (slice_keep(&body, batch->body, &core->budget) < 0) {
        call_end(core, batch, MESH_END_CUT, MESH_FULL, now_ms);
        return;
    }
    batch->up_call = UINT32_MAX; /* given: to nobody by this number */
    call_add_head(core, batch, has_requests ? 200 : 202,
                  has_requests ? MESH_FORM_SSE : MESH_FORM_NONE, (struct slice){0}, now_ms);
    /* what an entry says may end the session, and with it all of this */
    while (rpc_next_entry(body, &at, &entry) && batch != NULL && !batch->is_ended) {
        batch_give_entry(core, batch, entry, now_ms);
        batch = session_at(core, session) != NULL ? call_at(core, self) : NULL;
    }
    slice_drop(&body);
    if (batch == NULL || batch->is_ended)
        return;
    batch->is_given = true;
    batch_end_if_over(core, batch, now_ms);
}
