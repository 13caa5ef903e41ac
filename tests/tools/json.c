/* json.c - see json.h. Trusts the text to be sound, but never reads past its end. */
#include "tests/tools/json.h"

#include <string.h>

static const uint8_t *skip_space(const uint8_t *at, const uint8_t *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
        at++;
    return at;
}

static const uint8_t *skip_string(const uint8_t *at, const uint8_t *end)
{
    for (at++; at < end && *at != '"'; at++)
        if (*at == '\\')
            at++;
    return at < end ? at + 1 : end;
}

static const uint8_t *skip_value(const uint8_t *at, const uint8_t *end)
{
    unsigned depth = 0;
    while (at < end) {
        if (*at == '"') {
            at = skip_string(at, end);
        } else if (*at == '{' || *at == '[') {
            depth++;
            at++;
        } else if (*at == '}' || *at == ']') {
            if (depth == 0)
                return at;
            depth--;
            at++;
        } else if (depth == 0 && *at == ',') {
            return at;
        } else {
            at++;
            continue;
        }
        if (depth == 0)
            return at;
    }
    return at;
}

static struct slice value_at(const uint8_t *at, const uint8_t *end)
{
    const uint8_t *after = skip_value(at, end);
    while (after > at &&
           (after[-1] == ' ' || after[-1] == '\n' || after[-1] == '\r' || after[-1] == '\t'))
        after--;
    return (struct slice){.at = at, .length = (size_t)(after - at)};
}

struct slice json_field(struct slice object, const char *key)
{
    const uint8_t *end = object.at + object.length;
    const uint8_t *at = object.length > 0 ? skip_space(object.at, end) : end;
    size_t key_length = strlen(key);
    if (at == end || *at != '{')
        return (struct slice){0};
    at = skip_space(at + 1, end);
    while (at < end && *at == '"') {
        const uint8_t *name = at + 1;
        at = skip_string(at, end);
        size_t name_length = (size_t)(at - name) - 1;
        at = skip_space(at, end);
        if (at < end && *at == ':')
            at = skip_space(at + 1, end);
        if (name_length == key_length && memcmp(name, key, key_length) == 0)
            return value_at(at, end);
        at = skip_space(skip_value(at, end), end);
        if (at < end && *at == ',')
            at = skip_space(at + 1, end);
    }
    return (struct slice){0};
}

struct slice json_first(struct slice array)
{
    const uint8_t *end = array.at + array.length;
    const uint8_t *at = array.length > 0 ? skip_space(array.at, end) : end;
    if (at == end || *at != '[')
        return (struct slice){0};
    return value_at(skip_space(at + 1, end), end);
}

struct slice json_inside(struct slice string)
{
    if (string.length < 2 || string.at[0] != '"')
        return (struct slice){0};
    return (struct slice){.at = string.at + 1, .length = string.length - 2};
}

uint64_t json_number(struct slice value, uint64_t otherwise)
{
    uint64_t number = 0;
    if (value.length == 0 || value.length > 18)
        return otherwise;
    for (size_t i = 0; i < value.length; i++) {
        if (value.at[i] < '0' || value.at[i] > '9')
            return otherwise;
        number = number * 10 + (uint64_t)(value.at[i] - '0');
    }
    return number;
}
