/* config_value.c - see config_value.h. Strict on purpose: what two readers could understand
 * differently (0x50, 070, " 80", +1) is refused (bad-inputs.md row C1). */
#include "node/config_value.h"

#include "http/gate.h"
#include "node/resolve.h"
#include "node/upstream.h"

#define PATH_MAX_BYTES 200
#define HEADER_MAX_BYTES 64

static const char *store_text(struct config *config, const struct setting *setting,
                              const char *text)
{
    memcpy(value_field(config, setting), &text, sizeof text);
    return NULL;
}

static bool is_printable(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text <= ' ' || *text > '~')
            return false;
    }
    return true;
}

/* ---- numbers -------------------------------------------------------------------------------- */

static void store_number(struct config *config, const struct setting *setting, uint64_t value)
{
    void *field = value_field(config, setting);
    uint8_t value8 = (uint8_t)value;
    uint32_t value32 = (uint32_t)value;
    if (setting->size == sizeof value8)
        memcpy(field, &value8, sizeof value8);
    else if (setting->size == sizeof value32)
        memcpy(field, &value32, sizeof value32);
    else
        memcpy(field, &value, sizeof value);
}

/* The digits at the start of a text; false: none, or more than a setting can need. */
static bool read_digits(const char *text, uint64_t *value, const char **rest)
{
    size_t length = strspn(text, "0123456789");
    *value = 0;
    *rest = text + length;
    if (length == 0 || length > 15 || (text[0] == '0' && length > 1))
        return false;
    for (size_t i = 0; i < length; i++)
        *value = *value * 10 + (uint64_t)(text[i] - '0');
    return true;
}

const char *read_number(struct config *config, const struct setting *setting, const char *text,
                        char why[VALUE_WHY_MAX])
{
    uint64_t value;
    const char *rest;
    if (!read_digits(text, &value, &rest) || *rest != '\0')
        return "is not a number";
    if (value < setting->min || value > setting->max) {
        snprintf(why, VALUE_WHY_MAX, "is not between %llu and %llu",
                 (unsigned long long)setting->min, (unsigned long long)setting->max);
        return why;
    }
    store_number(config, setting, value);
    return NULL;
}

struct unit {
    const char *name;
    uint64_t factor;
};
static const struct unit times[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
static const struct unit sizes[] = {{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"", 1}};

/* As a person would write it: in the largest unit that has no rest. */
static const char *unit_text(uint64_t value, const struct unit *units, char text[32])
{
    while (units->factor > 1 && (value % units->factor != 0 || value == 0))
        units++;
    snprintf(text, 32, "%llu%s", (unsigned long long)(value / units->factor), units->name);
    return text;
}

static const char *read_in_units(struct config *config, const struct setting *setting,
                                 const char *text, const struct unit *units, const char *what,
                                 char why[VALUE_WHY_MAX])
{
    uint64_t value;
    const char *rest;
    char min[32], max[32];
    if (!read_digits(text, &value, &rest))
        return what;
    const struct unit *unit = units;
    while (strcmp(unit->name, rest) != 0 && unit->factor > 1)
        unit++;
    if (strcmp(unit->name, rest) != 0 && !(value == 0 && *rest == '\0'))
        return what;
    if (value > setting->max / unit->factor || value * unit->factor < setting->min) {
        snprintf(why, VALUE_WHY_MAX, "is not between %s and %s",
                 unit_text(setting->min, units, min), unit_text(setting->max, units, max));
        return why;
    }
    store_number(config, setting, value * unit->factor);
    return NULL;
}

const char *read_time(struct config *config, const struct setting *setting, const char *text,
                      char why[VALUE_WHY_MAX])
{
    return read_in_units(config, setting, text, times, "is not a time as 250ms, 10s, 30m, 24h, 2d",
                         why);
}

const char *read_size(struct config *config, const struct setting *setting, const char *text,
                      char why[VALUE_WHY_MAX])
{
    return read_in_units(config, setting, text, sizes,
                         "is not a size as 1048576, 64KiB, 256MiB, "
                         "1GiB",
                         why);
}

const char *read_choice(struct config *config, const struct setting *setting, const char *text,
                        char why[VALUE_WHY_MAX])
{
    size_t length = strlen(text);
    uint64_t value = 0;
    for (const char *at = setting->choices; *at != '\0'; value++) {
        size_t choice = strcspn(at, "|");
        if (choice == length && memcmp(at, text, length) == 0) {
            store_number(config, setting, value);
            return NULL;
        }
        at += choice + (at[choice] == '|');
    }
    snprintf(why, VALUE_WHY_MAX, "is none of %s", setting->choices);
    return why;
}

/* ---- addresses ------------------------------------------------------------------------------ */

const char *read_addr(struct config *config, const struct setting *setting, const char *text,
                      char why[VALUE_WHY_MAX])
{
    (void)why;
    struct mesh_addr *addr = value_field(config, setting);
    const char *colon = strchr(text, ':');
    if (text[0] != '[' && colon != NULL && strchr(colon + 1, ':') != NULL)
        return "is not clear: an IPv6 address stands in brackets, as [::1]:8080";
    if (!addr_read(addr, text, (uint16_t)setting->min) || strchr(text, '%') != NULL)
        return "is not an address and port: 127.0.0.1:8080 or [::1]:8080";
    return NULL;
}

const char *read_admin(struct config *config, const struct setting *setting, const char *text,
                       char why[VALUE_WHY_MAX])
{
    config->has_admin = text[0] != '\0' && strcmp(text, "none") != 0;
    return config->has_admin ? read_addr(config, setting, text, why) : NULL;
}

static const char *list_add(struct config *config, const struct setting *setting, const char *text)
{
    struct config_list *list = value_field(config, setting);
    if (list->count == CONFIG_LIST_MAX)
        return "is one too many: at most 64";
    list->items[list->count++] = text;
    return NULL;
}

const char *read_join(struct config *config, const struct setting *setting, const char *text,
                      char why[VALUE_WHY_MAX])
{
    (void)why;
    return resolve_is_seed(text) ? list_add(config, setting, text)
                                 : "is no host or address, with or without a port";
}

const char *read_host(struct config *config, const struct setting *setting, const char *text,
                      char why[VALUE_WHY_MAX])
{
    (void)why;
    if (strcmp(text, "*") != 0 && !gate_is_authority(slice_text(text)))
        return "is no host as example.org, example.org:8080 or *";
    return list_add(config, setting, text);
}

/* RFC 6454 section 6.2: scheme://host[:port], no path; or null. */
const char *read_origin(struct config *config, const struct setting *setting, const char *text,
                        char why[VALUE_WHY_MAX])
{
    (void)why;
    size_t scheme = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789+-.");
    bool is_full = scheme > 0 && strncmp(text + scheme, "://", 3) == 0 &&
                   gate_is_authority(slice_text(text + scheme + 3));
    if (!is_full && strcmp(text, "*") != 0 && strcmp(text, "null") != 0)
        return "is no origin as https://example.org, null or *";
    return list_add(config, setting, text);
}

/* ---- words ---------------------------------------------------------------------------------- */

const char *read_path(struct config *config, const struct setting *setting, const char *text,
                      char why[VALUE_WHY_MAX])
{
    (void)why;
    return text[0] == '\0' ? "needs the name of a file" : store_text(config, setting, text);
}

const char *read_name(struct config *config, const struct setting *setting, const char *text,
                      char why[VALUE_WHY_MAX])
{
    (void)why;
    if (!mesh_name_is_legal(text))
        return "is no name: 1 to 63 of a-z, 0-9 and -";
    memcpy(value_field(config, setting), text, strlen(text) + 1);
    return NULL;
}

const char *read_word(struct config *config, const struct setting *setting, const char *text,
                      char why[VALUE_WHY_MAX])
{
    size_t length = strlen(text);
    if (length >= setting->min && length <= setting->max && is_printable(text))
        return store_text(config, setting, text);
    snprintf(why, VALUE_WHY_MAX, "is not %u to %u printable characters without blanks",
             (unsigned)setting->min, (unsigned)setting->max);
    return why;
}

/* Compared byte by byte with what clients send: nothing in it that has two spellings. */
const char *read_mcp_path(struct config *config, const struct setting *setting, const char *text,
                          char why[VALUE_WHY_MAX])
{
    (void)why;
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/";
    size_t length = strlen(text);
    if (text[0] != '/' || length > PATH_MAX_BYTES || strspn(text, allowed) != length ||
        strstr(text, "//") != NULL || strstr(text, "/.") != NULL)
        return "is no path as /mcp, of letters, digits, - . _ ~ and /";
    return store_text(config, setting, text);
}

/* Names of headers: RFC 9110 section 5.6.2, without the rarer marks. */
static bool is_header_name(const char *name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    size_t length = strlen(name);
    return length > 0 && length <= HEADER_MAX_BYTES && strspn(name, allowed) == length;
}

const char *read_header(struct config *config, const struct setting *setting, const char *text,
                        char why[VALUE_WHY_MAX])
{
    (void)why;
    return is_header_name(text) ? store_text(config, setting, text) : "names no header";
}

const char *read_bind(struct config *config, const struct setting *setting, const char *text,
                      char why[VALUE_WHY_MAX])
{
    (void)why;
    static const char header[] = "header:";
    enum mcp_bind bind;
    if (strcmp(text, "auto") == 0)
        bind = MCP_BIND_AUTO;
    else if (strcmp(text, "token") == 0)
        bind = MCP_BIND_TOKEN;
    else if (strcmp(text, "none") == 0)
        bind = MCP_BIND_NONE;
    else if (strncmp(text, header, strlen(header)) == 0) {
        const char *name = text + strlen(header);
        if (!is_header_name(name))
            return "names no header";
        bind = MCP_BIND_HEADER;
        config->host.mcp.bind_header = name;
    } else
        return "is none of auto, token, header:NAME, none";
    memcpy(value_field(config, setting), &bind, sizeof bind);
    return NULL;
}

const char *read_upstream(struct config *config, const struct setting *setting, const char *text,
                          char why[VALUE_WHY_MAX])
{
    (void)why;
    return upstream_url_is_good(text) ? store_text(config, setting, text)
                                      : "is no http://HOST[:PORT]/PATH";
}
