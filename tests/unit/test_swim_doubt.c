/* test_swim_doubt.c - detection as stories: who is found dead how soon, and what keeps the living
 * from being taken for dead. Each story about a guard is told twice: with the product's constants,
 * and with that one guard off, where it must end badly. Pitfalls by their numbers in gossip.md. */
#include "mesh/member/monitor.h"
#include "tests/unit/swim_world.h"

/* Peers 0 .. count-1 that have been together for a while. */
static void settle(struct world *w, uint8_t seed, unsigned count, const struct swim_preset *preset)
{
    world_init(w, seed);
    w->preset = preset;
    world_make(w, count);
    world_run(w, 20000);
}

static struct swim_preset product(void)
{
    return swim_preset_product;
}

static struct swim_stats all_stats(struct world *w)
{
    struct swim_stats all = {0}, one;
    for (size_t n = 0; n < w->count; n++) {
        if (w->peers[n].swim == NULL)
            continue;
        swim_stats(w->peers[n].swim, &one);
        all.suspected += one.suspected;
        all.declared_dead += one.declared_dead;
        all.vetoed += one.vetoed;
        all.votes_ignored += one.votes_ignored;
        all.held += one.held;
    }
    return all;
}

static unsigned believers(struct world *w, struct peer_id id, enum member_state state)
{
    unsigned count = 0;
    for (size_t n = 0; n < w->count; n++)
        count += w->peers[n].swim != NULL && !peer_id_equal(id_of(&w->peers[n]), id) &&
                 state_of(&w->peers[n], id) == state;
    return count;
}

/* How long until the first of the others takes it for dead. */
static uint64_t dead_after(struct world *w, struct peer_id id, uint64_t max_ms)
{
    uint64_t began_ms = w->now_ms;
    while (believers(w, id, MEMBER_DEAD) == 0 && w->now_ms - began_ms < max_ms)
        world_run(w, 10);
    return believers(w, id, MEMBER_DEAD) > 0 ? w->now_ms - began_ms : MESH_NEVER;
}

/* ---- how soon ------------------------------------------------------------------------------- */

/* The longest that a silent cut, or a crash, took to be seen first, of 20 worlds (T1). */
static uint64_t slowest_of(unsigned count, const struct swim_preset *preset, bool refuses)
{
    uint64_t slowest_ms = 0;
    for (uint8_t seed = 0; seed < 20; seed++) {
        struct world w;
        settle(&w, seed, count, preset);
        world_run(&w, 37u * seed); /* wherever in their second they are */
        struct peer *victim = &w.peers[seed % count];
        struct peer_id id = id_of(victim);
        victim->group = 1;
        if (refuses)
            world_crash(&w, victim);
        uint64_t took_ms = dead_after(&w, id, 30000);
        slowest_ms = took_ms > slowest_ms ? took_ms : slowest_ms;
        world_deinit(&w);
    }
    return slowest_ms;
}

static void test_swim_a_death_is_seen_within_three_and_a_half_seconds(void **state)
{
    (void)state;
    for (unsigned count = 2; count <= 20; count += 6) {
        assert_in_range(slowest_of(count, NULL, false), 2000, 3500);
        assert_in_range(slowest_of(count, NULL, true), 2000, 3500);
    }
}

static void test_swim_without_a_monitor_or_witnesses_it_takes_longer(void **state)
{
    struct swim_preset no_monitor = product(), no_witnesses = product();
    (void)state;
    no_monitor.monitor_ms = 0;
    no_witnesses.confirmers = 0;
    assert_true(slowest_of(14, &no_monitor, false) > 5000);
    assert_true(slowest_of(14, &no_witnesses, false) > 5000);
}

static void test_swim_two_of_five_that_die_at_once_are_both_found(void **state)
{
    struct world w;
    (void)state;
    settle(&w, 1, 5, NULL);
    w.peers[1].group = 1;
    w.peers[2].group = 2;
    world_run(&w, 9000); /* a witness may be the other of the two */
    for (unsigned n = 0; n < 5; n++)
        if (n != 1 && n != 2)
            assert_int_equal(view_living(swim_view(w.peers[n].swim)), 3);
    world_deinit(&w);
}

/* ---- two peers (P21) ------------------------------------------------------------------------ */

static void test_swim_of_two_neither_dies_of_lost_datagrams_while_tcp_answers(void **state)
{
    struct swim_preset no_check = product();
    struct world w;
    (void)state;
    settle(&w, 2, 2, NULL);
    w.peers[1].has_no_udp = true;
    world_run(&w, 120000);
    assert_int_equal(deaths_seen(&w), 0);
    w.peers[1].has_no_udp = false;
    assert_true(world_agrees_after(&w, 5000) != MESH_NEVER);
    world_deinit(&w);

    no_check.check_ms = 0;
    settle(&w, 2, 2, &no_check);
    w.peers[1].has_no_udp = true;
    world_run(&w, 120000);
    assert_true(deaths_seen(&w) > 0);
    world_deinit(&w);
}

/* Each turn of this peer comes 300 ms after its deadline, for `for_ms`. */
static void stumble(struct world *w, struct peer *peer, uint64_t for_ms)
{
    for (uint64_t until_ms = w->now_ms + for_ms; w->now_ms < until_ms;) {
        uint64_t due_ms = swim_deadline_ms(peer->swim);
        world_run(w, due_ms > w->now_ms + 1 ? due_ms - w->now_ms - 1 : 0);
        peer->is_stopped = true;
        world_run(w, 301);
        peer->is_stopped = false;
        world_run(w, 1);
    }
}

static void test_swim_one_of_two_whose_own_loop_is_late_takes_its_time(void **state)
{
    struct swim_preset preset = product();
    struct world w;
    (void)state;
    for (int guarded = 0; guarded < 2; guarded++) {
        preset.guards = guarded == 1;
        settle(&w, 3, 2, &preset);
        struct peer_id id = id_of(&w.peers[1]);
        w.peers[1].group = 1;
        stumble(&w, &w.peers[0], 8000);
        assert_int_equal(state_of(&w.peers[0], id), guarded == 1 ? MEMBER_SUSPECT : MEMBER_DEAD);
        stumble(&w, &w.peers[0], 40000); /* it stretches, it does not forbid */
        assert_int_equal(state_of(&w.peers[0], id), MEMBER_DEAD);
        world_deinit(&w);
    }
}

/* ---- is it us? ------------------------------------------------------------------------------ */

/* One of ten hears nothing more for `silent_ms`; returns how many deaths it declared. */
static uint64_t deaths_by_deaf(const struct swim_preset *preset, uint64_t silent_ms)
{
    struct world w;
    struct swim_stats stats;
    settle(&w, 4, 10, preset);
    w.peers[3].is_deaf = true;
    w.peers[3].is_mute = true;
    world_run(&w, silent_ms);
    swim_stats(w.peers[3].swim, &stats);
    world_deinit(&w);
    return stats.declared_dead;
}

static void test_swim_who_hears_nobody_blames_nobody_soon(void **state)
{
    struct swim_preset unguarded = product();
    (void)state;
    unguarded.guards = false;
    assert_int_equal(deaths_by_deaf(NULL, 32000), 0);
    assert_true(deaths_by_deaf(&unguarded, 32000) > 0);
    assert_true(deaths_by_deaf(NULL, 60000) > 0); /* it stretches, it does not forbid */
}

static void test_swim_many_deaths_at_once_are_believed_later(void **state)
{
    struct swim_preset unguarded = product();
    struct world w;
    (void)state;
    unguarded.guards = false;
    for (int guarded = 0; guarded < 2; guarded++) {
        settle(&w, 5, 15, guarded == 1 ? NULL : &unguarded);
        for (unsigned n = 8; n < 14; n++)
            w.peers[n].group = n; /* six of fifteen, each alone */
        world_run(&w, 4500);
        unsigned living = (unsigned)view_living(swim_view(w.peers[0].swim));
        assert_true((living == 15) == (guarded == 1));
        world_run(&w, 25000);
        assert_int_equal(view_living(swim_view(w.peers[0].swim)), 9);
        world_deinit(&w);
    }
}

/* P11: a peer that hears but cannot be heard, again and again: each time it is back it tells of
 * those who did not answer it meanwhile. Then the reverse, for a minute. */
static void half_detach(struct world *w, struct peer *peer)
{
    for (int times = 0; times < 16; times++) {
        peer->is_mute = true;
        world_run(w, 20000);
        peer->is_mute = false;
        world_run(w, 5000);
    }
    peer->is_deaf = true;
    world_run(w, 60000);
    peer->is_deaf = false;
    world_run(w, 20000);
}

/* Deaths that the others saw of each other. */
static unsigned others_deaths(struct world *w, struct peer *but)
{
    unsigned deaths = 0;
    for (size_t n = 0; n < w->count; n++)
        deaths += &w->peers[n] != but ? w->peers[n].others_deaths : 0;
    return deaths;
}

/* The doubt alone would do, and so would the guards: without all three no world is spared. */
static void test_swim_one_half_detached_peer_costs_no_other_its_place(void **state)
{
    struct swim_preset credulous = product();
    (void)state;
    credulous.limits_accusers = credulous.doubts_deaths = credulous.guards = false;
    for (unsigned n = 0; n < 12; n++) {
        bool is_guarded = n % 2 == 0;
        struct world w;
        settle(&w, (uint8_t)(n / 2), 12, is_guarded ? NULL : &credulous);
        w.watched_id = id_of(&w.peers[4]);
        half_detach(&w, &w.peers[4]);
        assert_int_equal(others_deaths(&w, &w.peers[4]) == 0, is_guarded);
        assert_true(w.peers[0].deaths > 0); /* it itself was found out */
        assert_true(world_agrees_after(&w, 20000) != MESH_NEVER);
        world_deinit(&w);
    }
}

/* ---- witnesses and checks ------------------------------------------------------------------- */

static void test_swim_a_peer_whose_datagrams_are_blocked_is_reached_over_tcp(void **state)
{
    struct swim_preset no_check = product();
    struct world w;
    (void)state;
    no_check.check_ms = 0;
    for (int checked = 0; checked < 2; checked++) {
        settle(&w, 6, 8, checked == 1 ? NULL : &no_check);
        w.peers[5].has_no_udp = true;
        world_run(&w, 60000);
        assert_int_equal(believers(&w, id_of(&w.peers[5]), MEMBER_DEAD), checked == 1 ? 0 : 7);
        world_deinit(&w);
    }
}

/* `to` hears from `from` that somebody is dead, suspected, or alive after all. */
static void hear(struct world *w, struct peer *to, struct peer *from, enum update_kind kind,
                 struct peer_id accuser, struct peer_id subject, uint32_t incarnation)
{
    static struct wire_datagram d;
    const struct mesh_member *member = view_find(swim_view(to->swim), subject);
    memset(&d, 0, sizeof d);
    d.kind = DATAGRAM_GOSSIP;
    d.sender = id_of(from);
    d.target_name_only.name = id_of(to).name;
    d.target_nonce = to->nonce;
    d.updates_count = 1;
    if (kind == UPDATE_ALIVE)
        view_tell(member, &d.updates[0]);
    d.updates[0].kind = kind;
    d.updates[0].record.id = subject;
    d.updates[0].incarnation = incarnation;
    d.updates[0].accuser = accuser;
    swim_on_datagram(to->swim, &from->addr, &d, from->nonce, w->now_ms);
    drain(w, to);
}

static void test_swim_a_refused_dial_counts_if_no_ping_is_answered(void **state)
{
    struct swim_preset preset = product();
    struct world w;
    (void)state;
    preset.monitor_ms = 0; /* nothing but the refusal tells a of it */
    preset.period_ms = 3600000;
    preset.confirmers = 0;
    settle(&w, 8, 4, &preset);
    struct peer *a = &w.peers[0], *b = &w.peers[1];
    struct peer_id id = id_of(b);
    swim_on_refused(a->swim, id, w.now_ms); /* a rule that rejects, before a living peer */
    drain(&w, a);
    world_run(&w, 5000);
    assert_int_equal(state_of(a, id), MEMBER_ALIVE);
    world_crash(&w, b);
    swim_on_refused(a->swim, id, w.now_ms);
    drain(&w, a);
    world_run(&w, 199);
    assert_int_equal(state_of(a, id), MEMBER_ALIVE);
    world_run(&w, 2);
    assert_int_equal(state_of(a, id), MEMBER_SUSPECT);
    world_run(&w, 1900);
    assert_int_equal(state_of(a, id), MEMBER_SUSPECT);
    world_run(&w, 600);
    assert_int_equal(state_of(a, id), MEMBER_DEAD);
    world_deinit(&w);
}

static void test_swim_a_suspect_that_is_reached_is_never_dead_though_it_can_not_refute(void **state)
{
    struct world w;
    (void)state;
    settle(&w, 6, 8, NULL);
    struct peer *a = &w.peers[0], *b = &w.peers[5];
    b->has_no_udp = true;
    hear(&w, a, &w.peers[1], UPDATE_SUSPECT, id_of(&w.peers[1]), id_of(b), 0);
    world_run(&w, 60000);
    assert_int_equal(state_of(a, id_of(b)), MEMBER_SUSPECT);
    assert_int_equal(deaths_seen(&w), 0);
    assert_true(all_stats(&w).vetoed > 0);
    w.blocks_tcp = true; /* a veto is no pardon */
    world_run(&w, 30000);
    assert_int_equal(state_of(a, id_of(b)), MEMBER_DEAD);
    world_deinit(&w);
}

/* As long as every check succeeded it was believed in for ever: nobody told the suspect. */
static void test_swim_who_missed_a_refutation_gets_it_from_the_suspect_itself(void **state)
{
    struct world w;
    (void)state;
    settle(&w, 9, 20, NULL);
    struct peer *a = &w.peers[0], *b = NULL;
    for (unsigned n = 1; n < 20 && b == NULL; n++) /* somebody whom a does not watch */
        if (monitor_watched(swim_view(a->swim))->record->id.name != id_of(&w.peers[n]).name)
            b = &w.peers[n];
    /* a suspicion of long ago, which nobody but a has heard of */
    w.loss = 100;
    hear(&w, a, &w.peers[2], UPDATE_SUSPECT, id_of(&w.peers[3]), id_of(b), 0);
    struct wire_writer writer;
    uint8_t bytes[WIRE_PLAIN_MAX];
    struct swim_send send = {.is_full = true, .kind = DATAGRAM_GOSSIP};
    while (swim_write_send(a->swim, &send, &writer, bytes, sizeof bytes) == 0)
        continue;
    w.loss = 0;
    assert_int_equal(state_of(a, id_of(b)), MEMBER_SUSPECT);
    world_run(&w, 5000);
    assert_int_equal(state_of(a, id_of(b)), MEMBER_ALIVE);
    world_deinit(&w);
}

/* ---- whom to believe ------------------------------------------------------------------------ */

/* P4: what is known of the dead outdoes what was known before of the living. */
static void test_swim_an_old_alive_raises_nobody_after_a_death_of_a_higher_incarnation(void **state)
{
    struct world w;
    (void)state;
    settle(&w, 10, 5, NULL);
    struct peer *a = &w.peers[0], *b = &w.peers[1];
    struct peer_id dead = id_of(&w.peers[3]);
    world_crash(&w, &w.peers[3]);
    world_run(&w, 10000);
    assert_int_equal(state_of(a, dead), MEMBER_DEAD);
    hear(&w, a, b, UPDATE_DEAD, id_of(b), dead, 10);
    unsigned deaths = deaths_seen(&w);
    hear(&w, a, b, UPDATE_ALIVE, id_of(b), dead, 2);
    assert_int_equal(state_of(a, dead), MEMBER_DEAD);
    world_run(&w, 30000);
    assert_int_equal(deaths_seen(&w), deaths); /* nobody died twice */
    assert_int_equal(believers(&w, dead, MEMBER_DEAD), 4);
    world_deinit(&w);
}

/* P11: a liar, or a peer that nobody can hear, accuses all the others again and again. */
static void accuse_everybody(struct world *w, struct peer *liar, enum update_kind kind)
{
    for (size_t to = 0; to < w->count; to++)
        for (size_t n = 0; n < w->count; n++) {
            struct peer *victim = &w->peers[n];
            if (victim == liar || n == to || &w->peers[to] == liar)
                continue;
            hear(w, &w->peers[to], liar, kind, id_of(liar), id_of(victim),
                 view_self(swim_view(victim->swim))->incarnation);
        }
}

static void test_swim_who_is_wrong_three_times_kills_nobody_any_more(void **state)
{
    struct swim_preset preset = product();
    struct world w;
    (void)state;
    for (int limited = 0; limited < 2; limited++) {
        preset.doubts_deaths = false; /* else even the others' word is not taken at once */
        preset.limits_accusers = limited == 1;
        settle(&w, 11, 8, &preset);
        struct peer *liar = &w.peers[2];
        for (int n = 0; n < 3; n++) {
            accuse_everybody(&w, liar, UPDATE_SUSPECT);
            world_run(&w, 3000);
        }
        assert_int_equal(deaths_seen(&w), 0);
        accuse_everybody(&w, liar, UPDATE_DEAD);
        world_run(&w, 3000);
        if (limited == 1) {
            assert_int_equal(deaths_seen(&w), 0);
            assert_true(all_stats(&w).votes_ignored > 0);
        } else {
            assert_true(deaths_seen(&w) > 0);
        }
        assert_true(world_agrees_after(&w, 10000) != MESH_NEVER); /* nobody stays evicted (B4) */
        world_deinit(&w);
    }
}

/* One that stood still for long has deaths to tell that nobody was suspected of before: Lifeguard's
 * stalled members, whose clocks go on, took 15,000 others along in a part of its sweep. */
static void test_swim_a_death_out_of_the_blue_is_a_suspicion_first(void **state)
{
    struct swim_preset credulous = product();
    struct world w;
    (void)state;
    credulous.doubts_deaths = false;
    for (int doubts = 0; doubts < 2; doubts++) {
        settle(&w, 16, 8, doubts == 1 ? NULL : &credulous);
        struct peer *a = &w.peers[0], *liar = &w.peers[1];
        hear(&w, a, liar, UPDATE_SUSPECT, id_of(liar), id_of(&w.peers[5]), 0);
        hear(&w, a, liar, UPDATE_DEAD, id_of(liar), id_of(&w.peers[5]), 0);
        world_run(&w, 5000);
        assert_true((deaths_seen(&w) > 0) == (doubts == 0));
        world_deinit(&w);
    }
    settle(&w, 16, 8, NULL); /* of one that is dead it is believed after the shortest time */
    struct peer *a = &w.peers[0];
    struct peer_id dead = id_of(&w.peers[5]);
    world_crash(&w, &w.peers[5]);
    hear(&w, a, &w.peers[1], UPDATE_DEAD, id_of(&w.peers[1]), dead, 0);
    world_run(&w, 1999);
    assert_int_equal(state_of(a, dead), MEMBER_SUSPECT);
    world_run(&w, 2);
    assert_int_equal(state_of(a, dead), MEMBER_DEAD);
    world_deinit(&w);
}

/* P20: an owner that was cut off long enough to be taken for dead comes back and says it is not. */
static void test_swim_a_falsely_dead_peer_refutes_as_soon_as_it_is_heard(void **state)
{
    struct world w;
    (void)state;
    settle(&w, 12, 6, NULL);
    struct peer *b = &w.peers[1];
    struct peer_id id = id_of(b);
    b->is_deaf = b->is_mute = true;
    world_run(&w, 6000);
    assert_int_equal(believers(&w, id, MEMBER_DEAD), 5);
    uint32_t incarnation = view_self(swim_view(b->swim))->incarnation;
    b->is_deaf = b->is_mute = false;
    assert_true(world_agrees_after(&w, 10000) <= 2500);
    assert_true(view_self(swim_view(b->swim))->incarnation > incarnation);
    assert_int_equal(believers(&w, id, MEMBER_ALIVE), 5);
    world_deinit(&w);
}

/* ---- hold ----------------------------------------------------------------------------------- */

/* Deaf and mute for long enough to be taken for dead, then back for a while. */
static void flap(struct world *w, struct peer *peer)
{
    peer->is_deaf = peer->is_mute = true;
    world_run(w, 5000);
    peer->is_deaf = peer->is_mute = false;
    world_run(w, 5000);
}

static unsigned holders(struct world *w, struct peer_id id)
{
    unsigned count = 0;
    for (size_t n = 0; n < w->count; n++) {
        const struct mesh_member *member = view_find(swim_view(w->peers[n].swim), id);
        count += member != NULL && member_is_living(member) && member->record->hold;
    }
    return count;
}

static void test_swim_who_was_lost_twice_holds_for_a_minute_by_its_own_record(void **state)
{
    struct world w;
    (void)state;
    settle(&w, 13, 6, NULL);
    struct peer *b = &w.peers[1];
    flap(&w, b);
    assert_int_equal(holders(&w, id_of(b)), 0);
    flap(&w, b);
    uint64_t held_ms = w.now_ms;
    assert_int_equal(holders(&w, id_of(b)), 6); /* a member, for all alike */
    assert_int_equal(all_stats(&w).held, 1);
    world_run(&w, 54000);
    assert_int_equal(holders(&w, id_of(b)), 6);
    while (holders(&w, id_of(b)) > 0)
        world_run(&w, 100);
    assert_in_range(w.now_ms - held_ms, 54000, 61500);
    swim_set_flags(b->swim, true, false, w.now_ms); /* nor is it kept */
    world_run(&w, 3000);
    assert_int_equal(holders(&w, id_of(b)), 0);
    world_deinit(&w);
}

/* Parts the last `count` of eight from the others, three times, for so long that all on both sides
 * take each other for dead. */
static void part(struct world *w, unsigned count)
{
    settle(w, 14, 8, NULL);
    for (int splits = 0; splits < 3; splits++) {
        for (unsigned n = 8 - count; n < 8; n++)
            w->peers[n].group = 1;
        world_run(w, 60000);
        assert_int_equal(view_living(swim_view(w->peers[0].swim)), 8 - count);
        assert_int_equal(view_living(swim_view(w->peers[7].swim)), count);
        for (unsigned n = 8 - count; n < 8; n++)
            w->peers[n].group = 0;
        world_run(w, 10000);
        assert_true(world_agrees(w));
    }
}

static void test_swim_a_split_in_halves_is_nobodys_flapping(void **state)
{
    struct world w;
    (void)state;
    part(&w, 4);
    assert_int_equal(all_stats(&w).held, 0); /* else the ring would be empty now */
    world_deinit(&w);
}

static void test_swim_who_is_parted_alone_again_and_again_holds_and_the_others_do_not(void **state)
{
    struct world w;
    (void)state;
    part(&w, 1);
    for (unsigned n = 0; n < 8; n++)
        assert_int_equal(holders(&w, id_of(&w.peers[n])), n < 7 ? 0 : 8);
    world_deinit(&w);
}

/* ---- leaving -------------------------------------------------------------------------------- */

/* P14: returns how many took a leaver for dead in the end, of 12 others, at this loss. */
static unsigned mourners(uint8_t seed, const struct swim_preset *preset, uint32_t loss)
{
    struct world w;
    settle(&w, seed, 13, preset);
    w.loss = loss;
    struct peer *leaver = &w.peers[4];
    struct peer_id id = id_of(leaver);
    swim_leave(leaver->swim, w.now_ms);
    drain(&w, leaver);
    while (!swim_has_left(leaver->swim))
        world_run(&w, 10);
    world_crash(&w, leaver);
    world_run(&w, 30000);
    unsigned count = believers(&w, id, MEMBER_DEAD);
    world_deinit(&w);
    return count;
}

static void test_swim_a_farewell_is_repeated_until_those_who_would_miss_us_have_it(void **state)
{
    struct swim_preset untold = product();
    unsigned mourned = 0, mourned_untold = 0;
    (void)state;
    untold.farewells = 0;
    for (uint8_t seed = 0; seed < 8; seed++) {
        mourned += mourners(seed, NULL, 85);
        mourned_untold += mourners(seed, &untold, 85);
    }
    assert_int_equal(mourned, 0);
    assert_true(mourned_untold > 0);
}

static void test_swim_a_farewell_reaches_all_within_a_second_and_a_half(void **state)
{
    (void)state;
    for (uint8_t seed = 0; seed < 20; seed++) {
        struct world w;
        settle(&w, seed, 20, NULL);
        w.loss = 20;
        struct peer_id id = id_of(&w.peers[7]);
        swim_leave(w.peers[7].swim, w.now_ms);
        drain(&w, &w.peers[7]);
        world_run(&w, 1500);
        assert_int_equal(believers(&w, id, MEMBER_LEFT), 19);
        world_deinit(&w);
    }
}

/* ---- storms --------------------------------------------------------------------------------- */

/* P12: a fifth of all flaps every second; what waits to be told and what is sent stay bounded. */
static void test_swim_flapping_of_a_fifth_fills_no_queue(void **state)
{
    struct world w;
    (void)state;
    settle(&w, 15, 20, NULL);
    struct peer *a = &w.peers[0];
    uint64_t sent = w.bytes_sent, packets = w.packets_sent;
    for (uint32_t second = 0; second < 60; second++) {
        for (unsigned n = 10; n < 14; n++)
            hear(&w, a, &w.peers[1], second % 2 == 0 ? UPDATE_DEAD : UPDATE_ALIVE,
                 id_of(&w.peers[1]), id_of(&w.peers[n]),
                 view_find(swim_view(a->swim), id_of(&w.peers[n]))->incarnation + second % 2);
        world_run(&w, 1000);
    }
    sent = w.bytes_sent - sent + (w.packets_sent - packets) * (WIRE_SEAL_BYTES + 28);
    assert_true(sent / 60 / 20 < 8000); /* of 21,000 a second, the cap of T9 */
    assert_true(world_agrees_after(&w, 10000) != MESH_NEVER);
    world_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_swim_a_death_is_seen_within_three_and_a_half_seconds),
        cmocka_unit_test(test_swim_without_a_monitor_or_witnesses_it_takes_longer),
        cmocka_unit_test(test_swim_two_of_five_that_die_at_once_are_both_found),
        cmocka_unit_test(test_swim_of_two_neither_dies_of_lost_datagrams_while_tcp_answers),
        cmocka_unit_test(test_swim_one_of_two_whose_own_loop_is_late_takes_its_time),
        cmocka_unit_test(test_swim_who_hears_nobody_blames_nobody_soon),
        cmocka_unit_test(test_swim_many_deaths_at_once_are_believed_later),
        cmocka_unit_test(test_swim_one_half_detached_peer_costs_no_other_its_place),
        cmocka_unit_test(test_swim_a_peer_whose_datagrams_are_blocked_is_reached_over_tcp),
        cmocka_unit_test(test_swim_a_refused_dial_counts_if_no_ping_is_answered),
        cmocka_unit_test(
            test_swim_a_suspect_that_is_reached_is_never_dead_though_it_can_not_refute),
        cmocka_unit_test(test_swim_who_missed_a_refutation_gets_it_from_the_suspect_itself),
        cmocka_unit_test(
            test_swim_an_old_alive_raises_nobody_after_a_death_of_a_higher_incarnation),
        cmocka_unit_test(test_swim_who_is_wrong_three_times_kills_nobody_any_more),
        cmocka_unit_test(test_swim_a_death_out_of_the_blue_is_a_suspicion_first),
        cmocka_unit_test(test_swim_a_falsely_dead_peer_refutes_as_soon_as_it_is_heard),
        cmocka_unit_test(test_swim_who_was_lost_twice_holds_for_a_minute_by_its_own_record),
        cmocka_unit_test(test_swim_a_split_in_halves_is_nobodys_flapping),
        cmocka_unit_test(test_swim_who_is_parted_alone_again_and_again_holds_and_the_others_do_not),
        cmocka_unit_test(test_swim_a_farewell_is_repeated_until_those_who_would_miss_us_have_it),
        cmocka_unit_test(test_swim_a_farewell_reaches_all_within_a_second_and_a_half),
        cmocka_unit_test(test_swim_flapping_of_a_fifth_fills_no_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
