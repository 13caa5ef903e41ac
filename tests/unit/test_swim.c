/* test_swim.c - membership as stories. */
#include "tests/unit/swim_world.h"

/* ---- joining -------------------------------------------------------------------------------- */

static void test_swim_a_peer_without_contacts_is_a_member_at_once(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 1);
    struct peer *a = world_start(&w, "a", 0, 0, false);
    assert_true(swim_is_joined(a->swim));
    assert_true(swim_may_mint(a->swim, w.now_ms));
    assert_true(id_of(a).generation == WALL_MS + w.now_ms);
    assert_int_equal(a->joined, 1);
    world_deinit(&w);
}

static void test_swim_a_peer_that_is_its_own_only_contact_is_a_member_at_once(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 1);
    struct peer *a = world_join(&w, "a", 0, 0);
    world_run(&w, 1);
    assert_true(swim_is_joined(a->swim));
    assert_int_equal(w.packets_sent, 0);
    world_deinit(&w);
}

static void test_swim_silent_contacts_hold_a_first_peer_up_for_two_seconds(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 1);
    struct peer *a = world_join(&w, "a", 0, 7);
    world_run(&w, 1900);
    assert_false(swim_is_announced(a->swim));
    world_run(&w, 200);
    assert_true(swim_is_joined(a->swim));
    /* and goes on asking: */
    world_start(&w, "h", 7, 0, false);
    assert_true(world_agrees_after(&w, 1500) != MESH_NEVER);
    world_deinit(&w);
}

static void test_swim_five_join_by_one_seed_and_agree(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 1);
    world_start(&w, "a", 0, 0, false);
    for (unsigned n = 1; n < 5; n++)
        world_join(&w, (char[]){(char)('a' + n), 0}, n, 0);
    assert_true(world_agrees_after(&w, 3000) <= 2000);
    uint64_t hash = view_hash(swim_view(w.peers[0].swim));
    for (unsigned n = 0; n < 5; n++) {
        assert_true(view_hash(swim_view(w.peers[n].swim)) == hash);
        assert_int_equal(w.peers[n].joined, 1);
    }
    world_run(&w, 60000);
    assert_true(world_agrees(&w));
    assert_int_equal(deaths_seen(&w), 0);
    world_deinit(&w);
}

static void test_swim_all_starting_at_once_find_each_other(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 2);
    for (unsigned n = 0; n < 5; n++) {
        struct peer *peer = world_start(&w, (char[]){(char)('a' + n), 0}, n, 0, true);
        for (unsigned i = 0; i < 5; i++) {
            struct mesh_addr contact = addr_of(i);
            swim_join(peer->swim, &contact, w.now_ms);
        }
        drain(&w, peer);
    }
    assert_true(world_agrees_after(&w, 8000) <= 6000);
    world_deinit(&w);
}

static void test_swim_a_newcomer_mints_once_others_show_its_view(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 3);
    world_make(&w, 6);
    struct peer *late = world_join(&w, "z", 9, 0);
    assert_false(swim_may_mint(late->swim, w.now_ms));
    while (!swim_is_joined(late->swim))
        world_run(&w, 1);
    assert_false(swim_may_mint(late->swim, w.now_ms));
    world_run(&w, 2000);
    assert_true(swim_may_mint(late->swim, w.now_ms));
    world_deinit(&w);
}

/* With seal, UDP and IPv4 around what it says, in bytes a second from each (T9). */
static uint64_t idle_rate(struct world *w, unsigned count)
{
    world_run(w, 30000);
    uint64_t packets = w->packets_sent, bytes = w->bytes_sent;
    world_run(w, 100000);
    packets = w->packets_sent - packets;
    bytes = w->bytes_sent - bytes;
    return (bytes + packets * (WIRE_SEAL_BYTES + 28)) / count / 100;
}

/* Twelve, of which the last asks the first, half of all datagrams being lost, and no link to it
 * comes about for as long. Returns after how long all the others knew it. */
static uint64_t join_without_links(struct world *w, uint8_t seed)
{
    world_init(w, seed);
    world_make(w, 11);
    w->loss = 50;
    struct peer *late = world_join(w, "late", 20, 0);
    late->has_no_links = true;
    for (uint64_t ms = 0; ms < 20000; ms += 50) {
        size_t know = 0;
        for (size_t n = 0; n < 11 && swim_is_announced(late->swim); n++)
            know += state_of(&w->peers[n], id_of(late)) != MEMBER_UNKNOWN;
        if (know == 11)
            return ms;
        world_run(w, 50);
    }
    return MESH_NEVER;
}

static void test_swim_a_newcomer_is_known_before_a_link_brings_it_the_views(void **state)
{
    (void)state;
    for (uint8_t seed = 40; seed < 60; seed++) {
        struct world w;
        assert_true(join_without_links(&w, seed) <= 5000); /* up to 3 s until it is welcomed */
        struct peer *late = &w.peers[11];
        world_run(&w, 4000);
        assert_true(view_others(swim_view(late->swim)) > 0);
        late->has_no_links = false;
        w.loss = 0;
        assert_true(world_agrees_after(&w, 8000) != MESH_NEVER);
        for (size_t n = 0; n < w.count; n++)
            assert_int_equal(w.peers[n].deaths, 0);
        world_deinit(&w);
    }
}

/* What a stranger says of itself counts if nobody else can have said it, and only that. */
static void test_swim_an_introduction_is_of_its_sender_from_its_own_address(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 13);
    world_make(&w, 3);
    struct peer *b = &w.peers[1];
    struct mesh_addr from = addr_of(50), elsewhere = addr_of(51);
    static struct wire_datagram d;
    memset(&d, 0, sizeof d);
    d.kind = DATAGRAM_HELLO;
    d.sender = (struct peer_id){view_name_hash("new"), WALL_MS};
    d.target_name_only.name = id_of(b).name;
    d.target_nonce = b->nonce;
    d.updates_count = 2;
    d.updates[0].kind = UPDATE_ALIVE;
    d.updates[0].record = (struct mesh_record){.id = d.sender, .name = "new", .nonce = 4712};
    d.updates[0].record.addr = from;
    d.updates[0].record.version = d.updates[0].record.weight = 1;
    d.updates[1] = d.updates[0];
    strcpy(d.updates[1].record.name, "other");
    d.updates[1].record.id.name = view_name_hash("other");
    swim_on_datagram(b->swim, &from, &d, 4713, w.now_ms); /* sealed by somebody else */
    assert_int_equal(state_of(b, d.sender), MEMBER_UNKNOWN);
    swim_on_datagram(b->swim, &elsewhere, &d, 4712, w.now_ms);
    assert_int_equal(state_of(b, d.sender), MEMBER_UNKNOWN);
    d.target_nonce = b->nonce + 1; /* said to another process */
    swim_on_datagram(b->swim, &from, &d, 4712, w.now_ms);
    assert_int_equal(state_of(b, d.sender), MEMBER_UNKNOWN);
    d.target_nonce = 0;
    swim_on_datagram(b->swim, &from, &d, 4712, w.now_ms);
    assert_int_equal(state_of(b, d.sender), MEMBER_UNKNOWN);
    d.target_nonce = b->nonce;
    swim_on_datagram(b->swim, &from, &d, 4712, w.now_ms);
    assert_int_equal(state_of(b, d.sender), MEMBER_ALIVE);
    world_deinit(&w);
}

static void test_swim_an_idle_mesh_sends_pings_only(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 3);
    world_make(&w, 8);
    world_run(&w, 30000);
    uint64_t before = w.packets_sent;
    world_run(&w, 100000);
    /* a ping a second from each as monitor, one in ten by chance, and their acks */
    assert_in_range(w.packets_sent - before, 8 * 2 * 108, 8 * 2 * 112);
    world_deinit(&w);
}

static void test_swim_an_idle_peer_sends_less_than_259_bytes_a_second(void **state)
{
    struct world w;
    (void)state;
    for (unsigned count = 2; count <= 22; count += 10) {
        world_init(&w, 3);
        world_make(&w, count);
        assert_in_range(idle_rate(&w, count), 200, 258);
        world_deinit(&w);
    }
}

/* ---- deaths --------------------------------------------------------------------------------- */

static void test_swim_a_crash_is_suspected_then_agreed_upon(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 1);
    world_make(&w, 5);
    struct peer_id dead = id_of(&w.peers[3]);
    world_crash(&w, &w.peers[3]);
    world_run(&w, 1900); /* the least suspicion alone takes 2 s */
    for (unsigned n = 0; n < 5; n++)
        assert_true(n == 3 || state_of(&w.peers[n], dead) != MEMBER_DEAD);
    assert_true(world_agrees_after(&w, 15000) <= 13000);
    for (unsigned n = 0; n < 5; n++) {
        if (n == 3)
            continue;
        assert_int_equal(state_of(&w.peers[n], dead), MEMBER_DEAD);
        assert_int_equal(w.peers[n].deaths, 1);
    }
    world_deinit(&w);
}

static void test_swim_one_of_two_notices_the_death_of_the_other(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 1);
    world_make(&w, 2);
    assert_true(world_agrees(&w));
    world_run(&w, 60000);
    assert_int_equal(deaths_seen(&w), 0);
    struct peer_id dead = id_of(&w.peers[1]);
    world_crash(&w, &w.peers[1]);
    world_run(&w, 6000);
    assert_int_equal(state_of(&w.peers[0], dead), MEMBER_DEAD);
    world_deinit(&w);
}

static void test_swim_a_suspect_refutes_with_a_higher_incarnation(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 1);
    world_make(&w, 5);
    struct peer_id id = id_of(&w.peers[2]);
    w.peers[2].group = 1;
    bool suspected = false;
    while (!suspected) {
        world_run(&w, 10);
        for (unsigned n = 0; n < 5; n++)
            suspected = suspected || state_of(&w.peers[n], id) == MEMBER_SUSPECT;
    }
    w.peers[2].group = 0;
    assert_true(world_agrees_after(&w, 8000) != MESH_NEVER);
    assert_int_equal(deaths_seen(&w), 0);
    assert_in_range(view_self(swim_view(w.peers[2].swim))->incarnation, 1, 3);
    for (unsigned n = 0; n < 5; n++)
        assert_true(view_find(swim_view(w.peers[n].swim), id)->incarnation >= 1);
    world_deinit(&w);
}

static void test_swim_a_late_loop_blames_nobody(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 1);
    world_make(&w, 4);
    /* The others stand still with it, as in a suspended machine: else they were right to blame. */
    for (int round = 0; round < 5; round++) {
        w.now_ms += 30000;
        world_run(&w, 3000);
    }
    struct swim_stats stats;
    for (unsigned n = 0; n < 4; n++) {
        swim_stats(w.peers[n].swim, &stats);
        assert_int_equal(stats.suspected, 0);
        assert_true(stats.lags >= 5);
    }
    world_deinit(&w);
}

static void test_swim_a_member_behind_anothers_address_is_suspected_but_never_dead(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 4);
    world_make(&w, 5);
    w.shared_from = addr_of(2);
    w.shared_to = addr_of(4);
    world_run(&w, 120000); /* what a sends to c reaches e */
    w.shared_from = (struct mesh_addr){0};
    struct swim_stats stats, all = {0};
    for (unsigned n = 0; n < 5; n++) {
        swim_stats(w.peers[n].swim, &stats);
        all.suspected += stats.suspected;
        all.stale += stats.stale;
    }
    assert_true(all.stale > 0);
    assert_true(all.suspected > 0);
    assert_int_equal(deaths_seen(&w), 0);
    assert_true(world_agrees_after(&w, 5000) != MESH_NEVER);
    world_deinit(&w);
}

static void test_swim_others_ping_for_two_that_are_cut_from_each_other(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 4);
    world_make(&w, 5);
    w.cut[0] = &w.peers[1];
    w.cut[1] = &w.peers[2];
    world_run(&w, 60000);
    struct swim_stats stats;
    for (unsigned n = 0; n < 5; n++) {
        swim_stats(w.peers[n].swim, &stats);
        assert_int_equal(stats.suspected, 0);
    }
    world_deinit(&w);
}

static void test_swim_a_suspect_is_told_so_by_who_pings_it(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 4);
    world_make(&w, 2);
    struct peer *a = &w.peers[0], *b = &w.peers[1];
    struct wire_update news = {.kind = UPDATE_SUSPECT, .record.id = id_of(b)};
    struct swim_send send;
    assert_int_equal(view_apply(swim_view(a->swim), &news, w.now_ms), VIEW_NEW);
    while (!swim_next_send(a->swim, &send) || send.kind != DATAGRAM_PING) {
        w.now_ms = swim_deadline_ms(a->swim);
        swim_now(a->swim, w.now_ms);
    }
    assert_true(peer_id_equal(send.tell, id_of(b)));
    world_deinit(&w);
}

static void test_swim_an_answer_is_filled_with_gossip_for_the_recorded_address_only(void **state)
{
    static struct wire_datagram d;
    struct world w;
    (void)state;
    world_init(&w, 4);
    world_make(&w, 2);
    struct peer *a = &w.peers[0], *b = &w.peers[1];
    struct mesh_addr elsewhere = addr_of(60);
    struct swim_send send;
    memset(&d, 0, sizeof d);
    d.kind = DATAGRAM_PING;
    d.sender = id_of(a);
    d.target_name_only.name = id_of(b).name;
    d.target_nonce = b->nonce;
    swim_on_datagram(b->swim, &a->addr, &d, a->nonce, w.now_ms);
    assert_true(swim_next_send(b->swim, &send));
    assert_true(send.is_full && mesh_addr_equal(&send.addr, &a->addr));
    swim_on_datagram(b->swim, &elsewhere, &d, a->nonce, w.now_ms);
    assert_true(swim_next_send(b->swim, &send));
    assert_true(!send.is_full && mesh_addr_equal(&send.addr, &elsewhere));
    world_deinit(&w);
}

static void test_swim_seventeen_join_and_stay_at_ten_per_cent_loss(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 5);
    w.loss = 10;
    world_start(&w, "a", 0, 0, false);
    for (unsigned n = 1; n <= 17; n++) {
        world_join(&w, (char[]){(char)('a' + n), 0}, n, 0);
        world_run(&w, 2000);
    }
    for (int minute = 0; minute < 10; minute++) {
        world_run(&w, 60000);
        for (unsigned n = 0; n <= 17; n++)
            assert_int_equal(view_living(swim_view(w.peers[n].swim)), 18);
    }
    assert_int_equal(deaths_seen(&w), 0);
    w.loss = 0;
    assert_true(world_agrees_after(&w, 10000) != MESH_NEVER);
    world_deinit(&w);
}

/* ---- leaving, restarting, namesakes --------------------------------------------------------- */

static void test_swim_a_farewell_reaches_all_and_is_no_death(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 6);
    world_make(&w, 6);
    w.loss = 20;
    struct peer *leaver = &w.peers[2];
    struct peer_id id = id_of(leaver);
    swim_leave(leaver->swim, w.now_ms);
    drain(&w, leaver);
    world_run(&w, 2100);
    assert_int_equal(leaver->left, 1);
    assert_true(swim_has_left(leaver->swim));
    for (unsigned n = 0; n < 6; n++)
        if (n != 2)
            assert_int_equal(state_of(&w.peers[n], id), MEMBER_LEFT);
    world_crash(&w, leaver);
    w.loss = 0;
    world_run(&w, 20000);
    assert_int_equal(deaths_seen(&w), 0);
    assert_true(world_agrees(&w));
    world_deinit(&w);
}

static void test_swim_a_last_member_leaves_at_once(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 6);
    struct peer *a = world_start(&w, "a", 0, 0, false);
    swim_leave(a->swim, w.now_ms);
    drain(&w, a);
    assert_int_equal(a->left, 1);
    assert_true(swim_deadline_ms(a->swim) == MESH_NEVER);
    world_deinit(&w);
}

static void test_swim_a_restart_elsewhere_supersedes_at_once(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 7);
    world_make(&w, 5);
    struct peer_id old = id_of(&w.peers[1]);
    world_crash(&w, &w.peers[1]);
    struct peer *again = world_join(&w, "b", 20, 0);
    /* It asks three times whether its former life still answers. */
    world_run(&w, 5500);
    assert_true(swim_is_joined(again->swim));
    assert_true(id_of(again).generation > old.generation);
    for (unsigned n = 0; n < 5; n++) {
        if (n == 1)
            continue;
        assert_int_equal(state_of(&w.peers[n], old), MEMBER_DEAD);
        assert_int_equal(state_of(&w.peers[n], id_of(again)), MEMBER_ALIVE);
    }
    assert_int_equal(again->taken + again->superseded, 0);
    world_deinit(&w);
}

static void test_swim_a_restart_at_its_own_address_does_not_wait(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 7);
    world_make(&w, 5);
    world_crash(&w, &w.peers[1]);
    struct peer *again = world_join(&w, "b", 1, 0);
    world_run(&w, 100);
    assert_true(swim_is_joined(again->swim));
    assert_int_equal(again->waiting, 0);
    assert_true(world_agrees_after(&w, 2000) != MESH_NEVER);
    world_deinit(&w);
}

static void test_swim_a_clock_that_is_behind_is_no_fault(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 7);
    world_make(&w, 3);
    struct peer_id old = id_of(&w.peers[1]);
    world_crash(&w, &w.peers[1]);
    struct mesh_addr seed = addr_of(0);
    struct peer *again = world_start(&w, "b", 1, -(int64_t)72 * 3600 * 1000, true);
    swim_join(again->swim, &seed, w.now_ms);
    drain(&w, again);
    assert_true(world_agrees_after(&w, 3000) != MESH_NEVER);
    assert_true(id_of(again).generation > old.generation);
    assert_true(id_of(again).generation <= old.generation + 1024); /* by chance: swim_join.c */
    world_deinit(&w);
}

static void test_swim_a_second_process_of_a_name_waits_and_gives_up(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 8);
    world_make(&w, 4);
    uint64_t hash = view_hash(swim_view(w.peers[0].swim));
    struct peer *twin = world_join(&w, "b", 20, 0);
    world_run(&w, 9000);
    assert_int_equal(twin->waiting, 1);
    assert_false(swim_is_announced(twin->swim));
    world_run(&w, 2000);
    assert_int_equal(twin->taken, 1);
    assert_int_equal(twin->joined, 0);
    for (unsigned n = 0; n < 4; n++)
        assert_true(view_hash(swim_view(w.peers[n].swim)) == hash);
    assert_int_equal(deaths_seen(&w), 0);
    world_deinit(&w);
}

static void test_swim_who_waits_for_a_name_goes_on_when_it_is_free(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 8);
    world_make(&w, 4);
    struct peer *twin = world_join(&w, "b", 20, 0);
    world_run(&w, 4000);
    assert_int_equal(twin->waiting, 1);
    world_crash(&w, &w.peers[1]);
    world_run(&w, 5000);
    assert_true(swim_is_joined(twin->swim));
    assert_true(world_agrees_after(&w, 1000) != MESH_NEVER);
    world_deinit(&w);
}

/* A pod that is made anew elsewhere, while its dead predecessor is a member still. */
static void test_swim_who_is_made_anew_elsewhere_is_learned_within_2_s(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 8);
    world_make(&w, 4);
    struct peer_id old = id_of(&w.peers[1]);
    world_crash(&w, &w.peers[1]);
    world_run(&w, 50);
    struct peer *anew = world_join(&w, "b", 20, 0);
    world_run(&w, 1950);
    assert_int_equal(anew->waiting, 1);
    assert_true(swim_is_joined(anew->swim));
    assert_true(id_of(anew).generation > old.generation);
    assert_non_null(view_find(swim_view(w.peers[0].swim), id_of(anew)));
    world_deinit(&w);
}

static void test_swim_when_two_of_a_name_meet_after_a_split_the_newer_stays(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 9);
    world_make(&w, 4);
    struct peer *old = &w.peers[1];
    old->group = 1;
    world_run(&w, 20000);
    struct peer *newer = world_join(&w, "b", 20, 0);
    world_run(&w, 5000);
    assert_true(swim_is_joined(newer->swim));
    old->group = 0;
    world_run(&w, 20000);
    assert_int_equal(old->superseded, 1);
    assert_int_equal(newer->superseded, 0);
    world_crash(&w, old);
    assert_true(world_agrees(&w));
    world_deinit(&w);
}

/* ---- splits --------------------------------------------------------------------------------- */

static void test_swim_a_split_heals_by_itself(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 10);
    world_make(&w, 7);
    for (unsigned n = 4; n < 7; n++)
        w.peers[n].group = 1;
    world_run(&w, 60000);
    assert_int_equal(view_living(swim_view(w.peers[0].swim)), 4);
    assert_int_equal(view_living(swim_view(w.peers[5].swim)), 3);
    unsigned deaths = deaths_seen(&w);
    for (unsigned n = 4; n < 7; n++)
        w.peers[n].group = 0;
    assert_true(world_agrees_after(&w, 15000) <= 5000);
    assert_int_equal(deaths_seen(&w), deaths); /* the merge itself kills nobody */
    world_deinit(&w);
}

static void test_swim_an_old_split_heals_at_the_low_rate(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 11);
    world_make(&w, 4);
    w.peers[2].group = w.peers[3].group = 1;
    world_run(&w, 20 * 60000);
    w.peers[2].group = w.peers[3].group = 0;
    assert_true(world_agrees_after(&w, 60000) <= 30000);
    world_deinit(&w);
}

static void test_swim_views_that_gossip_left_different_are_made_equal(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 12);
    world_make(&w, 4);
    /* d's new record reaches nobody by gossip: all of it is lost */
    w.loss = 100;
    swim_set_flags(w.peers[3].swim, false, false, w.now_ms);
    struct wire_writer writer;
    uint8_t bytes[WIRE_PLAIN_MAX];
    struct swim_send send = {.is_full = true, .kind = DATAGRAM_GOSSIP};
    while (swim_write_send(w.peers[3].swim, &send, &writer, bytes, sizeof bytes) == 0)
        continue;
    w.loss = 0;
    world_run(&w, 8000);
    for (unsigned n = 0; n < 4; n++)
        assert_false(view_find(swim_view(w.peers[n].swim), id_of(&w.peers[3]))->record->serving);
    world_deinit(&w);
}

/* Whether somebody who joins is told all that a peer of 401 members knows; whether the part has its
 * own bucket: else it would not be asked for itself. */
static bool is_told_all(struct swim *seed, unsigned asker, uint64_t now_ms)
{
    static struct wire_update records[WIRE_RECORDS_MAX];
    struct peer_id id = {asker * UINT64_C(0x123456789abcdef), WALL_MS}, to;
    struct wire_message m = {.kind = WIRE_BUCKETS_ARE};
    uint64_t mask = 0;
    size_t told = 0;
    for (unsigned n = 0; n < WIRE_BUCKETS; n++)
        m.buckets[n] = ~view_buckets(swim_view(seed))[n];
    swim_on_link_message(seed, id, &m, now_ms);
    while (swim_next_link_message(seed, &to, &m, records)) {
        assert_true(peer_id_equal(to, id));
        mask |= m.view.mask;
        told += m.view.count;
    }
    assert_true((mask >> view_bucket_of(id) & 1) != 0);
    assert_in_range(told, 200, 401);
    assert_int_equal(mask == UINT64_MAX, told == 401);
    return mask == UINT64_MAX;
}

static void test_swim_a_peer_that_many_join_at_tells_each_a_part(void **state)
{
    struct swim_config config = {.members_max = 500, .contacts_max = 32, .boot_ms = WALL_MS};
    struct swim *seed;
    struct world w;
    unsigned all = 0;
    (void)state;
    world_init(&w, 12);
    config.chance = w.chance;
    strcpy(config.self.name, "a");
    config.self.nonce = config.self.weight = 1;
    config.self.addr = addr_of(0);
    assert_int_equal(swim_new(&seed, &config, 1000), 0);
    for (unsigned n = 0; n < 400; n++) {
        struct wire_update news = {.kind = UPDATE_ALIVE,
                                   .record = *view_self(swim_view(seed))->record};
        news.record.name[1] = (char)('a' + n % 20);
        news.record.name[2] = (char)('a' + n / 20);
        news.record.id.name = view_name_hash(news.record.name);
        news.record.addr = addr_of(1 + n);
        assert_int_equal(view_apply(swim_view(seed), &news, 1000), VIEW_NEW);
    }
    for (unsigned asker = 1; asker <= 100; asker++)
        all += is_told_all(seed, asker, 5000);
    assert_int_equal(all, 32); /* the first of a second */
    assert_true(is_told_all(seed, 101, 6000));
    swim_free(seed);
    world_deinit(&w);
}

/* ---- hostile and stale ---------------------------------------------------------------------- */

static void test_swim_packets_for_a_former_generation_are_ignored(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 13);
    world_make(&w, 3);
    struct peer *a = &w.peers[0], *b = &w.peers[1], *c = &w.peers[2];
    static struct wire_datagram d;
    memset(&d, 0, sizeof d);
    d.kind = DATAGRAM_PING;
    d.sender = id_of(a);
    d.target_name_only.name = id_of(b).name;
    d.target_nonce = b->nonce + 77; /* another life of b */
    d.updates_count = 1;
    d.updates[0].kind = UPDATE_DEAD;
    d.updates[0].record.id = id_of(c);
    swim_on_datagram(b->swim, &a->addr, &d, a->nonce, w.now_ms);
    assert_int_equal(state_of(b, id_of(c)), MEMBER_ALIVE);
    struct swim_send send;
    assert_true(swim_next_send(b->swim, &send));
    assert_int_equal(send.kind, DATAGRAM_NOT_ME);
    assert_false(send.is_full);
    /* nor does a first contact carry state */
    d.target_nonce = 0;
    swim_on_datagram(b->swim, &a->addr, &d, a->nonce, w.now_ms);
    assert_int_equal(state_of(b, id_of(c)), MEMBER_ALIVE);
    world_deinit(&w);
}

static void test_swim_news_of_a_stranger_is_ignored_but_its_ping_answered(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 13);
    world_make(&w, 3);
    struct peer *b = &w.peers[1], *c = &w.peers[2];
    struct mesh_addr from = addr_of(50);
    static struct wire_datagram d;
    memset(&d, 0, sizeof d);
    d.kind = DATAGRAM_PING;
    d.number = 7;
    d.sender = (struct peer_id){4711, WALL_MS};
    d.target_name_only.name = id_of(b).name;
    d.target_nonce = b->nonce;
    d.updates_count = 1;
    d.updates[0].kind = UPDATE_DEAD;
    d.updates[0].record.id = id_of(c);
    swim_on_datagram(b->swim, &from, &d, 4712, w.now_ms);
    assert_int_equal(state_of(b, id_of(c)), MEMBER_ALIVE);
    struct swim_send send;
    struct wire_writer writer;
    uint8_t bytes[WIRE_PLAIN_MAX];
    assert_true(swim_next_send(b->swim, &send));
    assert_int_equal(send.kind, DATAGRAM_ACK);
    assert_int_equal(swim_write_send(b->swim, &send, &writer, bytes, sizeof bytes), 0);
    assert_int_equal(writer.updates, 0);
    /* a known id with another nonce is a stranger, too */
    d.sender = id_of(&w.peers[0]);
    swim_on_datagram(b->swim, &from, &d, 4712, w.now_ms);
    assert_int_equal(state_of(b, id_of(c)), MEMBER_ALIVE);
    world_deinit(&w);
}

static void test_swim_lies_about_us_are_outdone(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 14);
    world_make(&w, 3);
    struct peer *a = &w.peers[0], *b = &w.peers[1];
    static struct wire_datagram d;
    memset(&d, 0, sizeof d);
    d.kind = DATAGRAM_GOSSIP;
    d.sender = id_of(a);
    d.target_name_only.name = id_of(b).name;
    d.target_nonce = b->nonce;
    d.updates_count = 1;
    d.updates[0].kind = UPDATE_LEFT;
    d.updates[0].record.id = id_of(b);
    d.updates[0].incarnation = 41;
    swim_on_datagram(b->swim, &a->addr, &d, a->nonce, w.now_ms);
    drain(&w, b);
    assert_int_equal(view_self(swim_view(b->swim))->incarnation, 42);
    assert_true(swim_is_joined(b->swim));
    world_run(&w, 2000);
    assert_int_equal(view_find(swim_view(a->swim), id_of(b))->incarnation, 42);
    /* no jump beyond reason: what could not be outdone any more is refused */
    d.updates[0].incarnation = UINT32_MAX;
    swim_on_datagram(b->swim, &a->addr, &d, a->nonce, w.now_ms);
    assert_int_equal(view_self(swim_view(b->swim))->incarnation, 42);
    world_deinit(&w);
}

static void test_swim_a_record_change_reaches_all_by_gossip(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 15);
    world_make(&w, 8);
    swim_set_flags(w.peers[5].swim, true, true, w.now_ms);
    world_run(&w, 1500);
    for (unsigned n = 0; n < 8; n++) {
        const struct mesh_member *member =
            view_find(swim_view(w.peers[n].swim), id_of(&w.peers[5]));
        assert_true(member->record->draining);
        assert_int_equal(member->record->version, 2);
    }
    world_deinit(&w);
}

static unsigned claims_known(struct world *w, uint64_t shard, struct peer_id owner)
{
    unsigned known = 0;
    struct peer_id found;
    for (unsigned n = 0; n < w->count; n++)
        known += w->peers[n].swim != NULL &&
                 swim_claimant(w->peers[n].swim, shard, &found, w->now_ms) &&
                 peer_id_equal(found, owner);
    return known;
}

static void test_swim_a_claim_reaches_all_and_is_followed_to_nobody_gone(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 16);
    world_make(&w, 8);
    struct peer_id gone = id_of(&w.peers[1]), heir = id_of(&w.peers[5]);
    uint64_t shard = claim_shard(view_home_tag(gone), 3);
    world_crash(&w, &w.peers[1]);
    world_run(&w, 30000);
    assert_int_equal(swim_claim(w.peers[5].swim, shard, w.now_ms), 0);
    world_run(&w, 2000);
    assert_int_equal(claims_known(&w, shard, heir), 7);
    world_run(&w, 5 * CLAIM_EXPIRES_MS); /* it is refreshed, under loss, too */
    w.loss = 20;
    world_run(&w, 5 * CLAIM_EXPIRES_MS);
    assert_int_equal(claims_known(&w, shard, heir), 7);
    swim_unclaim(w.peers[5].swim, shard);
    world_run(&w, CLAIM_EXPIRES_MS);
    assert_int_equal(claims_known(&w, shard, heir), 0);
    assert_int_equal(swim_claim(w.peers[5].swim, shard, w.now_ms), 0);
    world_run(&w, 5000);
    assert_int_equal(claims_known(&w, shard, heir), 7);
    world_crash(&w, &w.peers[5]);
    world_run(&w, 40000);
    assert_int_equal(claims_known(&w, shard, heir), 0);
    world_deinit(&w);
}

static void test_swim_an_answered_ping_is_a_round_trip(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 16);
    world_make(&w, 2);
    uint64_t ack_ms = swim_last_ack_ms(w.peers[0].swim, id_of(&w.peers[1]));
    assert_in_range(w.now_ms - ack_ms, 0, 1100);
    swim_set_load(w.peers[1].swim, 17);
    world_run(&w, 1500);
    assert_int_equal(view_find(swim_view(w.peers[0].swim), id_of(&w.peers[1]))->load, 17);
    assert_int_equal(swim_last_ack_ms(w.peers[0].swim, (struct peer_id){1, 1}), 0);
    world_deinit(&w);
}

static void test_swim_a_record_forged_under_a_version_in_use_is_mended(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 19);
    world_make(&w, 4);
    struct peer *a = &w.peers[0], *b = &w.peers[1], *c = &w.peers[2];
    static struct wire_datagram d;
    memset(&d, 0, sizeof d);
    d.kind = DATAGRAM_GOSSIP;
    d.sender = id_of(b);
    d.target_name_only.name = id_of(a).name;
    d.target_nonce = a->nonce;
    d.updates_count = 1;
    view_tell(view_find(swim_view(a->swim), id_of(c)), &d.updates[0]);
    d.updates[0].record.version++;
    d.updates[0].record.weight = 9;
    swim_on_datagram(a->swim, &b->addr, &d, b->nonce, w.now_ms);
    swim_set_flags(c->swim, false, false, w.now_ms); /* the same version of c's own */
    drain(&w, c);
    world_run(&w, 15000);
    for (unsigned n = 0; n < 4; n++) {
        const struct mesh_member *member = view_find(swim_view(w.peers[n].swim), id_of(c));
        assert_int_equal(member->record->weight, 1);
        assert_false(member->record->serving);
    }
    world_deinit(&w);
}

/* A ping every half second, for a minute, from somebody who is not known; returns how often a link
 * to it was wished for. */
static unsigned wishes_for(struct world *w, struct peer *peer, struct peer_id stranger)
{
    static struct wire_datagram d;
    struct mesh_addr from = addr_of(50);
    struct swim_wish wish;
    struct swim_send send;
    unsigned wishes = 0;
    memset(&d, 0, sizeof d);
    d.kind = DATAGRAM_PING;
    d.sender = stranger;
    d.target_name_only.name = id_of(peer).name;
    d.target_nonce = peer->nonce;
    for (int n = 0; n < 120; n++) {
        world_run(w, 500);
        swim_on_datagram(peer->swim, &from, &d, 4712, w->now_ms);
        while (swim_next_wish(peer->swim, &wish))
            wishes++;
        while (swim_next_send(peer->swim, &send))
            continue;
    }
    return wishes;
}

static void test_swim_a_stranger_that_stays_one_is_asked_ever_less_often(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 13);
    world_make(&w, 3);
    assert_in_range(wishes_for(&w, &w.peers[1], (struct peer_id){4711, WALL_MS}), 3, 8);
    /* nor is one asked whom our view will not take */
    assert_int_equal(wishes_for(&w, &w.peers[1], (struct peer_id){4711, 2 * WALL_MS}), 0);
    world_deinit(&w);
}

static void test_swim_a_forgotten_asker_of_a_ping_holds_nothing_up(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 17);
    world_make(&w, 3);
    struct peer *a = &w.peers[0], *b = &w.peers[1], *c = &w.peers[2];
    struct swim_send send;
    static struct wire_datagram d;
    memset(&d, 0, sizeof d);
    d.kind = DATAGRAM_PING_REQ;
    d.sender = id_of(a);
    d.subject = id_of(c);
    d.subject_addr = c->addr;
    d.target_name_only.name = id_of(b).name;
    d.target_nonce = b->nonce;
    swim_on_datagram(b->swim, &a->addr, &d, a->nonce, w.now_ms);
    d.kind = DATAGRAM_GOSSIP;
    d.updates_count = 40; /* more than there is room for contacts */
    for (unsigned n = 1; n < 40; n++) {
        d.updates[n].kind = UPDATE_DEAD;
        d.updates[n].record.id = (struct peer_id){n, WALL_MS};
    }
    d.updates[0].kind = UPDATE_LEFT;
    d.updates[0].record.id = id_of(a);
    swim_on_datagram(b->swim, &a->addr, &d, a->nonce, w.now_ms);
    d.sender = id_of(c);
    d.updates[0].kind = UPDATE_DEAD;
    d.updates[0].record.id = (struct peer_id){40, WALL_MS};
    swim_on_datagram(b->swim, &c->addr, &d, c->nonce, w.now_ms + 1);
    assert_int_equal(state_of(b, id_of(a)), MEMBER_UNKNOWN);
    for (uint64_t after_ms = 1; after_ms < 1100; after_ms++)
        if (swim_deadline_ms(b->swim) <= w.now_ms + after_ms) {
            swim_now(b->swim, w.now_ms + after_ms);
            assert_true(swim_deadline_ms(b->swim) > w.now_ms + after_ms);
        }
    while (swim_next_send(b->swim, &send))
        continue;
    world_deinit(&w);
}

static void test_swim_a_member_that_comes_and_goes_starves_nobody_of_pings(void **state)
{
    struct world w;
    (void)state;
    world_init(&w, 18);
    w.preset = &swim_preset_memberlist_lan; /* all probes are of its rounds */
    world_make(&w, 6);
    struct peer *b = &w.peers[1], *c = &w.peers[2];
    static struct wire_datagram d;
    memset(&d, 0, sizeof d);
    d.kind = DATAGRAM_GOSSIP;
    d.sender = id_of(&w.peers[0]);
    d.target_name_only.name = id_of(b).name;
    d.target_nonce = b->nonce;
    d.updates_count = 2;
    for (int n = 0; n < 200; n++) {
        const struct mesh_member *member = view_find(swim_view(b->swim), id_of(c));
        view_tell(member, &d.updates[1]);
        d.updates[1].kind = UPDATE_ALIVE;
        d.updates[1].incarnation++;
        d.updates[0] = d.updates[1];
        d.updates[0].kind = UPDATE_DEAD;
        d.updates[0].incarnation--;
        swim_on_datagram(b->swim, &w.peers[0].addr, &d, w.peers[0].nonce, w.now_ms);
        drain(&w, b);
        assert_int_equal(state_of(b, id_of(c)), MEMBER_ALIVE);
        world_run(&w, 200);
        for (unsigned other = 3; other < 6 && n > 50; other++)
            assert_in_range(w.now_ms - swim_last_ack_ms(b->swim, id_of(&w.peers[other])), 0, 15000);
    }
    world_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_swim_a_peer_without_contacts_is_a_member_at_once),
        cmocka_unit_test(test_swim_a_peer_that_is_its_own_only_contact_is_a_member_at_once),
        cmocka_unit_test(test_swim_silent_contacts_hold_a_first_peer_up_for_two_seconds),
        cmocka_unit_test(test_swim_five_join_by_one_seed_and_agree),
        cmocka_unit_test(test_swim_all_starting_at_once_find_each_other),
        cmocka_unit_test(test_swim_a_newcomer_mints_once_others_show_its_view),
        cmocka_unit_test(test_swim_a_newcomer_is_known_before_a_link_brings_it_the_views),
        cmocka_unit_test(test_swim_an_introduction_is_of_its_sender_from_its_own_address),
        cmocka_unit_test(test_swim_an_idle_mesh_sends_pings_only),
        cmocka_unit_test(test_swim_an_idle_peer_sends_less_than_259_bytes_a_second),
        cmocka_unit_test(test_swim_a_crash_is_suspected_then_agreed_upon),
        cmocka_unit_test(test_swim_one_of_two_notices_the_death_of_the_other),
        cmocka_unit_test(test_swim_a_suspect_refutes_with_a_higher_incarnation),
        cmocka_unit_test(test_swim_a_late_loop_blames_nobody),
        cmocka_unit_test(test_swim_a_member_behind_anothers_address_is_suspected_but_never_dead),
        cmocka_unit_test(test_swim_others_ping_for_two_that_are_cut_from_each_other),
        cmocka_unit_test(test_swim_a_suspect_is_told_so_by_who_pings_it),
        cmocka_unit_test(test_swim_an_answer_is_filled_with_gossip_for_the_recorded_address_only),
        cmocka_unit_test(test_swim_seventeen_join_and_stay_at_ten_per_cent_loss),
        cmocka_unit_test(test_swim_a_farewell_reaches_all_and_is_no_death),
        cmocka_unit_test(test_swim_a_last_member_leaves_at_once),
        cmocka_unit_test(test_swim_a_restart_elsewhere_supersedes_at_once),
        cmocka_unit_test(test_swim_a_restart_at_its_own_address_does_not_wait),
        cmocka_unit_test(test_swim_a_clock_that_is_behind_is_no_fault),
        cmocka_unit_test(test_swim_a_second_process_of_a_name_waits_and_gives_up),
        cmocka_unit_test(test_swim_who_waits_for_a_name_goes_on_when_it_is_free),
        cmocka_unit_test(test_swim_who_is_made_anew_elsewhere_is_learned_within_2_s),
        cmocka_unit_test(test_swim_when_two_of_a_name_meet_after_a_split_the_newer_stays),
        cmocka_unit_test(test_swim_a_split_heals_by_itself),
        cmocka_unit_test(test_swim_an_old_split_heals_at_the_low_rate),
        cmocka_unit_test(test_swim_views_that_gossip_left_different_are_made_equal),
        cmocka_unit_test(test_swim_a_peer_that_many_join_at_tells_each_a_part),
        cmocka_unit_test(test_swim_packets_for_a_former_generation_are_ignored),
        cmocka_unit_test(test_swim_news_of_a_stranger_is_ignored_but_its_ping_answered),
        cmocka_unit_test(test_swim_lies_about_us_are_outdone),
        cmocka_unit_test(test_swim_a_record_change_reaches_all_by_gossip),
        cmocka_unit_test(test_swim_a_claim_reaches_all_and_is_followed_to_nobody_gone),
        cmocka_unit_test(test_swim_an_answered_ping_is_a_round_trip),
        cmocka_unit_test(test_swim_a_stranger_that_stays_one_is_asked_ever_less_often),
        cmocka_unit_test(test_swim_a_forgotten_asker_of_a_ping_holds_nothing_up),
        cmocka_unit_test(test_swim_a_member_that_comes_and_goes_starves_nobody_of_pings),
        cmocka_unit_test(test_swim_a_record_forged_under_a_version_in_use_is_mended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
