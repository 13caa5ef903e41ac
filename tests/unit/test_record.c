/* Tests of record.h and wire_record.h: what is written is what is read, and what makes no sense
 * changes nothing. */
#include <errno.h>

#include "mesh/wire/wire_record.h"
#include "tests/unit/copies_pump.h"

#define SET_LEVEL                                                                                  \
    "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"logging/setLevel\",\"params\":{\"level\":"         \
    "\"info\"}}"

static void http_without_copies(struct mesh_config *config)
{
    config->upstream = MESH_UP_HTTP;
    config->copies = 0;
}

static void subscribe(struct session *session, const char *uri)
{
    struct subscription *subscription = calloc(1, sizeof *subscription);
    struct bytes *text = pump_copy(uri, strlen(uri));
    assert_non_null(subscription);
    subscription->uri = slice_of(text, 0, text->length);
    list_push_back(&session->subscriptions, &subscription->in_session);
    session->subscriptions_count++;
}

/* A session at node 0 of which there is something of everything; nobody has a copy. */
static struct session *session_full(struct pump *p)
{
    const char *text = pump_session(p, pump_begin_new(p, 0, true));
    struct session *session = owned_at(p, 0, text);
    (void)hold(p, 0, text);
    event(p, stream_begins(p), LOG("a"));
    (void)ask(p, 0, text, CALL("\"7\""));
    struct ucall *first = stream_begins(p);
    event(p, first, LOG("b"));
    event(p, first, SAMPLE("\"q\\u0041\""));
    (void)ask(p, 0, text, LIST("8"));
    struct ucall *second = stream_begins(p);
    event(p, second, RESULT("8"));
    pump_end(p, second, MESH_END_WHOLE, MESH_OK);
    pump_settle(p);
    struct bytes *level = pump_copy(SET_LEVEL, sizeof SET_LEVEL - 1);
    session->level = slice_of(level, 0, level->length);
    subscribe(session, "file:///a");
    subscribe(session, "file:///\\u00e4 b");
    for (uint64_t n = 0; n < 3; n++)
        session->holders[n].peer = (struct peer_id){n + 1, 9};
    session->who.hash[3] = 7;
    session->upstreams = 3;
    return session;
}

static struct session *copy_new(struct core *core, const struct session *session, uint64_t now_ms)
{
    struct session *copy = session_new_copy(core, &session->id, now_ms);
    assert_non_null(copy);
    copy->epoch = session->epoch;
    return copy;
}

static void assert_same(struct core *a, const struct session *one, struct core *b,
                        const struct session *other)
{
    assert_true(records_are_equal(a, one, b, other, RECORD_STATE | RECORD_STREAMS));
    assert_true(principal_equal(&one->who, &other->who));
    assert_true(slice_equal(one->params, other->params));
    assert_true(slice_equal(one->result, other->result));
    assert_int_equal(one->has_marks, other->has_marks);
    assert_int_equal(one->is_announced, other->is_announced);
    assert_int_equal(one->streams_count, other->streams_count);
    assert_int_equal(one->upstreams, other->upstreams);
}

static void test_what_is_written_is_what_is_read(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http_without_copies);
    struct core *owner = core_of(p, 0), *holder = core_of(p, 1);
    struct session *session = session_full(p), *copy = copy_new(holder, session, p->now_ms);
    struct bytes *record = record_write(owner, session, RECORD_WHOLE, p->now_ms);
    for (int n = 0; n < 2; n++) { /* also in place of what was there */
        assert_int_equal(
            record_read(holder, copy, RECORD_WHOLE, slice_of(record, 0, record->length), p->now_ms),
            0);
        assert_same(owner, session, holder, copy);
        assert_int_equal(copy->questions_count, 1);
        assert_int_equal(copy->subscriptions_count, 2);
        assert_int_equal(copy->own->log.number, 1);
        assert_int_equal(holder->copies.bytes, copy->log_bytes);
    }
    bytes_unref(record);
    uint32_t streams = 0;
    LIST_EACH (at, &copy->streams)
        streams++;
    assert_int_equal(streams, 3);
    /* a part alone */
    subscribe(session, "file:///c");
    record = record_write(owner, session, RECORD_STATE, p->now_ms);
    assert_int_equal(
        record_read(holder, copy, RECORD_STATE, slice_of(record, 0, record->length), p->now_ms), 0);
    assert_int_equal(copy->subscriptions_count, 3);
    assert_same(owner, session, holder, copy);
    bytes_unref(record);
    session_free(holder, copy);
    assert_int_equal(holder->copies.bytes + holder->streams.bytes, 0);
    pump_free(p);
}

static void test_what_is_left_of_its_times_travels(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http_without_copies);
    struct core *owner = core_of(p, 0), *holder = core_of(p, 1);
    holder->config.session_max_ms = 5000; /* never more than it would give */
    struct session *session = owned_at(p, 0, pump_session(p, pump_begin(p, 0, true)));
    session->used_ms = p->now_ms - 3000 - COPIES_DIGEST_MS; /* so much is added to it */
    struct session *copy = copy_new(holder, session, p->now_ms);
    struct bytes *record = record_write(owner, session, RECORD_WHOLE, p->now_ms);
    uint64_t idle_ms, absolute_ms;
    assert_int_equal(
        record_read(holder, copy, RECORD_WHOLE, slice_of(record, 0, record->length), 100), 0);
    session_left(holder, copy, 100, &idle_ms, &absolute_ms);
    assert_int_equal(idle_ms, holder->config.session_idle_ms - 3000);
    assert_int_equal(absolute_ms, 5000);
    session_left(holder, copy, 2100, &idle_ms, &absolute_ms);
    assert_int_equal(idle_ms, holder->config.session_idle_ms - 5000);
    assert_int_equal(absolute_ms, 3000);
    assert_null(session_next_expired(holder, 5099)); /* our clock began later than the session */
    assert_ptr_equal(session_next_expired(holder, 5100), copy);
    bytes_unref(record);
    pump_free(p);
}

static void test_the_oldest_events_give_way_to_what_one_message_holds(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http_without_copies);
    struct core *owner = core_of(p, 0), *holder = core_of(p, 1);
    struct session *session = session_full(p), *copy = copy_new(holder, session, p->now_ms);
    for (uint32_t n = 0; n < 3; n++) {
        struct event_stream *stream =
            n == 0 ? session->own : event_stream_make(owner, session, 10 + n);
        session->streams_count = 10 + n;
        struct logged large = {.text = slice_text(note(120 * KIB))};
        for (int k = 0; k < 2; k++)
            event_stream_add(owner, stream, &large, p->now_ms);
    }
    struct event_stream *stream = event_stream_make(owner, session, 20);
    session->streams_count = 20;
    struct logged largest = {.text = slice_text(note(250 * KIB))};
    event_stream_add(owner, stream, &largest, p->now_ms);
    struct bytes *record = record_write(owner, session, RECORD_WHOLE, p->now_ms);
    assert_true(record->length <= RECORD_MAX);
    assert_true(record->length > RECORD_MAX - 130 * KIB);
    assert_int_equal(
        record_read(holder, copy, RECORD_WHOLE, slice_of(record, 0, record->length), p->now_ms), 0);
    assert_int_equal(copy->own->log.number, session->own->log.number);
    assert_true(copy->own->log.count < session->own->log.count);
    assert_int_equal(event_stream_find(copy, 20)->log.count, 1);
    bytes_unref(record);
    pump_free(p);
}

/* Whatever one byte says: it is read, or nothing is changed. */
static void test_a_record_with_an_error_changes_nothing(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http_without_copies);
    struct core *owner = core_of(p, 0), *holder = core_of(p, 1);
    struct session *session = session_full(p), *copy = copy_new(holder, session, p->now_ms);
    struct bytes *record = record_write(owner, session, RECORD_WHOLE, p->now_ms);
    struct slice whole = slice_of(record, 0, record->length);
    assert_int_equal(record_read(holder, copy, RECORD_WHOLE, whole, p->now_ms), 0);
    uint32_t refused = 0, taken = 0;
    for (size_t n = 0; n < whole.length; n++)
        for (int bit = 0; bit < 8; bit++) {
            record->data[n] ^= (uint8_t)(1 << bit);
            int rc = record_read(holder, copy, RECORD_WHOLE, whole, p->now_ms);
            record->data[n] ^= (uint8_t)(1 << bit);
            if (rc == 0) {
                taken++;
                assert_int_equal(record_read(holder, copy, RECORD_WHOLE, whole, p->now_ms), 0);
            } else {
                refused++;
                assert_int_equal(rc, -EBADMSG);
            }
            assert_same(owner, session, holder, copy);
        }
    assert_true(refused > 1000 && taken > 1000);
    for (size_t n = 0; n < whole.length; n++) { /* cut short */
        int rc = record_read(holder, copy, RECORD_WHOLE, slice_of(record, 0, n), p->now_ms);
        if (rc == 0) /* behind an item */
            assert_int_equal(record_read(holder, copy, RECORD_WHOLE, whole, p->now_ms), 0);
        assert_same(owner, session, holder, copy);
    }
    /* parts that were not announced, or are none */
    assert_int_equal(record_read(holder, copy, RECORD_STATE, whole, p->now_ms), -EBADMSG);
    assert_int_equal(record_read(holder, copy, 8, whole, p->now_ms), -EBADMSG);
    assert_int_equal(record_read(holder, copy, RECORD_WHOLE, (struct slice){0}, p->now_ms),
                     -EBADMSG);
    bytes_unref(record);
    pump_free(p);
}

static void test_without_memory_a_copy_stays_what_it_was(void **state)
{
    (void)state;
    struct pump *p = pump_new(2, http_without_copies);
    struct core *owner = core_of(p, 0), *holder = core_of(p, 1);
    struct session *session = session_full(p), *copy = copy_new(holder, session, p->now_ms);
    struct bytes *record = record_write(owner, session, RECORD_WHOLE, p->now_ms);
    struct slice whole = slice_of(record, 0, record->length);
    assert_int_equal(record_read(holder, copy, RECORD_WHOLE, whole, p->now_ms), 0);
    struct bytes *before = record_write(holder, copy, RECORD_STATE | RECORD_STREAMS, 0);
    size_t used = holder->budget.used - before->capacity, max = holder->budget.max;
    bool was_refused = false;
    for (size_t room = 0; room < 600; room += 3) {
        holder->budget.max = used + room;
        int rc = record_read(holder, copy, RECORD_WHOLE, whole, p->now_ms);
        holder->budget.max = max;
        assert_true(rc == 0 || rc == -ENOMEM);
        was_refused = was_refused || rc < 0;
        if (rc < 0)
            assert_same(owner, session, holder, copy);
        assert_int_equal(record_read(holder, copy, RECORD_WHOLE, whole, p->now_ms), 0);
        assert_same(owner, session, holder, copy);
        assert_int_equal(holder->budget.used - before->capacity, used);
    }
    assert_true(was_refused);
    bytes_unref(before);
    bytes_unref(record);
    pump_free(p);
}

/* ---- what is no id, no URI ------------------------------------------------------------------- */

static void test_an_id_is_one_json_value_and_nothing_else(void **state)
{
    (void)state;
    static const char *const good[] = {"1", "-1.5e3", "\"a\"", "\"\\u00e4\\\"\"", "0"};
    static const char *const bad[] = {"",    "null", "1 ", " 1",  "1,\"x\":2",
                                      "\"a", "true", "{}", "[1]", "\"a\",\"method\":\"y\"",
                                      "01"};
    for (size_t n = 0; n < sizeof good / sizeof good[0]; n++)
        assert_true(record_is_id(slice_text(good[n]), 256));
    for (size_t n = 0; n < sizeof bad / sizeof bad[0]; n++)
        assert_false(record_is_id(slice_text(bad[n]), 256));
    assert_false(record_is_id(slice_text("\"abc\""), 4));
}

/* ---- items and entries ----------------------------------------------------------------------- */

static void test_items_of_a_later_version_are_skipped(void **state)
{
    (void)state;
    uint8_t bytes[256];
    struct wire_item item = {.kind = WIRE_ITEM_LEVEL, .text = slice_text("x")}, read;
    size_t at = 0;
    bytes[at++] = 0x92; /* [200, 1] */
    bytes[at++] = 0xcc;
    bytes[at++] = 200;
    bytes[at++] = 1;
    int length = wire_item_write(&item, bytes + at, sizeof bytes - at);
    assert_true(length > 0 && (size_t)length <= wire_item_room(&item));
    struct slice rest = slice_borrow(bytes, at + (size_t)length);
    assert_int_equal(wire_item_read(&read, &rest), 1);
    assert_int_equal(read.kind, WIRE_ITEM_LEVEL);
    assert_true(slice_is(read.text, "x"));
    assert_int_equal(wire_item_read(&read, &rest), 0);
    assert_int_equal(wire_item_write(&item, bytes, 3), -ENOSPC);
    bytes[0] = 0x01; /* no array */
    rest = slice_borrow(bytes, 1);
    assert_int_equal(wire_item_read(&read, &rest), -EBADMSG);
}

static void test_an_item_has_the_room_that_it_is_said_to_need(void **state)
{
    (void)state;
    static uint8_t bytes[1024];
    struct wire_item item = {.kind = WIRE_ITEM_BASE};
    item.base.streams_count = item.base.upstreams = UINT32_MAX;
    item.base.idle_ms = item.base.absolute_ms = UINT64_MAX;
    item.base.params = item.base.result = slice_text("{}");
    assert_true(wire_item_write(&item, bytes, wire_item_room(&item)) > 0);
    item = (struct wire_item){.kind = WIRE_ITEM_STREAM};
    item.stream.number = item.stream.retry_ms = UINT32_MAX;
    item.stream.first = item.stream.delivered = UINT64_MAX;
    assert_true(wire_item_write(&item, bytes, wire_item_room(&item)) > 0);
    item = (struct wire_item){.kind = WIRE_ITEM_TENURE};
    item.tenure.epoch = item.tenure.first = item.tenure.base = UINT64_MAX;
    assert_true(wire_item_write(&item, bytes, wire_item_room(&item)) > 0);
    item = (struct wire_item){.kind = WIRE_ITEM_EVENT};
    item.event.text = slice_text(note(600));
    assert_true(wire_item_write(&item, bytes, wire_item_room(&item)) > 0);
    item = (struct wire_item){.kind = WIRE_ITEM_HOLDER};
    item.holder = (struct peer_id){UINT64_MAX, UINT64_MAX};
    assert_true(wire_item_write(&item, bytes, wire_item_room(&item)) > 0);
}

static void test_entries_are_read_as_they_were_written(void **state)
{
    (void)state;
    uint8_t bytes[2 * WIRE_ENTRY_BYTES];
    struct wire_entry entry = {.flags = WIRE_ENTRY_FLAGS,
                               .idle_ms = 0x12345678,
                               .epoch = UINT64_C(0x1122334455667788),
                               .version = UINT64_MAX};
    struct wire_entry read;
    memset(entry.session.bytes, 0xa5, sizeof entry.session.bytes);
    wire_entry_write(&entry, bytes);
    wire_entry_write(&entry, bytes + WIRE_ENTRY_BYTES);
    struct slice rest = slice_borrow(bytes, sizeof bytes);
    for (int n = 0; n < 2; n++) {
        assert_int_equal(wire_entry_read(&read, &rest), 1);
        assert_true(session_id_equal(&read.session, &entry.session));
        assert_int_equal(read.flags, entry.flags);
        assert_int_equal(read.idle_ms, entry.idle_ms);
        assert_true(read.epoch == entry.epoch && read.version == entry.version);
    }
    assert_int_equal(wire_entry_read(&read, &rest), 0);
    rest = slice_borrow(bytes, WIRE_ENTRY_BYTES - 1);
    assert_int_equal(wire_entry_read(&read, &rest), -EBADMSG);
    bytes[MESH_SESSION_BYTES] = WIRE_ENTRY_FLAGS + 1;
    rest = slice_borrow(bytes, sizeof bytes);
    assert_int_equal(wire_entry_read(&read, &rest), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_what_is_read),
        cmocka_unit_test(test_what_is_left_of_its_times_travels),
        cmocka_unit_test(test_the_oldest_events_give_way_to_what_one_message_holds),
        cmocka_unit_test(test_a_record_with_an_error_changes_nothing),
        cmocka_unit_test(test_without_memory_a_copy_stays_what_it_was),
        cmocka_unit_test(test_an_id_is_one_json_value_and_nothing_else),
        cmocka_unit_test(test_items_of_a_later_version_are_skipped),
        cmocka_unit_test(test_an_item_has_the_room_that_it_is_said_to_need),
        cmocka_unit_test(test_entries_are_read_as_they_were_written),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
