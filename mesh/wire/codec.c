/* codec.c - the scan that bounds what msgpack may be asked for, and the elements that datagrams and
 * link messages have in common: ids, epochs, addresses, members.
 *
 * An update: [kind, id 2, incarnation, accuser 2] and, with a record, [name, nonce, version, ip,
 * port, zone, weight, flags] and, as flags say, [key ids: 4 bytes each] and [proof: identity.h]. An
 * address is 4 or 16 bytes and a port. */
#include "mesh/wire/codec.h"

#include <endian.h>
#include <errno.h>

#define UPDATE_ELEMENTS 6
#define CLAIM_ELEMENTS 5
#define RECORD_ELEMENTS 8

#define CODEC_RESERVED 0xc1 /* a byte that msgpack does not use */

enum { FLAG_SERVING = 1, FLAG_DRAINING = 2, FLAG_HOLD = 4, FLAG_KEYS = 8, FLAG_PROOF = 16 };
#define KEY_ID_BYTES 4

/* ---- the scan ------------------------------------------------------------------------------- */

/* A big-endian number of 0, 1, 2, 4 or 8 bytes. */
static uint64_t read_be(const uint8_t *at, size_t bytes)
{
    uint64_t n8;
    uint32_t n4;
    uint16_t n2;

    switch (bytes) {
    case 1:
        return at[0];
    case 2:
        memcpy(&n2, at, sizeof n2);
        return be16toh(n2);
    case 4:
        memcpy(&n4, at, sizeof n4);
        return be32toh(n4);
    case 8:
        memcpy(&n8, at, sizeof n8);
        return be64toh(n8);
    default:
        return 0;
    }
}

/* The tokens 0xc0 .. 0xdf (msgpack specification, "Formats"): bytes of a length field, bytes of the
 * body beside what that counts, and how many elements it counts (0: it counts bytes). */
static const struct {
    uint8_t field, body, per;
} tokens[32] = {
    {0, 0, 0},  {0, 0, 0}, {0, 0, 0}, {0, 0, 0}, {1, 0, 0}, {2, 0, 0}, {4, 0, 0}, {1, 1, 0},
    {2, 1, 0},  {4, 1, 0}, {0, 4, 0}, {0, 8, 0}, {0, 1, 0}, {0, 2, 0}, {0, 4, 0}, {0, 8, 0},
    {0, 1, 0},  {0, 2, 0}, {0, 4, 0}, {0, 8, 0}, {0, 2, 0}, {0, 3, 0}, {0, 5, 0}, {0, 9, 0},
    {0, 17, 0}, {1, 0, 0}, {2, 0, 0}, {4, 0, 0}, {2, 0, 1}, {4, 0, 1}, {2, 0, 2}, {4, 0, 2},
};

/* Bytes of the token at `at` but its first: length field and body; SIZE_MAX: more than are left, or
 * no token. *holds: elements that follow it as its own, or -1: it is no container. */
static inline size_t token_read(const uint8_t *at, size_t left, int64_t *holds)
{
    uint8_t type = at[0];
    size_t field, per;
    uint64_t n;

    *holds = -1;
    if (type < 0x80 || type >= 0xe0)
        return 0;
    if (type < 0xa0) {
        *holds = (type & 15) * (type < 0x90 ? 2 : 1);
        return 0;
    }
    if (type < 0xc0)
        return type & 31u;
    field = tokens[type - 0xc0].field;
    per = tokens[type - 0xc0].per;
    if (type == CODEC_RESERVED || left < 1 + field)
        return SIZE_MAX;
    if (field == 0) /* mostly: a number, a truth value, nil */
        return tokens[type - 0xc0].body;
    n = field == 1 ? at[1] : read_be(at + 1, field);
    if (per == 0)
        return field + tokens[type - 0xc0].body + (size_t)n;
    *holds = (int64_t)(n * per);
    return field;
}

int wire_scan(const void *data, size_t length, uint32_t *elements_left)
{
    const uint8_t *at = data, *end = at + length;
    int64_t open[WIRE_DEPTH_MAX]; /* elements still to come in what is around, by depth */
    int64_t here = 1, holds, pending;
    size_t depth = 0, left, more;

    for (;;) {
        while (here == 0) {
            if (depth == 0)
                return (int)(at - (const uint8_t *)data);
            here = open[--depth];
        }
        left = (size_t)(end - at);
        if (left == 0 || (more = token_read(at, left, &holds)) >= left)
            return -EBADMSG;
        at += 1 + more;
        here--;
        if (holds < 0)
            continue;
        if (depth == WIRE_DEPTH_MAX || holds > *elements_left)
            return -EBADMSG;
        *elements_left -= (uint32_t)holds;
        open[depth++] = here;
        here = pending = holds;
        for (size_t i = 0; i < depth; i++)
            pending += open[i];
        if (pending > end - at) /* each needs a byte at least */
            return -EBADMSG;
    }
}

/* ---- writing -------------------------------------------------------------------------------- */

void codec_put_data(struct codec_sink *sink, const void *data, size_t length)
{
    if (length > UINT32_MAX) {
        sink->is_full = true;
        return;
    }
    codec_put_bin(sink, length);
    if (length > 0)
        codec_append(sink, data, length);
}

void codec_put_text(struct codec_sink *sink, const char *text)
{
    size_t length = strlen(text);

    codec_put_str(sink, length);
    if (length > 0)
        codec_append(sink, text, length);
}

void codec_put_bool(struct codec_sink *sink, bool yes)
{
    if (yes)
        codec_put_true(sink);
    else
        codec_put_false(sink);
}

void codec_put_id(struct codec_sink *sink, struct peer_id id)
{
    codec_put_uint64(sink, id.name);
    codec_put_uint64(sink, id.generation);
}

void codec_put_epoch(struct codec_sink *sink, struct mesh_epoch epoch)
{
    codec_put_uint64(sink, epoch.counter);
    codec_put_id(sink, epoch.owner);
}

static bool is_mapped(const uint8_t ip[16])
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

    return memcmp(ip, prefix, sizeof prefix) == 0;
}

void codec_put_addr(struct codec_sink *sink, const struct mesh_addr *addr)
{
    if (is_mapped(addr->ip))
        codec_put_data(sink, addr->ip + 12, 4);
    else
        codec_put_data(sink, addr->ip, 16);
    codec_put_uint16(sink, addr->port);
}

uint16_t codec_update_elements(const struct wire_update *u)
{
    if (u->kind == UPDATE_CLAIM)
        return CLAIM_ELEMENTS;
    if (!u->record.name[0])
        return UPDATE_ELEMENTS;
    return (uint16_t)(UPDATE_ELEMENTS + RECORD_ELEMENTS + (u->record.keys_count > 0) +
                      u->record.has_proof);
}

void codec_put_update(struct codec_sink *sink, const struct wire_update *u)
{
    const struct mesh_record *m = &u->record;
    unsigned flags = (m->serving ? FLAG_SERVING : 0u) | (m->draining ? FLAG_DRAINING : 0u) |
                     (m->hold ? FLAG_HOLD : 0u) | (m->keys_count > 0 ? FLAG_KEYS : 0u) |
                     (m->has_proof ? FLAG_PROOF : 0u);
    uint8_t keys[KEY_ID_BYTES * MESH_KEYS_SAID_MAX];

    codec_put_array(sink, codec_update_elements(u));
    codec_put_uint8(sink, (uint8_t)u->kind);
    codec_put_id(sink, m->id);
    codec_put_uint32(sink, u->incarnation);
    if (u->kind == UPDATE_CLAIM) {
        codec_put_uint64(sink, u->shard);
        return;
    }
    codec_put_id(sink, u->accuser);
    if (!m->name[0])
        return;
    codec_put_text(sink, m->name);
    codec_put_uint64(sink, m->nonce);
    codec_put_uint64(sink, m->version);
    codec_put_addr(sink, &m->addr);
    codec_put_text(sink, m->zone);
    codec_put_uint8(sink, m->weight);
    codec_put_uint8(sink, (uint8_t)flags);
    for (uint8_t n = 0; n < m->keys_count; n++)
        for (unsigned byte = 0; byte < KEY_ID_BYTES; byte++)
            keys[n * KEY_ID_BYTES + byte] = (uint8_t)(m->keys[n] >> (8 * byte));
    if (m->keys_count > 0)
        codec_put_data(sink, keys, m->keys_count * (size_t)KEY_ID_BYTES);
    if (m->has_proof)
        codec_put_data(sink, m->proof, sizeof m->proof);
}

/* ---- reading -------------------------------------------------------------------------------- */

struct codec_cursor codec_cursor(const uint8_t *scanned, size_t length)
{
    uint8_t type = scanned[0];
    size_t field = type == 0xdc ? 2 : type == 0xdd ? 4 : 0;

    if (field == 0 && (type & 0xf0) != 0x90)
        return (struct codec_cursor){.bad = true};
    return (struct codec_cursor){
        .at = scanned + 1 + field,
        .end = scanned + length,
        .left = field == 0 ? type & 15u : (uint32_t)read_be(scanned + 1, field),
    };
}

/* Nothing can be taken any more. */
static void spoil(struct codec_cursor *c)
{
    c->bad = true;
    c->left = 0;
}

/* Enters a token of `types` kinds, the first of which is `type` and whose kinds differ in the size
 * of their field: 1, 2, 4, 8. Returns what the field says. */
static uint64_t take_sized(struct codec_cursor *c, uint8_t type, uint8_t types)
{
    unsigned kind = c->left > 0 ? (unsigned)c->at[0] - type : types;

    if (kind >= types) {
        spoil(c);
        return 0;
    }
    uint64_t n = read_be(c->at + 1, (size_t)1 << kind);
    c->at += 1 + ((size_t)1 << kind);
    c->left--;
    return n;
}

uint64_t codec_take_uint(struct codec_cursor *c, uint64_t max)
{
    uint64_t n;

    if (c->left > 0 && c->at[0] < 0x80) {
        n = *c->at++;
        c->left--;
    } else {
        n = take_sized(c, 0xcc, 4);
    }
    if (n <= max)
        return n;
    spoil(c);
    return 0;
}

bool codec_take_bool(struct codec_cursor *c)
{
    if (c->left == 0 || (c->at[0] | 1) != 0xc3) {
        spoil(c);
        return false;
    }
    c->left--;
    return *c->at++ & 1;
}

struct slice codec_take_bin(struct codec_cursor *c, struct bytes *buf)
{
    size_t length = (size_t)take_sized(c, 0xc4, 3);
    const uint8_t *at = c->at;

    if (c->bad)
        return (struct slice){0};
    c->at += length;
    return (struct slice){.buf = buf, .at = at, .length = length};
}

void codec_take_bytes(struct codec_cursor *c, void *into, size_t length)
{
    struct slice s = codec_take_bin(c, NULL);

    if (c->bad || s.length != length)
        spoil(c);
    else
        memcpy(into, s.at, length);
}

bool codec_take_nil(struct codec_cursor *c)
{
    if (c->left == 0 || c->at[0] != CODEC_NIL)
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
        spoil(c);
    return epoch;
}

/* A text of at most `max` characters, all of them accepted by `is_legal`. */
static void take_text(struct codec_cursor *c, char *into, size_t max, bool (*is_legal)(uint8_t))
{
    size_t length = 0;

    if (c->left > 0 && (c->at[0] & 0xe0) == 0xa0) {
        length = *c->at++ & 31u;
        c->left--;
    } else {
        length = (size_t)take_sized(c, 0xd9, 3);
    }
    if (c->bad || length > max) {
        spoil(c);
        return;
    }
    for (size_t i = 0; i < length; i++)
        if (!is_legal(c->at[i]))
            c->bad = true;
    memcpy(into, c->at, length);
    into[length] = '\0';
    c->at += length;
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
        spoil(c);
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
    if (!addr_is_legal(&addr))
        spoil(c);
    return addr;
}

static void take_keys(struct codec_cursor *c, struct mesh_record *m)
{
    struct slice ids = codec_take_bin(c, NULL);

    if (c->bad || ids.length == 0 || ids.length % KEY_ID_BYTES != 0 ||
        ids.length > KEY_ID_BYTES * MESH_KEYS_SAID_MAX) {
        spoil(c);
        return;
    }
    m->keys_count = (uint8_t)(ids.length / KEY_ID_BYTES);
    for (size_t at = 0; at < ids.length; at++)
        m->keys[at / KEY_ID_BYTES] |= (uint32_t)ids.at[at] << 8 * (at % KEY_ID_BYTES);
}

int codec_read_update(struct wire_update *u, const uint8_t *scanned, size_t length)
{
    struct codec_cursor c = codec_cursor(scanned, length);
    struct mesh_record *m = &u->record;
    uint64_t kind = codec_take_uint(&c, UINT8_MAX);

    memset(u, 0, sizeof *u);
    if (c.bad || kind < UPDATE_ALIVE)
        return -EBADMSG;
    if (kind > UPDATE_CLAIM)
        return 0;
    u->kind = (enum update_kind)kind;
    m->id = codec_take_id(&c);
    u->incarnation = (uint32_t)codec_take_uint(&c, UINT32_MAX);
    if (u->kind == UPDATE_CLAIM) {
        u->shard = codec_take_uint(&c, UINT64_MAX);
        return c.bad || peer_id_is_nobody(m->id) ? -EBADMSG : 0;
    }
    u->accuser = codec_take_id(&c);
    if (c.bad || peer_id_is_nobody(m->id))
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
    if (flags & FLAG_KEYS)
        take_keys(&c, m);
    if (flags & FLAG_PROOF) {
        codec_take_bytes(&c, m->proof, sizeof m->proof);
        m->has_proof = true;
    }
    return c.bad || m->weight == 0 ? -EBADMSG : 0;
}

uint16_t codec_take_updates(struct codec_cursor *c, struct wire_update *updates, uint16_t max)
{
    struct codec_cursor list = {.bad = true};
    uint16_t count = 0;

    if (c->left > 0)
        list = codec_cursor(c->at, (size_t)(c->end - c->at));
    if (list.bad || list.left > max) {
        spoil(c);
        return 0;
    }
    for (uint32_t i = 0; i < list.left; i++) {
        uint32_t elements_left = UINT32_MAX; /* bounded when the whole was scanned */
        int used = wire_scan(list.at, (size_t)(list.end - list.at), &elements_left);
        if (used < 0 || codec_read_update(&updates[count], list.at, (size_t)used) < 0) {
            spoil(c);
            return 0;
        }
        if (updates[count].kind != 0)
            count++;
        list.at += used;
    }
    c->left--;
    c->at = list.at;
    return count;
}
