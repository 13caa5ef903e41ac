/* Tests of wire.h: each message's round trip, and what hostile bytes get (bad-inputs.md §3 and
 * rows G11-G14, G19, G21, G22, G26). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mesh/wire/wire.h"

#define ELEMENTS 512

static struct mesh_addr addr_v4(uint8_t last, uint16_t port)
{
    struct mesh_addr addr = {.ip = {[10] = 0xff, [11] = 0xff, 10, 0, 0}, .port = port};
    addr.ip[15] = last;
    return addr;
}

static struct wire_update update_alive(uint64_t name)
{
    struct wire_update u = {
        .kind = UPDATE_ALIVE,
        .record = {.id = {name, 1764038400000},
                   .nonce = 0x1122334455667788,
                   .version = 3,
                   .addr = addr_v4(7, 7946),
                   .weight = 2,
                   .serving = true,
                   .hold = true},
        .incarnation = 9,
    };
    strcpy(u.record.name, "peer-7");
    strcpy(u.record.zone, "eu-1a");
    return u;
}

static void assert_update_equal(const struct wire_update *a, const struct wire_update *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_true(peer_id_equal(a->record.id, b->record.id));
    assert_true(peer_id_equal(a->accuser, b->accuser));
    assert_int_equal(a->incarnation, b->incarnation);
    assert_string_equal(a->record.name, b->record.name);
    assert_string_equal(a->record.zone, b->record.zone);
    assert_true(mesh_addr_equal(&a->record.addr, &b->record.addr));
    assert_true(a->record.nonce == b->record.nonce && a->record.version == b->record.version);
    assert_int_equal(a->record.weight, b->record.weight);
    assert_int_equal(a->record.serving, b->record.serving);
    assert_int_equal(a->record.draining, b->record.draining);
    assert_int_equal(a->record.hold, b->record.hold);
    assert_int_equal(a->record.keys_count, b->record.keys_count);
    assert_memory_equal(a->record.keys, b->record.keys, sizeof a->record.keys);
}

static struct wire_datagram datagram_of(enum datagram_kind kind)
{
    struct wire_datagram d = {
        .target_name_only = {.name = 0xfeedfacecafebeef},
        .target_nonce = 0x0123456789abcdef,
        .kind = kind,
        .number = 77,
        .sender = {0x8877665544332211, 1764038400123},
    };
    switch (kind) {
    case DATAGRAM_WELCOME:
        d.highest_generation = 1764038400001;
        d.seen_from = addr_v4(3, 7946);
        d.incumbent_lives = true;
        d.incumbent_addr = (struct mesh_addr){.ip = {0x20, 1, 0xd, 0xb8, [15] = 1}, .port = 1};
        d.incumbent = (struct peer_id){5, 6};
        strcpy(d.name, "a");
        break;
    case DATAGRAM_HELLO:
        memset(d.name, 'z', MESH_NAME_MAX);
        break;
    case DATAGRAM_PING:
    case DATAGRAM_ACK:
        d.view_hash = UINT64_MAX;
        d.load = 12345;
        break;
    case DATAGRAM_PING_REQ:
        d.subject_addr = addr_v4(255, UINT16_MAX);
        d.subject = (struct peer_id){1, 2};
        break;
    case DATAGRAM_NACK:
    case DATAGRAM_CONFIRM:
        d.subject = (struct peer_id){1, UINT64_MAX};
        break;
    case DATAGRAM_GOSSIP:
    case DATAGRAM_NOT_ME:
        break;
    }
    return d;
}

static void assert_datagram_equal(const struct wire_datagram *a, const struct wire_datagram *b)
{
    assert_true(a->target_name_only.name == b->target_name_only.name);
    assert_true(a->target_nonce == b->target_nonce);
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->number, b->number);
    assert_true(peer_id_equal(a->sender, b->sender) && peer_id_equal(a->subject, b->subject));
    assert_true(a->view_hash == b->view_hash && a->load == b->load);
    assert_true(mesh_addr_equal(&a->subject_addr, &b->subject_addr));
    assert_string_equal(a->name, b->name);
    assert_true(a->highest_generation == b->highest_generation);
    assert_int_equal(a->incumbent_lives, b->incumbent_lives);
    assert_true(mesh_addr_equal(&a->incumbent_addr, &b->incumbent_addr));
    assert_true(peer_id_equal(a->incumbent, b->incumbent));
    assert_true(mesh_addr_equal(&a->seen_from, &b->seen_from));
}

static size_t datagram_write(enum datagram_kind kind, uint8_t into[WIRE_PLAIN_MAX])
{
    struct wire_datagram d = datagram_of(kind);
    struct wire_update dead = {
        .kind = UPDATE_DEAD, .record.id = {4, 5}, .incarnation = 1, .accuser = {6, 7}};
    struct wire_update alive = update_alive(99);
    struct wire_update claim = {
        .kind = UPDATE_CLAIM, .record.id = {8, 9}, .incarnation = 10, .shard = 11};
    struct wire_writer w;

    assert_int_equal(wire_datagram_begin(&w, &d, into, WIRE_PLAIN_MAX), 0);
    assert_int_equal(wire_datagram_add(&w, &alive), 0);
    assert_int_equal(wire_datagram_add(&w, &dead), 0);
    assert_int_equal(wire_datagram_add(&w, &claim), 0);
    return w.length;
}

static void test_each_datagram_reads_as_it_was_written(void **state)
{
    (void)state;
    for (enum datagram_kind kind = DATAGRAM_HELLO; kind <= DATAGRAM_KIND_LAST; kind++) {
        uint8_t plain[WIRE_PLAIN_MAX];
        size_t length = datagram_write(kind, plain);
        struct wire_datagram written = datagram_of(kind), read;
        struct wire_update alive = update_alive(99);

        assert_int_equal(wire_datagram_read(&read, plain, length), 0);
        assert_datagram_equal(&written, &read);
        assert_int_equal(read.updates_count, 3);
        assert_update_equal(&read.updates[0], &alive);
        assert_int_equal(read.updates[1].kind, UPDATE_DEAD);
        assert_int_equal(read.updates[1].accuser.generation, 7);
        assert_string_equal(read.updates[1].record.name, "");
        assert_int_equal(read.updates[2].kind, UPDATE_CLAIM);
        assert_true(peer_id_equal(read.updates[2].record.id, (struct peer_id){8, 9}));
        assert_int_equal(read.updates[2].incarnation, 10);
        assert_int_equal(read.updates[2].shard, 11);
    }
}

static void test_each_kind_of_update_may_carry_the_record(void **state)
{
    (void)state;
    for (enum update_kind kind = UPDATE_ALIVE; kind <= UPDATE_LEFT; kind++) { /* but claims */
        struct wire_datagram d = datagram_of(DATAGRAM_GOSSIP), read;
        struct wire_update u = update_alive(kind);
        struct wire_writer w;
        uint8_t plain[WIRE_PLAIN_MAX];

        u.kind = kind;
        u.record.draining = true;
        assert_int_equal(wire_datagram_begin(&w, &d, plain, sizeof plain), 0);
        assert_int_equal(wire_datagram_add(&w, &u), 0);
        assert_int_equal(wire_datagram_read(&read, plain, w.length), 0);
        assert_update_equal(&read.updates[0], &u);
    }
}

/* A record of a peer with keys: [.. flags] and its key ids. */
static void test_a_record_says_which_keys_are_accepted(void **state)
{
    (void)state;
    for (uint8_t count = 0; count <= MESH_KEYS_SAID_MAX; count++) {
        struct wire_datagram d = datagram_of(DATAGRAM_GOSSIP), read;
        struct wire_update u = update_alive(1);
        struct wire_writer w;
        uint8_t plain[WIRE_PLAIN_MAX];

        u.record.keys_count = count;
        for (uint8_t n = 0; n < count; n++)
            u.record.keys[n] = 0xfedcba98u + n;
        assert_int_equal(wire_datagram_begin(&w, &d, plain, sizeof plain), 0);
        size_t before = w.length;
        assert_int_equal(wire_datagram_add(&w, &u), 0);
        assert_int_equal(wire_datagram_read(&read, plain, w.length), 0);
        assert_update_equal(&read.updates[0], &u);
        if (count == 0)
            continue;
        /* of any other length it is refused; without it, it is that of an older version */
        size_t at = w.length - 4u * count - 1;
        assert_int_equal(plain[at], 4 * count);
        plain[at]--;
        assert_int_equal(wire_datagram_read(&read, plain, w.length - 1), -EBADMSG);
        plain[at] = 0;
        assert_int_equal(wire_datagram_read(&read, plain, at + 1), -EBADMSG);
        assert_int_equal(plain[before], 0x9f); /* 15 elements */
        plain[before] = 0x9e;
        plain[at - 2] = (uint8_t)(plain[at - 2] & ~8); /* the flag */
        u.record.keys_count = 0;
        memset(u.record.keys, 0, sizeof u.record.keys);
        assert_int_equal(wire_datagram_read(&read, plain, at - 1), 0);
        assert_update_equal(&read.updates[0], &u);
    }
}

static void test_writer_without_room_leaves_the_datagram_whole(void **state)
{
    (void)state;
    struct wire_datagram d = datagram_of(DATAGRAM_PING), read;
    struct wire_writer w;
    uint8_t plain[WIRE_PLAIN_MAX];
    uint16_t added = 0;

    assert_int_equal(wire_datagram_begin(&w, &d, plain, 20), -ENOSPC);
    assert_int_equal(wire_datagram_begin(&w, &d, plain, WIRE_PLAIN_MAX + 1), -ENOSPC);
    assert_int_equal(wire_datagram_begin(&w, &d, plain, sizeof plain), 0);
    for (;; added++) {
        struct wire_update u = update_alive(added + 1);
        if (wire_datagram_add(&w, &u) == -ENOSPC)
            break;
    }
    assert_true(added >= 12);
    assert_true(w.length <= WIRE_PLAIN_MAX);
    assert_int_equal(wire_datagram_read(&read, plain, w.length), 0);
    assert_int_equal(read.updates_count, added);
}

static void test_padding_makes_a_hello_long_and_means_nothing(void **state)
{
    (void)state;
    struct wire_datagram d = datagram_of(DATAGRAM_HELLO), read;
    struct wire_writer w;
    uint8_t plain[WIRE_PLAIN_MAX];

    assert_int_equal(wire_datagram_begin(&w, &d, plain, sizeof plain), 0);
    wire_datagram_pad(&w, 1);
    assert_true(w.length > 80);
    wire_datagram_pad(&w, WIRE_PLAIN_MAX + 500);
    assert_int_equal(w.length, WIRE_PLAIN_MAX);
    assert_int_equal(wire_datagram_read(&read, plain, w.length), 0);
    assert_datagram_equal(&d, &read);
    plain[w.length - 1] = 0x90; /* trailing bytes (row G13) */
    assert_int_equal(wire_datagram_read(&read, plain, w.length), -EBADMSG);
}

static void test_sixty_five_updates_are_refused_whole(void **state)
{
    (void)state;
    struct wire_datagram d = datagram_of(DATAGRAM_GOSSIP), read;
    struct wire_update u = {.kind = UPDATE_LEFT, .record = {.id = {1, 1}}};
    struct wire_writer w;
    uint8_t plain[WIRE_PLAIN_MAX];

    assert_int_equal(wire_datagram_begin(&w, &d, plain, sizeof plain), 0);
    for (int i = 0; i < WIRE_UPDATES_MAX; i++)
        assert_int_equal(wire_datagram_add(&w, &u), 0);
    assert_int_equal(wire_datagram_add(&w, &u), -ENOSPC);
    assert_int_equal(wire_datagram_read(&read, plain, w.length), 0);
    memcpy(plain + w.length, plain + w.length - 7, 7); /* one update of 7 bytes more */
    assert_int_equal(wire_datagram_read(&read, plain, w.length + 7), -EBADMSG);
}

/* Writes a GOSSIP with one ALIVE that `spoil` has changed; true: it was accepted. */
static bool is_accepted(void (*spoil)(struct mesh_record *m))
{
    struct wire_datagram d = datagram_of(DATAGRAM_GOSSIP), read;
    struct wire_update u = update_alive(1);
    struct wire_writer w;
    uint8_t plain[WIRE_PLAIN_MAX];

    spoil(&u.record);
    assert_int_equal(wire_datagram_begin(&w, &d, plain, sizeof plain), 0);
    assert_int_equal(wire_datagram_add(&w, &u), 0);
    return wire_datagram_read(&read, plain, w.length) == 0;
}
static void spoil_nothing(struct mesh_record *m)
{
    m->weight = 16;
}
static void spoil_upper(struct mesh_record *m)
{
    m->name[0] = 'P';
}
static void spoil_newline(struct mesh_record *m)
{
    m->name[1] = '\n';
}
static void spoil_escape(struct mesh_record *m)
{
    m->zone[0] = '\033';
}
static void spoil_port(struct mesh_record *m)
{
    m->addr.port = 0;
}
static void spoil_weight_0(struct mesh_record *m)
{
    m->weight = 0;
}
static void spoil_weight_17(struct mesh_record *m)
{
    m->weight = 17;
}
static void spoil_unspecified(struct mesh_record *m)
{
    memset(m->addr.ip + 12, 0, 4);
}
static void spoil_unspecified_v6(struct mesh_record *m)
{
    memset(m->addr.ip, 0, 16);
}
static void spoil_multicast(struct mesh_record *m)
{
    m->addr.ip[12] = 224;
}
static void spoil_broadcast(struct mesh_record *m)
{
    memset(m->addr.ip + 12, 255, 4);
}
static void spoil_multicast_v6(struct mesh_record *m)
{
    memset(m->addr.ip, 0xff, 16);
}
static void spoil_loopback(struct mesh_record *m)
{
    memcpy(m->addr.ip + 12, "\x7f\0\0\1", 4);
}
static void spoil_name(struct mesh_record *m)
{
    m->name[0] = '\0';
}
static void spoil_zone(struct mesh_record *m)
{
    m->zone[0] = '\0';
}
static void spoil_nobody(struct mesh_record *m)
{
    m->id = (struct peer_id){0};
}

static void test_illegal_members_are_refused(void **state)
{
    (void)state;
    assert_true(is_accepted(spoil_nothing));
    assert_true(is_accepted(spoil_loopback)); /* whose it is is judged by the membership */
    assert_true(is_accepted(spoil_zone));     /* it has none */
    assert_false(is_accepted(spoil_name));
    assert_false(is_accepted(spoil_upper));
    assert_false(is_accepted(spoil_newline));
    assert_false(is_accepted(spoil_escape));
    assert_false(is_accepted(spoil_port));
    assert_false(is_accepted(spoil_weight_0));
    assert_false(is_accepted(spoil_weight_17));
    assert_false(is_accepted(spoil_unspecified));
    assert_false(is_accepted(spoil_unspecified_v6));
    assert_false(is_accepted(spoil_multicast));
    assert_false(is_accepted(spoil_broadcast));
    assert_false(is_accepted(spoil_multicast_v6));
    assert_false(is_accepted(spoil_nobody));
}

/* An empty text is decoded as no pointer at all (corpus: wire/empty-text). */
static void test_an_empty_text_in_a_record_is_no_text(void **state)
{
    (void)state;
    static const uint8_t found[] = {
        0xd2, 0x7e, 0x07, 0x52, 0x52, 0x72, 0x51, 0,    0, 0,    0xc7, 0xad, 0xad, 0x0e, 0xfc,
        0xad, 0x94, 0x07, 0,    0x7f, 0x27, 0x9e, 0x02, 0, 0x72, 0x2e, 0,    0,    0,    0x52,
        0xa0, 0,    0x7a, 0,    0,    0,    0xdc, 0,    0, 0xdc, 0,    0,    0,    0};
    static struct wire_datagram read;
    struct wire_datagram d = datagram_of(DATAGRAM_PING);
    struct wire_update u = update_alive(5);
    uint8_t plain[WIRE_PLAIN_MAX];
    struct wire_writer w;

    assert_int_equal(wire_datagram_read(&read, found, sizeof found), -EBADMSG);
    memset(u.record.zone, 0, sizeof u.record.zone);
    assert_int_equal(wire_datagram_begin(&w, &d, plain, sizeof plain), 0);
    assert_int_equal(wire_datagram_add(&w, &u), 0);
    memset(&read, 0xff, sizeof read);
    assert_int_equal(wire_datagram_read(&read, plain, w.length), 0);
    assert_update_equal(&read.updates[0], &u);
}

/* ---- the scan ------------------------------------------------------------------------------- */

static int scan(const void *bytes, size_t length)
{
    uint32_t elements = ELEMENTS;
    return wire_scan(bytes, length, &elements);
}
#define SCAN(text) scan(text, sizeof text - 1)

static void test_scan_takes_each_form_of_the_format(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        int length;
    } forms[] = {
        {"\x00", 1},
        {"\x7f", 1},
        {"\xff", 1},
        {"\xc0", 1},
        {"\xc2", 1},
        {"\xc3", 1},
        {"\xcc\x01", 2},
        {"\xcd\x01\x02", 3},
        {"\xce\1\2\3\4", 5},
        {"\xcf\1\2\3\4\5\6\7\10", 9},
        {"\xd0\x01", 2},
        {"\xd1\x01\x02", 3},
        {"\xd2\1\2\3\4", 5},
        {"\xd3\1\2\3\4\5\6\7\10", 9},
        {"\xca\1\2\3\4", 5},
        {"\xcb\1\2\3\4\5\6\7\10", 9},
        {"\xa2xy", 3},
        {"\xd9\1x", 3},
        {"\xda\0\1x", 4},
        {"\xdb\0\0\0\1x", 6},
        {"\xc4\1x", 3},
        {"\xc5\0\1x", 4},
        {"\xc6\0\0\0\1x", 6},
        {"\xd4\1x", 3},
        {"\xd5\1xy", 4},
        {"\xd8\1abcdefghijklmnop", 18},
        {"\xc7\0\1", 3},
        {"\xc8\0\1\1x", 5},
        {"\xc9\0\0\0\1\1x", 7},
        {"\x90", 1},
        {"\x92\1\2", 3},
        {"\xdc\0\1\5", 4},
        {"\xdd\0\0\0\1\5", 6},
        {"\x81\1\2", 3},
        {"\xde\0\1\1\2", 5},
        {"\xdf\0\0\0\1\1\2", 7},
        {"\x91\x91\x91\x91\1", 5},
    };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        assert_int_equal(scan(forms[i].bytes, (size_t)forms[i].length), forms[i].length);
        assert_int_equal(scan(forms[i].bytes, (size_t)forms[i].length + 1), forms[i].length);
        for (int cut = 0; cut < forms[i].length; cut++)
            assert_int_equal(scan(forms[i].bytes, (size_t)cut), -EBADMSG);
    }
}

static void test_scan_refuses_bombs(void **state)
{
    (void)state;
    uint8_t nested[1100];

    assert_int_equal(SCAN("\xdd\xff\0\0\0"), -EBADMSG);
    assert_int_equal(SCAN("\xdd\x04\0\0\0"), -EBADMSG);
    assert_int_equal(SCAN("\xdd\x03\xff\xff\xff"), -EBADMSG);
    assert_int_equal(SCAN("\xdf\xff\xff\xff\xff\1\2"), -EBADMSG);
    assert_int_equal(SCAN("\xc1"), -EBADMSG);
    assert_int_equal(SCAN("\x91\xc1"), -EBADMSG);
    assert_int_equal(SCAN("\xdb\xff\xff\xff\xffxx"), -EBADMSG);
    assert_int_equal(SCAN("\xc6\xff\xff\xff\xffxx"), -EBADMSG);
    assert_int_equal(SCAN("\xc9\xff\xff\xff\xff\1x"), -EBADMSG);
    for (size_t i = 0; i < 32; i++)
        memcpy(nested + 3 * i, "\xdc\xff\xff", 3);
    assert_int_equal(scan(nested, 96), -EBADMSG);
    for (size_t i = 0; i < 32; i++)
        memcpy(nested + 5 * i, "\xdf\xff\xff\xff\xff", 5);
    assert_int_equal(scan(nested, 160), -EBADMSG);
    memset(nested, 0x91, sizeof nested);
    nested[sizeof nested - 1] = 0;
    assert_int_equal(scan(nested, sizeof nested), -EBADMSG);
    assert_int_equal(scan(nested + sizeof nested - 5, 5), 5);        /* depth 4 */
    assert_int_equal(scan(nested + sizeof nested - 6, 6), -EBADMSG); /* depth 5 */
    assert_int_equal(scan(nested + sizeof nested - 34, 34), -EBADMSG);
    /* Each array fits the bytes left, together they do not. */
    memset(nested, 0, sizeof nested);
    for (size_t i = 0; i < 3; i++)
        memcpy(nested + 3 * i, "\xdc\x01\x80", 3);
    assert_int_equal(scan(nested, 400), -EBADMSG);
}

static void test_scan_counts_declared_elements(void **state)
{
    (void)state;
    uint8_t array[3 + 513] = {0xdc, 2, 0};
    uint32_t left = ELEMENTS;

    assert_int_equal(wire_scan(array, sizeof array, &left), 3 + 512);
    assert_int_equal(left, 0);
    assert_int_equal(wire_scan("\x91\x00", 2, &left), -EBADMSG);
    array[2] = 1;
    left = ELEMENTS;
    assert_int_equal(wire_scan(array, sizeof array, &left), -EBADMSG);
}

static void test_wrong_types_in_a_datagram_are_refused(void **state)
{
    (void)state;
    /* target, then [PING, number, name, generation, view hash, load] with one element spoiled */
    static const char *const heads[] = {
        "\x96\x83\1\2\3\4\5\6\1\1\1\1\1",         /* a map for the kind */
        "\x96\xca\0\0\0\1\1\1\1\1\1",             /* a float */
        "\x96\3\xff\1\1\1\1",                     /* negative */
        "\x96\3\xd3\x80\0\0\0\0\0\0\0\1\1\1\1",   /* the least int64 */
        "\x96\3\xcb\x7f\xf8\0\0\0\0\0\0\1\1\1\1", /* NaN */
        "\x96\3\xcf\0\0\0\1\0\0\0\0\1\1\1\1",     /* over 32 bit */
        "\x95\3\1\1\1\1",                         /* too few */
        "\x96\x0a\1\1\1\1\1",                     /* no kind */
        "\x96\0\1\1\1\1\1",                       /* no kind */
        "\x96\3\1\0\1\1\1",                       /* no sender */
        "\x86\3\1\1\1\1\1\1\1\1\1\1\1",           /* a map for the message */
    };
    static const size_t lengths[] = {13, 11, 7, 15, 15, 15, 6, 7, 7, 7, 13};
    struct wire_datagram d;
    uint8_t plain[16 + 32] = {0};

    memcpy(plain + 16, "\x96\3\1\1\1\1\1", 7);
    assert_int_equal(wire_datagram_read(&d, plain, 16 + 7), 0);
    memcpy(plain + 16, "\x98\3\1\1\1\1\1\x93\1\2\3\xa1x", 13); /* appended by a later version */
    assert_int_equal(wire_datagram_read(&d, plain, 16 + 13), 0);
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        memcpy(plain + 16, heads[i], lengths[i]);
        assert_int_equal(wire_datagram_read(&d, plain, 16 + lengths[i]), -EBADMSG);
    }
    assert_int_equal(wire_datagram_read(&d, plain, 16), -EBADMSG);
    assert_int_equal(wire_datagram_read(&d, plain, 0), -EBADMSG);
}

/* What was accepted must mean something that can be written and read again: it is never half
 * parsed. */
static void assert_datagram_settles(const struct wire_datagram *d)
{
    struct wire_datagram again;
    struct wire_writer w;
    uint8_t plain[WIRE_PLAIN_MAX];

    assert_int_equal(wire_datagram_begin(&w, d, plain, sizeof plain), 0);
    for (uint16_t i = 0; i < d->updates_count; i++)
        assert_int_equal(wire_datagram_add(&w, &d->updates[i]), 0);
    assert_int_equal(wire_datagram_read(&again, plain, w.length), 0);
    assert_datagram_equal(d, &again);
    assert_int_equal(d->updates_count, again.updates_count);
    for (uint16_t i = 0; i < d->updates_count; i++)
        assert_update_equal(&d->updates[i], &again.updates[i]);
}

/* Exact copies on the heap: a sanitizer sees a read beyond the end. */
static int datagram_read_copy(struct wire_datagram *d, const uint8_t *plain, size_t length)
{
    uint8_t *copy = malloc(length ? length : 1);
    assert_non_null(copy);
    if (length > 0)
        memcpy(copy, plain, length);
    int rc = wire_datagram_read(d, copy, length);
    free(copy);
    return rc;
}

static void test_each_truncation_and_each_changed_byte_of_a_datagram(void **state)
{
    (void)state;
    struct wire_datagram read;

    for (enum datagram_kind kind = DATAGRAM_HELLO; kind <= DATAGRAM_KIND_LAST; kind++) {
        uint8_t plain[WIRE_PLAIN_MAX];
        size_t length = datagram_write(kind, plain), whole = 0;
        for (size_t cut = 0; cut < length; cut++) {
            int rc = datagram_read_copy(&read, plain, cut);
            assert_true(rc == 0 || rc == -EBADMSG);
            if (rc == 0) { /* only between two objects */
                assert_datagram_settles(&read);
                whole++;
            }
        }
        assert_int_equal(whole, 3);
        for (size_t at = 0; at < length; at++)
            for (int value = 0; value <= 0xff; value += 0xff) {
                uint8_t was = plain[at];
                plain[at] = (uint8_t)value;
                int rc = datagram_read_copy(&read, plain, length);
                assert_true(rc == 0 || rc == -EBADMSG);
                if (rc == 0)
                    assert_datagram_settles(&read);
                plain[at] = was;
            }
    }
}

/* ---- link messages -------------------------------------------------------------------------- */

static const char body[] = "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"tools/call\"}";
static struct wire_update records[WIRE_RECORDS_MAX], records_read[WIRE_RECORDS_MAX];

static struct wire_message message_of(enum wire_kind kind)
{
    struct wire_message m = {.kind = kind};

    switch (kind) {
    case WIRE_BUCKETS_ARE:
        for (size_t i = 0; i < WIRE_BUCKETS; i++)
            m.buckets[i] = UINT64_MAX - i;
        break;
    case WIRE_VIEW:
        m.view.mask = 0x8000000000000001;
        m.view.answer = true;
        m.view.count = 3;
        m.view.records = records;
        for (uint16_t i = 0; i < 3; i++)
            records[i] = update_alive(i + 1u);
        break;
    case WIRE_DONE:
        m.name = (struct exchange_name){{1, 2}, 3};
        break;
    case WIRE_OPEN:
        m.name = (struct exchange_name){{1, 2}, UINT64_MAX};
        m.has_session = true;
        memset(m.session.bytes, 0x5a, MESH_SESSION_BYTES);
        m.epoch = (struct mesh_epoch){4, {5, 6}};
        m.open.hops = 2;
        m.open.is_attach = true;
        m.open.lost_link = 0xaabbccddeeff0011;
        m.open.received = 12;
        m.open.serial = UINT64_MAX - 1;
        m.open.ran_at = (struct peer_id){4, 5};
        m.open.is_owner_lost = true;
        m.open.has_position = true;
        m.open.position = (struct event_id){UINT64_MAX, UINT64_MAX - 2, UINT32_MAX, true};
        m.open.progress = slice_text("-1.7976931348623157e+308");
        m.open.request.front = MESH_FRONT_SSE;
        m.open.request.want = MESH_CALL;
        m.open.request.era = MESH_MODERN;
        memset(m.open.request.who.hash, 7, 16);
        m.open.request.method = slice_text("POST");
        m.open.request.target = slice_text("/mcp?x=1");
        m.open.request.head = slice_text("A: b\r\nC: d\r\n");
        m.open.request.rpc.kind = RPC_REQUEST;
        m.open.request.rpc.method = RPC_TOOLS_CALL;
        m.open.request.rpc.id = (struct span){22, 1};
        m.open.request.rpc.method_name = (struct span){34, 10};
        m.open.request.rpc.params = (struct span){0, sizeof body - 1};
        m.open.request.rpc.has_task = true;
        m.open.request.rpc.batch_count = 9;
        m.payload = slice_text(body);
        break;
    case WIRE_FIND:
    case WIRE_ENDED:
    case WIRE_FOUND:
        memset(m.session.bytes, 0xa5, MESH_SESSION_BYTES);
        if (kind != WIRE_FIND)
            m.epoch = (struct mesh_epoch){UINT64_MAX, {1, 0}};
        m.is_ended = kind != WIRE_FIND;
        m.has_copy = kind == WIRE_FOUND;
        if (kind == WIRE_ENDED)
            m.ended.unaware = (struct peer_id){UINT64_MAX, 2};
        break;
    case WIRE_MOVED:
        m.epoch = (struct mesh_epoch){1, {2, 3}};
        break;
    case WIRE_HEAD:
    case WIRE_WHOLE:
        m.epoch = (struct mesh_epoch){1, {2, 3}};
        m.has_session = true;
        memset(m.session.bytes, 1, MESH_SESSION_BYTES);
        m.head.status = 200;
        m.head.form = MESH_FORM_SSE;
        m.head.head = slice_text("X: y\r\n");
        m.head.answers = kind == WIRE_WHOLE;
        m.head.serial = kind == WIRE_HEAD ? UINT64_MAX : 0;
        if (kind == WIRE_WHOLE) {
            m.payload = slice_text(body);
            m.head.patch = (struct patch){23, 0, slice_text("tag.")};
        }
        break;
    case WIRE_EVENT:
    case WIRE_DATA:
        m.epoch = (struct mesh_epoch){1, {2, 3}};
        m.payload = slice_text(body);
        m.text.answers = true;
        m.text.patch = (struct patch){22, 1, slice_text("\"s-7\"")};
        if (kind == WIRE_DATA)
            break;
        m.text.id = (struct event_id){9, UINT64_MAX, 0x80000000, true};
        m.text.retry_ms = UINT32_MAX;
        m.text.why = MESH_REASON_LAST;
        break;
    case WIRE_END:
        m.epoch = (struct mesh_epoch){1, {2, 3}};
        m.end.end = MESH_END_LATER;
        m.end.why = MESH_STOPPING;
        break;
    case WIRE_REFUSED:
        m.end.why = MESH_FULL;
        break;
    case WIRE_NOT_YET:
        m.not_yet.wait_ms = 250;
        break;
    case WIRE_TASK_IS:
    case WIRE_TASK_WHERE:
    case WIRE_TASK_AT:
        m.task.hash = UINT64_MAX - 1;
        m.task.peer = (struct peer_id){2, 3};
        m.task.number = 4;
        break;
    case WIRE_COPY:
    case WIRE_COPY_EVENT:
    case WIRE_COPY_STREAM:
        memset(m.session.bytes, 0xc3, MESH_SESSION_BYTES);
        m.epoch = (struct mesh_epoch){7, {8, 9}};
        m.payload = slice_text(body);
        m.copy.version = UINT64_MAX - 3;
        m.copy.parts = UINT8_MAX;
        m.copy.wants_ack = kind == WIRE_COPY;
        m.copy.answers = kind == WIRE_COPY_EVENT;
        m.copy.is_last = kind != WIRE_COPY;
        m.copy.is_safe = kind == WIRE_COPY_STREAM;
        m.copy.stream = UINT32_MAX;
        m.copy.number = UINT64_MAX;
        m.copy.delivered = UINT64_MAX - 1;
        m.copy.why = MESH_OUTCOME_UNKNOWN;
        break;
    case WIRE_COPIED:
    case WIRE_DIGEST:
    case WIRE_TOOLS:
        m.payload = slice_text(body);
        break;
    case WIRE_TAKE:
    case WIRE_GRANT:
    case WIRE_VETO:
    case WIRE_YIELD:
    case WIRE_CHECK:
    case WIRE_CHECKED:
    case WIRE_HAND:
    case WIRE_HANDED:
        memset(m.session.bytes, 0x3c, MESH_SESSION_BYTES);
        m.epoch = (struct mesh_epoch){7, {8, 9}};
        m.round.other = (struct mesh_epoch){UINT64_MAX, {10, 11}};
        m.round.version = UINT64_MAX - 4;
        m.round.runs = kind == WIRE_CHECKED;
        m.round.is_given = kind == WIRE_TAKE;
        m.round.is_end = kind == WIRE_HAND;
        m.round.is_refused = kind == WIRE_HANDED;
        m.round.is_unheard = kind == WIRE_YIELD;
        if (m.round.is_unheard) {
            m.round.newest = (struct event_id){UINT64_MAX, UINT64_MAX - 2, UINT32_MAX, true};
            m.round.answer = (struct event_id){UINT64_MAX - 5, 6, 0, false};
        }
        m.round.number = UINT64_MAX - 3;
        break;
    case WIRE_CANCEL:
        break;
    }
    return m;
}

static void assert_patch_equal(const struct patch *a, const struct patch *b)
{
    assert_true(a->at == b->at && a->cut == b->cut);
    assert_true(slice_equal(a->put, b->put));
}

static struct slice message_write(const struct wire_message *m, uint8_t *into, size_t room)
{
    int head = wire_link_write(m, into, room);
    assert_true(head > 0);
    assert_true((size_t)head + m->payload.length <= room);
    if (m->payload.length > 0)
        memcpy(into + head, m->payload.at, m->payload.length);
    return slice_borrow(into, (size_t)head + m->payload.length);
}

static void assert_event_id_equal(const struct event_id *a, const struct event_id *b)
{
    assert_int_equal(a->stream, b->stream);
    assert_true(a->epoch == b->epoch && a->number == b->number);
    assert_int_equal(a->is_last, b->is_last);
}

static void assert_head_equal(const struct wire_message *a, const struct wire_message *b)
{
    const struct mesh_request *r = &a->open.request, *s = &b->open.request;

    switch (a->kind) {
    case WIRE_BUCKETS_ARE:
        assert_memory_equal(a->buckets, b->buckets, sizeof a->buckets);
        break;
    case WIRE_VIEW:
        assert_true(a->view.mask == b->view.mask && a->view.answer == b->view.answer);
        assert_int_equal(a->view.count, b->view.count);
        for (uint16_t i = 0; i < a->view.count; i++)
            assert_update_equal(&a->view.records[i], &b->view.records[i]);
        break;
    case WIRE_OPEN:
        assert_int_equal(a->open.hops, b->open.hops);
        assert_int_equal(a->open.is_attach, b->open.is_attach);
        assert_true(a->open.lost_link == b->open.lost_link);
        assert_int_equal(a->open.received, b->open.received);
        assert_true(a->open.serial == b->open.serial);
        assert_true(peer_id_equal(a->open.ran_at, b->open.ran_at));
        assert_int_equal(a->open.is_owner_lost, b->open.is_owner_lost);
        assert_int_equal(a->open.has_position, b->open.has_position);
        assert_event_id_equal(&a->open.position, &b->open.position);
        assert_true(slice_equal(a->open.progress, b->open.progress));
        assert_int_equal(r->want, s->want);
        assert_int_equal(r->era, s->era);
        assert_int_equal(r->front, s->front);
        assert_memory_equal(&r->who, &s->who, sizeof r->who);
        assert_memory_equal(&r->token, &s->token, sizeof r->token);
        assert_int_equal(r->who_key, s->who_key);
        assert_true(slice_equal(r->method, s->method) && slice_equal(r->target, s->target));
        assert_true(slice_equal(r->head, s->head));
        assert_memory_equal(&r->rpc.id, &s->rpc.id, sizeof r->rpc.id);
        assert_memory_equal(&r->rpc.method_name, &s->rpc.method_name, sizeof r->rpc.id);
        assert_memory_equal(&r->rpc.params, &s->rpc.params, sizeof r->rpc.id);
        assert_int_equal(r->rpc.kind, s->rpc.kind);
        assert_int_equal(r->rpc.method, s->rpc.method);
        assert_int_equal(r->rpc.has_task, s->rpc.has_task);
        assert_int_equal(r->rpc.batch_count, s->rpc.batch_count);
        break;
    case WIRE_HEAD:
    case WIRE_WHOLE:
        assert_int_equal(a->head.answers, b->head.answers);
        assert_true(a->head.serial == b->head.serial);
        assert_int_equal(a->head.status, b->head.status);
        assert_int_equal(a->head.form, b->head.form);
        assert_true(slice_equal(a->head.head, b->head.head));
        assert_patch_equal(&a->head.patch, &b->head.patch);
        break;
    case WIRE_EVENT:
    case WIRE_DATA:
        assert_int_equal(a->text.answers, b->text.answers);
        assert_patch_equal(&a->text.patch, &b->text.patch);
        assert_event_id_equal(&a->text.id, &b->text.id);
        assert_true(a->text.retry_ms == b->text.retry_ms && a->text.why == b->text.why);
        break;
    case WIRE_TASK_IS:
    case WIRE_TASK_WHERE:
    case WIRE_TASK_AT:
        assert_true(a->task.hash == b->task.hash && a->task.number == b->task.number);
        assert_true(peer_id_equal(a->task.peer, b->task.peer));
        break;
    case WIRE_COPY:
    case WIRE_COPY_EVENT:
    case WIRE_COPY_STREAM:
        assert_true(a->copy.version == b->copy.version && a->copy.parts == b->copy.parts);
        assert_int_equal(a->copy.wants_ack, b->copy.wants_ack);
        assert_int_equal(a->copy.answers, b->copy.answers);
        assert_int_equal(a->copy.is_last, b->copy.is_last);
        assert_int_equal(a->copy.is_safe, b->copy.is_safe);
        assert_true(a->copy.stream == b->copy.stream && a->copy.number == b->copy.number);
        assert_true(a->copy.delivered == b->copy.delivered && a->copy.why == b->copy.why);
        break;
    case WIRE_TAKE:
    case WIRE_GRANT:
    case WIRE_VETO:
    case WIRE_YIELD:
    case WIRE_CHECK:
    case WIRE_CHECKED:
    case WIRE_HAND:
    case WIRE_HANDED:
        assert_int_equal(mesh_epoch_compare(a->round.other, b->round.other), 0);
        assert_true(a->round.version == b->round.version);
        assert_int_equal(a->round.runs, b->round.runs);
        assert_int_equal(a->round.is_given, b->round.is_given);
        assert_int_equal(a->round.is_end, b->round.is_end);
        assert_int_equal(a->round.is_refused, b->round.is_refused);
        assert_int_equal(a->round.is_unheard, b->round.is_unheard);
        assert_event_id_equal(&a->round.newest, &b->round.newest);
        assert_event_id_equal(&a->round.answer, &b->round.answer);
        assert_true(a->round.number == b->round.number);
        break;
    case WIRE_END:
    case WIRE_REFUSED:
        assert_int_equal(a->end.end, b->end.end);
        assert_int_equal(a->end.why, b->end.why);
        break;
    case WIRE_NOT_YET:
        assert_int_equal(a->not_yet.wait_ms, b->not_yet.wait_ms);
        break;
    case WIRE_FOUND:
        assert_int_equal(a->has_copy, b->has_copy);
        assert_int_equal(a->is_ended, b->is_ended);
        break;
    case WIRE_ENDED:
        assert_int_equal(a->is_ended, b->is_ended);
        assert_true(peer_id_equal(a->ended.unaware, b->ended.unaware));
        break;
    case WIRE_FIND:
    case WIRE_DONE:
    case WIRE_CANCEL:
    case WIRE_MOVED:
    case WIRE_COPIED:
    case WIRE_DIGEST:
    case WIRE_TOOLS:
        break;
    }
}

static void assert_message_equal(const struct wire_message *a, const struct wire_message *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_true(peer_id_equal(a->name.entry, b->name.entry) && a->name.counter == b->name.counter);
    assert_true(session_id_equal(&a->session, &b->session));
    assert_int_equal(a->has_session, b->has_session);
    assert_int_equal(mesh_epoch_compare(a->epoch, b->epoch), 0);
    assert_true(slice_equal(a->payload, b->payload));
    assert_head_equal(a, b);
}

static void test_each_link_message_reads_as_it_was_written(void **state)
{
    (void)state;
    for (enum wire_kind kind = WIRE_BUCKETS_ARE; kind <= WIRE_KIND_LAST; kind++) {
        struct wire_message written = message_of(kind), read;
        uint8_t bytes[2048];
        struct slice text = message_write(&written, bytes, sizeof bytes);

        assert_int_equal(wire_link_read(&read, text, records_read), 0);
        assert_message_equal(&written, &read);
    }
}

static void test_slices_read_refer_to_the_buffer_they_came_in(void **state)
{
    (void)state;
    struct wire_message written = message_of(WIRE_OPEN), read;
    struct bytes *buf = bytes_new(NULL, 1024);

    struct slice text = message_write(&written, buf->data, buf->capacity);
    buf->length = text.length;
    text.buf = buf;
    assert_int_equal(wire_link_read(&read, text, NULL), 0);
    assert_ptr_equal(read.payload.buf, buf);
    assert_ptr_equal(read.open.request.head.buf, buf);
    assert_ptr_equal(read.payload.at + read.payload.length, buf->data + buf->length);
    bytes_unref(buf);
}

static void test_a_view_of_the_most_records_fits(void **state)
{
    (void)state;
    static uint8_t bytes[WIRE_VIEW_MAX];
    struct wire_message m = {.kind = WIRE_VIEW, .view = {.count = WIRE_RECORDS_MAX}}, read;

    m.view.records = records;
    for (size_t i = 0; i < WIRE_RECORDS_MAX; i++) {
        records[i] = update_alive(UINT64_MAX - i);
        memset(records[i].record.name, 'n', MESH_NAME_MAX);
        memset(records[i].record.zone, 'Z', MESH_ZONE_MAX);
        memset(records[i].record.addr.ip, 0x22, 16);
        records[i].record.version = UINT64_MAX;
        records[i].incarnation = UINT32_MAX;
        records[i].accuser = (struct peer_id){UINT64_MAX, UINT64_MAX};
    }
    int length = wire_link_write(&m, bytes, sizeof bytes);
    assert_true(length > 0);
    assert_int_equal(wire_link_read(&read, slice_borrow(bytes, (size_t)length), records_read), 0);
    assert_message_equal(&m, &read);
}

static void test_a_head_that_is_too_long_is_not_written(void **state)
{
    (void)state;
    static char line[WIRE_HEAD_MAX];
    static uint8_t bytes[2 * WIRE_HEAD_MAX];
    struct wire_message m = message_of(WIRE_HEAD);

    memset(line, 'x', sizeof line);
    m.head.head = slice_borrow(line, sizeof line);
    assert_int_equal(wire_link_write(&m, bytes, sizeof bytes), -ENOSPC);
    m.head.head.length = sizeof line - 128;
    assert_true(wire_link_write(&m, bytes, sizeof bytes) > 0);
    assert_int_equal(wire_link_write(&m, bytes, 100), -ENOSPC);
    assert_int_equal(wire_link_write(&m, bytes, 0), -ENOSPC);
}

static int open_read(const struct wire_message *m)
{
    uint8_t bytes[2048];
    struct wire_message read;

    return wire_link_read(&read, message_write(m, bytes, sizeof bytes), NULL);
}

static void test_spans_and_patches_outside_their_text_are_refused(void **state)
{
    (void)state;
    struct wire_message m = message_of(WIRE_OPEN);

    m.open.request.rpc.params = (struct span){sizeof body - 1, 1};
    assert_int_equal(open_read(&m), -EBADMSG);
    m.open.request.rpc.params = (struct span){2, UINT32_MAX};
    assert_int_equal(open_read(&m), -EBADMSG);
    m.open.request.rpc.params = (struct span){sizeof body - 2, 1};
    assert_int_equal(open_read(&m), 0);
    m = message_of(WIRE_EVENT);
    m.text.patch.at = sizeof body - 1;
    assert_int_equal(open_read(&m), -EBADMSG);
    m.text.patch.cut = 0;
    assert_int_equal(open_read(&m), 0);
    m.text.patch.at = sizeof body;
    assert_int_equal(open_read(&m), -EBADMSG);
}

static void test_an_attach_without_its_body_has_no_spans(void **state)
{
    (void)state;
    struct wire_message m = message_of(WIRE_OPEN), read;
    uint8_t bytes[2048];

    m.payload = (struct slice){0};
    struct slice text = message_write(&m, bytes, sizeof bytes);
    assert_int_equal(wire_link_read(&read, text, NULL), 0);
    assert_int_equal(read.open.request.rpc.method, RPC_TOOLS_CALL);
    assert_int_equal(read.open.request.rpc.id.length, 0);
    assert_int_equal(read.payload.length, 0);
}

static void test_messages_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    struct wire_message m = message_of(WIRE_OPEN);

    m.open.request.rpc.kind = RPC_BAD;
    assert_int_equal(open_read(&m), -EBADMSG);
    m.open.request.want = MESH_LISTEN;
    assert_int_equal(open_read(&m), 0);
    m.open.request.want = MESH_WANT_LAST;
    assert_int_equal(open_read(&m), 0);
    m.open.request.want = (enum mesh_want)(MESH_WANT_LAST + 1);
    assert_int_equal(open_read(&m), -EBADMSG);
    m = message_of(WIRE_OPEN);
    m.open.request.method = slice_text("GET /x HTTP/1.1");
    assert_int_equal(open_read(&m), -EBADMSG);
    m = message_of(WIRE_OPEN);
    m.open.request.target = slice_text("/x\r\nHost: y");
    assert_int_equal(open_read(&m), -EBADMSG);
    m = message_of(WIRE_OPEN);
    m.name.entry = (struct peer_id){0};
    assert_int_equal(open_read(&m), -EBADMSG);
    m = message_of(WIRE_MOVED);
    m.epoch.owner = (struct peer_id){0};
    assert_int_equal(open_read(&m), -EBADMSG);
    m.epoch.counter = 0;
    assert_int_equal(open_read(&m), 0);
    m = message_of(WIRE_HEAD);
    m.head.status = 99;
    assert_int_equal(open_read(&m), -EBADMSG);
    m.head.status = 600;
    assert_int_equal(open_read(&m), -EBADMSG);
    m = message_of(WIRE_END);
    m.end.end = (enum mesh_end)(MESH_END_LAST + 1);
    assert_int_equal(open_read(&m), -EBADMSG);
    m = message_of(WIRE_EVENT);
    m.text.why = (enum mesh_reason)(MESH_REASON_LAST + 1);
    assert_int_equal(open_read(&m), -EBADMSG);
    m = message_of(WIRE_CANCEL);
    m.payload = slice_text("x"); /* a payload where none belongs */
    assert_int_equal(open_read(&m), -EBADMSG);
}

/* The place before the first event of a tenure, and no place at all. */
static void test_an_event_may_say_nothing_but_a_place(void **state)
{
    (void)state;
    const struct event_id ids[] = {{0}, {.epoch = 1}, {.epoch = 1, .stream = 4, .number = 9}};
    for (size_t n = 0; n < sizeof ids / sizeof ids[0]; n++) {
        struct wire_message m = {.kind = WIRE_EVENT, .epoch = {1, {2, 3}}}, read;
        uint8_t bytes[128];
        m.text.id = ids[n];
        struct slice text = message_write(&m, bytes, sizeof bytes);
        assert_int_equal(wire_link_read(&read, text, NULL), 0);
        assert_int_equal(read.payload.length, 0);
        assert_event_id_equal(&read.text.id, &ids[n]);
        assert_int_equal(event_id_is_none(&read.text.id), n == 0);
    }
}

/* A stream's number has 32 bits: one with more would be another stream's. */
static void test_numbers_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    struct wire_message m = message_of(WIRE_EVENT), read;
    uint8_t bytes[2048];
    struct slice text = message_write(&m, bytes, sizeof bytes);
    uint8_t *number = memmem(bytes, text.length, "\xce\x80\0\0\0", 5);

    assert_non_null(number);
    assert_int_equal(wire_link_read(&read, text, NULL), 0);
    memmove(number + 9, number + 5, text.length - (size_t)(number + 5 - bytes));
    memcpy(number, "\xcf\0\0\0\1\0\0\0\0", 9);
    text.length += 4;
    assert_int_equal(wire_link_read(&read, text, NULL), -EBADMSG);
    number[4] = 0;
    assert_int_equal(wire_link_read(&read, text, NULL), 0);
    assert_int_equal(read.text.id.stream, 0);
}

/* Only a request that mints says with which key; one of the version before ours never does. */
static void test_an_open_that_mints_says_which_key_binds_it(void **state)
{
    uint8_t bytes[4096];
    struct wire_message m = message_of(WIRE_OPEN), read;
    (void)state;
    m.open.request.who_key = 0xfedcba98u;
    m.payload = slice_text("");
    int length = wire_link_write(&m, bytes, sizeof bytes);
    assert_int_equal(wire_link_read(&read, slice_borrow(bytes, (size_t)length), NULL), 0);
    assert_int_equal(read.open.request.who_key, 0);
    m.has_session = false;
    length = wire_link_write(&m, bytes, sizeof bytes);
    assert_int_equal(wire_link_read(&read, slice_borrow(bytes, (size_t)length), NULL), 0);
    assert_int_equal(read.open.request.who_key, 0xfedcba98u);
    assert_int_equal(bytes[1], 0xdc);
    bytes[3]--;
    assert_int_equal(wire_link_read(&read, slice_borrow(bytes, (size_t)length - 5), NULL), 0);
    assert_int_equal(read.open.request.who_key, 0);
}

static void test_elements_of_a_later_version_are_skipped(void **state)
{
    static const char later[] = "\x93\1\2\3\xc4\1x\xff"; /* three of them */
    uint8_t bytes[4096], grown[4096];
    (void)state;
    for (int kind = 1; kind <= WIRE_KIND_LAST; kind++) {
        struct wire_message m = message_of((enum wire_kind)kind), read;
        int head = wire_link_write(&m, bytes, sizeof bytes);
        bool is_long = bytes[1] == 0xdc; /* 0xdc 0 n, or 0x9n */
        uint8_t elements = is_long ? bytes[3] : bytes[1] & 15;
        size_t skipped = is_long ? 4 : 2, length = 4;
        grown[0] = (uint8_t)kind;
        memcpy(grown + 1, (const uint8_t[]){0xdc, 0, (uint8_t)(elements + 3)}, 3);
        memcpy(grown + length, bytes + skipped, (size_t)head - skipped);
        length += (size_t)head - skipped;
        memcpy(grown + length, later, sizeof later - 1);
        length += sizeof later - 1;
        if (m.payload.length > 0)
            memcpy(grown + length, m.payload.at, m.payload.length);
        length += m.payload.length;
        assert_int_equal(wire_link_read(&read, slice_borrow(grown, length), records_read), 0);
        assert_message_equal(&m, &read);
    }
    grown[0] = WIRE_KIND_LAST + 1; /* links.h passes it over */
    assert_int_equal(wire_link_read(&(struct wire_message){0}, slice_borrow(grown, 4), NULL),
                     -EBADMSG);
}

static void test_updates_of_kinds_of_a_later_version_are_skipped(void **state)
{
    (void)state;
    /* [GOSSIP ...], an update of a kind that comes with it, a death of 7.8, one more */
    static const char said[] = "\x94\7\1\1\1"
                               "\x93\x64\x93\1\2\3\xa1x"
                               "\x96\3\7\x08\0\1\1"
                               "\x91\xcc\xff";
    static const char view[] = "\2\x93\1\xc2\x93"
                               "\x93\x64\x93\1\2\3\xa1x"
                               "\x96\3\7\x08\0\1\1"
                               "\x91\xcc\xff";
    static const char worse[] = "\x94\7\1\1\1\x91\0";
    uint8_t plain[16 + sizeof said - 1] = {0};
    struct wire_datagram d;
    struct wire_message m;

    assert_int_equal(said[1], DATAGRAM_GOSSIP);
    memcpy(plain + 16, said, sizeof said - 1);
    assert_int_equal(wire_datagram_read(&d, plain, sizeof plain), 0);
    assert_int_equal(d.updates_count, 1);
    assert_int_equal(d.updates[0].kind, UPDATE_DEAD);
    assert_int_equal(d.updates[0].record.id.generation, 8);
    assert_int_equal(view[0], WIRE_VIEW);
    assert_int_equal(wire_link_read(&m, slice_borrow(view, sizeof view - 1), records), 0);
    assert_int_equal(m.view.count, 1);
    assert_int_equal(records[0].record.id.generation, 8);
    memcpy(plain + 16, worse, sizeof worse - 1); /* that is none of any */
    assert_int_equal(wire_datagram_read(&d, plain, 16 + sizeof worse - 1), -EBADMSG);
}

static void test_a_wait_is_never_longer_than_a_minute(void **state)
{
    (void)state;
    struct wire_message m = {.kind = WIRE_NOT_YET, .not_yet = {.wait_ms = UINT32_MAX}}, read;
    uint8_t bytes[32];

    struct slice text = message_write(&m, bytes, sizeof bytes);
    assert_int_equal(wire_link_read(&read, text, NULL), 0);
    assert_int_equal(read.not_yet.wait_ms, WIRE_WAIT_MAX_MS);
}

static void assert_message_settles(struct slice text)
{
    struct wire_message read, again;
    uint8_t *copy = malloc(text.length ? text.length : 1), bytes[4096];

    assert_non_null(copy);
    if (text.length > 0)
        memcpy(copy, text.at, text.length);
    int rc = wire_link_read(&read, slice_borrow(copy, text.length), records_read);
    assert_true(rc == 0 || rc == -EBADMSG);
    if (rc == 0) {
        static struct wire_update twice[WIRE_RECORDS_MAX];
        struct slice written = message_write(&read, bytes, sizeof bytes);
        assert_int_equal(wire_link_read(&again, written, twice), 0);
        if (read.kind != WIRE_OPEN || read.payload.length > 0)
            assert_message_equal(&read, &again);
    }
    free(copy);
}

static void test_each_truncation_and_each_changed_byte_of_a_message(void **state)
{
    (void)state;
    for (enum wire_kind kind = WIRE_BUCKETS_ARE; kind <= WIRE_KIND_LAST; kind++) {
        struct wire_message m = message_of(kind);
        uint8_t bytes[2048];
        struct slice text = message_write(&m, bytes, sizeof bytes);

        for (size_t cut = 0; cut < text.length; cut++)
            assert_message_settles(slice_borrow(bytes, cut));
        for (size_t at = 0; at < text.length; at++)
            for (int value = 0; value <= 0xff; value += 0xff) {
                uint8_t was = bytes[at];
                bytes[at] = (uint8_t)value;
                assert_message_settles(text);
                bytes[at] = was;
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_datagram_reads_as_it_was_written),
        cmocka_unit_test(test_each_kind_of_update_may_carry_the_record),
        cmocka_unit_test(test_a_record_says_which_keys_are_accepted),
        cmocka_unit_test(test_writer_without_room_leaves_the_datagram_whole),
        cmocka_unit_test(test_padding_makes_a_hello_long_and_means_nothing),
        cmocka_unit_test(test_sixty_five_updates_are_refused_whole),
        cmocka_unit_test(test_illegal_members_are_refused),
        cmocka_unit_test(test_an_empty_text_in_a_record_is_no_text),
        cmocka_unit_test(test_scan_takes_each_form_of_the_format),
        cmocka_unit_test(test_scan_refuses_bombs),
        cmocka_unit_test(test_scan_counts_declared_elements),
        cmocka_unit_test(test_wrong_types_in_a_datagram_are_refused),
        cmocka_unit_test(test_each_truncation_and_each_changed_byte_of_a_datagram),
        cmocka_unit_test(test_each_link_message_reads_as_it_was_written),
        cmocka_unit_test(test_slices_read_refer_to_the_buffer_they_came_in),
        cmocka_unit_test(test_a_view_of_the_most_records_fits),
        cmocka_unit_test(test_a_head_that_is_too_long_is_not_written),
        cmocka_unit_test(test_spans_and_patches_outside_their_text_are_refused),
        cmocka_unit_test(test_an_attach_without_its_body_has_no_spans),
        cmocka_unit_test(test_messages_that_make_no_sense_are_refused),
        cmocka_unit_test(test_an_event_may_say_nothing_but_a_place),
        cmocka_unit_test(test_numbers_that_do_not_fit_are_refused),
        cmocka_unit_test(test_an_open_that_mints_says_which_key_binds_it),
        cmocka_unit_test(test_elements_of_a_later_version_are_skipped),
        cmocka_unit_test(test_updates_of_kinds_of_a_later_version_are_skipped),
        cmocka_unit_test(test_a_wait_is_never_longer_than_a_minute),
        cmocka_unit_test(test_each_truncation_and_each_changed_byte_of_a_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
