/* Tests of key.h: ids and tags of peers are minted, written, read strictly and verified; a made-up
 * one fails (bad-inputs.md, rows A2 and A8). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "mesh/member/ring.h"
#include "mesh/mesh.h"
#include "mesh/session/key.h"
#include "mesh/wire/seal.h"

#define HOME UINT64_C(0x0000a1b2c3d4e5f6)

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void config_of(struct mesh_config *config, const char *label, uint8_t keys_count)
{
    mesh_config_defaults(config);
    config->cluster = label;
    config->keys_count = keys_count;
    for (uint8_t n = 0; n < keys_count; n++)
        config->keys[n][0] = (uint8_t)(n + 1);
}

static int ring_init(struct key_ring *ring, const struct mesh_config *config)
{
    return key_ring_init(ring, (const uint8_t(*)[32])config->keys, config->keys_count,
                         config->verify_only, config->cluster);
}

static struct rng chance(uint8_t seed)
{
    uint8_t entropy[32] = {seed};
    struct rng rng;
    rng_init(&rng, entropy);
    return rng;
}

static struct session_id minted(const struct key_ring *ring, uint8_t seed)
{
    struct rng rng = chance(seed);
    struct session_id id;
    key_mint(&id, ring, 0, HOME, &rng);
    return id;
}

static struct key_ring ring_of(const char *label, uint8_t keys_count)
{
    struct mesh_config config;
    struct key_ring ring;
    config_of(&config, label, keys_count);
    assert_int_equal(ring_init(&ring, &config), 0);
    return ring;
}

/* A key whose number is not `number`, or is: the low 4 bits of its id. */
static void find_key(uint8_t key[32], unsigned number, bool equal)
{
    memset(key, 0, 32);
    do
        key[31]++;
    while (((seal_key_id(key) & 0x0f) == number) != equal);
}

static void test_an_id_that_was_written_reads_as_itself(void **state)
{
    (void)state;
    struct key_ring ring = ring_of("test", 1);
    for (uint8_t seed = 0; seed < 200; seed++) {
        struct session_id id = minted(&ring, seed), read;
        char text[MESH_SESSION_TEXT];
        key_write(text, &id);
        for (size_t n = 0; n < sizeof text; n++)
            assert_non_null(memchr(alphabet, text[n], 64));
        memset(&read, 0xee, sizeof read);
        assert_true(key_read(&read, slice_borrow(text, sizeof text)));
        assert_true(session_id_equal(&id, &read));
        assert_true(key_verify(&ring, &read));
        assert_true(key_home(&read) == HOME);
    }
}

static void test_reading_agrees_with_another_decoder_on_every_byte_at_every_place(void **state)
{
    (void)state;
    struct key_ring ring = ring_of("test", 1);
    struct session_id id = minted(&ring, 3), read;
    char text[MESH_SESSION_TEXT];
    for (size_t at = 0; at < sizeof text; at++) {
        for (unsigned c = 0; c < 256; c++) {
            uint8_t bin[MESH_SESSION_BYTES];
            size_t length = 0;
            key_write(text, &id);
            text[at] = (char)c;
            bool is_legal =
                c != 0 && memchr(alphabet, (int)c, 64) != NULL &&
                sodium_base642bin(bin, sizeof bin, text, sizeof text, NULL, &length, NULL,
                                  sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0 &&
                length == sizeof bin;
            assert_int_equal(key_read(&read, slice_borrow(text, sizeof text)), is_legal);
            if (is_legal)
                assert_memory_equal(read.bytes, bin, sizeof bin);
        }
    }
}

static void test_what_was_remembered_is_known_by_its_whole_text_alone(void **state)
{
    (void)state;
    struct key_ring ring = ring_of("test", 1);
    struct session_id id = minted(&ring, 3), known;
    char text[MESH_SESSION_TEXT];
    key_write(text, &id);
    assert_false(key_recall(&ring, &known, slice_borrow(text, sizeof text)));
    key_remember(&ring, &id, slice_borrow(text, sizeof text));
    assert_true(key_recall(&ring, &known, slice_borrow(text, sizeof text)));
    assert_true(session_id_equal(&id, &known));
    assert_false(key_recall(&ring, &known, slice_borrow(text, sizeof text - 1)));
    for (size_t at = 0; at < sizeof text; at++) {
        text[at] ^= 1;
        assert_false(key_recall(&ring, &known, slice_borrow(text, sizeof text)));
        text[at] ^= 1;
    }
    memset(text, 0, sizeof text); /* as places are that hold nothing */
    assert_false(key_recall(&ring, &known, slice_borrow(text, sizeof text)));
}

static void test_only_one_of_sixteen_spellings_of_the_last_character_is_legal(void **state)
{
    (void)state;
    struct key_ring ring = ring_of("test", 1);
    struct session_id id = minted(&ring, 9), read;
    char text[MESH_SESSION_TEXT];
    key_write(text, &id);
    const char *last = memchr(alphabet, text[MESH_SESSION_TEXT - 1], 64);
    assert_non_null(last);
    size_t group = (size_t)(last - alphabet) & ~(size_t)15;
    size_t legal = 0;
    for (size_t n = 0; n < 16; n++) {
        text[MESH_SESSION_TEXT - 1] = alphabet[group + n];
        if (key_read(&read, slice_borrow(text, sizeof text))) {
            legal++;
            assert_ptr_equal(&alphabet[group + n], last);
        }
    }
    assert_int_equal(legal, 1);
}

static void test_any_other_length_is_refused(void **state)
{
    (void)state;
    struct key_ring ring = ring_of("test", 1);
    struct session_id id = minted(&ring, 1), read;
    char text[MESH_SESSION_TEXT + 4] = {0};
    memset(text, 'A', sizeof text);
    key_write(text, &id);
    for (size_t length = 0; length <= sizeof text; length++)
        assert_int_equal(key_read(&read, slice_borrow(text, length)), length == MESH_SESSION_TEXT);
    assert_false(key_read(&read, slice_text("123e4567-e89b-12d3-a456-426614174000")));
}

static void test_every_changed_bit_fails_to_verify(void **state)
{
    (void)state;
    struct key_ring ring = ring_of("test", 3);
    struct session_id id = minted(&ring, 5);
    for (size_t bit = 0; bit < 8 * sizeof id.bytes; bit++) {
        struct session_id changed = id;
        changed.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(key_verify(&ring, &changed));
    }
    assert_true(key_verify(&ring, &id));
}

static void test_another_label_or_key_verifies_nothing(void **state)
{
    (void)state;
    struct key_ring ours = ring_of("test", 1), label = ring_of("tess", 1),
                    keyless = ring_of("test", 0);
    struct session_id id = minted(&ours, 5), bare = minted(&keyless, 5);
    struct mesh_config config;
    struct key_ring twin;
    config_of(&config, "test", 1);
    find_key(config.keys[0], ours.numbers[0], true); /* the number alone proves nothing */
    assert_int_equal(ring_init(&twin, &config), 0);
    assert_int_equal(twin.numbers[0], ours.numbers[0]);
    assert_false(key_verify(&twin, &id));
    assert_false(key_verify(&label, &id));
    assert_false(key_verify(&keyless, &id));
    assert_false(key_verify(&ours, &bare));
    assert_true(key_verify(&keyless, &bare));
    struct key_ring other = ring_of("tess", 0);
    assert_false(key_verify(&other, &bare));
}

static void test_a_key_taken_out_of_use_verifies_old_ids_and_mints_none(void **state)
{
    (void)state;
    struct mesh_config config;
    struct key_ring before = ring_of("test", 1), after;
    struct session_id old = minted(&before, 5);
    config_of(&config, "test", 1);
    memcpy(config.keys[1], config.keys[0], 32);
    find_key(config.keys[0], before.numbers[0], false);
    config.keys_count = 2;
    for (int order = 0; order < 2; order++) {
        config.verify_only = order == 0 ? 2 : 1;
        assert_int_equal(ring_init(&after, &config), 0);
        assert_true(key_verify(&after, &old));
        struct session_id fresh = minted(&after, 6);
        assert_true(key_verify(&after, &fresh));
        assert_false(key_verify(&before, &fresh));
        /* the same two lines the other way round */
        uint8_t key[32];
        memcpy(key, config.keys[0], 32);
        memcpy(config.keys[0], config.keys[1], 32);
        memcpy(config.keys[1], key, 32);
    }
}

static void test_keys_that_share_their_number_are_refused(void **state)
{
    (void)state;
    struct mesh_config config;
    struct key_ring ring;
    config_of(&config, "test", 2);
    find_key(config.keys[1], seal_key_id(config.keys[0]) & 0x0f, true);
    assert_int_equal(ring_init(&ring, &config), -EINVAL);
    config.keys_count = SEAL_KEYS_MAX + 1;
    assert_int_equal(ring_init(&ring, &config), -EINVAL);
}

static void test_home_and_point_come_from_the_id_alone(void **state)
{
    (void)state;
    struct key_ring ring = ring_of("test", 1), other = ring_of("other", 2);
    struct session_id id = minted(&ring, 5);
    /* fixed: a walk that changed between versions would look for records elsewhere */
    struct session_id zero = {{0x10, 0, 0, 0, 0, 0, 1, 7}};
    uint8_t shard[8] = {0, 0, 0, 0, 0, 1, '#', 7};
    assert_true(key_point(&zero) == ring_point(shard, sizeof shard));
    zero.bytes[7] = 0xff;
    assert_true(key_point(&zero) == ring_point(shard, sizeof shard));
    assert_true(key_home(&zero) == 1);
    uint64_t points[8];
    unsigned found = 0;
    for (unsigned n = 0; n < 256; n++) { /* 8 points a home */
        id.bytes[7] = (uint8_t)n;
        uint64_t point = key_point(&id);
        unsigned k = 0;
        while (k < found && points[k] != point)
            k++;
        if (k == found) {
            assert_true(found < 8);
            points[found++] = point;
        }
    }
    assert_int_equal(found, 8);
    struct session_id elsewhere = minted(&other, 77);
    elsewhere.bytes[7] = id.bytes[7];
    assert_true(key_point(&elsewhere) == key_point(&id)); /* same home, same shard */
}

static void test_ids_do_not_repeat(void **state)
{
    (void)state;
    struct key_ring ring = ring_of("test", 1);
    struct rng rng = chance(1);
    struct session_id ids[64];
    for (size_t n = 0; n < 64; n++) {
        key_mint(&ids[n], &ring, 0, HOME, &rng);
        for (size_t k = 0; k < n; k++)
            assert_false(session_id_equal(&ids[n], &ids[k]));
    }
}

static void test_a_peers_tag_names_it_and_nothing_made_up_does(void **state)
{
    (void)state;
    struct key_ring ring = ring_of("test", 2), other = ring_of("other", 2);
    char tag[KEY_PEER_TEXT], changed[KEY_PEER_TEXT];
    uint64_t home = 0;
    key_peer_write(tag, &ring, HOME);
    assert_true(key_peer_read(&ring, slice_borrow(tag, sizeof tag), &home));
    assert_true(home == HOME);
    assert_false(key_peer_read(&other, slice_borrow(tag, sizeof tag), &home));
    assert_false(key_peer_read(&ring, slice_borrow(tag, sizeof tag - 1), &home));
    for (size_t n = 0; n < sizeof tag; n++) {
        assert_non_null(memchr(alphabet, tag[n], 64));
        for (int byte = 0; byte < 256; byte++) {
            memcpy(changed, tag, sizeof tag);
            changed[n] = (char)byte;
            if (changed[n] != tag[n])
                assert_false(key_peer_read(&ring, slice_borrow(changed, sizeof changed), &home));
        }
    }
}

static void test_no_beginning_of_an_id_is_a_peers_tag(void **state)
{
    (void)state;
    struct key_ring ring = ring_of("test", 1);
    uint64_t home = 0;
    for (uint8_t seed = 0; seed < 100; seed++) {
        struct session_id id = minted(&ring, seed);
        char text[MESH_SESSION_TEXT];
        key_write(text, &id);
        assert_false(key_peer_read(&ring, slice_borrow(text, KEY_PEER_TEXT), &home));
    }
}

static void test_a_key_taken_out_of_use_still_reads_a_peers_tag(void **state)
{
    (void)state;
    struct mesh_config config;
    struct key_ring old = ring_of("test", 1), ring;
    char tag[KEY_PEER_TEXT];
    uint64_t home = 0;
    key_peer_write(tag, &old, HOME);
    config_of(&config, "test", 1);
    memcpy(config.keys[1], config.keys[0], 32);
    find_key(config.keys[0], seal_key_id(config.keys[1]) & 0x0f, false);
    config.keys_count = 2;
    config.verify_only = 2;
    assert_int_equal(ring_init(&ring, &config), 0);
    assert_true(key_peer_read(&ring, slice_borrow(tag, sizeof tag), &home));
    assert_memory_equal(ring.task_key, old.task_key, sizeof ring.task_key);
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_id_that_was_written_reads_as_itself),
        cmocka_unit_test(test_reading_agrees_with_another_decoder_on_every_byte_at_every_place),
        cmocka_unit_test(test_what_was_remembered_is_known_by_its_whole_text_alone),
        cmocka_unit_test(test_only_one_of_sixteen_spellings_of_the_last_character_is_legal),
        cmocka_unit_test(test_any_other_length_is_refused),
        cmocka_unit_test(test_every_changed_bit_fails_to_verify),
        cmocka_unit_test(test_another_label_or_key_verifies_nothing),
        cmocka_unit_test(test_a_key_taken_out_of_use_verifies_old_ids_and_mints_none),
        cmocka_unit_test(test_keys_that_share_their_number_are_refused),
        cmocka_unit_test(test_home_and_point_come_from_the_id_alone),
        cmocka_unit_test(test_ids_do_not_repeat),
        cmocka_unit_test(test_a_peers_tag_names_it_and_nothing_made_up_does),
        cmocka_unit_test(test_no_beginning_of_an_id_is_a_peers_tag),
        cmocka_unit_test(test_a_key_taken_out_of_use_still_reads_a_peers_tag),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
