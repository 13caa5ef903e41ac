/* tasks.h - where the tasks of the session-less era run (MCP 2026-07-28, extension tasks). The peer
 * whose upstream answered with a task's id writes that to the first two peers on the ring after the
 * id's point, its ring home, before the answer is released; whoever is asked about a task looks
 * here, asks those two, then every living peer once. Nothing is moved when the ring changes: the
 * creator knows its own. Ids travel as a hash: two that share one are routed alike, no more.
 * Which requests are about a task is affinity.c's business. */
#ifndef MESH_TASKS_H
#define MESH_TASKS_H

#include "mesh/base/list.h"
#include "mesh/base/newest.h"
#include "mesh/base/types.h"

#define TASKS_MAX 65536                    /* the oldest gives way */
#define TASKS_LIFE_MS (60u * 60 * 1000)    /* unless it is named again */
#define TASKS_AGAIN_MS (TASKS_LIFE_MS / 4) /* named after so long: its ring home is told again */
#define TASKS_HOMES 2
#define TASKS_RELEASE_MS 1000 /* so long an answer waits for its ring home */
#define TASKS_WAITS_MAX 4096  /* answers that wait */
#define TASKS_SEARCHES_MAX 256
#define TASKS_HOMES_MS 300    /* then all are asked */
#define TASKS_SEARCH_MS 1000  /* in all; the silent count as not knowing */
#define TASKS_NEGATIVE_MS 200 /* how long "nobody" is believed: those who wait for it hear it */
#define TASKS_WIDE_PER_S 100  /* searches that ask everybody */

struct core;
struct wire_message;

struct task {
    struct peer_id peer; /* that runs it */
    uint64_t at_ms;      /* when it was learned, or named again */
    uint64_t told_ms;    /* of our own: when its ring home was told */
};

/* Asking for one task. */
struct task_search {
    uint64_t hash;
    uint32_t number; /* answers to an earlier question say nothing */
    uint32_t asked, answered;
    uint64_t wide_ms, until_ms; /* until: while it runs; then: while its "nobody" is believed */
    struct peer_id homes[TASKS_HOMES];
    uint8_t homes_count;
    bool is_used, is_over, is_wide;
};

struct tasks {
    struct newest known; /* struct task, by the hash of its id */
    struct list waits;   /* struct task_wait, the oldest first: all wait equally long */
    uint32_t waits_count;
    struct task_search *searches;
    uint32_t searches_next, searching, numbers;
    uint64_t rate_since_ms;
    uint32_t rate_count;
};

int tasks_init(struct core *core);
void tasks_deinit(struct core *core);

/* Our upstream answered this call with a task's id. True: the answer must wait; it is released by
 * serve_release(). */
bool tasks_learn(struct core *core, uint64_t hash, struct handle call, uint64_t now_ms);

enum tasks_verdict { TASKS_AT, TASKS_ASKING, TASKS_NOBODY };
enum tasks_verdict tasks_find(struct core *core, uint64_t hash, struct peer_id *peer,
                              uint64_t now_ms);
bool tasks_is_here(const struct core *core, uint64_t hash); /* it runs at our own upstream */

/* TASK_IS, TASK_WHERE, TASK_AT. */
void tasks_on_message(struct core *core, struct peer_id from, const struct wire_message *m,
                      uint64_t now_ms);
void tasks_now(struct core *core, uint64_t now_ms);
uint64_t tasks_deadline_ms(const struct core *core);

#endif
