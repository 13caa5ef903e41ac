/* test_hearsay.c - what one member tells of another is asked about before it is believed:
 * farewells, newer processes of a name, other addresses (mesh/member/swim_hearsay.c). */
#include "tests/unit/swim_world.h"

/* `liar` tells `hearer` of `about`, what view_tell() says of it, as changed by the caller. */
static struct wire_datagram *lie_begin(struct peer *about)
{
    static struct wire_datagram d;
    memset(&d, 0, sizeof d);
    d.kind = DATAGRAM_GOSSIP;
    d.updates_count = 1;
    view_tell(view_self(swim_view(about->swim)), &d.updates[0]);
    return &d;
}

static void lie_tell(struct world *w, struct peer *liar, struct peer *hearer,
                     struct wire_datagram *d)
{
    d->sender = id_of(liar);
    d->target_name_only.name = id_of(hearer).name;
    d->target_nonce = hearer->nonce;
    swim_on_datagram(hearer->swim, &liar->addr, d, liar->nonce, w->now_ms);
    drain(w, hearer);
}

static struct swim_stats stats_of(const struct peer *peer)
{
    struct swim_stats stats;
    swim_stats(peer->swim, &stats);
    return stats;
}

static void test_a_farewell_told_by_another_is_not_believed_of_one_that_answers(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 1);
    world_make(&w, 4);
    struct peer *b = &w.peers[1], *c = &w.peers[2];
    struct wire_datagram *d = lie_begin(b);
    d->updates[0].kind = UPDATE_LEFT;
    for (unsigned n = 0; n < 20; n++) {
        lie_tell(&w, &w.peers[0], c, d);
        assert_int_equal(state_of(c, id_of(b)), MEMBER_ALIVE);
        world_run(&w, 20);
    }
    world_run(&w, 3000);
    assert_int_equal(state_of(c, id_of(b)), MEMBER_ALIVE);
    assert_int_equal(view_self(swim_view(b->swim))->incarnation, 0); /* nothing to refute */
    assert_in_range(stats_of(c).hearsay_denied, 1, 2); /* who repeats it has nobody asked again */
    assert_int_equal(deaths_seen(&w), 0);
    assert_true(world_agrees(&w));
    world_deinit(&w);
}

static void test_who_leaves_says_so_to_whom_others_told_it(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 2);
    world_make(&w, 4);
    struct peer *b = &w.peers[1], *c = &w.peers[2];
    struct wire_datagram *d = lie_begin(b);
    w.cut[0] = b; /* so that c does not hear it at once */
    w.cut[1] = c;
    swim_leave(b->swim, w.now_ms);
    drain(&w, b);
    w.cut[0] = w.cut[1] = NULL;
    d->updates[0].kind = UPDATE_LEFT;
    lie_tell(&w, &w.peers[0], c, d);
    assert_int_equal(state_of(c, id_of(b)), MEMBER_ALIVE);
    world_run(&w, 15);
    assert_int_equal(state_of(c, id_of(b)), MEMBER_LEFT);
    world_deinit(&w);
}

static void test_a_farewell_of_one_that_is_silent_is_believed(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 3);
    world_make(&w, 4);
    struct peer *b = &w.peers[1], *c = &w.peers[2];
    struct peer_id id = id_of(b);
    struct wire_datagram *d = lie_begin(b);
    d->updates[0].kind = UPDATE_LEFT;
    world_crash(&w, b);
    lie_tell(&w, &w.peers[0], c, d);
    lie_tell(&w, &w.peers[0], c, d);
    world_run(&w, 170);
    assert_true(state_of(c, id) != MEMBER_LEFT);
    world_run(&w, 400);
    assert_int_equal(state_of(c, id), MEMBER_LEFT);
    world_deinit(&w);
}

static void test_a_farewell_that_two_tell_of_one_that_is_silent_is_believed_at_once(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 3);
    world_make(&w, 4);
    struct peer *b = &w.peers[1], *c = &w.peers[2];
    struct peer_id id = id_of(b);
    struct wire_datagram *d = lie_begin(b);
    d->updates[0].kind = UPDATE_LEFT;
    world_crash(&w, b);
    lie_tell(&w, &w.peers[0], c, d);
    assert_true(state_of(c, id) != MEMBER_LEFT);
    lie_tell(&w, &w.peers[3], c, d);
    assert_int_equal(state_of(c, id), MEMBER_LEFT);
    world_deinit(&w);
}

/* A newer process that never was: of b, told to c, and to b itself. */
static void test_a_newer_process_that_does_not_answer_replaces_nobody(void **state)
{
    static const enum update_kind kinds[] = {UPDATE_ALIVE, UPDATE_SUSPECT, UPDATE_DEAD,
                                             UPDATE_LEFT};
    (void)state;
    for (unsigned n = 0; n < 2 * sizeof kinds / sizeof kinds[0]; n++) {
        struct world w;
        world_init(&w, 4);
        world_make(&w, 4);
        struct peer *b = &w.peers[1], *c = &w.peers[2];
        struct wire_datagram *d = lie_begin(b);
        d->updates[0].kind = kinds[n / 2];
        if (n % 2 == 0)
            d->updates[0].record.id.generation += 1000;
        d->updates[0].record.nonce += 77;
        d->updates[0].record.addr = addr_of(30); /* where nobody is */
        if (n % 2 == 1 && kinds[n / 2] == UPDATE_DEAD)
            d->updates[0].record.id.generation += 1; /* of whom nothing but its end is told */
        if (n % 2 == 1 && kinds[n / 2] == UPDATE_DEAD)
            d->updates[0].record.name[0] = '\0';
        if (n % 2 == 1 && kinds[n / 2] == UPDATE_LEFT)
            d->updates[0].record.id.generation += 5;
        lie_tell(&w, &w.peers[0], c, d);
        lie_tell(&w, &w.peers[0], b, d);
        world_run(&w, 3000);
        assert_int_equal(b->superseded, 0);
        assert_true(swim_is_joined(b->swim));
        assert_int_equal(state_of(c, id_of(b)), MEMBER_ALIVE);
        assert_int_equal(deaths_seen(&w), 0);
        assert_true(world_agrees(&w));
        world_deinit(&w);
    }
}

static void test_a_newer_process_that_answers_replaces_the_older_at_once(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 5);
    world_make(&w, 4);
    struct peer *b = &w.peers[1], *c = &w.peers[2];
    struct peer_id id = id_of(b);
    world_crash(&w, b);
    struct peer *newer = world_start(&w, "b", 9, 0, false); /* alone, so nobody hears of it */
    world_run(&w, 5);
    struct wire_datagram *d = lie_begin(newer);
    lie_tell(&w, &w.peers[0], c, d);
    assert_int_equal(state_of(c, id), MEMBER_ALIVE);
    world_run(&w, 15);
    assert_int_equal(state_of(c, id), MEMBER_DEAD);
    assert_int_equal(state_of(c, id_of(newer)), MEMBER_ALIVE);
    world_deinit(&w);
}

static void test_we_go_when_a_newer_process_of_our_name_answers_us(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 6);
    world_make(&w, 4);
    struct peer *b = &w.peers[1];
    struct peer *newer = world_start(&w, "b", 9, 1000, false);
    world_run(&w, 5);
    struct wire_datagram *d = lie_begin(newer);
    lie_tell(&w, &w.peers[0], b, d);
    assert_int_equal(b->superseded, 0);
    world_run(&w, 20);
    assert_int_equal(b->superseded, 1);
    world_deinit(&w);
}

/* c alone learned of a newer process that is gone since: the older one lives, and is a member for
 * all again, for c, too. What c knows of the newer one still counts when that speaks. */
static void test_who_outlived_a_newer_process_of_its_name_comes_back(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 7);
    world_make(&w, 4);
    struct peer *b = &w.peers[1], *c = &w.peers[2];
    struct wire_datagram *d = lie_begin(b);
    d->updates[0].record.id.generation += 1000;
    d->updates[0].record.nonce += 77;
    d->updates[0].record.addr = addr_of(30);
    struct peer_id newer = d->updates[0].record.id;
    b->is_stopped = true; /* it sleeps: nothing answers */
    lie_tell(&w, &w.peers[0], c, d);
    world_run(&w, 600);
    assert_int_equal(state_of(c, id_of(b)), MEMBER_DEAD);
    assert_int_equal(state_of(c, newer), MEMBER_ALIVE);
    b->is_stopped = false;
    assert_true(world_agrees_after(&w, 30000) != MESH_NEVER);
    assert_int_equal(b->superseded, 0);
    assert_int_equal(state_of(c, id_of(b)), MEMBER_ALIVE);
    assert_true(state_of(c, newer) != MEMBER_ALIVE);
    world_deinit(&w);
}

/* It had met one of its name that is gone, and nobody else had. */
static void test_a_process_in_the_place_of_a_newer_one_of_its_name_outlived_it(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 5);
    world_make(&w, 4);
    struct peer *b = &w.peers[1], *c = &w.peers[2];
    struct wire_update gone;
    view_tell(view_self(swim_view(b->swim)), &gone);
    gone.record.id.generation += 1000;
    gone.record.nonce += 77;
    assert_int_equal(view_apply(swim_view(c->swim), &gone, w.now_ms), VIEW_NEW);
    assert_int_equal(state_of(c, gone.record.id), MEMBER_ALIVE);
    world_run(&w, 9000); /* a suspicion without other votes takes 18 s */
    assert_int_equal(state_of(c, gone.record.id), MEMBER_DEAD);
    assert_int_equal(state_of(c, id_of(b)), MEMBER_ALIVE);
    assert_true(world_agrees(&w));
    world_deinit(&w);
}

static void test_nobody_is_looked_for_where_only_others_say_it_is(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 8);
    world_make(&w, 4);
    struct peer *b = &w.peers[1], *c = &w.peers[2];
    struct wire_datagram *d = lie_begin(b);
    d->updates[0].record.version++;
    d->updates[0].record.addr = w.peers[3].addr;
    lie_tell(&w, &w.peers[0], c, d);
    world_run(&w, 2000);
    const struct mesh_member *row = view_find(swim_view(c->swim), id_of(b));
    assert_true(mesh_addr_equal(&row->record->addr, &b->addr));
    assert_int_equal(row->record->version, 1);
    assert_true(world_agrees(&w));
    world_deinit(&w);
}

/* Of two records under one version, one is forged: which one, its subject knows. */
static void test_a_forged_record_of_the_version_that_is_known_is_outdone(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 9);
    world_make(&w, 4);
    struct peer *b = &w.peers[1], *c = &w.peers[2];
    struct wire_datagram *d = lie_begin(b);
    d->updates[0].record.version++;
    d->updates[0].record.serving = false;
    lie_tell(&w, &w.peers[0], c, d); /* c believes it: only b says whether it serves */
    assert_false(view_find(swim_view(c->swim), id_of(b))->record->serving);
    swim_set_flags(b->swim, true, true, w.now_ms); /* and this is version 2, too */
    drain(&w, b);
    world_run(&w, 2000);
    const struct mesh_member *row = view_find(swim_view(c->swim), id_of(b));
    assert_true(row->record->serving);
    assert_true(row->record->draining);
    assert_true(world_agrees(&w));
    world_deinit(&w);
}

/* Others say of c that it found b dead. It did not. */
static void test_what_others_say_that_we_found_is_not_our_finding(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 10);
    world_make(&w, 4);
    struct peer *b = &w.peers[1], *c = &w.peers[2];
    struct wire_datagram *d = lie_begin(b);
    d->updates[0].kind = UPDATE_DEAD;
    d->updates[0].record.name[0] = '\0';
    d->updates[0].accuser = id_of(c);
    lie_tell(&w, &w.peers[0], c, d);
    assert_int_equal(state_of(c, id_of(b)), MEMBER_SUSPECT);
    world_run(&w, 5000);
    assert_int_equal(state_of(c, id_of(b)), MEMBER_ALIVE);
    assert_int_equal(deaths_seen(&w), 0);
    world_deinit(&w);
}

/* Of more than there is room to ask about nobody is believed unasked. */
static void test_many_lies_at_once_are_not_believed(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 11);
    world_make(&w, 4);
    struct peer *b = &w.peers[1], *c = &w.peers[2];
    size_t before = swim_bytes(c->swim);
    for (unsigned n = 1; n <= 400; n++) {
        struct wire_datagram *d = lie_begin(b);
        d->updates[0].record.id.generation += n;
        d->updates[0].record.nonce += n;
        d->updates[0].record.addr = addr_of(30);
        lie_tell(&w, &w.peers[0], c, d);
    }
    assert_int_equal(stats_of(c).hearsay_asked, 128);
    assert_true(swim_bytes(c->swim) > before + 128 * sizeof(struct wire_update));
    world_run(&w, 1000);
    assert_int_equal(state_of(c, id_of(b)), MEMBER_ALIVE);
    assert_true(swim_bytes(c->swim) < before + 64 * sizeof(struct wire_update));
    assert_true(world_agrees(&w));
    world_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_farewell_told_by_another_is_not_believed_of_one_that_answers),
        cmocka_unit_test(test_who_leaves_says_so_to_whom_others_told_it),
        cmocka_unit_test(test_a_farewell_of_one_that_is_silent_is_believed),
        cmocka_unit_test(test_a_farewell_that_two_tell_of_one_that_is_silent_is_believed_at_once),
        cmocka_unit_test(test_a_newer_process_that_does_not_answer_replaces_nobody),
        cmocka_unit_test(test_a_newer_process_that_answers_replaces_the_older_at_once),
        cmocka_unit_test(test_we_go_when_a_newer_process_of_our_name_answers_us),
        cmocka_unit_test(test_who_outlived_a_newer_process_of_its_name_comes_back),
        cmocka_unit_test(test_a_process_in_the_place_of_a_newer_one_of_its_name_outlived_it),
        cmocka_unit_test(test_nobody_is_looked_for_where_only_others_say_it_is),
        cmocka_unit_test(test_a_forged_record_of_the_version_that_is_known_is_outdone),
        cmocka_unit_test(test_what_others_say_that_we_found_is_not_our_finding),
        cmocka_unit_test(test_many_lies_at_once_are_not_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
