/* fuzz_h1_request.c - requests: whole and in random pieces they must read the same, collected or
 * in parts, and llhttp must frame what we accept as we do. The gate sees every head. The first
 * byte of the input chooses the pieces. */
#include <llhttp.h>

#include "tests/fuzz/fuzz_h1.h"

struct other {
    struct record body;
    bool is_complete;
};

static int on_body(llhttp_t *parser, const char *at, size_t length)
{
    struct other *other = parser->data;

    record_add(&other->body, at, length);
    return 0;
}

static int on_complete(llhttp_t *parser)
{
    struct other *other = parser->data;

    other->is_complete = true;
    return HPE_PAUSED;
}

static struct slice first_body(const struct record *r, size_t first)
{
    /* The record of the first message is its head, marks, 'e', the length, the body. */
    struct slice body = {0};
    uint64_t length;
    size_t i;

    for (i = 0; i < r->length; i++) {
        if (r->data[i] != 'e' || r->length - i < 9)
            continue;
        memcpy(&length, r->data + i + 1, sizeof length);
        if (length <= first && i >= 9 * 5 && r->data[i - 9] == 'r' && r->data[i - 18] == 'g')
            return slice_borrow(r->data + i + 9, (size_t)length);
    }
    return body;
}

static void compare_framing(const uint8_t *data, size_t first, const struct record *ours)
{
    static const llhttp_settings_t settings = {.on_body = on_body,
                                               .on_message_complete = on_complete};
    struct slice body = first_body(ours, first);
    struct other other = {0};
    llhttp_errno_t error;
    llhttp_t parser;

    llhttp_init(&parser, HTTP_REQUEST, &settings);
    parser.data = &other;
    error = llhttp_execute(&parser, (const char *)data, first);
    /* It may refuse more than we do, as it does some trailers, but not read on, or otherwise. */
    if (error == HPE_OK ||
        (other.is_complete &&
         (other.body.length != body.length ||
          (body.length > 0 && memcmp(other.body.data, body.at, body.length) != 0)))) {
        fprintf(stderr, "llhttp frames the first message otherwise\n");
        abort();
    }
    free(other.body.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    struct feeding feeding = {.direction = H1_REQUESTS, .collect = true};
    struct record whole = {0}, pieces = {0}, parts = {0}, into_room = {0};
    size_t first;

    if (length < 1)
        return 0;
    first = drive(&feeding, data + 1, length - 1, &whole);
    feeding.seed = data[0] + 1u;
    if (drive(&feeding, data + 1, length - 1, &pieces) != first)
        abort();
    compare(&whole, &pieces);
    feeding.into_room = true;
    drive(&feeding, data + 1, length - 1, &into_room);
    compare(&whole, &into_room);
    feeding.collect = false;
    drive(&feeding, data + 1, length - 1, &parts);
    compare(&whole, &parts);
    if (first > 0)
        compare_framing(data + 1, first, &whole);
    free(whole.data);
    free(pieces.data);
    free(parts.data);
    free(into_room.data);
    return 0;
}
