/* streams_pump.h - what tests of streams say beside mesh_pump.h: clients that hold streams, leave
 * and come back, and what they heard: a text of one letter an event. */
#ifndef TESTS_STREAMS_PUMP_H
#define TESTS_STREAMS_PUMP_H

#include "mesh/session/session.h"
#include "tests/unit/mesh_pump.h"

#define KIB 1024u

static inline void http(struct mesh_config *config)
{
    config->upstream = MESH_UP_HTTP;
}

/* Sessions that end with their upstream, of a child or of an HTTP server. */
static inline void ends(struct mesh_config *config)
{
    config->upstream = MESH_UP_STDIO;
    config->on_owner_loss = MESH_LOSS_END;
}

static inline void http_ends(struct mesh_config *config)
{
    config->upstream = MESH_UP_HTTP;
    config->on_owner_loss = MESH_LOSS_END;
}

static inline uint32_t ask(struct pump *p, uint32_t node, const char *session, const char *text)
{
    uint32_t client = pump_ask(p, node, MESH_CALL, session, text, 0);
    pump_settle(p);
    return client;
}

static inline uint32_t hold(struct pump *p, uint32_t node, const char *session)
{
    uint32_t client = pump_ask(p, node, MESH_LISTEN, session, "", 0);
    pump_settle(p);
    return client;
}

static inline uint32_t resume(struct pump *p, uint32_t node, const char *session, const char *shown)
{
    uint32_t client = pump_resume(p, node, session, shown);
    pump_settle(p);
    return client;
}

static inline uint32_t come_back(struct pump *p, uint32_t node, const char *session,
                                 uint32_t client)
{
    uint32_t again = pump_come_back(p, node, session, client);
    pump_settle(p);
    return again;
}

static inline void leave(struct pump *p, uint32_t client)
{
    pump_close(p, client);
    pump_settle(p);
}

/* A child's session says it while no request is open: on the session's own stream. */
static inline void say(struct pump *p, const struct ucall *u, const char *text)
{
    pump_say(p, u, text);
    pump_settle(p);
}

/* HTTP: a message on that call's stream. */
static inline void event(struct pump *p, const struct ucall *u, const char *text)
{
    pump_event(p, u, text);
    pump_settle(p);
}

/* HTTP: the call is answered by events. */
static inline struct ucall *stream_begins(struct pump *p)
{
    struct ucall *u = pump_last(p);
    pump_head(p, u, 200, MESH_FORM_SSE, MESH_UP_SESSION_SAME);
    pump_settle(p);
    return u;
}

static inline void assert_heard(const struct pump *p, uint32_t client, const char *heard)
{
    assert_string_equal(p->clients[client].heard, heard);
}

static inline void assert_at(const struct pump *p, uint32_t client, const char *id)
{
    char text[EVENT_ID_TEXT + 1] = {0};
    struct event_id at = p->clients[client].position;
    at.epoch = session_mark_counter(at.epoch);
    event_id_write(text, &at);
    assert_string_equal(text, id);
}

/* It ended well, and there is more to come for who comes back. */
static inline void assert_later(const struct pump *p, uint32_t client)
{
    assert_ended(p, client, MESH_OK);
    assert_int_equal(p->clients[client].end, MESH_END_LATER);
}

static inline void assert_whole(const struct pump *p, uint32_t client)
{
    assert_ended(p, client, MESH_OK);
    assert_int_equal(p->clients[client].end, MESH_END_WHOLE);
}

static inline size_t log_bytes(const struct pump *p, uint32_t node)
{
    struct mesh_levels levels;
    mesh_levels(p->nodes[node].mesh, &levels);
    return levels.log_bytes;
}

/* One notification of about that size. */
static inline const char *note(size_t size)
{
    static char text[400 * KIB];
    assert_true(size > 64 && size < sizeof text);
    snprintf(text, sizeof text,
             "{\"jsonrpc\":\"2.0\",\"method\":\"n\",\"params\":{\"x\":\"%0*d\"}}", (int)size - 60,
             0);
    return text;
}

#endif
