/* wire.c - the codec of wire.h, and the only user of msgpack. Each message is one flat array
 * (members are arrays within a VIEW's), read element by element; elements that a later version
 * appends are skipped. Nothing is decoded before wire_scan() has bounded what it may ask for.
 * Whether a message makes sense in the state of its receiver is not judged here.
 *
 * An update: [kind, id 2, incarnation, accuser 2] and, with a record, [name, nonce, version, ip,
 * port, zone, weight, flags]. An address is 4 or 16 bytes and a port. */
#include <errno.h>
#include <stdlib.h>

#include <msgpack/pack.h>
#include <msgpack/unpack.h>

#include "mesh/wire/wire.h"

#define TARGET_BYTES 16
#define NIL 0xc0
#define UPDATE_ELEMENTS 6
#define RECORD_ELEMENTS 8
#define FACTS_BYTES 10 /* of the packed rpc_message, before its spans */
#define SPANS_COUNT 11

enum { FLAG_SERVING = 1, FLAG_DRAINING = 2, FLAG_HOLD = 4 };

/* ---- the scan ----------------------------------------------------------------------------- */

static uint64_t read_be(const uint8_t *at, size_t bytes)
{
    uint64_t n = 0;

    for (size_t i = 0; i < bytes; i++)
        n = n << 8 | at[i];
    return n;
}

/* What one token says of itself (msgpack specification, "Formats"). */
struct token {
    size_t head;    /* bytes before its body: type, length field */
    size_t body;    /* bytes of a string, bin, ext or number */
    uint64_t holds; /* elements that follow it */
    bool is_container;
};

/* Tokens with a length field: bytes of that field, and what it counts. */
static bool token_read_sized(struct token *t, const uint8_t *at, size_t left)
{
    static const struct {
        uint8_t type, field, extra, per;
    } sized[] = {
        {0xc4, 1, 0, 0}, {0xc5, 2, 0, 0}, {0xc6, 4, 0, 0}, {0xc7, 1, 1, 0}, {0xc8, 2, 1, 0},
        {0xc9, 4, 1, 0}, {0xd9, 1, 0, 0}, {0xda, 2, 0, 0}, {0xdb, 4, 0, 0}, {0xdc, 2, 0, 1},
        {0xdd, 4, 0, 1}, {0xde, 2, 0, 2}, {0xdf, 4, 0, 2},
    };
    for (size_t i = 0; i < sizeof sized / sizeof sized[0]; i++)
        if (sized[i].type == at[0]) {
            if (left < 1u + sized[i].field)
                return false;
            uint64_t n = read_be(at + 1, sized[i].field);
            t->head = 1u + sized[i].field;
            t->is_container = sized[i].per > 0;
            t->holds = n * sized[i].per;
            t->body = t->is_container ? 0 : (size_t)n + sized[i].extra;
            return true;
        }
    return false;
}

static bool token_read(struct token *t, const uint8_t *at, size_t left)
{
    static const uint8_t numbers[] = {4, 8, 1, 2, 4, 8, 1, 2, 4, 8}; /* 0xca .. 0xd3 */
    uint8_t type = at[0];

    *t = (struct token){.head = 1};
    if (type < 0x80 || type >= 0xe0 || type == NIL || type == 0xc2 || type == 0xc3)
        return true;
    if (type < 0xa0) {
        t->is_container = true;
        t->holds = (type & 15u) * (type < 0x90 ? 2u : 1u);
        return true;
    }
    if (type < 0xc0)
        t->body = type & 31u;
    else if (type >= 0xca && type <= 0xd3)
        t->body = numbers[type - 0xca];
    else if (type >= 0xd4 && type <= 0xd8)
        t->body = (1u << (type - 0xd4)) + 1u;
    else if (!token_read_sized(t, at, left)) /* 0xc1 too */
        return false;
    return t->body <= left - t->head;
}

int wire_scan(const void *data, size_t length, uint32_t *elements_left)
{
    const uint8_t *bytes = data;
    uint64_t open[WIRE_DEPTH_MAX]; /* elements still to come, by depth */
    uint64_t pending = 1;          /* of all depths together */
    size_t at = 0, depth = 0;

    do {
        struct token t;
        if (at == length || !token_read(&t, bytes + at, length - at))
            return -EBADMSG;
        at += t.head + t.body;
        pending += t.holds - 1;
        if (t.holds > *elements_left || pending > length - at)
            return -EBADMSG;
        *elements_left -= (uint32_t)t.holds;
        if (depth > 0)
            open[depth - 1]--;
        if (t.is_container) {
            if (depth == WIRE_DEPTH_MAX)
                return -EBADMSG;
            open[depth++] = t.holds;
        }
        while (depth > 0 && open[depth - 1] == 0)
            depth--;
    } while (depth > 0);
    return (int)at;
}

/* ---- writing ------------------------------------------------------------------------------ */

struct sink {
    uint8_t *at;
    size_t length, room;
    bool is_full; /* sticky: the one check stands at the end */
};

static int sink_write(void *data, const char *bytes, size_t length)
{
    struct sink *sink = data;

    if (sink->is_full || length > sink->room - sink->length) {
        sink->is_full = true;
        return -1;
    }
    memcpy(sink->at + sink->length, bytes, length);
    sink->length += length;
    return 0;
}

static void put_bin(msgpack_packer *p, const void *data, size_t length)
{
    if (length > UINT32_MAX) {
        ((struct sink *)p->data)->is_full = true;
        return;
    }
    msgpack_pack_bin(p, length);
    if (length > 0)
        msgpack_pack_bin_body(p, data, length);
}

static void put_text(msgpack_packer *p, const char *text)
{
    size_t length = strlen(text);

    msgpack_pack_str(p, length);
    if (length > 0)
        msgpack_pack_str_body(p, text, length);
}

static void put_bool(msgpack_packer *p, bool yes)
{
    if (yes)
        msgpack_pack_true(p);
    else
        msgpack_pack_false(p);
}

static void put_id(msgpack_packer *p, struct peer_id id)
{
    msgpack_pack_uint64(p, id.name);
    msgpack_pack_uint64(p, id.generation);
}

static void put_epoch(msgpack_packer *p, struct mesh_epoch epoch)
{
    msgpack_pack_uint64(p, epoch.counter);
    put_id(p, epoch.owner);
}

static bool is_mapped(const uint8_t ip[16])
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

    return memcmp(ip, prefix, sizeof prefix) == 0;
}

static void put_addr(msgpack_packer *p, const struct mesh_addr *addr)
{
    if (is_mapped(addr->ip))
        put_bin(p, addr->ip + 12, 4);
    else
        put_bin(p, addr->ip, 16);
    msgpack_pack_uint16(p, addr->port);
}

static uint16_t update_elements(const struct wire_update *u)
{
    return u->member.name[0] ? UPDATE_ELEMENTS + RECORD_ELEMENTS : UPDATE_ELEMENTS;
}

static void put_update(msgpack_packer *p, const struct wire_update *u)
{
    const struct mesh_member *m = &u->member;
    unsigned flags = (m->serving ? FLAG_SERVING : 0u) | (m->draining ? FLAG_DRAINING : 0u) |
                     (m->hold ? FLAG_HOLD : 0u);

    msgpack_pack_array(p, update_elements(u));
    msgpack_pack_uint8(p, (uint8_t)u->kind);
    put_id(p, m->id);
    msgpack_pack_uint32(p, m->incarnation);
    put_id(p, u->accuser);
    if (!m->name[0])
        return;
    put_text(p, m->name);
    msgpack_pack_uint64(p, m->nonce);
    msgpack_pack_uint64(p, m->version);
    put_addr(p, &m->addr);
    put_text(p, m->zone);
    msgpack_pack_uint8(p, m->weight);
    msgpack_pack_uint8(p, (uint8_t)flags);
}

/* ---- reading ------------------------------------------------------------------------------ */

/* The elements of one array, taken in order. `bad` is sticky and also set by taking too many. */
struct cursor {
    const msgpack_object *at;
    uint32_t left;
    bool bad;
};

static struct cursor cursor_of(const msgpack_object *array)
{
    if (array->type != MSGPACK_OBJECT_ARRAY)
        return (struct cursor){.bad = true};
    return (struct cursor){.at = array->via.array.ptr, .left = array->via.array.size};
}

static const msgpack_object *take(struct cursor *c, msgpack_object_type type)
{
    if (c->left == 0 || c->at->type != type) {
        c->bad = true;
        return NULL;
    }
    c->left--;
    return c->at++;
}

static uint64_t take_uint(struct cursor *c, uint64_t max)
{
    const msgpack_object *o = take(c, MSGPACK_OBJECT_POSITIVE_INTEGER);

    if (o && o->via.u64 <= max)
        return o->via.u64;
    c->bad = true;
    return 0;
}

static bool take_bool(struct cursor *c)
{
    const msgpack_object *o = take(c, MSGPACK_OBJECT_BOOLEAN);

    return o && o->via.boolean;
}

static struct slice take_bin(struct cursor *c, struct bytes *buf)
{
    const msgpack_object *o = take(c, MSGPACK_OBJECT_BIN);

    if (!o)
        return (struct slice){0};
    return (struct slice){
        .buf = buf, .at = (const uint8_t *)o->via.bin.ptr, .length = o->via.bin.size};
}

static void take_bytes(struct cursor *c, void *into, size_t length)
{
    struct slice s = take_bin(c, NULL);

    if (c->bad || s.length != length)
        c->bad = true;
    else
        memcpy(into, s.at, length);
}

static bool take_nil(struct cursor *c)
{
    if (c->left == 0 || c->at->type != MSGPACK_OBJECT_NIL)
        return false;
    c->left--;
    c->at++;
    return true;
}

static struct peer_id take_id(struct cursor *c)
{
    uint64_t name = take_uint(c, UINT64_MAX);

    return (struct peer_id){.name = name, .generation = take_uint(c, UINT64_MAX)};
}

static struct mesh_epoch take_epoch(struct cursor *c)
{
    struct mesh_epoch epoch = {.counter = take_uint(c, UINT64_MAX)};

    epoch.owner = take_id(c);
    if (epoch.counter != 0 && peer_id_is_nobody(epoch.owner))
        c->bad = true;
    return epoch;
}

/* A text of at most `max` characters, all of them accepted by `is_legal`. */
static void take_text(struct cursor *c, char *into, size_t max, bool (*is_legal)(uint8_t))
{
    const msgpack_object *o = take(c, MSGPACK_OBJECT_STR);

    if (!o || o->via.str.size > max) {
        c->bad = true;
        return;
    }
    for (uint32_t i = 0; i < o->via.str.size; i++)
        if (!is_legal((uint8_t)o->via.str.ptr[i]))
            c->bad = true;
    memcpy(into, o->via.str.ptr, o->via.str.size);
    into[o->via.str.size] = '\0';
}

static bool is_name_character(uint8_t ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') || ch == '-';
}

static bool is_visible(uint8_t ch)
{
    return ch > 0x20 && ch < 0x7f;
}

static void take_name(struct cursor *c, char name[MESH_NAME_MAX + 1])
{
    take_text(c, name, MESH_NAME_MAX, is_name_character);
    if (name[0] == '\0')
        c->bad = true;
}

/* Nobody can live at: the unspecified address, multicast, broadcast, port 0 (row G19). */
static bool addr_is_legal(const struct mesh_addr *addr)
{
    static const uint8_t none[16];

    if (addr->port == 0 || addr->ip[0] == 0xff || memcmp(addr->ip, none, 16) == 0)
        return false;
    if (!is_mapped(addr->ip))
        return true;
    return addr->ip[12] != 0 && addr->ip[12] < 224;
}

static struct mesh_addr take_addr(struct cursor *c)
{
    struct mesh_addr addr = {.ip = {[10] = 0xff, [11] = 0xff}};
    struct slice ip = take_bin(c, NULL);

    addr.port = (uint16_t)take_uint(c, UINT16_MAX);
    if (ip.length == 4)
        memcpy(addr.ip + 12, ip.at, 4);
    else if (ip.length == 16)
        memcpy(addr.ip, ip.at, 16);
    else
        c->bad = true;
    if (!addr_is_legal(&addr))
        c->bad = true;
    return addr;
}

static enum member_state update_state(enum update_kind kind)
{
    switch (kind) {
    case UPDATE_ALIVE:
        return MEMBER_ALIVE;
    case UPDATE_SUSPECT:
        return MEMBER_SUSPECT;
    case UPDATE_DEAD:
        return MEMBER_DEAD;
    case UPDATE_LEFT:
        return MEMBER_LEFT;
    }
    return MEMBER_UNKNOWN;
}

static int read_update(struct wire_update *u, const msgpack_object *array)
{
    struct cursor c = cursor_of(array);
    struct mesh_member *m = &u->member;

    memset(u, 0, sizeof *u);
    u->kind = (enum update_kind)take_uint(&c, UPDATE_LEFT);
    m->id = take_id(&c);
    m->incarnation = (uint32_t)take_uint(&c, UINT32_MAX);
    u->accuser = take_id(&c);
    m->state = update_state(u->kind);
    if (c.bad || m->state == MEMBER_UNKNOWN || peer_id_is_nobody(m->id))
        return -EBADMSG;
    if (c.left < RECORD_ELEMENTS)
        return u->kind == UPDATE_ALIVE ? -EBADMSG : 0;
    take_name(&c, m->name);
    m->nonce = take_uint(&c, UINT64_MAX);
    m->version = take_uint(&c, UINT64_MAX);
    m->addr = take_addr(&c);
    take_text(&c, m->zone, MESH_ZONE_MAX, is_visible);
    m->weight = (uint8_t)take_uint(&c, 16);
    unsigned flags = (unsigned)take_uint(&c, UINT8_MAX);
    m->serving = flags & FLAG_SERVING;
    m->draining = flags & FLAG_DRAINING;
    m->hold = flags & FLAG_HOLD;
    return c.bad || m->weight == 0 ? -EBADMSG : 0;
}

static int unpack(msgpack_unpacked *result, const uint8_t *at, size_t length)
{
    size_t used = 0;

    switch (msgpack_unpack_next(result, (const char *)at, length, &used)) {
    case MSGPACK_UNPACK_SUCCESS:
    case MSGPACK_UNPACK_EXTRA_BYTES:
        return used == length ? 0 : -EBADMSG;
    case MSGPACK_UNPACK_CONTINUE:
    case MSGPACK_UNPACK_PARSE_ERROR:
        return -EBADMSG;
    case MSGPACK_UNPACK_NOMEM_ERROR: /* depth is bounded, so it is memory */
        return -ENOMEM;
    }
    return -EBADMSG;
}

/* ---- datagrams ---------------------------------------------------------------------------- */

static void write_le64(uint8_t *at, uint64_t n)
{
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)(n >> (8 * i));
}

static uint64_t read_le64(const uint8_t *at)
{
    uint64_t n = 0;

    for (int i = 7; i >= 0; i--)
        n = n << 8 | at[i];
    return n;
}

static uint16_t datagram_elements(const struct wire_datagram *d)
{
    switch (d->kind) {
    case DATAGRAM_HELLO:
        return 5;
    case DATAGRAM_WELCOME:
        return d->incumbent_lives ? 13 : 9;
    case DATAGRAM_PING:
    case DATAGRAM_ACK:
    case DATAGRAM_NACK:
        return 6;
    case DATAGRAM_PING_REQ:
        return 8;
    case DATAGRAM_GOSSIP:
    case DATAGRAM_NOT_ME:
        return 4;
    }
    return 0;
}

static void put_datagram(msgpack_packer *p, const struct wire_datagram *d)
{
    msgpack_pack_array(p, datagram_elements(d));
    msgpack_pack_uint8(p, (uint8_t)d->kind);
    msgpack_pack_uint32(p, d->number);
    put_id(p, d->sender);
    switch (d->kind) {
    case DATAGRAM_HELLO:
        put_text(p, d->name);
        break;
    case DATAGRAM_WELCOME:
        put_text(p, d->name);
        msgpack_pack_uint64(p, d->highest_generation);
        put_addr(p, &d->seen_from);
        put_bool(p, d->incumbent_lives);
        if (d->incumbent_lives) {
            put_addr(p, &d->incumbent_addr);
            put_id(p, d->incumbent);
        }
        break;
    case DATAGRAM_PING:
    case DATAGRAM_ACK:
        msgpack_pack_uint64(p, d->view_hash);
        msgpack_pack_uint32(p, d->load);
        break;
    case DATAGRAM_PING_REQ:
        put_id(p, d->subject);
        put_addr(p, &d->subject_addr);
        break;
    case DATAGRAM_NACK:
        put_id(p, d->subject);
        break;
    case DATAGRAM_GOSSIP:
    case DATAGRAM_NOT_ME:
        break;
    }
}

int wire_datagram_begin(struct wire_writer *w, const struct wire_datagram *d, void *into,
                        size_t room)
{
    struct sink sink = {.at = into, .length = TARGET_BYTES, .room = room};
    msgpack_packer p;

    *w = (struct wire_writer){.at = into, .room = room};
    if (room < TARGET_BYTES || room > WIRE_PLAIN_MAX)
        return -ENOSPC;
    write_le64(sink.at, d->target_name_only.name);
    write_le64(sink.at + 8, d->target_nonce);
    msgpack_packer_init(&p, &sink, sink_write);
    put_datagram(&p, d);
    if (sink.is_full)
        return -ENOSPC;
    w->length = sink.length;
    w->elements = datagram_elements(d);
    return 0;
}

int wire_datagram_add(struct wire_writer *w, const struct wire_update *u)
{
    struct sink sink = {.at = w->at, .length = w->length, .room = w->room};
    uint16_t elements = update_elements(u);
    msgpack_packer p;

    if (w->updates == WIRE_UPDATES_MAX || w->elements + elements > WIRE_ELEMENTS_MAX)
        return -ENOSPC;
    msgpack_packer_init(&p, &sink, sink_write);
    put_update(&p, u);
    if (sink.is_full)
        return -ENOSPC;
    w->length = sink.length;
    w->updates++;
    w->elements = (uint16_t)(w->elements + elements);
    return 0;
}

void wire_datagram_pad(struct wire_writer *w, size_t length)
{
    if (length > w->room)
        length = w->room;
    if (length <= w->length)
        return;
    memset(w->at + w->length, NIL, length - w->length);
    w->length = length;
}

static int read_datagram_head(struct wire_datagram *d, const msgpack_object *array)
{
    struct cursor c = cursor_of(array);
    uint64_t kind = take_uint(&c, DATAGRAM_NOT_ME);

    d->kind = (enum datagram_kind)kind;
    d->number = (uint32_t)take_uint(&c, UINT32_MAX);
    d->sender = take_id(&c);
    if (c.bad || kind == 0 || d->sender.name == 0)
        return -EBADMSG;
    switch (d->kind) {
    case DATAGRAM_HELLO:
        take_name(&c, d->name);
        break;
    case DATAGRAM_WELCOME:
        take_name(&c, d->name);
        d->highest_generation = take_uint(&c, UINT64_MAX);
        d->seen_from = take_addr(&c);
        d->incumbent_lives = take_bool(&c);
        if (d->incumbent_lives) {
            d->incumbent_addr = take_addr(&c);
            d->incumbent = take_id(&c);
        }
        break;
    case DATAGRAM_PING:
    case DATAGRAM_ACK:
        d->view_hash = take_uint(&c, UINT64_MAX);
        d->load = (uint32_t)take_uint(&c, UINT32_MAX);
        break;
    case DATAGRAM_PING_REQ:
        d->subject = take_id(&c);
        d->subject_addr = take_addr(&c);
        break;
    case DATAGRAM_NACK:
        d->subject = take_id(&c);
        break;
    case DATAGRAM_GOSSIP:
    case DATAGRAM_NOT_ME:
        break;
    }
    return c.bad ? -EBADMSG : 0;
}

static bool is_padding(const uint8_t *at, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (at[i] != NIL)
            return false;
    return true;
}

int wire_datagram_read(struct wire_datagram *d, const void *plain, size_t length)
{
    uint32_t elements_left = WIRE_ELEMENTS_MAX;
    const uint8_t *bytes = plain;
    size_t at = TARGET_BYTES;
    bool has_head = false;
    msgpack_unpacked result;
    int rc = 0;

    memset(d, 0, offsetof(struct wire_datagram, updates));
    if (length < TARGET_BYTES || length > WIRE_PLAIN_MAX)
        return -EBADMSG;
    d->target_name_only.name = read_le64(bytes);
    d->target_nonce = read_le64(bytes + 8);
    msgpack_unpacked_init(&result);
    while (rc == 0 && at < length && bytes[at] != NIL) {
        int used = wire_scan(bytes + at, length - at, &elements_left);
        rc = used < 0 ? used : unpack(&result, bytes + at, (size_t)used);
        if (rc < 0)
            break;
        if (!has_head)
            rc = read_datagram_head(d, &result.data);
        else if (d->updates_count == WIRE_UPDATES_MAX)
            rc = -EBADMSG;
        else
            rc = read_update(&d->updates[d->updates_count++], &result.data);
        has_head = true;
        at += (size_t)used;
    }
    msgpack_unpacked_destroy(&result);
    if (rc == 0 && (!has_head || !is_padding(bytes + at, length - at)))
        rc = -EBADMSG;
    return rc;
}

/* ---- the facts of a body ------------------------------------------------------------------ */

/* Packed: kind 1 | method 1 | fault 1 | flags 1 | batch_count 4 | present 2 | at 4, length 4 for
 * each span present; little-endian. */
static const size_t spans_at[SPANS_COUNT] = {
    offsetof(struct rpc_message, id),           offsetof(struct rpc_message, method_name),
    offsetof(struct rpc_message, name),         offsetof(struct rpc_message, progress_token),
    offsetof(struct rpc_message, cancels),      offsetof(struct rpc_message, version),
    offsetof(struct rpc_message, meta_version), offsetof(struct rpc_message, request_state),
    offsetof(struct rpc_message, task_id),      offsetof(struct rpc_message, related_task),
    offsetof(struct rpc_message, params),
};

static void write_le32(uint8_t *at, uint32_t n)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(n >> (8 * i));
}

static uint32_t read_le32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static size_t write_facts(uint8_t into[FACTS_BYTES + 8 * SPANS_COUNT],
                          const struct rpc_message *rpc, bool has_body)
{
    uint8_t *at = into + FACTS_BYTES;
    unsigned present = 0;

    into[0] = (uint8_t)rpc->kind;
    into[1] = (uint8_t)rpc->method;
    into[2] = rpc->fault == RPC_PARSE_ERROR ? 1 : rpc->fault == RPC_INVALID_REQUEST ? 2 : 0;
    into[3] = (uint8_t)((rpc->has_task ? 1u : 0u) | (rpc->batch_has_modern ? 2u : 0u));
    write_le32(into + 4, rpc->batch_count);
    for (unsigned i = 0; i < SPANS_COUNT && has_body; i++) {
        struct span span;
        memcpy(&span, (const char *)rpc + spans_at[i], sizeof span);
        if (span.length == 0)
            continue;
        present |= 1u << i;
        write_le32(at, span.at);
        write_le32(at + 4, span.length);
        at += 8;
    }
    into[8] = (uint8_t)present;
    into[9] = (uint8_t)(present >> 8);
    return (size_t)(at - into);
}

static int read_facts(struct rpc_message *rpc, struct slice facts, size_t body_length)
{
    static const int faults[] = {0, RPC_PARSE_ERROR, RPC_INVALID_REQUEST};
    const uint8_t *at = facts.at, *end = at + facts.length;

    memset(rpc, 0, sizeof *rpc);
    if (facts.length < FACTS_BYTES || at[0] > RPC_BATCH || at[1] > RPC_ROOTS_CHANGED || at[2] > 2)
        return -EBADMSG;
    rpc->kind = at[0];
    rpc->method = at[1];
    rpc->fault = faults[at[2]];
    rpc->has_task = at[3] & 1;
    rpc->batch_has_modern = at[3] & 2;
    rpc->batch_count = read_le32(at + 4);
    unsigned present = at[8] | (unsigned)at[9] << 8;
    at += FACTS_BYTES;
    for (unsigned i = 0; i < SPANS_COUNT; i++) {
        if (!(present & 1u << i))
            continue;
        if (end - at < 8)
            return -EBADMSG;
        struct span span = {.at = read_le32(at), .length = read_le32(at + 4)};
        if (span.length == 0 || span.at > body_length || span.length > body_length - span.at)
            return -EBADMSG;
        memcpy((char *)rpc + spans_at[i], &span, sizeof span);
        at += 8;
    }
    return 0;
}

/* ---- link messages ------------------------------------------------------------------------ */

static void put_open(msgpack_packer *p, const struct wire_message *m)
{
    const struct mesh_request *r = &m->open.request;
    uint8_t facts[FACTS_BYTES + 8 * SPANS_COUNT];

    msgpack_pack_array(p, 18);
    put_id(p, m->name.entry);
    msgpack_pack_uint64(p, m->name.counter);
    if (m->has_session)
        put_bin(p, m->session.bytes, MESH_SESSION_BYTES);
    else
        msgpack_pack_nil(p);
    put_epoch(p, m->epoch);
    msgpack_pack_uint8(p, m->open.hops);
    put_bool(p, m->open.is_attach);
    msgpack_pack_uint64(p, m->open.lost_link);
    msgpack_pack_uint32(p, m->open.received);
    msgpack_pack_uint8(p, (uint8_t)r->want);
    msgpack_pack_uint8(p, (uint8_t)r->era);
    put_bin(p, r->who.hash, sizeof r->who.hash);
    put_bin(p, r->method.at, r->method.length);
    put_bin(p, r->target.at, r->target.length);
    put_bin(p, r->head.at, r->head.length);
    put_bin(p, facts, write_facts(facts, &r->rpc, m->payload.length > 0));
}

static void put_text_head(msgpack_packer *p, const struct wire_message *m)
{
    const struct patch *patch = &m->text.patch;

    msgpack_pack_array(p, 7);
    put_epoch(p, m->epoch);
    put_bool(p, m->text.answers);
    msgpack_pack_uint64(p, patch->at);
    msgpack_pack_uint64(p, patch->cut);
    put_bin(p, patch->put.at, patch->put.length);
}

static void put_view(msgpack_packer *p, const struct wire_message *m)
{
    msgpack_pack_array(p, 3);
    msgpack_pack_uint64(p, m->view.mask);
    put_bool(p, m->view.answer);
    msgpack_pack_array(p, m->view.count);
    for (uint16_t i = 0; i < m->view.count; i++)
        put_update(p, &m->view.records[i]);
}

static void put_buckets(msgpack_packer *p, const struct wire_message *m)
{
    uint8_t sums[8 * WIRE_BUCKETS];

    for (size_t i = 0; i < WIRE_BUCKETS; i++)
        write_le64(sums + 8 * i, m->buckets[i]);
    msgpack_pack_array(p, 1);
    put_bin(p, sums, sizeof sums);
}

static void put_answer_head(msgpack_packer *p, const struct wire_message *m)
{
    msgpack_pack_array(p, 7);
    put_epoch(p, m->epoch);
    msgpack_pack_uint16(p, (uint16_t)m->head.status);
    msgpack_pack_uint8(p, (uint8_t)m->head.form);
    put_bin(p, m->head.head.at, m->head.head.length);
    if (m->has_session)
        put_bin(p, m->session.bytes, MESH_SESSION_BYTES);
    else
        msgpack_pack_nil(p);
}

static void put_message(msgpack_packer *p, const struct wire_message *m)
{
    switch (m->kind) {
    case WIRE_BUCKETS_ARE:
        put_buckets(p, m);
        break;
    case WIRE_VIEW:
        put_view(p, m);
        break;
    case WIRE_FIND:
        msgpack_pack_array(p, 1);
        put_bin(p, m->session.bytes, MESH_SESSION_BYTES);
        break;
    case WIRE_FOUND:
        msgpack_pack_array(p, 4);
        put_bin(p, m->session.bytes, MESH_SESSION_BYTES);
        put_epoch(p, m->epoch);
        break;
    case WIRE_DONE:
        msgpack_pack_array(p, 3);
        put_id(p, m->name.entry);
        msgpack_pack_uint64(p, m->name.counter);
        break;
    case WIRE_OPEN:
        put_open(p, m);
        break;
    case WIRE_CANCEL:
        msgpack_pack_array(p, 0);
        break;
    case WIRE_MOVED:
        msgpack_pack_array(p, 3);
        put_epoch(p, m->epoch);
        break;
    case WIRE_NOT_YET:
        msgpack_pack_array(p, 1);
        msgpack_pack_uint32(p, m->not_yet.wait_ms);
        break;
    case WIRE_REFUSED:
        msgpack_pack_array(p, 1);
        msgpack_pack_uint8(p, (uint8_t)m->end.why);
        break;
    case WIRE_HEAD:
        put_answer_head(p, m);
        break;
    case WIRE_EVENT:
    case WIRE_DATA:
        put_text_head(p, m);
        break;
    case WIRE_END:
        msgpack_pack_array(p, 5);
        put_epoch(p, m->epoch);
        msgpack_pack_uint8(p, (uint8_t)m->end.end);
        msgpack_pack_uint8(p, (uint8_t)m->end.why);
        break;
    }
}

int wire_link_write(const struct wire_message *m, void *into, size_t room)
{
    struct sink sink = {.at = into, .length = 1, .room = room};
    msgpack_packer p;

    if (room < 1)
        return -ENOSPC;
    sink.at[0] = (uint8_t)m->kind;
    msgpack_packer_init(&p, &sink, sink_write);
    put_message(&p, m);
    if (sink.is_full || (m->kind != WIRE_VIEW && sink.length > WIRE_HEAD_MAX))
        return -ENOSPC;
    return (int)sink.length;
}

/* What a request line may hold, so that nothing can be smuggled into one (RFC 9112 §3). */
static bool is_request_part(struct slice s, size_t max)
{
    if (s.length > max)
        return false;
    for (size_t i = 0; i < s.length; i++)
        if (s.at[i] <= 0x20 || s.at[i] == 0x7f)
            return false;
    return true;
}

static void read_session(struct cursor *c, struct wire_message *m)
{
    m->has_session = !take_nil(c);
    if (m->has_session)
        take_bytes(c, m->session.bytes, MESH_SESSION_BYTES);
}

static void read_open(struct cursor *c, struct wire_message *m, struct bytes *buf)
{
    struct mesh_request *r = &m->open.request;

    m->name.entry = take_id(c);
    m->name.counter = take_uint(c, UINT64_MAX);
    read_session(c, m);
    m->epoch = take_epoch(c);
    m->open.hops = (uint8_t)take_uint(c, UINT8_MAX);
    m->open.is_attach = take_bool(c);
    m->open.lost_link = take_uint(c, UINT64_MAX);
    m->open.received = (uint32_t)take_uint(c, UINT32_MAX);
    r->want = (enum mesh_want)take_uint(c, MESH_PASS);
    r->era = (enum mesh_era)take_uint(c, MESH_MODERN);
    take_bytes(c, r->who.hash, sizeof r->who.hash);
    r->method = take_bin(c, buf);
    r->target = take_bin(c, buf);
    r->head = take_bin(c, buf);
    struct slice facts = take_bin(c, NULL);
    if (c->bad || peer_id_is_nobody(m->name.entry) || !is_request_part(r->method, 32) ||
        !is_request_part(r->target, WIRE_HEAD_MAX) ||
        read_facts(&r->rpc, facts, m->payload.length) < 0 ||
        (r->want == MESH_CALL && r->rpc.kind == RPC_BAD))
        c->bad = true;
}

static void read_text_head(struct cursor *c, struct wire_message *m, struct bytes *buf)
{
    struct patch *patch = &m->text.patch;

    m->epoch = take_epoch(c);
    m->text.answers = take_bool(c);
    patch->at = (size_t)take_uint(c, m->payload.length);
    patch->cut = (size_t)take_uint(c, m->payload.length);
    patch->put = take_bin(c, buf);
    if (patch->cut > m->payload.length - patch->at)
        c->bad = true;
}

static void read_buckets(struct cursor *c, struct wire_message *m)
{
    struct slice sums = take_bin(c, NULL);

    if (sums.length != 8 * WIRE_BUCKETS) {
        c->bad = true;
        return;
    }
    for (size_t i = 0; i < WIRE_BUCKETS; i++)
        m->buckets[i] = read_le64(sums.at + 8 * i);
}

static void read_view(struct cursor *c, struct wire_message *m, struct wire_update *records)
{
    m->view.mask = take_uint(c, UINT64_MAX);
    m->view.answer = take_bool(c);
    m->view.records = records;
    const msgpack_object *list = take(c, MSGPACK_OBJECT_ARRAY);
    if (!list || list->via.array.size > WIRE_RECORDS_MAX) {
        c->bad = true;
        return;
    }
    for (uint32_t i = 0; i < list->via.array.size && !c->bad; i++)
        if (read_update(&records[i], &list->via.array.ptr[i]) < 0)
            c->bad = true;
    m->view.count = (uint16_t)list->via.array.size;
}

static void read_answer_head(struct cursor *c, struct wire_message *m, struct bytes *buf)
{
    m->epoch = take_epoch(c);
    m->head.status = (int)take_uint(c, 599);
    m->head.form = (enum mesh_form)take_uint(c, MESH_FORM_RAW);
    m->head.head = take_bin(c, buf);
    read_session(c, m);
    if (m->head.status < 100)
        c->bad = true;
}

static void read_message(struct cursor *c, struct wire_message *m, struct bytes *buf,
                         struct wire_update *records)
{
    switch (m->kind) {
    case WIRE_BUCKETS_ARE:
        read_buckets(c, m);
        break;
    case WIRE_VIEW:
        read_view(c, m, records);
        break;
    case WIRE_FIND:
        take_bytes(c, m->session.bytes, MESH_SESSION_BYTES);
        break;
    case WIRE_FOUND:
        take_bytes(c, m->session.bytes, MESH_SESSION_BYTES);
        m->epoch = take_epoch(c);
        break;
    case WIRE_DONE:
        m->name.entry = take_id(c);
        m->name.counter = take_uint(c, UINT64_MAX);
        break;
    case WIRE_OPEN:
        read_open(c, m, buf);
        break;
    case WIRE_CANCEL:
        break;
    case WIRE_MOVED:
        m->epoch = take_epoch(c);
        break;
    case WIRE_NOT_YET:
        m->not_yet.wait_ms = (uint32_t)take_uint(c, UINT32_MAX);
        if (m->not_yet.wait_ms > WIRE_WAIT_MAX_MS)
            m->not_yet.wait_ms = WIRE_WAIT_MAX_MS;
        break;
    case WIRE_REFUSED:
        m->end.why = (enum mesh_reason)take_uint(c, MESH_STOPPING);
        break;
    case WIRE_HEAD:
        read_answer_head(c, m, buf);
        break;
    case WIRE_EVENT:
    case WIRE_DATA:
        read_text_head(c, m, buf);
        break;
    case WIRE_END:
        m->epoch = take_epoch(c);
        m->end.end = (enum mesh_end)take_uint(c, MESH_END_CUT);
        m->end.why = (enum mesh_reason)take_uint(c, MESH_STOPPING);
        break;
    }
}

static bool has_payload(enum wire_kind kind)
{
    return kind == WIRE_OPEN || kind == WIRE_EVENT || kind == WIRE_DATA;
}

int wire_link_read(struct wire_message *m, struct slice text, struct wire_update *records)
{
    uint8_t kind = text.length > 0 ? text.at[0] : 0;
    size_t head_max = kind == WIRE_VIEW ? WIRE_VIEW_MAX : WIRE_HEAD_MAX;
    uint32_t elements_left = kind == WIRE_VIEW ? WIRE_RECORDS_MAX * 32 : WIRE_ELEMENTS_MAX;
    msgpack_unpacked result;
    int rc;

    if (kind == 0 || kind > WIRE_END)
        return -EBADMSG;
    int head_length = wire_scan(text.at + 1, text.length - 1, &elements_left);
    if (head_length < 0 || (size_t)head_length >= head_max)
        return -EBADMSG;
    memset(m, 0, kind == WIRE_BUCKETS_ARE ? offsetof(struct wire_message, open) : sizeof *m);
    m->kind = kind;
    m->payload = text;
    m->payload.at += 1 + head_length;
    m->payload.length -= 1 + (size_t)head_length;
    if (m->payload.length > (has_payload(m->kind) ? WIRE_PAYLOAD_MAX : 0))
        return -EBADMSG;
    msgpack_unpacked_init(&result);
    rc = unpack(&result, text.at + 1, (size_t)head_length);
    if (rc == 0) {
        struct cursor c = cursor_of(&result.data);
        if (!c.bad)
            read_message(&c, m, text.buf, records);
        rc = c.bad ? -EBADMSG : 0;
    }
    msgpack_unpacked_destroy(&result);
    return rc;
}
