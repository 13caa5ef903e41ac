/* Tests of seal.h: rings of keys, what is refused and why, and replay windows (rows G1-G7 of
 * bad-inputs.md). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "mesh/wire/seal.h"

static const uint8_t keys[5][32] = {{1}, {2}, {3}, {4}, {5}};

/* A sender and a receiver. */
struct mail {
    struct seal_ring ring_a, ring_b;
    struct seal a, b;
    uint8_t datagram[SEAL_DATAGRAM_MAX], plain[SEAL_PLAIN_MAX];
    size_t length, plain_length;
    struct seal_sender from;
};

static void mail_init_of(struct mail *m, const uint8_t (*key_a)[32], const uint8_t (*key_b)[32],
                         const char *label_b)
{
    uint8_t entropy[32] = {9};
    struct rng rng;

    rng_init(&rng, entropy);
    assert_int_equal(seal_ring_init(&m->ring_a, key_a, key_a != NULL, 0, "label"), 0);
    assert_int_equal(seal_ring_init(&m->ring_b, key_b, key_b != NULL, 0, label_b), 0);
    seal_init(&m->a, &m->ring_a, 0xa, 0xaaaa, 0, &rng);
    seal_init(&m->b, &m->ring_b, 0xb, 0xbbbb, 0, &rng);
}

static void mail_init(struct mail *m)
{
    mail_init_of(m, &keys[0], &keys[0], "label");
}

static void mail_deinit(struct mail *m)
{
    seal_deinit(&m->a);
    seal_deinit(&m->b);
    seal_ring_deinit(&m->ring_a);
    seal_ring_deinit(&m->ring_b);
}

static void mail_seal(struct mail *m, const void *text, size_t length)
{
    m->length = seal_datagram(&m->a, NULL, text, length, m->datagram);
}

static enum seal_verdict mail_open(struct mail *m)
{
    return seal_open(&m->b, slice_borrow(m->datagram, m->length), m->plain, &m->plain_length,
                     &m->from);
}

/* A datagram of `a` with this seq. */
static enum seal_verdict mail_send(struct mail *m, uint64_t seq)
{
    m->a.next_seq = seq;
    mail_seal(m, "x", 1);
    return mail_open(m);
}

static void test_datagram_opens_as_it_was_sealed(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 100, SEAL_PLAIN_MAX};
    struct mail m;
    uint8_t text[SEAL_PLAIN_MAX];

    mail_init(&m);
    memset(text, 0x5c, sizeof text);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        mail_seal(&m, text, lengths[i]);
        assert_int_equal(m.length, lengths[i] + 46);
        assert_int_equal(mail_open(&m), SEAL_OPENED);
        assert_int_equal(m.plain_length, lengths[i]);
        assert_memory_equal(m.plain, text, lengths[i]);
        assert_true(m.from.name == 0xa && m.from.nonce == 0xaaaa && m.from.seq == i + 1);
    }
    assert_int_equal(m.b.counters.opened, 4);
    mail_deinit(&m);
}

static void test_keyless_peers_share_the_key_of_their_label(void **state)
{
    (void)state;
    struct mail m;

    mail_init_of(&m, NULL, NULL, "label");
    mail_seal(&m, "x", 1);
    assert_int_equal(mail_open(&m), SEAL_OPENED);
    mail_deinit(&m);
    mail_init_of(&m, NULL, NULL, "other");
    mail_seal(&m, "x", 1);
    assert_int_equal(mail_open(&m), SEAL_BAD);
    mail_deinit(&m);
}

static void test_other_key_or_label_opens_nothing(void **state)
{
    (void)state;
    struct mail m;

    mail_init_of(&m, &keys[0], &keys[1], "label");
    mail_seal(&m, "x", 1);
    assert_int_equal(mail_open(&m), SEAL_BAD);
    assert_int_equal(m.b.counters.bad_key, 1);
    mail_deinit(&m);
    mail_init_of(&m, &keys[0], &keys[0], "labeL");
    mail_seal(&m, "x", 1);
    assert_int_equal(mail_open(&m), SEAL_BAD);
    assert_int_equal(m.b.counters.bad_tag, 1);
    mail_deinit(&m);
}

static void test_each_bit_of_a_datagram_counts(void **state)
{
    (void)state;
    struct mail m;

    mail_init(&m);
    mail_seal(&m, "some text", 9);
    for (size_t bit = 0; bit < m.length * 8; bit++) {
        m.datagram[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(mail_open(&m), SEAL_BAD);
        m.datagram[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(m.b.counters.bad_version, 16);
    assert_int_equal(m.b.counters.bad_key, 32);
    assert_int_equal(m.b.counters.bad_tag, (m.length - 6) * 8);
    assert_int_equal(m.b.windows_count, 0); /* a stranger costs no memory */
    assert_int_equal(mail_open(&m), SEAL_OPENED);
    mail_deinit(&m);
}

static void test_impossible_lengths_are_dropped(void **state)
{
    (void)state;
    static uint8_t large[65507];
    static const size_t lengths[] = {0, 1, 45, 1201, 65507};
    struct mail m;

    mail_init(&m);
    mail_seal(&m, "", 0);
    memcpy(large, m.datagram, m.length);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        assert_int_equal(
            seal_open(&m.b, slice_borrow(large, lengths[i]), m.plain, &m.plain_length, &m.from),
            SEAL_BAD);
    assert_int_equal(m.b.counters.bad_length, 5);
    assert_int_equal(mail_open(&m), SEAL_OPENED);
    mail_deinit(&m);
}

static void test_replayed_datagram_is_dropped(void **state)
{
    (void)state;
    struct mail m;

    mail_init(&m);
    mail_seal(&m, "x", 1);
    assert_int_equal(mail_open(&m), SEAL_OPENED);
    assert_int_equal(mail_open(&m), SEAL_REPLAYED);
    assert_int_equal(mail_open(&m), SEAL_REPLAYED);
    assert_int_equal(m.b.counters.replayed, 2);
    mail_deinit(&m);
}

static void test_window_edges(void **state)
{
    (void)state;
    struct mail m;

    mail_init(&m);
    assert_int_equal(mail_send(&m, 5000), SEAL_OPENED);
    assert_int_equal(mail_send(&m, 5000 - 1023), SEAL_OPENED);
    assert_int_equal(mail_send(&m, 5000 - 1023), SEAL_REPLAYED);
    assert_int_equal(mail_send(&m, 5000 - 1024), SEAL_REPLAYED);
    assert_int_equal(mail_send(&m, 5000 - 1025), SEAL_REPLAYED);
    assert_int_equal(mail_send(&m, 4999), SEAL_OPENED);
    assert_int_equal(mail_send(&m, 5001), SEAL_OPENED);
    assert_int_equal(mail_send(&m, 5001 - 1023), SEAL_OPENED);
    assert_int_equal(mail_send(&m, 5000 - 1023), SEAL_REPLAYED); /* it has fallen out */
    assert_int_equal(mail_send(&m, 5000), SEAL_REPLAYED);
    /* A jump over the whole window forgets what was in it, and no more. */
    assert_int_equal(mail_send(&m, 5001 + 1024), SEAL_OPENED);
    assert_int_equal(mail_send(&m, 5001), SEAL_REPLAYED);
    assert_int_equal(mail_send(&m, 5002), SEAL_OPENED);
    mail_deinit(&m);
}

static void test_highest_seq_does_not_wrap(void **state)
{
    (void)state;
    struct mail m;

    mail_init(&m);
    assert_int_equal(mail_send(&m, 0), SEAL_OPENED);
    assert_int_equal(mail_send(&m, 0), SEAL_REPLAYED);
    assert_int_equal(mail_send(&m, UINT64_MAX), SEAL_OPENED);
    assert_int_equal(mail_send(&m, UINT64_MAX), SEAL_REPLAYED);
    assert_int_equal(mail_send(&m, 0), SEAL_REPLAYED);
    assert_int_equal(mail_send(&m, 1), SEAL_REPLAYED);
    assert_int_equal(mail_send(&m, UINT64_MAX - 1), SEAL_OPENED);
    assert_int_equal(mail_send(&m, UINT64_MAX - 1023), SEAL_OPENED);
    assert_int_equal(mail_send(&m, UINT64_MAX - 1024), SEAL_REPLAYED);
    mail_deinit(&m);
}

/* Each seq in a random order near the window, against a plain list of what was seen. */
static void test_window_agrees_with_a_naive_model(void **state)
{
    (void)state;
    static bool seen[8000];
    struct mail m;
    struct rng rng;
    uint8_t entropy[32] = {3};
    uint64_t highest = 0;

    mail_init(&m);
    rng_init(&rng, entropy);
    for (int i = 0; i < 20000; i++) {
        uint64_t seq = (uint64_t)i / 3 + rng_u64(&rng) % (i % 50 == 0 ? 1300 : 200);
        bool is_new = !seen[seq] && (seq > highest || highest - seq < SEAL_WINDOW_BITS);
        assert_int_equal(mail_send(&m, seq), is_new ? SEAL_OPENED : SEAL_REPLAYED);
        seen[seq] = true;
        if (seq > highest)
            highest = seq;
    }
    mail_deinit(&m);
}

static void test_each_generation_has_a_window_of_its_own(void **state)
{
    (void)state;
    struct mail m;

    mail_init(&m);
    assert_int_equal(mail_send(&m, 700), SEAL_OPENED);
    seal_set_self(&m.a, 0xa, 0xaaab); /* restarted */
    mail_seal(&m, "x", 1);
    assert_int_equal(mail_open(&m), SEAL_OPENED);
    assert_int_equal(mail_open(&m), SEAL_REPLAYED);
    assert_int_equal(m.from.seq, 1);
    mail_deinit(&m);
}

static void test_sender_heard_longest_ago_loses_its_window(void **state)
{
    (void)state;
    struct mail m;
    uint8_t entropy[32] = {4};
    struct rng rng;

    mail_init(&m);
    rng_init(&rng, entropy);
    seal_deinit(&m.b);
    seal_init(&m.b, &m.ring_b, 0xb, 0xbbbb, 20, &rng);
    for (uint64_t nonce = 1; nonce <= 20; nonce++) {
        seal_set_self(&m.a, 0xa, nonce);
        assert_int_equal(mail_send(&m, 1), SEAL_OPENED);
    }
    seal_set_self(&m.a, 0xa, 1); /* heard again: 2 is the oldest now */
    assert_int_equal(mail_send(&m, 1), SEAL_REPLAYED);
    seal_set_self(&m.a, 0xa, 21);
    assert_int_equal(mail_send(&m, 1), SEAL_OPENED);
    assert_int_equal(m.b.windows_count, 20);
    seal_set_self(&m.a, 0xa, 1);
    assert_int_equal(mail_send(&m, 1), SEAL_REPLAYED);
    seal_set_self(&m.a, 0xa, 3);
    assert_int_equal(mail_send(&m, 1), SEAL_REPLAYED);
    seal_set_self(&m.a, 0xa, 2);
    assert_int_equal(mail_send(&m, 1), SEAL_OPENED); /* forgotten */
    assert_int_equal(table_count(&m.b.windows_by_sender), 20);
    mail_deinit(&m);
}

static void test_own_datagram_is_told_apart_from_a_twin(void **state)
{
    (void)state;
    struct mail m;

    mail_init(&m);
    seal_set_self(&m.b, 0xa, 0xaaaa); /* b is the twin of a */
    m.b.next_seq = 10;
    assert_int_equal(mail_send(&m, 9), SEAL_REFLECTED); /* b may have sent that itself */
    assert_int_equal(mail_send(&m, 10), SEAL_OWN);      /* this it has not */
    assert_int_equal(m.b.counters.reflected, 1);
    assert_int_equal(m.b.counters.own, 1);
    mail_deinit(&m);
}

static void test_rotation_opens_both_keys_and_seals_with_the_first(void **state)
{
    (void)state;
    const uint8_t both[2][32] = {{2}, {1}};
    struct mail m;

    mail_init(&m);
    assert_int_equal(seal_ring_init(&m.ring_b, both, 2, 0, "label"), 0);
    assert_int_equal(mail_send(&m, 1), SEAL_OPENED); /* the former key */
    assert_int_equal(seal_ring_init(&m.ring_a, both, 2, 0, "label"), 0);
    assert_int_equal(mail_send(&m, 2), SEAL_OPENED);
    assert_int_equal(m.datagram[2], seal_key_id(both[0]) & 0xff);
    /* Out of use: it verifies ids, and opens nothing. */
    assert_int_equal(seal_ring_init(&m.ring_b, both, 2, 1, "label"), 0);
    assert_int_equal(mail_send(&m, 3), SEAL_BAD);
    assert_int_equal(m.b.counters.bad_key, 1);
    assert_int_equal(m.ring_b.sealing, 1);
    mail_deinit(&m);
}

static void test_any_key_in_use_may_seal_and_they_take_turns(void **state)
{
    (void)state;
    const uint8_t three[3][32] = {{1}, {2}, {6}};
    uint32_t ids[3];
    struct mail m;

    mail_init(&m);
    for (int i = 0; i < 3; i++)
        ids[i] = seal_key_id(three[i]);
    assert_int_equal(seal_ring_init(&m.ring_a, three, 3, 2, "label"), 0); /* not the second */
    assert_int_equal(seal_ring_in_use(&m.ring_a), 2);
    seal_ring_use(&m.ring_a, ids[2]);
    assert_int_equal(seal_ring_sealing(&m.ring_a)->id, ids[2]);
    for (uint32_t turn = 0; turn < 6; turn++)
        assert_int_equal(seal_ring_turn(&m.ring_a, turn)->id, ids[turn % 2 == 0 ? 2 : 0]);
    seal_datagram(&m.a, seal_ring_turn(&m.ring_a, 1), "x", 1, m.datagram);
    assert_int_equal(m.datagram[2], ids[0] & 0xff);
    seal_datagram(&m.a, NULL, "x", 1, m.datagram);
    assert_int_equal(m.datagram[2], ids[2] & 0xff);
    mail_deinit(&m);
}

static void test_bad_rings_are_refused_and_change_nothing(void **state)
{
    (void)state;
    const uint8_t same[2][32] = {{1}, {1}};
    struct seal_ring ring, was;

    assert_int_equal(seal_ring_init(&ring, &keys[0], 1, 0, "label"), 0);
    was = ring;
    assert_int_equal(seal_ring_init(&ring, keys, SEAL_KEYS_MAX + 1, 0, "label"), -EINVAL);
    assert_int_equal(seal_ring_init(&ring, same, 2, 0, "label"), -EINVAL);
    assert_int_equal(seal_ring_init(&ring, &keys[0], 1, 1, "label"), -EINVAL); /* none seals */
    assert_memory_equal(&ring, &was, sizeof ring);
    seal_ring_deinit(&ring);
}

static void test_ids_with_equal_low_bits_are_refused(void **state)
{
    (void)state;
    uint8_t two[2][32] = {{1}, {0}};
    struct seal_ring ring;
    int refused = 0;

    for (int i = 2; i < 100; i++) {
        two[1][0] = (uint8_t)i;
        bool is_same = (seal_key_id(two[0]) & 15) == (seal_key_id(two[1]) & 15);
        assert_int_equal(seal_ring_init(&ring, (const uint8_t(*)[32])two, 2, 0, "l"),
                         is_same ? -EINVAL : 0);
        refused += is_same;
    }
    assert_true(refused > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_datagram_opens_as_it_was_sealed),
        cmocka_unit_test(test_keyless_peers_share_the_key_of_their_label),
        cmocka_unit_test(test_other_key_or_label_opens_nothing),
        cmocka_unit_test(test_each_bit_of_a_datagram_counts),
        cmocka_unit_test(test_impossible_lengths_are_dropped),
        cmocka_unit_test(test_replayed_datagram_is_dropped),
        cmocka_unit_test(test_window_edges),
        cmocka_unit_test(test_highest_seq_does_not_wrap),
        cmocka_unit_test(test_window_agrees_with_a_naive_model),
        cmocka_unit_test(test_each_generation_has_a_window_of_its_own),
        cmocka_unit_test(test_sender_heard_longest_ago_loses_its_window),
        cmocka_unit_test(test_own_datagram_is_told_apart_from_a_twin),
        cmocka_unit_test(test_rotation_opens_both_keys_and_seals_with_the_first),
        cmocka_unit_test(test_any_key_in_use_may_seal_and_they_take_turns),
        cmocka_unit_test(test_bad_rings_are_refused_and_change_nothing),
        cmocka_unit_test(test_ids_with_equal_low_bits_are_refused),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
