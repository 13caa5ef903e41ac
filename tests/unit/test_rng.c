/* test_rng.c - both generators: the same seed, the same run; the past erased; no bias. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sodium.h>

#include "mesh/base/rng.h"

static const uint8_t seed[32] = "a seed of thirty-two bytes here";

static void test_the_secure_stream_is_chacha20_with_each_block_rekeyed(void **state)
{
    static const uint8_t nonce[crypto_stream_chacha20_NONCEBYTES];
    uint8_t block[RNG_BLOCK_BYTES], got[2 * (RNG_BLOCK_BYTES - 32)];
    struct rng rng;

    (void)state;
    rng_init(&rng, seed);
    rng_bytes(&rng, got, sizeof got);
    crypto_stream_chacha20(block, sizeof block, nonce, seed);
    assert_memory_equal(got, block + 32, sizeof block - 32);
    crypto_stream_chacha20(block, sizeof block, nonce, block);
    assert_memory_equal(got + sizeof block - 32, block + 32, sizeof block - 32);
}

static void test_how_bytes_are_asked_for_does_not_change_them(void **state)
{
    uint8_t whole[3000], parts[3000];
    struct rng rng;
    size_t at = 0;

    (void)state;
    rng_init(&rng, seed);
    rng_bytes(&rng, whole, sizeof whole);
    rng_init(&rng, seed);
    for (size_t part = 0; at < sizeof parts; part++) {
        size_t length = part < sizeof parts - at ? part : sizeof parts - at;

        rng_bytes(&rng, parts + at, length);
        at += length;
    }
    assert_memory_equal(whole, parts, sizeof whole);
}

static void test_what_was_given_out_is_nowhere_in_memory(void **state)
{
    uint8_t out[16];
    struct rng rng;

    (void)state;
    rng_init(&rng, seed);
    for (int i = 0; i < 100; i++) {
        rng_bytes(&rng, out, sizeof out);
        assert_null(memmem(&rng, sizeof rng, out, sizeof out));
        assert_null(memmem(&rng, sizeof rng, seed, sizeof seed));
    }
}

static void test_the_fast_generator_gives_the_sequence_of_its_paper(void **state)
{
    /* From state 1, 2, 3, 4, worked out by hand from the definition: s1 * 5, rotated by 7, * 9. */
    struct shuffle shuffle = {{1, 2, 3, 4}};

    (void)state;
    assert_true(shuffle_u64(&shuffle) == 11520);
    assert_true(shuffle_u64(&shuffle) == 0);
    assert_true(shuffle_u64(&shuffle) == 1509978240);
}

static void test_the_same_seed_shuffles_the_same(void **state)
{
    struct rng rng, other;
    struct shuffle a, b, c;

    (void)state;
    rng_init(&rng, seed);
    rng_init(&other, seed);
    shuffle_init(&a, &rng);
    shuffle_init(&b, &other);
    shuffle_init(&c, &other);
    assert_memory_not_equal(&b, &c, sizeof b);
    for (int i = 0; i < 1000; i++)
        assert_true(shuffle_u64(&a) == shuffle_u64(&b));
}

static void test_below_stays_below_and_favours_nobody(void **state)
{
    struct rng rng;
    struct shuffle shuffle;
    uint32_t hits[7] = {0}, high = 0;

    (void)state;
    rng_init(&rng, seed);
    shuffle_init(&shuffle, &rng);
    assert_int_equal(shuffle_below(&shuffle, 0), 0);
    assert_int_equal(shuffle_below(&shuffle, 1), 0);
    for (int i = 0; i < 70000; i++) {
        uint32_t got = shuffle_below(&shuffle, 7);

        assert_true(got < 7);
        hits[got]++;
    }
    for (int i = 0; i < 7; i++)
        assert_in_range(hits[i], 9500, 10500); /* five standard deviations */
    /* A plain multiplication without rejection would hit multiples of 3 twice as often. */
    for (int i = 0; i < 30000; i++)
        high += shuffle_below(&shuffle, 0xC0000000) % 3 == 0;
    assert_in_range(high, 9500, 10500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_secure_stream_is_chacha20_with_each_block_rekeyed),
        cmocka_unit_test(test_how_bytes_are_asked_for_does_not_change_them),
        cmocka_unit_test(test_what_was_given_out_is_nowhere_in_memory),
        cmocka_unit_test(test_the_fast_generator_gives_the_sequence_of_its_paper),
        cmocka_unit_test(test_the_same_seed_shuffles_the_same),
        cmocka_unit_test(test_below_stays_below_and_favours_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
