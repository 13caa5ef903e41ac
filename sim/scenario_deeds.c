/* scenario_deeds.c - what is done in a step of a scenario: a verb, and what belongs to it. */
#include <errno.h>

#include "sim/client.h"
#include "sim/scenario_words.h"

static const char *const deed_words[DEED_KINDS] = {
    "start",       "crash",        "power-off",    "restart",   "leave",   "pause",  "stall",
    "slow",        "twin",         "cut",          "mend",      "split",   "heal",   "loss",
    "delay",       "delay-gossip", "mtu",          "duplicate", "reorder", "replay", "serving",
    "dns",         "clock",        "open",         "call",      "read",    "get",    "delete",
    "answer",      "say",          "vanish",       "resume",    "reject",  "admit",  "end-server",
    "hang-server", "stop-server",  "start-server", "keys",      "use-key"};

static int read_sides(struct reader *reader, struct deed *deed)
{
    int rc = reader_peers(reader, &deed->who[0]);
    deed->who_count = 1;
    while (rc == 0 && reader_takes(reader, "|")) {
        if (deed->who_count == SCENARIO_GROUPS_MAX)
            return reader_bad(reader, "a split has at most %u sides", SCENARIO_GROUPS_MAX);
        rc = reader_peers(reader, &deed->who[deed->who_count++]);
    }
    if (rc == 0 && deed->who_count < 2)
        return reader_bad(reader, "a split has two sides or more: p0 p1 | p2");
    return rc;
}

/* PEERS -> PEERS, or just PEERS if `may_lack`. */
static int read_path(struct reader *reader, struct deed *deed, bool may_lack)
{
    int rc = reader_peers(reader, &deed->who[0]);
    if (rc < 0 || (may_lack && strcmp(reader_word(reader), "->") != 0))
        return rc;
    rc = reader_needs(reader, "->");
    if (rc == 0)
        rc = reader_peers(reader, &deed->who[1]);
    deed->who_count = 2;
    return rc;
}

static int read_quality(struct reader *reader, struct deed *deed)
{
    uint64_t number = 0;
    int rc = read_path(reader, deed, true);
    if (rc < 0)
        return rc;
    if (deed->kind == DEED_LOSS)
        return reader_percent(reader, &deed->number);
    rc = deed->kind == DEED_MTU ? reader_number(reader, 65535, &number)
                                : reader_time(reader, &number);
    deed->number = (int64_t)number;
    return rc;
}

static int read_restart(struct reader *reader, struct deed *deed)
{
    uint32_t seat = 0;
    int rc = reader_peers(reader, &deed->who[0]);
    if (rc == 0 && reader_takes(reader, "new-address"))
        deed->number = RESTART_NEW_ADDRESS;
    if (rc == 0 && reader_takes(reader, "at")) {
        deed->number = RESTART_AT;
        rc = reader_one_peer(reader, &deed->who[1], &seat);
        deed->who_count = 2;
        deed->other = seat;
    }
    return rc;
}

/* PEERS, a word, a time. */
static int read_timed(struct reader *reader, struct deed *deed, const char *between)
{
    uint64_t ms = 0;
    int rc = reader_peers(reader, &deed->who[0]);
    if (rc == 0)
        rc = reader_needs(reader, between);
    if (rc == 0)
        rc = reader_time(reader, &ms);
    deed->number = (int64_t)ms;
    return rc;
}

static int read_clock(struct reader *reader, struct deed *deed)
{
    uint64_t ms = 0;
    int rc = reader_peers(reader, &deed->who[0]);
    if (rc < 0)
        return rc;
    const char *text = reader_word(reader);
    if ((*text != '+' && *text != '-') || !time_of(text + 1, &ms))
        return reader_bad(reader, "'%s': no jump like +1h or -20m", text);
    deed->number = *text == '-' ? -(int64_t)ms : (int64_t)ms;
    reader->at++;
    return 0;
}

static int read_twin(struct reader *reader, struct deed *deed)
{
    struct scenario *scenario = reader->scenario;
    struct peers twin;
    uint32_t elder = 0, seat = 0;
    int rc = reader_one_peer(reader, &deed->who[0], &elder);
    if (rc == 0)
        rc = reader_needs(reader, "as");
    if (rc == 0)
        rc = reader_one_peer(reader, &twin, &seat);
    if (rc == 0 && seat != scenario->seats)
        return reader_bad(reader, "the next twin is p%u", scenario->seats);
    if (rc == 0)
        scenario->seats++;
    deed->number = seat;
    return rc;
}

/* [taking TIME] [in K events] [by asking] */
static int read_manner(struct reader *reader, struct deed *deed)
{
    uint64_t ms = 0, events = 0;
    int rc = 0;
    if (reader_takes(reader, "taking"))
        rc = reader_time(reader, &ms);
    if (rc == 0 && reader_takes(reader, "in")) {
        rc = reader_number(reader, 100, &events);
        if (rc == 0)
            rc = reader_needs(reader, "events");
    }
    if (rc == 0 && reader_takes(reader, "by")) {
        rc = reader_needs(reader, "asking");
        deed->asks = true;
    }
    deed->other = (int64_t)ms;
    deed->events = (uint32_t)events;
    return rc;
}

static int read_session(struct reader *reader, struct deed *deed)
{
    bool of_call = deed->kind == DEED_VANISH || deed->kind == DEED_RESUME;
    uint64_t number = 0;
    int rc =
        reader_number(reader, of_call ? SCENARIO_CALLS_MAX : SCENARIO_SESSIONS_MAX - 1, &number);
    deed->number = (int64_t)number;
    if (rc == 0 && of_call && number == 0)
        return reader_bad(reader, "calls count from 1");
    if (rc < 0 || deed->kind == DEED_VANISH)
        return rc;
    deed->is_there = reader_takes(reader, "at");
    if (!deed->is_there)
        return deed->kind == DEED_SAY ? 0 : reader_needs(reader, "at");
    if (rc == 0)
        rc = reader_peers(reader, &deed->who[0]);
    if (rc == 0 && (deed->kind == DEED_CALL || deed->kind == DEED_READ))
        rc = read_manner(reader, deed);
    return rc;
}

/* PEERS N ... [verify N ...] */
static int read_keys(struct reader *reader, struct deed *deed)
{
    struct key_file *file = &deed->keys;
    bool verify = false;
    int rc = reader_peers(reader, &deed->who[0]);
    while (rc == 0 && reader_word(reader)[0] != '\0') {
        uint64_t number = 0;
        verify = verify || reader_takes(reader, "verify");
        rc = reader_number(reader, KEYFILE_KEYS, &number);
        if (rc == 0 && (number == 0 || file->count == MESH_KEYS_MAX))
            return reader_bad(reader, "at most %u of the keys 1 .. %u", MESH_KEYS_MAX,
                              KEYFILE_KEYS);
        if (verify)
            file->verify_only = (uint8_t)(file->verify_only | 1u << file->count);
        file->keys[file->count++] = (uint8_t)number;
    }
    if (rc == 0 && (file->verify_only & 1 || file->count == 0))
        return reader_bad(reader, "a key file has a key in use");
    return rc;
}

static int read_use_key(struct reader *reader, struct deed *deed)
{
    uint64_t number = 0;
    int rc = reader_number(reader, KEYFILE_KEYS, &number);
    if (rc == 0 && number == 0)
        return reader_bad(reader, "keys count from 1");
    if (rc == 0)
        rc = reader_needs(reader, "at");
    deed->number = (int64_t)number;
    return rc < 0 ? rc : reader_peers(reader, &deed->who[0]);
}

int reader_deed(struct reader *reader, struct deed *deed)
{
    static const char *const on_off[] = {"off", "on"};
    static const char *const answers[] = {"right", "empty", "stale"};
    int rc = reader_one_of(reader, deed_words, DEED_KINDS);
    if (rc < 0)
        return reader_bad(reader, "'%s': no deed", reader_word(reader));
    *deed = (struct deed){.kind = (enum deed_kind)rc, .who_count = 1};
    switch (deed->kind) {
    case DEED_START:
    case DEED_CRASH:
    case DEED_POWER_OFF:
    case DEED_REJECT:
    case DEED_ADMIT:
    case DEED_END_SERVER:
    case DEED_STOP_SERVER:
    case DEED_START_SERVER:
        return reader_peers(reader, &deed->who[0]);
    case DEED_RESTART:
        return read_restart(reader, deed);
    case DEED_LEAVE:
        return read_timed(reader, deed, "within");
    case DEED_PAUSE:
    case DEED_STALL:
    case DEED_HANG_SERVER:
        return read_timed(reader, deed, "for");
    case DEED_SLOW:
        return read_timed(reader, deed, "by");
    case DEED_TWIN:
        return read_twin(reader, deed);
    case DEED_CUT:
    case DEED_MEND:
        return read_path(reader, deed, false);
    case DEED_SPLIT:
        return read_sides(reader, deed);
    case DEED_HEAL:
        return 0;
    case DEED_LOSS:
    case DEED_DELAY:
    case DEED_DELAY_GOSSIP:
    case DEED_MTU:
        return read_quality(reader, deed);
    case DEED_DUPLICATE:
    case DEED_REORDER:
    case DEED_REPLAY:
        return reader_percent(reader, &deed->number);
    case DEED_SERVING:
        rc = reader_peers(reader, &deed->who[0]);
        if (rc == 0)
            rc = reader_one_of(reader, on_off, 2);
        deed->number = rc;
        return rc < 0 ? rc : 0;
    case DEED_DNS:
        rc = reader_one_of(reader, answers, 3);
        deed->number = rc;
        return rc < 0 ? rc : 0;
    case DEED_CLOCK:
        return read_clock(reader, deed);
    case DEED_KEYS:
        return read_keys(reader, deed);
    case DEED_USE_KEY:
        return read_use_key(reader, deed);
    case DEED_OPEN:
    case DEED_CALL:
    case DEED_READ:
    case DEED_GET:
    case DEED_DELETE:
    case DEED_ANSWER:
    case DEED_SAY:
    case DEED_VANISH:
    case DEED_RESUME:
        return read_session(reader, deed);
    case DEED_KINDS:
        break;
    }
    return -EINVAL;
}
