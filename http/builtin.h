/* builtin.h - the small MCP server that meshd is when it has no other upstream: one message in,
 * messages and a deadline out. It knows neither HTTP nor sockets: it stands where a stdio child
 * would stand, and mesh/session places what it says on streams. What its resources show comes from
 * the host through struct builtin_source. State is per session and dies with it, on purpose: it is
 * what an MCP server's own memory looks like. */
#ifndef HTTP_BUILTIN_H
#define HTTP_BUILTIN_H

#include "mesh/base/rpc.h"
#include "mesh/base/types.h"

#define BUILTIN_CALLS_MAX 32         /* slow and ask calls open at once, per session */
#define BUILTIN_SUBSCRIPTIONS_MAX 16 /* resources watched, per session */
#define BUILTIN_TEXT_MAX                                                                           \
    (1u << 20)                          /* bytes of one text argument; written escaped it is at    \
                                           most 6 times as long: below MESH_MESSAGE_MAX */
#define BUILTIN_SLOW_MAX_MS 600000u     /* the longest slow call */
#define BUILTIN_STEPS_MAX 100u          /* progress notifications of one slow call */
#define BUILTIN_ASK_TIMEOUT_MS 600000u  /* how long a question to the user may stay open */
#define BUILTIN_WAITING_MAX (16u << 20) /* bytes of answers not yet taken by builtin_next() */

/* What the resources show. Each function returns JSON text from malloc() that the caller frees, or
 * NULL: no such thing, or no memory. `member` is asked by a peer's name (not zero-terminated). */
struct builtin_source {
    void *context;
    char *(*members)(void *context);
    char *(*member)(void *context, const char *name, size_t length);
    char *(*sessions)(void *context);
};

struct builtin_info {
    char name[MESH_NAME_MAX + 1]; /* of this peer: whoami says it */
    struct builtin_source source;
};

struct builtin;         /* the server */
struct builtin_session; /* one client's connection to it */

/* 0 or -ENOMEM. `info` is copied. */
int builtin_new(struct builtin **builtinp, const struct builtin_info *info);
/* Closes the sessions that are still open; NULL is fine. */
void builtin_free(struct builtin *builtin);

/* 0 or -ENOMEM. */
int builtin_open(struct builtin *builtin, struct builtin_session **sessionp);
void builtin_close(struct builtin_session *session); /* NULL is fine */

/* A message from the client: `text` is whole, `rpc` are its facts (rpc_read); RPC_BAD and RPC_BATCH
 * are answered with -32600. 0, or -ENOMEM / -ENOBUFS (BUILTIN_WAITING_MAX): an answer was lost, the
 * session should be ended as if the server had died. */
int builtin_message(struct builtin_session *session, const struct rpc_message *rpc,
                    struct slice text, uint64_t now_ms);
/* Time went on: slow calls step, questions run out. Same errors. */
int builtin_now(struct builtin_session *session, uint64_t now_ms);
/* The next message for the client, whose reference becomes the caller's; NULL: none waits. */
struct bytes *builtin_next(struct builtin_session *session);
/* When builtin_now() is due; 0: builtin_next() has something; MESH_NEVER. */
uint64_t builtin_deadline_ms(const struct builtin_session *session);

/* The member table changed: sessions that watch it are told, once however often this is called
 * before they are drained. */
void builtin_members_changed(struct builtin *builtin);

#endif
