/* Tests of link.h: two links joined in memory. Handshake, streams, credit, and rows N1-N9 of
 * bad-inputs.md. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sodium.h>

#include "mesh/wire/frame.h"
#include "mesh/wire/link.h"
#include "mesh/wire/stream.h"

#define MIB (1u << 20)
#define SEEN_MAX 4096

static const struct peer_id alpha = {11, 100}, beta = {22, 200};
static const uint8_t keys[2][32] = {{1}, {2}};

/* What one end was told. */
struct seen {
    uint32_t ready, messages, closed, ended, failed, pongs, consumed;
    uint64_t consumed_total;
    enum link_failure failure;
    struct link_event last_ready, last_closed, last_message;
    uint32_t streams[SEEN_MAX]; /* of the messages, in order */
    size_t lengths[SEEN_MAX];
    uint8_t firsts[SEEN_MAX];
};

struct end {
    struct link link;
    struct seen seen;
    struct bytes_budget budget;
    struct seal_ring ring;
    struct rng rng;
    struct slice kept; /* the text of the last message */
    bool is_slow;      /* it takes nothing by itself */
};

struct pair {
    struct end a, b; /* a dials */
    struct rng splits;
    uint64_t now_ms;
};

static void ring_of(struct seal_ring *ring, uint8_t key, const char *label)
{
    assert_int_equal(seal_ring_init(ring, &keys[key], 1, 0, label), 0);
}

static void end_init(struct end *end, bool is_dialler, uint8_t seed, struct link_config *config)
{
    uint8_t entropy[32] = {seed};

    rng_init(&end->rng, entropy);
    end->budget = (struct bytes_budget){.max = 256 * MIB};
    config->is_dialler = is_dialler;
    config->self = is_dialler ? alpha : beta;
    config->nonce = is_dialler ? 1001 : 2002;
    config->ring = &end->ring;
    config->rng = &end->rng;
    config->budget = &end->budget;
    assert_int_equal(link_init(&end->link, config, 0), 0);
}

static struct pair *pair_make(struct link_config config)
{
    struct pair *p = calloc(1, sizeof *p);
    uint8_t entropy[32] = {77};

    assert_non_null(p);
    rng_init(&p->splits, entropy);
    ring_of(&p->a.ring, 0, "test");
    ring_of(&p->b.ring, 0, "test");
    end_init(&p->a, true, 1, &config);
    config.expected = (struct peer_id){0};
    end_init(&p->b, false, 2, &config);
    return p;
}

static void pair_free(struct pair *p)
{
    slice_drop(&p->a.kept);
    slice_drop(&p->b.kept);
    link_deinit(&p->a.link);
    link_deinit(&p->b.link);
    assert_int_equal(p->a.budget.used, 0);
    assert_int_equal(p->b.budget.used, 0);
    free(p);
}

static void on_message(struct end *end, const struct link_event *e)
{
    uint32_t n = end->seen.messages++ % SEEN_MAX;

    end->seen.streams[n] = e->stream;
    end->seen.lengths[n] = e->text.length;
    end->seen.firsts[n] = e->text.at[0];
    end->seen.last_message = *e;
    slice_drop(&end->kept);
    assert_int_equal(slice_keep(&end->kept, e->text, NULL), 0);
    if (e->is_new)
        assert_int_equal(link_stream_accept(&end->link, e->stream, (struct handle){e->stream, 7}),
                         0);
    if (!end->is_slow && e->stream != 0)
        link_consumed(&end->link, e->stream, e->text.length);
}

static void end_drain(struct end *end)
{
    struct link_event e;

    while (link_next_event(&end->link, &e))
        switch (e.kind) {
        case LINK_READY:
            end->seen.ready++;
            end->seen.last_ready = e;
            break;
        case LINK_MESSAGE:
            on_message(end, &e);
            break;
        case LINK_CONSUMED:
            end->seen.consumed++;
            end->seen.consumed_total = e.total;
            break;
        case LINK_STREAM_CLOSED:
            end->seen.closed++;
            end->seen.last_closed = e;
            break;
        case LINK_PONG:
            end->seen.pongs++;
            break;
        case LINK_ENDED:
            end->seen.ended++;
            break;
        case LINK_FAILED:
            end->seen.failed++;
            end->seen.failure = e.failure;
            break;
        }
    assert_null(end->link.plain);
}

/* Bytes arrive, cut anywhere; exact copies, so that a sanitizer sees a read beyond the end. */
static void end_feed(struct pair *p, struct end *to, const uint8_t *bytes, size_t length)
{
    while (length > 0) {
        size_t part = rng_u64(&p->splits) % 4 == 0 ? 1 + rng_u64(&p->splits) % 40 : length;
        if (part > length)
            part = length;
        uint8_t *copy = malloc(part);
        assert_non_null(copy);
        memcpy(copy, bytes, part);
        link_bytes_in(&to->link, slice_borrow(copy, part), p->now_ms);
        end_drain(to);
        free(copy);
        bytes += part;
        length -= part;
    }
}

/* One record of one end, delivered; false: it had none. */
static bool step(struct pair *p, struct end *from, struct end *to)
{
    struct bytes *record = link_next_record(&from->link, p->now_ms);

    if (record == NULL)
        return false;
    end_feed(p, to, record->data, record->length);
    link_written(&from->link, record->length);
    bytes_unref(record);
    return true;
}

static void pump(struct pair *p)
{
    bool moved = true;

    while (moved) {
        moved = step(p, &p->a, &p->b);
        moved = step(p, &p->b, &p->a) || moved;
    }
}

static void wait_ms(struct pair *p, uint64_t ms)
{
    p->now_ms += ms;
    link_now(&p->a.link, p->now_ms);
    link_now(&p->b.link, p->now_ms);
    end_drain(&p->a);
    end_drain(&p->b);
    pump(p);
}

static struct pair *pair_open(struct link_config config)
{
    struct pair *p = pair_make(config);

    pump(p);
    assert_int_equal(p->a.seen.ready, 1);
    assert_int_equal(p->b.seen.ready, 1);
    return p;
}

static struct bytes *filled(size_t length, uint8_t first)
{
    struct bytes *buf = bytes_new(NULL, length);

    assert_non_null(buf);
    buf->length = length;
    for (size_t i = 0; i < length; i++)
        buf->data[i] = (uint8_t)(first + i * 7 + (i >> 8));
    return buf;
}

static bool is_filled(struct slice s, uint8_t first)
{
    for (size_t i = 0; i < s.length; i++)
        if (s.at[i] != (uint8_t)(first + i * 7 + (i >> 8)))
            return false;
    return true;
}

/* A message of `length` bytes, the first `head` of them as its head. */
static int send_filled(struct end *end, uint32_t stream, size_t length, uint8_t first)
{
    struct bytes *buf = filled(length, first);
    size_t head = length < 20 ? length : 20;
    int rc = link_send(&end->link, stream, buf->data, head, slice_of(buf, head, length - head));

    bytes_unref(buf);
    return rc;
}

static uint32_t open_stream(struct end *end)
{
    uint32_t stream = link_stream_open(&end->link, (struct handle){1, 1});

    assert_int_not_equal(stream, 0);
    return stream;
}

/* A record of our own making, sealed as the next one of `from`. */
static void inject(struct pair *p, struct end *from, struct end *to, const void *plain,
                   size_t length)
{
    uint8_t record[2 + TUNNEL_RECORD_MAX];

    memcpy(record + TUNNEL_PREFIX, plain, length);
    end_feed(p, to, record, tunnel_seal(&from->link.out, record, length));
}

/* As FRAME_ kinds with their bodies: flags 0 | one frame. */
static void inject_frame(struct pair *p, uint32_t stream, unsigned kind, const void *body,
                         size_t length)
{
    uint8_t plain[256] = {0};

    frame_put(plain + 1, stream, 4);
    plain[1 + FRAME_AT_KIND] = (uint8_t)kind;
    frame_put(plain + 1 + FRAME_AT_LENGTH, length, 2);
    memcpy(plain + 1 + FRAME_HEAD_BYTES, body, length);
    inject(p, &p->a, &p->b, plain, 1 + FRAME_HEAD_BYTES + length);
}

static void assert_fails(struct pair *p, enum link_failure failure)
{
    assert_int_equal(p->b.seen.failed, 1);
    assert_int_equal(p->b.seen.failure, failure);
    assert_null(link_next_record(&p->b.link, p->now_ms));
    pair_free(p);
}

/* ---- handshake ------------------------------------------------------------------------------ */

static void test_handshake_tells_each_side_who_the_other_is(void **state)
{
    (void)state;
    for (int no_aes = 0; no_aes < 2; no_aes++) {
        struct pair *p = pair_open((struct link_config){.expected = beta, .no_aes = no_aes});

        assert_true(peer_id_equal(p->a.seen.last_ready.peer, beta));
        assert_true(peer_id_equal(p->b.seen.last_ready.peer, alpha));
        assert_int_equal(p->a.seen.last_ready.nonce, 2002);
        assert_int_equal(p->b.seen.last_ready.nonce, 1001);
        assert_true(p->a.seen.last_ready.number == p->b.seen.last_ready.number);
        assert_true(p->a.seen.last_ready.number != 0);
        if (no_aes)
            assert_int_equal(p->a.link.out.cipher, TUNNEL_CHACHA20);
        assert_int_equal(p->a.link.out.cipher, p->b.link.in.cipher);
        assert_memory_equal(p->a.link.out.key, p->b.link.in.key, 32);
        assert_memory_not_equal(p->a.link.out.key, p->a.link.in.key, 32);
        pair_free(p);
    }
}

static void test_handshake_uses_aes_only_where_both_sides_have_it(void **state)
{
    (void)state;
    struct pair *p = pair_make((struct link_config){0});
    struct link_config config = {.no_aes = true};

    link_deinit(&p->b.link);
    end_init(&p->b, false, 2, &config);
    pump(p);
    assert_int_equal(p->a.link.out.cipher, TUNNEL_CHACHA20);
    assert_int_equal(p->b.link.in.cipher, TUNNEL_CHACHA20);
    pair_free(p);
}

/* Runs a handshake in which bit 0 and then all bits of byte `at` of message `which` are changed.
 * False: there is no such byte. */
static bool handshake_survives_tampering(unsigned which, size_t at, uint8_t change)
{
    struct pair *p = pair_make((struct link_config){.expected = beta});
    struct end *from = &p->a, *to = &p->b;
    bool exists = false;

    for (unsigned n = 0; n <= which; n++) {
        struct bytes *message = link_next_record(&from->link, 0);
        assert_non_null(message);
        exists = at < message->length;
        if (n == which && exists)
            message->data[at] ^= change;
        end_feed(p, to, message->data, message->length);
        bytes_unref(message);
        struct end *other = from;
        from = to;
        to = other;
    }
    if (exists) { /* `from` is now who got the changed one */
        assert_int_equal(from->seen.ready, 0);
        p->now_ms = LINK_DEADLINE_MS;
        link_now(&from->link, p->now_ms);
        end_drain(from);
        assert_int_equal(from->seen.failed, 1);
    }
    pair_free(p);
    return exists;
}

static void test_each_byte_of_the_handshake_counts(void **state)
{
    (void)state;
    size_t lengths[3];

    for (unsigned which = 0; which < 3; which++) {
        size_t at = 0;
        while (handshake_survives_tampering(which, at, 1) &&
               handshake_survives_tampering(which, at, 0xff))
            at++;
        lengths[which] = at;
    }
    assert_int_equal(lengths[0], 97);
    assert_int_equal(lengths[1], 97);
    assert_int_equal(lengths[2], 36);
}

static void assert_handshake_fails(struct pair *p, struct end *end, enum link_failure failure)
{
    pump(p);
    assert_int_equal(end->seen.failure, failure);
    assert_int_equal(p->a.seen.ready + p->b.seen.ready, 0);
    pair_free(p);
}

/* A pair whose acceptor has another ring. */
static struct pair *pair_of_rings(const struct seal_ring *ring)
{
    struct pair *p = pair_make((struct link_config){0});
    struct link_config config = {0};

    link_deinit(&p->b.link);
    p->b.ring = *ring;
    end_init(&p->b, false, 2, &config);
    return p;
}

static void test_handshake_fails_with_another_label_or_key(void **state)
{
    (void)state;
    const uint8_t both[2][32] = {{2}, {1}};
    struct seal_ring ring;
    struct pair *p;

    ring_of(&ring, 0, "other");
    p = pair_of_rings(&ring);
    assert_handshake_fails(p, &p->b, LINK_BAD_PROOF);
    ring_of(&ring, 1, "test");
    p = pair_of_rings(&ring);
    assert_handshake_fails(p, &p->b, LINK_BAD_KEY);
    /* The dialler's key only verifies ids by now. */
    assert_int_equal(seal_ring_init(&ring, both, 2, 2, "test"), 0);
    p = pair_of_rings(&ring);
    assert_handshake_fails(p, &p->b, LINK_BAD_KEY);
    /* It is in use, as the second: the dialler's choice holds. */
    assert_int_equal(seal_ring_init(&ring, both, 2, 0, "test"), 0);
    p = pair_of_rings(&ring);
    pump(p);
    assert_int_equal(p->a.seen.ready + p->b.seen.ready, 2);
    pair_free(p);
}

static void test_dialler_learns_that_another_peer_answered(void **state)
{
    (void)state;
    struct link_config config = {.expected = {22, 199}};
    struct pair *p = pair_make(config);

    pump(p);
    assert_int_equal(p->a.seen.failure, LINK_WRONG_PEER);
    assert_true(peer_id_equal(p->a.link.peer.id, beta));
    assert_int_equal(p->b.seen.ready, 0);
    pair_free(p);
}

static void test_dialling_oneself_fails(void **state)
{
    (void)state;
    struct pair *p = pair_make((struct link_config){0});

    p->b.link.hello->self = p->a.link.self;
    assert_handshake_fails(p, &p->b, LINK_SELF);
}

static void test_replayed_handshake_never_opens(void **state)
{
    (void)state;
    struct pair *p = pair_make((struct link_config){0});
    struct bytes *hello = link_next_record(&p->a.link, 0), *answer, *finish;

    end_feed(p, &p->b, hello->data, hello->length);
    answer = link_next_record(&p->b.link, 0);
    end_feed(p, &p->a, answer->data, answer->length);
    finish = link_next_record(&p->a.link, 0);
    end_feed(p, &p->b, finish->data, finish->length);
    assert_int_equal(p->b.seen.ready, 1);

    struct pair *again = pair_make((struct link_config){0});
    uint8_t seed[32] = {9};
    rng_init(&again->b.rng, seed);
    tunnel_begin(again->b.link.hello, false, again->b.link.self, &again->b.ring,
                 seal_ring_sealing(&again->b.ring), false, &again->b.rng);
    end_feed(again, &again->b, hello->data, hello->length);
    end_feed(again, &again->b, finish->data, finish->length);
    assert_int_equal(again->b.seen.ready, 0);
    assert_int_equal(again->b.seen.failure, LINK_BAD_PROOF);
    end_feed(again, &again->a, hello->data, hello->length); /* its own, reflected */
    assert_int_equal(again->a.seen.failure, LINK_NOT_OURS);
    bytes_unref(hello);
    bytes_unref(answer);
    bytes_unref(finish);
    pair_free(again);
    pair_free(p);
}

static void test_what_is_no_handshake_is_refused_at_once(void **state)
{
    (void)state;
    static const char http[] = "GET / HTTP/1.1\r\n\r\n";
    static const uint8_t bad[][4] = {
        {2, 1, 97, 0}, {1, 0, 97, 0}, {1, 4, 97, 0}, {1, 1, 1, 2}, {1, 1, 96, 0},
        {1, 3, 37, 0}, {1, 3, 36, 0}, {1, 2, 97, 0}, {0, 0, 0, 0},
    };
    struct pair *p = pair_make((struct link_config){0});
    end_feed(p, &p->b, (const uint8_t *)http, sizeof http - 1);
    assert_int_equal(p->b.seen.failure, LINK_NOT_OURS);
    pair_free(p);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint8_t message[600] = {0};
        memcpy(message, bad[i], 4);
        p = pair_make((struct link_config){0});
        end_feed(p, &p->b, message, sizeof message);
        assert_int_equal(p->b.seen.failed, 1);
        pair_free(p);
    }
}

static void test_handshake_has_five_seconds(void **state)
{
    (void)state;
    struct pair *p = pair_make((struct link_config){0});
    struct bytes *hello = link_next_record(&p->a.link, 0);

    assert_int_equal(link_deadline_ms(&p->b.link), LINK_DEADLINE_MS);
    for (size_t i = 0; i < 4; i++) { /* a byte a second does not extend it */
        p->now_ms = i * 1000;
        end_feed(p, &p->b, hello->data + i, 1);
    }
    link_now(&p->b.link, LINK_DEADLINE_MS - 1);
    end_drain(&p->b);
    assert_int_equal(p->b.seen.failed, 0);
    link_now(&p->b.link, LINK_DEADLINE_MS);
    end_drain(&p->b);
    assert_int_equal(p->b.seen.failure, LINK_TIMEOUT);
    assert_true(link_deadline_ms(&p->b.link) == MESH_NEVER);
    bytes_unref(hello);
    pair_free(p);
}

/* ---- messages ------------------------------------------------------------------------------- */

static void test_messages_of_any_size_arrive_whole_and_in_order(void **state)
{
    (void)state;
    static const size_t sizes[] = {1,        19,       20,    21,     300,
                                   512 + 20, 513 + 20, 4096,  16320,  16361,
                                   16384,    16385,    65536, 200000, LINK_MESSAGE_MAX};
    for (int no_aes = 0; no_aes < 2; no_aes++) {
        struct pair *p = pair_open((struct link_config){.no_aes = no_aes});
        uint32_t ours = open_stream(&p->a), theirs = open_stream(&p->b);

        assert_int_equal(ours, 1);
        assert_int_equal(theirs, 2);
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            assert_int_equal(send_filled(&p->a, ours, sizes[i], (uint8_t)i), 0);
            assert_int_equal(send_filled(&p->b, theirs, sizes[i], (uint8_t)(i + 100)), 0);
            pump(p);
            assert_int_equal(p->b.seen.messages, i + 1);
            assert_int_equal(p->b.kept.length, sizes[i]);
            assert_true(is_filled(p->b.kept, (uint8_t)i));
            assert_true(is_filled(p->a.kept, (uint8_t)(i + 100)));
            assert_true(link_stream_sent(&p->a.link, ours));
        }
        assert_int_equal(p->b.seen.last_message.user.slot, ours);
        assert_int_equal(p->a.link.queued, 0);
        pair_free(p);
    }
}

static void test_messages_that_wait_together_leave_as_one_record(void **state)
{
    (void)state;
    struct pair *p = pair_open((struct link_config){0});

    for (int i = 0; i < 16; i++)
        assert_int_equal(send_filled(&p->a, open_stream(&p->a), 300, 1), 0);
    assert_true(step(p, &p->a, &p->b));
    assert_int_equal(p->b.seen.messages, 16);
    assert_false(step(p, &p->a, &p->b));
    pair_free(p);
}

static void test_small_message_refers_to_its_record(void **state)
{
    (void)state;
    struct pair *p = pair_open((struct link_config){0});

    assert_int_equal(send_filled(&p->a, open_stream(&p->a), 300, 1), 0);
    pump(p);
    assert_non_null(p->b.seen.last_message.text.buf);
    assert_ptr_equal(p->b.kept.buf, p->b.seen.last_message.text.buf);
    assert_true(p->b.kept.buf->capacity < 400);
    pair_free(p);
}

static void test_idle_link_holds_no_buffers(void **state)
{
    (void)state;
    struct pair *p = pair_open((struct link_config){0});

    assert_int_equal(send_filled(&p->a, open_stream(&p->a), 5 * MIB, 1), 0);
    pump(p);
    wait_ms(p, 100);
    slice_drop(&p->b.kept);
    for (struct end *end = &p->a; end != NULL; end = end == &p->a ? &p->b : NULL) {
        assert_null(end->link.partial);
        assert_null(end->link.plain);
        assert_null(end->link.told);
        assert_null(end->link.hello);
        assert_null(end->link.greeting);
        assert_int_equal(end->budget.used, 0);
        assert_false(link_wants_write(&end->link));
        assert_true(link_deadline_ms(&end->link) == MESH_NEVER);
    }
    pair_free(p);
}

static void test_large_message_does_not_block_small_ones(void **state)
{
    (void)state;
    struct pair *p = pair_open((struct link_config){0});
    uint32_t large = open_stream(&p->a);

    assert_int_equal(send_filled(&p->a, large, 10 * MIB, 1), 0);
    while (p->b.link.grants < 9 * MIB) /* until the way is free for all of it */
        step(p, &p->a, &p->b), step(p, &p->b, &p->a);
    uint32_t small = open_stream(&p->a);
    assert_int_equal(send_filled(&p->a, small, 300, 2), 0);
    assert_int_equal(send_filled(&p->a, 0, 100, 3), 0);
    assert_true(step(p, &p->a, &p->b));
    assert_int_equal(p->b.seen.messages, 2);
    assert_int_equal(p->b.seen.streams[0], 0); /* control goes first */
    assert_int_equal(p->b.seen.streams[1], small);
    pump(p);
    assert_int_equal(p->b.seen.messages, 3);
    assert_int_equal(p->b.seen.streams[2], large);
    assert_true(is_filled(p->b.kept, 1));
    pair_free(p);
}

static void test_socket_that_owes_much_gets_no_more_records(void **state)
{
    (void)state;
    struct pair *p = pair_open((struct link_config){0});
    uint32_t stream = open_stream(&p->a);
    size_t owed = 0;
    struct bytes *record;

    assert_int_equal(send_filled(&p->a, 0, LINK_CONTROL_MAX, 1), 0);
    assert_int_equal(send_filled(&p->a, stream, 100, 1), 0);
    while ((record = link_next_record(&p->a.link, 0)) != NULL) {
        owed += record->length;
        bytes_unref(record);
    }
    assert_true(owed >= LINK_UNWRITTEN_MAX && owed < LINK_UNWRITTEN_MAX + TUNNEL_RECORD_MAX);
    assert_true(link_wants_write(&p->a.link));
    assert_false(link_stream_sent(&p->a.link, stream));
    link_written(&p->a.link, owed);
    record = link_next_record(&p->a.link, 0);
    assert_non_null(record);
    bytes_unref(record);
    pair_free(p);
}

static void test_no_more_waits_on_a_link_than_its_cap(void **state)
{
    (void)state;
    struct pair *p = pair_open((struct link_config){0});
    uint32_t stream = open_stream(&p->a);

    for (int i = 0; i < 3; i++)
        assert_int_equal(send_filled(&p->a, stream, 10 * MIB, 1), 0);
    assert_int_equal(send_filled(&p->a, stream, 10 * MIB, 1), -ENOBUFS);
    assert_int_equal(link_stream_queued(&p->a.link, stream), 30 * MIB);
    assert_int_equal(send_filled(&p->a, stream, LINK_MESSAGE_MAX + 1, 1), -EMSGSIZE);
    assert_int_equal(send_filled(&p->a, 0, LINK_CONTROL_MAX + 1, 1), -EMSGSIZE);
    assert_int_equal(link_send(&p->a.link, stream, "", 0, (struct slice){0}), -EMSGSIZE);
    assert_int_equal(send_filled(&p->a, 99, 10, 1), -ENOENT);
    link_stream_cut(&p->a.link, stream);
    assert_int_equal(p->a.link.queued, 0);
    pair_free(p);
}

static void test_keys_change_in_step(void **state)
{
    (void)state;
    for (int no_aes = 0; no_aes < 2; no_aes++) {
        struct pair *p = pair_open((struct link_config){.no_aes = no_aes});
        uint32_t stream = open_stream(&p->a);
        uint8_t before[32];

        p->a.link.out.records = p->b.link.in.records = TUNNEL_REKEY_RECORDS - 3;
        memcpy(before, p->a.link.out.key, 32);
        for (int i = 0; i < 8; i++) {
            assert_int_equal(send_filled(&p->a, stream, 300, (uint8_t)i), 0);
            assert_true(step(p, &p->a, &p->b));
        }
        assert_int_equal(p->b.seen.messages, 8);
        assert_memory_not_equal(before, p->a.link.out.key, 32);
        pair_free(p);
    }
}

static void test_ping_is_answered(void **state)
{
    (void)state;
    struct pair *p = pair_open((struct link_config){0});

    link_ping(&p->a.link, 5);
    assert_true(link_wants_write(&p->a.link));
    pump(p);
    assert_int_equal(p->a.seen.pongs, 1);
    pair_free(p);
}

/* ---- credit --------------------------------------------------------------------------------- */

static void test_sender_stops_where_its_credit_ends(void **state)
{
    (void)state;
    struct pair *p = pair_open((struct link_config){0});
    uint32_t stream = open_stream(&p->a);

    p->b.is_slow = true;
    for (int i = 0; i < 20; i++)
        assert_int_equal(send_filled(&p->a, stream, 1024, (uint8_t)i), 0);
    pump(p);
    assert_int_equal(p->b.seen.messages, 16); /* 16 KiB */
    assert_false(link_stream_sent(&p->a.link, stream));
    assert_int_equal(link_stream_queued(&p->a.link, stream), 4 * 1024);
    link_consumed(&p->b.link, stream, 16 * 1024);
    pump(p);
    assert_int_equal(p->b.seen.messages, 20);
    assert_true(link_stream_sent(&p->a.link, stream));
    assert_int_equal(p->a.seen.consumed_total, 16 * 1024);
    pair_free(p);
}

static void test_window_grows_while_the_reader_keeps_up(void **state)
{
    (void)state;
    struct pair *p = pair_open((struct link_config){0});
    uint32_t stream = open_stream(&p->a);

    for (int i = 0; i < 4096; i++) {
        assert_int_equal(send_filled(&p->a, stream, 2048, (uint8_t)i), 0);
        pump(p);
    }
    assert_int_equal(p->b.seen.messages, 4096);
    assert_int_equal(stream_find(&p->b.link, stream)->window, LINK_WINDOW_MAX);
    assert_true(p->b.link.grants <= LINK_WINDOW_MAX);
    pair_free(p);
}

static void test_small_consumption_is_told_a_little_later(void **state)
{
    (void)state;
    struct pair *p = pair_open((struct link_config){0});
    uint32_t stream = open_stream(&p->a);

    assert_int_equal(send_filled(&p->a, stream, 300, 1), 0);
    pump(p);
    assert_int_equal(p->b.seen.messages, 1);
    assert_int_equal(p->a.seen.consumed, 0);
    assert_int_equal(link_deadline_ms(&p->b.link), LINK_ACK_DELAY_MS);
    wait_ms(p, LINK_ACK_DELAY_MS);
    assert_int_equal(p->a.seen.consumed, 1);
    assert_int_equal(p->a.seen.consumed_total, 300);
    assert_true(link_deadline_ms(&p->b.link) == MESH_NEVER);
    pair_free(p);
}

static void test_64_kib_of_consumption_are_told_at_once_in_a_wide_window(void **state)
{
    (void)state;
    struct pair *p = pair_open((struct link_config){0});
    uint32_t stream = open_stream(&p->a);

    for (int i = 0; i < 4096; i++) {
        assert_int_equal(send_filled(&p->a, stream, 2048, (uint8_t)i), 0);
        pump(p);
    }
    assert_int_equal(stream_find(&p->b.link, stream)->window, LINK_WINDOW_MAX);
    wait_ms(p, LINK_ACK_DELAY_MS);
    uint64_t told = p->a.seen.consumed_total;
    assert_int_equal(told, 4096 * 2048);
    assert_int_equal(send_filled(&p->a, stream, LINK_ACK_MAX - 1, 1), 0);
    pump(p);
    assert_int_equal(p->a.seen.consumed_total, told);
    assert_int_equal(send_filled(&p->a, stream, 1, 1), 0);
    pump(p);
    assert_int_equal(p->a.seen.consumed_total, told + LINK_ACK_MAX);
    pair_free(p);
}

static void test_consumption_travels_with_what_leaves_anyway(void **state)
{
    (void)state;
    struct pair *p = pair_open((struct link_config){0});
    uint32_t stream = open_stream(&p->a);

    assert_int_equal(send_filled(&p->a, stream, 300, 1), 0);
    step(p, &p->a, &p->b);
    assert_int_equal(send_filled(&p->b, stream, 200, 1), 0);
    step(p, &p->b, &p->a);
    assert_int_equal(p->a.seen.consumed_total, 300);
    assert_int_equal(p->a.seen.messages, 1);
    pair_free(p);
}

static void test_stalled_streams_stop_no_other(void **state)
{
    (void)state;
    struct pair *p = pair_open((struct link_config){0});
    uint32_t stalled[20];

    p->b.is_slow = true;
    for (int i = 0; i < 20; i++) {
        stalled[i] = open_stream(&p->a);
        for (int n = 0; n < 12; n++)
            assert_int_equal(send_filled(&p->a, stalled[i], 100000, 1), 0);
    }
    pump(p);
    for (int i = 0; i < 20; i++)
        assert_false(link_stream_sent(&p->a.link, stalled[i]));
    uint32_t before = p->b.seen.messages, stream = open_stream(&p->a);
    assert_int_equal(send_filled(&p->a, stream, 300, 1), 0);
    assert_int_equal(send_filled(&p->a, 0, 300, 1), 0);
    assert_true(step(p, &p->a, &p->b));
    assert_int_equal(p->b.seen.messages, before + 2);
    pair_free(p);
}

static void test_large_messages_wait_for_room_in_the_grants(void **state)
{
    (void)state;
    struct pair *p = pair_open((struct link_config){0});
    uint32_t streams[5];

    p->b.is_slow = true;
    for (int i = 0; i < 3; i++) {
        streams[i] = open_stream(&p->a);
        assert_int_equal(send_filled(&p->a, streams[i], 10 * MIB, 1), 0);
    }
    pump(p);
    assert_int_equal(p->b.seen.messages, 3);
    for (int i = 3; i < 5; i++) {
        streams[i] = open_stream(&p->a);
        assert_int_equal(send_filled(&p->a, streams[i], 10 * MIB, 1), 0);
    }
    wait_ms(p, 1000);
    assert_int_equal(p->b.seen.messages, 3); /* nobody took the first three yet */
    assert_true(p->b.link.grants <= LINK_GRANTS_MAX);
    link_consumed(&p->b.link, streams[1], 10 * MIB);
    pump(p);
    assert_int_equal(p->b.seen.messages, 4);
    link_stream_cut(&p->b.link, streams[0]); /* so does a reader that goes away */
    pump(p);
    assert_int_equal(p->b.seen.messages, 5);
    assert_int_equal(p->b.seen.failed + p->a.seen.failed, 0);
    pair_free(p);
}

static void test_message_without_room_ends_its_stream_only(void **state)
{
    (void)state;
    struct pair *p = pair_open((struct link_config){0});
    uint32_t stream = open_stream(&p->a), other = open_stream(&p->a);

    p->b.budget.max = 1000;
    assert_int_equal(send_filled(&p->a, stream, 12000, 1), 0); /* in one record: it is read */
    pump(p);
    assert_int_equal(p->b.seen.messages, 1);
    assert_int_equal(send_filled(&p->a, other, 40000, 1), 0);
    pump(p);
    assert_int_equal(p->b.seen.messages, 1);
    assert_int_equal(p->a.seen.closed, 1);
    assert_int_equal(p->a.seen.last_closed.stream, other);
    assert_int_equal(p->a.seen.last_closed.why, LINK_CLOSE_NO_ROOM);
    assert_false(p->a.seen.last_closed.sent);
    assert_int_equal(p->b.seen.closed, 0); /* nobody there knew of it */
    assert_int_equal(send_filled(&p->a, stream, 300, 1), 0);
    pump(p);
    assert_int_equal(p->b.seen.messages, 2);
    assert_int_equal(link_streams_count(&p->b.link), 1);
    pair_free(p);
}

static void test_message_waits_for_memory_that_others_hold(void **state)
{
    (void)state;
    struct pair *p = pair_open((struct link_config){0});
    uint32_t stream = open_stream(&p->a);

    p->b.budget.max = 100000;
    assert_int_equal(send_filled(&p->a, stream, MIB, 1), 0);
    pump(p);
    assert_int_equal(p->b.seen.messages, 0);
    p->b.budget.max = 4 * MIB;
    wait_ms(p, LINK_ADMIT_AGAIN_MS);
    assert_int_equal(p->b.seen.messages, 1);
    assert_true(is_filled(p->b.kept, 1));
    pair_free(p);
}

/* ---- closing -------------------------------------------------------------------------------- */

static void test_closed_stream_sends_what_was_queued_and_is_forgotten(void **state)
{
    (void)state;
    struct pair *p = pair_open((struct link_config){0});
    uint32_t stream = open_stream(&p->a);

    assert_int_equal(send_filled(&p->a, stream, 100000, 1), 0);
    link_stream_close(&p->a.link, stream);
    assert_int_equal(send_filled(&p->a, stream, 10, 1), -ENOENT);
    pump(p);
    assert_int_equal(p->b.seen.messages, 1);
    assert_int_equal(p->b.seen.closed, 1);
    assert_true(p->b.seen.last_closed.sent);
    assert_int_equal(p->b.seen.last_closed.user.slot, stream);
    assert_int_equal(p->a.seen.closed, 0); /* it knows */
    assert_int_equal(link_streams_count(&p->a.link), 0);
    assert_int_equal(link_streams_count(&p->b.link), 0);
    assert_int_equal(open_stream(&p->a), stream + 2); /* numbers are not used again */
    pair_free(p);
}

static void test_both_sides_may_close_at_once(void **state)
{
    (void)state;
    struct pair *p = pair_open((struct link_config){0});
    uint32_t stream = open_stream(&p->a);

    assert_int_equal(send_filled(&p->a, stream, 10, 1), 0);
    pump(p);
    link_stream_close(&p->a.link, stream);
    link_stream_close(&p->b.link, stream);
    struct bytes *one = link_next_record(&p->a.link, 0), *other = link_next_record(&p->b.link, 0);
    end_feed(p, &p->b, one->data, one->length);
    end_feed(p, &p->a, other->data, other->length);
    bytes_unref(one);
    bytes_unref(other);
    pump(p);
    assert_int_equal(p->a.seen.closed + p->b.seen.closed, 0);
    assert_int_equal(link_streams_count(&p->a.link) + link_streams_count(&p->b.link), 0);
    assert_int_equal(p->a.seen.failed + p->b.seen.failed, 0);
    pair_free(p);
}

static void test_answer_to_a_reader_that_left_is_dropped(void **state)
{
    (void)state;
    struct pair *p = pair_open((struct link_config){0});
    uint32_t stream = open_stream(&p->a);

    assert_int_equal(send_filled(&p->a, stream, 10, 1), 0);
    pump(p);
    assert_int_equal(send_filled(&p->b, stream, MIB, 1), 0);
    step(p, &p->b, &p->a);
    link_stream_close(&p->a.link, stream);
    step(p, &p->b, &p->a);
    pump(p);
    assert_int_equal(p->a.seen.messages, 0);
    assert_int_equal(p->b.seen.closed, 1);
    assert_false(p->b.seen.last_closed.sent);
    assert_int_equal(p->b.link.queued, 0);
    assert_int_equal(link_streams_count(&p->a.link) + link_streams_count(&p->b.link), 0);
    pair_free(p);
}

static void test_cut_stream_drops_what_was_queued(void **state)
{
    (void)state;
    struct pair *p = pair_open((struct link_config){0});
    uint32_t begun = open_stream(&p->a), unheard = open_stream(&p->a);

    p->b.is_slow = true;
    assert_int_equal(send_filled(&p->a, begun, 10, 1), 0);
    pump(p);
    assert_int_equal(send_filled(&p->a, begun, 5 * MIB, 1), 0);
    step(p, &p->a, &p->b);
    assert_int_equal(send_filled(&p->a, unheard, 10, 1), 0);
    link_stream_cut(&p->a.link, begun);
    link_stream_cut(&p->a.link, unheard);
    pump(p);
    assert_int_equal(p->b.seen.messages, 1);
    assert_int_equal(p->b.seen.closed, 1);
    assert_int_equal(p->a.seen.failed + p->b.seen.failed, 0);
    assert_int_equal(p->a.link.queued, 0);
    assert_int_equal(p->b.link.grants, 0);
    assert_int_equal(link_streams_count(&p->a.link) + link_streams_count(&p->b.link), 0);
    pair_free(p);
}

static void test_many_streams_come_and_go_in_bounded_memory(void **state)
{
    (void)state;
    struct pair *p = pair_open((struct link_config){0});

    for (int i = 0; i < 5000; i++) {
        uint32_t stream = open_stream(&p->a);
        assert_int_equal(send_filled(&p->a, stream, 30, 1), 0);
        link_stream_close(&p->a.link, stream);
        step(p, &p->a, &p->b);
        step(p, &p->b, &p->a);
    }
    assert_int_equal(p->b.seen.messages, 5000);
    assert_int_equal(link_streams_count(&p->a.link) + link_streams_count(&p->b.link), 0);
    assert_true(p->a.link.streams_room <= 8 && p->b.link.streams_room <= 8);
    pair_free(p);
}

static void test_final_follows_all_that_was_queued(void **state)
{
    (void)state;
    struct pair *p = pair_open((struct link_config){0});
    uint32_t stream = open_stream(&p->a);

    assert_int_equal(send_filled(&p->a, stream, MIB, 1), 0);
    link_shutdown(&p->a.link);
    assert_int_equal(send_filled(&p->a, stream, 10, 1), -EPIPE);
    assert_int_equal(link_stream_open(&p->a.link, (struct handle){0}), 0);
    assert_false(link_has_ended(&p->b.link));
    pump(p);
    assert_int_equal(p->b.seen.messages, 1);
    assert_int_equal(p->b.seen.ended, 1);
    assert_true(link_has_ended(&p->b.link));
    assert_false(link_has_ended(&p->a.link));
    assert_false(link_wants_write(&p->a.link));
    pair_free(p);
}

/* ---- hostile bytes -------------------------------------------------------------------------- */

static void test_impossible_record_lengths_close_the_link(void **state)
{
    (void)state;
    static const uint8_t prefixes[][2] = {
        {0, 0}, {16, 0}, {1, 0x40}, {0xff, 0xff}, {0, 0x80},
    };
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        struct pair *p = pair_open((struct link_config){0});
        end_feed(p, &p->b, prefixes[i], 2);
        assert_null(p->b.link.partial);
        assert_fails(p, LINK_BAD_RECORD);
    }
}

static void test_changed_records_close_the_link(void **state)
{
    (void)state;
    size_t length = 1;

    for (size_t at = 0; at < length; at++) {
        struct pair *p = pair_open((struct link_config){.no_aes = at % 2});
        assert_int_equal(send_filled(&p->a, open_stream(&p->a), 20, 1), 0);
        struct bytes *record = link_next_record(&p->a.link, 0);
        length = record->length;
        record->data[at] ^= (uint8_t)(1u << at % 8);
        uint8_t more[TUNNEL_RECORD_MAX] = {0};
        end_feed(p, &p->b, record->data, length);
        end_feed(p, &p->b, more, sizeof more); /* if it was its length that grew */
        bytes_unref(record);
        assert_int_equal(p->b.seen.messages, 0);
        assert_fails(p, LINK_BAD_RECORD);
    }
}

static void test_swapped_missing_and_repeated_records_close_the_link(void **state)
{
    (void)state;
    for (int what = 0; what < 3; what++) {
        struct pair *p = pair_open((struct link_config){0});
        uint32_t stream = open_stream(&p->a);
        struct bytes *records[2];

        for (int i = 0; i < 2; i++) {
            assert_int_equal(send_filled(&p->a, stream, 20, 1), 0);
            records[i] = link_next_record(&p->a.link, 0);
        }
        if (what == 2) {
            end_feed(p, &p->b, records[0]->data, records[0]->length);
            end_feed(p, &p->b, records[0]->data, records[0]->length);
        } else {
            end_feed(p, &p->b, records[1]->data, records[1]->length);
        }
        if (what == 0)
            end_feed(p, &p->b, records[0]->data, records[0]->length);
        bytes_unref(records[0]);
        bytes_unref(records[1]);
        assert_int_equal(p->b.seen.messages, what == 2);
        assert_fails(p, LINK_BAD_RECORD);
    }
}

static void test_record_after_final_closes_the_link(void **state)
{
    (void)state;
    struct pair *p = pair_open((struct link_config){0});

    inject(p, &p->a, &p->b, "\1", 1);
    assert_int_equal(p->b.seen.ended, 1);
    inject(p, &p->a, &p->b, "\0", 1);
    assert_fails(p, LINK_BAD_RECORD);
    p = pair_open((struct link_config){0});
    inject(p, &p->a, &p->b, "\2", 1); /* a flag that means nothing */
    assert_fails(p, LINK_BAD_RECORD);
}

struct bad_frame {
    uint32_t stream;
    unsigned kind;
    const char *body;
    size_t length;
    enum link_failure failure;
};

static void test_bad_frames_close_the_link(void **state)
{
    (void)state;
    static const struct bad_frame bad[] = {
        {1, 0, "", 0, LINK_BAD_FRAME},
        {1, 7, "", 0, LINK_BAD_FRAME},
        {1, FRAME_FIRST, "", 0, LINK_BAD_FRAME},
        {1, FRAME_FIRST, "\1\0\0", 3, LINK_BAD_FRAME},
        {1, FRAME_FIRST, "\1\0\0\0", 4, LINK_BAD_FRAME},      /* no byte of it */
        {1, FRAME_FIRST, "\0\0\0\0x", 5, LINK_BAD_FRAME},     /* empty */
        {1, FRAME_FIRST, "\1\0\0\0xy", 6, LINK_BAD_FRAME},    /* more than the total */
        {1, FRAME_FIRST, "\2\xc0\xa0\0x", 5, LINK_BAD_FRAME}, /* LINK_MESSAGE_MAX + 1 */
        {1, FRAME_FIRST, "\xff\xff\xff\xffx", 5, LINK_BAD_FRAME},
        {0, FRAME_FIRST, "\1\0\x10\0x", 5, LINK_BAD_FRAME}, /* LINK_CONTROL_MAX + 1 */
        {0, FRAME_MORE, "x", 1, LINK_BAD_FRAME},
        {3, FRAME_MORE, "x", 1, LINK_BAD_STREAM},          /* unknown */
        {2, FRAME_FIRST, "\1\0\0\0x", 5, LINK_BAD_STREAM}, /* of the wrong side */
        {3, FRAME_CREDIT, "\0\0\0\0\0\0\0\0\0\0\0\0", 12, LINK_BAD_STREAM},
        {3, FRAME_CLOSE, "\0", 1, LINK_BAD_STREAM},
        {0, FRAME_CLOSE, "\0", 1, LINK_BAD_FRAME},
        {0, FRAME_CREDIT, "\0\0\0\0\0\0\0\0\0\0\0\0", 12, LINK_BAD_CREDIT},
        {1, FRAME_PING, "\0\0\0\0", 4, LINK_BAD_FRAME},
        {0, FRAME_PING, "\0\0\0", 3, LINK_BAD_FRAME},
        {0, FRAME_PONG, "\0\0\0\0\0", 5, LINK_BAD_FRAME},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct pair *p = pair_open((struct link_config){0});
        inject_frame(p, bad[i].stream, bad[i].kind, bad[i].body, bad[i].length);
        assert_int_equal(p->b.seen.messages, 0);
        assert_fails(p, bad[i].failure);
    }
}

static void test_bad_frames_on_a_living_stream_close_the_link(void **state)
{
    (void)state;
    static const struct bad_frame bad[] = {
        {1, FRAME_MORE, "x", 1, LINK_BAD_FRAME}, /* no message is under way */
        {1, FRAME_CLOSE, "", 0, LINK_BAD_FRAME},
        {1, FRAME_CLOSE, "\2", 1, LINK_BAD_FRAME},
        {1, FRAME_CREDIT, "\0\0\0\0\0\0\0\0\0\0\0", 11, LINK_BAD_CREDIT},
        {1, FRAME_CREDIT, "\1\0\0\0\0\0\0\0\0\0\0\0", 12, LINK_BAD_CREDIT}, /* not sent yet */
        {1, FRAME_CREDIT, "\xff\xff\xff\xff\xff\xff\xff\xff\1\0\0\0", 12, LINK_BAD_CREDIT},
        {1, FRAME_CREDIT, "\0\0\0\0\0\0\0\0\0\0\0\x80", 12, LINK_BAD_CREDIT}, /* 2^31 */
        {1, FRAME_CREDIT, "\0\0\0\0\0\0\0\0\xff\xff\xff\xff", 12, LINK_BAD_CREDIT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct pair *p = pair_open((struct link_config){0});
        inject_frame(p, 1, FRAME_FIRST, "\1\0\0\0x", 5);
        assert_int_equal(p->b.seen.messages, 1);
        inject_frame(p, bad[i].stream, bad[i].kind, bad[i].body, bad[i].length);
        assert_fails(p, bad[i].failure);
    }
}

static void test_stream_numbers_are_not_used_twice(void **state)
{
    (void)state;
    struct pair *p = pair_open((struct link_config){0});

    inject_frame(p, 9, FRAME_FIRST, "\1\0\0\0x", 5);
    inject_frame(p, 7, FRAME_FIRST, "\1\0\0\0x", 5); /* below one that was used */
    assert_fails(p, LINK_BAD_STREAM);
    p = pair_open((struct link_config){0});
    inject_frame(p, 9, FRAME_FIRST, "\1\0\0\0x", 5);
    link_stream_close(&p->b.link, 9);
    bytes_unref(link_next_record(&p->b.link, 0));
    inject_frame(p, 9, FRAME_FIRST, "\1\0\0\0x", 5); /* it may have crossed our close */
    inject_frame(p, 9, FRAME_CLOSE, "\0", 1);
    assert_int_equal(p->b.seen.failed, 0);
    assert_int_equal(p->b.seen.messages, 1);
    inject_frame(p, 9, FRAME_FIRST, "\1\0\0\0x", 5);
    assert_fails(p, LINK_BAD_STREAM);
    p = pair_open((struct link_config){0});
    inject_frame(p, 9, FRAME_FIRST, "\1\0\0\0x", 5);
    inject_frame(p, 9, FRAME_CLOSE, "\0", 1);
    inject_frame(p, 9, FRAME_CLOSE, "\0", 1);
    assert_fails(p, LINK_BAD_STREAM);
}

static void test_one_stream_too_many_closes_the_link(void **state)
{
    (void)state;
    struct pair *p = pair_open((struct link_config){0});
    uint32_t number = 1;

    for (uint32_t i = 0; i < LINK_STREAMS_MAX; i++, number += 2)
        inject_frame(p, number, FRAME_FIRST, "\1\0\0\0x", 5);
    assert_int_equal(p->b.seen.messages, LINK_STREAMS_MAX);
    assert_int_equal(p->b.seen.failed, 0);
    inject_frame(p, number, FRAME_FIRST, "\1\0\0\0x", 5);
    assert_fails(p, LINK_BAD_STREAM);

    p = pair_open((struct link_config){0});
    for (uint32_t i = 0; i < LINK_STREAMS_MAX; i++)
        open_stream(&p->a);
    assert_int_equal(link_stream_open(&p->a.link, (struct handle){0}), 0);
    pair_free(p);
}

static void test_numbers_used_up_open_nothing(void **state)
{
    (void)state;
    struct pair *p = pair_open((struct link_config){0});

    p->a.link.highest[0] = UINT32_MAX - 4;
    assert_int_equal(open_stream(&p->a), UINT32_MAX - 2);
    assert_int_equal(open_stream(&p->a), UINT32_MAX);
    assert_int_equal(link_stream_open(&p->a.link, (struct handle){0}), 0);
    pair_free(p);
}

static void test_data_beyond_the_credit_closes_the_link(void **state)
{
    (void)state;
    static uint8_t plain[1 + FRAME_HEAD_BYTES + 4 + 8192];
    for (int slow = 0; slow < 2; slow++) {
        struct pair *p = pair_open((struct link_config){0});
        p->b.is_slow = slow;
        frame_put(plain + 1, 1, 4);
        plain[1 + FRAME_AT_KIND] = FRAME_FIRST;
        frame_put(plain + 1 + FRAME_AT_LENGTH, 4 + 8192, 2);
        frame_put(plain + 1 + FRAME_HEAD_BYTES, 8192, 4);
        for (int i = 0; i < 2; i++)
            inject(p, &p->a, &p->b, plain, sizeof plain);
        assert_int_equal(p->b.seen.messages, 2);
        assert_int_equal(p->b.seen.failed, 0);
        inject(p, &p->a, &p->b, plain, sizeof plain);
        if (slow) {
            assert_fails(p, LINK_BAD_CREDIT);
            continue;
        }
        assert_int_equal(p->b.seen.messages, 3);
        pair_free(p);
    }
}

static void test_frames_cut_by_their_record_close_the_link(void **state)
{
    (void)state;
    static const uint8_t frame[] = {0, 1, 0, 0, 0, FRAME_FIRST, 9, 0, 5, 0, 0, 0, 1, 2, 3, 4, 5};

    for (size_t cut = 2; cut < sizeof frame; cut++) {
        struct pair *p = pair_open((struct link_config){0});
        inject(p, &p->a, &p->b, frame, cut);
        assert_fails(p, LINK_BAD_FRAME);
    }
    struct pair *p = pair_open((struct link_config){0});
    inject(p, &p->a, &p->b, frame, sizeof frame);
    assert_int_equal(p->b.seen.messages, 1);
    pair_free(p);
}

/* ---- all at once ---------------------------------------------------------------------------- */

#define LANES 12

/* What both ends do with a lane: numbered messages each way. */
struct soak {
    uint32_t stream;
    uint32_t sent, heard;
};

static void test_random_traffic_keeps_every_order(void **state)
{
    (void)state;
    struct pair *p = pair_open((struct link_config){0});
    struct soak lanes[LANES] = {0};
    uint32_t heard = 0;

    for (int turn = 0; turn < 4000; turn++) {
        uint64_t dice = rng_u64(&p->splits);
        struct soak *lane = &lanes[dice % LANES];
        size_t length = 4 + (dice >> 8) % (dice >> 40 & 31 ? 600 : 90000);
        if (lane->stream == 0)
            lane->stream = open_stream(&p->a);
        struct bytes *buf = filled(length, 0);
        frame_put(buf->data, lane->sent, 4);
        if (link_send(&p->a.link, lane->stream, buf->data, 4, slice_of(buf, 4, length - 4)) == 0)
            lane->sent++;
        bytes_unref(buf);
        if (dice >> 50 & 1)
            step(p, &p->b, &p->a);
        while (dice >> 51 & 1 && step(p, &p->a, &p->b))
            for (; heard < p->b.seen.messages; heard++) {
                uint32_t stream = p->b.seen.streams[heard % SEEN_MAX];
                for (int i = 0; i < LANES; i++)
                    if (lanes[i].stream == stream) {
                        assert_int_equal(p->b.seen.firsts[heard % SEEN_MAX],
                                         (uint8_t)lanes[i].heard);
                        lanes[i].heard++;
                    }
            }
    }
    pump(p);
    uint32_t sent = 0;
    for (int i = 0; i < LANES; i++)
        sent += lanes[i].sent;
    assert_int_equal(sent, p->b.seen.messages);
    assert_int_equal(p->a.seen.failed + p->b.seen.failed, 0);
    pair_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handshake_tells_each_side_who_the_other_is),
        cmocka_unit_test(test_handshake_uses_aes_only_where_both_sides_have_it),
        cmocka_unit_test(test_each_byte_of_the_handshake_counts),
        cmocka_unit_test(test_handshake_fails_with_another_label_or_key),
        cmocka_unit_test(test_dialler_learns_that_another_peer_answered),
        cmocka_unit_test(test_dialling_oneself_fails),
        cmocka_unit_test(test_replayed_handshake_never_opens),
        cmocka_unit_test(test_what_is_no_handshake_is_refused_at_once),
        cmocka_unit_test(test_handshake_has_five_seconds),
        cmocka_unit_test(test_messages_of_any_size_arrive_whole_and_in_order),
        cmocka_unit_test(test_messages_that_wait_together_leave_as_one_record),
        cmocka_unit_test(test_small_message_refers_to_its_record),
        cmocka_unit_test(test_idle_link_holds_no_buffers),
        cmocka_unit_test(test_large_message_does_not_block_small_ones),
        cmocka_unit_test(test_socket_that_owes_much_gets_no_more_records),
        cmocka_unit_test(test_no_more_waits_on_a_link_than_its_cap),
        cmocka_unit_test(test_keys_change_in_step),
        cmocka_unit_test(test_ping_is_answered),
        cmocka_unit_test(test_sender_stops_where_its_credit_ends),
        cmocka_unit_test(test_window_grows_while_the_reader_keeps_up),
        cmocka_unit_test(test_small_consumption_is_told_a_little_later),
        cmocka_unit_test(test_64_kib_of_consumption_are_told_at_once_in_a_wide_window),
        cmocka_unit_test(test_consumption_travels_with_what_leaves_anyway),
        cmocka_unit_test(test_stalled_streams_stop_no_other),
        cmocka_unit_test(test_large_messages_wait_for_room_in_the_grants),
        cmocka_unit_test(test_message_without_room_ends_its_stream_only),
        cmocka_unit_test(test_message_waits_for_memory_that_others_hold),
        cmocka_unit_test(test_closed_stream_sends_what_was_queued_and_is_forgotten),
        cmocka_unit_test(test_both_sides_may_close_at_once),
        cmocka_unit_test(test_answer_to_a_reader_that_left_is_dropped),
        cmocka_unit_test(test_cut_stream_drops_what_was_queued),
        cmocka_unit_test(test_many_streams_come_and_go_in_bounded_memory),
        cmocka_unit_test(test_final_follows_all_that_was_queued),
        cmocka_unit_test(test_impossible_record_lengths_close_the_link),
        cmocka_unit_test(test_changed_records_close_the_link),
        cmocka_unit_test(test_swapped_missing_and_repeated_records_close_the_link),
        cmocka_unit_test(test_record_after_final_closes_the_link),
        cmocka_unit_test(test_bad_frames_close_the_link),
        cmocka_unit_test(test_bad_frames_on_a_living_stream_close_the_link),
        cmocka_unit_test(test_stream_numbers_are_not_used_twice),
        cmocka_unit_test(test_one_stream_too_many_closes_the_link),
        cmocka_unit_test(test_numbers_used_up_open_nothing),
        cmocka_unit_test(test_data_beyond_the_credit_closes_the_link),
        cmocka_unit_test(test_frames_cut_by_their_record_close_the_link),
        cmocka_unit_test(test_random_traffic_keeps_every_order),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
