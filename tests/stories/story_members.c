/* story_members.c - each check of membership fails when it is shown what it forbids. */
#include "story.h"

#include <string.h>

#include "sim/members.h"

/* A row that says what p0 believes of another, to be made wrong. */
struct forged {
    struct mesh_record record;
    struct mesh_member row;
};

static struct forged row_of(const struct world *world, uint32_t of)
{
    const struct mesh_member *row =
        mesh_member_of(world->seats[0].mesh, mesh_self(world->seats[of].mesh)->record->id);
    assert_non_null(row);
    return (struct forged){*row->record, *row};
}

static void show(struct world *world, struct forged *forged)
{
    forged->row.record = &forged->record;
    members_check_row(world, &world->seats[0], &forged->row);
}

static void assert_broken(struct world *world, const char *number)
{
    assert_true(world->failed);
    assert_memory_equal(world->failure, number, strlen(number));
    assert_int_equal(world->failure[strlen(number)], ' ');
    world_free(world);
}

static void test_true_rows_break_nothing(void **state)
{
    struct world *world = world_of(3, MESH_UP_HTTP);
    (void)state;
    for (uint32_t n = 0; n < 3; n++) {
        struct forged forged = row_of(world, n);
        show(world, &forged);
    }
    assert_false(world->failed);
    assert_true(world->members->looked_at > 3);
    world_free(world);
}

static void test_an_incarnation_that_goes_back_breaks_m1(void **state)
{
    struct world *world = world_of(3, MESH_UP_HTTP);
    (void)state;
    struct forged forged = row_of(world, 1);
    show(world, &forged);
    world->members->seen[0].rows[0].incarnation += 3;
    world->members->seen[0].rows[1].incarnation += 3;
    world->members->seen[0].rows[2].incarnation += 3;
    show(world, &forged);
    assert_broken(world, "M1");
}

static void test_more_than_its_subject_ever_said_breaks_m1(void **state)
{
    (void)state;
    for (int what = 0; what < 2; what++) {
        struct world *world = world_of(3, MESH_UP_HTTP);
        struct forged forged = row_of(world, 1);
        forged.row.incarnation += what == 0;
        forged.record.version += what == 1;
        show(world, &forged);
        assert_broken(world, "M1");
    }
}

static void test_a_farewell_that_nobody_said_breaks_m2(void **state)
{
    struct world *world = world_of(3, MESH_UP_HTTP);
    (void)state;
    struct forged forged = row_of(world, 1);
    forged.row.state = MEMBER_LEFT;
    show(world, &forged);
    assert_broken(world, "M2");
}

static void test_a_death_in_peace_breaks_m2(void **state)
{
    struct world *world = world_of(3, MESH_UP_HTTP);
    (void)state;
    struct peer_id id = mesh_self(world->seats[1].mesh)->record->id;
    world->config.load = true;
    world->quiet_us = 2 * WORLD_SECOND;
    members_changed(world, &world->seats[0], id, MEMBER_SUSPECT);
    assert_false(world->failed);
    members_changed(world, &world->seats[0], id, MEMBER_DEAD);
    assert_broken(world, "M2");
}

static void test_views_that_differ_in_calm_break_m3(void **state)
{
    struct world *world = world_of(3, MESH_UP_HTTP);
    (void)state;
    world->calm = true;
    world->calm_from_us = world->now_us;
    world_mute(world, 2, true);
    world_run(world, now_ms(world) + members_floor_ms(3) - 1000);
    assert_false(world->failed);
    world_run(world, now_ms(world) + 2000);
    assert_broken(world, "M3");
}

static void test_another_record_under_its_version_breaks_m5(void **state)
{
    struct world *world = world_of(3, MESH_UP_HTTP);
    (void)state;
    struct forged forged = row_of(world, 1);
    forged.record.weight++;
    show(world, &forged);
    assert_broken(world, "M5");
}

static void test_who_is_dead_and_lives_again_unasked_breaks_m6(void **state)
{
    static const enum member_state ends[] = {MEMBER_DEAD, MEMBER_LEFT};
    (void)state;
    for (size_t n = 0; n < 2; n++) {
        struct world *world = world_of(3, MESH_UP_HTTP);
        struct forged forged = row_of(world, 1);
        world->seats[1].leaving = true; /* so that LEFT is true */
        forged.row.state = ends[n];
        show(world, &forged);
        assert_false(world->failed);
        forged.row.state = MEMBER_ALIVE;
        show(world, &forged);
        assert_broken(world, "M6");
    }
}

static void test_who_never_lived_breaks_m6(void **state)
{
    struct world *world = world_of(3, MESH_UP_HTTP);
    (void)state;
    struct forged forged = row_of(world, 1);
    forged.record.id.generation += 77;
    show(world, &forged);
    assert_broken(world, "M6");
}

static void test_a_superseded_generation_that_lives_breaks_m6(void **state)
{
    struct world *world = world_of(3, MESH_UP_HTTP);
    (void)state;
    struct forged old = row_of(world, 1);
    world_crash(world, 1, DEATH_KILLED);
    world_restart(world, 1, false);
    run_for(world, 5000);
    world->members->seen[0].count = 0;
    struct forged newer = row_of(world, 1);
    show(world, &newer);
    assert_false(world->failed);
    show(world, &old);
    assert_broken(world, "M6");
}

static void test_a_peer_that_believes_itself_dead_breaks_m7(void **state)
{
    struct world *world = world_of(3, MESH_UP_HTTP);
    (void)state;
    struct forged forged = row_of(world, 0);
    forged.row.state = MEMBER_DEAD;
    show(world, &forged);
    assert_broken(world, "M7");
}

static void test_a_peer_of_another_cluster_in_a_view_breaks_p7(void **state)
{
    struct world *world = world_of(3, MESH_UP_HTTP);
    (void)state;
    uint32_t foreign = world_add_foreigner(world, 1, world_new_address(world));
    world_start(world, foreign);
    run_for(world, 3000);
    const struct mesh_member *self = mesh_self(world->seats[foreign].mesh);
    struct forged forged = {*self->record, *self};
    show(world, &forged);
    assert_broken(world, "P7");
}

static void test_a_mesh_that_is_loud_in_calm_breaks_b1(void **state)
{
    struct world *world = world_of(3, MESH_UP_HTTP);
    (void)state;
    run_for(world, 5000);
    world->members->calm_since_us = world->now_us - 5 * WORLD_SECOND;
    world->members->calm_datagrams = world->net->datagrams - 60;
    members_check_calm(world);
    assert_false(world->failed);
    world->net->datagrams += 300;
    members_check_calm(world);
    assert_broken(world, "B1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_true_rows_break_nothing),
        cmocka_unit_test(test_an_incarnation_that_goes_back_breaks_m1),
        cmocka_unit_test(test_more_than_its_subject_ever_said_breaks_m1),
        cmocka_unit_test(test_a_farewell_that_nobody_said_breaks_m2),
        cmocka_unit_test(test_a_death_in_peace_breaks_m2),
        cmocka_unit_test(test_views_that_differ_in_calm_break_m3),
        cmocka_unit_test(test_another_record_under_its_version_breaks_m5),
        cmocka_unit_test(test_who_is_dead_and_lives_again_unasked_breaks_m6),
        cmocka_unit_test(test_who_never_lived_breaks_m6),
        cmocka_unit_test(test_a_superseded_generation_that_lives_breaks_m6),
        cmocka_unit_test(test_a_peer_that_believes_itself_dead_breaks_m7),
        cmocka_unit_test(test_a_peer_of_another_cluster_in_a_view_breaks_p7),
        cmocka_unit_test(test_a_mesh_that_is_loud_in_calm_breaks_b1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
