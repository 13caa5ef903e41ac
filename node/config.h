/* config.h - the settings of meshd: one table makes flags, environment names, checks, --help and
 * the README's list. A setting is a row in config.c. What a setting does stands with its reader,
 * mostly struct host_config; what is in key and token files, in secrets.h. */
#ifndef NODE_CONFIG_H
#define NODE_CONFIG_H

#include <stdio.h>

#include "node/host.h"
#include "node/log.h"
#include "node/secrets.h"

#define CONFIG_LIST_MAX 64   /* values of a repeatable setting */
#define CONFIG_ERROR_MAX 320 /* bytes of a message, its zero included */

struct config_list {
    const char *items[CONFIG_LIST_MAX];
    size_t count;
    char *split; /* a copy of what the environment had, cut at its commas */
};

/* Is not moved while it is in use: `host` points into it. */
struct config {
    struct host_config host;
    enum log_level log_level;
    bool log_json;
    bool json;                        /* of the commands that ask a peer */
    const char *argument, *argument2; /* of a command, as in `why ID`, `keys use KEY`; or NULL */
    struct mesh_addr admin;
    bool has_admin;
    /* What `host` borrows; the rest is borrowed from arguments and environment. */
    char name[MESH_NAME_MAX + 1];
    char admin_text[ADDR_TEXT_MAX];
    struct config_list joins, origins, hosts;
};

/* Who reads settings: a peer, or a command that asks one. Each has its own rows. */
enum config_use { CONFIG_RUN = 1, CONFIG_ASK = 2 };

enum config_result {
    CONFIG_GOOD,
    CONFIG_HELP,    /* --help */
    CONFIG_VERSION, /* --version */
    CONFIG_WRONG    /* `error` holds one line without its end: leave with HOST_EXIT_USAGE */
};

/* `argv`: the words after the command; argv[argc] is NULL. `environment`: "NAME=value" each, NULL
 * at the end. Flag over environment over default. Reads key and token file, too. Borrows argv and
 * environment. config_deinit() is due whatever comes of it. */
enum config_result config_read(struct config *config, enum config_use use, int argc, char **argv,
                               char *const *environment, char error[CONFIG_ERROR_MAX]);
/* Wipes the keys, frees the rest. */
void config_deinit(struct config *config);

/* "meshd: what: 'value' why" (value may be NULL), as one line of printable ASCII whatever `what`
 * and `value` hold, for they come from outside. */
void config_error(char error[CONFIG_ERROR_MAX], const char *what, size_t what_length,
                  const char *value, const char *why);

/* All settings, for people and for the README. */
void config_print_help(FILE *to);
void config_print_markdown(FILE *to);

#endif
