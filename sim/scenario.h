/* scenario.h - stories as plain text: who is in a mesh, what goes wrong when, and what must come of
 * it. `mesh-sim --scenario FILE [--seed N]` tells one; sim/scenarios/ holds one for each pitfall,
 * and its README.md says how to write them.
 *
 * A line says one thing; `#` begins a comment. Peers are called p0, p1, ... as in a trace. Times
 * are virtual and exact: 0, 250ms, 10s, 5m, 2h. Every delay is 1 ms and nothing goes wrong but what
 * the file says. What happens at a moment happens before what a line does then; lines of one moment
 * are done in their order. The run ends at the last time named.
 *
 *     nodes 5                     the peers p0 .. p4; required, first
 *     seeds 20                    with seeds 1 .. 20, if no --seed is given; else 1
 *     another p4 p5               peers of another cluster, whose contacts are among them
 *     contacts p0 p1              what everybody's list of contacts (--join) names; else everybody
 *
 *     servers by-seed             http, stdio, built in, in turn; else http
 *     rebalance idle              --rebalance of all peers
 *     keyed                       peers have a key file; there is key 1 in it, until a deed says so
 *
 *     at TIME DEED
 *     from TIME to TIME every TIME DEED       the first time at the first time
 *     at TIME expect STATE                    holds at that moment
 *     by TIME STATE                           likewise; the time is none before the deed above
 *     always STATE, never STATE               holds (does not) at all times
 *     from TIME to TIME always STATE          likewise, between two times; never as well
 *     from TIME to TIME at most N changes of ring at PEERS       or: `to suspect`, `to dead`
 *     from TIME to TIME bytes per peer-second <= N               of datagrams, of those that run
 *
 * PEERS is `all` (that run), `others` (than those named first in the line), `any 3` (of those that
 * run, drawn from the seed), `any 3 of p0..p9`, `owner of 0`, `holders of 0` (who has a copy of
 * session 0), `strangers to 0` (neither), `any 1 of holders of 0`, or a list: p1 p4..p7.
 *
 * DEED:
 *     start PEERS, crash PEERS, power-off PEERS (not even a reset comes back)
 *     restart PEERS [new-address]     or `at p1`: at that of p1's seat, beside it if it runs
 *     leave PEERS within TIME
 *     pause PEERS for TIME            the process stands still
 *     stall PEERS for TIME            nothing is sent or received, timers run
 *     slow PEERS by TIME              each turn takes so long
 *     twin p1 as p5                   another process of its name, at an address of its own
 *     cut PEERS -> PEERS, mend PEERS -> PEERS, split PEERS | PEERS ..., heal (all of it)
 *     loss PEERS [-> PEERS] N%        without an arrow: whatever goes to or from them
 *     delay PEERS [-> PEERS] TIME     more than the 1 ms
 *     delay-gossip PEERS [-> PEERS] TIME      likewise, of datagrams alone
 *     mtu PEERS [-> PEERS] N          bytes with headers; what is longer vanishes; 0: no bound
 *     duplicate N%, reorder N%, replay N%
 *     serving PEERS on|off            what the peer's server says
 *     dns right|empty|stale           what contacts resolve to, every 10 s; stale: as they are now
 *     keys PEERS N ... [verify N ...]         their key files hold these keys from now on, of 1 ..
 * 6: those in use in order, and such as only verify. Who runs reads it at once use-key N at PEERS
 * `meshd keys use` at each of them clock PEERS +TIME|-TIME         how wrong the wall clock is that
 * the next start finds open N at p0                    a client opens session N reject PEERS, admit
 * PEERS       a firewall refuses who dials them; datagrams pass end-server PEERS their MCP server
 * dies, and another is there at once stop-server PEERS, start-server PEERS           likewise, but
 * until then nobody is there hang-server PEERS for TIME      it takes requests and answers late say
 * N [at PEERS]                the server of session N sends a notification; in a split that beside
 * one of those peers delete N at PEERS call N at PEERS [taking TIME] [in K events] [by asking]    a
 * request of session N that must not run twice, answered after K events, or after a question to the
 * client; of several peers the first read N at PEERS [taking TIME] [in K events]                one
 * that may get N at PEERS                  GET: its own stream. The calls, reads and gets of a file
 *                                     count from 1
 *     vanish N                        the client of call N goes away
 *     resume N at PEERS               and comes back: counts as a call
 *     answer N at PEERS               to the newest question of session N
 *
 * STATE:
 *     PEERS agree                     equal views, which hold just them for alive
 *     state PEERS at PEERS is WORD [or WORD ...]      alive, suspect, dead, left, unknown: what is
 *                                     thought of the newest process there
 *     members at PEERS = N            alive or suspect; or <=, >=; N may be `names`, `names + 3`:
 *                                     as many as `nodes` says
 *     table at PEERS <= N             all rows, those of the dead as well
 *     sessions at PEERS = N           that it owns
 *     moves at PEERS = N              how often it was sent on to another owner, since it started
 *     candidates of N at PEERS are PEERS      of session N, in no order; at most 8 can be named
 *     serving PEERS at PEERS is on|off
 *     key N at PEERS is WORD [or WORD ...]    none, verifies, used (accepted), leaving (accepted,
 *                                     though not in the file), seals (and mints)
 *     PEERS run, PEERS wait (for their name), exit of PEERS is left|taken|superseded
 *     call N is answered|refused|open|gone
 *     calls fail                      one that ended got something else than its answer
 *     call N ran N times
 *     call N ends REASON              outcome-unknown, ...
 *     call N heard K notifications    of servers; or <=, >=
 *     call N heard K gaps             likewise: it was told that events were missed
 *     call N is told                  that something may be missing
 *     epoch of N = K                  of session N, the highest; or <=, >=
 *     owners of N = K, copies of N = K
 *     claims of N = K                 peers that believe somebody who says that it carries it on
 *     owner of N is PEERS             it is one of them
 *     servers of N = K                that were initialized for session N so far
 *     questions = K answered          of servers, by clients
 *
 * `always` and `never` look at each change of a `state`, at anything else every 10 ms. */
#ifndef SIM_SCENARIO_H
#define SIM_SCENARIO_H

#include "sim/world.h"

#define SCENARIO_STEPS_MAX 256u
#define SCENARIO_SESSIONS_MAX 16u
#define SCENARIO_CALLS_MAX 256u
#define SCENARIO_GROUPS_MAX 8u
#define SCENARIO_SET_WORDS ((WORLD_SEATS_MAX + 63) / 64)

/* Some of the peers. */
struct peers {
    enum peers_kind {
        PEERS_LISTED,
        PEERS_ALL,
        PEERS_OTHERS,
        PEERS_OWNER, /* session: so the next two */
        PEERS_HOLDERS,
        PEERS_STRANGERS
    } kind;
    uint32_t session;
    uint32_t any; /* so many of them, drawn; 0: each */
    uint64_t set[SCENARIO_SET_WORDS];
};

enum deed_kind {
    DEED_START,
    DEED_CRASH,
    DEED_POWER_OFF,
    DEED_RESTART, /* number: enum restart_word; other: the seat of AT */
    DEED_LEAVE,   /* number: ms; so the next three */
    DEED_PAUSE,
    DEED_STALL,
    DEED_SLOW,
    DEED_TWIN, /* who[0] is the elder, number the seat */
    DEED_CUT,
    DEED_MEND,
    DEED_SPLIT,
    DEED_HEAL,
    DEED_LOSS,  /* number: ppm */
    DEED_DELAY, /* number: ms; so the next */
    DEED_DELAY_GOSSIP,
    DEED_MTU,       /* number: bytes */
    DEED_DUPLICATE, /* number: ppm; so the next two */
    DEED_REORDER,
    DEED_REPLAY,
    DEED_SERVING, /* number: 0 or 1 */
    DEED_DNS,     /* number: enum dns_word */
    DEED_CLOCK,   /* number: ms, of either sign */
    DEED_OPEN,    /* number: the session */
    DEED_CALL,    /* number: the session; other: ms it takes */
    DEED_READ,    /* likewise */
    DEED_GET,     /* number: the session; so the next two */
    DEED_DELETE,
    DEED_ANSWER,
    DEED_SAY,    /* number: the session */
    DEED_VANISH, /* number: the call; so the next */
    DEED_RESUME,
    DEED_REJECT,
    DEED_ADMIT,
    DEED_END_SERVER,
    DEED_HANG_SERVER, /* number: ms */
    DEED_STOP_SERVER,
    DEED_START_SERVER,
    DEED_KEYS,    /* keys */
    DEED_USE_KEY, /* number: the key */
    DEED_KINDS
};
enum restart_word { RESTART_SAME, RESTART_NEW_ADDRESS, RESTART_AT };
enum dns_word { DNS_WORD_RIGHT, DNS_WORD_EMPTY, DNS_WORD_STALE };

struct deed {
    enum deed_kind kind;
    struct peers who[SCENARIO_GROUPS_MAX]; /* of paths: from, to; of SPLIT: the sides */
    uint32_t who_count;
    int64_t number, other;
    struct key_file keys;
    uint32_t events;     /* CALL, READ: before the answer */
    bool asks, is_there; /* SAY: is_there: beside one of those */
};

enum state_kind {
    STATE_AGREE,
    STATE_MEMBER, /* `words` of `who` at `where` */
    STATE_MEMBERS,
    STATE_TABLE,
    STATE_SESSIONS,
    STATE_MOVES,
    STATE_CANDIDATES, /* number: the session */
    STATE_SERVING,
    STATE_KEY, /* number: the key; words: enum key_word */
    STATE_RUN,
    STATE_WAIT,
    STATE_EXIT, /* number: enum mesh_change */
    STATE_CALL, /* number: the call; words: enum call_word */
    STATE_CALLS,
    STATE_RAN,  /* number: the call; least, most: how often */
    STATE_ENDS, /* number: the call; words: enum mesh_reason */
    STATE_HEARD,
    STATE_GAPS,
    STATE_TOLD,
    STATE_EPOCH, /* number: the session; so the next six */
    STATE_OWNERS,
    STATE_COPIES,
    STATE_CLAIMS,
    STATE_OWNER,
    STATE_SERVERS,
    STATE_QUESTIONS,
    STATE_KINDS
};
enum key_word { KEY_NONE, KEY_VERIFIES, KEY_USED, KEY_LEAVING, KEY_SEALS };
enum call_word { CALL_ANSWERED, CALL_REFUSED, CALL_OPEN, CALL_GONE };

struct state {
    enum state_kind kind;
    struct peers who, where;
    uint32_t words; /* bits of enum member_state; SERVING: 0 or 1 */
    uint32_t number, least, most;
};

enum step_kind {
    STEP_DEED,
    STEP_EXPECT, /* at from_ms */
    STEP_ALWAYS, /* from from_ms to to_ms */
    STEP_NEVER,
    STEP_CHANGES, /* at most `most` at each of state.where; words: enum change_word */
    STEP_BYTES    /* at most `most` */
};
enum change_word { CHANGE_RING, CHANGE_SUSPECT, CHANGE_DEAD, CHANGE_WORDS };

struct step {
    enum step_kind kind;
    uint32_t line;
    char text[96]; /* of the line, as far as there is room: for the words of a failure */
    uint64_t from_ms, to_ms, every_ms; /* every_ms 0: once */
    struct deed deed;
    struct state state;
    uint32_t most;
};

struct scenario {
    char path[256];
    uint32_t nodes, seats; /* seats: the twins, too */
    uint64_t seeds;
    struct peers contacts, another;
    bool servers_by_seed, rebalances, keyed;
    uint64_t end_ms;
    uint32_t steps_count;
    struct step steps[SCENARIO_STEPS_MAX];
};

struct scenario_result {
    bool failed;
    char failure[512]; /* the line and when; what was to be, and what was */
    uint64_t trace, events, virtual_ms;
};

/* scenario_read.c. 0; -errno of the file; -EINVAL: `error` says where and what. The caller frees
 * *scenariop with free(). */
int scenario_read(struct scenario **scenariop, const char *path, char *error, size_t error_size);
/* scenario.c. 0 or a negative errno: of making the world. */
int scenario_run(const struct scenario *scenario, uint64_t seed, bool trace,
                 struct scenario_result *result);

/* What world.c and life.c tell a scenario: a MESH_CHANGED; the end of a peer's turn; that its host
 * resolves its contacts. */
void stage_changed(struct world *world, const struct seat *seat, const struct mesh_effect *effect);
void stage_turned(struct world *world, const struct seat *seat);
void stage_resolve(struct world *world, struct seat *seat);

#endif
