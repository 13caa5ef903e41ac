/* Records: equal ones are one, as long as somebody has them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "mesh/member/records.h"

static struct mesh_record record_of(unsigned n)
{
    struct mesh_record r = {.id = {n, 7}, .nonce = 3, .version = 1, .weight = 1, .serving = true};
    snprintf(r.name, sizeof r.name, "peer-%u", n);
    strcpy(r.zone, "east");
    r.addr = (struct mesh_addr){.ip = {[10] = 0xff, [11] = 0xff, [12] = 10}, .port = 7946};
    return r;
}

static void test_equal_records_are_one_until_all_are_given_back(void **state)
{
    struct records *records = NULL;
    struct mesh_record says = record_of(1), twin = record_of(1);
    (void)state;
    assert_int_equal(records_new(&records), 0);
    memset(twin.name + strlen(twin.name) + 1, 'x', 5); /* behind the end: no difference */
    memset(twin.zone + strlen(twin.zone) + 1, 'x', 5);
    const struct mesh_record *a = records_take(records, &says), *b = records_take(records, &twin);
    assert_ptr_equal(a, b);
    assert_ptr_not_equal(a, &says);
    assert_int_equal(records_count(records), 1);
    assert_string_equal(a->name, "peer-1");
    records_give(records, a);
    assert_int_equal(records_count(records), 1);
    assert_int_equal(b->addr.port, 7946);
    records_give(records, b);
    assert_int_equal(records_count(records), 0);
    records_give(records, NULL);
    records_free(records);
    records_free(NULL);
}

static void test_any_field_makes_another_record(void **state)
{
    struct records *records = NULL;
    struct mesh_record different[14];
    const struct mesh_record *taken[15];
    (void)state;
    assert_int_equal(records_new(&records), 0);
    for (unsigned n = 0; n < 14; n++)
        different[n] = record_of(1);
    different[0].name[0] = 'q';
    different[1].id.name++;
    different[2].id.generation++;
    different[3].nonce++;
    different[4].version++;
    different[5].addr.port++;
    different[6].addr.ip[15]++;
    different[7].zone[0] = 'w';
    different[8].weight++;
    different[9].serving = false;
    different[10].draining = true;
    different[11].hold = true;
    different[12].keys[0] = different[13].keys[0] = 1;
    different[12].keys_count = 1;
    different[13].keys_count = 2;
    struct mesh_record first = record_of(1);
    taken[14] = records_take(records, &first);
    for (unsigned n = 0; n < 14; n++) {
        taken[n] = records_take(records, &different[n]);
        assert_ptr_not_equal(taken[n], taken[14]);
        assert_int_equal(records_count(records), n + 2);
        /* what a name says its id says, too; a record may have lost its keys on the way */
        bool is_counted = n != 0 && n < 12;
        assert_int_equal(records_sum(taken[n]) != records_sum(taken[14]), is_counted);
    }
    for (unsigned n = 0; n < 15; n++)
        records_give(records, taken[n]);
    assert_int_equal(records_count(records), 0);
    records_free(records);
}

/* Texts that fill their room have no 0 behind them. */
static void test_texts_without_an_end_are_cut(void **state)
{
    struct records *records = NULL;
    struct mesh_record says = record_of(1);
    (void)state;
    assert_int_equal(records_new(&records), 0);
    memset(says.name, 'n', sizeof says.name);
    memset(says.zone, 'z', sizeof says.zone);
    const struct mesh_record *taken = records_take(records, &says);
    assert_int_equal(strlen(taken->name), MESH_NAME_MAX);
    assert_int_equal(strlen(taken->zone), MESH_ZONE_MAX);
    records_give(records, taken);
    records_free(records);
}

#define MANY 3000

/* Many, of ids that share a bucket and of such that do not, given back in another order. */
static void test_many_records_stand_beside_each_other(void **state)
{
    static const struct mesh_record *taken[2][MANY];
    struct records *records = NULL;
    (void)state;
    assert_int_equal(records_new(&records), 0);
    for (int round = 0; round < 2; round++)
        for (unsigned n = 0; n < MANY; n++) {
            struct mesh_record says = record_of(n % 2 == 0 ? 4 : n); /* half are of one id */
            says.version = n + 1;
            taken[round][n] = records_take(records, &says);
            assert_non_null(taken[round][n]);
            assert_true(taken[round][n]->version == n + 1);
        }
    assert_int_equal(records_count(records), MANY);
    assert_memory_equal(taken[0], taken[1], sizeof taken[0]);
    for (unsigned n = 0; n < MANY; n++) {
        unsigned other = n * 7 % MANY; /* 7 and MANY have no divisor in common */
        records_give(records, taken[0][n]);
        records_give(records, taken[1][other]);
    }
    assert_int_equal(records_count(records), 0);
    records_free(records);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_records_are_one_until_all_are_given_back),
        cmocka_unit_test(test_any_field_makes_another_record),
        cmocka_unit_test(test_texts_without_an_end_are_cut),
        cmocka_unit_test(test_many_records_stand_beside_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
