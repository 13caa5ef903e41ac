/* resume.h - what resume.c (the command, the pace, who is cut and when) and resume_check.c (what an
 * event should have been, and the report) share. */
#ifndef TOOLS_RESUME_H
#define TOOLS_RESUME_H

#include "mesh/base/rpc.h"
#include "tests/tools/mcp.h"

#define SAMPLES_MAX 5
#define TOKEN 7 /* of progress, and the id of the call whose stream is read */

enum step {
    WAITING,
    INITIALIZE,
    INITIALIZED,
    READY,
    FIRST,   /* its first request for the stream is under way */
    LIVE,    /* it reads */
    STALLED, /* it has a connection and does not read */
    AWAY,    /* it has none */
    DONE,
    FAILED
};

enum failure { FAIL_LOST, FAIL_DOUBLE, FAIL_WRONG, FAIL_STATUS, FAIL_PROTOCOL, FAILURES };

struct request {
    struct client_call http; /* first: callbacks get the rest by a cast */
    struct stream *stream;
};

struct stream {
    struct request reader;  /* what the stream comes on */
    struct request starter; /* the call that sets off what a GET stream brings */
    enum step step;
    char session[MCP_SESSION_MAX + 1], event_id[MCP_EVENT_MAX + 1];
    uint64_t last; /* number of the newest event */
    bool is_gap_said, is_answered;
    uint64_t act_ns;   /* of the next cut, stall or return */
    uint64_t asked_ns; /* when it came back; 0: its first event since was seen */
};

struct resume {
    /* settings */
    struct client client;
    uint64_t streams_count, events, bytes, interval_ms, cut_ms, away_min_ms, away_max_ms, cuts_max;
    uint64_t seed, seconds;
    bool is_post, stalls, allows_gaps;
    /* state */
    struct stream *streams;
    /* results */
    uint64_t done, received, cuts, returns, broken, gaps, missed, answers;
    uint64_t failures[FAILURES];
    char samples[SAMPLES_MAX][240];
    unsigned samples_count;
    uint64_t begun_ns, ended_ns;
    struct io_histogram back_us; /* from asking for the rest to its first event */
};
extern struct resume resume;

void resume_fail(struct stream *stream, enum failure kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* One event that came. True: that was the last that this stream waits for. */
bool resume_check_event(struct stream *stream, struct slice text, struct slice event_id);
/* The report; whether all came as it should. */
bool resume_report(void);

#endif
