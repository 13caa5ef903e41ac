/* test_gossip.c - what is told, how often, and in which order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mesh/member/gossip.h"

#define NOW_MS 1000

static const struct peer_id nobody = {0, 0};

struct setting {
    struct view *view;
    struct gossip *gossip;
    struct claims *claims;
    uint8_t bytes[WIRE_PLAIN_MAX];
    struct wire_datagram read;
};

static struct peer_id id_of(unsigned n)
{
    char name[16];
    snprintf(name, sizeof name, "peer-%u", n);
    return (struct peer_id){view_name_hash(name), 7};
}

static struct mesh_record member_of(unsigned n)
{
    struct mesh_record m = {.nonce = 1000 + n, .version = 1, .weight = 1, .id = id_of(n)};
    snprintf(m.name, sizeof m.name, "peer-%u", n);
    m.addr = (struct mesh_addr){.ip = {[10] = 0xff, [11] = 0xff, [12] = 10}, .port = 7946};
    m.addr.ip[14] = (uint8_t)(n >> 8);
    m.addr.ip[15] = (uint8_t)n;
    return m;
}

/* A view of `count` members, the first of them ourselves. Nothing is queued yet. */
static void set_up(struct setting *s, unsigned count)
{
    struct view_config config = {.self = member_of(0), .members_max = 512, .contacts_max = 64};
    assert_int_equal(view_new(&s->view, &config), 0);
    assert_int_equal(view_announce(s->view, 7, NOW_MS), 0);
    for (unsigned n = 1; n < count; n++) {
        struct wire_update news = {.kind = UPDATE_ALIVE, .record = member_of(n)};
        assert_int_equal(view_apply(s->view, &news, NOW_MS), VIEW_NEW);
    }
    assert_int_equal(claims_new(&s->claims, (const uint8_t[16]){1}), 0);
    assert_int_equal(gossip_new(&s->gossip, s->claims), 0);
}

static void tear_down(struct setting *s)
{
    gossip_free(s->gossip);
    claims_free(s->claims);
    view_free(s->view);
}

static void mark(struct setting *s, unsigned n, enum update_kind kind)
{
    struct wire_update news = {.kind = kind, .record.id = id_of(n)};
    view_apply(s->view, &news, NOW_MS);
}

/* Fills one datagram of so much room and reads it again; returns the number of updates. */
static unsigned fill(struct setting *s, size_t room, struct peer_id to, struct peer_id except)
{
    struct wire_datagram head = {.kind = DATAGRAM_GOSSIP, .sender = id_of(0)};
    struct wire_writer w;
    assert_int_equal(wire_datagram_begin(&w, &head, s->bytes, room), 0);
    gossip_fill(s->gossip, s->view, &w, to, except);
    assert_true(w.length <= room);
    assert_int_equal(wire_datagram_read(&s->read, s->bytes, w.length), 0);
    for (unsigned n = 0; n < s->read.updates_count; n++)
        for (unsigned i = 0; i < n; i++) /* never two of one subject */
            assert_false(
                peer_id_equal(s->read.updates[n].record.id, s->read.updates[i].record.id) &&
                s->read.updates[n].shard == s->read.updates[i].shard);
    return s->read.updates_count;
}

static void test_gossip_tells_each_update_three_times_per_bit_of_the_mesh(void **state)
{
    static const struct {
        unsigned members, sends;
    } cases[] = {{1, 3}, {2, 6}, {3, 6}, {4, 9}, {7, 9}, {8, 12}, {100, 21}};
    static struct setting s;
    (void)state;
    for (size_t n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        unsigned sends = 0;
        set_up(&s, cases[n].members);
        gossip_tell(s.gossip, s.view, id_of(0), GOSSIP_ALIVE, nobody);
        while (fill(&s, WIRE_PLAIN_MAX, nobody, nobody) > 0)
            sends++;
        assert_int_equal(sends, cases[n].sends);
        assert_int_equal(gossip_count(s.gossip), 0);
        tear_down(&s);
    }
}

/* How often the one update that waits is told, if others tell us `news` so often before. */
static unsigned told_after(struct setting *s, const struct wire_update *news, unsigned times)
{
    unsigned sends = 0;
    gossip_tell(s->gossip, s->view, id_of(1), GOSSIP_ALIVE, nobody);
    for (unsigned n = 0; n < times; n++)
        gossip_heard(s->gossip, s->view, view_find(s->view, id_of(1)), news);
    while (fill(s, WIRE_PLAIN_MAX, nobody, nobody) > 0)
        sends++;
    return sends;
}

static void test_gossip_tells_less_often_what_others_tell(void **state)
{
    static struct setting s;
    struct wire_update same = {.kind = UPDATE_ALIVE, .record = member_of(1)}, other = same;
    (void)state;
    set_up(&s, 100);
    assert_int_equal(told_after(&s, &same, 0), 21);
    assert_int_equal(told_after(&s, &same, 5), 16);
    assert_int_equal(told_after(&s, &same, 100), 7); /* a third, whatever others do */
    other.kind = UPDATE_SUSPECT;
    assert_int_equal(told_after(&s, &other, 5), 21);
    other = same;
    other.incarnation = 1;
    assert_int_equal(told_after(&s, &other, 5), 21);
    other = same;
    other.record.version = 2;
    assert_int_equal(told_after(&s, &other, 5), 21);
    gossip_by_digits(s.gossip, 4); /* a control */
    assert_int_equal(told_after(&s, &same, 5), 12);
    tear_down(&s);
    set_up(&s, 3); /* one other that tells is no crowd */
    assert_int_equal(told_after(&s, &same, 100), 6);
    tear_down(&s);
}

static void test_gossip_tells_of_one_more_accuser_a_third_as_often(void **state)
{
    static struct setting s;
    struct peer_id accuser = id_of(2);
    unsigned sends = 0;
    (void)state;
    set_up(&s, 100);
    mark(&s, 1, UPDATE_SUSPECT);
    gossip_tell_accuser(s.gossip, s.view, id_of(1), accuser);
    while (fill(&s, WIRE_PLAIN_MAX, nobody, nobody) > 0) {
        assert_true(peer_id_equal(s.read.updates[0].accuser, accuser));
        sends++;
    }
    assert_int_equal(sends, 7);
    /* who accuses with others' accusations is another piece of news */
    struct wire_update other = {.kind = UPDATE_SUSPECT, .record.id = id_of(1), .accuser = id_of(3)};
    gossip_tell(s.gossip, s.view, id_of(1), GOSSIP_SUSPECT, accuser);
    for (unsigned n = 0; n < 100; n++)
        gossip_heard(s.gossip, s.view, view_find(s.view, id_of(1)), &other);
    for (sends = 0; fill(&s, WIRE_PLAIN_MAX, nobody, nobody) > 0;)
        sends++;
    assert_int_equal(sends, 21);
    tear_down(&s);
}

static void test_gossip_keeps_one_live_update_per_subject(void **state)
{
    static struct setting s;
    (void)state;
    set_up(&s, 4);
    gossip_tell(s.gossip, s.view, id_of(1), GOSSIP_ALIVE, nobody);
    mark(&s, 1, UPDATE_SUSPECT);
    gossip_tell(s.gossip, s.view, id_of(1), GOSSIP_SUSPECT, id_of(2));
    assert_int_equal(gossip_count(s.gossip), 1);
    assert_int_equal(fill(&s, WIRE_PLAIN_MAX, nobody, nobody), 1);
    assert_int_equal(s.read.updates[0].kind, UPDATE_SUSPECT);
    assert_true(peer_id_equal(s.read.updates[0].accuser, id_of(2)));
    assert_string_equal(s.read.updates[0].record.name, "peer-1"); /* its record was still news */
    mark(&s, 1, UPDATE_DEAD);
    gossip_tell(s.gossip, s.view, id_of(1), GOSSIP_DEATH, id_of(3));
    assert_int_equal(gossip_count(s.gossip), 1);
    assert_int_equal(fill(&s, WIRE_PLAIN_MAX, nobody, nobody), 1);
    assert_int_equal(s.read.updates[0].kind, UPDATE_DEAD);
    tear_down(&s);
}

static void test_gossip_says_what_the_view_says_when_it_is_sent(void **state)
{
    static struct setting s;
    (void)state;
    set_up(&s, 4);
    gossip_tell(s.gossip, s.view, id_of(1), GOSSIP_ALIVE, nobody);
    mark(&s, 1, UPDATE_DEAD);
    assert_int_equal(fill(&s, WIRE_PLAIN_MAX, nobody, nobody), 1);
    assert_int_equal(s.read.updates[0].kind, UPDATE_DEAD);
    view_forget(s.view, NOW_MS + VIEW_CONTACT_MS);
    assert_int_equal(fill(&s, WIRE_PLAIN_MAX, nobody, nobody), 0);
    assert_int_equal(gossip_count(s.gossip), 0);
    tear_down(&s);
}

static void test_gossip_packs_urgent_classes_first(void **state)
{
    static struct setting s;
    (void)state;
    set_up(&s, 8);
    mark(&s, 3, UPDATE_SUSPECT);
    mark(&s, 4, UPDATE_LEFT);
    mark(&s, 5, UPDATE_DEAD);
    gossip_tell(s.gossip, s.view, id_of(1), GOSSIP_RECORD, nobody);
    gossip_tell(s.gossip, s.view, id_of(2), GOSSIP_ALIVE, nobody);
    gossip_tell(s.gossip, s.view, id_of(3), GOSSIP_SUSPECT, id_of(1));
    gossip_tell(s.gossip, s.view, id_of(4), GOSSIP_LEAVE, nobody);
    gossip_tell(s.gossip, s.view, id_of(5), GOSSIP_DEATH, id_of(1));
    assert_int_equal(fill(&s, WIRE_PLAIN_MAX, nobody, nobody), 5);
    for (unsigned n = 0; n < 5; n++)
        assert_true(peer_id_equal(s.read.updates[n].record.id, id_of(5 - n)));
    tear_down(&s);
}

static void test_gossip_a_storm_of_deaths_leaves_a_quarter_to_the_others(void **state)
{
    static struct setting s;
    unsigned alive = 0;
    (void)state;
    set_up(&s, 300);
    for (unsigned n = 1; n < 60; n++) {
        mark(&s, n, UPDATE_DEAD);
        gossip_tell(s.gossip, s.view, id_of(n), GOSSIP_DEATH, id_of(299));
    }
    for (unsigned n = 100; n < 160; n++)
        gossip_tell(s.gossip, s.view, id_of(n), GOSSIP_RECORD, nobody);
    unsigned count = fill(&s, WIRE_PLAIN_MAX, nobody, nobody);
    for (unsigned n = 0; n < count; n++)
        alive += s.read.updates[n].kind == UPDATE_ALIVE;
    assert_int_equal(s.read.updates[0].kind, UPDATE_DEAD);
    assert_in_range(count - alive, 10, 40); /* most of it still goes to the deaths */
    assert_true(alive >= 2);
    tear_down(&s);
}

static void test_gossip_no_class_starves_in_a_storm_of_all_those_above_it(void **state)
{
    static struct setting s;
    unsigned told = 0;
    (void)state;
    set_up(&s, 400);
    for (unsigned n = 1; n < 400; n++) {
        gossip_tell(s.gossip, s.view, id_of(n), (enum gossip_class)(n % GOSSIP_CLASSES), nobody);
        assert_int_equal(claims_make(s.claims, s.view, n, NOW_MS), 0);
    }
    for (unsigned datagrams = 0; datagrams < 10; datagrams++) {
        unsigned count = fill(&s, WIRE_PLAIN_MAX, nobody, nobody), claims = 0;
        for (unsigned n = 0; n < count; n++)
            claims += s.read.updates[n].kind == UPDATE_CLAIM;
        assert_true(claims > 0);
        told += claims;
    }
    assert_true(told < 10 * 20); /* and it is the last */
    tear_down(&s);
}

static void test_gossip_tells_the_least_told_first(void **state)
{
    static struct setting s;
    unsigned told[80] = {0};
    (void)state;
    set_up(&s, 80);
    for (unsigned n = 1; n < 80; n++)
        gossip_tell(s.gossip, s.view, id_of(n), GOSSIP_ALIVE, nobody);
    for (int datagram = 0; datagram < 40; datagram++) {
        unsigned count = fill(&s, WIRE_PLAIN_MAX, nobody, nobody);
        for (unsigned i = 0; i < count; i++)
            for (unsigned n = 1; n < 80; n++)
                told[n] += peer_id_equal(s.read.updates[i].record.id, id_of(n));
    }
    for (unsigned n = 2; n < 80; n++)
        assert_in_range(told[n] + 1, told[1], told[1] + 2);
    tear_down(&s);
}

static void test_gossip_spares_who_needs_no_telling(void **state)
{
    static struct setting s;
    (void)state;
    set_up(&s, 5);
    gossip_tell(s.gossip, s.view, id_of(1), GOSSIP_ALIVE, nobody);
    gossip_tell(s.gossip, s.view, id_of(2), GOSSIP_ALIVE, nobody);
    assert_int_equal(fill(&s, WIRE_PLAIN_MAX, id_of(1), id_of(2)), 0);
    assert_int_equal(fill(&s, WIRE_PLAIN_MAX, id_of(1), nobody), 1);
    assert_true(peer_id_equal(s.read.updates[0].record.id, id_of(2)));
    mark(&s, 1, UPDATE_SUSPECT); /* but a suspect hears of it: it shall refute */
    gossip_tell(s.gossip, s.view, id_of(1), GOSSIP_SUSPECT, id_of(0));
    assert_int_equal(fill(&s, WIRE_PLAIN_MAX, id_of(1), id_of(2)), 1);
    assert_true(gossip_is_telling(s.gossip, s.view, id_of(2)));
    assert_false(gossip_is_telling(s.gossip, s.view, id_of(3)));
    tear_down(&s);
}

static void test_gossip_a_datagram_without_room_loses_nothing(void **state)
{
    static struct setting s;
    (void)state;
    set_up(&s, 5);
    gossip_tell(s.gossip, s.view, id_of(1), GOSSIP_ALIVE, nobody);
    for (int n = 0; n < 100; n++)
        assert_int_equal(fill(&s, 64, nobody, nobody), 0);
    assert_int_equal(gossip_count(s.gossip), 1);
    assert_int_equal(fill(&s, WIRE_PLAIN_MAX, nobody, nobody), 1);
    tear_down(&s);
}

static void test_gossip_has_nothing_to_tell_where_only_the_subject_would_hear(void **state)
{
    static struct setting s;
    (void)state;
    set_up(&s, 2);
    gossip_tell(s.gossip, s.view, id_of(1), GOSSIP_ALIVE, nobody);
    assert_int_equal(fill(&s, WIRE_PLAIN_MAX, id_of(1), nobody), 0);
    assert_int_equal(gossip_count(s.gossip), 0);
    /* but what it may not know of itself it is told */
    mark(&s, 1, UPDATE_SUSPECT);
    gossip_tell(s.gossip, s.view, id_of(1), GOSSIP_SUSPECT, id_of(0));
    assert_int_equal(fill(&s, WIRE_PLAIN_MAX, id_of(1), nobody), 1);
    tear_down(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gossip_tells_each_update_three_times_per_bit_of_the_mesh),
        cmocka_unit_test(test_gossip_tells_less_often_what_others_tell),
        cmocka_unit_test(test_gossip_tells_of_one_more_accuser_a_third_as_often),
        cmocka_unit_test(test_gossip_keeps_one_live_update_per_subject),
        cmocka_unit_test(test_gossip_says_what_the_view_says_when_it_is_sent),
        cmocka_unit_test(test_gossip_packs_urgent_classes_first),
        cmocka_unit_test(test_gossip_a_storm_of_deaths_leaves_a_quarter_to_the_others),
        cmocka_unit_test(test_gossip_no_class_starves_in_a_storm_of_all_those_above_it),
        cmocka_unit_test(test_gossip_tells_the_least_told_first),
        cmocka_unit_test(test_gossip_spares_who_needs_no_telling),
        cmocka_unit_test(test_gossip_a_datagram_without_room_loses_nothing),
        cmocka_unit_test(test_gossip_has_nothing_to_tell_where_only_the_subject_would_hear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
