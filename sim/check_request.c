/* check_request.c - what must come of a request: that it runs once and in its own session (E2, E3,
 * T1), and that its client gets one outcome, whole, in order and in time (E1, S1, N1, L1). */
#include <inttypes.h>

#include "sim/check.h"
#include "sim/ends.h"
#include "sim/modern.h"
#include "sim/sse.h"
#include "sim/tenures.h"

#define LOSS_WAIT_US (15u * WORLD_SECOND) /* E1: 10 s, and 5 s to notice the loss */
#define HOPS_WAIT_US (1500u * WORLD_MS)   /* B3: two hops, a dial and a handshake each, far peers */

bool check_session_lives(struct world *world, const struct session *session)
{
    if (!session->has_id || session->delete_us != 0 || session->was_left ||
        (!session->has_begun && !session->is_single))
        return false;
    if (!session->is_single && !world->config.no_copies)
        return tenure_survives(world, session);
    return !session->upstream_lost && world_life_runs(world, session->owner) &&
           !world->seats[world->lives[session->owner].seat].leaving;
}

static bool request_is_of_session(const struct request *request)
{
    return request->ask != ASK_INITIALIZE && request->ask != ASK_FORGED &&
           request->ask != ASK_FOREIGN && request->ask != ASK_NO_ID &&
           !ask_is_modern(request->ask) && !ask_is_stream(request->ask);
}

static bool runs_at_most_once(const struct request *request)
{
    return request->ask == ASK_CALL || request->ask == ASK_TWICE || request->ask == ASK_S_CALL ||
           request->ask == ASK_M_CALL || request->ask == ASK_M_BEGIN ||
           request->ask == ASK_M_GO_ON || request->ask == ASK_M_MAKE;
}

static bool reason_denies_running(enum mesh_reason why)
{
    switch (why) {
    case MESH_NO_SESSION_ID:
    case MESH_SESSION_UNKNOWN:
    case MESH_ID_IN_USE:
    case MESH_ALREADY_INITIALIZED:
    case MESH_NOT_SUPPORTED:
    case MESH_NO_ROUTE:
    case MESH_FULL:
    case MESH_PARKED_TOO_LONG:
    case MESH_UPSTREAM_DOWN:
        return true;
    case MESH_OK:
    case MESH_OWNER_LOST:
    case MESH_OUTCOME_UNKNOWN:
    case MESH_UPSTREAM_LOST:
    case MESH_UPSTREAM_BAD:
    case MESH_ANSWER_TOO_LARGE:
    case MESH_SUPERSEDED:
    case MESH_SESSION_ENDED:
    case MESH_READER_SLOW:
    case MESH_CANCELLED:
    case MESH_STOPPING:
    case MESH_STREAM_OVER:
    case MESH_RATE_LIMITED:
        break;
    }
    return false;
}

/* N1: whoever answers in a deleted session cannot know that. */
static bool end_is_excused(struct world *world, const struct request *request)
{
    const struct session *session = world->clients->sessions[request->session];
    return ends_is_forgotten(world, session) || ends_is_unheard(world, session);
}

void check_execution(struct world *world, const struct upstream *up, const struct ucall *call,
                     uint32_t session_told)
{
    struct clients *clients = world->clients;
    struct request *request =
        call->request < clients->requests_count ? clients->requests[call->request] : NULL;
    if (request == NULL)
        return;
    request->executions++;
    if (request->executed_us == 0) {
        request->executed_us = world->now_us;
        request->waited = up->shaken.is_replayed && up->opened_us + LOSS_WAIT_US > world->now_us;
    }
    world_say(world, &world->seats[up->seat], "  executes #%u (%u times)", request->n,
              request->executions);
    if (ask_is_modern(request->ask))
        modern_check_execution(world, request, up, call);
    else if (session_told != up->session || request->session != session_told)
        check_fail(world, "E3", "#%u of session %u runs in the upstream of session %u", request->n,
                   request->session, up->session);
    if (request->ask == ASK_FORGED || request->ask == ASK_FOREIGN || request->ask == ASK_NO_ID)
        check_fail(world, "E3", "#%u (%s) runs", request->n, ask_name(request->ask));
    if (runs_at_most_once(request) && request->executions > 1)
        check_fail(world, "E2", "#%u runs %u times", request->n, request->executions);
    if (runs_at_most_once(request) && request->state == REQUEST_ENDED &&
        reason_denies_running(request->why))
        check_fail(world, "E1", "#%u runs, and its client was told '%s'", request->n,
                   reason_name(request->why));
    if (request->is_after_end && !end_is_excused(world, request))
        check_fail(world, "N1", "#%u runs in a session that was deleted before", request->n);
    if (request_is_of_session(request))
        tenure_runs(world, request, call->upstream);
}

static bool is_among_safe(const struct world *world, const struct upstream *up)
{
    const struct wishes *wishes = &world->clients->sessions[up->session]->wishes;
    for (uint32_t n = 0; n < wishes->safe_count; n++)
        if (world->lives[wishes->safe[n]].seat == up->seat &&
            world->lives[wishes->safe[n]].life == up->life)
            return true;
    return false;
}

/* A server that takes the place of another is to know what that one knew, if it was told to who had
 * a copy. */
static void wishes_check(struct world *world, const struct upstream *up)
{
    const struct session *session = world->clients->sessions[up->session];
    const struct wishes *wishes = &session->wishes;
    const struct handshake *shaken = &up->shaken;
    const struct request *open =
        wishes->open == WORLD_NOBODY ? NULL : world->clients->requests[wishes->open];
    uint32_t unsure = wishes->unsure;
    bool level_is_sure = !wishes->level_is_unsure && (open == NULL || open->ask != ASK_LEVEL);
    if (open != NULL && open->ask != ASK_LEVEL)
        unsure |= 1u << open->uri;
    if (wishes->safe_us < wishes->changed_us || session->is_single || !is_among_safe(world, up))
        return;
    if (level_is_sure && shaken->level != wishes->level)
        check_fail(world, "T1", "the server of session %u has the log level of #%d, not of #%d",
                   up->session, (int)shaken->level, (int)wishes->level);
    if (((shaken->uris ^ wishes->uris) & ~unsure) != 0)
        check_fail(world, "T1", "the server of session %u has the subscriptions %x, not %x",
                   up->session, shaken->uris, wishes->uris);
}

void check_handshake(struct world *world, struct upstream *up, const struct ucall *call)
{
    const struct clients *clients = world->clients;
    const struct request *request =
        call->request < clients->requests_count ? clients->requests[call->request] : NULL;
    if (call->is_own || request == NULL || !request_is_of_session(request) ||
        request->ask == ASK_TWICE)
        return;
    up->shaken.is_over = true;
    if (up->session == WORLD_NOBODY)
        check_fail(world, "T1", "upstream %u hears #%u before it knows of a session",
                   call->upstream, request->n);
    else if (up->shaken.is_replayed && !up->shaken.is_initialized)
        check_fail(world, "T1", "upstream %u hears #%u in the midst of its handshake",
                   call->upstream, request->n);
    else if (up->shaken.is_replayed)
        wishes_check(world, up);
}

void check_head(struct world *world, struct request *request, const struct mesh_effect *effect)
{
    const struct session *session = world->clients->sessions[request->session];
    if (request->has_head)
        check_fail(world, "E1", "#%u gets a second head", request->n);
    if (request->ask == ASK_FORGED || request->ask == ASK_FOREIGN)
        check_fail(world, "E3", "#%u (%s) gets an answer", request->n, ask_name(request->ask));
    bool makes_session = request->ask == ASK_INITIALIZE || ask_is_stream(request->ask);
    if (effect->head.has_session && !makes_session &&
        memcmp(effect->head.session, session->id, MESH_SESSION_TEXT) != 0)
        check_fail(world, "E3", "#%u gets another session's id", request->n);
}

static void check_answer(struct world *world, struct request *request, struct slice text,
                         const struct rpc_message *rpc)
{
    const struct clients *clients = world->clients;
    struct slice id = slice_part(text, rpc->id);
    if (request->has_answer)
        check_fail(world, "E1", "#%u is answered twice", request->n);
    request->has_answer = true;
    request->is_error = rpc->kind == RPC_ERROR;
    if (rpc->kind != RPC_RESPONSE && rpc->kind != RPC_ERROR) {
        check_fail(world, "X2", "#%u: the answer is a message of kind %d", request->n, rpc->kind);
        return;
    }
    if (rpc_id_hash(clients->id_key, id) != request->id_hash)
        check_fail(world, "E3", "#%u asked with id %s and gets %.*s", request->n, request->id,
                   (int)id.length, (const char *)id.at);
    if (rpc->kind == RPC_RESPONSE &&
        (text_number(text, "n") != request->n || text_number(text, "s") != request->session))
        check_fail(world, "E3", "#%u of session %u gets the answer to #%u of session %u",
                   request->n, request->session, text_number(text, "n"), text_number(text, "s"));
}

/* Notifications of an HTTP server come on the session's own stream alone: none is missing, but
 * where that was said. A child's go where its only request is. */
static void check_note(struct world *world, struct request *on, uint32_t note, uint32_t up)
{
    const struct upstreams *ups = world->upstreams;
    bool follows = on->last_note > 0 && !on->is_excused; /* where some may be missing or come again,
                                                            that was said */
    bool is_whole = follows && world->upstream == MESH_UP_HTTP && on->ask == ASK_LISTEN;
    uint32_t last_up = on->last_up, last = on->last_note;
    on->is_excused = false;
    if (up >= ups->ups_count)
        return;
    on->notes++;
    on->last_note = note;
    on->last_up = up;
    if (follows && up == last_up && note <= last)
        check_fail(world, "S1", "#%u gets notification %u after %u of upstream %u", on->n, note,
                   last, up);
    else if (is_whole && up == last_up && note != last + 1)
        check_fail(world, "S1", "#%u gets notification %u after %u, and no word of what it misses",
                   on->n, note, last);
    else if (is_whole && up != last_up && (last != ups->ups[last_up].notes || note != 1))
        check_fail(world, "S1",
                   "#%u gets notification %u of upstream %u after %u of %u of upstream %u, and no "
                   "word of what it misses",
                   on->n, note, up, last, ups->ups[last_up].notes, last_up);
}

/* What the mesh says by itself: to clients of a session whose server is another one than before. */
static bool is_own_word(const struct rpc_message *rpc, struct slice text)
{
    static const char *const words[] = {"notifications/tools/list_changed\"",
                                        "notifications/resources/list_changed\"",
                                        "notifications/prompts/list_changed\"",
                                        "notifications/resources/updated\"",
                                        "notifications/cancelled\"",
                                        "\"logger\":\"session-mesh\""};
    for (size_t n = 0; n < sizeof words / sizeof *words; n++)
        if (rpc->kind == RPC_NOTIFICATION &&
            memmem(text.at, text.length, words[n], strlen(words[n])) != NULL)
            return true;
    return false;
}

/* That there was another one shows in the records, or, of a tenure that ended with its session
 * before they were looked at, in the event's own id. */
static void check_own_word(struct world *world, const struct request *request,
                           const struct request *on, struct slice text)
{
    const struct session *session = world->clients->sessions[request->session];
    struct records records;
    records_of(world, session, &records);
    if (records.epoch < 2 && session->tenures.top < 2 && on->position.epoch < 2)
        check_fail(world, "X2", "#%u is told of a fresh server, and there is none: %.*s",
                   request->n, (int)(text.length < 200 ? text.length : 200), (const char *)text.at);
}

/* It must only grow (MCP, progress), whoever runs the request, and however often. */
static void check_progress(struct world *world, struct request *request, uint32_t progress)
{
    if (progress <= request->progress)
        check_fail(world, "S1", "#%u gets progress %u after %u", request->n, progress,
                   request->progress);
    request->progress = progress;
}

void check_message(struct world *world, struct request *request, struct request *on,
                   struct slice text, const struct rpc_message *rpc, bool answers)
{
    request->events++;
    if (!ask_is_modern(request->ask))
        tenure_passes(world, on, text_number(text, "u"), text_number(text, "t"));
    if (request->has_answer && !answers)
        check_fail(world, "E1", "#%u: a message after the answer", request->n);
    if (answers) {
        check_answer(world, request, text, rpc);
        return;
    }
    if (rpc->kind == RPC_BAD || rpc->kind == RPC_RESPONSE || rpc->kind == RPC_ERROR) {
        check_fail(world, "X2", "#%u: a message of kind %d that answers nothing", request->n,
                   rpc->kind);
        return;
    }
    if (text_number(text, "u") == WORLD_NOBODY && is_own_word(rpc, text)) {
        check_own_word(world, request, on, text);
        return;
    }
    uint32_t session = text_number(text, "s");
    if (session != request->session)
        check_fail(world, "E3", "#%u of session %u gets a message of session %u", request->n,
                   request->session, session);
    if (rpc->method == RPC_PROGRESS && text_number(text, "progressToken") != request->n)
        check_fail(world, "E3", "#%u gets the progress of #%u", request->n,
                   text_number(text, "progressToken"));
    if (rpc->method == RPC_PROGRESS)
        check_progress(world, request, text_number(text, "progress"));
    uint32_t note = text_number(text, "k");
    if (note != WORLD_NOBODY)
        check_note(world, on, note, text_number(text, "u"));
}

/* ---- S1: streams that go on ----------------------------------------------------------------- */

/* The number that follows in a tenure; a later tenure begins anew, or goes on after a hand-over. */
static bool id_follows(const struct event_id *id, const struct event_id *at)
{
    if (id->stream != at->stream || id->epoch < at->epoch)
        return false;
    return id->number == at->number + 1 || (id->epoch > at->epoch && id->number == 1);
}

/* It ran at two owners in a split, and the one of the earlier tenure is the one that stays: its run
 * goes on behind what the client got of that, and has nothing of the other's. */
static bool id_goes_back(const struct request *request, const struct event_id *id)
{
    const struct event_id *before = NULL;
    if (id->stream == 0 || request->ask == ASK_RESUME || id->epoch >= request->position.epoch)
        return false;
    for (uint32_t n = 0; n < CLIENT_TENURES; n++) {
        const struct event_id *at = &request->newest[n];
        if (at->stream == id->stream && at->epoch <= id->epoch &&
            (before == NULL || at->epoch > before->epoch))
            before = at;
    }
    return before != NULL ? id_follows(id, before) : id->number == 1;
}

static void note_newest(struct request *request, const struct event_id *id)
{
    uint32_t n = 0;
    while (n < CLIENT_TENURES - 1 && !event_id_is_none(&request->newest[n]) &&
           (request->newest[n].stream != id->stream || request->newest[n].epoch != id->epoch))
        n++;
    request->newest[n] = *id;
}

static bool id_is_at(const struct event_id *id, const struct event_id *at)
{
    return id->stream == at->stream && id->epoch == at->epoch && id->number == at->number;
}

void check_event_id(struct world *world, struct request *request, const struct mesh_effect *effect)
{
    const struct event_id *id = &effect->event.id, *at = &request->position;
    bool is_mark = effect->event.text.length == 0 && effect->event.why == MESH_OK;
    if (event_id_is_none(id))
        return;
    if (request->has_position && at->is_last)
        check_fail(world, "S1", "#%u: event %u-%" PRIu64 " after the last of its stream",
                   request->n, id->stream, id->number);
    if (request->ask == ASK_RESUME && id->stream != at->stream)
        check_fail(world, "S1", "#%u resumes stream %u and gets an event of stream %u", request->n,
                   at->stream, id->stream);
    if (is_mark) {
        /* of a request's stream a new epoch says enough: it runs again, or its error follows */
        bool is_later_run = request->has_position && id->stream == at->stream && id->stream != 0 &&
                            id->epoch > at->epoch;
        request->has_gap = request->shown[0] != 0 && !is_later_run &&
                           (!request->has_position || !id_is_at(id, at));
    } else if (request->has_gap && !request->was_told_gap) {
        check_fail(world, "S1",
                   "#%u shows %s, goes on with %u-%" PRIu64 "-%" PRIu64 ", and nothing is said",
                   request->n, request->shown, id->stream, id->epoch, id->number);
    } else if (request->has_position && id->stream == at->stream
                   ? !id_follows(id, at) && !id_goes_back(request, id) && !request->was_told_gap
                   : request->shown[0] == 0 && id->number != 1) {
        check_fail(
            world, "S1", "#%u gets event %u-%" PRIu64 "-%" PRIu64 " after %u-%" PRIu64 "-%" PRIu64,
            request->n, id->stream, id->epoch, id->number, at->stream, at->epoch, at->number);
    }
    request->has_position = true;
    request->position = *id;
    note_newest(request, id);
}

/* The mesh speaks of a gap, or of a fresh server, which is one. */
bool check_gap_told(struct world *world, struct request *request, struct slice text)
{
    static const char words[] = "\"logger\":\"session-mesh\"";
    if (text.length == 0 || memmem(text.at, text.length, words, sizeof words - 1) == NULL)
        return false;
    if (!request->was_told_gap)
        world->clients->gaps++;
    request->was_told_gap = request->is_excused = true;
    return true;
}

void check_failure(struct world *world, struct request *request, struct slice id,
                   enum mesh_reason why)
{
    if (request->has_answer)
        check_fail(world, "E1", "#%u is answered and then told '%s'", request->n, reason_name(why));
    request->has_answer = request->is_error = true;
    request->told_failure = why;
    if (rpc_id_hash(world->clients->id_key, id) != request->id_hash)
        check_fail(world, "E3", "#%u asked with id %s and is told an error for %.*s", request->n,
                   request->id, (int)id.length, (const char *)id.at);
    if (runs_at_most_once(request) && request->executions > 0 && reason_denies_running(why))
        check_fail(world, "E1", "#%u ran, and its client is told '%s'", request->n,
                   reason_name(why));
}

/* Who came back got the answer, or was told what is lost. */
static void check_resume_end(struct world *world, const struct request *request)
{
    const struct request *behind = world->clients->requests[request->resumes];
    if (request->ask != ASK_RESUME || request->why != MESH_OK || request->end != MESH_END_WHOLE ||
        request->status != 200)
        return;
    if (!behind->has_answer && !request->was_told_gap)
        check_fail(world, "S1", "#%u ends well, and #%u has no answer", request->n, behind->n);
}

/* N1: may the client of this session be told that it does not exist? */
static bool may_be_unknown(struct world *world, const struct session *session)
{
    if (session->delete_us != 0 || session->was_left || session->owner == WORLD_NOBODY ||
        (!session->has_begun && !session->is_single) ||
        (session->upstream_lost && (world->config.no_copies || session->is_single)))
        return true;
    /* it ends with its stream, and its stream with a link that is down for long */
    if (session->is_single && (world->quiet_us == 0 || world->now_us < world->quiet_us))
        return true;
    return tenure_may_be_unknown(world, session);
}

static void check_calm_end(struct world *world, const struct request *request)
{
    const struct session *session = world->clients->sessions[request->session];
    uint64_t quiet_us = world->quiet_us;
    bool opens = request->ask == ASK_INITIALIZE;
    if (!request->was_quiet || (!opens && !request_is_of_session(request)) ||
        request->ask == ASK_TWICE || world->seats[request->seat].disturbed_us > quiet_us)
        return;
    if (!opens && (!check_session_lives(world, session) || request->ask == ASK_DELETE))
        return;
    bool well = request->why == MESH_OK && request->status / 100 == 2;
    if (request->ask == ASK_LISTEN || request->ask == ASK_RESUME)
        well = well || request->status == 405 || request->why == MESH_SUPERSEDED;
    if (!well)
        check_fail(world, "L1", "calm, and #%u (%s) ends with %d '%s'", request->n,
                   ask_name(request->ask), request->status, reason_name(request->why));
    if (request->executed_us > request->opened_us + HOPS_WAIT_US && !opens && !session->is_single &&
        !request->waited)
        check_fail(world, "B3", "calm, and #%u takes %" PRIu64 " ms to its upstream", request->n,
                   (request->executed_us - request->opened_us) / WORLD_MS);
}

static void check_bogus_end(struct world *world, const struct request *request)
{
    if (request->ask == ASK_FORGED &&
        (request->why != MESH_SESSION_UNKNOWN || request->opened_us + 200000 < world->now_us))
        check_fail(world, "N1", "#%u has a forged id and gets '%s' after %" PRIu64 " us",
                   request->n, reason_name(request->why), world->now_us - request->opened_us);
    if ((request->ask == ASK_FOREIGN || request->ask == ASK_NO_ID) && request->why == MESH_OK)
        check_fail(world, "E3", "#%u (%s) gets an answer", request->n, ask_name(request->ask));
}

void check_end(struct world *world, struct request *request)
{
    const struct session *session = world->clients->sessions[request->session];
    bool wants_answer = request->id[0] != 0;
    bool ok = request->why == MESH_OK;
    check_bogus_end(world, request);
    if (ok && (!request->has_head || request->end == MESH_END_CUT))
        check_fail(world, "E1", "#%u (%s) ends as if all were well, head %d, cut %d", request->n,
                   ask_name(request->ask), request->has_head, request->end == MESH_END_CUT);
    bool has_place = request->has_position ? !request->position.is_last : request->shown[0] != 0;
    if (request->end == MESH_END_LATER && !has_place)
        check_fail(world, "S1", "#%u is to come back for the rest and has no place to go on from",
                   request->n);
    check_resume_end(world, request);
    /* HTTP+SSE: the answer comes on the session's stream, before or after its 202 (sse.c) */
    bool is_sse = ask_is_sse(request->ask);
    if (ok && wants_answer && !request->has_answer && request->status / 100 == 2 && !is_sse &&
        request->end != MESH_END_LATER)
        check_fail(world, "E1", "#%u (%s) ends with %d and without its answer", request->n,
                   ask_name(request->ask), request->status);
    if (!ok && request->has_answer && !is_sse)
        check_fail(world, "E1", "#%u was answered and then ends with '%s'", request->n,
                   reason_name(request->why));
    if (!ok && request->has_head && request->form == MESH_FORM_JSON &&
        request->text_length < (1u << 20))
        check_fail(world, "E1", "#%u: a JSON answer of %zu B is cut ('%s')", request->n,
                   request->text_length, reason_name(request->why));
    if (runs_at_most_once(request) && request->executions > 0 &&
        reason_denies_running(request->why))
        check_fail(world, "E1", "#%u ran, and its client is told '%s'", request->n,
                   reason_name(request->why));
    if (request->is_after_end && ok && !end_is_excused(world, request))
        check_fail(world, "N1", "#%u is answered in a session that was deleted before", request->n);
    if (request_is_of_session(request) && request->why == MESH_SESSION_UNKNOWN &&
        !may_be_unknown(world, session)) {
        char words[200];
        records_tell(world, session, words, sizeof words);
        check_fail(world, "N1", "#%u (%s) through p%u: session %u is unknown, and %s", request->n,
                   ask_name(request->ask), request->seat, request->session,
                   words[0] != '\0' ? words : "who had it fell silent just now");
    }
    check_calm_end(world, request);
    leave_judges(world, request);
    if (ask_is_modern(request->ask))
        modern_check_end(world, request);
}

/* ---- E1: in time ---------------------------------------------------------------------------- */

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

void check_in_time(struct world *world, const struct world_event *event)
{
    const struct request *request = world->clients->requests[event->a];
    const struct session *session = world->clients->sessions[request->session];
    if (request->state != REQUEST_OPEN || request->ask == ASK_LISTEN ||
        request->ask == ASK_RESUME || ask_is_stream(request->ask))
        return;
    if (request->ask == ASK_M_LISTEN && request->lost_us == 0) { /* open as long as it works */
        world_at(world, world->now_us + LOSS_WAIT_US, CHECK_REQUEST, WORLD_NOBODY, event->a, 0);
        return;
    }
    uint64_t excuse_us = later(request->opened_us, request->lost_us);
    excuse_us = later(excuse_us, request->answers_at_us);
    excuse_us = later(excuse_us, world->seats[request->seat].disturbed_us);
    if (session->owner != WORLD_NOBODY)
        excuse_us = later(excuse_us, world->seats[world->lives[session->owner].seat].disturbed_us);
    if (session->delete_us != 0)
        excuse_us = later(excuse_us, session->delete_us);
    if (world->now_us > excuse_us + LOSS_WAIT_US) {
        check_fail(world, "E1",
                   "#%u (%s, session %u) through p%u has no outcome after %" PRIu64 " ms, %" PRIu64
                   " ms after the last reason for it",
                   request->n, ask_name(request->ask), request->session, request->seat,
                   (world->now_us - request->opened_us) / WORLD_MS,
                   (world->now_us - excuse_us) / WORLD_MS);
        return;
    }
    world_at(world, excuse_us + LOSS_WAIT_US + 1, CHECK_REQUEST, WORLD_NOBODY, event->a, 0);
}

void check_listens(struct world *world, const struct world_event *event)
{
    const struct request *request = world->clients->requests[event->a];
    const struct seat *seat = &world->seats[request->seat];
    if (request->state != REQUEST_OPEN || request->has_head || seat->turn_us > 0 ||
        seat->disturbed_us + 11 * WORLD_SECOND > request->opened_us ||
        seat->paused_until_us > request->opened_us)
        return;
    check_fail(world, "E1", "#%u: a GET through p%u has no head after %" PRIu64 " ms", request->n,
               request->seat, (world->now_us - request->opened_us) / WORLD_MS);
}

void check_left(struct world *world, struct seat *seat)
{
    for (uint32_t n = 0; n < seat->exchanges.count; n++)
        if (seat->exchanges.slots[n].generation != 0) {
            const struct request *request =
                world->clients->requests[seat->exchanges.slots[n].index];
            check_fail(world, "E1", "p%u left and #%u (%s) had no outcome", seat->index, request->n,
                       ask_name(request->ask));
        }
}
