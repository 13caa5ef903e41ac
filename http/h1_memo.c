/* h1_memo.c - heads that were read lately. A connection mostly sends the same head again, and what
 * both readers agreed on for these bytes they would agree on again: only the digits of
 * Content-Length may be others, as many of them as before. Whatever else differs is read anew. */
#include "http/h1_inside.h"

#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 2048u /* a longer head is not worth its memory */

void h1_use_memo(struct h1 *h, struct h1_memo *memo)
{
    h->memo = memo;
    h->memo_at = memo->next++ % H1_MEMO_HEADS;
}

static void place_drop(struct h1_memo_place *place)
{
    h1_head_free(place->head);
    *place = (struct h1_memo_place){0};
}

void h1_memo_deinit(struct h1_memo *memo)
{
    for (uint32_t i = 0; i < H1_MEMO_HEADS; i++)
        place_drop(&memo->places[i]);
}

void h1_memo_keep(struct h1 *h)
{
    struct h1_memo_place *place;
    const struct h1_head *head = h->head;

    if (h->memo == NULL || h->phase != H1_PHASE_DONE || h->is_asked_head ||
        head->text.length > TEXT_MAX)
        return;
    place = &h->memo->places[h->memo_at];
    place_drop(place);
    *place = (struct h1_memo_place){.head = h->head, .length = (uint32_t)head->text.length};
    if (head->framing == H1_LENGTH)
        place->digits = head->headers[head->first[H1_FIELD_CONTENT_LENGTH]].value;
    h->head = NULL;
}

void h1_memo_forget(struct h1 *h)
{
    if (h->memo != NULL)
        place_drop(&h->memo->places[h->memo_at]);
}

/* The digits of another length, which frames as the former one did. */
static bool take_digits(const struct h1 *h, struct h1_head *head, struct span digits,
                        const uint8_t *data)
{
    struct slice now = slice_borrow(data + digits.at, digits.length);
    uint64_t length;

    if (memcmp(now.at, head->text.at + digits.at, digits.length) == 0)
        return true;
    if (head->text.buf->refs > 1 || !h1_read_length(now, &length) || length == 0 ||
        length > INT64_MAX || (h->limits.body_max > 0 && length > h->limits.body_max))
        return false;
    memcpy(head->text.buf->data + digits.at, now.at, digits.length);
    head->content_length = length;
    return true;
}

size_t h1_memo_find(struct h1 *h, const uint8_t *data, size_t length)
{
    struct h1_memo_place *place;
    struct h1_head *head;
    struct span digits;
    size_t whole, behind;

    if (h->memo == NULL || h->is_asked_head || h->state != LEX_START || h->blank_lines > 0)
        return 0;
    place = &h->memo->places[h->memo_at];
    head = place->head;
    whole = place->length;
    digits = place->digits;
    if (head == NULL || whole > length)
        return 0;
    behind = digits.at + digits.length;
    if (memcmp(data, head->text.at, digits.at) != 0 ||
        memcmp(data + behind, head->text.at + behind, whole - behind) != 0 ||
        (digits.length > 0 && !take_digits(h, head, digits, data)))
        return 0;
    place->head = NULL;
    h->head = head;
    h->state = LEX_DONE;
    return whole;
}
