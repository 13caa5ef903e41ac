/* fuzz_mesh.c - what a whole peer does with datagrams, before and after they are opened. The first
 * byte chooses: keyless, or with a key. Then come bytes off the wire, datagrams of somebody who
 * has the key, of somebody who has not, repeated and changed ones, link bytes, and time. What does
 * not open changes nothing but two counters: not the view, not the deadline, and nothing leaves.
 *
 *   clang -g -fsanitize=fuzzer,address,undefined -I. tests/fuzz/fuzz_mesh.c <mesh> -lmsgpackc
 *   -lsodium */
#include <sodium.h>

#include "mesh/mesh.h"
#include "mesh/wire/seal.h"
#include "tests/fuzz/fuzz_member.h"

#define MEMBERS_MAX 6
#define ROWS_MAX 24
#define EFFECTS_MAX 4096 /* of one turn */
#define WAKES_MAX 64
#define SENT_MAX 8 /* datagrams kept, to come again */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sent {
    uint8_t data[SEAL_DATAGRAM_MAX];
    size_t length;
    bool is_genuine; /* whole, and sealed with the key and the label of this mesh */
    bool was_heard;
};

struct socket {
    struct handle handle; /* generation 0: none */
    bool is_up;
};

struct played {
    struct mesh *mesh;
    uint64_t now_ms;
    struct seal_ring ring, foreign_ring;
    struct seal inside, outside; /* a holder of the key, and one of another label */
    struct sent sent[SENT_MAX];
    uint8_t sent_at;
    uint32_t number;
    struct socket sockets[4];
    bool is_over;
};

/* All of a peer that a datagram may change. */
struct state {
    uint64_t hash, deadline_ms;
    struct mesh_stats stats;
    struct mesh_member rows[ROWS_MAX];
    size_t rows_count;
};

static void take_state(const struct mesh *mesh, struct state *s)
{
    memset(s, 0, sizeof *s);
    s->hash = mesh_view_hash(mesh);
    s->deadline_ms = mesh_deadline_ms(mesh);
    mesh_stats(mesh, &s->stats);
    s->rows_count = mesh_members(mesh, s->rows, ROWS_MAX);
}

static void begin(struct played *p, uint8_t flags)
{
    struct mesh_config config;
    struct rng rng;
    uint8_t keys[1][SEAL_KEY_BYTES] = {{7}}, seed[32] = {flags};
    uint8_t keys_count = flags & 1;
    mesh_config_defaults(&config);
    config.name = FUZZ_SELF;
    config.cluster = "fuzz";
    config.addr = fuzz_addr(0);
    config.boot_ms = FUZZ_WALL_MS;
    config.has_contacts = flags & 2;
    config.keys_count = keys_count;
    memcpy(config.keys[0], keys[0], sizeof keys[0]);
    config.members_max = MEMBERS_MAX;
    config.sessions_max = config.exchanges_max = 8;
    p->now_ms = FUZZ_START_MS;
    check(mesh_new(&p->mesh, &config, p->now_ms) == 0);
    rng_init(&rng, seed);
    check(seal_ring_init(&p->ring, keys, keys_count, 0, "fuzz") == 0);
    check(seal_ring_init(&p->foreign_ring, keys, keys_count, 0, "other") == 0);
    seal_init(&p->inside, &p->ring, view_name_hash("a"), 1, 0, &rng);
    seal_init(&p->outside, &p->foreign_ring, view_name_hash("a"), 1, 0, &rng);
}

/* ---- turns ---------------------------------------------------------------------------------- */

static void forget_socket(struct played *p, struct handle handle)
{
    for (size_t n = 0; n < sizeof p->sockets / sizeof p->sockets[0]; n++)
        if (handle_equal(p->sockets[n].handle, handle))
            p->sockets[n].handle = (struct handle){0, 0};
}

static size_t drain(struct played *p)
{
    struct mesh_effect effect;
    size_t count = 0;
    while (mesh_next_effect(p->mesh, &effect, p->now_ms)) {
        check(++count <= EFFECTS_MAX);
        check(effect.kind != MESH_DATAGRAM || effect.wire.sealed.length <= SEAL_DATAGRAM_MAX);
        if (effect.kind == MESH_LINK_DIAL)
            p->sockets[effect.handle.slot % 4] = (struct socket){effect.handle, false};
        if (effect.kind == MESH_LINK_CLOSE)
            forget_socket(p, effect.handle);
        if (effect.kind == MESH_LINK_BYTES)
            mesh_link_taken(p->mesh, effect.handle, effect.wire.sealed.length, p->now_ms);
        if (effect.kind == MESH_CHANGED &&
            (effect.changed.what == MESH_SUPERSEDED_BY || effect.changed.what == MESH_NAME_TAKEN ||
             effect.changed.what == MESH_LEFT_MESH))
            p->is_over = true;
    }
    return count;
}

static void settle(struct played *p)
{
    struct mesh_stats stats;
    drain(p);
    for (unsigned n = 0; mesh_deadline_ms(p->mesh) <= p->now_ms && !p->is_over; n++) {
        check(n < WAKES_MAX);
        mesh_now(p->mesh, p->now_ms);
        drain(p);
    }
    mesh_stats(p->mesh, &stats);
    check(stats.members_alive <= MEMBERS_MAX);
}

/* ---- datagrams ------------------------------------------------------------------------------ */

/* What is not genuine, or came before, is refused, and nothing else happens. */
static void hear(struct played *p, struct sent *sent, uint8_t from)
{
    static struct state before, after;
    struct mesh_addr addr = fuzz_addr(from);
    bool is_refused = !sent->is_genuine || sent->was_heard;
    take_state(p->mesh, &before);
    mesh_datagram(p->mesh, &addr, slice_borrow(sent->data, sent->length), p->now_ms);
    if (sent->is_genuine)
        sent->was_heard = true;
    if (!is_refused) {
        settle(p);
        return;
    }
    check(drain(p) == 0);
    take_state(p->mesh, &after);
    check(after.stats.datagrams_bad + after.stats.datagrams_replayed ==
          before.stats.datagrams_bad + before.stats.datagrams_replayed + 1);
    before.stats.datagrams_in++;
    before.stats.datagrams_bad = after.stats.datagrams_bad;
    before.stats.datagrams_replayed = after.stats.datagrams_replayed;
    check(memcmp(&before, &after, sizeof before) == 0);
}

static struct sent *new_sent(struct played *p)
{
    struct sent *sent = &p->sent[p->sent_at++ % SENT_MAX];
    memset(sent, 0, sizeof *sent);
    return sent;
}

static void hear_bytes(struct played *p, struct input *in)
{
    struct sent *sent = new_sent(p);
    uint8_t from = next(in);
    sent->length = (size_t)next_many(in, 2) % SEAL_DATAGRAM_MAX;
    for (size_t n = 0; n < sent->length; n++)
        sent->data[n] = next(in);
    hear(p, sent, from);
}

/* Sealed by one of the two, with any text. The name that the seal proves may be another than the
 * one in the text: also refused, but that costs the number. */
static void hear_sealed(struct played *p, struct input *in, bool is_genuine)
{
    static struct wire_datagram d;
    struct seal *seal = is_genuine ? &p->inside : &p->outside;
    struct sent *sent = new_sent(p);
    const struct mesh_record *self = mesh_self(p->mesh)->record;
    uint8_t plain[WIRE_PLAIN_MAX], from = next(in), how = next(in);
    size_t length = 0;
    if (how & 1) {
        length = how;
        for (size_t n = 0; n < length; n++)
            plain[n] = next(in);
    } else {
        length = fuzz_datagram(in, &self->id, self->nonce, p->number++, plain);
    }
    bool is_ours = wire_datagram_read(&d, plain, length) == 0;
    seal->name = is_ours && how & 14 ? d.sender.name : view_name_hash("a");
    seal->nonce = 1 + (how >> 4) % 4;
    sent->length = seal_datagram(seal, NULL, plain, length, sent->data);
    sent->is_genuine = is_genuine && is_ours && d.sender.name == seal->name;
    hear(p, sent, from);
}

static void hear_again(struct played *p, struct input *in)
{
    hear(p, &p->sent[next(in) % SENT_MAX], next(in));
}

/* One that was sent before, or is new to the peer, with some of it changed or cut off. */
static void hear_changed(struct played *p, struct input *in)
{
    struct sent *sent = new_sent(p);
    const struct sent *old = &p->sent[next(in) % SENT_MAX];
    uint8_t bits = next(in);
    *sent = *old;
    sent->is_genuine = false;
    if (sent->length == 0)
        return;
    if (bits == 0)
        sent->length = (size_t)next_many(in, 2) % sent->length;
    else
        sent->data[next_many(in, 2) % sent->length] ^= bits;
    hear(p, sent, next(in));
}

/* ---- everything else ------------------------------------------------------------------------ */

/* Somebody dials us or is dialled, and says anything, or goes. */
static void play_link(struct played *p, struct input *in)
{
    uint8_t op = next(in);
    struct socket *socket = &p->sockets[op & 3];
    struct mesh_addr from = fuzz_addr(op >> 5);
    uint8_t bytes[64];
    size_t length = next(in) % sizeof bytes;
    if (handle_is_none(socket->handle))
        *socket = (struct socket){mesh_link_accepted(p->mesh, &from, p->now_ms), true};
    if (handle_is_none(socket->handle))
        return;
    struct handle handle = socket->handle;
    if (!socket->is_up && op & 4)
        mesh_link_up(p->mesh, handle, p->now_ms);
    socket->is_up = socket->is_up || op & 4;
    for (size_t n = 0; n < length; n++)
        bytes[n] = next(in);
    if (socket->is_up && !(op & 8))
        mesh_link_bytes(p->mesh, handle, slice_borrow(bytes, length), p->now_ms);
    if (op & 8) {
        enum mesh_loss why = socket->is_up ? MESH_LOSS_FIN : MESH_LOSS_REFUSED;
        forget_socket(p, handle);
        mesh_link_down(p->mesh, handle, why, p->now_ms);
    }
    settle(p);
}

static void pass(struct played *p, struct input *in)
{
    static const uint32_t steps_ms[] = {1, 50, 300, 1000, 5000, 60000};
    uint8_t n = next(in);
    if (n % 8 < sizeof steps_ms / sizeof *steps_ms)
        p->now_ms += steps_ms[n % 8];
    else if (mesh_deadline_ms(p->mesh) != MESH_NEVER)
        p->now_ms = mesh_deadline_ms(p->mesh);
    mesh_now(p->mesh, p->now_ms);
    settle(p);
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
        hear_sealed(p, in, false);
        break;
    case 2:
        hear_again(p, in);
        break;
    case 3:
        hear_changed(p, in);
        break;
    case 4:
        play_link(p, in);
        break;
    case 5:
        mesh_join(p->mesh, &addr, p->now_ms);
        settle(p);
        break;
    case 6:
        if (op == 0x76)
            mesh_leave(p->mesh, p->now_ms, p->now_ms + 1000, p->now_ms);
        else
            mesh_serving(p->mesh, op & 16, p->now_ms);
        settle(p);
        break;
    case 7:
    case 8:
    case 9:
        pass(p, in);
        break;
    default:
        hear_sealed(p, in, true);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct played p;
    struct input in = {data, size};
    memset(&p, 0, sizeof p);
    check(sodium_init() >= 0);
    begin(&p, next(&in));
    settle(&p);
    while (in.left > 0 && !p.is_over)
        play(&p, &in);
    seal_deinit(&p.inside);
    seal_deinit(&p.outside);
    mesh_free(p.mesh);
    return 0;
}
