/* upstream.h - simulated MCP servers beside the peers: an HTTP one that answers call by call, or a
 * child on stdio whose messages belong to no call. Each execution is logged with the request's
 * number and the session that its text names, and judged in check.c. */
#ifndef SIM_UPSTREAM_H
#define SIM_UPSTREAM_H

#include "sim/world.h"

enum upstream_state { UPSTREAM_STARTING, UPSTREAM_LIVES, UPSTREAM_CLOSING, UPSTREAM_GONE };

/* What a server knows of its client. One that takes the place of another has to be told the same;
 * by numbers of the clients' requests. */
struct handshake {
    uint32_t initialize; /* whose parameters it was given; NOBODY: it was not initialized */
    bool is_initialized; /* and heard notifications/initialized */
    bool is_replayed;    /* by the mesh, in its own name: */
    bool is_over;        /* a client's request came since, so nothing more of that will */
    uint32_t level;      /* NOBODY: never set */
    uint32_t uris;       /* subscribed, a bit each */
};

/* One session of an upstream: an HTTP server's, or a child. */
struct upstream {
    uint32_t seat, life;
    struct handle handle;
    enum upstream_state state;
    uint32_t session; /* that its initialize named; NOBODY before */
    bool lost;        /* the HTTP server restarted: it does not know this session any more */
    uint32_t listen;  /* HTTP: the call of its GET stream, 0: none */
    bool was_listened;
    uint32_t notes, questions; /* questions are counted from 0, as SDKs do */
    struct handshake shaken;
    uint64_t opened_us;
    uint64_t epoch;    /* the highest of its session in which it had to do with it; 0: not known */
    uint64_t epoch_us; /* since when */
};

/* AWAY: it ended its stream, and works on until the core asks for the rest. */
enum ucall_state { UCALL_TAKEN, UCALL_WORKS, UCALL_ASKS, UCALL_ASKED, UCALL_AWAY, UCALL_OVER };
enum ucall_fate { FATE_ANSWERS, FATE_REFUSES, FATE_HALF, FATE_DIES };

/* One call of the core on an upstream. */
struct ucall {
    uint32_t upstream, call;
    enum ucall_state state;
    enum ucall_fate fate;
    enum mesh_want want;
    bool is_request, is_own, is_said_again, is_sse, asks, head_sent, waits_for_room;
    uint32_t polls;      /* how often it ends its stream before the answer (SEP-1699) */
    bool is_done;        /* AWAY: the answer is ready */
    uint32_t uri;        /* of resources/subscribe and unsubscribe */
    uint32_t after_note; /* LISTEN: the note that its GET named; NOBODY: none */
    enum rpc_kind kind;
    enum rpc_method method;
    uint32_t request, session; /* numbers that its text names; NOBODY: none */
    char id[40];               /* of the JSON-RPC request, as an upstream would write it anew */
    char token[16];
    char carried[64]; /* raw: the state or the task id that it came with */
    uint32_t progress, progress_max;
    uint32_t question, pad;     /* pad: bytes to make the answer long */
    size_t room;                /* bytes that may still be sent (MESH_UP_ROOM) */
    uint64_t step_us, until_us; /* between its steps; when it answers */
};

struct upstreams {
    struct shuffle chance, poll_chance;
    struct upstream *ups;
    uint32_t ups_count, ups_capacity;
    struct ucall *calls;
    uint32_t calls_count, calls_capacity;
    bool is_scripted; /* stories: answers after `script_us`, nothing by chance */
    uint64_t script_us;
    bool script_asks;              /* stories: every tools/call asks the client first */
    uint32_t script_polls;         /* stories: every tools/call ends its stream so often */
    uint32_t script_progress;      /* stories: every tools/call makes progress so often */
    bool refuses[WORLD_SEATS_MAX]; /* cannot be started, refuses connections */
    bool slow[WORLD_SEATS_MAX];
    uint64_t hangs_until_us[WORLD_SEATS_MAX]; /* whatever it is asked is answered then */
    struct rpc_tools *tools;                  /* scratch */
    uint32_t server[WORLD_SEATS_MAX]; /* HTTP: number of the server there, a new one each life */
    uint32_t servers;                 /* so far */
    uint64_t executions, questions, answered, notes, polls, replayed;
    uint64_t fresh; /* that took the place of another */
};

int upstreams_new(struct world *world);
void upstreams_free(struct world *world);
void upstream_effect(struct world *world, struct seat *seat, const struct mesh_effect *effect);
void upstream_event(struct world *world, const struct world_event *event);
/* The seat's process died: its children with it; an HTTP server forgets what it did for it. */
void upstreams_died(struct world *world, struct seat *seat);
/* The server beside this peer dies: all its sessions are lost. How many there were. */
uint32_t upstreams_kill(struct world *world, struct seat *seat);
/* It cannot be started, or refuses connections: its host notices when it asks next. */
void upstreams_refuse(struct world *world, uint32_t seat, bool refuses);
/* Sends one notification of this session's upstream, where it would put it. */
void upstream_notify(struct world *world, uint32_t upstream);
/* The GET stream of an HTTP server ends; what it says meanwhile is in its event store. */
void upstream_break(struct world *world, uint32_t upstream);
/* The living upstream of a session, or NOBODY. */
uint32_t upstream_of(const struct world *world, uint32_t session);
/* Likewise, of those beside the seats that are set in `who`; NULL: any. */
uint32_t upstream_beside(const struct world *world, uint32_t session, const bool *who);

#endif
