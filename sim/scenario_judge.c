/* scenario_judge.c - what is so in a scenario's world: who is meant, what a peer believes of
 * another. When it has to be so is scenario.c's. */
#include <inttypes.h>
#include <stdarg.h>

#include "sim/client.h"
#include "sim/members.h"
#include "sim/scenario_inside.h"
#include "sim/upstream.h"

/* ---- who ------------------------------------------------------------------------------------ */

static bool is_listed(const struct peers *peers, uint32_t seat)
{
    return (peers->set[seat / 64] >> seat % 64 & 1) != 0;
}

static bool is_there(const struct stage *stage, uint32_t seat, enum peers_which which)
{
    bool runs = world_runs(stage->world, seat);
    switch (which) {
    case PEERS_RUNNING:
        return runs;
    case PEERS_STILL:
        return !runs;
    case PEERS_NODES:
        break;
    }
    return true;
}

/* Owner, holders of a copy, or neither, as things are now. */
static bool is_of_session(const struct stage *stage, const struct peers *peers, uint32_t seat)
{
    const struct world *world = stage->world;
    uint32_t number = stage->sessions[peers->session];
    struct mesh_tenure tenure;
    if (number == WORLD_NOBODY || !world_runs(world, seat))
        return false;
    const struct session *session = world->clients->sessions[number];
    bool has = session->has_id &&
               mesh_tenure_of(world->seats[seat].mesh, session->id, MESH_SESSION_TEXT, &tenure);
    if (peers->kind == PEERS_STRANGERS)
        return !has;
    return has && tenure.is_copy == (peers->kind == PEERS_HOLDERS);
}

void peers_resolve(struct stage *stage, const struct peers *peers, const struct peers *first,
                   enum peers_which which, bool is_meant[WORLD_SEATS_MAX])
{
    uint32_t count = 0;
    for (uint32_t seat = 0; seat < WORLD_SEATS_MAX; seat++) {
        is_meant[seat] = false;
        if (seat >= stage->world->seats_count)
            continue;
        switch (peers->kind) {
        case PEERS_LISTED: /* even if it is not there: the deed or state finds out */
            is_meant[seat] =
                is_listed(peers, seat) && (peers->any == 0 || is_there(stage, seat, which));
            break;
        case PEERS_ALL:
            is_meant[seat] = is_there(stage, seat, which);
            break;
        case PEERS_OTHERS:
            is_meant[seat] = is_there(stage, seat, which) &&
                             (first->kind != PEERS_LISTED || !is_listed(first, seat));
            break;
        case PEERS_OWNER:
        case PEERS_HOLDERS:
        case PEERS_STRANGERS:
            is_meant[seat] = is_of_session(stage, peers, seat);
            break;
        }
        count += is_meant[seat];
    }
    /* strike out by lot until so many are left */
    for (; peers->any > 0 && count > peers->any; count--) {
        uint32_t lot = chance_below(&stage->chance, count);
        for (uint32_t seat = 0; seat < WORLD_SEATS_MAX; seat++)
            if (is_meant[seat] && lot-- == 0)
                is_meant[seat] = false;
    }
}

/* The newest process on a seat. Not yet announced: nobody's id. */
static struct peer_id newest_id(const struct stage *stage, uint32_t seat)
{
    const struct world *world = stage->world;
    if (world->seats[seat].mesh != NULL)
        return mesh_self(world->seats[seat].mesh)->record->id;
    for (uint32_t n = world->lives_count; n-- > 0;)
        if (world->lives[n].seat == seat)
            return world->lives[n].id;
    return (struct peer_id){0, 0};
}

/* Its view counts: it runs and is a member. */
static bool has_view(const struct stage *stage, uint32_t seat)
{
    const struct seat *at = &stage->world->seats[seat];
    return at->mesh != NULL && at->is_announced && !at->waits_for_name;
}

/* ---- words ---------------------------------------------------------------------------------- */

struct telling_words {
    char *at;
    size_t room;
};

static enum verdict tell(struct telling_words words, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static enum verdict tell(struct telling_words words, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(words.at, words.room, format, args);
    va_end(args);
    return NOT_SO;
}

static const char *state_word(enum member_state state)
{
    static const char *const words[] = {"unknown", "alive", "suspect", "dead", "left"};
    return words[state];
}

/* ---- members -------------------------------------------------------------------------------- */

static const struct mesh_member *belief(const struct stage *stage, uint32_t at, uint32_t of)
{
    struct peer_id id = newest_id(stage, of);
    return mesh_member_of(stage->world->seats[at].mesh, id);
}

static bool fits(const struct state *state, bool never, uint32_t word)
{
    return ((state->words >> word & 1) != 0) != never;
}

static enum verdict member_is(struct stage *stage, const struct state *state, bool never,
                              struct telling_words words)
{
    bool who[WORLD_SEATS_MAX], where[WORLD_SEATS_MAX];
    enum verdict verdict = NOBODY_THERE;
    peers_resolve(stage, &state->who, &state->who, PEERS_RUNNING, who);
    peers_resolve(stage, &state->where, &state->who, PEERS_RUNNING, where);
    for (uint32_t at = 0; at < stage->world->seats_count; at++)
        for (uint32_t of = 0; of < stage->world->seats_count; of++) {
            if (!where[at] || !who[of] || at == of || !has_view(stage, at))
                continue;
            const struct mesh_member *member = belief(stage, at, of);
            enum member_state is = member != NULL ? member->state : MEMBER_UNKNOWN;
            bool serves = member != NULL && member->record->serving;
            verdict = SO;
            if (state->kind == STATE_MEMBER && !fits(state, never, is))
                return tell(words, "p%u takes p%u for %s", at, of, state_word(is));
            if (state->kind == STATE_SERVING && !fits(state, never, serves))
                return tell(words, "p%u thinks that p%u %s", at, of,
                            serves ? "serves" : "does not serve");
        }
    return verdict;
}

enum verdict change_is(struct stage *stage, const struct state *state, bool never,
                       const struct seat *at, struct peer_id id, enum member_state now_is,
                       char *words, size_t words_size)
{
    bool who[WORLD_SEATS_MAX], where[WORLD_SEATS_MAX];
    peers_resolve(stage, &state->who, &state->who, PEERS_RUNNING, who);
    peers_resolve(stage, &state->where, &state->who, PEERS_RUNNING, where);
    for (uint32_t of = 0; where[at->index] && of < stage->world->seats_count; of++) {
        if (!who[of] || of == at->index || !peer_id_equal(newest_id(stage, of), id))
            continue;
        return fits(state, never, now_is)
                   ? SO
                   : tell((struct telling_words){words, words_size}, "p%u takes p%u for %s",
                          at->index, of, state_word(now_is));
    }
    return NOBODY_THERE;
}

/* ---- tables --------------------------------------------------------------------------------- */

static uint32_t members_counted(const struct mesh *mesh, uint32_t states)
{
    static struct mesh_member members[MEMBERS_SEEN];
    size_t rows = mesh_members(mesh, members, MEMBERS_SEEN);
    uint32_t count = 0;
    for (size_t n = 0; n < rows && n < MEMBERS_SEEN; n++)
        count += states >> members[n].state & 1;
    return count;
}

uint64_t ring_sum(const struct mesh *mesh)
{
    static struct mesh_member members[MEMBERS_SEEN];
    size_t rows = mesh_members(mesh, members, MEMBERS_SEEN);
    uint64_t sum = 0;
    for (size_t n = 0; n < rows && n < MEMBERS_SEEN; n++) {
        const struct mesh_record *m = members[n].record;
        bool lives = member_state_is_living(members[n].state);
        if (lives && m->serving && !m->draining && !m->hold)
            sum = (sum ^ m->id.name ^ m->id.generation * 31 ^ m->weight) *
                  UINT64_C(0xff51afd7ed558ccd);
    }
    return sum;
}

static uint32_t counted(const struct mesh *mesh, enum state_kind what)
{
    struct mesh_stats stats;
    if (what == STATE_MEMBERS)
        return members_counted(mesh, 1u << MEMBER_ALIVE | 1u << MEMBER_SUSPECT);
    if (what == STATE_TABLE)
        return members_counted(mesh, UINT32_MAX);
    mesh_stats(mesh, &stats);
    return what == STATE_SESSIONS ? stats.sessions : (uint32_t)stats.moved_followed;
}

static enum verdict count_is(struct stage *stage, const struct state *state,
                             struct telling_words words)
{
    bool where[WORLD_SEATS_MAX];
    enum verdict verdict = NOBODY_THERE;
    peers_resolve(stage, &state->where, &state->where, PEERS_RUNNING, where);
    for (uint32_t at = 0; at < stage->world->seats_count; at++) {
        if (!where[at] || !has_view(stage, at))
            continue;
        uint32_t count = counted(stage->world->seats[at].mesh, state->kind);
        verdict = SO;
        if (count < state->least || count > state->most)
            return tell(words, "p%u has %u", at, count);
    }
    return verdict;
}

/* Where a session's record is looked for: its home, if that lives, and who is on the ring. */
static enum verdict candidates_are(struct stage *stage, const struct state *state,
                                   struct telling_words words)
{
    bool who[WORLD_SEATS_MAX], where[WORLD_SEATS_MAX];
    enum verdict verdict = NOBODY_THERE;
    struct world *world = stage->world;
    uint32_t number = stage->sessions[state->number];
    if (number == WORLD_NOBODY || !world->clients->sessions[number]->has_id)
        return NOBODY_THERE;
    peers_resolve(stage, &state->who, &state->where, PEERS_RUNNING, who);
    peers_resolve(stage, &state->where, &state->where, PEERS_RUNNING, where);
    for (uint32_t at = 0; at < world->seats_count; at++) {
        struct mesh_why why;
        if (!where[at] || !has_view(stage, at))
            continue;
        mesh_why(world->seats[at].mesh, world->clients->sessions[number]->id, MESH_SESSION_TEXT,
                 &why, world_clock_ms(world, &world->seats[at]));
        verdict = SO;
        for (uint32_t of = 0; of < world->seats_count; of++) {
            bool is_one = false;
            for (uint8_t n = 0; n < why.candidates_count; n++)
                is_one = is_one || peer_id_equal(why.candidates[n], newest_id(stage, of));
            if (is_one != who[of])
                return tell(words, "at p%u, p%u is %s candidate", at, of, is_one ? "a" : "no");
        }
    }
    return verdict;
}

/* Equal views, which count just those who agree. */
static enum verdict agree(struct stage *stage, const struct state *state,
                          struct telling_words words)
{
    bool who[WORLD_SEATS_MAX];
    uint32_t count = 0, first = WORLD_NOBODY;
    peers_resolve(stage, &state->who, &state->who, PEERS_RUNNING, who);
    for (uint32_t seat = 0; seat < stage->world->seats_count; seat++) {
        who[seat] = who[seat] &&
                    (state->who.kind == PEERS_LISTED || !stage->world->seats[seat].waits_for_name);
        count += who[seat];
    }
    for (uint32_t seat = 0; seat < stage->world->seats_count; seat++) {
        if (!who[seat])
            continue;
        if (!has_view(stage, seat))
            return tell(words, "p%u is no member of anything", seat);
        const struct mesh *mesh = stage->world->seats[seat].mesh;
        uint32_t alive = members_counted(mesh, 1u << MEMBER_ALIVE);
        if (alive != count)
            return tell(words, "p%u takes %u for alive, not %u", seat, alive, count);
        first = first == WORLD_NOBODY ? seat : first;
        if (mesh_view_hash(mesh) != mesh_view_hash(stage->world->seats[first].mesh))
            return tell(words, "the views of p%u and p%u differ", first, seat);
    }
    return count > 0 ? SO : NOBODY_THERE;
}

/* ---- processes and calls -------------------------------------------------------------------- */

static enum verdict process_is(struct stage *stage, const struct state *state,
                               struct telling_words words)
{
    bool who[WORLD_SEATS_MAX];
    enum verdict verdict = NOBODY_THERE;
    peers_resolve(stage, &state->who, &state->who, PEERS_NODES, who);
    for (uint32_t n = 0; n < stage->world->seats_count; n++) {
        const struct seat *seat = &stage->world->seats[n];
        bool runs = seat->mesh != NULL;
        if (!who[n])
            continue;
        verdict = SO;
        if (state->kind == STATE_RUN && !runs)
            return tell(words, "p%u does not run", n);
        if (state->kind == STATE_WAIT && !(runs && seat->waits_for_name))
            return tell(words, "p%u does not wait for its name", n);
        if (state->kind == STATE_EXIT &&
            (runs || !seat->exited || (uint32_t)seat->exit_reason != state->number))
            return tell(words, "p%u %s", n,
                        runs            ? "runs"
                        : !seat->exited ? "did not exit by itself"
                                        : "exited for another reason");
    }
    return verdict;
}

static enum key_word key_of(const struct mesh *mesh, uint32_t id)
{
    struct mesh_key_info infos[MESH_KEYS_ALL];
    size_t count = mesh_keys(mesh, infos);
    for (size_t n = 0; n < count; n++) {
        if (infos[n].id != id)
            continue;
        switch (infos[n].use) {
        case MESH_KEY_VERIFIES:
            return KEY_VERIFIES;
        case MESH_KEY_IN_USE:
            return infos[n].seals ? KEY_SEALS : KEY_USED;
        case MESH_KEY_LEAVING:
            return infos[n].seals ? KEY_SEALS : KEY_LEAVING;
        }
    }
    return KEY_NONE;
}

static enum verdict key_is(struct stage *stage, const struct state *state, bool never,
                           struct telling_words words)
{
    static const char *const texts[] = {"does not have", "verifies with", "accepts",
                                        "still accepts", "seals with"};
    bool who[WORLD_SEATS_MAX];
    enum verdict verdict = NOBODY_THERE;
    peers_resolve(stage, &state->who, &state->who, PEERS_RUNNING, who);
    for (uint32_t n = 0; n < stage->world->seats_count; n++) {
        const struct seat *seat = &stage->world->seats[n];
        if (!who[n] || seat->mesh == NULL)
            continue;
        enum key_word is = key_of(seat->mesh, keyfile_id((uint8_t)state->number));
        verdict = SO;
        if (!fits(state, never, is))
            return tell(words, "p%u %s key %u", n, texts[is], state->number);
    }
    return verdict;
}

static enum verdict bounded(uint32_t is, const struct state *state, const char *what,
                            struct telling_words words)
{
    return is >= state->least && is <= state->most ? SO : tell(words, "%s: %u", what, is);
}

static enum mesh_reason end_of_call(const struct request *call)
{
    return call->why != MESH_OK ? call->why : call->told_failure;
}

static enum call_word word_of_call(const struct request *call)
{
    bool is_answered = call->has_answer || call->id[0] == 0;
    if (call->state == REQUEST_ENDED)
        return end_of_call(call) == MESH_OK && is_answered ? CALL_ANSWERED : CALL_REFUSED;
    return call->state == REQUEST_GONE || call->state == REQUEST_UNSENT ? CALL_GONE : CALL_OPEN;
}

static enum verdict calls_fail(struct stage *stage, bool never, struct telling_words words)
{
    for (uint32_t n = 0; n < stage->calls_count; n++) {
        const struct request *call = stage->world->clients->requests[stage->calls[n]];
        if (word_of_call(call) == CALL_REFUSED)
            return never ? tell(words, "call %u: %s", n + 1, reason_name(end_of_call(call))) : SO;
    }
    return never ? SO : tell(words, "none did");
}

static enum verdict call_is(struct stage *stage, const struct state *state,
                            struct telling_words words)
{
    if (state->number > stage->calls_count)
        return NOBODY_THERE;
    const struct request *call = stage->world->clients->requests[stage->calls[state->number - 1]];
    enum mesh_reason why = end_of_call(call);
    enum call_word is = word_of_call(call);
    bool has_ended = is == CALL_ANSWERED || is == CALL_REFUSED;
    if (state->kind == STATE_RAN)
        return bounded(call->executions, state, "times that it ran", words);
    if (state->kind == STATE_HEARD)
        return bounded(call->notes, state, "notifications", words);
    if (state->kind == STATE_GAPS)
        return bounded(call->gaps, state, "gaps", words);
    if (state->kind == STATE_TOLD)
        return call->was_told_gap ? SO : tell(words, "it is not");
    bool is_so = state->kind == STATE_ENDS ? has_ended && (uint32_t)why == state->words
                                           : (state->words >> is & 1) != 0;
    return is_so ? SO
                 : tell(words, "call %u: %s", state->number,
                        has_ended         ? reason_name(why)
                        : is == CALL_GONE ? "its client is gone"
                                          : "not ended");
}

static uint32_t servers_of(const struct world *world, uint32_t session)
{
    const struct upstreams *ups = world->upstreams;
    uint32_t count = 0;
    for (uint32_t n = 0; n < ups->ups_count; n++)
        count += ups->ups[n].session == session;
    return count;
}

/* Who believes a claim to its shard (mesh/member/claims.h). */
static uint32_t claims_to(struct world *world, const struct session *session)
{
    uint32_t count = 0;
    for (uint32_t n = 0; n < world->seats_count; n++) {
        struct mesh_why why;
        const struct seat *seat = &world->seats[n];
        if (seat->mesh == NULL)
            continue;
        mesh_why(seat->mesh, session->id, MESH_SESSION_TEXT, &why, world_clock_ms(world, seat));
        count += !peer_id_is_nobody(why.claim);
    }
    return count;
}

static enum verdict session_is(struct stage *stage, const struct state *state,
                               struct telling_words words)
{
    bool who[WORLD_SEATS_MAX];
    struct world *world = stage->world;
    uint32_t session = stage->sessions[state->number];
    struct records records;
    if (state->kind == STATE_QUESTIONS)
        return bounded((uint32_t)world->upstreams->answered, state, "answered", words);
    if (session == WORLD_NOBODY || !world->clients->sessions[session]->has_id)
        return NOBODY_THERE;
    records_of(world, world->clients->sessions[session], &records);
    switch ((int)state->kind) {
    case STATE_EPOCH:
        return bounded((uint32_t)records.epoch, state, "epoch", words);
    case STATE_OWNERS:
        return bounded(records.owners, state, "owners", words);
    case STATE_COPIES:
        return bounded(records.copies, state, "copies", words);
    case STATE_CLAIMS:
        return bounded(claims_to(world, world->clients->sessions[session]), state, "claims", words);
    case STATE_SERVERS:
        return bounded(servers_of(world, session), state, "servers", words);
    }
    peers_resolve(stage, &state->who, &state->who, PEERS_NODES, who);
    if (records.owner == WORLD_NOBODY)
        return tell(words, "nobody owns it");
    return who[records.owner] ? SO : tell(words, "it is p%u's", records.owner);
}

enum verdict state_is(struct stage *stage, const struct state *state, bool never, char *words,
                      size_t words_size)
{
    struct telling_words told = {words, words_size};
    enum verdict verdict = NOBODY_THERE;
    words[0] = '\0';
    switch (state->kind) {
    case STATE_MEMBER:
    case STATE_SERVING:
        return member_is(stage, state, never, told);
    case STATE_AGREE:
        verdict = agree(stage, state, told);
        break;
    case STATE_MEMBERS:
    case STATE_TABLE:
    case STATE_SESSIONS:
    case STATE_MOVES:
        verdict = count_is(stage, state, told);
        break;
    case STATE_CANDIDATES:
        verdict = candidates_are(stage, state, told);
        break;
    case STATE_CALLS:
        return calls_fail(stage, never, told);
    case STATE_KEY:
        return key_is(stage, state, never, told);
    case STATE_RUN:
    case STATE_WAIT:
    case STATE_EXIT:
        verdict = process_is(stage, state, told);
        break;
    case STATE_EPOCH:
    case STATE_OWNERS:
    case STATE_COPIES:
    case STATE_CLAIMS:
    case STATE_OWNER:
    case STATE_SERVERS:
    case STATE_QUESTIONS:
        verdict = session_is(stage, state, told);
        break;
    case STATE_CALL:
    case STATE_RAN:
    case STATE_ENDS:
    case STATE_HEARD:
    case STATE_GAPS:
    case STATE_TOLD:
        verdict = call_is(stage, state, told);
        break;
    case STATE_KINDS:
        break;
    }
    if (!never || verdict == NOBODY_THERE)
        return verdict;
    return verdict == SO ? tell(told, "it is so") : SO;
}
