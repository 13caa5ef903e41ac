/* test_identity.c - keys of members' own: proofs (mesh/wire/identity.c), and a mesh in which what a
 * member says of itself counts only with one (mesh/member/swim_identity.c). */
#include <sodium.h>

#include "mesh/wire/identity.h"
#include "tests/unit/swim_world.h"

#define LABEL "default"

static uint8_t ca_secret[32] = {7}, ca[32];

static void identity_make(struct identity *identity, const char *name, const char *label,
                          uint8_t secret_byte)
{
    uint8_t secret[32] = {1, secret_byte}, key[32], certificate[64];
    identity_public(ca_secret, ca);
    identity_public(secret, key);
    identity_certify(ca_secret, name, key, certificate);
    assert_int_equal(identity_init(identity, secret, certificate, ca, name, label), 0);
}

static struct mesh_record record_make(void)
{
    struct mesh_record record = {.name = "a", .zone = "z", .nonce = 5, .version = 3, .weight = 1};
    record.id = (struct peer_id){view_name_hash("a"), WALL_MS};
    record.addr = addr_of(1);
    record.serving = true;
    record.keys_count = 1;
    record.keys[0] = 99;
    return record;
}

static void test_a_certificate_is_of_one_name_and_key(void **state)
{
    struct identity identity;
    uint8_t secret[32] = {1, 2}, key[32], certificate[64], other[32] = {9};
    (void)state;
    identity_public(ca_secret, ca);
    identity_public(secret, key);
    identity_certify(ca_secret, "a", key, certificate);
    assert_int_equal(identity_init(&identity, secret, certificate, ca, "a", LABEL), 0);
    assert_int_equal(identity_init(&identity, secret, certificate, ca, "b", LABEL), -EINVAL);
    assert_int_equal(identity_init(&identity, other, certificate, ca, "a", LABEL), -EINVAL);
    assert_int_equal(identity_init(&identity, secret, certificate, other, "a", LABEL), -EINVAL);
    assert_true(sodium_is_zero((const uint8_t *)&identity, sizeof identity));
}

static void test_a_proof_is_of_all_that_was_said(void **state)
{
    struct identity own, others;
    struct mesh_record record = record_make(), changed;
    (void)state;
    identity_make(&own, "a", LABEL, 1);
    identity_make(&others, "b", LABEL, 2);
    identity_prove(&own, &record, 4, false);
    assert_true(identity_holds(&others, &record, 4, false, NULL));
    assert_true(identity_holds(&others, &record, 4, false, &record));
    assert_false(identity_holds(&others, &record, 5, false, NULL));
    assert_false(identity_holds(&others, &record, 4, true, NULL));
    for (unsigned n = 0; n < 12; n++) {
        changed = record;
        switch (n) {
        case 0:
            changed.id.generation++;
            break;
        case 1:
            changed.nonce++;
            break;
        case 2:
            changed.version++;
            break;
        case 3:
            changed.addr.ip[15]++;
            break;
        case 4:
            changed.addr.port++;
            break;
        case 5:
            changed.weight++;
            break;
        case 6:
            changed.serving = false;
            break;
        case 7:
            changed.zone[0]++;
            break;
        case 8:
            changed.keys[0]++;
            break;
        case 9:
            changed.name[0] = 'b';
            break;
        case 10:
            changed.has_proof = false;
            break;
        case 11:
            changed.id.name++;
            break;
        }
        assert_false(identity_holds(&others, &changed, 4, false, &record));
    }
    for (unsigned n = 0; n < MESH_PROOF_BYTES; n++) {
        changed = record;
        changed.proof[n] ^= 1;
        assert_false(identity_holds(&others, &changed, 4, false, &record));
    }
}

static void test_a_proof_of_another_member_or_mesh_is_none(void **state)
{
    struct identity own, others, elsewhere, thief;
    struct mesh_record record = record_make();
    (void)state;
    identity_make(&own, "a", LABEL, 1);
    identity_make(&others, "b", LABEL, 2);
    identity_make(&elsewhere, "b", "another", 2);
    identity_prove(&own, &record, 0, false);
    assert_false(identity_holds(&elsewhere, &record, 0, false, NULL));
    thief = others; /* b says what a is, by its own key and certificate */
    identity_prove(&thief, &record, 0, false);
    assert_false(identity_holds(&own, &record, 0, false, NULL));
    memcpy(thief.certificate, own.certificate, sizeof own.certificate); /* or by a's */
    identity_prove(&thief, &record, 0, false);
    assert_false(identity_holds(&own, &record, 0, false, NULL));
}

static void test_a_proof_travels_with_the_record(void **state)
{
    struct identity own;
    struct wire_datagram d = {.kind = DATAGRAM_GOSSIP}, read;
    struct wire_writer w;
    struct wire_update u = {.kind = UPDATE_LEFT, .incarnation = 6};
    uint8_t plain[WIRE_PLAIN_MAX];
    (void)state;
    identity_make(&own, "a", LABEL, 1);
    u.record = record_make();
    d.sender = u.record.id;
    assert_int_equal(wire_datagram_begin(&w, &d, plain, sizeof plain), 0);
    size_t before = w.length;
    assert_int_equal(wire_datagram_add(&w, &u), 0);
    size_t without = w.length - before;
    identity_prove(&own, &u.record, 6, true);
    assert_int_equal(wire_datagram_add(&w, &u), 0);
    assert_int_equal(w.length - before - without, without + 4 + MESH_PROOF_BYTES);
    assert_int_equal(wire_datagram_read(&read, plain, w.length), 0);
    assert_int_equal(read.updates_count, 2);
    assert_false(read.updates[0].record.has_proof);
    assert_true(identity_holds(&own, &read.updates[1].record, 6, true, NULL));
    plain[w.length - MESH_PROOF_BYTES - 1]--; /* shorter than a proof is */
    assert_int_equal(wire_datagram_read(&read, plain, w.length - 1), -EBADMSG);
}

/* ---- a mesh of them -------------------------------------------------------------------------- */

static struct identity identities[8];

/* Peers a, b, ... with an identity each; `more` of them come later. */
static void world_make_proved(struct world *w, uint8_t seed, unsigned count, unsigned more)
{
    char name[2] = "a";
    world_init(w, seed);
    for (unsigned n = 0; n < count + more; n++, name[0]++) {
        identity_make(&identities[n], name, LABEL, (uint8_t)n);
        w->identities[n] = &identities[n];
    }
    world_make(w, count);
}

static uint64_t unproved(const struct peer *peer)
{
    struct swim_stats stats;
    swim_stats(peer->swim, &stats);
    return stats.unproved;
}

static void tell(struct world *w, struct peer *from, struct peer *to, const struct wire_update *u)
{
    static struct wire_datagram d;
    memset(&d, 0, sizeof d);
    d.kind = DATAGRAM_GOSSIP;
    d.updates_count = 1;
    d.updates[0] = *u;
    d.sender = id_of(from);
    d.target_name_only.name = id_of(to).name;
    d.target_nonce = to->nonce;
    swim_on_datagram(to->swim, &from->addr, &d, from->nonce, w->now_ms);
    drain(w, to);
}

static void test_members_with_identities_live_as_all_do(void **state)
{
    struct world w;
    (void)state;
    world_make_proved(&w, 1, 5, 1);
    assert_true(world_agrees(&w));
    struct peer *a = &w.peers[0], *b = &w.peers[1], *c = &w.peers[2], *d = &w.peers[3];
    swim_set_flags(b->swim, true, true, w.now_ms); /* says something else */
    b->is_stopped = true;                          /* is suspected, and refutes */
    world_run(&w, 2500);
    b->is_stopped = false;
    assert_true(world_agrees_after(&w, 20000) != MESH_NEVER);
    const struct mesh_member *row = view_find(swim_view(a->swim), id_of(b));
    assert_true(row->record->draining);
    assert_true(row->record->has_proof);
    struct peer_id left = id_of(c), died = id_of(d);
    swim_leave(c->swim, w.now_ms);
    drain(&w, c);
    world_run(&w, 300);
    assert_int_equal(state_of(a, left), MEMBER_LEFT);
    assert_int_equal(state_of(b, left), MEMBER_LEFT);
    world_run(&w, 3000);
    world_crash(&w, c);
    world_crash(&w, d);
    world_run(&w, 15000);
    assert_int_equal(state_of(a, died), MEMBER_DEAD);
    w.identities[w.count] = &identities[3];
    struct peer *again = world_join(&w, "d", 9, 0);
    assert_true(world_agrees_after(&w, 10000) != MESH_NEVER);
    assert_int_equal(state_of(b, id_of(again)), MEMBER_ALIVE);
    for (size_t n = 0; n < w.count; n++)
        if (w.peers[n].swim != NULL)
            assert_int_equal(unproved(&w.peers[n]), 0);
    world_deinit(&w);
}

/* In its own name, too: who has the cluster's key can write any sender. */
static void test_what_others_say_in_a_members_place_is_refused(void **state)
{
    struct world w;
    (void)state;
    world_make_proved(&w, 2, 4, 0);
    struct peer *b = &w.peers[1], *c = &w.peers[2];
    const struct mesh_member *self = view_self(swim_view(b->swim));
    struct wire_update u;
    for (unsigned n = 0; n < 12; n++) {
        view_tell(self, &u);
        if (n / 6 == 0) { /* without, or with the proof of something else */
            u.record.has_proof = false;
            memset(u.record.proof, 0, sizeof u.record.proof);
        }
        switch (n % 6) {
        case 0: /* a farewell */
            u.kind = UPDATE_LEFT;
            break;
        case 1: /* a newer process */
            u.record.id.generation += 10;
            break;
        case 2: /* a twin */
            u.record.nonce++;
            break;
        case 3: /* another record */
            u.record.version++;
            u.record.serving = false;
            break;
        case 4: /* another incarnation */
            u.incarnation += 5;
            break;
        case 5: /* a death in one that it never was in */
            u.kind = UPDATE_DEAD;
            u.incarnation += 5;
            u.accuser = id_of(&w.peers[0]);
            break;
        }
        uint64_t before = unproved(c);
        tell(&w, b, c, &u);
        tell(&w, &w.peers[0], c, &u);
        assert_int_equal(unproved(c), before + 2);
        assert_int_equal(state_of(c, id_of(b)), MEMBER_ALIVE);
    }
    u.kind = UPDATE_DEAD; /* of a process that never was, and nothing but its end is told */
    u.record.name[0] = '\0';
    u.record.has_proof = false;
    u.record.id.generation++;
    tell(&w, &w.peers[0], c, &u);
    tell(&w, &w.peers[0], b, &u);
    world_run(&w, 3000);
    assert_int_equal(b->superseded, 0);
    assert_int_equal(deaths_seen(&w), 0);
    assert_true(world_agrees(&w));
    world_deinit(&w);
}

/* What it signed is its own word, whoever brings it: nobody is asked. */
static void test_a_farewell_that_it_signed_is_believed_at_once(void **state)
{
    struct world w;
    (void)state;
    world_make_proved(&w, 3, 4, 0);
    struct peer *b = &w.peers[1], *c = &w.peers[2];
    struct wire_update u;
    view_tell(view_self(swim_view(b->swim)), &u);
    u.kind = UPDATE_LEFT;
    identity_prove(&identities[1], &u.record, u.incarnation, true);
    tell(&w, &w.peers[0], c, &u);
    assert_int_equal(state_of(c, id_of(b)), MEMBER_LEFT);
    assert_int_equal(unproved(c), 0);
    world_deinit(&w);
}

/* `has_one`: the mesh has identities and who comes has none; or the other way round. */
static void refuse(bool has_one)
{
    struct world w;
    world_init(&w, 4);
    for (unsigned n = 0; n < 4; n++) {
        identity_make(&identities[n], (char[]){(char)('a' + n), 0}, LABEL, (uint8_t)n);
        w.identities[n] = has_one == (n < 3) ? &identities[n] : NULL;
    }
    world_make(&w, 3);
    assert_true(world_agrees(&w));
    struct peer *stranger = world_join(&w, "d", 3, 0);
    world_run(&w, 20000);
    for (unsigned n = 0; n < 3; n++) {
        assert_int_equal(view_living(swim_view(w.peers[n].swim)), 3);
        assert_int_equal(state_of(&w.peers[n], id_of(stranger)), MEMBER_UNKNOWN);
    }
    assert_int_equal(view_living(swim_view(stranger->swim)), 1);
    assert_true(unproved(&w.peers[0]) > 0);
    assert_true(unproved(stranger) > 0);
    assert_int_equal(deaths_seen(&w), 0);
    world_deinit(&w);
}

static void test_who_has_no_identity_is_refused_by_those_who_have_one(void **state)
{
    (void)state;
    refuse(true);
}

static void test_who_has_an_identity_is_refused_by_those_who_have_none(void **state)
{
    (void)state;
    refuse(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_certificate_is_of_one_name_and_key),
        cmocka_unit_test(test_a_proof_is_of_all_that_was_said),
        cmocka_unit_test(test_a_proof_of_another_member_or_mesh_is_none),
        cmocka_unit_test(test_a_proof_travels_with_the_record),
        cmocka_unit_test(test_members_with_identities_live_as_all_do),
        cmocka_unit_test(test_what_others_say_in_a_members_place_is_refused),
        cmocka_unit_test(test_a_farewell_that_it_signed_is_believed_at_once),
        cmocka_unit_test(test_who_has_no_identity_is_refused_by_those_who_have_one),
        cmocka_unit_test(test_who_has_an_identity_is_refused_by_those_who_have_none),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
