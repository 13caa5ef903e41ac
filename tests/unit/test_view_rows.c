/* Rows of a view: what they cost, that they are found however they come and go, and times in 32
 * bits. What news does to them is tested in test_view.c. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mesh/base/rng.h"
#include "mesh/member/view.h"

#define NOW_MS 1000
#define DAY_MS (24u * 3600 * 1000)

static struct wire_update news_of(enum update_kind kind, unsigned n, uint64_t generation,
                                  uint32_t incarnation)
{
    struct wire_update news = {.kind = kind, .incarnation = incarnation};
    struct mesh_record *r = &news.record;
    snprintf(r->name, sizeof r->name, "peer-%u", n);
    r->id = (struct peer_id){view_name_hash(r->name), generation};
    r->nonce = generation * 3;
    r->version = 1;
    r->weight = 1;
    r->serving = true;
    r->addr = (struct mesh_addr){.ip = {[10] = 0xff, [11] = 0xff, [12] = 10}, .port = 7946};
    r->addr.ip[14] = (uint8_t)(n >> 8);
    r->addr.ip[15] = (uint8_t)n;
    return news;
}

static struct view *make_view(uint32_t members_max, uint32_t contacts_max, struct records *records)
{
    struct view_config config = {.self = news_of(UPDATE_ALIVE, 0, 5, 0).record,
                                 .members_max = members_max,
                                 .contacts_max = contacts_max,
                                 .start_ms = NOW_MS,
                                 .records = records};
    struct view *view = NULL;
    assert_int_equal(view_new(&view, &config), 0);
    assert_int_equal(view_announce(view, 5, NOW_MS), 0);
    return view;
}

static void drain(struct view *view)
{
    struct view_change change;
    while (view_next_change(view, &change))
        ;
}

static void join(struct view *view, unsigned from, unsigned to)
{
    for (unsigned n = from; n < to; n++) {
        struct wire_update news = news_of(UPDATE_ALIVE, n, 5, 0);
        assert_int_equal(view_apply(view, &news, NOW_MS), VIEW_NEW);
    }
    drain(view);
}

/* ---- cost ----------------------------------------------------------------------------------- */

/* Everything that mesh/ asks of malloc() is counted here, as large as it came. */
static size_t allocated;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *at, size_t size);
void __real_free(void *at);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *at, size_t size);
void __wrap_free(void *at);

static void *count_it(void *at)
{
    allocated += malloc_usable_size(at);
    return at;
}

void *__wrap_malloc(size_t size)
{
    return count_it(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
    return count_it(__real_calloc(count, size));
}

void *__wrap_realloc(void *at, size_t size)
{
    allocated -= malloc_usable_size(at);
    return count_it(__real_realloc(at, size));
}

void __wrap_free(void *at)
{
    allocated -= malloc_usable_size(at);
    __real_free(at);
}

/* DESIGN §14: 32 bytes a row beyond what is shared; what lists the rows comes to that: their order,
 * the living, and the names, of which a third may be empty. */
static void test_a_row_costs_32_bytes_and_8_in_lists(void **state)
{
    struct records *records = NULL;
    (void)state;
    assert_int_equal(records_new(&records), 0);
    struct view *first = make_view(5000, 1024, records);
    join(first, 1, 5000);
    size_t before = allocated;
    struct view *view = make_view(5000, 1024, records);
    assert_in_range(view_bytes(view), 1000, 6000); /* alone: nothing for those who may come */
    join(view, 1, 5000);
    size_t measured = allocated - before;
    assert_int_equal(view_count(view), 5000);
    assert_int_equal(records_count(records), 5000);
    size_t fixed = 1024 + 1024; /* the struct, and the changes that may wait */
    assert_in_range(view_bytes(view), 5000 * 32, 5000 * 40 + fixed);
    assert_in_range(measured, view_bytes(view), view_bytes(view) + view_bytes(view) / 50);
    view_free(view);
    view_free(first);
    assert_int_equal(records_count(records), 0);
    records_free(records);
    assert_int_equal(allocated, 0);
}

static void test_views_that_share_records_share_each_of_them(void **state)
{
    struct records *records = NULL;
    (void)state;
    assert_int_equal(records_new(&records), 0);
    struct view *a = make_view(64, 16, records), *b = make_view(64, 16, records);
    join(a, 1, 10);
    join(b, 1, 10);
    struct wire_update news = news_of(UPDATE_ALIVE, 3, 5, 0);
    struct peer_id id = news.record.id;
    assert_ptr_equal(view_find(a, id)->record, view_find(b, id)->record);
    assert_int_equal(records_count(records), 10); /* both are named alike */
    /* one hears of a new version, the other keeps the old one */
    news.record.version = 2;
    news.record.draining = true;
    assert_int_equal(view_apply(a, &news, NOW_MS), VIEW_NEW);
    assert_true(view_find(a, id)->record->draining);
    assert_false(view_find(b, id)->record->draining);
    assert_int_equal(records_count(records), 11);
    assert_int_equal(view_apply(b, &news, NOW_MS), VIEW_NEW);
    assert_ptr_equal(view_find(a, id)->record, view_find(b, id)->record);
    assert_int_equal(records_count(records), 10);
    assert_true(view_hash(a) == view_hash(b));
    view_free(a);
    assert_int_equal(records_count(records), 10);
    view_forget(b, NOW_MS + DAY_MS);
    view_free(b);
    assert_int_equal(records_count(records), 0);
    records_free(records);
}

/* ---- finding -------------------------------------------------------------------------------- */

static const struct mesh_member *find_slowly(const struct view *view, struct peer_id id)
{
    for (size_t n = 0; n < view_count(view); n++)
        if (peer_id_equal(view_at(view, n)->record->id, id))
            return view_at(view, n);
    return NULL;
}

static const struct mesh_member *find_name_slowly(const struct view *view, uint64_t name)
{
    const struct mesh_member *found = NULL;
    for (size_t n = 0; n < view_count(view); n++)
        if (view_at(view, n)->record->id.name == name)
            found = view_at(view, n); /* in order of generations */
    return found;
}

static void check_row(struct view *view, const struct mesh_member *row)
{
    struct peer_id id = row->record->id;
    assert_ptr_equal(view_by_handle(view, view_handle(view, row)), row);
    assert_ptr_equal(view_find(view, id), row);
    assert_ptr_equal(view_find_tag(view, view_home_tag(id)), row);
    assert_int_equal(view_silent_ms(view, row) == 0, member_is_living(row));
}

static void test_rows_are_found_however_they_come_and_go(void **state)
{
    struct view *view = make_view(150, 40, NULL);
    struct shuffle chance;
    struct rng rng;
    (void)state;
    rng_init(&rng, (const uint8_t[32]){3});
    shuffle_init(&chance, &rng);
    for (uint64_t round = 0; round < 20000; round++) {
        enum update_kind kind = (enum update_kind)(1 + shuffle_below(&chance, 4));
        unsigned n = 1 + shuffle_below(&chance, 200);
        uint32_t incarnation = shuffle_below(&chance, 5);
        uint64_t generation = 1 + shuffle_below(&chance, 5);
        struct wire_update news = news_of(kind, n, generation, incarnation);
        view_apply(view, &news, NOW_MS + round * 1000);
        if (round % 500 == 0)
            view_forget(view, NOW_MS + round * 1000);
        drain(view);
        assert_ptr_equal(view_find(view, news.record.id), find_slowly(view, news.record.id));
        assert_ptr_equal(view_find_name(view, news.record.id.name),
                         find_name_slowly(view, news.record.id.name));
        if (round % 100 != 0)
            continue;
        size_t living = 0;
        for (size_t at = 0; at < view_count(view); at++) {
            check_row(view, view_at(view, at));
            living += member_is_living(view_at(view, at));
            assert_true(at == 0 || peer_id_compare(view_at(view, at - 1)->record->id,
                                                   view_at(view, at)->record->id) < 0);
        }
        assert_int_equal(living, view_living(view));
        for (size_t at = 0; at < view_others(view); at++)
            assert_true(member_is_living(view_other(view, at)));
    }
    assert_int_equal(view_living(view), 150); /* so the caps were met, too */
    assert_in_range(view_count(view), 150 + 30, 150 + 40);
    view_free(view);
}

/* ---- times ---------------------------------------------------------------------------------- */

static void test_times_are_kept_to_the_ms_for_12_days(void **state)
{
    struct view *view = make_view(8, 8, NULL);
    uint64_t now_ms = NOW_MS;
    (void)state;
    join(view, 1, 3);
    const struct mesh_member *b = view_find_name(view, view_name_hash("peer-1"));
    const struct mesh_member *c = view_find_name(view, view_name_hash("peer-2"));
    assert_true(view_time_ms(view, 0) == 0);
    view_notes(view, b)->acked_at = view_stamp(view, now_ms);
    assert_true(view_time_ms(view, b->acked_at) == NOW_MS);
    /* a year, in steps of 11 days and some: what was noted last is always known to the ms */
    for (int step = 0; step < 33; step++) {
        uint64_t then_ms = now_ms;
        now_ms += 11 * (uint64_t)DAY_MS + 12345;
        view_notes(view, c)->acked_at = view_stamp(view, now_ms);
        assert_true(view_time_ms(view, c->acked_at) == now_ms);
        assert_true(view_time_ms(view, b->acked_at) == then_ms);
        view_notes(view, b)->acked_at = c->acked_at;
    }
    /* after a year of silence it is still known that it was long ago, and nothing comes round */
    struct wire_update dead = news_of(UPDATE_DEAD, 2, 5, 0);
    assert_int_equal(view_apply(view, &dead, now_ms), VIEW_NEW);
    assert_true(view_silent_ms(view, c) == now_ms);
    uint64_t died_ms = now_ms;
    for (int step = 0; step < 40; step++) {
        now_ms += 9 * (uint64_t)DAY_MS;
        (void)view_stamp(view, now_ms);
        assert_in_range(now_ms - view_silent_ms(view, c),
                        step == 0 ? 9 * (uint64_t)DAY_MS : 12 * (uint64_t)DAY_MS, now_ms - died_ms);
    }
    now_ms += 400 * (uint64_t)DAY_MS; /* a step that no 32 bits hold */
    view_notes(view, b)->acked_at = view_stamp(view, now_ms);
    assert_true(view_time_ms(view, b->acked_at) == now_ms);
    assert_true(now_ms - view_silent_ms(view, c) >= 12 * (uint64_t)DAY_MS);
    view_forget(view, now_ms);
    assert_null(view_find_name(view, view_name_hash("peer-2")));
    view_free(view);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_row_costs_32_bytes_and_8_in_lists),
        cmocka_unit_test(test_views_that_share_records_share_each_of_them),
        cmocka_unit_test(test_rows_are_found_however_they_come_and_go),
        cmocka_unit_test(test_times_are_kept_to_the_ms_for_12_days),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
