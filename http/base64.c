/* base64.c - see base64.h. */
#include "http/base64.h"

static int digit_of(uint8_t c, enum base64_kind kind)
{
    static const char last[][3] = {[BASE64_PADDED] = "+/", [BASE64_URL] = "-_"};
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == (uint8_t)last[kind][0] ? 62 : c == (uint8_t)last[kind][1] ? 63 : -1;
}

bool base64_decode(uint8_t *into, size_t room, size_t *length, struct slice text,
                   enum base64_kind kind)
{
    uint32_t bits = 0, have = 0;
    size_t padding = 0;

    *length = 0;
    if (kind == BASE64_PADDED) {
        if (text.length % 4 != 0)
            return false;
        while (padding < 2 && padding < text.length && text.at[text.length - 1 - padding] == '=')
            padding++;
    }
    size_t digits = text.length - padding;
    if (digits % 4 == 1 || digits / 4 * 3 + (digits % 4 * 3) / 4 > room)
        return false;
    for (size_t i = 0; i < digits; i++) {
        int digit = digit_of(text.at[i], kind);

        if (digit < 0)
            return false;
        bits = bits << 6 | (uint32_t)digit;
        have += 6;
        if (have >= 8) {
            have -= 8;
            into[(*length)++] = (uint8_t)(bits >> have);
        }
    }
    return (bits & ((1u << have) - 1)) == 0;
}
