/* scenario_read.c - scenario files: a line of words to a step. The language stands in
 * scenario.h. Everything is bounded; the first error ends it, told as FILE:LINE: what is wrong. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "sim/client.h"
#include "sim/scenario_words.h"

#define LINE_MAX_BYTES 256
#define LINES_MAX 2000u
#define REASONS 21u /* enum mesh_reason */

/* ---- states --------------------------------------------------------------------------------- */

/* N, names or names + N. */
static int read_count(struct reader *reader, uint32_t *count)
{
    uint64_t number = 0;
    int rc = 0;
    *count = 0;
    if (reader_takes(reader, "names")) {
        *count = reader->scenario->nodes;
        if (!reader_takes(reader, "+"))
            return 0;
    }
    rc = reader_number(reader, 1000000, &number);
    *count += (uint32_t)number;
    return rc;
}

/* = N, <= N or >= N */
static int read_bounds(struct reader *reader, struct state *state)
{
    static const char *const signs[] = {"=", "<=", ">="};
    uint32_t count = 0;
    int sign = reader_one_of(reader, signs, 3);
    int rc = sign < 0 ? sign : read_count(reader, &count);
    state->least = sign == 1 ? 0 : count;
    state->most = sign == 2 ? UINT32_MAX : count;
    return rc;
}

static int read_at_peers(struct reader *reader, struct state *state)
{
    int rc = reader_needs(reader, "at");
    return rc < 0 ? rc : reader_peers(reader, &state->where);
}

/* WORD [or WORD ...], as bits */
static int read_words(struct reader *reader, const char *const *words, size_t count, uint32_t *bits)
{
    do {
        int n = reader_one_of(reader, words, count);
        if (n < 0)
            return n;
        *bits |= 1u << n;
    } while (reader_takes(reader, "or"));
    return 0;
}

static int read_member_state(struct reader *reader, struct state *state)
{
    /* in the order of enum member_state */
    static const char *const words[] = {"unknown", "alive", "suspect", "dead", "left"};
    int rc = reader_peers(reader, &state->who);
    if (rc == 0)
        rc = read_at_peers(reader, state);
    if (rc == 0)
        rc = reader_needs(reader, "is");
    return rc < 0 ? rc : read_words(reader, words, 5, &state->words);
}

static int read_serving(struct reader *reader, struct state *state)
{
    static const char *const words[] = {"off", "on"};
    int rc = reader_peers(reader, &state->who);
    if (rc == 0)
        rc = read_at_peers(reader, state);
    if (rc == 0)
        rc = reader_needs(reader, "is");
    return rc < 0 ? rc : read_words(reader, words, 2, &state->words);
}

static int read_exit(struct reader *reader, struct state *state)
{
    static const char *const words[] = {"taken", "superseded", "left"};
    static const enum mesh_change changes[] = {MESH_NAME_TAKEN, MESH_SUPERSEDED_BY, MESH_LEFT_MESH};
    int rc = reader_needs(reader, "of");
    if (rc == 0)
        rc = reader_peers(reader, &state->who);
    if (rc == 0)
        rc = reader_needs(reader, "is");
    if (rc < 0)
        return rc;
    rc = reader_one_of(reader, words, 3);
    if (rc < 0)
        return rc;
    state->number = changes[rc];
    return 0;
}

static int read_candidates(struct reader *reader, struct state *state)
{
    uint64_t session = 0;
    int rc = reader_needs(reader, "of");
    if (rc == 0)
        rc = reader_number(reader, SCENARIO_SESSIONS_MAX - 1, &session);
    if (rc == 0)
        rc = read_at_peers(reader, state);
    if (rc == 0)
        rc = reader_needs(reader, "are");
    state->number = (uint32_t)session;
    return rc < 0 ? rc : reader_peers(reader, &state->who);
}

/* key N at PEERS is WORD [or WORD ...] */
static int read_key(struct reader *reader, struct state *state)
{
    /* in the order of enum key_word */
    static const char *const words[] = {"none", "verifies", "used", "leaving", "seals"};
    uint64_t number = 0;
    int rc = reader_number(reader, KEYFILE_KEYS, &number);
    state->number = (uint32_t)number;
    if (rc == 0 && number == 0)
        return reader_bad(reader, "keys count from 1");
    if (rc == 0)
        rc = reader_needs(reader, "at");
    if (rc == 0)
        rc = reader_peers(reader, &state->who);
    if (rc == 0)
        rc = reader_needs(reader, "is");
    return rc < 0 ? rc : read_words(reader, words, 5, &state->words);
}

/* How often, or how it ended. */
static int read_call_state(struct reader *reader, struct state *state)
{
    static const char *const words[] = {"answered", "refused", "open", "gone"};
    uint64_t number = 0;
    int rc = 0;
    if (reader_takes(reader, "ran")) {
        state->kind = STATE_RAN;
        rc = reader_number(reader, 1000, &number);
        state->least = state->most = (uint32_t)number;
        return rc < 0 ? rc : reader_needs(reader, "times");
    }
    if (reader_takes(reader, "heard")) {
        state->kind = STATE_HEARD;
        rc = read_bounds(reader, state);
        if (rc == 0 && reader_takes(reader, "gaps")) {
            state->kind = STATE_GAPS;
            return 0;
        }
        return rc < 0 ? rc : reader_needs(reader, "notifications");
    }
    if (reader_takes(reader, "ends")) {
        state->kind = STATE_ENDS;
        while (state->words < REASONS &&
               strcmp(reason_name((enum mesh_reason)state->words), reader_word(reader)) != 0)
            state->words++;
        if (state->words == REASONS)
            return reader_bad(reader, "'%s': no reason", reader_word(reader));
        reader->at++;
        return 0;
    }
    rc = reader_needs(reader, "is");
    if (rc == 0 && reader_takes(reader, "told")) {
        state->kind = STATE_TOLD;
        return 0;
    }
    return rc < 0 ? rc : read_words(reader, words, 4, &state->words);
}

static int read_call(struct reader *reader, struct state *state)
{
    uint64_t number = 0;
    int rc = reader_number(reader, SCENARIO_CALLS_MAX, &number);
    if (rc == 0 && number == 0)
        return reader_bad(reader, "calls count from 1");
    state->number = (uint32_t)number;
    return rc < 0 ? rc : read_call_state(reader, state);
}

/* of N = K */
static int read_of_session(struct reader *reader, struct state *state)
{
    uint64_t number = 0;
    int rc = reader_needs(reader, "of");
    if (rc == 0)
        rc = reader_number(reader, SCENARIO_SESSIONS_MAX - 1, &number);
    state->number = (uint32_t)number;
    if (rc < 0 || state->kind != STATE_OWNER)
        return rc < 0 ? rc : read_bounds(reader, state);
    rc = reader_needs(reader, "is");
    return rc < 0 ? rc : reader_peers(reader, &state->who);
}

static int read_questions(struct reader *reader, struct state *state)
{
    int rc = read_bounds(reader, state);
    return rc < 0 ? rc : reader_needs(reader, "answered");
}

static int read_of_peers(struct reader *reader, struct state *state)
{
    static const char *const words[] = {"agree", "run", "wait"};
    static const enum state_kind kinds[] = {STATE_AGREE, STATE_RUN, STATE_WAIT};
    int rc = reader_peers(reader, &state->who);
    if (rc < 0)
        return reader_bad(reader, "'%s': no state", reader_word(reader));
    rc = reader_one_of(reader, words, 3);
    if (rc < 0)
        return rc;
    state->kind = kinds[rc];
    return 0;
}

static int read_state(struct reader *reader, struct state *state)
{
    static const char *const words[] = {"state",    "members", "table", "candidates", "serving",
                                        "moves",    "claims",  "exit",  "call",       "epoch",
                                        "owners",   "copies",  "owner", "servers",    "questions",
                                        "sessions", "key",     "calls"};
    static const enum state_kind kinds[] = {
        STATE_MEMBER, STATE_MEMBERS, STATE_TABLE,     STATE_CANDIDATES, STATE_SERVING, STATE_MOVES,
        STATE_CLAIMS, STATE_EXIT,    STATE_CALL,      STATE_EPOCH,      STATE_OWNERS,  STATE_COPIES,
        STATE_OWNER,  STATE_SERVERS, STATE_QUESTIONS, STATE_SESSIONS,   STATE_KEY,     STATE_CALLS};
    size_t n = 0;
    int rc = 0;
    *state = (struct state){.kind = STATE_KINDS};
    while (n < sizeof kinds / sizeof *kinds && !reader_takes(reader, words[n]))
        n++;
    if (n == sizeof kinds / sizeof *kinds)
        return read_of_peers(reader, state);
    state->kind = kinds[n];
    switch ((int)state->kind) {
    case STATE_MEMBER:
        return read_member_state(reader, state);
    case STATE_SERVING:
        return read_serving(reader, state);
    case STATE_EXIT:
        return read_exit(reader, state);
    case STATE_KEY:
        return read_key(reader, state);
    case STATE_CALLS:
        return reader_needs(reader, "fail");
    case STATE_CALL:
        return read_call(reader, state);
    case STATE_EPOCH:
    case STATE_OWNERS:
    case STATE_COPIES:
    case STATE_CLAIMS:
    case STATE_OWNER:
    case STATE_SERVERS:
        return read_of_session(reader, state);
    case STATE_QUESTIONS:
        return read_questions(reader, state);
    case STATE_CANDIDATES:
        return read_candidates(reader, state);
    }
    rc = read_at_peers(reader, state);
    return rc < 0 ? rc : read_bounds(reader, state);
}

/* ---- lines ---------------------------------------------------------------------------------- */

/* at most N changes of ring at PEERS */
static int read_changes(struct reader *reader, struct step *step)
{
    static const char *const words[] = {"ring", "suspect", "dead"};
    int rc = reader_needs(reader, "most");
    step->kind = STEP_CHANGES;
    if (rc == 0)
        rc = read_count(reader, &step->most);
    if (rc == 0)
        rc = reader_needs(reader, "changes");
    if (rc == 0 && !reader_takes(reader, "of"))
        rc = reader_needs(reader, "to");
    if (rc < 0)
        return rc;
    rc = reader_one_of(reader, words, CHANGE_WORDS);
    if (rc < 0)
        return rc;
    step->state.words = (uint32_t)rc;
    return read_at_peers(reader, &step->state);
}

static int read_bytes(struct reader *reader, struct step *step)
{
    static const char *const words[] = {"per", "peer-second", "<="};
    uint64_t most = 0;
    int rc = 0;
    step->kind = STEP_BYTES;
    for (size_t n = 0; n < 3 && rc == 0; n++)
        rc = reader_needs(reader, words[n]);
    if (rc == 0)
        rc = reader_number(reader, 10000000, &most);
    step->most = (uint32_t)most;
    return rc;
}

static int read_always(struct reader *reader, struct step *step)
{
    step->kind = reader_takes(reader, "always") ? STEP_ALWAYS : STEP_NEVER;
    if (step->kind == STEP_NEVER && !reader_takes(reader, "never"))
        return reader_bad(
            reader, "'%s' where 'every', 'always', 'never', 'at most' or 'bytes' has to stand",
            reader_word(reader));
    return read_state(reader, &step->state);
}

/* from TIME to TIME ... */
static int read_span(struct reader *reader, struct step *step)
{
    int rc = reader_time(reader, &step->from_ms);
    if (rc == 0)
        rc = reader_needs(reader, "to");
    if (rc == 0)
        rc = reader_time(reader, &step->to_ms);
    if (rc == 0 && step->to_ms <= step->from_ms)
        return reader_bad(reader, "from a time to a later one");
    if (rc < 0)
        return rc;
    if (reader_takes(reader, "at"))
        return read_changes(reader, step);
    if (reader_takes(reader, "bytes"))
        return read_bytes(reader, step);
    if (!reader_takes(reader, "every"))
        return read_always(reader, step);
    step->kind = STEP_DEED;
    rc = reader_time(reader, &step->every_ms);
    if (rc == 0 && step->every_ms == 0)
        return reader_bad(reader, "every 0 is for ever");
    if (rc == 0)
        rc = reader_deed(reader, &step->deed);
    reader->last_deed_ms = step->to_ms;
    return rc;
}

static int read_at(struct reader *reader, struct step *step)
{
    int rc = reader_time(reader, &step->from_ms);
    step->to_ms = step->from_ms;
    if (rc < 0)
        return rc;
    if (reader_takes(reader, "expect")) {
        step->kind = STEP_EXPECT;
        return read_state(reader, &step->state);
    }
    step->kind = STEP_DEED;
    reader->last_deed_ms = step->from_ms;
    return reader_deed(reader, &step->deed);
}

static int read_by(struct reader *reader, struct step *step)
{
    int rc = reader_time(reader, &step->to_ms);
    step->kind = STEP_EXPECT;
    step->from_ms = step->to_ms;
    if (rc == 0 && step->to_ms < reader->last_deed_ms)
        return reader_bad(reader, "that is before the deed above");
    return rc < 0 ? rc : read_state(reader, &step->state);
}

static int read_step(struct reader *reader)
{
    struct scenario *scenario = reader->scenario;
    if (scenario->steps_count == SCENARIO_STEPS_MAX)
        return reader_bad(reader, "more than %u steps", SCENARIO_STEPS_MAX);
    struct step *step = &scenario->steps[scenario->steps_count++];
    int rc = 0;
    *step = (struct step){.line = reader->line};
    memcpy(step->text, reader->text, sizeof step->text);
    if (reader_takes(reader, "at"))
        rc = read_at(reader, step);
    else if (reader_takes(reader, "by"))
        rc = read_by(reader, step);
    else if (reader_takes(reader, "from"))
        rc = read_span(reader, step);
    else if (strcmp(reader_word(reader), "always") == 0 ||
             strcmp(reader_word(reader), "never") == 0)
        rc = read_always(reader, step); /* to_ms 0: to the end, set when that is known */
    else
        return reader_bad(reader, "'%s': a line begins with at, by, from, always or never",
                          reader_word(reader));
    if (step->to_ms > scenario->end_ms)
        scenario->end_ms = step->to_ms;
    return rc;
}

static int read_line(struct reader *reader)
{
    struct scenario *scenario = reader->scenario;
    uint64_t number = 0;
    int rc = 0;
    if (scenario->nodes == 0) {
        rc = reader_needs(reader, "nodes");
        if (rc == 0)
            rc = reader_number(reader, WORLD_NODES_MAX, &number);
        if (rc == 0 && number == 0)
            return reader_bad(reader, "a mesh of nobody");
        scenario->nodes = scenario->seats = (uint32_t)number;
    } else if (reader_takes(reader, "seeds")) {
        rc = reader_number(reader, 1000, &scenario->seeds);
        if (rc == 0 && scenario->seeds == 0)
            return reader_bad(reader, "no seed at all");
    } else if (reader_takes(reader, "another")) {
        rc = reader_peers(reader, &scenario->another);
    } else if (reader_takes(reader, "servers")) {
        rc = reader_needs(reader, "by-seed");
        scenario->servers_by_seed = true;
    } else if (reader_takes(reader, "rebalance")) {
        rc = reader_needs(reader, "idle");
        scenario->rebalances = true;
    } else if (reader_takes(reader, "keyed")) {
        scenario->keyed = true;
    } else if (reader_takes(reader, "contacts")) {
        rc = reader_peers(reader, &scenario->contacts);
    } else {
        rc = read_step(reader);
    }
    if (rc == 0 && reader->at < reader->count)
        return reader_bad(reader, "'%s' and what follows: too much", reader_word(reader));
    return rc;
}

static int split_line(struct reader *reader, char *line)
{
    char *hash = strchr(line, '#');
    if (strchr(line, '\n') == NULL && strlen(line) + 1 == LINE_MAX_BYTES)
        return reader_bad(reader, "a line of more than %d bytes", LINE_MAX_BYTES - 2);
    if (hash != NULL)
        *hash = '\0';
    reader->count = reader->at = 0;
    char *rest = NULL;
    for (char *at = strtok_r(line, " \t\r\n", &rest); at != NULL;
         at = strtok_r(NULL, " \t\r\n", &rest)) {
        if (reader->count == WORDS_MAX)
            return reader_bad(reader, "a line of more than %u words", WORDS_MAX);
        reader->words[reader->count++] = at;
    }
    size_t length = 0;
    reader->text[0] = '\0';
    for (uint32_t n = 0; n < reader->count && length < sizeof reader->text; n++)
        length += (size_t)snprintf(reader->text + length, sizeof reader->text - length, "%s%s",
                                   n == 0 ? "" : " ", reader->words[n]);
    return 0;
}

/* Of the lists of a finished file: does each name somebody who is there? */
static bool peers_exist(const struct scenario *scenario, const struct peers *peers)
{
    for (uint32_t seat = scenario->seats; seat < WORLD_SEATS_MAX; seat++)
        if ((peers->set[seat / 64] >> seat % 64 & 1) != 0)
            return false;
    return true;
}

/* What only the whole file tells: who exists, when it ends. */
static int finish(struct reader *reader)
{
    struct scenario *scenario = reader->scenario;
    if (scenario->nodes == 0 || scenario->steps_count == 0)
        return reader_bad(reader, "the file tells nothing");
    for (uint32_t n = 0; n < scenario->steps_count; n++) {
        struct step *step = &scenario->steps[n];
        bool exist =
            peers_exist(scenario, &step->state.who) && peers_exist(scenario, &step->state.where);
        for (uint32_t k = 0; k < step->deed.who_count; k++)
            exist = exist && peers_exist(scenario, &step->deed.who[k]);
        reader->line = step->line;
        if (!exist)
            return reader_bad(reader, "it names a peer that is not there");
        if ((step->kind == STEP_ALWAYS || step->kind == STEP_NEVER) && step->to_ms == 0)
            step->to_ms = scenario->end_ms;
    }
    return peers_exist(scenario, &scenario->contacts) && peers_exist(scenario, &scenario->another)
               ? 0
               : reader_bad(reader, "its first lines name a peer that is not there");
}

int scenario_read(struct scenario **scenariop, const char *path, char *error, size_t error_size)
{
    char line[LINE_MAX_BYTES];
    struct scenario *scenario = sim_zero(sizeof *scenario);
    struct reader reader = {.scenario = scenario, .error = error, .error_size = error_size};
    FILE *file = fopen(path, "re");
    int rc = file != NULL ? 0 : -errno;
    snprintf(scenario->path, sizeof scenario->path, "%s", path);
    scenario->seeds = 1;
    scenario->contacts.kind = PEERS_ALL;
    if (rc < 0)
        snprintf(error, error_size, "%s: %s", path, strerror(-rc));
    while (rc == 0 && fgets(line, sizeof line, file) != NULL) {
        if (++reader.line > LINES_MAX)
            rc = reader_bad(&reader, "more than %u lines", LINES_MAX);
        if (rc == 0)
            rc = split_line(&reader, line);
        if (rc == 0 && reader.count > 0)
            rc = read_line(&reader);
    }
    if (rc == 0 && ferror(file))
        rc = reader_bad(&reader, "it cannot be read");
    if (rc == 0)
        rc = finish(&reader);
    if (file != NULL)
        fclose(file);
    if (rc < 0) {
        free(scenario);
        return rc;
    }
    *scenariop = scenario;
    return 0;
}
