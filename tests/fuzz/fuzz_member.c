/* fuzz_member.c - membership under any sequence of facts: datagrams (bytes as they come, and ones
 * that could be of the mesh), messages of links, time, joins, flags, leaving. After each fact: what
 * is known of a member never goes back (M1), rows and queues stay within their caps, what is
 * written can be read, memory stays bounded, and a moment costs no more than a few turns.
 *
 *   clang -g -fsanitize=fuzzer,address,undefined -I. tests/fuzz/fuzz_member.c <mesh/base, wire,
 *   member> -lmsgpackc -lsodium */
#include <errno.h>

#include "mesh/member/swim.h"
#include "tests/fuzz/fuzz_member.h"

#define MEMBERS_MAX 6
#define CONTACTS_MAX 5
#define ROWS_MAX (MEMBERS_MAX + CONTACTS_MAX + 2)
#define WAKES_MAX 64          /* turns that one moment may take */
#define GROWTH_MAX (1u << 20) /* bytes beyond what swim_new() took */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t __sanitizer_get_current_allocated_bytes(void);

/* What was known of a member. */
struct shown {
    struct peer_id id;
    uint64_t nonce, version;
    uint32_t incarnation;
    enum member_state state;
};

struct played {
    struct swim *swim;
    uint64_t now_ms;
    uint32_t number; /* of the last datagram that was sent */
    struct shown rows[ROWS_MAX];
    size_t rows_count;
    struct shown self;
    size_t bytes;
};

static struct swim *make(struct input *in)
{
    uint8_t flags = next(in), seed[32] = {flags};
    struct rng rng;
    struct swim *swim = NULL;
    struct swim_config config = {.boot_ms = flags & 1 ? FUZZ_WALL_MS : 1,
                                 .has_contacts = flags & 2,
                                 .members_max = MEMBERS_MAX,
                                 .contacts_max = CONTACTS_MAX,
                                 .name_wait_ms = 3000};
    memcpy(config.self.name, FUZZ_SELF, strlen(FUZZ_SELF));
    config.self.nonce = 3;
    config.self.addr = fuzz_addr(0);
    config.self.weight = 1;
    rng_init(&rng, seed);
    shuffle_init(&config.chance, &rng);
    check(swim_new(&swim, &config, FUZZ_START_MS) == 0);
    return swim;
}

/* ---- what must hold ------------------------------------------------------------------------- */

static struct shown show(const struct mesh_member *m)
{
    return (struct shown){m->record->id, m->record->nonce, m->record->version, m->incarnation,
                          m->state};
}

static bool shown_lives(const struct shown *shown)
{
    return shown->state == MEMBER_ALIVE || shown->state == MEMBER_SUSPECT;
}

static void check_row(const struct shown *was, const struct shown *is)
{
    bool was_gone = was->state == MEMBER_DEAD || was->state == MEMBER_LEFT;
    check(is->incarnation >= was->incarnation);
    check(is->nonce != was->nonce || is->version >= was->version);
    check(!was_gone || !shown_lives(is) || is->incarnation > was->incarnation);
}

static void check_self(struct played *p)
{
    struct shown self = show(view_self(swim_view(p->swim)));
    check(p->self.id.generation == 0 || peer_id_equal(self.id, p->self.id));
    check_row(&p->self, &self);
    check(!swim_is_joined(p->swim) || self.state == MEMBER_ALIVE);
    p->self = self;
}

static void check_view(struct played *p)
{
    struct view *view = swim_view(p->swim);
    struct shown rows[ROWS_MAX];
    size_t count = view_count(view), living = 0;
    check(count <= ROWS_MAX);
    for (size_t n = 0; n < count; n++) {
        rows[n] = show(view_at(view, n));
        living += shown_lives(&rows[n]);
        check(n == 0 || peer_id_compare(rows[n - 1].id, rows[n].id) < 0);
        check(view_find(view, rows[n].id) == view_at(view, n));
        check(rows[n].state != MEMBER_UNKNOWN);
        for (size_t k = 0; k < p->rows_count; k++)
            if (peer_id_equal(p->rows[k].id, rows[n].id))
                check_row(&p->rows[k], &rows[n]);
    }
    check(living == view_living(view) && living <= MEMBERS_MAX);
    check(count - living <= CONTACTS_MAX + 1); /* and ourselves, who left */
    memcpy(p->rows, rows, count * sizeof rows[0]);
    p->rows_count = count;
    check_self(p);
}

/* ---- one turn ------------------------------------------------------------------------------- */

static void drain_sends(struct played *p)
{
    static struct wire_datagram d;
    uint8_t plain[WIRE_PLAIN_MAX];
    struct swim_send send;
    struct wire_writer w;
    size_t count = 0;
    while (swim_next_send(p->swim, &send)) {
        check(++count <= SWIM_SENDS_MAX);
        int rc = swim_write_send(p->swim, &send, &w, plain, sizeof plain);
        check(rc == 0 || (rc == -ENODATA && send.kind == DATAGRAM_GOSSIP));
        if (rc < 0)
            continue;
        check(w.length <= sizeof plain && wire_datagram_read(&d, plain, w.length) == 0);
        check(d.kind == send.kind && d.updates_count == w.updates);
        p->number = d.number;
    }
}

static void drain(struct played *p)
{
    static struct wire_update records[WIRE_RECORDS_MAX];
    static uint8_t text[WIRE_VIEW_MAX];
    struct view_change change;
    struct swim_event event;
    struct swim_check reach;
    struct swim_wish wish;
    struct wire_message m;
    struct peer_id to;
    for (size_t n = 0; view_next_change(swim_view(p->swim), &change); n++)
        check(n < 2 * view_slots(swim_view(p->swim)));
    for (size_t n = 0; swim_next_event(p->swim, &event); n++)
        check(n < 8);
    for (size_t n = 0; swim_next_check(p->swim, &reach); n++)
        check(n < view_slots(swim_view(p->swim)));
    for (size_t n = 0; swim_next_wish(p->swim, &wish); n++)
        check(n < 32 && wish.addr.port != 0);
    for (size_t n = 0; swim_next_link_message(p->swim, &to, &m, records); n++) {
        check(n < 32u * WIRE_BUCKETS && m.view.count <= ROWS_MAX);
        check(wire_link_write(&m, text, sizeof text) > 0);
    }
    drain_sends(p);
    check(__sanitizer_get_current_allocated_bytes() <= p->bytes + GROWTH_MAX);
}

/* A turn as a host makes it, until there is nothing more to do now. */
static void settle(struct played *p)
{
    drain(p);
    for (unsigned n = 0; swim_deadline_ms(p->swim) <= p->now_ms; n++) {
        check(n < WAKES_MAX);
        swim_now(p->swim, p->now_ms);
        drain(p);
    }
    check_view(p);
}

/* ---- facts ---------------------------------------------------------------------------------- */

static void hear(struct played *p, struct input *in, const uint8_t *plain, size_t length)
{
    static struct wire_datagram d;
    struct mesh_addr from = fuzz_addr(next(in));
    uint64_t nonce = 1 + next(in) % 4;
    if (wire_datagram_read(&d, plain, length) == 0)
        swim_on_datagram(p->swim, &from, &d, nonce, p->now_ms);
}

static void hear_bytes(struct played *p, struct input *in)
{
    size_t length = next(in);
    const uint8_t *plain = in->at;
    if (length > in->left)
        length = in->left;
    in->at += length;
    in->left -= length;
    hear(p, in, plain, length);
}

static void hear_datagram(struct played *p, struct input *in)
{
    uint8_t plain[WIRE_PLAIN_MAX];
    const struct mesh_record *self = view_self(swim_view(p->swim))->record;
    hear(p, in, plain, fuzz_datagram(in, &self->id, self->nonce, p->number, plain));
}

static void hear_link(struct played *p, struct input *in)
{
    static struct wire_update records[8];
    static uint8_t text[WIRE_VIEW_MAX];
    struct peer_id self = view_self(swim_view(p->swim))->record->id;
    struct peer_id from = fuzz_id(in, fuzz_name(in), &self);
    static struct wire_update read[WIRE_RECORDS_MAX];
    struct wire_message m = {.kind = WIRE_VIEW}, again;
    uint8_t n = next(in);
    if (n & 1) {
        m.kind = WIRE_BUCKETS_ARE;
        for (unsigned k = 0; k < WIRE_BUCKETS; k++)
            m.buckets[k] = n & 2 ? view_buckets(swim_view(p->swim))[k] : k % n;
    } else {
        m.view.mask = n & 2 ? UINT64_MAX : next_many(in, 8);
        m.view.answer = n & 4;
        m.view.count = (uint16_t)(n >> 5);
        m.view.records = records;
        for (uint16_t k = 0; k < m.view.count; k++)
            fuzz_update(in, &records[k], &self);
    }
    int length = wire_link_write(&m, text, sizeof text);
    check(length > 0);
    if (wire_link_read(&again, slice_borrow(text, (size_t)length), read) == 0)
        swim_on_link_message(p->swim, from, &again, p->now_ms);
}

/* To the deadline, or by so much; never back. */
static void pass(struct played *p, struct input *in)
{
    static const uint32_t steps_ms[] = {1, 20, 100, 250, 500, 1000, 10000, 100000, 90000000};
    uint8_t n = next(in);
    uint64_t due_ms = swim_deadline_ms(p->swim);
    if (n % 16 >= sizeof steps_ms / sizeof *steps_ms)
        p->now_ms = due_ms != MESH_NEVER ? due_ms : p->now_ms;
    else
        p->now_ms += steps_ms[n % 16];
    swim_now(p->swim, p->now_ms);
}

static void play_claim(struct played *p, uint8_t op)
{
    if (op & 128)
        swim_unclaim(p->swim, op >> 4 & 3);
    else if (op & 64)
        (void)swim_claim(p->swim, op >> 4 & 3, p->now_ms);
}

/* What a host says about somebody's port, or asks to begin an exchange with. */
static void play_dial(struct played *p, struct input *in, uint8_t op)
{
    struct peer_id self = view_self(swim_view(p->swim))->record->id;
    struct peer_id peer = fuzz_id(in, fuzz_name(in), &self);
    struct wire_message m;
    if (op & 16)
        swim_on_refused(p->swim, peer, p->now_ms);
    else if (op & 32)
        swim_on_reached(p->swim, peer, op & 64, p->now_ms);
    else
        swim_exchange_begin(p->swim, peer, &m);
}

static void play(struct played *p, struct input *in)
{
    uint8_t op = next(in);
    struct mesh_addr addr = fuzz_addr(op >> 4);
    switch (op & 15) {
    case 0:
        hear_bytes(p, in);
        break;
    case 1:
        swim_join(p->swim, &addr, p->now_ms);
        break;
    case 2:
        swim_set_flags(p->swim, op & 16, op & 32, p->now_ms);
        break;
    case 3:
        swim_set_load(p->swim, op);
        (void)swim_may_mint(p->swim, p->now_ms);
        play_claim(p, op);
        break;
    case 4:
        if (op == 0x74) /* seldom: nothing comes behind it */
            swim_leave(p->swim, p->now_ms);
        break;
    case 5:
        play_dial(p, in, op);
        break;
    case 6:
    case 7:
        hear_link(p, in);
        break;
    case 8:
    case 9:
    case 10:
        pass(p, in);
        break;
    default:
        hear_datagram(p, in);
        break;
    }
    settle(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    static struct played p;
    memset(&p, 0, sizeof p);
    p.now_ms = FUZZ_START_MS;
    p.swim = make(&in);
    p.self = show(view_self(swim_view(p.swim)));
    p.bytes = __sanitizer_get_current_allocated_bytes();
    settle(&p);
    while (in.left > 0)
        play(&p, &in);
    for (int n = 0; n < 8; n++) { /* it goes on living */
        if (swim_deadline_ms(p.swim) != MESH_NEVER)
            p.now_ms = swim_deadline_ms(p.swim);
        swim_now(p.swim, p.now_ms);
        settle(&p);
    }
    swim_free(p.swim);
    return 0;
}
