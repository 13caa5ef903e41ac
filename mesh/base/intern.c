/* intern.c - texts by content. */
#include "mesh/base/intern.h"

#include <errno.h>

#include "mesh/base/siphash.h"

struct interned {
    struct handle self;
    struct bytes *buf;
    uint32_t users;
};

void interns_init(struct interns *interns, uint32_t max, const uint8_t key[16])
{
    memset(interns, 0, sizeof *interns);
    memcpy(interns->key, key, sizeof interns->key);
    pool_init(&interns->pool, sizeof(struct interned), max);
    table_init(&interns->by_hash, sizeof(uint64_t), key);
}

void interns_deinit(struct interns *interns)
{
    assert(interns->bytes == 0);
    table_deinit(&interns->by_hash);
    pool_deinit(&interns->pool);
}

/* The one whose hash is equal, NULL: none; whose content may differ. */
static struct interned *interned_of(const struct interns *interns, uint64_t hash)
{
    uint32_t slot = 0;
    struct handle h;
    if (!table_get(&interns->by_hash, &hash, &slot))
        return NULL;
    return pool_slot(&interns->pool, slot, &h);
}

static bool interned_is(const struct interned *interned, struct slice text)
{
    return slice_equal(slice_borrow(interned->buf->data, interned->buf->length), text);
}

/* Notes that this buffer may be shared. Without memory it is not. */
static void interned_new(struct interns *interns, uint64_t hash, struct bytes *buf)
{
    struct handle h;
    struct interned *interned = pool_take(&interns->pool, &h);
    if (interned == NULL)
        return;
    if (table_put(&interns->by_hash, &hash, h.slot) < 0) {
        pool_give(&interns->pool, h);
        return;
    }
    *interned = (struct interned){.self = h, .buf = buf, .users = 1};
}

int intern_keep(struct interns *interns, struct slice *keep, struct slice text,
                struct bytes_budget *budget)
{
    *keep = (struct slice){NULL, NULL, 0};
    if (text.length == 0)
        return 0;
    uint64_t hash = siphash(interns->key, text.at, text.length);
    struct interned *interned = interned_of(interns, hash);
    if (interned != NULL && interned_is(interned, text)) {
        interned->users++;
        bytes_ref(interned->buf);
        *keep = slice_of(interned->buf, 0, text.length);
        return 0;
    }
    struct bytes *buf = bytes_copy(budget, text.at, text.length);
    if (buf == NULL)
        return -ENOMEM;
    if (interned == NULL)
        interned_new(interns, hash, buf);
    interns->bytes += text.length;
    *keep = slice_of(buf, 0, text.length);
    return 0;
}

void intern_drop(struct interns *interns, struct slice *keep)
{
    if (keep->length == 0)
        return;
    uint64_t hash = siphash(interns->key, keep->at, keep->length);
    struct interned *interned = interned_of(interns, hash);
    bool is_shared = interned != NULL && interned->buf == keep->buf;
    if (is_shared)
        interned->users--;
    if (!is_shared || interned->users == 0)
        interns->bytes -= keep->length;
    if (is_shared && interned->users == 0) {
        table_remove(&interns->by_hash, &hash);
        pool_give(&interns->pool, interned->self);
    }
    slice_drop(keep);
}

bool intern_has(const struct interns *interns, struct slice text)
{
    uint64_t hash = siphash(interns->key, text.at, text.length);
    const struct interned *interned = interned_of(interns, hash);
    return interned != NULL && interned_is(interned, text);
}
