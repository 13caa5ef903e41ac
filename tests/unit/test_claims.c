/* test_claims.c - claims: hints about who carries on what a gone peer left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "mesh/member/claims.h"

#define BOOT_MS UINT64_C(1700000000000)
#define NOW_MS 1000u

static const uint8_t sip_key[16] = {1, 2, 3};

struct fixture {
    struct view *view;
    struct claims *claims;
};

static struct wire_update news_of(enum update_kind kind, const char *name)
{
    struct wire_update news = {.kind = kind};
    strcpy(news.record.name, name);
    news.record.id = (struct peer_id){view_name_hash(name), BOOT_MS};
    news.record.nonce = 7;
    news.record.version = 1;
    news.record.addr = (struct mesh_addr){.ip = {[15] = (uint8_t)name[0]}, .port = 7946};
    news.record.weight = 1;
    news.incarnation = 1;
    return news;
}

static void apply(struct fixture *f, enum update_kind kind, const char *name)
{
    struct wire_update news = news_of(kind, name);
    assert_int_equal(view_apply(f->view, &news, NOW_MS), VIEW_NEW);
}

static struct peer_id id_of(const char *name)
{
    return news_of(UPDATE_ALIVE, name).record.id;
}

/* Ourselves, b and c living, and the gone `dead`. */
static int setup(void **state)
{
    static struct fixture f;
    struct view_config config = {
        .members_max = 16, .contacts_max = 16, .boot_ms = BOOT_MS, .start_ms = NOW_MS};
    config.self = news_of(UPDATE_ALIVE, "self").record;
    assert_int_equal(view_new(&f.view, &config), 0);
    assert_int_equal(view_announce(f.view, BOOT_MS, NOW_MS), 0);
    assert_int_equal(claims_new(&f.claims, sip_key), 0);
    apply(&f, UPDATE_ALIVE, "b");
    apply(&f, UPDATE_ALIVE, "c");
    apply(&f, UPDATE_ALIVE, "dead");
    apply(&f, UPDATE_DEAD, "dead");
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    claims_free(f->claims);
    view_free(f->view);
    return 0;
}

static struct claim claim_of(const char *home, unsigned m, const char *owner, uint32_t beat)
{
    return (struct claim){claim_shard(view_home_tag(id_of(home)), m), id_of(owner), beat};
}

static bool take(struct fixture *f, struct claim claim, uint64_t now_ms)
{
    return claims_take(f->claims, f->view, &claim, now_ms);
}

static void assert_claimed(struct fixture *f, unsigned m, const char *owner, uint64_t now_ms)
{
    struct peer_id found = {0, 0};
    bool is_found =
        claims_find(f->claims, f->view, claim_of("dead", m, "b", 1).shard, &found, now_ms);
    assert_int_equal(is_found, owner != NULL);
    if (owner != NULL)
        assert_true(peer_id_equal(found, id_of(owner)));
}

static bool tell(struct fixture *f, uint32_t budget, struct claim *told)
{
    bool is_told = claims_first(f->claims, told);
    claims_told(f->claims, budget);
    return is_told;
}

static void test_a_claim_is_found_and_passed_on_once(void **state)
{
    struct fixture *f = *state;
    struct claim told;
    assert_true(take(f, claim_of("dead", 3, "b", 1), NOW_MS));
    assert_false(take(f, claim_of("dead", 3, "b", 1), NOW_MS));
    assert_claimed(f, 3, "b", NOW_MS);
    assert_claimed(f, 2, NULL, NOW_MS);
    assert_true(tell(f, 2, &told));
    assert_true(tell(f, 2, &told));
    assert_false(tell(f, 2, &told));
    assert_int_equal(told.shard, claim_of("dead", 3, "b", 1).shard);
}

static void test_a_claim_for_what_lives_or_of_who_does_not_is_refused(void **state)
{
    struct fixture *f = *state;
    assert_false(take(f, claim_of("c", 0, "b", 1), NOW_MS));
    assert_false(take(f, claim_of("self", 0, "b", 1), NOW_MS));
    assert_false(take(f, claim_of("dead", 0, "dead", 1), NOW_MS));
    assert_false(take(f, claim_of("dead", 0, "nobody", 1), NOW_MS));
    assert_false(take(f, claim_of("dead", 0, "b", 0), NOW_MS));
    assert_false(take(f, (struct claim){UINT64_C(1) << 51, id_of("b"), 1}, NOW_MS));
    assert_true(take(f, claim_of("never-met", 0, "b", 1), NOW_MS));
    assert_int_equal(claims_count(f->claims), 1);
}

static void test_it_is_not_followed_to_a_claimant_that_died_and_gives_way_then(void **state)
{
    struct fixture *f = *state;
    bool b_is_higher = peer_id_compare(id_of("b"), id_of("c")) > 0;
    const char *higher = b_is_higher ? "b" : "c", *lower = b_is_higher ? "c" : "b";
    assert_true(take(f, claim_of("dead", 0, higher, 5), NOW_MS));
    assert_false(take(f, claim_of("dead", 0, lower, 9), NOW_MS));
    apply(f, UPDATE_DEAD, higher);
    assert_claimed(f, 0, NULL, NOW_MS);
    assert_true(take(f, claim_of("dead", 0, lower, 1), NOW_MS));
    assert_claimed(f, 0, lower, NOW_MS);
}

static void
test_of_two_living_claimants_the_higher_id_stays_in_whatever_order_they_come(void **state)
{
    struct fixture *f = *state;
    const char *higher = peer_id_compare(id_of("b"), id_of("c")) > 0 ? "b" : "c";
    for (unsigned m = 0; m < 2; m++) {
        (void)take(f, claim_of("dead", m, m == 0 ? "b" : "c", 1), NOW_MS);
        (void)take(f, claim_of("dead", m, m == 0 ? "c" : "b", 1), NOW_MS);
        assert_claimed(f, m, higher, NOW_MS);
    }
}

static void test_an_echo_is_no_refresh_and_two_missed_ones_are_the_end(void **state)
{
    struct fixture *f = *state;
    uint64_t ends_ms = NOW_MS + CLAIM_REFRESH_MS + CLAIM_EXPIRES_MS;
    assert_true(take(f, claim_of("dead", 1, "b", 1), NOW_MS));
    assert_false(take(f, claim_of("dead", 1, "b", 1), NOW_MS + CLAIM_REFRESH_MS - 1));
    assert_true(take(f, claim_of("dead", 1, "b", 2), NOW_MS + CLAIM_REFRESH_MS));
    assert_int_equal(claims_deadline_ms(f->claims), ends_ms);
    claims_now(f->claims, ends_ms - 1);
    assert_claimed(f, 1, "b", ends_ms - 1);
    assert_claimed(f, 1, NULL, ends_ms);
    assert_int_equal(claims_count(f->claims), 1);
    claims_now(f->claims, ends_ms);
    assert_int_equal(claims_count(f->claims), 0);
    assert_int_equal(claims_waiting(f->claims), 0);
}

static void test_ours_is_told_anew_each_minute_until_we_drop_it(void **state)
{
    struct fixture *f = *state;
    struct claim told;
    uint64_t shard = claim_of("dead", 4, "self", 1).shard;
    assert_int_equal(claims_make(f->claims, f->view, shard, NOW_MS), 0);
    assert_int_equal(claims_make(f->claims, f->view, shard, NOW_MS), -EEXIST);
    while (tell(f, 3, &told))
        assert_int_equal(told.beat, 1);
    assert_int_equal(claims_deadline_ms(f->claims), NOW_MS + CLAIM_REFRESH_MS);
    claims_now(f->claims, NOW_MS + CLAIM_REFRESH_MS);
    assert_true(tell(f, 3, &told));
    assert_int_equal(told.beat, 2);
    assert_false(take(f, claim_of("dead", 4, "b", 1), NOW_MS)); /* ours is not taken from us */
    assert_claimed(f, 4, "self", NOW_MS);
    claims_drop(f->claims, shard);
    assert_int_equal(claims_count(f->claims), 0);
    assert_int_equal(claims_deadline_ms(f->claims), MESH_NEVER);
}

static void test_an_echo_above_our_own_beat_is_overtaken(void **state)
{
    struct fixture *f = *state;
    struct claim told;
    struct claim forged = claim_of("dead", 4, "self", 500);
    assert_int_equal(claims_make(f->claims, f->view, forged.shard, NOW_MS), 0);
    assert_false(take(f, forged, NOW_MS));
    assert_true(tell(f, 3, &told));
    assert_int_equal(told.beat, 501);
    forged.beat = UINT32_MAX;
    assert_false(take(f, forged, NOW_MS));
    assert_true(tell(f, 3, &told));
    assert_int_equal(told.beat, 501);
    assert_false(take(f, claim_of("dead", 5, "self", 1), NOW_MS)); /* not made: not believed */
    assert_claimed(f, 5, NULL, NOW_MS);
}

static void test_at_the_cap_the_one_told_longest_ago_gives_way_but_never_ours(void **state)
{
    struct fixture *f = *state;
    struct peer_id owner;
    struct claim claim = claim_of("dead", 0, "b", 1);
    uint64_t own = claim_of("dead", 7, "self", 1).shard;
    assert_int_equal(claims_make(f->claims, f->view, own, NOW_MS), 0);
    for (uint64_t n = 0; n < CLAIMS_MAX + 100; n++) {
        claim.shard = n;
        assert_true(take(f, claim, NOW_MS + n));
    }
    assert_int_equal(claims_count(f->claims), CLAIMS_MAX);
    for (uint64_t n = 0; n < 101; n++)
        assert_false(claims_find(f->claims, f->view, n, &owner, NOW_MS + 101));
    assert_true(claims_find(f->claims, f->view, 101, &owner, NOW_MS + 101));
    assert_claimed(f, 7, "self", NOW_MS);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_claim_is_found_and_passed_on_once),
        TEST(test_a_claim_for_what_lives_or_of_who_does_not_is_refused),
        TEST(test_it_is_not_followed_to_a_claimant_that_died_and_gives_way_then),
        TEST(test_of_two_living_claimants_the_higher_id_stays_in_whatever_order_they_come),
        TEST(test_an_echo_is_no_refresh_and_two_missed_ones_are_the_end),
        TEST(test_ours_is_told_anew_each_minute_until_we_drop_it),
        TEST(test_an_echo_above_our_own_beat_is_overtaken),
        TEST(test_at_the_cap_the_one_told_longest_ago_gives_way_but_never_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
