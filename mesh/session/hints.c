/* hints.c - tools' hints between peers: 8 bytes each, little-endian, as retry.h keeps them. */
#include "mesh/session/hints.h"

#include "mesh/session/core.h"

void hints_tell(struct core *core, struct peer_id peer, uint64_t now_ms)
{
    const struct retry *retry = &core->retry;
    struct bytes *text =
        retry->count > 0 ? bytes_new(&core->budget, retry->count * sizeof(uint64_t)) : NULL;
    struct wire_message m = {.kind = WIRE_TOOLS};
    if (text == NULL)
        return;
    for (uint32_t n = 0; n < retry->count; n++)
        for (unsigned byte = 0; byte < sizeof(uint64_t); byte++)
            text->data[text->length++] = (uint8_t)(retry->known[n] >> 8 * byte);
    m.payload = slice_of(text, 0, text->length);
    (void)links_tell(core->links, peer, NULL, &m, now_ms); /* who has no link is told with it */
    bytes_unref(text);
}

void hints_tell_all(struct core *core, uint64_t now_ms)
{
    for (size_t n = 0; n < view_count(core->view); n++) {
        struct peer_id peer = view_at(core->view, n)->record->id;
        if (!peer_id_equal(peer, core_self(core)) && links_has(core->links, peer))
            hints_tell(core, peer, now_ms);
    }
}

void hints_on_message(struct core *core, const struct wire_message *m)
{
    for (size_t at = 0; at + sizeof(uint64_t) <= m->payload.length; at += sizeof(uint64_t)) {
        uint64_t tool = 0;
        for (unsigned byte = 0; byte < sizeof(uint64_t); byte++)
            tool |= (uint64_t)m->payload.at[at + byte] << 8 * byte;
        retry_hear(&core->retry, tool);
    }
}
