/* codec.c - the scan that bounds what msgpack may be asked for, and the elements that datagrams and
 * link messages have in common: ids, epochs, addresses, members.
 *
 * An update: [kind, id 2, incarnation, accuser 2] and, with a record, [name, nonce, version, ip,
 * port, zone, weight, flags]. An address is 4 or 16 bytes and a port. */
#include "mesh/wire/codec.h"

#include <errno.h>

#define UPDATE_ELEMENTS 6
#define RECORD_ELEMENTS 8

enum { FLAG_SERVING = 1, FLAG_DRAINING = 2, FLAG_HOLD = 4 };

/* ---- the scan ------------------------------------------------------------------------------- */

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
    if (type < 0x80 || type >= 0xe0 || type == CODEC_NIL || type == 0xc2 || type == 0xc3)
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

/* ---- writing -------------------------------------------------------------------------------- */

int codec_sink_write(void *data, const char *bytes, size_t length)
{
    struct codec_sink *sink = data;

    if (sink->is_full || length > sink->room - sink->length) {
        sink->is_full = true;
        return -1;
    }
    memcpy(sink->at + sink->length, bytes, length);
    sink->length += length;
    return 0;
}

void codec_put_bin(msgpack_packer *p, const void *data, size_t length)
{
    if (length > UINT32_MAX) {
        ((struct codec_sink *)p->data)->is_full = true;
        return;
    }
    msgpack_pack_bin(p, length);
    if (length > 0)
        msgpack_pack_bin_body(p, data, length);
}

void codec_put_text(msgpack_packer *p, const char *text)
{
    size_t length = strlen(text);

    msgpack_pack_str(p, length);
    if (length > 0)
        msgpack_pack_str_body(p, text, length);
}

void codec_put_bool(msgpack_packer *p, bool yes)
{
    if (yes)
        msgpack_pack_true(p);
    else
        msgpack_pack_false(p);
}

void codec_put_id(msgpack_packer *p, struct peer_id id)
{
    msgpack_pack_uint64(p, id.name);
    msgpack_pack_uint64(p, id.generation);
}

void codec_put_epoch(msgpack_packer *p, struct mesh_epoch epoch)
{
    msgpack_pack_uint64(p, epoch.counter);
    codec_put_id(p, epoch.owner);
}

static bool is_mapped(const uint8_t ip[16])
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

    return memcmp(ip, prefix, sizeof prefix) == 0;
}

void codec_put_addr(msgpack_packer *p, const struct mesh_addr *addr)
{
    if (is_mapped(addr->ip))
        codec_put_bin(p, addr->ip + 12, 4);
    else
        codec_put_bin(p, addr->ip, 16);
    msgpack_pack_uint16(p, addr->port);
}

uint16_t codec_update_elements(const struct wire_update *u)
{
    return u->record.name[0] ? UPDATE_ELEMENTS + RECORD_ELEMENTS : UPDATE_ELEMENTS;
}

void codec_put_update(msgpack_packer *p, const struct wire_update *u)
{
    const struct mesh_record *m = &u->record;
    unsigned flags = (m->serving ? FLAG_SERVING : 0u) | (m->draining ? FLAG_DRAINING : 0u) |
                     (m->hold ? FLAG_HOLD : 0u);

    msgpack_pack_array(p, codec_update_elements(u));
    msgpack_pack_uint8(p, (uint8_t)u->kind);
    codec_put_id(p, m->id);
    msgpack_pack_uint32(p, u->incarnation);
    codec_put_id(p, u->accuser);
    if (!m->name[0])
        return;
    codec_put_text(p, m->name);
    msgpack_pack_uint64(p, m->nonce);
    msgpack_pack_uint64(p, m->version);
    codec_put_addr(p, &m->addr);
    codec_put_text(p, m->zone);
    msgpack_pack_uint8(p, m->weight);
    msgpack_pack_uint8(p, (uint8_t)flags);
}

/* ---- reading -------------------------------------------------------------------------------- */

struct codec_cursor codec_cursor(const msgpack_object *array)
{
    if (array->type != MSGPACK_OBJECT_ARRAY)
        return (struct codec_cursor){.bad = true};
    return (struct codec_cursor){.at = array->via.array.ptr, .left = array->via.array.size};
}

const msgpack_object *codec_take(struct codec_cursor *c, msgpack_object_type type)
{
    if (c->left == 0 || c->at->type != type) {
        c->bad = true;
        return NULL;
    }
    c->left--;
    return c->at++;
}

uint64_t codec_take_uint(struct codec_cursor *c, uint64_t max)
{
    const msgpack_object *o = codec_take(c, MSGPACK_OBJECT_POSITIVE_INTEGER);

    if (o && o->via.u64 <= max)
        return o->via.u64;
    c->bad = true;
    return 0;
}

bool codec_take_bool(struct codec_cursor *c)
{
    const msgpack_object *o = codec_take(c, MSGPACK_OBJECT_BOOLEAN);

    return o && o->via.boolean;
}

struct slice codec_take_bin(struct codec_cursor *c, struct bytes *buf)
{
    const msgpack_object *o = codec_take(c, MSGPACK_OBJECT_BIN);

    if (!o)
        return (struct slice){0};
    return (struct slice){
        .buf = buf, .at = (const uint8_t *)o->via.bin.ptr, .length = o->via.bin.size};
}

void codec_take_bytes(struct codec_cursor *c, void *into, size_t length)
{
    struct slice s = codec_take_bin(c, NULL);

    if (c->bad || s.length != length)
        c->bad = true;
    else
        memcpy(into, s.at, length);
}

bool codec_take_nil(struct codec_cursor *c)
{
    if (c->left == 0 || c->at->type != MSGPACK_OBJECT_NIL)
        return false;
    c->left--;
    c->at++;
    return true;
}

struct peer_id codec_take_id(struct codec_cursor *c)
{
    uint64_t name = codec_take_uint(c, UINT64_MAX);

    return (struct peer_id){.name = name, .generation = codec_take_uint(c, UINT64_MAX)};
}

struct mesh_epoch codec_take_epoch(struct codec_cursor *c)
{
    struct mesh_epoch epoch = {.counter = codec_take_uint(c, UINT64_MAX)};

    epoch.owner = codec_take_id(c);
    if (epoch.counter != 0 && peer_id_is_nobody(epoch.owner))
        c->bad = true;
    return epoch;
}

/* A text of at most `max` characters, all of them accepted by `is_legal`. */
static void take_text(struct codec_cursor *c, char *into, size_t max, bool (*is_legal)(uint8_t))
{
    const msgpack_object *o = codec_take(c, MSGPACK_OBJECT_STR);

    if (!o || o->via.str.size > max) {
        c->bad = true;
        return;
    }
    for (uint32_t i = 0; i < o->via.str.size; i++)
        if (!is_legal((uint8_t)o->via.str.ptr[i]))
            c->bad = true;
    if (o->via.str.size > 0) /* an empty one is no pointer, perhaps */
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

void codec_take_name(struct codec_cursor *c, char name[MESH_NAME_MAX + 1])
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

struct mesh_addr codec_take_addr(struct codec_cursor *c)
{
    struct mesh_addr addr = {.ip = {[10] = 0xff, [11] = 0xff}};
    struct slice ip = codec_take_bin(c, NULL);

    addr.port = (uint16_t)codec_take_uint(c, UINT16_MAX);
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

int codec_read_update(struct wire_update *u, const msgpack_object *array)
{
    struct codec_cursor c = codec_cursor(array);
    struct mesh_record *m = &u->record;

    memset(u, 0, sizeof *u);
    u->kind = (enum update_kind)codec_take_uint(&c, UPDATE_LEFT);
    m->id = codec_take_id(&c);
    u->incarnation = (uint32_t)codec_take_uint(&c, UINT32_MAX);
    u->accuser = codec_take_id(&c);
    if (c.bad || u->kind < UPDATE_ALIVE || peer_id_is_nobody(m->id))
        return -EBADMSG;
    if (c.left < RECORD_ELEMENTS)
        return u->kind == UPDATE_ALIVE ? -EBADMSG : 0;
    codec_take_name(&c, m->name);
    m->nonce = codec_take_uint(&c, UINT64_MAX);
    m->version = codec_take_uint(&c, UINT64_MAX);
    m->addr = codec_take_addr(&c);
    take_text(&c, m->zone, MESH_ZONE_MAX, is_visible);
    m->weight = (uint8_t)codec_take_uint(&c, 16);
    unsigned flags = (unsigned)codec_take_uint(&c, UINT8_MAX);
    m->serving = flags & FLAG_SERVING;
    m->draining = flags & FLAG_DRAINING;
    m->hold = flags & FLAG_HOLD;
    return c.bad || m->weight == 0 ? -EBADMSG : 0;
}

int codec_unpack(msgpack_unpacked *result, const uint8_t *at, size_t length)
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
