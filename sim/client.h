/* client.h - simulated MCP clients: sessions opened by real JSON-RPC text through any peer,
 * numbered requests, server streams, answers to the server's questions, and the bad manners that
 * real clients have. Scans each text once, as http/mcp.c does, and fills a mesh_request. What
 * comes back is judged in check.c. */
#ifndef SIM_CLIENT_H
#define SIM_CLIENT_H

#include "sim/tenures.h"
#include "sim/world.h"

#define WISHES_URIS 6u    /* resources of a server that a client may subscribe to */
#define CLIENT_TENURES 6u /* of one request's streams, whose newest events are remembered */

enum ask {
    ASK_INITIALIZE,
    ASK_INITIALIZED,
    ASK_LISTEN,
    ASK_CALL, /* tools/call of a tool that must not run twice */
    ASK_READ, /* tools/call of a tool marked read-only */
    ASK_LIST, /* tools/list */
    ASK_PING,
    ASK_NOTE,   /* a notification */
    ASK_ANSWER, /* to the server's question */
    ASK_LEVEL,  /* logging/setLevel */
    ASK_SUBSCRIBE,
    ASK_UNSUBSCRIBE,
    ASK_DELETE,
    ASK_FORGED,  /* a request whose session id no peer minted */
    ASK_FOREIGN, /* a request for a session of somebody else's */
    ASK_TWICE,   /* a request with the JSON-RPC id of an open one */
    ASK_NO_ID,   /* a request without a session */
    ASK_RESUME,  /* the rest of a request's stream: GET with Last-Event-ID */
    /* of the session-less era: modern.c */
    ASK_M_CALL,
    ASK_M_READ,
    ASK_M_DISCOVER,
    ASK_M_BEGIN, /* a tools/call that is answered with a state */
    ASK_M_GO_ON, /* it again, with that state */
    ASK_M_MAKE,  /* a tools/call that is answered with a task */
    ASK_M_TASK,  /* tasks/get, update or cancel */
    ASK_M_LISTEN,
    /* of HTTP+SSE: sse.c */
    ASK_S_STREAM, /* GET: a session and its one stream */
    ASK_S_AGAIN,  /* likewise, by who goes on without initialize */
    ASK_S_INITIALIZE,
    ASK_S_INITIALIZED,
    ASK_S_CALL,
    ASK_S_READ,
    ASK_S_ANSWER,
    ASK_KINDS
};

enum request_state {
    REQUEST_SENT, /* on its way to the peer */
    REQUEST_OPEN,
    REQUEST_ENDED,
    REQUEST_GONE,  /* the client vanished, or its peer died */
    REQUEST_UNSENT /* nobody listened there */
};

struct request {
    uint32_t n; /* its number in the world, and its index */
    enum ask ask;
    enum request_state state;
    uint32_t session, client;
    uint32_t seat, life; /* the entry peer */
    struct handle handle;
    uint64_t sent_us, opened_us, ended_us;
    bool is_after_end; /* sent when its session's DELETE had been answered */
    char *body;
    uint32_t body_length;
    char id[32]; /* JSON-RPC id as sent, raw; empty: none */
    uint64_t id_hash;
    char key[64]; /* the session id header; length 0: none */
    uint32_t key_length;
    uint32_t resumes; /* RESUME: the request whose stream it goes on with */
    char shown[72];   /* Last-Event-ID; empty: none */
    /* what came */
    bool has_head, has_answer, is_error;
    int status;
    enum mesh_form form;
    enum mesh_end end;
    enum mesh_reason why;
    uint32_t events, notes, last_note, last_up; /* the newest notification, and of which upstream */
    uint32_t progress;                          /* likewise; 0: none came */
    bool is_excused; /* the mesh said that something may be missing before the next of them */
    bool has_position, has_gap, was_told_gap;
    uint32_t gaps;                          /* how often it was told that events were missed */
    struct event_id position;               /* of the newest event; before: what was shown */
    struct event_id newest[CLIENT_TENURES]; /* of each tenure, as far as these go */
    enum mesh_reason told_failure;          /* by an event of its stream; MESH_OK: none */
    uint32_t retry_ms;
    char *text; /* of a JSON answer */
    size_t text_length;
    /* what the world knows */
    uint32_t uri;   /* SUBSCRIBE, UNSUBSCRIBE: which */
    struct manner { /* scenarios: how its server answers */
        bool is_told, asks;
        uint64_t takes_us;
        uint32_t events;
    } manner;
    uint32_t of; /* whose answer brought what it carries, or NOBODY */
    uint32_t handle_number;
    char made[64], held[96]; /* raw: what a server gave as its answer; what the client has of it */
    uint32_t made_server, made_seat;
    uint64_t left_us;           /* modern, HTTP+SSE: its client went */
    struct mesh_epoch accepted; /* HTTP+SSE: its owner's when its 202 came, */
    uint64_t accepted_version;  /* and that of its record */
    bool is_forgotten;          /* that one died, and nobody else had heard of it */
    uint32_t executions;
    bool waited; /* for a fresh server, which was told of the session first */
    uint64_t executed_us, answers_at_us, lost_us; /* first; as meant; when that was lost */
    uint64_t said_us;                             /* when an upstream first answered it, */
    bool was_alone; /* and nobody but its peer could have kept a copy then */
    bool was_quiet; /* nothing was wrong in the world when it was sent, nor since */
};

enum session_state { SESSION_OPENING, SESSION_LIVES, SESSION_ENDING, SESSION_OVER };

struct session {
    uint32_t client;
    enum session_state state;
    char id[MESH_SESSION_TEXT];
    bool has_id, has_begun; /* its id came; and the answer to initialize */
    uint32_t owner;         /* life, once known */
    struct principal who;
    uint32_t next_id, open, asked, failed_in_a_row;
    uint32_t listen; /* the newest LISTEN request, or NOBODY */
    struct question_seen {
        char id[40];     /* raw, as it came; empty: none */
        uint32_t up, at; /* which upstream asked it, as its how-manieth */
    } question;          /* the newest of its server */
    struct wishes {      /* what its servers are to know of it; see handshakes in upstream.h */
        uint32_t level;  /* the request that set it; NOBODY: none was answered well */
        uint32_t uris;   /* subscribed, a bit each */
        uint32_t open;   /* the request that changes one of them now, or NOBODY */
        bool level_is_unsure;
        uint64_t changed_us, safe_us; /* then these lives knew all of it: */
        uint32_t safe[1 + MESH_HOLDERS_SEEN], safe_count;
        uint32_t unsure; /* of these nobody knows: the change failed */
    } wishes;
    struct tenures tenures;
    uint64_t delete_us, ended_us; /* DELETE was sent; its success was told */
    bool end_died;                /* at some time nobody was left who knew of it (ends.h) */
    bool upstream_lost, was_left; /* was_left: ended by its owner, which leaves */
    bool is_single;               /* of HTTP+SSE, */
    uint32_t stream;              /* and this its GET; or NOBODY */
};

struct client {
    uint32_t session;
    uint64_t gap_us;
    uint32_t policy, next_seat; /* 0 random, 1 in turn, 2 sticky */
    uint32_t lifetime;          /* requests until it ends the session */
    uint32_t open_max;
    bool listens, is_slow, ends_politely;
};

struct clients {
    struct shuffle chance, resume_chance, wish_chance;
    struct client *clients;
    uint32_t clients_count;
    struct session **sessions;
    uint32_t sessions_count, sessions_capacity;
    struct request **requests;
    uint32_t requests_count, requests_capacity;
    bool quiet;         /* no new load */
    bool is_silent;     /* stories: questions are not answered by themselves */
    uint8_t id_key[16]; /* for rpc_id_hash() */
    struct taken {
        uint32_t request, bytes;
    } * taken;
    uint32_t taken_count, taken_capacity;
    uint64_t why[64]; /* outcomes by reason */
    uint64_t unsent, gone, forwarded, served_here;
    uint64_t tenures;               /* sessions that a later epoch took over */
    uint64_t resumed, rested, gaps; /* streams gone on with; of them with their answer; told gaps */
};

int clients_new(struct world *world);
void clients_free(struct world *world);
void client_effect(struct world *world, struct seat *seat, const struct mesh_effect *effect);
bool client_settle(struct world *world, struct seat *seat);
void client_event(struct world *world, const struct world_event *event);
void clients_died(struct world *world, struct seat *seat);

/* A session of nobody's: the number to ask with. */
uint32_t client_session(struct world *world);
/* Sends one request of a session through the peer on that seat, `delay_us` from now. Its number;
 * what comes of it is clients->requests[number]. */
uint32_t client_ask(struct world *world, uint32_t session, enum ask ask, uint32_t seat,
                    uint64_t delay_us);
/* The same of the session-less era: with what the answer to request `of` brought (or NOBODY). */
uint32_t client_ask_of(struct world *world, uint32_t session, enum ask ask, uint32_t seat,
                       uint64_t delay_us, uint32_t of);
/* SUBSCRIBE, UNSUBSCRIBE: of that resource of the server's. */
uint32_t client_wish(struct world *world, uint32_t session, enum ask ask, uint32_t uri,
                     uint32_t seat, uint64_t delay_us);
/* A question of its server came. */
void client_question(struct world *world, uint32_t session, struct slice text,
                     const struct rpc_message *rpc);
/* Answers the newest question that came for the session. */
uint32_t client_answer(struct world *world, uint32_t session, uint32_t seat, uint64_t delay_us);
/* Another request under the JSON-RPC id of an open one. */
uint32_t client_repeat(struct world *world, uint32_t request, uint32_t seat, uint64_t delay_us);
/* Goes on with a request's stream, from the last event that came on it. */
uint32_t client_resume(struct world *world, uint32_t request, uint32_t seat, uint64_t delay_us);
/* A GET that shows this Last-Event-ID. */
uint32_t client_listen_after(struct world *world, uint32_t session, const char *shown,
                             uint32_t seat, uint64_t delay_us);
/* The client of an open request goes away. */
void client_vanish(struct world *world, uint32_t request);
void client_open(struct world *world, const struct world_event *event); /* CLIENT_OPEN */
void client_request_over(struct world *world, struct request *request, enum request_state state);
/* resume.c: what clients do whose stream ended before its answer, or whose GET broke. */
void resume_after(struct world *world, struct request *request);
/* Any peer that runs; NOBODY: none. */
uint32_t client_pick(struct world *world, uint32_t client, struct shuffle *chance);
/* The request that a message on this one's stream is for. */
struct request *request_behind(struct world *world, struct request *request);
const char *ask_name(enum ask ask);
const char *reason_name(enum mesh_reason reason);
/* The decimal after `"key":` in a text; NOBODY: it is not there. */
uint32_t text_number(struct slice text, const char *key);
/* The text with its patch carried out, from malloc. */
struct slice text_patched(struct slice text, const struct patch *patch, char **made);

#endif
