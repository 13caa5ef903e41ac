/* test_view_index.c - the index against a plain search, whatever the keys are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mesh/base/rng.h"
#include "mesh/member/view_index.h"

#define KEYS_MAX 600

static struct shuffle seeded(void)
{
    struct shuffle chance;
    struct rng rng;
    rng_init(&rng, (const uint8_t[32]){3});
    shuffle_init(&chance, &rng);
    return chance;
}

struct list {
    uint64_t keys[KEYS_MAX]; /* in order; the slot of each is its lower 16 bits */
    uint32_t count;
};

static uint32_t first_of(const struct list *list, uint64_t key)
{
    uint32_t at = 0;
    while (at < list->count && list->keys[at] >> 48 < key >> 48)
        at++;
    return at;
}

static void insert(struct list *list, uint32_t at, uint64_t key)
{
    memmove(list->keys + at + 1, list->keys + at, (list->count - at) * sizeof key);
    list->keys[at] = key;
    list->count++;
}

/* As uniform as hashes, or as bad as somebody can make them. */
static uint64_t draw_key(struct shuffle *chance, unsigned how)
{
    uint64_t key = shuffle_u64(chance);
    if (how == 1) /* all near one end */
        key = key >> 56 << 48 | (key & 0xffffffff);
    else if (how == 2)
        key |= UINT64_C(0xfff0) << 48;
    else if (how == 3) /* nearly all alike */
        key = (key & 0xffff) | UINT64_C(0x1234) << 48;
    return key;
}

static void check(const struct view_index *index, const struct list *list, uint64_t key)
{
    uint32_t at = view_index_first(index, key);
    assert_int_equal(at, first_of(list, key));
    assert_int_equal(view_index_is_near(index, at, key),
                     at < list->count && list->keys[at] >> 48 == key >> 48);
}

static void test_view_index_finds_what_a_search_of_all_finds(void **state)
{
    struct shuffle chance = seeded();
    static struct list list;
    (void)state;
    for (unsigned how = 0; how < 4; how++) {
        struct view_index index = {0};
        list.count = 0;
        check(&index, &list, 77);
        for (unsigned step = 0; step < 3000; step++) {
            uint64_t key = draw_key(&chance, how);
            bool grows = shuffle_below(&chance, 1000) < (step < 1500 ? 700 : 300);
            if (grows && list.count < KEYS_MAX) {
                uint32_t at = first_of(&list, key);
                if (index.count == index.room)
                    assert_true(view_index_reserve(&index, index.room + 64));
                view_index_insert(&index, at, key, (uint16_t)key);
                insert(&list, at, key);
            } else if (list.count > 0) {
                uint32_t at = shuffle_below(&chance, list.count);
                view_index_remove(&index, at);
                list.count--;
                memmove(list.keys + at, list.keys + at + 1,
                        (list.count - at) * sizeof list.keys[0]);
            }
            assert_int_equal(index.count, list.count);
            check(&index, &list, key);
            check(&index, &list, shuffle_u64(&chance));
            check(&index, &list, 0);
            check(&index, &list, UINT64_MAX);
            if (list.count > 0)
                check(&index, &list, list.keys[shuffle_below(&chance, list.count)]);
        }
        for (uint32_t n = 0; n < list.count; n++)
            assert_int_equal(view_index_slot(&index, n), (uint16_t)list.keys[n]);
        view_index_deinit(&index);
        assert_int_equal(index.room, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_view_index_finds_what_a_search_of_all_finds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
