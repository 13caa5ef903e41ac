/* event_id.c - see event_id.h. */
#include "mesh/base/event_id.h"

#include "mesh/base/rpc.h"

size_t event_id_write(char text[EVENT_ID_TEXT], const struct event_id *id)
{
    size_t length = rpc_write_number(text, id->stream);
    text[length++] = '-';
    length += rpc_write_number(text + length, id->epoch);
    text[length++] = '-';
    length += rpc_write_number(text + length, id->number);
    if (id->is_last) {
        text[length++] = '-';
        text[length++] = 'e';
    }
    return length;
}

/* Decimal, without a needless zero in front. */
static bool number_read(struct slice *rest, uint64_t max, uint64_t *number)
{
    size_t length = 0;
    *number = 0;
    while (length < rest->length && rest->at[length] >= '0' && rest->at[length] <= '9') {
        uint64_t digit = (uint64_t)(rest->at[length++] - '0');
        if (*number > (max - digit) / 10)
            return false;
        *number = *number * 10 + digit;
    }
    if (length == 0 || (length > 1 && rest->at[0] == '0'))
        return false;
    rest->at += length;
    rest->length -= length;
    return true;
}

static bool dash_read(struct slice *rest)
{
    if (rest->length == 0 || rest->at[0] != '-')
        return false;
    rest->at++;
    rest->length--;
    return true;
}

bool event_id_read(struct event_id *id, struct slice text)
{
    uint64_t stream = 0;
    struct event_id read = {0};
    *id = read;
    if (!number_read(&text, UINT32_MAX, &stream) || !dash_read(&text) ||
        !number_read(&text, UINT64_MAX, &read.epoch) || !dash_read(&text) ||
        !number_read(&text, UINT64_MAX, &read.number) || read.epoch == 0)
        return false;
    read.stream = (uint32_t)stream;
    read.is_last = text.length > 0;
    if (read.is_last && !slice_is(text, "-e"))
        return false;
    *id = read;
    return true;
}
