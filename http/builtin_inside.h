/* builtin_inside.h - what builtin.c and builtin_tools.c share: a session's state, and how answers
 * are said. */
#ifndef HTTP_BUILTIN_INSIDE_H
#define HTTP_BUILTIN_INSIDE_H

#include <jansson.h>

#include "http/builtin.h"

#define BUILTIN_INVALID_PARAMS (-32602)
#define BUILTIN_URI_MAX (16 + MESH_NAME_MAX)

struct waiting;
struct call;

struct builtin_session {
    struct builtin *builtin;
    struct builtin_session *next, *previous;
    struct waiting *first, **last; /* messages for builtin_next() */
    size_t waiting_bytes;
    struct call *calls; /* not answered yet */
    uint32_t calls_count;
    uint32_t questions; /* asked so far */
    uint64_t messages;  /* of the client, this one included */
    int64_t counter;
    int level; /* index of the lowest log level wanted; beyond the last: none asked for */
    bool initialized, elicits, members_changed;
    uint32_t subscriptions_count;
    /* BUILTIN_SUBSCRIPTIONS_MAX of them; NULL until there is one: most sessions watch nothing. */
    char (*subscriptions)[BUILTIN_URI_MAX + 1];
};

struct builtin {
    struct builtin_info info;
    struct builtin_session *sessions;
    json_t *tools; /* result of tools/list */
};

/* A request while it is handled. */
struct builtin_request {
    struct builtin_session *session;
    const struct rpc_message *rpc;
    struct slice text, id;
    json_t *params; /* an object, or an array that no method here takes */
    uint64_t now_ms;
};

/* What is said to the client: 0, -ENOMEM or -ENOBUFS, as builtin_message(). JSON arguments are
 * taken, NULL among them: no memory. */
int builtin_say(struct builtin_session *session, json_t *message);
int builtin_notify(struct builtin_session *session, const char *method, json_t *params);
int builtin_log_info(struct builtin_session *session, json_t *data);
/* The id goes back byte for byte as it came. */
int builtin_reply(struct builtin_session *session, struct slice id, json_t *result);
int builtin_reply_error(struct builtin_session *session, struct slice id, int code,
                        const char *message);

/* builtin_tools.c */
json_t *builtin_tools(void); /* the result of tools/list */
int builtin_on_tools_call(const struct builtin_request *request);
int builtin_on_cancelled(struct builtin_session *session, const struct rpc_message *rpc,
                         struct slice text);
int builtin_on_answer(struct builtin_session *session, const struct rpc_message *rpc,
                      struct slice text);
uint64_t builtin_calls_due_ms(const struct builtin_session *session); /* MESH_NEVER: none */
void builtin_calls_drop(struct builtin_session *session);

#endif
