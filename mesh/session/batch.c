/* batch.c - the entries of a batch, one by one. Their texts are read here for a second time: what
 * was found at the edge says only that each is sound. */
#include "mesh/session/batch.h"

#include <errno.h>
#include <stdlib.h>

#include "mesh/session/core.h"
#include "mesh/session/upcall.h"

static struct call *batch_of(struct core *core, const struct call *entry)
{
    return call_at(core, entry->batch);
}

/* The last answer is the last event. */
static bool batch_is_last(const struct call *batch)
{
    return batch->entries_open == 1;
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

static void batch_fail(struct core *core, struct call *batch, struct slice id, enum mesh_reason why,
                       uint64_t now_ms)
{
    struct logged event = {
        .text = id, .why = why, .answers = batch_is_last(batch), .is_last = batch_is_last(batch)};
    batch->is_answered = event.is_last;
    call_add_failed(core, batch, &event, now_ms);
}

void batch_entry_over(struct core *core, struct call *entry, enum mesh_reason why, uint64_t now_ms)
{
    struct call *batch = batch_of(core, entry);
    if (batch == NULL || !call_is_request(entry))
        return;
    if (!entry->is_answered)
        batch_fail(core, batch, call_id(entry), why == MESH_OK ? MESH_UPSTREAM_LOST : why, now_ms);
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
            break;
        call_end(core, entry, MESH_END_CUT, why, now_ms);
    }
    batch = call_at(core, self);
    if (batch != NULL && !batch->is_ended)
        batch->entries_open = 0; /* those not given yet never were */
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
        upcall_start(core, entry, now_ms);
    } else if (rpc.kind == RPC_REQUEST) {
        batch_fail(core, batch, slice_part(text, rpc.id), why, now_ms);
        batch->entries_open--;
    }
}

static void batch_put(struct bytes *into, const void *data, size_t length)
{
    memcpy(into->data + into->length, data, length);
    into->length += length;
}

/* One entry as it goes to the upstream, behind a comma if need be. */
static void batch_put_entry(struct bytes *into, struct slice entry, struct span id,
                            struct slice given_id)
{
    size_t rest = id.at + id.length;
    batch_put(into, ",", into->length > 1 ? 1 : 0);
    if (given_id.length == 0) {
        batch_put(into, entry.at, entry.length);
        return;
    }
    batch_put(into, entry.at, id.at);
    batch_put(into, given_id.at, given_id.length);
    batch_put(into, entry.at + rest, entry.length - rest);
}

/* How much longer its answers' ids may become. */
static size_t batch_ids_room(const struct session *session)
{
    size_t room = 0;
    LIST_EACH (at, &session->questions)
        room += container_of(at, struct question, in_session)->given_id.length;
    return room;
}

int batch_restore_answers(struct core *core, struct call *batch, uint64_t now_ms)
{
    struct session *session = session_at(core, batch->session);
    struct slice entry;
    size_t at = 0;
    uint32_t count = 0;
    struct bytes *made = bytes_new(&core->budget, batch->body.length + 2 + batch_ids_room(session));
    if (made == NULL)
        return -ENOMEM;
    batch_put(made, "[", 1);
    while (rpc_next_entry(batch->body, &at, &entry)) {
        struct rpc_message rpc;
        struct slice given_id = {0};
        struct handle asker = {0};
        rpc_read(&rpc, NULL, entry.at, entry.length);
        bool is_answer = rpc.kind == RPC_RESPONSE || rpc.kind == RPC_ERROR;
        if (is_answer &&
            !session_answered(session, rpc_id_hash(core->sip_key, slice_part(entry, rpc.id)),
                              &asker, &given_id)) {
            core->stats.questions_dropped++;
            continue;
        }
        if (is_answer)
            upcall_user_answered(core, asker, now_ms);
        batch_put_entry(made, entry, rpc.id, given_id);
        slice_drop(&given_id);
        count++;
    }
    batch_put(made, "]", 1);
    copies_on_state(core, session, now_ms);
    slice_drop(&batch->body);
    batch->body = slice_of(made, 0, made->length); /* the reference is the body's */
    batch->rpc.batch_count = count;
    return count == 0;
}

static bool batch_has_answer(const struct call *batch, uint64_t id_hash)
{
    for (uint32_t n = 0; n < batch->answered_count; n++)
        if (batch->answered[n] == id_hash)
            return true;
    return false;
}

static void batch_note_answer(struct core *core, struct call *batch, const struct rpc_message *rpc,
                              struct slice text)
{
    if ((rpc->kind != RPC_RESPONSE && rpc->kind != RPC_ERROR) || rpc->id.length == 0)
        return;
    uint64_t hash = rpc_id_hash(core->sip_key, slice_part(text, rpc->id));
    if (batch->answered_count < BATCH_ANSWERS_MAX && !batch_has_answer(batch, hash))
        batch->answered[batch->answered_count++] = hash;
}

void batch_note(struct core *core, struct call *batch, const struct rpc_message *rpc,
                struct slice text)
{
    struct slice entry;
    size_t at = 0;
    if (batch->answered == NULL)
        batch->answered = calloc(BATCH_ANSWERS_MAX, sizeof *batch->answered);
    if (batch->answered == NULL)
        return; /* its client is told of too many, and has had their answers */
    if (rpc->kind != RPC_BATCH) {
        batch_note_answer(core, batch, rpc, text);
        return;
    }
    while (rpc_next_entry(text, &at, &entry)) {
        struct rpc_message each;
        rpc_read(&each, NULL, entry.at, entry.length);
        batch_note_answer(core, batch, &each, entry);
    }
}

/* Is this entry a request without an answer? `id`: its own. */
static bool batch_lacks(struct core *core, const struct call *batch, struct slice entry,
                        struct slice *id)
{
    struct rpc_message rpc;
    rpc_read(&rpc, NULL, entry.at, entry.length);
    *id = slice_part(entry, rpc.id);
    return rpc.kind == RPC_REQUEST && !batch_has_answer(batch, rpc_id_hash(core->sip_key, *id));
}

uint32_t batch_missing(struct core *core, const struct call *batch)
{
    struct slice entry, id;
    size_t at = 0;
    uint32_t missing = 0;
    while (rpc_next_entry(batch->body, &at, &entry))
        missing += batch_lacks(core, batch, entry, &id);
    return missing;
}

void batch_fail_rest(struct core *core, struct call *batch, enum mesh_reason why, uint64_t now_ms)
{
    struct slice entry, id;
    size_t at = 0;
    uint32_t missing = batch_missing(core, batch);
    batch->is_answered = true;
    while (rpc_next_entry(batch->body, &at, &entry)) {
        if (!batch_lacks(core, batch, entry, &id))
            continue;
        bool is_last = --missing == 0;
        struct logged event = {.text = id, .why = why, .answers = is_last, .is_last = is_last};
        call_add_failed(core, batch, &event, now_ms);
    }
}

void batch_give(struct core *core, struct call *batch, uint64_t now_ms)
{
    struct handle self = batch->self, session = batch->session;
    struct slice body, entry;
    size_t at = 0;
    uint32_t requests = batch_missing(core, batch);
    if (slice_keep(&body, batch->body, &core->budget) < 0) {
        call_end(core, batch, MESH_END_CUT, MESH_FULL, now_ms);
        return;
    }
    batch->up_call = UINT32_MAX; /* given: to nobody by this number */
    batch->entries_open = requests;
    call_add_head(core, batch, requests > 0 ? 200 : 202,
                  requests > 0 ? MESH_FORM_SSE : MESH_FORM_NONE, (struct slice){0}, now_ms);
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
