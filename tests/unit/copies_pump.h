/* copies_pump.h - what tests of copies say beside streams_pump.h: who has a copy of a session, and
 * whether that says what its owner's record does. */
#ifndef TESTS_COPIES_PUMP_H
#define TESTS_COPIES_PUMP_H

#include "mesh/session/core.h"
#include "mesh/session/record.h"
#include "tests/unit/streams_pump.h"

static inline struct session_id id_of(const char *session)
{
    struct session_id id;
    assert_true(key_read(&id, slice_borrow(session, MESH_SESSION_TEXT)));
    return id;
}

static inline struct session *owned_at(const struct pump *p, uint32_t node, const char *session)
{
    struct session_id id = id_of(session);
    return session_find(core_of(p, node), &id);
}

static inline struct session *copy_at(const struct pump *p, uint32_t node, const char *session)
{
    struct session_id id = id_of(session);
    return session_find_copy(core_of(p, node), &id);
}

static inline uint32_t copies_of(const struct pump *p, const char *session)
{
    uint32_t count = 0;
    for (uint32_t n = 0; n < p->nodes_count; n++)
        count += !p->nodes[n].is_dead && copy_at(p, n, session) != NULL;
    return count;
}

/* The record without its times, as text of bytes. */
static inline struct bytes *record_of(struct core *core, const struct session *session,
                                      unsigned parts)
{
    struct bytes *record = record_write(core, session, parts, 1000);
    assert_non_null(record);
    return record;
}

static inline bool records_are_equal(struct core *a, const struct session *one, struct core *b,
                                     const struct session *other, unsigned parts)
{
    struct bytes *first = record_of(a, one, parts), *second = record_of(b, other, parts);
    bool is_equal =
        slice_equal(slice_of(first, 0, first->length), slice_of(second, 0, second->length));
    bytes_unref(first);
    bytes_unref(second);
    return is_equal;
}

/* How far readers are travels with the next event: only that a copy is not ahead is compared. */
static inline void assert_not_ahead(struct session *copy, const struct session *owned)
{
    LIST_EACH (at, &copy->streams) {
        struct event_stream *stream = container_of(at, struct event_stream, in_session);
        LIST_EACH (other, &owned->streams) {
            const struct event_stream *own = container_of(other, struct event_stream, in_session);
            if (own->number != stream->number)
                continue;
            assert_true(stream->delivered <= own->delivered);
            stream->delivered = own->delivered;
        }
    }
}

/* That node has a copy, and it says what the owner at `owner` says. */
static inline void assert_copied(const struct pump *p, uint32_t owner, uint32_t node,
                                 const char *session)
{
    struct session *owned = owned_at(p, owner, session), *copy = copy_at(p, node, session);
    assert_non_null(owned);
    assert_non_null(copy);
    assert_int_equal(mesh_epoch_compare(copy->epoch, owned->epoch), 0);
    assert_int_equal(copy->version, owned->version);
    assert_true(principal_equal(&copy->who, &owned->who));
    assert_true(slice_equal(copy->params, owned->params));
    assert_true(slice_equal(copy->result, owned->result));
    assert_int_equal(copy->has_batches, owned->has_batches);
    assert_int_equal(copy->has_marks, owned->has_marks);
    assert_int_equal(copy->is_announced, owned->is_announced);
    assert_int_equal(copy->streams_count, owned->streams_count);
    assert_not_ahead(copy, owned);
    assert_true(records_are_equal(core_of(p, owner), owned, core_of(p, node), copy,
                                  RECORD_STATE | RECORD_STREAMS));
}

static inline struct mesh_stats stats_at(const struct pump *p, uint32_t node)
{
    struct mesh_stats stats;
    mesh_stats(p->nodes[node].mesh, &stats);
    return stats;
}

/* The links between two nodes carry nothing now. */
static inline void set_stuck(struct pump *p, uint32_t a, uint32_t b, bool is_stuck)
{
    for (uint32_t n = 0; n < p->conns_count; n++) {
        struct conn *conn = &p->conns[n];
        if ((conn->ends[0].node == a && conn->ends[1].node == b) ||
            (conn->ends[0].node == b && conn->ends[1].node == a))
            conn->is_stuck = is_stuck;
    }
}

#endif
