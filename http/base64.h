/* base64.h - RFC 4648, read strictly: one spelling a text, nothing in the unused bits. */
#ifndef HTTP_BASE64_H
#define HTTP_BASE64_H

#include "mesh/base/bytes.h"

enum base64_kind {
    BASE64_PADDED, /* section 4 */
    BASE64_URL     /* section 5, without padding, as JWTs have it (RFC 7515 section 2) */
};

/* Decodes `text` into the `room` bytes at `into`. False: it is no such text, or does not fit. */
bool base64_decode(uint8_t *into, size_t room, size_t *length, struct slice text,
                   enum base64_kind kind);

#endif
