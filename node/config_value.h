/* config_value.h - how the value of a setting is read: numbers, times, sizes, addresses, names.
 * For config.c, whose table names these readers. */
#ifndef NODE_CONFIG_VALUE_H
#define NODE_CONFIG_VALUE_H

#include "node/config.h"

#define VALUE_WHY_MAX 128

struct setting;
/* Puts the value into its field of *config, or says in one phrase what is wrong with it (a static
 * text, or one in `why`). Texts are borrowed. */
typedef const char *setting_read(struct config *config, const struct setting *setting,
                                 const char *text, char why[VALUE_WHY_MAX]);

struct setting {
    const char *name;     /* of the flag, without its dashes */
    const char *value;    /* as help shows it; NULL: `choices` */
    const char *fallback; /* the default as a text; NULL: none */
    int section;          /* of the help */
    unsigned uses;        /* enum config_use */
    setting_read *read;
    size_t offset, size; /* of its field in struct config */
    uint64_t min, max; /* numbers: limits; ms; bytes. Addresses: min is the port if none is given */
    const char *choices; /* "a|b|c": stored as 0, 1, 2 */
    const char *help;
};

static inline void *value_field(struct config *config, const struct setting *setting)
{
    return (char *)config + setting->offset;
}

setting_read read_number; /* decimal digits, nothing else */
setting_read read_time;   /* 250ms 10s 30m 24h 2d; a bare 0 */
setting_read read_size;   /* bytes, or with KiB, MiB, GiB */
setting_read read_choice;
setting_read read_addr;  /* A.B.C.D[:PORT], [V6][:PORT] */
setting_read read_admin; /* the same; "none" or nothing: off */
setting_read read_path;
setting_read read_name; /* of a peer */
setting_read read_word; /* printable ASCII without blanks, min .. max bytes */
setting_read read_join, read_host, read_origin;
setting_read read_mcp_path, read_bind, read_header, read_upstream;

#endif
