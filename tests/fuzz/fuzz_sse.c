/* fuzz_sse.c - an event stream read whole and in random pieces must give the same events; and
 * what the writer writes the reader reads back, line ends in data told alike. The first byte of
 * the input chooses the pieces, and whether events over the cap come in parts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/sse.h"

#define EVENT_MAX 300

struct record {
    uint8_t data[1u << 16];
    size_t length;
};

static void record_add(struct record *r, struct slice s)
{
    if (s.length > sizeof r->data - r->length)
        return;
    if (s.length > 0)
        memcpy(r->data + r->length, s.at, s.length);
    r->length += s.length;
}

static size_t next_piece(uint64_t *seed, size_t left)
{
    size_t n;

    if (*seed == 0)
        return left;
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    n = (*seed >> 33) % ((*seed >> 60) < 8 ? 3 : 40) + 1;
    return n < left ? n : left;
}

static void drive(const uint8_t *data, size_t length, uint64_t seed, bool gives_parts,
                  struct record *r)
{
    struct bytes_budget budget = {.max = 1u << 20};
    enum sse_result result = SSE_MORE;
    struct sse_reader reader;
    size_t at = 0;

    r->length = 0;
    sse_reader_init(&reader, EVENT_MAX, &budget);
    reader.gives_parts = gives_parts;
    while (at < length && result != SSE_ERROR) {
        size_t piece = next_piece(&seed, length - at), done = 0, used;
        uint8_t *copy = malloc(piece);

        if (copy == NULL)
            abort();
        memcpy(copy, data + at, piece);
        do {
            struct sse_event event;

            result = sse_read(&reader, slice_borrow(copy + done, piece - done), &used, &event);
            done += used;
            if (result == SSE_MORE && done != piece)
                abort();
            if (result == SSE_PART)
                record_add(r, event.data);
            if (result != SSE_EVENT)
                continue;
            if (event.data.length > EVENT_MAX || event.name.length > SSE_NAME_MAX ||
                (event.retry_ms > 0 &&
                 (event.retry_ms < SSE_RETRY_MIN_MS || event.retry_ms > SSE_RETRY_MAX_MS)))
                abort();
            record_add(r, slice_text(event.has_id ? "[#" : "[?"));
            record_add(r, event.id);
            record_add(r, slice_text("|"));
            record_add(r, event.name);
            record_add(r, slice_borrow(&event.retry_ms, sizeof event.retry_ms));
            record_add(r, event.data);
            record_add(r, slice_text(event.is_large ? "~" : "]"));
        } while (result == SSE_EVENT || result == SSE_PART);
        free(copy);
        at += piece;
    }
    record_add(r, slice_text(result == SSE_ERROR ? "X" : "."));
    /* what blocks without data left behind, and where a comment might stand */
    record_add(r, slice_borrow(&reader.retry_ms, sizeof reader.retry_ms));
    record_add(r, slice_borrow(&reader.comments_count, sizeof reader.comments_count));
    record_add(r, slice_text(sse_reader_is_between(&reader) ? "b" : "i"));
    sse_reader_deinit(&reader);
    if (budget.used != 0)
        abort();
}

/* Data as a reader will see it: every line end a LF. */
static size_t unify(const uint8_t *data, size_t length, uint8_t *to)
{
    size_t i, n = 0;

    for (i = 0; i < length; i++) {
        to[n++] = data[i] == '\r' ? '\n' : data[i];
        if (data[i] == '\r' && i + 1 < length && data[i + 1] == '\n')
            i++;
    }
    return n;
}

static void round_trip(const uint8_t *data, size_t length, uint64_t seed)
{
    size_t id_length = length > 3 ? data[0] % 8 % length : 0, used;
    size_t name_length = length > 20 ? data[1] % 8 : 0, n;
    struct sse_event event = {.id = slice_borrow(data, id_length),
                              .name = slice_borrow(data + id_length, name_length)},
                     got;
    struct slice text;
    struct bytes *copy;
    struct sse_reader reader;
    uint8_t *wanted = malloc(length + 1), prefix[128];
    int rc, prefix_length;

    if (wanted == NULL)
        abort();
    event.data = slice_borrow(data + id_length + name_length, length - id_length - name_length);
    rc = sse_copy_event(NULL, &event, &copy);
    prefix_length = sse_write_prefix(prefix, sizeof prefix, &event);
    if ((rc < 0) != (prefix_length < 0))
        abort();
    if (rc < 0) {
        free(wanted);
        return;
    }
    text = slice_of(copy, 0, copy->length);
    if (!sse_needs_split(event.data) &&
        (text.length != (size_t)prefix_length + event.data.length + 2 ||
         memcmp(text.at, prefix, (size_t)prefix_length) != 0 ||
         memcmp(text.at + prefix_length, event.data.at, event.data.length) != 0))
        abort();
    n = unify(event.data.at, event.data.length, wanted);
    sse_reader_init(&reader, length + 1, NULL);
    /* In two parts, the first without the end. */
    used = text.length > 1 ? (size_t)(seed % (text.length - 1)) : 0;
    {
        size_t cut = used;

        if (sse_read(&reader, slice_borrow(text.at, cut), &used, &got) != SSE_MORE)
            abort();
        if (sse_read(&reader, slice_borrow(text.at + cut, text.length - cut), &used, &got) !=
                SSE_EVENT ||
            used != text.length - cut)
            abort();
    }
    if (got.data.length != n || (n > 0 && memcmp(got.data.at, wanted, n) != 0) ||
        !slice_equal(got.id, event.id) || !slice_equal(got.name, event.name))
        abort();
    sse_reader_deinit(&reader);
    bytes_unref(copy);
    free(wanted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    static struct record whole, pieces;

    if (length < 1)
        return 0;
    drive(data + 1, length - 1, 0, data[0] & 1, &whole);
    drive(data + 1, length - 1, data[0] + 1u, data[0] & 1, &pieces);
    if (whole.length != pieces.length || memcmp(whole.data, pieces.data, whole.length) != 0)
        abort();
    round_trip(data + 1, length - 1, data[0]);
    return 0;
}
