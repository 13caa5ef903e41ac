/* test_swim_abuse.c - membership under what one valid member can do, and at corners that seeds
 * seldom reach: rows G16 to G18 of bad-inputs.md. */
#include <stdio.h>

#include "mesh/member/monitor.h"
#include "tests/unit/swim_world.h"

#define DAY_MS (24 * 3600 * 1000LL)
#define TAGS (((uint64_t)1 << 48) - 1)

/* What came first after we stood still may be a wish of the host, too. */
static void test_swim_a_wish_does_not_hide_that_we_stood_still(void **state)
{
    struct world w;
    struct mesh_addr contact = addr_of(0);
    (void)state;
    world_init(&w, 1);
    world_make(&w, 4);
    for (int round = 0; round < 8; round++) {
        w.now_ms += 30000;
        for (unsigned n = 0; n < 4; n++) {
            struct swim *swim = w.peers[n].swim;
            if (round % 4 == 0)
                swim_set_flags(swim, true, round % 8 != 0, w.now_ms);
            else if (round % 4 == 1)
                swim_join(swim, &contact, w.now_ms);
            else if (round % 4 == 2)
                (void)swim_claim(swim, (uint64_t)round << 3, w.now_ms);
            else
                swim_unclaim(swim, (uint64_t)round << 3);
        }
        world_run(&w, 3000);
    }
    struct swim_stats stats;
    for (unsigned n = 0; n < 4; n++) {
        swim_stats(w.peers[n].swim, &stats);
        assert_int_equal(stats.suspected, 0);
        assert_true(stats.lags >= 8);
    }
    assert_int_equal(deaths_seen(&w), 0);
    world_deinit(&w);
}

/* A datagram of a member's, as another one made it. */
static void tell(struct world *w, struct peer *from, struct peer *to, struct wire_datagram *d)
{
    d->sender = id_of(from);
    d->target_name_only.name = id_of(to).name;
    d->target_nonce = to->nonce;
    swim_on_datagram(to->swim, &from->addr, d, from->nonce, w->now_ms);
}

static struct peer_id nobody(unsigned n)
{
    char name[16];
    (void)snprintf(name, sizeof name, "nobody%u", n);
    return (struct peer_id){view_name_hash(name), WALL_MS};
}

/* A member where nobody is: its record is all there is of it. */
static void invent(struct world *w, struct peer *from, struct peer *to, unsigned n)
{
    static struct wire_datagram d;
    memset(&d, 0, sizeof d);
    d.kind = DATAGRAM_GOSSIP;
    d.updates_count = 1;
    d.updates[0].kind = UPDATE_ALIVE;
    (void)snprintf(d.updates[0].record.name, sizeof d.updates[0].record.name, "nobody%u", n);
    d.updates[0].record.id = nobody(n);
    d.updates[0].record.nonce = 1;
    d.updates[0].record.version = 1;
    d.updates[0].record.weight = 1;
    d.updates[0].record.addr = addr_of(500 + n);
    tell(w, from, to, &d);
}

/* Others may ask for more than there is room for: not instead of our own probes. */
static void test_swim_who_is_asked_to_look_goes_on_to_watch(void **state)
{
    struct world w;
    static struct wire_datagram d;
    (void)state;
    world_init(&w, 19);
    world_make(&w, 3);
    struct peer *a = &w.peers[0], *b = &w.peers[1];
    const struct mesh_member *watched = monitor_watched(swim_view(b->swim));
    assert_non_null(watched);
    uint64_t tag = view_home_tag(id_of(b)), gap = view_home_tag(watched->record->id) - tag;
    unsigned asked[50], count = 0;
    for (unsigned n = 0; count < 50; n++)
        if (((view_home_tag(nobody(n)) - tag) & TAGS) > (gap & TAGS)) { /* not in between */
            invent(&w, a, b, n);
            asked[count++] = n;
        }
    uint64_t until_ms = w.now_ms + 3000;
    unsigned pings = 0;
    while (w.now_ms < until_ms) {
        struct swim_send send;
        struct swim_check check;
        for (unsigned n = 0; n < 50; n++) {
            memset(&d, 0, sizeof d);
            d.kind = DATAGRAM_CONFIRM;
            d.number = n + 1;
            d.subject = nobody(asked[n]);
            tell(&w, a, b, &d);
        }
        w.now_ms += 10;
        swim_now(b->swim, w.now_ms);
        assert_ptr_equal(monitor_watched(swim_view(b->swim)), watched);
        while (swim_next_check(b->swim, &check))
            continue;
        while (swim_next_send(b->swim, &send))
            pings += send.kind == DATAGRAM_PING && peer_id_equal(send.to, watched->record->id);
    }
    assert_in_range(pings, 1, 4); /* none is answered: each takes its time */
    world_deinit(&w);
}

/* Whoever says that one is dead is believed at once. */
static struct swim_preset believing_preset(void)
{
    struct swim_preset preset = swim_preset_product;
    preset.doubts_deaths = false;
    return preset;
}

/* A piece of news in the incarnation that `to` knows of its subject. */
static void tell_news(struct world *w, struct peer *from, struct peer *to, enum update_kind kind,
                      struct peer_id subject)
{
    static struct wire_datagram d;
    memset(&d, 0, sizeof d);
    d.kind = DATAGRAM_GOSSIP;
    d.updates_count = 1;
    d.updates[0].kind = kind;
    d.updates[0].record.id = subject;
    d.updates[0].incarnation = view_find(swim_view(to->swim), subject)->incarnation;
    d.updates[0].accuser = id_of(from);
    tell(w, from, to, &d);
}

/* Who died is no suspect any more: the brake counts it once. */
static void test_swim_a_death_told_by_another_ends_the_suspicion(void **state)
{
    struct world w;
    (void)state;
    struct swim_preset believing = believing_preset();
    world_init(&w, 20);
    w.preset = &believing;
    world_make(&w, 6);
    struct peer *a = &w.peers[0], *b = &w.peers[1], *c = &w.peers[2];
    size_t bytes[2];
    tell_news(&w, a, b, UPDATE_SUSPECT, id_of(c));
    assert_int_equal(state_of(b, id_of(c)), MEMBER_SUSPECT);
    bytes[0] = swim_bytes(b->swim);
    tell_news(&w, a, b, UPDATE_DEAD, id_of(c));
    assert_int_equal(state_of(b, id_of(c)), MEMBER_DEAD);
    bytes[1] = swim_bytes(b->swim);
    assert_true(bytes[1] < bytes[0]);
    world_deinit(&w);
}

/* One that answers nobody and yet says that it lives is one mistake, however often: who watches it
 * keeps its vote about others. */
static void test_swim_one_that_refutes_again_and_again_mutes_nobody(void **state)
{
    struct world w;
    static struct wire_datagram d;
    (void)state;
    struct swim_preset believing = believing_preset();
    world_init(&w, 20);
    w.preset = &believing;
    world_make(&w, 6);
    struct peer *a = &w.peers[0], *b = &w.peers[1], *c = &w.peers[2], *e = &w.peers[4];
    for (uint32_t n = 0; n < 5; n++) {
        tell_news(&w, a, b, UPDATE_SUSPECT, id_of(c)); /* by its monitor, who can not reach it */
        memset(&d, 0, sizeof d);
        d.kind = DATAGRAM_GOSSIP;
        d.updates_count = 1;
        view_tell(view_find(swim_view(b->swim), id_of(c)), &d.updates[0]);
        d.updates[0].kind = UPDATE_ALIVE;
        d.updates[0].incarnation++;
        tell(&w, c, b, &d);
        assert_int_equal(state_of(b, id_of(c)), MEMBER_ALIVE);
        w.now_ms += 100;
    }
    tell_news(&w, a, b, UPDATE_DEAD, id_of(e));
    assert_int_equal(state_of(b, id_of(e)), MEMBER_DEAD);
    world_deinit(&w);
}

/* Who has no room to ping for another says so at once: its silence would be taken for a sign that
 * the asker is hard to reach. */
static void test_swim_who_pings_for_too_many_says_so(void **state)
{
    struct world w;
    static struct wire_datagram d;
    struct swim_send send;
    (void)state;
    world_init(&w, 21);
    world_make(&w, 3);
    struct peer *a = &w.peers[0], *b = &w.peers[1], *c = &w.peers[2];
    struct peer_id silent = id_of(c);
    unsigned pings = 0, nacks = 0;
    world_crash(&w, c);
    for (unsigned n = 0; n < 100; n++) {
        memset(&d, 0, sizeof d);
        d.kind = DATAGRAM_PING_REQ;
        d.number = n + 1;
        d.subject = silent;
        tell(&w, a, b, &d);
        while (swim_next_send(b->swim, &send)) {
            pings += send.kind == DATAGRAM_PING;
            nacks += send.kind == DATAGRAM_NACK && peer_id_equal(send.to, id_of(a));
        }
    }
    assert_true(pings < 100);
    assert_int_equal(pings + nacks, 100);
    world_deinit(&w);
}

/* A clock that is behind by days is no fault either. */
static void test_swim_who_begins_alone_with_a_clock_days_behind_finds_the_others(void **state)
{
    struct world w;
    struct mesh_addr contact = addr_of(0);
    (void)state;
    world_init(&w, 23);
    world_make(&w, 3);
    struct peer *d = world_start(&w, "d", 3, -3 * DAY_MS, true);
    d->group = 1;
    swim_join(d->swim, &contact, w.now_ms);
    world_run(&w, 4000);
    assert_true(swim_is_joined(d->swim));
    d->group = 0;
    assert_true(world_agrees_after(&w, 30000) != MESH_NEVER);
    world_deinit(&w);
}

/* Who welcomes us may have started long before others did. */
static void
test_swim_with_a_clock_days_behind_one_knows_who_is_younger_than_its_welcomer(void **state)
{
    struct world w;
    struct mesh_addr contact = addr_of(0);
    (void)state;
    world_init(&w, 24);
    world_make(&w, 1);
    world_run(&w, 3 * DAY_MS);
    world_join(&w, "b", 1, 0);
    world_run(&w, 5000);
    assert_true(world_agrees(&w));
    swim_join(world_start(&w, "c", 2, -30 * DAY_MS, true)->swim, &contact, w.now_ms);
    assert_true(world_agrees_after(&w, 30000) != MESH_NEVER);
    world_deinit(&w);
}

/* Lies that only their subject hears drive it further than others follow by hearsay. What it says
 * of itself is believed all the same: it is not lost for good. */
static void test_swim_who_was_driven_far_by_lies_is_heard_again(void **state)
{
    struct world w;
    static struct wire_datagram d;
    (void)state;
    world_init(&w, 25);
    world_make(&w, 5);
    struct peer *a = &w.peers[0], *b = &w.peers[1];
    for (unsigned n = 0; n < 4; n++) {
        memset(&d, 0, sizeof d);
        d.kind = DATAGRAM_GOSSIP;
        d.updates_count = 1;
        d.updates[0].kind = UPDATE_SUSPECT;
        d.updates[0].record.id = id_of(b);
        d.updates[0].incarnation = view_self(swim_view(b->swim))->incarnation + VIEW_JUMP_MAX / 2;
        tell(&w, a, b, &d);
    }
    drain(&w, b);
    assert_true(view_self(swim_view(b->swim))->incarnation > VIEW_JUMP_MAX);
    world_run(&w, 5000);
    for (unsigned n = 2; n < 5; n++) { /* and now it is doubted by all */
        memset(&d, 0, sizeof d);
        d.kind = DATAGRAM_GOSSIP;
        d.updates_count = 1;
        d.updates[0].kind = UPDATE_DEAD;
        d.updates[0].record.id = id_of(b);
        d.updates[0].incarnation = view_find(swim_view(w.peers[n].swim), id_of(b))->incarnation;
        tell(&w, a, &w.peers[n], &d);
    }
    assert_true(world_agrees_after(&w, 30000) != MESH_NEVER);
    world_deinit(&w);
}

/* Lies to the others, each as far ahead as is believed, are outdone in the end, by whatever number;
 * and who comes then and never heard of it before hears of it from itself. */
static void test_swim_many_lies_evict_nobody_for_good(void **state)
{
    struct world w;
    static struct wire_datagram d;
    (void)state;
    world_init(&w, 25);
    world_make(&w, 5);
    struct peer *a = &w.peers[0], *b = &w.peers[1];
    for (unsigned lie = 0; lie < 30; lie++)
        for (unsigned n = 2; n < 5; n++) {
            struct view *view = swim_view(w.peers[n].swim);
            memset(&d, 0, sizeof d);
            d.kind = DATAGRAM_GOSSIP;
            d.updates_count = 1;
            d.updates[0].kind = UPDATE_SUSPECT;
            d.updates[0].record.id = id_of(b);
            d.updates[0].incarnation = view_find(view, id_of(b))->incarnation + VIEW_JUMP_MAX;
            tell(&w, a, &w.peers[n], &d);
        }
    assert_int_equal(state_of(&w.peers[2], id_of(b)), MEMBER_SUSPECT);
    assert_true(world_agrees_after(&w, 60000) != MESH_NEVER);
    assert_true(view_self(swim_view(b->swim))->incarnation > VIEW_FIRST_MAX);
    world_join(&w, "z", 10, 2);
    assert_true(world_agrees_after(&w, 60000) != MESH_NEVER);
    world_deinit(&w);
}

/* Well-formed, sealed by a member, and nothing that can be. */
static void poison(const struct peer *about, unsigned kind, struct wire_update *news)
{
    const struct mesh_member *self = view_self(swim_view(about->swim));
    view_tell(self, news);
    switch (kind) {
    case 0: /* more often suspected than it can have been */
        news->incarnation += VIEW_JUMP_MAX + 1;
        break;
    case 1: /* its record was written anew too often */
        news->record.version += VIEW_JUMP_MAX + 1;
        break;
    case 2: /* under the hash of another name */
        strcpy(news->record.name, "nobody1");
        news->record.id.generation++;
        break;
    case 3: /* where nobody else can reach it */
        news->record.addr = (struct mesh_addr){.ip = {[10] = 0xff, [11] = 0xff, [12] = 127}};
        news->record.addr.port = 1;
        news->record.version++;
        break;
    case 4: /* of a time to come */
        news->record.id.generation += 2 * (uint64_t)DAY_MS;
        break;
    case 5: /* gone, long after it can have lived */
        news->kind = UPDATE_DEAD;
        news->incarnation = UINT32_MAX;
        break;
    }
}

static unsigned rows_that_differ(struct world *w, const struct peer *about)
{
    const struct mesh_member *is = view_self(swim_view(about->swim));
    unsigned count = 0;
    for (size_t n = 0; n < w->count; n++) {
        const struct mesh_member *row = view_find(swim_view(w->peers[n].swim), is->record->id);
        count += row == NULL || row->incarnation != is->incarnation ||
                 row->record->version != is->record->version ||
                 view_count(swim_view(w->peers[n].swim)) != w->count;
    }
    return count;
}

/* P23: what one peer could not take in deadlocked all, for each had passed it on first (corrosion's
 * post-mortem). Who is told what cannot be tells nobody: no other peer ever has to refuse it. */
static void test_swim_news_that_cannot_be_goes_no_further(void **state)
{
    static struct wire_datagram d;
    (void)state;
    for (unsigned kind = 0; kind < 6; kind++) {
        struct world w;
        struct swim_stats stats;
        world_init(&w, 27);
        world_make(&w, 7);
        memset(&d, 0, sizeof d);
        d.kind = DATAGRAM_GOSSIP;
        d.updates_count = 1;
        poison(&w.peers[3], kind, &d.updates[0]);
        tell(&w, &w.peers[1], &w.peers[2], &d);
        drain(&w, &w.peers[2]);
        world_run(&w, 20000);
        for (unsigned n = 0; n < 7; n++) {
            swim_stats(w.peers[n].swim, &stats);
            assert_int_equal(stats.news_refused, n == 2 ? 1 : 0);
        }
        assert_int_equal(rows_that_differ(&w, &w.peers[3]), 0);
        assert_true(world_agrees(&w));
        world_deinit(&w);
    }
}

/* Without nacks, too, an answer to who pinged for us is an answer. */
static void test_swim_relays_help_under_every_preset(void **state)
{
    static const struct swim_preset *const presets[] = {&swim_preset_product,
                                                        &swim_preset_memberlist_lan,
                                                        &swim_preset_lifeguard, &swim_preset_swim};
    (void)state;
    for (size_t n = 0; n < sizeof presets / sizeof presets[0]; n++) {
        struct world w;
        struct swim_stats stats;
        world_init(&w, 26);
        w.preset = presets[n];
        world_make(&w, 5);
        w.cut[0] = &w.peers[1];
        w.cut[1] = &w.peers[2];
        world_run(&w, 60000);
        for (unsigned peer = 0; peer < 5; peer++) {
            swim_stats(w.peers[peer].swim, &stats);
            assert_int_equal(stats.suspected, 0);
        }
        world_deinit(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_swim_a_wish_does_not_hide_that_we_stood_still),
        cmocka_unit_test(test_swim_who_is_asked_to_look_goes_on_to_watch),
        cmocka_unit_test(test_swim_a_death_told_by_another_ends_the_suspicion),
        cmocka_unit_test(test_swim_one_that_refutes_again_and_again_mutes_nobody),
        cmocka_unit_test(test_swim_who_pings_for_too_many_says_so),
        cmocka_unit_test(test_swim_who_begins_alone_with_a_clock_days_behind_finds_the_others),
        cmocka_unit_test(
            test_swim_with_a_clock_days_behind_one_knows_who_is_younger_than_its_welcomer),
        cmocka_unit_test(test_swim_who_was_driven_far_by_lies_is_heard_again),
        cmocka_unit_test(test_swim_many_lies_evict_nobody_for_good),
        cmocka_unit_test(test_swim_news_that_cannot_be_goes_no_further),
        cmocka_unit_test(test_swim_relays_help_under_every_preset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
