/* breaker.h - does the upstream do its work? It may accept connections and still fail whatever it
 * is asked (DESIGN §17): after so many failures in a row it is not serving, and nothing is asked of
 * it but whether it answers again, by the host, once a second. A value; who is told of its changes,
 * and what becomes of what waits, stands in mesh_upstream.c. */
#ifndef MESH_BREAKER_H
#define MESH_BREAKER_H

#include "mesh/base/rpc.h"
#include "mesh/base/types.h"

#define BREAKER_FAILURES_MAX 5

/* What a call says of the server. */
enum breaker_news {
    BREAKER_NO_NEWS,
    BREAKER_WORKS, /* it did what it was asked, or refused it with reason */
    BREAKER_FAILED
};

struct breaker {
    uint32_t failures; /* in a row */
    uint32_t seen;     /* ever */
    bool is_open;      /* nothing is asked of it */
};

/* 5xx is the server's own failure; 4xx is an answer. A good status of a request says nothing yet:
 * its answer is to come. */
enum breaker_news breaker_of_status(int status, bool awaits_message);
enum breaker_news breaker_of_message(const struct rpc_message *rpc); /* NULL: no JSON-RPC */
/* One that refuses is not there, which the host finds out by itself (mesh_serving()). */
enum breaker_news breaker_of_end(enum mesh_reason why);
/* `seen`: as it was when the call was given to the server. What was under way when the latest
 * failure was seen failed with it: a server that dies is one failure, however many calls it takes
 * with it. True: it opened or closed. */
bool breaker_note(struct breaker *breaker, enum breaker_news news, uint32_t seen);

#endif
