/* test_view.c - which news outdoes which, what the view hash covers, and who is forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mesh/base/rng.h"
#include "mesh/member/view.h"

#define NOW_MS 1000
#define BOOT_MS 1760000000000u

static struct wire_update news_of(enum update_kind kind, const char *name, uint64_t generation,
                                  uint32_t incarnation)
{
    struct wire_update news = {.kind = kind, .incarnation = incarnation};
    struct mesh_record *m = &news.record;
    m->id = (struct peer_id){view_name_hash(name), generation};
    if (kind != UPDATE_ALIVE)
        return news;
    strcpy(m->name, name);
    m->nonce = generation * 3;
    m->version = 1;
    m->weight = 1;
    m->serving = true;
    m->addr = (struct mesh_addr){.ip = {[10] = 0xff, [11] = 0xff, [12] = 10}, .port = 7946};
    m->addr.ip[15] = (uint8_t)name[0];
    return news;
}

static struct view *make_view(uint32_t members_max, uint32_t contacts_max)
{
    struct view_config config = {.members_max = members_max,
                                 .contacts_max = contacts_max,
                                 .boot_ms = BOOT_MS,
                                 .start_ms = NOW_MS};
    struct view *view = NULL;
    config.self = news_of(UPDATE_ALIVE, "self", 5, 0).record;
    assert_int_equal(view_new(&view, &config), 0);
    assert_int_equal(view_announce(view, 5, NOW_MS), 0);
    return view;
}

static enum view_news apply(struct view *view, enum update_kind kind, const char *name,
                            uint64_t generation, uint32_t incarnation)
{
    struct wire_update news = news_of(kind, name, generation, incarnation);
    return view_apply(view, &news, NOW_MS);
}

static enum member_state state_of(struct view *view, const char *name, uint64_t generation)
{
    const struct mesh_member *member =
        view_find(view, (struct peer_id){view_name_hash(name), generation});
    return member != NULL ? member->state : MEMBER_UNKNOWN;
}

static void test_view_precedence_is_that_of_swim(void **state)
{
    static const struct {
        enum update_kind kind;
        uint32_t incarnation;
        enum view_news news;
        enum member_state state;
    } steps[] = {
        {UPDATE_SUSPECT, 3, VIEW_OLD, MEMBER_UNKNOWN}, /* of a stranger: nothing to suspect */
        {UPDATE_ALIVE, 3, VIEW_NEW, MEMBER_ALIVE},
        {UPDATE_ALIVE, 3, VIEW_OLD, MEMBER_ALIVE},
        {UPDATE_SUSPECT, 2, VIEW_OLD, MEMBER_ALIVE},
        {UPDATE_SUSPECT, 3, VIEW_NEW, MEMBER_SUSPECT},
        {UPDATE_SUSPECT, 3, VIEW_CONFIRMED, MEMBER_SUSPECT},
        {UPDATE_ALIVE, 3, VIEW_OLD, MEMBER_SUSPECT},
        {UPDATE_ALIVE, 4, VIEW_NEW, MEMBER_ALIVE},
        {UPDATE_DEAD, 3, VIEW_OLD, MEMBER_ALIVE},
        {UPDATE_SUSPECT, 6, VIEW_NEW, MEMBER_SUSPECT},
        {UPDATE_SUSPECT, 7, VIEW_NEW, MEMBER_SUSPECT},
        {UPDATE_DEAD, 7, VIEW_NEW, MEMBER_DEAD},
        {UPDATE_ALIVE, 7, VIEW_OLD, MEMBER_DEAD},
        {UPDATE_SUSPECT, 7, VIEW_OLD, MEMBER_DEAD},
        {UPDATE_ALIVE, 8, VIEW_NEW, MEMBER_ALIVE},
        {UPDATE_LEFT, 8, VIEW_NEW, MEMBER_LEFT},
        {UPDATE_DEAD, 8, VIEW_OLD, MEMBER_LEFT},
        {UPDATE_ALIVE, 8, VIEW_OLD, MEMBER_LEFT},
        {UPDATE_ALIVE, 9, VIEW_NEW, MEMBER_ALIVE},
    };
    struct view *view = make_view(8, 8);
    (void)state;
    for (size_t n = 0; n < sizeof steps / sizeof steps[0]; n++) {
        assert_int_equal(apply(view, steps[n].kind, "b", 1, steps[n].incarnation), steps[n].news);
        assert_int_equal(state_of(view, "b", 1), steps[n].state);
    }
    view_free(view);
}

static void test_view_incarnation_is_monotone_over_all_evidence(void **state)
{
    struct view *view = make_view(8, 8);
    (void)state;
    apply(view, UPDATE_ALIVE, "b", 1, 0);
    assert_int_equal(apply(view, UPDATE_DEAD, "b", 1, 3), VIEW_NEW);
    assert_int_equal(apply(view, UPDATE_DEAD, "b", 1, 10), VIEW_OLD); /* kept all the same */
    assert_int_equal(apply(view, UPDATE_ALIVE, "b", 1, 5), VIEW_OLD);
    assert_int_equal(apply(view, UPDATE_ALIVE, "b", 1, 10), VIEW_OLD);
    assert_int_equal(state_of(view, "b", 1), MEMBER_DEAD);
    assert_int_equal(apply(view, UPDATE_ALIVE, "b", 1, 11), VIEW_NEW);
    /* a suspicion brings it forward, too; a record does not take it back */
    apply(view, UPDATE_SUSPECT, "b", 1, 20);
    struct wire_update record = news_of(UPDATE_ALIVE, "b", 1, 12);
    record.record.version = 4;
    assert_int_equal(view_apply(view, &record, NOW_MS), VIEW_NEW);
    const struct mesh_member *b = view_find(view, record.record.id);
    assert_int_equal(b->incarnation, 20);
    assert_int_equal(b->record->version, 4);
    assert_int_equal(b->state, MEMBER_SUSPECT);
    view_free(view);
}

static void test_view_a_record_is_fixed_per_version(void **state)
{
    struct view *view = make_view(8, 8);
    struct wire_update record = news_of(UPDATE_ALIVE, "b", 1, 0);
    (void)state;
    record.record.version = 2;
    view_apply(view, &record, NOW_MS);
    record.record.serving = false;
    assert_int_equal(view_apply(view, &record, NOW_MS), VIEW_OLD);
    record.incarnation = 1;
    assert_int_equal(view_apply(view, &record, NOW_MS), VIEW_NEW); /* alive anew, no more */
    assert_true(view_find(view, record.record.id)->record->serving);
    record.record.version = 1;
    assert_int_equal(view_apply(view, &record, NOW_MS), VIEW_OLD);
    record.record.version = 3;
    assert_int_equal(view_apply(view, &record, NOW_MS), VIEW_NEW);
    assert_false(view_find(view, record.record.id)->record->serving);
    view_free(view);
}

static void test_view_a_suspicion_may_bring_the_record_along(void **state)
{
    struct view *view = make_view(8, 8);
    struct wire_update news = news_of(UPDATE_ALIVE, "b", 1, 2);
    (void)state;
    news.kind = UPDATE_SUSPECT;
    assert_int_equal(view_apply(view, &news, NOW_MS), VIEW_NEW);
    assert_int_equal(state_of(view, "b", 1), MEMBER_SUSPECT);
    assert_string_equal(view_find(view, news.record.id)->record->name, "b");
    view_free(view);
}

static void test_view_a_newer_generation_supersedes_for_good(void **state)
{
    struct view *view = make_view(8, 8);
    (void)state;
    apply(view, UPDATE_ALIVE, "b", 100, 0);
    assert_int_equal(apply(view, UPDATE_ALIVE, "b", 101, 0), VIEW_NEW);
    assert_int_equal(state_of(view, "b", 100), MEMBER_DEAD);
    assert_int_equal(apply(view, UPDATE_ALIVE, "b", 100, 50), VIEW_OLD);
    assert_int_equal(apply(view, UPDATE_ALIVE, "b", 99, 50), VIEW_OLD);
    assert_int_equal(state_of(view, "b", 100), MEMBER_DEAD);
    assert_int_equal(state_of(view, "b", 99), MEMBER_UNKNOWN);
    assert_int_equal(view_living(view), 2);
    assert_true(view_find_name(view, view_name_hash("b"))->record->id.generation == 101);
    /* even a dead newer one does */
    assert_int_equal(apply(view, UPDATE_DEAD, "b", 102, 0), VIEW_NEW);
    assert_int_equal(state_of(view, "b", 101), MEMBER_DEAD);
    view_free(view);
}

static void test_view_we_are_superseded_by_a_newer_generation_of_our_name(void **state)
{
    struct view *view = make_view(8, 8);
    (void)state;
    assert_int_equal(apply(view, UPDATE_ALIVE, "self", 4, 9), VIEW_OLD);
    assert_int_equal(view_self(view)->state, MEMBER_ALIVE);
    assert_int_equal(apply(view, UPDATE_ALIVE, "self", 6, 0), VIEW_SUPERSEDED);
    assert_int_equal(view_self(view)->state, MEMBER_DEAD);
    view_free(view);
}

static void test_view_of_twins_the_higher_nonce_stays(void **state)
{
    struct view *view = make_view(8, 8);
    struct wire_update twin = news_of(UPDATE_ALIVE, "self", 5, 0);
    (void)state;
    twin.record.nonce = view_self(view)->record->nonce - 1;
    assert_int_equal(view_apply(view, &twin, NOW_MS), VIEW_REFUTED);
    twin.record.nonce = view_self(view)->record->nonce + 1;
    assert_int_equal(view_apply(view, &twin, NOW_MS), VIEW_SUPERSEDED);
    /* as others see it, in either order */
    struct wire_update b = news_of(UPDATE_ALIVE, "b", 7, 0);
    view_apply(view, &b, NOW_MS);
    uint64_t hash = view_hash(view);
    b.record.nonce--;
    assert_int_equal(view_apply(view, &b, NOW_MS), VIEW_OLD);
    b.record.nonce += 2;
    assert_int_equal(view_apply(view, &b, NOW_MS), VIEW_NEW);
    assert_true(view_hash(view) != hash);
    view_free(view);
}

static void test_view_claims_about_us_are_outdone(void **state)
{
    struct view *view = make_view(8, 8);
    struct wire_update record = news_of(UPDATE_ALIVE, "self", 5, 0);
    (void)state;
    record.record.nonce = view_self(view)->record->nonce;
    assert_int_equal(apply(view, UPDATE_SUSPECT, "self", 5, 0), VIEW_REFUTED);
    assert_int_equal(view_self(view)->incarnation, 1);
    assert_int_equal(apply(view, UPDATE_DEAD, "self", 5, 4), VIEW_REFUTED);
    assert_int_equal(view_self(view)->incarnation, 5);
    assert_int_equal(apply(view, UPDATE_LEFT, "self", 5, 2), VIEW_REFUTED); /* told again */
    assert_int_equal(view_self(view)->incarnation, 5);
    record.record.version = 9;
    assert_int_equal(view_apply(view, &record, NOW_MS), VIEW_REFUTED);
    assert_int_equal(view_self(view)->record->version, 10);
    assert_int_equal(view_self(view)->state, MEMBER_ALIVE);
    view_leave(view, NOW_MS);
    assert_int_equal(apply(view, UPDATE_LEFT, "self", 5, 5), VIEW_OLD);
    assert_int_equal(view_self(view)->state, MEMBER_LEFT);
    assert_int_equal(view_living(view), 0);
    view_free(view);
}

static void test_view_impossible_news_is_refused(void **state)
{
    struct view *view = make_view(8, 8);
    struct wire_update news;
    (void)state;
    apply(view, UPDATE_ALIVE, "b", 1, 7);
    assert_int_equal(apply(view, UPDATE_SUSPECT, "b", 1, 8 + VIEW_JUMP_MAX), VIEW_REFUSED);
    assert_int_equal(apply(view, UPDATE_DEAD, "b", 1, UINT32_MAX), VIEW_REFUSED);
    assert_int_equal(apply(view, UPDATE_DEAD, "self", 5, UINT32_MAX), VIEW_REFUSED);
    news = news_of(UPDATE_ALIVE, "b", 1, 7);
    news.record.version = UINT64_MAX;
    assert_int_equal(view_apply(view, &news, NOW_MS), VIEW_REFUSED);
    news = news_of(UPDATE_ALIVE, "c", 1, 0);
    news.record.id.name++; /* somebody else's name */
    assert_int_equal(view_apply(view, &news, NOW_MS), VIEW_REFUSED);
    news = news_of(UPDATE_ALIVE, "c", 1, 0);
    news.record.nonce = 0;
    assert_int_equal(view_apply(view, &news, NOW_MS), VIEW_REFUSED);
    news = news_of(UPDATE_ALIVE, "c", 1, 0);
    news.record.addr.ip[12] = 127; /* our own loopback is not where c is */
    assert_int_equal(view_apply(view, &news, NOW_MS), VIEW_REFUSED);
    /* of a time to come, unless it follows a known one */
    assert_int_equal(apply(view, UPDATE_ALIVE, "c", BOOT_MS + 25 * 3600000u, 0), VIEW_REFUSED);
    assert_int_equal(apply(view, UPDATE_ALIVE, "c", UINT64_MAX, 0), VIEW_REFUSED);
    assert_int_equal(apply(view, UPDATE_DEAD, "c", UINT64_MAX, 0), VIEW_REFUSED);
    assert_int_equal(apply(view, UPDATE_ALIVE, "c", BOOT_MS + 23 * 3600000u, 0), VIEW_NEW);
    assert_int_equal(apply(view, UPDATE_ALIVE, "c", BOOT_MS + 23 * 3600000u + 7200000 / 8, 0),
                     VIEW_NEW);
    assert_int_equal(view_living(view), 3);
    /* and what is legal still works */
    assert_int_equal(apply(view, UPDATE_SUSPECT, "b", 1, 8), VIEW_NEW);
    view_free(view);
}

static void test_view_hash_is_the_same_in_any_order_and_covers_records(void **state)
{
    static const char *const names[] = {"b", "c", "d", "e"};
    struct view *one = make_view(8, 8), *two = make_view(8, 8);
    (void)state;
    for (size_t n = 0; n < 4; n++) {
        apply(one, UPDATE_ALIVE, names[n], 9, 0);
        apply(two, UPDATE_ALIVE, names[3 - n], 9, (uint32_t)n);
    }
    apply(two, UPDATE_SUSPECT, "c", 9, 3);
    view_note_load(two, (struct peer_id){view_name_hash("d"), 9}, 100);
    assert_true(view_hash(one) == view_hash(two)); /* incarnation, suspicion, load stay out */
    assert_memory_equal(view_buckets(one), view_buckets(two), WIRE_BUCKETS * sizeof(uint64_t));
    uint64_t sum = 0, before = view_hash(one);
    for (size_t n = 0; n < WIRE_BUCKETS; n++)
        sum += view_buckets(one)[n];
    assert_true(sum == view_hash(one));

    apply(two, UPDATE_DEAD, "c", 9, 3);
    assert_true(view_hash(one) != view_hash(two));
    unsigned bucket = view_bucket_of((struct peer_id){view_name_hash("c"), 9});
    for (unsigned n = 0; n < WIRE_BUCKETS; n++)
        assert_true((view_buckets(one)[n] != view_buckets(two)[n]) == (n == bucket));
    apply(two, UPDATE_ALIVE, "c", 9, 4);
    assert_true(view_hash(two) == before);
    struct wire_update record = news_of(UPDATE_ALIVE, "c", 9, 4);
    record.record.version = 2;
    view_apply(two, &record, NOW_MS);
    assert_true(view_hash(two) != before);
    view_free(one);
    view_free(two);
}

static void test_view_finds_the_living_and_the_remembered(void **state)
{
    struct view *view = make_view(8, 8);
    struct peer_id b = {view_name_hash("b"), 9}, c = {view_name_hash("c"), 9};
    (void)state;
    apply(view, UPDATE_ALIVE, "b", 9, 0);
    apply(view, UPDATE_ALIVE, "c", 9, 0);
    apply(view, UPDATE_DEAD, "c", 9, 0);
    assert_true(peer_id_equal(view_find_tag(view, view_home_tag(b))->record->id, b));
    assert_true(peer_id_equal(view_find_tag(view, view_home_tag(c))->record->id, c));
    assert_int_equal(view_find_tag(view, view_home_tag(c))->state, MEMBER_DEAD);
    assert_null(view_find_tag(view, view_home_tag((struct peer_id){1, 2})));
    assert_null(view_find_tag(view, UINT64_MAX));
    assert_true(view_home_tag(b) >> 48 == 0);
    struct mesh_addr addr = view_find(view, b)->record->addr;
    assert_true(peer_id_equal(view_find_addr(view, &addr)->record->id, b));
    addr.port++;
    assert_null(view_find_addr(view, &addr));
    assert_null(view_find(view, (struct peer_id){c.name, 8}));
    assert_null(view_find_name(view, c.name + 1));
    for (size_t n = 1; n < view_count(view); n++)
        assert_true(
            peer_id_compare(view_at(view, n - 1)->record->id, view_at(view, n)->record->id) < 0);
    assert_int_equal(view_count(view), 3);
    assert_int_equal(view_living(view), 2);
    assert_int_equal(view_others(view), 1);
    view_free(view);
}

static void test_view_a_death_of_somebody_never_met_is_remembered(void **state)
{
    struct view *view = make_view(8, 8);
    uint64_t hash = view_hash(view);
    (void)state;
    assert_int_equal(apply(view, UPDATE_DEAD, "b", 9, 6), VIEW_CONTACTED);
    assert_true(view_hash(view) == hash);
    assert_int_equal(apply(view, UPDATE_ALIVE, "b", 9, 6), VIEW_OLD);
    assert_int_equal(apply(view, UPDATE_ALIVE, "b", 9, 7), VIEW_NEW);
    assert_string_equal(view_find_name(view, view_name_hash("b"))->record->name, "b");
    view_free(view);
}

static void test_view_keeps_its_caps_and_drops_the_oldest_contact(void **state)
{
    struct view *view = make_view(4, 3);
    char name[2] = "b";
    (void)state;
    for (; name[0] < 'e'; name[0]++)
        assert_int_equal(apply(view, UPDATE_ALIVE, name, 9, 0), VIEW_NEW);
    assert_int_equal(apply(view, UPDATE_ALIVE, "e", 9, 0), VIEW_REFUSED);
    assert_int_equal(view_living(view), 4);
    for (name[0] = 'b'; name[0] < 'e'; name[0]++) {
        struct wire_update dead = news_of(UPDATE_DEAD, name, 9, 0);
        assert_int_equal(view_apply(view, &dead, NOW_MS + (uint64_t)name[0]), VIEW_NEW);
    }
    assert_int_equal(apply(view, UPDATE_ALIVE, "e", 9, 0), VIEW_NEW);
    struct wire_update dead = news_of(UPDATE_DEAD, "e", 9, 0);
    view_apply(view, &dead, NOW_MS + 200);
    assert_int_equal(state_of(view, "b", 9), MEMBER_UNKNOWN);
    assert_int_equal(state_of(view, "c", 9), MEMBER_DEAD);
    assert_int_equal(state_of(view, "e", 9), MEMBER_DEAD);
    assert_int_equal(view_count(view), 4);
    /* restarts of one name do not pile up either */
    for (uint64_t generation = 10; generation < 200; generation++)
        assert_int_equal(apply(view, UPDATE_ALIVE, "f", generation, 0), VIEW_NEW);
    assert_int_equal(view_living(view), 2);
    assert_int_equal(view_count(view), 2 + 3);
    view_free(view);
}

static void test_view_forgets_contacts_after_a_day_and_handles_with_them(void **state)
{
    struct view *view = make_view(8, 8);
    struct view_change change;
    (void)state;
    apply(view, UPDATE_ALIVE, "b", 9, 0);
    struct handle handle =
        view_handle(view, view_find(view, (struct peer_id){view_name_hash("b"), 9}));
    apply(view, UPDATE_DEAD, "b", 9, 0);
    assert_true(view_silent_ms(view, view_by_handle(view, handle)) == NOW_MS);
    view_forget(view, NOW_MS + VIEW_CONTACT_MS - 1);
    assert_int_equal(state_of(view, "b", 9), MEMBER_DEAD);
    view_forget(view, NOW_MS + VIEW_CONTACT_MS);
    assert_int_equal(state_of(view, "b", 9), MEMBER_UNKNOWN);
    assert_null(view_by_handle(view, handle));
    apply(view, UPDATE_ALIVE, "c", 9, 0); /* in the same slot */
    assert_null(view_by_handle(view, handle));
    static const enum member_state seen[][2] = {{MEMBER_UNKNOWN, MEMBER_ALIVE},
                                                {MEMBER_UNKNOWN, MEMBER_ALIVE},
                                                {MEMBER_ALIVE, MEMBER_DEAD},
                                                {MEMBER_DEAD, MEMBER_UNKNOWN},
                                                {MEMBER_UNKNOWN, MEMBER_ALIVE}};
    for (size_t n = 0; n < 5; n++) {
        assert_true(view_next_change(view, &change));
        assert_int_equal(change.from, seen[n][0]);
        assert_int_equal(change.to, seen[n][1]);
    }
    assert_false(view_next_change(view, &change));
    view_free(view);
}

static void test_view_ring_generation_counts_what_decides_the_ring(void **state)
{
    struct view *view = make_view(8, 8);
    (void)state;
    apply(view, UPDATE_ALIVE, "b", 9, 0);
    uint64_t before = view_ring_generation(view);
    apply(view, UPDATE_SUSPECT, "b", 9, 0); /* suspects stay on the ring */
    apply(view, UPDATE_ALIVE, "b", 9, 1);
    struct wire_update record = news_of(UPDATE_ALIVE, "b", 9, 1);
    record.record.version = 2;
    record.record.addr.port++;
    view_apply(view, &record, NOW_MS);
    assert_true(view_ring_generation(view) == before);
    record.record.version = 3;
    record.record.weight = 2;
    view_apply(view, &record, NOW_MS);
    assert_true(view_ring_generation(view) == before + 1);
    record.record.version = 4;
    record.record.draining = true;
    view_apply(view, &record, NOW_MS);
    assert_true(view_ring_generation(view) == before + 2);
    assert_true(view_set_flags(view, true, false, true));
    assert_false(view_set_flags(view, true, false, true));
    assert_true(view_ring_generation(view) == before + 3);
    assert_int_equal(view_self(view)->record->version, 2);
    apply(view, UPDATE_DEAD, "b", 9, 1);
    assert_true(view_ring_generation(view) == before + 4);
    view_free(view);
}

/* Any news in any order: counters never go back, sums stay the sum of what lives (M1, M3). */
static void test_view_counters_never_go_back_under_any_news(void **state)
{
    static const char *const names[] = {"b", "c", "d", "self"};
    struct view *view = make_view(4, 4);
    struct shuffle chance;
    struct rng rng;
    (void)state;
    rng_init(&rng, (const uint8_t[32]){7});
    shuffle_init(&chance, &rng);
    for (int round = 0; round < 20000; round++) {
        struct wire_update news = news_of((enum update_kind)(1 + shuffle_below(&chance, 4)),
                                          names[shuffle_below(&chance, 4)],
                                          3 + shuffle_below(&chance, 3), shuffle_below(&chance, 6));
        news.record.version = 1 + shuffle_below(&chance, 3);
        const struct mesh_member *member = view_find(view, news.record.id);
        uint32_t incarnation = member != NULL ? member->incarnation : 0;
        uint64_t version = member != NULL ? member->record->version : 0;
        view_apply(view, &news, NOW_MS + (uint64_t)round);
        member = view_find(view, news.record.id);
        if (member == NULL)
            continue;
        assert_true(member->incarnation >= incarnation);
        assert_true(member->record->version >= version);
        assert_true(view_living(view) <= 4 && view_count(view) <= 9);
        uint64_t sum = 0;
        size_t living = 0;
        for (size_t n = 0; n < view_count(view); n++)
            living += member_is_living(view_at(view, n));
        for (size_t n = 0; n < WIRE_BUCKETS; n++)
            sum += view_buckets(view)[n];
        assert_true(sum == view_hash(view) && living == view_living(view));
        assert_true(living > 0 || sum == 0);
    }
    view_free(view);
}

/* A record that its subject did not write, under a version that the subject wrote as well. */
static void test_view_a_forged_record_shows_in_the_hash_and_is_outdone(void **state)
{
    struct view *view = make_view(8, 8), *deceived = make_view(8, 8);
    struct wire_update own = news_of(UPDATE_ALIVE, "self", 5, 0);
    struct wire_update news = news_of(UPDATE_ALIVE, "b", 1, 0);
    (void)state;
    assert_int_equal(view_apply(view, &news, NOW_MS), VIEW_NEW);
    for (int field = 0; field < 4; field++) {
        struct wire_update lie = news;
        lie.record.addr.ip[15] = (uint8_t)(lie.record.addr.ip[15] + (field == 0));
        lie.record.weight = (uint8_t)(lie.record.weight + (field == 1));
        lie.record.serving = field != 2;
        memcpy(lie.record.zone, "east", field == 3 ? 5 : 0);
        view_free(deceived);
        deceived = make_view(8, 8);
        assert_int_equal(view_apply(deceived, &lie, NOW_MS), VIEW_NEW);
        assert_true(view_hash(view) != view_hash(deceived));
    }
    own.record = *view_self(view)->record;
    assert_int_equal(view_apply(view, &own, NOW_MS), VIEW_OLD);
    own.record.addr.port++;
    assert_int_equal(view_apply(view, &own, NOW_MS), VIEW_REFUTED);
    assert_true(view_self(view)->record->version == own.record.version + 1);
    own.record.version--; /* what is behind anyway needs no answer */
    assert_int_equal(view_apply(view, &own, NOW_MS), VIEW_OLD);
    view_free(deceived);
    view_free(view);
}

/* What one view says of a member, as another one hears it. */
static enum view_news tell(struct view *to, struct view *from, struct peer_id id)
{
    struct wire_update news;
    const struct mesh_member *member = view_find(from, id);
    assert_non_null(member);
    view_tell(member, &news);
    return view_apply(to, &news, NOW_MS);
}

/* The largest lie that each may believe: the subject outdoes it in steps that all others follow. */
static void lie_is_outdone(const struct wire_update *lie, bool knows_it)
{
    struct view *deceived = make_view(8, 8), *other = make_view(8, 8), *subject;
    struct view_config config = {.members_max = 8, .contacts_max = 8, .boot_ms = BOOT_MS};
    struct peer_id id = lie->record.id;
    config.self = news_of(UPDATE_ALIVE, "b", 5, 0).record;
    config.start_ms = NOW_MS;
    assert_int_equal(view_new(&subject, &config), 0);
    assert_int_equal(view_announce(subject, 5, NOW_MS), 0);
    if (knows_it)
        tell(deceived, subject, id);
    tell(other, subject, id);
    assert_int_equal(view_apply(deceived, lie, NOW_MS), VIEW_NEW);
    apply(deceived, UPDATE_DEAD, "b", 5, lie->incarnation);
    assert_int_equal(state_of(deceived, "b", 5), MEMBER_DEAD);
    for (int round = 0; round < 64 && state_of(deceived, "b", 5) != MEMBER_ALIVE; round++) {
        assert_int_equal(tell(subject, deceived, id), VIEW_REFUTED);
        assert_int_equal(tell(other, subject, id), VIEW_NEW);
        tell(deceived, subject, id);
    }
    assert_int_equal(state_of(deceived, "b", 5), MEMBER_ALIVE);
    assert_int_equal(state_of(other, "b", 5), MEMBER_ALIVE);
    view_free(deceived);
    view_free(other);
    view_free(subject);
}

static void test_view_the_largest_lie_about_a_member_evicts_it_from_nowhere(void **state)
{
    struct wire_update lie;
    (void)state;
    lie = news_of(UPDATE_SUSPECT, "b", 5, VIEW_JUMP_MAX);
    lie_is_outdone(&lie, true);
    lie = news_of(UPDATE_ALIVE, "b", 5, VIEW_JUMP_MAX);
    lie_is_outdone(&lie, true);
    lie = news_of(UPDATE_ALIVE, "b", 5, VIEW_FIRST_MAX);
    lie_is_outdone(&lie, false);
}

static void test_view_the_largest_lie_about_a_record_is_outdone(void **state)
{
    struct view *view = make_view(8, 8);
    struct wire_update lie = news_of(UPDATE_ALIVE, "self", 5, 0);
    (void)state;
    lie.record.version = VIEW_FIRST_MAX;
    for (int round = 0; round < 64 && view_self(view)->record->version <= VIEW_FIRST_MAX; round++) {
        uint64_t before = view_self(view)->record->version;
        assert_int_equal(view_apply(view, &lie, NOW_MS), VIEW_REFUTED);
        assert_true(view_self(view)->record->version > before);
        assert_true(view_self(view)->record->version - before < VIEW_JUMP_MAX);
    }
    assert_true(view_self(view)->record->version == VIEW_FIRST_MAX + 1);
    view_free(view);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_view_precedence_is_that_of_swim),
        cmocka_unit_test(test_view_incarnation_is_monotone_over_all_evidence),
        cmocka_unit_test(test_view_a_record_is_fixed_per_version),
        cmocka_unit_test(test_view_a_suspicion_may_bring_the_record_along),
        cmocka_unit_test(test_view_a_newer_generation_supersedes_for_good),
        cmocka_unit_test(test_view_we_are_superseded_by_a_newer_generation_of_our_name),
        cmocka_unit_test(test_view_of_twins_the_higher_nonce_stays),
        cmocka_unit_test(test_view_claims_about_us_are_outdone),
        cmocka_unit_test(test_view_impossible_news_is_refused),
        cmocka_unit_test(test_view_hash_is_the_same_in_any_order_and_covers_records),
        cmocka_unit_test(test_view_finds_the_living_and_the_remembered),
        cmocka_unit_test(test_view_a_death_of_somebody_never_met_is_remembered),
        cmocka_unit_test(test_view_keeps_its_caps_and_drops_the_oldest_contact),
        cmocka_unit_test(test_view_forgets_contacts_after_a_day_and_handles_with_them),
        cmocka_unit_test(test_view_ring_generation_counts_what_decides_the_ring),
        cmocka_unit_test(test_view_counters_never_go_back_under_any_news),
        cmocka_unit_test(test_view_the_largest_lie_about_a_member_evicts_it_from_nowhere),
        cmocka_unit_test(test_view_the_largest_lie_about_a_record_is_outdone),
        cmocka_unit_test(test_view_a_forged_record_shows_in_the_hash_and_is_outdone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
