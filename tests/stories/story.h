/* story.h - how stories are told: a world in virtual time in which every delay is 1 ms and nothing
 * goes wrong but what a story says; clients that ask through a seat, and what came of it. */
#ifndef TESTS_STORY_H
#define TESTS_STORY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/check.h"
#include "sim/client.h"
#include "sim/net.h"
#include "sim/upstream.h"
#include "sim/world.h"

#define SETTLED_MS 6000

static const enum mesh_upstream_kind kinds[] = {MESH_UP_HTTP, MESH_UP_STDIO};

static inline uint64_t now_ms(const struct world *world)
{
    return world->now_us / WORLD_MS;
}

static inline void run_for(struct world *world, uint64_t ms)
{
    world_run(world, now_ms(world) + ms);
    if (world->failed)
        fail_msg("%s", world->failure);
}

static inline struct world *world_of(uint32_t nodes, enum mesh_upstream_kind upstream)
{
    struct world *world = NULL;
    struct world_config config = {.seed = 42, .nodes = nodes, .steady = true, .upstream = upstream};
    assert_int_equal(world_new(&world, &config), 0);
    run_for(world, SETTLED_MS);
    assert_true(world_agrees(world, nodes));
    return world;
}

static inline const struct request *request_of(const struct world *world, uint32_t number)
{
    return world->clients->requests[number];
}

static inline const struct request *ask_now(struct world *world, uint32_t session, enum ask ask,
                                            uint32_t seat, uint64_t wait_ms)
{
    uint32_t number = client_ask(world, session, ask, seat, 0);
    run_for(world, wait_ms);
    return request_of(world, number);
}

static inline void assert_answered(const struct request *request)
{
    assert_int_equal(request->state, REQUEST_ENDED);
    assert_int_equal(request->why, MESH_OK);
    assert_int_equal(request->status, 200);
    assert_true(request->has_answer);
}

static inline void assert_refused(const struct request *request, enum mesh_reason why)
{
    assert_int_equal(request->state, REQUEST_ENDED);
    assert_string_equal(reason_name(request->why), reason_name(why));
    assert_false(request->has_head);
}

static inline uint32_t session_at(struct world *world, uint32_t seat)
{
    uint32_t session = client_session(world);
    assert_answered(ask_now(world, session, ASK_INITIALIZE, seat, 500));
    assert_true(world->clients->sessions[session]->has_id);
    const struct request *told = ask_now(world, session, ASK_INITIALIZED, seat, 100);
    assert_int_equal(told->state, REQUEST_ENDED);
    assert_int_equal(told->status, 202);
    return session;
}

#endif
