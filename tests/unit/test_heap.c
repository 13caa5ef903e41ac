/* test_heap.c - deadlines in order, ties included; and the intrusive list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "mesh/base/heap.h"
#include "mesh/base/list.h"
#include "mesh/base/rng.h"
#include "mesh/base/types.h"

#define OWNERS 300

struct owner {
    int number;
    struct heap_node deadline;
    struct list link;
};

static struct owner owners[OWNERS];

static struct owner *first_owner(const struct heap *heap)
{
    return container_of(heap_first(heap), struct owner, deadline);
}

static void test_an_empty_heap_waits_for_ever(void **state)
{
    struct heap heap;
    struct heap_node node = {0};

    (void)state;
    heap_init(&heap);
    assert_null(heap_first(&heap));
    assert_true(heap_deadline_ms(&heap) == MESH_NEVER);
    heap_remove(&heap, &node);
    assert_int_equal(heap_set(&heap, &node, MESH_NEVER), 0);
    assert_null(heap_first(&heap));
    heap_deinit(&heap);
    heap_deinit(NULL);
}

static void test_equal_deadlines_come_in_the_order_they_were_set(void **state)
{
    struct heap heap;

    (void)state;
    memset(owners, 0, sizeof owners);
    heap_init(&heap);
    for (int i = 0; i < OWNERS; i++) {
        owners[i].number = i;
        assert_int_equal(heap_set(&heap, &owners[i].deadline, 50), 0);
    }
    /* Setting what is set changes nothing; setting it anew puts it behind its equals. */
    assert_int_equal(heap_set(&heap, &owners[0].deadline, 50), 0);
    assert_int_equal(heap_set(&heap, &owners[1].deadline, 51), 0);
    assert_int_equal(heap_set(&heap, &owners[1].deadline, 50), 0);
    for (int i = 0; i < OWNERS; i++) {
        int expected = i == 0 ? 0 : i == OWNERS - 1 ? 1 : i + 1;

        assert_int_equal(first_owner(&heap)->number, expected);
        heap_remove(&heap, heap_first(&heap));
    }
    assert_null(heap_first(&heap));
    heap_deinit(&heap);
}

/* The nearest deadline by walking all; of equals the one with the lower order. */
static struct heap_node *nearest(void)
{
    struct heap_node *best = NULL;

    for (int i = 0; i < OWNERS; i++) {
        struct heap_node *node = &owners[i].deadline;

        if (node->index == 0)
            continue;
        if (best == NULL || node->at_ms < best->at_ms ||
            (node->at_ms == best->at_ms && node->order < best->order))
            best = node;
    }
    return best;
}

static void test_setting_moving_and_removing_agrees_with_a_plain_search(void **state)
{
    static const uint8_t seed[32] = "heap";
    struct rng rng;
    struct shuffle chance;
    struct heap heap;

    (void)state;
    memset(owners, 0, sizeof owners);
    rng_init(&rng, seed);
    shuffle_init(&chance, &rng);
    heap_init(&heap);
    for (int turn = 0; turn < 30000; turn++) {
        /* Now and then all come out in order: what is wrong deep down shows at the top. */
        while (turn % 500 == 499 && heap_first(&heap) != NULL) {
            assert_ptr_equal(heap_first(&heap), nearest());
            heap_remove(&heap, heap_first(&heap));
        }
        struct heap_node *node = &owners[shuffle_below(&chance, OWNERS)].deadline;
        uint64_t at_ms = shuffle_below(&chance, 200);

        if (shuffle_below(&chance, 4) == 0)
            at_ms = MESH_NEVER;
        assert_int_equal(heap_set(&heap, node, at_ms), 0);
        assert_int_equal(node->index != 0, at_ms != MESH_NEVER);
        assert_ptr_equal(heap_first(&heap), nearest());
        assert_true(heap_deadline_ms(&heap) ==
                    (heap_first(&heap) != NULL ? heap_first(&heap)->at_ms : MESH_NEVER));
    }
    heap_deinit(&heap);
    for (int i = 0; i < OWNERS; i++)
        assert_int_equal(owners[i].deadline.index, 0);
}

static void test_a_list_keeps_the_order_it_was_given(void **state)
{
    struct list list;
    int expected[] = {2, 0, 1}, at = 0;

    (void)state;
    memset(owners, 0, sizeof owners);
    for (int i = 0; i < 3; i++)
        owners[i].number = i;
    list_init(&list);
    assert_true(list_is_empty(&list));
    assert_null(list_first(&list));
    list_push_back(&list, &owners[0].link);
    list_push_back(&list, &owners[1].link);
    list_push_front(&list, &owners[2].link);
    assert_ptr_equal(list_first(&list), &owners[2].link);
    LIST_EACH (node, &list)
        assert_int_equal(container_of(node, struct owner, link)->number, expected[at++]);
    assert_int_equal(at, 3);
    list_remove(&owners[0].link);
    list_remove(&owners[0].link);
    assert_false(list_is_linked(&owners[0].link));
    assert_true(list_is_linked(&owners[1].link));
    at = 0;
    LIST_EACH_SAFE (node, after, &list) {
        at++;
        list_remove(node);
    }
    assert_int_equal(at, 2);
    assert_true(list_is_empty(&list));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_empty_heap_waits_for_ever),
        cmocka_unit_test(test_equal_deadlines_come_in_the_order_they_were_set),
        cmocka_unit_test(test_setting_moving_and_removing_agrees_with_a_plain_search),
        cmocka_unit_test(test_a_list_keeps_the_order_it_was_given),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
