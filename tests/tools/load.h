/* load.h - what load.c (the command, the phases, the pace), load_calls.c (what is sent, and where),
 * load_check.c (what an answer should have been, and the report) and load_record.c (each call and
 * event with its time, for a judge afterwards) share. */
#ifndef TOOLS_LOAD_H
#define TOOLS_LOAD_H

#include "mesh/base/rpc.h"
#include "tests/tools/client.h"

#define SESSION_ID_MAX 128
#define EVENT_ID_MAX 128
#define SAMPLES_MAX 5
#define DETAIL_MAX 120
#define TOOLS_MAX 16

enum load_failure {
    FAIL_CONNECT,    /* no connection: nothing was sent */
    FAIL_CLOSED,     /* the connection broke before the answer was complete */
    FAIL_STATUS,     /* an HTTP status that is not the one due */
    FAIL_ERROR,      /* a JSON-RPC error */
    FAIL_WRONG,      /* another call's answer, or no answer at all by its content */
    FAIL_TWICE,      /* an answer, execution or notification that was there before */
    FAIL_UNANSWERED, /* the stream ended in quiet without the answer */
    FAIL_ORDER,      /* progress or notifications that miss one or go back */
    FAIL_TIMEOUT,
    FAIL_PROTOCOL, /* no HTTP, no SSE, no JSON-RPC */
    FAILURES
};
extern const char *const load_failure_names[FAILURES];

enum load_purpose {
    CALL_INITIALIZE,
    CALL_INITIALIZED,
    CALL_LIST, /* the tools, as clients do */
    CALL_LISTEN,
    CALL_NOTIFY,
    CALL_TOOL,
    CALL_LOOK,   /* at the end: is the session still there? */
    CALL_ANSWER, /* to a question of the server */
    CALL_DELETE,
    CALL_RAW
};
extern const char *const load_purpose_names[];

enum load_check { CHECK_ECHO, CHECK_COUNTER, CHECK_SAME, CHECK_ANY };

struct load_tool {
    char name[64];
    enum load_check check;
    bool is_slow, says; /* says: an event on the session's own stream */
};

struct load_session {
    char id[SESSION_ID_MAX + 1];
    bool is_open, has_failed, is_notified; /* notified: the numbered notifications are ordered */
    uint64_t next_id;                      /* of its JSON-RPC requests */
    uint64_t calls;                        /* CHECK_COUNTER: executions there may be */
    uint8_t *counts;                       /* CHECK_COUNTER: a bit for each value seen */
    size_t counts_bytes;                   /* of them */
    uint32_t who;                          /* CHECK_SAME: hash of the first answer; 0: none yet */
    struct load_call *listen;              /* its GET stream, NULL: none now */
    uint64_t listen_again_ns;              /* 0: not waiting for that */
    uint64_t notes;                        /* numbered notifications that came: the last number */
    char event_id[EVENT_ID_MAX + 1];
};

struct load_call {
    struct client_call http; /* first: callbacks get the rest by a cast */
    struct load_session *session;
    enum load_purpose purpose;
    bool is_answered, has_failed, is_worker;
    const struct load_tool *tool; /* of tool calls */
    unsigned target, tries;       /* further targets, where some refused */
    uint64_t id, number;          /* JSON-RPC; of all tool calls */
    uint64_t due_ns;              /* when it should have been sent: latencies count from here */
    uint64_t answered_ns;
    uint32_t steps; /* of progress that came */
    enum load_failure failure;
    char detail[DETAIL_MAX];           /* what failed, or who answered */
    struct load_call *next, *previous; /* by age, for the timeout */
};

struct load {
    /* settings */
    uint64_t sessions_count, rate, seconds, connections, pad, tool_ms, tool_steps, notify_ms;
    uint64_t timeout_ms, streams_count;
    const char *tool, *path, *open_at, *record;
    struct load_tool tools[TOOLS_MAX];
    unsigned tools_count;
    bool is_closed, is_raw, is_plain, has_get_streams, is_json, expects_clean, keeps;
    bool moves, lists, looks, skips_dead, is_controlled;
    /* state */
    struct client client;
    struct load_session *sessions;
    unsigned targets_count;          /* of --to; those of --open-at stand behind them */
    unsigned turn;                   /* of the targets */
    bool is_out[CLIENT_TARGETS_MAX]; /* by the one who controls us */
    uint64_t in_flight, chance;
    struct load_call *oldest, *youngest, *unused;
    /* results */
    uint64_t sent, answered, notes, notes_expected, breaks;
    uint64_t failures[FAILURES];
    char samples[SAMPLES_MAX][200];
    unsigned samples_count;
    uint64_t begun_ns, ended_ns, opened_ns; /* of the run; of the sessions' opening */
    struct io_histogram latency;
};
extern struct load load;

struct load_call *load_call_new(struct load_session *session, enum load_purpose purpose);
void load_call_free(struct load_call *call);
void load_call_unlink(struct load_call *call); /* it is not under way any more */
/* Where a refused call goes next, or -1. */
int load_next_try(struct load_call *call);
void load_send_initialize(struct load_session *session);
void load_send_initialized(struct load_session *session);
void load_send_list(struct load_session *session);
void load_send_listen(struct load_session *session);
void load_send_notify(struct load_session *session);
void load_send_tool(struct load_call *call);
void load_send_look(struct load_session *session);
void load_send_delete(struct load_session *session);
void load_send_raw(struct load_call *call); /* its session is in call->session (NULL: --plain) */
/* The client's answer to a question of a tool. */
void load_send_answer(struct load_session *session, struct slice question);
/* By chance, the same in every run; a session of a list may be closed. */
uint64_t load_below(uint64_t bound);

/* Counts a failure, one a call; `detail` is kept for the first few. */
void load_fail(struct load_call *call, enum load_failure kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
uint64_t load_failures(void);
/* A message that came for this call; true: it is a question that wants an answer. */
bool load_check_message(struct load_call *call, struct slice text, struct slice event_id,
                        struct slice *question);
/* The call is over; counts what it failed to do. */
void load_check_done(struct load_call *call, int rc);
void load_print(void);

/* Tab-separated lines, times in µs of the monotonic clock; nothing without --record.
 * call NUMBER SESSION TOOL TARGET DUE DONE OUTCOME STATUS DETAIL
 * event SESSION NUMBER WHEN       what `say` set off came
 * stream SESSION WORD STATUS TARGET WHEN   its GET: opened, ended, missed (a gap that was said) */
int load_record_open(const char *path); /* 0 or negative errno */
void load_record_call(const struct load_call *call);
void load_record_event(const struct load_session *session, uint64_t number);
void load_record_stream(const struct load_call *call, const char *word);
void load_record_close(void);

#endif
