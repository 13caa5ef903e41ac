/* fuzz_wire.c - hostile bytes for the codec. The first byte chooses: the scan against msgpack
 * itself (a scan that passes must be followed by an unpack that succeeds and asks for no more than
 * in proportion to its input), a datagram, or a message on a link. What is accepted must be
 * written, as msgpack itself would read it, and read again with the same meaning.
 *
 *   clang -g -fsanitize=fuzzer,address,undefined -I. tests/fuzz/fuzz_wire.c <mesh/base, mesh/wire>
 *   -lmsgpackc -lsodium */
#include <stdlib.h>

#include <msgpack/unpack.h>

#include "mesh/wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* Bytes of all objects below one, as msgpack lays them out. */
static size_t weight(const msgpack_object *o)
{
    size_t sum = sizeof *o;

    if (o->type == MSGPACK_OBJECT_ARRAY)
        for (uint32_t i = 0; i < o->via.array.size; i++)
            sum += weight(&o->via.array.ptr[i]);
    if (o->type == MSGPACK_OBJECT_MAP)
        for (uint32_t i = 0; i < o->via.map.size; i++)
            sum += weight(&o->via.map.ptr[i].key) + weight(&o->via.map.ptr[i].val);
    return sum;
}

/* These bytes are msgpack objects, one after the other. */
static void check_is_msgpack(const uint8_t *data, size_t length)
{
    msgpack_unpacked result;
    size_t used = 0;

    msgpack_unpacked_init(&result);
    while (used < length)
        check(msgpack_unpack_next(&result, (const char *)data, length, &used) ==
              MSGPACK_UNPACK_SUCCESS);
    msgpack_unpacked_destroy(&result);
}

static void fuzz_scan(const uint8_t *data, size_t size)
{
    uint32_t left = WIRE_ELEMENTS_MAX;
    msgpack_unpacked result;
    size_t used = 0;
    int length = wire_scan(data, size, &left);

    if (length < 0)
        return;
    msgpack_unpacked_init(&result);
    msgpack_unpack_return rc =
        msgpack_unpack_next(&result, (const char *)data, (size_t)length, &used);
    check(rc == MSGPACK_UNPACK_SUCCESS || rc == MSGPACK_UNPACK_EXTRA_BYTES);
    check(used == (size_t)length);
    check(weight(&result.data) <= sizeof(msgpack_object) * (size_t)length);
    msgpack_unpacked_destroy(&result);
}

static void fuzz_datagram(const uint8_t *data, size_t size)
{
    static struct wire_datagram d, again;
    uint8_t plain[WIRE_PLAIN_MAX];
    struct wire_writer w;

    if (wire_datagram_read(&d, data, size) < 0)
        return;
    check(wire_datagram_begin(&w, &d, plain, sizeof plain) == 0);
    for (uint16_t i = 0; i < d.updates_count; i++)
        check(wire_datagram_add(&w, &d.updates[i]) == 0);
    check(w.length <= size);
    check_is_msgpack(plain + 16, w.length - 16);
    check(wire_datagram_read(&again, plain, w.length) == 0);
    check(memcmp(&d, &again, offsetof(struct wire_datagram, updates)) == 0);
    check(memcmp(d.updates, again.updates, d.updates_count * sizeof d.updates[0]) == 0);
}

static void fuzz_link(const uint8_t *data, size_t size)
{
    static struct wire_update records[WIRE_RECORDS_MAX], twice[WIRE_RECORDS_MAX];
    static uint8_t text[WIRE_VIEW_MAX + (1u << 20)];
    struct wire_message m, again;

    if (wire_link_read(&m, slice_borrow(data, size), records) < 0)
        return;
    int head = wire_link_write(&m, text, WIRE_VIEW_MAX);
    check(head > 0 && (size_t)head + m.payload.length <= sizeof text);
    check_is_msgpack(text + 1, (size_t)head - 1);
    if (m.payload.length > 0)
        memcpy(text + head, m.payload.at, m.payload.length);
    check(wire_link_read(&again, slice_borrow(text, (size_t)head + m.payload.length), twice) == 0);
    check(m.kind == again.kind && slice_equal(m.payload, again.payload));
    if (m.kind == WIRE_VIEW)
        check(m.view.count == again.view.count &&
              memcmp(records, twice, m.view.count * sizeof records[0]) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    switch (data[0] % 3) {
    case 0:
        fuzz_scan(data + 1, size - 1);
        break;
    case 1:
        fuzz_datagram(data + 1, size - 1);
        break;
    case 2:
        fuzz_link(data + 1, size - 1);
        break;
    }
    return 0;
}
