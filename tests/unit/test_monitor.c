/* test_monitor.c - who watches whom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mesh/member/monitor.h"

#define PEERS 40
#define NOW_MS 1000

static struct mesh_record record_of(unsigned n)
{
    struct mesh_record r = {.nonce = 1000 + n, .version = 1, .weight = 1};
    snprintf(r.name, sizeof r.name, "peer-%u", n);
    r.id = (struct peer_id){view_name_hash(r.name), 7};
    r.addr = (struct mesh_addr){.ip = {[10] = 0xff, [11] = 0xff, [12] = 10}, .port = 7946};
    r.addr.ip[15] = (uint8_t)n;
    return r;
}

static void tell(struct view *view, unsigned n, enum update_kind kind)
{
    struct wire_update news = {.kind = kind, .record = record_of(n)};
    if (n != 0 || view_self(view)->record->id.name != news.record.id.name)
        assert_int_equal(view_apply(view, &news, NOW_MS), VIEW_NEW);
}

/* The view of peer `self`, which hears of the others from `first` on, around. */
static struct view *view_of(unsigned self, unsigned first)
{
    struct view_config config = {.self = record_of(self), .members_max = 64, .contacts_max = 64};
    struct view *view;
    assert_int_equal(view_new(&view, &config), 0);
    assert_int_equal(view_announce(view, 7, NOW_MS), 0);
    for (unsigned n = 0; n < PEERS; n++)
        if ((first + n) % PEERS != self)
            tell(view, (first + n) % PEERS, UPDATE_ALIVE);
    return view;
}

static unsigned number_of(const struct mesh_member *member)
{
    return member->record->addr.ip[15];
}

static void test_monitor_everybody_is_watched_by_one(void **state)
{
    unsigned watched[PEERS] = {0};
    (void)state;
    for (unsigned n = 0; n < PEERS; n++) {
        struct view *view = view_of(n, 3 * n); /* in whatever order they became known */
        watched[number_of(monitor_watched(view))]++;
        view_free(view);
    }
    for (unsigned n = 0; n < PEERS; n++)
        assert_int_equal(watched[n], 1);
}

static void test_monitor_neighbours_by_name_are_none_on_the_circle(void **state)
{
    unsigned neighbours = 0;
    (void)state;
    for (unsigned n = 0; n < PEERS; n++) {
        struct view *view = view_of(n, 0);
        neighbours += number_of(monitor_watched(view)) == (n + 1) % PEERS;
        view_free(view);
    }
    assert_in_range(neighbours, 0, 5);
}

static void test_monitor_of_one_that_is_suspected_takes_the_next(void **state)
{
    (void)state;
    for (unsigned n = 0; n < PEERS; n++) {
        struct view *view = view_of(n, 0);
        unsigned first = number_of(monitor_watched(view));
        struct view *firsts = view_of(first, 0);
        unsigned second = number_of(monitor_watched(firsts));
        tell(view, first, UPDATE_SUSPECT);
        assert_int_equal(number_of(monitor_watched(view)), second);
        tell(view, first, UPDATE_DEAD);
        assert_int_equal(number_of(monitor_watched(view)), second);
        view_free(firsts);
        view_free(view);
    }
}

static void test_monitor_witnesses_are_those_before_it(void **state)
{
    const struct mesh_member *before[3];
    (void)state;
    struct view *view = view_of(0, 0);
    for (unsigned n = 1; n < PEERS; n++) {
        assert_int_equal(monitor_before(view, record_of(n).id, before, 3), 3);
        unsigned at = n;
        for (unsigned i = 0; i < 3; i++) {
            unsigned witness = number_of(before[i]);
            struct view *its = view_of(witness, 0);
            unsigned watches = number_of(monitor_watched(its));
            view_free(its);
            if (watches == 0 && at != 0) { /* we ask ourselves by looking */
                its = view_of(0, 0);
                watches = number_of(monitor_watched(its));
                view_free(its);
            }
            assert_int_equal(watches, at);
            at = witness;
        }
    }
    view_free(view);
}

static void test_monitor_witnesses_are_no_suspects_and_as_many_as_there_are(void **state)
{
    const struct mesh_member *before[PEERS];
    (void)state;
    struct view *view = view_of(0, 0);
    assert_int_equal(monitor_before(view, record_of(9).id, before, PEERS), PEERS - 2);
    unsigned nearest = number_of(before[0]), next = number_of(before[1]);
    tell(view, nearest, UPDATE_SUSPECT);
    assert_int_equal(monitor_before(view, record_of(9).id, before, PEERS), PEERS - 3);
    assert_int_equal(number_of(before[0]), next);
    view_free(view);
}

static void test_monitor_of_two_and_of_one(void **state)
{
    const struct mesh_member *before[3];
    struct view_config config = {.self = record_of(0), .members_max = 64, .contacts_max = 64};
    struct view *view;
    (void)state;
    assert_int_equal(view_new(&view, &config), 0);
    assert_int_equal(view_announce(view, 7, NOW_MS), 0);
    assert_null(monitor_watched(view));
    tell(view, 1, UPDATE_ALIVE);
    assert_int_equal(number_of(monitor_watched(view)), 1);
    assert_int_equal(monitor_before(view, record_of(1).id, before, 3), 0);
    tell(view, 1, UPDATE_SUSPECT);
    assert_int_equal(number_of(monitor_watched(view)), 1); /* there is nobody else */
    tell(view, 1, UPDATE_DEAD);
    assert_null(monitor_watched(view));
    view_free(view);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_monitor_everybody_is_watched_by_one),
        cmocka_unit_test(test_monitor_neighbours_by_name_are_none_on_the_circle),
        cmocka_unit_test(test_monitor_of_one_that_is_suspected_takes_the_next),
        cmocka_unit_test(test_monitor_witnesses_are_those_before_it),
        cmocka_unit_test(test_monitor_witnesses_are_no_suspects_and_as_many_as_there_are),
        cmocka_unit_test(test_monitor_of_two_and_of_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
