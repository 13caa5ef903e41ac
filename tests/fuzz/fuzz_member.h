/* fuzz_member.h - what the targets about membership have in common: input taken byte by byte, and
 * datagrams of a few peers that look as if they belonged to the mesh, made of it. Few names, small
 * numbers and the edges of large ones: so that what comes later meets what came before. */
#ifndef FUZZ_MEMBER_H
#define FUZZ_MEMBER_H

#include <stdlib.h>

#include "mesh/member/view.h"

#define FUZZ_WALL_MS 1760000000000u
#define FUZZ_START_MS 5000u
#define FUZZ_SELF "me"

struct input {
    const uint8_t *at;
    size_t left;
};

static inline void check(bool holds)
{
    if (!holds)
        abort();
}

static inline uint8_t next(struct input *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->at++;
}

static inline uint64_t next_many(struct input *in, unsigned bytes)
{
    uint64_t n = 0;
    while (bytes-- > 0)
        n = n << 8 | next(in);
    return n;
}

static inline struct mesh_addr fuzz_addr(uint8_t n)
{
    struct mesh_addr addr = {.ip = {[10] = 0xff, [11] = 0xff, [12] = 127}, .port = 7946};
    addr.ip[15] = (uint8_t)(1 + n % 8);
    return addr;
}

/* Incarnations and versions: mostly small, sometimes at the bounds of what one may claim. */
static inline uint64_t fuzz_counter(struct input *in)
{
    uint8_t n = next(in);
    if (n < 0xf0)
        return n % 16;
    switch (n & 7) {
    case 0:
        return VIEW_JUMP_MAX + (n >> 3 & 1);
    case 1:
        return VIEW_FIRST_MAX + (n >> 3 & 1);
    case 2:
        return UINT32_MAX - (n >> 3 & 1);
    default:
        return next_many(in, 4);
    }
}

static inline const char *fuzz_name(struct input *in)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", FUZZ_SELF};
    return names[next(in) % (sizeof names / sizeof *names)];
}

static inline struct peer_id fuzz_id(struct input *in, const char *name, const struct peer_id *self)
{
    uint8_t n = next(in);
    struct peer_id id = {view_name_hash(name), FUZZ_WALL_MS + n % 4};
    if (n >= 0xf8)
        id.generation = next_many(in, 8);
    else if (n % 2 == 0 && id.name == self->name)
        id.generation = self->generation + (n >> 2 & 1);
    return id;
}

static inline void fuzz_update(struct input *in, struct wire_update *u, const struct peer_id *self)
{
    const char *name = fuzz_name(in);
    uint8_t n = next(in);
    memset(u, 0, sizeof *u);
    u->kind = (enum update_kind)(UPDATE_ALIVE + n % 5);
    u->record.id = fuzz_id(in, name, self);
    u->incarnation = (uint32_t)fuzz_counter(in);
    if (u->kind == UPDATE_CLAIM) {
        u->shard = n >> 4;
        return;
    }
    u->accuser = fuzz_id(in, fuzz_name(in), self);
    if (u->kind != UPDATE_ALIVE && n & 4)
        return;
    memcpy(u->record.name, name, strlen(name));
    u->record.nonce = 1 + (n >> 3) % 4;
    u->record.version = fuzz_counter(in);
    u->record.addr = fuzz_addr(next(in));
    u->record.weight = (uint8_t)(1 + (n >> 5));
    u->record.serving = n & 8;
    u->record.draining = n & 16;
    if (n & 32)
        memcpy(u->record.zone, "z", 1);
}

/* The plain text of a datagram to whoever has this id and nonce, or said so by the input: kind,
 * sender and a few updates of the input's choice. Returns its length. */
static inline size_t fuzz_datagram(struct input *in, const struct peer_id *self, uint64_t nonce,
                                   uint32_t number, uint8_t plain[WIRE_PLAIN_MAX])
{
    static struct wire_datagram d;
    struct wire_update u;
    struct wire_writer w;
    uint8_t n = next(in), more = next(in);
    memset(&d, 0, offsetof(struct wire_datagram, updates));
    d.kind = (enum datagram_kind)(DATAGRAM_HELLO + n % DATAGRAM_KIND_LAST);
    d.target_name_only.name = self->name;
    d.target_nonce = more & 1 && more & 2 ? more >> 4 : nonce;
    d.number = more & 8 ? number : next(in);
    const char *name = fuzz_name(in);
    d.sender = fuzz_id(in, name, self);
    d.load = more;
    d.view_hash = more & 4 ? 0 : next_many(in, 8);
    d.subject = fuzz_id(in, fuzz_name(in), self);
    d.subject_addr = fuzz_addr(more);
    if (d.kind == DATAGRAM_HELLO)
        memcpy(d.name, name, strlen(name));
    if (d.kind == DATAGRAM_WELCOME) {
        memcpy(d.name, FUZZ_SELF, strlen(FUZZ_SELF));
        d.seen_from = fuzz_addr(0);
        d.highest_generation = more & 16 ? FUZZ_WALL_MS + fuzz_counter(in) : 0;
        d.incumbent_lives = more & 32;
        d.incumbent = fuzz_id(in, FUZZ_SELF, self);
        d.incumbent_addr = fuzz_addr(more >> 5);
    }
    check(wire_datagram_begin(&w, &d, plain, WIRE_PLAIN_MAX) == 0);
    for (uint8_t k = 0; k < n >> 5; k++) {
        fuzz_update(in, &u, self);
        check(wire_datagram_add(&w, &u) == 0);
    }
    return w.length;
}

#endif
