/* exchange.c - the states of one exchange at its entry peer, its timer, and what its client is
 * told: head before text, and exactly one end. Who is asked, and what the owner's words mean, is
 * entry.c's business. */
#include "mesh/session/exchange.h"

#include <stdlib.h>

#include "mesh/session/core.h"

static void exchange_drop_held(struct exchange *x)
{
    if (x->held == NULL)
        return;
    slice_drop(&x->held->lines);
    free(x->held);
    x->held = NULL;
}

void exchange_keep_nothing(struct exchange *x)
{
    exchange_drop_held(x);
    if (x->told != NULL)
        slice_drop(&x->told->progress);
    free(x->told);
    x->told = NULL;
    slice_drop(&x->request.method);
    slice_drop(&x->request.target);
    slice_drop(&x->request.head);
    slice_drop(&x->request.body);
}

/* ---- timers and states ---------------------------------------------------------------------- */

void exchange_set_timer(struct core *core, struct exchange *x)
{
    uint64_t at = x->retry_at_ms;
    if (x->state == EXCHANGE_PARKED && x->give_up_ms < at)
        at = x->give_up_ms;
    if (x->grace_ms < at)
        at = x->grace_ms;
    if (heap_set(&core->entry.timers, &x->timer, at) < 0)
        core->entry.lacks_timers = true;
}

void exchange_enter(struct core *core, struct exchange *x, enum exchange_state state)
{
    struct entry *e = &core->entry;
    if (x->state == EXCHANGE_PARKED && state != EXCHANGE_PARKED) {
        list_remove(&x->parked);
        e->parked_count--;
    } else if (x->state != EXCHANGE_PARKED && state == EXCHANGE_PARKED) {
        list_push_back(&e->parked, &x->parked);
        e->parked_count++;
    }
    x->state = state;
}

static void exchange_park(struct core *core, struct exchange *x, uint64_t at_ms, uint64_t now_ms)
{
    exchange_enter(core, x, EXCHANGE_PARKED);
    x->retry_at_ms = at_ms;
    if (x->give_up_ms == MESH_NEVER)
        x->give_up_ms = now_ms + core->config.park_ms;
    exchange_set_timer(core, x);
}

/* Doubling, with chance: those who wait for the same thing do not all ask for it in step. Nor does
 * each look at a time of its own: so many may wait that this would be all that we do. */
static uint64_t exchange_retry_ms(struct core *core, struct exchange *x, uint64_t now_ms)
{
    uint32_t base = x->retry_ms == 0 ? ENTRY_RETRY_FIRST_MS : x->retry_ms, together = base / 8;
    x->retry_ms = base * 2 > ENTRY_RETRY_MAX_MS ? ENTRY_RETRY_MAX_MS : base * 2;
    uint64_t at_ms = now_ms + base / 2 + shuffle_below(&core->shuffle, base);
    return at_ms - at_ms % together + together;
}

void exchange_is_heard(struct exchange *x)
{
    x->give_up_ms = MESH_NEVER;
    x->retry_ms = 0;
}

void exchange_park_again(struct core *core, struct exchange *x, uint64_t now_ms)
{
    if (x->is_answered) { /* only its end is lost: nobody is asked for more (S1) */
        exchange_end(core, x, MESH_END_WHOLE, MESH_OK);
        return;
    }
    if (!x->was_parked)
        core->stats.exchanges_parked++;
    x->was_parked = true;
    exchange_park(core, x, exchange_retry_ms(core, x, now_ms), now_ms);
}

/* ---- telling the client --------------------------------------------------------------------- */

bool exchange_tell(struct core *core, struct exchange *x, struct mesh_effect *effect)
{
    effect->handle = x->self;
    if (effects_push(&core->effects, effect) == 0)
        return true;
    exchange_enter(core, x, EXCHANGE_BROKEN);
    x->retry_at_ms = 0;
    x->give_up_ms = x->grace_ms = MESH_NEVER;
    exchange_set_timer(core, x);
    return false;
}

void exchange_leave_lane(struct core *core, struct exchange *x, enum wire_kind last_word)
{
    if (lane_is_none(x->lane))
        return;
    struct wire_message m = {.kind = last_word}; /* the lane names the exchange */
    (void)links_send(core->links, x->lane, LINKS_ENTRY, &m);
    links_close(core->links, x->lane, LINKS_ENTRY);
    x->lane = (struct lane){0};
}

void exchange_free(struct core *core, struct exchange *x)
{
    if (x->state == EXCHANGE_PARKED) {
        list_remove(&x->parked);
        core->entry.parked_count--;
    }
    heap_remove(&core->entry.timers, &x->timer);
    exchange_keep_nothing(x);
    pool_give(&core->entry.exchanges, x->self);
}

/* The event by which a stream's client is told why it ends: behind all that it got. */
static struct event_id exchange_last_id(const struct exchange *x)
{
    struct event_id id = x->position;
    if (!x->has_position || event_id_is_none(&id) || id.stream == 0 || id.is_last)
        return (struct event_id){0};
    id.number++;
    id.is_last = true;
    return id;
}

/* The one outcome. An END that cannot be told for want of memory is told later. */
void exchange_end(struct core *core, struct exchange *x, enum mesh_end end, enum mesh_reason why)
{
    exchange_leave_lane(core, x, WIRE_DONE);
    if (x->is_answered) {
        end = MESH_END_WHOLE; /* whatever was lost came after the answer */
        why = MESH_OK;
    }
    struct mesh_effect e = {.kind = MESH_REPLY_END};
    e.end.end = end;
    e.end.why = why;
    e.end.head_sent = x->head_out;
    if (why != MESH_OK && x->head_out)
        e.end.id = exchange_last_id(x);
    if (!exchange_tell(core, x, &e))
        return;
    if (why == MESH_OK && !x->has_failed)
        core->stats.answers_ok++;
    else
        core->stats.answers_failed++;
    if (why == MESH_SESSION_UNKNOWN && x->has_session)
        core->stats.not_found_ended++;
    exchange_enter(core, x, EXCHANGE_ENDED);
    heap_remove(&core->entry.timers, &x->timer);
    exchange_keep_nothing(x);
}

void exchange_fail(struct core *core, struct exchange *x, enum mesh_reason why)
{
    /* a held stream that was answered 200 already can only be told that its session is over */
    if (exchange_is_held_stream(x) && x->head_out && why != MESH_SUPERSEDED)
        why = MESH_SESSION_ENDED;
    if (why == MESH_SESSION_UNKNOWN && !x->head_out && !rate_allows_unknown(core, core->now_ms))
        why = MESH_RATE_LIMITED;
    exchange_end(core, x, MESH_END_CUT, why);
}

bool exchange_tell_head(struct core *core, struct exchange *x, const struct held_head *head)
{
    if (x->head_out)
        return true;
    struct mesh_effect e = {.kind = MESH_REPLY_HEAD};
    e.head.status = head->status;
    e.head.form = head->form;
    e.head.head = head->lines;
    e.head.has_session = head->has_session;
    e.head.owner = head->owner;
    if (head->has_session)
        key_write(e.head.session, &head->session);
    x->head_out = exchange_tell(core, x, &e);
    x->form = head->form;
    x->grace_ms = MESH_NEVER;
    return x->head_out;
}

/* What was held goes out before what it was held for. */
bool exchange_release_head(struct core *core, struct exchange *x)
{
    if (x->held == NULL)
        return true;
    bool is_told = exchange_tell_head(core, x, x->held);
    exchange_drop_held(x);
    return is_told;
}

bool exchange_lacks_head(const struct exchange *x, const struct wire_message *m)
{
    bool needs_head = m->kind == WIRE_EVENT || m->kind == WIRE_DATA ||
                      (m->kind == WIRE_END && m->end.why == MESH_OK);
    return needs_head && !x->head_out && x->held == NULL;
}

/* False: no memory. */
static bool exchange_hold_head(struct core *core, struct exchange *x, const struct held_head *head)
{
    struct held_head *held = malloc(sizeof *held);
    if (held == NULL)
        return false;
    *held = *head;
    if (slice_keep(&held->lines, head->lines, &core->budget) < 0) {
        free(held);
        return false;
    }
    x->held = held;
    return true;
}

/* NULL: no memory. */
static struct exchange_told *exchange_make_told(struct exchange *x)
{
    if (x->told == NULL)
        x->told = calloc(1, sizeof *x->told);
    return x->told;
}

/* The newest event of this tenure that was passed on; NULL: none was. */
static struct event_id *exchange_passed(const struct exchange *x, const struct event_id *id)
{
    for (size_t n = 0; x->told != NULL && n < ENTRY_TENURES; n++) {
        struct event_id *passed = &x->told->passed[n];
        if (passed->epoch == id->epoch && passed->stream == id->stream)
            return passed;
    }
    return NULL;
}

/* Owners that follow each other, or are two in a split, know only in part what the others told its
 * client, and tell it again rather than not at all (S1). In one tenure numbers rise; the last event
 * of a stream may have the number of the one before it. */
bool exchange_has_passed(struct exchange *x, const struct wire_message *event)
{
    const struct event_id *id = &event->text.id;
    if (event_id_is_none(id) || id->is_last)
        return false;
    struct event_id *passed = exchange_passed(x, id);
    if (event->payload.length == 0) /* a mark */
        return passed != NULL && id->number < passed->number;
    if (passed != NULL) {
        bool is_old = id->number <= passed->number;
        if (!is_old)
            *passed = *id;
        return is_old;
    }
    struct exchange_told *told = exchange_make_told(x);
    if (told == NULL)
        return false;
    memmove(told->passed + 1, told->passed, (ENTRY_TENURES - 1) * sizeof *told->passed);
    told->passed[0] = *id;
    return false;
}

void exchange_move_on(struct exchange *x, const struct event_id *id)
{
    const struct event_id *passed = exchange_passed(x, id);
    x->has_position = true;
    if (passed == NULL || id->is_last || id->number >= passed->number)
        x->position = *id;
}

/* An owner that runs it after another knows what was told before. One that ran it first, and owns
 * the session again, has the progress of its run ready. */
bool exchange_note_progress(struct core *core, struct exchange *x, const struct wire_message *event)
{
    struct rpc_message rpc;
    struct slice value;
    if (x->request.want != MESH_CALL || x->request.rpc.progress_token.length == 0)
        return true;
    rpc_read(&rpc, NULL, event->payload.at, event->payload.length);
    if (!rpc_progress(&rpc, event->payload, &value))
        return true;
    struct exchange_told *told = exchange_make_told(x);
    if (told == NULL)
        return true;
    if (told->progress.length > 0 && value.length > 0 &&
        !peer_id_equal(event->epoch.owner, told->progress_of) &&
        rpc_number_compare(value, told->progress) <= 0)
        return false;
    slice_drop(&told->progress);
    told->progress_of = event->epoch.owner;
    value.buf = NULL; /* a copy: it must not pin the text that it stands in */
    if (value.length <= WIRE_PROGRESS_MAX)
        (void)slice_keep(&told->progress, value, &core->budget);
    return true;
}

struct held_head exchange_head_of(const struct wire_message *m)
{
    return (struct held_head){.status = m->head.status,
                              .form = m->head.form,
                              .lines = m->head.head,
                              .has_session = m->has_session,
                              .session = m->session,
                              .owner = m->epoch.owner};
}

void exchange_on_head(struct core *core, struct exchange *x, const struct wire_message *m)
{
    struct held_head head = exchange_head_of(m);
    x->received = 1; /* the first message of an answer, or of one begun anew */
    x->serial = m->head.serial;
    exchange_is_heard(x);
    exchange_drop_held(x);
    if (!x->head_out && head.form == MESH_FORM_JSON && exchange_hold_head(core, x, &head))
        return;
    if (exchange_tell_head(core, x, &head))
        exchange_set_timer(core, x);
}

/* Clients never retry the first GET of a session: while nobody said that it ended, they get 200
 * and are attached later (DESIGN §6). */
void exchange_grant_grace(struct core *core, struct exchange *x)
{
    struct held_head head = {
        .status = 200, .form = MESH_FORM_SSE, .has_session = x->has_session, .session = x->session};
    (void)exchange_tell_head(core, x, &head);
}
